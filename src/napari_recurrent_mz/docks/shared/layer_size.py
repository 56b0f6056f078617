"""The size of layers that napari opened in pixels: what a dock knows of it, on a button."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QPushButton, QWidget

from ...core.scans import InputError
from . import layers as _layers
from .guard import on
from .scan_table import Row

_EVEN = 0.05  # of the step: how far typed heights may be off even ones
_GIVE_TIP = (
    "Draw them with the pixel size and the heights that this dock knows: in pixels they are far "
    "larger than a volume in µm. Their data stay as they are"
)
_BACK_TIP = "Draw the layers as they were"


class Frame(NamedTuple):
    """Where a layer is drawn; the names are napari's."""

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[Any, ...]
    metadata: dict[str, Any]

    @classmethod
    def of(cls, layer: Image) -> Frame:
        """As it is now."""
        place = tuple(layer.scale), tuple(layer.translate), tuple(layer.units)
        return cls(*place, dict(layer.metadata))

    def put_on(self, layer: Image) -> None:
        """Draw a layer there; its data are not touched."""
        layer.metadata = self.metadata
        layer.scale, layer.translate, layer.units = self[:3]


def frame_from(layer: Image, rows: Sequence[Row], pixel_um: float) -> Frame:
    """Where a layer in pixels belongs, by the heights of its rows in the table."""
    now, lead = Frame.of(layer), layer.ndim - 3
    if _layers.has_size(layer):  # its z alone is not known
        first, step = _first_and_step(layer, rows, pixel_um)
        unit = _layers.um_per_unit(layer, -3)
        scale = (*now.scale[:lead], step / unit, *now.scale[-2:])
        translate = (*now.translate[:lead], first / unit, *now.translate[-2:])
        return Frame(scale, translate, now.units, _metadata_from(layer))
    corner = tuple(float(first) * pixel_um for first in now.translate[-2:])
    if layer.ndim == 2:
        return Frame((pixel_um,) * 2, corner, ("um", "um"), _metadata_from(layer))
    first, step = _first_and_step(layer, rows, pixel_um)
    return Frame(
        (*now.scale[:lead], step, pixel_um, pixel_um),
        (*now.translate[:lead], first, *corner),
        (*now.units[:lead], "um", "um", "um"),
        _metadata_from(layer),
    )


def _metadata_from(layer: Image) -> dict[str, Any]:
    """What its metadata, or else its file, says beside the size that it has from now on."""
    known = _layers.known_metadata(layer)
    told = {key: value for key, value in known.items() if key not in _layers.PLACES}
    return {**layer.metadata, _layers.METADATA_KEY: told}


def _first_and_step(layer: Image, rows: Sequence[Row], pixel_um: float) -> tuple[float, float]:
    """Height of plane 0 and the z step; a single plane is drawn one pixel thick."""
    known = {row.plane: row.z_um for row in rows if row.z_um is not None}
    heights = _layers.heights_um(layer)[0]
    if len(known) < 2 and heights is not None:
        known = dict(enumerate(float(z) for z in heights)) | known
    if _layers.plane_count(layer) == 1 and known:
        return float(known[0]), pixel_um
    if len(known) < 2:
        more = "type it" if _layers.plane_count(layer) == 1 else "type those of two planes"
        raise InputError(f"The height of '{layer.name}' is not known: {more} in the table first.")
    planes, z_um = np.array(sorted(known)), np.array([known[p] for p in sorted(known)])
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

    said = Signal(str, str)
    """A sentence and its kind."""

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._rows: list[Row] = []
        self._pixel_um: float | None = None
        self._before: list[tuple[weakref.ref[Image], Frame]] = []
        on(self, self.clicked, self._press)
        self._show("Give layers their size in µm", _GIVE_TIP)
        self.hide()

    def look(self, rows: Sequence[Row], pixel_um: Callable[[], float]) -> None:
        """Offer what there is to do for the layers in a table, by the pixel size of a form."""
        self._rows, self._pixel_um = list(rows), None
        with contextlib.suppress(InputError):
            self._pixel_um = pixel_um()
        self._offer()

    def _offer(self) -> None:
        unsized, given = self._unsized(), self._given()
        if unsized and self._pixel_um is not None:
            whose = "the layer its" if len(unsized) == 1 else f"{len(unsized)} layers their"
            self._show(f"Give {whose} size in µm", _GIVE_TIP)
        elif given:
            self._show("Undo the size", _BACK_TIP)
        else:
            self.hide()

    def give(self) -> None:
        """Give every layer in pixels its size."""
        assert self._pixel_um is not None  # else the button is not there
        layers = self._unsized()
        try:
            frames = [
                frame_from(layer, [r for r in self._rows if r.layer is layer], self._pixel_um)
                for layer in layers
            ]
        except InputError as error:
            self.said.emit(str(error), "error")
            return
        self._before = [(weakref.ref(layer), Frame.of(layer)) for layer in layers]
        for layer, frame in zip(layers, frames, strict=True):
            frame.put_on(layer)
        self._viewer.reset_view()
        self._offer()
        self.said.emit(_said_of(layers), "done")

    def take_back(self) -> None:
        """Draw them as they were."""
        given, self._before = self._given(), []
        for layer, frame in given:
            frame.put_on(layer)
        self._viewer.reset_view()
        self._offer()
        self.said.emit("The layers are drawn as they were.", "hint")

    def _press(self) -> None:
        if self._unsized():
            self.give()
        else:
            self.take_back()

    def _unsized(self) -> list[Image]:
        found: dict[int, Image] = {}
        for row in self._rows:
            if row.layer is not None and not self._has_its_size(row.layer):
                found.setdefault(id(row.layer), row.layer)
        return list(found.values())

    def _has_its_size(self, layer: Image) -> bool:
        """Whether a layer lies where it belongs, as far as anybody knows."""
        if not _layers.has_size(layer):
            return False
        known = [row for row in self._rows if row.layer is layer and row.z_um is not None]
        is_z_known = layer.ndim < 3 or _layers.heights_um(layer)[0] is not None
        return is_z_known or len(known) < 2

    def _given(self) -> list[tuple[Image, Frame]]:
        """Layers that got their size here and are still in the viewer, with where they were."""
        alive = ((ref(), frame) for ref, frame in self._before)
        return [
            (one, frame) for one, frame in alive if one is not None and one in self._viewer.layers
        ]

    def _show(self, text: str, tooltip: str) -> None:
        self.setText(text)
        self.setAccessibleName(text)
        self.setToolTip(tooltip)
        self.show()


def _said_of(layers: Sequence[Image]) -> str:
    """What was done, for the first layer in numbers."""
    layer = layers[0]
    pixel = float(layer.scale[-1]) * _layers.um_per_unit(layer, -1)
    told = f"“{layer.name}” is drawn in µm now: pixels of {pixel:.4g} µm"
    heights = _layers.heights_um(layer)[0]
    if heights is not None and len(heights) == 1:
        told += f", z = {heights[0]:.4g} µm"
    elif heights is not None:
        told += f", z from {heights[0]:.4g} to {heights[-1]:.4g} µm"
    more = f" So are {len(layers) - 1} more." if len(layers) > 1 else ""
    return f"{told}.{more} Data are unchanged; “Undo the size” takes it back."
