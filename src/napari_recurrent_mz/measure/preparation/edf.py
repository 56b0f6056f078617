"""The extended-depth-of-field image of a stack: everything in focus at once.

The method of Forster et al., "Complex wavelets for extended depth-of-field", Microsc. Res. Tech.
65:33 (2004), which the paper's ImageJ plugin has: the modulus of a complex coefficient, unlike a
real one, does not vanish where an edge lies unluckily on the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pywt
from scipy import ndimage

from ...core.arrays import AnyArray, Array, Planes
from ...core.progress import Step, Steps, at_once
from ...core.scans import InputError, check_image

Bands = list[npt.NDArray[np.complex64]]
"""The coarse rest, shape (y, x), then one array (3, y, x) of orientations a scale, coarse first."""

_MOST_SCALES = 10  # as many as the plugin offers
_SMALLEST_BAND = 8


@dataclass(frozen=True, eq=False)
class ExtendedFocus:
    """An image with everything in focus, and where in z each pixel comes from."""

    #: (Y, X), in the type and the units of the stack: every value is one that the stack has in this
    #: place
    image: AnyArray
    plane: npt.NDArray[np.intp]  #: (Y, X), the plane that each value was taken from

    def height_um(self, z_um: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The height of the plane that each pixel comes from, in micrometres, shape (Y, X)."""
        return np.asarray(z_um, dtype=np.float32)[self.plane]


def extending_focus(stack: Any, *, name: str = "stack") -> Steps[ExtendedFocus]:
    """Make the extended-depth-of-field image of a stack.

    For each coefficient the plane of the largest modulus wins; the three orientations of one
    place must agree (two outvote the third, else the largest modulus decides), and so must five
    of nine neighbours (Forster et al. 2004, sub-band and majority consistency). The result of
    the inverse transform is not kept: each pixel takes the nearest value that the stack has in
    this place, which leaves no overshoot (their reassignment).

    Parameters
    ----------
    stack : array_like, shape (Z, Y, X)
        Real intensities; may be lazy: it is read three times, one plane at a time.
    name : str, optional
        How error messages call it.

    Raises
    ------
    InputError
        If it is no stack of at least two planes, holds NaN, or is constant.
    """
    stack = Planes(stack, f"'{name}'")
    planes, shape = len(stack), stack.shape[1:]
    if len(shape) != 2 or planes < 2:
        raise InputError(
            f"'{name}' has the shape {stack.shape}: an extended-depth-of-field image is made "
            "from a stack (Z, Y, X) of at least two planes."
        )
    scales = scale_count(shape)
    total = 3 * planes
    choice: list[npt.NDArray[np.int32]] = []
    best: list[npt.NDArray[np.float32]] = []
    for i in range(planes):
        bands = forward(_plane(stack, i, name), scales)
        if not choice:
            choice = [np.zeros(band.shape, dtype=np.int32) for band in bands]
            best = [np.full(band.shape, -1.0, dtype=np.float32) for band in bands]
        for chosen, largest, band in zip(choice, best, bands, strict=True):
            modulus = np.abs(band)
            wins = modulus > largest
            chosen[wins], largest[wins] = i, modulus[wins]
        yield Step(i + 1, total, "Finding what is in focus")
    choice = [choice[0], *(_consistent(c, b) for c, b in zip(choice[1:], best[1:], strict=True))]
    del best
    merged: Bands = [np.zeros_like(band) for band in bands]
    for i in range(planes):
        bands = forward(_plane(stack, i, name), scales)
        for into, chosen, band in zip(merged, choice, bands, strict=True):
            np.copyto(into, band, where=chosen == i)
        yield Step(planes + i + 1, total, "Merging what is in focus")
    fused = inverse(merged, shape)
    image = np.array(stack[0])
    plane = np.zeros(shape, dtype=np.intp)
    away = np.full(shape, np.inf)
    for i in range(planes):
        pixels = stack[i]
        distance = np.abs(pixels.astype(np.float64) - fused)
        nearer = distance < away
        image[nearer], plane[nearer], away[nearer] = pixels[nearer], i, distance[nearer]
        yield Step(2 * planes + i + 1, total, "Taking values from the stack")
    if image.min() == image.max():
        raise InputError(f"'{name}' is constant: it holds no structure to be in focus.")
    return ExtendedFocus(image, plane)


extended_focus = at_once(extending_focus)


