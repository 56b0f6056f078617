"""Layers as scans: heights, pixel sizes and the sentences for layers that cannot be scans."""

from __future__ import annotations

import shutil

import dask.array
import numpy as np
import pytest
import tifffile
import zarr
from napari.layers import Image, Labels, Points

from napari_recurrent_mz.core.scans import InputError, Scan
from napari_recurrent_mz.docks.shared import file_names
from napari_recurrent_mz.docks.shared import layers as _layers

UM3 = {"units": ("um", "um", "um"), "axis_labels": ("z", "y", "x")}


def image(shape, **about):
    return Image(np.zeros(shape, np.uint8), **({"name": "cells"} | about))


@pytest.mark.parametrize(
    ("layer", "pixel", "heights"),
    [
        (
            image((4, 8, 8), scale=(0.5, 0.1, 0.1), translate=(2, 0, 0), **UM3),
            0.1,
            [2, 2.5, 3, 3.5],
        ),
        (
            image((3, 8, 8), scale=(500, 100, 100), translate=(1000, 0, 0), units=("nm",) * 3),
            0.1,
            [1.0, 1.5, 2.0],
        ),
        (image((3, 8, 8), scale=(0.5, 0.1, 0.1)), 0.1, [0, 0.5, 1.0]),
        (image((3, 8, 8), scale=(-0.5, 0.1, 0.1), **UM3), 0.1, [0, -0.5, -1.0]),
        (image((1, 8, 8), scale=(1, 0.1, 0.1), translate=(7.5, 0, 0), **UM3), 0.1, [7.5]),
        (image((1, 1, 3, 8, 8), scale=(1, 1, 0.5, 0.1, 0.1)), 0.1, [0, 0.5, 1.0]),
        (image((3, 8, 8)), None, None),
        (image((8, 8)), None, None),
        (image((8, 8), name="scan_z3.5um", scale=(0.2, 0.2)), 0.2, [3.5]),
        (image((8, 8), name="scan_z=-2,5", units=("um", "um")), 1.0, [-2.5]),
    ],
)
def test_sizes_and_heights(layer, pixel, heights) -> None:
    found, note = _layers.heights_um(layer)
    assert _layers.pixel_um(layer) == (None if pixel is None else pytest.approx(pixel))
    assert note
    if heights is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, heights)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Labels(np.zeros((8, 8), int), name="nuclei"), ["'nuclei'", "Labels", "Image layer"]),
        (Points(np.zeros((2, 2)), name="spots"), ["'spots'", "Points"]),
        (Image(np.zeros((40, 40, 3), np.uint8), name="photo"), ["'photo'", "RGB", "channel"]),
        (image((2, 5, 8, 8)), ["'cells'", "4 dimensions", "time point"]),
        (image((2, 8, 8), axis_labels=("c", "y", "x")), ["2 planes", "'c'", "'cells'"]),
        (image((2, 8, 8), axis_labels=("time", "y", "x")), ["'time'", "'cells'"]),
    ],
)
def test_layers_that_cannot_be_scans(layer, words) -> None:
    with pytest.raises(InputError) as caught:
        _layers.check_layer(layer)
    assert all(word in str(caught.value) for word in words)


def test_pixels_that_are_not_square_are_refused() -> None:
    layer = image((3, 8, 8), scale=(1, 0.1, 0.2), **UM3)
    with pytest.raises(InputError, match=r"'cells' has pixels of 0.1 × 0.2 µm"):
        _layers.pixel_um(layer)


def test_planes_come_at_full_resolution_and_unchanged() -> None:
    data = np.arange(3 * 64 * 64, dtype=np.uint16).reshape(3, 64, 64)
    pyramid = Image([data, data[:, ::2, ::2]], multiscale=True)
    np.testing.assert_array_equal(_layers.plane_pixels(pyramid, 2), data[2])


def test_pixels_that_are_masked_are_no_scan() -> None:
    layer = Image(np.ma.masked_less(np.random.default_rng(0).random((1, 16, 16)), 0.1))
    with pytest.raises(InputError, match="masked values: fill them first"):
        Scan(_layers.plane_pixels(layer, 0), 1.0)


