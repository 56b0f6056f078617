"""All experiments by name, in the order of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from ..scans import InputError
from .base import Experiment
from .bead_widths import BEAD_WIDTHS
from .budget import BUDGET
from .confocal import CONFOCAL
from .gains import OTHER_OBJECTIVES, SPARSE_SAMPLES
from .invariance import NUMBER, ORDER, REPETITION
from .next_scan import NEXT_SCAN
from .one_more_scan import ONE_MORE_SCAN
from .own_sample import OWN_SAMPLE
from .position import POSITION
from .real import ANY_PLANES, REAL_STACKS
from .spacing import DISTANCES, RANDOM_SPACING
from .speed import SPEED
from .stopping import STOPPING
from .worm import WORM

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
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"There is no experiment '{unknown[0]}': choose some of {', '.join(known)}."
        )
    return [e for e in EXPERIMENTS if not names or e.name in names]
