"""Which surface: a plane through points that are clicked or typed, or a layer of heights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Layer, Points
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QTableWidgetItem

from ...core.arrays import Array, reading
from ...core.errors import if_possible
from ...core.scans import Heights, InputError, check_heights
from ..shared import layers as _layers
from ..shared.form import FormPanel, as_named, asked, faint, parse_length_um
from ..shared.guard import on
from ..shared.layer_choice import is_points
from ..shared.parts import DRAWN, NumberTable, push_button

POINTS, MAP = "points", "map"
LAYER_NAME = "Surface points"

_AXES = ("z", "y", "x")
_ROWS_SHOWN = 3


def is_map(layer: Layer) -> bool:
    """Whether a layer may hold heights: one 2-D image or labels."""
    if not isinstance(layer, Image | Labels) or getattr(layer, "rgb", False):
        return False
    data = layer.data[0] if layer.multiscale else layer.data
    return sum(size > 1 for size in data.shape) == 2 and max(data.shape[:-2], default=1) == 1


def points_um(layer: Points, pixels: _layers.Frame) -> Array:
    """The points of a layer, (N, 3) as (z, y, x) in µm; ``pixels`` are those of the scans."""
    if layer.ndim < 3:
        raise InputError(
            f"The points of layer '{layer.name}' have no z: press “Pick three points”, which makes "
            "a layer whose points have one."
        )
    world = np.array([layer.data_to_world(point) for point in layer.data]).reshape(-1, layer.ndim)
    size_um, origin_um = _world_of(layer, pixels)
    return np.asarray(origin_um + world[:, -3:] * size_um)


def move_point(layer: Points, number: int, point_um: npt.ArrayLike, pixels: _layers.Frame) -> None:
    """Put one point of a layer elsewhere, (z, y, x) in micrometres."""
    world = np.array(layer.data_to_world(layer.data[number]), dtype=float)
    size_um, origin_um = _world_of(layer, pixels)
    world[-3:] = (np.asarray(point_um, dtype=float) - origin_um) / size_um
    data = np.array(layer.data, dtype=float)
    data[number] = layer.world_to_data(world)
    layer.data = data


def _world_of(layer: Points, pixels: _layers.Frame) -> Array:
    """Size of a unit of a layer's world, and the place of its zero, along z, y and x in µm."""
    units_um = [_layers.um_per_unit(layer, axis) for axis in (-3, -2, -1)]
    return np.where(_layers.axes_in_um(layer), [units_um, (0.0, 0.0, 0.0)], pixels)


def add_points_layer(viewer: Any, like: Image | None, pixel_um: float) -> Points:
    """Add an empty Points layer, in the units of the scans, ready for clicks."""
    in_um = like is None or _layers.has_size(like)
    z_unit = "um" if like is None or all(_layers.axes_in_um(like)) else "pixel"
    field = 256 if like is None else max(_layers.plane_shape(like))
    viewer.dims.ndisplay = 2  # in 3-D a click has no height
    layer = viewer.add_points(
        np.zeros((0, 3)),
        name=LAYER_NAME,
        ndim=3,
        size=field / 40 * (pixel_um if in_um else 1.0),
        face_color="transparent",
        border_color=DRAWN,
        border_width=0.15,
        out_of_slice_display=False,
        **({"units": (z_unit, "um", "um")} if in_um else {}),
        axis_labels=_AXES,
    )
    viewer.layers.selection.active = layer
    layer.mode = "add"
    return layer


def map_heights(
    layer: Layer, shape: tuple[int, int], pixel_um: float, origin_um: tuple[float, float] | None
) -> Heights:
    """The heights in µm that a layer holds, on the pixels (Y, X) of the scans."""
    # ``origin_um`` is the place (y, x) of the scans' first pixel; None where their layers say
    # nothing: then it is pixel on pixel.
    with reading(f"Layer '{layer.name}'"):
        data = np.asarray(_layers.stack_pixels(layer))
    flat = data.reshape(data.shape[-2:])
    if origin_um is None or not _layers.has_size(layer):
        return check_heights(flat, shape, layer.name)
    from ...engine.surfaces import heights_on_field

    units = np.array([_layers.um_per_unit(layer, axis) for axis in (-2, -1)])
    if _layers.is_turned(layer):
        raise InputError(
            f"Layer '{layer.name}' is rotated or sheared: resample it along the axes first."
        )
    y_um, x_um = (float(size) for size in _layers.world_scale(layer)[-2:] * units)
    place_y_um, place_x_um = (float(place) for place in _layers.world_place(layer)[-2:] * units)
    spacing, place = (y_um, x_um), (place_y_um, place_x_um)
    return heights_on_field(flat, spacing, place, shape, pixel_um, origin_um, name=layer.name)


