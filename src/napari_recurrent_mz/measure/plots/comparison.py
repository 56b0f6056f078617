"""PSNR, NRMSE and SSIM over z, as in the paper's Figure 4b."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comparison import MEASURES
from . import Draw, Ink, open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLANE_IN_VIEW = "plane in view"
"""The id (gid) of the line that marks the plane in view, one in each pair of axes."""


def comparison_figure(
    comparison: Any, *, measures: Sequence[str] = tuple(MEASURES), z_um: float | None = None
) -> Draw:
    """One curve a volume over the height, a pair of axes for each measure.

    A curve has a gap at the volume's own scans, whose heights dashed lines mark: in faint
    ink when all volumes have the same, else in the colour of each.

    Parameters
    ----------
    comparison : napari_recurrent_mz.measure.comparison.Comparison
    measures : sequence of str, optional
        Of ``psnr_db``, ``nrmse_percent`` and ``ssim``, from top to bottom.
    z_um : float, optional
        Height of the plane in view, in micrometres, which a line marks.
    """

    def draw(figure: Figure, ink: Ink) -> None:
        rows = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
        for axes, measure in zip(rows, measures, strict=True):
            _draw_scans(axes, ink, comparison)
            _draw_curves(axes, ink, comparison, measure)
            line = axes.axvline(
                np.nan if z_um is None else z_um, color=ink.accent, linewidth=1.4, zorder=1.5
            )
            line.set_gid(PLANE_IN_VIEW)
            axes.set_ylabel(MEASURES[measure])
            open_axes(axes)
        rows[-1].set_xlabel("z (µm)")
        figure.align_ylabels(rows)
        lines, names = rows[0].get_legend_handles_labels()
        figure.legend(
            lines, names, loc="outside upper center", ncols=2, frameon=False, handlelength=1.2,
            columnspacing=1.0,
        )  # fmt: skip

    return draw


def colour_of(ink: Ink, number: int) -> str:
    """Colour of the curve of a volume, by its place in the table."""
    return ink.lines[number % len(ink.lines)]


def _draw_curves(axes: Axes, ink: Ink, comparison: Any, measure: str) -> None:
    for number, name in enumerate(comparison.names):
        rows = comparison.planes[comparison.planes["name"] == name]
        values = rows[measure].to_numpy(float, copy=True)
        values[rows["is_scan"].to_numpy() | ~np.isfinite(values)] = np.nan
        cycle = number // len(ink.lines)  # the colours come round again, dotted
        axes.plot(
            rows["z_um"], values, label=name, color=colour_of(ink, number), linewidth=1.3,
            linestyle=":" if cycle else "-", marker="o", markersize=1.8,
        )  # fmt: skip


def _draw_scans(axes: Axes, ink: Ink, comparison: Any) -> None:
    heights_of = {name: tuple(z) for name, z in comparison.scans_um.items() if z}
    same = len(set(heights_of.values())) == 1
    for number, name in enumerate(comparison.names):
        for z in heights_of.get(name, ()):
            colour = ink.faint if same else colour_of(ink, number)
            axes.axvline(z, color=colour, linestyle="--", linewidth=0.8, zorder=1)
        if same and name in heights_of:
            return
