"""The microscope's optics: NA, wavelength, refractive index, pixel, and what follows.

Point spread functions are those of the vectorial Gibson-Lanni model (Aguet et al., Opt. Express
17:6829, 2009). Lengths are in micrometres.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from .arrays import AnyArray, Array, real_array, real_number, real_values, with_axes
from .errors import InputError, together

WIDEST_GAP_DOF = 10.0
"""Gap between two scans, in depths of field, in the middle of which half of the variance of a plane
is unknown: the square of the expected error of linear MMSE, for a sample as in planning."""

ALIKE = 0.001  # of a value: those that differ by less are the same one
_FARTHEST_UM = 1e4  # farther out of focus a point is no image
_RADII = 32  # in λ / NA: sixteen in a period of the finest pattern, and a spline between


@dataclass(frozen=True)
class Optics:
    """Objective, emission and camera.

    Parameters
    ----------
    na : float
        Numerical aperture, above 0 and below ``immersion_index``.
    wavelength_um : float
        Emission wavelength, in micrometres (0.2 to 2).
    immersion_index : float
        Refractive index of the immersion medium (1 air, 1.33 water, 1.515 oil).
    pixel_um : float
        Pixel size in the sample, in micrometres (0.005 to 20).

    Raises
    ------
    InputError
        If a value is missing, not finite or outside its range.
    """

    na: float
    wavelength_um: float
    immersion_index: float
    pixel_um: float

    def __post_init__(self) -> None:
        um, oil = "µm, for instance", "for instance 1.515 for oil"
        together(
            partial(_check, "pixel size", self.pixel_um, 0.005, 20.0, f"{um} 0.103"),
            partial(_check, "emission wavelength", self.wavelength_um, 0.2, 2.0, f"{um} 0.52"),
            partial(_check, "refractive index", self.immersion_index, 1.0, 1.8, oil),
            partial(_check, "numerical aperture (NA)", self.na, 0.05, 1.7, "for instance 1.4"),
        )
        if self.na >= self.immersion_index:
            raise InputError(
                f"The NA {self.na:g} is not below the refractive index {self.immersion_index:g}: "
                "correct one of them (oil 1.515, water 1.33, air 1.0)."
            )

    @property
    def depth_of_field_um(self) -> float:
        """n λ / NA², in micrometres: 0.40 for the paper's 63×/1.4 objective at 0.519 µm."""
        return self.immersion_index * self.wavelength_um / self.na**2

    @property
    def resolution_um(self) -> float:
        """Smallest lateral period that passes the objective, λ / (2 NA), in micrometres."""
        return self.wavelength_um / (2 * self.na)

    def scans_without_gaps(self, span_um: float) -> int:
        """Fewest evenly spaced scans from end to end that leave no gap of WIDEST_GAP_DOF."""
        return max(2, 1 + math.ceil(span_um / (WIDEST_GAP_DOF * self.depth_of_field_um) - 1e-6))

    @property
    def cutoff_per_um(self) -> float:
        """Highest lateral frequency that passes the objective, 2 NA / λ, per micrometre."""
        return 2 * self.na / self.wavelength_um

    def as_dict(self) -> dict[str, float]:
        """The four values by name, for provenance and settings."""
        return asdict(self)


def _check(what: str, value: float, low: float, high: float, example: str) -> None:
    if not math.isfinite(real_number(value)):
        raise InputError(f"The {what} is missing: give it ({example}).")
    if not low <= value <= high:
        raise InputError(
            f"The {what} {value:g} is outside {low:g} to {high:g}: give it ({example})."
        )


