"""The dock from scans to volume, on a viewer without a window."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from files import MICROMETRES, heights, write_ome
from napari_recurrent_mz import Optics, ZGrid
from napari_recurrent_mz.core import device
from napari_recurrent_mz.core.methods import METHOD_NAMES
from napari_recurrent_mz.docks.compare.dock import CompareDock
from napari_recurrent_mz.docks.files import samples
from napari_recurrent_mz.docks.reconstruct import layout as _layout
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared import method_panel as _method_panel
from napari_recurrent_mz.docks.shared.drop import read_all
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY
from napari_recurrent_mz.docks.shared.places import planes_from_view
from napari_recurrent_mz.docks.shared.scan_table import HEIGHT, rows_of
from napari_recurrent_mz.docks.shared.worker import time_left
from napari_recurrent_mz.engine import cost as costs
from napari_recurrent_mz.engine import inference
from napari_recurrent_mz.engine.recipe import Recipe
from napari_recurrent_mz.engine.voxel_errors import voxel_errors
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import load_model, save_model

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
OPTICS = Optics(na=1.2, wavelength_um=0.5, immersion_index=1.333, pixel_um=0.2)


FINE = ZGrid(2.5, 5.5, 0.25)  # between the scans of the stack, two planes for one of its own


@pytest.fixture
def dock(make_dock, add_stack) -> ReconstructDock:
    """Three scans of the stack (2.5, 4, 5.5 µm), optics given, linear interpolation."""
    dock = make_dock()
    dock.add_layers([add_stack(dock._viewer)])
    dock.set_optics(OPTICS)
    dock.check()
    return dock


class Gate:
    """Stands in for the run: lets a test decide when each plane is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails_at: int | None = None) -> None:
        self.open = threading.Semaphore(0)
        self.closed = threading.Event()
        self.orders: list[tuple[int, ...]] = []
        self._real, self._fails_at = inference.run, fails_at
        monkeypatch.setattr(inference, "run", self._planes)

    def _planes(self, *args: Any, order: Any, **options: Any) -> Iterator[Any]:
        self.orders.append(tuple(order))
        try:
            number = -1
            for event in self._real(*args, order=order, **options):
                if isinstance(event, inference.Plane):
                    number += 1
                    assert self.open.acquire(timeout=10)
                    if number == self._fails_at:
                        raise RuntimeError("a cosmic ray\nand more lines")
                yield event
        finally:
            self.closed.set()

    def let(self, planes: int) -> None:
        self.open.release(planes)


def result_of(dock: ReconstructDock) -> Any:
    assert dock.result is not None
    return dock.result.layer


def step_until(qtbot, dock, planes: int) -> None:
    """Wait for so many planes, and for their layer."""
    qtbot.waitUntil(lambda: dock.result is not None and dock.result.done == planes)
    qtbot.waitUntil(lambda: not planes or result_of(dock) is not None)


def test_an_empty_dock_says_how_to_begin(make_dock) -> None:
    dock = make_dock()
    footer = dock.ui.footer
    assert (footer.state.text(), footer.state.kind) == ("Add scans to begin.", "hint")
    assert not footer.action.isEnabled()
    assert not dock.ui.preview.isEnabled()
    assert not footer.cancel.isEnabled()
    assert "no scan" in footer.action.toolTip()


def test_a_stack_offers_three_planes_right_away(dock) -> None:
    rows = dock.ui.table.scans.rows
    assert [(row.plane, row.z_um) for row in rows] == [(1, 2.5), (4, 4.0), (7, 5.5)]
    assert dock.ui.planes_button.isChecked()
    assert dock.ui.stack.planes.text() == "1, 4, 7"
    assert dock.ui.footer.action.isEnabled()
    assert dock.ui.grid.grid() == ZGrid(2.5, 5.5, 0.5)  # the planes of the stack
    assert dock.ui.grid.cost.text().startswith("7 planes · ")


def test_the_volume_is_a_layer_in_micrometres(dock, stack, run_to_end) -> None:
    source = dock._viewer.layers[0]
    before = source.data.copy()
    dock.set_grid(FINE)
    outcome = run_to_end(dock)
    assert outcome.state == "done"
    layer = result_of(dock)
    grid_um = 2.5 + 0.25 * np.arange(13)
    scans_um, planes = [2.5, 4.0, 5.5], stack[[1, 4, 7]]
    expected = [
        [np.interp(z, scans_um, planes[:, 5, x]) for x in range(planes.shape[2])] for z in grid_um
    ]
    np.testing.assert_allclose(layer.data[:, 5], expected, rtol=1e-5)
    np.testing.assert_allclose(layer.scale, [0.25, 0.2, 0.2])
    np.testing.assert_allclose(layer.translate, [2.5, 1.0, 3.0])
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    assert layer.axis_labels == ("z", "y", "x")
    assert layer.name == "stack · Linear interpolation"
    low, high = layer.contrast_limits
    assert stack.min() <= low < high <= stack.max()
    record = layer.metadata[METADATA_KEY]
    assert record["method"] == "linear"
    assert record["optics"] == OPTICS.as_dict()  # a file of it states its wavelength
    assert record["measured_planes"] == [0, 6, 12]
    assert [scan["z_um"] for scan in record["scans"]] == scans_um
    np.testing.assert_array_equal(source.data, before)
    assert dock.ui.footer.message.kind == "done"


def test_the_plane_in_view_comes_first(dock, qtbot, monkeypatch, run_to_end) -> None:
    gate = Gate(monkeypatch)
    gate.let(100)
    dock.set_grid(FINE)
    dock._viewer.dims.set_point(0, 5.0)
    run_to_end(dock)
    assert gate.orders[0][:5] == (10, 9, 11, 8, 12)
    assert float(dock._viewer.dims.point[0]) == pytest.approx(5.0)


