"""Commands in a process that notes what it should not do: network, unpickling, files left behind.

    python tests/watched.py

runs each command to its end, with a file that is not there, and with Ctrl-C in the middle, and
prints what was noted. Python's own audit hook says what a process does, whatever library does it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import tifffile

# The first argument is a file for what is noted, the others are the command. Dask unpickles what
# it has pickled itself, in its own memory.
CHILD = """
import ipaddress, json, sys
noted, path = [], sys.argv.pop(1)

def is_here(address):
    if not isinstance(address, tuple):
        return True  # of this computer alone
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return address[0] in ("localhost", "")

def hook(event, given):
    if event in ("socket.connect", "socket.bind", "socket.sendto") and not is_here(given[1]):
        noted.append([event, str(given[1])])
    elif event == "socket.getaddrinfo" and given[0] not in (None, "localhost", "127.0.0.1", "::1"):
        noted.append([event, str(given[0])])
    elif event == "pickle.find_class" and given[0].split(".")[0] not in ("dask", "_operator"):
        noted.append([event, ".".join(map(str, given))])

sys.addaudithook(hook)
from napari_recurrent_mz.cli import main
print("ready", flush=True)
try:
    status = main(sys.argv[1:])
finally:
    with open(path, "w") as file:
        json.dump(noted, file)
