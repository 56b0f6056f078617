"""Row 14: network, unpickling and files left behind (``tests/watched.py``)."""

from __future__ import annotations

import sys

from reliability._tests import module

WHAT = "commands to their end, without their input and with Ctrl-C, watched by an audit hook"
GOAL = "no connection beyond this computer, nothing unpickled, nothing left behind, no traceback"


def measure(quick: bool) -> tuple[str, bool]:
    """Run every command in each way."""
    watched = module("watched")

    runs = clean = done = 0
    for name, way, status, noted in watched.every(quick):
        runs, clean, done = runs + 1, clean + (not noted), done + (status == 0)
        print(name, way, status, *noted, sep=" | ", file=sys.stderr, flush=True)
    figure = f"{clean} of {runs} runs of {len(watched.COMMANDS)} commands clean ({done} done)"
    return figure, clean == runs
