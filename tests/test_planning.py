"""Expected errors, plans and the next height, against brute force and simulated planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_recurrent_mz import InputError, Optics, Scan, ZGrid
from napari_recurrent_mz.core.optics import WIDEST_GAP_DOF
from napari_recurrent_mz.core.scans import ScanStack
from napari_recurrent_mz.engine.heights import gap_notes, reach_notes
from napari_recurrent_mz.estimates.covariance import linear_table
from napari_recurrent_mz.estimates.expectation import Expectation, prior_power
from napari_recurrent_mz.estimates.lmmse import SIGMA2, LinearEstimate
from napari_recurrent_mz.estimates.planning import RULES, expected_errors, percent, plan, suggest
from napari_recurrent_mz.estimates.uncertainty import plane_spread, signal_power, voxel_spread

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.103)
GRID = ZGrid(0, 8, 0.4)
DOF = OPTICS.depth_of_field_um


def one_frequency(node: int) -> Expectation:
    """An expectation that looks at a single lateral frequency."""
    power = np.zeros(len(linear_table(OPTICS, 8.0).k))
    power[node] = 1.0
    return Expectation(GRID, OPTICS, power=power)


def conditioned(node: int, scans: list[float], at: np.ndarray) -> np.ndarray:
    """Variance left at ``at``: the joint Gaussian of scans and planes, conditioned."""
    table = linear_table(OPTICS, 8.0)
    every = np.concatenate([scans, at])
    joint = table.at(np.abs(every[:, None] - every[None]) / DOF)[..., node]
    noisy = joint[: len(scans), : len(scans)] + SIGMA2 * np.eye(len(scans))
    cross = joint[len(scans) :, : len(scans)]
    left = joint[len(scans) :, len(scans) :] - cross @ np.linalg.inv(noisy) @ cross.T
    return np.asarray(np.diag(left))


@pytest.mark.parametrize("node", [3, 30, 80])
@pytest.mark.parametrize("scans", [[4.0], [1.0, 7.0], [0.4, 3.0, 3.4, 6.0]])
def test_the_error_is_the_variance_of_a_conditioned_gaussian(node: int, scans: list[float]) -> None:
    expected = one_frequency(node)
    prior = linear_table(OPTICS, 8.0).values[0][node]
    left = conditioned(node, scans, expected.z_um)
    np.testing.assert_allclose(expected.error(scans) ** 2, left / prior, rtol=1e-6, atol=1e-9)
    assert expected.overall(scans) ** 2 == pytest.approx((left / prior).mean(), rel=1e-6)
    for candidate, gain in zip((2.0, 5.2), expected.lowered(scans, [2.0, 5.2]), strict=True):
        after = conditioned(node, [*scans, candidate], expected.z_um)
        assert gain == pytest.approx(((left - after) / prior).mean(), rel=1e-5, abs=1e-9)


def test_it_agrees_with_the_linear_estimate() -> None:
    """Of planes that all have the scans' spectrum, without their noise."""
    rng = np.random.default_rng(0)
    scans = [Scan(gaussian_filter(rng.normal(size=(64, 64)), 1), z) for z in (1.0, 4.0, 7.0)]
    estimate = LinearEstimate(scans, OPTICS, reach_um=(0.0, 8.0))
    expected = Expectation(GRID, OPTICS, power=estimate.radial_power)
    np.testing.assert_allclose(
        expected.error(estimate.scan_z_um), estimate.expected_error(GRID.z_um), rtol=1e-6
    )


def planes_of_white_object(seed: int, size: int = 96) -> np.ndarray:
    """Planes that vary together as the optics make those of a spatially white object."""
    table = linear_table(OPTICS, 8.0)
    rng = np.random.default_rng(seed)
    z = GRID.z_um
    white = np.fft.rfft2(rng.normal(size=(len(z), size, size)))
    per_um = OPTICS.wavelength_um / OPTICS.na
    k = np.hypot(
        np.fft.fftfreq(size, OPTICS.pixel_um)[:, None], np.fft.rfftfreq(size, OPTICS.pixel_um)
    )
    node = np.minimum((k * per_um / table.k[1]).round().astype(int), len(table.k) - 1)
    covariance = table.at(np.abs(z[:, None] - z) / DOF)  # (Z, Z, K)
    values, vectors = np.linalg.eigh(np.moveaxis(covariance, -1, 0))
    roots = vectors * np.sqrt(values.clip(0))[:, None]
    mixed = np.einsum("yxij,jyx->iyx", roots[node], white, optimize=True)
    return np.asarray(np.fft.irfft2(mixed, s=(size, size)))


