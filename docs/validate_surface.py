"""Print the tables of docs/measurements.md: `python docs/validate_surface.py`.

Simulated stacks at a fine z-step are cut along a surface: that is the truth. The same surface is
reconstructed from a few planes of the stack. For comparison, level planes are made by the same
method at twelve heights of the surface, and looked at where the surface passes through them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from scipy import ndimage

from napari_recurrent_mz import Optics, Scan, ZGrid
from napari_recurrent_mz.core.metrics import Normalisation, psnr
from napari_recurrent_mz.engine.inference import PlaneMaker, plane_maker
from napari_recurrent_mz.engine.recipe import Recipe
from napari_recurrent_mz.engine.surfaces import plane_through, reconstruct_surface
from napari_recurrent_mz.estimates.deconvolution import NonnegativeEstimate
from napari_recurrent_mz.estimates.lmmse import LinearEstimate
from napari_recurrent_mz.simulation.phantoms import phantom
from napari_recurrent_mz.simulation.simulate import Camera, imaging

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
SIZE, STEP_UM, TOP_UM = 128, 0.1, 10.0
SCANS_UM = (2.0, 5.0, 8.0)
KINDS = ("worm", "tissue", "neurites", "beads")
GRID = ZGrid(2.0, 8.0, 1.0)  # where the surfaces lie
METHODS = ("recurrent-mz", "lmmse", "linear", "nearest")
LEVELS, NEAR_UM = 12, 0.05
FIELD_UM = (SIZE - 1) * OPTICS.pixel_um


def surfaces() -> dict[str, np.ndarray]:
    """Heights (Y, X) in µm by name, all within the scans: 2 to 8 µm."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, SIZE),) * 2, indexing="ij")
    corners = [(2.5, 0, 0), (5.5, 0, FIELD_UM), (4.5, FIELD_UM, 0)]
    return {
        "tilted plane": plane_through(corners, (SIZE, SIZE), OPTICS.pixel_um),
        "dome": 7.5 - 2.5 * (x**2 + y**2),
        "waves": 5 + 2.5 * np.sin(2 * np.pi * x) * np.cos(np.pi * y),
    }


def steepest_deg(heights: np.ndarray) -> float:
    """Largest slope of a surface, in degrees."""
    return float(np.degrees(np.arctan(np.hypot(*np.gradient(heights, OPTICS.pixel_um)).max())))


def cut(stack: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """A stack from z = 0 in steps of STEP_UM, cut along a surface."""
    y, x = np.indices(heights.shape)
    return ndimage.map_coordinates(stack, [heights / STEP_UM, y, x], order=3, mode="nearest")


def samples() -> Iterator[tuple[np.ndarray, list[Scan]]]:
    """Noise-free stacks, 10 µm deep, and scans of them with the noise of a camera."""
    planes = round(TOP_UM / STEP_UM) + 1
    microscope = imaging(OPTICS, planes=planes, size=SIZE, z_step_um=STEP_UM)
    camera, chance = Camera(photons=2000), torch.Generator().manual_seed(11)
    for kind in KINDS:
        object_ = phantom(kind, microscope.space, np.random.default_rng(11))
        wide = microscope.image(object_)
        wide = wide / torch.quantile(wide.flatten()[::7], 0.999)
        noisy = [camera.expose(wide[round(z / STEP_UM)], chance).numpy() for z in SCANS_UM]
        scans = [Scan(image, z) for image, z in zip(noisy, SCANS_UM, strict=True)]
        yield camera.noiseless(wide).numpy(), scans


def errors(stack: np.ndarray, maker: PlaneMaker, heights: np.ndarray) -> tuple[float, float, float]:
    """PSNR of a surface: of all its pixels, of those near some heights, of level planes there."""
    scale = Normalisation.of_stack(stack)
    truth = scale.apply(cut(stack, heights))
    along = scale.apply(maker.plane(heights))
    levels = np.quantile(heights, (np.arange(LEVELS) + 0.5) / LEVELS)
    made, level = [], []
    for z in levels:
        near = np.abs(heights - z) < NEAR_UM
        flat = scale.apply(cut(stack, np.full_like(heights, z)))
        level.append((scale.apply(maker.plane(float(z))) - flat)[near])
        made.append(along[near] - truth[near])
    zero = np.zeros(sum(map(len, made)))
    return (
        psnr(truth, along),
        psnr(zero, np.concatenate(made)),
        psnr(zero, np.concatenate(level)),
    )


def print_truth(known: list[tuple[np.ndarray, list[Scan]]]) -> None:
    """PSNR along the surfaces, and of level planes where the surfaces pass through them."""
    print(f"PSNR in dB, mean of {', '.join(KINDS)}")
    print("| surface, steepest slope | pixels | " + " | ".join(METHODS) + " |")
    makers = [
        (stack, [plane_maker(Recipe(scans, GRID, OPTICS, method)) for method in METHODS])
        for stack, scans in known
    ]
    for name, heights in surfaces().items():
        each = [[errors(stack, maker, heights) for maker in made] for stack, made in makers]
        found = np.mean(each, axis=0)
        title = f"{name}, {steepest_deg(heights):.0f}°"
        rows = ("all of the surface", "near twelve heights", "level planes there")
        for what, row in zip(rows, found.T, strict=True):
            print(f"| {title} | {what} | " + " | ".join(f"{v:.2f}" for v in row) + " |", flush=True)


def print_exactness(scans: list[Scan]) -> None:
    """The expansion over z against one evaluation for every height of a tilted plane."""
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


def print_seconds(scans: list[Scan]) -> None:
    """Processor time for a surface that spans 8 µm, beside that of one plane."""
    heights = np.broadcast_to(np.linspace(1, 9, SIZE), (SIZE, SIZE)).copy()
    print(f"processor seconds for {SIZE} × {SIZE} pixels: 8 µm of height, one level plane")
    for method in METHODS:
        found = []
        for target in (heights, np.full_like(heights, 3.3)):
            began = time.process_time()
            reconstruct_surface(scans, target, optics=OPTICS, method=method)
            found.append(time.process_time() - began)
        print(f"| {method} | {found[0]:.2f} | {found[1]:.2f} |")


def main() -> None:
    """Print everything."""
    known = list(samples())
    print_exactness(known[0][1])
    print_seconds(known[0][1])
    print_truth(known)


if __name__ == "__main__":
    main()
