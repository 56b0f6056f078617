"""The best linear estimate of any plane from a few scans, in closed form from the optics.

Wide-field image formation is linear: every plane is the object filtered by the transfer
function at its defocus. For a spatially white object and a lateral frequency k, two planes
a distance D apart have the covariance

    C(k, D) = ∫ |OTF(k, kz)|² exp(2πi kz D) dkz = ∫ H(k, z) H*(k, z + D) dz,

with H(k, z) the lateral transfer function at defocus z. With scans at z_1 … z_M the linear
minimum mean-square error (Wiener) weights for a plane at z solve

    (A(k) + σ² I) w(k) = b(k),   A_ij = C(k, z_i − z_j),   b_i = C(k, z_i − z),

and the estimate is Σ_j w_j(k) · FFT(scan j). No training, no iteration.

Without aberration the vectorial point spread function depends on the optics only through
NA / n once lateral lengths are counted in λ / NA and axial ones in depths of field
n λ / NA², so one table serves every wavelength and pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import torch
from scipy.interpolate import CubicSpline

from .optics import Optics, widefield_psf
from .scans import FloatArray, Scan, check_scans

SIGMA2 = 1e-4
"""Noise power relative to C(0, 0): it keeps the equations well posed."""

_TABLE_PIXELS = 385  # at λ / (4 NA): 36 µm at NA 1.4, wide enough for 10 µm of defocus
_STEP_DOF = 0.5  # finer than the axial Nyquist step, 0.68 depths of field at NA 1.4
_PAD = 64

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CovarianceTable:
    """C(k, D) for one NA / n.

    Attributes
    ----------
    k : numpy.ndarray, shape (K,)
        Lateral frequencies in units of NA / λ, from 0 to 2 (the cut-off).
    lag_dof : numpy.ndarray, shape (L,)
        Distances between two planes, in depths of field, from 0.
    values : numpy.ndarray, shape (L, K)
        Covariance, with C(0, 0) = 1.
    """

    k: npt.NDArray[np.float64]
    lag_dof: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    _spline: CubicSpline

    def at(self, lag_dof: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Covariance at any distances (any shape S, in depths of field): shape (*S, K)."""
        lag = np.minimum(np.abs(np.asarray(lag_dof, dtype=float)), self.lag_dof[-1])
        found: npt.NDArray[np.float64] = self._spline(lag)
        return found


def covariance_table(optics: Optics, largest_lag_um: float) -> CovarianceTable:
    """Return the covariance table that serves ``optics`` up to a distance.

    Parameters
    ----------
    optics : Optics
        Only NA / n matters: the table is in reduced units.
    largest_lag_um : float
        Largest distance between two planes, in micrometres.

    Returns
    -------
    CovarianceTable
        Cached by NA / n and by the range, in steps of 8 depths of field.
    """
    return _table(*_reduced(optics, largest_lag_um))


def transfer_table(optics: Optics, largest_defocus_um: float) -> CovarianceTable:
    """Return the transfer function H(k, z) of ``optics`` in the same reduced units.

    Parameters
    ----------
    optics : Optics
        Only NA / n matters.
    largest_defocus_um : float

    Returns
    -------
    CovarianceTable
        Its ``values`` are H(k, z), with H(0, z) = 1, real because the defocus of a point
        without aberration is symmetric.
    """
    return _even_transfer(*_reduced(optics, largest_defocus_um, 40))


def _reduced(optics: Optics, largest_um: float, step: int = 8) -> tuple[float, int]:
    """NA / n, and a range in steps of some depths of field: what tables are cached by."""
    reach = largest_um / optics.depth_of_field_um
    sine = round(optics.na / optics.immersion_index, 4)
    return sine, int(np.clip(step * np.ceil(reach / step), 16, 128))