def test_the_true_error_follows_the_expected_one() -> None:
    planes = planes_of_white_object(1)
    picked = [4, 10, 16]
    scans = [Scan(planes[i], float(GRID.z_um[i])) for i in picked]
    estimate = LinearEstimate(scans, OPTICS, reach_um=(0.0, 8.0))
    expected = Expectation.of(GRID, estimate)
    heights = estimate.scan_z_um
    wrong = np.stack([estimate.plane(float(z)) for z in GRID.z_um]) - planes
    true = np.sqrt((wrong**2).mean(axis=(1, 2)) / planes.var(axis=(1, 2)))
    np.testing.assert_allclose(true, expected.error(heights), atol=0.15)
    assert expected.overall(heights) == pytest.approx(float(np.sqrt((true**2).mean())), rel=0.1)
    # By orthogonality the error that a scan takes away is the change that it brings.
    more = LinearEstimate([*scans, Scan(planes[7], 2.8)], OPTICS, reach_um=(0.0, 8.0))
    moved = np.stack([more.plane(float(z)) - estimate.plane(float(z)) for z in GRID.z_um])
    change = np.sqrt((moved**2).mean() / planes.var(axis=(1, 2)).mean())
    assert np.sqrt(expected.lowered(heights, [2.8])[0]) == pytest.approx(float(change), rel=0.1)


# --- plans --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_a_plan_covers_the_range_evenly(count: int) -> None:
    made = plan(GRID, OPTICS, count=count)
    heights = np.array(made.scan_z_um)
    assert len(heights) == count
    np.testing.assert_allclose(heights + heights[::-1], 8.0, atol=0.81)  # no end is preferred
    assert (np.diff(heights) > 4 / count).all()
    even = (np.arange(count) + 0.5) / count * 8
    assert made.expected_error <= Expectation(GRID, OPTICS).overall(even) + 1e-9
    assert made.expected_error == pytest.approx(float(np.sqrt((made.per_plane**2).mean())))


def test_more_scans_expect_less_error() -> None:
    errors = [plan(GRID, OPTICS, count=n).expected_error for n in range(1, 9)]
    assert (np.diff(errors) < 0).all()


@pytest.mark.parametrize("wanted", [0.7, 0.5, 0.3])
def test_a_plan_takes_no_more_scans_than_it_must(wanted: float) -> None:
    made = plan(GRID, OPTICS, target_error=wanted)
    assert made.expected_error <= wanted
    fewer = plan(GRID, OPTICS, count=len(made.scan_z_um) - 1)
    assert fewer.expected_error > wanted


def test_what_a_plan_says() -> None:
    made = plan(ZGrid(0, 12, 0.4), OPTICS, count=4)
    heights = [f"{round(z, 2):g}" for z in made.scan_z_um]
    assert made.sentence == (
        f"For 12 µm with this objective, 4 scans at {', '.join(heights[:3])} and {heights[3]} µm "
        f"give an expected error of {100 * made.expected_error:.0f} %."
    )
    one = plan(GRID, OPTICS, count=1).sentence
    assert "1 scan at 4 µm gives an expected" in one
    hopeless = plan(ZGrid(0, 12, 4), OPTICS, target_error=1e-4)
    assert hopeless.sentence.endswith("; 0.01 % cannot be reached.")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "either a number of scans or an expected error"),
        ({"count": 3, "target_error": 0.1}, "either a number of scans or an expected error"),
        ({"count": 0}, "A plan of 0 scans makes no sense: give 1 to 60"),
        ({"target_error": 5.0}, "The expected error 5 is not between 0 and 1: give 0.05 for 5 %"),
    ],
)
def test_a_plan_needs_one_wish(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(GRID, OPTICS, **options)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0213, "2.1 %"), (0.05, "5 %"), (0.0997, "10 %"), (0.123, "12 %"), (1.7, "170 %"),
     (0.0004, "0.04 %")],
)  # fmt: skip
def test_percent(value: float, words: str) -> None:
    assert percent(value) == words


# --- the next height ----------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_without_scans_the_middle_is_next(rule: str) -> None:
    assert suggest(Expectation(GRID, OPTICS), [], rule=rule).z_um == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("scans", "z_um"),
    [
        ([4.0], 6.8),  # an open end counts double, and is met two thirds of the way out
        ([0.0, 8.0], 4.0),
        ([0.0, 2.0, 8.0], 5.2),
        ([1.2, 8.0], 4.4),
        ([-1.0, 4.0, 9.0], 6.0),  # scans outside of the grid
    ],
)
def test_the_widest_gap(scans: list[float], z_um: float) -> None:
    found = suggest(Expectation(GRID, OPTICS), scans, rule="largest-gap").z_um
    assert found == pytest.approx(z_um, abs=0.41)


