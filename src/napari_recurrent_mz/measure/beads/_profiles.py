"""One bead from nearby: the lines of voxels through it, and the fit along them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import Array, reading, real_array
from ...core.scans import InputError
from ._gaussians import FWHM_PER_SIGMA, Windows, fit_gaussians
from ._measure import half_region

if TYPE_CHECKING:
    import pandas as pd

_FINE = 10  # points of the fitted curve in a voxel
_NAMES = ("z", "y", "x")


@dataclass(frozen=True, eq=False)
class Profile:
    """Intensities along one axis through a bead, and the Gaussian fitted to them."""

    axis: str  #: ``z``, ``y`` or ``x``
    #: (n,), positions of the voxels from the bead's fitted centre, in micrometres; from its
    #: brightest voxel where nothing was fitted
    at_um: Array
    intensity: Array  #: (n,), in the units of the volume
    fit_at_um: Array  #: (m,), as at_um but finer; empty where nothing was fitted
    fit: Array  #: (m,), the fitted curve there
    fwhm_um: float  #: as in the table; NaN where nothing was fitted


def bead_profiles(volume: Any, table: pd.DataFrame, bead: int) -> tuple[Profile, ...]:
    """The profiles of one bead through its brightest voxel, over the region that was fitted.

    Parameters
    ----------
    volume : array_like, shape (Z, Y, X), (1, Y, X) or (Y, X)
        That the table was measured in. A lazy one is read along the three lines only.
    table : pandas.DataFrame
        From :func:`measure_beads`, whole or in part.
    bead : int
        Label of the bead's row in the table's index.

    Returns
    -------
    tuple of Profile
        Along z, y and x, without an axis of one plane. The curve of ``gaussian3d`` is that of
        the three-dimensional fit along the line, which passes up to half a voxel beside the
        centre.

    Raises
    ------
    InputError
        If the table has no such bead, or is not from :func:`measure_beads`.
    """
    if "region_um" not in table.attrs:
        raise InputError("The table does not say how it was measured: take that of measure_beads.")
    if bead not in table.index:
        raise InputError(f"The table has no bead {bead}.")
    row = table.loc[bead]
    if not hasattr(volume, "shape"):
        volume = real_array(volume, "The volume")
    return tuple(
        _profile(volume, row, table.attrs, axis)
        for axis in range(3)
        if math.isfinite(table.attrs["region_um"][axis])
    )


def _profile(volume: Any, row: pd.Series, settings: dict[str, Any], axis: int) -> Profile:
    name, voxel_um = _NAMES[axis], settings["voxel_um"][axis]
    place = [int(row[f"{other}_voxel"]) for other in _NAMES]
    half = half_region(settings["region_um"][axis], voxel_um)
    first = max(place[axis] - half, 0)
    index: list[Any] = list(place)
    index[axis] = slice(first, place[axis] + half + 1)
    with reading("The volume"):
        along = volume[tuple(index[-len(volume.shape) :])]
    line = real_array(along, "The volume").astype(np.float64)
    if line.ndim != 1 or not line.size:
        raise InputError("The volume has other axes than the one that the table was measured in.")
    at = settings["origin_um"][axis] + (first + np.arange(len(line))) * voxel_um
    centre, fwhm = float(row[f"{name}_um"]), float(row[f"fwhm_{name}_um"])
    fine = np.linspace(at[0], at[-1], _FINE * (len(line) - 1) + 1)
    if not math.isfinite(fwhm):
        empty = np.empty(0)
        return Profile(name, at - centre, line, empty, empty, fwhm)
    if settings["model"] == "profiles":
        fit = _line_fit(at, line, centre, fwhm, fine)
    else:
        fit = _box_fit(row, settings, axis, fine)
    return Profile(name, at - centre, line, fine - centre, fit, fwhm)


def _box_fit(row: pd.Series, settings: dict[str, Any], axis: int, fine: Array) -> Array:
    """The three-dimensional Gaussian along the line."""
    height = float(row["amplitude"])
    for other, name in enumerate(_NAMES):
        if other != axis and math.isfinite(row[f"fwhm_{name}_um"]):
            origin_um, voxel_um = settings["origin_um"][other], settings["voxel_um"][other]
            line_at = origin_um + row[f"{name}_voxel"] * voxel_um
            height *= _gaussian(line_at - row[f"{name}_um"], row[f"fwhm_{name}_um"])
    name = _NAMES[axis]
    curve = _gaussian(fine - row[f"{name}_um"], row[f"fwhm_{name}_um"])
    return np.asarray(row["background"] + height * curve)


def _line_fit(at: Array, line: Array, centre: float, fwhm: float, fine: Array) -> Array:
    """The Gaussian fitted to the line again, which has its own height and background."""
    windows = Windows(line[None], [at - centre], [np.ones((1, len(line)))])
    fits = fit_gaussians(windows, np.array([fwhm / FWHM_PER_SIGMA]))
    curve = _gaussian(fine - centre - fits.centre[0, 0], fits.sigma[0, 0] * FWHM_PER_SIGMA)
    return np.asarray(fits.background[0] + fits.amplitude[0] * curve)


def _gaussian(distance: npt.ArrayLike, fwhm: float) -> Any:
    return np.exp(-4 * math.log(2) * (np.asarray(distance) / fwhm) ** 2)
