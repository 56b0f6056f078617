"""Scans with hot pixels are named and repaired; good ones are not."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_recurrent_mz import Optics, Scan, ZGrid, reconstruct
from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.optics import widefield_psf
from napari_recurrent_mz.engine.check import hot_pixel_notes
from napari_recurrent_mz.engine.repairs import repaired, without_hot
from napari_recurrent_mz.estimates.faults import hot_pixels, without_hot_pixels
from napari_recurrent_mz.io import read_image
from napari_recurrent_mz.measure.comparison import Volume, compare

SAMPLES = files("napari_recurrent_mz") / "docks" / "files" / "sample_data"
NUCLEUS = Path(str(SAMPLES / "nucleus.ome.tif"))
OPTICS = Optics(na=1.2, wavelength_um=0.52, immersion_index=1.333, pixel_um=0.1)
HEIGHTS = (0.0, 2.0, 4.0)


def beads(optics: Optics, seed: int = 0, photons: float = 800.0) -> list[Scan]:
    """Scans of beads at all heights, with the noise of the photons and a camera's offset."""
    rng = np.random.default_rng(seed)
    places = rng.integers(16, 112, (40, 2))
    depths = rng.uniform(-0.5, 4.5, 40)
    scans = []
    for z in HEIGHTS:
        light = np.zeros((128, 128))
        kernels = widefield_psf(optics, z - depths, 31)
        for (row, column), kernel in zip(places, kernels, strict=True):
            light[row - 15 : row + 16, column - 15 : column + 16] += kernel / kernels.max()
        counts = rng.poisson(photons * light + 20) + rng.normal(100, 2, light.shape)
        scans.append(Scan(counts.astype(np.float32), z, f"z{z:g}"))
    return scans


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("photons", [50.0, 5000.0])
def test_nothing_is_said_of_good_scans(seed: int, photons: float) -> None:
    assert hot_pixel_notes(beads(OPTICS, seed, photons), OPTICS) == []


def test_hot_pixels_are_found_where_they_are() -> None:
    scan = beads(OPTICS)[1]
    places = [(0, 5), (40, 41), (127, 64)]
    spoilt = scan.pixels.copy()
    for place in places:
        spoilt[place] = 4000
    assert [tuple(place) for place in hot_pixels(spoilt, OPTICS)] == places
    (note,) = hot_pixel_notes([Scan(spoilt, 2.0, "two"), *beads(OPTICS)[::2]], OPTICS)
    assert "'two' (3)" in note


@pytest.mark.parametrize("beside", [(0, 1), (1, 0), (1, 1), (1, -1)])
@pytest.mark.parametrize("at", [(40, 41), (0, 64), (126, 1)])
@pytest.mark.parametrize("value", [3500.0, 4000.0])
def test_two_hot_pixels_side_by_side_are_found(
    beside: tuple[int, int], at: tuple[int, int], value: float
) -> None:
    scan = beads(OPTICS)[1]
    spoilt = scan.pixels.copy()
    places = [at, (at[0] + beside[0], at[1] + beside[1]), (90, 20), (90, 22)]
    for place, bright in zip(places, (4000, value, 4000, 4000), strict=True):
        spoilt[place] = bright
    assert {tuple(place) for place in hot_pixels(spoilt, OPTICS)} == set(places)
    mended = without_hot_pixels(spoilt, OPTICS)[0]
    assert np.abs(mended - scan.pixels).max() < 0.1 * 4000


@pytest.mark.parametrize("shift", [(0, 0), (0, 0.5), (0.5, 0), (0.5, 0.5), (0.2, 0.4)])
@pytest.mark.parametrize("pixel_um", [0.05, 0.1, 0.138])
def test_a_bead_between_two_pixels_is_no_pair(shift: tuple[float, float], pixel_um: float) -> None:
    optics = replace(OPTICS, pixel_um=pixel_um)
    kernel = ndimage.shift(widefield_psf(optics, np.zeros(1), 31)[0], shift, order=3)
    image = np.pad(1e4 * kernel / kernel.max() + 100, 40, mode="edge").astype(np.float32)
    assert not len(hot_pixels(image, optics))


