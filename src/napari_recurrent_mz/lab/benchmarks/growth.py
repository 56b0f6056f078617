"""How the time grows with the pixels, the planes, the scans and the positions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from . import positions
from .base import Bench, Row, Times, in_words, interleaved
from .scene import heights, noise_scans, prepared, volume_of


def measure(bench: Bench) -> Iterator[Row]:
    """Time of a pixel of a plane as images, volumes, numbers of scans and batches grow."""
    sizes = bench.sizes
    sides = [max(sizes.pixels // 4, 64), max(sizes.pixels // 2, 128), sizes.pixels]
    yield from _rows(
        bench,
        {f"{side} × {side} pixels": (side, 1, sizes.scans) for side in dict.fromkeys(sides)},
    )
    side = sides[0]
    yield from _rows(
        bench,
        {f"{side} × {side}, {count} planes": (side, count, sizes.scans) for count in (1, 4, 16)},
    )
    yield from _rows(
        bench, {f"{side} × {side}, M = {count}": (side, 1, count) for count in (1, 2, 4, 8)}
    )
    yield from positions.measure(bench)


def _rows(bench: Bench, cases: dict[str, tuple[int, int, int]]) -> Iterator[Row]:
    """One row for each (pixels, planes, scans), beside the first."""
    ways, values = {}, {}
    for name, (pixels, planes, scans) in cases.items():
        maker = prepared(bench, noise_scans(scans, pixels))
        targets = heights(planes + 1)[1:]
        ways[name] = partial(volume_of, maker, targets)
        values[name] = pixels**2 * planes
    times = interleaved(ways, bench.sizes.repeats)
    first = next(iter(cases))
    for name, measured in times.items():
        pace = Times(tuple(seconds / values[name] for seconds in measured.seconds))
        beside = times[first].median / values[first]
        yield Row(
            "growth",
            f"time for a pixel of a plane: {name}",
            **pace.spread,
            ratio=math.nan if name == first else pace.median / beside,
            against=f"{first}: {in_words(beside, 's')}",
        )
