"""The Side views dock: what is shown, in which units, how it follows, and what it says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from PIL import Image as Picture
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit

from napari_recurrent_mz.docks.shared import layers as _layers
from napari_recurrent_mz.docks.side_views import source as _side_views_source
from napari_recurrent_mz.docks.side_views.dock import SideViewsDock

DOCK = SideViewsDock  # that ``make`` makes


@pytest.fixture
def wait(qtbot: Any) -> Callable[[SideViewsDock], None]:
    return lambda dock: qtbot.waitUntil(lambda: not dock.is_busy, timeout=20_000)


@pytest.fixture
def lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small arrays count as large: they are projected in the thread."""
    monkeypatch.setattr(_side_views_source, "AT_ONCE_VOXELS", 0)


def axes_of(dock: SideViewsDock) -> dict[str, Any]:
    return {axes.get_gid(): axes for axes in dock.plot.canvas.figure.get_axes()}


def image_in(dock: SideViewsDock, gid: str) -> np.ndarray:
    return np.asarray(axes_of(dock)[gid].get_images()[0].get_array())


def told(dock: SideViewsDock) -> str:
    """What the empty plot says; the dock must say it, too."""
    assert dock.plot.canvas.drawn is None
    assert not dock.plot.save_button.isEnabled()
    assert dock.plot.canvas.reason in dock.footer.state.text()
    return dock.plot.canvas.reason


