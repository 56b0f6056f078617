"""What napari 0.9 moved within its viewer, from where the napari at hand has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer
from qtpy.compat import isalive

_MARGIN = 0.95  # of the canvas that a layer fills


def is_moved(viewer: Any) -> bool:
    """Whether this napari, 0.9 or later, has a scene and a canvas within the viewer."""
    return hasattr(viewer, "scene")


def window_of(viewer: Any) -> Any:
    """The window of a viewer, for Qt; None for one that has none, or whose window is gone."""
    return getattr(getattr(viewer, "window", None), "_qt_window", None)


def is_open(viewer: Any) -> bool:
    """Whether layers may still be added: a viewer whose window is closed fails at the first."""
    if getattr(viewer, "window", None) is None:
        return True  # a model without a window
    window = window_of(viewer)
    return window is not None and isalive(window)  # type: ignore[no-untyped-call]


def camera(viewer: Any) -> Any:
    """Where the volume is seen from: center, zoom, angles."""
    return viewer.scene.camera if is_moved(viewer) else viewer.camera


def grid(viewer: Any) -> Any:
    """How layers are put beside each other: shape, spacing, enabled."""
    return viewer.canvas.grid if is_moved(viewer) else viewer.grid


def scale_bar(viewer: Any) -> Any:
    """The scale bar."""
    return viewer.canvas.overlays.scale_bar if is_moved(viewer) else viewer.scale_bar


def canvas_size(viewer: Any) -> tuple[int, int]:
    """Height and width of the canvas, in pixels."""
    height, width = viewer.canvas.size if is_moved(viewer) else viewer._canvas_size
    return height, width


def blacken(viewer: Any) -> None:
    """Make the background of the canvas black in every theme."""
    canvas = viewer.canvas if is_moved(viewer) else viewer.window._qt_viewer.canvas
    canvas.background_color_override = "black"


def fit(viewer: Any, layer: Layer) -> None:
    """Bring one layer into view, whatever the size of the others."""
    if is_moved(viewer):
        viewer.fit_to_view(layers=[layer])
        return
    low, high = (place[list(viewer.dims.displayed)[-2:]] for place in layer.extent.world)
    camera(viewer).center = (0.0, *(low + high) / 2)
    camera(viewer).zoom = _MARGIN * float(np.min(np.array(canvas_size(viewer)) / (high - low)))