@lru_cache(maxsize=32)
def _transfer(sine: float, reach_dof: int) -> CovarianceTable:
    # Reduced units: λ = 1 in a medium of index 1, so NA = sine, DOF = 1 / sine² wavelengths.
    reduced = Optics(na=sine, wavelength_um=1.0, immersion_index=1.0, pixel_um=0.25 / sine)
    above = np.arange(0.0, reach_dof + _STEP_DOF / 2, _STEP_DOF)
    psf = widefield_psf(reduced, above * reduced.depth_of_field_um, _TABLE_PIXELS, samples=1)
    psf /= psf[0].sum()
    # A central slice of the transform of a radially symmetric image is the transform of
    # its projection; without aberration the defocus is symmetric.
    half = np.fft.rfft(np.fft.ifftshift(psf.sum(axis=1), axes=1), axis=1).real
    k = np.asarray(np.fft.rfftfreq(_TABLE_PIXELS, 0.25), np.float64)
    return CovarianceTable(k, above, half, CubicSpline(above, half, axis=0))


@lru_cache(maxsize=32)
def _even_transfer(sine: float, reach_dof: int) -> CovarianceTable:
    """The transfer function with the light that leaves the table's window put back."""
    cut = _transfer(sine, reach_dof)
    values = cut.values / cut.values[:, :1]
    return CovarianceTable(cut.k, cut.lag_dof, values, CubicSpline(cut.lag_dof, values, axis=0))


@lru_cache(maxsize=32)
def _table(sine: float, reach_dof: int) -> CovarianceTable:
    transfer = _transfer(sine, reach_dof)
    both = np.concatenate([transfer.values[:0:-1], transfer.values])
    spectrum = np.abs(np.fft.fft(both, 2 * len(both), axis=0)) ** 2
    values = np.fft.ifft(spectrum, axis=0).real[: len(transfer.values)]
    values /= values[0, 0]
    above = transfer.lag_dof
    return CovarianceTable(transfer.k, above, values, CubicSpline(above, values, axis=0))


def linear_weights(
    optics: Optics,
    scan_z_um: npt.ArrayLike,
    target_z_um: npt.ArrayLike,
    *,
    sigma2: float = SIGMA2,
    table: CovarianceTable | None = None,
) -> tuple[CovarianceTable, Weights]:
    """Solve the normal equations for every target plane and radial frequency.

    Parameters
    ----------
    optics : Optics
        NA, wavelength and index; the pixel does not matter here.
    scan_z_um : array_like, shape (M,)
        Heights of the scans, in micrometres.
    target_z_um : array_like, shape (T,)
        Heights wanted, in micrometres.
    sigma2 : float, optional
        Noise power relative to C(0, 0).
    table : CovarianceTable, optional
        The table to use; by default that of ``optics``.

    Returns
    -------
    table : CovarianceTable
    weights : numpy.ndarray, shape (T, M, K)
        Real weights at the frequencies ``table.k``; at k = 0 they sum to one.
    """
    scan_z = np.atleast_1d(np.asarray(scan_z_um, dtype=float))
    target_z = np.atleast_1d(np.asarray(target_z_um, dtype=float))
    table = table or covariance_table(optics, _span(scan_z, target_z))
    a, b = _normal_equations(table, optics, scan_z, target_z, sigma2)
    weights = np.linalg.solve(a[None], b[..., None])[..., 0]  # (T, K, M)
    weights[:, 0] /= weights[:, 0].sum(axis=-1, keepdims=True)
    return table, np.ascontiguousarray(np.moveaxis(weights, -1, 1))


def propagation_weights(
    optics: Optics, distance_um: npt.ArrayLike, *, table: CovarianceTable | None = None
) -> tuple[CovarianceTable, Weights]:
    """Weights of the best linear guess of a plane from one scan alone.

    C(k, D) / (C(k, 0) + σ²), scaled to 1 at k = 0.

    Parameters
    ----------
    optics : Optics
    distance_um : array_like, shape (T,)
        Distances from the scan to the targets, in micrometres.
    table : CovarianceTable, optional

    Returns
    -------
    table : CovarianceTable
    weights : numpy.ndarray, shape (T, K)
    """
    distance = np.atleast_1d(np.asarray(distance_um, dtype=float))
    table = table or covariance_table(optics, float(np.abs(distance).max()))
    weights = table.at(distance / optics.depth_of_field_um) / (table.values[0] + SIGMA2)
    weights[:, 0] = 1.0
    return table, weights


def _span(scan_z: npt.NDArray[np.float64], target_z: npt.NDArray[np.float64]) -> float:
    every = np.concatenate([scan_z, target_z])
    return float(every.max() - every.min())


