"""Batches: what is found, what is made of it, what is kept and what is told when it fails."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import zarr
from scipy.interpolate import interp1d

from files import write_ome
from napari_recurrent_mz.acquisition.pattern import NamePattern
from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.optics import Optics
from napari_recurrent_mz.core.scans import InputError, Scan, ZGrid
from napari_recurrent_mz.engine.batch import BatchSettings, Report, find_jobs, plan_of, run_batch
from napari_recurrent_mz.engine.batch._pool import Shares, bytes_of, share_out
from napari_recurrent_mz.engine.inference import reconstruct
from napari_recurrent_mz.engine.provenance import methods_paragraph
from napari_recurrent_mz.engine.tiles import LARGEST_TILE
from napari_recurrent_mz.io import Place, _tiff, read_image, write_volume
from napari_recurrent_mz.io._channels import first_point_of
from napari_recurrent_mz.io._time_lapse import TimePoint, make_time_lapse, read_time_lapse
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import save_model

# ome-zarr's own, when it is imported
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated class Scaler")

OPTICS = {"na": 0.8, "wavelength_um": 0.5, "immersion_index": 1.0, "pixel_um": 0.2}
SHAPE = (7, 24, 32)
PLANES = (1, 3, 5)
GRID = ZGrid(0.5, 2.5, 0.25)
LINEAR = BatchSettings(grid=GRID, planes=PLANES, method="linear", **OPTICS)  # type: ignore[arg-type]


def stack(seed: int) -> np.ndarray:
    """A stack of plane distance 0.5 µm."""
    return np.random.default_rng(seed).gamma(2.0, 100.0, SHAPE).astype(np.float32)


def expected(pixels: np.ndarray, method: str = "linear", **options: Any) -> np.ndarray:
    """What reconstruct() makes of the planes of a stack."""
    scans = [Scan(pixels[p], 0.5 * p) for p in PLANES]
    return reconstruct(scans, GRID, optics=Optics(**OPTICS), method=method, **options)


def ngff(path: Path, pixels: np.ndarray, axes: str) -> Path:
    """An OME-Zarr 0.5 image, as another program writes it."""
    group = zarr.open_group(path, mode="w")
    chunks = (*([1] * (pixels.ndim - 3)), 2, *pixels.shape[-2:])
    group.create_array("0", data=pixels, chunks=chunks)
    units: dict[str, dict[str, str]] = {a: {"type": "space", "unit": "micrometer"} for a in "zyx"}
    units |= {"t": {"type": "time", "unit": "minute"}, "c": {"type": "channel"}}
    scale = [{"t": 0.5, "z": 0.5, "y": 0.2, "x": 0.2}.get(a, 1.0) for a in axes]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    named = [{"name": a, **units[a]} for a in axes]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": named, "datasets": [level]}],
    }
    return path


def plate(path: Path, fields: dict[str, np.ndarray]) -> Path:
    """An OME-Zarr 0.4 plate of wells A/1 and B/2, as ome-zarr writes it."""
    from ome_zarr.format import FormatV04
    from ome_zarr.writer import write_image, write_plate_metadata, write_well_metadata

    root = zarr.open_group(path, mode="w", zarr_format=2)
    write_plate_metadata(root, ["A", "B"], ["1", "2"], ["A/1", "B/2"], fmt=FormatV04())
    for well in ("A/1", "B/2"):
        own = [name for name in fields if name.startswith(well)]
        group = root.require_group(well)
        write_well_metadata(group, [name.split("/")[-1] for name in own], fmt=FormatV04())
        for name in own:
            write_image(
                fields[name],
                group.require_group(name.split("/")[-1]),
                axes=["z", "y", "x"],
                axes_units=dict.fromkeys("zyx", "micrometer"),
                scale={"z": 0.5, "y": 0.2, "x": 0.2},
                scale_factors=[],
                fmt=FormatV04(),
            )
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three stacks with all their metadata."""
    made = tmp_path / "in"
    made.mkdir()
    for k in range(3):
        write_volume(made / f"s{k}.ome.tif", stack(k), 0.5 * np.arange(7), 0.2, {"optics": OPTICS})
    return made


def batch(
    sources: Any, out: Path, settings: BatchSettings = LINEAR, *, again: bool = False, **found: Any
) -> Report:
    return run_batch(find_jobs(sources, out, settings, **found), out, settings, again=again)


def states(report: Report) -> list[str]:
    return [outcome.state for outcome in report.outcomes]


# --- what is found ---


def test_a_folder_is_one_volume_a_file(folder: Path, tmp_path: Path) -> None:
    (folder / "deep").mkdir()
    tifffile.imwrite(folder / "deep" / "s9.tif", stack(9), metadata=None)
    (folder / "notes.txt").write_text("no image")
    (folder / ".s0.ome.tif").write_text("hidden")
    found = find_jobs(folder, tmp_path / "out", LINEAR)
    assert [job.position for job in found] == ["s0", "s1", "s2"]
    assert [job.output.name for job in found] == ["s0.ome.tif", "s1.ome.tif", "s2.ome.tif"]
    deep = find_jobs(folder, tmp_path / "out", LINEAR, recursive=True, pattern="*9.tif")
    assert [str(job.output.relative_to(tmp_path)) for job in deep] == [
        str(Path("out", "deep", "s9.ome.tif"))
    ]
    plan = plan_of(found[0], LINEAR)
    assert plan.z_um == (0.5, 1.5, 2.5)
    assert plan.volume_shape == (9, 24, 32)
    assert not (tmp_path / "out").exists()  # looking writes nothing


