"""How a window keeps its share while something is shown over and over: turns, and pauses."""

from __future__ import annotations

import io
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Generic

from napari.utils import progress
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from .guard import one_shot
from .insides import SHORT_PAUSES, give_controls, is_open, unselected, window_of, without_controls
from .layers import L, there

_EVERY_MS = 300  # what is over sooner is not shown at all
_LEAST_S = 0.15
_SHARE = 0.2  # of the time, at most, for showing
_TURN_MS = 10
_PATIENCE_S = 0.3
Steps = tuple[Callable[[], object], ...]


class Activity:
    """At most one bar among napari's own, for a job that takes a while."""

    # napari lets Qt work whenever such a bar is made or moves, in the middle of whatever goes on.
    # So it moves now and then, from a timer, when nothing of ours does.

    def __init__(self, owner: QObject) -> None:
        self._bar: progress | None = None
        self._state = (0, 0, "")
        self._soon = one_shot(owner, _EVERY_MS, self._show)

    def move(self, done: int, total: int, words: str) -> None:
        """So much is done; a total of 0 only says that something goes on."""
        self._state = (done, total, words)
        if not self._soon.isActive():
            self._soon.start()

    def end(self) -> None:
        """It is over; the window may be gone by then."""
        if isalive(self._soon):  # type: ignore[no-untyped-call]
            self._soon.stop()
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    def _show(self) -> None:
        done, total, words = self._state
        if self._bar is None:
            bar = progress(None, words, total, file=io.StringIO(), leave=False)
            if not bar.gui:  # no window has taken it
                bar.close()
                return
            self._bar = bar
        else:
            bar = self._bar
        if total != bar.total:
            bar.total = total
        if words != bar.desc:
            bar.set_description(words)
        if done != bar.n:
            bar.update(done - bar.n)


class Turns(QObject):
    """Steps that keep a window busy, one by one: it answers and paints between two of them."""

    # The first waits a while until ``is_quiet``: until those who work in threads have come to rest.

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
        self.is_on = False  # whether there are steps, or the last one is still being painted
        self._timer = one_shot(self, _TURN_MS, self._turn)

    def add(self, *steps: Callable[[], object]) -> None:
        """Take these steps too, after those that wait."""
        self._steps.extend(steps)
        if self._steps and not self.is_on:
            self._say(True)
            self._until = time.monotonic() + _PATIENCE_S
            self._timer.start()

    def after(self, step: Callable[[], object]) -> None:
        """Take this step when no other waits: now, or as the last one."""
        if self.is_on:
            self.add(step)
        elif is_open(self._viewer):
            step()

    def finish(self) -> None:
        while self._waiting():
            self._steps.popleft()()
        if self.is_on:
            self._timer.stop()
            self._say(False)

    def _waiting(self) -> bool:
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
            if self.is_on:
                self._timer.start()  # from the end of the step

    def _say(self, is_on: bool) -> None:
        self.is_on = is_on
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
    """How often something may be shown: as often as costs a fifth of the window's time."""

    # The cost includes painting, which takes seconds where napari draws 3-D in software.

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


class LayerInTurns(QObject, Generic[L]):
    """At most one layer in a viewer, which :meth:`_make` makes."""

    def __init__(self, viewer: Any, turns: Turns) -> None:
        super().__init__()
        self._viewer, self._turns = viewer, turns
        self._added: weakref.ref[L] | None = None
        self._new: L | None = None  # until it is in the viewer
        self._is_coming = False

    def _make(self) -> L | None:
        """Make the layer; None if it is no longer wanted."""
        raise NotImplementedError

    @property
    def layer(self) -> L | None:
        return there(self._viewer, self._added)

    @property
    def was_removed(self) -> bool:
        """Whether it was in the viewer, and somebody has taken it out."""
        return self._added is not None and self.layer is None

    def bring(self, before: Steps = (), then: Steps = ()) -> None:
        """Add it, unselected, between steps that come ``before`` and ``then``."""
        if self._is_coming:
            return
        self._is_coming = True
        self._turns.add(*before, self._take, self._add, self._give_controls, *then)

    def forget(self) -> None:
        """Whatever happens to it is no longer of interest."""
        self._added = self._new = None
        self._is_coming = False  # steps that still wait find nothing to do

    def remove(self) -> None:
        """Take it out."""
        layer = self.layer
        if layer is not None:
            paint_after(self._viewer)
            self._viewer.layers.remove(layer)
        self.forget()

    def _take(self) -> None:
        self._new = self._make() if self.layer is None else None

    def _add(self) -> None:
        layer, self._new = self._new, None
        if layer is None or self.layer is not None:
            return
        with unselected(self._viewer), without_controls(self._viewer, layer):
            self._viewer.layers.append(layer)
        self._added = weakref.ref(layer)
        SHORT_PAUSES.expect_to_go(layer)

    def _give_controls(self) -> None:
        self._is_coming = False
        layer = self.layer
        if layer is not None:
            give_controls(self._viewer, layer)

    def _select(self) -> None:
        """Make it the selected one, as napari does with a new layer."""
        if self.layer is not None:
            self._viewer.layers.selection.active = self.layer
