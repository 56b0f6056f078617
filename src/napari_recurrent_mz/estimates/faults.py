"""Scans with less light than the others, or more, and pixels that stand out alone in a scan.

A wide-field microscope loses no light with focus: scans of a sample that lies within the field
have the same total. Where light crosses the edge of the field, one scan whose coarse structure is
brighter or darker than the others predict still shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, minimum_filter

from ..core.arrays import Array
from ..core.optics import Optics
from ..core.scans import FloatArray, Scans, ScanStack, stack_of
from .agreement import BESIDE, light_by_structure
from .normalisation import noise_of

_DARK_PX = 256  # on a side, of which the darkest tell the background
_EDGE = 32  # parts of a side; so wide is the edge of a field
_WITHIN = 0.3  # of the mean above the background: all edges around a sample in the field are darker
_ALIKE_TOTALS = 0.08  # natural logarithm; totals of real stacks stay within 0.05


@dataclass(frozen=True, eq=False)
class UnevenLight:
    """The light of scans relative to that of one among them, and the camera's offset."""

    gains: Array  # (M,), exactly 1 where nothing is to be changed
    offset: float
    is_sure: bool = True  # whether no scan beside it can be what differs instead

    def evened(self, pixels: FloatArray, index: int) -> FloatArray:
        """The pixels of a scan with the light that all should have."""
        offset = np.float32(self.offset)
        return offset + (pixels - offset) / np.float32(self.gains[index])


