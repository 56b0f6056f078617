"""The table of beads: found, fitted, and judged by stated rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import Array
from ...core.progress import Step, Steps, finished, never
from ...estimates.saturation import limit_of
from . import _checks, _find
from ._gaussians import FWHM_PER_SIGMA, Fits, Windows, fit_gaussians

if TYPE_CHECKING:
    import pandas as pd

HEADERS = {
    "z_um": "z (µm)",
    "y_um": "y (µm)",
    "x_um": "x (µm)",
    "fwhm_z_um": "FWHM z (µm)",
    "fwhm_y_um": "FWHM y (µm)",
    "fwhm_x_um": "FWHM x (µm)",
    "amplitude": "amplitude (image units)",
    "background": "background (image units)",
    "residual": "residual (fraction of amplitude)",
    "snr": "SNR (amplitude over noise)",
    "z_voxel": "z (voxel)",
    "y_voxel": "y (voxel)",
    "x_voxel": "x (voxel)",
    "accepted": "accepted",
    "reason": "reason",
}
"""Names of the columns in a CSV file, with their units."""

COLUMNS = tuple(HEADERS)

# What the noise does not explain of the fit's error, over the amplitude. Lines through the bead
# hold less empty space than boxes, and few voxels, so theirs is larger and surer to vary.
MAX_MISFIT = {"profiles": 0.15, "gaussian3d": 0.08}

# Default region, in typical widths: what comes nearest to the half maximum of the vectorial
# point spread function, whose side lobes are not Gaussian.
_REGION = {"profiles": 2.5, "gaussian3d": 3.0}
_LEAST_REGION = 7  # samples
_BATCH = 256


@dataclass(frozen=True)
class BeadSettings:
    """How beads are found and fitted, as :func:`measure_beads` takes it; None and NaN leave a
    choice to it.
    """

    model: str = "gaussian3d"
    separation_um: float | None = None
    threshold_snr: float = 5.0
    region_um: Sequence[float] | None = None
    z_range_um: tuple[float, float] | None = None
    #: with a reference, find beads in that, and measure the accepted ones in both
    same_beads: bool = True


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
    settings = BeadSettings(model, min_separation_um, threshold_snr, region_um, z_range_um)
    steps = bead_steps(volume, voxel_um, settings, "", points, origin_um, stopped or never)
    return finished(steps, on_progress and (lambda step: step.total and on_progress(*step[:2])))


def bead_steps(
    volume: npt.ArrayLike,
    voxel_um: Sequence[float] | Array,
    settings: BeadSettings,
    words: str,
    points: npt.ArrayLike | None,
    origin_um: Sequence[float] | Array,
    stopped: Callable[[], bool] = never,
) -> Steps[pd.DataFrame]:
    """:func:`measure_beads` in steps, with their ``words``; the total is 0 until it is known."""
    model, threshold_snr = settings.model, settings.threshold_snr
    pixels, voxel = _checks.checked_volume(volume, voxel_um)
    separation = _checks.checked_separation(settings.separation_um, voxel, threshold_snr, model)
    origin = _checks.checked_origin(origin_um)
    places = None if points is None else _checks.checked_points(points, pixels.shape, voxel, origin)
    region = _checks.checked_region(settings.region_um, len(pixels))
    low, high = _checks.checked_range(settings.z_range_um)
    field = _find.prepared(pixels, voxel, separation)
    yield Step(0, 0, words)
    if stopped():
        return _table([], {})
    if places is None:
        where, brightness = _find.candidates(field, threshold_snr)
    else:
        where, brightness = _find.snapped(field, places)
    disturbed = _find.crowded(field, where, brightness)
    typical = _find.typical_widths(field, where, ~disturbed)
    region = np.where(np.isnan(region), _REGION[model] * typical, region)
    height = origin[0] + where[:, 0] * voxel[0]
    slack = 1e-6 * voxel[0]  # a plane at the very end of the range is in it
    listed = (height >= low - slack) & (height <= high + slack)
    limits = _limits(pixels)
    measurement = _Measurement(field, typical, region, threshold_snr, model, origin, limits)
    where, disturbed = where[listed], disturbed[listed]
    tables = []
    for start in range(0, len(where), _BATCH):
        if stopped():
            break
        end = start + _BATCH
        tables.append(measurement.columns(where[start:end], disturbed[start:end]))
        yield Step(min(end, len(where)), len(where), words)
    return _table(tables, measurement.settings)


@dataclass(frozen=True, eq=False)
class _Measurement:
    """Fits beads and applies the rules."""

    field: _find.FilteredVolume
    typical_um: Array
    region_um: Array
    threshold_snr: float
    model: str
    origin_um: Array
    limits: Array

    @property
    def settings(self) -> dict[str, Any]:
        """The settings, as plain numbers, for the table's ``attrs``."""
        return {
            "model": self.model,
            "min_separation_um": self.field.separation_um,
            "threshold_snr": self.threshold_snr,
            "region_um": tuple(self.region_um.tolist()),
            "voxel_um": tuple(self.field.voxel_um.tolist()),
            "origin_um": tuple(self.origin_um.tolist()),
        }

    def columns(self, where: _find.Index, disturbed: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """The columns of some beads."""
        fits = self._line_fits(where) if self.model == "profiles" else self._box_fits(where)
        field, fwhm = self.field, fits.sigma * FWHM_PER_SIGMA
        snr = fits.amplitude / field.noise
        # the centre is more than a typical width from the bead, or the sign is wrong
        lost = np.any(np.abs(fits.centre) > self.typical_um, axis=1) | ~(fits.amplitude > 0)
        lost |= ~fits.converged
        offset = np.where(lost[:, None], 0.0, np.nan_to_num(fits.centre))
        last = (np.array(field.volume.shape) - 1) * field.voxel_um
        centre = self.origin_um + np.clip(where * field.voxel_um + offset, 0, last)
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = fits.residual / np.abs(fits.amplitude)
            # What the noise does not explain of the fit's error.
            misfit = np.sqrt(np.maximum(residual**2 - 1 / snr**2, 0))
        rules = {
            "border": self._at_border(where),
            "neighbour": disturbed,
            "saturated": self._saturated(where),
            "no fit": lost,
            "width": self._odd_width(fwhm),
            "dim": snr < self.threshold_snr,
            "poor fit": ~(misfit <= MAX_MISFIT[self.model]),
        }
        reason = np.select(list(rules.values()), list(rules), default="")
        numbers = np.column_stack([centre, fwhm, fits.amplitude, fits.background, residual, snr])
        numbers[lost, 3:] = np.nan
        columns: dict[str, Any] = dict(zip(COLUMNS, [*numbers.T, *where.T], strict=False))
        return {**columns, "accepted": reason == "", "reason": reason}

    @property
    def _axes(self) -> list[int]:
        return [axis for axis in range(3) if self.field.volume.shape[axis] > 1]

    def _half(self, axis: int) -> int:
        return half_region(self.region_um[axis], self.field.voxel_um[axis])

    def _box_fits(self, where: _find.Index) -> Fits:
        """One Gaussian in all axes at once; NaN on an axis of one plane."""
        axes = self._axes
        half = [self._half(axis) if axis in axes else 0 for axis in range(3)]
        values, inside = _find.boxes_around(self.field.volume, where, half)
        values = values.reshape(len(where), *(2 * half[axis] + 1 for axis in axes))
        weights = [inside[axis].astype(np.float64) for axis in axes]
        fits = fit_gaussians(Windows(values, self._steps(axes), weights), self._guess(axes))
        centre, sigma = np.full((2, len(where), 3), np.nan)
        centre[:, axes], sigma[:, axes] = fits.centre, fits.sigma
        return replace(fits, centre=centre, sigma=sigma)

    def _line_fits(self, where: _find.Index) -> Fits:
        """One Gaussian for each of the lines through a bead."""
        centre, sigma = np.full((2, len(where), 3), np.nan)
        lines = []
        for axis in self._axes:
            values, inside = _find.lines_through(self.field.volume, where, axis, self._half(axis))
            windows = Windows(values, self._steps([axis]), [inside.astype(np.float64)])
            fits = fit_gaussians(windows, self._guess([axis]))
            centre[:, axis], sigma[:, axis] = fits.centre[:, 0], fits.sigma[:, 0]
            lines.append(fits)
        # A line passes beside the middle of the bead: its height is short of the bead's by
        # what the two other lines say of the distance.
        fwhm = sigma * FWHM_PER_SIGMA
        short = 0.5 * np.minimum((centre * FWHM_PER_SIGMA / fwhm) ** 2, 1.0)
        missed = np.nansum(short, axis=1)[:, None] - short[:, self._axes]
        heights = np.stack([fits.amplitude for fits in lines], axis=1) * np.exp(missed)
        squares = np.stack([fits.residual**2 for fits in lines], axis=1)
        return Fits(
            heights.mean(axis=1),
            np.mean([fits.background for fits in lines], axis=0),
            centre,
            sigma,
            np.sqrt(squares.mean(axis=1)),
            np.all([fits.converged for fits in lines], axis=0),
        )

    def _steps(self, axes: list[int]) -> list[Array]:
        halves = [(self._half(axis), self.field.voxel_um[axis]) for axis in axes]
        return [np.arange(-half, half + 1) * step for half, step in halves]

    def _guess(self, axes: list[int]) -> Array:
        return self.typical_um[axes] / FWHM_PER_SIGMA

    def _at_border(self, where: _find.Index) -> npt.NDArray[np.bool_]:
        """Less than a typical width between the bead and the end of an axis."""
        last = np.array(self.field.volume.shape) - 1
        gap = np.minimum(where, last - where) * self.field.voxel_um
        return np.asarray(np.any((gap < self.typical_um)[:, self._axes], axis=1))

    def _saturated(self, where: _find.Index) -> npt.NDArray[np.bool_]:
        """Several voxels in the middle of the bead are at the camera's limit."""
        if not np.isfinite(self.limits).any():
            return np.zeros(len(where), np.bool_)
        sizes = np.where(np.isfinite(self.typical_um), self.typical_um, 0) / self.field.voxel_um
        half = [round(size / 2) for size in sizes]
        values, _ = _find.boxes_around(self.field.volume, where, half)
        planes = where[:, :1] + np.arange(-half[0], half[0] + 1)
        limits = self.limits[np.clip(planes, 0, len(self.limits) - 1)]
        return np.asarray((values >= limits[:, :, None, None]).sum(axis=(1, 2, 3)) > 1)

    def _odd_width(self, fwhm_um: Array) -> npt.NDArray[np.bool_]:
        """Narrower than a voxel, or wider than the region."""
        widths = fwhm_um[:, self._axes]
        low, high = self.field.voxel_um[self._axes], self.region_um[self._axes]
        return np.asarray(np.any(~((widths >= low) & (widths <= high)), axis=1))


def _limits(pixels: _find.Voxels) -> Array:
    """The value in each plane that a camera could not pass; infinite where none shows."""
    of_all = limit_of(pixels)
    of_planes = [limit_of(plane) if plane.min() < plane.max() else None for plane in pixels]
    limits = [np.inf if limit is None else limit for limit in of_planes]
    return np.minimum(limits, np.inf if of_all is None else of_all)


def half_region(size_um: float, voxel_um: float) -> int:
    """Voxels on either side of the middle one in a region of that size."""
    return max(round(float(size_um / voxel_um) / 2), _LEAST_REGION // 2)


def _table(tables: list[dict[str, Any]], settings: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    empty: dict[str, Any] = {name: np.empty(0) for name in COLUMNS[:-2]}
    empty |= {name: np.empty(0, np.intp) for name in COLUMNS if name.endswith("_voxel")}
    empty |= {"accepted": np.empty(0, bool), "reason": np.empty(0, "<U9")}
    table = pd.DataFrame(
        {name: np.concatenate([t[name] for t in tables or [empty]]) for name in COLUMNS}
    )
    table.attrs.update(settings)
    return table
