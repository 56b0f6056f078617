"""The scan table: which planes are scans, at which height, in use or not, and what comes of it."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QKeyEvent, QKeySequence, QPainter, QPaintEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from ...core.errors import InputError
from ...core.scans import ONE_CHANNEL, SAME_HEIGHT_UM, Scan, check_scans, in_words, require_several
from ...io import spaced_heights
from . import layers as _layers
from .form import parse_length_um
from .guard import telling
from .parts import Palette

USE, PLANE, HEIGHT = range(3)

_UNDONE = 50  # changes that can be taken back

EMPTY_TEXT = (
    "Drop two or more scans here:\nimage files, or one z-stack.\n\n"
    "Or select image layers on the left\nand press “Add selected”."
)


TYPED, TYPED_STEP = "typed", "from the typed z-step"  # where a height that a person set is from


_HEADERS: dict[int, tuple[str, str, str]] = {
    Qt.ItemDataRole.DisplayRole: ("Scan", "Plane", "z (µm)"),
    Qt.ItemDataRole.ToolTipRole: (
        "The layer; tick it to use it",
        "Plane of the stack, counted from 0",
        "Height of the focal plane in micrometres",
    ),
}


@dataclass(eq=False)
class Row:
    """One line: a plane of a layer, its height and whether it takes part."""

    layer_ref: weakref.ref[Image]
    plane: int
    z_um: float | None
    origin: str
    use: bool = True
    _scan: tuple[tuple[int, int, float, int], Scan] | None = field(default=None, repr=False)

    @property
    def layer(self) -> Image | None:
        """The layer, or None once nothing else holds it."""
        return self.layer_ref()

    @property
    def name(self) -> str:
        """What messages call this scan."""
        layer = self.layer
        return "a removed layer" if layer is None else _layers.plane_name(layer, self.plane)

    @property
    def planes(self) -> int:
        return _layers.plane_count(self.layer) if self.layer is not None else 0

    def scan(self, frame: int = 0) -> Scan:
        """The pixels and the height, checked; kept while neither changes."""
        layer = self.layer
        if layer is None:
            raise InputError("A layer of the table was removed: take its row out of use.")
        if self.plane >= self.planes:
            raise InputError(
                f"'{layer.name}' has no plane {self.plane} any more, only {self.planes}: choose "
                "another one, or take the row out of use."
            )
        z_um = self.height_um(frame)
        key = (id(layer.data), self.plane, z_um, frame)
        if self._scan is None or self._scan[0] != key:
            steps = _layers.known_metadata(layer).get("prepared")
            acquired = {"prepared": steps} if steps else {}
            pixels = _layers.plane_pixels(layer, self.plane, frame)
            self._scan = (key, Scan(pixels, z_um, self.name, acquired))
        return self._scan[1]

    def height_um(self, frame: int) -> float:
        """The height at one time point; one that was typed is that of all."""
        if self.z_um is None or self.layer is None:
            return math.nan
        moved = None if self.is_typed else _layers.heights_by_time(self.layer)
        if moved is None:
            return self.z_um
        return self.z_um + float(moved[frame, self.plane] - moved[0, self.plane])

    @property
    def is_typed(self) -> bool:
        """Whether a person has set the height."""
        return self.origin in (TYPED, TYPED_STEP)

    def forget(self) -> None:
        """Read the pixels again next time: they changed in place."""
        self._scan = None

    def look_again(self) -> None:
        """Take the height that the layer says now, unless a person has typed one."""
        layer = self.layer
        if layer is None or self.is_typed or self.plane >= self.planes:
            return
        heights, self.origin = _layers.heights_um(layer)
        self.z_um = None if heights is None else float(heights[self.plane])

    @property
    def rank(self) -> float:
        """Rows are sorted by it: their height, or after all that have one."""
        return math.inf if self.z_um is None else self.z_um


class ScanModel(QAbstractTableModel):
    """The rows, editable; doubles and missing heights are marked where they stand."""

    changed = Signal()

    def __init__(self, palette: Palette, parent: QWidget) -> None:
        super().__init__(parent)
        self.rows: list[Row] = []
        self._palette = palette
        self._before: deque[list[Row]] = deque(maxlen=_UNDONE)

    # what the dock asks -----------------------------------------------------------
    def used(self) -> list[Row]:
        """The rows in use, from the lowest height; those without one come last."""
        return sorted((row for row in self.rows if row.use), key=lambda row: row.rank)

    def problem(self, row: Row) -> str:
        """What is wrong with the height of ``row``, or an empty text."""
        if not row.use:
            return ""
        if row.z_um is None:
            return "The height of this scan is not known: double-click and type its z in µm."
        for other in self.rows:
            is_there = other.use and abs(other.rank - row.z_um) < SAME_HEIGHT_UM
            if other is not row and is_there:
                return f"“{other.name}” is at this height too: correct one or untick it."
        return ""

    # changes ----------------------------------------------------------------------
    def add(self, rows: Iterable[Row]) -> None:
        """Append rows, sorted by height; of planes that are in the table already, tick theirs."""
        self._before.append(self._copied())
        present = {(id(row.layer), row.plane): row for row in self.rows}
        fresh = []
        for row in rows:
            duplicate = present.get((id(row.layer), row.plane))
            if duplicate is None:
                fresh.append(row)
            else:
                duplicate.use = True
        self._replace([*self.rows, *fresh])

    def take_stack(self, layer: Image, rows: Sequence[Row]) -> int:
        """Let these planes of a stack be the scans; return how many others were unticked."""
        self._before.append(self._copied())
        others = [row for row in self.rows if row.layer is not layer]
        unticked = [row for row in others if row.use]
        for row in unticked:
            row.use = False
        is_none_used = not any(row.use for row in rows)
        for row in rows:
            row.use |= is_none_used
        self._replace([*others, *rows])
        return len(unticked)

    def swap(self, pairs: Sequence[tuple[Row, Row]]) -> None:
        """Untick the first row of every pair, and take the second in its place."""
        self._before.append(self._copied())
        for old, _ in pairs:
            old.use = False
        self._replace([*self.rows, *(new for _, new in pairs)])

    def remove(self, numbers: Iterable[int]) -> None:
        """Take out the rows with these numbers."""
        gone = set(numbers)
        if gone:
            self._before.append(self._copied())
        self._replace([row for i, row in enumerate(self.rows) if i not in gone])

    def remove_layer(self, layer: Image) -> None:
        """Take out the rows of a layer that left the viewer."""
        if any(row.layer is layer or row.layer is None for row in self.rows):
            self._replace(_without(self.rows, layer))
        self._before = deque((_without(rows, layer) for rows in self._before), _UNDONE)

    def undo(self) -> None:
        """Take back the last change of the table, not what has become of the layers since."""
        if self._before:
            self.rows = self._before.pop()
            self.refresh(is_other=True)

    def _copied(self) -> list[Row]:
        return [replace(row) for row in self.rows]

    def refresh(self, *, is_other: bool = False) -> None:
        """Show names again, and read pixels and heights again, of other rows if ``is_other``."""
        heights = [row.z_um for row in self.rows]
        for row in self.rows:
            row.forget()
            row.look_again()
        if heights == [row.z_um for row in self.rows] and not is_other:
            self._announce()
        else:
            self._replace(self.rows)

    def _replace(self, rows: list[Row]) -> None:
        self.beginResetModel()
        self.rows = sorted(rows, key=lambda row: row.rank)
        self.endResetModel()
        self.changed.emit()

    def _announce(self) -> None:
        if self.rows:
            last = self.index(len(self.rows) - 1, HEIGHT)
            self.dataChanged.emit(self.index(0, 0), last)
        self.changed.emit()

    # Qt's side --------------------------------------------------------------------
    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return 0 if parent is not None and parent.isValid() else 3

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        is_ours = orientation == Qt.Orientation.Horizontal and role in _HEADERS
        return _HEADERS[role][section] if is_ours else None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Tick in the first column, edit in the others."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.column() == USE:
            return flags | Qt.ItemFlag.ItemIsUserCheckable
        if index.column() == HEIGHT or self.rows[index.row()].planes > 1:
            return flags | Qt.ItemFlag.ItemIsEditable
        return flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = self.rows[index.row()], index.column()
        problem = self.problem(row) if column == HEIGHT else ""
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return self._text(row, column, role)
        if role == Qt.ItemDataRole.CheckStateRole and column == USE:
            return Qt.CheckState.Checked if row.use else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.ToolTipRole:
            return problem or self._tooltip(row, column)
        if role == Qt.ItemDataRole.BackgroundRole and problem:
            return self._palette.mark(error=row.z_um is None)
        if role == Qt.ItemDataRole.ForegroundRole and not row.use:
            return self._palette.faint
        if role == Qt.ItemDataRole.TextAlignmentRole and column != USE:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def _text(self, row: Row, column: int, role: int) -> str:
        if column == USE:
            return row.layer.name if row.layer is not None else "(removed)"
        if column == PLANE:
            return str(row.plane) if row.planes > 1 else "–"
        if row.z_um is None:
            return "" if role == Qt.ItemDataRole.EditRole else "⚠ type z"
        if role == Qt.ItemDataRole.EditRole:  # as it is, or to look at it would round it
            return f"{row.z_um:.10g}"
        return f"⚠ {row.z_um:g}" if self.problem(row) else f"{row.z_um:.6g}"

    def _tooltip(self, row: Row, column: int) -> str:
        if column == USE:
            return f"{row.name}: tick to use it (Space), Delete to take it out"
        if column == PLANE:
            return f"Plane 0 to {row.planes - 1}" if row.planes > 1 else "A single image"
        return f"Height {row.origin}; double-click to change"

    def setData(  # noqa: N802
        self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """Take an edit; text that is no number or no plane is refused."""
        is_taken = False
        with telling(self):
            is_taken = self._take(index, value, role)
        return is_taken  # noqa: RET504  # False where an error was told

    def _take(self, index: QModelIndex, value: Any, role: int) -> bool:
        row, before = self.rows[index.row()], self._copied()
        if role == Qt.ItemDataRole.CheckStateRole and index.column() == USE:
            row.use = Qt.CheckState(value) == Qt.CheckState.Checked
        elif role != Qt.ItemDataRole.EditRole:
            return False
        elif index.column() == HEIGHT:
            height = parse_length_um(str(value))
            if height is None and str(value).strip():
                return False
            row.z_um, row.origin = height, TYPED
        elif index.column() == PLANE and not self._move(row, str(value)):
            return False
        self._before.append(before)
        self._announce()
        return True

    def _move(self, row: Row, text: str) -> bool:
        """Take another plane of the same stack; its height moves with it."""
        layer = row.layer
        if layer is None or not text.strip().isdigit() or int(text) >= row.planes:
            return False
        row.plane = int(text)
        heights, origin = _layers.heights_um(layer)
        if heights is not None:
            row.z_um, row.origin = float(heights[row.plane]), origin
        return True


class ScanTable(QTableView):
    """The view: Delete takes rows out, Ctrl+Z brings them back; an empty table says what to do."""

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self._palette = palette
        self.scans = ScanModel(palette, self)
        self.setModel(self.scans)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setAccessibleName("Scans")
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        if rows is not None and columns is not None:
            rows.hide()
            rows.setDefaultSectionSize(24)
            columns.setHighlightSections(False)
            columns.setSectionResizeMode(USE, QHeaderView.ResizeMode.Stretch)
            for column, width in ((PLANE, 52), (HEIGHT, 84)):
                columns.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
                self.setColumnWidth(column, width)
        self.setFixedHeight(24 * 5 + 28)

    def selected_rows(self) -> list[int]:
        selection = self.selectionModel()
        return [] if selection is None else sorted(i.row() for i in selection.selectedRows())

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Delete takes the selected rows out; Space ticks them."""
        if event is None:
            return
        if event.matches(QKeySequence.StandardKey.Delete) or event.key() == Qt.Key.Key_Backspace:
            self.scans.remove(self.selected_rows())
        elif event.matches(QKeySequence.StandardKey.Undo):
            self.scans.undo()
        elif event.key() == Qt.Key.Key_Space and self.selected_rows():
            first = self.scans.rows[self.selected_rows()[0]].use
            state = Qt.CheckState.Unchecked if first else Qt.CheckState.Checked
            for number in self.selected_rows():
                index = self.scans.index(number, USE)
                self.scans.setData(index, state, Qt.ItemDataRole.CheckStateRole)
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        super().paintEvent(event)
        port = self.viewport()
        if self.scans.rows or port is None:
            return
        painter = QPainter(port)
        painter.setPen(self._palette.faint)
        painter.drawText(port.rect(), Qt.AlignmentFlag.AlignCenter, EMPTY_TEXT)
        painter.end()


