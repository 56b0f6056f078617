"""The discriminator of the adversarial loss."""

from __future__ import annotations

import torch
from torch import nn


class Discriminator(nn.Module):
    """Five convolutional blocks and two dense layers (Huang et al. 2021, "Network structure").

    Block k has two 3×3 convolutions with 20 · 2^k channels; a global average pooling, a dense
    layer of 20 units with ReLU, and one unit with a sigmoid follow. Where the paper is silent
    (Fig. S8): k = 0 … 4, LeakyReLU, and the second convolution of a block halves the image.

    Parameters
    ----------
    base_channels : int, optional
        20 in the paper.
    """

    def __init__(self, base_channels: int = 20) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for level in range(5):
            channels = base_channels * 2**level
            layers += [
                nn.Conv2d(before, channels, 3, padding=1),
                nn.LeakyReLU(0.1, inplace=True),
                nn.Conv2d(channels, channels, 3, stride=2, padding=1),
                nn.LeakyReLU(0.1, inplace=True),
            ]
            before = channels
        self.blocks = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            nn.Linear(before, 20), nn.ReLU(inplace=True), nn.Linear(20, 1), nn.Sigmoid()
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images (N, 1, H, W) → how real they look, (N, 1), 0 to 1."""
        judged: torch.Tensor = self.dense(self.blocks(image).mean(dim=(-2, -1)))
        return judged
