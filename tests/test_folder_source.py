"""The watched folder: scans appear once complete, never torn, never twice, never lost."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import zarr

from napari_recurrent_mz.acquisition import (
    FolderBack,
    FolderEvent,
    FolderGone,
    FolderWatch,
    LeftAlone,
    NamePattern,
    NewScan,
    watch_folder,
)
from napari_recurrent_mz.acquisition import folder as folder_module
from napari_recurrent_mz.acquisition.folder import WALK_S
from napari_recurrent_mz.core.scans import InputError, Scan, ZGrid
from napari_recurrent_mz.io import write_volume

Image = npt.NDArray[np.uint16]


def image(seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(90, 4000, (24, 20)).astype(np.uint16)


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def looks(watch: FolderWatch, clock: Clock, *, after_s: float = 1.5) -> list[FolderEvent]:
    """What two looks find, with time between them."""
    first = list(watch.poll())
    clock.now += after_s
    return [*first, *watch.poll()]


# --- the pattern ---


@pytest.mark.parametrize(
    ("pattern", "name", "height"),
    [
        ("*_z{z}um*.tif", "cell_z3um.tif", 3.0),
        ("*_z{z}um*.tif", "cell_z3.25um_GFP.tif", 3.25),
        ("*_z{z}um*.tif", "cell_z-2,5um.tif", -2.5),
        ("*_z{z}um*.tif", "cell_z+2p5um.TIF", 2.5),
        ("*_z{z}um*.tif", "cell_z\u22122.5\u00b5m.tif", -2.5),  # minus sign, micro sign
        ("*_z{z}\u00b5m*.tif", "cell_z2.5\u03bcm.tif", 2.5),  # Greek mu
        ("*_z{z}um*.tif", "a_zoom2_z3um.tif", 3.0),
        ("*_z{z}nm.tif", "cell_z1500nm.tif", 1.5),
        ("*_z{z}_nm.tif", "cell_z1500_nm.tif", 1.5),
        ("*_z{z}mm.tif", "cell_z0.012mm.tif", 12.0),
        ("s{z:nm}.tif", "s250.tif", 0.25),
        ("*_z{z}.tif", "cell_z3.5.tif", 3.5),
        ("*{z}um.tif", "a12.5um.tif", 12.5),
        ("?_{z} um.tif", "b_3 um.tif", 3.0),
        ("scan{z}um.tif", "scan-3um.tif", -3.0),
        ("scan-{z}um.tif", "scan-3um.tif", 3.0),
        ("caf\u00e9_{z}um.tif", "cafe\u0301_3um.tif", 3.0),  # letters taken apart by macOS
        ("*_z{z}um*.tif", "cell.tif", None),
        ("*_z{z}um.tif", "cell_z3nm.tif", None),
        ("z{z}?.tif", "z12.tif", None),  # a number is not cut in two to make a pattern fit
        ("a.tif", "abtif", None),
        ("GFP_*.tif", "GFP_z3um.tif", None),
    ],
)
def test_pattern_reads_heights(pattern: str, name: str, height: float | None) -> None:
    assert NamePattern(pattern).height_um(name) == height


@pytest.mark.parametrize(
    ("pattern", "name", "meant"),
    [
        ("GFP_*.tif", "GFP_z3um.tif", True),
        ("GFP_*.tif", "DAPI_z3um.tif", False),
        ("gfp_?.tif", "GFP_1.tif", True),
        ("*_z{z}um.tif", "a_z3um.tif", True),
        ("*_z{z}um.tif", "a_z3um.tif.tif", False),
    ],
)
def test_pattern_chooses_files(pattern: str, name: str, meant: bool) -> None:
    assert NamePattern(pattern).matches(name) is meant


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("  ", "empty"),
        ("*_z{height}um.tif", "'{height}'"),
        ("*_z{z:cm}.tif", "'{z:cm}'"),
        ("*_z{z", "'{z'"),
        ("*_z}.tif", "'}'"),
        ("{z}_{z}.tif", "2 heights"),
        ("day1/*_z{z}um.tif", "folder"),
    ],
)
def test_a_pattern_that_cannot_be_read_is_one_sentence(pattern: str, words: str) -> None:
    with pytest.raises(InputError, match=r"^The pattern .*\.$") as caught:
        NamePattern(pattern)
    assert words in str(caught.value)


# --- a writer that takes its time ---


def ifd_last(pixels: Image) -> bytes:
    """A little-endian TIFF as libtiff writes it: pixels first, their directory at the end."""
    data = pixels.tobytes()
    tags = [
        (256, 4, pixels.shape[1]),
        (257, 4, pixels.shape[0]),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, pixels.shape[0]),
        (279, 4, len(data)),
    ]
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory + b"\0\0\0\0"


def by_tifffile(pixels: Image, path: Path, **options: object) -> bytes:
    tifffile.imwrite(path, pixels, **options)
    return path.read_bytes()


WRITERS: dict[str, Callable[[Image, Path], bytes]] = {
    "directory first": by_tifffile,
    "directory last": lambda pixels, _path: ifd_last(pixels),
    "compressed": lambda pixels, path: by_tifffile(pixels, path, compression="zlib"),
    "OME": lambda pixels, path: by_tifffile(
        pixels, path, ome=True, metadata={"Plane": {"PositionZ": [3.0], "PositionZUnit": ["µm"]}}
    ),
}

SLOW_WRITER = """
import sys, time
whole, target, pieces = open(sys.argv[1], "rb").read(), sys.argv[2], int(sys.argv[3])
size = -(-len(whole) // pieces)
with open(target, "wb", buffering=0) as file:
    for start in range(0, len(whole), size):
        file.write(whole[start:start + size])
        time.sleep(0.25 if start == size else 0.03)
"""


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_written_slowly_elsewhere_comes_once_and_whole(writer: str, tmp_path: Path) -> None:
    """Also when it stands still, half written, for longer than a file needs to settle."""
    watched = tmp_path / "watched"
    watched.mkdir()
    (tmp_path / "whole").write_bytes(WRITERS[writer](image(), tmp_path / "made.tif"))
    stop = threading.Event()
    events = watch_folder(watched, stop=stop, interval_s=0.02, settle_s=0.1, give_up_s=60)
    command = [sys.executable, "-S", "-c", SLOW_WRITER, tmp_path / "whole"]
    with subprocess.Popen([*command, watched / "slow_z3.0um.tif", "8"]) as process:
        event = next(events)
    assert process.returncode == 0
    assert isinstance(event, NewScan)
    np.testing.assert_array_equal(event.scan.pixels, image())
    assert (event.scan.z_um, event.scan.name, event.again) == (3.0, "slow_z3.0um.tif", False)
    threading.Timer(0.3, stop.set).start()
    assert list(events) == []


@pytest.mark.parametrize("writer", WRITERS)
def test_no_cut_of_a_file_is_ever_taken(writer: str, tmp_path: Path, clock: Clock) -> None:
    """Wherever a writer stops for a while, what is there is waited for."""
    whole = WRITERS[writer](image(), tmp_path / "made.tif")
    (tmp_path / "made.tif").unlink(missing_ok=True)
    target = tmp_path / "cut_z3.0um.tif"
    # The last four bytes may be the end mark of a chain whose images are all there.
    for part in np.linspace(0, len(whole) - 5, 33).astype(int):
        target.write_bytes(whole[:part])
        assert looks(FolderWatch(tmp_path, clock=clock), clock) == [], (part, len(whole))
    target.write_bytes(whole)
    assert [type(e) for e in looks(FolderWatch(tmp_path, clock=clock), clock)] == [NewScan]


def test_a_file_is_not_read_while_it_changes(tmp_path: Path, clock: Clock) -> None:
    target = tmp_path / "a_z1.0um.tif"
    whole = by_tifffile(image(), target)
    watch = FolderWatch(tmp_path, clock=clock, settle_s=1.0)
    for _ in range(5):  # complete every time, yet touched again before it has settled
        assert list(watch.poll()) == []
        clock.now += 0.9
        target.write_bytes(whole + b"\0" * (1 + target.stat().st_size - len(whole)))
    assert looks(watch, clock, after_s=0.9) == []
    clock.now += 0.2
    assert [type(e) for e in watch.poll()] == [NewScan]


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a_z1.0um.tif"
    by_tifffile(image(0), target)
    read = folder_module.read_image
    seeds = iter([1, 2])

    def read_and_overwrite(path: Path) -> object:
        found = read(path)
        if (seed := next(seeds, None)) is not None:
            by_tifffile(image(seed), target, description="x" * seed)
        return found

    monkeypatch.setattr(folder_module, "read_image", read_and_overwrite)
    watch = FolderWatch(tmp_path, clock=clock)
    events = [e for _ in range(4) for e in looks(watch, clock)]
    assert len(events) == 1
    assert isinstance(events[0], NewScan)
    np.testing.assert_array_equal(events[0].scan.pixels, image(2))


# --- heights, and files that are no scans ---


def test_heights_come_from_metadata_then_names_or_from_the_pattern(
    tmp_path: Path, clock: Clock
) -> None:
    ome = {"Plane": {"PositionZ": [7.5], "PositionZUnit": ["µm"]}}
    by_tifffile(image(0), tmp_path / "a_z1.0um.ome.tif", ome=True, metadata=ome)
    by_tifffile(image(1), tmp_path / "b_z2.0um.tif", imagej=True)
    heights = {}
    for pattern in (None, "?_z{z}um*.tif", "*.tif"):
        watch = FolderWatch(tmp_path, pattern=pattern, clock=clock)
        found = [e.scan for e in looks(watch, clock) if isinstance(e, NewScan)]
        heights[pattern] = {scan.name[0]: scan.z_um for scan in found}
    assert heights == {
        None: {"a": 7.5, "b": 2.0},
        "?_z{z}um*.tif": {"a": 1.0, "b": 2.0},
        "*.tif": {"a": 7.5, "b": 2.0},
    }


RECORD = json.dumps({"ZPositionUm": 4812.25, "PixelSizeUm": 0.108, "Camera": "cam"})


@pytest.mark.parametrize(
    "options",
    [
        {"extratags": [(51123, 2, 0, RECORD, True)], "metadata": None},
        {"imagej": True, "metadata": {"Info": RECORD}},
        {"ome": True, "extratags": [(51123, 2, 0, RECORD, True)]},
    ],
)
def test_micro_managers_record_of_an_image_gives_its_height(
    options: dict[str, object], tmp_path: Path, clock: Clock
) -> None:
    """In a tag of its own, or in ImageJ's where images are files of their own."""
    by_tifffile(image(), tmp_path / "img_channel000_position000_time000000000_z003.tif", **options)
    (event,) = looks(FolderWatch(tmp_path, clock=clock), clock)
    assert isinstance(event, NewScan)
    assert (event.scan.z_um, event.image.pixel_um) == (4812.25, 0.108)


# --- stacks ---


def found(events: list[FolderEvent]) -> dict[str, float]:
    """Names and heights of the scans among events, in their order."""
    return {e.scan.name: e.scan.z_um for e in events if isinstance(e, NewScan)}


@pytest.mark.parametrize("ending", ["ome.tif", "ome.zarr"])
def test_a_volume_that_is_saved_where_scans_come_from_is_none_of_them(
    ending: str, tmp_path: Path, clock: Clock
) -> None:
    pytest.importorskip("torch")
    from napari_recurrent_mz.engine.to_disk import reconstruct_to

    scans = [Scan(image(0), 1.0), Scan(image(1), 3.0)]
    path = tmp_path / f"volume.{ending}"
    reconstruct_to(path, scans, ZGrid(0, 4, 1), pixel_um=0.1, method="linear")
    watch = FolderWatch(tmp_path, clock=clock)
    (said,) = [e for _ in range(9) for e in looks(watch, clock, after_s=4.0)]
    assert isinstance(said, LeftAlone)
    assert "was made from scans, and is no scan itself" in said.sentence


@pytest.mark.parametrize("ending", ["ome.tif", "ome.zarr"])
def test_every_plane_of_a_stack_is_a_scan_at_its_height(
    ending: str, tmp_path: Path, clock: Clock
) -> None:
    stack = np.stack([image(seed) for seed in range(3)])
    path = tmp_path / f"stack.{ending}"
    write_volume(path, stack.astype(np.float32), [4.0, 4.5, 5.0], 0.1, {})
    events = looks(FolderWatch(tmp_path, clock=clock), clock)
    assert found(events) == {f"{path.name} plane {n}": 4.0 + n / 2 for n in range(3)}
    for event, plane in zip(events, stack, strict=True):
        assert isinstance(event, NewScan)
        assert (event.image.pixel_um, event.again) == (0.1, False)
        np.testing.assert_array_equal(event.scan.pixels, plane)


def test_a_stack_that_grows_page_by_page_gives_its_planes_as_they_come(
    tmp_path: Path, clock: Clock
) -> None:
    watch, path = FolderWatch(tmp_path, clock=clock), tmp_path / "stack.tif"
    for number in range(3):
        record = json.dumps({"ZPositionUm": 10.0 + number, "PixelSizeUm": 0.1})
        tag = [(51123, 2, 0, record, True)]
        append = "force" if number else False
        tifffile.imwrite(path, image(number), append=append, metadata=None, extratags=tag)
        heights = list(found(looks(watch, clock)).values())
        assert heights == [10.0 + number]
    assert looks(watch, clock, after_s=60) == []


def test_an_ome_zarr_that_grows_gives_its_planes_as_they_come(tmp_path: Path, clock: Clock) -> None:
    """Its size is stated at first. A plane that stays empty is said, and taken when it comes."""
    path = tmp_path / "growing.ome.zarr"
    write_volume(path, np.ones((3, 24, 20), np.float32), [0.0, 2.0, 4.0], 0.1, {})
    planes: Any = zarr.open_group(path)["0"]
    planes[:] = 0
    watch = FolderWatch(tmp_path, clock=clock)
    for number in (0, 1):
        planes[number] = image(number)
        (event,) = looks(watch, clock)
        assert isinstance(event, NewScan)
        assert event.scan.z_um == 2.0 * number
        np.testing.assert_array_equal(event.scan.pixels, image(number))
    (said,) = [e for _ in range(9) for e in looks(watch, clock, after_s=4.0)]
    assert isinstance(said, LeftAlone)
    assert "constant" in said.sentence
    planes[2] = image(2)
    planes[0] = image(9)
    events = looks(watch, clock)
    assert [e.again for e in events if isinstance(e, NewScan)] == [True, False]
    assert list(found(events).values()) == [0.0, 4.0]


def growing(path: Path) -> Any:
    """An OME-Zarr of three planes in 27 chunks, of which the middle plane is written."""
    write_volume(path, np.ones((3, 24, 20), np.float32), [0.0, 2.0, 4.0], 0.1, {})
    shutil.rmtree(path / "0")
    planes = zarr.open_group(path).create_array(
        "0", shape=(3, 24, 20), chunks=(1, 8, 8), dtype="u2"
    )
    planes[1] = image(1)
    return planes


def test_chunks_that_are_still_to_come_are_not_called_lacking(tmp_path: Path, clock: Clock) -> None:
    planes, watch = growing(tmp_path / "a.ome.zarr"), FolderWatch(tmp_path, clock=clock)
    said: dict[float, tuple[str, ...]] = {}
    for number in (1, 0, 2):
        planes[number, : 8 * (3 - number)] = image(number)[: 8 * (3 - number)]
        events = [event for event in looks(watch, clock) if isinstance(event, NewScan)]
        said |= {event.scan.z_um: event.image.remarks for event in events}
    assert said[0.0] == said[2.0] == ()
    assert "lacks 6 of 27 chunks" in said[4.0][0]  # every plane was begun: what is missing stays so


def test_no_record_is_kept_of_an_ome_zarr_that_is_gone(tmp_path: Path, clock: Clock) -> None:
    growing(tmp_path / "a.ome.zarr")
    growing(tmp_path / "b.ome.zarr")
    watch = FolderWatch(tmp_path, clock=clock)
    assert len(found(looks(watch, clock))) == 2
    shutil.rmtree(tmp_path / "a.ome.zarr")
    assert not looks(watch, clock)
    assert set(watch._zarrs) == {"b.ome.zarr"}
    growing(tmp_path / "a.ome.zarr")
    assert not found(looks(watch, clock))  # as it was, and no scan twice


def test_chunks_written_in_place_are_seen_after_a_while(tmp_path: Path, clock: Clock) -> None:
    """No folder's time tells of them."""
    growing(tmp_path / "a.ome.zarr")
    watch = FolderWatch(tmp_path, clock=clock)
    assert list(found(looks(watch, clock)).values()) == [2.0]
    (tmp_path / "elsewhere").mkdir()
    growing(tmp_path / "elsewhere" / "a.ome.zarr")[1] = image(2)
    for chunk in tmp_path.glob("a.ome.zarr/0/c/1/*/*"):
        shutil.copyfile(tmp_path / "elsewhere" / chunk.relative_to(tmp_path), chunk)
    events = [event for _ in range(3) for event in looks(watch, clock, after_s=WALK_S / 2)]
    (scan,) = [event for event in events if isinstance(event, NewScan)]
    assert scan.again
    np.testing.assert_array_equal(scan.scan.pixels, image(2))


def test_looks_do_not_ask_for_every_chunk(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New chunks are seen by the times of their folders; those that were there are left alone."""
    planes = growing(tmp_path / "a.ome.zarr")
    watch = FolderWatch(tmp_path, clock=clock)
    assert list(found(looks(watch, clock)).values()) == [2.0]
    assert [type(e) for e in looks(watch, clock, after_s=20)] == [LeftAlone]  # two planes are empty
    asked: list[str] = []
    ask = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **how: asked.append(str(path)) or ask(path, **how))

    def chunks_asked() -> int:
        count = sum(Path(path).match("c/[0-2]/[0-2]/[0-2]") for path in asked)
        asked.clear()
        return count

    assert looks(watch, clock, after_s=WALK_S / 2) == []
    assert len(asked) > 0
    assert chunks_asked() == 0
    planes[0], planes[2] = image(0), image(2)
    asked.clear()
    assert list(watch.poll()) == []  # seen, and not yet still
    assert chunks_asked() == 18
    clock.now += 1.5
    assert list(found(list(watch.poll())).values()) == [0.0, 4.0]
    asked.clear()
    clock.now += WALK_S + 1
    assert list(watch.poll()) == []
    assert chunks_asked() == 27  # now and then each once


BAD = {
    "stack_z1.0um.tif": (np.stack([image(0), image(1)]), "stack of 2 planes"),
    "rgb_z1.0um.tif": (np.zeros((24, 20, 3), np.uint8), "RGB"),
    "flat_z1.0um.tif": (np.full((24, 20), 7, np.uint16), "constant"),
    "tiny_z1.0um.tif": (image()[:8, :8], "8 × 8"),
    "plane003.tif": (image(), "neither in its metadata nor in its name"),
}


def test_files_that_are_no_scans_are_said_once_and_left_alone(tmp_path: Path, clock: Clock) -> None:
    for name, (pixels, _) in BAD.items():
        tifffile.imwrite(tmp_path / name, pixels)
    (tmp_path / "text_z1.0um.tif").write_text("not a TIFF")
    by_tifffile(image(), tmp_path / "good_z1.0um.tif")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    watch = FolderWatch(tmp_path, clock=clock)
    events = [e for _ in range(12) for e in looks(watch, clock, after_s=5.0)]
    said = {e.path.name: e.sentence for e in events if isinstance(e, LeftAlone)}
    assert len(events) == len(said) + 1 == len(BAD) + 2
    for name, (_, words) in BAD.items():
        assert words in said[name], said[name]
        assert said[name].count(". ") == 0
        assert name in said[name]
    assert "not a TIFF" in said["text_z1.0um.tif"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_of_several_images_is_told_without_words_of_the_command_line(
    tmp_path: Path, clock: Clock
) -> None:
    pixels = np.stack([image(0), image(1)])
    tifffile.imwrite(tmp_path / "two_z1.0um.tif", pixels, imagej=True, metadata={"axes": "CYX"})
    watch = FolderWatch(tmp_path, clock=clock)
    (event,) = [e for _ in range(6) for e in looks(watch, clock, after_s=5.0)]
    assert isinstance(event, LeftAlone)
    assert event.sentence == (
        "'two_z1.0um.tif' holds several channels, time points or positions: let each be written "
        "to a file of its own."
    )


def test_a_scan_says_of_which_channel_its_file_is(tmp_path: Path, clock: Clock) -> None:
    stated = {"optics": {"na": 1.4, "wavelength_um": 0.519}}
    write_volume(tmp_path / "a_z1.0um.ome.tif", image()[None], [1.0], 0.2, stated)
    (event,) = looks(FolderWatch(tmp_path, clock=clock), clock)
    assert isinstance(event, NewScan)
    assert event.scan.acquired == {"na": 1.4, "wavelength_um": 0.519}


def test_other_files_are_passed_over_in_silence(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "metadata.txt").write_text("z = 3")
    (tmp_path / "inside.tif").mkdir()
    by_tifffile(image(), tmp_path / "._a_z1.0um.tif")
    assert looks(FolderWatch(tmp_path, clock=clock), clock)[1:] == []


def test_names_that_do_not_fit_the_pattern_are_said_once_for_all(
    tmp_path: Path, clock: Clock
) -> None:
    for number in range(3):
        by_tifffile(image(number), tmp_path / f"DAPI_z{number}um.tif")
        by_tifffile(image(number), tmp_path / f"GFP_z{number}um.tif")
    watch = FolderWatch(tmp_path, pattern="GFP_z{z}um.tif", clock=clock)
    events = [e for _ in range(3) for e in looks(watch, clock)]
    said = [e.sentence for e in events if isinstance(e, LeftAlone)]
    assert said == [
        "'DAPI_z0um.tif' does not fit the pattern 'GFP_z{z}um.tif': it is left alone, as are all "
        "others that do not."
    ]
    assert [e.scan.z_um for e in events if isinstance(e, NewScan)] == [0.0, 1.0, 2.0]


def test_a_damaged_file_is_said_after_a_while_and_taken_once_it_is_whole(
    tmp_path: Path, clock: Clock
) -> None:
    target = tmp_path / "a_z1.0um.tif"
    whole = by_tifffile(image(), target)
    target.write_bytes(whole[:-100])
    watch = FolderWatch(tmp_path, clock=clock, settle_s=1.0, give_up_s=10.0)
    quiet = [e for _ in range(9) for e in looks(watch, clock, after_s=1.0)]
    assert quiet == []
    said = [e for _ in range(9) for e in looks(watch, clock, after_s=2.0)]
    assert [type(e) for e in said] == [LeftAlone]
    assert "damaged or cut short" in said[0].sentence
    target.write_bytes(whole)
    assert [type(e) for e in looks(watch, clock)] == [NewScan]


def test_a_reader_that_stumbles_does_not_end_the_watch(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_tifffile(image(), tmp_path / "a_z1.0um.tif")
    monkeypatch.setattr(folder_module, "read_image", lambda _path: {}["no such key"])
    watch = FolderWatch(tmp_path, clock=clock)
    events = [e for _ in range(9) for e in looks(watch, clock, after_s=4.0)]
    assert [e.sentence for e in events if isinstance(e, LeftAlone)] == [
        "'a_z1.0um.tif' cannot be read (KeyError): save it again as TIFF."
    ]


# --- what comes again, what was there, what goes away ---


def test_a_rewritten_file_comes_again_when_it_shows_something_else(
    tmp_path: Path, clock: Clock
) -> None:
    target = tmp_path / "a_z1.0um.tif"
    by_tifffile(image(0), target)
    watch = FolderWatch(tmp_path, clock=clock)
    assert len(looks(watch, clock)) == 1
    os.utime(target, ns=(1, 1))  # touched
    by_tifffile(image(0), target, description="the same pixels, another header")
    assert looks(watch, clock) == []
    by_tifffile(image(1), target)
    (again,) = looks(watch, clock)
    assert isinstance(again, NewScan)
    assert again.again
    np.testing.assert_array_equal(again.scan.pixels, image(1))


@pytest.mark.parametrize("existing", [True, False])
def test_what_was_there_before_comes_if_it_is_wanted(
    existing: bool, tmp_path: Path, clock: Clock
) -> None:
    by_tifffile(image(0), tmp_path / "old_z1.0um.tif")
    half = tmp_path / "half_z2.0um.tif"
    whole = by_tifffile(image(1), half)
    half.write_bytes(whole[: len(whole) // 2])  # begun before the watch, finished during it
    watch = FolderWatch(tmp_path, existing=existing, clock=clock)
    names = [e.scan.name for e in looks(watch, clock) if isinstance(e, NewScan)]
    assert names == (["old_z1.0um.tif"] if existing else [])
    half.write_bytes(whole)
    by_tifffile(image(2), tmp_path / "new_z3.0um.tif")
    later = [e.scan.name for e in looks(watch, clock) if isinstance(e, NewScan)]
    assert sorted(later) == ["half_z2.0um.tif", "new_z3.0um.tif"]


def test_files_come_in_the_order_they_were_written(tmp_path: Path, clock: Clock) -> None:
    for number, name in enumerate("cab"):
        by_tifffile(image(number), tmp_path / f"{name}_z{number}.0um.tif")
        os.utime(tmp_path / f"{name}_z{number}.0um.tif", (number, number))
    scans = [e.scan for e in looks(FolderWatch(tmp_path, clock=clock), clock)]
    assert [scan.z_um for scan in scans] == [0.0, 1.0, 2.0]


def test_a_folder_that_disappears_is_said_once_and_goes_on_when_it_is_back(
    tmp_path: Path, clock: Clock
) -> None:
    folder, away = tmp_path / "run", tmp_path / "away"
    folder.mkdir()
    by_tifffile(image(0), folder / "a_z1.0um.tif")
    watch = FolderWatch(folder, clock=clock)
    assert len(looks(watch, clock)) == 1
    shutil.move(folder, away)
    (gone,) = looks(watch, clock) + looks(watch, clock)
    assert isinstance(gone, FolderGone)
    assert str(folder) in gone.sentence
    by_tifffile(image(1), away / "b_z2.0um.tif")
    shutil.move(away, folder)
    back, new = looks(watch, clock)
    assert isinstance(back, FolderBack)
    assert isinstance(new, NewScan)
    assert new.scan.name == "b_z2.0um.tif"


def test_a_file_that_vanishes_before_it_is_read_is_forgotten(tmp_path: Path, clock: Clock) -> None:
    target = tmp_path / "a_z1.0um.tif"
    target.write_bytes(by_tifffile(image(), target)[:-50])
    watch = FolderWatch(tmp_path, clock=clock)
    assert looks(watch, clock) == []
    target.unlink()
    assert [e for _ in range(9) for e in looks(watch, clock, after_s=3.0)] == []


def test_a_missing_folder_is_one_sentence_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^The folder .*none.* does not exist.*\.$"):
        watch_folder(tmp_path / "none")
    with pytest.raises(InputError, match="says nothing"):
        watch_folder(tmp_path, pattern="{x}")


def test_a_folder_that_may_not_be_read_is_one_sentence_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\): .*\.$"):
        watch_folder(tmp_path)


def test_the_watch_ends_when_told_to(tmp_path: Path) -> None:
    stop = threading.Event()
    events = watch_folder(tmp_path, stop=stop, interval_s=60)
    threading.Timer(0.1, stop.set).start()
    assert list(events) == []


def test_what_came_between_the_call_and_the_first_look_is_new(tmp_path: Path) -> None:
    by_tifffile(image(0), tmp_path / "old_z1.0um.tif")
    events = watch_folder(tmp_path, existing=False, interval_s=0.01, settle_s=0.02)
    by_tifffile(image(1), tmp_path / "new_z2.0um.tif")
    event = next(events)
    assert isinstance(event, NewScan)
    assert event.scan.name == "new_z2.0um.tif"
