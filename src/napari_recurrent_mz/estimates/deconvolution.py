"""A non-negative object that explains the scans through the optics (Richardson-Lucy).

The object is a pile of sheets around the scans; each scan is their sum, blurred by H(k, z).
Richardson, J. Opt. Soc. Am. 62:55 (1972); Lucy, Astron. J. 79:745 (1974); acceleration: Biggs
and Andrews, Appl. Opt. 36:1766 (1997); unknown light beyond the edges: Bertero and Boccacci,
Astron. Astrophys. 437:369 (2005).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from ..core.arrays import Array
from ..core.device import Device, available_cores, uploaded
from ..core.optics import Optics
from ..core.progress import never, stoppable, tell
from ..core.scans import FloatArray, Heights, Scans, is_surface, stack_of
from .covariance import CovarianceTable, linear_table, transfer_table
from .lmmse import Weights, linear_weights
from .normalisation import quantile
from .object_sheets import Blurs, Part, parts_of, pixels_per_value, sheet_heights
from .radial_filter import FilterCache, RadialFilter, expand

ITERATIONS = 30
"""Enough for isolated structure to draw together, few enough that noise does not."""

# Of one pixel of one sheet in one iteration; the CPU's, per core, was measured.
_SECONDS_PER_VALUE = {"cuda": 1e-10, "mps": 2e-9, "cpu": 9e-9}
_FIXED_S = 0.6  # of an object, however small; measured on a CPU

_SLACK = 0.25  # see _background
_FLOOR = 0.005  # of the bright signal: keeps quotients tame where there is no light
_LARGEST_STEP = 0.98


@dataclass(frozen=True)
class Levels:
    """Intensities that the fit starts from, in the scans' units."""

    background: float  # camera offset and stray light, which no object accounts for
    bright: float  # of the signal above it, as is the mean
    mean: float

    @classmethod
    def of(cls, images: torch.Tensor) -> Levels:
        """The levels of images (M, Y, X)."""
        background = _background(images)
        bright = max(_quantiles(images, 0.999)[0] - background, 1e-12)
        return cls(background, bright, max(float(images.mean()) - background, 1e-3 * bright))


SheetWeighting = Callable[["SheetImages", Heights], Weights]
"""Weights (T, L, K) of the sheets for heights (T,), such as :meth:`SheetImages.imaged`."""


