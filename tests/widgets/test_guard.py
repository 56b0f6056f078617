"""No exception leaves a dock: whatever a slot raises is one sentence, and the state is true."""

from __future__ import annotations

import ast
import gc
import re
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.events import EventEmitter
from qtpy.QtCore import QObject, QPoint, QPointF, Qt, Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFileDialog,
    QPushButton,
)

from napari_recurrent_mz import docks as widgets
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.docks.compare.dock import CompareDock
from napari_recurrent_mz.docks.fwhm.dock import FwhmDock
from napari_recurrent_mz.docks.live.dock import LiveDock
from napari_recurrent_mz.docks.prepare.dock import PrepareDock
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared import layers as _layers
from napari_recurrent_mz.docks.shared.dock import Dock
from napari_recurrent_mz.docks.shared.guard import guarded, on
from napari_recurrent_mz.docks.shared.scan_table import HEIGHT
from napari_recurrent_mz.docks.side_views.dock import SideViewsDock
from napari_recurrent_mz.docks.surface.dock import SurfaceDock
from napari_recurrent_mz.docks.train.dock import TrainDock

FOLDER = Path(widgets.__file__).parent


class Sender(QObject):
    told = Signal(object)


class Dock(Dock):
    """A dock with a part that fails, and something that is missing."""

    def __init__(self) -> None:
        super().__init__(ViewerModel(), "Go", "Go on")
        self.missing = ""
        self.part = QPushButton()
        self.form.addWidget(self.part)

    def _check(self) -> None:
        if self.missing == "everything":
            raise KeyError(self.missing)
        self.footer.ready(self.missing)


@pytest.fixture
def dock(qtbot: Any) -> Dock:
    made = Dock()
    qtbot.addWidget(made)
    return made


