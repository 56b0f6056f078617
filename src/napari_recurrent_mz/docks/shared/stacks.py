"""What several docks ask of a layer that may be a stack."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from napari.layers import Image, Layer

from ...core.scans import InputError
from . import layers as _layers


def is_stack(layer: Layer) -> bool:
    """Whether a layer is an image of several planes of one channel."""
    try:
        return _layers.plane_count(_layers.check_layer(layer)) > 1
    except InputError:
        return False


def is_measured_stack(layer: Layer) -> bool:
    """Whether a layer is a stack that was not made from scans."""
    return is_stack(layer) and not _layers.is_reconstruction(layer)


def selected_or_only(viewer: Any, accepts: Callable[[Layer], bool]) -> list[Layer]:
    """The selected layers of those that are accepted, or the only one of these."""
    layers = [layer for layer in viewer.layers if accepts(layer)]
    selected = [layer for layer in layers if layer in viewer.layers.selection]
    return selected or (layers if len(layers) == 1 else [])


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


def says_its_size(layer: Layer) -> bool:
    """Whether the size of a stack need not be asked for; True for what is no stack."""
    try:
        return not is_stack(layer) or _layers.stack_frame(_layers.check_layer(layer)) is not None
    except InputError:
        return True


def lacks_step(layer: Layer) -> bool:
    """Whether a layer is a stack that does not say how far apart its planes are."""
    try:
        return is_stack(layer) and _layers.heights_um(_layers.check_layer(layer))[0] is None
    except InputError:
        return False
