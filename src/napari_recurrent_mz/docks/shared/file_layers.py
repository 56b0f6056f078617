"""The layers of an image file, one a channel; channels or times in it that may be heights."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QPushButton

from ...core.arrays import Array
from ...core.scans import InputError
from ...io import ImageFile, check_readable, z_from_name
from ...io._axes import AXIS_WORDS, StackSelection
from ...io._bioio import is_of_maker, reading_bioio
from ...io._channels import BY_TIME, first_point_of
from ...io._parts import Content, Part, channels_in, contents_of, heights_by_time, read_part
from ...io._tiff import heights_in
from ...io._zarr import ZarrImage
from . import layers as _layers
from .drop import files_in, nothing_in, noting
from .guard import on
from .parts import name_button

_TIP = (
    "Some programs label the planes of a z-stack as channels or time points. Press to open the "
    "file as a z-stack, and to take planes of it as scans; layers that are there stay as they are"
)
LayerData = tuple[Any, dict[str, Any], str]
_PER_AXIS = ("scale", "translate", "units", "axis_labels")
_PAIR = ("magenta", "green")
_MORE = ("cyan", "yellow", "magenta", "red", "green", "blue")


class Mislabelled(NamedTuple):
    """An image whose channels (C) or time points (T) may be heights: they have one plane each."""

    path: str
    inside: str
    letter: str
    planes: int


def mislabelled(layer: Layer) -> Mislabelled | None:
    """What may be heights in the file of a layer; None where nothing may be."""
    file = _layers.own_metadata(layer).get(_layers.FILE)
    if not isinstance(file, Mapping) or not isinstance(layer, Image):
        return None
    shape, labels = _layers.full_resolution(layer).shape, layer.axis_labels
    lengths = {"C": int(file.get("channels") or 1), "T": shape[0] if labels[0] == "t" else 1}
    planes = 1 if len(shape) == 3 and labels[0] == "t" else _layers.plane_count(layer)
    along = [letter for letter, count in lengths.items() if count > 1]
    is_split = "t" in file or "z" in file
    if planes > 1 or len(along) != 1 or is_split:
        return None
    return Mislabelled(str(file["path"]), str(file["inside"]), along[0], lengths[along[0]])


class HeightsButton(QPushButton):
    """Offers to take channels or time points for heights; hidden where there are none to take."""

    pressed_for = Signal(object)  # a Mislabelled

    def __init__(self) -> None:
        super().__init__()
        self._offered: Mislabelled | None = None
        name_button(self, "These planes are heights (z)", _TIP)
        on(self, self.clicked, self._press)
        self.offer(None)

    def look(self, layers: Iterable[Layer]) -> None:
        """Offer what is in the file of one of these layers."""
        self.offer(next(filter(None, map(mislabelled, layers)), None))

    def offer(self, one: Mislabelled | None) -> None:
        """Offer this, or nothing."""
        self._offered = one
        self.setVisible(one is not None)
        if one is not None:
            words = f"{AXIS_WORDS[one.letter]}s"
            name_button(self, f"The {one.planes} {words} are heights (z)", _TIP)

    def _press(self) -> None:
        if self._offered is not None:
            self.pressed_for.emit(self._offered)


@dataclass(frozen=True, eq=False)
class FileStack:
    """One channel of one image in a file, none of whose pixels was read."""

    content: Content
    part: Part
    image: ImageFile  # what the file says of it

    @property
    def says_more(self) -> bool:
        """Whether the file says anything that napari's own reader does not know."""
        image, named = self.image, (self.content.length(axis) for axis in "TCZ")
        facts = (image.pixel_um, image.z_step_um, image.z_um, image.provenance or None)
        return any(n > 1 for n in named) or any(v is not None for v in facts) or self.is_lazy

    @property
    def is_lazy(self) -> bool:
        """Whether pixels are read when they are shown."""
        path = Path(self.part.path)
        return path.is_dir() or is_of_maker(path)

    def layer(self) -> LayerData:
        """Pixels, which are read later where the format allows it, and what they are."""
        about, image = layer_arguments(self.image), self.image
        if image.n_planes == 1 and image.provenance and not self.is_lazy:
            heights = heights_in(Path(self.part.path))
            if heights is not None:  # the image of a surface, as this package writes it
                about |= {key: about[key][-2:] for key in _PER_AXIS if key in about}
                about["metadata"][_layers.METADATA_KEY]["heights_um"] = heights
        axes = "ZYX"[-len(about["axis_labels"]) :]
        if self.content.length("C") > 1:
            about |= self._as_channel()
        if self.content.length("T") > 1:  # the first axis, in points of time
            between_s = self.image.time_step_s
            begin = first_point_of(self.image.provenance) * (between_s or 1.0)
            values = (between_s or 1.0, begin, "second" if between_s else "pixel", "t")
            first = dict(zip(_PER_AXIS, values, strict=True))
            about |= {key: (one, *about[key]) for key, one in first.items() if key in about}
            axes = f"T{axes}"
        metadata = about["metadata"][_layers.METADATA_KEY]
        about["metadata"][_layers.LAID_KEY] = {
            name: about.get(name) for name in ("axis_labels", "units")
        }
        metadata[_layers.FILE] = {
            "path": self.part.path,
            "inside": self.part.inside,
            "channel": self.part.channel,
            "channels": self.content.length("C"),
        }
        by_time = heights_by_time(self.part, self.content.length("T"))
        if by_time is not None:
            metadata[BY_TIME] = by_time.tolist()
        if self.is_lazy:
            return self._lazy(axes), about, "image"
        points = range(self.content.length("T")) if "T" in axes else [self.part.time]
        images = [read_part(replace(self.part, time=t)) for t in points]
        pixels = [one.stack if "Z" in axes else one.data for one in images]
        return np.stack(pixels) if "T" in axes else pixels[0], about, "image"

    def _as_channel(self) -> dict[str, Any]:
        """Name and colour of one of several channels."""
        number, count = self.part.channel or 0, self.content.length("C")
        colours = _PAIR if count == 2 else _MORE
        return {
            "name": self.image.channel or f"{self.image.name} channel {number}",
            "colormap": colours[number % len(colours)],
            "blending": "additive",
        }

    def _lazy(self, axes: str) -> Any:
        """Every level with these axes, to be read when it is shown."""
        # Chunks of an OME-Zarr that its first time point lacks are told now: they would be zeros.
        return _layers.layer_data([self._turned(level, axes) for level in self._levels()])

    def _levels(self) -> list[Any]:
        path = Path(self.part.path)
        if is_of_maker(path):
            with reading_bioio(path) as file:
                return [file.scene(self.part).pixels]
        import dask.array

        image = ZarrImage(path / self.part.inside, self.part.name)
        selection = StackSelection(self.part, image.letters, image.array.shape)
        if sentence := image.lacking(selection.index):
            warnings.warn(sentence, stacklevel=2)  # which napari shows
        return [dask.array.from_zarr(level) for level in image.levels]  # type: ignore[no-untyped-call]

    def _turned(self, level: Any, axes: str) -> Any:
        """One level with these axes only."""
        letters = self.content.axes
        unnamed = [a for a in letters if a not in "TCZYX" and self.content.length(a) > 1]
        if "Z" in axes and unnamed:
            letters = letters.replace("Z", "_").replace(unnamed[0], "Z")
        present = "".join(a for a in letters if a in axes)
        entry = {"C": self.part.channel or 0}
        at = tuple(slice(None) if a in present else entry.get(a, 0) for a in letters)
        level = level[at].transpose([present.index(a) for a in axes if a in present])
        # a plane at a height of its own has an axis for it
        return level if len(present) == len(axes) else level[..., np.newaxis, :, :]


