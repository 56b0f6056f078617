"""The Live dock: scans in from anywhere, the volume that a reconstruction gives, no surprise."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from matplotlib.figure import Figure
from napari.components import ViewerModel
from numpy.testing import assert_allclose
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QInputDialog
from scipy.ndimage import gaussian_filter

from demo_devices import SomebodyElse, demo_core
from files import write_ome
from napari_recurrent_mz import Optics, Scan, Session, ZGrid, reconstruct
from napari_recurrent_mz.acquisition import (
    Ended,
    PlaneRefined,
    simulated_microscope,
    simulated_sample,
    watch_folder,
)
from napari_recurrent_mz.docks.demo import windows as _live_demo
from napari_recurrent_mz.docks.live import sources as _live_sources
from napari_recurrent_mz.docks.live.dock import NO_VERDICT, LiveDock, run_over
from napari_recurrent_mz.docks.live.sources import FOLDER, MICRO_MANAGER, MICROSCOPE
from napari_recurrent_mz.docks.live.work import Add, LiveWork, Started
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY, um_scale_and_place
from napari_recurrent_mz.docks.shared.worker import Run
from napari_recurrent_mz.estimates.planning import RULES
from napari_recurrent_mz.io import read_image
from napari_recurrent_mz.measure.plots import PRINT
from napari_recurrent_mz.measure.plots.live import ErrorOverZ, Stopping, live_figure
from napari_recurrent_mz.measure.plots.side_views import Look, Panel, side_views_figure
from napari_recurrent_mz.measure.projections import side_views

OPTICS = Optics(na=1.2, wavelength_um=0.5, immersion_index=1.333, pixel_um=0.2)
GRID = ZGrid(0, 4, 1)
HEIGHTS = (0.0, 4.0, 2.0)
_PATIENCE_MS = 60_000


def camera(seed: int, shape: tuple[int, int] = (32, 40)) -> np.ndarray:
    """Counts of smooth bright spots over an offset of 100, with noise."""
    rng = np.random.default_rng(seed)
    spots = gaussian_filter(rng.normal(size=shape), 2)
    light = 100 + 400 * np.clip(spots / spots.std(), 0, None) + rng.normal(0, 3, shape)
    return light.astype(np.float32)


class Scope:
    """A microscope that shows other spots at every height."""

    name = "a camera and a stage"

    def __init__(self, **images: Any) -> None:
        self.limits_um, self.pixel_um, self.z_um = (0.0, 4.0), 0.2, 1.5
        self.visited: list[float] = []
        self.images = images
        self.is_open = threading.Event()
        self.is_open.set()

    def move_to(self, z_um: float, aborted: Callable[[], bool] | None = None) -> float:
        while not self.is_open.wait(0.005):
            if aborted is not None and aborted():
                return self.z_um
        self.visited.append(z_um)
        self.z_um = z_um
        return z_um

    @contextmanager
    def acquisition(self, output: Any = None) -> Iterator[Callable[[], bool]]:  # noqa: ARG002
        yield lambda: False

    def scan(self) -> Scan:
        return Scan(camera(round(100 * self.z_um)), self.z_um)


@pytest.fixture
def make(qtbot: Any, quick_survey: None) -> Iterator[Callable[..., LiveDock]]:
    """A dock on a viewer without a window, or on the one given, ready for linear MMSE."""
    docks: list[LiveDock] = []

    def make(viewer: Any = None, *, starts: bool = True) -> LiveDock:
        dock = LiveDock(ViewerModel() if viewer is None else viewer)
        docks.append(dock)
        qtbot.waitUntil(lambda: dock.setup.method.model is not None)
        dock.setup.optics.set_values(OPTICS.as_dict(), "given")
        dock.setup.grid.set_grid(GRID)
        dock.setup.method.set_method("lmmse")
        dock.scans.epsilon.setValue(5.0)
        if starts:
            with qtbot.waitSignal(dock.started, timeout=_PATIENCE_MS):
                dock.act()
        return dock

    yield make
    for dock in docks:
        if isalive(dock):
            dock.live.let_go()
            dock.folder.let_go()
            dock.deleteLater()
    qtbot.waitUntil(lambda: not Run._alive, timeout=30_000)
    assert QThreadPool.globalInstance().waitForDone(30_000)
    qtbot.wait(10)


def test_the_pages_come_by_themselves_and_the_dock_keeps_its_size(make: Any, qtbot: Any) -> None:
    dock = make(starts=False)
    expected = dock.pages.minimumSizeHint()
    dock.show()
    pages = (dock.setup, dock.scans)
    qtbot.waitUntil(lambda: all(page.window() is dock.window() for page in pages))
    assert dock.setup.isVisible()
    assert not dock.scans.isVisible()
    assert dock.pages.minimumSizeHint() == expected
    dock.pages.setCurrentWidget(dock.scans)
    assert dock.scans.isVisible()


def test_a_page_that_is_wanted_at_once_is_there(make: Any) -> None:
    dock = make(starts=False)
    dock.show()
    dock.pages.setCurrentWidget(dock.scans)
    assert dock.scans.isVisible()


def add_scan_layer(dock: LiveDock, z_um: float, seed: int | None = None, **about: Any) -> Any:
    """One plane at its height, selected alone."""
    pixels = about.pop("pixels", camera(round(100 * z_um) if seed is None else seed))
    place = um_scale_and_place(0.2, 0.2, z_um) | about
    layer = dock._viewer.add_image(pixels[np.newaxis], name=f"scan {z_um:g}", **place)
    dock._viewer.layers.selection = {layer}
    return layer


def take(dock: LiveDock, qtbot: Any, *heights: float) -> None:
    """Add scans by hand, each once the volume has the one before."""
    for z_um in heights:
        add_scan_layer(dock, z_um)
        with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
            dock.act()


def cell(dock: LiveDock, row: int, column: int) -> str:
    return dock.scans.list.item(row, column).text()


# --- scans by hand --------------------------------------------------------------------------


def test_scans_by_hand_give_the_volume_of_a_reconstruction(make: Any, qtbot: Any) -> None:
    dock = make()
    take(dock, qtbot, *HEIGHTS)
    layer = dock.volume.layer
    scans = [Scan(camera(round(100 * z)), z) for z in HEIGHTS]
    whole = reconstruct(scans, GRID, optics=OPTICS, method="lmmse")
    assert_allclose(layer.data, whole, atol=1e-5 * np.ptp(whole))
    assert_allclose(layer.scale, (1.0, 0.2, 0.2))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    assert [scan["z_um"] for scan in layer.metadata[METADATA_KEY]["scans"]] == list(HEIGHTS)
    session = dock.session
    assert layer.metadata[METADATA_KEY]["next_z_um"] == session.suggest_z()
    assert cell(dock, 0, 1) == "first"
    for row in (1, 2):
        assert cell(dock, row, 1) == f"{100 * session.history[row].relative_change:.3g} %"
    assert dock.scans.verdict.text() == session.verdict(0.05).sentence
    assert dock.listed.over_z.suggested_um == session.suggest_z()
    dock.go_there()
    assert dock._viewer.dims.point[0] == pytest.approx(session.suggest_z())


def test_what_waits_for_the_session_fills_in_what_it_knows(make: Any, qtbot: Any) -> None:
    dock = make(starts=False)
    dock.setup.optics.fields["pixel_um"].set_value(None)
    add_scan_layer(dock, 2.0)
    dock.add_selected()
    assert "start the session" in dock.footer.message.text()
    assert dock.setup.optics.fields["pixel_um"].value() == pytest.approx(0.2)
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        dock.act()
    assert [scan.z_um for scan in dock.session.scans] == [2.0]


def test_what_can_be_no_scan_does_not_wait_and_hides_nothing_that_can(make: Any) -> None:
    dock = make(starts=False)
    broken = camera(1)
    broken[3, 4] = np.nan
    layers = [add_scan_layer(dock, 1.0, pixels=broken)]
    layers += [dock._viewer.add_labels(np.ones((32, 40), int), name="cells")]
    layers += [add_scan_layer(dock, 2.0), add_scan_layer(dock, 3.0, pixels=np.ones((32, 40)))]
    dock._viewer.layers.selection = set(layers)
    dock.add_selected()
    assert [one.z_um for one in dock.waiting] == [2.0]
    words, kind = dock.footer.message.text(), dock.footer.message.kind
    assert words == (
        "'scan 1' has 1 pixel that is NaN or infinite: replace it first. "
        "(2 more could not be used either.) "
        "'scan 2' waits: start the session to take what waits as scans."
    )
    assert kind == "error"


def test_a_typed_height_and_one_that_is_asked_for(make: Any, qtbot: Any) -> None:
    dock = make()
    for typed in ("1.5", ""):
        dock._viewer.add_image(camera(len(typed)), name="plain")
        dock._viewer.layers.selection = {dock._viewer.layers[-1]}
        dock.setup.sources.rows.height_um.setText(typed)
        dock.add_selected()
        if not typed:
            qtbot.waitUntil(lambda: not dock.question.isHidden())
            dock.question.answer("height")  # nothing is typed yet
            assert not dock.question.isHidden()
            dock.question.height_um.set_value(3.5)
            dock.question.answer("height")
        else:
            assert dock.setup.sources.rows.height_um.text() == ""
    qtbot.waitUntil(lambda: len(dock.session.scans) == 2, timeout=_PATIENCE_MS)
    assert [scan.z_um for scan in dock.session.scans] == [1.5, 3.5]


def test_dropped_files_are_scans_and_bad_ones_a_sentence(
    make: Any, qtbot: Any, tmp_path: Path
) -> None:
    dock = make()
    paths = [tmp_path / name for name in ("cell_z2um.tif", "torn.tif", "whole.tif")]
    tifffile.imwrite(paths[0], camera(1))
    paths[1].write_bytes(b"II*\0")
    tifffile.imwrite(paths[2], np.stack([camera(1), camera(2)]))
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        dock.drop(paths)
    assert [scan.z_um for scan in dock.session.scans] == [2.0]
    assert "torn.tif" in dock.footer.message.text() or "whole.tif" in dock.footer.message.text()
    assert dock.footer.message.kind == "error"


MISTAKES = {
    "another shape": ({"pixels": camera(1, (32, 48))}, "32 × 48 pixels"),
    "another pixel size": ({"scale": (1, 0.3, 0.3)}, "0.3 µm"),
    "outside the grid": ({"translate": (40, 0, 0)}, "outside the grid"),
    "not a number": ({"pixels": np.where(camera(1) > 500, np.nan, camera(1))}, "NaN"),
    "a mask": ({"pixels": camera(1) > 500}, "values of type bool, as masks do"),
    "black": ({"pixels": np.zeros((32, 40), np.float32)}, "constant"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_the_session_intact(
    make: Any, qtbot: Any, mistake: str
) -> None:
    changes, words = MISTAKES[mistake]
    dock = make()
    take(dock, qtbot, 0.0)
    volume = dock.volume.layer.data.copy()
    add_scan_layer(dock, 3.0, **changes)
    dock.act()
    qtbot.waitUntil(lambda: dock.footer.message.kind == "error", timeout=_PATIENCE_MS)
    assert words in dock.footer.message.text()
    assert len(dock.session.scans) == 1
    assert_allclose(dock.volume.layer.data, volume)


def test_nothing_or_the_volume_itself_cannot_be_added(make: Any, qtbot: Any) -> None:
    dock = make()
    dock._viewer.layers.selection = set()
    dock.act()
    assert "No layer is selected" in dock.footer.message.text()
    take(dock, qtbot, 0.0)
    dock._viewer.layers.selection = {dock.volume.layer}
    dock.act()
    assert "is the volume of this session" in dock.footer.message.text()


@pytest.mark.parametrize(
    ("answer", "count", "share"), [("replace", 1, 1.0), ("average", 1, 0.5), ("keep", 2, 0.0)]
)
def test_a_second_scan_at_a_height_is_asked_about(
    make: Any, qtbot: Any, answer: str, count: int, share: float
) -> None:
    dock = make()
    take(dock, qtbot, 2.0)
    add_scan_layer(dock, 2.0, seed=5)
    dock.act()
    qtbot.waitUntil(lambda: not dock.question.isHidden(), timeout=_PATIENCE_MS)
    assert set(dock.question.buttons) == {"replace", "average", "keep", ""}
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        dock.question.buttons[answer].click()
    assert len(dock.session.scans) == count
    expected = share * camera(5) + (1 - share) * camera(200)
    assert_allclose(dock.session.scans[0].pixels, expected, rtol=1e-5)


def test_a_saturated_frame_is_asked_about_and_left_out(make: Any, qtbot: Any) -> None:
    dock = make()
    add_scan_layer(dock, 1.0, pixels=np.minimum(camera(3), 300))
    dock.act()
    qtbot.waitUntil(lambda: not dock.question.isHidden(), timeout=_PATIENCE_MS)
    assert "saturated" in dock.question.label.text()
    dock.question.answer("")
    assert dock.question.isHidden()
    assert dock.session.scans == ()


# --- the volume -----------------------------------------------------------------------------


def test_the_volume_is_saved_once_it_contains_all_scans(
    make: Any, qtbot: Any, tmp_path: Path
) -> None:
    dock = make()
    save = dock.scans.save
    assert not save.button.isEnabled()
    take(dock, qtbot, 1.0, 3.0)
    assert save.button.isEnabled()
    save.save_to(tmp_path / "live.ome.tif")
    qtbot.waitUntil(lambda: "Saved in" in dock.footer.message.text())
    image = read_image(tmp_path / "live.ome.tif")
    np.testing.assert_array_equal(image.data, dock.session.volume)
    np.testing.assert_allclose(image.z_um, GRID.z_um)
    assert [scan["z_um"] for scan in image.provenance["scans"]] == [1, 3]
    assert not {"state", "next_z_um"} & image.provenance.keys()
    take(dock, qtbot, 2.0)
    assert save.layers == [dock.volume.layer]
    dock._end_session()
    assert not save.button.isEnabled()


def test_undo_pause_and_start_again(make: Any, qtbot: Any) -> None:
    dock = make()
    take(dock, qtbot, 0.0, 4.0)
    before = dock.volume.layer.data.copy()
    take(dock, qtbot, 2.0)
    dock.undo()
    qtbot.waitUntil(lambda: dock.scans.list.rowCount() == 2, timeout=_PATIENCE_MS)
    assert_allclose(dock.volume.layer.data, before)
    dock.scans.pause.click()
    add_scan_layer(dock, 3.0)
    dock.act()
    qtbot.waitUntil(lambda: dock.scans.list.rowCount() == 3, timeout=_PATIENCE_MS)
    qtbot.wait(200)
    assert dock.session.pending
    assert dock.scans.verdict.text() == NO_VERDICT  # two of the three scans would be judged
    dock.scans.epsilon.setValue(90.0)
    assert (dock.scans.verdict.text(), dock.scans.verdict.kind) == (NO_VERDICT, "hint")
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        dock.scans.pause.click()
    assert not dock.session.pending
    assert dock.scans.verdict.text() == dock.session.verdict(0.9).sentence
    layer = dock.volume.layer
    dock.start_again()
    dock.question.answer("again")
    assert dock.session is None
    assert layer in dock._viewer.layers
    assert dock.footer.action.text() == "Start session"
    assert dock.footer.action.isEnabled()


def test_scans_that_come_quickly_are_listed_and_judged_together(make: Any, qtbot: Any) -> None:
    dock = make()
    take(dock, qtbot, *HEIGHTS)
    shown: list[tuple[int, str]] = []

    def note(_item: object) -> None:
        shown.append((dock.scans.list.rowCount(), dock.scans.verdict.text()))

    whole = [dock.scans.verdict.text()]
    dock.live.arrived.connect(note)
    for z_um in (1.0, 3.0):
        dock.live.work.add(Add(Scan(camera(round(100 * z_um)), z_um)))
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        pass
    qtbot.waitUntil(lambda: dock.scans.list.rowCount() == 5 and not dock.is_busy)
    session = dock.session
    for count in (4, 5):
        entries = [one for one in session.history if one.scans <= count]
        whole.append(session.verdict(dock.epsilon, entries).sentence)
    assert all(words in (NO_VERDICT, whole[rows - 3]) for rows, words in shown)
    assert (4, NO_VERDICT) in shown
    assert shown[-1] == (5, whole[2])
    assert dock.volume.layer.metadata[METADATA_KEY]["scans"] == [
        scan.as_dict() for scan in session.scans
    ]


def test_a_removed_layer_comes_anew_and_the_first_scan_can_be_taken_back(
    make: Any, qtbot: Any
) -> None:
    dock = make()
    take(dock, qtbot, 0.0)
    dock._viewer.layers.remove(dock.volume.layer)
    take(dock, qtbot, 4.0)
    assert dock.volume.layer in dock._viewer.layers
    for count in (1, 0):
        dock.undo()
        qtbot.waitUntil(lambda n=count: dock.scans.list.rowCount() == n, timeout=_PATIENCE_MS)
    qtbot.waitUntil(lambda: dock.volume.layer is None)
    assert all(not layer.name.startswith("Live") for layer in dock._viewer.layers)


def test_delete_takes_the_selected_scan_out(make: Any, qtbot: Any) -> None:
    dock = make()
    take(dock, qtbot, 0.0, 4.0)
    dock.scans.list.selectRow(0)
    qtbot.keyClick(dock.scans.list, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: [scan.z_um for scan in dock.session.scans] == [4.0])


def test_planes_in_view_come_first() -> None:
    work, stop = LiveWork(lambda: Session(GRID, optics=OPTICS, method="lmmse")), threading.Event()
    work.order = (3, 2, 4, 1, 0)
    filled = []
    for event in work.events(stop):
        if isinstance(event, Started):
            work.add(Add(Scan(camera(1), 0.5)))
        if isinstance(event, PlaneRefined):
            filled.append(event.update.index)
        if len(filled) == len(GRID):
            stop.set()
            work.wake()
    assert filled == [3, 2, 4, 1, 0]


def test_the_frame_marks_the_next_height_until_it_is_removed(make: Any, qtbot: Any) -> None:
    dock = make()
    take(dock, qtbot, 0.0)
    qtbot.waitUntil(lambda: dock.frame.layer is not None)
    frame = dock.frame.layer
    plane = frame.data[0][0, 0]
    z_um = frame.translate[0] + frame.scale[0] * plane
    assert z_um == pytest.approx(dock.listed.over_z.suggested_um)
    dock._viewer.layers.remove(frame)
    take(dock, qtbot, 4.0)
    assert dock.frame.layer is None
    for is_there in (False, True):
        dock.scans.frame.click()
        qtbot.waitUntil(lambda there=is_there: (dock.frame.layer is not None) == there)
    dock.scans.frame.click()
    qtbot.waitUntil(lambda: not dock.frame.layer.visible)
    dock.scans.frame.click()
    qtbot.waitUntil(lambda: dock.frame.layer.visible)


# --- a folder and the microscope ------------------------------------------------------------


@pytest.mark.parametrize("starts", [False, True])
def test_what_a_file_says_that_cannot_be_is_told(
    make: Any, qtbot: Any, tmp_path: Path, starts: bool
) -> None:
    path = _doubtful(tmp_path / "cell_z2um.ome.tif")
    dock = make(starts=starts)
    dock.drop([path])
    words = "its OME PhysicalSizeX is 4000 µm, which cannot be true"
    qtbot.waitUntil(lambda: words in dock.footer.message.text(), timeout=_PATIENCE_MS)
    assert "pixel size of 'cell_z2um.ome.tif' is uncertain" in dock.footer.message.text()
    assert dock.footer.message.kind == "warning"
    assert ("start the session" in dock.footer.message.text()) == (not starts)
    if starts:
        qtbot.waitUntil(lambda: len(dock.session.scans) == 1, timeout=_PATIENCE_MS)
        assert words in dock.footer.message.text()


def _doubtful(path: Path) -> Path:
    return write_ome(path, camera(1)[None], PhysicalSizeX=4000.0, PhysicalSizeY=4000.0)


def test_a_file_of_a_watched_folder_that_says_what_cannot_be_is_told(
    make: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        _live_sources, "watch_folder", partial(watch_folder, settle_s=0.05, interval_s=0.02)
    )
    dock = make()
    dock.setup.sources.form.source.value = FOLDER
    dock.setup.sources.form.folder.value = str(tmp_path)
    dock.setup.sources.form.pattern.value = "*_z{z}um.ome.tif"
    _doubtful(tmp_path / "a_z1p5um.ome.tif")
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        dock.act()
    assert "PhysicalSizeX is 4000 µm" in dock.footer.message.text()
    dock.act()


def test_a_watched_folder_gives_scans_and_may_vanish(
    make: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = partial(watch_folder, settle_s=0.05, interval_s=0.02)
    monkeypatch.setattr(_live_sources, "watch_folder", quick)
    folder = tmp_path / "scans"
    dock = make()
    dock.setup.sources.form.source.value = FOLDER
    form = dock.setup.sources.form
    dock.act()
    assert "No folder is given" in dock.footer.message.text()
    form.folder.value = str(folder)
    dock.act()
    qtbot.waitUntil(lambda: dock.footer.message.kind == "error", timeout=_PATIENCE_MS)
    assert "does not exist" in dock.footer.message.text()
    assert not dock.folder.is_watching
    folder.mkdir()
    form.pattern.value = "*_z{z}um.tif"
    dock.act()
    assert dock.footer.action.text() == "Stop watching"
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        tifffile.imwrite(folder / "a_z1p5um.tif", camera(1))
    assert [scan.z_um for scan in dock.session.scans] == [1.5]
    folder.rename(tmp_path / "gone")
    qtbot.waitUntil(lambda: "cannot be read" in dock.footer.message.text(), timeout=_PATIENCE_MS)
    dock.act()
    assert dock.footer.action.text() == "Watch the folder"


def at_microscope(dock: LiveDock) -> Scope:
    scope = Scope()
    dock.setup.sources.form.source.value = MICROSCOPE
    dock.scope.use(scope)
    return scope


def test_single_scans_here_and_at_the_suggested_height(make: Any, qtbot: Any) -> None:
    dock = make()
    scope = at_microscope(dock)
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        dock.setup.sources.rows.here.click()
    assert scope.visited == []
    suggested = dock.session.suggest_z()
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        dock.setup.sources.rows.there.click()
    assert scope.visited == [suggested]
    assert [scan.z_um for scan in dock.session.scans] == [1.5, suggested]
    dock.setup.sources.form.high.value = None
    dock.setup.sources.rows.here.click()
    assert "limits of z are missing" in dock.footer.message.text()


@pytest.mark.parametrize(
    ("percents", "most", "reason", "scans"), [(90.0, 9, "converged", 3), (0.1, 2, "maximum", 2)]
)
def test_an_automatic_run_stops_by_itself(
    make: Any, qtbot: Any, percents: float, most: int, reason: str, scans: int
) -> None:
    dock = make()
    at_microscope(dock)
    dock.scans.epsilon.setValue(percents)
    dock.setup.sources.form.most.value = most
    with qtbot.waitSignal(dock.run_ended, timeout=_PATIENCE_MS) as ended:
        dock.act()
        assert dock.footer.cancel.isEnabled()
        assert not dock.scans.undo.isEnabled()
    assert (ended.args[0].reason, ended.args[0].scans) == (reason, scans)
    assert dock.scans.list.rowCount() == scans
    assert "back at 1.5 µm" in dock.footer.message.text()
    assert dock.scans.undo.isEnabled()


def test_abort_ends_a_run_and_keeps_the_scans(make: Any, qtbot: Any) -> None:
    dock = make()
    scope = at_microscope(dock)
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        dock.setup.sources.rows.here.click()
    scope.is_open.clear()
    with qtbot.waitSignal(dock.run_ended, timeout=_PATIENCE_MS) as ended:
        dock.act()
        dock.footer.cancel.click()
        qtbot.wait(50)
        scope.is_open.set()
    assert ended.args[0].reason == "aborted"
    assert len(dock.session.scans) == 1


def connect_micromanager(dock: LiveDock, qtbot: Any, core: Any, monkeypatch: Any) -> None:
    """Press Connect where napari-micromanager has this core."""
    plugin = SimpleNamespace(get_core=lambda: core)
    monkeypatch.setitem(sys.modules, "napari_micromanager", plugin)
    dock.setup.sources.form.source.value = MICROSCOPE
    sources = dock.setup.sources
    sources.form.microscope.value = MICRO_MANAGER
    with qtbot.waitSignal(dock.scope.connected, timeout=_PATIENCE_MS):
        sources.form.low.value, sources.form.high.value = 0.0, 4.0
        sources.connect_button.click()


def test_connect_takes_the_core_of_napari_micromanager_and_not_the_simulator(
    make: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = make(starts=False)
    sample = simulated_sample("beads", depth_um=2.0, size=32, optics=OPTICS)
    dock.scope.use(simulated_microscope(sample), OPTICS)
    dock.setup.sources.form.low.value = 0.0
    core = demo_core()
    connect_micromanager(dock, qtbot, core, monkeypatch)
    assert dock.scope.microscope().core is core
    assert dock.setup.sources.state.text() == "Camera and Z."
    assert dock.scope.optics is None


def test_what_was_wrong_is_gone_once_the_microscope_is_connected(
    make: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = make(starts=False)
    core = demo_core()
    plugin = SimpleNamespace(get_core=lambda: core)
    monkeypatch.setitem(sys.modules, "napari_micromanager", plugin)
    dock.setup.sources.form.source.value = MICROSCOPE
    dock.connect_microscope(MICRO_MANAGER)
    said = dock.footer.message
    qtbot.waitUntil(lambda: "limits of z are missing" in said.text(), timeout=_PATIENCE_MS)
    connect_micromanager(dock, qtbot, core, monkeypatch)
    assert said.text() == ""


def test_why_a_run_has_ended_is_said_once() -> None:
    why = "The focus drive is another one: connect again."
    place = "Where the stage stands cannot be read."
    assert run_over(Ended("failed", why, f"{why} {place}", 2)) == f"{why} {place}"


def test_while_somebody_else_uses_the_microscope_the_dock_says_so_and_nothing_moves(
    make: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = demo_core(OPTICS.pixel_um)
    core.setPosition(1.0)
    dock = make()
    connect_micromanager(dock, qtbot, core, monkeypatch)
    rows = dock.setup.sources.rows
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        rows.here.click()
    other = SomebodyElse(core)
    for act in (rows.here.click, rows.there.click, dock.act):
        with qtbot.waitSignal(dock.run_ended, timeout=_PATIENCE_MS):
            act()
        said = dock.footer.message.text()
        assert "an acquisition of Micro-Manager runs; let it end" in said
        assert "The stage stands at 1 µm." in said
        assert dock.footer.message.kind == "error"
        assert core.getPosition() == 1.0
    assert len(dock.session.scans) == 1
    other.end()
    suggested = dock.session.suggest_z()
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        rows.there.click()
    assert [scan.z_um for scan in dock.session.scans] == pytest.approx([1.0, suggested])


def test_the_frames_of_acquisitions_of_others_become_scans_where_that_is_asked_for(
    make: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from useq import MDAEvent

    core = demo_core(OPTICS.pixel_um)
    monkeypatch.setattr(_live_sources, "running_core", lambda: core)
    dock = make()
    form = dock.setup.sources.form
    form.source.value = MICROSCOPE
    core.run_mda([MDAEvent(z_pos=0.5)], block=True)
    form.others.value = True
    qtbot.waitUntil(lambda: dock.scope._others is not None)
    with qtbot.waitSignal(dock.refined, timeout=_PATIENCE_MS):
        core.run_mda([MDAEvent(z_pos=z_um) for z_um in (1.0, 3.0)], block=True)
    qtbot.waitUntil(lambda: len(dock.session.scans) == 2)
    assert [scan.z_um for scan in dock.session.scans] == [1.0, 3.0]
    form.others.value = False
    core.run_mda([MDAEvent(z_pos=2.0)], block=True)
    qtbot.wait(50)
    assert len(dock.session.scans) == 2


# --- settings, plots, window ----------------------------------------------------------------


def test_what_is_set_is_remembered(make: Any, qtbot: Any) -> None:
    dock = make(starts=False)
    dock.setup.next_scan.rule.value = "largest-gap"
    dock.setup.sources.form.source.value = MICROSCOPE
    dock.setup.sources.form.low.value = -2.5
    dock.pages.remember()
    again = LiveDock(ViewerModel())
    qtbot.addWidget(again)
    assert again.setup.grid.grid() == GRID
    assert again.setup.method.method_key() == "lmmse"
    assert again.setup.next_scan.rule.value == "largest-gap"
    assert again.epsilon == 0.05
    assert again.setup.sources.source == MICROSCOPE
    assert again.setup.sources.form.low.value == -2.5


def test_the_rules_are_those_of_the_planning(make: Any) -> None:
    rule = make(starts=False).setup.next_scan.rule
    assert set(rule.choices) == set(RULES)


def test_what_is_missing_is_said_before_the_start(make: Any) -> None:
    dock = make(starts=False)
    dock.setup.grid.step.set_value(None)
    dock.check()
    assert not dock.footer.action.isEnabled()
    assert "step of the target grid is missing" in dock.footer.state.text()
    for name, text in (("na", "big"), ("wavelength_um", "green")):
        dock.setup.optics.fields[name].setText(text)
    dock.check()
    dock.setup.optics.fields["pixel_um"].setText("")
    dock.check()
    for words in ("'big' is not", "'green' is not", "pixel size is missing", "step of the target"):
        assert words in dock.footer.state.text()


def test_the_figure_shows_changes_in_percent_against_epsilon() -> None:
    nan = float("nan")
    stopping = Stopping([1, 2, 3], [nan, 0.4, 0.05], epsilon=0.08, next_change=0.03)
    z_um = np.linspace(0, 4, 5)
    over_z = ErrorOverZ(z_um, np.array([0.2, 0.1, 0.3, 0.1, 0.2]), (1.0, 3.0), 2.0)
    figure = Figure()
    live_figure(stopping, over_z)(figure, PRINT)
    change, error = figure.get_axes()
    assert change.get_yscale() == "log"
    lines = {line.get_label(): line for line in change.get_lines()}
    assert_allclose(lines["change"].get_ydata()[1:], [40, 5])
    assert_allclose(lines["expected next"].get_ydata(), [3])
    assert_allclose(lines["ε = 8 %"].get_ydata(), [8, 8])
    marks = {line.get_label(): line for line in error.get_lines()}
    assert_allclose(marks["expected"].get_ydata(), [20, 10, 30, 10, 20])
    assert_allclose(marks["next: 2 µm"].get_xdata(), [2, 2])


def test_the_demo_runs_in_a_window_to_its_picture(
    make_napari_viewer: Any, quick_survey: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The whole of it: a dock that fits 800 pixels, a run that ends, side views, a picture."""
    import napari

    pytest.importorskip("pymmcore_plus")
    from napari_recurrent_mz.acquisition import simulated_sample

    viewers: list[Any] = []

    def window(**options: Any) -> Any:
        viewers.append(make_napari_viewer(**options))
        return viewers[-1]

    monkeypatch.setattr(napari, "Viewer", window)
    monkeypatch.setattr(_live_demo, "SETTLE_MS", 300)
    sample = simulated_sample(depth_um=4.0, size=32, optics=OPTICS)
    picture = tmp_path / "live.png"
    ended = _live_demo.run_live_demo(
        GRID, max_scans=2, screenshot=picture, method="lmmse", sample=sample
    )
    assert (ended.reason, ended.scans) == ("maximum", 2)
    from skimage.io import imread

    pixels = imread(picture)[..., :3].astype(float)
    assert pixels.shape[:2] == (800, 1280)
    assert np.ptp(pixels) > 200


def test_side_views_mark_the_suggested_height() -> None:
    views = side_views(np.stack([camera(seed) for seed in range(5)]), (1.0, 0.2, 0.2))
    look = Look(views=("xz",), scans_um=(1.0, 3.0), next_um=2.0, has_scale_bar=False)
    figure = Figure()
    side_views_figure([Panel("volume", views)], look)(figure, PRINT)
    lines = figure.get_axes()[0].get_lines()
    whole = [line for line in lines if line.get_linestyle() == "-"]
    assert [list(line.get_ydata()) for line in whole] == [[2.0, 2.0]]


def test_a_plan_is_told_before_the_first_scan(
    make: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = make()
    monkeypatch.setattr(QInputDialog, "getDouble", lambda *_: (60.0, True))
    dock.scans.plan.click()
    planned = Session(GRID, optics=OPTICS, method="lmmse").plan(target_error=0.6)
    qtbot.waitUntil(lambda: dock.footer.message.text() == planned.sentence, timeout=_PATIENCE_MS)
