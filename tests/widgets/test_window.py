"""The dock in a real napari window: manifest, size, themes, closing midway, sample data."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar
from napari.utils import progress
from napari.utils.theme import get_theme
from npe2 import PluginManager, PluginManifest
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QCursor, QDragEnterEvent, QDropEvent, QEnterEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QMenu,
    QScrollArea,
    QTableView,
    QWidget,
)

from files import write_ome
from napari_recurrent_mz import Optics, ZGrid
from napari_recurrent_mz.core.progress import Step
from napari_recurrent_mz.docks.files import samples as _samples
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared.dock import Dock
from napari_recurrent_mz.docks.shared.file_names import last_folder
from napari_recurrent_mz.docks.shared.insides import camera
from napari_recurrent_mz.docks.shared.layer_choice import LayerChoice
from napari_recurrent_mz.engine import inference
from napari_recurrent_mz.io import write_volume
from napari_recurrent_mz.simulation.simulate import DEMO_OPTICS, simulate_sample

PLUGIN = "napari-recurrent-mz"
OPTICS = Optics(na=1.2, wavelength_um=0.5, immersion_index=1.333, pixel_um=0.2)


@pytest.fixture(scope="module")
def small_sample() -> Any:
    return simulate_sample("worm", shape=(51, 32, 32), z_step_um=0.2, optics=OPTICS, seed=1)


@pytest.fixture
def viewer(make_napari_viewer) -> Any:
    return make_napari_viewer(show=True)


@pytest.fixture
def dock(viewer, make_dock) -> ReconstructDock:
    viewer.window._qt_window.resize(1280, 800)
    dock = make_dock(viewer)
    viewer.window.add_dock_widget(dock, name="Reconstruct", area="right")
    return dock


def test_the_manifest_names_what_exists() -> None:
    path = files("napari_recurrent_mz") / "napari.yaml"
    manifest = PluginManifest.from_file(str(path))
    manifest.validate_imports()
    from napari._app_model.constants import MenuId

    assert set(manifest.contributions.menus) <= {str(menu) for menu in MenuId.contributables()}


def test_the_top_level_manifest_is_the_packages_own() -> None:
    link = Path(__file__).resolve().parents[2] / "napari.yaml"
    if not link.is_symlink():
        pytest.skip("not run from a checkout")
    assert link.readlink() == Path("src/napari_recurrent_mz/napari.yaml")


def test_the_plugins_menu_opens_the_dock(viewer, qtbot, quick_survey, add_stack) -> None:
    assert PLUGIN in PluginManager.instance()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Reconstruct")
    assert isinstance(widget, ReconstructDock)
    qtbot.waitUntil(lambda: widget.ui.method.model is not None)
    layer = add_stack(viewer)
    viewer.layers.selection = {layer}
    widget.ui.add_button.click()
    assert [row.layer for row in widget.ui.table.scans.rows] == [layer] * 3
    viewer.layers.remove(layer)
    assert widget.ui.table.scans.rows == []


def open_from_menu(viewer: Any, name: str) -> tuple[Any, Any]:
    """Open a dock as a person does; what holds it, and the dock."""
    window = viewer.window
    menus = window._qt_window.findChildren(QMenu)
    titled = f"{name} (Recurrent-MZ)"
    next(a for menu in menus for a in menu.actions() if a.text() == titled).trigger()
    shell = next(one for title, one in window._wrapped_dock_widgets.items() if name in title)
    return shell, shell.findChild(Dock)


def test_docks_come_as_tabs_and_side_views_under_the_canvas(viewer, qtbot, quick_survey) -> None:
    window = viewer.window._qt_window
    window.resize(1280, 800)
    shells = []
    for name in ("Reconstruct", "Live", "Side views"):
        shell, _ = open_from_menu(viewer, name)
        qtbot.waitUntil(lambda shell=shell, name=name: shell.windowTitle() == name)
        shells.append(shell)
    first, second, wide = shells
    assert window.tabifiedDockWidgets(first) == [second]
    assert window.dockWidgetArea(wide) == Qt.DockWidgetArea.BottomDockWidgetArea
    assert window.tabifiedDockWidgets(wide) == []
    qtbot.wait(50)
    assert (window.width(), window.height()) == (1280, 800)


def test_side_views_stay_where_a_person_has_put_them(viewer, qtbot, quick_survey) -> None:
    window, right = viewer.window._qt_window, Qt.DockWidgetArea.RightDockWidgetArea
    shell, dock = open_from_menu(viewer, "Side views")
    qtbot.waitUntil(lambda: shell.windowTitle() == "Side views")
    window.addDockWidget(right, shell)
    viewer.window.remove_dock_widget(shell)
    shell, dock = open_from_menu(viewer, "Side views")
    qtbot.waitUntil(lambda: shell.windowTitle() == "Side views")
    assert window.dockWidgetArea(shell) == right
    assert dock.isVisible()


def test_what_was_typed_and_dropped_is_there_when_a_dock_is_opened_again(
    viewer, qtbot, quick_survey, add_stack
) -> None:
    layer = add_stack(viewer)
    shell, dock = open_from_menu(viewer, "Reconstruct")
    qtbot.waitUntil(lambda: dock.ui.method.model is not None)
    dock.add_layers([layer])
    dock.ui.optics.fields["na"].setText("0.95")
    dock.ui.optics.fields["na"].editingFinished.emit()
    dock.ui.grid.set_grid(ZGrid(2.5, 4.5, 0.25))
    dock.ui.method.set_method("linear")
    heights = [row.z_um for row in dock.ui.table.scans.used()]
    shell.destroyOnClose()
    qtbot.wait(50)
    assert not dock.isVisible()
    other = add_stack(viewer, name="other")
    shell, again = open_from_menu(viewer, "Reconstruct")
    qtbot.waitUntil(again.isVisible)
    assert [row.z_um for row in again.ui.table.scans.used()] == heights
    assert again.ui.optics.fields["na"].value() == 0.95
    assert again.ui.grid.grid() == ZGrid(2.5, 4.5, 0.25)
    assert again.ui.method.method_key() == "linear"
    viewer.layers.remove(layer)
    assert again.ui.table.scans.rows == []
    again.add_layers([other])
    assert again.ui.table.scans.rows
    shell.destroyOnClose()


def _all_actions(menu):
    """The actions of a menu and of the menus in it; napari gathers a plugin's in one of them."""
    found = []
    for action in menu.actions():
        inner = action.menu()
        if inner is None:
            found.append(action)
        else:
            inner.aboutToShow.emit()
            found += _all_actions(inner)
    return found


