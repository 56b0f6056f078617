"""The volume while scans come: what is finished, what is on its way, and what was before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

import numpy as np

from ...core.progress import Stopped
from ...core.scans import FloatArray, InputError, Scan, ScanStack, scan_at
from ...estimates.normalisation import normalisation
from ...networks.inputs import Scale
from ..inference import planes_in_order
from ._engine import Engine
from ._history import ChangeMeter

StopRequested = Callable[[], bool]


@dataclass(frozen=True, eq=False)
class PlaneUpdate:
    """One plane of the volume, as it has just become."""

    index: int  #: its place in the grid
    z_um: float
    pixels: FloatArray  #: (Y, X), in the scans' units
    #: ``scan`` where it is a scan itself, ``linear`` from the linear estimate, ``network``
    stage: str
    final: bool  #: whether nothing more comes for it until the next scan
    done: int  #: planes that are final
    total: int  #: planes of the grid


class LiveVolume:
    """The last finished volume (Z, Y, X), and the one that grows from it in place."""

    def __init__(self, engine: Engine) -> None:
        self.grid, self.engine = engine.grid, engine
        self.forget()

    def forget(self) -> None:
        """As before the first scan."""
        self.pixels: FloatArray | None = None
        self.before: FloatArray | None = None  # the last finished volume
        self.contains: tuple[Scan, ...] | None = ()  # what pixels are made from; None on the way
        self._before_contains: tuple[Scan, ...] | None = None
        # Scans as plain arrays, and the linear estimate from them, kept until they change.
        self.stack = stack = lru_cache(1)(ScanStack.of)
        self.linear = lru_cache(1)(lambda scans: self.engine.linear(stack(scans)))
        self._generation = -1
        self._shown: set[int] = set()
        self._done: set[int] = set()
        self.meter = ChangeMeter(len(self.grid), 0.0)
        self.seconds = 0.0

    def start(self, scans: tuple[Scan, ...], generation: int, scale: Scale | None) -> None:
        """Prepare for a volume from these scans; what was done for this generation stays done."""
        if self.pixels is None:
            self.pixels = np.zeros((len(self.grid), *self.stack(scans).shape), np.float32)
        self.leave()
        if self._generation == generation:
            return
        if scale is None:
            dark = normalisation(self.stack(scans).images).shift
        else:
            dark = scale.normalisation.shift
        self._generation, self.seconds = generation, 0.0
        self._shown, self._done = set(), set()
        self.meter = ChangeMeter(len(self.grid), dark)

    def rescale(self) -> None:
        """Make the volume anew on another intensity scale: the one before cannot come back."""
        self.leave()
        self._before_contains = None

    def leave(self) -> None:
        """Keep the finished volume beside the one that is to come."""
        if self.contains:
            assert self.pixels is not None
            self.before, self._before_contains = self.pixels.copy(), self.contains
        self.contains = None

    def back_to(self, scans: tuple[Scan, ...]) -> bool:
        """Bring back the volume before, if it is at hand and was made from these scans."""
        if self.before is None or self.pixels is None or self._before_contains != scans:
            return False
        self.pixels[...] = self.before
        self.before = self._before_contains = None
        self.contains = scans
        return True

    @property
    def finished(self) -> bool:
        """Whether every plane is final."""
        return len(self._done) == len(self.grid)

    def write(self, update: PlaneUpdate) -> None:
        """Put a plane into the volume; one that is final is compared with what it was."""
        assert self.pixels is not None  # start comes first
        self.pixels[update.index] = update.pixels
        self._shown.add(update.index)
        if update.final:
            before = None if self.before is None else self.before[update.index]
            self.meter.add(update.index, before, update.pixels)
            self._done.add(update.index)

    def linear_planes(
        self, scans: tuple[Scan, ...], indices: Sequence[int], ended: StopRequested, *, last: bool
    ) -> Iterator[PlaneUpdate]:
        """Every plane that has not been shown yet, from the linear estimate or a scan itself."""
        left = [index for index in indices if index not in self._shown]
        planes = planes_in_order(self.grid, left, self._measured(scans), self.linear(scans), ended)
        with suppress(Stopped):
            for plane in planes:
                stage = "scan" if plane.measured else "linear"
                yield self._update(plane.index, plane.pixels, stage, final=last or plane.measured)

    def network_planes(
        self, scans: tuple[Scan, ...], scale: Scale, indices: Sequence[int], ended: StopRequested
    ) -> Iterator[PlaneUpdate]:
        """Every plane that is not final yet, from the network."""
        measured = self._measured(scans)
        inferred = sum(scan_at(measured, z) is None for z in self.grid.z_um)
        try:
            self.engine.begin(scans, self.stack(scans), scale, inferred, ended)
            left = [index for index in indices if index not in self._done]
            for index, pixels in self.engine.planes(takewhile(lambda _: not ended(), left)):
                yield self._update(index, pixels, "network", final=True)
        except Stopped:
            return
        finally:
            self.engine.free_buffers()

    def in_order(self, order: Sequence[int] | None) -> list[int]:
        """All planes, those of ``order`` first."""
        count = len(self.grid)
        first = list(dict.fromkeys(int(i) for i in order or ()))
        if any(not 0 <= i < count for i in first):
            raise InputError(f"The order names a plane outside of the grid's {count}.")
        return [*first, *sorted(set(range(count)) - set(first))]

    def _measured(self, scans: tuple[Scan, ...]) -> tuple[Scan, ...]:
        """The scans that stand in the volume as they are."""
        return scans if self.engine.target == "widefield" else ()

    def _update(self, index: int, pixels: FloatArray, stage: str, *, final: bool) -> PlaneUpdate:
        done = len(self._done | ({index} if final else set()))
        z_um, total = float(self.grid.z_um[index]), len(self.grid)
        return PlaneUpdate(index, z_um, pixels, stage, final, done, total)
