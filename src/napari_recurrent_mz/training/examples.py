"""Training examples: which planes of a field are scans, what the camera made of them, the truth."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
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
from .losses import FLOOR

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
    truth: torch.Tensor  # (N, 1, H, W): target planes in the units of the output
    linear: torch.Tensor  # the same of the linear estimate
    floor: torch.Tensor  # (N,), mean squared error below which nothing is told apart

    @classmethod
    def of(cls, inputs: Prepared, truth: torch.Tensor, floor: float = FLOOR) -> Batch:
        """Examples whose truth is normalised as the scans are."""
        return cls(inputs, truth, inputs.linear, truth.new_full((len(truth),), floor))

    def tensors(self) -> list[torch.Tensor]:
        """All of them, in their order."""
        return [*self.inputs, *self[1:]]

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """The same with every tensor changed."""
        changed = [change(tensor) for tensor in self.tensors()]
        inputs = len(self.inputs)
        return Batch(Prepared(*changed[:inputs]), *changed[inputs:])

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return self.each(lambda tensor: tensor.to(device))


def join(batches: Sequence[Batch], size: int | None = None) -> Batch:
    """Batches of one number of scans as one, cut to ``size`` examples."""
    columns = zip(*(batch.tensors() for batch in batches), strict=True)
    joined = iter([torch.cat(column)[:size] for column in columns])
    return batches[0].each(lambda _: next(joined))


@dataclass(frozen=True)
class View:
    """Which part of images is shown, and how: the same for all of a batch."""

    top: int = 0
    left: int = 0
    size: int = 0  # of the window; 0 is the whole
    turned: bool = False  # rows become columns
    flipped_rows: bool = False
    flipped_columns: bool = False
    order: torch.Tensor | None = None  # (M,), in which the scans enter
    by: str = "random"  # or an order of ORDERS, in place of that

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        shape: Sequence[int],
        crop: int,
        order: torch.Tensor | None,
        by: str,
    ) -> View:
        """A random view of at most ``crop`` pixels a side out of (H, W)."""
        top, left = (int(rng.integers(0, max(length - crop, 0) + 1)) for length in shape)
        turned, rows, columns = (rng.random(3) < 0.5).tolist()
        return cls(top, left, crop, turned, rows, columns, order, by)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns."""
        if not self.size:
            return slice(None), slice(None)
        return slice(self.top, self.top + self.size), slice(self.left, self.left + self.size)

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Turned and flipped: (…, H, W)."""
        if self.turned:
            values = values.transpose(-1, -2)
        axes = [
            axis for axis, flip in ((-2, self.flipped_rows), (-1, self.flipped_columns)) if flip
        ]
        return values.flip(axes) if axes else values

    def shown(self, values: torch.Tensor) -> torch.Tensor:
        """The window, turned and flipped, of whole images (…, H, W)."""
        return self.of(values[(..., *self.window)])

    def entering(self, distance: torch.Tensor) -> torch.Tensor | None:
        """Which scan enters when, (N, M), by their distances (N, M), target − scan."""
        if self.by == "random":
            return None if self.order is None else self.order.expand_as(distance)
        key = distance if self.by == "depth" else distance.abs()
        return key.argsort(dim=1, descending=True)


# --- what is drawn ---


def choose_planes(
    rng: np.random.Generator, planes: int, step_dof: float, count: int, config: ExampleConfig
) -> tuple[npt.NDArray[np.int64], float]:
    """Pick ``count`` scan planes of a stack; also returns their mean spacing in planes."""
    low, high = np.log(config.spacing_dof)
    widest = (planes - 1) / max(count - 1, 1)
    while True:
        spacing = float(np.exp(rng.uniform(low, high))) / step_dof
        spacing = float(np.clip(spacing, 2.0, widest))
        first = rng.uniform(0, planes - 1 - spacing * (count - 1))
        at = first + spacing * np.arange(count)
        if rng.random() < 0.4:
            at = at + rng.uniform(-0.35, 0.35, count) * spacing
        chosen = np.unique(np.clip(np.round(at), 0, planes - 1).astype(np.int64))
        if len(chosen) == count:  # rounding now and then merges two planes
            return chosen, spacing


def choose_targets(
    rng: np.random.Generator,
    scan_planes: npt.NDArray[np.int64],
    spacing: float,
    planes: int,
    count: int,
) -> npt.NDArray[np.int64]:
    """Draw target planes among and half a spacing around the scans."""
    low = max(0, int(scan_planes.min() - spacing / 2))
    high = min(planes - 1, int(scan_planes.max() + spacing / 2))
    free = np.setdiff1d(np.arange(low, high + 1), scan_planes)
    return np.asarray(rng.choice(free, count, replace=len(free) < count), np.int64)


def random_camera(rng: np.random.Generator, config: ExampleConfig) -> Camera:
    """Draw a camera: light level, background and read noise."""
    photons = float(np.exp(rng.uniform(*np.log(config.photons))))
    return Camera(
        photons=photons,
        background=photons * float(rng.choice([0.0, rng.uniform(0, 0.3)])),
        read_noise=float(rng.uniform(0.8, 3.0)),
    )


def with_stage_errors(
    z_um: npt.NDArray[np.float64], rng: np.random.Generator, largest_dof: float, dof_um: float
) -> npt.NDArray[np.float64]:
    """Heights (M,) as a user states them: in a third of the cases the stage was not there."""
    if rng.random() >= 1 / 3:
        return z_um
    sigma = rng.uniform(0, largest_dof) * dof_um
    z_um = z_um + np.clip(rng.normal(0, sigma, len(z_um)), -2 * sigma, 2 * sigma)
    return z_um + 2e-3 * np.arange(len(z_um))  # no two at exactly one height


def _stated_optics(
    optics: Optics, rng: np.random.Generator, config: ExampleConfig
) -> tuple[Optics, float]:
    """The optics and the stretch of z that the network is told."""
    if rng.random() < 0.5:
        return optics, 1.0
    factor = float(np.exp(np.clip(rng.normal(0, config.wrong_optics), -0.1, 0.1)))
    stretch = float(np.exp(np.clip(rng.normal(0, config.wrong_step), -0.12, 0.12)))
    return replace(optics, wavelength_um=optics.wavelength_um * factor), stretch


def _draw_count(rng: np.random.Generator, config: ExampleConfig) -> int:
    """Draw a number of scans."""
    share = np.array(config.scans)
    return int(rng.choice(len(share), p=share / share.sum())) + 1


# --- examples ---


def make_examples(
    field: Field,
    own: np.random.Generator,
    rng: np.random.Generator,
    config: ExampleConfig,
    network: NetworkConfig,
    count: int,
    device: torch.device | None = None,
    object_path: Path | None = None,
) -> Batch:
    """``config.targets`` examples of ``count`` scans from one field.

    ``own`` draws the scans and their noise, ``rng`` the targets and windows. The non-negative
    object of this set of scans is read from ``object_path``, or written there.
    """
    dof_um = field.optics.depth_of_field_um
    chosen, spacing = choose_planes(own, len(field.stack), field.z_step_um / dof_um, count, config)
    order = own.permutation(chosen)
    optics, stretch = _stated_optics(field.optics, own, config)
    heights = order * field.z_step_um * stretch
    heights = with_stage_errors(heights, own, config.stage_error_dof, dof_um)
    stack = torch.from_numpy(np.array(field.stack[order], dtype=np.float32)).to(device)
    camera = random_camera(own, config)
    generator = torch.Generator(device or "cpu").manual_seed(int(own.integers(2**62)))
    counts = camera.expose(stack, generator).cpu().numpy()
    scans = [Scan(image, z) for image, z in zip(counts, heights, strict=True)]
    # One range for all fields: the covariance tables are few and made once.
    reach_um = (0.0, max(_REACH_DOF * optics.depth_of_field_um, heights.max()))
    inputs = cached_inputs(scans, optics, network, reach_um, device, object_path)
    planes = choose_targets(rng, chosen, spacing, len(field.stack), config.targets)
    targets = [
        Target(
            float(plane) * field.z_step_um * stretch,
            partial(normalised_truth, field, int(plane), camera, inputs),
        )
        for plane in planes
    ]
    return cut_examples(inputs, targets, rng, config)


class Target(NamedTuple):
    """A height in the stated micrometres, and the truth (Y, X) there for the network's input."""

    z_um: float
    truth: Callable[[Prepared], torch.Tensor]


