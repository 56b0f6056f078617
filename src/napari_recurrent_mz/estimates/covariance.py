"""How planes vary together through the optics: tables that the linear estimate is solved with.

In units of λ / NA and of the depth of field, n λ / NA², an unaberrated point spread function
depends on NA / n alone: one table serves every wavelength and pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline, interp1d
from scipy.special import j0, j1

from ..core.arrays import Array
from ..core.optics import Optics, confocal_psf, widefield_psf
from ..core.vectorial import radial_intensity

_TABLE_PIXELS = 385  # at λ / (4 NA): 36 µm at NA 1.4, wide enough for 10 µm of defocus
_SECTION_DOF = 12.0  # a sheet so far from focus is 500 times dimmer in a confocal
_RADIUS_STEP, _FARTHEST_RADIUS = 1 / 12, 200.0  # of a point's image, in wavelengths over NA
_LEAST_DOF = 48.0  # of linear estimates: the range in which networks are trained
_MEAN_REACH = 4.0  # frequencies, times the side of a field, that its mean is made of
_STEP_DOF = 0.5  # finer than the axial Nyquist step, 0.68 depths of field at NA 1.4


@dataclass(frozen=True, eq=False)
class CovarianceTable:
    """C(k, D) for one NA / n, relative to C(0, 0) of an endless plane."""

    k: Array  # (K,), lateral frequencies in NA / λ, from 0 to the cut-off, 2
    # (L,), distances between two planes in depths of field; from 0, where the sign does not matter
    lag_dof: Array
    values: Array  # (L, K)
    _spline: CubicSpline

    def at(self, lag_dof: npt.ArrayLike) -> Array:
        """Covariance at any distances (any shape S, in depths of field): shape (*S, K)."""
        lag = np.asarray(lag_dof, dtype=float)
        lag = np.abs(lag) if self.lag_dof[0] == 0 else lag
        values: Array = self._spline(lag.clip(self.lag_dof[0], self.lag_dof[-1]))
        return values


def covariance_table(optics: Optics, largest_lag_um: float) -> CovarianceTable:
    """The covariance of two wide-field planes up to a distance, relative to C(0, 0)."""
    return _table(*_reduced(optics, largest_lag_um), "widefield", "widefield")


def linear_table(
    optics: Optics, largest_lag_um: float, shape: tuple[int, int] | None = None
) -> CovarianceTable:
    """The covariance that linear estimates are solved with, of wide-field planes of a shape (Y, X).

    What planes share of coarse structure depends on the range of the table. Up to a range that is
    rarely wider, it is the same for all: a plane does not depend on which others are made.
    """
    reduced = _reduced(optics, max(largest_lag_um, _LEAST_DOF * optics.depth_of_field_um))
    if shape is None:
        return _table(*reduced, "widefield", "widefield")
    side = math.sqrt(shape[0] * shape[1]) * optics.pixel_um * optics.na / optics.wavelength_um
    return _field_table(*reduced, round(side, 2))


def table_between(
    optics: Optics, table: CovarianceTable, first: str, second: str
) -> CovarianceTable:
    """The covariance of planes of other images, in the units of a table of wide-field planes."""
    return _table(_sine(optics), round(table.lag_dof[-1]), first, second)


def transfer_table(
    optics: Optics, largest_defocus_um: float, target: str = "widefield"
) -> CovarianceTable:
    """The transfer function H(k, z) in reduced units; real, since defocus is symmetric."""
    reduced = _reduced(optics, largest_defocus_um, 40)
    return _even_transfer(*reduced) if target == "widefield" else _transfer(*reduced, target)


def aberrated_table(optics: Optics, largest_defocus_um: float, spherical: float) -> CovarianceTable:
    """H(k, z) of wide-field planes with spherical aberration in waves rms; z has a sign."""
    return _signed_transfer(*_reduced(optics, largest_defocus_um, 40), round(spherical, 4))


def _reduced(optics: Optics, largest_um: float, step: int = 8) -> tuple[float, int]:
    """NA / n, and a range in steps of some depths of field: what tables are cached by."""
    reach = round(largest_um / optics.depth_of_field_um, 6)
    return _sine(optics), int(np.clip(step * np.ceil(reach / step), 16, 128))


def _sine(optics: Optics) -> float:
    return round(optics.na / optics.immersion_index, 4)


@lru_cache(maxsize=32)
def _transfer(sine: float, reach_dof: int, target: str = "widefield") -> CovarianceTable:
    above = np.arange(0.0, reach_dof + _STEP_DOF / 2, _STEP_DOF)
    # Next to nothing from farther away passes the pinhole.
    near = above if target == "widefield" else above[above <= _SECTION_DOF]
    transfer = _slices(sine, near, target)
    half = np.pad(transfer / transfer[0, 0], ((0, len(above) - len(near)), (0, 0)))
    k = np.asarray(np.fft.rfftfreq(_TABLE_PIXELS, 0.25), np.float64)
    return CovarianceTable(k, above, half, CubicSpline(above, half, axis=0))


def _slices(sine: float, z_dof: Array, target: str) -> Array:
    """H(k, z) at some depths of field from focus, not normalised."""
    # Reduced units: λ = 1 in a medium of index 1, so NA = sine, DOF = 1 / sine² wavelengths.
    reduced = Optics(na=sine, wavelength_um=1.0, immersion_index=1.0, pixel_um=0.25 / sine)
    psf = widefield_psf(reduced, z_dof * reduced.depth_of_field_um, _TABLE_PIXELS)
    if target == "confocal":
        psf = confocal_psf(psf, reduced)
    # A central slice of the transform of a radially symmetric image is the transform of
    # its projection; without aberration the defocus is symmetric.
    projected = np.fft.ifftshift(psf.sum(axis=1), axes=1)
    return np.fft.rfft(projected, axis=1).real.astype(np.float64)


@lru_cache(maxsize=32)
def _even_transfer(sine: float, reach_dof: int) -> CovarianceTable:
    """The transfer function with the light that leaves the table's window put back."""
    cut = _transfer(sine, reach_dof)
    values = cut.values / cut.values[:, :1]
    return CovarianceTable(cut.k, cut.lag_dof, values, CubicSpline(cut.lag_dof, values, axis=0))


