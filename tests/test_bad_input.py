"""Every mistake that can reach the command line: one clear line, status 1, nothing lost."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile

from napari_recurrent_mz.cli import main

STACK = np.random.default_rng(2).integers(100, 4000, (6, 24, 32)).astype(np.uint16)
FULL = (
    *("--pixel-um", "0.1", "--na", "1.2", "--wavelength-um", "0.5", "--immersion-index", "1.33"),
    *("--grid", "0:5:1", "--method", "linear", "-o", "out.tif"),
)


def write(name: str, data: np.ndarray, **options: object) -> None:
    tifffile.imwrite(name, data, **{"metadata": None, **options})


def ome(name: str, data: np.ndarray, axes: str, **more: object) -> None:
    tifffile.imwrite(name, data, ome=True, metadata={"axes": axes, **more})


def with_pixel(value: float) -> np.ndarray:
    image = STACK[0].astype(np.float32)
    image[3, 4] = value
    return image


def cut_short(name: str, data: np.ndarray, **options: object) -> None:
    write(name, data, **options)
    whole = Path(name).read_bytes()
    Path(name).write_bytes(whole[: len(whole) * 2 // 3])


def other_weights() -> None:
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(3, np.float32)}, "other.safetensors")
    Path("text.safetensors").write_text("no weights at all")
    Path("pickled.pt").write_bytes(b"\x80\x04N.")


class Bad(NamedTuple):
    """A mistake: what is on disk, what is typed, what is answered."""

    name: str
    argv: tuple[str, ...]
    says: str
    make: Callable[[], object] = lambda: None


RECONSTRUCT = ("reconstruct", "a.tif", "b.tif", "--z", "1", "3")
NETWORK = (*RECONSTRUCT, *FULL, "--method", "recurrent-mz", "--model")
PLANES = ("reconstruct", "s.tif", "--planes", "1", "4")


def one_bad_file(name: str, says: str, make: Callable[[], object]) -> Bad:
    return Bad(name, ("reconstruct", "a.tif", "bad.tif", "--z", "1", "3", *FULL), says, make)


TABLE = [
    # what is missing
    Bad("no z", ("reconstruct", "a.tif", "b.tif", *FULL), "give the heights of all files .* --z"),
    Bad(
        "z not a number", ("reconstruct", "a.tif", "b.tif", "--z", "nan", "1", *FULL), "z position"
    ),
    Bad("too few z", ("reconstruct", "a.tif", "b.tif", "--z", "1", *FULL), "1 height for 2 files"),
    Bad("no z step", (*PLANES, *FULL), "'s.tif' .* with --z-step-um"),
    Bad("z step nil", (*PLANES, "--z-step-um", "0", *FULL), "correct --z-step-um"),
    Bad(
        "no pixel size",
        (*RECONSTRUCT, "--grid", "0:5:1", "--method", "linear", "-o", "out.tif"),
        "pixel size .* --pixel-um",
    ),
    Bad(
        "no optics",
        (*RECONSTRUCT, "--pixel-um", "0.1", "--na", "1", "--method", "lmmse", "-o", "out.tif"),
        "wavelength and refractive index .* are not .* as --wavelength-um .*--immersion-index",
    ),
    Bad(
        "no NA",
        (*RECONSTRUCT, "--pixel-um", "0.1", "--method", "lmmse", "-o", "out.tif"),
        "numerical aperture.* --na",
    ),
    Bad("missing file", ("reconstruct", "a.tif", "c.tif", *FULL), "'c.tif' does not exist"),
    Bad("folder", ("reconstruct", "a.tif", ".", *FULL), "is a folder"),
    Bad("no name", ("reconstruct", "a" * 300, *FULL), "'a+' cannot be used .File name too long"),
    # scans that do not make a set
    Bad("one file", ("reconstruct", "a.tif", "--z", "1", *FULL), "One scan only"),
    Bad(
        "one plane",
        ("reconstruct", "s.tif", "--planes", "1", "--z-step-um", "1", *FULL),
        "One scan only",
    ),
    Bad("z in m", ("reconstruct", "a.tif", "b.tif", "--z", "2e-6", "5e-6", *FULL), "are in µm"),
    Bad(
        "grid in m",
        (*RECONSTRUCT, *FULL, "--grid", "1e-6:3e-6:1e-7"),
        "z-step of the target grid is 1e-07 µm, .* in µm .not mm or m",
    ),
    Bad("same z", ("reconstruct", "a.tif", "b.tif", "--z", "2", "2", *FULL), "both at z = 2 µm"),
    Bad(
        "same image",
        ("reconstruct", "a.tif", "b.tif", "a.tif", "--z", "2", "4", "6", *FULL),
        "Scans 'a.tif' and 'a.tif' have the very same pixels, but z = 2 and 6 µm",
    ),
    Bad(
        "not ours",
        (*RECONSTRUCT, *FULL[:-2], "-o", "raw.ome.tif"),
        "'raw.ome.tif' is there already and was not written by this program",
        lambda: ome("raw.ome.tif", STACK, "ZYX"),
    ),
    one_bad_file(
        "shapes", "all scans must show the same field", lambda: write("bad.tif", STACK[0, :20])
    ),
    Bad("plane not there", (*PLANES, "9", "--z-step-um", "1", *FULL), "no plane 9.*0 to 5"),
    Bad("plane twice", (*PLANES, "4", "--z-step-um", "1", *FULL), "named twice"),
    Bad("stack without planes", ("reconstruct", "s.tif", *FULL), "choose its scans with --planes"),
    Bad(
        "stack among images",
        ("reconstruct", "a.tif", "s.tif", "--z", "1", "3", *FULL),
        "is a stack",
    ),
    Bad(
        "planes of two files",
        ("reconstruct", "a.tif", "b.tif", "--planes", "1", "2", *FULL),
        "--planes chooses planes of one stack",
    ),
    # images that are no scan
    one_bad_file(
        "rgb",
        "'bad.tif' is an RGB image",
        lambda: write("bad.tif", np.zeros((24, 32, 3), np.uint8), photometric="rgb"),
    ),
    one_bad_file("mask", "'bad.tif' .* as masks do", lambda: write("bad.tif", STACK[0] > 999)),
    one_bad_file("channels", "has 2 channels", lambda: ome("bad.tif", STACK[:2], "CYX")),
    one_bad_file(
        "time", "has 6 time points: choose one with --time", lambda: ome("bad.tif", STACK, "TYX")
    ),
    one_bad_file(
        "nan", "'bad.tif' has 1 pixel that is NaN", lambda: write("bad.tif", with_pixel(np.nan))
    ),
    one_bad_file("infinite", "NaN or infinite", lambda: write("bad.tif", with_pixel(np.inf))),
    one_bad_file(
        "constant", "'bad.tif' is constant", lambda: write("bad.tif", np.full_like(STACK[0], 7))
    ),
    one_bad_file("tiny", "at least 16 × 16", lambda: write("bad.tif", STACK[0, :8, :8])),
    one_bad_file("text", "'bad.tif' is not a TIFF", lambda: Path("bad.tif").write_text("hello")),
    one_bad_file("empty", "'bad.tif' is empty, 0 bytes: ", lambda: Path("bad.tif").touch()),
    one_bad_file(
        "cut", "'bad.tif' is damaged or cut short", lambda: cut_short("bad.tif", STACK[0])
    ),
    one_bad_file(
        "cut stack",
        "'bad.tif' is damaged or cut short",
        lambda: cut_short("bad.tif", STACK, imagej=True, metadata={"axes": "ZYX"}),
    ),
    one_bad_file(
        "oblong pixels",
        "resample it to square pixels",
        lambda: ome("bad.tif", STACK[0], "YX", PhysicalSizeX=0.1, PhysicalSizeY=0.2),
    ),
    Bad(
        "pixels differ",
        ("reconstruct", "p.tif", "q.tif", "--z", "1", "3", *FULL[2:]),
        "0.1 in 'p.tif' but 0.2 in 'q.tif'.*--pixel-um",
        lambda: [
            ome(n, plane, "YX", PhysicalSizeX=size, PhysicalSizeY=size)
            for n, plane, size in (("p.tif", STACK[0], 0.1), ("q.tif", STACK[1], 0.2))
        ],
    ),
    Bad(
        "mask",
        ("reconstruct", "a.tif", "m.tif", "--z", "1", "3", *FULL),
        r"'m.tif' holds two values only \(0 and 255\), as masks do",
        lambda: write("m.tif", np.pad(np.full((9, 9), 255, np.uint8), ((5, 10), (11, 12)))),
    ),
    Bad(
        "pixels of the field",
        (
            *("surface", "a.tif", "b.tif", "--z", "1", "3", *FULL[:8], "--method", "linear"),
            *("--through", "1,0,0", "2,0,1300", "3,1300,600", "-o", "out.tif"),
        ),
        "The point .* lies far outside of the field",
    ),
    # grids
    Bad("empty grid", (*RECONSTRUCT, *FULL, "--grid", ""), "is not START:STOP:STEP"),
    Bad("grid in words", (*RECONSTRUCT, *FULL, "--grid", "all"), "is not START:STOP:STEP"),
    Bad("grid of two", (*RECONSTRUCT, *FULL, "--grid", "0:10"), "is not START:STOP:STEP"),
    Bad("no step", (*RECONSTRUCT, *FULL, "--grid", "0:10:0"), "must be above 0"),
    Bad("backwards", (*RECONSTRUCT, *FULL, "--grid", "5:0:1"), "runs backwards"),
    Bad("below and backwards", (*RECONSTRUCT, *FULL, "--grid", "-1:-5:1"), "runs backwards"),
    Bad("a million planes", (*RECONSTRUCT, *FULL, "--grid", "0:1000:0.001"), "1,000,001 planes"),
    Bad("endless", (*RECONSTRUCT, *FULL, "--grid", "0:inf:1"), "not a finite number"),
    # optics
    Bad("NA above index", (*RECONSTRUCT, *FULL, "--na", "1.5"), "not below the refractive index"),
    Bad("wavelength in nm", (*RECONSTRUCT, *FULL, "--wavelength-um", "520"), "outside 0.2 to 2"),
    Bad("pixel below 0", (*RECONSTRUCT, *FULL, "--pixel-um", "-1"), "pixel size -1 is outside"),
    # weights
    Bad(
        "weights of others",
        (*NETWORK, "other.safetensors"),
        "'other.safetensors' is not a Rec",
        other_weights,
    ),
    Bad(
        "text for weights",
        (*NETWORK, "text.safetensors"),
        "'text.safetensors' is not a Rec",
        other_weights,
    ),
    Bad("pickle for weights", (*NETWORK, "pickled.pt"), "'pickled.pt' is not a Rec", other_weights),
    Bad("no such weights", (*NETWORK, "nowhere"), "There is no model 'nowhere'"),
    # results
    Bad("onto an input", (*RECONSTRUCT, *FULL, "-o", "a.tif"), "is one of the input files"),
    Bad(
        "numbers onto an input",
        ("evaluate", "s.tif", "--planes", "1", "4", "--z-step-um", "1", "--json", "./s.tif"),
        "'s.tif' is one of the input files: choose another name for --json",
    ),
    Bad(
        "a table onto an input",
        ("prepare", "align", "s.tif", "-o", "out.tif", "--csv", "s.tif"),
        "'s.tif' is one of the input files: choose another name for --csv",
    ),
    Bad(
        "two results of one name",
        ("prepare", "edf", "s.tif", "-o", "out.tif", "--heights", "./out.tif"),
        "'out.tif' is what both --output and --heights write",
    ),
    Bad(
        "a sample and its confocal image of one name",
        ("simulate", "stack", "nuclei", "-o", "out.ome.tif", "--confocal", "out.ome.tif"),
        "'out.ome.tif' is what both",
    ),
    Bad("unknown format", (*RECONSTRUCT, *FULL, "-o", "out.png"), "end it in .ome.tif"),
    Bad(
        "no such folder", (*RECONSTRUCT, *FULL, "-o", "no/out.tif"), "'no' for the result does not"
    ),
    Bad(
        "no name for a result",
        (*RECONSTRUCT, *FULL, "-o", "o" * 300 + ".tif"),
        "could not be written: File name too long",
    ),
    # evaluate
    Bad(
        "evaluate one image",
        ("evaluate", "a.tif", "--planes", "0", "1", "--z-step-um", "1"),
        "no plane 1",
    ),
    Bad(
        "evaluate magic",
        (
            "evaluate",
            "s.tif",
            "--planes",
            "1",
            "4",
            "--z-step-um",
            "1",
            "--methods",
            "magic",
            *FULL[:8],
        ),
        "'magic' is unknown",
    ),
    Bad(
        "evaluate nan",
        (
            *("evaluate", "bad.tif", "--planes", "0", "4", "--z-step-um", "1"),
            *("--methods", "linear", *FULL[:8]),
        ),
        "'bad.tif' has 1 pixel that is NaN",
        lambda: write("bad.tif", np.stack([*STACK[:2], with_pixel(np.nan), *STACK[3:]])),
    ),
    Bad("evaluate without planes", ("evaluate", "s.tif"), "choose its scans with --planes"),
    Bad(
        "json nowhere",
        (
            *("evaluate", "s.tif", "--planes", "1", "4", "--z-step-um", "1", *FULL[:8]),
            *("--methods", "linear", "--json", "no/out.json"),
        ),
        "The folder of 'no/out.json' does not exist",
    ),
    # the other commands
    Bad("simulate magic", ("simulate", "stack", "magic", "-o", "out.tif"), "'magic' is unknown"),
    Bad("demo nowhere", ("demo", "--no-show", "-o", "no/out.tif"), "does not exist"),
    Bad(
        "train on nothing",
        ("train", "run", "--fields", "nowhere", "--held-out", "."),
        "make fields with recurrent-mz simulate fields",
    ),
    Bad(
        "train into a pickle",
        ("train", "run", "--fields", ".", "--held-out", ".", "-o", "w.pt"),
        "must end in .safetensors",
    ),
    Bad(
        "no name for results",
        ("batch", "s.tif", "-o", "o" * 300),
        "o' cannot be used .File name too long",
    ),
    Bad(
        "fields in a file",
        ("simulate", "fields", "a.tif/pool", "--count", "1", "--device", "cpu"),
        "'pool' could not be written: the folder is missing",
    ),
    Bad("no fields", ("simulate", "fields", "pool", "--count", "0"), "--count is 0"),
]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("bad", TABLE, ids=[bad.name for bad in TABLE])
def test_one_line_and_nothing_lost(
    bad: Bad, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write("a.tif", STACK[0])
    write("b.tif", STACK[1])
    write("s.tif", STACK)
    bad.make()
    before = digests(tmp_path)
    status = main(list(bad.argv))
    printed = capfd.readouterr()
    assert status == 1
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("recurrent-mz: ")
    assert re.search(bad.says, line), line
    assert not re.search("Traceback|Error\\b|unexpected", line)
    assert digests(tmp_path) == before


def test_the_same_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Nothing but the one line, with the streams and the exit status that a shell sees."""
    (tmp_path / "bad.tif").write_text("hello")
    code = "import sys; from napari_recurrent_mz.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "reconstruct", "bad.tif", "-o", "out.tif"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "recurrent-mz: 'bad.tif' is not a TIFF file: give a TIFF, an OME-Zarr, or a microscope "
        "maker's file (.czi, .nd2, .lif, …)."
    ]
    whole = subprocess.run(
        [*command, "--traceback"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert whole.returncode == 1
    assert "Traceback" in whole.stderr
