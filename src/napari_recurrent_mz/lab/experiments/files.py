"""An experiment's files: ``NAME.csv``, which starts with a line on how it was made, and a PNG."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.scans import InputError
from .base import Experiment, Measured

if TYPE_CHECKING:
    import pandas as pd

_MARK = "# "


@dataclass(frozen=True, eq=False)
class Record:
    """A measured table and how it was made, as read from its file."""

    table: pd.DataFrame
    # command, date, machine, version, seconds, settings, weights, and what was not measured
    made: dict[str, Any]


def write(folder: Path, experiment: Experiment, measured: Measured, made: dict[str, Any]) -> None:
    """Write the figure, then the table: an experiment is done once its table is there."""
    import matplotlib as mpl

    from .figures import STYLE, save

    with mpl.rc_context(STYLE):
        save(experiment.draw(measured), folder / f"{experiment.name}.png")
    text = measured.table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    head = _MARK + json.dumps(made, ensure_ascii=False)
    part = folder / f".{experiment.name}.csv.part"
    part.write_text(f"{head}\n{text}", encoding="utf-8")
    part.replace(folder / f"{experiment.name}.csv")


def read(folder: Path, name: str) -> Record | None:
    """What an experiment wrote into a folder; None when it has not been made there."""
    import pandas as pd

    path = folder / f"{name}.csv"
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8") as stream:
            made = json.loads(stream.readline().removeprefix(_MARK))
            found = Record(pd.read_csv(stream), dict(made))
    except (ValueError, TypeError, OSError) as error:
        raise InputError(
            f"'{path.name}' is not a table written by recurrent-mz experiments: "
            "move it away, or make it again with --force."
        ) from error
    return found
