"""Damaged files of every kind that can be opened, each read in a process that may fail.

    python tests/hostile.py --count 10000

prints, for each kind, how many were read, how many refused in one sentence, and how many did
anything else: another error, more than one line, no answer within 20 s, more than 1.5 GiB, or a
process that ended. ``--seed`` draws others.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

import files

PATIENCE_S = 20.0
MOST_BYTES = 3 * 2**29
GOOD = ("read", "refused")
WEIGHTS, SESSION, HEIGHTS, CONTENTS = "weights", "session", "heights", "contents"

# Reads one path after another; a line of JSON says what came of each.
READER = """
import json, sys, warnings
warnings.simplefilter("ignore")
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.engine.session import load
from napari_recurrent_mz.io import read_heights, read_image
from napari_recurrent_mz.io._parts import contents_of
from napari_recurrent_mz.networks.weights import load_model

def images(path):
    contents_of(path)
    read_image(path)

def opened(name, path):
    if name == "weights":
        load_model(path)
    elif name == "session":
        load(path)
    elif name == "heights":
        read_heights(path)
    elif name == "contents":
        contents_of(path)
    else:
        images(path)

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

print("ready", flush=True)
for line in sys.stdin:
    name, path = json.loads(line)
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")  # the peak is counted from here on
    before = peak()
    try:
        opened(name, path)
        outcome, told = "read", ""
    except InputError as error:
        told = str(error)
        outcome = "refused" if told and "\\n" not in told else "several lines"
    except MemoryError as error:
        outcome, told = "memory", repr(error)
    except BaseException as error:
        outcome, told = "other error", repr(error)
    if peak() - before > int(sys.argv[1]):
        outcome, told = "memory", f"{(peak() - before) / 2**30:.1f} GiB; {told}"
    print(json.dumps([outcome, told[:300]]), flush=True)
