"""A reconstruction in a thread: its job, the planes that are made, and where they are put."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.device import choose_device
from ...core.errors import sentence_of
from ...core.progress import Stopped
from ...core.scans import Scan, ZGrid, contrast_limits
from ...engine.recipe import Recipe
from ...io import Place, VolumeWriter
from ...io._channels import FIRST_POINT
from ...io._time_lapse import TimePoint, make_time_lapse, resize_time_lapse
from ...io._zarr import NGFF
from ..shared.layers import plane_of
from ..shared.worker import Outcome, Rest

if TYPE_CHECKING:
    from ...engine.check import OwnSampleCheck

Limits = tuple[float, float]


@dataclass(frozen=True, eq=False)
class ScanPixels:
    """Where the pixels of a scan are at every time point; nothing of it belongs to napari."""

    pixels: Any  # ([[T,] Z,] Y, X), perhaps lazy
    plane: int
    z_um: tuple[float, ...]
    name: str

    def scan(self, frame: int) -> Scan:
        """Read it at one time point."""
        name = f"{self.name}, time point {frame}"
        return Scan(plane_of(self.pixels, self.plane, frame, name), self.z_um[frame], name)


@dataclass(frozen=True, eq=False)
class MadeVolume:
    """A finished volume; nothing of it belongs to napari."""

    pixels: Any  # ([T,] Z, Y, X), perhaps lazy
    record: Mapping[str, Any]  # of its errors


@dataclass(frozen=True, eq=False)
class VolumeJob:
    """Everything a reconstruction needs; none of it belongs to napari."""

    recipe: Recipe  # of a time-lapse, of its first time point
    order: tuple[int, ...]
    output: Path | None = None  # where the volume is written as it is made; None keeps it in memory
    lapse: tuple[ScanPixels, ...] = ()  # the scans of a time-lapse, which becomes (T, Z, Y, X)
    frames: int = 1
    ngff: str = NGFF[0]  # version of OME-Zarr that ``output`` is written as
    origin_um: tuple[float, float] = (0.0, 0.0)  # (y, x) of the first pixel of the lowest scan
    time_step_s: float | None = None  # of a time-lapse, where it is known
    first_point: float = 0.0  # where a time-lapse begins along t, in its steps
    time_point: int | None = None  # of several, the one that is made
    errors_of: MadeVolume | None = None  # whose expected errors are made, instead of a volume

    @property
    def grid(self) -> ZGrid:
        assert isinstance(self.recipe.target, ZGrid)
        return self.recipe.target

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X) of the volume, at one time point."""
        return len(self.grid), *self.recipe.shape

    @property
    def planes(self) -> int:
        """How many there are at all time points."""
        return self.frames * len(self.grid)

    def recipe_of(self, frame: int, loaded: Recipe, method: str) -> Recipe:
        """The recipe of a time point, with the model of the first, and the method it came to."""
        if not frame:
            return loaded
        return replace(loaded, scans=[one.scan(frame) for one in self.lapse], method=method)

    def events(self, now: Recipe, frame: int, stopped: Callable[[], bool]) -> Iterator[Any]:
        """Planes, and what else there is to say, of a time point with this recipe."""
        if self.errors_of is None:
            from ...engine import inference

            return inference.run(now, order=self.order, stopped=stopped)
        from ...engine.voxel_errors import error_planes

        volume = self.errors_of.pixels[frame] if self.lapse else self.errors_of.pixels
        return error_planes(now, volume, order=self.order, stopped=stopped)

    def part_record(
        self, state: str, planes: Sequence[int], measured: Sequence[int]
    ) -> dict[str, Any]:
        """The metadata of a block of planes that were finished before a run ended early."""
        first, last = min(planes), max(planes)
        return {
            **self._begun(state),
            "finished_z_um": [float(z) for z in self.grid.z_um[first : last + 1]],
            "measured_planes": [i - first for i in sorted(measured)],
        }

    def lapse_record(self, state: str, frames: int) -> dict[str, Any]:
        """The metadata of the first time points of a run that goes on, or ended early."""
        begin = {FIRST_POINT: self.first_point}
        return {**self._begun(state), **begin, "finished_time_points": frames}

    def record_of(
        self, recipe: Recipe, seconds: float, check: OwnSampleCheck | None, notes: Sequence[str]
    ) -> dict[str, Any]:
        """The metadata of what has become whole, by the recipe of its first time point."""
        if self.errors_of is not None:
            return dict(self.errors_of.record)
        record = recipe.provenance(choose_device(recipe.device), seconds, check)
        if notes:
            record["notes"] = list(notes)
        if self.time_point is not None:
            record["time_point"] = self.time_point
        if self.lapse:
            record |= {"time_points": self.frames, FIRST_POINT: self.first_point}
            heights = list(zip(*(one.z_um for one in self.lapse), strict=True))
            if len(set(heights)) > 1:
                record["scans_z_um_by_time"] = heights
        return record

    def state_record(self, state: str) -> dict[str, Any]:
        """The metadata while nothing else is sure: how it stands, and whether it is of errors."""
        image = {} if self.errors_of is None else {"image": self.errors_of.record["image"]}
        return {"state": state, **image}

    def _begun(self, state: str) -> dict[str, Any]:
        return {
            **self.state_record(state),
            "method": self.recipe.method,
            "scans": [scan.as_dict() for scan in self.recipe.scans],
        }


