"""Side views on paper: x–y, x–z and y–z of one to three volumes, in true proportions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...core.arrays import AnyArray
from ...core.scans import InputError, nice_step
from ..projections import VIEWS, Limits, SideViews, ViewName
from . import FONT_SIZE, MM, SERIES_ON_DARK, Draw, Ink
from ._clusters import Cell, Cluster, Margins, arranged, height_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Marks = Literal["lines and arrows", "lines", "arrows", "none"]
MARKS: tuple[Marks, ...] = ("lines and arrows", "lines", "arrows", "none")

_ON_IMAGE = "#ffffff"
_TALLEST_MM = 230.0
_NOTE_SIZE = 7
_LETTER_IN = 0.066  # about the width of a letter of a title


@dataclass(frozen=True, eq=False)
class Panel:
    """One volume in the figure."""

    title: str  #: written above it
    views: SideViews | None = None  #: None where there is nothing to show
    reason: str = ""  #: why not: written in the place of the views
    #: display limits (low, high) of x–y, x–z and y–z; by default those of :func:`contrast`
    limits: tuple[Limits, Limits, Limits] | None = None
    colormap: Any = "gray"  #: a name, or a :class:`matplotlib.colors.Colormap`
    gamma: float = 1.0  #: above 0; 1 shows intensities in proportion


@dataclass(frozen=True)
class Look:
    """The parts that are drawn beside the images."""

    views: tuple[ViewName, ...] = VIEWS  #: at least one
    scans_um: tuple[float, ...] = ()  #: heights to mark: those of the scans, in micrometres
    #: height suggested for the next scan, in micrometres: a whole line where lines are drawn
    next_um: float | None = None
    marks: Marks = "lines and arrows"  #: how they are marked, as in Fig. 3a and 8b of the paper
    has_axes: bool = True  #: ticks and names with units, and the note under every title
    has_scale_bar: bool = True
    point_um: tuple[float, float, float] | None = None  #: place (z, y, x) of cross lines

    def __post_init__(self) -> None:
        if not self.views or not set(self.views) <= set(VIEWS):
            raise InputError("No view is chosen: choose at least one of xy, xz and yz.")
        if self.marks not in MARKS:
            raise InputError(f"Scans cannot be marked by '{self.marks}': {', '.join(MARKS)}.")

    def has(self, mark: str) -> bool:
        """Whether heights are marked by ``lines``, or by ``arrows``."""
        return bool(self.scans_um) and mark in self.marks

    @property
    def margins(self) -> Margins:
        """Room around the images, for what is written there."""
        return Margins.of(has_axes=self.has_axes, has_arrows=self.has("arrows"))


def side_views_figure(panels: Sequence[Panel], look: Look | None = None) -> Draw:
    """Draw volumes beside each other, all on one scale and over the same field.

    The arrangement is the one that shows them largest in the figure's size. Lengths are true in
    every direction; where a volume does not reach, the ground is left empty.

    Parameters
    ----------
    panels : sequence of Panel
        One to three, at least one of them with views.
    look : Look, optional

    Returns
    -------
    callable
        For :func:`save_figure`, or a dock's canvas. Every axes has as its ``gid`` the horizontal
        and the vertical axis and the number of the panel, for instance ``xz-0``.
    """
    look = look or Look()
    shown = [
        replace(panel, limits=contrast([panel.views])[0])
        if panel.views is not None and panel.limits is None
        else panel
        for panel in panels
    ]

    def draw(figure: Figure, ink: Ink) -> None:
        figure.set_layout_engine("none")
        width, height = (float(v) for v in figure.get_size_inches())
        size_in = (width, height)
        clusters = arranged(_extent(shown), look.views, len(shown), size_in, look.margins)
        for cluster, panel in zip(clusters, shown, strict=True):
            _draw_cluster(figure, ink, cluster, panel, look)

    return draw


def side_views_size_mm(
    panels: Sequence[Panel], look: Look | None = None, width_mm: float = 180.0
) -> tuple[float, float]:
    """Width and height on paper at which the volumes in one row fill the width.

    Parameters
    ----------
    panels, look
        As for :func:`side_views_figure`.
    width_mm : float
        Of the column, in millimetres: about 85 or 180.

    Returns
    -------
    tuple of float
        In millimetres; not higher than a page (230).
    """
    look = look or Look()
    height = height_for(_extent(panels), look.views, len(panels), width_mm * MM, look.margins)
    return width_mm, min(height / MM, _TALLEST_MM)


def _extent(panels: Sequence[Panel]) -> dict[str, Limits]:
    """The range of all volumes together, along every axis."""
    views = [panel.views for panel in panels if panel.views is not None]
    if not views:
        raise InputError("None of the volumes can be shown.")
    return {
        axis: (
            min(getattr(v, f"{axis}_um")[0] for v in views),
            max(getattr(v, f"{axis}_um")[1] for v in views),
        )
        for axis in "zyx"
    }


def _draw_cluster(figure: Figure, ink: Ink, cluster: Cluster, panel: Panel, look: Look) -> None:
    _write_title(figure, ink, cluster, panel, look)
    if panel.views is None or panel.limits is None:
        _write_reason(figure, ink, cluster, panel.reason)
        return
    all_axes = []
    for cell in cluster.cells:
        axes = figure.add_axes(cell.place)
        axes.set_gid(f"{cell.across}{cell.down}-{cluster.number}")
        all_axes.append(axes)
        _draw_image(axes, cell, panel, panel.views, panel.limits)
        _name_axes(axes, cell, look)
        _mark_scans(axes, ink, cell, look)
        if look.point_um is not None:
            at = dict(zip("zyx", look.point_um, strict=True))
            axes.axvline(at[cell.across], color=SERIES_ON_DARK[1], linewidth=0.6, alpha=0.8)
            axes.axhline(at[cell.down], color=SERIES_ON_DARK[1], linewidth=0.6, alpha=0.8)
    if look.has_scale_bar:
        highest = max(range(len(all_axes)), key=lambda n: cluster.cells[n].height_in)
        _draw_scale_bar(all_axes[highest], cluster.cells[highest], panel.views)


def _draw_image(
    axes: Any, cell: Cell, panel: Panel, views: SideViews, limits: Sequence[Limits]
) -> None:
    from matplotlib.colors import Normalize, PowerNorm

    low, high = limits[VIEWS.index(cell.view)]
    norm = (
        Normalize(low, high, clip=True)
        if panel.gamma == 1
        else PowerNorm(panel.gamma, low, high, clip=True)
    )
    image = views[cell.view]
    across, down = getattr(views, f"{cell.across}_um"), getattr(views, f"{cell.down}_um")
    axes.imshow(
        image.T if cell.is_turned else image,
        cmap=panel.colormap, norm=norm, extent=(*across, *down[::-1]), aspect="auto",
    )  # fmt: skip
    axes.set_xlim(*cell.across_um)
    axes.set_ylim(*cell.down_um[::-1])


def _name_axes(axes: Any, cell: Cell, look: Look) -> None:
    from matplotlib.ticker import MaxNLocator

    across, down = (look.has_axes and named for named in (cell.names_across, cell.names_down))
    for axis, length in ((axes.xaxis, cell.width_in), (axes.yaxis, cell.height_in)):
        axis.set_major_locator(MaxNLocator(max(1, min(6, int(length / 0.4))), min_n_ticks=2))
    axes.tick_params(
        direction="out", length=2.5, width=0.6, pad=2,
        bottom=across, labelbottom=across, left=down, labelleft=down,
    )  # fmt: skip
    if across:
        axes.set_xlabel(f"{cell.across} (µm)", labelpad=1)
    if down:
        axes.set_ylabel(f"{cell.down} (µm)", labelpad=1)
    for spine in axes.spines.values():
        spine.set_linewidth(0.6)


def _mark_scans(axes: Any, ink: Ink, cell: Cell, look: Look) -> None:
    """Dashed lines through the image, arrowheads that touch its edge from outside."""
    from matplotlib.markers import CARETDOWN, CARETLEFT

    if "z" not in (cell.across, cell.down):
        return
    is_upright = cell.down == "z"
    low, high = cell.down_um if is_upright else cell.across_um
    heights = [z for z in look.scans_um if low <= z <= high]
    line = axes.axhline if is_upright else axes.axvline
    if look.next_um is not None and "lines" in look.marks and low <= look.next_um <= high:
        line(look.next_um, color=SERIES_ON_DARK[4], linewidth=1.2)
    for z in heights if look.has("lines") else ():
        line(z, color=SERIES_ON_DARK[0], linewidth=0.8, dashes=(4, 3), alpha=0.9)
    if look.has("arrows") and heights:
        edge = np.ones(len(heights))
        axes.plot(
            *((edge, heights) if is_upright else (heights, edge)),
            linestyle="none", marker=CARETLEFT if is_upright else CARETDOWN, markersize=5,
            color=ink.lines[0], clip_on=False,
            transform=axes.get_yaxis_transform() if is_upright else axes.get_xaxis_transform(),
        )  # fmt: skip


def _draw_scale_bar(axes: Any, cell: Cell, views: SideViews) -> None:
    """A white bar with a dark seam, readable on any image, in its corner."""
    from matplotlib.patheffects import withStroke

    (x_low, x_high), (y_low, y_high) = (
        getattr(views, f"{axis}_um") for axis in (cell.across, cell.down)
    )
    per_um = cell.width_in / (cell.across_um[1] - cell.across_um[0])
    length = nice_step((x_high - x_low) / 4)
    right = x_high - min(0.08 / per_um, 0.1 * (x_high - x_low))
    low = y_high - min(0.1 / per_um, 0.4 * (y_high - y_low))
    left = right - length
    seam = [withStroke(linewidth=3.4, foreground="black", alpha=0.55)]
    axes.plot(
        (left, right), (low, low), color=_ON_IMAGE, linewidth=2, solid_capstyle="butt",
        path_effects=seam,
    )  # fmt: skip
    is_low = (y_high - y_low) * per_um < 0.45
    axes.annotate(
        f"{length:g} µm",
        (left, low) if is_low else ((left + right) / 2, low),
        textcoords="offset points", xytext=(-4, 0) if is_low else (0, 3),
        ha="right" if is_low else "center", va="center" if is_low else "bottom",
        color=_ON_IMAGE, fontsize=FONT_SIZE,
        path_effects=[withStroke(linewidth=1.6, foreground="black", alpha=0.55)],
    )  # fmt: skip


def _write_title(figure: Figure, ink: Ink, cluster: Cluster, panel: Panel, look: Look) -> None:
    left, top = cluster.title_at
    title = _cut(panel.title, cluster.title_width_in)
    figure.text(left, top, title, color=ink.text, fontsize=FONT_SIZE, weight="bold", va="top")
    if look.has_axes and panel.views is not None and panel.limits is not None:
        note = _cut(_note(panel.views, panel.limits), cluster.title_width_in * 1.1)
        below = top - cluster.line_share
        figure.text(left, below, note, color=ink.text, alpha=0.65, fontsize=_NOTE_SIZE, va="top")


def _note(views: SideViews, limits: tuple[Limits, Limits, Limits]) -> str:
    """Text on how the views were projected, through how much, and what is black and white."""
    everything = (views.z_um, views.y_um, views.x_um)
    thick = [high - low for low, high in views.through_um]
    depth = "" if views.through_um == everything else f" of {max(thick):.3g} µm"
    shown = ", {} to {}".format(*map(_value, limits[0])) if len(set(limits)) == 1 else ""
    return f"{views.how}{depth}{shown}"


def _value(number: float) -> str:
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e7 else f"{number:.4g}"


def _write_reason(figure: Figure, ink: Ink, cluster: Cluster, reason: str) -> None:
    left, bottom, width, height = cluster.whole
    letters = max(8, int(cluster.title_width_in / _LETTER_IN * 1.1))
    figure.text(
        left + width / 2, bottom + height / 2, "\n".join(textwrap.wrap(reason, letters)),
        ha="center", va="center", color=ink.text, alpha=0.7, fontsize=FONT_SIZE,
    )  # fmt: skip


def _cut(text: str, width_in: float) -> str:
    letters = max(3, int(width_in / _LETTER_IN))
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def contrast(
    shown: Sequence[SideViews], *, shared: bool = True, saturated_percent: float = 0.2
) -> list[tuple[Limits, Limits, Limits]]:
    """Display limits for the views of several volumes.

    Parameters
    ----------
    shown : sequence of SideViews
        The volumes beside each other, all projected in the same way.
    shared : bool
        One pair of limits for all volumes: the lowest and the highest of their own.
    saturated_percent : float
        Percentage of the pixels that are shown as black or as white, half of it each;
        0 to less than 100.

    Returns
    -------
    list of tuple
        For every volume the limits (low, high) of x–y, x–z and y–z, ``low < high``. With
        ``max``, they are the same for the three: a voxel is as bright from every side. A mean
        or a sum depends on how much is looked through, so there every view has its own.

    Raises
    ------
    InputError
        If the percentage is out of range.
    """
    if not 0 <= saturated_percent < 100:
        raise InputError(
            f"{saturated_percent:g} % of the pixels cannot be saturated: give 0 to below 100."
        )
    own = [_own_limits(views, saturated_percent) for views in shown]
    if shared and own:
        lows, highs = np.min(own, axis=0)[:, 0], np.max(own, axis=0)[:, 1]
        own = [list(zip(lows.tolist(), highs.tolist(), strict=True))] * len(own)
    return [_unequal(limits) for limits in own]


def _own_limits(views: SideViews, saturated_percent: float) -> list[Limits]:
    images = [np.asarray(views[view], np.float64).ravel() for view in VIEWS]
    if views.how == "max":
        return [_percentiles(np.concatenate(images), saturated_percent)] * 3
    return [_percentiles(image, saturated_percent) for image in images]


def _percentiles(values: AnyArray, saturated_percent: float) -> Limits:
    half = saturated_percent / 2
    low, high = (float(v) for v in np.percentile(values, (half, 100 - half)))
    if low == high:  # almost all pixels are one value
        low, high = float(values.min()), float(values.max())
    return low, high


def _unequal(limits: Sequence[Limits]) -> tuple[Limits, Limits, Limits]:
    """Limits that a plot can take: never equal."""
    xy, xz, yz = (
        (low, high if high > low else low + max(abs(low), 1.0) * 1e-6) for low, high in limits
    )
    return xy, xz, yz