@pytest.mark.parametrize("scans", [[4.0], [0.0, 8.0], [1.2, 5.2], [0.8, 3.2, 7.2]])
def test_the_best_height_is_the_best(scans: list[float]) -> None:
    """Of all planes, taking the suggested one leaves the least expected error."""
    expected = Expectation(GRID, OPTICS)
    found = suggest(expected, scans)
    left = {float(z): expected.overall([*scans, z]) for z in GRID.z_um}
    assert left[found.z_um] == pytest.approx(min(left.values()), rel=1e-9)
    assert found.expected_error == pytest.approx(left[found.z_um], rel=1e-6)
    before = expected.overall(scans) ** 2
    assert found.expected_change**2 == pytest.approx(before - left[found.z_um] ** 2, rel=1e-6)


def test_no_such_rule() -> None:
    with pytest.raises(InputError, match="The rule 'hope' is unknown"):
        suggest(Expectation(GRID, OPTICS), [], rule="hope")


def full_half(seed: int) -> LinearEstimate:
    """Three scans of a sample whose structure is in the upper half of the range."""
    rng = np.random.default_rng(seed)
    part = {1.2: 0.1, 4.0: 1.0, 6.8: 1.0}
    scans = [
        Scan(100 + 50 * level * gaussian_filter(rng.normal(size=(96, 96)), 1.5), z)
        for z, level in part.items()
    ]
    return LinearEstimate(scans, OPTICS, reach_um=(0.0, 8.0))


def stack_in(estimate: LinearEstimate) -> ScanStack:
    """The scans of an estimate."""
    return ScanStack(estimate.images, estimate.scan_z_um)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scans_go_where_the_sample_is(seed: int) -> None:
    estimate = full_half(seed)
    heights = list(estimate.scan_z_um)
    assert suggest(Expectation.of(GRID, estimate), heights).z_um > 4.0
    expected = Expectation(GRID, OPTICS)
    found = suggest(expected, heights, rule="spread", estimate=estimate)
    assert min(abs(found.z_um - estimate.scan_z_um)) > DOF


def test_an_expectation_knows_which_planes_are_dim() -> None:
    """The same gap counts for more where there is more to see."""
    estimate = full_half(3)
    found = Expectation.of(GRID, estimate)
    low, high = found.lowered(estimate.scan_z_um, [2.4, 5.6])
    assert high > 1.03 * low
    blind = Expectation(GRID, OPTICS, power=signal_power(estimate))
    low, high = blind.lowered(estimate.scan_z_um, [2.4, 5.6])
    assert high == pytest.approx(low, rel=1e-6)


def test_scans_of_noise_alone_are_planned_as_before() -> None:
    rng = np.random.default_rng(0)
    scans = [Scan(rng.normal(100, 3, (64, 64)), z) for z in (2.0, 6.0)]
    estimate = LinearEstimate(scans, OPTICS, reach_um=(0.0, 8.0))
    assert np.isfinite(suggest(Expectation.of(GRID, estimate), [2.0, 6.0]).expected_change)


def test_a_confocal_target_has_an_expectation_too() -> None:
    estimate = full_half(4)
    confocal = LinearEstimate(stack_in(estimate), OPTICS, reach_um=(0.0, 8.0), target="confocal")
    expected = Expectation(GRID, OPTICS, power=confocal.radial_power, target="confocal")
    np.testing.assert_allclose(
        expected.error(confocal.scan_z_um), confocal.expected_error(GRID.z_um), rtol=0.02
    )
    gains = Expectation.of(GRID, confocal).lowered(confocal.scan_z_um)
    assert np.isfinite(gains).all()
    assert (gains >= 0).all()


# --- uncertainty --------------------------------------------------------------------------


def test_the_spread_is_the_jackknife() -> None:
    """Against estimates that are made anew without each scan."""
    estimate = full_half(5)
    z_um = 5.2
    left_out = []
    for number in range(3):
        kept = np.array([i for i in range(3) if i != number])
        made = LinearEstimate(stack_in(estimate).at(kept), OPTICS, reach_um=(0.0, 8.0))
        made.offset = estimate.offset
        made.spectra = estimate.spectra[kept]
        left_out.append(made.plane(z_um).astype(np.float64))
    stack = np.stack(left_out)
    expected = np.sqrt(2 / 3 * ((stack - stack.mean(axis=0)) ** 2).sum(axis=0))
    found = voxel_spread(estimate, z_um)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_planes_are_ranked_as_their_voxels_are() -> None:
    estimate = full_half(6)
    heights = [0.4, 2.8, 5.2, 8.0]
    rms = [float(np.sqrt((voxel_spread(estimate, z) ** 2).mean())) for z in heights]
    assert list(np.argsort(plane_spread(estimate, heights))) == list(np.argsort(rms))


