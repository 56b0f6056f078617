"""What less light in a scan does, and how often it is noticed; a folder of real stacks is given.

How often a scan with 20 % less light is named, and how often another one or a good stack is: planes
of the wide-field stacks are scans, 3 to 20 planes apart; first none is dimmed, then the first one,
then one in the middle, then each a tenth more than the one before. Then what falling light costs on
random sets of planes, as it is and evened out where it is noticed::

    python docs/measure_even_light.py ../shared/data
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_recurrent_mz.core.scans import Scan
from napari_recurrent_mz.engine.check import LINEAR
from napari_recurrent_mz.estimates.faults import uneven_light
from napari_recurrent_mz.io import read_image
from napari_recurrent_mz.lab.experiments.lab import HeldOutStack, Lab, Settings, score
from napari_recurrent_mz.lab.experiments.real import random_questions

_APART = (3, 5, 8, 12, 16, 20)
_GAIN = 0.8
_FALL = 0.1
_FALLS = (0.0, 0.05, 0.1, 0.2)  # part of the light that is lost from each scan to the next


def measure(stack: np.ndarray) -> Counter[str]:
    """How many good sets of scans are accused, one dimmed scan and falling light are noticed."""
    dark, counts = float(np.quantile(stack, 0.001)), Counter[str]()
    for apart in _APART:
        for count in (3, 4, 5):
            for first in range(0, len(stack) - (count - 1) * apart, apart):
                planes = first + apart * np.arange(count)
                z_um = planes.astype(float)  # only their ratios count
                counts["good"] += 1
                counts["accused"] += uneven_light(list(stack[planes]), z_um) is not None
                for dimmed in (0, count // 2):
                    scans = list(stack[planes])
                    scans[dimmed] = dark + _GAIN * (scans[dimmed] - dark)
                    found = uneven_light(scans, z_um)
                    counts["dimmed"] += 1
                    counts["named"] += found is not None and found.gains.argmin() == dimmed
                    counts["other"] += found is not None and found.gains.argmin() != dimmed
                fading = (1 - _FALL) ** np.arange(count, dtype=np.float32)
                scans = list(dark + fading[:, None, None] * (stack[planes] - dark))
                counts["fading"] += uneven_light(scans, z_um) is not None
    return counts


def faded_psnr(
    lab: Lab, held: HeldOutStack, planes: list[int], targets: list[int], fall: float, *, even: bool
) -> float:
    """Mean PSNR of planes from scans with less and less light, with that light given back."""
    dark, z_um = float(np.quantile(held.seen, 0.001)), held.z_um[planes]
    left = np.log1p(-fall) * np.arange(len(planes))
    pixels = [
        dark + np.exp(gain, dtype=np.float32) * (held.seen[i] - dark)
        for i, gain in zip(planes, left, strict=True)
    ]
    uneven = uneven_light(pixels, z_um) if even else None
    if uneven is not None:
        pixels = [uneven.evened(image, index) for index, image in enumerate(pixels)]
        left = left - np.log(uneven.gains)
    gains = np.exp(np.interp(held.z_um, z_um, left))
    scans = [Scan(image, float(z)) for image, z in zip(pixels, z_um, strict=True)]
    rebuilt = lab.rebuild(held, LINEAR, scans, targets)
    scores = [score(held, i, dark + (plane - dark) / gains[i])["psnr"] for i, plane in rebuilt]
    return float(np.mean(scores))


def falling_light(data: Path) -> None:
    """A table: what falling light costs linear MMSE, and what evening it out brings back."""
    lab = Lab(replace(Settings(), data=data, device="cpu"))
    psnr = np.array(
        [
            [
                faded_psnr(lab, held, planes, targets, fall, even=even)
                for fall in _FALLS
                for even in (False, True)
            ]
            for stack, _, held, planes, targets in random_questions(lab)
            if "confocal" not in stack.file
        ]
    )
    change = (psnr - psnr[:, :1]).reshape(len(psnr), len(_FALLS), 2)
    print("| light lost from scan to scan | mean change, dB | worst | evened out | worst |")
    print("|---|---|---|---|---|")
    for fall, (as_is, evened) in zip(_FALLS, change.transpose(1, 2, 0), strict=True):
        words = [f"{some.mean():+.2f} | {some.min():+.2f}" for some in (as_is, evened)]
        print(f"| {100 * fall:.0f} % | {' | '.join(words)} |")


def main() -> None:
    data = Path(sys.argv[1])
    kinds = "good", "accused", "dimmed", "named", "other", "fading"
    print("| stack | good sets of scans | accused | one dimmed | it is named | another is named "
          "| light falls: noticed |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for path in sorted(data.glob("*widefield.ome.tif")):
        counts = measure(np.asarray(read_image(path).data, np.float32))
        print(f"| {path.name} | " + " | ".join(str(counts[kind]) for kind in kinds) + " |")
    falling_light(data)


if __name__ == "__main__":
    main()
