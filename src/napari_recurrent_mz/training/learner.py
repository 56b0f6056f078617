"""A network that learns from examples, one optimiser step at a time.

On CUDA the whole step (forward, backward, clipping, AdamW, the moving average of the weights) is
recorded once for each number of scans and then replayed, so that Python has nothing to wait for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import nn

from ..core.device import without_triton
from ..core.scans import InputError
from ..networks.architectures import Network, build
from ..networks.recurrent_mz import NetworkConfig
from .examples import Batch, ExampleConfig
from .losses import Discriminator, LossConfig, discriminator_loss, generator_loss

_WARM_UP = 3  # steps before a graph is recorded


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Parameters
    ----------
    steps : int
        Length of the run: how often the network is corrected.
    batch : int
        Examples that each step learns from.
    learning_rate : float
        How much a step changes the weights (of AdamW; the paper starts at 1e-5 and trains for
        three days).
    weight_decay : float
        How strongly weights are drawn towards nil (of AdamW).
    warm_up : int
        Steps over which the learning rate rises from nil.
    decay_from : float
        Share of the run after which the learning rate falls to nil along a cosine.
    average : float
        Share of its past that the moving average of the weights keeps at each step; that
        average is tested and kept.
    clip : float
        Largest norm of the gradient that a step follows: more is cut.
    validate_every : int
        Steps from one test of the network to the next.
    checkpoint_every : int
        Steps after which the run is kept, to go on from there.
    questions : int
        Planes that a test asks for, at least: up to 8 of each field that is kept for testing.
    re_estimate : bool
        With batch normalisation: whether the averaged weights get statistics of their own
        before they are tested; otherwise the running ones of the training.
    validate_raw : bool
        Test the weights without their moving average too, for the log.
    seed : int
        Of the random numbers: the same one gives the same run.
    """

    steps: int = 20000
    batch: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warm_up: int = 200
    decay_from: float = 0.6
    average: float = 0.998
    clip: float = 1.0
    validate_every: int = 500
    checkpoint_every: int = 250
    questions: int = 240
    re_estimate: bool = True
    validate_raw: bool = False
    seed: int = 0
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    examples: ExampleConfig = field(default_factory=ExampleConfig)


def begun(config: NetworkConfig, start: Network | None = None) -> Network:
    """A network with random weights, or those of ``start``, what is new in it at zero."""
    network = build(config)
    if start is None:
        return network
    old, new = start.state_dict(), network.state_dict()
    for name, value in new.items():
        if old.keys() != new.keys() or any(o > n for o, n in zip(old[name].shape, value.shape)):  # noqa: B905
            raise InputError(
                "The weights to start from are of another network than the one to train: "
                "give the same --architecture, --levels and --norm, and no fewer channels."
            )
        new[name] = torch.zeros_like(value)
        if start.config.target == config.target or not name.startswith("last."):
            new[name][tuple(slice(n) for n in old[name].shape)] = old[name]
    network.load_state_dict(new)
    return network


