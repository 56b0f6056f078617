"""Several channels and time points of a file, on the command line and in Python."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from files import MICROMETRES, write_ome
from napari_recurrent_mz import Optics, Scan, ZGrid, reconstruct
from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io import Channel, Place, channels_of, read_image, write_channels
from napari_recurrent_mz.io._ome import ome_root

N, STEP_UM, PIXEL_UM = 9, 0.4, 0.1
_NOISE = np.random.default_rng(4).random((3, 2, N, 32, 40))
MOVIE = (200 + 4000 * gaussian_filter(_NOISE, (0, 0, 1, 1.5, 1.5))).astype(np.uint16)  # T C Z Y X
TWO = MOVIE[0]  # C Z Y X
WAVELENGTHS_UM = (0.461, 0.6)
PLANES = (1, 4, 7)
GRID = ZGrid(0.4, 2.8, 0.4)
COMMON = ["--planes", *map(str, PLANES), "--grid", "0.4:2.8:0.4", "--method", "lmmse"]
COMMON += ["--na", "1.2", "--immersion-index", "1.333"]

SURFACE = ["--planes", "1", "3", "--through", "1,0,0", "1,0,1", "1,1,0", "--method", "lmmse"]


def ome_tiff(folder: Path) -> Path:
    channels = {
        "Name": ["DAPI", "CY3"],
        "EmissionWavelength": [1e3 * w for w in WAVELENGTHS_UM],
        "EmissionWavelengthUnit": ["nm"] * 2,
    }
    return write_ome(folder / "two.ome.tif", TWO, "CZYX", Channel=channels)


def ome_zarr(folder: Path) -> Path:
    place = Place(PIXEL_UM, STEP_UM * np.arange(N))
    channels = [Channel(TWO[0], "DAPI"), Channel(TWO[1], "CY3")]
    return write_channels(folder / "two.ome.zarr", channels, place)


def imagej(folder: Path) -> Path:
    """ImageJ's hyperstacks are (Z, C, Y, X), and say nothing of wavelengths."""
    path = folder / "two.tif"
    pixels, metadata = TWO.swapaxes(0, 1), {"axes": "ZCYX", "spacing": STEP_UM, "unit": "um"}
    resolution = (1 / PIXEL_UM, 1 / PIXEL_UM)
    tifffile.imwrite(path, pixels, imagej=True, resolution=resolution, metadata=metadata)
    return path


def run(*argv: str | Path) -> int:
    return main([str(word) for word in argv])


def refused(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert run(*argv) == 1
    return capsys.readouterr().err


def alone(stack: np.ndarray, wavelength_um: float) -> np.ndarray:
    """One channel, reconstructed as if there were no other."""
    optics = Optics(1.2, wavelength_um, 1.333, PIXEL_UM)
    scans = [Scan(stack[p], STEP_UM * p) for p in PLANES]
    return reconstruct(scans, GRID, optics=optics, method="lmmse")


@pytest.mark.parametrize("write", [ome_tiff, ome_zarr, imagej])
@pytest.mark.parametrize("ending", ["ome.tif", "ome.zarr"])
def test_all_channels_are_one_file_and_each_is_what_it_is_alone(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], Path],
    ending: str,
) -> None:
    path, out = write(tmp_path), tmp_path / f"out.{ending}"
    command = ["reconstruct", path, "--channel", "all", *COMMON, "-o", out]
    if write is not ome_tiff:  # the file does not say: it is asked for, of every channel
        assert "emission wavelength is not in the metadata" in refused(capsys, *command)
        assert "has 1 value for 2 channels" in refused(capsys, *command, "--wavelength-um", "0.5")
        command += ["--wavelength-um", ",".join(map(str, WAVELENGTHS_UM))]
        assert not out.exists()
    assert run(*command) == 0
    names = ["channel 0", "channel 1"] if write is imagej else ["DAPI", "CY3"]
    assert channels_of(out) == names
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == names
    for number, wavelength_um in enumerate(WAVELENGTHS_UM):
        image = read_image(out, channel=number)
        expected = alone(TWO[number], wavelength_um)
        np.testing.assert_allclose(image.data, expected, rtol=1e-6, atol=0)
        assert image.wavelength_um == pytest.approx(wavelength_um)
        assert image.provenance["optics"]["wavelength_um"] == pytest.approx(wavelength_um)
        assert image.provenance["scans"][0]["name"].endswith("plane 1")
    assert not np.allclose(alone(TWO[0], 0.461), alone(TWO[0], 0.6), rtol=1e-3)


