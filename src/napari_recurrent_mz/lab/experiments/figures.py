"""One look for all figures, and files small enough for the documentation."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ...core.arrays import AnyArray
from ...core.methods import METHOD_NAMES

STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "figure.dpi": 100,
}
"""matplotlib settings in which every figure is drawn."""

COLOURS = {
    "recurrent-mz": "#c1272d",
    "recurrent-mz-plus": "#c1272d",
    "recurrent-mz-beads": "#e8743b",
    "recurrent-mz-worm": "#e8743b",
    "lmmse": "#0000a7",
    "lmmse-plus": "#0000a7",
    "richardson-lucy": "#008176",
    "deep-z": "#eecc16",
    "unet-3d": "#7a7a7a",
    "points": "#8031a7",
    "linear": "#5ba300",
    "nearest": "#b3b3b3",
    "cubic": "#89ce00",
    "pchip": "#b0d890",
}
"""Colour of each method, the same in all figures."""

_SPECIALISED = {
    "recurrent-mz-beads": "Recurrent-MZ for beads",
    "recurrent-mz-worm": "Recurrent-MZ for worms",
}

RED, BLUE = COLOURS["recurrent-mz"], COLOURS["lmmse"]

_LARGEST_BYTES = 78_000
_INK = "0.55"


def name_of(method: object) -> str:
    """Name of a method, or of a network for one kind of sample, for a person."""
    return METHOD_NAMES.get(str(method), _SPECIALISED.get(str(method), str(method)))


def new_figure(width: float = 7.2, height: float = 2.8) -> Figure:
    """An empty figure; sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def axes_row(columns: int, *size: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with a row of axes; width and height in inches."""
    figure = new_figure(*size)
    return figure, list(figure.subplots(1, columns, squeeze=False, **options)[0])


def panels(
    table: pd.DataFrame, by: str | list[str], *size: float, ylabel: str = "", **options: Any
) -> tuple[Figure, list[tuple[Axes, Any, pd.DataFrame]]]:
    """A row of axes, one for each value of ``by`` in the order of the table, with its rows."""
    groups = list(table.groupby(by, sort=False))
    figure, row = axes_row(len(groups), *size, **options)
    row[0].set_ylabel(ylabel)
    return figure, [(axes, *group) for axes, group in zip(row, groups, strict=True)]


def mean_lines(
    axes: Axes,
    table: pd.DataFrame,
    y: str,
    by: str,
    *,
    x: str = "z_um",
    label: Callable[[Any], str] = str,
    colours: Mapping[str, str] = COLOURS,
    **options: Any,
) -> None:
    """The mean of column ``y`` at every ``x``, one line for each value of column ``by``."""
    for value, rows in table.groupby(by, sort=False):
        mean = rows.groupby(x)[y].mean()
        colour = colours.get(str(value))
        axes.plot(mean.index, mean, **{"label": label(value), "color": colour, **options})


def mark_scans(axes: Axes, z_um: Sequence[float]) -> None:
    """Dashed lines at the heights of the scans."""
    for z in z_um:
        axes.axvline(z, color=_INK, linestyle="--", linewidth=0.8)


def bars(axes: Axes, values: pd.Series, *, unit: str, errors: pd.Series | None = None) -> None:
    """Horizontal bars, the first on top, each with its value."""
    names = [name_of(name) for name in values.index]
    colours = [COLOURS.get(str(name), BLUE) for name in values.index]
    axes.barh(names, values, xerr=errors, color=colours, height=0.65, ecolor=_INK)
    if not axes.yaxis_inverted():  # axes that share theirs are inverted once
        axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.grid(axis="y", visible=False)


def image(axes: Axes, pixels: AnyArray, title: str, *, top: float | None = None) -> None:
    """A grey-scale picture without axes, from its 1st percentile to ``top`` or its brightest."""
    low = float(np.percentile(pixels, 1))
    high = float(np.percentile(pixels, 99.8)) if top is None else top
    axes.imshow(pixels, vmin=low, vmax=max(high, low + 1e-6), aspect="equal")
    axes.set_title(title)
    axes.set_axis_off()


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, with fewer greys where it would be a large file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    drawn = PIL.Image.open(stream).convert("RGB")
    for greys in (None, 128, 48, 24):
        small = io.BytesIO()
        image = drawn if greys is None else _with_few_greys(drawn, greys)
        image.save(small, "PNG", optimize=True)
        if small.tell() <= _LARGEST_BYTES:
            break
    path.write_bytes(small.getvalue())


def _with_few_greys(drawn: PIL.Image.Image, greys: int) -> PIL.Image.Image:
    """A picture in the methods' colours and so many greys; white stays white."""
    palette = PIL.Image.new("P", (1, 1))
    colours = _palette(greys)
    palette.putpalette(colours)
    indexed = drawn.quantize(palette=palette, dither=PIL.Image.Dither.NONE)
    index = np.array(indexed)
    index[np.asarray(drawn).min(axis=-1) == 255] = len(colours) // 3 - 1
    image = PIL.Image.fromarray(index)
    image.putpalette(colours)  # it becomes a picture with a palette
    return image


def _palette(greys: int) -> list[int]:
    """The methods' colours, also as they fade, and even greys, white the last: RGB in turn."""
    hues = np.array([to_rgb(colour) for colour in dict.fromkeys(COLOURS.values())])
    faded = [1 - part * (1 - hues) for part in (1.0, 0.7, 0.4, 0.2)]
    even = np.repeat(np.linspace(0, 1, greys)[:, None], 3, axis=1)
    every = np.concatenate([*faded, even])
    return np.round(255 * every).astype(int).ravel().tolist()
