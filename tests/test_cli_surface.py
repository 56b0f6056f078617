"""``recurrent-mz surface``: files in, one image with its heights out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.scans import Scan
from napari_recurrent_mz.engine.surfaces import plane_through, reconstruct_surface
from napari_recurrent_mz.io import read_heights, read_image

OPTICS = ["--pixel-um", "0.2", "--na", "1.2", "--wavelength-um", "0.5", "--immersion-index", "1.33"]
SIZE = 40


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(5)
    names = []
    for z in (1, 3, 5):
        path = tmp_path / f"scan_z{z}um.tif"
        tifffile.imwrite(path, (rng.normal(100, 20, (SIZE, SIZE)) + z).astype(np.float32))
        names.append(str(path))
    return names


def images(files: list[str]) -> list[Scan]:
    return [Scan(tifffile.imread(f), z) for f, z in zip(files, (1.0, 3.0, 5.0), strict=True)]


def test_a_plane_through_points(files: list[str], tmp_path: Path, capsys) -> None:
    out = tmp_path / "tilted.ome.tif"
    points = ["-0.5,0,0", "4,7.8,0", "2,0,7.8"]
    words = ["surface", *files, "--through", *points, *OPTICS, "--method", "linear", "-o", str(out)]
    assert main(words) == 0
    assert (
        "40 × 40 pixels, heights -0.5 to 6.5 µm, tilt 33.4°, by linear" in capsys.readouterr().out
    )
    heights = plane_through([(-0.5, 0, 0), (4, 7.8, 0), (2, 0, 7.8)], (SIZE, SIZE), 0.2)
    np.testing.assert_allclose(read_heights(out), heights, atol=1e-6)
    found = read_image(out)
    assert (found.data.shape, found.pixel_um) == ((SIZE, SIZE), 0.2)
    wanted = reconstruct_surface(images(files), heights, method="linear")
    np.testing.assert_array_equal(found.data, wanted)
    assert found.provenance["surface"]["points_um"] == [[-0.5, 0, 0], [4, 7.8, 0], [2, 0, 7.8]]


def test_a_map_of_heights_and_a_result_as_the_next_map(files: list[str], tmp_path: Path) -> None:
    y, x = np.indices((SIZE, SIZE))
    heights = (2 + np.sin(y / 9) + np.cos(x / 7)).astype(np.float32)
    plain, first, second = (tmp_path / n for n in ("h.tif", "first.ome.tif", "second.ome.tif"))
    tifffile.imwrite(plain, heights)
    rest = [*OPTICS, "--method", "lmmse", "-o"]
    assert main(["surface", *files, "--heights", str(plain), *rest, str(first)]) == 0
    assert main(["surface", *files, "--heights", str(first), *rest, str(second)]) == 0
    np.testing.assert_array_equal(read_heights(first), heights)
    np.testing.assert_array_equal(read_image(first).data, read_image(second).data)
    assert read_image(first).provenance["surface"]["from"] == "h.tif"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--through", "1,0,0", "2,1,1", "3,2,2"], "lie on one line seen from above"),
        (["--through", "1,0", "2,1,1", "3,2,9"], "The point '1,0' is not Z,Y,X in µm"),
        (["--through", "1,0,0", "2,1,1"], "needs three points"),
        (["--heights", "small.tif"], "'small.tif' is 20 × 20 pixels but the scans are 40 × 40"),
        (["--heights", "stack.tif"], "'stack.tif' is a stack of 3 planes: a height map is one"),
        (["--heights", "nowhere.tif"], "does not exist"),
    ],
)
def test_mistakes_are_told_in_one_line(
    files: list[str], tmp_path: Path, monkeypatch, capsys, words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("small.tif", np.zeros((20, 20), np.float32))
    stack = np.zeros((3, SIZE, SIZE), np.float32)
    tifffile.imwrite("stack.tif", stack, photometric="minisblack")
    status = main(["surface", *files, *words, *OPTICS, "--method", "linear", "-o", "out.ome.tif"])
    said = capsys.readouterr().err.strip()
    assert status == 1
    assert sentence in said
    assert "\n" not in said
    assert not Path("out.ome.tif").exists()


def test_the_result_is_a_tiff(files: list[str], tmp_path: Path, capsys) -> None:
    words = ["--through", "1,0,0", "2,1,1", "3,2,9", *OPTICS, "-o", str(tmp_path / "out.ome.zarr")]
    assert main(["surface", *files, *words]) == 1
    assert "written as OME-TIFF" in capsys.readouterr().err


def test_a_surface_must_be_given(files: list[str]) -> None:
    with pytest.raises(SystemExit) as wrong:
        main(["surface", *files, *OPTICS, "-o", "out.ome.tif"])
    assert wrong.value.code == 2
