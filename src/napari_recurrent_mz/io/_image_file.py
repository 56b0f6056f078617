"""Result of every reader: pixels and what the file says about them, in micrometres."""

from __future__ import annotations

import contextlib
import html
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import AnyArray, Array
from ..core.errors import is_out_of_memory
from ..core.scans import InputError


def _by_name(factors: Mapping[str, float]) -> dict[str, float]:
    """The factor of every one of the names of a unit."""
    return {name: factor for names, factor in factors.items() for name in names.split()}


_MICROMETRES = _by_name(
    {
        "m meter": 1e6,
        "cm centimeter": 1e4,
        "mm millimeter": 1e3,
        "µm um micron micrometer": 1.0,
        "nm nanometer": 1e-3,
        "å angstrom": 1e-4,
        "pm picometer": 1e-6,
        "in inch inche": 25_400.0,
    }
)
_SECONDS = _by_name(
    {
        "h hr hour": 3600.0,
        "min minute": 60.0,
        "s sec second": 1.0,
        "ms msec millisecond": 1e-3,
        "µs us usec microsecond": 1e-6,
    }
)


def _factor(unit: str | None, factors: Mapping[str, float]) -> float | None:
    """The factor of a unit, however programs spell it."""
    name = html.unescape((unit or "").strip().strip("\0"))
    name = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), name)
    with contextlib.suppress(UnicodeError):  # UTF-8 that was taken for Latin-1
        name = name.encode("latin-1").decode("utf-8")
    if name in ("Mm", "Pm"):
        return None  # mega- and petametres, not what their lower case stands for
    name = name.replace("μ", "µ").lower().replace("metre", "meter")
    return factors.get(name) or factors.get(name.removesuffix("s"))


def _converted(value: float | str | None, factor: float | None) -> float | None:
    """A value times a factor; None when one of them says nothing usable."""
    if value is None or factor is None:
        return None
    try:
        converted = float(value) * factor
    except ValueError:
        return None
    return converted if np.isfinite(converted) else None


def micrometres_per(unit: str | None) -> float | None:
    """Micrometres in a unit of length, however programs spell it; None when it is no length."""
    return _factor(unit, _MICROMETRES)


def to_um(value: float | str | None, unit: str | None) -> float | None:
    """Convert a length to micrometres; None when value or unit says nothing usable."""
    return _converted(value, micrometres_per(unit))


def to_seconds(value: float | str | None, unit: str | None) -> float | None:
    """Convert a time above 0 to seconds; None when value or unit says nothing usable."""
    seconds = _converted(value, _factor(unit, _SECONDS))
    return seconds if seconds is not None and seconds > 0 else None


MAKERS = {
    ".czi": "Zeiss",
    ".zvi": "Zeiss",
    ".nd2": "Nikon",
    ".lif": "Leica",
    ".oib": "Olympus",
    ".oif": "Olympus",
    ".oir": "Olympus",
    ".vsi": "Olympus",
    ".ims": "Imaris",
    ".dv": "DeltaVision",
    ".r3d": "DeltaVision",
}
"""Endings of the formats of microscope makers that BioIO reads, and whose they are."""

IMAGE_FILES = (".tif", ".tiff", ".stk", ".lsm", *MAKERS)
"""Endings of files that hold images; an OME-Zarr is a folder."""

_ENDINGS = (".ome.tif", ".ome.tiff", ".ome.zarr", ".zarr", *IMAGE_FILES)


def stem_of(name: str) -> str:
    """The name of an image file without its ending."""
    ending = next((e for e in _ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)] or name


MOST = 2**20
"""Pixels along an axis, or planes: beyond every microscope, and within every memory."""


def too_large(name: str, size: int, where: str) -> InputError:
    """The refusal of a file that claims sizes that no image has."""
    return InputError(
        f"'{name}' has {size:,} planes, or pixels on a side, by its {where}, which no image has: "
        "it is damaged, copy or save it again."
    )


def check_is_file(path: Path) -> None:
    """Refuse what is there and is no file: a pipe waits, and a device may never end."""
    if path.exists() and not path.is_file():
        raise InputError(f"'{path.name}' is a folder, a pipe or a device, not a file: give a file.")


@contextlib.contextmanager
def log_of(library: str) -> Iterator[list[logging.LogRecord]]:
    """Collect what a library logs, in place of printing it."""
    log, handler = logging.getLogger(library), BufferingHandler(capacity=1_000_000)
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield handler.buffer
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


def unreadable(name: str, error: Exception) -> InputError:
    """One sentence for an unexpected error while a file is read."""
    if is_out_of_memory(error):
        return InputError(
            f"'{name}' does not fit in memory: take fewer --planes of it, or save it again, for it "
            "may be damaged.",
            "memory",
        )
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return InputError(
        f"'{name}' cannot be read ({' '.join(what.split())}): it is damaged or of an unknown kind, "
        "copy or save it again."
    )


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image file that was read, with what its metadata says."""

    data: AnyArray  #: (Z, Y, X) or (Y, X), pixels in the type of the file
    name: str  #: file name without its folder
    path: str = ""  #: where it was read from
    #: (Z,), height of every plane, in micrometres, when the file states heights or a z step
    z_um: Array | None = None
    pixel_um: float | None = None  #: pixel size in the sample, in micrometres
    z_step_um: float | None = None  #: distance between planes, in micrometres
    na: float | None = None  #: numerical aperture
    wavelength_um: float | None = None  #: of the emission, in micrometres
    immersion_index: float | None = None  #: refractive index of the immersion medium
    time_step_s: float | None = None  #: from one time point to the next, in seconds
    channel: str = ""  #: what the file calls the channel; empty when it does not
    #: position (y, x) of the first pixel in the world, in micrometres, where an OME-Zarr or a file
    #: of this package states it. Where a stage stood is no place in an image.
    origin_um: tuple[float, float] | None = None
    #: what :func:`write_volume` was given, empty for files of other programs
    provenance: Mapping[str, Any] = field(default_factory=dict)
    #: where each value that is known was found, in words, by the name of the attribute
    sources: Mapping[str, str] = field(default_factory=dict)
    #: why a value that the file states was not taken, in words, by the name of the attribute
    doubts: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()  #: sentences on what the file contradicts itself about

    @property
    def place_um(self) -> tuple[float, float]:
        """Position (y, x) of the first pixel, in micrometres; the origin where none is stated."""
        return self.origin_um or (0.0, 0.0)

    @property
    def n_planes(self) -> int:
        """Number of planes, 1 for a single image."""
        return 1 if self.data.ndim == 2 else self.data.shape[0]

    @property
    def stack(self) -> AnyArray:
        """The pixels as (Z, Y, X), Z = 1 for a single image."""
        return self.data[np.newaxis] if self.data.ndim == 2 else self.data
