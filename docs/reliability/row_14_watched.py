"""Row 14: network, unpickling and files left behind (``tests/watched.py``)."""

from __future__ import annotations

import sys

from reliability._tests import module

WHAT = "commands to their end, without their input and with Ctrl-C, watched by an audit hook"
GOAL = "no connection beyond this computer, nothing unpickled, nothing left behind, no traceback"


def measure(quick: bool) -> tuple[str, bool]:
    """Run every command in each way."""
    watched = module("watched")

    runs = list(watched.every(quick))
    for name, way, _, noted in runs:
        if noted:
            print(name, way, *noted, sep=" | ", file=sys.stderr)
    clean = sum(not noted for *_, noted in runs)
    done = sum(status == 0 for *_, status, _ in runs)
    return f"{clean} of {len(runs)} runs clean ({done} of them done)", clean == len(runs)
