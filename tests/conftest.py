"""What several tests measure, and a process that each test finds as the first one did."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def own_log_level() -> Iterator[None]:
    """Libraries that set the level of all notes, as pymmcore-plus does, do so for one test."""
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)


@pytest.fixture(scope="session", autouse=True)
def heard_ctrl_c() -> Iterator[None]:
    """Ctrl-C is heard even where a shell that runs the tests in the background has it ignored."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def stack() -> np.ndarray:
    """A blurred blob over a noisy background, brightest in the middle plane."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:40, :36]
    made = []
    for i in range(9):
        width = 20 + 12 * (i - 4) ** 2
        blob = 2e5 / width * np.exp(-((y - 20) ** 2 + (x - 15) ** 2) / (2 * width))
        made.append(rng.poisson(100 + blob))
    return np.array(made, dtype=np.uint16)
