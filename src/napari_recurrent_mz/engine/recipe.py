"""Everything that a reconstruction depends on, checked once.

:func:`~.run` carries it out; :meth:`Recipe.provenance` is what
travels with the result. Lengths are in micrometres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..core.methods import DEFAULT_METHOD, Method, image_made, method_of
from ..core.optics import Optics
from ..core.region import Region
from ..core.scans import (
    Heights,
    InputError,
    Scan,
    ZGrid,
    check_heights,
    check_scans,
    named,
    require_several,
    same_height,
    scan_at,
)
from .heights import gap_notes, pixel_notes, reach_notes

if TYPE_CHECKING:
    from ..core.device import Device
    from ..networks.weights import Model
    from .check import OwnSampleCheck


_MARGIN = 128  # pixels around a region whose light is taken into account, as between windows


@dataclass(frozen=True, eq=False)
class HeightMap:
    """A tilted or curved surface to reconstruct: a height for every pixel of the scans."""

    heights_um: Heights  # (Y, X)
    origin: str = ""  # where the heights come from, for the record
    points_um: npt.ArrayLike | None = None  # (N, 3), the points (z, y, x) of a plane through them


CONFOCAL_LIKE = "confocal-like, inferred from wide-field scans"
"""What a record calls its ``image`` where no plane is one of the scans."""


def grid_record(grid: ZGrid) -> dict[str, Any]:
    """The heights of a volume, as its record says them."""
    return {
        "start_um": grid.start_um, "stop_um": grid.stop_um,
        "step_um": grid.step_um, "planes": len(grid),
    }  # fmt: skip


@dataclass(frozen=True)
class SurfaceFacts:
    """Facts about a surface."""

    lowest_um: float
    highest_um: float
    tilt_deg: float  # of the plane nearest to it by least squares, 0 is level
    bend_um: float  # standard deviation of its heights from that plane

    @classmethod
    def of(cls, heights_um: Heights, pixel_um: float) -> SurfaceFacts:
        """The facts about heights (Y, X), in micrometres."""
        rest = heights_um - heights_um.mean()
        slopes = []
        for axis, n in enumerate(heights_um.shape):
            steps = (np.arange(n) - (n - 1) / 2) * pixel_um
            along = steps[:, None] if axis == 0 else steps[None]
            slope = float((rest * along).mean() / max(float((steps**2).mean()), 1e-300))
            slopes.append(slope)
            rest = rest - slope * along
        tilt = math.degrees(math.atan(math.hypot(*slopes)))
        low, high = float(heights_um.min()), float(heights_um.max())
        return cls(low, high, tilt, float(rest.std()))

    def __str__(self) -> str:
        bent = f", {self.bend_um:.2g} µm (r.m.s.) off flat" if self.bend_um > 1e-3 else ""
        low, high = (round(height, 6) for height in (self.lowest_um, self.highest_um))
        return f"Heights {low:.4g} to {high:.4g} µm, tilt {self.tilt_deg:.1f}°{bent}."


@dataclass(frozen=True, eq=False)
class Recipe:
    """A reconstruction: what it is made from, what is wanted, and how; checked when it is made."""

    scans: Sequence[Scan]  # at least two, of one shape, at different heights, in any order
    target: ZGrid | HeightMap
    optics: Optics | None = None  # needed by all methods but the interpolations
    method: str = DEFAULT_METHOD  # one of METHODS
    model: Model | str | Path | None = None  # by default the weights bundled for the method
    device: str = "auto"  # auto, cuda, mps or cpu
    pixel_um: float | None = None  # where there are no optics
    region: Region | None = None  # of a grid, the part of the field that is wanted

    def __post_init__(self) -> None:
        scans = check_scans(self.scans)
        require_several(scans)
        object.__setattr__(self, "scans", scans)
        if not isinstance(self.target, ZGrid | HeightMap):
            raise InputError(
                f"The target is of type {type(self.target).__name__}: give ZGrid(start_um, "
                "stop_um, step_um)."
            )
        method_of(self.method)
        if self.region is not None:
            self.region.check_within(self._field, self.scans[0].name)
            self._check_structure()
        if isinstance(self.target, HeightMap):
            if self.region is not None:
                raise InputError("A surface has no region: crop the scans and the heights.")
            heights = check_heights(self.target.heights_um, self.shape)
            object.__setattr__(self, "target", replace(self.target, heights_um=heights))
        self.size_notes()

    def size_notes(self) -> list[str]:
        """Sentences on heights and sizes that little can come out of; raises where nothing can."""
        z_um = [scan.z_um for scan in self.scans]
        what = "grid" if isinstance(self.target, ZGrid) else "surface"
        reach = reach_notes(z_um, self.ends_um, self.optics, what)
        return pixel_notes(self.optics) + gap_notes(z_um, self.optics) + reach

    @property
    def _field(self) -> tuple[int, int]:
        """(Y, X) of the scans."""
        y, x = self.scans[0].pixels.shape
        return y, x

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) of what is made."""
        return self._field if self.region is None else self.region.shape

    @property
    def field_read(self) -> Region:
        """The part of the scans that a result is made from: a region, and what is around it."""
        if self.region is not None:
            return self.region.widened(_MARGIN, self._field)
        y, x = self._field
        return Region((0, y), (0, x))

    def _check_structure(self) -> None:
        """Refuse a region without structure, although the scans have some elsewhere."""
        for scan in self.scans:
            pixels = self.field_read.of(scan.pixels)
            if pixels.min() == pixels.max():
                raise InputError(
                    f"Of the scans, {named(scan)} is constant in and around the region "
                    f"{self.region} (every pixel is {pixels.flat[0]:g}): choose another part of "
                    "the field."
                )

    def around_region(self) -> tuple[Recipe, Region]:
        """The recipe of a region and of what its light comes from; and the region in its planes."""
        read = self.field_read
        if self.region is None:
            return self, read
        scans = [replace(scan, image=read.of(scan.pixels)) for scan in self.scans]
        return replace(self, scans=scans, region=None), self.region.within(read)

    @property
    def chosen(self) -> Method:
        """The properties of the method."""
        return method_of(self.method)

    @property
    def ends_um(self) -> tuple[float, float]:
        """The lowest and the highest height wanted."""
        if isinstance(self.target, ZGrid):
            return float(self.target.z_um[0]), float(self.target.z_um[-1])
        return float(self.target.heights_um.min()), float(self.target.heights_um.max())

    @property
    def known_optics(self) -> Optics:
        """The optics, or one sentence."""
        if self.optics is None:
            raise InputError(
                f"{self.chosen.title} needs the optics: give NA, emission wavelength, "
                "refractive index and pixel size."
            )
        return self.optics

    @property
    def pixel_size_um(self) -> float:
        """The pixel size, or one sentence."""
        size = self.pixel_um
        if size is None and self.optics is not None:
            size = self.optics.pixel_um
        if size is None:
            raise InputError("A file needs the pixel size: give pixel_um, or optics that have it.")
        return size

    def measured(self, method: str | None = None) -> tuple[Scan, ...]:
        """The scans that stand in the result as they are: none where confocal images are made."""
        target = image_made(method or self.method, self.model)
        return tuple(self.scans) if target == "widefield" else ()

    def provenance(
        self, device: Device | str, seconds: float, check: OwnSampleCheck | None = None
    ) -> dict[str, Any]:
        """How the result was made, JSON-able, to travel with it.

        ``check`` says, for the method auto, what was found and which method was used.
        """
        from .. import __version__

        used = check.chosen if check else self.method
        measured = self.measured(used)
        model: Any = self.model if method_of(used).needs_model else None
        return {
            "software": f"napari-recurrent-mz {__version__}",
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "method": self.method,
            **({} if measured else {"image": CONFOCAL_LIKE}),
            **({"used": used, "check": check.as_dict()} if check else {}),
            "model": {"name": model.name, "sha256": model.sha256} if model else None,
            "scans": [scan.as_dict() for scan in self.scans],
            **({"region": asdict(self.region)} if self.region else {}),
            **self._target_record(measured),
            "optics": self.optics.as_dict() if self.optics else None,
            "device": device if isinstance(device, str) else device.name,
            "seconds": round(seconds, 3),
        }

    def _error_record(self, grid: ZGrid) -> dict[str, Any]:
        """Expected error of linear MMSE for every plane, unless the method knows no optics."""
        if self.optics is None or not self.chosen.needs_optics:
            return {}
        from ..estimates.planning import expected_errors  # with torch

        target = image_made(self.method, self.model)
        error = expected_errors(self.scans, self.optics, grid.z_um, target)
        return {"expected_error": [round(float(value), 4) for value in error]}

    def _target_record(self, scans: Sequence[Scan]) -> dict[str, Any]:
        """Record of the target, and of its parts that are a scan themselves."""
        target = self.target
        if isinstance(target, ZGrid):
            measured = [i for i, z in enumerate(target.z_um) if scan_at(scans, z)]
            return {
                "grid": grid_record(target),
                **self._error_record(target),
                "measured_planes": measured,
                "inferred_planes": len(target) - len(measured),
            }
        pixels = sum(
            int(np.count_nonzero(same_height(scan.z_um, target.heights_um))) for scan in scans
        )
        facts = SurfaceFacts.of(target.heights_um, self.pixel_size_um)
        surface = {"from": target.origin, **asdict(facts), "measured_pixels": pixels}
        if target.points_um is not None:
            surface["points_um"] = np.asarray(target.points_um, dtype=float).tolist()
        return {"surface": surface}
