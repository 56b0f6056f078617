"""The Live dock's session in a thread: what is asked of it, and what it reports to the window."""

from __future__ import annotations

import math
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from ...acquisition import (
    Ended,
    Microscope,
    MicroscopeError,
    Moved,
    PlaneRefined,
    Refined,
    Scanned,
    acquire,
    standing,
)
from ...core.errors import sentence_of
from ...core.scans import InputError, Scan, contrast_limits
from ...measure.plots.live import ErrorOverZ
from ..shared.guard import on
from ..shared.insides import SHORT_PAUSES
from ..shared.pace import Turns
from ..shared.worker import Outcome, Rest, Run

Command = Callable[[Any], Iterator[object]]
"""Gets the session; yields what is to be reported."""

THUMBNAIL = 32
"""Pixels on a side of a thumbnail, at most."""

_SHOWN_PERCENTILES = (1.0, 99.8)


Bytes = npt.NDArray[np.uint8]
ACCEPT = "accept"
_TURN_MS = 1


@dataclass(frozen=True, eq=False)
class Add:
    """Take this scan; how to continue where there is one at its height, or it looks wrong."""

    scan: Scan
    pixel_um: float | None = None
    on_duplicate: str | None = None
    accept_doubtful: bool = False

    def answered(self, choice: str) -> Add:
        """The same after a person has chosen one of :attr:`ScanQuestion.choices`."""
        if choice == ACCEPT:
            return replace(self, accept_doubtful=True)
        return replace(self, on_duplicate=choice)


@dataclass(frozen=True, eq=False)
class Started:
    """The session is there."""

    session: Any


@dataclass(frozen=True)
class NotStarted:
    """Why there is no session."""

    sentence: str


@dataclass(frozen=True, eq=False)
class ScanQuestion:
    """A scan that a person must decide on: one of ``choices``, or not to take it."""

    add: Add
    sentence: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Message:
    """A sentence and its kind."""

    sentence: str
    kind: str = "hint"


@dataclass(frozen=True, eq=False)
class ScanLine:
    """A line of the scan list."""

    name: str
    z_um: float
    thumbnail: Bytes  # (Y, X) grey levels
    change: float  # of the volume when the scan came; NaN when that is not known (yet)
    together: int  # scans that brought that change
    is_first: bool  # whether there was no volume before it
    is_pending: bool


@dataclass(frozen=True, eq=False)
class Listed:
    """The scans there are, what they say of the planes, and whether the volume has them all."""

    # All at one time: the session goes on while the window shows this.

    scans: tuple[Scan, ...]
    history: tuple[Any, ...]  # its entries
    lines: tuple[ScanLine, ...]
    over_z: ErrorOverZ
    is_pending: bool
    values: tuple[float, float]  # lowest and highest of a finished volume
    contrast: tuple[float, float]  # shows the scans well


@dataclass(frozen=True)
class MicroscopeFree:
    """What was asked of the microscope is done; ``ended`` says how an automatic run ended."""

    ended: Ended | None


