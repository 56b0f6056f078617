"""The result: a layer that fills as planes arrive, and says how it was made."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject

from ...core.scans import ZGrid
from ...io._zarr import is_there, levels_of
from .insides import fit
from .layers import (
    LAID_KEY,
    METADATA_KEY,
    frame_count,
    full_resolution,
    has_size,
    lateral_origin_um,
    um_scale_and_place,
)
from .pace import LayerInTurns, Pace, Turns
from .targets import FinishedPlane, LeftLapse, PartFrame, VolumeJob
from .worker import Outcome


class ResultLayer(QObject):
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
        """``scans`` are the layers of the scans; that of the lowest gives place and colours."""
        super().__init__()
        self._viewer, self.job, self.name = viewer, job, name
        self._replaces = replaces
        self._scans = weakref.WeakSet(scans)
        self._look = look_of(scans[0])
        self._origin_um = lateral_origin_um(scans[0])
        self._time_axis = axis_of_time(scans[0])
        self.is_scan_unsized = not has_size(scans[0])
        self.hides_scans = False
        self.done = 0  # planes that are finished
        self._planes: list[FinishedPlane] = []
        self._latest: FinishedPlane | None = None  # of these and a draft
        self._turns = turns
        self._pace = Pace(self, self._show)
        self._layer = LayerInTurns(viewer, turns, self._make)

    @property
    def layer(self) -> Image | None:
        return self._layer.layer

    @property
    def is_removed(self) -> bool:
        """Whether the user took the layer out of the viewer."""
        return self._layer.was_removed

    def take(self, plane: FinishedPlane) -> None:
        """Show a plane that is finished, or a draft; the first one brings the layer."""
        self._latest = plane
        if not plane.is_draft:
            self._planes.append(plane)
            self.done = len(self._planes)
            if self.done == 1:
                self._turns.add(self._remove_replaced)
        if self.layer is None:
            self._layer.bring((), (self._show_first, self._select))
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
            self._layer.remove()
            return
        if outcome.path is not None:
            layer.data = layer_data(levels_of(outcome.path))  # it has another name now
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
        layer.metadata = {**layer.metadata, METADATA_KEY: dict(record)}

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
        return self._image(layer_data(self._shown.levels), self.name, place)

    def _place(self, z_um: float, frame: int = 0) -> dict[str, tuple[Any, ...]]:
        """Where a volume ([T,] Z, Y, X) lies that begins at a height, and at a time point."""
        pixel_um = self.job.recipe.pixel_size_um
        place = um_scale_and_place(self.job.grid.step_um, pixel_um, z_um, self._origin_um)
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
                METADATA_KEY: {"state": "running"},
                LAID_KEY: {name: place[name] for name in ("axis_labels", "units")},
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

    def _select(self) -> None:
        """Make it the selected one, as napari does with a new layer."""
        if self.layer is not None:
            self._viewer.layers.selection.active = self.layer

    def _show(self) -> None:
        """Show what there is: a file of time points grows."""
        layer, levels = self.layer, self._shown.levels
        if layer is None:
            return
        if tuple(levels[0].shape) == tuple(full_resolution(layer).shape):
            layer.refresh()
        else:
            layer.data = layer_data(levels)

    def _crop(self, layer: Image, state: str) -> None:
        """Cut the layer to the planes that exist, so that no empty plane can be measured."""
        finished = [plane.index for plane in self._planes]
        first, last = min(finished), max(finished)
        if self.job.output is None:
            layer.data = self._planes[-1].levels[0][first : last + 1].copy()
        layer.translate = (self.job.grid.z_um[first], *self._origin_um)
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
            self._layer.remove()
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
    is_lapse = frame_count(scan) > 1
    return {
        "scale": float(scan.scale[0]) if is_lapse else 1.0,
        "translate": float(scan.translate[0]) if is_lapse else 0.0,
        "units": str(scan.units[0]) if is_lapse else "pixel",
        "axis_labels": "t",
    }


def layer_data(levels: list[Any]) -> Any:
    """An array, or the levels of one, as napari shows them."""
    return levels[0] if len(levels) == 1 else levels


def show_height(viewer: Any, z_um: float) -> None:
    """Move the viewer's slider to a height, in micrometres."""
    dims = viewer.dims
    if dims.ndim >= 3:
        dims.set_point(dims.ndim - 3, z_um / um_along(dims, dims.ndim - 3))


def um_along(dims: Any, axis: int) -> float:
    """Micrometres per world unit along an axis of the viewer; a pixel counts as one."""
    unit = None if dims.units is None else dims.units[axis]
    if unit is None or not unit.is_compatible_with("um"):
        return 1.0
    return float((1 * unit).to("um").magnitude)


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
