"""The result: a layer that fills as planes arrive, and says how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject

from ...core.scans import ZGrid
from .guard import one_shot
from .insides import fit
from .layer_in_turns import LayerInTurns
from .layers import METADATA_KEY, has_size, lateral_origin_um
from .pace import Pace, Turns
from .targets import FinishedPlane, VolumeJob
from .worker import Outcome


class ResultLayer(QObject):
    """The layer of one run, which comes in turns; the user may rename or remove it at any time."""

    def __init__(
        self,
        viewer: Any,
        job: VolumeJob,
        turns: Turns,
        name: str,
        first: Image | None,
        replaces: Image | None,
    ) -> None:
        """``first`` is the layer of the lowest scan, whose place and colours the result takes."""
        super().__init__()
        self._viewer, self._job, self._name = viewer, job, name
        self._replaces = replaces
        self._origin_um = (0.0, 0.0) if first is None else lateral_origin_um(first)
        self._colormap = "gray" if first is None else first.colormap.name
        self.is_scan_unsized = first is not None and not has_size(first)
        self._planes: list[FinishedPlane] = []
        self._pace = Pace()
        self._timer = one_shot(self, 0, self._refresh)
        self._layer = LayerInTurns(viewer, turns, self._make)

    @property
    def layer(self) -> Image | None:
        """The layer, if it is in the viewer."""
        return self._layer.layer

    @property
    def is_removed(self) -> bool:
        """Whether the user took the layer out of the viewer."""
        return self._layer.was_removed

    @property
    def done(self) -> int:
        """How many planes are finished."""
        return len(self._planes)

    def take(self, plane: FinishedPlane) -> None:
        """Show a plane that is finished; the first one brings the layer."""
        self._planes.append(plane)
        if self.layer is None:
            self._layer.bring((self._remove_replaced,), (self._show_first, self._select))
        elif not self._pace.left_s():
            self._refresh()
        elif not self._timer.isActive():
            self._timer.start(int(1000 * self._pace.left_s()))

    def rename(self, name: str) -> None:
        """Give the layer another name, unless the user has named it."""
        if self.layer is not None and self.layer.name == self._name:
            self.layer.name = name
        self._name = name

    def finish(self, outcome: Outcome) -> None:
        """Keep what is true: the whole volume, or the block of planes that were finished."""
        self._timer.stop()
        layer = self.layer
        if layer is None:
            return
        if outcome.path is not None:
            layer.data = _levels_in(outcome.path)  # it has another name now
        if outcome.state == "done":
            record = dict(outcome.provenance or {})
            layer.metadata = {**layer.metadata, METADATA_KEY: record}
        else:
            self._crop(layer, outcome.state)
        self._stretch(layer)
        layer.refresh()

    def _remove_replaced(self) -> None:
        replaced, self._replaces = self._replaces, None
        if replaced is not None and replaced in self._viewer.layers:
            self._viewer.layers.remove(replaced)

    def _make(self) -> Image:
        grid, pixel_um = self._job.grid, self._job.recipe.pixel_size_um
        return Image(
            layer_data(self._planes[-1].levels),
            name=self._name,
            scale=(grid.step_um, pixel_um, pixel_um),
            translate=(grid.start_um, *self._origin_um),
            units=("um", "um", "um"),
            axis_labels=("z", "y", "x"),
            contrast_limits=self._planes[-1].contrast,
            colormap=self._colormap,
            blending="translucent_no_depth",  # as napari adds an image
            metadata={METADATA_KEY: {"state": "running"}},
        )

    def _show_first(self) -> None:
        """Bring the plane that came first into view."""
        layer = self.layer
        if layer is None:
            return
        if self._viewer.dims.ndisplay == 2:
            show_height(self._viewer, float(self._job.grid.z_um[self._planes[0].index]))
        if self.is_scan_unsized:  # a volume in µm is tiny beside layers in pixels
            fit(self._viewer, layer)

    def _select(self) -> None:
        """Make it the selected one, as napari does with a new layer."""
        if self.layer is not None:
            self._viewer.layers.selection.active = self.layer

    def _refresh(self) -> None:
        layer = self.layer
        if layer is not None:
            self._pace.show(layer.refresh)

    def _crop(self, layer: Image, state: str) -> None:
        """Cut the layer to the planes that exist, so that no empty plane can be measured."""
        finished = [plane.index for plane in self._planes]
        first, last = min(finished), max(finished)
        low, high = self._job.grid.z_um[first], self._job.grid.z_um[last]
        if self._job.output is None:
            layer.data = self._planes[-1].levels[0][first : last + 1].copy()
        layer.translate = (low, *self._origin_um)
        layer.name = f"{layer.name} ({state}: z {low:g} to {high:g} µm only)"
        measured = [plane.index for plane in self._planes if plane.measured]
        record = self._job.part_record(state, finished, measured)
        layer.metadata = {**layer.metadata, METADATA_KEY: record}

    def _stretch(self, layer: Image) -> None:
        """Let the contrast slider reach every value of the volume."""
        low, high = zip(*(plane.values for plane in self._planes), strict=True)
        limits = layer.contrast_limits
        layer.contrast_limits_range = (min(*low, limits[0]), max(*high, limits[1]))


def layer_data(levels: list[Any]) -> Any:
    """An array, or the levels of one, as napari shows them."""
    return levels[0] if len(levels) == 1 else levels


def _levels_in(path: Path) -> Any:
    """The volume in an OME-Zarr folder, none of which is read yet."""
    import zarr

    group: Any = zarr.open_group(path, mode="r")
    names = group.attrs["ome"]["multiscales"][0]["datasets"]
    return layer_data([group[level["path"]] for level in names])


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