@pytest.mark.parametrize(
    ("format_", "outputs"),
    [
        (None, ["t.ome.zarr"] * 3),
        ("ome.zarr", ["t.ome.zarr"] * 3),
        ("ome.tif", ["t_t000.ome.tif", "t_t001.ome.tif", "t_t002.ome.tif"]),
    ],
)
def test_a_time_axis_is_one_job_a_point(
    tmp_path: Path, format_: str | None, outputs: list[str]
) -> None:
    pixels = np.stack([stack(k) for k in range(3)])
    tifffile.imwrite(tmp_path / "t.tif", pixels, imagej=True, metadata={"axes": "TZYX"})
    settings = BatchSettings(method="linear", format=format_)
    found = find_jobs(tmp_path / "t.tif", tmp_path / "out", settings)
    assert [job.output.name for job in found] == outputs
    assert [job.time for job in found] == [0, 1, 2]


def test_positions_of_one_tiff_have_results_of_their_own(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "p.ome.tif", ome=True) as writer:
        for k in range(2):
            sizes = {f"PhysicalSize{a}": 0.2 * (k + 1) for a in "XY"}
            writer.write(stack(k), metadata={"axes": "ZYX", "PhysicalSizeZ": 0.5, **sizes})
    settings = BatchSettings(planes=PLANES, grid=GRID, method="linear")
    report = batch(tmp_path / "p.ome.tif", tmp_path / "out", settings)
    assert states(report) == ["done", "done"]
    for k in range(2):
        made = read_image(tmp_path / "out" / f"p_{k}.ome.tif")
        np.testing.assert_array_equal(made.data, expected(stack(k)))
        assert made.pixel_um == pytest.approx(0.2 * (k + 1))


SET = """<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">
{images}</OME>"""
IMAGE = """<Image ID="Image:{k}" Name="Pos{k}"><Pixels ID="Pixels:{k}" DimensionOrder="XYZCT"
Type="float" SizeX="32" SizeY="24" SizeZ="7" SizeC="1" SizeT="1" PhysicalSizeX="0.2"
PhysicalSizeY="0.2" PhysicalSizeZ="0.5"><TiffData FirstZ="0" IFD="0" PlaneCount="7"><UUID
FileName="p{k}.ome.tif">urn:uuid:{k}</UUID></TiffData></Pixels></Image>"""


def test_each_file_of_an_ome_tiff_set_gives_its_own_position(tmp_path: Path) -> None:
    """As Micro-Manager writes positions: every file lists all of them."""
    source = tmp_path / "set"
    source.mkdir()
    images = "".join(IMAGE.format(k=k) for k in range(2))
    for k in range(2):
        xml = SET.format(own=k, images=images)
        tifffile.imwrite(
            source / f"p{k}.ome.tif",
            stack(k),
            description=xml,
            metadata=None,
            photometric="minisblack",
        )
    settings = BatchSettings(planes=PLANES, grid=GRID, method="linear")
    report = batch(source, tmp_path / "out", settings)
    assert [outcome.job.output.name for outcome in report.of("done")] == [
        "p0.ome.tif",
        "p1.ome.tif",
    ]
    for k in range(2):
        made = read_image(tmp_path / "out" / f"p{k}.ome.tif")
        np.testing.assert_array_equal(made.data, expected(stack(k)))


def test_what_bioformats2raw_writes_is_one_position_an_image(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "raw.zarr", mode="w")
    root.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for k in range(2):
        ngff(tmp_path / "raw.zarr" / str(k), stack(k)[None, None], "tczyx")
    report = batch(tmp_path / "raw.zarr", tmp_path / "out")
    assert [outcome.job.output.name for outcome in report.of("done")] == [
        "raw_0.ome.zarr",
        "raw_1.ome.zarr",
    ]
    made = read_image(tmp_path / "out" / "raw_1.ome.zarr")
    np.testing.assert_array_equal(made.data, expected(stack(1)))


@pytest.mark.parametrize(
    ("pattern", "name", "rest"),
    [
        ("*_z{z}um*.tif", "B02_z-2,5um_GFP.tif", "B02_GFP"),
        ("*_z{z}um*.tif", "pos1_z3.0um.ome.tif", "pos1"),
        ("*_z={z}*", "img_5_z=3.5.tif", "img_5"),
        ("*_Z{z}*", "well_B1_Z003.tif", "well_B1"),
        ("A*_{z:nm}*.tif", "A1_300_x.tif", "A1_x"),
        ("{z}.tif", "3.tif", "volume"),
        ("*_z{z}um*.tif", "other.tif", None),
        ("*.tif", "other.tif", None),
    ],
)
def test_what_a_name_says_beside_its_height(pattern: str, name: str, rest: str | None) -> None:
    assert NamePattern(pattern).rest(name) == rest


# --- what is made ---


