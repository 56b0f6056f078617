"""Print the tables of docs/surfaces.md: `python docs/validate_surface.py`.

Simulated stacks at a fine z-step are cut along a surface: that is the truth. The same surface is
reconstructed from a few planes of the stack, and for comparison cut from the level planes that
the same method gives, every 0.2 µm.
"""

from __future__ import annotations

import time

import numpy as np
from scipy import ndimage

from napari_recurrent_mz import Optics, Scan, ZGrid, reconstruct
from napari_recurrent_mz.deconvolution import NonnegativeEstimate
from napari_recurrent_mz.lmmse import LinearEstimate
from napari_recurrent_mz.metrics import Normalisation, psnr
from napari_recurrent_mz.simulate import Camera, Sample, simulate_sample
from napari_recurrent_mz.surfaces import plane_through, reconstruct_surface

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
SIZE, STEP_UM, TOP_UM = 256, 0.1, 10.0
LEVEL = ZGrid(2, 8, 0.2)
SCANS_UM = (2.0, 5.0, 8.0)
KINDS = ("worm", "tissue", "neurites", "beads")
METHODS = ("recurrent-mz", "lmmse", "linear", "nearest")
FIELD_UM = (SIZE - 1) * OPTICS.pixel_um


def surfaces() -> dict[str, np.ndarray]:
    """Heights (Y, X) in µm by name, all within the scans: 2 to 8 µm."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, SIZE),) * 2, indexing="ij")
    corners = [(2.5, 0, 0), (6.5, 0, FIELD_UM), (3.5, FIELD_UM, 0)]
    return {
        "tilted plane": plane_through(corners, (SIZE, SIZE), OPTICS.pixel_um),
        "dome": 7.5 - 2.5 * (x**2 + y**2),
        "waves": 5 + 2.5 * np.sin(3 * np.pi * x) * np.cos(2 * np.pi * y),
    }


def steepest_deg(heights: np.ndarray) -> float:
    """Largest slope of a surface, in degrees."""
    return float(np.degrees(np.arctan(np.hypot(*np.gradient(heights, OPTICS.pixel_um)).max())))


def cut(stack: np.ndarray, heights: np.ndarray, step_um: float, low_um: float = 0) -> np.ndarray:
    """A stack cut along a surface."""
    y, x = np.indices(heights.shape)
    place = [(heights - low_um) / step_um, y, x]
    return ndimage.map_coordinates(stack, place, order=3, mode="nearest")


def simulated(kind: str) -> Sample:
    """A stack of this kind, 10 µm deep."""
    shape = (round(TOP_UM / STEP_UM) + 1, SIZE, SIZE)
    return simulate_sample(
        kind, shape=shape, z_step_um=STEP_UM, optics=OPTICS, seed=11, camera=Camera(photons=2000)
    )


def scans_of(sample: Sample) -> list[Scan]:
    """The planes that are given."""
    return [Scan(sample.widefield[round(z / STEP_UM)], z) for z in SCANS_UM]


def print_truth(samples: dict[str, Sample]) -> None:
    """PSNR along the surfaces, and of the same surfaces cut from level planes."""
    print(f"PSNR in dB over all pixels of a surface, mean of {', '.join(samples)}")
    print("| surface, steepest slope | " + " | ".join(METHODS) + " |")
    gathered: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for sample in samples.values():
        scans, scale = scans_of(sample), Normalisation.of_stack(sample.noiseless)
        for method in METHODS:
            planes = reconstruct(scans, LEVEL, optics=OPTICS, method=method)
            for name, heights in surfaces().items():
                truth = scale.apply(cut(sample.noiseless, heights, STEP_UM))
                along = reconstruct_surface(scans, heights, optics=OPTICS, method=method)
                level = cut(planes, heights, LEVEL.step_um, LEVEL.start_um)
                pair = (psnr(truth, scale.apply(along)), psnr(truth, scale.apply(level)))
                gathered.setdefault(name, {}).setdefault(method, []).append(pair)
    for name, heights in surfaces().items():
        for place, what in enumerate(("along the surface", "cut from level planes")):
            means = [np.mean([p[place] for p in gathered[name][m]]) for m in METHODS]
            title = f"{name}, {steepest_deg(heights):.0f}°: {what}"
            print(f"| {title} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")


def print_exactness(sample: Sample) -> None:
    """The expansion over z against one evaluation for every height of a tilted plane."""
    scans = scans_of(sample)
    span = float(np.ptp(np.stack([scan.pixels for scan in scans])))
    heights = np.broadcast_to(np.linspace(1, 9, SIZE), (SIZE, SIZE)).copy()
    columns = range(0, SIZE, 8)
    print("largest difference from one evaluation for each height, in parts of the range")
    for name, estimate in (
        ("linear MMSE", LinearEstimate(scans, OPTICS, reach_um=(1, 9))),
        ("non-negative object", NonnegativeEstimate(scans, OPTICS)),
    ):
        along = estimate.plane(heights)
        exact = [estimate.plane(float(heights[0, c]))[:, c] for c in columns]
        print(f"| {name} | {np.abs(along[:, columns] - np.stack(exact, -1)).max() / span:.1e} |")


def print_seconds(sample: Sample) -> None:
    """Processor time for a surface that spans 8 µm, beside that of one plane."""
    scans = scans_of(sample)
    heights = np.broadcast_to(np.linspace(1, 9, SIZE), (SIZE, SIZE)).copy()
    print(
        f"processor seconds, {SIZE} × {SIZE} pixels, three scans, 8 µm of height | one level plane"
    )
    for method in METHODS:
        found = []
        for target in (heights, np.full_like(heights, 3.3)):
            began = time.process_time()
            reconstruct_surface(scans, target, optics=OPTICS, method=method)
            found.append(time.process_time() - began)
        print(f"| {method} | {found[0]:.2f} | {found[1]:.2f} |")


def main() -> None:
    """Print everything."""
    samples = {kind: simulated(kind) for kind in KINDS}
    print_truth(samples)
    print_exactness(samples["worm"])
    reconstruct_surface(scans_of(samples["worm"]), np.full((SIZE,) * 2, 4.0), optics=OPTICS)
    print_seconds(samples["worm"])


if __name__ == "__main__":
    main()
