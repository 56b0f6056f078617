"""Where to scan: a plan for a depth range before the first scan, and the best next one after it.

Both rest on :mod:`~.expectation`. Lengths are in micrometres; errors are
relative to the standard deviation of a plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..core.arrays import Array
from ..core.errors import check_choice
from ..core.optics import Optics
from ..core.scans import FloatArray, InputError, Scan, ScanStack, ZGrid, listed
from .expectation import Expectation
from .lmmse import LinearEstimate
from .uncertainty import plane_spread

_MOST_SCANS = 60
_SWEEPS = 8


_LARGEST_SEEN = 1024  # pixels on a side: the middle of a larger scan says enough of its spectrum


def expected_errors(
    scans: Sequence[Scan], optics: Optics, z_um: npt.ArrayLike, target: str = "widefield"
) -> Array:
    """Expected error of linear MMSE at heights (T,), from the middle of the scans; 0 to 1."""
    middles = [_middle(scan.pixels) for scan in scans]
    # A part may be empty, which a scan may not.
    is_enough = all(np.ptp(middle) > 0 for middle in middles)
    images = np.stack(middles if is_enough else [scan.pixels for scan in scans])
    stack = ScanStack(images, np.array([scan.z_um for scan in scans]))
    heights = np.atleast_1d(np.asarray(z_um, np.float64))
    reach_um = (float(heights.min()), float(heights.max()))
    estimate = LinearEstimate(stack, optics, reach_um=reach_um, target=target)
    return estimate.expected_error(heights)


def _middle(pixels: FloatArray) -> FloatArray:
    high, wide = (max(n - _LARGEST_SEEN, 0) // 2 for n in pixels.shape)
    return pixels[high : high + _LARGEST_SEEN, wide : wide + _LARGEST_SEEN]


@dataclass(frozen=True, eq=False)
class Plan:
    """Heights for the scans of a depth range, chosen before the first of them."""

    scan_z_um: tuple[float, ...]  #: rising, in micrometres
    #: root mean square over the grid, relative to the standard deviation of a plane
    expected_error: float
    z_um: Array  #: (T,), the heights looked at
    per_plane: Array  #: (T,), the expected error of each
    range_um: float  #: depth of the grid
    wanted: float | None = None  #: the error asked for, where one was

    @property
    def sentence(self) -> str:
        """The plan for a person."""
        count = len(self.scan_z_um)
        scans, give = ("1 scan", "gives") if count == 1 else (f"{count} scans", "give")
        at = listed([f"{round(z, 2):g}" for z in self.scan_z_um])
        sentence = (
            f"For {self.range_um:g} µm with this objective, {scans} at {at} µm {give} an expected "
            f"error of {percent(self.expected_error)}"
        )
        if self.wanted is not None and self.expected_error > self.wanted:
            return f"{sentence}; {percent(self.wanted)} cannot be reached."
        return f"{sentence}."


def percent(value: float) -> str:
    """A fraction as a person says it: two digits below ten percent, no more above."""
    percentage = 100 * value
    return f"{percentage:.2g} %" if percentage < 9.95 else f"{percentage:.0f} %"


def plan(
    grid: ZGrid,
    optics: Optics,
    *,
    count: int | None = None,
    target_error: float | None = None,
    power: npt.ArrayLike | None = None,
    target: str = "widefield",
) -> Plan:
    """Say how many scans a depth range needs, and where, before the first one is taken.

    Parameters
    ----------
    grid : ZGrid
        The heights wanted.
    optics : Optics
    count : int, optional
        Number of scans, 1 to 60.
    target_error : float, optional
        Instead of ``count``: as few scans as give this expected error, above 0 and below 1,
        relative to the standard deviation of a plane.
    power, target
        As in :class:`Expectation`; the spectrum of an earlier scan of such a sample makes the
        error more than a guess.

    Raises
    ------
    InputError
        Unless one of ``count`` and ``target_error`` is given and makes sense.
    """
    if (count is None) == (target_error is None):
        raise InputError("A plan needs either a number of scans or an expected error to reach.")
    if target_error is not None and not 0 < target_error < 1:
        raise InputError(
            f"The expected error {target_error:g} is not between 0 and 1: give 0.05 for 5 %."
        )
    if count is not None and not 1 <= count <= _MOST_SCANS:
        raise InputError(f"A plan of {count} scans makes no sense: give 1 to {_MOST_SCANS}.")
    expected = Expectation(grid, optics, power=power, target=target)
    if count is not None:
        heights = _best_heights(expected, count)
    else:
        assert target_error is not None
        heights = _fewest_heights(expected, target_error)
    error = expected.error(heights)
    rms = float(np.sqrt(np.mean(error**2)))
    span = grid.stop_um - grid.start_um
    return Plan(tuple(map(float, heights)), rms, expected.z_um, error, span, target_error)


def _fewest_heights(expected: Expectation, target_error: float) -> Array:
    """Heights of the fewest scans that reach an error; of all that may be, if none do."""
    most = min(_MOST_SCANS, len(expected.z_um))
    enough = range(1, most + 1)
    count = next(
        (n for n in enough if expected.overall(_even_heights(expected.z_um, n)) <= target_error),
        most,
    )
    heights = _best_heights(expected, count)
    while count > 1:  # well placed, one fewer may do
        fewer = _best_heights(expected, count - 1)
        if expected.overall(fewer) > target_error:
            break
        count, heights = count - 1, fewer
    return heights


def _even_heights(z_um: Array, count: int) -> Array:
    """So many heights, each in the middle of an equal part of the range."""
    low, high = z_um[0], z_um[-1]
    return np.asarray(low + (np.arange(count) + 0.5) / count * (high - low))


def _best_heights(expected: Expectation, count: int) -> Array:
    """From even spacing, move one scan after another to where it lowers the error most."""
    heights = _even_heights(expected.z_um, count)
    error = expected.overall(heights)
    for _ in range(_SWEEPS):
        moved = heights.copy()
        for number in range(count):
            others = np.delete(moved, number)
            moved[number] = expected.z_um[int(expected.lowered(others).argmax())]
        now = expected.overall(moved)
        if now > error * (1 - 1e-4):
            break
        heights, error = moved, now
    return np.sort(heights)


RULES = ("expected-error", "largest-gap", "spread")
"""How the next height can be chosen, the default first."""


@dataclass(frozen=True)
class Suggestion:
    """Where another scan should help most."""

    z_um: float
    rule: str
    #: of the grid once it is taken, relative to the standard deviation of a plane
    expected_error: float
    #: root-mean-square change that it should bring to the linear estimate, in the same units
    expected_change: float


def suggest(
    expected: Expectation,
    scan_z_um: Sequence[float],
    *,
    rule: str = RULES[0],
    estimate: LinearEstimate | None = None,
) -> Suggestion:
    """Choose the height of the next scan.

    Parameters
    ----------
    expected : Expectation
    scan_z_um : sequence of float
        Heights of the scans there are; may be none.
    rule : str, optional
        One of :data:`RULES`: where the closed-form expected error falls most; in the widest
        gap; where the estimates from all scans but one disagree most (with fewer than three
        scans, in the widest gap).
    estimate : LinearEstimate, optional
        Of the scans there are; the rule ``spread`` needs it.

    Raises
    ------
    InputError
        If there is no such rule.
    """
    check_choice("rule", rule, RULES)
    lowered = expected.lowered(scan_z_um)
    if rule == "expected-error":
        chosen = int(lowered.argmax())
    elif rule == "spread" and estimate is not None and len(scan_z_um) > 2:
        chosen = _most_disputed(expected.z_um, estimate)
    else:
        chosen = _widest_gap(expected.z_um, scan_z_um)
    now = expected.overall(scan_z_um) ** 2
    gain = float(lowered[chosen])
    after = float(np.sqrt(max(now - gain, 0.0)))
    return Suggestion(float(expected.z_um[chosen]), rule, after, float(np.sqrt(gain)))


def _widest_gap(z_um: Array, scan_z_um: Sequence[float]) -> int:
    """The middle of the widest gap; an open one counts double, and is met at two thirds."""
    low, high = float(z_um[0]), float(z_um[-1])
    if not len(scan_z_um):
        return int(np.abs(z_um - (low + high) / 2).argmin())
    scans = np.sort(np.clip(np.asarray(scan_z_um, np.float64), low, high))
    gaps = [(2 * (scans[0] - low), scans[0] - 2 / 3 * (scans[0] - low))]
    gaps += [(b - a, (a + b) / 2) for a, b in pairwise(scans)]
    gaps += [(2 * (high - scans[-1]), scans[-1] + 2 / 3 * (high - scans[-1]))]
    return int(np.abs(z_um - max(gaps)[1]).argmin())


def _most_disputed(z_um: Array, estimate: LinearEstimate) -> int:
    """Where leaving one scan out changes the plane most, away from the scans themselves."""
    scans = np.sort(estimate.scan_z_um)
    nearest = np.abs(z_um[:, None] - scans).min(axis=1)
    allowed = nearest >= 0.25 * float(np.diff(scans).max())
    if not allowed.any():
        return int(nearest.argmax())
    return int(np.where(allowed, plane_spread(estimate, z_um), -1.0).argmax())
