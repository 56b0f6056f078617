"""A volume that is written to the disk as it is made, and shown from there."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array
import numpy as np
import pytest
import zarr

from napari_recurrent_mz import Optics, ZGrid, reconstruct
from napari_recurrent_mz.core import device
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.reconstruct.layout import ResultPanel
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY, stack_pixels
from napari_recurrent_mz.engine import inference
from napari_recurrent_mz.engine.recipe import Recipe
from napari_recurrent_mz.engine.voxel_errors import voxel_errors
from napari_recurrent_mz.io import read_image
from napari_recurrent_mz.io._zarr import OmeZarrWriter

OPTICS = Optics(na=1.2, wavelength_um=0.5, immersion_index=1.333, pixel_um=0.2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "volumes"
    made.mkdir()
    return made


@pytest.fixture
def dock(make_dock, add_stack, folder) -> ReconstructDock:
    """Three scans of the stack (2.5, 4, 5.5 µm), linear interpolation, 13 planes to the disk."""
    dock = make_dock()
    dock.add_layers([add_stack(dock._viewer)])
    dock.set_optics(OPTICS)
    dock.set_grid(ZGrid(2.5, 5.5, 0.25))
    dock.write_to(folder)
    dock.check()
    return dock


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Lets one plane pass for each release; the fourth of a run that fails is never made."""
    passes, real = threading.Semaphore(0), inference.run

    def planes(*args: Any, **options: Any) -> Iterator[Any]:
        for event in real(*args, **options):
            if isinstance(event, inference.Plane):
                assert passes.acquire(timeout=10)
                if getattr(passes, "fails", False):
                    raise RuntimeError("a cosmic ray")
            yield event

    monkeypatch.setattr(inference, "run", planes)
    return passes


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_the_layer_is_the_file_and_both_are_the_volume(dock, folder, run_to_end) -> None:
    job_scans = [row.scan() for row in dock.ui.table.scans.used()]
    outcome = run_to_end(dock)
    path = only_file(folder)
    assert outcome.path == path
    assert path.name == "stack · Linear interpolation.ome.zarr"
    expected = reconstruct(job_scans, ZGrid(2.5, 5.5, 0.25), method="linear")
    layer = dock.result.layer
    assert isinstance(layer.data, zarr.Array)  # nothing of it is in memory
    np.testing.assert_array_equal(np.asarray(layer.data), expected)
    image = read_image(path)
    np.testing.assert_array_equal(image.data, expected)
    assert image.provenance == layer.metadata[METADATA_KEY]
    assert image.provenance["method"] == "linear"
    np.testing.assert_allclose(image.z_um, ZGrid(2.5, 5.5, 0.25).z_um)
    assert image.origin_um == pytest.approx(tuple(layer.translate[1:])) == (1, 3)
    np.testing.assert_allclose(layer.scale, [0.25, 0.2, 0.2])
    assert layer.contrast_limits_range[1] >= expected.max()
    assert f"It is in '{path}'." in dock.ui.footer.message.text()


def test_errors_of_a_volume_on_the_disk_are_a_file_beside_it(dock, folder, run_to_end) -> None:
    dock.ui.method.set_method("lmmse")
    dock.check()
    run_to_end(dock)
    volume = dock.result.layer
    scans = [row.scan() for row in dock.ui.table.scans.used()]
    outcome = run_to_end(dock, "errors")
    assert outcome.path.name == "stack · Linear MMSE · error.ome.zarr"
    assert len([*folder.iterdir()]) == 2
    errors, image = dock.result.layer, read_image(outcome.path)
    assert isinstance(errors.data, zarr.Array)
    recipe = Recipe(scans, ZGrid(2.5, 5.5, 0.25), OPTICS, "lmmse")
    expected = [*voxel_errors(recipe, np.asarray(volume.data))]
    np.testing.assert_allclose(image.data, expected, rtol=1e-4)
    assert image.provenance == errors.metadata[METADATA_KEY]
    assert image.provenance["image"].startswith("expected error")
    assert image.origin_um == pytest.approx(tuple(volume.translate[1:]))
    assert errors.contrast_limits[0] == 0
    (folder / "stack · Linear MMSE.ome.zarr").rename(folder / "elsewhere.ome.zarr")
    dock.ui.errors.click()
    assert "which is no longer there" in dock.ui.footer.message.text()
    assert len([*folder.iterdir()]) == 2


def test_a_layer_with_a_long_name_gives_a_file_with_a_shorter_one(dock, folder, run_to_end) -> None:
    dock.ui.table.scans.rows[0].layer.name = "µ" * 400
    dock.check()
    assert run_to_end(dock).state == "done"
    path = only_file(folder)
    assert path.name.startswith("µ" * 90)
    assert read_image(path).data.shape == (13, 24, 32)


