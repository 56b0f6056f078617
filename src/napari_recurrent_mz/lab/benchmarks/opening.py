"""How long a person waits before anything runs: the import, the dock, the weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from ..shared import Goal
from .base import Bench, Row, Times
from .child import ChildError, script_result

_LIMITS = {"import": 0.1, "dock": 1.0, "weights": 0.5}

_START = "import json, os, time\n"
_END = """
print("result: " + json.dumps(time.perf_counter() - begun), flush=True)
os._exit(0)  # what the dock has begun in the background is none of this measurement
"""

_IMPORT = "begun = time.perf_counter()\nimport napari_recurrent_mz"

_WEIGHTS = """
import sys
from napari_recurrent_mz import weights
name = sys.argv[1] or None
begun = time.perf_counter()
weights.load_model(name)"""

_IN_WINDOW = """
import napari
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer(show_welcome_screen=False)
QApplication.processEvents()
begun = time.perf_counter()
viewer.window.add_plugin_dock_widget("napari-recurrent-mz", "Reconstruct")
QApplication.processEvents()"""

_WITHOUT_WINDOW = """
from napari.components import ViewerModel
from npe2 import PluginManager
from qtpy.QtWidgets import QApplication
application = QApplication([])
viewer = ViewerModel()
PluginManager.instance().discover()
begun = time.perf_counter()
command = "napari-recurrent-mz.reconstruct"
dock = PluginManager.instance().commands.get(command)(viewer)
QApplication.processEvents()"""


def measure(bench: Bench) -> Iterator[Row]:
    """Each in fresh processes, which start Python, PyTorch or napari before the clock does."""
    window = _has_display()
    where = "in a window" if window else "without a window"
    dock = {} if window else {"QT_QPA_PLATFORM": "offscreen"}
    name = bench.model_name or ""
    yield _row(bench, "import", "import napari_recurrent_mz", _IMPORT)
    yield _row(
        bench,
        "dock",
        f"open the Reconstruct dock ({where})",
        _IN_WINDOW if window else _WITHOUT_WINDOW,
        environment=dock,
    )
    yield _row(bench, "weights", "load the bundled weights", _WEIGHTS, name)


def _row(
    bench: Bench,
    key: str,
    what: str,
    script: str,
    *arguments: str,
    environment: dict[str, str] | None = None,
) -> Row:
    goal = Goal(_LIMITS[key], "s", at_least=False)
    command = [sys.executable, "-c", _START + script + _END, *arguments]
    try:
        script_result(command, environment=environment)  # the disk has it from then on
        results = [
            float(script_result(command, environment=environment))
            for _ in range(bench.sizes.repeats)
        ]
    except ChildError as error:
        return Row("opening", what, goal=goal, absent=str(error))
    return Row("opening", what, **Times(tuple(results)).spread, goal=goal)


def _has_display() -> bool:
    if os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal"):
        return False
    return sys.platform in ("win32", "darwin") or "DISPLAY" in os.environ
