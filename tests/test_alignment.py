"""Alignment and registration: planted motions are found, and what is not there is not made up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage.transform import EuclideanTransform, warp

from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io import read_image
from napari_recurrent_mz.measure.preparation import (
    Alignment,
    Place,
    align,
    aligning,
    applying,
    finished,
    register,
    resampling,
)

SAMPLES = files("napari_recurrent_mz") / "docks" / "files" / "sample_data"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SIZE = (120, 136)
MARGIN = 24
RNG = np.random.default_rng(11)
GROUND = ndimage.gaussian_filter(RNG.normal(size=(SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN)), 2.0)
GROUND /= GROUND.std()

# (shift in y, shift in x, rotation clockwise on the screen) of each plane, pixels and degrees
DRIFT = [(0.7 * i - 0.06 * i**2, -0.45 * i, 0.3 * i) for i in range(6)]
STILL = [(0.0, 0.0, 0.0)] * 6
SHIFTED = [(dy, dx, 0.0) for dy, dx, _ in DRIFT]


def seen(dy: float, dx: float, degrees: float, image: np.ndarray = GROUND) -> np.ndarray:
    """The image as scikit-image moves it: displaced and turned about the middle of the field."""
    middle = (np.array(image.shape)[::-1] - 1) / 2
    turn = EuclideanTransform(rotation=np.radians(degrees))
    away = EuclideanTransform(translation=(middle[0] + dx, middle[1] + dy))
    motion = EuclideanTransform(translation=-middle) + turn + away
    moved = warp(image, motion.inverse, order=5, mode="reflect")
    return moved[MARGIN:-MARGIN, MARGIN:-MARGIN]


def stack_of(motions: list[tuple[float, float, float]], *, fading: bool = True) -> np.ndarray:
    """Planes that bleach, go out of focus from the middle one on, and are noisy."""
    planes = []
    for i, motion in enumerate(motions):
        plane = ndimage.gaussian_filter(seen(*motion), 0.3 * abs(i - 2))
        gain = 300 * 0.9**i if fading else 300
        planes.append(1500 + gain * plane + RNG.normal(scale=6, size=SIZE))
    return np.array(planes)


def test_the_shape_of_a_sample_is_not_called_drift() -> None:
    """The planes of a real nucleus, which leans; its stage did not move."""
    stack = read_image(str(SAMPLES / "nucleus.ome.tif")).data[8:36:3]
    found = align(stack, transform="translation")
    assert np.abs(found.shift_px).max() > 0.5
    words, is_worth_it = found.verdict
    assert words.startswith("No clear drift found: ")
    assert not is_worth_it
    moved = [ndimage.shift(plane, (k, -k), mode="mirror") for k, plane in enumerate(stack)]
    assert align(np.array(moved), transform="translation").verdict[1]


def test_planes_that_are_only_larger_did_not_stay_where_they_were() -> None:
    """The middle of each, and its rotation, say nothing of that."""
    grown = np.eye(3) * (1.03, 1.03, 1)
    grown[:2, 2] = (1 - 1.03) * (np.array(SIZE) - 1) / 2  # about the middle
    rise = np.array([np.nan, 0.4]), np.array([np.nan, 0.9])
    found = Alignment(np.array([np.eye(3), grown]), SIZE, "affine", "previous", *rise)
    assert np.abs(found.shift_px).max() < 1e-9
    assert found.verdict == ("Mean correlation with the reference 0.400 before, 0.900 after.", True)


def relative(found: Alignment) -> tuple[np.ndarray, np.ndarray]:
    """Shift of the middle and rotation of every plane against the first one, as it was found."""
    first = np.linalg.inv(found.matrices[0])
    again = Alignment(
        found.matrices @ first, found.shape, "rigid", "first", np.empty(0), np.empty(0)
    )
    return again.shift_px, again.rotation_deg


@pytest.mark.parametrize("reference", ["previous", "first", "mean"])
@pytest.mark.parametrize(
    ("transform", "motions"), [("translation", SHIFTED), ("rigid", DRIFT), ("affine", DRIFT)]
)
def test_planted_motions_are_found(transform: str, reference: str, motions) -> None:
    found = align(stack_of(motions), transform=transform, reference=reference)
    shift, turn = relative(found)
    truth = np.array(motions)
    np.testing.assert_allclose(shift, truth[:, :2], atol=0.05)
    np.testing.assert_allclose(turn, truth[:, 2], atol=0.05)
    assert np.nanmin(found.correlation_after - found.correlation_before) > 0
    np.testing.assert_allclose(found.magnification, 1, atol=2e-3)


def test_a_still_stack_stays_as_it_is() -> None:
    stack = stack_of(STILL)
    found = align(stack)
    shift, turn = relative(found)
    assert np.abs(shift).max() < 0.05
    assert np.abs(turn).max() < 0.05
    assert found.common_region == (slice(0, SIZE[0]), slice(0, SIZE[1]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_aligned_planes_show_the_same_in_the_same_type(dtype) -> None:
    planes = stack_of(DRIFT, fading=False)
    planes = (planes / 12 if dtype is np.uint8 else planes).astype(dtype)
    before = planes.copy()
    found = align(planes)
    moved = finished(applying(planes, found, found.common_region))
    rows, columns = found.common_region
    assert moved.dtype == dtype
    assert moved.shape == (6, rows.stop - rows.start, columns.stop - columns.start)
    np.testing.assert_array_equal(planes, before)
    np.testing.assert_array_equal(moved[0], planes[0][rows, columns])
    apart = np.abs(planes[5][rows, columns].astype(float) - planes[0][rows, columns]).mean()
    together = np.abs(moved[5].astype(float) - moved[0]).mean()
    assert together < 0.35 * apart
    for i in range(6):
        assert planes[i].min() <= moved[i].min() <= moved[i].max() <= planes[i].max()


def test_edges_are_filled_and_the_common_region_is_what_all_planes_show() -> None:
    found = align(stack_of(DRIFT))
    whole = finished(applying(np.ones((6, *SIZE)), found))
    assert whole.shape == (6, *SIZE)
    assert np.isfinite(whole).all()
    # A plane that is 1 inside and 0 outside says itself what it shows.
    shown = np.ones(SIZE, dtype=bool)
    for matrix in found.matrices:
        inside = ndimage.affine_transform(
            np.ones(SIZE), matrix[:2, :2], matrix[:2, 2], order=1, mode="constant"
        )
        shown &= inside > 0.999
    rows, columns = found.common_region
    assert shown[rows, columns].all()
    # No side can be moved out by two pixels.
    for grown in (
        np.s_[rows.start - 2 : rows.stop, columns],
        np.s_[rows.start : rows.stop + 2, columns],
        np.s_[rows, columns.start - 2 : columns.stop],
        np.s_[rows, columns.start : columns.stop + 2],
    ):
        ends = (grown[0].start, grown[1].start, SIZE[0] - grown[0].stop, SIZE[1] - grown[1].stop)
        assert min(ends) < 0 or not shown[grown].all()


def test_the_table_has_lengths_in_micrometres() -> None:
    found = align(stack_of(SHIFTED), transform="translation")
    table = found.table(np.arange(6) * 0.5, pixel_um=0.2)
    assert list(table) == [
        *("plane", "z_um", "shift_y_um", "shift_x_um", "rotation_deg", "magnification"),
        *("correlation_before", "correlation_after"),
    ]
    np.testing.assert_allclose(table.shift_x_um, 0.2 * np.array(SHIFTED)[:, 1], atol=0.01)
    assert list(found.table())[:2] == ["plane", "shift_y_px"]


def test_it_can_be_left_between_two_planes() -> None:
    steps = aligning(stack_of(STILL))
    first = next(steps)
    assert (first.done, first.total) == (1, 5)
    steps.close()


def one_constant() -> np.ndarray:
    stack = stack_of(STILL)
    stack[2] = 7
    return stack


def one_nan() -> np.ndarray:
    stack = stack_of(STILL)
    stack[3, 4, 5] = np.nan
    return stack


@pytest.mark.parametrize(
    ("make", "names", "words"),
    [
        (lambda: stack_of(STILL)[:1], ("a",), "'a' is one plane only"),
        (one_constant, (), "Plane 2 is constant"),
        (one_nan, (), "Plane 3 has 1 pixel that is NaN"),
        (lambda: np.ones((3, 40, 40, 3)), (), "Plane 0 is an RGB image"),
        (
            lambda: [np.eye(40), np.eye(41)],
            ("'a'", "'b'"),
            "'b' is 41 × 41 pixels but 'a' is 40 × 40",
        ),
    ],
)
def test_planes_that_cannot_be_aligned(make: Callable[[], object], names, words: str) -> None:
    with pytest.raises(InputError, match=words):
        align(make(), names=names)


# --- registration ---

PLACE = Place(0.4 * np.arange(24), 0.2)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A made-up object: its blurred image, and its sharp one."""
    rng = np.random.default_rng(5)
    points = np.zeros((24, *SIZE))
    places = rng.uniform((3, 10, 10), (21, SIZE[0] - 10, SIZE[1] - 10), (150, 3)).astype(int)
    points[tuple(places.T)] = rng.uniform(1, 3, 150)
    sharp = 4e4 * ndimage.gaussian_filter(points, (0.8, 1.2, 1.2)) + 100
    blurred = 8e4 * ndimage.gaussian_filter(points, (2.0, 2.0, 2.0)) + 400
    return blurred, sharp


