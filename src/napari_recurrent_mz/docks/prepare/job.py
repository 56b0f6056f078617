"""From layers to what preparation takes, its work in a thread, and the layers that result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer

from ...core.scans import InputError
from ...estimates.normalisation import Normalisation, edf_normalisation
from ...measure.preparation import (
    Place,
    aligning,
    applying,
    extending_focus,
    registering,
    resampling,
)
from ..shared import layers as _layers
from ..shared.dock import Progress, Result, relayed

Region = tuple[slice, slice]
_SAME_PLACE_PX = 0.5


@dataclass(frozen=True, eq=False)
class Source:
    """What is prepared, free of napari but for lazy pixels."""

    name: str
    planes: Any
    labels: list[str]
    z_um: npt.NDArray[np.float64] | None
    pixel_um: float | None


def stack_source(layer: Layer) -> Source:
    """A layer with several planes."""
    image = _layers.check_layer(layer)
    count = _layers.plane_count(image)
    if count < 2:
        raise InputError(
            f"Layer '{image.name}' is one image, not a stack: choose one with at least two planes."
        )
    labels = [f"Plane {i} of layer '{image.name}'" for i in range(count)]
    heights, _ = _layers.heights_um(image)
    pixels = _layers.stack_pixels(image)
    return Source(image.name, pixels, labels, heights, _layers.pixel_um(image))


def scan_layers(layers: Sequence[Layer]) -> list[Image]:
    """The layers of single images among these, from the lowest up."""
    images = [_layers.check_layer(layer) for layer in layers]
    for image in images:
        if _layers.plane_count(image) > 1:
            raise InputError(
                f"Layer '{image.name}' is a stack: select single images, or align the planes of "
                "the stack."
            )
    if len(images) < 2:
        raise InputError("Select two or more layers of single images in napari's layer list.")
    heights = [_layers.heights_um(image)[0] for image in images]
    if any(height is None for height in heights):
        return images
    order = np.argsort([float(height[0]) for height in heights if height is not None])
    return [images[i] for i in order]


def scans_source(images: Sequence[Image]) -> Source:
    """Several layers of one image each, in this order."""
    sizes = [_layers.pixel_um(image) for image in images]
    for image, size in zip(images, sizes, strict=True):
        first = sizes[0]
        if (size is None) != (first is None) or (size and first and abs(size / first - 1) > 0.01):
            raise InputError(
                f"Layers '{images[0].name}' and '{image.name}' differ in pixel size: resample one "
                "of them first."
            )
    heights = [_layers.heights_um(image)[0] for image in images]
    known = [float(height[0]) for height in heights if height is not None]
    names = [image.name for image in images]
    return Source(
        _layers.common_name(names) or names[0],
        [_layers.plane_pixels(image, 0) for image in images],
        [f"Layer '{name}'" for name in names],
        np.array(known) if len(known) == len(images) else None,
        sizes[0],
    )


def place_of(layer: Image) -> Place:
    """Where the voxels of a stack lie."""
    frame = _layers.stack_frame(layer)
    pixel = _layers.pixel_um(layer)
    if frame is None or pixel is None:
        raise InputError(
            f"The voxel size of layer '{layer.name}' is not known: set the layer's scale and units."
        )
    (step, _, _), (z, y, x) = frame
    heights = z + step * np.arange(_layers.plane_count(layer), dtype=np.float64)
    return Place(heights, pixel, (y, x))


def lie_apart(images: Sequence[Image]) -> bool:
    """Whether layers lie at different places in y and x."""
    places = np.array([_layers.lateral_origin_um(image) for image in images])
    size = _layers.pixel_um(images[0]) or 1.0
    return bool(np.ptp(places, axis=0).max() > _SAME_PLACE_PX * size)


# what runs in a thread ----------------------------------------------------------------
def align_job(
    source: Source, transform: str, reference: str, band_pass: bool, crop: bool, **_stop: Any
) -> Iterator[object]:
    """Align and move: gives the alignment, the region that all show, the moved planes."""
    found = yield from relayed(
        aligning(
            source.planes,
            transform=transform,
            reference=reference,
            band_pass=band_pass,
            names=source.labels,
        )
    )
    region = found.common_region
    moved = yield from relayed(applying(source.planes, found, region if crop else None))
    yield Result((found, region, moved))


def edf_job(source: Source, **_stop: Any) -> Iterator[object]:
    """Make the extended-depth-of-field image."""
    found = yield from relayed(extending_focus(source.planes, name=source.name))
    yield Result(found)


def measure_job(source: Source, edf: Any, edf_name: str, **_stop: Any) -> Iterator[object]:
    """Measure the normalisation on a given image, or on one that is made: gives both."""
    if edf is None:
        made = yield from relayed(extending_focus(source.planes, name=source.name))
        edf = made.image
    yield Progress(0, 0, "Measuring")
    edf = np.asarray(edf)
    yield Result((edf, edf_normalisation(edf, edf_name)))


def apply_job(source: Source, normalisation: Normalisation, **_stop: Any) -> Iterator[object]:
    """Normalise every plane."""
    count = len(source.planes)
    made = []
    for i in range(count):
        made.append(normalisation.apply(np.asarray(source.planes[i])))
        yield Progress(i + 1, count, "Normalising")
    yield Result(np.stack(made))


def register_job(
    wide: Source, confocal: Source, places: tuple[Place, Place], transform: str, crop: bool,
    **_stop: Any,
) -> Iterator[object]:  # fmt: skip
    """Register and resample: gives the registration and the resampled stack."""
    found = yield from relayed(
        registering(
            wide.planes,
            confocal.planes,
            *places,
            transform=transform,
            names=(wide.name, confocal.name),
        )
    )
    volume = yield from relayed(resampling(confocal.planes, found, crop=crop))
    yield Result((found, volume))


# layers -------------------------------------------------------------------------------
def about_layer(
    layer: Image,
    name: str,
    made: dict[str, Any],
    *,
    ndim: int | None = None,
    region: Region | None = None,
    planes: slice | None = None,
    same_units: bool = True,
) -> dict[str, Any]:
    """Keyword arguments for a layer that lies where another one does."""
    n = min(layer.ndim, 3) if ndim is None else ndim
    scale = np.array(layer.scale[-n:], dtype=float)
    translate = np.array(layer.translate[-n:], dtype=float)
    if region is not None:
        translate[-2:] += [part.start for part in region] * scale[-2:]
    heights = _layers.file_heights_um(layer)
    if planes is not None and n == 3:
        translate[0] += planes.start * scale[0]
        if heights is not None:
            heights = heights[planes]
            if len(heights) > 1 and _layers.has_size(layer):  # they may be uneven
                to_units = 1 / _layers.um_per_unit(layer, -3)
                scale[0] = np.median(np.diff(heights)) * to_units
                translate[0] = heights[0] * to_units
    found: dict[str, Any] = {
        "name": name,
        "scale": tuple(scale),
        "translate": tuple(translate),
        "units": tuple(layer.units[-n:]),
        "axis_labels": tuple(layer.axis_labels[-n:]),
        "metadata": _metadata(layer, made, n, heights),
        "colormap": layer.colormap,
        "blending": layer.blending,
    }
    if same_units:
        found["contrast_limits"] = tuple(float(value) for value in layer.contrast_limits)
    return found


def about_registered(
    wide: Image,
    confocal: Image,
    name: str,
    made: dict[str, Any],
    kept: tuple[slice, Region] | None,
) -> dict[str, Any]:
    """Keyword arguments for a confocal stack that lies where the wide-field stack does.

    Its colours, contrast and metadata are those of the confocal layer; ``kept`` are the planes
    and the region that it was cropped to.
    """
    planes, region = kept or (None, None)
    found = about_layer(wide, name, made, ndim=3, region=region, planes=planes)
    own = about_layer(confocal, name, made, ndim=3)
    place = {"z_um", "z_step_um", "pixel_um"}
    key = _layers.METADATA_KEY
    told = {k: v for k, v in own["metadata"][key].items() if k not in place}
    told |= {k: v for k, v in found["metadata"][key].items() if k in place}
    looks = {k: own[k] for k in ("colormap", "blending", "contrast_limits")}
    return found | looks | {"metadata": {**confocal.metadata, key: told}}


def _metadata(
    layer: Image, made: dict[str, Any], ndim: int, heights: npt.NDArray[np.float64] | None
) -> dict[str, Any]:
    entry = dict(_layers.known_metadata(layer))
    entry.pop("z_um", None)
    if heights is not None and ndim == min(layer.ndim, 3):
        entry["z_um"] = heights.tolist()
    entry["prepared"] = [*entry.get("prepared", ()), made]
    return {**layer.metadata, _layers.METADATA_KEY: entry}
