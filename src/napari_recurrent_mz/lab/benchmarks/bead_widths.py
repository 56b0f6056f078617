"""Finding and measuring beads."""

from __future__ import annotations

from collections.abc import Iterator

from ...measure.beads import measure_beads, plant_beads
from ..shared import timed
from .base import Bench, Row, Times

_VOXEL_UM = (0.1, 0.1, 0.1)
_FWHM_UM, _PITCH_UM = (0.7, 0.3, 0.3), (3.6, 1.8, 1.8)


def measure(bench: Bench) -> Iterator[Row]:
    """The beads of one volume; the imports are not counted."""
    size = bench.sizes.beads
    planted = plant_beads((81, size, size), _VOXEL_UM, _FWHM_UM, 10, pitch_um=_PITCH_UM)
    measure_beads(planted.volume[:, :64, :64], _VOXEL_UM)
    accepted = []

    def fit() -> None:
        accepted.append(int(measure_beads(planted.volume, _VOXEL_UM).accepted.sum()))

    times = Times(tuple(timed(fit) for _ in range(bench.sizes.repeats)))
    yield Row("beads", f"find and measure {accepted[-1]:,} beads", **times.spread)
