"""Input of the network, in training as in use: normalised scans, distances, linear estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from ..core.device import uploaded
from ..core.optics import Optics
from ..core.scans import FloatArray, Heights, Scans, ScanStack, is_surface, stack_of
from ..estimates.deconvolution import ObjectImages
from ..estimates.lmmse import LinearEstimate
from ..estimates.normalisation import Normalisation, noise_of, normalisation, quantile
from ..estimates.object_windows import nonnegative_estimate
from ..estimates.points import points_estimate
from .recurrent_mz import NetworkConfig


class Prepared(NamedTuple):
    """The network's input for N planes, normalised; a DPM's unit is ``dpm_unit_dof``."""

    scans: torch.Tensor  # (N, M, C, H, W): image, DPM (target − scan), propagated scan if any
    linear: torch.Tensor  # (N, 1, H, W): the linear MMSE estimate
    # (N, 1, H, W): its expected error, the unit of corrections; it goes with the brightness
    # of the neighbourhood, has the noise of the scans for a floor, and fades far from them.
    unit: torch.Tensor
    skip: torch.Tensor  # (N, S, H, W): the estimate as the network sees it, what the objects say
    extra: torch.Tensor  # (N, E, H, W): the objects' gain over the linear estimate, faded

    def faded(self, distance: torch.Tensor, config: NetworkConfig) -> Prepared:
        """The same with corrections held back as ``fade_dof`` says, given all DPMs (N, M, …)."""
        if not config.fade_dof:
            return self
        share = correction_share(distance * (config.dpm_unit_dof / config.fade_dof))
        return self._replace(unit=self.unit * share, extra=self.extra * share)


def correction_share(distance: torch.Tensor) -> torch.Tensor:
    """What is added of a correction, (N, 1, …), so far (N, M, …) from the scans."""
    # ``distance`` is target − scan over ``NetworkConfig.fade_dof``.
    away = distance.abs().amin(1, keepdim=True)
    outside = torch.maximum(distance.amin(1, keepdim=True), -distance.amax(1, keepdim=True))
    return 0.5 + 0.5 / (1 + (away + outside.clamp_min(0)) ** 2)


@dataclass(frozen=True)
class Scale:
    """How the network sees the intensities of some scans: what they are measured against."""

    normalisation: Normalisation  # to the units of all that follows
    spread: float  # standard deviation of the scans
    middle: float  # median of the scans
    contrast: float  # the unit of the network's asinh
    noise: float  # standard deviation of the noise of a scan

    @classmethod
    def of(cls, stack: FloatArray, normalised: Normalisation | None = None) -> Scale:
        """The scale of scans (M, Y, X), with their own normalisation unless one is given."""
        normalised = normalised or normalisation(stack)
        normal = normalised.apply(stack)
        low, middle, high = (quantile(normal, part) for part in (0.16, 0.5, 0.84))
        noise = float(np.median([noise_of(image) for image in normal]))
        contrast = max((high - low) / 2, noise, 1e-3)
        return cls(normalised, float(normal.std()), middle, contrast, noise)


class NetworkInputs:
    """Prepares scans once, on their scale or a ``fixed`` one, then gives input for any plane."""

    def __init__(
        self,
        scans: Scans,
        optics: Optics,
        config: NetworkConfig,
        *,
        reach_um: tuple[float, float] | None = None,
        device: torch.device | None = None,
        fixed: Normalisation | Scale | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> None:
        images, self.scan_z_um = stack_of(scans)
        self.config = config
        self.optics = optics
        self.device = device
        self.scale = fixed if isinstance(fixed, Scale) else Scale.of(images, fixed)
        self.normalisation = self.scale.normalisation
        normal = self.normalisation.apply(images)
        normalised = ScanStack(normal, self.scan_z_um)
        self.linear = LinearEstimate(
            normalised, optics, reach_um=reach_um, device=device, target=config.target
        )
        self.objects: list[ObjectImages] = []
        if config.nonnegative:
            fit = nonnegative_estimate(
                normalised, optics, target=config.target, device=device, stopped=stopped
            )
            self.objects.append(fit)
        if config.points:
            self.objects.append(points_estimate(normalised, optics, device=device, stopped=stopped))
        # (Y, X), what each object leaves of the scans, root mean square in a neighbourhood
        self.residuals_rms = [self._residual(one, normal) for one in self.objects]
        self.linear.forget_scans()
        self._light = torch.from_numpy(normal.mean(axis=0).clip(min=0)).to(device)
        self._images = self._as_seen(torch.from_numpy(normal).to(device))
        self._floor = self._light.new_tensor(0.3 * self.scale.noise)

    def _residual(self, estimate: ObjectImages, normal: FloatArray) -> torch.Tensor:
        """Residual of the object, root mean square over the scans and a neighbourhood: (Y, X)."""
        total = torch.zeros(normal.shape[1:], device=self.device)
        for number, image in enumerate(normal):
            total += (torch.from_numpy(image).to(self.device) - estimate.explained(number)) ** 2
        return _smooth((total / len(normal))[None, None])[0, 0].sqrt()

    def at(self, z_um: float | Heights, first: int = 0) -> Prepared:
        """Input for ``z_um``: one height, several (T,), or one for every pixel (Y, X)."""
        return self.parts(z_um, first).window()

    def parts(
        self, z_um: float | Heights, first: int = 0, over: PlaneParts | None = None
    ) -> PlaneParts:
        """The parts of the input that need transforms of whole images, in memory of ``over``."""
        at = np.asarray(z_um, dtype=float)
        at = at if is_surface(at) else at.ravel()

        def each(planes: torch.Tensor) -> torch.Tensor:
            return planes[None] if is_surface(at) else planes

        memory: tuple[torch.Tensor | None, ...] = (None,) * (2 + len(self.objects))
        if over is not None and over.first == first and over.z_um.shape == at.shape == (len(at),):
            memory = over.linear, over.propagated, *over.extras
        linear = each(self.linear.tensor(at, memory[0]))
        propagated = None
        if self.config.propagated_input:
            propagated = each(self.linear.propagated(at, first, memory[1]))
        extras = [
            each(one.object_gain(at, out))
            for one, out in zip(self.objects, memory[2:], strict=True)
        ]
        return PlaneParts(self, at, first, propagated, linear, self._error(at), extras)

    def _window(self, whole: PlaneParts, rows: slice, columns: slice) -> Prepared:
        """The input for a window of some planes."""
        at, first = (..., rows, columns), whole.first
        images = self._images[first:][at].expand(len(whole.linear), -1, -1, -1)
        distance = self._distances(whole.z_um, rows, columns)
        channels = [images, distance[:, first:].expand_as(images)]
        if whole.propagated is not None:
            channels.append(self._as_seen(whole.propagated[at]))
        linear = whole.linear[at][:, None]
        error = whole.error[at] if is_surface(whole.z_um) else whole.error
        unit = torch.hypot(error * self._brightness(whole, rows, columns), self._floor)
        skip, extra = self._skip_and_extra(whole, linear, unit, at)
        given = Prepared(torch.stack(channels, dim=2), linear, unit, skip, extra)
        return given.faded(distance, self.config)

    def _distances(self, z_um: Heights, rows: slice, columns: slice) -> torch.Tensor:
        """The DPMs of a window: one number for each plane and scan, or a map for each scan."""
        unit_um = self.config.dpm_unit_dof * self.optics.depth_of_field_um
        heights = z_um[None, rows, columns] if is_surface(z_um) else z_um[:, None, None]
        return uploaded((heights[:, None] - self.scan_z_um[:, None, None]) / unit_um, self.device)

    def _error(self, z_um: Heights) -> torch.Tensor:
        """Expected error of the linear estimate of planes or a surface, to go with (T, 1, Y, X)."""
        if is_surface(z_um):
            return torch.from_numpy(self.linear.error_along(z_um)).to(self.device)[None, None]
        return uploaded(self.linear.expected_error(z_um)[:, None, None, None], self.device)

    def _skip_and_extra(
        self, whole: PlaneParts, linear: torch.Tensor, unit: torch.Tensor, at: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``skip`` and ``extra`` of :class:`Prepared`."""
        channels, extras = [self._as_seen(linear)], [linear[:, :0]]
        for whole_extra, residual_rms in zip(whole.extras, self.residuals_rms, strict=True):
            extra = whole_extra[at][:, None]
            channels += [_asinh(extra / unit), _asinh(residual_rms[at] / unit)]
            extras.append(extra)
        return torch.cat(channels, dim=1), torch.cat(extras, dim=1)

    def _brightness(self, whole: PlaneParts, rows: slice, columns: slice) -> torch.Tensor:
        """Root mean square about the median in the neighbourhood; of a confocal, about 0."""
        pairs = zip((rows, columns), whole.linear.shape[1:], strict=True)
        (wide_rows, inner_rows), (wide_columns, inner_columns) = (_wider(*pair) for pair in pairs)
        wide, inner = (wide_rows, wide_columns), (..., inner_rows, inner_columns)
        linear = whole.linear[(..., *wide)][:, None]
        if self.config.target == "confocal":
            haze = _smooth(self._light[wide][None, None]) * _SECTION_SHARE
            return torch.hypot(_smooth(linear**2).sqrt(), haze)[inner]
        spread = _smooth((linear - self.scale.middle) ** 2).sqrt().clamp(max=self.scale.spread)
        return spread[inner]

    def _as_seen(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised intensities as the network sees them; see ``NetworkConfig.contrast``."""
        if self.config.contrast == "linear":
            return image
        return _asinh((image - self.scale.middle) / self.scale.contrast)


@dataclass(frozen=True, eq=False)
class PlaneParts:
    """Estimates of whole planes, normalised, of which the network sees a window."""

    inputs: NetworkInputs
    z_um: Heights  # (T,), or (Y, X) of a surface, which is one plane
    first: int  # number of the first scan in ``propagated``
    propagated: torch.Tensor | None  # (T, M, Y, X): the scans, each carried to the planes
    linear: torch.Tensor  # (T, Y, X): the linear MMSE estimate
    error: torch.Tensor  # (T, 1, 1, 1) or (1, 1, Y, X), in standard deviations of a plane
    extras: list[torch.Tensor]  # (T, Y, X), what each object adds to the linear estimate

    def window(
        self,
        rows: slice = slice(None),
        columns: slice = slice(None),
        over: Prepared | None = None,
    ) -> Prepared:
        """The network's input for a window, in the memory of ``over`` where that fits."""
        if self.linear.device.type != "cpu":
            return self.inputs._window(self, rows, columns)
        # Some rows at a time, so that intermediate results stay in the caches.
        start, stop, _ = rows.indices(self.linear.shape[1])
        for low in range(start, stop, _ROWS):
            high = min(low + _ROWS, stop)
            some = self.inputs._window(self, slice(low, high), columns)
            over = _reusable(some, stop - start, over)
            for whole, part in zip(over, some, strict=True):
                whole[..., low - start : high - start, :] = part
        assert over is not None
        return over


def _reusable(some: Prepared, rows: int, over: Prepared | None) -> Prepared:
    """Room for some rows of an input and all others: what was found, if that fits."""
    shapes = [(*part.shape[:-2], rows, part.shape[-1]) for part in some]
    if over is not None and [tuple(part.shape) for part in over] == shapes:
        return over
    return Prepared(*(part.new_empty(shape) for part, shape in zip(some, shapes, strict=True)))


def _wider(part: slice, length: int) -> tuple[slice, slice]:
    """A slice with the neighbours that :func:`_smooth` looks at, and where it is in that."""
    start, stop, _ = part.indices(length)
    low, high = max(start - _REACH, 0), min(stop + _REACH, length)
    return slice(low, high), slice(start - low, stop - low)


_ROWS = 256  # that a CPU makes the input of at a time
_REACH = 8  # pixels that _smooth looks at on each side
_SECTION_SHARE = 0.1  # of the light of a sample ten depths of field thick


def _smooth(image: torch.Tensor) -> torch.Tensor:
    """Local mean of the pixels of (N, C, H, W): twice a box of 9 is a smooth window of 17."""
    rows, columns = (_inside(length, image.device) for length in image.shape[-2:])
    share = torch.outer(rows, columns).reciprocal_()
    for _ in range(2):
        image = _box_sum(_box_sum(image, -2), -1).mul_(share)
    return image


def _box_sum(image: torch.Tensor, axis: int) -> torch.Tensor:
    """Sums of 9 neighbours along an axis, zeros beyond the edges: four additions instead of 8."""
    length = image.shape[axis]
    wide = functional.pad(image, (4, 4) if axis == -1 else (0, 0, 4, 4))
    total = wide
    for shift in (1, 2, 4):  # of 2, 4 and 8 neighbours
        left = total.shape[axis] - shift
        total = total.narrow(axis, 0, left) + total.narrow(axis, shift, left)
    return total.narrow(axis, 0, length).add_(wide.narrow(axis, 8, length))


def _inside(length: int, device: torch.device) -> torch.Tensor:
    """How many of a pixel's 9 neighbours along an axis are in the image."""
    at = torch.arange(length, dtype=torch.float32, device=device)
    return at.clamp(max=4) + at.flip(0).clamp(max=4) + 1


def _asinh(values: torch.Tensor) -> torch.Tensor:
    """The inverse hyperbolic sine, to the precision of its values."""
    if values.device.type != "cpu":
        return torch.asinh(values)
    # PyTorch's asinh is not vectorised on a CPU; its logarithm and square root are.
    size = values.abs()
    root = torch.addcmul(size.new_ones(()), size, size).sqrt_().add_(1)
    return torch.div(size, root, out=root).mul_(size).add_(size).log1p_().copysign_(values)
