"""Beads of known place and width, the optics' own widths, real beads, other implementations."""

from __future__ import annotations

import runpy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.ndimage import gaussian_filter
from scipy.optimize import curve_fit
from scipy.signal import fftconvolve
from scipy.stats import entropy

from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.optics import Optics, widefield_psf
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.measure.beads import (
    COLUMNS,
    MODELS,
    bead_profiles,
    excluded,
    histogram_edges,
    in_words,
    kl_divergence,
    measure_beads,
    plant_beads,
    theoretical_fwhm,
    widths,
    write_beads,
)

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
TOOLS = runpy.run_path(str(ROOT / "docs" / "validate_beads.py"))
VOXEL, WIDTHS = TOOLS["VOXEL"], TOOLS["WIDTHS"]
PLACES = ["z_um", "y_um", "x_um"]
SIZE = (81, 192, 192)


@pytest.fixture(scope="module")
def noisy() -> Any:
    """A hundred beads at SNR 10."""
    return plant_beads(SIZE, VOXEL, (0.6, 0.3, 0.25), 10)


@pytest.mark.parametrize(
    ("fwhm", "snr"),
    [((0.6, 0.25, 0.25), 30), ((1.0, 0.4, 0.4), 10), ((0.5, 0.35, 0.3), 10)],
)
def test_planted_beads_are_found_and_unbiased(fwhm: tuple[float, ...], snr: float) -> None:
    truth = plant_beads(SIZE, VOXEL, fwhm, snr, seed=2)
    score = TOOLS["score"](truth, measure_beads(truth.volume, VOXEL))
    assert score["recall"] >= 0.95
    assert score["false"] <= 0.02
    np.testing.assert_allclose(score["bias"], 0, atol=0.02)


def test_profiles_are_unbiased() -> None:
    truth = plant_beads(SIZE, VOXEL, (0.6, 0.3, 0.25), 30)
    table = measure_beads(truth.volume, VOXEL, model="profiles")
    score = TOOLS["score"](truth, table)
    assert score["recall"] >= 0.95
    assert score["false"] <= 0.02
    np.testing.assert_allclose(score["bias"], 0, atol=0.02)
    assert table.amplitude.median() == pytest.approx(100, rel=0.02)


def test_columns_hold_what_they_say(noisy: Any) -> None:
    table = measure_beads(noisy.volume, VOXEL)
    assert tuple(table.columns) == COLUMNS
    kept = table[table.accepted]
    assert kept.amplitude.median() == pytest.approx(100, rel=0.02)
    assert kept.background.median() == pytest.approx(100, rel=0.01)
    assert kept.snr.median() == pytest.approx(10, rel=0.1)
    assert kept.residual.median() == pytest.approx(0.1, rel=0.1)  # the noise over the amplitude
    assert list(kept.reason.unique()) == [""]
    assert sum(excluded(table).values()) == np.count_nonzero(~table.accepted)


def test_a_fit_is_the_least_squares_fit_of_scipy(noisy: Any) -> None:
    """The same region of a noisy bead, fitted by scipy.optimize.curve_fit."""
    region = (1.8, 0.8, 0.8)
    table = measure_beads(noisy.volume, VOXEL, points=noisy.centres_um[:3], region_um=region)
    grid = np.stack(np.meshgrid(*(np.arange(n) * 0.1 for n in SIZE), indexing="ij"))

    def model(at: np.ndarray, amplitude: float, base: float, *rest: float) -> np.ndarray:
        scaled = (at - np.array(rest[:3])[:, None]) / np.array(rest[3:])[:, None]
        return base + amplitude * np.exp(-4 * np.log(2) * (scaled**2).sum(axis=0))

    for row in table.itertuples():
        place = np.array([row.z_um, row.y_um, row.x_um])
        start = [100, 100, *place, 0.6, 0.3, 0.3]
        errors = []
        for offset in np.ndindex(3, 3, 3):  # the region's centre is a voxel next to the bead
            middle = np.round(place / 0.1).astype(int) + np.array(offset) - 1
            box = tuple(slice(m - h, m + h + 1) for m, h in zip(middle, (9, 4, 4), strict=True))
            at, seen = grid[(slice(None), *box)].reshape(3, -1), noisy.volume[box].ravel()
            if offset == (1, 1, 1) or np.abs(place - middle * 0.1).max() < 0.12:
                found, _ = curve_fit(model, at, seen, p0=start)
                widths = [row.fwhm_z_um, row.fwhm_y_um, row.fwhm_x_um]
                expected = [row.amplitude, row.background, *place, *widths]
                errors.append(np.max(np.abs(np.abs(found) / expected - 1)))
        assert min(errors) < 1e-4


