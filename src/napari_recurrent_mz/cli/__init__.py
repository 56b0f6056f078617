"""The command ``recurrent-mz``. All lengths are in micrometres.

Exit status: 0 done; 1 failed, with one line on standard error; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence

from .. import __version__
from ..scans import InputError
from . import (
    _batch,
    _beads,
    _bench,
    _card,
    _demo,
    _evaluate,
    _experiments,
    _info,
    _prepare,
    _reconstruct,
    _simulate,
    _surface,
    _train,
    _validate,
)

__all__ = ["main"]

_COMMANDS = (
    _prepare,
    _reconstruct,
    _batch,
    _surface,
    _evaluate,
    _beads,
    _demo,
    _train,
    _validate,
    _card,
    _experiments,
    _simulate,
    _bench,
    _info,
)


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recurrent-mz",
        description="Build a fluorescence volume from a few wide-field scans at known heights. "
        "All lengths are in micrometres.",
        epilog="Exit status: 0 done, 1 failed (one line on standard error), 2 wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add_to(commands)
    if argv[:1] == ["train"]:  # its settings are read off the training room, which needs torch
        _train.add_settings(commands.choices["train"])
    for command in _leaves(commands):
        command.add_argument(
            "--traceback", action="store_true", help="show the whole of an error, for a report"
        )
    return parser


def _leaves(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands that run something."""
    for command in commands.choices.values():
        below = [a for a in command._actions if isinstance(a, argparse._SubParsersAction)]
        if below:
            yield from _leaves(below[0])
        else:
            yield command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process.

    Returns
    -------
    int
        The exit status: 0 or 1. Wrong usage leaves by ``SystemExit(2)``.
    """
    words = _negative_words(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words).parse_args(words)
    try:
        with warnings.catch_warnings():
            if not arguments.traceback:
                # Libraries' remarks to programmers are no use to a microscopist.
                warnings.simplefilter("ignore")
            _limit_memory(arguments)
            arguments.run(arguments)
    except (Exception, KeyboardInterrupt) as error:
        if arguments.traceback:
            raise
        print(f"recurrent-mz: {_in_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _limit_memory(arguments: argparse.Namespace) -> None:
    """Keep to the GPU memory that was given, where a command has that option."""
    gigabytes = getattr(arguments, "gpu_memory_gb", None)
    if gigabytes is not None:
        from ..device import limit_gpu_memory

        limit_gpu_memory(gigabytes)


def _negative_words(argv: Sequence[str]) -> list[str]:
    """``--grid -2:10:0.2`` as ``--grid=-2:10:0.2``: argparse takes the first for two options.

    A point such as ``-1,0,5`` gets a space before it, by which argparse knows no option.
    """
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] == "--grid" and word[:1] == "-" and ":" in word:
            joined[-1] = f"--grid={word}"
        elif word[:1] == "-" and word[1:2] in "0123456789." and "," in word:
            joined.append(f" {word}")
        else:
            joined.append(word)
    return joined


def _in_one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, InputError):
        return text
    if isinstance(error, KeyboardInterrupt):
        return "Cancelled: no result was written."
    if isinstance(error, MemoryError):
        return (
            f"There is not enough memory ({text or 'out of memory'}): "
            "take fewer planes or a smaller field."
        )
    return (
        f"Unexpected {type(error).__name__}: {text} "
        "(--traceback shows where; 'recurrent-mz info' says where to report it)."
    )
