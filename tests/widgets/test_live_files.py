"""The Live dock's session on disk: autosaved, saved, opened, and offered after a crash."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget
from scipy.ndimage import gaussian_filter

from napari_recurrent_mz import Optics, Scan, Session, ZGrid
from napari_recurrent_mz.docks.files.reader import is_session_path
from napari_recurrent_mz.docks.live.dock import LiveDock
from napari_recurrent_mz.docks.live.files import LiveFiles, sessions_folder
from napari_recurrent_mz.docks.live.pages import QuestionBox
from napari_recurrent_mz.docks.live.work import Add, Listed, LiveRun, NotStarted
from napari_recurrent_mz.docks.shared.layers import um_scale_and_place
from napari_recurrent_mz.docks.shared.pace import Turns
from napari_recurrent_mz.docks.shared.parts import Palette
from napari_recurrent_mz.engine.session import Autosave, load, save, unsaved_sessions
from napari_recurrent_mz.io import VolumeWriter

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)


def make() -> Session:
    return Session(ZGrid(0, 4, 2), optics=OPTICS, method="lmmse")


def scan(z_um: float) -> Scan:
    spots = gaussian_filter(np.random.default_rng(round(100 * z_um)).normal(size=(32, 40)), 2)
    return Scan(100 + 400 * np.clip(spots / spots.std(), 0, None), z_um, f"z{z_um:g}")


class Window(QWidget):
    """What of the Live dock has to do with files."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.question = QuestionBox(Palette("dark"))
        self.live = LiveRun(Turns(None))
        self.files = LiveFiles(self, self.question, folder=folder)
        self.said: list[tuple[str, str]] = []
        self.told: list[object] = []
        self.files.said.connect(lambda *what: self.said.append(what))
        self.files.opened.connect(self.live.start)
        self.live.arrived.connect(self.told.append)
        column = QVBoxLayout(self)
        column.addWidget(self.question)

    @property
    def listed(self) -> int:
        """How many scans the last list has, -1 before there is one with a finished volume."""
        lists = [told for told in self.told if isinstance(told, Listed)]
        return len(lists[-1].lines) if lists and not lists[-1].is_pending else -1

    def end(self) -> None:
        self.live.let_go()
        self.files.close()


@pytest.fixture
def window(qtbot: Any, tmp_path: Path) -> Iterator[Callable[[], Window]]:
    made: list[Window] = []

    def open_one() -> Window:
        made.append(Window(tmp_path / "sessions"))
        qtbot.addWidget(made[-1])
        return made[-1]

    yield open_one
    for one in made:
        one.end()
    assert QThreadPool.globalInstance().waitForDone(5000)


@pytest.fixture
def crashed(tmp_path: Path) -> list[Path]:
    """Two sessions, of one and of two scans, whose process is gone."""
    found = []
    for count in (1, 2):
        session = make()
        found.append(Autosave(session, tmp_path / "sessions").path)
        for z_um in range(count):
            session.add_scan(scan(2.0 * z_um), refine=False)
        owner = found[-1] / "open.json"
        values = json.loads(owner.read_text()) | {"pid": max(psutil.pids()) + 1000}
        owner.write_text(json.dumps(values))
        index = found[-1] / "session.json"
        began = f"2026-11-0{count}T12:31:00+00:00"
        index.write_text(json.dumps(json.loads(index.read_text()) | {"began": began}))
    return found


def started(qtbot: Any, one: Window, scans: int = 2) -> Session:
    """A session of so many scans, refined."""
    one.live.start(one.files.autosaving(make))
    qtbot.waitUntil(lambda: one.listed == 0, timeout=20_000)
    for number in range(scans):
        one.live.work.add(Add(scan(2.0 * number)))
    qtbot.waitUntil(lambda: one.listed == scans, timeout=20_000)
    return one.live.session


def test_every_scan_is_on_disk_and_is_let_go_with_its_session(
    qtbot: Any, window: Callable[[], Window]
) -> None:
    one = window()
    session = started(qtbot, one)
    (folder,) = one.files.folder.iterdir()
    again = load(folder)
    for found, expected in zip(again.scans, session.scans, strict=True):
        np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert not one.files.is_saved
    one.live.let_go()
    one.files.let_go()
    assert not folder.exists()
    assert one.files.is_saved  # there is nothing any more