def test_a_planted_misplacement_is_found(pair) -> None:
    wide, sharp = pair
    turn = EuclideanTransform(rotation=np.radians(1.2))
    middle = (np.array(SIZE)[::-1] - 1) / 2
    about = EuclideanTransform(translation=-middle) + turn
    motion = about + EuclideanTransform(translation=(middle[0] - 3.4, middle[1] + 2.6))
    moved = np.array([warp(p, motion.inverse, order=3, mode="edge") for p in sharp])
    moved = ndimage.shift(moved, (2.5, 0, 0), order=1, mode="nearest")
    found = register(wide, moved, PLACE, PLACE, transform="rigid")
    np.testing.assert_allclose(found.shift_um, (2.6 * 0.2, -3.4 * 0.2), atol=0.02)
    assert found.rotation_deg == pytest.approx(1.2, abs=0.1)
    assert found.shift_z_um == pytest.approx(2.5 * 0.4, abs=0.05)
    assert found.correlation_after > found.correlation_before + 0.2
    assert found.correlation_after > np.corrcoef(wide.ravel(), sharp.ravel())[0, 1] - 0.02
    assert found.planes == slice(0, 21)
    resampled = finished(resampling(moved, found, crop=True))
    rows, columns = found.region
    truth = sharp[found.planes, rows, columns]
    assert resampled.shape == truth.shape
    assert np.corrcoef(resampled.ravel(), truth.ravel())[0, 1] > 0.97
    assert finished(resampling(moved, found)).shape == wide.shape


