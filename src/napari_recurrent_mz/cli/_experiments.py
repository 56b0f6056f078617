"""``recurrent-mz experiments``: the paper's experiments, their numbers, figures and page."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..device import CHOICES
from ..scans import InputError
from . import _common

if TYPE_CHECKING:
    from ..lab.experiments.base import Settings

_SIZES = (
    ("--size", "lateral pixels of the simulated fields"),
    ("--samples", "simulated samples of each kind"),
    ("--draws", "random draws where chance is the question"),
    ("--plane-sets", "random sets of planes from each real stack"),
    ("--bench-size", "lateral pixels of the planes that are timed"),
    ("--seed", "of every random number"),
)


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "experiments",
        help="the paper's experiments: tables, figures and a page of results",
        description="Measure the experiments of the paper on held-out simulated samples and on "
        "real stacks. Each writes NAME.csv and NAME.png into a folder, where results.md shows "
        "the paper's values beside ours. What is there already is kept.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones (default: all)")
    parser.add_argument("--list", action="store_true", help="say what there is, and do nothing")
    parser.add_argument("-o", "--output", default="results", metavar="FOLDER")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see everything work; no real numbers"
    )
    parser.add_argument("--force", action="store_true", help="measure again what is there")
    parser.add_argument("--data", metavar="FOLDER", help="real, fully sampled stacks")
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="weights for a method (recurrent-mz=FILE) or for what an experiment asks for",
    )
    parser.add_argument(
        "--docs", metavar="FOLDER", help="write the page and its figures into this documentation"
    )
    parser.add_argument("--device", choices=CHOICES, default="auto")
    for option, words in _SIZES:
        parser.add_argument(option, type=int, metavar="N", help=words)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run them, one line each, and write the page."""
    from ..lab.experiments.registry import EXPERIMENTS, chosen
    from ..lab.experiments.report import write_report
    from ..lab.experiments.run import run as run_experiments

    experiments = chosen(arguments.names)
    if arguments.list:
        for experiment in experiments:
            print(f"{experiment.name:<18}{experiment.figure:<26}{experiment.title}")
        return
    settings = _settings(arguments)
    folder = Path(arguments.output)
    docs = _docs_folder(arguments.docs)
    with _common.Progress("part") as progress:
        done = run_experiments(
            experiments,
            folder,
            settings,
            command=_command(settings, arguments.quick),
            force=arguments.force,
            on_progress=progress,
        )
        for experiment, words in done:
            progress.clear()
            print(f"{experiment.name}: {words}", flush=True)
    print(write_report(folder, EXPERIMENTS))
    if docs is not None:
        print(write_report(folder, EXPERIMENTS, docs=docs))


def _settings(arguments: argparse.Namespace) -> Settings:
    from ..lab.experiments.base import QUICK, Settings

    numbers: dict[str, Any] = dict(QUICK) if arguments.quick else {}
    for option, _ in _SIZES:
        name = option.removeprefix("--").replace("-", "_")
        value = getattr(arguments, name)
        if value is not None:
            numbers[name] = _positive(option, value)
    if numbers.get("size", 32) < 32:
        raise InputError("--size must be at least 32 pixels.")
    data = Path(arguments.data) if arguments.data else None
    if data is not None and not data.is_dir():
        raise InputError(f"The folder '{data}' does not exist: give the folder of real stacks.")
    weights = dict(_named(text) for text in arguments.weights)
    return Settings(**numbers, data=data, weights=weights, device=arguments.device)


def _positive(option: str, value: int) -> int:
    if value < (0 if option == "--seed" else 1):
        raise InputError(f"{option} is {value}: it must be above 0.")
    return value


def _named(text: str) -> tuple[str, str]:
    name, sign, path = text.partition("=")
    if not (name and sign and path):
        raise InputError(
            f"--weights '{text}' is not NAME=FILE, for instance deep-z=mine.safetensors."
        )
    return name, path


def _docs_folder(path: str | None) -> Path | None:
    if path is None:
        return None
    if not Path(path).is_dir():
        raise InputError(f"The documentation folder '{path}' does not exist.")
    return Path(path)


def _command(settings: Settings, quick: bool) -> str:
    """What to type to get the same, without where things lie on this computer."""
    from ..lab.experiments.base import QUICK

    words = ["recurrent-mz", "experiments"] + ["--quick"] * quick
    options = dict(_SIZES)
    for name, value in settings.changed().items():
        option = "--" + name.replace("_", "-")
        if option in options and not (quick and QUICK.get(name) == value):
            words += [option, str(value)]
    for name, path in settings.weights.items():
        words += ["--weights", f"{name}={Path(path).name}"]
    if settings.data is not None:
        words += ["--data", settings.data.name]
    return shlex.join(words)
