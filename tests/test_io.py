"""Files in and out: lengths in micrometres, whatever the format says them in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io import (
    VolumeWriter,
    check_output,
    read_image,
    scans_from_files,
    scans_from_stack,
    to_um,
    write_json,
    write_volume,
    z_from_name,
)
from napari_recurrent_mz.io._whole import Workplace

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
STACK = np.random.default_rng(1).integers(90, 4000, (5, 20, 24)).astype(np.uint16)
PROVENANCE = {
    "model": "none",
    "scans": [{"name": "a \"<&>' µ.tif", "z_um": 3.5}],
    "optics": {"na": 1.4, "wavelength_um": 0.519, "immersion_index": 1.515, "pixel_um": 0.1},
}


# --- heights in names ---


@pytest.mark.parametrize(
    ("name", "height"),
    [
        ("scan_z3.5um.tif", 3.5),
        ("scan_z3.5µm.ome.tif", 3.5),  # U+00B5
        ("scan_z3.5μm.tif", 3.5),  # U+03BC
        ("z=3,5.tif", 3.5),
        ("z = 3.5", 3.5),
        ("z=3", 3.0),
        ("cell z: 12 um", 12.0),
        ("z-2um.tif", -2.0),
        ("worm_z_-2.25um_ch0.tif", -2.25),
        ("z−1.5um", -1.5),  # U+2212, a true minus
        ("Z+4um.tiff", 4.0),
        ("z3500nm.tif", 3.5),
        ("z0.01mm.tif", 10.0),
        ("z3p5um.tif", 3.5),
        ("beads-z6microns.tif", 6.0),
        ("stageZ7um", 7.0),
        ("z_pos_4.5um.tif", 4.5),
        ("z0um.tif", 0.0),
        ("z003_z1.5um.tif", 1.5),
        ("img_z003.tif", None),  # the number of a plane
        ("z12.tif", None),
        ("scan.tif", None),
        ("dz0.2um.tif", None),  # a step
        ("zstep0.2um", None),
        ("100nm_beads.tif", None),
        ("xyz5.5um", None),
        ("z1um_z2um.tif", None),  # two heights
        ("z3.5x", None),
        ("", None),
    ],
)
def test_height_in_a_name(name: str, height: float | None) -> None:
    assert z_from_name(name) == height


@pytest.mark.parametrize(
    ("value", "unit", "um"),
    [
        (2, "nm", 0.002),
        (2, "µm", 2),
        (2, "\\u00B5m", 2),
        ("2.5", "micron", 2.5),
        (1, "mm", 1000),
        (1, "micrometre", 1),
        (1, "pixel", None),
        (1, "reference frame", None),
        (None, "um", None),
        (1, None, None),
        ("nan", "um", None),
    ],
)
def test_units(value: float | str | None, unit: str | None, um: float | None) -> None:
    assert to_um(value, unit) == (None if um is None else pytest.approx(um))


# --- reading ---


@pytest.mark.parametrize(
    ("unit", "per_um"), [("um", 1.0), ("\\u00B5m", 1.0), ("micron", 1.0), ("nm", 1e-3)]
)
def test_imagej_stack(tmp_path: Path, unit: str, per_um: float) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(
        path,
        STACK,
        imagej=True,
        resolution=(10 * per_um, 10 * per_um),
        metadata={"axes": "ZYX", "spacing": 0.5 / per_um, "unit": unit},
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.data, STACK)
    assert image.pixel_um == pytest.approx(0.1)
    assert image.z_step_um == pytest.approx(0.5)
    np.testing.assert_allclose(image.z_um, [0, 0.5, 1, 1.5, 2])


def test_plain_tiff_states_no_lengths(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, metadata=None)
    image = read_image(tmp_path / "a.tif")
    assert image.data.shape == STACK.shape
    assert image.z_um is image.pixel_um is image.z_step_um is image.na is None


@pytest.mark.parametrize(
    ("resolution", "unit", "pixel"),
    [((1e5, 1e5), "CENTIMETER", 0.1), ((72, 72), "INCH", None), ((2, 2), "NONE", None)],
)
def test_tiff_resolution_counts_only_when_it_is_one_of_a_microscope(
    tmp_path: Path, resolution: tuple[float, float], unit: str, pixel: float | None
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0], resolution=resolution, resolutionunit=unit, metadata=None)
    assert read_image(path).pixel_um == (None if pixel is None else pytest.approx(pixel))


def test_ome_optics_and_plane_heights(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    heights = [3000.0, 4500.0, 5000.0, 7000.0, 9000.0]
    tifffile.imwrite(
        path,
        STACK,
        ome=True,
        metadata={
            "axes": "ZYX",
            "PhysicalSizeX": 103,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 103,
            "PhysicalSizeYUnit": "nm",
            "Plane": {"PositionZ": heights, "PositionZUnit": ["nm"] * 5},
            "Channel": {"EmissionWavelength": 519},
        },
    )
    # tifffile writes no Instrument: put one in where the schema has it.
    xml = tifffile.tiffcomment(path).replace(
        '<Image ID="Image:0"',
        '<Instrument ID="Instrument:0"><Objective ID="Objective:0" LensNA="1.4" '
        'Immersion="Oil"/></Instrument><Image ID="Image:0"',
    )
    tifffile.tiffcomment(path, xml.encode())
    image = read_image(path)
    assert image.pixel_um == pytest.approx(0.103)
    np.testing.assert_allclose(image.z_um, [3, 4.5, 5, 7, 9])
    assert (image.na, image.immersion_index) == (1.4, 1.515)
    assert image.wavelength_um == pytest.approx(0.519)


def test_axes_of_length_one_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK[None, :, None], ome=True, metadata={"axes": "TZCYX"})
    assert read_image(path).data.shape == STACK.shape
    tifffile.imwrite(path, STACK[:1], ome=True, metadata={"axes": "ZYX"})
    assert read_image(path).data.shape == STACK.shape[1:]


@pytest.mark.filterwarnings("ignore:Call to deprecated class Scaler:DeprecationWarning")
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_of_another_program(tmp_path: Path, version: str) -> None:
    from ome_zarr.format import format_from_version
    from ome_zarr.writer import write_image

    path = tmp_path / "a.ome.zarr"
    write_image(
        STACK[None],
        str(path),
        axes=["c", "z", "y", "x"],
        scale={"c": 1.0, "z": 500.0, "y": 100.0, "x": 100.0},
        axes_units={"z": "nanometer", "y": "nanometer", "x": "nanometer"},
        scale_factors=[2],
        fmt=format_from_version(version),
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.data, STACK)
    assert image.pixel_um == pytest.approx(0.1)
    np.testing.assert_allclose(image.z_um, 0.5 * np.arange(5))


@pytest.mark.skipif(not DATA.is_dir(), reason="the real stacks are not here")
@pytest.mark.parametrize(
    ("name", "shape", "z_step", "pixel"),
    [
        ("bead-560nm-widefield", (101, 64, 64), 0.1, 0.1019),
        ("nucleus-hoechst-widefield", (45, 130, 133), 0.4994, 0.5119),
    ],
)
def test_real_stack(name: str, shape: tuple[int, ...], z_step: float, pixel: float) -> None:
    image = read_image(DATA / f"{name}.ome.tif")
    assert image.data.shape == shape
    assert (image.z_step_um, image.pixel_um) == (z_step, pixel)


# --- scans ---


def _single(path: Path, plane: int = 0, **metadata: object) -> Path:
    tifffile.imwrite(path, STACK[plane], metadata=metadata or None, ome=bool(metadata))
    return path


def test_heights_come_from_the_user_then_metadata_then_the_name(tmp_path: Path) -> None:
    named = _single(tmp_path / "scan_z3.5um.tif")
    told = _single(
        tmp_path / "scan_z9um.ome.tif",
        1,
        axes="YX",
        Plane={"PositionZ": [6.5], "PositionZUnit": ["µm"]},
    )
    assert [s.z_um for s in scans_from_files([named, told])] == [3.5, 6.5]
    scans = scans_from_files([named, told], z_um=[1, 2])
    assert [(s.name, s.z_um) for s in scans] == [(named.name, 1), (told.name, 2)]
    np.testing.assert_array_equal(scans[1].pixels, STACK[1])


def test_scans_of_a_stack(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", STACK, metadata=None)
    scans = scans_from_stack(read_image(tmp_path / "s.tif"), [4, 1], z_step_um=0.25)
    assert [s.z_um for s in scans] == [1.0, 0.25]
    np.testing.assert_array_equal(scans[0].pixels, STACK[4])


# --- writing ---


@pytest.mark.parametrize("ending", [".ome.tif", ".tif", ".tiff", ".ome.zarr", ".zarr"])
def test_volume_comes_back_as_it_was(tmp_path: Path, ending: str) -> None:
    volume = STACK.astype(np.float32) / 7
    z_um = 2.5 + 0.2 * np.arange(5)
    path = write_volume(tmp_path / f"v{ending}", volume, z_um, 0.103, PROVENANCE)
    image = read_image(path)
    assert image.data.dtype == np.float32
    np.testing.assert_array_equal(image.data, volume)
    np.testing.assert_allclose(image.z_um, z_um)
    assert (image.pixel_um, image.z_step_um) == (0.103, pytest.approx(0.2))
    assert image.provenance == PROVENANCE
    assert (image.na, image.wavelength_um, image.immersion_index) == (1.4, 0.519, 1.515)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no temporary left


def test_ome_tiff_as_another_reader_sees_it(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "v.ome.tif", STACK, 3 + 0.5 * np.arange(5), 0.1, PROVENANCE)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert (tif.series[0].axes, tif.series[0].shape) == ("ZYX", STACK.shape)
        ome = tifffile.xml2dict(tif.ome_metadata or "")["OME"]
    pixels = ome["Image"]["Pixels"]
    assert ome["Instrument"]["Objective"] == {
        "ID": "Objective:0",
        "LensNA": 1.4,
        "Immersion": "Oil",
    }
    assert ome["Image"]["ObjectiveSettings"] == {"ID": "Objective:0", "RefractiveIndex": 1.515}
    assert (pixels["PhysicalSizeZ"], pixels["PhysicalSizeZUnit"]) == (0.5, "µm")
    assert [p["PositionZ"] for p in pixels["Plane"]] == [3, 3.5, 4, 4.5, 5]
    assert pixels["Channel"]["EmissionWavelength"] == 519


def test_ome_zarr_as_another_reader_sees_it(tmp_path: Path) -> None:
    from ome_zarr_models.v05 import Image

    path = write_volume(tmp_path / "v.ome.zarr", STACK, 3 + 0.5 * np.arange(5), 0.1, PROVENANCE)
    multiscale = Image.from_zarr(zarr.open_group(path, mode="r")).ome_attributes.multiscales[0]
    assert [(a.name, a.type, a.unit) for a in multiscale.axes] == [
        (a, "space", "micrometer") for a in "zyx"
    ]
    scale, translation = multiscale.datasets[0].coordinateTransformations
    assert scale.scale == [0.5, 0.1, 0.1]
    assert translation.translation == [3, 0, 0]


def test_an_older_ome_zarr_on_request(tmp_path: Path) -> None:
    from ome_zarr_models.v04 import Image

    path, heights = tmp_path / "v.ome.zarr", 3 + 0.5 * np.arange(5)
    write_volume(path, STACK, heights, 0.1, PROVENANCE, keep_type=True, ngff="0.4")
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == 2
    multiscale = Image.from_zarr(group).ome_attributes.multiscales[0]
    assert multiscale.version == "0.4"
    assert multiscale.datasets[0].coordinateTransformations[0].scale == [0.5, 0.1, 0.1]
    image = read_image(path)
    np.testing.assert_array_equal(image.data, STACK)
    np.testing.assert_allclose(image.z_um, heights)
    assert image.na == 1.4


def test_an_older_ome_zarr_keeps_its_finished_planes(tmp_path: Path) -> None:
    path = tmp_path / "v.ome.zarr"
    with VolumeWriter(path, STACK.shape, np.arange(5), 0.1, ngff="0.4") as volume:
        for number in (2, 3):
            volume[number] = STACK[number]
        volume.keep_finished()
        volume.finish({})
    image = read_image(path)
    np.testing.assert_array_equal(image.data, STACK[2:4])
    np.testing.assert_array_equal(image.z_um, [2, 3])


@pytest.mark.parametrize(("name", "ngff"), [("v.ome.tif", "0.4"), ("v.ome.zarr", "0.3")])
def test_a_version_that_is_not_written_is_told(tmp_path: Path, name: str, ngff: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' cannot be written as NGFF {ngff}"):
        write_volume(tmp_path / name, STACK, np.arange(5), 0.1, ngff=ngff)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("ending", [".ome.tif", ".ome.zarr"])
def test_an_earlier_result_is_replaced(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"v{ending}"
    write_volume(path, STACK, np.arange(5), 0.1)
    write_volume(path, STACK[:3], np.arange(3), 0.1)
    assert read_image(path).data.shape == (3, 20, 24)


@pytest.mark.parametrize("ending", [".ome.tif", ".ome.zarr"])
def test_a_write_that_breaks_leaves_what_was_there(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_volume(tmp_path / f"v{ending}", STACK, np.arange(5), 0.1)

    def interrupted(*_arguments: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Workplace, "put_in_place", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_volume(path, STACK[:2], np.arange(2), 0.1)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert read_image(path).data.shape == STACK.shape


_ENDS_IN_MID_WRITE = """
import sys, threading, time
import numpy as np
from napari_recurrent_mz.io import VolumeWriter
from napari_recurrent_mz.io._whole import Workplace

