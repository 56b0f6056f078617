"""What a person should know of a scan that a session has taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..check import range_warnings
from ..inputs import Scale
from ..optics import Optics
from ..planning import percent
from ..prepare import normalisation
from ..scans import Scan
from ..weights import Model
from ._checks import called

_REVISES = 0.2  # of the intensity scale: a scan that would move it by more says so


def advice(
    scan: Scan, scans: Sequence[Scan], scale: Scale | None, optics: Optics, model: Model | None
) -> Iterator[tuple[str, str]]:
    """Sentences on a scan that is now one of ``scans``, each with its kind."""
    if model is not None and len(scans) == 1:
        yield "One scan gives the linear estimate; the network begins with two.", "hint"
    if scale is not None:
        moved = revision(scans, scale)
        if moved > _REVISES:
            yield (
                f"{called(scan)} would revise the intensity scale of the first scans by "
                f"{percent(moved)}: it is kept, so that volumes can be compared; renormalise to "
                "revise it.",
                "warning",
            )
    if model is not None and len(scans) > 1:
        for sentence in range_warnings(scans, optics, model):
            yield sentence, "warning"


def revision(scans: Sequence[Scan], scale: Scale) -> float:
    """How far the scans' own intensity scale is from the one in use, in parts of that."""
    now, used = normalisation(np.stack([scan.pixels for scan in scans])), scale.normalisation
    return max(abs(now.scale - used.scale), abs(now.shift - used.shift)) / used.scale
