"""Cost of one more scan when the network remembers the ones before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...engine.tiles import NetworkPlanes
from ...networks.inputs import Scale
from ...networks.memory import Memory
from ..shared import Goal
from .base import Bench, Row, Times, interleaved
from .scene import heights, noise_scans, prepared, volume_of

_SHARE = Goal(0.55, "×", at_least=False, text="≤ 0.55 of rebuilding")
_SAME = Goal(0.55, "×", at_least=False, text="≤ 0.55 of rebuilding at few scans")


def measure(bench: Bench) -> Iterator[Row]:
    """One more scan beside rebuilding from all of them: at few scans, and at many."""
    sizes = bench.sizes
    few = added_and_rebuilt(bench, sizes.scans)
    yield _row(bench, sizes.scans, few["added"], few["rebuilt"], sizes.scans, _SHARE)
    many = added_and_rebuilt(bench, sizes.many_scans)
    yield _row(bench, sizes.many_scans, many["added"], many["rebuilt"], sizes.many_scans, _SHARE)
    yield _row(bench, sizes.many_scans, many["added"], few["rebuilt"], sizes.scans, _SAME)


def added_and_rebuilt(bench: Bench, count: int) -> dict[str, Times]:
    """Adding scan number ``count``, and rebuilding from all: a volume, on a CPU one plane."""
    sizes = bench.sizes
    scans = noise_scans(count, sizes.pixels)
    scale = Scale.of(np.stack([scan.pixels for scan in scans[:2]]))
    targets = heights(sizes.planes)
    if not bench.on_gpu:
        targets = targets[sizes.planes // 2 :][:1]
    before = {z: Memory(bench.device.torch) for z in targets}
    _planes(prepared(bench, scans[:-1], scale=scale), before)
    maker = prepared(bench, scans, scale=scale)
    return interleaved(
        {
            "added": lambda: _planes(maker, {z: _copied(before[z]) for z in targets}),
            "rebuilt": lambda: volume_of(maker, targets),
        },
        sizes.repeats,
    )


def _copied(memory: Memory) -> Memory:
    """The same state; taking in a scan replaces it and leaves this one as it is."""
    return Memory(memory.place, memory.entered, memory.tile, list(memory.windows))


def _planes(maker: NetworkPlanes, memories: dict[float, Memory]) -> None:
    for _ in maker.requested(memories.items()):
        pass


def _row(
    bench: Bench, count: int, added: Times, rebuilt: Times, rebuilt_from: int, goal: Goal
) -> Row:
    sizes = bench.sizes
    of = f"{sizes.planes} × {sizes.pixels} × {sizes.pixels}" if bench.on_gpu else "one plane"
    what = f"add scan number {count} to {of} ({bench.device.kind.upper()})"
    words = f"rebuilding at M = {rebuilt_from}: {rebuilt.words}"
    ratio = rebuilt.ratio(added)
    return Row("added-scan", what, **added.spread, ratio=ratio, against=words, ratio_goal=goal)
