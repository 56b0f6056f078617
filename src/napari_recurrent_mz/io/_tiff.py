"""TIFF, ImageJ TIFF and OME-TIFF: reading with metadata, writing OME-TIFF."""

from __future__ import annotations

import contextlib
import json
import logging
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ..core.scans import InputError
from ._channels import Channel, NewImage, Place, plain, record_of_channel
from ._facts import Facts
from ._image_file import ImageFile, unreadable
from ._ome import NAMESPACE, image_of, ome_root, take_ome
from ._vendors import take_metamorph, take_micro_manager, take_tags, take_zeiss

HEIGHTS_NAME = "Surface heights (µm)"
"""Name of the second image in the file of a surface."""

_OME_TYPES = ("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
_LARGEST_CLASSIC = 2**32 - 2**25  # bytes; what is larger needs 64-bit offsets

_CUT_SHORT = ("invalid page offset", "invalid value offset", "corrupted", "missing data")


@contextlib.contextmanager
def tiff_errors_explained(path: Path) -> Iterator[list[str]]:
    """Turn what goes wrong inside with a TIFF into one sentence; gives what tifffile logs."""
    with _tifffile_log() as said:
        try:
            yield said
        except InputError:
            raise
        except tifffile.TiffFileError as error:
            if "not a TIFF" in str(error):
                raise InputError(
                    f"'{path.name}' is not a TIFF file: give a TIFF, OME-TIFF or OME-Zarr."
                ) from error
            raise _cut_short(path) from error
        except (ValueError, OSError, EOFError, IndexError, struct.error, zlib.error) as error:
            if "imagecodecs" in str(error):
                raise InputError(
                    f"'{path.name}' is compressed in a way that needs the package imagecodecs: "
                    "install it (pip install imagecodecs), or save the file uncompressed."
                ) from error
            raise _cut_short(path) from error
        except Exception as error:  # whatever it is, it is this file's
            raise unreadable(path.name, error) from error


def _cut_short(path: Path) -> InputError:
    try:
        size = path.stat().st_size
    except OSError as error:  # it is gone, or the drive is
        return InputError(f"'{path.name}' cannot be read: {error.strerror or error}.")
    return InputError(
        f"'{path.name}' is damaged or cut short ({size:,} bytes): copy or save it again."
    )


def check_whole(tif: tifffile.TiffFile, pages: Sequence[Any], path: Path, said: list[str]) -> None:
    """Raise :class:`InputError` when planes of an image are missing or cut short."""
    if any(sign in line for line in said for sign in _CUT_SHORT):
        raise _cut_short(path)
    missing = sum(page is None for page in pages)
    if missing:
        raise InputError(
            f"'{path.name}' lacks {missing} of its {len(pages)} planes: they are in other "
            "files of the same OME-TIFF set, which must lie beside it."
        )
    if not all(_is_whole(page, tif) for page in pages):
        raise _cut_short(path)


def image_file_of(
    tif: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    data: Any,
    path: Path,
    *,
    records: Sequence[Mapping[str, Any]],
    position: int = 0,
    channel: int = 0,
    time: int = 0,
) -> ImageFile:
    """Pixels (Z, Y, X) or (Y, X) of a series with what the file says about these very planes.

    ``records`` are what Micro-Manager wrote about each plane, if it did; ``position``, ``channel``
    and ``time`` are those of the series that the planes are of.
    """
    facts, name = Facts(), path.name
    stated = take_micro_manager(facts, tif, records, name)
    root = ome_root(tif.ome_metadata, name) if tif.is_ome and tif.ome_metadata else None
    image = None if root is None else image_of(root, series, position)
    if root is not None and image is not None:
        stated += take_ome(facts, root, image, channel, time, name)
    elif tif.is_stk:
        stated += take_metamorph(facts, tif, name)
    elif tif.is_lsm:
        take_zeiss(facts, tif, name)
    else:
        take_tags(facts, tif, name)
    return facts.image(data, name, str(path), stated)


def _is_whole(page: Any, tif: tifffile.TiffFile) -> bool:
    if not hasattr(page, "dataoffsets") or page.parent is not tif:
        return True
    size = tif.filehandle.size
    pairs = zip(page.dataoffsets, page.databytecounts, strict=False)
    return all(offset + count <= size for offset, count in pairs)


@contextlib.contextmanager
def _tifffile_log() -> Iterator[list[str]]:
    """Collect what tifffile logs, in place of printing it."""
    said: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    log = logging.getLogger("tifffile")
    handler, propagate = Collect(), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield said
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


def write_ome_tiff(path: Path, image: NewImage) -> None:
    """Write an image as OME-TIFF with voxel sizes, plane heights and provenance."""
    check_type(image.dtype, path.name)
    tifffile.imwrite(
        path,
        image.planes(),
        shape=image.shape,
        dtype=image.dtype,
        ome=True,
        bigtiff=int(np.prod(image.shape)) * image.dtype.itemsize > _LARGEST_CLASSIC,
        photometric="minisblack",
        metadata=ome_metadata(image),
    )


def check_type(dtype: np.dtype[Any], name: str) -> None:
    """Raise :class:`InputError` when OME-TIFF has no pixels of a type."""
    if dtype.name not in _OME_TYPES:
        raise InputError(
            f"'{name}' cannot be written: an OME-TIFF has no pixels of the type {dtype.name}, so "
            "end it in .ome.zarr, or convert them to float32 first."
        )


class TiffPlanes:
    """An OME-TIFF (Z, Y, X), uncompressed, whose planes are put in one by one."""

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        z_um: npt.NDArray[np.float64],
        pixel_um: float,
        name: str,
    ) -> None:
        self._path, self._shape, self._dtype = path, shape, dtype
        pixels = np.broadcast_to(np.zeros((), dtype), shape)  # the real ones come later
        self._image = NewImage(name, [Channel(pixels)], Place(pixel_um, z_um))
        offsets = tifffile.imwrite(
            path,
            shape=shape,
            dtype=dtype,
            ome=True,
            photometric="minisblack",
            metadata=ome_metadata(self._image),
            returnoffset=True,
        )
        assert offsets is not None  # asked for
        self._offset = offsets[0]
        self._file = path.open("r+b")

    def put(self, index: int, plane: npt.NDArray[Any]) -> None:
        """Write one plane (Y, X) to its place."""
        self._file.seek(self._offset + index * plane.nbytes)
        self._file.write(np.ascontiguousarray(plane).data)

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write the metadata, which may name what is known only at the end."""
        self._file.close()
        z, y, x = self._shape
        xml = tifffile.OmeXml()
        xml.addimage(
            self._dtype.char,
            self._shape,
            (z, 1, 1, y, x, 1),
            **ome_metadata(replace(self._image, provenance=provenance)),
        )
        tifffile.tiffcomment(self._path, xml.tostring(declaration=True).encode())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def ome_metadata(image: NewImage) -> dict[str, Any]:
    """Voxel sizes, plane positions, channels and provenance, as tifffile writes them to OME."""
    place, record = image.place, dict(image.provenance)
    metadata: dict[str, Any] = {
        "axes": image.axes,
        "Name": image.name,
        "CommentAnnotation": [{"Namespace": NAMESPACE, "Value": json.dumps(record)}],
    }
    sizes = {"X": place.pixel_um, "Y": place.pixel_um, "Z": place.step_um}
    for axis, size in sizes.items():  # what is uneven has no one size
        if size is not None:
            metadata[f"PhysicalSize{axis}"] = plain(abs(size))
            metadata[f"PhysicalSize{axis}Unit"] = "µm"
    planes = _plane_positions(place, int(np.prod(image.shape[:-2], dtype=int)))
    if planes:
        metadata["Plane"] = planes
    channels = [
        _channel_metadata(channel.name, record_of_channel(record, number))
        for number, channel in enumerate(image.channels)
    ]
    if any(channels):
        metadata["Channel"] = channels
    return metadata


def _plane_positions(place: Place, n: int) -> dict[str, list[Any]]:
    """Where ``n`` planes are, channel by channel; a place at the origin is not stated."""
    positions: dict[str, list[Any]] = {}
    if any(place.origin_um):
        positions = {f"Position{a}": [v] * n for a, v in zip("YX", place.origin_um, strict=True)}
    if place.z_um is not None:
        positions["PositionZ"] = list(place.z_um) * (n // len(place.z_um))
    plain_positions = {
        name: [plain(float(v)) for v in values] for name, values in positions.items()
    }
    return plain_positions | {f"{name}Unit": ["µm"] * n for name in plain_positions}


def _channel_metadata(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"Name": name} if name else {}
    wavelength = (record.get("optics") or {}).get("wavelength_um")
    if wavelength:
        metadata["EmissionWavelength"] = round(1e3 * wavelength, 6)
        metadata["EmissionWavelengthUnit"] = "nm"
    return metadata
