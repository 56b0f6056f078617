"""Points of light between the scans: against images made by the point spread function alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_recurrent_mz import ZGrid, reconstruct, reconstruct_to
from napari_recurrent_mz.core.metrics import psnr
from napari_recurrent_mz.core.optics import Optics, widefield_psf
from napari_recurrent_mz.core.progress import Stopped, listening
from napari_recurrent_mz.core.scans import Scan, ScanStack
from napari_recurrent_mz.engine.check import points_notes
from napari_recurrent_mz.estimates import object_windows
from napari_recurrent_mz.estimates.points import PointsEstimate, PointsWindows, points_estimate
from napari_recurrent_mz.io import read_image
from napari_recurrent_mz.simulation.phantoms import phantom
from napari_recurrent_mz.simulation.pupil import Wavefront, pupil_psf
from napari_recurrent_mz.simulation.simulate import imaging

OPTICS = Optics(na=0.85, wavelength_um=0.52, immersion_index=1.0, pixel_um=0.15)
SIZE = 128
BEADS = ((30, 36, 1.4), (60, 82, 3.1), (94, 40, 2.2), (40, 90, 4.4))  # y, x in pixels, z in µm
SCANS_UM = (0.0, 3.0, 6.0)  # four depths of field apart
OFFSET, BRIGHTEST = 100, 4000
BETWEEN = ZGrid(1.0, 5.0, 1.0)


@cache
def image(z_um: float) -> np.ndarray:
    """Camera counts of four beads, by the optics alone, on an even background."""
    psf = widefield_psf(OPTICS, [z_um - z for *_, z in BEADS], 2 * SIZE + 1)
    seen = np.zeros((SIZE, SIZE))
    for (y, x, _), plane in zip(BEADS, psf, strict=True):
        seen += plane[SIZE - y : 2 * SIZE - y, SIZE - x : 2 * SIZE - x]
    return OFFSET + BRIGHTEST * seen / widefield_psf(OPTICS, [0.0], 3).max()


def scans(*, gain: float = 1.0, offset: float = 0.0) -> list[Scan]:
    rng = np.random.default_rng(1)
    return [Scan((gain * rng.poisson(image(z)) + offset).astype(np.float32), z) for z in SCANS_UM]


def aberrated(waves: float) -> tuple[list[Scan], list[np.ndarray]]:
    """Scans of the beads, and planes between, through a pupil with spherical aberration."""

    def image(z_um: float) -> np.ndarray:
        heights = np.array([z_um - z for *_, z in BEADS])
        psf = pupil_psf(OPTICS, heights, SIZE, Wavefront(spherical=waves)).numpy()
        shifted = [np.roll(one, (y, x), (0, 1)) for (y, x, _), one in zip(BEADS, psf, strict=True)]
        return np.asarray(OFFSET + 60_000 * np.sum(shifted, axis=0))

    rng = np.random.default_rng(1)
    seen = [Scan(rng.poisson(image(z)).astype(np.float32), z) for z in SCANS_UM]
    return seen, [image(z) for z in BETWEEN.z_um]


@pytest.fixture(scope="module")
def found() -> PointsEstimate:
    return PointsEstimate(scans(), OPTICS)


def test_beads_between_the_scans_are_found_where_they_are(found: PointsEstimate) -> None:
    points = found.points
    assert len(points) == len(BEADS)
    for y, x, z_um in BEADS:
        bead = np.hypot(points.row - y, points.column - x).argmin()
        assert points.row[bead] == pytest.approx(y, abs=0.1)
        assert points.column[bead] == pytest.approx(x, abs=0.1)
        assert points.z_um[bead] == pytest.approx(z_um, abs=0.1)  # a seventh of a depth of field
    # All have the same light; a bead alone has as much as the whole of its image.
    light = BRIGHTEST * (whole := widefield_psf(OPTICS, [0.0], 201)).sum() / whole.max()
    np.testing.assert_allclose(points.light, light, rtol=0.1)
    assert found.unexplained < 0.02


@pytest.mark.parametrize("z_um", [5.7, 6.33, 8.4, 8.72, 9.31])
def test_a_bright_bead_lies_on_the_right_side_of_the_scan_beside_it(z_um: float) -> None:
    # As far on the other side of that scan it looks the same there: the rings in the others decide.
    optics = Optics(na=1.4, wavelength_um=0.615, immersion_index=1.515, pixel_um=0.103)
    scans_um = np.array([3.0, 6.0, 9.0])
    psf = widefield_psf(optics, scans_um - z_um, 193)
    seen = 160 + 2000 * psf / widefield_psf(optics, [0.0], 3).max()
    counts = np.random.default_rng(1).poisson(seen).astype(np.float32)
    points = PointsEstimate(ScanStack(counts, scans_um), optics).points
    assert points.z_um[points.light.argmax()] == pytest.approx(z_um, abs=0.1)


def test_planes_between_are_nearer_to_the_truth_than_those_of_linear_mmse() -> None:
    grid = ZGrid(0.5, 5.5, 1.0)
    by_points, linear = (
        reconstruct(scans(), grid, optics=OPTICS, method=method) for method in ("points", "lmmse")
    )
    for z, ours, other in zip(grid.z_um, by_points, linear, strict=True):
        truth, span = image(float(z)), BRIGHTEST
        assert psnr(truth / span, ours / span) > psnr(truth / span, other / span) + 5.5


@pytest.mark.parametrize("waves", [0.08, -0.05])
def test_spherical_aberration_is_found_and_taken_into_account(waves: float) -> None:
    seen, truth = aberrated(waves)
    fit = PointsEstimate(seen, OPTICS)
    assert abs(fit.spherical) == pytest.approx(abs(waves), abs=0.012)
    with pytest.warns(UserWarning, match="show spherical aberration"):
        ours = reconstruct(seen, BETWEEN, optics=OPTICS, method="points")
    linear = reconstruct(seen, BETWEEN, optics=OPTICS, method="lmmse")
    errors = [float(((volume - np.array(truth)) ** 2).mean()) for volume in (ours, linear)]
    assert errors[0] < 0.2 * errors[1]


def test_an_objective_without_aberrations_is_left_alone(found: PointsEstimate) -> None:
    assert found.spherical == 0


def test_the_unit_of_the_scans_does_not_matter() -> None:
    grid = ZGrid(1.0, 5.0, 2.0)
    volume = reconstruct(scans(), grid, optics=OPTICS, method="points")
    scaled = reconstruct(scans(gain=40, offset=-900), grid, optics=OPTICS, method="points")
    np.testing.assert_allclose(scaled / 40, volume - 900 / 40, atol=0.01 * BRIGHTEST)


def test_noise_has_no_points_and_stays_as_linear_mmse_has_it() -> None:
    rng = np.random.default_rng(2)
    noise = [Scan(rng.normal(500, 20, (96, 96)).astype(np.float32), z) for z in SCANS_UM]
    assert len(PointsEstimate(noise, OPTICS).points) == 0
    grid = ZGrid(1.0, 5.0, 2.0)
    with pytest.warns(UserWarning, match="No points were found"):
        by_points = reconstruct(noise, grid, optics=OPTICS, method="points")
    linear = reconstruct(noise, grid, optics=OPTICS, method="lmmse")
    np.testing.assert_array_equal(by_points, linear)


def sample(kind: str) -> list[Scan]:
    microscope = imaging(OPTICS, planes=21, size=128, z_step_um=0.3)
    stack = microscope.image(phantom(kind, microscope.space, np.random.default_rng(3))).numpy()
    rng = np.random.default_rng(4)
    return [Scan(rng.poisson(100 + 2000 * stack[i] / stack.max()), 0.3 * i) for i in (2, 10, 18)]


def test_a_sample_that_is_not_made_of_points_is_told() -> None:
    with pytest.warns(UserWarning, match="leave .* of what the scans show|No points"):
        reconstruct(sample("texture"), ZGrid(1.5, 1.5, 1), optics=OPTICS, method="points")


def test_points_that_explain_the_scans_but_not_one_left_out_are_told() -> None:
    """As lines do, when there are as many points as it takes."""
    explained = SimpleNamespace(count=1, unexplained=0.0, spherical=0.0, device=None)
    (note,) = points_notes(ScanStack.of(sample("filaments")), OPTICS, explained)
    assert "at half the size, the scan at 3 µm is" in note
    assert not points_notes(ScanStack.of(scans()), OPTICS, explained)


def test_points_of_windows_leave_no_seam_and_none_is_lost(
    monkeypatch: pytest.MonkeyPatch, found: PointsEstimate
) -> None:
    """Two of the beads lie in two windows; in windows as whole, all are as the optics have them."""
    monkeypatch.setattr(object_windows, "OVERLAP", 48)
    windows = PointsWindows(scans(), OPTICS, size=64)
    assert len(windows.windows) == 4
    assert sum(len(window.fit.points) for window in windows.windows) > len(BEADS)
    assert windows.count == len(BEADS)
    assert windows.unexplained < 0.02
    assert windows.spherical == 0
    tilted = np.linspace(1.0, 5.0, SIZE)[:, None] * np.ones(SIZE)
    for z in (1.0, 3.1, 4.4):
        truth = image(z)
        plane = windows.plane(z) - windows.levels.background + OFFSET
        assert np.abs(plane - truth).max() < 0.06 * BRIGHTEST
        assert psnr(truth / BRIGHTEST, plane / BRIGHTEST) > 40
        row = np.abs(tilted[:, 0] - z).argmin()
        np.testing.assert_allclose(
            windows.plane(tilted)[row], windows.plane(tilted[row, 0])[row], atol=0.01 * BRIGHTEST
        )
    assert psnr(windows.plane(3.1) / BRIGHTEST, found.plane(3.1) / BRIGHTEST) > 45


def test_points_are_looked_for_in_smaller_windows_when_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(object_windows, "OVERLAP", 16)
    monkeypatch.setattr(object_windows, "_SMALLEST_WINDOW", 48)
    build = PointsEstimate.__init__

    def short_of_memory(self: PointsEstimate, some: ScanStack, *args: Any, **how: Any) -> None:
        if len(some.images[0]) == SIZE:
            raise MemoryError
        build(self, some, *args, **how)

    monkeypatch.setattr(PointsEstimate, "__init__", short_of_memory)
    assert isinstance(points_estimate(ScanStack.of(scans()), OPTICS), PointsWindows)
    monkeypatch.setattr(object_windows, "_SMALLEST_WINDOW", SIZE)
    with pytest.raises(MemoryError):
        points_estimate(ScanStack.of(scans()), OPTICS)


def test_a_window_without_points_is_dark() -> None:
    noise = np.random.default_rng(2).normal(500, 20, (3, 64, 64)).astype(np.float32)
    empty = PointsEstimate(ScanStack(noise, np.array(SCANS_UM)), OPTICS)
    assert empty.count == 0
    assert not empty.object_gain(np.array([1.0, 2.0])).any()
    assert not empty.object_gain(np.linspace(1, 5, 64)[:, None] * np.ones(64)).any()


def test_looking_for_points_can_be_stopped() -> None:
    asked = iter([False] * 3 + [True] * 1000)
    with pytest.raises(Stopped):
        PointsEstimate(scans(), OPTICS, stopped=lambda: next(asked))


def test_a_stop_is_heeded_within_a_round() -> None:
    told: list[int] = []
    asked = iter([False] * 10 + [True] * 1000)
    with listening(lambda _, done, __: told.append(done)), pytest.raises(Stopped):
        PointsEstimate(scans(), OPTICS, stopped=lambda: next(asked))
    assert told == [0]


def test_a_background_taken_away_leaves_points_that_explain_the_scans() -> None:
    clipped = [Scan(np.maximum(scan.pixels - 120, 0), scan.z_um) for scan in scans()]
    fit = PointsEstimate(clipped, OPTICS)
    assert fit.unexplained < 0.1
    for at in (fit.points.row, fit.points.column):
        assert -0.5 <= at.min()
        assert at.max() <= SIZE - 0.5


def test_pixels_wider_than_all_detail_are_no_reason_for_nonsense() -> None:
    coarse = replace(OPTICS, pixel_um=5.0)
    rng = np.random.default_rng(4)
    few = [Scan(rng.poisson(100, (32, 32)).astype(np.float32), z) for z in SCANS_UM]
    with (
        pytest.warns(UserWarning, match="the camera's divided by the magnification"),
        pytest.warns(UserWarning, match="points"),
    ):
        volume = reconstruct(few, ZGrid(1.0, 5.0, 2.0), optics=coarse, method="points")
    assert np.abs(volume - 100).max() < 100


def test_progress_on_a_surface_names_the_points(found: PointsEstimate) -> None:
    told: set[str] = set()
    with listening(lambda words, *_: told.add(words)):
        found.object_gain(np.linspace(1, 5, SIZE)[:, None] * np.ones(SIZE))
    assert told == {"points"}


def test_a_bead_in_the_very_corner_does_no_harm() -> None:
    """Most of its image is outside: it is not found, or has no more light than it has."""
    size, corner = 64, 63
    rng = np.random.default_rng(0)
    psf = widefield_psf(OPTICS, [z - 3.1 for z in SCANS_UM], 2 * size + 1)
    part = slice(size - corner, 2 * size - corner)
    seen = OFFSET + BRIGHTEST * psf[:, part, part] / widefield_psf(OPTICS, [0.0], 3).max()
    fit = PointsEstimate(
        [Scan(rng.poisson(a), z) for a, z in zip(seen, SCANS_UM, strict=True)], OPTICS
    )
    whole = widefield_psf(OPTICS, [0.0], 201)
    assert np.all(fit.points.light < 1.2 * BRIGHTEST * whole.sum() / whole.max())


def test_what_was_told_stays_with_the_volume(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    noise = [Scan(rng.normal(500, 20, (64, 64)), z) for z in SCANS_UM]
    told: list[str] = []
    path = reconstruct_to(
        tmp_path / "v.ome.tif", noise, ZGrid(1, 5, 2), optics=OPTICS, method="points",
        on_message=told.append,
    )  # fmt: skip
    assert read_image(path).provenance["notes"] == told
    assert any("No points were found" in sentence for sentence in told)


def test_a_bead_above_or_below_a_scan_is_half_in_both_places() -> None:
    # The other scan is too far away to tell, and in this one both look the same.
    optics = Optics(na=1.4, wavelength_um=0.615, immersion_index=1.515, pixel_um=0.103)
    scans_um, away_um = np.array([0.0, 25.0]), 0.8
    psf = widefield_psf(optics, scans_um - away_um, 193)
    light = 2000 / widefield_psf(optics, [0.0], 3).max()
    counts = np.random.default_rng(2).poisson(160 + light * psf).astype(np.float32)
    fit = PointsEstimate(ScanStack(counts, scans_um), optics)
    assert fit.count == 1
    above, below = (fit.object_gain(z).cpu().numpy().max() for z in (away_um, -away_um))
    at_focus, beyond = widefield_psf(optics, [0.0, 2 * away_um], 193).max(axis=(1, 2))
    assert above == pytest.approx(light * (at_focus + beyond) / 2, rel=0.3)
    assert below == pytest.approx(above, rel=0.3)
