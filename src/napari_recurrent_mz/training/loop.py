"""The training loop: steps, checkpoints, validation, the log, and the weights at the end."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from ..core.device import Device
from ..core.errors import is_out_of_memory
from ..core.scans import InputError
from ..io import write_json, write_whole
from ..io._whole import claimed, refusals_of
from ..networks.architectures import Network, architecture_of
from ..networks.recurrent_mz import RecurrentMZ
from .check import Question, Validation, ask, field_questions
from .examples import Batch, ahead
from .fields import Pool
from .learner import Learner, TrainConfig, begun
from .revive import Dead, Revived, bring_back, watched
from .sets import making_device

_SHOWN = 8  # batches that a network is shown to see what is dead in it
_SAVED = 20  # times, of a run that takes a given time; it is judged as often at most
_TRAINED = 9.0  # times as long as a judgement takes, between two
_QUEUED = 50  # steps that a GPU is told of at most before its results are waited for

Source = Callable[[int, int, int], Batch]
"""Examples by seed, step and how many."""

Check = Callable[[Network], Validation]
"""What a network in evaluation mode reaches on what it has not seen."""


@dataclass(frozen=True)
class TrainingStep:
    """Where a run is, yielded after every step."""

    step: int
    steps: int  # in all; of a run that takes a given time, about so many
    measured: torch.Tensor  # the loss, where it was computed
    gain_db: float | None  # mean gain over linear MMSE on the held-out set, after a validation
    seconds_left: float
    words: str = ""  # what the validation found

    @property
    def loss(self) -> float:
        """Of this step; a GPU is waited for."""
        return float(self.measured)


class Trainer:
    """Trains one network for ``config.steps`` or ``minutes``; a run found in ``folder`` goes on."""

    def __init__(
        self,
        config: TrainConfig,
        source: Source,
        check: Check,
        folder: Path,
        *,
        device: Device,
        start_from: Network | None = None,
        revive: bool = False,
        minutes: float | None = None,
    ) -> None:
        self.config, self.folder, self.chosen = config, folder, device
        self.minutes, self._checkpoint = minutes, folder / "checkpoint.safetensors"
        self.source, self.check = source, check
        torch.manual_seed(config.seed)
        network = begun(config.network, start_from)
        fresh = not self._checkpoint.exists()
        self.revived = self._revive(network) if revive and fresh else None
        self.learner = Learner(config, network, device.torch, half=device.half)
        self.best_score = self.best_db = -np.inf
        self.seconds = 0.0
        self._began: float | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if not fresh:
            self._resume()

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self.learner.steps

    @property
    def part(self) -> float:
        """How much of the run is over: 1 at its end."""
        if self.minutes is None:
            return self.step / self.config.steps
        return self._elapsed() / (60 * self.minutes)

    def run(self) -> Iterator[TrainingStep]:
        """Train to the end, yielding after every step; close the generator to stop early."""
        with claimed(self._checkpoint) as ours:
            if not ours:
                raise InputError(
                    f"Another process trains in '{self.folder}': wait until it ends, or take "
                    "another folder."
                )
            yield from self._run()

    def _run(self) -> Iterator[TrainingStep]:
        config, losses = self.config, list[torch.Tensor]()
        self._began = time.monotonic()
        first = judged = kept = part = self.part
        apart = 1 / _SAVED
        stream = ahead(self._batch, self.step, None if self.minutes else config.steps)
        try:
            while part < 1:
                losses.append(self.learner.step(next(stream), self.learning_rate(self.step, part)))
                if self.step % _QUEUED == 0:
                    losses[-1].item()
                part = self.part
                if self.minutes is None:
                    due = part >= 1 or self.step % config.validate_every == 0
                    saved = part >= 1 or self.step % config.checkpoint_every == 0
                else:
                    due = part >= 1 or part - judged >= apart
                    saved = due or part - kept >= 1 / _SAVED
                gain, words = None, ""
                if due:
                    gain, words = self._validate(float(torch.stack(losses).mean()))
                    losses, judged = losses[-1:], self.part
                    apart = max(1 / _SAVED, _TRAINED * (judged - part))
                if saved:
                    self._save()
                    kept = part
                left = (time.monotonic() - self._began) * max(1 - part, 0) / (part - first)
                steps = round(self.step / part)
                yield TrainingStep(self.step, steps, losses[-1], gain, left, words)
        finally:
            stream.close()
            self.seconds, self._began = self._elapsed(), None

    def _batch(self, step: int) -> Batch:
        batch = self.source(self.config.seed, step, self.config.batch)
        return batch.to(self.chosen.torch)

    def _revive(self, network: Network) -> Revived:
        """Give the dead parts of a network new weights, in place."""
        if not isinstance(network, RecurrentMZ) or network.config.norm != "none":
            raise InputError(
                "Only a Recurrent-MZ without batch normalisation is revived: leave --revive out."
            )
        config = self.config
        batches = (self.source(config.seed, step, config.batch) for step in range(_SHOWN))
        return bring_back(network, [batch.to(torch.device("cpu")).inputs for batch in batches])

    def _elapsed(self) -> float:
        """Seconds of training, earlier runs of the same folder included."""
        now = 0.0 if self._began is None else time.monotonic() - self._began
        return self.seconds + now

    def learning_rate(self, step: int, part: float) -> float:
        """Learning rate of a step: a linear rise, a plateau, a cosine to nil over the run's end."""
        config = self.config
        rise = min(1.0, (step + 1) / max(config.warm_up, 1))
        fall = np.clip((part - config.decay_from) / max(1 - config.decay_from, 1e-9), 0, 1)
        return float(config.learning_rate * rise * 0.5 * (1 + np.cos(np.pi * fall)))

    def averaged(self) -> Network:
        """The moving average of the weights, batch statistics re-estimated where there are any."""
        if self.config.network.norm == "batch" and self.config.re_estimate:
            seed = self.config.seed + 1
            self.learner.estimate_statistics(self.source(seed, n, 8) for n in range(16))
        return self.learner.average

    def _score(self, result: Validation) -> float:
        """What chooses the best weights."""
        return result.score

    def _validate(self, loss: float) -> tuple[float, str]:
        """The mean gain, and what else is to be logged."""
        network = self.averaged()
        with watched(network) as ranges:
            result = self.check(network)
        if self._score(result) > self.best_score:
            self.best_score, self.best_db = self._score(result), result.gain_db
            self._write("best.safetensors", network.state_dict())
            best = {
                "step": self.step,
                "seconds": self._elapsed(),
                "architecture": architecture_of(self.config.network),
                "config": asdict(self.config),
                "validation": asdict(result),
            }
            write_json(self.folder / "best.json", best)
        raw = {}
        if self.config.validate_raw:
            raw["raw_gain_db"] = self.check(self.learner.network.eval()).gain_db
            self.learner.network.train()
        dead = Dead.among(ranges)
        row = {"step": self.step, "loss": loss, "gain_db": result.gain_db, **result.by_kind_db}
        row |= raw | {"worst_db": result.worst_db, "lost": result.lost}
        row |= {"dead_channels": sum(dead.channels.values()), "dead_levels": len(dead.blocks)}
        self._log(row)
        words = result.words + (f"; {dead.words}" if dead.words else "")
        return result.gain_db, words

    def _log(self, row: dict[str, float]) -> None:
        path = self.folder / "log.csv"
        with refusals_of(path), path.open("a+", newline="", encoding="utf-8") as stream:
            stream.seek(0)  # a run that goes on with other options keeps its columns
            columns = next(csv.reader(stream), None)
            writer = csv.DictWriter(stream, columns or list(row), "nan", "ignore")
            if columns is None:
                writer.writeheader()
            writer.writerow({key: f"{value:.5g}" for key, value in row.items()})

    def _write(
        self, name: str, tensors: dict[str, torch.Tensor], about: dict[str, str] | None = None
    ) -> None:
        content = save({key: value.contiguous() for key, value in tensors.items()}, about)
        write_whole(self.folder / name, lambda part: part.write_bytes(content))

    def _save(self) -> None:
        now = {"step": self.step, "seconds": self._elapsed()}
        now |= {"best_score": self.best_score, "best_db": self.best_db}
        about = {name: str(value) for name, value in now.items()}
        self._write(self._checkpoint.name, self.learner.state(), about)

    def _resume(self) -> None:
        try:
            with safe_open(self._checkpoint, "pt") as stream:
                about = {name: float(value) for name, value in stream.metadata().items()}
            self.learner.load(load_file(self._checkpoint), int(about["step"]))
            self.best_score, self.best_db = about["best_score"], about["best_db"]
        except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            raise InputError(
                f"The run in '{self.folder}' is of another network or another version: take "
                "another folder, or the settings that it was begun with."
            ) from error
        self.seconds = about["seconds"]


def held_out_check(config: TrainConfig, held_out: Pool, device: Device) -> Check:
    """A check on held-out fields, a third of it with wrong optics and little light."""
    held_out.require()
    each = min(-(-config.questions // len(held_out)), 8)

    @cache
    def questions() -> list[Question]:
        where = making_device(device)
        return list(field_questions(held_out, config.network, where, each, hard=True))

    return lambda network: ask(network, questions(), half=device.half)
