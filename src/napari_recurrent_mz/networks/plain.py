"""Base of the trained baselines: image and DPM in, image out, nothing from the optics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ..core.scans import InputError
from .recurrent_mz import NetworkConfig


@dataclass(frozen=True)
class PlainConfig(NetworkConfig):
    """The choices of a network that sees scans and their distances alone."""

    propagated_input: bool = False
    correction: bool = False
    linear_skip: bool = False
    contrast: str = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("propagated_input", "correction", "linear_skip", "nonnegative"):
            if getattr(self, name):
                raise InputError(
                    f"This network takes images and distances alone: leave out "
                    f"--{name.replace('_', '-')}, which is for recurrent-mz."
                )


class PlainNetwork(nn.Module):
    """A network that makes the image of the target from scans with their DPMs."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.config: NetworkConfig = config

    def forward(
        self, scans: torch.Tensor | Sequence[torch.Tensor], *_beside: torch.Tensor | None
    ) -> torch.Tensor:
        """Image of the target surface (N, 1, H, W) from scans (N, M, C, H, W)."""
        given = scans if isinstance(scans, torch.Tensor) else torch.stack(list(scans), dim=1)
        high, wide = given.shape[-2:]
        multiple = 2 ** (self.config.levels - 1)
        sides = (0, -wide % multiple, 0, -high % multiple, 0, 0)
        padded = functional.pad(given, sides, mode="replicate") if any(sides) else given
        return self.image(padded)[..., :high, :wide]

    def image(self, scans: torch.Tensor) -> torch.Tensor:
        """Image for an H and W that the levels divide."""
        raise NotImplementedError


def nearest_scans(scans: torch.Tensor, count: int, *, sort: bool = False) -> torch.Tensor:
    """The scans nearest to the target at every pixel, the nearest repeated if there are too few."""
    distance = scans[:, :, 1]  # target − scan: (N, M, H, W)
    chosen = distance.abs().argsort(dim=1, stable=True)[:, :count]
    missing = count - chosen.shape[1]
    if missing > 0:
        chosen = torch.cat([chosen[:, :1].expand(-1, missing, -1, -1), chosen], dim=1)
    key = -distance.gather(1, chosen) if sort else chosen
    chosen = chosen.gather(1, key.argsort(dim=1, stable=True))
    return scans.gather(1, chosen[:, :, None].expand(-1, -1, scans.shape[2], -1, -1))
