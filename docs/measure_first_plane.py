"""How soon the first plane stands in the window, and how soon the method's own, in seconds.

Run it where a window can open, or in a virtual display::

    QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1920x1200x24" python docs/measure_first_plane.py

Three simulated scans of 1024 × 1024 pixels, 3 µm apart, are in the Reconstruct dock, whose model
is loaded; *Reconstruct* is pressed while a plane between two of them is in view.
"""

from __future__ import annotations

import time
from typing import Any

import napari
from measure_reconstruct_stalls import _SCANS_UM, add, scans

from napari_recurrent_mz import ZGrid
from napari_recurrent_mz.docks.demo.windows import SETTLE_MS, wait, wait_for
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock

_GRID = ZGrid(2.0, 8.0, 0.2)
_IN_VIEW_UM = 4.0
_METHODS = ("lmmse", "recurrent-mz", "auto")
_SIDE = 1024


def first_planes(dock: Any) -> tuple[float, float]:
    """Seconds until a layer shows a plane, and until one of the method's own is there."""
    began = time.perf_counter()
    dock.reconstruct()
    wait_for(lambda: dock.result.layer is not None, 600)
    seen = time.perf_counter() - began
    wait_for(lambda: dock.result.done > 0, 600)
    own = time.perf_counter() - began
    dock.cancel()
    wait_for(lambda: dock.run is None, 600)
    return seen, own


def main() -> None:
    """Measure every method in one window."""
    optics, images = scans(_SIDE)
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    layers = [add(viewer, pixels, z, optics) for pixels, z in zip(images, _SCANS_UM, strict=True)]
    dock = ReconstructDock(viewer)
    dock.remembers = False
    viewer.window.add_dock_widget(dock, name="Reconstruct", area="right")
    dock.add_layers(layers)
    dock.set_optics(optics)
    dock.set_grid(_GRID)
    viewer.dims.set_point(0, _IN_VIEW_UM)
    wait_for(lambda: dock.ui.method.model is not None)
    wait(SETTLE_MS)
    print(f"{'method':<14}{'first plane':>13}{'own first plane':>17}")
    for method in _METHODS:
        dock.ui.method.set_method(method)
        seen, own = first_planes(dock)
        print(f"{method:<14}{seen:>11.1f} s{own:>15.1f} s", flush=True)
    viewer.close()


if __name__ == "__main__":
    main()