def test_progress_and_buttons_while_it_runs(dock, qtbot, monkeypatch) -> None:
    gate = Gate(monkeypatch)
    footer = dock.ui.footer
    dock.set_grid(FINE)
    footer.action.click()
    gate.let(3)
    step_until(qtbot, dock, 3)
    assert not footer.action.isEnabled()
    assert not dock.ui.table.isEnabled()
    assert footer.cancel.isEnabled()
    assert footer.bar.value() == 3
    assert "plane 3 of 13" in footer.bar.format()
    assert "left" in footer.bar.format()
    with qtbot.waitSignal(dock.ended):
        gate.let(100)
    assert footer.action.isEnabled()
    assert not footer.cancel.isEnabled()


def test_cancel_keeps_the_finished_block_and_nothing_else(dock, qtbot, monkeypatch) -> None:
    gate = Gate(monkeypatch)
    dock.set_grid(FINE)
    dock._viewer.dims.set_point(0, 4.0)
    dock.reconstruct()
    gate.let(5)
    step_until(qtbot, dock, 5)
    with qtbot.waitSignal(dock.ended) as ended:
        dock.cancel()
        gate.let(1)
    assert ended.args[0].state == "cancelled"
    assert gate.closed.wait(5)
    layer = result_of(dock)
    assert layer.data.shape[0] == 5
    assert float(np.asarray(layer.data).min()) > 50  # no empty plane
    np.testing.assert_allclose(layer.translate, [3.5, 1.0, 3.0])
    assert layer.name.endswith("(cancelled: 5 of 13 planes)")
    record = layer.metadata[METADATA_KEY]
    assert record["state"] == "cancelled"
    np.testing.assert_allclose(record["finished_z_um"], [3.5, 3.75, 4.0, 4.25, 4.5])
    assert "5 finished planes are kept" in dock.ui.footer.message.text()


def test_a_limit_of_gpu_memory_is_in_force_before_the_first_plane(
    with_gpu, make_dock, add_stack, monkeypatch, run_to_end
) -> None:
    dock = make_dock(method="lmmse")
    dock.add_layers([add_stack(dock._viewer)])
    dock.set_optics(OPTICS)
    limits = []
    real = inference.run
    monkeypatch.setattr(
        inference,
        "run",
        lambda *args, **options: limits.append(device.gpu_memory_limit()) or real(*args, **options),
    )
    dock.ui.method.memory.setValue(0.3)
    dock.check()
    assert "too little" in dock.ui.footer.state.text()
    assert not dock.ui.footer.action.isEnabled()
    dock.ui.method.memory.setValue(6)
    dock.check()
    assert run_to_end(dock).state == "done"
    assert limits == [6.0]


def test_cancel_before_the_first_plane_leaves_no_layer(dock, qtbot, monkeypatch) -> None:
    gate = Gate(monkeypatch)
    dock.reconstruct()
    with qtbot.waitSignal(dock.ended):
        dock.cancel()
        gate.let(1)
    assert len(dock._viewer.layers) == 1
    assert dock.ui.footer.message.text() == "Cancelled."


def test_the_linear_estimate_is_seen_first_and_nothing_of_it_stays(
    dock, qtbot, monkeypatch, run_to_end
) -> None:
    dock.set_grid(FINE)
    method = "richardson-lucy"
    run_to_end(dock, "preview")
    preview = result_of(dock)
    linear, plane = np.asarray(preview.data).copy(), 7
    dock._viewer.dims.set_point(0, FINE.z_um[plane])
    scans = [row.scan() for row in dock.ui.table.scans.used()]
    expected = inference.reconstruct(scans, FINE, optics=OPTICS, method=method)
    dock.ui.method.set_method(method)
    gate = Gate(monkeypatch)
    dock.reconstruct()
    qtbot.waitUntil(lambda: result_of(dock) is not None)
    draft = result_of(dock).data
    np.testing.assert_array_equal(draft[plane], linear[plane])
    assert not np.any(np.delete(draft, plane, axis=0))
    assert dock.result.done == 0
    with qtbot.waitSignal(dock.ended):
        dock.cancel()
        gate.let(1)
    assert result_of(dock) is None
    assert preview in dock._viewer.layers

    dock.reconstruct()
    gate.let(len(FINE))
    with qtbot.waitSignal(dock.ended, timeout=20_000):
        pass
    np.testing.assert_array_equal(result_of(dock).data, expected)
    assert preview not in dock._viewer.layers


def test_a_failure_is_one_sentence_and_keeps_what_is_finished(
    dock, monkeypatch, run_to_end
) -> None:
    gate = Gate(monkeypatch, fails_at=4)
    gate.let(100)
    assert run_to_end(dock).state == "failed"
    message = dock.ui.footer.message
    assert message.kind == "error"
    assert "RuntimeError (a cosmic ray)" in message.text()
    assert "4 finished planes are kept" in message.text()
    assert result_of(dock).data.shape[0] == 4


def test_removing_the_result_stops_the_run(dock, qtbot, monkeypatch) -> None:
    gate = Gate(monkeypatch)
    dock.reconstruct()
    gate.let(2)
    step_until(qtbot, dock, 2)
    with qtbot.waitSignal(dock.ended) as ended:
        dock._viewer.layers.remove(result_of(dock))
        gate.let(3)
    assert ended.args[0].state == "cancelled"
    assert len(dock._viewer.layers) == 1
    assert "layer was removed" in dock.ui.footer.message.text()


def test_renaming_and_removing_inputs_midway_is_harmless(dock, qtbot, monkeypatch) -> None:
    gate = Gate(monkeypatch)
    dock.reconstruct()
    gate.let(2)
    step_until(qtbot, dock, 2)
    source = dock._viewer.layers[0]
    source.name = "renamed"
    result_of(dock).name = "mine"
    assert dock.ui.table.scans.rows[0].name == "renamed, plane 1"
    dock._viewer.layers.remove(source)
    assert dock.ui.table.scans.rows == []
    with qtbot.waitSignal(dock.ended) as ended:
        gate.let(100)
    assert ended.args[0].state == "done"
    assert result_of(dock).name == "mine"


def test_a_deleted_dock_stops_its_run(dock, qtbot, monkeypatch) -> None:
    gate = Gate(monkeypatch)
    dock.reconstruct()
    gate.let(1)
    step_until(qtbot, dock, 1)
    run = dock.run
    dock.deleteLater()
    qtbot.waitUntil(lambda: run.is_cancelled)
    gate.let(1)
    assert gate.closed.wait(5)
    qtbot.wait(50)
    dock._viewer.layers[0].name = "still alive"
    dock._viewer.layers.clear()


