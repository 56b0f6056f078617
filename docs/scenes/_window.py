"""A napari window for a picture: opened, given time to draw, grabbed, closed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QSettings
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QApplication

_PATIENCE_S = 600.0


@contextmanager
def window(theme: str, size: tuple[int, int]) -> Iterator[Any]:
    """Open a viewer of this theme and size (width, height in pixels), and close it afterwards.

    What the docks remember is kept for nobody: every picture shows them as they are at first.
    """
    folder = tempfile.mkdtemp(prefix="recurrent-mz-pictures-")
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, folder)
    viewer = napari.Viewer(show=False, show_welcome_screen=False)
    viewer.theme = theme
    viewer.show()
    viewer.window._qt_window.resize(*size)  # after show, which restores a remembered size
    QCursor.setPos(2, size[1] - 2)  # not over a dock, which would keep its height for the mouse
    settle(viewer)
    try:
        yield viewer
    finally:
        viewer.close()


def settle(viewer: Any, until: Callable[[], bool] | None = None, seconds: float = 1.0) -> None:
    """Let the window work: until something is true, and then for about a second."""
    began = time.monotonic()
    while until is not None and not until():
        if time.monotonic() - began > _PATIENCE_S:
            raise TimeoutError("what the picture waits for did not come")
        QApplication.processEvents()
        time.sleep(0.01)
    viewer.window._qt_window.update()
    calm = time.monotonic() + seconds
    while time.monotonic() < calm:
        QApplication.processEvents()
        time.sleep(0.01)


def grab(viewer: Any, path: Path) -> None:
    """Save a picture of the whole window."""
    path.parent.mkdir(parents=True, exist_ok=True)
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)
