"""Where the images of side views lie in a figure: all on one scale, as large as they fit.

The views of one volume are a cluster. With x–y, its side views lie where they touch it: x–z
below, sharing x, and y–z to the right, turned, sharing y. Lengths here are in inches unless
they are named otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..projections import Limits, ViewName

Field = dict[str, Limits]

_GAP = 0.07
_BETWEEN = 0.16
_NAMED = 0.55
"""Narrower y–z images name no z: the words would run into what is beside, which names it too."""

_ROW_BONUS = 1.25
_LEAST_SCALE = 1e-9


@dataclass(frozen=True)
class Margins:
    """Room that the words and marks around images take."""

    has_axes: bool
    has_arrows: bool

    @property
    def left(self) -> float:
        """For the numbers and the name of the axis that goes down."""
        return 0.46 if self.has_axes else 0.06

    @property
    def bottom(self) -> float:
        """For those of the axis that goes across."""
        return 0.38 if self.has_axes else 0.06

    @property
    def title(self) -> float:
        """For the title, and the note under it."""
        return 0.33 if self.has_axes else 0.2

    @property
    def arrows(self) -> float:
        """For arrowheads that touch an edge."""
        return 0.1 if self.has_arrows else 0.04


class Cell(NamedTuple):
    """One image: its view, its axes, its place in the cluster (from the upper left), its size."""

    view: ViewName
    across: str
    down: str
    across_um: Limits
    down_um: Limits
    left: float
    top: float
    width_in: float
    height_in: float
    names_across: bool
    names_down: bool

    @property
    def is_turned(self) -> bool:
        """Whether the image is transposed: y–z beside x–y."""
        return (self.view, self.across) == ("yz", "z")


@dataclass(frozen=True)
class Cluster:
    """The images of one volume, and where they begin in the figure, from its upper left."""

    number: int
    cells: tuple[Cell, ...]
    left: float
    top: float
    size: tuple[float, float]
    figure: tuple[float, float]
    margins: Margins

    def place(self, cell: Cell) -> tuple[float, float, float, float]:
        """Left, bottom, width and height as shares of the figure."""
        wide, high = self.figure
        bottom = high - (self.top + cell.top + cell.height_in)
        left = self.left + cell.left
        return left / wide, bottom / high, cell.width_in / wide, cell.height_in / high

    @property
    def whole(self) -> tuple[float, float, float, float]:
        """Where all images together lie, as shares of the figure."""
        wide, high = self.figure
        width, height = self.size
        return self.left / wide, 1 - (self.top + height) / high, width / wide, height / high

    @property
    def title_at(self) -> tuple[float, float]:
        """Upper left corner of the title, as shares of the figure."""
        above = self.margins.title + self.margins.arrows
        return self.left / self.figure[0], 1 - (self.top - above + 0.03) / self.figure[1]

    @property
    def title_width_in(self) -> float:
        """Room for the title."""
        return self.size[0] + _BETWEEN / 2

    @property
    def line_share(self) -> float:
        """Distance of two lines of text, as a share of the figure's height."""
        return 0.15 / self.figure[1]


@dataclass(frozen=True)
class _Plan:
    """One way to put a cluster together: images in columns and rows, by their axes.

    ``gap`` is the room between the rows; the images of a column or row share an axis, or else
    name it in the gap.
    """

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[ViewName, int, int, str, str], ...]
    gap: float = _GAP


def _plans(views: Sequence[ViewName], margins: Margins) -> Iterator[_Plan]:
    if "xy" in views:
        cells: list[tuple[ViewName, int, int, str, str]] = [("xy", 0, 0, "x", "y")]
        if "yz" in views:
            cells.append(("yz", 1, 0, "z", "y"))
        if "xz" in views:
            cells.append(("xz", 0, 1, "x", "z"))
        columns, rows = ("x", "z") if "yz" in views else ("x",), ("y", "z")
        yield _Plan(columns, rows if "xz" in views else rows[:1], tuple(cells))
        return
    sides: list[tuple[ViewName, str]] = [(v, v[0]) for v in ("xz", "yz") if v in views]
    yield _Plan(
        tuple(axis for _, axis in sides), ("z",),
        tuple((view, n, 0, axis, "z") for n, (view, axis) in enumerate(sides)),
    )  # fmt: skip
    if len(sides) == 2:
        yield _Plan(
            ("widest",), ("z", "z"),
            tuple((view, 0, n, axis, "z") for n, (view, axis) in enumerate(sides)),
            gap=margins.bottom + _GAP if margins.has_axes else _GAP,
        )  # fmt: skip