def uneven_light(scans: Scans, optics: Optics | None) -> UnevenLight | None:
    """How the light of scans in any order differs; None if it does not, or none can tell."""
    stack = stack_of(scans)
    totals, dark = _totals(stack.images)
    if totals is not None and np.ptp(np.log(totals)) <= _ALIKE_TOTALS:
        return None
    by_structure = {} if optics is None else light_by_structure(stack, optics)
    if totals is None:
        likely = min(by_structure, key=lambda number: by_structure[number].misfit, default=None)
        if likely is None or not by_structure[likely].is_certain:
            return None
        one = _of_one(stack, likely, by_structure[likely].gain, dark)
        return replace(one, is_sure=False)
    gains = totals / np.sort(totals)[len(totals) // 2]
    different = np.flatnonzero(np.abs(np.log(gains)) > _ALIKE_TOTALS / 2).tolist()
    if len(different) > 1:
        return UnevenLight(gains, dark)
    # Totals are counted from the background, which is light, too: coarse structure, where it says
    # the same, tells more of how much.
    (number,) = different
    if number in by_structure:
        gain = by_structure[number].gain
        if np.log(gain) * np.sign(np.log(gains[number])) > _ALIKE_TOTALS / 2:
            return _of_one(stack, number, gain, dark)
    return UnevenLight(np.where(np.arange(len(gains)) == number, gains, 1.0), dark)


def _totals(scans: FloatArray) -> tuple[Array | None, float]:
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


def _of_one(stack: ScanStack, number: int, gain: float, dark: float) -> UnevenLight:
    """The light of scans of which one has so many times that of the others."""
    means, order = stack.images.mean(axis=(1, 2), dtype=np.float64), np.argsort(stack.z_um)
    beside = order[order != number]
    mean = float(np.interp(stack.z_um[number], stack.z_um[beside], means[beside]))
    offset = (means[number] - gain * mean) / (1 - gain)  # so that the means agree, too
    gains = np.where(np.arange(len(means)) == number, gain, 1.0)
    return UnevenLight(gains, float(np.clip(offset, min(dark, 0.0), dark)))


_FINE = 1.3  # of the Nyquist pixel: through a coarser one a bead can light a single pixel
_ALONE = 3.0  # times as far above its surroundings as the brightest pixel beside it, or a pair
OUTSHINES = 8.0  # times as far above the middle of all pixels as all others: a bead in focus is 5
_STANDS_OUT = 8.0  # standard deviations of the noise above the pixels around it


def hot_pixels(pixels: FloatArray, optics: Optics) -> npt.NDArray[np.intp]:
    """Rows and columns (N, 2) of pixels that stand out as no light through the objective can.

    Where pixels are coarse a bead can do so, and those that outshine all others are meant.
    """
    if min(pixels.shape) < 5:
        return np.empty((0, 2), np.intp)
    noise = max(noise_of(pixels, is_empty_counted=False), 1e-6 * float(np.ptp(pixels)))
    highest, lowest = (of(pixels, size=3, mode="mirror") for of in (maximum_filter, minimum_filter))
    peaks = np.argwhere((pixels == highest) & (pixels > lowest + _STANDS_OUT * noise))
    third, second = np.sort(_neighbours_of(pixels, peaks))[:, -2:].T
    apart = _STANDS_OUT * noise
    peaks = peaks[(pixels[tuple(peaks.T)] > second + apart) | (second > third + apart)]
    found = {hot for row, column in peaks for hot in _hot_at(pixels, row, column, noise)}
    places = np.array(sorted(found), np.intp).reshape(-1, 2)
    return places if is_fine(optics) else _outshining(pixels, places, noise)


def _neighbours_of(pixels: FloatArray, places: npt.NDArray[np.intp]) -> FloatArray:
    """The neighbours of pixels, (N, 8); beyond the edge there is nothing."""
    padded = np.pad(pixels, 1, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return np.asarray(windows[tuple(places.T)][:, BESIDE])


def _hot_at(pixels: FloatArray, row: int, column: int, noise: float) -> list[tuple[int, int]]:
    """The pixel of a peak if it stands out alone, or with its brightest neighbour as a pair."""
    top, left = max(row - 1, 0), max(column - 1, 0)
    window = pixels[top : row + 2, left : column + 2].copy()
    window[row - top, column - left] = -np.inf
    y, x = np.unravel_index(window.argmax(), window.shape)
    peak = (int(row), int(column))
    groups = [peak], [peak, (int(y) + top, int(x) + left)]
    return next((group for group in groups if _is_alone(pixels, group, noise)), [])


def is_fine(optics: Optics) -> bool:
    """Whether pixels are so small that even a bead lights several."""
    return optics.pixel_um <= _FINE * optics.resolution_um / 2


def _outshining(
    pixels: FloatArray, peaks: npt.NDArray[np.intp], noise: float
) -> npt.NDArray[np.intp]:
    """Those of some single bright pixels that are far brighter than a sample that is seen, too."""
    others = pixels.copy()
    others[tuple(peaks.T)] = pixels.min()
    level = float(np.median(pixels))
    sample = float(others.max()) - level
    if sample < _STANDS_OUT * noise:
        return peaks[:0]
    return np.asarray(peaks[pixels[tuple(peaks.T)] - level > OUTSHINES * sample])


def without_hot_pixels(pixels: FloatArray, optics: Optics) -> tuple[FloatArray, int]:
    """A copy with the median of its neighbours in place of every such pixel, and how many."""
    replaced, count = pixels.copy(), 0
    while len(hot := hot_pixels(replaced, optics)):  # a brighter one beside it hides another
        padded = np.pad(replaced, 1, mode="reflect")
        for row, column in hot:
            replaced[row, column] = np.median(padded[row : row + 3, column : column + 3][BESIDE])
        count += len(hot)
    return replaced, count


def _is_alone(pixels: FloatArray, group: list[tuple[int, int]], noise: float) -> bool:
    """Whether pixels stand out from their surroundings, whose noise may be that of bright light."""
    first, last = np.min(group, axis=0), np.max(group, axis=0)
    top, left = np.maximum(first - 1, 0)
    box = pixels[top : last[0] + 2, left : last[1] + 2].copy()
    inside = tuple((np.array(group) - (top, left)).T)
    least = float(box[inside].min())
    box[inside] = -np.inf
    beside = float(box.max())
    if least <= beside + _STANDS_OUT * noise:
        return False
    row, column = group[0]
    around = pixels[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
    level = float(np.median(around))
    own_noise = float(np.median(np.abs(around - level))) / 0.6745
    above = least - level
    return above > _STANDS_OUT * own_noise and above > _ALONE * (beside - level)
