"""A non-negative object that explains the scans through the optics.

Fluorescence cannot be negative. The linear estimate (:mod:`~napari_recurrent_mz.lmmse`) does
not know that; the iteration of Richardson and Lucy does. Here the object is a pile of sheets
above, between and below the scans, each scan is the sum of the sheets blurred by the transfer
function H(k, z) at their distance, and a few accelerated iterations find sheets that account
for the scans. Imaged again at any height, they are an estimate of that plane; what they add to
the linear estimate is one more piece of evidence for the network.

References
----------
Richardson, J. Opt. Soc. Am. 62:55 (1972); Lucy, Astron. J. 79:745 (1974); acceleration: Biggs
and Andrews, Appl. Opt. 36:1766 (1997); unknown light beyond the edges: Bertero and Boccacci,
Astron. Astrophys. 437:369 (2005).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from .covariance import transfer_table
from .lmmse import RadialFilter, Weights, linear_weights
from .optics import Optics
from .scans import FloatArray, Scan, check_scans

ITERATIONS = 30
"""Enough for isolated structure to draw together, few enough that noise does not."""

_SHEET_DOF = 2.0  # finer sheets change nothing that the scans can tell
_MARGIN_DOF = 14.0  # light from farther above or below is even enough for the outermost sheet
_SLACK = 0.25  # see _background
_FLOOR = 0.005  # of the bright signal: keeps quotients tame where there is no light
_LARGEST_STEP = 0.98


class Interrupted(Exception):  # noqa: N818
    """Somebody asked to stop between two iterations."""


class NonnegativeEstimate:
    """A non-negative object fitted to scans, and its image at any height.

    Parameters
    ----------
    scans : sequence of Scan
        One or more scans of one shape, in any order.
    optics : Optics
    iterations : int, optional
        Richardson-Lucy iterations, at or above 0.
    density : numpy.ndarray, shape (L, Y', X'), optional
        An object found before: the iterations go on from it.
    device : torch.device, optional
        Where to compute.
    stopped : callable, optional
        Asked before every iteration; True ends in :class:`Interrupted`.
    target : {"widefield", "confocal"}, optional
        How the object is imaged again; the scans are wide-field ones.

    Attributes
    ----------
    sheets_um : numpy.ndarray, shape (L,)
        Heights of the object's sheets, in micrometres.
    density : torch.Tensor, shape (L, Y', X')
        The object, on the padded field.
    background : float
        Intensity, in the scans' units, that no object accounts for.

    Raises
    ------
    InputError
        If the scans do not fit together.
    """

    def __init__(
        self,
        scans: Sequence[Scan],
        optics: Optics,
        *,
        iterations: int = ITERATIONS,
        density: npt.NDArray[np.floating] | None = None,
        device: torch.device | None = None,
        stopped: Callable[[], bool] | None = None,
        target: str = "widefield",
    ) -> None:
        self.scans = check_scans(scans)
        self.optics, self.device, self.target = optics, device, target
        self.scan_z_um = np.array([scan.z_um for scan in self.scans])
        self.sheets_um = _sheets(self.scan_z_um, optics.depth_of_field_um)
        reach = float(self.sheets_um[-1] - self.sheets_um[0])
        self._table = transfer_table(optics, reach)
        shape = self.scans[0].pixels.shape
        self.filter = RadialFilter((shape[0], shape[1]), optics, self._table, device)
        images = torch.stack([torch.tensor(scan.pixels) for scan in self.scans]).to(device)
        self.background = _background(images)
        signal = images - self.background
        self._bright = float(_quantile(signal, 0.999).clamp_min(1e-12))
        self._to_scans = torch.stack([self._responses(z) for z in self.scan_z_um])
        if density is None:
            level = max(float(signal.mean()), 1e-3 * self._bright) / len(self.sheets_um)
            start = torch.full((len(self.sheets_um), *self.filter.padded), level, device=device)
        else:
            start = torch.as_tensor(np.asarray(density, np.float32), device=device)
        self.density = self._iterate(start, signal, iterations, stopped or _never)

    def tensor(self, z_um: float) -> torch.Tensor:
        """The object's image at ``z_um``: tensor (Y, X) on the device, in the scans' units."""
        return self._image(self._spread(self._imaged(z_um))) + self.background

    def plane(self, z_um: float) -> FloatArray:
        """The object's image at ``z_um`` micrometres, float32 (Y, X), in the scans' units."""
        found: FloatArray = self.tensor(z_um).cpu().numpy()
        return found

    def beyond_linear(self, z_um: float) -> torch.Tensor:
        """What the object adds to the linear MMSE estimate of a plane.

        Its image at ``z_um`` less the linear estimate from its images at the scans: nothing
        where the linear estimate already says all that the object knows.

        Returns
        -------
        torch.Tensor, shape (Y, X)
            In the scans' units; at the height of a scan, zero for a wide-field target.
        """
        _, mix = linear_weights(self.optics, self.scan_z_um, z_um, target=self.target)
        radial = self._imaged(z_um) - np.einsum(
            "mk,mlk->lk", mix[0], np.stack([self._radial(z) for z in self.scan_z_um])
        )
        return self._image(self._spread(radial))

    @cached_property
    def misfit(self) -> torch.Tensor:
        """What the object leaves unexplained of each scan: tensor (M, Y, X)."""
        images = torch.stack([torch.tensor(scan.pixels) for scan in self.scans]).to(self.device)
        return images - torch.stack([self._image(h) for h in self._to_scans]) - self.background

    def _iterate(
        self,
        start: torch.Tensor,
        signal: torch.Tensor,
        iterations: int,
        stopped: Callable[[], bool],
    ) -> torch.Tensor:
        """Accelerated Richardson-Lucy on the padded field, of which only the middle is seen."""
        if not iterations:
            return start
        y, x = self.filter.pad
        pad = (x, x, y, y)
        seen = torch.nn.functional.pad(torch.ones_like(signal), pad)
        floor = _FLOOR * self._bright
        data = torch.nn.functional.pad((signal + floor).clamp_min(0), pad)
        weight = self._to_object(seen).clamp_min_(1e-3 * len(signal))
        now, before, change = start, start, None
        for _ in range(iterations):
            if stopped():
                raise Interrupted
            explained = self._blur(now).clamp_min_(0).add_(1.001 * floor)
            after = (now * (self._to_object(data / explained) / weight)).clamp_min_(0)
            moved, step = after - now, 0.0
            if change is not None:
                step = float((moved * change).sum() / (change * change).sum().clamp_min(1e-30))
            step = min(max(step, 0.0), _LARGEST_STEP)
            now = (after + step * (after - before)).clamp_min_(0)
            before, change = after, moved
        return before

    def _blur(self, density: torch.Tensor) -> torch.Tensor:
        """The object's images at the scans, on the padded field: (L, …) → (M, …)."""
        spectra = torch.fft.rfft2(density)
        mixed = torch.stack([(spectra * h).sum(dim=0) for h in self._to_scans])
        found: torch.Tensor = torch.fft.irfft2(mixed, s=self.filter.padded)
        return found

    def _to_object(self, images: torch.Tensor) -> torch.Tensor:
        """The adjoint of :meth:`_blur`: (M, …) → (L, …)."""
        mixed = torch.zeros((), device=images.device)
        for spectrum, h in zip(torch.fft.rfft2(images), self._to_scans, strict=True):
            mixed = mixed + spectrum * h
        found: torch.Tensor = torch.fft.irfft2(mixed, s=self.filter.padded)
        return found

    def _image(self, responses: torch.Tensor) -> torch.Tensor:
        """Σ over the sheets, filtered by ``responses`` (L, Y', X'/2 + 1): (Y, X)."""
        return self.filter.back((self._spectra * responses).sum(dim=0, keepdim=True))[0]

    @cached_property
    def _spectra(self) -> torch.Tensor:
        found: torch.Tensor = torch.fft.rfft2(self.density)
        return found

    def _radial(self, z_um: float) -> Weights:
        """H(k, z − sheet), shape (L, K)."""
        return self._table.at((z_um - self.sheets_um) / self.optics.depth_of_field_um)

    def _imaged(self, z_um: float) -> Weights:
        """The same for the image wanted, shape (L, K)."""
        if self.target == "widefield":
            return self._radial(z_um)
        # A confocal section is thinner than the sheets are apart: the object between them is
        # taken as a straight blend of its neighbours.
        dof = self.optics.depth_of_field_um
        apart = float(self.sheets_um[1] - self.sheets_um[0])
        table = transfer_table(self.optics, float(np.ptp(self.sheets_um)), self.target)
        between = np.linspace(-1, 1, 17)
        share = (1 - np.abs(between)) / np.sum(1 - np.abs(between))
        distance = z_um - self.sheets_um[:, None] - between * apart
        blended: Weights = np.einsum("b,lbk->lk", share, table.at(distance / dof))
        return blended

    def _responses(self, z_um: float) -> torch.Tensor:
        return self._spread(self._radial(z_um))

    def _spread(self, radial: Weights) -> torch.Tensor:
        return self.filter.response(torch.tensor(radial, dtype=torch.float32, device=self.device))


def _never() -> bool:
    return False


def _sheets(scan_z_um: npt.NDArray[np.float64], dof: float) -> npt.NDArray[np.float64]:
    low, high = scan_z_um.min() - _MARGIN_DOF * dof, scan_z_um.max() + _MARGIN_DOF * dof
    count = int(np.ceil((high - low) / (_SHEET_DOF * dof))) + 1
    return np.linspace(low, high, count)


def _quantile(values: torch.Tensor, q: float) -> torch.Tensor:
    flat = values.flatten()
    return torch.quantile(flat[:: max(1, flat.numel() // 1_000_000)], q)


def _background(images: torch.Tensor) -> float:
    """Even intensity below everything: camera offset and stray light.

    The darkest smoothed pixels, less a part of their distance to the median: dense samples
    have haze everywhere, which the object may account for, and a background too high would
    forbid it to.
    """
    smooth = torch.nn.functional.avg_pool2d(images[:, None], min(5, *images.shape[-2:]), 1)
    dark, middle = float(_quantile(smooth, 0.005)), float(_quantile(smooth, 0.5))
    return dark - _SLACK * (middle - dark)