def _normal_equations(
    table: CovarianceTable,
    optics: Optics,
    scan_z: npt.NDArray[np.float64],
    target_z: npt.NDArray[np.float64],
    sigma2: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return A + σ² I, shape (K, M, M), and b, shape (T, K, M)."""
    dof = optics.depth_of_field_um
    a = table.at((scan_z[:, None] - scan_z[None]) / dof)  # (M, M, K)
    a = np.moveaxis(a, -1, 0) + sigma2 * np.eye(len(scan_z))
    b = table.at((scan_z[None] - target_z[:, None]) / dof)  # (T, M, K)
    return a, np.moveaxis(b, -1, 1)


class RadialFilter:
    """Applies radial frequency responses to images of one shape.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the images.
    optics : Optics
        Pixel, NA and wavelength place the image's frequencies on the table's axis.
    table : CovarianceTable
        Its ``k`` are the nodes of the responses.
    device : torch.device, optional
        Where to compute.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        optics: Optics,
        table: CovarianceTable,
        device: torch.device | None = None,
    ) -> None:
        self.shape = shape
        self.pad = (min(_PAD, shape[0] - 1), min(_PAD, shape[1] - 1))
        self.padded = (shape[0] + 2 * self.pad[0], shape[1] + 2 * self.pad[1])
        per_um = optics.wavelength_um / optics.na
        ky = np.fft.fftfreq(self.padded[0], optics.pixel_um) * per_um
        kx = np.fft.rfftfreq(self.padded[1], optics.pixel_um) * per_um
        position = np.hypot(ky[:, None], kx[None]) / table.k[1]
        low = np.minimum(position.astype(np.int64), len(table.k) - 2)
        # Beyond the cut-off the last node, whose covariance is nil, goes on.
        part = np.minimum(position - low, 1.0).astype(np.float32)
        self._low = torch.from_numpy(low).to(device)
        self._part = torch.from_numpy(part).to(device)

    def transform(self, images: torch.Tensor) -> torch.Tensor:
        """Reflect-pad and transform images (N, Y, X): complex (N, Y', X')."""
        y, x = self.pad
        wide = torch.nn.functional.pad(images[:, None], (x, x, y, y), mode="reflect")
        found: torch.Tensor = torch.fft.rfft2(wide[:, 0])
        return found

    def response(self, weights: torch.Tensor) -> torch.Tensor:
        """Spread radial weights (N, K) over the frequency plane: (N, Y', X')."""
        low = weights[:, self._low]
        return torch.lerp(low, weights[:, self._low + 1], self._part)

    def back(self, spectra: torch.Tensor) -> torch.Tensor:
        """Inverse transform and crop: (N, Y', X') → real (N, Y, X)."""
        y, x = self.pad
        wide: torch.Tensor = torch.fft.irfft2(spectra, s=self.padded)
        return wide[:, y : y + self.shape[0], x : x + self.shape[1]]


