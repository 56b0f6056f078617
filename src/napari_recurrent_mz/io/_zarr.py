"""OME-Zarr (NGFF 0.4 and 0.5): images, plates and time-lapses, read and written."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..core.arrays import AnyArray, Array
from ..core.errors import counted, is_out_of_memory
from ..core.scans import InputError
from ._axes import Part, StackSelection
from ._channels import (
    Channel,
    NewImage,
    Place,
    first_point_of,
    moved_um,
    plain,
    record_of_channel,
)
from ._facts import Facts, StatedHeights
from ._image_file import ImageFile, to_um, unreadable
from ._whole import read_json

if TYPE_CHECKING:
    import zarr

PROVENANCE_KEY = "napari-recurrent-mz"
NGFF = ("0.5", "0.4")  # versions of OME-Zarr that are written, the usual one first

_COLOURS = ("FF00FF", "00FF00", "00FFFF", "FFFF00", "FF0000", "0000FF")
_CHUNK = 1024  # pixels on a side; also how large the coarsest level may be


def is_zarr(path: Path) -> bool:
    """Whether ``path`` is a folder that holds a Zarr group."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))


def root_attributes(path: Path) -> dict[str, Any]:
    """The attributes of a Zarr group, of either format, read as the JSON that they are."""
    if (path / ".zattrs").is_file():  # NGFF 0.4
        return dict(read_json(path / ".zattrs"))
    return dict(read_json(path / "zarr.json")["attributes"])


