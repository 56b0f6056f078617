"""Scans and grids: every mistake told in one clear sentence, and nothing else refused."""

from __future__ import annotations

import numpy as np
import pytest

from napari_recurrent_mz.scans import (
    MAX_PLANES,
    InputError,
    Scan,
    ZGrid,
    check_scans,
    listed,
    require_several,
)

GOOD = np.arange(20 * 24, dtype=np.uint16).reshape(20, 24)


def with_pixel(value: float) -> np.ndarray:
    image = GOOD.astype(float)
    image[3, 4] = value
    return image


BAD_SCANS = {
    "rgb": (np.zeros((20, 24, 3)), 1.0, ["RGB", "one fluorescence channel"]),
    "rgba": (np.zeros((20, 24, 4)), 1.0, ["RGB"]),
    "stack": (np.zeros((5, 20, 24)), 1.0, ["3 dimensions", "one 2-D image"]),
    "line": (np.zeros(20), 1.0, ["1 dimensions", "2-D"]),
    "number": (7.0, 1.0, ["0 dimensions"]),
    "complex": (GOOD * 1j, 1.0, ["complex128", "real intensities"]),
    "text": (np.full((20, 24), "a"), 1.0, ["real intensities"]),
    "objects": (np.full((20, 24), None), 1.0, ["object", "real intensities"]),
    "tiny": (GOOD[:15], 1.0, ["15 × 24", "16 × 16"]),
    "empty": (GOOD[:0], 1.0, ["0 × 24"]),
    "nan": (with_pixel(np.nan), 1.0, ["1 pixels", "NaN or infinite"]),
    "infinite": (with_pixel(np.inf), 1.0, ["NaN or infinite"]),
    "constant": (np.full((20, 24), 5), 1.0, ["constant", "5"]),
    "no height": (GOOD, None, ["z position", "missing", "µm"]),
    "nan height": (GOOD, np.nan, ["z position", "missing"]),
    "infinite height": (GOOD, np.inf, ["z position"]),
}


@pytest.mark.parametrize(("image", "z_um", "words"), BAD_SCANS.values(), ids=BAD_SCANS)
def test_bad_scan_is_refused_by_name(image: object, z_um: float, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        Scan(image, z_um=z_um, name="worm 3")  # type: ignore[arg-type]
    message = str(caught.value)
    assert "'worm 3'" in message
    for word in words:
        assert word in message
    assert "\n" not in message
    assert message.endswith((".", ")."))


@pytest.mark.parametrize("kind", [bool, np.int8, np.uint8, np.uint16, np.int32, float, "f2", ">u2"])
def test_any_real_type_is_a_scan(kind: object) -> None:
    image = (np.indices((20, 24)).sum(0) % 2 * 100).astype(kind)
    scan = Scan(image, z_um=2)
    assert scan.pixels.dtype == np.float32
    np.testing.assert_array_equal(scan.pixels, image.astype(np.float32))
    assert scan.z_um == 2.0


def test_scan_is_a_copy_that_nobody_can_change() -> None:
    image = GOOD.astype(np.float32)
    scan = Scan(image, z_um=0)
    image[0, 0] = 99
    assert scan.pixels[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        scan.pixels[0, 0] = 1


def test_scans_that_fit_keep_their_order() -> None:
    scans = [Scan(GOOD, 9.0), Scan(GOOD, 3.0)]
    assert [scan.z_um for scan in check_scans(iter(scans))] == [9.0, 3.0]
    require_several(scans)


BAD_SETS = {
    "none": ([], ["no scan", "two images"]),
    "sizes": (
        [Scan(GOOD, 1, "a.tif"), Scan(GOOD.T, 2, "b.tif")],
        ["'b.tif'", "24 × 20", "'a.tif'", "20 × 24"],
    ),
    "same height": (
        [Scan(GOOD, 3, "a.tif"), Scan(GOOD, 5, "c.tif"), Scan(GOOD, 3, "b.tif")],
        ["'a.tif'", "'b.tif'", "z = 3 µm"],
    ),
    "nameless": ([Scan(GOOD, 3), Scan(GOOD, 3)], ["Scans 1 and 2", "z = 3 µm"]),
}


@pytest.mark.parametrize(("scans", "words"), BAD_SETS.values(), ids=BAD_SETS)
def test_scans_that_do_not_fit_are_named(scans: list[Scan], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        check_scans(scans)
    for word in words:
        assert word in str(caught.value)


def test_one_scan_is_not_enough_for_a_volume() -> None:
    with pytest.raises(InputError, match="at least two scans"):
        require_several([Scan(GOOD, 1)])


GRIDS = {
    "0:10:0.2": (0, 10, 51),
    "0:12:0.1": (0, 12, 121),
    "0:0.3:0.1": (0, 0.3, 4),  # 0.3 / 0.1 is below 3 in floating point
    "-2:2:1": (-2, 2, 5),
    "0:1:0.3": (0, 0.9, 4),
    "5:5:1": (5, 5, 1),
    "1e0:2:0.5": (1, 2, 3),
}


@pytest.mark.parametrize(("text", "expected"), GRIDS.items(), ids=GRIDS)
def test_grid_includes_both_ends(text: str, expected: tuple[float, float, int]) -> None:
    first, last, count = expected
    grid = ZGrid.parse(text)
    assert len(grid) == count
    np.testing.assert_allclose(grid.z_um, np.linspace(first, last, count), atol=1e-9)


BAD_GRIDS = {
    "": "not START:STOP:STEP",
    "0:10": "not START:STOP:STEP",
    "0:10:0.2:3": "not START:STOP:STEP",
    "a:b:c": "not START:STOP:STEP",
    "0,5:10:1": "not START:STOP:STEP",
    "0:10:0": "must be above 0",
    "0:10:-1": "must be above 0",
    "10:0:1": "runs backwards",
    "0:nan:1": "not a finite number",
    "0:inf:1": "not a finite number",
    "0:1000000:1": "1,000,001 planes, more than 10,000",
    "0:1e9:1e-9": "more than 10,000",
}


@pytest.mark.parametrize(("text", "words"), BAD_GRIDS.items(), ids=[f"<{x}>" for x in BAD_GRIDS])
def test_bad_grid_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ZGrid.parse(text)


def test_largest_grid_is_allowed() -> None:
    assert len(ZGrid(0, MAX_PLANES - 1, 1)) == MAX_PLANES


def test_equal_grids_are_equal() -> None:
    assert ZGrid(0, 1, 0.5) == ZGrid.parse("0:1:0.5")
    assert ZGrid(0, 1, 0.5) != ZGrid(0, 1, 0.25)


def test_words_in_a_sentence() -> None:
    assert [listed(list("abc"[:n])) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
