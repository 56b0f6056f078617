"""Stacks that a camera took, as training and validation see them.

Some planes of a stack are the scans, others the truth: what the camera gave, with the noise
that it has. The last quarter of the field, laterally, is held out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..core.arrays import as_single, real_array, real_values
from ..core.device import Device
from ..core.optics import Optics
from ..core.progress import Stopped, never
from ..core.scans import InputError, Scan
from ..io import even_step
from ..networks.architectures import Network
from ..networks.inputs import NetworkInputs, Prepared
from ..networks.recurrent_mz import NetworkConfig
from .examples import (
    Batch,
    ExampleConfig,
    Target,
    cached_inputs,
    choose_planes,
    choose_targets,
    cut_examples,
)
from .fields import Field, Pool
from .validation import Validation, gain_db, summary

HELD_OUT = 0.25
"""Share of the field, at its far end along the longer side, that chooses the best weights."""

_FEWEST_PLANES = 9  # five scans with a plane between
_LEAST_DEPTH_DOF = 3.0
_SMALLEST = 64
_LARGEST_WINDOW = 256
_QUESTIONS = 12
_TRIES = 50
_WHOLE = (slice(None), slice(None))


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredField(Field):
    """A stack, or a region of one, that a camera took: the lowest plane first, in any real type."""

    heights_um: npt.NDArray[np.float64]  # (Z,), of each plane above the lowest one


def measured_field(
    stack: npt.NDArray[Any], z_um: npt.ArrayLike, optics: Optics, name: str
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
    field = MeasuredField(stack, optics, abs(step), name, None, heights_um=heights - heights[0])
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


_Window = tuple[slice, slice]


def measured_examples(
    field: MeasuredField,
    own: np.random.Generator,
    rng: np.random.Generator,
    config: ExampleConfig,
    network: NetworkConfig,
    count: int,
    device: torch.device | None = None,
    object_path: Path | None = None,
) -> Batch:
    """Examples as :func:`~.make_examples` makes them, from planes as the camera gave them."""
    chosen, spacing = _choose_scans(field, own, config, count)
    order = own.permutation(chosen)
    window = _window(field, own, order)
    planes = choose_targets(rng, chosen, spacing, len(field.stack), config.targets)
    inputs = _inputs(field, order, window, network, device, object_path)
    return cut_examples(inputs, _targets(field, planes, window, inputs), rng, config)


def _choose_scans(
    field: MeasuredField, rng: np.random.Generator, config: ExampleConfig, count: int
) -> tuple[npt.NDArray[np.int64], float]:
    """Planes that serve as scans, rising, and their mean spacing in planes."""
    step_dof = field.z_step_um / field.optics.depth_of_field_um
    return choose_planes(rng, len(field.stack), step_dof, count, config)


def _window(
    field: MeasuredField, rng: np.random.Generator, planes: npt.NDArray[np.int64]
) -> _Window:
    """A random window in which every one of some planes shows something."""
    for _ in range(_TRIES):
        spans = []
        for length in field.stack.shape[1:]:
            size = min(length, _LARGEST_WINDOW)
            start = int(rng.integers(0, length - size + 1))
            spans.append(slice(start, start + size))
        window = (spans[0], spans[1])
        if float(np.ptp(_counts(field, planes, window), axis=(1, 2)).min()) > 0:
            return window
    raise InputError(f"'{field.kind}' shows nothing: most of its planes hold one value everywhere.")


def _counts(
    field: MeasuredField, planes: npt.NDArray[np.int64] | int, window: _Window
) -> npt.NDArray[np.float32]:
    """A window of planes as the camera gave them."""
    return np.array(field.stack[(planes, *window)], dtype=np.float32)


def _inputs(
    field: MeasuredField,
    planes: npt.NDArray[np.int64],
    window: _Window,
    network: NetworkConfig,
    device: torch.device | None,
    object_path: Path | None,
) -> NetworkInputs:
    scans = [
        Scan(image, float(field.heights_um[plane]), f"{field.kind} plane {plane}")
        for image, plane in zip(_counts(field, planes, window), planes, strict=True)
    ]
    reach_um = (0.0, float(field.heights_um[-1]))
    return cached_inputs(scans, field.optics, network, reach_um, device, object_path)


def _targets(
    field: MeasuredField, planes: npt.NDArray[np.int64], window: _Window, inputs: NetworkInputs
) -> Iterator[Target]:
    """Planes as the camera gave them, normalised as the scans are."""

    def truth(plane: int, _: Prepared) -> torch.Tensor:
        counts = inputs.normalisation.apply(_counts(field, plane, window))
        return torch.from_numpy(counts).to(inputs.device)

    for plane in planes:
        yield Target(float(field.heights_um[plane]), partial(truth, int(plane)))


def judge(
    network: Network,
    pool: StackPool,
    examples: ExampleConfig,
    *,
    device: Device,
    objects_folder: Path | None = None,
    stopped: Callable[[], bool] = never,
) -> Validation:
    """Gain over linear MMSE on held-out regions, in dB of mean squared error, noise included.

    The questions are the same whenever it is asked. ``stopped`` is asked before every one and ends
    them in :class:`~.Stopped`.
    """
    answers: list[tuple[str, str, float]] = []
    for number in range(len(pool)):
        field = _richest(pool[number])
        for n in range(_QUESTIONS):
            if stopped():
                raise Stopped
            rng, count = np.random.default_rng([number, n]), 2 + n % 2
            scans, spacing = _choose_scans(field, rng, examples, count)
            planes = choose_targets(rng, scans, spacing, len(field.stack), 2)
            path = objects_folder and objects_folder / f"held_out_{number}_{n}.npy"
            inputs = _inputs(field, scans, _WHOLE, network.config, device.torch, path)
            targets = _targets(field, planes, _WHOLE, inputs)
            answers.append((field.kind, f"M = {count}", gain_db(network, inputs, targets, device)))
    return summary(answers)


def _richest(field: MeasuredField) -> MeasuredField:
    """The window of a large field where its brightest projection varies most."""
    rows, columns = (
        [slice(a, a + _LARGEST_WINDOW) for a in range(0, max(n - _LARGEST_WINDOW, 0) + 1, 128)]
        for n in field.stack.shape[1:]
    )
    brightest = field.stack[:: max(len(field.stack) // 8, 1)].max(axis=0).astype(np.float32)
    best = max(((r, c) for r in rows for c in columns), key=lambda at: float(brightest[at].std()))
    return replace(field, stack=field.stack[:, best[0], best[1]])