def test_the_layers_menu_opens_the_dock(viewer, qtbot, quick_survey) -> None:
    menu = viewer.window.layers_menu
    menu.aboutToShow.emit()
    ours = [action for action in _all_actions(menu) if "Reconstruct" in action.text()]
    assert len(ours) == 1
    ours[0].trigger()
    docks = viewer.window._qt_window.findChildren(ReconstructDock)
    assert len(docks) == 1
    qtbot.waitUntil(lambda: docks[0].ui.method.model is not None)


def test_long_messages_leave_the_curve_and_the_buttons_in_sight(dock, viewer, qtbot) -> None:
    window, parts = viewer.window._qt_window, (dock.ui.error, dock.ui.save, dock.footer.action)
    dock.ui.error.show_figure(lambda figure, _ink: figure.subplots())
    dock.ui.error.show()
    dock.footer.warn([f"{n} " + "a long warning " * 30 for n in range(4)])
    dock.say("what has come of it, at length " * 20, "done")
    low, form = window.minimumSizeHint().height(), dock.ui._inner.parentWidget()
    for _ in range(2):  # also with both messages opened
        qtbot.waitUntil(
            lambda: all(one.visibleRegion().boundingRect() == one.rect() for one in parts)
        )
        assert (window.width(), window.height()) == (1280, 800)
        assert form.height() > 100
        for label in (dock.footer.warnings, dock.footer.message):
            label.linkActivated.emit("more")
    assert low <= window.minimumSizeHint().height() <= 800


