"""From layers to measured beads: what the FWHM dock runs in its thread."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Points

from ..beads import bead_steps, theoretical_fwhm
from ..optics import Optics
from ..scans import InputError
from . import _layers
from ._instrument import Progress, Result

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

_PLACE = ("ndim", "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_EVEN = 0.01  # of a step: how far planes may be from evenly spaced


@dataclass(frozen=True, eq=False)
class Volume:
    """What is measured of a layer; nothing of it belongs to napari.

    Attributes
    ----------
    name : str
    pixels : array_like, shape (Z, Y, X)
        Perhaps lazy; (Y, X) for an image.
    voxel_um, origin_um : numpy.ndarray, shape (3,)
        (z, y, x) of a voxel and of the middle of the first one, in micrometres.
    place : dict
        How a layer of points lies on it: scale, translate, units and so on.
    """

    name: str
    pixels: Any
    voxel_um: Array
    origin_um: Array
    place: dict[str, Any]

    @property
    def is_flat(self) -> bool:
        """Whether it has one plane only."""
        return bool(self.pixels.ndim == 2 or self.pixels.shape[0] == 1)

    def inside(self, points_um: Array) -> npt.NDArray[np.bool_]:
        """Which points lie in it."""
        shape = np.array(((1,) if self.pixels.ndim == 2 else ()) + tuple(self.pixels.shape))
        nearest = np.round((points_um - self.origin_um) / self.voxel_um)
        found = (nearest >= 0) & (nearest < shape)
        return np.asarray(found[:, 1:].all(axis=1) if self.is_flat else found.all(axis=1))


@dataclass(frozen=True)
class Settings:
    """What the dock's fields say; None and NaN leave it to the measurement."""

    model: str = "gaussian3d"
    separation_um: float | None = None
    threshold_snr: float = 5.0
    region_um: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    z_range_um: tuple[float, float] = (-math.inf, math.inf)
    same_beads: bool = True
    bead_um: float = 0.0


@dataclass(frozen=True, eq=False)
class FwhmJob:
    """Everything the measurement needs.

    Attributes
    ----------
    volumes : tuple of Volume
        The volume, and the reference if there is one.
    points_um : tuple of numpy.ndarray, or None
        Beads that were chosen, (N, 3) in micrometres, for each volume; else they are searched.
    """

    volumes: tuple[Volume, ...]
    points_um: tuple[Array, ...] | None
    settings: Settings
    optics: Optics | None


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found: a table for each volume, the theory by axis, and what to mind."""

    volumes: tuple[Volume, ...]
    tables: tuple[pd.DataFrame, ...]
    theory_um: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def known_optics(layer: Any) -> dict[str, Any]:
    """Optics that a layer's metadata hold, also those of a reconstruction."""
    known = _layers.known_metadata(layer)
    inner = known.get("optics")
    return {**known, **(inner if isinstance(inner, Mapping) else {})}


def volume_of(layer: Any, pixel_um: float | None, z_step_um: float | None) -> Volume:
    """The volume of a layer, at its place in the world.

    Parameters
    ----------
    layer : napari.layers.Layer
    pixel_um, z_step_um : float or None
        What was typed, for a layer that does not say.

    Raises
    ------
    InputError
        If it is no grey-value image, or nothing says how large its voxels are.
    """
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
    return Volume(
        image.name,
        _layers.stack_pixels(image),
        np.array([step, pixel, pixel]),
        np.array([bottom, *_layers.lateral_origin_um(image)]),
        _place(image),
    )


def needs_step(layer: Any) -> bool:
    """Whether a layer is a stack that does not say how far apart its planes are."""
    try:
        image = _layers.check_layer(layer)
        return _layers.plane_count(image) > 1 and _layers.heights_um(image)[0] is None
    except InputError:
        return False


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
    steps = np.diff(heights)
    step = float(steps.mean())
    if step <= 0 or np.abs(steps - step).max() > _EVEN * step:
        raise InputError(
            f"The planes of layer '{image.name}' are not evenly spaced upwards: "
            "resample it along z first."
        )
    return float(heights[0]), step


def _place(image: Image) -> dict[str, Any]:
    return {name: getattr(image, name) for name in _PLACE}