@pytest.mark.parametrize("method", ["linear", "lmmse"])
def test_volumes_are_those_of_reconstruct(folder: Path, tmp_path: Path, method: str) -> None:
    settings = BatchSettings(grid=GRID, planes=PLANES, method=method)  # optics from the files
    report = batch(folder, tmp_path / "out", settings)
    assert states(report) == ["done"] * 3
    assert report.is_complete
    for k in range(3):
        made = read_image(tmp_path / "out" / f"s{k}.ome.tif")
        np.testing.assert_array_equal(made.data, expected(stack(k), method))
        np.testing.assert_allclose(made.z_um, GRID.z_um)
        assert made.provenance["method"] == method
        assert [s["z_um"] for s in made.provenance["scans"]] == [0.5, 1.5, 2.5]


def test_single_images_are_grouped_by_their_names(tmp_path: Path) -> None:
    for position, seed in (("A1", 1), ("B2", 2)):
        for plane in PLANES:
            name = f"{position}_z{plane / 2:g}um_GFP.tif".replace(".", "p", 1)
            tifffile.imwrite(tmp_path / name, stack(seed)[plane], metadata=None)
            tifffile.imwrite(tmp_path / name.replace("GFP", "RFP"), stack(9)[0], metadata=None)
    settings = BatchSettings(grid=GRID, method="linear", **OPTICS)  # type: ignore[arg-type]
    report = batch(tmp_path, tmp_path / ".." / "out", settings, pattern="*_z{z}um_GFP.tif")
    assert [outcome.job.position for outcome in report.outcomes] == ["A1_GFP", "B2_GFP"]
    made = read_image(tmp_path.parent / "out" / "B2_GFP.ome.tif")
    np.testing.assert_array_equal(made.data, expected(stack(2)))


@pytest.mark.parametrize("kind", ["zarr", "imagej", "ome"])
def test_a_time_lapse_keeps_its_time_axis(tmp_path: Path, kind: str) -> None:
    from ome_zarr_models.v05 import Image

    pixels = np.stack([np.stack([stack(10 * t + c) for c in range(2)]) for t in range(3)])
    if kind == "zarr":
        source = ngff(tmp_path / "t.ome.zarr", pixels, "tczyx")
    else:
        source = tmp_path / "t.tif"
        about = {"axes": "TZCYX", "spacing": 0.5, "unit": "um"} | (
            {"PhysicalSizeZ": 0.5, "TimeIncrement": 30, "TimeIncrementUnit": "s"}
            if kind == "ome"
            else {"finterval": 30, "tunit": "sec"}
        )
        tifffile.imwrite(
            source,
            pixels.swapaxes(1, 2),
            imagej=kind == "imagej",
            ome=kind == "ome",
            compression="zlib" if kind == "ome" else None,
            metadata=about,
        )
    settings = BatchSettings(grid=GRID, planes=PLANES, method="linear", channel=1, **OPTICS)  # type: ignore[arg-type]
    report = batch(source, tmp_path / "out", settings)
    assert states(report) == ["done"] * 3, report.table()
    group = zarr.open_group(tmp_path / "out" / "t.ome.zarr", mode="r")
    told = methods_paragraph(read_time_lapse(tmp_path / "out" / "t.ome.zarr")[0])
    assert "was reconstructed at each time point from" in told
    assert "by linear interpolation" in told
    multiscale = Image.from_zarr(group).ome_attributes.multiscales[0]
    axes, scale = multiscale.axes, multiscale.datasets[0].coordinateTransformations[0]
    assert [(a.name, a.type) for a in axes] == [("t", "time"), *[(a, "space") for a in "zyx"]]
    assert (axes[0].unit, scale.scale[0]) == ("second", 30)
    for t in range(3):
        np.testing.assert_array_equal(group["0"][t], expected(pixels[t, 1]))  # type: ignore[index]
    again = batch(
        tmp_path / "out" / "t.ome.zarr", tmp_path / "again", replace(settings, channel=None)
    )
    assert all("made from scans, and is no scan itself" in one.message for one in again.outcomes)


def test_a_time_lapse_that_was_cropped_in_time_keeps_its_place_along_t(tmp_path: Path) -> None:
    source = tmp_path / "cropped.ome.zarr"
    place = Place(0.1, 0.5 * np.arange(len(stack(0))), time_step_s=30)
    make_time_lapse(source, (2, *stack(0).shape), place, {"first_time_point": 3.0})
    for time in range(2):
        with TimePoint(source, time, stack(0).shape) as planes:
            for z, plane in enumerate(stack(time)):
                planes[z] = plane
    report = batch(source, tmp_path / "out", LINEAR)
    assert states(report) == ["done"] * 2, report.table()
    made = zarr.open_group(tmp_path / "out" / source.name, mode="r")
    (dataset,) = made.attrs["ome"]["multiscales"][0]["datasets"]  # type: ignore[index, call-overload]
    assert dataset["coordinateTransformations"][1]["translation"][0] == 90  # type: ignore[index, call-overload]
    image = read_image(tmp_path / "out" / source.name, time=0)
    assert first_point_of(image.provenance) == 3


