"""How a window keeps its share while something is shown over and over: turns, and pauses."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from .guard import one_shot
from .insides import is_open, window_of

_LEAST_S = 0.15
_SHARE = 0.2  # of the time, at most, for showing
_TURN_MS = 10
_PATIENCE_S = 0.3


class Turns(QObject):
    """Steps that keep a window busy, one by one: it answers and paints between two of them.

    The first waits a while until ``is_quiet``: until those who work in threads have come to rest.
    """

    changed = Signal(bool)  # whether steps are taken: who works in a thread should wait meanwhile

    def __init__(
        self,
        viewer: Any,
        parent: QObject | None = None,
        is_quiet: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._is_quiet = viewer, is_quiet
        self._until = 0.0
        self._steps: deque[Callable[[], object]] = deque()
        self._is_on = False
        self._timer = one_shot(self, _TURN_MS, self._turn)

    @property
    def is_on(self) -> bool:
        """Whether there are steps, or the last one is still being painted."""
        return self._is_on

    def add(self, *steps: Callable[[], object]) -> None:
        """Take these steps too, after those that wait."""
        self._steps.extend(steps)
        if self._steps and not self._is_on:
            self._say(True)
            self._until = time.monotonic() + _PATIENCE_S
            self._timer.start()

    def after(self, step: Callable[[], object]) -> None:
        """Take this step when no other waits: now, or as the last one."""
        if self._is_on:
            self.add(step)
        elif is_open(self._viewer):
            step()

    def finish(self) -> None:
        """Take all steps now."""
        while self._waiting():
            self._steps.popleft()()
        if self._is_on:
            self._timer.stop()
            self._say(False)

    def _waiting(self) -> bool:
        """Whether there are steps to take."""
        if not is_open(self._viewer):
            self._steps.clear()
        return bool(self._steps)

    def _turn(self) -> None:
        if not self._waiting():
            self._say(False)
            return
        if time.monotonic() < self._until and not self._is_quiet():
            self._timer.start()
            return
        self._until = 0.0
        paint_after(self._viewer)
        try:
            self._steps.popleft()()
        finally:
            if self._is_on:
                self._timer.start()  # from the end of the step

    def _say(self, is_on: bool) -> None:
        self._is_on = is_on
        self.changed.emit(is_on)


def paint_after(viewer: Any) -> None:
    """Let the window paint when what goes on now is over, and not in the middle of it."""
    window = window_of(viewer) if is_open(viewer) else None
    if window is not None and window.updatesEnabled():
        window.setUpdatesEnabled(False)
        window_ref = weakref.ref(window)  # one that is closed before must not be kept by this
        QTimer.singleShot(1, lambda: _paint(window_ref()))


def _paint(window: Any) -> None:
    if window is not None and isalive(window):  # type: ignore[no-untyped-call]
        window.setUpdatesEnabled(True)


class Pace:
    """How often something may be shown: as often as costs a fifth of the window's time.

    The cost includes painting, which takes seconds where napari draws 3-D in software.
    """

    def __init__(self, owner: QObject, show: Callable[[], object]) -> None:
        self._show = show
        self._shown = self._cost_s = 0.0
        self._timer = one_shot(owner, 0, self.show)

    def left_s(self) -> float:
        """Seconds until it may be shown again; 0 if it may be now."""
        pause = max(_LEAST_S, self._cost_s * (1 / _SHARE - 1))
        return max(self._shown + pause - time.monotonic(), 0.0)

    def show_soon(self) -> None:
        """Show it now, or once it may be."""
        left_s = self.left_s()
        if not left_s:
            self.show()
        elif not self._timer.isActive():
            self._timer.start(int(1000 * left_s))

    def stop(self) -> None:
        """Show nothing more by itself."""
        self._timer.stop()

    def show(self) -> None:
        """Show it now, and note what that costs."""
        self._timer.stop()
        began = time.monotonic()
        self._show()
        self._shown = time.monotonic()
        QTimer.singleShot(0, lambda: self._painted(began))  # after the paint that waits now

    def _painted(self, began: float) -> None:
        self._shown = time.monotonic()
        self._cost_s = self._shown - began
