"""From layers to what preparation takes, its work in a thread, and the layers that result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Layer

from ...core.arrays import AnyArray, Array
from ...core.progress import Step, Steps
from ...core.scans import InputError
from ...estimates.normalisation import EdfNormalisation, Normalisation, edf_normalisation
from ...measure.preparation import (
    Alignment,
    Place,
    Registration,
    aligning,
    applying,
    extending_focus,
    registering,
    resampling,
)
from ..shared import layers as _layers
from ..shared.file_names import common_name
from ..shared.layer_choice import check_stack, frame_of, heights_in
from .pages import Align, Register

_SAME_PLACE_PX = 0.5


@dataclass(frozen=True, eq=False)
class PlaneSource:
    """The planes to prepare, free of napari but for lazy pixels."""

    name: str
    planes: Any  # array_like (M, Y, X), or a list of (Y, X)
    labels: list[str]  # how error messages call the planes
    z_um: Array | None  # (M,); None when the layer does not say
    pixel_um: float | None


def stack_source(layer: Layer) -> PlaneSource:
    """A layer with several planes."""
    image = check_stack(layer)
    labels = [f"Plane {i} of layer '{image.name}'" for i in range(_layers.plane_count(image))]
    heights, _ = _layers.heights_um(image)
    pixels = _layers.stack_pixels(image)
    return PlaneSource(image.name, pixels, labels, heights, _layers.pixel_um(image))


def scan_layers(layers: Sequence[Layer]) -> list[Image]:
    """The layers of single images among these, from the lowest up."""
    images = [_layers.check_scan_layer(layer) for layer in layers]
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


def scans_source(images: Sequence[Image]) -> PlaneSource:
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
    given_um = [float(height[0]) for height in heights if height is not None]
    names = [image.name for image in images]
    return PlaneSource(
        common_name(names) or names[0],
        [_layers.plane_pixels(image, 0) for image in images],
        [f"Layer '{name}'" for name in names],
        np.array(given_um) if len(given_um) == len(images) else None,
        sizes[0],
    )


def place_of(layer: Image) -> Place:
    """Where the voxels of a stack lie."""
    _layers.check_upright(layer)
    frame = frame_of(layer, remedy="set the layer's scale and units.")
    (_, _, pixel), (_, y, x), heights = *frame, heights_in(layer, frame)
    return Place(heights, _layers.pixel_um(layer) or pixel, (y, x))


def frames_of(*stacks: Image) -> list[_layers.Frame | None]:
    """Where the voxels of stacks lie now, to be compared."""
    return [_layers.stack_frame(check_stack(stack)) for stack in stacks]


def lie_apart(images: Sequence[Image]) -> bool:
    """Whether layers lie at different places in y and x."""
    places = np.array([_layers.lateral_origin_um(image) for image in images])
    size = _layers.pixel_um(images[0]) or 1.0
    return bool(np.ptp(places, axis=0).max() > _SAME_PLACE_PX * size)


# what runs in a thread ----------------------------------------------------------------
def align_job(source: PlaneSource, form: Align) -> Steps[tuple[Alignment, AnyArray]]:
    """Align and move: gives the alignment and the moved planes."""
    alignment = yield from aligning(
        source.planes,
        transform=form.motion,
        reference=form.reference,
        band_pass=form.band_pass,
        names=source.labels,
    )
    region = alignment.common_region if form.crop else None
    return alignment, (yield from applying(source.planes, alignment, region))


def measure_job(
    source: PlaneSource, edf: Any, edf_name: str
) -> Steps[tuple[AnyArray, EdfNormalisation]]:
    """Measure the normalisation on a given image, or on one that is made: gives both."""
    if edf is None:
        edf = (yield from extending_focus(source.planes, name=source.name)).image
    yield Step(0, 0, "Measuring")
    edf = np.asanyarray(edf)
    return edf, edf_normalisation(edf, edf_name)


def apply_job(source: PlaneSource, normalisation: Normalisation) -> Steps[AnyArray]:
    """Normalise every plane."""
    count = len(source.planes)
    normalised = []
    for i in range(count):
        normalised.append(normalisation.apply(np.asanyarray(source.planes[i])))
        yield Step(i + 1, count, "Normalising")
    return np.stack(normalised)


def register_job(
    wide: PlaneSource, confocal: PlaneSource, places: tuple[Place, Place], form: Register
) -> Steps[tuple[Registration, AnyArray]]:
    """Register and resample: gives the registration and the resampled stack."""
    names = wide.name, confocal.name
    registration = yield from registering(
        wide.planes, confocal.planes, *places, transform=form.motion, names=names
    )
    return registration, (yield from resampling(confocal.planes, registration, crop=form.crop))


# layers -------------------------------------------------------------------------------
def about_edf(layer: Image, source: PlaneSource) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keyword arguments for the EDF of a stack, and for the map of its pixels' heights."""
    step = {"task": "edf", "source": source.name, "planes": len(source.labels)}
    mapped, name = step | {"holds": "heights, µm"}, f"Heights of {layer.name} (µm)"
    heights = _layers.about_layer(layer, name, mapped, is_flat=True, same_units=False)
    edf = _layers.about_layer(layer, f"EDF of {layer.name}", step, is_flat=True)
    return edf, heights | {"colormap": "viridis", "blending": "translucent_no_depth"}


