"""The check on the user's own scans: what it chooses, what it says, and why it can be asked so."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_recurrent_mz import Optics, Scan, ZGrid
from napari_recurrent_mz.core.device import choose_device
from napari_recurrent_mz.core.optics import widefield_psf
from napari_recurrent_mz.core.scans import FloatArray, ScanStack, stack_of
from napari_recurrent_mz.engine import check as check_module
from napari_recurrent_mz.engine.check import OwnSampleCheck, check_on_scans
from napari_recurrent_mz.engine.inference import Plane, iter_planes
from napari_recurrent_mz.engine.provenance import provenance
from napari_recurrent_mz.estimates.lmmse import LinearEstimate
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import Model

OPTICS = Optics(na=0.8, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.15)
CPU = choose_device("cpu")
SIZE = 64
TRAINED = {"na": [0.7, 1.0], "spacing_dof": [1.0, 10.0]}


def model_of(noise: float, card: dict[str, Any] | None = None) -> Model:
    """A small network whose last layer is random: 0 makes it the linear estimate itself."""
    torch.manual_seed(1)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=2)).eval()
    torch.nn.init.normal_(network.last.weight, std=max(noise, 1e-9))
    return Model("small", "0" * 64, card or {}, network)


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    """Five scans of a few point sources, 1.5 µm apart, with a little noise."""
    rng = np.random.default_rng(4)
    heights = 1.5 * np.arange(5)
    planes = np.full((5, SIZE, SIZE), 100.0)
    for z, y, x in rng.uniform((0, 12, 12), (6, 52, 52), (8, 3)):
        psf = widefield_psf(OPTICS, heights - z, 2 * SIZE + 1)
        top, left = SIZE - int(y), SIZE - int(x)
        planes += 5e3 * psf[:, top : top + SIZE, left : left + SIZE] / psf.max()
    planes += rng.normal(0, 3, planes.shape)
    return [
        Scan(image, z, f"scan {n}")
        for n, (image, z) in enumerate(zip(planes, heights, strict=True))
    ]


class Oracle:
    """In the network's place: the scan that was left out, but for an even error."""

    error = 0.0
    clean: FloatArray

    def __init__(self, stack: ScanStack, *_args: object, **_options: object) -> None:
        self.known = {round(z_um, 6) for z_um in stack.z_um.tolist()}

    def plane(self, z_um: float) -> FloatArray:
        assert round(z_um, 6) not in self.known  # it is not given what it is asked for
        number = round(2 * z_um / 1.5)
        return self.clean[number] + np.float32(self.error)


@pytest.fixture
def oracle(scans: list[Scan], monkeypatch: pytest.MonkeyPatch) -> type[Oracle]:
    Oracle.clean = check_module._halved(stack_of(scans), OPTICS).clean
    monkeypatch.setattr(check_module, "NetworkPlanes", Oracle)
    return Oracle


def test_a_spoilt_network_is_not_used(scans: list[Scan]) -> None:
    found = check_on_scans(scans[:3], OPTICS, model_of(noise=3.0), CPU)
    assert found.chosen == "lmmse"
    assert found.network_db is not None
    assert found.linear_db is not None
    assert found.network_db < found.linear_db - 1
    words = f"network {found.network_db:.1f} dB, linear MMSE {found.linear_db:.1f} dB"
    assert found.sentence == f"On your sample: {words}: linear MMSE is used."


def test_a_network_that_knows_is_used(scans: list[Scan], oracle: type[Oracle]) -> None:
    found = check_on_scans(scans, OPTICS, model_of(0), CPU)
    assert found.chosen == "recurrent-mz"
    assert found.sentence.endswith("dB: Recurrent-MZ is used.")
    assert [(scan.name, scan.z_um) for scan in found.per_scan] == [
        ("scan 1", 1.5), ("scan 2", 3.0), ("scan 3", 4.5)
    ]  # fmt: skip
    assert found.gain_db is not None
    assert found.gain_db > 3


def test_no_better_is_near_enough_for_the_network(scans: list[Scan]) -> None:
    """A network that adds nothing equals linear MMSE: within the margin the network is used."""
    found = check_on_scans(scans[:3], OPTICS, model_of(0), CPU)
    assert found.gain_db == pytest.approx(0, abs=0.01)
    assert found.chosen == "recurrent-mz"
    assert "too near to tell: Recurrent-MZ is used." in found.sentence


@pytest.mark.parametrize("error", [10.0, 30.0, 100.0])
def test_the_figure_is_the_error_over_the_range(
    scans: list[Scan], oracle: type[Oracle], monkeypatch: pytest.MonkeyPatch, error: float
) -> None:
    monkeypatch.setattr(oracle, "error", error)
    stack = np.stack([scan.pixels for scan in scans])
    span = np.percentile(stack, 99.9) - 100  # the background is 100 counts
    found = check_on_scans(scans, OPTICS, model_of(0), CPU)
    assert found.network_db == pytest.approx(20 * np.log10(span / error), abs=0.5)


