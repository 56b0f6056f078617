"""A GPU's memory: what a volume leaves behind, and what happens when there is too little."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch

from ..experiments.base import Goal
from .base import Bench, Row
from .scene import heights, noise_scans, unprepared, volume_of

_LEFT = Goal(50.0, "MB", at_least=False)
_FINISHES = Goal(1.0, "of the planes")
_SMALL_BYTES = 2 * 2**30


def measure(bench: Bench) -> Iterator[Row]:
    """Memory given back after a volume; a volume in a small part of the memory."""
    names = ("GPU memory not given back after a volume", "a volume finishes in 2 GiB of GPU memory")
    if not bench.on_gpu:
        yield Row("gpu-memory", names[0], unit="MB", goal=_LEFT, absent="needs a GPU")
        yield Row("gpu-memory", names[1], unit="", goal=_FINISHES, absent="needs a GPU")
        return
    _volume(bench)  # what CUDA and its libraries keep for ever
    before = _used_bytes()
    _volume(bench)
    left = (_used_bytes() - before) / 1e6
    yield Row("gpu-memory", names[0], max(left, 0.0), "MB", goal=_LEFT)
    said: list[str] = []
    share = _SMALL_BYTES / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        done = _volume(Bench(bench.device, bench.model_name, bench.sizes, said.append))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    yield Row("gpu-memory", names[1], done, "of the planes", goal=_FINISHES, words=" ".join(said))


def _volume(bench: Bench) -> float:
    """Make a volume; the share of its planes that have finite values."""
    sizes = bench.sizes
    maker = unprepared(bench, noise_scans(sizes.scans, sizes.pixels))
    volume = volume_of(maker, heights(sizes.planes))
    maker.release()
    return float(torch.from_numpy(volume).isfinite().all(-1).all(-1).float().mean())


def _used_bytes() -> int:
    """What is taken of the GPU."""
    gc.collect()
    free, total = torch.cuda.mem_get_info()
    return total - free
