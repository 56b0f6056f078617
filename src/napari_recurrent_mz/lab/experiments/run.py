"""All experiments by name: run them into a folder, and read what they left there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import torch

from ...core.scans import InputError, counted
from ...io._whole import write_text
from ..shared import by_name, provenance
from . import bead_widths, confocal, next_scan, order, own_sample, real, samples, spacing, speed
from .base import Experiment, Pictures
from .figures import STYLE, save
from .lab import Lab, Settings

_MARK = "# "

EXPERIMENTS: tuple[Experiment, ...] = (
    samples.WORM,
    samples.BUDGET,
    order.NUMBER,
    bead_widths.BEAD_WIDTHS,
    spacing.RANDOM_SPACING,
    spacing.DISTANCES,
    spacing.POSITION,
    order.ORDER,
    order.REPETITION,
    confocal.CONFOCAL,
    samples.SPARSE_SAMPLES,
    samples.OTHER_OBJECTIVES,
    real.REAL_STACKS,
    real.ANY_PLANES,
    own_sample.OWN_SAMPLE,
    next_scan.STOPPING,
    next_scan.NEXT_SCAN,
    speed.SPEED,
    speed.ONE_MORE_SCAN,
)
"""In the order of the paper."""


def chosen(names: Sequence[str]) -> list[Experiment]:
    """The experiments of these names, in the paper's order; all of them for no name."""
    known = {experiment.name: experiment for experiment in EXPERIMENTS}
    experiments = by_name(known, names, "There is no experiment")
    return sorted(experiments, key=EXPERIMENTS.index)


@dataclass(frozen=True, eq=False)
class Result:
    """A measured table and how it was made, as read from its file."""

    table: pd.DataFrame
    # command, date, machine, version, seconds, settings, weights, and what was not measured
    header: dict[str, Any]


def write(
    folder: Path,
    experiment: Experiment,
    table: pd.DataFrame,
    pictures: Pictures,
    header: dict[str, Any],
) -> None:
    """Write the figure, then the table: an experiment is done once its table is there."""
    with mpl.rc_context(STYLE):
        save(experiment.draw(table, pictures), folder / f"{experiment.name}.png")
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    head = _MARK + json.dumps(header, ensure_ascii=False)
    write_text(folder / f"{experiment.name}.csv", f"{head}\n{text}")


def read(folder: Path, name: str) -> Result | None:
    """What an experiment wrote into a folder; None when it has not been made there."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8") as stream:
            header = json.loads(stream.readline().removeprefix(_MARK))
            return Result(pd.read_csv(stream), dict(header))
    except (ValueError, TypeError, OSError) as error:
        raise InputError(
            f"'{path.name}' is not a table written by recurrent-mz experiments: "
            "move it away, or make it again with --force."
        ) from error


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
        earlier = None if force else read(folder, experiment.name)
        if earlier is not None:
            yield (
                experiment,
                f"kept, made on {earlier.header['date'][:10]} (--force makes it again)",
            )
            continue
        lab.begin()
        begun = time.monotonic()
        table = pd.DataFrame(list(experiment.measure(lab)))
        seconds = time.monotonic() - begun
        if table.empty:
            yield experiment, " ".join(lab.notes) or "nothing could be measured"
            continue
        write(folder, experiment, table, lab.pictures, _made(experiment, lab, command, seconds))
        yield experiment, f"{len(table)} rows in {seconds:.0f} s"


def _made(experiment: Experiment, lab: Lab, command: str, seconds: float) -> dict[str, Any]:
    """How a table was made, JSON-able."""
    settings = asdict(lab.settings)
    numbers = {k: v for k, v in settings.items() if isinstance(v, int | float)}
    threads = torch.get_num_threads() if lab.device.kind == "cpu" else 0
    return {
        "experiment": experiment.name,
        **provenance(command),
        "machine": lab.device.name + f", {counted(threads, 'thread')}" * bool(threads),
        "seconds": round(seconds, 1),
        "settings": numbers,
        "weights": {name: _weights(model) for name, model in lab.used.items()},
        "not_measured": lab.notes,
    }


def _weights(model: Any) -> dict[str, Any]:
    """What a card says of how far its weights were trained."""
    training = model.card.get("training", {})
    said = {name: training.get(name) for name in ("steps", "hours", "device")}
    return {"name": model.name, "sha256": model.sha256, **said}
