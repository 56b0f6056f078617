"""Points against linear MMSE, where the objective has spherical aberration::

    python docs/measure_points.py

Twelve fields of simulated beads, three scans of each six depths of field apart, through the pupil
of a 63×/1.4 objective whose aberration neither estimate is told.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch

from napari_recurrent_mz.core.optics import Optics
from napari_recurrent_mz.core.scans import ScanStack
from napari_recurrent_mz.estimates.lmmse import LinearEstimate
from napari_recurrent_mz.estimates.points import PointsAndLinear
from napari_recurrent_mz.simulation.pupil import Wavefront, pupil_psf

OPTICS = Optics(na=1.4, wavelength_um=0.55, immersion_index=1.518, pixel_um=0.1)
SIZE, FIELDS, PHOTONS = 144, 12, 3000
STEP_UM = 0.05  # between heights
SCANS, BETWEEN = np.array([0, 50, 100]), np.arange(10, 100, 10)  # in steps; 2.5 µm apart
LAGS = np.arange(-125, 126)


def images(beads: np.ndarray, planes: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """Planes (Z, Y, X) of beads (N, 4): y and x in pixels, z in steps, brightness."""
    seen = np.zeros((len(planes), SIZE, SIZE))
    for y, x, z, light in beads:
        lag = planes - int(z) - LAGS[0]
        seen += light * np.roll(psf[lag], (int(y), int(x)), (1, 2))
    return seen


def measured(seed: int, psf: np.ndarray) -> tuple[float, float]:
    """Gain of points over linear MMSE in dB, and the aberration that they found."""
    rng = np.random.default_rng(seed)
    places = rng.uniform((4, 4, -25), (SIZE - 4, SIZE - 4, 126), (20, 3))
    beads = np.column_stack([places, rng.lognormal(0, 0.3, 20)])
    seen, truth = (images(beads, planes, psf) for planes in (SCANS, BETWEEN))
    scale = PHOTONS / seen.max()
    scans = ScanStack(rng.poisson(100 + scale * seen).astype(np.float32), SCANS * STEP_UM)
    points, linear = PointsAndLinear(scans, OPTICS), LinearEstimate(scans, OPTICS)
    errors = [
        sum(
            ((maker.plane(z * STEP_UM) - 100 - scale * plane) ** 2).sum()
            for z, plane in zip(BETWEEN, truth, strict=True)
        )
        for maker in (points, linear)
    ]
    return 10 * np.log10(errors[1] / errors[0]), points.fit.spherical


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(
        "| spherical aberration, waves rms | found | gain over linear MMSE, dB | worst |"
        "\n|---|---|---|---|"
    )
    for spherical in (0.0, 0.03, 0.06, 0.09):
        psf = pupil_psf(OPTICS, LAGS * STEP_UM, SIZE, Wavefront(spherical=spherical)).numpy()
        table = np.array([measured(1000 + n, psf) for n in range(FIELDS)])
        found = np.abs(table[:, 1])
        print(
            f"| {spherical:g} | {found.mean():.3f} ± {found.std():.3f} "
            f"| {table[:, 0].mean():+.1f} | {table[:, 0].min():+.1f} |"
        )


if __name__ == "__main__":
    main()
