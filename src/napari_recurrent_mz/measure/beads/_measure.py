"""The table of beads: found, fitted, and judged by stated rules."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.progress import finished, never
from ...estimates.saturation import limit_of
from ._checks import (
    checked_origin,
    checked_points,
    checked_range,
    checked_region,
    checked_separation,
    checked_volume,
)
from ._find import (
    Array,
    Field,
    Index,
    Volume,
    boxes_around,
    candidates,
    crowded,
    lines_through,
    prepared,
    snapped,
    typical_widths,
)
from ._gaussians import FWHM_PER_SIGMA, Fits, Windows, fit_gaussians

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "z_um",
    "y_um",
    "x_um",
    "fwhm_z_um",
    "fwhm_y_um",
    "fwhm_x_um",
    "amplitude",
    "background",
    "residual",
    "snr",
    "z_voxel",
    "y_voxel",
    "x_voxel",
    "accepted",
    "reason",
)
# What the noise does not explain of the fit's error, over the amplitude. Lines through the bead
# hold less empty space than boxes, and few voxels, so theirs is larger and surer to vary.
MAX_MISFIT = {"profiles": 0.15, "gaussian3d": 0.08}

# Default region, in typical widths: what comes nearest to the half maximum of the vectorial
# point spread function, whose side lobes are not Gaussian.
_REGION = {"profiles": 2.5, "gaussian3d": 3.0}
_LEAST_REGION = 7  # samples
_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class _Shapes:
    """Fitted shapes of N beads; NaN on an axis that was not fitted."""

    offset_um: Array  # (N, 3), from the candidate's voxel
    fwhm_um: Array  # (N, 3)
    amplitude: Array
    background: Array
    residual: Array
    converged: npt.NDArray[np.bool_]


def measure_beads(
    volume: npt.ArrayLike,
    voxel_um: Sequence[float],
    *,
    points: npt.ArrayLike | None = None,
    min_separation_um: float | None = None,
    threshold_snr: float = 5.0,
    region_um: Sequence[float] | None = None,
    model: str = "gaussian3d",
    z_range_um: tuple[float, float] | None = None,
    origin_um: Sequence[float] = (0.0, 0.0, 0.0),
    on_progress: Callable[[int, int], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> pd.DataFrame:
    """Find beads, fit a Gaussian to each, and say which measurements to trust.

    Parameters
    ----------
    volume : array_like, shape (Z, Y, X), (1, Y, X) or (Y, X)
        Intensities in any units. One plane gives lateral widths only.
    voxel_um : sequence of float
        (z, y, x) size of a voxel, in micrometres; (y, x) will do for one plane.
    points : array_like, shape (N, 3), or (N, 2) for one plane, optional
        Where the beads are, (z, y, x) in micrometres, instead of a search; each moves to the
        brightest place within half a separation.
    min_separation_um : float, optional
        Lateral distance between two beads of the same brightness that do not disturb each
        other, in micrometres; along z it is 2.5 times that. By default ten pixels.
    threshold_snr : float, optional
        How far above the noise a bead must rise, in the search and in the fit.
    region_um : sequence of float, optional
        (z, y, x) extent of the region that is fitted, in micrometres; (y, x) will do for one
        plane. By default three times the median width of the brightest beads (2.5 times for
        profiles); NaN leaves an axis to that.
    model : {"gaussian3d", "profiles"}, optional
        One Gaussian in all axes at once, or one for each of the lines through a bead along
        z, y and x, which use far fewer voxels and scatter more in noise.
    z_range_um : tuple of float, optional
        Lowest and highest z of the beads to list, in micrometres; all beads still count as
        neighbours.
    origin_um : sequence of float, optional
        (z, y, x) of the middle of the first voxel, in micrometres: positions, ``points`` and
        ``z_range_um`` are in the same coordinates.
    on_progress : callable, optional
        Called with the number of beads fitted and their total.
    stopped : callable, optional
        Asked between steps; once it returns true, the beads fitted so far are returned.

    Returns
    -------
    pandas.DataFrame
        One row a bead, brightest first, or in the order of ``points``: its position and full
        widths at half maximum in micrometres (NaN where not measured; its position is then that
        of its brightest voxel), amplitude and
        background in the units of the volume, ``residual`` (root mean square of the fit's
        error over the amplitude), ``snr`` (amplitude over the noise), the indices of its
        brightest voxel, ``accepted``, and the ``reason`` why not (empty if accepted):
        "border", "neighbour", "saturated", "no fit", "width", "dim" or "poor fit". The
        documentation, "Measuring beads", states these rules. ``attrs`` holds how it was measured:
        ``model``, ``region_um``, ``min_separation_um``, ``threshold_snr``, ``voxel_um``,
        ``origin_um``.

    Raises
    ------
    InputError
        If the volume has other axes, is constant or not finite, a point lies outside it, or an
        option has no meaning.
    """
    steps = bead_steps(
        volume,
        voxel_um,
        points=points,
        min_separation_um=min_separation_um,
        threshold_snr=threshold_snr,
        region_um=region_um,
        model=model,
        z_range_um=z_range_um,
        origin_um=origin_um,
        stopped=stopped or never,
    )
    return finished(steps, None if on_progress is None else lambda step: on_progress(*step))


def bead_steps(
    volume: npt.ArrayLike,
    voxel_um: Sequence[float],
    *,
    points: npt.ArrayLike | None = None,
    min_separation_um: float | None = None,
    threshold_snr: float = 5.0,
    region_um: Sequence[float] | None = None,
    model: str = "gaussian3d",
    z_range_um: tuple[float, float] | None = None,
    origin_um: Sequence[float] = (0.0, 0.0, 0.0),
    stopped: Callable[[], bool],
) -> Generator[tuple[int, int], None, pd.DataFrame]:
    """:func:`measure_beads` in steps: yields beads fitted and their total, returns the table."""
    pixels, voxel = checked_volume(volume, voxel_um)
    separation = checked_separation(min_separation_um, voxel, threshold_snr, model)
    origin = checked_origin(origin_um)
    places = None if points is None else checked_points(points, pixels.shape, voxel, origin)
    chosen = None if region_um is None else checked_region(region_um, len(pixels))
    low, high = (-np.inf, np.inf) if z_range_um is None else checked_range(z_range_um)
    field = prepared(pixels, voxel, separation)
    if stopped():
        return _table([], {})
    if places is None:
        where, brightness = candidates(field, threshold_snr)
    else:
        where, brightness = snapped(field, places)
    disturbed = crowded(field, where, brightness)
    typical = typical_widths(field, where, ~disturbed)
    region = _REGION[model] * typical
    if chosen is not None:
        region = np.where(np.isnan(chosen), region, chosen)
    height = origin[0] + where[:, 0] * voxel[0]
    slack = 1e-6 * voxel[0]  # a plane at the very end of the range is in it
    listed = (height >= low - slack) & (height <= high + slack)
    judge = _Judge(field, typical, region, threshold_snr, model, origin, _limits(pixels))
    where, disturbed = where[listed], disturbed[listed]
    parts = []
    for start in range(0, len(where), _AT_ONCE):
        if stopped():
            break
        end = start + _AT_ONCE
        parts.append(judge.rows(where[start:end], disturbed[start:end]))
        yield min(end, len(where)), len(where)
    return _table(parts, judge.how)


@dataclass(frozen=True, eq=False)
class _Judge:
    """Fits beads and applies the rules."""

    field: Field
    typical_um: Array
    region_um: Array
    threshold_snr: float
    model: str
    origin_um: Array
    limits: Array

    @property
    def how(self) -> dict[str, Any]:
        """The settings, as plain numbers, for the table's ``attrs``."""
        vectors = {
            "region_um": self.region_um,
            "voxel_um": self.field.voxel_um,
            "origin_um": self.origin_um,
        }
        return {
            "model": self.model,
            "min_separation_um": self.field.separation_um,
            "threshold_snr": self.threshold_snr,
            **{name: tuple(float(v) for v in values) for name, values in vectors.items()},
        }

    def rows(self, where: Index, disturbed: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """The columns of some beads."""
        shapes = self._shapes(where)
        field = self.field
        snr = shapes.amplitude / field.noise
        lost = ~shapes.converged | self._lost(shapes)
        offset = np.where(lost[:, None], 0.0, np.nan_to_num(shapes.offset_um))
        last = (np.array(field.volume.shape) - 1) * field.voxel_um
        centre = self.origin_um + np.clip(where * field.voxel_um + offset, 0, last)
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = shapes.residual / np.abs(shapes.amplitude)
            # What the noise does not explain of the fit's error.
            misfit = np.sqrt(np.maximum(residual**2 - 1 / snr**2, 0))
        rules = {
            "border": self._at_border(where),
            "neighbour": disturbed,
            "saturated": self._saturated(where),
            "no fit": lost,
            "width": self._odd_width(shapes.fwhm_um),
            "dim": snr < self.threshold_snr,
            "poor fit": ~(misfit <= MAX_MISFIT[self.model]),
        }
        reason = np.select(list(rules.values()), list(rules), default="")
        numbers = np.column_stack(
            [centre, shapes.fwhm_um, shapes.amplitude, shapes.background, residual, snr]
        )
        numbers[lost, 3:] = np.nan
        columns: dict[str, Any] = dict(zip(COLUMNS, [*numbers.T, *where.T], strict=False))
        return {**columns, "accepted": reason == "", "reason": reason}

    @property
    def _axes(self) -> list[int]:
        return [axis for axis in range(3) if self.field.volume.shape[axis] > 1]

    def _half(self, axis: int) -> int:
        return half_region(self.region_um[axis], self.field.voxel_um[axis])

    def _shapes(self, where: Index) -> _Shapes:
        if self.model == "profiles":
            return self._from_profiles(where)
        fits = self._fit_box(where)
        offset, fwhm = np.full((2, len(where), 3), np.nan)
        offset[:, self._axes] = fits.centre
        fwhm[:, self._axes] = fits.sigma * FWHM_PER_SIGMA
        return _Shapes(offset, fwhm, fits.amplitude, fits.background, fits.residual, fits.converged)

    def _fit_box(self, where: Index) -> Fits:
        axes = self._axes
        half = [self._half(axis) if axis in axes else 0 for axis in range(3)]
        values, inside = boxes_around(self.field.volume, where, half)
        values = values.reshape(len(where), *(2 * half[axis] + 1 for axis in axes))
        weights = [inside[axis].astype(np.float64) for axis in axes]
        return fit_gaussians(Windows(values, self._steps(axes), weights), self._guess(axes))

    def _from_profiles(self, where: Index) -> _Shapes:
        offset, fwhm = np.full((2, len(where), 3), np.nan)
        lines = []
        for axis in self._axes:
            values, inside = lines_through(self.field.volume, where, axis, self._half(axis))
            windows = Windows(values, self._steps([axis]), [inside.astype(np.float64)])
            fits = fit_gaussians(windows, self._guess([axis]))
            offset[:, axis] = fits.centre[:, 0]
            fwhm[:, axis] = fits.sigma[:, 0] * FWHM_PER_SIGMA
            lines.append(fits)
        # A line passes beside the middle of the bead: its height is short of the bead's by
        # what the two other lines say of the distance.
        short = 0.5 * np.minimum((offset * FWHM_PER_SIGMA / fwhm) ** 2, 1.0)
        lost = np.nansum(short, axis=1)[:, None] - short[:, self._axes]
        heights = np.stack([fits.amplitude for fits in lines], axis=1) * np.exp(lost)
        squares = np.stack([fits.residual**2 for fits in lines], axis=1)
        return _Shapes(
            offset,
            fwhm,
            heights.mean(axis=1),
            np.mean([fits.background for fits in lines], axis=0),
            np.sqrt(squares.mean(axis=1)),
            np.all([fits.converged for fits in lines], axis=0),
        )

    def _steps(self, axes: list[int]) -> list[Array]:
        halves = [(self._half(axis), self.field.voxel_um[axis]) for axis in axes]
        return [np.arange(-half, half + 1) * step for half, step in halves]

    def _guess(self, axes: list[int]) -> Array:
        return self.typical_um[axes] / FWHM_PER_SIGMA

    def _at_border(self, where: Index) -> npt.NDArray[np.bool_]:
        """Less than a typical width between the bead and the end of an axis."""
        last = np.array(self.field.volume.shape) - 1
        gap = np.minimum(where, last - where) * self.field.voxel_um
        return np.asarray(np.any((gap < self.typical_um)[:, self._axes], axis=1))

    def _saturated(self, where: Index) -> npt.NDArray[np.bool_]:
        """Several voxels in the middle of the bead are at the camera's limit."""
        if not np.isfinite(self.limits).any():
            return np.zeros(len(where), np.bool_)
        sizes = np.where(np.isfinite(self.typical_um), self.typical_um, 0) / self.field.voxel_um
        half = [round(size / 2) for size in sizes]
        values, _ = boxes_around(self.field.volume, where, half)
        planes = where[:, :1] + np.arange(-half[0], half[0] + 1)
        limits = self.limits[np.clip(planes, 0, len(self.limits) - 1)]
        return np.asarray((values >= limits[:, :, None, None]).sum(axis=(1, 2, 3)) > 1)

    def _lost(self, shapes: _Shapes) -> npt.NDArray[np.bool_]:
        """The fit's centre is more than a typical width from the bead, or its sign is wrong."""
        away = np.abs(shapes.offset_um) > self.typical_um
        return np.asarray(np.any(away, axis=1) | ~(shapes.amplitude > 0))

    def _odd_width(self, fwhm_um: Array) -> npt.NDArray[np.bool_]:
        """Narrower than a voxel, or wider than the region."""
        widths = fwhm_um[:, self._axes]
        low, high = self.field.voxel_um[self._axes], self.region_um[self._axes]
        return np.asarray(np.any(~((widths >= low) & (widths <= high)), axis=1))


def _limits(pixels: Volume) -> Array:
    """The value in each plane that a camera could not pass; infinite where none shows.

    The scans in a reconstruction keep theirs, though the planes between them go beyond.
    """
    of_all = limit_of(pixels)
    of_planes = [limit_of(plane) if plane.min() < plane.max() else None for plane in pixels]
    limits = [np.inf if limit is None else limit for limit in of_planes]
    return np.minimum(limits, np.inf if of_all is None else of_all)


def half_region(size_um: float, voxel_um: float) -> int:
    """Voxels on either side of the middle one in a region of that size."""
    return max(round(float(size_um / voxel_um) / 2), _LEAST_REGION // 2)


def _table(parts: list[dict[str, Any]], how: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    empty: dict[str, Any] = {name: np.empty(0) for name in COLUMNS[:-2]}
    empty |= {name: np.empty(0, np.intp) for name in COLUMNS if name.endswith("_voxel")}
    empty |= {"accepted": np.empty(0, bool), "reason": np.empty(0, "<U9")}
    merged = {name: np.concatenate([p[name] for p in parts or [empty]]) for name in COLUMNS}
    table = pd.DataFrame(merged, columns=list(COLUMNS))
    table.attrs.update(how)
    return table
