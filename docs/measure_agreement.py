"""What scans cost that do not agree, and how often it is noticed, on real stacks::

    python docs/measure_agreement.py ../shared/data

Random sets of three to five planes of the wide-field stacks are scans. First, one between the outer
ones is displaced in a random direction; then two that lie next to each other exchange heights.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.ndimage import shift

from napari_recurrent_mz.core.scans import Scan
from napari_recurrent_mz.engine.check import LINEAR
from napari_recurrent_mz.estimates.agreement import exchanged_heights, lateral_shifts, shifted_back
from napari_recurrent_mz.lab.experiments.lab import HeldOutStack, Lab, Settings, score
from napari_recurrent_mz.lab.experiments.real import random_questions

Question = tuple[HeldOutStack, list[int], list[int]]

_PIXELS = (0.0, 0.5, 1.0, 2.0, 4.0)


def psnr(lab: Lab, held: HeldOutStack, scans: list[Scan], targets: list[int]) -> float:
    """Mean PSNR of planes by linear MMSE."""
    rebuilt = lab.rebuild(held, LINEAR, scans, targets)
    return float(np.mean([score(held, i, plane)["psnr"] for i, plane in rebuilt]))


def displaced(lab: Lab, questions: list[Question]) -> None:
    """A table: what is noticed of a displaced scan, and what shifting back brings."""
    rng = np.random.default_rng(0)
    rows = []
    for held, planes, targets in questions:
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


def exchanged(lab: Lab, questions: list[Question]) -> None:
    """A table: what is noticed of heights that two scans have exchanged, by number of scans."""
    rows = []
    for held, planes, targets in questions:
        scans = held.scans(held.z_um[planes])
        good, is_accused = psnr(lab, held, scans, targets), exchanged_heights(scans, held.optics)
        for pair in pairwise(range(len(scans))):
            mixed = list(scans)
            for one, other in (pair, pair[::-1]):
                mixed[one] = replace(scans[one], z_um=scans[other].z_um)
            rows.append((len(scans), pair[0] == 0 and is_accused is not None, pair[0] == 0,
                         exchanged_heights(mixed, held.optics) == pair[::-1],
                         psnr(lab, held, mixed, targets) - good))  # fmt: skip
    table = np.array(rows, float)
    print("| scans | sets | accused | pairs exchanged | named | mean change, dB | worst |")
    print("|---|---|---|---|---|---|---|")
    for count in np.unique(table[:, 0]):
        some = table[table[:, 0] == count]
        accused, sets, named = some[:, 1:4].sum(axis=0).astype(int)
        change = some[:, 4]
        print(f"| {count:.0f} | {sets} | {accused} | {len(some)} | {named} "
              f"| {change.mean():+.2f} | {change.min():+.2f} |")  # fmt: skip


def main() -> None:
    lab = Lab(replace(Settings(), data=Path(sys.argv[1]), device="cpu"))
    questions = [
        (held, planes, targets)
        for stack, _, held, planes, targets in random_questions(lab)
        if "confocal" not in stack.file and len(planes) > 2
    ]
    displaced(lab, questions)
    exchanged(lab, questions)


if __name__ == "__main__":
    main()
