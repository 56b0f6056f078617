"""Interpolation along z against SciPy pixel by pixel, and closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicSpline, PchipInterpolator, interp1d

from napari_recurrent_mz.core.metrics import Normalisation, psnr
from napari_recurrent_mz.core.scans import InputError, Scan
from napari_recurrent_mz.estimates.interpolation import KINDS, Interpolator
from napari_recurrent_mz.io import read_image, scans_from_stack

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
Z_UM = [0.5, 2.0, 3.25, 7.0, 8.0]
HEIGHTS = np.linspace(0.5, 8.0, 16)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(n).random((n, 16, 18)).astype(np.float32) * 1000


def scans(n: int) -> list[Scan]:
    made = [Scan(image, z) for image, z in zip(images(n), Z_UM, strict=False)]
    return made[::-1]  # the order in which they are given does not matter


@pytest.mark.parametrize(
    ("n", "kind", "expected"),
    [
        (5, "cubic", lambda z, y: CubicSpline(z, y, axis=0)),
        (4, "cubic", lambda z, y: CubicSpline(z, y, axis=0)),
        (3, "cubic", lambda z, y: interp1d(z, y, "quadratic", axis=0)),
        (2, "cubic", lambda z, y: interp1d(z, y, "linear", axis=0)),
        (5, "linear", lambda z, y: interp1d(z, y, "linear", axis=0)),
        (2, "linear", lambda z, y: interp1d(z, y, "linear", axis=0)),
        (5, "pchip", lambda z, y: PchipInterpolator(z, y)),
        (3, "pchip", lambda z, y: PchipInterpolator(z, y)),
        (2, "pchip", lambda z, y: interp1d(z, y, "linear", axis=0)),
        (5, "nearest", lambda z, y: interp1d(z, y, "nearest", axis=0)),
    ],
)
def test_planes_are_those_of_scipy(n: int, kind: str, expected) -> None:
    reference = expected(Z_UM[:n], images(n).astype(np.float64))
    made = Interpolator(scans(n), kind)
    for z in (z for z in HEIGHTS if z <= Z_UM[n - 1]):
        plane = made.plane(z)
        assert plane.dtype == np.float32
        np.testing.assert_allclose(plane, reference(z), rtol=1e-4, atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_scans_come_back_and_outside_is_flat(kind: str, n: int) -> None:
    made = Interpolator(scans(n), kind)
    for image, z in zip(images(n), Z_UM, strict=False):
        np.testing.assert_allclose(made.plane(z), image, atol=1e-2)
    np.testing.assert_array_equal(made.plane(-100), made.plane(Z_UM[0]))
    np.testing.assert_array_equal(made.plane(100), made.plane(Z_UM[n - 1]))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_sum_to_one(kind: str) -> None:
    made = Interpolator(scans(5), kind)
    for z in np.linspace(-1, 9, 21):
        assert made.weights(z)[:5].sum() == pytest.approx(1)


def test_pchip_never_leaves_the_range_of_the_scans_around() -> None:
    made, pixels = Interpolator(scans(5), "pchip"), images(5)
    for z in HEIGHTS:
        above = int(np.clip(np.searchsorted(Z_UM, z), 1, 4))
        around = pixels[above - 1 : above + 1]
        plane = made.plane(z)
        assert (plane >= around.min(axis=0) - 1e-2).all()
        assert (plane <= around.max(axis=0) + 1e-2).all()


def test_cubic_gives_back_a_cubic() -> None:
    pattern = images(1)[0]

    def at(z: float) -> np.ndarray:
        return pattern * (z**3 - 4 * z + 20)

    made = Interpolator([Scan(at(z), z) for z in Z_UM], "cubic")
    np.testing.assert_allclose(made.plane(5.1), at(5.1), rtol=1e-4)


def test_unknown_kind() -> None:
    with pytest.raises(InputError, match="choose one of nearest, linear, cubic"):
        Interpolator(scans(2), "quintic")


@pytest.mark.skipif(not DATA.is_dir(), reason="the real stacks are not here")
@pytest.mark.parametrize(
    ("name", "planes", "nearest", "linear"),
    [
        ("nucleus-hoechst-widefield", [12, 22, 32], 30.7, 32.1),
        ("bead-560nm-widefield", [30, 50, 70], 24.0, 24.2),
    ],
)
def test_known_values_on_real_stacks(
    name: str, planes: list[int], nearest: float, linear: float
) -> None:
    """Mean PSNR published with the stacks, computed there by other code."""
    image = read_image(DATA / f"{name}.ome.tif")
    scale = Normalisation.of_stack(image.data)
    chosen = scans_from_stack(image, planes)
    assert image.z_um is not None
    for kind, expected in [("nearest", nearest), ("linear", linear)]:
        made = Interpolator(chosen, kind)
        values = [
            psnr(scale.apply(image.data[i]), scale.apply(made.plane(z)))
            for i, z in enumerate(image.z_um)
            if i not in planes
        ]
        assert np.mean(values) == pytest.approx(expected, abs=0.1)
