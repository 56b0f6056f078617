"""What a dock works on, in napari's activity dock too."""

from __future__ import annotations

import io

from napari.utils import progress
from qtpy.compat import isalive
from qtpy.QtCore import QObject

from .guard import one_shot

_EVERY_MS = 300  # what is over sooner is not shown at all


class Activity:
    """At most one bar among napari's own, for a job that takes a while.

    napari lets Qt work whenever such a bar is made or moves, in the middle of whatever goes on. So
    it moves now and then, from a timer, when nothing of ours does.
    """

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
