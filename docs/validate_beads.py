"""Print the tables on beads in docs/measurements.md:

    python docs/validate_beads.py [FOLDER OF BEAD STACKS]

Planted beads with known answers, the vectorial point spread function, real beads, and the
same beads measured by napari-psf-analysis, if that is installed
(`pip install --no-deps napari-psf-analysis==1.2.0`).
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from napari_recurrent_mz.core.optics import Optics, widefield_psf
from napari_recurrent_mz.measure.beads import (
    PlantedBeads,
    measure_beads,
    plant_beads,
    theoretical_fwhm,
)

VOXEL = (0.1, 0.1, 0.1)
WIDTHS = ["fwhm_z_um", "fwhm_y_um", "fwhm_x_um"]
OPTICS = (
    Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.08),
    Optics(na=1.1, wavelength_um=0.6, immersion_index=1.33, pixel_um=0.1),
    Optics(na=0.85, wavelength_um=0.52, immersion_index=1.0, pixel_um=0.13),
)
REAL = {
    "bead-560nm-widefield": (0.1, 0.1019, 0.1019),
    "bead-520nm-na0.85-widefield": (0.3, 0.13, 0.13),
}


def score(truth: PlantedBeads, table: Any) -> dict[str, Any]:
    """What a table of beads makes of planted ones.

    A bead is found where one is accepted within half its width; the bias and the scatter
    are the mean and the standard deviation of measured over true width, less one.
    """
    kept = table[table.accepted]
    places = kept[["z_um", "y_um", "x_um"]].to_numpy()
    away, which = cKDTree(truth.centres_um / truth.fwhm_um).query(places / truth.fwhm_um)
    right = away < 0.5
    ratio = kept[WIDTHS].to_numpy()[right] / truth.fwhm_um - 1
    return {
        "recall": len(np.unique(which[right])) / len(truth.centres_um),
        "false": float(np.mean(~right)),
        "bias": ratio.mean(axis=0),
        "scatter": ratio.std(axis=0),
    }


def measured_by_psf_analysis(
    volume: np.ndarray, voxel_um: tuple[float, float, float], table: Any, region_um: np.ndarray
) -> np.ndarray:
    """Widths (N, 3) that napari-psf-analysis fits to the accepted beads of a table."""
    parts = "napari_psf_analysis.psf_analysis."
    fitter = importlib.import_module(parts + "fit.fitter").ZYXFitter
    calibrated = importlib.import_module(parts + "image").Calibrated3DImage
    voxel = np.array(voxel_um)
    half = np.round(region_um / voxel / 2).astype(int)
    found = []
    for place in table.loc[table.accepted, ["z_um", "y_um", "x_um"]].to_numpy():
        middle = np.round(place / voxel).astype(int)
        box = tuple(slice(max(m - h, 0), m + h + 1) for m, h in zip(middle, half, strict=True))
        record = fitter(calibrated(data=volume[box], spacing=voxel_um)).fit()
        found.append([record.zyx_z_fwhm, record.zyx_y_fwhm, record.zyx_x_fwhm])
    return np.array(found).reshape(-1, 3)


def in_focus(optics: Optics) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Point spread function around focus, and its voxel size."""
    step = optics.depth_of_field_um / 5
    psf = widefield_psf(optics, np.arange(-20, 21) * step, 65)
    return psf, (step, optics.pixel_um, optics.pixel_um)


def _percent(values: Any) -> str:
    return " ".join(f"{100 * value:+5.1f}" for value in values)


def _print_planted() -> None:
    print("planted: model, FWHM z y x (um), SNR, beads, recall %, false %, bias %, scatter %")
    for model in ("gaussian3d", "profiles"):
        for fwhm in ((0.6, 0.25, 0.25), (1.0, 0.4, 0.4), (0.5, 0.35, 0.3)):
            for snr in (30.0, 10.0):
                truth = plant_beads((121, 384, 384), VOXEL, fwhm, snr)
                found = score(truth, measure_beads(truth.volume, VOXEL, model=model))
                print(
                    f"{model:10s} {fwhm} {snr:3g} {len(truth.centres_um)} "
                    f"{100 * found['recall']:5.1f} {100 * found['false']:4.1f} "
                    f"| {_percent(found['bias'])} | {_percent(found['scatter'])}"
                )


def _print_point_spread_functions() -> None:
    print("vectorial PSF: model, NA, half maximum lateral and axial (um), measured over it (%)")
    for model in ("gaussian3d", "profiles"):
        for optics in OPTICS:
            lateral, axial = theoretical_fwhm(optics)
            row = measure_beads(*in_focus(optics), model=model).iloc[0]
            ratio = np.array([row.fwhm_y_um / lateral, row.fwhm_z_um / axial]) - 1
            print(f"{model:10s} {optics.na} {lateral:.3f} {axial:.3f} | {_percent(ratio)}")


def _print_real(folder: Path) -> None:
    import tifffile

    print("real: stack, model, found, accepted, FWHM z y x (um)")
    for name, voxel in REAL.items():
        stack = tifffile.imread(folder / f"{name}.ome.tif")
        for model in ("gaussian3d", "profiles"):
            table = measure_beads(stack, voxel, model=model)
            kept = table[table.accepted]
            widths = kept[WIDTHS].to_numpy().round(3).tolist()
            print(f"{name} {model:10s} {len(table)} {len(kept)} {widths}")
        region = 3 * kept[WIDTHS].to_numpy()[0]
        _print_beside(name, stack, voxel, region)


def _print_beside(name: str, volume: np.ndarray, voxel: Any, region: np.ndarray) -> None:
    """The same beads, the same regions, by the other implementation (which wants integers)."""
    volume = np.round(np.clip(volume * (50000 / volume.max()), 0, None)).astype(np.uint16)
    table = measure_beads(volume, voxel, region_um=region)
    try:
        others = measured_by_psf_analysis(volume, voxel, table, region)
    except ImportError:
        print("napari-psf-analysis is not installed")
        return
    ratio = table.loc[table.accepted, WIDTHS].to_numpy() / others - 1
    print(
        f"{name}: {len(ratio)} beads, FWHM over that of napari-psf-analysis, z y x: "
        f"mean {_percent(ratio.mean(axis=0))} %, farthest {_percent(abs(ratio).max(axis=0))} %"
    )


def _print_time() -> None:
    truth = plant_beads((81, 640, 640), VOXEL, (0.7, 0.3, 0.3), 10, pitch_um=(3.6, 1.8, 1.8))
    for model in ("gaussian3d", "profiles"):
        wall, work = time.perf_counter(), time.process_time()
        table = measure_beads(truth.volume, VOXEL, model=model)
        print(
            f"time: {model:10s} {truth.volume.shape} {len(table)} beads, "
            f"{time.perf_counter() - wall:.1f} s, {time.process_time() - work:.1f} s of processor"
        )


def main() -> None:
    """Print everything."""
    _print_planted()
    _print_point_spread_functions()
    truth = plant_beads((81, 192, 192), VOXEL, (0.6, 0.3, 0.25), 20)
    _print_beside("planted, SNR 20", truth.volume, VOXEL, 3 * truth.fwhm_um)
    if len(sys.argv) > 1:
        _print_real(Path(sys.argv[1]))
    _print_time()


if __name__ == "__main__":
    main()
