"""``recurrent-mz prepare``: files in, files out, with what they say about themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage

from napari_recurrent_mz.cli import main
from napari_recurrent_mz.estimates.normalisation import edf_normalisation
from napari_recurrent_mz.io import Channel, Place, read_image, write_channels, write_volume
from napari_recurrent_mz.measure.preparation import extended_focus

RNG = np.random.default_rng(3)
SPOTS = np.zeros((96, 104))
SPOTS[tuple(RNG.integers(8, n - 8, 120) for n in SPOTS.shape)] = 1
GROUND = 200 + 9e4 * ndimage.gaussian_filter(SPOTS, 1.6)
DRIFT = np.array([(0.0, 0.0), (0.8, -0.5), (1.5, -1.1), (2.3, -1.4)])
STACK = np.array([ndimage.shift(GROUND, d, order=5, mode="mirror") for d in DRIFT])
STACK = (STACK[:, 8:-8, 8:-8] + RNG.normal(scale=5, size=(4, 80, 88))).clip(0).astype(np.uint16)
Z_UM = np.array([1.0, 1.5, 2.0, 2.5])
OPTICS = {"na": 1.2, "wavelength_um": 0.5, "immersion_index": 1.33}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = {"optics": OPTICS, "made_by": "a microscope"}
    write_volume("stack.ome.tif", STACK, Z_UM, 0.2, told, keep_type=True)
    for i in (2, 0, 1):
        write_volume(f"scan_{i}.ome.tif", STACK[i : i + 1], Z_UM[i : i + 1], 0.2, keep_type=True)


def test_align_a_stack(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["prepare", "align", "stack.ome.tif", "-o", "out.ome.tif", "--transform", "translation"]
    assert main([*argv, "--csv", "shifts.csv", "--figure", "drift.svg"]) == 0
    out = read_image("out.ome.tif")
    assert out.data.dtype == np.uint16
    assert out.data.shape == STACK.shape
    np.testing.assert_allclose(out.z_um, Z_UM)
    assert (out.pixel_um, out.na, out.wavelength_um) == (0.2, 1.2, 0.5)
    assert out.provenance["made_by"] == "a microscope"
    assert [step["task"] for step in out.provenance["prepared"]] == ["align"]
    table = pd.read_csv("shifts.csv")
    np.testing.assert_allclose(table[["shift_y_um", "shift_x_um"]], 0.2 * DRIFT, atol=0.01)
    np.testing.assert_allclose(table.z_um, Z_UM)
    inner = np.s_[4:-4, 4:-4]
    worst = max(np.abs(plane[inner].astype(float) - STACK[0][inner]).mean() for plane in out.data)
    assert worst < 0.2 * np.abs(STACK[3][inner].astype(float) - STACK[0][inner]).mean()
    assert "shift" in Path("drift.svg").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert "4 planes aligned, shifts up to 0.46 µm in y and 0.28 µm in x" in printed
    region = re.search(r"--region (\d+):(\d+),(\d+):(\d+)", printed)
    assert region is not None
    assert main([*argv, "--crop"]) == 0
    y0, y1, x0, x1 = (int(text) for text in region.groups())
    np.testing.assert_array_equal(read_image("out.ome.tif").data, out.data[:, y0:y1, x0:x1])


def test_align_single_images_by_their_heights(capsys: pytest.CaptureFixture[str]) -> None:
    scans = ["scan_2.ome.tif", "scan_0.ome.tif", "scan_1.ome.tif"]
    assert main(["prepare", "align", *scans, "-o", "no-folder"]) == 1
    assert "make it first" in capsys.readouterr().err
    Path("aligned").mkdir()
    assert main(["prepare", "align", *scans, "-o", "aligned", "--csv", "shifts.csv"]) == 0
    assert sorted(path.name for path in Path("aligned").iterdir()) == [
        f"scan_{i}-aligned.ome.tif" for i in range(3)
    ]
    table = pd.read_csv("shifts.csv")
    assert list(table.file) == sorted(scans)
    np.testing.assert_allclose(table.shift_y_um, 0.2 * DRIFT[:3, 0], atol=0.01)
    top = read_image("aligned/scan_2-aligned.ome.tif")
    assert top.z_um == pytest.approx(2.0)
    assert top.data.dtype == np.uint16
    assert top.data.shape == STACK[0].shape


def test_a_cropped_stack_lies_where_its_content_lay(capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(0.2, Z_UM, origin_um=(10.0, -4.0))
    write_channels("placed.ome.tif", [Channel(STACK)], place, {"made_by": "a microscope"})
    argv = ["prepare", "align", "placed.ome.tif", "--transform", "translation", "-o"]
    assert main([*argv, "whole.ome.tif"]) == 0
    assert read_image("whole.ome.tif").origin_um == (10.0, -4.0)
    assert main([*argv, "cropped.ome.zarr", "--crop"]) == 0
    region = re.findall(r"--region (\d+):\d+,(\d+):\d+", capsys.readouterr().out)[-1]
    row, column = map(int, region)
    assert row or column
    assert read_image("cropped.ome.zarr").origin_um == pytest.approx(
        (10 + 0.2 * row, -4 + 0.2 * column)
    )


def test_edf_and_its_heights() -> None:
    argv = ["prepare", "edf", "stack.ome.tif", "-o", "edf.ome.tif", "--heights", "heights.ome.tif"]
    assert main(argv) == 0
    image, heights = read_image("edf.ome.tif"), read_image("heights.ome.tif")
    expected = extended_focus(STACK)
    np.testing.assert_array_equal(image.data, expected.image)
    np.testing.assert_allclose(heights.data, Z_UM[expected.plane])
    assert image.pixel_um == 0.2


@pytest.mark.parametrize(
    ("command", "takes_all"),
    [
        ("reconstruct two.ome.tif --planes 0 3 --method linear -o v.ome.tif", True),
        ("evaluate two.ome.tif --planes 0 3 --methods linear", True),
        ("prepare edf two.ome.tif -o edf.ome.tif", True),
        ("prepare normalise two.ome.tif -o n.ome.tif", True),
        ("prepare align two.ome.tif --by green -o a.ome.tif", True),
        ("surface two.ome.tif --planes 0 3 --through 1,0,0 1,0,9 2,9,0 -o s.ome.tif", False),
        ("prepare register two.ome.tif two.ome.tif -o r.ome.tif", False),
        ("train run --from bundled --stack two.ome.tif", False),
    ],
    ids=lambda value: value.split(" two")[0] if isinstance(value, str) else str(value),
)
def test_all_channels_are_offered_by_the_commands_that_take_them(
    capsys: pytest.CaptureFixture[str], command: str, takes_all: bool
) -> None:
    pixels = [Channel(STACK, name, (0.0, 1.0)) for name in ("green", "red")]
    write_channels("two.ome.tif", pixels, Place(0.2, Z_UM), {"optics": OPTICS})
    words = command.split()
    with pytest.raises(SystemExit):
        main([*words[: 1 + (words[0] == "prepare")], "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert ("its name, or all" in shown, "for several channels, one each" in shown) == (
        (takes_all,) * 2
    )
    assert main([*words, "--channel", "all"]) == (0 if takes_all else 1)
    refused = "One channel of 'two.ome.tif' is wanted here, not all: choose one."
    assert (refused in capsys.readouterr().err) is not takes_all


@pytest.mark.parametrize("channels", [1, 2])
def test_a_map_of_heights_and_an_edf_are_no_scans(
    capsys: pytest.CaptureFixture[str], channels: int
) -> None:
    pixels = [Channel(STACK, name, (0.0, 1.0)) for name in ("green", "red")[:channels]]
    record = {"optics": OPTICS, "prepared": [{"task": "align"}]}
    write_channels("in.ome.tif", pixels, Place(0.2, Z_UM), record)
    of = ["--channel", "all"] if channels > 1 else []
    argv = ["prepare", "edf", "in.ome.tif", *of, "-o", "edf.ome.tif", "--heights", "map.ome.tif"]
    assert main(argv) == 0
    capsys.readouterr()
    by, one = ["--method", "linear", "-o", "v.ome.tif"], ["--channel", "1"] if of else []
    for file, what in (("map", "is a map of heights"), ("edf", "shows all planes of a stack")):
        path = f"{file}.ome.tif"
        two = [path, "map.ome.tif", *one]
        for words in (
            ["reconstruct", *two, "--z", "1", "2", *by],
            ["surface", *two, "--z", "1", "2", "--through", "1,0,0", "1,0,9", "2,9,0", *by],
            ["evaluate", path, "--planes", "0", "0", *one],
            ["prepare", "align", *two, "-o", "."],
        ):
            assert main(words) == 1
            assert f"'{path}{', red' * len(of[:1])}' {what}" in capsys.readouterr().err
    surface = ["--planes", "0", "3", "--heights", "map.ome.tif", *by] if not of else []
    assert not surface or main(["surface", "stack.ome.tif", *surface]) == 0


def test_normalise_by_an_edf_of_its_own_or_by_a_given_one() -> None:
    argv = ["prepare", "normalise", "stack.ome.tif", "-o", "out.ome.tif"]
    assert main([*argv, "--json", "n.json", "--figure", "histogram.png"]) == 0
    expected = edf_normalisation(extended_focus(STACK).image)
    numbers = json.loads(Path("n.json").read_text(encoding="utf-8"))
    assert numbers["background_mean"] == pytest.approx(expected.background)
    assert numbers["foreground_p99"] == pytest.approx(expected.p99)
    assert Path("histogram.png").stat().st_size > 5000
    out = read_image("out.ome.tif")
    scaled = (STACK - expected.background) / (expected.p99 - expected.background)
    np.testing.assert_allclose(out.data, scaled, atol=1e-4)
    assert out.provenance["prepared"][0]["shift"] == pytest.approx(expected.background)
    assert main(["prepare", "edf", "stack.ome.tif", "-o", "edf.ome.tif"]) == 0
    assert main([*argv, "--edf", "edf.ome.tif"]) == 0
    np.testing.assert_array_equal(read_image("out.ome.tif").data, out.data)


def test_register_a_confocal_stack(capsys: pytest.CaptureFixture[str]) -> None:
    still = np.array([GROUND * weight for weight in (0.2, 0.6, 1.0, 0.5, 0.1, 0.05)])
    wide = np.array([ndimage.gaussian_filter(plane, 1.5) for plane in still])[:, 8:-8, 8:-8]
    sharp = ndimage.shift(still, (0, 1.5, -2.5), order=3, mode="nearest")[:, 8:-8, 8:-8]
    for name, stack in (("wide", wide), ("sharp", sharp)):
        write_volume(f"{name}.ome.tif", stack, 0.5 * np.arange(6), 0.2)
    argv = ["prepare", "register", "wide.ome.tif", "sharp.ome.tif", "-o", "out.ome.tif"]
    assert main([*argv, "--transform", "rigid", "--json", "r.json", "--figure", "r.svg"]) == 0
    found = json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert found["shift_y_um"] == pytest.approx(0.3, abs=0.02)
    assert found["shift_x_um"] == pytest.approx(-0.5, abs=0.02)
    assert found["correlation_after"] > found["correlation_before"] + 0.1
    assert "before" in capsys.readouterr().out
    out = read_image("out.ome.tif")
    assert out.data.shape == wide.shape
    np.testing.assert_allclose(out.z_um, 0.5 * np.arange(6))


def no_size(name: str) -> None:
    tifffile.imwrite(name, STACK, metadata=None, photometric="minisblack")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("align", "scan_0.ome.tif", "-o", "o.tif"), "'scan_0.ome.tif' is one plane only"),
        (("align", "plain.tif", "-o", "o.tif"), "pixel size .* --pixel-um"),
        (("align", "plain.tif", "--pixel-um", "0.2", "-o", "o.tif"), "z step .* --z-step-um"),
        (("align", "stack.ome.tif", "-o", "o.png"), "end it in .ome.tif"),
        (("align", "stack.ome.tif", "-o", "stack.ome.tif"), "one of the input files"),
        (("align", "nan.ome.tif", "-o", "o.tif"), "Plane 1 of 'nan.ome.tif' has 1 pixel that"),
        (("align", "stack.ome.tif", "-o", "o.tif", "--figure", "f.bmp"), "'f.bmp' cannot be drawn"),
        (("align", "stack.ome.tif", "-o", "o.tif", "--csv", "no/s.csv"), "does not exist"),
        (("edf", "scan_0.ome.tif", "-o", "o.tif"), "at least two planes"),
        (("edf", "flat.ome.tif", "-o", "o.tif"), "'flat.ome.tif' is constant"),
        (
            ("normalise", "stack.ome.tif", "--edf", "stack.ome.tif", "-o", "o.tif"),
            "'stack.ome.tif' has 3 dimensions",
        ),
        (("register", "stack.ome.tif", "plain.tif", "-o", "o.tif"), "--confocal-z-step-um"),
        (
            ("register", "stack.ome.tif", "scan_0.ome.tif", "-o", "o.tif"),
            "'scan_0.ome.tif' has the shape .* two stacks",
        ),
    ],
)
def test_one_line_and_no_result(argv, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    no_size("plain.tif")
    holed = STACK.astype(np.float32)
    holed[1, 2, 3] = np.nan
    write_volume("nan.ome.tif", holed, Z_UM, 0.2)
    write_volume("flat.ome.tif", np.full_like(STACK, 9), Z_UM, 0.2)
    before = {path.name: path.stat().st_mtime_ns for path in Path().iterdir()}
    assert main(["prepare", *argv]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert re.search(says, line), line
    assert {path.name: path.stat().st_mtime_ns for path in Path().iterdir()} == before