def test_preview_is_linear_mmse_and_gives_way_to_the_next(dock, run_to_end) -> None:
    run_to_end(dock, "preview")
    first = result_of(dock)
    assert first.name == "Preview (Linear MMSE)"
    assert first.metadata[METADATA_KEY]["method"] == "lmmse"
    run_to_end(dock, "preview")
    assert first not in dock._viewer.layers
    assert [layer.name for layer in dock._viewer.layers] == ["stack", "Preview (Linear MMSE)"]
    run_to_end(dock, "reconstruct")
    assert [layer.name for layer in dock._viewer.layers] == [
        "stack",
        "stack · Linear interpolation",
    ]


def test_a_long_preview_leaves_planes_out(dock, monkeypatch, run_to_end) -> None:
    cost = costs.Cost(1.0, 7.0)
    monkeypatch.setattr(costs, "estimate_cost", lambda *_, **__: cost)
    dock.set_grid(ZGrid(2.5, 5.75, 0.25))  # 14 planes
    run_to_end(dock, "preview")
    np.testing.assert_allclose(result_of(dock).scale, [3.25 / 4, 0.2, 0.2])
    assert len(result_of(dock).data) == 5


def test_the_expected_error_of_every_plane_is_shown_before_a_run(
    qtbot, docks, add_stack, monkeypatch
) -> None:
    dock = ReconstructDock(ViewerModel())
    docks.append(dock)
    qtbot.waitUntil(lambda: dock.ui.method.model is not None, timeout=20_000)
    dock.add_layers([add_stack(dock._viewer)])
    assert dock.ui.error.isHidden()  # without optics nothing is known
    dock.set_optics(OPTICS)
    dock.check()
    qtbot.waitUntil(lambda: dock.ui.error.shown is not None, timeout=20_000)
    shown = dock.ui.error.shown
    np.testing.assert_allclose(shown.z_um, 2.5 + 0.5 * np.arange(7))
    assert shown.scans_um == [2.5, 4.0, 5.5]
    assert max(shown.error[[0, 3, 6]]) < 0.5 * min(shown.error[[1, 2, 4, 5]])
    assert re.search(r"the volume, about \d+ MB more while computing", dock.ui.grid.cost.text())
    asked = []
    monkeypatch.setattr(_layout, "_errors", lambda recipe: asked.append(recipe) or shown)
    for _ in range(3):
        dock.check()  # nothing has changed
    dock.ui.optics.fields["na"].set_value(1.1)
    dock.check()
    qtbot.waitUntil(lambda: bool(asked))
    assert [recipe.optics.na for recipe in asked] == [1.1]
    dock.ui.table.scans.rows[1].z_um = None
    dock.check()
    assert dock.ui.error.isHidden()


@pytest.fixture
def make_nucleus():
    """A viewer with the real nucleus in it."""

    def make() -> tuple[ViewerModel, Any]:
        viewer = ViewerModel()
        ((pixels, about, _),) = samples.nucleus_stack()
        return viewer, viewer.add_image(pixels.copy(), **about)

    return make


def test_hot_pixels_are_told_before_a_run(qtbot, docks, add_stack) -> None:
    dock = ReconstructDock(ViewerModel())
    docks.append(dock)
    qtbot.waitUntil(lambda: dock.ui.method.model is not None, timeout=20_000)
    layer = add_stack(dock._viewer, scale=(0.5, 0.1, 0.1))
    layer.data[4, 10, 12] = 4000
    dock.add_layers([layer])
    dock.set_optics(replace(OPTICS, pixel_um=0.1))
    dock.check()
    said = dock.ui.footer.warnings
    qtbot.waitUntil(lambda: "Single pixels stand out in 'stack" in said.text(), timeout=20_000)


def test_hot_pixels_are_replaced_by_one_press_in_new_layers(
    qtbot, docks, add_stack, run_to_end
) -> None:
    viewer = ViewerModel()
    layer = add_stack(viewer, scale=(0.5, 0.1, 0.1))
    layer.data[4, 10, 12] = 4000
    layer.contrast_limits = (0, 4000)
    before = layer.data.copy()
    dock = ReconstructDock(viewer)
    docks.append(dock)
    dock.add_layers([layer])
    dock.set_optics(replace(OPTICS, pixel_um=0.1))
    dock.ui.table.scans.take_stack(layer, rows_of(layer, [1, 4, 7]))
    heights = [row.z_um for row in dock.ui.table.scans.used()]
    qtbot.waitUntil(lambda: not dock.scan_parts.repairs.buttons[0].isHidden(), timeout=20_000)
    dock.scan_parts.repairs.buttons[0].click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2)
    replaced = viewer.layers[-1]
    around = np.delete(before[4, 9:12, 11:14].ravel(), 4)
    assert replaced.data[0, 10, 12] == pytest.approx(np.median(around))
    assert (replaced.data[0] != before[4]).sum() == 1
    assert replaced.contrast_limits[1] == pytest.approx(replaced.data.max())
    assert replaced.metadata[METADATA_KEY]["prepared"] == [{"task": "hot pixels", "replaced": 1}]
    np.testing.assert_array_equal(layer.data, before)
    used = dock.ui.table.scans.used()
    assert [row.z_um for row in used] == heights
    assert [row.layer for row in used] == [layer, replaced, layer]
    assert float(replaced.translate[0]) == pytest.approx(4.0)
    qtbot.waitUntil(dock.scan_parts.repairs.buttons[0].isHidden, timeout=20_000)
    dock.ui.method.set_method("linear")
    assert run_to_end(dock).state == "done"
    dock.copy_methods()
    assert "hot pixels were replaced" in QApplication.clipboard().text()
    dock.ui.table.scans.undo()
    assert [row.plane for row in dock.ui.table.scans.used()] == [1, 4, 7]


