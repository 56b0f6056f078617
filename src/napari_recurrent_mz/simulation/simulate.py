"""Simulated samples: a phantom, the image that a wide-field microscope makes of it, its noise.

A volume larger than the wanted stack, above, below and beside it, is filtered in three
dimensions by a vectorial point spread function, so that light from outside the
field of view and of the grid is there as in a real stack. Lengths are in micrometres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from ..core.arrays import Array
from ..core.device import check_room_in_memory
from ..core.errors import check_choice
from ..core.optics import Optics, confocal_psf, widefield_psf
from ..core.progress import tell
from ..core.scans import InputError
from .phantoms import KINDS, Space, phantom

Volume = npt.NDArray[np.float32]

_MARGIN_DOF = 12.0  # objects this far above and below the grid still send their blur into it
_FOCUS_SEARCH_UM = 12.0
_FINE_ENOUGH = 1.5  # pixels over λ / (4 NA) on which a confocal is modelled
_FINE_FIELD = 15  # pixels on a side, odd, outside of which its point spread function is nil
_BYTES = 32  # of memory for each voxel of the transform, at the peak: 32 to 34, measured
_MOST_SORTED = 2**24  # values of which PyTorch finds a quantile


@dataclass(frozen=True)
class Aberration:
    """Deviations of a microscope from its data sheet."""

    sample_index: float  #: refractive index of the sample
    depth_um: float  #: of what is imaged below the coverslip, in micrometres, >= 0


@dataclass(frozen=True, eq=False)
class Imaging:
    """A microscope ready to image volumes of one shape.

    Build it with :func:`imaging`.
    """

    optics: Optics
    planes: int  #: of the stacks that it makes
    size: int  #: their lateral pixels
    z_step_um: float
    margin: tuple[int, int]  #: voxels (z, lateral) of the object beyond the stack on each side
    transfer: torch.Tensor  #: transform of the wide-field point spread function
    confocal: torch.Tensor | None  #: the same for the confocal counterpart

    @property
    def object_shape(self) -> tuple[int, int, int]:
        """(Z, Y, X) voxels of the objects to image."""
        z, xy = self.margin
        return (self.planes + 2 * z, self.size + 2 * xy, self.size + 2 * xy)

    @property
    def space(self) -> Space:
        """Where to draw a phantom for this microscope."""
        return Space.of(self.optics, self.object_shape, self.z_step_um)

    def image(self, volume: npt.ArrayLike, *, confocal: bool = False) -> torch.Tensor:
        """Noise-free stack of an object.

        Parameters
        ----------
        volume : array_like, shape :attr:`object_shape`
            Fluorophore density.
        confocal : bool, optional
            The confocal counterpart instead of the wide-field stack.

        Returns
        -------
        torch.Tensor, float32, shape (planes, size, size)
            In units where a single voxel of density 1 peaks at 1 in focus in the wide-field
            stack. The confocal one is in the units in which an even, thin sheet in focus is
            as bright as in the wide-field stack.
        """
        transfer = self.confocal if confocal else self.transfer
        if transfer is None:
            raise ValueError("this Imaging was built without its confocal counterpart")
        depth = self.fft_planes
        density = torch.as_tensor(np.asarray(volume), dtype=torch.float32, device=transfer.device)
        shape = (depth, *self.object_shape[1:])
        stack = torch.fft.irfftn(torch.fft.rfftn(density, s=shape) * transfer, s=shape)
        z, xy = self.margin
        end = xy + self.size
        field: torch.Tensor = stack[z : z + self.planes, xy:end, xy:end].clamp_min_(0)
        return field

    @property
    def fft_planes(self) -> int:
        """Axial length of the transform: no object plane wraps round into the stack."""
        return 2 * (self.margin[0] + self.planes)

    @property
    def memory_bytes(self) -> int:
        """Memory that it takes to image a sample by both microscopes."""
        return _BYTES * self.fft_planes * math.prod(self.object_shape[1:])


def imaging(
    optics: Optics,
    *,
    planes: int,
    size: int,
    z_step_um: float,
    lateral_margin: int = 32,
    aberration: Aberration | None = None,
    confocal: bool = False,
    device: torch.device | None = None,
) -> Imaging:
    """Compute the point spread functions of a microscope for stacks of one shape.

    Parameters
    ----------
    optics : Optics
    planes, size : int
        Planes and lateral pixels of the stacks.
    z_step_um : float
        Distance between planes, in micrometres.
    lateral_margin : int, optional
        Pixels that the object reaches beyond the field on each side. Light from still
        farther away is that of the object repeated.
    aberration : Aberration, optional
        Index mismatch; by default none.
    confocal : bool, optional
        Whether to make the confocal counterpart too (pinhole of one Airy unit).
    device : torch.device, optional
        Where to image.
    """
    model = planned(optics, planes, size, z_step_um, lateral_margin)
    psf_at = _psf_model(optics, aberration)
    wide = _on_grid(model, psf_at, symmetric=aberration is None)
    kernel = _transform(wide / wide.max(), model.object_shape[1:], device)
    pinhole = None
    if confocal:
        narrow = _confocal_on_grid(model, psf_at, wide)
        pinhole = _transform(narrow / wide.max(), model.object_shape[1:], device)
    return replace(model, transfer=kernel, confocal=pinhole)


def planned(
    optics: Optics, planes: int, size: int, z_step_um: float, lateral_margin: int = 32
) -> Imaging:
    """A microscope without its point spread functions; InputError if memory cannot hold them."""
    margin = (math.ceil(_MARGIN_DOF * optics.depth_of_field_um / z_step_um), lateral_margin)
    model = Imaging(optics, planes, size, z_step_um, margin, torch.empty(0), None)
    check_room_in_memory(
        model.memory_bytes,
        f"A sample of {planes:,} planes of {size:,} × {size:,} pixels, {z_step_um:g} µm apart, "
        "needs",
        "use fewer pixels or planes, or a larger z step",
    )
    return model


_PsfAt = Callable[[Optics, Array, int], Array]


def _psf_model(optics: Optics, aberration: Aberration | None) -> _PsfAt:
    """The wide-field point spread function at heights above its focus."""
    if aberration is None:
        return widefield_psf
    aberrated = partial(
        widefield_psf, sample_index=aberration.sample_index, depth_um=aberration.depth_um
    )
    search = np.linspace(-_FOCUS_SEARCH_UM, _FOCUS_SEARCH_UM, 241) + aberration.depth_um
    axial = aberrated(optics, search, 3)[:, 1, 1]
    focus = float(search[int(axial.argmax())])
    return lambda optics, heights, size: aberrated(optics, heights + focus, size)


def _lags_um(model: Imaging) -> Array:
    """Heights of the planes of the transform, circular: 0 first, (fft_planes,)."""
    circular = np.fft.fftfreq(model.fft_planes, 1 / model.fft_planes)
    return np.asarray(circular * model.z_step_um, np.float64)


def _on_grid(model: Imaging, psf_at: _PsfAt, *, symmetric: bool) -> Volume:
    """Wide-field point spread function at the lags of the transform, (fft_planes, n, n)."""
    size = model.object_shape[1] - 1 + model.object_shape[1] % 2  # odd, to have a middle
    lags = _lags_um(model)
    if not symmetric:
        return np.asarray(psf_at(model.optics, lags, size), np.float32)
    heights, inverse = np.unique(np.abs(np.round(lags, 9)), return_inverse=True)
    return np.asarray(psf_at(model.optics, heights, size)[inverse], np.float32)


def _confocal_on_grid(model: Imaging, psf_at: _PsfAt, wide: Volume) -> Volume:
    """The confocal counterpart of ``wide``, with the same total in focus."""
    optics = model.optics
    narrow = confocal_psf(wide, optics)
    coarse = optics.pixel_um * 4 * optics.na / optics.wavelength_um
    if coarse > _FINE_ENOUGH:
        # Illumination and detection meet on a scale that a coarse pixel averages over; it
        # matters near focus, where the spot is not much wider than a pixel.
        steep = optics.na / math.sqrt(optics.immersion_index**2 - optics.na**2)
        near = np.abs(_lags_um(model)) * steep < 3 * optics.pixel_um
        finer = 2 * math.ceil(coarse / _FINE_ENOUGH / 2) + 1  # odd, so that centres agree
        size = wide.shape[1]
        inner = min(size, _FINE_FIELD)
        fine = replace(optics, pixel_um=optics.pixel_um / finer)
        sharp = confocal_psf(psf_at(fine, _lags_um(model)[near], inner * finer), fine)
        middle = slice((size - inner) // 2, (size + inner) // 2)
        cells = sharp.reshape(-1, inner, finer, inner, finer).mean(axis=(2, 4))
        narrow[near, middle, middle] = cells
    return np.asarray(narrow * (wide[0].sum() / narrow[0].sum()), np.float32)


def _transform(psf: Volume, lateral: tuple[int, int], device: torch.device | None) -> torch.Tensor:
    """Transform of a centred point spread function, its centre moved to the origin."""
    kernel = torch.as_tensor(psf, device=device)
    n = kernel.shape[-1]
    kernel = torch.nn.functional.pad(kernel, (0, lateral[1] - n, 0, lateral[0] - n))
    centred = torch.roll(kernel, (-(n // 2), -(n // 2)), dims=(1, 2))
    transfer: torch.Tensor = torch.fft.rfftn(centred)
    return transfer


@dataclass(frozen=True)
class Camera:
    """Photon and read noise of a camera."""

    photons: float = 1000.0  #: at a signal of 1
    background: float = 0.0  #: photons of even background
    read_noise: float = 1.5  #: standard deviation, in electrons
    offset: float = 100.0  #: counts at no light
    gain: float = 1.0  #: counts per photon

    def expose(self, signal: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Counts of a noise-free signal (any shape), float32.

        The generator must live on the signal's device.
        """
        light = signal.clamp_min(0) * self.photons + self.background
        electrons = torch.poisson(light, generator=generator)
        noise = torch.randn(light.shape, generator=generator, device=light.device)
        return (electrons + self.read_noise * noise) * self.gain + self.offset

    def noiseless(self, signal: torch.Tensor) -> torch.Tensor:
        """The counts that :meth:`expose` gives on average."""
        return (signal * self.photons + self.background) * self.gain + self.offset


