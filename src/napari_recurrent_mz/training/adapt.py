"""Adapt a trained network to one microscope, from full stacks that its user took.

The weights to start from are the first candidate for the best ones, so the result is never
worse than they are on the held-out part of the stacks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.device import choose_device
from ..core.progress import Stopped, never, stoppable
from ..core.scans import InputError
from ..io import write_json
from ..io._whole import read_json
from ..networks.architectures import Network
from ..networks.weights import DEFAULT, Model, save_model
from .check import Question, Validation, ask
from .examples import Batch, ExampleConfig
from .fields import Pool
from .finish import best_network, log_of, model_card
from .learner import TrainConfig
from .loop import Trainer, TrainingStep
from .measured import MeasuredField, StackPool, split, stack_questions
from .sets import making_device
from .store import FieldExamples

MINUTES = {"cuda": 10.0, "mps": 20.0, "cpu": 60.0}
"""How long to adapt, by kind of device, when nobody says."""

_VARIANTS = 16  # sets of scans of each number, whose non-negative objects are found once


def adapting(start: Model, fields: Sequence[MeasuredField]) -> TrainConfig:
    """A run that suits the adaptation of a trained network: short, at a small learning rate.

    Raises
    ------
    InputError
        If the model is another network, or makes confocal planes.
    """
    if start.architecture != DEFAULT or start.network.config.target != "widefield":
        raise InputError(
            f"'{start.name}' cannot be adapted to a wide-field stack: start from a {DEFAULT} model "
            "that makes wide-field planes."
        )
    return TrainConfig(
        steps=1500,
        # Ten times as much learns the stack by heart: the held-out quarter loses steadily.
        learning_rate=3e-5,
        warm_up=50,
        decay_from=0.5,
        average=0.99,
        validate_every=100,
        checkpoint_every=100,
        network=start.network.config,
        examples=ExampleConfig(
            crop=_largest_crop(fields),
            scans=(0.0, 0.45, 0.40, 0.10, 0.05),
            # The user's optics and stage are what they are, and the stack tells them.
            wrong_optics=0.0,
            wrong_step=0.0,
            stage_error_dof=0.0,
            variants=_VARIANTS if start.network.config.nonnegative else 0,
        ),
    )


def _largest_crop(fields: Sequence[MeasuredField], largest: int = 128) -> int:
    """The largest square that fits into every stack's part for training, up to ``largest``."""
    smallest = int(min(min(split(field)[0].stack.shape[1:]) for field in fields))
    return min(largest, smallest // 16 * 16)


class Adapter(Trainer):
    """Trains a given network on measured stacks; iterate :meth:`run`.

    Parameters
    ----------
    config : TrainConfig
        From :func:`adapting`; its network is the start's.
    fields : sequence of MeasuredField
        One or more full stacks.
    folder : Path
        As for :class:`Trainer`. A run found there is resumed, if it is of the same stacks.
    start : Model
        Weights to begin with.
    device : str, optional
        auto, cuda, mps or cpu.
    simulated : Pool, optional
        Simulated fields to mix in, so that less is forgotten of other samples.
    simulated_share : float, optional
        Share of the steps on those.
    minutes : float, optional
        How long the run takes, about and in all; by default it has as many steps as
        ``config`` says.
    stopped : callable, optional
        Asked while the weights are judged, which may take a while; True ends the run.

    Raises
    ------
    InputError
        If the folder holds a run of other stacks or weights.
    """

    def __init__(
        self,
        config: TrainConfig,
        fields: Sequence[MeasuredField],
        folder: Path,
        *,
        start: Model,
        device: str = "auto",
        simulated: Pool | None = None,
        simulated_share: float = 0.3,
        minutes: float | None = None,
        stopped: Callable[[], bool] = never,
    ) -> None:
        self.fields, self.start = tuple(fields), start
        self.simulated, self.simulated_share = simulated, simulated_share
        self._stopped, self._questions = stopped, list[Question]()
        _claim(folder, start, fields)
        halves = zip(*(split(field) for field in fields), strict=True)
        learned, self._held_out = (StackPool(half, folder) for half in halves)
        crop = _largest_crop(fields, config.examples.crop)
        config = replace(config, examples=replace(config.examples, crop=crop))
        pools = (learned, simulated) if simulated is not None else (learned,)
        chosen = choose_device(device)
        self._sources = [FieldExamples(pool, config, chosen) for pool in pools]
        super().__init__(
            config, self._draw, self._judge, folder,
            device=chosen, start_from=start.network, minutes=minutes,
        )  # fmt: skip

    @property
    def has_best(self) -> bool:
        """Whether there are weights that were judged."""
        return bool(np.isfinite(self.best_db))

    def run(self) -> Generator[TrainingStep, None, None]:
        """Judge the weights to start from, then train to the end; close it to stop early."""
        with suppress(Stopped):
            if not self.has_best:
                began, unknown = time.monotonic(), torch.tensor(np.nan)
                gain, words = self._validate(np.nan)
                self.seconds += time.monotonic() - began
                yield TrainingStep(self.step, self.config.steps, unknown, gain, np.nan, words)
            yield from super().run()

    def _draw(self, seed: int, step: int, size: int) -> Batch:
        """Examples of the stacks, or at times of simulated fields."""
        rng = np.random.default_rng([seed, step, 1])
        other = len(self._sources) > 1 and rng.random() < self.simulated_share
        return self._sources[int(other)](seed, step, size)

    def _judge(self, network: Network) -> Validation:
        """Noise included, as the planes of a camera have it."""
        if not self._questions:
            device = making_device(self.chosen)
            with stoppable(self._stopped):
                self._questions = list(stack_questions(self._held_out, self.config, device))
        return ask(network, self._questions, half=self.chosen.half)

    def _score(self, result: Validation) -> float:
        """The mean alone: on the stacks it is never to fall."""
        return result.gain_db


_CLAIM = "adapt.json"


def _claim(folder: Path, start: Model, fields: Sequence[MeasuredField]) -> None:
    """Note in the run's folder what it is of; refuse a folder of something else."""
    ours = {"from": start.sha256, "stacks": [_described(field) for field in fields]}
    path = folder / _CLAIM
    if (folder / "checkpoint.safetensors").exists() or (folder / "best.json").exists():
        known = read_json(path) if path.exists() else None
        if known != ours:
            raise InputError(
                f"The folder '{folder}' holds a run of other stacks or weights: "
                "give another folder."
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, ours)


def _described(field: MeasuredField) -> dict[str, Any]:
    return {
        "name": field.kind,
        "shape": list(field.stack.shape),
        "z_step_um": round(field.z_step_um, 6),
        **field.optics.as_dict(),
    }


def write_adapted(adapter: Adapter, path: Path) -> str:
    """Write the best weights so far with their card.

    Parameters
    ----------
    adapter : Adapter
        After its first :class:`TrainingStep`.
    path : Path
        Ends in ``.safetensors``; the card is written beside it as JSON.

    Returns
    -------
    str
        SHA-256 of the weights file.
    """
    network, best = best_network(adapter.folder)
    return save_model(network, _card(adapter, best), path)


def gain_at_start(folder: Path) -> float:
    """Gain over linear MMSE of the weights that a run began with, in dB."""
    return float(log_of(folder)[0]["gain_db"])


def _card(adapter: Adapter, best: dict[str, Any]) -> dict[str, Any]:
    start, simulated = adapter.start, adapter.simulated
    return model_card(
        best,
        adapter.chosen,
        {
            "description": f"'{start.name}' adapted to one microscope.",
            "method": start.card.get("method", ""),
            "adapted_from": {"name": start.name, "sha256": start.sha256},
        },
        trained_for=_widened(start.card.get("trained_for", {}), adapter.fields),
        data={
            "stacks": [_described(field) for field in adapter.fields],
            "simulated_fields": 0 if simulated is None else len(simulated),
            "origin": "the user's own; the last quarter of each field held out",
        },
        held_out={
            "what": "gain over the linear MMSE estimate in dB of mean squared error on the "
            "held-out quarter of the field, against planes as the camera gave them",
            "gain_db_at_start": gain_at_start(adapter.folder),
        },
    )


def _widened(ranges: dict[str, Any], fields: Sequence[MeasuredField]) -> dict[str, Any]:
    """The start's ranges, reaching to these stacks' optics as well."""
    widened = dict(ranges)
    for optics in (field.optics for field in fields):
        values = optics.as_dict() | {
            "pixel_per_nyquist": 2 * optics.pixel_um / optics.resolution_um
        }
        for key in {"na", "wavelength_um", "pixel_per_nyquist"} & widened.keys():
            low, high = widened[key]
            widened[key] = [min(low, values[key]), max(high, values[key])]
    return widened
