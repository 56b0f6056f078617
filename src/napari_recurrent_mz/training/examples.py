"""Training examples: which planes of a field are scans, what the camera made of them, the truth."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..core.optics import Optics
from ..core.scans import InputError, Scan
from ..estimates.deconvolution import ITERATIONS, NonnegativeEstimate
from ..estimates.object_sheets import LAYOUT
from ..networks.inputs import NetworkInputs, Prepared
from ..networks.recurrent_mz import NetworkConfig
from ..simulation.phantoms import SPARSE
from ..simulation.simulate import Camera
from .fields import Field, Pool

ORDERS = ("random", "depth", "distance")
_REACH_DOF = 47.9


@dataclass(frozen=True)
class ExampleConfig:
    """What the examples of a training run look like.

    Parameters
    ----------
    crop : int
        Lateral pixels of an example.
    targets : int
        Target planes taken from one set of scans.
    scans : tuple of float
        Relative frequency of M = 1, 2, 3, …
    spacing_dof : tuple of float
        Smallest and largest spacing of neighbouring scans, in depths of field.
    photons : tuple of float
        Fewest and most photons at a signal of 1, drawn log-uniformly.
    wrong_optics, wrong_step : float
        Relative standard deviation of the wavelength and of the z-step that the network is
        told, in half of the examples.
    sparse_share : float
        Share of the examples that are drawn from the sparse kinds of sample, where more
        than the linear estimate can be had; the others come from all fields.
    stage_error_dof : float
        Largest standard deviation of the scans' heights, in depths of field, drawn in a
        third of the examples.
    variants : int
        Sets of scans drawn from each field; 0 draws a new one every time. Where finding
        the non-negative object of a set takes longer than a training step, a few sets
        whose objects are kept on disk beside the fields serve the whole run.
    order : str
        How the scans enter: ``random``; by ``depth``, the lowest first; or by ``distance``
        to the target plane, the farthest first (paper, Fig. S6).
    """

    crop: int = 128
    targets: int = 2
    scans: tuple[float, ...] = (0.04, 0.42, 0.40, 0.09, 0.05)
    spacing_dof: tuple[float, float] = (3.0, 16.0)
    photons: tuple[float, float] = (60.0, 50000.0)
    wrong_optics: float = 0.04
    wrong_step: float = 0.05
    stage_error_dof: float = 0.4
    sparse_share: float = 0.4
    variants: int = 0
    order: str = "random"

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise InputError(
                f"The order of the scans, '{self.order}', is not known: choose one of "
                f"{', '.join(ORDERS)}."
            )


class Batch(NamedTuple):
    """Examples of one number of scans."""

    inputs: Prepared  # N examples of M scans
    truth: torch.Tensor  # (N, 1, H, W): noise-free target planes, normalised as the scans are

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(Prepared(*(t.to(device) for t in self.inputs)), self.truth.to(device))


def join(batches: Sequence[Batch], size: int | None = None) -> Batch:
    """Batches of one number of scans as one, cut to ``size`` examples."""
    columns = zip(*(batch.inputs for batch in batches), strict=True)
    joined = Prepared(*(torch.cat(column)[:size] for column in columns))
    return Batch(joined, torch.cat([batch.truth for batch in batches])[:size])


def choose_planes(
    rng: np.random.Generator, planes: int, step_dof: float, count: int, config: ExampleConfig
) -> tuple[npt.NDArray[np.int64], float]:
    """Pick ``count`` scan planes of a stack; also returns their mean spacing in planes."""
    while True:
        chosen, spacing = _drawn_planes(rng, planes, step_dof, count, config)
        if len(chosen) == count:  # rounding now and then merges two planes
            return chosen, spacing


def _drawn_planes(
    rng: np.random.Generator, planes: int, step_dof: float, count: int, config: ExampleConfig
) -> tuple[npt.NDArray[np.int64], float]:
    """The same, but two planes may have become one."""
    low, high = config.spacing_dof
    widest = (planes - 1) / max(count - 1, 1)
    spacing = float(np.exp(rng.uniform(np.log(low), np.log(high)))) / step_dof
    spacing = float(np.clip(spacing, 2.0, widest))
    reach = spacing * (count - 1)
    first = rng.uniform(0, planes - 1 - reach)
    at = first + spacing * np.arange(count)
    if rng.random() < 0.4:
        at = at + rng.uniform(-0.35, 0.35, count) * spacing
    chosen = np.unique(np.clip(np.round(at), 0, planes - 1).astype(np.int64))
    return chosen, spacing


def random_camera(rng: np.random.Generator, config: ExampleConfig) -> Camera:
    """Draw a camera: light level, background and read noise."""
    photons = float(np.exp(rng.uniform(*np.log(config.photons))))
    return Camera(
        photons=photons,
        background=photons * float(rng.choice([0.0, rng.uniform(0, 0.3)])),
        read_noise=float(rng.uniform(0.8, 3.0)),
    )


def make_examples(
    field: Field,
    own: np.random.Generator,
    rng: np.random.Generator,
    config: ExampleConfig,
    network: NetworkConfig,
    count: int,
    device: torch.device | None = None,
    kept: Path | None = None,
) -> Batch:
    """``config.targets`` examples of ``count`` scans from one field.

    ``own`` draws the scans and their noise, ``rng`` the targets and windows. The non-negative
    object of this set of scans is read from ``object_path``, or written there.
    """
    planes = len(field.stack)
    chosen, spacing, order, heights, told, stretch = _draw_scans(field, own, config, count)
    stack = torch.from_numpy(np.array(field.stack[order], dtype=np.float32)).to(device)
    camera = random_camera(own, config)
    generator = torch.Generator(device or "cpu").manual_seed(int(own.integers(2**62)))
    counts = camera.expose(stack, generator).cpu().numpy()
    scans = [Scan(image, z) for image, z in zip(counts, heights, strict=True)]
    # One range for all fields: the covariance tables are few and made once.
    reach = (0.0, max(_REACH_DOF * told.depth_of_field_um, heights.max()))
    inputs = kept_inputs(scans, told, network, reach, device, kept)
    wanted = targets(rng, chosen, spacing, planes, config.targets)
    return _assemble(inputs, field, camera, wanted, stretch, rng, config)


def _draw_scans(
    field: Field, rng: np.random.Generator, config: ExampleConfig, count: int
) -> tuple[
    npt.NDArray[np.int64], float, npt.NDArray[np.int64], npt.NDArray[np.float64], Optics, float
]:
    """Planes, their spacing, their order, the heights and optics that the network is told."""
    planes = len(field.stack)
    step_dof = field.z_step_um / field.optics.depth_of_field_um
    chosen, spacing = choose_planes(rng, planes, step_dof, count, config)
    order = rng.permutation(chosen)
    told, stretch = _told(field.optics, rng, config)
    heights = order * field.z_step_um * stretch
    if rng.random() < 1 / 3:
        sigma = rng.uniform(0, config.stage_error_dof) * field.optics.depth_of_field_um
        heights = heights + np.clip(rng.normal(0, sigma, count), -2 * sigma, 2 * sigma)
        heights = heights + 2e-3 * np.arange(count)  # no two at exactly one height
    return chosen, spacing, order, heights, told, stretch


def entering_order(heights_um: Sequence[float], target_um: float, order: str) -> list[int]:
    """Numbers of the scans in the order in which they enter the network."""
    by = {
        "random": lambda _i: 0.0,  # they were drawn in random order
        "depth": lambda i: heights_um[i],
        "distance": lambda i: -abs(heights_um[i] - target_um),
    }[order]
    return sorted(range(len(heights_um)), key=by)


def kept_inputs(
    scans: Sequence[Scan],
    optics: Optics,
    network: NetworkConfig,
    reach_um: tuple[float, float],
    device: torch.device | None,
    kept: Path | None,
) -> NetworkInputs:
    """The network's inputs; the non-negative object of these scans is, or will be, in ``kept``."""
    density = np.load(kept) if kept is not None and kept.exists() else None
    inputs = NetworkInputs(
        scans, optics, network, reach_um=reach_um, device=device, density=density
    )
    if kept is not None and density is None:
        _keep(inputs, kept)
    return inputs