class _Sizes:
    """How large a plan's clusters are, at a scale (inches per µm), in so many columns and rows."""

    def __init__(
        self, plan: _Plan, field: Field, margins: Margins, columns: int, rows: int
    ) -> None:
        self.plan, self.field, self.margins = plan, field, margins
        self.columns, self.rows = columns, rows
        self.um = {axis: high - low for axis, (low, high) in field.items()}
        self.um["widest"] = max(self.um["x"], self.um["y"])
        self.wide_um = sum(self.um[axis] for axis in plan.columns)
        self.high_um = sum(self.um[axis] for axis in plan.rows)
        self.inner = (_GAP * (len(plan.columns) - 1), plan.gap * (len(plan.rows) - 1))

    @property
    def fixed(self) -> tuple[float, float]:
        """Width and height of all that does not grow with the scale."""
        m, (gap_x, gap_y) = self.margins, self.inner
        wide = m.left + self.columns * (gap_x + m.arrows) + (self.columns - 1) * _BETWEEN
        high = m.bottom + self.rows * (gap_y + m.title + m.arrows) + (self.rows - 1) * _GAP
        return wide + 0.06, high

    def scale(self, width: float, height: float) -> float:
        """The largest scale that fits."""
        wide, high = self.fixed
        return max(
            min(
                (width - wide) / (self.columns * self.wide_um),
                (height - high) / (self.rows * self.high_um),
            ),
            _LEAST_SCALE,
        )

    def height_at(self, width: float) -> float:
        """How high the figure is, when the clusters fill its width."""
        return self.fixed[1] + self.rows * self.high_um * self.scale(width, float("inf"))


def arranged(
    field: Field, views: Sequence[ViewName], count: int, width: float, height: float, m: Margins
) -> list[Cluster]:
    """Places for ``count`` clusters: in one row, unless another arrangement is clearly larger."""
    choices = [
        _Sizes(plan, field, m, columns, -(-count // columns))
        for plan in _plans(views, m)
        for columns in range(count, 0, -1)
    ]
    best = max(
        choices,
        key=lambda sizes: sizes.scale(width, height) * (_ROW_BONUS if sizes.rows == 1 else 1),
    )
    return [_cluster(number, count, best, width, height) for number in range(count)]


def height_for(
    field: Field, views: Sequence[ViewName], count: int, width: float, m: Margins
) -> float:
    """Height of a figure whose one row of clusters fills the width."""
    return min(_Sizes(plan, field, m, count, 1).height_at(width) for plan in _plans(views, m))


def _cluster(number: int, count: int, sizes: _Sizes, width: float, height: float) -> Cluster:
    scale, m = sizes.scale(width, height), sizes.margins
    row, column = divmod(number, sizes.columns)
    wide = sizes.wide_um * scale + sizes.inner[0]
    high = sizes.high_um * scale + sizes.inner[1]
    used = (
        sizes.fixed[0] + sizes.columns * sizes.wide_um * scale,
        sizes.fixed[1] + sizes.rows * sizes.high_um * scale,
    )
    left = (width - used[0]) / 2 + m.left + column * (wide + m.arrows + _BETWEEN)
    top = (height - used[1]) / 2 + (row + 1) * (m.title + m.arrows) + row * (high + _GAP)
    is_lowest = number + sizes.columns >= count
    cells = tuple(_cells(sizes, scale, is_first=column == 0, is_lowest=is_lowest))
    return Cluster(number, cells, left, top, (wide, high), (width, height), m)


def _cells(sizes: _Sizes, scale: float, *, is_first: bool, is_lowest: bool) -> Iterator[Cell]:
    plan = sizes.plan
    below = {(column, row - 1): across for _, column, row, across, _ in plan.cells}
    for view, column, row, across, down in plan.cells:
        width = sizes.um[across] * scale
        shares_below = below.get((column, row)) == across
        ends_column = (column, row) not in below
        yield Cell(
            view, across, down, sizes.field[across], sizes.field[down],
            left=sum(sizes.um[axis] * scale + _GAP for axis in plan.columns[:column]),
            top=sum(sizes.um[axis] * scale + plan.gap for axis in plan.rows[:row]),
            width_in=width,
            height_in=sizes.um[down] * scale,
            names_across=not shares_below
            and (is_lowest or not ends_column)
            and (width >= _NAMED or column == 0 or across != "z"),
            names_down=column == 0 and is_first,
        )  # fmt: skip
