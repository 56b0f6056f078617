"""Where beads are, and which of them stand alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from ...core.arrays import AnyArray, Array
from ...core.scans import InputError

Index = npt.NDArray[np.intp]
Voxels = npt.NDArray[np.float32]

# A point spread function is longer than wide: distances along z count for less.
AXIAL_STRETCH = 2.5
MAX_CANDIDATES = 20_000

_SMOOTH = 0.15  # of the minimum separation: sigma of the Gaussian before the search
_ONE_BEAD = 0.5  # of the minimum separation: maxima nearer than this are one bead
_FAR = 5.0  # minimum separations: the farthest that the light of another bead is looked for
_NEIGHBOURS = 32
_FLOOR = 1e-4  # of the range: no noise is taken to be less, or ripples would be beads
_SAMPLE = 2_000_000


@dataclass(frozen=True, eq=False)
class FilteredVolume:
    """A volume (Z, Y, X) made ready for the search."""

    volume: Voxels
    voxel_um: Array
    separation_um: float  # lateral distance that parts two beads
    contrast: Voxels  # the volume smoothed a little less its mean in a wide box
    spread: float  # robust standard deviation of the contrast
    noise: float  # the same of the volume less the wide mean

    @property
    def metric(self) -> Array:
        """Factors from voxels to separations, shape (3,): z is shortened by the stretch."""
        lengths = self.separation_um * np.array([AXIAL_STRETCH, 1.0, 1.0])
        return np.asarray(self.voxel_um / lengths)


def prepared(volume: Voxels, voxel_um: Array, separation_um: float) -> FilteredVolume:
    """Filter a volume for the search of beads; refuse a constant one."""
    low, high = float(volume.min()), float(volume.max())
    if low == high:
        raise InputError(f"The volume is constant (every voxel is {low:g}): it holds no bead.")
    sigma = np.where(np.array(volume.shape) > 1, _SMOOTH * separation_um / voxel_um, 0)
    reach = separation_um * np.array([AXIAL_STRETCH, 1.0, 1.0])
    box = [2 * round(r / d) + 1 for r, d in zip(reach, voxel_um, strict=True)]
    with ThreadPoolExecutor(2) as pool:  # SciPy's filters leave Python's lock alone
        averaging = pool.submit(ndimage.uniform_filter, volume, box)
        contrast = ndimage.gaussian_filter(volume, sigma, truncate=2.5)
        wide = averaging.result()
    noise = _robust_spread(_sample(volume) - _sample(wide), low, high)
    contrast -= wide
    spread = _robust_spread(_sample(contrast), low, high)
    return FilteredVolume(volume, voxel_um, separation_um, contrast, spread, noise)


def _sample(values: Voxels) -> Voxels:
    """About two million voxels, evenly taken."""
    flat = values.reshape(-1)
    return flat[:: max(1, flat.size // _SAMPLE) | 1]


def _robust_spread(sample: Voxels, low: float, high: float) -> float:
    """1.4826 times the median distance from the median, not below the floor."""
    deviation = float(np.median(np.abs(sample - np.median(sample))))
    return max(1.4826 * deviation, _FLOOR * (high - low))


def candidates(field: FilteredVolume, threshold_snr: float) -> tuple[Index, Array]:
    """Local maxima of the contrast above the threshold, brightest first: voxels, and contrast."""
    contrast = field.contrast
    where = _maxima(contrast, threshold_snr * field.spread)
    brightness = contrast[tuple(where.T)].astype(np.float64)
    order = np.argsort(-brightness, kind="stable")[:MAX_CANDIDATES]
    where, brightness = where[order], brightness[order]
    near, who = _nearest(where * field.metric, _ONE_BEAD)
    single = np.ones(len(where), bool)
    for bead in np.flatnonzero((near <= _ONE_BEAD).any(axis=1)):  # brightest first
        others = who[bead][near[bead] <= _ONE_BEAD]
        single[bead] = not np.any(single[others[others < bead]])
    return where[single], brightness[single]


def _maxima(contrast: Voxels, threshold: float) -> Index:
    """Voxels above a threshold and not below any of the 26 around them, (N, 3)."""
    where = np.stack(np.unravel_index(np.flatnonzero(contrast > threshold), contrast.shape), -1)
    height = contrast[tuple(where.T)]
    last = np.array(contrast.shape) - 1
    for step in product((-1, 0, 1), repeat=3):
        beside = np.clip(where + step, 0, last)
        highest = height >= contrast[tuple(beside.T)]
        where, height = where[highest], height[highest]
    return where


def snapped(field: FilteredVolume, points_um: Array) -> tuple[Index, Array]:
    """The highest contrast within half a separation of each point; (N, 3) voxels and values."""
    where = np.round(points_um / field.voxel_um).astype(int)
    reach = np.floor(0.5 / field.metric).astype(int)
    snapped_to = where.copy()
    for i, middle in enumerate(where):
        low = np.maximum(middle - reach, 0)
        box = tuple(slice(a, b) for a, b in zip(low, middle + reach + 1, strict=True))
        piece = field.contrast[box]
        snapped_to[i] = low + np.unravel_index(int(piece.argmax()), piece.shape)
    return snapped_to, field.contrast[tuple(snapped_to.T)].astype(np.float64)


def crowded(field: FilteredVolume, where: Index, brightness: Array) -> npt.NDArray[np.bool_]:
    """Which beads are disturbed: one k times as bright must be sqrt(k) times as far away."""
    near, who = _nearest(where * field.metric, _FAR)
    present = np.isfinite(near)
    other = np.where(present, np.maximum(brightness, 0)[np.where(present, who, 0)], 0)
    ratio = np.sqrt(other / np.maximum(brightness, 1e-30)[:, None])
    return np.asarray(np.any(present & (near < np.minimum(ratio, _FAR)), axis=1))


def _nearest(places: Array, reach: float) -> tuple[Array, Index]:
    """Distances and numbers of the nearest others; infinite where there is none in reach."""
    if len(places) < 2:
        return np.full((len(places), 1), np.inf), np.zeros((len(places), 1), np.intp)
    count = min(_NEIGHBOURS + 1, len(places))
    near, who = cKDTree(places).query(places, k=count, distance_upper_bound=reach * (1 + 1e-9))
    itself = who == np.arange(len(places))[:, None]
    near[itself] = np.inf
    return np.asarray(near), np.asarray(who)


def typical_widths(field: FilteredVolume, where: Index, alone: npt.NDArray[np.bool_]) -> Array:
    """Median FWHM of the brightest beads, (3,), in micrometres; NaN along an axis of one plane."""
    chosen = where[alone][:200] if np.any(alone) else where[:200]
    widths = np.full(3, np.nan)
    for axis in range(3):
        if field.volume.shape[axis] > 1:
            reach = int(np.ceil(1.0 / field.metric[axis]))
            lines, inside = lines_through(field.volume, chosen, axis, reach)
            measured = [_half_maximum(a[b]) for a, b in zip(lines, inside, strict=True)]
            typical = float(np.median(measured)) if measured else 1.5
            widths[axis] = max(typical, 1.5) * field.voxel_um[axis]
    return widths


def _half_maximum(line: Array) -> float:
    """Full width at half of the rise over a line's lower quartile, in samples."""
    above = line - np.percentile(line, 25)
    peak = int(np.argmax(above))
    both = (above[peak:], above[peak::-1])
    sides = [half_width(s, np.arange(len(s))) for s in both if s.min() < s[0] / 2]
    return float(2 * np.mean(sides)) if sides else float(len(line))


