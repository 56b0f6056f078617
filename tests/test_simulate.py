"""The simulator against optics: points, sheets, sections, noise and chance."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from napari_recurrent_mz.core.optics import Optics, widefield_psf
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.simulation.phantoms import KINDS, phantom
from napari_recurrent_mz.simulation.simulate import (
    Aberration,
    Camera,
    Imaging,
    Sample,
    demo_sample,
    imaging,
    simulate_sample,
)

OIL = Optics(na=1.4, wavelength_um=0.52, immersion_index=1.515, pixel_um=0.08)
DRY = Optics(na=0.4, wavelength_um=0.52, immersion_index=1.0, pixel_um=0.1)
PLANES, SIZE, STEP = 9, 33, 0.25


@cache
def microscope() -> Imaging:
    return imaging(OIL, planes=PLANES, size=SIZE, z_step_um=STEP, lateral_margin=16, confocal=True)


def point(made: Imaging, z: int, y: int, x: int) -> np.ndarray:
    """A bead at a voxel of the stack; negative or large indices are outside of it."""
    volume = np.zeros(made.object_shape, np.float32)
    depth, side = made.margin
    volume[depth + z, side + y, side + x] = 1
    return volume


def small(kind: str, seed: int) -> Sample:
    return simulate_sample(kind, shape=(6, 32, 32), z_step_um=0.4, optics=OIL, seed=seed)


def width(profile: np.ndarray) -> float:
    """Full width at half maximum, in samples, by linear interpolation."""
    top = int(profile.argmax())
    half = profile / profile[top]
    right = next(i for i in range(top, len(half)) if half[i] < 0.5)
    left = next(i for i in range(top, -1, -1) if half[i] < 0.5)
    after = right - (0.5 - half[right]) / (half[right - 1] - half[right])
    before = left + (0.5 - half[left]) / (half[left + 1] - half[left])
    return float(after - before)


def test_image_of_a_bead_is_the_point_spread_function() -> None:
    made = microscope()
    stack = made.image(point(made, 4, 16, 16)).numpy()
    expected = widefield_psf(OIL, (np.arange(PLANES) - 4) * STEP, SIZE)
    assert stack.shape == (PLANES, SIZE, SIZE)
    assert stack[4, 16, 16] == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(stack, expected / expected.max(), atol=2e-4)


def test_two_beads_add_up() -> None:
    made = microscope()
    first, second = point(made, 2, 10, 12), point(made, 6, 20, 25)
    both = made.image(first + 3 * second)
    torch.testing.assert_close(
        both, made.image(first) + 3 * made.image(second), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("place", [(-8, 16, 16), (16, 16, 16), (4, -6, 16), (4, 16, 38)])
def test_light_from_outside_of_the_stack_comes_in(place: tuple[int, int, int]) -> None:
    """From below, above and beside, as far as the point spread function says."""
    made = microscope()
    stack = made.image(point(made, *place)).numpy()
    z, y, x = place
    psf = widefield_psf(OIL, (np.arange(PLANES) - z) * STEP, 81)
    psf /= widefield_psf(OIL, [0.0], 3).max()
    expected = psf[:, 40 - y : 40 - y + SIZE, 40 - x : 40 - x + SIZE]
    assert stack.max() > 1e-4
    np.testing.assert_allclose(stack, expected, atol=6e-4)  # the far side repeats


def sheet_profile(confocal: bool) -> np.ndarray:
    made = imaging(DRY, planes=11, size=33, z_step_um=1.0, lateral_margin=96, confocal=True)
    volume = np.zeros(made.object_shape, np.float32)
    volume[made.margin[0] + 5] = 1
    return made.image(volume, confocal=confocal).numpy().mean(axis=(1, 2))


def test_widefield_cannot_section_an_even_sheet() -> None:
    """Its transfer function is nil on the axis: a sheet is equally bright at every focus."""
    profile = sheet_profile(confocal=False)
    np.testing.assert_allclose(profile, profile[5], rtol=0.04)


def test_confocal_sections_an_even_sheet() -> None:
    profile = sheet_profile(confocal=True)
    assert profile.argmax() == 5
    assert profile[0] < 0.2 * profile[5]
    assert profile[10] < 0.2 * profile[5]


@pytest.mark.parametrize("coarse", [1.2, 3.0])
def test_confocal_sections_alike_through_a_coarse_camera(coarse: float) -> None:
    """What passes the pinhole does not depend on the camera's pixel: sheets seen through two."""
    profiles = []
    for ratio in (0.9, coarse):
        optics = replace(OIL, pixel_um=ratio * OIL.wavelength_um / (4 * OIL.na))
        made = imaging(optics, planes=9, size=31, z_step_um=0.2, lateral_margin=16, confocal=True)
        volume = np.zeros(made.object_shape, np.float32)
        volume[made.margin[0] + 4] = 1
        wide, narrow = (made.image(volume, confocal=c).numpy().mean(axis=(1, 2)) for c in (0, 1))
        assert narrow[4] == pytest.approx(wide[4], rel=1e-3)  # as bright in focus
        profiles.append(narrow / narrow[4])
    np.testing.assert_allclose(profiles[1], profiles[0], atol=0.03)


