"""What a training is judged by: decibels over linear MMSE on sets of scans never learned from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import sem

from ..core.scans import InputError
from ..networks.architectures import Network
from ..networks.recurrent_mz import NetworkConfig
from ..simulation.simulate import Camera
from .examples import View
from .fields import Field, Pool
from .microscopes import Group, SampleConfig
from .sets import Sets, Take, make_sets

_SEED = 7_000_003  # of the check of random microscopes; trainings take others
_AT_ONCE = 16

LOST_DB = -0.05
"""A question answered worse than this counts as lost."""

_PRICE_DB = 2.0
"""What all questions lost would cost in :attr:`Validation.score`: one of a hundred, 0.02 dB."""


@dataclass(frozen=True, eq=False)
class Question:
    """Sets of one number of scans, with the kind of sample of each, and what they are a case of."""

    sets: Sets
    kinds: tuple[str, ...]
    case: str


@dataclass(frozen=True)
class Validation:
    """Mean gains over linear MMSE, in dB of mean squared error."""

    gain_db: float
    lost: float  # share of the questions answered worse than linear MMSE by LOST_DB
    by_kind_db: dict[str, float]
    by_case_db: dict[str, float]  # by number and spacing of scans
    errors_db: dict[str, float]  # standard errors of those means, over questions
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


def ask(network: Network, questions: Iterable[Question], *, half: bool) -> Validation:
    """What a network in evaluation mode answers."""
    device = next(network.parameters()).device
    kinds: dict[str, list[float]] = {}
    cases: dict[str, list[float]] = {}
    gains: list[float] = []
    for question in questions:
        some = _gains(network, question.sets.to(device), half)
        gains += some
        cases.setdefault(question.case, []).extend(some)
        for kind, gain in zip(question.kinds, some, strict=True):
            kinds.setdefault(kind, []).append(gain)
    groups = kinds | cases
    return Validation(
        float(np.mean(gains)),
        float(np.mean(np.array(gains) < LOST_DB)),
        {name: float(np.mean(kinds[name])) for name in sorted(kinds)},
        {name: float(np.mean(cases[name])) for name in sorted(cases)},
        {name: float(sem(groups[name])) for name in sorted(groups) if len(groups[name]) > 1},
        min(gains),
        len(gains),
    )


@torch.no_grad()
def _gains(network: Network, sets: Sets, half: bool) -> list[float]:
    """Of every set, in dB of its targets' summed squared errors."""
    device, (count, targets) = sets.planes.device, sets.planes.shape[:2]
    numbers = torch.arange(count * targets, device=device)
    errors = []
    for some in torch.split(numbers, _AT_ONCE):
        batch = sets.examples(network.config, some // targets, some % targets, View())
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            output = network(*batch.inputs).float()
        images = (output, batch.linear)
        squared = [((image - batch.truth) ** 2).mean(dim=(1, 2, 3)) for image in images]
        errors.append(torch.stack(squared) + batch.floor)
    ours, theirs = torch.cat(errors, dim=1).view(2, count, targets).sum(dim=2)
    return (10 * torch.log10(theirs / ours)).tolist()


def check_groups(config: SampleConfig, questions: int) -> list[tuple[str, Group]]:
    """Groups for so many questions: a third imaged as told, one as in training, one hard."""
    easy = replace(config, wrong=0.0, aberrated=0.0, mismatched=0.0, coarse_share=0.0)
    hard = replace(config, wrong=1.0, aberrated=1.0, coarse_share=0.6, photons=(60.0, 1000.0))
    names, groups = [name for name, _ in config.kinds], []
    for third, own in {"as told": easy, "as in training": config, "hard": hard}.items():
        for number in range(math.ceil(questions / 3 / config.samples)):
            first = number * own.samples
            kinds = tuple(names[(first + n) % len(names)] for n in range(own.samples))
            one = replace(own, scans=(own.scans[number % len(own.scans)],))
            groups.append((third, Group(one, _SEED, number, kinds)))
    return groups


@dataclass(frozen=True)
class Case:
    """Scans of a field at equal spacing, one target in every gap between them."""

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


def field_questions(
    pool: Pool,
    network: NetworkConfig,
    device: torch.device,
    questions: int = 2,
    *,
    hard: bool = False,
) -> Iterator[Question]:
    """So many questions about every field of ``pool``; with ``hard``, every third is so."""
    for number in range(len(pool)):
        field = pool[number]
        for n in range(questions):
            case = CASES[(number + n * 3) % len(CASES)]
            if hard and (number + n) % 3 == 2:
                case = replace(case, photons=100.0, wrong=0.08)
            sets = _asked(field, case, 1000 * number + n, network, device)
            yield Question(sets, (field.kind,), case.words)


def _asked(
    field: Field, case: Case, seed: int, network: NetworkConfig, device: torch.device
) -> Sets:
    rng, planes = np.random.default_rng(seed), _scan_planes(field, case)
    stretch = 1 + case.wrong
    stack = field.stated(network.target, stretch, stretch)
    # One random plane in each gap between scans.
    between = [int(rng.integers(low + 1, high)) for low, high in pairwise(planes)]
    take = Take(planes, stack.z_um[planes], np.array(between), Camera(photons=case.photons))
    generator = torch.Generator(device).manual_seed(seed)
    return make_sets([stack], [take], network, device, generator)


def _scan_planes(field: Field, case: Case) -> npt.NDArray[np.int64]:
    reach = round(case.spacing_um * (case.scans - 1) / field.z_step_um)
    first = (len(field.stack) - 1 - reach) // 2
    spacing = case.spacing_um / field.z_step_um
    if first < 0:
        raise InputError(
            f"A held-out field is only {len(field.stack) * field.z_step_um:.1f} µm deep: "
            "make the held-out fields with at least 52 planes."
        )
    return first + np.round(np.arange(case.scans) * spacing).astype(np.int64)
