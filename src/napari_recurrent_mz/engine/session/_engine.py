"""Who makes the planes of a session: the linear estimate, then the network, which remembers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import numpy as np
import psutil
import torch

from ...core.device import Device, choose_device, free_gpu_bytes
from ...core.errors import is_out_of_memory, size_in_words
from ...core.progress import never
from ...core.scans import FloatArray, Scan, ScanStack
from ...estimates.covariance import CovarianceTable, linear_table
from ...estimates.lmmse import LinearEstimate
from ...networks.inputs import Scale
from ...networks.recurrent_mz import NetworkConfig
from ...networks.runner import Memory
from ...networks.weights import Model
from ..tiles import NetworkPlanes, PlaneRequest, Tile
from ._settings import SessionSettings

PLACES = ("device", "host", "recomputed")
"""Where the network's memory of the scans can be."""

SHARE = 0.5
"""Of the memory that is free, the part that the states may take."""


def state_bytes(windows: Iterable[Tile], config: NetworkConfig, *, half: bool) -> int:
    """Bytes of the network's state of one plane.

    Parameters
    ----------
    windows : iterable of Tile
        Those that the plane is made in.
    config : NetworkConfig
    half : bool
        In half precision, else in single.

    Returns
    -------
    int
        About 81 MB for 1024 × 1024 pixels in half precision.
    """
    multiple = 2 ** (config.levels - 1)
    values = 0.0
    for window in windows:
        rows, columns = (-(-(s.stop - s.start) // multiple) * multiple for s in window.read)
        channels = (config.channels(k) / 4 ** (k - 1) for k in range(1, config.levels + 1))
        values += rows * columns * sum(channels)
    return int(values * (2 if half else 4))


def state_place(needed: int, device: Device, budget: int | None = None) -> str:
    """Where the states go: to the device, to main memory, or nowhere.

    Parameters
    ----------
    needed : int
        Bytes of all states.
    device : Device
        Where the network runs.
    budget : int, optional
        Most bytes in any place; by default half of what is free there.

    Returns
    -------
    str
        One of :data:`PLACES`: the first in which all states fit. A device that shares main
        memory has no place of its own.
    """
    room = {"host": int(SHARE * psutil.virtual_memory().available)}
    if device.kind == "cuda":
        room = {"device": int(SHARE * free_gpu_bytes()), **room}
    if budget is not None:
        room = {place: min(free, budget) for place, free in room.items()}
    return next((place for place, free in room.items() if needed <= free), PLACES[-1])


class Engine:
    """The planes of one session, by a network or, without a model, by the linear estimate alone."""

    def __init__(
        self,
        settings: SessionSettings,
        model: Model | None,
        target: str,  # widefield or confocal
        tell: Callable[[str, str], None],  # a sentence and its kind, when states move
    ) -> None:
        self.grid, self.optics = settings.grid, settings.optics
        self.device, self.model, self.target = choose_device(settings.device), model, target
        self._budget, self._half, self._tell = settings.state_bytes, settings.half, tell
        self.place = ""
        self._tile: int | None = None
        self._planes: NetworkPlanes | None = None
        self._memories: dict[int, Memory] = {}
        self._seen: tuple[Scan, ...] = ()
        self._basis: tuple[Scale, CovarianceTable] | None = None
        self._stopped: Callable[[], bool] = never

    @property
    def reach_um(self) -> tuple[float, float]:
        """Lowest and highest plane."""
        heights = self.grid.z_um
        return float(heights[0]), float(heights[-1])

    def linear(self, stack: ScanStack) -> LinearEstimate:
        """The linear estimate from these scans."""
        return LinearEstimate(
            stack, self.optics, reach_um=self.reach_um, device=self.device.torch, target=self.target
        )

    def begin(
        self,
        scans: tuple[Scan, ...],
        stack: ScanStack,
        scale: Scale,
        planes: int,
        stopped: Callable[[], bool],
    ) -> None:
        """Get ready to make so many planes; states stay where the scans go on from theirs."""
        assert self.model is not None  # else there is no network to begin with
        span_um = float(np.ptp([*self.reach_um, *stack.z_um]))
        basis = (scale, linear_table(self.optics, span_um))
        self._stopped = stopped
        if self._planes is not None and scans == self._seen and basis == self._basis:
            return  # as it was left
        if scans[: len(self._seen)] != self._seen or basis != self._basis:
            self.forget()
        self._planes = NetworkPlanes(
            stack,
            self.optics,
            self.model,
            self.device,
            reach_um=self.reach_um,
            on_message=self._out_of_memory,
            stopped=lambda: self._stopped(),
            tile=self._tile,
            half=self._half,
            scale=scale,
        )
        self._seen, self._basis = scans, basis  # once nothing can stop it any more
        if not self._memories:
            self._choose_place(planes)

    def planes(self, indices: Iterable[int]) -> Iterator[tuple[int, FloatArray]]:
        """Index and plane, float32 (Y, X) in the scans' units, of the grid by the network."""
        # Raises ``MemoryError`` if a plane does not fit even without states.
        assert self._planes is not None  # begin comes first
        started: deque[int] = deque()

        def requests(these: Iterable[int]) -> Iterator[PlaneRequest]:
            for index in these:
                started.append(index)
                yield float(self.grid.z_um[index]), self._memory(index)

        left = iter(indices)
        while True:
            try:
                for plane in self._planes.requested(requests(left)):
                    self._tile, self.device = self._planes.tile, self._planes.device
                    yield started.popleft(), plane
                return
            except Exception as error:
                if self.place == "recomputed" or not is_out_of_memory(error):
                    raise
                self._give_up_states()
                left = chain(list(started), left)
                started.clear()

    def free_buffers(self) -> None:
        """Give back what is only kept from one plane to the next; states stay."""
        if self._planes is not None:
            self._planes.free_buffers()

    def forget(self) -> None:
        """Let go of all states: the next scan enters together with all before it."""
        self._memories.clear()
        self._seen = ()

    def _memory(self, index: int) -> Memory | None:
        if self.place == "recomputed":
            return None
        place = torch.device("cpu") if self.place == "host" else self.device.torch
        return self._memories.setdefault(index, Memory(place))

    def _choose_place(self, planes: int) -> None:
        """Decide, once for a set of states, where they are kept."""
        assert self._planes is not None
        assert self.model is not None
        half = self.device.half if self._half is None else self._half
        one = state_bytes(self._planes.windows(), self.model.network.config, half=half)
        needed = planes * one
        place = state_place(needed, self.device, self._budget)
        if place == self.place:
            return
        self.place = place
        size = size_in_words(needed)
        if place == "recomputed":
            self._tell(
                f"The network's memory of the scans ({size}) does not fit: all scans enter again "
                "with each new one, which takes longer; use fewer planes or a crop.",
                "warning",
            )
        elif place == "host" and self.device.kind == "cuda":
            self._tell(f"The network's memory of the scans ({size}) is in main memory.", "hint")

    def _out_of_memory(self, sentence: str) -> None:
        """The device is full: its states go to main memory."""
        self._tell(sentence, "warning")
        if self.place != "device":
            return
        self.place = "host"
        for memory in self._memories.values():
            memory.place = torch.device("cpu")
            memory.windows = [[h.cpu() for h in window] for window in memory.windows]

    def _give_up_states(self) -> None:
        self._memories.clear()
        self.place = "recomputed"
        self._tell(
            "There is no room for the network's memory of the scans: all scans enter again with "
            "each new one, which takes longer.",
            "warning",
        )