sys.exit(status)
"""
OPTICS = "--na 0.8 --wavelength-um 0.52 --immersion-index 1.0 --pixel-um 0.2"
STEP = "--z-step-um 1"
STACK_OPTIONS = f"{STEP} {OPTICS}"
SCANS = f"s.tif --planes 1 4 7 {STACK_OPTIONS} --device cpu"
SMALL = (
    "--steps 3 --batch 1 --crop 32 --targets 1 --scans 1 2 --base-channels 4 --levels 2 --norm none"
)
PYTORCH_CACHE = "torchinductor_"  # the beginning of an empty folder that every optimiser makes
RECORD = ".recurrent-mz"  # what a batch keeps beside its volumes, see docs/batch.md
COMMANDS = {
    "reconstruct": f"reconstruct {SCANS} -o out.ome.tif",
    "reconstruct zarr": f"reconstruct {SCANS} --method recurrent-mz -o out.ome.zarr",
    **{
        f"reconstruct {method}": f"reconstruct {SCANS} --method {method} -o out.ome.{ending}"
        for method, ending in (
            ("lmmse", "zarr"),
            ("richardson-lucy", "tif"),
            ("points", "tif"),
            ("linear", "tif"),
            ("deep-z", "tif"),
            ("unet-3d", "tif"),
        )
    },
    "surface": f"surface {SCANS} --through 1,0,0 3,0,9 5,9,0 -o out.ome.tif",
    "evaluate": f"evaluate {SCANS} --methods recurrent-mz,lmmse,linear --json out.json",
    "compare": f"evaluate {SCANS} --methods lmmse,linear --reference t.tif --json out.json",
    "batch": f"batch {SCANS} --method linear --jobs 1 -o out",
    "batch of two": f"batch s.tif t.tif --planes 1 4 7 {STACK_OPTIONS} --method lmmse "
    "--jobs 2 -o out",
    "beads": f"beads s.tif {STEP} --pixel-um 0.2 --csv out.csv --figure out.png",
    "info": "info s.tif",
    "card": "card mine.safetensors --evaluation mine.json",
    "prepare edf": f"prepare edf s.tif {STACK_OPTIONS} -o out.ome.tif",
    "prepare align": f"prepare align s.tif {STACK_OPTIONS} -o out.ome.tif",
    "prepare normalise": f"prepare normalise s.tif {STACK_OPTIONS} -o out.ome.tif",
    "prepare register": f"prepare register s.tif t.tif {STEP} --confocal-z-step-um 1 "
    "--pixel-um 0.2 --confocal-pixel-um 0.2 --transform translation -o out.ome.tif",
    "simulate stack": "simulate stack beads --size 64 --n-planes 6 -o out.ome.tif",
    "simulate fields": "simulate fields out --count 1 --size 64 --n-planes 8 --device cpu",
    "simulate examples": "simulate examples out --groups 1 --size 64 --n-planes 12 --samples 1 "
    "--targets 2 --questions 3 --sets worm --device cpu",
    "train": f"train out --fields pool --held-out pool {SMALL} --device cpu",
    "train on a stack": f"train out --stack s.tif {STACK_OPTIONS} --from mine.safetensors "
    "--steps 2 --batch 1 --device cpu",
    "validate": "validate pool --model mine.safetensors --questions 1 --json out.json --device cpu",
    "demo": "demo --no-show --device cpu -o out.ome.tif",
    "bench": "bench --quick --device cpu --only preview --json out.json",
    "experiments": "experiments beads --quick --device cpu -o out",
}
"""Some may end with an error here: they are watched all the same."""


@cache
def _pool() -> tempfile.TemporaryDirectory[str]:
    """Three fields that are held out, made once."""
    from napari_recurrent_mz.cli import main

    folder = tempfile.TemporaryDirectory()
    words = "simulate fields {} --count 3 --size 64 --held-out --n-planes 60 --device cpu"
    with contextlib.redirect_stdout(io.StringIO()):
        main(words.format(folder.name).split())
    return folder


def make_input(folder: Path, name: str) -> None:
    """What a command reads: two stacks, a small network, fields."""
    from arrays import STACK
    from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
    from napari_recurrent_mz.networks.weights import save_model

    words = COMMANDS[name].split()
    for number, file in enumerate(("s.tif", "t.tif")):
        tifffile.imwrite(folder / file, np.roll(STACK, number, -1).astype(np.uint16))
    if "mine.safetensors" in words:
        network = RecurrentMZ(NetworkConfig(base_channels=4, levels=2))
        save_model(network, {}, folder / "mine.safetensors")
    if "mine.json" in words:
        means = {"lmmse": {"mean": {"psnr_db": 30.0}}}
        told = {"methods": means, "stack": "s.tif", "planes": [1, 4]}
        (folder / "mine.json").write_text(json.dumps(told))
    if "pool" in words:
        shutil.copytree(_pool().name, folder / "pool")


def watched(
    name: str, folder: Path, *, is_missing: bool = False, after_s: float | None = None
) -> tuple[int, list[str]]:
    """Run a command in an empty folder; its exit status, and what it did that it should not.

    ``is_missing``: without its input. ``after_s``: until Ctrl-C, so long after it is loaded.
    """
    here, temporary = folder / "here", folder / "temporary"
    here.mkdir()
    temporary.mkdir()
    if not is_missing:
        make_input(here, name)
    notes = folder / "noted.json"
    words = [sys.executable, "-c", CHILD, str(notes), *COMMANDS[name].split()]
    source = str(Path(__file__).resolve().parents[1] / "src")
    more = {"TMPDIR": str(temporary), "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(
            words, cwd=here, stdout=subprocess.PIPE, stderr=said, text=True,
            env={**os.environ, **more},
        )  # fmt: skip
        if after_s is not None:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(after_s)
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    noted = [": ".join(one) for one in json.loads(notes.read_text())] if notes.exists() else []
    left = [path.name for path in temporary.iterdir()]
    noted += [f"left in TMPDIR: {name}" for name in left if not name.startswith(PYTORCH_CACHE)]
    noted += [f"left hidden: {path.name}" for path in here.rglob(".*") if path.name != RECORD]
    if "Traceback" in (folder / "said.txt").read_text():
        noted.append("a traceback")
    return process.returncode, noted


def every(quick: bool = False) -> Iterator[tuple[str, str, int, list[str]]]:
    """Command, way, exit status and what was noted."""
    for name in COMMANDS:
        ways = {"to its end": {}, "no input": {"is_missing": True}}
        if not quick:
            ways |= {f"Ctrl-C after {s} s": {"after_s": s} for s in (0.05, 0.4, 1.5)}
        for way, options in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                yield name, way, *watched(name, Path(folder), **options)  # type: ignore[arg-type]


def main() -> int:
    """Print each run; 1 if anything was noted."""
    wrong = 0
    for name, way, status, noted in every("--quick" in sys.argv):
        wrong += bool(noted)
        print(f"{name:<20}{way:<20}{status:>4}  {'; '.join(sorted(set(noted)))}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