class PointTable(NumberTable):
    """The points of the plane, which can be typed over; Delete takes one out."""

    moved = Signal(int, object)  # number, (z, y, x) in µm

    def __init__(self) -> None:
        super().__init__(
            "Points of the plane",
            "Where the points are, in µm: double-click to type, Delete to take one out",
            [f"{axis} (µm)" for axis in _AXES],
            22,
        )
        self.setFixedHeight(22 * _ROWS_SHOWN + 26)
        self._shown: Array = np.zeros((0, 3))
        on(self, self.itemChanged, self._edited)

    def show_points(self, points: Array) -> None:
        self._shown = points
        self.show_rows([[f"{value:.3f}" for value in point] for point in points])

    def _edited(self, item: QTableWidgetItem) -> None:
        value = parse_length_um(item.text())
        if value is None:
            self.show_points(self._shown)
            return
        point = self._shown[item.row()].copy()
        point[item.column()] = value
        self.moved.emit(item.row(), point)


@dataclass(frozen=True)
class SurfaceForm:
    """Which surface."""

    stored: ClassVar = as_named("kind")
    kind: str = asked(
        "Kind of surface",
        "A plane through clicked points, or a 2-D layer of heights in µm",
        POINTS,
        label="",
        choices={POINTS: "Plane through points", MAP: "Layer of heights (µm)"},
    )
    points: Any = asked(
        "Layer of points",
        "A Points layer with three points or more",
        label="",
        nothing="No Points layer",
        layers=is_points,
    )
    map: Any = asked(
        "Layer of heights",
        "A 2-D Image or Labels layer whose values are heights in µm",
        label="",
        nothing="No layer of heights",
        layers=is_map,
    )


class SurfaceChoice(FormPanel):
    """Plane or map, its layer, the points, and a sentence on what the surface is like."""

    pick = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__(SurfaceForm, viewer, "surface")
        self.kind, self.points, self.map = (self.form[name].native for name in self.form.asks)
        self.pick_button = push_button(
            "Pick three points",
            "Make a Points layer in which each click, at any z, is a point of the plane",
        )
        self.form.put_beside("points", self.pick_button)
        self.table = PointTable()
        self.facts = faint()
        self._column.addWidget(self.table)
        self._column.addWidget(self.facts)
        self.pick_button.clicked.connect(self.pick.emit)
        on(self, self.form.changed, self._show_kind)
        on(self, viewer.layers.events, self._layer_event)
        self._show_kind()

    def kind_key(self) -> str:
        """``points`` or ``map``."""
        return str(self.form.kind.value)

    def layer(self) -> Any:
        return self.form[self.kind_key()].value

    def choose(self, layer: Layer) -> None:
        """Take a layer of points, or of heights."""
        kind = POINTS if is_points(layer) else MAP
        self.form.kind.value = kind
        self.form[kind].value = layer

    def show_points(self, pixels: _layers.Frame) -> None:
        """Read the table from the layer of points again."""
        layer = self.points.layer()
        points = None if layer is None else if_possible(points_um, layer, pixels)
        self.table.show_points(np.zeros((0, 3)) if points is None else points)

    def _show_kind(self) -> None:
        by_points = self.kind_key() == POINTS
        self.form.show_fields("points", by_points)
        self.table.setVisible(by_points)
        self.map.setVisible(not by_points)
        self.changed.emit()

    def _layer_event(self, event: Any) -> None:
        is_chosen = event.sources[0] is self.layer()
        if is_chosen and event.type in ("data", "units", "name", *_layers.MOVES):
            self.changed.emit()
