"""Scans with less light than the others, or more, and pixels that stand out alone in a scan.

A wide-field microscope loses no light with focus: scans of a sample that lies within the field
have the same total. Where light crosses the edge of the field, the transfer at the lowest spatial
frequencies still hardly changes with focus: the coarse contrast tells of one scan that differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, maximum_filter
from skimage.transform import downscale_local_mean

from ..core.arrays import Array
from ..core.optics import Optics
from ..core.scans import FloatArray
from .normalisation import noise_of

_DARK_PX = 256  # on a side, of which the darkest tell the background
_EDGE = 32  # parts of a side; so wide is the edge of a field
_WITHIN = 0.3  # of the mean above the background: all edges around a sample in the field are darker
_ALIKE_TOTALS = 0.08  # natural logarithm; totals of real stacks stay within 0.05

_COARSE = 1 / 6  # of the field: standard deviation of the Gaussian that leaves coarse structure
_SIDE_PX = 64  # to which images are averaged first
_ALIKE = 0.98  # least correlation with the scans beside it
_LEAST = 0.12  # least change, natural logarithm
_ABOVE_SPREAD = 2.5  # least change over the spread of the other scans
_ABOVE_SPREAD_OF_TWO = 4.0
_SLACK = 0.1  # of the mean above the background, for the offset


@dataclass(frozen=True, eq=False)
class UnevenLight:
    """The light of scans relative to that of one among them, and the camera's offset."""

    gains: Array  # (M,), exactly 1 where nothing is to be changed
    offset: float

    def evened(self, pixels: FloatArray, index: int) -> FloatArray:
        """The pixels of a scan with the light that all should have."""
        offset = np.float32(self.offset)
        return offset + (pixels - offset) / np.float32(self.gains[index])


def uneven_light(scans: Sequence[FloatArray], z_um: Array) -> UnevenLight | None:
    """How the light of scans (Y, X) in any order differs; None if it does not, or none can tell."""
    totals, dark = _totals(scans)
    if totals is None:
        return _one_uneven(scans, z_um) if len(scans) > 2 else None
    if np.ptp(np.log(totals)) <= _ALIKE_TOTALS:
        return None
    gains = totals / np.sort(totals)[len(totals) // 2]
    differs = np.abs(np.log(gains)) > _ALIKE_TOTALS / 2
    return UnevenLight(np.where(differs, gains, 1.0) if differs.sum() == 1 else gains, dark)


def _totals(scans: Sequence[FloatArray]) -> tuple[Array | None, float]:
    """Mean light of the scans, (M,), None if some crosses the field's edges; and the background."""
    step = max(1, min(scans[0].shape) // _DARK_PX)
    dark = min(float(np.quantile(pixels[::step, ::step], 1e-3)) for pixels in scans)
    totals = np.array([pixels.mean(dtype=np.float64) for pixels in scans]) - dark
    edges = np.array([_brightest_edge(pixels) for pixels in scans]) - dark
    return totals if (edges < _WITHIN * totals).all() else None, dark


def _brightest_edge(pixels: FloatArray) -> float:
    rows, columns = (max(1, length // _EDGE) for length in pixels.shape)
    edges = pixels[:rows], pixels[-rows:], pixels[:, :columns], pixels[:, -columns:]
    return max(float(edge.mean(dtype=np.float64)) for edge in edges)


def _one_uneven(scans: Sequence[FloatArray], z_um: Array) -> UnevenLight | None:
    """The same from the coarse contrast, of three or more scans of which one alone differs."""
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
            return UnevenLight(np.where(np.arange(len(scans)) == index, gain, 1.0), offset)
    return None


def _coarse(pixels: FloatArray) -> Array:
    """The coarse structure of an image, (N,), with mean 0."""
    factor = max(1, min(pixels.shape) // _SIDE_PX)
    small = downscale_local_mean(  # type: ignore[no-untyped-call]
        pixels.astype(np.float64), factor
    )
    coarse = gaussian_filter(small - small.mean(), _COARSE * min(small.shape), mode="reflect")
    return np.asarray(coarse.ravel() - coarse.mean())


def _weights_beside(index: int, z_um: Array) -> Array:
    """What the scans below and above one count, (M,): linear interpolation, or the nearest."""
    order = np.argsort(z_um)
    place = int(np.flatnonzero(order == index)[0])
    beside = [int(order[i]) for i in (place - 1, place + 1) if 0 <= i < len(order)]
    weights = np.zeros(len(z_um))
    away = np.abs(z_um[beside] - z_um[index])
    weights[beside] = 1.0 if len(beside) == 1 else away[::-1] / away.sum()
    return weights


_FINE = 1.3  # of the Nyquist pixel: through a coarser one a bead can light a single pixel
_ALONE = 3.0  # times as far above its surroundings as the brightest pixel beside it
_STANDS_OUT = 8.0  # standard deviations of the noise above the pixels around it
_AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


def hot_pixels(pixels: FloatArray, optics: Optics) -> npt.NDArray[np.intp]:
    """Rows and columns (N, 2) of pixels that stand out as no light through the objective can."""
    if optics.pixel_um > _FINE * optics.resolution_um / 2 or min(pixels.shape) < 5:
        return np.empty((0, 2), np.intp)
    beside = maximum_filter(pixels, footprint=_AROUND, mode="mirror")
    noise = max(noise_of(pixels, is_empty_counted=False), 1e-6 * float(np.ptp(pixels)))
    peaks = np.argwhere(pixels > beside + _STANDS_OUT * noise)
    alone = [_is_alone(pixels, beside, row, column) for row, column in peaks]
    return np.asarray(peaks[np.array(alone, bool)])


def without_hot_pixels(pixels: FloatArray, optics: Optics) -> tuple[FloatArray, int]:
    """A copy with the median of its neighbours in place of every such pixel, and how many."""
    hot, replaced = hot_pixels(pixels, optics), pixels.copy()
    padded = np.pad(pixels, 1, mode="reflect")
    for row, column in hot:
        replaced[row, column] = np.median(padded[row : row + 3, column : column + 3][_AROUND])
    return replaced, len(hot)


def _is_alone(pixels: FloatArray, beside: FloatArray, row: int, column: int) -> bool:
    """Whether a pixel stands out from its surroundings, whose noise may be that of bright light."""
    around = pixels[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
    level = float(np.median(around))
    noise = float(np.median(np.abs(around - level))) / 0.6745
    above = float(pixels[row, column]) - level
    return above > _STANDS_OUT * noise and above > _ALONE * (float(beside[row, column]) - level)
