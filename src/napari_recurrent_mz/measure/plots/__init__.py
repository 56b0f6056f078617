"""Figures of what the instruments measure: drawn the same in a dock, in a script and on paper.

A figure is a function that draws on an empty :class:`matplotlib.figure.Figure` with the colours
of an :class:`Ink`; nothing here knows of Qt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.scans import InputError
from ...io import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours that people with any colour vision tell apart (Okabe and Ito, 2008), dark enough for
white paper."""

SERIES_ON_DARK = ("#56B4E9", "#E69F00", "#3DC79A", "#E58BBE", "#F0E442", "#5B9BFF")
"""The same colours on a dark ground."""


@dataclass(frozen=True)
class Ink:
    """The colours of a figure, as matplotlib takes them."""

    background: str
    text: str
    faint: str  # what stays behind: grids, frames
    accent: str  # what the eye should find first
    lines: tuple[str, ...]  # one for each series


PRINT = Ink("#ffffff", "#000000", "#8a8a8a", "#0072B2", SERIES)
"""White paper."""

Draw = Callable[["Figure", Ink], None]
"""Draws on an empty figure: adds its axes, names them with their units, in the ink's colours."""

ENDINGS = (".png", ".svg", ".pdf")
MM = 1 / 25.4  # inches
_DPI = 300
FONT_SIZE = 8  # points


def style(figure: Figure, ink: Ink) -> None:
    """Give the axes, labels and legends of a drawn figure the ink's colours."""
    figure.set_facecolor(ink.background)
    for axes in figure.get_axes():
        axes.set_facecolor(ink.background)
        axes.tick_params(colors=ink.text, labelsize=FONT_SIZE)
        for offset in (axes.xaxis.offsetText, axes.yaxis.offsetText):
            offset.set_color(ink.text)
        for spine in axes.spines.values():
            spine.set_color(ink.faint)
        for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
            label.set(color=ink.text, fontsize=FONT_SIZE)
    legends = [axes.get_legend() for axes in figure.get_axes()]
    for legend in [*filter(None, legends), *figure.legends]:
        legend.get_frame().set(facecolor=ink.background, edgecolor=ink.faint, alpha=0.8)
        for label in legend.get_texts():
            label.set(color=ink.text, fontsize=FONT_SIZE)


def open_axes(axes: Any) -> None:
    """Take away the upper and the right frame, as suits a plot of curves."""
    axes.spines[["top", "right"]].set_visible(False)


def fill_figure(figure: Figure, ink: Ink, drawn: Draw | None, reason: str) -> None:
    """Draw on an empty figure: what is given, or else a sentence why there is nothing."""
    if drawn is not None:
        drawn(figure, ink)
    elif reason:
        sentence = figure.text(
            0.5, 0.5, reason, ha="center", va="center", color=ink.text, alpha=0.7,
            fontsize=FONT_SIZE, wrap=True,
        )  # fmt: skip
        sentence.set_in_layout(False)
    style(figure, ink)


def save_figure(
    draw: Draw, path: str | Path, *, width_mm: float = 180.0, height_mm: float = 90.0
) -> Path:
    """Draw a figure on white paper into a PNG (300 dpi), SVG or PDF file, by its ending."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise InputError(
            f"'{path.name}' cannot be written as a figure: its name must end in "
            f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}."
        )
    # Text stays text in vector files, so that a journal's editor can change it.
    with mpl.rc_context({"svg.fonttype": "none", "pdf.fonttype": 42}):
        figure = Figure(figsize=(width_mm * MM, height_mm * MM), layout="constrained")
        draw(figure, PRINT)
        style(figure, PRINT)
        with _quiet_fonts():
            write_whole(path, lambda part: figure.savefig(part, format=path.suffix[1:], dpi=_DPI))
    return path


@contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Silence the library that embeds fonts in a PDF: napari would show its log as errors."""
    fonts = logging.getLogger("fontTools")
    before = fonts.level
    fonts.setLevel(logging.WARNING)
    try:
        yield
    finally:
        fonts.setLevel(before)