def test_what_was_not_saved_is_offered_at_the_next_start(
    qtbot: Any, window: Callable[[], Window]
) -> None:
    first = window()
    session = started(qtbot, first)
    first.end()  # the window is closed
    (left,) = unsaved_sessions(first.files.folder)
    second = window()
    second.show()  # it is offered by itself
    qtbot.waitUntil(lambda: not second.question.isHidden(), timeout=10_000)
    assert second.question.label.text().endswith("with 2 scans was not saved: open it?")
    second.question.buttons["open"].click()
    qtbot.waitUntil(lambda: second.listed == 2, timeout=20_000)
    found = second.live.session
    for one, other in zip(found.scans, session.scans, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_allclose(found.volume, session.volume, rtol=1e-6)
    assert found.as_dict() == session.as_dict()
    assert second.said[-1][0].startswith("The session is back, with 2 scans: save it")
    assert not left.path.exists()  # its scans are in the autosave of the new one
    assert not second.files.is_saved
    assert unsaved_sessions(first.files.folder) == []


def test_sessions_of_a_crash_are_offered_one_after_another(
    qtbot: Any, window: Callable[[], Window], crashed: list[Path]
) -> None:
    one = window()
    one.files.offer()
    qtbot.waitUntil(lambda: not one.question.isHidden(), timeout=10_000)
    assert "with 2 scans was not saved" in one.question.label.text()
    one.question.answer("discard")
    assert not crashed[1].exists()
    assert "with 1 scan was not saved" in one.question.label.text()
    one.question.answer("")
    assert one.question.isHidden()
    assert crashed[0].exists()
    one.files.offer()
    qtbot.waitUntil(lambda: not one.question.isHidden(), timeout=10_000)
    started(qtbot, one, scans=0)
    one.question.answer("open")  # not over the session that runs
    assert one.said[-1][0].startswith("A session runs: save it or start again")
    assert crashed[0].exists()


def test_a_session_is_saved_and_opened(
    qtbot: Any, window: Callable[[], Window], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, path = window(), tmp_path / "beads.rmz.zip"
    chosen = [(str(path.with_suffix("").with_suffix("")), "Session in one file (*.rmz.zip)")]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: chosen[0])
    one.files.ask_where_to_save()
    assert one.said == [("There is nothing to save yet: add a scan first.", "hint")]
    session = started(qtbot, one)
    one.files.ask_where_to_save()
    qtbot.waitUntil(lambda: one.said[-1][1] == "done", timeout=10_000)
    assert one.said[-1] == ("Saved: 2 scans are in 'beads.rmz.zip'.", "done")
    assert one.files.is_saved
    assert load(path).as_dict() == session.as_dict()
    one.files.ask_what_to_open()
    assert one.said[-1][0].startswith("A session runs")
    one.end()
    assert unsaved_sessions(one.files.folder) == []  # it was saved

    two = window()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    two.files.ask_what_to_open()
    qtbot.waitUntil(lambda: two.live.session is not None, timeout=20_000)
    assert not two.live.session.pending
    np.testing.assert_array_equal(two.live.session.volume, session.volume)
    assert two.files.is_saved
    two.live.work.add(Add(scan(4.0)))
    qtbot.waitUntil(lambda: two.listed == 3, timeout=20_000)
    assert not two.files.is_saved


def test_saving_says_how_far_it_is_and_can_be_cancelled(
    qtbot: Any, window: Callable[[], Window], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, path = window(), tmp_path / "beads.rmz"
    one.show()
    started(qtbot, one)
    gate, put = threading.Event(), VolumeWriter.__setitem__

    def slowly(self: VolumeWriter, index: int, plane: Any) -> None:
        if index == 1:
            assert gate.wait(20)
        put(self, index, plane)

    monkeypatch.setattr(VolumeWriter, "__setitem__", slowly)
    row, half = one.files.saving, 2 + len(one.live.session.grid) + 1
    one.files.save_to(path)
    assert not row.isHidden()
    qtbot.waitUntil(lambda: row.bar.value() == half, timeout=10_000)
    assert row.bar.maximum() == 2 + 2 * len(one.live.session.grid)
    assert row.bar.format() == "Saving 'beads.rmz': %p%"
    one.files.save_to(tmp_path / "other.rmz")
    assert one.said[-1][0] == "A session is being saved: wait for it, or cancel it."
    row.cancel.click()
    gate.set()
    qtbot.waitUntil(row.isHidden, timeout=10_000)
    assert one.said[-1] == ("Not saved: 'beads.rmz' is as it was.", "hint")
    assert not path.exists()
    assert not one.files.is_saved
    one.files.save_to(path)
    qtbot.waitUntil(lambda: one.said[-1][1] == "done", timeout=10_000)
    assert one.files.is_saved
    assert row.isHidden()


def test_what_cannot_be_saved_or_opened_says_why(
    qtbot: Any, window: Callable[[], Window], tmp_path: Path
) -> None:
    one = window()
    started(qtbot, one, scans=1)
    one.files.save_to(tmp_path / "nowhere" / "beads.rmz")
    qtbot.waitUntil(lambda: bool(one.said) and one.said[-1][1] == "error", timeout=10_000)
    assert "for the session does not exist: make it." in one.said[-1][0]
    assert not one.files.is_saved
    one.end()
    (tmp_path / "torn.rmz.zip").write_bytes(b"PK")
    one.files.open_from(tmp_path / "torn.rmz.zip")
    qtbot.waitUntil(lambda: isinstance(one.told[-1], NotStarted), timeout=10_000)
    assert "'torn.rmz.zip' is no session, or is cut short" in one.told[-1].sentence


def test_damage_is_told_and_makes_it_unsaved(
    qtbot: Any, window: Callable[[], Window], tmp_path: Path
) -> None:
    session = make()
    for z_um in (0.0, 2.0, 4.0):
        session.add_scan(scan(z_um))
    folder = save(session, tmp_path / "beads.rmz")
    (lost,) = folder.glob("scans/z2um-*")
    lost.unlink()
    one = window()
    one.files.open_from(folder / "session.json")
    qtbot.waitUntil(lambda: one.listed == 2, timeout=20_000)
    sentence, kind = one.said[-1]
    assert f"'{lost.name}' is missing: the scan 'z2' at z = 2 µm is lost" in sentence
    assert kind == "warning"
    assert not one.files.is_saved


def test_a_disk_that_refuses_is_told_in_the_window(
    qtbot: Any, window: Callable[[], Window]
) -> None:
    one = window()
    one.files.folder.write_text("no folder")
    session = started(qtbot, one)
    assert len(session.scans) == 2
    ((sentence, kind),) = one.said
    assert sentence.startswith("The session is not autosaved (the folder is missing: ")
    assert kind == "warning"


def test_where_sessions_are_and_what_they_are_called() -> None:
    assert sessions_folder().parts[-2:] == ("napari-recurrent-mz", "sessions")
    assert os.access(sessions_folder().anchor, os.R_OK)
    names = ("a.rmz", "a.rmz.zip", "session.json", "a.tif", "a.zip")
    assert [is_session_path(Path(name)) for name in names] == [True, True, True, False, False]


def spots(dock: LiveDock, z_um: float) -> None:
    """One plane at its height, selected, then taken as a scan."""
    place = um_scale_and_place(0.13, 0.13, z_um)
    layer = dock._viewer.add_image(scan(z_um).pixels[np.newaxis], name=f"z{z_um:g}", **place)
    dock._viewer.layers.selection = {layer}
    dock.add_selected()


def in_window(viewer: Any) -> LiveDock:
    dock = LiveDock(viewer)
    viewer.window.add_dock_widget(dock, name="Live", area="right")
    return dock


def set_up(qtbot: Any, dock: LiveDock) -> None:
    """Optics, grid and method of a session."""
    qtbot.waitUntil(lambda: dock.setup.method.model is not None)
    dock.setup.optics.set_values(OPTICS.as_dict(), "given")
    dock.setup.grid.set_grid(ZGrid(0, 4, 2))
    dock.setup.method.set_method("lmmse")


def session_by_hand(qtbot: Any, dock: LiveDock) -> Session:
    """Scans at 0 and 3 µm, from layers."""
    set_up(qtbot, dock)
    with qtbot.waitSignal(dock.started, timeout=20_000):
        dock.act()
    for z_um in (0.0, 3.0):
        with qtbot.waitSignal(dock.refined, timeout=20_000):
            spots(dock, z_um)
    return dock.session


def test_a_window_that_went_comes_back_with_its_session(
    qtbot: Any, quick_survey: None, make_napari_viewer: Any
) -> None:
    first = in_window(make_napari_viewer(show=True))
    session = session_by_hand(qtbot, first)
    first.live.let_go()
    first.files.close()  # what a closed window does
    second = in_window(make_napari_viewer(show=True))
    qtbot.waitUntil(lambda: not second.question.isHidden(), timeout=10_000)
    with qtbot.waitSignal(second.refined, timeout=20_000):
        second.question.buttons["open"].click()
    assert [(one.z_um, one.name) for one in second.session.scans] == [(0.0, "z0"), (3.0, "z3")]
    np.testing.assert_allclose(second.volume.layer.data, session.volume, rtol=1e-6)
    assert second.scans.list.rowCount() == 2
    assert second.setup.optics.optics() == OPTICS
    assert second.setup.grid.grid() == ZGrid(0, 4, 2)
    assert second.session.history[-1].relative_change == session.history[-1].relative_change
    second.undo()
    qtbot.waitUntil(lambda: len(second.session.scans) == 1, timeout=10_000)
    second.live.let_go()
    second.files.close()
    (left,) = unsaved_sessions(second.files.folder)
    assert left.scans == 1


@pytest.mark.parametrize("name", ["one.rmz", "one.rmz.zip"])
def test_a_saved_session_lies_where_its_scans_lay(
    qtbot: Any, quick_survey: None, manager: Any, tmp_path: Path, name: str
) -> None:
    dock, place_um = LiveDock(ViewerModel()), (7.5, -2.0)
    qtbot.addWidget(dock)
    layers = [
        dock._viewer.add_image(
            scan(z_um).pixels[np.newaxis], **um_scale_and_place(0.13, 0.13, z_um, place_um)
        )
        for z_um in (0.0, 3.0)
    ]
    dock._viewer.layers.selection = set(layers)
    dock.add_selected()
    set_up(qtbot, dock)
    with qtbot.waitSignal(dock.refined, timeout=20_000):
        dock.act()
    qtbot.waitUntil(lambda: dock.volume.layer is not None, timeout=20_000)
    np.testing.assert_allclose(dock.volume.layer.translate, (0.0, *place_um))
    qtbot.waitUntil(lambda: len(dock.session.scans) == 2 and dock.session.as_dict()["complete"])
    path = save(dock.session, tmp_path / name)
    dock.live.let_go()
    dock.files.let_go()
    viewer = ViewerModel()
    opened = viewer.open(str(path), plugin="napari-recurrent-mz")
    assert [tuple(layer.translate[-2:]) for layer in opened] == [place_um] * 3
    again = LiveDock(ViewerModel())
    qtbot.addWidget(again)
    qtbot.waitUntil(lambda: again.setup.method.model is not None)
    with qtbot.waitSignal(again.refined, timeout=20_000):
        again.drop([path])
    np.testing.assert_allclose(again.volume.layer.translate, (0.0, *place_um))
    again.live.let_go()
    again.files.let_go()


def test_a_session_that_is_dropped_is_opened(
    qtbot: Any, quick_survey: None, tmp_path: Path
) -> None:
    session = make()
    for z_um in (0.0, 4.0):
        session.add_scan(scan(z_um))
    path = save(session, tmp_path / "beads.rmz.zip")
    dock = LiveDock(ViewerModel())
    qtbot.addWidget(dock)
    qtbot.waitUntil(lambda: dock.setup.method.model is not None)
    with qtbot.waitSignal(dock.refined, timeout=20_000):
        dock.drop([path])
    np.testing.assert_array_equal(dock.volume.layer.data, session.volume)
    assert dock.footer.message.text() == "Opened 'beads.rmz.zip' with 2 scans."
    dock.live.let_go()
    dock.files.let_go()
