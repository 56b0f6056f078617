"""Where things are: in the viewer's slider through z, and of one layer in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer

from ...core.arrays import Array
from ...core.scans import ZGrid
from .layers import check_units, own_metadata, um_in, um_per_unit


def show_height(viewer: Any, z_um: float) -> None:
    """Move the viewer's slider to a height, in micrometres."""
    dims = viewer.dims
    if dims.ndim >= 3:
        dims.set_point(dims.ndim - 3, z_um / um_along(dims, dims.ndim - 3))


def um_along(dims: Any, axis: int) -> float:
    """Micrometres per world unit along an axis of the viewer; a pixel counts as one."""
    return 1.0 if dims.units is None else um_in(dims.units[axis])


def units_of(layer: Layer, dims: Any) -> Array:
    """Units of a layer's world per unit of the viewer's, along the layer's axes."""
    axes = range(-layer.ndim, 0)
    return np.array([um_along(dims, axis) / um_per_unit(layer, axis) for axis in axes])


def plane_at(viewer: Any, layer: Layer) -> float:
    """Which plane of a layer the viewer's slider is at, between two of them where it is."""
    world = np.asarray(viewer.dims.point[-layer.ndim :]) * units_of(layer, viewer.dims)
    return float(layer.world_to_data(world)[-3])


def show_plane_of(viewer: Any, layer: Layer, index: npt.ArrayLike) -> None:
    """Move the viewer's slider to the plane of a place in a layer's data."""
    world = np.asarray(layer.data_to_world(index)) / units_of(layer, viewer.dims)
    viewer.dims.set_point(viewer.dims.ndim - 3, float(world[-3]))


def planes_from_view(viewer: Any, grid: ZGrid) -> tuple[int, ...]:
    """All planes of a grid, nearest to the one in view first: what is done is always one block."""
    first = _plane_in_view(viewer, grid)
    return tuple(sorted(range(len(grid)), key=lambda i: (abs(i - first), i)))


def _plane_in_view(viewer: Any, grid: ZGrid) -> int:
    """The grid plane that the viewer shows now; the middle one when it shows none."""
    dims = viewer.dims
    middle = len(grid) // 2
    if dims.ndim < 3 or dims.ndisplay == 3:
        return middle
    axis = dims.ndim - 3
    z_um = float(dims.point[axis]) * um_along(dims, axis)
    if not grid.start_um <= z_um <= grid.stop_um:
        return middle
    return round((z_um - grid.start_um) / grid.step_um) if len(grid) > 1 else 0


def scans_um(layer: Layer) -> tuple[float, ...]:
    """Heights of the scans that a layer was made from, in micrometres; empty if unknown."""
    from ...measure.comparison import made_from

    return made_from(own_metadata(layer))[0]


def index_in(image: Image, layer: Layer, places: npt.ArrayLike) -> Array:
    """Places in a layer of points or shapes (N, D), in the pixels of an image, (N, its axes)."""
    # Along the axes that the layer lacks they are where the image begins. Both must be in a unit of
    # length, or both in pixels.
    axes = min(layer.ndim, image.ndim)
    check_units(layer, image, axes)
    world = _mapped(layer.data_to_world, np.asarray(places, np.float64))
    padded = np.zeros((len(world), image.ndim))
    padded[:, -axes:] = world[:, -axes:] * [
        um_per_unit(layer, axis) / um_per_unit(image, axis) for axis in range(-axes, 0)
    ]
    return _mapped(image.world_to_data, padded)


def _mapped(transform: Callable[[Any], Any], places: Array) -> Array:
    """What an affine map, which takes one place at a time, makes of many."""
    start = np.array(transform(np.zeros(places.shape[1])))
    columns = np.array([transform(unit) for unit in np.eye(places.shape[1])]) - start
    return np.asarray(start + places @ columns)
