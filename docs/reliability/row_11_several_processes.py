"""Row 11: several processes in one folder, workers that die or are late, two windows."""

from __future__ import annotations

from reliability._tests import passed

WHAT = "two batches in one folder; a dask worker killed or late; two windows on one autosave folder"
GOAL = "every volume whole, made once"
TESTS = (
    *("two_batches", "another_batch", "killed", "given_up", "stood_still", "made_twice"),
    *("without_locks", "another_worker", "goes_on_where_it_was", "two_windows"),
)


def measure(quick: bool) -> tuple[str, bool]:
    """Run the tests of it, each of which starts real processes."""
    files = (f"tests/test_{name}.py" for name in ("batch_together", "batch_run", "session_store"))
    figure, holds = passed(1 if quick else 5, *files, "-k", " or ".join(TESTS))
    return f"{figure}, in {1 if quick else 5} rounds", holds
