"""TIFF, ImageJ TIFF and OME-TIFF: reading with metadata, writing OME-TIFF."""

from __future__ import annotations

import contextlib
import json
import logging
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import tifffile

from ..scans import InputError
from ._image_file import ImageFile, square_pixel, squeeze_to_zyx, to_um

NAMESPACE = "napari-recurrent-mz/provenance"

HEIGHTS_NAME = "Surface heights (µm)"
"""What the second image in a file of a surface is called."""

_PLAUSIBLE_PIXEL_UM = (0.005, 20.0)
_MICRO_MANAGER_TAG = 51123
_INDEX_OF_MEDIUM = {
    "air": 1.0,
    "water": 1.333,
    "waterdipping": 1.333,
    "glycerol": 1.47,
    "oil": 1.515,
}
_CUT_SHORT = ("invalid page offset", "invalid value offset", "corrupted", "missing data")


def read_tiff(path: Path) -> ImageFile:
    """Read a TIFF with what it says about lengths and optics.

    Raises
    ------
    InputError
        If the file is not a TIFF, is cut short, or holds more than one z-stack.
    """
    with told_of_tiff(path) as said, tifffile.TiffFile(path) as tif:
        return _read(tif, path, said)


@contextlib.contextmanager
def told_of_tiff(path: Path) -> Iterator[list[str]]:
    """What goes wrong inside with a TIFF, in one sentence; gives what tifffile logs."""
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
                    "install it, or save the file uncompressed."
                ) from error
            raise _cut_short(path) from error


def _cut_short(path: Path) -> InputError:
    return InputError(
        f"'{path.name}' is damaged or cut short ({path.stat().st_size:,} bytes): "
        "copy or save it again."
    )


def _read(tif: tifffile.TiffFile, path: Path, said: list[str]) -> ImageFile:
    len(tif.pages)  # walks the whole chain, so that a broken one is reported
    series = one_series(tif.series, path)
    check_whole(tif, series, path, said)
    # RGB, channels and time are told by the axes: refuse them before reading gigabytes.
    squeeze_to_zyx(np.broadcast_to(np.uint8(0), series.shape), series.axes, path.name)
    data = squeeze_to_zyx(series.asarray(), series.axes, path.name)
    return told_by(tif, data, path)


def check_whole(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path, said: list[str]
) -> None:
    """Raise :class:`InputError` when planes of a series are missing or cut short."""
    if any(sign in line for line in said for sign in _CUT_SHORT):
        raise _cut_short(path)
    missing = sum(page is None for page in series.pages)
    if missing:
        raise InputError(
            f"'{path.name}' lacks {missing} of its {len(series.pages)} planes: they are in other "
            "files of the same OME-TIFF set, which must lie beside it."
        )
    if not all(_is_whole(page, tif) for page in series.pages):
        raise _cut_short(path)


def told_by(tif: tifffile.TiffFile, data: Any, path: Path, number: int = 0) -> ImageFile:
    """Pixels (Z, Y, X) or (Y, X) of image ``number`` with what the file says about it."""
    if tif.is_ome and tif.ome_metadata:
        return _with_micro_manager(_with_ome(data, path, tif.ome_metadata, number), tif)
    return _with_micro_manager(_with_tags(data, path, tif), tif)


def one_series(series: Iterable[tifffile.TiffPageSeries], path: Path) -> tifffile.TiffPageSeries:
    """The one image of a file; :class:`InputError` when it holds several."""
    first, *others = series
    same = [s for s in others if s.shape[-2:] == first.shape[-2:] and s.name != HEIGHTS_NAME]
    if same:
        raise InputError(
            f"'{path.name}' holds {len(same) + 1} images (positions or series): "
            "save the one to reconstruct in a file of its own."
        )
    return first


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


def _with_tags(data: npt.NDArray[Any], path: Path, tif: tifffile.TiffFile) -> ImageFile:
    """Lengths from ImageJ's metadata, or from the TIFF resolution when it is one of a sample."""
    page = tif.pages.first
    ij: Mapping[str, Any] = tif.imagej_metadata or {}
    unit = ij.get("unit")
    if unit is None:
        unit = {2: "inch", 3: "cm"}.get(int(page.tags.valueof("ResolutionUnit", default=1)))
    y_um, x_um = (to_um(_length_of(page.tags.valueof(f"{axis}Resolution")), unit) for axis in "YX")
    pixel = None if y_um is None or x_um is None else square_pixel(y_um, x_um, path.name)
    if pixel is not None and not _PLAUSIBLE_PIXEL_UM[0] <= pixel <= _PLAUSIBLE_PIXEL_UM[1]:
        pixel = None  # a print resolution, 72 dots per inch for instance
    step = to_um(ij.get("spacing"), unit) if ij else None
    if step is not None and step <= 0:
        step = None
    return ImageFile(
        data,
        path.name,
        str(path),
        z_um=_even(data, step),
        pixel_um=pixel,
        z_step_um=step,
    )


