"""Volumes and baselines on the planes of a reference, in the field that all share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...core.arrays import AnyArray, Array
from ...core.errors import check_choice
from ...core.optics import Optics
from ...core.scans import SAME_HEIGHT_UM, InputError, Scan, ZGrid, listed, scan_at
from ...engine.recipe import Recipe
from ._volume import Volume

BASELINE_NAMES = {
    "nearest": "Baseline: nearest scan",
    "linear": "Baseline: linear",
    "cubic": "Baseline: cubic",
    "pchip": "Baseline: shape-preserving",
    "lmmse": "Baseline: linear MMSE",
}
"""Names of these methods in tables and figures."""

BASELINES = tuple(BASELINE_NAMES)
"""Methods that can start from the reference's own planes: keys of ``METHODS``."""

_LEAST_PIXELS = 11  # the window of SSIM
_DRIFT_PX = 0.5  # pixel sizes that differ by less over the whole field are the same
_OFF_PX = 0.02  # less of a pixel is rounding


@dataclass(frozen=True)
class SharedField:
    """The pixels of a reference that all volumes share, by its rows and columns."""

    reference: Volume
    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def of(self, plane: AnyArray, offset: tuple[int, int] = (0, 0)) -> AnyArray:
        """That part of a plane whose first pixel is at ``offset`` pixels of the reference."""
        return plane[
            self.rows.start - offset[0] : self.rows.stop - offset[0],
            self.columns.start - offset[1] : self.columns.stop - offset[1],
        ]

    def truth(self, number: int) -> AnyArray:
        """The part of a plane of the reference."""
        return self.of(self.reference.plane(number))


class Resampled:
    """A volume at any height within it: straight lines between its planes."""

    def __init__(self, volume: Volume, field: SharedField) -> None:
        self.name, self.holds_scans = volume.name, volume.holds_scans
        self.scans_um = tuple(volume.scans_um)
        self._volume, self._field = volume, field
        self._offset = _offset(volume, field.reference)
        self._cache: dict[int, AnyArray] = {}
        self._low, self._high = np.inf, -np.inf

    def covers(self, z_um: float) -> bool:
        """Whether a height is within the volume."""
        heights = self._volume.heights_um
        return bool(heights[0] - SAME_HEIGHT_UM <= z_um <= heights[-1] + SAME_HEIGHT_UM)

    def has_plane(self, z_um: float) -> bool:
        """Whether one of its own planes is there."""
        return bool(np.abs(self._volume.heights_um - z_um).min() <= SAME_HEIGHT_UM)

    def at(self, z_um: float) -> AnyArray:
        """The plane at a height, cropped; heights are asked for in rising order."""
        heights = self._volume.heights_um
        nearest = int(np.abs(heights - z_um).argmin())
        if abs(heights[nearest] - z_um) <= SAME_HEIGHT_UM:
            return self._plane(nearest)
        above = int(np.searchsorted(heights, z_um))
        part = (z_um - heights[above - 1]) / (heights[above] - heights[above - 1])
        below = self._plane(above - 1).astype(np.float64)
        plane: Array = below + part * (self._plane(above) - below)
        return plane

    def check_contrast(self) -> None:
        """Raise :class:`InputError` when all planes that were asked for are constant."""
        if self._low == self._high:
            raise InputError(
                f"'{self.name}' is constant (every pixel is {self._low:g}): it holds no "
                "structure to compare, so leave it out."
            )

    def _plane(self, number: int) -> AnyArray:
        if number not in self._cache:
            self._cache = {n: cached for n, cached in self._cache.items() if n == number - 1}
            plane = self._field.of(self._volume.plane(number), self._offset)
            self._cache[number] = plane
            self._low = min(self._low, float(plane.min()))
            self._high = max(self._high, float(plane.max()))
        return self._cache[number]


class Baseline:
    """Reconstruction by a method from the reference's own planes at the scans' heights."""

    holds_scans = True

    def __init__(
        self,
        key: str,
        scans: Sequence[Scan],
        field: SharedField,
        *,
        optics: Optics | None,
        device: str,
        stopped: Callable[[], bool] | None,
    ) -> None:
        from ...engine.inference import plane_maker

        check_choice("baseline", key, BASELINES)
        self.name = BASELINE_NAMES[key]
        self.scans_um = tuple(scan.z_um for scan in scans)
        self._scans, self._field = scans, field
        low, high = (float(z) for z in field.reference.heights_um[[0, -1]])
        grid = ZGrid(low, high, max(high - low, 1.0))
        recipe = Recipe(scans, grid, optics=optics, method=key, device=device)
        self._maker = plane_maker(recipe, stopped=stopped)

    def covers(self, z_um: float) -> bool:  # noqa: ARG002
        """Every height: the method makes any plane."""
        return True

    def at(self, z_um: float) -> AnyArray:
        """The plane at a height, cropped; at a scan it is the scan itself."""
        same = scan_at(self._scans, z_um)
        return self._field.of(same.pixels if same else self._maker.plane(z_um))


