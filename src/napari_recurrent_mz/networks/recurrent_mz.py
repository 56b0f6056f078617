"""Recurrent-MZ: the convolutional recurrent network, whole, in one file.

Huang et al., Light: Science & Applications 10:62 (2021), "Network structure". Each scan
comes with its digital propagation matrix (DPM), the signed distance of every pixel to the
target surface. Five encoder levels extract features from each scan, a gated recurrent unit
at every level gathers them over the scans in turn, and a decoder makes the image of the
target surface.

Shapes in the comments: N images, M scans, C channels, H × W pixels, k the level (1 … 5),
c_k = base · 2^(k−1) channels at level k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..core.scans import InputError

_GATE = {"widefield": -0.7, "confocal": 2.0}
"""The gate opens at a third: before any training it helps more often than it harms. A confocal
is dark between what it sees, which a linear estimate cannot be: there it is almost open."""

State = list[torch.Tensor]
"""State of the network after the scans so far: h_k for every level, (N, c_k, H_k, W_k)."""


_RANGES = {
    "base_channels": (1, 512),
    "levels": (1, 8),
    "dpm_unit_dof": (0.01, 1e4),
    "object_share": (0.0, 1.0),
    "slope": (0.0, 1.0),
    "fade_dof": (0.0, 1e4),
}
_CHOICES = {
    "norm": ("batch", "none"),
    "contrast": ("asinh", "linear"),
    "target": ("widefield", "confocal"),
}


@dataclass(frozen=True)
class NetworkConfig:
    """Every choice that shapes the network; the defaults are ours, :meth:`paper` the paper's.

    Parameters
    ----------
    base_channels : int
        Channels of the finest level; each coarser one has twice as many (paper: 20).
    levels : int
        Number of encoder and decoder blocks (paper: 5, Fig. 1b).
    norm : {"batch", "none"}
        Batch normalisation after every convolution (paper), or none.
    propagated_input : bool
        A third input channel: the scan carried to the target by the optics alone.
    correction : bool
        The output, in units of the estimate's expected error, is added to the linear MMSE
        estimate, and starts at zero. Otherwise the network makes the whole image, as in
        the paper.
    linear_skip : bool
        The linear MMSE estimate is one more channel of the first decoder block.
    dpm_unit_dof : float
        The distance, in depths of field, that the map of distances (DPM) calls 1. (The paper
        does not say how its DPM is scaled.)
    contrast : {"asinh", "linear"}
        How the network sees intensities: "linear" as normalised (paper), "asinh" as
        asinh((I - median) / spread), which lifts dim blur to order one beside bright
        structure, in sparse samples as in dense ones.
    nonnegative : bool
        What a non-negative object that explains the scans adds to the linear estimate joins
        the output through a learned gate, and every decoder block sees it. Goes with
        ``correction`` and ``linear_skip``.
    points : bool
        What points of light that explain the scans add joins it in the same way, through a
        gate of its own. Goes with ``nonnegative``, and with a wide-field target.
    object_share : float
        What an open gate lets through of it, 0 to 1: below 1 the network is more careful
        than the mean gain alone would make it.
    target : {"widefield", "confocal"}
        What the network makes of a target plane: its wide-field image, or the image that a
        confocal would give (the paper's Recurrent-MZ+). The estimates that it corrects are
        of the same.
    slope : float
        Slope of the rectifier below zero; 0 is the paper's ReLU. Without normalisation a ReLU can
        die, at zero for every input and without a gradient: a little slope keeps it in play.
    fade_dof : float
        Distance from the nearest scan, in depths of field, at which three quarters of the
        correction are added; further away it is ever closer to half. Beyond the outer scans
        a distance counts twice. 0: all of it everywhere.

    Raises
    ------
    InputError
        If a value is outside of its range.
    """

    base_channels: int = 20
    levels: int = 5
    norm: str = "batch"
    propagated_input: bool = True
    correction: bool = True
    linear_skip: bool = True
    dpm_unit_dof: float = 10.0
    contrast: str = "asinh"
    nonnegative: bool = False
    points: bool = False
    object_share: float = 1.0
    target: str = "widefield"
    slope: float = 0.0
    fade_dof: float = 0.0

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:  # NaN is in no range
                option = "--" + name.replace("_", "-")
                raise InputError(f"{option} is {value}: give {least:g} to {most:g}.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                option, value = "--" + name.replace("_", "-"), getattr(self, name)
                raise InputError(f"{option} is '{value}': choose one of {', '.join(choices)}.")
        if self.points and (self.target != "widefield" or not self.nonnegative):
            raise InputError("--points goes with --nonnegative, and with --target widefield.")

    @classmethod
    def paper(cls) -> NetworkConfig:
        """The paper's own form: image and DPM in, image out."""
        return cls(propagated_input=False, correction=False, linear_skip=False, contrast="linear")

    @classmethod
    def general(cls) -> NetworkConfig:
        """The form in which the bundled network for any sample was trained."""
        return cls(base_channels=16, norm="none", nonnegative=True, slope=0.01)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """The configuration written by :meth:`as_dict`."""
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Values by name, for a model card."""
        return asdict(self)

    @property
    def input_channels(self) -> int:
        """Image and DPM, and the propagated image where there is one."""
        return 3 if self.propagated_input else 2

    @property
    def needs_linear(self) -> bool:
        """Whether the linear MMSE estimate is part of the input."""
        return self.correction or self.linear_skip

    @property
    def skip_channels(self) -> int:
        """The linear estimate; what each object adds, and what it leaves."""
        return 1 + 2 * self.objects if self.linear_skip else 0

    @property
    def objects(self) -> int:
        """How many explain the scans: none, a non-negative one, and points beside it."""
        return int(self.nonnegative) + int(self.points)

    def channels(self, level: int) -> int:
        """c_k for level k = 1 … levels."""
        return int(self.base_channels * 2 ** (level - 1))


def start_at_random(weight: torch.Tensor) -> None:
    """Draw the weights of a convolution, if it has memory for any.

    To do it without, PyTorch would load its compiler, which leaves a folder behind.
    """
    if not weight.is_meta:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")


def _convolutions(inputs: int, middle: int, outputs: int, config: NetworkConfig) -> nn.Sequential:
    """Two 3×3 convolutions, each with BN and ReLU: (N, inputs, H, W) → (N, outputs, H, W)."""
    norm, slope = config.norm, config.slope
    layers: list[nn.Module] = []
    for before, after in ((inputs, middle), (middle, outputs)):
        layers.append(nn.Conv2d(before, after, 3, padding=1, bias=norm == "none"))
        start_at_random(layers[-1].weight)  # type: ignore[arg-type]
        if norm == "batch":
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class ConvGRU(nn.Module):
    """The paper's convolutional gated recurrent unit, with the single gate f.

        f_t = σ(W_f ∗ x_t + U_f ∗ h_(t−1) + b_f)
        ĥ_t = tanh(W_h ∗ x_t + U_h ∗ (f_t ⊙ h_(t−1)) + b_h)
        h_t = (1 − f_t) ⊙ h_(t−1) + f_t ⊙ ĥ_t

    The two convolutions of x are one, W. All kernels are 3×3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w = nn.Conv2d(channels, 2 * channels, 3, padding=1)  # W_f, W_h with b_f, b_h
        self.u_f = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.u_h = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor, h: torch.Tensor | None) -> torch.Tensor:
        """x (N, c, H, W) and the state h of the same shape, or None for zero → the new h."""
        x_f, x_h = self.w(x).chunk(2, dim=1)
        if h is None:  # U ∗ 0 = 0: half of the work falls away at the first scan
            return torch.sigmoid(x_f) * torch.tanh(x_h)
        f = torch.sigmoid(x_f + self.u_f(h))
        new = torch.tanh(x_h + self.u_h(f * h))
        return torch.lerp(h, new, f)


