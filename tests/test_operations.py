"""How much work the network is, against PyTorch's own count of what it does."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_recurrent_mz.networks.architectures import build
from napari_recurrent_mz.networks.deep_z import DeepZConfig
from napari_recurrent_mz.networks.operations import network_work, operations_per_pixel
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.unet3d import UNet3DConfig

OURS = NetworkConfig(base_channels=4, levels=3)
CONFIGS = {
    "paper": NetworkConfig.paper(),
    "ours": OURS,
    "non-negative": NetworkConfig(base_channels=6, levels=4, norm="none", nonnegative=True),
    "correction only": NetworkConfig(base_channels=4, levels=2, linear_skip=False),
}


def counted(config: NetworkConfig, shape: tuple[int, int], scans: int, known: int) -> Counter[str]:
    """Operations by stage for the scans after the known ones: hooks, and PyTorch for their sum."""
    found: Counter[str] = Counter()

    def count(stage: str, module: torch.nn.Conv2d, output: torch.Tensor) -> None:
        found[stage] += 2 * output.numel() * module.weight[0].numel()

    with torch.device("meta"), torch.inference_mode():
        network = RecurrentMZ(config).eval()
        given = torch.zeros(1, scans, config.input_channels, *shape)
        linear = torch.zeros(1, 1, *shape)
        skip = torch.zeros(1, max(config.skip_channels, 1), *shape)
        beside = (linear, linear, skip, linear)
        state = network.continue_from(None, given[:, :known], *beside)[1] if known else None
        for name, module in network.named_modules():
            if isinstance(module, torch.nn.Conv2d):
                part, *rest = name.replace("recurrent", "gates").split(".")
                stage = f"{part} {int(rest[0]) + 1}" if rest else part
                module.register_forward_hook(lambda m, _, out, stage=stage: count(stage, m, out))
        with FlopCounterMode(display=False) as counter:
            network.continue_from(state, given[:, known:], *beside)
    assert sum(found.values()) == counter.get_total_flops()
    return found


@pytest.mark.parametrize("shape", [(64, 48), (33, 50)])
@pytest.mark.parametrize(("scans", "known"), [(1, 0), (3, 0), (3, 2)])
@pytest.mark.parametrize("name", CONFIGS)
def test_operations_of_every_stage(
    name: str, scans: int, known: int, shape: tuple[int, int]
) -> None:
    work = network_work(CONFIGS[name], shape, scans, known=known)
    assert {w.stage: w.operations for w in work} == counted(CONFIGS[name], shape, scans, known)


@pytest.mark.parametrize("scans", [1, 3])
@pytest.mark.parametrize("config", [*CONFIGS.values(), DeepZConfig(), UNet3DConfig()])
def test_operations_per_pixel(config: NetworkConfig, scans: int) -> None:
    """Of every architecture, for an image that needs no padding."""
    with torch.device("meta"), torch.inference_mode():
        network = build(config).eval()
        one = torch.zeros(1, 1, 64, 64)
        skip = torch.zeros(1, max(config.skip_channels, 1), 64, 64)
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, scans, config.input_channels, 64, 64), one, one, skip, one)
    assert operations_per_pixel(config, scans) * 64 * 64 == counter.get_total_flops()


def test_the_paper_s_network() -> None:
    """About 590 GFLOP for 1024 × 1024 pixels at M = 3, and half of it for one more scan."""
    config = NetworkConfig.paper()
    whole, more = (
        sum(w.operations for w in network_work(config, (1024, 1024), 3, known=known))
        for known in (0, 2)
    )
    assert whole == pytest.approx(592e9, rel=0.02)
    assert more / whole == pytest.approx(303 / 592, rel=0.05)


def test_bytes_of_a_convolution() -> None:
    """In, out, and weights, once each: the last convolution in closed form."""
    c, pixels = OURS.base_channels, 64 * 48
    single, half = (network_work(OURS, (64, 48), 2, value_bytes=size)[-1] for size in (4, 2))
    assert single.stage == "last"
    assert single.moved_bytes == 4 * (pixels * (c + 1) + 9 * c)
    assert half.moved_bytes == single.moved_bytes / 2


@pytest.mark.parametrize(("scans", "known"), [(0, 0), (2, 2), (2, -1)])
def test_needs_a_new_scan(scans: int, known: int) -> None:
    with pytest.raises(ValueError, match="at least one scan that is new"):
        network_work(OURS, (64, 64), scans, known=known)
