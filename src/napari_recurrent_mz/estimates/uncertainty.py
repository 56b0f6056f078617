"""How sure a plane is, from the scans themselves: their spectra, and what leaving one out changes.

The linear estimate (:mod:`~.lmmse`) is made again without each scan in turn;
how far the planes move is the jackknife's standard error (Efron and Stein, Ann. Stat. 9:586,
1981). It follows the sample, voxel by voxel, where the closed-form expected error follows the
optics. Lengths are in micrometres.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..core.arrays import Array, real_values
from ..core.scans import InputError
from .lmmse import LinearEstimate, Weights, linear_weights
from .normalisation import noise_of


def noise_power(estimate: LinearEstimate) -> Array:
    """Power of the noise of a scan at each node of the table, all directions, (K,); 0 at k = 0."""
    noise = float(np.median([noise_of(image) for image in estimate.images]))
    variance = (noise / estimate.unit) ** 2
    modes = np.bincount(estimate.filter.nearest_node, minlength=len(estimate.table.k))
    power = variance * float(np.prod(estimate.filter.padded)) * modes.astype(np.float64)
    power[0] = 0.0
    return power


def signal_power(estimate: LinearEstimate) -> Array:
    """Power of the scans at each node without that of their noise, (K,); 0 at k = 0."""
    return np.clip(estimate.radial_power - noise_power(estimate), 0.0, None)


def left_out_weights(estimate: LinearEstimate, z_um: npt.ArrayLike) -> Weights:
    """Weights of the planes at ``z_um`` when each scan in turn is left out.

    Returns
    -------
    numpy.ndarray, shape (M, T, M, K)
        First the scan that is left out; its own weight is nil.
    """
    scans, targets = estimate.scan_z_um, real_values(z_um, "The list of heights")
    left_out = np.zeros((len(scans), len(targets), len(scans), len(estimate.table.k)))
    for number in range(len(scans)):
        others = np.delete(np.arange(len(scans)), number)
        _, weights = linear_weights(
            estimate.optics, scans[others], targets, table=estimate.table, target=estimate.target
        )
        left_out[number][:, others] = weights
    return left_out


def plane_spread(estimate: LinearEstimate, z_um: npt.ArrayLike) -> Array:
    """Root-mean-square spread of planes over the scans that may be left out.

    The jackknife (Efron and Stein, Ann. Stat. 9:586, 1981), from the scans' cross spectra.

    Parameters
    ----------
    estimate : LinearEstimate
        Of at least three scans.
    z_um : array_like, shape (T,)

    Returns
    -------
    numpy.ndarray, shape (T,), in units of the scans' power (compare planes only)
    """
    weights = left_out_weights(estimate, z_um)
    apart = weights - weights.mean(axis=0)
    total = np.einsum("stik,ijk,stjk->t", apart, cross_power(estimate), apart, optimize=True)
    share = (len(apart) - 1) / len(apart)
    spread: Array = np.sqrt(share * np.clip(total, 0, None))
    return spread


def cross_power(estimate: LinearEstimate) -> Array:
    """How the scans' spectra agree at each node of the table: shape (M, M, K), 0 at k = 0."""
    radial = estimate.filter.nearest_node
    spectra = estimate.spectra.cpu().numpy().reshape(len(estimate.scan_z_um), -1)
    count = len(estimate.table.k)
    power = np.zeros((len(spectra), len(spectra), count))
    for i, one in enumerate(spectra):
        for j, other in enumerate(spectra[: i + 1]):
            shared = (one * other.conj()).real
            power[i, j] = power[j, i] = np.bincount(radial, weights=shared, minlength=count)
    power[..., 0] = 0.0
    return power


def voxel_spread(estimate: LinearEstimate, z_um: float) -> npt.NDArray[np.float32]:
    """Spread of every pixel of a plane over the scans that may be left out.

    Parameters
    ----------
    estimate : LinearEstimate
        Of at least three scans.
    z_um : float

    Returns
    -------
    numpy.ndarray, float32, shape (Y, X)
        The jackknife's standard error, in the scans' units.

    Raises
    ------
    InputError
        If there are fewer than three scans.
    """
    if len(estimate.scan_z_um) < 3:
        raise InputError("The spread over the scans needs at least three of them.")
    weights = left_out_weights(estimate, z_um)[:, 0]
    spectra, radial = estimate.spectra, estimate.filter
    apart = torch.tensor(weights - weights.mean(axis=0), dtype=torch.float32).to(spectra.device)
    total = torch.zeros(radial.shape, device=spectra.device)
    for one in apart:
        total += radial.back((radial.response(one) * spectra).sum(0, keepdim=True))[0] ** 2
    share = (len(apart) - 1) / len(apart)
    return (share * total).sqrt().mul_(estimate.unit).cpu().numpy()
