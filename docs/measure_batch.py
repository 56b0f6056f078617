"""Print the numbers on batches in docs/measurements.md:

    OMP_NUM_THREADS=1 python docs/measure_batch.py [METHOD]

Batches of noise of known size: how the processor time of a batch grows with planes, pixels,
positions and time points, and what it costs beyond what reconstruct() takes for the same volumes
in memory. One position at a time, one thread, processor time, so that a busy computer does not
matter; each figure is the least of three runs, after one that pays for the start.

With `memory` for METHOD: the resident memory, at its peak, of the command on a time-lapse.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr

from napari_recurrent_mz import Optics, Scan, ZGrid, reconstruct
from napari_recurrent_mz.core.device import cpu_name
from napari_recurrent_mz.engine.batch import BatchSettings, find_jobs, run_batch
from napari_recurrent_mz.engine.inference import model_for
from napari_recurrent_mz.io import Place, write_volume
from napari_recurrent_mz.io._zarr import multiscale

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.1)
SCANS, GAP_UM = 3, 3.0
PLANES, SIDE, POSITIONS = 20, 256, 4
RUNS = 3


def least(work: Callable[[], Any]) -> float:
    """The least processor time of some runs, in seconds."""
    found = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def images(side: int, seed: int) -> np.ndarray:
    """Scans of noise, (M, Y, X)."""
    shape = (SCANS, side, side)
    return np.random.default_rng(seed).gamma(1.0, 100.0, shape).astype(np.float32)


def grid(planes: int) -> ZGrid:
    """As many planes, none of them a scan."""
    return ZGrid(0.05, 0.05 + 0.1 * (planes - 1), 0.1)


def write_positions(folder: Path, side: int, positions: int, in_time: bool) -> list[Path]:
    """Stacks of scans: a file for each position, or a time axis of so many points."""
    z_um = GAP_UM * np.arange(SCANS)
    if in_time:
        path = folder / "lapse.tif"
        pixels = np.stack([images(side, k) for k in range(positions)])
        about = {"axes": "TZYX", "spacing": GAP_UM, "unit": "um"}
        scale = 1 / OPTICS.pixel_um
        tifffile.imwrite(path, pixels, imagej=True, metadata=about, resolution=(scale, scale))
        return [path]
    return [
        write_volume(folder / f"p{k:03d}.ome.tif", images(side, k), z_um, OPTICS.pixel_um)
        for k in range(positions)
    ]


def measured(
    method: str, planes: int, side: int, positions: int, *, in_time: bool = False
) -> tuple[float, float, float]:
    """Seconds of a batch, of reconstruct() alone, and of a batch that finds all done."""
    settings = BatchSettings(
        grid=grid(planes),
        na=OPTICS.na,
        wavelength_um=OPTICS.wavelength_um,
        immersion_index=OPTICS.immersion_index,
        method=method,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as name:
        files = write_positions(Path(name), side, positions, in_time)
        out = Path(name) / "out"

        def batch(again: bool = True) -> None:
            report = run_batch(find_jobs(files, out, settings), out, settings, again=again)
            assert report.is_complete, report.table()

        whole = least(batch)
        kept = least(lambda: batch(again=False))
    stacks = [images(side, k) for k in range(positions)]
    model = model_for(method)

    def alone() -> None:
        for stack in stacks:
            scans = [Scan(image, GAP_UM * k) for k, image in enumerate(stack)]
            reconstruct(
                scans, grid(planes), optics=OPTICS, method=method, model=model, device="cpu"
            )

    return whole, least(alone), kept


def table(method: str) -> None:
    """Print a row for each case: the cost of a voxel should stay the same."""
    measured(method, 1, 64, 1)  # pays for the start: tables of the optics, torch's first calls
    cases = [
        *[("planes", n, (n, SIDE, POSITIONS), False) for n in (10, 20, 40, 80)],
        *[("pixels a side", n, (PLANES, n, POSITIONS), False) for n in (128, 256, 512, 1024)],
        *[("positions", n, (PLANES, SIDE, n), False) for n in (1, 4, 16, 32)],
        *[("time points", n, (PLANES, SIDE, n), True) for n in (4, 16, 32)],
    ]
    print("| what grows | to | batch, s | ns a voxel | reconstruct(), s | a volume more, ms "
          "| found done, ms a volume |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for what, value, (planes, side, positions), in_time in cases:
        whole, alone, kept = measured(method, planes, side, positions, in_time=in_time)
        voxels = planes * side**2 * positions
        print(
            f"| {what} | {value} | {whole:.3f} | {1e9 * whole / voxels:.0f} | {alone:.3f} "
            f"| {1e3 * (whole - alone) / positions:.1f} | {1e3 * kept / positions:.1f} |"
        )


LAPSE = (48, 24, 512, 512)


def write_lapse(folder: Path) -> None:
    """Write the same time-lapse as TIFF and as OME-Zarr."""
    rng = np.random.default_rng(0)
    about = {"axes": "TZYX", "spacing": 0.5, "unit": "um"}
    mapped = tifffile.memmap(
        folder / "lapse.tif", shape=LAPSE, dtype="uint16", imagej=True, metadata=about
    )
    group = zarr.open_group(folder / "lapse.ome.zarr", mode="w")
    array = group.create_array("0", shape=LAPSE, dtype="uint16", chunks=(1, 24, 256, 256))
    for t in range(LAPSE[0]):
        array[t] = mapped[t] = rng.poisson(100, LAPSE[1:])
    mapped.flush()
    image = multiscale("lapse", 1, "TZYX", Place(0.2, 0.5 * np.arange(LAPSE[1])))
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}


def memory() -> None:
    """Print the peak of resident memory of the command, on a TIFF and on an OME-Zarr."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: a child's peak is at least what its parent holds.
        writer = multiprocessing.get_context("spawn").Process(target=write_lapse, args=(folder,))
        writer.start()
        writer.join()
        for source in ("lapse.tif", "lapse.ome.zarr"):
            words = ["batch", folder / source, "-o", folder / source.split(".", 1)[1], *WORDS]
            code = "import sys; from napari_recurrent_mz.cli import main; sys.exit(main())"
            process = subprocess.Popen(  # noqa: S603  (our own interpreter, a fixed text)
                [sys.executable, "-c", code, *map(str, words)]
            )
            _, status, usage = os.wait4(process.pid, 0)
            assert status == 0
            size = " × ".join(str(n) for n in LAPSE)
            print(f"{source} of {size} pixels: {usage.ru_maxrss / 1e3:.0f} MB at the peak")


WORDS = (
    *("--planes", "4", "12", "20", "--grid", "2:10:0.5", "--method", "lmmse", "--jobs", "1"),
    *("--na", "0.8", "--wavelength-um", "0.5", "--immersion-index", "1", "--pixel-um", "0.2"),
)


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "lmmse"
    print(f"{chosen}, {SCANS} scans, {cpu_name()}, one thread")
    if chosen == "memory":
        memory()
    else:
        table(chosen)
