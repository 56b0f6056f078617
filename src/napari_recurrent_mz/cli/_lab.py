"""``recurrent-mz bench`` and ``experiments``: how fast this machine is, and the paper's numbers."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from ..core.device import choose_device
from ..core.scans import InputError
from ..io import write_json
from ._common import OUTPUT, DeviceChoice, NetworkOptions, check_json
from ._options import Argument, Option, add_options, changed, option_name
from ._terminal import Progress, note


def bench(
    *,
    only: Annotated[
        tuple[str, ...] | None, Option("measure these parts only (--list names them)", "NAME")
    ] = None,
    list: Annotated[bool, Option("only list the parts")] = False,  # noqa: A002
    quick: Annotated[bool, Option("small sizes, for a trial; the numbers mean nothing")] = False,
    full: Annotated[bool, Option("write all planes of the large volume: hours on a CPU")] = False,
    stages: Annotated[
        bool, Option("instead, time every stage of the network, beside the least it could take")
    ] = False,
    network: NetworkOptions,
    json: Annotated[str | None, Option("write all measurements to this file")] = None,
    files: Annotated[
        tuple[str, ...] | None,
        Option("print what --json wrote, without measuring", names=("--from",)),
    ] = None,
    markdown: Annotated[bool, Option("print the tables in Markdown")] = False,
) -> None:
    """Time this machine.

    Measure on this machine, in one run: a volume, one more scan, a plane beside the plain
    network, the linear preview, a volume larger than memory, opening the dock, beads.
    Each line says whether its goal is met.

    examples:
      recurrent-mz bench --json bench.json
      recurrent-mz bench --only plane equality
      recurrent-mz bench --stages
      recurrent-mz bench --from bench.json --markdown
    """
    from ..lab.benchmarks.base import FULL, QUICK, Bench, chosen, run
    from ..lab.benchmarks.stages import measure
    from ..lab.benchmarks.table import Record, as_markdown, as_text, made_by, title

    check_json(json)
    if list:
        for subject in chosen([]):
            print(f"{subject.name:<14}{subject.about}")
        return
    show = as_markdown if markdown else as_text
    if files:
        print("\n\n".join(show(Record.read(path)) for path in files))
        return
    sizes = QUICK if quick else FULL
    task = Bench(choose_device(network.device), network.model, sizes, note)
    subjects = chosen(only or [], full=full)
    flags = {"quick": quick, "full": full, "stages": stages}
    record = Record(
        made_by(task, _command([f"--{name}" for name in flags if flags[name]], only, network))
    )
    found: Any = record.stages if stages else record.rows
    for entry in measure(task) if stages else run(subjects, task):
        found.append(entry)
        note(title(entry))
        if json:  # what is done so far is there all along
            write_json(json, record.as_dict())
    print(show(record))


def _command(flags: list[str], only: tuple[str, ...] | None, network: NetworkOptions) -> str:
    """What a person types to get the same."""
    words = ["recurrent-mz", "bench", *flags]
    words += ["--only", *only] if only else []
    words += ["--model", network.model] if network.model else []
    words += ["--device", network.device] if network.device != "auto" else []
    given = network.gpu_memory_gb
    words += [] if given is None else ["--gpu-memory-gb", f"{given:g}"]
    return shlex.join(words)


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
    from ..lab.experiments.run import chosen, run, write_report

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
    print(write_report(folder))
    if pages is not None:
        print(write_report(folder, pages))


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
