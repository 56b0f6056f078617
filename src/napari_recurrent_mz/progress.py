"""How work that takes long says how far it is, and how it is stopped in the middle.

Some work is a generator of its steps, which :func:`finished` runs to the end. For the other,
whoever starts the work listens; whoever does it calls :func:`tell` before each piece. What lies
between the two does not need to know.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")

Listener = Callable[[str, int, int], None]
"""Told what is being done, how many pieces of it are done, and of how many."""


def _nobody(_words: str, _done: int, _total: int) -> None:
    return None


def finished(steps: Generator[S, None, T], on_step: Callable[[S], object] | None = None) -> T:
    """Run a generator of steps to its end.

    Parameters
    ----------
    steps : generator
        For instance :func:`~napari_recurrent_mz.preparation.aligning`.
    on_step : callable, optional
        Gets everything that the generator yields: how far the work is.

    Returns
    -------
    object
        What the generator returns.
    """
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        if on_step is not None:
            on_step(step)


_listener: ContextVar[Listener] = ContextVar("listener", default=_nobody)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have ``listener`` told of every step taken inside, in this thread.

    Parameters
    ----------
    listener : callable
        Whatever it raises ends the work.
    """
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def tell(words: str, done: int, total: int) -> None:
    """Say that ``done`` of ``total`` pieces of ``words`` are done and the next one begins."""
    _listener.get()(words, done, total)
