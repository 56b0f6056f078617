"""Save volume…, and the button that gives layers in pixels their size."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QFileDialog

from files import with_objectives, write_ome
from napari_recurrent_mz.core.progress import tell
from napari_recurrent_mz.docks.files import save_volume as _save_volume
from napari_recurrent_mz.docks.files.layer_files import LayersFile
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared.layers import heights_um, known_metadata
from napari_recurrent_mz.io import read_image


class Dialog:
    """The file dialog: answers with a path, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: tuple[str, str] = ("", "")
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, *asked: Any) -> tuple[str, str]:
        self.asked.append(asked)
        return self.answer


@pytest.fixture
def dialog(monkeypatch: pytest.MonkeyPatch) -> Dialog:
    made = Dialog()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", made)
    return made


@pytest.fixture
def done(make_dock: Any, add_stack: Any, run_to_end: Any) -> ReconstructDock:
    """A dock whose reconstruction has ended."""
    dock = make_dock()
    dock.add_layers([add_stack(dock._viewer)])
    dock.check()
    assert not dock.ui.save.button.isEnabled()
    assert "no finished volume yet" in dock.ui.save.button.toolTip()
    run_to_end(dock)
    return dock


def press(
    qtbot: Any, dock: ReconstructDock, dialog: Dialog, name: Path | str, kind: str = ""
) -> str:
    """Save under a name; what the dock says of it."""
    dialog.answer = (str(name), kind or "OME-TIFF (*.ome.tif)")
    dock.ui.footer.say("", "hint")
    dock.ui.save.button.click()
    qtbot.waitUntil(lambda: bool(dock.ui.footer.message.text()), timeout=10_000)
    return str(dock.ui.footer.message.text())


