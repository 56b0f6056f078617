"""What a live session is asked by the window, and what it tells; plain values between threads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...acquisition import Ended, Microscope
from ...core.scans import Scan
from ...measure.plots.live import ErrorOverZ

Bytes = npt.NDArray[np.uint8]

# --- what is asked --------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Add:
    """Take this scan; how to go on where there is one at its height, or it looks wrong."""

    scan: Scan
    pixel_um: float | None = None
    on_duplicate: str | None = None
    accept_doubtful: bool = False

    def answered(self, choice: str) -> Add:
        """The same after a person has chosen one of :attr:`Asked.choices`."""
        if choice == ACCEPT:
            return replace(self, accept_doubtful=True)
        return replace(self, on_duplicate=choice)


@dataclass(frozen=True)
class Remove:
    """Let a scan go, by number; the last one is -1."""

    number: int = -1


@dataclass(frozen=True)
class Renormalise:
    """Measure the intensity scale again, on all scans there are."""


@dataclass(frozen=True)
class MakePlan:
    """Say how few scans reach this expected error, above 0 and below 1, and where."""

    target_error: float


@dataclass(frozen=True)
class Wake:
    """Nothing: look whether something else has changed."""


@dataclass(frozen=True, eq=False)
class TakeScan:
    """Scan at a height in micrometres, or where the stage stands."""

    microscope: Microscope
    z_um: float | None = None


@dataclass(frozen=True, eq=False)
class Acquire:
    """Scan until another scan no longer pays."""

    microscope: Microscope
    epsilon: float
    max_scans: int
    afterwards: str = "return"


ACCEPT = "accept"


# --- what is told ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Started:
    """The session is there."""

    session: Any


@dataclass(frozen=True)
class NotStarted:
    """Why there is no session."""

    sentence: str


@dataclass(frozen=True, eq=False)
class Asked:
    """A scan that a person must decide on: one of ``choices``, or not to take it."""

    add: Add
    sentence: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """A sentence and its kind."""

    sentence: str
    kind: str = "hint"


@dataclass(frozen=True, eq=False)
class ScanLine:
    """A line of the scan list.

    ``change`` is what the volume changed when it came, NaN when that is not known (yet);
    ``together`` is how many scans brought that change, ``is_first`` whether there was no
    volume before it. The thumbnail is (Y, X) in grey levels.
    """

    name: str
    z_um: float
    thumbnail: Bytes
    change: float
    together: int = 1
    is_first: bool = False
    is_pending: bool = False


@dataclass(frozen=True, eq=False)
class Listed:
    """The scans there are, what they say of the planes, and whether the volume has them all.

    ``contrast`` shows the scans well; of a volume that is finished, ``values`` are the lowest and
    the highest.
    """

    lines: tuple[ScanLine, ...]
    over_z: ErrorOverZ
    is_pending: bool
    values: tuple[float, float] = (0.0, 1.0)
    contrast: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Filled:
    """A plane of the volume is new: ``stage`` is scan, linear or network."""

    index: int
    stage: str
    is_final: bool
    done: int
    total: int


@dataclass(frozen=True)
class StageAt:
    """The stage was read at this height, in micrometres."""

    z_um: float


@dataclass(frozen=True)
class MicroscopeFree:
    """What was asked of the microscope is done; ``ended`` says how an automatic run ended."""

    ended: Ended | None = None
