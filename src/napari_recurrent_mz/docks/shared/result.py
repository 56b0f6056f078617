"""A reconstruction: its planes, made in a thread, and the layer or folder that they fill."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import weakref
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image

from ...core.progress import Stopped
from ...core.scans import Scan, ZGrid, contrast_limits
from ...engine.recipe import Recipe
from ...io import Place, VolumeWriter
from ...io._time_lapse import TimePoint, make_time_lapse, resize_time_lapse
from ...io._zarr import NGFF, is_there, levels_of
from . import layers as _layers
from .guard import sentence_of
from .insides import fit
from .pace import LayerInTurns, Pace, Turns
from .slider import show_height, um_along
from .worker import Outcome, Rest

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
        return Scan(_layers.plane_of(self.pixels, self.plane, frame, name), self.z_um[frame], name)


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
        return {**self._begun(state), "finished_time_points": frames}

    def _begun(self, state: str) -> dict[str, Any]:
        return {
            "state": state,
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
        self._job, self._measured = job, list[int]()
        self._missing = set(range(len(job.grid)))
        self._frame = 0
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
        self._contrast = contrast_limits(job.recipe.scans)

    @property
    def is_whole(self) -> bool:
        """Whether all planes are there, of the time point that is made."""
        return not self._missing

    def begin(self, frame: int) -> None:
        """Take the planes of another time point from now on."""
        self._frame, self._measured = frame, []
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

        index = self._job.order[0]
        pixels = first_look(self._job.recipe, float(self._job.grid.z_um[index]))
        if pixels is None or self._writer is not None:
            return None
        self._here[index] = pixels
        return replace(self._finished(index, pixels), is_draft=True)

    def _finished(
        self, index: int, pixels: npt.NDArray[np.float32], measured: bool = False
    ) -> FinishedPlane:
        values = (float(pixels.min()), float(pixels.max()))
        levels = [self._volume] if self._writer is None else self._writer.levels
        return FinishedPlane(index, measured, values, levels, self._contrast, self._frame)

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
            levels = [self._volume] if self._writer is None else self._writer.levels
            block = np.array(levels[0][self._frame, first : last + 1], np.float32)
            part = PartFrame(self._frame, first, block, list(self._measured))
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
        from ...core.device import choose_device
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
                events: Any = inference.run(now, order=job.order, stopped=stop.is_set)
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
        provenance = recipe.provenance(choose_device(recipe.device), seconds, check)
        if noted:
            provenance["notes"] = noted
        if job.lapse:
            provenance["time_points"] = job.frames
            heights = list(zip(*(one.z_um for one in job.lapse), strict=True))
            if len(set(heights)) > 1:
                provenance["scans_z_um_by_time"] = heights
        path = target.finish(provenance)
        return Outcome("done", provenance=provenance, seconds=seconds, path=path)
    except Exception as error:
        outcome = Outcome("failed")
        with contextlib.suppress(Exception):  # what went wrong is told already
            outcome = outcome if target is None else target.leave("failed")
        return replace(outcome, sentence=sentence_of(error))


class ResultLayer(LayerInTurns[Image]):
    """The layer of one run, which comes in turns; the user may rename or remove it at any time."""

    def __init__(
        self,
        viewer: Any,
        job: VolumeJob,
        turns: Turns,
        name: str,
        scans: Sequence[Image],
        replaces: Image | None,
    ) -> None:
        """``scans`` are the layers of the scans; that of the lowest gives colours."""
        super().__init__(viewer, turns)
        self.job, self.name = job, name
        self._replaces = replaces
        self._scans = weakref.WeakSet(scans)
        self._look = look_of(scans[0])
        self._time_axis = axis_of_time(scans[0])
        self.is_scan_unsized = not _layers.has_size(scans[0])
        self.hides_scans = False
        self.done = 0  # planes that are finished
        self._planes: list[FinishedPlane] = []
        self._latest: FinishedPlane | None = None  # of these and a draft
        self._pace = Pace(self, self._show)

    def take(self, plane: FinishedPlane) -> None:
        """Show a plane that is finished, or a draft; the first one brings the layer."""
        self._latest = plane
        if not plane.is_draft:
            self._planes.append(plane)
            self.done = len(self._planes)
            if self.done == 1:
                self._turns.add(self._remove_replaced)
        if self.layer is None:
            self.bring((), (self._show_first, self._select))
        else:
            self._pace.show_soon()

    def rename(self, name: str) -> None:
        """Give the layer another name, unless the user has named it."""
        if self.layer is not None and self.layer.name == self.name:
            self.layer.name = name
        self.name = name

    def finish(self, outcome: Outcome) -> None:
        """Keep what is true: the whole volume, or the block of planes that were finished."""
        self._pace.stop()
        layer = self.layer
        if layer is None:
            return
        if not self._planes or not self._is_kept(outcome):  # a draft is nobody's result
            self.done = 0
            self.remove()
            return
        if outcome.path is not None:
            layer.data = _layers.layer_data(levels_of(outcome.path))  # it has another name now
        if outcome.state == "done":
            self._record(layer, outcome.provenance or {})
        elif self.job.lapse:
            self._crop_lapse(layer, outcome)
        else:
            self._crop(layer, outcome.state)
        self._stretch(layer)
        layer.refresh()

    def _is_kept(self, outcome: Outcome) -> bool:
        """Whether planes that were finished are in memory, or still on the disk."""
        if self.job.output is None or self.job.lapse or outcome.path is not None:
            return True
        return is_there(self._planes[-1].levels[0])

    def _record(self, layer: Image, record: Mapping[str, Any]) -> None:
        """Say how it was made."""
        layer.metadata = {**layer.metadata, _layers.METADATA_KEY: dict(record)}

    @property
    def _shown(self) -> FinishedPlane:
        """The plane that came last."""
        assert self._latest is not None  # no layer is made before
        return self._latest

    def _remove_replaced(self) -> None:
        replaced, self._replaces = self._replaces, None
        if replaced is not None and replaced in self._viewer.layers:
            self._viewer.layers.remove(replaced)

    def _make(self) -> Image:
        place = self._place(self.job.grid.start_um)
        return self._image(_layers.layer_data(self._shown.levels), self.name, place)

    def _place(self, z_um: float, frame: int = 0) -> dict[str, tuple[Any, ...]]:
        """Where a volume ([T,] Z, Y, X) lies that begins at a height, and at a time point."""
        pixel_um = self.job.recipe.pixel_size_um
        place = _layers.um_scale_and_place(
            self.job.grid.step_um, pixel_um, z_um, self.job.origin_um
        )
        if not self.job.lapse:
            return place
        time = self._time_axis
        time = time | {"translate": time["translate"] + frame * time["scale"]}
        return {key: (time[key], *values) for key, values in place.items()}

    def _image(self, data: Any, name: str, place: Mapping[str, tuple[Any, ...]]) -> Image:
        return Image(
            data,
            name=name,
            contrast_limits=self._shown.contrast,
            metadata={
                _layers.METADATA_KEY: {"state": "running"},
                _layers.LAID_KEY: {name: place[name] for name in ("axis_labels", "units")},
            },
            **self._look,
            **place,
        )

    def _show_first(self) -> None:
        """Bring the plane that came first into view."""
        layer = self.layer
        if layer is None:
            return
        if self._viewer.dims.ndisplay == 2:
            show_height(self._viewer, float(self.job.grid.z_um[self.job.order[0]]))
        if self.job.lapse:
            dims = self._viewer.dims
            dims.set_point(dims.ndim - 4, float(layer.translate[0]))
        if self._look["blending"] == "additive":  # the scans would shine through
            for scan in self._scans:
                self.hides_scans |= scan.visible
                scan.visible = False
        if self.is_scan_unsized:  # a volume in µm is tiny beside layers in pixels
            fit(self._viewer, layer)

    def _show(self) -> None:
        """Show what there is: a file of time points grows."""
        layer, levels = self.layer, self._shown.levels
        if layer is None:
            return
        if tuple(levels[0].shape) == tuple(_layers.full_resolution(layer).shape):
            layer.refresh()
        else:
            layer.data = _layers.layer_data(levels)

    def _crop(self, layer: Image, state: str) -> None:
        """Cut the layer to the planes that exist, so that no empty plane can be measured."""
        finished = [plane.index for plane in self._planes]
        first, last = min(finished), max(finished)
        if self.job.output is None:
            layer.data = self._planes[-1].levels[0][first : last + 1].copy()
        layer.translate = (self.job.grid.z_um[first], *self.job.origin_um)
        layer.name = f"{layer.name} ({state}: {len(finished)} of {len(self.job.grid)} planes)"
        measured = [plane.index for plane in self._planes if plane.measured]
        self._record(layer, self.job.part_record(state, finished, measured))

    def _crop_lapse(self, layer: Image, outcome: Outcome) -> None:
        """Cut a time-lapse to its whole time points; the planes of the last one are a layer."""
        state, left, name = outcome.state, outcome.value, layer.name
        if not isinstance(left, LeftLapse):  # the disk has failed
            left = LeftLapse(self._whole_frames(), None)
        self.done = left.frames * len(self.job.grid)
        if left.part is not None:
            self.done += len(left.part.pixels)
            self._viewer.add_layer(self._part_layer(name, state, left.part))
        if not left.frames:
            self.remove()
            return
        if self.job.output is None:
            layer.data = self._planes[-1].levels[0][: left.frames].copy()
        layer.name = f"{name} ({state}: {left.frames} of {self.job.frames} time points)"
        self._record(layer, self.job.lapse_record(state, left.frames))

    def _whole_frames(self) -> int:
        """How many time points all planes have come of."""
        counts = Counter(plane.frame for plane in self._planes).values()
        return sum(count == len(self.job.grid) for count in counts)

    def _part_layer(self, name: str, state: str, part: PartFrame) -> Image:
        """The planes of a time point that is not whole."""
        low, count = float(self.job.grid.z_um[part.first]), len(part.pixels)
        extent = f"time point {part.frame}, {count} of {len(self.job.grid)} planes"
        place = self._place(low, part.frame)
        layer = self._image(part.pixels[np.newaxis], f"{name} ({state}: {extent})", place)
        planes = range(part.first, part.first + count)
        self._record(layer, self.job.part_record(state, planes, part.measured))
        return layer

    def _stretch(self, layer: Image) -> None:
        """Let the contrast slider reach every value of the volume."""
        low, high = zip(*(plane.values for plane in self._planes), strict=True)
        limits = layer.contrast_limits
        layer.contrast_limits_range = (min(*low, limits[0]), max(*high, limits[1]))


def look_of(scan: Image) -> dict[str, Any]:
    """The colours that a volume has in common with its scan."""
    return {"colormap": scan.colormap.name, "blending": scan.blending}


def axis_of_time(scan: Image) -> dict[str, Any]:
    """How the first axis of a time-lapse (T, Z, Y, X) lies, by that of its scans."""
    is_lapse = _layers.frame_count(scan) > 1
    return {
        "scale": float(scan.scale[0]) if is_lapse else 1.0,
        "translate": float(scan.translate[0]) if is_lapse else 0.0,
        "units": str(scan.units[0]) if is_lapse else "pixel",
        "axis_labels": "t",
    }


def plane_in_view(viewer: Any, grid: ZGrid) -> int:
    """The grid plane that the viewer shows now; the middle one when it shows none."""
    dims = viewer.dims
    middle = len(grid) // 2
    if dims.ndim < 3 or dims.ndisplay == 3:
        return middle
    axis = dims.ndim - 3
    z_um = float(dims.point[axis]) * um_along(dims, axis)
    if not grid.start_um <= z_um <= grid.stop_um:
        return middle
    return round((z_um - grid.start_um) / grid.step_um) if len(grid) > 1 else 0


def order_from(first: int, count: int) -> tuple[int, ...]:
    """All plane numbers, nearest to ``first`` first: what is done is always one block."""
    return tuple(sorted(range(count), key=lambda i: (abs(i - first), i)))
