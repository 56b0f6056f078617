"""Parts of the Compare dock: the layers to tick, the baselines, the table of means."""

from __future__ import annotations

import math
import re
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from napari.layers import Image, Layer
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QListWidget,
    QListWidgetItem,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)
from superqt.utils import signals_blocked

from ...core.methods import METHOD_NAMES
from ...core.scans import InputError
from ...measure.comparison import MEASURES
from ..shared.fields import parse_length_um
from ..shared.form import as_named, asked
from ..shared.guard import guarded, on
from ..shared.layer_choice import is_image

_ROW = 22
_ROWS_SEEN = (2, 5)
_SWATCH = 10
_BEST = {"psnr_db": max, "nrmse_percent": min, "ssim": max}
_DIGITS = {"psnr_db": 2, "nrmse_percent": 2, "ssim": 4}
_SHORT = {"psnr_db": "PSNR dB", "nrmse_percent": "NRMSE %", "ssim": "SSIM"}


class LayerList(QListWidget):
    """The viewer's images but the reference, to tick any number of them.

    The list follows layers that come, go, move and get other names; ticks stay.

    Parameters
    ----------
    viewer : napari.Viewer
    accepts : callable
        Whether a layer is offered.
    ticks : callable
        Whether a layer that is new is ticked.
    """

    changed = Signal()

    def __init__(
        self,
        viewer: Any,
        accepts: Callable[[Layer], bool],
        ticks: Callable[[Layer], bool],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._accepts, self._ticks = viewer, accepts, ticks
        self._ticked: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._known: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._shown: list[weakref.ref[Layer]] = []
        self._reference: weakref.ref[Layer] | None = None
        self.setAccessibleName("Compare")
        self.setToolTip("Reconstructions, or any other stacks: tick those to compare (Space)")
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        on(self, self.itemChanged, self._item_changed)
        self._offering = guarded(self, self._offer)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._offering)
        self._offer()

    def ticked(self) -> list[Image]:
        """The ticked layers, in the order of the list."""
        found = [layer() for layer in self._shown]
        return [layer for layer in found if layer is not None and layer in self._ticked]

    def tick(self, layers: Iterable[Layer]) -> None:
        """Tick these layers and no others."""
        self._ticked = weakref.WeakSet(layers)
        self._show()
        self.changed.emit()

    def leave_out(self, reference: Layer | None) -> None:
        """Do not offer the layer that is the reference."""
        self._reference = None if reference is None else weakref.ref(reference)
        self._offer()

    def sizeHint(self) -> QSize:  # noqa: N802
        """As high as its rows, within limits."""
        low, high = _ROWS_SEEN
        return QSize(200, _ROW * min(max(self.count(), low), high) + 4)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """No less than its rows need."""
        return QSize(80, self.sizeHint().height())

    def _offer(self, _event: Any = None) -> None:
        for layer in self._viewer.layers:
            if layer not in self._known:
                self._known.add(layer)
                layer.events.name.connect(self._offering)
                if self._ticks(layer):
                    self._ticked.add(layer)
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        reference = None if self._reference is None else self._reference()
        found = [
            layer
            for layer in self._viewer.layers
            if self._accepts(layer) and layer is not reference
        ]
        row = self.currentRow()
        with signals_blocked(self):
            self.clear()
            self._shown = [weakref.ref(layer) for layer in found]
            for layer in found:
                item = QListWidgetItem(layer.name)
                item.setToolTip(layer.name)
                item.setSizeHint(QSize(10, _ROW))
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                is_ticked = layer in self._ticked
                item.setCheckState(Qt.CheckState.Checked if is_ticked else Qt.CheckState.Unchecked)
                self.addItem(item)
            self.setCurrentRow(min(row, self.count() - 1))
        self.setFixedHeight(self.sizeHint().height())

    def _item_changed(self, item: QListWidgetItem) -> None:
        layer = self._shown[self.row(item)]()
        if layer is None:
            return
        if item.checkState() == Qt.CheckState.Checked:
            self._ticked.add(layer)
        else:
            self._ticked.discard(layer)
        self.changed.emit()


@dataclass(frozen=True)
class Reference:
    """What is taken for the truth."""

    reference: Any = asked(
        "Reference",
        "The stack that is taken for the truth: a mechanical scan",
        label="",
        nothing="Choose a stack",
        layers=is_image,
    )


def _baseline(key: str, text: str = "", **more: Any) -> Any:
    name = METHOD_NAMES[key]
    tooltip = f"{name}, from the reference's own planes at the heights of the scans"
    return asked(f"Baseline: {name}", tooltip, False, text=text or name, **more)


