"""What experiments and benchmarks share: goals, tables, choosing by name, and how it was made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from .. import __version__
from ..core.scans import InputError, listed


@dataclass(frozen=True)
class Goal:
    """A limit that a measured value is to keep."""

    limit: float
    unit: str = ""  # said after the value
    at_least: bool = True  # whether the value is to be at or above the limit, else at or below it
    text: str = ""  # the goal in words, where they say more than the number

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


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown has it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
                     for line in lines) + "\n"  # fmt: skip


T = TypeVar("T")


def by_name(known: Mapping[str, T], names: Sequence[str], none: str) -> list[T]:
    """Those of these names, in their order; all of them for no name."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"{none} '{unknown[0]}': choose from {listed(list(known))}.")
    return [known[name] for name in dict.fromkeys(names or known)]


def provenance(command: str) -> dict[str, Any]:
    """How numbers come about, JSON-able: the command, the moment and the version."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"command": command, "date": now, "version": __version__}


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
