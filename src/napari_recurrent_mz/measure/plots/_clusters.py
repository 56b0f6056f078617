"""Where the images of side views lie in a figure: all on one scale, as large as they fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..projections import Limits, ViewName

Extent = dict[str, Limits]
Box = tuple[float, float, float, float]
"""Left, bottom, width and height, as shares of the figure."""

_GAP = 0.07
_BETWEEN = 0.16
_NAMED = 0.55  # narrower y–z images name no z: the words would run into what is beside
_ROW_BONUS = 1.25
_LEAST_SCALE = 1e-9


class Margins(NamedTuple):
    """Room that the words and marks around images take."""

    left: float  # for the numbers and the name of the axis that goes down
    bottom: float  # for those of the axis that goes across
    title: float  # for the title, and the note under it
    row_gap: float  # between images of which the upper one names its axis
    arrows: float  # for arrowheads that touch an edge

    @classmethod
    def of(cls, *, has_axes: bool, has_arrows: bool) -> Margins:
        """The margins for what is drawn."""
        words = (0.46, 0.38, 0.33, 0.38 + _GAP) if has_axes else (0.06, 0.06, 0.2, _GAP)
        return cls(*words, 0.1 if has_arrows else 0.04)


class Cell(NamedTuple):
    """One image: its view, its axes, where it lies and how large it is."""

    view: ViewName
    across: str
    down: str
    across_um: Limits
    down_um: Limits
    width_in: float
    height_in: float
    place: Box
    names_across: bool
    names_down: bool

    @property
    def is_turned(self) -> bool:
        """Whether the image is transposed: y–z beside x–y."""
        return (self.view, self.across) == ("yz", "z")


class Cluster(NamedTuple):
    """The images of one volume."""

    number: int
    cells: tuple[Cell, ...]
    whole: Box  # all images together
    title_at: tuple[float, float]  # the upper left corner of the title
    title_width_in: float
    line_share: float  # the distance of two lines of text


@dataclass(frozen=True)
class _Arrangement:
    """Images in columns and rows that share an axis, or name it in the ``gap`` between rows."""

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[ViewName, int, int, str, str], ...]
    gap: float = _GAP


def _arrangements(views: Sequence[ViewName], row_gap: float) -> Iterator[_Arrangement]:
    if "xy" in views:
        cells: list[tuple[ViewName, int, int, str, str]] = [("xy", 0, 0, "x", "y")]
        if "yz" in views:
            cells.append(("yz", 1, 0, "z", "y"))
        if "xz" in views:
            cells.append(("xz", 0, 1, "x", "z"))
        columns, rows = ("x", "z") if "yz" in views else ("x",), ("y", "z")
        yield _Arrangement(columns, rows if "xz" in views else rows[:1], tuple(cells))
        return
    sides: list[tuple[ViewName, str]] = [(v, v[0]) for v in ("xz", "yz") if v in views]
    beside = tuple((view, n, 0, axis, "z") for n, (view, axis) in enumerate(sides))
    yield _Arrangement(tuple(axis for _, axis in sides), ("z",), beside)
    if len(sides) == 2:
        below = tuple((view, 0, n, axis, "z") for n, (view, axis) in enumerate(sides))
        yield _Arrangement(("widest",), ("z", "z"), below, row_gap)


class _Layout:
    """The clusters of a plan in so many columns and rows; a scale is in inches per µm."""

    def __init__(
        self, plan: _Arrangement, extent: Extent, margins: Margins, columns: int, rows: int
    ) -> None:
        self.plan, self.extent, self.margins = plan, extent, margins
        self.columns, self.rows = columns, rows
        self.um = {axis: high - low for axis, (low, high) in extent.items()}
        self.um["widest"] = max(self.um["x"], self.um["y"])
        self.wide_um = sum(self.um[axis] for axis in plan.columns)
        self.high_um = sum(self.um[axis] for axis in plan.rows)
        self.gaps = (_GAP * (len(plan.columns) - 1), plan.gap * (len(plan.rows) - 1))
        # what does not grow with the scale
        wide = margins.left + columns * (self.gaps[0] + margins.arrows) + (columns - 1) * _BETWEEN
        high = margins.bottom + rows * (self.gaps[1] + margins.title + margins.arrows)
        self.fixed = (wide + 0.06, high + (rows - 1) * _GAP)

    def scale(self, width: float, height: float) -> float:
        """The largest scale that fits."""
        wide, high = self.fixed
        across = (width - wide) / (self.columns * self.wide_um)
        down = (height - high) / (self.rows * self.high_um)
        return max(min(across, down), _LEAST_SCALE)

    def cluster(self, number: int, count: int, width: float, height: float) -> Cluster:
        """One of ``count`` clusters in a figure of this size."""
        scale, m = self.scale(width, height), self.margins
        row, column = divmod(number, self.columns)
        wide, high = self.wide_um * scale + self.gaps[0], self.high_um * scale + self.gaps[1]
        free_x = width - (self.fixed[0] + self.columns * self.wide_um * scale)
        free_y = height - (self.fixed[1] + self.rows * self.high_um * scale)
        above = m.title + m.arrows
        left = free_x / 2 + m.left + column * (wide + m.arrows + _BETWEEN)
        top = free_y / 2 + (row + 1) * above + row * (high + _GAP)

        def box(x: float, y: float, box_wide: float, box_high: float) -> Box:
            bottom = height - (top + y + box_high)
            return (left + x) / width, bottom / height, box_wide / width, box_high / height

        below = {(c, r - 1): across for _, c, r, across, _ in self.plan.cells}
        cells = []
        for view, c, r, across, down in self.plan.cells:
            size = self.um[across] * scale, self.um[down] * scale
            x = sum(self.um[axis] * scale + _GAP for axis in self.plan.columns[:c])
            y = sum(self.um[axis] * scale + self.plan.gap for axis in self.plan.rows[:r])
            is_lowest = number + self.columns >= count or (c, r) in below
            names_across = below.get((c, r)) != across and is_lowest
            has_room = size[0] >= _NAMED or c == 0 or across != "z"
            cells.append(
                Cell(
                    view, across, down, self.extent[across], self.extent[down], *size,
                    box(x, y, *size), names_across and has_room, c == 0 and column == 0,
                )
            )  # fmt: skip
        title_at = left / width, 1 - (top - above + 0.03) / height
        whole = box(0, 0, wide, high)
        return Cluster(number, tuple(cells), whole, title_at, wide + _BETWEEN / 2, 0.15 / height)


def arranged(
    extent: Extent,
    views: Sequence[ViewName],
    count: int,
    size_in: tuple[float, float],
    margins: Margins,
) -> list[Cluster]:
    """Places for ``count`` clusters: in one row, unless another arrangement is clearly larger."""
    layouts = [
        _Layout(plan, extent, margins, columns, -(-count // columns))
        for plan in _arrangements(views, margins.row_gap)
        for columns in range(count, 0, -1)
    ]
    best = max(
        layouts,
        key=lambda layout: layout.scale(*size_in) * (_ROW_BONUS if layout.rows == 1 else 1),
    )
    return [best.cluster(number, count, *size_in) for number in range(count)]


def height_for(
    extent: Extent, views: Sequence[ViewName], count: int, width: float, margins: Margins
) -> float:
    """Height of a figure whose one row of clusters fills the width."""
    plans = _arrangements(views, margins.row_gap)
    layouts = (_Layout(plan, extent, margins, count, 1) for plan in plans)
    return min(one.fixed[1] + one.high_um * one.scale(width, float("inf")) for one in layouts)