def test_the_dock_fits_a_small_screen(dock, viewer, qtbot) -> None:
    qtbot.wait(200)
    assert dock.sizeHint().height() < 700
    assert viewer.window._qt_window.height() <= 800
    assert viewer.window._qt_window.width() <= 1280
    form = dock.ui._inner
    assert form.minimumSizeHint().width() <= form.width()
    for button in (dock.ui.preview, dock.footer.action, dock.footer.cancel):
        bottom = button.mapTo(dock, button.rect().bottomLeft()).y()
        assert 0 < bottom <= dock.height()
    viewer.window._qt_window.resize(1280, 560)
    qtbot.wait(200)
    bottom = dock.ui.footer.action.mapTo(dock, QPoint(0, 0)).y()
    assert bottom < dock.height()


def test_every_control_has_a_tooltip_and_a_name(dock) -> None:
    kinds = (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QTableView)
    for kind in kinds:
        for control in dock.findChildren(kind):
            inside = isinstance(control.parent(), kinds) or isinstance(control, QTableView)
            if not inside:
                assert control.toolTip(), control
                named = control.accessibleName()
                if isinstance(control, QAbstractButton):
                    named = named or control.text()
                assert named, control


def test_tab_goes_from_the_table_to_the_buttons(dock, add_stack, viewer, qtbot) -> None:
    dock.add_layers([add_stack(viewer)])
    dock.set_optics(OPTICS)
    dock.check()
    seen: list[QWidget] = []
    widget: Any = dock.ui.table
    for _ in range(200):
        seen.append(widget)
        widget = widget.nextInFocusChain()
        if widget is dock.ui.table:
            break
    ui = dock.ui
    stops = [ui.add_button, ui.stack.stack, ui.stack.how, ui.optics.preset]
    stops += [ui.optics.fields["na"], ui.optics.fields["pixel_um"], ui.grid.start, ui.grid.step]
    stops += [ui.method.method, ui.method.models, ui.method.devices, ui.footer.action]
    places = [seen.index(stop) for stop in stops]
    assert places == sorted(places)


