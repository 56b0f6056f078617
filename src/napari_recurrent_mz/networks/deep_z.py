"""Deep-Z: the plane that one network makes of the nearest scan alone.

Wu et al., Nature Methods 16:1323 (2019), used as Huang et al. 2021 do ("The implementation of
Deep-Z"): of several scans the nearest one goes in with its DPM, so that M scans give M
volumes that meet half-way.

Shapes in the comments: N images, H × W pixels, k the level (1 … 5), c_k = base · 2^(k−1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from .plain import PlainConfig, PlainNetwork, nearest_scans
from .recurrent_mz import _convolutions


@dataclass(frozen=True)
class DeepZConfig(PlainConfig):
    """The choices that shape Deep-Z.

    Parameters
    ----------
    base_channels : int
        c_1; 48 in the publication, whose blocks end in 48, 96, 192, 384 and 768 channels.
    levels : int
        Number of blocks down; one fewer go up.
    norm : {"none", "batch"}
        The publication has none.
    """

    base_channels: int = 48
    norm: str = "none"


class DeepZ(PlainNetwork):
    """The generator of Deep-Z.

    A block down adds two convolutions to its input, whose missing channels count as zero:
    x_(k+1) = x_k + ReLU(Conv(ReLU(Conv(x_k)))). A block up has two convolutions of the
    enlarged image below beside x_k. The steps between levels are our reading: averaging over
    2 × 2 pixels on the way down, bilinear enlargement on the way up.
    """

    def __init__(self, config: DeepZConfig | None = None) -> None:
        super().__init__(config := config or DeepZConfig())
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level in range(1, config.levels + 1):
            c = config.channels(level)
            before = config.input_channels if level == 1 else c // 2
            self.down.append(_convolutions(before, _middle(c), c, config))
        for level in range(1, config.levels):
            c, below = config.channels(level), config.channels(level + 1)
            self.up.append(_convolutions(below + c, _middle(below), c, config))
        self.last = nn.Conv2d(config.base_channels, 1, 3, padding=1)

    def image(self, scans: torch.Tensor) -> torch.Tensor:
        """(N, M, 2, H, W) → (N, 1, H, W)."""
        x = nearest_scans(scans, 1)[:, 0]  # (N, 2, H, W)
        skips: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            x = functional.avg_pool2d(x, 2) if level else x
            new = block(x)  # (N, c_k, H_k, W_k)
            x = new + functional.pad(x, (0, 0, 0, 0, 0, new.shape[1] - x.shape[1]))
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = self.up[level](torch.cat([x, skips[level]], dim=1))
        image: torch.Tensor = self.last(x)
        return image


def _middle(channels: int) -> int:
    """Channels between the two convolutions of a block: 72 on the way to 96."""
    return max(1, round(0.75 * channels))
