"""Content of an image file: channels of one size at one place, lengths in micrometres."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.arrays import Array, real_number
from ._facts import even_step

OnPlane = Callable[[int, int], object]
"""Called with how many planes are written, and of how many."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where the voxels of an image are; None where that is not known."""

    pixel_um: float | None = None  #: pixel size, in micrometres
    z_um: Array | None = None  #: (Z,), heights of the planes, in micrometres
    #: the z step where ``z_um`` does not say it: that of a single plane
    z_step_um: float | None = None
    #: position (y, x) of the first pixel, in micrometres
    origin_um: tuple[float, float] = (0.0, 0.0)
    time_step_s: float | None = None  #: from one time point to the next, in seconds

    @property
    def step_um(self) -> float | None:
        """The z step; None where it is not known, or there is no one step."""
        if self.z_step_um is not None or self.z_um is None:
            return self.z_step_um
        return even_step(self.z_um)


@dataclass(frozen=True, eq=False)
class Channel:
    """A channel of an image."""

    pixels: Any  #: (Z, Y, X) or (Y, X), read plane by plane, so that it may lie on the disk
    name: str = ""
    contrast: tuple[float, float] = (0.0, 1.0)  #: limits that show it well


@dataclass(frozen=True, eq=False)
class NewImage:
    """An image that is to be written; its channels have one shape and type."""

    name: str
    channels: Sequence[Channel]
    place: Place
    provenance: Mapping[str, Any] = field(default_factory=dict)  # anything JSON can hold

    @classmethod
    def empty(
        cls,
        name: str,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        place: Place,
        channels: Sequence[Channel] = (),
    ) -> NewImage:
        """An image of one or more channels ([T,] Z, Y, X) whose planes come later."""
        nothing = np.broadcast_to(np.zeros((), dtype), shape)
        to_come = [replace(channel, pixels=nothing) for channel in channels or (Channel(None),)]
        return cls(name, to_come, place)

    @property
    def axes(self) -> str:
        """A letter for every length of the shape."""
        letters = "TZYX"[-len(self.channels[0].pixels.shape) :]
        time = "T" * letters.count("T")  # first, as OME-Zarr has it
        return time + "C" * (len(self.channels) > 1) + letters.removeprefix("T")

    @property
    def shape(self) -> tuple[int, ...]:
        """([T,] [C,] [Z,] Y, X)."""
        pixels = self.channels[0].pixels.shape
        lengths = dict(zip("TZYX"[-len(pixels) :], pixels, strict=True), C=len(self.channels))
        return tuple(int(lengths[axis]) for axis in self.axes)

    @property
    def n_planes(self) -> int:
        """The number of planes (Y, X) of all channels."""
        return int(np.prod(self.shape[:-2], dtype=int))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of all channels, in the byte order of this computer."""
        dtype: np.dtype[Any] = np.dtype(self.channels[0].pixels.dtype).newbyteorder("=")
        return dtype


_NOTHING_UM = 1e-9


def plain(length: float) -> float:
    """A length without the noise that computing has left in its last digit."""
    return float(f"{length:.15g}") if abs(length) > _NOTHING_UM else 0.0


def record_of_channel(provenance: Mapping[str, Any], channel: int) -> Mapping[str, Any]:
    """How a channel was made: a file of several channels keeps a record of each."""
    records = provenance.get("channels")
    if isinstance(records, Sequence) and channel < len(records):
        record = records[channel]
        return record if isinstance(record, Mapping) else {}
    return provenance


BY_TIME = "z_um_by_time"  # in a record: heights (T, Z), where time points have heights of their own
FIRST_POINT = "first_time_point"  # in a record: where a time-lapse begins, in its steps


def first_point_of(record: Mapping[str, Any]) -> float:
    """Where a time-lapse with this record begins along t, in its steps."""
    first = real_number(record.get(FIRST_POINT))
    return first if math.isfinite(first) else 0.0


def moved_um(
    record: Mapping[str, Any], z_um: npt.NDArray[np.float64], points: int
) -> npt.NDArray[np.float64] | None:
    """Heights (T, Z) of time points, the first of which has these; None where all have them."""
    try:
        by_time = np.asarray(record.get(BY_TIME, ()), np.float64)
    except (TypeError, ValueError):  # anybody can write a record
        return None
    if by_time.shape != (points, *z_um.shape) or not np.isfinite(by_time).all():
        return None
    return np.asarray(z_um + (by_time - by_time[0]))
