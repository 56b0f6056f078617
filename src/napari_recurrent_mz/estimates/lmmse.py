"""The best linear estimate of any plane from a few scans, in closed form from the optics.

For a spatially white object and a lateral frequency k, two planes a distance D apart have the
covariance C(k, D) = ∫ H(k, z) H*(k, z + D) dz, with H(k, z) the lateral transfer function at
defocus z. With scans at z_1 … z_M the Wiener weights for a plane at z solve

    (A(k) + σ² I) w(k) = b(k),   A_ij = C(k, z_i − z_j),   b_i = C(k, z_i − z),

and the estimate is Σ_j w_j(k) · FFT(scan j). For a confocal plane b has ∫ H_confocal(k, z)
H*(k, z + z_i − z) dz, with H_confocal(0, 0) = H(0, 0) = 1: an even, thin sheet in focus is equally
bright in both.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from ..core.arrays import Array, real_values
from ..core.device import uploaded
from ..core.optics import Optics
from ..core.scans import FloatArray, Heights, Scans, in_ordinary_units, is_surface, stack_of
from .covariance import CovarianceTable, covariance_table, linear_table, table_between
from .normalisation import normalisation
from .radial_filter import RadialFilter, expand, height_nodes

SIGMA2 = 1e-4
"""Noise power relative to C(0, 0): it keeps the equations well posed."""

MEAN_NOISE = 0.001
"""The same for the mean of a scan, relative to its own variance over heights.

Lamps flicker and samples bleach: of two scans close together the difference is no slope to follow.
"""

Weights = npt.NDArray[np.float64]


def linear_weights(
    optics: Optics,
    scan_z_um: npt.ArrayLike,
    target_z_um: npt.ArrayLike,
    *,
    sigma2: float = SIGMA2,
    table: CovarianceTable | None = None,
    target: str = "widefield",
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
        The table of A to use; by default that of ``optics``.
    target : {"widefield", "confocal"}, optional
        What is wanted of the target planes: their wide-field or their confocal image.

    Returns
    -------
    table : CovarianceTable
    weights : numpy.ndarray, shape (T, M, K)
        Real weights at the frequencies ``table.k``. For a wide-field target they sum to one
        at k = 0; for a confocal one they are what the equations give.
    """
    scan_z = real_values(scan_z_um, "The list of scans")
    target_z = real_values(target_z_um, "The list of targets")
    table = table or covariance_table(optics, _span(scan_z, target_z))
    cross = table if target == "widefield" else table_between(optics, table, "widefield", target)
    a, b = _normal_equations(table, cross, optics, scan_z, target_z, sigma2)
    weights = np.linalg.solve(a[None], b[..., None])[..., 0]  # (T, K, M)
    if target == "widefield":
        weights[:, 0] = _mean_weights(a[0], b[:, 0])
    return table, np.ascontiguousarray(np.moveaxis(weights, -1, 1))


def _mean_weights(a: Array, b: Array) -> Weights:
    """Weights (T, M) for a mean that is not known beforehand: they sum to one.

    Those with the least error of them (ordinary kriging: Matheron, Econ. Geol. 58:1246, 1963).
    """
    noisy = a + MEAN_NOISE * a[0, 0] * np.eye(len(a))
    weights, even = np.split(np.linalg.solve(noisy, np.vstack([b, np.ones(len(a))]).T).T, [-1])
    return np.asarray(weights + (1 - weights.sum(axis=1, keepdims=True)) * even / even.sum())


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
    distance = real_values(distance_um, "The list of distances")
    table = table or covariance_table(optics, float(np.abs(distance).max()))
    weights = table.at(distance / optics.depth_of_field_um) / (table.values[0] + SIGMA2)
    weights[:, 0] = 1.0
    return table, weights


def _background(images: torch.Tensor) -> torch.Tensor:
    """Mean of the background of scans (M, Y, X)."""
    return images.new_tensor(normalisation(images.cpu().numpy()).shift)


def _span(scan_z: Array, target_z: Array) -> float:
    every = np.concatenate([scan_z, target_z])
    return float(every.max() - every.min())


