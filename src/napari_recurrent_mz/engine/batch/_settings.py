"""What is done with every position of a batch, and one volume of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import check_choice
from ...core.methods import DEFAULT_METHOD, method_of
from ...core.scans import InputError, ZGrid
from ...io._parts import Part
from ...io._zarr import NGFF

FORMATS = ("ome.tif", "ome.zarr")


@dataclass(frozen=True)
class BatchSettings:
    """What is done with every position.

    Parameters
    ----------
    grid : ZGrid, optional
        Heights to reconstruct; by default from the lowest to the highest scan of each position
        in steps of about half a depth of field.
    planes : tuple of int, optional
        Planes of each stack that are its scans, the first one 0; by default all.
    z_step_um : float, optional
        Distance between planes, in micrometres; by default from the files.
    na, wavelength_um, immersion_index, pixel_um : float, optional
        The optics, lengths in micrometres; what is not given comes from the files.
    method : str, optional
        One of :data:`~.METHODS`.
    model : str, optional
        A bundled model or a file of weights.
    device : str, optional
        auto, cuda, mps or cpu.
    channel : int or str, optional
        Channel of files that hold several: its number, the first one 0, or its name.
    region : str, optional
        Part of the field, rows and columns in pixels, such as "0:512,256:512".
    repair : bool, optional
        Whether hot pixels are replaced, and scans given the light and the place of the others
        where they differ.
    format : {"ome.tif", "ome.zarr"}, optional
        By default OME-TIFF for files, OME-Zarr for OME-Zarrs and for time-lapses.
    ngff : {"0.5", "0.4"}, optional
        Version of OME-Zarr; 0.4, for programs that do not read the newer one, needs the format
        "ome.zarr".

    Raises
    ------
    InputError
        If the method, the format or the version is unknown, or fewer than two planes are named.
    """

    grid: ZGrid | None = None
    planes: tuple[int, ...] | None = None
    z_step_um: float | None = None
    na: float | None = None
    wavelength_um: float | None = None
    immersion_index: float | None = None
    pixel_um: float | None = None
    method: str = DEFAULT_METHOD
    model: str | None = None
    device: str = "auto"
    channel: int | str | None = None
    region: str | None = None
    repair: bool = False
    format: str | None = None
    ngff: str = NGFF[0]

    def __post_init__(self) -> None:
        method_of(self.method)
        if isinstance(self.channel, str) and self.channel.isdigit():
            object.__setattr__(self, "channel", int(self.channel))
        if self.format is not None:
            check_choice("format", self.format, FORMATS)
        if self.ngff not in NGFF or (self.ngff != NGFF[0] and self.format != "ome.zarr"):
            raise InputError(
                f"Results cannot be written as NGFF {self.ngff}: choose the format ome.zarr and "
                f"the version {' or '.join(NGFF)}, or leave the version out."
            )
        if self.planes is not None and len(self.planes) < 2:
            raise InputError("One plane is named: a volume needs at least two scans, add another.")

    @property
    def optics(self) -> dict[str, float | None]:
        """What is given of the optics, by name."""
        names = ("na", "wavelength_um", "immersion_index", "pixel_um")
        return {name: getattr(self, name) for name in names}

    def as_dict(self) -> dict[str, Any]:
        """Everything that decides what a volume looks like, JSON-able."""
        grid = self.grid
        return {
            "grid": [grid.start_um, grid.stop_um, grid.step_um] if grid else None,
            "planes": list(self.planes) if self.planes is not None else None,
            "z_step_um": self.z_step_um,
            "optics": self.optics,
            "method": self.method,
            "channel": self.channel,
            **({"region": self.region} if self.region else {}),
            **({"repair": True} if self.repair else {}),
            **({"ngff": self.ngff} if self.ngff != NGFF[0] else {}),
        }

    def digest(self, weights: str | None) -> str:
        """A short text that changes with any setting that a volume depends on.

        Parameters
        ----------
        weights : str or None
            SHA-256 of the weights file.
        """
        text = json.dumps({**self.as_dict(), "weights": weights}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True)
class Orders:
    """What all jobs of a batch have in common."""

    settings: BatchSettings
    output: Path  # the folder of the results
    digest: str  # of the settings
    stop: Path  # a file whose appearance ends the work
    threads: int | Mapping[str, int] | None = None  # of each process, or by a worker's address
    gpu_memory_gb: float | None = None  # most that each process may use; None is all
    again: bool = False  # whether what is finished is made again

    @property
    def run(self) -> str:
        """What tells this run of a batch from all others."""
        return self.stop.name


@dataclass(frozen=True)
class Job:
    """One volume to make: a position, or one time point of it."""

    position: str  #: what tables call it
    parts: tuple[Part, ...]  #: one stack, or single images of different heights
    output: Path  #: file or OME-Zarr folder that the volume goes to
    #: heights of the single images, in micrometres; None for a stack
    heights_um: tuple[float, ...] | None = None
    inside: str = ""  #: of an OME-Zarr plate: the field, as A/1/0; else empty
    time: int | None = None  #: the time point, from 0; None when there is one only
    points: int = 1  #: how many time points share ``output``
    #: why it cannot be done, in one sentence; empty when nothing is known against it
    trouble: str = ""

    @property
    def name(self) -> str:
        """Position and time point, for a person."""
        return self.position if self.time is None else f"{self.position}, time point {self.time}"

    @property
    def target(self) -> Path:
        """Where the image is: ``output``, or a group in it."""
        return self.output / self.inside if self.inside else self.output

    @property
    def in_time_lapse(self) -> bool:
        """Whether it is one time point of an OME-Zarr with a time axis."""
        return self.time is not None and self.points > 1
