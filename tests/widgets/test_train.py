"""The Train dock: a stack and a model in, a weights file out, in a real napari window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from napari.components import ViewerModel
from napari.qt.threading import WorkerBase
from qtpy.compat import isalive
from qtpy.QtCore import QPoint, QThreadPool
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QFileDialog, QLineEdit

from files import heights, write_ome
from napari_recurrent_mz import Optics
from napari_recurrent_mz.docks.shared import settings
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY
from napari_recurrent_mz.docks.shared.method_panel import OWN_MODELS
from napari_recurrent_mz.docks.train.dock import TrainDock
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import load_model, save_model
from napari_recurrent_mz.training import adapt
from napari_recurrent_mz.training.learner import TrainConfig

PLUGIN = "napari-recurrent-mz"
OPTICS = Optics(na=0.8, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.3)
STACK = np.random.default_rng(3).gamma(2.0, 100.0, (12, 64, 80)).astype(np.uint16)
IN_UM = {"scale": (0.5, 0.3, 0.3), "units": ("um", "um", "um"), "axis_labels": ("z", "y", "x")}

RESULT = {"metadata": {METADATA_KEY: {"scans": [{"z_um": 1.0}]}}}


@pytest.fixture
def start(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=2, norm="none"))
    save_model(network, {}, tmp_path / "start.safetensors")
    return tmp_path / "start.safetensors"


@pytest.fixture
def make(qtbot: Any, quick_survey: None, start: Path) -> Iterator[Callable[..., TrainDock]]:
    """A dock with the optics given, that would start from a small model."""
    docks: list[TrainDock] = []

    def make(viewer: Any = None) -> TrainDock:
        dock = TrainDock(ViewerModel() if viewer is None else viewer)
        docks.append(dock)
        qtbot.waitUntil(lambda: dock.method.model is not None)
        dock.method.open_model(str(start))
        dock.optics.set_values(OPTICS.as_dict(), "from the sample")
        dock.result.minutes.value = 1
        return dock

    yield make
    for dock in docks:
        if isalive(dock):
            dock.cancel()
            dock.deleteLater()
    assert QThreadPool.globalInstance().waitForDone(20_000)
    qtbot.wait(10)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small steps."""
    usual = adapt.adapting

    def small(*given: Any) -> TrainConfig:
        config = usual(*given)
        return replace(config, batch=1, examples=replace(config.examples, crop=32))

    monkeypatch.setattr(adapt, "adapting", small)


def state(dock: TrainDock) -> tuple[str, str]:
    return dock.footer.state.text(), dock.footer.state.kind


def test_an_empty_dock_says_how_to_begin(make) -> None:
    dock = make()
    assert state(dock) == (
        "Choose a full z-stack of your own to learn from, or open its file.",
        "hint",
    )
    assert not dock.footer.action.isEnabled()
    assert not dock.footer.cancel.isEnabled()


@pytest.mark.parametrize(
    ("data", "about", "words"),
    [
        (STACK[0], {}, "'mine' is one image, not a stack"),
        (np.zeros((12, 64, 80, 3), np.uint8), {"rgb": True}, "'mine' is an RGB image"),
        (STACK > 99, IN_UM, "'mine' holds values of type bool, as masks do"),
        (STACK, IN_UM | RESULT, "'mine' was made from scans"),
        (STACK[None].repeat(2, 0), {}, "one channel and one time point"),
        (STACK, {"axis_labels": ("c", "y", "x")}, "are along axis 'c', not z"),
        (STACK, {}, "The z-step of 'mine' is not known"),
        (STACK, IN_UM | {"scale": (0.5, 0.2, 0.2)}, "is 0.3 µm here but 0.2 µm in 'mine'"),
        (STACK, IN_UM, ""),
    ],
)
def test_a_layer_that_is_no_stack_is_told(make, data, about, words: str) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(data, name="mine", **about)
    dock = make(viewer)
    dock.stacks.first.value = None
    dock.stacks.first.value = layer
    dock.check()
    assert words in state(dock)[0]
    assert dock.footer.action.isEnabled() == (not words)
    assert dock.stacks.step.native.isVisibleTo(dock) == ("z-step" in words)