class LiveWork:
    """A session, made in the thread that iterates :meth:`events`, and a queue of what is asked."""

    # A command that comes while the volume is refined is carried out before the next tile.

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._paused = threading.Event()
        self._messages: list[Message] = []
        self._thumbnails: weakref.WeakKeyDictionary[Scan, Bytes] = weakref.WeakKeyDictionary()
        self._failed = False
        self.order: tuple[int, ...] = ()  # planes wanted first; set from any thread
        self.abort = threading.Event()  # ends what the microscope does
        self.is_idle = False

    def ask(self, command: Command) -> None:
        self._commands.put(command)

    def add(self, request: Add) -> None:
        self.ask(lambda session: self._add(session, request))

    def remove(self, number: int) -> None:
        """Let a scan go, by number; the last one is -1."""
        self.ask(lambda session: self._listed_after(session, partial(session.remove, number)))

    def renormalise(self) -> None:
        """Measure the intensity scale again, on all scans there are."""
        self.ask(lambda session: self._listed_after(session, session.renormalise))

    def plan(self, target_error: float) -> None:
        """Say how few scans reach this expected error, above 0 and below 1, and where."""

        def command(session: Any) -> Iterator[object]:
            yield Message(session.plan(target_error=target_error).sentence)

        self.ask(command)

    def take_scan(self, microscope: Microscope, z_um: float | None) -> None:
        """Scan at a height, or where the stage stands."""

        def steps(session: Any) -> Generator[object, None, None]:
            with microscope.acquisition():
                stage_um = microscope.z_um
                if z_um is not None:
                    stage_um = microscope.move_to(z_um, self.abort.is_set)
                yield Moved(stage_um, 1)
                if self.abort.is_set():
                    yield Message(f"Stopped: the stage stays at {stage_um:.4g} µm.")
                    return
                scan = microscope.scan()
            yield from self._add(session, Add(scan, microscope.pixel_um))

        self._ask_microscope(microscope, steps)

    def acquire(self, microscope: Microscope, **limits: Any) -> None:
        """Scan until another scan no longer pays, within the limits of :func:`~.acquire`."""

        def steps(session: Any) -> Generator[object, None, Ended | None]:
            limits.update(order=lambda: self.order, abort=self.abort)
            ended = None
            with closing(cast(Any, acquire(session, microscope, **limits))) as events:
                for event in events:
                    if isinstance(event, Moved | PlaneRefined):
                        yield event
                    elif isinstance(event, Scanned | Refined):
                        yield from self._listed(session)
                    elif isinstance(event, Ended):
                        ended = event
            return ended

        self._ask_microscope(microscope, steps)

    def wake(self) -> None:
        """End what is being done, so that the thread sees that it should stop."""
        self.abort.set()
        self.ask(lambda _session: iter(()))

    def pause(self, is_paused: bool) -> None:
        """Refine no further, or continue."""
        (self._paused.set if is_paused else self._paused.clear)()
        self.ask(lambda _session: iter(()))

    def events(self, stop: threading.Event) -> Iterator[object]:
        """Report what happens: do what is asked, refine in between, until ``stop``."""
        session = self._make()
        session.message.connect(self._collect)
        yield Started(session)
        yield from self._guarded(self._listed(session))
        while not stop.is_set():
            is_busy = session.pending and not self._paused.is_set() and not self._failed
            command = self._next(wait=not is_busy)
            if command is not None:
                self._failed = False
                yield from self._guarded(command(session))
            elif is_busy:
                yield from self._guarded(self._refine(session, stop))

    def _next(self, *, wait: bool) -> Command | None:
        self.is_idle = wait
        try:
            return self._commands.get(block=wait)
        except queue.Empty:
            return None
        finally:
            self.is_idle = False

    def _guarded(self, steps: Iterator[object]) -> Iterator[object]:
        """Yield the steps and what the session says on the way; a mistake is a sentence."""
        try:
            for step in steps:
                yield step
                yield from self._collected()
        except Exception as error:
            self._failed = not isinstance(error, InputError)
            yield Message(sentence_of(error), "error")
        yield from self._collected()

    def _collect(self, sentence: str, kind: str) -> None:
        self._messages.append(Message(sentence, kind))

    def _collected(self) -> Iterator[object]:
        while self._messages:
            yield self._messages.pop(0)

    # what is asked ------------------------------------------------------------------------
    def _ask_microscope(
        self,
        microscope: Microscope,
        steps: Callable[[Any], Generator[object, None, Ended | None]],
    ) -> None:
        """Whatever happens, the last thing reported is that the microscope is free."""

        def command(session: Any) -> Iterator[object]:
            ended = None
            try:
                ended = yield from steps(session)
            except MicroscopeError as error:
                yield Message(f"{error} {standing(microscope)}", "error")
            except Exception as error:
                yield Message(sentence_of(error), "error")
            yield MicroscopeFree(ended)

        self.abort.clear()
        self.ask(command)

    def _listed_after(self, session: Any, change: Callable[[], object]) -> Iterator[object]:
        change()
        yield from self._listed(session)

    def _add(self, session: Any, add: Add) -> Iterator[object]:
        try:
            session.add_scan(
                add.scan,
                pixel_um=add.pixel_um,
                on_duplicate=add.on_duplicate,
                accept_doubtful=add.accept_doubtful,
                refine=False,
            )
        except InputError as error:
            choices = choices_after(error)
            if choices:
                yield ScanQuestion(add, str(error), choices)
            else:
                yield Message(str(error), "error")
            return
        yield from self._listed(session)

    # the volume ---------------------------------------------------------------------------
    def _refine(self, session: Any, stop: threading.Event) -> Iterator[object]:
        order = self.order

        def stopped() -> bool:
            return stop.is_set() or self._paused.is_set() or not self._commands.empty()

        with closing(session.refine(order=order, stopped=stopped)) as updates:
            for update in updates:
                yield PlaneRefined(update, len(session.scans))
                if self.order != order or stopped():
                    break
        if not session.pending:
            yield from self._listed(session)

    def _listed(self, session: Any) -> Iterator[object]:
        """The scan list, and what the scans say of the planes and of the next one."""
        scans, history = session.scans, tuple(session.history)
        over_z = ErrorOverZ(
            session.grid.z_um,
            session.expected_error(),
            tuple(scan.z_um for scan in scans),
            session.suggest_z(),
        )
        volume, is_pending = session.volume, session.pending
        values = (0.0, 1.0)
        if volume is not None and not is_pending:
            values = float(volume.min()), float(volume.max())
        yield Listed(
            scans,
            history,
            self._lines(scans, history),
            over_z,
            is_pending,
            values,
            contrast=contrast_limits(scans) if scans else (0.0, 1.0),
        )

    def _lines(self, scans: Sequence[Scan], history: Sequence[Any]) -> tuple[ScanLine, ...]:
        entries: dict[tuple[float, str], Any] = {}
        for entry in history:
            if entry.event != "removed":
                entries |= dict.fromkeys(zip(entry.z_um, entry.names, strict=True), entry)
        first = history[0] if history else None
        return tuple(self._line(scan, entries.get((scan.z_um, scan.name)), first) for scan in scans)

    def _line(self, scan: Scan, entry: Any, first: Any) -> ScanLine:
        if scan not in self._thumbnails:
            self._thumbnails[scan] = thumbnail(scan)
        return ScanLine(
            scan.name,
            scan.z_um,
            self._thumbnails[scan],
            change=math.nan if entry is None else entry.relative_change,
            together=1 if entry is None else len(entry.z_um),
            is_first=entry is not None and entry is first,
            is_pending=entry is None,
        )


