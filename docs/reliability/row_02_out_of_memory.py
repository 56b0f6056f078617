"""Row 2: memory runs out, at any allocation of PyTorch or NumPy, or at a limit of the system."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from reliability._memory import LIMIT, NUMPY, TORCH, Ended, run_out

from napari_recurrent_mz.cli import main
from napari_recurrent_mz.io import read_image, write_volume
from napari_recurrent_mz.simulation.simulate import demo_sample

WHAT = "out of memory, at an allocation of PyTorch or NumPy, or by `RLIMIT_AS`, in every command"
GOAL = "finishes smaller, or one sentence that says what to do; nothing torn"
LEAST_BYTES, MOST_BYTES = 2**18, 2**29
WORDS = "not enough memory", "not fit in memory"
Command = Callable[[Path], list[str]]


def _scans(where: Path, *more: str) -> list[str]:
    return [str(where / "in" / "stack.ome.tif"), "--planes", "4", "9", "14", *more]


def _reconstruct(method: str, ending: str) -> Command:
    return lambda where: [
        "reconstruct", *_scans(where), "--method", method, "--grid", "2:6:1", "--device", "cpu",
        "-o", str(where / "out" / f"made.{ending}"),
    ]  # fmt: skip


COMMANDS: dict[str, Command] = {
    "reconstruct recurrent-mz": _reconstruct("recurrent-mz", "ome.tif"),
    "reconstruct auto": _reconstruct("auto", "ome.zarr"),
    "reconstruct lmmse": _reconstruct("lmmse", "ome.zarr"),
    "reconstruct richardson-lucy": _reconstruct("richardson-lucy", "ome.tif"),
    "reconstruct linear": _reconstruct("linear", "ome.tif"),
    "batch": lambda where: [
        "batch", str(where / "in"), "-o", str(where / "out"), "--planes", "4", "9", "14", "--grid",
        "2:6:1", "--method", "lmmse", "--device", "cpu", "--jobs", "1",
    ],
    "evaluate": lambda where: [
        "evaluate", *_scans(where), "--methods", "recurrent-mz,lmmse,linear", "--device", "cpu",
        "--json", str(where / "out" / "made.json"),
    ],
    "beads": lambda where: [
        "beads", str(where / "in" / "stack.ome.tif"), "--csv", str(where / "out" / "made.csv"),
    ],
    "prepare edf": lambda where: [
        "prepare", "edf", str(where / "in" / "stack.ome.tif"),
        "-o", str(where / "out" / "made.ome.tif"),
    ],
}  # fmt: skip


def measure(quick: bool) -> tuple[str, bool]:
    """Run each command in forks of this process, at moments drawn at random."""
    torch.set_num_threads(1)  # a fork has none of the others, and would wait for them
    rng, outcomes = np.random.default_rng(2), Counter[str]()
    often = {TORCH: 1, NUMPY: 1, LIMIT: 2} if quick else {TORCH: 6, NUMPY: 6, LIMIT: 10}
    for name, command in COMMANDS.items():
        with tempfile.TemporaryDirectory() as folder:
            where = Path(folder)
            make_input(where / "in")
            for kind, times in often.items():
                if kind == LIMIT:
                    moments = np.geomspace(LEAST_BYTES, MOST_BYTES, times).astype(int)
                else:
                    whole = attempt(command, where, kind, None)
                    assert whole.status == 0, (name, whole)
                    expected = pixels_of(where / "out")
                    moments = rng.integers(1, whole.count + 1, times if whole.count else 0)
                for moment in moments:
                    ended = attempt(command, where, kind, int(moment))
                    outcome = judged(ended, where / "out", expected)
                    outcomes[outcome] += 1
                    if outcome not in ("finished", "one sentence"):
                        print(name, kind, moment, outcome, ended.told[-600:], file=sys.stderr)
    total, good = sum(outcomes.values()), outcomes["finished"] + outcomes["one sentence"]
    each = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    return f"{total} runs: {each}", good == total


def make_input(folder: Path) -> None:
    """A stack of 19 planes in a folder."""
    sample = demo_sample()
    folder.mkdir()
    write_volume(
        folder / "stack.ome.tif", sample.widefield[:38:2], sample.z_um[:38:2],
        sample.optics.pixel_um, {"optics": sample.optics.as_dict()},
    )  # fmt: skip


def attempt(command: Command, where: Path, kind: str, at: int | None) -> Ended:
    """Run a command into an empty folder."""
    import shutil

    shutil.rmtree(where / "out", ignore_errors=True)
    (where / "out").mkdir()
    return run_out(lambda: main(command(where)), kind, at)


def pixels_of(folder: Path) -> np.ndarray | None:
    """The volume in a folder, or the numbers of the table, if there is one."""
    for path in folder.glob("[!.]*"):
        if path.name.endswith((".ome.tif", ".ome.zarr")):
            return read_image(path).data
        if path.suffix == ".csv":
            return pd.read_csv(path).select_dtypes("number").to_numpy(float)
    return None


def judged(ended: Ended, out: Path, expected: np.ndarray | None) -> str:
    """What came of a run, in a few words."""
    hidden = [path.name for path in out.glob(".recurrent-mz-*")]
    if ended.status is None:
        return "hung or crashed"
    if hidden:
        return "left a hidden folder"
    if ended.status == 0:
        made = pixels_of(out)
        if expected is None or made is None:
            return "finished"
        same = made.shape == expected.shape and np.allclose(
            made, expected, rtol=1e-2, atol=1e-2 * np.nanmax(np.abs(expected)), equal_nan=True
        )
        return "finished" if same else "wrong result"
    lines = [line for line in ended.told.splitlines() if "recurrent-mz:" in line]
    if "Traceback" in ended.told or len(lines) != 1:
        return "traceback or no line"
    return "one sentence" if any(words in ended.told for words in WORDS) else "obscure line"
