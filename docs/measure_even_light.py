"""What less light in a scan does, and how often it is noticed; a folder of real stacks is given.

How often a scan with 20 % less light is named, and how often another one or a good stack is: planes
of the wide-field stacks are scans, 3 to 20 planes apart; first none is dimmed, then the first one,
then one in the middle, then each a tenth more than the one before. Then what that costs on random
sets of three to five planes, as it is and evened out where it is noticed::

    python docs/measure_even_light.py ../shared/data
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_recurrent_mz.core.arrays import Array
from napari_recurrent_mz.core.scans import Scan, ScanStack
from napari_recurrent_mz.engine.check import LINEAR
from napari_recurrent_mz.estimates.faults import UnevenLight, uneven_light
from napari_recurrent_mz.lab.experiments.lab import HeldOutStack, Lab, Settings, score
from napari_recurrent_mz.lab.experiments.real import random_questions
from napari_recurrent_mz.lab.experiments.stacks import TITLES, load, present

_APART = (3, 5, 8, 12, 16, 20)
_GAIN = 0.8
_FALL = 0.1


def falls(part: float) -> Callable[[int], Array]:
    """Light of scans, natural logarithm, each with so much less than the one before."""
    return lambda count: np.log1p(-part) * np.arange(count)


def one_less(part: float) -> Callable[[int], Array]:
    """The same where one scan, in the middle, has less than all others."""
    return lambda count: np.where(np.arange(count) == count // 2, np.log1p(-part), 0.0)


_LIGHT: dict[str, Callable[[int], Array]] = {
    "all the same": falls(0.0),
    "10 % less in one": one_less(0.1),
    "20 % less in one": one_less(0.2),
    "40 % less in one": one_less(0.4),
    "5 % less from scan to scan": falls(0.05),
    "10 % less from scan to scan": falls(0.1),
    "20 % less from scan to scan": falls(0.2),
}


def measure(held: HeldOutStack) -> Counter[str]:
    """How many good sets of scans are accused, one dimmed scan and falling light are noticed."""
    stack = held.seen.astype(np.float32)
    dark, counts = float(np.quantile(stack, 0.001)), Counter[str]()

    def found(images: np.ndarray) -> UnevenLight | None:
        return uneven_light(ScanStack(images, held.z_um[planes]), held.optics)

    for apart in _APART:
        for count in (3, 4, 5):
            for first in range(0, len(stack) - (count - 1) * apart, apart):
                planes = first + apart * np.arange(count)
                counts["good"] += 1
                counts["accused"] += found(stack[planes]) is not None
                for dimmed, what in ((0, "outer"), (count // 2, "inner")):
                    scans = stack[planes]
                    scans[dimmed] = dark + _GAIN * (scans[dimmed] - dark)
                    uneven = found(scans)
                    if uneven is not None:
                        is_named = np.abs(np.log(uneven.gains)).argmax() == dimmed
                        counts[what if is_named else f"{what}, another"] += 1
                fading = (1 - _FALL) ** np.arange(count, dtype=np.float32)
                faded = dark + fading[:, None, None] * (stack[planes] - dark)
                counts["fading"] += found(faded) is not None
    return counts


def dimmed_psnr(
    lab: Lab, held: HeldOutStack, planes: list[int], targets: list[int], left: Array, *, even: bool
) -> float:
    """Mean PSNR of planes from scans with so much light left, with that light given back."""
    dark, z_um = float(np.quantile(held.seen, 0.001)), held.z_um[planes]
    pixels = [
        dark + np.exp(gain, dtype=np.float32) * (held.seen[i] - dark)
        for i, gain in zip(planes, left, strict=True)
    ]
    uneven = uneven_light(ScanStack(np.stack(pixels), z_um), held.optics) if even else None
    if uneven is not None:
        pixels = [uneven.evened(image, index) for index, image in enumerate(pixels)]
        left = left - np.log(uneven.gains)
    gains = np.exp(np.interp(held.z_um, z_um, left))
    scans = [Scan(image, float(z)) for image, z in zip(pixels, z_um, strict=True)]
    rebuilt = lab.rebuild(held, LINEAR, scans, targets)
    scores = [score(held, i, dark + (plane - dark) / gains[i])["psnr"] for i, plane in rebuilt]
    return float(np.mean(scores))


def cost(data: Path) -> None:
    """A table: what other light costs linear MMSE, and what evening it out brings back."""
    lab = Lab(replace(Settings(), data=data, device="cpu"))
    psnr = np.array(
        [
            [
                dimmed_psnr(lab, held, planes, targets, light(len(planes)), even=even)
                for light in _LIGHT.values()
                for even in (False, True)
            ]
            for stack, _, held, planes, targets in random_questions(lab)
            if "confocal" not in stack.file and len(planes) > 2
        ]
    )
    change = (psnr - psnr[:, :1]).reshape(len(psnr), len(_LIGHT), 2)
    print(f"| light, {len(psnr)} sets | mean change, dB | worst | evened out | worst |")
    print("|---|---|---|---|---|")
    for what, (as_is, evened) in zip(_LIGHT, change.transpose(1, 2, 0), strict=True):
        words = [f"{some.mean():+.2f} | {some.min():+.2f}" for some in (as_is, evened)]
        print(f"| {what} | {' | '.join(words)} |")


def main() -> None:
    data = Path(sys.argv[1])
    kinds = "good", "accused", "inner", "inner, another", "outer", "outer, another", "fading"
    print("| stack | sets | accused as they are | an inner one dimmed: named | another named "
          "| an outer one: named | another named | light falls: noticed |\n"
          "|---|---|---|---|---|---|---|---|")  # fmt: skip
    lab = Lab(replace(Settings(), data=data, device="cpu"))
    for stack in present(lab):
        if "confocal" not in stack.file:
            counts = measure(load(lab, stack, crop=lab.settings.real_size))
            words = " | ".join(str(counts[kind]) for kind in kinds)
            print(f"| {TITLES[stack.file]} | {words} |", flush=True)
    cost(data)


if __name__ == "__main__":
    main()