def _keep(inputs: NetworkInputs, path: Path) -> None:
    """Write the non-negative object of a set of scans, if there is one."""
    if not isinstance(inputs.nonnegative, NonnegativeEstimate):
        return
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.npy")
    # Half precision down to a few millionths of the brightest sheet: enough to image again.
    np.save(partial, inputs.nonnegative.density.cpu().numpy().astype(np.float16))
    partial.rename(path)  # whole or not at all, whoever else writes it


def _told(optics: Optics, rng: np.random.Generator, config: ExampleConfig) -> tuple[Optics, float]:
    """The optics and the stretch of z that the network is told."""
    if rng.random() < 0.5:
        return optics, 1.0
    factor = float(np.exp(np.clip(rng.normal(0, config.wrong_optics), -0.1, 0.1)))
    stretch = float(np.exp(np.clip(rng.normal(0, config.wrong_step), -0.12, 0.12)))
    return replace(optics, wavelength_um=optics.wavelength_um * factor), stretch


def targets(
    rng: np.random.Generator,
    chosen: npt.NDArray[np.int64],
    spacing: float,
    planes: int,
    count: int,
) -> npt.NDArray[np.int64]:
    """Draw target planes among and half a spacing around the scans ``chosen``."""
    low = max(0, int(chosen.min() - spacing / 2))
    high = min(planes - 1, int(chosen.max() + spacing / 2))
    free = np.setdiff1d(np.arange(low, high + 1), chosen)
    found: npt.NDArray[np.int64] = rng.choice(free, count, replace=len(free) < count)
    return found


