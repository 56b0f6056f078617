"""The microscope's optics: NA, wavelength, refractive index, pixel, and what follows.

Point spread functions come from psfmodels (the vectorial Gibson-Lanni model of Aguet et
al., Opt. Express 17:6829, 2009). Lengths are in micrometres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .psf_process import made_apart
from .scans import InputError

_PLANES_AT_ONCE = 2


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
        _check("pixel size", self.pixel_um, 0.005, 20.0, "µm, for instance 0.103")
        _check("emission wavelength", self.wavelength_um, 0.2, 2.0, "µm, for instance 0.519")
        _check("refractive index", self.immersion_index, 1.0, 1.8, "for instance 1.515 for oil")
        _check("numerical aperture (NA)", self.na, 0.05, 1.7, "for instance 1.4")
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

    @property
    def cutoff_per_um(self) -> float:
        """Highest lateral frequency that passes the objective, 2 NA / λ, per micrometre."""
        return 2 * self.na / self.wavelength_um

    def as_dict(self) -> dict[str, float]:
        """The four values by name, for provenance and settings."""
        return asdict(self)


def _check(what: str, value: float, low: float, high: float, example: str) -> None:
    if value is None or not np.isfinite(value):
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
) -> npt.NDArray[np.float64]:
    """Wide-field point spread function, not normalised plane by plane.

    Parameters
    ----------
    optics : Optics
        NA, wavelength, immersion index and pixel.
    z_um : array_like, shape (Z,)
        Defocus, in micrometres.
    size : int
        Odd number of pixels on a side.
    sample_index : float, optional
        Refractive index of the sample; by default that of the immersion, hence no
        spherical aberration.
    depth_um : float, optional
        Depth of the source below the coverslip, in micrometres, at or above 0; with an
        index mismatch it sets the spherical aberration.
    samples : int, optional
        Odd number of radial samples a pixel; by default as many as planes of equal energy
        (within 3 %) need.

    Returns
    -------
    numpy.ndarray, shape (Z, size, size)
        Intensity; planes without aberration hold the same total as far as ``size`` reaches.

    References
    ----------
    Aguet et al., Opt. Express 17:6829 (2009), as implemented in psfmodels.
    """
    heights = np.atleast_1d(np.asarray(z_um, dtype=float))
    options: dict[str, Any] = {
        "nx": size,
        "dxy": optics.pixel_um,
        "pz": depth_um,
        "wvl": optics.wavelength_um,
        "params": _model_parameters(optics, sample_index, samples),
        "normalize": False,
    }
    apart = made_apart(heights, options)
    if apart is not None:
        return apart
    import psfmodels

    # psfmodels holds Python's global lock; in small pieces others get their turn beside it.
    pieces = np.array_split(heights, range(_PLANES_AT_ONCE, len(heights), _PLANES_AT_ONCE))
    make: Callable[..., npt.NDArray[np.float64]] = psfmodels.vectorial_psf
    return np.concatenate([make(piece, **options) for piece in pieces])


def confocal_psf(psf: npt.NDArray[Any], optics: Optics) -> npt.NDArray[Any]:
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
    n = psf.shape[-1]
    radius_um = 0.61 * optics.wavelength_um / optics.na
    at = np.fft.fftfreq(n, 1 / n)
    # A soft edge of one pixel keeps a pinhole smaller than the pixel from vanishing.
    disc = np.clip(radius_um / optics.pixel_um - np.hypot(at[:, None], at[None]) + 0.5, 0, 1)
    disc *= np.pi * radius_um**2 / disc.sum()
    detected = np.fft.irfft2(np.fft.rfft2(psf) * np.fft.rfft2(disc), s=(n, n))
    return np.asarray(psf * np.maximum(detected, 0), psf.dtype)


def _model_parameters(
    optics: Optics, sample_index: float | None, samples: int | None
) -> dict[str, float]:
    """What psfmodels wants to know of the microscope, by its own names."""
    index = optics.immersion_index
    if samples is None:
        # psfmodels interpolates samples along the radius; with too few of them a coarse
        # pixel gets too much light in focus. The number must be odd to stay centred.
        coarse = optics.pixel_um * 4 * optics.na / optics.wavelength_um
        samples = 2 * math.ceil(coarse) + 1
    return {
        "NA": optics.na,
        "ni": index,
        "ni0": index,
        "ns": index if sample_index is None else sample_index,
        # No coverslip term: design and actual conditions agree, so only the mismatch
        # between sample and immersion aberrates.
        "ng": index,
        "ng0": index,
        "tg": 0.0,
        "tg0": 0.0,
        "sf": samples,
    }
