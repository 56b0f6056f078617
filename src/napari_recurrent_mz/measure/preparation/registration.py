"""Registration of a confocal stack to its wide-field counterpart, for Recurrent-MZ+.

The paper registers them by features (Huang et al. 2021, Methods, "Sample preparation"). Here the
maximum projections of what is sharp give the lateral motion (an affine map by pyStackReg), and
the axial shift is the one at which what is sharp in both volumes correlates best. Haze, which only
one of the two microscopes sees, is left out of both by a band-pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core.arrays import AnyArray, Array, Planes, as_single, real_number, real_values
from ...core.errors import check_choice
from ...core.progress import Step, Steps, at_once
from ...core.scans import MAX_PLANES, FloatArray, InputError, check_image
from . import _warp
from ._warp import TRANSFORMS, Matrix, Region

_LEAST_OVERLAP = 0.5  # of the thinner stack: a few planes correlate with anything
_SEARCH_PIXELS = 128  # edge of the field in which the axial shift is sought, after binning


@dataclass(frozen=True, eq=False)
class Place:
    """Where the voxels of a stack lie."""

    z_um: Array  #: (Z,), heights of the planes, µm, rising or falling
    pixel_um: float  #: pixel size, in micrometres
    origin_um: tuple[float, float] = (0.0, 0.0)  #: position (y, x) of the first pixel, µm

    def __post_init__(self) -> None:
        heights = real_values(self.z_um, "The list of heights")
        if len(heights) > 1 and not np.abs(np.diff(np.sort(heights))).min() > 0:
            raise InputError("Two planes of a stack have the same height: correct its z step.")
        if not 0 < real_number(self.pixel_um) < math.inf:
            raise InputError(f"The pixel size {self.pixel_um} is no length above 0: give it in µm.")
        object.__setattr__(self, "z_um", heights)

    @property
    def step_um(self) -> float:
        """Mean distance between planes, in micrometres."""
        return float(np.abs(np.diff(self.z_um)).mean())

    def to_world(self) -> Matrix:
        """From (y, x, 1) in pixels to micrometres."""
        (y, x), size = self.origin_um, self.pixel_um
        return np.array([[size, 0, y], [0, size, x], [0, 0, 1.0]])


def positions(
    wide_um: Array, confocal_um: Array, shift_um: float, *, nearest: bool = False
) -> Array:
    """The confocal plane, as a fraction, that shows each wide-field plane; NaN or ``nearest``."""
    order = np.argsort(confocal_um)
    heights = confocal_um[order]
    shifted_um = wide_um + shift_um
    slack = 1e-6 * max(1.0, float(np.ptp(heights)))
    at: Array = np.interp(shifted_um, heights, order.astype(float))
    if not nearest:
        at[(shifted_um < heights[0] - slack) | (shifted_um > heights[-1] + slack)] = np.nan
    return at


def small_stack(
    stack: Planes, matrix: Matrix | None, shape: tuple[int, int], region: Region
) -> Steps[FloatArray]:
    """The sharp part of the region, binned to about 128 pixels; shape (planes, y, x)."""
    from skimage.measure import block_reduce

    sides = [part.stop - part.start for part in region]
    factor = max(1, round(max(sides) / _SEARCH_PIXELS))
    whole = tuple(
        slice(part.start, part.start + side - side % factor)
        for part, side in zip(region, sides, strict=True)
    )
    binned: Callable[..., Any] = block_reduce  # scikit-image is half typed
    small = []
    for i in range(len(stack)):
        plane: AnyArray = stack[i].astype(np.float64)
        if matrix is not None:
            plane = _warp.moved_plane(plane, matrix, shape)
        plane = _warp.sharp_part(plane)
        small.append(binned(plane[whole], factor, np.mean).astype(np.float32))
        yield Step(i + 1, len(stack), "Comparing planes")
    return np.stack(small)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two small stacks of one field, whose heights differ."""

    wide: FloatArray
    confocal: FloatArray
    wide_place: Place
    confocal_place: Place

    def correlation(self, shift_um: float) -> float:
        """Pearson's coefficient where they overlap; NaN where that is too little."""
        places = (self.wide_place, self.confocal_place)
        least = _LEAST_OVERLAP * min(np.ptp(p.z_um) for p in places) / self.wide_place.step_um
        at = positions(self.wide_place.z_um, self.confocal_place.z_um, shift_um)
        inside = np.flatnonzero(~np.isnan(at))
        if len(inside) < max(2, float(least)):
            return float("nan")
        low = np.minimum(at[inside].astype(int), len(self.confocal) - 2)
        part = (at[inside] - low).astype(np.float32)[:, None, None]
        between = (1 - part) * self.confocal[low] + part * self.confocal[low + 1]
        return _warp.correlation(self.wide[inside], between)

    def correlations(self, names: tuple[str, str]) -> Steps[tuple[Array, Array]]:
        """The axial shifts in micrometres at which the stacks overlap, and their correlations."""
        step = min(self.wide_place.step_um, self.confocal_place.step_um)
        wide, confocal = self.wide_place.z_um, self.confocal_place.z_um
        low, high = confocal.min() - wide.max(), confocal.max() - wide.min()
        if (high - low) / step > MAX_PLANES:
            raise InputError(
                f"The heights of '{names[0]}' and '{names[1]}' lie more than {MAX_PLANES:,} planes "
                "apart: check the z-steps and places of both, which are in µm."
            )
        shifts = step * np.arange(np.ceil(low / step), np.floor(high / step) + 1)
        scores = np.full(len(shifts), np.nan)
        for i, shift in enumerate(shifts):
            scores[i] = self.correlation(float(shift))
            yield Step(i + 1, len(shifts), "Finding the axial shift")
        known = ~np.isnan(scores)
        if not known.any():
            raise InputError(
                f"'{names[0]}' and '{names[1]}' overlap in too few planes at any shift: check the "
                "z-steps of both."
            )
        return shifts[known], scores[known]


