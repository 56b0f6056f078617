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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ..scans import InputError
from ._image_file import ImageFile, squeeze_to_zyx
from ._tiff import HEIGHTS_NAME, check_whole, one_series, told_by, told_of_tiff
from ._zarr import ZarrImage, is_zarr, reading_zarr


@dataclass(frozen=True)
class Content:
    """An image in a file and its size.

    Attributes
    ----------
    path : str
    inside : str
        In an OME-Zarr the path of its group, in a TIFF the number of its series; empty when
        it is all there is.
    axes : str
        One letter for each length of ``shape``: T, C, Z, Y, X and others.
    shape : tuple of int
    """

    path: str
    inside: str
    axes: str
    shape: tuple[int, ...]

    def length(self, axis: str) -> int:
        """How many entries the axis of a letter has, 1 when there is none."""
        found = self.axes.find(axis)
        return 1 if found < 0 else self.shape[found]


@dataclass(frozen=True)
class Part:
    """One z-stack or image of a file.

    Attributes
    ----------
    path : str
    inside : str
        As in :class:`Content`.
    time, channel : int or None
        Which entry of these axes, from 0; None where there is one only.
    """

    path: str
    inside: str = ""
    time: int | None = None
    channel: int | None = None

    @property
    def name(self) -> str:
        """What sentences call it."""
        name = Path(self.path).name
        if self.inside:
            name = f"{name}/{self.inside}"
        return name if self.time is None else f"{name}, time point {self.time}"


class SomePlanes:
    """A stack (Z, Y, X) of which some planes were read.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X).
    planes : mapping of int to numpy.ndarray
    """

    ndim = 3

    def __init__(self, shape: tuple[int, ...], planes: Mapping[int, npt.NDArray[Any]]) -> None:
        self.shape = shape
        self._planes = planes

    def __getitem__(self, plane: int) -> npt.NDArray[Any]:
        return self._planes[plane]


def contents_of(path: str | os.PathLike[str]) -> list[Content]:
    """What images a TIFF or OME-Zarr holds.

    Of a TIFF that is one file of a larger OME-TIFF set, those that begin in it; of an OME-Zarr
    plate, the fields of all its wells, row by row.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no image.
    """
    path = Path(path)
    if path.is_dir():
        if not is_zarr(path):
            raise InputError(f"'{path}' is a folder that is no OME-Zarr.")
        groups = fields_of(path) or _series_of(path) or [""]
        images = [(inside, ZarrImage(path / inside, _name(path, inside))) for inside in groups]
        return [Content(str(path), i, z.letters, tuple(z.array.shape)) for i, z in images]
    with told_of_tiff(path) as said:
        tiff = _OpenTiff.of(path)
        said += tiff.said
        for number in tiff.own:
            tiff.check(number)
    return [
        Content(str(path), str(i) if len(tiff.own) > 1 else "", s.axes, tuple(s.shape))
        for i, s in tiff.own.items()
    ]


def _name(path: Path, inside: str) -> str:
    return f"{path.name}/{inside}" if inside else path.name


def ome_attributes(path: Path) -> dict[str, Any]:
    """The OME metadata of an OME-Zarr group, of NGFF 0.4 or 0.5; empty when there is none."""
    import zarr

    try:
        attributes: dict[str, Any] = dict(zarr.open_group(path, mode="r").attrs)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    found = attributes.get("ome", attributes)
    return found if isinstance(found, dict) else {}


def fields_of(path: Path) -> list[str]:
    """Groups of all fields of an OME-Zarr plate, as A/1/0; empty when it is no plate.

    Raises
    ------
    InputError
        If the plate has no well, or none of its wells a field.
    """
    plate = ome_attributes(path).get("plate")
    if not isinstance(plate, dict):
        return []
    found = []
    for well in plate.get("wells") or ():
        inside = str(well.get("path", "")).strip("/")
        images = ome_attributes(path / inside).get("well", {}).get("images") or ()
        found += [f"{inside}/{image['path']}" for image in images if image.get("path")]
    if not found:
        raise InputError(
            f"The plate '{path.name}' has no well with a field: write it again with the metadata "
            "of its wells."
        )
    return found


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
    """Read planes of one image in a file, with what the metadata say.

    Parameters
    ----------
    part : Part
    planes : sequence of int, optional
        Which to read, by default all; those that are not there are left out.

    Returns
    -------
    ImageFile
        Its data are (Y, X), or a stack of which only these planes can be had.

    Raises
    ------
    InputError
        As :func:`read_image`.
    """
    path = Path(part.path)
    if not path.exists():
        raise InputError(f"'{part.path}' does not exist any more.")
    if path.is_dir():
        image = _read_zarr_part(part, planes)
    else:
        with told_of_tiff(path) as said:
            tiff = _OpenTiff.of(path)
            said += tiff.said
            image = tiff.read(part, planes)
    return replace(image, name=part.name)


def read_planes(path: Path, planes: Sequence[int]) -> ImageFile:
    """Read planes of a file that holds one image.

    Raises
    ------
    InputError
        As :func:`read_image`.
    """
    part = Part(str(path))
    if path.is_dir():
        return _read_zarr_part(part, planes)
    with told_of_tiff(path) as said:
        tiff = _OpenTiff.of(path)
        said += tiff.said
        one_series(tiff.series, path)
        return tiff.read(part, planes)


