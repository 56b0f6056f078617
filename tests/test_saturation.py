"""What a camera could not count shows as many pixels at one highest value."""

from __future__ import annotations

import numpy as np
import pytest

from napari_recurrent_mz.estimates.saturation import (
    limit_of,
    saturated_part,
    stack_saturation_notes,
)

RNG = np.random.default_rng(0)
DIM = RNG.poisson(200, (40, 50)).astype(np.uint16)


def clipped(limit: int, share: float = 0.02) -> np.ndarray:
    """An image of which a share is at a limit."""
    image = DIM.copy()
    image.flat[: round(share * image.size)] = limit
    return image


@pytest.mark.parametrize("limit", [255, 1000, 4095, 65535])
def test_a_spike_at_the_highest_value_is_a_limit(limit: int) -> None:
    image = np.minimum(DIM, limit - 1)
    assert saturated_part(image) == 0
    image.flat[:40] = limit
    assert limit_of(image) == limit
    assert saturated_part(image) == pytest.approx(0.02)


@pytest.mark.parametrize(("top", "found"), [(4095, 4095.0), (4000, None)])
def test_two_pixels_are_a_spike_at_the_end_of_a_converter_only(top: int, found: float) -> None:
    image = DIM.copy()
    image.flat[:2] = top
    image.flat[2] = top - 7
    assert limit_of(image) == found


def test_noise_has_no_limit() -> None:
    assert all(limit_of(RNG.poisson(mean, (40, 50))) is None for mean in np.geomspace(3, 3e4, 30))


def test_a_stack_says_how_many_planes_are_saturated() -> None:
    stack = [DIM, clipped(4095, 0.01), clipped(4095, 0.03), DIM, clipped(4095, 0.0005)]
    (note,) = stack_saturation_notes("cells.tif", stack)
    assert note.startswith("Pixels of 2 of the 5 planes of 'cells.tif' are at the camera's limit")
    assert "up to 3 % of a plane" in note
    assert "expose shorter" in note
    assert stack_saturation_notes("cells.tif", [DIM, DIM]) == []
