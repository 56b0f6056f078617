"""The subjects of the benchmark: what a row is, how large tasks are, how times are compared."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from multiprocessing import get_context
from typing import Any, TypeVar

from ...core.device import Device
from ...core.progress import nobody
from ...engine.batch._pool import environment as changed
from ...networks.weights import Model, load_model
from ..shared import Goal, by_name


@dataclass(frozen=True)
class Sizes:
    """How large the tasks are."""

    pixels: int = 1024  # lateral pixels of the images
    large: int = 4096  # lateral pixels of the images that do not fit in memory as a volume
    planes: int = 101  # planes of a volume
    few: int = 6  # planes that stand for the volume where all of them would take hours
    scans: int = 3  # M, and the M at which one more scan is added to many
    many_scans: int = 10
    compared: int = 384  # lateral pixels of the simulated sample on which results are compared
    beads: int = 592  # lateral pixels of the volume whose beads are measured
    repeats: int = 5  # how often everything is timed


FULL = Sizes()
QUICK = Sizes(
    pixels=256, large=512, planes=11, few=2, many_scans=4, compared=96, beads=192, repeats=3
)
"""Sizes of a run that shows that everything works; its numbers say little."""

_SECONDS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
_ABSENT = "not on this machine"


@dataclass(frozen=True, eq=False)
class Bench:
    """What every subject is given."""

    device: Device
    model_name: str | None = None  # as for :func:`~.load_model`
    sizes: Sizes = FULL
    # told what is going on, in one sentence
    note: Callable[[str], None] = field(default=nobody)

    @property
    def model(self) -> Model:
        """The network's weights, loaded once."""
        return load_model(self.model_name)

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a CUDA GPU."""
        return self.device.kind == "cuda"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    subject: str  # which part of the benchmark it is of
    what: str  # what was measured
    # the median, the least and the most of the repetitions; NaN where there is none
    value: float = math.nan
    unit: str = "s"
    low: float = math.nan
    high: float = math.nan
    # beside what it is compared with; NaN where it is compared with nothing
    ratio: float = math.nan
    against: str = ""  # what the ratio is to, with its own numbers
    goal: Goal | None = None  # limits of ``value`` and of ``ratio``
    ratio_goal: Goal | None = None
    words: str = ""  # what else there is to know
    absent: str = ""  # why it is not measured here; empty where it is

    @classmethod
    def beside(
        cls, what: tuple[str, str], ours: Times, reference: Times, against: str, **rest: Any
    ) -> Row:
        """One way beside another: subject and what was measured, times, what the other is."""
        words = f"{against}: {reference.words}"
        return cls(
            what[0], what[1], **ours.spread, ratio=ours.ratio(reference), against=words, **rest
        )

    @property
    def verdict(self) -> str:
        """Whether the goals are met: ``met``, what is missed, or why nothing can be said."""
        if self.absent:
            return f"{_ABSENT}: {self.absent}"
        pairs = ((self.goal, self.value), (self.ratio_goal, self.ratio))
        verdicts = [goal.verdict(value) for goal, value in pairs if goal is not None]
        open_ = [verdict for verdict in verdicts if verdict != "met"]
        return "; ".join(open_) if open_ else "met" if verdicts else ""

    @property
    def goals(self) -> str:
        """The limits in words."""
        return ", ".join(goal.words for goal in (self.goal, self.ratio_goal) if goal is not None)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: what is not known is left out; with the verdict."""
        record = {
            name: value
            for name, value in asdict(self).items()
            if value not in (None, "") and not (isinstance(value, float) and math.isnan(value))
        }
        return {**record, "verdict": self.verdict}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Row:
        """What :meth:`as_dict` made; the verdict is computed anew."""
        names = {f.name for f in fields(cls)}
        values = {name: value for name, value in given.items() if name in names}
        for name in ("goal", "ratio_goal"):
            if name in values:
                values[name] = Goal(**values[name])
        return cls(**values)