def about_registered(
    wide: Image, confocal: Image, registration: Registration, crop: bool
) -> dict[str, Any]:
    """Keyword arguments for a confocal stack that lies where the wide-field stack does."""
    step = {"task": "register", "to": wide.name, **registration.as_dict(), "cropped": crop}
    name = f"{confocal.name} (registered)"
    planes, region = (registration.planes, registration.region) if crop else (None, None)
    about = _layers.about_layer(wide, name, step, region=region, planes=planes)
    own = _layers.about_layer(confocal, name, step)
    key, place = _layers.METADATA_KEY, {"z_um", "z_step_um", "pixel_um"}
    record = {k: v for k, v in own["metadata"][key].items() if k not in place}
    record |= {k: v for k, v in about["metadata"][key].items() if k in place}
    looks = {k: own[k] for k in ("colormap", "blending", "contrast_limits")}
    return about | looks | {"metadata": {**confocal.metadata, key: record}}


# what is said of a result -------------------------------------------------------------
def field_words(alignment: Alignment, crop: bool) -> str:
    """Which part of the field all aligned planes show."""
    rows, columns = alignment.common_region
    height, width = rows.stop - rows.start, columns.stop - columns.start
    edges = "cropped to these." if crop else "beyond them, edges are mirrored."
    return (
        f"All planes show {height} × {width} of {alignment.shape[0]} × {alignment.shape[1]} pixels "
        f"(rows {rows.start} to {rows.stop - 1}, columns {columns.start} to {columns.stop - 1}); "
        f"{edges}"
    )


def alignment_words(alignment: Alignment, apart: bool) -> tuple[str, str]:
    """What was found, and the kind of the sentence; layers ``apart`` are a warning."""
    words, is_worth_it = alignment.verdict
    if apart:
        words += " The layers lie at different places: shifts are from pixel to pixel."
    return words, "done" if is_worth_it and not apart else "warning"


def normalisation_words(measured: EdfNormalisation) -> str:
    """Shift and scale, and what they come from."""
    return (
        f"Shift {measured.background:.6g} (background mean), scale "
        f"{measured.p99 - measured.background:.6g} (P99 less the shift); "
        f"{measured.foreground_share:.1%} of the EDF is foreground."
    )


def registration_words(registration: Registration) -> str:
    """The parameters of a registration, and what it covers."""
    y, x = registration.shift_um
    planes = registration.planes
    return (
        f"Shift z {registration.shift_z_um:+.2f}, y {y:+.2f}, x {x:+.2f} µm; rotation "
        f"{registration.rotation_deg:+.2f}°; magnification "
        f"{registration.magnification:.4f}. The confocal stack covers "
        f"planes {planes.start} to {planes.stop - 1} of {registration.shape[0]}."
    )


def rise_words(registration: Registration) -> tuple[str, str]:
    """Whether a registration raised the correlation, and the kind of the sentence."""
    before, after = registration.correlation_before, registration.correlation_after
    if np.isnan(before):
        return f"The stacks did not overlap before; they correlate by {after:.3f} now.", "done"
    if after <= before:
        return (
            f"The correlation did not rise ({before:.3f} to {after:.3f}): the stacks were "
            "registered already, or show different things.",
            "warning",
        )
    return f"The correlation rose from {before:.3f} to {after:.3f}.", "done"
