"""Row 3: work is cancelled at random times: in the window, in a live session, by Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from reliability._docks import (
    LiveSession,
    Tracebacks,
    is_idle,
    let_pass,
    let_work,
    open_viewer,
    own_folder,
    reconstruct,
    sentences,
    threads,
)

WHAT = "cancelled at random times: Cancel in the Reconstruct dock, a live session ended, Ctrl-C"
GOAL = "idle at most 2 s after the press on a CPU; no thread, no file left"
MOST_S = 2.0
PATIENCE_S = 60.0
WINDOW = (  # method, pixels on a side, how often (and quickly), seconds within which it is pressed
    ("auto", 512, 25, 2, 5.0),
    ("recurrent-mz", 512, 25, 2, 5.0),
    ("richardson-lucy", 512, 10, 1, 2.0),
    ("lmmse", 512, 10, 1, 1.0),
    ("recurrent-mz", 1024, 15, 2, 12.0),
    ("auto", 1024, 15, 1, 12.0),
    ("deep-z", 1024, 5, 0, 5.0),
    ("unet-3d", 512, 5, 0, 5.0),
)
LIVE = (("recurrent-mz", 512, 40, 3, 4.0),)
COMMANDS = (("auto", 512, 40, 3, 7.0), ("recurrent-mz", 1024, 10, 0, 12.0))


@dataclass
class Figures:
    """Seconds from press to idle; how many were pressed too late; what was left."""

    seconds: list[float] = field(default_factory=list)
    too_late: int = 0
    loading: int = 0  # times that Python itself was still starting, which shows its traceback
    left: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """Median and worst."""
        return f"median {np.median(self.seconds):.2f} s, worst {max(self.seconds):.2f} s"


def measure(quick: bool) -> tuple[str, bool]:
    """Cancel everywhere; each place has its figure."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else a child may ignore it
    rng = np.random.default_rng(3)
    found: dict[str, Figures] = {}
    with Tracebacks() as tracebacks:
        found["window"] = times(WINDOW, quick, rng, in_window)
        found["live"] = times(LIVE, quick, rng, in_session)
    found["Ctrl-C"] = times(COMMANDS, quick, rng, in_terminal)
    left = [*tracebacks.seen, *(what for one in found.values() for what in one.left)]
    each = "; ".join(f"{name} {len(one.seconds)}×: {one.words}" for name, one in found.items())
    late = sum(one.too_late for one in found.values())
    ended = f"; {late} had ended by themselves" if late else ""
    loading = found["Ctrl-C"].loading
    if loading:
        ended += f"; {loading} while Python itself started, which shows its traceback"
    figure = f"{each}{ended}; {len(left)} threads, files or tracebacks left"
    if left:
        figure += f": {sentences(left)}"
    worst = max(max(one.seconds) for one in found.values())
    return figure, worst <= MOST_S and not left


def times(
    cases: tuple[tuple[str, int, int, int, float], ...],
    quick: bool,
    rng: np.random.Generator,
    cancel: Callable[[Figures, str, int, Any], None],
) -> Figures:
    """Cancel each kind of work as often as it says, at random times."""
    figures = Figures()
    for method, side, often, quickly, within_s in cases:
        moments = rng.uniform(0, within_s, quickly if quick else often)
        if len(moments):
            before = len(figures.seconds)
            cancel(figures, method, side, moments)
            new = figures.seconds[before:]
            print(
                f"{cancel.__name__} {method} {side}: median {np.median(new):.2f} s, worst "
                f"{max(new):.2f} s", file=sys.stderr,
            )  # fmt: skip
    return figures


def in_window(figures: Figures, method: str, side: int, moments: Any) -> None:
    """The dock's Cancel, in one window; the first run, of which libraries are loaded, counts."""
    with own_folder() as folder:
        viewer = open_viewer()
        dock = reconstruct(viewer, method, side)
        before: set[str] | None = None
        ended: list[Any] = []
        dock.ended.connect(ended.append)
        for moment in moments:
            ended.clear()
            dock.reconstruct()
            let_work(lambda: bool(ended), moment)
            figures.too_late += bool(ended)
            began = time.monotonic()
            dock.footer.cancel.click()
            let_work(lambda: bool(ended) and dock.run is None and is_idle(), PATIENCE_S)
            figures.seconds.append(time.monotonic() - began)
            before = before or threads()
            figures.left += [f"thread {name}" for name in threads() - before]
            figures.left += [path.name for path in (folder / "temporary").iterdir()]
        viewer.close()
        let_pass(0.2)


def in_session(figures: Figures, method: str, side: int, moments: Any) -> None:
    """A live session that scans arrive in is ended, as by Start again."""
    for moment in moments:
        with own_folder() as folder:
            viewer = open_viewer()
            live = LiveSession(viewer, method, side)
            live.act()
            let_pass(moment)
            began = time.monotonic()
            live.dock.live.let_go()
            let_work(is_idle, PATIENCE_S)
            figures.seconds.append(time.monotonic() - began)
            figures.left += [path.name for path in (folder / "temporary").iterdir()]
            viewer.close()
            let_pass(0.1)


def in_terminal(figures: Figures, method: str, side: int, moments: Any) -> None:
    """Ctrl-C while the command reconstructs; it says in one line that it was cancelled."""
    import tifffile
    from reliability._docks import GRID, SCANS_UM, _image

    from napari_recurrent_mz.docks.files.samples import demo

    optics = demo().optics
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "temporary").mkdir()
        files = []
        for z_um in SCANS_UM:
            files.append(folder / f"{z_um:g}.tif")
            plane = int(np.abs(demo().z_um - z_um).argmin())
            tifffile.imwrite(files[-1], _image(plane, side))
        there = set(folder.iterdir())
        words = [
            "reconstruct", *map(str, files), "--z", *(f"{z:g}" for z in SCANS_UM),
            "--grid", f"{GRID.start_um}:{GRID.stop_um}:{GRID.step_um}", "--method", method,
            "--device", "cpu", "--pixel-um", str(optics.pixel_um), "--na", str(optics.na),
            "--wavelength-um", str(optics.wavelength_um),
            "--immersion-index", str(optics.immersion_index), "-o", str(folder / "out.ome.tif"),
        ]  # fmt: skip
        for moment in moments:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "napari_recurrent_mz", *words],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                env=os.environ | {"TMPDIR": str(folder / "temporary")},
            )  # fmt: skip
            time.sleep(moment)
            figures.too_late += process.poll() is not None
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, told = process.communicate()
            figures.seconds.append(time.monotonic() - began)
            is_ours = "__main__.py" in told
            figures.loading += "Traceback" in told and not is_ours
            if "Traceback" in told and is_ours:
                figures.left.append(f"traceback after {moment:.1f} s: {told.splitlines()[-1]}")
            made = {*folder.iterdir(), *(folder / "temporary").iterdir()} - there
            figures.left += [path.name for path in made]
