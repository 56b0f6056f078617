"""How much work the network is: operations and memory traffic of every stage, from shapes alone.

What is counted is the plain network (:mod:`~.recurrent_mz`), convolution by
convolution. A path that computes the same in fewer operations is held against this count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from .architectures import architecture_of, build
from .recurrent_mz import NetworkConfig

_RECURRENT = "recurrent-mz"


@dataclass(frozen=True)
class Work:
    """Work of one stage."""

    #: ``encoder 1`` … ``encoder 5``, ``gates``, ``mix`` and ``decoder`` likewise, ``last``
    stage: str
    operations: float  #: multiplications and additions
    #: what is read and written: of every convolution its input, its output and its weights, once
    #: each. What happens to single values (normalisation, ReLU, gates, pooling, enlarging, joining)
    #: is taken to be done on the way and costs nothing.
    moved_bytes: float


@dataclass(frozen=True)
class _Convolution:
    stage: str
    inputs: int
    outputs: int
    side: int
    level: int
    times: int

    def operations(self, pixels: float) -> float:
        return 2.0 * self.times * pixels * self._weights

    def values(self, pixels: float) -> float:
        return self.times * (pixels * (self.inputs + self.outputs) + self._weights)

    @property
    def _weights(self) -> int:
        return self.inputs * self.outputs * self.side**2


def network_work(
    config: NetworkConfig,
    shape: tuple[int, int],
    n_scans: int,
    *,
    known: int = 0,
    value_bytes: int = 4,
) -> list[Work]:
    """The work of Recurrent-MZ for one plane, stage by stage, in the order of computing.

    Parameters
    ----------
    config : NetworkConfig
    shape : tuple of int
        (Y, X) of the images, in pixels; padded as the network does.
    n_scans : int
        M, at or above 1.
    known : int, optional
        How many of them are in kept state already, 0 to M − 1.
    value_bytes : int, optional
        Bytes of a number: 4 in single precision, 2 in half precision.

    Raises
    ------
    ValueError
        If every scan is known already, or the configuration is of another architecture.

    Notes
    -----
    A convolution of side s from C to D channels takes 2 · s² · C · D operations for a pixel;
    level k has 4^(1−k) of the pixels. At the first scan the state is zero, and its two
    convolutions fall away (Huang et al. 2021, "Network structure").
    """
    if architecture_of(config) != _RECURRENT or not 0 <= known < n_scans:
        raise ValueError("counted is the recurrent network with at least one scan that is new")
    multiple = 1 << (config.levels - 1)
    rows, columns = (-(-length // multiple) * multiple for length in shape)
    work: dict[str, Work] = {}
    for convolution in _convolutions(config, n_scans - known, first=known == 0):
        pixels = rows * columns / 4 ** (convolution.level - 1)
        before = work.get(convolution.stage, Work(convolution.stage, 0.0, 0.0))
        work[convolution.stage] = Work(
            convolution.stage,
            before.operations + convolution.operations(pixels),
            before.moved_bytes + value_bytes * convolution.values(pixels),
        )
    return list(work.values())


def _convolutions(config: NetworkConfig, scans: int, *, first: bool) -> Iterator[_Convolution]:
    """Every convolution, with how often it is done for ``scans`` scans that are new."""
    levels = range(1, config.levels + 1)
    for k in levels:
        c = config.channels(k)
        inputs = config.input_channels if k == 1 else config.channels(k - 1)
        yield _Convolution(f"encoder {k}", inputs, c // 2, 3, k, scans)
        yield _Convolution(f"encoder {k}", c // 2, c, 3, k, scans)
    for k in levels:
        c = config.channels(k)
        yield _Convolution(f"gates {k}", c, 2 * c, 3, k, scans)
        yield _Convolution(f"gates {k}", c, c, 3, k, 2 * (scans - first))
    for k in levels:
        c = config.channels(k)
        yield _Convolution(f"mix {k}", c, c, 1, k, 1)
    for k in reversed(levels):
        c = config.channels(k)
        below = config.channels(k + 1) if k < config.levels else 0
        beside = config.skip_channels if k == 1 or config.nonnegative else 0
        yield _Convolution(f"decoder {k}", below + c + beside, c, 3, k, 1)
        yield _Convolution(f"decoder {k}", c, c, 3, k, 1)
    yield _Convolution("last", config.base_channels, 1 + config.objects, 3, 1, 1)


def operations_per_pixel(config: NetworkConfig, n_scans: int) -> float:
    """Multiplications and additions of the convolutions for one pixel of one plane.

    Of any architecture, for M = ``n_scans`` and an image that needs no padding. Those without
    a count of their own are run on a small image.
    """
    side = 1 << (config.levels - 1)
    if architecture_of(config) != _RECURRENT:
        return _counted(config, n_scans, side) / side**2
    return sum(work.operations for work in network_work(config, (side, side), n_scans)) / side**2


@lru_cache(maxsize=32)
def _counted(config: NetworkConfig, n_scans: int, side: int) -> int:
    """Operations of a network by running one: PyTorch's counter would load Triton's LLVM."""
    total = 0

    def count(module: Any, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        values = given[0] if isinstance(module, nn.ConvTranspose2d) else output
        total += 2 * values.numel() * module.weight[0].numel()

    with torch.random.fork_rng(devices=[]):  # only the number of weights counts
        network = build(config).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, n_scans, config.input_channels, side, side))
    return total