def test_large_planes_are_shown_from_levels(make_dock, folder, run_to_end) -> None:
    """napari draws a coarse level from afar and in 3-D, so it never loads the finest whole."""
    dock = make_dock()
    pixels = np.random.default_rng(0).normal(100, 5, (2, 40, 2100)).astype(np.float32)
    add = dock._viewer.add_image
    dock.add_layers([add(plane, name=f"z{z}um.tif") for z, plane in enumerate(pixels, start=1)])
    dock.set_optics(OPTICS)
    dock.set_grid(ZGrid(1, 2, 1))
    dock.write_to(folder)
    dock.check()
    run_to_end(dock)
    layer = dock.result.layer
    assert layer.multiscale
    assert [level.shape for level in layer.data] == [(2, 40, 2100), (2, 20, 1050), (2, 10, 525)]
    np.testing.assert_array_equal(np.asarray(stack_pixels(layer)), pixels)


def test_cancel_keeps_the_finished_planes_as_a_file_of_their_own(dock, folder, gate, qtbot) -> None:
    dock._viewer.dims.set_point(0, 4.0)
    dock.reconstruct()
    for done in range(1, 6):
        gate.release()
        qtbot.waitUntil(lambda done=done: dock.result.done == done)
    assert list(folder.glob("*.ome.zarr")) == []  # nothing that looks finished
    layer = dock.result.layer
    np.testing.assert_array_equal(np.asarray(layer.data[6]), dock.result.job.recipe.scans[1].pixels)
    with qtbot.waitSignal(dock.ended) as ended:
        dock.cancel()
        gate.release()
    path = only_file(folder)
    assert (ended.args[0].state, ended.args[0].path) == ("cancelled", path)
    image = read_image(path)
    assert layer.data.shape == image.data.shape
    low, high = image.z_um[0], image.z_um[-1]
    assert low <= 3.5
    assert high >= 4.5
    np.testing.assert_allclose(layer.translate, [low, 1.0, 3.0])
    np.testing.assert_array_equal(np.asarray(layer.data), image.data)
    assert float(image.data.min()) > 50  # no empty plane
    own = int(np.flatnonzero(np.isclose(image.z_um, 4.0))[0])
    np.testing.assert_array_equal(image.data[own], dock.result.job.recipe.scans[1].pixels)
    assert image.provenance["state"] == "cancelled"
    assert image.provenance["measured_planes"] == [own]
    assert f"(cancelled: {len(image.data)} of " in layer.name
    said = dock.ui.footer.message.text()
    assert f"The {len(image.data)} finished planes are kept in '{path.name}'." in said


def test_a_failure_keeps_them_too_and_says_why(dock, folder, gate, qtbot) -> None:
    with qtbot.waitSignal(dock.ended) as ended:
        dock.reconstruct()
        gate.release(3)
        qtbot.waitUntil(lambda: dock.result.done == 3)
        gate.fails = True
        gate.release()
    assert ended.args[0].state == "failed"
    assert len(read_image(only_file(folder)).data) == 3
    assert "a cosmic ray" in dock.ui.footer.message.text()


def test_planes_of_a_folder_that_vanishes_are_not_shown_as_kept(dock, folder, gate, qtbot) -> None:
    dock.reconstruct()
    for done in (1, 2, 3):
        gate.release()
        qtbot.waitUntil(lambda done=done: dock.result.done == done)
    qtbot.waitUntil(lambda: dock.result.layer is not None)
    shutil.rmtree(folder)
    with qtbot.waitSignal(dock.ended, timeout=20_000) as ended:
        gate.release(20)
    assert ended.args[0].state == "failed"
    said = dock.ui.footer.message.text()
    assert "could not be written: the folder is missing" in said
    assert "kept" not in said
    assert [layer.name for layer in dock._viewer.layers] == ["stack"]


def test_planes_that_a_full_disk_cannot_keep_are_to_be_saved_elsewhere(
    dock, folder, gate, qtbot, monkeypatch
) -> None:
    real = OmeZarrWriter.put

    def put(self: OmeZarrWriter, number: int, plane: np.ndarray) -> None:
        if len(list(folder.rglob("c/*"))) >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, number, plane)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(OmeZarrWriter, "put", put)
    monkeypatch.setattr(OmeZarrWriter, "crop", full)
    with qtbot.waitSignal(dock.ended, timeout=20_000):
        dock.reconstruct()
        gate.release(20)
    said = dock.ui.footer.message.text()
    assert "the disk is full" in said
    assert "The 3 finished planes are in the layer until napari is closed: save it" in said
    (kept,) = (layer for layer in dock._viewer.layers if layer.name != "stack")
    assert "3 of 13 planes" in kept.name


def test_before_the_first_plane_nothing_is_left(dock, folder, gate, qtbot) -> None:
    with qtbot.waitSignal(dock.ended):
        dock.reconstruct()
        dock.cancel()
    assert list(folder.iterdir()) == []
    assert dock.result.layer is None


