"""Row 11: several processes in one folder, workers that die or are late, two windows."""

from __future__ import annotations

from reliability._tests import passed

WHAT = "two batches in one folder; a dask worker killed or late; two windows on one autosave folder"
GOAL = "every volume whole, made once"


def measure(quick: bool) -> tuple[str, bool]:
    """Run the tests of it, each of which starts real processes."""
    windows = ["tests/test_session_store.py", "tests/test_batch_run.py"]
    return passed(1 if quick else 3, "tests/test_batch_together.py", *windows)