def top_of_parabola(tried: Array, scores: Array) -> float:
    """The shift at the top of the parabola through the best three: interpolation would bias it."""
    peak = int(scores.argmax())
    if not 0 < peak < len(scores) - 1:
        return float(tried[peak])
    before, top, after = scores[peak - 1 : peak + 2]
    bend = before - 2 * top + after
    part = (before - after) / (2 * bend) if bend < 0 else 0.0
    return float(tried[peak] + part * (tried[peak + 1] - tried[peak]))


@dataclass(frozen=True, eq=False)
class Registration:
    """How a confocal stack lies to a wide-field stack."""

    #: (3, 3), ``matrix @ (y, x, 1)`` is where the confocal stack, in its pixels, shows what the
    #: wide-field stack has at (y, x), in its own
    matrix: Matrix
    motion: Matrix  #: (3, 3), the part of it that the places do not explain, in wide-field pixels
    #: the confocal stack shows things this much higher than the wide-field stack, µm
    shift_z_um: float
    widefield: Place
    confocal: Place
    shape: tuple[int, int, int]  #: planes, rows and columns of the wide-field stack
    confocal_shape: tuple[int, int, int]  #: of the confocal stack
    transform: str
    #: Pearson's coefficient of what is sharp in the two volumes, where both have values, as they
    #: were; NaN when they did not overlap
    correlation_before: float
    correlation_after: float  #: the same as registered
    tried_um: Array  #: the axial shifts that were tried, in micrometres
    tried_correlation: Array  #: of each, coarsely sampled

    @property
    def shift_um(self) -> tuple[float, float]:
        """How far the confocal stack's content is displaced in y and x, in micrometres."""
        y, x = _warp.shift_at_centre(self.motion, self.shape[1:]) * self.widefield.pixel_um
        return float(y), float(x)

    @property
    def rotation_deg(self) -> float:
        """How far it is turned, in degrees, clockwise on the screen."""
        return float(_warp.rotation_deg(self.motion))

    @property
    def magnification(self) -> float:
        """How much larger it shows things."""
        return float(_warp.magnification(self.motion))

    @property
    def planes(self) -> slice:
        """The wide-field planes that the confocal stack covers."""
        at = positions(self.widefield.z_um, self.confocal.z_um, self.shift_z_um)
        inside = np.flatnonzero(~np.isnan(at))
        return slice(int(inside.min()), int(inside.max()) + 1)

    @property
    def region(self) -> Region:
        """The largest rectangle that both show: rows and columns of the wide-field stack."""
        region = _warp.largest_region([self.matrix], self.shape[1:], self.confocal_shape[1:])
        if region is None:
            raise InputError(
                "The registered stacks have no field in common: they show different places."
            )
        return region

    def as_dict(self) -> dict[str, Any]:
        """The parameters, as JSON can hold them; lengths in micrometres."""
        before = self.correlation_before
        y, x = self.shift_um
        return {
            "transform": self.transform,
            "shift_z_um": self.shift_z_um,
            "shift_y_um": y,
            "shift_x_um": x,
            "rotation_deg": self.rotation_deg,
            "magnification": self.magnification,
            "correlation_before": None if np.isnan(before) else float(before),
            "correlation_after": self.correlation_after,
            "matrix_yx": self.matrix.round(9).tolist(),
            "covered_planes": [self.planes.start, self.planes.stop],
        }


