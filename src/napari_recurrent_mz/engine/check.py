"""A check on the user's own scans: does the network or linear MMSE do better on this sample?

Inner scans are left out and predicted from the others by both. Lengths are in micrometres.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ..core.arrays import Array
from ..core.device import Device
from ..core.errors import if_possible, listed
from ..core.metrics import Normalisation
from ..core.optics import Optics
from ..core.progress import never, nobody
from ..core.scans import MOST_SCANS, FloatArray, Scan, ScanStack, in_ordinary_units, named
from ..estimates.agreement import exchanged_heights, lateral_shifts
from ..estimates.faults import OUTSHINES, hot_pixels, is_fine, uneven_light
from ..estimates.lmmse import LinearEstimate
from ..estimates.normalisation import noise_of
from ..estimates.points import PointImages, PointsAndLinear
from ..estimates.saturation import AT_LIMIT, LOST, SATURATED, saturated_part
from ..networks.weights import Model
from .tiles import NetworkPlanes

NETWORK, LINEAR = "recurrent-mz", "lmmse"

MARGIN_DB = 1.0
"""How much better linear MMSE must be before it is used, dB: found on simulated fields alone,
as what loses little both with the bundled network and with one that is wrong in one of five."""

MOST_LEFT_OUT = 5
"""How many scans are left out, at most."""

_OTHER_KIND = (
    "The network makes confocal-like images, which wide-field scans cannot check: Recurrent-MZ is "
    "used."
)
_NO_CHECK = "Two scans leave none to check on"
_SMALLEST = 48  # pixels on a side below which scans are not halved
_MOST_UNEXPLAINED = 0.15  # of scans of points; simulated ones leave 0.02 to 0.08
_MARKED_SPHERICAL = 0.03  # waves rms; a Strehl ratio of 0.97
_MOST_WORSE_DB = 6.0  # of a scan as points against linear MMSE; simulated points: up to 4.6
_LEAST = 0.1  # of the squared error stays when the noise of the left-out scan is taken off


@dataclass(frozen=True)
class LeftOut:
    """One inner scan, predicted from the others: PSNRs with the noise of the scan taken off."""

    name: str
    z_um: float
    network_db: float
    linear_db: float


@dataclass(frozen=True)
class OwnSampleCheck:
    """Whether the network or linear MMSE predicts left-out scans better, and a sentence on it."""

    chosen: str  # recurrent-mz or lmmse
    sentence: str
    network_db: float | None = None  # mean over the left-out scans; None with two scans
    linear_db: float | None = None
    per_scan: tuple[LeftOut, ...] = ()

    @property
    def gain_db(self) -> float | None:
        """Gain of the network over linear MMSE, in dB; None with two scans."""
        if self.network_db is None or self.linear_db is None:
            return None
        return self.network_db - self.linear_db

    def as_dict(self) -> dict[str, Any]:
        """Everything, JSON-able, for provenance."""
        return {**asdict(self), "margin_db": MARGIN_DB}


def check_on_scans(
    scans: Sequence[Scan],
    optics: Optics,
    model: Model,
    device: Device,
    *,
    stopped: Callable[[], bool] = never,
) -> OwnSampleCheck:
    """Predict up to five inner scans from the others by the network and by linear MMSE."""
    rising = sorted(scans, key=lambda scan: scan.z_um)
    if model.network.config.target != "widefield":
        return OwnSampleCheck(NETWORK, _OTHER_KIND)
    if len(rising) < 3:
        if not range_warnings([scan.z_um for scan in rising], optics, model):
            return OwnSampleCheck(NETWORK, f"{_NO_CHECK}: Recurrent-MZ is used.")
        return OwnSampleCheck(
            LINEAR,
            f"{_NO_CHECK}, and the network was not trained for them: linear MMSE is used.",
        )
    stack = ScanStack.of(rising)
    small = _halved(ScanStack(in_ordinary_units(stack.images)[1], stack.z_um), optics)
    inner = np.arange(1, len(rising) - 1)
    if len(inner) > MOST_LEFT_OUT:
        inner = inner[np.linspace(0, len(inner) - 1, MOST_LEFT_OUT).round().astype(int)]
    return _by_figures(
        tuple(
            _leave_out(rising[number], small, int(number), optics, model, device, stopped)
            for number in inner
        )
    )


def _by_figures(left_out: tuple[LeftOut, ...]) -> OwnSampleCheck:
    network = float(np.mean([scan.network_db for scan in left_out]))
    linear = float(np.mean([scan.linear_db for scan in left_out]))
    chosen = NETWORK if network > linear - MARGIN_DB else LINEAR
    title = "Recurrent-MZ" if chosen == NETWORK else "linear MMSE"
    near = ", too near to tell" if abs(network - linear) < MARGIN_DB else ""
    sentence = (
        f"On your sample: network {network:.1f} dB, linear MMSE {linear:.1f} dB{near}: "
        f"{title} is used."
    )
    return OwnSampleCheck(chosen, sentence, network, linear, left_out)


@dataclass(frozen=True, eq=False)
class _Halved:
    """The scans as those of a sample of half the size, unless they are too small for that."""

    # A left-out scan leaves a gap of twice the width, which says little of the gaps in the volume.
    # Wide-field images obey the same geometry at every size if all lengths shrink together: with
    # detail filtered as at twice the wavelength, binned 2 × 2 and at half the height, the gap has
    # as many depths of field as one in the volume. The noise lost by that is added again.

    noisy: ScanStack  # as noisy as the scans: what predictions start from
    clean: FloatArray  # (M, Y, X), without added noise: what they are compared with
    # (M,), variance of the noise left in clean, taken off both errors: no method can foresee it
    noise: Array
    span: float  # background to 99.9th percentile, in the scans' units

    def without(self, number: int) -> tuple[ScanStack, float]:
        """The other scans, and the height of one that is left out."""
        every = self.noisy.z_um
        others = self.noisy.at(np.delete(np.arange(len(every)), number))
        return others, float(every[number])


def _halved(stack: ScanStack, optics: Optics) -> _Halved:
    variance = np.array([noise_of(image) ** 2 for image in stack.images])
    span = _span(stack.images)
    if min(stack.shape) < _SMALLEST:
        return _Halved(stack, stack.images, variance, span)
    linear = LinearEstimate(stack, optics)
    rng = np.random.default_rng(0)  # the same answer every time
    white = rng.standard_normal((1, *stack.shape), np.float32)
    remaining = float(_shrink(white, linear).var())
    clean = _shrink(stack.images, linear)
    lost = np.sqrt(variance * max(1 - remaining, 0.0)).astype(np.float32)
    noisy = clean + lost[:, None, None] * rng.standard_normal(clean.shape, np.float32)
    return _Halved(ScanStack(noisy, stack.z_um / 2), clean, variance * remaining, span)


def _span(stack: FloatArray) -> float:
    """Background to 99.9th percentile; the whole range of scans that are all but dark."""
    scale = if_possible(Normalisation.of_stack, stack)
    return scale.foreground - scale.background if scale else float(stack.max() - stack.min())


def _shrink(images: FloatArray, linear: LinearEstimate) -> FloatArray:
    """Filter images (N, Y, X) as if the wavelength were doubled, and bin them 2 × 2."""
    radial = linear.filter
    detail = torch.tensor(_detail(linear.table.k / 2)[None], dtype=torch.float32)
    tensor = torch.from_numpy(images)
    mean = tensor.mean()
    wide = radial.back(radial.response(detail) * radial.transform(tensor - mean)) + mean
    return functional.avg_pool2d(wide[:, None], 2)[:, 0].numpy()


def _detail(part: Array) -> Array:
    """Share of the contrast at a ``part`` of the cut-off 2 NA / λ when the wavelength doubles."""
    # The transfer function of a circular pupil (Goodman, Introduction to Fourier Optics, ch. 6).
    once, twice = (
        (np.arccos(u) - u * np.sqrt(1 - u**2)) * 2 / np.pi
        for u in (np.clip(part, 0, 1), np.clip(2 * part, 0, 1))
    )
    return twice / np.maximum(once, 1e-6)


def _leave_out(
    scan: Scan,
    small: _Halved,
    number: int,
    optics: Optics,
    model: Model,
    device: Device,
    stopped: Callable[[], bool],
) -> LeftOut:
    """Predict one scan from the others, twice, and compare with what it is."""
    others, z_um = small.without(number)
    ends = (float(others.z_um[0]), float(others.z_um[-1]))
    network = NetworkPlanes(
        others, optics, model, device, reach_um=ends, on_message=nobody, stopped=stopped
    )
    linear = LinearEstimate(others, optics, reach_um=ends, device=device.torch)
    return LeftOut(
        scan.name,
        scan.z_um,
        _psnr(network.plane(z_um), small, number),
        _psnr(linear.plane(z_um), small, number),
    )


def points_notes(
    scans: ScanStack, optics: Optics, fit: PointImages, stopped: Callable[[], bool] = never
) -> list[str]:
    """What speaks against the points found in scans, or against the objective."""
    if not fit.count:
        return ["No points were found in these scans: these planes are those of linear MMSE."]
    if fit.unexplained > _MOST_UNEXPLAINED:
        return [
            f"The points found ({fit.count}) leave {fit.unexplained:.0%} of what the scans "
            "show: optics or heights are wrong, or the sample is not made of points. Do not trust "
            "these planes; choose Auto."
        ]
    notes = []
    if abs(fit.spherical) > _MARKED_SPHERICAL:
        notes.append(
            f"The points show spherical aberration ({abs(fit.spherical):.2f} waves rms), which "
            "these planes take into account: have a look at the objective's correction collar, the "
            "immersion and the coverslip."
        )
    if len(scans.images) < 3:
        return notes
    rising = scans.at(np.argsort(scans.z_um, kind="stable"))
    small = _halved(ScanStack(in_ordinary_units(rising.images)[1], rising.z_um), optics)
    number = len(rising.z_um) // 2
    others, z_um = small.without(number)
    makers = (
        PointsAndLinear(others, optics, device=fit.device, stopped=stopped),
        LinearEstimate(others, optics, device=fit.device),
    )
    points_db, linear_db = (_psnr(maker.plane(z_um), small, number) for maker in makers)
    if points_db > linear_db - _MOST_WORSE_DB:
        return notes
    return [
        *notes,
        f"Predicted from the others, at half the size, the scan at {rising.z_um[number]:g} µm is "
        f"{linear_db - points_db:.0f} dB worse as points than by linear MMSE: the sample is not "
        "made of points. Do not trust these planes; choose Auto.",
    ]


def _psnr(predicted: FloatArray, small: _Halved, number: int) -> float:
    """PSNR in dB against a scan without its noise."""
    error = float(np.mean((predicted - small.clean[number]) ** 2, dtype=np.float64))
    error = max(error - small.noise[number], _LEAST * error, 1e-12 * small.span**2)
    return float(10 * np.log10(small.span**2 / error))


def kind_notes(model: Model) -> list[str]:
    """A sentence when a model was trained on one kind of sample alone, which scans cannot show."""
    data = model.card.get("data")
    kinds = data.get("kinds") if isinstance(data, dict) else None
    if not isinstance(kinds, list) or len(kinds) != 1:
        return []
    return [
        f"The model '{model.name}' was trained on one kind of sample alone ({kinds[0]}): for any "
        "other, choose recurrent-mz."
    ]


def saturation_notes(scans: Sequence[Scan]) -> list[str]:
    """A sentence that names the saturated scans; nothing when there is none."""
    shares = [(scan, saturated_part(scan.pixels)) for scan in scans]
    saturated = [f"{named(scan)} ({100 * part:.2g} %)" for scan, part in shares if part > SATURATED]
    if not saturated:
        return []
    return [f"Pixels of these scans are {AT_LIMIT}: {listed(saturated)}. {LOST}"]


def fault_notes(
    scans: Sequence[Scan], optics: Optics | None, planes: Sequence[int] | None = None
) -> list[list[str]]:
    """Sentences on faults of scans, by kind: hot pixels, light, shift to the side, heights."""
    # ``planes`` are the numbers of the scans where all are of one stack, which nobody mixes up.
    light = light_notes(scans, optics)
    if optics is None:
        return [[], light, [], []]
    beside = shift_notes(scans, optics)
    # A scan beside the others agrees with none, whatever the heights.
    is_sure = beside or (planes is not None and _rises_or_falls(scans, planes))
    order = [] if is_sure else order_notes(scans, optics)
    return [hot_pixel_notes(scans, optics), light, beside, order]


def _rises_or_falls(scans: Sequence[Scan], planes: Sequence[int]) -> bool:
    """Whether scans lie in the order of their numbers, or in the opposite one."""
    steps = np.diff([scans[number].z_um for number in np.argsort(planes)])
    return bool((steps > 0).all() or (steps < 0).all())


def hot_pixel_notes(scans: Sequence[Scan], optics: Optics) -> list[str]:
    """A sentence that names the scans with hot pixels; nothing when there is none."""
    counts = [(scan, len(hot_pixels(scan.pixels, optics))) for scan in scans]
    hot = [f"{named(scan)} ({count})" for scan, count in counts if count]
    if not hot:
        return []
    replaces = "replace each by the median of its neighbours first."
    if is_fine(optics):
        return [
            f"Single pixels stand out in {listed(hot)} as no light through this objective can (hot "
            f"pixels, cosmic rays): {replaces}"
        ]
    return [
        f"Single pixels of {listed(hot)} are more than {OUTSHINES:g} times as bright as all "
        "others: if they are hot pixels or cosmic rays, and no points of light smaller than a "
        f"pixel, {replaces}"
    ]


def light_notes(
    scans: Sequence[Scan], optics: Optics | None, newest: Scan | None = None
) -> list[str]:
    """A sentence on scans with less or more light than the others; nothing where there is none."""
    # With ``newest``, only where that one is among them, while it can still be taken again.
    uneven = uneven_light(scans, optics)
    if uneven is None:
        return []
    changed = np.flatnonzero(uneven.gains != 1).tolist()
    if newest is not None and not any(scans[number] is newest for number in changed):
        return []
    least, most = int(uneven.gains.argmin()), int(uneven.gains.argmax())
    if len(changed) == 1 and len(scans) > 2:
        gain = float(uneven.gains[changed[0]])
        which, others = named(scans[changed[0]]), "the scans beside it"
        if not uneven.is_sure:
            others += f", or {'more' if gain < 1 else 'less'} in one of these"
    else:
        gain = float(uneven.gains[least] / uneven.gains[most])
        which, others = named(scans[least]), named(scans[most])
    them = "them" if len(changed) > 1 else "it"
    remedy = f"even {them} out, take {them} again, or leave {them} out"
    if newest is not None:
        remedy = "take it again with the light of the others, or spend less light on each scan"
    return [
        f"There is {100 * abs(gain - 1):.0f} % {'less' if gain < 1 else 'more'} light in {which} "
        f"than in {others}, though a wide-field image loses none with focus (bleached, or another "
        f"exposure or lamp): {remedy}."
    ]


def shift_notes(scans: Sequence[Scan], optics: Optics) -> list[str]:
    """A sentence that names the scans that lie to the side of the others, if there is one."""
    if len(scans) < 3:
        return []
    displaced = np.hypot(*lateral_shifts(scans, optics).T)
    beside = [
        f"{named(scan)} ({px * optics.pixel_um:.2g} µm, {px:.1f} pixels)"
        for scan, px in zip(scans, displaced, strict=True)
        if px
    ]
    if not beside:
        return []
    return [
        f"To the side of the others, as if the stage or the sample had moved, lies "
        f"{listed(beside)}: shift it back, take it again, or leave it out."
    ]


def order_notes(scans: Sequence[Scan], optics: Optics) -> list[str]:
    """A sentence that names two scans whose heights seem to be mixed up, if there are two."""
    pair = exchanged_heights(scans, optics)
    if pair is None:
        return []
    one, other = (f"{named(scans[number])} ({scans[number].z_um:.4g} µm)" for number in pair)
    return [
        f"The scans agree far better with the heights of {one} and {other} exchanged: check both "
        "heights, and the optics."
    ]


def range_warnings(scan_z_um: Sequence[float], optics: Optics, model: Model) -> list[str]:
    """Sentences on what lies outside the range that the model was trained for."""
    trained = model.card.get("trained_for", {})
    z = np.sort(scan_z_um)
    dof = optics.depth_of_field_um
    gap = float(np.diff(z).max()) if len(z) > 1 else 0.0
    nyquist = optics.pixel_um * 2 / optics.resolution_um
    facts = [
        ("na", optics.na, "the NA {:g}", 1.0),
        ("wavelength_um", optics.wavelength_um, "the wavelength {:g} µm", 1.0),
        (
            "pixel_per_nyquist",
            nyquist,
            "pixels {:.2g} times as large as the finest detail needs (half the resolution)",
            1.0,
        ),
        ("spacing_dof", gap / dof, "a gap of {:.1f} µm between scans", dof),
    ]
    if len(z) > MOST_SCANS:
        facts.append(("scans", len(z), "{:g} scans", 1.0))
    warnings = []
    for key, value, text, unit in facts:
        low, high = trained.get(key, (-np.inf, np.inf))
        # Scans closer than in training are easier, not harder.
        below = value < low * 0.99 and key != "spacing_dof"
        if below or value > high * 1.01:
            what = text.format(value * unit)
            ends = dict.fromkeys(f"{end * unit:.3g}" for end in (low, high))
            limits = " to ".join(ends)
            warnings.append(f"The network was not trained for {what} (trained: {limits}).")
    return warnings
