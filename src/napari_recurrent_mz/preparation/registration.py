"""Registration of a confocal stack to its wide-field counterpart, for Recurrent-MZ+.

The paper registers them by features (Huang et al. 2021, Methods, "Sample preparation"). Here the
maximum projections give the lateral motion (an affine map by pyStackReg), and the axial shift is
the one that makes the two volumes correlate best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..scans import FloatArray, InputError, check_image
from . import _warp
from ._steps import Step, Steps, finished
from ._warp import TRANSFORMS, Matrix
from .alignment import Region

_LEAST_OVERLAP = 0.5
"""Share of the thinner stack that must overlap: a few planes correlate with anything."""

_SEARCH_PIXELS = 128
"""Edge of the field in which the axial shift is sought, after binning."""

_FINE = 0.02
"""Part of a plane's distance to which the axial shift is found."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where the voxels of a stack lie.

    Parameters
    ----------
    z_um : array_like, shape (Z,)
        Heights of the planes, in micrometres, rising or falling.
    pixel_um : float
        Pixel size, in micrometres.
    origin_um : tuple of float
        Position (y, x) of the first pixel, in micrometres.
    """

    z_um: npt.NDArray[np.float64]
    pixel_um: float
    origin_um: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "z_um", np.asarray(self.z_um, dtype=np.float64))

    @property
    def step_um(self) -> float:
        """Mean distance between planes, in micrometres."""
        return float(np.abs(np.diff(self.z_um)).mean())

    def to_world(self) -> Matrix:
        """From (y, x, 1) in pixels to micrometres."""
        (y, x), size = self.origin_um, self.pixel_um
        return np.array([[size, 0, y], [0, size, x], [0, 0, 1.0]])


@dataclass(frozen=True, eq=False)
class Registration:
    """How a confocal stack lies to a wide-field stack.

    Attributes
    ----------
    matrix : numpy.ndarray, shape (3, 3)
        ``matrix @ (y, x, 1)`` is where the confocal stack, in its pixels, shows what the
        wide-field stack has at (y, x), in its own.
    motion : numpy.ndarray, shape (3, 3)
        The part of it that the places do not explain, in wide-field pixels.
    shift_z_um : float
        The confocal stack shows things this much higher than the wide-field stack, µm.
    widefield, confocal : Place
    shape : tuple of int
        Planes, rows and columns of the wide-field stack.
    confocal_shape : tuple of int
    transform : str
    correlation_before, correlation_after : float
        Pearson's coefficient of the two volumes where both have values, as they were and as
        registered; NaN before when they did not overlap.
    tried_um, tried_correlation : numpy.ndarray
        The axial shifts that were tried, µm, and the correlation of each, coarsely sampled.
    """

    matrix: Matrix
    motion: Matrix
    shift_z_um: float
    widefield: Place
    confocal: Place
    shape: tuple[int, int, int]
    confocal_shape: tuple[int, int, int]
    transform: str
    correlation_before: float
    correlation_after: float
    tried_um: npt.NDArray[np.float64]
    tried_correlation: npt.NDArray[np.float64]

    @property
    def shift_um(self) -> tuple[float, float]:
        """How far the confocal stack's content is displaced in y and x, in micrometres."""
        y, x = _warp.shift_at_centre(self.motion, self.shape[1:]) * self.widefield.pixel_um
        return float(y), float(x)

    @property
    def rotation_deg(self) -> float:
        """How far it is turned, in degrees, clockwise on the screen."""
        return _warp.rotation_deg(self.motion)

    @property
    def magnification(self) -> float:
        """How much larger it shows things."""
        return float(np.sqrt(abs(np.linalg.det(self.motion[:2, :2]))))

    @property
    def planes(self) -> slice:
        """The wide-field planes that the confocal stack covers."""
        at = _positions(self.widefield.z_um, self.confocal.z_um, self.shift_z_um)
        inside = np.flatnonzero(~np.isnan(at))
        return slice(int(inside.min()), int(inside.max()) + 1)

    @property
    def region(self) -> Region:
        """The largest rectangle that both show: rows and columns of the wide-field stack.

        Raises
        ------
        InputError
            If there is none.
        """
        found = _warp.largest_region([self.matrix], self.shape[1:], self.confocal_shape[1:])
        if found is None:
            raise InputError(
                "The registered stacks have no field in common: they show different places."
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """The parameters, as JSON can hold them; lengths in micrometres."""
        y, x = self.shift_um
        return {
            "transform": self.transform,
            "shift_z_um": self.shift_z_um,
            "shift_y_um": y,
            "shift_x_um": x,
            "rotation_deg": self.rotation_deg,
            "magnification": self.magnification,
            "correlation_before": _number(self.correlation_before),
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
    """Find how a confocal stack lies to a wide-field stack, step by step.

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

    Yields
    ------
    Step

    Returns
    -------
    Registration

    Raises
    ------
    InputError
        If one is no stack, constant, or holds NaN, or no motion is found.
    """
    if transform not in TRANSFORMS:
        raise ValueError(f"unknown transform '{transform}'")
    for stack, place, name in zip(
        (widefield, confocal), (widefield_place, confocal_place), names, strict=True
    ):
        _check_stack(stack, place, name)
    wide_top, top = yield from _projections(widefield, confocal, names)
    guess = np.linalg.inv(confocal_place.to_world()) @ widefield_place.to_world()
    motion = _lateral(wide_top, top, guess, transform, names[1])
    found = Registration(
        guess @ motion, motion, 0.0, widefield_place, confocal_place, np.shape(widefield),
        np.shape(confocal), transform, np.nan, np.nan, np.empty(0), np.empty(0),
    )  # fmt: skip
    both = _warp.largest_region([found.matrix, guess], found.shape[1:], found.confocal_shape[1:])
    region = both or found.region
    wide = yield from _small(widefield, None, found.shape[1:], region)
    after = yield from _small(confocal, found.matrix, found.shape[1:], region)
    pair = _Pair(wide, after, widefield_place, confocal_place)
    tried, scores = yield from _tried(pair, names)
    best = pair.best_near(tried, scores)
    earlier = np.nan
    if both is not None:
        before = yield from _small(confocal, guess, found.shape[1:], region)
        earlier = _Pair(wide, before, widefield_place, confocal_place).correlation(0.0)
    return replace(
        found,
        shift_z_um=best,
        tried_um=tried,
        tried_correlation=scores,
        correlation_before=earlier,
        correlation_after=pair.correlation(best),
    )


def register(
    widefield: Any,
    confocal: Any,
    widefield_place: Place,
    confocal_place: Place,
    *,
    transform: str = "affine",
    names: tuple[str, str] = ("wide-field", "confocal"),
) -> Registration:
    """:func:`registering` at once."""
    return finished(
        registering(
            widefield, confocal, widefield_place, confocal_place, transform=transform, names=names
        )
    )


def resampling(
    confocal: Any, registration: Registration, *, crop: bool = False
) -> Steps[npt.NDArray[Any]]:
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

    Yields
    ------
    Step

    Returns
    -------
    numpy.ndarray, shape (Z, Y, X)
        In the type of the confocal stack: cubic splines laterally, linear along z.
    """
    r = registration
    if np.shape(confocal) != r.confocal_shape:
        raise InputError(
            f"The registration is one of a confocal stack of shape {r.confocal_shape}, but this "
            f"one has {np.shape(confocal)}: register it first."
        )
    at = _positions(r.widefield.z_um, r.confocal.z_um, r.shift_z_um, beyond=True)
    rows, columns = r.region if crop else (slice(None), slice(None))
    at = at[r.planes] if crop else at
    held: dict[int, FloatArray] = {}
    made = []
    for done, place in enumerate(at, start=1):
        low = min(int(place), r.confocal_shape[0] - 2)
        held = {i: held[i] if i in held else _one_plane(confocal, i, r) for i in (low, low + 1)}
        part = place - low
        plane = (1 - part) * held[low] + part * held[low + 1]
        made.append(_warp.as_type(plane, np.asarray(confocal[0]).dtype)[rows, columns].copy())
        yield Step(done, len(at), "Resampling")
    return np.stack(made)


def _one_plane(confocal: Any, number: int, registration: Registration) -> FloatArray:
    return _warp.moved_plane(confocal[number], registration.matrix, registration.shape[1:])


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _check_stack(stack: Any, place: Place, name: str) -> None:
    shape = np.shape(stack)
    if len(shape) != 3 or shape[0] < 2:
        raise InputError(
            f"'{name}' has the shape {tuple(shape)}: registration needs two stacks (Z, Y, X)."
        )
    if len(place.z_um) != shape[0]:
        raise ValueError(f"{len(place.z_um)} heights for {shape[0]} planes of '{name}'")


def _projections(
    widefield: Any, confocal: Any, names: tuple[str, str]
) -> Steps[tuple[FloatArray, FloatArray]]:
    """Maximum projections, which keep the place of what is sharp."""
    total = len(widefield) + len(confocal)
    done, tops = 0, []
    for stack, name in zip((widefield, confocal), names, strict=True):
        top = np.full(np.shape(stack)[1:], -np.inf, dtype=np.float32)
        for i in range(len(stack)):
            np.maximum(top, _finite(stack[i], f"Plane {i} of '{name}'"), out=top)
            done += 1
            yield Step(done, total, "Projecting")
        tops.append(check_image(top, f"The projection of '{name}'"))
    return tops[0], tops[1]


def _finite(plane: npt.ArrayLike, label: str) -> FloatArray:
    pixels = np.asarray(plane, dtype=np.float32)
    if not np.isfinite(pixels).all():
        raise InputError(f"{label} holds NaN or infinite values: replace them before registering.")
    return pixels


def _lateral(
    wide_top: FloatArray, top: FloatArray, guess: Matrix, transform: str, name: str
) -> Matrix:
    """The motion of the confocal projection, in wide-field pixels, that the places leave over."""
    shape = (wide_top.shape[0], wide_top.shape[1])
    size = (top.shape[0], top.shape[1])
    region = _warp.largest_region([guess], shape, size)
    if region is None or min(part.stop - part.start for part in region) < 16:
        raise InputError(
            f"'{name}' lies beside the wide-field stack: check the pixel sizes and the places of "
            "both, which must show the same field."
        )
    moved = _warp.moved_plane(top, guess, shape)[region]
    inner = _warp.found_matrix(
        _warp.standardised(wide_top[region], f"The projection of '{name}'"),
        _warp.standardised(moved, f"The projection of '{name}'"),
        transform,
        f"'{name}'",
    )
    corner = np.eye(3)
    corner[:2, 2] = [part.start for part in region]
    matrix: Matrix = corner @ inner @ np.linalg.inv(corner)
    return matrix


def _small(
    stack: Any, matrix: Matrix | None, shape: tuple[int, int], region: Region
) -> Steps[FloatArray]:
    """The stack in the region, binned to about 128 pixels; shape (planes, y, x)."""
    from skimage.measure import block_reduce

    sides = [part.stop - part.start for part in region]
    factor = max(1, round(max(sides) / _SEARCH_PIXELS))
    rows, columns = (
        slice(part.start, part.start + side - side % factor)
        for part, side in zip(region, sides, strict=True)
    )
    binned: Callable[..., Any] = block_reduce  # scikit-image is half typed
    small = []
    for i in range(len(stack)):
        plane: npt.NDArray[Any] = np.asarray(stack[i], dtype=np.float64)
        if matrix is not None:
            plane = _warp.moved_plane(plane, matrix, shape)
        small.append(binned(plane[rows, columns], factor, np.mean).astype(np.float32))
        yield Step(i + 1, len(stack), "Comparing planes")
    return np.stack(small)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two small stacks of one field, whose heights differ."""

    wide: FloatArray
    confocal: FloatArray
    wide_place: Place
    confocal_place: Place

    def correlation(self, shift_um: float) -> float:
        """Pearson's coefficient where they overlap; NaN where that is too little."""
        at = _positions(self.wide_place.z_um, self.confocal_place.z_um, shift_um)
        inside = np.flatnonzero(~np.isnan(at))
        if len(inside) < max(2, self._least()):
            return float("nan")
        low = np.minimum(at[inside].astype(int), len(self.confocal) - 2)
        part = (at[inside] - low).astype(np.float32)[:, None, None]
        between = (1 - part) * self.confocal[low] + part * self.confocal[low + 1]
        return _warp.correlation(self.wide[inside], between)

    def _least(self) -> float:
        spans = [np.ptp(place.z_um) for place in (self.wide_place, self.confocal_place)]
        return float(_LEAST_OVERLAP * min(spans) / self.wide_place.step_um)

    def shifts_um(self) -> npt.NDArray[np.float64]:
        """The axial shifts to try, in steps of the finer stack."""
        step = min(self.wide_place.step_um, self.confocal_place.step_um)
        wide, confocal = self.wide_place.z_um, self.confocal_place.z_um
        low, high = confocal.min() - wide.max(), confocal.max() - wide.min()
        shifts: npt.NDArray[np.float64] = step * np.arange(
            np.ceil(low / step), np.floor(high / step) + 1
        )
        return shifts

    def best_near(self, tried: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> float:
        """The best axial shift, between those that were tried."""
        from scipy.optimize import minimize_scalar

        peak = float(tried[np.nanargmax(scores)])
        step = min(self.wide_place.step_um, self.confocal_place.step_um)

        def loss(shift: float) -> float:
            score = self.correlation(shift)
            return 0.0 if np.isnan(score) else -score

        found = minimize_scalar(
            loss,
            bounds=(peak - step, peak + step),
            method="bounded",
            options={"xatol": _FINE * step},
        )
        return float(found.x) if -found.fun >= self.correlation(peak) else peak


def _tried(
    pair: _Pair, names: tuple[str, str]
) -> Steps[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    shifts = pair.shifts_um()
    scores = np.full(len(shifts), np.nan)
    for i, shift in enumerate(shifts):
        scores[i] = pair.correlation(float(shift))
        yield Step(i + 1, len(shifts), "Finding the axial shift")
    known = ~np.isnan(scores)
    if not known.any():
        raise InputError(
            f"'{names[0]}' and '{names[1]}' overlap in too few planes at any shift: check the "
            "z-steps of both."
        )
    return shifts[known], scores[known]


def _positions(
    wide_um: npt.NDArray[np.float64],
    confocal_um: npt.NDArray[np.float64],
    shift_um: float,
    *,
    beyond: bool = False,
) -> npt.NDArray[np.float64]:
    """The confocal plane, as a fraction, that shows each wide-field plane; shape (Z,).

    NaN where there is none, or the nearest one with ``beyond``.
    """
    order = np.argsort(confocal_um)
    heights = confocal_um[order]
    wanted = wide_um + shift_um
    slack = 1e-6 * max(1.0, float(np.ptp(heights)))
    at: npt.NDArray[np.float64] = np.interp(wanted, heights, order.astype(float))
    if not beyond:
        at[(wanted < heights[0] - slack) | (wanted > heights[-1] + slack)] = np.nan
    return at