def test_grids_may_differ_in_pixel_step_and_place(pair) -> None:
    """Every second plane, and pixels half as large again, of a field that begins elsewhere."""
    wide, sharp = pair
    coarse = np.array([ndimage.zoom(p[9:, 4:], 1 / 1.5, order=3, grid_mode=True, mode="nearest")
                       for p in sharp[::2]])  # fmt: skip
    pixel = 0.3
    origin = (9 * 0.2 + (pixel - 0.2) / 2, 4 * 0.2 + (pixel - 0.2) / 2)
    place = Place(0.8 * np.arange(12), pixel, origin)
    found = register(wide, coarse, PLACE, place, transform="translation")
    np.testing.assert_allclose(found.shift_um, 0, atol=0.03)
    assert found.shift_z_um == pytest.approx(0, abs=0.2)  # a quarter of its coarse step
    assert found.magnification == pytest.approx(1)
    rows, columns = found.region
    assert rows.start in (9, 10)
    assert columns.start in (4, 5)
    truth = sharp[found.planes, rows, columns]
    made = finished(resampling(coarse, found, crop=True))
    # Between the planes that it has, the object is thinner than their distance.
    assert np.corrcoef(made.ravel(), truth.ravel())[0, 1] > 0.88


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w, c: (w, c[0]), "'confocal' has the shape .* needs two stacks"),
        (lambda w, c: (w, np.full_like(c, 3)), "'confocal' is constant"),
        (
            lambda w, c: (np.where(w == w[2, 3, 4], np.nan, w), c),
            "of 'wide-field' has .* pixels that are NaN",
        ),
    ],
)
def test_stacks_that_cannot_be_registered(pair, change, words: str) -> None:
    with pytest.raises(InputError, match=words):
        register(*change(*pair), PLACE, PLACE)


def test_a_confocal_stack_of_another_place_is_told(pair) -> None:
    with pytest.raises(InputError, match="'confocal' lies beside the wide-field stack"):
        register(*pair, PLACE, Place(PLACE.z_um, 0.2, (1000.0, 0.0)))


@pytest.mark.skipif(not DATA.is_dir(), reason="the real stacks are not here")
def test_the_real_pair_correlates_better_once_registered() -> None:
    wide, sharp = (
        tifffile.imread(DATA / f"nucleus-hoechst-{kind}.ome.tif")[::2]
        for kind in ("widefield", "confocal")
    )
    place = Place(2 * 0.4994 * np.arange(23), 0.5119)
    found = register(wide, sharp, place, place)
    assert found.correlation_after > found.correlation_before + 0.03
    made = finished(resampling(sharp, found, crop=True))
    planes, (rows, columns) = found.planes, found.region

    def likeness(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    part = wide[planes, rows, columns]
    assert likeness(part, made) > likeness(part, sharp[planes, rows, columns]) + 0.03


def test_without_pystackreg_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pystackreg", None)
    with pytest.raises(InputError, match=r"pip install 'napari-recurrent-mz\[alignment\]'"):
        align(stack_of(STILL))
