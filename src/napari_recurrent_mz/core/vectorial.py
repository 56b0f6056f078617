"""The image of a point as electromagnetic theory gives it, by height and radius.

The vectorial model of Gibson and Lanni: a fluorophore of fast random orientation, the high-aperture
integrals over the pupil, and the phase and the transmission at a surface between the sample and the
immersion. Equations as in Aguet et al., Opt. Express 17:6829 (2009). Lengths are in micrometres.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import j0, j1, roots_legendre

from .arrays import Array

Complex = npt.NDArray[np.complex128]

_FEWEST_ANGLES = 32
_AT_ONCE = 1 << 21  # Bessel functions of so many angles and radii


class Pupil(NamedTuple):
    """Angles in the immersion (A,), and the light of each by the Bessel order it spreads with."""

    sine: Array
    cosine: Array
    light: tuple[Complex, Complex, Complex]


def radial_intensity(
    na: float,
    wavelength_um: float,
    immersion_index: float,
    z_um: Array,
    radius_um: Array,
    *,
    sample_index: float,
    depth_um: float,
    spherical: float = 0.0,
) -> Array:
    """Intensity (Z, R) of a point, in units that do not depend on height or radius."""
    # ``z_um`` (Z,) is the defocus, ``radius_um`` (R,) the distance from the axis. The point is
    # ``depth_um`` below the surface of a sample of ``sample_index``; light beyond the critical
    # angle of an index below ``na`` fades with the depth. ``spherical`` is the primary spherical
    # aberration of the objective, Zernike's coefficient in waves rms.
    k = 2 * math.pi / wavelength_um
    steepness = immersion_index - math.sqrt(immersion_index**2 - na**2)
    radians = k * (na * np.max(radius_um) + steepness * (np.max(np.abs(z_um)) + 2 * depth_um))
    count = _FEWEST_ANGLES + math.ceil(radians / 3)
    pupil = _pupil(na, immersion_index, sample_index, k * depth_um, count)
    defocus = np.exp(-1j * k * immersion_index * np.outer(z_um, pupil.cosine))
    rho = pupil.sine * immersion_index / na
    waves = spherical * math.sqrt(5) * (6 * rho**4 - 6 * rho**2 + 1)
    light = [defocus * np.exp(2j * np.pi * waves) * part for part in pupil.light]
    pieces = max(1, radius_um.size * pupil.sine.size // _AT_ONCE)
    planes = []
    for radii in np.array_split(radius_um, pieces):
        v = k * immersion_index * np.outer(pupil.sine, radii)
        zeroth, first = j0(v), j1(v)
        second = np.divide(2 * first, v, out=np.ones_like(v), where=v > 0) - zeroth
        squares = [
            (part.real @ order) ** 2 + (part.imag @ order) ** 2
            for part, order in zip(light, (zeroth, first, second), strict=True)
        ]
        planes.append(squares[0] + 2 * squares[1] + squares[2])
    return np.concatenate(planes, axis=1)


def _pupil(na: float, ni: float, ns: float, k_depth: float, count: int) -> Pupil:
    """The pupil at so many angles, twice as many where there is a critical one among them."""
    theta, weight = _angles(math.asin(na / ni), math.asin(min(1.0, ns / ni)), count)
    sine, cosine = np.sin(theta), np.cos(theta)
    cosine_there = np.sqrt(1 - (ni / ns * sine) ** 2 + 0j)
    # Fresnel's coefficients of transmission, perpendicular and parallel to the plane of incidence.
    perpendicular = 2 * ni * cosine / (ni * cosine + ns * cosine_there)
    parallel = 2 * ni * cosine / (ns * cosine + ni * cosine_there)
    phase = np.exp(1j * k_depth * (ns * cosine_there + ni * (1 - ni / ns) * cosine))
    share = weight * np.sqrt(cosine) * sine * phase
    light = (
        share * (perpendicular + parallel * cosine_there),
        share * parallel * (ni / ns * sine),
        share * (perpendicular - parallel * cosine_there),
    )
    return Pupil(sine, cosine, light)


def _angles(widest: float, critical: float, count: int) -> tuple[Array, Array]:
    """Angles and weights of an integral, dense at the critical one, where light turns as a root."""
    at, weight = roots_legendre(count)
    part, weight = (at + 1) / 2, weight / 2
    if widest <= critical:
        return widest * part, widest * weight
    steps = np.concatenate([-critical * part, (widest - critical) * part])
    return critical + steps * np.tile(part, 2), 2 * np.abs(steps) * np.tile(weight, 2)
