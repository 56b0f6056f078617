"""Checks of the measurement's arguments, with a sentence for every mistake."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...core.arrays import Array, as_single, real_array
from ...core.errors import check_choice
from ...core.scans import InputError
from ._find import Voxels

MODELS = ("profiles", "gaussian3d")

_PIXELS_APART = 10.0  # default separation, in lateral pixels


def checked_volume(
    volume: npt.ArrayLike, voxel_um: Sequence[float] | Array
) -> tuple[Voxels, Array]:
    """Return a volume as float32 (Z, Y, X), and its voxel size, shape (3,)."""
    values = real_array(volume, "The volume")
    if values.ndim not in (2, 3) or not values.size:
        raise InputError(
            f"The volume has shape {values.shape}: "
            "beads are measured in a grey-value volume (z, y, x) or image (y, x)."
        )
    pixels = as_single(values, "The volume").reshape((-1, *values.shape[-2:]))
    pixels = np.ascontiguousarray(pixels)
    if min(pixels.shape[1:]) < 16:
        raise InputError(
            f"The image is only {pixels.shape[1]} × {pixels.shape[2]} pixels: "
            "measuring beads needs at least 16 × 16."
        )
    voxel = _three(voxel_um, np.nan if len(pixels) == 1 else None)
    if voxel is not None and len(pixels) == 1 and np.isnan(voxel[0]):
        voxel[0] = voxel[1]
    if voxel is None or not np.all(np.isfinite(voxel) & (voxel > 0)):
        raise _not_three("voxel size", voxel_um, "above 0 µm")
    return pixels, voxel


def checked_origin(origin_um: Sequence[float] | Array) -> Array:
    """Return the place of the first voxel, shape (3,)."""
    origin = _three(origin_um, 0.0)
    if origin is None or not np.all(np.isfinite(origin)):
        raise _not_three("origin", origin_um, "in µm")
    return origin


def checked_region(given: Sequence[float] | None, planes: int) -> Array:
    """Return the region as three lengths; NaN leaves an axis to the default."""
    if given is None:
        return np.full(3, np.nan)
    region = _three(given, np.nan if planes == 1 else None)
    if region is None or np.any(region <= 0) or np.any(np.isinf(region)):
        raise _not_three("region", given, "above 0 µm")
    if planes == 1:
        region[0] = np.nan
    return region


def _three(given: Sequence[float] | Array, z_of_an_image: float | None) -> Array | None:
    """(z, y, x), for which (y, x) will do where an image has a z; None if there are not three."""
    try:
        lengths = np.array(given, np.float64)
    except (TypeError, ValueError):
        return None
    if lengths.shape == (2,) and z_of_an_image is not None:
        lengths = np.array([z_of_an_image, *lengths])
    return lengths if lengths.shape == (3,) else None


def _not_three(words: str, given: Sequence[float] | Array, unit: str) -> InputError:
    return InputError(f"The {words} {given} is not three lengths (z, y, x) {unit}.")


def checked_points(
    points: npt.ArrayLike, shape: tuple[int, ...], voxel: Array, origin: Array
) -> Array:
    """Points from the first voxel, (N, 3) in micrometres."""
    places = real_array(points, "The list of points", of="coordinate").astype(np.float64)
    if places.ndim == 2 and places.shape[1] == 2 and shape[0] == 1:
        places = np.column_stack([np.full(len(places), origin[0]), places])
    if places.ndim != 2 or places.shape[1] != 3 or not np.all(np.isfinite(places)):
        raise InputError(
            f"The points have shape {places.shape}: give (z, y, x) in micrometres for each bead."
        )
    nearest = np.round((places - origin) / voxel)
    outside = np.any((nearest < 0) | (nearest > np.array(shape) - 1), axis=1)
    if np.any(outside):
        first = int(np.argmax(outside))
        place = ", ".join(f"{value:g}" for value in places[first])
        raise InputError(
            f"Point {first + 1} at ({place}) µm lies outside the volume: "
            "points are (z, y, x) in micrometres, counted as its origin is."
        )
    return np.asarray(places - origin)


def checked_separation(
    given: float | None, voxel: Array, threshold_snr: float, model: str
) -> float:
    """Return the separation given, or the default for such voxels; check model and threshold."""
    check_choice("model", model, MODELS)
    if not threshold_snr > 0:
        raise InputError(f"The signal threshold {threshold_snr:g} is not above 0: give 5, say.")
    separation = float(_PIXELS_APART * voxel[1:].max() if given is None else given)
    if not separation >= 2 * voxel[1:].max():
        raise InputError(
            f"The minimum separation {separation:g} µm is less than two pixels: give it larger."
        )
    return separation


def checked_range(bounds: tuple[float, float] | None) -> tuple[float, float]:
    """Return the lowest and the highest z."""
    low, high = bounds or (-np.inf, np.inf)
    if not low <= high:
        raise InputError(
            f"The z range {low:g} to {high:g} µm runs backwards: give the lower height first."
        )
    return low, high
