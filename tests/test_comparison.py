"""Comparison with a reference, against scikit-image, NumPy, SciPy and ``evaluate``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.interpolate import interp1d
from skimage.filters import threshold_triangle
from skimage.metrics import (
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

from napari_recurrent_mz import InputError, Optics, Scan, ZGrid
from napari_recurrent_mz.core.metrics import StackScale, StraightFit
from napari_recurrent_mz.engine.provenance import provenance
from napari_recurrent_mz.io import Channel, Place, read_image, write_channels, write_volume
from napari_recurrent_mz.measure.comparison import (
    BASELINE_NAMES,
    BASELINES,
    MEASURES,
    Volume,
    compare,
    comparing,
    difference,
    read_volume,
)
from napari_recurrent_mz.measure.evaluation import FULL_STACK, evaluate, evaluate_against
from napari_recurrent_mz.measure.plots import save_figure
from napari_recurrent_mz.measure.plots.comparison import comparison_figure

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
Z_UM = 2.0 + 0.5 * np.arange(9)
PLANES = [1, 4, 7]
SCANS_UM = tuple(Z_UM[PLANES])
PIXEL_UM = 0.2
OPTICS = Optics(na=0.8, wavelength_um=0.5, immersion_index=1.0, pixel_um=PIXEL_UM)


@pytest.fixture(scope="module")
def truth(stack: np.ndarray) -> Volume:
    return Volume("truth", stack, Z_UM, PIXEL_UM)


@pytest.fixture(scope="module")
def noisy(stack: np.ndarray) -> np.ndarray:
    """The stack with errors of its own."""
    return (stack + np.random.default_rng(9).normal(0, 20, stack.shape)).astype(np.float32)


def values(found: Any, name: str) -> pd.DataFrame:
    return found.planes[found.planes["name"] == name].set_index("z_um")


def by_scikit_image(stack: np.ndarray, right: np.ndarray, test: np.ndarray) -> list[float]:
    """The three measures, the scale of the truth written out."""
    highest = stack.max(axis=0)
    low = stack[:, highest <= threshold_triangle(highest)].mean()
    high = np.percentile(stack, 99.9)
    pair = [(image.astype(float) - low) / (high - low) for image in (right, test)]
    return [
        peak_signal_noise_ratio(*pair, data_range=1),
        100 * normalized_root_mse(*pair, normalization="min-max"),
        structural_similarity(
            *pair, data_range=1, gaussian_weights=True, use_sample_covariance=False
        ),
    ]


def test_every_plane_against_scikit_image(stack, truth, noisy) -> None:
    found = compare(Volume("mine", noisy, Z_UM, PIXEL_UM), truth)
    assert list(found.planes) == [
        "name", "z_um", "psnr_db", "nrmse_percent", "ssim", "is_scan", "in_mean",
    ]  # fmt: skip
    mine = values(found, "mine")
    np.testing.assert_allclose(mine.index, Z_UM)
    for i, z in enumerate(Z_UM):
        expected = by_scikit_image(stack, stack[i], noisy[i])
        np.testing.assert_allclose(mine.loc[z, list(MEASURES)].astype(float), expected, rtol=1e-6)
    assert "all 9 planes of 'truth' (z 2 to 6 µm); nothing was resampled." in found.sentence


@pytest.mark.parametrize("key", BASELINES)
def test_baselines_are_the_rows_of_evaluate(stack, truth, key: str) -> None:
    """The same numbers, plane by plane and in the mean, from two ways through the package."""
    found = compare([], truth, baselines=[key], scans_um=SCANS_UM, optics=OPTICS)
    rows = evaluate(stack, Z_UM, PLANES, optics=OPTICS, methods=[key], device="cpu").methods[key]
    mine = values(found, BASELINE_NAMES[key])
    assert [z for z in Z_UM if mine.loc[z, "is_scan"]] == list(SCANS_UM)
    for column, name in zip(MEASURES, ("psnr", "nrmse", "ssim"), strict=True):
        kept = mine.loc[~mine["is_scan"], column]
        expected = [v for v in getattr(rows, name) if not math.isnan(v)]
        np.testing.assert_allclose(kept, expected, rtol=1e-6)
        assert found.means.loc[BASELINE_NAMES[key], column] == pytest.approx(rows.mean(name))
    assert found.means["planes"].tolist() == [6]


def test_another_microscope_is_fitted_as_evaluate_does(stack, noisy) -> None:
    reference = 30 + 7.0 * stack**1.5 + np.random.default_rng(8).normal(0, 50, stack.shape)
    found = compare(
        Volume("mine", stack, Z_UM, PIXEL_UM, scans_um=SCANS_UM),
        Volume("confocal", reference, Z_UM, PIXEL_UM),
        fit=True,
    )
    rows = evaluate_against(stack, reference, Z_UM, PLANES, optics=None, methods=["linear"])
    scores = rows.methods[FULL_STACK]
    np.testing.assert_allclose(values(found, "mine")["psnr_db"], scores.psnr, rtol=1e-5)
    assert found.means.loc["mine", "ssim"] == pytest.approx(scores.mean("ssim"), rel=1e-5)
    assert found.means.loc["mine", "planes"] == 9  # none of the truth was an input
    gain, offset = np.polyfit(stack.ravel().astype(float), reference.ravel(), 1)
    np.testing.assert_allclose(found.fits["mine"], (gain, offset), rtol=1e-6)


def test_a_finer_grid_is_resampled_along_straight_lines(stack, truth, noisy) -> None:
    """Heights that the volume has not are SciPy's linear interpolation of its planes."""
    heights = 1.9 + 0.7 * np.arange(5)
    mine = Volume("mine", noisy[:5], heights, PIXEL_UM)
    found = values(compare(mine, truth), "mine")
    inside = [z for z in Z_UM if heights[0] <= z <= heights[-1]]
    np.testing.assert_allclose(found.index, inside)
    line = interp1d(heights, noisy[:5].astype(float), axis=0)
    for z in inside:
        expected = by_scikit_image(stack, stack[list(Z_UM).index(z)], line(z))
        np.testing.assert_allclose(found.loc[z, list(MEASURES)].astype(float), expected, rtol=1e-5)
    sentence = compare(mine, truth).sentence
    assert "6 of 9 planes of 'truth' (z 2 to 4.5 µm)" in sentence
    assert "'mine' resampled to their heights (linear along z)" in sentence


