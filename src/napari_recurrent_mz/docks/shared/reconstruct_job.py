"""A reconstruction's job: what it is made from, and the work in a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from ...core.progress import Stopped
from .guard import sentence_of
from .targets import Disk, Job, Memory, target_for
from .worker import Outcome, Rest


def reconstruct_steps(job: Job, rest: Rest, *, stop: threading.Event) -> Iterator[object]:
    """Yield planes, notes and the check on the scans, and at last the outcome.

    What is finished is kept when the work is stopped or fails.
    """
    began = time.monotonic()
    target: Memory | Disk | None = None
    check: OwnSampleCheck | None = None
    try:
        from ...core.device import choose_device
        from ...engine import inference
        from ...engine.check import OwnSampleCheck

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