@dataclass(frozen=True, eq=False)
class Sample:
    """A simulated sample as two microscopes see it."""

    widefield: Volume  #: (Z, Y, X), camera counts with noise
    confocal: Volume  #: (Z, Y, X), the same
    noiseless: Volume  #: (Z, Y, X), the wide-field stack without noise
    z_um: Array  #: (Z,), heights in micrometres, from 0
    optics: Optics
    kind: str


def simulate_sample(
    kind: str,
    *,
    shape: tuple[int, int, int],
    z_step_um: float,
    optics: Optics,
    seed: int,
    camera: Camera | None = None,
    aberration: Aberration | None = None,
    device: torch.device | None = None,
) -> Sample:
    """Simulate a wide-field stack and its confocal counterpart.

    Parameters
    ----------
    kind : str
        One of :data:`~.KINDS`.
    shape : tuple of int
        (Z, Y, X) of the stacks, Y = X.
    z_step_um : float
        Distance between planes, in micrometres.
    optics : Optics
    seed : int
        The same seed gives the same sample (on the same kind of device).
    camera : Camera, optional
    aberration : Aberration, optional
    device : torch.device, optional

    Raises
    ------
    InputError
        If the kind is unknown or the field is not square.
    """
    check_choice("sample", kind, KINDS)
    if shape[1] != shape[2]:
        raise InputError(f"The field {shape[1]} × {shape[2]} is not square: give equal Y and X.")
    camera = camera or Camera()
    tell("point spread functions", 0, 4)
    microscope = imaging(
        optics,
        planes=shape[0],
        size=shape[1],
        z_step_um=z_step_um,
        aberration=aberration,
        confocal=True,
        device=device,
    )
    tell("sample", 1, 4)
    volume = phantom(kind, microscope.space, np.random.default_rng(seed))
    generator = torch.Generator(device or "cpu").manual_seed(seed)
    tell("wide-field image", 2, 4)
    wide = microscope.image(volume)
    wide = wide / quantile(wide, 7, 0.999)
    tell("confocal image", 3, 4)
    narrow = microscope.image(volume, confocal=True)
    narrow = narrow / quantile(narrow, 7, 0.9995)
    return Sample(
        camera.expose(wide, generator).cpu().numpy(),
        camera.expose(narrow, generator).cpu().numpy(),
        camera.noiseless(wide).cpu().numpy(),
        np.arange(shape[0], dtype=np.float64) * z_step_um,
        optics,
        kind,
    )


def quantile(stack: torch.Tensor, every: int, share: float) -> torch.Tensor:
    """A quantile of a stack by one of so many values, or of more where there are too many."""
    fewest = -(-stack.numel() // _MOST_SORTED)
    return torch.quantile(stack.flatten()[:: max(every, fewest)], share)


DEMO_OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)


def demo_sample() -> Sample:
    """The sample of ``recurrent-mz demo``: a worm through a 63×/1.4 objective, 10 µm deep."""
    return simulate_sample(
        "worm",
        shape=(51, 256, 256),
        z_step_um=0.2,
        optics=DEMO_OPTICS,
        seed=7,
        camera=Camera(photons=2000),
    )