def test_ctrl_return_reconstructs(dock, add_stack, viewer, qtbot) -> None:
    dock.add_layers([add_stack(viewer)])
    dock.set_optics(OPTICS)
    dock.check()
    viewer.window._qt_window.activateWindow()
    dock.ui.table.setFocus()
    qtbot.waitUntil(dock.ui.table.hasFocus)
    with qtbot.waitSignal(dock.ended, timeout=5_000):
        qtbot.keyClick(dock.ui.table, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert viewer.layers[-1].name == "stack · Linear interpolation"


def test_both_themes(dock, viewer, qtbot, add_stack) -> None:
    dock.add_layers([add_stack(viewer)])
    dock.ui.table.scans.rows[0].z_um = None
    for theme in ("dark", "light"):
        viewer.theme = theme
        qtbot.wait(50)
        text = get_theme(theme).text.as_rgb_tuple()
        assert dock.palette_.colour("text").getRgb()[:3] == text


def start_slowly(dock, viewer, add_stack, qtbot, monkeypatch, press=None) -> Any:
    """A run whose second plane waits until the test allows it."""
    import threading

    gate, real = threading.Event(), inference.run

    def slow(*args: Any, **options: Any) -> Any:
        for number, plane in enumerate(real(*args, **options)):
            if number:
                gate.wait(10)
            yield plane

    monkeypatch.setattr(inference, "run", slow)
    dock.add_layers([add_stack(viewer)])
    dock.set_optics(OPTICS)
    dock.check()
    (press or dock.reconstruct)()
    qtbot.waitUntil(lambda: dock.result.done == 1)
    return gate


def test_closing_the_dock_midway(dock, viewer, add_stack, qtbot, monkeypatch) -> None:
    gate = start_slowly(dock, viewer, add_stack, qtbot, monkeypatch)
    run = dock.run
    viewer.window.remove_dock_widget(dock)
    assert run.is_cancelled
    with qtbot.waitSignal(run.ended):
        gate.set()
    viewer.layers.clear()
    viewer.add_image(np.zeros((8, 8)))


def test_a_dock_that_is_closed_midway_is_there_when_it_is_opened_again(
    viewer, qtbot, quick_survey
) -> None:
    shell, dock = open_from_menu(viewer, "Prepare")
    dock.start(counting)
    shell.destroyOnClose()
    qtbot.waitUntil(lambda: dock.run is None)
    assert open_from_menu(viewer, "Prepare")[1] is dock


@pytest.mark.parametrize("begins_in", ["button", "field"])
def test_escape_stops_a_run_wherever_it_was_begun(
    dock, viewer, add_stack, qtbot, monkeypatch, begins_in
) -> None:
    """What had the keyboard, a button that was pressed or a field, is disabled meanwhile."""
    viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(viewer.window._qt_window.isActiveWindow)
    dock.ui.optics.fields["na"].setFocus()
    keys = Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier
    press = {
        "button": lambda: qtbot.mouseClick(dock.footer.action, Qt.MouseButton.LeftButton),
        "field": lambda: qtbot.keyClick(dock.ui.optics.fields["na"], *keys),
    }
    gate = start_slowly(dock, viewer, add_stack, qtbot, monkeypatch, press[begins_in])
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
    assert dock.run.is_cancelled
    with qtbot.waitSignal(dock.ended):
        gate.set()


def test_a_job_leaves_the_keyboard_to_a_field_that_can_be_typed_in(viewer, docks, qtbot) -> None:
    dock, field = Dock(viewer, "Count", "Counts"), QLineEdit()
    docks.append(dock)
    dock.form.addWidget(field)
    viewer.window.add_dock_widget(dock, name="Count", area="right")
    viewer.window._qt_window.activateWindow()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    dock.start(counting)
    assert field.hasFocus()
    dock.cancel()
    qtbot.waitUntil(lambda: dock.run is None)
    assert field.hasFocus()


def test_what_saves_a_volume_is_in_sight_whatever_is_said(dock, add_stack, viewer, qtbot) -> None:
    """As is the end of the form, once a person has scrolled there."""
    dock.add_layers([add_stack(viewer)])
    viewer.window._qt_window.resize(1280, 600)
    qtbot.wait(100)
    end = dock.ui.findChild(QScrollArea).verticalScrollBar()
    end.setValue(end.maximum())
    low = end.maximum()
    dock.say("It is ready, and that is what it is like. " * 6, "done")
    qtbot.waitUntil(lambda: end.maximum() > low)
    assert end.value() == end.maximum()
    assert dock.ui.save.visibleRegion().boundingRect() == dock.ui.save.rect()


def test_closing_the_window_midway(dock, viewer, add_stack, qtbot, monkeypatch) -> None:
    gate = start_slowly(dock, viewer, add_stack, qtbot, monkeypatch)
    run = dock.run
    viewer.close()
    qtbot.waitUntil(lambda: run.is_cancelled or not isalive(dock))
    with qtbot.waitSignal(run.ended):
        gate.set()


def test_the_window_stays_alive_while_it_runs(dock, viewer, add_stack, qtbot, monkeypatch) -> None:
    gate = start_slowly(dock, viewer, add_stack, qtbot, monkeypatch)
    ticks: list[int] = []
    qtbot.waitUntil(lambda: ticks.append(1) or len(ticks) > 5, timeout=2000)
    viewer.dims.set_point(0, 3.0)
    viewer.dims.ndisplay = 3
    with qtbot.waitSignal(dock.ended):
        gate.set()
    assert viewer.layers[-1].visible


def counting(*, stop: threading.Event) -> Iterator[object]:
    """Counts until it is stopped."""
    for done in range(1, 1000):
        yield Step(done, 1000, "Counting")
        stop.wait(0.02)


def test_a_job_is_seen_in_naparis_activity_dock(viewer, docks, qtbot) -> None:
    dock = Dock(viewer, "Count", "Counts")
    docks.append(dock)
    viewer.window.add_dock_widget(dock, name="Count", area="right")
    dock.start(counting, title="Counting")

    def bars() -> list[Any]:
        return viewer.window._qt_window.findChildren(QtLabeledProgressBar)

    qtbot.waitUntil(lambda: any(bar._get_value() > 1 for bar in bars()))
    assert bars()[0].description_label.text() == "Counting: "
    assert bars()[0].qt_progress_bar.maximum() == 1000
    dock.cancel()
    qtbot.waitUntil(lambda: dock.run is None)
    qtbot.waitUntil(lambda: not bars())
    dock.start(counting, title="Counting")
    qtbot.waitUntil(lambda: bool(bars()))
    viewer.close()
    assert not progress._all_instances


def test_a_volume_of_scans_without_size_is_brought_into_view(
    dock, viewer, qtbot, stack, run_to_end
) -> None:
    for plane, z in ((0, 1.0), (8, 5.0)):
        viewer.add_image(stack[plane], name=f"cell_z{z}um")
    dock.add_layers(list(viewer.layers))
    dock.set_optics(OPTICS)
    dock.check()
    run_to_end(dock)
    volume = viewer.layers[-1]
    centre = np.mean(volume.extent.world[:, 1:], axis=0)
    np.testing.assert_allclose(camera(viewer).center[-2:], centre, atol=1)
    assert [str(unit) for unit in viewer.layers[0].units] == ["pixel"] * 2


def test_files_dropped_on_the_dock(dock, viewer, qtbot, tmp_path, stack) -> None:
    import tifffile

    paths = [tmp_path / f"cell_z{z}um.tif" for z in (1, 3)]
    for path, plane in zip(paths, stack, strict=False):
        tifffile.imwrite(path, plane)
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, mime, buttons, keys)
    dock.dragEnterEvent(enter)
    assert enter.isAccepted()
    drop = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, mime, buttons, keys)
    dock.dropEvent(drop)
    qtbot.waitUntil(lambda: len(dock.ui.table.scans.rows) == 2)
    assert last_folder() == str(tmp_path)  # where what is made of them is saved
    dock.check()
    assert "pixel size is missing" in dock.ui.footer.state.text()
    assert dock.ui.footer.state.kind == "hint"


