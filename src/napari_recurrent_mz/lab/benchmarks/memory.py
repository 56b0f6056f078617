"""What a volume takes of a GPU's memory and of the computer's."""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch

from ...core.device import choose_device, gpu_memory_limit, limit_gpu_memory
from ...engine.to_disk import reconstruct_to
from ..shared import Goal
from .base import Bench, ChildError, Row, in_child, in_words
from .scene import OPTICS, grid, heights, noise_scans, unprepared, volume_of

_LEFT = Goal(50.0, "MB", at_least=False)
_LIMIT_GB, _LITTLE_GB = 4.0, 0.5
_HELD = Goal(_LIMIT_GB, "GB", at_least=False)
_ALL = Goal(1.0, "of the planes")


def measure_gpu_memory(bench: Bench) -> Iterator[Row]:
    """Memory given back after a volume; a volume under a limit, and under far too low a one."""
    rows = [
        Row("gpu-memory", what, unit=goal.unit, goal=goal)
        for what, goal in (
            ("GPU memory not given back after a volume", _LEFT),
            (f"most GPU memory, limited to {_LIMIT_GB:g} GB", _HELD),
            (f"planes of a volume that are made in {_LITTLE_GB:g} GB", _ALL),
        )
    ]
    if not bench.on_gpu:
        yield from (replace(row, absent="needs a GPU") for row in rows)
        return
    left, held, little = rows
    _share_finite(bench)  # what CUDA and its libraries keep for ever
    before = _used_bytes()
    _share_finite(bench)
    yield replace(left, value=max((_used_bytes() - before) / 1e6, 0.0))
    with _limited(bench, _LIMIT_GB) as (limited, notes):
        done = _share_finite(limited)
        most = torch.cuda.max_memory_reserved() / 1e9
        yield replace(held, value=most, words=" ".join([f"{done:.0%} of the planes made.", *notes]))
    with _limited(bench, _LITTLE_GB) as (limited, notes):
        yield replace(little, value=_share_finite(limited), words=" ".join(notes))


@contextmanager
def _limited(bench: Bench, gigabytes: float) -> Iterator[tuple[Bench, list[str]]]:
    """A bench that has so much of the GPU while this lasts, and what is said meanwhile."""
    notes: list[str] = []
    before = gpu_memory_limit()
    limit_gpu_memory(gigabytes)
    try:
        torch.cuda.reset_peak_memory_stats()
        device = choose_device(bench.device.kind)
        yield replace(bench, device=device, note=notes.append), notes
    finally:
        limit_gpu_memory(before)
        choose_device(bench.device.kind)


def _share_finite(bench: Bench) -> float:
    """Make a volume; the share of its planes that have finite values."""
    sizes = bench.sizes
    maker = unprepared(bench, noise_scans(sizes.scans, sizes.pixels))
    volume = volume_of(maker, heights(sizes.planes))
    maker.release()
    return float(torch.from_numpy(volume).isfinite().all(-1).all(-1).float().mean())


def _used_bytes() -> int:
    """Bytes in use on the GPU."""
    gc.collect()
    free, total = torch.cuda.mem_get_info()
    return total - free


_MEMORY = Goal(4.0, "GiB", at_least=False)
_PACE = Goal(1.1, "×", at_least=False, text="within 10 % of the small one")
_METHOD = "recurrent-mz"
_FIRST_PIXELS = 64
_SMALL_ONES = 2  # small planes for each large one


def to_disk(bench: Bench, pixels: int, planes: int) -> dict[str, float]:
    """Write planes over the whole depth: most bytes in memory, seconds once, and of one plane."""
    _write(bench, _FIRST_PIXELS, 2)  # imports, and tables that the disk keeps: no part of the pace
    begun, done, ended = _write(bench, pixels, planes)
    plane = float(np.median(np.diff(done)))
    once = done[0] - begun - plane + ended - done[-1]
    return {"peak_bytes": _peak_bytes(), "once": max(once, 0.0), "plane": plane}


def _write(bench: Bench, pixels: int, planes: int) -> tuple[float, list[float], float]:
    """When it began, when each plane was done, and when it ended."""
    scans = noise_scans(bench.sizes.scans, pixels)
    begun, done = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        reconstruct_to(
            Path(folder) / "volume.ome.zarr",
            scans,
            grid(planes),
            optics=OPTICS,
            model=bench.model,
            method=_METHOD,
            device=bench.device.kind,
            on_progress=lambda _, __: done.append(time.perf_counter()),
        )
        return begun, done, time.perf_counter()


def _peak_bytes() -> int:
    """The most main memory that this process ever had."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def measure_streaming(bench: Bench, *, full: bool = False) -> Iterator[Row]:
    """Few planes of a large volume, or all, in processes of their own: none stays in memory."""
    sizes = bench.sizes
    planes_made = sizes.planes if full else min(sizes.few, sizes.planes)
    volume = f"{sizes.planes} × {sizes.large} × {sizes.large} to OME-Zarr (CPU)"
    on_cpu = replace(bench, device=choose_device("cpu"))
    memory = Row("streaming", f"{volume}: most resident memory", unit="GiB", goal=_MEMORY)
    pace = Row("streaming", f"{volume}: time for a pixel of a plane", ratio_goal=_PACE)
    more = min(_SMALL_ONES * planes_made, sizes.planes)
    # The small one before and after: a computer is not as fast in every minute.
    turns = ((sizes.pixels, more), (sizes.large, planes_made), (sizes.pixels, more))
    try:
        small, large, small_again = (
            in_child(to_disk, on_cpu, pixels, planes) for pixels, planes in turns
        )
    except ChildError as error:
        yield from (replace(row, absent=str(error)) for row in (memory, pace))
        return
    words = f"{planes_made} of {sizes.planes} planes made"
    little = f"{small['peak_bytes'] / 2**30:.3g} GiB at {sizes.pixels} × {sizes.pixels}"
    yield replace(memory, value=large["peak_bytes"] / 2**30, words=f"{words}; {little}")
    here = _pixel(large, sizes.large, sizes.planes)
    before, after = (_pixel(cost, sizes.pixels, sizes.planes) for cost in (small, small_again))
    small_ones = (before + after) / 2
    yield replace(
        pace,
        value=here,
        ratio=here / small_ones,
        against=f"{sizes.planes} × {sizes.pixels} × {sizes.pixels}, before and after: "
        + in_words(small_ones, "s", *sorted((before, after))),
        words=f"{words}, {in_words(large['plane'], 's')} each, and "
        f"{in_words(large['once'], 's')} once, shared by {sizes.planes}",
    )


def _pixel(cost: dict[str, float], pixels: int, planes: int) -> float:
    """Seconds of a pixel of a plane, of so many planes."""
    return (cost["once"] / planes + cost["plane"]) / pixels**2
