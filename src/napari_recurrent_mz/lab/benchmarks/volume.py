"""A whole volume on a GPU, and its first plane."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ...core.scans import Scan
from ..shared import Goal
from .base import Bench, Row, Times, in_words, interleaved
from .scene import CHOSEN, Way, heights, noise_scans, plain, prepared, unprepared, volume_of

_SECONDS = Goal(0.35, "s", at_least=False)
_FASTER = Goal(4.0, "×")
_FIRST = Goal(0.05, "s", at_least=False, text="≤ 50 ms on a GPU")


def measure(bench: Bench) -> Iterator[Row]:
    """From scans in main memory to a volume in main memory, the model loaded."""
    sizes = bench.sizes
    what = f"{sizes.planes} × {sizes.pixels} × {sizes.pixels}, M = {sizes.scans}, from the scans"
    if not bench.on_gpu:
        yield Row("volume", what, goal=_SECONDS, ratio_goal=_FASTER, absent="needs a GPU")
        return
    scans = noise_scans(sizes.scans, sizes.pixels)
    ways = {"plain": plain(bench), "chosen": CHOSEN}
    times = interleaved(
        {name: partial(_whole, bench, scans, way) for name, way in ways.items()},
        sizes.repeats,
    )
    makers = {name: prepared(bench, scans, way) for name, way in ways.items()}
    targets = heights(sizes.planes)
    alone = interleaved(
        {name: partial(volume_of, maker, targets) for name, maker in makers.items()},
        sizes.repeats,
    )
    yield Row(
        "volume",
        what,
        **times["chosen"].spread,
        ratio=times["chosen"].ratio(times["plain"]),
        against=f"plane by plane, eager mixed precision: {times['plain'].words}",
        goal=_SECONDS,
        ratio_goal=_FASTER,
        words=f"the scans prepared: {alone['chosen'].words}, {_by(alone)} × eager",
    )


def measure_first(bench: Bench) -> Iterator[Row]:
    """What is computed between the button and the first plane, once the process is warm."""
    sizes = bench.sizes
    scans = noise_scans(sizes.scans, sizes.pixels)
    z_um = heights(sizes.planes)[sizes.planes // 2]
    ways = {"plain": plain(bench), "chosen": CHOSEN}
    times = interleaved(
        {name: partial(_first, bench, scans, z_um, way) for name, way in ways.items()},
        sizes.repeats if bench.on_gpu else 1,
    )
    planes = prepared(bench, scans)
    planes.plane(z_um)
    alone = interleaved({"plane": lambda: planes.plane(z_um)}, 1)["plane"].median
    yield Row(
        "first-plane",
        f"first plane of {sizes.pixels} × {sizes.pixels}, M = {sizes.scans}, from the scans "
        f"({bench.device.kind.upper()})",
        **times["chosen"].spread,
        ratio=times["chosen"].ratio(times["plain"]),
        against=f"the plain network: {times['plain'].words}",
        goal=_FIRST if bench.on_gpu else None,
        words=f"the plane alone: {in_words(alone, 's')}",
    )


def _whole(bench: Bench, scans: list[Scan], way: Way) -> None:
    volume_of(unprepared(bench, scans, way), heights(bench.sizes.planes))


def _first(bench: Bench, scans: list[Scan], z_um: float, way: Way) -> None:
    unprepared(bench, scans, way).plane(z_um)


def _by(times: dict[str, Times]) -> str:
    return f"{times['chosen'].ratio(times['plain']):.3g}"
