"""Run experiments into a folder, leaving out those that are there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import __version__
from .base import Experiment, Settings
from .files import read, write
from .lab import Lab


def run(
    experiments: Sequence[Experiment],
    folder: Path,
    settings: Settings,
    *,
    command: str = "",
    force: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Experiment, str]]:
    """Measure one experiment after another; yields each once it is done, and what became of it.

    The folder gets ``NAME.csv`` and ``NAME.png``; what is there already is measured again by
    ``force`` only. ``command`` is kept beside the numbers. ``on_progress`` gets the parts of an
    experiment that are done and all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab(settings, on_progress)
    for experiment in experiments:
        record = None if force else read(folder, experiment.name)
        if record is not None:
            yield experiment, f"kept, made on {record.made['date'][:10]} (--force makes it again)"
            continue
        lab.begin()
        started = time.monotonic()
        measured = experiment.measure(lab)
        seconds = time.monotonic() - started
        if measured.table.empty:
            yield experiment, " ".join(lab.notes) or "nothing could be measured"
            continue
        write(folder, experiment, measured, _record_of(experiment, lab, command, seconds))
        yield experiment, f"{len(measured.table)} rows in {seconds:.0f} s"


def _record_of(experiment: Experiment, lab: Lab, command: str, seconds: float) -> dict[str, Any]:
    """How a table was made, JSON-able."""
    import torch

    settings = asdict(lab.settings)
    numbers = {k: v for k, v in settings.items() if isinstance(v, int | float)}
    threads = torch.get_num_threads() if lab.device.kind == "cpu" else 0
    return {
        "experiment": experiment.name,
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": lab.device.name + (f", {threads} thread" + "s" * (threads > 1)) * bool(threads),
        "version": __version__,
        "seconds": round(seconds, 1),
        "settings": numbers,
        "weights": {name: _weights(model) for name, model in lab.used.items()},
        "not_measured": lab.notes,
    }


def _weights(model: Any) -> dict[str, Any]:
    """Training of some weights by their card."""
    training = model.card.get("training", {})
    return {
        "name": model.name,
        "sha256": model.sha256,
        "steps": training.get("steps"),
        "hours": training.get("hours"),
        "device": training.get("device"),
    }
