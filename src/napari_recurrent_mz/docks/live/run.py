"""A running session, seen from the window: its thread, and what it reports."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from ..shared.guard import on
from ..shared.insides import SHORT_PAUSES
from ..shared.pace import Turns
from ..shared.worker import Outcome, Rest, Run
from .work import Filled, LiveWork, NotStarted, Started

_TURN_MS = 1


def _nothing() -> None:
    """Makes no session."""


class LiveRun(QObject):
    """At most one session, in a thread of its own; ``run`` is there while it is.

    What :attr:`work` is asked without a session is forgotten.

    What it reports is passed on one by one, so that the window answers and paints in between; of
    planes filled one after the other only the last. While the window takes turns, nothing is
    passed on, and the thread waits.
    """

    arrived = Signal(object)  # what LiveWork reports; nothing more once the session was ended

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns
        self.session: Any = None  # once it has started
        self.work = LiveWork(_nothing)
        self.run: Run | None = None
        self._rest = Rest()
        self._items: deque[object] = deque()
        self._timer = QTimer(self)
        self._timer.setInterval(_TURN_MS)
        on(self, self._timer.timeout, self._pass_on)
        on(self, turns.changed, self._hold)

    @property
    def is_on(self) -> bool:
        """Whether there is a session, or one is about to start."""
        return self.run is not None

    @property
    def is_starting(self) -> bool:
        """Whether a session is about to start."""
        return self.is_on and self.session is None

    @property
    def is_at_rest(self) -> bool:
        """Whether the thread does nothing."""
        return not self.is_on or self._rest.is_taken or self.work.is_idle

    def start(self, make: Callable[[], Any]) -> None:
        """Begin; ``make`` gives the session, in the thread."""
        self.let_go()
        work, rest = LiveWork(make), Rest()
        self.work, self._rest = work, rest

        def events(*, stop: threading.Event) -> Iterator[object]:
            for event in work.events(stop):
                yield event
                rest.take()

        def wake() -> None:
            rest.want(False)
            work.wake()

        self.run = Run(events, wake=wake, waits=True)
        on(self, self.run.arrived, self._put)
        on(self, self.run.ended, self._ended)
        rest.want(self._turns.is_on)
        self.run.start()

    def let_go(self) -> None:
        """Let the session go."""
        if self.run is not None:
            self.run.let_go()
        self.run = self.session = None
        self.work = LiveWork(_nothing)
        self._items.clear()

    def _hold(self, is_held: bool) -> None:
        self._rest.want(is_held and self.is_on)
        if is_held:
            self._timer.stop()
        elif self._items:
            self._timer.start()

    def _put(self, item: object) -> None:
        if isinstance(item, Filled) and self._items and isinstance(self._items[-1], Filled):
            self._items.pop()
        self._items.append(item)
        if not self._timer.isActive() and not self._turns.is_on:
            self._timer.start()

    def _pass_on(self) -> None:
        if not self._items:
            self._timer.stop()
            return
        item = self._items.popleft()
        if isinstance(item, Started):
            self.session = item.session
            SHORT_PAUSES.put_aside()  # libraries were loaded for it
        self.arrived.emit(item)

    def _ended(self, outcome: Outcome) -> None:
        """The thread is gone, which nothing foresees."""
        if outcome.state == "failed":
            self.arrived.emit(NotStarted(outcome.sentence))
