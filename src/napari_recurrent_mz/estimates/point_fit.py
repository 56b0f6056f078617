"""Fit points of light to scans: look for them, move them, and tell how they are imaged.

By a matched filter over all scans at once, against their noise and what no point explains yet,
which is taken for the scans of a white object, as in linear MMSE. The brightest come first, and all
are moved to where they fit best before others are added: Boyd, Schiebinger and Recht, SIAM J.
Optim. 27:616 (2017); the brightest first: Högbom, Astron. Astrophys. Suppl. 15:417 (1974).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.interpolate import BarycentricInterpolator
from scipy.optimize import minimize_scalar
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import cg
from scipy.spatial import KDTree
from scipy.special import expit, j0

from ..core.arrays import Array
from ..core.device import Cores, uploaded
from ..core.optics import Optics
from ..core.progress import tell
from .covariance import CovarianceTable, aberrated_table, covariance_table
from .object_windows import SpectraStore
from .radial_filter import RadialFilter

Index = npt.NDArray[np.intp]

LEAST_SNR = 6.0
"""Height of a point above what the matched filter makes of noise and unexplained light."""

_MARGIN_DOF = 5.0  # points are looked for so far above and below the outer scans
_SHEET_DOF = 0.18, 0.25  # a cubic curve between heights so near each other is true
_WIDEST_PAD = 256  # pixels around the image, for rings that reach beyond its edge
ROUNDS = 25
_RESIZE = 3  # rounds after which the points get another size
_RUNAWAY = 2.0  # times the least that was left: points that disturb each other ever more
# Spherical aberrations, in waves rms beside the one so far: those that the points are imaged with,
# those that are tried between them, and how much of the residual's squares one must explain. Little
# is not believed while none is known: heights that are a little wrong look alike.
_FIRST = np.linspace(-0.12, 0.12, 5), np.r_[0.0, -0.12:-0.025:0.01, 0.03:0.125:0.01], 0.01
_FURTHER = np.linspace(-0.03, 0.03, 3), np.r_[0.0, -0.03:0.031:0.0025], 0.0005
_MOST_SPHERICAL = 0.15
_RIM_PX = 8.0  # points so near the rim tell nothing of it
_SETTLING = 3  # last rounds, in which no point is added
_TOGETHER = 0.6  # of the brightest that is left: so bright are the others that come with it
_APART_PX = 4  # least distance of two points that come together
_SAME_PX, _SAME_DOF = 3.0, 1.0  # nearer to a point there is no other
_SHADOW_PX, _SHADOW = 8.0, 0.1  # so near, a point must have so much of a brighter one's height
_JUMP = 2.0  # by which half the squared height must rise for a point to go to a far height
_EVIDENCE = 2.0  # half the squared heights differ by so much more than they would in white noise
_LEAST_PROBABILITY = 0.02  # of a point's second height
_PART = 0.7  # of a step towards the best place, since neighbours move too
_LARGEST_STEP_PX = 0.5
_PAIR_PX = 100.0  # farther apart, points do not disturb each other
_OPTICS_ERROR = 0.02  # of a point's image, which hides as much as noise does
_COARSE = 0.04  # of the cut-off: lower frequencies show haze, not points
_CLUTTER = 0.08, 0.7  # of the cut-off: between them what is unexplained stands out from the noise
_PAIRS_AT_ONCE = 20_000
_SHEETS_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Points:
    """N points of light."""

    row: Array  #: (N,), in pixels from the middle of the first
    column: Array  #: (N,)
    z_um: Array  #: (N,), micrometres
    light: Array  #: (N,), in the scans' units: the sum over the pixels of a whole image of it

    @classmethod
    def none(cls) -> Points:
        """No point."""
        return cls(*np.zeros((4, 0)))

    def __len__(self) -> int:
        return len(self.light)

    @property
    def columns(self) -> tuple[Array, Array, Array, Array]:
        """The four values of the points."""
        return self.row, self.column, self.z_um, self.light

    def of(self, chosen: npt.NDArray[np.bool_]) -> Points:
        """Some of the points."""
        return Points(*(values[chosen] for values in self.columns))

    def and_(self, others: Points) -> Points:
        """These points and others."""
        both = zip(self.columns, others.columns, strict=True)
        return Points(*(np.concatenate(two) for two in both))


class _Between(NamedTuple):
    """Heights among the sheets, for cubic curves through the four around each."""

    sheet: Index  # (N,), the second of the four
    weights: Array  # (N, 4)

    def of(self, values: Array) -> Array:
        """Values (L, …) of the sheets at N heights, (N, …)."""
        shape = (*self.weights.shape, *(1,) * (values.ndim - 1))
        between: Array = (values[self.four] * self.weights.reshape(shape)).sum(1)
        return between

    def each(self, values: Array) -> Array:
        """Values (N, L) of the sheets for each height, at that height: (N,)."""
        between: Array = (np.take_along_axis(values, self.four, 1) * self.weights).sum(1)
        return between

    def away(self, count: int) -> Array:
        """How many sheets each height is from each of the first ``count`` sheets: (N, L)."""
        at = self.sheet + (self.weights * np.arange(-1, 3)).sum(1)
        distance: Array = np.abs(np.arange(count) - at[:, None])
        return distance

    @property
    def four(self) -> Index:
        """The four sheets around each height, (N, 4)."""
        return self.sheet[:, None] + np.arange(-1, 3)

    @property
    def lit(self) -> Index:
        """All sheets that are among the four of a height."""
        return np.unique(self.four)


class _Matched(NamedTuple):
    """A matched filter for a point in each sheet, and how it answers to points."""

    weights: Array  # (L, M, K)
    answers: Array  # (L, L): of the filter of a sheet to a point of unit light in another
    curvature: Array  # (L,): of its answer to one in its own, along a row, per squared pixel

    @property
    def own(self) -> Array:
        """Answers of the sheets to points in themselves (L,): also the variances of the filter."""
        return np.diagonal(self.answers)


class _Search(NamedTuple):
    """What the matched filter finds in the residual."""

    snr: Array  # (Y, X), the greatest of all sheets
    sheet: Index  # (Y, X), where it is
    around: Array  # (N, L, 3, 3), the filter's values around each point


class _Found(NamedTuple):
    """Points that were found, and how they are imaged."""

    left: float  # of the scans: mean deviation, over the noise and what hides in a bright point
    points: Points
    size_um: float
    spherical: float


class PointFit:
    """Fits points to images (M, Y, X)."""

    def __init__(
        self, images: torch.Tensor, scan_z_um: Array, optics: Optics, noise: float, cores: Cores
    ) -> None:
        self._cores = cores
        dof = optics.depth_of_field_um
        self.sheets_um = _sheets(scan_z_um, dof)
        self._noise, self._optics, self._device = noise, optics, images.device
        self._scan_z_um = scan_z_um
        covariance = covariance_table(optics, float(np.ptp(scan_z_um)))
        lag = (scan_z_um[:, None] - scan_z_um) / dof
        self._covariance = np.moveaxis(covariance.at(lag), -1, 0)  # (K, M, M)
        self.size_um = self.spherical = 0.0
        self.table = self._table(self.spherical)
        # H(k) of a point, (L, M, K), and of one of the points, which are all of one size
        self._of_a_point = self._transfer = self._seen_by(self.table)
        self._k_per_px = self.table.k * optics.na / optics.wavelength_um * optics.pixel_um
        # ∫ … d²k over the frequency plane, for what depends on the length of k alone.
        self._area = 2 * np.pi * self._k_per_px * self._k_per_px[1]
        self._fine = 1 / (1 + (_COARSE * self.table.k[-1] / np.maximum(self.table.k, 1e-9)) ** 4)
        self.filter = RadialFilter(
            (images.shape[1], images.shape[2]),
            optics,
            self.table,
            images.device,
            pad=_pad(scan_z_um, optics),
        )
        self._signal = images - _medians(images)

    def points(self) -> Points:
        """Look for points until no more are found."""
        points, calm = Points.none(), 0
        best = _Found(math.inf, points, self.size_um, self.spherical)
        for number in range(ROUNDS):
            tell("looking for points", number, ROUNDS)
            left = self._left(self._explained(points))
            found = _Found(float(left.abs().mean()), points, self.size_um, self.spherical)
            if found.left > _RUNAWAY * best.left:
                self._image_with(best.size_um, best.spherical)
                return best.points
            best = min(best, found, key=lambda found: found.left)
            spectra = self._spectra(left)
            matched = self._matched(spectra)
            search = self._search(spectra, matched, points)
            points, jumps = self._moved(points, search, matched, number % 2)
            if number < ROUNDS - _SETTLING:
                new = self._new(points, search, matched)
                points = points.and_(new)
                jumps += len(new)
            calm = 0 if jumps else calm + 1
            if calm == _SETTLING:
                break
            if len(points) and number % _RESIZE == _RESIZE - 1:
                self._resize(points)
                self._refocus(points)
        return points

    def at_likely_heights(self, points: Points) -> Points:
        """The points, each with its second height, and its light shared by their probabilities."""
        # A point above a scan looks the same in it as one below, and the other scans see little of
        # either. Of two that are about as likely, the expected image has half of each.
        if not len(points):
            return points
        spectra = self._spectra(self._left(self._explained(points)))
        matched = self._matched(spectra)
        values, _ = _at_points(
            self._search(spectra, matched, points).around, points, self.filter.shape
        )
        between, each = self._between(points.z_um), np.arange(len(points))
        alone, gain = _without(points, values, between, matched)
        first, second, other_gain = _two_heights(gain, between)
        evidence = (gain[each, first] - other_gain) / _EVIDENCE
        probability = np.where(other_gain > 0, expit(-evidence), 0.0)
        probability[probability < _LEAST_PROBABILITY] = 0.0
        step = self.sheets_um[1] - self.sheets_um[0]
        others = Points(
            points.row,
            points.column,
            self.sheets_um[second] + _vertex(gain, second) * step,
            probability * np.maximum(alone[each, second], 0) / matched.own[second],
        )
        dimmed = replace(points, light=(1 - probability) * points.light)
        return dimmed.and_(others.of(others.light > 0))

    def _image_with(self, size_um: float, spherical: float) -> None:
        """Image points of a size with an aberration."""
        if spherical != self.spherical:
            self.table = self._table(spherical)
            self._of_a_point = self._seen_by(self.table)
        self.size_um, self.spherical = size_um, spherical
        self._transfer = self._of_a_point * self.seen_of(size_um)

    def _table(self, spherical: float) -> CovarianceTable:
        return aberrated_table(self._optics, float(np.ptp(self.sheets_um)), spherical)

    def _seen_by(self, table: CovarianceTable) -> Array:
        """H(k) from every sheet to every scan, (L, M, K)."""
        dof = self._optics.depth_of_field_um
        return table.at((self._scan_z_um - self.sheets_um[:, None]) / dof)

    def _refocus(self, points: Points) -> None:
        """Change the spherical aberration by what explains the scans best, if that is clear."""
        # Between a few steps, the images of the points are polynomials of the aberration.
        inside = [
            (at > _RIM_PX) & (at < size - 1 - _RIM_PX)
            for at, size in zip((points.row, points.column), self.filter.shape, strict=True)
        ]
        if points.of(inside[0] & inside[1]).light.sum() < points.light.sum() / 2:
            return  # much of their images is not seen
        steps, trials, least_gain = _FURTHER if self.spherical else _FIRST
        seen, explained = self.seen_of(self.size_um), self._explained(points)
        hidden, left = self._hidden(explained), self._left(explained)
        changes = (
            self.filter.back(
                self._at_scans(points, self._seen_by(self._table(self.spherical + step)) * seen)
            )
            - explained
            for step in steps
        )
        spectra = [self._spectra(image) for image in (left, *(part / hidden for part in changes))]
        inverse = np.moveaxis(self._inverse_covariance(spectra[0]), 0, -1)
        weights = uploaded(inverse, self._device)
        white = (self.filter.mix([spectrum], weights) for spectrum in spectra)
        products = [[float((a.conj() * b).real.sum()) for a in spectra] for b in white]
        shares = BarycentricInterpolator(steps, np.eye(len(steps)))(trials)
        parts = np.column_stack([np.ones(len(trials)), -shares])
        squares = np.einsum("ti,ij,tj->t", parts, np.array(products), parts)
        best = int(squares.argmin())
        if squares[best] < (1 - least_gain) * squares[0]:
            spherical = np.clip(self.spherical + trials[best], -_MOST_SPHERICAL, _MOST_SPHERICAL)
            self._image_with(self.size_um, float(spherical))

    def _resize(self, points: Points) -> None:
        """Give all points the one size that leaves the least of the scans."""
        mixed = self._at_scans(points, self._of_a_point)

        def left(size_um: float) -> float:
            seen = self.filter.response(uploaded(self.seen_of(size_um), self._device))
            return float(self._left(self.filter.back(mixed * seen)).abs().mean())

        largest_um = self._optics.resolution_um / 2
        size_um = float(minimize_scalar(left, bounds=(0, largest_um), method="bounded").x)
        self._image_with(size_um, self.spherical)

    def seen_of(self, size_um: float) -> Array:
        """Part of H(k) that is left of points as wide as a Gaussian's standard deviation: (K,)."""
        size = size_um / self._optics.pixel_um
        seen: Array = np.exp(-2 * (np.pi * size * self._k_per_px) ** 2)
        return seen

    def variances(self, points: Points) -> Array:
        """The variance that points leave of the scans, and that of the scans, less the noise's."""
        images = self._signal - self._explained(points), self._signal
        values = [float(one.var(dim=(1, 2)).mean()) - self._noise**2 for one in images]
        return np.maximum(values, (0.0, 1e-12))

    def lit_sheets(
        self, points: Points, store: SpectraStore | None
    ) -> tuple[Array, Iterable[torch.Tensor]]:
        """Heights of the sheets that points give light to, and their transforms, in a store."""
        lit = self._between(points.z_um).lit
        size = 8 * len(lit) * self.filter.padded[0] * (self.filter.padded[1] // 2 + 1)
        groups = self._sheets(points)
        spectra = (spectrum[None] for group in groups for spectrum in group)
        return self.sheets_um[lit], (store or SpectraStore(size, self._device)).keep(spectra)

    def _sheets(self, points: Points) -> Iterator[list[torch.Tensor]]:
        """Some after others, the transforms (Y', X'/2 + 1) of the sheets that points light."""
        between = self._between(points.z_um)
        left, _, top, _ = self.filter.margins
        high, wide = self.filter.padded
        rows = _waves(high, points.row + top, self._device)
        columns = _waves(wide, points.column + left, self._device)[: wide // 2 + 1]

        def sheet(number: int) -> torch.Tensor:
            which, share = np.nonzero(between.four == number)
            amplitude = uploaded(points.light[which] * between.weights[which, share], self._device)
            return (rows[:, which] * amplitude) @ columns[:, which].T

        for group in _groups(between.lit.tolist()):
            yield list(self._cores.each(sheet, group))

    def _between(self, z_um: Array) -> _Between:
        step = self.sheets_um[1] - self.sheets_um[0]
        at = np.clip((z_um - self.sheets_um[0]) / step, 1, len(self.sheets_um) - 2.001)
        sheet = at.astype(np.intp)
        t = at - sheet
        a, b, c, d = t + 1, t, t - 1, t - 2
        return _Between(
            sheet, np.stack([-b * c * d / 6, a * c * d / 2, -a * b * d / 2, a * b * c / 6], 1)
        )

    def _explained(self, points: Points) -> torch.Tensor:
        """The images of the points at the scans, (M, Y, X)."""
        if not len(points):
            return torch.zeros_like(self._signal)
        return self.filter.back(self._at_scans(points, self._transfer))

    def _at_scans(self, points: Points, transfer: Array) -> torch.Tensor:
        """The transforms of the images of points with a transfer (L, M, K), at the scans."""
        lit = self._between(points.z_um).lit
        weights = uploaded(np.moveaxis(transfer[lit], 0, 1), self._device)
        totals, begin = torch.tensor(0.0), 0
        for sheets in self._sheets(points):
            part = weights[:, begin : begin + len(sheets)]
            begin += len(sheets)
            totals = totals + torch.stack(
                list(self._cores.each(partial(self.filter.mix, sheets), part))
            )
        return totals

    def _left(self, explained: torch.Tensor) -> torch.Tensor:
        """What is left of the scans, less where errors of the optics hide it: (M, Y, X)."""
        return (self._signal - explained) / self._hidden(explained)

    def _hidden(self, explained: torch.Tensor) -> torch.Tensor:
        """How much greater than the noise are errors of the optics and noise: (M, Y, X)."""
        # Of what is there: a point that is too bright does not hide that.
        there = explained.minimum(self._signal.clamp(min=0))
        return torch.hypot(torch.ones_like(there), there * (_OPTICS_ERROR / self._noise))

    def _spectra(self, left: torch.Tensor) -> torch.Tensor:
        """The transforms of what the points leave of the scans, (M, Y', X'/2 + 1)."""
        wide = torch.nn.functional.pad(left - _medians(left), self.filter.margins)
        spectra: torch.Tensor = torch.fft.rfft2(wide)
        return spectra

    def _matched(self, spectra: torch.Tensor) -> _Matched:
        """The matched filter against noise and what no point explains yet."""
        weights = np.einsum("kmn,lnk->lmk", self._inverse_covariance(spectra), self._transfer)
        answers = np.einsum("lmk,jmk->lj", weights * self._area, self._transfer)
        along_row = self._area * (2 * np.pi * self._k_per_px) ** 2 / 2
        curvature = np.einsum("lmk,lmk,k->l", weights, self._transfer, along_row)
        return _Matched(weights, answers, curvature)

    def _inverse_covariance(self, spectra: torch.Tensor) -> Array:
        """Of noise and a white object as bright as the residual, without haze: (K, M, M)."""
        noise = self._noise**2 * np.eye(len(spectra))
        inverse = np.linalg.inv(self._clutter(spectra) * self._covariance + noise)
        fine: Array = inverse * self._fine[:, None, None]
        return fine

    def _clutter(self, spectra: torch.Tensor) -> float:
        """Power of the white object, in which a scan has the covariance C(k, 0)."""
        pixels = self.filter.shape[0] * self.filter.shape[1]
        power = (spectra.abs() ** 2).mean(0).cpu().numpy().astype(float) / pixels
        node = self.filter.nearest_node.reshape(self.filter.padded[0], -1)[:, : power.shape[1]]
        total, count = (
            np.bincount(node.ravel(), values, len(self.table.k))
            for values in (power.ravel(), np.ones(power.size))
        )
        low, high = _CLUTTER
        k = self.table.k / self.table.k[-1]
        seen = (k > low) & (k < high) & (count > 0)
        if not seen.any():  # pixels are much wider than the finest detail, or the field is narrower
            seen = count > 0
        variance = self._noise**2
        above = np.maximum(total[seen] / count[seen] - variance, 0.02 * variance)
        white = np.maximum(self._covariance[seen, 0, 0], 1e-9)
        return float(np.exp(np.mean(np.log(above / white))))

    def _search(self, spectra: torch.Tensor, matched: _Matched, points: Points) -> _Search:
        height, width = self.filter.shape
        rows, columns = (
            np.clip(np.rint(at).astype(np.intp), 1, size - 2)[:, None] + np.arange(-1, 2)
            for at, size in ((points.row, height), (points.column, width))
        )
        snr = torch.full((height, width), -math.inf, device=self._device)
        sheet = torch.zeros((height, width), dtype=torch.int16, device=self._device)
        around = np.empty((len(points), len(self.sheets_um), 3, 3))

        def match(number: int) -> torch.Tensor:
            weights = uploaded(matched.weights[None, number], self._device)
            return self.filter.back(self.filter.mix([spectra], weights))[0]

        for group in _groups(range(len(self.sheets_um))):
            for number, value in zip(group, self._cores.each(match, group), strict=True):
                around[:, number] = value[rows[:, :, None], columns[:, None]].cpu().numpy()
                value = value / math.sqrt(matched.own[number])
                sheet[value > snr] = number
                torch.maximum(snr, value, out=snr)
        return _Search(snr.cpu().numpy(), sheet.cpu().numpy().astype(np.intp), around)

    def _moved(
        self, points: Points, search: _Search, matched: _Matched, turn: int
    ) -> tuple[Points, int]:
        """The points where they fit better, and how many went to a far height."""
        if not len(points):
            return points, 0
        values, slope = _at_points(search.around, points, self.filter.shape)
        between = self._between(points.z_um)
        alone, gain = _without(points, values, between, matched)
        sheet, jumps = _best_sheets(gain, between, turn)
        z_um = self.sheets_um[sheet] + _vertex(gain, sheet) * (
            self.sheets_um[1] - self.sheets_um[0]
        )
        there = self._between(z_um)
        own = there.of(matched.own)
        light = points.light + self._missing(points, between.each(values), between, matched)
        light = np.where(jumps, there.each(alone) / own, light).clip(min=0)
        z_um = np.where(jumps, z_um, points.z_um + _PART * (z_um - points.z_um))
        stiffness = np.maximum(light * there.of(matched.curvature), 1e-9)
        step = [
            _PART * np.clip(there.each(part) / stiffness, -_LARGEST_STEP_PX, _LARGEST_STEP_PX)
            for part in slope
        ]
        places = zip((points.row, points.column), step, self.filter.shape, strict=True)
        # Not beyond the rim: there the filter's values are extrapolated from it.
        row, column = (np.clip(at + by, -0.5, size - 0.5) for at, by, size in places)
        moved = Points(row, column, z_um, light)
        return moved.of(light * np.sqrt(own) > 0.8 * LEAST_SNR), int(jumps.sum())

    def _missing(
        self, points: Points, values: Array, between: _Between, matched: _Matched
    ) -> Array:
        """Light that all points lack together, from the filter's values (N,) at their places."""
        weights, transfer = between.of(matched.weights), between.of(self._transfer)
        places = np.stack([points.row, points.column], 1)
        pairs = KDTree(places).query_pairs(_PAIR_PX, output_type="ndarray")
        answers = np.zeros(len(pairs))
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):
            one, other = pairs[start : start + _PAIRS_AT_ONCE].T
            distance = np.hypot(*(places[one] - places[other]).T)
            both = np.einsum("nmk,nmk->nk", weights[one], transfer[other]) * self._area
            bessel = j0(2 * np.pi * distance[:, None] * self._k_per_px)
            answers[start : start + _PAIRS_AT_ONCE] = (both * bessel).sum(1)
        own, size = between.of(matched.own), (len(points),) * 2
        upper = coo_array((answers, tuple(pairs.T)), size)
        found, _ = cg((upper + upper.T + diags_array(1.1 * own)).tocsr(), values, maxiter=100)
        return np.asarray(found, float)

    def _new(self, points: Points, search: _Search, matched: _Matched) -> Points:
        """The brightest points of the residual, where there are none yet."""
        snr = torch.from_numpy(search.snr)[None, None]
        highest = torch.nn.functional.max_pool2d(snr, 2 * _APART_PX + 1, 1, _APART_PX)
        row, column = np.nonzero(((snr == highest) & (snr > LEAST_SNR))[0, 0].numpy())
        snr_there, sheet = search.snr[row, column], search.sheet[row, column]
        light = snr_there / np.sqrt(matched.own[sheet])
        found = Points(row.astype(float), column.astype(float), self.sheets_um[sheet], light)
        if len(points):
            apart = np.hypot(found.row[:, None] - points.row, found.column[:, None] - points.column)
            away = np.abs(found.z_um[:, None] - points.z_um) / self._optics.depth_of_field_um
            height = points.light * np.sqrt(self._between(points.z_um).of(matched.own))
            taken = (apart < _SAME_PX) & (away < _SAME_DOF)
            shadow = (apart < _SHADOW_PX) & (snr_there[:, None] < _SHADOW * height)
            free = np.asarray(~(taken | shadow).any(1))
            found, snr_there = found.of(free), snr_there[free]
        least = _TOGETHER * float(snr_there.max(initial=0.0))
        return found.of(snr_there > least)


def pixels_of_sheets(shape: tuple[int, int], scan_z_um: Array, optics: Optics) -> int:
    """The pixels of all sheets of an image (Y, X), and around it; in transforms, 4 bytes each."""
    margin = 2 * _pad(scan_z_um, optics)
    sheets = _sheets(scan_z_um, optics.depth_of_field_um)
    return len(sheets) * (shape[0] + margin) * (shape[1] + margin)


def _sheets(scan_z_um: Array, dof: float) -> Array:
    """Heights in even steps, of which one is at every scan as nearly as they can."""
    # A point as far above a scan as another is below looks the same in that scan. If the sheets
    # there are as far from both, they are equally wrong about both, and the other scans decide.
    # Of a bright point a hundredth of a sheet outweighs them.
    steps = np.linspace(*_SHEET_DOF, 7001) * dof
    low, high = scan_z_um.min(), scan_z_um.max()
    at = (scan_z_um[:, None] - low) / steps
    missed = np.round(np.abs(at - np.round(at)).max(axis=0), 3)
    step = steps[::-1][missed[::-1].argmin()]
    margin = math.ceil(_MARGIN_DOF * dof / step)
    sheets: Array = low + step * np.arange(-margin, math.ceil((high - low) / step) + margin + 1)
    return sheets


def _pad(scan_z_um: Array, optics: Optics) -> int:
    """Pixels that a ring in the middle of the widest gap, or in the margin, may reach over."""
    margin_um = _MARGIN_DOF * optics.depth_of_field_um
    gap_um = np.diff(np.sort(scan_z_um)).max(initial=margin_um)
    slope = math.tan(math.asin(min(optics.na / optics.immersion_index, 0.97)))
    return int(np.clip(math.ceil(gap_um * slope / optics.pixel_um), 64, _WIDEST_PAD))


def _groups(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Few sheets at a time, whatever the number of cores, so that sums are the same."""
    return (
        numbers[start : start + _SHEETS_AT_ONCE]
        for start in range(0, len(numbers), _SHEETS_AT_ONCE)
    )


def _medians(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1).median(dim=1).values[:, None, None]


def _waves(length: int, at: Array, device: torch.device) -> torch.Tensor:
    """The transforms of points at N places along an axis: (length, N)."""
    waves = np.exp(-2j * np.pi * np.outer(np.fft.fftfreq(length), at))
    return torch.from_numpy(waves.astype(np.complex64)).to(device)


def _at_points(
    around: Array, points: Points, shape: tuple[int, int]
) -> tuple[Array, tuple[Array, Array]]:
    """The filter's values at the points in each sheet (N, L), and their slopes per pixel."""
    y, x = (
        (at - np.clip(np.rint(at), 1, size - 2))[:, None]
        for at, size in ((points.row, shape[0]), (points.column, shape[1]))
    )
    middle = around[:, :, 1, 1]
    above, below, left, right = (around[:, :, i, j] for i, j in ((0, 1), (2, 1), (1, 0), (1, 2)))
    by_y, by_x = (below - above) / 2, (right - left) / 2
    by_yy, by_xx = below + above - 2 * middle, right + left - 2 * middle
    by_xy = (around[:, :, 2, 2] + around[:, :, 0, 0] - around[:, :, 2, 0] - around[:, :, 0, 2]) / 4
    values = middle + by_y * y + by_x * x + by_yy * y**2 / 2 + by_xx * x**2 / 2 + by_xy * x * y
    return values, (by_y + by_yy * y + by_xy * x, by_x + by_xx * x + by_xy * y)


def _without(
    points: Points, values: Array, between: _Between, matched: _Matched
) -> tuple[Array, Array]:
    """The filter's values (N, L) without each point, and by how much it explains the scans."""
    # With a point taken away, the filter would have its own answer to it, too.
    alone = values + between.of(matched.answers) * points.light[:, None]
    return alone, np.maximum(alone, 0) ** 2 / (2 * matched.own)


def _two_heights(gain: Array, between: _Between) -> tuple[Index, Index, Array]:
    """The best sheet near each point, that of the highest peak of gain (N, L) elsewhere, and it."""
    inner, is_far = gain[:, 1:-1], between.away(gain.shape[1])[:, 1:-1] > 2
    is_peak = (inner >= gain[:, :-2]) & (inner > gain[:, 2:]) & is_far
    peaks = np.where(is_peak, inner, 0.0)
    return _best_near(gain, between), peaks.argmax(1) + 1, peaks.max(1)


def _best_near(gain: Array, between: _Between) -> Index:
    """The sheet with the greatest gain (N, L) of those next to each point."""
    near: Index = np.where(between.away(gain.shape[1]) <= 1.5, gain, -1.0).argmax(1)
    return near


def _best_sheets(gain: Array, between: _Between, turn: int) -> tuple[Index, npt.NDArray[np.bool_]]:
    """The sheet with the greatest gain (N, L) for each point, and which of them lie far away."""
    # Half of the points may go far in one turn, the others in the next: two that change places for
    # each other would do so forever.
    numbers = np.arange(gain.shape[1])
    near = _best_near(gain, between)
    best, each = gain.argmax(1), np.arange(len(gain))
    jumps = (gain[each, best] > gain[each, near] + _JUMP) & (np.abs(best - near) > 1)
    jumps &= (each + turn) % 2 == 0
    return np.clip(np.where(jumps, best, near), 1, len(numbers) - 2), jumps


def _vertex(gain: Array, sheet: Index) -> Array:
    """Where a parabola through a maximum and its neighbours is highest, -1 to 1 sheets away."""
    each = np.arange(len(gain))
    before, here, after = (gain[each, sheet + step] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    return np.clip(np.where(bend < 0, (before - after) / 2 / np.minimum(bend, -1e-12), 0), -1, 1)