def test_a_typed_z_step_serves_a_stack_that_does_not_say(make) -> None:
    viewer = ViewerModel()
    dock = make(viewer)
    dock.stacks.first.value = viewer.add_image(STACK, name="mine")
    for text, words in (("-1", "not above 0"), ("0.5 µm", "")):
        dock.stacks.step.native.setText(text)
        dock.stacks.step.native.editingFinished.emit()
        assert words in state(dock)[0]
    assert state(dock)[0] == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda dock: dock.optics.fields["na"].setText(""), "NA"),
        (lambda dock: dock.result.path.native.setText(""), "file to save as is missing"),
        (
            lambda dock: dock.result.path.native.setText("/nowhere/at/all.safetensors"),
            "does not exist",
        ),
        (
            lambda dock: dock.result.path.native.setText("~no-such-user/mine.safetensors"),
            "folder '~no-such-user' does not exist",
        ),
        (lambda dock: dock.result.path.native.setText("mine.pt"), "must end in .safetensors"),
        (
            lambda dock: dock.result.path.native.setText(dock.method.model_name()),
            "exists already",
        ),
        (lambda dock: dock.stacks.update(second=dock.stacks.first.value), "chosen twice"),
        (lambda dock: dock.optics.fields["pixel_um"].setText("0.4"), "pixel size is 0.4 µm"),
    ],
)
def test_what_is_missing_is_told(make, change: Callable[[Any], Any], words: str) -> None:
    viewer = ViewerModel()
    viewer.add_image(STACK, name="mine", **IN_UM)
    dock = make(viewer)
    dock.check()
    assert state(dock)[0] == ""
    change(dock)
    dock.check()
    assert words in state(dock)[0]
    assert not dock.footer.action.isEnabled()


def test_a_thin_stack_is_told_when_it_is_tried(make, qtbot, tmp_path: Path) -> None:
    viewer = ViewerModel()
    viewer.add_image(STACK[:5], name="thin", **IN_UM)
    dock = make(viewer)
    dock.result.path.native.setText(str(tmp_path / "out.safetensors"))
    with qtbot.waitSignal(dock.ended, timeout=30_000):
        dock.act()
    assert "'thin' has only 5 planes" in dock.footer.message.text()
    assert dock.footer.message.kind == "error"
    assert not (tmp_path / "out.safetensors").exists()


def test_the_only_stack_is_chosen_and_its_optics_taken(make, tmp_path: Path) -> None:
    viewer = ViewerModel()
    viewer.add_image(STACK[0], name="image")
    known = {METADATA_KEY: {"na": 1.1, "wavelength_um": 0.6}}
    layer = viewer.add_image(STACK, name="my cells.tif", metadata=known, **IN_UM)
    dock = TrainDock(viewer)
    assert dock.stacks.first.value is layer
    assert dock.optics.fields["na"].value() == 1.1
    assert dock.optics.fields["pixel_um"].value() == pytest.approx(0.3)
    assert Path(dock.result.path.value).name == "my-cells-adapted.safetensors"
    viewer.layers.remove(layer)
    assert dock.stacks.first.value is None
    dock.deleteLater()


def test_the_one_measured_stack_is_chosen_also_when_it_comes_later(make, qtbot) -> None:
    viewer = ViewerModel()
    dock = make(viewer)
    assert dock.chosen == []
    made = {METADATA_KEY: {"method": "lmmse"}}
    viewer.add_image(STACK, name="volume", metadata=made, **IN_UM)
    viewer.add_image(STACK[0], name="scan")
    mine = viewer.add_image(STACK, name="mine", **IN_UM)
    qtbot.waitUntil(lambda: dock.chosen == [mine])
    viewer.add_image(STACK, name="other", **IN_UM)
    qtbot.wait(20)
    assert dock.chosen == [mine]
    viewer.layers.remove("mine")
    assert dock.chosen == []


