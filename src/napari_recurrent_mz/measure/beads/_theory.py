"""The width that the optics give a bead, and beads of known place and width to check against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...core.arrays import Array
from ...core.optics import Optics, widefield_psf
from ...core.scans import InputError
from ._find import half_width

_REACH = 1.6  # lateral and axial range, in resolutions and depths of field, beyond the bead
_FINE = 24  # samples in one of them
_ACROSS = 15  # voxels across a bead that is not a point

_HEIGHT = _BACKGROUND = 100.0  # of planted beads
_GAUSSIAN_REACH = 2.5  # widths: a Gaussian is negligible beyond


def theoretical_fwhm(optics: Optics, *, bead_um: float = 0.0) -> tuple[float, float]:
    """Full widths at half maximum of a bead in focus, without aberration.

    Half maximum of the vectorial point spread function itself, not of a Gaussian fitted to
    it, along a lateral line in focus and along the optical axis, and counted from zero light.

    Parameters
    ----------
    optics : Optics
        Its pixel is not used: the width is that before the camera.
    bead_um : float, optional
        Diameter of an evenly filled bead, in micrometres, 0 (a point) to 2.

    Returns
    -------
    lateral, axial : float
        In micrometres.

    Raises
    ------
    InputError
        If the diameter is out of range.
    """
    if not 0 <= bead_um <= 2:
        raise InputError(f"The bead diameter {bead_um:g} µm is outside 0 to 2 µm: give it in µm.")
    fine = optics.resolution_um / _FINE
    deep = optics.depth_of_field_um / _FINE
    far = bead_um / 2  # the far side of the bead is this much farther away than its middle
    r = np.arange(0, _REACH * optics.resolution_um + 2 * far + fine, fine)
    z = np.arange(0, _REACH * optics.depth_of_field_um + 2 * far + deep, deep)
    size = 2 * len(r) - 1
    psf = widefield_psf(replace(optics, pixel_um=fine), z, size)[:, size // 2, size // 2 :]
    image = _of_bead(psf, z, r, bead_um)
    across = np.arange(0, r[-1] - far, fine)
    along = np.arange(0, z[-1] - far, deep)
    return (
        2 * half_width(image(across, np.zeros_like(across)), across),
        2 * half_width(image(np.zeros_like(along), along), along),
    )


def _of_bead(psf: Array, z: Array, r: Array, bead_um: float) -> Callable[[Array, Array], Array]:
    """Image of a bead at lateral positions and heights, from the point's over (z, r)."""
    from scipy.interpolate import RectBivariateSpline

    point = RectBivariateSpline(z, r, psf)
    side = (np.arange(_ACROSS) + 0.5) / _ACROSS - 0.5
    filling = np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1).reshape(-1, 3)
    filling = filling[np.linalg.norm(filling, axis=1) <= 0.5] * bead_um

    def image(x: Array, height: Array) -> Array:
        radius = np.hypot(x[:, None] - filling[:, 2], filling[:, 1])
        far = np.abs(height[:, None] - filling[:, 0])
        return np.asarray(point.ev(far, radius).mean(axis=1))

    return image


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
        low = np.maximum(np.ceil((centre - _GAUSSIAN_REACH * width) / voxel).astype(int), 0)
        high = np.minimum(((centre + _GAUSSIAN_REACH * width) / voxel).astype(int) + 1, shape)
        z, y, x = (
            np.exp(-4 * np.log(2) * ((np.arange(a, b) * d - c) / w) ** 2)
            for a, b, d, c, w in zip(low, high, voxel, centre, width, strict=True)
        )
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        volume[box] += _HEIGHT * z[:, None, None] * y[:, None] * x
    return PlantedBeads(volume, voxel, width, centres)
