"""Point spread functions from a process of their own are those of this one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psfmodels
import pytest

from napari_recurrent_mz import psf_process
from napari_recurrent_mz.optics import Optics, widefield_psf

OPTICS = Optics(na=1.2, wavelength_um=0.5, immersion_index=1.333, pixel_um=0.1)
HEIGHTS = np.linspace(-1, 1, 6)


@pytest.fixture
def allowed() -> Iterator[None]:
    psf_process.allow()
    yield
    psf_process.allow(False)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many planes each call of psfmodels in this process has made."""
    made: list[int] = []
    real = psfmodels.vectorial_psf

    def noted(zv: Any, **options: Any) -> Any:
        made.append(len(zv))
        return real(zv, **options)

    monkeypatch.setattr(psfmodels, "vectorial_psf", noted)
    monkeypatch.setattr(psf_process, "_WORTH_IT", 1e4)
    return made


def in_thread() -> np.ndarray:
    found: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: found.append(widefield_psf(OPTICS, HEIGHTS, 45)))
    thread.start()
    thread.join(60)
    return found[0]


def test_it_is_the_same_bit_for_bit(allowed: None, here: list[int]) -> None:
    expected = widefield_psf(OPTICS, HEIGHTS, 45)  # the window's thread never waits for a process
    assert sum(here) == len(HEIGHTS)
    here.clear()
    np.testing.assert_array_equal(in_thread(), expected)
    assert here == []


def test_nobody_has_asked(here: list[int]) -> None:
    in_thread()
    assert sum(here) == len(HEIGHTS)


def test_where_no_process_can_be_started_it_is_made_here(
    allowed: None, here: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psf_process.sys, "executable", "/nowhere/python3")
    assert in_thread().shape == (6, 45, 45)
    assert sum(here) == len(HEIGHTS)
