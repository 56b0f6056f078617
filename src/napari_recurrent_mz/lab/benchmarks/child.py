"""A measurement in a process of its own: another instruction set, a memory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from .base import Bench

_MARK = "result: "


class ChildError(RuntimeError):
    """The process ended without a result; the message is its last line."""


def in_child(
    measure: Callable[..., Any],
    bench: Bench,
    given: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """What a module's function returns in a fresh process; it is given the bench and JSON."""
    task = {
        "module": measure.__module__,
        "function": measure.__qualname__,
        "bench": bench.as_dict(),
        "given": dict(given or {}),
    }
    return script_result(
        [sys.executable, "-m", __name__], given=json.dumps(task), environment=environment
    )


def script_result(
    command: list[str], *, given: str = "", environment: Mapping[str, str] | None = None
) -> Any:
    """What a process prints after the mark, as JSON."""
    done = subprocess.run(  # noqa: S603  (our own interpreter and our own text)
        command,
        input=given,
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


def main() -> None:
    """Do what standard input describes, and print the result."""
    task = json.load(sys.stdin)
    measure = getattr(import_module(task["module"]), task["function"])
    result = measure(Bench.from_dict(task["bench"]), **task["given"])
    print(_MARK + json.dumps(result))


if __name__ == "__main__":
    main()
