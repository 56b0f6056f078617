"""What became of a batch: the outcomes, as a table and in files beside the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import counted
from ...io import write_json, write_table
from ._settings import BatchSettings
from ._work import DONE, FAILED, KEPT, STOPPED, Outcome

if TYPE_CHECKING:
    import pandas as pd

REPORT = "batch-report"


@dataclass(frozen=True, eq=False)
class Report:
    """What became of a batch."""

    outcomes: tuple[Outcome, ...]  #: in the order of the jobs
    seconds: float  #: from beginning to end
    output: Path  #: the folder of the results

    def of(self, state: str) -> list[Outcome]:
        """The outcomes of a state: done, kept, failed or stopped."""
        return [outcome for outcome in self.outcomes if outcome.state == state]

    @property
    def failed(self) -> list[Outcome]:
        """Those that failed; ``message`` says why."""
        return self.of(FAILED)

    @property
    def is_complete(self) -> bool:
        """Whether all volumes are there."""
        return len(self.of(DONE)) + len(self.of(KEPT)) == len(self.outcomes)

    def table(self) -> pd.DataFrame:
        """One row for each volume: position, time, state, seconds, method, message, output."""
        import pandas as pd

        rows = [_record(outcome, self.output) for outcome in self.outcomes]
        columns = ["position", "time", "state", "seconds", "method", "message", "output"]
        return pd.DataFrame(rows, columns=columns).astype({"time": "Int64"})

    def write(self, settings: BatchSettings) -> Path:
        """Write the table as CSV and, with the settings and whole errors, as JSON.

        Returns
        -------
        Path
            Of the CSV.

        Raises
        ------
        InputError
            When the disk refuses.
        """
        counts = {state: len(self.of(state)) for state in (DONE, KEPT, FAILED, STOPPED)}
        write_json(
            self.output / f"{REPORT}.json",
            {
                "settings": settings.as_dict(),
                "seconds": round(self.seconds, 3),
                "counts": counts,
                "volumes": [_record(outcome, self.output) for outcome in self.outcomes],
            },
        )
        return write_table(self.output / f"{REPORT}.csv", self.table(), encoding="utf-8-sig")


def _record(outcome: Outcome, output: Path) -> dict[str, Any]:
    job = outcome.job
    return {
        "position": job.position,
        "time": job.time,
        "inputs": [part.path for part in job.parts],
        "output": str(job.target.relative_to(output)),
        "state": outcome.state,
        "seconds": round(outcome.seconds, 3),
        "method": outcome.method,
        "message": outcome.message,
        **({"trace": outcome.trace} if outcome.trace else {}),
    }


def in_words(outcomes: Sequence[Outcome]) -> str:
    """How many volumes were done, kept, failed and stopped, as a sentence has it."""
    counts = Counter(outcome.state for outcome in outcomes)
    words = {DONE: "done", KEPT: "kept from before", FAILED: "failed", STOPPED: "not begun"}
    states = [f"{counts[state]} {what}" for state, what in words.items() if counts[state]]
    return f"{counted(len(outcomes), 'volume')}: {', '.join(states)}" if states else "nothing to do"
