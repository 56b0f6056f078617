"""A reconstruction in its thread: planes go into memory, or into a folder as they are made."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.progress import Stopped
from ...core.scans import Scan, ZGrid
from ...engine.recipe import Recipe
from ...io import VolumeWriter
from .guard import sentence_of
from .worker import Outcome, Rest

Limits = tuple[float, float]


@dataclass(frozen=True, eq=False)
class VolumeJob:
    """Everything a reconstruction needs; none of it belongs to napari."""

    recipe: Recipe
    order: tuple[int, ...]
    output: Path | None = None  # where the volume is written as it is made; None keeps it in memory

    @property
    def grid(self) -> ZGrid:
        """The planes that are wanted."""
        assert isinstance(self.recipe.target, ZGrid)
        return self.recipe.target

    def part_record(
        self, state: str, planes: Sequence[int], measured: Sequence[int]
    ) -> dict[str, Any]:
        """The metadata of a block of planes that were finished before a run ended early."""
        first, last = min(planes), max(planes)
        return {
            "state": state,
            "method": self.recipe.method,
            "scans": [{"name": s.name, "z_um": s.z_um} for s in self.recipe.scans],
            "finished_z_um": [float(z) for z in self.grid.z_um[first : last + 1]],
            "measured_planes": [i - first for i in sorted(measured)],
        }


@dataclass(frozen=True, eq=False)
class FinishedPlane:
    """A plane that is in the volume."""

    index: int
    measured: bool  # whether it is a scan
    values: Limits  # its least and greatest value
    levels: list[Any]  # the volume (Z, Y, X), and coarser ones where there are
    contrast: Limits  # show the scans well


class VolumeTarget:
    """The volume of a job, in memory or in its folder; MemoryError if there is no room for it."""

    def __init__(self, job: VolumeJob) -> None:
        shape = (len(job.grid), *job.recipe.shape)
        self._job, self._measured = job, list[int]()
        self._missing = set(range(len(job.grid)))
        self._writer: VolumeWriter | None = None
        if job.output is None:
            self._volume: Any = np.zeros(shape, np.float32)
        else:
            pixel_um = job.recipe.pixel_size_um
            self._volume = self._writer = VolumeWriter(job.output, shape, job.grid.z_um, pixel_um)
        self._contrast = percentile_limits(job.recipe.scans)

    @property
    def is_whole(self) -> bool:
        """Whether all planes are there."""
        return not self._missing

    def put(self, plane: Any) -> FinishedPlane:
        """Take a plane."""
        self._volume[plane.index] = plane.pixels
        self._missing.discard(plane.index)
        if plane.measured:
            self._measured.append(plane.index)
        values = (float(plane.pixels.min()), float(plane.pixels.max()))
        levels = [self._volume] if self._writer is None else self._writer.levels
        return FinishedPlane(plane.index, plane.measured, values, levels, self._contrast)

    def finish(self, provenance: dict[str, Any]) -> Path | None:
        """All is there: complete the file, if it is one."""
        return None if self._writer is None else self._writer.finish(provenance)

    def leave(self, state: str) -> Path | None:
        """Keep the planes that are written, if there are any, as a whole file of their own."""
        if self._writer is None:
            return None  # whoever shows the planes knows which are there
        planes = self._writer.finished_planes
        if not planes or self.is_whole:
            self._writer.discard()
            return None
        self._writer.keep_finished()
        return self._writer.finish(self._job.part_record(state, planes, self._measured))


def reconstruct_steps(job: VolumeJob, rest: Rest, *, stop: threading.Event) -> Iterator[object]:
    """Yield planes, notes and the check on the scans, and at last the outcome.

    What is finished is kept when the work is stopped or fails.
    """
    began = time.monotonic()
    target: VolumeTarget | None = None
    check: OwnSampleCheck | None = None
    try:
        from ...core.device import choose_device
        from ...engine import inference
        from ...engine.check import OwnSampleCheck

        target = VolumeTarget(job)
        recipe = inference.loaded(job.recipe)
        with contextlib.ExitStack() as at_end:
            at_end.enter_context(contextlib.suppress(Stopped))
            events: Any = inference.run(recipe, order=job.order, stopped=stop.is_set)
            at_end.callback(events.close)
            for event in events:
                if isinstance(event, inference.Plane):
                    yield target.put(event)
                    rest.take()
                elif isinstance(event, inference.Note):
                    yield event.sentence
                elif isinstance(event, OwnSampleCheck):
                    check = event
                    yield event
        if not target.is_whole:
            yield Outcome("cancelled", path=target.leave("cancelled"))
            return
        seconds = time.monotonic() - began
        provenance = recipe.provenance(choose_device(recipe.device), seconds, check)
        path = target.finish(provenance)
        yield Outcome("done", provenance=provenance, seconds=seconds, path=path)
    except Exception as error:
        path = None
        with contextlib.suppress(Exception):  # what went wrong is told already
            path = None if target is None else target.leave("failed")
        yield Outcome("failed", sentence_of(error), path=path)


def percentile_limits(scans: Sequence[Scan]) -> Limits:
    """Contrast limits over all scans: 0.5th and 99.98th percentile, never equal."""
    samples = np.concatenate([scan.pixels[::2, ::2].ravel() for scan in scans])
    low, high = (float(v) for v in np.percentile(samples, (0.5, 99.98)))
    return (low, high) if high > low else (float(samples.min()), float(samples.max()) + 1e-6)