@lru_cache(maxsize=32)
def _signed_transfer(sine: float, reach_dof: int, spherical: float) -> CovarianceTable:
    z_dof = np.arange(-reach_dof, reach_dof + _STEP_DOF / 2, _STEP_DOF)
    k = np.asarray(np.fft.rfftfreq(_TABLE_PIXELS, 0.25), np.float64)
    # In wavelengths over NA, as far as the cone of light reaches.
    farthest = min(1.2 * reach_dof / np.sqrt(1 - sine**2) + 10, _FARTHEST_RADIUS)
    radius = np.arange(0, farthest, _RADIUS_STEP)
    intensity = radial_intensity(
        sine, 1.0, 1.0, z_dof / sine**2, radius / sine,
        sample_index=1.0, depth_um=0.0, spherical=spherical,
    )  # fmt: skip
    fading = np.cos(np.pi / 2 * np.clip(5 * radius / farthest - 4, 0, 1)) ** 2
    # By sums that do not depend on the number of threads: points are looked for in what is left.
    waves = j0(2 * np.pi * np.outer(radius, k))
    values = np.einsum("zr,rk->zk", intensity * fading * radius, waves)
    values /= values[:, :1]
    return CovarianceTable(k, z_dof, values, CubicSpline(z_dof, values, axis=0))


@lru_cache(maxsize=32)
def _table(sine: float, reach_dof: int, first: str, second: str) -> CovarianceTable:
    seen = [_transfer(sine, reach_dof, target) for target in (first, second, "widefield")]
    both = [np.concatenate([half.values[:0:-1], half.values]) for half in seen]
    a, b = (np.fft.fft(h, 2 * len(h), axis=0) for h in both[:2])
    above = seen[0].lag_dof
    values = np.fft.ifft(a * b.conj(), axis=0).real[: len(above)]
    values /= np.sum(both[2][:, 0] ** 2)
    return CovarianceTable(seen[0].k, above, values, CubicSpline(above, values, axis=0))


@lru_cache(maxsize=32)
def _field_table(sine: float, reach_dof: int, side: float) -> CovarianceTable:
    """The table of wide-field planes, with the mean of a field of a side, in λ / NA, at k = 0.

    An endless plane has the same mean at every height. That of a field changes, since light
    crosses its borders: it is made of low frequencies, here those of a disc of the same area.
    """
    whole = _table(sine, reach_dof, "widefield", "widefield")
    k = np.linspace(0.0, min(_MEAN_REACH / side, whole.k[-1]), 257)[1:]
    share = j1(2 * np.sqrt(np.pi) * side * k) ** 2 / k  # of the power on a ring, 2πk wide
    mean = interp1d(whole.k, whole.values)(k) @ (share / share.sum())
    values = np.column_stack([mean, whole.values[:, 1:]])
    return CovarianceTable(
        whole.k, whole.lag_dof, values, CubicSpline(whole.lag_dof, values, axis=0)
    )
