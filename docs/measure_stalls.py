"""How long the window stands still while the Live dock works, in a table.

Run it where a window can open, or in a virtual display::

    QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1920x1200x24" python docs/measure_stalls.py

``_stall_timer`` says what a gap is. napari's window is open and at rest when the dock is made and
comes into it: that is opening, until it has been painted. Then libraries and the sample are
loaded, the dock scans by itself, all scans are taken back one by one, the same images are
dropped on the dock as TIFF files, and the session is let go.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import napari
import tifffile
from _stall_timer import HEADER, StallTimer

from napari_recurrent_mz.core.scans import Scan, ZGrid
from napari_recurrent_mz.docks.demo.windows import SETTLE_MS, scan_by_itself, wait, wait_for
from napari_recurrent_mz.docks.live.dock import LiveDock

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
    wait(SETTLE_MS)
    begins, timer = {"opening": time.perf_counter()}, StallTimer()
    dock = TimedDock(viewer)
    dock.remembers = False
    viewer.window.add_dock_widget(dock, name="Live", area="right")
    wait(SETTLE_MS)
    begins["loading"] = time.perf_counter()
    scan_by_itself(dock, _GRID, most, method, None, "auto", None)
    begins["scanning"] = dock.began
    with tempfile.TemporaryDirectory() as folder:
        files = written(dock.session.scans, Path(folder))
        for part, act in (("undoing", undo_all), ("dropping", lambda one: drop(one, files))):
            begins[part] = time.perf_counter()
            act(dock)
    begins["ending"] = time.perf_counter()
    dock.start_again()
    wait(SETTLE_MS)  # a person reads the question
    dock.question.answer("again")
    wait(SETTLE_MS)
    timer.stop()
    timer.print_parts(method, begins)
    viewer.close()


def written(scans: Sequence[Scan], folder: Path) -> list[Path]:
    """The scans as TIFF files with their heights in their names."""
    files = [folder / f"again_z{scan.z_um:.3f}um.tif" for scan in scans]
    for file, scan in zip(files, scans, strict=True):
        tifffile.imwrite(file, scan.pixels)
    return files


def undo_all(dock: LiveDock) -> None:
    """Take the scans back, each once the volume follows."""
    for count in reversed(range(len(dock.session.scans))):
        dock.undo()
        wait_for_scans(dock, count)


def drop(dock: LiveDock, files: list[Path]) -> None:
    """Drop files on the dock, one by one."""
    for count, file in enumerate(files, 1):
        dock.drop([file])
        wait_for_scans(dock, count)


def wait_for_scans(dock: LiveDock, count: int) -> None:
    """Until the dock shows so many scans, and their volume is finished and in view."""
    wait_for(
        lambda: (
            dock.scans.list.rowCount() == count
            and (dock.volume is None or (dock.volume.layer is not None) == (count > 0))
            and not dock.is_busy
            and not dock.turns.is_on
        )
    )


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
