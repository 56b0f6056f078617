"""A part of the field: on the command line, and what is made of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_recurrent_mz import Optics, Scan, ZGrid
from napari_recurrent_mz.cli import main
from napari_recurrent_mz.cli._common import cropped
from napari_recurrent_mz.core.region import Region
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.engine.inference import Plane, run
from napari_recurrent_mz.engine.provenance import methods_paragraph
from napari_recurrent_mz.engine.recipe import HeightMap, Recipe
from napari_recurrent_mz.engine.voxel_errors import voxel_errors
from napari_recurrent_mz.io import ImageFile, read_image, write_volume

STACK = np.random.default_rng(2).gamma(2.0, 100.0, (9, 32, 40)).astype(np.float32)


@pytest.mark.parametrize(
    ("region", "part"),
    [
        (None, (slice(None), slice(None))),
        ("0:16,8:40", (slice(0, 16), slice(8, 40))),
        (" :, 20: ", (slice(None), slice(20, None))),
    ],
)
def test_a_region_is_rows_and_columns(region: str | None, part: tuple[slice, slice]) -> None:
    found = cropped(ImageFile(STACK, "a.tif", pixel_um=0.2), region)
    np.testing.assert_array_equal(found.data, STACK[:, *part])
    assert found.pixel_um == 0.2
    np.testing.assert_array_equal(
        cropped(ImageFile(STACK[3], "a.tif"), region).data, STACK[3][part]
    )


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ("left", "not START:STOP,START:STOP"),
        ("0:16", "not START:STOP,START:STOP"),
        ("-4:16,0:8", "not START:STOP,START:STOP"),
        ("0:33,0:40", "not inside 'a.tif' of 32 × 40 pixels"),
        ("16:16,0:40", "not inside"),
        ("50:,0:40", "not inside"),
    ],
)
def test_a_wrong_region_is_told_in_one_sentence(region: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        cropped(ImageFile(STACK, "a.tif"), region)


def test_evaluate_judges_a_region(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, stack in (("whole", STACK), ("left", STACK[:, :, :20])):
        write_volume(tmp_path / f"{name}.ome.tif", stack, 0.5 * np.arange(9), 0.2)
    values = []
    for name, more in (("whole", ["--region", ":,:20"]), ("left", [])):
        numbers = str(tmp_path / "out.json")
        argv = ["evaluate", str(tmp_path / f"{name}.ome.tif"), "--planes", "1", "4", "7"]
        assert main([*argv, "--methods", "linear", "--json", numbers, *more]) == 0
        values.append(json.loads(Path(numbers).read_text())["methods"]["linear"]["psnr_db"])
    assert values[0] == values[1]


OPTICS = Optics(1.2, 0.55, 1.333, 0.16)
HEIGHTS_UM = (1.0, 4.0, 7.0)
FIELD = 400 + 4000 * gaussian_filter(
    np.random.default_rng(8).random((3, 330, 340)), (0.5, 3, 3)
).astype(np.float32)
PART = Region((140, 190), (130, 210))


def planes_of(recipe: Recipe) -> list[np.ndarray]:
    planes = {e.index: e.pixels for e in run(recipe) if isinstance(e, Plane)}
    return [planes[index] for index in sorted(planes)]


def made(method: str, region: Region | None, scans: np.ndarray = FIELD) -> list[np.ndarray]:
    images = [Scan(pixels, z_um) for pixels, z_um in zip(scans, HEIGHTS_UM, strict=True)]
    return planes_of(Recipe(images, ZGrid(1, 7, 1.5), OPTICS, method, device="cpu", region=region))


@pytest.mark.parametrize("method", ["linear", "lmmse", "recurrent-mz"])
def test_a_region_is_that_of_the_whole_field(method: str) -> None:
    """Light from around it counts: without a margin, linear MMSE is off by a third."""
    alone = made("lmmse", None, PART.of(FIELD))
    for number, (part, whole) in enumerate(
        zip(made(method, PART), made(method, None), strict=True)
    ):
        expected = whole[140:190, 130:210]
        assert part.shape == expected.shape
        off = np.sqrt(np.mean((part - expected) ** 2)) / expected.std()
        if method == "linear" or number % 2 == 0:  # pixel by pixel, or a scan itself
            np.testing.assert_array_equal(part, expected)
        else:
            assert off < 0.05
        if method == "lmmse" and number % 2:
            assert off < np.sqrt(np.mean((alone[number] - expected) ** 2)) / expected.std() / 3


def test_reconstruct_makes_a_region_where_it_lies(tmp_path: Path) -> None:
    stack, out = tmp_path / "stack.ome.tif", tmp_path / "part.ome.tif"
    write_volume(stack, FIELD, np.array([1.0, 4.0, 7.0]), 0.16)
    command = "reconstruct --planes 0 1 2 --grid 1:7:1.5 --method linear --region 140:190,130:210"
    assert main([*command.split(), str(stack), "-o", str(out)]) == 0
    volume = read_image(out)
    np.testing.assert_array_equal(volume.data, np.stack(made("linear", PART)))
    assert volume.origin_um == pytest.approx((140 * 0.16, 130 * 0.16))
    assert volume.provenance["region"] == {"rows": [140, 190], "columns": [130, 210]}
    of_earlier_versions = {**volume.provenance, "region": "140:190,130:210"}
    for record in (volume.provenance, of_earlier_versions):
        told = methods_paragraph(record)
        assert "a part of the field, rows 140 to 189 and columns 130 to 209" in told


def test_errors_of_voxels_are_those_of_the_region() -> None:
    images = [Scan(pixels, z_um) for pixels, z_um in zip(FIELD, HEIGHTS_UM, strict=True)]
    whole = Recipe(images, ZGrid(2.5, 5.5, 3.0), OPTICS, "lmmse", device="cpu")
    part = replace(whole, region=PART)
    found = [list(voxel_errors(one, np.stack(planes_of(one)))) for one in (whole, part)]
    for all_of_it, of_part in zip(*found, strict=True):
        inner = all_of_it[160:170, 160:180]  # farther in than what an error looks at
        np.testing.assert_allclose(of_part[20:30, 30:50], inner, rtol=0.2)


def test_what_can_be_no_region() -> None:
    images = [Scan(pixels, z_um) for pixels, z_um in zip(FIELD, HEIGHTS_UM, strict=True)]
    with pytest.raises(InputError, match="not inside"):
        Recipe(images, ZGrid(1, 7, 1.5), OPTICS, region=Region((300, 331), (0, 20)))
    dark = FIELD[0].copy()
    dark[:280, :290] = 7  # the region and what lies 128 pixels around it
    images[0] = Scan(dark, 1.0, "first")
    with pytest.raises(InputError, match="'first' is constant in and around the region 140:150"):
        Recipe(images, ZGrid(1, 7, 1.5), OPTICS, region=Region((140, 150), (130, 150)))
    surface = HeightMap(np.full((50, 80), 3.0))
    with pytest.raises(InputError, match="no region"):
        Recipe(images, surface, OPTICS, region=PART)
