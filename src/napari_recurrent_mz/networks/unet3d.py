"""The 3-D U-Net: a fixed number of scans in one go, without recurrence.

Huang et al. 2021, "The implementation of 3D U-Net", after Çiçek et al., MICCAI 2016: M scans
with their DPMs are one block, kernels are 3 × 3 × 3, and the last convolution of down-sampling
block k has 60 · 2^k channels. Where the paper is silent: a scan and its DPM are two channels
at one depth of the block; pooling halves rows and columns and keeps the depth, because M is
small; the last convolution joins the M depths to one image.

Shapes in the comments: N images, M scans, H × W pixels, c_k = base · 2^k, k = 0 … 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from .plain import PlainConfig, PlainNetwork, nearest_scans
from .recurrent_mz import start_at_random


@dataclass(frozen=True)
class UNet3DConfig(PlainConfig):
    """The choices that shape the 3-D U-Net.

    Parameters
    ----------
    base_channels : int
        c_0; 60 in the paper.
    levels : int
        Number of down-sampling blocks.
    input_scans : int
        M, the number of scans that the 3-D U-Net is built for. Of more scans it takes those
        nearest to the target; of fewer, it repeats the nearest.
    sort : bool
        The 3-D U-Net orders its scans along z before it takes them in. Without, it sees
        them in the order given.
    """

    base_channels: int = 60
    levels: int = 4
    input_scans: int = 3
    sort: bool = True


class UNet3D(PlainNetwork):
    """The 3-D U-Net.

    Notes
    -----
    Depth is folded into the batch, (N · M, c, H, W), so that everything but the joining of
    neighbouring depths is two-dimensional: the same numbers, several times as fast on a CPU.
    """

    def __init__(self, config: UNet3DConfig | None = None) -> None:
        super().__init__(config := config or UNet3DConfig())
        self.input_scans, self.sort = config.input_scans, config.sort
        self.down, self.enlarge, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in range(1, config.levels + 1):
            c = config.channels(level)
            before = config.input_channels if level == 1 else c // 2
            self.down.append(_block(before, c // 2, c, config))
        for level in range(1, config.levels):
            c, below = config.channels(level), config.channels(level + 1)
            self.enlarge.append(nn.ConvTranspose2d(below, below, 2, stride=2))
            self.up.append(_block(below + c, c, c, config))
        self.last = nn.Conv2d(config.base_channels * config.input_scans, 1, 1)

    def image(self, scans: torch.Tensor) -> torch.Tensor:
        """(N, M', 2, H, W) → (N, 1, H, W)."""
        chosen = nearest_scans(scans, self.input_scans, sort=self.sort)
        x = chosen.flatten(0, 1)  # (N · M, 2, H, W)
        skips: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)  # (N · M, c_k, H_k, W_k)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([self.enlarge[level](x), skips[level]], dim=1))
        image: torch.Tensor = self.last(x.reshape(len(scans), -1, *x.shape[-2:]))
        return image


class Convolution3D(nn.Conv2d):
    """A 3×3×3 convolution over M depths that are folded into the batch: (N · M, C, H, W)."""

    def __init__(self, inputs: int, outputs: int, depths: int, *, bias: bool = True) -> None:
        super().__init__(3 * inputs, outputs, 3, padding=1, bias=bias)
        start_at_random(self.weight)
        self.depths = depths

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        block = x.reshape(-1, self.depths, *x.shape[1:])
        wider = functional.pad(block, (0, 0, 0, 0, 0, 0, 1, 1))
        below, above = wider[:, :-2], wider[:, 2:]
        return super().forward(torch.cat([below, block, above], dim=2).flatten(0, 1))


def _block(inputs: int, middle: int, outputs: int, config: UNet3DConfig) -> nn.Sequential:
    """Two 3×3×3 convolutions, each with BN and ReLU."""
    layers: list[nn.Module] = []
    for before, after in ((inputs, middle), (middle, outputs)):
        layers.append(Convolution3D(before, after, config.input_scans, bias=config.norm == "none"))
        layers += [nn.BatchNorm2d(after)] if config.norm == "batch" else []
        slope = config.slope
        layers.append(nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