@dataclass(frozen=True)
class Times:
    """Seconds of every repetition."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> dict[str, Any]:
        """Value, low and high of a :class:`Row`."""
        return {"value": self.median, "low": min(self.seconds), "high": max(self.seconds)}

    @property
    def words(self) -> str:
        """Median, least and most, as a person reads them."""
        return in_words(self.median, "s", min(self.seconds), max(self.seconds))

    def ratio(self, other: Times) -> float:
        """How many times as long the other takes: of the medians."""
        return other.median / self.median


def in_words(value: float, unit: str, low: float = math.nan, high: float = math.nan) -> str:
    """``0.31 s (0.30–0.33)``; seconds in the unit that suits them, nothing for NaN."""
    if math.isnan(value):
        return ""
    if unit == "s":
        name, size = next((u for u in _SECONDS if value >= 0.1 * u[1]), _SECONDS[-1])
        value, low, high, unit = value / size, low / size, high / size, name
    spread = "" if math.isnan(low) or low == high else f" ({low:.3g}–{high:.3g})"
    return f"{value:.3g} {unit}".strip() + spread


def interleaved(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Times]:
    """Time several ways in turn (A B A B …), so that a busy moment falls on all of them."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        call()
    for _ in range(repeats):
        for name, call in ways.items():
            begun = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begun)
    return {name: Times(tuple(seconds)) for name, seconds in taken.items()}


@dataclass(frozen=True)
class Subject:
    """One part of the benchmark."""

    name: str  # what the command line calls it
    about: str  # what it measures, in a few words
    measure: Callable[[Bench], Iterator[Row]]


def chosen(names: Sequence[str], *, full: bool = False) -> list[Subject]:
    """The subjects of these names, or all; in ``full``, the large volume is made whole."""
    from . import growth, memory, opening, plane

    stream = partial(memory.measure_streaming, full=full)
    every = [
        Subject("volume", "a whole volume on a GPU", plane.measure_volume),
        Subject("added-scan", "one more scan beside rebuilding", growth.measure_added_scan),
        Subject("first-plane", "from the scans to the first plane", plane.measure_first),
        Subject("plane", "one plane beside the plain network", plane.measure_plane),
        Subject("older-cpu", "the same within older instruction sets", plane.measure_older),
        Subject("equality", "the fast path's result and the plain one's", plane.measure_equality),
        Subject("preview", "the linear MMSE preview of a volume", plane.measure_preview),
        Subject("streaming", "a volume larger than memory, to disk", stream),
        Subject("gpu-memory", "a GPU's memory given back, and short", memory.measure_gpu_memory),
        Subject("opening", "import, dock, weights", opening.measure),
        Subject("growth", "time over pixels, planes, scans and positions", growth.measure_growth),
        Subject("beads", "beads found and measured", growth.measure_bead_widths),
    ]
    return by_name({subject.name: subject for subject in every}, names, "The benchmark has no")


def run(subjects: Sequence[Subject], bench: Bench) -> Iterator[Row]:
    """Measure one subject after another; ``bench.note`` is told what runs."""
    for number, subject in enumerate(subjects, start=1):
        bench.note(f"{number}/{len(subjects)} {subject.name}: {subject.about}")
        yield from subject.measure(bench)


_MARK = "result: "
T = TypeVar("T")


class ChildError(RuntimeError):
    """The process ended without a result; the message is its last line."""


def in_child(
    measure: Callable[..., T],
    bench: Bench,
    *given: object,
    environment: Mapping[str, str] | None = None,
) -> T:
    """What a function returns in a fresh process, given the bench and more."""
    try:
        with changed(environment or {}), ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(measure, replace(bench, note=nobody), *given).result()
    except Exception as error:
        raise ChildError(f"{type(error).__name__}: {error}") from error


def script_result(command: list[str], environment: Mapping[str, str] | None = None) -> Any:
    """What a process prints after the mark, as JSON."""
    done = subprocess.run(  # noqa: S603  (our own interpreter and our own text)
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not lines:
        last = (done.stderr.strip() or "no result").splitlines()[-1]
        raise ChildError(f"{last} (status {done.returncode})")
    return json.loads(lines[-1].removeprefix(_MARK))