def _chosen(axes: str, shape: Sequence[int], part: Part) -> tuple[slice, ...]:
    """What to take of each axis: one time point, one channel, all else."""
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
    found = squeeze_to_zyx(whole, axes, name).shape
    return found if len(found) == 3 else (1, *found)


def _wanted(planes: Sequence[int] | None, n: int) -> list[int]:
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
    wanted = _wanted(planes, size[0])
    if not wanted:
        return image.file(_stack(size, {}))
    long = [a for a, n in zip(axes, shape, strict=True) if n > 1 and a not in "TCZYX"]
    z = long[0] if long else "Z"
    at: Any = tuple(wanted if a == z else s for a, s in zip(axes, taken, strict=True))
    with reading_zarr(part.name):
        pixels = squeeze_to_zyx(np.asarray(image.array.oindex[at]), axes, part.name)
    pixels = pixels[np.newaxis] if pixels.ndim == 2 else pixels
    return image.file(_stack(size, dict(zip(wanted, pixels, strict=True))))


class _OpenTiff:
    """A TIFF whose pages are known, so that many parts can be read without looking again.

    The file itself is open only while it is read, so whatever tifffile puts off until it is asked
    must be asked for before the file is closed.
    """

    _last: _OpenTiff | None = None

    def __init__(self, path: Path, stamp: tuple[str, int, int]) -> None:
        self.path, self.stamp = path, stamp
        with told_of_tiff(path) as self.said, tifffile.TiffFile(path) as tif:
            len(tif.pages)  # walks the whole chain, so that a broken one is reported
            self.tif, self.series = tif, tuple(tif.series)
            self.own = self._own_series()
        self._checked: set[int] = set()
        self._told: dict[int, ImageFile] = {}

    @classmethod
    def of(cls, path: Path) -> _OpenTiff:
        """The file at ``path`` as it is now; the last one is kept."""
        status = path.stat()
        stamp = (str(path), status.st_size, status.st_mtime_ns)
        if cls._last is None or cls._last.stamp != stamp:
            cls._last = cls(path, stamp)
        return cls._last

    def _own_series(self) -> dict[int, tifffile.TiffPageSeries]:
        """The images that begin in this file and are of the first one's size, by number."""
        size = self.series[0].shape[-2:]
        kept = {
            i: series
            for i, series in enumerate(self.series)
            if series.shape[-2:] == size and series.name != HEIGHTS_NAME
        }
        begin = {i: s.pages[0] is None or s.pages[0].parent is self.tif for i, s in kept.items()}
        return {i: s for i, s in kept.items() if begin[i]}

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
                check_whole(self.tif, self.series[number], self.path, self.said)
            self._checked.add(number)

    def read(self, part: Part, planes: Sequence[int] | None) -> ImageFile:
        """See :func:`read_part`."""
        number = int(part.inside or next(iter(self.own), 0))
        self.check(number)
        with self._opened():
            return self._read(part, number, planes)

    def _read(self, part: Part, number: int, planes: Sequence[int] | None) -> ImageFile:
        series = self.series[number]
        taken = _chosen(series.axes, series.shape, part)
        size = _stack_shape(series.axes, series.shape, taken, part.name)
        wanted = _wanted(planes, size[0])
        data = _stack(size, self._planes(series, taken, part.name, wanted))
        if number not in self._told:
            told = told_by(self.tif, data, self.path, number)
            self._told[number] = replace(told, data=np.empty((0, 0)))
        return replace(self._told[number], data=data)

    def _planes(
        self,
        series: tifffile.TiffPageSeries,
        taken: tuple[slice, ...],
        name: str,
        wanted: Sequence[int],
    ) -> dict[int, npt.NDArray[Any]]:
        if not wanted:
            return {}
        lead = series.shape[:-2]
        by_page = series.axes.endswith("YX") and series.keyframe.shape == series.shape[-2:]
        if by_page and len(series.pages) == np.prod(lead, dtype=int) and series.dataoffset is None:
            numbers = np.arange(len(series.pages)).reshape(*lead, 1, 1)
            pages = squeeze_to_zyx(numbers[taken], series.axes, name).ravel()
            found = {p: series.pages[int(pages[p])] for p in wanted}
            return {p: page.asarray() for p, page in found.items() if page is not None}
        whole = squeeze_to_zyx(self._mapped(series)[taken], series.axes, name)
        stack = whole if whole.ndim == 3 else whole[np.newaxis]
        return {p: np.array(stack[p]) for p in wanted}

    def _mapped(self, series: tifffile.TiffPageSeries) -> npt.NDArray[Any]:
        """All of a series, mapped from the file when it lies there in one piece."""
        if series.dataoffset is not None and series.keyframe.is_memmappable:
            kind = np.dtype(self.tif.byteorder + series.dtype.char)
            return np.memmap(self.path, kind, "r", series.dataoffset, tuple(series.shape))
        found: npt.NDArray[Any] = series.asarray()
        return found