def test_a_scan_that_is_removed_while_it_is_repaired_comes_not_back(
    qtbot, docks, add_stack
) -> None:
    viewer = ViewerModel()
    layer = add_stack(viewer, scale=(0.5, 0.1, 0.1))
    layer.data[4, 10, 12] = 4000
    dock = ReconstructDock(viewer)
    docks.append(dock)
    dock.add_layers([layer])
    dock.set_optics(replace(OPTICS, pixel_um=0.1))
    qtbot.waitUntil(lambda: not dock.scan_parts.repairs.buttons[0].isHidden(), timeout=20_000)
    dock.scan_parts.repairs.buttons[0].click()
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: "No scan was replaced" in dock.ui.footer.message.text(), timeout=20_000)
    assert len(viewer.layers) == 0
    assert dock.ui.table.scans.rows == []


def nucleus_scans(docks, make_nucleus, planes) -> tuple[ViewerModel, Any, ReconstructDock]:
    """A dock with some planes of the real nucleus in its table."""
    viewer, layer = make_nucleus()
    dock = ReconstructDock(viewer)
    docks.append(dock)
    dock.add_layers([layer])
    dock.ui.table.scans.take_stack(layer, rows_of(layer, planes))
    return viewer, layer, dock


def test_heights_that_seem_exchanged_are_told_of_images_but_not_of_planes_of_one_stack(
    qtbot, docks, make_nucleus
) -> None:
    viewer, layer, dock = nucleus_scans(docks, make_nucleus, [14, 17, 20])
    layer.data[[14, 17]] = layer.data[[17, 14]]
    layer.data[17] = 600 + 0.7 * (layer.data[17] - 600.0)  # told once scans were looked at
    said, table = dock.ui.footer.warnings, dock.ui.table.scans
    dock.check()
    qtbot.waitUntil(lambda: "% less light in" in said.text(), timeout=20_000)
    assert "exchanged" not in said.text()
    heights = [row.z_um for row in table.used()]
    optics = dock.ui.optics.optics()
    table.remove([0, 1, 2])
    images = [viewer.add_image(layer.data[p], scale=layer.scale[1:], units="um", name=f"{p}")
              for p in (14, 17, 20)]  # fmt: skip
    dock.add_layers(images)
    for number, z_um in enumerate(heights):
        table.setData(table.index(number, HEIGHT), f"{z_um:g}")
    dock.set_optics(optics)
    qtbot.waitUntil(lambda: "exchanged" in said.text(), timeout=20_000)


def test_light_is_evened_out_by_one_press_in_a_new_layer(qtbot, docks, make_nucleus) -> None:
    viewer, layer, dock = nucleus_scans(docks, make_nucleus, [14, 17, 20])
    before = layer.data.copy()
    layer.data[17] = 600 + 0.7 * (layer.data[17] - 600.0)
    dimmed = layer.data[17].copy()
    dock.check()
    qtbot.waitUntil(lambda: not dock.scan_parts.repairs.buttons[1].isHidden(), timeout=20_000)
    assert "% less light in" in dock.ui.footer.warnings.text()
    dock.scan_parts.repairs.buttons[1].click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2)
    evened = viewer.layers[-1]
    off = np.abs(evened.data[0] - before[17]).mean()
    assert off < 0.2 * np.abs(dimmed - before[17].astype(float)).mean()
    assert evened.metadata[METADATA_KEY]["prepared"][-1]["task"] == "even light"
    np.testing.assert_array_equal(layer.data[17], dimmed)
    assert [row.layer for row in dock.ui.table.scans.used()] == [layer, evened, layer]
    qtbot.waitUntil(dock.scan_parts.repairs.buttons[1].isHidden, timeout=20_000)


def test_a_scan_beside_the_others_is_shifted_back_by_one_press(qtbot, docks, make_nucleus) -> None:
    viewer, layer, dock = nucleus_scans(docks, make_nucleus, [14, 18, 22])
    before = layer.data.copy()
    layer.data[18] = np.roll(before[18], 3, axis=1)
    beside = layer.data[18].copy()
    dock.check()
    qtbot.waitUntil(lambda: not dock.scan_parts.repairs.buttons[2].isHidden(), timeout=20_000)
    assert "To the side of the others" in dock.ui.footer.warnings.text()
    dock.scan_parts.repairs.buttons[2].click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2)
    in_line = viewer.layers[-1]
    inner = (slice(12, -12),) * 2
    off = np.abs(in_line.data[0] - before[18].astype(float))[inner].mean()
    assert off < 0.3 * np.abs(beside - before[18].astype(float))[inner].mean()
    assert in_line.metadata[METADATA_KEY]["prepared"][-1]["task"] == "shift"
    np.testing.assert_array_equal(layer.data[18], beside)
    qtbot.waitUntil(dock.scan_parts.repairs.buttons[2].isHidden, timeout=20_000)


def test_interpolation_is_put_beside_the_volume_by_one_press(dock, run_to_end) -> None:
    dock.ui.interpolation.click()
    assert "no finished volume" in dock.ui.footer.message.text()
    dock.set_grid(FINE)
    dock.ui.method.set_method("lmmse")
    run_to_end(dock)
    assert "in 3 of 13 planes; least is known at z = 3.25 µm" in dock.ui.footer.message.text()
    volume = result_of(dock)
    run_to_end(dock, "interpolation")
    linear = dock._viewer.layers[-1]
    scans = [row.scan() for row in dock.ui.table.scans.used()]
    expected = inference.reconstruct(scans, FINE, method="linear")
    np.testing.assert_array_equal(linear.data, expected)
    assert linear.metadata[METADATA_KEY]["method"] == "linear"
    np.testing.assert_allclose(linear.scale, volume.scale)
    np.testing.assert_allclose(linear.translate, volume.translate)
    assert dock.ui.save.layers == [volume]


