"""The live demo: a simulated microscope scans by itself, and stops when it no longer pays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QEventLoop, Qt

from ...acquisition import Ended
from ...core.scans import ZGrid
from ..live.dock import LiveDock
from ..live.sources import MICROSCOPE, SIMULATED
from ..shared.insides import camera, hide_layer_controls, window_of
from ..shared.method_panel import NETWORK
from ..side_views.dock import SideViewsDock
from .reconstruct import FRAME, SETTLE_MS, centre, leave, look_around, open_viewer, wait, wait_for

_ZOOM = 0.8
_GAMMA = 0.7
_PANELS = 0.4  # of the window's height, for the side views under the canvas


def run_live_demo(
    grid: ZGrid,
    *,
    max_scans: int,
    screenshot: Path | None = None,
    show: bool = True,
    size: tuple[int, int] = (1280, 800),
    theme: str = "dark",
    model: str | None = None,
    device: str = "auto",
    method: str = NETWORK,
    sample: Any = None,
) -> Ended:
    """Open napari with the Live dock and a simulated microscope, and let it scan.

    Parameters
    ----------
    grid : ZGrid
        Planes of the volume.
    max_scans : int
        Most scans.
    screenshot : Path, optional
        Where to save a picture of the whole window (PNG); the window then closes.
    show : bool
        Keep the window open for the user at the end; False closes it.
    size : tuple of int
        Width and height of the window, in screen pixels.
    theme : str
        napari's theme, ``dark`` or ``light``.
    model : str, optional
        Name or path of a model, by default the bundled one.
    device : str, optional
        auto, cuda, mps or cpu.
    method : str, optional
        ``recurrent-mz`` or ``lmmse``.
    sample : SimulatedSample, optional
        What is scanned.

    Returns
    -------
    Ended
        How the run ended.
    """
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
    leave(viewer, screenshot, show)
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
    page, panel = dock.setup.sources.microscope, dock.setup.method
    page.most.setValue(max_scans)
    dock.setup.grid.set_grid(grid)
    panel.set_method(method)
    panel.set_device(device)
    wait_for(lambda: panel.is_ready)
    if model is not None:
        panel.model = None
        panel.open_model(model)
    wait_for(lambda: panel.model is not None)
    ends: list[Any] = []
    loop = QEventLoop()

    def ended(end: Ended | None) -> None:
        ends.append(end)
        loop.quit()

    dock.run_ended.connect(ended)
    dock.start_session()
    wait_for(lambda: not dock.live.is_starting)
    dock.run_automatically()
    if dock.is_busy:
        loop.exec()
    if ends and ends[0] is not None:
        return ends[0]  # type: ignore[no-any-return]
    return Ended("failed", dock.footer.message.text(), "", 0)


def show_well(layer: Any) -> None:
    """Lift faint structure, and show where the volume ends."""
    if isinstance(layer, Image):
        layer.gamma = _GAMMA
        layer.bounding_box.visible = True
        layer.bounding_box.points = False
        layer.bounding_box.line_color = FRAME


def connect(dock: LiveDock, sample: Any = None) -> None:
    """Connect the dock to a simulated microscope, which a sample takes a while to make for."""
    from ...acquisition import simulated_microscope

    sources = dock.setup.sources
    sources.choice.setCurrentIndex(MICROSCOPE)
    if sample is not None:
        sources.microscope.which.setCurrentIndex(1)
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
