"""All experiments by name, in the order of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from ..shared import by_name
from .base import Experiment
from .bead_widths import BEAD_WIDTHS
from .confocal import CONFOCAL
from .next_scan import NEXT_SCAN, STOPPING
from .order import NUMBER, ORDER, REPETITION
from .own_sample import OWN_SAMPLE
from .real import ANY_PLANES, REAL_STACKS
from .samples import BUDGET, OTHER_OBJECTIVES, SPARSE_SAMPLES, WORM
from .spacing import DISTANCES, POSITION, RANDOM_SPACING
from .speed import ONE_MORE_SCAN, SPEED

EXPERIMENTS: tuple[Experiment, ...] = (
    WORM,
    BUDGET,
    NUMBER,
    BEAD_WIDTHS,
    RANDOM_SPACING,
    DISTANCES,
    POSITION,
    ORDER,
    REPETITION,
    CONFOCAL,
    SPARSE_SAMPLES,
    OTHER_OBJECTIVES,
    REAL_STACKS,
    ANY_PLANES,
    OWN_SAMPLE,
    STOPPING,
    NEXT_SCAN,
    SPEED,
    ONE_MORE_SCAN,
)


def chosen(names: Sequence[str]) -> list[Experiment]:
    """The experiments of these names, in the paper's order; all of them for no name."""
    known = {experiment.name: experiment for experiment in EXPERIMENTS}
    experiments = by_name(known, names, "There is no experiment")
    return sorted(experiments, key=EXPERIMENTS.index)
