"""Histograms of bead widths, as in the paper's Figure 3b, and the profiles of one bead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import Array
from ...core.scans import InputError
from ..beads import AXES, Profile, Widths, histogram_edges, kl_divergence, widths
from . import Draw, Ink, open_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_WIDE = 1.6  # width over height of a figure from which on its parts stand side by side
_SMALL = 7
_LINE_POINTS = 9  # height of a line of small text
_LONGEST = 40  # letters of a name
_LETTERS_PER_INCH = 16
_ROOMY = 1.3  # inches of a profile from which on its title is in one line


@dataclass(frozen=True, eq=False)
class AxisHistogram:
    """How wide beads are along one axis, in bins that all volumes share."""

    axis: str  #: ``x``, ``y`` or ``z``
    edges_um: Array  #: (B + 1,), in micrometres
    widths: tuple[Widths, ...]  #: one for each volume
    counts: tuple[npt.NDArray[np.intp], ...]  #: (B,), beads in each bin, one array for each volume
    #: D(second || first), in nats: the second volume is the reference. None for one volume, or
    #: where one has no bead.
    kl: float | None

    def bin_at(self, width_um: float) -> int | None:
        """The bin that holds a width; None outside."""
        if not self.edges_um[0] <= width_um <= self.edges_um[-1]:
            return None
        last = len(self.edges_um) - 2
        return min(int(np.searchsorted(self.edges_um, width_um, side="right")) - 1, last)

    def beads_in(self, table: pd.DataFrame, number: int) -> list[int]:
        """Index labels of the accepted beads of a table in one bin, as NumPy's histogram counts."""
        column = table.loc[table["accepted"].astype(bool), f"fwhm_{self.axis}_um"]
        low, high = self.edges_um[number], self.edges_um[number + 1]
        last = number == len(self.edges_um) - 2
        inside = (column >= low) & ((column <= high) if last else (column < high))
        return [int(label) for label in column.index[inside]]


def width_histograms(tables: Sequence[pd.DataFrame]) -> list[AxisHistogram]:
    """The histograms of one volume's beads, or of two volumes' beads, for x, y and z.

    Parameters
    ----------
    tables : sequence of pandas.DataFrame
        From :func:`~.measure_beads`; a second is the reference.

    Returns
    -------
    list of AxisHistogram
        Without axes along which nothing was measured.

    Raises
    ------
    InputError
        If no bead is accepted in any of them.
    """
    histograms = []
    for axis in AXES:
        every = tuple(widths(table, axis) for table in tables)
        if not any(one.n for one in every):
            continue
        edges = histogram_edges(*(one.values_um for one in every))
        counts = tuple(np.histogram(one.values_um, edges)[0] for one in every)
        kl = None
        if len(every) == 2 and all(one.n for one in every):
            kl = kl_divergence(every[1].values_um, every[0].values_um, bins=edges)
        histograms.append(AxisHistogram(axis, edges, every, counts, kl))
    if not histograms:
        raise InputError("No bead is accepted: there are no widths to show.")
    return histograms


def widths_figure(
    histograms: Sequence[AxisHistogram],
    names: Sequence[str],
    theory_um: Mapping[str, float] | None = None,
    chosen: tuple[str, int] | None = None,
) -> Draw:
    """Draw histograms of widths with their mean, median, n, the theory and the KL divergence.

    The axes of the figure carry the name of their axis as label.

    Parameters
    ----------
    histograms : sequence of AxisHistogram
    names : sequence of str
        Of the volumes.
    theory_um : mapping of str to float, optional
        Width that the optics give along each axis, in micrometres.
    chosen : tuple of str and int, optional
        Axis and number of a bin to highlight.
    """
    known = theory_um or {}

    def draw(figure: Figure, ink: Ink) -> None:
        columns = figure.get_figwidth() > _WIDE * figure.get_figheight()
        count = len(histograms)
        grid = figure.subplots(*((1, count) if columns else (count, 1)), squeeze=False)
        for axes, histogram in zip(grid.flat, histograms, strict=True):
            _draw_bars(axes, histogram, ink)
            if chosen is not None and chosen[0] == histogram.axis:
                low, high = histogram.edges_um[chosen[1] : chosen[1] + 2]
                axes.axvspan(low, high, facecolor=(ink.text, 0.2), edgecolor=ink.text, lw=0.8)
            _write_numbers(axes, histogram, known.get(histogram.axis), ink, columns)
        if not columns:
            figure.align_ylabels(list(grid.flat))
        _name_series(figure, names, ink)

    return draw


