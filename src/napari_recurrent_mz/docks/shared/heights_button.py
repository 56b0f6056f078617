"""Planes that a program labelled as channels or times, and that are heights: said by one press."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from napari.layers import Image, Layer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QPushButton

from ...io._axes import AXIS_WORDS
from .guard import on
from .layers import FILE, full_resolution, own_metadata, plane_count
from .parts import name_button

_TIP = (
    "Some programs label the planes of a z-stack as channels or time points. Press to open the "
    "file as a z-stack, and to take planes of it as scans; layers that are there stay as they are"
)


class Mislabelled(NamedTuple):
    """An image whose channels (C) or time points (T) may be heights: they have one plane each."""

    path: str
    inside: str
    letter: str
    planes: int


def mislabelled(layer: Layer) -> Mislabelled | None:
    """What may be heights in the file of a layer; None where nothing may be."""
    file = own_metadata(layer).get(FILE)
    if not isinstance(file, Mapping) or not isinstance(layer, Image):
        return None
    shape, labels = full_resolution(layer).shape, layer.axis_labels
    lengths = {"C": int(file.get("channels") or 1), "T": shape[0] if labels[0] == "t" else 1}
    planes = 1 if len(shape) == 3 and labels[0] == "t" else plane_count(layer)
    along = [letter for letter, count in lengths.items() if count > 1]
    is_split = "t" in file or "z" in file
    if planes > 1 or len(along) != 1 or is_split:
        return None
    return Mislabelled(str(file["path"]), str(file["inside"]), along[0], lengths[along[0]])


class HeightsButton(QPushButton):
    """Offers to take channels or time points for heights; hidden where there are none to take."""

    pressed_for = Signal(object)  # a Mislabelled

    def __init__(self) -> None:
        super().__init__()
        self._offered: Mislabelled | None = None
        name_button(self, "These planes are heights (z)", _TIP)
        on(self, self.clicked, self._press)
        self.offer(None)

    def look(self, layers: Iterable[Layer]) -> None:
        """Offer what is in the file of one of these layers."""
        candidates: list[Any] = [mislabelled(layer) for layer in layers]
        self.offer(next((one for one in candidates if one is not None), None))

    def offer(self, one: Mislabelled | None) -> None:
        """Offer this, or nothing."""
        self._offered = one
        self.setVisible(one is not None)
        if one is not None:
            words = f"{AXIS_WORDS[one.letter]}s"
            name_button(self, f"The {one.planes} {words} are heights (z)", _TIP)

    def _press(self) -> None:
        if self._offered is not None:
            self.pressed_for.emit(self._offered)
