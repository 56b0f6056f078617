"""Layers to files: OME-TIFF and OME-Zarr that open again as they were, in µm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Layer

from ... import __version__
from ...core.arrays import Array
from ...core.scans import Heights, InputError
from ...io import Channel, Place, even_step, write_channels, write_surface
from ...io._channels import BY_TIME, FIRST_POINT, OnPlane
from ...io._zarr import NGFF
from ..shared import layers as _layers

_EVEN = 1e-6  # of the step: what is off by more is no rounding
_ENDINGS = (".tif", ".tiff", ".zarr")
_OPTICS = ("na", "wavelength_um", "immersion_index")


def write_ome_tiff(path: str, layers: Sequence[Any]) -> list[str]:
    """napari's writer of OME-TIFF: layers as (data, attributes, type)."""
    return _write(path, layers, ".ome.tif")


def write_ome_zarr(path: str, layers: Sequence[Any]) -> list[str]:
    """napari's writer of OME-Zarr: as :func:`write_ome_tiff`."""
    return _write(path, layers, ".ome.zarr")


def _write(path: str, layers: Sequence[Any], ending: str) -> list[str]:
    target = Path(path)
    is_named = target.suffix.lower() in _ENDINGS
    target = target if is_named else target.with_name(f"{target.name}{ending}")
    try:
        file = LayersFile.of([Layer.create(data, about, kind) for data, about, kind in layers])
        if not is_named:  # napari has asked about another name
            check_free(target)
        return [str(file.write(target))]
    except InputError as error:
        # It is a ValueError, which napari takes for a writer that is not there, and says nothing.
        raise OSError(str(error)) from error


def check_free(path: Path) -> None:
    """Raise :class:`InputError` when something has this name already."""
    if path.exists():
        raise InputError(f"'{path.name}' is already there and stays as it is: choose another name.")


@dataclass(frozen=True, eq=False)
class LayersFile:
    """Layers as one file holds them; nothing of it belongs to napari."""

    channels: tuple[Channel, ...]
    place: Place
    record: Mapping[str, Any]  # how they were made
    heights_um: Heights | None = None  # of every pixel, where the one layer is a surface's image

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> LayersFile:
        """Image layers of one size and place as channels; InputError if no file can hold them."""
        first, *others = images = [_checked(layer) for layer in layers]
        place = place_of(first)
        for other in others:
            _check_alike(first, other, place)
        channels = []
        for layer in images:
            _layers.check_is_there(layer)
            low, high = (float(limit) for limit in layer.contrast_limits)
            name = layer.name if others else ""
            channels.append(Channel(_layers.full_resolution(layer), name, (low, high)))
        record = {"channels": [_record(one) for one in images]} if others else _record(first)
        return cls(tuple(channels), place, record, None if others else _surface_heights(first))

    def write(self, path: Path, on_plane: OnPlane | None = None, ngff: str = NGFF[0]) -> Path:
        """Write the file, and replace what is there."""
        if self.heights_um is None or self.place.pixel_um is None:
            return write_channels(
                path, self.channels, self.place, self.record, on_plane=on_plane, ngff=ngff
            )
        pixels, origin_um = self.channels[0].pixels, self.place.origin_um
        return write_surface(
            path, pixels, self.heights_um, self.place.pixel_um, self.record, origin_um=origin_um
        )


def place_of(layer: Image) -> Place:
    """Where the voxels of a layer ([[T,] Z,] Y, X) are; InputError if no file can state it."""
    _layers.check_upright(layer)
    if _layers.is_tilted(layer):
        raise InputError(f"The planes of layer '{layer.name}' are not level: resample it first.")
    space = range(max(layer.ndim - 3, 0), layer.ndim)  # beside time
    in_length = [bool(layer.units[axis].is_compatible_with("um")) for axis in space]
    if any(in_length) and not all(in_length):
        units = ", ".join(str(layer.units[axis]) for axis in space)
        raise InputError(
            f"Layer '{layer.name}' has axes in {units}: give all of them a length, or none."
        )
    factors = np.array([_layers.um_per_unit(layer, axis) for axis in space])
    places = _layers.world_scale(layer), _layers.world_place(layer)
    scale, start = (place[list(space)] * factors for place in places)
    if not _layers.has_size(layer):
        if np.any(start != 0) or np.any(scale != 1):
            raise InputError(
                f"Layer '{layer.name}' has a position or a z scale, but its pixels have no size: "
                "set all of its scale and its units first."
            )
        return Place()
    pixel, origin = _pixel_um(layer, scale), (float(start[-2]), float(start[-1]))
    if layer.ndim == 2 or _layers.heights_um(layer)[0] is None:
        return Place(pixel, origin_um=origin)
    step = float(scale[0])
    _layers.check_plausible(layer, "z_step_um", abs(step), "planes", "apart")
    heights = _layers.file_heights_um(layer)
    if heights is None:
        heights = start[0] + step * np.arange(_layers.plane_count(layer), dtype=np.float64)
    is_even = len(heights) < 2 or even_step(heights, _EVEN) is not None
    time = _layers.time_step_s(layer)
    return Place(pixel, heights, step if is_even else None, origin, time)


