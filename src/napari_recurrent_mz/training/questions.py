"""The training's check: fixed sets of scans that a network has never seen, asked again and again.

A third is imaged as the network is told, a third by microscopes as in training, and a third by hard
ones: wrong optics, aberrations, coarse pixels and little light.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from ..networks.architectures import Network
from .examples import View
from .sets import Group, SetConfig, Sets
from .store import drawn
from .validation import Validation, squared_errors, summary

_SEED = 7_000_003  # of the check; trainings take others
_AT_ONCE = 16


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


def check_groups(config: SetConfig, questions: int) -> list[tuple[str, Group]]:
    """The groups of a check of at least so many questions, with the third that each belongs to.

    A group has one set of scans of every sample; the kinds of sample take turns.
    """
    names, found = [name for name, _ in config.kinds], []
    for third, own in check_configs(config).items():
        for number in range(math.ceil(questions / 3 / config.samples)):
            first = number * own.samples
            kinds = tuple(names[(first + n) % len(names)] for n in range(own.samples))
            one = replace(own, scans=(own.scans[number % len(own.scans)],))
            found.append((third, Group(one, _SEED, number, kinds)))
    return found


def ask(network: Network, questions: Iterable[Question], *, half: bool) -> Validation:
    """What a network in evaluation mode answers."""
    rows: list[tuple[str, str, float]] = []
    for question in questions:
        gains = _gains(network, question.sets, half)
        rows += [(k, question.third, g) for k, g in zip(question.kinds, gains, strict=True)]
    return summary(rows)


def _gains(network: Network, sets: Sets, half: bool) -> list[float]:
    """Of every set, in dB of its targets' summed squared errors."""
    device, (count, targets) = sets.planes.device, sets.planes.shape[:2]
    numbers = torch.arange(count * targets, device=device)
    errors = []
    for some in torch.split(numbers, _AT_ONCE):
        batch = drawn(sets, network.config, some // targets, some % targets, View())
        errors.append(squared_errors(network, batch, half=half))
    ours, theirs = torch.cat(errors, dim=1).view(2, count, targets).sum(dim=2)
    gains: list[float] = (10 * torch.log10(theirs / ours)).tolist()
    return gains
