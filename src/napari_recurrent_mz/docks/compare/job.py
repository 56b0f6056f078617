"""From layers to what the comparison takes, its work in a thread, and the plane in view."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Layer

from ...core.optics import Optics
from ...core.scans import InputError
from ...measure.comparison import Difference, Volume, comparing, differing, made_from
from ..shared import layers as _layers
from ..shared.dock import Result, relayed
from ..shared.result import um_along

COLOURS = "RdBu_r"
"""Diverging: blue where the volume is darker than the reference, white, red where brighter."""

_SHOWN_PERCENTILE = 99.8


@dataclass(frozen=True)
class Sizes:
    """What a person typed for layers that do not say it; None where nothing is typed."""

    step_um: float | None = None
    pixel_um: float | None = None

    def frame(self) -> _layers.Frame | None:
        """Voxels of these sizes from the origin on; None while one is missing."""
        if not self.step_um or not self.pixel_um:
            return None
        return _layers.Frame((self.step_um, self.pixel_um, self.pixel_um), (0.0, 0.0, 0.0))


@dataclass(frozen=True, eq=False)
class Job:
    """A comparison as the dock describes it; none of it belongs to napari but lazy pixels."""

    volumes: tuple[Volume, ...]
    reference: Volume
    baselines: tuple[str, ...]
    scans_um: tuple[float, ...]
    optics: Optics | None
    fit: bool

    def baseline_scans(self) -> tuple[float, ...]:
        """Heights from which a single baseline starts."""
        return self.scans_um or next((tuple(v.scans_um) for v in self.volumes if v.scans_um), ())


def is_stack(layer: Layer) -> bool:
    """Whether a layer is offered: images, but not the maps that come from here."""
    return isinstance(layer, Image) and "difference" not in _entry(layer)


def scans_of(layer: Layer) -> tuple[float, ...]:
    """Heights of the scans that a layer was made from, in micrometres; empty if unknown."""
    return made_from(_entry(layer))[0]


def has_size(layer: Layer) -> bool:
    """Whether a layer says its voxel size; one that cannot be read needs none."""
    try:
        image = _layers.check_layer(layer)
        return _layers.plane_count(image) < 2 or _layers.stack_frame(image) is not None
    except InputError:
        return True


def volume_of(layer: Layer, typed: Sizes) -> Volume:
    """A layer as a volume.

    Raises
    ------
    InputError
        If planes cannot be taken from it, its size is not known, or it is still filling.
    """
    image = _layers.check_layer(layer)
    entry = _entry(image)
    if entry.get("state") == "running":
        raise InputError(f"Layer '{image.name}' is still filling: compare it once it is done.")
    if _layers.plane_count(image) < 2:
        raise InputError(
            f"Layer '{image.name}' is one image, not a stack: choose one with at least two planes."
        )
    frame = _layers.stack_frame(image) or typed.frame()
    if frame is None:
        raise InputError(
            f"The size of layer '{image.name}' is not known: type its z step and its pixel size "
            "in µm, or set the layer's scale and units."
        )
    _layers.pixel_um(image)  # pixels must be square
    (step, _, pixel), (z, y, x) = frame
    heights = z + step * np.arange(_layers.plane_count(image), dtype=np.float64)
    pixels, (scans, holds_scans) = _layers.stack_pixels(image), made_from(entry)
    return Volume(image.name, pixels, heights, pixel, (y, x), scans, holds_scans)


def compare_job(job: Job, *, stop: threading.Event) -> Iterator[object]:
    """Compare, in a thread."""
    steps = comparing(
        job.volumes,
        job.reference,
        baselines=job.baselines,
        scans_um=job.scans_um,
        optics=job.optics,
        fit=job.fit,
        stopped=stop.is_set,
    )
    yield Result((yield from relayed(steps)))


def difference_job(job: Job, volume: Volume | str, *, stop: threading.Event) -> Iterator[object]:
    """Subtract the reference from a volume or a baseline, in a thread."""
    steps = differing(
        volume,
        job.reference,
        scans_um=job.baseline_scans(),
        optics=job.optics,
        fit=job.fit,
        stopped=stop.is_set,
    )
    yield Result((yield from relayed(steps)))


def difference_layer(found: Difference) -> tuple[Any, dict[str, Any]]:
    """Pixels and keyword arguments of the layer of a difference."""
    sample = np.abs(found.pixels[:, ::2, ::2])
    limit = float(np.percentile(sample, _SHOWN_PERCENTILE)) or float(sample.max()) or 1.0
    step = float(np.diff(found.z_um).mean()) if len(found.z_um) > 1 else 1.0
    place = _layers.um_scale_and_place(step, found.pixel_um, float(found.z_um[0]))
    place["translate"] = (float(found.z_um[0]), *found.origin_um)
    about = {
        "software": "napari-recurrent-mz",
        "difference": f"{found.name} − {found.reference}",
        "z_um": [float(z) for z in found.z_um],
    }
    return found.pixels, {
        "name": f"Difference: {found.name} − {found.reference}",
        "colormap": COLOURS,
        "contrast_limits": (-limit, limit),
        "metadata": {_layers.METADATA_KEY: about},
        **place,
    }


class PlaneInView:
    """The height that the viewer shows, by the planes of one layer; goes to another.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image
    volume : Volume
        The same, with its heights.
    """

    def __init__(self, viewer: Any, layer: Image, volume: Volume) -> None:
        self._viewer, self._layer = viewer, weakref.ref(layer)
        self._heights = volume.heights_um
        stored = np.asarray(volume.z_um)
        self._falls = bool(stored[0] > stored[-1])

    def z_um(self) -> float | None:
        """The height in view; None when the viewer or the layer has none."""
        layer, dims = self._layer(), self._viewer.dims
        if layer is None or dims.ndim < 3:
            return None
        first, last = self._ends(layer)
        here = float(dims.point[dims.ndim - 3])
        place = (here - first) / (last - first) * (len(self._heights) - 1)
        if not -0.51 <= place <= len(self._heights) - 0.49:
            return None
        return float(np.interp(place, np.arange(len(self._heights)), self._heights))

    def go(self, z_um: float) -> None:
        """Show the plane nearest to a height."""
        layer, dims = self._layer(), self._viewer.dims
        if layer is None or dims.ndim < 3:
            return
        number = int(np.abs(self._heights - z_um).argmin())
        first, last = self._ends(layer)
        share = number / (len(self._heights) - 1)
        dims.set_point(dims.ndim - 3, first + share * (last - first))

    def step(self, by: int) -> None:
        """Show the plane so many planes further up."""
        here = self.z_um()
        if here is not None:
            number = int(np.abs(self._heights - here).argmin()) + by
            self.go(float(self._heights[min(max(number, 0), len(self._heights) - 1)]))

    def _ends(self, layer: Image) -> tuple[float, float]:
        """Where the viewer has the lowest and the highest plane."""
        dims = self._viewer.dims
        unit = _layers.um_per_unit(layer, -3) / um_along(dims, dims.ndim - 3)
        corner = [0.0] * layer.ndim
        found = []
        for number in (0, len(self._heights) - 1):
            corner[-3] = float(number)
            found.append(float(layer.data_to_world(corner)[-3]) * unit)
        first, last = found
        return (last, first) if self._falls else (first, last)


def _entry(layer: Layer) -> Mapping[str, Any]:
    found = layer.metadata.get(_layers.METADATA_KEY)
    return found if isinstance(found, Mapping) else {}


def agreed_scans(layers: Sequence[Layer]) -> str:
    """The scans that all layers that know theirs agree on, as a person would type them."""
    known = {scans for scans in map(scans_of, layers) if scans}
    return " ".join(f"{z:.4g}" for z in next(iter(known))) if len(known) == 1 else ""
