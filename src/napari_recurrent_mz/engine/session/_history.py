"""Change that every scan brought, and whether the next one is worth while.

The criterion is the paper's (Huang et al. 2021, Discussion): scanning can stop when
‖V_M − V_(M−1)‖_F, the Frobenius norm of what a scan changed, falls below a threshold ε. Divided
by ‖V_M‖_F, the background of the camera taken off, it has no unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import Array
from ...core.metrics import FEWEST
from ...core.scans import FloatArray
from ...estimates.planning import percent


@dataclass(frozen=True, eq=False)
class Change:
    """How far one volume is from the one before."""

    #: (Z,), sum over each plane of the squared difference, in squared units of the scans
    squared: Array
    size: Array  #: (Z,), sum over each plane of the new volume squared, its background taken off

    @property
    def absolute(self) -> float:
        """‖V_M − V_(M−1)‖_F, in the scans' units."""
        return math.sqrt(float(self.squared.sum()))

    @property
    def relative(self) -> float:
        """The same over ‖V_M‖_F; 0 when nothing changed."""
        return float(_ratio(self.squared.sum(), self.size.sum()))

    @property
    def absolute_per_plane(self) -> Array:
        """The norm of every plane's change, shape (Z,), in the scans' units."""
        return np.sqrt(self.squared)

    @property
    def relative_per_plane(self) -> Array:
        """The same over the norm of the plane, shape (Z,)."""
        return _ratio(self.squared, self.size)


def _ratio(squared: npt.ArrayLike, size: npt.ArrayLike) -> Array:
    changed, whole = np.asarray(squared, np.float64), np.asarray(size, np.float64)
    empty = np.where(changed > 0, np.inf, 0.0)
    return np.sqrt(np.where(whole > 0, changed / np.where(whole > 0, whole, 1.0), empty))


class ChangeMeter:
    """Measures a change plane by plane; ``background`` is what the camera shows without light."""

    def __init__(self, planes: int, background: float) -> None:
        self._background = background
        self._squared, self._size, self._varying = np.zeros((3, planes))

    def add(self, index: int, before: FloatArray | None, after: FloatArray) -> None:
        """Measure plane ``index``, shape (Y, X); ``before`` is None for the first volume."""
        now = after.astype(np.float64)
        if before is not None:
            self._squared[index] = float(np.sum((now - before) ** 2))
        self._size[index] = float(np.sum((now - self._background) ** 2))
        self._varying[index] = now.size * float(now.var())

    def change(self) -> Change:
        """The change, once every plane has been added."""
        return Change(self._squared, self._size)

    @property
    def contrast(self) -> float:
        """Standard deviation of the planes over the norm of the volume."""
        return float(_ratio(self._varying.sum(), self._size.sum()))


@dataclass(frozen=True, eq=False)
class HistoryEntry:
    """One finished volume."""

    #: what led to it: added, removed, replaced, averaged, renormalised, reopened (after it was
    #: loaded with fewer scans or other weights), or several of these
    event: str
    scans: int  #: how many scans it is made from
    z_um: tuple[float, ...]  #: heights of the scans that came, went or changed
    names: tuple[str, ...]  #: what they are called
    method: str  #: what made it: with one scan the linear estimate, whatever the session's method
    change: Change | None  #: against the volume before; None for the first
    #: closed-form expected error of the linear estimate, relative to the standard deviation of the
    #: planes
    expected_error: float
    #: what the best next scan is expected to change, relative to the norm of the volume
    expected_change: float
    seconds: float  #: from the first plane to the last
    #: where the network's memory of the scans was: device, host or recomputed; empty where there
    #: was none
    state_place: str = ""

    @property
    def relative_change(self) -> float:
        """‖V_M − V_(M−1)‖_F / ‖V_M‖_F; NaN for the first volume."""
        return math.nan if self.change is None else self.change.relative

    @property
    def absolute_change(self) -> float:
        """‖V_M − V_(M−1)‖_F in the scans' units; NaN for the first volume."""
        return math.nan if self.change is None else self.change.absolute

    @property
    def counts(self) -> bool:
        """Whether its change says what another scan would bring."""
        return self.event == "added" and self.change is not None and self.scans >= FEWEST

    def as_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        values = asdict(self)
        if values["change"] is not None:
            values["change"] = {name: sums.tolist() for name, sums in values["change"].items()}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HistoryEntry:
        """The entry written by :meth:`as_dict`."""
        change = values["change"]
        if change is not None:
            change = Change(**{name: np.asarray(sums) for name, sums in dict(change).items()})
        lists = {name: tuple(values[name]) for name in ("z_um", "names")}
        return cls(**{**values, **lists, "change": change})


@dataclass(frozen=True)
class Verdict:
    """Whether another scan pays, for a person."""

    stop: bool
    #: about what another scan would change, relative to the norm of the volume; NaN when it cannot
    #: be told yet
    next_change: float = math.nan
    sentence: str = ""


def judged(history: Sequence[HistoryEntry], epsilon: float, *, by_network: bool = False) -> Verdict:
    """Judge the volumes so far against ε; ``by_network`` is whether a network makes them."""
    # Both the last scan and the best next one must change no more than that: a scan in an unlucky
    # place changes little though others would change much.
    if not history:
        return Verdict(False, sentence="There is no scan yet: add one.")
    last = history[-1]
    ahead = last.expected_change
    about = f"Another scan would change the volume by about {percent(ahead)}"
    if last.scans < FEWEST:
        rest = " The network is used from two scans on." if by_network and last.scans == 1 else ""
        taken = f"{last.scans} of at least {FEWEST} scans taken"
        return Verdict(False, ahead, f"{about}: go on, {taken}.{rest}")
    if ahead > epsilon:
        only = ""
        if last.counts and last.relative_change <= epsilon:
            only = f", though the last one changed {percent(last.relative_change)}"
        return Verdict(False, ahead, f"{about}, more than {percent(epsilon)}{only}: go on.")
    if not last.counts:
        return Verdict(False, ahead, f"{about}: one more will show whether it holds.")
    if last.relative_change > epsilon:
        changed = f"the last one still changed {percent(last.relative_change)}"
        return Verdict(False, ahead, f"{about}, but {changed}: go on.")
    return Verdict(True, ahead, f"{about}: you can stop.")
