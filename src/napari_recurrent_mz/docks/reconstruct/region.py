"""The part of the field that is reconstructed: all of it, or what is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Layer, Shapes
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QWidget

from ...core.region import Region
from ...core.scans import LEAST_SIDE, InputError
from ..shared.form import DataForm, asked
from ..shared.guard import on
from ..shared.layers import MOVES, check_upright, plane_shape
from ..shared.parts import DRAWN, column_of, push_button
from ..shared.places import index_in

LAYER_NAME = "Region"
_SHARE = 0.5  # of the field's sides that a new rectangle covers
_CORNERS = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)])  # of a square around 0


def _is_shapes(layer: Layer) -> bool:
    return isinstance(layer, Shapes)


@dataclass(frozen=True)
class RegionForm:
    """Which part of the field."""

    shapes: Any = asked(
        "Part of the field",
        "All of the field, or the rectangle around what is drawn in a Shapes layer. Light from "
        "around it is taken into account",
        label="Field",
        nothing="all of it",
        layers=_is_shapes,
    )


class RegionPanel(QWidget):
    """A choice of Shapes layers, and a button that adds a rectangle to change."""

    changed = Signal()
    draw = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._form = DataForm(RegionForm, viewer)
        self.choice = self._form.shapes.native
        self.draw_button = push_button(
            "Draw", "Add a rectangle: drag it, or its corners, to what is to be reconstructed"
        )
        self._form.put_beside("shapes", self.draw_button)
        column_of(self, self._form.native)
        on(self, self.draw_button.clicked, self.draw.emit)
        on(self, self._form.changed, self.changed.emit)
        on(self, viewer.layers.events, self._layer_event)

    def region(self, image: Image) -> Region | None:
        """The part of a layer of scans, None for all of it; InputError if there is none."""
        layer = self.choice.layer()
        return None if layer is None else _around(layer, image)

    def draw_over(self, viewer: Any, image: Image) -> None:
        """Take the rectangle that is chosen, or a new one in the middle of the field of a layer."""
        check_upright(image)
        viewer.dims.ndisplay = 2
        layer = self.choice.layer()
        if layer is None:
            layer = self._new_rectangle(viewer, image)
            self._form.shapes.value = layer
        viewer.layers.selection.active = layer
        layer.mode = "select" if len(layer.data) else "add_rectangle"
        layer.selected_data = set(range(len(layer.data)))

    def _new_rectangle(self, viewer: Any, image: Image) -> Shapes:
        sides = np.array(plane_shape(image), np.float64)
        corners = sides * (1 + _SHARE * _CORNERS) / 2 - 0.5
        layer: Shapes = viewer.add_shapes(
            corners,
            shape_type="rectangle",
            name=LAYER_NAME,
            scale=image.scale[-2:],
            translate=image.translate[-2:],
            affine=image.affine.set_slice([-2, -1]),
            units=image.units[-2:],
            axis_labels=image.axis_labels[-2:],
            edge_color=DRAWN,
            edge_width=max(plane_shape(image)) / 200,
            face_color="transparent",
        )
        return layer

    def _layer_event(self, event: Any) -> None:
        is_chosen = event.sources[0] is self.choice.layer()
        if is_chosen and event.type in ("data", "set_data", "units", *MOVES):
            self.changed.emit()


def _around(layer: Shapes, image: Image) -> Region:
    """The pixels of an image that the rectangle around all shapes of a layer covers."""
    if not len(layer.data):
        raise InputError(
            f"Nothing is drawn in layer '{layer.name}': draw a rectangle, or choose all of the "
            "field."
        )
    check_upright(image)
    corners = np.concatenate([np.asarray(shape, np.float64) for shape in layer.data])
    # Pixels are centred on whole numbers; corners on a centre are all rounded alike.
    edges = np.floor(index_in(image, layer, corners)[:, -2:] + 1.0 + 1e-6)
    shape = plane_shape(image)
    low = np.clip(edges.min(axis=0), 0, shape).astype(int)
    high = np.clip(edges.max(axis=0), 0, shape).astype(int)
    if (high - low).min() < LEAST_SIDE:
        y, x = (int(side) for side in np.maximum(high - low, 0))
        raise InputError(
            f"What is drawn in layer '{layer.name}' covers {y} × {x} pixels of '{image.name}': "
            f"make it {LEAST_SIDE} × {LEAST_SIDE} or larger, or choose all of the field."
        )
    (top, left), (bottom, right) = low.tolist(), high.tolist()
    return Region((top, bottom), (left, right))
