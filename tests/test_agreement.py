"""Scans to the side of the others are named and shifted back; heights mixed up are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import fourier_shift

from napari_recurrent_mz import Optics, Scan
from napari_recurrent_mz.cli import main
from napari_recurrent_mz.docks.files import samples
from napari_recurrent_mz.engine.check import fault_notes, order_notes, shift_notes
from napari_recurrent_mz.estimates.agreement import exchanged_heights, lateral_shifts, shifted_back
from napari_recurrent_mz.io import write_volume
from napari_recurrent_mz.measure.comparison import Volume, compare

OPTICS = Optics(na=1.2, wavelength_um=0.455, immersion_index=1.33, pixel_um=0.512)
STEP_UM = 0.4994


@pytest.fixture(scope="module")
def nucleus() -> np.ndarray:
    """A real wide-field stack, (Z, Y, X)."""
    return samples.nucleus().widefield.astype(np.float32)


def moved(image: np.ndarray, by_px: tuple[float, float]) -> np.ndarray:
    """An image displaced along y and x, by its Fourier transform."""
    spectrum = fourier_shift(np.fft.fftn(image), by_px)
    return np.fft.ifftn(spectrum).real.astype(np.float32)


def scans_of(stack: np.ndarray, planes: list[int]) -> list[Scan]:
    return [Scan(stack[p], STEP_UM * p, f"plane {p}") for p in planes]


@pytest.mark.parametrize("planes", [[12, 22, 32], [8, 16, 24, 32], [14, 18, 22, 26, 30], [16, 24]])
def test_nothing_is_said_of_a_real_stack_or_of_one_that_leans(
    nucleus: np.ndarray, planes: list[int]
) -> None:
    assert shift_notes(scans_of(nucleus, planes), OPTICS) == []
    assert order_notes(scans_of(nucleus, planes), OPTICS) == []
    leaning = np.stack([moved(plane, (0.0, 0.2 * i)) for i, plane in enumerate(nucleus)])
    assert shift_notes(scans_of(leaning, planes), OPTICS) == []
    assert order_notes(scans_of(leaning, planes), OPTICS) == []


@pytest.mark.parametrize("by_px", [(0.0, 2.5), (-3.0, 1.5), (5.0, -5.0)])
@pytest.mark.parametrize(("planes", "which"), [([12, 22, 32], 1), ([8, 16, 24, 32], 2)])
def test_a_scan_beside_the_others_is_found_in_any_order_and_shifted_back(
    nucleus: np.ndarray, planes: list[int], which: int, by_px: tuple[float, float]
) -> None:
    scans = scans_of(nucleus, planes)
    good = scans[which].pixels
    scans[which] = Scan(moved(good, by_px), scans[which].z_um, "moved")
    order = np.random.default_rng(which).permutation(len(scans))
    found = lateral_shifts([scans[i] for i in order], OPTICS)[np.argsort(order)]
    np.testing.assert_allclose(found[which], by_px, rtol=0.25, atol=0.5)
    assert not np.delete(found, which, axis=0).any()
    tiny = [replace(scan, image=1e-30 * scan.pixels) for scan in scans]
    np.testing.assert_allclose(lateral_shifts(tiny, OPTICS)[which], by_px, rtol=0.25, atol=0.5)
    back = shifted_back(scans[which].pixels, found[which])
    inner = (slice(12, -12),) * 2
    off = np.abs(back - good)[inner].mean()
    assert off < 0.3 * np.abs(scans[which].pixels - good)[inner].mean()
    (sentence,) = shift_notes(scans, OPTICS)
    assert f"lies 'moved' ({np.hypot(*found[which]) * OPTICS.pixel_um:.2g} µm" in sentence


@pytest.mark.parametrize(
    ("planes", "pair"),
    [([14, 18, 22], (0, 1)), ([14, 18, 22, 26], (1, 2)), ([14, 18, 22, 26, 30], (3, 4))],
)
def test_heights_of_two_scans_that_are_mixed_up_are_named(
    nucleus: np.ndarray, planes: list[int], pair: tuple[int, int]
) -> None:
    scans = scans_of(nucleus, planes)
    one, other = pair
    scans[one] = Scan(nucleus[planes[other]], STEP_UM * planes[one], "one")
    scans[other] = Scan(nucleus[planes[one]], STEP_UM * planes[other], "other")
    order = np.random.default_rng(1).permutation(len(scans))
    (sentence,) = order_notes([scans[i] for i in order], OPTICS)
    assert f"'one' ({scans[one].z_um:.4g} µm)" in sentence
    assert f"'other' ({scans[other].z_um:.4g} µm)" in sentence


def test_planes_of_one_stack_are_not_called_exchanged_unless_their_heights_were_typed_so(
    nucleus: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = nucleus.copy()
    odd[[14, 18]] = nucleus[[18, 14]]
    for name, stack in (("odd", odd), ("good", nucleus)):
        about = 0.5 * np.arange(len(stack)), OPTICS.pixel_um, {"optics": OPTICS.as_dict()}
        write_volume(f"{name}.ome.tif", stack, *about)
    for plane in (14, 18, 22):
        tifffile.imwrite(f"{plane}.tif", odd[plane], metadata=None)

    def told(words: str) -> bool:
        assert main(words.split()) == 0
        printed = capsys.readouterr()
        return "exchanged" in printed.out + printed.err

    by = "--method lmmse --grid 7:8:1 -o made.ome.tif"
    optics = "--na 1.2 --wavelength-um 0.455 --immersion-index 1.33 --pixel-um 0.512"
    assert told(f"reconstruct 14.tif 18.tif 22.tif --z 7 9 11 {optics} {by}")
    assert not told("evaluate odd.ome.tif --planes 14 18 22 --methods lmmse")
    assert not told(f"reconstruct odd.ome.tif --planes 22 14 18 {by}")
    assert not told(f"reconstruct odd.ome.tif --planes 14 18 22 --z 11 9 7 {by}")
    assert told(f"reconstruct good.ome.tif --planes 14 18 22 --z 9 7 11 {by}")
    assert not told("batch odd.ome.tif --planes 14 18 22 --method lmmse -o volumes --jobs 1")
    volumes = [Volume(name, odd, 0.5 * np.arange(len(odd)), 0.512) for name in ("odd", "again")]
    about = {"scans_um": (7, 9, 11), "optics": OPTICS, "device": "cpu"}
    assert not compare(*volumes, baselines=["lmmse"], **about).notes


def test_of_a_scan_beside_the_others_the_height_is_not_doubted(nucleus: np.ndarray) -> None:
    scans = scans_of(nucleus, [14, 18, 22])
    scans[1] = replace(scans[1], image=np.roll(scans[1].pixels, 3, axis=1))
    _, _, beside, order = fault_notes(scans, OPTICS)
    assert "lies 'plane 18'" in beside[0]
    assert order == []


def test_a_hot_pixel_does_not_hide_which_scan_lies_beside_the_others(nucleus: np.ndarray) -> None:
    scans = scans_of(nucleus, [4, 13, 22, 31, 40])
    scans[3] = replace(scans[3], image=moved(scans[3].pixels, (0.0, 4.0)))
    spoilt = scans[2].pixels.copy()
    spoilt[60, 70] = 8 * spoilt.max()
    scans[2] = replace(scans[2], image=spoilt)
    found = lateral_shifts(scans, OPTICS)
    np.testing.assert_allclose(found[3], (0.0, 4.0), atol=1.0)
    assert not np.delete(found, 3, axis=0).any()


def test_scans_of_noise_do_not_tell() -> None:
    noise = np.random.default_rng(0).normal(100, 5, (4, 64, 96)).astype(np.float32)
    scans = scans_of(noise, [0, 1, 2, 3])
    assert not lateral_shifts(scans, OPTICS).any()
    assert exchanged_heights(scans, OPTICS) is None