def test_errors_of_voxels_are_put_beside_the_volume_by_one_press(dock, qtbot, run_to_end) -> None:
    dock.ui.errors.click()
    assert "no finished volume" in dock.ui.footer.message.text()
    run_to_end(dock)
    dock.ui.errors.click()
    assert "not known for Linear interpolation" in dock.ui.footer.message.text()
    dock.ui.method.set_method("lmmse")
    run_to_end(dock)
    volume = result_of(dock)
    with qtbot.waitSignal(dock.ended, timeout=30_000):
        dock.ui.errors.click()
        assert not dock.ui.footer.action.isEnabled()
    errors = dock._viewer.layers[-1]
    assert errors.name == f"{volume.name} · error"
    scans = [row.scan() for row in dock.ui.table.scans.used()]
    recipe = Recipe(scans, dock.ui.grid.grid(), OPTICS, "lmmse")
    np.testing.assert_allclose(errors.data, [*voxel_errors(recipe, volume.data)], rtol=1e-4)
    np.testing.assert_allclose(errors.scale, volume.scale)
    np.testing.assert_allclose(errors.translate, volume.translate)
    assert errors.metadata[METADATA_KEY]["image"].startswith("expected error")
    assert dock.ui.footer.message.text().startswith(f"“{errors.name}” is ready after")
    assert "noise alone" in dock.ui.footer.message.text()  # of planes that are scans
    assert errors.colormap.map(0.0).ravel()[:3].max() > 0.2  # no black, as where nothing is
    assert dock.ui.footer.action.isEnabled()
    volume.data = volume.data[:3]
    with qtbot.waitSignal(dock.ended, timeout=30_000):
        dock.ui.errors.click()
    assert "but its recipe makes" in dock.ui.footer.message.text()


def test_errors_of_voxels_are_not_compared_as_a_volume_is(dock, docks, run_to_end) -> None:
    docks.append(compare := CompareDock(dock._viewer))
    dock.ui.method.set_method("lmmse")
    run_to_end(dock)
    volume = result_of(dock)
    run_to_end(dock, "errors")
    assert "error" in dock._viewer.layers[-1].name
    assert compare.layers.ticked() == [volume]


def test_errors_that_are_stopped_leave_the_volume_alone(dock, qtbot, run_to_end) -> None:
    dock.ui.method.set_method("lmmse")
    run_to_end(dock)
    layers = list(dock._viewer.layers)
    with qtbot.waitSignal(dock.ended, timeout=30_000):
        dock.ui.errors.click()
        dock.ui.footer.cancel.click()
    assert list(dock._viewer.layers) == layers
    assert dock.ui.footer.message.text() == "Cancelled."
    assert dock.ui.save.layers == layers[-1:]


def test_how_the_volume_was_made_is_copied_as_a_paragraph(dock, run_to_end) -> None:
    dock.ui.methods_text.click()
    assert dock.footer.message.text().startswith("There is no finished volume yet: ")
    run_to_end(dock)
    dock.ui.methods_text.click()
    text = QApplication.clipboard().text()
    assert "A volume of 7 planes from 2.5 to 5.5 µm, 0.5 µm apart" in text
    assert "from 3 wide-field images at z = 2.5, 4 and 5.5 µm by linear interpolation" in text
    assert "Of the 7 planes, 3 are images as measured; the other planes are inferred." in text


def add_deep_stack(dock: ReconstructDock) -> None:
    """Forty planes, half a micrometre apart."""
    deep = np.random.default_rng(1).normal(100, 5, (40, 24, 32)).astype(np.float32)
    place = {"units": ("um", "um", "um"), "axis_labels": ("z", "y", "x")}
    dock.add_layers([dock._viewer.add_image(deep, scale=(0.5, 0.2, 0.2), **place)])


def test_planes_that_were_suggested_follow_the_optics_until_a_person_chooses(make_dock) -> None:
    dock = make_dock()
    add_deep_stack(dock)
    scans = dock.ui.table.scans
    assert len(scans.rows) == 3
    dock.set_optics(OPTICS)
    assert [row.plane for row in scans.rows] == [4, 12, 20, 28, 36]
    assert "are the scans now, for this depth of field" in dock.ui.footer.message.text()
    dock.set_optics(replace(OPTICS, na=0.3))
    assert [row.plane for row in scans.rows] == [6, 20, 33]
    for change in (lambda: scans.remove([1]), lambda: scans.setData(scans.index(0, 2), "3.3")):
        change()
        chosen = [(row.plane, row.z_um) for row in scans.rows]
        dock.set_optics(OPTICS)
        assert [(row.plane, row.z_um) for row in scans.rows] == chosen
        scans.undo()
        dock.set_optics(replace(OPTICS, na=0.3))


def test_a_deep_stack_offers_as_many_planes_as_leave_no_wide_gap(make_dock, add_stack) -> None:
    dock = make_dock()
    dock.set_optics(OPTICS)  # the depth of field is 0.46 µm
    add_deep_stack(dock)
    assert [row.plane for row in dock.ui.table.scans.rows] == [4, 12, 20, 28, 36]
    assert dock.ui.footer.message.text().startswith("Five planes of ")
    dock.check()
    assert "would leave no gap" not in dock.ui.footer.warnings.text()
    dock.ui.table.scans.remove([2])
    dock.check()
    assert "17 depths of field apart" in dock.ui.footer.warnings.text()


def test_the_result_is_not_offered_as_a_stack(dock, run_to_end) -> None:
    run_to_end(dock)
    assert [layer.name for layer in dock._stacks()] == ["stack"]


def one_scan(viewer, dock, layer) -> None:
    dock.ui.table.scans.remove([1, 2])


def no_height(viewer, dock, layer) -> None:
    dock.ui.table.scans.rows[1].z_um = None


def same_height(viewer, dock, layer) -> None:
    dock.ui.table.scans.rows[1].z_um = 2.5


def nan_pixel(viewer, dock, layer) -> None:
    layer.data[4, 3, 3] = np.nan
    layer.data = layer.data


def constant(viewer, dock, layer) -> None:
    layer.data[4] = 7
    layer.data = layer.data


def other_shape(viewer, dock, layer) -> None:
    other = np.random.default_rng(1).normal(size=(1, 20, 32))
    about = {"scale": (1, 0.2, 0.2), "translate": (9, 0, 0), "units": ("um",) * 3}
    dock.add_layers([viewer.add_image(other, name="small", **about)])


def other_pixel(viewer, dock, layer) -> None:
    other = np.random.default_rng(1).normal(size=(1, 24, 32))
    about = {"scale": (1, 0.3, 0.3), "translate": (9, 0, 0), "units": ("um",) * 3}
    dock.add_layers([viewer.add_image(other, name="coarse", **about)])