def test_a_file_is_opened_as_a_layer_and_chosen(make, qtbot, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "mine.tif"
    about = {"axes": "ZYX", "spacing": 0.5, "unit": "um"}
    tifffile.imwrite(path, STACK, imagej=True, resolution=(1 / 0.3, 1 / 0.3), metadata=about)
    viewer = ViewerModel()
    dock = make(viewer)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    dock.stacks.second.native.wants_file.emit()
    qtbot.waitUntil(lambda: dock.stacks.second.value is not None, timeout=10_000)
    assert dock.stacks.second.value is viewer.layers[0]
    assert state(dock)[0] == ""
    dock.drop([tmp_path / "missing.tif"])
    qtbot.waitUntil(lambda: "does not exist" in dock.footer.message.text(), timeout=10_000)


def test_adapt_stop_and_the_new_model(
    make_napari_viewer, make, make_dock, qtbot, quick, tmp_path: Path
) -> None:
    """Start, the curve grows, stop: the best so far is a file that Reconstruct offers."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    layer = viewer.add_image(STACK.copy(), name="mine", **IN_UM)
    reconstruct, dock = make_dock(viewer), make(viewer)
    viewer.window.add_dock_widget(reconstruct, name="Reconstruct", area="right")
    viewer.window.add_dock_widget(dock, name="Train", area="right", tabify=True)
    path = tmp_path / "adapted.safetensors"
    dock.result.path.native.setText(str(path))
    dock.check()
    dock.footer.action.click()
    assert not dock.footer.action.isEnabled()
    assert not dock.optics.isEnabled()
    shown = set[str]()
    format_of = dock.footer.bar.format
    qtbot.waitUntil(lambda: shown.add(format_of()) or bool(dock.curve), timeout=180_000)
    assert any(words.startswith("Testing the network as it is: ") for words in shown)
    qtbot.waitUntil(lambda: len(dock.curve) >= 2, timeout=180_000)
    lines = [
        line for line in dock.plot.figure.axes[0].lines if len(line.get_xdata()) == len(dock.curve)
    ]
    assert [tuple(point) for point in lines[-1].get_xydata()] == dock.curve
    qtbot.waitUntil(lambda: "Training steps: " in format_of(), timeout=60_000)
    assert " left" in format_of()
    with qtbot.waitSignal(dock.ended, timeout=100_000) as ended:
        dock.footer.cancel.click()
    assert ended.args[0].state == "done"
    assert load_model(path).card["data"]["stacks"][0]["name"] == "mine"
    assert "“adapted.safetensors”" in dock.footer.message.text()
    assert dock.footer.action.toolTip()
    assert reconstruct.ui.method.models.findData(str(path)) >= 0
    assert OWN_MODELS.paths()[0] == str(path)
    np.testing.assert_array_equal(layer.data, STACK)


def test_a_saturated_stack_is_told_while_it_is_learned_from_and_after(
    make, qtbot, quick, tmp_path: Path
) -> None:
    viewer = ViewerModel()
    bright = np.minimum(STACK, np.quantile(STACK, 0.98).astype(STACK.dtype))
    viewer.add_image(bright, name="bright", **IN_UM)
    dock = make(viewer)
    dock.result.path.native.setText(str(tmp_path / "out.safetensors"))
    dock.act()
    words = "12 of the 12 planes of 'bright' are at the camera's limit"
    qtbot.waitUntil(lambda: words in state(dock)[0], timeout=30_000)
    qtbot.waitUntil(lambda: len(dock.curve) >= 2, timeout=180_000)
    assert words in state(dock)[0]
    assert dock.footer.state.kind == "warning"
    with qtbot.waitSignal(dock.ended, timeout=100_000) as ended:
        dock.footer.cancel.click()
    assert ended.args[0].state == "done"
    assert words in dock.footer.message.text()
    assert "“out.safetensors”" in dock.footer.message.text()


def test_what_a_file_contradicts_is_told(make, qtbot, tmp_path: Path) -> None:
    told = heights(0.0004 * np.arange(len(STACK)))
    path = write_ome(tmp_path / "cell.ome.tif", STACK, **told)
    dock = make(ViewerModel())
    dock.drop([path])
    qtbot.waitUntil(lambda: dock.stacks.first.value is not None, timeout=10_000)
    qtbot.wait(10)
    assert "but its OME PhysicalSizeZ is 0.4 µm" in dock.footer.message.text()


def test_a_dock_that_is_closed_stops(make, qtbot, quick, tmp_path: Path) -> None:
    viewer = ViewerModel()
    viewer.add_image(STACK, name="mine", **IN_UM)
    dock = make(viewer)
    dock.result.path.native.setText(str(tmp_path / "out.safetensors"))
    dock.act()
    run = dock.run
    assert run is not None
    dock.deleteLater()
    qtbot.waitUntil(lambda: not isalive(dock))
    assert run.is_cancelled


def test_what_was_learned_is_kept_when_napari_is_closed(make, quick, qtbot, tmp_path: Path) -> None:
    dock = make(ViewerModel())
    dock._viewer.add_image(STACK, name="mine", **IN_UM)
    dock.stacks.first.value = dock._viewer.layers[0]
    path = tmp_path / "out.safetensors"
    dock.result.path.native.setText(str(path))
    dock.act()
    qtbot.waitUntil(lambda: bool(dock.curve), timeout=180_000)
    WorkerBase.await_workers(100_000)
    assert load_model(path).card["data"]["stacks"][0]["name"] == "mine"
    assert OWN_MODELS.paths()[0] == str(path)


def test_minutes_that_were_typed_stay_when_the_device_becomes_known(qtbot, make) -> None:
    dock = TrainDock(ViewerModel())
    assert not dock.method.is_ready  # devices are looked for in a thread
    dock.result.minutes.value = 7
    qtbot.waitUntil(lambda: dock.method.is_ready and dock.method.model is not None)
    assert dock.result.minutes.value == 7
    dock.deleteLater()


def test_settings_are_remembered(make, quick, qtbot, tmp_path: Path) -> None:
    viewer = ViewerModel()
    viewer.add_image(STACK[:5], name="thin", **IN_UM)
    dock = make(viewer)
    dock.result.minutes.value = 25
    dock.result.path.native.setText(str(tmp_path / "out.safetensors"))
    with qtbot.waitSignal(dock.ended, timeout=30_000):
        dock.act()
    again = make(viewer)
    assert again.optics.fields["na"].value() == 0.8
    another = TrainDock(viewer)
    assert another.result.minutes.value == 25
    assert Path(another.result.path.value).parent == tmp_path
    another.deleteLater()


def test_a_folder_that_the_system_refuses_to_look_at_is_not_proposed(make) -> None:
    settings.remember("train", {"folder": f"/{'x' * 300}/models"})
    viewer = ViewerModel()
    viewer.add_image(STACK, name="mine " * 60, **IN_UM)
    dock = make(viewer)
    path = Path(dock.result.path.value)
    assert path.parent == Path.home()
    assert path.name.startswith("mine-mine")
    dock.check()
    assert dock.footer.action.isEnabled()


def test_the_dock_fits_a_small_screen_and_follows_the_theme(
    make_napari_viewer, make, qtbot
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    viewer.add_image(STACK, name="mine", **IN_UM)
    dock = make(viewer)
    viewer.window.add_dock_widget(dock, name="Train", area="right")
    qtbot.wait(200)
    assert viewer.window._qt_window.height() <= 800
    assert dock.sizeHint().height() < 740
    for button in (dock.footer.action, dock.footer.cancel):
        assert 0 < button.mapTo(dock, button.rect().bottomLeft()).y() <= dock.height()
    grounds = []
    for theme in ("dark", "light"):
        viewer.theme = theme
        qtbot.wait(100)
        picture: QImage = dock.plot.grab().toImage()
        grounds.append(picture.pixelColor(QPoint(2, 2)).lightness())
    assert grounds[0] < 80 < 180 < grounds[1]


def test_every_control_has_a_tooltip_and_a_name(make) -> None:
    kinds = (QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox)
    dock = make()
    for kind in kinds:
        for control in dock.findChildren(kind):
            if not isinstance(control.parent(), kinds):
                assert control.toolTip(), control
                assert control.accessibleName() or getattr(control, "text", str)(), control


def test_the_plugins_menu_opens_the_dock(make_napari_viewer, quick_survey, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Train")
    assert isinstance(widget, TrainDock)
    qtbot.waitUntil(lambda: widget.method.model is not None)
