"""napari's reader: image files and saved sessions as layers in µm."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...core.memory import is_out_of_memory
from ...core.scans import InputError
from ...io import ImageFile
from ...io._parts import Content, Part, contents_of, read_part
from ...io._tiff import heights_in
from ...io._zarr import ZarrImage, is_zarr
from ..shared.drop import doubts_about, layer_arguments
from ..shared.layers import METADATA_KEY
from ..shared.result import layer_data

LayerData = tuple[Any, dict[str, Any], str]
Reader = Callable[[str], list[LayerData]]

_PER_AXIS = ("scale", "translate", "units", "axis_labels")
_SESSIONS = (".rmz", ".rmz.zip")
_KNOWN = ("pixel_um", "na", "wavelength_um", "immersion_index")
_MOST_IMAGES = 24
_PAIR = ("magenta", "green")
_MORE = ("cyan", "yellow", "magenta", "red", "green", "blue")


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """What reads a file as layers in µm; None for several files, or where napari knows as much."""
    if not isinstance(path, str):
        return None
    file = Path(path)
    if not file.exists() or (file.is_dir() and not (is_zarr(file) or _is_session(file))):
        return None
    if _is_session(file):
        return read_session
    try:
        stacks = _stacks_in(file)
    except InputError as error:
        return partial(_refuse, error)
    return read_images if any(stack.says_more for stack in stacks) else None


def read_images(path: str) -> list[LayerData]:
    """A layer for each position and channel of an image file."""
    file = Path(path)
    stacks = _stacks_in(file)
    with _naming_damage(file):
        layers = [stack.layer() for stack in stacks]
    sized = (stack.image for stack in stacks if stack.image.pixel_um is not None)
    for sentence in dict.fromkeys(doubts_about(sized)):
        warnings.warn(sentence, stacklevel=2)  # which napari shows
    return layers


def read_session(path: str) -> list[LayerData]:
    """The scans of a saved session, each at its height, and its volume, if there is one."""
    from ...engine.session import read_session as read

    session = read(path)
    settings = session.settings
    optics, grid = settings.optics, settings.grid
    known = {name: getattr(optics, name) for name in _KNOWN}
    images = [
        ImageFile(s.pixels, s.name or f"z={s.z_um:g}µm", z_um=np.array([s.z_um]), **known)
        for s in session.scans
    ]
    if session.volume is not None:
        known |= {"z_um": grid.z_um, "z_step_um": grid.step_um}
        known["provenance"] = {
            "method": settings.method,
            "model": settings.model,
            "optics": optics.as_dict(),
            "scans": session.lines,
        }
        images.append(ImageFile(session.volume, Path(path).name.partition(".rmz")[0], **known))
    return [(image.stack, _arguments(image), "image") for image in images]


@dataclass(frozen=True, eq=False)
class _Stack:
    """One channel of one image in a file, none of whose pixels was read."""

    content: Content
    part: Part
    image: ImageFile  # what the file says of it

    @property
    def says_more(self) -> bool:
        """Whether the file says anything that napari's own reader does not know."""
        image, named = self.image, (self.content.length(axis) for axis in "TCZ")
        known = (image.pixel_um, image.z_step_um, image.z_um, image.provenance or None)
        return any(n > 1 for n in named) or any(v is not None for v in known) or self.is_zarr

    @property
    def is_zarr(self) -> bool:
        """Whether it lies in an OME-Zarr."""
        return Path(self.part.path).is_dir()

    def layer(self) -> LayerData:
        """Pixels, which are read later where the format allows it, and what they are."""
        about, image = _arguments(self.image), self.image
        if image.n_planes == 1 and image.provenance and not self.is_zarr:
            heights = heights_in(Path(self.part.path))
            if heights is not None:  # the image of a surface, as this package writes it
                about |= {key: about[key][-2:] for key in _PER_AXIS if key in about}
                about["metadata"][METADATA_KEY]["heights_um"] = heights
        axes = "ZYX"[-len(about["axis_labels"]) :]
        if self.content.length("C") > 1:
            about |= self._as_channel()
        if self.content.length("T") > 1:  # the first axis, in points of time
            first = dict(zip(_PER_AXIS, (1.0, 0.0, "pixel", "t"), strict=True))
            about |= {key: (one, *about[key]) for key, one in first.items() if key in about}
            axes = f"T{axes}"
        pixels = self._lazy(axes) if self.is_zarr else self._read(axes)
        return pixels, about, "image"

    def _as_channel(self) -> dict[str, Any]:
        """Name and colour of one of several channels."""
        number, count = self.part.channel or 0, self.content.length("C")
        colours = _PAIR if count == 2 else _MORE
        return {
            "name": self.image.channel or f"{self.image.name} channel {number}",
            "colormap": colours[number % len(colours)],
            "blending": "additive",
        }

    def _read(self, axes: str) -> Any:
        """All pixels, with these axes."""
        if "T" in axes:
            points = range(self.content.length("T"))
            return np.stack([read_part(replace(self.part, time=t)).stack for t in points])
        image = read_part(self.part)
        return image.stack if "Z" in axes else image.data

    def _lazy(self, axes: str) -> Any:
        """Every level with these axes, to be read when it is shown."""
        import dask.array

        image = ZarrImage(Path(self.part.path) / self.part.inside, self.part.name)
        return layer_data(
            [self._turned(dask.array.from_zarr(level), axes) for level in image.levels]  # type: ignore[no-untyped-call]
        )

    def _turned(self, level: Any, axes: str) -> Any:
        """One level with these axes only."""
        letters = self.content.axes
        if "Z" in axes and "Z" not in letters:
            unnamed = [a for a in letters if a not in "TCYX" and self.content.length(a) > 1]
            letters = letters.replace(unnamed[0], "Z") if unnamed else letters
        present = "".join(a for a in letters if a in axes)
        entry = {"C": self.part.channel or 0}
        at = tuple(slice(None) if a in present else entry.get(a, 0) for a in letters)
        level = level[at].transpose([present.index(a) for a in axes if a in present])
        # a plane at a height of its own has an axis for it
        return level if len(present) == len(axes) else level[..., np.newaxis, :, :]