def test_what_is_there_is_never_replaced(dock, folder, run_to_end) -> None:
    run_to_end(dock)
    run_to_end(dock)
    assert sorted(path.name for path in folder.iterdir()) == [
        "stack · Linear interpolation (2).ome.zarr",
        "stack · Linear interpolation.ome.zarr",
    ]


def test_a_preview_stays_in_memory(dock, folder, run_to_end) -> None:
    run_to_end(dock, "preview")
    assert isinstance(dock.result.layer.data, np.ndarray)
    assert list(folder.iterdir()) == []


def test_what_does_not_fit_in_memory_goes_to_the_disk(dock, run_to_end, monkeypatch) -> None:
    monkeypatch.setattr(device, "memory_bytes", lambda: 30_000)
    dock.ui.result.on_disk.setChecked(False)
    dock.check()
    footer = dock.ui.footer
    assert footer.state.kind == "error"
    assert footer.state.text().endswith("or a crop, or tick “Write to disk”.")
    assert not footer.action.isEnabled()
    dock.ui.result.on_disk.setChecked(True)
    dock.check()
    assert footer.state.text() == ""
    assert "of disk" in dock.ui.grid.cost.text()
    assert run_to_end(dock).state == "done"


def test_memory_and_disk_are_said_before_the_run(dock) -> None:
    assert dock.ui.grid.cost.text().startswith("13 planes · up to 50 MB of disk · ")
    dock.ui.result.on_disk.setChecked(False)
    dock.check()
    assert dock.ui.grid.cost.text().startswith(
        "13 planes · 1 MB of memory for the volume, more while "
    )


@pytest.mark.parametrize("wrong", ["missing", "full", "none"])
def test_a_folder_that_cannot_take_it_is_told_before_the_run(
    dock, folder, monkeypatch, wrong: str
) -> None:
    if wrong == "missing":
        folder.rmdir()
        sentence, kind = "does not exist: make it first.", "error"
    elif wrong == "full":
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10_000_000))
        sentence, kind = "may need 50 MB but its disk has 10 MB free", "error"
    else:
        dock.ui.result._folder = ""
        sentence, kind = "Choose the folder for the volume.", "hint"
    dock.check()
    state = dock.ui.footer.state
    assert sentence in state.text()
    assert state.kind == kind
    assert not dock.ui.footer.action.isEnabled()


def test_the_folder_is_asked_for_once_and_remembered(qtbot, folder, monkeypatch) -> None:
    asked = []

    def ask(_parent: Any, _title: str, start: str) -> str:
        asked.append(start)
        return str(folder)

    monkeypatch.setattr(
        "napari_recurrent_mz.docks.reconstruct.layout.QFileDialog.getExistingDirectory", ask
    )
    panel = ResultPanel()
    qtbot.addWidget(panel)
    assert panel.choose.isHidden()
    panel.on_disk.click()
    assert len(asked) == 1
    assert panel.where.text() == str(folder)
    panel.remember()
    again = ResultPanel()
    qtbot.addWidget(again)
    assert not again.is_on_disk  # nobody writes to a disk unasked
    again.on_disk.click()
    assert len(asked) == 1
    assert again.output("a/b: c").name == "a_b_ c.ome.zarr"


def test_only_the_scans_of_a_lazy_stack_are_computed(make_dock, stack, run_to_end) -> None:
    computed: list[int] = []

    def plane(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        computed.append(int(block_info[0]["chunk-location"][0]))
        return block

    source = dask.array.from_array(stack, chunks=(1, 24, 32))
    lazy = source.map_blocks(plane, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
    dock = make_dock()
    about = {"scale": (0.5, 0.2, 0.2), "units": ("um",) * 3, "contrast_limits": (0, 200)}
    layer = dock._viewer.add_image(lazy, name="lazy", **about)
    computed.clear()  # what napari itself shows
    dock.add_layers([layer])
    dock.set_optics(OPTICS)
    dock.check()
    run_to_end(dock)
    assert set(computed) == {1, 4, 7}


def test_it_fills_and_ends_in_a_real_window(
    make_napari_viewer, make_dock, add_stack, folder, gate, qtbot
) -> None:
    viewer = make_napari_viewer(show=True)
    dock = make_dock(viewer)
    viewer.window.add_dock_widget(dock, name="Reconstruct", area="right")
    dock.add_layers([add_stack(viewer)])
    dock.set_optics(OPTICS)
    dock.set_grid(ZGrid(2.5, 5.5, 0.25))
    dock.write_to(folder)
    dock.check()
    dock.reconstruct()
    gate.release(3)
    qtbot.waitUntil(lambda: dock.result is not None and dock.result.done == 3)
    viewer.dims.ndisplay = 3
    qtbot.wait(50)
    viewer.dims.ndisplay = 2
    with qtbot.waitSignal(dock.ended, timeout=20_000):
        gate.release(20)
    data = np.asarray(dock.result.layer.data)
    viewer.dims.set_point(0, 3.0)
    shown = np.asarray(dock.result.layer._data_view)
    np.testing.assert_array_equal(shown, data[2])