def _with_micro_manager(image: ImageFile, tif: tifffile.TiffFile) -> ImageFile:
    """Fill in what is not known from the record that Micro-Manager keeps of a single image.

    It is JSON, in a tag of Micro-Manager's own or, in separate image files, in ImageJ's.
    """
    told: Any = tif.pages.first.tags.valueof(_MICRO_MANAGER_TAG)
    info = (tif.imagej_metadata or {}).get("Info")
    if not isinstance(told, dict) and isinstance(info, str):
        with contextlib.suppress(ValueError):
            told = json.loads(info)
    if not isinstance(told, dict) or image.n_planes > 1:
        return image
    z_um, pixel = (to_um(told.get(key), "µm") for key in ("ZPositionUm", "PixelSizeUm"))
    if image.z_um is None and z_um is not None:
        image = replace(image, z_um=np.array([z_um]))
    if image.pixel_um is None and pixel is not None and pixel > 0:
        image = replace(image, pixel_um=pixel)
    return image


def _length_of(resolution: Any) -> float | None:
    """Pixel length from a TIFF resolution, a fraction of pixels per unit."""
    try:
        pixels, units = resolution
        return float(units) / float(pixels)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _even(data: npt.NDArray[Any], step: float | None) -> npt.NDArray[np.float64] | None:
    if step is None or data.ndim == 2:
        return None
    return step * np.arange(data.shape[0], dtype=np.float64)


def _with_ome(data: npt.NDArray[Any], path: Path, xml: str, number: int = 0) -> ImageFile:
    try:
        root = ET.fromstring(xml)  # noqa: S314  (expat bounds entity expansion)
    except ET.ParseError as error:
        raise InputError(
            f"'{path.name}' has OME metadata that cannot be read: save it again."
        ) from error
    images = root.findall(".//{*}Pixels")
    if not images:
        return ImageFile(data, path.name, str(path))
    pixels = images[number if number < len(images) else 0]
    y_um, x_um, step = (
        to_um(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "µm"))
        for a in "YXZ"
    )
    step = step if step is not None and step > 0 else None
    positions = _positions(pixels, data, step)
    if positions is not None and positions.size > 1:
        step = abs(float(np.mean(np.diff(positions))))
    provenance = _provenance(root)
    told = provenance.get("optics") or {}
    return ImageFile(
        data,
        path.name,
        str(path),
        z_um=_even(data, step) if positions is None else positions,
        pixel_um=square_pixel(y_um, x_um, path.name),
        z_step_um=step,
        na=_positive(_attribute(root, "Objective", "LensNA")) or told.get("na"),
        wavelength_um=_wavelength(root) or told.get("wavelength_um"),
        immersion_index=_index(root) or told.get("immersion_index"),
        provenance=provenance,
    )


def _positions(
    pixels: ET.Element, data: npt.NDArray[Any], step: float | None
) -> npt.NDArray[np.float64] | None:
    """Heights of the planes when every plane states one, rising or falling."""
    n = 1 if data.ndim == 2 else data.shape[0]
    heights: dict[int, float] = {}
    unit_known = True
    for plane in pixels.iterfind("{*}Plane"):
        unit = plane.get("PositionZUnit")
        unit_known = unit_known and unit is not None
        z = to_um(plane.get("PositionZ"), unit or "µm")
        if z is not None:
            heights[int(plane.get("TheZ", 0))] = z
    if sorted(heights) != list(range(n)):
        return None
    z_um = np.array([heights[i] for i in range(n)])
    gaps = np.diff(z_um)
    if n > 1 and not (np.all(gaps > 0) or np.all(gaps < 0)):
        return None  # all the same, or a stage that never moved in these units
    if not unit_known:
        # The schema's own unit is an unnamed reference frame: believe it to be µm only
        # when it agrees with the stated z step.
        agrees = n > 1 and step is not None and np.allclose(np.abs(gaps), step, rtol=0.02)
        return z_um if agrees else None
    return z_um


