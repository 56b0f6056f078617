"""Print the tables of docs/measurements.md: planted motions found again, EDF against the truth.

Run it as ``python docs/validate_preparation.py``.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import ndimage

from napari_recurrent_mz import Optics
from napari_recurrent_mz.measure.preparation import (
    REFERENCES,
    Place,
    align,
    extended_focus,
    register,
)
from napari_recurrent_mz.simulation.simulate import Sample, simulate_sample

OPTICS = Optics(na=1.2, wavelength_um=0.5, immersion_index=1.33, pixel_um=0.15)
STEP_UM = 0.3
PLANES = 21
SIZE = 224
MARGIN = 16
KINDS = ("nuclei", "filaments", "tissue")


def main() -> None:
    """Print all tables."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    samples = {kind: simulated(kind) for kind in KINDS}
    print("| sample | to | shift, px: rms, worst | rotation, °: rms, worst | s |")
    print("|---|---|---|---|---|")
    for kind, sample in samples.items():
        print_alignment(kind, sample.widefield)
    print()
    print("| sample | shift y, x, µm | rotation, ° | shift z, µm | magnification | correlation |")
    print("|---|---|---|---|---|---|")
    for kind, sample in samples.items():
        print_registration(kind, sample)
    print()
    print("| image | root mean square error, % of the range in focus |")
    print("|---|---|")
    print_focus()


def simulated(kind: str) -> Sample:
    """One sample through both microscopes, with camera noise."""
    shape = (PLANES, SIZE, SIZE)
    return simulate_sample(kind, shape=shape, z_step_um=STEP_UM, optics=OPTICS, seed=5)


def moved(plane: np.ndarray, shift: np.ndarray, degrees: float) -> np.ndarray:
    """The plane displaced (y, x) and turned clockwise about its middle."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.array(plane.shape) - 1) / 2
    return ndimage.affine_transform(
        plane, turn, offset=middle - turn @ (middle + shift), order=5, mode="mirror"
    )


def inner(stack: np.ndarray) -> np.ndarray:
    """Without the edges, which the motion has filled."""
    return stack[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def print_alignment(kind: str, stack: np.ndarray) -> None:
    """A drift of 4 pixels and 2 degrees with jitter, found again."""
    rng = np.random.default_rng(1)
    part = np.linspace(0, 1, PLANES)[:, None]
    shift = part * (4.0, -3.0) + rng.normal(scale=0.3, size=(PLANES, 2))
    turn = 2.0 * part[:, 0]
    drifted = inner(np.array([moved(p, s, a) for p, s, a in zip(stack, shift, turn, strict=True)]))
    for reference in REFERENCES:
        began = time.process_time()
        found = align(drifted, reference=reference)
        seconds = time.process_time() - began
        off = found.shift_px - shift
        off -= off.mean(axis=0)
        angle = found.rotation_deg - turn
        angle -= angle.mean()
        print(
            f"| {kind} | {reference} | {np.sqrt((off**2).mean()):.3f}, {np.abs(off).max():.3f} "
            f"| {np.sqrt((angle**2).mean()):.3f}, {np.abs(angle).max():.3f} | {seconds:.1f} |"
        )


def print_registration(kind: str, sample: Sample) -> None:
    """A confocal stack displaced by (0.6, -0.45, 0.9) µm (y, x, z) and turned by 1.5 degrees."""
    shift = np.array([0.6, -0.45]) / OPTICS.pixel_um
    sharp = inner(np.array([moved(p, shift, 1.5) for p in sample.confocal]))[:-3]
    wide = inner(sample.widefield)[3:]
    place = Place(STEP_UM * np.arange(len(wide)), OPTICS.pixel_um)
    found = register(wide, sharp, place, place)
    y, x = found.shift_um
    print(
        f"| {kind} | {y:+.3f}, {x:+.3f} | {found.rotation_deg:+.2f} | {found.shift_z_um:+.3f} "
        f"| {found.magnification:.4f} "
        f"| {found.correlation_before:.3f} → {found.correlation_after:.3f} |"
    )


def print_focus() -> None:
    """A textured surface that leans, seen in 15 planes."""
    rng = np.random.default_rng(2)
    spots = np.zeros((256, 256))
    spots[tuple(rng.integers(0, 256, (2, 1200)))] = rng.uniform(50, 150, 1200)
    mottled = ndimage.gaussian_filter(rng.normal(size=(256, 256)), 1.2)
    truth = 400 + 90 * mottled / mottled.std() + 14 * ndimage.gaussian_filter(spots, 1.0)
    height = np.broadcast_to(np.linspace(0.5, 13.5, 256), truth.shape)
    widths = np.arange(0, 12, 0.25)
    blurred = np.array([ndimage.gaussian_filter(truth, w, mode="reflect") for w in widths])
    planes = []
    for z in range(15):
        at = np.clip(0.8 * np.abs(z - height) / 0.25, 0, len(widths) - 1).round().astype(int)
        planes.append(np.take_along_axis(blurred, at[None], axis=0)[0])
    stack = np.array(planes) + rng.normal(scale=4, size=(15, 256, 256))
    images = {
        "EDF": extended_focus(stack).image,
        "maximum projection": stack.max(axis=0),
        "mean projection": stack.mean(axis=0),
        "sharpest single plane": min(stack, key=lambda p: float(((p - truth) ** 2).mean())),
    }
    for name, image in images.items():
        error = np.sqrt(((image - truth) ** 2).mean()) / np.ptp(truth)
        print(f"| {name} | {100 * error:.1f} |")


if __name__ == "__main__":
    main()
