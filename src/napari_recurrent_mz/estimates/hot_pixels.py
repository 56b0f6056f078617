"""Pixels that stand out alone in a scan: hot ones, and cosmic rays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

from ..core.optics import Optics
from ..core.scans import FloatArray
from .normalisation import noise_of

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
