"""Optics: ranges, the figures a textbook gives, and point spread functions against them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import j1

from napari_recurrent_mz.core.optics import Optics, widefield_psf
from napari_recurrent_mz.core.scans import InputError

OIL = {"na": 1.4, "wavelength_um": 0.519, "immersion_index": 1.515, "pixel_um": 0.103}
LOW = Optics(na=0.1, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.1)

BAD = {
    "na zero": ({"na": 0.0}, "numerical aperture"),
    "na above index": ({"immersion_index": 1.33}, "NA 1.4 is not below the refractive index 1.33"),
    "na missing": ({"na": None}, "numerical aperture .* missing"),
    "na nan": ({"na": np.nan}, "numerical aperture .* missing"),
    "wavelength in nm": ({"wavelength_um": 519}, "wavelength 519 is outside 0.2 to 2"),
    "wavelength missing": ({"wavelength_um": None}, "wavelength is missing"),
    "index": ({"immersion_index": 0.9}, "refractive index 0.9 is outside"),
    "pixel zero": ({"pixel_um": 0.0}, "pixel size 0 is outside"),
    "pixel in nm": ({"pixel_um": 103}, "pixel size 103 is outside"),
    "pixel missing": ({"pixel_um": None}, "pixel size is missing"),
    "pixel infinite": ({"pixel_um": np.inf}, "pixel size is missing"),
}


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD)
def test_bad_optics_are_refused(changes: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Optics(**{**OIL, **changes})


def test_figures_of_the_papers_objective() -> None:
    """63×/1.4 at 519 nm: "a DOF about 0.4 μm" (Methods)."""
    optics = Optics(**OIL)
    assert optics.depth_of_field_um == pytest.approx(0.4, abs=0.005)
    assert optics.resolution_um == pytest.approx(0.185, abs=0.001)  # Abbe, λ / 2NA
    assert optics.cutoff_per_um == pytest.approx(1 / optics.resolution_um)
    assert Optics(**optics.as_dict()) == optics


def fwhm(profile: np.ndarray, step: float) -> float:
    """Full width at half maximum of a peak in the middle, by linear interpolation."""
    middle = len(profile) // 2
    half = profile[middle:] / profile[middle]
    i = int(np.argmax(half < 0.5))
    return 2 * step * (i - 1 + (half[i - 1] - 0.5) / (half[i - 1] - half[i]))


@pytest.mark.parametrize("na", [0.1, 0.2, 0.3])
def test_focus_is_the_airy_pattern(na: float) -> None:
    """FWHM 0.5145 λ / NA, and (2 J1(v) / v)² along the whole profile."""
    optics = Optics(na=na, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.04 / na)
    profile = widefield_psf(optics, [0.0], 65, samples=1)[0, 32]
    assert fwhm(profile, optics.pixel_um) == pytest.approx(0.5145 * 0.5 / na, rel=0.02)
    v = 2 * np.pi * na / 0.5 * optics.pixel_um * (np.arange(65) - 32)
    v[32] = 1e-9
    np.testing.assert_allclose(profile / profile[32], (2 * j1(v) / v) ** 2, atol=0.01)


def test_axial_zero_of_a_low_aperture() -> None:
    """On the axis the intensity is sinc²(u / 4π): first zero at 2 n λ / NA² (scalar, low NA)."""
    dof = LOW.depth_of_field_um
    z = np.linspace(0.0, 3.0, 61) * dof
    axis = widefield_psf(LOW, z, 5)[:, 2, 2]
    np.testing.assert_allclose(axis / axis[0], np.sinc(z / dof / 2) ** 2, atol=0.003)


@pytest.mark.parametrize("coarse", [0.5, 1.1, 3.0, 5.0])
@pytest.mark.parametrize(("na", "index"), [(0.3, 1.0), (1.4, 1.515)])
def test_planes_hold_the_same_energy(na: float, index: float, coarse: float) -> None:
    """Defocus spreads light and loses none, whether the pixel samples finely or coarsely."""
    pixel = coarse * 0.5 / na / 4  # in units of the Nyquist pixel, λ / 4 NA
    optics = Optics(na=na, wavelength_um=0.5, immersion_index=index, pixel_um=pixel)
    z = np.array([0.0, 1.0, 2.0]) * optics.depth_of_field_um
    total = widefield_psf(optics, z, 161).sum(axis=(1, 2))
    np.testing.assert_allclose(total / total[0], 1.0, atol=0.005)


def test_matched_indices_make_defocus_symmetric() -> None:
    optics = Optics(**OIL)
    z = np.array([-2.0, -0.7, 0.7, 2.0])
    psf = widefield_psf(optics, z, 41)
    np.testing.assert_allclose(psf, psf[::-1], rtol=1e-6, atol=1e-6 * psf.max())
    np.testing.assert_allclose(psf, psf[:, ::-1, ::-1], rtol=1e-6, atol=1e-6 * psf.max())
    np.testing.assert_allclose(psf, np.swapaxes(psf, 1, 2), rtol=1e-6, atol=1e-6 * psf.max())


def test_mismatch_with_depth_makes_it_asymmetric() -> None:
    """Oil against water, 10 µm deep: spherical aberration, and less light in the peak."""
    optics = Optics(**OIL)
    z = np.linspace(-3.0, 3.0, 31)
    matched = widefield_psf(optics, z, 21)[:, 10, 10]
    deep = widefield_psf(optics, z, 21, sample_index=1.33, depth_um=10.0)[:, 10, 10]
    assert np.abs(deep - deep[::-1]).max() > 0.1 * deep.max()
    assert deep.max() < 0.6 * matched.max()
    shallow = widefield_psf(optics, z, 21, sample_index=1.33, depth_um=0.0)[:, 10, 10]
    assert shallow.max() > deep.max()