def registering(
    widefield: Any,
    confocal: Any,
    widefield_place: Place,
    confocal_place: Place,
    *,
    transform: str = "affine",
    names: tuple[str, str] = ("wide-field", "confocal"),
) -> Steps[Registration]:
    """Find how a confocal stack lies to a wide-field stack.

    Parameters
    ----------
    widefield, confocal : array_like, shape (Z, Y, X)
        Their sizes and voxels may differ.
    widefield_place, confocal_place : Place
        Where their voxels are thought to lie: the start of the search.
    transform : {"affine", "rigid", "translation"}
        What may differ laterally.
    names : tuple of str, optional
        How error messages call them.

    Raises
    ------
    InputError
        If one is no stack, constant, or holds NaN, or no motion is found.
    """
    check_choice("motion", transform, TRANSFORMS)
    places = (widefield_place, confocal_place)
    widefield, confocal = Planes(widefield, f"'{names[0]}'"), Planes(confocal, f"'{names[1]}'")
    wide_top, top = yield from _projections((widefield, confocal), places, names)
    guess = np.linalg.inv(confocal_place.to_world()) @ widefield_place.to_world()
    motion = _lateral(wide_top, top, guess, transform, names[1])
    registration = Registration(
        guess @ motion, motion, 0.0, widefield_place, confocal_place, widefield.shape,
        confocal.shape, transform, np.nan, np.nan, np.empty(0), np.empty(0),
    )  # fmt: skip
    matrix, field = registration.matrix, registration.shape[1:]
    both = _warp.largest_region([matrix, guess], field, registration.confocal_shape[1:])
    region = both or registration.region
    wide = yield from small_stack(widefield, None, field, region)
    registered = yield from small_stack(confocal, matrix, field, region)
    pair = Pair(wide, registered, *places)
    tried, scores = yield from pair.correlations(names)
    shift_z_um = top_of_parabola(tried, scores)
    before = np.nan
    if both is not None:
        as_given = yield from small_stack(confocal, guess, field, region)
        before = Pair(wide, as_given, *places).correlation(0.0)
    return replace(
        registration,
        shift_z_um=shift_z_um,
        tried_um=tried,
        tried_correlation=scores,
        correlation_before=before,
        correlation_after=pair.correlation(shift_z_um),
    )


register = at_once(registering)