@pytest.mark.parametrize("model", ["gaussian3d", "profiles"])
@pytest.mark.parametrize("optics", TOOLS["OPTICS"], ids=lambda optics: f"NA {optics.na}")
def test_the_vectorial_point_spread_function_has_its_own_width(optics: Optics, model: str) -> None:
    lateral, axial = theoretical_fwhm(optics)
    (row,) = measure_beads(*TOOLS["in_focus"](optics), model=model).query("accepted").itertuples()
    assert row.fwhm_z_um == pytest.approx(axial, rel=0.025)
    assert row.fwhm_y_um == pytest.approx(lateral, rel=0.025)
    assert row.fwhm_x_um == pytest.approx(lateral, rel=0.025)


def test_theory_is_that_of_airy_at_low_aperture() -> None:
    """Half maxima of (2 J1(v) / v)² and (sin(u/4) / (u/4))² (Born and Wolf, 8.8)."""
    optics = Optics(na=0.1, wavelength_um=0.5, immersion_index=1.0, pixel_um=1.0)
    lateral, axial = theoretical_fwhm(optics)
    assert lateral == pytest.approx(0.5145 * 0.5 / 0.1, rel=0.01)
    assert axial == pytest.approx(1.772 * 0.5 / 0.1**2, rel=0.01)


def test_theory_of_a_bead_is_a_convolution_with_a_ball() -> None:
    optics = Optics(na=1.2, wavelength_um=0.5, immersion_index=1.33, pixel_um=0.02)
    z = np.arange(-35, 36) * 0.02
    ball = np.add.outer(z[25:46] ** 2, np.add.outer(z[25:46] ** 2, z[25:46] ** 2)) <= 0.15**2
    image = fftconvolve(widefield_psf(optics, z, 51), ball, mode="same")
    diameter = 2 * (np.count_nonzero(ball) * 0.02**3 * 3 / (4 * np.pi)) ** (1 / 3)
    expected = []
    for line in (image[35, 25], image[:, 25, 25]):
        above = np.flatnonzero(line > line.max() / 2)
        low, high = above[0], above[-1]
        ends = [np.interp(line.max() / 2, line[[a, b]], [a, b]) for a, b in
                ((low - 1, low), (high + 1, high))]  # fmt: skip
        expected.append(0.02 * (ends[1] - ends[0]))
    assert theoretical_fwhm(optics, bead_um=diameter) == pytest.approx(expected, rel=0.01)
    with pytest.raises(InputError, match="outside 0 to 2"):
        theoretical_fwhm(optics, bead_um=5)


@pytest.mark.skipif(not DATA.is_dir(), reason="the real stacks are not here")
@pytest.mark.parametrize(
    ("name", "lateral", "axial"),
    [("bead-560nm-widefield", 0.30, 0.92), ("bead-520nm-na0.85-widefield", 0.34, 0.99)],
)
def test_a_real_stack_of_one_bead_holds_one_bead(name: str, lateral: float, axial: float) -> None:
    """Its widths lie a little above those of perfect optics; its rings are not beads."""
    stack = tifffile.imread(DATA / f"{name}.ome.tif")
    (row,) = measure_beads(stack, TOOLS["REAL"][name]).query("accepted").itertuples()
    peak = np.unravel_index(gaussian_filter(stack.astype(float), 1).argmax(), stack.shape)
    place = np.array(peak) * TOOLS["REAL"][name]
    np.testing.assert_allclose([row.z_um, row.y_um, row.x_um], place, atol=0.2)
    assert lateral < min(row.fwhm_y_um, row.fwhm_x_um)
    assert max(row.fwhm_y_um, row.fwhm_x_um) < 1.25 * lateral
    assert axial < row.fwhm_z_um < 1.4 * axial


