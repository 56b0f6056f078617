"""Work in a thread: a reconstruction's planes with the time left, cancel, the outcome."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from napari.qt.threading import create_worker
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from ..optics import Optics
from ..scans import Scan, ZGrid
from ._calm import CALM
from ._guard import on, sentence_of, telling
from ._rest import Rest
from ._targets import Disk, Memory, target_for
from ._viewer_parts import is_open


@dataclass(frozen=True)
class Job:
    """Everything a reconstruction needs; none of it belongs to napari."""

    scans: tuple[Scan, ...]
    grid: ZGrid
    optics: Optics | None
    method: str
    model: str | None
    device: str
    order: tuple[int, ...]
    output: Path | None = None
    """Where the volume is written as it is made; None keeps it in memory."""
    pixel_um: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """How it ended: ``state`` is done, cancelled or failed; ``sentence`` says why it failed."""

    state: str
    sentence: str = ""
    provenance: dict[str, Any] | None = None
    seconds: float = 0.0
    path: Path | None = None
    """The file with the planes that were finished, where they were written."""


@dataclass(frozen=True)
class Checked:
    """What the check on the scans found: the key of the method in use, and a sentence."""

    used: str
    sentence: str


def order_from(first: int, count: int) -> tuple[int, ...]:
    """All plane numbers, nearest to ``first`` first: what is done is always one block."""
    return tuple(sorted(range(count), key=lambda i: (abs(i - first), i)))


def time_left(elapsed_s: float, first_s: float, done: int, total: int) -> float | None:
    """Seconds still needed, from the pace after the first plane, which pays for loading."""
    if done < 2:
        return None
    return (elapsed_s - first_s) / (done - 1) * (total - done)


class ThreadRun(QObject):
    """A generator that is iterated in a thread; what it yields arrives in the GUI thread.

    It keeps itself alive until it has ended, and emits nothing after :attr:`ended`.
    """

    ended = Signal(object)

    _alive: set[ThreadRun] = set()  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._stop = threading.Event()
        self._outcome: Outcome | None = None
        self._worker: Any = None

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._stop.is_set()

    def cancel(self) -> None:
        """Stop as soon as the work looks up."""
        self._stop.set()

    def _launch(self, work: Callable[..., Iterator[object]], *args: Any) -> None:
        ThreadRun._alive.add(self)
        CALM.hold()
        self._worker = create_worker(work, *args, self._stop, _start_thread=False)
        on(self, self._worker.yielded, self._yielded)
        on(self, self._worker.finished, self._finished)
        self._worker.start()

    def _yielded(self, item: object) -> None:
        if isinstance(item, Outcome):
            self._outcome = item
        else:
            self._arrived(item)

    def _arrived(self, item: object) -> None:
        """What the generator yields, except for the outcome."""
        raise NotImplementedError

    def _finished(self) -> None:
        self._worker = None
        CALM.release()
        ThreadRun._alive.discard(self)
        self.ended.emit(self._outcome or Outcome("cancelled"))


class Run(ThreadRun):
    """A running reconstruction."""

    plane = Signal(object)
    message = Signal(str)
    checked = Signal(object)

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        self.rest = Rest()
        self.done = 0
        self._began = self._first = 0.0

    def start(self) -> None:
        """Begin; after the first plane it rests until somebody says that its layer is there."""
        self._began = time.monotonic()
        self.rest.want(True)
        self._launch(_work, self.job, self.rest)

    def cancel(self) -> None:
        """Stop as soon as the work looks up."""
        super().cancel()
        self.rest.want(False)

    def seconds_left(self) -> float | None:
        """Expected time to the end; None while nothing can be said."""
        elapsed = time.monotonic() - self._began
        return time_left(elapsed, self._first, self.done, len(self.job.order))

    def _arrived(self, item: object) -> None:
        if isinstance(item, str):
            self.message.emit(item)
        elif isinstance(item, Checked):
            self.checked.emit(item)
        elif not self.is_cancelled or self.job.output is not None:  # what is on the disk stays
            self.done += 1
            if self.done == 1:
                self._first = time.monotonic() - self._began
            self.plane.emit(item)

    def _finished(self) -> None:
        found = self._outcome
        if self.is_cancelled and found is not None and found.state == "done" and not found.path:
            self._outcome = None
        super()._finished()


def _work(job: Job, rest: Rest, stop: threading.Event) -> Iterator[object]:
    """Yield planes, messages and at last the outcome; raises nothing.

    Once ``stop`` is set, the planes' generator is closed here, in its own thread.
    """
    began = time.monotonic()
    messages: list[object] = []
    checks: list[Any] = []

    def checked(check: Any) -> None:
        checks.append(check)
        messages.append(Checked(check.chosen, check.sentence))

    target: Memory | Disk | None = None
    try:
        from .. import inference
        from ..provenance import provenance

        target = target_for(job)
        model = _model_for(job)
        planes = inference.iter_planes(
            job.scans,
            job.grid,
            optics=job.optics,
            model=model,
            method=job.method,
            device=job.device,
            order=job.order,
            on_message=messages.append,
            on_check=checked,
            stopped=stop.is_set,
        )
        with contextlib.closing(cast(Generator[Any, None, None], planes)):
            for plane in planes:
                yield from _drained(messages)
                yield target.put(plane)
                rest.take()
                if stop.is_set():
                    break
        yield from _drained(messages)
        if not target.is_whole:
            yield Outcome("cancelled", path=target.leave("cancelled"))
            return
        seconds = time.monotonic() - began
        made = provenance(
            job.scans,
            job.grid,
            optics=job.optics,
            method=job.method,
            model=model,
            device=_device_for(job),
            seconds=seconds,
            check=checks[0] if checks else None,
        )
        yield Outcome("done", provenance=made, seconds=seconds, path=target.finish(made))
    except Exception as error:
        kept = None
        with contextlib.suppress(Exception):  # what went wrong is told already
            kept = None if target is None else target.leave("failed")
        yield Outcome("failed", sentence_of(error), path=kept)


def _drained(messages: list[object]) -> Iterator[object]:
    while messages:
        yield messages.pop(0)


def _model_for(job: Job) -> Any:
    from ..inference import model_for

    return model_for(job.method, job.model)


def _device_for(job: Job) -> Any:
    from ..device import choose_device

    return choose_device(job.device)


def in_background(
    owner: QObject,
    function: Callable[..., Any],
    *args: Any,
    then: Callable[[Any], None],
    failed: Callable[[str], None],
) -> None:
    """Run ``function(*args)`` in a thread.

    Parameters
    ----------
    owner : QObject
        Whoever wants the answer; once it is deleted, or its viewer closed, nobody is told.
    function : callable
    *args
        Given to ``function``.
    then : callable
        Gets the value, in the GUI thread.
    failed : callable
        Gets a sentence when ``function`` raised.
    """

    def guarded() -> tuple[bool, Any]:
        try:
            return True, function(*args)
        except Exception as error:
            return False, sentence_of(error)

    def arrived(result: tuple[bool, Any]) -> None:
        good, value = result
        CALM.release()
        if isalive(owner) and is_open(getattr(owner, "_viewer", None)):  # type: ignore[no-untyped-call]
            with telling(owner):
                (then if good else failed)(value)

    CALM.hold()
    worker = create_worker(guarded, _start_thread=False)
    worker.returned.connect(arrived)
    worker.start()