def test_a_channel_is_chosen_by_its_name_wherever_it_stands_in_a_file(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    gfp = [stack(0), stack(1)]
    for number, names in enumerate([["DAPI", "GFP"], ["GFP", "DAPI"]]):
        pixels = np.stack([gfp[number] if name == "GFP" else stack(9) for name in names], axis=1)
        about = {"axes": "ZCYX", "PhysicalSizeZ": 0.5, "Channel": {"Name": names}}
        tifffile.imwrite(source / f"s{number}.ome.tif", pixels, metadata=about)
    settings = replace(LINEAR, channel="gfp")
    report = batch(source, tmp_path / "out", settings)
    assert states(report) == ["done"] * 2, report.table()
    for number, pixels in enumerate(gfp):
        written = tifffile.imread(tmp_path / "out" / f"s{number}.ome.tif")
        np.testing.assert_array_equal(written, expected(pixels))
    assert replace(LINEAR, channel="1") == replace(LINEAR, channel=1)
    (job, _) = find_jobs(source, tmp_path / "out", replace(LINEAR, channel="Cy3"))
    assert "has no channel called 'Cy3' (DAPI, GFP): give its number, 0 to 1" in job.trouble


def test_a_plate_keeps_its_layout(tmp_path: Path) -> None:
    from ome_zarr_models.v05 import HCS

    fields = {name: stack(k) for k, name in enumerate(["A/1/0", "A/1/1", "B/2/0"])}
    source = plate(tmp_path / "screen.ome.zarr", fields)
    report = batch(source, tmp_path / "out")
    assert [o.job.position for o in report.outcomes] == [f"screen/{name}" for name in fields]
    assert report.is_complete, report.table()
    out = tmp_path / "out" / "screen.ome.zarr"
    made = HCS.from_zarr(zarr.open_group(out, mode="r"))
    assert [well.path for well in made.ome_attributes.plate.wells] == ["A/1", "B/2"]
    assert [len(well.ome_attributes.well.images) for well in made.well_groups] == [2, 1]
    for name, pixels in fields.items():
        image = read_image(out / name)
        np.testing.assert_array_equal(image.data, expected(pixels))
        np.testing.assert_allclose(image.z_um, GRID.z_um)
    assert states(batch(source, tmp_path / "out")) == ["kept"] * 3


OLD = replace(LINEAR, format="ome.zarr", ngff="0.4")


def test_an_older_ome_zarr_is_written_on_request(folder: Path, tmp_path: Path) -> None:
    from ome_zarr_models.v04 import Image

    batch(folder, tmp_path / "out", replace(LINEAR, format="ome.zarr"))
    assert states(batch(folder, tmp_path / "out", OLD)) == ["done"] * 3  # made anew
    assert states(batch(folder, tmp_path / "out", OLD)) == ["kept"] * 3
    made = tmp_path / "out" / "s1.ome.zarr"
    Image.from_zarr(zarr.open_group(made, mode="r", zarr_format=2))
    np.testing.assert_array_equal(read_image(made).data, expected(stack(1)))


def test_an_older_time_lapse(tmp_path: Path) -> None:
    from ome_zarr_models.v04 import Image

    pixels = np.stack([stack(t) for t in range(3)])
    source = ngff(tmp_path / "t.ome.zarr", pixels, "tzyx")
    assert states(batch(source, tmp_path / "out", OLD)) == ["done"] * 3
    assert states(batch(source, tmp_path / "out", OLD)) == ["kept"] * 3
    group = zarr.open_group(tmp_path / "out" / "t.ome.zarr", mode="r", zarr_format=2)
    Image.from_zarr(group)
    for t in range(3):
        np.testing.assert_array_equal(group["0"][t], expected(pixels[t]))  # type: ignore[index]


def test_an_older_plate(tmp_path: Path) -> None:
    from ome_zarr_models.v04 import HCS

    fields = {name: stack(k) for k, name in enumerate(["A/1/0", "A/1/1", "B/2/0"])}
    source, out = plate(tmp_path / "screen.ome.zarr", fields), tmp_path / "out"
    assert states(batch(source, out, OLD)) == ["done"] * 3
    assert states(batch(source, out, OLD)) == ["kept"] * 3
    made = HCS.from_zarr(zarr.open_group(out / "screen.ome.zarr", mode="r", zarr_format=2))
    assert [len(well.attributes.well.images) for well in made.well_groups] == [2, 1]
    for name, pixels in fields.items():
        np.testing.assert_array_equal(
            read_image(out / "screen.ome.zarr" / name).data, expected(pixels)
        )
    with pytest.raises(InputError, match="is there already in another version of NGFF"):
        batch(source, out)


def test_a_plate_as_the_napari_reader_sees_it(tmp_path: Path) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    fields = {name: stack(k) for k, name in enumerate(["A/1/0", "B/2/0"])}
    batch(plate(tmp_path / "p.zarr", fields), tmp_path / "out")
    location = parse_url(tmp_path / "out" / "p.ome.zarr")
    assert location is not None
    nodes = list(Reader(location)())
    whole = np.asarray(nodes[0].data[0])
    assert whole.shape == (9, 48, 64)  # two rows and two columns of wells
    np.testing.assert_array_equal(whole[:, :24, :32], expected(fields["A/1/0"]))
    np.testing.assert_array_equal(whole[:, 24:, 32:], expected(fields["B/2/0"]))


def test_info_names_the_fields_of_a_plate_and_says_once_what_they_have_in_common(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {f"A/1/{k}": stack(k) for k in range(5)} | {"B/2/0": stack(5)[:4]}
    assert main(["info", str(plate(tmp_path / "p.ome.zarr", fields))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("position")] == [
        "positions 0 (A/1/0), 1 (A/1/1), 2 (A/1/2) and 2 more",
        "position 5 (B/2/0)",
    ]
    assert [line.split()[1:3] for line in lines if "axes" in line] == [["Z", "7"], ["Z", "4"]]


def test_all_time_points_are_made_by_one_method(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=2))
    weights = tmp_path / "small.safetensors"
    save_model(network, {"data": "none", "steps": 0}, weights)
    source = ngff(tmp_path / "t.ome.zarr", np.stack([stack(k) for k in range(3)]), "tzyx")
    settings = BatchSettings(grid=GRID, planes=PLANES, model=str(weights), device="cpu", **OPTICS)  # type: ignore[arg-type]
    report = batch(source, tmp_path / "out", settings)
    told = zarr.open_group(tmp_path / "out" / "t.ome.zarr", mode="r").attrs["napari-recurrent-mz"]
    assert isinstance(told, dict)
    assert told["check"]["chosen"] == told["method"]
    assert {outcome.method for outcome in report.outcomes} == {told["method"]}
    assert all(told["check"]["sentence"] in outcome.message for outcome in report.outcomes)


# --- what is kept ---


def times(out: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in out.glob("*.ome.tif")}


def test_what_is_finished_is_kept(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(folder, out)
    before = times(out)
    assert states(batch(folder, out)) == ["kept"] * 3
    assert times(out) == before
    assert states(batch(folder, out, again=True)) == ["done"] * 3


def _other_input(folder: Path, _out: Path) -> BatchSettings:
    write_volume(folder / "s1.ome.tif", stack(7), 0.5 * np.arange(7), 0.2, {"optics": OPTICS})
    return LINEAR


def _touched_input(folder: Path, _out: Path) -> BatchSettings:
    os.utime(folder / "s1.ome.tif", ns=(1, 1))
    return LINEAR


def _lost_output(_folder: Path, out: Path) -> BatchSettings:
    (out / "s1.ome.tif").unlink()
    return LINEAR


def _broken_record(_folder: Path, out: Path) -> BatchSettings:
    (out / ".recurrent-mz" / "s1.ome.tif" / "volume.json").write_text("{")
    return LINEAR


def _other_grid(_folder: Path, _out: Path) -> BatchSettings:
    return BatchSettings(grid=ZGrid(1, 2, 0.5), planes=PLANES, method="linear", **OPTICS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (_other_input, [1]),
        (_touched_input, [1]),
        (_lost_output, [1]),
        (_broken_record, [1]),
        (_other_grid, [0, 1, 2]),
    ],
)
def test_what_changed_is_made_again(
    folder: Path, tmp_path: Path, change: Callable[[Path, Path], BatchSettings], again: list[int]
) -> None:
    out = tmp_path / "out"
    batch(folder, out)
    settings = change(folder, out)
    report = batch(folder, out, settings)
    assert [i for i, state in enumerate(states(report)) if state == "done"] == again
    assert report.is_complete
    assert states(batch(folder, out, settings)) == ["kept"] * 3


@pytest.mark.parametrize("kind", ["raw", "cut", "zarr"])
def test_what_a_batch_did_not_write_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Raw data of the same name, say; ``--list`` says so beforehand."""
    out, source = tmp_path / "out", folder
    out.mkdir()
    there = out / "s1.ome.tif"
    if kind == "raw":
        write_ome(there, stack(9))
    elif kind == "cut":
        batch(folder, out)
        os.truncate(there, 1000)
    else:
        source = tmp_path / "t.ome.zarr"
        for path in (source, out / "t.ome.zarr"):
            ngff(path, np.stack([stack(k) for k in range(2)]), "tzyx")
        there = out / "t.ome.zarr" / "0" / "zarr.json"
    before = there.read_bytes(), there.stat().st_mtime_ns
    settings = "--planes 1 3 5 --grid 0.5:2.5:0.25 --method linear --pixel-um 0.2".split()
    assert main(["batch", str(source), "-o", str(out), *settings, "--list"]) == 0
    assert "cannot: " in capsys.readouterr().out
    failed = batch(source, out).of("failed")
    assert failed
    for outcome in failed:
        assert "is there already and was not written by this program" in outcome.message
    assert (there.read_bytes(), there.stat().st_mtime_ns) == before


@pytest.mark.parametrize("inside", ["", "A/1/0"])
def test_a_plate_or_field_from_elsewhere_stays_and_stops_nothing_else(
    folder: Path, tmp_path: Path, inside: str
) -> None:
    source = plate(tmp_path / "screen.ome.zarr", {"A/1/0": stack(1), "B/2/0": stack(2)})
    there = tmp_path / "out" / "screen.ome.zarr" / inside
    if inside:  # a field in a plate of ours
        batch(source, tmp_path / "out")
        shutil.rmtree(there)
    shutil.copytree(source / inside, there)
    before = {path: path.read_bytes() for path in there.rglob("*") if path.is_file()}
    report = batch([source, folder], tmp_path / "out", again=True)
    refused = ["screen/A/1/0"] if inside else ["screen/A/1/0", "screen/B/2/0"]
    assert [o.job.position for o in report.of("failed")] == refused
    assert len(report.of("done")) == 5 - len(refused)
    assert {path: path.read_bytes() for path in there.rglob("*") if path.is_file()} == before


def test_a_time_lapse_that_grew_gets_the_new_points_only(tmp_path: Path) -> None:
    pixels = np.stack([stack(k) for k in range(4)])
    source, out = tmp_path / "t.ome.zarr", tmp_path / "out"
    ngff(source, pixels[:2], "tzyx")
    assert states(batch(source, out)) == ["done"] * 2
    array: Any = zarr.open_group(source, mode="r+")["0"]
    array.resize(pixels.shape)
    array[2:] = pixels[2:]
    assert states(batch(source, out)) == ["kept", "kept", "done", "done"]
    made: Any = zarr.open_group(out / "t.ome.zarr", mode="r")["0"]
    for t in range(4):
        np.testing.assert_array_equal(made[t], expected(pixels[t]))
    array[1] = pixels[0]
    assert states(batch(source, out)) == ["kept", "done", "kept", "kept"]


def test_planes_of_a_stage_that_moved_between_time_points_are_at_their_heights(
    tmp_path: Path,
) -> None:
    shift_um = 1.2
    pixels = np.stack([stack(0), stack(1)])
    z_um = [z for start in (0, shift_um) for z in start + 0.5 * np.arange(7)]
    sizes = {"PhysicalSizeZ": 0.5, "PhysicalSizeY": 0.2, "PhysicalSizeX": 0.2}
    about = sizes | {f"{name}Unit": "µm" for name in sizes}
    plane = {"PositionZ": z_um, "PositionZUnit": ["µm"] * 14}
    source, out = tmp_path / "t.ome.tif", tmp_path / "out"
    tifffile.imwrite(source, pixels, metadata={"axes": "TZYX", "Plane": plane, **about})
    report = batch(source, out, BatchSettings(planes=PLANES, method="linear", **OPTICS))  # type: ignore[arg-type]
    made = read_image(out / "t.ome.zarr", time=1)
    heights = made.z_um
    assert heights is not None
    np.testing.assert_allclose(heights, 0.5 * np.arange(1, 6))
    scans_um = shift_um + 0.5 * np.array(PLANES)
    expected = interp1d(
        scans_um, pixels[1][list(PLANES)], axis=0, bounds_error=False,
        fill_value=(pixels[1][PLANES[0]], pixels[1][PLANES[-1]]),
    )(heights)  # fmt: skip
    np.testing.assert_allclose(made.stack, expected, rtol=1e-5)
    assert "The grid reaches 1.2 µm beyond" in report.outcomes[1].message


@pytest.mark.parametrize("kind", ["ome.tif", "ome.zarr"])
def test_a_time_lapse_whose_voxel_size_was_corrected_has_the_new_one(
    tmp_path: Path, kind: str
) -> None:
    pixels, source, out = np.stack([stack(0), stack(1)]), tmp_path / f"t.{kind}", tmp_path / "out"
    settings = BatchSettings(planes=PLANES, method="linear")

    def write(z_um: float, pixel_um: float) -> None:
        if kind == "ome.zarr":
            ngff(source, pixels, "tzyx")
            group = zarr.open_group(source, mode="r+")
            ome: Any = group.attrs["ome"]
            (step,) = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
            step["scale"] = [1, z_um, pixel_um, pixel_um]
            group.attrs["ome"] = ome
            return
        sizes = {f"PhysicalSize{a}": s for a, s in (("Z", z_um), ("Y", pixel_um), ("X", pixel_um))}
        units = {f"{name}Unit": "µm" for name in sizes}
        tifffile.imwrite(source, pixels, metadata={"axes": "TZYX", **sizes, **units})

    for z_um, pixel_um in ((0.5, 0.2), (0.25, 0.1)):
        write(z_um, pixel_um)
        assert states(batch(source, out, settings)) == ["done"] * 2
        made = read_image(out / "t.ome.zarr", time=1)
        assert made.pixel_um == pytest.approx(pixel_um)
        np.testing.assert_allclose(made.z_um, z_um * np.arange(1, 6))
    assert states(batch(source, out, settings)) == ["kept"] * 2


# --- what fails ---


def test_what_fails_is_reported_and_the_others_are_done(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "s0.ome.tif").read_bytes()
    (folder / "cut.ome.tif").write_bytes(whole[: len(whole) // 2])
    tifffile.imwrite(folder / "short.tif", stack(1)[:4], photometric="minisblack")
    write_volume(folder / "dark.ome.tif", 0 * stack(1), 0.5 * np.arange(7), 0.2)
    out = tmp_path / "out"
    settings = BatchSettings(grid=GRID, planes=PLANES, method="linear", z_step_um=0.5, **OPTICS)  # type: ignore[arg-type]
    report = batch(folder, out, settings)
    told = {o.job.parts[0].name: o.message for o in report.failed}
    assert told.keys() == {"cut.ome.tif", "short.tif", "dark.ome.tif"}
    assert "damaged or cut short" in told["cut.ome.tif"]
    assert "has no plane 5: its 4 planes are numbered 0 to 3" in told["short.tif"]
    assert "is constant" in told["dark.ome.tif"]
    assert len(times(out)) == 3
    table = (out / "batch-report.csv").read_text("utf-8-sig").splitlines()
    assert table[0] == "position,time,state,seconds,method,message,output"
    assert len(table) == 7
    record = json.loads((out / "batch-report.json").read_text())
    assert record["counts"] == {"done": 3, "kept": 0, "failed": 3, "stopped": 0}
    assert not [v for v in record["volumes"] if "trace" in v]  # all are mistakes, none a fault


def test_a_file_that_reading_stumbles_over_ends_neither_batch_nor_list(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image_file = _tiff.TiffPages.image_file

    def stumble(tiff: _tiff.TiffPages, *given: Any) -> Any:
        if tiff.path.name == "s1.ome.tif":
            raise ZeroDivisionError("division by zero")
        return image_file(tiff, *given)

    monkeypatch.setattr(_tiff.TiffPages, "image_file", stumble)
    report = batch(folder, tmp_path / "out")
    assert states(report) == ["done", "failed", "done"]
    sentence = "'s1.ome.tif' cannot be read (ZeroDivisionError: division by zero)"
    assert report.failed[0].message.startswith(sentence)
    words = ["batch", str(folder), "-o", str(tmp_path / "out"), "--planes", "1", "3", "5"]
    assert main([*words, "--grid", "0.5:2.5:0.25", "--method", "linear", "--list"]) == 0
    listed = capsys.readouterr().out
    assert f"cannot: {sentence}" in listed
    assert listed.count("to do\n") == 2


def test_a_damaged_field_of_a_plate_fails_alone(tmp_path: Path) -> None:
    fields = {name: stack(k) for k, name in enumerate(["A/1/0", "A/1/1", "B/2/0"])}
    source = plate(tmp_path / "screen.ome.zarr", fields)
    (source / "A" / "1" / "1" / ".zattrs").write_text("[]")
    report = batch(source, tmp_path / "out")
    assert states(report) == ["done", "failed", "done"]
    assert "'screen.ome.zarr/A/1/1' is not a complete OME-Zarr" in report.failed[0].message


NAMES = ("a_z1um.tif", "a_z2um.tif", "b_z1um.tif", "c_z1um.tif", "c_z2um.tif")


def test_results_lie_where_their_files_say(tmp_path: Path) -> None:
    settings = replace(LINEAR, grid=None)
    for axes, pixels in (("zyx", stack(0)), ("tzyx", np.stack([stack(0), stack(1)]))):
        source = ngff(tmp_path / f"{axes}.ome.zarr", pixels, axes)
        group = zarr.open_group(source, mode="r+")
        ome: Any = group.attrs["ome"]
        steps = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        shift = {"z": 7.0, "y": 100.5, "x": -20.25}
        steps.append({"type": "translation", "translation": [shift.get(a, 0.0) for a in axes]})
        group.attrs["ome"] = ome
        batch(source, tmp_path / "out", settings)
        made = read_image(tmp_path / "out" / source.name, time=0 if axes[0] == "t" else None)
        assert made.origin_um == (100.5, -20.25)
        np.testing.assert_allclose(made.z_um, 7 + 0.5 * np.arange(1, 6))
        if axes == "zyx":
            words = ["reconstruct", str(source), "--planes", "1", "3", "5", "--method", "linear"]
            assert main([*words, "-o", str(tmp_path / "volume.ome.tif")]) == 0
            assert read_image(tmp_path / "volume.ome.tif").origin_um == (100.5, -20.25)


def test_a_well_that_a_plate_lists_and_lacks_is_told(tmp_path: Path) -> None:
    source = plate(tmp_path / "screen.ome.zarr", {"A/1/0": stack(0), "B/2/0": stack(1)})
    shutil.rmtree(source / "A" / "1")
    report = batch(source, tmp_path / "out")
    assert states(report) == ["failed", "done"]
    assert "'screen.ome.zarr/A/1' is not a complete OME-Zarr" in report.failed[0].message
    made: Any = zarr.open_group(tmp_path / "out" / "screen.ome.zarr", mode="r")["B/2/0/0"]
    np.testing.assert_array_equal(made, expected(stack(1)))


def test_groups_that_do_not_fit_fail_alone(tmp_path: Path) -> None:
    for k, name in enumerate(NAMES):
        tifffile.imwrite(
            tmp_path / name, stack(k)[0, : 20 if "c_z2" in name else 24], metadata=None
        )
    settings = BatchSettings(method="linear", **OPTICS)  # type: ignore[arg-type]
    report = batch(tmp_path, tmp_path.parent / "o", settings, pattern="*_z{z}um.tif")
    assert states(report) == ["done", "failed", "failed"]
    assert "'b_z1um.tif' is alone" in report.failed[0].message
    assert "20 × 32 pixels but" in report.failed[1].message


def test_a_fault_of_ours_is_reported_with_its_trace(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("napari_recurrent_mz.engine.batch._work.read_job", fail)
    report = batch(folder, tmp_path / "out")
    assert states(report) == ["failed"] * 3
    unexpected = "This failed with an unexpected ZeroDivisionError (on purpose): please report"
    assert report.failed[0].message.startswith(unexpected)
    assert "on purpose" in json.loads((tmp_path / "out" / "batch-report.json").read_text())[
        "volumes"
    ][0]["trace"]  # fmt: skip


def test_a_file_that_is_named_twice_is_one(folder: Path, tmp_path: Path) -> None:
    sources = [folder, folder / "s0.ome.tif"]
    jobs = find_jobs(sources, tmp_path / "out", BatchSettings(planes=(1, 3), method="linear"))
    assert len(jobs) == len(list(folder.iterdir()))


def test_what_cannot_be_a_batch_is_told_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    tifffile.imwrite(tmp_path / "one.tif", stack(0)[0], metadata=None)
    two = ngff(tmp_path / "two.ome.zarr", np.stack([stack(0)] * 2), "czyx")
    bare = plate(tmp_path / "bare.ome.zarr", {})
    (tmp_path / "same").mkdir()
    for name in ("s.tif", "s.ome.tif"):
        tifffile.imwrite(tmp_path / "same" / name, stack(0), metadata=None)
    table: list[tuple[Any, Path, dict[str, Any], str]] = [
        (tmp_path / "nowhere", out, {}, "does not exist"),
        (empty, out, {}, "holds no image: neither a TIFF"),
        (folder, out, {"pattern": "*_GFP.tif"}, "No file in 'in' fits the pattern '*_GFP.tif'"),
        (folder, out, {"pattern": "*{z}*.tif"}, "--planes is for stacks"),
        (folder, out, {"pattern": "*_{height}.tif"}, "has '{height}', which says nothing"),
        (folder, folder / "out", {}, "lies in the source"),
        (folder, folder, {}, "lies in the source"),
        (folder, tmp_path / "no" / "out", {}, "does not exist: make it first"),
        (folder, tmp_path / "one.tif", {}, "is no folder"),
        (folder / "s0.ome.tif", folder, {}, "would replace an input"),
        (tmp_path / "same", out, {}, "would both be written to 's.ome.tif'"),
        (tmp_path / "one.tif", out, {}, "is one image, not a stack"),
        (two, out, {}, "has 2 channels: choose one"),
        (bare, out, {}, "has no well with a field"),
        ([], out, {}, "No source is given"),
    ]
    for source, where, options, sentence in table:
        with pytest.raises(InputError) as caught:
            find_jobs(source, where, LINEAR, **options)
        assert sentence in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"method": "magic"}, "The method 'magic' is unknown"),
        ({"format": "png"}, "The format 'png' is unknown"),
        ({"planes": (1,)}, "at least two scans"),
        ({"ngff": "0.4"}, "NGFF 0.4: choose the format ome.zarr"),
        ({"ngff": "0.3", "format": "ome.zarr"}, "NGFF 0.3"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        BatchSettings(**wrong)


# --- how a computer is shared out ---


def test_each_process_keeps_to_the_memory_of_a_gpu_that_was_given(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECURRENT_MZ_GPU_MEMORY_GB", "4.5")
    told: list[float] = []
    monkeypatch.setattr("napari_recurrent_mz.engine.batch._work.limit_gpu_memory", told.append)
    assert states(batch(folder, tmp_path / "out")) == ["done"] * 3
    assert told == [4.5] * 3


@pytest.mark.parametrize(
    ("jobs", "cores", "memory_gb", "wanted", "gpus", "workers", "threads"),
    [
        (1, 16, 64, None, 0, 1, 16),  # one position has all cores
        (96, 16, 64, None, 0, 4, 4),
        (96, 2, 64, None, 0, 1, 2),
        (96, 64, 8, None, 0, 5, 12),  # memory holds five
        (96, 16, 0.5, None, 0, 1, 16),  # one is always tried
        (96, 16, 64, 8, 0, 8, 2),
        (96, 16, 64, 99, 0, 16, 1),  # never more than cores
        (3, 16, 64, 8, 0, 3, 5),
        (96, 16, 64, None, 2, 2, 8),  # one for each GPU
        (96, 16, 64, 8, 2, 2, 8),
        (96, 16, 64, 1, 2, 1, 16),
    ],
)
def test_positions_times_threads_never_pass_the_cores(
    jobs: int,
    cores: int,
    memory_gb: float,
    wanted: int | None,
    gpus: int,
    workers: int,
    threads: int,
) -> None:
    names = [str(i) for i in range(gpus)]
    found = share_out(
        jobs, 10**9, cores=cores, memory=int(memory_gb * 1e9), wanted=wanted, gpus=names
    )
    assert found == Shares(workers, threads, tuple(names[:workers]))
    assert found.workers * found.threads <= cores


def test_memory_of_a_position_grows_with_its_pixels_and_scans() -> None:
    small = bytes_of((512, 512), 3, "lmmse")
    assert bytes_of((512, 512), 6, "lmmse") > small
    assert bytes_of((1024, 1024), 3, "lmmse") > small
    assert bytes_of((512, 512), 3, "recurrent-mz") > small
    # An object that explains many scans has a sheet between each two.
    few, some, many = (bytes_of((1024, 1024), scans, "recurrent-mz") for scans in (6, 9, 12))
    assert many - some > some - few > 0


def test_memory_of_the_network_is_that_of_its_largest_tile() -> None:
    def more(side: int) -> int:
        return bytes_of((side, side), 3, "recurrent-mz") - bytes_of((side, side), 3, "lmmse")

    most = LARGEST_TILE["cpu"]
    assert more(512) < more(most) == more(4 * most)
