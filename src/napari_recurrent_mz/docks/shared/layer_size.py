"""The size of layers that napari opened in pixels: what a dock knows of it, on a button."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtWidgets import QPushButton

from ...core.errors import InputError, if_possible
from ...io._channels import BY_TIME
from . import layers as _layers
from .guard import on, say
from .parts import name_button
from .scan_table import Row, layers_of

_EVEN = 0.05  # of the step: how far typed heights may be off even ones
_GIVE_TIP = (
    "Draw them with the pixel size and the heights that this dock knows: in pixels they are far "
    "larger than a volume in µm. Their data stay as they are"
)
_BACK_TIP = "Draw the layers as they were"


Placement = dict[str, Any]
"""Where a layer is drawn, and its metadata, by napari's names."""


def placement_from(layer: Image, rows: Sequence[Row], pixel_um: float) -> Placement:
    """Where a layer in pixels belongs, by the heights of its rows in the table."""
    scale, translate, units = tuple(layer.scale), tuple(layer.translate), tuple(layer.units)
    facts = {
        key: value
        for key, value in _layers.known_metadata(layer).items()
        if key not in _layers.PLACES
    }
    labels, by_time = tuple(layer.axis_labels), _layers.heights_by_time(layer)
    if by_time is not None:
        facts[BY_TIME] = by_time.tolist()
    if _layers.frame_count(layer) > 1:  # as its file says, which is not asked any more
        labels = ("t", *labels[1:])
    metadata = {**layer.metadata, _layers.METADATA_KEY: facts}  # what is known beside the size
    lead, unit = layer.ndim - 3, 1.0
    if _layers.has_size(layer):  # its z alone is not known
        unit = _layers.um_per_unit(layer, -3)
    else:
        scale = (*scale[:-2], pixel_um, pixel_um)
        translate = (*translate[:-2], *(float(first) * pixel_um for first in translate[-2:]))
        units = (*units[: max(lead, 0)], *(["um"] * min(layer.ndim, 3)))
    if layer.ndim >= 3:
        first, step = _first_and_step(layer, rows, pixel_um)
        scale = (*scale[:lead], step / unit, *scale[-2:])
        translate = (*translate[:lead], first / unit, *translate[-2:])
    place = {"scale": scale, "translate": translate, "units": units}
    return {"axis_labels": labels, "metadata": metadata, **place}


def _first_and_step(layer: Image, rows: Sequence[Row], pixel_um: float) -> tuple[float, float]:
    """Height of plane 0 and the z step; a single plane has a thickness, too."""
    z_of_plane = {row.plane: row.z_um for row in rows if row.z_um is not None}
    heights = _layers.heights_um(layer)[0]
    if len(z_of_plane) < 2 and heights is not None:
        z_of_plane = dict(enumerate(float(z) for z in heights)) | z_of_plane
    if _layers.plane_count(layer) == 1 and z_of_plane:
        return float(z_of_plane[0]), _layers.thickness_um(pixel_um)
    if len(z_of_plane) < 2:
        more = "type it" if _layers.plane_count(layer) == 1 else "type those of two planes"
        raise InputError(f"The height of '{layer.name}' is not known: {more} in the table first.")
    planes, z_um = (np.array(values) for values in zip(*sorted(z_of_plane.items()), strict=True))
    step = float((z_um[-1] - z_um[0]) / (planes[-1] - planes[0]))
    off = np.abs(z_um - z_um[0] - step * (planes - planes[0]))
    if step == 0 or float(off.max()) > _EVEN * abs(step):
        raise InputError(
            f"The heights of the planes of '{layer.name}' are not evenly spaced, and a layer has "
            "one z step: correct them in the table, or hide the layer."
        )
    return round(float(z_um[0] - step * planes[0]), 9), round(step, 9)


class SizeButton(QPushButton):
    """Gives layers that are drawn in pixels their size, and takes it back; hidden otherwise."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._rows: list[Row] = []
        self._pixel_um: float | None = None
        self._before: list[tuple[weakref.ref[Image], Placement]] = []
        on(self, self.clicked, self._press)
        name_button(self, "Give layers their size in µm", _GIVE_TIP)
        self.hide()

    def look(self, rows: Sequence[Row], pixel_um: Callable[[], float]) -> None:
        """Offer what there is to do for the layers in a table, by the pixel size of a form."""
        self._rows, self._pixel_um = list(rows), if_possible(pixel_um)
        self._offer()

    def _offer(self) -> None:
        unsized = self._unsized()
        if unsized and self._pixel_um is not None:
            whose = "the layer its" if len(unsized) == 1 else f"{len(unsized)} layers their"
            self._show(f"Give {whose} size in µm", _GIVE_TIP)
        elif self._given():
            self._show("Undo the size", _BACK_TIP)
        else:
            self.hide()

    def _press(self) -> None:
        layers = self._unsized()
        if not layers:
            given, self._before = self._given(), []
            self._put(given)
            say(self, "The layers are drawn as they were.")
            return
        assert self._pixel_um is not None  # else the button is not there
        placements: list[tuple[Image, Placement]] = []
        for layer in layers:
            rows = [row for row in self._rows if row.layer is layer]
            placements.append((layer, placement_from(layer, rows, self._pixel_um)))
        self._before = [
            (weakref.ref(layer), {name: copy(getattr(layer, name)) for name in place})
            for layer, place in placements
        ]
        self._put(placements)
        say(self, _sized_sentence(layers), "done")

    def _put(self, placements: Sequence[tuple[Image, Placement]]) -> None:
        for layer, placement in placements:
            for name, value in placement.items():
                setattr(layer, name, value)
        self._viewer.reset_view()
        self._offer()

    def _unsized(self) -> list[Image]:
        return [layer for layer in layers_of(self._rows) if not self._has_its_size(layer)]

    def _has_its_size(self, layer: Image) -> bool:
        """Whether a layer lies where it belongs, as far as anybody knows."""
        if not _layers.has_size(layer):
            return False
        with_height = [row for row in self._rows if row.layer is layer and row.z_um is not None]
        is_z_known = layer.ndim < 3 or _layers.heights_um(layer)[0] is not None
        return is_z_known or len(with_height) < 2

    def _given(self) -> list[tuple[Image, Placement]]:
        """Layers that got their size here and are still in the viewer, with where they were."""
        pairs = ((_layers.there(self._viewer, ref), at) for ref, at in self._before)
        return [(one, at) for one, at in pairs if one is not None]

    def _show(self, text: str, tooltip: str) -> None:
        name_button(self, text, tooltip)
        self.show()


def _sized_sentence(layers: Sequence[Image]) -> str:
    """What was done, for the first layer in numbers."""
    layer = layers[0]
    pixel = float(layer.scale[-1]) * _layers.um_per_unit(layer, -1)
    text = f"“{layer.name}” is drawn in µm now: pixels of {pixel:.4g} µm"
    heights = _layers.heights_um(layer)[0]
    if heights is not None and len(heights) == 1:
        text += f", z = {heights[0]:.4g} µm"
    elif heights is not None:
        text += f", z from {heights[0]:.4g} to {heights[-1]:.4g} µm"
    more = f" So are {len(layers) - 1} more." if len(layers) > 1 else ""
    return f"{text}.{more} Data are unchanged; “Undo the size” takes it back."
