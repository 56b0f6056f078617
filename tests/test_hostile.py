"""Damaged files, files that claim what no file has, and full disks: one sentence, nothing lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies

import files
import hostile
from napari_recurrent_mz import Optics, Scan, Session, ZGrid
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.engine.session import save
from napari_recurrent_mz.io import (
    read_image,
    write_json,
    write_surface,
    write_table,
    write_volume,
)
from napari_recurrent_mz.measure.plots import save_figure
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import save_model
from napari_recurrent_mz.training.fields import PoolConfig, make_fields

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the reader counts its memory in /proc"
)
Made = Callable[[Path], object]
HANGS_S = 120.0  # whatever else the machine does


@pytest.fixture(scope="module")
def reader() -> Iterator[hostile.Reader]:
    made = hostile.Reader(HANGS_S)
    yield made
    made.close()


def test_whatever_is_damaged_is_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    """Twelve files of every kind; ``python tests/hostile.py --count 10000`` tries more."""
    wrong = [
        outcome
        for outcome in hostile.outcomes(12 * len(hostile.KINDS), 7, tmp_path, HANGS_S)
        if outcome[1] not in hostile.GOOD
    ]
    assert not wrong


def ome(pattern: str, value: str) -> Made:
    def make(path: Path) -> None:
        files.change_xml(files.write_ome(path), lambda xml: re.sub(pattern, value, xml))

    return make


def zarr(inside: str, change: Callable[[dict[str, Any]], object]) -> Made:
    def make(path: Path) -> None:
        hostile.make_zarr(path)
        about = path / inside / "zarr.json"
        values = json.loads(about.read_text())
        change(values)
        about.write_text(json.dumps(values))

    return make


def multiscales(values: dict[str, Any]) -> Any:
    return values["attributes"]["ome"]["multiscales"][0]


def in_chunks(*shape: int) -> Made:
    return zarr("0", lambda v: v["chunk_grid"]["configuration"].update(chunk_shape=shape))


def scaled(scale: object) -> Made:
    def change(values: dict[str, Any]) -> None:
        multiscales(values)["datasets"][0]["coordinateTransformations"][0]["scale"] = scale

    return zarr("", change)


def in_place_of(make: Made, name: str, stand_in: Made) -> Made:
    """A folder in which something else stands where a file was."""

    def made(path: Path) -> None:
        make(path)
        (path / name).unlink()
        stand_in(path / name)

    return made


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def deep(path: Path) -> None:
    path.write_text("[" * 200_000)


def flood(path: Path) -> None:
    """A session of a few kilobytes that unpacks to a gigabyte."""
    hostile.make_session(path)
    with zipfile.ZipFile(path) as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}
    index = whole.pop("session.json").rstrip()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in whole.items():
            archive.writestr(name, content, zipfile.ZIP_STORED)
        for name, begin, end in (
            ("session.json", index[:-1], b"}"),
            ("scans/more.ome.tif", b"", b""),
        ):
            with archive.open(name, "w", force_zip64=True) as stream:
                stream.write(begin)
                for _ in range(1024):
                    stream.write(b" " * 2**20)
                stream.write(end)


HOSTILE: dict[str, tuple[str, Made, str]] = {
    **{
        f"{size}.ome.tif": ("image", ome(rf'{size}="\d+"', f'{size}="2000000000"'), "no image has")
        for size in ("SizeX", "SizeY", "SizeZ", "SizeC", "SizeT", "PlaneCount")
    },
    "pipe.tif": ("image", os.mkfifo, "a pipe or a device"),
    "pipe.rmz.zip": ("session", os.mkfifo, "a pipe or a device"),
    "pipe.safetensors": ("weights", os.mkfifo, "There is no model"),
    "endless.tif": ("image", endless, "a pipe or a device"),
    "endless.rmz.zip": ("session", endless, "a pipe or a device"),
    "two-axes.ome.zarr": (
        "image", zarr("", lambda v: multiscales(v).update(axes=multiscales(v)["axes"][:2])), "",
    ),
    "scale.ome.zarr": ("image", scaled(3), "is not a complete OME-Zarr"),
    "nothing-in-a-chunk.ome.zarr": ("image", in_chunks(0, 0, 0), "damaged"),
    "large-chunks.ome.zarr": ("image", in_chunks(2**20, 2**20, 2**10), ""),
    "large.ome.zarr": ("image", zarr("0", lambda v: v.update(shape=[2**31] * 3)), ""),
    "pipe.ome.zarr": (
        "image", in_place_of(hostile.make_zarr, "zarr.json", os.mkfifo), "no OME-Zarr",
    ),
    "endless.ome.zarr": (
        "image", in_place_of(hostile.make_zarr, "zarr.json", endless), "no OME-Zarr",
    ),
    "deep.ome.zarr": ("image", in_place_of(hostile.make_zarr, "zarr.json", deep), "OME-Zarr"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_file_has_is_refused_before_it_costs(
    tmp_path: Path, name: str, reader: hostile.Reader
) -> None:
    kind, make, words = HOSTILE[name]
    make(tmp_path / name)
    outcome, told = reader.open(kind, tmp_path / name)
    assert (outcome, words in told) == ("refused", True), (outcome, told)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("endless.rmz", in_place_of(hostile.make_session, "session.json", endless)),
        ("pipe.rmz", in_place_of(hostile.make_session, "session.json", os.mkfifo)),
        ("deep.rmz", in_place_of(hostile.make_session, "session.json", deep)),
        ("flood.rmz.zip", flood),
    ],
)
def test_a_session_whose_index_is_no_index_opens_with_its_scans(
    tmp_path: Path, name: str, make: Made, reader: hostile.Reader
) -> None:
    make(tmp_path / name)
    assert reader.open("session", tmp_path / name) == ("read", "")


def test_an_index_of_micro_manager_that_cannot_be_true_is_refused(
    tmp_path: Path, reader: hostile.Reader
) -> None:
    path = tmp_path / "x_MMStack.ome.tif"
    planes = {0: (files.STACK, [0.4 * n for n in range(len(files.STACK))])}
    files.write_micro_manager(path, planes, count=1, summary={"Slices": 2_000_000_000})
    outcome, told = reader.open("image", path)
    assert (outcome, "Micro-Manager metadata" in told) == ("refused", True), told


@pytest.fixture
def full_disk() -> Iterator[Path]:
    """A drive of 300 kB, where the system lets us have one."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a drive")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def figure_of_noise(path: Path) -> None:
    noise = np.random.default_rng(0).random((400, 400))
    save_figure(lambda figure, _ink: figure.subplots().imshow(noise), path)


