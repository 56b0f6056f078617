"""A stack that knows where it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import AnyArray, Array, Planes, real_number, real_values
from ...core.scans import SAME_HEIGHT_UM, InputError


@dataclass(frozen=True, eq=False)
class Volume:
    """A stack of planes and its place in the sample.

    Parameters
    ----------
    name : str
        What tables, figures and error messages call it, for instance the layer or the file.
    pixels : array_like, shape (Z, Y, X)
        Intensities of a real type; a NumPy, dask or zarr array, read plane by plane.
    z_um : array_like, shape (Z,)
        Heights of the planes, in micrometres, in any order.
    pixel_um : float
        Lateral pixel size, in micrometres, above 0.
    origin_um : tuple of float, optional
        Position (y, x) of the centre of the first pixel, in micrometres.
    scans_um : sequence of float, optional
        Heights of the scans that it was made from, in micrometres.
    holds_scans : bool, optional
        Whether its planes at those heights are the scans themselves.

    Raises
    ------
    InputError
        If it is no stack of at least two planes with a known, distinct height each.
    """

    name: str
    pixels: Any
    z_um: npt.ArrayLike
    pixel_um: float
    origin_um: tuple[float, float] = (0.0, 0.0)
    scans_um: Sequence[float] = ()
    holds_scans: bool = True

    def __post_init__(self) -> None:
        scans_um = real_values(self.scans_um, "The list of scans") if len(self.scans_um) else ()
        object.__setattr__(self, "scans_um", tuple(sorted(map(float, scans_um))))
        self._check()

    @cached_property
    def _planes(self) -> Planes:
        names = [f"'{self.name}' at z = {z:g} µm" for z in self._stored_um]
        return Planes(self.pixels, f"'{self.name}'", names)

    @cached_property
    def _stored_um(self) -> Array:
        return real_values(self.z_um, f"The list of heights of '{self.name}'")

    @cached_property
    def _order(self) -> npt.NDArray[np.intp]:
        return np.argsort(self._stored_um)

    @cached_property
    def heights_um(self) -> Array:
        """Heights of the planes, in micrometres, rising, shape (Z,)."""
        return self._stored_um[self._order]

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (Y, X) of a plane."""
        return self._planes.shape[1], self._planes.shape[2]

    def plane(self, number: int) -> AnyArray:
        """A plane, counted from the lowest, shape (Y, X), as it is stored.

        Raises
        ------
        InputError
            If it has pixels that are NaN or infinite.
        """
        return self._planes[int(self._order[number])]

    def nearest(self, z_um: float) -> int | None:
        """Number of the plane nearest to a height; None when it is half a step away or more."""
        heights = self.heights_um
        index = int(np.abs(heights - z_um).argmin())
        return index if abs(heights[index] - z_um) <= 0.51 * np.diff(heights).min() else None

    def _check(self) -> None:
        name, heights, shape = self.name, self._stored_um, self._planes.shape
        if len(shape) == 2 or (len(shape) == 3 and shape[0] == 1):
            raise InputError(
                f"'{name}' is one image, not a stack: give at least two planes (Z, Y, X)."
            )
        if len(shape) != 3:
            raise InputError(
                f"'{name}' has {len(shape)} dimensions {shape}: give a stack (Z, Y, X) of one "
                "channel and one time point."
            )
        if heights.shape != shape[:1]:
            raise InputError(
                f"'{name}' has {shape[0]} planes but {heights.size} heights: give one a plane."
            )
        if np.diff(np.sort(heights)).min() < SAME_HEIGHT_UM:
            raise InputError(
                f"The planes of '{name}' do not have a height of their own each: correct its z "
                "step."
            )
        if not 0 < real_number(self.pixel_um) < math.inf:
            raise InputError(
                f"The pixel size of '{name}' is {real_number(self.pixel_um):g} µm: it must be "
                "above 0."
            )


def made_from(provenance: Mapping[str, Any]) -> tuple[tuple[float, ...], bool]:
    """Heights in µm of a reconstruction's scans, and whether its planes there are the scans."""
    scans = provenance.get("scans")
    records = scans if isinstance(scans, Sequence) else ()  # others may have written it
    heights = [scan.get("z_um") for scan in records if isinstance(scan, Mapping)]
    is_confocal = str(provenance.get("image", "")).startswith("confocal")
    return tuple(float(z) for z in heights if isinstance(z, int | float)), not is_confocal


def read_volume(path: str | Path) -> Volume:
    """A volume from a file, with the scans that it was made from where the file says so.

    Parameters
    ----------
    path : str or Path
        A TIFF or OME-Zarr that states its heights and pixel size, for instance one that
        ``recurrent-mz reconstruct`` wrote.

    Raises
    ------
    InputError
        If it cannot be read, or does not state its size.
    """
    from ...io import read_image

    image = read_image(path)
    if image.z_um is None or image.pixel_um is None:
        raise InputError(
            f"'{image.name}' does not state its heights or its pixel size: read it with read_image "
            "and give them to Volume."
        )
    scans_um, holds_scans = made_from(image.provenance)
    return Volume(
        image.name, image.stack, image.z_um, image.pixel_um, image.place_um,
        scans_um=scans_um, holds_scans=holds_scans,
    )  # fmt: skip
