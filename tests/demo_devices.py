"""Micro-Manager's own core with its demonstration devices, and somebody else who uses it."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Any

import pytest

PIXEL_UM = 0.13
_PATIENCE_S = 30.0


def demo_core(pixel_um: float = PIXEL_UM) -> Any:
    """A core with Micro-Manager's demonstration configuration: camera, stage, autofocus.

    The camera shows waves that follow the stage and have no noise: an image tells its height.
    """
    adapters = pytest.importorskip(
        "mm_test_adapters", reason="mm-test-adapters is missing: pip install -e '.[all,dev]'"
    )
    pymmcore_plus = pytest.importorskip("pymmcore_plus")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYMM_SIGNALS_BACKEND", "psygnal")  # frames are told without a loop of Qt's
        core = pymmcore_plus.CMMCorePlus(mm_path=adapters.device_adapter_path())
    core.loadSystemConfiguration()
    for name, value in (("CCDXSize", 48), ("CCDYSize", 40)):
        core.setProperty("Camera", f"OnCamera{name}", value)
    core.setProperty("Camera", "PixelType", "16bit")
    core.setExposure(1.0)
    core.setPixelSizeUm(core.getCurrentPixelSizeConfig(), pixel_um)
    return core


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "the other thread has not come so far"
        time.sleep(0.002)


class SomebodyElse:
    """An acquisition of pymmcore-plus, in a thread of its own, that waits for its next frame."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self._frames: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = core.run_mda(iter(self._frames.get, None))
        wait_until(lambda: core.mda.status.phase == "waiting")

    def end(self) -> None:
        """Let it end, also when it is paused."""
        self._frames.put(None)
        self._core.mda.set_paused(False)
        self._thread.join(_PATIENCE_S)
        assert self._core.mda.status.phase == "idle"
