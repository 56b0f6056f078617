"""Parts of the Compare dock: the layers to tick, the baselines, the table of means."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QListWidget,
    QListWidgetItem,
    QTableWidgetItem,
)
from superqt.utils import signals_blocked

from ...core.methods import METHOD_NAMES
from ..shared.form import as_named, asked
from ..shared.guard import on
from ..shared.layer_choice import is_image, on_list_changes
from ..shared.parts import NumberTable, described

if TYPE_CHECKING:
    import pandas as pd

_ROW = 22
_SWATCH = 10


class Column(NamedTuple):
    """How the means of one measure are shown."""

    title: str
    width: int
    digits: int
    best: Callable[[Any], float]


_COLUMNS = {
    "psnr_db": Column("PSNR dB", 58, 2, max),
    "nrmse_percent": Column("NRMSE %", 64, 2, min),
    "ssim": Column("SSIM", 62, 4, max),
}


LayerTest = Callable[[Layer], bool]


class LayerList(QListWidget):
    """The viewer's images but the reference, to tick any number of them."""

    changed = Signal()

    def __init__(self, viewer: Any, accepts: LayerTest, ticks: LayerTest) -> None:
        super().__init__()
        self._viewer, self._accepts, self._ticks = viewer, accepts, ticks
        self._by_hand: weakref.WeakKeyDictionary[Layer, bool] = weakref.WeakKeyDictionary()
        self._shown: list[weakref.ref[Layer]] = []
        tip = "Reconstructions, or any other stacks: tick those to compare (Space)"
        described(self, "Compare", tip)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        on(self, self.itemChanged, self._item_changed)
        on_list_changes(self, viewer, self.offer)
        self.offer()

    def ticked(self) -> list[Image]:
        """The ticked layers, in the order of the list."""
        rows = enumerate(layer() for layer in self._shown)
        return [layer for n, layer in rows if layer is not None and self._is_ticked(n)]

    def tick(self, layer: Layer) -> None:
        """Tick a layer, if it is listed."""
        self._by_hand[layer] = True
        self.offer()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(200, _ROW * min(max(self.count(), 2), 5) + 4)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(80, self.sizeHint().height())

    def offer(self) -> None:
        """List what is accepted now; what a person set stays, and the rest is ticked if meant."""
        offered = list(filter(self._accepts, self._viewer.layers))
        row = self.currentRow()
        with signals_blocked(self):
            self.clear()
            self._shown = [weakref.ref(layer) for layer in offered]
            for layer in offered:
                item = QListWidgetItem(layer.name)
                item.setToolTip(layer.name)
                item.setSizeHint(QSize(10, _ROW))
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                is_ticked = self._by_hand.get(layer, self._ticks(layer))
                item.setCheckState(Qt.CheckState.Checked if is_ticked else Qt.CheckState.Unchecked)
                self.addItem(item)
            self.setCurrentRow(min(row, self.count() - 1))
        self.setFixedHeight(self.sizeHint().height())
        self.changed.emit()

    def _item_changed(self, item: QListWidgetItem) -> None:
        layer = self._shown[self.row(item)]()
        if layer is None:
            return
        self._by_hand[layer] = self._is_ticked(self.row(item))
        self.changed.emit()

    def _is_ticked(self, row: int) -> bool:
        item = self.item(row)
        return item is not None and item.checkState() == Qt.CheckState.Checked


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
        "z step µm",
        "Distance between planes in µm, for layers that do not say",
        example="0.2",
        of_image=True,
    )
    pixel: float | None = asked(
        "pixel size",
        "Size of a pixel in µm, for layers that do not say",
        label="Pixel µm",
        example="0.103",
        beside=True,
        of_image=True,
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


class MeansTable(NumberTable):
    """The mean of each measure, one row a volume, the best in bold."""

    def __init__(self) -> None:
        super().__init__(
            "Means",
            "Means over the planes that all volumes have and that were no scan; the best is bold",
            ["Mean of", *(column.title for column in _COLUMNS.values())],
            _ROW,
        )
        self.only_show()
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrap(False)
        self.setIconSize(QSize(_SWATCH, _SWATCH))
        for number, column in enumerate(_COLUMNS.values(), 1):
            self.header.setSectionResizeMode(number, QHeaderView.ResizeMode.Fixed)
            self.setColumnWidth(number, column.width)
        self.fit_rows(1)

    def show_means(self, means: pd.DataFrame, colours: Iterable[str]) -> None:
        """Show the ``means`` of a comparison, each volume with the colour of its curve."""
        self.show_rows(
            [
                ["", *map(_text, values, _COLUMNS.values())]
                for values in means[[*_COLUMNS]].to_numpy()
            ]
        )
        for row, (name, colour) in enumerate(zip(means.index, colours, strict=False)):
            swatch = QPixmap(_SWATCH, _SWATCH)
            swatch.fill(QColor(colour))
            first = QTableWidgetItem(QIcon(swatch), name)
            first.setToolTip(name)
            self.setItem(row, 0, first)
        for number, (measure, column) in enumerate(_COLUMNS.items(), 1):
            values = means[measure]
            is_best = values == column.best(values.dropna()) if values.count() > 1 else []
            for best_row in np.flatnonzero(is_best):
                cell = self.item(int(best_row), number)
                assert cell is not None
                font = cell.font()
                font.setBold(True)
                cell.setFont(font)
        self.fit_rows(max(len(means), 1))


def _text(value: float, column: Column) -> str:
    return "–" if math.isnan(value) else f"{value:.{column.digits}f}".replace("inf", "∞")
