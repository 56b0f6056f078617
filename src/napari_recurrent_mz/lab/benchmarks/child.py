"""A measurement in a process of its own: another instruction set, a memory of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any, TypeVar

from ...engine.batch._pool import environment as changed
from .base import Bench, say_nothing

_MARK = "result: "
T = TypeVar("T")


class ChildError(RuntimeError):
    """The process ended without a result; the message is its last line."""


def in_child(
    measure: Callable[..., T],
    bench: Bench,
    *given: object,
    environment: Mapping[str, str] | None = None,
) -> T:
    """What a function returns in a fresh process, given the bench and more."""
    try:
        with changed(environment or {}), ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(measure, replace(bench, note=say_nothing), *given).result()
    except Exception as error:
        raise ChildError(f"{type(error).__name__}: {error}") from error


def script_result(command: list[str], environment: Mapping[str, str] | None = None) -> Any:
    """What a process prints after the mark, as JSON."""
    done = subprocess.run(  # noqa: S603  (our own interpreter and our own text)
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not lines:
        last = (done.stderr.strip() or "no result").splitlines()[-1]
        raise ChildError(f"{last} (status {done.returncode})")
    return json.loads(lines[-1].removeprefix(_MARK))
