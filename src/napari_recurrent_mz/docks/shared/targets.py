"""Where the planes of a run go, in its thread: into memory, or into a folder as they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.scans import Scan, ZGrid
from ...engine.recipe import Recipe

Limits = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Job:
    """Everything a reconstruction needs; none of it belongs to napari."""

    recipe: Recipe
    order: tuple[int, ...]
    output: Path | None = None
    """Where the volume is written as it is made; None keeps it in memory."""

    @property
    def grid(self) -> ZGrid:
        """The planes that are wanted."""
        assert isinstance(self.recipe.target, ZGrid)
        return self.recipe.target


@dataclass(frozen=True, eq=False)
class Written:
    """A plane that is in the volume.

    Attributes
    ----------
    index : int
        Its number.
    measured : bool
        Whether it is a scan.
    values : tuple of float
        Its least and greatest value.
    levels : list of array
        The volume (Z, Y, X), and coarser ones where there are.
    contrast : tuple of float
        Limits that show the scans well.
    """

    index: int
    measured: bool
    values: Limits
    levels: list[Any]
    contrast: Limits


class Memory:
    """A volume in memory."""

    def __init__(self, job: Job) -> None:
        self._volume = np.zeros((len(job.grid), *job.recipe.shape), np.float32)
        self._contrast = percentile_limits(job.recipe.scans)
        self._left = set(range(len(job.grid)))

    @property
    def is_whole(self) -> bool:
        """Whether all planes are there."""
        return not self._left

    def put(self, plane: Any) -> Written:
        """Take a plane."""
        self._volume[plane.index] = plane.pixels
        self._left.discard(plane.index)
        return _written(plane, [self._volume], self._contrast)

    def finish(self, made: dict[str, Any]) -> Path | None:  # noqa: ARG002
        """All is there."""
        return None

    def leave(self, state: str) -> Path | None:  # noqa: ARG002
        """The planes that are there stay: whoever shows them knows which."""
        return None


class Disk:
    """A volume that is written as it is made."""

    def __init__(self, job: Job) -> None:
        from ...io import VolumeWriter

        assert job.output is not None
        shape = (len(job.grid), *job.recipe.shape)
        self._job = job
        self._measured: list[int] = []
        self._contrast = percentile_limits(job.recipe.scans)
        self._writer = VolumeWriter(job.output, shape, job.grid.z_um, job.recipe.pixel_size_um)

    @property
    def is_whole(self) -> bool:
        """Whether all planes are written."""
        return len(self._writer.finished_planes) == len(self._job.grid)

    def put(self, plane: Any) -> Written:
        """Write a plane."""
        self._writer[plane.index] = plane.pixels
        if plane.measured:
            self._measured.append(plane.index)
        return _written(plane, self._writer.levels, self._contrast)

    def finish(self, made: dict[str, Any]) -> Path | None:
        """All is written."""
        return self._writer.finish(made)

    def leave(self, state: str) -> Path | None:
        """Keep the planes that are written, if there are any, as a whole file of their own."""
        planes = self._writer.finished_planes
        if not planes or self.is_whole:
            self._writer.discard()
            return None
        self._writer.keep_finished()
        return self._writer.finish(part_record(self._job, state, planes, self._measured))


def target_for(job: Job) -> Memory | Disk:
    """Where a job's planes go."""
    return Memory(job) if job.output is None else Disk(job)


def part_record(
    job: Job, state: str, planes: Sequence[int], measured: Sequence[int]
) -> dict[str, Any]:
    """What is told of a block of planes that were finished before a run ended early."""
    first, last = min(planes), max(planes)
    return {
        "state": state,
        "method": job.recipe.method,
        "scans": [{"name": s.name, "z_um": s.z_um} for s in job.recipe.scans],
        "finished_z_um": [float(z) for z in job.grid.z_um[first : last + 1]],
        "measured_planes": [i - first for i in sorted(measured)],
    }


def percentile_limits(scans: Sequence[Scan]) -> Limits:
    """Contrast limits over all scans: 0.5th and 99.98th percentile, never equal."""
    samples = np.concatenate([scan.pixels[::2, ::2].ravel() for scan in scans])
    low, high = (float(v) for v in np.percentile(samples, (0.5, 99.98)))
    return (low, high) if high > low else (float(samples.min()), float(samples.max()) + 1e-6)


def _written(plane: Any, levels: list[Any], contrast: Limits) -> Written:
    values = (float(plane.pixels.min()), float(plane.pixels.max()))
    return Written(plane.index, plane.measured, values, levels, contrast)
