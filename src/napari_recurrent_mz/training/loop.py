"""The training loop: steps, checkpoints, validation, the log, and the weights at the end."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..core.device import choose_device
from ..core.scans import InputError
from ..networks.architectures import Network, architecture_of, build
from ..networks.recurrent_mz import NetworkConfig, RecurrentMZ
from .examples import Batch, ExampleConfig, ahead, make_batch
from .fields import Pool
from .losses import Discriminator, LossConfig, discriminator_loss, generator_loss
from .revive import Revived, bring_back
from .validation import Validation, validate

_SHOWN = 8  # batches that a network is shown to see what is dead in it


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Parameters
    ----------
    steps : int
        Length of the run, in optimiser steps.
    batch : int
        Examples a step.
    learning_rate : float
        Adam's (the paper starts at 1e-5 and trains for three days; see docs/training.md).
    warm_up : int
        Steps over which the learning rate rises from nil.
    decay_from : float
        Share of the run after which the learning rate falls to nil along a cosine.
    average : float
        Decay of the moving average of the weights, which is what is validated and kept.
    clip : float
        Largest norm of the gradient.
    validate_every, checkpoint_every : int
        In steps.
    re_estimate : bool
        Whether the averaged weights get batch statistics of their own before they are
        validated; otherwise the running ones of the training.
    validate_raw : bool
        Validate the weights without their moving average too, for the log.
    seed : int
    """

    steps: int = 20000
    batch: int = 4
    learning_rate: float = 1e-3
    warm_up: int = 200
    decay_from: float = 0.6
    average: float = 0.998
    clip: float = 1.0
    validate_every: int = 500
    checkpoint_every: int = 250
    re_estimate: bool = True
    validate_raw: bool = False
    seed: int = 0
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    examples: ExampleConfig = field(default_factory=ExampleConfig)


def _packed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Contiguous copies, as safetensors wants them (channels_last weights are not)."""
    return {key: value.contiguous() for key, value in tensors.items()}


def _fitted(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of a network with fewer inputs or outputs; what is new begins at zero."""
    fitted = {}
    for name, value in new.items():
        if old.keys() != new.keys() or any(o > n for o, n in zip(old[name].shape, value.shape)):  # noqa: B905
            raise InputError(
                "The weights to start from are of another network than the one to train: "
                "give the same --architecture, --levels and --norm, and no fewer channels."
            )
        fitted[name] = torch.zeros_like(value)
        fitted[name][tuple(slice(n) for n in old[name].shape)] = old[name]
    return fitted


@dataclass(frozen=True)
class TrainingStep:
    """Where a run is, yielded after every step."""

    step: int
    steps: int
    loss: float
    gain_db: float | None  # mean gain over linear MMSE on the held-out set, after a validation
    seconds_left: float


