"""Parts of an experiment: settings, a measured table, and results beside the paper's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .lab import Lab


@dataclass(frozen=True)
class Settings:
    """How large the experiments are, and what they are given."""

    size: int = 160  # lateral pixels of the simulated fields, >= 32
    samples: int = 3  # simulated samples of each kind
    z_step_um: float = 0.2  # of the simulated stacks; the paper's is 0.2
    every_um: float = 0.6  # between the planes that are judged
    draws: int = 50  # where chance is the question (position errors, spacings)
    plane_sets: int = 10  # random sets of planes from each real stack
    crop: int = 256  # largest side in pixels that those sets see of a real stack
    real_size: int = 4096  # the same for the planes as stated
    bench_size: int = 1024  # lateral pixels of the timed planes
    seed: int = 5  # training fields have seed 1, those for choosing weights seed 2
    data: Path | None = None  # folder of real, fully sampled stacks
    weights: Mapping[str, str] = field(default_factory=dict)  # by what they serve
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
class Goal:
    """A limit that a measured value is to keep."""

    limit: float
    unit: str = ""
    at_least: bool = True  # the value is to be at or above it, else at or below
    text: str = ""  # the goal, where words say more than the number

    @property
    def words(self) -> str:
        """The goal as the table has it."""
        return self.text or f"{'≥' if self.at_least else '≤'} {self.limit:g}{_spaced(self.unit)}"

    def met(self, value: float) -> bool:
        """Whether ``value`` keeps the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def verdict(self, value: float) -> str:
        """``met``, or by how much the goal is missed."""
        if math.isnan(value):
            return "not measured"
        if self.met(value):
            return "met"
        return f"missed by {abs(value - self.limit):.2g}{_spaced(self.unit)}"


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""


@dataclass(frozen=True)
class Outcome:
    """One line of the results."""

    what: str  # was measured
    ours: str  # in words and numbers, or "not measured"
    paper: str = ""  # what the paper, or else the method to beat, reaches
    goal: Goal | None = None
    value: float = math.nan  # held against the goal; NaN where there is none
    missed: str = ""  # why the goal is missed whatever the value is

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        if self.goal is None:
            return ""
        return f"missed: {self.missed}" if self.missed else self.goal.verdict(self.value)


@dataclass(frozen=True, eq=False)
class Measured:
    """Measurements of an experiment."""

    table: pd.DataFrame  # one row for every value or plane
    pictures: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)  # for the figure


@dataclass(frozen=True)
class Experiment:
    """One experiment."""

    name: str  # on the command line and of the files
    title: str  # what it asks, in a few words
    figure: str  # the paper's
    paper: str  # what the paper reports
    how: str  # what is done here, in one or two sentences
    measure: Callable[[Lab], Measured]
    outcomes: Callable[[pd.DataFrame], list[Outcome]]  # from the table alone
    draw: Callable[[Measured], Figure]


NOT_MEASURED = "not measured"
