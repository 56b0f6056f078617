"""Memory of the scans that a network has seen, between one scan and the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from .recurrent_mz import State


@dataclass
class Memory:
    """States of the network after the scans so far, for one plane, window by window."""

    place: torch.device  # where it waits until the next scan
    entered: int = 0  # how many scans have been taken in
    tile: int = 0  # size of the windows
    windows: list[State] = field(default_factory=list)  # one state for each

    def known(self, n_scans: int, tile: int) -> int:
        """How many of the first of ``n_scans`` scans need not be seen again."""
        return self.entered if self.tile == tile and self.entered < n_scans else 0

    def forget(self) -> None:
        """Begin again with the first scan."""
        self.keep([], 0, 0)

    def keep(self, windows: list[State], entered: int, tile: int) -> None:
        """Remember a plane once all of its windows are done."""
        self.windows, self.entered, self.tile = windows, entered, tile


def stacked_states(
    memories: Sequence[Memory], number: int, device: torch.device, dtype: torch.dtype
) -> State | None:
    """States of one window of some planes, stacked on the device and in the type of the network."""
    if not memories[0].windows:
        return None
    states = [[h.to(device, dtype) for h in memory.windows[number]] for memory in memories]
    if len(states) == 1:
        return states[0]
    return [torch.cat(levels) for levels in zip(*states, strict=True)]


def split_states(state: State, memories: Sequence[Memory]) -> Iterator[State]:
    """States of a window for each of some planes, moved to where they wait."""
    if len(memories) == 1:
        yield [h.to(memories[0].place) for h in state]
        return
    for number, memory in enumerate(memories):  # copies, that one goes without the others
        yield [h[number : number + 1].to(memory.place, copy=True) for h in state]
