"""The live demo: a simulated microscope scans by itself, and stops when it no longer pays."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from napari.layers import Image
from qtpy.QtCore import Qt

from ...acquisition import Ended
from ...core.scans import ZGrid
from ..live.dock import LiveDock
from ..live.sources import MICROSCOPE, SIMULATED
from ..shared.insides import camera, hide_layer_controls, window_of
from ..shared.method_panel import NETWORK
from ..side_views.dock import SideViewsDock
from .reconstruct import (
    SETTLE_MS,
    centre,
    leave,
    load_model,
    look_around,
    open_viewer,
    show_box,
    wait,
    wait_for,
)

_ZOOM = 0.8
_GAMMA = 0.7
_PANELS = 0.4  # of the window's height, for the side views under the canvas


def run_live_demo(
    grid: ZGrid,
    *,
    max_scans: int,
    screenshot: Path | None = None,
    model: str | None = None,
    device: str = "auto",
    method: str = NETWORK,
    sample: Any = None,
    theme: str = "dark",
    size: tuple[int, int] = (1280, 800),
) -> Ended:
    """Open napari with the Live dock and a simulated microscope, and let it scan."""
    viewer = open_viewer("Recurrent-MZ, live", theme, size)
    window_of(viewer).setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
    hide_layer_controls(viewer)  # the room is for what the scans bring
    viewer.layers.events.inserted.connect(lambda event: show_well(event.value))
    dock = LiveDock(viewer)
    dock.remembers = False
    viewer.window.add_dock_widget(dock, name="Live", area="right")
    ended = scan_by_itself(dock, grid, max_scans, method, model, device, sample)
    look_around(viewer)
    add_side_views(viewer, int(_PANELS * size[1]))
    wait(SETTLE_MS)
    centre(viewer)
    camera(viewer).zoom *= _ZOOM
    wait(SETTLE_MS)
    leave(viewer, screenshot)
    return ended


def scan_by_itself(
    dock: LiveDock,
    grid: ZGrid,
    max_scans: int,
    method: str,
    model: str | None,
    device: str,
    sample: Any,
) -> Ended:
    """Connect the simulated microscope, start a session and run to the end."""
    connect(dock, sample)
    panel = dock.setup.method
    dock.setup.sources.form.most.value = max_scans
    dock.setup.grid.set_grid(grid)
    panel.set_method(method)
    load_model(panel, model, device)
    ended: list[Any] = []
    dock.run_ended.connect(ended.append)
    dock.start_session()
    wait_for(lambda: not dock.live.is_starting)
    dock.run_automatically()
    wait_for(lambda: bool(ended) or not dock.is_busy, math.inf)
    if ended and ended[0] is not None:
        return ended[0]  # type: ignore[no-any-return]
    return Ended("failed", dock.footer.message.text(), "", 0)


def show_well(layer: Any) -> None:
    """Lift faint structure, and show where the volume ends."""
    if isinstance(layer, Image):
        layer.gamma = _GAMMA
        show_box(layer)


def connect(dock: LiveDock, sample: Any = None) -> None:
    """Connect the dock to a simulated microscope, which a sample takes a while to make for."""
    from ...acquisition import simulated_microscope

    form = dock.setup.sources.form
    form.source.value = MICROSCOPE
    if sample is not None:
        form.microscope.value = SIMULATED
        dock.scope.use(simulated_microscope(sample), sample.optics)
        return
    dock.connect_microscope(SIMULATED)
    wait_for(lambda: dock.scope.is_connected)


def add_side_views(viewer: Any, height: int) -> None:
    """Projections of the volume, under the canvas."""
    dock = SideViewsDock(viewer)
    dock.controls.how.value, dock.controls.through.value = "max", "all"
    shell = viewer.window.add_dock_widget(dock, name="Side views", area="bottom")
    window_of(viewer).resizeDocks([shell], [height], Qt.Orientation.Vertical)
    wait_for(lambda: bool(dock.shown) and not dock.is_busy)
