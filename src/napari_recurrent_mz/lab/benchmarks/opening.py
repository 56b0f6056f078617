"""How long a person waits before anything runs: the import, the dock, the weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from ..shared import Goal
from .base import Bench, ChildError, Row, Times, script_result

_START = "import json, os, time\n"
_END = """
print("result: " + json.dumps(time.perf_counter() - begun), flush=True)
os._exit(0)  # what the dock has begun in the background is none of this measurement
"""

_IMPORT = "begun = time.perf_counter()\nimport napari_recurrent_mz"

_WEIGHTS = """
import sys
from napari_recurrent_mz.networks import weights
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
    dock, where = (_IN_WINDOW, "in a window") if window else (_WITHOUT_WINDOW, "without a window")
    without = {} if window else {"QT_QPA_PLATFORM": "offscreen"}
    for what, script, limit, environment in (
        ("import napari_recurrent_mz", _IMPORT, 0.1, {}),
        (f"open the Reconstruct dock ({where})", dock, 1.0, without),
        ("load the bundled weights", _WEIGHTS, 0.5, {}),
    ):
        row = Row("opening", what, goal=Goal(limit, "s", at_least=False))
        command = [sys.executable, "-c", _START + script + _END, bench.model_name or ""]
        run = partial(script_result, command, environment=environment)
        try:
            run()  # the disk has it from then on
            times = Times(tuple(float(run()) for _ in range(bench.sizes.repeats)))
        except ChildError as error:
            yield replace(row, absent=str(error))
        else:
            yield replace(row, **times.spread)


def _has_display() -> bool:
    if os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal"):
        return False
    return sys.platform in ("win32", "darwin") or "DISPLAY" in os.environ