def test_fields_are_cropped_to_what_all_share(stack, truth, noisy) -> None:
    """World coordinates place a part of the field; the rest of the reference sets the scale."""
    part = noisy[:, 6:30, 4:]
    mine = Volume("mine", part, Z_UM, PIXEL_UM, origin_um=(6 * PIXEL_UM, 4 * PIXEL_UM))
    other = Volume("other", noisy[:, :25], Z_UM, PIXEL_UM)
    found = compare([mine, other], truth)
    assert "cropped to the 19 × 32 pixels that all share" in found.sentence
    for name in ("mine", "other"):
        expected = by_scikit_image(stack, stack[3, 6:25, 4:], noisy[3, 6:25, 4:])
        row = values(found, name).loc[3.5, list(MEASURES)]
        np.testing.assert_allclose(row.astype(float), expected, rtol=1e-6)


def test_means_are_over_planes_that_all_have_and_no_scan(truth, noisy) -> None:
    first = Volume("first", noisy, Z_UM, PIXEL_UM, scans_um=(2.5, 4.0))
    second = Volume("second", noisy[2:], Z_UM[2:], PIXEL_UM, scans_um=(5.0,))
    found = compare([first, second], truth)
    counted = found.planes[found.planes["in_mean"]]
    for _, rows in counted.groupby("name"):
        assert rows["z_um"].tolist() == [3.0, 3.5, 4.5, 5.5, 6.0]
    assert found.means.loc["first", "psnr_db"] == pytest.approx(
        values(found, "first").loc[[3.0, 3.5, 4.5, 5.5, 6.0], "psnr_db"].mean()
    )
    assert found.scans_um == {"first": (2.5, 4.0), "second": (5.0,)}


