"""A scan with less light, or more, than the others: bleached, or exposed otherwise.

The optical transfer of a wide-field microscope at the lowest spatial frequencies hardly changes
with focus, so that scans of one field have the same mean and the same coarse contrast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from skimage.transform import downscale_local_mean

from ..core.scans import FloatArray

_COARSE = 1 / 6  # of the field: standard deviation of the Gaussian that leaves coarse structure
_SIDE_PX = 64  # to which images are averaged first
_ALIKE = 0.98  # least correlation with the scans beside it
_LEAST = 0.12  # least change, natural logarithm
_ABOVE_SPREAD = 2.5  # least change over the spread of the other scans
_ABOVE_SPREAD_OF_TWO = 4.0
_SLACK = 0.1  # of the mean above the background, for the offset


@dataclass(frozen=True)
class UnevenScan:
    """Which scan has ``gain`` times the light of the others, and the camera's offset."""

    index: int
    gain: float
    offset: float

    def evened(self, pixels: FloatArray) -> FloatArray:
        """The pixels of that scan with the light of the others."""
        offset = np.float32(self.offset)
        even: FloatArray = offset + (pixels - offset) / np.float32(self.gain)
        return even


def uneven_scan(scans: Sequence[FloatArray], z_um: npt.NDArray[np.float64]) -> UnevenScan | None:
    """The scan of (Y, X), of three or more in any order, whose light alone differs, if one does."""
    if len(scans) < 3:
        return None
    order = np.argsort(z_um)
    uneven = _uneven([scans[i] for i in order], z_um[order])
    return uneven and replace(uneven, index=int(order[uneven.index]))


def _uneven(scans: Sequence[FloatArray], z_um: npt.NDArray[np.float64]) -> UnevenScan | None:
    """The same for scans of which the lowest is first."""
    coarse = np.stack([_coarse(pixels) for pixels in scans])
    contrast = np.log(np.maximum(coarse.std(axis=1), np.finfo(float).tiny))
    means = np.array([pixels.mean(dtype=np.float64) for pixels in scans])
    dark = min(float(np.quantile(pixels[::4, ::4], 0.01)) for pixels in scans)
    ratio = _ABOVE_SPREAD_OF_TWO if len(scans) == 3 else _ABOVE_SPREAD
    for index in np.argsort(-np.abs(contrast - np.median(contrast)), kind="stable"):
        others = np.delete(contrast, index)
        change = abs(contrast[index] - np.median(others))
        if change < max(_LEAST, ratio * np.ptp(others)):
            continue
        beside = _weights_beside(int(index), z_um)
        expected, mean = beside @ coarse, float(beside @ means)
        gain = float(coarse[index].std() / expected.std())
        if abs(np.log(gain)) < _LEAST or np.corrcoef(expected, coarse[index])[0, 1] < _ALIKE:
            continue
        offset = mean - (means[index] - mean) / (gain - 1)  # so that the means agree, too
        if -_SLACK * mean <= offset <= dark + _SLACK * (mean - dark):
            return UnevenScan(int(index), gain, offset)
    return None


def _coarse(pixels: FloatArray) -> npt.NDArray[np.float64]:
    """The coarse structure of an image, (N,), with mean 0."""
    factor = max(1, min(pixels.shape) // _SIDE_PX)
    small = downscale_local_mean(  # type: ignore[no-untyped-call]
        pixels.astype(np.float64), factor
    )
    coarse = gaussian_filter(small - small.mean(), _COARSE * min(small.shape), mode="reflect")
    return np.asarray(coarse.ravel() - coarse.mean())


def _weights_beside(index: int, z_um: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What the scans beside one count, (M,): linear interpolation between two, or the nearest."""
    weights = np.zeros(len(z_um))
    below, above = max(index - 1, 0), min(index + 1, len(z_um) - 1)
    if below == index or above == index:
        weights[above if below == index else below] = 1
    else:
        weights[above] = (z_um[index] - z_um[below]) / (z_um[above] - z_um[below])
        weights[below] = 1 - weights[above]
    return weights
