"""OME metadata of one image of a file: its own objective, channel, time and planes."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from ..core.scans import InputError
from ._axes import Part
from ._channels import record_of_channel
from ._facts import Facts, Length, StatedHeights
from ._image_file import MOST, micrometres_per, to_um, too_large

if TYPE_CHECKING:
    import tifffile

NAMESPACE = "napari-recurrent-mz/provenance"

_UNNAMED = "reference frame"


@lru_cache(maxsize=2)  # a time-lapse asks for every time point
def ome_root(xml: str, name: str) -> ET.Element:
    """The tree of OME metadata; refuses what is no XML."""
    try:
        return ET.fromstring(xml)  # noqa: S314  (expat bounds entity expansion)
    except ET.ParseError as error:
        raise InputError(
            f"'{name}' has OME metadata that cannot be read: save it again."
        ) from error


def check_sizes(xml: str, name: str) -> None:
    """Refuse OME metadata whose sizes no file can have, before anybody takes memory for them."""
    for pixels in re.finditer(r"<[\w:]*Pixels\b[^>]*>", xml):
        sizes = {axis: int(n) for axis, n in re.findall(r'\bSize([XYZCT])="(\d+)"', pixels[0])}
        planes = math.prod(sizes.get(axis, 1) for axis in "ZCT")
        largest = max(sizes.get("X", 1), sizes.get("Y", 1), planes)
        if largest > MOST:
            raise too_large(name, largest, "OME metadata")
    for count in re.finditer(r'\bPlaneCount="(\d+)"', xml):
        if int(count[1]) > MOST:
            raise too_large(name, int(count[1]), "OME metadata")


def companion_metadata(xml: str, path: Path) -> str | None:
    """The OME metadata of a TIFF that has them in another file; None where ``xml`` has them."""
    if "BinaryOnly" not in xml:
        return None
    own = ome_root(xml, path.name)
    binary_only = own.find("{*}BinaryOnly")
    if binary_only is None:
        return None
    companion = path.with_name(Path(binary_only.get("MetadataFile", "")).name)
    if companion == path or not companion.is_file():
        raise InputError(
            f"'{path.name}' has its metadata in '{companion.name}', which does not lie beside it: "
            "put it there under this name."
        )
    root = ome_root(_xml_in(companion), companion.name)
    files = list(root.iterfind("{*}Image/{*}Pixels/{*}TiffData/{*}UUID"))
    ids = [file.text for file in files if file.text and file.text == own.get("UUID")]
    ids += [f.text for f in files if f.text and f.get("FileName", "").lower() == path.name.lower()]
    if not ids:
        raise InputError(
            f"'{path.name}' has its metadata in '{companion.name}', which does not mention it: "
            "give both the names under which they were written."
        )
    root.set("UUID", ids[0])  # that of the file which has them, for whoever reads on
    return ET.tostring(root, encoding="unicode")


def _xml_in(companion: Path) -> str:
    """The OME metadata in an XML file, or in the one TIFF of a set that has them."""
    if companion.suffix.lower() not in (".tif", ".tiff"):
        return companion.read_text(encoding="utf-8-sig", errors="replace")
    from tifffile import TiffFile

    with TiffFile(companion) as tif:
        return tif.ome_metadata or ""


def image_of(root: ET.Element, series: tifffile.TiffPageSeries, position: int) -> ET.Element | None:
    """The Image that names the first page of a series, whose number says nothing; else None."""
    images = [image for image in root.iterfind("{*}Image") if image.find("{*}Pixels") is not None]
    if series.kind == "mmstack":
        return images[position] if position < len(images) else None
    page = next((page for page in series.pages if page is not None), None)
    if series.kind == "ome" and page is not None:
        named = [image for image in images if _names(image, page, root, series)]
        size = dict(zip(series.axes, series.shape, strict=True))
        sizes = tuple(int(size.get(axis, 1)) for axis in "ZYX")
        fitting = [image for image in named if sizes_of(image) == sizes]
        return next(iter(fitting or named), None)
    return images[0] if len(images) == 1 else None


def _names(image: ET.Element, page: Any, root: ET.Element, series: tifffile.TiffPageSeries) -> bool:
    """Whether a page is one of those that an Image names."""
    assert series.parent is not None  # tifffile says whose it is
    own, file = series.parent.filename, page.parent.filename.lower()
    for data in image.iterfind("{*}Pixels/{*}TiffData"):
        uuid = data.find("{*}UUID")
        elsewhere = uuid is not None and uuid.text != root.get("UUID")
        where = uuid.get("FileName", own) if uuid is not None and elsewhere else own
        first, count = data.get("IFD"), data.get("PlaneCount") or data.get("NumPlanes")
        if count is None:  # then it is one page, or all of the file
            count = "0" if first is None else "1"
        start = int(first or 0)
        stop = start + int(count) if int(count) else np.inf
        if where.lower() == file and start <= page.index < stop:
            return True
    return False


def sizes_of(image: ET.Element) -> tuple[int, ...]:
    """Planes, rows and columns of an Image."""
    pixels = image.find("{*}Pixels")
    return () if pixels is None else tuple(int(pixels.get(f"Size{a}", 1)) for a in "ZYX")


def take_ome(
    facts: Facts, root: ET.Element, image: ET.Element, part: Part, name: str
) -> list[StatedHeights]:
    """Take what the metadata say of one channel and time point of an Image; gives its heights."""
    channel, time = part.channel or 0, part.time or 0
    pixels = image.find("{*}Pixels")
    assert pixels is not None  # image_of leaves out what has none
    y, x, z = (_length(pixels, f"PhysicalSize{axis}") for axis in "YXZ")
    facts.take_pixel(y, x, "its OME PhysicalSizeX", name)
    facts.take_length("z_step_um", z, "its OME PhysicalSizeZ")
    between, unit = _length(pixels, "TimeIncrement", "s")
    facts.take_time_step(between, unit, "its OME TimeIncrement")
    _take_objective(facts, root, image)
    channels = pixels.findall("{*}Channel")
    if channel < len(channels):
        facts.channel = channels[channel].get("Name") or ""
        emission = _length(channels[channel], "EmissionWavelength", "nm")
        facts.take_length("wavelength_um", emission, "its OME EmissionWavelength")
    facts.take_record(record_of_channel(_provenance(root), channel))
    planes = _planes_of(pixels).get((channel, time), {})
    if part.z_axis:  # one plane of each channel or time point
        along = 0 if part.z_axis == "C" else 1
        others = {at: planes[0] for at, planes in _planes_of(pixels).items() if 0 in planes}
        rest = (channel, time)[1 - along]
        planes = {at[along]: one for at, one in others.items() if at[1 - along] == rest}
    if facts.provenance and 0 in planes:  # in the files of others it is where the stage stood
        facts.take_origin(*(_length(planes[0], f"Position{axis}") for axis in "YX"))
    return _heights(facts, planes)


def _length(element: ET.Element, name: str, unit: str = "µm") -> Length:
    """A length and its unit, by default the one of the OME schema."""
    return element.get(name), element.get(f"{name}Unit", unit)


def _heights(facts: Facts, planes: Mapping[int, ET.Element]) -> list[StatedHeights]:
    """Heights of planes by number, when each has one."""
    heights, in_um = [], True
    for number in range(len(planes)):
        if number not in planes:
            return []
        value, unit = _length(planes[number], "PositionZ")
        if unit == _UNNAMED:
            unit, in_um = "µm", False
        if value is not None and micrometres_per(unit) is None:
            facts.doubt(
                "z_um", f"its OME PositionZ is in '{unit}', which is no known unit of length"
            )
            return []
        heights.append(to_um(value, unit))
    if not heights or None in heights:
        return []
    return [StatedHeights(np.array(heights, np.float64), "its OME PositionZ", in_um)]


@lru_cache(maxsize=8)
def _planes_of(pixels: ET.Element) -> dict[tuple[int, int], dict[int, ET.Element]]:
    """The Plane elements by (channel, time point) and number."""
    planes: dict[tuple[int, int], dict[int, ET.Element]] = {}
    for plane in pixels.iterfind("{*}Plane"):
        at = int(plane.get("TheC", 0)), int(plane.get("TheT", 0))
        planes.setdefault(at, {})[int(plane.get("TheZ", 0))] = plane
    return planes


def _take_objective(facts: Facts, root: ET.Element, image: ET.Element) -> None:
    """NA and refractive index of the objective that the image was taken with."""
    settings, instrument = image.find("{*}ObjectiveSettings"), image.find("{*}InstrumentRef")
    objectives = [
        objective
        for one in root.iterfind("{*}Instrument")
        for objective in one.iterfind("{*}Objective")
        if settings is not None or instrument is None or one.get("ID") == instrument.get("ID")
    ]
    if settings is not None:
        objectives = [o for o in objectives if o.get("ID") == settings.get("ID")][:1]
    if len(objectives) > 1:
        why = f"its OME metadata name {len(objectives)} objectives but not which it was"
        facts.doubt("na", why)
        facts.doubt("immersion_index", why)
        return
    for objective in objectives:
        facts.take("na", _number(objective.get("LensNA")), "the LensNA of its OME objective")
    if settings is not None:
        index = _number(settings.get("RefractiveIndex"))
        facts.take("immersion_index", index, "its OME RefractiveIndex")
        facts.take_medium(settings.get("Medium"), "the Medium of its OME objective")
    for objective in objectives:
        facts.take_medium(objective.get("Immersion"), "the Immersion of its OME objective")


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _provenance(root: ET.Element) -> Mapping[str, Any]:
    for annotation in root.iterfind(f".//{{*}}CommentAnnotation[@Namespace='{NAMESPACE}']"):
        with contextlib.suppress(ValueError):
            record = json.loads(annotation.findtext("{*}Value") or "")
            if isinstance(record, dict):
                return record
    return {}
