"""Volumes that do not fit in memory: written plane after plane, read as far as they are needed."""

from __future__ import annotations

import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_recurrent_mz import Optics, Scan, ZGrid, load_model, reconstruct, reconstruct_to
from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.progress import Stopped
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io import (
    VolumeWriter,
    check_disk,
    read_image,
    scans_from_stack,
    write_volume,
)
from napari_recurrent_mz.networks import inputs
from napari_recurrent_mz.networks.inputs import NetworkInputs

OPTICS = Optics(na=0.8, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.2)
MADE = {"optics": OPTICS.as_dict(), "method": "linear", "note": "a < b & 'µ'"}
ENDINGS = (".ome.tif", ".ome.zarr")


def volume_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).random(shape, np.float32)


def scans() -> list[Scan]:
    return [Scan(plane, z) for z, plane in zip((0.0, 2.0), volume_of(2, 32, 40), strict=True)]


def written(path: Path, volume: np.ndarray, order: list[int]) -> Path:
    z_um = 3 + 0.5 * np.arange(len(volume))
    with VolumeWriter(path, volume.shape, z_um, 0.2) as writer:
        for index in order:
            writer[index] = volume[index]
        return writer.finish(MADE)


# --- writing ---


@pytest.mark.parametrize("ending", ENDINGS)
def test_plane_after_plane_is_what_the_volume_at_once_is(tmp_path: Path, ending: str) -> None:
    """Values to the bit, and everything that the file says, whatever the order of the planes."""
    volume = volume_of(4, 45, 1031)
    z_um = 3 + 0.5 * np.arange(4)
    at_once = read_image(write_volume(tmp_path / f"a{ending}", volume, z_um, 0.2, MADE))
    one_by_one = read_image(written(tmp_path / f"b{ending}", volume, [2, 0, 3, 1]))
    for image in (at_once, one_by_one):
        assert image.data.tobytes() == volume.tobytes()
        assert image.provenance == MADE
    for name in ("pixel_um", "z_step_um", "na", "wavelength_um", "immersion_index"):
        assert getattr(one_by_one, name) == getattr(at_once, name)
    np.testing.assert_array_equal(one_by_one.z_um, at_once.z_um)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"a{ending}", f"b{ending}"]


def test_the_ome_xml_of_both_ways_is_one(tmp_path: Path) -> None:
    volume = volume_of(3, 20, 24)
    told = []
    for name, order in (("a", None), ("b", [1, 2, 0])):
        path = tmp_path / name / "v.ome.tif"
        path.parent.mkdir()
        if order is None:
            write_volume(path, volume, 3 + 0.5 * np.arange(3), 0.2, MADE)
        else:
            written(path, volume, order)
        with tifffile.TiffFile(path) as tif:
            found = tifffile.xml2dict(tif.ome_metadata or "")["OME"]
            assert tif.series[0].axes == "ZYX"
        del found["UUID"]
        told.append(found)
    assert told[0] == told[1]


def test_the_levels_are_means_in_their_places(tmp_path: Path) -> None:
    """NGFF: a coarser level states its pixel and the centre of its first one."""
    from ome_zarr_models.v05 import Image

    volume = volume_of(2, 2051, 30)
    group = zarr.open_group(written(tmp_path / "v.ome.zarr", volume, [1, 0]), mode="r")
    levels = Image.from_zarr(group).ome_attributes.multiscales[0].datasets
    assert [group[level.path].shape for level in levels] == [
        (2, 2051, 30),
        (2, 1026, 15),
        (2, 513, 8),
    ]
    first = np.asarray(group["1"])
    np.testing.assert_allclose(
        first[:, :1025], volume[:, :2050].reshape(2, 1025, 2, 15, 2).mean((2, 4)), rtol=1e-6
    )
    np.testing.assert_allclose(first[:, 1025], volume[:, 2050].reshape(2, 15, 2).mean(2), rtol=1e-6)
    scale, shift = levels[2].coordinateTransformations
    assert scale.scale == [0.5, 0.8, 0.8]
    assert shift.translation == pytest.approx([3, 0.3, 0.3])  # the middle of pixels 0 to 3


