"""The layer or folder that a reconstruction fills, plane after plane."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Layer

from ...io._zarr import is_there, levels_of
from ..shared import layers as _layers
from ..shared.insides import fit
from ..shared.pace import LayerInTurns, Pace, Turns
from ..shared.places import show_height
from ..shared.worker import Outcome
from .steps import FinishedPlane, LeftLapse, PartFrame, VolumeJob


@dataclass(frozen=True, eq=False)
class Planned:
    """A job, and what its layer will be like."""

    job: VolumeJob
    name: str  # of the layer
    like: Image  # that of the lowest scan, or of a volume, whose time axis it has
    look: Mapping[str, Any]
    title: str  # of what is at work
    scans: Sequence[Image] = ()  # layers that would shine through
    channel: str = ""  # what comes before the title, if there are several
    is_beside: bool = False  # whether it comes beside volumes that are there


class ResultLayer(LayerInTurns[Image]):
    """The layer of one run, which comes in turns; the user may rename or remove it at any time."""

    def __init__(self, viewer: Any, turns: Turns, planned: Planned, preview: Image | None) -> None:
        """It takes the place of a preview, unless it comes beside other volumes."""
        super().__init__(viewer, turns)
        self.job, self.name, self.is_beside = planned.job, planned.name, planned.is_beside
        self._replaces = None if planned.is_beside else preview
        self._scans = weakref.WeakSet(planned.scans)
        self._look = planned.look
        self._time_axis = axis_of_time(planned.like)
        self.is_scan_unsized = not _layers.has_size(planned.like)
        self.hidden = weakref.WeakSet[Layer]()  # what would shine through, while it is there
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
        if layer is None and self._planes:
            return
        if layer is None or not self._planes or not self._is_kept(outcome):
            self.done = 0  # a draft is nobody's result
            self.remove()
            for hidden in self.hidden:
                hidden.visible = True
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
            metadata={
                _layers.METADATA_KEY: self.job.state_record("running"),
                _layers.LAID_KEY: {name: place[name] for name in ("axis_labels", "units")},
            },
            **{"contrast_limits": self._shown.contrast, **self._look},
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
        same = _layers.made_of_same(layer, self.job.recipe.scans, self._viewer.layers)
        self.hidden.update(_layers.hide_under(layer, [*self._scans, *same]))
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