def test_widths_are_those_of_napari_psf_analysis() -> None:
    pytest.importorskip("napari_psf_analysis.psf_analysis.fit.fitter")
    truth = plant_beads(SIZE, VOXEL, (0.6, 0.3, 0.25), 20)
    counts = np.round(100 * truth.volume.clip(0)).astype(np.uint16)
    table = measure_beads(counts, VOXEL, region_um=3 * truth.fwhm_um)
    others = TOOLS["measured_by_psf_analysis"](counts, VOXEL, table, 3 * truth.fwhm_um)
    np.testing.assert_allclose(table.loc[table.accepted, WIDTHS], others, rtol=0.01)


@pytest.mark.parametrize("model", ["gaussian3d", "profiles"])
def test_one_plane_gives_lateral_widths(noisy: Any, model: str) -> None:
    clean = plant_beads((41, 96, 96), VOXEL, (0.8, 0.3, 0.25), 100, pitch_um=(3, 2, 2))
    plane = clean.volume[round(float(np.median(clean.centres_um[:, 0])) * 10)]
    flat = measure_beads(plane, VOXEL[1:], model=model)
    assert flat.accepted.sum() > 5
    assert flat.fwhm_z_um.isna().all()
    assert (flat.z_um == 0).all()
    kept = flat[flat.accepted & (flat.amplitude > 50)]
    np.testing.assert_allclose(kept[WIDTHS[1:]].mean(), [0.3, 0.25], rtol=0.02)
    deep = measure_beads(plane[None], VOXEL, model=model)
    np.testing.assert_array_equal(flat.fwhm_x_um, deep.fwhm_x_um)


def add_bead(volume: np.ndarray, place: tuple[float, float, float], height: float) -> None:
    """A Gaussian of 3 voxels' sigma along z and 1.5 across, at a place in voxels."""
    z, y, x = (np.arange(n) - c for n, c in zip(volume.shape, place, strict=True))
    volume += height * (
        np.exp(-(z**2) / 18)[:, None, None] * np.exp(-(y**2) / 4.5)[:, None] * np.exp(-(x**2) / 4.5)
    )


def quiet() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 1, (48, 64, 64))


def test_beads_that_disturb_each_other_are_excluded_by_brightness() -> None:
    """Two of the same brightness need the whole separation; a dim one needs more."""
    for height, apart, reasons in [
        (100, 0.8, ["neighbour", "neighbour"]),
        (100, 1.6, ["", ""]),
        (25, 1.6, ["", "neighbour"]),
        (25, 2.6, ["", ""]),
    ]:
        volume = quiet()
        add_bead(volume, (24, 30, 18), 100)
        add_bead(volume, (24, 30, 18 + apart * 10), height)
        table = measure_beads(volume, VOXEL, min_separation_um=1.0)
        strong = table[table.snr > 10]
        assert list(strong.reason) == reasons, (height, apart)


def test_reasons_are_stated() -> None:
    volume = quiet()
    add_bead(volume, (2, 20, 20), 100)
    add_bead(volume, (24, 40, 20), 90)
    volume[24, 20, 45] += 400  # a hot pixel
    for x in (41.0, 49.0):  # a bead of two halves
        add_bead(volume, (24, 44, x), 70)
    for place, reason in [
        ((0.2, 2.0, 2.0), "border"),
        ((2.4, 4.0, 2.0), ""),
        ((2.4, 4.4, 4.1), "poor fit"),
    ]:
        table = measure_beads(volume, VOXEL, points=[place], region_um=(1.4, 0.8, 1.8))
        assert list(table.reason) == [reason], place
        assert excluded(table) == ({reason: 1} if reason else {})
    found = measure_beads(volume, VOXEL)
    assert len(found) == 5
    assert found.reason[found.x_um.sub(4.5).abs().idxmin()] in ("width", "no fit")
    assert found.accepted.sum() == 1


