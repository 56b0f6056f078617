"""Long work as a generator: it says how far it is, and can be left between two steps."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Step(NamedTuple):
    """How far the work is, and what is being done, for a person."""

    done: int
    total: int
    words: str


Steps = Generator[Step, None, T]
"""Yields each :class:`Step` and returns the result; closing it cancels the work."""