def _assemble(
    inputs: NetworkInputs,
    field: Field,
    camera: Camera,
    targets: npt.NDArray[np.int64],
    stretch: float,
    rng: np.random.Generator,
    config: ExampleConfig,
) -> Batch:
    parts: list[Batch] = []
    for target in targets:
        z_um = float(target) * field.z_step_um * stretch
        made = inputs.at(z_um)
        entering = entering_order([scan.z_um for scan in inputs.scans], z_um, config.order)
        made = made._replace(scans=made.scans[:, entering])
        truth = normalised_truth(field, int(target), camera, inputs, made)
        *cropped, truth = crop_and_turn((*made, truth[None, None]), rng, config.crop)
        parts.append(Batch(Prepared(*cropped), truth))
    return join(parts)


def normalised_truth(
    field: Field, plane: int, camera: Camera, inputs: NetworkInputs, made: Prepared
) -> torch.Tensor:
    """What the network is to make of a plane: noise-free, normalised as the scans are, (Y, X).

    How much of the light of a confocal stack is background is another thing than in the
    scans, and they cannot tell: its zero is put where the estimates in ``prepared``, the network's
    input for this plane, have it, so that only the structure is left to learn.
    """
    target = inputs.config.target
    signal = torch.from_numpy(np.array(field.truth(target)[plane], dtype=np.float32))
    scale = inputs.normalisation.scale
    if target == "confocal":
        counts = signal.to(made.linear.device) * (camera.photons * camera.gain / scale)
        known = made.linear.mean() + made.extra.mean(dim=(0, 2, 3)).sum()
        return counts - counts.mean() + known
    counts = camera.noiseless(signal).to(made.linear.device)
    return (counts - inputs.normalisation.shift) / scale


def crop_and_turn(
    tensors: tuple[torch.Tensor, ...], rng: np.random.Generator, crop: int
) -> list[torch.Tensor]:
    """The same random window, flip and quarter turn for tensors (…, H, W)."""
    high, wide = tensors[0].shape[-2:]
    top = int(rng.integers(0, max(high - crop, 0) + 1))
    left = int(rng.integers(0, max(wide - crop, 0) + 1))
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    found = []
    for tensor in tensors:
        piece = tensor[..., top : top + crop, left : left + crop]
        piece = torch.rot90(piece, turns, dims=(-2, -1))
        found.append(piece.flip(-1) if flip else piece)
    return found


def draw_count(rng: np.random.Generator, config: ExampleConfig) -> int:
    """Draw a number of scans."""
    share = np.array(config.scans)
    return int(rng.choice(len(share), p=share / share.sum())) + 1


def make_batch(
    pool: Pool,
    seed: int,
    step: int,
    size: int,
    config: ExampleConfig,
    network: NetworkConfig,
    device: torch.device | None = None,
) -> Batch:
    """The batch of one training step: ``size`` examples that share a number of scans.

    Depends on the pool, the seed and the step alone: a resumed run sees the same examples.
    """
    rng = np.random.default_rng([seed, step])
    count = draw_count(rng, config)
    sparse = pool.of_kinds(SPARSE)
    made = []
    for _ in range(-(-size // config.targets)):
        number = int(
            rng.choice(sparse)
            if len(sparse) and rng.random() < config.sparse_share
            else rng.integers(0, len(pool))
        )
        own, kept = rng, None
        if config.variants:
            variant = int(rng.integers(config.variants))
            own = np.random.default_rng([seed, number, variant, count])
            kept = _place(pool.folder, config, seed) / f"{number:05d}_{variant}_{count}.npy"
        made.append(make_examples(pool[number], own, rng, config, network, count, device, kept))
    return join(made, size)


def _place(folder: Path, config: ExampleConfig, seed: int) -> Path:
    """The folder of the objects that belong to sets of scans drawn in this way."""
    drawn = replace(config, crop=0, targets=0, sparse_share=0.0, order="random")
    digest = hashlib.sha256(f"{drawn}{seed}{ITERATIONS}{LAYOUT}".encode()).hexdigest()[:10]
    return folder / f"objects_{digest}"


def ahead(make: Callable[[int], Batch], first_step: int, last_step: int) -> Iterator[Batch]:
    """What ``make`` gives for ``first_step`` … ``last_step - 1``, made two steps ahead."""
    with ThreadPoolExecutor(max_workers=1) as maker:
        waiting = [maker.submit(make, s) for s in range(first_step, min(first_step + 2, last_step))]
        for step in range(first_step, last_step):
            ready = waiting.pop(0).result()
            if step + 2 < last_step:
                waiting.append(maker.submit(make, step + 2))
            yield ready