@pytest.mark.parametrize("model", MODELS)
def test_no_bead_lies_outside_of_the_volume(model: str) -> None:
    """Nor is one that cannot be fitted anywhere but at its brightest voxel."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        volume = rng.poisson(20, (24, 64, 64)) + 200 * np.exp(-np.arange(64) / 20)
        for _ in range(12):
            add_bead(volume, tuple(rng.uniform(0, volume.shape)), rng.uniform(20, 400))
        table = measure_beads(volume, VOXEL, threshold_snr=3, model=model)
        index = table[PLACES].to_numpy() / np.array(VOXEL)
        assert (index > -1e-6).all()
        assert (index < np.array(volume.shape) - 1 + 1e-6).all()
        lost = table["amplitude"].isna()
        assert lost.sum() > 3
        assert not table["accepted"][lost].any()
        voxels = table[["z_voxel", "y_voxel", "x_voxel"]].to_numpy()
        np.testing.assert_allclose(index[lost], voxels[lost])
        assert table[["fwhm_z_um", "fwhm_y_um", "fwhm_x_um"]][lost].isna().all(axis=None)


@pytest.mark.parametrize("height", [4300, 9000])
def test_one_saturated_bead_is_not_accepted(height: int) -> None:
    table = measure_beads(_one_too_bright(height).astype(np.uint16), VOXEL)
    assert list(table.reason[:3]) == ["saturated", "", ""]


def _one_too_bright(height: int, limit: int = 4095) -> np.ndarray:
    volume = np.random.default_rng(4).normal(100, 3, (48, 64, 64))
    for place, peak in (((24, 20, 20), height), ((24, 20, 45), 1500), ((24, 45, 30), 1800)):
        add_bead(volume, place, peak)
    return volume.round().clip(0, limit)


def test_saturated_beads_are_found_in_what_was_made_of_a_stack() -> None:
    volume, stack = _one_too_bright(9000, 20_000) + 0.25, _one_too_bright(9000)
    reasons = ["saturated", "", ""]
    made = volume.copy()  # between scans, a volume may go beyond the camera's limit
    made[::4] = stack[::4]
    assert made.max() > 4095
    table = measure_beads(made.astype(np.float32), VOXEL)
    assert list(table.reason[:3]) == reasons
    assert excluded(table)["saturated"] == 1
    assert "1 saturated" in in_words(table)


def test_a_plane_without_values_is_at_no_limit() -> None:
    volume = quiet() + 100
    add_bead(volume, (24, 30, 30), 100)
    volume[[21, 27]] = 0
    assert "saturated" not in set(measure_beads(volume, VOXEL).reason)


def test_noise_alone_holds_no_bead() -> None:
    table = measure_beads(quiet(), VOXEL)
    assert not table.accepted.any()
    assert tuple(table.columns) == COLUMNS


def test_points_choose_the_beads_and_their_order(noisy: Any) -> None:
    places = noisy.centres_um[[7, 2]] + 0.1
    table = measure_beads(noisy.volume, VOXEL, points=places)
    np.testing.assert_allclose(table[["z_um", "y_um", "x_um"]], places - 0.1, atol=0.08)
    assert table.accepted.all()


def test_a_region_may_be_given_along_some_axes(noisy: Any) -> None:
    whole = measure_beads(noisy.volume, VOXEL)
    part = measure_beads(noisy.volume, VOXEL, region_um=(np.nan, 0.7, np.nan))
    assert part.attrs["region_um"] == (
        whole.attrs["region_um"][0],
        0.7,
        whole.attrs["region_um"][2],
    )


def test_heights_choose_the_beads(noisy: Any) -> None:
    whole = measure_beads(noisy.volume, VOXEL)
    low, high = np.percentile(whole.z_um, [30, 60])
    table = measure_beads(noisy.volume, VOXEL, z_range_um=(low, high))
    assert 0 < len(table) < len(whole)
    assert table.z_um.between(low - 0.1, high + 0.1).all()


def test_the_origin_moves_everything(noisy: Any) -> None:
    """Positions, points and heights are all counted from the same place."""
    origin = np.array([5.0, -3.0, 100.0])
    plain = measure_beads(noisy.volume, VOXEL)
    high = float(np.median(plain.z_um))
    moved = measure_beads(
        noisy.volume, VOXEL, origin_um=origin, z_range_um=(origin[0], origin[0] + high)
    )
    below = plain[plain.z_voxel * VOXEL[0] <= high]
    np.testing.assert_allclose(moved[PLACES], below[PLACES] + origin)
    np.testing.assert_allclose(moved[WIDTHS], below[WIDTHS])
    given = measure_beads(
        noisy.volume, VOXEL, points=noisy.centres_um[:2] + origin, origin_um=origin
    )
    np.testing.assert_allclose(given[PLACES], noisy.centres_um[:2] + origin, atol=0.08)
    one_plane = measure_beads(
        noisy.volume, VOXEL, z_range_um=(below.z_voxel.iloc[0] * VOXEL[0],) * 2
    )
    assert set(one_plane.z_voxel) == {below.z_voxel.iloc[0]}


@pytest.mark.parametrize("model", ["gaussian3d", "profiles"])
def test_profiles_are_the_voxels_and_the_fitted_curve(noisy: Any, model: str) -> None:
    """Against the voxels themselves, the planted bead, and SciPy's fit of the same line."""
    origin = (5.0, 0.0, -2.0)
    table = measure_beads(noisy.volume, VOXEL, origin_um=origin, model=model)
    bead = int(table.index[table.accepted][3])
    row = table.loc[bead]
    z, y, x = bead_profiles(noisy.volume, table, bead)
    assert [profile.axis for profile in (z, y, x)] == ["z", "y", "x"]
    seen = noisy.volume[row.z_voxel, row.y_voxel]
    first = round((x.at_um[0] + row.x_um - origin[2]) / VOXEL[2])
    np.testing.assert_array_equal(x.intensity, seen[first : first + len(x.intensity)])
    for profile in (z, y, x):
        assert profile.fwhm_um == row[f"fwhm_{profile.axis}_um"]
        above = profile.fit_at_um[profile.fit > (profile.fit.max() + profile.fit.min()) / 2]
        assert np.ptp(above) == pytest.approx(profile.fwhm_um, rel=0.1)
        assert abs(profile.fit_at_um[profile.fit.argmax()]) < 0.01
        assert profile.fit.max() == pytest.approx(profile.intensity.max(), rel=0.2)
    if model == "profiles":

        def line(at: np.ndarray, base: float, height: float, centre: float, fwhm: float) -> Any:
            return base + height * np.exp(-4 * np.log(2) * ((at - centre) / fwhm) ** 2)

        found, _ = curve_fit(line, x.at_um, x.intensity, p0=(100, 100, 0, 0.3))
        np.testing.assert_allclose(x.fit, line(x.fit_at_um, *found), atol=0.1)
        assert abs(found[3]) == pytest.approx(x.fwhm_um, rel=1e-3)