def test_a_tiff_that_another_reader_opened_is_asked_for_its_sizes(tmp_path) -> None:
    path = tmp_path / "stack.ome.tif"
    data = np.zeros((3, 16, 16), np.uint16)
    about = {
        "axes": "ZYX",
        "PhysicalSizeX": 0.13,
        "PhysicalSizeY": 0.13,
        "PhysicalSizeZ": 0.4,
        **{f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"},
    }
    tifffile.imwrite(path, data, metadata=about)
    layer = Image(data, name="stack")
    layer._source = layer.source.model_copy(update={"path": str(path)})
    assert _layers.pixel_um(layer) == pytest.approx(0.13)
    np.testing.assert_allclose(_layers.heights_um(layer)[0], [0, 0.4, 0.8])


FROM_FILE = {"pixel_um": 1.0, "z_step_um": 1.0, "z_um": [0.0, 1.0, 2.0]}


def from_file(known, **about):
    """A layer as this package makes it of a file, or as a person has changed it since."""
    return image((len(known["z_um"]), 8, 8), metadata={_layers.METADATA_KEY: known}, **about)


@pytest.mark.parametrize(
    ("about", "pixel", "heights"),
    [
        (UM3, 1.0, [0, 1, 2]),
        (UM3 | {"scale": (0.4, 0.1, 0.1)}, 0.1, [0, 0.4, 0.8]),
        ({"scale": (0.4, 0.1, 0.1)}, 0.1, [0, 0.4, 0.8]),
        (UM3 | {"scale": (1, 0.1, 0.1)}, 0.1, [0, 1, 2]),
        (UM3 | {"translate": (7, 0, 0)}, 1.0, [7, 8, 9]),
        ({"scale": (400, 100, 100), "units": ("nm",) * 3}, 0.1, [0, 0.4, 0.8]),
        ({"scale": (1, 0.001, 0.001), "units": ("um", "mm", "mm")}, 1.0, [0, 1, 2]),
        ({}, 1.0, [0, 1, 2]),  # in pixels it says nothing, and the file does
    ],
)
def test_what_is_set_on_a_layer_wins_over_its_file(about, pixel, heights) -> None:
    layer = from_file(FROM_FILE, **about)
    assert _layers.pixel_um(layer) == pytest.approx(pixel)
    np.testing.assert_allclose(_layers.heights_um(layer)[0], heights)
    step = heights[1] - heights[0]
    frame = _layers.stack_frame(layer)
    assert frame is not None
    assert frame.voxel_um == pytest.approx((step, pixel, pixel))


def test_uneven_heights_of_a_file_hold_until_the_layer_is_moved_or_stretched() -> None:
    known = {"pixel_um": 0.1, "z_um": [18.0, 20.0, 23.5]}
    place = {"scale": (2.75, 0.1, 0.1), "translate": (18, 0, 0)} | UM3
    layer = from_file(known, **place)
    np.testing.assert_allclose(_layers.heights_um(layer)[0], [18, 20, 23.5])
    layer.scale = (3, 0.1, 0.1)
    np.testing.assert_allclose(_layers.heights_um(layer)[0], [18, 21, 24])
    layer.scale, layer.translate = (2.75, 0.1, 0.1), (0, 0, 0)
    np.testing.assert_allclose(_layers.heights_um(layer)[0], [0, 2.75, 5.5])


@pytest.mark.parametrize(
    ("units", "pixel", "heights"),
    [
        (("um", "pixel", "pixel"), None, [0, 0.4, 0.8]),
        (("um", "um", "pixel"), None, [0, 0.4, 0.8]),
        (("pixel", "um", "um"), 0.1, None),
        (("pixel", "pixel", "um"), None, None),
    ],
)
def test_beside_a_unit_of_length_pixels_are_not_known(units, pixel, heights) -> None:
    for layer in (
        image((3, 8, 8), scale=(0.4, 0.1, 0.1), units=units),
        from_file(FROM_FILE, scale=(0.4, 0.1, 0.1), units=units),
    ):
        assert _layers.pixel_um(layer) == pixel
        assert _layers.stack_frame(layer) is None
        found = _layers.heights_um(layer)[0]
        if heights is None:
            assert found is None
        else:
            np.testing.assert_allclose(found, heights)


def test_an_affine_transform_counts_as_scale_and_place() -> None:
    affine = np.diag((2, 0.5, 0.5, 1.0))
    affine[:3, 3] = 7, 8, 9
    place = {"scale": (0.5, 0.2, 0.2), "translate": (2, 4, 6)} | UM3
    layer = image((3, 8, 8), affine=affine, **place)
    assert _layers.pixel_um(layer) == pytest.approx(0.1)
    np.testing.assert_allclose(_layers.heights_um(layer)[0], [11, 12, 13])
    assert _layers.lateral_origin_um(layer) == pytest.approx((10, 12))
    assert not _layers.is_turned(layer)
    frame = _layers.stack_frame(layer)
    assert frame is not None
    assert frame.origin_um == pytest.approx((11, 10, 12))
    known = {"pixel_um": 0.2, "z_um": [2.0, 2.5, 3.0]}  # as the file said before it was moved
    moved = from_file(known, affine=affine, **place)
    np.testing.assert_allclose(_layers.heights_um(moved)[0], [11, 12, 13])
    copied = Image(layer.data, **_layers.about_layer(moved, "copy", {}))
    np.testing.assert_allclose(_layers.heights_um(copied)[0], [11, 12, 13])
    assert _layers.pixel_um(copied) == pytest.approx(0.1)


def test_a_layer_that_is_turned_in_its_planes_keeps_its_sizes() -> None:
    layer = image((3, 8, 8), scale=(0.5, 0.2, 0.2), rotate=(0, 0, 30), **UM3)
    assert _layers.is_turned(_layers.check_scan_layer(layer))
    assert _layers.pixel_um(layer) == pytest.approx(0.2)
    np.testing.assert_allclose(_layers.heights_um(layer)[0], [0, 0.5, 1])
    pixels = image((8, 8), rotate=30)  # says no size
    assert _layers.pixel_um(pixels) is None


def test_planes_that_are_not_level_are_no_scans() -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.3
    layer = image((3, 8, 8), scale=(0.5, 0.2, 0.2), affine=affine, **UM3)
    with pytest.raises(InputError, match="planes of layer 'cells' are not level"):
        _layers.check_scan_layer(layer)


def test_a_file_that_is_saved_anew_is_read_anew(tmp_path) -> None:
    """For the layers that are opened from it afterwards; those before are of the old one."""
    path = tmp_path / "stack.ome.tif"
    data = np.zeros((3, 16, 16), np.uint16)

    def opened(step_um: float) -> Image:
        sizes = {"PhysicalSizeX": 0.13, "PhysicalSizeY": 0.13, "PhysicalSizeZ": step_um}
        tifffile.imwrite(path, data, metadata={"axes": "ZYX", **sizes})
        layer = Image(data, name="stack")
        layer._source = layer.source.model_copy(update={"path": str(path)})
        np.testing.assert_allclose(_layers.heights_um(layer)[0], step_um * np.arange(3))
        return layer

    before, after = opened(0.4), opened(0.25)
    np.testing.assert_allclose(_layers.heights_um(before)[0], [0, 0.4, 0.8])
    np.testing.assert_allclose(_layers.heights_um(after)[0], [0, 0.25, 0.5])


@pytest.mark.parametrize(
    "entry", [{"method": "lmmse"}, {"state": "running"}, {"difference": "a − b"}]
)
def test_what_was_made_of_scans_is_no_scan(entry) -> None:
    layer = image((3, 8, 8), metadata={_layers.METADATA_KEY: entry}, **UM3)
    with pytest.raises(InputError, match="'cells' was made from scans, and is no scan itself"):
        _layers.check_scan_layer(layer)


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["worm z=2.0µm", "worm z=5.0µm"], "worm"),
        (["scan_z3um.tif", "scan_z6um.tif"], "scan"),
        (["embryo.ome.tif"] * 3, "embryo"),
        (["a", "b"], ""),
        (["cell1", "cell2"], "cell"),
        (["cell 12", "cell 12, plane 4 (shifted back)"], "cell 12"),
        (["cell 1", "cell 12"], "cell"),
    ],
)
def test_the_volume_is_named_after_what_scans_have_in_common(names, common) -> None:
    assert file_names.common_name(names) == common


