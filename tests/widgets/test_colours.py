"""Two colours, time-lapses and split stacks in the window."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers._layer_actions import _split_stack
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog
from scipy.ndimage import gaussian_filter

import makers
from files import write_ome
from makers import needs_readers, write_czi
from napari_recurrent_mz import Optics, Scan, ZGrid, reconstruct
from napari_recurrent_mz.docks.files.layer_files import write_ome_tiff
from napari_recurrent_mz.docks.prepare.dock import PrepareDock
from napari_recurrent_mz.docks.reconstruct.channels import EMISSION, NAME
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY, heights_um, known_metadata
from napari_recurrent_mz.docks.shared.scan_table import HEIGHT
from napari_recurrent_mz.engine import inference
from napari_recurrent_mz.engine.recipe import Recipe
from napari_recurrent_mz.engine.voxel_errors import voxel_errors
from napari_recurrent_mz.io import Channel, Place, read_image, write_channels
from napari_recurrent_mz.io._time_lapse import read_time_lapse
from napari_recurrent_mz.io._zarr import ome_attributes as read_ome

N, STEP_UM, PIXEL_UM = 9, 0.4, 0.1
_NOISE = np.random.default_rng(5).random((3, 2, N, 24, 32))
MOVIE = (200 + 4000 * gaussian_filter(_NOISE, (0, 0, 1, 1, 1))).astype(np.uint16)  # T C Z Y X
WAVELENGTHS_UM = (0.461, 0.6)
PLANES, GRID = (1, 4, 7), ZGrid(0.4, 2.8, 0.4)
OPTICS = Optics(1.2, 0.6, 1.333, PIXEL_UM)
PLUGIN = "napari-recurrent-mz"


def two_colours(folder: Path, *, says_wavelengths: bool = True) -> Path:
    channels: dict[str, Any] = {"Name": ["DAPI", "CY3"]}
    if says_wavelengths:
        channels["EmissionWavelength"] = [1e3 * w for w in WAVELENGTHS_UM]
        channels["EmissionWavelengthUnit"] = ["nm"] * 2
    return write_ome(folder / "two.ome.tif", MOVIE[0], "CZYX", Channel=channels)


def movie(folder: Path, **more: Any) -> Path:
    light = {"EmissionWavelength": [600.0], "EmissionWavelengthUnit": ["nm"]}
    return write_ome(folder / "movie.ome.tif", MOVIE[:, 1], "TZYX", Channel=light, **more)


def alone(stack: np.ndarray, wavelength_um: float) -> np.ndarray:
    """One stack, reconstructed by itself."""
    optics = Optics(1.2, wavelength_um, 1.333, PIXEL_UM)
    scans = [Scan(stack[p], STEP_UM * p) for p in PLANES]
    return reconstruct(scans, GRID, optics=optics, method="lmmse")


@pytest.fixture
def dock(make_dock: Any, manager: Any) -> ReconstructDock:
    """A dock that makes linear MMSE, with all of the optics but the emission wavelength."""
    dock = make_dock(ViewerModel(), "lmmse")
    dock.ui.optics.set_values({"na": 1.2, "immersion_index": 1.333}, "typed")
    return dock


def opened(dock: ReconstructDock, path: Path) -> list[Image]:
    """Open a file as napari does, and take its planes as scans."""
    layers = dock._viewer.open(str(path), plugin=PLUGIN)
    dock.add_layers(layers)
    dock.check()
    return layers  # type: ignore[no-any-return]


def tick_others(dock: ReconstructDock, state: Qt.CheckState) -> None:
    """Tick, or untick, all channels but that of the table."""
    table = dock.ui.channels.table
    for row in range(1, table.rowCount()):
        table.item(row, NAME).setCheckState(state)


def results(dock: ReconstructDock) -> list[Image]:
    return [
        layer for layer in dock._viewer.layers if "optics" in layer.metadata.get(METADATA_KEY, {})
    ]


class Gate:
    """Lets one plane pass for each release."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, real = threading.Semaphore(0), inference.run

        def planes(*args: Any, **options: Any) -> Iterator[Any]:
            for event in real(*args, **options):
                if isinstance(event, inference.Plane):
                    assert self.open.acquire(timeout=10)
                yield event

        monkeypatch.setattr(inference, "run", planes)


# channels ---------------------------------------------------------------------------------
def test_a_prepared_channel_is_not_the_one_it_was_made_of(
    dock: ReconstructDock, docks: list[Any], qtbot: Any, tmp_path: Path
) -> None:
    """Beside an aligned stack the unaligned ones may be ticked; they are not by themselves."""
    opened(dock, two_colours(tmp_path))
    viewer = dock._viewer
    viewer.layers.selection = {viewer.layers["DAPI"]}
    docks.append(prepare := PrepareDock(viewer))
    with qtbot.waitSignal(prepare.ended, timeout=20_000):
        prepare.act()
    assert [one.name for one in dock.ui.channels.used()] == ["DAPI", "CY3"]
    dock.add_layers([viewer.layers["DAPI (aligned)"]])
    assert [one.name for one in dock.ui.channels.used()] == ["DAPI (aligned)"]


