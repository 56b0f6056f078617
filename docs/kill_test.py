"""Kill a process that adds scans, again and again: is any scan lost whose add had returned?

    python docs/kill_test.py --kills 20

A child process adds scans to an autosaved session as fast as it can and says so after each; at a
random moment it gets SIGKILL. Then the session is opened, and its pixels are compared with those
that were added. Prints a table; fails if a scan is missing or not bit for bit what it was. With
``--napari`` the child is napari with the Live dock in a window. Needs ``os.fork`` (Linux, macOS).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from napari_recurrent_mz import Optics, Scan, Session, ZGrid
from napari_recurrent_mz.engine.session import Autosave, load, unsaved_sessions
from napari_recurrent_mz.io import WORKPLACE

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
GRID = ZGrid(0, 12, 4)
SIZE = 256
MOST = 200
SCANS = 9
"""The kill comes after 0 to 8 scans …"""
LONGEST_S = 0.25
"""… and up to so many seconds."""


@dataclass(frozen=True)
class Killed:
    """How it went: times in ms, scans that were added, that opened, and that are lost."""

    after_ms: float
    added: int
    opened: int
    in_mid_write: bool
    lost: int
    changed: int

    @property
    def is_good(self) -> bool:
        """Whether nothing that had been added is missing or different."""
        return self.lost == self.changed == 0


def scan(seed: int, number: int) -> Scan:
    """The same pixels whenever it is asked for."""
    pixels = np.random.default_rng([seed, number]).normal(1000, 100, (SIZE, SIZE))
    return Scan(pixels, 12 * (number * 0.6180339887498949 % 1), f"scan {number}")


def add_scans(folder: Path, seed: int, pipe: int) -> None:
    """What the child does until it is killed; every fifth scan makes the volume too."""
    session = Session(GRID, optics=OPTICS, method="lmmse")
    Autosave(session, folder)
    scans = (scan(seed, number) for number in range(MOST))
    os.write(pipe, b"r")
    for number, one in enumerate(scans):
        session.add_scan(one, accept_doubtful=True, refine=number % 5 == 4)
        os.write(pipe, b"+")


def add_scans_in_napari(folder: Path, seed: int, pipe: int) -> None:
    """The same in the Live dock of a napari window; a scan counts once the dock lists it."""
    import napari
    from qtpy.QtCore import QSettings

    from napari_recurrent_mz.docks.live import files as _live_files
    from napari_recurrent_mz.docks.live.dock import LiveDock
    from napari_recurrent_mz.docks.live.work import Add, Listed

    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder))
    _live_files.sessions_folder = lambda: folder
    viewer = napari.Viewer(show_welcome_screen=False)
    dock = LiveDock(viewer)
    viewer.window.add_dock_widget(dock, name="Live", area="right")
    listed = [0]

    def arrived(item: object) -> None:
        if isinstance(item, Listed) and len(item.lines) > listed[0]:
            os.write(pipe, b"+" * (len(item.lines) - listed[0]))
            listed[0] = len(item.lines)

    def started() -> None:
        os.write(pipe, b"r")
        for number in range(MOST):
            dock.live.work.add(Add(scan(seed, number), accept_doubtful=True))

    dock.setup.optics.set_values(OPTICS.as_dict(), "given")
    dock.setup.grid.set_grid(GRID)
    dock.setup.method.set_method("lmmse")
    dock.live.arrived.connect(arrived)
    dock.started.connect(started)
    dock.start_session()
    napari.run()


def kill_once(folder: Path, seed: int, work: Callable[[Path, int, int], None]) -> Killed:
    """Start a child, kill it, and open what it leaves."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            work(folder, seed, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read(1) == b"r"
        began, rng = time.monotonic(), np.random.default_rng(seed)
        waited_for = len(pipe.read(int(rng.integers(SCANS))))
        time.sleep(rng.uniform(0, LONGEST_S))
        os.kill(child, signal.SIGKILL)
        after = time.monotonic() - began
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "it ended before it was killed"
        added = waited_for + len(pipe.read())
    return judged(folder, seed, added, 1000 * after)


def judged(folder: Path, seed: int, added: int, after_ms: float) -> Killed:
    """Open the session and compare every scan that was added."""
    torn = any(True for _ in folder.rglob(f"{WORKPLACE}*"))
    found = unsaved_sessions(folder)
    scans = load(found[0].path, on_message=print).scans if found else ()
    by_name = {one.name: one for one in scans}
    wanted = [scan(seed, number) for number in range(added)]
    there = [(by_name[one.name], one) for one in wanted if one.name in by_name]
    same = [
        found.z_um == one.z_um and np.array_equal(found.pixels, one.pixels) for found, one in there
    ]
    return Killed(
        after_ms, added, len(scans), torn, len(wanted) - len(there), len(same) - sum(same)
    )


def warm_up() -> None:
    """Load what a child needs, so that it is killed while it works, not while it loads."""
    with tempfile.TemporaryDirectory() as folder:
        session = Session(GRID, optics=OPTICS, method="lmmse")
        kept = Autosave(session, folder)
        session.add_scan(scan(0, 0), accept_doubtful=True)
        load(kept.path)


def main() -> int:
    """Kill, print the table, and say whether all went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--napari", action="store_true", help="kill napari with the Live dock")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # a forked process has none of the others, and would wait for them
    work = add_scans_in_napari if arguments.napari else add_scans
    warm_up()
    print("| kill | after (ms) | scans added | scans opened | in mid-write | lost | changed |")
    print("|---|---|---|---|---|---|---|")
    results = []
    for number in range(1, arguments.kills + 1):
        with tempfile.TemporaryDirectory(prefix="recurrent-mz-kill-") as folder:
            one = kill_once(Path(folder), arguments.seed + number, work)
        results.append(one)
        torn = "yes" if one.in_mid_write else "no"
        print(
            f"| {number} | {one.after_ms:.0f} | {one.added} | {one.opened} | {torn} | {one.lost} "
            f"| {one.changed} |",
            flush=True,
        )
    good, torn = sum(one.is_good for one in results), sum(one.in_mid_write for one in results)
    added, lost = sum(one.added for one in results), sum(one.lost for one in results)
    print(
        f"\n{good} of {len(results)} kills lost nothing: of {added} scans of {SIZE} × {SIZE} "
        f"pixels that had been added, {lost} are lost. {torn} kills came in mid-write."
    )
    return 0 if good == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