def test_notes_say_of_which_channel_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reconstruct", ome_tiff(tmp_path), "--planes", "1", "4", "--method", "linear"]
    command += ["--grid", "0.4:6.4:0.4", "-o", tmp_path / "out.ome.tif", "--channel"]
    beyond = "The grid reaches 4.8 µm beyond the outer scans"
    assert run(*command, "all") == 0
    told = capsys.readouterr().err
    assert f"note: DAPI: {beyond}" in told
    assert f"note: CY3: {beyond}" in told
    assert run(*command, "1") == 0
    assert f"note: {beyond}" in capsys.readouterr().err


@pytest.mark.parametrize("channel", ["1", "CY3", "cy3"])
def test_one_channel_by_number_or_name(tmp_path: Path, channel: str) -> None:
    out = tmp_path / "out.ome.tif"
    assert run("reconstruct", ome_tiff(tmp_path), "--channel", channel, *COMMON, "-o", out) == 0
    image = read_image(out)
    np.testing.assert_allclose(image.data, alone(TWO[1], 0.6), rtol=1e-6)
    assert image.wavelength_um == pytest.approx(0.6)


def test_what_is_not_chosen_or_not_there_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = ome_tiff(tmp_path), tmp_path / "out.ome.tif"
    one = write_ome(tmp_path / "one.ome.tif", TWO[0])
    command = ["reconstruct", *COMMON, "-o", out]
    said = refused(capsys, *command, path)
    assert "has 2 channels: choose one with --channel, 0 to 1." in said
    assert "They are 0 (DAPI) and 1 (CY3)." in said
    assert "--channel all" in said
    said = refused(capsys, "surface", path, *SURFACE, "-o", out)
    assert "1 (CY3)" in said
    assert "--channel all" not in said  # not here
    said = refused(capsys, "batch", path, "-o", tmp_path)
    assert "has 2 channels (DAPI, CY3): choose one" in said
    for wrong in ("2", "GFP"):
        assert "0 to 1" in refused(capsys, *command, path, "--channel", wrong)
    for option, value, words in (
        ("--channel", "1", "'one.ome.tif' has no channel 1: it has one."),
        ("--channel", "GFP", "'one.ome.tif' has no channel called 'GFP' (none has a name)"),
        ("--time", "3", "'one.ome.tif' has no time point 3: it has one."),
        ("--position", "1", "'one.ome.tif' holds one position, which is 0."),
    ):
        assert words in refused(capsys, *command, one, option, value)
    whole = ["surface", path, "--planes", "1", "4", "--through", "0,0,0", "1,1,0", "1,0,1"]
    assert "is wanted here, not all: choose one" in refused(
        capsys, *whole, "--channel", "all", "-o", out
    )
    assert not out.exists()


def test_single_images_of_two_channels(tmp_path: Path) -> None:
    paths = []
    for plane in PLANES:
        path = tmp_path / f"scan_z{STEP_UM * plane:.1f}um.ome.tif"
        paths.append(write_ome(path, TWO[:, plane], "CYX", Channel={"Name": ["A", "B"]}))
    out = tmp_path / "out.ome.tif"
    command = ["reconstruct", *paths, "--channel", "all", "--wavelength-um", "0.461,0.6"]
    assert run(*command, *COMMON[4:], "-o", out) == 0
    for number, wavelength_um in enumerate(WAVELENGTHS_UM):
        found = read_image(out, channel=number).data
        np.testing.assert_allclose(found, alone(TWO[number], wavelength_um), rtol=1e-6)