begun, path, way = threading.Event(), sys.argv[1], sys.argv[2]

def write():
    writer = VolumeWriter(path, (3, 20, 24), np.arange(3), 0.1)
    writer[0] = np.zeros((20, 24))
    begun.set()
    time.sleep(60)

def interrupted(*_arguments):
    raise KeyboardInterrupt

if way == "thread":
    threading.Thread(target=write, daemon=True).start()
    begun.wait()
else:  # Ctrl-C as soon as the folder is there
    import napari_recurrent_mz.io._whole as whole
    whole.try_lock = interrupted
    write()
"""


@pytest.mark.parametrize("ending", [".ome.tif", ".ome.zarr"])
@pytest.mark.parametrize("way", ["thread", "Ctrl-C"])
def test_a_process_that_ends_in_mid_write_leaves_what_was_there(
    tmp_path: Path, ending: str, way: str
) -> None:
    """By itself while another thread writes, as a dask worker, or by Ctrl-C at any moment."""
    path = write_volume(tmp_path / f"v{ending}", STACK, np.arange(5), 0.1)
    words = [sys.executable, "-c", _ENDS_IN_MID_WRITE, str(path), way]
    subprocess.run(words, check=way == "thread", stderr=subprocess.DEVNULL, timeout=120)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert read_image(path).data.shape == STACK.shape


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
@pytest.mark.parametrize("write", [write_json, lambda path, value: write_volume(path, *value)])
def test_a_pipe_or_a_device_is_not_replaced(tmp_path: Path, write) -> None:
    path = tmp_path / "pipe.tif"
    os.mkfifo(path)
    with pytest.raises(InputError, match="is a pipe or a device, not a file"):
        write(path, [STACK.tolist(), [0.0, 1.0, 2.0, 3.0, 4.0], 0.1])
    assert path.is_fifo()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
@pytest.mark.parametrize("is_whole", [True, False])
def test_of_a_folder_that_vanishes_in_mid_write_nothing_is_taken_for_whole(
    tmp_path: Path, ngff: str, is_whole: bool
) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    writer = VolumeWriter(folder / "v.ome.zarr", STACK.shape, np.arange(5.0), 0.1, ngff=ngff)
    writer[0] = STACK[0]
    shutil.rmtree(folder)

    def go_on() -> None:
        for number in range(1, 5 if is_whole else 3):
            writer[number] = STACK[number]
        if not is_whole:
            writer.keep_finished()
        writer.finish()

    with pytest.raises(InputError, match="could not be written: the folder is missing"):
        go_on()
    writer.discard()
    assert not list(tmp_path.rglob("*.zarr"))


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    given = _single(tmp_path / "a.tif")
    before = given.read_bytes()
    (tmp_path / "link.tif").symlink_to(given)
    for name in ("a.tif", "link.tif"):
        with pytest.raises(InputError, match="is one of the input files"):
            write_volume(tmp_path / name, STACK, np.arange(5), 0.1, inputs=[given])
    assert given.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v.png", "end it in .ome.tif"),
        ("v", "end it in .ome.tif"),
        ("missing/v.tif", "does not exist"),
        ("folder.zarr", "is a folder that is no OME-Zarr"),
        ("folder.tif", "is a folder that is no OME-Zarr"),
        ("file.zarr", "is a file, not an OME-Zarr"),
        (f"{'v' * 300}.tif", "could not be written: File name too long"),
        (f"{'v' * 300}/v.tif", "could not be written: File name too long"),
    ],
)
def test_output_is_checked_before_work(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "file.zarr").touch()
    with pytest.raises(InputError, match=message):
        check_output(tmp_path / name)


# --- mistakes ---


def test_scan_mistakes_name_the_option(tmp_path: Path) -> None:
    plain = _single(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "s.tif", STACK, metadata=None)
    stack = read_image(tmp_path / "s.tif")
    for make, message in [
        (lambda: scans_from_files([plain]), r"'a.tif' is neither .* with --z"),
        (lambda: scans_from_files([plain], [1, 2]), "2 heights for 1 file"),
        (lambda: scans_from_files([stack]), "stack of 5 planes.*--planes"),
        (lambda: scans_from_stack(stack, [1]), "--z-step-um"),
        (lambda: scans_from_stack(stack, [1, 5], 0.1), "no plane 5.*0 to 4"),
        (lambda: scans_from_stack(stack, [-1], 0.1), "no plane -1"),
        (lambda: scans_from_stack(stack, [1, 1], 0.1), "named twice"),
        (lambda: scans_from_stack(stack, [1], 0), "not above 0"),
    ]:
        with pytest.raises(InputError, match=message):
            make()
