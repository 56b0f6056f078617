"""The Prepare dock: layers in, new layers out, what was found in plot, table and metadata."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QThreadPool
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QAbstractButton, QComboBox, QTabBar, QTableWidget
from scipy import ndimage

from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.errors import InputError
from napari_recurrent_mz.docks.prepare.dock import PrepareDock
from napari_recurrent_mz.docks.prepare.job import scan_layers
from napari_recurrent_mz.docks.prepare.pages import ALIGN, EDF, NORMALISE, REGISTER
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared.layers import (
    METADATA_KEY,
    about_layer,
    check_scan_layer,
    heights_um,
)
from napari_recurrent_mz.estimates.normalisation import edf_normalisation
from napari_recurrent_mz.io import write_volume
from napari_recurrent_mz.measure.preparation import extended_focus

RNG = np.random.default_rng(3)
SPOTS = np.zeros((72, 80))
SPOTS[tuple(RNG.integers(10, n - 10, 70) for n in SPOTS.shape)] = 1
GROUND = 200 + 6e4 * ndimage.gaussian_filter(SPOTS, 1.6)
DRIFT = np.array([(0.0, 0.0), (0.8, -0.5), (1.5, -1.1), (2.3, -1.4), (2.6, -2.2)])
STACK = np.array([ndimage.shift(GROUND, d, order=5, mode="mirror") for d in DRIFT])
STACK = (STACK[:, 8:-8, 8:-8] + RNG.normal(scale=4, size=(5, 56, 64))).clip(0).astype(np.uint16)
IN_UM = {
    "scale": (0.5, 0.2, 0.2),
    "translate": (2.0, 1.0, 3.0),
    "units": ("um", "um", "um"),
    "axis_labels": ("z", "y", "x"),
}


DOCK = PrepareDock  # that ``make`` makes


@pytest.fixture
def viewer() -> ViewerModel:
    model = ViewerModel()
    told = {METADATA_KEY: {"na": 1.2, "z_um": [2.0, 2.5, 3.0, 3.5, 4.0], "pixel_um": 0.2}}
    model.add_image(STACK.copy(), name="mine", metadata=told, **IN_UM)
    return model


def finish(qtbot: Any, dock: PrepareDock, start: Callable[[], object]) -> str:
    with qtbot.waitSignal(dock.ended, timeout=20_000) as ended:
        start()
    return str(ended.args[0].state)


def said(dock: PrepareDock) -> tuple[str, str]:
    return dock.footer.message.text(), dock.footer.message.kind


def test_the_stack_that_can_only_be_meant_is_chosen(make, viewer) -> None:
    viewer.layers.insert(0, Image(STACK[:1], name="one plane", **IN_UM))
    viewer.add_image(STACK + 1, name="another", **IN_UM)
    viewer.layers.selection = [viewer.layers["another"]]
    assert make(viewer).stack.layer() is viewer.layers["another"]


# --- align ---


def test_planes_that_did_not_move_are_said_to_be_as_well_as_they_were(make, viewer, qtbot) -> None:
    still = np.array([ndimage.gaussian_filter(GROUND, 1 + k) for k in range(5)])
    viewer.layers["mine"].data = still + RNG.normal(scale=3, size=still.shape)
    dock = make(viewer)
    assert finish(qtbot, dock, dock.footer.action.click) == "done"
    assert said(dock)[0].startswith(("No drift found: ", "No clear drift found: "))


def test_alignment_adds_a_layer_and_shows_the_drift(make, viewer, qtbot: Any, tmp_path) -> None:
    dock = make(viewer)
    before = viewer.layers["mine"]
    dock.pages.align.motion.value = "translation"
    viewer.dims.set_current_step(0, 3)
    assert finish(qtbot, dock, dock.footer.action.click) == "done"
    added = viewer.layers["mine (aligned)"]
    assert added.data.dtype == np.uint16
    assert added.data.shape == STACK.shape
    assert tuple(added.scale) == (0.5, 0.2, 0.2)
    assert tuple(added.translate) == (2.0, 1.0, 3.0)
    assert [str(unit) for unit in added.units] == ["micrometer"] * 3
    np.testing.assert_array_equal(before.data, STACK)
    assert "prepared" not in before.metadata[METADATA_KEY]
    entry = added.metadata[METADATA_KEY]
    assert entry["na"] == 1.2
    assert entry["z_um"] == [2.0, 2.5, 3.0, 3.5, 4.0]
    assert entry["prepared"][0]["task"] == "align"
    np.testing.assert_allclose(dock.table[["shift_y_um", "shift_x_um"]], 0.2 * DRIFT, atol=0.01)
    (axes,) = dock.plot.canvas.figure.axes
    shown = [line.get_xydata() for line in axes.lines[:2]]
    np.testing.assert_allclose(shown[0][:, 0], 2 + 0.5 * np.arange(5))
    np.testing.assert_allclose(shown[0][:, 1], dock.table.shift_y_um)
    np.testing.assert_allclose(shown[1][:, 1], dock.table.shift_x_um)
    assert "µm" in axes.get_ylabel()
    assert dock.motion.item(4, 1).text() == f"{dock.table.shift_y_um[4]:+.3f}"
    assert viewer.dims.current_step[0] == 3
    words, kind = said(dock)
    assert kind == "done"
    assert "before" in words
    dock.save_table(tmp_path / "shifts.csv")
    np.testing.assert_allclose(
        pd.read_csv(tmp_path / "shifts.csv").shift_y_um, dock.table.shift_y_um, rtol=1e-4
    )


def test_a_cropped_layer_lies_where_its_content_lay(make, viewer, qtbot: Any) -> None:
    dock = make(viewer)
    dock.pages.align.crop.value = True
    assert finish(qtbot, dock, dock.act) == "done"
    added = viewer.layers["mine (aligned)"]
    rows, columns = dock.alignment.common_region
    assert added.data.shape == (5, rows.stop - rows.start, columns.stop - columns.start)
    place = (2.0, 1.0 + 0.2 * rows.start, 3.0 + 0.2 * columns.start)
    np.testing.assert_allclose(added.translate, place)
    np.testing.assert_array_equal(added.data[0], STACK[0][rows, columns])


def test_selected_single_images_are_aligned_from_the_lowest_up(make, qtbot: Any) -> None:
    viewer = ViewerModel()
    flat = {"scale": (0.2, 0.2), "units": ("um", "um")}
    scans = [viewer.add_image(STACK[i], name=f"scan z={i}um", **flat) for i in (2, 0, 1)]
    other = viewer.add_image(STACK[4], name="not this one", **flat)
    dock = make(viewer)
    dock.pages.align.what.value = "scans"
    viewer.layers.selection = {other}
    dock.check()
    assert "Select two or more" in dock.footer.state.text()
    viewer.layers.selection = set(scans)
    dock.check()
    assert dock.footer.action.isEnabled()
    assert finish(qtbot, dock, dock.act) == "done"
    names = [layer.name for layer in viewer.layers]
    assert names[4:] == [f"scan z={i}um (aligned)" for i in range(3)]
    np.testing.assert_array_equal(viewer.layers["scan z=0um (aligned)"].data, STACK[0])
    np.testing.assert_allclose(dock.table.shift_y_um, 0.2 * DRIFT[:3, 0], atol=0.01)
    np.testing.assert_allclose(dock.table.z_um, [0, 1, 2])
    assert viewer.layers["scan z=2um (aligned)"].data.shape == STACK[0].shape


# --- EDF and normalisation ---


def test_an_edf_with_its_heights(make, viewer, qtbot: Any) -> None:
    dock = make(viewer)
    dock.pages.setCurrentIndex(EDF)
    dock.pages.edf.heights.value = True
    assert dock.footer.action.text() == "Make EDF"
    assert finish(qtbot, dock, dock.act) == "done"
    image, heights = viewer.layers["EDF of mine"], viewer.layers["Heights of mine (µm)"]
    expected = extended_focus(STACK)
    np.testing.assert_array_equal(image.data, expected.image)
    np.testing.assert_allclose(heights.data, 2 + 0.5 * expected.plane)
    assert tuple(image.scale) == (0.2, 0.2)
    assert tuple(image.translate) == (1.0, 3.0)
    for layer, what in ((heights, "is a map of heights"), (image, "shows all planes of a stack")):
        with pytest.raises(
            InputError, match=rf"'{re.escape(layer.name)}' {what}.*, and is no scan"
        ):
            check_scan_layer(layer)
        with pytest.raises(InputError, match=what):
            scan_layers([layer, layer])


def test_a_map_of_heights_that_was_saved_is_no_scan_in_the_docks(
    make, viewer, qtbot: Any, tmp_path: Path
) -> None:
    source, edf, heights = (str(tmp_path / f"{name}.ome.tif") for name in ("in", "edf", "map"))
    write_volume(source, STACK, 0.5 * np.arange(len(STACK)), 0.2)
    assert main(["prepare", "edf", source, "-o", edf, "--heights", heights]) == 0
    dock = ReconstructDock(viewer)
    qtbot.addWidget(dock)
    viewer.layers.clear()
    for path, what in ((heights, "is a map of heights"), (edf, "shows all planes of a stack")):
        dock.drop([Path(path)])
        said = dock.ui.footer.message
        qtbot.waitUntil(lambda said=said, what=what: what in said.text(), timeout=10_000)
        assert dock.ui.table.scans.rows == []


def test_what_is_made_of_an_additive_layer_is_not_added_to_it(make, viewer, qtbot: Any) -> None:
    viewer.layers["mine"].blending = "additive"
    dock = make(viewer)
    dock.pages.setCurrentIndex(EDF)
    dock.pages.edf.heights.value = True
    assert finish(qtbot, dock, dock.act) == "done"
    assert not viewer.layers["mine"].visible
    assert "hidden" in said(dock)[0]
    assert viewer.layers["EDF of mine"].blending == "additive"
    assert viewer.layers["Heights of mine (µm)"].blending != "additive"  # which are no light


def test_normalisation_is_shown_and_applied_on_request(make, viewer, qtbot: Any) -> None:
    dock = make(viewer)
    dock.pages.setCurrentIndex(NORMALISE)
    assert not dock.pages.apply.isEnabled()
    assert finish(qtbot, dock, dock.act) == "done"
    expected = edf_normalisation(extended_focus(STACK).image)
    assert dock.normalisation == expected
    (axes,) = dock.plot.canvas.figure.axes
    assert axes.get_yscale() == "log"
    marked = sorted(line.get_xdata()[0] for line in axes.lines)
    assert marked == [expected.background, expected.threshold, expected.p99]
    assert [layer.name for layer in viewer.layers] == ["mine", "EDF of mine"]
    dock.check()
    assert finish(qtbot, dock, dock.pages.apply.click) == "done"
    added = viewer.layers["mine (normalised)"]
    scaled = (STACK - expected.background) / (expected.p99 - expected.background)
    np.testing.assert_allclose(added.data, scaled, atol=1e-4)
    numbers = added.metadata[METADATA_KEY]["prepared"][0]
    assert numbers["shift"] == pytest.approx(expected.background)
    assert numbers["scale"] == pytest.approx(expected.p99 - expected.background)
    # Another stack has not been measured.
    dock.stack.choose(added)
    dock.check()
    assert not dock.pages.apply.isEnabled()


# --- registration ---


def test_a_confocal_stack_is_registered(make, qtbot: Any) -> None:
    viewer = ViewerModel()
    still = np.array([GROUND * weight for weight in (0.2, 0.6, 1.0, 0.5, 0.1)])
    wide = np.array([ndimage.gaussian_filter(plane, 1.5) for plane in still])[:, 8:-8, 8:-8]
    sharp = ndimage.shift(still, (0, 1.5, -2.5), order=3, mode="nearest")[:, 8:-8, 8:-8]
    viewer.add_image(wide, name="wide", **IN_UM)
    viewer.add_image(sharp, name="confocal", colormap="green", **IN_UM)
    dock = make(viewer)
    dock.pages.setCurrentIndex(REGISTER)
    dock.pages.register.motion.value = "translation"
    dock.pages.register.crop.value = True
    assert dock.stack.layer().name == "wide"
    assert dock.pages.register.confocal.value.name == "confocal"
    assert finish(qtbot, dock, dock.act) == "done"
    np.testing.assert_allclose(dock.registration.shift_um, (0.3, -0.5), atol=0.02)
    added = viewer.layers["confocal (registered)"]
    (rows, columns), planes = dock.registration.region, dock.registration.planes
    corner = (2 + 0.5 * planes.start, 1 + 0.2 * rows.start, 3 + 0.2 * columns.start)
    np.testing.assert_allclose(added.translate, corner)
    assert added.colormap.name == "green"
    words, kind = said(dock)
    assert "rose from" in words
    assert kind == "done"
    assert "Shift z" in dock.numbers.text()


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("data", "about", "task", "words"),
    [
        (STACK[0], {}, ALIGN, "'bad' is one image, not a stack"),
        (STACK[0], {}, EDF, "'bad' is one image, not a stack"),
        (np.zeros((5, 40, 40, 3), np.uint8), {"rgb": True}, ALIGN, "'bad' is an RGB image"),
        (np.full((5, 40, 40), 3), {}, ALIGN, "Plane 0 of layer 'bad' is constant"),
        (np.full((5, 40, 40), 3), {}, NORMALISE, "'bad' is constant"),
        (np.where(STACK == STACK[1, 2, 3], np.nan, STACK), {}, ALIGN, "that are NaN"),
        (np.where(STACK == STACK[1, 2, 3], np.nan, STACK), {}, EDF, "that are NaN"),
        (STACK, {"axis_labels": ("t", "y", "x")}, ALIGN, "are along axis 't', not z"),
        (STACK, {}, REGISTER, "'bad' does not say the size of its voxels"),
        (STACK, IN_UM | {"scale": (0.5, 0.2, -0.2)}, REGISTER, "turned, sheared or mirrored"),
    ],
)
def test_one_sentence_and_no_layer(make, qtbot: Any, data, about, task, words: str) -> None:
    viewer = ViewerModel()
    bad = viewer.add_image(data, name="bad", **about)
    viewer.add_image(STACK, name="other", **IN_UM)
    dock = make(viewer)
    dock.stack.choose(bad)
    dock.pages.register.confocal.value = viewer.layers["other"]
    dock.pages.setCurrentIndex(task)
    dock.act()
    if dock.run is not None:
        with qtbot.waitSignal(dock.ended, timeout=20_000):
            pass
    text, kind = said(dock)
    assert words in text
    assert kind == "error"
    assert "Traceback" not in text
    assert [layer.name for layer in viewer.layers] == ["bad", "other"]
    dock.stack.choose(viewer.layers["other"])
    assert said(dock)[0] == ""  # it was about another choice


def test_that_a_layer_is_turned_in_the_viewer_is_told_for_its_result_is_not(make) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(STACK, name="turned", rotate=30, **IN_UM)
    dock = make(viewer)
    dock.check()
    assert "'turned' is rotated or sheared in the viewer" in dock.footer.warnings.text()
    layer.rotate = np.eye(3)
    dock.check()
    assert dock.footer.warnings.text() == ""


def test_an_empty_dock_says_how_to_begin(make) -> None:
    dock = make(ViewerModel())
    assert "Choose a stack" in dock.footer.state.text()
    assert not dock.footer.action.isEnabled()
    assert "appear here" in dock.plot.canvas.reason


def test_a_layer_may_go_and_a_dock_close_in_the_middle(make, viewer, qtbot: Any) -> None:
    dock = make(viewer)
    with qtbot.waitSignal(dock.ended, timeout=20_000):
        dock.act()
        viewer.layers["mine"].name = "renamed"
        viewer.layers.clear()
    qtbot.waitUntil(lambda: dock.stack.layer() is not None)  # what was made
    assert said(dock)[1] == "done"
    viewer.add_image(STACK, name="again", **IN_UM)
    dock.stack.choose(viewer.layers["again"])
    dock.pages.setCurrentIndex(EDF)
    dock.act()
    dock.cancel()
    dock.close()
    dock.setParent(None)
    assert QThreadPool.globalInstance().waitForDone(20_000)
    qtbot.wait(10)
    assert "EDF of again" not in viewer.layers


def changed(layer: Image, change: str) -> None:
    """Do to a layer what a person may while a run goes on."""
    if change == "data":
        layer.data = STACK[0]
    else:
        layer.scale, layer.translate = (1, 0.3, 0.3), (0, 0, 0)


@pytest.mark.parametrize("change", ["data", "place"])
@pytest.mark.parametrize("crop", [False, True])
def test_an_aligned_stack_lies_where_it_lay_when_it_was_read(
    make, viewer, qtbot: Any, change: str, crop: bool
) -> None:
    dock = make(viewer)
    dock.pages.align.motion.value = "translation"
    dock.pages.align.crop.value = crop

    def start() -> None:
        dock.act()
        changed(viewer.layers["mine"], change)

    assert finish(qtbot, dock, start) == "done"
    assert said(dock)[1] == "done"
    added = viewer.layers["mine (aligned)"]
    rows, columns = dock.alignment.common_region
    corner = (0.2 * rows.start, 0.2 * columns.start) if crop else (0, 0)
    np.testing.assert_allclose(added.scale, (0.5, 0.2, 0.2))
    np.testing.assert_allclose(added.translate, np.add((2, 1, 3), (0, *corner)))
    np.testing.assert_allclose(heights_um(added)[0], [2, 2.5, 3, 3.5, 4])
    np.testing.assert_allclose(dock.table[["shift_y_um", "shift_x_um"]], 0.2 * DRIFT, atol=0.01)
    assert added.metadata[METADATA_KEY]["prepared"][0]["cropped"] is crop


@pytest.mark.parametrize(
    ("change", "words"), [("data", "is one image, not a stack"), ("place", "was moved or scaled")]
)
def test_stacks_that_change_while_they_are_registered_are_told(
    make, viewer, qtbot: Any, change: str, words: str
) -> None:
    viewer.add_image(STACK[:, ::-1].copy(), name="confocal", **IN_UM)
    dock = make(viewer)
    dock.pages.setCurrentIndex(REGISTER)

    def start() -> None:
        dock.act()
        changed(viewer.layers["mine"], change)

    finish(qtbot, dock, start)
    assert words in said(dock)[0]
    assert said(dock)[1] == "error"
    assert [layer.name for layer in viewer.layers] == ["mine", "confocal"]


def test_settings_are_remembered(make, viewer, qtbot: Any) -> None:
    dock = make(viewer)
    dock.pages.align.reference.value = "mean"
    dock.pages.align.crop.value = True
    assert finish(qtbot, dock, dock.act) == "done"
    again = make(viewer)
    assert again.pages.align.reference.value == "mean"
    assert again.pages.align.crop.value


# --- in a real window ---


def test_in_a_window(make_napari_viewer_proxy: Any, qtbot: Any, tmp_path: Path) -> None:
    viewer = make_napari_viewer_proxy()
    viewer.add_image(STACK, name="mine", **IN_UM)
    _, dock = viewer.window.add_plugin_dock_widget("napari-recurrent-mz", "Prepare")
    assert isinstance(dock, PrepareDock)
    for part in (*dock.findChildren(QAbstractButton), *dock.findChildren(QComboBox)):
        if not isinstance(part.parent(), QTabBar | QTableWidget):  # Qt's own arrows and corner
            assert part.toolTip(), part
    assert dock.minimumSizeHint().height() <= 800
    with qtbot.waitSignal(dock.ended, timeout=30_000):
        dock.act()
    assert "mine (aligned)" in viewer.layers
    dark = dock.plot.canvas.figure.get_facecolor()
    viewer.theme = "light"
    assert dock.plot.canvas.figure.get_facecolor() != dark
    dock.plot.save(tmp_path / "drift.png")
    assert not QImage(str(tmp_path / "drift.png")).isNull()


def test_planes_that_are_kept_of_an_uneven_stack_keep_their_heights() -> None:
    known = {METADATA_KEY: {"pixel_um": 0.1, "z_um": [10.0, 18.0, 20.0, 23.5]}}
    place = {"scale": (3.5, 0.1, 0.1), "translate": (10, 0, 0), "units": ("um",) * 3}
    layer = Image(np.zeros((4, 16, 16)), metadata=known, **place)
    about = about_layer(layer, "kept", {"task": "register"}, planes=slice(1, 4))
    kept = Image(np.zeros((3, 16, 16)), **about)
    np.testing.assert_allclose(heights_um(kept)[0], [18, 20, 23.5])
    layer.scale = (2, 0.1, 0.1)
    moved = Image(np.zeros((3, 16, 16)), **about_layer(layer, "kept", {}, planes=slice(1, 4)))
    np.testing.assert_allclose(heights_um(moved)[0], [12, 14, 16])
