"""Positions in the viewer's world as micrometres and back, and what is under the mouse."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from ...measure.plots.side_views import Panel
from ...measure.projections import SideViews, ViewName
from ..shared.layers import Frame, plane_count, plane_shape, um_per_unit
from ..shared.result import um_along

Point = tuple[float, float, float]


class Placed(NamedTuple):
    """A volume, and where its voxels are: the viewer's world is read through it."""

    layer: Any
    frame: Frame

    def to_um(self, world: Any, dims: Any) -> Point:
        """A position in the viewer's world as (z, y, x) in µm."""
        layer, frame = self
        index = layer.world_to_data(np.asarray(world, float)[-layer.ndim :] * self._units(dims))
        z, y, x = np.asarray(frame.origin_um) + np.asarray(frame.voxel_um) * index[-3:]
        return round(float(z), 4), round(float(y), 4), round(float(x), 4)

    def show(self, point_um: Point, dims: Any) -> None:
        """Move the viewer's sliders to a position in µm."""
        layer, frame = self
        start = np.zeros(layer.ndim)
        start[-3:] = (np.asarray(point_um) - frame.origin_um) / np.asarray(frame.voxel_um)
        world = np.asarray(layer.data_to_world(start)) / self._units(dims)
        for axis in sliders_of(dims):
            dims.set_point(axis + dims.ndim - 3, float(world[axis - 3]))

    def extent_um(self) -> list[tuple[float, float]]:
        """Centres of the first and the last voxel along z, y and x, the lower first."""
        counts = (plane_count(self.layer), *plane_shape(self.layer))
        voxel, first = np.asarray(self.frame.voxel_um), np.asarray(self.frame.origin_um)
        ends = np.sort([first, first + voxel * (np.asarray(counts) - 1)], axis=0)
        return [(float(low), float(high)) for low, high in ends.T]

    def _units(self, dims: Any) -> Any:
        """Units of the layer's world per unit of the viewer's, along the layer's axes."""
        axes = range(-self.layer.ndim, 0)
        return np.array([um_along(dims, axis) / um_per_unit(self.layer, axis) for axis in axes])


def sliders_of(dims: Any) -> tuple[int, ...]:
    """Which of z, y and x (0, 1, 2) the viewer has sliders for."""
    first = dims.ndim - 3
    return tuple(axis - first for axis in dims.not_displayed if axis >= first)


class PixelUnderMouse(NamedTuple):
    """What the mouse points at in the figure."""

    place_um: dict[str, float]
    sentence: str


def pixel_under(event: Any, shown: list[Panel]) -> PixelUnderMouse | None:
    """The place in a side view under the mouse, and its value in words; None beside them."""
    gid = event.inaxes.get_gid() if event.inaxes is not None else None
    axes, dash, number = (gid or "").partition("-")
    if not dash or int(number) >= len(shown):
        return None
    panel = shown[int(number)]
    if panel.views is None:
        return None
    place = dict(sorted({axes[0]: float(event.xdata), axes[1]: float(event.ydata)}.items()))
    value = _value(panel.views, place)
    where = ", ".join(f"{axis} {position:.2f} µm" for axis, position in place.items())
    words = f"{panel.title}: {where}"
    return PixelUnderMouse(place, words if value is None else f"{words}: {value:.5g}")


def _value(views: SideViews, place: dict[str, float]) -> float | None:
    across, down = place  # sorted; the images are (y, x), (z, x) and (z, y)
    image = views[cast(ViewName, across + down)]
    index = []
    for axis, count in zip((down, across), image.shape, strict=True):
        low, high = getattr(views, f"{axis}_um")
        index.append(int((place[axis] - low) / (high - low) * count // 1))
    if all(0 <= i < count for i, count in zip(index, image.shape, strict=True)):
        return float(image[tuple(index)])
    return None
