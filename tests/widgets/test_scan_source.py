"""The scans of a dock follow their layers, and nothing of others is taken for theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import Qt

import files
from napari_recurrent_mz import ZGrid
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared.drop import read_all
from napari_recurrent_mz.docks.shared.file_layers import open_files
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY
from napari_recurrent_mz.docks.shared.scan_table import HEIGHT, USE

OPTICS = {"na": 1.2, "wavelength_um": 0.519, "immersion_index": 1.33}
UM = {"units": ("um", "um", "um"), "axis_labels": ("z", "y", "x")}


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def dock(make_dock: Callable[..., ReconstructDock], viewer: ViewerModel) -> ReconstructDock:
    return make_dock(viewer)


def test_a_later_file_of_a_set_says_which_to_give(tmp_path: Path) -> None:
    one, two = files.write_set_of_two(tmp_path)
    assert open_files([two]).sentences == read_all([two])[1]
    assert "No image begins in 'two.ome.tif'" in open_files([two]).sentences[0]
    assert not open_files([one, two]).sentences


def add(viewer: ViewerModel, stack: Any, name: str, known: Any = None, **about: Any) -> Image:
    metadata = {METADATA_KEY: dict(known or {})}
    return viewer.add_image(stack.copy(), name=name, metadata=metadata, **about)


def sized(scale: tuple[float, float, float] = (0.5, 0.2, 0.2)) -> dict[str, Any]:
    return {"scale": scale, **UM}


def press_add(dock: ReconstructDock, *layers: Image) -> None:
    dock._viewer.layers.selection = set(layers)
    dock.ui.add_button.click()


def ticked(dock: ReconstructDock) -> set[str]:
    return {row.layer.name for row in dock.ui.table.scans.used() if row.layer is not None}


def heights(dock: ReconstructDock) -> list[float | None]:
    return [row.z_um for row in dock.ui.table.scans.used()]


def fields(dock: ReconstructDock) -> dict[str, str]:
    return {name: edit.text() for name, edit in dock.ui.optics.fields.items()}


def type_in(dock: ReconstructDock, name: str, text: str) -> None:
    edit = dock.ui.optics.fields[name]
    edit.setText(text)
    edit.editingFinished.emit()


def opened(viewer: ViewerModel, path: Any) -> Any:
    """The first layer of a file, as a drop adds it."""
    return viewer.add_layer(Layer.create(*open_files([path]).layers[0]))


# what a person sets wins ------------------------------------------------------------------
def test_a_scale_that_was_set_on_a_dropped_stack_is_its_scale(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any, tmp_path: Any
) -> None:
    path = tmp_path / "one.ome.tif"
    about = {"axes": "ZYX"} | {f"PhysicalSize{axis}": 1.0 for axis in "XYZ"}
    tifffile.imwrite(path, stack, metadata=about)
    layer = opened(viewer, path)
    layer.scale = (0.4, 0.1, 0.1)
    dock.add_layers([layer])
    assert heights(dock) == pytest.approx([0.4, 1.6, 2.8])
    assert fields(dock)["pixel_um"] == "0.1"


@pytest.mark.parametrize(
    ("change", "found", "pixel"),
    [
        ({"scale": (0.8, 0.3, 0.3)}, [0.8, 3.2, 5.6], "0.3"),
        ({"translate": (10, 0, 0)}, [10.5, 12, 13.5], "0.2"),
        ({"units": ("mm", "mm", "mm")}, [500, 2000, 3500], "200"),
        ({"units": ("um", "pixel", "pixel")}, [0.5, 2, 3.5], ""),
        ({"units": ("pixel", "um", "um")}, [None] * 3, "0.2"),
    ],
)
def test_a_later_change_of_a_layer_reaches_table_and_optics(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any, change: Any, found: Any, pixel: str
) -> None:
    layer = add(viewer, stack, "cells", OPTICS | {"pixel_um": 0.2}, **sized())
    press_add(dock, layer)
    assert heights(dock) == [0.5, 2, 3.5]
    for name, value in change.items():
        setattr(layer, name, value)
    if found[0] is None:
        assert heights(dock) == found
    else:
        assert heights(dock) == pytest.approx(found)
        assert dock.ui.grid.grid().z_um[[0, -1]] == pytest.approx([found[0], found[-1]])
    assert fields(dock)["pixel_um"] == pixel
    dock.check()
    can_be = None not in found and pixel in ("0.2", "0.3")  # scans 1.5 mm apart cannot
    assert dock.ui.footer.action.isEnabled() == can_be


def test_a_file_that_another_reader_opened_says_its_optics_also_once_its_layer_has_a_size(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any, tmp_path: Any
) -> None:
    path = tmp_path / "one.ome.tif"
    light = {"EmissionWavelength": 615, "EmissionWavelengthUnit": "nm"}
    tifffile.imwrite(path, stack, metadata={"axes": "ZYX", "Channel": light})
    layer = viewer.add_image(stack, name="one")
    layer._source = layer.source.model_copy(update={"path": str(path)})
    press_add(dock, layer)
    assert fields(dock)["wavelength_um"] == "0.615"
    assert fields(dock)["pixel_um"] == ""
    layer.scale, layer.units = (0.5, 0.2, 0.2), ("um", "um", "um")
    assert fields(dock)["wavelength_um"] == "0.615"
    assert fields(dock)["pixel_um"] == "0.2"


def test_an_affine_transform_reaches_the_table_and_what_is_turned_is_told(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    layer = add(viewer, stack, "cells", OPTICS | {"pixel_um": 0.2}, **sized())
    press_add(dock, layer)
    layer.affine = np.diag((2, 1, 1, 1))
    assert heights(dock) == pytest.approx([1, 4, 7])
    layer.rotate = (0, 0, 20)
    dock.check()
    assert "'cells' is turned, sheared or mirrored" in dock.ui.footer.warnings.text()
    assert dock.ui.footer.action.isEnabled()
    layer.rotate, layer.scale = (0, 0, 0), (0.5, -0.2, 0.2)
    dock.check()
    assert "'cells' is turned, sheared or mirrored" in dock.ui.footer.warnings.text()


def test_typed_values_stay_when_the_layer_changes(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    layer = add(viewer, stack, "cells", OPTICS, **sized())
    press_add(dock, layer)
    table = dock.ui.table.scans
    table.setData(table.index(0, HEIGHT), "0.25")
    type_in(dock, "pixel_um", "0.103")
    layer.scale = (0.8, 0.3, 0.3)
    assert heights(dock) == pytest.approx([0.25, 3.2, 5.6])
    assert fields(dock)["pixel_um"] == "0.103"
    dock.check()
    assert "0.103 µm here but 0.3 µm in layer 'cells'" in dock.ui.footer.warnings.text()


def test_rows_of_unknown_height_get_theirs_with_the_scale_of_their_layer(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    layer = add(viewer, stack, "cells")
    press_add(dock, layer)
    assert heights(dock) == [None] * 3
    layer.scale, layer.units = (0.5, 0.2, 0.2), ("um", "um", "um")
    assert heights(dock) == [0.5, 2, 3.5]
    assert dock.ui.stack.step.text() == "0.5"
    assert fields(dock)["pixel_um"] == "0.2"


def test_a_plane_that_is_gone_is_told(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    layer = add(viewer, stack, "cells", OPTICS, **sized())
    press_add(dock, layer)
    layer.data = stack[:5].copy()
    dock.check()
    assert "'cells' has no plane 7 any more, only 5" in dock.ui.footer.state.text()


# never silently another's -----------------------------------------------------------------
def test_a_reopened_dock_does_not_take_the_result_for_scans(
    dock: ReconstructDock, make_dock: Any, viewer: ViewerModel, stack: Any, run_to_end: Any
) -> None:
    press_add(dock, add(viewer, stack, "cells", OPTICS, **sized()))
    dock.check()
    run_to_end(dock)
    result = viewer.layers.selection.active
    assert result is not None
    assert result.name.startswith("cells · ")
    again = make_dock(viewer)
    assert again.ui.table.scans.rows == []
    again.ui.planes_button.click()
    assert again.ui.stack.stack.count() == 1
    press_add(again, result)
    assert again.ui.table.scans.rows == []
    said = again.ui.footer.message.text()
    assert (
        said
        == f"Layer '{result.name}' was made from scans, and is no scan itself: give those scans."
    )


def test_a_volume_file_that_is_dropped_is_no_stack_of_scans(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any, tmp_path: Any
) -> None:
    from napari_recurrent_mz.io import write_volume

    path = tmp_path / "volume.ome.tif"
    write_volume(path, stack, 0.5 * np.arange(9), 0.2, provenance={"method": "lmmse"})
    dock.add_layers([opened(viewer, path)])
    assert dock.ui.table.scans.rows == []
    assert "was made from scans" in dock.ui.footer.message.text()


def test_a_stack_that_says_nothing_gets_nothing_of_the_one_before(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    press_add(dock, add(viewer, stack, "green", OPTICS, **sized()))
    assert fields(dock) == {
        "na": "1.2",
        "immersion_index": "1.33",
        "wavelength_um": "0.519",
        "pixel_um": "0.2",
    }
    press_add(dock, add(viewer, stack, "unknown"))
    assert ticked(dock) == {"unknown"}
    assert set(fields(dock).values()) == {""}
    assert "from the image" not in dock.ui.optics.note.text()


def test_a_new_channel_does_not_keep_the_wavelength_of_the_last(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    press_add(dock, add(viewer, stack, "green", OPTICS, **sized()))
    press_add(dock, add(viewer, stack, "red", OPTICS | {"wavelength_um": None}, **sized()))
    assert fields(dock)["wavelength_um"] == ""
    assert fields(dock)["na"] == "1.2"
    dock.ui.method.set_method("lmmse")
    dock.check()
    assert "wavelength" in dock.ui.footer.state.text()
    assert not dock.ui.footer.action.isEnabled()


def test_what_was_typed_for_another_stack_is_called_so_and_gives_way(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    press_add(dock, add(viewer, stack, "green", **sized()))
    type_in(dock, "wavelength_um", "519")
    type_in(dock, "na", "1.4")
    press_add(dock, add(viewer, stack, "red", {"na": 1.2}, **sized()))
    assert fields(dock)["na"] == "1.2"
    assert fields(dock)["wavelength_um"] == "0.519"
    assert (
        dock.ui.optics.note.text()
        == "NA and pixel size from the image; emission wavelength as before (check it)"
    )


def marked(dock: ReconstructDock) -> set[str]:
    return {name for name, edit in dock.ui.optics.fields.items() if edit.is_old}


def test_what_was_set_for_others_is_marked_until_a_person_keeps_it(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    press_add(dock, add(viewer, stack, "green", **sized()))
    type_in(dock, "na", "1.4")
    type_in(dock, "wavelength_um", "519")
    dock.set_grid(ZGrid(0, 3, 0.5))
    dock.check()
    earlier = dock.footer.earlier
    assert earlier.isHidden()
    press_add(dock, add(viewer, stack, "other", **sized()))
    dock.check()
    assert marked(dock) == {"na", "wavelength_um"}
    words = earlier.label.text()
    assert "Set for other images: NA, emission wavelength and target grid." in words
    assert earlier.label.kind == "warning"
    assert earlier.put_back.isHidden()
    earlier.keep.click()
    dock.check()
    assert earlier.isHidden()
    assert not marked(dock)
    assert fields(dock)["na"] == "1.4"
    assert dock.ui.grid.grid() == ZGrid(0, 3, 0.5)
    press_add(dock, add(viewer, stack, "third", **sized()))
    assert marked(dock) == {"na", "wavelength_um"}
    dock.ui.optics.fields["na"].returnPressed.emit()  # keeps that one
    assert marked(dock) == {"wavelength_um"}
    dock.ui.grid.auto.click()
    dock.check()
    assert "target grid" not in earlier.label.text()
    assert dock.ui.grid.grid() == ZGrid(0.5, 3.5, 0.5)


def test_what_was_set_for_scans_beside_those_of_another_sample_is_replaced_and_comes_back(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    worm = add(viewer, stack[:1], "worm z=1um", OPTICS, **sized())
    other = add(viewer, stack[1:2], "worm z=2um", OPTICS, **sized())
    cell = add(viewer, stack[:1], "cell z=1um", OPTICS | {"na": 0.8}, **sized((0.5, 0.3, 0.3)))
    for layer in (worm, other):
        dock.add_layers([layer])
    type_in(dock, "na", "1.1")
    dock.add_layers([cell])
    assert fields(dock)["na"] == "1.1"
    rows = dock.ui.table.scans

    def untick(*layers: Image, state: Qt.CheckState = Qt.CheckState.Unchecked) -> None:
        for number, row in enumerate(rows.rows):
            if row.layer in layers:
                index = rows.index(number, USE)
                rows.setData(index, state, Qt.ItemDataRole.CheckStateRole)
        dock.check()

    untick(worm)
    assert fields(dock)["na"] == "1.1"  # there is another scan of the same sample
    untick(other)
    assert fields(dock) == {
        "na": "0.8",
        "immersion_index": "1.33",
        "wavelength_um": "0.519",
        "pixel_um": "0.3",
    }
    earlier = dock.footer.earlier
    assert earlier.label.text() == "Set for other images, and no longer in force: NA 1.1."
    untick(worm, state=Qt.CheckState.Checked)
    assert fields(dock)["na"] == "1.1"
    assert earlier.isHidden()
    untick(worm)
    assert fields(dock)["na"] == "0.8"
    earlier.put_back.click()
    assert fields(dock)["na"] == "1.1"
    assert not marked(dock)
    assert "the image says NA 0.8" in dock.ui.optics.note.text()


def test_what_is_typed_beside_what_the_image_says_is_told(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    press_add(dock, add(viewer, stack, "green", OPTICS, **sized()))
    note = dock.ui.optics.note
    assert "says" not in note.text()
    type_in(dock, "na", "0.8")
    type_in(dock, "wavelength_um", "519")
    assert note.text().endswith("from the image; the image says NA 1.2")
    type_in(dock, "pixel_um", "0.1")
    assert note.text().endswith("the image says NA 1.2 and pixel size 0.2 µm")
    type_in(dock, "na", "1.2")
    assert note.text().endswith("the image says pixel size 0.2 µm")


def test_scans_of_two_channels_are_said(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    for name, wavelength, z_um in (("green", 0.519, 1), ("red", 0.615, 4)):
        known = OPTICS | {"wavelength_um": wavelength}
        place = sized() | {"translate": (z_um, 0, 0)}
        dock.add_layers([add(viewer, stack[z_um : z_um + 1], name, known, **place)])
    dock.check()
    assert "wavelength (µm) differs between the scans (0.519 in 'green' and 0.615 in 'red')" in (
        dock.ui.footer.warnings.text()
    )


def test_add_selected_again_and_again_ticks_what_is_selected(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    green = add(viewer, stack, "green", OPTICS, **sized())
    red = add(viewer, stack + 1, "red", OPTICS | {"wavelength_um": 0.615}, **sized())
    for layer, wavelength in ((green, "0.519"), (red, "0.615")) * 3:
        press_add(dock, layer)
        assert ticked(dock) == {layer.name}
        assert len(dock.ui.table.scans.used()) == 3
        assert fields(dock)["wavelength_um"] == wavelength
    assert dock.ui.footer.message.text() == (
        "The scans are those of 'red' again. The scans before are unticked."
    )


def test_planes_of_another_stack_do_not_join_those_of_the_first(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    green = add(viewer, stack, "green", OPTICS, **sized())
    red = add(viewer, stack + 1, "red", OPTICS | {"wavelength_um": 0.615}, **sized())
    press_add(dock, green)
    press_add(dock, red)
    dock.ui.stack.choose(green)
    dock.ui.stack.planes.setText("2, 6")
    dock.ui.stack.use.click()
    assert [(row.name, row.use) for row in dock.ui.table.scans.rows if row.use] == [
        ("green, plane 2", True),
        ("green, plane 6", True),
    ]
    assert fields(dock)["wavelength_um"] == "0.519"


def test_stacks_are_listed_by_their_present_names(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    add(viewer, stack, "green", OPTICS, **sized())
    red = add(viewer, stack + 1, "red", OPTICS, **sized())
    press_add(dock, red)
    dock.ui.stack.choose(red)
    red.name = "mCherry"
    box = dock.ui.stack.stack
    assert [box.itemText(i).partition(" (")[0] for i in range(box.count())] == ["green", "mCherry"]
    assert dock.ui.stack.layer() is red


def test_a_row_that_a_person_unticked_stays_so_when_its_stack_is_added_again(
    dock: ReconstructDock, viewer: ViewerModel, stack: Any
) -> None:
    layer = add(viewer, stack, "cells", OPTICS, **sized())
    press_add(dock, layer)
    dock.ui.table.scans.rows[1].use = False
    press_add(dock, layer)
    assert heights(dock) == [0.5, 3.5]


def test_a_change_of_the_table_is_taken_back(make_dock, add_stack, qtbot) -> None:
    dock = make_dock()
    dock.add_layers([add_stack(dock._viewer)])
    table = dock.ui.table
    whole = [(row.plane, row.z_um, row.use) for row in table.scans.rows]
    table.scans.setData(table.scans.index(0, HEIGHT), "1.25")
    table.selectRow(1)
    dock.ui.remove_button.click()
    assert [(row.plane, row.z_um) for row in table.scans.rows] == [(1, 1.25), (7, 5.5)]
    for _ in range(2):
        qtbot.keyClick(table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert [(row.plane, row.z_um, row.use) for row in table.scans.rows] == whole


def test_rows_that_come_back_are_at_the_height_that_their_layer_has_now(
    dock: ReconstructDock, viewer: ViewerModel, stack: np.ndarray
) -> None:
    layer = add(viewer, stack, "cells", OPTICS, **sized())
    press_add(dock, layer)
    before = heights(dock)
    dock.ui.table.scans.remove([0])
    layer.scale = (1.0, 0.2, 0.2)
    layer.data = stack + 1
    dock.ui.table.scans.undo()
    assert heights(dock) == [2 * z_um for z_um in before if z_um is not None]
    row = dock.ui.table.scans.rows[0]
    np.testing.assert_array_equal(row.scan().pixels, stack[row.plane] + 1)


def test_remove_without_a_selection_removes_nothing(make_dock, add_stack) -> None:
    dock = make_dock()
    dock.add_layers([add_stack(dock._viewer)])
    dock.ui.remove_button.click()
    assert len(dock.ui.table.scans.rows) == 3
    assert dock.footer.message.text().startswith("No row is selected")


def test_a_typed_step_leaves_a_stack_the_way_up_it_is(
    dock: ReconstructDock, viewer: ViewerModel, stack: np.ndarray
) -> None:
    press_add(dock, add(viewer, stack, "falling", **sized((-0.5, 0.2, 0.2)), translate=(6, 0, 0)))
    chosen = dock.ui.stack
    chosen.step.set_value(0.6)
    chosen.planes.setText("1, 4, 8")
    chosen.use.click()
    heights = {row.plane: row.z_um for row in dock.used()}
    assert heights == pytest.approx({1: 4.2, 4: 2.4, 8: 0.0})
