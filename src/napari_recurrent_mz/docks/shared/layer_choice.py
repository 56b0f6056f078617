"""A combo box of a viewer's layers that keeps up with them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from napari.layers import Image, Layer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QWidget

from .guard import guarded, on


def is_image(layer: Layer) -> bool:
    """Whether a layer is an image of one channel; what else is wrong with it is said later."""
    return isinstance(layer, Image) and not layer.rgb


class LayerChoice(QComboBox):
    """A viewer's layers that are accepted, none, and perhaps a file to open.

    It follows layers that come, go, move and are renamed; the choice stays while its layer does.
    """

    changed = Signal()  # another layer is chosen, by a person or because the chosen one is gone
    wants_file = Signal()  # a person wants to open a file; what is chosen stays so until then

    def __init__(
        self,
        viewer: Any,
        name: str,
        tooltip: str,
        nothing: str = "None",
        accepts: Callable[[Layer], bool] = is_image,
        opens_files: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._nothing = nothing
        self._accepts, self._opens_files = accepts, opens_files
        self._offered: list[weakref.ref[Layer]] = []
        self._chosen: weakref.ref[Layer] | None = None
        self._named: weakref.WeakSet[Layer] = weakref.WeakSet()
        self.setAccessibleName(name)
        self.setToolTip(tooltip)
        self.setSizeAdjustPolicy(self.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        on(self, self.activated, self._activated)
        self._offering = guarded(self, self._offer)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._offering)
        self._offer()

    def layer(self) -> Any:
        """The chosen layer, or None."""
        return self._chosen() if self._chosen is not None else None

    def choose(self, layer: Layer | None) -> None:
        """Choose a layer that is offered, or none."""
        if layer is not None and all(other() is not layer for other in self._offered):
            return
        before = self.layer()
        self._chosen = None if layer is None else weakref.ref(layer)
        self._show()
        if layer is not before:
            self.changed.emit()

    def _offer(self, _event: Any = None) -> None:
        layers = [layer for layer in self._viewer.layers if self._accepts(layer)]
        self._offered = [weakref.ref(layer) for layer in layers]
        for layer in layers:
            if layer not in self._named:
                self._named.add(layer)
                layer.events.name.connect(self._offering)
        chosen = self.layer()
        has_gone = self._chosen is not None and all(layer is not chosen for layer in layers)
        self.clear()
        self.addItem(self._nothing)
        self.addItems([layer.name for layer in layers])
        if self._opens_files:
            self.addItem("Open a file…")
        if has_gone:
            self._chosen = None
        self._show()
        if has_gone:
            self.changed.emit()

    def _show(self) -> None:
        chosen = self.layer()
        numbers = [n for n, other in enumerate(self._offered, 1) if other() is chosen]
        self.setCurrentIndex(numbers[0] if chosen is not None and numbers else 0)

    def _activated(self, number: int) -> None:
        if number <= len(self._offered):
            self.choose(self._offered[number - 1]() if number else None)
        else:
            self._show()
            self.wants_file.emit()