@pytest.mark.parametrize(
    ("names", "joint"),
    [
        (["DAPI · Linear MMSE"], "DAPI · Linear MMSE"),
        (["TRITC · Recurrent-MZ", "FITC · Recurrent-MZ"], "TRITC + FITC · Recurrent-MZ"),
        (["cell 2 DAPI · Cubic", "cell 2 CY3 · Cubic"], "cell 2 DAPI + CY3 · Cubic"),
        (["a · Auto", "b · Cubic"], "a · Auto + b · Cubic"),
        (["cell", "cell [1]"], "cell [1]"),
        (["cell", "cell"], "cell"),
    ],
)
def test_several_volumes_have_one_short_name(names, joint) -> None:
    assert file_names.joint_name(names) == joint


def test_a_time_lapse_is_told_to_be_split_where_one_time_point_is_wanted() -> None:
    layer = image((2, 3, 8, 8), axis_labels=("t", "z", "y", "x"))
    with pytest.raises(InputError, match=r"'cells' has 2 time points: split it .* choose one"):
        _layers.check_layer(layer)
    assert _layers.check_layer(layer, times=True) is layer


def test_pixels_that_cannot_be_read_are_told_with_their_plane() -> None:
    def read(block_id: tuple[int, ...]) -> np.ndarray:
        if block_id[0] == 1:
            raise OSError("chunk 1/0/0 is damaged")
        return np.ones((1, 8, 8))

    pixels = dask.array.map_blocks(read, chunks=((1,) * 3, 8, 8), dtype=float)
    layer = Image(pixels, name="cells", contrast_limits=(0, 1))
    assert _layers.plane_pixels(layer, 0).shape == (8, 8)
    with pytest.raises(InputError, match=r"^'cells, plane 1' cannot be read .*damaged"):
        _layers.plane_pixels(layer, 1)


@pytest.mark.parametrize("read", [lambda x: _layers.plane_pixels(x, 1), _layers.stack_pixels])
def test_pixels_that_are_gone_from_the_disk_are_not_read_as_zeros(tmp_path, read) -> None:
    pixels = zarr.create_array(tmp_path / "a.zarr", data=np.ones((3, 8, 8), np.uint8))
    layer = Image(pixels, name="cells", contrast_limits=(0, 1))
    assert np.asarray(read(layer)).min() == 1
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=r"pixels of layer 'cells' were in .*a.zarr"):
        read(layer)
