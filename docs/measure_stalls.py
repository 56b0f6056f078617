"""How long the window stands still while the Live dock scans by itself, in a table.

Run it where a window can open, or in a virtual display::

    QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1920x1200x24" python docs/measure_stalls.py

``_stall_timer`` says what a gap is. What belongs to the window itself is opening: until it has
been painted with the dock for the first time and has come to rest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import napari
from _stall_timer import HEADER, StallTimer

from napari_recurrent_mz.scans import ZGrid
from napari_recurrent_mz.widgets._live_demo import scan_by_itself
from napari_recurrent_mz.widgets.demo import SETTLE_MS, wait
from napari_recurrent_mz.widgets.live import LiveDock

_METHODS = ("lmmse", "recurrent-mz")
_GRID = ZGrid(0.0, 10.0, 0.2)


class TimedDock(LiveDock):
    """Notes when the scanning begins: before it, libraries and the sample are loaded."""

    began = 0.0

    def run_automatically(self) -> None:
        """Scan, from now on."""
        self.began = time.perf_counter()
        super().run_automatically()


def measure(method: str, most: int) -> None:
    """Scan with a method in a window of its own, and print what the timer saw."""
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    dock = TimedDock(viewer)
    dock.remembers = False
    viewer.window.add_dock_widget(dock, name="Live", area="right")
    begins, timer = {"opening": time.perf_counter()}, StallTimer()
    wait(SETTLE_MS)
    begins["loading"] = time.perf_counter()
    scan_by_itself(dock, _GRID, most, method, None, "auto", None)
    timer.stop()
    begins["scanning"] = dock.began
    timer.print_parts(method, begins)
    viewer.close()


def main() -> None:
    """Measure each method in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scans", type=int, default=5, help="most scans of each run")
    parser.add_argument("--method", choices=_METHODS, help="only this one")
    wanted = parser.parse_args()
    if wanted.method:
        measure(wanted.method, wanted.scans)
        return
    print(HEADER, flush=True)
    for method in _METHODS:
        again = [sys.executable, __file__, "--method", method, "--scans", str(wanted.scans)]
        subprocess.run(again, check=True)  # noqa: S603  (ourselves)


if __name__ == "__main__":
    main()
