"""Real, fully sampled stacks that nothing was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...core.optics import Optics
from ...io import read_image, stack_heights
from ..shared import Goal
from .lab import HeldOutStack, Lab


@dataclass(frozen=True)
class Question:
    """Planes that serve as scans, and what is to be reached between them."""

    planes: tuple[int, ...]
    to_beat: str  # what linear interpolation and linear MMSE reach, in dB
    goal: Goal
    over_linear: bool = False  # whether the goal is a gain over linear MMSE instead of a PSNR


@dataclass(frozen=True)
class RealStack:
    """A stack, its optics (the pixel and the z step are in the file), and the questions."""

    file: str  # its name, without ``.ome.tif``
    title: str
    na: float
    wavelength_um: float
    immersion_index: float
    questions: tuple[Question, ...] = ()
    every: int = 1  # judge one plane in so many; more than 1 where the stack is large

    def methods(self, wanted: Sequence[str]) -> list[str]:
        """Those of ``wanted`` that are worth their time: iterating over a large stack is not."""
        return [m for m in wanted if self.every == 1 or m != "richardson-lucy"]


STACKS = (
    RealStack(
        "celegans-embryo-fitc-widefield", "embryo, FITC, 100×/1.4", 1.4, 0.53, 1.518,
        (
            Question((14, 52, 90), "linear 30.5, linear MMSE 33.4 dB", Goal(34.4, "dB")),
            Question((20, 44, 68, 92), "linear 32.0, linear MMSE 34.4 dB", Goal(35.4, "dB")),
        ),
        every=3,
    ),
    RealStack(
        "nucleus-hoechst-widefield", "nucleus, wide-field, 40×/1.2 water", 1.2, 0.455, 1.33,
        (Question((12, 22, 32), "linear MMSE 38.9 dB", Goal(0.5, "dB"), over_linear=True),),
    ),
    RealStack(
        "bead-560nm-widefield", "bead, 0.6 µm, NA 1.1 water", 1.1, 0.6, 1.33,
        (Question((30, 50, 70), "linear MMSE 28.5 dB", Goal(2, "dB"), over_linear=True),),
    ),
    RealStack(
        "bead-520nm-na0.85-widefield", "bead, 0.52 µm, NA 0.85 air", 0.85, 0.52, 1.0,
        (Question((6, 12, 18), "linear MMSE 31.0 dB", Goal(2, "dB"), over_linear=True),),
    ),
    RealStack(
        "nucleus-hoechst-confocal", "nucleus, confocal, 40×/1.2 water", 1.2, 0.455, 1.33,
    ),
)  # fmt: skip
"""Stacks that are known: their optics are not in the files."""

TITLES = {stack.file: stack.title for stack in STACKS}


def present(lab: Lab) -> Iterator[RealStack]:
    """The known stacks that are in the settings' folder; the missing ones are noted."""
    if lab.settings.data is None:
        lab.note("Real stacks: not measured, no folder of them was given (--data FOLDER).")
        return
    for stack in STACKS:
        if path_of(lab, stack):
            yield stack
        else:
            lab.note(f"{stack.title}: not measured, {stack.file}.ome.tif is not in the folder.")


def path_of(lab: Lab, stack: RealStack) -> Path | None:
    """Where a stack is, if it is there."""
    path = (lab.settings.data or Path()) / f"{stack.file}.ome.tif"
    return path if lab.settings.data and path.is_file() else None


def load(lab: Lab, stack: RealStack, *, crop: int) -> HeldOutStack:
    """A stack that is present; ``crop`` keeps at most so many pixels a side, about the middle."""
    path = path_of(lab, stack)
    assert path is not None
    return _read(path, stack, crop)


@lru_cache(maxsize=1)
def _read(path: Path, stack: RealStack, crop: int) -> HeldOutStack:
    image = read_image(path)
    starts = [max(0, (n - crop) // 2) for n in image.stack.shape[1:]]
    y, x = (slice(start, start + crop) for start in starts)
    truth = np.ascontiguousarray(image.stack[:, y, x], np.float32)
    heights = np.asarray(stack_heights(image, None), np.float64)
    assert image.pixel_um is not None  # these files all have it
    optics = Optics(stack.na, stack.wavelength_um, stack.immersion_index, image.pixel_um)
    if heights[-1] < heights[0]:
        truth, heights = truth[::-1], heights[::-1]
    return HeldOutStack(truth, truth, heights - heights[0], optics)
