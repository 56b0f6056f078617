"""A viewer is closed while something is on its way; a dock beside its window outlives it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.qt.threading import WorkerBase
from qtpy.QtCore import QThreadPool

from napari_recurrent_mz.core.progress import Stopped
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared import dock as _dock
from napari_recurrent_mz.docks.shared.dock import Dock
from napari_recurrent_mz.docks.shared.insides import is_open
from napari_recurrent_mz.docks.shared.pace import Turns
from napari_recurrent_mz.docks.shared.worker import Run
from napari_recurrent_mz.io import write_volume

OPTICS = {"na": 0.8, "wavelength_um": 0.5, "immersion_index": 1.0, "pixel_um": 0.2}


@pytest.fixture
def dock(
    make_napari_viewer: Any,
    make_dock: Callable[..., ReconstructDock],
    add_stack: Callable[..., Any],
) -> ReconstructDock:
    """A dock with scans, beside the window of its viewer."""
    viewer = make_napari_viewer(show=True)
    made = make_dock(viewer)
    made.ui.optics.set_values(OPTICS, "from the sample")
    made.add_layers([add_stack(viewer)])
    return made


def settled(qtbot: Any) -> None:
    """All that was on its way has arrived; an exception on the way fails the test."""
    assert QThreadPool.globalInstance().waitForDone(20_000)
    qtbot.wait(100)


@pytest.mark.parametrize("when", ["computing", "coming", "there"])
def test_a_preview_does_not_reach_a_viewer_that_is_closed(
    dock: ReconstructDock, qtbot: Any, when: str
) -> None:
    viewer = dock._viewer
    dock.preview()
    if when != "computing":
        qtbot.waitUntil(lambda: dock._turns.is_on)
    if when == "there":
        qtbot.waitUntil(lambda: len(viewer.layers) == 2)
    viewer.close()
    settled(qtbot)
    qtbot.waitUntil(lambda: dock.run is None or dock.run.is_cancelled)
    assert len(viewer.layers) == 0


def test_files_do_not_reach_a_viewer_that_is_closed(
    dock: ReconstructDock,
    qtbot: Any,
    tmp_path: Path,
    stack: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on, open_files = threading.Event(), _dock.open_files

    def slow(*paths: Any) -> Any:
        assert go_on.wait(20)
        return open_files(*paths)

    monkeypatch.setattr(_dock, "open_files", slow)
    path = write_volume(tmp_path / "s.ome.tif", stack, 0.5 * np.arange(9), 0.2)
    dock.drop([path])
    dock._viewer.close()
    go_on.set()
    settled(qtbot)
    assert len(dock._viewer.layers) == 0


def test_the_result_of_a_job_does_not_reach_a_viewer_that_is_closed(
    make_napari_viewer: Any, docks: list[Any], qtbot: Any
) -> None:
    viewer = make_napari_viewer(show=True)
    dock = Dock(viewer, "Count", "Counts")
    docks.append(dock)
    go_on = threading.Event()

    def work(*, stop: threading.Event) -> Iterator[object]:  # one that does not look up in time
        assert go_on.wait(20)
        yield from ()
        return np.ones((4, 6, 6))

    dock.start(work, then=viewer.add_image)
    viewer.close()
    go_on.set()
    settled(qtbot)
    assert dock.run is None
    assert len(viewer.layers) == 0


def test_no_step_is_taken_for_a_viewer_that_is_closed(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer, taken = make_napari_viewer(show=True), []
    turns = Turns(viewer)
    assert is_open(viewer)
    turns.add(lambda: taken.append(1), viewer.close, lambda: taken.append(2))
    qtbot.waitUntil(lambda: not turns.is_on)
    assert not is_open(viewer)
    turns.add(lambda: taken.append(3))
    turns.finish()
    turns.after(lambda: taken.append(4))
    assert taken == [1]
    assert is_open(ViewerModel())  # which has no window to close


def test_a_job_that_napari_ends_with_its_window_keeps_what_is_finished(
    make_napari_viewer: Any,
) -> None:
    """As Cancel would; no event reaches the window any more by then."""
    has_begun, is_kept = threading.Event(), threading.Event()

    def work(*, stop: threading.Event) -> Iterator[object]:
        try:
            while True:
                yield has_begun.set()
        except Stopped:
            is_kept.set()

    viewer = make_napari_viewer(show=True)
    Run(work, title="Counting beads").start()
    assert has_begun.wait(20)
    assert "Counting beads" in viewer.window._task_status_manager.get_status()[-1]  # it is asked
    viewer.close()
    WorkerBase.await_workers(20_000)
    assert is_kept.is_set()


PROGRAM = """
import sys, threading, time
from pathlib import Path
from qtpy.QtCore import QCoreApplication
from napari_recurrent_mz.core.progress import Stopped
from napari_recurrent_mz.docks.shared.worker import Run

application, has_begun = QCoreApplication([]), threading.Event()

def work(*, stop):
    try:
        while True:
            yield has_begun.set()
            stop.wait(0.05)
    except Stopped:
        time.sleep(0.5)  # a stage goes back
        Path(sys.argv[1]).touch()

run = Run(work, waits=True)
run.start()
assert has_begun.wait(20)
"""


def test_the_program_waits_until_what_uses_a_microscope_has_come_to_its_end(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "back")], check=True, timeout=60)
    assert (tmp_path / "back").exists()
