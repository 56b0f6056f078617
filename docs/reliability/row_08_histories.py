"""Row 8: a session after any history beside one of the same scans (``tests/test_session.py``)."""

from __future__ import annotations

from reliability._tests import module

WHAT = (
    "random histories of a session: scans added, averaged, replaced, removed, undone, "
    "renormalised, work left half done"
)
GOAL = "at most 1e-5 of the range off the volume of the same scans and scale"


def measure(quick: bool) -> tuple[str, bool]:
    """Compare each volume that a history finishes."""
    test_session = module("test_session")

    off = [test_session.off_after_a_history(seed) for seed in range(20 if quick else 200)]
    volumes = [one for history in off for one in history]
    figure = f"{max(volumes):.1e} at most, {len(volumes)} volumes of {len(off)} histories"
    return figure, max(volumes) <= 1e-5