def test_confocal_is_sharper() -> None:
    """A pinhole of one Airy unit sharpens by 1 to √2 across, and along the axis too."""
    made = microscope()
    bead = point(made, 4, 16, 16)
    wide, narrow = made.image(bead).numpy(), made.image(bead, confocal=True).numpy()
    across = width(wide[4, 16]) / width(narrow[4, 16])
    along = width(wide[:, 16, 16]) / width(narrow[:, 16, 16])
    assert 1.05 < across < np.sqrt(2)
    assert 1.1 < along < 2


def test_aberration_lowers_the_peak_and_keeps_it_in_focus() -> None:
    wrong = imaging(
        OIL, planes=PLANES, size=SIZE, z_step_um=STEP, lateral_margin=16,
        aberration=Aberration(sample_index=1.36, depth_um=8.0),
    )  # fmt: skip
    stack = wrong.image(point(wrong, 4, 16, 16)).numpy()
    axis = stack[:, 16, 16]
    assert axis.argmax() == 4
    skew = np.abs(axis - axis[::-1]).max()
    straight = microscope().image(point(microscope(), 4, 16, 16)).numpy()[:, 16, 16]
    assert skew > 0.03
    assert np.abs(straight - straight[::-1]).max() < 1e-4
    share = stack[4, 16, 16] / stack[4].sum()
    sharp = straight[4] / microscope().image(point(microscope(), 4, 16, 16))[4].sum().item()
    assert share < 0.8 * sharp


@pytest.mark.parametrize(
    "camera",
    [Camera(), Camera(photons=40, background=5), Camera(1e4, 100, 8, offset=300, gain=0.46)],
)
def test_noise_is_that_of_photons_and_readout(camera: Camera) -> None:
    """Mean g (N + b) + offset, variance g² (N + b + r²): the photon transfer curve."""
    generator = torch.Generator().manual_seed(1)
    for signal in (0.0, 0.1, 1.0):
        flat = torch.full((300, 300), signal)
        counts = camera.expose(flat, generator).double()
        light = signal * camera.photons + camera.background
        variance = camera.gain**2 * (light + camera.read_noise**2)
        mean = camera.gain * light + camera.offset
        assert counts.mean().item() == pytest.approx(mean, abs=5 * variance**0.5 / 300)
        assert counts.var().item() == pytest.approx(variance, rel=0.03)
        assert camera.noiseless(flat)[0, 0].item() == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_images(kind: str) -> None:
    sample = small(kind, 3)
    for stack in (sample.widefield, sample.confocal, sample.noiseless):
        assert stack.shape == (6, 32, 32)
        assert stack.dtype == np.float32
        assert np.isfinite(stack).all()
        assert stack.std() > 0
    assert sample.noiseless.min() >= 0
    assert sample.kind == kind
    assert sample.optics is OIL
    np.testing.assert_allclose(sample.z_um, 0.4 * np.arange(6))


@pytest.mark.parametrize("kind", KINDS)
def test_phantoms_are_densities(kind: str) -> None:
    space = microscope().space
    volume = phantom(kind, space, np.random.default_rng(5))
    assert volume.shape == space.shape
    assert volume.dtype == np.float32
    assert np.isfinite(volume).all()
    assert volume.min() >= 0
    assert 0.9 < volume.max() < 1000
    np.testing.assert_array_equal(volume, phantom(kind, space, np.random.default_rng(5)))


def test_same_seed_same_sample() -> None:
    first, again, other = small("mixture", 11), small("mixture", 11), small("mixture", 12)
    np.testing.assert_array_equal(first.widefield, again.widefield)
    np.testing.assert_array_equal(first.confocal, again.confocal)
    assert not np.array_equal(first.widefield, other.widefield)


def test_noise_is_all_that_parts_a_stack_from_its_noiseless_self() -> None:
    sample = small("tissue", 2)
    wrong = sample.widefield - sample.noiseless
    camera = Camera()
    deviation = wrong / np.sqrt(sample.noiseless - camera.offset + camera.read_noise**2)
    assert abs(deviation.mean()) < 0.05
    assert deviation.std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("kind", "shape", "words"),
    [
        ("unicorn", (4, 32, 32), "'unicorn' is unknown: choose one of beads"),
        ("beads", (4, 32, 48), "32 × 48 is not square"),
    ],
)
def test_wrong_wishes_are_refused(kind: str, shape: tuple[int, int, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        simulate_sample(kind, shape=shape, z_step_um=0.4, optics=OIL, seed=0)


def test_demo_is_a_worm_ten_micrometres_deep() -> None:
    sample = demo_sample()
    assert sample.kind == "worm"
    assert sample.z_um[0] == 0
    assert sample.z_um[-1] == pytest.approx(10)
    assert sample.optics.depth_of_field_um == pytest.approx(0.4, abs=0.01)
    bright = sample.noiseless - 100  # above the camera's offset
    assert np.percentile(bright, 99.9) > 5 * np.median(bright)  # sparse, as the paper's worms