def _pixel_um(layer: Image, scale: Array) -> float:
    y, x = (float(size) for size in scale[-2:])
    if abs(y - x) > 1e-6 * x:
        raise InputError(
            f"Layer '{layer.name}' has pixels of {y:g} × {x:g} µm: square pixels are needed, so "
            "resample it first."
        )
    _layers.check_plausible(layer, "pixel_um", x, "pixels", "wide")
    return x


def _checked(layer: Layer) -> Image:
    name = f"Layer '{layer.name}'"
    if not isinstance(layer, Image):
        raise InputError(f"{name} is a {type(layer).__name__} layer: images only are written here.")
    if layer.rgb:
        raise InputError(
            f"{name} is an RGB image: save it as .png or .tif with napari's own writer, or "
            "split it (right-click, Split RGB)."
        )
    _layers.check_layer(layer, times=True)
    if layer.ndim > 3 and _layers.frame_count(layer) == 1:
        raise InputError(
            f"{name} has {layer.ndim} dimensions: take the one of length 1 away, for a file of its "
            "own holds (z, y, x) or (y, x)."
        )
    return layer


def _check_alike(first: Image, other: Image, place: Place) -> None:
    """Whether two layers can be channels of one image."""
    pair = first, other
    facts = {
        "size": [_layers.full_resolution(layer).shape for layer in pair],
        "pixel type": [np.dtype(layer.dtype).name for layer in pair],
        "place or voxel size": [_as_numbers(place), _as_numbers(place_of(other))],
    }
    for what, (one, two) in facts.items():
        if one != two:
            raise InputError(
                f"Layers '{first.name}' and '{other.name}' differ in {what}, so they cannot be "
                "channels of one file: save them one by one."
            )


def _as_numbers(place: Place) -> tuple[Any, ...]:
    heights = None if place.z_um is None else tuple(np.round(place.z_um, 6))
    rest = (place.pixel_um, place.z_step_um, place.time_step_s, *place.origin_um)
    return (heights, *(None if value is None else round(value, 9) for value in rest))


def _record(layer: Image) -> dict[str, Any]:
    """What is known of how a layer was made, without what the file says elsewhere."""
    entry = _layers.own_metadata(layer)
    record = {
        key: value
        for key, value in entry.items()
        if key not in (*_OPTICS, *_layers.PLACES, _layers.FILE)
    }
    record["saved_by"] = f"napari-recurrent-mz {__version__}"
    if _layers.frame_count(layer) > 1:
        record[FIRST_POINT], by_time = _layers.first_point(layer), _layers.heights_by_time(layer)
        if by_time is not None:
            record[BY_TIME] = by_time.tolist()
    optics = {name: entry[name] for name in _OPTICS if name in entry}
    if optics:
        record.setdefault("optics", optics)
    plain: dict[str, Any] = json.loads(
        json.dumps(record, default=lambda one: one.tolist() if hasattr(one, "tolist") else str(one))
    )
    return plain


def _surface_heights(layer: Image) -> Heights | None:
    """The heights that belong to the image of a surface."""
    heights = _layers.own_metadata(layer).get("heights_um")
    if heights is None or layer.ndim != 2 or layer.dtype != np.float32:
        return None
    if np.shape(heights) != _layers.full_resolution(layer).shape:
        return None
    return np.asarray(heights, np.float64)
