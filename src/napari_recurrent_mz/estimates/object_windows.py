"""Objects for images of any size: overlapping windows, each with an object of its own."""

from __future__ import annotations

import math
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from ..core.arrays import Array
from ..core.device import free_gpu_bytes, give_back_memory
from ..core.errors import is_out_of_memory
from ..core.optics import Optics
from ..core.scans import Heights, Scans, ScanStack, is_surface, stack_of
from .deconvolution import (
    Levels,
    NonnegativeEstimate,
    ObjectImages,
    SheetImages,
    SheetWeighting,
)
from .radial_filter import FilterCache, RadialFilter

WINDOW = 2048
"""Images are fitted whole up to this size and the overlaps, larger ones in windows of it."""

OVERLAP = 128
"""Pixels that a window reads beyond its part on each side."""

IN_MEMORY_BYTES = 500_000_000
"""Spectra of all windows up to this wait in memory, more in a temporary file."""

_SMALLEST_WINDOW = 256  # that an image is fitted in when memory runs out

_SHARE_OF_DEVICE = 0.3  # of a GPU's free memory that spectra may take


_Fit = TypeVar("_Fit", bound=SheetImages)


@dataclass(frozen=True, eq=False)
class Window(Generic[_Fit]):
    """A part of the image: where it is, its share of every row and column, its object."""

    place: tuple[slice, slice]
    down: torch.Tensor
    across: torch.Tensor
    fit: _Fit


