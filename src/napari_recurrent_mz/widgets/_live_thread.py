"""A thread that lives as long as a session: it waits for work, or for files, most of the time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from ._guard import sentence_of
from ._rest import Rest


class LiveThread(QObject):
    """A generator in a thread of its own; what it yields arrives in the GUI thread.

    Qt's pool has as many threads as the machine has cores: one that only waits would take a
    core away from everybody else, so this one is not of the pool.

    Parameters
    ----------
    work : callable
        ``work(stop)`` gives the generator; it ends soon after the event ``stop`` is set.
    wake : callable, optional
        Called when somebody asks to stop, for a generator that waits for something else.

    Attributes
    ----------
    rest : Rest
        Taken after what is being done, when the window needs a moment.
    """

    arrived = Signal(object)
    failed = Signal(str)
    ended = Signal()

    def __init__(
        self,
        work: Callable[[threading.Event], Iterator[object]],
        wake: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self._work, self._wake = work, wake
        self._stop = threading.Event()
        self.rest = Rest()
        self._thread = threading.Thread(target=self._iterate, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop as soon as the work looks up; nothing arrives any more."""
        self._stop.set()
        self.rest.want(False)
        self._wake()

    def join(self, seconds: float) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _iterate(self) -> None:
        try:
            for item in self._work(self._stop):
                if self._stop.is_set():
                    break
                self._emit("arrived", item)
                self.rest.take()
        except Exception as error:
            self._emit("failed", sentence_of(error))
        self._emit("ended")

    def _emit(self, signal: str, *values: object) -> None:
        """Tell the GUI thread, unless the window is gone."""
        try:
            if isalive(self):  # type: ignore[no-untyped-call]
                getattr(self, signal).emit(*values)
        except RuntimeError:
            return  # deleted between the question and the signal
