"""The pile of sheets that explains the scans: where they are, how fine they are, their blur.

A sheet far from every scan is seen through so much defocus that the scans hold nothing of its
fine structure: it has a value for every second or fourth pixel only. Lengths are in micrometres.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from .covariance import CovarianceTable
from .lmmse import Weights
from .optics import Optics
from .radial_filter import RadialFilter
from .side_by_side import one_core_each

LAYOUT = "sheets of their own fineness, one after another"
"""What the values of an object are: objects that were kept of another layout do not fit."""

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

_SHEET_DOF = (0.7, 2.0)
_SHEETS_PER_GAP = 2.5  # coarser sheets explain close scans badly, finer ones change nothing
_MARGIN_DOF = 14.0  # light from farther above or below is even enough for the outermost sheet
_EVERY = (4, 2)  # pixels that a coarse sheet has a value for, per axis
_UNSEEN = 0.02  # of an even sheet's light: finer structure than this passes is left out
_AT_WORK = 400_000  # values that a core works on at a time: they stay in its cache
_KEPT_BYTES = 1_000_000_000  # responses beyond that are made again every time


def sheet_heights(scan_z_um: npt.NDArray[np.float64], dof: float) -> npt.NDArray[np.float64]:
    """Heights of the sheets for scans at some heights, in micrometres, from the lowest."""
    low, high = scan_z_um.min() - _MARGIN_DOF * dof, scan_z_um.max() + _MARGIN_DOF * dof
    # The mean gap: two scans at almost one height are no reason for hundreds of sheets.
    gaps = max(len(scan_z_um) - 1, 1)
    gap = float(np.ptp(scan_z_um)) / gaps or np.inf
    step = dof * float(np.clip(gap / dof / _SHEETS_PER_GAP, *_SHEET_DOF))
    return np.linspace(low, high, int(np.ceil((high - low) / step)) + 1)


@dataclass(frozen=True)
class Part:
    """Some neighbouring sheets of one fineness.

    Attributes
    ----------
    sheets : slice
        Their numbers.
    values : slice
        Where their values are in all.
    shape : tuple of int
        (L, Y', X') of their values.
    """

    sheets: slice
    values: slice
    shape: tuple[int, int, int]

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """The part of all values, shape (L, Y', X')."""
        return values[self.values].view(self.shape)


def pixels_per_value(
    scan_z_um: npt.NDArray[np.float64],
    sheets_um: npt.NDArray[np.float64],
    optics: Optics,
    table: CovarianceTable,
    padded: tuple[int, int],
) -> list[int]:
    """How many pixels a sheet has one value for, along each axis: 1, 2 or 4.

    As many as leave out only frequencies that no scan sees with more than 2 % of the contrast
    of an even sheet.
    """
    away = np.abs(sheets_um[:, None] - scan_z_um).min(axis=1) / optics.depth_of_field_um
    contrast = np.abs(table.at(away))
    found = np.ones(len(sheets_um), dtype=int)
    for every in _EVERY:
        if any(length % (2 * every) for length in padded):
            continue
        # Above half of what its own values could show: products of them are finer still.
        finest = 0.5 / (every * optics.pixel_um) * optics.wavelength_um / optics.na / 2
        seen = contrast[:, table.k > finest].max(axis=1, initial=0.0)
        found[(seen < _UNSEEN) & (found == 1)] = every
    return [int(every) for every in found]


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
    """From the sheets to the scans and back, on the padded field.

    On a CPU parts are worked on side by side, each on one core: threads that share every single
    operation would wait for each other hundreds of times in an iteration, and for whatever else
    the machine does. Use it in a ``with`` block, which ends the threads.

    Parameters
    ----------
    radial_filter : RadialFilter
    parts : sequence of Part
    weights : numpy.ndarray, shape (M, L, K)
        H(k) from every sheet to every scan.
    device : torch.device, optional
    """

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
        # Memory that is used in every iteration: the images, and their spectra as rows of reals.
        self._images = torch.empty(count, y, x, device=device)
        self._mixed = torch.empty(count, y, 2 * (x // 2 + 1), device=device)
        self._weights = torch.tensor(weights, dtype=torch.float32, device=device)
        on_cpu = self._weights.device.type == "cpu"
        self._add = add_one_by_one if on_cpu else add_at_once
        self._pool = one_core_each() if on_cpu and torch.get_num_threads() > 1 else None
        values = sum(part.values.stop - part.values.start for part in parts)
        small = values * count * 4 <= _KEPT_BYTES
        self._kept = list(self.each(self._made, parts)) if small else None

    def __enter__(self) -> Blurs:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def each(self, function: Callable[[_Item], _Made], items: Iterable[_Item]) -> Iterator[_Made]:
        """What a function makes of each item, in their order."""
        if self._pool is None:
            return map(function, items)
        mode = torch.is_inference_mode_enabled()  # each thread has a mode of its own

        def made(item: _Item) -> _Made:
            with torch.inference_mode(mode):
                return function(item)

        return self._pool.map(made, items)

    def to_scans(self, density: torch.Tensor) -> torch.Tensor:
        """The object's images at the scans: all values (V,) → (M, Y', X'), until the next ones."""
        mixed, numbers = self._mixed.zero_(), range(len(self.parts))
        filtered = self.each(lambda number: self._spectra(density, number), numbers)
        for number, spectra in zip(numbers, filtered, strict=True):
            responses = self._responses(number)
            for here, there in _corners(self.parts[number].shape, self._padded):
                self._add(mixed[:, *there], spectra[:, *here], responses[:, :, *here])
        pairs = zip(self._images, self._complex, strict=True)
        for _ in self.each(lambda pair: pair[0].copy_(_image(pair[1], self._padded)), pairs):
            pass
        return self._images

    def to_object(
        self, images: torch.Tensor, then: Callable[[Part, torch.Tensor], _Made]
    ) -> list[_Made]:
        """The adjoint: what ``then`` makes of every part and the values (L, Y', X') that it gets.

        Parameters
        ----------
        images : torch.Tensor, shape (M, Y', X')
        then : callable
            Of a part and its values; parts may be made at the same time.
        """
        pairs = zip(self._complex, images, strict=True)
        for _ in self.each(lambda pair: pair[0].copy_(_transform(pair[1])), pairs):
            pass
        spectra = self._mixed

        def make(number: int) -> _Made:
            part = self.parts[number]
            count, y, x = part.shape
            mixed = images.new_zeros((count, y, 2 * (x // 2 + 1)))
            responses = self._responses(number).transpose(0, 1)
            for here, there in _corners(part.shape, self._padded):
                self._add(mixed[:, *here], spectra[:, *there], responses[:, :, *here])
            return then(part, _image(torch.view_as_complex(mixed.view(count, y, -1, 2)), (y, x)))

        return list(self.each(make, range(len(self.parts))))

    @property
    def _complex(self) -> torch.Tensor:
        """The images' spectra as complex numbers, (M, Y', X'/2 + 1)."""
        count, rows, _ = self._mixed.shape
        return torch.view_as_complex(self._mixed.view(count, rows, -1, 2))

    def _spectra(self, density: torch.Tensor, number: int) -> torch.Tensor:
        return _as_real(_transform(self.parts[number].of(density)))

    def _responses(self, number: int) -> torch.Tensor:
        return self._made(self.parts[number]) if self._kept is None else self._kept[number]

    def _made(self, part: Part) -> torch.Tensor:
        """Responses of a part, each value twice: (M, L, Y', 2 (X' / 2 + 1)).

        A spectrum is a row of real and imaginary numbers by turns, and both have the same
        weight: so all of this stays arithmetic of real numbers in a row.
        """
        found = [
            self._filter.response(of_scan[part.sheets], part.shape[1:]).repeat_interleave(2, dim=-1)
            for of_scan in self._weights
        ]
        return torch.stack(found)


def add_one_by_one(totals: torch.Tensor, spectra: torch.Tensor, weights: torch.Tensor) -> None:
    """Add to every total of (N, Y, X) the spectra (S, Y, X), each times its weight (N, S, Y, X).

    For a CPU, in whose caches stays what is added.
    """
    for total, row in zip(totals, weights, strict=True):
        for spectrum, weight in zip(spectra, row, strict=True):
            total.addcmul_(spectrum, weight)


def add_at_once(totals: torch.Tensor, spectra: torch.Tensor, weights: torch.Tensor) -> None:
    """The same for a GPU: to tell it of hundreds of small things takes longer than to do them."""
    totals.add_((spectra * weights).sum(dim=1))


def _transform(images: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.fft.rfft2(images, norm="forward")
    return found


def _image(spectra: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    found: torch.Tensor = torch.fft.irfft2(spectra, s=shape, norm="forward")
    return found


def _as_real(spectra: torch.Tensor) -> torch.Tensor:
    """(N, Y', X) complex → (N, Y', 2 X) real, without a copy."""
    return torch.view_as_real(spectra).flatten(-2)


def _corners(
    shape: tuple[int, ...], padded: tuple[int, int]
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Where the spectrum of a coarse sheet is in its own rows, and in those of a fine one.

    Its highest frequency is left out, of which the sign is not known.
    """
    y, x = shape[-2:]
    if (y, x) == padded:
        yield ((slice(None),) * 2,) * 2
        return
    columns = slice(0, 2 * (x // 2))
    for rows in (slice(0, y // 2), slice(1 - y // 2, None)):
        yield ((rows, columns),) * 2
