"""The linear estimate against dense normal equations, random objects and real stacks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy.fft import next_fast_len
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_triangle

from napari_recurrent_mz.core.optics import Optics, confocal_psf, widefield_psf
from napari_recurrent_mz.core.scans import InputError, Scan
from napari_recurrent_mz.estimates.covariance import (
    CovarianceTable,
    covariance_table,
    linear_table,
)
from napari_recurrent_mz.estimates.lmmse import (
    MEAN_NOISE,
    SIGMA2,
    LinearEstimate,
    linear_weights,
    propagation_weights,
)
from napari_recurrent_mz.estimates.radial_filter import RadialFilter
from napari_recurrent_mz.simulation.simulate import imaging

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
DRY = Optics(na=0.85, wavelength_um=0.52, immersion_index=1.0, pixel_um=0.13)
OIL = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.103)


@cache
def wrapped_psf(
    optics: Optics, reach_dof: float, step_dof: float, size: int, confocal: bool = False
) -> np.ndarray:
    """Point spread function folded onto a periodic field, (Z, size, size), centre at 0, 0."""
    wide = 385
    above = np.arange(0.0, reach_dof + 0.01, step_dof) * optics.depth_of_field_um
    psf = widefield_psf(optics, above, wide)
    if confocal:
        psf = confocal_psf(psf, optics)
    psf /= psf[0].sum()
    folded = np.zeros((len(psf), size, size))
    at = (np.arange(wide) - wide // 2) % size
    np.add.at(folded, np.ix_(range(len(psf)), at, at), psf)
    return np.concatenate([folded[:0:-1], folded])


def dense_images(psf: np.ndarray, at_dof: np.ndarray, step_dof: float) -> np.ndarray:
    """The matrices that image an object (Z·Y·X) into planes (Y·X): (planes, Y·X, Z·Y·X)."""
    reach, height, width = len(psf) // 2, *psf.shape[1:]
    first = at_dof.min() / step_dof - reach
    deep = round((at_dof.max() - at_dof.min()) / step_dof) + len(psf)
    y, x = np.divmod(np.arange(height * width), width)
    rows = (y[:, None] - y[None]) % height, (x[:, None] - x[None]) % width
    matrices = []
    for plane in at_dof:
        start = round(plane / step_dof - reach - first)
        seen = np.zeros((deep, height, width))
        seen[start : start + len(psf)] = psf
        matrices.append(np.concatenate([kernel[rows] for kernel in seen], axis=1))
    return np.stack(matrices)


@pytest.mark.parametrize(
    ("size", "lines", "tolerance", "target"),
    [
        (24, True, 0.005, "widefield"),
        (10, False, 0.015, "widefield"),
        (24, True, 0.01, "confocal"),
    ],
    ids=["object of lines", "object of points", "confocal of lines"],
)
@pytest.mark.parametrize("optics", [DRY, OIL], ids=["dry", "oil"])
@pytest.mark.parametrize("scans_dof", [[-2.0, 2.0], [-4.0, 0.5, 3.0]], ids=["M=2", "M=3"])
def test_weights_solve_the_dense_normal_equations(
    optics: Optics,
    scans_dof: list[float],
    size: int,
    lines: bool,
    tolerance: float,
    target: str,
) -> None:
    """Every covariance between every two pixels of the scans and the target, inverted.

    The object is white, on a periodic field, twice as fine in z as the table and as deep.
    """
    dof, pixel = optics.depth_of_field_um, optics.wavelength_um / optics.na / 4
    fine = Optics(optics.na, optics.wavelength_um, optics.immersion_index, pixel)
    table, weights = linear_weights(fine, np.array(scans_dof) * dof, 1.0 * dof, target=target)
    psf, other = (
        wrapped_psf(fine, table.lag_dof[-1], 0.25, size, confocal)
        for confocal in (False, target == "confocal")
    )
    if lines:
        psf, other = (p.sum(axis=1, keepdims=True) for p in (psf, other))
    at = np.array([*scans_dof, 1.0])
    matrices, wanted = dense_images(psf, at, 0.25)[:-1], dense_images(other, at, 0.25)[-1]
    scans = np.concatenate(matrices)
    power = (matrices[0] @ matrices[0].T)[0].sum()  # C(0, 0)
    covariance = scans @ scans.T + SIGMA2 * power * np.eye(len(scans))
    solution = np.linalg.solve(covariance, scans @ wanted.T)

    rng = np.random.default_rng(1)
    images = (scans @ rng.normal(size=scans.shape[1])).reshape(len(scans_dof), *psf.shape[1:])
    images -= images.mean(axis=(1, 2), keepdims=True)
    expected = (images.ravel() @ solution).reshape(psf.shape[1:])
    ky, kx = (np.fft.fftfreq(n, pixel) * optics.wavelength_um / optics.na for n in images.shape[1:])
    radius = np.hypot(ky[:, None], kx[None])
    response = np.stack([np.interp(radius, table.k, w) for w in weights[0]])
    found = np.fft.ifft2((response * np.fft.fft2(images)).sum(axis=0)).real
    assert np.sqrt(np.mean((found - expected) ** 2)) < tolerance * expected.std()


@pytest.mark.parametrize("side", [24, 80], ids=["small", "larger"])
@pytest.mark.parametrize("optics", [DRY, OIL], ids=["dry", "oil"])
def test_the_mean_of_a_field_varies_with_height_as_light_crosses_its_borders(
    optics: Optics, side: int
) -> None:
    """A square of a white object on a large, periodic field: the covariance of its mean."""
    psf = wrapped_psf(optics, 48.0, 1.0, 385)
    frame = np.zeros(psf.shape[1:])
    frame[:side, :side] = 1
    power = np.abs(np.fft.rfft2(frame)) ** 2
    power[:, 1:] *= 2  # of both signs
    seen = np.fft.rfft2(psf) * np.sqrt(power)
    lags = np.array([0, 2, 5, 10, 20, 40])
    expected = np.array([np.vdot(seen[: len(seen) - lag], seen[lag:]).real for lag in lags])
    pixel = optics.wavelength_um / optics.na / 4
    fine = Optics(optics.na, optics.wavelength_um, optics.immersion_index, pixel)
    found = linear_table(fine, 48 * fine.depth_of_field_um, (side, side)).at(lags)[:, 0]
    np.testing.assert_allclose(found / found[0], expected / expected[0], atol=0.07)


@pytest.mark.parametrize("side", [64, 2048])
def test_a_mean_that_is_not_known_beforehand_is_found_by_kriging(side: int) -> None:
    """The bordered equations of ordinary kriging."""
    scans, targets = np.array([1.0, 3.0, 6.0]), np.array([-5.0, 1.0, 2.2, 4.0, 9.0])
    table = linear_table(OIL, 14.0, (side, side))
    _, weights = linear_weights(OIL, scans, targets, table=table)
    dof = OIL.depth_of_field_um
    bordered = np.ones((4, 4))
    noise = SIGMA2 * (1 + MEAN_NOISE) + MEAN_NOISE * table.values[0, 0]
    bordered[:3, :3] = table.at((scans[:, None] - scans) / dof)[..., 0] + noise * np.eye(3)
    bordered[3, 3] = 0
    for target, found in zip(targets, weights[..., 0], strict=True):
        right = np.append(table.at((scans - target) / dof)[:, 0], 1.0)
        np.testing.assert_allclose(found, np.linalg.solve(bordered, right)[:3], atol=1e-6)


def test_of_scans_close_together_the_means_are_no_slope_to_follow() -> None:
    """A lamp that flickers by 1 % between them changes planes far away by little more."""
    rng = np.random.default_rng(3)
    scans = [Scan(mean + rng.normal(size=(512, 512)), z) for mean, z in ((1000, 4.9), (990, 5.1))]
    estimate = LinearEstimate(scans, OIL, reach_um=(0.0, 10.0))
    assert [estimate.plane(z).mean() for z in (0.0, 5.0, 10.0)] == pytest.approx([995] * 3, abs=15)


@pytest.mark.parametrize("target", [0.0, 1.3, 4.0, 9.0])
def test_weights_of_the_mean_sum_to_one(target: float) -> None:
    _, weights = linear_weights(OIL, [1.0, 3.0, 6.0], target)
    assert weights[0, :, 0].sum() == pytest.approx(1.0)
    _, alone = propagation_weights(OIL, [target])
    assert alone[0, 0] == 1.0


def test_confocal_estimate_keeps_the_units_that_it_promises() -> None:
    """A thin sheet in focus is as bright in the confocal image as in the scans, above ground.

    Fine structure of the sheet, scanned half a depth of field above and below it: of the
    simulator's wide-field planes the estimate makes the simulator's confocal plane.
    """
    made = imaging(DRY, planes=9, size=64, z_step_um=0.36, lateral_margin=16, confocal=True)
    volume = np.zeros(made.object_shape, np.float32)
    volume[made.margin[0] + 4] = np.random.default_rng(2).random(volume.shape[1:]) > 0.8
    wide, narrow = (made.image(volume, confocal=c).numpy() for c in (False, True))
    scans = [Scan(500 + 100 * wide[i], i * 0.36) for i in (3, 5)]
    plane = LinearEstimate(scans, DRY, target="confocal").plane(4 * 0.36)
    inner = (slice(16, -16), slice(16, -16))
    slope, _ = np.polyfit(100 * narrow[4][inner].ravel(), plane[inner].ravel(), 1)
    assert 0.5 < slope < 1.05  # cautious, as least squares are
    assert np.corrcoef(narrow[4][inner].ravel(), plane[inner].ravel())[0, 1] > 0.9


@pytest.mark.parametrize("target", ["widefield", "confocal"])
def test_a_plane_does_not_depend_on_which_others_are_made(target: str) -> None:
    """Neither on the range of the grid nor on what is made together with it."""
    rng = np.random.default_rng(7)
    scans = [Scan(100 + 10 * rng.normal(size=(40, 40)), z) for z in (0.0, 3.0, 6.0)]
    far_um = 40 * DRY.depth_of_field_um
    near, wide = (
        LinearEstimate(scans, DRY, target=target, reach_um=(0.0, top)) for top in (6.0, far_um)
    )
    plane = near.plane(1.5)
    np.testing.assert_allclose(wide.plane(1.5), plane, atol=1e-4)
    np.testing.assert_allclose(wide.tensor(np.array([1.5, far_um]))[0].numpy(), plane, atol=1e-4)
    together = wide.expected_error([1.5, far_um])[0]
    assert near.expected_error([1.5])[0] == pytest.approx(together)


@pytest.mark.parametrize("target", ["widefield", "confocal"])
def test_error_is_known_to_grow_between_scans(target: str) -> None:
    rng = np.random.default_rng(4)
    scans = [Scan(rng.normal(size=(40, 40)), z) for z in (0.0, 8.0)]
    error = LinearEstimate(scans, DRY, target=target).expected_error([0.0, 1.0, 4.0])
    assert np.all(np.diff(error) > 0)
    assert np.all((error >= 0) & (error <= 1))


def test_covariance_is_one_at_no_distance_and_falls_with_it() -> None:
    table = covariance_table(OIL, 5.0)
    assert table.values[0, 0] == pytest.approx(1.0)
    assert table.k[0] == 0.0
    assert table.k[-1] == pytest.approx(2.0, abs=0.02)
    assert np.all(np.abs(table.values) <= table.values[0] + 1e-3)
    middle = int(np.abs(table.k - 0.7).argmin())  # mid frequencies forget within a few DOF
    assert table.at(6.0)[middle] < 0.1 * table.at(0.0)[middle]
    np.testing.assert_allclose(table.at(-2.3), table.at(2.3))
    assert np.all(np.abs(table.at(3.0)[table.k > 1.97]) < 1e-3)  # nothing beyond the cut-off


def test_table_depends_on_the_optics_through_na_over_index_alone() -> None:
    other = Optics(na=1.4, wavelength_um=0.7, immersion_index=1.515, pixel_um=0.3)
    a, b = covariance_table(OIL, 1.0), covariance_table(other, 1.0)
    assert a is b


@cache
def white_planes(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heights and images (Z, Y, X) of a white, periodic object, without and with noise."""
    size, dof, step = 128, DRY.depth_of_field_um, 0.5
    planes = np.arange(-4.0, 4.1, 1.0)
    transfer = np.fft.rfft2(wrapped_psf(DRY, 48.0, step, size))  # as thick as estimates assume
    rng = np.random.default_rng(seed)
    deep = len(transfer) + round(8.0 / step)
    objects = np.fft.rfft2(rng.normal(size=(deep, size, size)))
    images = []
    for number in range(len(planes)):
        first = round(number / step)
        images.append(
            np.fft.irfft2((objects[first : first + len(transfer)] * transfer).sum(axis=0))
        )
    clean = np.stack(images)
    noise = np.sqrt(SIGMA2 * len(transfer)) * rng.normal(size=clean.shape)
    return planes * dof, clean, clean + noise


