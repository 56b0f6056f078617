"""From what the Train dock shows to a job; what a run showed, as a plot and in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image

from ...core.optics import Optics
from ...core.scans import InputError
from ...measure.plots import Draw, Ink, open_axes
from ..shared import layers as _layers
from ..shared.stacks import check_stack
from .layout import TrainLayout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDING = ".safetensors"


@dataclass(frozen=True, eq=False)
class AdaptJob:
    """Everything an adaptation needs; none of it belongs to napari."""

    stacks: tuple[tuple[str, Any, Any], ...]  # name, pixels (Z, Y, X), perhaps lazy, heights in µm
    optics: Optics
    model: str | None
    device: str
    minutes: float
    path: Path


def build_job(ui: TrainLayout, agreed: str) -> AdaptJob:
    """The job that the dock describes; ``agreed`` is a file that may be replaced."""
    stacks, result = ui.stacks.values(), ui.result.values()
    chosen = ui.chosen
    if not chosen:
        raise InputError("Choose a full z-stack of your own to learn from, or open its file.")
    if len(chosen) == 2 and chosen[0] is chosen[1]:
        raise InputError(f"'{chosen[0].name}' is chosen twice: choose another one or none.")
    learned = tuple(_stack(layer, stacks.step) for layer in chosen)
    optics = ui.optics.optics()
    for layer in chosen:
        size = _layers.pixel_um(layer)
        if size is not None and abs(size - optics.pixel_um) > 0.01 * size:
            raise InputError(
                f"The pixel size is {optics.pixel_um:g} µm here but {size:g} µm in "
                f"'{layer.name}': correct it, since all stacks are of one microscope."
            )
    return AdaptJob(
        learned,
        optics,
        ui.method.model_name(),
        ui.method.device_choice(),
        float(result.minutes),
        _path(result.path.strip(), agreed),
    )


def _stack(layer: Image, step: float | None) -> tuple[str, Any, npt.NDArray[np.float64]]:
    layer = check_stack(layer, "the network learns from a full z-stack (Z, Y, X), so choose one.")
    heights = _layers.heights_um(layer)[0]
    if heights is None and step is None:
        raise InputError(f"The z-step of '{layer.name}' is not known: type it in µm.")
    if heights is None and step is not None:
        if step <= 0:
            raise InputError(f"The z-step {step:g} µm is not above 0: correct it.")
        heights = step * np.arange(_layers.plane_count(layer), dtype=np.float64)
    assert heights is not None
    return layer.name, _layers.stack_pixels(layer), heights


def _path(text: str, agreed: str) -> Path:
    if not text:
        raise InputError(f"The file to save as is missing: name one, for instance mine{ENDING}.")
    path = Path(text).expanduser()
    if path.suffix != ENDING:
        raise InputError(f"'{path.name}' must end in {ENDING}: weights are kept in nothing else.")
    if not path.parent.is_dir():
        raise InputError(f"The folder '{path.parent}' does not exist: choose another one.")
    if path.exists() and text != agreed:
        raise InputError(f"'{path.name}' exists already: choose another name, or “…”.")
    return path


def gains_figure(points: list[tuple[int, float]]) -> Draw:
    """The gain over linear MMSE against steps, and that of the model it began with."""

    def draw(figure: Figure, ink: Ink) -> None:
        axes = figure.subplots()
        axes.set(xlabel="step", ylabel="gain (dB)")
        axes.axhline(0, color=ink.faint, lw=1)
        steps, gains = zip(*points, strict=True)
        axes.axhline(gains[0], color=ink.text, lw=1, ls="--", label="as it was")
        axes.plot(steps, gains, "o-", color=ink.accent, ms=3, lw=2, label="adapted")
        axes.set_xlim(left=0, right=max(steps[-1], 1) * 1.05)
        axes.legend(frameon=False, loc="best")
        open_axes(axes)

    return draw


def outcome_words(outcome: dict[str, Any], path: Path) -> tuple[str, str]:
    """What came of it, and whether it is good news."""
    before, best = outcome["start"], outcome["best"]
    if best <= before:
        return (
            f"Nothing was gained in {outcome['step']} steps: “{path.name}” holds the weights of "
            f"“{outcome['from']}” as they were ({before:+.2f} dB over linear MMSE).",
            "warning",
        )
    return (
        f"“{path.name}” is saved and among the models of the Reconstruct dock: {best:+.2f} dB over "
        f"linear MMSE on the held-out quarter, {before:+.2f} dB before.",
        "done",
    )
