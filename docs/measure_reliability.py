"""Fourteen figures about faults, damage and impatience, as a Markdown table.

    python docs/measure_reliability.py

Each row is a module ``docs/reliability/row_NN_name.py`` with ``WHAT``, ``GOAL`` and ``measure``,
which says the figure in words and whether the goal holds; each is measured in a process of its
own. Name rows by number to measure only these; ``--quick`` repeats everything less often. How long
a row took and how busy the computer was goes to standard error. Rows 3 to 5 open windows: run it
where one can open, or in a virtual display::

    QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1920x1200x24" python docs/measure_reliability.py
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
RESULT = "measured: "


def modules() -> dict[int, str]:
    """The module of each row, by its number."""
    found = sorted(path.stem for path in (HERE / "reliability").glob("row_[0-9][0-9]_*.py"))
    return {int(name.split("_")[1]): f"reliability.{name}" for name in found}


def measure_here(module: str, quick: bool) -> None:
    """Measure a row in this process; the last line says what came of it."""
    row = importlib.import_module(module)
    figure, holds = row.measure(quick)
    print(RESULT + json.dumps([row.WHAT, figure, row.GOAL, holds]), flush=True)


def measured(number: int, quick: bool) -> str:
    """The line of a row, measured in a process of its own."""
    began, load = time.monotonic(), psutil.getloadavg()[0]
    command = [sys.executable, __file__, "--here", *(["--quick"] if quick else []), str(number)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    last, seconds = (process.stdout.splitlines() or [""])[-1], time.monotonic() - began
    if process.returncode == 0 and last.startswith(RESULT):
        what, figure, goal, holds = json.loads(last.removeprefix(RESULT))
    else:
        row = importlib.import_module(modules()[number])
        what, goal, holds = row.WHAT, row.GOAL, False
        figure = f"not measured: exit status {process.returncode}"
    took = f"{seconds:.0f} s, {load:.0f} to {psutil.getloadavg()[0]:.0f}"
    return f"| {number} | {what} | {figure} | {goal} | {'yes' if holds else 'no'} | {took} |"


def main() -> int:
    """Print the table; fail if a goal does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW", choices=[[], *modules()])
    parser.add_argument("--quick", action="store_true", help="repeat everything less often")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.here:
        for number in wanted.rows:
            measure_here(modules()[number], wanted.quick)
        return 0
    print("| row | what | figure | goal | holds | took, load |\n|---|---|---|---|---|---|")
    lines = []
    for number in wanted.rows or modules():
        lines.append(measured(number, wanted.quick))
        print(lines[-1], flush=True)
    return int(any("| no |" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
