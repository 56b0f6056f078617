"""What an experiment is: settings, a measured table, and lines beside the paper's values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from ..shared import Goal
from .lab import Lab, Row

NOT_MEASURED = "not measured"

Pictures = Mapping[str, npt.NDArray[np.float32]]
"""Images for a figure, by what they show."""


@dataclass(frozen=True)
class Outcome:
    """One line of the results."""

    what: str  # what was measured
    ours: str  # what came out, in words and numbers; "not measured" where nothing could be
    paper: str = ""  # what the paper, or else the method to beat, reaches; may be empty
    goal: Goal | None = None
    value: float = math.nan  # what a goal is held against
    missed: str = ""  # why the goal is missed whatever the value is; empty where the value decides

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        if self.goal is None:
            return ""
        return f"missed: {self.missed}" if self.missed else self.goal.verdict(self.value)


@dataclass(frozen=True)
class Experiment:
    """One experiment."""

    name: str  # what the command line and the files call it
    title: str  # what it asks, in a few words
    figure: str  # the paper's figure
    paper: str  # what the paper reports
    how: str  # what is done here, in one or two sentences
    # the rows of its table; images for the figure are left in ``Lab.pictures``
    measure: Callable[[Lab], Iterable[Row]]
    # the lines of the results, from the table alone
    outcomes: Callable[[pd.DataFrame], Iterable[Outcome]]
    draw: Callable[[pd.DataFrame, Pictures], Figure]