def half_width(profile: Array, at: AnyArray) -> float:
    """Where a profile first falls below half of its first value, by linear interpolation."""
    half = profile[0] / 2
    after = int(np.argmax(profile < half))
    high, low = profile[after - 1], profile[after]
    return float(at[after - 1] + (high - half) / (high - low) * (at[after] - at[after - 1]))


def lines_through(
    volume: Voxels, where: Index, axis: int, reach: int
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Intensities along one axis through voxels, (N, 2 reach + 1), and which are inside."""
    half = [reach if other == axis else 0 for other in range(3)]
    values, inside = boxes_around(volume, where, half)
    return values.reshape(len(where), 2 * reach + 1), inside[axis]


def boxes_around(
    volume: Voxels, where: Index, half: list[int]
) -> tuple[Array, list[npt.NDArray[np.bool_]]]:
    """Boxes of 2 half + 1 voxels around voxels, edges repeated, and what is inside, by axis."""
    index, inside = [], []
    for axis, (reach, size) in enumerate(zip(half, volume.shape, strict=True)):
        at = where[:, axis, None] + np.arange(-reach, reach + 1)
        inside.append((at >= 0) & (at < size))
        shape = [len(where), 1, 1, 1]
        shape[1 + axis] = at.shape[1]
        index.append(np.clip(at, 0, size - 1).reshape(shape))
    return volume[tuple(index)].astype(np.float64), inside
