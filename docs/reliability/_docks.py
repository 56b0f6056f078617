"""Windows in which docks are at work, and what they leave behind."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEvent, QSettings, QThreadPool
from qtpy.QtWidgets import QApplication

from napari_recurrent_mz import ZGrid
from napari_recurrent_mz.docks.compare.dock import CompareDock
from napari_recurrent_mz.docks.files import samples
from napari_recurrent_mz.docks.fwhm.dock import FwhmDock
from napari_recurrent_mz.docks.live import files as live_files
from napari_recurrent_mz.docks.live.dock import LiveDock
from napari_recurrent_mz.docks.live.work import Add
from napari_recurrent_mz.docks.prepare.dock import PrepareDock
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared import guard
from napari_recurrent_mz.docks.shared.layers import um_scale_and_place
from napari_recurrent_mz.docks.shared.worker import Run
from napari_recurrent_mz.docks.side_views.dock import SideViewsDock
from napari_recurrent_mz.docks.surface.dock import SurfaceDock
from napari_recurrent_mz.docks.train.dock import TrainDock

given: Callable[[np.ndarray], Any] = np.copy
"""What becomes of the pixels of every layer."""

GRID = ZGrid(0.0, 10.0, 0.25)
SCANS_UM = (2.0, 5.0, 8.0)
PATIENCE_S = 120.0


def let_work(until: Callable[[], bool], patience_s: float | None = None) -> bool:
    """Let the window work until something is true; whether it came true in time."""
    began, patience_s = time.monotonic(), PATIENCE_S if patience_s is None else patience_s
    while not until():
        if time.monotonic() - began > patience_s:
            return False
        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        time.sleep(0.002)
    return True


def let_pass(seconds: float) -> None:
    """Let the window work for a while."""
    end = time.monotonic() + seconds
    let_work(lambda: time.monotonic() >= end)


def is_idle() -> bool:
    """Whether nothing works in a thread."""
    return not Run._alive and QThreadPool.globalInstance().activeThreadCount() == 0


def threads() -> set[str]:
    """Python's threads, without those that Qt's pool keeps for half a minute."""
    return {t.name for t in threading.enumerate() if not isinstance(t, threading._DummyThread)}


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for settings, sessions and temporary files: what is left in it is ours."""
    with tempfile.TemporaryDirectory(prefix="recurrent-mz-reliability-") as name:
        folder = Path(name)
        (folder / "temporary").mkdir()
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder))
        live_files.sessions_folder = lambda: folder / "sessions"
        before, tempfile.tempdir = tempfile.tempdir, str(folder / "temporary")
        try:
            yield folder
        finally:
            tempfile.tempdir = before


