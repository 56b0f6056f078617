"""Reviving: dead channels get weights again, and the network's image does not change."""

from __future__ import annotations

import torch
from torch import nn

from napari_recurrent_mz.networks.inputs import Prepared
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.training.revive import bring_back

CONFIG = NetworkConfig(base_channels=4, levels=4, norm="none", nonnegative=True)
INSIDE = (..., slice(12, -12), slice(12, -12))  # zero padding is not a constant's neighbour


def network() -> RecurrentMZ:
    torch.manual_seed(0)
    made = RecurrentMZ(CONFIG)
    nn.init.normal_(made.last.weight, std=0.1)
    return made.eval()


def examples() -> list[Prepared]:
    torch.manual_seed(1)
    shape = (2, 1, 48, 48)
    return [
        Prepared(
            torch.randn(2, 2, CONFIG.input_channels, 48, 48),
            torch.randn(shape),
            torch.rand(shape),
            torch.randn(2, CONFIG.skip_channels, 48, 48),
            torch.randn(shape),
        )
        for _ in range(3)
    ]


def kill(conv: nn.Module, rows: list[int]) -> None:
    """Channels that the rectifier after them never lets through."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    with torch.no_grad():
        conv.bias[rows] = -1e4


def active(conv: nn.Module, made: RecurrentMZ, row: int) -> bool:
    """Whether a channel lets anything through."""
    seen: list[float] = []
    hook = conv.register_forward_hook(lambda _m, _i, out: seen.append(float(out[:, row].max())))
    with torch.no_grad():
        for example in examples():
            made(*example)
    hook.remove()
    return max(seen) > 0


def test_dead_channels_live_again_and_the_image_stays() -> None:
    made = network()
    conv = made.decoder[1][0]  # type: ignore[index]
    kill(conv, [1, 3])
    with torch.no_grad():
        before = [made(*example) for example in examples()]
    found = bring_back(made, examples())
    assert found.levels == 0
    assert found.channels >= 2
    assert active(conv, made, 1)
    assert active(conv, made, 3)
    with torch.no_grad():
        after = [made(*example) for example in examples()]
    spread = torch.stack(before).std()
    assert all(
        float((a - b).abs().max()) < 0.05 * spread for a, b in zip(before, after, strict=True)
    )


def test_levels_that_no_longer_count_begin_anew() -> None:
    made = network()
    block = made.decoder[2]
    kill(block[2], list(range(CONFIG.channels(3))))  # type: ignore[index]
    with torch.no_grad():
        block[2].bias[:5] = 0.7  # type: ignore[index,union-attr]
        block[2].weight[:5] = 0  # type: ignore[index,union-attr]
        before = made(*examples()[0])
    assert bring_back(made, examples()).levels == 2
    with torch.no_grad():
        after = made(*examples()[0])
    assert float((after - before)[INSIDE].abs().max()) < 0.05 * float(before.std())
    assert bring_back(made, examples()).levels == 0
    # What begins anew is ready to be learnt: a gradient reaches its way out.
    made(*examples()[0]).square().mean().backward()  # type: ignore[no-untyped-call]
    below = slice(0, CONFIG.channels(3))
    assert float(made.decoder[1][0].weight.grad[:, below].abs().max()) > 0  # type: ignore[index,union-attr]


def test_a_slope_lets_a_gradient_through() -> None:
    """What a rectifier with a slope is for: a dead channel can learn its way back."""
    for slope, learns in ((0.0, False), (0.01, True)):
        torch.manual_seed(0)
        made = RecurrentMZ(NetworkConfig(base_channels=4, levels=2, norm="none", slope=slope))
        nn.init.normal_(made.last.weight, std=0.1)
        conv = made.encoder[0][0]  # type: ignore[index]
        kill(conv, [0])
        given = examples()[0]
        made(given.scans, given.linear).square().mean().backward()  # type: ignore[no-untyped-call]
        assert (float(conv.weight.grad[0].abs().max()) > 0) == learns  # type: ignore[union-attr,index]
