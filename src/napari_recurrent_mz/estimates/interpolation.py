"""Interpolation along z: nearest, linear, cubic and shape-preserving, one plane at a time.

A plane is a weighted sum of the scans (and of their slopes); the weights are SciPy's
interpolation of the unit vectors, so no array larger than the scans is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator, make_interp_spline

from ..core.arrays import Array
from ..core.errors import check_choice
from ..core.scans import FloatArray, Heights, Scan, check_scans

KINDS = ("nearest", "linear", "cubic", "pchip")
_DEGREE = {"linear": 1, "cubic": 3}
_ROWS = 64  # pixel rows whose slopes are found at once: SciPy keeps many numbers a pixel


class Interpolator:
    """Planes between scans, pixel by pixel along z; flat beyond the outermost scans.

    Parameters
    ----------
    scans : iterable of Scan
        One or more scans of one shape at different heights, in any order.
    kind : str
        ``nearest`` (the lower scan when two are equally near), ``linear``, ``cubic``
        (a not-a-knot spline; quadratic through three scans, linear through two) or
        ``pchip`` (Fritsch and Butland's monotone cubic, which never leaves the range of
        the two scans around; linear through two).

    Raises
    ------
    InputError
        If the scans do not fit together or the kind is unknown.
    """

    def __init__(self, scans: Iterable[Scan], kind: str = "linear") -> None:
        check_choice("interpolation", kind, KINDS)
        rising = sorted(check_scans(scans), key=lambda scan: scan.z_um)
        self._images = [scan.pixels for scan in rising]
        self._z_um = np.array([scan.z_um for scan in rising])
        self._weights_at = _weights_at(self._z_um, kind)
        if kind == "pchip" and len(rising) > 1:
            self._images += list(_slopes(self._z_um, np.stack(self._images)))

    def weights(self, z_um: npt.ArrayLike) -> Array:
        """Weight of every scan, from the lowest to the highest, shape (M,); they sum to one.

        For ``pchip`` the weights of their slopes (per micrometre) follow: shape (2M,). Of
        heights of any shape S: (…S, M).
        """
        return self._weights_at(np.clip(z_um, self._z_um[0], self._z_um[-1]))

    def plane(self, z_um: float | Heights) -> FloatArray:
        """The plane at ``z_um`` (micrometres), float32 (Y, X), in the units of the scans.

        ``z_um`` is one height, or one for every pixel (Y, X): a surface.
        """
        if isinstance(z_um, np.ndarray):
            return self._along(z_um)
        total = np.zeros(self._images[0].shape, dtype=np.float32)
        for weight, image in zip(self.weights(z_um), self._images, strict=True):
            if weight:
                total += np.float32(weight) * image
        return total

    def _along(self, heights_um: Heights) -> FloatArray:
        surface = np.empty(heights_um.shape, np.float32)
        for top in range(0, len(surface), _ROWS):
            rows = slice(top, top + _ROWS)
            images = np.stack([image[rows] for image in self._images], axis=-1)
            surface[rows] = (self.weights(heights_um[rows]) * images).sum(axis=-1)
        return surface


def _weights_at(z_um: Array, kind: str) -> Callable[[Array], Array]:
    unit_vectors = np.eye(z_um.size)
    if kind == "nearest" or z_um.size == 1:
        return lambda z: unit_vectors[np.argmin(np.abs(z_um - z[..., None]), axis=-1)]
    if kind == "pchip":
        nothing = np.zeros_like(unit_vectors)
        values, slopes = np.hstack([unit_vectors, nothing]), np.hstack([nothing, unit_vectors])
        spline = CubicHermiteSpline(z_um, values, slopes)
    else:
        spline = make_interp_spline(z_um, unit_vectors, k=min(_DEGREE[kind], z_um.size - 1))
    return lambda z: np.asarray(spline(z), dtype=np.float64)


def _slopes(z_um: Array, stack: FloatArray) -> FloatArray:
    """Slopes along z at the scans, per micrometre, shape (M, Y, X)."""
    slopes = np.empty_like(stack)
    for top in range(0, stack.shape[1], _ROWS):
        rows = slice(top, top + _ROWS)
        slopes[:, rows] = PchipInterpolator(z_um, stack[:, rows]).derivative()(z_um)
    return slopes