"""


class Reader:
    """A process that opens files; a new one stands in for one that hangs or ends."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._process: subprocess.Popen[str] | None = None

    def open(self, kind: str, path: Path) -> tuple[str, str]:
        """What came of a file, and what was said."""
        process = self._process = self._process or self._begun()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([kind, str(path)]) + "\n")
        process.stdin.flush()
        late = threading.Event()
        timer = threading.Timer(self._patience_s, lambda: (late.set(), process.kill()))
        timer.start()
        answer = process.stdout.readline()
        timer.cancel()
        if answer:
            outcome, told = json.loads(answer)
            return outcome, told
        self.close()
        return ("no answer", "") if late.is_set() else ("process ended", "")

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _begun(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", READER, str(MOST_BYTES)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process


@dataclass(frozen=True)
class Kind:
    """A way to make a file or folder that is whole, by name and by what opens it."""

    name: str
    make: Callable[[Path], object]
    opened_by: str = "image"


def make_zarr(path: Path) -> None:
    from napari_recurrent_mz.io import write_volume

    write_volume(path, files.STACK, np.arange(5) * 0.4, 0.1)


def make_session(path: Path) -> None:
    from napari_recurrent_mz import Optics, Scan, Session, ZGrid
    from napari_recurrent_mz.engine.session import save

    optics = Optics(1.4, 0.519, 1.515, 0.1)
    session = Session(ZGrid(0, 2, 0.5), optics=optics, method="lmmse")
    for plane, z_um in zip(files.STACK, (0.0, 1.0, 2.0), strict=False):
        session.add_scan(Scan(plane, z_um))
    save(session, path)


def _weights(path: Path) -> None:
    from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
    from napari_recurrent_mz.networks.weights import save_model

    save_model(RecurrentMZ(NetworkConfig(base_channels=2, levels=2)), {}, path)


def _micro_manager(path: Path) -> None:
    planes = {0: (files.STACK, [0.4 * n for n in range(len(files.STACK))])}
    files.write_micro_manager(path, planes, count=1)


KINDS = (
    Kind("stack.ome.tif", files.write_ome),
    Kind("time.ome.tif", lambda p: files.write_ome(p, files.STACK[:, None], "TZYX"), CONTENTS),
    Kind(
        "imagej.tif",
        lambda p: tifffile.imwrite(p, files.STACK, imagej=True, metadata={"axes": "ZYX"}),
    ),
    Kind("plain.tif", lambda p: tifffile.imwrite(p, files.STACK, bigtiff=True, metadata=None)),
    Kind("packed.tif", lambda p: tifffile.imwrite(p, files.STACK, compression="zlib")),
    Kind("metamorph.stk", lambda p: files.write_metamorph(p, files.STACK, 0.4, 0.1)),
    Kind("zeiss.lsm", lambda p: files.write_lsm(p, files.STACK, 0.4, 0.1)),
    Kind("x_MMStack.ome.tif", _micro_manager),
    Kind("stack.ome.zarr", make_zarr),
    Kind("live.rmz", make_session, SESSION),
    Kind("live.rmz.zip", make_session, SESSION),
    Kind("mine.safetensors", _weights, WEIGHTS),
    Kind("heights.tif", lambda p: tifffile.imwrite(p, np.ones((20, 24), np.float32)), HEIGHTS),
)

ODD = ("-1", "0", "1e308", "99999999999", "NaN", "inf", "", "x", "4294967295", "1e-308", "µ" * 9)
ODD_JSON = ("-1", "0", "1e999", "99999999999", "NaN", "null", "[]", "{}", '"x"', "true", "[" * 5000)


def damaged(whole: bytes, name: str, rng: np.random.Generator) -> bytes:
    """The bytes of a file with something changed in them."""
    ways = [_flipped, _flipped, _cut, _overwritten, _inserted]
    if name.endswith((".json", ".ome")) or b"<OME" in whole or b'"card"' in whole:
        ways += [_odd_value] * 4
    return ways[rng.integers(len(ways))](whole, rng)


def _flipped(whole: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(whole)
    for _ in range(rng.integers(1, 9)):
        near = rng.random() < 0.6  # where headers are
        place = rng.integers(min(500, len(whole))) if near else rng.integers(len(whole))
        changed[int(place)] = int(rng.choice([0, 1, 127, 255, rng.integers(256)]))
    return bytes(changed)


def _cut(whole: bytes, rng: np.random.Generator) -> bytes:
    return whole[: rng.integers(len(whole))]


def _overwritten(whole: bytes, rng: np.random.Generator) -> bytes:
    start, length = int(rng.integers(len(whole))), int(rng.integers(1, 400))
    filling = bytes([int(rng.choice([0, 255, 32]))]) * length
    return (whole[:start] + filling + whole[start + length :])[: len(whole)]


def _inserted(whole: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(whole)))
    return whole[:start] + rng.bytes(int(rng.integers(1, 300))) + whole[start:]


def _odd_value(whole: bytes, rng: np.random.Generator) -> bytes:
    """Another value for an attribute of the XML, or for one of the JSON."""
    is_xml = b"<OME" in whole
    pattern = rb'="([^"]*)"' if is_xml else rb': ?("[^"]*"|[-\w.]+|\[[^\]]*\])'
    spans = [match.span(1) for match in re.finditer(pattern, whole)]
    if not spans:
        return _flipped(whole, rng)
    start, end = spans[rng.integers(len(spans))]
    value = str(rng.choice(ODD if is_xml else ODD_JSON)).encode()
    return whole[:start] + value + whole[end:]


def damage(path: Path, rng: np.random.Generator) -> None:
    """Damage a file, or one file of a folder."""
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.is_file())
        path = inside[rng.integers(len(inside))]
        if rng.random() < 0.1:
            path.unlink()
            return
    whole = path.read_bytes()
    if whole:
        path.write_bytes(damaged(whole, path.name, rng))


def outcomes(
    count: int, seed: int, folder: Path, patience_s: float = PATIENCE_S
) -> Iterator[tuple[str, str, str]]:
    """Kind, outcome and sentence of ``count`` damaged files, every kind in turn."""
    originals = {}
    for kind in KINDS:
        originals[kind] = folder / "whole" / kind.name
        originals[kind].parent.mkdir(exist_ok=True)
        kind.make(originals[kind])
    reader = Reader(patience_s)
    try:
        for kind in KINDS:  # what is whole is read: else nothing is tried
            outcome, told = reader.open(kind.opened_by, originals[kind])
            assert outcome == "read", (kind.name, outcome, told)
        for number in range(count):
            kind = KINDS[number % len(KINDS)]
            path = folder / f"{number}" / kind.name
            path.parent.mkdir()
            original = originals[kind]
            (shutil.copytree if original.is_dir() else shutil.copy)(original, path)
            damage(path, np.random.default_rng([seed, number]))
            yield kind.name, *reader.open(kind.opened_by, path)
            shutil.rmtree(path.parent)
    finally:
        reader.close()


def main() -> int:
    """Print the table; 0 when everything was read or refused in one sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    table: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, (kind, outcome, told) in enumerate(
            outcomes(given.count, given.seed, Path(folder))
        ):
            table[kind][outcome] += 1
            if outcome not in GOOD:
                wrong[f"{kind}: {outcome}: {told}"] += 1
                print(f"{number} {kind}: {outcome}: {told}", file=sys.stderr)
    for kind, counted in table.items():
        print(f"{kind:<20}" + ", ".join(f"{n} {outcome}" for outcome, n in counted.items()))
    print(f"{sum(wrong.values())} of {given.count} neither read nor refused in one sentence")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
