"""Row 4: the window is closed while a dock is at work."""

from __future__ import annotations

import faulthandler
import gc
import itertools
import time

import numpy as np
from reliability._docks import (
    DOCKS,
    Tracebacks,
    is_idle,
    let_pass,
    let_work,
    open_viewer,
    own_folder,
    sentences,
    threads,
)

WHAT = "the window closed while a dock is at work: every dock that works in threads, in turn"
GOAL = "no abort, no traceback, no thread left"
LONGEST_S = 1.5
PATIENCE_S = 60.0


def measure(quick: bool) -> tuple[str, bool]:
    """Close windows in turn, at random times; an abort ends this process."""
    faulthandler.enable()
    count, rng = (len(DOCKS) if quick else 100), np.random.default_rng(4)
    late, longest, working = 0, 0.0, 0
    with own_folder(), Tracebacks() as tracebacks:
        for name in DOCKS:  # starts the threads that stay for the next time
            close_at_work(name, LONGEST_S)
        let_pass(1.0)
        before = threads()
        for _, name in zip(range(count), itertools.cycle(DOCKS), strict=False):
            seconds, was_at_work = close_at_work(name, float(rng.uniform(0, LONGEST_S)))
            working += was_at_work
            late += seconds >= PATIENCE_S
            longest = max(longest, seconds)
        gc.collect()
        let_work(lambda: threads() <= before, 5.0)
        left = threads() - before
    figure = (
        f"{count} windows closed, {working} with a thread at work: "
        f"{len(tracebacks.seen)} tracebacks, {len(left)} threads left, "
        f"all idle after at most {longest:.1f} s"
    )
    if tracebacks.seen or left:
        figure += f" ({sentences([*tracebacks.seen, *left])})"
    return figure, not (tracebacks.seen or left or late)


def close_at_work(name: str, after_s: float) -> tuple[float, bool]:
    """Close a window some seconds after a dock in it began.

    Seconds until nothing works any more, and whether something did when it was closed.
    """
    viewer = open_viewer()
    dock = DOCKS[name](viewer)
    dock.act()
    let_pass(after_s)
    was_at_work, began = not is_idle(), time.monotonic()
    viewer.close()
    del viewer, dock
    let_work(is_idle, PATIENCE_S)
    let_pass(0.1)
    return time.monotonic() - began, was_at_work
