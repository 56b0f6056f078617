"""What the network is fed: against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from napari_recurrent_mz.networks.inputs import _asinh, _smooth


def test_asinh_is_that_of_numpy_at_every_size() -> None:
    sizes = np.concatenate([[0.0], np.logspace(-12, 12, 400)])
    values = np.concatenate([sizes, -sizes]).astype(np.float32)
    found = _asinh(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, np.arcsinh(values.astype(np.float64)), rtol=1e-6)


@pytest.mark.parametrize("shape", [(40, 33), (5, 64), (9, 9), (17, 3)])
def test_local_mean_is_of_the_pixels_that_are_there(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(2).normal(size=shape)
    expected = image
    for _ in range(2):
        inside = uniform_filter(np.ones(shape), 9, mode="constant")
        expected = uniform_filter(expected, 9, mode="constant") / inside
    found = _smooth(torch.tensor(image, dtype=torch.float32)[None, None])[0, 0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
