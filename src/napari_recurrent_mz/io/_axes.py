"""The images of a file and the stacks in them: from the axes of a file to (Z, Y, X)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import AnyArray
from ..core.scans import InputError


@dataclass(frozen=True)
class Content:
    """An image in a file and its size."""

    path: str
    inside: str  # group of an OME-Zarr, position of a TIFF; empty when it is all there is
    axes: str = ""  # a letter for each length: T, C, Z, Y, X and others
    shape: tuple[int, ...] = ()
    trouble: str = ""  # why it cannot be read, where others in the file can

    def length(self, axis: str) -> int:
        """How many entries the axis of a letter has, 1 when there is none."""
        index = self.axes.find(axis)
        return 1 if index < 0 else self.shape[index]

    def with_z(self, z_axis: str) -> Content:
        """The same, with the planes along the axis of a letter taken for heights."""
        name = Part(self.path, self.inside).name
        return replace(self, axes=axes_with_z(self.axes, self.shape, z_axis, name))


@dataclass(frozen=True)
class Part:
    """One z-stack or image of a file."""

    path: str
    inside: str = ""  # as in Content
    time: int | None = None  # from 0; None where there is one only
    channel: int | None = None  # the same
    z_axis: str = ""  # C or T, where these planes are heights whatever the file calls them

    @property
    def name(self) -> str:
        """Name of the part in a sentence."""
        name = Path(self.path).name
        if self.inside:
            name = f"{name}/{self.inside}"
        return name if self.time is None else f"{name}, time point {self.time}"


AXIS_WORDS = {"C": "channel", "T": "time point"}

SEVERAL = "several images"
"""The kind of error that a choice of channel, time point or position answers."""


def axes_with_z(axes: str, shape: Sequence[int], z_axis: str, name: str) -> str:
    """The letters of axes once those of channels (C) or times (T) stands for heights, and is Z."""
    if not z_axis:
        return axes
    size = dict(zip(axes, shape, strict=True))
    words = AXIS_WORDS[z_axis]
    if size.get(z_axis, 1) < 2:
        raise InputError(f"'{name}' has one {words} only, so these cannot be its heights.")
    if size.get("Z", 1) > 1:
        raise InputError(
            f"'{name}' has {size['Z']} planes along z already, so its {words}s are no heights."
        )
    return axes.translate(str.maketrans(f"{z_axis}Z", f"Z{z_axis}"))


class SomePlanes:
    """A stack of shape (Z, Y, X) of which some planes were read."""

    ndim = 3

    def __init__(self, shape: tuple[int, ...], planes: Mapping[int, AnyArray]) -> None:
        self.shape = shape
        self._planes = planes

    def __getitem__(self, plane: int) -> AnyArray:
        return self._planes[plane]


def _entry(part: Part, letter: str, length: int) -> slice:
    """What a part takes along one axis."""
    at = {"T": part.time, "C": part.channel}.get(letter)
    if at is None:
        return slice(None)
    if not 0 <= at < length:
        of = replace(part, time=None).name
        which = f"its {length} are numbered 0 to {length - 1}" if length > 1 else "it has one"
        raise InputError(f"'{of}' has no {AXIS_WORDS[letter]} {at}: {which}.")
    return slice(at, at + 1)


class StackSelection:
    """What a part takes of an image with these axes: ``index`` gives a stack of ``shape``."""

    index: tuple[slice, ...]
    shape: tuple[int, ...]  # (Z, Y, X)

    def __init__(self, part: Part, axes: str, shape: Sequence[int]) -> None:
        self.name, self.lengths = part.name, tuple(shape)
        self.axes = axes = axes_with_z(axes, shape, part.z_axis, part.name)
        lengths = {"T": 1, "C": 1} | dict(zip(axes, shape, strict=True))
        entries = {letter: _entry(part, letter, length) for letter, length in lengths.items()}
        self.index = tuple(entries[letter] for letter in axes)
        zyx = self.squeeze(np.broadcast_to(np.uint8(0), tuple(shape))[self.index]).shape
        self.shape = zyx if len(zyx) == 3 else (1, *zyx)

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the image is left out."""
        return all(entry == slice(None) for entry in self.index)

    def existing(self, planes: Sequence[int]) -> list[int]:
        """Those of the planes that are there, rising."""
        return sorted({plane for plane in planes if 0 <= plane < self.shape[0]})

    def read(
        self, array: Any, planes: Sequence[int] | None
    ) -> tuple[Any, tuple[slice | list[int], ...]]:
        """The pixels of an :class:`ImageFile` out of a lazy array, and the index that was read."""
        # ``array`` takes a list of entries along one axis at most, as a Dask array does.
        if planes is None:
            return self.squeeze(np.asarray(array[self.index])), self.index
        numbers = self.existing(planes)
        if not numbers:
            return self.data({}), ()
        long = [a for a, n in zip(self.axes, self.lengths, strict=True) if n > 1]
        z = next((a for a in long if a not in "TCZYX"), "Z")
        entries = zip(self.axes, self.index, strict=True)
        index = tuple(numbers if letter == z else entry for letter, entry in entries)
        pixels = self.squeeze(np.asarray(array[index])).reshape(len(numbers), *self.shape[1:])
        return self.data(dict(zip(numbers, pixels, strict=True))), index

    def data(self, planes: Mapping[int, AnyArray]) -> Any:
        """Planes by number as the pixels of an :class:`ImageFile`; a single image is (Y, X)."""
        if self.shape[0] > 1:
            return SomePlanes(self.shape, planes)
        return planes[0] if planes else np.broadcast_to(np.uint8(0), self.shape[1:])

    def squeeze(self, pixels: AnyArray) -> AnyArray:
        """Pixels that were taken by the index, as (Z, Y, X) or (Y, X); a third long axis is z."""
        name, axes = self.name, self.axes
        size = dict(zip(axes, pixels.shape, strict=True))
        if size.get("S", 1) > 1:
            raise InputError(
                f"'{name}' is an RGB image ({size['S']} colours): "
                "give one fluorescence channel as a grey-scale image."
            )
        for letter, option in (("C", "channel"), ("T", "time")):
            count = size.get(letter, 1)
            if count > 1:
                words = f"{count} {AXIS_WORDS[letter]}s"
                heights = f" (if they are heights, say --z-axis {option})"
                raise InputError(
                    f"'{name}' has {words}: choose one with --{option}, 0 to {count - 1}"
                    f"{heights if size.get('Z', 1) == 1 else ''}.",
                    SEVERAL,
                )
        long = [axis for axis in axes if size[axis] > 1 and axis not in "YX"]
        if len(long) > 1:
            raise InputError(
                f"'{name}' has the axes {axes} of shape {pixels.shape}: "
                "give a stack (Z, Y, X) or one image (Y, X)."
            )
        if "Y" not in size or "X" not in size:
            raise InputError(f"'{name}' holds no 2-D image (axes {axes}): give an image (Y, X).")
        order = [axes.index(axis) for axis in (*long, "Y", "X")]
        others = [n for n in range(len(axes)) if n not in order]
        return pixels.transpose(others + order).reshape([pixels.shape[n] for n in order])
