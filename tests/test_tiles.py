"""An image that fits is made in one window, a larger one in windows that leave no seam."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies

from napari_recurrent_mz import Optics, Scan, Session, ZGrid, load_model, reconstruct
from napari_recurrent_mz.core.device import choose_device
from napari_recurrent_mz.core.progress import Stopped
from napari_recurrent_mz.core.scans import FloatArray, Heights
from napari_recurrent_mz.engine.tiles import NetworkPlanes, tiles
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.runner import overlap_of
from napari_recurrent_mz.networks.weights import Model, bundled_models

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
CPU = choose_device("cpu")
FLOAT32 = 1e-5  # of the range of an image


def scans_of(shape: tuple[int, int], seed: int = 0) -> list[Scan]:
    """Camera counts of a few blobs and waves, three scans."""
    rng, (y, x) = np.random.default_rng(seed), np.indices(shape)
    made = []
    for z_um in (0.0, 1.5, 3.0):
        image = 300 + 80 * np.sin(y / rng.uniform(3, 9)) * np.sin(x / rng.uniform(3, 9))
        for _ in range(4 + math.prod(shape) // 800):
            cy, cx, width = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(1, 5)
            blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * width**2))
            image += rng.uniform(100, 900) * blob
        made.append(Scan(rng.poisson(image), z_um))
    return made


def planes_of(scans: list[Scan], model: Model, **options: Any) -> NetworkPlanes:
    """What all public functions make planes with, in single precision."""
    return NetworkPlanes(
        scans, OPTICS, model, CPU, reach_um=(0.0, 3.0), on_message=print, half=False, **options
    )


def whole(planes: NetworkPlanes, z_um: float | Heights) -> FloatArray:
    """The network on the whole image at once, past everything that cuts it."""
    with torch.inference_mode():
        made = planes.runner(planes.inputs.at(z_um))
    return planes.inputs.normalisation.undo(made[0, 0].numpy())


def off(found: FloatArray, expected: FloatArray) -> float:
    """The largest deviation, of the range."""
    return float(np.abs(found - expected).max() / np.ptp(expected))


LENGTHS = strategies.integers(1, 4800)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    strategies.tuples(LENGTHS, LENGTHS), strategies.integers(128, 2112), strategies.integers(0, 16)
)
def test_windows_cover_once_and_share_what_they_should(
    shape: tuple[int, int], size: int, overlap: int
) -> None:
    found = list(tiles(shape, size, 16 * overlap))
    if math.prod(shape) <= size**2:
        assert [tile.read for tile in found] == [(slice(0, shape[0]), slice(0, shape[1]))]
    spans = [sorted({(t.write[a].start, t.write[a].stop) for t in found}) for a in (0, 1)]
    assert len(found) == len(spans[0]) * len(spans[1])
    for span, length in zip(spans, shape, strict=True):
        assert [start for start, _ in span] == [0, *(stop for _, stop in span[:-1])]
        assert span[-1][1] == length
    for tile, axis in product(found, (0, 1)):
        read, keep, write = tile.read[axis], tile.keep[axis], tile.write[axis]
        assert read.start == max(write.start - 16 * overlap, 0)
        assert read.stop == min(write.stop + 16 * overlap, shape[axis])
        assert (read.start + keep.start, read.start + keep.stop) == (write.start, write.stop)
        assert read.start % 16 == 0


def random_network(levels: int) -> Model:
    """Random weights, all levels of which count."""
    torch.manual_seed(levels)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=levels, norm="none"))
    torch.nn.init.normal_(network.last.weight, std=0.3)
    return Model("random", f"random {levels}", {}, network.eval())


def every_network() -> list[Model]:
    """Those that are bundled once each, and quicker ones more often."""
    return [load_model(name) for name in bundled_models()] + 2 * [
        random_network(levels) for levels in (1, 2, 3, 4)
    ]


networks = pytest.fixture(every_network, scope="module")


def in_one_and_in_many(number: int, networks: list[Model]) -> tuple[float, float, bool]:
    """How far one window, and several, are off the whole for the shape and network of a number.

    And whether there were several.
    """
    rng, model = np.random.default_rng(number), networks[number % len(networks)]
    long, short = int(rng.integers(150, 350)), int(rng.integers(24, 80))
    shape = (long, short) if number // len(networks) % 2 else (short, long)
    planes = planes_of(scans_of(shape, number), model)
    expected = whole(planes, 0.8)
    one = off(planes.plane(0.8), expected)
    planes.tile = math.isqrt(short * (long // 3 + 2 * overlap_of(model)))
    return one, off(planes.plane(0.8), expected), len(planes.windows()) > 1


@pytest.mark.parametrize("part", range(3))
def test_any_shape_is_one_windows_result_and_tiled_it_is_whole(
    part: int, networks: list[Model]
) -> None:
    """Shapes, tall and wide, by one network after another."""
    cut = 0
    for number in range(part * 25, part * 25 + 25):
        one, many, is_cut = in_one_and_in_many(number, networks)
        assert one == 0, number
        assert many < FLOAT32, number
        cut += is_cut
    assert cut > 8, "the others are smaller than what windows would have to share"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", bundled_models())
def test_it_stops_within_a_window(name: str, fast: bool) -> None:
    """A window of a large image takes a CPU many seconds: it asks after each convolution."""
    asked, limit = 0, 10**6

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > limit

    planes = planes_of(scans_of((32, 32)), load_model(name), fast=fast, stopped=stopped)
    expected = planes.plane(0.8)
    asked = 0
    planes.plane(1.6)
    assert asked > 10
    asked, limit = 0, asked // 2
    with pytest.raises(Stopped):
        planes.plane(0.8)
    assert asked == limit + 1
    limit = 10**6
    assert np.array_equal(planes.plane(0.8), expected)


@pytest.mark.parametrize("name", bundled_models())
def test_a_tiled_surface_is_whole(name: str) -> None:
    """A slope that passes all scans: each window has other distances."""
    shape = (400, 48)
    planes = planes_of(scans_of(shape), load_model(name))
    slope = np.add.outer(np.linspace(0.0, 2.5, shape[0]), np.linspace(0, 0.5, shape[1]))
    expected = whole(planes, slope)
    planes.tile = 137
    assert len(planes.windows()) > 1
    assert off(planes.plane(slope), expected) < FLOAT32


@pytest.mark.parametrize(("levels", "shape"), [(5, (800, 48)), (6, (1400, 32))])
def test_a_network_that_sees_far_leaves_no_seam(levels: int, shape: tuple[int, int]) -> None:
    model = random_network(levels)
    planes = planes_of(scans_of(shape), model)
    expected = whole(planes, 0.8)
    planes.tile = math.isqrt(shape[1] * (shape[0] // 3 + 2 * overlap_of(model)))
    assert len(planes.windows()) > 1
    assert off(planes.plane(0.8), expected) < FLOAT32


@pytest.mark.parametrize("shape", [(128, 64), (96, 72), (64, 128)])
def test_the_public_functions_make_one_window_of_a_tall_image(shape: tuple[int, int]) -> None:
    scans, grid, between = scans_of(shape), ZGrid(0, 3, 1), [1, 2]
    planes = NetworkPlanes(scans, OPTICS, load_model(), CPU, reach_um=(0.0, 3.0), on_message=print)
    expected = np.array([whole(planes, float(grid.z_um[index])) for index in between])
    volume = reconstruct(scans, grid, optics=OPTICS, method="recurrent-mz", device="cpu")
    assert off(volume[between], expected) < FLOAT32
    session = Session(grid, optics=OPTICS, device="cpu", scale=planes.inputs.scale)
    for scan in scans:
        session.add_scan(scan, refine=scan is scans[-1])
    assert session.volume is not None
    assert off(session.volume[between], expected) < FLOAT32
