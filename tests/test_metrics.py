"""The measures against scikit-image and closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from napari_recurrent_mz.core.metrics import (
    Normalisation,
    kl_divergence,
    nrmse,
    psnr,
    relative_change,
    ssim,
)
from napari_recurrent_mz.core.scans import InputError

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.random((48, 40))
    return truth, truth + rng.normal(0, 0.1, truth.shape)


def test_psnr_is_that_of_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert psnr(*pair) == pytest.approx(peak_signal_noise_ratio(*pair, data_range=1))


def test_psnr_of_a_constant_error_and_of_none() -> None:
    truth = np.zeros((8, 8))
    assert psnr(truth, truth + 0.1) == pytest.approx(20)
    assert psnr(truth, truth) == float("inf")
    with pytest.raises(ValueError, match="give two of one shape"):
        psnr(truth, truth[:1])


def test_nrmse_is_that_of_scikit_image_in_percent(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = 100 * normalized_root_mse(*pair, normalization="min-max")
    assert nrmse(*pair) == pytest.approx(expected)
    with pytest.raises(InputError, match="constant"):
        nrmse(np.ones((4, 4)), np.zeros((4, 4)))


def test_ssim_uses_the_settings_of_its_authors(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = structural_similarity(
        *pair,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        win_size=11,
    )
    assert ssim(*pair) == pytest.approx(expected)
    assert ssim(pair[0], pair[0]) == pytest.approx(1)


def test_ssim_of_constant_planes_is_its_luminance_term() -> None:
    low, high, c1 = 0.2, 0.6, 0.01**2
    expected = (2 * low * high + c1) / (low**2 + high**2 + c1)
    assert ssim(np.full((16, 16), low), np.full((16, 16), high)) == pytest.approx(expected)


def test_normalisation_of_a_stack_with_known_levels() -> None:
    rng = np.random.default_rng(3)
    stack = rng.normal(100, 2, (6, 64, 64))
    stack[:, 20:40, 20:40] += 1000 * rng.random((20, 20))
    scale = Normalisation.of_stack(stack)
    assert scale.background == pytest.approx(100, abs=1)
    assert scale.foreground == np.percentile(stack, 99.9)
    np.testing.assert_allclose(scale.apply(np.array([scale.background, scale.foreground])), [0, 1])


def test_measures_do_not_depend_on_gain_and_offset() -> None:
    rng = np.random.default_rng(4)
    stack = rng.gamma(0.5, 100, (5, 32, 32))
    test = stack[2] + rng.normal(0, 5, (32, 32))
    values = []
    for gain, offset in [(1, 0), (7.5, 300)]:
        scale = Normalisation.of_stack(gain * stack + offset)
        truth, other = scale.apply(gain * stack[2] + offset), scale.apply(gain * test + offset)
        values.append([psnr(truth, other), nrmse(truth, other), ssim(truth, other)])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9)


@pytest.mark.parametrize("stack", [np.ones((3, 16, 16)), np.zeros((3, 16, 16), np.uint8)])
def test_a_truth_without_contrast_is_refused(stack: np.ndarray) -> None:
    with pytest.raises(InputError, match="constant"):
        Normalisation.of_stack(stack)


def test_kl_divergence_against_its_definition() -> None:
    edges = [0, 1, 2, 3]
    p, q = np.array([2.5, 1.5, 0.5]) / 4.5, np.array([0.5, 0.5, 3.5]) / 4.5
    expected = float(np.sum(p * np.log(p / q)))
    assert kl_divergence([0.5, 0.6, 1.5], [2.1, 2.2, 2.3], edges) == pytest.approx(expected)
    assert kl_divergence([0.5, 1.5], [0.5, 1.5], edges) == pytest.approx(0)


def test_frobenius_change() -> None:
    new = np.zeros((2, 3, 3), np.float32)
    new[0, 0, 0], new[1, 2, 2] = 3, 4
    old = new.copy()
    old[1, 2, 2] = 0
    assert relative_change(old, new) == pytest.approx(4 / 5)
    assert relative_change(old, new) == pytest.approx(
        np.linalg.norm(new - old) / np.linalg.norm(new)
    )
    zero = np.zeros_like(new)
    assert relative_change(zero, zero) == 0
    assert relative_change(new, zero) == float("inf")
