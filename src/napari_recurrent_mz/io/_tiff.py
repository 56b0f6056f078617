"""TIFF, ImageJ TIFF and OME-TIFF: reading, with what the metadata say."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.arrays import AnyArray
from ..core.errors import is_out_of_memory
from ..core.scans import InputError
from ._axes import Part, StackSelection
from ._facts import Facts
from ._image_file import MOST, ImageFile, check_is_file, log_of, too_large, unreadable
from ._ome import check_sizes, companion_metadata, image_of, ome_root, take_ome
from ._vendors import record_of, take_metamorph, take_micro_manager, take_tags, take_zeiss

if TYPE_CHECKING:
    import tifffile

HEIGHTS_NAME = "Surface heights (µm)"  # the second image in the file of a surface

_NDTIFF_INDEX = "NDTiff.index"
_MOST_POSITIONS = 100_000
_CUT_SHORT = ("invalid page offset", "invalid value offset", "corrupted", "missing data")


@contextlib.contextmanager
def reading_tiff(path: Path, *, shared: bool = True) -> Iterator[TiffPages]:
    """The pages of a TIFF, if ``shared`` those read last; what goes wrong becomes one sentence."""
    import tifffile  # here, as it takes a moment

    check_is_file(path)
    with log_of("tifffile") as log:
        try:
            yield TiffPages.of(path, log) if shared else TiffPages(path, log)
        except InputError:
            raise
        except tifffile.TiffFileError as error:
            if "not a TIFF" in str(error):
                raise InputError(
                    f"'{path.name}' is not a TIFF file: give a TIFF, an OME-Zarr, or a microscope "
                    "maker's file (.czi, .nd2, .lif, …)."
                ) from error
            raise _cut_short(path) from error
        except (ValueError, OSError, EOFError, IndexError, struct.error, zlib.error) as error:
            if is_out_of_memory(error):
                raise unreadable(path.name, error) from error
            if "imagecodecs" in str(error):
                raise InputError(
                    f"'{path.name}' is compressed in a way that needs the package imagecodecs: "
                    "install it (pip install imagecodecs), or save the file uncompressed."
                ) from error
            if isinstance(error, OSError) and error.filename is not None:  # perhaps of its set
                name = Path(error.filename).name
                raise InputError(f"'{name}' cannot be read: {error.strerror}.") from error
            raise _cut_short(path) from error
        except Exception as error:  # whatever it is, it is this file's
            raise unreadable(path.name, error) from error


def _cut_short(path: Path) -> InputError:
    import tifffile

    xml = ""
    with contextlib.suppress(Exception), tifffile.TiffFile(path) as tif:
        xml = tif.ome_metadata or ""  # as far as they can be read
    try:
        size = path.stat().st_size
    except OSError as error:  # it is gone, or the drive is
        return InputError(f"'{path.name}' cannot be read: {error.strerror or error}.")
    if _others_of(path, xml):
        return InputError(
            f"'{path.name}', or another file of its OME-TIFF set, is damaged or cut short: copy or "
            "save them again."
        )
    return InputError(
        f"'{path.name}' is damaged or cut short ({size:,} bytes): copy or save it again."
    )


def _others_of(path: Path, xml: str) -> list[Path]:
    """What else a TIFF with this OME metadata needs: companion and folder."""
    companions = re.findall(r'\bMetadataFile="([^"]+)"', xml)
    is_one_of_a_set = companions or len(set(re.findall(r'\bFileName="([^"]+)"', xml))) > 1
    folder = [path.parent] if is_one_of_a_set else []
    return [*folder, *(path.with_name(Path(name).name) for name in companions)]


class TiffPages:
    """A TIFF whose pages are known; the file is open only while it is read."""

    _last: TiffPages | None = None

    def __init__(self, path: Path, log: Sequence[logging.LogRecord]) -> None:
        import tifffile

        self.path, own = path, _stamp([path])
        with contextlib.ExitStack() as opened:
            tif = opened.enter_context(tifffile.TiffFile(path))
            stated = tif.ome_metadata or ""
            self._beside = _others_of(path, stated)
            self._stamp = own + _stamp(self._beside)
            xml = companion_metadata(stated, path)
            check_sizes(xml or stated, path.name)
            if xml is not None:
                tif = opened.enter_context(tifffile.TiffFile(path, omexml=xml))
            _check_index(tif)
            if tif.is_ndtiff:
                index = list(tifffile.read_ndtiff_index(path.with_name(_NDTIFF_INDEX)))
                _check_is_whole(path, [entry[1] for entry in index])
                # Where the record of each image is, and its axes, by its file and place there.
                self._indexed = {(i[1], i[2]): (i[7], i[8], i[0]) for i in index}
            len(tif.pages)  # walks the whole chain, so that a broken one is reported
            self._tif = tif
            self.images = _images_of(tif)
            if not self.images:
                raise _cut_short(path)
            self._height_map = next((s for s in tif.series if s.name == HEIGHTS_NAME), None)
            self.own = [n for n, image in enumerate(self.images) if image.begins_in(tif)]
        self._log = [record.getMessage() for record in log]
        self._checked: set[int] = set()
        self._image_files: dict[Part, ImageFile] = {}

    @classmethod
    def of(cls, path: Path, log: Sequence[logging.LogRecord]) -> TiffPages:
        """Those of the file at ``path`` as it is now; the last ones are kept."""
        if cls._last is None or cls._last._stamp != _stamp([path, *cls._last._beside]):
            cls._last = cls(path, log)
        return cls._last

    def check(self, number: int) -> None:
        """Raise :class:`InputError`, once, when planes of an image are missing or cut short."""
        if number in self._checked:
            return
        if any(sign in line for line in self._log for sign in _CUT_SHORT):
            raise _cut_short(self.path)
        pages = self.images[number].pages
        missing = sum(page is None for page in pages)
        if missing:
            raise InputError(
                f"'{self.path.name}' lacks {missing} of its {len(pages)} planes: "
                + (
                    "they are in other files of the same OME-TIFF set, which must lie beside it."
                    if self._beside
                    else "if its recording was stopped early, save those that are there anew."
                )
            )
        with _opened(self._tif.filehandle) as file:
            if not all(_ends_within(file.size, page, self._tif) for page in pages):
                raise _cut_short(self.path)
        self._checked.add(number)

    def heights(self) -> AnyArray | None:
        """The height map of a surface (Y, X), in µm; None in any other file."""
        if self._height_map is None:
            return None
        with _opened(self._tif.filehandle):
            return np.asarray(self._height_map.asarray())

    def read(self, part: Part, planes: Sequence[int] | None) -> ImageFile:
        """Planes of one image, by default all, with what the metadata say."""
        number = int(part.inside or next(iter(self.own), 0))
        self.check(number)
        image = self.images[number]
        with _opened(self._tif.filehandle):
            stack = StackSelection(part, image.axes, image.shape)
            if planes is None and image.entry is None and stack.is_whole:
                data = stack.squeeze(image.series.asarray())
            elif planes is None:
                every = self._planes(image, stack, range(stack.shape[0]))
                data = every if len(every) > 1 else every[0]
            else:
                numbers = stack.existing(planes)
                read = self._planes(image, stack, numbers) if numbers else ()
                data = stack.data(dict(zip(numbers, read, strict=True)))
            if part not in self._image_files:
                pages = [image.pages[n] for n in image.page_numbers(stack) or ()]
                self._image_files[part] = self.image_file(image, stack.data({}), part, pages)
        return replace(self._image_files[part], data=data)

    def image_file(
        self, image: _TiffImage, data: Any, part: Part, pages: Sequence[Any]
    ) -> ImageFile:
        """Pixels of a part with what the file and Micro-Manager say about its planes."""
        facts, tif, name = Facts(), self._tif, self.path.name
        stated = take_micro_manager(facts, tif, self._records(pages), name)
        root = ome_root(tif.ome_metadata, name) if tif.is_ome and tif.ome_metadata else None
        described = None if root is None else image_of(root, image.series, image.position)
        if root is not None and described is not None:
            stated += take_ome(facts, root, described, part, name)
        elif tif.is_stk:
            stated += take_metamorph(facts, tif, name)
        elif tif.is_lsm:
            take_zeiss(facts, tif, name)
        else:
            take_tags(facts, tif, name)
        return facts.image(data, name, str(self.path), stated)

    def _records(self, pages: Sequence[Any]) -> list[dict[str, Any]]:
        """Micro-Manager's record of each image, by its tags or its index; empty when one lacks."""
        records: list[dict[str, Any]] = []
        for page in pages:
            with _opened(page.parent.filehandle) as file:
                record = self._listed(file, page) if self._tif.is_ndtiff else _tagged(file, page)
            if record is None:
                return []
            records.append(record)
        return records

    def _listed(self, file: Any, page: Any) -> dict[str, Any]:
        offset, length, axes = self._indexed[file.name, page.dataoffsets[0]]
        file.seek(offset)
        named = {"Channel": axes["channel"]} if isinstance(axes.get("channel"), str) else {}
        return {**named, **json.loads(file.read(length))}

    def _planes(self, image: _TiffImage, stack: StackSelection, numbers: Sequence[int]) -> AnyArray:
        """Planes by their numbers, (N, Y, X)."""
        pages, series = image.page_numbers(stack), image.series
        if pages is not None and series.dataoffset is None:
            return np.stack([_pixels_of(image.pages[pages[number]]) for number in numbers])
        whole: AnyArray
        if series.dataoffset is not None and series.keyframe.is_memmappable:
            kind = np.dtype(self._tif.byteorder + series.dtype.char)
            whole = np.memmap(self.path, kind, "r", series.dataoffset, tuple(series.shape))
        else:
            whole = series.asarray()
        planes = stack.squeeze(image.of(whole)[stack.index]).reshape(stack.shape)
        return np.asarray(planes[list(numbers)])


