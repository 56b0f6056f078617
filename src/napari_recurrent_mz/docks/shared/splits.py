"""What the layers know into which napari splits a stack (right-click, Split Stack).

napari keeps scale, position and metadata, names the parts “stack layer 0”, and forgets units
and names of axes. The metadata are then those of the whole stack or, where another reader made
it, none.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image, Layer

from ...core.scans import InputError
from ...io._axes import AXIS_WORDS
from ...io._channels import BY_TIME
from ...io._parts import Part, read_part
from . import layers as _layers

_SPLIT = re.compile(r"(?P<name>.*) layer (?P<number>\d+)(?: \[\d+\])?", re.DOTALL)
_PART = {"T": "time", "C": "channel"}


class _Gone(NamedTuple):
    """A layer that has just left, which may have been split."""

    name: str
    shape: tuple[int, ...]
    path: str


class Splits:
    """Watches a viewer's layers, and gives those that come of a split what they should know."""

    def __init__(self) -> None:
        self._gone: _Gone | None = None

    def removed(self, layer: Layer) -> None:
        """A layer has left: that of another reader may come back in parts."""
        self._gone = None
        if isinstance(layer, Image) and layer.source.path and not _layers.own_metadata(layer):
            shape = tuple(_layers.full_resolution(layer).shape)
            self._gone = _Gone(layer.name, shape, str(layer.source.path))

    def inserted(self, layer: Layer) -> bool:
        """A layer has come; whether it is a part, and was given something."""
        match = _SPLIT.fullmatch(layer.name)
        if match is None or not isinstance(layer, Image):
            return False
        number, gone = int(match["number"]), self._gone
        if layer.metadata.get(_layers.LAID_KEY):
            return _lay_out(layer, number)
        if gone is not None and gone.name == match["name"]:
            return _take_from_file(layer, number, gone)
        return False


def _lay_out(layer: Image, number: int) -> bool:
    """Give a layer its axes back, and the part of the metadata that is its own."""
    laid = layer.metadata[_layers.LAID_KEY]
    labels, units = (tuple(laid.get(name) or ()) for name in ("axis_labels", "units"))
    if len(labels) != layer.ndim + 1:
        return False  # it was no split, or it is done already
    metadata = dict(_layers.own_metadata(layer))
    if _layers.FILE in metadata:  # which of its parts this is
        metadata[_layers.FILE] = {**metadata[_layers.FILE], labels[0]: number}
    if labels[0] == "z":
        heights = metadata.pop("z_um", None)
        if heights is not None and number < len(heights):
            metadata["z_um"] = [heights[number]]
        metadata.pop("z_step_um", None)
    elif labels[0] == "t":
        metadata.pop("time_points", None)
        by_time = metadata.pop(BY_TIME, None)
        if by_time is not None and number < len(by_time):
            metadata["z_um"] = by_time[number]
            if layer.ndim > 2:
                moved = np.zeros(layer.ndim)
                moved[-3] = by_time[number][0] - by_time[0][0]
                layer.translate = layer.translate + moved
    rest = {"axis_labels": labels[1:], "units": units[1:] or None}
    layer.metadata = {**layer.metadata, _layers.METADATA_KEY: metadata, _layers.LAID_KEY: rest}
    layer.axis_labels = labels[1:]
    if units:
        layer.units = units[1:]
    return True


def _take_from_file(layer: Image, number: int, gone: _Gone) -> bool:
    """Look into the file of the stack that was split for what it says of one part."""
    axes, shape = _layers.axes_in_file(gone.path)
    if shape != gone.shape or tuple(_layers.full_resolution(layer).shape) != shape[1:]:
        return False
    letter = axes[0]
    layer.axis_labels = tuple(axes[1:].lower())
    chosen: dict[str, Any] = {name: 0 if a in axes else None for a, name in _PART.items()}
    if letter in AXIS_WORDS:
        chosen[_PART[letter]] = number
    if "C" in axes[1:]:
        return True  # of which channel it would be is not known
    with contextlib.suppress(InputError):
        image = read_part(Part(gone.path, **chosen), ())
        metadata = _layers.file_metadata(image)
        if letter == "Z" and image.z_um is not None:
            metadata["z_um"] = [float(image.z_um[number])]
        if letter == "C":
            metadata[_layers.FILE] = {
                "path": gone.path, "inside": "", "channel": number, "channels": shape[0],
            }  # fmt: skip
        layer.metadata = {**layer.metadata, _layers.METADATA_KEY: metadata}
    return True