def test_scans_of_a_confocal_like_volume_count(truth, noisy) -> None:
    mine = Volume("mine", noisy, Z_UM, PIXEL_UM, scans_um=(2.5, 4.0), holds_scans=False)
    found = compare(mine, truth)
    assert found.means.loc["mine", "planes"] == 9
    assert not found.planes["is_scan"].any()


def test_a_falling_stack_is_the_same_stack(stack, truth, noisy) -> None:
    up = compare(Volume("mine", noisy, Z_UM, PIXEL_UM), truth, baselines=["linear"],
                 scans_um=SCANS_UM)  # fmt: skip
    falling = Volume("truth", stack[::-1], Z_UM[::-1], PIXEL_UM)
    down = compare(Volume("mine", noisy[::-1], Z_UM[::-1], PIXEL_UM), falling,
                   baselines=["linear"], scans_um=SCANS_UM)  # fmt: skip
    pd.testing.assert_frame_equal(up.planes, down.planes)


def test_lazy_stacks_are_read_plane_by_plane(stack, truth, noisy) -> None:
    """No more than a few planes are ever asked for at once."""
    asked: list[int] = []

    def read(block: np.ndarray) -> np.ndarray:
        asked.append(block.shape[0])
        return block

    lazy = dask.array.from_array(stack, chunks=(1, 40, 36)).map_blocks(read, dtype=stack.dtype)
    found = compare(Volume("mine", noisy, Z_UM, PIXEL_UM), Volume("truth", lazy, Z_UM, PIXEL_UM))
    pd.testing.assert_frame_equal(
        found.planes, compare(Volume("mine", noisy, Z_UM, PIXEL_UM), truth).planes
    )
    assert max(asked) == 1


def test_a_file_says_what_it_was_made_from(noisy, tmp_path: Path) -> None:
    scans = [Scan(noisy[p], Z_UM[p]) for p in PLANES]
    grid = ZGrid(2.0, 6.0, 0.5)
    for image, holds in (("wide-field", True), ("confocal-like, inferred", False)):
        made = provenance(scans, grid, optics=None, method="linear", model=None, device="cpu",
                          seconds=0.0)  # fmt: skip
        path = write_volume(
            tmp_path / "made.ome.tif", noisy, grid.z_um, PIXEL_UM, {**made, "image": image}
        )
        found = read_volume(path)
        assert (found.scans_um, found.holds_scans) == (SCANS_UM, holds)
        np.testing.assert_array_equal(found.plane(3), noisy[3])
        np.testing.assert_allclose(found.heights_um, Z_UM)
    place = Place(PIXEL_UM, Z_UM, origin_um=(1.0, 2.0))
    part = write_channels(tmp_path / "part.ome.zarr", [Channel(noisy)], place, {})
    assert read_volume(part).origin_um == (1.0, 2.0)  # which is lined up with others by its place
    tifffile.imwrite(tmp_path / "plain.tif", noisy)
    with pytest.raises(InputError, match=r"'plain.tif' does not state its heights"):
        read_volume(tmp_path / "plain.tif")


def test_progress_reaches_its_total_and_a_closed_run_stops(truth, noisy) -> None:
    mine = Volume("mine", noisy, Z_UM, PIXEL_UM)
    steps: list[tuple[int, int]] = []
    compare(mine, truth, baselines=["nearest"], scans_um=SCANS_UM, fit=True,
            on_progress=lambda done, total: steps.append((done, total)))  # fmt: skip
    assert steps == [(n, 36) for n in range(37)]
    work = comparing(mine, truth)
    next(work)
    work.close()
    with pytest.raises(StopIteration):
        next(work)


