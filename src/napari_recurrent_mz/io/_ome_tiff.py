"""Writing OME-TIFF, with voxel sizes, plane heights and provenance."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import AnyArray
from ..core.scans import FloatArray, Heights, InputError
from ._channels import Channel, NewImage, Place, moved_um, plain, record_of_channel
from ._facts import INDEX_OF_MEDIUM
from ._ome import NAMESPACE
from ._tiff import HEIGHTS_NAME

_TYPES = ("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LARGEST_CLASSIC = 2**32 - 2**25  # bytes; what is larger needs 64-bit offsets


def write_ome_tiff(path: Path, image: NewImage, planes: Iterator[AnyArray]) -> None:
    """Write an image whose planes (Y, X) are all known."""
    if image.dtype.name not in _TYPES:
        raise InputError(
            f"'{path.name}' cannot be written: an OME-TIFF has no pixels of the type "
            f"{image.dtype.name}, so end it in .ome.zarr, or convert them to float32 first."
        )
    from tifffile import imwrite

    imwrite(path, planes, **_arguments(image))
    _state_objective(path, image.provenance)


def _arguments(image: NewImage) -> dict[str, Any]:
    return {
        "shape": image.shape,
        "dtype": image.dtype,
        "ome": True,
        "bigtiff": int(np.prod(image.shape)) * image.dtype.itemsize > _LARGEST_CLASSIC,
        "photometric": "minisblack",
        "metadata": ome_metadata(image),
    }


class OmeTiffWriter:
    """An OME-TIFF, uncompressed, whose planes are put in one by one."""

    def __init__(self, path: Path, image: NewImage) -> None:
        from tifffile import imwrite

        self._path, self._image = path, image
        offsets = imwrite(path, returnoffset=True, **_arguments(image))
        assert offsets is not None  # asked for
        self._offset = offsets[0]
        self._file = path.open("r+b")

    def put(self, number: int, plane: AnyArray) -> None:
        """Write one plane (Y, X) to its place, by its number among all planes."""
        self._file.seek(self._offset + number * plane.nbytes)
        self._file.write(np.ascontiguousarray(plane).data)

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write the metadata again, now that it is known how the image was made."""
        from tifffile import OmeXml, tiffcomment

        self._file.close()
        image = replace(self._image, provenance=provenance)
        *_, y, x = image.shape
        xml = OmeXml()
        pages = (image.n_planes, 1, 1, y, x, 1)
        xml.addimage(image.dtype.char, image.shape, pages, **ome_metadata(image))
        text = _with_objective(xml.tostring(declaration=True), provenance)
        tiffcomment(self._path, text.encode())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def write_ome_surface(
    path: Path, image: FloatArray, heights_um: Heights, place: Place, provenance: Mapping[str, Any]
) -> None:
    """Write an image (Y, X) and, as a second image, its heights in µm."""
    from tifffile import TiffWriter

    name = path.name.split(".")[0]
    metadata = ome_metadata(NewImage(name, [Channel(image[np.newaxis])], place, provenance))
    sizes = {key: metadata[key] for key in metadata if key.startswith("PhysicalSize")}
    with TiffWriter(path, ome=True) as tif:
        tif.write(image[np.newaxis], photometric="minisblack", metadata=metadata)
        tif.write(
            heights_um.astype(np.float32),
            photometric="minisblack",
            metadata={**sizes, "axes": "YX", "Name": HEIGHTS_NAME},
        )
    _state_objective(path, provenance)


def _state_objective(path: Path, provenance: Mapping[str, Any]) -> None:
    from tifffile import tiffcomment

    tiffcomment(path, _with_objective(str(tiffcomment(path)), provenance).encode())


def _with_objective(xml: str, provenance: Mapping[str, Any]) -> str:
    """OME metadata with the objective, of which tifffile writes none."""
    optics = record_of_channel(provenance, 0).get("optics") or {}
    na, index = optics.get("na"), optics.get("immersion_index")
    if not na or not index:
        return xml
    medium = next((name for name, n in INDEX_OF_MEDIUM.items() if abs(n - index) < 0.004), "other")
    objective = f'ID="Objective:0" LensNA="{na:g}" Immersion="{medium.title()}"'
    instrument = f'<Instrument ID="Instrument:0"><Objective {objective}/></Instrument>'
    used = (
        '<InstrumentRef ID="Instrument:0"/>'
        f'<ObjectiveSettings ID="Objective:0" RefractiveIndex="{index:g}"/>'
    )
    xml = xml.replace("<Image ", f"{instrument}<Image ", 1)
    return xml.replace("<Pixels ", f"{used}<Pixels ")


def ome_metadata(image: NewImage) -> dict[str, Any]:
    """Voxel sizes, plane positions, channels and provenance, as tifffile writes them to OME."""
    place, record = image.place, dict(image.provenance)
    metadata: dict[str, Any] = {
        "axes": image.axes,
        "Name": _in_xml(image.name),
        "CommentAnnotation": [{"Namespace": NAMESPACE, "Value": json.dumps(record)}],
    }
    sizes = {"X": place.pixel_um, "Y": place.pixel_um, "Z": place.step_um}
    for axis, size in sizes.items():  # what is uneven has no one size
        if size is not None:
            metadata[f"PhysicalSize{axis}"] = plain(abs(size))
            metadata[f"PhysicalSize{axis}Unit"] = "µm"
    if "T" in image.axes and place.time_step_s is not None:
        metadata |= {"TimeIncrement": place.time_step_s, "TimeIncrementUnit": "s"}
    planes = _plane_positions(image)
    if planes:
        metadata["Plane"] = planes
    channels = [
        _channel_metadata(channel.name, record_of_channel(record, number))
        for number, channel in enumerate(image.channels)
    ]
    if any(channels):
        metadata["Channel"] = channels
    return metadata


def _in_xml(text: str) -> str:
    """A name without control characters, which XML cannot hold."""
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _plane_positions(image: NewImage) -> dict[str, list[Any]]:
    """Where its planes are; a place at the origin is not stated."""
    place, n = image.place, image.n_planes
    positions: dict[str, list[float]] = {}
    if any(place.origin_um):
        positions = {f"Position{a}": [v] * n for a, v in zip("YX", place.origin_um, strict=True)}
    if place.z_um is not None:
        count = image.shape[0] if "T" in image.axes else 1
        by_time = moved_um(record_of_channel(image.provenance, 0), place.z_um, count)
        points = [place.z_um] if by_time is None else by_time
        each = n // (len(points) * len(place.z_um))  # of the channels, or of all that are alike
        positions["PositionZ"] = [z for heights in points for z in [*heights] * each]
    lengths = {name: [plain(float(v)) for v in values] for name, values in positions.items()}
    return lengths | {f"{name}Unit": ["µm"] * n for name in positions}


def _channel_metadata(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"Name": _in_xml(name)} if name else {}
    wavelength = (record.get("optics") or {}).get("wavelength_um")
    if wavelength:
        metadata["EmissionWavelength"] = round(1e3 * wavelength, 6)
        metadata["EmissionWavelengthUnit"] = "nm"
    return metadata