def _stacks_in(path: Path) -> list[_Stack]:
    """Every channel of every image in a file; none when one is RGB or has axes of its own."""
    with _naming_damage(path):
        contents = contents_of(path)
        if not all(_is_stack(content) for content in contents):
            return []
        if len(contents) > _MOST_IMAGES:
            one = path / contents[0].inside if path.is_dir() else path
            raise InputError(
                f"'{path.name}' holds {len(contents)} images, too many to open as layers: open "
                f"one of them, for instance '{one}', or give all of them to recurrent-mz batch."
            )
        return [stack for content in contents for stack in _channels_of(content)]


@contextlib.contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """Whatever a damaged file raises, as one sentence that names it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise InputError(
                f"There is not enough memory for '{path.name}': save it as OME-Zarr, whose pixels "
                "are read when they are shown."
            ) from error
        raise InputError(
            f"'{path.name}' cannot be read ({type(error).__name__}: {error}): it may be damaged, "
            "so copy or save it again."
        ) from error


def _channels_of(content: Content) -> Iterator[_Stack]:
    time = 0 if content.length("T") > 1 else None
    count = content.length("C")
    for channel in range(count):
        part = Part(content.path, content.inside, time, channel if count > 1 else None)
        image = read_part(part, [])
        yield _Stack(content, part, replace(image, name=replace(part, time=None).name))


def _is_stack(content: Content) -> bool:
    """Whether there is at most one axis beside time, channel, y and x."""
    long = [a for a, n in zip(content.axes, content.shape, strict=True) if n > 1]
    others = [a for a in long if a not in "TCYX"]
    return "S" not in others and len(others) < 2 and {"Y", "X"} <= set(content.axes)


def _arguments(image: ImageFile) -> dict[str, Any]:
    """Keyword arguments for a layer, with the record of how it was made."""
    about = layer_arguments(image)
    known = about["metadata"][METADATA_KEY]
    about["metadata"][METADATA_KEY] = {**image.provenance, **known}
    return about


def _is_session(path: Path) -> bool:
    return path.name.lower().endswith(_SESSIONS)


def _refuse(error: InputError, _path: str) -> list[LayerData]:
    raise error