def no_pixel_size(viewer, dock, layer) -> None:
    dock.ui.optics.fields["pixel_um"].clear()


def backwards(viewer, dock, layer) -> None:
    dock.ui.grid.start.setText("9")


def too_large(viewer, dock, layer) -> None:
    dock.ui.grid.step.setText("0.001")
    dock.patch.setattr(device, "memory_bytes", lambda: 1_000_000)


def no_step(viewer, dock, layer) -> None:
    dock.ui.grid.step.setText("0")


def a_million(viewer, dock, layer) -> None:
    dock.ui.grid.step.setText("0.000003")


def in_nm(viewer, dock, layer) -> None:
    for row in dock.ui.table.scans.rows:
        row.z_um *= 1000
    dock.set_grid(ZGrid(2500, 5500, 100))


def empty_grid(viewer, dock, layer) -> None:
    dock.ui.grid.stop.clear()


def no_na(viewer, dock, layer) -> None:
    dock.ui.method.set_method("lmmse")
    dock.ui.optics.fields["na"].clear()


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (one_scan, "One scan only, 'stack, plane 1'"),
        (no_height, "z position of 'stack, plane 4' is missing"),
        (same_height, "are both at z = 2.5 µm"),
        (nan_pixel, "'stack, plane 4' has 1 pixel that is NaN"),
        (constant, "'stack, plane 4' is constant"),
        (other_shape, "'small' is 20 × 32 pixels"),
        (other_pixel, "differ in pixel size"),
        (no_pixel_size, "pixel size is missing"),
        (backwards, "runs backwards"),
        (too_large, "of memory for it: use a larger step"),
        (no_step, "must be above 0"),
        (a_million, "planes, more than"),
        (in_nm, "depths of field apart, and nothing can be known between them"),
        (empty_grid, "stop of the target grid is missing"),
        (no_na, "numerical aperture (NA) is missing"),
    ],
)
def test_each_mistake_has_its_sentence(dock, mistake, words, monkeypatch) -> None:
    dock.patch = monkeypatch
    mistake(dock._viewer, dock, dock._viewer.layers[0])
    dock.check()
    assert words in dock.ui.footer.state.text()
    assert not dock.ui.footer.action.isEnabled()
    assert dock.ui.footer.action.toolTip() == dock.ui.footer.state.text()
    dock.reconstruct()  # as the shortcut would
    assert dock.run is None
    assert words in dock.ui.footer.message.text()


@pytest.mark.parametrize(
    ("add", "words"),
    [
        (lambda v: v.add_labels(np.zeros((24, 32), int), name="masks"), "'masks' is a Labels"),
        (lambda v: v.add_image(np.zeros((40, 40, 3), np.uint8), name="photo"), "RGB"),
        (lambda v: v.add_image(np.eye(24, 32) > 0, name="cells"), "'cells' holds .* bool"),
        (lambda v: v.add_image(np.zeros((2, 3, 24, 32)), name="film"), "4 dimensions"),
    ],
)
def test_selected_layers_that_cannot_be_scans(make_dock, add, words) -> None:
    dock = make_dock()
    layer = add(dock._viewer)
    dock._viewer.layers.selection = {layer}
    dock.ui.add_button.click()
    assert re.search(words, dock.ui.footer.message.text())
    assert dock.ui.footer.message.kind == "error"
    assert dock.ui.table.scans.rows == []


def test_nothing_selected_is_said(make_dock) -> None:
    dock = make_dock()
    dock.ui.add_button.click()
    assert "No layer is selected" in dock.ui.footer.message.text()


def test_an_answer_goes_once_things_have_changed(make_dock, add_stack) -> None:
    dock = make_dock()
    dock.ui.add_button.click()
    assert dock.ui.footer.message.text()
    layer = add_stack(dock._viewer)
    dock.ui.table.scans.add(rows_of(layer, [0, 4]))
    assert dock.ui.footer.message.text() == ""


def test_what_is_selected_when_the_dock_opens_is_used(make_dock, add_stack) -> None:
    viewer = ViewerModel()
    layer = add_stack(viewer)
    viewer.add_labels(np.zeros((24, 32), int))
    viewer.layers.select_all()
    dock = make_dock(viewer)
    assert [row.layer for row in dock.ui.table.scans.rows] == [layer] * 3
    assert dock.ui.footer.message.kind == "hint"


def add_scan(viewer: ViewerModel, z_um: float, shape: tuple[int, int] = (24, 32)) -> Any:
    place = {"scale": (0.2,) * 3, "translate": (z_um, 0, 0), "units": ("um",) * 3}
    return viewer.add_image(np.full((1, *shape), z_um + 1), name=f"z={z_um}µm", **place)


@pytest.mark.parametrize("z_um", [3.0, 2.0])
def test_of_scans_that_came_at_once_all_are_taken_though_one_is_selected(make_dock, z_um) -> None:
    """Unless that is a guess: two are at one height, as those of two channels."""
    viewer = ViewerModel()
    scans = [add_scan(viewer, z) for z in (1.0, 2.0, z_um)]
    add_scan(viewer, 5.0, (48, 64))
    viewer.layers.selection = {scans[-1]}
    taken = [row.layer for row in make_dock(viewer).ui.table.scans.rows]
    assert taken == (scans if z_um == 3.0 else scans[-1:])


def test_planes_of_a_stack_are_put_in_place_of_the_suggested(dock) -> None:
    dock.ui.stack.planes.setText("0, 8")
    dock.ui.stack.use.click()
    assert [row.plane for row in dock.ui.table.scans.rows] == [0, 8]
    dock.ui.stack.planes.setText("0, 9")
    dock.ui.stack.use.click()
    assert "'9' is not a plane of this stack" in dock.ui.footer.message.text()
    assert [row.plane for row in dock.ui.table.scans.rows] == [0, 8]