def cut_examples(
    inputs: NetworkInputs,
    targets: Iterable[Target],
    rng: np.random.Generator,
    config: ExampleConfig,
) -> Batch:
    """A random window of every target, turned and flipped, with its scans in their order."""
    examples = []
    for target in targets:
        prepared = inputs.at(target.z_um)
        truth = target.truth(prepared)[None, None]
        view = View.random(rng, truth.shape[-2:], config.crop, None, config.order)
        order = view.entering(torch.tensor([(target.z_um - inputs.scan_z_um).tolist()]))
        if order is not None:
            prepared = prepared._replace(scans=prepared.scans[:, order[0].to(truth.device)])
        examples.append(Batch.of(Prepared(*map(view.shown, prepared)), view.shown(truth)))
    return join(examples)


def cached_inputs(
    scans: Sequence[Scan],
    optics: Optics,
    network: NetworkConfig,
    reach_um: tuple[float, float],
    device: torch.device | None,
    object_path: Path | None,
) -> NetworkInputs:
    """The network's inputs; the non-negative object is read from a file, or written there."""
    known = object_path is not None and object_path.exists()
    density = np.load(object_path) if object_path is not None and known else None
    inputs = NetworkInputs(
        scans, optics, network, reach_um=reach_um, device=device, density=density
    )
    estimate = inputs.nonnegative
    if object_path is not None and not known and isinstance(estimate, NonnegativeEstimate):
        object_path.parent.mkdir(exist_ok=True)
        partial_path = object_path.with_suffix(f".{os.getpid()}.npy")
        # Half precision down to a few millionths of the brightest sheet: enough to image again.
        np.save(partial_path, estimate.density.cpu().numpy().astype(np.float16))
        partial_path.rename(object_path)  # whole or not at all, whoever else writes it
    return inputs