def stacks_of(content: Content, z_axis: str = "") -> list[FileStack]:
    """Every channel of an image; the planes along ``z_axis``, C or T, may be its heights."""
    if content.trouble:
        raise InputError(content.trouble)
    images, content = channels_in(content, z_axis), content.with_z(z_axis)
    time, several = 0 if content.length("T") > 1 else None, len(images) > 1
    stacks = []
    for number, image in enumerate(images):
        part = Part(content.path, content.inside, time, number if several else None, z_axis)
        named = replace(image, name=replace(part, time=None).name)
        stacks.append(FileStack(content, part, named))
    return stacks


MOST_CHANNELS = 24
"""More channels than that are not made layers: they may be the heights of a z-stack."""


def check_channels(content: Content) -> None:
    """Refuse more channels than a list of layers can show."""
    count = content.length("C")
    if count > MOST_CHANNELS:
        name = Part(content.path, content.inside).name
        heights = (
            ": if they are heights, drop the file on the Reconstruct dock and press the button "
            "that says so"
        )
        remedy = (
            heights if content.length("Z") == 1 else ": save those you need in a file of their own"
        )
        raise InputError(f"'{name}' has {count} channels, too many to open as layers{remedy}.")


@dataclass(frozen=True, eq=False)
class Opened:
    """What came of files: layers, what the files say of each, and what could not be read."""

    layers: list[LayerData]
    images: list[ImageFile]
    sentences: list[str]
    mislabelled: list[Mislabelled]  # images that were not opened, for they may be z-stacks


