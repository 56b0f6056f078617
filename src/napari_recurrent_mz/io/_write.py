"""Volumes out: OME-TIFF and OME-Zarr, written whole or plane by plane."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..core.arrays import (
    AnyArray,
    Array,
    check_largest,
    lazy_or_read,
    reading,
    real_array,
    real_values,
    with_axes,
)
from ..core.errors import sizes_in_words
from ..core.scans import Heights, InputError, check_heights, counted
from ._channels import Channel, NewImage, OnPlane, Place
from ._facts import PLAUSIBLE
from ._ome import NAMESPACE
from ._ome_tiff import OmeTiffWriter, write_ome_surface, write_ome_tiff
from ._whole import NOT_WRITTEN, Workplace, refusals_of, write_whole
from ._zarr import NGFF, PROVENANCE_KEY, OmeZarrWriter, is_zarr, root_attributes

_TIFF_ENDINGS = (".tif", ".tiff")
_ZARR_ENDING = ".zarr"
_PYRAMID = 4 / 3  # of the finest level, all levels together
_SPARE_BYTES = 50_000_000


def check_output(
    path: str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]] = (),
    ngff: str = NGFF[0],
) -> Path:
    """Return ``path`` once a volume can be written there, before any work is done."""
    path = Path(path)
    ending = path.suffix.lower()
    if ngff not in NGFF or (ngff != NGFF[0] and ending != _ZARR_ENDING):
        raise InputError(
            f"'{path.name}' cannot be written as NGFF {ngff}: end it in .ome.zarr and choose "
            f"{' or '.join(NGFF)}, or leave the version out."
        )
    if ending not in (*_TIFF_ENDINGS, _ZARR_ENDING):
        raise InputError(
            f"'{path.name or path}' does not say which format to write: "
            "end it in .ome.tif (OME-TIFF) or .ome.zarr (OME-Zarr)."
        )
    with refusals_of(path):
        _check_place(path, inputs)
    return path


def _check_place(path: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    folder, is_folder = path.parent, path.suffix.lower() == _ZARR_ENDING
    if not folder.is_dir():
        raise InputError(f"The folder '{folder}' for the result does not exist: make it first.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"You may not write to the folder '{folder}': choose another one.")
    if path.exists() and any(Path(i).exists() and path.samefile(i) for i in inputs):
        raise InputError(
            f"'{path.name}' is one of the input files: choose another name for the result."
        )
    if path.is_dir() and not (is_folder and is_zarr(path)):
        raise InputError(f"'{path.name}' is a folder that is no OME-Zarr: choose another name.")
    if path.is_file() and is_folder:
        raise InputError(f"'{path.name}' is a file, not an OME-Zarr folder: choose another name.")
    check_own(path)


def check_own(path: Path) -> None:
    """Refuse to replace an image that was not written from here: it may be raw data."""
    if path.exists() and not is_own(path):
        raise InputError(
            f"'{path.name}' is there already and was not written by this program, or is damaged, "
            "so it stays: choose another name or folder, or move it away."
        )


def is_own(path: Path) -> bool:
    """Whether an image holds the record that is written with each; nothing is lost of no bytes."""
    import tifffile  # here, as it takes a moment

    with suppress(OSError, ValueError, KeyError, TypeError):
        if path.is_dir():
            return PROVENANCE_KEY in root_attributes(path)
        return path.stat().st_size == 0 or NAMESPACE in str(tifffile.tiffcomment(path))
    return False


def check_surface_output(
    path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = ()
) -> Path:
    """:func:`check_output` for the image of a surface, which is an OME-TIFF."""
    path = check_output(path, inputs)
    if path.suffix.lower() == _ZARR_ENDING:
        raise InputError(
            f"'{path.name}': the image of a surface is written as OME-TIFF, end it in .ome.tif."
        )
    return path


def disk_bytes(shape: tuple[int, int, int], itemsize: int = 4, *, pyramid: bool = True) -> int:
    """Room that a volume may take on a disk, in bytes; OME-Zarr compresses, so often less."""
    z, y, x = shape
    return int(z * y * x * itemsize * (_PYRAMID if pyramid else 1)) + _SPARE_BYTES


def check_disk(path: Path, shape: tuple[int, int, int], itemsize: int = 4) -> None:
    """Refuse a volume (Z, Y, X) at ``path`` that the disk cannot hold, before any work is done."""
    needed = disk_bytes(shape, itemsize, pyramid=path.suffix.lower() not in _TIFF_ENDINGS)
    check_room(path.parent, needed, f"'{path.name}'", "free some space, or write to another disk")


def check_room(folder: Path, needed: float, what: str, remedy: str) -> None:
    """Refuse what needs more bytes than the disk of a folder has, before any work is done."""
    with refusals_of(folder):
        free = shutil.disk_usage(folder).free
    if needed > free:
        needs, has = sizes_in_words(needed, free)
        raise InputError(
            f"{what} may need {needs} but its disk has {has} free: {remedy}.",
            NOT_WRITTEN,
        ) from OSError(errno.ENOSPC, "")


def write_volume(
    path: str | os.PathLike[str],
    volume: npt.ArrayLike,
    z_um: npt.ArrayLike,
    pixel_um: float,
    provenance: Mapping[str, Any] | None = None,
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    keep_type: bool = False,
    durable: bool = False,
    ngff: str = NGFF[0],
    origin_um: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """Write a volume as OME-TIFF or OME-Zarr, by the ending of ``path``.

    Its planes are written from the lowest up.

    It is written under a temporary name in the same folder and renamed at the end, so a
    file under the final name is always whole.

    Parameters
    ----------
    path : path
        Ends in ``.tif``/``.tiff`` (OME-TIFF) or ``.zarr`` (OME-Zarr).
    volume : array_like, shape (Z, Y, X)
        Intensities, written as float32 unless ``keep_type``.
    z_um : array_like, shape (Z,)
        Heights of the planes, in micrometres; in an OME-Zarr they must be evenly spaced.
    pixel_um : float
        Pixel size, in micrometres.
    provenance : mapping, optional
        How it was made; anything JSON can hold. :attr:`ImageFile.provenance` returns it.
    inputs : iterable of path
        Files that must not be overwritten.
    keep_type : bool, optional
        Write integers of 8 and 16 bits as they are.
    durable : bool, optional
        Return once the disk has it, so that not even a power cut loses it.
    ngff : {"0.5", "0.4"}, optional
        Version of OME-Zarr; 0.4 is for programs that do not read the newer one.
    origin_um : tuple of float, optional
        Position (y, x) of the first pixel, in micrometres.

    Raises
    ------
    InputError
        As :func:`check_output`, or when the disk refuses.
    """
    array = real_array(volume, "The volume", finite=False)
    heights = real_values(z_um, "The list of heights")
    array = np.ascontiguousarray(as_written(array, keep_type=keep_type))
    check_heights_of(array.shape, heights)
    order = np.argsort(heights, kind="stable")
    if np.any(np.diff(order) != 1):
        array, heights = array[order], heights[order]
    place = Place(float(pixel_um), heights, origin_um=origin_um)
    return write_channels(
        path, [Channel(array)], place, provenance, inputs=inputs, durable=durable, ngff=ngff
    )


def as_written(array: AnyArray, *, keep_type: bool = True) -> AnyArray:
    """Values as float32, or integers of 8 and 16 bits as they are; too large ones are refused."""
    check_largest(array, "The volume")
    is_small = array.dtype.kind in "iu" and array.dtype.itemsize <= 2
    return array if keep_type and is_small else array.astype(np.float32, copy=False)


def write_channels(
    path: str | os.PathLike[str],
    channels: Sequence[Channel],
    place: Place,
    provenance: Mapping[str, Any] | None = None,
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    durable: bool = False,
    on_plane: OnPlane | None = None,
    ngff: str = NGFF[0],
) -> Path:
    """Write one or more channels as OME-TIFF or OME-Zarr, by the ending of ``path``.

    Nothing is converted: what is read again is the same, bit for bit. It is written under a
    temporary name, as :func:`write_volume` does.

    Parameters
    ----------
    path : path
        Ends in ``.tif``/``.tiff`` (OME-TIFF) or ``.zarr`` (OME-Zarr).
    channels : sequence of Channel
        All of one shape and type.
    place : Place
        Voxel size and position.
    provenance : mapping, optional
        How they were made; of several channels, a list of one record each under ``channels``.
    inputs, durable, ngff
        As in :func:`write_volume`.
    on_plane : callable, optional
        Called before every plane with how many are written, and of how many; what it raises ends
        the work, and leaves what was there.

    Raises
    ------
    InputError
        As :func:`check_output`, when the format has no such pixels or heights, or when the disk
        refuses.
    """
    path = check_output(path, inputs, ngff)
    channels = [_checked(channel, place) for channel in channels]
    image = NewImage(path.name.split(".")[0], channels, place, provenance or {})

    def planes() -> Iterator[AnyArray]:
        for number, at in enumerate(np.ndindex(*image.shape[:-2])):
            index = dict(zip(image.axes, at, strict=False))
            channel = channels[index.pop("C", 0)]
            if on_plane is not None:
                on_plane(number, image.n_planes)
            with reading(_called(channel)):
                yield np.ascontiguousarray(channel.pixels[tuple(index.values())], image.dtype)

    def write(part: Path) -> None:
        if path.suffix.lower() != _ZARR_ENDING:
            write_ome_tiff(part, image, planes())
            return
        writer = OmeZarrWriter(part, image, ngff)
        for number, plane in enumerate(planes()):
            writer.put(number, plane)
        writer.finish(image.provenance)

    return write_whole(path, write, durable=durable)


def write_surface(
    path: str | os.PathLike[str],
    image: npt.ArrayLike,
    heights_um: Heights,
    pixel_um: float,
    provenance: Mapping[str, Any] | None = None,
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    origin_um: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """Write the image of a surface (Y, X) as OME-TIFF, its heights as a second image beside it."""
    path = check_surface_output(path, inputs)
    pixels = real_array(image, "The image", finite=False)
    pixels = with_axes(pixels, "The image", "one image (Y, X)", 2)
    heights_um = check_heights(heights_um, pixels.shape)
    check_largest(pixels, "The image")
    pixels, record = np.ascontiguousarray(pixels, dtype=np.float32), provenance or {}
    middle = np.array([float(heights_um.mean())])
    place = Place(float(pixel_um), middle, origin_um=origin_um)
    return write_whole(
        path, lambda part: write_ome_surface(part, pixels, heights_um, place, record)
    )


_FARTHEST_UM = 1e8  # a hundred metres


def check_heights_of(shape: tuple[int, ...], heights_um: Array) -> None:
    """Refuse a volume that is none, or has not one height a plane."""
    if len(shape) != 3 or 0 in shape or heights_um.shape != shape[:1]:
        raise InputError(
            f"A volume of the shape {shape} with {counted(len(heights_um), 'height')} cannot be "
            "written: give planes (Z, Y, X), and a height for each."
        )
    farthest_um = float(np.abs(heights_um).max())
    if farthest_um > _FARTHEST_UM:
        raise InputError(
            f"The planes lie up to {farthest_um:g} µm from zero, which no reader would believe: "
            "give heights in µm."
        )
    gaps = np.diff(np.sort(heights_um))
    nearest, farthest = PLAUSIBLE["z_step_um"]
    if len(gaps) and not (gaps.min() > 0 and nearest <= gaps.mean() <= farthest):
        raise InputError(
            f"The planes lie {gaps.mean():g} µm apart on average, the nearest {gaps.min():g} µm, "
            "which no reader would believe: give heights in µm, to each plane its own."
        )


def _checked(channel: Channel, place: Place) -> Channel:
    """A channel whose planes can be written."""
    pixels = lazy_or_read(channel.pixels, _called(channel))
    shape = tuple(pixels.shape)
    if not 2 <= len(shape) <= 4 or 0 in shape:
        raise InputError(f"{_called(channel)} has the shape {shape}: give planes (Z, Y, X).")
    if place.z_um is not None:
        check_heights_of((1, *shape)[-3:], place.z_um)
    return replace(channel, pixels=pixels)


def _called(channel: Channel) -> str:
    return f"The channel '{channel.name}'" if channel.name else "The image"


class PlaneWriter:
    """Takes planes in any order, in a ``with`` block: those of a part of an image."""

    def __init__(self, path: Path) -> None:
        self.path = path  #: where the image will be
        self._written: set[int] = set()

    def __setitem__(self, index: int, plane: AnyArray) -> None:
        """Write the plane with this number, (Y, X)."""
        raise NotImplementedError

    @property
    def finished_planes(self) -> list[int]:
        """Numbers of the planes that were written, rising."""
        return sorted(self._written)

    def finish(self, provenance: Mapping[str, Any] | None = None) -> Path:  # noqa: ARG002
        """All planes are there; the record of the whole image says how they were made."""
        return self.path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is to be done for a part."""