def test_profiles_of_a_plane_and_of_what_was_not_fitted() -> None:
    plane = np.random.default_rng(1).normal(0, 1, (40, 40))
    plane += 60 * np.exp(-(np.add.outer((np.arange(40) - 20) ** 2, (np.arange(40) - 19) ** 2)) / 6)
    table = measure_beads(plane, VOXEL[1:])
    assert [profile.axis for profile in bead_profiles(plane, table, 0)] == ["y", "x"]
    table.loc[0, WIDTHS] = np.nan
    y, _ = bead_profiles(plane, table, 0)
    assert len(y.intensity) >= 7
    assert not len(y.fit)
    with pytest.raises(InputError, match="no bead 99"):
        bead_profiles(plane, table, 99)
    table.attrs.clear()
    with pytest.raises(InputError, match="how it was measured"):
        bead_profiles(plane, table, 0)


def test_a_table_in_numbers_words_and_csv(noisy: Any, tmp_path: Path) -> None:
    table = measure_beads(noisy.volume, VOXEL)
    kept = table.loc[table.accepted, "fwhm_x_um"]
    found = widths(table, "x")
    assert (found.n, found.mean_um, found.median_um) == (len(kept), kept.mean(), kept.median())
    assert in_words(table).startswith(f"{len(kept)} of {len(table)} beads accepted")
    for reason, count in excluded(table).items():
        assert {"border": f"{count} at the border", "dim": f"{count} dim"}.get(
            reason, str(count)
        ) in in_words(table)
    path = write_beads(tmp_path / "beads.csv", {"a": table, "µ": table[:2]})
    again = pd.read_csv(path, keep_default_na=True)
    assert list(again.columns[:3]) == ["volume", "bead", "z (µm)"]
    assert all("(" in name for name in again.columns[2:-2])  # every number has its unit
    assert list(again.volume) == ["a"] * len(table) + ["µ"] * 2
    both = pd.concat([table, table[:2]])
    np.testing.assert_allclose(again["FWHM x (µm)"], both.fwhm_x_um, rtol=1e-5)
    assert list(again.reason.fillna("")) == list(both.reason)
    with pytest.raises(InputError, match=r"end in \.csv"):
        write_beads(tmp_path / "beads.xlsx", {"a": table})
    with pytest.raises(InputError, match="another place"):
        write_beads(tmp_path / "nowhere" / "beads.csv", {"a": table})
    with pytest.raises(InputError, match="no bead"):
        write_beads(tmp_path / "none.csv", {"a": table[:0]})
    assert in_words(table[:0]) == "No bead was found"
    assert np.isnan(widths(table[:0], "x").mean_um)


