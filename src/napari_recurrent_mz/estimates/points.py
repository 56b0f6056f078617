"""Points of light that explain the scans, at any place and height: beads, and other puncta.

A ring of blur is explained as well by a ring in the focus of its scan as by a point far from it,
and linear MMSE and a non-negative object choose the first. Here points are looked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch

from ..core.device import Cores, Device, available_cores
from ..core.optics import Optics
from ..core.progress import never, stoppable
from ..core.scans import (
    FloatArray,
    Heights,
    Scans,
    ScanStack,
    in_ordinary_units,
    is_surface,
    stack_of,
)
from .deconvolution import Levels, SheetImages, SheetWeighting
from .lmmse import LinearEstimate, Weights
from .normalisation import noise_of
from .object_windows import WINDOW, ObjectWindows, SpectraStore, Window, in_windows
from .point_fit import ROUNDS, PointFit, Points, pixels_of_sheets

# Of one sheet in one round, times the scans and _BESIDE; the CPU's, per core, was measured.
_SECONDS_PER_PIXEL = {"cuda": 1.3e-10, "mps": 2.2e-9, "cpu": 8.5e-9}
_BESIDE = 1.6
_MANY_PIXELS = 2e6  # of an image in which so many points lie that they take twice the time


class PointsEstimate(SheetImages):
    """Points fitted to scans, and their images at any height."""

    words = "points"

    def __init__(
        self,
        scans: Scans,
        optics: Optics,
        *,
        device: torch.device | None = None,
        stopped: Callable[[], bool] | None = None,
        noise: float | None = None,
        store: SpectraStore | None = None,
    ) -> None:
        stack = stack_of(scans)
        self.scan_z_um, self.optics, self.device = stack.z_um, optics, device
        self.target = "widefield"
        images = torch.from_numpy(stack.images).to(device)
        self.levels = Levels.of(images)
        noise = _noise(stack, self.levels) if noise is None else noise
        on_cpu = images.device.type == "cpu"
        with stoppable(stopped or never), Cores(on_cpu) as cores:
            fit = PointFit(images, stack.z_um, optics, noise, cores)
            found = cores.alone(fit.points)
            left, signal = fit.variances(found)
            # Above 1, the points only do harm.
            self.points = found if left < signal else Points.none()
            """Each where the search has put it."""
            imaged = cores.alone(partial(fit.at_likely_heights, self.points))
            self.variances = fit.variances(imaged)
            """What the points leave of the scans' variance, and that, less the noise's."""
            self.sheets_um, self._spectra = fit.lit_sheets(imaged, store)
        self.table, self.filter = fit.table, fit.filter
        self.spherical = fit.spherical
        """Spherical aberration, waves rms, with which the points explain the scans best."""
        self.size_um = fit.size_um
        """Standard deviation of the Gaussian that the points are as wide as: their own size."""
        self._seen = fit.seen_of(fit.size_um)

    @property
    def count(self) -> int:
        """Number of points."""
        return len(self.points)

    @property
    def unexplained(self) -> float:
        """Part of the scans' variance that the points leave."""
        left, signal = self.variances
        return float(left / signal)

    @property
    def spectra(self) -> Iterable[torch.Tensor]:
        """The transforms of the sheets in which there are points."""
        return self._spectra

    def filtered(
        self, z_um: float | Heights, weights: SheetWeighting, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See :class:`ObjectImages`; zeros where there are no points."""
        if len(self.points):
            return super().filtered(z_um, weights, out)
        count = () if is_surface(z_um) else np.shape(z_um)
        return torch.zeros((*count, *self.filter.shape), device=self.device)

    def _radial(self, z_um: Heights) -> Weights:
        return super()._radial(z_um) * self._seen


class PointsWindows(ObjectWindows[PointsEstimate]):
    """A :class:`PointsEstimate` of a large image: a point near a seam is one of two windows'."""

    def __init__(
        self,
        scans: Scans,
        optics: Optics,
        *,
        device: torch.device | None = None,
        stopped: Callable[[], bool] | None = None,
        size: int | None = None,
    ) -> None:
        stack = stack_of(scans)
        self.levels = Levels.of(torch.from_numpy(stack.images))
        noise, stores = _noise(stack, self.levels), list[SpectraStore]()

        def fitted(part: ScanStack, count: int) -> PointsEstimate:
            if not stores:
                pixels = pixels_of_sheets(part.shape, stack.z_um, optics)
                stores.append(SpectraStore(count * 4 * pixels, device))
            return PointsEstimate(
                part, optics, device=device, stopped=stopped, noise=noise, store=stores[0]
            )

        super().__init__(stack, size or WINDOW, device, fitted)

    @property
    def count(self) -> int:
        """Number of points, of which windows that overlap have a share each."""
        return round(sum(float(shares.sum()) for shares in map(_shares, self.windows)))

    @property
    def unexplained(self) -> float:
        """Part of the scans' variance that the points leave."""
        left, signal = np.sum([window.fit.variances for window in self.windows], axis=0)
        return float(left / signal)

    @property
    def spherical(self) -> float:
        """The mean spherical aberration of all points, waves rms."""
        fits = [window.fit for window in self.windows]
        total = sum(fit.count * fit.spherical for fit in fits)
        return float(total / max(sum(fit.count for fit in fits), 1))


def _shares(window: Window[PointsEstimate]) -> torch.Tensor:
    """Of each point, the share that a window has in the image at its place."""
    points = window.fit.points
    row, column = (
        torch.from_numpy(np.rint(at)).long().clamp(0, size - 1)
        for at, size in zip((points.row, points.column), window.fit.filter.shape, strict=True)
    )
    return window.down.cpu()[row, 0] * window.across.cpu()[column]


PointImages = PointsEstimate | PointsWindows


def points_estimate(
    scans: Scans,
    optics: Optics,
    *,
    device: torch.device | None = None,
    stopped: Callable[[], bool] | None = None,
) -> PointImages:
    """Look for points, in windows where the image is large or memory is short."""
    stack = stack_of(scans)
    how: Any = {"device": device, "stopped": stopped}
    return in_windows(
        stack.shape,
        lambda: PointsEstimate(stack, optics, **how),
        lambda size: PointsWindows(stack, optics, **how, size=size),
    )


class PointsAndLinear:
    """The images of points, and linear MMSE of all that they leave of the scans."""

    def __init__(
        self,
        scans: Scans,
        optics: Optics,
        *,
        reach_um: tuple[float, float] | None = None,
        device: torch.device | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> None:
        stack = stack_of(scans)
        self._unit, images = in_ordinary_units(stack.images)
        stack = stack._replace(images=images)
        self.fit = points_estimate(stack, optics, device=device, stopped=stopped)
        self._linear = LinearEstimate(stack, optics, reach_um=reach_um, device=device)
        self._linear.forget_scans()

    def plane(self, z_um: float | Heights) -> FloatArray:
        """The image at ``z_um`` micrometres (a height, or one for every pixel), float32 (Y, X)."""
        image = self._linear.tensor(z_um) + self.fit.object_gain(z_um)
        return image.cpu().numpy() * np.float32(self._unit)


def points_seconds(shape: tuple[int, int], sheets: int, n_scans: int, device: Device) -> float:
    """Expected time to find points in scans of (Y, X) pixels, if it takes all rounds."""
    # ``sheets`` are the pixels of all sheets, see ``pixels_of_sheets``.
    cores = available_cores() if device.kind == "cpu" else 1
    crowd = 1 + min(math.prod(shape), WINDOW**2) / _MANY_PIXELS
    each = (_BESIDE + n_scans) * _SECONDS_PER_PIXEL[device.kind]
    return ROUNDS * sheets * each * crowd / cores


def _noise(stack: ScanStack, levels: Levels) -> float:
    """Noise of the scans, also where a background taken away has left mostly zeros."""
    each = [noise_of(one) or noise_of(one, is_empty_counted=False) for one in stack.images]
    return max(float(np.median(each)), 1e-3 * levels.bright)
