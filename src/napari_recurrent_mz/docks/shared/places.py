"""Where what is drawn in one layer lies in another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer

from . import layers as _layers

Array = npt.NDArray[np.float64]


def index_in(image: Image, layer: Layer, places: npt.ArrayLike) -> Array:
    """Places in a layer of points or shapes (N, D), in the pixels of an image, (N, its axes).

    Along the axes that the layer lacks they are where the image begins. Both must be in a unit of
    length, or both in pixels.
    """
    axes = min(layer.ndim, image.ndim)
    _layers.check_units(layer, image, axes)
    world = _mapped(layer.data_to_world, np.asarray(places, np.float64))
    padded = np.zeros((len(world), image.ndim))
    padded[:, -axes:] = world[:, -axes:] * [
        _layers.um_per_unit(layer, axis) / _layers.um_per_unit(image, axis)
        for axis in range(-axes, 0)
    ]
    return _mapped(image.world_to_data, padded)


def _mapped(transform: Callable[[Any], Any], places: Array) -> Array:
    """What an affine map, which takes one place at a time, makes of many."""
    start = np.array(transform(np.zeros(places.shape[1])))
    columns = np.array([transform(unit) for unit in np.eye(places.shape[1])]) - start
    return np.asarray(start + places @ columns)