def _without(rows: Iterable[Row], layer: Image) -> list[Row]:
    """The rows without those of a layer, and of layers that are gone."""
    return [row for row in rows if row.layer is not layer and row.layer is not None]


def rows_of(layer: Image, planes: Sequence[int], step_um: float | None = None) -> list[Row]:
    """Rows for some planes of a layer; a ``step_um`` replaces the heights that it says."""
    heights, origin = _layers.heights_um(layer)
    if step_um is not None:
        heights = spaced_heights(step_um, _layers.plane_count(layer), heights)
        origin = TYPED_STEP
    return [
        Row(weakref.ref(layer), p, None if heights is None else float(heights[p]), origin)
        for p in planes
    ]


def planes_of_one_stack(rows: Sequence[Row]) -> list[int] | None:
    """Which planes these rows are, if they are of one layer that has more than one."""
    if len({id(row.layer) for row in rows}) != 1 or rows[0].planes < 2:
        return None
    return [row.plane for row in rows]


def scans_of(rows: Sequence[Row], frame: int = 0) -> tuple[Scan, ...]:
    """The scans of these rows, at one time point."""
    for row in rows:
        if row.z_um is None:
            raise InputError(
                f"The z position of '{row.name}' is missing: type its height in µm in the table."
            )
    scans = check_scans(row.scan(frame) for row in rows)
    require_several(scans)
    named_sizes = ((row.name, _layers.pixel_um(row.layer)) for row in rows if row.layer is not None)
    sizes = {f"{size:.3g}": name for name, size in named_sizes if size is not None}
    if len(sizes) > 1:
        pairs = " and ".join(f"'{name}' has {size} µm" for size, name in sizes.items())
        raise InputError(f"The scans differ in pixel size ({pairs}): all must have the same one.")
    return scans


