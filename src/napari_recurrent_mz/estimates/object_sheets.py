"""The pile of sheets that explains the scans: where they are, how fine they are, their blur."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import EllipsisType
from typing import Any, TypeVar

import numpy as np
import torch

from ..core.arrays import Array
from ..core.device import Cores
from ..core.optics import Optics
from .covariance import CovarianceTable
from .lmmse import Weights
from .radial_filter import AT_ONCE_ON_GPU, RadialFilter

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_SHEET_DOF = (0.7, 2.0)
_SHEETS_PER_GAP = 2.5  # coarser sheets explain close scans badly, finer ones change nothing
_MARGIN_DOF = 14.0  # light from farther above or below is even enough for the outermost sheet
_EVERY = (4, 2)  # pixels that a coarse sheet has a value for, per axis
_LOWEST_CONTRAST = 0.02  # of an even sheet's light: finer structure than this passes is left out
_AT_WORK = 400_000  # values that a core works on at a time: they stay in its cache
_CACHE_BYTES = 1_000_000_000  # larger responses are computed again every time


def sheet_heights(scan_z_um: Array, dof: float) -> Array:
    """Heights of the sheets for scans at some heights, in micrometres, from the lowest."""
    low, high = scan_z_um.min() - _MARGIN_DOF * dof, scan_z_um.max() + _MARGIN_DOF * dof
    # The mean gap: two scans at almost one height are no reason for hundreds of sheets.
    gaps = max(len(scan_z_um) - 1, 1)
    gap = float(np.ptp(scan_z_um)) / gaps or np.inf
    step = dof * float(np.clip(gap / dof / _SHEETS_PER_GAP, *_SHEET_DOF))
    return np.linspace(low, high, int(np.ceil((high - low) / step)) + 1)


@dataclass(frozen=True)
class Part:
    """Some neighbouring sheets of one fineness."""

    sheets: slice  # their numbers
    values: slice  # where their values are among all
    shape: tuple[int, int, int]  # (L, Y', X') of their values

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """The part of all values, shape (L, Y', X')."""
        return values[self.values].view(self.shape)


def pixels_per_value(
    scan_z_um: Array,
    sheets_um: Array,
    optics: Optics,
    table: CovarianceTable,
    padded: tuple[int, int],
) -> list[int]:
    """How many pixels a sheet has one value for, along each axis: 1, 2 or 4."""
    away = np.abs(sheets_um[:, None] - scan_z_um).min(axis=1) / optics.depth_of_field_um
    contrast = np.abs(table.at(away))
    pixels = np.ones(len(sheets_um), dtype=int)
    for every in _EVERY:
        if any(length % (2 * every) for length in padded):
            continue
        # Above half of what its own values could show: products of them are finer still.
        finest = 0.5 / (every * optics.pixel_um) * optics.wavelength_um / optics.na / 2
        seen = contrast[:, table.k > finest].max(axis=1, initial=0.0)
        pixels[(seen < _LOWEST_CONTRAST) & (pixels == 1)] = every
    return [int(every) for every in pixels]


def parts_of(every: Sequence[int], padded: tuple[int, int], on_cpu: bool) -> list[Part]:
    """Sheets in parts that are worked on at once: on a CPU few, elsewhere all of a fineness."""
    parts: list[Part] = []
    sheet = value = 0
    for step, group in groupby(every):
        left, height, width = len(list(group)), padded[0] // step, padded[1] // step
        most = max(_AT_WORK // (height * width), 1) if on_cpu else left
        while left:
            count = min(most, left)
            size = count * height * width
            shape = (count, height, width)
            parts.append(Part(slice(sheet, sheet + count), slice(value, value + size), shape))
            sheet, value, left = sheet + count, value + size, left - count
    return parts


class Blurs:
    """From the sheets to the scans and back, by H(k) (M, L, K); on a CPU one core for each part."""

    def __init__(
        self,
        radial_filter: RadialFilter,
        parts: Sequence[Part],
        weights: Weights,
        device: torch.device | None,
    ) -> None:
        self.parts = parts
        self._filter = radial_filter
        self._padded = radial_filter.padded
        (y, x), count = self._padded, len(weights)
        shapes = [part.shape for part in parts]
        # Memory that is used in every iteration: the images, and their folded spectra.
        self._images = torch.empty(count, y, x, device=device)
        self._mixed = torch.empty(count, 4, y // 2 + 1, x // 2 + 1, device=device)
        self._folds = {height: _Fold(height, device) for height in {y, *(s[1] for s in shapes)}}
        self._weights = torch.tensor(weights, dtype=torch.float32, device=device)
        on_cpu = self._weights.device.type == "cpu"
        self._add = add_one_by_one if on_cpu else add_at_once
        self._cores = Cores(on_cpu)
        self.each = self._cores.each
        # Each thread sums one scan; few spectra at a time are computed before they are added.
        step = 1 if self._cores.count == 1 else 2 * self._cores.count
        numbers = range(len(parts))
        self._groups = [numbers[start : start + step] for start in numbers[::step]]
        one_by_one = [slice(scan, scan + 1) for scan in range(count)]
        self._scans = one_by_one if on_cpu else [slice(None)]
        self.pieces = [part.values for part in parts] if on_cpu else [slice(None)]
        values = sum(n * (rows // 2 + 1) * (columns // 2 + 1) for n, rows, columns in shapes)
        small = values * count * 4 <= _CACHE_BYTES
        self._cached = list(self.each(self._computed, parts)) if small else None

    def __enter__(self) -> Blurs:
        return self

    def __exit__(self, *_: object) -> None:
        self._cores.__exit__()

    def do(self, function: Callable[[_Item], object], items: Iterable[_Item]) -> None:
        """Do something with each item."""
        for _ in self.each(function, items):
            pass

    def to_scans(
        self, density: torch.Tensor, then: Callable[[slice, torch.Tensor], object]
    ) -> torch.Tensor:
        """The object (V,) imaged at the scans, as ``then`` leaves it; valid until the next call."""
        mixed = self._mixed.zero_()
        for numbers in self._groups:
            parts = [self.parts[number] for number in numbers]
            spectra = list(self.each(lambda part: self._spectra(part.of(density)), parts))

            def add(scans: slice, numbers: range = numbers, spectra: Any = spectra) -> None:
                for number, spectrum in zip(numbers, spectra, strict=True):
                    at = self._shared(number)
                    self._add(mixed[scans][at], spectrum[at], self._responses(number, scans)[at])

            self.do(add, self._scans)

        def make(scans: slice) -> None:
            then(scans, self._images[scans].copy_(self._image(mixed[scans], self._padded)))

        self.do(make, self._scans)
        return self._images

    def to_object(
        self, images: torch.Tensor, then: Callable[[Part, torch.Tensor], _Result]
    ) -> list[_Result]:
        """The adjoint of :meth:`to_scans`: what ``then`` makes of each part and its values."""
        spectra = self._mixed
        self.do(lambda scans: spectra[scans].copy_(self._spectra(images[scans])), self._scans)

        def make(number: int) -> _Result:
            part, at = self.parts[number], self._shared(number)
            count, y, x = part.shape
            mixed = images.new_zeros((count, 4, y // 2 + 1, x // 2 + 1))
            self._add(mixed[at], spectra[at], self._responses(number).transpose(0, 1)[at])
            return then(part, self._image(mixed, (y, x)))

        return list(self.each(make, range(len(self.parts))))

    def _shared(self, number: int) -> tuple[EllipsisType | slice, ...]:
        """Where the frequencies of a part are in its own folded spectra, and in the images'."""
        _, y, x = self.parts[number].shape
        # Without the highest frequency of a coarse part, of which the sign is not known.
        return (...,) if (y, x) == self._padded else (..., slice(y // 2), slice(x // 2))

    def _spectra(self, images: torch.Tensor) -> torch.Tensor:
        return self._folds[images.shape[1]].spectra(images)

    def _image(self, folded: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        return self._folds[shape[0]].images(folded, shape)

    def _responses(self, number: int, scans: slice = slice(None)) -> torch.Tensor:
        """Responses from a part's sheets to some scans: (M, L, Y' // 2 + 1, X' // 2 + 1)."""
        if self._cached is not None:
            return self._cached[number][scans]
        return self._computed(self.parts[number], scans)

    def _computed(self, part: Part, scans: slice = slice(None)) -> torch.Tensor:
        return self._filter.half_response(self._weights[scans, part.sheets], part.shape[1:])


def add_one_by_one(totals: torch.Tensor, spectra: torch.Tensor, weights: torch.Tensor) -> None:
    """Add spectra (S, 4, Y, X) to every total of (N, 4, Y, X), times their weights (N, S, Y, X)."""
    for total, row in zip(totals, weights, strict=True):
        for spectrum, weight in zip(spectra, row, strict=True):
            total.addcmul_(spectrum, weight)


def add_at_once(totals: torch.Tensor, spectra: torch.Tensor, weights: torch.Tensor) -> None:
    """The same for a GPU, on which starting hundreds of small operations takes too long."""
    most = max(AT_ONCE_ON_GPU // spectra.numel(), 1)  # totals at a time, by memory
    for start in range(0, len(totals), most):
        block = slice(start, start + most)
        totals[block].add_((spectra * weights[block][:, :, None]).sum(dim=1))


class _Fold:
    """Between images and folded spectra: real parts at rows ky and −ky, then imaginary ones."""

    def __init__(self, height: int, device: torch.device | None) -> None:
        rows = torch.arange(height, device=device)
        half = rows[: height // 2 + 1]
        self._there = torch.cat([half, -half % height])
        self._back = torch.cat([half, height + len(half) - rows[len(half) :]])

    def spectra(self, images: torch.Tensor) -> torch.Tensor:
        """Folded transforms of images (N, Y, X)."""
        spectra = torch.fft.rfft2(images, norm="forward").index_select(1, self._there)
        count, rows, columns = spectra.shape
        return torch.stack([spectra.real, spectra.imag], 1).view(count, 4, rows // 2, columns)

    def images(self, folded: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """Images (N, Y, X) of folded spectra."""
        count, _, rows, columns = folded.shape
        real, imaginary = folded.view(count, 2, 2 * rows, columns).unbind(1)
        spectra = torch.complex(real, imaginary).index_select(1, self._back)
        images: torch.Tensor = torch.fft.irfft2(spectra, s=shape, norm="forward")
        return images
