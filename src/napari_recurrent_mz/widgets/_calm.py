"""What keeps the window alive beside a thread that works.

Two things make a window stand still though nothing runs in its own thread: it waits up to a
switch interval each time that it wants the interpreter back, and the garbage collector's full pass
looks at every object there is, 0.2 s with napari and torch loaded. While somebody holds
:data:`CALM`, the interval is short, and a full pass looks only at what is new. napari asks for such
a pass with every layer that goes, and finds little: the collector's small passes are few, so that
what comes and goes soon, like a plot's thousands of parts, goes in one of them (:meth:`Calm.tidy`)
and does not grow old.

What does not help is to let the working threads come after the window's (niceness): one that has
the interpreter is then kept waiting by others, and the window with it.
"""

from __future__ import annotations

import gc
import sys
import time
import weakref
from typing import Any

_SWITCH_S = 0.001  # a fifth of Python's own
_FULL = 2  # the collector's oldest generation
_YOUNG = 30_000  # objects, more than a plot has, before the collector looks at them; usually 700
_LONG_S = 0.02  # of a full pass: then there is much that is new


class Calm:
    """Counts who works; all methods are for the GUI thread.

    Examples
    --------
    >>> CALM.hold()                                                     # doctest: +SKIP
    >>> CALM.release()                                                  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._holders = 0
        self._usual_s = 0.0
        self._usual_young = gc.get_threshold()
        self._puts_aside = False
        self._young: weakref.WeakSet[Any] = weakref.WeakSet()
        self._began = 0.0

    @property
    def is_held(self) -> bool:
        """Whether somebody works."""
        return self._holders > 0

    def hold(self) -> None:
        """Somebody begins to work."""
        self._holders += 1
        if self._holders > 1:
            return
        self._usual_s = sys.getswitchinterval()
        sys.setswitchinterval(min(self._usual_s, _SWITCH_S))
        self._usual_young = gc.get_threshold()
        gc.set_threshold(max(self._usual_young[0], _YOUNG), *self._usual_young[1:])
        if gc.get_freeze_count() == 0:  # else somebody else has put objects aside
            self._puts_aside = True
            gc.callbacks.append(self._collected)
            self.put_aside()

    def release(self) -> None:
        """Somebody has ended; with the last one all is as it was."""
        self._holders -= 1
        if self._holders > 0:
            return
        sys.setswitchinterval(self._usual_s)
        gc.set_threshold(*self._usual_young)
        if self._puts_aside:
            self._puts_aside = False
            gc.callbacks.remove(self._collected)
            gc.unfreeze()

    def put_aside(self) -> None:
        """Let full passes look at nothing that is there now, while somebody works."""
        if self._puts_aside:
            self._young.clear()
            gc.freeze()

    def tidy(self) -> None:
        """Free what was made and is no longer wanted since the last small pass."""
        if self.is_held:
            gc.collect(0)

    def expect_to_go(self, layer: Any) -> None:
        """Note that a layer is new: it can go without a look at everything else."""
        self._young.add(layer)

    def give_back(self, layer: Any) -> None:
        """Free a layer that is about to go, at the price of a pass over everything if it is old."""
        if self._puts_aside and layer not in self._young:
            gc.unfreeze()

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        """What has survived a long full pass stays aside in the next; new layers never do."""
        if info["generation"] != _FULL:
            return
        if phase == "start":
            self._began = time.thread_time()
        elif time.thread_time() - self._began > _LONG_S and not self._young:
            self.put_aside()


CALM = Calm()
"""The one there is."""