class ObjectImages(ABC):
    """Images of a non-negative object, in the scans' units: a base of what has one."""

    levels: Levels
    scan_z_um: Array

    @abstractmethod
    def filtered(
        self, z_um: float | Heights, weights: SheetWeighting, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The sheets filtered by the weights (T, L, K) of heights (T,), or of every pixel's own."""

    def tensor(self, z_um: float | Heights) -> torch.Tensor:
        """The object's image at ``z_um`` (a height, several, or a surface), on the device."""
        return self.filtered(z_um, SheetImages.imaged) + self.levels.background

    def plane(self, z_um: float | Heights) -> FloatArray:
        """The object's image at ``z_um`` micrometres, float32 (Y, X)."""
        return self.tensor(z_um).cpu().numpy()

    def object_gain(self, z_um: float | Heights, out: torch.Tensor | None = None) -> torch.Tensor:
        """The object's image less the linear estimate from its images at the scans."""
        return self.filtered(z_um, SheetImages.beyond, out)

    def explained(self, number: int) -> torch.Tensor:
        """The wide-field image that the object accounts for at a scan: tensor (Y, X)."""
        z_um = float(self.scan_z_um[number])
        image = self.filtered(z_um, lambda sheets, _: sheets.radial_to_scans[number][None])
        return image + self.levels.background


class SheetImages(ObjectImages):
    """Images of an object that is a pile of sheets at ``sheets_um`` (L,)."""

    words = "non-negative object"
    optics: Optics
    target: str
    sheets_um: Array
    table: CovarianceTable
    filter: RadialFilter
    device: torch.device | None

    @property
    @abstractmethod
    def spectra(self) -> Iterable[torch.Tensor]:
        """The transforms of the sheets: tensors (L, Y', X'/2 + 1), some after others."""

    def beyond(self, z_um: Heights) -> Weights:
        """Weights of the sheets for :meth:`object_gain`, of heights (T,): (T, L, K)."""
        span_um = float(np.ptp([*self.scan_z_um, *z_um]))
        field = self.filter.shape if self.target == "widefield" else None
        table = linear_table(self.optics, span_um, field)
        _, mix = linear_weights(self.optics, self.scan_z_um, z_um, table=table, target=self.target)
        from_scans: Weights = np.einsum("tmk,mlk->tlk", mix, self.radial_to_scans)
        return self.imaged(z_um) - from_scans

    @cached_property
    def radial_to_scans(self) -> Weights:
        """H(k) from every sheet to every scan, shape (M, L, K)."""
        return self._radial(self.scan_z_um)

    def imaged(self, z_um: Heights) -> Weights:
        """Weights of the sheets for the images at heights (T,), shape (T, L, K)."""
        if self.target == "widefield":
            return self._radial(z_um)
        # A confocal section is thinner than the sheets are apart: the object between them is
        # taken as a straight blend of its neighbours.
        dof = self.optics.depth_of_field_um
        apart = float(self.sheets_um[1] - self.sheets_um[0])
        table = transfer_table(self.optics, float(np.ptp(self.sheets_um)), self.target)
        between = np.linspace(-1, 1, 17)
        share = (1 - np.abs(between)) / np.sum(1 - np.abs(between))
        distance = z_um[:, None, None] - self.sheets_um[:, None] - between * apart
        blended: Weights = np.einsum("b,tlbk->tlk", share, table.at(distance / dof))
        return blended

    def _radial(self, z_um: Heights) -> Weights:
        """H(k, z − sheet) for heights (T,), shape (T, L, K)."""
        return self.table.at((z_um[:, None] - self.sheets_um) / self.optics.depth_of_field_um)

    def filtered(
        self, z_um: float | Heights, weights: SheetWeighting, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See :class:`ObjectImages`."""
        if not is_surface(z_um):
            images = self.image(weights(self, np.atleast_1d(z_um)), FilterCache(image=out))
            return images if np.ndim(z_um) else images[0]
        surface = np.asarray(z_um)
        expansion = expand(
            lambda nodes: np.concatenate([weights(self, node) for node in nodes[:, None]]),
            surface,
            self.optics.depth_of_field_um,
        )
        return self.filter.along(self.spectra, expansion, surface, self.words)

    def image(self, radial: Weights, cache: FilterCache | None = None) -> torch.Tensor:
        """Σ over the sheets filtered by ``radial`` (T, L, K): (T, Y, X), without the background."""
        cache = cache or FilterCache()
        weights = uploaded(radial, self.device)
        cache.spectrum = self.filter.mix(self.spectra, weights, cache.responses, out=cache.spectrum)
        cache.image = self.filter.back(cache.spectrum, out=cache.image)
        return cache.image


class NonnegativeEstimate(SheetImages):
    """A non-negative object fitted to scans: ``density`` (V,) of sheets at ``sheets_um`` (L,)."""

    def __init__(
        self,
        scans: Scans,
        optics: Optics,
        *,
        iterations: int = ITERATIONS,
        levels: Levels | None = None,
        device: torch.device | None = None,
        stopped: Callable[[], bool] | None = None,
        target: str = "widefield",
    ) -> None:
        stack = stack_of(scans)
        self.scan_z_um, self.optics, self.target = stack.z_um, optics, target
        self.sheets_um = sheet_heights(stack.z_um, optics.depth_of_field_um)
        self.table = transfer_table(optics, float(self.sheets_um[-1] - self.sheets_um[0]))
        self.device = device
        self.filter = RadialFilter(stack.shape, optics, self.table, device)
        images = torch.from_numpy(stack.images).to(device)
        self.levels = levels or Levels.of(images)
        signal = images - self.levels.background
        every = pixels_per_value(
            self.scan_z_um, self.sheets_um, optics, self.table, self.filter.padded
        )
        on_cpu = device is None or device.type == "cpu"
        self.parts = parts_of(every, self.filter.padded, on_cpu)
        level = self.levels.mean / len(self.sheets_um)
        start = torch.full((self.parts[-1].values.stop,), level, device=device)
        self.density = self._iterate(start, signal, iterations, stopped or never)

    def store_spectra(self, spectra: Iterable[torch.Tensor]) -> None:
        """Keep only what images need: the spectra of the sheets, wherever they wait."""
        self.density = torch.empty(0)
        self.spectra = spectra

    @cached_property
    def spectra(self) -> Iterable[torch.Tensor]:
        """The transforms of the sheets: tensors (L, Y', X'/2 + 1), some after others."""
        return list(self.transforms())

    def transforms(self) -> Iterator[torch.Tensor]:
        """Make :attr:`spectra`."""
        for part in self.parts:
            yield torch.fft.rfft2(part.of(self.density)) * self._area(part)

    def _iterate(
        self,
        start: torch.Tensor,
        signal: torch.Tensor,
        iterations: int,
        stopped: Callable[[], bool],
    ) -> torch.Tensor:
        """Accelerated Richardson-Lucy on the padded field, of which only the middle is seen."""
        seen = torch.nn.functional.pad(torch.ones_like(signal), self.filter.margins)
        floor = _FLOOR * self.levels.bright
        data = torch.nn.functional.pad((signal + floor).clamp_min_(0), self.filter.margins)
        with (
            stoppable(stopped),
            Blurs(self.filter, self.parts, self.radial_to_scans, self.device) as blurs,
        ):
            return self._accelerated(blurs, start, seen, data, iterations)

    def _accelerated(
        self,
        blurs: Blurs,
        start: torch.Tensor,
        seen: torch.Tensor,
        data: torch.Tensor,
        iterations: int,
    ) -> torch.Tensor:
        share = torch.empty_like(start)  # of an iteration's quotients that a value gets
        change = torch.zeros_like(start)
        now, before = start.clone(), start

        def share_out(part: Part, seen_by: torch.Tensor) -> None:
            torch.reciprocal(seen_by.clamp_min_(1e-3 * len(seen)), out=part.of(share))

        def correct(part: Part, quotient: torch.Tensor) -> torch.Tensor:
            """One step; how far a value goes on from the one before, and how far it goes: (2,)."""
            here, last = part.of(now), part.of(change)
            after = quotient.mul_(part.of(share)).mul_(here).clamp_min_(0)
            moved = after - here
            both = torch.stack([_dot(moved, last), _dot(moved, moved)])
            last.copy_(moved)
            here.copy_(after)
            return both

        def compare(scans: slice, explained: torch.Tensor) -> None:
            torch.div(data[scans], explained.clamp_min_(0).add_(floor), out=explained)

        def extrapolate(before: torch.Tensor, now: torch.Tensor, step: float, part: slice) -> None:
            before[part].mul_(-step).add_(now[part], alpha=1 + step).clamp_min_(0)

        blurs.to_object(seen, share_out)
        floor, norm = 1.001 * _FLOOR * self.levels.bright, 0.0
        areas = torch.tensor([self._area(part) for part in self.parts], dtype=torch.float64)
        for number in range(iterations):
            tell("fitting an object to the scans", number, iterations)
            quotients = blurs.to_scans(now, compare)
            norm_before = norm
            # One transfer an iteration: to read a result, a GPU must finish all that is queued.
            steps = torch.stack(blurs.to_object(quotients, correct)).cpu()
            along, norm = (areas @ steps.double()).tolist()
            # Biggs and Andrews: extrapolate by how far this step goes in the direction of the last.
            step = min(max(along / max(norm_before, 1e-30), 0.0), _LARGEST_STEP)
            blurs.do(partial(extrapolate, before, now, step), blurs.pieces)
            now, before = before, now
        return before

    def _area(self, part: Part) -> float:
        """Pixels that a value of a part stands for."""
        return self.filter.padded[0] * self.filter.padded[1] / (part.shape[1] * part.shape[2])


def object_seconds(shape: tuple[int, int], n_scans: int, device: Device) -> float:
    """Expected time to fit an object to scans of (Y, X) pixels, from operation counts."""
    pixels = (shape[0] + 128) * (shape[1] + 128)
    cores = available_cores() if device.kind == "cpu" else 1
    each = (20 + 0.8 * n_scans**2) * pixels * _SECONDS_PER_VALUE[device.kind] / cores
    return _FIXED_S + ITERATIONS * each


def _dot(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.dot(one.flatten(), other.flatten())


def _quantiles(values: torch.Tensor, *q: float) -> list[float]:
    flat = values.flatten()
    sample = flat[:: max(1, flat.numel() // 1_000_000)].cpu().numpy()
    return [quantile(sample, part) for part in q]


def _background(images: torch.Tensor) -> float:
    """Even intensity below everything: below the darkest pixels, for haze is the object's."""
    smooth = torch.nn.functional.avg_pool2d(images[:, None], min(5, *images.shape[-2:]), 1)
    dark, middle = _quantiles(smooth, 0.005, 0.5)
    return dark - _SLACK * (middle - dark)
