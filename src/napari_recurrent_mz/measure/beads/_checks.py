"""Checks of the measurement's arguments, with a sentence for every mistake."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...core.scans import InputError
from ._find import Array, Volume

MODELS = ("profiles", "gaussian3d")

_PIXELS_APART = 10.0  # default separation, in lateral pixels


def checked_volume(volume: npt.ArrayLike, voxel_um: Sequence[float]) -> tuple[Volume, Array]:
    """Return a volume as float32 (Z, Y, X), and its voxel size, shape (3,)."""
    pixels = np.asarray(volume)
    if pixels.ndim not in (2, 3) or pixels.dtype.kind not in "biuf":
        raise InputError(
            f"The volume has shape {pixels.shape} and type {pixels.dtype}: "
            "beads are measured in a grey-value volume (z, y, x) or image (y, x)."
        )
    pixels = np.ascontiguousarray(pixels.reshape((-1, *pixels.shape[-2:])), np.float32)
    if min(pixels.shape[1:]) < 16:
        raise InputError(
            f"The image is only {pixels.shape[1]} × {pixels.shape[2]} pixels: "
            "measuring beads needs at least 16 × 16."
        )
    voxel = np.asarray(voxel_um, np.float64)
    if voxel.shape == (2,) and len(pixels) == 1:
        voxel = np.concatenate([voxel[:1], voxel])
    if voxel.shape != (3,) or not np.all(np.isfinite(voxel) & (voxel > 0)):
        raise InputError(
            f"The voxel size {tuple(voxel_um)} is not three lengths (z, y, x) above 0 µm."
        )
    return pixels, voxel


def checked_origin(origin_um: Sequence[float]) -> Array:
    """Return the place of the first voxel, shape (3,)."""
    origin = np.asarray(origin_um, np.float64)
    if origin.shape == (2,):
        origin = np.concatenate([[0.0], origin])
    if origin.shape != (3,) or not np.all(np.isfinite(origin)):
        raise InputError(f"The origin {tuple(origin_um)} is not three lengths (z, y, x) in µm.")
    return origin


def checked_points(
    points: npt.ArrayLike, shape: tuple[int, ...], voxel: Array, origin: Array
) -> Array:
    """Points from the first voxel, (N, 3) in micrometres."""
    places = np.asarray(points, np.float64)
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
    if model not in MODELS:
        raise InputError(f"The model '{model}' is unknown: choose one of {', '.join(MODELS)}.")
    if not threshold_snr > 0:
        raise InputError(f"The signal threshold {threshold_snr:g} is not above 0: give 5, say.")
    separation = float(_PIXELS_APART * voxel[1:].max() if given is None else given)
    if not separation >= 2 * voxel[1:].max():
        raise InputError(
            f"The minimum separation {separation:g} µm is less than two pixels: give it larger."
        )
    return separation


def checked_region(given: Sequence[float], planes: int) -> Array:
    """Return the region as three lengths; NaN leaves an axis to the default."""
    region = np.array(given, np.float64)
    if region.shape == (2,) and planes == 1:
        region = np.concatenate([[np.nan], region])
    if region.shape != (3,) or np.any(region <= 0) or np.any(np.isinf(region)):
        raise InputError(f"The region {tuple(given)} is not three lengths (z, y, x) above 0 µm.")
    if planes == 1:
        region[0] = np.nan
    return region


def checked_range(bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the lowest and the highest z."""
    low, high = bounds
    if not low <= high:
        raise InputError(
            f"The z range {low:g} to {high:g} µm runs backwards: give the lower height first."
        )
    return low, high
