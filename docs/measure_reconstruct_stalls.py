"""How long the window stands still while the Reconstruct dock works, in a table.

Run it where a window can open, or in a virtual display::

    QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1920x1200x24" \
        python docs/measure_reconstruct_stalls.py

Three simulated scans of 512 × 512 pixels are in a window that is painted. Then the dock is opened;
the scans go into it while it loads the model; 51 planes are reconstructed; and the window is
watched for two seconds more. Then it is done again while somebody scrolls through z, five planes a
second as a hand on the slider, and the finished volume is scrolled through for as long as a
comparison. ``_stall_timer`` says what a gap is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import napari
import numpy as np
from _stall_timer import HEADER, StallTimer
from qtpy.QtCore import QTimer

from napari_recurrent_mz import Optics, ZGrid
from napari_recurrent_mz.docks.demo.windows import SETTLE_MS, until_done, wait, wait_for
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared.layers import um_scale_and_place

_METHODS = ("lmmse", "recurrent-mz", "auto")
_GRID = ZGrid(0.0, 10.0, 0.2)
_SCANS_UM = (2.0, 5.0, 8.0)
_SIDE = 512
_AFTER_MS = 2000
_SCROLL_EVERY_MS = 200
_SCROLLED_MS = 20_000


def scans(side: int = _SIDE) -> tuple[Optics, list[np.ndarray]]:
    """The demo's optics, and scans of its sample, four of which fill the field."""
    from napari_recurrent_mz.simulation.simulate import demo_sample

    sample = demo_sample()
    planes = [int(np.abs(sample.z_um - z).argmin()) for z in _SCANS_UM]
    times = -(-side // sample.widefield.shape[-1])
    return sample.optics, [np.tile(sample.widefield[p], (times, times)) for p in planes]


def measure(method: str) -> None:
    """Reconstruct with a method in a window of its own, and print what the timer saw."""
    optics, images = scans()
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    layers = [add(viewer, pixels, z, optics) for pixels, z in zip(images, _SCANS_UM, strict=True)]
    wait(SETTLE_MS)
    timer = StallTimer()
    begins = {"opening": time.perf_counter()}
    dock = ReconstructDock(viewer)
    dock.remembers = False
    viewer.window.add_dock_widget(dock, name="Reconstruct", area="right")
    wait(SETTLE_MS)
    begins["loading"] = time.perf_counter()
    dock.add_layers(layers)
    dock.set_optics(optics)
    dock.set_grid(_GRID)
    dock.ui.method.set_method(method)
    wait_for(lambda: dock.ui.method.model is not None)
    wait(_AFTER_MS)
    begins["reconstructing"] = time.perf_counter()
    outcome = until_done(dock)
    wait(_AFTER_MS)
    with scrolling(viewer):
        begins["scrolling, too"] = time.perf_counter()
        again = until_done(dock)
        begins["only scrolling"] = time.perf_counter()
        wait(_SCROLLED_MS)
    timer.stop()
    assert outcome.state == again.state == "done", outcome.sentence + again.sentence
    timer.print_parts(method, begins)
    viewer.close()


@contextmanager
def scrolling(viewer: napari.Viewer) -> Iterator[None]:
    """Go through z, up and down."""
    steps = cycle([*range(51), *range(49, 0, -1)])
    timer = QTimer()
    timer.setInterval(_SCROLL_EVERY_MS)
    timer.timeout.connect(lambda: viewer.dims.set_current_step(0, next(steps)))
    timer.start()
    yield
    timer.stop()


def add(viewer: Any, pixels: np.ndarray, z_um: float, optics: Optics) -> Any:
    """Add a scan as a layer at its height."""
    place = um_scale_and_place(optics.pixel_um, optics.pixel_um, z_um)
    return viewer.add_image(pixels[np.newaxis], name=f"z={z_um:g}µm", **place)


def main() -> None:
    """Measure each method in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--method", choices=_METHODS, help="only this one")
    wanted = parser.parse_args()
    if wanted.method:
        measure(wanted.method)
        return
    print(HEADER, flush=True)
    for method in _METHODS:
        again = [sys.executable, __file__, "--method", method]
        subprocess.run(again, check=True)  # noqa: S603  (ourselves)


if __name__ == "__main__":
    main()