def large_weights(path: Path) -> None:
    save_model(RecurrentMZ(NetworkConfig(base_channels=12, levels=3)), {}, path)


def session_of_noise(path: Path) -> None:
    session = Session(ZGrid(0, 2, 1), optics=Optics(1.4, 0.52, 1.515, 0.13), method="lmmse")
    for z_um in (0.0, 1.0):
        noise = np.random.default_rng(int(z_um)).normal(1000, 100, (256, 256))
        session.add_scan(Scan(noise, z_um), accept_doubtful=True, refine=False)
    save(session, path)


LARGE = np.random.default_rng(0).random((8, 128, 128)).astype(np.float32)
FACE = LARGE[0].repeat(3, axis=0).repeat(3, axis=1)
WRITERS: dict[str, Made] = {
    "volume.ome.tif": lambda p: write_volume(p, LARGE, np.arange(8.0), 0.1),
    "volume.ome.zarr": lambda p: write_volume(p, LARGE, np.arange(8.0), 0.1),
    "face.ome.tif": lambda p: write_surface(p, FACE, FACE, 0.1, {}),
    "numbers.json": lambda p: write_json(p, LARGE.ravel().tolist()),
    "table.csv": lambda p: write_table(p, pd.DataFrame(LARGE.reshape(-1, 8))),
    "figure.png": figure_of_noise,
    "mine.safetensors": large_weights,
    "live.rmz": session_of_noise,
    "live.rmz.zip": session_of_noise,
}


@pytest.mark.parametrize("name", WRITERS)
def test_on_a_full_disk_nothing_is_lost_and_nothing_left(full_disk: Path, name: str) -> None:
    path = full_disk / name
    before = b"what was there"
    if name.endswith(".tif"):  # an image is replaced if it was written from here
        before = write_volume(full_disk.parent / name, FACE[None, :8, :8], [0.0], 0.1).read_bytes()
    if name.endswith(".zip"):  # and a session, if it is one
        with zipfile.ZipFile(full_disk.parent / name, "w") as archive:
            archive.writestr("session.json", "what was there")
        before = (full_disk.parent / name).read_bytes()
    for there in (False, not name.endswith((".zarr", ".rmz"))):
        if there:
            path.write_bytes(before)
        with pytest.raises(InputError, match=f"'{name}' could not be written: the disk is full"):
            WRITERS[name](path)
        assert [p.read_bytes() for p in full_disk.iterdir()] == [before] * there


def test_on_a_full_disk_no_field_is_there_in_part(full_disk: Path) -> None:
    config = PoolConfig(planes=8, size=64)  # 64 kB each
    with pytest.raises(InputError, match=r"may need .* but its disk has"):
        list(make_fields(config, full_disk / "pool", 20))
    steps = make_fields(config, full_disk / "pool", 3)
    next(steps)
    with pytest.raises(OSError, match="No space left"):  # somebody else's files
        (full_disk / "more").write_bytes(bytes(10**7))
    with pytest.raises(InputError, match=r"\.npy' could not be written: the disk is full"):
        list(steps)
    there = sorted(path.name for path in (full_disk / "pool").iterdir())
    whole = [name for name in there if name.endswith(".json")]
    assert whole
    assert there[: 2 * len(whole)] == [
        f"{name[:-5]}{ending}" for name in whole for ending in (".json", ".npy")
    ]


LETTERS = strategies.characters(exclude_characters="/\0", exclude_categories=["Cs"])


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(strategies.text(LETTERS, min_size=1, max_size=90), strategies.sampled_from(["tif", "zarr"]))
def test_a_volume_is_written_under_any_name_or_refused(name: str, ending: str) -> None:
    pixels = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.ome.{ending}"
        refused = ""
        try:
            write_volume(path, pixels, [0.0, 1.0, 2.0], 0.1)
        except InputError as error:
            refused = str(error)
        made = [one.name for one in Path(folder).iterdir()]
        assert made == ([] if refused else [path.name])
        if not refused:
            np.testing.assert_array_equal(read_image(path).data, pixels)


def test_a_name_that_no_encoding_knows_is_written_all_the_same(tmp_path: Path) -> None:
    """Linux allows any bytes in the name of a file."""
    table = pd.DataFrame({"file": ["bad\udcff.tif"]})
    assert write_table(tmp_path / "t.csv", table).read_text() == "file\nbad\\udcff.tif\n"