class LinearEstimate:
    """The linear MMSE estimate of any plane from scans at known heights.

    Parameters
    ----------
    scans : sequence of Scan
        One or more scans of one shape, in any order.
    optics : Optics
        NA, wavelength, index and pixel.
    reach_um : tuple of float, optional
        Lowest and highest target, in micrometres: fixes the table's range; by default
        the range of the scans.
    sigma2 : float, optional
        Noise power relative to C(0, 0).
    device : torch.device, optional
        Where to compute.

    Raises
    ------
    InputError
        If the scans do not fit together.
    """

    def __init__(
        self,
        scans: Sequence[Scan],
        optics: Optics,
        *,
        reach_um: tuple[float, float] | None = None,
        sigma2: float = SIGMA2,
        device: torch.device | None = None,
    ) -> None:
        self.scans = check_scans(scans)
        self.optics = optics
        self.sigma2 = sigma2
        self.device = device
        self.scan_z_um = np.array([scan.z_um for scan in self.scans])
        ends = np.array(reach_um) if reach_um else self.scan_z_um
        self.table = covariance_table(optics, _span(self.scan_z_um, ends))
        self.filter = RadialFilter(self.scans[0].pixels.shape, optics, self.table, device)
        images = torch.stack([torch.tensor(scan.pixels) for scan in self.scans]).to(device)
        # The mean takes no part in the filtering: weights at k = 0 sum to one, and without
        # it nothing large is left for the padding to ring with.
        self.offset = images.mean()
        self.spectra = self.filter.transform(images - self.offset)

    def tensor(self, z_um: float) -> torch.Tensor:
        """The plane at ``z_um`` as a tensor (Y, X) on the device, in the scans' units."""
        _, weights = linear_weights(
            self.optics, self.scan_z_um, z_um, sigma2=self.sigma2, table=self.table
        )
        response = self.filter.response(self._tensor(weights[0]))
        mixed = (response * self.spectra).sum(dim=0, keepdim=True)
        return self.filter.back(mixed)[0] + self.offset

    def propagated(self, z_um: float) -> torch.Tensor:
        """Each scan carried alone to ``z_um``: tensor (M, Y, X), in the scans' units."""
        _, weights = propagation_weights(self.optics, self.scan_z_um - z_um, table=self.table)
        return self.filter.back(self.filter.response(self._tensor(weights)) * self.spectra) + (
            self.offset
        )

    def plane(self, z_um: float) -> FloatArray:
        """The plane at ``z_um`` micrometres, float32 (Y, X), in the scans' units."""
        found: FloatArray = self.tensor(z_um).cpu().numpy()
        return found

    def expected_error(self, z_um: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Expected error of the planes at ``z_um``, before seeing them.

        C(k, 0) − bᵀ (A + σ² I)⁻¹ b, summed over the frequency plane with the power
        spectrum of the scans as weight (the mean excepted).

        Parameters
        ----------
        z_um : array_like, shape (T,)
            Heights, in micrometres.

        Returns
        -------
        numpy.ndarray, shape (T,)
            Expected root-mean-square error relative to the standard deviation of the
            plane: 0 (known) to 1 (nothing known but the mean).
        """
        target = np.atleast_1d(np.asarray(z_um, dtype=float))
        return expected_error(
            self.table, self.optics, self.scan_z_um, target, self._radial_power, self.sigma2
        )

    @cached_property
    def _radial_power(self) -> npt.NDArray[np.float64]:
        """Total power of the scans at each node of the table, shape (K,), 0 at k = 0."""
        power = (self.spectra.abs() ** 2).mean(dim=0).cpu().numpy().ravel()
        nearest = (self.filter._low + (self.filter._part > 0.5)).cpu().numpy().ravel()
        total = np.bincount(nearest, weights=power, minlength=len(self.table.k)).astype(np.float64)
        total[0] = 0.0
        return total

    def _tensor(self, weights: Weights) -> torch.Tensor:
        return torch.tensor(weights, dtype=torch.float32, device=self.device)


def expected_error(
    table: CovarianceTable,
    optics: Optics,
    scan_z_um: npt.NDArray[np.float64],
    target_z_um: npt.NDArray[np.float64],
    power: npt.NDArray[np.float64],
    sigma2: float = SIGMA2,
) -> npt.NDArray[np.float64]:
    """Expected relative error of planes; see :meth:`LinearEstimate.expected_error`.

    Parameters
    ----------
    table : CovarianceTable
    optics : Optics
    scan_z_um : numpy.ndarray, shape (M,)
    target_z_um : numpy.ndarray, shape (T,)
    power : numpy.ndarray, shape (K,)
        Power of an image at the table's frequencies, summed over directions.
    sigma2 : float, optional

    Returns
    -------
    numpy.ndarray, shape (T,), 0 to 1
    """
    a, b = _normal_equations(table, optics, scan_z_um, target_z_um, sigma2)
    solved = np.linalg.solve(a[None], b[..., None])[..., 0]
    # Beyond the cut-off there is neither signal nor covariance, only noise.
    passed = table.values[0] > 10 * sigma2
    explained = (b * solved).sum(axis=-1) / np.where(passed, table.values[0], 1.0)
    weight = np.where(passed, power, 0.0)
    unexplained = np.clip(1.0 - explained, 0.0, 1.0)
    relative: npt.NDArray[np.float64] = np.sqrt((unexplained * weight).sum(axis=-1) / weight.sum())
    return relative
