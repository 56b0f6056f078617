"""``recurrent-mz bench``: how fast this machine is, in one table, beside the plain network."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, Any

from . import _common

if TYPE_CHECKING:
    from ..lab.benchmarks.base import Bench
    from ..lab.benchmarks.table import Record

_EXAMPLES = """examples:
  recurrent-mz bench --json bench.json
  recurrent-mz bench --only plane equality
  recurrent-mz bench --stages
  recurrent-mz bench --from bench.json --markdown
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="time this machine",
        description="Measure on this machine, in one run: a volume, one more scan, a plane beside "
        "the plain network, the linear preview, a volume larger than memory, what the dock takes "
        "to open, beads. Each line says whether its goal is met.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these parts (--list names them)")
    parser.add_argument("--list", action="store_true", help="say what there is, and do nothing")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see everything work; no real numbers"
    )
    parser.add_argument(
        "--full", action="store_true", help="write all planes of the large volume: hours on a CPU"
    )
    parser.add_argument(
        "--stages",
        action="store_true",
        help="instead, every stage of the network beside the least time it could take here",
    )
    _common.add_model_options(parser)
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    parser.add_argument(
        "--from",
        dest="kept",
        nargs="+",
        metavar="FILE",
        help="measure nothing; print what --json wrote",
    )
    parser.add_argument("--markdown", action="store_true", help="print a page's tables")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure or read, print, write."""
    from ..lab.benchmarks.registry import chosen
    from ..lab.benchmarks.table import Record, as_markdown, as_text

    _common.check_json(arguments.json)
    if arguments.list:
        for subject in chosen([]):
            print(f"{subject.name:<14}{subject.about}")
        return
    show = as_markdown if arguments.markdown else as_text
    if arguments.kept:
        print("\n\n".join(show(Record.read(path)) for path in arguments.kept))
    else:
        print(show(_measured(arguments)))


def _measured(arguments: argparse.Namespace) -> Record:
    """The whole of a run; what is done so far is in the JSON all along."""
    from ..lab.benchmarks.registry import chosen, run
    from ..lab.benchmarks.stages import measure
    from ..lab.benchmarks.table import Record, made_by, title

    bench = _bench(arguments)
    some = chosen(arguments.only or [], full=arguments.full)
    record = Record(made_by(bench, _command(arguments)))
    for found in measure(bench) if arguments.stages else run(some, bench):
        record = record.with_(found)
        _say(title(found))
        if arguments.json:
            _common.write_json(arguments.json, record.as_dict())
    return record


def _bench(arguments: argparse.Namespace) -> Bench:
    from ..device import choose_device
    from ..lab.benchmarks.base import FULL, QUICK, Bench

    sizes = QUICK if arguments.quick else FULL
    return Bench(choose_device(arguments.device), arguments.model, sizes, _say)


def _say(text: str) -> None:
    print(f"note: {text}", file=sys.stderr, flush=True)


def _command(arguments: argparse.Namespace) -> str:
    """What a person types to get the same."""
    words = ["recurrent-mz", "bench"]
    words += [f"--{name}" for name in ("quick", "full", "stages") if getattr(arguments, name)]
    words += ["--only", *arguments.only] if arguments.only else []
    words += ["--model", arguments.model] if arguments.model else []
    words += ["--device", arguments.device] if arguments.device != "auto" else []
    given = arguments.gpu_memory_gb
    words += [] if given is None else ["--gpu-memory-gb", f"{given:g}"]
    return shlex.join(words)