class VolumeWriter(PlaneWriter):
    """Writes a volume plane after plane, in any order, as OME-TIFF or OME-Zarr.

    Until :meth:`finish` it lies under a temporary name in the same folder, so a volume under
    the final name is always whole. Left without :meth:`finish`, by an error or on purpose,
    nothing stays.

    Parameters
    ----------
    path : path
        Ends in ``.zarr`` (OME-Zarr: chunks of one plane and at most 1024 × 1024 pixels, with
        halved levels down to 1024 pixels a side) or ``.tif``/``.tiff`` (OME-TIFF).
    shape : tuple of int
        (Z, Y, X).
    z_um : array_like, shape (Z,)
        Heights of the planes, in micrometres, evenly spaced.
    pixel_um : float
        Pixel size, in micrometres.
    inputs : iterable of path
        Files that must not be overwritten.
    dtype : dtype, optional
        Of what is written.
    origin_um : tuple of float, optional
        Position (y, x) of the first pixel, in micrometres.
    in_plate : bool, optional
        Whether ``path`` is a field of an OME-Zarr plate, whatever its ending.
    channels : sequence of Channel, optional
        Names and contrasts of several channels, whose own pixels are not read; the planes of each
        are then put in :meth:`channel`.
    ngff : {"0.5", "0.4"}, optional
        Version of OME-Zarr; 0.4 is for programs that do not read the newer one.

    Raises
    ------
    InputError
        As :func:`check_output`, when the disk has too little room, or when it refuses.

    Examples
    --------
    >>> with VolumeWriter("v.ome.zarr", (101, 4096, 4096), grid.z_um, 0.103) as volume:
    ...     for plane in iter_planes(scans, grid, optics=optics):
    ...         volume[plane.index] = plane.pixels
    ...     volume.finish({"method": "recurrent-mz"})    # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: tuple[int, int, int],
        z_um: npt.ArrayLike,
        pixel_um: float,
        *,
        inputs: Iterable[str | os.PathLike[str]] = (),
        dtype: npt.DTypeLike = np.float32,
        origin_um: tuple[float, float] = (0.0, 0.0),
        in_plate: bool = False,
        channels: Sequence[Channel] = (),
        ngff: str = NGFF[0],
    ) -> None:
        super().__init__(Path(path) if in_plate else check_output(path, inputs, ngff))
        self.dtype = np.dtype(dtype)
        self.shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        heights = real_values(z_um, "The list of heights")
        check_heights_of(self.shape, heights)
        name = self.path.name.split(".")[0]
        place = Place(float(pixel_um), heights, origin_um=origin_um)
        image = NewImage.empty(name, self.shape, self.dtype, place, channels)
        check_disk(self.path, (image.n_planes, *self.shape[1:]), self.dtype.itemsize)
        is_tiff = not in_plate and self.path.suffix.lower() in _TIFF_ENDINGS
        self._count = image.n_planes
        self._file: OmeTiffWriter | OmeZarrWriter
        with ExitStack() as on_error:
            self._workplace = Workplace(self.path)
            on_error.callback(self._workplace.remove)
            self.part = self._workplace.part  #: where it is until it is finished
            with refusals_of(self.path):
                if is_tiff:
                    self._file = OmeTiffWriter(self.part, image)
                else:
                    self._file = OmeZarrWriter(self.part, image, ngff)
            on_error.callback(self._file.close)
            self._on_discard = on_error.pop_all()

    def __setitem__(self, index: int, plane: npt.ArrayLike) -> None:
        """Write the plane with this number, (Y, X), over one that was there."""
        called = f"Plane {index} of '{self.path.name}'"
        pixels = real_array(plane, called, finite=False)
        check_largest(pixels, called)
        pixels = pixels.astype(self.dtype, copy=False)
        if pixels.shape != self.shape[1:] or not 0 <= index < self._count:
            raise InputError(
                f"{called} has the shape {pixels.shape}, but the volume {self.shape}: give one of "
                "its planes."
            )
        with refusals_of(self.path):
            self._file.put(int(index), pixels)
        self._written.add(int(index))

    def channel(self, number: int) -> ChannelOfVolume:
        """What takes the planes of one of several channels, by its number."""
        return ChannelOfVolume(self, number)

    @property
    def levels(self) -> list[Any]:
        """Arrays (Z, Y, X) of an OME-Zarr as they fill, the finest first."""
        assert isinstance(self._file, OmeZarrWriter)
        return self._file.levels

    def keep_finished(self) -> None:
        """Cut an OME-Zarr to the planes that were written, which must be one block.

        Raises
        ------
        ValueError
            If planes between those that were written are missing, or there are none.
        InputError
            When the disk refuses.
        """
        assert isinstance(self._file, OmeZarrWriter)
        finished = self.finished_planes
        if not finished or finished[-1] - finished[0] + 1 != len(finished):
            raise ValueError(f"the planes {finished} are not one block")
        with refusals_of(self.path):
            self._file.crop(finished[0], len(finished))
        self._count = len(finished)
        self.shape = (self._count, *self.shape[1:])

    def finish(self, provenance: Mapping[str, Any] | None = None, *, durable: bool = False) -> Path:
        """Complete the file and give it its name; what was there is replaced.

        Parameters
        ----------
        provenance : mapping, optional
            How the volume was made; anything JSON can hold. Of several channels, a list of one
            record each under ``channels``.
        durable : bool, optional
            Return once the disk has it.

        Raises
        ------
        ValueError
            If planes are missing.
        InputError
            When the disk refuses.
        """
        missing = self._count - len(self._written)
        if missing:
            raise ValueError(f"{missing} of {self._count} planes were not written")
        try:
            with refusals_of(self.path):
                self._file.finish(provenance or {})
                self._workplace.put_in_place(durable=durable)
        finally:
            self.discard()
        return self.path

    def discard(self) -> None:
        """Leave nothing behind, unless it is finished."""
        self._on_discard.close()

    def __exit__(self, *_: object) -> None:
        self.discard()


class ChannelOfVolume(PlaneWriter):
    """Writes the planes of one of several channels of a volume."""

    def __init__(self, volume: VolumeWriter, number: int) -> None:
        super().__init__(volume.path)
        self._volume, self._first = volume, number * volume.shape[0]

    def __setitem__(self, index: int, plane: npt.ArrayLike) -> None:
        self._volume[self._first + index] = plane
        self._written.add(index)