@pytest.mark.parametrize("order", ["TCZYX", "TZCYX"])
def test_one_time_point_of_one_channel(tmp_path: Path, order: str) -> None:
    path, out = tmp_path / "movie.tif", tmp_path / "out.ome.tif"
    if order == "TZCYX":
        metadata = {"axes": order, "spacing": STEP_UM, "unit": "um"}
        pixels, size = MOVIE.swapaxes(1, 2), (1 / PIXEL_UM, 1 / PIXEL_UM)
        tifffile.imwrite(path, pixels, imagej=True, resolution=size, metadata=metadata)
    else:
        write_ome(path, MOVIE, order)
    command = ["reconstruct", path, "--wavelength-um", "0.6", *COMMON, "-o", out]
    assert run(*command, "--time", "2", "--channel", "1") == 0
    np.testing.assert_allclose(read_image(out).data, alone(MOVIE[2, 1], 0.6), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "word"),
    [(k, w) for k in ("ImageJ", "OME-TIFF") for w in ("channel", "time")]
    + [("OME-Zarr", "channel")],
)
def test_planes_that_are_called_channels_or_times_are_heights_when_one_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, word: str
) -> None:
    out, letter = tmp_path / "out.ome.tif", word[0].upper()
    if kind == "ImageJ":
        path = tmp_path / "z.tif"
        metadata = {"axes": f"{letter}YX", "spacing": STEP_UM, "unit": "um"}
        size = (1 / PIXEL_UM, 1 / PIXEL_UM)
        tifffile.imwrite(path, TWO[0], imagej=True, resolution=size, metadata=metadata)
    elif kind == "OME-TIFF":
        path = write_ome(tmp_path / "z.ome.tif", TWO[0], f"{letter}YX")
    else:
        channels = [Channel(plane) for plane in TWO[0]]
        path = write_channels(tmp_path / "z.ome.zarr", channels, Place(PIXEL_UM))
    command = ["reconstruct", path, "--wavelength-um", "0.461", *COMMON, "-o", out]
    command += ["--z-step-um", str(STEP_UM)] if kind == "OME-Zarr" else []
    assert f"say --z-axis {word}" in refused(capsys, *command)
    assert run(*command, "--z-axis", word) == 0
    np.testing.assert_allclose(read_image(out).data, alone(TWO[0], 0.461), rtol=1e-6)
    other = "channel" if word == "time" else "time"
    assert "cannot be its heights" in refused(capsys, *command, "--z-axis", other)


def test_heights_of_time_points_are_those_that_the_file_states(tmp_path: Path) -> None:
    heights_um = [float(18 + z) for z in range(N)]
    planes = {"PositionZ": heights_um, "PositionZUnit": ["µm"] * N}
    metadata = {k: v for k, v in MICROMETRES.items() if "SizeZ" not in k}
    path = tmp_path / "t.ome.tif"
    told = {"axes": "TYX", **metadata, "Plane": planes}
    tifffile.imwrite(path, TWO[0], ome=True, photometric="minisblack", metadata=told)
    image = read_image(path, z_axis="time")
    assert image.z_um is not None
    np.testing.assert_allclose(image.z_um, heights_um)
    with pytest.raises(InputError, match="has 9 time points"):
        read_image(path)


def test_a_stack_has_one_axis_of_heights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="9 planes along z already"):
        read_image(ome_tiff(tmp_path), z_axis="channel")


def test_evaluate_goes_through_the_channels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, both, one = ome_tiff(tmp_path), tmp_path / "both.json", tmp_path / "one.json"
    command = ["evaluate", path, *COMMON[:4], "--methods", "lmmse,linear", *COMMON[8:]]
    assert run(*command, "--channel", "all", "--json", both) == 0
    assert [word for word in capsys.readouterr().out.split() if word in ("DAPI", "CY3")] == [
        "DAPI",
        "CY3",
    ]
    found = json.loads(both.read_text())["channels"]
    assert list(found) == ["DAPI", "CY3"]
    assert run(*command, "--channel", "1", "--json", one) == 0
    lone = json.loads(one.read_text())
    dapi, cy3, alone = (
        one["methods"]["lmmse"]["psnr_db"] for one in (found["DAPI"], found["CY3"], lone)
    )
    assert cy3 == alone
    assert cy3 != dapi


