"""What is still unknown of each plane, and what one more scan would tell, in closed form.

The error that the linear estimate (:mod:`~.lmmse`) leaves follows from the
heights of the scans and the optics alone. With scans at z_1 … z_M and A, b as there, what is
left unknown of two planes varies together as

    R(z, c) = C(k, z − c) − b(z)ᵀ (A + σ² I)⁻¹ b(c),

so that one more scan at c lowers the squared error of the plane at z by

    R(z, c)² / (R(c, c) + σ²)

(the innovation of a Kalman filter: Kalman, J. Basic Eng. 82:35, 1960). Summed over the lateral
frequencies with the sample's spectrum as weight, and over the planes of the grid, this says
where the next scan helps most. For the linear estimate it is also, by orthogonality, the mean
squared change of the volume that the scan is expected to bring. Lengths are in micrometres;
errors are relative to the standard deviation of a plane.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.arrays import Array, real_array, real_values
from ..core.optics import Optics
from ..core.scans import InputError, ZGrid
from .covariance import CovarianceTable, linear_table, table_between
from .lmmse import SIGMA2, LinearEstimate, linear_weights
from .uncertainty import cross_power, noise_power, signal_power

FALLING = 1.0
"""Before the first scan, a sample's power is taken to fall with this power of the frequency.

