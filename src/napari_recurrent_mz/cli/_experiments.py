"""``recurrent-mz experiments``: the paper's experiments, their numbers, figures and page."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

from ..core.scans import InputError
from ._common import OUTPUT, DeviceChoice
from ._options import Argument, Option, add_options, changed, option_name
from ._terminal import Progress


@dataclass(frozen=True)
class Sizes:
    """Sizes (smaller with --quick)."""

    size: Annotated[int, Option("lateral pixels of the simulated fields", "N")] = 160
    samples: Annotated[int, Option("simulated samples of each kind", "N")] = 3
    draws: Annotated[int, Option("random draws, where the result depends on chance", "N")] = 50
    plane_sets: Annotated[int, Option("random sets of planes from each real stack", "N")] = 10
    bench_size: Annotated[int, Option("lateral pixels of the planes that are timed", "N")] = 1024
    # fields for training have seed 1, those for choosing weights seed 2
    seed: Annotated[int, Option("seed of the random numbers", "N")] = 5


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """Add an option for each size; one that is not given leaves the number as --quick has it."""
    add_options(parser, Sizes, parser.add_argument_group("sizes"), unset=True)


def experiments(
    *,
    names: Annotated[tuple[str, ...], Argument("experiments (default: all)", "NAME")] = (),
    list: Annotated[bool, Option("only list the experiments")] = False,  # noqa: A002
    output: Annotated[str, Option("folder for the results", "FOLDER", OUTPUT)] = "results",
    quick: Annotated[bool, Option("tiny sizes, for a trial; the numbers mean nothing")] = False,
    force: Annotated[bool, Option("measure again what is there already")] = False,
    data: Annotated[str | None, Option("folder of real, fully sampled stacks", "FOLDER")] = None,
    weights: Annotated[
        tuple[str, ...],
        Option(
            "weights for a method (recurrent-mz=FILE) or for what an experiment asks for",
            "NAME=FILE",
            repeats=True,
        ),
    ] = (),
    docs: Annotated[
        str | None, Option("also write the page and its figures to this folder", "FOLDER")
    ] = None,
    device: DeviceChoice = "auto",
    values: argparse.Namespace,
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

    selected = chosen(names)
    if list:
        for experiment in selected:
            print(f"{experiment.name:<18}{experiment.figure:<26}{experiment.title}")
        return
    stacks = _folder(data, "The folder '{}' does not exist: give the folder of real stacks.")
    named = dict(_named(text) for text in weights)
    usual = QUICK if quick else Settings()
    settings = replace(changed(usual, values), data=stacks, weights=named, device=device)
    _check(settings)
    pages = _folder(docs, "The documentation folder '{}' does not exist.")
    folder, command = Path(output), settings.command(usual)
    with Progress("part") as progress:
        done = run(selected, folder, settings, command=command, force=force, on_progress=progress)
        for experiment, words in done:
            progress.clear()
            print(f"{experiment.name}: {words}", flush=True)
    print(write_report(folder, EXPERIMENTS))
    if pages is not None:
        print(write_report(folder, EXPERIMENTS, docs=pages))


def _check(sizes: Sizes) -> None:
    for field in fields(Sizes):
        value = getattr(sizes, field.name)
        if value < (field.name != "seed"):
            raise InputError(f"{option_name(field.name)} is {value}: it must be above 0.")
    if sizes.size < 32:
        raise InputError("--size must be at least 32 pixels.")


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