def widefield_psf(
    optics: Optics,
    z_um: npt.ArrayLike,
    size: int,
    *,
    sample_index: float | None = None,
    depth_um: float = 0.0,
    samples: int | None = None,
) -> Array:
    """Wide-field point spread function, not normalised plane by plane.

    Parameters
    ----------
    optics : Optics
        NA, wavelength, immersion index and pixel.
    z_um : array_like, shape (Z,)
        Defocus, in micrometres; with ``depth_um``, height above the coverslip that a sample
        of the immersion's index would be in focus at.
    size : int
        Odd number of pixels on a side.
    sample_index : float, optional
        Refractive index of the sample; by default that of the immersion, hence no
        spherical aberration.
    depth_um : float, optional
        Depth of the source below the coverslip, in micrometres, at or above 0; with an
        index mismatch it sets the spherical aberration.
    samples : int, optional
        Number of samples across a pixel, whose light is averaged; by default as many as planes
        of equal energy (within 0.3 %) need. With 1 it is that in the middle of the pixel.

    Returns
    -------
    numpy.ndarray, shape (Z, size, size)
        Intensity; planes without aberration hold the same total as far as ``size`` reaches.

    References
    ----------
    Aguet et al., Opt. Express 17:6829 (2009).
    """
    from .vectorial import radial_intensity

    heights = real_values(z_um, "The list of heights")
    if np.abs(heights).max() > _FARTHEST_UM:
        raise InputError(
            f"The defocus goes to {np.abs(heights).max():.3g} µm: give no more than "
            f"{_FARTHEST_UM:,.0f} µm."
        )
    if samples is None:
        # With too few of them a coarse pixel gets too much light in focus.
        coarse = optics.pixel_um * 4 * optics.na / optics.wavelength_um
        samples = 2 * math.ceil(coarse) + 1
    step_um = optics.wavelength_um / optics.na / _RADII
    farthest_um = math.sqrt(2) * (size // 2 + 0.5) * optics.pixel_um
    radius_um = step_um * np.arange(math.ceil(farthest_um / step_um) + 2.0)
    intensity = radial_intensity(
        optics.na,
        optics.wavelength_um,
        optics.immersion_index,
        heights,
        radius_um,
        sample_index=optics.immersion_index if sample_index is None else sample_index,
        depth_um=depth_um,
    )
    return _round(intensity, optics.pixel_um / step_um, size, samples)


def _round(intensity: Array, pixel: float, size: int, samples: int) -> Array:
    """Images of profiles (Z, R), ``pixel`` in steps of R, ``samples``² averaged in each pixel."""
    from scipy.interpolate import CubicSpline

    spline = CubicSpline(
        np.arange(intensity.shape[1]), intensity, axis=1, bc_type=("clamped", "not-a-knot")
    )
    y, x = np.tril_indices(size // 2 + 1)  # an eighth of the image; the others are the same
    within = (np.arange(samples) + 0.5) / samples - 0.5
    eighth = np.zeros((len(intensity), len(y)))
    for up in within:
        for right in within:
            eighth += spline(pixel * np.hypot(y + up, x + right))
    at = np.abs(np.arange(size) - size // 2)
    row, column = np.maximum(at[:, None], at), np.minimum(at[:, None], at)
    return eighth[:, row * (row + 1) // 2 + column] / samples**2


def confocal_psf(psf: AnyArray, optics: Optics) -> AnyArray:
    """Point spread function of a confocal with a pinhole of one Airy unit.

    Detection is the wide-field point spread function blurred by the pinhole; illumination
    is a focused laser, here of the same point spread function (Stokes shift neglected).

    Parameters
    ----------
    psf : numpy.ndarray, shape (Z, N, N), N odd
        Wide-field, as :func:`widefield_psf` gives it.
    optics : Optics
        Those of ``psf``; where it is narrower than a pixel, the result is wrong.

    Returns
    -------
    numpy.ndarray, shape (Z, N, N)
        In the square of the input's units, times µm².
    """
    called = "The point spread function"
    psf = with_axes(real_array(psf, called), called, "a stack (Z, Y, X)", 3)
    n = psf.shape[-1]
    if psf.shape[1] != n or not n % 2:
        raise InputError(
            f"The point spread function has the shape {psf.shape}: give (Z, N, N) with an odd N."
        )
    radius_um = 0.61 * optics.wavelength_um / optics.na
    at = np.fft.fftfreq(n, 1 / n)
    # A soft edge of one pixel keeps a pinhole smaller than the pixel from vanishing.
    disc = np.clip(radius_um / optics.pixel_um - np.hypot(at[:, None], at[None]) + 0.5, 0, 1)
    disc *= np.pi * radius_um**2 / disc.sum()
    detected = np.fft.irfft2(np.fft.rfft2(psf) * np.fft.rfft2(disc), s=(n, n))
    return np.asarray(psf * np.maximum(detected, 0), psf.dtype)
