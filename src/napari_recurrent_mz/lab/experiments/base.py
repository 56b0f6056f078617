"""What an experiment is: settings, a measured table, and lines beside the paper's values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..shared import Goal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .lab import Lab


@dataclass(frozen=True)
class Settings:
    """How large the experiments are, and what they are given."""

    size: int = 160  # lateral pixels of the simulated fields, at or above 32
    samples: int = 3  # simulated samples of each kind
    # plane distance of the simulated stacks, in micrometres (the paper's is 0.2)
    z_step_um: float = 0.2
    every_um: float = 0.6  # distance between the planes that are judged, in micrometres
    draws: int = 50  # random draws where chance is the question (position errors, spacings)
    plane_sets: int = 10  # random sets of planes drawn from each real stack
    crop: int = 256  # largest side, in pixels, of what the random sets see of a real stack
    real_size: int = 4096  # the same for the planes as stated
    bench_size: int = 1024  # lateral pixels of the timed planes
    # of every random number; fields for training have seed 1, those for choosing weights seed 2
    seed: int = 5
    data: Path | None = None  # folder of real, fully sampled stacks
    # weights by what they serve: a method's name, or what an experiment asks for
    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"  # auto, cuda, mps or cpu

    def changed(self) -> dict[str, Any]:
        """The numbers that differ from the defaults, by name."""
        plain = Settings()
        numbers = [f.name for f in fields(self) if isinstance(getattr(plain, f.name), int | float)]
        return {n: getattr(self, n) for n in numbers if getattr(self, n) != getattr(plain, n)}


QUICK: Mapping[str, int | float] = {
    "size": 48, "samples": 1, "z_step_um": 0.6, "every_um": 2.4, "draws": 3, "plane_sets": 2,
    "crop": 64, "real_size": 64, "bench_size": 64,
}  # fmt: skip
"""Settings of a run that shows that everything works, whose numbers mean nothing."""


@dataclass(frozen=True)
class Outcome:
    """One line of the results."""

    what: str  # what was measured
    ours: str  # what came out, in words and numbers; "not measured" where nothing could be
    paper: str = ""  # what the paper, or else the method to beat, reaches; may be empty
    goal: Goal | None = None
    value: float = math.nan  # what the goal is held against; NaN where there is none
    missed: str = ""  # why the goal is missed whatever the value is; empty where the value decides

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        if self.goal is None:
            return ""
        return f"missed: {self.missed}" if self.missed else self.goal.verdict(self.value)


@dataclass(frozen=True, eq=False)
class Measured:
    """What an experiment found."""

    table: pd.DataFrame  # one row for every value or plane, with what it belongs to
    # images for the figure, by what they show
    pictures: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One experiment."""

    name: str  # what the command line and the files call it
    title: str  # what it asks, in a few words
    figure: str  # the paper's figure
    paper: str  # what the paper reports
    how: str  # what is done here, in one or two sentences
    measure: Callable[[Lab], Measured]  # does the work in a :class:`~.lab.Lab`
    # the lines of the results, from the table alone
    outcomes: Callable[[pd.DataFrame], list[Outcome]]
    draw: Callable[[Measured], Figure]  # the figure


NOT_MEASURED = "not measured"