@dataclass(frozen=True)
class Options:
    """Sizes that layers do not say, the baselines and what they start from; micrometres."""

    stored: ClassVar = as_named("fit")
    step: float | None = asked(
        "z step µm", "Distance between planes in µm, for layers that do not say", example="0.2"
    )
    pixel: float | None = asked(
        "pixel size",
        "Size of a pixel in µm, for layers that do not say",
        label="Pixel µm",
        example="0.103",
        beside=True,
    )
    nearest: bool = _baseline("nearest", heading="Baselines from the reference")
    linear: bool = _baseline("linear", "Linear", beside=True)
    cubic: bool = _baseline("cubic", "Cubic", beside=True)
    pchip: bool = _baseline("pchip", "Shape-preserving")
    lmmse: bool = _baseline("lmmse", beside=True)
    scans: str = asked(
        "Scans at z",
        "Heights of the scans in µm, spaces between: the baselines start from the reference's "
        "planes there, which are left out of the means; empty takes what the layers say",
        "",
        label="Scans at z (µm)",
    )
    fit: bool = asked(
        "Fit gain and offset",
        "First bring each volume to the units of the reference by one gain and one offset, for a "
        "reference by a confocal; off, nothing is rescaled",
        False,
        text="Fit gain and offset (another microscope)",
    )


class MeansTable(QTableWidget):
    """The mean of each measure, one row a volume, the best in bold."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 1 + len(MEASURES), parent)
        self.setAccessibleName("Means")
        self.setHorizontalHeaderLabels(["Mean of", *_SHORT.values()])
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setIconSize(QSize(_SWATCH, _SWATCH))
        self.setToolTip(
            "Means over the planes that all volumes have and that were no scan; the best is bold"
        )
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        if rows is not None and columns is not None:
            rows.hide()
            rows.setDefaultSectionSize(_ROW)
            columns.setHighlightSections(False)
            columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
            for column, width in ((1, 58), (2, 64), (3, 62)):
                columns.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
                self.setColumnWidth(column, width)
        self.show_means(None, ())

    def show_means(self, means: Any, colours: Iterable[str]) -> None:
        """Show the table of a comparison, or nothing.

        Parameters
        ----------
        means : pandas.DataFrame or None
            See :attr:`napari_recurrent_mz.measure.comparison.Comparison.means`.
        colours : iterable of str
            Of the curves.
        """
        names = [] if means is None else list(means.index)
        self.setRowCount(len(names))
        for row, (name, colour) in enumerate(zip(names, colours, strict=False)):
            first = QTableWidgetItem(_swatch(colour), name)
            first.setToolTip(name)
            self.setItem(row, 0, first)
            for column, measure in enumerate(MEASURES, start=1):
                self.setItem(row, column, _number(means[measure], row, measure))
        header = self.horizontalHeader()
        top = header.sizeHint().height() if header is not None else 0
        self.setFixedHeight(top + _ROW * max(len(names), 1) + 4)

    def text_of(self, row: int) -> list[str]:
        """What a row says."""
        cells = [self.item(row, column) for column in range(self.columnCount())]
        return [cell.text() for cell in cells if cell is not None]


def _number(values: Any, row: int, measure: str) -> QTableWidgetItem:
    value = float(values.iloc[row])
    finite = [v for v in values if not math.isnan(v)]
    text = "–" if math.isnan(value) else f"{value:.{_DIGITS[measure]}f}".replace("inf", "∞")
    cell = QTableWidgetItem(text)
    cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    if len(finite) > 1 and value == _BEST[measure](finite):
        font = cell.font()
        font.setBold(True)
        cell.setFont(font)
    return cell


def _swatch(colour: str) -> QIcon:
    made = QPixmap(_SWATCH, _SWATCH)
    made.fill(QColor(colour))
    return QIcon(made)


def parse_heights(text: str) -> tuple[float, ...]:
    """Heights in µm from what a person types: ``2 5 8``, ``2, 5, 8``, ``2,5; 5; 8 µm``.

    Raises
    ------
    InputError
        If a word is no length.
    """
    found: list[float] = []
    joined = re.sub(r"(?<=\d)\s+(?=(?:µm|μm|um|nm|mm)\b)", "", text)
    for word in re.split(r";|,(?=\s)|\s", joined):
        values = [parse_length_um(word)]
        if values[0] is None:
            values = [parse_length_um(part) for part in word.split(",")]
        for value in values:
            if value is not None:
                found.append(value)
            elif word.strip():
                raise InputError(
                    f"'{word}' in the heights of the scans is no number: type them in µm with "
                    "spaces between, for instance 2 5 8."
                )
    return tuple(sorted(set(found)))
