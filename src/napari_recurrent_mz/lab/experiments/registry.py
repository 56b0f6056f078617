"""All experiments by name, in the order of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from ..shared import by_name
from . import bead_widths, confocal, next_scan, order, own_sample, real, samples, spacing, speed
from .base import Experiment

EXPERIMENTS: tuple[Experiment, ...] = (
    samples.WORM,
    samples.BUDGET,
    order.NUMBER,
    bead_widths.BEAD_WIDTHS,
    spacing.RANDOM_SPACING,
    spacing.DISTANCES,
    spacing.POSITION,
    order.ORDER,
    order.REPETITION,
    confocal.CONFOCAL,
    samples.SPARSE_SAMPLES,
    samples.OTHER_OBJECTIVES,
    real.REAL_STACKS,
    real.ANY_PLANES,
    own_sample.OWN_SAMPLE,
    next_scan.STOPPING,
    next_scan.NEXT_SCAN,
    speed.SPEED,
    speed.ONE_MORE_SCAN,
)


def chosen(names: Sequence[str]) -> list[Experiment]:
    """The experiments of these names, in the paper's order; all of them for no name."""
    known = {experiment.name: experiment for experiment in EXPERIMENTS}
    experiments = by_name(known, names, "There is no experiment")
    return sorted(experiments, key=EXPERIMENTS.index)
