"""A live session: what every scan changed against ε, and how sure each plane is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.arrays import Array
from ...core.scans import counted
from . import FONT_SIZE, Draw, Ink, open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARGINS_IN = (0.5, 0.12, 0.38, 0.24, 0.5)
"""Left, right, bottom, top and between two axes, in inches, for letters of 8 points."""
_SMALL_MARGINS_IN = (0.5, 0.14, 0.21, 0.06, 0.0)
_LEAST_IN = 0.4
_MOST_TICKS = 12
_LABEL_IN = 0.38


@dataclass(frozen=True)
class Stopping:
    """The changes of the volumes so far, and the change expected of another scan."""

    scans: Sequence[int]  # how many each volume is made from
    changes: Sequence[float]  # ‖V_M − V_(M−1)‖_F / ‖V_M‖_F of each; NaN for the first
    epsilon: float  # change at or below which scanning may stop, 0 to 1
    next_change: float = math.nan  # expected of another scan; NaN when it cannot be told


@dataclass(frozen=True, eq=False)
class ErrorOverZ:
    """The expected error of the planes of a grid, and where it falls most with another scan."""

    z_um: Array  # (Z,)
    error: Array  # (Z,), in standard deviations of a plane: 1 is unknown
    scans_um: Sequence[float] = ()  # heights of the scans there are
    suggested_um: float | None = None  # for the next scan


def live_figure(stopping: Stopping, over_z: ErrorOverZ) -> Draw:
    """Both figures, one over the other; the expected error alone before the first change."""

    def draw(figure: Figure, ink: Ink) -> None:
        if not any(math.isfinite(change) and change > 0 for change in stopping.changes):
            _draw_error(_rows(figure, 1)[0], ink, over_z)
            return
        upper, lower = _rows(figure, 2)
        _draw_stopping(upper, ink, stopping)
        _draw_error(lower, ink, over_z)
        for axes in (upper, lower):  # one under the other, however wide the numbers are
            wide = axes.get_position().width * max(figure.get_size_inches()[0], 1.0)
            axes.yaxis.set_label_coords(-_LABEL_IN / wide, 0.5)

    return draw


def error_figure(over_z: ErrorOverZ) -> Draw:
    """The expected error alone, small: without a legend, over the heights in micrometres."""

    def draw(figure: Figure, ink: Ink) -> None:
        axes = _rows(figure, 1, _SMALL_MARGINS_IN)[0]
        _draw_error(axes, ink, over_z, is_small=True)
        axes.margins(x=0.01)

    return draw


def _rows(figure: Figure, count: int, margins_in: tuple[float, ...] = _MARGINS_IN) -> list[Axes]:
    """Axes over each other, with margins that are known: a search for them takes half the time."""
    figure.set_layout_engine("none")
    left, right, bottom, top, between = margins_in
    least = bottom + top + count * _LEAST_IN
    width, height = (max(size, least) for size in figure.get_size_inches())
    room = (height - bottom - top - (count - 1) * between) / count
    axes = figure.subplots(
        count, 1, squeeze=False,
        gridspec_kw={
            "left": left / width, "right": 1 - right / width, "bottom": bottom / height,
            "top": 1 - top / height, "hspace": between / room,
        },
    )  # fmt: skip
    return list(axes[:, 0])


def _draw_stopping(axes: Axes, ink: Ink, stopping: Stopping) -> None:
    numbers = np.arange(1, len(stopping.changes) + 1)
    percents = 100 * np.asarray(stopping.changes, float)
    percents[~(percents > 0)] = np.nan
    axes.plot(numbers, percents, "o-", ms=4, lw=1.3, color=ink.lines[0], label="change")
    ahead = 100 * stopping.next_change
    every = -(-len(numbers) // _MOST_TICKS)
    ticks, labels = numbers.tolist()[::every], _counts(stopping.scans)[::every]
    if math.isfinite(ahead) and ahead > 0:
        last = len(numbers)
        axes.plot([last, last + 1], [percents[-1], ahead], ":", lw=1.0, color=ink.lines[0])
        axes.plot(
            [last + 1], [ahead], "o", ms=5, mfc="none", color=ink.lines[0], label="expected next"
        )
        ticks, labels = [*ticks, last + 1], [*labels, "next"]
    percent = 100 * stopping.epsilon
    axes.axhline(percent, color=ink.lines[1], ls="--", lw=1.1, label=f"ε = {percent:.3g} %")
    axes.set_yscale("log")
    _plain_percents(axes)
    axes.set_xticks(ticks, labels)
    axes.set_ylabel("change (%)")
    _legend(axes)
    open_axes(axes)


def _counts(scans: Sequence[int]) -> list[str]:
    """Numbers of scans for the ticks; the first says what they are, for there is no title."""
    return [*(counted(count, "scan") for count in scans[:1]), *map(str, scans[1:])]


def _plain_percents(axes: Axes) -> None:
    """Percent as 1, 2, 5, 10, not as powers, and ticks also within one decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.3, high * 1.3)


def _draw_error(axes: Axes, ink: Ink, over_z: ErrorOverZ, *, is_small: bool = False) -> None:
    axes.plot(over_z.z_um, 100 * over_z.error, "-", lw=1.3, color=ink.lines[0], label="expected")
    for number, z_um in enumerate(over_z.scans_um):
        axes.axvline(
            z_um, color=ink.faint, ls="--", lw=0.8, zorder=1, label="scans" if not number else None
        )
    if over_z.suggested_um is not None:
        where = f"next: {over_z.suggested_um:.4g} µm"
        axes.axvline(over_z.suggested_um, color=ink.lines[1], lw=1.6, label=where)
    axes.set_ylim(0, None)
    axes.set_ylabel("error (%)")
    if is_small:
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter("{x:g} µm")
    else:
        axes.set_xlabel("z (µm)")
        _legend(axes)
    open_axes(axes)


def _legend(axes: Any) -> None:
    """In one row over the axes, where no curve runs."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            fontsize=FONT_SIZE, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 0.98),
            frameon=False, borderaxespad=0.1, handlelength=1.4, columnspacing=1.0,
        )  # fmt: skip
