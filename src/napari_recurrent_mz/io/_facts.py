"""Values that metadata state, taken only where they can be true, with their source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.arrays import Array
from ..core.scans import SAME_HEIGHT_UM, InputError
from ._image_file import ImageFile, micrometres_per, to_seconds, to_um

PLAUSIBLE = {
    "pixel_um": (0.005, 20.0),
    "z_step_um": (0.001, 500.0),
    "na": (0.01, 1.7),
    "wavelength_um": (0.2, 2.0),
    "immersion_index": (1.0, 2.0),
}
"""Lowest and highest value that a light microscope can have."""

INDEX_OF_MEDIUM = {
    "air": 1.0,
    "water": 1.333,
    "waterdipping": 1.333,
    "glycerol": 1.47,
    "glycerin": 1.47,
    "oil": 1.515,
}

_AGREE = 0.05  # of the step: how far stated heights may be from it on average
_EXACT = 0.01  # of the step: how far heights may be off it and nothing is said
_EVEN = 0.2  # of the step: how far a stage's read-back may lie from even heights


Length = tuple[Any, str | None]
"""A number, or its text, and a unit; either may be missing."""


@dataclass(frozen=True)
class StatedHeights:
    """Heights of the planes as one place in the metadata states them."""

    z_um: Array  # (Z,)
    where: str  # what a sentence calls that place
    in_um: bool = True  # for sure, not in the unit of an unnamed frame


@dataclass
class Facts:
    """Values of one image from the best source down: what is taken first stays."""

    values: dict[str, float] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    channel: str = ""
    origin_um: tuple[float, float] | None = None
    time_step_s: float | None = None

    def take(self, name: str, value: float | None, where: str) -> None:
        """Take a value in the unit of its name, found at ``where``."""
        if value is None or name in self.values:
            return
        low, high = PLAUSIBLE[name]
        if not low <= abs(value) <= high or (value < 0 and name != "z_step_um"):
            unit = " µm" if name.endswith("_um") else ""
            self.doubt(name, f"{where} is {value:g}{unit}, which cannot be true")
            return
        self.values[name], self.sources[name] = value, where

    def take_length(self, name: str, length: Length, where: str) -> None:
        """Take a length in any unit."""
        value, unit = length
        if value is None or name in self.values:
            return
        if micrometres_per(unit) is None:
            what = f"is in '{unit}', no known unit of length" if unit else "has no unit"
            self.doubt(name, f"{where}, {value}, {what}")
            return
        self.take(name, to_um(value, unit), where)

    def take_pixel(self, y: Length, x: Length, where: str, file: str) -> None:
        """Take the size of a pixel from its height and width, which must agree within 1 %."""
        for value, unit in (y, x):
            if value is not None and micrometres_per(unit) is None:
                self.take_length("pixel_um", (value, unit), where)
                return
        y_um, x_um = to_um(*y) or 0.0, to_um(*x) or 0.0
        if min(y_um, x_um) < 0:
            self.take("pixel_um", min(y_um, x_um), where)  # which it is not: it is said why
        if y_um <= 0 or x_um <= 0:
            return
        if abs(y_um - x_um) > 0.01 * max(y_um, x_um):
            raise InputError(
                f"'{file}' has pixels of {y_um:g} × {x_um:g} µm (y × x): "
                "resample it to square pixels first."
            )
        self.take("pixel_um", x_um, where)

    def take_origin(self, y: Length, x: Length) -> None:
        """Take the position of the first pixel."""
        y_um, x_um = to_um(*y), to_um(*x)
        if y_um is not None and x_um is not None:
            self.origin_um = (y_um, x_um)

    def take_time_step(self, value: Any, unit: str | None, where: str) -> None:
        """Take the time from one time point to the next."""
        seconds = to_seconds(value, unit)
        if self.time_step_s is None and seconds is not None:
            self.time_step_s, self.sources["time_step_s"] = seconds, where

    def take_record(self, provenance: Mapping[str, Any]) -> None:
        """Take this package's own record of how the image was made, and the optics in it."""
        self.provenance = provenance
        for name in ("na", "wavelength_um", "immersion_index"):
            value = (provenance.get("optics") or {}).get(name)
            is_number = isinstance(value, int | float)
            self.take(name, value if is_number else None, "the record of how it was made")

    def take_medium(self, medium: str | None, where: str) -> None:
        """Take the refractive index of an immersion medium."""
        index = INDEX_OF_MEDIUM.get((medium or "").lower())
        if index is not None and self.values.get("na", 0.0) > index:
            na = self.values["na"]
            self.doubt("immersion_index", f"{where} is {medium}, with which no NA is {na:g}")
            return
        self.take("immersion_index", index, where)

    def doubt(self, name: str, why: str) -> None:
        """Remember why a value was not taken."""
        self.doubts.setdefault(name, why)

    def image(
        self, data: Any, name: str, path: str, stated: Sequence[StatedHeights] = ()
    ) -> ImageFile:
        """The image with all that was taken, and with the heights of its planes."""
        n = 1 if data.ndim == 2 else int(data.shape[0])
        z_um = self._heights(n, stated, name)
        step = self.values.pop("z_step_um", None)
        if n > 1:  # where the heights are not sure, the step is not
            even = None if z_um is None else even_step(z_um)
            agree = step is not None and even is not None and np.isclose(abs(step), abs(even))
            step = step if agree else even
        return ImageFile(
            data,
            name,
            path,
            z_um=z_um,
            z_step_um=None if step is None else abs(step),
            **self.values,
            time_step_s=self.time_step_s,
            channel=self.channel,
            origin_um=self.origin_um,
            provenance=self.provenance,
            sources=self.sources,
            doubts={what: why for what, why in self.doubts.items() if what not in self.sources},
            remarks=tuple(self.remarks),
        )

    def _heights(self, n: int, stated: Sequence[StatedHeights], name: str) -> Array | None:
        """Heights of ``n`` planes: as stated, else from the step; None where nothing is sure."""
        step = self.values.get("z_step_um")
        for heights in stated:
            if len(heights.z_um) != n or not np.isfinite(heights.z_um).all():
                continue
            if n == 1:
                self.sources["z_um"] = heights.where
                return heights.z_um
            if _are_of_planes(heights.z_um, step):
                return self._agreed(heights, step, name)
        if step is None or n == 1:
            if "z_step_um" in self.doubts:
                self.doubt("z_um", self.doubts["z_step_um"])
            return None
        return self._from_step(step, n)

    def _from_step(self, step: float, n: int) -> Array:
        self.sources["z_um"] = self.sources["z_step_um"]
        return step * np.arange(n, dtype=np.float64)

    def _agreed(self, heights: StatedHeights, step: float | None, name: str) -> Array | None:
        """Heights that are stated, unless what else the file says speaks against them."""
        z_um, where = heights.z_um, heights.where
        gaps = np.diff(np.sort(z_um))
        mean, (low, high) = float(gaps.mean()), PLAUSIBLE["z_step_um"]
        if not gaps.all():
            self.doubt("z_um", f"{where} gives several of them one height")
            return None
        if step is None and not low <= mean <= high:
            self.doubt("z_um", f"{where} puts them {mean:g} µm apart, which cannot be true")
            return None
        if step is not None and abs(mean - abs(step)) > _AGREE * abs(step):
            is_even = even_step(z_um, _AGREE) is not None
            if is_even and not heights.in_um:
                return self._from_step(step, len(z_um))
            source = self.sources["z_step_um"]
            both = f"{where} puts them {mean:g} µm apart, but {source} is {abs(step):g} µm"
            if is_even or not heights.in_um or not 0.1 <= mean / abs(step) <= 10:
                self.doubt("z_um", both)
                return None
            self.remarks.append(
                f"The planes of '{name}': {both}. The heights were taken, {_listed(z_um)} µm."
            )
        self.sources["z_um"] = where
        return z_um