def test_two_scans_have_no_spread() -> None:
    scans = [Scan(np.random.default_rng(n).normal(size=(32, 32)), 2.0 * n) for n in range(2)]
    with pytest.raises(InputError, match="at least three"):
        voxel_spread(LinearEstimate(scans, OPTICS), 1.0)


def test_prior_spectra_fall_as_asked() -> None:
    table = linear_table(OPTICS, 8.0)
    flat, falling = prior_power(table, 0.0), prior_power(table, 2.0)
    np.testing.assert_allclose(flat[1:40] / falling[1:40], table.k[1:40] ** 2)
    assert flat[0] == falling[0] == 0


@pytest.mark.parametrize(("na", "index"), [(1.4, 1.515), (1.2, 1.333), (0.8, 1.0)])
def test_half_of_the_variance_amid_the_widest_gap_is_unknown(na: float, index: float) -> None:
    optics = Optics(na, 0.52, index, 0.1)
    gap_um = WIDEST_GAP_DOF * optics.depth_of_field_um
    expected = Expectation(ZGrid(0, 2 * gap_um, gap_um / 20), optics)
    errors = expected.error([0, gap_um, 2 * gap_um])
    assert 0.45 < errors[10] ** 2 < 0.55
    assert optics.scans_without_gaps(2 * gap_um) == 3
    assert optics.scans_without_gaps(2.1 * gap_um) == 4


def test_a_wide_gap_is_named_with_the_scans_that_would_do() -> None:
    scans = [0.0, 9.0, 3.0, 4.0]
    (sentence,) = gap_notes(scans, OPTICS)
    assert sentence.startswith("The scans at 4 and 9 µm are 12 depths of field apart")
    assert "4 evenly spaced scans over the same 9 µm" in sentence
    assert gap_notes([0.0, 3.0, 6.0], OPTICS) == gap_notes([1.0], OPTICS) == []


@pytest.mark.parametrize(
    ("um", "words"),
    [
        (1e-3, "All scans lie within 0.01 depths of field (0.006 µm), and show the same plane"),
        (1.0, None),
        (100.0, "are 748 depths of field apart: check the heights, which are in µm (not nm)"),
    ],
)
def test_heights_in_another_unit_are_questioned(um: float, words: str | None) -> None:
    """Scans at 2, 5 and 8 µm, typed as if they were something else."""
    notes = gap_notes([2 * um, 5 * um, 8 * um], OPTICS)
    assert (words in notes[0]) if words else notes == []


@pytest.mark.parametrize("optics", [OPTICS, None], ids=["optics", "none"])
def test_heights_that_no_sample_has_are_refused(optics: Optics | None) -> None:
    with pytest.raises(InputError, match=r"2000 and 5000 µm are .* apart.* in µm \(not nm\)"):
        gap_notes([2000, 5000, 8000], optics)
    grid = "The grid reaches 7992.0 µm beyond .* in µm"
    with pytest.raises(InputError, match=grid):
        reach_notes([2, 5, 8], (0, 8000), optics, "grid")


def test_a_macroscope_may_look_millimetres_deep() -> None:
    low_na = Optics(na=0.05, wavelength_um=0.52, immersion_index=1.0, pixel_um=5.0)
    assert gap_notes([0, 1500, 3000], low_na) == []


def test_the_middle_of_large_scans_says_enough() -> None:
    rng = np.random.default_rng(0)
    image = gaussian_filter(rng.random((1100, 1300)), 1.5).astype(np.float32)
    scans = [Scan(np.roll(image, 5 * n), 2.0 * n) for n in range(3)]
    heights = np.linspace(0, 4, 9)
    found = expected_errors(scans, OPTICS, heights)
    whole = LinearEstimate(scans, OPTICS).expected_error(heights)
    np.testing.assert_allclose(found, whole, atol=0.01)


def test_the_middle_of_a_mosaic_may_be_empty() -> None:
    rng = np.random.default_rng(0)
    image = gaussian_filter(rng.random((1400, 1400)), 1.5).astype(np.float32)
    empty = image.copy()
    empty[150:1250, 150:1250] = 0
    scans = [Scan(image, 0.0), Scan(empty, 2.0), Scan(image, 4.0)]
    errors = expected_errors(scans, OPTICS, [0.0, 1.0, 2.0])
    assert errors[[0, 2]].max() < errors[1] < 1
