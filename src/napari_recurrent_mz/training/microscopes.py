"""Random microscopes and samples, by seed and number, that sets of scans are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import next_fast_len

from ..core.optics import Optics
from ..networks.recurrent_mz import NetworkConfig
from ..simulation.composites import composite
from ..simulation.phantoms import Space, log_uniform
from ..simulation.phantoms import phantom as draw_phantom
from ..simulation.pupil import Wavefront, pupil_psf
from ..simulation.simulate import quantile
from .examples import ExampleConfig, draw_count
from .sets import Sets, Stack, make_sets

_MARGIN_DOF = 12.0  # objects this far above and below the stack still send their blur into it
_LATERAL_MARGIN = 32  # pixels

OBJECTIVES: tuple[tuple[float, float], ...] = (
    (1.4, 1.518), (1.4, 1.515), (1.45, 1.518), (1.49, 1.518), (1.3, 1.515), (1.35, 1.406),
    (1.3, 1.406), (1.05, 1.406), (1.25, 1.33), (1.2, 1.333), (1.15, 1.333), (1.1, 1.333),
    (1.0, 1.333), (0.8, 1.333), (0.95, 1.0), (0.9, 1.0), (0.85, 1.0), (0.8, 1.0), (0.75, 1.0),
    (0.7, 1.0), (0.6, 1.0), (0.5, 1.0),
)  # fmt: skip
"""(NA, immersion index) that a general set is drawn from."""


@dataclass(frozen=True)
class SampleConfig(ExampleConfig):
    """What the examples of random samples in random microscopes look like."""

    # Relative frequency of each kind of sample: phantoms.KINDS and "composite".
    kinds: tuple[tuple[str, float], ...] = (
        ("composite", 0.40), ("beads", 0.09), ("neurites", 0.08), ("nuclei", 0.08), ("worm", 0.06),
        ("tissue", 0.06), ("embryo", 0.07), ("filaments", 0.04), ("membranes", 0.03),
        ("texture", 0.04), ("confocal", 0.05),
    )  # fmt: skip
    objectives: tuple[tuple[float, float], ...] = OBJECTIVES  # one drawn for every group
    wavelength_um: tuple[float, float] = (0.42, 0.72)
    pixel_per_nyquist: tuple[float, float] = (0.5, 1.6)  # over λ / (4 NA), drawn log-uniformly
    coarse_share: float = 0.3  # of the groups, whose pixel is drawn from coarse_pixel instead
    coarse_pixel: tuple[float, float] = (1.6, 7.0)
    step_dof: tuple[float, float] = (0.3, 0.9)  # between the planes of a stack
    planes: int = 52
    size: int = 192
    samples: int = 8  # of a group
    targets: int = 6
    far_share: float = 0.25
    scans: tuple[tuple[float, ...], ...] = (
        (0.06, 0.70, 0.0, 0.24),
        (0.0, 0.0, 1.0),
        (0.05, 0.25, 0.3, 0.2, 0.2),
        (0.0, 0.6, 0.4),
    )
    spacing_dof: tuple[float, float] = (1.2, 20.0)
    photons: tuple[float, float] = (60.0, 300000.0)
    wrong: float = 0.5  # share of the groups whose optics differ from what the network is told
    aberrated: float = 0.6  # share with a random wavefront error
    mismatched: float = 0.35  # share with an index mismatch
    target: str = "widefield"  # or "confocal"
    points: bool = False  # whether the object of the examples is points of light

    @property
    def set_bytes(self) -> float:
        """What a set of scans takes, on average."""
        planes = {m: m + self.targets * (m + 4) + 1 for m in self.shares}
        return 2.0 * self.size**2 * sum(share * planes[m] for m, share in self.shares.items())


_SIX = ((1.4, 1.515), (1.4, 1.518))  # the paper's objective, 63×/1.4
SETS = {
    "general": SampleConfig(),
    "beads": SampleConfig(
        kinds=(("beads", 1.0),), objectives=_SIX, wavelength_um=(0.5, 0.65), coarse_share=0.0,
        pixel_per_nyquist=(0.8, 1.5), spacing_dof=(4.0, 11.0), step_dof=(0.3, 0.6), far_share=0.1,
        scans=((0, 0.4, 0.6), (0, 0, 1.0), (0, 0.3, 0.4, 0.3)), photons=(200.0, 50000.0),
    ),
    "worm": SampleConfig(
        kinds=(("worm", 1.0),), objectives=_SIX, wavelength_um=(0.5, 0.54), coarse_share=0.0,
        pixel_per_nyquist=(0.8, 1.5), spacing_dof=(10.0, 19.0), step_dof=(0.7, 0.9), far_share=0.05,
        scans=((0, 1.0), (0, 0, 1.0), (0, 0.3, 0.7)), photons=(300.0, 30000.0),
    ),
    "plus": SampleConfig(
        target="confocal", scans=((0.0, 0.8, 0.0, 0.2), (0, 0, 1.0), (0, 0.2, 0.5, 0.3)),
        spacing_dof=(2.0, 16.0), far_share=0.1,
        objectives=tuple(pair for pair in OBJECTIVES if pair in (
            (1.4, 1.515), (1.2, 1.333), (1.4, 1.518), (1.1, 1.333), (0.95, 1.0), (0.85, 1.0),
            (1.0, 1.333), (1.3, 1.515), (1.45, 1.518))),
    ),
}  # fmt: skip
SETS["points"] = replace(SETS["beads"], points=True)
"""What networks learn from: any sample, or one kind; plus is for confocal planes, points for beads
of which the network sees the points that were found, too."""


@dataclass(frozen=True)
class Microscope:
    """What images a group, and what the user says of it."""

    optics: Optics  # the truth
    stated: Optics  # what the network is told
    z_step_um: float  # between the planes of a stack
    stretch: float  # heights that are told over true ones
    wavefront: Wavefront

    def margin(self) -> int:
        """Planes that a sample reaches beyond the stack at either end."""
        return int(np.ceil(_MARGIN_DOF * self.optics.depth_of_field_um / self.z_step_um))

    def space(self, config: SampleConfig) -> Space:
        """Where to draw a phantom."""
        wide, deep = config.size + 2 * _LATERAL_MARGIN, config.planes + 2 * self.margin()
        return Space.of(self.optics, (deep, wide, wide), self.z_step_um)


def draw_microscope(config: SampleConfig, seed: int, group: int) -> Microscope:
    """The microscope of a group."""
    rng = np.random.default_rng([seed, group])
    na, index = config.objectives[int(rng.integers(len(config.objectives)))]
    wavelength = float(rng.uniform(*config.wavelength_um))
    coarse = rng.random() < config.coarse_share
    ratio = log_uniform(rng, *(config.coarse_pixel if coarse else config.pixel_per_nyquist))
    stated = Optics(na, wavelength, index, ratio * wavelength / (4 * na))
    step = log_uniform(rng, *config.step_dof) * stated.depth_of_field_um
    true, stretch = stated, 1.0
    if rng.random() < config.wrong:
        wrong = rng.normal(0, [config.wrong_optics, 0.03, config.wrong_step])
        off = np.exp(np.clip(wrong, -0.1, 0.1))
        true = replace(
            stated,
            wavelength_um=float(wavelength * off[0]),
            na=float(min(na * off[1], index - 0.015)),
        )
        stretch = float(off[2])
    return Microscope(true, stated, step, stretch, _wavefront(config, rng, true))


def _wavefront(config: SampleConfig, rng: np.random.Generator, optics: Optics) -> Wavefront:
    wavefront = Wavefront()
    if rng.random() < config.aberrated:
        modes = rng.normal(size=7) * np.array([1, 1, 0.7, 0.7, 0.5, 0.5, 0.8])
        modes *= rng.uniform(0, 0.1) / np.linalg.norm(modes)
        a, b, c, d, e, f, g = modes.tolist()
        wavefront = Wavefront((a, b), (c, d), (e, f), g)
    if rng.random() < config.mismatched:
        low = max(1.33, optics.na + 0.01) if optics.immersion_index > 1.1 else 1.33
        sample = float(rng.uniform(low, max(low, 1.45)))
        depth = float(rng.uniform(0, 20 if optics.immersion_index > 1.1 else 8))
        wavefront = replace(wavefront, sample_index=sample, depth_um=depth)
    return wavefront


def draw_sample(
    config: SampleConfig, seed: int, group: int, number: int, kind: str | None = None
) -> npt.NDArray[np.float16]:
    """Sample ``number`` of a group, (Z, Y, X), its brightest voxel 1; of a random kind or this."""
    rng = np.random.default_rng([seed, group, number])
    names, shares = zip(*config.kinds, strict=True)
    drawn = str(rng.choice(names, p=np.array(shares) / sum(shares)))
    kind = kind or drawn
    space = draw_microscope(config, seed, group).space(config)
    volume = composite(space, rng) if kind == "composite" else draw_phantom(kind, space, rng)
    return (volume / max(float(volume.max()), 1e-9)).astype(np.float16)


@torch.no_grad()
def image_samples(
    config: SampleConfig,
    microscope: Microscope,
    samples: list[npt.NDArray[np.float16]],
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise-free stacks (B, Z, Y, X) of samples, and the stacks that a network is to make."""
    margin, wide = microscope.margin(), config.size + 2 * _LATERAL_MARGIN
    deep = 2 * next_fast_len(margin + config.planes, real=True)
    lags_um = np.fft.fftfreq(deep, 1 / deep) * microscope.z_step_um
    shape = (deep, wide, wide)
    inner = slice(_LATERAL_MARGIN, _LATERAL_MARGIN + config.size)

    def transfer(confocal: bool) -> torch.Tensor:
        psf = pupil_psf(
            microscope.optics, lags_um, wide, microscope.wavefront, device, confocal=confocal
        )
        transformed: torch.Tensor = torch.fft.rfftn(psf, s=shape)
        return transformed

    kernels = [transfer(False)] + ([transfer(True)] if config.target == "confocal" else [])
    stacks = torch.empty(
        len(samples), len(kernels), config.planes, config.size, config.size, device=device
    )
    for sample, images in zip(samples, stacks, strict=True):
        density = torch.from_numpy(sample).to(device).float()
        spectrum = torch.fft.rfftn(density, s=shape)
        for kernel, stack in zip(kernels, images, strict=True):
            image = torch.fft.irfftn(spectrum * kernel, s=shape)
            stack.copy_(image[margin : margin + config.planes, inner, inner].clamp_min_(0))
        bright = quantile(images[0], 11, 0.999).clamp_min(1e-9)
        top = images[0].max()
        images /= torch.where(top > 1e3 * bright, top, bright)
    return stacks[:, 0], stacks[:, -1]


