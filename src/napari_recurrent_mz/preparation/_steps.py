"""Long work as a generator: it says how far it is, and can be left between two steps."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Step(NamedTuple):
    """How far the work is, and what is being done, for a person."""

    done: int
    total: int
    words: str


Steps = Generator[Step, None, T]
"""Yields each :class:`Step` and returns the result; closing it cancels the work."""


def finished(steps: Steps[T], on_step: Callable[[Step], object] | None = None) -> T:
    """Run a generator of steps to its end.

    Parameters
    ----------
    steps : generator
        For instance :func:`~napari_recurrent_mz.preparation.aligning`.
    on_step : callable, optional
        Gets every :class:`Step`.

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