def array_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a Zarr array, of either format, in the same way."""
    old = path / ".zarray"  # of NGFF 0.4
    return dict(read_json(old if old.is_file() else path / "zarr.json"))


def ome_attributes(path: Path) -> dict[str, Any]:
    """The OME metadata of an OME-Zarr group, of NGFF 0.4 or 0.5; empty when there is none."""
    try:
        attributes = root_attributes(path)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, dict) else {}


def open_new(path: Path, mode: Literal["a", "w"], ngff: str) -> Any:
    """Open a group to write what NGFF of this version holds."""
    import zarr

    return zarr.open_group(path, mode=mode, zarr_format=2 if ngff == "0.4" else 3)


def put_ome(group: Any, ngff: str, metadata: Mapping[str, Any]) -> None:
    """Write the OME metadata of a group where NGFF of this version has them."""
    if ngff == "0.4":
        group.attrs.update(metadata)
    else:
        group.attrs["ome"] = {"version": ngff, **metadata}


def levels_of(path: Path, mode: Literal["r", "r+"] = "r") -> list[Any]:
    """The arrays of an image that was written as OME-Zarr, the finest first; none is read yet."""
    import zarr

    group: Any = zarr.open_group(path, mode=mode)
    return [group[level["path"]] for level in ome_attributes(path)["multiscales"][0]["datasets"]]


def is_there(level: zarr.Array[Any]) -> bool:
    """Whether an array that was opened or made before still has its metadata."""
    import zarr

    try:
        zarr.open_array(level.store_path, mode="r")
    except OSError:
        return False
    return True


def groups_in(path: Path) -> list[str]:
    """Groups of the images in an OME-Zarr: fields of a plate, series, or the one image itself."""
    with reading_zarr(path.name):
        return fields_of(path) or _series_of(path) or [""]


def fields_of(path: Path) -> list[str]:
    """Groups of all fields of an OME-Zarr plate, as A/1/0; empty when it is no plate."""
    # A well that the plate lists but that is not there is one too, so that it is told.
    plate = ome_attributes(path).get("plate")
    if not isinstance(plate, dict):
        return []
    wells, fields = [inside.strip("/") for inside in _paths(plate.get("wells"))], list[str]()
    for inside in wells:
        well = ome_attributes(path / inside).get("well")
        images = _paths((well or {}).get("images"))
        fields += [inside] if well is None else [f"{inside}/{name}" for name in images]
    if not set(fields) - set(wells):
        raise InputError(
            f"The plate '{path.name}' has no well with a field: write it again with the metadata "
            "of its wells."
        )
    return fields


def _paths(listed: Any) -> list[str]:
    return [str(one["path"]) for one in listed or () if one.get("path")]


def _series_of(path: Path) -> list[str]:
    """Groups of the images in what bioformats2raw writes; empty when it is nothing of the kind."""
    if "bioformats2raw.layout" not in ome_attributes(path):
        return []
    named = ome_attributes(path / "OME").get("series")
    numbered = sorted(int(p.name) for p in path.iterdir() if p.name.isdigit())
    return [str(name) for name in named or numbered]


class ZarrImage:
    """The largest level of an OME-Zarr image, whose ``letters`` are its axes: no pixel is read."""

    def __init__(self, path: Path, name: str) -> None:
        import zarr

        self.path, self.name = path, name
        with reading_zarr(name):
            self._group = zarr.open_group(path, mode="r")
            self.attributes: dict[str, Any] = dict(self._group.attrs)
            self._ome = self.attributes.get("ome", self.attributes)
            self._multiscale = self._ome["multiscales"][0]
            self._level = self._multiscale["datasets"][0]
            array = self._group[self._level["path"]]
            if not isinstance(array, zarr.Array):
                raise TypeError(self._level["path"])
            _check_chunks(path / self._level["path"], name)
            self.array = array
            axes = [a if isinstance(a, dict) else {"name": a} for a in self._multiscale["axes"]]
            self.letters = "".join(str(axis["name"])[0].upper() for axis in axes)
            self._units = [axis.get("unit") for axis in axes]

    @property
    def pixel_metadata(self) -> dict[str, Any]:
        """Metadata of its pixels, without the number of time points."""
        shape = zip(self.letters, self.array.shape, strict=True)
        return {
            "shape": {letter: length for letter, length in shape if letter != "T"},
            "dtype": str(self.array.dtype),
            "multiscale": self._multiscale,
        }

    @property
    def levels(self) -> list[zarr.Array[Any]]:
        """The finest first, each smaller than the one before; those that are not there left out."""
        import zarr

        levels = [self.array]
        for level in self._multiscale["datasets"][1:]:
            with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
                array = self._group[level["path"]]
                if isinstance(array, zarr.Array) and array.size < levels[-1].size:
                    levels.append(array)
        return levels

    def read(self, part: Part, planes: Sequence[int] | None) -> ImageFile:
        """Planes of one channel and time point, by default all, with what the metadata say."""
        stack = StackSelection(part, self.letters, self.array.shape)
        data, index = stack.read(self.array.oindex, planes)
        image = self.file(data, part.channel or 0, part.time or 0)
        remark = self.lacking(index) if index else ""
        return replace(image, remarks=(*image.remarks, remark)) if remark else image

    def lacking(self, index: Sequence[slice | list[int]]) -> str:
        """A sentence where chunks of a part are not there, which Zarr fills; else ""."""
        read = {
            axis: range(length)[entry] if isinstance(entry, slice) else entry
            for axis, (length, entry) in enumerate(zip(self.array.shape, index, strict=True))
        }
        chunks = [self.path / chunk for chunk in chunks_of(self.array, read)]
        missing = sum(not chunk.exists() for chunk in chunks)
        if not missing:
            return ""
        return (
            f"'{self.name}' lacks {missing} of {counted(len(chunks), 'chunk')}, and their pixels "
            f"are taken for {self.array.fill_value}: copy it again, unless it was saved without "
            "empty chunks."
        )

    def file(self, data: Any, channel: int = 0, time: int = 0) -> ImageFile:
        """The image with pixels (Z, Y, X) or (Y, X) of a channel, and what its metadata say."""
        facts = Facts(channel=self._label(channel))
        n = 1 if data.ndim == 2 else int(data.shape[0])
        try:
            stated = self._take_place(facts, n)
        except _UnknownPlaceError as error:
            stated = []
            for name in ("pixel_um", "z_step_um", "z_um"):
                facts.doubt(name, str(error))
        facts.take_record(record_of_channel(self.attributes.get(PROVENANCE_KEY) or {}, channel))
        points = dict(zip(self.letters, self.array.shape, strict=True)).get("T", 1)
        for number, heights in enumerate(stated):
            by_time = moved_um(facts.provenance, heights.z_um, points)
            if by_time is not None:
                stated[number] = replace(heights, z_um=by_time[time])
        return facts.image(data, self.name, str(self.path), stated)

    def _take_place(self, facts: Facts, n: int) -> list[StatedHeights]:
        """Take the size and place of the voxels; gives the heights of ``n`` planes."""
        scale, shift = _scale_and_shift(self._level, self._multiscale, len(self.letters))
        size = dict(zip(self.letters, zip(scale, self._units, strict=True), strict=True))
        first = dict(zip(self.letters, zip(shift, self._units, strict=True), strict=True))
        facts.take_origin(first["Y"], first["X"])
        facts.take_pixel(size["Y"], size["X"], "its OME-Zarr scale of x", self.name)
        where = "its OME-Zarr scale of z"
        facts.take_length("z_step_um", size.get("Z", (None, None)), where)
        facts.take_time_step(*size.get("T", (None, None)), "its OME-Zarr scale of t")
        step, bottom = facts.values.get("z_step_um"), to_um(*first.get("Z", (None, None)))
        if bottom is None or not (step or n == 1):
            return []
        heights = bottom + (step or 0.0) * np.arange(n, dtype=np.float64)
        return [StatedHeights(heights, where)]

    def _label(self, channel: int) -> str:
        """Name of a channel in the file."""
        with contextlib.suppress(KeyError, IndexError, TypeError, AttributeError):
            return str(self._ome["omero"]["channels"][channel].get("label") or "")
        return ""


@contextlib.contextmanager
def reading_zarr(name: str) -> Iterator[None]:
    """Turn what goes wrong inside with an OME-Zarr into one sentence."""
    try:
        yield
    except InputError:
        raise
    except (
        KeyError, IndexError, TypeError, ValueError, AttributeError, OSError, RuntimeError
    ) as error:  # fmt: skip
        if is_out_of_memory(error):
            raise unreadable(name, error) from error
        raise InputError(
            f"'{name}' is not a complete OME-Zarr image: "
            "give a folder with the multiscales metadata of NGFF 0.4 or 0.5."
        ) from error
    except Exception as error:  # whatever it is, it is this image's
        raise unreadable(name, error) from error


def _check_chunks(array: Path, name: str) -> None:
    """Refuse chunks of no size, which zarr 3.4 takes for chunks of one and so finds no pixel."""
    lengths: Any = ()
    if (array / "zarr.json").is_file():
        lengths = read_json(array / "zarr.json")["chunk_grid"]["configuration"].get("chunk_shape")
    elif (array / ".zarray").is_file():
        lengths = read_json(array / ".zarray").get("chunks")
    if any(isinstance(length, int) and length < 1 for length in lengths or ()):
        raise InputError(
            f"'{name}' is damaged (its chunks are of {lengths} pixels): copy or save it again."
        )


class _UnknownPlaceError(Exception):
    """Why the size and the place of the voxels cannot be told."""


def _scale_and_shift(
    level: Mapping[str, Any], multiscale: Mapping[str, Any], n: int
) -> tuple[Array, Array]:
    """Scale and translation of a level: its own transformations, then those of all levels."""
    scale, shift, is_scaled = np.ones(n), np.zeros(n), False
    for holder in (level, multiscale):
        for step in holder.get("coordinateTransformations") or ():
            kind = step.get("type")
            if kind == "identity":
                continue
            values = step.get(kind) if kind in ("scale", "translation") else None
            if values is None:
                raise _UnknownPlaceError(
                    f"its OME-Zarr has a transformation '{kind}' not read here"
                )
            if len(values) != n:
                raise _UnknownPlaceError(f"its OME-Zarr has a {kind} of {len(values)} for {n} axes")
            vector = np.asarray(values, dtype=np.float64)
            if kind == "scale":
                scale, shift, is_scaled = scale * vector, shift * vector, True
            else:
                shift = shift + vector
    if not is_scaled:
        raise _UnknownPlaceError("its OME-Zarr states no scale")
    return scale, shift


class OmeZarrWriter:
    """An OME-Zarr image, evenly spaced, whose planes are put in, and halved, one by one."""

    def __init__(self, path: Path, image: NewImage, ngff: str = NGFF[0]) -> None:
        if image.dtype.kind not in "biuf":
            raise InputError(
                f"'{path.name}' cannot be written: its pixels are of the type {image.dtype.name}, "
                "which are no real numbers."
            )
        _step_of(image.place, image.name)  # said before there is any work
        self._path, self._image, self._place, self._ngff = path, image, image.place, ngff
        is_old = ngff == "0.4"
        self._group = open_new(path, "w", ngff)
        keys: Any = {"name": "v2", "separator": "/"} if is_old else None
        self._chunks = "" if is_old else "c"  # the folder of a level's chunks
        with every_chunk():
            self.levels = [
                self._group.create_array(
                    str(number),
                    shape=level,
                    dtype=image.dtype.name,
                    chunks=(*(1 for _ in level[:-2]), *(min(n, _CHUNK) for n in level[-2:])),
                    chunk_key_encoding=keys,
                    dimension_names=None if is_old else tuple(image.axes.lower()),
                )
                for number, level in enumerate(level_shapes(image.shape))
            ]

    def put(self, number: int, plane: AnyArray) -> None:
        """Write one plane (Y, X) to every level, by its number among all planes."""
        at = np.unravel_index(number, self._image.shape[:-2])
        put_plane(self.levels, tuple(int(n) for n in at), plane)

    def crop(self, first: int, count: int) -> None:
        """Keep this block of planes only: a chunk is of one plane, and its file has that number."""
        self._check_it_is_there()
        for number, level in enumerate(self.levels):
            chunks = self._path / str(number) / self._chunks
            for index in range(count if first else 0):
                (chunks / str(first + index)).rename(chunks / str(index))
            level.resize((count, *level.shape[1:]))
        assert self._place.z_um is not None
        self._place = replace(self._place, z_um=self._place.z_um[first : first + count])

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write the metadata."""
        self._check_it_is_there()
        image = self._image
        begin = first_point_of(record_of_channel(provenance, 0))
        metadata = multiscale(image.name, len(self.levels), image.axes, self._place, begin)
        self._group.attrs[PROVENANCE_KEY] = json.loads(json.dumps(dict(provenance)))
        omero = _omero(image.channels) if len(image.channels) > 1 else {}
        old = {"version": self._ngff} if self._ngff == "0.4" else {}
        put_ome(self._group, self._ngff, {"multiscales": [metadata | old], **omero})

    def _check_it_is_there(self) -> None:
        """OSError where the folder was taken away: Zarr makes it anew, without what was in it."""
        if not all(map(is_there, self.levels)):
            raise FileNotFoundError(errno.ENOENT, "its metadata are gone")

    def close(self) -> None:
        """Nothing is held open."""


