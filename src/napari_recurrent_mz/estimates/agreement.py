"""Whether scans agree: each is predicted from the others by the linear estimate, and compared.

Scans may lie to the side of the others, because the stage or the sample moved: each is registered
with its prediction. One that moved makes its neighbours seem displaced, too; the one is taken that,
shifted back, lets all agree best. Only scans between the outer ones are judged: of a sample that
leans, the scans above and below lie on opposite sides, and what they predict lies between them.

Heights of two scans may have been mixed up: all then agree far better once they are exchanged.

A scan may have been taken with less light, or more: coarse structure, of which a wide-field
microscope loses none with focus, then agrees far better once it is made brighter or darker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, maximum_filter, shift
from skimage.registration import phase_cross_correlation

from ..core.arrays import AnyArray, Array
from ..core.optics import Optics
from ..core.scans import FloatArray, Scans, ScanStack, in_ordinary_units, stack_of
from .lmmse import LinearEstimate, linear_weights

BESIDE = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
"""A pixel's neighbours."""

_MOST = 12  # scans: more are seldom far apart, and take long
_SIDE_PX = 512  # of larger images, the middle is looked at
_SHARP_PX = (1.0, 12.0)  # standard deviations of the Gaussians whose difference is what is sharp
_FARTHEST = 0.25  # of the field: what seems to lie farther away was not found again
_LEAST = 0.7  # resolutions, or pixels where they are larger
_AGREE = 1.0  # of the same: between what is sharp and all that there is
_BETTER = 0.9  # times the squared error of what each scan is predicted as, once it is shifted back
_FAR_BETTER = 0.6  # the same, once heights are exchanged
_CORRELATED = 0.6  # a scan, moved back, with what the others predict
_SHARED = 0.6  # least correlation of coarse structure in scans that lie beside each other
_LEAST_WAVES = 16  # of coarse structure in the field: of fewer, the planes of thick samples differ
_SURE = 1e-3  # least share of it that is not predicted, since no model of optics is exact
_AS_ONE = 0.15  # times the squared error of the predictions, once one scan has other light
_LEAST_LIGHT = 0.12  # more or less, natural logarithm


def lateral_shifts(scans: Scans, optics: Optics) -> Array:
    """How far scans are displaced to the side: (M, 2), y and x in pixels; 0 where none is seen."""
    stack = _middle(stack_of(scans))
    found = np.zeros((len(stack.z_um), 2))
    if len(found) > _MOST:
        return found
    for _ in range(2 * (len(found) - 2)):  # of each, what is found first and what is left then
        better = _better(stack, found, optics)
        if better is None:
            break
        found = better
    return found


def exchanged_heights(scans: Scans, optics: Optics) -> tuple[int, int] | None:
    """The numbers of two scans, next to each other, that seem to have each other's height."""
    stack = _middle(stack_of(scans))
    if not 3 <= len(stack.z_um) <= _MOST:
        return None
    estimate, as_stated = LinearEstimate(stack, optics), stack.z_um
    pairs = list(pairwise(np.argsort(as_stated).tolist()))
    misfits = []
    for pair in pairs:
        z_um = as_stated.copy()
        z_um[list(pair)] = as_stated[list(reversed(pair))]
        misfits.append(_misfit(estimate, _leave_one_out(estimate, z_um)))
    best, stated = int(np.argmin(misfits)), _misfit(estimate, _leave_one_out(estimate, as_stated))
    return pairs[best] if misfits[best] < _FAR_BETTER * stated else None


@dataclass(frozen=True)
class OtherLight:
    """How far all scans agree if one has so many times the light of the others."""

    gain: float
    misfit: float  # squared error of the predictions, over that with the same light for all

    @property
    def is_certain(self) -> bool:
        """Whether nothing else than other light explains this."""
        return self.misfit < _AS_ONE and abs(np.log(self.gain)) > _LEAST_LIGHT


def light_by_structure(scans: Scans, optics: Optics) -> dict[int, OtherLight]:
    """Of each scan between the outer ones, by number, what other light would explain."""
    stack = _middle(stack_of(scans))
    if not 3 <= len(stack.z_um) <= _MOST:
        return {}
    inner = np.argsort(stack.z_um)[1:-1].tolist()
    misfit = _misfit_by_light(LinearEstimate(stack, optics), inner)
    found, as_is = {}, misfit.sum()
    for number in inner:
        own, shared = misfit[number, number], misfit[number].sum()
        if as_is > 0 and own > 0 and shared < own:
            # Times so much, with the others as they are, all agree best.
            times = 1 - shared / own
            of_all = (len(misfit) - 1 + times) / len(misfit)
            left = (as_is - shared**2 / own) / of_all**2
            found[number] = OtherLight(float(1 / times), float(left / as_is))
    return found


