"""Scans and target grids: what a reconstruction starts from, lengths in micrometres.

Every mistake that a user can make with them is found here and raised as :class:`InputError`, whose
message is one sentence that names the scan, says what is wrong and what would be right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arrays import (
    Array,
    as_single,
    check_finite,
    check_no_mask,
    real_array,
    real_number,
    real_values,
)
from .errors import InputError as InputError
from .errors import counted as counted
from .errors import listed as listed

FloatArray = npt.NDArray[np.float32]

Heights = npt.NDArray[np.float64]
"""A surface: the height of every pixel in micrometres, shape (Y, X).

Where planes are made several at a time, also their heights, shape (T,).
"""


def is_surface(z_um: float | Heights) -> bool:
    """Whether this is a height for every pixel, not that of a plane or those of some."""
    return np.ndim(z_um) == 2


MAX_PLANES = 10_000
"""Largest number of planes in a grid: beyond it a typing mistake is more likely than a wish."""

LEAST_SIDE = 16
"""Pixels that a scan has along y and x, at least."""

IN_UM = "in µm (not nm)"
"""What heights are, for who typed them far too large."""

_MASK = 0.01  # of the pixels, at least, are bright in a mask
MOST_SCANS = 9
"""As many scans as were seen to do a network no harm; see docs/measurements.md."""

SAME_HEIGHT_UM = 1e-3
"""Heights that are nearer than this are one, in micrometres: no stage tells them apart."""


def same_height(z_um: float, heights_um: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Where heights, in micrometres, are the height ``z_um``."""
    return np.abs(np.asarray(heights_um) - z_um) < SAME_HEIGHT_UM


_ORDINARY = (2.0**-20, 2.0**40)  # the brightest pixel of scans that are computed with as they are


@dataclass(frozen=True, eq=False)
class Scan:
    """One wide-field image at a known height.

    Parameters
    ----------
    image : array_like, shape (Y, X)
        Intensities of any real type but bool, at least 16 × 16 pixels, finite and not constant.
    z_um : float
        Height of the focal plane, in micrometres.
    name : str, optional
        How error messages and provenance call it, for instance the layer or the file.
    acquired : mapping, optional
        How it was taken, in plain values that travel with it into every record: date, exposure,
        channel, position of the stage; ``origin_um``, the position (y, x) of its first pixel in
        micrometres, is where a result lies.

    Raises
    ------
    InputError
        If the image cannot be a scan, or the height is missing or not finite.
    """

    image: npt.ArrayLike
    z_um: float
    name: str = ""
    acquired: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        label = f"'{self.name}'" if self.name else "this scan"
        z_um = real_number(self.z_um)
        if not math.isfinite(z_um):
            raise InputError(
                f"The z position of {label} is missing: give its height in µm (a finite number)."
            )
        object.__setattr__(self, "z_um", z_um)
        object.__setattr__(self, "image", check_image(self.image, label))

    @property
    def pixels(self) -> FloatArray:
        """The image, float32, shape (Y, X)."""
        assert isinstance(self.image, np.ndarray)
        return self.image

    @property
    def place_um(self) -> tuple[float, float]:
        """Position (y, x) of the first pixel, in micrometres; the origin where it is not known."""
        try:
            y, x = map(float, self.acquired.get(_PLACE) or (0.0, 0.0))
        except (TypeError, ValueError):
            return 0.0, 0.0
        return (y, x) if math.isfinite(y) and math.isfinite(x) else (0.0, 0.0)

    def as_dict(self) -> dict[str, Any]:
        """What a record says of it: name, height, and how it was taken where that is known."""
        taken = {"acquired": dict(self.acquired)} if self.acquired else {}
        return {"name": self.name, "z_um": self.z_um, **taken}


def check_image(image: npt.ArrayLike, label: str) -> FloatArray:
    """Return ``image`` as float32 (Y, X), or raise :class:`InputError` naming ``label``."""
    check_no_mask(image, label)
    array = real_array(image, label, finite=False)
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        raise InputError(
            f"{label} is an RGB image of shape {array.shape}: "
            "give one fluorescence channel, a 2-D grey-scale image."
        )
    if array.ndim != 2:
        raise InputError(
            f"{label} has {array.ndim} dimensions (shape {array.shape}): "
            "a scan is one 2-D image (Y, X); choose one channel, time point and plane."
        )
    if min(array.shape) < LEAST_SIDE:
        raise InputError(
            f"{label} is only {array.shape[0]} × {array.shape[1]} pixels: "
            f"a scan needs at least {LEAST_SIDE} × {LEAST_SIDE}."
        )
    check_finite(array, label)
    single = as_single(array, label)  # the order of sums follows that of the pixels
    pixels = np.array(array, order="C") if single is array else np.ascontiguousarray(single)
    if pixels.min() == pixels.max():
        nearly = "" if array.min() == array.max() else "so nearly "
        raise InputError(
            f"{label} is {nearly}constant (every pixel is {pixels.flat[0]:g})"
            f"{' that single precision holds nothing of it' if nearly else ''}: "
            "it holds no structure, choose another image."
        )
    if _has_two_values(pixels):
        raise InputError(
            f"{label} holds two values only ({pixels.min():g} and {pixels.max():g}), as masks do: "
            "give an image of the fluorescence."
        )
    pixels.setflags(write=False)
    return pixels


