"""The Compare dock: layers in, the curves and means of the Python function out."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array
import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QListWidget

from napari_recurrent_mz import InputError
from napari_recurrent_mz.docks.compare.dock import CompareDock
from napari_recurrent_mz.docks.shared.form import parse_heights
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY
from napari_recurrent_mz.measure.comparison import MEASURES, Volume, compare
from napari_recurrent_mz.measure.plots.comparison import PLANE_IN_VIEW

RNG = np.random.default_rng(3)
TRUTH = RNG.gamma(2.0, 100.0, (12, 32, 40)).astype(np.uint16)
MADE = (TRUTH + RNG.normal(0, 20, TRUTH.shape)).astype(np.float32)
Z_UM = 2.0 + 0.5 * np.arange(12)
IN_UM = {
    "scale": (0.5, 0.3, 0.3), "translate": (2.0, 0.0, 0.0), "units": ("um", "um", "um"),
    "axis_labels": ("z", "y", "x"),
}  # fmt: skip
SCANS = (3.0, 6.0)


def provenance(*scans_um: float, **more: Any) -> dict[str, Any]:
    """Metadata as a reconstruction has it."""
    scans = [{"name": "", "z_um": z} for z in scans_um]
    return {METADATA_KEY: {"method": "lmmse", "scans": scans} | more}


def told_of(wavelength_um: float) -> dict[str, Any]:
    """Metadata as an image of one colour has it."""
    return {METADATA_KEY: {"wavelength_um": wavelength_um}}


def add_pair(viewer: Any) -> tuple[Any, Any]:
    """A reference and a reconstruction on the same grid."""
    truth = viewer.add_image(TRUTH, name="truth", **IN_UM)
    return truth, viewer.add_image(MADE, name="mine", metadata=provenance(*SCANS), **IN_UM)


DOCK = CompareDock  # that ``make`` makes


@pytest.fixture
def compared(make, qtbot: Any) -> Callable[..., CompareDock]:
    """A dock that has compared the pair."""

    def compared(viewer: Any) -> CompareDock:
        add_pair(viewer)
        dock = make(viewer)
        dock.choose_baselines(["linear"])
        finish(qtbot, dock, dock.footer.action.click)
        assert dock.comparison is not None, dock.footer.message.text()
        return dock

    return compared


def tick(dock: CompareDock, name: str) -> None:
    """Tick the layer of this name and no other."""
    for item in (dock.layers.item(row) for row in range(dock.layers.count())):
        is_named = item.text() == name
        item.setCheckState(Qt.CheckState.Checked if is_named else Qt.CheckState.Unchecked)


def finish(qtbot: Any, dock: CompareDock, start: Callable[[], object]) -> Any:
    with qtbot.waitSignal(dock.ended, timeout=20_000) as ended:
        start()
    return ended.args[0]


def test_a_stack_whose_file_gives_uneven_heights_is_compared_at_these(make, qtbot: Any) -> None:
    """It is drawn with the median of its steps."""
    viewer, chosen = ViewerModel(), [0, 1, 2, 3, 6, 7, 11]
    about = IN_UM | {"metadata": {METADATA_KEY: {"z_um": Z_UM[chosen].tolist(), "pixel_um": 0.3}}}
    reference = viewer.add_image(TRUTH[chosen], name="uneven", **about)
    viewer.add_image(TRUTH, name="every plane", **IN_UM)
    dock = make(viewer)
    dock.reference.choose(reference)
    tick(dock, "every plane")
    finish(qtbot, dock, dock.act)
    assert dock.comparison is not None, dock.footer.message.text()
    planes = dock.comparison.planes
    np.testing.assert_allclose(planes["z_um"], Z_UM[chosen])
    np.testing.assert_allclose(planes["nrmse_percent"], 0)


def test_an_empty_dock_says_how_to_begin(make) -> None:
    dock = make(ViewerModel())
    assert "Choose the reference" in dock.footer.state.text()
    assert dock.footer.state.kind == "hint"
    assert not dock.footer.action.isEnabled()
    assert "choose a reference" in dock.plot.canvas.reason
    dock.act()
    assert "Choose the reference" in dock.footer.message.text()


def test_what_is_there_is_chosen(make) -> None:
    viewer = ViewerModel()
    truth, mine = add_pair(viewer)
    dock = make(viewer)
    assert dock.reference.layer() is truth
    assert dock.layers.ticked() == [mine]
    assert dock.options.scans.native.placeholderText() == "3 6 (layers)"
    assert dock.footer.action.isEnabled()
    later = viewer.add_image(MADE, name="later", metadata=provenance(4.0), **IN_UM)
    viewer.add_image(MADE, name="other", **IN_UM)
    record = provenance(*SCANS, image="expected error of every voxel, one standard deviation")
    viewer.add_image(MADE, name="mine · error", metadata=record, **IN_UM)
    assert dock.layers.ticked() == [mine, later]
    dock.check()
    assert dock.options.scans.native.placeholderText() == "2 5 8"  # they disagree


def test_what_is_of_another_colour_is_not_compared_unasked(make) -> None:
    viewer = ViewerModel()
    for name, wavelength_um in (("green", 0.509), ("blue", 0.455)):
        viewer.add_image(TRUTH, name=name, metadata=told_of(wavelength_um), **IN_UM)
        record = provenance(*SCANS, optics={"wavelength_um": wavelength_um})
        viewer.add_image(MADE, name=f"{name} · mine", metadata=record, **IN_UM)
    other = viewer.add_image(MADE, name="of no known colour", **IN_UM)
    dock = make(viewer)
    dock.layers.tick(other)
    for name in ("blue", "green"):
        dock.reference.choose(viewer.layers[name])
        assert dock.layers.ticked() == [viewer.layers[f"{name} · mine"], other]
    dock.check()
    assert not dock.footer.warnings.text()
    tick(dock, "blue · mine")
    dock.check()
    assert "'blue · mine' is of 0.455 µm light" in dock.footer.warnings.text()
    viewer.layers.remove("green")
    assert dock.reference.layer() is None
    new = viewer.add_image(TRUTH, name="new green", metadata=told_of(0.509), **IN_UM)
    dock.reference.choose(new)
    names = [layer.name for layer in dock.layers.ticked()]
    assert names == ["blue · mine"]  # what was set by hand stays, on and off


def test_the_dock_shows_what_the_function_finds(compared) -> None:
    viewer = ViewerModel()
    dock = compared(viewer)
    expected = compare(
        Volume("mine", MADE, Z_UM, 0.3, scans_um=SCANS),
        Volume("truth", TRUTH, Z_UM, 0.3),
        baselines=["linear"],
    )
    pd.testing.assert_frame_equal(dock.comparison.planes, expected.planes)
    row = expected.means.loc["mine"]
    cells = [dock.means.item(0, column).text() for column in range(dock.means.columnCount())]
    assert cells == [
        "mine", f"{row.psnr_db:.2f}", f"{row.nrmse_percent:.2f}", f"{row.ssim:.4f}",
    ]  # fmt: skip
    assert dock.means.item(1, 0).text() == "Baseline: linear"
    assert dock.means.item(0, 1).font().bold()
    for axes, measure in zip(dock.plot.canvas.figure.axes, MEASURES, strict=True):
        curve = next(line for line in axes.lines if line.get_label() == "mine")
        values = np.where(expected.planes["is_scan"], np.nan, expected.planes[measure])[:12]
        np.testing.assert_allclose(curve.get_ydata(), values)
        marks = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
        assert marks == list(SCANS)
    assert "Means over the 10 planes" in dock.note.text()
    assert dock.footer.message.text() == ""  # one grid: nothing was done


def test_grids_that_differ_are_told_and_brought_together(make, qtbot) -> None:
    viewer = ViewerModel()
    truth, _ = add_pair(viewer)
    place = IN_UM | {"scale": (800, 300, 300), "translate": (2100, 600, 0), "units": ("nm",) * 3}
    viewer.add_image(MADE[:5, 2:], name="coarse", metadata=provenance(), **place)
    dock = make(viewer)
    finish(qtbot, dock, dock.act)
    sentence = dock.footer.message.text()
    assert dock.footer.message.kind == "warning"
    assert "'coarse' resampled to their heights (linear along z)" in sentence
    assert "'coarse' covers fewer of them" in sentence
    assert "cropped to the 30 × 40 pixels" in sentence
    expected = compare(
        [
            Volume("mine", MADE, Z_UM, 0.3, scans_um=SCANS),
            Volume("coarse", MADE[:5, 2:], 2.1 + 0.8 * np.arange(5), 0.3, (0.6, 0.0)),
        ],
        Volume("truth", TRUTH, Z_UM, 0.3),
    )
    np.testing.assert_allclose(
        dock.comparison.planes[list(MEASURES)], expected.planes[list(MEASURES)], rtol=1e-6
    )
    np.testing.assert_array_equal(truth.data, TRUTH)


def test_the_plane_in_view_is_marked_and_a_click_goes_there(compared) -> None:
    viewer = ViewerModel()
    dock = compared(viewer)

    def marks() -> list[float]:
        return [
            line.get_xdata()[0]
            for axes in dock.plot.canvas.figure.axes
            for line in axes.lines
            if line.get_gid() == PLANE_IN_VIEW and line.get_visible()
        ]

    viewer.dims.set_point(0, 4.5)
    assert marks() == pytest.approx([4.5] * 3)
    axes = dock.plot.canvas.figure.axes[1]
    dock._clicked(SimpleNamespace(inaxes=axes, xdata=5.6, button=1))
    assert viewer.dims.point[0] == pytest.approx(5.5)
    assert marks() == pytest.approx([5.5] * 3)
    dock._clicked(SimpleNamespace(inaxes=None, xdata=None, button=1))
    for key, z in (("right", 6.0), ("left", 5.5), ("up", 5.5)):
        dock._key(SimpleNamespace(key=key))
        assert viewer.dims.point[0] == pytest.approx(z)
    dock.restyle()
    assert marks() == pytest.approx([5.5] * 3)


def test_a_falling_stack_in_pixels_is_followed_too(make, qtbot) -> None:
    """Sizes are typed; the lowest plane is the last but the viewer counts from the first."""
    viewer = ViewerModel()
    viewer.add_image(TRUTH, name="truth")
    viewer.add_image(MADE, name="mine", metadata=provenance())
    dock = make(viewer)
    assert dock.options.step.native.isVisibleTo(dock)
    dock.act()
    assert "Layer 'truth' does not say the size of its voxels" in dock.footer.message.text()
    dock.options.step.value = 0.5
    dock.options.pixel.value = 0.3
    finish(qtbot, dock, dock.act)
    dock.in_view.go(2.0)
    assert viewer.dims.point[0] == 4
    assert dock.in_view.z_um() == pytest.approx(2.0)
    falling = IN_UM | {"scale": (-0.5, 0.3, 0.3), "translate": (7.5, 0, 0)}
    viewer = ViewerModel()
    viewer.add_image(TRUTH[::-1], name="truth", **falling)
    viewer.add_image(MADE, name="mine", metadata=provenance(), **IN_UM)
    dock = make(viewer)
    finish(qtbot, dock, dock.act)
    assert dock.comparison.is_same_grid
    dock.in_view.go(3.0)
    assert viewer.dims.point[0] == pytest.approx(3.0)


def test_a_difference_map_is_a_layer_at_its_place(make, qtbot) -> None:
    viewer = ViewerModel()
    add_pair(viewer)
    part = IN_UM | {"translate": (3.0, 0.6, 0.0)}
    viewer.add_image(MADE[2:, 2:], name="part", metadata=provenance(), **part)
    dock = make(viewer)
    dock.choose_baselines(["linear"])
    finish(qtbot, dock, dock.act)
    dock.difference_of.setCurrentText("part")
    finish(qtbot, dock, dock.difference_button.click)
    layer = viewer.layers["Difference: part − truth"]
    np.testing.assert_allclose(layer.data, MADE[2:, 2:] - TRUTH[2:, 2:].astype(float), atol=1e-3)
    np.testing.assert_allclose(layer.translate, (3.0, 0.6, 0.0))
    np.testing.assert_allclose(layer.scale, (0.5, 0.3, 0.3))
    assert str(layer.units[0]) == "micrometer"
    assert layer.contrast_limits[0] == -layer.contrast_limits[1]
    assert dock.layers.count() == 2  # the map is no volume to compare
    dock.difference_of.setCurrentText("Baseline: linear")
    finish(qtbot, dock, dock.difference_button.click)
    assert not viewer.layers["Difference: Baseline: linear − truth"].data[2].any()  # a scan


def test_table_and_figure_are_saved(compared, tmp_path: Path) -> None:
    dock = compared(ViewerModel())
    dock.save_table(tmp_path / "table.csv")
    read = pd.read_csv(tmp_path / "table.csv")
    assert {"z_um", "psnr_db", "nrmse_percent", "ssim"} < set(read)
    assert len(read) == 24
    dock.plot.save(tmp_path / "figure.svg")
    assert "PSNR (dB)" in (tmp_path / "figure.svg").read_text()
    assert dock.footer.message.text() == "Saved “figure.svg”."
    dock.save_table(tmp_path / "nowhere" / "table.csv")
    assert "could not be written" in dock.footer.message.text()


@pytest.mark.parametrize(
    ("data", "about", "words"),
    [
        (MADE[0], {"scale": (0.3, 0.3), "units": ("um", "um")}, "Layer 'bad' is one image, not a"),
        (np.zeros((12, 32, 40, 3), np.uint8), IN_UM | {"rgb": True}, "'bad' is an RGB image"),
        (np.where(MADE > 400, np.nan, MADE), IN_UM, "'bad' at z = 2 µm has .* NaN or infinite"),
        (np.full_like(MADE, 3), IN_UM, r"'bad' is constant \(every pixel is 3\)"),
        (MADE, IN_UM | {"translate": (90, 0, 0)}, "no plane in common: check the z position"),
        (MADE, IN_UM | {"translate": (2, 90, 0)}, "do not overlap: check the position"),
        (MADE, IN_UM | {"scale": (0.5, 0.1, 0.1)}, "'bad' has pixels of 0.1 µm .* resample one"),
        (MADE, IN_UM | {"scale": (0.5, 0.3, 0.1)}, "square pixels are needed"),
        (MADE, IN_UM | {"rotate": (0, 0, 20)}, "'bad' is turned, sheared or mirrored"),
        (MADE[:, ::-1], IN_UM | {"scale": (0.5, -0.3, 0.3)}, "sheared or mirrored"),
        (MADE, IN_UM | {"metadata": provenance(state="running")}, "'bad' is still filling"),
    ],
)  # fmt: skip
def test_a_layer_that_cannot_be_compared_is_told(make, qtbot, data, about, words) -> None:
    viewer = ViewerModel()
    truth, _ = add_pair(viewer)
    bad = viewer.add_image(data, name="bad", **about)
    dock = make(viewer)
    dock.reference.choose(truth)
    tick(dock, "bad")
    dock.act()
    if dock.run is not None:
        with qtbot.waitSignal(dock.ended, timeout=20_000):
            pass
    assert dock.footer.message.kind == "error"
    text = dock.footer.message.text()
    assert pd.Series([text]).str.contains(words).all(), text
    assert dock.comparison is None
    assert bad in viewer.layers
    tick(dock, "mine")
    assert dock.footer.message.text() == ""  # it was about another choice


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda dock: dock.options.scans.native.setText("3 x"),
            "'x' in the heights of the scans is no number",
        ),
        (
            lambda dock: dock.options.scans.native.setText("3 99"),
            "no plane at the scan's height 99 µm",
        ),
        (lambda dock: dock.options.scans.native.setText("3"), "heights of at least two scans"),
        (lambda dock: dock.choose_baselines(["lmmse"]), "start with the objective"),
    ],
)
def test_what_baselines_need_is_told(make, qtbot, change, words: str) -> None:
    viewer = ViewerModel()
    add_pair(viewer)
    dock = make(viewer)
    dock.choose_baselines(["linear"])
    change(dock)
    assert dock.optics.isVisibleTo(dock) == dock.options.lmmse.value
    dock.act()
    if dock.run is not None:
        with qtbot.waitSignal(dock.ended, timeout=20_000):
            pass
    assert words in dock.footer.message.text()


def test_the_optics_come_from_the_layers_once(make) -> None:
    viewer = ViewerModel()
    optics = {"na": 1.2, "wavelength_um": 0.5, "immersion_index": 1.33}
    viewer.add_image(MADE, name="mine", metadata=provenance(optics=optics), **IN_UM)
    dock = make(viewer)
    assert dock.optics.optics().as_dict() == pytest.approx(optics | {"pixel_um": 0.3})
    dock.optics.fields["na"].setText("1.1")
    dock.optics.fields["na"].editingFinished.emit()
    viewer.layers["mine"].name = "renamed"
    viewer.add_image(TRUTH, name="truth", **IN_UM)
    assert dock.optics.optics().na == 1.1


@pytest.mark.parametrize(
    ("text", "heights"),
    [
        ("", ()), ("2 5 8", (2, 5, 8)), ("8, 2, 5", (2, 5, 8)), ("2,5; 5", (2.5, 5)),
        ("2,5,8", (2, 5, 8)), ("2 µm 5µm", (2, 5)), ("500 nm; 1", (0.5, 1)),
    ],
)  # fmt: skip
def test_heights_as_people_type_them(text: str, heights: tuple[float, ...]) -> None:
    assert parse_heights(text) == pytest.approx(heights)
    with pytest.raises(InputError, match="'here' in the heights"):
        parse_heights(text + " here")


@pytest.mark.parametrize(("text", "words"), [("3,6", "type 3.6, or 3 6"), ("2,5 µm", "2.5µm")])
def test_one_or_two_heights_are_not_guessed(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_heights(text)


def test_layers_that_change_midway_never_raise(compared, qtbot) -> None:
    viewer = ViewerModel()
    dock = compared(viewer)
    truth, mine = viewer.layers["truth"], viewer.layers["mine"]
    dock.act()
    mine.name = "renamed"
    viewer.layers.remove(truth)
    with qtbot.waitSignal(dock.ended, timeout=20_000):
        pass
    assert dock.comparison.names == ["mine", "Baseline: linear"]
    assert dock.reference.layer() is None
    viewer.dims.set_point(0, 3.0)
    dock.in_view.go(3.0)
    viewer.layers.remove(mine)
    assert not dock.footer.action.isEnabled()
    assert dock.plot.canvas.drawn is not None  # what was measured stays


@pytest.mark.parametrize("pixels", [TRUTH[0], TRUTH[:5]])
def test_a_reference_that_gets_other_pixels_midway_marks_no_plane(
    compared, qtbot, pixels: np.ndarray
) -> None:
    viewer = ViewerModel()
    dock = compared(viewer)
    before = dock.comparison

    def start() -> None:
        dock.act()
        viewer.layers["truth"].data = pixels

    assert finish(qtbot, dock, start).state == "done"
    assert dock.comparison is not before
    pd.testing.assert_frame_equal(dock.comparison.means, before.means)
    for go in (dock.in_view.go, lambda z_um: dock.in_view.step(int(z_um))):
        point = viewer.dims.point
        go(3.0)
        assert viewer.dims.point == point
    assert dock.in_view.z_um() is None


@pytest.mark.parametrize("is_removed_meanwhile", [False, True])
def test_removed_layers_are_let_go(make, qtbot, is_removed_meanwhile: bool) -> None:
    """Neither the curve nor the difference keeps the pixels of a layer that is gone."""
    viewer = ViewerModel()
    add_pair(viewer)
    pixels = MADE.copy()
    gone = weakref.ref(pixels)
    viewer.add_image(pixels, name="large", metadata=provenance(*SCANS), **IN_UM)
    del pixels
    dock = make(viewer)

    def start() -> None:
        dock.act()
        if is_removed_meanwhile:
            viewer.layers.remove("large")

    finish(qtbot, dock, start)
    if not is_removed_meanwhile:
        assert dock.difference_of.findText("large") >= 0
        viewer.layers.remove("large")
    assert "large" in dock.comparison.names
    assert dock.difference_of.findText("large") < 0
    viewer.add_image(MADE, name="next", **IN_UM)  # napari itself remembers the last selected
    qtbot.wait(10)
    gc.collect()
    assert gone() is None
    assert dock.difference_button.isEnabled()
    viewer.layers.remove("truth")
    assert not dock.difference_button.isEnabled()


def test_cancel_and_a_closed_dock_stop_the_work(make, qtbot) -> None:
    viewer = ViewerModel()
    add_pair(viewer)

    def slow(block: np.ndarray) -> np.ndarray:
        time.sleep(0.05)
        return block

    lazy = dask.array.from_array(MADE, chunks=(1, 32, 40)).map_blocks(slow, dtype=MADE.dtype)
    viewer.add_image(
        lazy, name="lazy", metadata=provenance(*SCANS), contrast_limits=(0, 900), **IN_UM
    )
    dock = make(viewer)
    tick(dock, "lazy")
    dock.act()
    assert dock.footer.cancel.isEnabled()
    with qtbot.waitSignal(dock.ended, timeout=20_000) as ended:
        dock.footer.cancel.click()
    assert ended.args[0].state == "cancelled"
    assert dock.comparison is None
    dock.act()
    run = dock.run
    dock.deleteLater()
    qtbot.waitUntil(lambda: not isalive(dock))
    assert run.is_cancelled


def test_settings_are_remembered(compared, make, qtbot) -> None:
    dock = compared(ViewerModel())
    dock.choose_baselines(["nearest", "pchip"])
    dock.options.fit.value = True
    finish(qtbot, dock, dock.footer.action.click)
    again = make(ViewerModel())
    assert again.baselines == ("nearest", "pchip")
    assert again.options.fit.value


def test_every_control_has_a_name_and_a_tooltip(make) -> None:
    dock = make(ViewerModel())
    kinds = (QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox, QListWidget)
    for kind in kinds:
        for control in dock.findChildren(kind):
            if not control.objectName().startswith("qt_"):
                assert control.toolTip(), control
                assert control.accessibleName() or control.text(), control


def test_in_a_real_window(make_napari_viewer: Any, compared, qtbot) -> None:
    """The whole way by keyboard and mouse, in both themes, in a window 800 pixels high."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    dock = compared(viewer)
    viewer.window.add_dock_widget(dock, name="Compare", area="right")
    qtbot.wait(200)
    assert dock.height() <= 800
    canvas = dock.plot.canvas
    dark = canvas.figure.get_facecolor()
    viewer.theme = "light"
    assert canvas.figure.get_facecolor() != dark
    canvas.draw()
    axes = canvas.figure.axes[0]
    x, y = axes.transData.transform((6.5, np.mean(axes.get_ylim())))
    ratio = canvas.devicePixelRatioF()
    at = canvas.rect().topLeft() + type(canvas.rect().topLeft())(
        round(x / ratio), round(canvas.height() - y / ratio)
    )
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=at)
    assert viewer.dims.point[0] == pytest.approx(6.5)
    qtbot.keyClick(canvas, Qt.Key.Key_Left)
    assert viewer.dims.point[0] == pytest.approx(6.0)
    dock.layers.setCurrentRow(0)
    qtbot.keyClick(dock.layers, Qt.Key.Key_Space)
    assert dock.layers.ticked() == []
    viewer.window.remove_dock_widget(dock)
    viewer.dims.set_point(0, 3.0)


def test_a_reference_of_more_axes_may_be_removed_and_held_elsewhere(make, qtbot) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(
        TRUTH[None, None],
        name="truth",
        scale=(1, 1, *IN_UM["scale"]),
        translate=(0, 0, *IN_UM["translate"]),
        units=("pixel", "pixel", *IN_UM["units"]),
    )
    viewer.add_image(MADE, name="mine", metadata=provenance(*SCANS), **IN_UM)
    dock = make(viewer)
    finish(qtbot, dock, dock.footer.action.click)
    dock.in_view.go(4.0)
    assert dock.in_view.z_um() == pytest.approx(4.0)
    viewer.layers.remove(layer)
    viewer.dims.set_point(0, 3.0)
    assert dock.in_view.z_um() is None