def _check_index(tif: tifffile.TiffFile) -> None:
    """Refuse an NDTiff without its index, by which alone its planes have their places."""
    about = (tif.micromanager_metadata or {}) if tif.is_micromanager else {}
    if about.get("MajorVersion", 0) >= 2 and not tif.is_ndtiff:
        raise InputError(
            f"'{tif.filename}' is an NDTiff, whose index '{_NDTIFF_INDEX}' does not lie beside it: "
            "put it there under this name."
        )


def _check_is_whole(path: Path, names: Sequence[str]) -> None:
    """Refuse an NDTiff of which the index was cut: images beyond it would be left out silently."""
    # ``names`` are the files of the images that the index lists, in its order.
    from tifffile import TiffFile, TiffFileError

    first = Path(names[0] if names else path.name).stem
    for beside in sorted(path.parent.iterdir()):
        count, is_of_set = names.count(beside.name), beside.name.startswith(first)
        if not is_of_set or beside.suffix != ".tif" or (count and beside.name != names[-1]):
            continue  # an index is cut at its end
        with TiffFile(beside) as tif:
            try:
                page = tif.pages[count]
                is_there = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)))
            except (IndexError, ValueError, TiffFileError):
                continue
            if is_there <= tif.filehandle.size:
                raise InputError(
                    f"'{beside.name}' holds images that its index '{_NDTIFF_INDEX}' does not list: "
                    "the index is cut short, copy it again, or wait for the recording to end."
                )