@dataclass(frozen=True, eq=False)
class FinishedPlane:
    """A plane that is in the volume."""

    index: int
    measured: bool  # whether it is a scan
    values: Limits  # its least and greatest value
    levels: list[Any]  # the volume ([T,] Z, Y, X), and coarser ones where there are
    contrast: Limits  # show the scans well
    frame: int = 0  # its time point
    is_draft: bool = False  # whether another one takes its place


@dataclass(frozen=True, eq=False)
class PartFrame:
    """The block of planes of a time point that were finished before a run ended early."""

    frame: int
    first: int  # the number of the lowest plane
    pixels: npt.NDArray[np.float32]  # (Z, Y, X)
    measured: list[int]


@dataclass(frozen=True, eq=False)
class LeftLapse:
    """What there is of a time-lapse whose run ended early."""

    frames: int  # that are whole
    part: PartFrame | None  # of the next one


class VolumeTarget:
    """The volume of a job, in memory or in its folder; MemoryError if there is no room for it."""

    def __init__(self, job: VolumeJob) -> None:
        self._job = job
        self._writer: VolumeWriter | TimePoint | None = None
        lead = (job.frames,) if job.lapse else ()
        if job.output is None:
            self._volume: Any = np.zeros((*lead, *job.shape), np.float32)
        elif lead:
            place = Place(
                job.recipe.pixel_size_um,
                job.grid.z_um,
                origin_um=job.origin_um,
                time_step_s=job.time_step_s,
            )
            record = job.lapse_record("running", 0)
            make_time_lapse(job.output, (1, *job.shape), place, record, job.ngff)  # it grows
            self._writer = TimePoint(job.output, 0, job.shape)
        else:
            self._writer = VolumeWriter(
                job.output,
                job.shape,
                job.grid.z_um,
                job.recipe.pixel_size_um,
                origin_um=job.origin_um,
                ngff=job.ngff,
            )
        low, high = contrast_limits(job.recipe.scans)
        self._contrast = (low, high) if job.errors_of is None else (0.0, (high - low) / 8)
        self.begin(0)

    @property
    def is_whole(self) -> bool:
        """Whether all planes are there, of the time point that is made."""
        return not self._missing

    def begin(self, frame: int) -> None:
        """Take the planes of another time point from now on."""
        self._frame, self._measured = frame, list[int]()
        self._missing = set(range(len(self._job.grid)))
        if isinstance(self._writer, TimePoint) and frame:
            path, record = self._writer.path, self._job.lapse_record("running", frame)
            resize_time_lapse(path, frame + 1, record)
            self._writer = TimePoint(path, frame, self._job.shape)

    def put(self, plane: Any) -> FinishedPlane:
        """Take a plane."""
        self._here[plane.index] = plane.pixels
        self._missing.discard(plane.index)
        if plane.measured:
            self._measured.append(plane.index)
        return self._finished(plane.index, plane.pixels, plane.measured)

    def draft(self) -> FinishedPlane | None:
        """What the plane that is made first may look like, in memory alone."""
        from ...engine.inference import first_look

        if self._writer is not None or self._job.errors_of is not None:
            return None
        index = self._job.order[0]
        pixels = first_look(self._job.recipe, float(self._job.grid.z_um[index]))
        if pixels is None:
            return None
        self._here[index] = pixels
        return replace(self._finished(index, pixels), is_draft=True)

    def _finished(
        self, index: int, pixels: npt.NDArray[np.float32], measured: bool = False
    ) -> FinishedPlane:
        values = (float(pixels.min()), float(pixels.max()))
        return FinishedPlane(index, measured, values, self._levels, self._contrast, self._frame)

    @property
    def _levels(self) -> list[Any]:
        """The volume, and coarser ones where there are."""
        return [self._volume] if self._writer is None else self._writer.levels

    @property
    def _here(self) -> Any:
        """What takes the planes of this time point."""
        if self._writer is not None:
            return self._writer
        return self._volume[self._frame] if self._job.lapse else self._volume

    def finish(self, provenance: dict[str, Any]) -> Path | None:
        """All is there: complete the file, if it is one."""
        if isinstance(self._writer, TimePoint):
            resize_time_lapse(self._writer.path, self._job.frames, provenance)
            return self._writer.path
        return None if self._writer is None else self._writer.finish(provenance)

    def leave(self, state: str) -> Outcome:
        """Keep what is written as a whole file of its own; how it ended, and what it is not in."""
        if self._job.lapse:
            return self._leave_lapse(state)
        if not isinstance(self._writer, VolumeWriter):
            return Outcome(state)  # whoever shows the planes knows which are there
        planes = self._writer.finished_planes
        if not planes or self.is_whole:
            self._writer.discard()
            return Outcome(state)
        self._writer.keep_finished()
        record = self._job.part_record(state, planes, self._measured)
        return Outcome(state, path=self._writer.finish(record))

    def _leave_lapse(self, state: str) -> Outcome:
        """Keep the time points that are whole, and the planes of the one that is not."""
        part, whole = None, self._frame + self.is_whole
        finished = sorted(set(range(len(self._job.grid))) - self._missing)
        if finished and not self.is_whole:
            first, last = finished[0], finished[-1]
            block = np.array(self._levels[0][self._frame, first : last + 1], np.float32)
            part = PartFrame(self._frame, first, block, self._measured)
        path = None
        if isinstance(self._writer, TimePoint):
            path = self._writer.path
            if whole:
                resize_time_lapse(path, whole, self._job.lapse_record(state, whole))
            else:
                shutil.rmtree(path, ignore_errors=True)
                path = None
        return Outcome(state, path=path, value=LeftLapse(whole, part))