def scale_count(shape: tuple[int, int]) -> int:
    """As many scales as leave a coarse rest of at least eight pixels."""
    fits = int(np.log2(max(min(shape) / _SMALLEST_BAND, 2.0)))
    return min(fits, _MOST_SCALES)


# The complex Daubechies filter of six taps (Lina and Mayrand, Appl. Comput. Harmon. Anal.
# 2:219, 1995; Forster et al. 2004): symmetric, orthogonal, three vanishing moments.
_ROOT = 1j * np.sqrt(15)
LOW_PASS = np.array([-3 - _ROOT, 5 - _ROOT, 30 + 2 * _ROOT])
LOW_PASS = np.concatenate([LOW_PASS, LOW_PASS[::-1]]) / (32 * np.sqrt(2))


@cache
def _filters() -> tuple[pywt.Wavelet, pywt.Wavelet]:
    """The filters' real and imaginary parts; the synthesis is the conjugate analysis, backwards."""
    high = (-1.0) ** np.arange(LOW_PASS.size) * np.conj(LOW_PASS[::-1])
    taps = (LOW_PASS, high, np.conj(LOW_PASS[::-1]), np.conj(high[::-1]))
    real, imaginary = (
        pywt.Wavelet("complex", filter_bank=[part(t).tolist() for t in taps])
        for part in (np.real, np.imag)
    )
    return real, imaginary


def _split(image: AnyArray, axis: int) -> list[AnyArray]:
    """Low and high half of an image along an axis."""
    a, b = (pywt.dwt(image, part, mode="symmetric", axis=axis) for part in _filters())
    return [real + 1j * imaginary for real, imaginary in zip(a, b, strict=True)]


def _join(low: AnyArray, high: AnyArray, axis: int, size: int) -> AnyArray:
    """Inverse of :func:`_split`, with ``size`` values along the axis."""
    a, b = (pywt.idwt(low, high, part, mode="symmetric", axis=axis) for part in _filters())
    return np.take(a + 1j * b, range(size), axis=axis)


def forward(image: AnyArray, scales: int) -> Bands:
    """The complex wavelet transform of an image (Y, X), coarse first."""
    rest: Any = image
    bands: Bands = []
    for _ in range(scales):
        low, high = _split(rest, 0)
        rest, across = _split(low, 1)
        bands.append(np.stack([across, *_split(high, 1)]).astype(np.complex64))
    return [rest.astype(np.complex64), *reversed(bands)]


def inverse(bands: Bands, shape: tuple[int, int]) -> Array:
    """The image (Y, X) of these bands: what :func:`forward` undoes; its real part."""
    sizes = [shape, *((band.shape[1], band.shape[2]) for band in reversed(bands[2:]))]
    rest: Any = bands[0]
    for band, size in zip(bands[1:], reversed(sizes), strict=True):
        low = _join(rest, band[0], 1, size[1])
        high = _join(band[1], band[2], 1, size[1])
        rest = _join(low, high, 0, size[0])
    real: Array = np.real(rest).astype(np.float64)
    return real


def _plane(stack: Planes, number: int, name: str) -> npt.NDArray[np.float32]:
    """A plane as float32, refused by the rules of a scan, except that it may be constant."""
    pixels = stack[number]
    if pixels.size and pixels.min() == pixels.max():
        check_image(np.indices(pixels.shape)[0], f"Plane {number} of '{name}'")  # its size
        return pixels.astype(np.float32)
    return check_image(pixels, f"Plane {number} of '{name}'")


def _consistent(
    chosen: npt.NDArray[np.int32], modulus: npt.NDArray[np.float32]
) -> npt.NDArray[np.int32]:
    """One plane for the three orientations of a place, then for a place and its neighbours."""
    a, b, c = chosen
    largest = np.take_along_axis(chosen, modulus.argmax(axis=0)[None], axis=0)[0]
    agreed = np.where((a == b) | (a == c), a, np.where(b == c, b, largest))
    return np.broadcast_to(majority(agreed), chosen.shape)


def majority(chosen: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The value of five of nine neighbours; where none has so many, the one that was there."""
    # a value that has the majority is the median
    candidate = ndimage.median_filter(chosen, size=3, mode="mirror")
    votes = np.zeros(chosen.shape, dtype=np.int8)
    padded = np.pad(chosen, 1, mode="reflect")
    rows, columns = chosen.shape
    for dy in range(3):
        for dx in range(3):
            votes += padded[dy : dy + rows, dx : dx + columns] == candidate
    return np.where(votes >= 5, candidate, chosen)
