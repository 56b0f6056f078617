"""Interpolation along z: nearest, linear and cubic, one plane at a time.

Every interpolation here is linear in the intensities, so a plane is a weighted sum of the
scans; the weights are SciPy's interpolation of the unit vectors, and no array larger than
a plane is made. Supplementary Note 1 of the paper compares the network with the same kind
of interpolations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
from scipy.interpolate import make_interp_spline

from ..scans import FloatArray, InputError, Scan, check_scans

KINDS = ("nearest", "linear", "cubic")
_DEGREE = {"linear": 1, "cubic": 3}


class Interpolator:
    """Planes between scans, pixel by pixel along z; flat beyond the outermost scans.

    Parameters
    ----------
    scans : iterable of Scan
        One or more scans of one shape at different heights, in any order.
    kind : str
        ``nearest`` (the lower scan when two are equally near), ``linear`` or ``cubic``
        (a not-a-knot spline; quadratic through three scans, linear through two).

    Raises
    ------
    InputError
        If the scans do not fit together or the kind is unknown.
    """

    def __init__(self, scans: Iterable[Scan], kind: str = "linear") -> None:
        if kind not in KINDS:
            raise InputError(
                f"The interpolation '{kind}' is unknown: choose one of {', '.join(KINDS)}."
            )
        self._scans = sorted(check_scans(scans), key=lambda scan: scan.z_um)
        self._z_um = np.array([scan.z_um for scan in self._scans])
        self._weights_at = _weights_at(self._z_um, kind)

    def weights(self, z_um: float) -> npt.NDArray[np.float64]:
        """Weight of every scan, from the lowest to the highest, shape (M,); they sum to one."""
        inside = float(np.clip(z_um, self._z_um[0], self._z_um[-1]))
        return self._weights_at(inside)

    def plane(self, z_um: float) -> FloatArray:
        """The plane at ``z_um`` (micrometres), float32 (Y, X), in the units of the scans."""
        total = np.zeros(self._scans[0].pixels.shape, dtype=np.float32)
        for weight, scan in zip(self.weights(z_um), self._scans, strict=True):
            if weight:
                total += np.float32(weight) * scan.pixels
        return total


def _weights_at(
    z_um: npt.NDArray[np.float64], kind: str
) -> Callable[[float], npt.NDArray[np.float64]]:
    unit_vectors = np.eye(z_um.size)
    if kind == "nearest" or z_um.size == 1:
        return lambda z: unit_vectors[int(np.argmin(np.abs(z_um - z)))]
    spline = make_interp_spline(z_um, unit_vectors, k=min(_DEGREE[kind], z_um.size - 1))
    return lambda z: np.asarray(spline(z), dtype=np.float64)