CHOICES = {
    "Train": ("Stack", "Second stack"),
    "FWHM": ("Volume", "Reference"),
    "Compare": ("Reference",),
    "Prepare": ("Stack",),
    "Side views": ("First volume", "Second volume", "Third volume"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_files_dropped_on_other_docks_are_layers_that_are_chosen(
    viewer, qtbot, quick_survey, tmp_path, stack, name
) -> None:
    """Where they are dropped; elsewhere on the dock, the first choice comes first."""
    viewer.window._qt_window.resize(1280, 800)
    paths = [tmp_path / f"{letter}.ome.tif" for letter in "abc"]
    for path in paths:
        write_ome(path, stack, "ZYX")
    _, dock = open_from_menu(viewer, name)
    chosen = {choice.accessibleName(): choice for choice in dock.findChildren(LayerChoice)}
    first, *others = (chosen[one] for one in CHOICES[name])
    where, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier

    def dropped(count: int, at: QPoint) -> list[str]:
        there, mime = len(viewer.layers), QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths[:count]])
        event = QDropEvent(QPointF(at), Qt.DropAction.CopyAction, mime, where, keys)
        dock.dropEvent(event)
        qtbot.waitUntil(lambda: len(viewer.layers) == there + count, timeout=20_000)
        return [layer.name for layer in viewer.layers[there:]]

    qtbot.waitUntil(first.isVisible)
    names = dropped(1 + len(others), QPoint(3, 3))
    assert [choice.layer().name for choice in (first, *others)] == names
    last = (others or [first])[-1]
    dock.ui.findChild(QScrollArea).ensureWidgetVisible(last)
    (name_of_one,) = dropped(1, last.mapTo(dock, last.rect().center()))
    assert last.layer().name == name_of_one
    assert dock.footer.message.text() == ""
    dock.drop([tmp_path / "missing.tif"])
    qtbot.waitUntil(lambda: "does not exist" in dock.footer.message.text(), timeout=20_000)


