"""Row 6: damaged files of every kind that can be opened (``tests/hostile.py``)."""

from __future__ import annotations

import subprocess
import sys

from reliability._tests import TESTS

WHAT = "changed TIFF, OME-TIFF, OME-Zarr, session, weights and height files, opened"
GOAL = "each read or refused in one line: no crash, at most 20 s, at most 1.5 GiB"


def measure(quick: bool) -> tuple[str, bool]:
    """Damage files at random and open each in a process that may fail."""
    count = 520 if quick else 10_400
    command = [sys.executable, str(TESTS / "hostile.py"), "--count", str(count), "--seed", "3"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    last = (ended.stdout.splitlines() or [""])[-1]
    wrong = last.partition(" of ")[0]
    if not wrong.isdigit():
        return "the count did not end", False
    return f"{count - int(wrong)} of {count} read or refused in one line", ended.returncode == 0