@dataclass(frozen=True)
class Group:
    """One microscope and some samples, by their numbers alone."""

    config: SampleConfig
    seed: int
    number: int
    kinds: tuple[str, ...] = ()  # of the samples; without, they are drawn

    def samples(self) -> list[tuple[SampleConfig, int, int, int, str | None]]:
        """What :func:`draw_sample` is told."""
        kinds = self.kinds or (None,) * self.config.samples
        return [(self.config, self.seed, self.number, n, kind) for n, kind in enumerate(kinds)]

    def sets(
        self,
        network: NetworkConfig,
        device: torch.device,
        samples: Iterable[npt.NDArray[np.float16]] | None = None,
    ) -> list[Sets]:
        """For every entry of ``config.scans`` one set from each sample, drawn here if not given."""
        config, microscope = self.config, draw_microscope(self.config, self.seed, self.number)
        volumes = list(samples or (draw_sample(*one) for one in self.samples()))
        images, truths = image_samples(config, microscope, volumes, device)
        optics, step = microscope.stated, microscope.z_step_um
        z_um = np.arange(config.planes, dtype=np.float64) * (step * microscope.stretch)
        step_dof = step / optics.depth_of_field_um
        stacks = [Stack(*both, z_um, optics, step_dof) for both in zip(images, truths, strict=True)]
        rng, every = np.random.default_rng([self.seed, self.number, 99]), []
        for shares in config.scan_shares:
            count = draw_count(rng, shares)
            generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
            takes = [stack.draw(config, count, rng) for stack in stacks]
            every.append(make_sets(stacks, takes, network, device, generator))
        return every
