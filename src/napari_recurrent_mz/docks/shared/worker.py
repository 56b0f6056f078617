"""Work in a thread: what it yields arrives in the GUI thread, and at last how it ended."""

from __future__ import annotations

import atexit
import contextlib
import inspect
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from ...core.errors import sentence_of
from ...core.progress import Stopped
from ...core.scans import InputError
from .guard import emit_alive, on, telling
from .insides import SHORT_PAUSES, is_open

_LONGEST_REST_S = 1.0
_ENDING_S = 30.0  # for a stage that is on its way

Work = Callable[..., Iterator[object]]
# A generator function, of nothing that is napari's. What it yields is told, and what it returns is
# what came of it, or the Outcome. Once somebody asks to stop, Stopped is raised where it yields
# next: work that keeps what is finished catches it. A parameter ``stop`` is a threading.Event, set
# from then on.


@dataclass(frozen=True, eq=False)
class Outcome:
    """How it ended: ``state`` is done, cancelled or failed; ``sentence`` says why it failed."""

    state: str
    sentence: str = ""
    provenance: dict[str, Any] | None = None
    seconds: float = 0.0
    path: Path | None = None  # the file with the planes that were finished, where they were written
    value: Any = None  # what was found


class Rest:
    """A rest for work in a thread, asked for in the GUI thread and taken between two pieces."""

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self._is_over.set()
        self.is_taken = False

    def want(self, is_wanted: bool) -> None:
        """Let who works rest after what is being done, or go on."""
        (self._is_over.clear if is_wanted else self._is_over.set)()

    def take(self) -> None:
        """Rest as long as that is wanted, a second at most."""
        if not self._is_over.is_set():
            self.is_taken = True
            self._is_over.wait(_LONGEST_REST_S)
            self.is_taken = False


def time_left(elapsed_s: float, first_s: float, done: int, total: int) -> float | None:
    """Seconds still needed, from the pace after the first piece, which pays for loading."""
    if done < 2:
        return None
    return (elapsed_s - first_s) / (done - 1) * (total - done)


class Run(QObject):
    """Work in a thread; it keeps itself alive until it has ended."""

    # ``wake`` is called when somebody asks to stop, for work that waits for something else. Work
    # that ``waits`` most of the time has a thread of its own. ``title`` says what it does.

    arrived = Signal(object)  # with what the work yields
    ended = Signal(object)  # with the :class:`Outcome`; nothing comes after it

    _alive: set[Run] = set()  # noqa: RUF012

    def __init__(
        self,
        work: Work,
        *args: Any,
        wake: Callable[[], object] = lambda: None,
        waits: bool = False,
        title: str = "Recurrent-MZ",
    ) -> None:
        super().__init__()
        self._work, self._args, self._wake, self._waits = work, args, wake, waits
        self._title = title
        self._stop = threading.Event()
        self._is_silent = False
        self._outcome = Outcome("cancelled")
        self._worker: Any = None

    @property
    def is_cancelled(self) -> bool:
        return self._stop.is_set()

    def start(self) -> None:
        Run._alive.add(self)
        SHORT_PAUSES.hold()
        if self._waits:
            self._worker = _OwnThread(self)
        else:
            self._worker = self._in_pool()
        on(self, self._worker.yielded, self._yielded)
        on(self, self._worker.finished, self._finished)
        self._worker.start()

    def _in_pool(self) -> Any:
        """A worker of napari's, which calls it by a function's name when its window is closed."""

        def steps(run: Run) -> Iterator[object]:
            yield from _steps(run)

        steps.__qualname__ = self._title
        return create_worker(steps, self, _start_thread=False, _worker_class=_InPool)

    def cancel(self) -> None:
        """Stop as soon as the work looks up."""
        self._stop.set()
        self._wake()

    def let_go(self) -> None:
        """Stop, and tell nobody any more."""
        self._is_silent = True
        self.cancel()

    def _yielded(self, item: object) -> None:
        if isinstance(item, Outcome):
            self._outcome = item
        elif not self._is_silent:
            self.arrived.emit(item)

    def _finished(self) -> None:
        self._worker = None
        SHORT_PAUSES.release()
        Run._alive.discard(self)
        if not self._is_silent:
            self.ended.emit(self._outcome)


class _InPool(GeneratorWorker):  # type: ignore[misc]
    """A worker of napari's, which would leave its work half done when the window closes."""

    def __init__(self, steps: Callable[[Run], Iterator[object]], run: Run) -> None:
        super().__init__(steps, run)
        self._run = run

    def quit(self) -> None:
        """Let the work come to its end, and keep what is finished."""
        self._run.cancel()


class _OwnThread(QObject):
    """Iterates in a thread of its own; for :class:`Run` it is as one of napari's workers."""

    # One of napari's pool that only waited would take a core from others, and napari asks about it
    # when its window closes. The program waits for its end, for it may use a microscope that Qt
    # would take away.

    yielded = Signal(object)
    finished = Signal()

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self._thread = threading.Thread(target=self._iterate, daemon=True)

    def start(self) -> None:
        atexit.register(self._end)
        self._thread.start()

    def _iterate(self) -> None:
        for item in _steps(self._run):
            emit_alive(self, "yielded", item)
        emit_alive(self, "finished")
        atexit.unregister(self._end)

    def _end(self) -> None:
        self._run.cancel()
        self._thread.join(_ENDING_S)


def _steps(run: Run) -> Iterator[object]:
    """Yield what the work yields, and at last the outcome; raises nothing."""
    work, stop, began = run._work, run._stop, time.monotonic()
    was_told = False
    try:
        takes_stop = "stop" in inspect.signature(work).parameters
        result: Any = work(*run._args, **({"stop": stop} if takes_stop else {}))
        with contextlib.closing(result) as items:
            item = next(items)
            while True:
                yield item
                if stop.is_set() and not was_told:
                    was_told = True
                    item = items.throw(Stopped())
                else:
                    item = next(items)
    except StopIteration as end:
        outcome = end.value
        if not isinstance(outcome, Outcome):
            state = "cancelled" if stop.is_set() and outcome is None else "done"
            outcome = Outcome(state, seconds=time.monotonic() - began, value=end.value)
    except Stopped:
        outcome = Outcome("cancelled")
    except Exception as error:
        outcome = Outcome("failed", sentence_of(error))
    yield outcome


def in_background(
    owner: QObject,
    function: Callable[..., Any],
    *args: Any,
    then: Callable[[Any], None],
    failed: Callable[[str], object] | None = None,
) -> None:
    """Run ``function(*args)`` in a thread."""
    # ``then`` gets the value or ``failed`` a sentence, in the GUI thread, while ``owner`` and its
    # viewer are there; without ``failed`` it is told in the owner's dock.

    def work() -> Generator[object, None, Any]:
        yield from ()
        return function(*args)

    def ended(outcome: Outcome) -> None:
        if isalive(owner) and is_open(getattr(owner, "_viewer", None)):  # type: ignore[no-untyped-call]
            with telling(owner):
                if outcome.state == "done":
                    then(outcome.value)
                elif failed is None:
                    raise InputError(outcome.sentence)
                else:
                    failed(outcome.sentence)

    run = Run(work)
    on(run, run.ended, ended)
    run.start()
