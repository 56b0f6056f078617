"""How much the windows of a large image share: what a network sees, and no more."""

from __future__ import annotations

import itertools

import torch

from napari_recurrent_mz.engine.tiles import tiles
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.runner import LARGEST, alignment, overlap_of
from napari_recurrent_mz.networks.weights import Model

_number = itertools.count()


def _model(*, levels: int, share: float) -> Model:
    """A network of random weights; what it makes joins the linear estimate with a share."""
    torch.manual_seed(1)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=levels, norm="none"))
    torch.nn.init.normal_(network.last.weight, std=share)
    return Model("random", f"overlap {next(_number)}", {}, network.eval())


def test_a_network_that_changes_single_pixels_needs_the_least() -> None:
    assert overlap_of(_model(levels=5, share=0.0)) == 32


def test_convolutions_of_seven_pixels_need_the_least() -> None:
    """Two of the encoder, two of the recurrent unit, two of the decoder and the last one."""
    assert overlap_of(_model(levels=1, share=1.0)) == 32


def test_a_network_that_sees_far_gets_more() -> None:
    """The fifth level's convolutions alone see 16 pixels each, and there are six in a row."""
    assert 6 * 16 < overlap_of(_model(levels=5, share=1.0)) < LARGEST


def test_what_windows_share_keeps_the_pooling_grid() -> None:
    """Of six levels the lowest has one value for 32 pixels."""
    model = _model(levels=6, share=0.0)
    assert alignment(model) == 32
    assert overlap_of(model) % 32 == 0


def test_fewer_pixels_are_read_twice() -> None:
    read = {
        overlap: sum(
            (rows.stop - rows.start) * (columns.stop - columns.start)
            for rows, columns in (tile.read for tile in tiles((4096, 4096), 2112, overlap))
        )
        for overlap in (16, 64)
    }
    assert read == {16: 4 * 2064**2, 64: 4 * 2112**2}