def estimate_from(heights: np.ndarray, images: np.ndarray, chosen: list[int]) -> LinearEstimate:
    return LinearEstimate([Scan(images[i], heights[i]) for i in chosen], DRY)


def passed(image: np.ndarray, table: CovarianceTable) -> np.ndarray:
    """The frequencies of an image that the optics pass well above the noise, edges cut off."""
    f = np.fft.fftfreq(len(image), DRY.pixel_um) * DRY.wavelength_um / DRY.na
    radius = np.hypot(f[:, None], f[None])
    keep = np.interp(radius, table.k, table.values[0]) > 10 * SIGMA2
    # The estimate extends the field by reflection, the object here by repetition.
    return np.fft.ifft2(np.fft.fft2(image) * keep).real[16:-16, 16:-16]


@pytest.mark.parametrize("chosen", [[2, 6], [0, 4, 8]], ids=["M=2", "M=3"])
def test_expected_error_is_the_error_on_random_objects(chosen: list[int]) -> None:
    measured, expected = [], []
    for seed in range(3):
        heights, clean, noisy = white_planes(seed)
        estimate = estimate_from(heights, noisy, chosen)
        for z, truth in zip(heights, clean, strict=True):
            wrong = passed(estimate.plane(z) - truth, estimate.table)
            measured.append(np.sqrt(np.mean(wrong**2)) / passed(truth, estimate.table).std())
        expected.append(estimate.expected_error(heights))
    found = np.array(measured).reshape(3, -1).mean(axis=0)
    predicted = np.mean(expected, axis=0)
    print(np.round(found, 3), np.round(predicted, 3))
    np.testing.assert_allclose(predicted, found, rtol=0.05, atol=0.02)
    assert predicted[chosen].max() < 0.2 * predicted.max()


