"""Images of surfaces: level ones are planes, others agree with the truth along them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import napari_recurrent_mz
from napari_recurrent_mz import Optics, Scan, ZGrid, load_model, reconstruct, reconstruct_surface
from napari_recurrent_mz.core.metrics import psnr
from napari_recurrent_mz.core.progress import Stopped
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.engine.recipe import HeightMap, Recipe
from napari_recurrent_mz.engine.surfaces import SurfaceFacts, heights_on_field, plane_through
from napari_recurrent_mz.estimates.deconvolution import NonnegativeEstimate
from napari_recurrent_mz.estimates.lmmse import LinearEstimate
from napari_recurrent_mz.estimates.object_windows import NonnegativeWindows
from napari_recurrent_mz.networks.inputs import NetworkInputs
from napari_recurrent_mz.simulation.simulate import Camera, Sample, simulate_sample

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
SCANS_UM = (1.0, 3.0, 5.0)
SIZE, STEP_UM = 64, 0.2
FIELD_UM = (SIZE - 1) * OPTICS.pixel_um


@pytest.fixture(scope="module")
def sample() -> Sample:
    return simulate_sample(
        "worm",
        shape=(31, SIZE, SIZE),
        z_step_um=STEP_UM,
        optics=OPTICS,
        seed=3,
        camera=Camera(photons=2000),
    )


@pytest.fixture(scope="module")
def scans(sample: Sample) -> list[Scan]:
    return [Scan(sample.widefield[round(z / STEP_UM)], z, f"scan {z:g}") for z in SCANS_UM]


def span(scans: list[Scan]) -> float:
    return float(np.ptp(np.stack([scan.pixels for scan in scans])))


def tilted() -> np.ndarray:
    """Heights 1.2 to 4.8 µm, along y and x."""
    y, x = np.meshgrid(*(np.linspace(0, 1, SIZE),) * 2, indexing="ij")
    return 1.2 + 1.2 * y + 2.4 * x


def dome() -> np.ndarray:
    y, x = np.meshgrid(*(np.linspace(-1, 1, SIZE),) * 2, indexing="ij")
    return 4.7 - 1.7 * (y**2 + x**2)


@pytest.mark.parametrize(
    "method",
    ["recurrent-mz", "lmmse", "richardson-lucy", "points", "linear", "nearest", "cubic", "pchip"],
)
@pytest.mark.filterwarnings("ignore:The points found|No points")  # here there are none
def test_a_level_surface_is_the_plane(scans: list[Scan], method: str) -> None:
    made = reconstruct_surface(scans, np.full((SIZE, SIZE), 2.3), optics=OPTICS, method=method)
    plane = reconstruct(scans, ZGrid(2.3, 2.3, 1), optics=OPTICS, method=method)[0]
    assert made.dtype == np.float32
    assert np.abs(made - plane).max() <= 1e-5 * span(scans)


def test_the_linear_estimate_is_that_of_every_pixels_own_height(scans: list[Scan]) -> None:
    estimate = LinearEstimate(scans, OPTICS, reach_um=(0.0, 6.0))
    heights = np.broadcast_to(np.linspace(0.2, 5.8, SIZE), (SIZE, SIZE)).copy()
    along, carried = estimate.plane(heights), estimate.propagated(heights).numpy()
    error = estimate.error_along(heights)
    for column in range(0, SIZE, 9):
        z = float(heights[0, column])
        exact = estimate.plane(z)[:, column]
        assert np.abs(along[:, column] - exact).max() < 1e-4 * span(scans)
        exact = estimate.propagated(z).numpy()[:, :, column]
        assert np.abs(carried[:, :, column] - exact).max() < 1e-4 * span(scans)
        assert error[0, column] == pytest.approx(estimate.expected_error(z)[0], abs=2e-3)


@pytest.mark.parametrize("windows", [False, True])
def test_the_object_is_imaged_at_every_pixels_own_height(scans: list[Scan], windows: bool) -> None:
    found: NonnegativeEstimate | NonnegativeWindows = (
        NonnegativeWindows([Scan(s.pixels[:16], s.z_um) for s in scans], OPTICS, size=32)
        if windows
        else NonnegativeEstimate(scans, OPTICS, iterations=3)
    )
    rows = 16 if windows else SIZE
    heights = np.broadcast_to(np.linspace(1.0, 5.0, SIZE), (rows, SIZE)).copy()
    along, beyond = found.plane(heights), found.object_gain(heights).numpy()
    for column in (0, 30, 57):
        z = float(heights[0, column])
        assert np.abs(along[:, column] - found.plane(z)[:, column]).max() < 1e-4 * span(scans)
        exact = found.object_gain(z).numpy()[:, column]
        assert np.abs(beyond[:, column] - exact).max() < 1e-4 * span(scans)


def test_the_dpm_is_the_map_of_distances(scans: list[Scan]) -> None:
    """Paper, Fig. 1: the DPM is the signed axial distance of every pixel to the target."""
    config = load_model().network.config
    heights = dome()
    inputs = NetworkInputs(scans, OPTICS, config, reach_um=(1.0, 5.0))
    prepared = inputs.at(heights)
    unit = config.dpm_unit_dof * OPTICS.depth_of_field_um
    for number, z in enumerate(SCANS_UM):
        np.testing.assert_allclose(
            prepared.scans[0, number, 1].numpy(), (heights - z) / unit, rtol=0, atol=1e-5
        )
    assert prepared.unit.shape == (1, 1, SIZE, SIZE)


@pytest.mark.parametrize("heights", [tilted(), dome()], ids=["tilted", "dome"])
def test_along_a_surface_the_truth_is_met_as_well_as_in_planes(
    sample: Sample, scans: list[Scan], heights: np.ndarray
) -> None:
    """Against the noise-free stack cut along the surface, and against level planes so cut."""
    y, x = np.indices(heights.shape)

    def cut(stack: np.ndarray, low_um: float, step_um: float) -> np.ndarray:
        return ndimage.map_coordinates(
            stack, [(heights - low_um) / step_um, y, x], order=3, mode="nearest"
        )

    truth = cut(sample.noiseless, 0.0, STEP_UM)
    scale = float(np.ptp(truth))
    reached = {}
    for method in ("recurrent-mz", "lmmse", "linear", "nearest"):
        made = reconstruct_surface(scans, heights, optics=OPTICS, method=method)
        reached[method] = psnr(truth / scale, made / scale)
    planes = {
        method: reconstruct(scans, ZGrid(1.0, 5.0, step), optics=OPTICS, method=method)
        for method, step in (("recurrent-mz", 0.4), ("lmmse", 0.2))
    }
    level = psnr(truth / scale, cut(planes["lmmse"], 1.0, 0.2) / scale)
    assert reached["lmmse"] == pytest.approx(level, abs=0.1)
    level = psnr(truth / scale, cut(planes["recurrent-mz"], 1.0, 0.4) / scale)
    assert reached["recurrent-mz"] > level - 0.5
    assert min(reached["recurrent-mz"], reached["lmmse"]) > reached["linear"] + 1
    assert reached["linear"] > reached["nearest"]


def test_interpolation_goes_by_every_pixels_own_height(scans: list[Scan]) -> None:
    heights = tilted() - 0.5  # a part lies below the lowest scan
    stack = np.stack([scan.pixels for scan in scans])
    made = reconstruct_surface(scans, heights, method="linear")
    for y, x in ((0, 0), (40, 13), (63, 63), (50, 5)):
        wanted = np.interp(heights[y, x], SCANS_UM, stack[:, y, x])
        assert made[y, x] == pytest.approx(wanted, rel=1e-5)
    made = reconstruct_surface(scans, heights, method="nearest")
    nearest = np.abs(heights[None] - np.array(SCANS_UM)[:, None, None]).argmin(axis=0)
    np.testing.assert_array_equal(made, np.take_along_axis(stack, nearest[None], axis=0)[0])


def test_pixels_at_the_height_of_a_scan_are_its_own(scans: list[Scan]) -> None:
    steps = np.where(np.arange(SIZE) < 40, 3.0, 4.0) * np.ones((SIZE, 1))
    made = reconstruct_surface(scans, steps, optics=OPTICS, method="lmmse")
    np.testing.assert_array_equal(made[:, :40], scans[1].pixels[:, :40])
    assert not np.array_equal(made[:, 40:], scans[1].pixels[:, 40:])
    recipe = Recipe(scans, HeightMap(steps, "steps", [(3, 0, 0)]), OPTICS, "lmmse")
    told = recipe.provenance("cpu", seconds=1.0)
    assert told["surface"]["measured_pixels"] == SIZE * 40
    assert (told["surface"]["lowest_um"], told["surface"]["highest_um"]) == (3.0, 4.0)
    assert told["surface"]["points_um"] == [[3.0, 0.0, 0.0]]
    assert "grid" not in told


def test_the_work_says_how_far_it_is_and_stops_in_the_middle(scans: list[Scan]) -> None:
    told: list[tuple[str, int, int]] = []
    reconstruct_surface(
        scans, tilted(), optics=OPTICS, method="lmmse", on_progress=lambda *step: told.append(step)
    )
    assert [done for _, done, _ in told] == list(range(told[0][2]))
    assert {words for words, _, _ in told} == {"linear estimate"}
    with pytest.raises(Stopped):
        reconstruct_surface(
            scans, tilted(), optics=OPTICS, method="lmmse", stopped=lambda: len(told) > 3
        )
    asked = iter([False] * 3 + [True] * 100)
    with pytest.raises(Stopped):
        reconstruct_surface(
            scans, tilted(), optics=OPTICS, method="richardson-lucy", stopped=lambda: next(asked)
        )


# planes and maps ---------------------------------------------------------------------------


def test_a_plane_goes_through_its_three_points() -> None:
    pixel, origin = 0.5, (10.0, -3.0)
    points = [(2.0, 12.0, 1.0), (5.0, 20.0, -1.0), (-1.0, 15.0, 6.0)]
    heights = plane_through(points, (64, 48), pixel, origin)
    assert heights.shape == (64, 48)
    for z, y, x in points:
        row, column = (y - origin[0]) / pixel, (x - origin[1]) / pixel
        assert ndimage.map_coordinates(heights, [[row], [column]], order=1)[0] == pytest.approx(z)


def test_more_points_are_met_by_least_squares() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 20, (9, 3))
    heights = plane_through(points, (41, 41), 0.5)
    design = np.column_stack([np.ones(9), points[:, 1:]])
    c, by, bx = np.linalg.lstsq(design, points[:, 0], rcond=None)[0]
    assert heights[0, 0] == pytest.approx(c)
    assert heights[40, 10] == pytest.approx(c + by * 20 + bx * 5)


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ([(1, 0, 0), (2, 5, 5), (7, 10, 10)], "one line seen from above"),
        ([(1, 3, 3), (2, 3, 3), (7, 3, 3)], "one line seen from above"),
        ([(1, 0, 0), (2, 5, 0), (7, 10, 0.01)], "one line seen from above"),
        ([(1, 0, 0), (2, 5, 5)], "are 2: give three"),
        ([(1, 0, 0)], "is one: give three"),
        (np.zeros((0, 3)), "are none: give three"),
        ([(1, 0), (2, 5), (3, 3)], r"three points \(z, y, x\)"),
        ([(1, 0, 0), (2, 5, 0), (np.nan, 10, 4)], "1 coordinate that is NaN"),
    ],
)
def test_points_that_fix_no_plane_are_told(points: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        plane_through(points, (32, 32), 0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("heights", "sentence"),
    [
        (np.zeros((3, SIZE, SIZE)), "3 dimensions"),
        (np.zeros((SIZE, SIZE + 1)), f"{SIZE} × {SIZE + 1} pixels but the scans are"),
        (np.where(np.eye(SIZE) > 0, np.nan, 3.0), f"{SIZE} pixels that are NaN"),
        (np.full((SIZE, SIZE), 1j), "values of type complex128"),
        (np.ones((SIZE, SIZE), bool), "values of type bool"),
    ],
)
def test_heights_that_are_none_are_told(
    scans: list[Scan], heights: np.ndarray, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        reconstruct_surface(scans, heights, method="linear")


def test_one_scan_or_no_optics_is_told(scans: list[Scan]) -> None:
    with pytest.raises(InputError, match="One scan only"):
        reconstruct_surface(scans[:1], tilted(), method="linear")
    with pytest.raises(InputError, match="needs the optics"):
        reconstruct_surface(scans, tilted(), method="lmmse")


def test_a_map_of_other_pixels_is_brought_onto_the_field() -> None:
    y, x = (10 + 0.5 * np.arange(30))[:, None], (5 + 0.8 * np.arange(25))[None]
    heights = 2 + 0.1 * y - 0.2 * x
    found = heights_on_field(heights, (0.5, 0.8), (10, 5), (50, 40), 0.2, (12.0, 6.0))
    fy, fx = (12 + 0.2 * np.arange(50))[:, None], (6 + 0.2 * np.arange(40))[None]
    np.testing.assert_allclose(found, 2 + 0.1 * fy - 0.2 * fx, atol=1e-9)
    with pytest.raises(InputError, match=r"'tilt' does not reach over .* along y:"):
        heights_on_field(heights, (0.5, 0.8), (10, 5), (90, 40), 0.2, (12.0, 6.0), name="tilt")


def test_what_a_surface_is_like() -> None:
    rows, columns = np.indices((50, 40))
    facts = SurfaceFacts.of(3 + rows * 0.2 * np.tan(np.radians(30)), 0.2)
    assert facts.tilt_deg == pytest.approx(30)
    assert facts.bend_um == pytest.approx(0, abs=1e-9)
    assert str(facts) == "Heights 3 to 8.658 µm, tilt 30.0°."
    facts = SurfaceFacts.of(5 + 0.5 * (-1.0) ** (rows + columns), 0.2)
    assert (facts.tilt_deg, facts.bend_um) == (pytest.approx(0, abs=0.1), pytest.approx(0.5, 1e-2))


@pytest.mark.parametrize("method", ["lmmse", "linear", "recurrent-mz"])
def test_far_beyond_the_scans_a_surface_says_so(scans: list[Scan], method: str) -> None:
    told: list[str] = []
    reconstruct_surface(scans, tilted() + 4, optics=OPTICS, method=method, on_message=told.append)
    assert told[0].startswith("The surface reaches 3.8 µm beyond the outer scans")
    with pytest.raises(InputError, match=r"The surface .* lies .* away from the scans"):
        reconstruct_surface(scans, tilted() + 4000, optics=OPTICS, method=method)


def test_the_function_is_a_name_of_the_package() -> None:
    assert napari_recurrent_mz.reconstruct_surface is reconstruct_surface
