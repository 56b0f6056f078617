"""Scans and grids: every mistake told in one clear sentence, and nothing else refused."""

from __future__ import annotations

import numpy as np
import pytest

from napari_recurrent_mz.core.scans import (
    MAX_PLANES,
    InputError,
    Scan,
    ZGrid,
    check_scans,
    default_grid,
    listed,
    require_several,
    stack_of,
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
    "mask": (GOOD > 99, 1.0, ["bool", "mask", "image of the fluorescence"]),
    "tiny": (GOOD[:15], 1.0, ["15 × 24", "16 × 16"]),
    "empty": (GOOD[:0], 1.0, ["0 × 24"]),
    "nan": (with_pixel(np.nan), 1.0, ["1 pixel that is NaN or infinite: replace it first"]),
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


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.uint16, np.int32, float, "f2", ">u2"])
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
    scans = [Scan(GOOD, 9.0), Scan(GOOD + 1, 3.0)]
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


def test_scans_become_a_stack_once() -> None:
    """What is computed with is not copied again, however often it is handed on."""
    stack = stack_of([Scan(GOOD, 9.0), Scan(GOOD[::-1], 3.0)])
    np.testing.assert_array_equal(stack.images, np.stack([GOOD, GOOD[::-1]]))
    np.testing.assert_array_equal(stack.z_um, [9.0, 3.0])
    assert stack_of(stack).images is stack.images
    with pytest.raises(InputError, match="correct one height"):
        stack_of([Scan(GOOD, 3.0), Scan(GOOD, 3.0)])


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


def _meets(grid: ZGrid, z_um: list[float]) -> list[bool]:
    return [bool(np.abs(grid.z_um - z).min() < 1e-3) for z in z_um]


HEIGHT_LISTS = {
    # heights, depth of field, the step that a person would choose
    "evenly spaced": ([9, 3, 6], 0.402, 0.2),
    "off the round steps": ([3.2, 7.04, 10.88, 14.72], 0.402, 0.192),
    "in tenths": ([3.0, 5.3, 10.8], 0.402, 0.1),
    "far up a stage": ([5003.2, 5007.04, 5010.88], 0.402, 0.192),
    "below zero": ([-4.5, 0, 4.5], 0.402, 0.1875),
    "nearer than a depth of field": ([1.0, 1.1], 0.402, 0.1),
    "no optics": ([0, 10], None, 0.2),
}


@pytest.mark.parametrize(("z_um", "depth_um", "step_um"), HEIGHT_LISTS.values(), ids=HEIGHT_LISTS)
def test_the_default_grid_holds_all_scans(z_um, depth_um, step_um) -> None:
    grid = default_grid(z_um, depth_um)
    assert grid.step_um == pytest.approx(step_um)
    assert all(_meets(grid, z_um))


def test_the_default_grid_of_any_evenly_spaced_scans_holds_them_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(400):
        start, gap = rng.uniform(-50, 6000), rng.uniform(0.05, 8)
        z_um = [start + gap * i for i in range(rng.integers(2, 7))]
        depth_um = rng.uniform(0.2, 6)
        grid = default_grid(z_um, depth_um)
        assert all(_meets(grid, z_um)), (z_um, grid)
        assert grid.step_um <= 0.71 * depth_um
        assert grid.step_um >= min(0.35 * depth_um, 0.999 * gap)


def test_the_default_grid_of_any_scans_begins_and_ends_on_one() -> None:
    rng = np.random.default_rng(1)
    for _ in range(400):
        digits = rng.integers(1, 5)
        heights = rng.uniform(0, 30, rng.integers(2, 8)).round(digits)
        z_um = list(rng.permutation(np.unique(heights)))
        if len(z_um) < 2:
            continue
        grid = default_grid(z_um, rng.choice([0.3, 0.402, 1.0, 2.2]))
        assert abs(grid.z_um[0] - min(z_um)) < 1e-6
        assert abs(grid.z_um[-1] - max(z_um)) < 1e-6
        assert sum(_meets(grid, z_um)) >= 2


def test_scans_that_cannot_all_be_met_leave_as_few_out_as_possible() -> None:
    z_um = [0.0, 3.0, 4.0157, 5.1238, 7.7319, 9.0]
    met = _meets(default_grid(z_um, 0.402), z_um)
    assert met[0]
    assert met[-1]
    assert 3 <= sum(met) < 6


@pytest.mark.parametrize(("start", "step"), [(0.0, 0.1), (2.0, 0.3), (12.0, -0.25)])
def test_the_default_grid_of_a_stack_is_its_planes(start, step) -> None:
    planes = [20, 45, 70]
    z_um = [start + step * plane for plane in planes]
    grid = default_grid(z_um, 0.402, planes)
    assert grid.z_um == pytest.approx(np.linspace(min(z_um), max(z_um), 51))


def test_the_default_grid_of_a_stack_that_is_all_scans_has_planes_between_them() -> None:
    grid = default_grid([0, 2, 4], 0.402, [0, 1, 2])
    assert grid == ZGrid(0, 4, 0.2)


def test_planes_whose_heights_were_typed_otherwise_say_nothing_of_a_step() -> None:
    assert default_grid([0, 5, 6], 0.402, [10, 20, 90]) == default_grid([0, 5, 6], 0.402)


def test_heights_in_nanometres_are_named() -> None:
    with pytest.raises(InputError, match=r"11520 µm apart.* \(not nm\), or type the target"):
        default_grid([3200, 7040, 10880, 14720], 0.402)