def test_the_table_is_written_with_units(truth, noisy, tmp_path: Path) -> None:
    found = compare(Volume("mine", noisy, Z_UM, PIXEL_UM, scans_um=SCANS_UM), truth)
    read = pd.read_csv(found.to_csv(tmp_path / "table.csv"))
    assert list(read) == list(found.planes)
    np.testing.assert_allclose(read["psnr_db"], found.planes["psnr_db"], rtol=1e-5)
    with pytest.raises(InputError, match="could not be written"):
        found.to_csv(tmp_path / "nowhere" / "table.csv")


def test_a_difference_is_volume_minus_reference(stack, truth, noisy) -> None:
    part = Volume("mine", noisy[2:, 5:], Z_UM[2:], PIXEL_UM, origin_um=(5 * PIXEL_UM, 0.0))
    found = difference(part, truth)
    np.testing.assert_allclose(found.pixels, noisy[2:, 5:] - stack[2:, 5:].astype(float), atol=1e-3)
    np.testing.assert_allclose(found.z_um, Z_UM[2:])
    assert found.origin_um == pytest.approx((1.0, 0.0))
    assert found.pixels.dtype == np.float32


def test_a_fitted_difference_is_in_the_units_of_the_reference(stack, truth) -> None:
    other = Volume("other", 3.0 * stack - 50, Z_UM, PIXEL_UM)
    assert np.abs(difference(other, truth, fit=True).pixels).max() < 1e-2
    assert np.abs(difference(other, truth).pixels).max() > 100


def test_the_difference_of_a_baseline(stack, truth) -> None:
    found = difference("linear", truth, scans_um=SCANS_UM)
    line = interp1d(SCANS_UM, stack[PLANES].astype(float), axis=0)
    np.testing.assert_allclose(found.pixels[2], line(Z_UM[2]) - stack[2], atol=1e-3)
    assert not found.pixels[PLANES].any()
    assert found.name == "Baseline: linear"