def reconstruct_steps(
    job: VolumeJob, rest: Rest, stop: threading.Event
) -> Generator[object, None, Outcome]:
    """Yield planes, notes and the check on the scans."""
    began = time.monotonic()
    target: VolumeTarget | None = None
    check: OwnSampleCheck | None = None
    noted: list[str] = []
    try:
        from ...engine import inference
        from ...engine.check import OwnSampleCheck

        target = VolumeTarget(job)
        with contextlib.suppress(Stopped):  # asked again before every plane
            draft = target.draft()
            if draft is not None:
                yield draft
                rest.take()
        recipe = inference.loaded(job.recipe)
        for frame in range(job.frames):
            target.begin(frame)
            now = job.recipe_of(frame, recipe, check.chosen if check else recipe.method)
            with contextlib.ExitStack() as at_end:
                at_end.enter_context(contextlib.suppress(Stopped))
                events: Any = job.events(now, frame, stop.is_set)
                at_end.callback(events.close)
                for event in events:
                    if isinstance(event, inference.Plane):
                        yield target.put(event)
                        rest.take()
                    elif isinstance(event, inference.Note) and event.sentence not in noted:
                        noted.append(event.sentence)  # of a time-lapse, once
                        yield event.sentence
                    elif isinstance(event, OwnSampleCheck):
                        check = event
                        yield event
            if not target.is_whole or (stop.is_set() and frame + 1 < job.frames):
                return target.leave("cancelled")
        seconds = time.monotonic() - began
        provenance = job.record_of(recipe, seconds, check, noted)
        path = target.finish(provenance)
        return Outcome("done", provenance=provenance, seconds=seconds, path=path)
    except Exception as error:
        outcome = Outcome("failed")
        with contextlib.suppress(Exception):  # what went wrong is told already
            outcome = outcome if target is None else target.leave("failed")
        return replace(outcome, sentence=sentence_of(error))
