"""Stacks that a camera took, as training and validation see them, the last quarter held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..core.arrays import AnyArray, Array, as_single, check_no_mask, real_array, real_values
from ..core.optics import Optics
from ..core.progress import tell
from ..core.scans import InputError
from ..io import even_step
from .check import Question
from .examples import ExampleConfig
from .fields import Field, Pool
from .learner import TrainConfig
from .sets import Stack
from .store import one_set

HELD_OUT = 0.25
"""Share of the field, at its far end along the longer side, that chooses the best weights."""

_FEWEST_PLANES = 9  # five scans with a plane between
_LEAST_DEPTH_DOF = 3.0
_SMALLEST = 64
_LARGEST_WINDOW = 256
_QUESTIONS = 12
_NARROWEST = 64  # in 32 pixels, a network that gained 0.4 dB in 64 seemed to lose 0.6 dB


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredField(Field):
    """A stack, or a region of one, that a camera took: the lowest plane first, in any real type."""

    heights_um: Array  # (Z,), of each plane above the lowest one

    def drawn(self, _target: str, _config: ExampleConfig, rng: np.random.Generator) -> Stack:
        """A random window, told as it is."""
        window: list[slice] = []
        for length in self.stack.shape[1:]:
            size = min(length, _LARGEST_WINDOW)
            start = int(rng.integers(0, length - size + 1))
            window.append(slice(start, start + size))
        pixels = self.stack[:, window[0], window[1]]
        step_dof = self.z_step_um / self.optics.depth_of_field_um
        return Stack(pixels, pixels, self.heights_um, self.optics, step_dof, counted=True)


def measured_field(
    stack: AnyArray, z_um: npt.ArrayLike, optics: Optics, name: str
) -> MeasuredField:
    """A user's stack as a field to learn from.

    Parameters
    ----------
    stack : numpy.ndarray, shape (Z, Y, X)
        Counts, at least 9 planes of 64 × 64 pixels.
    z_um : array_like, shape (Z,)
        Heights of its planes, in micrometres, rising or falling. They may scatter around even
        ones by a fifth of the step, as a stage's read-back does.
    optics : Optics
    name : str
        The layer or file, for messages and the card.

    Raises
    ------
    InputError
        If the stack is no stack, too thin or too small, or unevenly spaced.
    """
    called = f"'{name}'"
    check_no_mask(stack, called)
    stack = real_array(stack, called)
    if not np.can_cast(stack.dtype, np.float32):
        as_single(stack, called)  # refuses what it cannot hold
    if stack.ndim == 3 and stack.shape[-1] in (3, 4):
        raise InputError(
            f"{called} is an RGB image of shape {stack.shape}: adapting needs one fluorescence "
            "channel, a full z-stack (Z, Y, X)."
        )
    if stack.ndim != 3 or len(stack) < 2:
        raise InputError(
            f"{called} is one image, not a stack: adapting learns from a full z-stack (Z, Y, X), "
            "so take one of your sample."
        )
    heights = real_values(z_um, "The list of heights")
    step = even_step(heights) if len(heights) == len(stack) else None
    if step is None:
        raise InputError(
            f"The planes of {called} are not evenly spaced along z: adapting takes every n-th of "
            "them as a scan, so take a stack with one z step."
        )
    if step < 0:
        stack, heights = stack[::-1], heights[::-1]
    field = MeasuredField(stack, optics, abs(step), name, heights_um=heights - heights[0])
    _check_size(field)
    return field


def _check_size(field: MeasuredField) -> None:
    called, (planes, high, wide) = f"'{field.kind}'", field.stack.shape
    if planes < _FEWEST_PLANES:
        raise InputError(
            f"{called} has only {planes} planes: adapting needs a finely sampled stack of at least "
            f"{_FEWEST_PLANES}, since it rebuilds some planes from others."
        )
    depth, least = float(field.heights_um[-1]), _LEAST_DEPTH_DOF * field.optics.depth_of_field_um
    if depth < least:
        raise InputError(
            f"{called} is only {depth:.2g} µm deep: with these optics adapting needs at least "
            f"{least:.2g} µm (three depths of field)."
        )
    if min(high, wide) < _SMALLEST:
        raise InputError(
            f"{called} is only {high} × {wide} pixels: adapting needs at least "
            f"{_SMALLEST} × {_SMALLEST}."
        )


def split(field: MeasuredField) -> tuple[MeasuredField, MeasuredField]:
    """The part of a field to train on, and the part at its far end that is held out."""
    axis = 1 if field.stack.shape[1] > field.stack.shape[2] else 2
    cut = round((1 - HELD_OUT) * field.stack.shape[axis])
    near, far = np.split(field.stack, [cut], axis=axis)
    return replace(field, stack=near), replace(field, stack=far)


def held_out_notes(field: MeasuredField) -> list[str]:
    """A sentence when the part that is held out is too narrow to judge by; nothing otherwise."""
    side = min(split(field)[1].stack.shape[1:])
    if side >= _NARROWEST:
        return []
    return [
        f"The quarter of '{field.kind}' that is held out is {side} pixels wide, so its decibels "
        f"are uncertain: a field of {_NARROWEST / HELD_OUT:.0f} pixels or more would be judged "
        "better."
    ]


class StackPool(Pool):
    """Measured fields in memory, where training expects the fields of a folder."""

    def __init__(self, fields: Sequence[MeasuredField], folder: Path = Path()) -> None:
        self.folder, self.fields = folder, tuple(fields)

    def refresh(self) -> None:
        """Nothing comes by itself."""

    def kinds(self) -> set[str]:
        """The stacks' names."""
        return {field.kind for field in self.fields}

    def of_kinds(self, _kinds: Sequence[str]) -> npt.NDArray[np.int64]:
        """Nothing: no stack is of a kind of phantom."""
        return np.array([], int)

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, number: int) -> MeasuredField:
        return self.fields[number]


def stack_questions(
    pool: StackPool,
    config: TrainConfig,
    device: torch.device,
) -> Iterator[Question]:
    """What is asked of held-out regions, the same every time, with the noise that they have."""
    examples = replace(config.examples, targets=2)
    for number, field in enumerate(pool.fields):
        window = _richest(field)
        for n in range(_QUESTIONS):
            tell("Judging", number * _QUESTIONS + n, len(pool) * _QUESTIONS)
            rng, count = np.random.default_rng([number, n]), 2 + n % 2
            sets = one_set(window, examples, config.network, count, rng, device)
            yield Question(sets, (field.kind,), f"M = {count}")


def _richest(field: MeasuredField) -> MeasuredField:
    """The window of a large field where its brightest projection varies most."""
    rows, columns = (
        [slice(a, a + _LARGEST_WINDOW) for a in range(0, max(n - _LARGEST_WINDOW, 0) + 1, 128)]
        for n in field.stack.shape[1:]
    )
    brightest = field.stack[:: max(len(field.stack) // 8, 1)].max(axis=0).astype(np.float32)
    best = max(((r, c) for r in rows for c in columns), key=lambda at: float(brightest[at].std()))
    return replace(field, stack=field.stack[:, best[0], best[1]])
