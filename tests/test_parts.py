"""Single planes of TIFFs: whatever tifffile puts off until it is asked, the file closed between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_recurrent_mz.io import read_heights, read_image, write_surface, write_volume
from napari_recurrent_mz.io._parts import Part, contents_of, read_part

STACK = np.random.default_rng(0).integers(0, 4000, (5, 20, 24)).astype(np.uint16)
LAPSE = np.stack([STACK, STACK + 1, STACK + 2])

WRITERS: dict[str, Callable[[Path], object]] = {
    "plain": lambda p: tifffile.imwrite(p, STACK, metadata=None, photometric="minisblack"),
    "tifffile's": lambda p: tifffile.imwrite(p, STACK, photometric="minisblack"),
    "compressed": lambda p: tifffile.imwrite(
        p, STACK, compression="zlib", photometric="minisblack"
    ),
    "ImageJ": lambda p: tifffile.imwrite(
        p, STACK, imagej=True, metadata={"axes": "ZYX", "spacing": 0.5, "unit": "um"}
    ),
    "OME": lambda p: tifffile.imwrite(p, STACK, ome=True, metadata={"axes": "ZYX"}),
    "OME, compressed": lambda p: tifffile.imwrite(
        p, STACK, ome=True, metadata={"axes": "ZYX"}, compression="zlib"
    ),
    "ours": lambda p: write_volume(p, STACK, np.arange(5.0), 0.1, keep_type=True),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_planes_of_a_stack(tmp_path: Path, write: Callable[[Path], object]) -> None:
    """The first look at a file and later ones, which know its pages already."""
    path = tmp_path / "stack.tif"
    write(path)
    (content,) = contents_of(path)
    assert (content.inside, content.axes[-2:], content.shape[-3:]) == ("", "YX", STACK.shape)
    for planes in ([1, 3], [0], [4, 2, 99]):
        for image in (read_image(path, planes), read_part(Part(str(path)), planes)):
            assert image.n_planes == len(STACK)
            for plane in set(planes) - {99}:
                np.testing.assert_array_equal(image.data[plane], STACK[plane])


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_planes_of_one_time_point(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lapse.ome.tif"
    tifffile.imwrite(path, LAPSE, metadata={"axes": "TZYX"}, **{kind: True})
    (content,) = contents_of(path)
    assert (content.length("T"), content.length("Z")) == LAPSE.shape[:2]
    for time in (2, 0):
        image = read_part(Part(str(path), time=time), [1, 4])
        np.testing.assert_array_equal(image.data[4], LAPSE[time, 4])


def test_planes_of_one_position(tmp_path: Path) -> None:
    path = tmp_path / "positions.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for stack in LAPSE:
            tif.write(stack, photometric="minisblack", metadata={"axes": "ZYX"})
    assert [content.inside for content in contents_of(path)] == ["0", "1", "2"]
    for position in (1, 2):
        image = read_part(Part(str(path), str(position)), [3])
        np.testing.assert_array_equal(image.data[3], LAPSE[position, 3])


def test_a_file_that_was_written_again_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    for stack in (STACK, LAPSE[1, :4]):
        tifffile.imwrite(path, stack, photometric="minisblack", metadata=None)
        assert contents_of(path)[0].shape == stack.shape
        np.testing.assert_array_equal(read_image(path, [2]).data[2], stack[2])


def test_a_surface_and_its_heights(tmp_path: Path) -> None:
    heights = np.linspace(1, 4, STACK[0].size, dtype=np.float32).reshape(STACK[0].shape)
    path = write_surface(tmp_path / "surface.ome.tif", STACK[0], heights, 0.1)
    assert len(contents_of(path)) == 1  # the heights are no image of the sample
    np.testing.assert_array_equal(read_image(path, [0]).data, STACK[0])
    np.testing.assert_array_equal(read_heights(path), heights)