def test_noise_of_the_left_out_scan_does_not_bound_the_figure(scans: list[Scan]) -> None:
    """Scans of pure noise about an image: predicting that image has no error but theirs."""
    rng = np.random.default_rng(0)
    image = np.asarray(scans[2].pixels)
    sigma = 20.0
    noisy = [Scan(image + rng.normal(0, sigma, image.shape), z) for z in (0.0, 1.5, 3.0)]
    halved = check_module._halved(stack_of(noisy), OPTICS)
    still = [Scan(image + 1e-3 * s.z_um, s.z_um) for s in noisy]
    quiet = check_module._halved(stack_of(still), OPTICS)
    left = float(np.mean((halved.clean[1] - quiet.clean[1]) ** 2))
    assert halved.noise[1] == pytest.approx(left, rel=0.25)
    added = halved.noisy.images[1] - quiet.clean[1]
    assert added.std() == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("defocus_um", [0.0, 1.5, 3.0])
def test_half_the_size_is_the_same_microscope(defocus_um: float) -> None:
    """A point, halved, looks as a point at half the defocus does."""
    size = 129
    point = widefield_psf(OPTICS, [defocus_um], size)[0].astype(np.float32)
    linear = LinearEstimate([Scan(point, 0.0), Scan(point + 1, 1.0)], OPTICS)
    halved = check_module._shrink(point[None], linear)[0]
    # Binning moves the centre by a quarter of a pixel: so does binning a finer image.
    fine = replace(OPTICS, pixel_um=OPTICS.pixel_um / 2)
    wanted = widefield_psf(fine, [defocus_um / 2], 2 * size + 1)[0]
    low = size - halved.shape[0]
    n = 2 * halved.shape[0]
    wanted = wanted[low : low + n, low : low + n].reshape(n // 2, 2, n // 2, 2).mean((1, 3))
    assert np.corrcoef(halved.ravel(), wanted.ravel())[0, 1] > 0.93


@pytest.mark.parametrize(
    ("optics", "gap_um", "chosen", "words"),
    [
        (OPTICS, 1.5, "recurrent-mz", "leave none to check on: Recurrent-MZ is used."),
        (replace(OPTICS, na=0.5), 1.5, "lmmse", "not trained for them: linear MMSE is used."),
        (OPTICS, 20.0, "lmmse", "not trained for them: linear MMSE is used."),
    ],
)
def test_with_two_scans_the_trained_range_decides(
    scans: list[Scan], optics: Optics, gap_um: float, chosen: str, words: str
) -> None:
    two = [Scan(scans[0].pixels, 0.0), Scan(scans[1].pixels, gap_um)]
    found = check_on_scans(two, optics, model_of(0, {"trained_for": TRAINED}), CPU)
    assert (found.chosen, found.network_db, found.per_scan) == (chosen, None, ())
    assert words in found.sentence


def test_many_scans_cost_no_more_than_five(scans: list[Scan], oracle: type[Oracle]) -> None:
    many = [Scan(scans[n % 5].pixels + n, 1.5 * n, str(n)) for n in range(12)]
    oracle.clean = check_module._halved(stack_of(many), OPTICS).clean
    found = check_on_scans(many, OPTICS, model_of(0), CPU)
    assert [scan.name for scan in found.per_scan] == ["1", "3", "5", "8", "10"]


def test_small_scans_are_checked_as_they_are(scans: list[Scan]) -> None:
    small = [Scan(scan.pixels[:32, :32], scan.z_um) for scan in scans[:3]]
    found = check_on_scans(small, OPTICS, model_of(noise=3.0), CPU)
    assert found.chosen == "lmmse"


@pytest.mark.parametrize(("noise", "used"), [(3.0, "lmmse"), (0.0, "recurrent-mz")])
def test_auto_makes_the_planes_of_what_it_chose_and_says_so(
    scans: list[Scan], noise: float, used: str
) -> None:
    grid, model, told = ZGrid(0, 3, 0.75), model_of(noise), list[OwnSampleCheck]()

    def make(method: str, **more: Any) -> list[Plane]:
        options: dict[str, Any] = {"optics": OPTICS, "model": model, "device": "cpu", **more}
        return list(iter_planes(scans[:3], grid, method=method, **options))

    auto, plain = make("auto", on_check=told.append), make(used)
    for one, other in zip(auto, plain, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    (check,) = told
    made = provenance(
        scans[:3], grid, optics=OPTICS, method="auto", model=model, device=CPU, seconds=1,
        check=check,
    )  # fmt: skip
    assert (made["method"], made["used"]) == ("auto", used)
    assert (made["model"] is None) == (used == "lmmse")
    assert made["check"]["network_db"] == check.network_db
    assert made["check"]["per_scan"][0]["name"] == "scan 1"
    assert json.loads(json.dumps(made))["check"]["sentence"] == check.sentence


def test_auto_stops_during_the_check(scans: list[Scan]) -> None:
    asked = iter([False, True, True, True, True])
    planes = iter_planes(
        scans[:3], ZGrid(0.5, 3, 1), optics=OPTICS, model=model_of(0), device="cpu",
        stopped=lambda: next(asked),
    )  # fmt: skip
    assert list(planes) == []