class Trainer:
    """Trains one network; iterate :meth:`run`. A run found in ``folder`` is resumed.

    ``held_out`` fields choose the best checkpoint. With ``revive``, the dead parts of the weights
    that training starts from get new ones.
    """

    def __init__(
        self,
        config: TrainConfig,
        pool: Pool,
        held_out: Pool,
        folder: Path,
        *,
        device: str = "auto",
        start_from: Network | None = None,
        revive: bool = False,
    ) -> None:
        if not len(pool) or not len(held_out):
            empty = held_out if len(pool) else pool
            raise InputError(
                f"There is no simulated field in '{empty.folder}': "
                "make some with recurrent-mz simulate."
            )
        self.config, self.pool, self.held_out, self.folder = config, pool, held_out, folder
        self.chosen = choose_device(device)
        self.device = self.chosen.torch
        torch.manual_seed(config.seed)
        network = build(config.network)
        if start_from is not None:
            begin = _fitted(start_from.state_dict(), network.state_dict())
            if start_from.config.target != config.network.target:  # nil for another image
                begin |= {k: torch.zeros_like(v) for k, v in begin.items() if k.startswith("last.")}
            network.load_state_dict(begin)
        fresh = not self._checkpoint.exists()
        self.revived = self._revive(network) if revive and fresh else None
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(
            self.network,
            multi_avg_fn=get_ema_multi_avg_fn(config.average),  # type: ignore[no-untyped-call]
            use_buffers=False,
        )
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.discriminator = Discriminator().to(self.device)
        self.discriminator_optimiser = torch.optim.Adam(
            self.discriminator.parameters(), lr=config.learning_rate
        )
        self.step, self.best_db, self.seconds = 0, -np.inf, 0.0
        self._began: float | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.exists():
            self._resume()

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    @property
    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """By their names in a checkpoint."""
        return {"adam": self.optimiser, "judge_adam": self.discriminator_optimiser}

    def run(self) -> Iterator[TrainingStep]:
        """Train to the end, yielding after every step; close the generator to stop early."""
        config = self.config
        stream = ahead(self._make, self.step, config.steps)
        self._began, first = time.monotonic(), self.step
        try:
            for batch in stream:
                loss = self._train_step(batch)
                self.step += 1
                spent = time.monotonic() - self._began
                gain = None
                if self.step % config.validate_every == 0 or self.step == config.steps:
                    gain = self._validate(loss)
                if self.step % config.checkpoint_every == 0 or self.step == config.steps:
                    self._save()
                left = spent / (self.step - first) * (config.steps - self.step)
                yield TrainingStep(self.step, config.steps, loss, gain, left)
        finally:
            self.seconds, self._began = self._elapsed(), None

    def _make(self, step: int) -> Batch:
        """The batch of a step."""
        if step % 50 == 0:
            self.pool.refresh()
        return self._batch(self.config.seed, step, self.config.batch)

    def _batch(self, seed: int, step: int, size: int) -> Batch:
        """Examples that depend on these numbers alone."""
        config = self.config
        return make_batch(
            self.pool, seed, step, size, config.examples, config.network, self._data_device
        )

    def _revive(self, network: Network) -> Revived:
        """Give the dead parts of a network new weights, in place."""
        if not isinstance(network, RecurrentMZ) or network.config.norm != "none":
            raise InputError(
                "Only a Recurrent-MZ without batch normalisation is revived: leave --revive out."
            )
        config = self.config
        batches = (self._batch(config.seed, step, config.batch) for step in range(_SHOWN))
        return bring_back(network, [batch.inputs for batch in batches])

    def _evaluate(self, network: Network) -> Validation:
        """What a network reaches on the held-out fields."""
        return validate(network, self.held_out, device=self.chosen)

    def _elapsed(self) -> float:
        """Seconds of training, earlier runs of the same folder included."""
        now = 0.0 if self._began is None else time.monotonic() - self._began
        return self.seconds + now

    @property
    def _data_device(self) -> torch.device | None:
        return self.device if self.device.type == "cuda" else None

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step: a linear rise, a plateau, a cosine to nil."""
        config = self.config
        rise = min(1.0, (step + 1) / max(config.warm_up, 1))
        start = config.decay_from * config.steps
        part = np.clip((step - start) / max(config.steps - start, 1), 0, 1)
        return float(config.learning_rate * rise * 0.5 * (1 + np.cos(np.pi * part)))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.chosen.half)

    def _train_step(self, batch: Batch) -> float:
        inputs, truth = batch.to(self.device)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.network.train()
        with self._autocast():
            output = self.network(*inputs).float()
        judged = None
        config = self.config.loss
        if config.adversarial and self.step >= config.adversarial_start:
            judged = self._train_discriminator(output, truth)
        loss = generator_loss(config, output, truth, inputs.linear, judged)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        if torch.isfinite(norm):  # one bad batch must not end a long run
            self.optimiser.step()
            self.average.update_parameters(self.network)
        return float(loss.detach())

    def _train_discriminator(self, output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """One step of the discriminator; returns its opinion of ``output`` for the generator."""
        with self._autocast():
            loss = discriminator_loss(
                self.discriminator(output.detach()).float(), self.discriminator(truth).float()
            )
        self.discriminator_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.discriminator_optimiser.step()
        with self._autocast():
            judged: torch.Tensor = self.discriminator(output).float()
        return judged

    def averaged(self) -> Network:
        """The moving average of the weights, batch statistics re-estimated where there are any."""
        network = self.average.module
        assert isinstance(network, Network)
        if self.config.network.norm == "batch" and self.config.re_estimate:
            self._estimate_statistics(network)
        return network

    @torch.no_grad()
    def _estimate_statistics(self, network: Network) -> None:
        """Batch statistics of a network's own: the mean over some batches."""
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        momentum = norms[0].momentum
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the cumulative mean
        network.train()
        for n in range(16):
            network(*self._batch(self.config.seed + 1, n, 8).to(self.device).inputs)
        for norm in norms:
            norm.momentum = momentum

    def _validate(self, loss: float) -> float:
        network = self.averaged().eval()
        result = self._evaluate(network)
        if result.gain_db > self.best_db:
            self.best_db = result.gain_db
            save_file(_packed(network.state_dict()), self.folder / "best.safetensors")
            (self.folder / "best.json").write_text(json.dumps(self._describe(result), indent=1))
        raw = None
        if self.config.validate_raw:
            raw = self._evaluate(self.network.eval()).gain_db
        self._log(loss, result, raw)
        return result.gain_db

    def _describe(self, result: Validation) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self._elapsed(),
            "architecture": architecture_of(self.config.network),
            "config": asdict(self.config),
            "validation": asdict(result),
        }

    def _log(self, loss: float, result: Validation, raw: float | None) -> None:
        path = self.folder / "log.csv"
        row = {"step": self.step, "loss": loss, "gain_db": result.gain_db, **result.by_kind}
        if raw is not None:
            row["raw_gain_db"] = raw
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(row))
            if new:
                writer.writeheader()
            writer.writerow({key: f"{value:.5g}" for key, value in row.items()})

    def _save(self) -> None:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.module.state_dict().items()}
        tensors |= {f"judge.{k}": v for k, v in self.discriminator.state_dict().items()}
        for name, optimiser in self._optimisers.items():
            for n, state in optimiser.state_dict()["state"].items():
                tensors |= {f"{name}.{n}.{k}": torch.as_tensor(v) for k, v in state.items()}
        meta = {
            "step": str(self.step),
            "best_db": str(self.best_db),
            "seconds": str(self._elapsed()),
            "averaged": str(int(self.average.n_averaged)),
        }
        part = self._checkpoint.with_suffix(".part")
        save_file(_packed(tensors), part, metadata=meta)
        part.replace(self._checkpoint)

    def _resume(self) -> None:
        from safetensors import safe_open

        tensors = load_file(self._checkpoint)
        with safe_open(self._checkpoint, "pt") as stream:
            meta = stream.metadata()

        def part(name: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)}

        self.network.load_state_dict(part("network."))
        self.average.module.load_state_dict(part("average."))
        self.average.n_averaged.fill_(int(meta["averaged"]))
        self.discriminator.load_state_dict(part("judge."))
        for name, optimiser in self._optimisers.items():
            states: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in part(f"{name}.").items():
                number, what = key.split(".", 1)
                states.setdefault(int(number), {})[what] = value
            optimiser.load_state_dict(
                {"state": states, "param_groups": optimiser.state_dict()["param_groups"]}
            )
        self.step = int(meta["step"])
        self.best_db, self.seconds = float(meta["best_db"]), float(meta["seconds"])