def _normal_equations(
    table: CovarianceTable,
    cross: CovarianceTable,
    optics: Optics,
    scan_z: Array,
    target_z: Array,
    sigma2: float,
) -> tuple[Array, Array]:
    """Return A + σ² I, shape (K, M, M), and b, shape (T, K, M)."""
    dof = optics.depth_of_field_um
    a = table.at((scan_z[:, None] - scan_z[None]) / dof)  # (M, M, K)
    a = np.moveaxis(a, -1, 0) + sigma2 * np.eye(len(scan_z))
    b = cross.at((scan_z[None] - target_z[:, None]) / dof)  # (T, M, K)
    return a, np.moveaxis(b, -1, 1)


class LinearEstimate:
    """The linear MMSE estimate of any plane from scans at known heights.

    A wide-field plane has the mean of the scans. A confocal plane has their background, and
    above it the units in which an even, thin sheet in focus is as bright as in the scans.

    Parameters
    ----------
    scans : sequence of Scan, or ScanStack
        One or more scans of one shape, in any order.
    optics : Optics
        NA, wavelength, index and pixel.
    reach_um : tuple of float, optional
        Lowest and highest target, in micrometres; by default the range of the scans.
    device : torch.device, optional
        Where to compute.
    target : {"widefield", "confocal"}, optional
        The image wanted of each plane; the scans are wide-field ones.

    Raises
    ------
    InputError
        If the scans do not fit together.
    """

    def __init__(
        self,
        scans: Scans,
        optics: Optics,
        *,
        reach_um: tuple[float, float] | None = None,
        device: torch.device | None = None,
        target: str = "widefield",
    ) -> None:
        stack = stack_of(scans)
        self.images, self.scan_z_um = stack
        self.optics = optics
        self.device = device
        self.target = target
        ends = np.array(reach_um) if reach_um else self.scan_z_um
        field = stack.shape if target == "widefield" else None
        self.table = linear_table(optics, _span(self.scan_z_um, ends), field)
        self.filter = RadialFilter(stack.shape, optics, self.table, device)
        #: what the spectra are counted in, in the scans' units: 1 for whatever a camera counts
        self.unit, scaled = in_ordinary_units(self.images)
        images = torch.from_numpy(scaled).to(device)
        # The mean takes no part in the filtering: weights at k = 0 sum to one, and without
        # it nothing large is left for the padding to ring with.
        # A confocal has no such mean: what is left out of its filtering is the background.
        self.offset = images.mean() if target == "widefield" else _background(images)
        self.spectra = torch.cat(
            [self.filter.transform(image[None] - self.offset) for image in images]
        )

    def forget_scans(self) -> None:
        """Give back the memory of the scans, which only their noise is still measured on."""
        self.images = self.images[:0].copy()

    def tensor(self, z_um: float | Heights, out: torch.Tensor | None = None) -> torch.Tensor:
        """The plane at ``z_um`` as a tensor (Y, X) on the device, in the scans' units.

        ``z_um`` is one height, or one for every pixel (Y, X): a surface. Of several heights
        (T,) all planes are made together: (T, Y, X), on a CPU in the memory of ``out``.
        """
        if is_surface(z_um):
            surface = np.asarray(z_um)
            expansion = expand(self._weights, surface, self.optics.depth_of_field_um)
            along = self.filter.along(self.spectra, expansion, surface, "linear estimate")
            return self._in_units(along + self.offset)
        mixed = self.filter.mix(self.spectra, self._tensor(self._weights(z_um)))
        image = self._in_units(self.filter.back(mixed, out=out).add_(self.offset))
        return image if np.ndim(z_um) else image[0]

    def _weights(self, z_um: npt.ArrayLike) -> Weights:
        """Weights of the scans for heights (T,): (T, M, K)."""
        _, weights = linear_weights(
            self.optics, self.scan_z_um, z_um, table=self.table, target=self.target
        )
        return weights

    def propagated(
        self, z_um: float | Heights, first: int = 0, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Each scan carried alone to ``z_um``: tensor (M, Y, X), in the scans' units.

        As a wide-field image, whatever the target; of the scans from number ``first`` on.
        ``z_um`` is one height, several or a surface, and ``out`` memory, as in :meth:`tensor`:
        (T, M, Y, X) for several.
        """
        if is_surface(z_um):
            return self._propagated_along(np.asarray(z_um), first)
        distance = self.scan_z_um[first:] - np.reshape(z_um, (-1, 1))  # (T, M)
        weights = self._tensor(self._carried(distance.ravel()).reshape(*distance.shape, -1))
        images = self._propagated(weights, self.spectra[first:], out).add_(self.offset)
        images = self._in_units(images)
        return images if np.ndim(z_um) else images[0]

    def _propagated(
        self, weights: torch.Tensor, spectra: torch.Tensor, out: torch.Tensor | None
    ) -> torch.Tensor:
        """Spectra (M, Y', X'), each filtered by weights (T, M, K): (T, M, Y, X)."""
        shape = self.filter.shape
        if spectra.device.type != "cpu":
            filtered = self.filter.response(weights) * spectra
            return self.filter.back(filtered.flatten(0, 1)).reshape(*filtered.shape[:2], *shape)
        images = torch.empty((*weights.shape[:2], *shape)) if out is None else out
        mixed: torch.Tensor | None = None
        for row, radials in zip(images, weights, strict=True):
            for image, spectrum, radial in zip(row, spectra, radials, strict=True):
                mixed = self.filter.mix(spectrum[None], radial[None], out=mixed)
                self.filter.back(mixed[None], out=image[None])
        return images

    def _carried(self, distance_um: Array) -> Weights:
        return propagation_weights(self.optics, distance_um, table=self.table)[1]

    def _propagated_along(self, heights_um: Heights, first: int) -> torch.Tensor:
        images = []
        for z, spectrum in zip(self.scan_z_um[first:], self.spectra[first:], strict=True):
            expansion = expand(
                lambda nodes, z=z: self._carried(z - nodes)[:, None],  # type: ignore[misc]
                heights_um,
                self.optics.depth_of_field_um,
            )
            words = f"scan at {z:g} µm carried to the surface"
            images.append(self.filter.along(spectrum[None], expansion, heights_um, words))
        return self._in_units(torch.stack(images) + self.offset)

    def _in_units(self, planes: torch.Tensor) -> torch.Tensor:
        """Planes that are in ``unit``, in the scans' units."""
        return planes if self.unit == 1 else planes.mul_(self.unit)

    def plane(self, z_um: float | Heights) -> FloatArray:
        """The plane at ``z_um`` micrometres, float32 (Y, X), in the scans' units.

        ``z_um`` is one height or a surface, as in :meth:`tensor`.
        """
        return self.tensor(z_um).cpu().numpy()

    def error_along(self, heights_um: Heights) -> FloatArray:
        """:meth:`expected_error` at the height of every pixel of a surface, float32 (Y, X)."""
        nodes = height_nodes(heights_um, self.optics.depth_of_field_um)
        error = np.interp(heights_um, nodes, self.expected_error(nodes))
        return error.astype(np.float32)

    def expected_error(self, z_um: npt.ArrayLike) -> Array:
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
        optics, table, target = self.optics, self.table, self.target
        targets, cross, own = real_values(z_um, "The list of heights"), table, table
        if target != "widefield":
            cross = table_between(optics, table, "widefield", target)
            own = table_between(optics, table, target, target)
        a, b = _normal_equations(table, cross, optics, self.scan_z_um, targets, SIGMA2)
        solved = np.linalg.solve(a[None], b[..., None])[..., 0]
        # Beyond the cut-off there is neither signal nor covariance, only noise.
        passed = table.values[0] > 10 * SIGMA2
        wide = np.where(passed, table.values[0], 1.0)
        explained = (b * solved).sum(axis=-1) / np.where(passed, own.values[0], 1.0)
        weight = np.where(passed, self.radial_power * own.values[0] / wide, 0.0)
        if not weight.any():  # the scans hold nothing that passes the objective
            weight = np.where(passed, own.values[0], 0.0)
        unexplained = np.clip(1.0 - explained, 0.0, 1.0)
        relative: Array = np.sqrt((unexplained * weight).sum(axis=-1) / weight.sum())
        return relative

    @cached_property
    def radial_power(self) -> Array:
        """Mean power of the scans at each node of the table, all directions, (K,); 0 at k = 0."""
        power = (self.spectra.abs() ** 2).mean(dim=0).cpu().numpy().ravel()
        nearest, nodes = self.filter.nearest_node, len(self.table.k)
        total: Array = np.bincount(nearest, power, nodes).astype(np.float64)
        total[0] = 0.0
        return total

    def _tensor(self, weights: Weights) -> torch.Tensor:
        return uploaded(weights, self.device)
