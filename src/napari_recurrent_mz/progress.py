"""How work that takes long says how far it is, and how it is stopped in the middle.

Whoever starts the work listens; whoever does it calls :func:`tell` before each piece. What
lies between the two does not need to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Told what is being done, how many pieces of it are done, and of how many."""


def _nobody(_words: str, _done: int, _total: int) -> None:
    return None


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
