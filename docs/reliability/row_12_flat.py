"""Row 12: scans in and out, and reconstructions, again and again: memory, threads, files."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import psutil

from napari_recurrent_mz import Optics, Scan, Session, ZGrid, reconstruct

WHAT = "200 scans in and out of a session, 50 reconstructions, 40 of them with new optics"
GOAL = "threads and file descriptors as before; at most 20 MB more in the second half"
OPTICS = Optics(na=1.2, wavelength_um=0.519, immersion_index=1.33, pixel_um=0.13)
GRID = ZGrid(0.0, 4.0, 1.0)
SIDE = 256
MOST_BYTES = 20e6
METHODS = ("recurrent-mz", "lmmse", "richardson-lucy", "auto", "linear")


def scan(number: int) -> Scan:
    """Noise, at a height that is new each time."""
    pixels = np.random.default_rng(number).normal(1000, 100, (SIDE, SIDE))
    return Scan(pixels, 4 * (number * 0.6180339887498949 % 1), f"scan {number}")


def scans_in_and_out(count: int) -> Iterator[int]:
    """Add scans one by one; take the first away once there are three."""
    session = Session(GRID, optics=OPTICS, method="recurrent-mz", device="cpu")
    for number in range(count):
        session.add_scan(scan(number), accept_doubtful=True, refine=number % 10 == 9)
        if len(session.scans) > 3:
            session.remove(0)
        yield number


def reconstructions(count: int) -> Iterator[int]:
    """Reconstruct, four times of five with optics that nobody has seen."""
    for number in range(count):
        optics = OPTICS
        if number % 5:
            optics = replace(OPTICS, na=1.2 - 0.003 * number, wavelength_um=0.5 + 0.001 * number)
        scans = [scan(n) for n in (1, 2, 3)]
        method = METHODS[(number + number // 5) % len(METHODS)]  # each with old and new optics
        reconstruct(scans, GRID, optics=optics, method=method, on_message=print_nothing)
        yield number


def print_nothing(_sentence: str) -> None:
    """Say nothing of what is to be minded."""


def measure(quick: bool) -> tuple[str, bool]:
    """Compare what this process has in the middle with what it has at the end."""
    share = 5 if quick else 1
    figures, holds = [], True
    for words, work, count in (
        ("scans", scans_in_and_out, 200 // share),
        ("reconstructions", reconstructions, 50 // share),
    ):
        sizes, threads, files = grown(work, count)
        figures.append(
            f"{count} {words}: {sizes / 1e6:+.0f} MB, {threads:+d} threads, {files:+d} files"
        )
        holds &= sizes <= MOST_BYTES and threads <= 0 and files <= 0
    return "; ".join(figures), holds


def grown(work: Callable[[int], Iterator[int]], count: int) -> tuple[float, int, int]:
    """What the second half of some work has added."""
    process, middle = psutil.Process(), (0.0, 0, 0)
    for number in work(count):
        if number == count // 2 - 1:
            middle = now(process)
    end = now(process)
    return end[0] - middle[0], end[1] - middle[1], end[2] - middle[2]


def now(process: psutil.Process) -> tuple[float, int, int]:
    """Bytes in memory, threads, and open files of a process."""
    gc.collect()
    return float(process.memory_info().rss), process.num_threads(), process.num_fds()
