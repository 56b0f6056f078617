"""What the network is fed: against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from napari_recurrent_mz.core.optics import Optics, widefield_psf
from napari_recurrent_mz.core.scans import InputError, Scan
from napari_recurrent_mz.networks.inputs import NetworkInputs, _asinh, _smooth
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig


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


OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.1)


def test_far_from_all_scans_the_correction_is_held_back() -> None:
    """All of it at a scan, ¾ at ``fade_dof``, ½ far away; beyond the scans it counts twice."""
    images = np.random.default_rng(3).normal(100, 20, (3, 32, 40))
    dof = OPTICS.depth_of_field_um
    scans = [Scan(image, z) for image, z in zip(images, (0.0, 10 * dof, 30 * dof), strict=True)]
    full, held = (
        NetworkInputs(scans, OPTICS, NetworkConfig(norm="none", nonnegative=True, fade_dof=fade))
        for fade in (0.0, 5.0)
    )
    shares = {0.0: 1.0, 5.0: 0.75, 10.0: 1.0, 20.0: 0.6, 32.5: 0.75, -5.0: 0.6, 5000.0: 0.5}
    flat = np.array(list(shares)) * dof
    surface = np.full((32, 40), flat[1])
    surface[:, 20:] = flat[5]
    along = np.where(surface == flat[1], 0.75, 0.6)[None, None]
    for heights, wanted in ((flat, np.array(list(shares.values()))[:, None, None, None]),
                            (surface, along)):  # fmt: skip
        before, after = full.at(heights), held.at(heights)
        for name in ("unit", "extra"):
            whole, part = (getattr(inputs, name).numpy() for inputs in (before, after))
            np.testing.assert_allclose(part, wanted * whole, rtol=1e-4, atol=1e-7)
        for name in ("scans", "linear", "skip"):
            assert torch.equal(getattr(before, name), getattr(after, name)), name
    late = held.parts(flat, first=2).window()
    np.testing.assert_allclose(late.unit.numpy(), held.at(flat).unit.numpy(), rtol=1e-6)


def test_a_network_for_beads_sees_points() -> None:
    """A bead midway: what the points add to linear MMSE makes of it what it is there."""
    optics = Optics(na=0.85, wavelength_um=0.52, immersion_index=1.0, pixel_um=0.15)
    z_um, size = np.array([0.0, 1.5, 3.0]), 65
    psf = 1e5 * widefield_psf(optics, z_um - 1.5, size) / widefield_psf(optics, [0.0], size).sum()
    images = np.random.default_rng(0).poisson(100 + psf).astype(np.float32)
    scans = [Scan(images[n], z_um[n]) for n in (0, 2)]
    config = NetworkConfig(norm="none", nonnegative=True, points=True)
    inputs = NetworkInputs(scans, optics, config)
    seen = inputs.at(1.5)
    truth = inputs.normalisation.apply(100 + psf[1].astype(np.float32))
    of_object, of_points = (seen.linear + extra for extra in seen.extra.split(1, dim=1))
    linear, nonnegative, points = (
        float(((image[0, 0].numpy() - truth) ** 2).mean())
        for image in (seen.linear, of_object, of_points)
    )
    assert points < 0.1 * min(linear, nonnegative)
    assert seen.skip.shape[1] == config.skip_channels == 5
    # Nothing that the points do not explain is left of the scans but their noise.
    assert float(inputs.residuals_rms[1].median()) < 1.5 * inputs.scale.noise


def test_points_are_of_widefield_images_alone() -> None:
    with pytest.raises(InputError, match="--points goes with --nonnegative"):
        NetworkConfig(norm="none", nonnegative=True, points=True, target="confocal")