class ObjectWindows(ObjectImages, Generic[_Fit]):
    """Images of the objects of a large image's windows, which overlap, blended."""

    def __init__(
        self,
        stack: ScanStack,
        size: int,
        device: torch.device | None,
        fitted: Callable[[ScanStack, int], _Fit],  # to a window, of so many
    ) -> None:
        (images, self.scan_z_um), self.shape = stack, stack.shape
        self.device = device
        rows, columns = (_ramps(length, size) for length in self.shape)
        self.windows: list[Window[_Fit]] = []
        for (row, down), (column, across) in product(rows, columns):
            part = ScanStack(np.ascontiguousarray(images[:, row, column]), self.scan_z_um)
            fit = fitted(part, len(rows) * len(columns))
            down_share, across_share = (
                torch.tensor(ramp, dtype=torch.float32, device=device) for ramp in (down, across)
            )
            self.windows.append(Window((row, column), down_share[:, None], across_share, fit))
            give_back_memory()
        self.windows.sort(key=lambda window: window.fit.filter.shape)

    def filtered(
        self, z_um: float | Heights, weights: SheetWeighting, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The windows' sheets, filtered and blended; see :class:`~.ObjectImages`."""
        heights = np.asarray(z_um)[None] if is_surface(z_um) else np.atleast_1d(z_um)
        shape = (len(heights), *self.shape)
        whole = torch.zeros(shape, device=self.device) if out is None else out.zero_()
        cache, radial, before = FilterCache({}), heights, None
        for window in self.windows:
            fit = window.fit
            if is_surface(z_um):
                image = fit.filtered(heights[(0, *window.place)], weights)
            else:
                if fit.filter is not before:  # windows that share one follow each other
                    cache, radial, before = FilterCache({}), weights(fit, heights), fit.filter
                image = fit.image(radial, cache)
            whole[(..., *window.place)] += image.mul_(window.down).mul_(window.across)
        return whole if np.ndim(z_um) == 1 else whole[0]


class NonnegativeWindows(ObjectWindows[NonnegativeEstimate]):
    """A :class:`~.NonnegativeEstimate` of a large image."""

    def __init__(
        self,
        scans: Scans,
        optics: Optics,
        *,
        target: str = "widefield",
        device: torch.device | None = None,
        stopped: Callable[[], bool] | None = None,
        size: int | None = None,
    ) -> None:
        stack = stack_of(scans)
        self.levels = levels = Levels.of(torch.from_numpy(stack.images))
        # All windows have sheets at the same heights.
        filters: dict[tuple[int, ...], RadialFilter] = {}
        stores: list[SpectraStore] = []

        def fitted(part: ScanStack, count: int) -> NonnegativeEstimate:
            fit = NonnegativeEstimate(
                part, optics, levels=levels, device=device, stopped=stopped, target=target
            )
            if not stores:
                stores.append(SpectraStore(count * _bytes(fit), device))
            fit.store_spectra(stores[0].keep(fit.transforms()))
            fit.filter = filters.setdefault(fit.filter.shape, fit.filter)
            return fit

        super().__init__(stack, size or WINDOW, device, fitted)


_Whole = TypeVar("_Whole")
_Windows = TypeVar("_Windows")


def in_windows(
    shape: tuple[int, int], whole: Callable[[], _Whole], windows: Callable[[int], _Windows]
) -> _Whole | _Windows:
    """What is fitted to a whole image, or in windows where it is large or memory is short."""
    longest, size = max(shape), WINDOW
    while True:
        try:
            return windows(size) if longest > size + 2 * OVERLAP else whole()
        except Exception as error:
            size = min(size, longest) // 2
            if size < _SMALLEST_WINDOW or not is_out_of_memory(error):
                raise
        give_back_memory()


def nonnegative_estimate(
    scans: Scans,
    optics: Optics,
    *,
    target: str = "widefield",
    device: torch.device | None = None,
    stopped: Callable[[], bool] | None = None,
) -> ObjectImages:
    """Fit a non-negative object, in windows where the image is large or memory is short."""
    stack = stack_of(scans)
    how: Any = {"target": target, "device": device, "stopped": stopped}
    return in_windows(
        stack.shape,
        lambda: NonnegativeEstimate(stack, optics, **how),
        lambda size: NonnegativeWindows(stack, optics, **how, size=size),
    )


def _bytes(fit: NonnegativeEstimate) -> int:
    """Bytes of the spectra of an object."""
    return sum(count * y * (x // 2 + 1) * 8 for count, y, x in (part.shape for part in fit.parts))


def _ramps(length: int, size: int) -> list[tuple[slice, Array]]:
    """Windows along one axis with weights that add up to one everywhere."""
    count = -(-length // size)
    edges = np.linspace(0, length, count + 1).round().astype(int)
    at = np.arange(length) + 0.5
    ramps = []
    for low, high in pairwise(edges):
        start, stop = max(int(low) - OVERLAP, 0), min(int(high) + OVERLAP, length)
        rising = 1.0 if low == 0 else np.clip((at - low) / OVERLAP + 0.5, 0, 1)
        falling = 1.0 if high == length else np.clip((high - at) / OVERLAP + 0.5, 0, 1)
        weight = np.ones(length) * rising * falling
        ramps.append((slice(start, stop), weight[start:stop]))
    return ramps


class SpectraStore:
    """Where spectra of some ``size`` bytes wait: on the device, in memory, or in a file."""

    def __init__(self, size: int, device: torch.device | None) -> None:
        self._device = device
        if device is not None and device.type == "cuda":
            self._in_memory = size < _SHARE_OF_DEVICE * free_gpu_bytes()
        else:
            self._in_memory = size <= IN_MEMORY_BYTES
        # On disk, with no name: gone with the process, however it ends.
        self._file = None if self._in_memory else tempfile.TemporaryFile()  # noqa: SIM115
        if self._file is not None:
            weakref.finalize(self, self._file.close)
        self._lock = threading.RLock()

    def keep(self, spectra: Iterator[torch.Tensor]) -> Iterable[torch.Tensor]:
        """Put the spectra of an object (L, Y', X') away; they are read some after others."""
        if self._file is None:
            return list(spectra)
        shapes: list[torch.Size] = []
        with self._lock:
            begin = self._file.seek(0, 2)
            for spectrum in spectra:
                try:
                    self._file.write(torch.view_as_real(spectrum.cpu().contiguous()).numpy().data)
                except OSError:  # the disk is full: memory has to do
                    in_memory = [one.clone() for one in _StoredSpectra(self, begin, shapes)]
                    self._file.truncate(begin)
                    return [*in_memory, spectrum, *spectra]
                shapes.append(spectrum.shape)
        return _StoredSpectra(self, begin, shapes)

    def read(self, begin: int, spectrum: torch.Tensor) -> torch.Tensor:
        """Fill ``spectrum``, on the CPU, from a place in the file; it comes to the device."""
        assert self._file is not None
        with self._lock:
            self._file.seek(begin)
            self._file.readinto(torch.view_as_real(spectrum).numpy().data)
        return spectrum if self._device is None else spectrum.to(self._device)


@dataclass(frozen=True)
class _StoredSpectra:
    """Spectra of one object in the file; each comes where the one before was."""

    store: SpectraStore
    begin: int
    shapes: Sequence[torch.Size]

    def __iter__(self) -> Iterator[torch.Tensor]:
        begin, sizes = self.begin, [math.prod(shape) for shape in self.shapes]
        room = torch.empty(max(sizes, default=0), dtype=torch.complex64)
        for shape, size in zip(self.shapes, sizes, strict=True):
            yield self.store.read(begin, room[:size].view(shape))
            begin += size * room.itemsize