class RecurrentMZ(nn.Module):
    """The generator.

    Notes
    -----
    Height and width are free: images are padded by reflection to a multiple of
    2^(levels − 1) and cropped back.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        self.encoder = nn.ModuleList()
        self.recurrent = nn.ModuleList()
        self.mix = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level in range(1, config.levels + 1):
            c = config.channels(level)
            inputs = config.input_channels if level == 1 else config.channels(level - 1)
            self.encoder.append(_convolutions(inputs, c // 2, c, config))
            self.recurrent.append(ConvGRU(c))
            self.mix.append(nn.Conv2d(c, c, 1))
            below = config.channels(level + 1) if level < config.levels else 0
            extra = config.skip_channels if level == 1 or config.nonnegative else 0
            self.decoder.append(_convolutions(below + c + extra, c, c, config))
        # The image, and the logits of the objects' gates.
        self.last = nn.Conv2d(config.base_channels, 1 + config.objects, 3, padding=1)
        if config.correction:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    @property
    def multiple(self) -> int:
        """Height and width are padded to a multiple of this."""
        return int(2 ** (self.config.levels - 1))

    def forward(
        self,
        scans: torch.Tensor | Sequence[torch.Tensor],
        linear: torch.Tensor | None = None,
        unit: torch.Tensor | None = None,
        skip: torch.Tensor | None = None,
        extra: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Image of the target surface.

        Parameters
        ----------
        scans : torch.Tensor, shape (N, M, C, H, W)
            Per scan: normalised image, DPM in units of ``dpm_unit_dof`` depths of field,
            and the propagated image if the configuration has it.
        linear : torch.Tensor, shape (N, 1, H, W), optional
            The linear MMSE estimate, normalised; needed where the configuration says so.
        unit : torch.Tensor, shape (N, 1, H, W), optional
            The correction that an output of 1 stands for; by default 1.
        skip : torch.Tensor, shape (N, S, H, W), optional
            The linear estimate as the network sees intensities, by default ``linear``, and
            beside it what each of the configuration's E objects adds and what it leaves
            unexplained: S is 1 + 2E.
        extra : torch.Tensor, shape (N, E, H, W), optional
            What the objects add to the linear estimate, normalised.

        Returns
        -------
        torch.Tensor, shape (N, 1, H, W)
        """
        return self.continue_from(None, scans, linear, unit, skip, extra)[0]

    def continue_from(
        self,
        state: State | None,
        scans: torch.Tensor | Sequence[torch.Tensor],
        linear: torch.Tensor | None = None,
        unit: torch.Tensor | None = None,
        skip: torch.Tensor | None = None,
        extra: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, State]:
        """The image after further scans, and the hidden state after them.

        Parameters
        ----------
        state : list of torch.Tensor or None
            Hidden state after the earlier scans; None when there were none.
        scans
            The further scans alone, as in :meth:`forward`; the other inputs are of all scans.
        linear, unit, skip, extra
            As in :meth:`forward`.

        Returns
        -------
        image : torch.Tensor, shape (N, 1, H, W)
        state : list of torch.Tensor
        """
        sequence = list(scans.unbind(1)) if isinstance(scans, torch.Tensor) else list(scans)
        features: State = []
        for scan in sequence:
            features = self.encode(scan)
            state = self.remember(features, state)
        if state is None or not features:
            raise ValueError("forward needs at least one scan")
        size = tuple(sequence[0].shape[-2:])
        return self.decode(features, state, linear, size, unit, skip, extra), state

    def encode(self, scan: torch.Tensor) -> State:
        """Features x_k of one scan (N, C, H, W): a list of (N, c_k, H_k, W_k)."""
        x = self.pad(scan)
        features: State = []
        for level, block in enumerate(self.encoder):
            x = block(functional.max_pool2d(x, 2) if level else x)
            features.append(x)
        return features

    def remember(self, features: State, state: State | None) -> State:
        """The state after one more scan; ``state`` is None before the first."""
        before: Sequence[torch.Tensor | None] = state or [None] * len(features)
        return [unit(x, h) for unit, x, h in zip(self.recurrent, features, before, strict=True)]

    def decode(
        self,
        features: State,
        state: State,
        linear: torch.Tensor | None,
        size: tuple[int, ...],
        unit: torch.Tensor | None = None,
        skip: torch.Tensor | None = None,
        extra: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The image (N, 1, H, W) from the last scan's features and the state.

        ``size`` is the (H, W) to crop to; the rest as in :meth:`forward`.
        """
        if self.config.needs_linear and linear is None:
            raise ValueError("this network needs the linear estimate beside the scans")
        beside = self.beside(linear, skip)
        y: torch.Tensor | None = None
        for level in reversed(range(self.config.levels)):
            s = features[level] + self.mix[level](state[level])  # s_k = x_k + Conv1×1(h_k)
            inputs = [s] if y is None else [functional.interpolate(y, scale_factor=2.0), s]
            if beside is not None and (level == 0 or self.config.nonnegative):
                inputs.append(functional.avg_pool2d(beside, 2**level).to(s.dtype))
            y = self.decoder[level](torch.cat(inputs, dim=1))
        out: torch.Tensor = self.last(y)[..., : size[0], : size[1]]
        if not self.config.correction or linear is None:
            return out
        return self.corrected(out.to(linear.dtype), linear, unit, extra)

    def beside(self, linear: torch.Tensor | None, skip: torch.Tensor | None) -> torch.Tensor | None:
        """Images that the decoder sees beside the features, padded: (N, S, H', W')."""
        seen = linear if skip is None else skip
        if not self.config.linear_skip or seen is None:
            return None
        if seen.shape[1] != self.config.skip_channels:
            raise ValueError(f"this network needs {self.config.skip_channels} skip channels")
        return self.pad(seen)

    def corrected(
        self,
        out: torch.Tensor,
        linear: torch.Tensor,
        unit: torch.Tensor | None,
        extra: torch.Tensor | None,
    ) -> torch.Tensor:
        """The linear estimate, the learned correction, and those of the objects, gated."""
        learned = out[:, :1]
        total = linear + (learned if unit is None else unit * learned)
        if not self.config.nonnegative:
            return total
        if extra is None:
            raise ValueError("this network needs what the objects add")
        gate = torch.sigmoid(out[:, 1:] + _GATE[self.config.target])
        return total + (self.config.object_share * gate * extra).sum(1, keepdim=True)

    def pad(self, image: torch.Tensor) -> torch.Tensor:
        """Reflect-pad (N, C, H, W) below and to the right to a multiple of 2^(levels−1)."""
        high, wide = image.shape[-2:]
        bottom, right = -high % self.multiple, -wide % self.multiple
        if not (bottom or right):
            return image
        # A side shorter than its padding cannot be reflected; its edge goes on instead.
        mode = "reflect" if bottom < high and right < wide else "replicate"
        return functional.pad(image, (0, right, 0, bottom), mode=mode)
