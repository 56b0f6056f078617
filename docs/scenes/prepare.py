"""The Prepare dock after it has aligned a simulated, drifting stack and normalised the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scenes._window import grab, settle, window
from scipy import ndimage

from napari_recurrent_mz.docks.files.samples import full_stack
from napari_recurrent_mz.docks.prepare.dock import PrepareDock
from napari_recurrent_mz.docks.prepare.pages import ALIGN, NORMALISE

_DRIFT_UM = (1.1, -0.8)
_TURN_DEG = 2.5
_JITTER_UM = 0.05


def run(theme: str, size: tuple[int, int], path: Path, data: Path | None) -> None:  # noqa: ARG001
    """Take the picture."""
    with window(theme, size) as viewer:
        pixels, about, _ = full_stack()[0]
        about["name"] = "worm, drifting"
        pixel_um = about["scale"][-1]
        stack = viewer.add_image(drifting(pixels, pixel_um), **about)
        dock = PrepareDock(viewer)
        viewer.window.add_dock_widget(dock, name="Prepare", area="right")
        viewer.canvas.overlays.scale_bar.visible = True
        settle(viewer)
        finish(viewer, dock, dock.act)
        stack.visible = False
        dock.stack.choose(viewer.layers[-1])
        dock.pages.setCurrentIndex(NORMALISE)
        finish(viewer, dock, dock.act)
        finish(viewer, dock, dock.apply)
        viewer.layers["EDF of worm, drifting (aligned)"].visible = False
        dock.pages.setCurrentIndex(ALIGN)
        viewer.dims.set_current_step(0, 10)
        viewer.reset_view()
        settle(viewer)
        grab(viewer, path)


def drifting(stack: Any, pixel_um: float) -> np.ndarray:
    """The stack as a stage leaves it that drifts, trembles and turns while it scans."""
    rng = np.random.default_rng(8)
    count = len(stack)
    part = np.linspace(0, 1, count)
    middle = (np.array(stack.shape[1:]) - 1) / 2
    planes = []
    for plane, t in zip(stack, part, strict=True):
        away = (np.array(_DRIFT_UM) * t**1.4 + rng.normal(scale=_JITTER_UM, size=2)) / pixel_um
        angle = np.radians(_TURN_DEG) * t
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).T
        planes.append(
            ndimage.affine_transform(
                plane, turn, offset=middle - turn @ (middle + away), order=3, mode="mirror"
            )
        )
    return np.stack(planes).round().astype(np.uint16)


def finish(viewer: Any, dock: PrepareDock, start: Callable[[], None]) -> None:
    """Start a task and wait until it has ended."""
    start()
    settle(viewer, until=lambda: dock.run is None)
