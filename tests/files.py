"""Files as microscopes and other programs write them, small and made up."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

Pixels = npt.NDArray[np.uint16]
Tag = tuple[int, int, bytes | Callable[[int], bytes]]
"""Type and count of a TIFF tag, and its bytes, which may depend on where they lie in the file."""

STACK: Pixels = np.random.default_rng(1).integers(90, 4000, (5, 20, 24)).astype(np.uint16)
MICROMETRES = {
    f"PhysicalSize{axis}{end}": value
    for axis, size in zip("XYZ", (0.1, 0.1, 0.4), strict=True)
    for end, value in (("", size), ("Unit", "µm"))
}
_SHORT, _LONG, _RATIONAL, _ASCII = 3, 4, 5, 2


def write_ome(path: Path, pixels: Pixels = STACK, axes: str = "ZYX", **more: Any) -> Path:
    """An OME-TIFF of voxels 0.4 × 0.1 × 0.1 µm; ``more`` is what tifffile takes as metadata."""
    told = {"axes": axes, **MICROMETRES, **more}
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=told)
    return path


def change_xml(path: Path, change: Callable[[str], str]) -> Path:
    """Write the OME metadata of a file anew."""
    tifffile.tiffcomment(path, change(str(tifffile.tiffcomment(path))).encode())
    return path


def heights(z: Sequence[float] | npt.NDArray[Any], unit: str | None = "µm") -> dict[str, Any]:
    """Metadata for :func:`write_ome` that state the heights of the planes."""
    told: dict[str, Any] = {"PositionZ": [float(value) for value in z]}
    if unit is not None:
        told["PositionZUnit"] = [unit] * len(told["PositionZ"])
    return {"Plane": told}


def with_objectives(path: Path, used: str | None, *objectives: Mapping[str, str]) -> Path:
    """Give the image of an OME-TIFF an instrument; ``used`` is the ID that its settings name."""
    inside = "".join(
        f'<Objective ID="Objective:{number}" '
        + " ".join(f'{key}="{value}"' for key, value in told.items())
        + "/>"
        for number, told in enumerate(objectives)
    )
    instrument = f'<Instrument ID="Instrument:0">{inside}</Instrument>'
    settings = f'<ObjectiveSettings ID="{used}"/>' if used else ""

    def change(xml: str) -> str:
        xml = xml.replace("<Image ", f"{instrument}<Image ", 1)
        return re.sub(r"(<Image [^>]*>)", rf"\1{settings}", xml, count=1)

    return change_xml(path, change)


def _tiff(
    pages: Sequence[tuple[Pixels, Mapping[int, Tag]]], prefix: bytes
) -> tuple[bytearray, list[int]]:
    """The bytes of a TIFF, and where its pages begin; pixels lie right behind their directory."""
    made, before, begins = bytearray(b"II*\0\0\0\0\0" + prefix), 4, []
    for pixels, more in pages:
        height, width = pixels.shape[-2:]
        plane = pixels[..., :, :].astype("<u2").tobytes()
        tags: dict[int, Tag] = {
            256: (_LONG, 1, struct.pack("<I", width)),
            257: (_LONG, 1, struct.pack("<I", height)),
            258: (_SHORT, 1, struct.pack("<I", 16)),
            259: (_SHORT, 1, struct.pack("<I", 1)),
            262: (_SHORT, 1, struct.pack("<I", 1)),
            273: (_LONG, 1, b""),
            277: (_SHORT, 1, struct.pack("<I", 1)),
            278: (_LONG, 1, struct.pack("<I", height)),
            279: (_LONG, 1, struct.pack("<I", 2 * height * width)),
            282: (_RATIONAL, 1, struct.pack("<II", 1, 1)),
            283: (_RATIONAL, 1, struct.pack("<II", 1, 1)),
            296: (_SHORT, 1, struct.pack("<I", 1)),
            **more,
        }
        begin = len(made) + len(made) % 2
        made += b"\0" * (begin - len(made))
        struct.pack_into("<I", made, before, begin)
        begins.append(begin)
        directory = bytearray(struct.pack("<H", len(tags)))
        behind = bytearray(plane)
        start = begin + 2 + 12 * len(tags) + 4
        for code, (kind, count, value) in sorted(tags.items()):
            at = start + len(behind)
            data = value(at) if callable(value) else value
            if code == 273:
                data = struct.pack("<I", start)
            elif len(data) > 4:
                behind += data + b"\0" * (len(data) % 2)
                data = struct.pack("<I", at)
            directory += struct.pack("<HHI", code, kind, count) + data.ljust(4, b"\0")
        before = begin + len(directory)
        made += directory + b"\0\0\0\0" + behind
    return made, begins


def write_metamorph(path: Path, pixels: Pixels, step_um: float, pixel_um: float) -> Path:
    """A MetaMorph stack: one directory, the planes behind each other."""
    n = len(pixels)

    def calibration(at: int) -> bytes:
        values = [(3, 1), (4, at + 32), (5, at + 40), (6, at + 48)]  # spatial, x, y, unit
        size = struct.pack("<II", round(1e6 * pixel_um), 1_000_000)
        unit = struct.pack("<I", 3) + b"um\0"
        return b"".join(struct.pack("<II", *pair) for pair in values) + size + size + unit

    plane = struct.pack("<6I", round(1e6 * step_um), 1_000_000, 0, 0, 0, 0)
    tags: dict[int, Tag] = {
        33628: (_LONG, 4, calibration),
        33629: (_RATIONAL, n, plane * n),
    }
    path.write_bytes(_tiff([(pixels, tags)], b"")[0])
    return path


def write_lsm(path: Path, pixels: Pixels, step_um: float, pixel_um: float) -> Path:
    """A Zeiss LSM stack, each plane with its small version behind it."""
    n, height, width = pixels.shape
    told = struct.pack(
        "<Ii8i", 67127628, 400, width, height, n, 1, 1, 2, width // 2, height // 2
    ) + struct.pack("<6d", *[1e-6 * pixel_um] * 2, 1e-6 * step_um, 0, 0, 0)
    pages: list[tuple[Pixels, dict[int, Tag]]] = []
    for plane in pixels:
        small: dict[int, Tag] = {254: (_LONG, 1, struct.pack("<I", 1))}
        pages += [(plane, {}), (plane[::2, ::2], small)]
    pages[0][1][34412] = (1, 400, told.ljust(400, b"\0"))
    path.write_bytes(_tiff(pages, b"")[0])
    return path


def write_micro_manager(
    path: Path,
    positions: Mapping[int, tuple[Pixels, Sequence[float]]],
    *,
    count: int,
    xml: str = "",
    summary: Mapping[str, Any] | None = None,
    records: bool = True,
) -> Path:
    """Micro-Manager's stack file x_MMStack…, of some of ``count`` positions (planes, heights).

    With ``records``, each image says at what height it was taken.
    """
    told = {
        "Prefix": "x",
        "MicroManagerVersion": "2.0.0",
        "PixelSize_um": 0.1,
        "z-step_um": 0.4,
        "Slices": len(next(iter(positions.values()))[0]),
        "Channels": 1,
        "Frames": 1,
        "Positions": count,
        "AxisOrder": ["z", "channel", "position", "time"],
        **(summary or {}),
    }
    head = json.dumps(told).encode()
    prefix = struct.pack("<8I", 54773648, 0, 483765892, 0, 99384722, 0, 2355492, len(head)) + head
    pages, index = [], []
    for position, (pixels, z_um) in positions.items():
        for number, (plane, z) in enumerate(zip(pixels, z_um, strict=True)):
            record = {"Camera": "made up", **({"ZPositionUm": float(z)} if records else {})}
            note = json.dumps(record).encode() + b"\0"
            tags: dict[int, Tag] = {51123: (_ASCII, len(note), note)}
            if xml and not pages:
                text = xml.encode() + b"\0"
                tags[270] = (_ASCII, len(text), text)
            pages.append((plane, tags))
            index.append((0, number, 0, position))
    made, begins = _tiff(pages, prefix)
    struct.pack_into("<I", made, 12, len(made))
    made += struct.pack("<II", 3453623, len(pages))
    for place, begin in zip(index, begins, strict=True):
        made += struct.pack("<5I", *place, begin)
    path.write_bytes(made)
    return path


def micro_manager_xml(
    positions: Mapping[int, Any], names: Sequence[str], shape: tuple[int, ...] = STACK.shape
) -> str:
    """The OME metadata that Micro-Manager writes into each file of several positions."""
    images = ""
    for k, z_um in positions.items():
        planes = "".join(
            f'<TiffData FirstZ="{z}" IFD="{z}" PlaneCount="1"><UUID FileName="{names[k]}">'
            f"urn:uuid:0000000{k}-0000-0000-0000-000000000000</UUID></TiffData>"
            for z in range(len(z_um))
        ) + "".join(
            f'<Plane TheZ="{z}" TheC="0" TheT="0" PositionZ="{at}"/>' for z, at in enumerate(z_um)
        )
        n, height, width = shape
        images += (
            f'<Image ID="Image:{k}" Name="Pos{k}"><Pixels ID="Pixels:{k}" DimensionOrder="XYZCT" '
            f'Type="uint16" SizeX="{width}" SizeY="{height}" SizeZ="{n}" SizeC="1" SizeT="1" '
            'PhysicalSizeX="0.1" PhysicalSizeY="0.1" PhysicalSizeZ="0.4">'
            f'<Channel ID="Channel:{k}:0" SamplesPerPixel="1"/>{planes}</Pixels></Image>'
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{images}</OME>'
    )


def write_set_of_two(folder: Path) -> tuple[Path, Path]:
    """Two planes in one.ome.tif and three in two.ome.tif; both have the metadata of all five."""
    paths = folder / "one.ome.tif", folder / "two.ome.tif"
    for path, planes in zip(paths, (STACK[:2], STACK[2:]), strict=True):
        write_ome(path, planes)
        told = "".join(
            f'<TiffData FirstZ="{first}" IFD="0" PlaneCount="{count}"><UUID FileName="{name}">'
            f"urn:uuid:00000000-0000-0000-0000-00000000000{count}</UUID></TiffData>"
            for first, count, name in ((0, 2, "one.ome.tif"), (2, 3, "two.ome.tif"))
        )
        xml = re.sub(r'SizeZ="\d"', 'SizeZ="5"', tifffile.tiffcomment(path))
        xml = re.sub(r"<TiffData[^>]*/>", lambda _, told=told: told, xml)
        tifffile.tiffcomment(path, xml.encode())
    return paths


def write_companion_set(
    folder: Path, positions: Mapping[int, tuple[Pixels, Sequence[float]]]
) -> list[Path]:
    """A TIFF for each position; the metadata of all, with their channels, in a file beside them.

    The pixels are (C, Z, Y, X).
    """
    paths, images = [], ""
    for k, (pixels, z_um) in positions.items():
        path, uuid = folder / f"p{k}.ome.tif", f"urn:uuid:0000000{k}-0000-0000-0000-00000000000a"
        channels, n, height, width = pixels.shape
        own = f'<UUID FileName="{path.name}">{uuid}</UUID>'
        data = "".join(
            f'<TiffData FirstC="{c}" FirstZ="{z}" IFD="{c * n + z}" PlaneCount="1">{own}</TiffData>'
            for c in range(channels)
            for z in range(n)
        ) + "".join(
            f'<Plane TheC="{c}" TheZ="{z}" TheT="0" PositionZ="{at + c}" PositionZUnit="µm"/>'
            for c in range(channels)
            for z, at in enumerate(z_um)
        )
        named = "".join(
            f'<Channel ID="Channel:{k}:{c}" EmissionWavelength="{500 + 10 * c}"/>'
            for c in range(channels)
        )
        images += (
            f'<Image ID="Image:{k}"><Pixels ID="Pixels:{k}" DimensionOrder="XYZCT" Type="uint16" '
            f'SizeX="{width}" SizeY="{height}" SizeZ="{n}" SizeC="{channels}" SizeT="1" '
            f'PhysicalSizeX="{0.1 * (k + 1)}" PhysicalSizeY="{0.1 * (k + 1)}">{named}{data}'
            "</Pixels></Image>"
        )
        schema = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
        binary = (
            f'<?xml version="1.0" encoding="UTF-8"?><OME {schema} UUID="{uuid}">'
            '<BinaryOnly MetadataFile="all.companion.ome" UUID="urn:uuid:c"/></OME>'
        )
        planes = pixels.reshape(-1, height, width)
        tifffile.imwrite(path, planes, description=binary, metadata=None, photometric="minisblack")
        paths.append(path)
    (folder / "all.companion.ome").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?><OME {schema} UUID="urn:uuid:c">{images}</OME>',
        encoding="utf-8",
    )
    return paths
