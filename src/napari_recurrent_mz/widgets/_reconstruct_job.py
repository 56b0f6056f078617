"""A reconstruction's job: what it is made from, and the work in a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..progress import Stopped
from ..recipe import Recipe
from ..scans import ZGrid
from ._guard import sentence_of
from ._targets import Disk, Memory, target_for
from ._worker import Outcome, Rest


@dataclass(frozen=True, eq=False)
class Job:
    """Everything a reconstruction needs; none of it belongs to napari."""

    recipe: Recipe
    order: tuple[int, ...]
    output: Path | None = None
    """Where the volume is written as it is made; None keeps it in memory."""

    @property
    def grid(self) -> ZGrid:
        """The planes that are wanted."""
        assert isinstance(self.recipe.target, ZGrid)
        return self.recipe.target


def reconstruct_steps(job: Job, rest: Rest, *, stop: threading.Event) -> Iterator[object]:
    """Yield planes as they are in the volume, what to mind, and what the check on the scans found.

    At last comes the outcome: what is finished is kept when the work is stopped or fails.
    """
    began = time.monotonic()
    target: Memory | Disk | None = None
    check: OwnSampleCheck | None = None
    try:
        from .. import inference
        from ..check import OwnSampleCheck
        from ..device import choose_device

        target = target_for(job)
        recipe = inference.loaded(job.recipe)
        events: Any = inference.run(recipe, order=job.order, stopped=stop.is_set)
        with contextlib.suppress(Stopped), contextlib.closing(events):
            for event in events:
                if isinstance(event, inference.Plane):
                    yield target.put(event)
                    rest.take()
                elif isinstance(event, inference.Note):
                    yield event.sentence
                elif isinstance(event, OwnSampleCheck):
                    check = event
                    yield event
        if not target.is_whole:
            yield Outcome("cancelled", path=target.leave("cancelled"))
            return
        seconds = time.monotonic() - began
        made = recipe.provenance(choose_device(recipe.device), seconds, check)
        yield Outcome("done", provenance=made, seconds=seconds, path=target.finish(made))
    except Exception as error:
        kept = None
        with contextlib.suppress(Exception):  # what went wrong is told already
            kept = None if target is None else target.leave("failed")
        yield Outcome("failed", sentence_of(error), path=kept)
