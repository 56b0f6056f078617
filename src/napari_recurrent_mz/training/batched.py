"""The network's inputs for many sets of scans at once: what a GPU makes examples with.

The same numbers as :class:`~.NetworkInputs` gives set by set, held by a test. Shapes in the
comments: B sets, M scans, T targets, H × W pixels, L sheets, K radial frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ..core.optics import Optics
from ..estimates.covariance import covariance_table
from ..estimates.deconvolution import _FLOOR, _LARGEST_STEP, _SLACK, ITERATIONS, SheetWeights
from ..estimates.lmmse import expected_error, linear_weights, propagation_weights
from ..estimates.normalisation import Normalisation, normalisation
from ..estimates.object_sheets import pixels_per_value
from ..estimates.radial_filter import RadialFilter
from ..networks.inputs import _SECTION_SHARE, Scale, _asinh, _smooth
from ..networks.recurrent_mz import NetworkConfig

_BINS = 256
_NOISE_MASK = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6


@dataclass(frozen=True, eq=False)
class BatchedInputs:
    """What is known of B sets and T targets each; see :class:`~.Prepared`."""

    images: torch.Tensor  # (B, M, H, W), as the network sees them
    carried: torch.Tensor  # (B, T, M, H, W), every scan carried to the target, as it sees them
    distance: torch.Tensor  # (B, T, M), what the DPMs hold
    linear: torch.Tensor  # (B, T, H, W), as are unit and extra; normalised
    unit: torch.Tensor
    extra: torch.Tensor
    misfit: torch.Tensor  # (B, H, W)
    scales: list[Scale]  # of every set


@torch.no_grad()
def batched_inputs(
    counts: torch.Tensor,
    scan_z_um: npt.NDArray[np.float64],
    target_z_um: npt.NDArray[np.float64],
    optics: Optics,
    reach_um: tuple[float, float],
    config: NetworkConfig,
) -> BatchedInputs:
    """Inputs for all targets of all sets.

    ``counts`` are (B, M, H, W) and ``reach_um`` the lowest and highest height of all.
    """
    scales = _scales(counts)
    columns = [
        (one.normalisation.shift, one.normalisation.scale, one.middle, one.contrast, one.spread,
         one.noise)
        for one in scales
    ]  # fmt: skip
    shift, size, middle, contrast, spread, noise = (
        column[:, None, None, None] for column in counts.new_tensor(columns).unbind(1)
    )
    normal = (counts - shift) / size  # (B, M, H, W)
    linear, carried, error = _linear(normal, scan_z_um, target_z_um, optics, reach_um, config)
    extra, misfit = torch.zeros_like(linear), torch.zeros_like(normal[:, 0])
    if config.nonnegative:
        extra, misfit = _object(normal, scan_z_um, target_z_um, optics, config.target)
    if config.target == "confocal":
        light = normal.mean(dim=1, keepdim=True).clamp_min(0)
        brightness = torch.hypot(_smooth(linear**2).sqrt(), _smooth(light) * _SECTION_SHARE)
    else:
        brightness = _smooth((linear - middle) ** 2).sqrt().minimum(spread)
    unit = torch.hypot(error * brightness, 0.3 * noise)
    distance = (target_z_um[:, :, None] - scan_z_um[:, None]) / (
        config.dpm_unit_dof * optics.depth_of_field_um
    )
    return BatchedInputs(
        _asinh((normal - middle) / contrast),
        _asinh((carried - middle[..., None]) / contrast[..., None]),
        counts.new_tensor(distance),
        linear,
        unit,
        extra,
        misfit,
        scales,
    )


# --- the scale of each set ---


def _scales(counts: torch.Tensor) -> list[Scale]:
    """:meth:`Scale.of` for every set."""
    projections = counts.amax(dim=1)  # (B, H, W)
    thresholds = _triangle_thresholds(projections)
    normalisations = []
    for stack, projection, threshold in zip(counts, projections, thresholds, strict=True):
        foreground = projection > threshold
        background = stack.mean(dim=0)[~foreground]
        shift = background.mean() if background.numel() else stack.min()
        bright = projection[foreground]
        top = torch.quantile(bright if bright.numel() else projection.flatten(), 0.99) - shift
        zero, unit, spread = torch.stack([shift, top, stack.max() - stack.min()]).tolist()
        normalisations.append(Normalisation(zero, unit if unit > 0 else max(spread, 1e-6)))
    shift = counts.new_tensor([n.shift for n in normalisations])[:, None, None, None]
    size = counts.new_tensor([n.scale for n in normalisations])[:, None, None, None]
    normal = (counts - shift) / size
    levels = torch.quantile(normal.flatten(1), counts.new_tensor([0.16, 0.5, 0.84]), dim=1)
    table = torch.stack([*levels, normal.flatten(1).std(dim=1, correction=0), _noise(normal)])
    scales = []
    for normalised, row in zip(normalisations, table.T.tolist(), strict=True):
        low, middle, high, spread, noise = row
        contrast = max((high - low) / 2, noise, 1e-3)
        scales.append(Scale(normalised, spread, middle, contrast, noise))
    return scales


def _noise(normal: torch.Tensor) -> torch.Tensor:
    """:func:`~.noise_of`, the median over the scans of each set: (B, M, H, W) → (B,)."""
    wide = functional.pad(normal, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    mask = _NOISE_MASK.to(normal.device)[None, None]
    with torch.backends.cudnn.flags(allow_tf32=False):
        rest = functional.conv2d(wide, mask).abs().flatten(1)
    each = torch.quantile(rest, 0.5, dim=1).view(normal.shape[:2]) / 0.6745
    return torch.quantile(each, 0.5, dim=1)


def _triangle_thresholds(images: torch.Tensor) -> list[float]:
    """:func:`skimage.filters.threshold_triangle` of images (B, H, W)."""
    flat = images.flatten(1)
    low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    bins = ((flat - low) / (high - low) * _BINS).long().clamp(0, _BINS - 1)
    counts = torch.zeros(len(flat), _BINS, device=flat.device)
    counts.scatter_add_(1, bins, torch.ones_like(flat))
    table = torch.cat([counts, low, high], dim=1).cpu().double().numpy()
    return [_triangle(row[:-2], float(row[-2]), float(row[-1])) for row in table]


def _triangle(counts: npt.NDArray[np.float64], low: float, high: float) -> float:
    """The threshold of one histogram (Zack et al., 1977)."""
    filled = np.flatnonzero(counts)
    peak, first, last = int(counts.argmax()), int(filled[0]), int(filled[-1])
    if first == last:
        return low
    turned = peak - first < last - peak
    if turned:
        counts, first, peak = counts[::-1], _BINS - last - 1, _BINS - peak - 1
    width = peak - first
    away = counts[peak] * np.arange(width) - width * counts[first : first + width]
    level = int(away.argmax()) + first
    level = _BINS - level - 1 if turned else level
    return low + (level + 0.5) * (high - low) / _BINS


# --- the linear estimate ---


def _linear(
    normal: torch.Tensor,
    scan_z_um: npt.NDArray[np.float64],
    target_z_um: npt.NDArray[np.float64],
    optics: Optics,
    reach_um: tuple[float, float],
    config: NetworkConfig,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Estimates (B, T, H, W), carried scans (B, T, M, H, W), expected errors (B, T, 1, 1)."""
    table = covariance_table(optics, reach_um[1] - reach_um[0])
    high, wide = normal.shape[-2:]
    filtered = RadialFilter((high, wide), optics, table, normal.device)
    if config.target == "widefield":
        offset = normal.mean(dim=(1, 2, 3), keepdim=True)
    else:
        shifts = [normalisation(stack.cpu().numpy()).shift for stack in normal]
        offset = normal.new_tensor(shifts)[:, None, None, None]
    spectra = [filtered.transform(images) for images in normal - offset]  # (M, Y', X')
    powers = _radial_powers(spectra, filtered, len(table.k))
    linear, carried, errors = [], [], []
    for spectrum, scans, targets, power in zip(
        spectra, scan_z_um, target_z_um, powers, strict=True
    ):
        _, mix = linear_weights(optics, scans, targets, table=table, target=config.target)
        distance = (scans - targets[:, None]).ravel()
        alone = propagation_weights(optics, distance, table=table)[1]
        both = np.stack([mix, alone.reshape(mix.shape)])  # (2, T, M, K)
        response = filtered.response(normal.new_tensor(both))
        linear.append(filtered.back((response[0] * spectrum).sum(dim=1)))
        apart = response[1] * spectrum
        carried.append(filtered.back(apart.flatten(0, 1)).view(*apart.shape[:2], high, wide))
        errors.append(expected_error(table, optics, scans, targets, power, target=config.target))
    error = normal.new_tensor(np.stack(errors))[:, :, None, None]
    return torch.stack(linear) + offset, torch.stack(carried) + offset[..., None], error


