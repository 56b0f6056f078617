"""How long a window stands still: a timer that is due every 5 ms notes when it comes.

What lies between two of its ticks is time in which the window answered nobody: handlers in the
GUI thread, and waits for the interpreter that a worker holds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from qtpy.QtCore import QTimer

HEADER = "method        part            seconds  median gap  99 % below     longest  > 100 ms"

_TICK_MS = 5
_STALL_S = 0.1


class StallTimer:
    """Ticks from now on, until it is stopped."""

    def __init__(self) -> None:
        self._ticks = [time.perf_counter()]
        self._timer = QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(lambda: self._ticks.append(time.perf_counter()))
        self._timer.start()

    def stop(self) -> None:
        """Tick no more."""
        self._timer.stop()
        self._ticks.append(time.perf_counter())

    def print_parts(self, method: str, begins: Mapping[str, float]) -> None:
        """Print a line for each part, which ends as the next one begins; a gap is of its end's."""
        times = np.array(self._ticks)
        gaps, ends = np.diff(times), times[1:]
        limits = [*begins.values(), np.inf]
        for number, part in enumerate(begins):
            some = gaps[(ends >= limits[number]) & (ends < limits[number + 1])]
            print(
                f"{method:<14}{part:<15}{some.sum():>8.1f}"
                f"{1e3 * np.median(some):>9.0f} ms{1e3 * np.quantile(some, 0.99):>9.0f} ms"
                f"{1e3 * some.max():>9.0f} ms{int((some > _STALL_S).sum()):>10}",
                flush=True,
            )
