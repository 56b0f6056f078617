"""The non-negative object: against closed forms, images by the optics alone, its own scans."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
import pytest
import torch

from napari_recurrent_mz import ZGrid, reconstruct
from napari_recurrent_mz.core.metrics import fitted as fitted_to
from napari_recurrent_mz.core.optics import Optics, widefield_psf
from napari_recurrent_mz.core.progress import Stopped
from napari_recurrent_mz.core.scans import Scan
from napari_recurrent_mz.estimates.covariance import transfer_table
from napari_recurrent_mz.estimates.deconvolution import NonnegativeEstimate
from napari_recurrent_mz.estimates.lmmse import LinearEstimate
from napari_recurrent_mz.estimates.object_sheets import Blurs, add_at_once, add_one_by_one
from napari_recurrent_mz.estimates.object_windows import NonnegativeWindows, nonnegative_estimate
from napari_recurrent_mz.simulation.simulate import Camera, imaging

OPTICS = Optics(na=0.85, wavelength_um=0.52, immersion_index=1.0, pixel_um=0.15)
SIZE = 96
POINTS = ((30, 36, 1.4), (60, 52, 3.1), (44, 70, 2.2))  # y, x in pixels, z in µm
SCANS_UM = (0.0, 4.5)


@cache
def image(z_um: float) -> np.ndarray:
    """Camera counts of a few points, by the optics alone, on an even background."""
    psf = widefield_psf(OPTICS, [z_um - z for *_, z in POINTS], 2 * SIZE + 1)
    seen = np.zeros((SIZE, SIZE))
    for (y, x, _), plane in zip(POINTS, psf, strict=True):
        seen += plane[SIZE - y : 2 * SIZE - y, SIZE - x : 2 * SIZE - x]
    brightest = widefield_psf(OPTICS, [0.0], 3).max()
    return (100 + 20000 * seen / brightest).astype(np.float32)


def scans() -> list[Scan]:
    rng = np.random.default_rng(1)
    return [Scan(rng.poisson(image(z)).astype(np.float32), z) for z in SCANS_UM]


@pytest.fixture(scope="module")
def fitted() -> NonnegativeEstimate:
    return NonnegativeEstimate(scans(), OPTICS, iterations=60)


def test_transfer_in_focus_is_that_of_a_circular_pupil() -> None:
    """Closed form for a low NA: 2/π (acos q − q √(1 − q²)), q the frequency over the cut-off.

    The point spread function is a mean over pixels of λ / (4 NA), which multiplies by a sinc.
    """
    table = transfer_table(Optics(0.2, 0.5, 1.0, 0.5), 10.0)
    q = np.clip(table.k / 2, 0, 1)
    expected = 2 / np.pi * (np.arccos(q) - q * np.sqrt(1 - q**2)) * np.sinc(table.k / 4)
    np.testing.assert_allclose(table.values[0], expected, atol=0.01)
    np.testing.assert_allclose(table.values[:, 0], 1.0)  # no light is lost with defocus


def test_object_is_nonnegative_and_accounts_for_the_scans(fitted: NonnegativeEstimate) -> None:
    assert float(fitted.density.min()) >= 0
    for scan in scans():
        left = scan.pixels - fitted.plane(scan.z_um)
        noise = np.sqrt(image(scan.z_um).mean())
        inner = left[8:-8, 8:-8]
        assert np.sqrt((inner**2).mean()) < 2.5 * noise
        assert abs(inner.mean()) < 0.2 * noise
    np.testing.assert_allclose(fitted.explained(1), fitted.plane(SCANS_UM[1]), atol=0.1)


def test_the_object_seen_by_a_confocal_is_nearer_to_it_than_the_linear_estimate() -> None:
    """Balls and their confocal image from the simulator, three noisy wide-field scans."""
    step, planes = 0.36, 13
    made = imaging(OPTICS, planes=planes, size=64, z_step_um=step, lateral_margin=16, confocal=True)
    rng = np.random.default_rng(6)
    volume = np.zeros(made.object_shape, np.float32)
    z, y, x = np.indices(volume.shape)
    for _ in range(5):
        at = made.margin[0] + rng.uniform(2, planes - 2), *rng.uniform(24, 72, 2)
        away = [
            (z - at[0]) * step,
            *((a - b) * OPTICS.pixel_um for a, b in ((y, at[1]), (x, at[2]))),
        ]
        volume[sum(a**2 for a in away) < 0.8**2] = 0.1
    camera = Camera(photons=2000)
    generator = torch.Generator().manual_seed(1)
    seen = camera.expose(made.image(volume), generator).numpy()
    pair = [Scan(seen[i], i * step) for i in (2, 6, 10)]
    linear = LinearEstimate(pair, OPTICS, target="confocal")
    solved = NonnegativeEstimate(pair, OPTICS, target="confocal")
    truth = made.image(volume, confocal=True).numpy()[[3, 4, 5, 7, 8, 9]]
    heights = [i * step for i in (3, 4, 5, 7, 8, 9)]
    volumes = (
        np.stack([linear.plane(z) for z in heights]),
        np.stack([solved.plane(z) for z in heights]),
        np.stack([(linear.tensor(z) + solved.object_gain(z)).numpy() for z in heights]),
    )
    wrong = [float(np.mean((fitted_to(v, truth) - truth) ** 2)) for v in volumes]
    assert wrong[1] < 0.5 * wrong[0]
    assert wrong[2] < 0.5 * wrong[0]


def test_sparse_points_come_out_better_than_linearly(fitted: NonnegativeEstimate) -> None:
    linear = LinearEstimate(scans(), OPTICS)
    errors = {"linear": 0.0, "object": 0.0, "both": 0.0}
    for *_, z in POINTS:
        truth, guess = image(z), linear.plane(z)
        errors["linear"] += float(((guess - truth) ** 2).mean())
        errors["object"] += float(((fitted.plane(z) - truth) ** 2).mean())
        both = guess + fitted.object_gain(z).numpy()
        errors["both"] += float(((both - truth) ** 2).mean())
    assert errors["object"] < 0.9 * errors["linear"]
    assert errors["both"] < 0.9 * errors["linear"]


def test_it_adds_nothing_at_the_height_of_a_scan(fitted: NonnegativeEstimate) -> None:
    """Or next to nothing, counted in the shot noise there."""
    assert np.abs(fitted.object_gain(1.4).numpy() / np.sqrt(image(1.4))).max() > 10
    for z in SCANS_UM:
        added = fitted.object_gain(z).numpy() / np.sqrt(image(z))
        assert np.abs(added).max() < 1
        assert added.std() < 0.04


def test_sheets_seen_out_of_focus_need_few_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the memory and less, and 60 dB and more between the images."""
    coarse = NonnegativeEstimate(scans(), OPTICS)
    monkeypatch.setattr("napari_recurrent_mz.estimates.object_sheets._EVERY", ())
    fine = NonnegativeEstimate(scans(), OPTICS)
    assert fine.density.numel() == len(fine.sheets_um) * math.prod(fine.filter.padded)
    assert coarse.density.numel() < 0.5 * fine.density.numel()
    for z in (0.7, 1.4, 2.2, 4.0):
        expected = fine.plane(z)
        difference = np.sqrt(((coarse.plane(z) - expected) ** 2).mean())
        assert 20 * np.log10(np.ptp(expected) / difference) > 60
        added = fine.object_gain(z).numpy()
        np.testing.assert_allclose(
            coarse.object_gain(z).numpy(), added, atol=0.02 * np.abs(added).max()
        )


