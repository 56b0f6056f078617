"""Dead parts of a network brought back to life, without a change of what it makes.

A ReLU whose input is negative for every image gets no gradient. Its channel gets fresh weights on
the way in and zeros on the way out (Sokar et al., Int. Conf. Machine Learning 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ..networks.architectures import Network
from ..networks.inputs import Prepared
from ..networks.recurrent_mz import ConvGRU, RecurrentMZ

_SAME = 1e-6
"""A channel that varies by less than this is constant."""

_FRESH = 0.1
"""Fresh weights whose way out cannot be closed begin with this share of their usual size."""


@dataclass(frozen=True)
class Revived:
    """What was found dead."""

    channels: int  # that were zero, of those of all levels that counted
    levels: int  # that no longer took part


@torch.no_grad()
def bring_back(network: RecurrentMZ, examples: Sequence[Prepared]) -> Revived:
    """Give the parts of a network that ``examples`` show to be dead fresh weights, in place."""
    with watched(network) as ranges:
        for example in examples:
            network(*example)
    levels = _cut_off(network, ranges)
    channels = 0
    for level in range(network.config.levels - levels):
        channels += _renew_encoder(network, level, ranges)
        channels += _renew_decoder(network, level, ranges)
    return Revived(channels, levels)


Ranges = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Lowest and highest value of every channel that a rectifier gives, below zero counted as zero."""


@contextmanager
def watched(network: Network) -> Iterator[Ranges]:
    """The ranges, by the rectifiers' names, of all images that the network sees inside."""
    ranges: Ranges = {}

    def note(name: str, _module: nn.Module, given: tuple[torch.Tensor]) -> None:
        active = given[0].detach().clamp_min(0)
        low, high = active.amin((0, 2, 3)), active.amax((0, 2, 3))
        if name in ranges:
            low, high = low.minimum(ranges[name][0]), high.maximum(ranges[name][1])
        ranges[name] = low, high

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if isinstance(module, nn.ReLU | nn.LeakyReLU):
                hooks.enter_context(module.register_forward_pre_hook(partial(note, name)))
        yield ranges


@dataclass(frozen=True)
class Dead:
    """What took no part in any image, by its name in the network."""

    channels: dict[str, int]  # of which block, and how many of them are never above zero
    blocks: tuple[str, ...]  # whose output is the same everywhere: the levels below are cut off

    @classmethod
    def among(cls, ranges: Ranges) -> Dead:
        """The dead of what was watched."""
        last = {name.rpartition(".")[0]: low_high for name, low_high in ranges.items()}
        counts = dict.fromkeys(last, 0)
        for name, low_high in ranges.items():
            counts[name.rpartition(".")[0]] += int(_dead(low_high).sum())
        blocks = tuple(block for block, low_high in last.items() if _is_constant(low_high))
        return cls({block: count for block, count in counts.items() if count}, blocks)

    @property
    def words(self) -> str:
        """What is logged; nothing where nothing is dead."""
        phrases = [f"{block} makes the same everywhere" for block in self.blocks]
        if self.channels:
            each = [f"{count} in {block}" for block, count in self.channels.items()]
            phrases.append(f"channels never above zero: {', '.join(each)}")
        return "; ".join(phrases)


def _pair(block: nn.Module) -> tuple[nn.Conv2d, nn.Conv2d]:
    first, second = (layer for layer in block.children() if isinstance(layer, nn.Conv2d))
    return first, second


def _cut_off(network: RecurrentMZ, ranges: Ranges) -> int:
    """Begin anew the levels below a decoder block whose output no image changes."""
    for level in range(1, network.config.levels):
        low, high = _both(ranges, "decoder", level)[1]
        if not _is_constant((low, high)):
            continue
        consumer = _pair(network.decoder[level - 1])[0]
        constant = consumer.weight[:, : len(low)].sum((2, 3)) @ low
        assert consumer.bias is not None  # no batch normalisation
        consumer.bias += constant
        consumer.weight[:, : len(low)] = 0
        _begin_anew(network, level)
        return network.config.levels - level
    return 0


def _begin_anew(network: RecurrentMZ, first: int) -> None:
    for level in range(first, network.config.levels):
        for module in (network.recurrent[level], network.mix[level]):
            for conv in module.modules():
                if isinstance(conv, nn.Conv2d):
                    conv.reset_parameters()
        for conv in (*_pair(network.encoder[level]), *_pair(network.decoder[level])):
            _fresh(conv, torch.ones(conv.out_channels, dtype=torch.bool))


def _fresh(conv: nn.Conv2d, rows: torch.Tensor, size: float = 1.0) -> None:
    """New incoming weights for some of the output channels."""
    drawn = torch.empty_like(conv.weight)
    nn.init.kaiming_normal_(drawn, nonlinearity="relu")
    conv.weight[rows] = size * drawn[rows]
    if conv.bias is not None:
        conv.bias[rows] = 0


def _renew_encoder(network: RecurrentMZ, level: int, ranges: Ranges) -> int:
    first, second = _pair(network.encoder[level])
    middle, out = map(_dead, _both(ranges, "encoder", level))
    _fresh(first, middle)
    second.weight[:, middle] = 0
    _fresh(second, out, _FRESH)  # joins the decoder in a sum whose other part is alive
    unit = network.recurrent[level]
    assert isinstance(unit, ConvGRU)
    unit.w.weight[:, out] = 0
    if level + 1 < network.config.levels:
        _pair(network.encoder[level + 1])[0].weight[:, out] = 0
    return int(middle.sum() + out.sum())


def _renew_decoder(network: RecurrentMZ, level: int, ranges: Ranges) -> int:
    first, second = _pair(network.decoder[level])
    middle, out = map(_dead, _both(ranges, "decoder", level))
    _fresh(first, middle)
    second.weight[:, middle] = 0
    _fresh(second, out)
    consumer = network.last if level == 0 else _pair(network.decoder[level - 1])[0]
    consumer.weight[:, : len(out)][:, out] = 0
    return int(middle.sum() + out.sum())


def _both(ranges: Ranges, part: str, level: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The ranges after the two convolutions of a block."""
    return [range_ for name, range_ in ranges.items() if name.startswith(f"{part}.{level}.")]


def _dead(low_high: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return low_high[1] <= 0


def _is_constant(low_high: tuple[torch.Tensor, torch.Tensor]) -> bool:
    low, high = low_high
    return bool((high - low <= _SAME).all())