def test_scale_and_fit_that_arrive_in_pieces() -> None:
    """The brightest pixels may all be in one plane; NumPy sees everything at once."""
    rng = np.random.default_rng(2)
    for shape in ((1, 16, 16), (9, 33, 40), (40, 12, 11)):
        volume = rng.gamma(1.0, 30.0, shape)
        volume[shape[0] // 2] += 500
        scale = StackScale(len(volume))
        line = StraightFit()
        other = 5.0 - 2.0 * volume + rng.normal(0, 3, shape)
        for plane, test in zip(volume, other, strict=True):
            scale.add(plane)
            line.add(plane, test)
        assert scale.normalisation().foreground == pytest.approx(
            np.percentile(volume, 99.9), rel=1e-12
        )
        gain, offset = np.polyfit(volume.ravel(), other.ravel(), 1)
        assert (line.gain, line.offset) == pytest.approx((gain, offset), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": np.ones((40, 36))}, "'mine' is one image, not a stack"),
        ({"pixels": np.ones((2, 9, 40, 36))}, "'mine' has 4 dimensions"),
        ({"pixels": np.ones((9, 40, 36), complex)}, "'mine' holds values of type complex128"),
        ({"pixels": np.full((9, 40, 36), 7.0)}, r"'mine' is constant \(every pixel is 7\)"),
        ({"pixels": np.full((9, 40, 36), np.nan)}, "at z = 2 µm has 1440 pixels that are NaN"),
        ({"z_um": Z_UM[:-1]}, "'mine' has 9 planes but 8 heights"),
        ({"z_um": np.zeros(9)}, "The planes of 'mine' do not have a height of their own"),
        ({"z_um": Z_UM + 90}, r"'mine' \(z 92 to 96 µm\) .* no plane in common: check the z"),
        ({"pixel_um": 0.0}, "The pixel size of 'mine' is 0 µm"),
        ({"pixel_um": 0.1}, "'mine' has pixels of 0.1 µm but the reference 'truth' has 0.2 µm"),
        ({"origin_um": (50.0, 0.0)}, r"'mine' \(y 50 to .* do not overlap: check the position"),
        ({"origin_um": (6.4, 0.0)}, "share only 8 × 36 pixels: SSIM needs at least 11 × 11"),
    ],
)  # fmt: skip
def test_a_volume_that_cannot_be_compared(truth, noisy, change: dict, message: str) -> None:
    given = {"name": "mine", "pixels": noisy, "z_um": Z_UM, "pixel_um": PIXEL_UM} | change
    with pytest.raises(InputError, match=message):
        compare(Volume(**given), truth)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing to compare: choose"),
        ({"baselines": ["linear"]}, "heights of at least two scans"),
        ({"baselines": ["linear"], "scans_um": (3.0, 30.0)}, "no plane at the scan's height 30 µm"),
        ({"baselines": ["lmmse"], "scans_um": SCANS_UM}, "Linear MMSE needs the optics"),
        ({"baselines": ["magic"], "scans_um": SCANS_UM}, "The baseline 'magic' is unknown"),
    ],
)
def test_what_is_missing_is_told(truth, given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare([], truth, **given)


def test_volumes_that_do_not_fit_each_other(stack, truth, noisy) -> None:
    def part(name: str, **about: Any) -> Volume:
        return Volume(name, noisy[:, :15], Z_UM, PIXEL_UM, **about)

    with pytest.raises(InputError, match="Two volumes are called 'a'"):
        compare([part("a"), part("a")], truth)
    with pytest.raises(InputError, match="'a' and 'b' have no field in common"):
        compare([part("a"), part("b", origin_um=(25 * PIXEL_UM, 0.0))], truth)
    with pytest.raises(InputError, match="made from different scans"):
        compare([part("a", scans_um=(2, 3)), part("b", scans_um=(2, 4))], truth,
                baselines=["linear"])  # fmt: skip
    flat = Volume("flat", np.ones_like(stack), Z_UM, PIXEL_UM)
    with pytest.raises(InputError, match=r"'flat' cannot be the reference\. It is constant"):
        compare(part("a"), flat)


def test_a_reference_that_is_too_small_is_named() -> None:
    small = Volume("small", np.random.default_rng(0).random((3, 10, 40)), np.arange(3.0), 0.1)
    with pytest.raises(InputError, match="The reference 'small' is only 10 × 40 pixels"):
        compare([], small, baselines=["linear"])


def test_pixels_that_lie_beside_are_told(truth, noisy) -> None:
    mine = Volume("mine", noisy, Z_UM, PIXEL_UM, origin_um=(0.06, 0.0))
    assert "'mine' lies 0.30 pixels beside it and was not shifted" in compare(mine, truth).sentence


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_figure_is_saved(truth, noisy, tmp_path: Path, ending: str) -> None:
    mine = Volume("mine", noisy, Z_UM, PIXEL_UM, scans_um=SCANS_UM)
    found = compare(mine, truth, baselines=["linear"])
    path = save_figure(comparison_figure(found), tmp_path / f"figure.{ending}", height_mm=120)
    assert path.stat().st_size > 3000


@pytest.mark.skipif(not DATA.is_dir(), reason="the real stacks are not here")
def test_published_values_of_a_real_stack() -> None:
    """The nucleus from planes 12, 22, 32: linear interpolation 32.1 dB, linear MMSE 38.9 dB."""
    image = read_image(DATA / "nucleus-hoechst-widefield.ome.tif")
    assert image.z_um is not None
    found = compare(
        [],
        Volume(image.name, image.stack, image.z_um, 0.5119),
        baselines=["linear", "lmmse"],
        scans_um=image.z_um[[12, 22, 32]],
        optics=Optics(na=1.2, wavelength_um=0.455, immersion_index=1.33, pixel_um=0.5119),
    )
    linear, lmmse = found.means["psnr_db"]
    assert linear == pytest.approx(32.1, abs=0.1)
    assert lmmse > 38.7
