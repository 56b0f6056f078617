"""Validation on held-out simulated fields: decibels over the linear MMSE estimate, by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from scipy.stats import sem

from ..core.device import Device
from ..core.scans import InputError, Scan
from ..networks.architectures import Network
from ..networks.inputs import NetworkInputs
from ..simulation.simulate import Camera
from .examples import Batch, Target, normalised_truth
from .fields import Field, Pool


@dataclass(frozen=True)
class Case:
    """One question put to a network: scans at equal spacing, one target between or beside them."""

    scans: int
    spacing_um: float
    photons: float
    wrong: float = 0.0  # by how much the wavelength and the heights that are told are too large

    @property
    def words(self) -> str:
        """What a person calls it."""
        return f"M = {self.scans}, Δz = {self.spacing_um:g} µm" + (", hard" if self.wrong else "")


CASES = (
    Case(2, 1.5, 2000.0), Case(3, 1.5, 300.0), Case(2, 3.0, 300.0), Case(3, 3.0, 2000.0),
    Case(2, 6.0, 2000.0), Case(3, 4.5, 300.0), Case(3, 6.0, 2000.0), Case(2, 4.5, 2000.0),
)  # fmt: skip
"""M = 2 and 3, Δz from 1.5 to 6 µm, two light levels; they are asked in turn, field by field."""


LOST_DB = -0.05
"""A question answered worse than this counts as lost."""

_PRICE_DB = 2.0
"""What all questions lost would cost in :attr:`Validation.score`: one of a hundred, 0.02 dB."""


@dataclass(frozen=True)
class Validation:
    """Mean gains over linear MMSE, in dB of mean squared error."""

    gain_db: float
    lost: float  # share of the questions answered worse than linear MMSE by LOST_DB
    by_kind: dict[str, float]
    by_case: dict[str, float]  # by number and spacing of scans
    errors: dict[str, float]  # standard errors of those means, over questions
    worst_db: float
    questions: int

    @property
    def score(self) -> float:
        """What weights are chosen by: the mean gain, less what the lost questions cost."""
        return self.gain_db - _PRICE_DB * self.lost

    @property
    def words(self) -> str:
        """What is logged."""
        return (
            f"{self.gain_db:+.3f} dB, worst {self.worst_db:+.2f} dB, {100 * self.lost:.1f} % of "
            f"{self.questions} questions below {LOST_DB:g} dB"
        )


def validate(
    network: Network,
    pool: Pool,
    *,
    device: Device,
    questions: int = 2,
    hard: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Validation:
    """Ask ``network`` about every field of ``pool``, each at least 12.5 µm deep.

    Of the :data:`CASES`, so many ``questions`` of each field, with ``hard`` every third of them
    made so; ``on_progress`` is told how many of all are answered.
    """
    asked: list[tuple[str, str, float]] = []
    for number in range(len(pool)):
        field = pool[number]
        for n in range(questions):
            case = CASES[(number + n * 3) % len(CASES)]
            if hard and (number + n) % 3 == 2:
                case = replace(case, photons=100.0, wrong=0.08)
            gain = _gain(network, field, case, 1000 * number + n, device)
            asked.append((field.kind, case.words, gain))
            if on_progress is not None:
                on_progress(len(asked), len(pool) * questions)
    return summary(asked)


def summary(asked: list[tuple[str, str, float]]) -> Validation:
    """Means of the answers: kind of sample, words for the case, and gain in dB of each."""
    gains = [gain for _, _, gain in asked]
    kinds, cases = grouped(asked, 0), grouped(asked, 1)
    errors = {name: float(sem(group)) for name, group in (kinds | cases).items() if len(group) > 1}
    lost = float(np.mean(np.array(gains) < LOST_DB))
    return Validation(
        float(np.mean(gains)), lost, means(kinds), means(cases), errors, min(gains), len(gains)
    )


def grouped(asked: list[tuple[str, str, float]], column: int) -> dict[str, list[float]]:
    """The gains by the names in a column."""
    names = sorted({str(row[column]) for row in asked})
    return {name: [row[2] for row in asked if row[column] == name] for name in names}


def means(groups: dict[str, list[float]]) -> dict[str, float]:
    """The mean of every group."""
    return {name: float(np.mean(group)) for name, group in groups.items()}


def _gain(network: Network, field: Field, case: Case, seed: int, device: Device) -> float:
    rng = np.random.default_rng(seed)
    planes = _scan_planes(field, case)
    generator = torch.Generator().manual_seed(seed)
    camera = Camera(photons=case.photons)
    stack = torch.from_numpy(np.array(field.stack[planes], dtype=np.float32))
    step_um = field.z_step_um * (1 + case.wrong)
    optics = replace(field.optics, wavelength_um=field.optics.wavelength_um * (1 + case.wrong))
    scans = [
        Scan(image, plane * step_um)
        for image, plane in zip(camera.expose(stack, generator).numpy(), planes, strict=True)
    ]
    reach_um = (0, len(field.stack) * step_um)
    inputs = NetworkInputs(scans, optics, network.config, reach_um=reach_um, device=device.torch)
    # One random plane in each gap between scans.
    between = [int(rng.integers(low + 1, high)) for low, high in pairwise(planes)]
    targets = [
        Target(plane * step_um, partial(normalised_truth, field, plane, camera, inputs))
        for plane in between
    ]
    return gain_db(network, inputs, targets, device)


def gain_db(
    network: Network, inputs: NetworkInputs, targets: Iterable[Target], device: Device
) -> float:
    """Gain of a network in evaluation mode over linear MMSE, of the targets' squared errors."""
    total = torch.zeros(2)
    for target in targets:
        prepared = inputs.at(target.z_um)
        batch = Batch.of(prepared, target.truth(prepared)[None, None], 1e-12)
        total += squared_errors(network, batch, half=device.half)[:, 0].cpu()
    return float(10 * torch.log10(total[1] / total[0]))


@torch.no_grad()
def squared_errors(network: Network, batch: Batch, *, half: bool) -> torch.Tensor:
    """Mean squared errors over the floor, (2, N): of a network, and of the linear estimate."""
    with torch.autocast(batch.truth.device.type, torch.bfloat16, enabled=half):
        output = network(*batch.inputs).float()
    errors = [((image - batch.truth) ** 2).mean(dim=(1, 2, 3)) for image in (output, batch.linear)]
    return torch.stack(errors) + batch.floor


def _scan_planes(field: Field, case: Case) -> list[int]:
    reach = round(case.spacing_um * (case.scans - 1) / field.z_step_um)
    first = (len(field.stack) - 1 - reach) // 2
    spacing = case.spacing_um / field.z_step_um
    if first < 0:
        raise InputError(
            f"A held-out field is only {len(field.stack) * field.z_step_um:.1f} µm deep: "
            "make the held-out fields with at least 52 planes."
        )
    return [first + round(n * spacing) for n in range(case.scans)]