def _has_two_values(pixels: FloatArray) -> bool:
    """Whether an image is one of regions, and not of a few photons, which lie anywhere."""
    low, high = pixels.min(), pixels.max()
    few = pixels.ravel()[:: max(1, pixels.size // 1000)]  # which tells nearly all others, fast
    if not np.isin(few, (low, high)).all():
        return False
    is_high = pixels == high
    share = np.count_nonzero(is_high) / pixels.size
    along = (np.count_nonzero(np.diff(is_high, axis=axis)) for axis in (0, 1))
    edges = sum(along) / (2 * pixels.size)
    is_mask = share > _MASK and edges < 0.5 * share * (1 - share)  # a quarter of what chance has
    return bool(is_mask and (is_high | (pixels == low)).all())


ONE_CHANNEL = {"channel": "channel", "na": "NA", "wavelength_um": "emission wavelength (µm)"}
"""What scans of one channel have in common, by the names in :attr:`Scan.acquired`, in words."""


def in_words(value: float | str | None) -> str:
    """A value as a sentence has it: a number in four digits; nothing where none is known."""
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"


_PLACE = "origin_um"  # in Scan.acquired: position (y, x) of the first pixel, in micrometres


def scan_facts(known: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is known of an image, that which scans keep: of their channel, and their place."""
    names = (*ONE_CHANNEL, _PLACE)
    return {name: known[name] for name in names if known.get(name) not in (None, "")}


def named(scan: Scan) -> str:
    """What a scan is called in a list of scans: by its name, else by its height."""
    return f"'{scan.name}'" if scan.name else f"that at {scan.z_um:g} µm"


def scan_at(scans: Iterable[Scan], z_um: float) -> Scan | None:
    """The scan at a height, if there is one."""
    return next((scan for scan in scans if same_height(scan.z_um, z_um)), None)


def check_scans(scans: Iterable[Scan]) -> tuple[Scan, ...]:
    """Return the scans as a tuple once they have one shape, and heights and pixels of their own."""
    checked = tuple(scans)
    if not checked:
        raise InputError("There is no scan: give at least two images with their z positions.")
    for number, scan in enumerate(checked, start=1):
        if not isinstance(scan, Scan):
            raise InputError(
                f"Scan {number} is of type {type(scan).__name__}: give Scan(image, z_um)."
            )
    first = checked[0]
    for number, scan in enumerate(checked[1:], start=2):
        if scan.pixels.shape != first.pixels.shape:
            raise InputError(
                f"Scan {_label(scan, number)} is {_size(scan)} pixels but scan {_label(first, 1)} "
                f"is {_size(first)}: all scans must show the same field at the same size."
            )
    order = sorted(range(len(checked)), key=lambda i: checked[i].z_um)
    for low, high in pairwise(order):
        lower, higher = checked[low], checked[high]
        if higher.z_um - lower.z_um < SAME_HEIGHT_UM:
            both = f"Scans {_label(lower, low + 1)} and {_label(higher, high + 1)} are"
            if f"{lower.z_um:g}" == f"{higher.z_um:g}":
                raise InputError(
                    f"{both} both at z = {lower.z_um:g} µm: correct one height or leave one of "
                    "them out."
                )
            raise InputError(
                f"{both} at z = {lower.z_um:g} and {higher.z_um:g} µm, nearer than any stage can "
                "tell: correct the heights, which are in µm (not mm or m), or leave one out."
            )
    for (low, lower), (high, higher) in combinations(enumerate(checked, 1), 2):
        if _is_one_image(lower.pixels, higher.pixels):
            raise InputError(
                f"Scans {_label(lower, low)} and {_label(higher, high)} have the very same pixels, "
                f"but z = {lower.z_um:g} and {higher.z_um:g} µm: give each height its own image, "
                "or leave one of them out."
            )
    return checked


def _is_one_image(pixels: FloatArray, others: FloatArray) -> bool:
    """Whether two measured scans are one: without noise, both sides of a focus may be alike."""
    row = pixels[0]  # which tells nearly all apart, fast
    is_measured = np.array_equal(row, others[0]) and not (row % 1).any()
    return is_measured and np.array_equal(pixels, others)


class ScanStack(NamedTuple):
    """Scans of one shape as plain arrays, which all computation starts from."""

    images: FloatArray  # (M, Y, X)
    z_um: Array  # (M,)

    @classmethod
    def of(cls, scans: Sequence[Scan]) -> ScanStack:
        """The stack of scans that are known to fit together."""
        return cls(np.stack([scan.pixels for scan in scans]), np.array([s.z_um for s in scans]))

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X)."""
        _, y, x = self.images.shape
        return y, x

    def at(self, chosen: npt.NDArray[np.intp]) -> ScanStack:
        """Some of them, by their numbers."""
        return ScanStack(self.images[chosen], self.z_um[chosen])


Scans = Sequence[Scan] | ScanStack
"""What computes with scans takes either; whoever calls much of it makes the stack once."""


def stack_of(scans: Scans) -> ScanStack:
    """Scans as plain arrays, once they fit together; what is a stack already stays as it is."""
    return scans if isinstance(scans, ScanStack) else ScanStack.of(check_scans(scans))


def ordinary_unit(brightest: float) -> float:
    """The power of two in which sums of squares are numbers; 1 for what cameras count."""
    if not brightest or _ORDINARY[0] <= brightest <= _ORDINARY[1]:
        return 1.0
    return math.ldexp(1.0, math.frexp(brightest)[1])


def in_ordinary_units(images: FloatArray) -> tuple[float, FloatArray]:
    """The :func:`ordinary_unit` of images (M, Y, X), and the images in it."""
    unit = ordinary_unit(max(float(images.max()), -float(images.min())))
    return unit, images if unit == 1 else images / np.float32(unit)


def check_heights(heights_um: npt.ArrayLike, shape: tuple[int, ...], label: str = "") -> Heights:
    """Return the heights of a surface as float64 (Y, X), once they fit scans of ``shape``."""
    what = f"The height map '{label}'" if label else "The height map"
    check_no_mask(heights_um, what, "heights in µm")
    array = real_array(heights_um, what)
    if array.ndim != 2:
        raise InputError(
            f"{what} has {array.ndim} dimensions (shape {array.shape}): "
            "give one 2-D image (Y, X) of heights in µm."
        )
    if array.shape != tuple(shape):
        raise InputError(
            f"{what} is {array.shape[0]} × {array.shape[1]} pixels but the scans are "
            f"{shape[0]} × {shape[1]}: give one height for every pixel of the scans."
        )
    return array.astype(np.float64)


def require_several(scans: Sequence[Scan]) -> None:
    """Raise :class:`InputError` when there are fewer than two scans."""
    if len(scans) < 2:
        there = f"One scan only, {named(scans[0])}" if scans else "There is no scan"
        raise InputError(
            f"{there}: a volume needs at least two scans at different heights; add another."
        )


def _label(scan: Scan, number: int) -> str:
    return f"'{scan.name}'" if scan.name else str(number)


def _size(scan: Scan) -> str:
    return f"{scan.pixels.shape[0]} × {scan.pixels.shape[1]}"


@dataclass(frozen=True)
class ZGrid:
    """The heights to reconstruct: from ``start_um`` to ``stop_um``, both included.

    Parameters
    ----------
    start_um, stop_um : float
        First and last height, in micrometres, ``start_um <= stop_um``.
    step_um : float
        Distance between planes, in micrometres, above 0. When the range is not a whole
        number of steps, the last plane is the highest one that does not pass ``stop_um``.

    Raises
    ------
    InputError
        If the grid is empty, backwards, not finite or absurdly large.
    """

    start_um: float
    stop_um: float
    step_um: float

    def __post_init__(self) -> None:
        lengths = map(real_number, (self.start_um, self.stop_um, self.step_um))
        if not all(map(math.isfinite, lengths)):
            raise InputError("The target grid has a value that is not a finite number of µm.")
        if self.step_um <= 0:
            raise InputError(
                f"The z-step of the target grid is {self.step_um:g} µm: it must be above 0."
            )
        if self.stop_um < self.start_um:
            raise InputError(
                f"The target grid runs backwards, from {self.start_um:g} to {self.stop_um:g} µm: "
                "give the lower height first."
            )
        if self.start_um < self.stop_um < self.start_um + self.step_um * (1 - 1e-6):
            raise InputError(
                f"The z-step of the target grid, {self.step_um:g} µm, is larger than its range, "
                f"{self.start_um:g} to {self.stop_um:g} µm: give a smaller one."
            )
        if self._count > MAX_PLANES:
            raise InputError(
                f"The target grid has {self._count:,} planes, more than {MAX_PLANES:,}: "
                "use a larger z-step or a smaller range."
            )
        if self.step_um < SAME_HEIGHT_UM and self.stop_um > self.start_um:
            raise InputError(
                f"The z-step of the target grid is {self.step_um:g} µm, less than a nanometre: "
                "correct its heights, which are in µm (not mm or m)."
            )

    @classmethod
    def parse(cls, text: str) -> ZGrid:
        """Read ``START:STOP:STEP`` in micrometres, STOP included."""
        try:
            start, stop, step = (float(part) for part in text.split(":"))
        except ValueError:
            raise InputError(
                f"The grid '{text}' is not START:STOP:STEP in µm, for instance 0:10:0.2."
            ) from None
        return cls(start, stop, step)

    @cached_property
    def _count(self) -> int:
        return int(np.floor((self.stop_um - self.start_um) / self.step_um + 1e-6)) + 1

    @property
    def z_um(self) -> Array:
        """Heights of the planes, in micrometres, shape (Z,), rising."""
        return self.start_um + self.step_um * np.arange(self._count, dtype=np.float64)

    def __len__(self) -> int:
        return self._count


_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


def nice_step(wanted_um: float) -> float:
    """The round number (1, 2, 2.5 or 5 times a power of ten) nearest to ``wanted_um`` by ratio."""
    power = 10.0 ** math.floor(math.log10(wanted_um))
    best = min(_NICE, key=lambda digit: abs(math.log(digit * power / wanted_um)))
    return float(f"{best * power:.3g}")


_FINEST, _COARSEST = 0.24, math.sqrt(2)  # of the wanted step: the range of those that are tried


def default_grid(
    z_um: Sequence[float],
    depth_of_field_um: float | None,
    planes: Sequence[int] | None = None,
) -> ZGrid:
    """From the lowest to the highest scan, both included, in steps that also meet the others."""
    # The step is about half a depth of field, or a fiftieth of the range where that is unknown, and
    # round where it can be. It may be as small as a quarter of that if all scans are on planes
    # then; else as many are as can be. ``planes`` are the numbers of the scans in one stack: the
    # grid then has the planes of that stack, unless every one of them is a scan.
    z_um = real_values(z_um, "The list of heights").tolist()
    low, high = min(z_um), max(z_um)
    if low == high:
        return ZGrid(low, high, 1.0)
    steps = _steps_of_stack(z_um, planes) if planes is not None else 0
    if not steps:
        wanted_um = depth_of_field_um / 2 if depth_of_field_um else (high - low) / 50
        steps = _fitting_steps(np.sort(np.asarray(z_um, np.float64)) - low, wanted_um)
    return ZGrid(low, high, float(f"{(high - low) / steps:.12g}"))


def _steps_of_stack(z_um: Sequence[float], planes: Sequence[int]) -> int:
    """Planes of a stack from the lowest to the highest scan; 0 if heights do not follow them."""
    heights, numbers = np.asarray(z_um, np.float64), np.asarray(planes)
    first, last = int(heights.argmin()), int(heights.argmax())
    steps = abs(int(numbers[last] - numbers[first]))
    if steps < len(set(planes)):
        return 0
    step = (heights[last] - heights[first]) / steps
    off = heights - heights[first] - step * np.abs(numbers - numbers[first])
    return steps if np.abs(off).max() < step / 4 else 0


def _fitting_steps(above_um: Array, wanted_um: float) -> int:
    """Into how many steps a range is cut; ``above_um`` are the scans, from its lower end."""
    span = float(above_um[-1])
    fewest = max(math.ceil(span / (_COARSEST * wanted_um)), 1)
    if fewest >= MAX_PLANES:
        raise InputError(
            f"The scans lie {span:g} µm apart, which is more than {MAX_PLANES:,} planes "
            f"{wanted_um:.3g} µm from each other: correct the heights, which are {IN_UM}, or type "
            "the target grid."
        )
    finest = min(_FINEST * wanted_um, span / (len(above_um) - 1))
    most = min(max(math.floor(span / finest + 1e-6), fewest), MAX_PLANES - 1)
    counts = np.arange(fewest, most + 1)
    steps = span / counts
    off = np.abs(above_um[:, None] - steps * np.round(above_um[:, None] / steps))
    met = (off < SAME_HEIGHT_UM).sum(axis=0)
    ratio = np.abs(np.log(steps / wanted_um))
    tenths_of_nm = 1e4 * steps
    is_round = np.abs(tenths_of_nm - np.round(tenths_of_nm)) < 1e-6
    worse = (met < len(above_um), ratio > math.log(_COARSEST), -met, ~is_round, ratio)
    return int(counts[np.lexsort(worse[::-1])[0]])


def contrast_limits(scans: Sequence[Scan]) -> tuple[float, float]:
    """Limits that show scans well: 0.5th and 99.98th percentile of all of them, never equal."""
    samples = np.concatenate([scan.pixels[::2, ::2].ravel() for scan in scans])
    low, high = (float(v) for v in np.percentile(samples, (0.5, 99.98)))
    return (low, high) if high > low else (float(samples.min()), float(samples.max()) + 1e-6)
