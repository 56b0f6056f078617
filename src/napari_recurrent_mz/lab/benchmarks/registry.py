"""The subjects of the benchmark, by name, and how they are run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ..shared import by_name
from .base import Bench, Measure, Row


@dataclass(frozen=True)
class Subject:
    """One part of the benchmark."""

    name: str  # what the command line calls it
    about: str  # what it measures, in a few words
    measure: Measure


def chosen(names: Sequence[str], *, full: bool = False) -> list[Subject]:
    """The subjects of these names, or all; in ``full``, the large volume is made whole."""
    from . import added_scan, growth, memory, opening, plane

    stream = partial(memory.measure_streaming, full=full)
    every = [
        Subject("volume", "a whole volume on a GPU", plane.measure_volume),
        Subject("added-scan", "one more scan beside rebuilding", added_scan.measure),
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
