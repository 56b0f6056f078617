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
APART_UM = 6 * OPTICS.depth_of_field_um


def images(beads: np.ndarray, z_um: np.ndarray, wavefront: Wavefront) -> np.ndarray:
    """Planes (Z, Y, X) of beads (N, 4): y and x in pixels, z in micrometres, brightness."""
    planes = np.zeros((len(z_um), SIZE, SIZE))
    for y, x, z, light in beads:
        psf = pupil_psf(OPTICS, z_um - z, SIZE, wavefront).numpy()
        planes += light * np.roll(psf, (int(y), int(x)), (1, 2))
    return planes


def measured(seed: int, spherical: float) -> tuple[float, float]:
    """Gain of points over linear MMSE in dB, and the aberration that they found."""
    rng = np.random.default_rng(seed)
    deep_um = 2 * APART_UM
    low, high = (4, 4, -APART_UM / 2), (SIZE - 4, SIZE - 4, deep_um + APART_UM / 2)
    beads = np.column_stack([rng.uniform(low, high, (20, 3)), rng.lognormal(0, 0.3, 20)])
    scans_um, between_um = np.linspace(0, deep_um, 3), np.linspace(0, deep_um, 12)[1:-1]
    wavefront = Wavefront(spherical=spherical)
    seen, truth = (images(beads, z_um, wavefront) for z_um in (scans_um, between_um))
    scale = PHOTONS / seen.max()
    scans = ScanStack(rng.poisson(100 + scale * seen).astype(np.float32), scans_um)
    points, linear = PointsAndLinear(scans, OPTICS), LinearEstimate(scans, OPTICS)
    errors = [
        np.mean(
            [
                (maker.plane(z) - 100 - scale * plane) ** 2
                for z, plane in zip(between_um, truth, strict=True)
            ]
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
        table = np.array([measured(1000 + n, spherical) for n in range(FIELDS)])
        found = np.abs(table[:, 1])
        print(
            f"| {spherical:g} | {found.mean():.3f} ± {found.std():.3f} "
            f"| {table[:, 0].mean():+.1f} | {table[:, 0].min():+.1f} |"
        )


if __name__ == "__main__":
    main()