class Learner:
    """One network, its optimiser (AdamW), the moving average of its weights, and its adversary."""

    def __init__(
        self, config: TrainConfig, network: Network, device: torch.device, *, half: bool
    ) -> None:
        self.config, self.device, self.half = config, device, half
        self.network: Network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train()
        self.average: Network = copy.deepcopy(self.network).eval().requires_grad_(False)
        self._on_gpu = device.type == "cuda"
        self._rate = torch.tensor(config.learning_rate, device=device)
        self.optimiser = self._adam(self.network)
        self.judge = Discriminator().to(device) if config.loss.adversarial else None
        self._judge_optimiser = None if self.judge is None else self._adam(self.judge)
        self._decay = torch.tensor(0.0, device=device)
        self._graphs: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Batch, torch.Tensor]] = {}
        self.steps = 0

    def _adam(self, network: nn.Module) -> torch.optim.AdamW:
        with without_triton():
            return torch.optim.AdamW(
                network.parameters(),
                lr=self._rate,
                betas=(0.9, 0.99),
                weight_decay=self.config.weight_decay,
                capturable=self._on_gpu,
                fused=self._on_gpu,
            )

    def step(self, batch: Batch, rate: float) -> torch.Tensor:
        """One step at a learning rate; returns the loss, on the device."""
        self.steps += 1
        self._rate.fill_(rate)
        # A young average forgets faster: its first weights are noise.
        self._decay.fill_(min(self.config.average, (1 + self.steps) / (10 + self.steps)))
        if not self._on_gpu or self.judge is not None:
            return self._do(batch)
        shape = batch.inputs.scans.shape
        if shape not in self._graphs:
            self._graphs[shape] = self._record(batch)
        graph, held, loss = self._graphs[shape]
        for mine, theirs in zip(held.tensors(), batch.tensors(), strict=True):
            mine.copy_(theirs)
        graph.replay()
        return loss.clone()

    def _do(self, batch: Batch) -> torch.Tensor:
        with self._autocast():
            output = self.network(*batch.inputs).float()
        judged = None
        if self.judge is not None and self.steps > self.config.loss.adversarial_start:
            judged = self._judged(self.judge, output, batch.truth)
        loss = generator_loss(
            self.config.loss, output, batch.truth, batch.linear, judged, batch.floor
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self._update(norm)
        return loss.detach()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.half, cache_enabled=False
        )

    def _judged(
        self, judge: Discriminator, output: torch.Tensor, truth: torch.Tensor
    ) -> torch.Tensor:
        """One step of the discriminator; returns its opinion of ``output`` for the generator."""
        assert self._judge_optimiser is not None
        with self._autocast():
            loss = discriminator_loss(judge(output.detach()).float(), judge(truth).float())
        self._judge_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._judge_optimiser.step()
        with self._autocast():
            judged: torch.Tensor = judge(output).float()
        return judged

    @torch.no_grad()
    def _update(self, norm: torch.Tensor) -> None:
        """The optimiser's step, unless the gradient is not finite, and the moving average."""
        if self._on_gpu:  # which must not be waited for: the fused optimiser skips the step itself
            self.optimiser.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
            self.optimiser.step()
        elif torch.isfinite(norm):
            self.optimiser.step()
        now, means = (
            [value for value in network.state_dict().values() if value.is_floating_point()]
            for network in (self.network, self.average)
        )
        change = torch._foreach_sub(now, means)
        torch._foreach_mul_(change, 1 - self._decay)
        torch._foreach_add_(means, change)

    def _record(self, batch: Batch) -> tuple[torch.cuda.CUDAGraph, Batch, torch.Tensor]:
        held = batch.each(torch.clone)
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._do(held)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            loss = self._do(held)
        return graph, held, loss

    @torch.no_grad()
    def estimate_statistics(self, batches: Iterable[Batch]) -> None:
        """Give the averaged weights batch statistics of their own: the means over some batches."""
        norms = [one for one in self.average.modules() if isinstance(one, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the cumulative mean
        network = self.average.train()
        for batch in batches:
            network(*batch.to(self.device).inputs)
        network.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @property
    def _parts(self) -> dict[str, nn.Module]:
        judge = {} if self.judge is None else {"judge": self.judge}
        return {"network": self.network, "average": self.average, **judge}

    @property
    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        if self._judge_optimiser is None:
            return {"adam": self.optimiser}
        return {"adam": self.optimiser, "judge_adam": self._judge_optimiser}

    def state(self) -> dict[str, torch.Tensor]:
        """Everything to go on from."""
        tensors = {
            f"{name}.{key}": value
            for name, part in self._parts.items()
            for key, value in part.state_dict().items()
        }
        for name, optimiser in self._optimisers.items():
            for n, values in optimiser.state_dict()["state"].items():
                tensors |= {f"{name}.{n}.{k}": torch.as_tensor(v) for k, v in values.items()}
        return {key: value.contiguous() for key, value in tensors.items()}

    def load(self, tensors: dict[str, torch.Tensor], steps: int) -> None:
        """Go on from :meth:`state` after so many steps."""

        def part(name: str) -> dict[str, torch.Tensor]:
            start = f"{name}."
            return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}

        for name, module in self._parts.items():
            module.load_state_dict(part(name))
        for name, optimiser in self._optimisers.items():
            states: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in part(name).items():
                number, what = key.split(".", 1)
                states.setdefault(int(number), {})[what] = value
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": states, "param_groups": groups})
            for group in optimiser.param_groups:  # loading has copied it
                group["lr"] = self._rate
        self.steps = steps
