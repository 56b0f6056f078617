"""Scans that were bleached, or exposed otherwise, are named and evened out."""

from __future__ import annotations

import numpy as np
import pytest

from napari_recurrent_mz import Optics, Scan, Session, ZGrid
from napari_recurrent_mz.core.scans import ScanStack
from napari_recurrent_mz.docks.files import samples
from napari_recurrent_mz.engine.check import light_notes
from napari_recurrent_mz.estimates.faults import uneven_light

OFFSET = 600.0  # of the camera, about: the darkest pixels have 620
OPTICS = Optics(na=1.2, wavelength_um=0.455, immersion_index=1.33, pixel_um=0.512)
STEP_UM = 0.49933  # of the stack


@pytest.fixture(scope="module")
def nucleus() -> np.ndarray:
    """A real wide-field stack, (Z, Y, X), of a sample that lies within the field."""
    return samples.nucleus().widefield.astype(np.float32)


@pytest.fixture(scope="module")
def half(nucleus: np.ndarray) -> np.ndarray:
    """A part of it, where light crosses an edge of the field."""
    return nucleus[:, :, :70]


def scans_of(pixels: list[np.ndarray], heights: np.ndarray) -> list[Scan]:
    return [Scan(image, heights[n], f"scan {n}") for n, image in enumerate(pixels)]


@pytest.mark.parametrize("where", ["nucleus", "half"])
@pytest.mark.parametrize("step", [2, 4, 6])
@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_nothing_is_said_of_a_real_stack(
    where: str, step: int, count: int, request: pytest.FixtureRequest
) -> None:
    stack = request.getfixturevalue(where)
    for first in range(len(stack) - (count - 1) * step):
        planes = first + step * np.arange(count)
        assert light_notes(scans_of(list(stack[planes]), STEP_UM * planes), OPTICS) == []


@pytest.mark.parametrize("gain", [0.6, 0.75, 1.4])
@pytest.mark.parametrize(
    ("where", "count", "which"),
    [
        ("nucleus", 3, 1),
        ("nucleus", 3, 2),
        ("nucleus", 5, 0),
        ("nucleus", 5, 3),
        # Of an outer scan, the others do not say enough where light crosses the field's edges.
        ("half", 3, 1),
        ("half", 5, 1),
        ("half", 5, 3),
    ],
)
def test_a_scan_of_another_exposure_is_named_and_evened_out(
    where: str, gain: float, count: int, which: int, request: pytest.FixtureRequest
) -> None:
    stack = request.getfixturevalue(where)
    planes = 14 + 3 * np.arange(count)
    pixels = [stack[p].copy() for p in planes]
    pixels[which] = OFFSET + gain * (pixels[which] - OFFSET)
    order = np.random.default_rng(count).permutation(count)
    heights = STEP_UM * planes
    found = uneven_light(scans_of([pixels[i] for i in order], heights[order]), OPTICS)
    assert found is not None
    expected = np.where(order == which, gain, 1.0)
    np.testing.assert_allclose(found.gains, expected, rtol=0.08)
    index = int(np.flatnonzero(order == which)[0])
    off = np.abs(found.evened(pixels[which], index) - stack[planes[which]]).mean()
    assert off < 0.3 * np.abs(pixels[which] - stack[planes[which]]).mean()
    (sentence,) = light_notes(scans_of(pixels, heights), OPTICS)
    assert f"{'less' if gain < 1 else 'more'} light in 'scan {which}'" in sentence


def test_the_offset_of_the_camera_need_not_be_known(nucleus: np.ndarray) -> None:
    """Times 0.8 with the offset, the darkest pixels say nothing of it."""
    planes = np.array([4, 13, 22, 31, 40])
    pixels = nucleus[planes]
    pixels[1] *= 0.8
    found = uneven_light(scans_of(list(pixels), STEP_UM * planes), OPTICS)
    assert found is not None
    np.testing.assert_allclose(found.gains, [1, 0.8, 1, 1, 1], rtol=0.05)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_light_that_falls_from_scan_to_scan_is_evened_out(nucleus: np.ndarray, count: int) -> None:
    planes = 8 + 6 * np.arange(count)
    left = 0.9 ** np.arange(count)
    pixels = [OFFSET + part * (nucleus[p] - OFFSET) for p, part in zip(planes, left, strict=True)]
    scans = scans_of(pixels, STEP_UM * planes)
    found = uneven_light(scans, None)
    assert found is not None
    np.testing.assert_allclose(found.gains / found.gains[0], left, rtol=0.05)
    (sentence,) = light_notes(scans, None)
    assert f"less light in 'scan {count - 1}' than in 'scan 0'" in sentence


def test_a_session_tells_of_falling_light_while_the_scan_can_be_taken_again(
    nucleus: np.ndarray,
) -> None:
    session, told = Session(ZGrid(0, 20, 5), optics=OPTICS, method="lmmse"), []
    session.message.connect(lambda sentence, kind: told.append((sentence, kind)))
    for plane, left in ((10, 1.0), (30, 1.0), (20, 0.8), (24, 1.0), (16, 0.7)):
        pixels = OFFSET + left * (nucleus[plane] - OFFSET)
        session.add_scan(Scan(pixels, 0.5 * plane, f"plane {plane}"), refine=False)
    (second, kind), (last, _) = told
    assert "less light in 'plane 20' than in the scans beside it" in second
    assert "less light in 'plane 16'" in last
    assert "take it again" in second
    assert kind == "warning"


def test_two_scans_with_light_across_the_edges_or_scans_of_noise_do_not_tell(
    half: np.ndarray,
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(100, 5, (5, 96, 96)).astype(np.float32)
    dimmed = OFFSET + 0.5 * (half[14] - OFFSET)
    for pixels in (
        np.stack([half[10], dimmed]),
        noise[:2] * np.array([[[1]], [[0.5]]], np.float32),
        noise,
        np.zeros((3, 32, 32), np.float32),  # the middle of larger ones may be empty
    ):
        assert uneven_light(ScanStack(pixels, np.arange(len(pixels), dtype=float)), OPTICS) is None
