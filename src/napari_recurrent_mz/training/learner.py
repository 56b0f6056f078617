"""A network that learns from drawn examples, one optimiser step at a time.

On CUDA the whole step (forward, backward, clipping, AdamW, the moving average of the weights) is
recorded once for each number of scans and then replayed, so that Python has nothing to wait for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ..networks.architectures import Network, build
from ..networks.inputs import Prepared
from ..networks.recurrent_mz import NetworkConfig
from .store import Drawn

_WARM_UP = 3  # steps before a graph is recorded


@dataclass(frozen=True)
class LearnerConfig:
    """How a network learns."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    batch: int = 32
    crop: int = 128  # pixels on a side
    learning_rate: float = 1e-3  # the highest
    weight_decay: float = 1e-4
    clip: float = 1.0  # largest norm of the gradient
    average: float = 0.999  # decay of the moving average of the weights
    care: float = 1.0  # how much more an example counts that is worse than the linear estimate
    half: bool = True  # bfloat16 where that pays


def careful_loss(output: torch.Tensor, drawn: Drawn, care: float) -> torch.Tensor:
    """Half the mean of r + care · max(r, 0), with r = log(MSE(output) / MSE(linear)).

    The decibels gained on every example count alike, and those lost count more.
    """
    ours = ((output - drawn.truth) ** 2).flatten(1).mean(dim=1)
    theirs = ((drawn.linear - drawn.truth) ** 2).flatten(1).mean(dim=1)
    ratio = torch.log(ours + drawn.floor) - torch.log(theirs + drawn.floor)
    return 0.5 * (ratio + care * ratio.clamp_min(0)).mean()


class Learner:
    """One network, its optimiser (AdamW), and the moving average of its weights.

    The default ``loss`` of an output and its examples is :func:`careful_loss`.
    """

    def __init__(
        self,
        config: LearnerConfig,
        device: torch.device,
        start: dict[str, torch.Tensor] | None = None,
        loss: Callable[[torch.Tensor, Drawn], torch.Tensor] | None = None,
    ) -> None:
        self.config, self.device = config, device
        network = build(config.network)
        if start is not None:
            network.load_state_dict(start)
        self.network: Network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train()
        self.average: Network = copy.deepcopy(self.network).eval().requires_grad_(False)
        self._on_gpu = device.type == "cuda"
        self._rate = torch.tensor(config.learning_rate, device=device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=self._rate,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
            capturable=self._on_gpu,
            fused=self._on_gpu,
        )
        self._loss = loss or (lambda output, drawn: careful_loss(output, drawn, config.care))
        self._decay = torch.tensor(0.0, device=device)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Drawn, torch.Tensor]] = {}
        self.steps = 0

    def step(self, drawn: Drawn, rate: float) -> torch.Tensor:
        """One step at a learning rate; returns the loss, on the device."""
        self.steps += 1
        self._rate.fill_(rate)
        # A young average forgets faster: its first weights are noise.
        self._decay.fill_(min(self.config.average, (1 + self.steps) / (10 + self.steps)))
        if not self._on_gpu:
            return self._do(drawn)
        count = drawn.inputs.scans.shape[1]
        if count not in self._graphs:
            self._graphs[count] = self._record(drawn)
        graph, held, loss = self._graphs[count]
        for mine, theirs in zip(_flat(held), _flat(drawn), strict=True):
            mine.copy_(theirs)
        graph.replay()
        return loss

    def _do(self, drawn: Drawn) -> torch.Tensor:
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.half, cache_enabled=False
        ):
            output = self.network(*drawn.inputs).float()
        loss = self._loss(output, drawn)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self._update(norm)
        return loss.detach()

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

    def _record(self, drawn: Drawn) -> tuple[torch.cuda.CUDAGraph, Drawn, torch.Tensor]:
        held = Drawn(
            Prepared(*(value.clone() for value in drawn.inputs)),
            *(value.clone() for value in drawn[1:]),
        )
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


def _flat(drawn: Drawn) -> list[torch.Tensor]:
    return [*drawn.inputs, *drawn[1:]]