def test_a_volume_is_shown_from_three_sides_in_micrometres(make, add_stack, stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    np.testing.assert_array_equal(image_in(dock, "xy-0"), stack.max(axis=0))
    np.testing.assert_array_equal(image_in(dock, "xz-0"), stack.max(axis=1))
    np.testing.assert_array_equal(image_in(dock, "zy-0"), stack.max(axis=2).T)
    # 9 planes at 0.5 µm from 2 µm; 24 × 32 pixels of 0.2 µm from (1, 3) µm
    axes = axes_of(dock)["xz-0"]
    assert axes.get_xlim() == pytest.approx((2.9, 9.3))
    assert axes.get_ylim() == pytest.approx((6.25, 1.75))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x (µm)", "z (µm)")


@pytest.mark.parametrize(
    "changes",
    [
        {"units": ("nm",) * 3, "scale": (500, 200, 200), "translate": (2000, 1000, 3000)},
        {"units": ("mm",) * 3, "scale": (5e-4, 2e-4, 2e-4), "translate": (2e-3, 1e-3, 3e-3)},
        {"units": None},  # as plugins wrote micrometres before layers had units
        {"translate": (0, 0, 0), "affine": np.array(
            [[1, 0, 0, 2.0], [0, 1, 0, 1.0], [0, 0, 1, 3.0], [0, 0, 0, 1.0]])},
        {"scale": (-0.5, 0.2, 0.2), "translate": (6.0, 1, 3)},
    ],
)  # fmt: skip
def test_layers_in_other_units_lie_where_they_are(make, add_stack, changes) -> None:
    viewer = ViewerModel()
    add_stack(viewer, **changes)
    dock = make(viewer)
    (panel,) = dock.shown
    assert panel.views.z_um == pytest.approx((1.75, 6.25))
    assert panel.views.y_um == pytest.approx((0.9, 5.7))
    assert panel.views.x_um == pytest.approx((2.9, 9.3))


def test_volumes_of_other_steps_share_one_field(make, add_stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    viewer.add_image(
        np.random.default_rng(0).random((30, 10, 10)), name="fine", units="um",
        scale=(0.1, 0.4, 0.4), translate=(3, 2, 4),
    )  # fmt: skip
    dock = make(viewer)
    one, other = axes_of(dock)["xz-0"], axes_of(dock)["xz-1"]
    assert one.get_xlim() == other.get_xlim()
    assert one.get_ylim() == other.get_ylim()
    left, right, bottom, top = other.get_images()[0].get_extent()
    assert (left, right) == pytest.approx((3.8, 7.8))
    assert (top, bottom) == pytest.approx((2.95, 5.95))


@pytest.mark.parametrize(("entry", "reduce"), [(1, np.mean), (2, np.sum)])
def test_the_switch_of_the_projection(make, wait, add_stack, stack, entry, reduce) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    dock.controls.how.native.setCurrentIndex(entry)
    wait(dock)
    np.testing.assert_allclose(image_in(dock, "xz-0"), reduce(stack, axis=1), rtol=1e-5)


def scans(*heights: float) -> dict[str, Any]:
    return {_layers.METADATA_KEY: {"scans": [{"name": "", "z_um": z} for z in heights]}}


def marked(axes: Any) -> list[float]:
    """Heights of the dashed lines."""
    dashed = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    return sorted(float(line.get_ydata()[0]) for line in dashed)


def test_scans_of_a_reconstruction_are_marked_on_every_volume(make, wait, add_stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    add_stack(viewer, name="result", metadata=scans(5.0, 3.0, 40.0))
    dock = make(viewer)
    assert [panel.title for panel in dock.shown] == ["result", "stack"]
    for gid in ("xz-0", "xz-1"):
        assert marked(axes_of(dock)[gid]) == [3.0, 5.0]  # 40 µm is outside
    assert dock.controls.heights.native.placeholderText() == "3, 5, 40"
    dock.controls.heights.native.setText("2.5; 4 µm")
    wait(dock)
    assert marked(axes_of(dock)["xz-0"]) == [2.5, 4.0]
    dock.controls.marks.value = "arrows"
    wait(dock)
    assert marked(axes_of(dock)["xz-0"]) == []
    arrows = [line for line in axes_of(dock)["xz-0"].get_lines() if not line.get_clip_on()]
    assert list(arrows[0].get_ydata()) == [2.5, 4.0]
    dock.controls.heights.native.setText("two")
    wait(dock)
    assert "'two' in the heights of the scans is no number" in told(dock)
    dock.controls.heights.native.setText("3,6")  # 3.6, or 3 and 6
    wait(dock)
    assert "may be one or two" in told(dock)


def test_contrast_shared_separate_and_as_in_the_viewer(make, wait, add_stack, stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    bright = viewer.add_image(10 * stack, name="bright", scale=(0.5, 0.2, 0.2), units="um")
    dock = make(viewer)
    assert dock.shown[1].limits[0] == pytest.approx(np.multiply(dock.shown[0].limits[0], 10))
    dock.controls.contrast.native.setCurrentIndex(1)
    wait(dock)
    assert dock.shown[0].limits == dock.shown[1].limits
    dock.controls.contrast.native.setCurrentIndex(2)
    bright.contrast_limits, bright.gamma, bright.colormap = (20, 900), 0.5, "magenta"
    wait(dock)
    assert dock.shown[1].limits == ((20, 900),) * 3
    image = axes_of(dock)["xy-1"].get_images()[0]
    assert image.norm.gamma == 0.5
    assert image.get_cmap()(1.0)[:3] == pytest.approx((1, 0, 1))


# the position ---------------------------------------------------------------------------
def slab(dock: SideViewsDock, thickness_um: float = 0.0) -> None:
    dock.controls.thickness.value = thickness_um
    dock.controls.through.native.setCurrentIndex(1)


def test_a_slab_follows_the_slider(make, wait, add_stack, stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    slab(dock)
    viewer.dims.set_point(0, 3.5)
    wait(dock)
    np.testing.assert_array_equal(image_in(dock, "xy-0"), stack[3])
    viewer.dims.set_point(0, 5.0)
    wait(dock)
    np.testing.assert_array_equal(image_in(dock, "xy-0"), stack[6])
    dock.controls.follow.value = False
    viewer.dims.set_point(0, 2.0)
    wait(dock)
    np.testing.assert_array_equal(image_in(dock, "xy-0"), stack[6])


def mouse(kind: str, position: tuple[float, ...], *modifiers: str) -> Any:
    return SimpleNamespace(type=kind, position=position, modifiers=modifiers)


def test_a_slab_follows_the_cursor_with_shift_and_a_click(make, wait, add_stack, stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    slab(dock)
    viewer.dims.set_point(0, 4.0)
    for callback in viewer.mouse_move_callbacks:
        callback(viewer, mouse("mouse_move", (4.0, 2.0, 5.0), "Shift"))
    wait(dock)
    np.testing.assert_array_equal(image_in(dock, "xz-0"), stack[:, 5])  # (2 - 1) / 0.2
    np.testing.assert_array_equal(image_in(dock, "zy-0"), stack[:, :, 10].T)  # (5 - 3) / 0.2
    for callback in viewer.mouse_move_callbacks:
        callback(viewer, mouse("mouse_move", (4.0, 3.0, 6.0)))
    assert dock.controls.read().point_um == (4.0, 2.0, 5.0)  # without Shift it only passes by

    clicking = viewer.mouse_drag_callbacks[-1]
    press = mouse("mouse_press", (4.0, 3.0, 6.0))
    click = clicking(viewer, press)
    next(click)
    press.type = "mouse_release"
    next(click, None)
    assert dock.controls.read().point_um == (4.0, 3.0, 6.0)
    drag = clicking(viewer, press)
    next(drag)
    press.type, press.position = "mouse_move", (4.0, 1.0, 4.0)
    next(drag, None)
    assert dock.controls.read().point_um == (4.0, 3.0, 6.0)  # the canvas was dragged


def test_a_viewer_in_nanometres_is_read_in_micrometres(make, wait, add_stack, stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer, units=("nm",) * 3, scale=(500, 200, 200), translate=(2000, 1000, 3000))
    dock = make(viewer)
    slab(dock)
    viewer.dims.set_point(0, 3500)
    wait(dock)
    assert dock.controls.read().point_um[0] == 3.5
    np.testing.assert_array_equal(image_in(dock, "xy-0"), stack[3])


def test_a_click_on_a_side_view_moves_the_slider(make, wait, add_stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    axes = axes_of(dock)["xz-0"]
    dock._clicked(SimpleNamespace(inaxes=axes, xdata=5.0, ydata=3.5, button=1))
    assert viewer.dims.point[0] == pytest.approx(3.5)
    z, _, x = dock.controls.read().point_um
    assert (z, x) == pytest.approx((3.5, 5.0))


def test_the_value_under_the_mouse_is_told(make, add_stack, stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    dock._pointed(SimpleNamespace(inaxes=axes_of(dock)["zy-0"], xdata=3.5, ydata=1.61))
    expected = f"{stack[3, 3].max():.5g}"
    assert viewer.status == f"stack: y 1.61 µm, z 3.50 µm: {expected}"


def test_a_position_that_is_typed_moves_the_slider(make, wait, add_stack, stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    slab(dock)
    dock.controls.z.native.setText("5")
    dock.controls.z.native._finish()
    wait(dock)
    assert viewer.dims.point[0] == pytest.approx(5.0)
    np.testing.assert_array_equal(image_in(dock, "xy-0"), stack[6])


# following data -------------------------------------------------------------------------
def test_a_layer_that_fills_in_place_is_followed(make, wait, qtbot) -> None:
    viewer = ViewerModel()
    data = np.zeros((6, 16, 16), np.float32)
    layer = viewer.add_image(data, name="filling", scale=(0.5, 0.2, 0.2), units="um")
    dock = make(viewer)
    assert told(dock).startswith("Layer 'filling' is constant here (every voxel is 0)")
    for plane in range(3):
        data[plane] = np.arange(256).reshape(16, 16) + plane
        layer.refresh()
        wait(dock)
        np.testing.assert_array_equal(image_in(dock, "xy-0"), data.max(axis=0))
    layer.data = data + 1
    wait(dock)
    np.testing.assert_array_equal(image_in(dock, "xy-0"), data.max(axis=0) + 1)


def test_a_slice_that_is_only_drawn_again_is_not_projected_again(
    make, wait, add_stack, monkeypatch
) -> None:
    viewer = ViewerModel()
    layer = add_stack(viewer)
    dock = make(viewer)
    monkeypatch.setattr(
        _side_views_source, "iter_side_views", lambda *_, **__: pytest.fail("projected again")
    )
    viewer.dims.set_point(0, 5.0)
    layer.refresh()
    layer.contrast_limits = (90, 150)
    layer.name = "renamed"
    wait(dock)
    assert dock.shown[0].title == "renamed"


def test_layers_that_go_and_come(make, wait, add_stack) -> None:
    viewer = ViewerModel()
    dock = make(viewer)
    assert dock.plot.canvas.reason == "Choose a volume: it is shown here from three sides."
    first = add_stack(viewer)
    wait(dock)
    assert [panel.title for panel in dock.shown] == ["stack"]
    second = add_stack(viewer, name="other")
    dock.controls.second.value = second
    viewer.layers.remove(first)
    wait(dock)
    assert [panel.title for panel in dock.shown] == ["other"]
    viewer.layers.clear()
    wait(dock)
    assert dock.plot.canvas.drawn is None


# large and lazy -------------------------------------------------------------------------
def test_lazy_layers_are_read_once_in_a_thread(make, wait, stack, tmp_path) -> None:
    reads: list[int] = []
    seen: set[int] = set()

    def read(block: np.ndarray) -> np.ndarray:
        reads.append(block.nbytes)
        seen.add(threading.get_ident())
        return block

    viewer = ViewerModel()
    lazy = dask.array.from_array(stack, chunks=(2, 24, 32)).map_blocks(read, dtype=stack.dtype)
    place = {"scale": (0.5, 0.2, 0.2), "units": "um", "contrast_limits": (0, 200)}
    viewer.add_image(lazy, name="dask", **place)
    stored = zarr.create_array(str(tmp_path / "s.zarr"), data=stack, chunks=(3, 8, 8))
    viewer.add_image(stored, name="zarr", **place)
    viewer.add_image(dask.array.from_array(stack[None]), name="leading", axis_labels=(
        "t", "z", "y", "x"), scale=(1, 0.5, 0.2, 0.2), units=("s", "um", "um", "um"),
        contrast_limits=(0, 200))  # fmt: skip
    reads.clear()
    seen.clear()
    dock = make(viewer)
    wait(dock)
    for number in range(3):
        np.testing.assert_array_equal(image_in(dock, f"xy-{number}"), stack.max(axis=0))
        np.testing.assert_array_equal(image_in(dock, f"xz-{number}"), stack.max(axis=1))
    assert len(reads) == 5
    assert threading.get_ident() not in seen


def test_a_very_large_lazy_layer_waits_for_the_button(make, wait, stack, monkeypatch) -> None:
    monkeypatch.setattr(_side_views_source, "UNASKED_BYTES", 1000)
    viewer = ViewerModel()
    viewer.add_image(
        dask.array.from_array(stack), name="huge", scale=(0.5, 0.2, 0.2), units="um",
        contrast_limits=(0, 200),
    )  # fmt: skip
    dock = make(viewer)
    wait(dock)
    assert "press Project to read it once" in told(dock)
    dock.footer.action.click()
    wait(dock)
    np.testing.assert_array_equal(image_in(dock, "xy-0"), stack.max(axis=0))


def gated(stack: np.ndarray) -> tuple[Any, threading.Event]:
    """A lazy stack whose planes are there only when the gate opens."""
    gate = threading.Event()

    def read(block: np.ndarray) -> np.ndarray:
        gate.wait(10)
        return block

    return dask.array.from_array(stack, chunks=(1, 24, 32)).map_blocks(
        read, dtype=stack.dtype, meta=stack[:0]
    ), gate


def test_cancel_stops_and_project_goes_on(make, wait, qtbot, stack, monkeypatch) -> None:
    viewer = ViewerModel()
    dock = make(viewer)
    lazy, gate = gated(stack)
    gate.set()
    viewer.add_image(lazy, name="slow", scale=(0.5, 0.2, 0.2), units="um", contrast_limits=(0, 200))
    gate.clear()
    dock._layers_chosen()
    dock.act()
    assert dock.run is not None
    assert dock.plot.canvas.reason == "Projecting…"
    dock.footer.cancel.click()
    gate.set()
    wait(dock)
    assert "is not projected: press Project" in told(dock)
    dock.footer.action.click()
    wait(dock)
    np.testing.assert_array_equal(image_in(dock, "xy-0"), stack.max(axis=0))


def test_a_layer_that_is_removed_while_it_is_projected(make, wait, stack) -> None:
    viewer = ViewerModel()
    lazy, gate = gated(stack)
    gate.set()
    viewer.add_image(lazy, name="slow", scale=(0.5, 0.2, 0.2), units="um", contrast_limits=(0, 200))
    gate.clear()
    dock = make(viewer)
    assert dock.run is not None
    viewer.layers.clear()
    gate.set()
    wait(dock)
    assert dock.plot.canvas.reason == "Choose a volume: it is shown here from three sides."
    assert dock.footer.message.text() == "Layer 'slow' is gone. First volume: Choose a volume."


def test_data_that_keep_changing_are_shown_all_the_while(make, wait, qtbot, lazily, stack) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(stack.copy(), name="live", scale=(0.5, 0.2, 0.2), units="um")
    dock = make(viewer)
    wait(dock)
    for number in range(3):
        layer.data = stack + number
        layer.data = stack + number + 0.5
    wait(dock)
    np.testing.assert_allclose(image_in(dock, "xy-0"), stack.max(axis=0) + 2.5)


# bad input ------------------------------------------------------------------------------
PLACED = {"scale": (0.5, 0.2, 0.2), "units": ("um",) * 3}


# drawn with the median of its steps, as the reader does
UNEVEN = {_layers.METADATA_KEY: {"z_um": [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 6.0, 9.0]}}


def with_nan(stack: np.ndarray) -> np.ndarray:
    stack = stack.copy()
    stack[4, 3, 2] = np.nan
    return stack


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda s: s[0], {"scale": (0.2, 0.2), "units": ("um",) * 2}, "is one image, not a stack"),
        (lambda s: s[:1], PLACED, "is one image, not a stack: choose one"),
        (lambda s: np.zeros((24, 32, 3), np.uint8), {"rgb": True}, "is an RGB image: split it"),
        (lambda s: np.stack([s, s]), {"scale": (1, 0.5, 0.2, 0.2)}, "has 4 dimensions"),
        (with_nan, PLACED, "has voxels that are NaN or infinite, the first in plane 4"),
        (lambda s: 0 * s + 7, PLACED, "is constant here (every voxel is 7): there is nothing"),
        (lambda s: s, {}, "does not say the size of its voxels: type it in µm"),
        (lambda s: s, {**PLACED, "rotate": 20}, "is rotated or sheared: resample it"),
        (lambda s: s, {**PLACED, "metadata": UNEVEN}, "has planes at uneven heights: reconstruct"),
    ],
)
def test_what_cannot_be_shown_is_told(make, wait, stack, change, options, sentence) -> None:
    viewer = ViewerModel()
    data = change(stack)
    layer = viewer.add_image(data, name="bad", contrast_limits=(0, 1), **options)
    dock = make(viewer)
    dock.controls.first.value = layer
    wait(dock)
    reason = told(dock)
    assert reason.startswith("Layer 'bad' ")
    assert sentence in reason
    assert layer.data is data
    assert dock.footer.message.text() == ""


def test_a_bad_layer_does_not_take_the_good_one_away(make, wait, add_stack, stack) -> None:
    viewer = ViewerModel()
    good = add_stack(viewer)
    bad = viewer.add_image(with_nan(stack), name="bad", contrast_limits=(0, 1), **PLACED)
    dock = make(viewer)
    assert dock.controls.read().chosen == [good, bad]
    np.testing.assert_array_equal(image_in(dock, "xy-0"), stack.max(axis=0))
    assert "xy-1" not in axes_of(dock)
    assert "Layer 'bad' has voxels that are NaN" in dock.footer.state.text()
    assert dock.footer.state.kind == "warning"


def test_a_size_that_is_typed_is_used(make, wait, stack) -> None:
    viewer = ViewerModel()
    viewer.add_image(stack, name="unsized")
    dock = make(viewer)
    for name, text in (("voxel_z", "0.5"), ("voxel_xy", "200 nm")):
        dock.controls[name].native.setText(text)
        dock.controls[name].native._finish()
    wait(dock)
    (panel,) = dock.shown
    assert panel.views.z_um == pytest.approx((-0.25, 4.25))
    assert panel.views.x_um == pytest.approx((-0.1, 6.3))
    slab(dock)
    viewer.dims.set_point(0, 4)  # the viewer is in pixels
    wait(dock)
    assert dock.controls.read().point_um[0] == 2.0
    np.testing.assert_array_equal(image_in(dock, "xy-0"), stack[4])


def test_a_slab_outside_of_the_volume(make, wait, add_stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    dock.controls.follow.value = False
    slab(dock, 1.0)
    dock.controls.y.native.setText("60")
    dock.controls.y.native._finish()
    wait(dock)
    assert told(dock) == (
        "The slab at y = 60 µm, 1 µm thick, does not meet layer 'stack', whose y runs from 0.9 "
        "to 5.7 µm: move the position, or look through everything."
    )
    dock.controls.y.native.setText("")
    dock.controls.y.native._finish()
    wait(dock)
    assert told(dock) == "The position is incomplete: type z, y and x in µm."


def test_no_view_at_all(make, wait, add_stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    for view in ("xy", "xz", "yz"):
        dock.controls[view].value = False
    wait(dock)
    assert told(dock) == "No view is ticked: tick x–y, x–z or y–z."


# saving and remembering -----------------------------------------------------------------
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_figure_is_saved_as_wide_as_the_column(make, wait, add_stack, tmp_path, ending) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    dock.controls.paper.native.setCurrentIndex(0)
    wait(dock)
    path = tmp_path / f"views.{ending}"
    dock.plot.save(path)
    assert dock.footer.message.text() == f"Saved “views.{ending}”."
    if ending == "png":
        with Picture.open(path) as picture:
            assert picture.width == pytest.approx(85 / 25.4 * 300, abs=1)
    else:
        assert path.stat().st_size > 2000


def test_settings_are_remembered(make, wait, add_stack) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    dock.controls.how.native.setCurrentIndex(1)
    dock.controls.xy.value = False
    dock.controls.cross.value = True
    dock.controls.saturated.value = 1.5
    slab(dock, 3.0)
    dock.controls.paper.native.setCurrentIndex(0)
    wait(dock)
    again = make(viewer).controls.read()
    assert again.how == "mean"
    assert again.shown == ("xz", "yz")
    assert again.cross
    assert again.saturated == 1.5
    assert again.slab().thickness_um == 3.0
    assert again.paper == "85"


# in a window ----------------------------------------------------------------------------
@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    return make_napari_viewer(show=True)


def test_the_menu_opens_it_narrow_and_wide_in_both_themes(viewer, qtbot, wait, add_stack) -> None:
    viewer.window._qt_window.resize(1280, 800)
    add_stack(viewer, metadata=scans(3.0, 5.0))
    add_stack(viewer, metadata=scans(3.0, 5.0))
    for layer in viewer.layers:  # whose controls are higher
        layer.blending = "additive"
    viewer.layers.selection = set(viewer.layers)
    shell, dock = viewer.window.add_plugin_dock_widget("napari-recurrent-mz", "Side views")
    assert isinstance(dock, SideViewsDock)
    wait(dock)
    qtbot.wait(100)
    window = viewer.window._qt_window
    qtbot.waitUntil(lambda: shell.minimumHeight() <= 140)  # not that of both above each other
    assert window.height() <= 800
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, shell)
    qtbot.waitUntil(lambda: dock._parts.orientation() == Qt.Orientation.Vertical)
    qtbot.waitUntil(lambda: shell.minimumWidth() <= 420)  # not of both beside each other
    assert window.height() <= 800
    assert dock.minimumSizeHint().width() <= 400
    bottom = dock.footer.action.mapTo(dock, dock.footer.action.rect().bottomLeft()).y()
    assert 0 < bottom <= dock.height()
    for theme in ("dark", "light"):
        viewer.theme = theme
        qtbot.wait(20)
        face = dock.plot.canvas.figure.get_facecolor()[:3]
        expected = dock.palette_.colour("background").getRgbF()[:3]
        assert face == pytest.approx(expected, abs=0.01)
    shell.setFloating(True)
    shell.resize(1100, 500)
    qtbot.waitUntil(lambda: dock._parts.orientation() == Qt.Orientation.Horizontal)
    wait(dock)
    axes = axes_of(dock)
    boxes = {gid: axes[gid].get_window_extent() for gid in axes}
    per_um = boxes["xy-0"].width / 6.4
    assert boxes["xz-0"].height == pytest.approx(4.5 * per_um, abs=1.5)
    assert boxes["xy-0"].height == pytest.approx(4.8 * per_um, abs=1.5)
    assert boxes["xy-0"].y1 <= dock.plot.canvas.figure.bbox.height


def test_every_control_has_a_tooltip_and_a_name(make) -> None:
    dock = make(ViewerModel())
    kinds = (QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox)
    for kind in kinds:
        for control in dock.findChildren(kind):
            if not isinstance(control.parent(), kinds):
                assert control.toolTip(), control
                assert control.accessibleName(), control
                assert control.focusPolicy() != Qt.FocusPolicy.NoFocus, control


def test_closing_the_dock_while_it_projects(viewer, qtbot, stack) -> None:
    lazy, gate = gated(stack)
    gate.set()
    viewer.add_image(lazy, name="slow", scale=(0.5, 0.2, 0.2), units="um", contrast_limits=(0, 200))
    qtbot.wait(100)
    gate.clear()
    dock = SideViewsDock(viewer)
    viewer.window.add_dock_widget(dock, name="Side views", area="right")
    run = dock.run
    assert run is not None
    viewer.window.remove_dock_widget(dock)
    assert run.is_cancelled
    gate.set()
    assert QThreadPool.globalInstance().waitForDone(5000)
    qtbot.wait(20)
    viewer.dims.set_point(0, 1.0)
    viewer.layers.clear()


def test_a_saved_figure_needs_a_folder(make, add_stack, tmp_path) -> None:
    viewer = ViewerModel()
    add_stack(viewer)
    dock = make(viewer)
    dock.plot.save(Path(tmp_path / "nowhere" / "views.png"))
    assert "could not be written" in dock.footer.message.text()
    assert dock.footer.message.kind == "error"
