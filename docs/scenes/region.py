"""The Reconstruct dock with a rectangle over two colours, and what was reconstructed in it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ._window import grab, settle, window
from .colours import make_volumes, ready_dock

_CORNERS = np.array([(60, 30), (60, 190), (200, 190), (200, 30)])  # rows and columns


def run(theme: str, size: tuple[int, int], path: Path, data: Path | None) -> None:  # noqa: ARG001
    """Save a picture of the window to a path; ``data`` is a folder of real stacks, if any."""
    with TemporaryDirectory() as folder, window(theme, size) as viewer:
        dock = ready_dock(viewer, Path(folder))
        dock.draw_region()
        viewer.layers["Region"].data = [_CORNERS]
        settle(viewer)
        make_volumes(viewer, dock)
        for layer in viewer.layers[:2]:  # faint, as what is around
            layer.visible, layer.opacity = True, 0.4
        viewer.layers.move(viewer.layers.index("Region"), len(viewer.layers))
        viewer.reset_view()
        settle(viewer)
        grab(viewer, path)