def test_the_command_line_says_the_same(tmp_path: Path, capsys: Any) -> None:
    """Two files: the table, the theory, the CSV, the figure; a stack that holds no bead."""
    sizes = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "PhysicalSizeZ": 0.2}
    units = {f"{name}Unit": "µm" for name in sizes}
    fwhm = {"made": (0.8, 0.35, 0.3), "scan": (0.7, 0.3, 0.28)}
    volumes = {
        name: plant_beads((24, 96, 96), (0.2, 0.1, 0.1), width, 30).volume
        for name, width in fwhm.items()
    }
    volumes["none"] = np.ones((4, 32, 32), np.float32)
    for name, volume in volumes.items():
        metadata = {"axes": "ZYX"} | sizes | units
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", volume, metadata=metadata)
    made, scan, none = (str(tmp_path / f"{name}.ome.tif") for name in volumes)
    csv, figure = str(tmp_path / "beads.csv"), str(tmp_path / "widths.svg")
    optics = "--na 1.2 --wavelength-um 0.6 --immersion-index 1.333".split()
    argv = ["beads", made, "--reference", scan, "--apart", *optics]
    assert main([*argv, "--csv", csv, "--figure", figure]) == 0
    said = capsys.readouterr().out
    tables = [measure_beads(volumes[name], (0.2, 0.1, 0.1)) for name in fwhm]
    x, y = (widths(table, "x") for table in tables)
    lateral, _ = theoretical_fwhm(
        Optics(na=1.2, wavelength_um=0.6, immersion_index=1.333, pixel_um=0.1)
    )
    row = next(line.split() for line in said.splitlines() if line.startswith("x "))
    kl = kl_divergence(y.values_um, x.values_um)
    expected = [x.mean_um, x.median_um, x.n, lateral, kl]
    np.testing.assert_allclose([float(word) for word in row[-5:]], expected, atol=1e-3)
    assert len(pd.read_csv(csv)) == sum(len(table) for table in tables)
    assert "KL" in Path(figure).read_text(encoding="utf-8")
    assert main(["beads", none]) == 1
    assert "constant" in capsys.readouterr().err


def test_bins_of_a_histogram() -> None:
    edges = histogram_edges([0.4, np.nan, 0.5], [0.3], bins=10)
    np.testing.assert_allclose(edges, np.histogram_bin_edges([0.3, 0.5], 10))
    np.testing.assert_allclose(histogram_edges([0.4])[[0, -1]], [0.396, 0.404])
    with pytest.raises(InputError, match="no measured bead"):
        histogram_edges([np.nan])


def test_units_of_length_and_intensity_do_not_matter(noisy: Any) -> None:
    volume = noisy.volume[:, :96, :96]
    one = measure_beads(volume, VOXEL)
    other = measure_beads(volume * 8 + 1000, np.array(VOXEL) * 2)
    np.testing.assert_allclose(other[WIDTHS], 2 * one[WIDTHS], rtol=1e-3)
    np.testing.assert_allclose(other.amplitude, 8 * one.amplitude, rtol=1e-3)
    assert list(one.reason) == list(other.reason)


