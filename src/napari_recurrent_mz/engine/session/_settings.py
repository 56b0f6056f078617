"""Settings of a session, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.methods import method_of
from ...core.metrics import EPSILON
from ...core.optics import Optics
from ...core.scans import InputError, ZGrid
from ...estimates.normalisation import Normalisation
from ...estimates.planning import RULES
from ...networks.inputs import Scale
from ...networks.weights import Model
from ..inference import model_for


@dataclass(frozen=True)
class SessionSettings:
    """Everything that stays the same while scans come.

    Parameters
    ----------
    grid : ZGrid
        The heights wanted.
    optics : Optics
    method : str
        ``recurrent-mz``, ``recurrent-mz-plus``, ``lmmse`` or ``lmmse-plus``.
    model : str or None
        Name or path of the network's weights; None where the method has no network.
    device : str
        auto, cuda, mps or cpu.
    epsilon : float
        Relative change at or below which scanning may stop, above 0 and below 1.
    rule : str
        How the next height is chosen; one of :data:`~.RULES`.
    state_bytes : int or None
        Most memory for what the network remembers, in bytes; None is half of what is free.
    half : bool or None
        Mixed precision; None where it pays.

    Raises
    ------
    InputError
        If ``epsilon``, ``rule`` or ``state_bytes`` make no sense.
    """

    grid: ZGrid
    optics: Optics
    method: str = "recurrent-mz"
    model: str | None = None
    device: str = "auto"
    epsilon: float = EPSILON
    rule: str = RULES[0]
    state_bytes: int | None = None
    half: bool | None = None

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        if self.rule not in RULES:
            raise InputError(
                f"The rule '{self.rule}' is unknown: choose one of {', '.join(RULES)}."
            )
        if self.state_bytes is not None and self.state_bytes < 0:
            raise InputError("The memory for the network's states cannot be below 0 bytes.")

    def as_dict(self) -> dict[str, Any]:
        """Everything by name, JSON-able."""
        grid = {n: getattr(self.grid, n) for n in ("start_um", "stop_um", "step_um")}
        return {**asdict(self), "grid": grid, "optics": self.optics.as_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SessionSettings:
        """The settings written by :meth:`as_dict`."""
        fields = {"grid": ZGrid(**values["grid"]), "optics": Optics(**values["optics"])}
        return cls(**{**values, **fields})


def check_epsilon(epsilon: float) -> float:
    """Return ε, or raise :class:`InputError` when it is not between 0 and 1."""
    if not 0 < epsilon < 1:
        raise InputError(
            f"The threshold ε = {epsilon:g} is not between 0 and 1: give 0.05 for a change of 5 %."
        )
    return epsilon


def session_model(method: str, given: Model | str | Path | None) -> Model | None:
    """The weights of a session's method, which must be able to go on from what it remembers."""
    chosen = method_of(method)
    if chosen.kind not in ("network", "lmmse") or chosen.architecture not in (None, _RECURRENT):
        raise InputError(
            f"A session cannot use {chosen.title}: choose recurrent-mz, recurrent-mz-plus, lmmse "
            "or lmmse-plus."
        )
    model = model_for(method, given)
    if model is not None and model.architecture != _RECURRENT:
        raise InputError(
            f"The model '{model.name}' is a network of the method {model.architecture}, which "
            "remembers nothing: give weights of Recurrent-MZ."
        )
    return model


_RECURRENT = "recurrent-mz"
_NUMBERS = ("spread", "middle", "contrast", "noise")


def scale_as_dict(scale: Scale | None) -> dict[str, float] | None:
    """An intensity scale by name, JSON-able."""
    if scale is None:
        return None
    numbers = {name: float(getattr(scale, name)) for name in _NUMBERS}
    return {"shift": scale.normalisation.shift, "scale": scale.normalisation.scale, **numbers}


def scale_from_dict(values: Mapping[str, float] | None) -> Scale | None:
    """The scale written by :func:`scale_as_dict`."""
    if values is None:
        return None
    rest = {name: float(values[name]) for name in _NUMBERS}
    return Scale(Normalisation(float(values["shift"]), float(values["scale"])), **rest)