def test_integers_keep_their_type_in_every_level(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 60_000, (1, 1100, 20), np.uint16)
    path = write_volume(tmp_path / "v.ome.zarr", counts, [0.0], 0.2, keep_type=True)
    coarse = np.asarray(zarr.open_group(path, mode="r")["1"])
    assert coarse.dtype == np.uint16
    exact = counts.reshape(1, 550, 2, 10, 2).mean((2, 4))
    np.testing.assert_allclose(coarse, exact, atol=0.5)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("how", ["error", "left"])
def test_unfinished_leaves_nothing_and_harms_nothing(tmp_path: Path, ending: str, how: str) -> None:
    volume = volume_of(3, 20, 24)
    path = written(tmp_path / f"v{ending}", volume, [0, 1, 2])
    with (
        pytest.raises(ZeroDivisionError)
        if how == "error"
        else pytest.raises(ValueError, match="1 of"),
        VolumeWriter(path, volume.shape, np.arange(3), 0.2) as writer,
    ):
        writer[0] = writer[1] = volume[2]
        if how == "error":
            raise ZeroDivisionError
        writer.finish()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    np.testing.assert_array_equal(read_image(path).data, volume)


_KILLED = """
import sys, numpy as np
from napari_recurrent_mz.io import VolumeWriter
with VolumeWriter(sys.argv[1], (3, 20, 24), np.arange(3), 0.2) as writer:
    writer[0] = np.ones((20, 24))
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_killed_run_leaves_nothing_that_looks_finished(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"v{ending}"
    argv = [sys.executable, "-c", _KILLED, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"begun\n"
        run.send_signal(signal.SIGKILL)
    assert not path.exists()
    left = [p.name for p in tmp_path.iterdir()]
    assert all(name.startswith(".recurrent-mz-") for name in left)
    for part in tmp_path.glob(".recurrent-mz-*/*.zarr"):
        with pytest.raises(InputError, match="not a complete OME-Zarr"):
            read_image(part)


# --- the disk ---


@pytest.mark.parametrize("ending", ENDINGS)
def test_too_small_a_disk_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    free = SimpleNamespace(free=6_800_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: free)
    if ending == ".ome.tif":  # 101 · 4096 · 4096 · 4 bytes = 6.778 GB, and no levels
        free.free = 6_790_000_000
    with pytest.raises(
        InputError, match=r"'v.ome.* may need (9\.1|6\.83) GB but its disk has 6\.(8|79) GB"
    ):
        check_disk(tmp_path / f"v{ending}", (101, 4096, 4096))
    argv = ["reconstruct", str(tmp_path / "s.tif"), "--planes", "0", "2", "--z-step-um", "1"]
    tifffile.imwrite(tmp_path / "s.tif", volume_of(5, 32, 40), metadata=None)
    free.free = 1_000_000
    argv += ["--method", "linear", "--pixel-um", "0.2", "-o", str(tmp_path / f"v{ending}")]
    assert main(argv) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["s.tif"]


_REFUSED = """
import resource, signal, sys, numpy as np
from napari_recurrent_mz.io import VolumeWriter
from napari_recurrent_mz.core.scans import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
noise = np.random.default_rng(0).random((600, 600), np.float32)
try:
    with VolumeWriter(sys.argv[1], (2, 600, 600), np.arange(2), 0.2) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        writer[0] = noise
        writer[1] = noise
        writer.finish()
except InputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a POSIX system")
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_disk_that_refuses_is_one_sentence(tmp_path: Path, ending: str) -> None:
    """The system itself refuses to let a file grow, as it does on a full disk."""
    argv = [sys.executable, "-c", _REFUSED, str(tmp_path / f"v{ending}")]
    found = subprocess.run(argv, capture_output=True, text=True, check=True)
    sentence = "could not be written: File too large; choose another place.\n"
    assert found.stdout == f"'v{ending}' {sentence}"
    assert list(tmp_path.iterdir()) == []