@pytest.mark.parametrize("ending", [".ome.tif", ".ome.zarr"])
def test_a_volume_is_saved_as_it_is(
    qtbot: Any, done: ReconstructDock, dialog: Dialog, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"volume{ending}"
    assert press(qtbot, done, dialog, path) == f"Saved in '{path}'."
    assert done.ui.footer.message.kind == "done"
    layer, image = done.result.layer, read_image(path)
    np.testing.assert_array_equal(image.data, layer.data)
    assert image.data.dtype == np.float32
    heights = layer.translate[0] + layer.scale[0] * np.arange(len(layer.data))
    np.testing.assert_allclose(image.z_um, heights)
    assert (image.pixel_um, image.origin_um) == (0.2, (1.0, 3.0))
    assert [scan["z_um"] for scan in image.provenance["scans"]] == [2.5, 4, 5.5]
    assert done.ui.save.button.isEnabled()


@pytest.mark.parametrize("ngff", ["0.5", "0.4"])
def test_a_volume_that_lies_on_the_disk_is_saved_elsewhere(
    qtbot: Any, done: ReconstructDock, dialog: Dialog, tmp_path: Path, run_to_end: Any, ngff: str
) -> None:
    done.write_to(tmp_path, ngff)
    outcome = run_to_end(done)
    assert (outcome.path / ".zattrs").is_file() == (ngff == "0.4")
    assert str(tmp_path / "b.ome.tif") in press(qtbot, done, dialog, tmp_path / "b.ome.tif")
    image, kept = read_image(tmp_path / "b.ome.tif"), read_image(outcome.path)
    np.testing.assert_array_equal(image.data, kept.data)
    assert image.provenance["scans"] == kept.provenance["scans"]


@pytest.mark.parametrize("is_opened", [False, True])
def test_a_volume_that_is_gone_from_the_disk_is_not_saved_as_zeros(
    qtbot: Any, done: ReconstructDock, dialog: Dialog, tmp_path: Path, run_to_end: Any,
    manager: Any, is_opened: bool,
) -> None:  # fmt: skip
    (tmp_path / "volumes").mkdir()
    done.write_to(tmp_path / "volumes")
    path = run_to_end(done).path
    if is_opened:
        (layer,) = done._viewer.open(str(path), plugin="napari-recurrent-mz")
        done.ui.save.offer([layer])
    path.rename(tmp_path / "elsewhere.ome.zarr")
    said = press(qtbot, done, dialog, tmp_path / "saved.ome.tif")
    assert f"were in '{path}', which is no longer there" in said
    assert not (tmp_path / "saved.ome.tif").exists()
    (tmp_path / "elsewhere.ome.zarr").rename(path)
    assert "Saved in" in press(qtbot, done, dialog, tmp_path / "saved.ome.tif")


def test_the_folder_is_remembered_and_the_layers_name_suggested(
    qtbot: Any, done: ReconstructDock, dialog: Dialog, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    press(qtbot, done, dialog, tmp_path / "mine/a.ome.tif")
    dialog.answer = ("", "")
    done.ui.save.button.click()
    assert Path(dialog.asked[-1][2]).parent == tmp_path / "mine"
    assert "Linear interpolation" in dialog.asked[-1][2]


def test_decimals_in_a_name_are_no_ending(
    qtbot: Any, done: ReconstructDock, dialog: Dialog, tmp_path: Path
) -> None:
    press(qtbot, done, dialog, tmp_path / "volume 0.5")
    press(qtbot, done, dialog, tmp_path / "volume", "OME-Zarr, for large volumes (*.ome.zarr)")
    made = {"volume 0.5.ome.tif", "volume.ome.zarr"}
    assert made <= {path.name for path in tmp_path.iterdir()}


def test_the_older_ome_zarr_is_one_of_the_kinds(
    qtbot: Any, done: ReconstructDock, dialog: Dialog, tmp_path: Path
) -> None:
    press(qtbot, done, dialog, tmp_path / "first.ome.tif")
    *_, kind = dialog.asked[-1][3].split(";;")
    assert "0.4" in kind
    press(qtbot, done, dialog, tmp_path / "old", kind)
    multiscales = json.loads((tmp_path / "old.ome.zarr/.zattrs").read_text())["multiscales"]
    assert multiscales[0]["version"] == "0.4"


@pytest.mark.parametrize("name", ["a.ome.tif", "a", "a.ome.zarr"])
def test_nothing_that_is_there_is_replaced(
    qtbot: Any, done: ReconstructDock, dialog: Dialog, tmp_path: Path, name: str
) -> None:
    for ending in (".ome.tif", ".ome.zarr"):
        press(qtbot, done, dialog, tmp_path / f"a{ending}")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".ini"]
    before = {path: path.read_bytes() for path in files}
    assert "is already there and stays as it is" in press(qtbot, done, dialog, tmp_path / name)
    assert done.ui.footer.message.kind == "error"
    assert {path: path.read_bytes() for path in before} == before


def test_where_nothing_can_be_written_is_one_sentence(
    qtbot: Any, done: ReconstructDock, dialog: Dialog, tmp_path: Path
) -> None:
    said = press(qtbot, done, dialog, tmp_path / "missing/a.ome.tif")
    assert "The folder" in said
    assert "does not exist" in said
    assert "end it in .ome.tif" in press(qtbot, done, dialog, tmp_path / "a.png")


def test_what_takes_long_shows_how_far_it_is_and_can_be_ended(
    qtbot: Any,
    done: ReconstructDock,
    dialog: Dialog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = threading.Event()

    def slow(_self: LayersFile, _path: Path, on_plane: Any, *_: Any) -> None:
        while True:
            on_plane(1, 4)
            begun.set()
            time.sleep(0.01)

    monkeypatch.setattr(LayersFile, "write", slow)
    save = done.ui.save
    save._patience.setInterval(0)
    dialog.answer = (str(tmp_path / "a.ome.tif"), "OME-TIFF (*.ome.tif)")
    save.button.click()
    assert not save.button.isEnabled()
    qtbot.waitUntil(lambda: begun.is_set() and not save.saving.isHidden())
    qtbot.waitUntil(lambda: save.saving.bar.value() == 1)
    save.saving.cancel.click()
    qtbot.waitUntil(lambda: "was not saved" in done.ui.footer.message.text())
    assert save.saving.isHidden()
    assert save.button.isEnabled()
    assert not (tmp_path / "a.ome.tif").exists()


def test_what_is_written_when_it_is_ended_is_saved(qtbot: Any) -> None:
    row, ended = _save_volume.SavingRow(), list[Any]()
    qtbot.addWidget(row)
    begun, go_on = threading.Event(), threading.Event()

    def write() -> str:
        tell("", 0, 1)
        begun.set()
        assert go_on.wait(20)
        return "a.ome.tif"

    row.save("a.ome.tif", write, ended.append)
    assert begun.wait(20)
    row.cancel.click()
    go_on.set()
    qtbot.waitUntil(lambda: bool(ended))
    assert (ended[0].state, ended[0].value) == ("done", "a.ome.tif")


def test_a_volume_that_was_removed_is_not_offered(done: ReconstructDock) -> None:
    save, result = done.ui.save, done.result.layer
    done._viewer.layers.remove(done._viewer.layers[0])
    assert save.layers == [result]
    assert save.button.isEnabled()
    done._viewer.layers.clear()
    assert not save.button.isEnabled()
    assert "no finished volume" in save.button.toolTip()


def test_while_a_volume_is_made_there_is_none_to_save(
    qtbot: Any, done: ReconstructDock, run_to_end: Any
) -> None:
    found: list[bool] = []
    done.ui.footer.bar.valueChanged.connect(lambda _: found.append(done.ui.save.button.isEnabled()))
    run_to_end(done)
    assert found
    assert not any(found)
    assert done.ui.save.layers == [done.result.layer]


def test_a_prepared_file_is_what_is_written(
    tmp_path: Path, qtbot: Any, add_stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the Live dock needs it, whose volume goes on changing."""
    from dataclasses import replace

    from napari.components import ViewerModel

    layer = add_stack(ViewerModel())
    save = _save_volume.SaveButton("volume")
    qtbot.addWidget(save)
    said: list[str] = []
    monkeypatch.setattr(_save_volume, "say", lambda _owner, text, _kind: said.append(text))

    def zeros(file: LayersFile) -> LayersFile:
        channel = replace(file.channels[0], pixels=np.zeros_like(layer.data))
        return replace(file, channels=(channel,))

    save.offer([layer], zeros)
    save.save_to(tmp_path / "a.ome.tif")
    qtbot.waitUntil(lambda: bool(said))
    assert not read_image(tmp_path / "a.ome.tif").data.any()


# --- the size of layers in pixels -------------------------------------------------------------


def world(layer: Any) -> np.ndarray:
    """Its first and last voxel in the world."""
    corners = np.array([(0, 0, 0), np.array(layer.data.shape) - 1])
    return np.array([layer.data_to_world(corner) for corner in corners])


def test_a_stack_in_pixels_gets_its_size_and_gives_it_back(
    make_dock: Any, add_stack: Any, stack: np.ndarray
) -> None:
    dock = make_dock()
    sized = add_stack(dock._viewer)
    layer = dock._viewer.add_image(stack.copy(), name="napari's")
    before = layer.data
    dock.add_layers([layer])
    button, fields = dock.scan_parts.give_size, dock.ui.optics.fields
    dock.check()
    assert button.isHidden()  # nobody knows the size of a pixel yet
    fields["pixel_um"].set_value(0.2)
    for row, z_um in zip(dock.ui.table.scans.rows, (2.5, 4.0, 5.5), strict=True):
        row.z_um = z_um  # planes 1, 4 and 7
    dock.check()
    assert not button.isHidden()
    assert button.text() == "Give the layer its size in µm"
    button.click()
    np.testing.assert_allclose(world(layer), world(sized) - [0, 1, 3], atol=1e-9)
    assert layer.units == sized.units
    assert layer.data is before
    np.testing.assert_array_equal(layer.data, stack)
    said = dock.ui.footer.message.text()
    assert "pixels of 0.2 µm, z from 2 to 6 µm" in said
    assert [row.z_um for row in dock.ui.table.scans.rows] == [2.5, 4, 5.5]
    assert fields["pixel_um"].value() == 0.2
    assert button.text() == "Undo the size"
    button.click()
    np.testing.assert_array_equal(world(layer), [(0, 0, 0), np.array(stack.shape) - 1])
    assert {str(unit) for unit in layer.units} == {"pixel"}
    assert button.text() == "Give the layer its size in µm"


@pytest.mark.usefixtures("manager")
def test_a_file_that_napari_opened_says_its_size_itself(
    make_dock: Any, stack: np.ndarray, tmp_path: Path
) -> None:
    path = write_ome(tmp_path / "a.ome.tif", stack.astype(np.uint16))
    with_objectives(path, "Objective:0", {"LensNA": "1.2"})
    dock = make_dock()
    layer = dock._viewer.open(str(path))[0]
    assert {str(unit) for unit in layer.units} == {"pixel"}
    dock.add_layers([layer])
    dock.check()
    dock.scan_parts.give_size.click()
    np.testing.assert_allclose(layer.scale, (0.4, 0.1, 0.1))
    np.testing.assert_allclose(heights_um(layer)[0], 0.4 * np.arange(9))
    assert known_metadata(layer)["na"] == 1.2  # as before, when the file was asked


def test_single_images_get_their_size(make_dock: Any, stack: np.ndarray) -> None:
    dock = make_dock()
    flat = dock._viewer.add_image(stack[0], name="cell_z1um")
    thick = dock._viewer.add_image(stack[4:5], name="cell_z3um")
    dock.add_layers([flat, thick])
    dock.ui.optics.fields["pixel_um"].set_value(0.2)
    dock.check()
    assert dock.scan_parts.give_size.text() == "Give 2 layers their size in µm"
    dock.scan_parts.give_size.click()
    np.testing.assert_allclose(flat.scale, (0.2, 0.2))
    np.testing.assert_allclose(thick.scale, (0.1, 0.2, 0.2))
    assert thick.translate[0] == 3
    assert [row.z_um for row in dock.ui.table.scans.rows] == [1, 3]
    assert "1 more" in dock.ui.footer.message.text()


def test_a_typed_step_of_a_dropped_stack_is_known_from_then_on(
    make_dock: Any, qtbot: Any, stack: np.ndarray, tmp_path: Path
) -> None:
    """It was shown with a step of 1 until then, which happens to be the right one."""
    tifffile.imwrite(tmp_path / "a.tif", stack)
    dock = make_dock()
    dock.drop([tmp_path / "a.tif"])
    qtbot.waitUntil(lambda: len(dock.ui.table.scans.rows) == 3)
    layer = dock._viewer.layers[0]
    assert heights_um(layer)[0] is None
    dock.ui.optics.fields["pixel_um"].set_value(0.2)
    dock.ui.stack.step.set_value(1.0)
    dock.ui.stack.use.click()
    dock.check()
    dock.scan_parts.give_size.click()
    np.testing.assert_allclose(heights_um(layer)[0], np.arange(9))
    dock.scan_parts.give_size.click()
    assert heights_um(layer)[0] is None


def test_a_stack_of_known_pixels_gets_its_typed_z_step(
    make_dock: Any, qtbot: Any, stack: np.ndarray, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", stack, resolution=(5e4, 5e4), resolutionunit=3)
    dock = make_dock()
    dock.drop([tmp_path / "a.tif"])
    qtbot.waitUntil(lambda: len(dock.ui.table.scans.rows) == 3)
    dock.check()
    assert dock.scan_parts.give_size.isHidden()
    dock.ui.stack.step.set_value(0.7)
    dock.ui.stack.use.click()
    dock.check()
    dock.scan_parts.give_size.click()
    layer = dock._viewer.layers[0]
    np.testing.assert_allclose(layer.scale, (0.7, 0.2, 0.2))
    np.testing.assert_allclose(heights_um(layer)[0], 0.7 * np.arange(9))


@pytest.mark.parametrize(
    ("z_um", "sentence"),
    [
        ((None, None, None), "The height of 'napari's' is not known: type those of two planes"),
        ((2.5, None, None), "The height of 'napari's' is not known: type those of two planes"),
        ((2.5, 4.0, 9.0), "'napari's' are not evenly spaced"),
        ((2.5, 2.5, 2.5), "'napari's' are not evenly spaced"),
    ],
)
def test_heights_that_say_too_little_are_refused(
    make_dock: Any, stack: np.ndarray, z_um: tuple[Any, ...], sentence: str
) -> None:
    dock = make_dock()
    layer = dock._viewer.add_image(stack, name="napari's")
    dock.add_layers([layer])
    dock.ui.optics.fields["pixel_um"].set_value(0.2)
    for row, height in zip(dock.ui.table.scans.rows, z_um, strict=True):
        row.z_um = height
    dock.check()
    dock.scan_parts.give_size.click()
    assert sentence in dock.ui.footer.message.text()
    assert dock.ui.footer.message.kind == "error"
    np.testing.assert_array_equal(layer.scale, 1)
