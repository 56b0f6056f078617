"""Which layers docks offer and take, and a combo box of them that keeps up with the viewer."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer, Points
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox

from ...core.errors import InputError, if_possible
from . import layers as _layers
from .guard import on, say


def is_any_image(layer: Layer) -> bool:
    """Any image: of one that cannot be used, a sentence says why."""
    return isinstance(layer, Image)


def is_image(layer: Layer) -> bool:
    """Whether a layer is an image of one channel; what else is wrong with it is said later."""
    return isinstance(layer, Image) and not layer.rgb


def is_points(layer: Layer) -> bool:
    return isinstance(layer, Points)


def on_list_changes(owner: QObject, viewer: Any, slot: Callable[[], object]) -> None:
    """Call ``slot`` when layers come, go, move in the list or are renamed."""
    events = viewer.layers.events
    for event in (events.inserted, events.removed, events.reordered, events.renamed):
        on(owner, event, slot)


class LayerChoice(QComboBox):
    """A viewer's layers that are accepted, none, and perhaps a file to open."""

    changed = Signal()  # another layer is chosen, by a person or because the chosen one is gone
    wants_file = Signal()  # a person wants to open a file; what is chosen stays so until then

    def __init__(
        self,
        viewer: Any,
        nothing: str = "None",
        accepts: Callable[[Layer], bool] = is_image,
        opens_files: bool = False,
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._nothing = nothing
        self._accepts, self._opens_files = accepts, opens_files
        self._offered: list[weakref.ref[Layer]] = []
        self._chosen: weakref.ref[Layer] | None = None
        self._name = ""  # of the layer that was chosen last
        self.setSizeAdjustPolicy(self.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        on(self, self.activated, self._activated)
        on_list_changes(self, viewer, self._offer)
        self._offer()

    def layer(self) -> Any:
        return self._chosen() if self._chosen is not None else None

    def offers(self, layer: Layer) -> bool:
        """Whether a layer can be chosen."""
        return any(other() is layer for other in self._offered)

    def choose(self, layer: Layer | None) -> None:
        """Choose a layer that is offered, or none."""
        if layer is not None and not self.offers(layer):
            return
        before = self.layer()
        self._chosen = None if layer is None else weakref.ref(layer)
        self._show()
        if layer is not before:
            self.changed.emit()

    def _offer(self) -> None:
        layers = [layer for layer in self._viewer.layers if self._accepts(layer)]
        self._offered = [weakref.ref(layer) for layer in layers]
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
            say(self, f"Layer '{self._name}' is gone. {self.accessibleName()}: {self._nothing}.")

    def _show(self) -> None:
        chosen = self.layer()
        self._name = self._name if chosen is None else chosen.name
        numbers = [n for n, other in enumerate(self._offered, 1) if other() is chosen]
        self.setCurrentIndex(numbers[0] if chosen is not None and numbers else 0)

    def _activated(self, number: int) -> None:
        if number <= len(self._offered):
            self.choose(self._offered[number - 1]() if number else None)
        else:
            self._show()
            self.wants_file.emit()


def is_stack(layer: Layer) -> bool:
    """Whether a layer is an image of several planes of one channel."""
    image = if_possible(_layers.check_layer, layer)
    return image is not None and _layers.plane_count(image) > 1


def is_measured_stack(layer: Layer) -> bool:
    """Whether a layer is a stack that was not made from scans."""
    return is_stack(layer) and not _layers.is_reconstruction(layer)


def selected(viewer: Any) -> list[Layer]:
    """The selected layers, in the order of the list."""
    return [layer for layer in viewer.layers if layer in viewer.layers.selection]


def selected_or_only(viewer: Any, accepts: Callable[[Layer], bool]) -> list[Layer]:
    """The selected layers of those that are accepted, or the only one of these."""
    layers = list(filter(accepts, viewer.layers))
    return list(filter(accepts, selected(viewer))) or (layers if len(layers) == 1 else [])


def scans_like(layer: Layer, layers: Iterable[Layer]) -> list[Layer]:
    """The scans of one plane as large as ``layer``, each at a height of its own; else it alone."""

    def height_um(one: Layer) -> float | None:
        with contextlib.suppress(InputError):
            image = _layers.check_scan_layer(one)
            heights = _layers.heights_um(image)[0]
            if heights is not None and len(heights) == 1 and one.data.shape == layer.data.shape:
                return float(heights[0])
        return None

    like = {one: height_um(one) for one in layers}
    alike = [one for one in like if like[one] is not None]
    is_one_each = len({like[one] for one in alike}) == len(alike)
    return alike if layer in alike and is_one_each else [layer]


def check_stack(layer: Layer, hint: str = "choose one with at least two planes.") -> Image:
    """Return ``layer`` when it is a stack; else raise InputError, which ends in ``hint``."""
    image = _layers.check_layer(layer)
    if _layers.plane_count(image) < 2:
        raise InputError(f"Layer '{image.name}' is one image, not a stack: {hint}")
    return image


def frame_of(
    layer: Layer,
    typed_um: tuple[float, float, float] | None = None,
    remedy: str = "type it in µm, or set the layer's scale and units.",
) -> _layers.Frame:
    """Where the voxels of a stack are; ``typed_um`` is their size where the layer does not say."""
    frame = _layers.stack_frame(check_stack(layer))
    if frame is None and typed_um is not None:
        return _layers.Frame(typed_um, (0.0, 0.0, 0.0))
    if frame is None:
        raise InputError(f"Layer '{layer.name}' does not say the size of its voxels: {remedy}")
    return frame


def heights_in(layer: Image, frame: _layers.Frame) -> npt.NDArray[np.float64]:
    """Heights (Z,) of the planes of a stack with this frame, uneven where its file says so."""
    stated = _layers.file_heights_um(layer)
    if stated is not None:
        return stated
    step, bottom = frame.voxel_um[0], frame.origin_um[0]
    return bottom + step * np.arange(_layers.plane_count(layer), dtype=np.float64)


def says_its_size(layer: Layer) -> bool:
    """Whether the size of a stack need not be asked for; True for what is no stack."""
    try:
        return not is_stack(layer) or _layers.stack_frame(_layers.check_layer(layer)) is not None
    except InputError:
        return True


def lacks_step(layer: Layer) -> bool:
    """Whether a layer is a stack that does not say how far apart its planes are."""
    return is_stack(layer) and _layers.heights_um(_layers.check_layer(layer))[0] is None
