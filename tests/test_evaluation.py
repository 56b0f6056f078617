"""The table of methods against scikit-image and against numbers published with the stacks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import interp1d
from skimage.metrics import (
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

from napari_recurrent_mz.core.metrics import Normalisation
from napari_recurrent_mz.core.optics import Optics
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io import read_image
from napari_recurrent_mz.measure.evaluation import (
    FULL_STACK,
    Evaluation,
    Scores,
    evaluate,
    evaluate_against,
)

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
Z_UM = 2.0 + 0.5 * np.arange(9)
PLANES = [1, 4, 7]


def test_linear_row_against_scipy_and_scikit_image(stack: np.ndarray) -> None:
    found = evaluate(stack, Z_UM, PLANES, optics=None, methods=["linear"])
    scores = found.methods["linear"]
    scale = Normalisation.of_stack(stack)
    line = interp1d(
        Z_UM[PLANES],
        stack[PLANES].astype(float),
        axis=0,
        bounds_error=False,
        fill_value=(stack[1], stack[7]),
    )
    for i in set(range(9)) - set(PLANES):
        pair = scale.apply(stack[i]), scale.apply(line(Z_UM[i]))
        assert scores.psnr[i] == pytest.approx(
            peak_signal_noise_ratio(*pair, data_range=1), abs=1e-3
        )
        assert scores.nrmse[i] == pytest.approx(
            100 * normalized_root_mse(*pair, normalization="min-max"), rel=1e-3
        )
        assert scores.ssim[i] == pytest.approx(
            structural_similarity(
                *pair, data_range=1, gaussian_weights=True, use_sample_covariance=False
            ),
            abs=1e-4,
        )


def test_inputs_are_left_out_of_the_means(stack: np.ndarray) -> None:
    found = evaluate(stack, Z_UM, PLANES, optics=None, methods=["nearest", "linear"])
    assert list(found.methods) == ["nearest", "linear"]
    assert found.planes == tuple(PLANES)
    np.testing.assert_allclose(found.z_um, Z_UM)
    for scores in found.methods.values():
        missing = [i for i, value in enumerate(scores.psnr) if math.isnan(value)]
        assert missing == PLANES
        assert scores.mean("psnr") == pytest.approx(np.nanmean(scores.psnr))
        assert scores.seconds >= 0


def test_a_falling_stack_is_the_same_stack(stack: np.ndarray) -> None:
    up = evaluate(stack, Z_UM, PLANES, optics=None, methods=["linear"])
    down = evaluate(
        stack[::-1], Z_UM[::-1], [8 - p for p in PLANES], optics=None, methods=["linear"]
    )
    assert down.planes == up.planes
    np.testing.assert_allclose(down.methods["linear"].psnr, up.methods["linear"].psnr)


def test_progress_and_planes_are_told(stack: np.ndarray) -> None:
    steps: list[tuple[int, int]] = []
    kept: list[tuple[str, int]] = []
    evaluate(
        stack,
        Z_UM,
        PLANES,
        optics=None,
        methods=["linear", "nearest"],
        on_progress=lambda done, total: steps.append((done, total)),
        on_plane=lambda method, plane: kept.append((method, plane.index)),
    )
    assert steps == [(n, 12) for n in range(1, 13)]
    others = [i for i in range(9) if i not in PLANES]
    assert kept == [(m, i) for m in ("linear", "nearest") for i in others]


def test_json_has_the_keys_that_were_promised(stack: np.ndarray) -> None:
    optics = Optics(na=0.8, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.2)
    found = evaluate(stack, Z_UM, PLANES, optics=optics, methods=["lmmse", "cubic"])
    read = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert set(read) >= {"methods", "z_um", "planes", "optics", "date", "machine", "versions"}
    for name in ("lmmse", "cubic"):
        row = read["methods"][name]
        assert set(row) == {"psnr_db", "nrmse_percent", "ssim", "mean", "seconds"}
        assert [i for i, v in enumerate(row["psnr_db"]) if v is None] == PLANES
        assert row["mean"]["psnr_db"] == pytest.approx(
            np.mean([v for v in row["psnr_db"] if v is not None])
        )
    assert read["optics"]["na"] == 0.8


def test_table_has_one_row_a_method() -> None:
    scores = Scores((30.0, math.nan, 32.0), (2.0, math.nan, 4.0), (0.5, math.nan, 0.7), 12.34)
    table = Evaluation({"linear": scores}, (0.0, 1.0, 2.0), (1,)).table().splitlines()
    assert table[0].split() == ["method", "PSNR", "dB", "NRMSE", "SSIM", "seconds"]
    assert table[1].split() == ["linear", "31.00", "3.00", "0.6000", "12.3"]


def test_a_dark_truth_plane_has_no_nrmse(stack: np.ndarray) -> None:
    dark = stack.copy()
    dark[0] = 100
    scores = evaluate(dark, Z_UM, PLANES, optics=None, methods=["linear"]).methods["linear"]
    assert math.isnan(scores.nrmse[0])
    assert math.isfinite(scores.mean("nrmse"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": []}, "No method is named"),
        ({"methods": ["magic"]}, "'magic' is unknown: choose one of auto, recurrent-mz"),
        ({"planes": [4]}, "One scan only, 'plane 4'"),
        ({"planes": [4, 9], "names": ("'s.tif'", "")}, "'s.tif' has no plane 9.*0 to 8"),
        ({"planes": range(9)}, "leave some out"),
        ({"z_um": np.r_[Z_UM[:-1], 99]}, "not evenly spaced"),
        ({"z_um": np.zeros(9)}, "not evenly spaced"),
        ({"z_um": Z_UM[:-1]}, "9 planes but 8 heights"),
        ({"stack": np.ones((40, 36))}, "fully sampled"),
        ({"methods": ["lmmse"]}, "needs the optics"),
    ],
)
def test_mistakes(stack: np.ndarray, change: dict, message: str) -> None:
    given = {"stack": stack, "z_um": Z_UM, "planes": PLANES, "methods": ["linear"], **change}
    with pytest.raises(InputError, match=message):
        evaluate(optics=None, **given)


def test_against_another_microscope_one_straight_line_fits_each_volume(stack: np.ndarray) -> None:
    """Its gain and offset are those of numpy's polynomial fit, its planes all count."""
    rng = np.random.default_rng(8)
    reference = 30 + 7.0 * stack**1.5 + rng.normal(0, 50, stack.shape)
    found = evaluate_against(stack, reference, Z_UM, PLANES, optics=None, methods=["linear"])
    assert list(found.methods) == [FULL_STACK, "linear"]
    gain, offset = np.polyfit(stack.ravel().astype(float), reference.ravel(), 1)
    scale = Normalisation.of_stack(reference)
    for i in (0, 4):
        pair = scale.apply(reference[i]), scale.apply(gain * stack[i] + offset)
        assert found.methods[FULL_STACK].psnr[i] == pytest.approx(
            peak_signal_noise_ratio(*pair, data_range=1), abs=0.01
        )
    assert not any(math.isnan(v) for v in found.methods["linear"].psnr)
    same = evaluate_against(stack, 5 + 2.0 * stack, Z_UM, PLANES, optics=None, methods=["linear"])
    assert same.methods[FULL_STACK].mean("psnr") > 80


