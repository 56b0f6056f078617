"""All experiments by name: run them into a folder, and read what they left there."""

from __future__ import annotations

import json
import shutil
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
from ...networks.weights import bundled_models, load_model
from ..shared import by_name, markdown_table, provenance
from . import bead_widths, confocal, next_scan, order, own_sample, real, samples, spacing, speed
from .base import NOT_MEASURED, Experiment, Outcome, Pictures
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


PAGE = "results.md"
_DOCS_IMAGES = "images/results"

_HEAD = """# Results

What the experiments of the paper (Huang et al., Light: Science & Applications 10:62, 2021) give
with this package: its values, or else what there is to beat, beside ours. This page is made by

```sh
recurrent-mz experiments -o results --data FOLDER
```

from the tables that the experiments leave in `results` (`NAME.csv`; its first line says how it
was made). An experiment whose table is there is kept (`--force` makes it again); names after
`experiments` choose some (`--list` shows them all), `--weights NAME=FILE` gives other weights, and
`--docs docs` writes the page into the documentation.

Simulated samples come from seeds that no training and no choice of weights has seen. The real,
fully sampled stacks in `FOLDER` are never trained or tuned on; they are from the EPFL Biomedical
Imaging Group's deconvolution reference data (embryo), NEUBIAS training-resources (nucleus,
CC-BY 4.0), cudadecon (bead, 0.6 µm) and pyOTF (bead, 0.52 µm), and not part of this package.
PSNR is over the range from the true stack's background to its 99.9th percentile, RMSE in grey
levels of 255 over the same range, and NRMSE in percent of the true plane's span; nothing is
rescaled to fit unless an experiment says so, and the scans themselves are left out. How networks
trained in other ways compare is in [Training](training.md).
"""


def write_report(folder: Path, docs: Path | None = None) -> Path:
    """Write ``results.md`` from the tables in a folder."""
    records = [(experiment, read(folder, experiment.name)) for experiment in EXPERIMENTS]
    pictures = "" if docs is None else f"{_DOCS_IMAGES}/"
    target = (docs or folder) / PAGE
    if docs is not None:
        (docs / _DOCS_IMAGES).mkdir(parents=True, exist_ok=True)
        for experiment, record in records:
            if record is not None:
                shutil.copyfile(
                    folder / f"{experiment.name}.png",
                    docs / _DOCS_IMAGES / f"{experiment.name}.png",
                )
    target.write_text(_page(records, pictures), encoding="utf-8")
    return target


def _page(records: Sequence[tuple[Experiment, Result | None]], pictures: str) -> str:
    outcomes = {e.name: list(e.outcomes(r.table)) if r else [] for e, r in records}
    sections = [_HEAD, _weights_used([r for _, r in records if r]), _goals(records, outcomes)]
    sections += [_section(e, r, outcomes[e.name], pictures) for e, r in records if r]
    missing = [e for e, r in records if r is None]
    if missing:
        names = "\n".join(f"- **{e.title}** ({e.figure}): `{e.name}`" for e in missing)
        sections.append(f"## Not measured\n\nThese have not been run here:\n\n{names}\n")
    return "\n".join(part for part in sections if part)


def _goals(
    records: Sequence[tuple[Experiment, Result | None]], outcomes: dict[str, list[Outcome]]
) -> str:
    rows = [
        (o.what, o.paper, o.goal.words, o.ours, o.verdict)
        for experiment, _ in records
        for o in outcomes[experiment.name]
        if o.goal is not None
    ]
    if not rows:
        return ""
    met, open_ = (sum(row[-1] == verdict for row in rows) for verdict in ("met", NOT_MEASURED))
    words = f"{met} of {len(rows)} are met" + (f", {open_} could not be measured" * bool(open_))
    head = ("measure", "paper, or what there is to beat", "goal", "ours", "")
    return f"## Goals\n\n{words}.\n\n{markdown_table(head, rows)}"


def _section(
    experiment: Experiment, record: Result, outcomes: Sequence[Outcome], pictures: str
) -> str:
    rows = [(o.what, o.paper, o.ours, o.verdict) for o in outcomes]
    return "\n".join(
        [
            f"## {experiment.title}\n",
            f"*{experiment.figure}.* {experiment.paper}\n",
            f"{experiment.how}\n",
            f"![{experiment.title}]({pictures}{experiment.name}.png)\n",
            markdown_table(("measure", "paper", "ours", "goal"), rows),
            _how_made(record.header),
        ]
    )


def _how_made(header: dict[str, Any]) -> str:
    settings = header.get("settings", {})
    lines = [f"- {sentence}" for sentence in header.get("not_measured", [])]
    used = ", ".join(f"{n} `{w['sha256'][:12]}`" for n, w in header.get("weights", {}).items())
    lines.append(
        f"- `{header['command']}`: {header['seconds']:.0f} s on {header['machine']}, "
        f"{header['date'][:10]}, version {header['version']}, seed {settings.get('seed')}"
        + (f"; weights {used}" if used else "")
    )
    return "\n".join(lines) + "\n"


def _weights_used(records: Sequence[Result]) -> str:
    """Every set of weights that any experiment used, and how far it was trained."""
    by_sha256: dict[str, dict[str, Any]] = {}
    for record in records:
        for served, w in record.header.get("weights", {}).items():
            by_sha256.setdefault(w["sha256"], w | {"served": served})
    models = [load_model(name) for name in bundled_models()]
    # Of files that held a bundled model's weights before its card was written anew, its own.
    now = {old: m.sha256 for m in models for old in m.card.get("same_weights_as", [])}
    same = {old: f", the weights of `{sha256[:12]}`" for old, sha256 in now.items()}
    rows = [
        (_name(w), f"`{sha256[:12]}`{same.get(sha256, '')}",
         _or_unknown(w["steps"]), _or_unknown(w["hours"]), w["device"] or "unknown")
        for sha256, w in by_sha256.items()
    ]  # fmt: skip
    if not rows:
        return ""
    head = ("weights", "SHA-256", "steps", "hours", "trained on")
    return (
        "The weights, and how far their cards say that they were trained:\n\n"
        f"{markdown_table(head, rows)}"
        "\n\nA gain over a network that was trained for far fewer steps says little about the two "
        "methods:\nwhere the steps differ, a goal that is met against it is met by the bundled "
        "weights only."
    )


def _name(used: dict[str, Any]) -> str:
    """What weights served, and their own name where that is another one."""
    served, name = used["served"], used["name"]
    return str(served) if served == name else f"{served}: {name}"


def _or_unknown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g}"