def _radial_powers(
    spectra: list[torch.Tensor], filtered: RadialFilter, count: int
) -> npt.NDArray[np.float64]:
    """:attr:`LinearEstimate.radial_power` of every set, (B, K)."""
    nearest = torch.from_numpy(filtered.nearest_node).to(spectra[0].device)
    totals = torch.zeros(len(spectra), count, device=spectra[0].device)
    for total, spectrum in zip(totals, spectra, strict=True):
        total.scatter_add_(0, nearest, (spectrum.abs() ** 2).mean(dim=0).flatten())
    totals[:, 0] = 0
    powers: npt.NDArray[np.float64] = totals.cpu().double().numpy()
    return powers


# --- the non-negative object ---


@dataclass(frozen=True, eq=False)
class _Sheets:
    """The sheets of one fineness, of all sets; sets with fewer of them have dark ones."""

    step: int  # pixels that a value stands for, along each axis
    numbers: npt.NDArray[np.int64]  # (B, L), which sheets they are; −1 for those that only fill up
    response: torch.Tensor  # (B, M, L, Y, X // 2 + 1), from them to the scans

    def here(self) -> torch.Tensor:
        """Which are there, (B, L)."""
        return torch.from_numpy(self.numbers >= 0).to(self.response.device)


class _Objects:
    """The objects of all sets, as :class:`~.NonnegativeEstimate` has each."""

    def __init__(
        self,
        scan_z_um: npt.NDArray[np.float64],
        optics: Optics,
        target: str,
        shape: tuple[int, int],
        device: torch.device,
    ) -> None:
        self.each = [SheetWeights(heights, optics, target) for heights in scan_z_um]
        # One table serves the frequency axis of all: its nodes are the same for any reach.
        self.filter = RadialFilter(shape, optics, self.each[0].table, device)
        self.device, self.padded = device, self.filter.padded
        every = [
            np.array(pixels_per_value(one.scan_z_um, one.sheets_um, optics, one.table, self.padded))
            for one in self.each
        ]
        self.counts = torch.tensor([len(steps) for steps in every], device=device)
        to_scans = [one.radial_to_scans for one in self.each]
        self.classes: list[_Sheets] = []
        for step in sorted({int(n) for steps in every for n in steps}):
            numbers = _filled_up([np.flatnonzero(steps == step) for steps in every])
            response = self._response(to_scans, numbers, step)
            self.classes.append(_Sheets(step, numbers, response))

    def _response(
        self, radial: list[npt.NDArray[np.float64]], numbers: npt.NDArray[np.int64], step: int
    ) -> torch.Tensor:
        """Responses (B, …, L, Y, X // 2 + 1) of radial weights (…, all sheets, K) per set."""
        chosen = np.stack(
            [each[:, at] * (at >= 0)[:, None] for each, at in zip(radial, numbers, strict=True)]
        )
        weights = torch.tensor(chosen, dtype=torch.float32, device=self.device)
        high, wide = self.padded[0] // step, self.padded[1] // step
        response = self.filter.response(weights, (high, wide))
        if step > 1:  # the sign of the highest frequency is not known
            response[..., high // 2, :] = 0
            response[..., wide // 2] = 0
        return response

    def spectra(self, densities: list[torch.Tensor]) -> list[torch.Tensor]:
        """Transforms (B, L, Y, X // 2 + 1, 2) of densities (B, L, Y, X)."""
        return [_forward(density) for density in densities]

    def mixed(self, responses: list[torch.Tensor], spectra: list[torch.Tensor]) -> torch.Tensor:
        """Images (B, M, Y, X) of all sheets filtered by responses (B, M, L, …)."""
        (high, wide), shape = self.padded, responses[0].shape
        total = torch.zeros(*shape[:2], high, wide // 2 + 1, 2, device=self.device)
        for response, spectrum in zip(responses, spectra, strict=True):
            for m in range(shape[1]):
                some = (response[:, m, ..., None] * spectrum).sum(dim=1)
                _low(total[:, m], some)
        return self._image(total)

    def spread(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The adjoint: images (B, M, Y, X) to densities (B, L, Y, X) of every fineness."""
        spectra = _forward(images)
        densities = []
        for sheets in self.classes:
            part = _cut(spectra, sheets.step)
            total = sheets.response[:, 0, ..., None] * part[:, 0, None]
            for m in range(1, images.shape[1]):
                total.addcmul_(sheets.response[:, m, ..., None], part[:, m, None])
            densities.append(self._image(total, sheets.step))
        return densities

    def _image(self, spectra: torch.Tensor, step: int = 1) -> torch.Tensor:
        whole, shape = torch.view_as_complex(spectra), [n // step for n in self.padded]
        images: torch.Tensor = torch.fft.irfft2(whole, s=shape, norm="forward")
        return images

    def crop(self, images: torch.Tensor) -> torch.Tensor:
        """What is seen of padded images."""
        (left, _, top, _), (high, wide) = self.filter.margins, self.filter.shape
        return images[..., top : top + high, left : left + wide]


def _forward(images: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(torch.fft.rfft2(images, norm="forward"))


def _low(total: torch.Tensor, some: torch.Tensor) -> None:
    """Add spectra (B, Y', X', …) to the low frequencies of those of finer images (B, Y, X, …)."""
    if total.shape[1] == some.shape[1]:
        total += some
        return
    half, wide = some.shape[1] // 2, some.shape[2] - 1
    total[:, :half, :wide] += some[:, :half, :wide]
    total[:, 1 - half :, :wide] += some[:, 1 - half :, :wide]


def _cut(spectra: torch.Tensor, step: int) -> torch.Tensor:
    """The low frequencies of spectra (B, M, Y, …), as those of images with larger pixels."""
    if step == 1:
        return spectra
    half = spectra.shape[2] // step // 2
    some = spectra[:, :, :, : (spectra.shape[3] - 1) // step + 1]
    return torch.cat([some[:, :, :half], some[:, :, -half:]], dim=2)


def _filled_up(numbers: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    most = max(len(some) for some in numbers)
    return np.stack([np.pad(some, (0, most - len(some)), constant_values=-1) for some in numbers])


def _object(
    normal: torch.Tensor,
    scan_z_um: npt.NDArray[np.float64],
    target_z_um: npt.NDArray[np.float64],
    optics: Optics,
    target: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the objects add at the targets (B, T, H, W), and leave of the scans (B, H, W)."""
    high, wide = normal.shape[-2:]
    objects = _Objects(scan_z_um, optics, target, (high, wide), normal.device)
    background, bright, mean = _levels(normal)
    signal = normal - background[:, None, None, None]
    start = mean / objects.counts
    spectra = objects.spectra(_richardson_lucy(objects, signal, start, bright))
    to_scans = [sheets.response for sheets in objects.classes]
    misfit = ((signal - objects.crop(objects.mixed(to_scans, spectra))) ** 2).mean(dim=1)
    beyond = [one.beyond(z) for one, z in zip(objects.each, target_z_um, strict=True)]
    extra = []
    for n, radial in enumerate(beyond):  # one set at a time: its responses are many
        some = slice(n, n + 1)
        responses = [
            objects._response([radial], sheets.numbers[some], sheets.step)
            for sheets in objects.classes
        ]
        image = objects.mixed(responses, [spectrum[some] for spectrum in spectra])
        extra.append(objects.crop(image)[0])
    return torch.stack(extra), _smooth(misfit[:, None])[:, 0].sqrt()


def _levels(normal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """:class:`~.Levels` of every set: background, bright and mean, (B,) each."""
    smooth = functional.avg_pool2d(normal, 5, 1).flatten(1)
    dark, middle = torch.quantile(smooth, normal.new_tensor([0.005, 0.5]), dim=1)
    background = dark - _SLACK * (middle - dark)
    bright = (torch.quantile(normal.flatten(1), 0.999, dim=1) - background).clamp_min(1e-12)
    mean = (normal.mean(dim=(1, 2, 3)) - background).maximum(1e-3 * bright)
    return background, bright, mean


def _richardson_lucy(
    objects: _Objects, signal: torch.Tensor, start: torch.Tensor, bright: torch.Tensor
) -> list[torch.Tensor]:
    """Densities (B, L, Y, X) of all sets, as :class:`~.NonnegativeEstimate` finds them."""
    count = signal.shape[1]
    to_scans = [sheets.response for sheets in objects.classes]
    areas = [sheets.step**2 for sheets in objects.classes]
    seen = torch.zeros(*signal.shape[:2], *objects.padded, device=signal.device)
    objects.crop(seen).fill_(1)
    shares = [part.clamp_min_(1e-3 * count).reciprocal_() for part in objects.spread(seen)]
    quotient = torch.zeros_like(seen)
    floor = (_FLOOR * bright)[:, None, None, None]
    data = (signal + floor).clamp_min_(0)
    floor = 1.001 * floor
    now = [
        torch.where(sheets.here(), start[:, None], 0.0)[:, :, None, None].expand_as(share).clone()
        for sheets, share in zip(objects.classes, shares, strict=True)
    ]
    before = [values.clone() for values in now]
    change = [torch.zeros_like(values) for values in now]
    norm = torch.zeros(len(signal), device=signal.device)
    for _ in range(ITERATIONS):
        explained = objects.crop(objects.mixed(to_scans, objects.spectra(now)))
        objects.crop(quotient).copy_(data / (explained.clamp_min_(0) + floor))
        after = objects.spread(quotient)
        along, norm_before, norm = torch.zeros_like(norm), norm, torch.zeros_like(norm)
        for new, share, here, last, area in zip(after, shares, now, change, areas, strict=True):
            new.mul_(share).mul_(here).clamp_min_(0)
            moved = torch.sub(new, here, out=here)
            along += area * torch.linalg.vecdot(moved.flatten(1), last.flatten(1))
            norm += area * torch.linalg.vecdot(moved.flatten(1), moved.flatten(1))
        step = (along / norm_before.clamp_min(1e-30)).clamp(0, _LARGEST_STEP)[:, None, None, None]
        change, spare = now, change
        now = [
            torch.lerp(new, old, -step, out=room).clamp_min_(0)
            for new, old, room in zip(after, before, spare, strict=True)
        ]
        before = after
    return before
