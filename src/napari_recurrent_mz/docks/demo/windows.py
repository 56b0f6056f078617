"""The demo windows: a simulated sample reconstructed beside the truth, and one scanned live."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QApplication

from ...acquisition import Ended
from ...core.scans import ZGrid
from ..files import samples as _samples
from ..live.dock import LiveDock
from ..live.sources import MICROSCOPE, SIMULATED
from ..reconstruct.dock import ReconstructDock
from ..shared import insides as _insides
from ..shared.layers import um_scale_and_place
from ..shared.method_panel import NETWORK, MethodPanel
from ..shared.worker import Outcome
from ..side_views.dock import SideViewsDock

# napari lays the canvas out over several rounds of events; a view reset before is off-centre.
SETTLE_MS = 1200

_VIEW_ANGLES = (0.0, -30.0, 110.0)
_ZOOM = 0.95
_GAP = 0.02
_SHOWN_PERCENTILES = (60, 99.9)  # a haze fills the worm; the nuclei are what one looks for
_IN_MENU = "{} (Recurrent-MZ)"  # what napari's menu calls a dock, and finds it by
_GAMMA = 0.85
_GRID = ZGrid(1.0, 9.0, 0.2)  # a little beyond the scans, on planes that the truth has
_BOX_COLOUR = (0.5, 0.55, 0.6, 1.0)
_LIVE_ZOOM = 0.8
_LIVE_GAMMA = 0.7
_PANELS = 0.4  # of the window's height, for the side views under the canvas


def run_demo(
    *,
    screenshot: Path | None = None,
    size: tuple[int, int] = (1280, 800),
    theme: str = "dark",
    model: str | None = None,
    device: str = "auto",
) -> Outcome:
    """Open napari with the demo's scans, reconstruct them, and show the volume by the truth."""
    sample = _samples.demo()
    viewer = open_viewer("Recurrent-MZ demo", theme, size)
    viewer.layers.events.inserted.connect(lambda event: frame(event.value, sample))
    scans = [viewer.add_image(data, **about) for data, about, _ in _samples.three_scans()]
    dock = ReconstructDock(viewer)
    viewer.window.add_dock_widget(dock, name=_IN_MENU.format("Reconstruct"), area="right")
    dock.remembers = False
    dock.add_layers(scans)
    dock.set_optics(sample.optics, "63×/1.4 oil")
    dock.ui.method.set_method(NETWORK)
    dock.set_grid(_GRID)
    look_around(viewer)
    wait(SETTLE_MS)
    centre(viewer)
    load_model(dock.ui.method, model, device)
    dock.check()  # it now shows the device and the expected time
    outcome = until_done(dock)
    beside_the_truth(viewer, dock, sample, scans)
    wait(SETTLE_MS)
    centre(viewer)
    wait(SETTLE_MS // 2)
    leave(viewer, screenshot)
    return outcome


def open_viewer(title: str, theme: str, size: tuple[int, int]) -> Any:
    """A napari window of a demo, in this theme and size (width, height in pixels)."""
    import napari

    viewer = napari.Viewer(title=title, show=True, show_welcome_screen=False)
    viewer.theme = theme
    _insides.window_of(viewer).resize(*size)
    return viewer


def leave(viewer: Any, screenshot: Path | None) -> None:
    """Save the picture that is wanted and close the window, or keep it for the user."""
    import napari

    if screenshot is None:
        napari.run()
        return
    viewer.window.screenshot(str(screenshot), canvas_only=False, flash=False)
    viewer.close()


def look_around(viewer: Any) -> None:
    """A black 3-D canvas with a scale bar, where planes are seen to arrive."""
    viewer.dims.ndisplay = 3
    _insides.blacken(viewer)
    _insides.scale_bar(viewer).visible = True


def load_model(panel: MethodPanel, model: str | None, device: str) -> None:
    """Choose the device, and wait until the model is loaded."""
    panel.set_device(device)
    wait_for(lambda: panel.is_ready)
    if model is not None:
        panel.model = None
        panel.open_model(model)
    wait_for(lambda: panel.model is not None)


def wait_for(is_done: Callable[[], bool], patience_s: float = 60.0) -> None:
    """Let Qt work until ``is_done``, a minute at most."""
    deadline = time.monotonic() + patience_s
    while not is_done() and time.monotonic() < deadline:
        wait(50)


def until_done(dock: ReconstructDock) -> Outcome:
    """Press Reconstruct and let the window live until the run has ended."""
    outcomes: list[Outcome] = []
    dock.ended.connect(outcomes.append)
    dock.reconstruct()
    wait_for(lambda: bool(outcomes) or dock.run is None, math.inf)
    return outcomes[0] if outcomes else Outcome("failed", dock.ui.footer.message.text())


def beside_the_truth(viewer: Any, dock: ReconstructDock, sample: Any, scans: list[Image]) -> None:
    """Show the volume and the simulated truth side by side, in the same contrast."""
    result = dock.result.layer if dock.result is not None else None
    if result is None:
        return
    for scan in scans:
        scan.visible = False
    inside = (sample.z_um > _GRID.start_um - 1e-6) & (sample.z_um < _GRID.stop_um + 1e-6)
    place = um_scale_and_place(_GRID.step_um, sample.optics.pixel_um, _GRID.start_um)
    viewer.add_image(
        sample.widefield[inside], name=f"Truth, all {len(_GRID)} planes simulated", **place
    )
    for layer in viewer.layers:
        layer.name_overlay.visible = layer.visible
    viewer.layers.selection.active = result
    height, width = _insides.canvas_size(viewer)
    grid = _insides.grid(viewer)
    grid.shape = (1, 2) if width > 1.6 * height else (2, 1)
    grid.spacing = _GAP
    grid.enabled = True


def frame(layer: Image, sample: Any) -> None:
    """Show a layer in the contrast that all layers of the demo share, in a box."""
    limits = np.percentile(sample.widefield, _SHOWN_PERCENTILES)
    layer.contrast_limits = tuple(float(v) for v in limits)
    layer.gamma = _GAMMA
    show_box(layer)


def show_box(layer: Image) -> None:
    """Draw a layer's box, without the points at its corners."""
    layer.bounding_box.visible = True
    layer.bounding_box.points = False
    layer.bounding_box.line_color = _BOX_COLOUR


def centre(viewer: Any) -> None:
    """Fit the volume in the canvas, seen from above at an angle."""
    viewer.reset_view()
    camera = _insides.camera(viewer)
    camera.angles = _VIEW_ANGLES
    camera.zoom *= _ZOOM


def wait(milliseconds: int) -> None:
    """Let Qt work for a while."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()
    QApplication.processEvents()


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
    _insides.window_of(viewer).setCorner(
        Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea
    )
    _insides.hide_layer_controls(viewer)  # the room is for what the scans bring
    viewer.layers.events.inserted.connect(lambda event: show_well(event.value))
    dock = LiveDock(viewer)
    dock.remembers = False
    viewer.window.add_dock_widget(dock, name=_IN_MENU.format("Live"), area="right")
    ended = scan_by_itself(dock, grid, max_scans, method, model, device, sample)
    look_around(viewer)
    add_side_views(viewer, int(_PANELS * size[1]))
    wait(SETTLE_MS)
    centre(viewer)
    _insides.camera(viewer).zoom *= _LIVE_ZOOM
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
        layer.gamma = _LIVE_GAMMA
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
    shell = viewer.window.add_dock_widget(dock, name=_IN_MENU.format("Side views"), area="bottom")
    _insides.window_of(viewer).resizeDocks([shell], [height], Qt.Orientation.Vertical)
    wait_for(lambda: bool(dock.shown) and not dock.is_busy)