def test_a_falling_pair_is_the_same_pair(stack: np.ndarray) -> None:
    up = evaluate_against(stack, 2.0 * stack, Z_UM, PLANES, optics=None, methods=["linear"])
    down = evaluate_against(
        stack[::-1], 2.0 * stack[::-1], Z_UM[::-1], [8 - p for p in PLANES], optics=None,
        methods=["linear"],
    )  # fmt: skip
    np.testing.assert_allclose(down.methods["linear"].psnr, up.methods["linear"].psnr, atol=1e-3)


def test_stacks_of_two_shapes_are_refused(stack: np.ndarray) -> None:
    with pytest.raises(InputError, match="give two of one shape"):
        evaluate_against(stack, stack[:-1], Z_UM, PLANES, optics=None, methods=["linear"])


@pytest.mark.skipif(not DATA.is_dir(), reason="the real stacks are not here")
def test_the_confocal_estimate_of_a_real_nucleus_beats_its_full_widefield_stack() -> None:
    pair = [
        read_image(DATA / f"nucleus-hoechst-{kind}.ome.tif") for kind in ("widefield", "confocal")
    ]
    optics = Optics(na=1.2, wavelength_um=0.455, immersion_index=1.333, pixel_um=0.5119)
    found = evaluate_against(
        pair[0].data, pair[1].data, pair[0].z_um, [12, 22, 32], optics=optics,
        methods=["lmmse-plus"],
    )  # fmt: skip
    full, linear = (found.methods[m].mean("psnr") for m in (FULL_STACK, "lmmse-plus"))
    assert linear > full + 1


@pytest.mark.skipif(not DATA.is_dir(), reason="the real stacks are not here")
def test_published_values_of_a_real_stack() -> None:
    """The nucleus from planes 12, 22, 32: linear interpolation 32.1 dB, linear MMSE 38.9 dB."""
    image = read_image(DATA / "nucleus-hoechst-widefield.ome.tif")
    assert image.z_um is not None
    optics = Optics(na=1.2, wavelength_um=0.455, immersion_index=1.33, pixel_um=0.5119)
    found = evaluate(
        image.data, image.z_um, [12, 22, 32], optics=optics, methods=["lmmse", "linear"]
    )
    assert found.methods["linear"].mean("psnr") == pytest.approx(32.1, abs=0.1)
    assert found.methods["lmmse"].mean("psnr") > 38.7
