"""``recurrent-mz experiments``: the paper's experiments, their numbers, figures and page."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..core.scans import InputError
from ._common import OUTPUT, DeviceChoice
from ._options import Argument, Option
from ._terminal import Progress

if TYPE_CHECKING:
    from ..lab.experiments.lab import Settings


@dataclass(frozen=True)
class Sizes:
    """Sizes."""

    size: Annotated[int | None, Option("lateral pixels of the simulated fields")] = None
    samples: Annotated[int | None, Option("simulated samples of each kind")] = None
    draws: Annotated[int | None, Option("random draws where chance is the question")] = None
    plane_sets: Annotated[int | None, Option("random sets of planes from each real stack")] = None
    bench_size: Annotated[int | None, Option("lateral pixels of the planes that are timed")] = None
    seed: Annotated[int | None, Option("of every random number")] = None

    def given(self) -> dict[str, int]:
        """Those that are given, if they can be."""
        found = {name: value for name, value in asdict(self).items() if value is not None}
        for name, value in found.items():
            if value < (0 if name == "seed" else 1):
                raise InputError(f"{_option(name)} is {value}: it must be above 0.")
        return found


def experiments(
    *,
    names: Annotated[tuple[str, ...], Argument("which ones (default: all)", "NAME")] = (),
    list: Annotated[bool, Option("say what there is, and do nothing")] = False,  # noqa: A002
    output: Annotated[str, Option("where the results go", "FOLDER", OUTPUT)] = "results",
    quick: Annotated[bool, Option("tiny sizes, to see everything work; no real numbers")] = False,
    force: Annotated[bool, Option("measure again what is there")] = False,
    data: Annotated[str | None, Option("real, fully sampled stacks", "FOLDER")] = None,
    weights: Annotated[
        tuple[str, ...],
        Option(
            "weights for a method (recurrent-mz=FILE) or for what an experiment asks for",
            "NAME=FILE",
            repeats=True,
        ),
    ] = (),
    docs: Annotated[
        str | None, Option("write the page and its figures into this documentation", "FOLDER")
    ] = None,
    device: DeviceChoice = "auto",
    sizes: Sizes,
) -> None:
    """The paper's experiments: tables, figures and a page of results.

    Measure the experiments of the paper on held-out simulated samples and on real stacks. Each
    writes NAME.csv and NAME.png into a folder, where results.md shows the paper's values beside
    ours. What is there already is kept.
    """
    from ..lab.experiments.lab import QUICK, Settings
    from ..lab.experiments.registry import EXPERIMENTS, chosen
    from ..lab.experiments.report import write_report
    from ..lab.experiments.run import run

    some = chosen(names)
    if list:
        for experiment in some:
            print(f"{experiment.name:<18}{experiment.figure:<26}{experiment.title}")
        return
    numbers: dict[str, Any] = {**(QUICK if quick else {}), **sizes.given()}
    if numbers.get("size", 32) < 32:
        raise InputError("--size must be at least 32 pixels.")
    stacks = _folder(data, "The folder '{}' does not exist: give the folder of real stacks.")
    named = dict(_named(text) for text in weights)
    settings = Settings(**numbers, data=stacks, weights=named, device=device)
    pages = _folder(docs, "The documentation folder '{}' does not exist.")
    folder, command = Path(output), _command(settings, quick)
    with Progress("part") as progress:
        done = run(some, folder, settings, command=command, force=force, on_progress=progress)
        for experiment, words in done:
            progress.clear()
            print(f"{experiment.name}: {words}", flush=True)
    print(write_report(folder, EXPERIMENTS))
    if pages is not None:
        print(write_report(folder, EXPERIMENTS, docs=pages))


def _folder(path: str | None, sentence: str) -> Path | None:
    if path is not None and not Path(path).is_dir():
        raise InputError(sentence.format(path))
    return None if path is None else Path(path)


def _named(text: str) -> tuple[str, str]:
    name, sign, path = text.partition("=")
    if not (name and sign and path):
        raise InputError(
            f"--weights '{text}' is not NAME=FILE, for instance deep-z=mine.safetensors."
        )
    return name, path


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _command(settings: Settings, quick: bool) -> str:
    """What to type to get the same, without where things lie on this computer."""
    from ..lab.experiments.lab import QUICK

    words = ["recurrent-mz", "experiments"] + ["--quick"] * quick
    for name, value in settings.changed().items():
        if name in asdict(Sizes()) and not (quick and QUICK.get(name) == value):
            words += [_option(name), str(value)]
    for name, path in settings.weights.items():
        words += ["--weights", f"{name}={Path(path).name}"]
    if settings.data is not None:
        words += ["--data", settings.data.name]
    return shlex.join(words)
