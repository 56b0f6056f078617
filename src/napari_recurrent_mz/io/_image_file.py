"""Result of every reader: pixels and what the file says about them, in micrometres."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.scans import InputError

_MICROMETRES = {
    "m": 1e6,
    "meter": 1e6,
    "cm": 1e4,
    "centimeter": 1e4,
    "mm": 1e3,
    "millimeter": 1e3,
    "µm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "å": 1e-4,
    "angstrom": 1e-4,
    "pm": 1e-6,
    "picometer": 1e-6,
    "in": 25_400.0,
    "inch": 25_400.0,
    "inche": 25_400.0,
}


def micrometres_per(unit: str | None) -> float | None:
    """Micrometres in a unit of length, however programs spell it; None when it is no length."""
    name = html.unescape((unit or "").strip().strip("\0"))
    name = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), name)
    with contextlib.suppress(UnicodeError):  # UTF-8 that was taken for Latin-1
        name = name.encode("latin-1").decode("utf-8")
    if name in ("Mm", "Pm"):
        return None  # mega- and petametres, not what their lower case stands for
    name = name.replace("μ", "µ").lower().replace("metre", "meter")
    return _MICROMETRES.get(name) or _MICROMETRES.get(name.removesuffix("s"))


def to_um(value: float | str | None, unit: str | None) -> float | None:
    """Convert a length to micrometres; None when value or unit says nothing usable."""
    factor = micrometres_per(unit)
    if value is None or factor is None:
        return None
    try:
        length = float(value) * factor
    except ValueError:
        return None
    return length if np.isfinite(length) else None


def unreadable(name: str, error: Exception) -> InputError:
    """One sentence for an unexpected error while a file is read."""
    if isinstance(error, MemoryError):
        return InputError(
            f"'{name}' does not fit in memory: take fewer --planes of it, or save it again, for it "
            "may be damaged."
        )
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return InputError(
        f"'{name}' cannot be read ({' '.join(what.split())}): it is damaged or of an unknown kind, "
        "copy or save it again."
    )


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image file that was read, with what its metadata says.

    Attributes
    ----------
    data : numpy.ndarray, shape (Z, Y, X) or (Y, X)
        Pixels in the type of the file.
    name : str
        File name without its folder.
    path : str
        Where it was read from.
    z_um : numpy.ndarray, shape (Z,), or None
        Height of every plane, in micrometres, when the file states heights or a z step.
    pixel_um : float or None
        Pixel size in the sample, in micrometres.
    z_step_um : float or None
        Distance between planes, in micrometres.
    na, wavelength_um, immersion_index : float or None
        Numerical aperture, emission wavelength in micrometres and refractive index of
        the immersion medium.
    channel : str
        What the file calls the channel; empty when it does not.
    origin_um : tuple of float or None
        Position (y, x) of the first pixel in the world, in micrometres, where an OME-Zarr or a file
        of this package states it. Where a stage stood is no place in an image.
    provenance : mapping
        What :func:`write_volume` was given, empty for files of other programs.
    sources : mapping
        Where each value that is known was found, in words, by the name of the attribute.
    doubts : mapping
        Why a value that the file states was not taken, in words, by the name of the attribute.
    remarks : tuple of str
        Sentences on what the file contradicts itself about.
    """

    data: npt.NDArray[Any]
    name: str
    path: str = ""
    z_um: npt.NDArray[np.float64] | None = None
    pixel_um: float | None = None
    z_step_um: float | None = None
    na: float | None = None
    wavelength_um: float | None = None
    immersion_index: float | None = None
    channel: str = ""
    origin_um: tuple[float, float] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def n_planes(self) -> int:
        """Number of planes, 1 for a single image."""
        return 1 if self.data.ndim == 2 else self.data.shape[0]

    @property
    def stack(self) -> npt.NDArray[Any]:
        """The pixels as (Z, Y, X), Z = 1 for a single image."""
        return self.data[np.newaxis] if self.data.ndim == 2 else self.data


def squeeze_to_zyx(
    data: npt.NDArray[Any], axes: str, name: str, *, unnamed_is_z: bool = True
) -> npt.NDArray[Any]:
    """Return ``data``, an axis for each of tifffile's letters ``axes``, as (Z, Y, X) or (Y, X).

    Another axis that holds more than one entry is refused, by ``name``; ``unnamed_is_z`` takes one
    unnamed axis for z, as plain multi-page TIFFs need it.
    """
    size = dict(zip(axes, data.shape, strict=True))
    if size.get("S", 1) > 1:
        raise InputError(
            f"'{name}' is an RGB image ({size['S']} colours): "
            "give one fluorescence channel as a grey-scale image."
        )
    if size.get("C", 1) > 1:
        raise InputError(
            f"'{name}' has {size['C']} channels: save the one to reconstruct in a file of its own."
        )
    if size.get("T", 1) > 1:
        raise InputError(
            f"'{name}' has a time axis of {size['T']} points: save one time point in a file of its "
            "own (if they are heights, store them as z)."
        )
    long = [a for a in axes if size[a] > 1 and a not in "ZYX"]
    if len(long) > 1 or (long and (size.get("Z", 1) > 1 or not unnamed_is_z)):
        raise InputError(
            f"'{name}' has the axes {axes} of shape {data.shape}: "
            "give a stack (Z, Y, X) or one image (Y, X)."
        )
    if "Y" not in size or "X" not in size:
        raise InputError(f"'{name}' holds no 2-D image (axes {axes}): give an image (Y, X).")
    z = long[0] if long else "Z"
    drop = tuple(i for i, a in enumerate(axes) if a not in (z, "Y", "X"))
    letters = "".join(a for a in axes if a in (z, "Y", "X"))
    data = data.squeeze(axis=drop)
    order = [letters.index(a) for a in (z, "Y", "X") if a in letters]
    data = data.transpose(order)
    return data[0] if data.ndim == 3 and data.shape[0] == 1 else data


def square_pixel(y_um: float | None, x_um: float | None, name: str) -> float | None:
    """Return the one pixel size, or None when unknown; height and width agree within 1 %."""
    if not y_um or not x_um or y_um <= 0 or x_um <= 0:
        return None
    if abs(y_um - x_um) > 0.01 * max(y_um, x_um):
        raise InputError(
            f"'{name}' has pixels of {y_um:g} × {x_um:g} µm (y × x): "
            "resample it to square pixels first."
        )
    return x_um
