"""How the time of a batch grows with its positions."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...core.scans import InputError
from ...engine.batch import BatchSettings, find_jobs, run_batch
from ...io import write_volume
from ..shared import timed
from .base import Bench, Row, in_words
from .scene import OPTICS, grid, noise_scans

_COUNTS = (1, 2, 4)
_METHOD = "recurrent-mz"


def measure(bench: Bench) -> Iterator[Row]:
    """Time for a position, files read and written, one at a time."""
    side = max(bench.sizes.pixels // 4, 64)
    what = f"batch, {bench.sizes.few} planes of {side} × {side} a position"
    seconds: dict[int, float] = {}
    for count in _COUNTS:
        name = f"{what}: time for a position, {count} of them"
        try:
            seconds[count] = _seconds(bench, side, count) / count
        except InputError as error:
            yield Row("growth", name, absent=str(error))
            return
        first = seconds[_COUNTS[0]]
        yield Row(
            "growth",
            name,
            seconds[count],
            ratio=seconds[count] / first if count > _COUNTS[0] else math.nan,
            against=f"1 of them: {in_words(first, 's')}",
        )


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