Source = Resampled | Baseline


def scans_in(reference: Volume, scans_um: Sequence[float]) -> list[Scan]:
    """The reference's own planes nearest to these heights, at least two, as scans."""
    heights = sorted({float(z) for z in scans_um})
    if len(heights) < 2:
        raise InputError(
            "The baselines need the heights of at least two scans: type them in µm, for instance "
            "2 5 8."
        )
    numbers = []
    for z in heights:
        number = reference.nearest(z)
        if number is None:
            low, high = reference.heights_um[[0, -1]]
            raise InputError(
                f"The reference '{reference.name}' has no plane at the scan's height {z:g} µm, its "
                f"planes go from {low:g} to {high:g} µm: correct the heights of the scans."
            )
        numbers.append(number)
    return [
        Scan(reference.plane(n), float(reference.heights_um[n]), f"{reference.name}, plane {n}")
        for n in dict.fromkeys(numbers)
    ]


def common_field(volumes: Sequence[Volume], reference: Volume) -> SharedField:
    """The pixels of the reference that all volumes share; other sizes of a pixel are refused."""
    low, high = np.zeros(2, int), np.array(reference.shape)
    if high.min() < _LEAST_PIXELS:
        raise InputError(
            f"The reference '{reference.name}' is only {high[0]} × {high[1]} pixels: SSIM needs at "
            f"least {_LEAST_PIXELS} × {_LEAST_PIXELS}."
        )
    for volume in volumes:
        _check_pixels(volume, reference)
        _check_heights(volume, reference)
        start = np.array(_offset(volume, reference))
        end = start + volume.shape
        shared = np.minimum(end, reference.shape) - np.maximum(start, 0)
        if shared.min() < _LEAST_PIXELS:
            raise _apart(volume, reference, shared)
        low, high = np.maximum(low, start), np.minimum(high, end)
    if (high - low).min() < _LEAST_PIXELS:
        names = listed([f"'{volume.name}'" for volume in volumes])
        raise InputError(f"{names} have no field in common: compare them one at a time.")
    rows, columns = (slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    return SharedField(reference, rows, columns)


def pixels_off(volume: Volume, reference: Volume) -> float:
    """How far its pixels lie beside those of the reference, in pixels, at most a half."""
    off = max(abs(value - round(value)) for value in _exact_offset(volume, reference))
    return off if off > _OFF_PX else 0.0


def _offset(volume: Volume, reference: Volume) -> tuple[int, int]:
    """Place of its first pixel among the pixels of the reference."""
    y, x = map(round, _exact_offset(volume, reference))
    return y, x


def _exact_offset(volume: Volume, reference: Volume) -> list[float]:
    places = zip(volume.origin_um, reference.origin_um, strict=True)
    return [(a - b) / reference.pixel_um for a, b in places]


def _check_pixels(volume: Volume, reference: Volume) -> None:
    size, reference_um = volume.pixel_um, reference.pixel_um
    pixels = max(min(a, b) for a, b in zip(volume.shape, reference.shape, strict=True))
    if abs(size - reference_um) / reference_um * pixels > _DRIFT_PX:
        raise InputError(
            f"'{volume.name}' has pixels of {size:.4g} µm but the reference '{reference.name}' "
            f"has {reference_um:.4g} µm: "
            "resample one of them in y and x, so that both have the same."
        )


def _check_heights(volume: Volume, reference: Volume) -> None:
    z_um, reference_um = volume.heights_um, reference.heights_um
    low_um, high_um = z_um[0] - SAME_HEIGHT_UM, z_um[-1] + SAME_HEIGHT_UM
    if not ((reference_um >= low_um) & (reference_um <= high_um)).any():
        raise InputError(
            f"'{volume.name}' (z {z_um[0]:g} to {z_um[-1]:g} µm) and the reference "
            f"'{reference.name}' (z {reference_um[0]:g} to {reference_um[-1]:g} µm) have no "
            "plane in common: check the z position and the z step of both."
        )


def _apart(volume: Volume, reference: Volume, shared: npt.NDArray[np.int_]) -> InputError:
    if shared.min() > 0:
        return InputError(
            f"'{volume.name}' and the reference '{reference.name}' share only {shared[0]} × "
            f"{shared[1]} pixels: SSIM needs at least {_LEAST_PIXELS} × {_LEAST_PIXELS}."
        )
    return InputError(
        f"'{volume.name}' ({_place(volume)}) and the reference '{reference.name}' "
        f"({_place(reference)}) do not overlap: check the position (translate) and the pixel size "
        "of both."
    )


def _place(volume: Volume) -> str:
    (top, left), size = volume.origin_um, volume.pixel_um
    bottom, right = top + (volume.shape[0] - 1) * size, left + (volume.shape[1] - 1) * size
    return f"y {top:.4g} to {bottom:.4g}, x {left:.4g} to {right:.4g} µm"
