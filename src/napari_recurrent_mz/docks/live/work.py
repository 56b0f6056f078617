"""The Live dock's work, without a window: one session, what is asked of it, and refining between.

A thread iterates :meth:`LiveWork.events`; the window puts commands in its queue. A command that
comes while the volume is refined is carried out before the next tile, and refining goes on.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

import numpy as np

from ...acquisition import (
    Ended,
    MicroscopeError,
    Moved,
    PlaneRefined,
    Refined,
    Scanned,
    acquire,
    standing,
)
from ...core.scans import InputError, Scan
from ...measure.plots.live import ErrorOverZ
from ..shared.guard import sentence_of
from ..shared.targets import percentile_limits
from .messages import (
    ACCEPT,
    Acquire,
    Add,
    Asked,
    Bytes,
    Filled,
    Listed,
    MakePlan,
    MicroscopeFree,
    NotStarted,
    Remove,
    Renormalise,
    ScanLine,
    StageAt,
    Started,
    TakeScan,
    Told,
    Wake,
)

THUMBNAIL = 32
"""Pixels on a side of a thumbnail."""

_SHOWN_PERCENTILES = (1.0, 99.8)


class LiveWork:
    """A session and a queue of what is asked of it.

    Parameters
    ----------
    make : callable
        Makes the :class:`~.Session`, in the thread: it loads torch.

    Attributes
    ----------
    order : tuple of int
        Planes wanted first; may be set from any thread, at any time.
    abort : threading.Event
        Ends what the microscope does.
    is_idle : bool
        Whether nothing is left to do.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._commands: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._paused = threading.Event()
        self._told: list[Told] = []
        self._thumbnails: weakref.WeakKeyDictionary[Scan, Bytes] = weakref.WeakKeyDictionary()
        self._failed = False
        self.order: tuple[int, ...] = ()
        self.abort = threading.Event()
        self.is_idle = False

    def ask(self, command: object) -> None:
        """Put something in the queue."""
        if isinstance(command, TakeScan | Acquire):
            self.abort.clear()
        self._commands.put(command)

    def wake(self) -> None:
        """End what is being done, so that the thread sees that it should stop."""
        self.abort.set()
        self.ask(Wake())

    def pause(self, is_paused: bool) -> None:
        """Refine no further, or go on."""
        (self._paused.set if is_paused else self._paused.clear)()
        self.ask(Wake())

    def events(self, stop: threading.Event) -> Iterator[object]:
        """Do what is asked and refine in between, until ``stop``.

        Yields
        ------
        object
            What is told, in the order in which it happens; nothing is raised.
        """
        try:
            session = self._make()
        except Exception as error:
            yield NotStarted(sentence_of(error))
            return
        session.message.connect(self._collect)
        yield Started(session)
        yield from self._guarded(self._listed(session))
        while not stop.is_set():
            is_busy = session.pending and not self._paused.is_set() and not self._failed
            command = self._next(wait=not is_busy)
            if command is not None:
                self._failed = False
                yield from self._guarded(self._do(session, command))
            elif is_busy:
                yield from self._guarded(self._refine(session, stop))

    def _next(self, *, wait: bool) -> object | None:
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
            yield Told(sentence_of(error), "error")
        yield from self._collected()

    def _collect(self, sentence: str, kind: str) -> None:
        self._told.append(Told(sentence, kind))

    def _collected(self) -> Iterator[object]:
        while self._told:
            yield self._told.pop(0)

    # what is asked ------------------------------------------------------------------------
    def _do(self, session: Any, command: object) -> Iterator[object]:
        if isinstance(command, Add):
            yield from self._add(session, command)
        elif isinstance(command, Remove):
            session.remove(command.number)
            yield from self._listed(session)
        elif isinstance(command, Renormalise):
            session.renormalise()
            yield from self._listed(session)
        elif isinstance(command, MakePlan):
            yield Told(session.plan(target_error=command.target_error).sentence)
        elif isinstance(command, TakeScan | Acquire):
            yield from self._at_microscope(session, command)

    def _at_microscope(self, session: Any, command: TakeScan | Acquire) -> Iterator[object]:
        """Whatever happens, the last thing told is that the microscope is free."""
        ends: list[Ended] = []
        try:
            if isinstance(command, TakeScan):
                yield from self._take(session, command)
            else:
                yield from self._acquire(session, command, ends)
        except MicroscopeError as error:
            yield Told(f"{error} {standing(command.microscope)}", "error")
        except Exception as error:
            yield Told(sentence_of(error), "error")
        yield MicroscopeFree(ends[0] if ends else None)

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
            yield Asked(add, str(error), choices) if choices else Told(str(error), "error")
            return
        yield from self._listed(session)

    def _take(self, session: Any, command: TakeScan) -> Iterator[object]:
        scope = command.microscope
        if command.z_um is None:
            there = scope.z_um
        else:
            there = scope.move_to(command.z_um, self.abort.is_set)
        yield StageAt(there)
        if self.abort.is_set():
            yield Told(f"Stopped: the stage stays at {there:.4g} µm.")
            return
        yield from self._add(session, Add(scope.scan(), scope.pixel_um))

    def _acquire(self, session: Any, command: Acquire, ends: list[Ended]) -> Iterator[object]:
        run = acquire(
            session,
            command.microscope,
            epsilon=command.epsilon,
            max_scans=command.max_scans,
            afterwards=command.afterwards,
            order=lambda: self.order,
            abort=self.abort,
        )
        with closing(cast(Any, run)):
            for event in run:
                if isinstance(event, Moved):
                    yield StageAt(event.z_um)
                elif isinstance(event, PlaneRefined):
                    yield filled(event.update)
                elif isinstance(event, Scanned | Refined):
                    yield from self._listed(session)
                elif isinstance(event, Ended):
                    ends.append(event)

    # the volume ---------------------------------------------------------------------------
    def _refine(self, session: Any, stop: threading.Event) -> Iterator[object]:
        order = self.order

        def stopped() -> bool:
            return stop.is_set() or self._paused.is_set() or not self._commands.empty()

        with closing(session.refine(order=order, stopped=stopped)) as updates:
            for update in updates:
                yield filled(update)
                if self.order != order or stopped():
                    break
        if not session.pending:
            yield from self._listed(session)

    def _listed(self, session: Any) -> Iterator[object]:
        """The scan list, and what the scans say of the planes and of the next one."""
        scans = session.scans
        over_z = ErrorOverZ(
            session.grid.z_um,
            session.expected_error(),
            tuple(scan.z_um for scan in scans),
            session.suggest_z(),
        )
        volume, is_pending = session.volume, session.pending
        listed = Listed(self._lines(session, scans), over_z, is_pending)
        if scans:
            listed = replace(listed, contrast=percentile_limits(scans))
        if volume is not None and not is_pending:
            listed = replace(listed, values=(float(volume.min()), float(volume.max())))
        yield listed

    def _lines(self, session: Any, scans: Sequence[Scan]) -> tuple[ScanLine, ...]:
        entries: dict[tuple[float, str], Any] = {}
        for entry in session.history:
            if entry.event != "removed":
                entries |= dict.fromkeys(zip(entry.z_um, entry.names, strict=True), entry)
        first = session.history[0] if session.history else None
        return tuple(self._line(scan, entries.get((scan.z_um, scan.name)), first) for scan in scans)

    def _line(self, scan: Scan, entry: Any, first: Any) -> ScanLine:
        if scan not in self._thumbnails:
            self._thumbnails[scan] = thumbnail(scan)
        change = float("nan") if entry is None else entry.relative_change
        together = 1 if entry is None else len(entry.z_um)
        return ScanLine(
            scan.name,
            scan.z_um,
            self._thumbnails[scan],
            change,
            together,
            is_first=entry is not None and entry is first,
            is_pending=entry is None,
        )


def filled(update: Any) -> Filled:
    """What the window needs of a :class:`~.PlaneUpdate`."""
    return Filled(update.index, update.stage, update.final, update.done, update.total)


def choices_after(error: InputError) -> tuple[str, ...]:
    """What a person may answer when a session has refused a scan; nothing if it cannot be."""
    from ...engine.session import ON_DUPLICATE
    from ...engine.session._checks import DOUBTFUL, TAKEN

    return {TAKEN: tuple(ON_DUPLICATE), DOUBTFUL: (ACCEPT,)}.get(error.kind, ())


def thumbnail(scan: Scan) -> Bytes:
    """A scan in grey levels, small: shape (Y, X), at most :data:`THUMBNAIL` pixels on a side."""
    every = -(-max(scan.pixels.shape) // THUMBNAIL)
    small = scan.pixels[::every, ::every]
    low, high = np.percentile(small, _SHOWN_PERCENTILES)
    grey = np.clip((small - low) / max(high - low, 1e-12), 0, 1)
    return np.ascontiguousarray(np.rint(255 * grey), np.uint8)