def resampling(confocal: Any, registration: Registration, *, crop: bool = False) -> Steps[AnyArray]:
    """The confocal stack on the grid of the wide-field stack, step by step.

    Parameters
    ----------
    confocal : array_like, shape (Z', Y', X')
        The stack that was registered.
    registration : Registration
    crop : bool, optional
        Keep only ``registration.planes`` and ``registration.region``, where both stacks have
        values. Otherwise the size is that of the wide-field stack: beyond the confocal planes
        the nearest one is repeated, and beyond its field the edge is mirrored.

    Returns
    -------
    numpy.ndarray, shape (Z, Y, X)
        In the type of the confocal stack: cubic splines laterally, linear along z.
    """
    r, confocal = registration, Planes(confocal, "The confocal stack")
    if confocal.shape != r.confocal_shape:
        raise InputError(
            f"The registration is one of a confocal stack of shape {r.confocal_shape}, but this "
            f"one has {confocal.shape}: register it first."
        )
    at = positions(r.widefield.z_um, r.confocal.z_um, r.shift_z_um, nearest=True)
    region: Any = r.region if crop else ...
    at = at[r.planes] if crop else at
    cache: dict[int, FloatArray] = {}
    resampled = []
    for done, place in enumerate(at, start=1):
        low = min(int(place), r.confocal_shape[0] - 2)
        cache = {
            i: cache[i] if i in cache else _warp.moved_plane(confocal[i], r.matrix, r.shape[1:])
            for i in (low, low + 1)
        }
        part = place - low
        plane = (1 - part) * cache[low] + part * cache[low + 1]
        resampled.append(_warp.as_type(plane, confocal.dtype)[region].copy())
        yield Step(done, len(at), "Resampling")
    return np.stack(resampled)


def _projections(
    stacks: tuple[Planes, Planes], places: tuple[Place, Place], names: tuple[str, str]
) -> Steps[list[FloatArray]]:
    """Maximum projections of what is sharp, on one scale of lengths."""
    for stack, place, name in zip(stacks, places, names, strict=True):
        shape = stack.shape
        if len(shape) != 3 or shape[0] < 2:
            raise InputError(
                f"'{name}' has the shape {shape}: registration needs two stacks (Z, Y, X)."
            )
        if len(place.z_um) != shape[0]:
            raise InputError(
                f"'{name}' has {shape[0]} planes but {len(place.z_um)} heights: give one a plane."
            )
    total = sum(map(len, stacks))
    done, tops = 0, []
    for stack, place, name in zip(stacks, places, names, strict=True):
        raw = np.full(stack.shape[1:], -np.inf, dtype=np.float32)
        top = raw.copy()
        for i in range(len(stack)):
            plane = as_single(stack[i], f"Plane {i} of '{name}'")
            np.maximum(raw, plane, out=raw)
            sharp = _warp.sharp_part(plane, places[0].pixel_um / place.pixel_um)
            np.maximum(top, sharp, out=top)
            done += 1
            yield Step(done, total, "Projecting")
        check_image(raw, f"The projection of '{name}'")
        tops.append(top)
    return tops


def _lateral(
    wide_top: FloatArray, top: FloatArray, guess: Matrix, transform: str, name: str
) -> Matrix:
    """The motion of the confocal projection, in wide-field pixels, that the places leave over."""
    shape = (wide_top.shape[0], wide_top.shape[1])
    region = _warp.largest_region([guess], shape, (top.shape[0], top.shape[1]))
    if region is None or min(part.stop - part.start for part in region) < 16:
        raise InputError(
            f"'{name}' lies beside the wide-field stack: check the pixel sizes and the places of "
            "both, which must show the same field."
        )
    moved = _warp.moved_plane(top, guess, shape)
    wide, confocal = (
        _warp.standardised(image[region], f"The projection of '{name}'")
        for image in (wide_top, moved)
    )
    inner = _warp.transform_matrix(wide, confocal, transform, f"'{name}'")
    corner = np.eye(3)
    corner[:2, 2] = [part.start for part in region]
    return corner @ inner @ np.linalg.inv(corner)
