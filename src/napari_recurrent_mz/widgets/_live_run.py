"""A running session, seen from the window: its thread, and what it tells."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from ._calm import CALM
from ._guard import on
from ._live_messages import Filled, NotStarted, Started
from ._live_thread import LiveThread
from ._live_work import LiveWork
from ._pace import Turns

_TURN_MS = 1


class LiveRun(QObject):
    """At most one session, in a thread of its own.

    What it tells is passed on one by one: between two of them the window answers and paints. Of
    planes that were filled one after the other only the last is told. While the window takes
    turns, nothing is passed on, and the thread waits.

    Parameters
    ----------
    turns : Turns
        What the window does step by step.

    Attributes
    ----------
    session : Session or None
        Once it has started.
    live_thread : LiveThread or None
        What it runs in.
    """

    told = Signal(object)
    """What :class:`~._live_work.LiveWork` tells; nothing more once the session was ended."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns
        self.session: Any = None
        self._work: LiveWork | None = None
        self.live_thread: LiveThread | None = None
        self._items: deque[object] = deque()
        self._timer = QTimer(self)
        self._timer.setInterval(_TURN_MS)
        on(self, self._timer.timeout, self._pass_on)
        on(self, turns.changed, self._hold)

    @property
    def is_on(self) -> bool:
        """Whether there is a session, or one is about to start."""
        return self.live_thread is not None

    @property
    def is_starting(self) -> bool:
        """Whether a session is about to start."""
        return self.is_on and self.session is None

    @property
    def is_at_rest(self) -> bool:
        """Whether the thread does nothing."""
        thread, work = self.live_thread, self._work
        return thread is None or work is None or thread.rest.is_taken or work.is_idle

    def start(self, make: Callable[[], Any]) -> None:
        """Begin; ``make`` gives the session, in the thread."""
        self.let_go()
        CALM.hold()
        self._work = LiveWork(make)
        self.live_thread = LiveThread(self._work.events, self._work.wake)
        on(self, self.live_thread.arrived, self._arrived)
        on(self, self.live_thread.failed, self._failed)
        self.live_thread.rest.want(self._turns.is_on)
        self.live_thread.start()

    def ask(self, command: object) -> None:
        """Ask the session something; nothing happens when there is none."""
        if self._work is not None:
            self._work.ask(command)

    def pause(self, is_paused: bool) -> None:
        """Refine no further, or go on."""
        if self._work is not None:
            self._work.pause(is_paused)

    def abort(self) -> None:
        """End what the microscope does."""
        if self._work is not None:
            self._work.abort.set()

    def look_first(self, order: tuple[int, ...]) -> None:
        """Refine these planes first."""
        if self._work is not None:
            self._work.order = order

    def let_go(self) -> None:
        """Let the session go."""
        if self.live_thread is not None:
            self.live_thread.cancel()
            CALM.release()
        self.live_thread = self._work = self.session = None
        self._items.clear()

    def _hold(self, is_held: bool) -> None:
        if self.live_thread is not None:
            self.live_thread.rest.want(is_held)
        if is_held:
            self._timer.stop()
        elif self._items:
            self._timer.start()

    def _arrived(self, item: object) -> None:
        if self.sender() is not self.live_thread:
            return  # of a session that was ended
        if isinstance(item, Filled) and self._items and isinstance(self._items[-1], Filled):
            self._items.pop()
        self._items.append(item)
        if not self._timer.isActive() and not self._turns.is_on:
            self._timer.start()

    def _pass_on(self) -> None:
        """Tell the next item."""
        if not self._items:
            self._timer.stop()
            return
        item = self._items.popleft()
        if isinstance(item, Started):
            self.session = item.session
            CALM.put_aside()  # libraries were loaded for it
        self.told.emit(item)

    def _failed(self, sentence: str) -> None:
        """The thread is gone, which nothing foresees."""
        if self.sender() is self.live_thread:
            self.told.emit(NotStarted(sentence))


def stop_threads(box: dict[str, Any]) -> None:
    """End the threads in a dock's attributes, and keep its session; the dock may be gone."""
    for part in (box.get("live"), box.get("folder")):
        if part is not None:
            part.let_go()
    if box.get("files") is not None:
        box["files"].close()
