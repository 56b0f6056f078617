"""The subjects of the benchmark, by name, and how they are run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..scans import InputError, listed
from .base import Bench, Measure, Row


@dataclass(frozen=True)
class Subject:
    """One part of the benchmark."""

    name: str  # on the command line
    about: str  # what it measures, in a few words
    measure: Measure


def subjects(*, full: bool = False) -> list[Subject]:
    """All subjects, in the order of the table.

    ``full`` makes the volume that goes to disk whole, which takes hours on a CPU.
    """
    from . import (
        added_scan,
        bead_widths,
        equality,
        gpu_memory,
        growth,
        opening,
        plane,
        streaming,
        volume,
    )

    stream = streaming.measure_all if full else streaming.measure
    return [
        Subject("volume", "a whole volume on a GPU", volume.measure),
        Subject("added-scan", "one more scan beside rebuilding", added_scan.measure),
        Subject("first-plane", "from the scans to the first plane", volume.measure_first),
        Subject("plane", "one plane beside the plain network", plane.measure),
        Subject("older-cpu", "the same within older instruction sets", plane.measure_older),
        Subject("equality", "the fast path's result beside the plain one's", equality.measure),
        Subject("preview", "the linear MMSE preview of a volume", volume.measure_preview),
        Subject("streaming", "a volume larger than memory, to disk", stream),
        Subject("gpu-memory", "a GPU's memory given back, and short", gpu_memory.measure),
        Subject("opening", "import, dock, weights", opening.measure),
        Subject("growth", "time over pixels, planes, scans and positions", growth.measure),
        Subject("beads", "beads found and measured", bead_widths.measure),
    ]


def chosen(names: Sequence[str], *, full: bool = False) -> list[Subject]:
    """The subjects of these names, or all."""
    known = {subject.name: subject for subject in subjects(full=full)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"The benchmark has no '{unknown[0]}': choose from {listed(list(known))}.")
    return [known[name] for name in dict.fromkeys(names or known)]


def run(some: Sequence[Subject], bench: Bench) -> Iterator[Row]:
    """Measure one subject after another; ``bench.note`` is told what runs."""
    for number, subject in enumerate(some, start=1):
        bench.note(f"{number}/{len(some)} {subject.name}: {subject.about}")
        yield from subject.measure(bench)
