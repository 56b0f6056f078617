"""Layers as scans: heights, pixel sizes and the sentences for layers that cannot be scans."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels, Points

from napari_recurrent_mz.scans import InputError
from napari_recurrent_mz.widgets import _layers

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


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["worm z=2.0µm", "worm z=5.0µm"], "worm"),
        (["scan_z3um.tif", "scan_z6um.tif"], "scan"),
        (["embryo.ome.tif"] * 3, "embryo"),
        (["a", "b"], ""),
        (["cell1", "cell2"], "cell"),
    ],
)
def test_the_volume_is_named_after_what_scans_have_in_common(names, common) -> None:
    assert _layers.common_name(names) == common
