"""How a window keeps its share while something is shown over and over: turns, and pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

_LEAST_S = 0.15
_SHARE = 0.2  # of the time, at most, for showing
_TURN_MS = 10


def in_turn(owner: QObject, viewer: Any, *steps: Callable[[], object]) -> None:
    """Carry out steps one by one; the window answers and paints between two of them.

    Parameters
    ----------
    owner : QObject
        When it is gone, nothing more is done.
    viewer : napari.Viewer
        Whose window paints after a step, and not in the middle of it.
    *steps : callable
        The first is carried out at once.
    """
    first, *others = steps
    paint_after(viewer)
    first()
    if others:
        QTimer.singleShot(
            _TURN_MS, lambda: in_turn(owner, viewer, *others) if _is_there(owner) else None
        )


def paint_after(viewer: Any) -> None:
    """Let the window paint when what goes on now is over, and not in the middle of it."""
    window = getattr(getattr(viewer, "window", None), "_qt_window", None)
    if window is not None and window.updatesEnabled():
        window.setUpdatesEnabled(False)
        QTimer.singleShot(1, lambda: window.setUpdatesEnabled(True) if _is_there(window) else None)


def _is_there(part: QObject) -> bool:
    return bool(isalive(part))  # type: ignore[no-untyped-call]


class Pace:
    """How often something may be shown: as often as costs a fifth of the window's time.

    What showing costs is measured up to the end of its painting, which in 3-D takes seconds where
    napari draws in software.
    """

    def __init__(self) -> None:
        self._shown = self._cost_s = 0.0

    def left_s(self) -> float:
        """Seconds until it may be shown again; 0 if it may be now."""
        pause = max(_LEAST_S, self._cost_s * (1 / _SHARE - 1))
        return max(self._shown + pause - time.monotonic(), 0.0)

    def show(self, show: Callable[[], object]) -> None:
        """Show it now, and note what that costs."""
        began = time.monotonic()
        show()
        self._shown = time.monotonic()
        QTimer.singleShot(0, lambda: self._painted(began))  # after the paint that waits now

    def _painted(self, began: float) -> None:
        self._shown = time.monotonic()
        self._cost_s = self._shown - began