def _are_of_planes(z_um: Array, step: float | None) -> bool:
    """Whether heights are those of planes, not of a drive that stood still meanwhile."""
    gaps, extent = np.diff(z_um), float(np.ptp(z_um))
    is_steady = bool(np.all(gaps > 0) or np.all(gaps < 0))
    still = abs(step) / 2 if step is not None else SAME_HEIGHT_UM
    return extent > SAME_HEIGHT_UM and (is_steady or extent > still)


def even_step(z_um: Array, slack: float = _EVEN) -> float | None:
    """The mean step, negative if falling; None where heights are off it by more than ``slack``."""
    if len(z_um) < 2:
        return None
    step, off = _step_and_scatter(z_um)
    return step if step != 0 and off <= slack * abs(step) else None


def spaced_heights(step_um: float, count: int, stated_um: Array | None) -> Array:
    """Heights of planes so far apart, the lowest at 0, that fall where the stated ones do."""
    heights = step_um * np.arange(count, dtype=np.float64)
    falls = stated_um is not None and stated_um[0] > stated_um[-1]
    return heights[::-1] if falls else heights


def _step_and_scatter(z_um: Array) -> tuple[float, float]:
    """The mean step of heights, and how far one is off it at most."""
    steps = len(z_um) - 1
    step = float((z_um[-1] - z_um[0]) / steps)
    return step, float(np.abs(z_um - z_um[0] - step * np.arange(steps + 1)).max())


def scatter_note(heights_um: npt.ArrayLike, words: str) -> list[str]:
    """A sentence when planes are even only on average; ``words`` name the stack."""
    heights = np.asarray(heights_um, np.float64)
    if even_step(heights) is None:
        return []
    step, off = _step_and_scatter(heights)
    if off <= _EXACT * abs(step):
        return []
    return [
        f"The stated heights of the planes of {words} scatter by up to {1e3 * off:.2g} nm: they "
        f"are taken as {abs(step):.4g} µm apart, the mean."
    ]


def _listed(z_um: Array) -> str:
    text = [f"{z:g}" for z in z_um]
    return ", ".join(text if len(text) <= 6 else [*text[:3], "…", text[-1]])
