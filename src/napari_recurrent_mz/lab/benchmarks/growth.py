"""How the time grows with pixels, planes, scans and positions; of one more scan, and of beads."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ...core.scans import InputError
from ...engine.batch import BatchSettings, find_jobs, run_batch
from ...engine.tiles import NetworkPlanes
from ...io import write_volume
from ...measure.beads import measure_beads, plant_beads
from ...networks.inputs import Scale
from ...networks.runner import Memory
from ..shared import Goal, timed
from .base import Bench, Row, Times, in_words, interleaved
from .scene import OPTICS, grid, heights, noise_scans, prepared, volume_of

_COUNTS = (1, 2, 4)
_METHOD = "recurrent-mz"


def measure_positions(bench: Bench) -> Iterator[Row]:
    """Time for a position, files read and written, one at a time."""
    side = max(bench.sizes.pixels // 4, 64)
    what = f"batch, {bench.sizes.few} planes of {side} × {side} a position"
    first = math.nan
    for count in _COUNTS:
        row = Row("growth", f"{what}: time for a position, {count} of them")
        try:
            seconds = _seconds(bench, side, count) / count
        except InputError as error:
            yield replace(row, absent=str(error))
            return
        ratio = seconds / first  # NaN for the first
        first = seconds if math.isnan(first) else first
        yield replace(row, value=seconds, ratio=ratio, against=f"1 of them: {in_words(first, 's')}")


def _seconds(bench: Bench, side: int, count: int) -> float:
    """A batch of so many positions, after one that pays for the start."""
    settings = BatchSettings(
        grid=grid(bench.sizes.few),
        na=OPTICS.na,
        wavelength_um=OPTICS.wavelength_um,
        immersion_index=OPTICS.immersion_index,
        method=_METHOD,
        model=bench.model_name,
        device=bench.device.kind,
    )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "stacks")
        source.mkdir()
        scans = noise_scans(bench.sizes.scans, side)
        stack, z_um = np.stack([s.pixels for s in scans]), [scan.z_um for scan in scans]
        for number in range(count):
            path = source / f"position_{number}.ome.tif"
            write_volume(path, stack, z_um, OPTICS.pixel_um)
        jobs = find_jobs(source, Path(folder, "volumes"), settings)
        batch = partial(run_batch, output=Path(folder, "volumes"), settings=settings, workers=1)
        batch(jobs[:1])
        return timed(partial(batch, jobs, again=True))


def measure_growth(bench: Bench) -> Iterator[Row]:
    """Time of a pixel of a plane as images, volumes, numbers of scans and batches grow."""
    sizes = bench.sizes
    sides = [max(sizes.pixels // 4, 64), max(sizes.pixels // 2, 128), sizes.pixels]
    side, m = sides[0], sizes.scans
    for cases in (
        {f"{side} × {side} pixels": (side, 1, m) for side in dict.fromkeys(sides)},
        {f"{side} × {side}, {count} planes": (side, count, m) for count in (1, 4, 16)},
        {f"{side} × {side}, M = {count}": (side, 1, count) for count in (1, 2, 4, 8)},
    ):
        yield from _rows(bench, cases)
    yield from measure_positions(bench)


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


_VOXEL_UM = (0.1, 0.1, 0.1)
_FWHM_UM, _PITCH_UM = (0.7, 0.3, 0.3), (3.6, 1.8, 1.8)


def measure_bead_widths(bench: Bench) -> Iterator[Row]:
    """The beads of one volume; the imports are not counted."""
    size = bench.sizes.beads
    planted = plant_beads((81, size, size), _VOXEL_UM, _FWHM_UM, 10, pitch_um=_PITCH_UM)
    measure_beads(planted.volume[:, :64, :64], _VOXEL_UM)
    accepted = []

    def fit() -> None:
        accepted.append(int(measure_beads(planted.volume, _VOXEL_UM).accepted.sum()))

    times = Times(tuple(timed(fit) for _ in range(bench.sizes.repeats)))
    yield Row("beads", f"find and measure {accepted[-1]:,} beads", **times.spread)


_SHARE = Goal(0.55, "×", at_least=False, text="≤ 0.55 of rebuilding")
_SAME = Goal(0.55, "×", at_least=False, text="≤ 0.55 of rebuilding at few scans")


def measure_added_scan(bench: Bench) -> Iterator[Row]:
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
