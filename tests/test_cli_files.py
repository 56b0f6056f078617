"""Files as people have them, on the command line: what is made of them, what is said."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

import files
import makers
from files import MICROMETRES, heights, write_ome
from makers import needs_readers, write_czi
from napari_recurrent_mz import Optics, Scan, ZGrid, reconstruct
from napari_recurrent_mz.cli import main
from napari_recurrent_mz.io import Channel, Place, read_image, write_channels

N = 9
STACK: files.Pixels = (
    200 + 4000 * gaussian_filter(np.random.default_rng(3).random((N, 32, 40)), (1, 1.5, 1.5))
).astype(np.uint16)
STEP = 0.4 * np.arange(N)
PLANES = ("--planes", "1", "4", "7")
LINEAR = ("--method", "linear")
OPTICS = ("--na", "1.4", "--wavelength-um", "0.519", "--immersion-index", "1.515")


def made(path: Path, *options: str, command: str = "reconstruct") -> Path:
    """Run a command on a file; its result."""
    out = path.with_name(f"out-{path.name.split('.')[0]}.ome.tif")
    assert main([*command.split(), str(path), *options, "-o", str(out)]) == 0
    return out


def refused(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert main([str(word) for word in argv]) == 1
    return capsys.readouterr().err


def z_of(path: Path) -> list[float]:
    z_um = read_image(path).z_um
    assert z_um is not None
    return [round(float(z), 6) for z in z_um]


def test_heights_of_the_planes_that_are_scans(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_ome(tmp_path / "a.ome.tif", STACK)
    out = made(path, *PLANES, *LINEAR, "--z", "18", "20", "23.5", "--grid", "18:23:1")
    assert z_of(out) == [18, 19, 20, 21, 22, 23]
    np.testing.assert_array_equal(read_image(out).data[0], STACK[1])
    run = ["reconstruct", path, *PLANES, *LINEAR, "-o", out]
    assert "2 heights for 3 planes" in refused(capsys, *run, "--z", "18", "20")
    assert "give one of them" in refused(capsys, *run, "--z", "1", "2", "3", "--z-step-um", "1")


def test_a_grid_that_is_given_is_the_only_one_made(tmp_path: Path) -> None:
    """Scans so far apart that a grid of half depths of field would have ten thousands of planes."""
    path = write_ome(tmp_path / "a.ome.tif", STACK, PhysicalSizeZ=390.0)
    planes = ("--planes", *map(str, range(N)))
    out = made(path, *planes, *OPTICS, "--method", "lmmse", "--grid", "390:394:2")
    assert z_of(out) == [390, 392, 394]


def test_uneven_heights_are_used_and_both_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    z = np.cumsum([18, *np.tile([1.0, 2.0], N // 2)])
    path = write_ome(tmp_path / "a.ome.tif", STACK, PhysicalSizeZ=1.0, **heights(z, None))
    assert z_of(made(path, *PLANES, *LINEAR, "--grid", "19:27:1"))[0] == 19
    note = capsys.readouterr().err
    assert "1.5 µm apart" in note
    assert "1 µm" in note


@pytest.mark.parametrize("method", ["linear", "nearest", "lmmse"])
def test_saturated_scans_are_told_whatever_the_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    clipped = np.minimum(STACK, np.percentile(STACK, 80).astype(np.uint16))
    for name, pixels in (("clipped", clipped), ("clean", STACK)):
        path = write_ome(tmp_path / f"{name}.ome.tif", pixels)
        made(path, *PLANES, *OPTICS, "--method", method, "--grid", "1:2:0.5")
        told = capsys.readouterr().err
        assert ("at the camera's limit: 'clipped.ome.tif plane 1'" in told) == (name == "clipped")


@pytest.mark.parametrize("ending", ["ome.tif", "ome.zarr"])
@pytest.mark.parametrize("task", ["normalise", "align"])
def test_a_stack_from_the_top_down_is_prepared_as_the_same_from_the_bottom_up(
    tmp_path: Path, ending: str, task: str
) -> None:
    if task == "align":
        pytest.importorskip("pystackreg")
    found = []
    for name, order in (("up", slice(None)), ("down", slice(None, None, -1))):
        path = write_ome(tmp_path / f"{name}.ome.tif", STACK[order], **heights(STEP[order]))
        out = tmp_path / f"{name}-{task}.{ending}"
        assert main(["prepare", task, str(path), "-o", str(out)]) == 0
        image = read_image(out)
        assert z_of(out) == pytest.approx(STEP.tolist())
        found.append(image.data)
        if ending == "ome.tif":
            with tifffile.TiffFile(out) as tif:
                assert 'PhysicalSizeZ="0.4"' in str(tif.ome_metadata)
        assert main(["reconstruct", str(out), *PLANES, *LINEAR, "-o", str(tmp_path / "v.tif")]) == 0
    np.testing.assert_array_equal(*found)


def test_uneven_planes_do_not_become_an_even_zarr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    z = np.cumsum([0, *np.tile([1.0, 2.0], N // 2)])
    told = {key: size for key, size in MICROMETRES.items() if "Z" not in key}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, ome=True, metadata={"axes": "ZYX", **told, **heights(z)})
    run = ["prepare", "normalise", path, "-o"]
    assert "one z step for all" in refused(capsys, *run, tmp_path / "b.ome.zarr")
    assert not (tmp_path / "b.ome.zarr").exists()
    assert main([str(word) for word in [*run, tmp_path / "b.ome.tif"]]) == 0
    assert z_of(tmp_path / "b.ome.tif") == z.tolist()
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as tif:
        assert "PhysicalSizeZ" not in str(tif.ome_metadata)


def _set_of_positions(folder: Path) -> list[Path]:
    names = [f"x_MMStack_Pos{k}.ome.tif" for k in (0, 1)]
    where = {k: 100 * (k + 1) + STEP for k in (0, 1)}
    xml = files.micro_manager_xml(where, names, STACK.shape)
    folder.mkdir()
    return [
        files.write_micro_manager(
            folder / names[k], {k: (STACK + 7 * k, where[k])}, count=2, xml=xml
        )
        for k in (0, 1)
    ]


def test_a_batch_makes_a_volume_of_each_position(tmp_path: Path) -> None:
    _set_of_positions(tmp_path / "mm")
    path = tmp_path / "sizes.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for rows in (32, 24):
            tif.write(STACK[:, :rows], photometric="minisblack",
                      metadata={"axes": "ZYX", **MICROMETRES})  # fmt: skip
    out = tmp_path / "out"
    sources = [str(tmp_path / "mm"), str(path)]
    assert main(["batch", *sources, *PLANES, *LINEAR, "--jobs", "1", "-o", str(out)]) == 0
    volumes = sorted(p.name for p in out.glob("*.ome.tif"))
    assert volumes == [f"sizes_{k}.ome.tif" for k in (0, 1)] + [
        f"x_MMStack_Pos{k}.ome.tif" for k in (0, 1)
    ]
    assert [read_image(out / name).data.shape[1] for name in volumes[:2]] == [32, 24]
    assert [z_of(out / name)[0] for name in volumes[2:]] == [100.4, 200.4]


def test_elsewhere_a_position_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sizes.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for rows in (32, 24):
            tif.write(STACK[:, :rows], photometric="minisblack",
                      metadata={"axes": "ZYX", **MICROMETRES})  # fmt: skip
    told = refused(capsys, "reconstruct", path, *PLANES, *LINEAR, "-o", tmp_path / "v.ome.tif")
    assert "holds 2 positions: choose one with --position, 0 or 1" in told
    for position, rows in (("0", 32), ("1", 24)):
        out = made(path, *PLANES, *LINEAR, "--position", position)
        assert read_image(out).data.shape[1] == rows
    assert "no position 2" in refused(
        capsys, "reconstruct", path, *PLANES, *LINEAR, "--position", "2", "-o", tmp_path / "v.tif"
    )


def _beads(clip: float = np.inf) -> files.Pixels:
    """Nine beads of FWHM 0.9 × 0.3 × 0.3 µm in voxels of 0.2 × 0.1 × 0.1 µm."""
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[:31, :96, :96]
    made = 100 + rng.normal(0, 5, z.shape)
    for row in (16, 48, 80):
        for column in (16, 48, 80):
            middle = 15 + rng.uniform(-0.5, 0.5)
            far = ((z - middle) * 0.2 / 0.9) ** 2
            far = far + ((y - row) * 0.1 / 0.3) ** 2 + ((x - column) * 0.1 / 0.3) ** 2
            made += 3000 * np.exp(-4 * np.log(2) * far)
    return np.minimum(made, clip).astype(np.uint16)


def _widths(told: str) -> list[float]:
    return [float(line.split()[2]) for line in told.splitlines() if re.match("[xyz] ", line)]


@pytest.mark.parametrize("order", [1, -1], ids=["up", "down"])
@pytest.mark.parametrize("scatter_um", [0.0, 0.005])
def test_beads_at_heights_that_a_stage_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scatter_um: float, order: int
) -> None:
    z = 0.2 * np.arange(31) + np.random.default_rng(1).normal(0, 1, 31) * scatter_um
    told = {"PhysicalSizeZ": 0.2, **heights(z[::order])}
    path = write_ome(tmp_path / "beads.ome.tif", _beads()[::order], **told)
    assert main(["beads", str(path)]) == 0
    printed = capsys.readouterr()
    assert "9 of 9 beads accepted" in printed.out
    assert _widths(printed.out) == pytest.approx([0.3, 0.3, 0.9], rel=0.01)
    assert ("scatter by up to" in printed.err) == (scatter_um > 0)


def test_beads_between_uneven_planes_name_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    z = np.cumsum([0, *np.tile([0.15, 0.25], 15)])
    z[15:] += 0.4
    path = write_ome(tmp_path / "beads.ome.tif", _beads(), PhysicalSizeZ=0.2, **heights(z))
    assert re.search(r"not evenly spaced \(0\.15 to .*--z-step-um", refused(capsys, "beads", path))
    assert main(["beads", str(path), "--z-step-um", "0.2"]) == 0


def part_of(path: Path, pixels: files.Pixels, top: int, left: int) -> Path:
    """Pixels from this row and column on, in a file that says where they begin."""
    place = Place(0.1, 0.2 * np.arange(len(pixels)), origin_um=(0.1 * top, 0.1 * left))
    return write_channels(path, [Channel(pixels[:, top:, left:])], place, {})


def test_beads_of_a_reference_are_measured_where_a_part_of_it_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = part_of(tmp_path / "whole.ome.zarr", _beads(), 0, 0)
    part = part_of(tmp_path / "part.ome.zarr", _beads(), 20, 10)
    table = tmp_path / "beads.csv"
    assert main(["beads", str(part), "--reference", str(whole), "--csv", str(table)]) == 0
    capsys.readouterr()
    found = pd.read_csv(table, encoding="utf-8-sig").groupby("volume")
    ours, theirs = found.get_group("part.ome.zarr"), found.get_group("whole.ome.zarr")
    assert ours.accepted.all()
    assert 0 < len(ours) < len(theirs) == 9
    places = ["z (µm)", "y (µm)", "x (µm)"]
    same = ours[places].round(2).merge(theirs[places].round(2))
    assert len(same) == len(ours)


def test_evaluate_refuses_a_reference_of_another_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = part_of(tmp_path / "a.ome.zarr", _beads()[:, :-5], 0, 0)
    moved = part_of(tmp_path / "b.ome.zarr", _beads(), 5, 0)
    words = ["evaluate", stack, *PLANES, "--methods", "linear", "--reference"]
    assert "first pixel (y, x) of 'a.ome.zarr' is 0, 0 µm but that of 'b.ome.zarr' 0.5, 0" in (
        refused(capsys, *words, moved)
    )
    flat = write_ome(tmp_path / "c.ome.tif", _beads()[:, :-5], PhysicalSizeZ=0.5)
    assert "z step of 'a.ome.zarr' is 0.2 µm but that of 'c.ome.tif' 0.5" in (
        refused(capsys, *words, flat)
    )
    assert main([str(word) for word in (*words, stack)]) == 0


def test_scans_at_other_places_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a.ome.zarr", "b.ome.zarr"]
    for number, name in enumerate(names):
        place = Place(0.1, origin_um=(0.0, 3.0 * number))
        write_channels(tmp_path / name, [Channel(STACK[number], "")], place, {})
    paths = [str(tmp_path / name) for name in names]
    out = str(tmp_path / "v.ome.tif")
    assert main(["reconstruct", *paths, "--z", "0", "1", *LINEAR, "-o", out]) == 0
    told = capsys.readouterr().err
    assert "'a.ome.zarr' and 'b.ome.zarr' begin at different places in y and x" in told


def test_scans_of_other_channels_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "singles"
    folder.mkdir()
    paths = [folder / f"s_z{number}.0um.ome.tif" for number in range(2)]
    for path, pixels, name in zip(paths, STACK, ["GFP", "DAPI"], strict=False):
        write_ome(path, pixels, "YX", Channel={"Name": name})
    words = "'s_z0.0um.ome.tif' and 's_z1.0um.ome.tif' are of the channels GFP and DAPI"
    options = ["--grid", "0:1:0.5", *LINEAR]
    out = str(tmp_path / "v.ome.tif")
    assert main(["reconstruct", *map(str, paths), "--z", "0", "1", *options, "-o", out]) == 0
    assert words in capsys.readouterr().err
    results = tmp_path / "results"
    pattern = ["--pattern", "*_z{z}um.ome.tif"]
    assert main(["batch", str(folder), *pattern, *options, "-o", str(results)]) == 0
    assert words in (results / "batch-report.csv").read_text(encoding="utf-8-sig")


def test_saturated_beads_are_not_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_ome(tmp_path / "beads.ome.tif", _beads(1600), PhysicalSizeZ=0.2)
    main(["beads", str(path)])
    assert "0 of 9 beads accepted; left out: 9 saturated" in capsys.readouterr().out


def _info(capsys: pytest.CaptureFixture[str], *paths: Path) -> Sequence[str]:
    assert main(["info", *map(str, paths)]) == 0
    return [re.sub(" +", " ", line.strip()) for line in capsys.readouterr().out.splitlines()]


def test_info_says_what_was_understood_of_a_file_and_from_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_ome(tmp_path / "a.ome.tif", STACK, **heights(3 + STEP))
    files.with_objectives(path, "Objective:1", {"LensNA": "0.3"}, {"LensNA": "1.4"})
    assert _info(capsys, path) == [
        str(path),
        "axes Z 9 × Y 32 × X 40",
        "heights 3 to 6.2 µm, 0.4 µm apart (its OME PositionZ)",
        "pixel size in the sample 0.1 µm (its OME PhysicalSizeX)",
        "numerical aperture 1.4 (the LensNA of its OME objective)",
        "emission wavelength not stated: give --wavelength-um",
        "refractive index of the immersion not stated: give --immersion-index",
    ]


def test_info_says_what_is_doubted_and_lists_positions_and_channels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doubted = write_ome(tmp_path / "a.ome.tif", STACK, **heights(STEP / 1000))
    (line,) = [line for line in _info(capsys, doubted) if line.startswith("heights")]
    assert "0.0004 µm apart" in line
    assert line.endswith("0.4 µm: give --z-step-um")
    many = tmp_path / "many.ome.tif"
    with tifffile.TiffWriter(many, ome=True) as tif:
        for waves in ([500, 600], [510, 610]):
            told = {"axes": "CZYX", **MICROMETRES, "Channel": {"EmissionWavelength": waves}}
            tif.write(np.stack([STACK, STACK]), photometric="minisblack", metadata=told)
    lines = _info(capsys, many)
    assert lines[0] == f"{many}: 2 positions"
    found = [line.split(" (")[0] for line in lines if line.startswith(("emission", "channel"))]
    assert found == [
        f"{start} {end}"
        for waves in (("0.5", "0.6"), ("0.51", "0.61"))
        for number, wave in enumerate(waves)
        for start, end in (("channel", number), ("emission wavelength", f"{wave} µm"))
    ]
    assert main(["info", str(tmp_path / "none.tif")]) == 1


def test_a_batch_takes_what_vendors_write(tmp_path: Path) -> None:
    given = tmp_path / "in"
    given.mkdir()
    files.write_metamorph(given / "a.stk", STACK, 0.3, 0.065)
    files.write_lsm(given / "b.lsm", STACK, 0.3, 0.065)
    assert main(["batch", str(given), *PLANES, *LINEAR, "-o", str(tmp_path / "out")]) == 0
    for name in "ab":
        image = read_image(tmp_path / "out" / f"{name}.ome.tif")
        assert image.z_um is not None
        assert (image.pixel_um, image.z_um[0]) == pytest.approx((0.065, 0.3))


def test_info_tells_of_the_files_that_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write_ome(tmp_path / f"{k}.ome.tif") for k in range(3)]
    paths[1].write_bytes(paths[1].read_bytes()[:3000])
    assert main(["info", *map(str, paths)]) == 1
    printed = capsys.readouterr()
    assert printed.err == "recurrent-mz: 1 of 3 files cannot be read, see above.\n"
    assert printed.out.count("0 to 1.6 µm, 0.4 µm apart") == 2
    assert "'1.ome.tif' is damaged or cut short" in printed.out
    assert "'1.ome.tif' is damaged or cut short" in refused(capsys, "info", paths[1])


@pytest.mark.parametrize(
    ("name", "encoding", "shown"),
    [
        ("bücher.tif", "ascii:strict", "b\\xfccher.tif"),
        pytest.param(
            os.fsdecode(b"b\xfccher.tif"), "utf-8:strict", "b\\udcfccher.tif",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere"),
        ),
    ],
)  # fmt: skip
def test_a_name_that_the_terminal_cannot_show_is_written_out(
    tmp_path: Path, name: str, encoding: str, shown: str
) -> None:
    tifffile.imwrite(tmp_path / name, STACK)
    words = [sys.executable, "-m", "napari_recurrent_mz", "info", tmp_path / name]
    told = subprocess.run(
        words, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False
    )
    assert (told.returncode, told.stderr) == (0, b"")
    assert told.stdout.decode().splitlines()[0].endswith(shown)


# --- files of microscope makers ---


@needs_readers
def test_nothing_has_to_be_typed(tmp_path: Path) -> None:
    """Two colours of a file are as its pixels, heights and optics make them."""
    out = tmp_path / "both.ome.tif"
    command = "reconstruct --position 1 --channel all --time 1 --planes 0 2 4 --method lmmse"
    path = write_czi(tmp_path)
    assert main([*command.split(), "--grid", "0:1.6:0.2", str(path), "-o", str(out)]) == 0
    for channel, wavelength_um in enumerate(makers.WAVELENGTHS_UM):
        optics = Optics(1.4, wavelength_um, 1.515, makers.PIXEL_UM)
        scans = [
            Scan(makers.PIXELS[1, 1, channel, plane], makers.STEP_UM * plane) for plane in (0, 2, 4)
        ]
        expected = reconstruct(scans, ZGrid(0, 1.6, 0.2), optics=optics, method="lmmse")
        np.testing.assert_allclose(read_image(out, channel=channel).data, expected, rtol=1e-5)


@pytest.fixture
def to_batch(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with such a file, and one for the results."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    write_czi(source)
    return source, out


@needs_readers
def test_a_folder_of_them_in_a_batch(to_batch: tuple[Path, Path]) -> None:
    source, out = to_batch
    command = "batch --planes 0 2 4 --channel GFP --method linear --grid 0:1.6:0.4"
    assert main([*command.split(), str(source), "-o", str(out)]) == 0
    for position in range(2):
        volume = read_image(out / f"two scenes_{position}.ome.zarr", time=1)
        np.testing.assert_array_equal(
            volume.data[[0, 2, 4]], makers.PIXELS[position, 1, 1, [0, 2, 4]]
        )
        assert volume.z_um == pytest.approx(makers.STEP_UM * np.arange(5))


@needs_readers
def test_a_part_of_the_field_in_a_batch(to_batch: tuple[Path, Path]) -> None:
    """Of a time-lapse too; other parts are made anew."""
    source, out = to_batch
    command = "batch --planes 0 2 4 --channel GFP --method linear --grid 0:1.6:0.4 --region"
    for region, rows, columns in (
        ("2:20,8:30", slice(2, 20), slice(8, 30)),
        (":,4:24", slice(0, 24), slice(4, 24)),
    ):
        assert main([*command.split(), region, str(source), "-o", str(out)]) == 0
        volume = read_image(out / "two scenes_1.ome.zarr", time=1)
        expected = makers.PIXELS[1, 1, 1, [0, 2, 4], rows, columns]
        np.testing.assert_array_equal(volume.data[[0, 2, 4]], expected)
        corner = (rows.start * makers.PIXEL_UM, columns.start * makers.PIXEL_UM)
        assert volume.origin_um == pytest.approx(corner)