def profiles_figure(profiles: Sequence[Profile], title: str = "") -> Draw:
    """Draw the voxels along the lines through a bead, and the curves fitted to them.

    Parameters
    ----------
    profiles : sequence of Profile
        From :func:`~.bead_profiles`.
    title : str, optional
        Written above.
    """

    def draw(figure: Figure, ink: Ink) -> None:
        from matplotlib.ticker import MaxNLocator

        grid = figure.subplots(1, len(profiles), sharey=True, squeeze=False)[0]
        gap = " " if figure.get_figwidth() > _ROOMY * len(profiles) else "\n"
        for axes, profile in zip(grid, sorted(profiles, key=lambda p: p.axis), strict=True):
            axes.plot(profile.at_um, profile.intensity, "o", ms=3, color=ink.lines[0])
            if len(profile.fit):
                axes.plot(profile.fit_at_um, profile.fit, color=ink.lines[1], lw=1.2)
                _note(axes, 0, f"FWHM{gap}{profile.fwhm_um:.3g} µm", ink.text)
            else:
                _note(axes, 0, "no fit", ink.text)
            axes.set_xlabel(f"{profile.axis} (µm)")
            axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 3, 4, 5, 10], min_n_ticks=1))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            open_axes(axes)
        grid[0].set_ylabel("intensity")
        if title:
            figure.suptitle(title, fontsize=_SMALL + 1, color=ink.text)

    return draw


def _draw_bars(axes: Any, histogram: AxisHistogram, ink: Ink) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_label(histogram.axis)
    for number, (counts, one) in enumerate(zip(histogram.counts, histogram.widths, strict=True)):
        colour = ink.lines[number]
        axes.stairs(counts, histogram.edges_um, fill=True, color=colour, alpha=0.4)
        axes.stairs(counts, histogram.edges_um, color=colour, lw=1)
        if one.n:
            axes.axvline(one.mean_um, color=colour, lw=1.4)
    axes.set_ylim(0, 1.08 * max(int(counts.max()) for counts in histogram.counts))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set(xlabel=f"FWHM {histogram.axis} (µm)", ylabel="beads")
    open_axes(axes)


def _write_numbers(
    axes: Any, histogram: AxisHistogram, theory: float | None, ink: Ink, is_narrow: bool
) -> None:
    """Above the axes, in the colours of the volumes: mean, median, n; the theory and the KL."""
    last = len(histogram.widths) - 1
    for number, one in enumerate(histogram.widths):
        text = f"mean {one.mean_um:#.4g} · median {one.median_um:#.4g} · n {one.n}"
        _note(axes, last - number, text if one.n else "no bead", ink.lines[number])
    words = []
    if theory is not None:
        axes.axvline(theory, color=ink.text, lw=1.2, ls=(0, (4, 3)))
        words.append(f"┆ theory {theory:#.4g}")
    if histogram.kl is not None:
        words.append(f"KL {histogram.kl:.3g}")
    if words and is_narrow:
        _note(axes, last + 1, " · ".join(words), ink.text)
        return
    for number, word in enumerate(words):
        _note(axes, last - number, word, ink.text, "right")


def _note(axes: Any, line: int, text: str, colour: str, side: str = "left") -> None:
    """A line of small text above the axes, counted upwards."""
    axes.annotate(
        text, (float(side == "right"), 1), (0, 2 + line * _LINE_POINTS),
        "axes fraction", "offset points",
        color=colour, fontsize=_SMALL, ha=side, va="bottom",
    )  # fmt: skip


def _name_series(figure: Figure, names: Sequence[str], ink: Ink) -> None:
    from matplotlib.patches import Patch

    short = [name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…" for name in names]
    handles = [
        Patch(facecolor=(colour, 0.4), edgecolor=colour, label=name)
        for name, colour in zip(short, ink.lines, strict=False)
    ]
    room = figure.get_figwidth() * _LETTERS_PER_INCH
    figure.legend(
        handles=handles, loc="outside upper left", frameon=False, fontsize=_SMALL,
        ncols=len(handles) if sum(len(name) + 6 for name in short) < room else 1,
        handlelength=1.4, columnspacing=1.0, borderaxespad=0.2, labelspacing=0.2,
    )  # fmt: skip
