"""The Surface dock after it has reconstructed a tilted plane through a simulated sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_recurrent_mz.docks.demo.windows import centre, look_around, show_box
from napari_recurrent_mz.docks.files import samples
from napari_recurrent_mz.docks.surface.dock import SurfaceDock

from ._window import grab, settle, window

_POINTS_UM = ((2.6, 3.0, 4.0), (7.4, 6.0, 29.0), (4.0, 30.0, 10.0))
_SHOWN_PERCENTILES = (30, 99.7)


def run(theme: str, size: tuple[int, int], path: Path, data: Path | None) -> None:  # noqa: ARG001
    """Save a picture of the window to a path; ``data`` is a folder of real stacks, if any."""
    sample = samples.demo()
    with window(theme, size) as viewer:
        scans = [viewer.add_image(pixels, **about) for pixels, about, _ in samples.three_scans()]
        dock = SurfaceDock(viewer)
        dock.remembers = False
        viewer.window.add_dock_widget(dock, name="Surface", area="right")
        dock.add_layers(scans)
        dock.set_optics(sample.optics, "63×/1.4 oil")
        dock.surface.form.kind.value = "points"
        dock.pick_points()
        points = dock.surface.layer()
        points.add(np.array(_POINTS_UM))
        points.mode = "pan_zoom"
        dock.in_3d.setChecked(True)
        dock.method.set_method("recurrent-mz")
        settle(viewer, until=lambda: dock.method.model is not None)
        settle(viewer, until=dock.footer.action.isEnabled)
        dock.act()
        settle(viewer, until=lambda: dock.run is None)
        for scan in scans:
            scan.visible = False
        look_at(viewer)
        grab(viewer, path)


def look_at(viewer: Any) -> None:
    """The surface in space, in 3-D, from above at an angle."""
    image, mesh = viewer.layers[-2:]
    image.visible = False  # it lies level, in the way of the surface
    limits = np.percentile(image.data, _SHOWN_PERCENTILES)
    mesh.contrast_limits = image.contrast_limits = [float(v) for v in limits]
    show_box(mesh)
    look_around(viewer)
    settle(viewer)
    centre(viewer)
    settle(viewer)