def points_um(points: Points, image: Image, volume: Volume) -> Array:
    """Points of a layer, where they lie in the world of a volume, (N, 3) in micrometres.

    Raises
    ------
    InputError
        If there is none, none lies in the volume, or they have no z and the volume has.
    """
    words = f"Points layer '{points.name}'"
    if not len(points.data):
        raise InputError(f"{words} is empty: add points, or choose none to search for beads.")
    axes = 2 if volume.is_flat else 3
    if points.ndim < axes:
        raise InputError(f"{words} is two-dimensional but '{image.name}' has planes: add z to it.")
    used = min(points.ndim, image.ndim)
    world = _mapped(points.data_to_world, np.asarray(points.data, np.float64))
    there = np.zeros((len(world), image.ndim))
    there[:, -used:] = world[:, -used:] * _units_ratio(points, image, used)
    index = _mapped(image.world_to_data, there)
    found = np.tile(volume.origin_um, (len(index), 1))
    found[:, -axes:] += index[:, -axes:] * volume.voxel_um[-axes:]
    inside = volume.inside(found)
    if not inside.any():
        raise InputError(
            f"None of the {len(found)} points of '{points.name}' lies in '{image.name}': "
            "choose points of this volume, or none to search for beads."
        )
    return np.asarray(found[inside])


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


def measure(job: FwhmJob, *, stop: threading.Event) -> Iterator[object]:
    """Measure the beads of one volume or two; yields progress, and at last :class:`Measured`."""
    tables: dict[int, pd.DataFrame] = {}
    notes: list[str] = []
    for number in reversed(range(len(job.volumes))):  # the reference first: it may lend its beads
        volume, places = job.volumes[number], None
        if job.points_um is not None:
            places = job.points_um[number]
        elif job.settings.same_beads and number < len(job.volumes) - 1:
            places = _beads_of(job.volumes[-1], tables[len(job.volumes) - 1], volume, notes)
        tables[number] = yield from _measure_one(job, volume, places, stop)
        if stop.is_set():
            return
    theory: dict[str, float] = {}
    if job.optics is not None:
        lateral, axial = theoretical_fwhm(job.optics, bead_um=job.settings.bead_um)
        theory = {"x": lateral, "y": lateral, "z": axial}
    found = tuple(tables[number] for number in range(len(job.volumes)))
    yield Result(Measured(job.volumes, found, theory, tuple(notes)))


def _measure_one(
    job: FwhmJob, volume: Volume, places: Array | None, stop: threading.Event
) -> Generator[Progress, None, pd.DataFrame]:
    words = f"Beads of “{volume.name}”"
    yield Progress(0, 0, words)
    asked, lent = job.settings, places is not None and job.points_um is None
    try:
        steps = bead_steps(
            np.asarray(volume.pixels),
            volume.voxel_um.tolist(),
            points=places,
            min_separation_um=asked.separation_um,
            threshold_snr=asked.threshold_snr,
            region_um=asked.region_um,
            model=asked.model,
            z_range_um=None if lent or volume.is_flat else asked.z_range_um,
            origin_um=volume.origin_um.tolist(),
            stopped=stop.is_set,
        )
        while True:
            done, total = next(steps)
            yield Progress(done, total, words)
    except StopIteration as end:
        table: pd.DataFrame = end.value
        return table
    except InputError as error:
        raise InputError(f"'{volume.name}': {error}") from error


def _beads_of(
    reference: Volume, table: pd.DataFrame, volume: Volume, notes: list[str]
) -> Array | None:
    """Where the reference's accepted beads lie in another volume; None to search there."""
    if reference.is_flat != volume.is_flat:
        flat = reference if reference.is_flat else volume
        notes.append(f"“{flat.name}” is one plane, so each volume was searched by itself.")
        return None
    places = table.loc[table["accepted"], ["z_um", "y_um", "x_um"]].to_numpy(np.float64)
    if not len(places):
        notes.append(f"“{reference.name}” lends no bead, so each volume was searched by itself.")
        return None
    inside = volume.inside(places)
    if not inside.any():
        raise InputError(
            f"'{volume.name}' and '{reference.name}' do not overlap: none of the {len(places)} "
            "beads of the second lies in the first; check scale and translate of the layers."
        )
    if not inside.all():
        notes.append(
            f"{np.count_nonzero(~inside)} beads of “{reference.name}” lie outside “{volume.name}”."
        )
    found = places[inside]
    if volume.is_flat:
        found[:, 0] = volume.origin_um[0]
    return np.asarray(found)