def normalised_truth(
    field: Field, plane: int, camera: Camera, inputs: NetworkInputs, prepared: Prepared
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
        counts = signal.to(prepared.linear.device) * (camera.photons * camera.gain / scale)
        known = prepared.linear.mean() + prepared.extra.mean(dim=(0, 2, 3)).sum()
        return counts - counts.mean() + known
    counts = camera.noiseless(signal).to(prepared.linear.device)
    return (counts - inputs.normalisation.shift) / scale


def make_batch(
    pool: Pool,
    seed: int,
    step: int,
    size: int,
    config: ExampleConfig,
    network: NetworkConfig,
    device: torch.device | None = None,
    *,
    rng: np.random.Generator | None = None,
    make: Callable[..., Batch] = make_examples,
) -> Batch:
    """The batch of one training step: ``size`` examples that share a number of scans.

    Depends on the pool, the seed and the step alone: a resumed run sees the same examples.
    """
    rng = rng or np.random.default_rng([seed, step])
    count, sparse, batches = _draw_count(rng, config), pool.of_kinds(SPARSE), []
    for _ in range(-(-size // config.targets)):
        number = int(
            rng.choice(sparse)
            if len(sparse) and rng.random() < config.sparse_share
            else rng.integers(0, len(pool))
        )
        own, object_path = rng, None
        if config.variants:
            variant = int(rng.integers(config.variants))
            own = np.random.default_rng([seed, number, variant, count])
            name = f"{number:05d}_{variant}_{count}.npy"
            object_path = _objects_folder(pool.folder, config, seed) / name
        batches.append(make(pool[number], own, rng, config, network, count, device, object_path))
    return join(batches, size)


def _objects_folder(folder: Path, config: ExampleConfig, seed: int) -> Path:
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