@pytest.mark.parametrize("shape", [(75, 96), (96, 33), (50, 41), (16, 64)])
def test_images_of_any_size_are_accounted_for(shape: tuple[int, int]) -> None:
    """To their shot noise, whose variance is the mean."""
    cut = [Scan(scan.pixels[: shape[0], : shape[1]], scan.z_um) for scan in scans()]
    found = NonnegativeEstimate(cut, OPTICS)
    for number, scan in enumerate(cut):
        left = scan.pixels - found.explained(number).numpy()
        assert left.std() < 1.8 * np.sqrt(scan.pixels.mean())


def test_light_goes_to_the_scans_and_back_by_the_same_way() -> None:
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for every x and y, with sheets of every fineness."""
    fit = NonnegativeEstimate(scans(), OPTICS, iterations=0)
    assert len({part.shape[1:] for part in fit.parts}) > 1
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(fit.density.shape, generator=generator)
    images = torch.rand((len(SCANS_UM), *fit.filter.padded), generator=generator)
    back = torch.empty_like(values)
    with Blurs(fit.filter, fit.parts, fit.radial_to_scans, None) as blurs:
        there = float((blurs.to_scans(values, lambda *_: None).double() * images).mean())
        blurs.to_object(images, lambda part, found: part.of(back).copy_(found))
    here = sum(
        float((part.of(values).double() * part.of(back)).sum()) / math.prod(part.shape[1:])
        for part in fit.parts
    )
    assert there == pytest.approx(here / len(SCANS_UM), rel=1e-5)


def test_cores_change_the_time_alone() -> None:
    """One core or several, within a network's work or not: the same image, and nobody else's
    threads are changed.
    """
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = NonnegativeEstimate(scans(), OPTICS, iterations=5).plane(1.4)
        torch.set_num_threads(3)
        shared = NonnegativeEstimate(scans(), OPTICS, iterations=5).plane(1.4)
        with torch.inference_mode():  # of which other threads know nothing
            within = NonnegativeEstimate(scans(), OPTICS, iterations=5).plane(1.4)
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)
    for found in (shared, within):
        np.testing.assert_allclose(found, alone, atol=1e-5 * np.ptp(alone))


def test_little_memory_changes_the_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = NonnegativeEstimate(scans(), OPTICS, iterations=5)
    monkeypatch.setattr("napari_recurrent_mz.estimates.object_sheets._CACHE_BYTES", 0)
    made_again = NonnegativeEstimate(scans(), OPTICS, iterations=5)
    np.testing.assert_array_equal(made_again.density, kept.density)


def test_units_and_offset_of_the_camera_do_not_matter(fitted: NonnegativeEstimate) -> None:
    other = [Scan(3 * scan.pixels + 700, scan.z_um) for scan in scans()]
    found = NonnegativeEstimate(other, OPTICS, iterations=60).plane(2.2)
    span = float(np.ptp(image(2.2)))
    np.testing.assert_allclose((found - 700) / 3, fitted.plane(2.2), atol=2e-3 * span)


def test_stop_between_iterations() -> None:
    asked: list[int] = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(Stopped):
        NonnegativeEstimate(scans(), OPTICS, stopped=stopped)
    assert len(asked) == 4


def test_windows_of_a_large_image_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """In windows and whole, the planes agree far better than either agrees with the truth."""
    monkeypatch.setattr("napari_recurrent_mz.estimates.object_windows.OVERLAP", 32)
    whole = NonnegativeEstimate(scans(), OPTICS)
    parts = NonnegativeWindows(scans(), OPTICS, size=48)
    for z in (1.4, 2.2):
        truth, alone, joined = image(z), whole.plane(z), parts.plane(z)
        assert np.sqrt(((joined - alone) ** 2).mean()) < 0.3 * np.sqrt(
            ((alone - truth) ** 2).mean()
        )
    residuals = [
        [scan.pixels - fit.explained(number).numpy() for number, scan in enumerate(scans())]
        for fit in (parts, whole)
    ]
    np.testing.assert_allclose(np.std(residuals[0]), np.std(residuals[1]), rtol=0.3)


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("target", ["widefield", "confocal"])
def test_planes_made_together_are_the_planes(windows: bool, target: str) -> None:
    kind = (
        partial(NonnegativeWindows, size=48)
        if windows
        else partial(NonnegativeEstimate, iterations=3)
    )
    some = [Scan(scan.pixels[:40], scan.z_um) for scan in scans()]
    found, heights = kind(some, OPTICS, target=target), np.array([0.4, 2.1, 4.5])
    for make in (found.tensor, found.object_gain):
        together = make(heights).numpy()
        alone = np.stack([make(float(z)).numpy() for z in heights])
        assert together.shape == (3, 40, SIZE)
        np.testing.assert_allclose(together, alone, atol=1e-5 * np.ptp(alone))
    room = torch.full((3, 40, SIZE), np.nan)
    again = found.object_gain(heights, room)
    np.testing.assert_array_equal(again, together)
    assert again.data_ptr() == room.data_ptr()


@pytest.mark.parametrize("at_once", [1, 2**26])
def test_sums_of_products_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr("napari_recurrent_mz.estimates.object_sheets.AT_ONCE_ON_GPU", at_once)
    rng = np.random.default_rng(8)
    spectra, weights = rng.normal(size=(3, 4, 5, 7)), rng.normal(size=(2, 3, 5, 7))
    for add in (add_one_by_one, add_at_once):
        totals = torch.ones(2, 4, 5, 7, dtype=torch.float64)
        add(totals, torch.from_numpy(spectra), torch.from_numpy(weights))
        np.testing.assert_allclose(totals, 1 + np.einsum("scyx,nsyx->ncyx", spectra, weights))


def test_only_large_images_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(nonnegative_estimate(scans(), OPTICS), NonnegativeEstimate)
    monkeypatch.setattr("napari_recurrent_mz.estimates.object_windows.OVERLAP", 8)
    monkeypatch.setattr("napari_recurrent_mz.estimates.object_windows.WINDOW", SIZE - 17)
    assert isinstance(nonnegative_estimate(scans(), OPTICS), NonnegativeWindows)


@pytest.mark.parametrize(
    ("method", "corner"),
    [("richardson-lucy", (0, 0)), ("auto", (0, 1)), ("lmmse", (1, 1))],
)
def test_a_mosaic_may_have_an_empty_corner(
    monkeypatch: pytest.MonkeyPatch, method: str, corner: tuple[int, int]
) -> None:
    """Larger than a window: nothing is there, and nothing is made of it."""
    monkeypatch.setattr("napari_recurrent_mz.estimates.object_windows.OVERLAP", 16)
    monkeypatch.setattr("napari_recurrent_mz.estimates.object_windows.WINDOW", 64)
    images = np.random.default_rng(4).poisson(100, (3, 150, 150))
    empty = tuple(slice(100) if at == 0 else slice(-100, None) for at in corner)
    inside = tuple(slice(80) if at == 0 else slice(-80, None) for at in corner)
    images[(..., *empty)] = 0
    mosaic = [Scan(image, z_um) for image, z_um in zip(images, (0.0, 3.0, 6.0), strict=True)]
    volume = reconstruct(mosaic, ZGrid(0, 6, 1.5), optics=OPTICS, method=method, device="cpu")
    assert np.isfinite(volume).all()
    assert np.abs(volume[(..., *inside)]).mean() < 5
    assert volume.mean() == pytest.approx(images.mean(), rel=0.1)


def test_objects_that_wait_on_the_disk_make_the_same_planes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The spectra come back from the file to the bit, sheet by sheet, for planes and surfaces."""
    monkeypatch.setattr("napari_recurrent_mz.estimates.object_windows.OVERLAP", 16)
    in_memory = NonnegativeWindows(scans(), OPTICS, size=48)
    monkeypatch.setattr("napari_recurrent_mz.estimates.object_windows.IN_MEMORY_BYTES", 0)
    on_disk = NonnegativeWindows(scans(), OPTICS, size=48)
    tilted = np.linspace(0.5, 4.0, SIZE)[:, None] * np.ones(SIZE)
    for z in (1.4, 3.0, tilted):
        np.testing.assert_array_equal(on_disk.plane(z), in_memory.plane(z))
        np.testing.assert_array_equal(on_disk.object_gain(z), in_memory.object_gain(z))
    np.testing.assert_array_equal(on_disk.explained(1), in_memory.explained(1))


def test_a_full_disk_leaves_objects_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def seek(self, *_: int) -> int:
            return 0

        def write(self, _: object) -> None:
            raise OSError(28, "No space left on device")

        def truncate(self, _: int) -> None:
            return None

        def close(self) -> None:
            return None

    monkeypatch.setattr("napari_recurrent_mz.estimates.object_windows.OVERLAP", 16)
    expected = NonnegativeWindows(scans(), OPTICS, size=48).plane(1.4)
    monkeypatch.setattr("napari_recurrent_mz.estimates.object_windows.IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    found = NonnegativeWindows(scans(), OPTICS, size=48).plane(1.4)
    np.testing.assert_array_equal(found, expected)
