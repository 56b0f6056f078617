"""Rows whose goal is held by tests: these tests, several times over."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[2] / "tests"


def passed(times: int, *selection: str) -> tuple[str, bool]:
    """Run tests so many times; how many passed, in words, and whether all did."""
    good = whole = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-p", "no:cacheprovider", "--basetemp", f"{folder}/tests"]
        command = [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", *selection]
        for _ in range(times):
            subprocess.run(command, cwd=TESTS.parent, stdout=sys.stderr, check=False)  # noqa: S603
            about = next(ET.parse(report).iter("testsuite")).attrib  # noqa: S314
            count = {name: int(about[name]) for name in ("tests", "failures", "errors", "skipped")}
            whole += count["tests"]
            skipped += count["skipped"]
            good += count["tests"] - sum(count[n] for n in ("failures", "errors", "skipped"))
    left_out = f", {skipped} could not run here" if skipped else ""
    return f"{good} of {whole} tests passed{left_out}", good + skipped == whole and good > 0


def module(name: str) -> Any:
    """A module of the tests."""
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))
    return importlib.import_module(name)
