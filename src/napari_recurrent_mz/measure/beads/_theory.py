"""The width that the optics give a bead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...core.optics import Optics, widefield_psf
from ...core.scans import InputError
from ._find import half_width

Array = npt.NDArray[np.float64]

_REACH = 1.6  # lateral and axial range, in resolutions and depths of field, beyond the bead
_FINE = 24  # samples in one of them
_ACROSS = 15  # voxels across a bead that is not a point


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
