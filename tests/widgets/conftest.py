"""A viewer for each test, closed afterwards, and settings that are nobody's own."""

# ruff: noqa: E402

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Before napari reads its settings: tests neither read nor write the user's.
_HOME = tempfile.mkdtemp(prefix="recurrent-mz-tests-")
os.environ["NAPARI_CONFIG"] = str(Path(_HOME) / "napari.yaml")

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManager
from qtpy.compat import isalive
from qtpy.QtCore import QSettings, QThreadPool

from napari_recurrent_mz.core.device import limit_gpu_memory
from napari_recurrent_mz.docks.live import files as _live_files
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.reconstruct.layout import ErrorPlot
from napari_recurrent_mz.docks.shared import guard as _guard
from napari_recurrent_mz.docks.shared import method_panel as _method_panel
from napari_recurrent_mz.docks.shared.dock import stop_run
from napari_recurrent_mz.docks.shared.method_panel import gpu_memory
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Remembered values and autosaved sessions go to the test's own folder."""
    monkeypatch.setattr(_live_files, "sessions_folder", lambda: tmp_path / "sessions")
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path))
    gpu_memory.cache_clear()
    yield tmp_path
    gpu_memory.cache_clear()
    limit_gpu_memory(None)


@pytest.fixture(autouse=True)
def unforeseen() -> Iterator[list[str]]:
    """What docks turn into a sentence because nobody foresaw it: a fault all the same.

    A test that is about it clears the list.
    """
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(_guard.__name__)
    logger.addHandler(handler)
    yield told
    logger.removeHandler(handler)
    assert not told


@pytest.fixture
def manager() -> PluginManager:
    """napari's plugins, this one among them, without a window that finds them."""
    found = PluginManager.instance()
    if "napari-recurrent-mz" not in found:
        found.discover()
    return found


@pytest.fixture
def quick_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices and a model without looking at this computer or reading weights."""
    offer(monkeypatch, ("auto", "Auto, CPU: test"), ("cpu", "CPU: test"))
    network = SimpleNamespace(config=NetworkConfig(base_channels=4))
    model = SimpleNamespace(name="tiny", sha256="0" * 64, card={}, network=network)
    monkeypatch.setattr(ErrorPlot, "follow", lambda *_: None)
    monkeypatch.setattr(_method_panel, "model_named", lambda _name: model)
    monkeypatch.setattr(_method_panel, "_PAINTED_MS", 0)


@pytest.fixture
def with_gpu(quick_survey: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer that also has a GPU."""
    gpu = "GPU: NVIDIA Test"
    offer(monkeypatch, ("auto", f"Auto, {gpu}"), ("cuda", gpu), ("cpu", "CPU: test"))


def offer(monkeypatch: pytest.MonkeyPatch, *devices: tuple[str, str]) -> None:
    """Let docks find these devices, each as choice and name."""
    found = _method_panel.Survey(devices, (("tiny", "for tests"),))
    monkeypatch.setattr(_method_panel, "survey", lambda: found)


@pytest.fixture
def docks(qtbot: Any) -> Iterator[list[Any]]:
    """Takes the docks that a test makes; they are stopped and deleted at its end."""
    made: list[Any] = []
    yield made
    for dock in made:
        if isalive(dock):
            stop_run(dock.__dict__)
            dock.deleteLater()
    assert QThreadPool.globalInstance().waitForDone(20_000)
    qtbot.wait(10)


@pytest.fixture
def make(request: pytest.FixtureRequest, docks: list[Any]) -> Callable[..., Any]:
    """The ``DOCK`` of the tests' module, on the viewer given or on one without a window."""

    def make(viewer: Any = None) -> Any:
        docks.append(request.module.DOCK(ViewerModel() if viewer is None else viewer))
        return docks[-1]

    return make


@pytest.fixture
def make_dock(qtbot: Any, quick_survey: None, docks: list[Any]) -> Callable[..., ReconstructDock]:
    """A dock on a viewer without a window, its method set, its survey done."""

    def make(viewer: Any = None, method: str = "linear") -> ReconstructDock:
        dock = ReconstructDock(ViewerModel() if viewer is None else viewer)
        docks.append(dock)
        qtbot.waitUntil(lambda: dock.ui.method.model is not None)
        dock.ui.method.set_method(method)
        return dock

    return make


@pytest.fixture
def stack() -> np.ndarray:
    """Nine planes of 24 × 32 pixels, each its own noise around its number."""
    rng = np.random.default_rng(7)
    return (rng.normal(100, 5, (9, 24, 32)) + np.arange(9)[:, None, None] * 10).astype(np.float32)


@pytest.fixture
def add_stack(stack: np.ndarray) -> Callable[..., Any]:
    """Adds the stack to a viewer, 0.5 µm between planes from 2 µm upwards, 0.2 µm pixels."""

    def add(viewer: Any, **changes: Any) -> Any:
        about = {
            "name": "stack",
            "scale": (0.5, 0.2, 0.2),
            "translate": (2.0, 1.0, 3.0),
            "units": ("um", "um", "um"),
            "axis_labels": ("z", "y", "x"),
        }
        return viewer.add_image(stack.copy(), **(about | changes))

    return add


@pytest.fixture
def run_to_end(qtbot: Any) -> Callable[..., Any]:
    """Press a button of the dock and wait for the outcome."""

    def run(dock: ReconstructDock, button: str = "reconstruct") -> Any:
        pressed = dock.footer.action if button == "reconstruct" else getattr(dock.ui, button)
        with qtbot.waitSignal(dock.ended, timeout=20_000) as blocker:
            pressed.click()
        return blocker.args[0]

    return run
