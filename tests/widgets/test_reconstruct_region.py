"""A part of the field, drawn over the scans: that alone is reconstructed, where it lies."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers.shapes._shapes_mouse_bindings import select
from scipy.ndimage import gaussian_filter

from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY
from napari_recurrent_mz.io import read_image

N, STEP_UM, PIXEL_UM, PLACE_UM = 9, 0.5, 0.16, (4.0, -2.0)
NOISE = np.random.default_rng(4).random((2, N, 200, 240))
STACKS = (300 + 4000 * gaussian_filter(NOISE, (0, 1, 2, 2))).astype(np.uint16)
IN_UM: dict[str, Any] = {
    "scale": (STEP_UM, PIXEL_UM, PIXEL_UM),
    "translate": (0.0, *PLACE_UM),
    "units": ("um",) * 3,
    "axis_labels": ("z", "y", "x"),
}


@pytest.fixture
def dock(make_dock: Any) -> ReconstructDock:
    dock = make_dock(ViewerModel(), "linear")
    dock.add_layers([dock._viewer.add_image(STACKS[0], name="cell", **IN_UM)])
    dock.check()
    return dock  # type: ignore[no-any-return]


def draw(dock: ReconstructDock, rows: tuple[float, float], columns: tuple[float, float]) -> Any:
    """Press the button, and move the corners to these pixels."""
    dock.ui.region.draw_button.click()
    layer = dock.ui.region.choice.layer()
    (top, bottom), (left, right) = rows, columns
    corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]]) - 0.5
    layer.data = [corners]
    dock.check()
    return layer


def volumes(dock: ReconstructDock) -> list[Image]:
    made = [one for one in dock._viewer.layers if "grid" in one.metadata.get(METADATA_KEY, {})]
    return [one for one in made if isinstance(one, Image)]


def test_what_is_drawn_is_reconstructed_where_it_lies(dock: Any, run_to_end: Any) -> None:
    run_to_end(dock)
    (whole,) = volumes(dock)
    draw(dock, (40, 140), (60, 180))
    assert dock.ui.grid.cost.text().startswith("100 × 120 pixels, ")
    run_to_end(dock)
    part = volumes(dock)[1]
    np.testing.assert_array_equal(part.data, whole.data[:, 40:140, 60:180])
    expected = np.add(PLACE_UM, np.multiply((40, 60), PIXEL_UM))
    np.testing.assert_allclose(part.translate[1:], expected, rtol=1e-9)
    assert part.metadata[METADATA_KEY]["region"] == {"rows": (40, 140), "columns": (60, 180)}


def test_a_new_rectangle_is_the_middle_of_the_field(dock: Any) -> None:
    dock.ui.region.draw_button.click()
    layer = dock._viewer.layers[-1]
    assert layer.name == "Region"
    dock._viewer.layers.selection.active = dock._viewer.layers[0]
    dock.ui.region.draw_button.click()  # again: it is taken up, and stays the only one
    assert len(dock._viewer.layers) == 2
    assert dock._viewer.layers.selection.active is layer
    assert str(dock.ui.region.region(dock._viewer.layers[0])) == "50:150,60:180"
    dock._viewer.layers.remove(layer)
    assert dock.ui.region.region(dock._viewer.layers[0]) is None
    dock.check()
    assert dock.footer.action.isEnabled()


def test_the_cost_follows_the_mouse(dock: Any, qtbot: Any) -> None:
    layer = draw(dock, (40, 140), (60, 180))
    viewer = dock._viewer
    event = SimpleNamespace(
        position=layer.data_to_world((90.0, 120.0)), view_direction=None, up_direction=None,
        dims_displayed=[0, 1], type="mouse_press", is_dragging=False, modifiers=(), button=1,
        pos=(0, 0), dims_point=viewer.dims.point,
    )  # fmt: skip
    drag = select(layer, event)
    next(drag)
    event.type, event.is_dragging = "mouse_move", True
    event.position = layer.data_to_world((190.0, 120.0))
    next(drag)
    event.type = "mouse_release"
    next(drag, None)
    qtbot.waitUntil(lambda: dock.ui.grid.cost.text().startswith("60 × 120 pixels"))


def test_all_that_is_drawn_counts_and_what_lies_outside_is_cut_off(dock: Any) -> None:
    layer = draw(dock, (-30, 40), (10, 60))
    layer.add([[99.7, 200], [100, 300], [119.7, 300], [119, 200]], shape_type="polygon")
    assert str(dock.ui.region.region(dock._viewer.layers[0])) == "0:120,10:240"


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [((0, 10), (0, 90), "covers 10 × 90 pixels"), ((300, 400), (0, 90), "covers 0 × 90 pixels")],
)
def test_what_is_too_small_is_told(dock: Any, rows: Any, columns: Any, words: str) -> None:
    draw(dock, rows, columns)
    assert words in dock.footer.state.text()
    assert not dock.footer.action.isEnabled()


def test_an_empty_layer_and_one_in_pixels_are_told(dock: Any) -> None:
    viewer = dock._viewer
    empty = viewer.add_shapes(ndim=2, name="nothing", **{k: v[1:] for k, v in IN_UM.items()})
    dock.ui.region.form.shapes.value = empty
    dock.check()
    assert "Nothing is drawn in layer 'nothing'" in dock.footer.state.text()
    in_pixels = viewer.add_shapes([[0, 0], [0, 50], [50, 50], [50, 0]], name="in pixels")
    dock.ui.region.form.shapes.value = in_pixels
    dock.check()
    assert "are not both in µm" in dock.footer.state.text()


def test_a_layer_whose_rectangle_was_deleted_is_drawn_in(dock: Any) -> None:
    layer = draw(dock, (40, 140), (60, 180))
    layer.remove([0])
    dock.ui.region.draw_button.click()
    assert layer in dock._viewer.layers
    assert layer.mode == "add_rectangle"


def test_a_button_without_scans_says_so(make_dock: Any) -> None:
    dock = make_dock(ViewerModel(), "linear")
    dock.ui.region.draw_button.click()
    assert "Add the scans first" in dock.footer.message.text()
    assert not len(dock._viewer.layers)


def test_both_colours_and_what_is_put_beside_them(dock: Any, run_to_end: Any, qtbot: Any) -> None:
    dock._viewer.add_image(STACKS[1], name="other", **IN_UM)
    dock.ui.method.set_method("lmmse")
    dock.ui.optics.set_values({"na": 1.2, "immersion_index": 1.333, "wavelength_um": 0.5}, "typed")
    dock.check()
    table = dock.ui.channels.table
    table.item(1, 0).setCheckState(dock.ui.channels.table.item(0, 0).checkState())
    table.item(1, 1).setText("0.6")
    draw(dock, (30, 130), (20, 120))
    run_to_end(dock)
    made = volumes(dock)
    assert [one.data.shape[1:] for one in made] == [(100, 100)] * 2
    np.testing.assert_allclose(made[0].translate, made[1].translate)
    dock.add_interpolation()
    qtbot.waitUntil(lambda: len(volumes(dock)) == 4, timeout=30_000)
    for beside in volumes(dock)[2:]:
        assert beside.data.shape == made[0].data.shape
        np.testing.assert_allclose(beside.translate, made[0].translate)


def test_a_part_is_written_to_disk_where_it_lies(
    dock: Any, run_to_end: Any, tmp_path: Path
) -> None:
    dock.write_to(tmp_path)
    draw(dock, (40, 140), (60, 180))
    outcome = run_to_end(dock)
    volume = read_image(outcome.path)
    assert volume.data.shape[1:] == (100, 120)
    expected = np.add(PLACE_UM, np.multiply((40, 60), PIXEL_UM))
    assert volume.origin_um == pytest.approx(tuple(expected))