@pytest.mark.parametrize("brighter", [2e4, 1e9])
def test_no_hot_pixel_is_left_that_a_brighter_one_hid(brighter: float) -> None:
    """One that is beside it, or one so bright that the range of the image was another."""
    scans = beads(OPTICS)
    spoilt = scans[1].pixels.copy()
    for (row, column), value in zip(
        ((40, 41), (40, 42), (90, 20)), (brighter, 5e3, 5e3), strict=True
    ):
        spoilt[row, column] = value
    mended, _ = repaired([Scan(spoilt, 2.0, "two"), *scans[::2]], OPTICS)
    assert hot_pixel_notes(mended, OPTICS) == []
    assert mended[0].pixels.max() == pytest.approx(scans[1].pixels.max())


def test_through_coarse_pixels_a_bead_may_be_one_pixel() -> None:
    coarse = replace(OPTICS, pixel_um=0.6)
    assert not len(hot_pixels(np.pad([[900.0]], 20).astype(np.float32), coarse))
    assert hot_pixel_notes(beads(coarse), coarse) == []


def test_what_outshines_a_real_sample_in_coarse_pixels_is_asked_about() -> None:
    optics = Optics(na=1.2, wavelength_um=0.455, immersion_index=1.33, pixel_um=0.512)
    images = read_image(NUCLEUS).data[[10, 22, 34]].astype(np.float32)
    scans = [Scan(image, float(z), f"z{z}") for z, image in enumerate(images)]
    assert hot_pixel_notes(scans, optics) == []
    spoilt = images[1].copy()
    spoilt[60, 70], spoilt[20, 30] = 12 * spoilt.max(), 10 * spoilt.max()
    given = [scans[0], replace(scans[1], image=spoilt), scans[2]]
    (note,) = hot_pixel_notes(given, optics)
    assert "'z1' (2) are more than 8 times as bright" in note
    assert without_hot(given, optics)[1].pixels.max() == images[1].max()  # by a press of the button
    mended, told = repaired(given, optics)  # but not unasked: it may be light
    assert mended[1].pixels.max() == spoilt.max()
    assert not told


def test_the_empty_part_of_a_mosaic_hides_no_noise() -> None:
    mosaic = np.zeros((256, 256), np.float32)
    mosaic[:128, :128] = np.random.default_rng(0).poisson(60, (128, 128))
    assert not len(hot_pixels(mosaic, OPTICS))


@pytest.mark.parametrize("photons", [20, 200, 5000])
def test_the_noise_of_bright_light_is_no_hot_pixel(photons: int) -> None:
    rng = np.random.default_rng(photons)
    y, x = np.ogrid[:256, :256]
    nucleus = np.hypot(y - 128, x - 128) < 60
    image = (rng.poisson(1 + photons * nucleus) + rng.normal(100, 1, (256, 256))).astype(np.float32)
    assert not len(hot_pixels(image, OPTICS))


@pytest.fixture
def spoilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Scan]:
    """The scans as they should be; in the folder, one of the files has hot pixels."""
    (tmp_path / "scans").mkdir()
    monkeypatch.chdir(tmp_path / "scans")
    scans = beads(OPTICS, photons=5000)
    for scan in scans:
        pixels = scan.pixels.copy()
        if scan.z_um == 2:
            pixels[40, 41] = pixels[90, 20] = 5 * pixels.max()
        tifffile.imwrite(f"scan_z{scan.z_um:g}um.tif", pixels, metadata=None)
    return scans


def volume_of(scans: list[Scan]) -> np.ndarray:
    """Of scans without hot pixels; their light, which the field's edges cut off, is evened out."""
    assert not hot_pixel_notes(scans, OPTICS)
    return reconstruct(repaired(scans, OPTICS)[0], ZGrid(0, 4, 0.5), optics=OPTICS, method="lmmse")