def _stamp(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    states = [(str(path), path.stat()) for path in paths if path.exists()]
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def _ends_within(size: int, page: Any, tif: tifffile.TiffFile) -> bool:
    """Whether all data of a page lie in the first ``size`` bytes; true of pages in other files."""
    if not hasattr(page, "dataoffsets") or page.parent is not tif:
        return True
    pairs = zip(page.dataoffsets, page.databytecounts, strict=False)
    return all(offset + count <= size for offset, count in pairs)


@dataclass(frozen=True, eq=False)
class _TiffImage:
    """One position in a TIFF: a series, or an entry of its axis of positions."""

    series: tifffile.TiffPageSeries
    axes: str
    shape: tuple[int, ...]  # without the axis of positions
    entry: int | None  # on that axis; None where there is none
    position: int  # Micro-Manager's number, 0 elsewhere

    def of(self, whole: AnyArray) -> AnyArray:
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
        return pages[0] is None or pages[0].parent.filehandle.path == tif.filehandle.path

    def page_numbers(self, stack: StackSelection) -> list[int] | None:
        """Numbers of the pages of the planes of a stack; None where they have none."""
        lead, plane = self.shape[:-2], self.shape[-2:]
        by_page = self.axes.endswith("YX") and self.series.keyframe.shape == plane
        if not by_page or len(self.pages) != np.prod(lead, dtype=int):
            return None
        numbers = np.arange(len(self.pages)).reshape(*lead, 1, 1)
        return [int(n) for n in stack.squeeze(numbers[stack.index]).ravel()]


def _images_of(tif: tifffile.TiffFile) -> list[_TiffImage]:
    """All positions that a TIFF knows of; small versions of them and height maps left out."""
    images = []
    first = _first_position(tif)
    for series in tif.series:
        if series.keyframe.is_reduced or series.name == HEIGHTS_NAME:
            continue
        at = series.axes.find("R")
        if at < 0:
            lengths = tuple(map(int, series.shape))
            images.append(_TiffImage(series, series.axes, lengths, None, first))
            continue
        if series.shape[at] > _MOST_POSITIONS:
            raise InputError(
                f"'{tif.filename}' claims to hold {series.shape[at]:,} positions, which cannot be "
                "true: it is damaged, copy or save it again."
            )
        axes, every = series.axes.replace("R", ""), range(series.shape[at])
        lengths = tuple(map(int, series.shape[:at] + series.shape[at + 1 :]))
        images += [_TiffImage(series, axes, lengths, n, n) for n in every]
    return images


def _first_position(tif: tifffile.TiffFile) -> int:
    """That of Micro-Manager's index, once its sizes can be true; of other files 0."""
    about: Mapping[str, Any] = (tif.micromanager_metadata or {}) if tif.is_micromanager else {}
    index, summary = about.get("IndexMap"), about.get("Summary") or {}
    stated = [summary.get(axis) for axis in ("Positions", "Frames", "Slices", "Channels")]
    planes = math.prod(n for n in stated if isinstance(n, int))
    if index is not None and len(index):
        spans = np.ptp(index[:, :4].astype(np.int64), axis=0).tolist()
        planes = max(planes, math.prod(span + 1 for span in spans))
    if planes > MOST:
        raise too_large(tif.filename, planes, "Micro-Manager metadata")
    return 0 if index is None or not len(index) else int(index[:, 3].min())


def _tagged(file: Any, page: Any) -> dict[str, Any] | None:
    from tifffile import TiffPage

    if not isinstance(page, TiffPage):  # tifffile leaves out the tags of all but a series' first
        file.seek(page.offset)
        page = TiffPage(page.parent, page.index)
    return record_of(page)


def _pixels_of(page: Any) -> AnyArray:
    with _opened(page.parent.filehandle):  # perhaps another file of a set
        pixels: AnyArray = page.asarray()
        return pixels


@contextlib.contextmanager
def _opened(file: Any) -> Iterator[Any]:
    """A file of tifffile's, open; it is closed again if it was."""
    was_closed = file.closed
    file.open()
    try:
        yield file
    finally:
        if was_closed:
            file.close()


def heights_in(path: Path) -> AnyArray | None:
    """The heights (Y, X) in µm that a file of a surface holds; None in any other file."""
    with reading_tiff(path, shared=False) as tiff:
        return tiff.heights()