def test_progress_and_stop(noisy: Any) -> None:
    steps: list[tuple[int, int]] = []
    table = measure_beads(noisy.volume, VOXEL, on_progress=lambda *step: steps.append(step))
    assert steps[-1] == (len(table), len(table))
    assert len(measure_beads(noisy.volume, VOXEL, stopped=lambda: True)) == 0


@pytest.mark.parametrize("model", ["gaussian3d", "profiles"])
def test_many_beads_take_seconds(model: str) -> None:
    """Processor time, so that a busy machine does not count: the fits alone, not the search."""
    truth = plant_beads((41, 128, 128), VOXEL, (0.6, 0.3, 0.3), 20, pitch_um=(3, 1.8, 1.8))
    places = np.repeat(truth.centres_um, 2000 // len(truth.centres_um) + 1, axis=0)[:2000]
    before = time.process_time()
    table = measure_beads(truth.volume, VOXEL, points=places, model=model)
    assert len(table) == 2000
    assert time.process_time() - before < 5


BAD_INPUT = {
    "NaN": ({"volume": np.where(quiet() > 3, np.nan, 0)}, "NaN"),
    "constant": ({"volume": np.ones((8, 32, 32))}, "constant"),
    "colours in time": ({"volume": np.zeros((2, 2, 32, 32))}, "real intensities|grey-value"),
    "complex": ({"volume": np.zeros((32, 32), complex)}, "real intensities|grey-value"),
    "small": ({"volume": np.zeros((8, 9, 9))}, "only 9 × 9"),
    "voxel": ({"voxel_um": (0.1, 0.1)}, "voxel size"),
    "negative voxel": ({"voxel_um": (0.1, -0.1, 0.1)}, "voxel size"),
    "model": ({"model": "airy"}, "unknown"),
    "threshold": ({"threshold_snr": 0}, "threshold"),
    "separation": ({"min_separation_um": 0.1}, "separation"),
    "region": ({"region_um": (1, 0, 1)}, "region"),
    "points": ({"points": [[1.0, 2.0]]}, "points"),
    "outside": ({"points": [[1.0, 2.0, 3.0], [1.0, 2.0, 99.0]]}, "Point 2"),
    "origin": ({"origin_um": (1.0,)}, "origin"),
    "range": ({"z_range_um": (3, 1)}, "backwards"),
}


@pytest.mark.parametrize(("changed", "words"), BAD_INPUT.values(), ids=list(BAD_INPUT))
def test_bad_input_is_named(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        measure_beads(**{"volume": quiet(), "voxel_um": VOXEL, **changed})


def test_kl_divergence_is_that_of_scipy() -> None:
    rng = np.random.default_rng(5)
    truth, test = rng.normal(0.44, 0.02, 88), rng.normal(0.45, 0.03, 120)
    edges = np.linspace(min(truth.min(), test.min()), max(truth.max(), test.max()), 21)
    p, q = (np.histogram(x, edges)[0] + 0.5 for x in (truth, test))
    assert kl_divergence(truth, test) == pytest.approx(entropy(p, q))
    assert kl_divergence(test, truth) == pytest.approx(entropy(q, p))  # the direction counts
    with_holes = np.append(truth, np.nan)
    assert kl_divergence(with_holes, test) == pytest.approx(entropy(p, q))
    p, q = (np.histogram(x, [0.4, 0.45, 0.5])[0] + 0.5 for x in (truth, test))
    assert kl_divergence(truth, test, bins=[0.4, 0.45, 0.5]) == pytest.approx(entropy(p, q))


def test_kl_divergence_of_equal_apart_and_empty() -> None:
    assert kl_divergence([0.4, 0.5], [0.4, 0.5]) == pytest.approx(0)
    assert 0 < kl_divergence([0.4] * 10, [0.6] * 10) < np.inf
    with pytest.raises(InputError, match="second histogram"):
        kl_divergence([0.4], [np.nan])


def test_where_no_bead_is_accepted_it_is_said_what_to_do() -> None:
    table = pd.DataFrame({"accepted": [False] * 19, "reason": ["border"] * 18 + ["dim"]})
    assert in_words(table) == (
        "0 of 19 beads accepted; left out: 18 at the border, 1 dim: take a smaller region, or a "
        "larger field"
    )
