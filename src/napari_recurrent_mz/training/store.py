"""Sets of scans that wait to be trained on: a bounded ring per number of scans, on one device.

The newest sets take the place of the oldest. What is drawn from them is turned, flipped, cropped
and reordered anew every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from ..networks.inputs import Prepared
from ..networks.recurrent_mz import NetworkConfig
from .sets import Sets

_FLOOR = 1e-7
"""Mean squared error, in normalised intensities squared, below which nothing is told apart."""


class Drawn(NamedTuple):
    """Examples of one number of scans for one network."""

    inputs: Prepared
    truth: torch.Tensor  # (N, 1, H, W), in the units of the inputs' linear estimate
    # That estimate; nil for a network that makes corrections, whose truth is what is missing.
    linear: torch.Tensor
    floor: torch.Tensor  # (N,), mean squared error below which nothing is told apart


@dataclass(frozen=True)
class View:
    """Which part of the sets is shown, and how: the same for all of a batch."""

    top: int = 0
    left: int = 0
    size: int = 0  # of the window; 0 is the whole
    turned: bool = False  # rows become columns
    flipped_rows: bool = False
    flipped_columns: bool = False
    order: torch.Tensor | None = None  # (M,), in which the scans enter

    @classmethod
    def random(cls, rng: np.random.Generator, size: int, crop: int, order: torch.Tensor) -> View:
        """A random view of ``crop`` out of ``size`` pixels."""
        top, left = rng.integers(0, size - crop + 1, 2).tolist()
        turned, rows, columns = (rng.random(3) < 0.5).tolist()
        return cls(top, left, crop, turned, rows, columns, order)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns."""
        if not self.size:
            return slice(None), slice(None)
        return slice(self.top, self.top + self.size), slice(self.left, self.left + self.size)

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Turned and flipped: (…, H, W)."""
        if self.turned:
            values = values.transpose(-1, -2)
        axes = [
            axis for axis, flip in ((-2, self.flipped_rows), (-1, self.flipped_columns)) if flip
        ]
        return values.flip(axes) if axes else values


def drawn(
    sets: Sets,
    config: NetworkConfig,
    index: torch.Tensor,
    target: torch.Tensor,
    view: View,
) -> Drawn:
    """Examples of sets ``index`` and of their targets ``target``, (N,) each, for a network."""
    at = (slice(None), *view.window)
    images = view.of(sets.images[(index, *at)])
    carried = view.of(sets.carried[(index, target, *at)])
    planes = view.of(sets.planes[(index, target, *at)]).float()
    misfit = view.of(sets.misfit[(index, *at[1:])])[:, None].float()
    distance = sets.distance[index, target]
    if view.order is not None:
        images, carried, distance = (
            value.index_select(1, view.order) for value in (images, carried, distance)
        )
    base, middle, contrast = (column[:, None, None, None] for column in sets.scale[index].unbind(1))
    seen, unit, extra, residual = torch.split(planes, 1, dim=1)
    dpm = distance[..., None, None].expand_as(images).to(images.dtype)
    floor = torch.full_like(base, _FLOOR).flatten()
    if config.correction:
        skip = torch.cat([seen, extra.asinh(), (misfit / unit).asinh()], dim=1)
        scans = torch.stack([images, dpm, carried], dim=2).float()
        nil = torch.zeros_like(unit)
        inputs = Prepared(scans, nil, unit, skip, extra * unit)
        return Drawn(inputs, residual * unit, nil, floor / base.flatten() ** 2)
    linear = seen.sinh() * contrast + middle
    truth = linear + residual * unit * base
    if config.contrast == "linear":
        images = (images.float().sinh() * contrast + middle).to(images.dtype)
    scans = torch.stack([images, dpm], dim=2).float()
    return Drawn(Prepared(scans, linear, unit * base, seen, linear[:, :0]), truth, linear, floor)


class Ring:
    """The newest sets of every number of scans, as many of each as ``capacity`` says."""

    def __init__(self, capacity: dict[int, int], device: torch.device) -> None:
        self.capacity, self.device = capacity, device
        self.generator = torch.Generator(device).manual_seed(0)
        self.sets: dict[int, Sets] = {}
        self.added = dict.fromkeys(capacity, 0)

    def add(self, sets: Sets) -> None:
        """Take in sets; those of a number of scans that is not wanted are dropped."""
        count, some = sets.images.shape[1], len(sets.images)
        if count not in self.capacity:
            return
        room = self.capacity[count]
        if count not in self.sets:
            self.sets[count] = Sets(
                **{
                    name: torch.empty(
                        (room, *value.shape[1:]), dtype=value.dtype, device=self.device
                    )
                    for name, value in sets.tensors().items()
                }
            )
        begin = self.added[count]
        at = (torch.arange(some, device=self.device) + begin) % room
        for name, value in sets.tensors().items():
            getattr(self.sets[count], name)[at] = value.to(self.device)
        self.added[count] += some

    def filled(self, count: int) -> int:
        """How many sets of a number of scans there are."""
        return min(self.added[count], self.capacity[count])

    def draw(
        self, config: NetworkConfig, count: int, size: int, crop: int, rng: np.random.Generator
    ) -> Drawn:
        """``size`` random examples of a number of scans."""
        sets, device, generator = self.sets[count], self.device, self.generator
        pixels, targets = sets.images.shape[-1], sets.planes.shape[1]
        # Drawn on the device: what is copied there would have to wait for it.
        index = torch.randint(self.filled(count), (size,), generator=generator, device=device)
        target = torch.randint(targets, (size,), generator=generator, device=device)
        order = torch.randperm(count, generator=generator, device=device)
        view = View.random(rng, pixels, min(crop, pixels), order)
        return drawn(sets, config, index, target, view)
