"""Dead parts of a network brought back to life, without a change of what it makes.

A ReLU whose input is negative for every image gets no gradient. Its channel gets fresh weights on
the way in and zeros on the way out (Sokar et al., Int. Conf. Machine Learning 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

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
    """Give the dead parts of a network fresh weights, in place.

    The ``examples`` show which channels are dead. Batch normalisation keeps them alive by itself.
    """
    ranges = _ranges(network, examples)
    levels = _cut_off(network, ranges)
    channels = 0
    for level in range(network.config.levels - levels):
        channels += _renew_encoder(network, level, ranges)
        channels += _renew_decoder(network, level, ranges)
    return Revived(channels, levels)


Ranges = dict[nn.Module, tuple[torch.Tensor, torch.Tensor]]
"""Lowest and highest value of every channel after a rectifier's convolution."""


def _ranges(network: RecurrentMZ, examples: Sequence[Prepared]) -> Ranges:
    """What every convolution that a rectifier follows gives, below zero counted as zero."""
    ranges: Ranges = {}

    def note(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        active = output.clamp_min(0)
        low, high = active.amin((0, 2, 3)), active.amax((0, 2, 3))
        if module in ranges:
            low = torch.minimum(low, ranges[module][0])
            high = torch.maximum(high, ranges[module][1])
        ranges[module] = low, high

    blocks = [*network.encoder, *network.decoder]
    hooks = [conv.register_forward_hook(note) for block in blocks for conv in _pair(block)]
    try:
        for example in examples:
            network(*example)
    finally:
        for hook in hooks:
            hook.remove()
    return ranges


def _pair(block: nn.Module) -> tuple[nn.Conv2d, nn.Conv2d]:
    first, second = (layer for layer in block.children() if isinstance(layer, nn.Conv2d))
    return first, second


def _cut_off(network: RecurrentMZ, ranges: Ranges) -> int:
    """Begin anew the levels below a decoder block whose output no image changes."""
    for level in range(1, network.config.levels):
        low, high = ranges[_pair(network.decoder[level])[1]]
        if bool((high - low > _SAME).any()):
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
    middle, out = _dead(ranges[first]), _dead(ranges[second])
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
    middle, out = _dead(ranges[first]), _dead(ranges[second])
    _fresh(first, middle)
    second.weight[:, middle] = 0
    _fresh(second, out)
    consumer = network.last if level == 0 else _pair(network.decoder[level - 1])[0]
    consumer.weight[:, : len(out)][:, out] = 0
    return int(middle.sum() + out.sum())


def _dead(low_high: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return low_high[1] <= 0