class Tracebacks:
    """Counts exceptions that nobody caught, in any thread, and those that docks did not foresee."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._handler = logging.Handler()
        self._handler.emit = lambda record: self.seen.append(record.getMessage())

    def __enter__(self) -> Tracebacks:
        self._before = sys.excepthook, threading.excepthook, sys.unraisablehook
        sys.excepthook = lambda _type, error, _trace: self._note(error)
        threading.excepthook = lambda hooked: self._note(hooked.exc_value)
        sys.unraisablehook = lambda hooked: self._note(hooked.exc_value)
        logging.getLogger(guard.__name__).addHandler(self._handler)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(guard.__name__).removeHandler(self._handler)
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._before

    def _note(self, error: BaseException | None) -> None:
        self.seen.append(repr(error))
        print(repr(error), file=sys.stderr)


def open_viewer() -> Any:
    """A napari window, at rest."""
    os.environ.setdefault("NAPARI_ASYNC", "0")
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    let_pass(0.2)
    return viewer


def _image(plane: int, side: int) -> np.ndarray:
    """A plane of the demo's sample, repeated to fill the side."""
    pixels = samples.demo().widefield[plane]
    times = -(-side // min(pixels.shape))
    return np.tile(pixels, (times, times))[:side, :side]


class NoLayerError(Exception):
    """napari makes no layer of such pixels."""


def _layer(viewer: Any, pixels: np.ndarray, **about: Any) -> Any:
    try:
        return viewer.add_image(given(pixels), **about)
    except Exception as error:
        raise NoLayerError from error


def scans(viewer: Any, side: int) -> list[Any]:
    """Three scans of the demo's sample, of this many pixels on a side."""
    sample, added = samples.demo(), []
    for z_um in SCANS_UM:
        pixels = _image(int(np.abs(sample.z_um - z_um).argmin()), side)
        place = um_scale_and_place(sample.optics.pixel_um, sample.optics.pixel_um, z_um)
        added.append(_layer(viewer, pixels[np.newaxis], name=f"z={z_um:g}µm", **place))
    return added


def stack(viewer: Any, name: str = "worm", gain: float = 1.0) -> Any:
    """The demo's whole stack."""
    ((pixels, about, _),) = samples.full_stack()
    return _layer(viewer, pixels * gain, **(about | {"name": name}))


def _docked(viewer: Any, dock: Any) -> Any:
    dock.remembers = False
    viewer.window.add_dock_widget(dock, name=type(dock).__name__, area="right")
    return dock


def reconstruct(viewer: Any, method: str = "recurrent-mz", side: int = 256) -> Any:
    """The Reconstruct dock, about to begin."""
    layers = scans(viewer, side)
    dock = _docked(viewer, ReconstructDock(viewer))
    dock.add_layers(layers)
    dock.set_optics(samples.demo().optics)
    dock.set_grid(GRID)
    dock.ui.method.set_device("cpu")
    dock.ui.method.set_method(method)
    let_work(lambda: dock.ui.method.is_ready and dock.ui.method.model is not None)
    let_work(is_idle)
    return dock


def surface(viewer: Any, method: str = "recurrent-mz", side: int = 256) -> Any:
    """The Surface dock, about to begin."""
    layers = scans(viewer, side)
    dock = _docked(viewer, SurfaceDock(viewer))
    dock.add_layers(layers)
    dock.set_optics(samples.demo().optics)
    dock.method.set_method(method)
    let_work(lambda: dock.method.model is not None)
    dock.surface.form.kind.value = "points"
    dock.pick_points()
    dock.surface.layer().add(np.array(((2.6, 3.0, 4.0), (7.4, 6.0, 20.0), (4.0, 20.0, 10.0))))
    let_work(dock.footer.action.isEnabled)
    return dock


def fwhm(viewer: Any) -> Any:
    """The FWHM dock, about to begin."""
    volume = stack(viewer)
    dock = _docked(viewer, FwhmDock(viewer))
    dock.setup.form.volume.value = volume
    dock.check()
    return dock


def compare(viewer: Any) -> Any:
    """The Compare dock, about to begin, with what it makes itself."""
    reference = stack(viewer)
    stack(viewer, "volume", gain=1.01)
    dock = _docked(viewer, CompareDock(viewer))
    let_pass(0.2)
    dock.options.scans.value = "0.2 0.8 1.4"
    dock.choose_baselines(["nearest", "linear", "cubic", "lmmse"])
    dock.check()
    assert reference in viewer.layers
    return dock


def prepare(viewer: Any) -> Any:
    """The Prepare dock, about to align a stack."""
    layer = stack(viewer)
    dock = _docked(viewer, PrepareDock(viewer))
    dock.stack.choose(layer)
    dock.check()
    return dock


def train(viewer: Any) -> Any:
    """The Train dock, about to adapt the network to a stack."""
    layer = stack(viewer)
    dock = _docked(viewer, TrainDock(viewer))
    let_work(lambda: dock.method.model is not None)
    dock.stacks.first.value = layer
    dock.optics.set_values(samples.demo().optics.as_dict(), "from the sample")
    dock.result.minutes.value = 5
    dock.result.path.value = str(Path(tempfile.mkdtemp()) / "mine.safetensors")
    dock.check()
    return dock


def side_views(viewer: Any) -> Any:
    """The Side views dock, which begins by itself."""
    stack(viewer)
    return _docked(viewer, SideViewsDock(viewer))


class LiveSession:
    """The Live dock: a session begins, and scans come."""

    def __init__(self, viewer: Any, method: str = "recurrent-mz", side: int = 256) -> None:
        from napari_recurrent_mz import Scan

        sample = samples.demo()
        self.dock = dock = _docked(viewer, LiveDock(viewer))
        dock.setup.optics.set_values(sample.optics.as_dict(), "from the sample")
        dock.setup.grid.set_grid(GRID)
        dock.setup.method.set_method(method)
        let_work(lambda: dock.setup.method.is_ready and dock.setup.method.model is not None)
        near = [int(np.abs(sample.z_um - z).argmin()) for z in SCANS_UM]
        self._scans = [Scan(_image(p, side), z) for p, z in zip(near, SCANS_UM, strict=True)]

    def act(self) -> None:
        """Begin, and take the scans."""
        self.dock.started.connect(self._add)
        self.dock.start_session()

    def _add(self) -> None:
        for scan in self._scans:
            self.dock.live.work.add(Add(scan, accept_doubtful=True))


DOCKS: dict[str, Callable[[Any], Any]] = {
    "Reconstruct": reconstruct,
    "Live": LiveSession,
    "Surface": surface,
    "FWHM": fwhm,
    "Compare": compare,
    "Train": train,
    "Prepare": prepare,
    "Side views": side_views,
}


def sentences(seen: Sequence[str]) -> str:
    """What was seen, for a cell of a table."""
    return "; ".join(sorted(set(seen)))[:200].replace("|", "/")
