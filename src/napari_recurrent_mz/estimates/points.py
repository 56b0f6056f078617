"""Points of light that explain the scans, at any place and height: beads, and other puncta.

A ring of blur is explained as well by a ring in the focus of its scan as by a point far from it,
and linear MMSE and a non-negative object choose the first. Here points are looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from ..core.device import Cores, Device, available_cores
from ..core.optics import Optics
from ..core.progress import never, stoppable
from ..core.scans import FloatArray, Heights, Scans, in_ordinary_units, is_surface, stack_of
from .deconvolution import Levels, SheetImages, SheetWeighting
from .lmmse import LinearEstimate, Weights
from .normalisation import noise_of
from .point_fit import ROUNDS, PointFit, Points

# Of one sheet in one round; the CPU's, per core, was measured, with as many sheets.
_SECONDS_PER_PIXEL = {"cuda": 6e-10, "mps": 1e-8, "cpu": 4e-8}
_SHEETS = 90


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
    ) -> None:
        stack = stack_of(scans)
        self.scan_z_um, self.optics, self.device = stack.z_um, optics, device
        self.target = "widefield"
        images = torch.from_numpy(stack.images).to(device)
        self.levels = Levels.of(images)
        noise = float(np.median([_noise(image) for image in stack.images]))
        on_cpu = images.device.type == "cpu"
        with stoppable(stopped or never), Cores(on_cpu) as cores:
            least = 1e-3 * self.levels.bright
            fit = PointFit(images, stack.z_um, optics, max(noise, least), cores)
            found = cores.alone(fit.points)
            # Of the scans' variance, less that of the noise: above 1, the points only do harm.
            self.unexplained = fit.unexplained(found)
            self.points = found if self.unexplained < 1 else Points.none()
            self.sheets_um, self._spectra = fit.lit_sheets(self.points)
        self.table, self.filter = fit.table, fit.filter
        self.spherical = fit.spherical
        """Spherical aberration, waves rms, with which the points explain the scans best."""
        self.size_um = fit.size_um
        """Standard deviation of the Gaussian that the points are as wide as: their own size."""
        self._seen = fit.seen_of(fit.size_um)

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
        self.fit = PointsEstimate(stack, optics, device=device, stopped=stopped)
        self._linear = LinearEstimate(stack, optics, reach_um=reach_um, device=device)
        self._linear.forget_scans()

    def plane(self, z_um: float | Heights) -> FloatArray:
        """The image at ``z_um`` micrometres (a height, or one for every pixel), float32 (Y, X)."""
        image = self._linear.tensor(z_um) + self.fit.object_gain(z_um)
        return image.cpu().numpy() * np.float32(self._unit)


def points_seconds(shape: tuple[int, int], device: Device) -> float:
    """Expected time to find points in scans of (Y, X) pixels, from operation counts."""
    pixels = (shape[0] + 256) * (shape[1] + 256)
    cores = available_cores() if device.kind == "cpu" else 1
    return ROUNDS * _SHEETS * pixels * _SECONDS_PER_PIXEL[device.kind] / cores


def _noise(image: FloatArray) -> float:
    """Noise of a scan, also where a background taken away has left mostly zeros."""
    return noise_of(image) or noise_of(image, is_empty_counted=False)