def _attribute(root: ET.Element, element: str, attribute: str) -> str | None:
    return next(
        (e.get(attribute) for e in root.iterfind(f".//{{*}}{element}") if e.get(attribute)), None
    )


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if np.isfinite(value) and value > 0 else None


def _wavelength(root: ET.Element) -> float | None:
    channel = root.find(".//{*}Channel[@EmissionWavelength]")
    if channel is None:
        return None
    return to_um(channel.get("EmissionWavelength"), channel.get("EmissionWavelengthUnit", "nm"))


def _index(root: ET.Element) -> float | None:
    stated = _positive(_attribute(root, "ObjectiveSettings", "RefractiveIndex"))
    medium = (_attribute(root, "Objective", "Immersion") or "").lower()
    return stated or _INDEX_OF_MEDIUM.get(medium)


def _provenance(root: ET.Element) -> dict[str, Any]:
    for annotation in root.iterfind(f".//{{*}}CommentAnnotation[@Namespace='{NAMESPACE}']"):
        try:
            found = json.loads(annotation.findtext("{*}Value") or "")
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def write_ome_tiff(
    path: Path,
    volume: npt.NDArray[Any],
    z_um: npt.NDArray[np.float64],
    pixel_um: float,
    provenance: Mapping[str, Any],
    name: str,
) -> None:
    """Write ``volume`` (Z, Y, X) as OME-TIFF with voxel sizes, plane heights and provenance."""
    metadata = ome_metadata(volume.shape[0], z_um, pixel_um, provenance, name)
    tifffile.imwrite(path, volume, ome=True, photometric="minisblack", metadata=metadata)


class TiffPlanes:
    """An OME-TIFF (Z, Y, X), uncompressed, whose planes are put in one by one.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        (Z, Y, X).
    dtype : numpy.dtype
    z_um : numpy.ndarray, shape (Z,)
    pixel_um : float
    name : str
    """

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
        self._about = z_um, pixel_um, name
        found = tifffile.imwrite(
            path,
            shape=shape,
            dtype=dtype,
            ome=True,
            photometric="minisblack",
            metadata=ome_metadata(shape[0], z_um, pixel_um, {}, name),
            returnoffset=True,
        )
        assert found is not None  # asked for
        self._offset = found[0]
        self._file = path.open("r+b")

    def put(self, index: int, plane: npt.NDArray[Any]) -> None:
        """Write one plane (Y, X) to its place."""
        self._file.seek(self._offset + index * plane.nbytes)
        self._file.write(np.ascontiguousarray(plane).data)

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write the metadata, which may name what is known only at the end."""
        self._file.close()
        z_um, pixel_um, name = self._about
        z, y, x = self._shape
        told = tifffile.OmeXml()
        told.addimage(
            self._dtype.char,
            self._shape,
            (z, 1, 1, y, x, 1),
            **ome_metadata(z, z_um, pixel_um, provenance, name),
        )
        tifffile.tiffcomment(self._path, told.tostring(declaration=True).encode())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def ome_metadata(
    n: int,
    z_um: npt.NDArray[np.float64],
    pixel_um: float,
    provenance: Mapping[str, Any],
    name: str,
) -> dict[str, Any]:
    """Voxel sizes, heights of ``n`` planes and provenance, as tifffile writes them to OME."""
    metadata: dict[str, Any] = {
        "axes": "ZYX",
        "Name": name,
        "PhysicalSizeX": pixel_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": pixel_um,
        "PhysicalSizeYUnit": "µm",
        "Plane": {
            "PositionZ": [round(float(z), 9) for z in z_um],
            "PositionZUnit": ["µm"] * n,
        },
        "CommentAnnotation": [{"Namespace": NAMESPACE, "Value": json.dumps(dict(provenance))}],
    }
    if n > 1:
        metadata["PhysicalSizeZ"] = round(float(np.mean(np.diff(z_um))), 9)
        metadata["PhysicalSizeZUnit"] = "µm"
    wavelength = (provenance.get("optics") or {}).get("wavelength_um")
    if wavelength:
        metadata["Channel"] = {
            "EmissionWavelength": round(1e3 * wavelength, 6),
            "EmissionWavelengthUnit": "nm",
        }
    return metadata
