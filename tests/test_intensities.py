"""Scans in whatever units: the volume is the same one in those units, and always of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_recurrent_mz import InputError, Optics, Scan, Session, ZGrid, reconstruct
from napari_recurrent_mz.core.device import choose_device
from napari_recurrent_mz.core.methods import METHODS, method_of, needs_optics
from napari_recurrent_mz.engine.tiles import NetworkPlanes
from napari_recurrent_mz.estimates.lmmse import LinearEstimate
from napari_recurrent_mz.estimates.uncertainty import signal_power, voxel_spread
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import Model
from napari_recurrent_mz.training.measured import measured_field

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.1)
GRID = ZGrid(0, 3, 1)
HEIGHTS = (0.0, 1.5, 3.0)
_rng = np.random.default_rng(0)
IMAGES = [gaussian_filter(_rng.random((48, 40)), 2) + 0.01 * _rng.random((48, 40)) for _ in HEIGHTS]
POWERS = (-120, -100, -66, -40, -21, 19, 41, 60, 90, 122)  # of two: from 1e-36 to 5e36


def scans(unit: float = 1.0) -> list[Scan]:
    """Three scans between 0 and about one, in some unit."""
    return [Scan(image * unit, z_um) for image, z_um in zip(IMAGES, HEIGHTS, strict=True)]


def volume(unit: float, method: str) -> np.ndarray:
    optics = OPTICS if needs_optics([method]) else None
    return reconstruct(scans(unit), GRID, optics=optics, method=method, device="cpu")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:No points were found|The points found")
def test_the_unit_of_the_scans_is_that_of_the_volume(method: str) -> None:
    allowed = 5e-3 if method_of(method).needs_model else 1e-5  # networks run in half precision
    expected = volume(1.0, method).astype(np.float64)
    for power in POWERS[::3] if method == "auto" else POWERS:  # "auto" is one of the others
        found = volume(2.0**power, method)
        assert np.isfinite(found).all(), power
        off = np.abs(found / 2.0**power - expected).max() / np.ptp(expected)
        assert off < allowed, power


@pytest.mark.parametrize("power", [-60, 60])
def test_a_live_volume_too(power: int) -> None:
    volumes = []
    for unit in (1.0, 2.0**power):
        session = Session(GRID, optics=OPTICS, device="cpu")
        for scan in scans(unit):
            entry = session.add_scan(scan, accept_doubtful=True)
        assert session.volume is not None
        assert entry is not None
        volumes.append((session.volume / unit, entry.relative_change, session.suggest_z()))
    (one, change, z_um), (other, other_change, other_z_um) = volumes
    assert np.abs(other - one).max() < 5e-3 * np.ptp(one)
    assert other_change == pytest.approx(change, rel=1e-2)
    assert other_z_um == z_um


def test_what_is_said_of_the_linear_estimate_is_in_the_scans_units() -> None:
    one, other = (LinearEstimate(scans(unit), OPTICS) for unit in (1.0, 2.0**70))
    np.testing.assert_allclose(
        voxel_spread(other, 2.0), voxel_spread(one, 2.0) * 2.0**70, rtol=1e-3
    )
    np.testing.assert_allclose(other.expected_error([2.0]), one.expected_error([2.0]), rtol=1e-6)
    shares = [found / found.sum() for found in (signal_power(one), signal_power(other))]
    np.testing.assert_allclose(shares[1], shares[0], atol=1e-6)


@pytest.mark.filterwarnings("ignore:No points were found|The points found")
def test_scans_that_single_precision_hardly_holds_are_made_of_what_it_holds() -> None:
    """The least numbers that there are have few digits."""
    for method in METHODS:
        assert np.isfinite(volume(1e-43, method)).all(), method


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (IMAGES[0] * 1e39, r"'big' has values of up to .*e\+38: divide all images by one number"),
        (-IMAGES[0] * 1e300, "divide all images by one number"),
        (IMAGES[0] * 1e-60, "so nearly constant .* that single precision holds nothing of it"),
        (1e6 + IMAGES[0] * 1e-5, "so nearly constant"),
        (np.full((20, 20), 7), r"'big' is constant \(every pixel is 7\): it holds no structure"),
    ],
)
def test_what_is_no_scan_in_single_precision_is_told(image: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Scan(image, 0.0, "big")


def test_scans_of_two_values_next_to_each_other_are_reconstructed() -> None:
    """Between 1e8 and 1e8 + 8 single precision has nothing, and so no bins for a histogram."""
    rng = np.random.default_rng(0)
    two = [np.where(rng.random((64, 64)) > 0.7, 1e8 + 8, 1e8).astype(np.float32) for _ in "ab"]
    made = reconstruct(
        [Scan(image, z_um) for image, z_um in zip(two, (0.0, 2.0), strict=True)],
        ZGrid(0, 2, 1), optics=OPTICS, method="recurrent-mz", device="cpu",
    )  # fmt: skip
    assert np.abs(made - 1e8).max() < 100


def test_a_stack_to_learn_from_is_one_that_single_precision_holds() -> None:
    stack = 1e8 + np.random.default_rng(0).normal(100, 20, (9, 64, 64))
    with pytest.raises(InputError, match="'worm' varies by no more than"):
        measured_field(stack, np.arange(9.0), OPTICS, "worm")


def test_a_model_that_makes_no_numbers_is_told() -> None:
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=2)).eval()
    torch.nn.init.constant_(network.last.bias, float("nan"))  # type: ignore[arg-type]
    options: dict[str, Any] = {"reach_um": (0.0, 3.0), "on_message": print}
    model = Model("broken", "broken", {}, network)
    planes = NetworkPlanes(scans(), OPTICS, model, choose_device("cpu"), **options)
    with pytest.raises(InputError, match="The model 'broken' makes no numbers of these scans"):
        planes.plane(1.0)
