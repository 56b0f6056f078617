"""What a run found, as a table for a person, as Markdown and as JSON."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from ...core.device import available_cores, cpu_name
from ...core.scans import InputError, counted
from ..shared import markdown_table, provenance
from .base import Bench, Row, in_words
from .stages import StageTable

_HEAD = ("what", "measured", "ratio", "goal", "verdict")


@dataclass(frozen=True, eq=False)
class Record:
    """A run of the benchmark."""

    header: Mapping[str, Any]  # command, date, machine, versions, threads, device, model and sizes
    rows: list[Row] = field(default_factory=list)
    # the network's stages beside what the machine could do, where they were asked for
    stages: list[StageTable] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            **self.header,
            "rows": [row.as_dict() for row in self.rows],
            "stages": [table.as_dict() for table in self.stages],
        }

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Record:
        """What was written as JSON."""
        try:
            header = json.loads(Path(path).read_text(encoding="utf-8"))
            rows = [Row.from_dict(row) for row in header.pop("rows")]
            stages = [StageTable.from_dict(table) for table in header.pop("stages")]
            _made(header)
        except OSError as error:
            raise InputError(f"'{path}' could not be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"'{path}' holds no run of the benchmark: give a file of 'recurrent-mz bench "
                "--json'."
            ) from error
        return cls(header, rows, stages)


_made = itemgetter("command", "date", "version", "torch", "python", "machine", "device", "model")
"""What a page says of how a run was made; KeyError where one is missing."""


def made_by(bench: Bench, command: str) -> dict[str, Any]:
    """What a run was made with, JSON-able."""
    # How many processes wanted to run in the last minute, where the system knows.
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {
        **provenance(command),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": {
            "cpu": cpu_name(), "cores": available_cores(), "threads": torch.get_num_threads(),
            "system": platform.platform(), "load": load,
        },
        "device": {"kind": bench.device.kind, "name": bench.device.name},
        "model": {"name": bench.model.name, "sha256": bench.model.sha256},
        "sizes": asdict(bench.sizes),
    }  # fmt: skip


def cells(row: Row) -> tuple[str, str, str, str, str]:
    """What the columns of a row say."""
    measured = in_words(row.value, row.unit, row.low, row.high)
    words = f"; {row.words}" if row.words and measured else row.words
    ratio = "" if math.isnan(row.ratio) else f"{row.ratio:.3g} ×"
    against = f" ({row.against})" if ratio and row.against else ""
    return row.what, measured + words, ratio + against, row.goals, row.verdict


def title(entry: Row | StageTable) -> str:
    """One line for one thing that was found."""
    if isinstance(entry, StageTable):
        return entry.caption
    what, measured, ratio, _, verdict = cells(entry)
    return f"{what}: " + ", ".join(text for text in (measured, ratio, verdict) if text)


def heading(header: Mapping[str, Any]) -> str:
    """One line: where, when and with what."""
    machine = header["machine"]
    threads = counted(machine["threads"], "thread")
    gpu = "" if header["device"]["kind"] == "cpu" else f"{header['device']['name']}; "
    load = "" if machine.get("load") is None else f", load {machine['load']:g} at the beginning"
    return (
        f"{gpu}{machine['cpu']}, {threads}{load}; {header['date'][:10]}; "
        f"version {header['version']}, PyTorch {header['torch']}, Python {header['python']}; "
        f"weights {header['model']['name']} {header['model']['sha256'][:12]}"
    )


def as_text(record: Record) -> str:
    """For a terminal: a line for what was measured, then its numbers."""
    lines = [heading(record.header)]
    for row in record.rows:
        what, measured, ratio, goal, verdict = cells(row)
        lines.append(f"\n{what}")
        texts = (measured, ratio, f"goal {goal}: {verdict}" if goal else verdict)
        lines += [f"    {text}" for text in texts if text]
    lines += [f"\n{table.as_text()}" for table in record.stages]
    return "\n".join(lines)


def as_markdown(record: Record) -> str:
    """For a page: heading, one table of the rows, one for every table of stages."""
    blocks = [f"`{record.header['command']}`: {heading(record.header)}."]
    if record.rows:
        blocks.append(markdown_table(_HEAD, [cells(row) for row in record.rows]))
    blocks += [table.as_markdown() for table in record.stages]
    return "\n\n".join(part.rstrip() for part in blocks)