def test_beads_of_every_channel_are_told_apart(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    z = np.arange(15)[:, None, None]
    channels = []
    for fwhm in (4.0, 6.0):
        r2 = (y - 32) ** 2 + (x - 30) ** 2 + (z - 7) ** 2
        channels.append(Channel((100 + 3000 * np.exp(-r2 * 2.7726 / fwhm**2)).astype(np.float32)))
    place = Place(0.1, 0.1 * np.arange(15))
    path = write_channels(tmp_path / "beads.ome.tif", channels, place)
    table, figure = tmp_path / "beads.csv", tmp_path / "widths.png"
    assert run("beads", path, "--channel", "all", "--csv", table, "--figure", figure) == 0
    rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    widths = {
        row["volume"]: float(next(v for k, v in row.items() if "FWHM x" in k or "fwhm_x" in k))
        for row in rows
    }
    assert widths == {
        "beads.ome.tif, channel 0": pytest.approx(0.4, rel=0.02),
        "beads.ome.tif, channel 1": pytest.approx(0.6, rel=0.02),
    }
    assert sorted(p.name for p in tmp_path.glob("*.png")) == [
        "widths-channel-0.png",
        "widths-channel-1.png",
    ]


def test_the_metadata_of_two_channels_are_valid_ome(tmp_path: Path) -> None:
    """What another program reads: names and wavelengths where the schema has them."""
    out = tmp_path / "out.ome.tif"
    assert run("reconstruct", ome_tiff(tmp_path), "--channel", "all", *COMMON, "-o", out) == 0
    with tifffile.TiffFile(out) as tif:
        assert tif.series[0].axes == "CZYX"
        root = ome_root(str(tif.ome_metadata), "out")
    found = [dict(c.attrib) for c in root.iterfind("{*}Image/{*}Pixels/{*}Channel")]
    assert [(c["Name"], float(c["EmissionWavelength"])) for c in found] == [
        ("DAPI", 461.0),
        ("CY3", 600.0),
    ]


@pytest.mark.parametrize("task", ["normalise", "edf"])
def test_prepared_channels_are_what_each_is_alone(tmp_path: Path, task: str) -> None:
    path, both = ome_tiff(tmp_path), tmp_path / "both.ome.tif"
    assert run("prepare", task, path, "--channel", "all", "-o", both) == 0
    assert channels_of(both) == ["DAPI", "CY3"]
    by_name = read_image(both, channel="cy3")
    np.testing.assert_array_equal(by_name.data, read_image(both, channel=1).data)
    with pytest.raises(InputError, match="no channel called 'CY5'"):
        read_image(both, channel="CY5")
    for number, wavelength_um in enumerate(WAVELENGTHS_UM):
        one = tmp_path / f"{number}.ome.tif"
        assert run("prepare", task, path, "--channel", str(number), "-o", one) == 0
        image = read_image(both, channel=number)
        np.testing.assert_array_equal(image.data, read_image(one).data)
        assert image.wavelength_um == pytest.approx(wavelength_um)
        assert image.provenance["prepared"][0]["task"] == task


def test_all_channels_are_aligned_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pystackreg")
    drift = np.arange(N) % 3
    pixels = np.stack(
        [[np.roll(TWO[c][4], d, axis=1) for d in drift] for c in range(2)]  # one plane that drifts
    )
    channels = {"Name": ["DAPI", "CY3"]}
    path = write_ome(tmp_path / "drift.ome.tif", pixels, "CZYX", Channel=channels)
    both, one = tmp_path / "both.ome.tif", tmp_path / "one.ome.tif"
    command = ["prepare", "align", path, "--transform", "translation"]
    assert "say by which" in refused(capsys, *command, "--channel", "all", "-o", both)
    assert run(*command, "--channel", "all", "--by", "CY3", "-o", both) == 0
    assert run(*command, "--channel", "CY3", "-o", one) == 0
    np.testing.assert_array_equal(read_image(both, channel=1).data, read_image(one).data)
    aligned = read_image(both, channel=0).data[:, 4:-4, 8:-8].astype(float)
    before = pixels[0, :, 4:-4, 8:-8].astype(float)
    assert np.ptp(aligned, axis=0).mean() < 0.3 * np.ptp(before, axis=0).mean()


@pytest.mark.parametrize("ending", [".ome.zarr", ".ome.tif"])
def test_channels_of_a_time_lapse_are_written_as_the_standard_has_them(
    tmp_path: Path, ending: str
) -> None:
    import zarr
    from ome_zarr_models.v05 import Image

    place = Place(PIXEL_UM, STEP_UM * np.arange(N), time_step_s=30)
    channels = [Channel(MOVIE[:, number], name) for number, name in enumerate(("DAPI", "CY3"))]
    path = write_channels(tmp_path / f"movie{ending}", channels, place)
    if ending == ".ome.zarr":
        image = Image.from_zarr(zarr.open_group(path, mode="r"))
        scale = image.ome_attributes.multiscales[0].datasets[0].coordinateTransformations[0].scale
        assert scale == [30, 1, STEP_UM, PIXEL_UM, PIXEL_UM]
        pixels = zarr.open_array(path / "0", mode="r")[:]
    else:
        pixels = tifffile.imread(path)
    np.testing.assert_array_equal(pixels, MOVIE)
    read = read_image(path, channel=1, time=2)
    np.testing.assert_array_equal(read.data, MOVIE[2, 1])