def test_scan_comes_back_at_its_own_height() -> None:
    heights, clean, _ = white_planes(0)
    smooth = gaussian_filter(clean, (0, 2, 2))  # spectra of real samples fall, as this one does
    estimate = estimate_from(heights, smooth, [1, 4, 7])
    for i in (1, 4, 7):
        wrong = (estimate.plane(heights[i]) - smooth[i])[16:-16, 16:-16]
        assert np.sqrt(np.mean(wrong**2)) < 0.02 * smooth[i].std()


def test_estimate_beats_every_interpolation_of_random_objects() -> None:
    heights, clean, noisy = white_planes(1)
    estimate = estimate_from(heights, noisy, [2, 6])
    truth = clean[4]
    for rival in (noisy[2], noisy[6], (noisy[2] + noisy[6]) / 2, np.full_like(truth, truth.mean())):
        assert np.mean((estimate.plane(heights[4]) - truth) ** 2) < np.mean((rival - truth) ** 2)


def test_grating_is_weighted_as_its_frequency_says() -> None:
    """Two gratings of one period: the middle of the field is the weighted sum of their heights."""
    x = np.arange(256) * OIL.pixel_um
    wave = np.tile(np.cos(2 * np.pi * x / 1.2), (256, 1))
    estimate = LinearEstimate([Scan(100 + 30 * wave, 1.0), Scan(100 + 10 * wave, 2.0)], OIL)
    table, weights = linear_weights(OIL, [1.0, 2.0], 1.4, table=estimate.table)
    k = OIL.wavelength_um / OIL.na / 1.2
    height = sum(a * np.interp(k, table.k, w) for a, w in zip((30, 10), weights[0], strict=True))
    middle = (slice(100, 156), slice(100, 156))
    np.testing.assert_allclose(
        estimate.plane(1.4)[middle], 100 + height * wave[middle], atol=0.02 * height
    )


