"""The image of a point: closed forms, a quadrature of its own kind, psfmodels, and conservation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import jv

from napari_recurrent_mz.core.optics import Optics, widefield_psf
from napari_recurrent_mz.core.vectorial import radial_intensity

OIL = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.05)
WATER = Optics(na=1.2, wavelength_um=0.455, immersion_index=1.33, pixel_um=0.05)
DRY = Optics(na=0.85, wavelength_um=0.52, immersion_index=1.0, pixel_um=0.08)
LOW = Optics(na=0.3, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.2)
ALL = pytest.mark.parametrize("optics", [OIL, WATER, DRY, LOW], ids=["oil", "water", "dry", "low"])


def intensity(
    optics: Optics,
    z_um: object,
    radius_um: object,
    index: float | None = None,
    depth: float = 0.0,
    spherical: float = 0.0,
) -> np.ndarray:
    ni = optics.immersion_index
    return radial_intensity(
        optics.na,
        optics.wavelength_um,
        ni,
        np.array(z_um, float),
        np.array(radius_um, float),
        sample_index=index or ni,
        depth_um=depth,
        spherical=spherical,
    )


@ALL
def test_brightest_point_in_closed_form(optics: Optics) -> None:
    """∫ √c (1 + c) dc from cos α to 1, squared."""
    c = np.sqrt(1 - (optics.na / optics.immersion_index) ** 2)
    expected = (2 / 3 * (1 - c**1.5) + 2 / 5 * (1 - c**2.5)) ** 2
    assert intensity(optics, [0.0], [0.0])[0, 0] == pytest.approx(expected, rel=1e-12)


@ALL
@pytest.mark.parametrize(("index", "depth"), [(None, 0.0), (1.33, 4.0), (1.45, 20.0)])
def test_integrals_over_the_pupil(optics: Optics, index: float | None, depth: float) -> None:
    """An adaptive quadrature of the same integrals, here by the sine of the angle there is."""
    ni, k = optics.immersion_index, 2 * np.pi / optics.wavelength_um
    ns = index or ni
    rng = np.random.default_rng(3)
    for _ in range(4):
        z, r = depth + rng.normal(0, 6) * optics.depth_of_field_um, rng.uniform(0, 8)
        r *= optics.resolution_um

        def light(s: float, order: int, z: float = z, r: float = r) -> complex:
            c, d = np.sqrt(1 - s**2), np.emath.sqrt(1 - (ni / ns * s) ** 2)
            ts, tp = 2 * ni * c / (ni * c + ns * d), 2 * ni * c / (ns * c + ni * d)
            kind = (ts + tp * d, tp * ni / ns * s, ts - tp * d)[order]
            path = depth * (ns * d + ni * (1 - ni / ns) * c) - z * ni * c
            return kind * jv(order, k * ni * s * r) * np.exp(1j * k * path) * s / np.sqrt(c)

        end, critical = optics.na / ni, min(optics.na, ns) / ni
        parts = [
            sum(quad(light, a, b, args=(order,), limit=500, complex_func=True)[0]
                for a, b in ((0, critical), (critical, end)) if b > a)
            for order in range(3)
        ]  # fmt: skip
        expected = np.dot([1, 2, 1], np.abs(parts) ** 2)
        found = intensity(optics, [z], [r], index, depth)[0, 0]
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)


@ALL
@pytest.mark.parametrize(("index", "depth"), [(None, 0.0), (1.45, 5.0), (1.33, 10.0)])
def test_psfmodels_makes_the_same(optics: Optics, index: float | None, depth: float) -> None:
    """It interpolates linearly along the radius, and integrates coarsely at a critical angle."""
    psfmodels = pytest.importorskip("psfmodels")
    ni = optics.immersion_index
    z = depth + np.array([-4, -1, 0, 0.25, 1, 2, 8]) * optics.depth_of_field_um
    fine = replace(optics, pixel_um=optics.resolution_um / 16)
    size = 401
    parameters = {
        "NA": optics.na, "ni": ni, "ni0": ni, "ng": ni, "ng0": ni, "ns": index or ni,
        "tg": 0.0, "tg0": 0.0, "sf": 1,
    }  # fmt: skip
    theirs = psfmodels.vectorial_psf(
        z, size, dxy=fine.pixel_um, pz=depth, wvl=optics.wavelength_um, params=parameters,
        normalize=False,
    )  # fmt: skip
    ours = widefield_psf(fine, z, size, sample_index=index, depth_um=depth, samples=1)
    ours *= theirs.sum() / ours.sum()
    beyond_critical = index is not None and index < optics.na
    largest = np.abs(ours - theirs).max(axis=(1, 2)) / theirs.max(axis=(1, 2))
    assert largest.max() < (0.03 if beyond_critical else 0.003)


def test_depth_in_a_matched_sample_moves_the_focus_and_nothing_else() -> None:
    z, r = np.linspace(-2, 2, 9), np.linspace(0, 3, 40)
    deep = intensity(OIL, z + 7.0, r, OIL.immersion_index, 7.0)
    np.testing.assert_allclose(deep, intensity(OIL, z, r), atol=1e-12)


@pytest.mark.parametrize("waves", [0.03, -0.07, 0.11])
def test_spherical_aberration_dims_a_point_as_mahajan_says(waves: float) -> None:
    """exp(-(2πσ)²), of an error of σ waves rms, where the error is small."""
    dimmed = intensity(LOW, [0.0], [0.0], spherical=waves) / intensity(LOW, [0.0], [0.0])
    assert dimmed[0, 0] == pytest.approx(np.exp(-((2 * np.pi * waves) ** 2)), rel=0.03, abs=0.02)


def test_spherical_aberration_of_the_other_sign_turns_the_image_upside_down() -> None:
    z, r = np.linspace(-3, 3, 13), np.linspace(0, 3, 40)
    one, other = (intensity(OIL, z, r, spherical=waves) for waves in (0.08, -0.08))
    np.testing.assert_allclose(one, other[::-1], atol=1e-12)
    assert np.abs(one - one[::-1]).max() > 0.1 * one.max()


@pytest.mark.parametrize("index", [1.33, 1.45, None])
def test_no_sample_changes_the_aperture(index: float | None) -> None:
    """By Snell's law n sin θ is the same everywhere: the finest pattern is λ / 2 NA with each."""
    psf = widefield_psf(OIL, [0.0], 401, sample_index=index, samples=1)[0]
    seen = np.abs(np.fft.rfft(psf.sum(axis=0)))
    frequency = np.fft.rfftfreq(401, OIL.pixel_um)
    cutoff = OIL.cutoff_per_um
    assert seen[frequency > 1.02 * cutoff].max() < 2e-4 * seen[0]
    assert seen[(frequency > 0.93 * cutoff) & (frequency < 0.96 * cutoff)].min() > 1e-3 * seen[0]


@pytest.mark.parametrize("samples", [1, 3, None])
def test_pixels_share_the_light(samples: int | None) -> None:
    """Each pixel is the mean over it, so that nine small ones make a large one."""
    coarse = widefield_psf(OIL, [0.0, 1.0], 21, samples=3 * (samples or 5))
    fine = widefield_psf(replace(OIL, pixel_um=OIL.pixel_um / 3), [0.0, 1.0], 63, samples=samples)
    binned = fine.reshape(2, 21, 3, 21, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse, binned, rtol=0, atol=1e-3 * coarse.max())


def test_large_fields_are_made_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    z, r = [0.0, 2.0], np.linspace(0, 5, 200)
    expected = intensity(OIL, z, r)
    monkeypatch.setattr("napari_recurrent_mz.core.vectorial._AT_ONCE", 1000)
    np.testing.assert_allclose(intensity(OIL, z, r), expected, rtol=1e-12)
