"""What a scan to the side of the others costs, and how often it is noticed, on real stacks::

    python docs/measure_shift.py ../shared/data

Random sets of three to five planes of the wide-field stacks are scans. One between the outer ones
is displaced in a random direction.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import shift

from napari_recurrent_mz.core.scans import Scan
from napari_recurrent_mz.engine.check import LINEAR
from napari_recurrent_mz.estimates.lateral_shift import lateral_shifts, shifted_back
from napari_recurrent_mz.lab.experiments.lab import HeldOutStack, Lab, Settings, score
from napari_recurrent_mz.lab.experiments.real import random_questions

_PIXELS = (0.0, 0.5, 1.0, 2.0, 4.0)


def psnr(lab: Lab, held: HeldOutStack, scans: list[Scan], targets: list[int]) -> float:
    """Mean PSNR of planes by linear MMSE."""
    rebuilt = lab.rebuild(held, LINEAR, scans, targets)
    return float(np.mean([score(held, i, plane)["psnr"] for i, plane in rebuilt]))


def main() -> None:
    lab = Lab(replace(Settings(), data=Path(sys.argv[1]), device="cpu"))
    rng = np.random.default_rng(0)
    rows = []
    for stack, _, held, planes, targets in random_questions(lab):
        if "confocal" in stack.file or len(planes) < 3:
            continue
        which, angle = int(rng.integers(1, len(planes) - 1)), rng.uniform(0, 2 * np.pi)
        for pixels in _PIXELS:
            scans = held.scans(held.z_um[planes])
            image = scans[which].pixels
            if pixels:
                by_px = pixels * np.array([np.sin(angle), np.cos(angle)])
                image = shift(image, by_px, order=5, mode="mirror")
            scans[which] = replace(scans[which], image=image)
            found = lateral_shifts(scans, held.optics)
            back = [
                replace(scan, image=shifted_back(scan.pixels, by_px)) if by_px.any() else scan
                for scan, by_px in zip(scans, found, strict=True)
            ]
            others = np.delete(found, which, axis=0)
            as_is, shifted = (psnr(lab, held, some, targets) for some in (scans, back))
            rows.append((found[which].any(), others.any(), as_is, shifted))
    table = np.array(rows, float).reshape(-1, len(_PIXELS), 4)
    print(f"| displaced by, pixels | noticed, of {len(table)} | another named | mean change, dB "
          "| worst | shifted back | worst |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for number, pixels in enumerate(_PIXELS):
        named, other = table[:, number, :2].sum(axis=0).astype(int)
        changes = (table[:, number, 2:] - table[:, 0, 2:3]).T
        words = " | ".join(f"{change.mean():+.2f} | {change.min():+.2f}" for change in changes)
        print(f"| {pixels:g} | {named} | {other} | {words} |")


if __name__ == "__main__":
    main()