def test_units_order_and_offset_of_the_input_are_kept() -> None:
    heights, clean, _ = white_planes(2)
    base = estimate_from(heights, clean, [2, 6]).plane(0.3)
    turned = estimate_from(heights, clean, [6, 2]).plane(0.3)
    np.testing.assert_allclose(turned, base, atol=1e-4 * clean.std())
    scaled = estimate_from(heights, 1000 + 50 * clean, [2, 6]).plane(0.3)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, 1000 + 50 * base, atol=0.01 * clean.std() * 50)


@pytest.mark.parametrize("shape", [(16, 16), (17, 40), (130, 33)])
def test_any_shape_keeps_its_shape(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    scans = [Scan(rng.normal(size=shape), 0.0), Scan(rng.normal(size=shape), 2.0)]
    estimate = LinearEstimate(scans, OIL)
    plane = estimate.plane(1.0)
    assert plane.shape == shape
    assert np.isfinite(plane).all()
    assert tuple(estimate.propagated(1.0).shape) == (2, *shape)


@pytest.mark.parametrize("target", ["widefield", "confocal"])
def test_planes_made_together_are_the_planes(target: str) -> None:
    rng = np.random.default_rng(0)
    scans = [Scan(rng.normal(size=(50, 60)), z) for z in (0.0, 1.0, 2.5)]
    estimate = LinearEstimate(scans, OIL, target=target)
    heights = np.array([0.0, 0.7, 1.9, 2.2])
    together, carried = estimate.tensor(heights), estimate.propagated(heights, 1)
    assert tuple(carried.shape) == (4, 2, 50, 60)
    for number, z in enumerate(heights):
        np.testing.assert_allclose(together[number], estimate.tensor(float(z)), atol=1e-5)
        np.testing.assert_allclose(carried[number], estimate.propagated(float(z), 1), atol=1e-5)


def test_far_from_every_scan_little_is_known() -> None:
    heights, clean, _ = white_planes(3)
    estimate = estimate_from(heights, clean, [3, 5])
    error = estimate.expected_error(
        [heights[3], heights[4], heights[8], 40 * DRY.depth_of_field_um]
    )
    assert np.all(np.diff(error) > 0)
    assert np.all((error >= 0) & (error <= 1))


def test_scans_that_do_not_fit_are_refused() -> None:
    image = np.random.default_rng(0).normal(size=(20, 20))
    with pytest.raises(InputError, match="both at z = 1 µm"):
        LinearEstimate([Scan(image, 1.0), Scan(image, 1.0)], OIL)


EMBRYO = "celegans-embryo-fitc"
REAL = {
    # file, optics, z step, scans, PSNR measured beforehand, every how many planes
    "embryo 3": ("celegans-embryo-fitc", (1.4, 0.53, 1.518, 0.0645), 0.16, [14, 52, 90], 33.4, 5),
    "embryo 4": (
        "celegans-embryo-fitc",
        (1.4, 0.53, 1.518, 0.0645),
        0.16,
        [20, 44, 68, 92],
        34.4,
        5,
    ),
    "nucleus": ("nucleus-hoechst", (1.2, 0.455, 1.33, 0.5119), 0.4994, [12, 22, 32], 38.9, 1),
    "bead 560 nm": ("bead-560nm", (1.1, 0.6, 1.33, 0.1019), 0.1, [30, 50, 70], 28.5, 1),
    "bead NA 0.85": ("bead-520nm-na0.85", (0.85, 0.52, 1.0, 0.13), 0.3, [6, 12, 18], 31.0, 1),
}


@pytest.mark.parametrize(
    ("file", "optics", "step", "chosen", "psnr", "every"), REAL.values(), ids=REAL
)
def test_real_stacks(
    file: str, optics: tuple[float, ...], step: float, chosen: list[int], psnr: float, every: int
) -> None:
    """Mean PSNR of the planes that are not scans, against what was measured beforehand."""
    path = DATA / f"{file}-widefield.ome.tif"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    stack = tifffile.imread(path).astype(np.float32)
    projection = stack.max(axis=0)
    dark = stack[:, projection <= threshold_triangle(projection)].mean()
    scale = np.percentile(stack, 99.9) - dark
    estimate = LinearEstimate(
        [Scan(stack[i], i * step) for i in chosen],
        Optics(*optics),
        reach_um=(0.0, (len(stack) - 1) * step),
    )
    found = [
        -10 * np.log10(np.mean(((estimate.plane(i * step) - stack[i]) / scale) ** 2))
        for i in range(0, len(stack), every)
        if i not in chosen
    ]
    print(f"{np.mean(found):.2f} dB")
    assert np.mean(found) > psnr - 0.2


@pytest.mark.parametrize("shape", [(96, 96), (97, 83), (131, 60), (40, 203), (5, 7)])
def test_images_of_any_size_are_filtered_at_once_and_come_back(shape: tuple[int, int]) -> None:
    """A response of one changes nothing; transforms have lengths that SciPy calls fast."""
    optics = Optics(na=0.85, wavelength_um=0.52, immersion_index=1.0, pixel_um=0.15)
    table = covariance_table(optics, 4.0)
    radial = RadialFilter(shape, optics, table)
    image = torch.rand((1, *shape), generator=torch.Generator().manual_seed(1))
    back = radial.back(radial.mix(radial.transform(image), torch.ones(1, len(table.k)))[None])
    np.testing.assert_allclose(back, image, atol=1e-5)
    for length, padded in zip(shape, radial.padded, strict=True):
        assert padded >= length
        if length > 80:  # a reflection is no longer than the image
            assert padded % 8 == 0
            assert next_fast_len(padded, real=True) == padded
