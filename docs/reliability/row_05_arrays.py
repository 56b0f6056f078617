"""Row 5: arrays of every kind at everything public, in files and as layers."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

from reliability import _arrays_in_docks, _arrays_in_files
from reliability._tests import module

WHAT = (
    "kinds of arrays, each given to every public entry that takes an image, stack or points, "
    "as a TIFF to every command that reads one, and as layers to every dock"
)
GOAL = "each right or refused in one sentence: none silent, none raw"
Came = tuple[str, str, str, str]


def in_python(quick: bool) -> Iterator[Came]:
    """Entry, kind, what came of it and what was said (``tests/arrays.py``)."""
    arrays = module("arrays")
    for number, entry in enumerate(arrays.ENTRIES):
        for kind in arrays.KINDS[number % 8 :: 8] if quick else arrays.KINDS:
            yield entry.name, kind.name, *arrays.outcome(entry, kind)


def measure(quick: bool) -> tuple[str, bool]:
    """Give each kind to each entry, command and dock."""
    good, figures, holds = module("arrays").GOOD, list[str](), True
    for where, outcomes in (
        ("Python", in_python),
        ("files", _arrays_in_files.outcomes),
        ("docks", _arrays_in_docks.outcomes),
    ):
        came, entries, kinds = Counter[str](), set[str](), set[str]()
        for entry, kind, what, told in outcomes(quick):
            if what == "none such":
                continue
            came[what] += 1
            entries.add(entry)
            kinds.add(kind)
            if what not in good:
                print(entry, kind, what, told, sep=" | ", file=sys.stderr, flush=True)
        parts = ", ".join(f"{count} {what}" for what, count in came.most_common())
        right = sum(came[what] for what in good)
        figures.append(
            f"{where}: {right} of {came.total()} ({len(kinds)} kinds, {len(entries)} entries): "
            f"{parts}"
        )
        holds &= right == came.total()
    return "; ".join(figures), holds
