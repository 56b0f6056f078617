"""What is measured on the scans' intensities, against NumPy's and scikit-image's own."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.filters import threshold_triangle

from napari_recurrent_mz.estimates.normalisation import normalisation, quantile


@pytest.mark.parametrize("shape", [(1,), (2,), (7, 9), (3, 40, 50)])
@pytest.mark.parametrize("part", [0, 0.005, 0.16, 0.5, 0.99, 1])
def test_quantiles_are_those_of_numpy(shape: tuple[int, ...], part: float) -> None:
    values = np.random.default_rng(3).gamma(2, 100, shape).astype(np.float32)
    before = values.copy()
    assert quantile(values, part) == pytest.approx(np.quantile(values.astype(float), part))
    np.testing.assert_array_equal(values, before)


def test_equal_values_have_one_quantile() -> None:
    assert quantile(np.full((5, 6), 7.0, np.float32), 0.3) == 7


def test_the_background_becomes_nought_and_bright_structure_one() -> None:
    """The mean below the triangle threshold of the projection, and the 99th percentile above."""
    rng = np.random.default_rng(4)
    scans = rng.normal(100, 3, (3, 64, 80)).astype(np.float32)
    scans[1, 20:40, 30:50] += rng.gamma(4, 50, (20, 20))
    found = normalisation(scans)
    projection = scans.max(axis=0)
    bright = projection > threshold_triangle(projection)
    assert found.shift == pytest.approx(scans[:, ~bright].mean(dtype=float))
    assert found.shift + found.scale == pytest.approx(np.percentile(projection[bright], 99))
