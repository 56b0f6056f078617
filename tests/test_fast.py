"""The fast form of a network makes the plain one's image, in every configuration."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from napari_recurrent_mz import load_model
from napari_recurrent_mz.networks import fast as fast_module
from napari_recurrent_mz.networks.fast import FastNetwork, Precision
from napari_recurrent_mz.networks.inputs import Prepared
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ

CHANGES = Path(__file__).resolve().parents[1] / "docs" / "measure_changes.py"
SINGLE = Precision.of("cpu", half=False)
HALF = Precision.of("cpu", half=True)
bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU has no bfloat16"
)
OURS = NetworkConfig(base_channels=4, norm="none", nonnegative=True)
CONFIGS = {
    "ours": OURS,
    "with a slope": replace(OURS, slope=0.1),
    "batch normalised": NetworkConfig(base_channels=4),
    "the paper's": replace(NetworkConfig.paper(), base_channels=4),
    "of three levels": replace(OURS, levels=3),
    "of one level": replace(OURS, levels=1),
    "without the object": NetworkConfig(base_channels=4, norm="none"),
    "without linear skip": NetworkConfig(base_channels=4, linear_skip=False),
    "confocal": replace(OURS, target="confocal"),
}


def random_network(config: NetworkConfig) -> RecurrentMZ:
    """A network in which every weight counts, its batch statistics too."""
    torch.manual_seed(3)
    network = RecurrentMZ(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    nn.init.normal_(network.last.weight, std=0.1)
    return network.eval()


def noise(config: NetworkConfig, n: int = 1, scans: int = 3, side: int = 48) -> Prepared:
    """An input of noise, its sides no multiple of what the network pads to."""
    torch.manual_seed(4)

    def one(channels: int) -> torch.Tensor:
        return torch.randn(n, channels, side, side - 10)

    beside = max(config.skip_channels, 1)
    entering = torch.randn(n, scans, config.input_channels, side, side - 10)
    extra = one(1 if config.nonnegative else 0)
    return Prepared(entering, one(1), one(1).abs(), one(beside), extra)


def off(made: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest deviation, of the range."""
    return float((made - wanted).abs().max() / (wanted.max() - wanted.min()))


def psnr(made: torch.Tensor, wanted: torch.Tensor) -> float:
    """Peak signal to noise ratio over the range, in dB."""
    error = float(((made - wanted) ** 2).mean().sqrt())
    return float(20 * np.log10(float(wanted.max() - wanted.min()) / error))


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_single_precision_makes_the_same_image(name: str) -> None:
    config = CONFIGS[name]
    network = random_network(config)
    fast = FastNetwork(network, SINGLE)
    given = noise(config)
    wanted = network(*given)
    assert off(fast(*given), wanted) < 1e-5
    # Buffers are used again: other sizes, more planes at once, and the first input once more.
    for other in (noise(config, side=80), noise(config, n=2), noise(config, scans=1)):
        assert off(fast(*other), network(*other)) < 1e-5
    first = fast(*given)
    fast(*noise(config, scans=2))
    assert off(first, wanted) < 1e-5, "an image that was given away has changed"


@pytest.mark.parametrize("strip_bytes", [1, 7_000, 2**22])
@pytest.mark.parametrize("name", ["ours", "with a slope", "the paper's"])
@torch.no_grad()
def test_large_images_are_made_in_strips(
    name: str, strip_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_module, "_STRIP_BYTES", strip_bytes)  # from one row to all of them
    config = CONFIGS[name]
    network = random_network(config)
    fast = FastNetwork(network, SINGLE)
    for given in (noise(config), noise(config, n=2, side=75)):
        wanted = network(*given)
        assert off(fast(*given), wanted) < 1e-5
        _, state = fast.continue_from(None, given.scans[:, :2], *given[1:])
        assert off(fast.continue_from(state, given.scans[:, 2:], *given[1:])[0], wanted) < 1e-5


@pytest.mark.parametrize("name", ["ours", "batch normalised", "the paper's"])
@torch.no_grad()
def test_a_scan_can_come_later(name: str) -> None:
    config = CONFIGS[name]
    network = random_network(config)
    fast = FastNetwork(network, SINGLE)
    given = noise(config)
    _, state = fast.continue_from(None, given.scans[:, :2], *given[1:])
    kept = [h.clone() for h in state]
    image, after = fast.continue_from(state, given.scans[:, 2:], *given[1:])
    assert off(image, network(*given)) < 1e-5
    again, _ = fast.continue_from(state, given.scans[:, 2:], *given[1:])
    assert off(again, image) == 0
    assert all(torch.equal(a, b) for a, b in zip(kept, state, strict=True)), "the state was changed"
    plain = network.continue_from(None, given.scans)[1] if name == "the paper's" else after
    assert all(off(a, b) < 1e-5 for a, b in zip(after, plain, strict=True))


@bfloat16
@torch.no_grad()
def test_half_precision_of_the_bundled_network() -> None:
    """60 dB on what a scan looks like; white noise is the worst there is."""
    network = load_model().network
    assert isinstance(network, RecurrentMZ)
    given = noise(network.config, side=96)
    smooth = Prepared(
        *(nn.functional.avg_pool2d(t.flatten(0, 1), 9, 1, 4).view_as(t) for t in given)
    )
    fast = FastNetwork(network, HALF)
    assert psnr(fast(*smooth), network(*smooth)) > 60
    with torch.autocast("cpu", torch.bfloat16):
        eager = network(*given).float()
    assert psnr(fast(*given), network(*given)) > psnr(eager, network(*given))


@torch.no_grad()
def test_what_it_keeps_can_be_given_back() -> None:
    fast = FastNetwork(random_network(OURS), SINGLE)
    given = noise(OURS)
    before = fast(*given)
    fast.release()
    assert not fast._buffers._buffers_by_name
    assert off(fast(*given), before) == 0


@torch.no_grad()
def test_without_a_scan_there_is_nothing_to_make() -> None:
    with pytest.raises(ValueError, match="at least one scan"):
        FastNetwork(random_network(OURS), SINGLE)([])


def test_precision_of_devices() -> None:
    """GPUs have three more bits in half precision than CPUs."""
    assert Precision.of("cuda", half=True).features == torch.float16
    assert HALF.features == torch.bfloat16
    assert HALF.edge == torch.float32


@torch.no_grad()
def test_changes_that_are_timed_change_nothing() -> None:
    """Before and after, as the documentation's table times them."""
    script: dict[str, Any] = runpy.run_path(str(CHANGES))
    script["changes"].__globals__["SIDE"] = 64
    found = script["changes"](torch.float32)
    assert len(found) > 3
    for change in found:
        assert off(change.after(), change.before()) < 1e-5, change
