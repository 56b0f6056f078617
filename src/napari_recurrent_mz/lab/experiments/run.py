"""Run experiments into a folder, leaving out those that are there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..shared import made_now
from .base import Experiment
from .files import read, write
from .lab import Lab
from .settings import Settings


def run(
    experiments: Sequence[Experiment],
    folder: Path,
    settings: Settings,
    *,
    command: str = "",
    force: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Experiment, str]]:
    """Measure one experiment after another."""
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab(settings, on_progress)
    for experiment in experiments:
        kept = None if force else read(folder, experiment.name)
        if kept is not None:
            yield experiment, f"kept, made on {kept.made['date'][:10]} (--force makes it again)"
            continue
        lab.begin()
        begun = time.monotonic()
        measured = experiment.measure(lab)
        seconds = time.monotonic() - begun
        if measured.table.empty:
            yield experiment, " ".join(lab.notes) or "nothing could be measured"
            continue
        write(folder, experiment, measured, _made(experiment, lab, command, seconds))
        yield experiment, f"{len(measured.table)} rows in {seconds:.0f} s"


def _made(experiment: Experiment, lab: Lab, command: str, seconds: float) -> dict[str, Any]:
    """How a table was made, JSON-able."""
    import torch

    settings = asdict(lab.settings)
    kept = {k: v for k, v in settings.items() if isinstance(v, int | float)}
    threads = torch.get_num_threads() if lab.device.kind == "cpu" else 0
    return {
        "experiment": experiment.name,
        **made_now(command),
        "machine": lab.device.name + (f", {threads} thread" + "s" * (threads > 1)) * bool(threads),
        "seconds": round(seconds, 1),
        "settings": kept,
        "weights": {name: _weights(model) for name, model in lab.used.items()},
        "not_measured": lab.notes,
    }


def _weights(model: Any) -> dict[str, Any]:
    """What a card says of how far its weights were trained."""
    training = model.card.get("training", {})
    return {
        "name": model.name,
        "sha256": model.sha256,
        "steps": training.get("steps"),
        "hours": training.get("hours"),
        "device": training.get("device"),
    }