def broken(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError("division by zero")


def wrong(*_: Any) -> None:
    raise InputError("The height is missing: type it.")


def test_what_nobody_foresaw_is_one_sentence_to_report(dock: Dock, unforeseen: list[str]) -> None:
    on(dock.part, dock.part.clicked, lambda: np.linspace(0, 1, -1))
    dock.missing = "Choose a volume."
    dock.part.click()
    said = dock.footer.message.text()
    assert said.startswith("This failed with an unexpected ValueError (Number of samples, -1")
    assert dock.footer.message.kind == "error"
    assert dock.footer.state.text() == "Choose a volume."
    assert not dock.footer.action.isEnabled()
    assert unforeseen == [said]
    unforeseen.clear()


def test_the_sentence_names_where_in_this_package_it_failed(
    dock: Dock, unforeseen: list[str]
) -> None:
    on(dock, dock.part.clicked, lambda: dock.footer.progress(1, "ten"))  # type: ignore[arg-type]
    dock.part.click()
    said = dock.footer.message.text()
    assert ": please report this sentence, with “docks/" in said
    assert unforeseen == [said]
    unforeseen.clear()


def test_a_mistake_of_the_user_is_its_own_sentence(dock: Dock) -> None:
    on(dock.part, dock.part.clicked, wrong)
    dock.part.click()
    assert dock.footer.message.text() == "The height is missing: type it."


def test_a_check_that_fails_leaves_no_false_state(dock: Dock, unforeseen: list[str]) -> None:
    dock.check()
    assert dock.footer.action.isEnabled()
    dock.missing = "everything"
    dock.check()
    assert not dock.footer.action.isEnabled()
    assert "unexpected KeyError" in dock.footer.state.text()
    assert len(unforeseen) == 1
    unforeseen.clear()


def test_napari_goes_on_when_a_dock_fails(dock: Dock, unforeseen: list[str]) -> None:
    heard: list[Any] = []
    emitter = EventEmitter(source=None, type_name="told")
    emitter.connect(heard.append)
    on(dock, emitter, broken)
    emitter(value=1)
    assert len(heard) == 1
    assert len(unforeseen) == 1
    unforeseen.clear()


def test_a_slot_gets_as_many_values_as_it_takes(dock: Dock) -> None:
    sender, got = Sender(), []
    on(dock, sender.told, lambda: got.append("none"))
    on(dock, sender.told, lambda value: got.append(value))
    on(dock, sender.told, lambda *values: got.append(values))
    on(dock, sender.told, lambda value, other=1: got.append((value, other)))
    sender.told.emit(7)
    assert got == ["none", 7, (7,), (7, 1)]


def test_who_is_gone_is_not_called(qtbot: Any) -> None:
    sender, heard = Sender(), []
    owner = QObject()
    emitter = EventEmitter(source=None, type_name="told")
    for signal in (sender.told, emitter):
        on(owner, signal, heard.append)
    later = guarded(owner, heard.append)
    owner.deleteLater()
    qtbot.wait(20)
    sender.told.emit(1)
    emitter(value=2)
    later(3)
    assert heard == []


def test_a_guard_keeps_nobody_alive() -> None:
    class Listener:
        def hear(self) -> None:
            raise AssertionError

    owner, sender, listener = QObject(), Sender(), Listener()
    on(owner, sender.told, listener.hear)
    known = weakref.ref(listener)
    del listener
    gc.collect()
    assert known() is None
    sender.told.emit(1)


def _calls(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _is_safe(call: ast.Call) -> bool:
    """Whether a function is connected that can be let loose: guarded, or Qt's own."""
    last = call.args[-1]
    if isinstance(last, ast.Call):
        return getattr(last.func, "id", "") == "guarded"
    passed_on = {"emit", "start", "click", "changed", "edited", "moved", "setValue", "quit"}
    named_guards = {"_offering", "_listening", "guard", "fit", "later"}
    return getattr(last, "attr", getattr(last, "id", "")) in passed_on | named_guards


KNOWN = {
    ("shared/guard.py", "signal.connect(guard)"): "here it is",
    ("live/work.py", "session.message.connect(self._collect)"): "in the session's thread",
    (
        "shared/pace.py",
        "QTimer.singleShot(1, lambda: _paint(window_ref()))",
    ): "checks that it is open",
    ("shared/pace.py", "QTimer.singleShot(0, lambda: self._painted(began))"): "two numbers",
    ("fwhm/job.py", "layer.selected_data.events.items_changed.connect(self._selected)"): "so",
}
FREE = {"demo/windows.py"}
"""A script that drives a viewer of its own."""


def test_everything_that_is_connected_is_guarded() -> None:
    loose = []
    for path in sorted(FOLDER.rglob("*.py")):
        where = path.relative_to(FOLDER).as_posix()
        for call in _calls(path):
            name = getattr(call.func, "attr", "")
            if name not in ("connect", "singleShot", "mpl_connect") or where in FREE:
                continue
            text = ast.unparse(call)
            if "destroyed" not in text and not _is_safe(call) and (where, text) not in KNOWN:
                loose.append(f"{where}, line {call.lineno}: {text}")
    assert loose == []


def test_only_one_module_touches_what_is_napari_own_or_the_collector() -> None:
    own = re.compile(r"_qt_viewer|_qt_window|_activate_on_insert|__wrapped__|import gc\b|\bgc\.")
    found = {path.name for path in FOLDER.rglob("*.py") if own.search(path.read_text("utf-8"))}
    assert found == {"insides.py"}


def test_heights_typed_in_nanometres_leave_a_true_state(
    qtbot: Any, make_dock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaked: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *what: leaked.append(what))
    dock = make_dock()
    rng = np.random.default_rng(0)
    for number in range(4):
        dock.add_layers([dock._viewer.add_image(rng.random((24, 32)), name=f"scan {number}")])
    dock.ui.optics.set_values(
        {"na": 1.4, "wavelength_um": 0.519, "immersion_index": 1.515, "pixel_um": 0.103}, "typed"
    )
    table = dock.ui.table.scans

    def type_heights(heights: list[str]) -> None:
        for row, height in zip(list(table.rows), heights, strict=True):
            table.setData(table.index(table.rows.index(row), HEIGHT), height)
        dock.check()

    type_heights(["3.2", "7.04", "10.88", "14.72"])
    assert dock.ui.footer.action.isEnabled()
    type_heights(["3200", "7040", "10880", "14720"])
    assert leaked == []
    assert "11520 µm apart" in dock.ui.footer.state.text()
    assert "not nm" in dock.ui.footer.state.text()
    assert not dock.ui.footer.action.isEnabled()
    assert dock.ui.grid.cost.text() == ""
    type_heights(["3200 nm", "7040 nm", "10880 nm", "14720 nm"])
    assert dock.ui.footer.state.text() == ""
    z_um = dock.ui.grid.grid().z_um
    for height in (3.2, 7.04, 10.88, 14.72):
        assert abs(z_um - height).min() < 1e-6


DOCKS = (
    *(ReconstructDock, SurfaceDock, LiveDock, FwhmDock),
    *(CompareDock, PrepareDock, SideViewsDock, TrainDock),
)


@pytest.mark.parametrize("kind", DOCKS)
def test_the_wheel_scrolls_a_form_and_changes_no_field(
    kind: type[Any], quick_survey: None, docks: list[Any]
) -> None:
    """Not even one that was clicked before: the wheel would change the objective in passing."""
    docks.append(dock := kind(ViewerModel()))
    pages = [dock.setup, dock.scans] if kind is LiveDock else [dock]  # not in sight yet
    kinds = QComboBox, QAbstractSpinBox
    fields = [field for page in pages for one in kinds for field in page.findChildren(one)]
    assert fields
    down = QPoint(0, -120)
    for field in fields:
        before = field.property("currentText"), field.property("value")
        press = (Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier)
        phase = Qt.ScrollPhase.NoScrollPhase
        wheel = QWheelEvent(QPointF(), QPointF(), down, down, *press, phase, False)
        QApplication.sendEvent(field, wheel)
        assert (field.property("currentText"), field.property("value")) == before, field
        assert not wheel.isAccepted()


UNUSED = {
    *((CompareDock, "heights_um"), (PrepareDock, "heights_um"), (PrepareDock, "pixel_um")),
    *((SideViewsDock, "heights_um"), (SideViewsDock, "pixel_um")),
}
"""What a dock does not ask its layers before something is made."""


@pytest.mark.parametrize("what", ["check_layer", "plane_count", "heights_um", "pixel_um"])
@pytest.mark.parametrize("kind", DOCKS)
def test_no_exception_leaves_any_dock_whatever_a_layer_does(
    kind: type[Any],
    what: str,
    qtbot: Any,
    quick_survey: None,
    docks: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    unforeseen: list[str],
) -> None:
    """Every button is pressed, and layers come, change and go, while reading them fails."""
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: ("", ""))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: ("", ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: "")
    real = getattr(_layers, what)
    for name, module in list(sys.modules.items()):
        if name.startswith("napari_recurrent_mz.docks.") and getattr(module, what, None) is real:
            monkeypatch.setattr(module, what, broken)
    viewer = ViewerModel()
    stack = np.random.default_rng(0).random((9, 24, 32), np.float32)
    about = {"scale": (0.5, 0.2, 0.2), "units": ("um", "um", "um")}
    viewer.add_image(stack, name="first", **about)
    with qtbot.capture_exceptions() as leaked:
        dock = kind(viewer)
        docks.append(dock)
        qtbot.wait(50)
        layer = viewer.add_image(stack, name="second", **about)
        viewer.layers.selection = set(viewer.layers)
        for part in dock.findChildren(QComboBox):
            for number in range(part.count()):
                part.setCurrentIndex(number)
                part.activated.emit(number)
        for button in dock.findChildren(QAbstractButton):
            if button.isEnabled() and "Connect" not in button.text():
                button.click()
        if kind is LiveDock:
            dock.add_selected()
        layer.name = "other"
        layer.scale = (1, 0.1, 0.1)
        layer.data = stack[:3]
        viewer.dims.set_point(0, 1)
        viewer.theme = "light"
        viewer.layers.remove(layer)
        dock.check()
        qtbot.wait(300)
    assert leaked == []
    assert all("unexpected ZeroDivisionError" in sentence for sentence in unforeseen)
    assert unforeseen or (kind, what) in UNUSED
    unforeseen.clear()
