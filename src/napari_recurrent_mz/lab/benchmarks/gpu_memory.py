"""A GPU's memory: what a volume leaves behind, what a limit holds, and what too little does."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from ...core.device import choose_device, gpu_memory_limit, limit_gpu_memory
from ..shared import Goal
from .base import Bench, Row
from .scene import heights, noise_scans, unprepared, volume_of

_LEFT = Goal(50.0, "MB", at_least=False)
_LIMIT_GB, _LITTLE_GB = 4.0, 0.5
_HELD = Goal(_LIMIT_GB, "GB", at_least=False)
_ALL = Goal(1.0, "of the planes")


def measure(bench: Bench) -> Iterator[Row]:
    """Memory given back after a volume; a volume under a limit, and under far too low a one."""
    rows = (
        Row("gpu-memory", "GPU memory not given back after a volume", unit="MB", goal=_LEFT),
        Row("gpu-memory", f"most GPU memory, limited to {_LIMIT_GB:g} GB", unit="GB", goal=_HELD),
        Row(
            "gpu-memory",
            f"planes of a volume that are made in {_LITTLE_GB:g} GB",
            unit="of the planes",
            goal=_ALL,
        ),
    )
    if not bench.on_gpu:
        yield from (replace(row, absent="needs a GPU") for row in rows)
        return
    left, held, little = rows
    _share_finite(bench)  # what CUDA and its libraries keep for ever
    before = _used_bytes()
    _share_finite(bench)
    yield replace(left, value=max((_used_bytes() - before) / 1e6, 0.0))
    with _limited(bench, _LIMIT_GB) as (limited, said):
        done = _share_finite(limited)
        most = torch.cuda.max_memory_reserved() / 1e9
        yield replace(held, value=most, words=" ".join([f"{done:.0%} of the planes made.", *said]))
    with _limited(bench, _LITTLE_GB) as (limited, said):
        yield replace(little, value=_share_finite(limited), words=" ".join(said))


@contextmanager
def _limited(bench: Bench, gigabytes: float) -> Iterator[tuple[Bench, list[str]]]:
    """A bench that has so much of the GPU while this lasts, and what is said meanwhile."""
    said: list[str] = []
    before = gpu_memory_limit()
    limit_gpu_memory(gigabytes)
    try:
        torch.cuda.reset_peak_memory_stats()
        device = choose_device(bench.device.kind)
        yield replace(bench, device=device, note=said.append), said
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
