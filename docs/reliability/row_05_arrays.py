"""Row 5: arrays of every kind at everything public (``tests/arrays.py``)."""

from __future__ import annotations

import sys
from collections import Counter

from reliability._tests import module

WHAT = "kinds of arrays, each given to every public entry that takes an image, stack or points"
GOAL = "each right or refused in one sentence: none silent, none raw"


def measure(quick: bool) -> tuple[str, bool]:
    """Give each kind to each entry."""
    arrays = module("arrays")

    came: Counter[str] = Counter()
    for number, entry in enumerate(arrays.ENTRIES):
        for kind in arrays.KINDS[number % 8 :: 8] if quick else arrays.KINDS:
            what, told = arrays.outcome(entry, kind)
            came[what] += 1
            if what not in (*arrays.GOOD, "none such"):
                print(entry.name, kind.name, what, told, sep=" | ", file=sys.stderr)
    del came["none such"]
    total, good = sum(came.values()), sum(came[what] for what in arrays.GOOD)
    parts = ", ".join(f"{count} {what}" for what, count in came.most_common())
    size = f"{len(arrays.KINDS)} kinds, {len(arrays.ENTRIES)} entries"
    return f"{good} of {total} ({size}): {parts}", good == total
