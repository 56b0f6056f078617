"""What several tests measure."""

from __future__ import annotations

import numpy as np
import pytest


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
