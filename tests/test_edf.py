"""The image with everything in focus, and the paper's normalisation that rests on it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_triangle

from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.estimates.normalisation import edf_normalisation
from napari_recurrent_mz.measure.preparation import edf
from napari_recurrent_mz.measure.preparation.edf import extended_focus, extending_focus

SIZE = (96, 112)
PLANES = 9


def texture(rng: np.random.Generator) -> np.ndarray:
    """Spots and mottling, in counts."""
    spots = np.zeros(SIZE)
    spots[tuple(rng.integers(0, n, 260) for n in SIZE)] = rng.uniform(50, 150, 260)
    mottled = ndimage.gaussian_filter(rng.normal(size=SIZE), 1.2)
    return 400 + 90 * mottled / mottled.std() + 14 * ndimage.gaussian_filter(spots, 1.0)


def tilted(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A textured surface that leans along x: its stack, its image in focus, its height."""
    image = texture(rng)
    height = np.broadcast_to(np.linspace(0.5, PLANES - 1.5, SIZE[1]), SIZE)
    widths = np.arange(0, 6, 0.25)
    blurred = np.array([ndimage.gaussian_filter(image, w, mode="reflect") for w in widths])
    stack = []
    for z in range(PLANES):
        at = np.clip(0.8 * np.abs(z - height) / 0.25, 0, len(widths) - 1).round().astype(int)
        stack.append(np.take_along_axis(blurred, at[None], axis=0)[0])
    noise = rng.normal(scale=2, size=(PLANES, *SIZE))
    return (np.array(stack) + noise).round().astype(np.uint16), image, height


@pytest.fixture(scope="module")
def surface() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tilted(np.random.default_rng(4))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values.astype(float) ** 2)))


def test_a_tilted_surface_is_sharp_everywhere(surface) -> None:
    stack, image, height = surface
    found = extended_focus(stack)
    assert found.image.dtype == np.uint16
    ours, projected = rms(found.image - image), rms(stack.max(axis=0) - image)
    best_plane = min(rms(plane - image) for plane in stack)
    assert ours < 0.5 * projected
    assert ours < 0.35 * best_plane
    assert np.median(np.abs(found.plane - height)) < 1


def test_every_value_is_one_that_the_stack_has_there(surface) -> None:
    stack, _, _ = surface
    found = extended_focus(stack)
    taken = np.take_along_axis(stack, found.plane[None], axis=0)[0]
    np.testing.assert_array_equal(found.image, taken)
    heights = found.height_um(2 + 0.5 * np.arange(PLANES))
    np.testing.assert_allclose(heights, 2 + 0.5 * found.plane)


def test_the_stack_may_be_lazy_and_say_how_far_it_is(surface) -> None:
    stack, _, _ = surface
    dask = pytest.importorskip("dask.array")
    steps = list(extending_focus(dask.from_array(stack, chunks=(1, *SIZE))))
    assert [(s.done, s.total) for s in steps] == [(i, 27) for i in range(1, 28)]


@pytest.mark.parametrize("shape", [(64, 64), (67, 93), (16, 17)])
def test_the_wavelets_give_the_image_back(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).normal(size=shape)
    bands = edf.forward(image, edf.scale_count(shape))
    np.testing.assert_allclose(edf.inverse(bands, shape), image, atol=1e-5)


def test_the_filter_is_the_complex_daubechies_filter() -> None:
    """Orthogonal to its own even shifts, symmetric, three vanishing moments; its known taps."""
    h = edf.LOW_PASS
    for shift in (0, 2, 4):
        inner = np.vdot(h[: h.size - shift], h[shift:])
        assert inner == pytest.approx(float(shift == 0), abs=1e-12)
    np.testing.assert_allclose(h, h[::-1])
    k = np.arange(h.size)
    for moment in range(3):
        assert np.sum((-1.0) ** k * k**moment * h) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(h[:3].real, [-0.0662912607, 0.1104854346, 0.6629126074], atol=1e-9)
    np.testing.assert_allclose(h[:3].imag, [-0.0855816496, -0.0855816496, 0.1711632992], atol=1e-9)


def test_the_majority_of_nine_wins() -> None:
    rng = np.random.default_rng(6)
    chosen = rng.integers(0, 3, (30, 31)).astype(np.int32)
    padded = np.pad(chosen, 1, mode="reflect")
    expected = chosen.copy()
    for y in range(30):
        for x in range(31):
            counts = np.bincount(padded[y : y + 3, x : x + 3].ravel())
            if counts.max() >= 5:
                expected[y, x] = counts.argmax()
    np.testing.assert_array_equal(edf.majority(chosen), expected)


def nan_plane() -> np.ndarray:
    stack = np.random.default_rng(2).normal(size=(3, 32, 32))
    stack[1, 2, 3] = np.nan
    return stack


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        (np.zeros((40, 40)), "'s' has the shape \\(40, 40\\).* at least two planes"),
        (np.zeros((1, 40, 40)), "at least two planes"),
        (np.zeros((4, 40, 40, 3)), "at least two planes"),
        (np.full((4, 40, 40), 7), "'s' is constant"),
        (nan_plane(), "Plane 1 of 's' has 1 pixel that is NaN"),
        (np.ones((3, 8, 8)), "at least 16"),
    ],
)
def test_what_has_no_focus(stack: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        extended_focus(stack, name="s")


# --- the paper's normalisation ---


def test_the_numbers_are_those_of_the_definition(surface) -> None:
    image = extended_focus(surface[0]).image.copy()
    image[:, :60] = 120 + image[:, :60] // 20  # a dark ground
    found = edf_normalisation(image)
    assert found.threshold == threshold_triangle(image)
    bright = image > threshold_triangle(image)
    assert found.background == pytest.approx(image[~bright].mean())
    assert found.p99 == pytest.approx(np.percentile(image[bright], 99))
    assert found.foreground_share == pytest.approx(bright.mean())
    scaled = found.normalisation.apply(image)
    assert scaled[~bright].mean() == pytest.approx(0, abs=1e-4)
    assert np.percentile(scaled[bright], 99) == pytest.approx(1, abs=1e-4)
    assert found.as_dict()["scale"] == pytest.approx(found.p99 - found.background)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((40, 40), 3.0), "'e' is constant"),
        (np.zeros((4, 40, 40)), "'e' has 3 dimensions"),
        (np.where(np.eye(40), np.nan, 1.0), "'e' has 40 pixels that are NaN"),
    ],
)
def test_what_cannot_be_normalised(image: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        edf_normalisation(image, "e")
