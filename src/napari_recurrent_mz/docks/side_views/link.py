"""The side views and the viewer look at one place: its slider and cursor, and back."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ...measure.plots.side_views import Panel
from ...measure.projections import ViewName
from ..shared.layers import Frame, plane_count, plane_shape, um_per_unit
from ..shared.result import um_along

Point = tuple[float, float, float]
_AXES = (0, 1, 2)


class ViewerLink:
    """Tells where the viewer looks, and moves it."""

    def __init__(self, viewer: Any, moved: Callable[[Any, tuple[int, ...]], None]) -> None:
        self._viewer = viewer
        self._moved = weakref.WeakMethod(moved)
        self._hovering, self._clicking = _hovering(weakref.ref(self)), _clicking(weakref.ref(self))
        viewer.dims.events.point.connect(self.look_again)
        viewer.mouse_move_callbacks.append(self._hovering)
        viewer.mouse_drag_callbacks.append(self._clicking)

    def cut(self) -> None:
        """Leave the viewer alone."""
        self._viewer.dims.events.point.disconnect(self.look_again)
        for callbacks, ours in (
            (self._viewer.mouse_move_callbacks, self._hovering),
            (self._viewer.mouse_drag_callbacks, self._clicking),
        ):
            with contextlib.suppress(ValueError):
                callbacks.remove(ours)

    def look_again(self, _event: Any = None) -> None:
        """Tell where the sliders are."""
        dims = self._viewer.dims
        sliders = tuple(
            axis - (dims.ndim - 3) for axis in dims.not_displayed if axis >= dims.ndim - 3
        )
        if sliders:
            self._tell(dims.point, sliders)

    def cursor_at(self, world: Any) -> None:
        """Tell where the cursor is; in 3-D it is at no place."""
        if self._viewer.dims.ndisplay == 2:
            self._tell(world, _AXES)

    def _tell(self, world: Any, axes: tuple[int, ...]) -> None:
        moved = self._moved()
        if moved is not None and len(world) >= 3:
            moved(world, axes)

    def to_um(self, world: Any, layer: Any, frame: Frame) -> Point:
        """A position in the viewer's world as (z, y, x) in µm, read through a layer."""
        index = layer.world_to_data(np.asarray(world, float)[-layer.ndim :] * self._units(layer))
        z, y, x = np.asarray(frame.origin_um) + np.asarray(frame.voxel_um) * index[-3:]
        return round(float(z), 4), round(float(y), 4), round(float(x), 4)

    def show(self, point_um: Point, layer: Any, frame: Frame) -> None:
        """Move the sliders to a position in µm."""
        index = (np.asarray(point_um) - frame.origin_um) / np.asarray(frame.voxel_um)
        dims = self._viewer.dims
        start = np.zeros(layer.ndim)
        start[-3:] = index
        world = np.asarray(layer.data_to_world(start)) / self._units(layer)
        for axis in dims.not_displayed:
            if axis >= dims.ndim - 3:
                dims.set_point(axis, float(world[axis - dims.ndim]))

    def extent_um(self, layer: Any, frame: Frame) -> list[tuple[float, float]]:
        """Centres of the first and the last voxel along z, y and x, the lower first."""
        counts = (plane_count(layer), *plane_shape(layer))
        ends = [
            (origin, origin + voxel * (count - 1))
            for origin, voxel, count in zip(frame.origin_um, frame.voxel_um, counts, strict=True)
        ]
        return [(min(pair), max(pair)) for pair in ends]

    def _units(self, layer: Any) -> Any:
        """Units of the layer's world per unit of the viewer's, along the layer's axes."""
        axes = range(-layer.ndim, 0)
        dims = self._viewer.dims
        return np.array([um_along(dims, axis) / um_per_unit(layer, axis) for axis in axes])


def _hovering(link: weakref.ref[ViewerLink]) -> Callable[[Any, Any], None]:
    def hovering(_viewer: Any, event: Any) -> None:
        found = link()
        if found is not None and "Shift" in event.modifiers:
            found.cursor_at(event.position)

    return hovering


def _clicking(link: weakref.ref[ViewerLink]) -> Callable[[Any, Any], Iterator[None]]:
    def clicking(_viewer: Any, event: Any) -> Iterator[None]:
        yield
        if event.type == "mouse_move":
            return  # dragged, to move the view
        found = link()
        if found is not None:
            found.cursor_at(event.position)

    return clicking


class Under(NamedTuple):
    """What the mouse points at in the figure."""

    place_um: dict[str, float]
    sentence: str


def pixel_under(event: Any, shown: list[Panel]) -> Under | None:
    """The place in a side view under the mouse, and its value in words; None beside them."""
    gid = event.inaxes.get_gid() if event.inaxes is not None else None
    if not gid or "-" not in gid:
        return None
    axes, _, number = gid.partition("-")
    panel = shown[int(number)] if int(number) < len(shown) else None
    if panel is None or panel.views is None:
        return None
    place = {axes[0]: float(event.xdata), axes[1]: float(event.ydata)}
    value = _value(panel, place)
    where = ", ".join(f"{axis} {place[axis]:.2f} µm" for axis in sorted(place))
    return Under(place, f"{panel.title}: {where}" + (f": {value:.5g}" if value is not None else ""))


def _value(panel: Panel, place: dict[str, float]) -> float | None:
    assert panel.views is not None
    names: dict[str, ViewName] = {"xy": "xy", "xz": "xz", "yz": "yz"}
    image = panel.views[names["".join(sorted(place))]]
    across, down = sorted(place)  # the images are (y, x), (z, x) and (z, y)
    index = []
    for axis, count in zip((down, across), image.shape, strict=True):
        low, high = getattr(panel.views, f"{axis}_um")
        index.append(int((place[axis] - low) / (high - low) * count // 1))
    if all(0 <= i < count for i, count in zip(index, image.shape, strict=True)):
        return float(image[tuple(index)])
    return None
