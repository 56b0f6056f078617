"""``--region``: a part of the field, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_recurrent_mz.cli import main
from napari_recurrent_mz.cli._common import cropped
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io import ImageFile, write_volume

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
        values.append(json.loads(Path(numbers).read_text())["methods"]["linear"]["psnr"])
    assert values[0] == values[1]
