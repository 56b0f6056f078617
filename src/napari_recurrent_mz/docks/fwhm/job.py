"""From layers to measured beads: what the FWHM dock runs in its thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Points

from ...core.optics import Optics
from ...core.progress import Progress, Steps
from ...core.scans import InputError
from ...measure.beads import (
    BeadSettings,
    BeadVolume,
    even_planes,
    theoretical_fwhm,
    volumes_in_steps,
)
from ..shared import layers as _layers

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

_PLACE = ("ndim", "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


@dataclass(frozen=True, eq=False)
class LayerVolume(BeadVolume):
    """What is measured of a layer; nothing of it belongs to napari."""

    place: dict[str, Any]  # how a layer of points lies on it: scale, translate, units and so on


@dataclass(frozen=True, eq=False)
class FwhmJob:
    """Everything the measurement needs."""

    volumes: tuple[LayerVolume, ...]  # the volume, and the reference if there is one
    points_um: tuple[Array, ...] | None  # chosen beads (N, 3) of each volume; None: search them
    settings: BeadSettings
    optics: Optics | None
    bead_um: float = 0.0


@dataclass(frozen=True, eq=False)
class Measured:
    """A table for each volume, the theory by axis, and what to mind."""

    volumes: tuple[LayerVolume, ...]
    tables: tuple[pd.DataFrame, ...]
    theory_um: Mapping[str, float]
    notes: tuple[str, ...]


def volume_of(layer: Any, pixel_um: float | None, z_step_um: float | None) -> LayerVolume:
    """The volume of a layer; the sizes are those that were typed for one that does not say."""
    image = _layers.check_layer(layer)
    pixel = _layers.pixel_um(image) or pixel_um
    if pixel is None:
        raise InputError(
            f"Layer '{image.name}' does not say how large its pixels are: "
            "type the pixel size in µm under Optics."
        )
    if not pixel > 0:
        raise InputError(f"The pixel size {pixel:g} µm is not above 0: correct it.")
    bottom, step = _planes(image, z_step_um, pixel)
    return LayerVolume(
        image.name,
        _layers.stack_pixels(image),
        np.array([step, pixel, pixel]),
        np.array([bottom, *_layers.lateral_origin_um(image)]),
        {name: getattr(image, name) for name in _PLACE},
    )


def _planes(image: Image, z_step_um: float | None, pixel: float) -> tuple[float, float]:
    """Height of the first plane, and the distance between planes, in micrometres."""
    count = _layers.plane_count(image)
    heights, _ = _layers.heights_um(image)
    if count == 1:
        return (0.0 if heights is None else float(heights[0])), pixel
    if heights is None:
        if z_step_um is None or not z_step_um > 0:
            raise InputError(
                f"Layer '{image.name}' does not say how far apart its planes are: "
                "type the z-step in µm."
            )
        return 0.0, z_step_um
    return even_planes(heights, f"layer '{image.name}'")


def points_um(points: Points, image: Image, volume: LayerVolume) -> Array:
    """Points of a layer, where they lie in the world of a volume, (N, 3) in micrometres."""
    words = f"Points layer '{points.name}'"
    if not len(points.data):
        raise InputError(f"{words} is empty: add points, or choose none to search for beads.")
    axes = 2 if volume.is_flat else 3
    if points.ndim < axes:
        raise InputError(f"{words} is two-dimensional but '{image.name}' has planes: add z to it.")
    used = min(points.ndim, image.ndim)
    world = _mapped(points.data_to_world, np.asarray(points.data, np.float64))
    padded = np.zeros((len(world), image.ndim))
    padded[:, -used:] = world[:, -used:] * _units_ratio(points, image, used)
    index = _mapped(image.world_to_data, padded)
    places = np.tile(volume.origin_um, (len(index), 1))
    places[:, -axes:] += index[:, -axes:] * volume.voxel_um[-axes:]
    inside = volume.inside(places)
    if not inside.any():
        raise InputError(
            f"None of the {len(places)} points of '{points.name}' lies in '{image.name}': "
            "choose points of this volume, or none to search for beads."
        )
    return np.asarray(places[inside])


def _mapped(transform: Callable[[Any], Any], places: Array) -> Array:
    """What an affine map, which takes one place at a time, makes of many."""
    start = np.array(transform(np.zeros(places.shape[1])))
    columns = np.array([transform(unit) for unit in np.eye(places.shape[1])]) - start
    return np.asarray(start + places @ columns)


def _units_ratio(points: Points, image: Image, axes: int) -> Array:
    """World units of the image in one of the points', by axis; pixels count as the image's."""
    ratios = np.ones(axes)
    for axis in range(-axes, 0):
        theirs, ours = points.units[axis], image.units[axis]
        if theirs.is_compatible_with("um") and ours.is_compatible_with("um"):
            ratios[axis] = float((1 * theirs).to(ours).magnitude)
    return ratios


def measure(job: FwhmJob, stop: threading.Event) -> Steps[Measured | None]:
    """Measure the beads of one volume or two."""
    theory: dict[str, float] = {}
    if job.optics is not None:
        lateral, axial = theoretical_fwhm(job.optics, bead_um=job.bead_um)
        theory = {"x": lateral, "y": lateral, "z": axial}
    steps = volumes_in_steps(job.volumes, job.settings, job.points_um, stop.is_set)
    while True:
        try:
            words, done, total = next(steps)
        except StopIteration as end:
            tables, notes = end.value
            break
        yield Progress(done, total, words)
    return None if stop.is_set() else Measured(job.volumes, tables, theory, notes)