def open_files(paths: list[Path], as_heights: Mislabelled | None = None) -> Opened:
    """Read everything in files that can be read as layers, or one image as a z-stack."""
    opened = Opened([], [], [], [])
    files = files_in(paths, opened.sentences)
    for file in files:
        with noting(opened.sentences):
            _open(file, as_heights, opened)
    if not (opened.layers or opened.sentences):
        opened.sentences.extend(nothing_in(files))
    return opened


def _open(file: Path, as_heights: Mislabelled | None, opened: Opened) -> None:
    for content in contents_of(check_readable(file)):
        if as_heights is not None and content.inside != as_heights.inside:
            continue
        try:
            letter = "" if as_heights is None else as_heights.letter
            if as_heights is None and content.length("C") > MOST_CHANNELS:
                one = Mislabelled(content.path, content.inside, "C", content.length("C"))
                opened.mislabelled.extend([one] if content.length("Z") == 1 else [])
                check_channels(content)
            stacks = stacks_of(content, letter)
            opened.layers.extend([stack.layer() for stack in stacks])
            opened.images.extend(stack.image for stack in stacks)
        except InputError as error:
            opened.sentences.append(str(error))


def layer_arguments(image: ImageFile) -> dict[str, Any]:
    """Keyword arguments for the layer of a file; a plane of known height has an axis for it."""
    heights, is_flat = image.z_um, image.data.ndim == 2
    if heights is None and is_flat:
        named = z_from_name(image.name)
        heights = None if named is None else np.array([named])
    metadata = _layers.file_metadata(image)
    about: dict[str, Any] = {"name": image.name, "metadata": {_layers.METADATA_KEY: metadata}}
    start, step = 0.0 if heights is None else float(heights[0]), _step_um(image, heights)
    place = _layers.um_scale_and_place(step, image.pixel_um, start, image.place_um)
    if is_flat and (heights is None or image.pixel_um is None):
        return about | {key: values[-2:] for key, values in place.items()}
    if heights is None:
        metadata[_layers.SHOWN_STEP] = step
    return about | place


def _step_um(image: ImageFile, heights: Array | None) -> float:
    """The z-step to show a stack, or a single plane, with."""
    if heights is None:
        return float(image.z_step_um or image.pixel_um or 1.0)
    if len(heights) == 1:
        return float(image.z_step_um or _layers.thickness_um(image.pixel_um))
    step = float(np.median(np.diff(heights)))
    stated = image.z_step_um
    is_stated = stated is not None and np.isclose(abs(step), stated)
    return math.copysign(stated, step) if is_stated and stated else step
