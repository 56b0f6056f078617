"""The training's check: fixed sets of scans that a network has never seen, asked again and again.

A third is imaged as the network is told, a third by microscopes as in training, and a third by hard
ones: wrong optics, aberrations, coarse pixels and little light.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from ..networks.architectures import Network
from ..networks.recurrent_mz import NetworkConfig
from .sets import SetConfig, Sets, draw_microscope, image_samples, make_sets
from .store import View, drawn
from .validation import grouped, means

LOSS_DB = -0.05
"""A question answered worse than this counts as lost."""

_SEED = 7_000_003  # of the check; trainings take others
_AT_ONCE = 16


@dataclass(frozen=True)
class Answers:
    """Decibels gained over the linear MMSE estimate."""

    mean_db: float
    worst_db: float
    lost: float  # share of the questions below LOSS_DB
    by_kind: dict[str, float]  # means by kind of sample, and by third of the check
    by_third: dict[str, float]
    questions: int


@dataclass(frozen=True, eq=False)
class Question:
    """Sets of one group and one number of scans, with the kind of sample of each."""

    sets: Sets
    kinds: tuple[str, ...]
    third: str


def check_configs(config: SetConfig) -> dict[str, SetConfig]:
    """The three thirds of the check of a training."""
    easy = replace(config, wrong=0.0, aberrated=0.0, mismatched=0.0, coarse_share=0.0)
    hard = replace(config, wrong=1.0, aberrated=1.0, coarse_share=0.6, photons=(60.0, 1000.0))
    return {"as told": easy, "as in training": config, "hard": hard}


def check_samples(config: SetConfig, groups: int) -> Iterator[tuple[SetConfig, int, int, int, str]]:
    """What :func:`~.sets.draw_sample` is told for all questions, in their order."""
    names = [name for name, _ in config.kinds]
    for own in check_configs(config).values():
        for group in range(groups):
            for n in range(own.samples):
                yield own, _SEED, group, n, names[(group * own.samples + n) % len(names)]


def make_questions(
    config: SetConfig,
    network: NetworkConfig,
    groups: int,
    device: torch.device,
    samples: Iterator[npt.NDArray[np.float16]],
) -> Iterator[Question]:
    """Questions of ``groups`` groups for every third, from :func:`check_samples`."""
    kinds = iter([one[-1] for one in check_samples(config, groups)])
    for third, own in check_configs(config).items():
        for group in range(groups):
            microscope = draw_microscope(own, _SEED, group)
            volumes = [next(samples) for _ in range(own.samples)]
            stacks, truths = image_samples(own, microscope, volumes, device)
            rng = np.random.default_rng([_SEED, group, 99])
            one = replace(own, scans=(own.scans[group % len(own.scans)],))
            names = tuple(next(kinds) for _ in range(own.samples))
            for sets in make_sets(one, network, microscope, stacks, truths, rng):
                yield Question(sets, names, third)


@torch.no_grad()
def ask(network: Network, questions: Sequence[Question], *, half: bool) -> Answers:
    """What a network in evaluation mode answers."""
    rows: list[tuple[str, str, float]] = []
    for question in questions:
        gains = _gains(network, question.sets, half)
        rows += [(k, question.third, g) for k, g in zip(question.kinds, gains, strict=True)]
    every = np.array([row[2] for row in rows])
    return Answers(
        float(every.mean()),
        float(every.min()),
        float((every < LOSS_DB).mean()),
        means(grouped(rows, 0)),
        means(grouped(rows, 1)),
        len(rows),
    )


def _gains(network: Network, sets: Sets, half: bool) -> list[float]:
    """Of every set, in dB of its targets' summed squared errors."""
    device, (count, targets) = sets.planes.device, sets.planes.shape[:2]
    numbers = torch.arange(count * targets, device=device)
    ours, theirs = [], []
    for some in torch.split(numbers, _AT_ONCE):
        examples = drawn(sets, network.config, some // targets, some % targets, View())
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            output = network(*examples.inputs).float()
        ours.append(((output - examples.truth) ** 2).mean(dim=(1, 2, 3)) + examples.floor)
        theirs.append(
            ((examples.linear - examples.truth) ** 2).mean(dim=(1, 2, 3)) + examples.floor
        )
    sums = [torch.cat(each).view(count, targets).sum(dim=1) for each in (ours, theirs)]
    gains: list[float] = (10 * torch.log10(sums[1] / sums[0])).tolist()
    return gains
