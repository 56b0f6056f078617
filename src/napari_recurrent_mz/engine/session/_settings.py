"""Settings of a session, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.errors import check_choice
from ...core.methods import method_of
from ...core.metrics import EPSILON
from ...core.optics import Optics
from ...core.scans import InputError, ZGrid
from ...estimates.normalisation import Normalisation
from ...estimates.planning import RULES
from ...networks.inputs import Scale
from ...networks.weights import Model
from ..check import NETWORK
from ..inference import check_model, model_for


@dataclass(frozen=True)
class SessionSettings:
    """Everything that stays the same while scans come; refused where it makes no sense."""

    grid: ZGrid  #: the heights wanted
    optics: Optics
    method: str = "recurrent-mz"  #: or ``recurrent-mz-plus``, ``lmmse``, ``lmmse-plus``
    #: name or path of the network's weights; None where the method has no network
    model: str | None = None
    device: str = "auto"  #: or cuda, mps, cpu
    #: relative change at or below which scanning may stop, above 0 and below 1
    epsilon: float = EPSILON
    rule: str = RULES[0]  #: how the next height is chosen; one of :data:`~.RULES`
    #: most memory for what the network remembers, in bytes; None is half of what is free
    state_bytes: int | None = None
    half: bool | None = None  #: mixed precision; None where it pays

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        check_choice("rule", self.rule, RULES)
        if self.state_bytes is not None and self.state_bytes < 0:
            raise InputError("The memory for the network's states cannot be below 0 bytes.")

    def as_dict(self) -> dict[str, Any]:
        """Everything by name, JSON-able."""
        return asdict(self)

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
    if chosen.kind not in ("network", "lmmse") or chosen.architecture not in (None, NETWORK):
        raise InputError(
            f"A session cannot use {chosen.title}: choose recurrent-mz, recurrent-mz-plus, lmmse "
            "or lmmse-plus."
        )
    model = model_for(method, given)
    if model is not None:
        check_model(chosen, model)
    return model


def scale_as_dict(scale: Scale | None) -> dict[str, float] | None:
    """An intensity scale by name, JSON-able."""
    if scale is None:
        return None
    values = asdict(scale)
    return {**values.pop("normalisation"), **values}


def scale_from_dict(values: Mapping[str, float] | None) -> Scale | None:
    """The scale written by :func:`scale_as_dict`."""
    if values is None:
        return None
    rest = {name: float(value) for name, value in dict(values).items()}
    return Scale(Normalisation(rest.pop("shift"), rest.pop("scale")), **rest)