def level_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes of a pyramid down to 1024 pixels a side, the finest first."""
    *lead, y, x = shape
    coarser = level_shapes((*lead, -(-y // 2), -(-x // 2))) if max(y, x) > _CHUNK else []
    return [shape, *coarser]


@contextlib.contextmanager
def every_chunk() -> Iterator[None]:
    """Arrays that are made or opened here write chunks of zeros too: one that lacks is lost."""
    import zarr

    with zarr.config.set({"array.write_empty_chunks": True}):
        yield


def chunks_of(array: zarr.Array[Any], selected: Mapping[int, Sequence[int]]) -> Iterator[str]:
    """Files of the chunks of an array that hold the ``selected`` entries of its axes."""
    metadata: Any = array.metadata
    pieces, spans = array.shards or array.chunks, []
    for axis, (length, piece) in enumerate(zip(array.shape, pieces, strict=True)):
        entries = selected.get(axis, range(0, length, piece))
        spans.append(sorted({at // piece for at in entries if 0 <= at < length}))
    for place in product(*spans):
        yield f"{array.path}/{metadata.encode_chunk_key(place)}"


def put_plane(
    levels: Sequence[zarr.Array[Any]], at: int | tuple[int, ...], plane: AnyArray
) -> None:
    """Write one plane (Y, X) to every level of a pyramid."""
    for number, level in enumerate(levels):
        plane = halved(plane) if number else plane
        level[at] = plane


def _step_of(place: Place, name: str) -> float:
    """The z step of an image, evenly spaced upwards; one plane of which nothing is known has 1."""
    if place.step_um is None and (place.z_um is None or len(place.z_um) == 1):
        return 1.0
    if place.step_um is None or place.step_um < 0:
        raise InputError(
            f"The planes of '{name}' are not evenly spaced upwards, and an OME-Zarr has one z step "
            "for all: write an OME-TIFF, or resample it along z first."
        )
    return place.step_um


def multiscale(
    name: str, levels: int, axes: str, place: Place, begin: float = 0.0
) -> dict[str, Any]:
    """The NGFF metadata of the pyramid of :class:`OmeZarrWriter`; what is not known has no unit."""
    step, pixel = _step_of(place, name), place.pixel_um or 1.0
    bottom = 0.0 if place.z_um is None else float(place.z_um[0])
    datasets = []
    for number in range(levels):
        size = pixel * 2**number
        # The first pixel of a coarser level is centred between those that it stands for.
        y, x = (first + (size - pixel) / 2 for first in place.origin_um)
        scale = {"T": place.time_step_s or 1.0, "Z": step, "Y": size, "X": size}
        shift = {"T": begin * scale["T"], "Z": bottom, "Y": y, "X": x}
        steps = [
            {"type": "scale", "scale": [plain(scale.get(a, 1.0)) for a in axes]},
            {"type": "translation", "translation": [plain(shift.get(a, 0.0)) for a in axes]},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": steps})
    return {"name": name, "axes": [_axis(a, place) for a in axes], "datasets": datasets}


def _axis(letter: str, place: Place) -> dict[str, str]:
    kind = {"T": "time", "C": "channel"}.get(letter, "space")
    axis = {"name": letter.lower(), "type": kind}
    has_z = place.step_um is not None or place.z_um is not None
    if kind == "space" and (has_z if letter == "Z" else place.pixel_um is not None):
        axis["unit"] = "micrometer"
    if kind == "time" and place.time_step_s is not None:
        axis["unit"] = "second"
    return axis


def halved(plane: AnyArray) -> AnyArray:
    """Means of 2 × 2 pixels, at an odd edge of those that there are: (Y, X) → (⌈Y/2⌉, ⌈X/2⌉)."""
    y, x = plane.shape
    if y % 2 or x % 2:
        plane = np.pad(plane, ((0, y % 2), (0, x % 2)), mode="edge")
    wide: Any = np.float32 if plane.dtype.kind == "f" else np.float64
    rows = plane[::2].astype(wide) + plane[1::2]
    mean = (rows[:, ::2] + rows[:, 1::2]) / 4
    if plane.dtype.kind in "iu":
        mean = np.rint(mean)
    half: AnyArray = mean.astype(plane.dtype, copy=False)
    return half


def _omero(named: Sequence[Channel]) -> dict[str, Any]:
    """Names and contrast of several channels, as NGFF has them."""
    channels = []
    for channel, colour in zip(named, cycle(_COLOURS), strict=False):
        low, high = (float(value) for value in channel.contrast)
        window = {"min": low, "max": high, "start": low, "end": high}
        channels.append({"label": channel.name, "color": colour, "active": True, "window": window})
    return {"omero": {"channels": channels}}
