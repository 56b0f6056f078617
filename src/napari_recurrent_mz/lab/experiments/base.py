"""What an experiment is: settings, a measured table, and lines beside the paper's values."""

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
    """How large the experiments are, and what they are given.

    Parameters
    ----------
    size : int
        Lateral pixels of the simulated fields, at or above 32.
    samples : int
        Simulated samples of each kind.
    z_step_um : float
        Plane distance of the simulated stacks, in micrometres (the paper's is 0.2).
    every_um : float
        Distance between the planes that are judged, in micrometres.
    draws : int
        Random draws where chance is the question (position errors, spacings).
    plane_sets : int
        Random sets of planes drawn from each real stack.
    crop : int
        Largest side, in pixels, of what the random sets see of a real stack.
    real_size : int
        The same for the planes as stated.
    bench_size : int
        Lateral pixels of the timed planes.
    seed : int
        Of every random number here; fields for training have seed 1, those for choosing
        weights seed 2.
    data : Path, optional
        Folder of real, fully sampled stacks.
    weights : mapping of str to str
        Weights by what they serve: a method's name, or what an experiment asks for.
    device : str
        auto, cuda, mps or cpu.
    """

    size: int = 160
    samples: int = 3
    z_step_um: float = 0.2
    every_um: float = 0.6
    draws: int = 50
    plane_sets: int = 10
    crop: int = 256
    real_size: int = 4096
    bench_size: int = 1024
    seed: int = 5
    data: Path | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"

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
    """A limit that a measured value is to keep.

    Attributes
    ----------
    limit : float
    unit : str
        Said after the value.
    at_least : bool
        Whether the value is to be at or above the limit, else at or below it.
    text : str
        The goal in words, where they say more than the number.
    """

    limit: float
    unit: str = ""
    at_least: bool = True
    text: str = ""

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
    """One line of the results.

    Attributes
    ----------
    what : str
        What was measured.
    ours : str
        What came out, in words and numbers; "not measured" where nothing could be.
    paper : str
        What the paper, or else the method to beat, reaches; may be empty.
    goal : Goal, optional
    value : float
        What the goal is held against; NaN where there is none.
    missed : str
        Why the goal is missed whatever the value is; empty where the value decides.
    """

    what: str
    ours: str
    paper: str = ""
    goal: Goal | None = None
    value: float = math.nan
    missed: str = ""

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        if self.goal is None:
            return ""
        return f"missed: {self.missed}" if self.missed else self.goal.verdict(self.value)


@dataclass(frozen=True, eq=False)
class Measured:
    """What an experiment found.

    Attributes
    ----------
    table : pandas.DataFrame
        One row for every value or plane, with what it belongs to.
    pictures : mapping of str to numpy.ndarray
        Images for the figure, by what they show.
    """

    table: pd.DataFrame
    pictures: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes
    ----------
    name : str
        What the command line and the files call it.
    title : str
        What it asks, in a few words.
    figure : str
        The paper's figure.
    paper : str
        What the paper reports.
    how : str
        What is done here, in one or two sentences.
    measure : callable
        Does the work in a :class:`~.lab.Lab`.
    outcomes : callable
        The lines of the results, from the table alone.
    draw : callable
        The figure.
    """

    name: str
    title: str
    figure: str
    paper: str
    how: str
    measure: Callable[[Lab], Measured]
    outcomes: Callable[[pd.DataFrame], list[Outcome]]
    draw: Callable[[Measured], Figure]


NOT_MEASURED = "not measured"