def choices_after(error: InputError) -> tuple[str, ...]:
    """What a person may answer when a session has refused a scan; nothing if it cannot be."""
    from ...engine.session import ON_DUPLICATE
    from ...engine.session._scans import DOUBTFUL, TAKEN

    return {TAKEN: tuple(ON_DUPLICATE), DOUBTFUL: (ACCEPT,)}.get(error.kind, ())


def thumbnail(scan: Scan) -> Bytes:
    """A scan in grey levels, shape (Y, X), at most :data:`THUMBNAIL` pixels on a side."""
    every = -(-max(scan.pixels.shape) // THUMBNAIL)
    small = scan.pixels[::every, ::every]
    low, high = np.percentile(small, _SHOWN_PERCENTILES)
    grey = np.clip((small - low) / max(high - low, 1e-12), 0, 1)
    return np.ascontiguousarray(np.rint(255 * grey), np.uint8)


class LiveRun(QObject):
    """At most one session, in a thread of its own; what is asked without one is forgotten."""

    # What it reports is passed on one by one, so that the window paints in between; while that
    # takes turns, nothing is, and the thread waits.

    arrived = Signal(object)  # what LiveWork reports; nothing more once the session was ended

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns
        self.session: Any = None  # once it has started
        self.work = LiveWork(lambda: None)
        self.run: Run | None = None
        self._rest = Rest()
        self._items: deque[object] = deque()
        self._timer = QTimer(self)
        self._timer.setInterval(_TURN_MS)
        on(self, self._timer.timeout, self._pass_on)
        on(self, turns.changed, self._hold)

    @property
    def is_on(self) -> bool:
        return self.run is not None

    @property
    def is_starting(self) -> bool:
        return self.is_on and self.session is None

    @property
    def is_at_rest(self) -> bool:
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
        self.work = LiveWork(lambda: None)
        self._items.clear()

    def _hold(self, is_held: bool) -> None:
        self._rest.want(is_held and self.is_on)
        if is_held:
            self._timer.stop()
        elif self._items:
            self._timer.start()

    def _put(self, item: object) -> None:
        last = self._items[-1] if self._items else None
        if isinstance(item, PlaneRefined) and isinstance(last, PlaneRefined):
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
        """The thread is gone: there was no session to be made, or what nobody foresees."""
        if outcome.state == "failed":
            self.arrived.emit(NotStarted(outcome.sentence))
