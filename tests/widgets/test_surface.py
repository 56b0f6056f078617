"""The Surface dock: scans and a surface to one image with its heights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Surface
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QTableView

from napari_recurrent_mz import Optics, Scan
from napari_recurrent_mz.core.progress import tell
from napari_recurrent_mz.docks.shared.insides import camera
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY
from napari_recurrent_mz.docks.shared.scan_table import PLANE as PLANE_COLUMN
from napari_recurrent_mz.docks.surface.choice import MAP, POINTS
from napari_recurrent_mz.docks.surface.dock import SurfaceDock
from napari_recurrent_mz.engine import surfaces
from napari_recurrent_mz.engine.surfaces import plane_through, reconstruct_surface
from napari_recurrent_mz.io import read_heights, read_image

OPTICS = Optics(na=1.2, wavelength_um=0.5, immersion_index=1.333, pixel_um=0.2)
PLANE = np.array([(2.5, 1.0, 3.0), (5.5, 1.0, 9.2), (4.0, 5.6, 3.0)])
"""Points (z, y, x) in µm inside the stack of the fixture, which begins at (2, 1, 3) µm."""


@pytest.fixture
def make_surface_dock(
    qtbot: Any, quick_survey: None, docks: list[Any]
) -> Callable[..., SurfaceDock]:
    def make(viewer: Any = None) -> SurfaceDock:
        dock = SurfaceDock(ViewerModel() if viewer is None else viewer)
        docks.append(dock)
        qtbot.waitUntil(lambda: dock.method.model is not None)
        dock.method.set_method("linear")
        return dock

    return make


@pytest.fixture
def dock(make_surface_dock, add_stack) -> SurfaceDock:
    """Three planes of the stack (2.5, 4, 5.5 µm), optics given, linear interpolation."""
    dock = make_surface_dock()
    dock.add_layers([add_stack(dock._viewer)])
    dock.set_optics(OPTICS)
    dock.check()
    return dock


def press(qtbot: Any, dock: SurfaceDock) -> Any:
    dock.check()
    with qtbot.waitSignal(dock.ended, timeout=20_000) as blocker:
        dock.footer.action.click()
    return blocker.args[0]


def picked(dock: SurfaceDock, points: np.ndarray = PLANE) -> Any:
    """Press “Pick three points” and click."""
    dock.surface.pick_button.click()
    layer = dock.surface.layer()
    for point in points:
        layer.add(point)
    dock.check()
    return layer


def test_the_dock_leads_from_scans_to_a_surface(make_surface_dock, add_stack) -> None:
    dock = make_surface_dock()
    state = dock.footer.state
    assert (state.text(), state.kind) == ("Add scans to begin.", "hint")
    dock.add_layers([add_stack(dock._viewer)])
    dock.set_optics(OPTICS)
    dock.check()
    assert (state.text(), state.kind) == (
        "The surface is not chosen yet: press “Pick three points”.",
        "hint",
    )
    assert not dock.footer.action.isEnabled()
    layer = picked(dock, PLANE[:2])
    assert layer.mode == "add"
    assert dock._viewer.layers.selection.active is layer
    assert "are 2: give three" in state.text()
    assert state.kind == "hint"
    layer.add(PLANE[2])
    dock.check()
    assert dock.footer.action.isEnabled()
    assert dock.surface.facts.text() == "Heights 2.5 to 7 µm, tilt 30.3°."


def test_a_plane_over_scans_that_are_mirrored_is_refused(dock) -> None:
    picked(dock)
    dock._viewer.layers["stack"].scale = (0.5, -0.2, 0.2)
    dock.check()
    assert "'stack' is turned, sheared or mirrored" in dock.footer.state.text()
    assert not dock.footer.action.isEnabled()


def test_a_plane_through_three_clicks(qtbot, dock, stack) -> None:
    picked(dock)
    assert press(qtbot, dock).state == "done"
    layer = dock.result
    heights = plane_through(PLANE, (24, 32), 0.2, (1.0, 3.0))
    scans = [Scan(stack[p], 2.0 + 0.5 * p) for p in (1, 4, 7)]
    np.testing.assert_array_equal(layer.data, reconstruct_surface(scans, heights, method="linear"))
    np.testing.assert_allclose(layer.scale, (0.2, 0.2))
    np.testing.assert_allclose(layer.translate, (1.0, 3.0))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
    known = layer.metadata[METADATA_KEY]
    np.testing.assert_allclose(known["heights_um"], heights)
    np.testing.assert_allclose(known["surface"]["points_um"], PLANE)
    assert known["surface"]["from"] == "Surface points"
    assert layer.name == "stack · surface, Linear interpolation"
    assert dock.footer.message.kind == "done"


def test_the_image_is_saved_with_its_heights(qtbot, dock, tmp_path) -> None:
    picked(dock)
    assert not dock.save.button.isEnabled()
    press(qtbot, dock)
    assert dock.save.button.isEnabled()
    dock.save.save_to(tmp_path / "face.ome.tif")
    qtbot.waitUntil(lambda: "Saved in" in dock.footer.message.text())
    heights = dock.result.metadata[METADATA_KEY]["heights_um"]
    image = read_image(tmp_path / "face.ome.tif")
    np.testing.assert_array_equal(image.data, dock.result.data)
    assert (image.pixel_um, image.origin_um) == (0.2, (1.0, 3.0))
    np.testing.assert_allclose(read_heights(tmp_path / "face.ome.tif"), heights, rtol=1e-6)


def test_a_layer_of_heights(qtbot, dock) -> None:
    y, x = np.indices((24, 32))
    heights = 4 + np.sin(y / 5) + np.cos(x / 9)
    layer = dock._viewer.add_image(
        heights, name="coverslip", scale=(0.2, 0.2), translate=(1.0, 3.0), units=("um", "um")
    )
    dock.surface.choose(layer)
    assert dock.surface.kind_key() == MAP
    assert press(qtbot, dock).state == "done"
    np.testing.assert_allclose(dock.result.metadata[METADATA_KEY]["heights_um"], heights)


def test_a_layer_of_heights_lies_anywhere_in_the_world(qtbot, dock) -> None:
    """In nanometres, four times coarser, and larger than the scans."""
    y, x = (np.arange(12) * 0.8)[:, None], (np.arange(14) * 0.8 + 1)[None]
    layer = dock._viewer.add_image(
        3 + 0.1 * y + 0.15 * x,
        name="slope",
        scale=(800, 800),
        translate=(0, 1000),
        units=("nm", "nm"),
    )
    dock.surface.choose(layer)
    press(qtbot, dock)
    fy, fx = (1 + 0.2 * np.arange(24))[:, None], (3 + 0.2 * np.arange(32))[None]
    found = dock.result.metadata[METADATA_KEY]["heights_um"]
    np.testing.assert_allclose(found, 3 + 0.1 * fy + 0.15 * fx, atol=1e-6)


def test_labels_are_heights_too(qtbot, dock) -> None:
    labels = np.repeat([3, 5], 12)[:, None] * np.ones((1, 32), int)
    dock.surface.choose(dock._viewer.add_labels(labels, name="terraces"))
    press(qtbot, dock)
    np.testing.assert_array_equal(dock.result.metadata[METADATA_KEY]["heights_um"], labels)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (np.full((24, 32), np.nan), "768 pixels that are NaN"),
        (np.zeros((10, 12)), "10 × 12 pixels but the scans are 24 × 32"),
    ],
)
def test_a_layer_that_holds_no_heights_is_told(dock, data, sentence) -> None:
    dock.surface.choose(dock._viewer.add_image(data, name="odd", contrast_limits=(0, 1)))
    dock.check()
    assert "'odd'" in dock.footer.state.text()
    assert sentence in dock.footer.state.text()
    assert not dock.footer.action.isEnabled()


def test_points_are_read_in_the_units_of_their_layer(dock) -> None:
    layer = dock._viewer.add_points(
        PLANE * 1000, name="elsewhere", units=("nm", "nm", "nm"), ndim=3, size=200
    )
    dock.surface.choose(layer)
    dock.check()
    assert dock.surface.facts.text() == "Heights 2.5 to 7 µm, tilt 30.3°."
    assert [dock.surface.table.item(1, c).text() for c in range(3)] == ["5.500", "1.000", "9.200"]


@pytest.mark.parametrize("units", ["pixel", ("pixel", "um", "um")])
def test_points_in_pixels_over_scans_in_um_are_refused(dock, units: Any) -> None:
    dock.surface.choose(dock._viewer.add_points(PLANE, name="mine", units=units))
    dock.check()
    said = dock.footer.state.text()
    assert said.startswith("Layer 'mine' and layer 'stack' are not both in µm, nor both in pixels")
    assert not dock.footer.action.isEnabled()


def test_points_over_a_stack_in_pixels_are_at_the_heights_typed_for_its_planes(
    make_surface_dock, stack
) -> None:
    """Plane 1 at 3.5 µm, plane 7 at 6.5 µm; drawn with planes two apart."""
    dock = make_surface_dock()
    layer = dock._viewer.add_image(stack, name="stack", scale=(2, 1, 1))
    dock.add_layers([layer])
    dock.set_optics(OPTICS)
    dock.scan_parts.stack.step.setText("0.5")
    dock.scan_parts.stack.use.click()
    low, *_, high = rows = dock.scan_parts.table.scans.rows
    for row in rows:
        row.z_um += 3.0
    assert (low.plane, high.plane) != (0, 0)
    picked(dock, np.array([(4, 0, 0), (12, 0, 31), (8, 23, 0)]))
    assert dock.surface.facts.text().startswith("Heights 4 to 7 µm")
    np.testing.assert_allclose(dock.recipe().target.heights_um[0, [0, 31]], (4.0, 6.0))
    dock.surface.table.item(0, 0).setText("5")
    np.testing.assert_allclose(dock.surface.layer().data[0], (8.0, 0.0, 0.0))


def test_in_a_stack_of_unknown_size_points_count_in_its_planes(make_surface_dock, stack) -> None:
    """Planes of 0.5 µm that only the dock knows of: z of a click is the number of a plane."""
    dock = make_surface_dock()
    dock.add_layers([dock._viewer.add_image(stack, name="stack")])
    dock.set_optics(OPTICS)
    dock.scan_parts.stack.step.setText("0.5")
    dock.scan_parts.stack.use.click()
    picked(dock, np.array([(2, 0, 0), (6, 0, 31), (4, 23, 0)]))
    assert dock.surface.facts.text().startswith("Heights 1 to 4 µm")
    np.testing.assert_allclose(dock.recipe().target.heights_um[0, 31], 3.0)


def test_two_dimensional_points_have_no_height(dock) -> None:
    dock.surface.choose(dock._viewer.add_points(np.eye(3)[:, :2], name="flat"))
    dock.check()
    assert "'flat' have no z" in dock.footer.state.text()


def test_points_over_planes_that_are_drawn_at_other_heights_are_refused(dock) -> None:
    """A click on a plane would be another height than that of its scan."""
    panel = dock.scan_parts.stack
    panel.step.setText("0.8")  # it is drawn with 0.5
    panel.planes.setText("1, 4, 7")
    panel.use.click()
    picked(dock)
    assert "plane 1' is drawn at 2.5 µm but its height is 0.8 µm" in dock.footer.state.text()
    assert not dock.footer.action.isEnabled()
    stack = dock._viewer.layers["stack"]
    stack.scale, stack.translate = (0.8, 0.2, 0.2), (0.0, 1.0, 3.0)
    dock.check()
    assert dock.footer.action.isEnabled(), dock.footer.state.text()


def test_a_point_is_typed_over_and_taken_out(qtbot, dock) -> None:
    layer = picked(dock, np.vstack([PLANE, (3.0, 2.0, 2.0)]))
    table = dock.surface.table
    table.item(0, 0).setText("3,5")
    np.testing.assert_allclose(layer.data[0], (3.5, 1.0, 3.0))
    table.item(0, 0).setText("high")  # no number: the cell takes its value back
    np.testing.assert_allclose(layer.data[0], (3.5, 1.0, 3.0))
    assert table.item(0, 0).text() in ("3.500", "2.500")
    table.selectRow(3)
    qtbot.keyClick(table, Qt.Key.Key_Delete)
    assert len(layer.data) == 3


def test_points_on_a_line_are_told(dock) -> None:
    picked(dock, np.array([(2, 1, 1), (3, 2, 2), (5, 3, 3)]))
    state = dock.footer.state
    assert "one line seen from above" in state.text()
    assert not dock.footer.action.isEnabled()


def test_beyond_the_scans_there_is_a_warning(dock) -> None:
    dock.method.set_method("lmmse")
    picked(dock, PLANE + np.array((6, 0, 0)))
    assert dock.footer.action.isEnabled()
    assert "beyond the outer scans" in dock.footer.warnings.text()
    assert dock.footer.warnings.kind == "warning"


def test_layers_that_go_midway_are_no_trouble(qtbot, dock, monkeypatch) -> None:
    layer, real = picked(dock), surfaces.run
    viewer = dock._viewer

    def slow(*args: Any, **options: Any) -> Any:
        tell("waiting", 1, 2)
        return real(*args, **options)

    monkeypatch.setattr(surfaces, "run", slow)
    dock.check()
    with qtbot.waitSignal(dock.ended, timeout=20_000):
        dock.footer.action.click()
        layer.name = "another name"
        for other in list(viewer.layers):
            viewer.layers.remove(other)
    assert [one.name for one in viewer.layers] == ["stack · surface, Linear interpolation"]
    assert dock.footer.state.text() == "Add scans to begin."
    assert dock.surface.layer() is None


def test_cancel_leaves_nothing_behind(qtbot, dock, monkeypatch) -> None:
    def endless(*_args: Any, **_options: Any) -> Any:
        while True:
            tell("working", 1, 3)

    monkeypatch.setattr(surfaces, "run", endless)
    picked(dock)
    before = list(dock._viewer.layers)
    with qtbot.waitSignal(dock.ended, timeout=20_000):
        dock.footer.action.click()
        assert not dock.surface.isEnabled()
        qtbot.waitUntil(lambda: "working" in dock.footer.bar.format())
        dock.footer.cancel.click()
    assert list(dock._viewer.layers) == before
    assert dock.footer.message.text().startswith("Stopped")
    assert dock.surface.isEnabled()


def test_an_unexpected_failure_is_one_sentence(qtbot, dock, monkeypatch) -> None:
    def broken(*_args: Any, **_options: Any) -> Any:
        raise RuntimeError("a cosmic ray\nand more lines")

    monkeypatch.setattr(surfaces, "run", broken)
    picked(dock)
    assert press(qtbot, dock).state == "failed"
    told = dock.footer.message.text()
    assert told.startswith("This failed with an unexpected RuntimeError (a cosmic ray): ")
    assert "please report this sentence, with “engine/surfaces.py, line " in told


def test_the_choices_are_remembered(qtbot, dock, make_surface_dock) -> None:
    dock.in_3d.setChecked(True)
    dock.surface.choose(dock._viewer.add_labels(np.full((24, 32), 4), name="level"))
    press(qtbot, dock)
    again = make_surface_dock()
    assert again.in_3d.isChecked()
    assert again.surface.kind_key() == MAP
    assert again.scan_parts.optics.optics() == OPTICS


def test_in_3d_the_image_lies_on_the_surface(qtbot, dock) -> None:
    dock.in_3d.setChecked(True)
    picked(dock)
    press(qtbot, dock)
    (mesh,) = [layer for layer in dock._viewer.layers if isinstance(layer, Surface)]
    vertices, faces, values = mesh.data
    heights = dock.result.metadata[METADATA_KEY]["heights_um"]
    np.testing.assert_allclose(vertices[:, 0], heights.ravel())
    np.testing.assert_allclose(vertices[33], (heights[1, 1], 1.2, 3.2))
    np.testing.assert_array_equal(values, dock.result.data.ravel())
    assert len(faces) == 2 * 23 * 31
    normal = np.cross(*(vertices[faces[:, i]] - vertices[faces[:, 0]] for i in (1, 2)))
    assert (np.sign(normal[:, 0]) == np.sign(normal[0, 0])).all()


def test_the_dock_in_a_window(make_napari_viewer, make_surface_dock, add_stack, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    dock = make_surface_dock(viewer)
    viewer.window.add_dock_widget(dock, name="Surface", area="right")
    dock.add_layers([add_stack(viewer)])
    dock.set_optics(OPTICS)
    layer = picked(dock)
    viewer.theme = "light"
    assert press(qtbot, dock).state == "done"
    assert viewer.window._qt_window.height() <= 800
    bottom = dock.footer.action.mapTo(dock, dock.footer.action.rect().bottomLeft()).y()
    assert 0 < bottom <= dock.height()
    kinds = (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit)
    for control in [c for kind in kinds for c in dock.findChildren(kind)]:
        if not isinstance(control.parent(), (*kinds, QTableView)):
            assert control.toolTip(), control
            named = control.accessibleName()
            assert named or getattr(control, "text", lambda: "")(), control
    viewer.layers.remove(layer)
    dock.check()
    assert dock.surface.kind_key() == POINTS
    assert "not chosen yet" in dock.footer.state.text()


def test_a_fault_of_a_scan_is_told_and_repaired_by_one_press(qtbot, dock) -> None:
    layer = dock.used()[0].layer
    before = layer.data.copy()
    before[4, 10, 12] = 4000
    layer.data = before.copy()
    dock.set_optics(replace(OPTICS, pixel_um=0.1))
    picked(dock)
    dock.check()
    button = dock.scan_parts.repairs.buttons[0]
    qtbot.waitUntil(lambda: not button.isHidden(), timeout=20_000)
    assert "Single pixels stand out" in dock.footer.warnings.text()
    button.click()
    qtbot.waitUntil(button.isHidden, timeout=20_000)
    replaced = dock.used()[1].layer
    assert replaced is not layer
    around = np.delete(before[4, 9:12, 11:14].ravel(), 4)
    assert replaced.data[0, 10, 12] == pytest.approx(np.median(around))
    np.testing.assert_array_equal(layer.data, before)
    assert "Single pixels" not in dock.footer.warnings.text()
    assert press(qtbot, dock).state == "done"


@pytest.fixture
def hot(make_surface_dock, add_stack) -> SurfaceDock:
    """A dock of which the middle scan, plane 4, has a hot pixel."""
    dock = make_surface_dock()
    layer = add_stack(dock._viewer, scale=(0.5, 0.1, 0.1))
    layer.data[4, 10, 12] = 4000
    dock.add_layers([layer])
    dock.set_optics(replace(OPTICS, pixel_um=0.1))
    picked(dock)
    return dock


def test_two_presses_replace_a_scan_once(qtbot, hot) -> None:
    button, table = hot.scan_parts.repairs.buttons[0], hot.scan_parts.table.scans
    qtbot.waitUntil(lambda: not button.isHidden(), timeout=20_000)
    hot.used()[1].layer.data[4, 3, 3] = 77  # in place, which napari tells nobody
    button.click()
    button.click()
    qtbot.waitUntil(button.isHidden, timeout=20_000)
    assert [row.z_um for row in hot.used()] == [2.5, 4.0, 5.5]
    assert not any(table.problem(row) for row in hot.used())
    assert hot.used()[1].layer.data[0, 3, 3] == 77


def test_another_plane_is_not_replaced_by_what_was_looked_at(qtbot, hot) -> None:
    button, table = hot.scan_parts.repairs.buttons[0], hot.scan_parts.table.scans
    qtbot.waitUntil(lambda: not button.isHidden(), timeout=20_000)
    before = list(hot._viewer.layers)
    button.click()
    assert table.setData(table.index(1, PLANE_COLUMN), "3")
    qtbot.waitUntil(lambda: "No scan was replaced" in hot.footer.message.text(), timeout=20_000)
    assert list(hot._viewer.layers) == before
    assert [row.plane for row in hot.used()] == [1, 3, 7]


def test_without_scans_nothing_can_be_repaired(qtbot, hot) -> None:
    button = hot.scan_parts.repairs.buttons[0]
    qtbot.waitUntil(lambda: not button.isHidden(), timeout=20_000)
    hot.scan_parts.table.scans.remove([0, 1, 2])
    hot.check()
    assert button.isHidden()


def test_single_images_without_a_size_lie_beside_points_in_space(
    qtbot, make_surface_dock, stack
) -> None:
    dock = make_surface_dock()
    viewer = dock._viewer
    dock.add_layers([viewer.add_image(stack[z], name=f"scan_z{z}um") for z in (1, 4, 7)])
    dock.set_optics(OPTICS)
    picked(dock)
    assert press(qtbot, dock).state == "done"
    assert "is ready" in dock.footer.message.text()
    # the middle of 24 × 32 pixels of 0.2 µm
    np.testing.assert_allclose(camera(viewer).center, (0, 2.3, 3.1))
