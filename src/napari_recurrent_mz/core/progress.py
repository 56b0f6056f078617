"""How work that takes long says how far it is, and how it is stopped in the middle.

Some work is a generator of its steps, which :func:`finished` runs to the end. For the other,
whoever starts the work listens; whoever does it calls :func:`tell` before each piece, and
:func:`check_stopped` where a piece takes long. What lies between the two does not need to know.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from inspect import Signature, getdoc, signature
from typing import NamedTuple, ParamSpec, TypeVar


class Stopped(Exception):  # noqa: N818
    """Somebody asked to stop, and the work ended in the middle."""


P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

Listener = Callable[[str, int, int], None]
"""Told what is being done, how many pieces of it are done, and of how many."""


def time_in_words(seconds: float) -> str:
    """A duration as a person says it: ``8 s``, ``3 min``, ``1.5 h``."""
    if seconds < 1:
        return "less than a second"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def expected_in_words(seconds: float, least: float | None = None) -> str:
    """How long something will take, by an estimate: ``about 8 s``, or ``5 to 40 s``."""
    if seconds < 1:
        return time_in_words(seconds)
    if least is None or seconds < 1.5 * least:
        return f"about {time_in_words(seconds)}"
    if least < 1:
        return f"up to {time_in_words(seconds)}"
    (low, unit), most = time_in_words(least).split(), time_in_words(seconds)
    return f"{low} to {most}" if most.endswith(unit) else f"{low} {unit} to {most}"


def nobody(*_: object) -> None:
    """Listen to nothing."""


def never() -> bool:
    """Never stop."""
    return False


def finished(steps: Generator[S, None, T], on_step: Callable[[S], object] | None = None) -> T:
    """Run a generator of steps to its end, and return what it returns; ``on_step`` gets each."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        if on_step is not None:
            on_step(step)


def at_once(steps: Callable[P, Generator[S, None, T]]) -> Callable[P, T]:
    """The function that runs a generator of steps to its end: ``align = at_once(aligning)``."""

    @wraps(steps)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return finished(steps(*args, **kwargs))

    without_steps = signature(steps).replace(return_annotation=Signature.empty)
    run.__dict__["__signature__"] = without_steps
    summary, _, rest = (getdoc(steps) or "").partition("\n")
    run.__doc__ = f"{summary}\n\nThis runs :func:`{steps.__name__}` to its end.\n{rest}"
    return run


class Step(NamedTuple):
    """How far work is: pieces done, of how many, and what is being done, for a person."""

    done: int
    total: int
    words: str = ""


Steps = Generator[Step, None, T]
"""Yields each :class:`Step` and returns the result; closing it cancels the work."""

_POLL_S = 0.1


def stepping(work: Callable[[], T], stopped: Callable[[], bool]) -> Steps[T]:
    """Do work in a thread of its own, and yield the steps that it tells, until ``stopped``."""
    steps: queue.SimpleQueue[Step] = queue.SimpleQueue()
    given_up = threading.Event()

    def listened() -> T:
        with listening(
            lambda words, done, total: steps.put(Step(done, total, words)),
            lambda: given_up.is_set() or stopped(),
        ):
            return work()

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(listened)
        try:
            while not (result.done() and steps.empty()):
                with suppress(queue.Empty):
                    yield steps.get(timeout=_POLL_S)
        finally:
            given_up.set()
        return result.result()


_listener: ContextVar[Listener] = ContextVar("listener", default=nobody)


@contextmanager
def listening(listener: Listener, stopped: Callable[[], bool] | None = None) -> Iterator[None]:
    """Call ``listener`` with every step taken inside, in this thread; see :func:`stoppable`."""
    before = _listener.set(listener)
    try:
        with stoppable(stopped or never):
            yield
    finally:
        _listener.reset(before)


_should_stop: ContextVar[Callable[[], bool]] = ContextVar("should_stop", default=never)


@contextmanager
def stoppable(stopped: Callable[[], bool]) -> Iterator[None]:
    """Ask ``stopped`` at every check inside, in this thread; True ends in :class:`Stopped`."""
    outer = _should_stop.get()
    before = _should_stop.set(lambda: stopped() or outer())
    try:
        yield
    finally:
        _should_stop.reset(before)


def check_stopped() -> None:
    """End in :class:`Stopped` if somebody asked to: several times a second in long work."""
    if _should_stop.get()():
        raise Stopped


def tell(words: str, done: int, total: int) -> None:
    """Say that ``done`` of ``total`` pieces of ``words`` are done and the next one begins."""
    check_stopped()
    _listener.get()(words, done, total)
