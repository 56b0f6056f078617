"""Row 2: memory runs out, at any allocation of PyTorch or NumPy, or at a limit of the system."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reliability._memory import LIMIT, NUMPY, TORCH, Ended, run_out
from reliability._outputs import Contents, contents, is_near
from reliability._tests import module

from napari_recurrent_mz.cli import main

WHAT = "out of memory, at an allocation of PyTorch or NumPy, or by `RLIMIT_AS`, in every command"
GOAL = "finishes smaller, or one sentence that says what to do; nothing torn"
LEAST_BYTES, MOST_BYTES = 2**18, 2**29
WORDS = "not enough memory", "not fit in memory"
GOOD = "finished", "one sentence"
FOR_EACH_S = 12.0
"""About so long for each command and kind, between one and twelve runs."""

LONGEST_S = 600.0


def measure(quick: bool) -> tuple[str, bool]:
    """Run each command of ``tests/watched.py`` in forks of this process, at random moments."""
    torch.set_num_threads(1)  # a fork has none of the others, and would wait for them
    watched, outcomes = module("watched"), Counter[str]()
    for name in watched.COMMANDS:
        for outcome in in_command(watched, name, quick):
            outcomes[outcome] += 1
    total, good = sum(outcomes.values()), sum(outcomes[one] for one in GOOD)
    each = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    return f"{total} runs of {len(watched.COMMANDS)} commands: {each}", good == total


def in_command(watched: Any, name: str, quick: bool) -> Iterator[str]:
    """What came of each run of a command."""
    rng, words = np.random.default_rng(2), watched.COMMANDS[name].split()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        given, here = Path(folder) / "given", Path(folder) / "here"
        given.mkdir()
        watched.make_input(given, name)
        temporary = stack.enter_context(own_temporary_folder())

        def attempt(kind: str = "", at: int | None = None) -> Ended:
            shutil.rmtree(here, ignore_errors=True)
            shutil.copytree(given, here)

            def work() -> int:
                os.chdir(here)
                return main(words)

            return run_out(work, kind, at, LONGEST_S)

        whole = attempt()
        assert whole.status == 0, (name, whole)
        expected = contents(here)
        often = 1 if quick else int(np.clip(FOR_EACH_S / whole.seconds, 1, 12))
        print(f"{name}: {whole.seconds:.1f} s, {often} times", file=sys.stderr)
        for kind in (TORCH, NUMPY, LIMIT):
            if kind == LIMIT:
                moments = np.geomspace(LEAST_BYTES, MOST_BYTES, 2 * often).astype(int)
            else:
                moments = rng.integers(1, whole.counts[kind] + 1, often * bool(whole.counts[kind]))
            for moment in moments:
                ended = attempt(kind, int(moment))
                outcome = judged(ended, here, expected, temporary)
                yield outcome
                if outcome not in GOOD:
                    print(name, kind, moment, outcome, ended.told[-900:], file=sys.stderr)


@contextlib.contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """Temporary files of this process go into a folder, and can be counted."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def judged(ended: Ended, here: Path, expected: Contents, temporary: Path) -> str:
    """What came of a run, in a few words."""
    if ended.status is None:
        return "hung or crashed"
    if any(here.rglob(".recurrent-mz-*")):
        return "left a hidden folder"
    if list(temporary.glob("[!t]*")):
        return "left a temporary file"
    try:
        made = contents(here)
    except Exception as error:
        return f"torn ({type(error).__name__}: {error})"[:80]
    if ended.status == 0:
        return "finished" if is_near(made, expected, 1e-2) else "wrong result"
    lines = [line for line in ended.told.splitlines() if "recurrent-mz:" in line]
    if "Traceback" in ended.told or len(lines) != 1:
        return "traceback or no line"
    return "one sentence" if any(words in ended.told for words in WORDS) else "obscure line"
