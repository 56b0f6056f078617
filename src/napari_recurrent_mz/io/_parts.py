"""One image out of a file of many: what a file holds, and single planes of it.

A file of a long experiment holds time points, channels and positions, and does not fit in
memory. :func:`contents_of` says what is there without reading a pixel, :func:`read_part` reads
the planes that are wanted of one image.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ..core.scans import InputError
from ._image_file import ImageFile, squeeze_to_zyx
from ._ome import companion_metadata
from ._tiff import HEIGHTS_NAME, check_whole, image_file_of, tiff_errors_explained
from ._vendors import record_of
from ._zarr import ZarrImage, is_zarr, reading_zarr

_MOST_POSITIONS = 100_000


@dataclass(frozen=True)
class Content:
    """An image in a file and its size."""

    path: str
    inside: str  # group of an OME-Zarr, position of a TIFF; empty when it is all there is
    axes: str = ""  # a letter for each length: T, C, Z, Y, X and others
    shape: tuple[int, ...] = ()
    trouble: str = ""  # why it cannot be read, where others in the file can

    def length(self, axis: str) -> int:
        """How many entries the axis of a letter has, 1 when there is none."""
        index = self.axes.find(axis)
        return 1 if index < 0 else self.shape[index]


@dataclass(frozen=True)
class Part:
    """One z-stack or image of a file."""

    path: str
    inside: str = ""  # as in Content
    time: int | None = None  # from 0; None where there is one only
    channel: int | None = None  # the same

    @property
    def name(self) -> str:
        """Name of the part in a sentence."""
        name = Path(self.path).name
        if self.inside:
            name = f"{name}/{self.inside}"
        return name if self.time is None else f"{name}, time point {self.time}"


class SomePlanes:
    """A stack of shape (Z, Y, X) of which some planes were read."""

    ndim = 3

    def __init__(self, shape: tuple[int, ...], planes: Mapping[int, npt.NDArray[Any]]) -> None:
        self.shape = shape
        self._planes = planes

    def __getitem__(self, plane: int) -> npt.NDArray[Any]:
        return self._planes[plane]


def contents_of(path: str | os.PathLike[str]) -> list[Content]:
    """Images that a TIFF or OME-Zarr holds.

    Of a TIFF that is one file of a larger OME-TIFF set, those that begin in it; of an OME-Zarr
    plate, the fields of all its wells, row by row.
    """
    path = Path(path)
    contents = list(_groups_of(path) if path.is_dir() else _positions_of(path))
    if contents and all(content.trouble for content in contents):
        raise InputError(contents[0].trouble)
    return contents


def _groups_of(path: Path) -> Iterator[Content]:
    """The images of an OME-Zarr."""
    if not is_zarr(path):
        raise InputError(f"'{path}' is a folder that is no OME-Zarr.")
    with reading_zarr(path.name):
        groups = fields_of(path) or _series_of(path) or [""]
    for inside in groups:
        try:
            image = ZarrImage(path / inside, _name(path, inside))
        except InputError as error:
            yield Content(str(path), inside, trouble=str(error))
        else:
            yield Content(str(path), inside, image.letters, tuple(image.array.shape))


def _positions_of(path: Path) -> Iterator[Content]:
    """The images of a TIFF."""
    with tiff_errors_explained(path) as said:
        tiff = _OpenTiff.of(path)
        said += tiff.said
        for number in tiff.own:
            inside, image, trouble = (
                str(number) if len(tiff.own) > 1 else "",
                tiff.images[number],
                "",
            )
            try:
                tiff.check(number)
            except InputError as error:
                trouble = str(error)
            yield Content(str(path), inside, image.axes, image.shape, trouble)


def _name(path: Path, inside: str) -> str:
    return f"{path.name}/{inside}" if inside else path.name


def ome_attributes(path: Path) -> dict[str, Any]:
    """The OME metadata of an OME-Zarr group, of NGFF 0.4 or 0.5; empty when there is none."""
    import zarr

    try:
        attributes: dict[str, Any] = dict(zarr.open_group(path, mode="r").attrs)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, dict) else {}


def fields_of(path: Path) -> list[str]:
    """Groups of all fields of an OME-Zarr plate, as A/1/0; empty when it is no plate."""
    plate = ome_attributes(path).get("plate")
    if not isinstance(plate, dict):
        return []
    fields = []
    for well in plate.get("wells") or ():
        inside = str(well.get("path", "")).strip("/")
        images = ome_attributes(path / inside).get("well", {}).get("images") or ()
        fields += [f"{inside}/{image['path']}" for image in images if image.get("path")]
    if not fields:
        raise InputError(
            f"The plate '{path.name}' has no well with a field: write it again with the metadata "
            "of its wells."
        )
    return fields


def _series_of(path: Path) -> list[str]:
    """Groups of the images in what bioformats2raw writes; empty when it is nothing of the kind."""
    if "bioformats2raw.layout" not in ome_attributes(path):
        return []
    named = ome_attributes(path / "OME").get("series")
    if named:
        return [str(name) for name in named]
    numbered = sorted(int(p.name) for p in path.iterdir() if p.name.isdigit())
    return [str(number) for number in numbered]


def read_part(part: Part, planes: Sequence[int] | None = None) -> ImageFile:
    """Read planes of one image in a file, by default all, with what the metadata say.

    The data are (Y, X), or a stack of which only the ``planes`` that were named can be had; those
    that are not there are left out.
    """
    path = Path(part.path)
    if not path.exists():
        raise InputError(f"'{part.path}' does not exist any more.")
    if path.is_dir():
        with reading_zarr(part.name):
            image = _read_zarr_part(part, planes)
    else:
        with tiff_errors_explained(path) as said:
            tiff = _OpenTiff.of(path)
            said += tiff.said
            image = tiff.read(part, planes)
    return replace(image, name=part.name)


def read_planes(
    path: Path, planes: Sequence[int] | None = None, position: int | None = None
) -> ImageFile:
    """Read one image of a file: the only one, or that of a position."""
    if path.is_dir():
        inside = _named(path, [content.inside for content in contents_of(path)], position)
        return read_part(Part(str(path), inside), planes)
    with tiff_errors_explained(path) as said:
        # Other threads may read the same file: only single planes are worth a shared one.
        tiff = _OpenTiff(path) if planes is None else _OpenTiff.of(path)
        said += tiff.said
        every = range(len(tiff.images))
        chosen = every if position is not None or not tiff.own else tiff.own
        inside = _named(path, [str(number) for number in chosen], position)
        part = Part(str(path), inside if len(tiff.images) > 1 and position is not None else "")
        image = tiff.read(part, planes)
    return image if position is None else replace(image, name=f"{path.name}, position {position}")


def _named(path: Path, positions: Sequence[str], position: int | None) -> str:
    """Which image is meant: that of a position, else the only one."""
    many = f"'{path.name}' holds {len(positions)} positions"
    if position is None and len(positions) > 1:
        numbers = "0 or 1" if len(positions) == 2 else f"0 to {len(positions) - 1}"
        raise InputError(
            f"{many}: choose one with --position, {numbers}, or make a volume of each with "
            "recurrent-mz batch."
        )
    number = position or 0
    if not 0 <= number < len(positions):
        one = f"'{path.name}' holds one position, which is 0"
        count = one if len(positions) == 1 else f"{many}, numbered 0 to {len(positions) - 1}"
        raise InputError(f"There is no position {number}: {count}.")
    return positions[number]


def _chosen(axes: str, shape: Sequence[int], part: Part) -> tuple[slice, ...]:
    """Index of each axis: one time point, one channel, all else."""
    taken = []
    for letter, length in zip(axes, shape, strict=True):
        at = {"T": part.time, "C": part.channel}.get(letter)
        if at is not None and not 0 <= at < length:
            word = "time point" if letter == "T" else "channel"
            raise InputError(
                f"'{part.name}' has no {word} {at}: its {length} are numbered 0 to {length - 1}."
            )
        taken.append(slice(None) if at is None else slice(at, at + 1))
    return tuple(taken)


def _stack_shape(
    axes: str, shape: Sequence[int], taken: tuple[slice, ...], name: str
) -> tuple[int, ...]:
    """(Z, Y, X) of what is taken; one sentence when it is no stack."""
    whole = np.broadcast_to(np.uint8(0), tuple(shape))[taken]
    shape_zyx = squeeze_to_zyx(whole, axes, name).shape
    return shape_zyx if len(shape_zyx) == 3 else (1, *shape_zyx)


def _plane_numbers(planes: Sequence[int] | None, n: int) -> list[int]:
    return list(range(n)) if planes is None else sorted({p for p in planes if 0 <= p < n})


def _stack(shape: tuple[int, ...], planes: Mapping[int, npt.NDArray[Any]]) -> Any:
    """Planes as the pixels of an :class:`ImageFile`; a single image is (Y, X)."""
    if shape[0] > 1:
        return SomePlanes(shape, planes)
    return planes[0] if planes else np.broadcast_to(np.uint8(0), shape[1:])


def _read_zarr_part(part: Part, planes: Sequence[int] | None) -> ImageFile:
    image = ZarrImage(Path(part.path) / part.inside, part.name)
    axes, shape = image.letters, image.array.shape
    taken = _chosen(axes, shape, part)
    size = _stack_shape(axes, shape, taken, part.name)
    if planes is None:
        whole = squeeze_to_zyx(np.asarray(image.array[taken]), axes, part.name)
        return image.file(whole, part.channel or 0)
    numbers = _plane_numbers(planes, size[0])
    if not numbers:
        return image.file(_stack(size, {}), part.channel or 0)
    long = [a for a, n in zip(axes, shape, strict=True) if n > 1 and a not in "TCZYX"]
    z = long[0] if long else "Z"
    at: Any = tuple(numbers if a == z else s for a, s in zip(axes, taken, strict=True))
    pixels = squeeze_to_zyx(np.asarray(image.array.oindex[at]), axes, part.name)
    pixels = pixels[np.newaxis] if pixels.ndim == 2 else pixels
    stack = _stack(size, dict(zip(numbers, pixels, strict=True)))
    return image.file(stack, part.channel or 0)


class _OpenTiff:
    """A TIFF whose pages are known, so that many parts can be read without looking again.

    The file itself is open only while it is read, so whatever tifffile puts off until it is asked
    must be asked for before the file is closed.
    """

    _last: _OpenTiff | None = None

    def __init__(self, path: Path) -> None:
        self.path, self.stamp = path, _stamp(path)
        with tiff_errors_explained(path) as self.said, _with_metadata(path) as tif:
            len(tif.pages)  # walks the whole chain, so that a broken one is reported
            self.tif = tif
            self.images = _images_of(tif)
            self.own = [n for n, image in enumerate(self.images) if image.begins_in(tif)]
        self._checked: set[int] = set()
        self._image_files: dict[Part, ImageFile] = {}

    @classmethod
    def of(cls, path: Path) -> _OpenTiff:
        """The file at ``path`` as it is now; the last one is kept."""
        if cls._last is None or cls._last.stamp != _stamp(path):
            cls._last = cls(path)
        return cls._last

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        self.tif.filehandle.open()
        try:
            yield
        finally:
            self.tif.filehandle.close()

    def check(self, number: int) -> None:
        """Raise :class:`InputError`, once, when planes of an image are missing or cut short."""
        if number not in self._checked:
            with self._opened():
                check_whole(self.tif, self.images[number].pages, self.path, self.said)
            self._checked.add(number)

    def read(self, part: Part, planes: Sequence[int] | None) -> ImageFile:
        """See :func:`read_part`."""
        number = int(part.inside or next(iter(self.own), 0))
        self.check(number)
        with self._opened():
            return self._read(part, self.images[number], planes)

    def _read(self, part: Part, image: _Image, planes: Sequence[int] | None) -> ImageFile:
        taken = _chosen(image.axes, image.shape, part)
        size = _stack_shape(image.axes, image.shape, taken, part.name)
        numbers = _plane_numbers(planes, size[0])
        if planes is None:
            data: Any = self._whole(image, taken, part.name)
        else:
            data = _stack(size, self._planes(image, taken, part.name, numbers))
        if part not in self._image_files:
            self._image_files[part] = self._image_file(image, part, taken, size)
        return replace(self._image_files[part], data=data)

    def _image_file(
        self, image: _Image, part: Part, taken: tuple[slice, ...], size: tuple[int, ...]
    ) -> ImageFile:
        numbers = image.page_numbers(taken, part.name) or []
        return image_file_of(
            self.tif,
            image.series,
            _stack(size, {}),  # the pixels do not matter
            self.path,
            records=_records_of([image.pages[n] for n in numbers]),
            position=image.position,
            channel=part.channel or 0,
            time=part.time or 0,
        )

    def _whole(self, image: _Image, taken: tuple[slice, ...], name: str) -> npt.NDArray[Any]:
        """All planes, (Z, Y, X) or (Y, X)."""
        if image.entry is None and all(part == slice(None) for part in taken):
            return squeeze_to_zyx(image.series.asarray(), image.axes, name)
        size = _stack_shape(image.axes, image.shape, taken, name)
        planes = self._planes(image, taken, name, range(size[0]))
        return np.stack([planes[n] for n in range(size[0])]) if size[0] > 1 else planes[0]

    def _planes(
        self, image: _Image, taken: tuple[slice, ...], name: str, indices: Sequence[int]
    ) -> dict[int, npt.NDArray[Any]]:
        if not indices:
            return {}
        numbers = image.page_numbers(taken, name)
        if numbers is not None and image.series.dataoffset is None:
            pages = {p: image.pages[numbers[p]] for p in indices}
            return {p: _pixels_of(page) for p, page in pages.items() if page is not None}
        whole = squeeze_to_zyx(image.of(self._mapped(image.series))[taken], image.axes, name)
        stack = whole if whole.ndim == 3 else whole[np.newaxis]
        return {p: np.array(stack[p]) for p in indices}

    def _mapped(self, series: tifffile.TiffPageSeries) -> npt.NDArray[Any]:
        """All of a series, mapped from the file when it lies there in one piece."""
        if series.dataoffset is not None and series.keyframe.is_memmappable:
            kind = np.dtype(self.tif.byteorder + series.dtype.char)
            return np.memmap(self.path, kind, "r", series.dataoffset, tuple(series.shape))
        pixels: npt.NDArray[Any] = series.asarray()
        return pixels


def _with_metadata(path: Path) -> tifffile.TiffFile:
    """An open TIFF with its OME metadata, also where these are in a file beside it."""
    tif = tifffile.TiffFile(path)
    try:
        elsewhere = companion_metadata(tif.ome_metadata or "", path)
    except BaseException:
        tif.close()
        raise
    if elsewhere is None:
        return tif
    tif.close()
    return tifffile.TiffFile(path, omexml=elsewhere)


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


@dataclass(frozen=True, eq=False)
class _Image:
    """One position in a TIFF: a series, or an entry of its axis of positions."""

    series: tifffile.TiffPageSeries
    axes: str
    shape: tuple[int, ...]  # without the axis of positions
    entry: int | None  # on that axis; None where there is none
    position: int  # Micro-Manager's number, 0 elsewhere

    def of(self, whole: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """This position out of an array with the axes of the series."""
        return whole if self.entry is None else whole.take(self.entry, self.series.axes.index("R"))

    @cached_property
    def pages(self) -> list[Any]:
        """Pages in their order; where planes have none of their own, those of the series."""
        every, lead = list(self.series.pages), self.series.shape[:-2]
        if len(every) != np.prod(lead, dtype=int):
            return every
        return [every[int(n)] for n in self.of(np.arange(len(every)).reshape(lead)).ravel()]

    def begins_in(self, tif: tifffile.TiffFile) -> bool:
        """Whether its first page lies in this file; one that is missing counts as there."""
        pages = self.pages
        if self.entry is not None and all(page is None for page in pages):
            return False
        return pages[0] is None or pages[0].parent is tif

    def page_numbers(self, taken: tuple[slice, ...], name: str) -> list[int] | None:
        """Numbers of the pages of the planes that are taken; None where they have none."""
        lead, plane = self.shape[:-2], self.shape[-2:]
        by_page = self.axes.endswith("YX") and self.series.keyframe.shape == plane
        if not by_page or len(self.pages) != np.prod(lead, dtype=int):
            return None
        numbers = np.arange(len(self.pages)).reshape(*lead, 1, 1)
        return [int(n) for n in squeeze_to_zyx(numbers[taken], self.axes, name).ravel()]


def _images_of(tif: tifffile.TiffFile) -> list[_Image]:
    """All positions that a TIFF knows of; small versions of them and height maps left out."""
    images = []
    for series in tif.series:
        if series.keyframe.is_reduced or series.name == HEIGHTS_NAME:
            continue
        at, first = series.axes.find("R"), _first_position(tif)
        if at >= 0 and series.shape[at] > _MOST_POSITIONS:
            raise InputError(
                f"'{tif.filename}' claims to hold {series.shape[at]:,} positions, which cannot be "
                "true: it is damaged, copy or save it again."
            )
        entries = [None] if at < 0 else list(range(series.shape[at]))
        for entry in entries:
            axes_kept = [n for n in range(len(series.axes)) if n != at]
            images.append(
                _Image(
                    series,
                    "".join(series.axes[n] for n in axes_kept),
                    tuple(int(series.shape[n]) for n in axes_kept),
                    entry,
                    first if entry is None else entry,
                )
            )
    return images


def _first_position(tif: tifffile.TiffFile) -> int:
    """The lowest position of a Micro-Manager stack that lies in this file."""
    metadata = (tif.micromanager_metadata or {}) if tif.is_micromanager else {}
    index = metadata.get("IndexMap")
    return 0 if index is None or not len(index) else int(index[:, 3].min())


def _records_of(pages: Sequence[Any]) -> list[dict[str, Any]]:
    """Micro-Manager's record of each image; empty when one has none."""
    records: list[dict[str, Any]] = []
    for page in pages:
        with _file_of(page) as file:
            tagged = page  # tifffile leaves out the tags of all but the first of a series
            if not isinstance(page, tifffile.TiffPage):
                file.seek(page.offset)
                tagged = tifffile.TiffPage(page.parent, page.index)
            record = record_of(tagged)
        if record is None:
            return []
        records.append(record)
    return records


def _pixels_of(page: Any) -> npt.NDArray[Any]:
    with _file_of(page):
        pixels: npt.NDArray[Any] = page.asarray()
        return pixels


@contextlib.contextmanager
def _file_of(page: Any) -> Iterator[Any]:
    """The file that a page lies in, which may be another one of a set, open."""
    file = page.parent.filehandle
    was_closed = file.closed
    file.open()
    try:
        yield file
    finally:
        if was_closed:
            file.close()
