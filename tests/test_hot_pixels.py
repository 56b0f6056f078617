"""Scans with hot pixels are named; good ones are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_recurrent_mz import Optics, Scan
from napari_recurrent_mz.core.optics import widefield_psf
from napari_recurrent_mz.engine.check import hot_pixel_notes
from napari_recurrent_mz.estimates.hot_pixels import hot_pixels

OPTICS = Optics(na=1.2, wavelength_um=0.52, immersion_index=1.333, pixel_um=0.1)
HEIGHTS = (0.0, 2.0, 4.0)


def beads(optics: Optics, seed: int = 0, photons: float = 800.0) -> list[Scan]:
    """Scans of beads at all heights, with the noise of the photons and a camera's offset."""
    rng = np.random.default_rng(seed)
    places = rng.integers(16, 112, (40, 2))
    depths = rng.uniform(-0.5, 4.5, 40)
    scans = []
    for z in HEIGHTS:
        light = np.zeros((128, 128))
        kernels = widefield_psf(optics, z - depths, 31)
        for (row, column), kernel in zip(places, kernels, strict=True):
            light[row - 15 : row + 16, column - 15 : column + 16] += kernel / kernels.max()
        counts = rng.poisson(photons * light + 20) + rng.normal(100, 2, light.shape)
        scans.append(Scan(counts.astype(np.float32), z, f"z{z:g}"))
    return scans


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("photons", [50.0, 5000.0])
def test_nothing_is_said_of_good_scans(seed: int, photons: float) -> None:
    assert hot_pixel_notes(beads(OPTICS, seed, photons), OPTICS) == []


def test_hot_pixels_are_found_where_they_are() -> None:
    scan = beads(OPTICS)[1]
    places = [(0, 5), (40, 41), (127, 64)]
    spoilt = scan.pixels.copy()
    for place in places:
        spoilt[place] = 4000
    assert [tuple(place) for place in hot_pixels(spoilt, OPTICS)] == places
    (note,) = hot_pixel_notes([Scan(spoilt, 2.0, "two"), *beads(OPTICS)[::2]], OPTICS)
    assert "'two' (3)" in note


def test_through_coarse_pixels_a_bead_may_be_one_pixel() -> None:
    coarse = replace(OPTICS, pixel_um=0.6)
    assert not len(hot_pixels(np.pad([[900.0]], 20).astype(np.float32), coarse))


def test_the_empty_part_of_a_mosaic_hides_no_noise() -> None:
    mosaic = np.zeros((256, 256), np.float32)
    mosaic[:128, :128] = np.random.default_rng(0).poisson(60, (128, 128))
    assert not len(hot_pixels(mosaic, OPTICS))


@pytest.mark.parametrize("photons", [20, 200, 5000])
def test_the_noise_of_bright_light_is_no_hot_pixel(photons: int) -> None:
    rng = np.random.default_rng(photons)
    y, x = np.ogrid[:256, :256]
    nucleus = np.hypot(y - 128, x - 128) < 60
    image = (rng.poisson(1 + photons * nucleus) + rng.normal(100, 1, (256, 256))).astype(np.float32)
    assert not len(hot_pixels(image, OPTICS))