def _misfit_by_light(estimate: LinearEstimate, numbers: Sequence[int]) -> Array:
    """How far scans are from what the others predict, coarsely: a quadratic form, (M, M).

    Of the factors that the scans are multiplied with, over what the optics let expect.
    """
    optics, table, z_um = estimate.optics, estimate.table, estimate.scan_z_um
    lags_dof = (z_um[:, None] - z_um) / optics.depth_of_field_um
    widest = np.diff(np.sort(z_um)).max() / optics.depth_of_field_um
    fine = np.flatnonzero(table.at(widest) < _SHARED * table.values[0])
    nodes = np.arange(1, fine[0] if len(fine) else len(table.k))
    covariance = np.moveaxis(table.at(lags_dof)[..., nodes] / table.values[0, nodes], -1, 0)
    spectra = estimate.spectra.flatten(1).numpy()
    at = estimate.filter.nearest_node.ravel()
    misfit = np.zeros((len(z_um), len(z_um)))
    if np.isin(at, nodes).sum() < _LEAST_WAVES:
        return misfit
    cross = np.array(
        [[np.bincount(at, (a * b.conj()).real, len(table.k)) for a in spectra] for b in spectra]
    )[..., nodes].transpose(2, 0, 1)
    power = np.trace(cross, axis1=1, axis2=2) / len(z_um)
    for number in numbers:
        others = np.arange(len(z_um)) != number
        among = covariance[:, others][:, :, others] + _SURE * np.eye(len(z_um) - 1)
        error = np.zeros((len(nodes), len(z_um)))
        error[:, number] = 1
        error[:, others] = -np.linalg.solve(among, covariance[:, others, number, None])[..., 0]
        expected = power * (error * covariance[:, number]).sum(axis=1).clip(_SURE)
        shares = np.where(expected > 0, 1 / np.where(expected > 0, expected, 1), 0)
        misfit += np.einsum("k,ki,kj,kij->ij", shares, error, error, cross)
    return misfit


def _better(stack: ScanStack, found: Array, optics: Optics) -> Array | None:
    """The displacements with that of one more scan, or its rest, which then agree best; or None."""
    unit_px = max(1.0, optics.resolution_um / optics.pixel_um)
    estimate = _in_line(stack, found, optics)
    predicted = _leave_one_out(estimate, stack.z_um)
    tried = []
    for number in np.argsort(stack.z_um)[1:-1]:
        further = found.copy()
        least_px = 0.0 if found[number].any() else _LEAST * unit_px
        pair = predicted[number], estimate.images[number]
        further[number] += _between(*pair, least_px, _AGREE * unit_px)
        if (further != found).any():
            tried.append(further)
    if not tried:
        return None
    others = [_in_line(stack, one, optics) for one in tried]
    misfits = [_misfit(other, _leave_one_out(other, stack.z_um)) for other in others]
    best = int(np.argmin(misfits))
    return tried[best] if misfits[best] < _BETTER * _misfit(estimate, predicted) else None


def _in_line(stack: ScanStack, shift_px: Array, optics: Optics) -> LinearEstimate:
    """The linear estimate from scans that are shifted back by so much."""
    pairs = zip(stack.images, shift_px, strict=True)
    images = [shifted_back(image, by_px) if by_px.any() else image for image, by_px in pairs]
    return LinearEstimate(ScanStack(np.stack(images), stack.z_um), optics)


def _leave_one_out(estimate: LinearEstimate, z_um: Array) -> FloatArray:
    """Each scan, (M, Y, X), as the others predict it if these are their heights, (M,)."""
    every = np.arange(len(z_um))
    weights = np.zeros((len(every), len(every), len(estimate.table.k)))
    for number in every:
        others = every != number
        heights = z_um[others], z_um[~others]
        weights[number][others] = linear_weights(estimate.optics, *heights, table=estimate.table)[1]
    spectra = estimate.filter.mix(estimate.spectra, torch.tensor(weights, dtype=torch.float32))
    return estimate.filter.back(spectra).add_(estimate.offset).numpy()


def _misfit(estimate: LinearEstimate, predicted: FloatArray) -> float:
    """Mean squared error of the predictions, the edges of the field apart."""
    return float((_faded(estimate.images - predicted) ** 2).mean())


def shifted_back(pixels: FloatArray, shift_px: Array) -> FloatArray:
    """An image (Y, X) that was displaced by so many pixels, by cubic splines, in its own range."""
    moved: FloatArray = shift(pixels, -shift_px, order=3, mode="mirror")
    return moved.clip(pixels.min(), pixels.max())


def _middle(stack: ScanStack) -> ScanStack:
    rows, columns = (
        slice(max(0, length - _SIDE_PX) // 2, (length + _SIDE_PX) // 2) for length in stack.shape
    )
    images = stack.images[:, rows, columns]
    calm = np.minimum(images, maximum_filter(images, footprint=BESIDE[None], mode="mirror"))
    return ScanStack(in_ordinary_units(calm)[1], stack.z_um)


def _between(predicted: FloatArray, image: FloatArray, least_px: float, agree_px: float) -> Array:
    """How far an image lies from a predicted one; 0 if that is not certain, or less than this."""
    fine_px, coarse_px = _SHARP_PX
    both = [pixels.astype(np.float64) - pixels.mean() for pixels in (predicted, image)]
    sharp = [gaussian_filter(p, fine_px) - gaussian_filter(p, coarse_px) for p in both]
    whole, fine = _registered(*both), _registered(*sharp)
    if whole is None or fine is None or np.hypot(*(whole - fine)) > agree_px:
        return np.zeros(2)
    near, far = sorted(np.hypot(*found) for found in (whole, fine))
    is_certain = near > least_px and far < _FARTHEST * min(image.shape)
    return fine if is_certain else np.zeros(2)


def _registered(predicted: Array, image: Array) -> Array | None:
    """The displacement of an image, (2,); None if it is not found in the predicted one."""
    predicted, image = _faded(predicted), _faded(image)
    if not predicted.any():
        return None
    back, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        predicted, image, upsample_factor=20, normalization=None
    )
    moved = shift(image, back, order=1)
    is_found = np.corrcoef(predicted.ravel(), moved.ravel())[0, 1] > _CORRELATED
    return -back if is_found else None


def _faded(images: AnyArray) -> AnyArray:
    """Images (…, Y, X) that fade to their edges."""
    return images * np.outer(*(np.hanning(length) for length in images.shape[-2:]))