def is_incomplete(rows: Sequence[Row]) -> bool:
    """Whether the table is only unfinished, which is no mistake."""
    return len(rows) < 2 or any(row.z_um is None for row in rows)


def scan_warnings(rows: Sequence[Row], pixel_um: float) -> list[str]:
    """What to mind about the layers of the scans: their pixels and their places."""
    layers = layers_of(rows)
    sentences = [
        f"The pixel size is {pixel_um:g} µm here but {size:g} µm in layer '{layer.name}': the "
        "volume takes the one here."
        for layer, size in zip(layers, map(_layers.pixel_um, layers), strict=True)
        if size is not None and abs(size - pixel_um) > 0.01 * size
    ][:1]
    for name, words in ONE_CHANNEL.items():
        stated = {one.name: _layers.known_metadata(one).get(name) for one in layers}
        values = {in_words(value): layer for layer, value in stated.items() if value is not None}
        if len(values) > 1:
            pairs = [f"{value} in '{layer}'" for value, layer in values.items()]
            sentences.append(
                f"The {words} differs between the scans ({' and '.join(pairs[:2])}): are they of "
                "one channel?"
            )
    if any(
        not one.is_typed and _layers.heights_by_time(one.layer) is not None
        for one in rows
        if one.layer is not None
    ):
        sentences.append(
            "The time points have heights of their own: the table shows those of the first, and "
            "each is reconstructed from its own, on the same target grid."
        )
    places = [_layers.lateral_origin_um(layer) for layer in layers]
    if np.ptp(places, axis=0).max() > pixel_um / 2:
        sentences.append(
            "The scans lie at different places in x and y: they are taken as aligned, pixel on "
            "pixel."
        )
    turned = [one.name for one in layers if not _layers.is_upright(one)]
    if turned:
        sentences.append(
            f"Layer '{turned[0]}' is turned, sheared or mirrored in the viewer: the volume is not, "
            "so it will not lie over it."
        )
    return sentences


def layers_of(rows: Iterable[Row]) -> list[Image]:
    """Each layer of these rows once."""
    return list({id(row.layer): row.layer for row in rows if row.layer is not None}.values())
