"""Training examples: how scans and targets are drawn, and the batches that networks learn from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..core.arrays import Array
from ..core.errors import check_choice
from ..networks.inputs import Prepared
from ..simulation.simulate import Camera

ORDERS = ("random", "depth", "distance")


@dataclass(frozen=True)
class ExampleConfig:
    """What the examples of a training run look like.

    Parameters
    ----------
    crop : int
        Pixels of an example along y and x.
    targets : int
        Target planes taken from one set of scans.
    scans : tuple of float
        How often an example has 1, 2, 3, … scans, in relation to each other.
    spacing_dof : tuple of float
        Smallest and largest spacing of neighbouring scans, in depths of field.
    photons : tuple of float
        Fewest and most photons at a signal of 1; each tenfold range is drawn as often.
    wrong_optics : float
        How wrong the wavelength is that the network is told, in half of the examples: the
        relative standard deviation.
    wrong_step : float
        The same of the z-step.
    sparse_share : float
        Share of the examples that are drawn from the sparse kinds of sample, where more
        than the linear estimate can be had; the others come from all fields.
    stage_error_dof : float
        Largest standard deviation of the scans' heights, in depths of field, drawn in a
        third of the examples.
    far_share : float
        Share of the targets that are drawn from the whole stack, not only around the scans.
    variants : int
        Sets of scans drawn from each field; 0 draws a new one every time. Where finding
        the non-negative object of a set takes longer than a training step, a few sets
        that are kept on disk beside the fields serve the whole run.
    order : str
        How the scans enter: ``random``; by ``depth``, the lowest first; or by ``distance``
        to the target plane, the farthest first (paper, Fig. S6).
    repeated_share : float
        Share of the batches from a folder in which one to three scans enter again (paper, Fig. 7).
    """

    crop: int = 128
    targets: int = 2
    # Or several of these frequencies, each for one more set of scans of a sample.
    scans: tuple[float, ...] | tuple[tuple[float, ...], ...] = (0.04, 0.42, 0.40, 0.09, 0.05)
    spacing_dof: tuple[float, float] = (3.0, 16.0)
    photons: tuple[float, float] = (60.0, 50000.0)
    wrong_optics: float = 0.04
    wrong_step: float = 0.05
    stage_error_dof: float = 0.4
    far_share: float = 0.0
    sparse_share: float = 0.4
    variants: int = 0
    order: str = "random"
    repeated_share: float = 0.0

    def __post_init__(self) -> None:
        check_choice("order of the scans", self.order, ORDERS)

    @property
    def scan_shares(self) -> list[dict[int, float]]:
        """How often each number of scans is drawn, for every set of scans of a sample."""
        every = self.scans if isinstance(self.scans[0], tuple) else (self.scans,)
        return [
            {m: share / sum(shares) for m, share in enumerate(shares, 1) if share}
            for shares in every
            if isinstance(shares, tuple)
        ]

    @property
    def shares(self) -> dict[int, float]:
        """The same over all sets of scans."""
        each, total = self.scan_shares, dict[int, float]()
        for shares in each:
            for m, share in shares.items():
                total[m] = total.get(m, 0) + share / len(each)
        return total


def draw_count(rng: np.random.Generator, shares: dict[int, float]) -> int:
    """Draw a number of scans."""
    odds = np.array([shares.get(m, 0.0) for m in range(1, max(shares) + 1)])
    return int(rng.choice(len(odds), p=odds / odds.sum())) + 1


class Batch(NamedTuple):
    """Examples of one number of scans."""

    inputs: Prepared  # N examples of M scans
    truth: torch.Tensor  # (N, 1, H, W): target planes in the units of the output
    linear: torch.Tensor  # the same of the linear estimate
    floor: torch.Tensor  # (N,), mean squared error below which nothing is told apart

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
    order: torch.Tensor | None = None  # (M,), in which the scans enter, or more if some do again
    by: str = "random"  # or an order of ORDERS, in place of that

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        shape: Sequence[int],
        config: ExampleConfig,
        order: torch.Tensor | None = None,
    ) -> View:
        """A random view of at most ``config.crop`` pixels a side out of (H, W)."""
        crop = config.crop
        top, left = (int(rng.integers(0, max(length - crop, 0) + 1)) for length in shape)
        turned, rows, columns = (rng.random(3) < 0.5).tolist()
        return cls(top, left, crop, turned, rows, columns, order, config.order)

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

    def entering(self, distance: torch.Tensor) -> torch.Tensor | None:
        """Which scan enters when, (N, M) or more, by their distances (N, M), target − scan."""
        if self.by == "random":
            return None if self.order is None else self.order.expand(len(distance), -1)
        key = distance if self.by == "depth" else distance.abs()
        return key.argsort(dim=1, descending=True)


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
    config: ExampleConfig,
) -> npt.NDArray[np.int64]:
    """Draw target planes among and half a spacing around the scans, or now and then from all."""
    low = max(0, int(scan_planes.min() - spacing / 2))
    high = min(planes - 1, int(scan_planes.max() + spacing / 2))
    count, free = config.targets, np.setdiff1d(np.arange(low, high + 1), scan_planes)
    near = rng.choice(free, count, replace=len(free) < count)
    far = rng.random(count) < config.far_share
    anywhere = rng.choice(np.setdiff1d(np.arange(planes), scan_planes), count)
    return np.asarray(np.where(far, anywhere, near), np.int64)


def random_camera(rng: np.random.Generator, config: ExampleConfig) -> Camera:
    """Draw a camera: light level, background and read noise."""
    photons = float(np.exp(rng.uniform(*np.log(config.photons))))
    return Camera(
        photons=photons,
        background=photons * float(rng.choice([0.0, rng.uniform(0, 0.3)])),
        read_noise=float(rng.uniform(0.8, 3.0)),
    )


def with_stage_errors(
    z_um: Array, rng: np.random.Generator, largest_dof: float, dof_um: float
) -> Array:
    """Heights (M,) as a user states them: in a third of the cases the stage was not there."""
    if rng.random() >= 1 / 3:
        return z_um
    sigma = rng.uniform(0, largest_dof) * dof_um
    z_um = z_um + np.clip(rng.normal(0, sigma, len(z_um)), -2 * sigma, 2 * sigma)
    return z_um + 2e-3 * np.arange(len(z_um))  # no two at exactly one height


def ahead(
    make: Callable[[int], Batch], first_step: int, last_step: int | None
) -> Generator[Batch, None, None]:
    """What ``make`` gives for ``first_step`` … ``last_step - 1``, made two steps ahead."""
    steps = itertools.count(first_step) if last_step is None else range(first_step, last_step)
    coming = iter(steps)
    with ThreadPoolExecutor(max_workers=1) as maker:
        waiting = [maker.submit(make, step) for step in itertools.islice(coming, 2)]
        while waiting:
            ready = waiting.pop(0).result()
            waiting += [maker.submit(make, step) for step in itertools.islice(coming, 1)]
            yield ready
