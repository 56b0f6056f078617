"""Sets of scans that wait to be trained on: a bounded ring per number of scans, on one device.

The newest sets take the place of the oldest. What is drawn from them is turned, flipped, cropped
and reordered anew every time.
"""

from __future__ import annotations

import numpy as np
import torch

from ..networks.inputs import Prepared
from ..networks.recurrent_mz import NetworkConfig
from .examples import Batch, View
from .learner import TrainConfig
from .losses import FLOOR
from .sets import SetConfig, Sets


def drawn(
    sets: Sets,
    config: NetworkConfig,
    index: torch.Tensor,
    target: torch.Tensor,
    view: View,
    *,
    whole: bool = False,
) -> Batch:
    """Examples of sets ``index`` and of their targets ``target``, (N,) each, for a network.

    A network that corrects the linear estimate makes, unless ``whole``, what that misses: half
    precision keeps it better than the whole image.
    """
    at = (slice(None), *view.window)
    images = view.of(sets.images[(index, *at)])
    carried = view.of(sets.carried[(index, target, *at)])
    planes = view.of(sets.planes[(index, target, *at)]).float()
    misfit = view.of(sets.misfit[(index, *at[1:])])[:, None].float()
    distance = sets.distance[index, target]
    order = view.entering(distance)
    if order is not None:
        distance = distance.take_along_dim(order, 1)
        images, carried = (v.take_along_dim(order[..., None, None], 1) for v in (images, carried))
    base, middle, contrast = (column[:, None, None, None] for column in sets.scale[index].unbind(1))
    seen, unit, extra, residual = torch.split(planes, 1, dim=1)
    beside = [extra.asinh(), (misfit / unit).asinh()] if config.nonnegative else []
    linear, floor = torch.zeros_like(unit), torch.full_like(base, FLOOR).flatten()
    if config.correction and not whole:
        floor = floor / base.flatten() ** 2
    else:
        linear, unit = seen.sinh() * contrast + middle, unit * base
    if config.contrast == "linear":
        images, carried = (
            (value.float().sinh() * contrast + middle).to(value.dtype)
            for value in (images, carried)
        )
        seen = seen.sinh() * contrast + middle
    dpm = distance[..., None, None].expand_as(images).to(images.dtype)
    channels = [images, dpm, carried] if config.propagated_input else [images, dpm]
    inputs = Prepared(
        torch.stack(channels, dim=2).float(),
        linear,
        unit,
        torch.cat([seen, *beside], dim=1),
        extra * unit if config.nonnegative else extra[:, :0],
    )
    return Batch(inputs, linear + residual * unit, linear, floor)


class Ring:
    """The newest sets of every number of scans, as many of each as ``capacity`` says."""

    def __init__(self, capacity: dict[int, int], device: torch.device) -> None:
        self.capacity, self.device = capacity, device
        self.generator = torch.Generator(device)
        self.sets: dict[int, Sets] = {}
        self.added = dict.fromkeys(capacity, 0)

    @classmethod
    def of(cls, config: SetConfig, gigabytes: float, device: torch.device) -> Ring:
        """A ring of so many gigabytes, for sets as they are drawn."""
        total = gigabytes * 1e9 / config.set_bytes
        return cls({m: max(int(total * s), 8) for m, s in config.shares().items()}, device)

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
        return min(self.added.get(count, 0), self.capacity.get(count, 0))

    def draw(
        self,
        config: TrainConfig,
        size: int,
        rng: np.random.Generator,
        shares: dict[int, float],
    ) -> Batch:
        """``size`` random examples of a random number of scans, of those that there are."""
        there = {m: share for m, share in shares.items() if self.filled(m)}
        odds = np.array(list(there.values())) / sum(there.values())
        count = int(rng.choice(list(there), p=odds))
        sets, device = self.sets[count], self.device
        generator = self.generator.manual_seed(int(rng.integers(2**62)))
        pixels, targets = sets.images.shape[-1], sets.planes.shape[1]
        # Drawn on the device: what is copied there would have to wait for it.
        index = torch.randint(self.filled(count), (size,), generator=generator, device=device)
        target = torch.randint(targets, (size,), generator=generator, device=device)
        order = torch.randperm(count, generator=generator, device=device)
        examples = config.examples
        view = View.random(rng, (pixels, pixels), examples.crop, order, examples.order)
        whole = config.loss.sees_images
        return drawn(sets, config.network, index, target, view, whole=whole)
