"""Beads of known place and width, to check a measurement against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_HEIGHT = _BACKGROUND = 100.0
_REACH = 2.5  # widths: a Gaussian is negligible beyond


@dataclass(frozen=True, eq=False)
class PlantedBeads:
    """Gaussians of height 100 over a background of 100."""

    volume: npt.NDArray[np.float32]  #: (Z, Y, X)
    voxel_um: Array  #: (3,), z, y and x, in micrometres
    fwhm_um: Array  #: (3,), z, y and x, in micrometres
    centres_um: Array  #: (N, 3), z, y and x from the first voxel, in micrometres


def plant_beads(
    shape: tuple[int, int, int],
    voxel_um: Sequence[float],
    fwhm_um: Sequence[float],
    snr: float,
    *,
    pitch_um: Sequence[float] = (4.0, 1.8, 1.8),
    seed: int = 1,
) -> PlantedBeads:
    """Gaussian beads at random places around a grid, in white noise.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X) of the volume.
    voxel_um, fwhm_um : sequence of float
        (z, y, x) of a voxel and full widths at half maximum of the beads, in micrometres.
    snr : float
        Height of the beads over the standard deviation of the noise.
    pitch_um : sequence of float, optional
        (z, y, x) of the grid, in micrometres; the beads lie up to 0.12 of it beside its nodes.
    seed : int, optional
        The same seed gives the same volume.
    """
    rng = np.random.default_rng(seed)
    voxel, width, pitch = (np.asarray(v, np.float64) for v in (voxel_um, fwhm_um, pitch_um))
    sides = [
        np.arange(0.6 * p, n * d - 0.6 * p, p) for n, d, p in zip(shape, voxel, pitch, strict=True)
    ]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
    centres = grid + rng.uniform(-0.12, 0.12, grid.shape) * pitch
    volume = rng.normal(_BACKGROUND, _HEIGHT / snr, shape).astype(np.float32)
    for centre in centres:
        low = np.maximum(np.ceil((centre - _REACH * width) / voxel).astype(int), 0)
        high = np.minimum(((centre + _REACH * width) / voxel).astype(int) + 1, shape)
        z, y, x = (
            np.exp(-4 * np.log(2) * ((np.arange(a, b) * d - c) / w) ** 2)
            for a, b, d, c, w in zip(low, high, voxel, centre, width, strict=True)
        )
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        volume[box] += _HEIGHT * z[:, None, None] * y[:, None] * x
    return PlantedBeads(volume, voxel, width, centres)