Natural scenes fall with 2 (Field, J. Opt. Soc. Am. A 4:2379, 1987); labelled structure is finer:
with 2 the planned error of simulated samples was a third of the true one."""

_MOST_HEIGHTS = 121  # of a grid that are looked at: a third of a depth of field on most grids


class Expectation:
    """The expected error of the planes of a grid, and how one more scan would change it.

    Parameters
    ----------
    grid : ZGrid
        The heights wanted; of many, evenly spaced ones are looked at.
    optics : Optics
    power : numpy.ndarray, shape (K,), optional
        Power of a scan at the frequencies of the table, summed over directions, as
        :attr:`LinearEstimate.radial_power` gives it; by default what the optics leave of a
        sample whose power falls with :data:`FALLING`.
    target : {"widefield", "confocal"}, optional
        What is wanted of the planes.
    """

    def __init__(
        self,
        grid: ZGrid,
        optics: Optics,
        *,
        power: npt.ArrayLike | None = None,
        target: str = "widefield",
    ) -> None:
        self.optics = optics
        every = grid.z_um
        chosen = np.linspace(0, len(every) - 1, min(len(every), _MOST_HEIGHTS)).round().astype(int)
        self.z_um: Array = every[chosen]  #: (T,), the heights that are looked at
        table = linear_table(optics, grid.stop_um - grid.start_um)
        given = prior_power(table) if power is None else real_values(power, "The power")
        if given.shape != table.k.shape:
            raise InputError(
                f"The power has {len(given)} values, but the table {len(table.k)} frequencies: "
                "give that of its frequencies."
            )
        if not given.any():  # scans that hold nothing but noise
            given = prior_power(table)
        # Beyond the cut-off there is neither signal nor covariance, only noise.
        self._used = (table.values[0] > 10 * SIGMA2) & (given > 0)
        self._between_scans = table
        self._to_targets = table
        own = table.values[0]
        if target != "widefield":
            self._to_targets = table_between(optics, table, "widefield", target)
            own = table_between(optics, table, target, target).values[0]
        self._own: Array = own[self._used]
        self._wide: Array = table.values[0][self._used]
        # Power of every plane at every frequency, (T, K), relative to that of all planes.
        self._weight = np.tile(self._shares(given[self._used]), (len(self.z_um), 1))

    def _shares(self, power: Array) -> Array:
        """Power of scans (…, K) as parts of the variance of a plane, for what is wanted of it."""
        shares = power / self._wide
        return np.asarray(shares / (shares * self._own).sum(axis=-1).mean())

    @classmethod
    def of(cls, grid: ZGrid, estimate: LinearEstimate) -> Expectation:
        """The expectation once there are scans: each plane counts with its own spectrum.

        Parameters
        ----------
        grid : ZGrid
        estimate : LinearEstimate
            Of the scans there are, any number.
        """
        signal, noise = signal_power(estimate), noise_power(estimate)
        expectation = cls(grid, estimate.optics, power=signal, target=estimate.target)
        scans = estimate.scan_z_um
        _, weights = linear_weights(estimate.optics, scans, expectation.z_um, table=estimate.table)
        weights = weights[..., expectation._used]
        shared = cross_power(estimate)[..., expectation._used]
        explained = np.einsum("tik,ijk,tjk->tk", weights, shared, weights, optimize=True)
        explained -= (weights**2).sum(axis=1) * noise[expectation._used]
        unknown = np.clip(1 - expectation._explained(scans) / expectation._own, 0.0, 1.0)
        power = np.clip(explained, 0.0, None) + unknown * signal[expectation._used]
        if power.any():
            expectation._weight = expectation._shares(power)
        return expectation

    def error(self, scan_z_um: npt.ArrayLike) -> Array:
        """Expected error of every plane from scans at these heights, shape (T,), 0 to 1."""
        explained = self._explained(_heights(scan_z_um))
        left = (np.clip(self._own - explained, 0.0, None) * self._weight).sum(axis=1)
        whole = (self._own * self._weight).sum(axis=1)
        return np.sqrt(np.where(whole > 0, left / np.where(whole > 0, whole, 1.0), 0.0))

    def overall(self, scan_z_um: npt.ArrayLike) -> float:
        """Expected error of the whole grid, relative to the standard deviation of its planes."""
        explained = self._explained(_heights(scan_z_um))
        left = np.clip(self._own - explained, 0.0, None) * self._weight
        return float(np.sqrt(left.sum() / (self._own * self._weight).sum()))

    def lowered(
        self, scan_z_um: npt.ArrayLike, candidates_um: npt.ArrayLike | None = None
    ) -> Array:
        """What one more scan at each candidate takes from the mean squared error of the grid.

        Parameters
        ----------
        scan_z_um : array_like, shape (M,)
            Heights of the scans there are; may be none.
        candidates_um : array_like, shape (N,), optional
            By default the planes of the grid.

        Returns
        -------
        numpy.ndarray, shape (N,), 0 to 1
            Its square root is the change, relative to the standard deviation of a plane, that
            the scan is expected to bring to the linear estimate.
        """
        scans = _heights(scan_z_um)
        candidates = self.z_um if candidates_um is None else _heights(candidates_um)
        shared = self._covariance(self._to_targets, self.z_um, candidates)  # (K, T, N)
        alone = np.tile(self._between_scans.values[0][self._used, None], (1, len(candidates)))
        if len(scans):
            between = self._covariance(self._between_scans, scans, candidates)
            solved = self._solved(scans, between)
            shared -= self._covariance(self._to_targets, self.z_um, scans) @ solved
            alone -= (between * solved).sum(axis=1)
        innovation = np.clip(alone, 0.0, None) + SIGMA2  # (K, N)
        gain = np.einsum("ktn,ktn,tk->kn", shared, shared, self._weight, optimize=True)
        lowered: Array = (gain / innovation).sum(axis=0) / len(self.z_um)
        return lowered

    def _explained(self, scans: Array) -> Array:
        """bᵀ (A + σ² I)⁻¹ b, shape (T, K)."""
        if not len(scans):
            return np.zeros((len(self.z_um), int(self._used.sum())))
        b = self._covariance(self._to_targets, scans, self.z_um)  # (K, M, T)
        return np.asarray((b * self._solved(scans, b)).sum(axis=1).T)

    def _solved(self, scans: Array, right: Array) -> Array:
        """(A + σ² I)⁻¹ times ``right``, shape (K, M, N)."""
        a = self._covariance(self._between_scans, scans, scans) + SIGMA2 * np.eye(len(scans))
        return np.asarray(np.linalg.solve(a, right), np.float64)

    def _covariance(self, table: CovarianceTable, one: Array, other: Array) -> Array:
        """C(k, one − other), shape (K, len(one), len(other))."""
        lag = (one[:, None] - other[None]) / self.optics.depth_of_field_um
        distinct, place = np.unique(np.abs(lag).round(9), return_inverse=True)
        values = table.at(distinct)[:, self._used]
        return np.ascontiguousarray(np.moveaxis(values[place.reshape(lag.shape)], -1, 0))


def prior_power(table: CovarianceTable, falling: float = FALLING) -> Array:
    """What the optics leave of a sample whose power falls as k^−falling, summed over directions.

    Parameters
    ----------
    table : CovarianceTable
    falling : float, optional
        0 is an object without any structure larger than a point.

    Returns
    -------
    numpy.ndarray, shape (K,), 0 at k = 0
    """
    power = np.zeros(len(table.k))
    power[1:] = table.values[0][1:].clip(0) * table.k[1:] ** (1.0 - falling)
    return power


def _heights(z_um: npt.ArrayLike) -> Array:
    return np.atleast_1d(real_array(z_um, "The list of heights", of="value").astype(np.float64))
