"""From layers to what the comparison takes, its work in a thread, and the plane in view."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Layer

from ...core.optics import Optics
from ...core.scans import InputError
from ...measure.comparison import Difference, Volume, comparing, differing, made_from
from ..shared import layers as _layers
from ..shared.result import um_along
from ..shared.stacks import check_stack

_COLOURS = "RdBu_r"  # blue where darker than the reference, white, red where brighter
_SHOWN_PERCENTILE = 99.8


@dataclass(frozen=True, eq=False)
class ComparisonJob:
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


def is_comparable(layer: Layer) -> bool:
    """Whether a layer is offered: images, but not the maps that come from here."""
    return isinstance(layer, Image) and "difference" not in _layers.own_metadata(layer)


def scans_of(layer: Layer) -> tuple[float, ...]:
    """Heights of the scans that a layer was made from, in micrometres; empty if unknown."""
    return made_from(_layers.own_metadata(layer))[0]


def volume_of(layer: Layer, step_um: float | None, pixel_um: float | None) -> Volume:
    """A layer as a volume; the sizes are those that were typed for one that does not say."""
    record = _layers.own_metadata(layer)
    if record.get("state") == "running":
        raise InputError(f"Layer '{layer.name}' is still filling: compare it once it is done.")
    image = check_stack(layer)
    frame = _layers.stack_frame(image)
    if frame is None and step_um and pixel_um:
        frame = _layers.Frame((step_um, pixel_um, pixel_um), (0.0, 0.0, 0.0))
    if frame is None:
        raise InputError(
            f"The size of layer '{image.name}' is not known: type its z step and its pixel size "
            "in µm, or set the layer's scale and units."
        )
    _layers.pixel_um(image)  # pixels must be square
    (step, _, pixel), (z, y, x) = frame
    heights = z + step * np.arange(_layers.plane_count(image), dtype=np.float64)
    pixels, (scans, holds_scans) = _layers.stack_pixels(image), made_from(record)
    return Volume(image.name, pixels, heights, pixel, (y, x), scans, holds_scans)


def compare_job(job: ComparisonJob, stop: threading.Event) -> Iterator[object]:
    """Compare, in a thread."""
    return comparing(
        job.volumes,
        job.reference,
        baselines=job.baselines,
        scans_um=job.scans_um,
        optics=job.optics,
        fit=job.fit,
        stopped=stop.is_set,
    )


def difference_job(
    job: ComparisonJob, volume: Volume | str, stop: threading.Event
) -> Iterator[object]:
    """Subtract the reference from a volume or a baseline, in a thread."""
    return differing(
        volume,
        job.reference,
        scans_um=job.baseline_scans(),
        optics=job.optics,
        fit=job.fit,
        stopped=stop.is_set,
    )


def difference_layer(difference: Difference) -> tuple[Any, dict[str, Any]]:
    """Pixels and keyword arguments of the layer of a difference."""
    z_um = [float(z) for z in difference.z_um]
    sample = np.abs(difference.pixels[:, ::2, ::2])
    limit = float(np.percentile(sample, _SHOWN_PERCENTILE)) or float(sample.max()) or 1.0
    step = float(np.diff(z_um).mean()) if len(z_um) > 1 else 1.0
    title = f"{difference.name} − {difference.reference}"
    record = {"software": "napari-recurrent-mz", "difference": title, "z_um": z_um}
    return difference.pixels, {
        "name": f"Difference: {title}",
        "colormap": _COLOURS,
        "contrast_limits": (-limit, limit),
        "metadata": {_layers.METADATA_KEY: record},
        **_layers.um_scale_and_place(step, difference.pixel_um, z_um[0], difference.origin_um),
    }


class PlaneInView:
    """The height that the viewer shows, by the planes of one layer; goes to another."""

    def __init__(self, viewer: Any, layer: Image, volume: Volume) -> None:
        self._viewer, self._layer = viewer, weakref.ref(layer)
        self._heights = volume.heights_um
        stored = np.asarray(volume.z_um)
        self._falls = bool(stored[0] > stored[-1])

    def z_um(self) -> float | None:
        """The height in view; None when the viewer or the layer has none."""
        layer, dims = self._compared(), self._viewer.dims
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
        layer, dims = self._compared(), self._viewer.dims
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

    def _compared(self) -> Image | None:
        """The layer, while it is there with as many planes as were compared."""
        layer = self._layer()
        is_same = layer is not None and _layers.plane_count(layer) == len(self._heights)
        return layer if is_same else None

    def _ends(self, layer: Image) -> tuple[float, float]:
        """Where the viewer has the lowest and the highest plane."""
        dims = self._viewer.dims
        unit = _layers.um_per_unit(layer, -3) / um_along(dims, dims.ndim - 3)
        corners = np.zeros((2, layer.ndim))
        corners[1, -3] = len(self._heights) - 1
        first, last = (float(layer.data_to_world(corner)[-3]) * unit for corner in corners)
        return (last, first) if self._falls else (first, last)


def agreed_scans(layers: Sequence[Layer]) -> str:
    """The scans that all layers that know theirs agree on, as a person would type them."""
    heights = set(filter(None, map(scans_of, layers)))
    return " ".join(f"{z:.4g}" for z in next(iter(heights))) if len(heights) == 1 else ""