FILES = [f"scan_z{z:g}um.tif" for z in HEIGHTS]
OPTIONS = ["--na", "1.2", "--wavelength-um", "0.52", "--immersion-index", "1.333",
           "--pixel-um", "0.1", "--method", "lmmse", "--grid", "0:4:0.5"]  # fmt: skip


def test_the_command_names_faults_and_repairs_them_if_told_to(
    spoilt: list[Scan], capsys: pytest.CaptureFixture[str]
) -> None:
    right = volume_of(spoilt)
    assert main(["reconstruct", *FILES, *OPTIONS, "-o", "as-it-is.ome.tif"]) == 0
    told = capsys.readouterr().err
    assert "'scan_z2um.tif' (2)" in told
    assert "--repair" in told
    assert main(["reconstruct", *FILES, *OPTIONS, "--repair", "-o", "repaired.ome.tif"]) == 0
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith("note: Repaired: 'scan_z2um.tif' (hot pixels replaced")
    as_it_is, without = (read_image(f"{name}.ome.tif") for name in ("as-it-is", "repaired"))
    error = [float(np.abs(image.stack - right).max()) for image in (as_it_is, without)]
    assert error[1] < 0.02 * error[0]
    with tifffile.TiffFile("repaired.ome.tif") as file:
        record = file.ome_metadata
    assert record is not None
    assert "hot pixels" in record


def test_without_optics_the_command_says_what_it_cannot_repair(
    spoilt: list[Scan], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reconstruct", *FILES, "--pixel-um", "0.1", "--method", "linear", "--repair"]
    assert main([*command, "--grid", "0:4:0.5", "-o", "linear.ome.tif"]) == 0
    assert "hot pixels and shifts to the side are found with NA" in capsys.readouterr().err


def test_a_batch_repairs_them_if_told_to(
    spoilt: list[Scan], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["batch", ".", "--pattern", "scan_z{z}um.tif", "-o", "../results", *OPTIONS]
    assert main(command) == 0
    report = Path("../results/batch-report.csv")
    assert "Single pixels stand out" in report.read_text()
    said = "scans of 1 volume have faults, which 'batch-report.csv' names: --repair makes most"
    assert said in capsys.readouterr().err
    assert main(command) == 0  # what is kept is told of again
    assert said in capsys.readouterr().err
    assert "Single pixels stand out" in report.read_text()
    assert main([*command, "--repair"]) == 0  # another setting: made anew
    assert "faults" not in capsys.readouterr().err
    assert "Repaired: 'scan_z2um.tif' (hot pixels replaced" in report.read_text()
    right = volume_of(spoilt)
    (made,) = Path("../results").glob("*.ome.tif")
    np.testing.assert_allclose(read_image(made).stack, right, atol=0.05 * np.ptp(right))
    assert main([*command, "--repair"]) == 0
    assert "1 kept from before" in capsys.readouterr().out
    assert "Repaired: 'scan_z2um.tif'" in report.read_text()


def test_faults_of_the_planes_that_others_are_made_from_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command that evaluates methods on a stack, and by a comparison."""
    planes = np.stack([scan.pixels for scan in beads(OPTICS, photons=5000)])
    planes[1, 40, 41] = 5 * planes.max()
    stack = np.repeat(planes, 2, axis=0)
    tifffile.imwrite(tmp_path / "stack.tif", stack, metadata=None)
    command = ["evaluate", str(tmp_path / "stack.tif"), "--planes", "0", "2", "4", *OPTIONS[:8]]
    assert main([*command, "--z-step-um", "1", "--methods", "linear"]) == 0
    assert "Single pixels stand out in 'stack.tif plane 2' (1)" in capsys.readouterr().err
    reference = Volume("truth", stack, np.arange(6.0), 0.1)
    for optics, count in ((OPTICS, 1), (None, 0)):
        found = compare([], reference, baselines=["linear"], scans_um=(0, 2, 4), optics=optics)
        hot = [note for note in found.notes if "stand out in 'truth, plane 2' (1)" in note]
        assert len(hot) == count
