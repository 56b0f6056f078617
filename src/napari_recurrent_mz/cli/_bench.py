"""``recurrent-mz bench``: how fast this machine is, in one table, beside the plain network."""

from __future__ import annotations

import shlex
from typing import Annotated

from ._common import NetworkOptions, check_json
from ._options import Option
from ._terminal import note


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
    from ..core.device import choose_device
    from ..io import write_json
    from ..lab.benchmarks.base import FULL, QUICK, Bench
    from ..lab.benchmarks.registry import chosen, run
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
    for entry in measure(task) if stages else run(subjects, task):
        record = record.with_(entry)
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