def test_a_second_stack_takes_the_place_of_the_first(dock, add_stack) -> None:
    dock.add_layers([add_stack(dock._viewer, name="other")])
    rows = dock.ui.table.scans.rows
    assert sorted((row.layer.name, row.use) for row in rows) == [
        *[("other", True)] * 3,
        *[("stack", False)] * 3,
    ]
    assert "scans before are unticked" in dock.ui.footer.message.text()
    dock.check()
    assert dock.ui.footer.action.isEnabled()


def test_a_stack_without_sizes_asks_for_its_z_step(make_dock, stack) -> None:
    dock = make_dock()
    dock.add_layers([dock._viewer.add_image(stack, name="bare")])
    assert "type the z-step below the table" in dock.ui.footer.message.text()
    dock.ui.stack.step.setText("0.5")
    dock.ui.stack.step.returnPressed.emit()
    assert [row.z_um for row in dock.ui.table.scans.rows] == [0.5, 2.0, 3.5]


def test_a_stack_of_oblong_pixels_is_refused(make_dock, add_stack) -> None:
    dock = make_dock()
    layer = add_stack(dock._viewer, scale=(0.5, 0.2, 0.3))
    dock.add_layers([layer])
    assert "0.2 × 0.3 µm" in dock.ui.footer.message.text()
    dock.ui.planes_button.setChecked(True)
    dock.ui.stack.use.click()
    assert "0.2 × 0.3 µm" in dock.ui.footer.message.text()
    assert dock.ui.table.scans.rows == []


def test_two_dimensional_layers_take_their_height_from_their_name(make_dock, stack) -> None:
    dock = make_dock()
    for plane, z in ((0, "0.5"), (4, "2.5")):
        dock._viewer.add_image(stack[plane], name=f"cell_z{z}um", scale=(0.2, 0.2))
    dock._viewer.layers.select_all()
    dock.ui.add_button.click()
    dock.check()
    assert [row.z_um for row in dock.ui.table.scans.rows] == [0.5, 2.5]
    assert dock.ui.optics.fields["pixel_um"].value() == pytest.approx(0.2)
    assert dock.ui.footer.action.isEnabled()


def test_scans_without_size_are_told_to_be_in_pixels(make_dock, stack, run_to_end) -> None:
    dock = make_dock()
    scans = [dock._viewer.add_image(stack[p], name=f"cell_z{z}um") for p, z in ((0, 1), (4, 2))]
    dock.add_layers(scans)
    dock.ui.optics.set_values({"pixel_um": 0.2}, "typed")
    dock.check()
    run_to_end(dock)
    assert "drawn in pixels, not µm: hide them" in dock.ui.footer.message.text()
    assert all(layer.visible for layer in scans)  # the user's own layers stay as they are


def write_scan(path, pixels, **sizes) -> None:
    tifffile.imwrite(
        path,
        pixels.astype(np.uint16),
        imagej=True,
        resolution=(5.0, 5.0),
        metadata={"unit": "um", "axes": "YX"},
    )


def test_dropped_tiffs_become_layers_in_um_and_scans(make_dock, qtbot, stack, tmp_path) -> None:
    dock = make_dock()
    for plane, z in ((0, 2), (4, 4.5), (8, 7)):
        write_scan(tmp_path / f"cell_z{z}um.tif", stack[plane])
    (tmp_path / "notes.tif").write_text("no image")
    dock.drop(sorted(tmp_path.glob("*.tif")))
    qtbot.waitUntil(lambda: len(dock.ui.table.scans.rows) == 3)
    assert [row.z_um for row in dock.ui.table.scans.rows] == [2, 4.5, 7]
    for layer, z in zip(dock._viewer.layers, (2, 4.5, 7), strict=True):
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
        np.testing.assert_allclose(layer.translate, [z, 0, 0])
        np.testing.assert_allclose(layer.scale[1:], 0.2, rtol=1e-4)
    assert "notes.tif" in dock.ui.footer.message.text()
    dock.check()
    assert dock.ui.footer.action.isEnabled()


def test_a_torn_file_in_a_dropped_folder_leaves_the_others(qtbot, make_dock, tmp_path) -> None:
    rng = np.random.default_rng(0)
    for z in range(4):
        tifffile.imwrite(tmp_path / f"z{z}um.tif", rng.normal(100, 5, (24, 32)).astype(np.float32))
    torn = tmp_path / "z1um.tif"
    torn.write_bytes(torn.read_bytes()[:300])
    dock = make_dock()
    dock.drop([tmp_path])
    qtbot.waitUntil(lambda: "'z1um.tif' is damaged" in dock.ui.footer.message.text())
    assert [row.z_um for row in dock.used()] == [0, 2, 3]
    images, sentences = read_all([tmp_path, tmp_path / "gone"])
    assert [image.name for image in images] == ["z0um.tif", "z2um.tif", "z3um.tif"]
    assert len(sentences) == 2


