"""The network on images of any size: tiles, precision, and what to do when memory runs out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product

import numpy as np
import torch

from ..core.device import Device, available_cores, choose_device, give_back_memory, start_download
from ..core.errors import NotEnoughMemoryError, is_out_of_memory
from ..core.optics import Optics
from ..core.progress import never, stoppable, tell
from ..core.scans import FloatArray, Heights, InputError, Scans, is_surface, stack_of
from ..networks.inputs import NetworkInputs, PlaneParts, Prepared, Scale
from ..networks.operations import operations_per_pixel
from ..networks.recurrent_mz import State
from ..networks.runner import (
    ALIGN,
    Memory,
    alignment,
    overlap_of,
    runner_for,
    split_states,
    stacked_states,
)
from ..networks.weights import Model

LARGEST_TILE = {"cuda": 2048, "mps": 1024, "cpu": 2112}
"""Root of the pixels of the largest tile, by the kind of the device."""

_SMALLEST_TILE = 128
_PLANES_AT_ONCE = 4  # on a GPU, so that the deep levels fill it too …
_PIXELS_AT_ONCE = 2**22  # … as one plane of this size does alone
_SPEED = {"cuda": 2e13, "mps": 2e12, "cpu": 3.5e10}  # operations a second; a CPU's per core
_FIXED_S = {"cuda": 0.01, "mps": 0.02, "cpu": 0.06}  # of a plane, however small
# Seconds taken for each expected, by model, device and how often the side of an image doubles.
_pace: dict[tuple[str, str, int], float] = {}


@dataclass(frozen=True)
class Tile:
    """One window of an image: what is read, and which part of the result is kept."""

    read: tuple[slice, slice]
    keep: tuple[slice, slice]
    write: tuple[slice, slice]


def tiles(shape: tuple[int, int], size: int, overlap: int, align: int = ALIGN) -> Iterator[Tile]:
    """Cover an image with windows of up to ``size``² pixels, their ``overlap`` included."""
    steps = shape if shape[0] * shape[1] <= size**2 else _steps(shape, size, overlap, align)
    for row, column in product(*map(_spans, shape, steps, (overlap, overlap))):
        yield Tile(*zip(row, column, strict=True))


@lru_cache(maxsize=64)
def _steps(shape: tuple[int, int], size: int, overlap: int, align: int) -> tuple[int, int]:
    """Steps of the windows in y and x: the fewest pixels read, then the fewest windows."""
    height, width = shape
    candidates = []
    for rows in range(1, -(-height // align) + 1):
        down, high = _longest(height, rows, overlap, align)
        for columns in range(1, -(-width // align) + 1):
            across, wide = _longest(width, columns, overlap, align)
            read = (height + 2 * overlap * (rows - 1)) * (width + 2 * overlap * (columns - 1))
            cost = (max(high * wide, size * size), read, rows * columns, abs(high - wide))
            candidates.append((cost, (down, across)))
            if high * wide <= size * size:
                break
    return min(candidates)[-1]


def _longest(length: int, count: int, overlap: int, align: int) -> tuple[int, int]:
    """Step and longest window of so many windows along one axis."""
    step = align * -(-length // (count * align))
    return step, min(step + overlap * min(count - 1, 2), length)


def _spans(length: int, step: int, overlap: int) -> Iterator[tuple[slice, slice, slice]]:
    """What is read, kept of that, and written along one axis."""
    for start in range(0, length, step):
        low, stop = max(start - overlap, 0), min(start + step, length)
        read = slice(low, min(stop + overlap, length))
        yield read, slice(start - low, stop - low), slice(start, stop)


PlaneRequest = tuple[float | Heights, Memory | None]
"""A height or a surface, and what the network remembers of it."""


@dataclass(frozen=True)
class _PendingPlanes:
    """Planes on their way from the device, what was requested, and seconds spent so far."""

    fetch: Callable[[], FloatArray]
    requests: Sequence[PlaneRequest]
    seconds: float


class NetworkPlanes:
    """Makes planes with a network, in tiles that the memory of the device holds."""

    def __init__(
        self,
        scans: Scans,
        optics: Optics,
        model: Model,
        device: Device,
        *,
        reach_um: tuple[float, float],  # lowest and highest target
        on_message: Callable[[str], None],
        stopped: Callable[[], bool] = never,
        tile: int | None = None,  # root of the largest window's pixels
        half: bool | None = None,
        scale: Scale | None = None,
        fast: bool | None = None,
    ) -> None:
        self.stack = stack_of(scans)
        self.shape, self.n_scans = self.stack.shape, len(self.stack.z_um)
        self.optics, self.model, self.reach_um = optics, model, reach_um
        self.on_message, self.stopped = on_message, stopped
        self.tile = tile or LARGEST_TILE[device.kind]
        fitting = max(_PIXELS_AT_ONCE // math.prod(self.shape), 1)
        self.batch = min(_PLANES_AT_ONCE, fitting) if device.kind == "cuda" else 1
        self.half, self.fast = half, fast
        self.scale = scale
        self._timed = 0
        # The last window's input, and what it was made from: memory to use again.
        self._last_input: Prepared | None = None
        self._last_parts: PlaneParts | None = None
        self._move_to(device)

    def _move_to(self, device: Device) -> None:
        self.device = device
        with stoppable(self.stopped):  # forms that were not tried yet are tried for a moment
            self.runner = runner_for(self.model, device, half=self.half, fast=self.fast)
        self._inputs: NetworkInputs | None = None

    @property
    def inputs(self) -> NetworkInputs:
        """The prepared scans: made with the first plane, because that can take seconds."""
        if self._inputs is None:
            self._inputs = NetworkInputs(
                self.stack,
                self.optics,
                self.model.network.config,
                reach_um=self.reach_um,
                device=self.device.torch,
                fixed=self.scale,
                stopped=self.stopped,
            )
        return self._inputs

    def plane(self, z_um: float | Heights, memory: Memory | None = None) -> FloatArray:
        """The plane at a height, (Y, X); scans that a ``memory`` has seen do not enter again."""
        return self._collect(self._start([(z_um, memory)]))[0]

    def planes(self, heights_um: Iterable[float]) -> Iterator[FloatArray]:
        """The planes at several heights in turn; a GPU makes some at once."""
        return self.requested((z_um, None) for z_um in heights_um)

    def requested(self, requests: Iterable[PlaneRequest]) -> Iterator[FloatArray]:
        """The same for planes that may have a memory; requests are taken one by one."""
        left = iter(requests)
        if self.device.kind != "cuda":
            for z_um, memory in left:
                yield self.plane(z_um, memory)
            return
        before: _PendingPlanes | None = None  # the first plane comes alone, so that it comes soon
        while group := list(islice(left, 1 if before is None else self.batch)):
            pending = self._start(group)
            if before is not None:
                yield from self._collect(before)
            before = pending
        if before is not None:
            yield from self._collect(before)

    def free_buffers(self) -> None:
        """Free the memory that is only kept from one plane to the next."""
        self.runner.release()
        self._last_input = self._last_parts = None

    def release(self) -> None:
        """Give back all that is kept for other planes."""
        self.free_buffers()
        self._inputs = None
        if self.device.kind == "cuda":
            torch.cuda.empty_cache()
        give_back_memory()

    def _collect(self, pending: _PendingPlanes) -> list[FloatArray]:
        """Planes (N, Y, X) that are on their way, as the caller wants them."""
        began = time.monotonic()
        normal = pending.fetch()
        if not np.isfinite(normal).all():
            if not self.runner.form.half:
                raise InputError(
                    f"The model '{self.model.name}' makes no numbers of these scans: choose "
                    "another model, or a method without a network."
                )
            self.half = False  # which could not hold the features
            self.runner = runner_for(self.model, self.device, half=False, fast=self.fast)
            return self._collect(self._start(pending.requests))
        if all(memory is None for _, memory in pending.requests):
            self._remember_pace(len(normal), pending.seconds + time.monotonic() - began)
        return [self.inputs.normalisation.undo(plane) for plane in normal]

    def _start(self, requests: Sequence[PlaneRequest]) -> _PendingPlanes:
        """Start to make planes, with less memory if there is not enough."""
        began = time.monotonic()
        while True:
            try:
                starts = range(0, len(requests), self.batch)
                groups = [self._run(requests[n : n + self.batch]) for n in starts]
                planes = groups[0] if len(groups) == 1 else torch.cat(groups)
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._use_less_memory()
        return _PendingPlanes(start_download(planes), requests, time.monotonic() - began)

    def _run(self, requests: Sequence[PlaneRequest]) -> torch.Tensor:
        """Normalised planes (N, Y, X) on the device."""
        memories = [memory for _, memory in requests if memory is not None]
        scan_counts = {memory.known(self.n_scans, self.tile) for memory in memories} or {0}
        if len(scan_counts) > 1 or 0 < len(memories) < len(requests):  # not one group
            return torch.cat([self._run([one]) for one in requests])
        (first,) = scan_counts
        if not first:
            for memory in memories:
                memory.forget()
        states_of: list[list[State]] = [[] for _ in memories]
        with torch.inference_mode(), stoppable(self.stopped):
            heights = [z_um for z_um, _ in requests]
            surface = is_surface(heights[0])
            over, self._last_parts = self._last_parts, None
            z_um = heights[0] if surface else np.array(heights)
            whole = self.inputs.parts(z_um, first, over)
            out = torch.empty_like(whole.linear)
            windows = self.windows()
            for number, tile in enumerate(windows):
                tell("network", number, len(windows))
                given = self._input(whole, tile)
                if memories:
                    before = stacked_states(memories, number, self.device.torch, self.runner.dtype)
                    image, state = self.runner.continue_from(before, given)
                    for mine, part in zip(states_of, split_states(state, memories), strict=True):
                        mine.append(part)
                else:
                    image = self.runner(given)
                out[(..., *tile.write)] = image[(slice(None), 0, *tile.keep)].float()
        for memory, states in zip(memories, states_of, strict=True):
            memory.keep(states, self.n_scans, self.tile)
        if self.device.kind == "cpu":  # PyTorch reuses a GPU's memory by itself
            self._last_parts = whole
        return out

    def windows(self) -> list[Tile]:
        """The windows that a plane is made in."""
        rows, columns = self.shape
        many = rows * columns > self.tile**2  # else what they share need not be known
        overlap = overlap_of(self.model) if many else 0
        return list(tiles((rows, columns), self.tile, overlap, alignment(self.model)))

    def _input(self, whole: PlaneParts, tile: Tile) -> Prepared:
        """The network's input for a window of some planes."""
        over, self._last_input = self._last_input, None
        given = whole.window(*tile.read, over=over)
        if self.device.kind == "cpu":
            self._last_input = given
        return given

    def _use_less_memory(self) -> None:
        """After running out of memory: fewer planes at once, smaller tiles, then the CPU."""
        self.free_buffers()
        if self.device.kind == "cuda":
            torch.cuda.empty_cache()
        if self.batch > 1:
            self.batch //= 2
        elif self.tile > (smallest := max(_SMALLEST_TILE, 3 * overlap_of(self.model))):
            longest = max(self.shape)
            self.tile = max(min(self.tile, longest) // 2, smallest)
            self.on_message(
                f"{self.device.name} ran out of memory: going on with tiles of {self.tile} pixels."
            )
        elif self.device.kind != "cpu":
            self.on_message(f"{self.device.name} ran out of memory: going on with the CPU.")
            self.tile = LARGEST_TILE["cpu"]
            self._move_to(choose_device("cpu"))
        else:
            raise NotEnoughMemoryError(
                "There is not enough memory for this image even in small tiles: "
                "close other programs or crop the scans."
            )

    def _remember_pace(self, planes: int, seconds: float) -> None:
        key = _key(self.model, self.device, self.shape)
        before = _pace.setdefault(key, 1.0)
        self._timed += 1
        if self._timed > 1:  # the first planes include the preparing of the scans
            expected = _counted_seconds(self.model, self.device, self.shape, self.n_scans)
            now = seconds / (planes * expected)
            _pace[key] = 0.7 * before + 0.3 * now  # single planes scatter on a busy machine


def _key(model: Model, device: Device, shape: tuple[int, int]) -> tuple[str, str, int]:
    # On a busy machine small images wait longer, in relation, than large ones.
    return model.sha256, device.name, round(math.log2(math.prod(shape)) / 2)


def has_run(model: Model, device: Device) -> bool:
    """Whether a model made planes on a device in this session."""
    return any(key[:2] == (model.sha256, device.name) for key in _pace)


def seconds_of_plane(model: Model, device: Device, shape: tuple[int, int], n_scans: int) -> float:
    """Expected seconds of one plane (Y, X), by the pace of planes before it if there were any."""
    counted = _counted_seconds(model, device, shape, n_scans)
    return _pace.get(_key(model, device, shape), 1.0) * counted


def _counted_seconds(model: Model, device: Device, shape: tuple[int, int], n_scans: int) -> float:
    speed = _SPEED[device.kind] * (available_cores() if device.kind == "cpu" else 1)
    speed *= 2 if device.half and device.kind == "cpu" else 1
    operations = math.prod(shape) * operations_per_pixel(model.network.config, n_scans)
    return _FIXED_S[device.kind] + operations / speed
