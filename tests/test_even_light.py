"""A scan that was bleached, or exposed otherwise, is named and evened out."""

from __future__ import annotations

import numpy as np
import pytest

from napari_recurrent_mz import Scan
from napari_recurrent_mz.docks.files import samples
from napari_recurrent_mz.engine.check import light_notes
from napari_recurrent_mz.estimates.even_light import uneven_scan

OFFSET = 600.0  # of the camera, about: the darkest pixels have 620


@pytest.fixture(scope="module")
def nucleus() -> np.ndarray:
    """A real wide-field stack, (Z, Y, X)."""
    return samples.nucleus().widefield.astype(np.float32)


@pytest.mark.parametrize("step", [2, 4, 6])
@pytest.mark.parametrize("count", [3, 4, 5])
def test_nothing_is_said_of_a_real_stack(nucleus: np.ndarray, step: int, count: int) -> None:
    for first in range(len(nucleus) - (count - 1) * step):
        planes = first + step * np.arange(count)
        scans = [Scan(nucleus[p], 0.25 * p, f"plane {p}") for p in planes]
        assert light_notes(scans) == []


@pytest.mark.parametrize("gain", [0.6, 0.75, 1.4])
@pytest.mark.parametrize(("count", "which"), [(3, 1), (3, 2), (5, 0), (5, 3)])
def test_a_scan_of_another_exposure_is_named_and_evened_out(
    nucleus: np.ndarray, gain: float, count: int, which: int
) -> None:
    planes = 14 + 3 * np.arange(count)
    pixels = [nucleus[p].copy() for p in planes]
    pixels[which] = OFFSET + gain * (pixels[which] - OFFSET)
    order = np.random.default_rng(count).permutation(count)
    heights = 0.25 * planes
    found = uneven_scan([pixels[i] for i in order], heights[order])
    assert found is not None
    assert order[found.index] == which
    assert found.gain == pytest.approx(gain, rel=0.06)
    off = np.abs(found.evened(pixels[which]) - nucleus[planes[which]]).mean()
    assert off < 0.3 * np.abs(pixels[which] - nucleus[planes[which]]).mean()
    scans = [
        Scan(one, z, f"plane {n}") for n, one, z in zip(range(count), pixels, heights, strict=True)
    ]
    (sentence,) = light_notes(scans)
    assert f"{'less' if gain < 1 else 'more'} light in 'plane {which}'" in sentence


def test_two_scans_or_scans_of_noise_do_not_tell() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(100, 5, (5, 96, 96)).astype(np.float32)
    heights = np.arange(5.0)
    assert uneven_scan(noise[:2] * [[[1]], [[0.5]]], heights[:2]) is None
    assert uneven_scan(noise, heights) is None
    assert uneven_scan(np.zeros((3, 8, 8), np.float32), heights[:3]) is None
