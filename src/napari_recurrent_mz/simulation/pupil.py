"""Point spread functions of a microscope with aberrations, computed from its pupil with PyTorch.

The vectorial Debye integral as a Fourier transform of the pupil (Leutenegger et al., Opt. Express
14:11277, 2006), averaged over polarisations: it takes any wavefront error, and runs on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..core.optics import Optics

_LARGEST_GRID = 1024  # samples on a side
_PLANES_AT_ONCE = 16


@dataclass(frozen=True)
class Wavefront:
    """How the wavefront in the pupil differs from a sphere, past tilt and defocus, in waves rms."""

    astigmatism: tuple[float, float] = (0.0, 0.0)  # the two Zernike coefficients
    coma: tuple[float, float] = (0.0, 0.0)
    trefoil: tuple[float, float] = (0.0, 0.0)
    spherical: float = 0.0
    sample_index: float | None = None
    depth_um: float = 0.0

    def waves(self, optics: Optics, sine: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
        """The error in waves at pupil positions (n sin θ, azimuth); tilt and defocus left out."""
        rho = sine / optics.na
        shapes = (
            (self.astigmatism, math.sqrt(6) * rho**2, 2),
            (self.coma, math.sqrt(8) * (3 * rho**3 - 2 * rho), 1),
            (self.trefoil, math.sqrt(8) * rho**3, 3),
        )
        waves = self.spherical * math.sqrt(5) * (6 * rho**4 - 6 * rho**2 + 1)
        for (cosine, sin), radial, order in shapes:
            waves = waves + radial * (cosine * (order * angle).cos() + sin * (order * angle).sin())
        if self.sample_index is not None:
            axial = (self.sample_index**2 - sine**2).clamp_min(1e-4).sqrt()
            waves = waves + self.depth_um / optics.wavelength_um * _without_defocus(
                axial, (optics.immersion_index**2 - sine**2).clamp_min(1e-4).sqrt(), rho <= 1
            )
        return waves


def _without_defocus(path: torch.Tensor, axial: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """A path less its best constant and its best multiple of the defocus term, over the pupil."""
    basis = torch.stack([torch.ones_like(axial[seen]), axial[seen]], dim=1).double()
    fitted = torch.linalg.lstsq(basis, path[seen].double()[:, None]).solution[:, 0]
    return path - float(fitted[0]) - float(fitted[1]) * axial


def pupil_psf(
    optics: Optics,
    z_um: np.ndarray,
    size: int,
    wavefront: Wavefront | None = None,
    device: torch.device | None = None,
    *,
    confocal: bool = False,
) -> torch.Tensor:
    """Point spread function on a periodic field, centred at (0, 0), each plane with the total 1."""
    coarse = optics.pixel_um * 4 * optics.na / optics.wavelength_um
    finer = 2 * math.ceil((coarse - 1) / 2 - 1e-6) + 1 if coarse > 1 else 1  # odd: centres agree
    field = _field(optics, float(np.abs(z_um).max()), size, finer)
    sample_um = optics.pixel_um / finer
    planes = []
    for some in _intensities(optics, z_um, field * finer, sample_um, wavefront, device):
        seen = some * _through_pinhole(some, optics, sample_um) if confocal else some
        planes.append(_folded(_binned(seen, finer), size))
    psf = torch.cat(planes)
    totals = psf.sum(dim=(1, 2), keepdim=True)
    return psf / (totals.max() if confocal else totals)


def _through_pinhole(detected: torch.Tensor, optics: Optics, sample_um: float) -> torch.Tensor:
    """Detection through a pinhole of one Airy unit, planes (Z, N, N) with the centre at (0, 0)."""
    radius_um = 0.61 * optics.wavelength_um / optics.na
    size = detected.shape[-1]
    at = torch.fft.fftfreq(size, 1 / size, device=detected.device)
    disc = (radius_um / sample_um - torch.hypot(at[:, None], at[None]) + 0.5).clamp(0, 1)
    spectrum = torch.fft.rfft2(detected) * torch.fft.rfft2(disc)
    seen: torch.Tensor = torch.fft.irfft2(spectrum, s=(size, size)).clamp_min_(0)
    return seen


def _field(optics: Optics, defocus_um: float, size: int, finer: int) -> int:
    """Pixels on a side of the field to compute: all of the light, as far as memory allows."""
    if size * finer > _LARGEST_GRID:
        return _LARGEST_GRID // finer // 2 * 2
    steep = optics.na / math.sqrt(optics.immersion_index**2 - optics.na**2)
    pixels = math.ceil(2 * defocus_um * steep / (size * optics.pixel_um))
    return size * min(max(pixels, 1), _LARGEST_GRID // (size * finer))


def _intensities(
    optics: Optics,
    z_um: np.ndarray,
    size: int,
    sample_um: float,
    wavefront: Wavefront | None,
    device: torch.device | None,
) -> Iterator[torch.Tensor]:
    """Intensities (some Z, size, size) on a fine grid, centre at (0, 0), some planes at a time."""
    line = torch.fft.fftfreq(size, sample_um, device=device) * optics.wavelength_um
    sine = torch.hypot(line[:, None], line[None])  # n sin θ
    angle = torch.atan2(line[:, None], line[None])
    edge = float(line[1] - line[0])
    amplitude = ((optics.na - sine) / edge + 0.5).clamp(0, 1)  # a soft edge of one sample
    inside = amplitude > 0
    axial = (optics.immersion_index**2 - sine**2).clamp_min(1e-4).sqrt()  # n cos θ
    cosine = axial / optics.immersion_index
    amplitude = amplitude / cosine.sqrt()  # √cos θ of an aplanatic lens, over the Jacobian cos θ
    even, odd = (1 + cosine) / 2, (1 - cosine) / 2
    across = sine / optics.immersion_index
    # Fields x of x-polarised light, y of y, the two mixed ones (alike), z of x, z of y.
    components = [
        even - odd * (2 * angle).cos(),
        even + odd * (2 * angle).cos(),
        math.sqrt(2) * odd * (2 * angle).sin(),
        across * angle.cos(),
        across * angle.sin(),
    ]
    fields = torch.stack(components) * amplitude
    waves = torch.zeros_like(sine) if wavefront is None else wavefront.waves(optics, sine, angle)
    waves = torch.where(inside, waves, 0.0)
    heights = torch.as_tensor(z_um, dtype=torch.float32, device=device)
    for some in torch.split(heights, _PLANES_AT_ONCE):
        phase = 2 * math.pi * (axial / optics.wavelength_um * some[:, None, None] + waves)
        carried = torch.polar(torch.ones_like(phase), phase)
        total = torch.zeros_like(phase)
        for part in fields:
            total += torch.fft.ifft2(part * carried).abs().square_()
        yield total


def _binned(fine: torch.Tensor, finer: int) -> torch.Tensor:
    """Sums over pixels of ``finer`` × ``finer`` samples, the middle one of the first at (0, 0)."""
    if finer == 1:
        return fine
    count, size = len(fine), fine.shape[1] // finer
    shift = (finer - 1) // 2
    turned = fine.roll((shift, shift), dims=(1, 2))
    return turned.reshape(count, size, finer, size, finer).sum(dim=(2, 4))


def _folded(psf: torch.Tensor, size: int) -> torch.Tensor:
    """A wider or narrower centred field on a periodic one of ``size`` pixels."""
    wide = psf.shape[-1]
    if wide == size:
        return psf
    if wide > size:  # a multiple
        times = wide // size
        return psf.reshape(-1, times, size, times, size).sum(dim=(1, 3))
    out = psf.new_zeros(len(psf), size, size)
    at = (torch.fft.fftfreq(wide, 1 / wide).round().long() % size).to(psf.device)
    out[:, at[:, None], at[None]] = psf
    return out
