"""Row 10: every writer killed (SIGKILL) at random moments, and every writer on a full disk."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from reliability._tests import passed

from napari_recurrent_mz import Optics, Scan, Session, ZGrid, reconstruct
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.engine.batch import BatchSettings, find_jobs, run_batch
from napari_recurrent_mz.engine.session import load, save
from napari_recurrent_mz.engine.to_disk import reconstruct_to
from napari_recurrent_mz.io import WORKPLACE, read_image, write_json, write_table, write_volume
from napari_recurrent_mz.measure.plots import save_figure
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import load_model, save_model

WHAT = "every writer killed 20 times (SIGKILL) while it replaces its file, and on a full disk"
GOAL = "nothing lost, nothing half; hidden folders go with the next run; “the disk is full”"
LONGEST_S = 0.4
GRID = ZGrid(0.0, 4.0, 0.5)
OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
AGED_S = 120.0


@dataclass(frozen=True)
class Writer:
    """Writes one of two versions to a path, and reads which one is there (an error if neither)."""

    write: Callable[[Path, int], object]
    read: Callable[[Path], Any]
    expected: Callable[[int], Any]


def scans(version: int) -> list[Scan]:
    """Two scans of noise, one pair for each version."""
    rng = np.random.default_rng(version)
    return [Scan(rng.normal(1000, 100, (192, 192)), z) for z in (1.0, 3.0)]


def volume(version: int) -> np.ndarray:
    """What the linear method makes of them."""
    return reconstruct(scans(version), GRID, method="linear")


def session(version: int) -> Session:
    """A finished session of the two scans."""
    made = Session(GRID, optics=OPTICS, method="lmmse", device="cpu")
    for one in scans(version):
        made.add_scan(one, accept_doubtful=True)
    return made


def network(version: int) -> RecurrentMZ:
    """Random weights."""
    torch.manual_seed(version)
    return RecurrentMZ(NetworkConfig(base_channels=12, levels=4))


def first_weights(of: RecurrentMZ) -> np.ndarray:
    """Some of its weights, as they are in a file."""
    return next(of.parameters()).detach().half().float().numpy()


def draw(version: int, path: Path) -> None:
    """An image of noise."""
    save_figure(lambda figure, _: figure.subplots().imshow(volume(version)[3]), path)


def drawn(path: Path) -> np.ndarray:
    """The pixels of a figure."""
    from matplotlib.image import imread

    return imread(path)


def drawn_once(version: int) -> np.ndarray:
    """The pixels of a figure that nothing disturbs."""
    with tempfile.TemporaryDirectory() as folder:
        draw(version, Path(folder) / "a.png")
        return drawn(Path(folder) / "a.png")


def to_disk(path: Path, version: int) -> object:
    """As ``recurrent-mz reconstruct`` does."""
    return reconstruct_to(path, scans(version), GRID, pixel_um=0.13, method="linear")


def batch(path: Path, version: int) -> object:
    """A batch of one stack, made anew."""
    source = path.parent.parent / f"in{version}"
    if not source.exists():
        source.mkdir()
        stack = np.stack([one.pixels for one in scans(version)])
        write_volume(source / "made.ome.tif", stack, [1.0, 3.0], 0.13)
    settings = BatchSettings(grid=GRID, planes=(0, 1), method="linear", format="ome.zarr")
    jobs = find_jobs(source, path.parent, settings)
    report = run_batch(jobs, path.parent, settings, again=True)
    assert report.is_complete, report
    return report


def pixels(path: Path) -> np.ndarray:
    """All planes of a volume."""
    return read_image(path).data


def saved(path: Path) -> np.ndarray:
    """The scans of a session, which must open without a word."""
    told: list[tuple[str, ...]] = []
    found = load(path, on_message=lambda *words: told.append(words))
    assert not told, told
    return np.stack([one.pixels for one in found.scans])


def stacked(version: int) -> np.ndarray:
    """The scans of a version."""
    return np.stack([one.pixels for one in scans(version)])


WRITERS: dict[str, Writer] = {
    "made.ome.tif": Writer(to_disk, pixels, volume),
    "made.ome.zarr": Writer(to_disk, pixels, volume),
    "batch/made.ome.zarr": Writer(batch, pixels, volume),
    "live.rmz": Writer(lambda p, v: save(session(v), p), saved, stacked),
    "live.rmz.zip": Writer(lambda p, v: save(session(v), p), saved, stacked),
    "mine.safetensors": Writer(
        lambda p, v: save_model(network(v), {}, p),
        lambda p: first_weights(load_model(p).network),
        lambda v: first_weights(network(v)),
    ),
    "figure.png": Writer(lambda p, v: draw(v, p), drawn, drawn_once),
    "table.csv": Writer(
        lambda p, v: write_table(p, pd.DataFrame(volume(v)[3].astype(float))),
        lambda p: pd.read_csv(p).to_numpy(float),
        lambda v: volume(v)[3].astype(float),
    ),
    "numbers.json": Writer(
        lambda p, v: write_json(p, volume(v)[3].tolist()),
        lambda p: np.array(pd.read_json(p)),
        lambda v: volume(v)[3],
    ),
}  # fmt: skip


def measure(quick: bool) -> tuple[str, bool]:
    """Kill each writer again and again, and look at what is there."""
    torch.set_num_threads(1)  # a fork has none of the others, and would wait for them
    often, wrong, killed, written, found = 2 if quick else 20, list[str](), 0, 0, 0
    rng = np.random.default_rng(10)
    for name, writer in WRITERS.items():
        expected = [writer.expected(version) for version in (0, 1)]
        for _ in range(often):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / name
                path.parent.mkdir(exist_ok=True)
                writer.write(path, 0)
                written += kill_once(writer, path, float(rng.uniform(0, LONGEST_S)))
                killed += 1
                hidden = left_in(Path(folder))
                found += bool(hidden)
                outcome = judged(writer, path, expected) or next_run(writer, path)
                if outcome:
                    wrong.append(f"{name}: {outcome}")
                    print(wrong[-1], hidden, file=sys.stderr)
    full, is_told = passed(1, "tests/test_hostile.py", "-k", "full_disk")
    figure = (
        f"{killed} kills, {found} of them in mid-write: {len(wrong)} with something lost, half or "
        f"left; full disk: {full}"
    )
    if wrong:
        figure += f" ({'; '.join(sorted(set(wrong)))[:300]})"
    return figure, not wrong and is_told


def kill_once(writer: Writer, path: Path, after_s: float) -> int:
    """Kill a child that replaces the file over and over; whether it had begun."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"r")
            for number in count(1):
                writer.write(path, number % 2)
        finally:
            os._exit(1)
    os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it ended before it was killed"
    return 1


def judged(writer: Writer, path: Path, expected: list[Any]) -> str:
    """What is wrong with what is there; nothing if it is one version, whole."""
    if not path.exists():
        return "lost"
    try:
        there = writer.read(path)
    except (InputError, ValueError, OSError, AssertionError) as error:
        return f"half ({type(error).__name__}: {error})"[:120]
    if not any(there.shape == one.shape and np.allclose(there, one, rtol=1e-5) for one in expected):
        return "neither the old nor the new"
    return ""


def next_run(writer: Writer, path: Path) -> str:
    """What stays hidden after the next run; an empty folder may stay for a minute."""
    writer.write(path, 0)
    for folder in left_in(path.parent):
        long_ago = time.time() - AGED_S
        os.utime(folder, (long_ago, long_ago))
        if any(not inside.name.startswith("lock-") for inside in folder.iterdir()):
            return "left a hidden folder"
    writer.write(path, 0)
    return "left an empty hidden folder" if left_in(path.parent) else ""


def left_in(folder: Path) -> list[Path]:
    """Hidden folders in which something was being written."""
    return list(folder.rglob(f"{WORKPLACE}*"))