def test_a_dropped_stack_brings_its_metadata(make_dock, qtbot, stack, tmp_path) -> None:
    about = {
        "axes": "ZYX",
        "PhysicalSizeX": 0.2,
        "PhysicalSizeY": 0.2,
        "PhysicalSizeZ": 0.5,
        **{f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"},
    }
    tifffile.imwrite(tmp_path / "cell.ome.tif", stack.astype(np.uint16), metadata=about)
    dock = make_dock()
    dock.drop([tmp_path / "cell.ome.tif"])
    qtbot.waitUntil(lambda: len(dock.ui.table.scans.rows) == 3)
    assert [row.z_um for row in dock.ui.table.scans.rows] == [0.5, 2.0, 3.5]
    assert dock.ui.optics.fields["pixel_um"].value() == pytest.approx(0.2)
    assert not dock.ui.stack.isHidden()


def test_each_position_of_a_dropped_file_becomes_a_layer(make_dock, qtbot, stack, tmp_path) -> None:
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for rows in (24, 20):
            pixels = stack[:, :rows].astype(np.uint16)
            tif.write(pixels, photometric="minisblack", metadata={"axes": "ZYX", **MICROMETRES})
    dock = make_dock()
    dock.drop([path])
    qtbot.waitUntil(lambda: len(dock._viewer.layers) == 2)
    assert [layer.data.shape[1] for layer in dock._viewer.layers] == [24, 20]
    assert dock.ui.stack.stack.count() == 2


def test_a_drop_says_what_the_file_contradicts(make_dock, qtbot, stack, tmp_path) -> None:
    told = heights(0.0004 * np.arange(len(stack)))
    path = write_ome(tmp_path / "cell.ome.tif", stack.astype(np.uint16), **told)
    dock = make_dock()
    dock.drop([path])
    qtbot.waitUntil(lambda: len(dock.ui.table.scans.rows) == 3)
    assert [row.z_um for row in dock.ui.table.scans.rows] == [None] * 3
    assert "0.0004 µm apart, but its OME PhysicalSizeZ is 0.4 µm" in dock.ui.footer.message.text()


@pytest.mark.parametrize(
    ("file", "planes", "pixel_um", "step_um"),
    [
        ("celegans-embryo-fitc-widefield", 104, 0.0645, 0.16),
        ("nucleus-hoechst-widefield", 45, 0.5119, 0.4994),
        ("bead-560nm-widefield", 101, 0.1019, 0.1),
        ("bead-520nm-na0.85-widefield", 25, 0.13, 0.3),
    ],
)
def test_a_real_stack_is_dropped_and_ready(make_dock, qtbot, file, planes, pixel_um, step_um):
    path = DATA / f"{file}.ome.tif"
    if not path.exists():
        pytest.skip("the real stacks are not here")
    dock = make_dock()
    dock.drop([path])
    qtbot.waitUntil(lambda: len(dock.ui.table.scans.rows) == 3, timeout=20_000)
    dock.check()
    thirds = [int((k + 0.5) * planes / 3) for k in range(3)]
    heights = [row.z_um for row in dock.ui.table.scans.rows]
    np.testing.assert_allclose(heights, np.multiply(thirds, step_um), rtol=1e-3)
    assert dock.ui.optics.fields["pixel_um"].value() == pytest.approx(pixel_um, rel=1e-3)
    assert dock._viewer.layers[0].data.shape[0] == planes
    assert dock.ui.footer.action.isEnabled()


def test_what_the_network_was_not_trained_for_is_said(dock, monkeypatch) -> None:
    monkeypatch.setattr(inference, "range_warnings", lambda *_: ["The NA is new to it."])
    dock.ui.method.set_method("recurrent-mz")
    dock.check()
    assert dock.ui.footer.warnings.text() == "⚠ The NA is new to it."
    assert dock.ui.footer.action.isEnabled()


def test_a_model_for_confocal_images_names_its_result_so(
    dock, qtbot, monkeypatch, tmp_path, run_to_end
) -> None:
    config = NetworkConfig(base_channels=2, levels=2, norm="none", target="confocal")
    save_model(RecurrentMZ(config), {}, tmp_path / "plus.safetensors")
    panel = dock.ui.method
    monkeypatch.setattr(_method_panel, "model_named", load_model)
    panel.open_model(str(tmp_path / "plus.safetensors"))
    qtbot.waitUntil(lambda: panel.model is not None and panel.model.name == "plus")
    panel.set_method("recurrent-mz")
    run_to_end(dock)
    layer = result_of(dock)
    assert layer.name == "stack · Recurrent-MZ (confocal-like)"
    record = layer.metadata[METADATA_KEY]
    assert record["image"].startswith("confocal-like")
    assert record["measured_planes"] == []


def test_a_pixel_size_unlike_the_layers_is_said_and_used(dock, run_to_end) -> None:
    dock.ui.optics.fields["pixel_um"].set_value(0.25)
    dock.check()
    assert "0.25 µm here but 0.2 µm in layer 'stack'" in dock.ui.footer.warnings.text()
    run_to_end(dock)
    np.testing.assert_allclose(result_of(dock).scale[1:], 0.25)


def test_scans_that_lie_apart_are_said(dock, add_stack) -> None:
    other = add_stack(dock._viewer, name="beside", translate=(20.0, 9.0, 3.0))
    dock.ui.table.scans.add(rows_of(other, [0]))
    dock.check()
    assert "different places in x and y" in dock.ui.footer.warnings.text()
    assert dock.ui.footer.action.isEnabled()


def test_the_dock_offers_the_methods_for_use_and_not_those_for_comparison(dock) -> None:
    combo = dock.ui.method.method
    offered = {combo.itemData(n): combo.itemText(n) for n in range(combo.count())}
    assert {"recurrent-mz", "lmmse", "richardson-lucy", "linear", "pchip"} <= set(offered)
    assert not {"deep-z", "unet-3d"} & set(offered)
    assert offered.items() <= METHOD_NAMES.items()


def test_the_done_planes_are_one_block_from_the_first() -> None:
    order = planes_from_view(ViewerModel(), ZGrid(0, 9, 1))  # which shows no plane
    assert sorted(order) == list(range(10))
    for done in range(1, 11):
        assert max(order[:done]) - min(order[:done]) == done - 1
        assert 5 in order[:done]


def test_time_left_leaves_the_first_plane_out() -> None:
    assert time_left(8.0, 8.0, 1, 10) is None
    assert time_left(12.0, 8.0, 5, 10) == pytest.approx(5.0)


def test_message_labels_follow_the_theme(make_dock) -> None:
    viewer = ViewerModel()
    dock = make_dock(viewer)
    viewer.theme = "dark"
    dark = dock.ui.footer.state.styleSheet()
    viewer.theme = "light"
    assert dock.ui.footer.state.styleSheet() != dark


def test_a_run_rests_while_its_layer_comes(dock, qtbot, monkeypatch) -> None:
    """While the window takes its turns nobody is at work, and all planes come afterwards."""
    gate = Gate(monkeypatch)
    rests: list[bool] = []

    def taken(is_on: bool) -> None:
        if is_on:
            gate.let(20)
            dock._turns.add(lambda: rests.append(dock.rest.is_taken))

    dock.reconstruct()
    dock._turns.changed.connect(taken)
    gate.let(1)
    with qtbot.waitSignal(dock.ended, timeout=20_000) as ended:
        pass
    assert ended.args[0].state == "done"
    assert rests == [True]
    assert dock.result.done == result_of(dock).data.shape[0]