def test_both_colours_of_a_stack_become_volumes_at_once(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    sources = opened(dock, two_colours(tmp_path))
    table = dock.ui.channels.table
    cells = [[table.item(row, column).text() for column in (NAME, EMISSION)] for row in (0, 1)]
    assert cells == [["DAPI", "0.461"], ["CY3", "0.6"]]
    assert {row.layer.name for row in dock.ui.table.scans.used() if row.layer} == {"DAPI"}
    assert dock.ui.grid.cost.text().startswith("2 channels × 7 planes")
    assert run_to_end(dock).state == "done"
    made = results(dock)
    assert [layer.name for layer in made] == ["DAPI · Linear MMSE", "CY3 · Linear MMSE"]
    assert dock._viewer.layers[-2:] == made
    assert dock._viewer.layers.selection == set(made)
    for number, layer in enumerate(made):
        expected = alone(MOVIE[0, number], WAVELENGTHS_UM[number])
        np.testing.assert_allclose(layer.data, expected, rtol=1e-6)
        assert layer.metadata[METADATA_KEY]["optics"]["wavelength_um"] == WAVELENGTHS_UM[number]
        assert layer.colormap.name == sources[number].colormap.name
        assert layer.blending == "additive"
    assert made[0].colormap.name != made[1].colormap.name
    assert not any(layer.visible for layer in sources)  # they would shine through
    assert "are ready" in dock.footer.message.text()
    told = dock.footer.message.toolTip().splitlines()
    for name in ("DAPI", "CY3"):  # how far each can be believed
        assert any(line.startswith(f"“{name} · Linear MMSE”: Expected error") for line in told)


def test_what_comes_beside_two_colours_is_not_added_to_their_light(
    dock: ReconstructDock, tmp_path: Path, qtbot: Any, run_to_end: Any
) -> None:
    opened(dock, two_colours(tmp_path))
    run_to_end(dock)
    made = results(dock)
    dock.add_interpolation()
    qtbot.waitUntil(lambda: dock.run is None, timeout=20_000)
    names = [layer.name for layer in dock._viewer.layers if layer.visible]
    assert names == ["DAPI · Linear interpolation", "CY3 · Linear interpolation"]
    assert not any(layer.visible for layer in made)
    assert "hidden" in dock.footer.message.text()
    dock.copy_methods()
    first, second = QApplication.clipboard().text().split("\n\n")
    assert first.startswith("DAPI · Linear MMSE: A volume of 7 planes")
    assert second.startswith("CY3 · Linear MMSE: A volume of 7 planes")


def test_what_is_said_of_many_volumes_leaves_room_for_the_form(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    light = {"Name": ["A", "B", "C"], "EmissionWavelength": [461.0, 520.0, 600.0]}
    light["EmissionWavelengthUnit"] = ["nm"] * 3
    pixels = np.concatenate([MOVIE[0], MOVIE[1, :1]])
    opened(dock, write_ome(tmp_path / "three.ome.tif", pixels, "CZYX", Channel=light))
    assert run_to_end(dock).state == "done"
    message = dock.footer.message
    assert message.text().startswith("3 volumes are ready")
    assert "\n" not in message.text()
    for name in "ABC":
        assert f"“{name} · Linear MMSE”: Expected error" in message.toolTip()
    dock.say("Another message.")
    assert not message.toolTip()


def test_a_preview_says_that_it_is_of_one_channel(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    sources = opened(dock, two_colours(tmp_path))
    run_to_end(dock, "preview")
    assert "of one channel: Reconstruct makes all 2" in dock.footer.message.text()
    assert not any(layer.visible for layer in sources)  # the other one would shine through


def test_a_preview_and_an_earlier_volume_are_not_added_to_a_new_one(
    dock: ReconstructDock, tmp_path: Path, qtbot: Any, run_to_end: Any
) -> None:
    opened(dock, two_colours(tmp_path))
    run_to_end(dock, "preview")
    dock.ui.method.set_method("richardson-lucy")  # whose draft comes long before a plane
    layers = dock._viewer.layers
    preview = layers[-1]
    seen: list[list[str]] = []
    for _ in range(2):
        dock.act()
        result = dock.result
        qtbot.waitUntil(lambda result=result: result.layer is not None, timeout=20_000)
        qtbot.waitUntil(lambda: not dock._turns.is_on, timeout=20_000)
        seen.append([one.name for one in layers if one.visible])
        qtbot.waitUntil(lambda: dock.run is None, timeout=20_000)
    first, other = (f"{name} · Richardson–Lucy" for name in ("DAPI", "CY3"))
    assert seen == [[first], [other, f"{first} [1]"]]  # both colours are added, nothing else
    assert [one.name for one in layers if one.visible] == [f"{first} [1]", f"{other} [1]"]
    assert preview not in layers


def test_what_was_hidden_for_a_volume_that_never_comes_is_seen_again(
    dock: ReconstructDock, tmp_path: Path, qtbot: Any, run_to_end: Any, monkeypatch: Any
) -> None:
    opened(dock, two_colours(tmp_path))
    run_to_end(dock, "preview")
    preview = dock._viewer.layers[-1]
    dock.ui.method.set_method("richardson-lucy")
    gate = Gate(monkeypatch)
    dock.act()
    qtbot.waitUntil(lambda: not preview.visible, timeout=20_000)
    dock.cancel()
    gate.open.release()
    qtbot.waitUntil(lambda: dock.run is None, timeout=20_000)
    assert preview.visible
    assert preview in dock._viewer.layers


def test_both_volumes_are_saved_as_one_file(
    dock: ReconstructDock,
    tmp_path: Path,
    run_to_end: Any,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened(dock, two_colours(tmp_path))
    run_to_end(dock)
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *args: asked.append(args) or ("", "")
    )
    dock.ui.save.button.click()
    assert Path(asked[0][2]).name == "DAPI + CY3 - Linear MMSE"
    path = tmp_path / "volumes.ome.tif"
    dock.ui.save.save_to(path)
    qtbot.waitUntil(path.exists)
    for number, layer in enumerate(results(dock)):
        image = read_image(path, channel=number)
        np.testing.assert_array_equal(image.data, layer.data)
        assert image.wavelength_um == pytest.approx(WAVELENGTHS_UM[number])
        assert image.channel == layer.name
    dock.copy_methods()
    written = QApplication.clipboard().text()
    viewer = dock._viewer
    viewer.layers.clear()
    dock.copy_methods()
    assert "select one from a file" in dock.footer.message.text()
    viewer.layers.selection = viewer.open(str(path), plugin=PLUGIN)
    dock.copy_methods()
    assert QApplication.clipboard().text() == written


def test_a_wavelength_that_no_file_says_is_asked_for(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    opened(dock, two_colours(tmp_path, says_wavelengths=False))
    dock.ui.optics.set_values({"wavelength_um": 0.461}, "typed")
    dock.check()
    assert "wavelength of 'CY3' is missing" in dock.footer.state.text()
    assert not dock.footer.action.isEnabled()
    dock.ui.channels.table.item(1, EMISSION).setText("600 nm")
    dock.check()
    assert dock.footer.action.isEnabled()
    run_to_end(dock)
    np.testing.assert_allclose(results(dock)[1].data, alone(MOVIE[0, 1], 0.6), rtol=1e-6)


def test_a_channel_can_be_left_out_and_stays_so(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    opened(dock, two_colours(tmp_path))
    dock.ui.channels.table.item(1, NAME).setCheckState(Qt.CheckState.Unchecked)
    dock._viewer.add_image(np.zeros((4, 4)), name="another")  # the list is made anew
    dock.check()
    assert dock.ui.grid.cost.text().startswith("7 planes")
    run_to_end(dock)
    assert [layer.name for layer in results(dock)] == ["DAPI · Linear MMSE"]


def test_stacks_of_two_files_are_channels_when_they_are_ticked(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    for number, name in enumerate(("dapi", "cy3")):
        light = {"EmissionWavelength": [1e3 * WAVELENGTHS_UM[number]]}
        write_ome(tmp_path / f"{name}.ome.tif", MOVIE[0, number], "ZYX", Channel=light)
        dock._viewer.open(str(tmp_path / f"{name}.ome.tif"), plugin=PLUGIN)
    dock.add_layers(dock._viewer.layers[:1])
    dock.check()
    assert dock.ui.grid.cost.text().startswith("7 planes")
    tick_others(dock, Qt.CheckState.Checked)
    dock.check()
    run_to_end(dock)
    for number, layer in enumerate(results(dock)):
        expected = alone(MOVIE[0, number], WAVELENGTHS_UM[number])
        np.testing.assert_allclose(layer.data, expected, rtol=1e-6)
    assert dock.ui.footer.warnings.text() == ""
    dock._viewer.layers[1].scale = (STEP_UM, 2 * PIXEL_UM, 2 * PIXEL_UM)
    dock.check()
    words = f"{PIXEL_UM:g} µm here but {2 * PIXEL_UM:g} µm in layer 'cy3"
    assert words in dock.ui.footer.warnings.text()


def test_a_channel_whose_layer_is_scaled_later_has_the_new_heights(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    main, other = opened(dock, two_colours(tmp_path))
    for layer in (main, other):
        layer.scale = (2 * STEP_UM, PIXEL_UM, PIXEL_UM)
        dock.check()  # as it does by itself after a moment
    assert run_to_end(dock).state == "done"
    heights = [
        [scan["z_um"] for scan in layer.metadata[METADATA_KEY]["scans"]] for layer in results(dock)
    ]
    assert heights == [pytest.approx([2 * STEP_UM * plane for plane in PLANES])] * 2


def test_scans_in_files_of_their_own_have_channels_too(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    for plane in PLANES:
        path = tmp_path / f"scan_z{STEP_UM * plane:.1f}um.ome.tif"
        write_ome(path, MOVIE[0, :, plane], "CYX", Channel={"Name": ["DAPI", "CY3"]})
    layers = [
        layer
        for path in sorted(tmp_path.glob("scan*"))
        for layer in dock._viewer.open(str(path), plugin=PLUGIN)
    ]
    dock.add_layers(layers)
    dock.ui.optics.set_values({"wavelength_um": 0.461}, "typed")
    dock.ui.channels.table.item(1, EMISSION).setText("0.6")
    dock.set_grid(GRID)
    dock.check()
    assert len(dock.ui.table.scans.used()) == 3
    run_to_end(dock)
    assert len(results(dock)) == 2
    for number, layer in enumerate(results(dock)):
        expected = alone(MOVIE[0, number], WAVELENGTHS_UM[number])
        np.testing.assert_allclose(layer.data, expected, rtol=1e-6)


def test_cancel_keeps_the_channel_that_is_ready(
    dock: ReconstructDock, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(dock, two_colours(tmp_path))
    expected = alone(MOVIE[0, 0], 0.461)
    gate = Gate(monkeypatch)
    with qtbot.waitSignal(dock.ended, timeout=20_000) as ended:
        dock.act()
        gate.open.release(9)  # all of the first, two of the second
        qtbot.waitUntil(lambda: len(dock.results) == 1 and dock.result.done == 2)
        qtbot.waitUntil(lambda: dock.result.layer is not None)
        dock.cancel()
        gate.open.release(9)
    assert ended.args[0].state == "cancelled"
    first, second = dock._result_layers()
    np.testing.assert_allclose(first.data, expected, rtol=1e-6)
    assert "cancelled" in second.name
    assert 2 <= second.data.shape[0] < 7
    assert "“DAPI · Linear MMSE” is ready" in dock.footer.message.text()


@pytest.mark.parametrize("kind", ["OME-Zarr", "ImageJ"])
def test_other_formats_that_are_dropped(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any, qtbot: Any, kind: str
) -> None:
    """Neither says wavelengths: both are asked for."""
    if kind == "OME-Zarr":
        place = Place(PIXEL_UM, STEP_UM * np.arange(N))
        channels = [Channel(stack) for stack in MOVIE[0]]
        path = write_channels(tmp_path / "two.ome.zarr", channels, place)
    else:
        path = tmp_path / "two.tif"
        metadata = {"axes": "ZCYX", "spacing": STEP_UM, "unit": "um"}
        size, pixels = (1 / PIXEL_UM, 1 / PIXEL_UM), MOVIE[0].swapaxes(0, 1)
        tifffile.imwrite(path, pixels, imagej=True, resolution=size, metadata=metadata)
    dock.drop([path])
    qtbot.waitUntil(lambda: len(dock.ui.channels.channels) == 2)
    dock.check()
    assert "emission wavelength" in dock.footer.state.text()
    assert not dock.footer.action.isEnabled()
    dock.ui.optics.set_values({"wavelength_um": 0.461}, "typed")
    dock.ui.channels.table.item(1, EMISSION).setText("0.6")
    dock.check()
    run_to_end(dock)
    for number, layer in enumerate(results(dock)):
        expected = alone(MOVIE[0, number], WAVELENGTHS_UM[number])
        np.testing.assert_allclose(layer.data, expected, rtol=1e-6)


@needs_readers
def test_two_colours_of_a_zeiss_file_need_no_typing(
    make_dock: Any, manager: Any, tmp_path: Path, run_to_end: Any
) -> None:
    dock = make_dock(ViewerModel(), "lmmse")
    layers = dock._viewer.open(str(write_czi(tmp_path)), plugin=PLUGIN)
    dock.add_layers(layers[:2])  # of its first position
    dock.check()
    known = ("na", "wavelength_um", "immersion_index", "pixel_um")
    values = [dock.ui.optics.fields[name].value() for name in known]
    assert values == pytest.approx([1.4, 0.461, 1.515, makers.PIXEL_UM])
    heights_um = [row.z_um for row in dock.ui.table.scans.used()]
    assert run_to_end(dock).state == "done"
    made = results(dock)
    for channel, layer in enumerate(made):
        optics = Optics(1.4, makers.WAVELENGTHS_UM[channel], 1.515, makers.PIXEL_UM)
        stack = makers.PIXELS[0, 0, channel]
        scans = [Scan(stack[round(z / makers.STEP_UM)], z) for z in heights_um]
        expected = reconstruct(scans, dock.ui.grid.grid(), optics=optics, method="lmmse")
        np.testing.assert_allclose(layer.data, expected, rtol=1e-5)
    assert len(made) == 2


# time-lapses ------------------------------------------------------------------------------
@pytest.fixture
def lapse(dock: ReconstructDock, tmp_path: Path) -> ReconstructDock:
    opened(dock, movie(tmp_path))
    return dock


def test_the_time_point_in_view_is_reconstructed(lapse: ReconstructDock, run_to_end: Any) -> None:
    lapse._viewer.dims.set_point(0, 2)
    lapse.check()
    assert lapse.ui.grid.cost.text().startswith("time point 2: 7 planes")
    run_to_end(lapse)
    (layer,) = results(lapse)
    assert layer.ndim == 3
    np.testing.assert_allclose(layer.data, alone(MOVIE[2, 1], 0.6), rtol=1e-6)
    assert "(time point 2)" in layer.name
    lapse.copy_methods()
    assert "at time point 2 (the first is 0) from 3" in QApplication.clipboard().text()


def test_the_time_point_in_view_is_found_beside_a_layer_in_milliseconds(
    lapse: ReconstructDock, run_to_end: Any
) -> None:
    space, viewer = ("um", "um", "um"), lapse._viewer
    for layer in viewer.layers:
        layer.scale, layer.units = (2.5, *layer.scale[1:]), ("s", *space)
    viewer.add_image(np.zeros((3, 4, 4, 4)), scale=(2500, 1, 1, 1), units=("ms", *space))
    viewer.dims.set_point(0, (1 * viewer.layers[0].units[0]).to(viewer.dims.units[0]).m * 2.5)
    assert str(viewer.dims.units[0]) == "millisecond"
    run_to_end(lapse)
    np.testing.assert_allclose(results(lapse)[0].data, alone(MOVIE[1, 1], 0.6), rtol=1e-6)


@pytest.mark.parametrize("ngff", ["", "0.5", "0.4"])
def test_all_time_points_are_one_layer(
    lapse: ReconstructDock, tmp_path: Path, run_to_end: Any, ngff: str
) -> None:
    lapse.ui.channels.times.setCurrentIndex(1)
    on_disk = bool(ngff)
    if on_disk:
        (tmp_path / "out").mkdir()
        lapse.write_to(tmp_path / "out", ngff)
    lapse.check()
    assert lapse.ui.grid.cost.text().startswith("3 time points × 7 planes")
    outcome = run_to_end(lapse)
    assert outcome.state == "done"
    (layer,) = results(lapse)
    assert layer.data.shape == (3, 7, 24, 32)
    assert layer.axis_labels == ("t", "z", "y", "x")
    np.testing.assert_allclose(layer.scale, (1, 0.4, 0.1, 0.1))
    for time in range(3):
        expected = alone(MOVIE[time, 1], 0.6)
        np.testing.assert_allclose(np.asarray(layer.data[time]), expected, rtol=1e-6)
        if on_disk:
            image = read_image(outcome.path, time=time)
            np.testing.assert_array_equal(image.data, np.asarray(layer.data[time]))
            assert image.provenance["time_points"] == 3
            assert (outcome.path / ".zattrs").is_file() == (ngff == "0.4")
    if not on_disk:
        path = tmp_path / "saved.ome.tif"
        write_ome_tiff(str(path), [layer.as_layer_data_tuple()])
        np.testing.assert_array_equal(read_image(path, time=2).data, layer.data[2])


MOVED_UM = (0.0, 1.2, -0.8)


def moving(folder: Path, **more: Any) -> Path:
    """A time-lapse whose stage stood elsewhere at each time point."""
    z_um = [float(z) for start in MOVED_UM for z in start + STEP_UM * np.arange(N)]
    return movie(folder, Plane={"PositionZ": z_um, "PositionZUnit": ["µm"] * 3 * N}, **more)


def at_height(time: int, moved_um: float) -> np.ndarray:
    """A time point of the time-lapse, reconstructed by itself with planes at these heights."""
    scans = [Scan(MOVIE[time, 1][p], moved_um + STEP_UM * p) for p in PLANES]
    optics, notes = Optics(1.2, 0.6, 1.333, PIXEL_UM), list[str]()
    return reconstruct(scans, GRID, optics=optics, method="lmmse", on_message=notes.append)


@pytest.mark.parametrize("on_disk", [False, True])
def test_every_time_point_has_the_heights_that_the_file_gives_it(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any, on_disk: bool
) -> None:
    opened(dock, moving(tmp_path))
    dock.ui.channels.times.setCurrentIndex(1)
    if on_disk:
        (tmp_path / "out").mkdir()
        dock.write_to(tmp_path / "out", "0.5")
    dock.check()
    assert "The time points have heights of their own" in dock.ui.footer.warnings.text()
    run_to_end(dock)
    (layer,) = results(dock)
    for time, moved_um in enumerate(MOVED_UM):
        expected = at_height(time, moved_um)
        np.testing.assert_allclose(np.asarray(layer.data[time]), expected, rtol=1e-5)
    by_time = layer.metadata[METADATA_KEY]["scans_z_um_by_time"]
    np.testing.assert_allclose(by_time, np.add.outer(MOVED_UM, STEP_UM * np.array(PLANES)))


@needs_readers
def test_every_time_point_of_a_lazy_time_lapse_has_its_own_heights(
    make_dock: Any,
    manager: Any,
    tmp_path: Path,
    run_to_end: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bioio_openreadout import Reader

    original = Reader.ome_metadata.fget

    def moved(reader: Any) -> Any:
        ome = original(reader).model_copy(deep=True)
        for pixels in (image.pixels for image in ome.images):
            pixels.planes = [
                {"the_z": z, "the_c": c, "the_t": t, "position_z": 5 * t + makers.STEP_UM * z}
                for t, c, z in np.ndindex(makers.SHAPE[1:4])
            ]
        return ome

    monkeypatch.setattr(Reader, "ome_metadata", property(moved))
    dock = make_dock(ViewerModel(), "lmmse")
    dock.add_layers(dock._viewer.open(str(write_czi(tmp_path, "moved.czi")), plugin=PLUGIN)[:1])
    dock._viewer.dims.set_point(0, 1)
    dock.ui.grid.set_grid(ZGrid(5, 6.6, 0.4))
    dock.check()
    run_to_end(dock)
    optics = Optics(1.4, makers.WAVELENGTHS_UM[0], 1.515, makers.PIXEL_UM)
    scans = [Scan(plane, 5 + makers.STEP_UM * z) for z, plane in enumerate(makers.PIXELS[0, 1, 0])]
    expected = reconstruct(scans, ZGrid(5, 6.6, 0.4), optics=optics, method="lmmse")
    np.testing.assert_allclose(results(dock)[0].data, expected, rtol=1e-5)


@pytest.mark.parametrize("is_sized", [False, True])
def test_heights_of_every_time_point_where_another_reader_opened_the_file(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any, is_sized: bool
) -> None:
    path = moving(tmp_path)
    layer = dock._viewer.add_image(tifffile.imread(path), name="movie")
    layer._source = layer.source.model_copy(update={"path": str(path)})
    dock.add_layers([layer])
    dock.check()
    if is_sized:
        dock.scan_parts.give_size.click()
        assert str(layer.units[-1]) == "micrometer"
    dock._viewer.dims.set_point(0, 1)
    dock.check()
    assert "The time points have heights of their own" in dock.ui.footer.warnings.text()
    run_to_end(dock)
    np.testing.assert_allclose(results(dock)[0].data, at_height(1, MOVED_UM[1]), rtol=1e-5)


@pytest.mark.parametrize("ending", ["tif", "zarr"])
def test_a_saved_time_lapse_keeps_the_heights_of_every_time_point(
    tmp_path: Path, manager: Any, ending: str
) -> None:
    (layer,) = ViewerModel().open(str(moving(tmp_path)), plugin=PLUGIN)
    path, um = tmp_path / f"saved.ome.{ending}", layer.translate[1] + 7
    layer.translate = (0, um, 0, 0)  # by hand, as somebody who knows where the coverslip is
    write_ome_tiff(str(path), [layer.as_layer_data_tuple()])
    for time, moved_um in enumerate(MOVED_UM):
        image = read_image(path, time=time)
        np.testing.assert_allclose(image.z_um, um + moved_um + STEP_UM * np.arange(N))
        np.testing.assert_array_equal(image.data, MOVIE[time, 1])


def cropped(viewer: ViewerModel, layer: Image, first: int, at: float) -> Image:
    """The time points from ``first`` on as a layer of their own, which lies there along t."""
    data, about, _ = layer.as_layer_data_tuple()
    place = {"name": "cropped", "translate": (at * about["scale"][0], *about["translate"][1:])}
    return viewer.add_image(data[first:], **about | place)


@pytest.mark.parametrize("ending", ["tif", "zarr"])
@pytest.mark.parametrize("step", [{}, {"TimeIncrement": 1.5, "TimeIncrementUnit": "min"}])
def test_a_time_lapse_that_was_cropped_in_time_keeps_its_heights_and_its_place(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any, ending: str, step: dict[str, Any]
) -> None:
    (whole,) = dock._viewer.open(str(moving(tmp_path, **step)), plugin=PLUGIN)
    layer, path = cropped(dock._viewer, whole, 1, 1.0), tmp_path / f"saved.ome.{ending}"
    dock.add_layers([layer])
    dock.ui.channels.times.setCurrentIndex(1)
    dock.check()
    run_to_end(dock)
    (volume,) = results(dock)
    for time in (1, 2):
        # The grid is that of the first time point that is left.
        expected = at_height(time, MOVED_UM[time] - MOVED_UM[1])
        np.testing.assert_allclose(volume.data[time - 1], expected, rtol=1e-5)
    write_ome_tiff(str(path), [layer.as_layer_data_tuple()])
    for time in (1, 2):
        image = read_image(path, time=time - 1)
        np.testing.assert_allclose(image.z_um, MOVED_UM[time] + STEP_UM * np.arange(N))
        np.testing.assert_array_equal(image.data, MOVIE[time, 1])
    (again,) = ViewerModel().open(str(path), plugin=PLUGIN)
    np.testing.assert_allclose(again.translate[0], layer.translate[0])
    if ending == "zarr":  # as every reader knows it
        (dataset,) = read_ome(path)["multiscales"][0]["datasets"]
        _, shift = dataset["coordinateTransformations"]
        np.testing.assert_allclose(shift["translation"][0], layer.translate[0])
    second = cropped(ViewerModel(), again, 1, 2.0)  # of the file that was saved
    np.testing.assert_allclose(heights_um(second)[0], MOVED_UM[2] + STEP_UM * np.arange(N))


def test_a_crop_in_time_that_does_not_say_where_it_is_is_refused(
    dock: ReconstructDock, tmp_path: Path
) -> None:
    (whole,) = dock._viewer.open(str(moving(tmp_path)), plugin=PLUGIN)
    layer = cropped(dock._viewer, whole, 1, 0.5)
    words = r"'cropped' has 2 time points of 3 .* set its translate along t\.$"
    dock.add_layers([layer])
    assert re.search(words, dock.ui.footer.message.text())
    with pytest.raises(OSError, match=words):
        write_ome_tiff(str(tmp_path / "saved.ome.tif"), [layer.as_layer_data_tuple()])


def test_the_time_point_in_view_has_its_own_heights_unless_they_are_typed(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    opened(dock, moving(tmp_path))
    dock._viewer.dims.set_point(0, 1)
    dock.check()
    run_to_end(dock)
    np.testing.assert_allclose(results(dock)[0].data, at_height(1, MOVED_UM[1]), rtol=1e-5)
    table = dock.ui.table.scans
    for row, plane in enumerate(PLANES):
        table.setData(table.index(row, HEIGHT), f"{STEP_UM * plane}")
    dock.check()
    assert "heights of their own" not in dock.ui.footer.warnings.text()
    run_to_end(dock)
    np.testing.assert_allclose(results(dock)[-1].data, at_height(1, 0.0), rtol=1e-5)


def test_a_time_point_that_is_split_off_has_its_own_heights(
    dock: ReconstructDock, tmp_path: Path
) -> None:
    (layer,) = dock._viewer.open(str(moving(tmp_path)), plugin=PLUGIN)
    parts = split(dock._viewer, layer)
    dock.add_layers(parts[1:2])
    expected = MOVED_UM[1] + STEP_UM * np.array(PLANES)
    np.testing.assert_allclose([row.z_um for row in dock.used()], expected)


@pytest.mark.parametrize("ngff", ["", "0.5", "0.4"])
def test_a_time_lapse_keeps_the_time_between_its_points(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any, ngff: str
) -> None:
    opened(dock, movie(tmp_path, TimeIncrement=1.5, TimeIncrementUnit="min"))
    dock.ui.channels.times.setCurrentIndex(1)
    if ngff:
        (tmp_path / "out").mkdir()
        dock.write_to(tmp_path / "out", ngff)
    dock.check()
    path = run_to_end(dock).path
    (layer,) = results(dock)
    assert layer.scale[0] == 90
    assert str(layer.units[0]) == "second"
    np.testing.assert_allclose(np.asarray(layer.data[2]), alone(MOVIE[2, 1], 0.6), rtol=1e-6)
    if not ngff:
        path = tmp_path / "saved.ome.tif"
        write_ome_tiff(str(path), [layer.as_layer_data_tuple()])
    assert read_image(path, time=1).time_step_s == 90


@pytest.mark.parametrize("ngff", ["", "0.5", "0.4"])
def test_what_is_put_beside_a_time_lapse_goes_where_it_is(
    lapse: ReconstructDock, tmp_path: Path, run_to_end: Any, ngff: str
) -> None:
    lapse.ui.channels.times.setCurrentIndex(1)
    if ngff:
        (tmp_path / "out").mkdir()
        lapse.write_to(tmp_path / "out", ngff)
    lapse.check()
    run_to_end(lapse)
    (volume,) = results(lapse)
    paths = [run_to_end(lapse, button).path for button in ("errors", "interpolation")]
    errors, linear = results(lapse)[1:]
    for time, stack in enumerate(MOVIE[:, 1]):
        recipe = Recipe([Scan(stack[p], STEP_UM * p) for p in PLANES], GRID, OPTICS, "lmmse")
        expected = [*voxel_errors(recipe, np.asarray(volume.data[time]))]
        np.testing.assert_allclose(np.asarray(errors.data[time]), expected, rtol=1e-4)
        expected = reconstruct(recipe.scans, GRID, method="linear")
        np.testing.assert_allclose(np.asarray(linear.data[time]), expected, rtol=1e-6)
        for path, beside in zip(paths, (errors, linear), strict=True):
            if ngff:
                written = read_image(path, time=time)
                np.testing.assert_array_equal(written.data, np.asarray(beside.data[time]))
                assert written.provenance["time_points"] == 3
                assert (path / ".zattrs").is_file() == (ngff == "0.4")
    for beside in (errors, linear):
        np.testing.assert_allclose(beside.scale, volume.scale)
        np.testing.assert_allclose(beside.translate, volume.translate)
        assert beside.units == volume.units
    assert known_metadata(errors)["image"].startswith("expected error")
    assert lapse.ui.save.layers == [volume]


def test_a_time_lapse_that_another_reader_opened(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    path = movie(tmp_path)
    layer = dock._viewer.add_image(tifffile.imread(path), name="movie")
    layer._source = layer.source.model_copy(update={"path": str(path)})
    dock.add_layers([layer])
    dock.ui.channels.times.setCurrentIndex(1)
    dock.check()
    run_to_end(dock)
    (made,) = results(dock)
    np.testing.assert_allclose(made.data[2], alone(MOVIE[2, 1], 0.6), rtol=1e-6)


def test_what_is_four_dimensional_and_says_no_more_is_not_guessed(dock: ReconstructDock) -> None:
    dock.add_layers([dock._viewer.add_image(MOVIE[:, 0], name="what")])
    assert "has 4 dimensions (3, 9, 24, 32)" in dock.footer.message.text()
    assert dock.ui.table.scans.rows == []


def test_time_lapses_of_different_length_do_not_go_together(
    dock: ReconstructDock, tmp_path: Path
) -> None:
    for plane, points in zip(PLANES, (3, 3, 2), strict=True):
        path = tmp_path / f"scan_z{STEP_UM * plane:.1f}um.ome.tif"
        write_ome(path, MOVIE[:points, 1, plane, np.newaxis], "TZYX")
        dock.add_layers(dock._viewer.open(str(path), plugin=PLUGIN))
    dock.ui.optics.set_values({"wavelength_um": 0.6}, "typed")
    dock.check()
    assert "has 3 time points but" in dock.footer.state.text()


@pytest.mark.parametrize("first", ["long", "short", "still"])
def test_a_channel_with_other_time_points_is_not_offered_and_it_is_said_why(
    dock: ReconstructDock, tmp_path: Path, first: str
) -> None:
    points = {"long": 3, "short": 2, "still": 1}
    for name in (first, "long" if first != "long" else "short"):
        path = tmp_path / f"{name}.ome.tif"
        write_ome(path, MOVIE[: points[name], 1], "TZYX")
        dock._viewer.open(str(path), plugin=PLUGIN)
    one, other = dock._viewer.layers
    dock.add_layers([one])
    own, others = points[first], 2 if first == "long" else 3
    assert dock.ui.channels.note.text() == (
        f"'{other.name}' has {others} time points and '{one.name}' {own}: it is offered as a "
        "channel once both have as many, so crop the longer one."
    )
    assert dock.ui.channels.isVisibleTo(dock)
    assert len(dock.ui.channels.channels) == 1
    dock._viewer.layers.remove(other)
    assert dock.ui.channels.note.text() == ""


def test_scans_that_are_time_lapses_each(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    for plane in PLANES:
        path = tmp_path / f"scan_z{STEP_UM * plane:.1f}um.ome.tif"
        write_ome(path, MOVIE[:, 1, plane, np.newaxis], "TZYX")
        dock.add_layers(dock._viewer.open(str(path), plugin=PLUGIN))
    dock.ui.optics.set_values({"wavelength_um": 0.6}, "typed")
    dock.set_grid(GRID)
    dock.ui.channels.times.setCurrentIndex(1)
    dock.check()
    run_to_end(dock)
    (made,) = results(dock)
    for time in range(3):
        np.testing.assert_allclose(made.data[time], alone(MOVIE[time, 1], 0.6), rtol=1e-6)


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("planes", [2, 7, 9])
def test_cancel_loses_no_plane_of_a_time_lapse(
    lapse: ReconstructDock,
    tmp_path: Path,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
    on_disk: bool,
    planes: int,
) -> None:
    lapse.ui.channels.times.setCurrentIndex(1)
    if on_disk:
        (tmp_path / "out").mkdir()
        lapse.write_to(tmp_path / "out")
    wanted = [alone(stack, 0.6) for stack in MOVIE[:, 1]]
    gate = Gate(monkeypatch)
    with qtbot.waitSignal(lapse.ended, timeout=20_000) as ended:
        lapse.act()
        gate.open.release(planes)
        qtbot.waitUntil(lambda: lapse.result is not None and lapse.result.done == planes)
        qtbot.waitUntil(lambda: lapse.result.layer is not None)
        for path in (tmp_path / "out").glob("*"):  # it grows: a program that is killed leaves this
            record, shape = read_time_lapse(path)
            assert record["finished_time_points"] <= planes // 7 < shape[0] + (planes == 7)
            assert shape[0] < 3
        lapse.cancel()
        gate.open.release(1)  # the one that is being made
    assert ended.args[0].state == "cancelled"
    made = [one for one in lapse._viewer.layers if "(cancelled" in one.name]
    kept = sum(int(np.prod(one.data.shape[:-2])) for one in made)
    assert planes <= kept <= planes + 1
    whole, rest = divmod(planes, 7)
    is_part = ["time point " in one.name for one in made]
    assert is_part == [False] * bool(whole) + [True] * bool(rest or kept > planes)
    for one, is_one_part in zip(made, is_part, strict=True):
        pixels = np.asarray(one.data)[0]
        first = round((float(one.translate[1]) - GRID.start_um) / GRID.step_um)
        time = whole if is_one_part else 0
        expected = wanted[time][first : first + len(pixels)]
        np.testing.assert_allclose(pixels, expected, rtol=1e-6)
        assert one.translate[0] == time
    files = list((tmp_path / "out").glob("*")) if on_disk else []
    assert len(files) == (on_disk and whole)
    for path in files:
        assert read_image(path, time=0).provenance["finished_time_points"] == 1


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_time_point_that_cannot_be_made_leaves_those_before(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any, on_disk: bool
) -> None:
    pixels = MOVIE[:, 1].copy()
    pixels[1, PLANES[0]] = 300  # the lamp was off
    light = {"EmissionWavelength": [600.0], "EmissionWavelengthUnit": ["nm"]}
    opened(dock, write_ome(tmp_path / "movie.ome.tif", pixels, "TZYX", Channel=light))
    dock.ui.channels.times.setCurrentIndex(1)
    if on_disk:
        (tmp_path / "out").mkdir()
        dock.write_to(tmp_path / "out")
    dock.check()
    assert run_to_end(dock).state == "failed"
    assert "plane 1, time point 1" in dock.footer.message.text()
    (made,) = [layer for layer in dock._viewer.layers if "(failed" in layer.name]
    assert made.data.shape[0] == 1
    np.testing.assert_allclose(np.asarray(made.data[0]), alone(MOVIE[0, 1], 0.6), rtol=1e-6)


# split stacks -----------------------------------------------------------------------------
def split(viewer: Any, layer: Image) -> list[Image]:
    """What “Split Stack” in napari's menu does."""
    viewer.layers.selection.active = layer
    before = set(viewer.layers)
    _split_stack(viewer.layers)
    return [one for one in viewer.layers if one not in before]


def test_the_time_points_of_a_split_time_lapse_know_all(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    (layer,) = dock._viewer.open(str(movie(tmp_path)), plugin=PLUGIN)
    parts = split(dock._viewer, layer)
    assert [str(unit) for unit in parts[1].units] == ["micrometer"] * 3
    assert parts[1].axis_labels == ("z", "y", "x")
    dock.add_layers(parts[1:2])
    tick_others(dock, Qt.CheckState.Unchecked)
    dock.check()
    run_to_end(dock)  # its wavelength and heights are those of the file
    np.testing.assert_allclose(results(dock)[0].data, alone(MOVIE[1, 1], 0.6), rtol=1e-6)


def test_the_planes_of_a_split_stack_know_their_heights(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    cy3 = dock._viewer.open(str(two_colours(tmp_path)), plugin=PLUGIN)[1]
    parts = split(dock._viewer, cy3)
    dock.add_layers([parts[p] for p in PLANES])
    assert [row.z_um for row in dock.ui.table.scans.used()] == pytest.approx([0.4, 1.6, 2.8])
    dock.set_grid(GRID)
    dock.check()
    run_to_end(dock)
    np.testing.assert_allclose(results(dock)[0].data, alone(MOVIE[0, 1], 0.6), rtol=1e-6)


def test_a_reader_that_knows_no_sizes_and_a_split_into_channels(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any
) -> None:
    path = two_colours(tmp_path)
    layer = dock._viewer.add_image(tifffile.imread(path), name="two")
    layer._source = layer.source.model_copy(update={"path": str(path)})
    parts = split(dock._viewer, layer)
    assert [known_metadata(one)["wavelength_um"] for one in parts] == list(WAVELENGTHS_UM)
    dock.add_layers(parts)
    dock.check()
    assert dock.footer.state.text() == ""
    run_to_end(dock)
    for number, made in enumerate(results(dock)):
        expected = alone(MOVIE[0, number], WAVELENGTHS_UM[number])
        np.testing.assert_allclose(made.data, expected, rtol=1e-6)


def test_a_split_before_the_dock_was_open(make_dock: Any, manager: Any, tmp_path: Path) -> None:
    viewer = ViewerModel()
    (layer,) = viewer.open(str(movie(tmp_path)), plugin=PLUGIN)
    parts = split(viewer, layer)
    dock = make_dock(viewer)
    dock.add_layers(parts[:1])
    assert [row.z_um for row in dock.ui.table.scans.used()] == pytest.approx([0.4, 1.6, 2.8])
    assert dock.ui.optics.fields["wavelength_um"].text() == "0.6"
    assert [str(unit) for unit in parts[0].units] == ["micrometer"] * 3


# in a real window -------------------------------------------------------------------------
def test_both_colours_are_in_sight_in_a_dock_that_is_opened_after_them(
    make_napari_viewer: Any, make_dock: Any, tmp_path: Path, qtbot: Any
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.layers.selection = set(opened(make_dock(viewer), two_colours(tmp_path))[:1])
    dock = make_dock(viewer)
    viewer.window.add_dock_widget(dock, name="Reconstruct", area="right")
    qtbot.waitUntil(dock.ui.channels.isVisible)
    qtbot.wait(50)
    assert dock.ui.channels.table.verticalScrollBar().maximum() == 0


def test_two_colours_in_a_window(
    make_napari_viewer: Any, make_dock: Any, tmp_path: Path, run_to_end: Callable[..., Any]
) -> None:
    viewer = make_napari_viewer(show=True)
    dock = make_dock(viewer, "lmmse")
    viewer.window.add_dock_widget(dock, name="Reconstruct", area="right")
    dock.ui.optics.set_values({"na": 1.2, "immersion_index": 1.333}, "typed")
    opened(dock, two_colours(tmp_path))
    assert dock.ui.channels.isVisible()
    assert not dock.ui.channels.times.isVisible()
    run_to_end(dock)
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    red, green = picture[..., 0].sum(), picture[..., 1].sum()
    assert red > 0
    assert green > 0  # magenta and green are both seen, one over the other


def test_a_time_lapse_in_a_window(
    make_napari_viewer: Any, make_dock: Any, tmp_path: Path, run_to_end: Callable[..., Any]
) -> None:
    viewer = make_napari_viewer(show=True)
    dock = make_dock(viewer, "lmmse")
    viewer.window.add_dock_widget(dock, name="Reconstruct", area="right")
    dock.ui.optics.set_values({"na": 1.2, "immersion_index": 1.333}, "typed")
    opened(dock, movie(tmp_path))
    assert dock.ui.channels.times.isVisible()
    dock.ui.channels.times.setCurrentIndex(1)
    dock.check()
    run_to_end(dock)
    (layer,) = results(dock)
    assert layer.data.shape == (3, 7, 24, 32)
    assert viewer.dims.ndim == 4


# heights with another label ---------------------------------------------------------------
@pytest.mark.parametrize(("letter", "words"), [("C", "channels"), ("T", "time points")])
def test_planes_with_another_label_are_heights_by_one_press(
    dock: ReconstructDock, tmp_path: Path, run_to_end: Any, qtbot: Any, letter: str, words: str
) -> None:
    light = {"EmissionWavelength": [600.0] * (N if letter == "C" else 1)}
    path = write_ome(tmp_path / "stack.ome.tif", MOVIE[0, 1], f"{letter}YX", Channel=light)
    layers = dock._viewer.open(str(path), plugin=PLUGIN)
    before = len(dock._viewer.layers)
    button = dock.ui.scan_parts.heights
    assert button.text() == f"The 9 {words} are heights (z)"
    button.click()
    qtbot.waitUntil(lambda: len(dock._viewer.layers) == before + 1)
    assert all(layer in dock._viewer.layers for layer in layers)
    assert not button.isVisibleTo(dock)
    rows = dock.ui.table.scans.used()
    assert [(row.plane, row.z_um) for row in rows] == [(p, STEP_UM * p) for p in PLANES]
    dock.check()
    run_to_end(dock)
    np.testing.assert_allclose(results(dock)[0].data, alone(MOVIE[0, 1], 0.6), rtol=1e-6)


def test_many_channels_are_no_flood_of_layers(
    dock: ReconstructDock, tmp_path: Path, qtbot: Any
) -> None:
    path = write_ome(tmp_path / "many.ome.tif", np.tile(MOVIE[0, 1], (3, 1, 1)), "CYX")
    dock.drop([path])
    button = dock.ui.scan_parts.heights
    qtbot.waitUntil(lambda: button.isVisibleTo(dock))
    assert "27 channels" in dock.footer.message.text()
    assert len(dock._viewer.layers) == 0
    button.click()
    qtbot.waitUntil(lambda: len(dock._viewer.layers) == 1)
    assert dock._viewer.layers[0].data.shape == (27, 24, 32)


def test_planes_are_close_enough_for_the_shortest_wavelength_that_is_ticked(
    dock: ReconstructDock, tmp_path: Path
) -> None:
    """Also where another colour is in the table, and of what no plane suggestion can close."""
    light = {"Name": ["DAPI", "CY3"], "EmissionWavelength": [455.0, 600.0]}
    light["EmissionWavelengthUnit"] = ["nm"] * 2
    deep = np.random.default_rng(0).integers(200, 4000, (2, 45, 16, 16), dtype=np.uint16)
    path = write_ome(tmp_path / "deep.ome.tif", deep, "CZYX", Channel=light, PhysicalSizeZ=0.6)
    _, cy3 = dock._viewer.open(str(path), plugin=PLUGIN)
    dock.add_layers([cy3])
    scans = dock.ui.table.scans

    def widest_um() -> float:
        return float(max(np.diff([row.z_um for row in scans.used()])))

    assert len(scans.used()) == 7
    assert widest_um() <= 10 * 1.333 * 0.455 / 1.2**2
    tick_others(dock, Qt.CheckState.Unchecked)
    assert len(scans.used()) == 5
    assert 10 * 1.333 * 0.455 / 1.2**2 < widest_um() <= 10 * 1.333 * 0.6 / 1.2**2
    scans.remove([2])
    tick_others(dock, Qt.CheckState.Checked)
    dock.check()
    assert "26 depths of field apart" in dock.footer.warnings.text()
