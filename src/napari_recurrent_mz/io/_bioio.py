"""Files in the formats of microscope makers, by the readers of BioIO that are installed."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from ..core.scans import InputError
from ._axes import Content, Part, StackSelection
from ._facts import Facts
from ._image_file import MAKERS, ImageFile, check_is_file, log_of, unreadable
from ._ome import ome_root, sizes_of, take_ome

if TYPE_CHECKING:
    import dask.array
    from bioio import BioImage

_NO_NAME = r"^Channel:[\d:]+$"  # of a channel without one
_INSTALL = "pip install --upgrade bioio bioio-openreadout"


def is_of_maker(path: Path) -> bool:
    """Whether the name of a file is that of a maker's format."""
    return path.suffix.lower() in MAKERS and not path.is_dir()


@contextlib.contextmanager
def reading_bioio(path: Path) -> Iterator[BioFile]:
    """What is in a file, the one read last if it is the same; faults become one sentence."""
    # Nothing stays open.
    check_is_file(path)
    with log_of("bioio"):
        try:
            yield _opened(path, path.stat().st_mtime_ns)
        except InputError:
            raise
        except Exception as error:  # whatever it is, it is this file's
            raise unreadable(path.name, error) from error


@lru_cache(maxsize=1)
def _opened(path: Path, modified_ns: int) -> BioFile:
    maker, name = MAKERS[path.suffix.lower()], path.name
    try:
        from bioio_base.exceptions import UnsupportedFileFormatError

        image = _image(path)
        _check_whole(image, name)
        return BioFile(path, modified_ns, image)
    except ImportError as error:
        raise InputError(
            f"'{name}' is a {maker} file, which needs readers that are not installed ({error}): "
            f"install them ({_INSTALL}), or save the file as OME-TIFF."
        ) from error
    except UnsupportedFileFormatError as error:
        raise InputError(
            f"'{name}' is no {maker} file that an installed reader can read: it is damaged, or its "
            f"reader is missing or too old ({_INSTALL}); or save it as OME-TIFF."
        ) from error


def _image(path: Path) -> BioImage:
    """What is read by OpenReadout, which says what a file lacks; else by any other reader."""
    from bioio import BioImage
    from bioio_base.exceptions import UnsupportedFileFormatError

    with contextlib.suppress(ImportError, UnsupportedFileFormatError):
        from bioio_openreadout import Reader

        return BioImage(path, reader=Reader)
    return BioImage(path)


def _check_whole(image: BioImage, name: str) -> None:
    """Refuse a file that OpenReadout reads as far as it goes, and says so; others raise."""
    file: Any = getattr(image.reader, "file", None)
    notes: Sequence[str] = file.info.get("notes", ()) if hasattr(file, "check") else ()
    wrong = [note.partition(": ")[2] for note in notes if note.startswith("structure:")]
    if wrong and not file.check()["ok"]:
        raise InputError(f"'{name}' is damaged or cut short ({wrong[0]}): copy or save it again.")


@dataclass(frozen=True, eq=False)
class Scene:
    """One image of a file, none of whose pixels was read."""

    axes: str
    pixels: dask.array.Array
    channels: tuple[str, ...]
    pixel_um: tuple[float | None, ...]  # z, y, x
    time_step_s: float | None


class BioFile:
    """The images of a file: scenes, positions or series, as its format calls them."""

    def __init__(self, path: Path, modified_ns: int, image: BioImage) -> None:
        self.path = path
        numbers = range(len(image.scenes))
        self.scenes = tuple(_scene(image, number, path, modified_ns) for number in numbers)
        self._image = image

    @property
    def contents(self) -> list[Content]:
        """What there is, image by image."""
        several = len(self.scenes) > 1
        return [
            Content(str(self.path), str(number) if several else "", scene.axes, scene.pixels.shape)
            for number, scene in enumerate(self.scenes)
        ]

    def scene(self, part: Part) -> Scene:
        """The image of a part."""
        return self.scenes[int(part.inside or 0)]

    def read(self, part: Part, planes: Sequence[int] | None) -> ImageFile:
        """Planes of one channel and time point, by default all, with what the metadata say."""
        scene = self.scene(part)
        stack = StackSelection(part, scene.axes, scene.pixels.shape)
        data, _ = stack.read(scene.pixels, planes)
        facts = Facts()
        ome = self._ome_of(part)
        stated = [] if ome is None else take_ome(facts, *ome, part, part.name)
        _take_scene(facts, scene, part)
        return facts.image(data, part.name, str(self.path), stated)

    def _ome_of(self, part: Part) -> tuple[ET.Element, ET.Element] | None:
        """The OME metadata of a file, and of one image; None where they are of another size."""
        if self._ome is None:
            return None
        images = list(self._ome.iterfind("{*}Image"))
        number, scene = int(part.inside or 0), self.scene(part)
        shape = dict(zip(scene.axes, scene.pixels.shape, strict=True))
        image = images[number] if len(images) == len(self.scenes) else None
        if image is None or sizes_of(image) != tuple(shape.get(axis, 1) for axis in "ZYX"):
            return None
        return self._ome, image

    @cached_property
    def _ome(self) -> ET.Element | None:
        """The OME metadata, where the reader of this format knows them."""
        try:
            with warnings.catch_warnings(action="ignore"):
                xml = self._image.ome_metadata.to_xml()
        except Exception:  # each reader fails in its own way
            return None
        return ome_root(xml, self.path.name)


def _scene(image: BioImage, number: int, path: Path, modified_ns: int) -> Scene:
    image.set_scene(number)
    size, between = image.physical_pixel_sizes, image.time_interval
    return Scene(
        image.dims.order,
        _checked(image.dask_data, path, modified_ns),
        tuple(re.sub(_NO_NAME, "", str(name)) for name in image.channel_names or ()),
        (size.Z, size.Y, size.X),
        None if between is None else between.total_seconds(),
    )


def _checked(pixels: dask.array.Array, path: Path, modified_ns: int) -> dask.array.Array:
    """The same, as long as the file is what it was; whatever goes wrong becomes one sentence."""
    import dask.array

    def block(block_id: tuple[int, ...]) -> Any:
        if not path.exists() or path.stat().st_mtime_ns != modified_ns:
            raise InputError(
                f"'{path.name}' was removed or replaced since it was opened: put it back, or open "
                "it again."
            )
        try:
            read = pixels.blocks[block_id].compute(scheduler="synchronous")
        except Exception as error:  # whatever it is, it is this file's
            raise unreadable(path.name, error) from error
        if read.shape != tuple(n[i] for n, i in zip(pixels.chunks, block_id, strict=True)):
            raise InputError(  # some readers leave out planes that are missing
                f"'{path.name}' lacks planes of a stack: if its recording was stopped early, save "
                "those that are there anew."
            )
        return read

    checked: dask.array.Array = dask.array.map_blocks(  # type: ignore[no-untyped-call]
        block, chunks=pixels.chunks, dtype=pixels.dtype, meta=np.array((), pixels.dtype)
    )
    return checked


def _take_scene(facts: Facts, scene: Scene, part: Part) -> None:
    """Take what every reader of BioIO states, where the OME metadata do not."""
    z, y, x = ((value, "µm") for value in scene.pixel_um)
    facts.take_pixel(y, x, "its pixel size", part.name)
    facts.take_length("z_step_um", z, "its z step")
    facts.take_time_step(scene.time_step_s, "s", "its time interval")
    channel = part.channel or 0
    if not facts.channel and channel < len(scene.channels):
        facts.channel = scene.channels[channel]