# --- from scans to a file ---


@pytest.mark.parametrize("method", ["linear", "lmmse"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_reconstruct_to_writes_what_reconstruct_returns(
    tmp_path: Path, ending: str, method: str
) -> None:
    grid, told = ZGrid(0, 3, 0.5), []
    path = reconstruct_to(
        tmp_path / f"v{ending}", scans(), grid, optics=OPTICS, method=method,
        on_progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    image = read_image(path)
    np.testing.assert_array_equal(
        image.data, reconstruct(scans(), grid, optics=OPTICS, method=method)
    )
    assert told == [(n, 7) for n in range(1, 8)]
    assert image.provenance["method"] == method
    assert image.provenance["measured_planes"] == [0, 4]
    assert (image.pixel_um, image.z_step_um) == (0.2, 0.5)


@pytest.mark.parametrize("ending", ENDINGS)
def test_reconstruct_to_keeps_the_place_of_scans_that_are_read_from_files(
    tmp_path: Path, ending: str
) -> None:
    place_um, stack = (12.5, -3.0), volume_of(5, 32, 40)
    about = 0.5 * np.arange(5), 0.2, {"note": "of this package, where Position is a place"}
    source = write_volume(tmp_path / f"in{ending}", stack, *about, origin_um=place_um)
    scans_read = scans_from_stack(read_image(source), [0, 4])
    assert scans_read[0].place_um == place_um
    path = tmp_path / "v.ome.zarr"
    reconstruct_to(path, scans_read, ZGrid(0, 2, 0.5), pixel_um=0.2, method="linear")
    group = zarr.open_group(path, mode="r")
    ome: Any = group.attrs["ome"]
    _, moved = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    np.testing.assert_allclose(moved["translation"], (0.0, *place_um))


@pytest.mark.parametrize("place", ["far", [1.0], [float("nan"), 0.0], [None, None], 3])
def test_a_place_that_is_none_is_the_origin(place: Any) -> None:
    assert Scan(volume_of(1, 32, 40)[0], 0.0, "s", {"origin_um": place}).place_um == (0.0, 0.0)


def test_a_volume_never_is_in_memory(tmp_path: Path) -> None:
    """101 planes of 1 MB go to the disk, a few of them are in memory at a time."""
    pair = [Scan(p, z) for z, p in zip((0.0, 2.0), volume_of(2, 512, 512), strict=True)]
    reconstruct_to(tmp_path / "warm.ome.zarr", pair, ZGrid(0, 2, 1), pixel_um=0.2, method="linear")
    tracemalloc.start()
    reconstruct_to(tmp_path / "v.ome.zarr", pair, ZGrid(0, 2, 0.02), pixel_um=0.2, method="linear")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6 < 101 * 512 * 512 * 4


def test_mistakes_on_the_way_to_a_file(tmp_path: Path) -> None:
    grid = ZGrid(0, 2, 1)
    with pytest.raises(InputError, match="needs the pixel size"):
        reconstruct_to(tmp_path / "v.ome.zarr", scans(), grid, method="linear")
    with pytest.raises(InputError, match="does not exist"):
        reconstruct_to(tmp_path / "no" / "v.ome.zarr", scans(), grid, optics=OPTICS)
    with pytest.raises(Stopped):
        reconstruct_to(
            tmp_path / "v.ome.zarr", scans(), grid, optics=OPTICS, method="linear",
            stopped=lambda: True,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


# --- reading ---


def test_only_the_planes_of_a_large_tiff_that_are_needed_are_read(tmp_path: Path) -> None:
    """101 planes of 4096 × 4096, of which 3 take memory."""
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, shape=(101, 4096, 4096), dtype=np.uint16, photometric="minisblack")
    tracemalloc.start()
    image = read_image(path, [0, 50, 100])
    planes = [image.stack[p] for p in (0, 50, 100)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image.n_planes == 101
    assert {plane.shape for plane in planes} == {(4096, 4096)}
    assert 3 * 4096**2 * 2 <= peak < 3.5 * 4096**2 * 2


@pytest.mark.parametrize("ending", ENDINGS)
def test_planes_that_are_not_needed_may_be_unreadable(tmp_path: Path, ending: str) -> None:
    volume = volume_of(6, 32, 40)
    path = write_volume(tmp_path / f"s{ending}", volume, 0.5 * np.arange(6), 0.2)
    for chunk in path.glob("0/c/[023]/0/0"):
        chunk.write_bytes(b"no longer what was written")
    argv = ["reconstruct", str(path), "--planes", "1", "5", "--grid", "0.5:2.5:1"]
    output = tmp_path / "v.ome.zarr"
    assert main([*argv, "--method", "linear", "-o", str(output)]) == 0
    np.testing.assert_array_equal(read_image(output).data[[0, 2]], volume[[1, 5]])
    if ending == ".ome.zarr":
        with pytest.raises(InputError, match="not a complete OME-Zarr"):
            read_image(path)


# --- the network's input ---


@pytest.mark.parametrize("name", ["recurrent-mz", "recurrent-mz-plus"])
def test_the_input_of_a_window_is_that_part_of_the_whole(name: str) -> None:
    """Within rounding, at every edge: what neighbours are looked at, a window has too."""
    three = [Scan(p, z) for z, p in zip((0.0, 2.0, 3.0), volume_of(3, 70, 60), strict=True)]
    fed = NetworkInputs(three, OPTICS, load_model(name).network.config)
    tilted = np.linspace(0.5, 2.5, 60) * np.ones((70, 1))
    for z_um in (1.3, tilted):
        whole, parts = fed.at(z_um), fed.parts(z_um)
        for rows in (slice(0, 32), slice(3, 41), slice(32, 70)):
            window = parts.window(rows, slice(16, 60))
            for part, of_whole in zip(window, whole, strict=True):
                expected = of_whole[..., rows, 16:]
                np.testing.assert_allclose(part, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["recurrent-mz", "recurrent-mz-plus", "deep-z"])
def test_the_input_of_planes_made_together_is_that_of_each(name: str) -> None:
    three = [Scan(p, z) for z, p in zip((0.0, 2.0, 3.0), volume_of(3, 50, 44), strict=True)]
    fed = NetworkInputs(three, OPTICS, load_model(name).network.config)
    heights = [0.3, 1.3, 2.9]
    together = fed.at(np.array(heights), first=1)
    for parts, *each in zip(together, *(fed.at(z, first=1) for z in heights), strict=True):
        np.testing.assert_allclose(parts, np.concatenate(each), rtol=1e-5, atol=1e-5)


def test_the_input_is_the_same_made_some_rows_at_a_time_and_in_memory_used_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    three = [Scan(p, z) for z, p in zip((0.0, 2.0, 3.0), volume_of(3, 70, 60), strict=True)]
    made = NetworkInputs(three, OPTICS, load_model(None).network.config)
    whole = made.at(1.3)
    before = [part.clone() for part in whole]
    monkeypatch.setattr(inputs, "_ROWS", 9)
    pieces = made.at(1.3)
    again = made.parts(1.3, over=made.parts(2.4)).window(over=made.parts(2.4).window())
    narrow = made.parts(2.4).window(slice(0, 20))
    other = made.parts(1.3).window(over=narrow)  # of another size
    for number, expected in enumerate(before):
        for found in (pieces, again, other, whole):
            np.testing.assert_allclose(found[number], expected, rtol=1e-5, atol=1e-5)
    assert again.scans.data_ptr() != pieces.scans.data_ptr()
