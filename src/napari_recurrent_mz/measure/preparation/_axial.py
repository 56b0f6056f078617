"""Where a stack lies, and the axial shift at which two stacks of one field are most alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import Planes, real_number, real_values
from ...core.progress import Step, Steps
from ...core.scans import MAX_PLANES, FloatArray, InputError
from . import _warp
from ._warp import Matrix, Region

_LEAST_OVERLAP = 0.5  # of the thinner stack: a few planes correlate with anything
_SEARCH_PIXELS = 128  # edge of the field in which the axial shift is sought, after binning


@dataclass(frozen=True, eq=False)
class Place:
    """Where the voxels of a stack lie."""

    z_um: npt.NDArray[np.float64]  #: (Z,), heights of the planes, µm, rising or falling
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
    wide_um: npt.NDArray[np.float64],
    confocal_um: npt.NDArray[np.float64],
    shift_um: float,
    *,
    nearest: bool = False,
) -> npt.NDArray[np.float64]:
    """The confocal plane, as a fraction, that shows each wide-field plane; NaN or ``nearest``."""
    order = np.argsort(confocal_um)
    heights = confocal_um[order]
    shifted_um = wide_um + shift_um
    slack = 1e-6 * max(1.0, float(np.ptp(heights)))
    at: npt.NDArray[np.float64] = np.interp(shifted_um, heights, order.astype(float))
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
        plane: npt.NDArray[Any] = stack[i].astype(np.float64)
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

    def correlations(
        self, names: tuple[str, str]
    ) -> Steps[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
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


def top_of_parabola(tried: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> float:
    """The shift at the top of the parabola through the best three: interpolation would bias it."""
    peak = int(scores.argmax())
    if not 0 < peak < len(scores) - 1:
        return float(tried[peak])
    before, top, after = scores[peak - 1 : peak + 2]
    bend = before - 2 * top + after
    part = (before - after) / (2 * bend) if bend < 0 else 0.0
    return float(tried[peak] + part * (tried[peak + 1] - tried[peak]))