def test_a_reconstruction_that_is_dropped_on_compare_is_ticked(
    viewer, qtbot, quick_survey, tmp_path, stack
) -> None:
    write_ome(tmp_path / "truth.ome.tif", stack, "ZYX")
    record = {"scans": [{"z_um": 1.0}], "method": "lmmse"}
    write_volume(tmp_path / "made.ome.tif", stack, 0.5 * np.arange(len(stack)), 0.2, record)
    _, dock = open_from_menu(viewer, "Compare")
    dock.drop([tmp_path / "made.ome.tif", tmp_path / "truth.ome.tif"])
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=20_000)
    assert dock.reference.layer().name == "truth.ome.tif"
    assert [layer.name for layer in dock.layers.ticked()] == ["made.ome.tif"]


@pytest.mark.parametrize(
    ("key", "layers", "shape", "pixel_um"),
    [
        ("scans", 3, (1, 256, 256), 0.13),
        ("stack", 1, (51, 256, 256), 0.13),
        ("nucleus_scans", 3, (1, 130, 133), 0.5119),
        ("nucleus_stack", 1, (45, 130, 133), 0.5119),
    ],
)
def test_sample_data(viewer, monkeypatch, key, layers, shape, pixel_um) -> None:
    def simulate(*_: Any, **__: Any) -> Any:
        pytest.fail("samples come with the package: to simulate one takes a minute")

    monkeypatch.setattr("napari_recurrent_mz.simulation.simulate.simulate_sample", simulate)
    viewer.open_sample(PLUGIN, key)
    assert len(viewer.layers) == layers
    for layer in viewer.layers:
        assert layer.data.shape == shape
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
        assert layer.scale[-1] == pytest.approx(pixel_um)


def test_the_worm_that_comes_along_is_that_of_the_demo() -> None:
    sample = _samples.demo()
    assert sample.optics == DEMO_OPTICS
    assert sample.z_um == pytest.approx(0.2 * np.arange(51))


def test_the_sample_scans_fill_the_dock(dock, viewer, monkeypatch, small_sample) -> None:
    monkeypatch.setattr(_samples, "demo", lambda: small_sample)
    dock.add_layers(viewer.open_sample(PLUGIN, "scans"))
    dock.check()
    assert [row.z_um for row in dock.ui.table.scans.rows] == pytest.approx([2.0, 5.0, 8.0])
    assert dock.ui.optics.optics() == OPTICS
    assert dock.ui.footer.action.isEnabled()


def test_nothing_moves_under_the_mouse_as_messages_get_shorter(dock, viewer, qtbot) -> None:
    viewer.window._qt_window.resize(1280, 800)
    footer, form = dock.footer, dock.ui
    QApplication.sendEvent(form, QEnterEvent(QPointF(5, 5), QPointF(5, 5), QPointF(5, 5)))
    footer.say("One sentence that is long enough for three lines. " * 3)
    qtbot.waitUntil(lambda: footer.message.height() > 2 * footer.fontMetrics().height())
    top = footer.mapToGlobal(QPoint(0, 0)).y()
    footer.say("")
    qtbot.waitUntil(lambda: not footer.message.isVisible())
    QApplication.processEvents()
    assert footer.mapToGlobal(QPoint(0, 0)).y() == top
    QCursor.setPos(form.mapToGlobal(QPoint(5, 5)))  # a menu is there, and takes the mouse
    QApplication.sendEvent(form, QEvent(QEvent.Type.Leave))
    qtbot.wait(500)
    assert footer.mapToGlobal(QPoint(0, 0)).y() == top
    QCursor.setPos(form.window().mapToGlobal(QPoint(5, 5)))
    qtbot.waitUntil(lambda: footer.mapToGlobal(QPoint(0, 0)).y() > top)
