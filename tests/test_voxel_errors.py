"""The expected error of every voxel: against simulated truths, and what holds of any error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from skimage.restoration import estimate_sigma

from napari_recurrent_mz import Optics, Scan, ZGrid
from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.progress import Stopped
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.engine.inference import reconstruct
from napari_recurrent_mz.engine.recipe import Recipe
from napari_recurrent_mz.engine.voxel_errors import voxel_errors
from napari_recurrent_mz.io import read_image, write_volume
from napari_recurrent_mz.networks import voxel_error
from napari_recurrent_mz.simulation.simulate import Sample, simulate_sample

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
STEP_UM = OPTICS.depth_of_field_um
PLANES = (3, 8, 13)


def sample_of(kind: str, seed: int = 7) -> Sample:
    return simulate_sample(kind, shape=(17, 128, 128), z_step_um=STEP_UM, optics=OPTICS, seed=seed)


def recipe_of(sample: Sample, method: str = "lmmse", gain: float = 1, offset: float = 0) -> Recipe:
    scans = [Scan(gain * sample.widefield[i] + offset, float(sample.z_um[i])) for i in PLANES]
    grid = ZGrid(float(sample.z_um[0]), float(sample.z_um[-1]), STEP_UM)
    return Recipe(scans, grid, OPTICS, method, device="cpu")


def volume_of(recipe: Recipe) -> Any:
    assert isinstance(recipe.target, ZGrid)
    return reconstruct(
        recipe.scans, recipe.target, optics=OPTICS, method=recipe.method, on_message=lambda _: None
    )


@pytest.mark.parametrize("kind", ["nuclei", "neurites", "tissue"])
def test_errors_are_of_the_right_size_and_where_the_volume_is_wrong(kind: str) -> None:
    sample = sample_of(kind)
    recipe = recipe_of(sample)
    volume = volume_of(recipe)
    expected = np.stack([*voxel_errors(recipe, volume)])
    between = [i for i in range(4, 13) if i not in PLANES]
    off, sigma = np.abs(volume - sample.noiseless)[between], expected[between]
    assert 0.5 < (off < sigma).mean() < 0.98  # 0.68 if errors were Gaussian
    assert 0.6 < np.sqrt((sigma**2).mean() / (off**2).mean()) < 2
    assert (off < 2 * sigma).mean() > 0.85
    assert spearmanr(sigma.ravel()[::37], off.ravel()[::37]).statistic > 0.1
    high = sigma > np.median(sigma, axis=(1, 2), keepdims=True)
    assert off[high].mean() > 1.1 * off[~high].mean()


def test_planes_are_less_sure_the_farther_the_scans_are() -> None:
    recipe = recipe_of(sample_of("nuclei"))
    sizes = [np.sqrt((error**2).mean()) for error in voxel_errors(recipe, volume_of(recipe))]
    assert sizes[4] < sizes[5]
    assert sizes[2] < sizes[1] < sizes[0]


def test_a_plane_that_is_a_scan_has_the_noise_of_a_scan() -> None:
    recipe = recipe_of(sample := sample_of("nuclei"))
    errors = [*voxel_errors(recipe, volume_of(recipe))]
    for plane in PLANES:
        noise = float(estimate_sigma(sample.widefield[plane]))  # type: ignore[no-untyped-call]
        assert np.ptp(errors[plane]) == 0
        assert errors[plane][0, 0] == pytest.approx(noise, rel=0.5)


def test_errors_go_with_the_unit_of_the_scans_and_not_with_their_offset() -> None:
    sample = sample_of("tissue")
    recipe, other = recipe_of(sample), recipe_of(sample, gain=16, offset=500)
    errors, others = (np.stack([*voxel_errors(one, volume_of(one))]) for one in (recipe, other))
    np.testing.assert_allclose(others, 16 * errors, rtol=0.02)


def test_rows_that_are_worked_on_at_a_time_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(sample_of("tissue"))
    volume = volume_of(recipe)
    at_once = np.stack([*voxel_errors(recipe, volume)])
    monkeypatch.setattr(voxel_error, "_ROWS", 24)
    np.testing.assert_allclose(np.stack([*voxel_errors(recipe, volume)]), at_once, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "title"),
    [
        ("linear", "Linear interpolation"),
        ("points", "Points"),
        ("lmmse-plus", "confocal"),
        ("recurrent-mz-plus", "MZ+"),
    ],
)
def test_methods_whose_errors_are_not_known_are_refused(method: str, title: str) -> None:
    recipe = recipe_of(sample_of("nuclei"), method)
    with pytest.raises(InputError, match=rf"not known for .*{title}.*: choose Recurrent-MZ"):
        next(voxel_errors(recipe, np.zeros((17, 128, 128), np.float32)))


@pytest.mark.parametrize(
    ("shape", "value", "says"),
    [((3, 128, 128), 1, "its recipe makes"), ((17, 128, 128), np.nan, "The volume .*NaN")],
    ids=["shape", "NaN"],
)
def test_what_is_no_volume_of_the_recipe_is_refused(shape: Any, value: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        next(voxel_errors(recipe_of(sample_of("nuclei")), np.full(shape, value, np.float32)))


def test_a_wish_to_stop_is_heeded_within_a_plane() -> None:
    recipe = recipe_of(sample_of("tissue"))
    with pytest.raises(Stopped):
        [*voxel_errors(recipe, volume_of(recipe), stopped=lambda: True)]


def test_dark_scans_give_errors_that_are_numbers() -> None:
    dark = np.zeros((64, 64), np.float32)
    dark[20:30, 20:30] = np.linspace(500, 1000, 10)
    scans = [Scan(dark, 0.0), Scan(dark[::-1].copy(), 3.0)]
    recipe = Recipe(scans, ZGrid(0, 3, 0.5), OPTICS, "lmmse", device="cpu")
    for error in voxel_errors(recipe, volume_of(recipe)):
        assert np.isfinite(error).all()
        assert (error >= 0).all()


def test_the_command_line_writes_them_beside_the_volume(tmp_path: Path, capsys: Any) -> None:
    sample = sample_of("nuclei")
    source = tmp_path / "stack.ome.tif"
    write_volume(source, sample.widefield, sample.z_um, OPTICS.pixel_um)
    optics = ["--na", "1.4", "--wavelength-um", "0.519", "--immersion-index", "1.515"]
    command = ["reconstruct", str(source), "--planes", *map(str, PLANES), "--method", "lmmse",
               "--device", "cpu", *optics, "-o"]  # fmt: skip
    volume, errors = tmp_path / "volume.ome.tif", tmp_path / "errors.ome.tif"
    assert main([*command, str(volume), "--errors", str(errors)]) == 0
    made, written = read_image(volume), read_image(errors)
    scans = [Scan(sample.widefield[i], float(sample.z_um[i])) for i in PLANES]
    heights = ZGrid(float(sample.z_um[3]), float(sample.z_um[13]), STEP_UM)
    expected = np.stack([*voxel_errors(Recipe(scans, heights, OPTICS, "lmmse"), made.stack)])
    np.testing.assert_allclose(written.stack, expected, rtol=1e-4)
    assert written.pixel_um == made.pixel_um
    capsys.readouterr()
    other = tmp_path / "other.ome.tif"
    assert main([*command, str(other), "--errors", str(tmp_path / "." / other.name)]) == 1
    assert "'other.ome.tif' is what both --errors and --output write" in capsys.readouterr().err
    assert not other.exists()
    assert main([*command, str(volume), "--errors", str(errors), "--method", "linear"]) == 1
    assert "not known for Linear interpolation" in capsys.readouterr().err
