"""What is said on the terminal: how far the work is, notes, and what was made."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, TextIO, TypeVar

from ..core.scans import ZGrid, counted

T = TypeVar("T")


class Progress:
    """A counter with the time left, on standard error when that is a terminal."""

    shown: ClassVar[Progress | None] = None  # the one whose line stands in the terminal

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._shown = self._stream is not None and self._stream.isatty()
        self._begun = time.monotonic()
        self._width = 0

    def __call__(self, done: int, total: int, seconds_left: float | None = None) -> None:
        """Show that ``done`` of ``total`` are done; the time left is estimated if not given."""
        if seconds_left is None:
            seconds_left = (time.monotonic() - self._begun) / done * (total - done)
        self.line(f"{self._what} {done}/{total}, {clock(seconds_left)} left")

    def over(self, items: Iterable[T], total: int) -> Iterator[T]:
        """Go through items, of which there are so many, and show how many are done."""
        for done, item in enumerate(items, start=1):
            yield item
            self(done, max(total, done))

    def stage(self, words: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` pieces of ``words`` are done."""
        self.line(f"{self._what}: {words} {done}/{total}")

    def line(self, text: str) -> None:
        """Show a line in place of the last one, no longer than the terminal is wide."""
        if self._shown:
            text = text[: shutil.get_terminal_size().columns - 1]
            self._stream.write("\r" + text.ljust(self._width))
            self._stream.flush()
            self._width, Progress.shown = len(text), self

    def clear(self) -> None:
        """Leave a clean line for what follows."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()


def clock(seconds: float) -> str:
    """``seconds`` as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def result_line(
    output: object, shape: Sequence[int], grid: ZGrid, method: str, scans: int, seconds: float
) -> str:
    """One line that says what was written where."""
    z, y, x = shape
    return (
        f"{output}: {counted(z, 'plane')} of {y} × {x} pixels, z {grid.z_um[0]:g} to "
        f"{grid.z_um[-1]:g} µm, by {method} from {scans} scans in {seconds:.1f} s"
    )


def columns(rows: Sequence[Sequence[str]]) -> str:
    """A table: each column as wide as its widest text, two spaces between them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def note(*texts: str, channel: str = "") -> None:
    """Say what is worth knowing on standard error, perhaps of one of several channels."""
    of = f"{channel}: " if channel else ""
    if texts and Progress.shown is not None:
        Progress.shown.clear()
    for text in texts:
        print(f"note: {of}{text}", file=sys.stderr, flush=True)
