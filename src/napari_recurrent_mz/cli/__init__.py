"""The command ``recurrent-mz``. All lengths are in micrometres.

Exit status: 0 done; 1 failed, with one line on standard error; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from ..core.device import limit_gpu_memory
from ..core.errors import known_sentence, sentence_of
from . import _prepare, _simulate
from ._batch import batch
from ._beads import beads
from ._card import card, package, validate
from ._demo import demo
from ._evaluate import evaluate
from ._info import info
from ._lab import add_sizes, bench, experiments
from ._options import add_command, add_group, called, check_written
from ._reconstruct import reconstruct, surface
from ._train import add_settings, train

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without all options before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} --help'\n")


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="recurrent-mz",
        description="Build a fluorescence volume from a few wide-field scans at known heights. "
        "All lengths are in micrometres.",
        epilog="Exit status: 0 done, 1 failed (one line on standard error), 2 wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_group(commands, "prepare", _prepare.__doc__ or "", "TASK", *_prepare.TASKS)
    for command in (
        reconstruct, batch, surface, evaluate, beads, demo, train, validate, card, package,
        experiments, bench, info,
    ):  # fmt: skip
        add_command(commands, command)
    add_sizes(commands.choices["experiments"])
    add_group(commands, "simulate", _simulate.__doc__ or "", "WHAT", *_simulate.WHAT)
    if argv[:1] == ["train"]:  # its settings are read off the training room, which needs torch
        add_settings(commands.choices["train"])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status, 0 or 1. Wrong usage is ``SystemExit(2)``."""
    _complete()
    words = _negative_words(sys.argv[1:] if argv is None else argv)
    arguments = argparse.Namespace(traceback="--traceback" in words)  # until they are parsed
    try:
        _parser(words).parse_args(words, arguments)
        with warnings.catch_warnings():
            if not arguments.traceback:
                # Libraries' remarks to programmers are no use to a microscopist.
                warnings.simplefilter("ignore")
            if (gigabytes := getattr(arguments, "gpu_memory_gb", None)) is not None:
                limit_gpu_memory(gigabytes)
            check_written(arguments)
            called(arguments.run, arguments)
            if sys.stdout is not None:  # which a program without a terminal may lack
                sys.stdout.flush()
    except BrokenPipeError:  # who reads what is printed has seen enough, as "head" has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if arguments.traceback:
            raise
        print(f"recurrent-mz: {_in_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _complete() -> None:
    """Answer a shell that asks how the line goes on, and end; otherwise nothing."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(_parser(os.environ["COMP_LINE"].split()[1:]))


def _negative_words(argv: Sequence[str]) -> list[str]:
    """``--grid -2:10:0.2`` as ``--grid=-2:10:0.2``: argparse takes the first for two options."""
    # A point such as -1,0,5 gets a space before it, by which argparse knows no option.
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
    if isinstance(error, KeyboardInterrupt):
        return "Cancelled: what was not finished is not kept."
    sentence = sentence_of(error)
    if not known_sentence(error):
        sentence += " 'recurrent-mz info' says where to report it; --traceback shows all of it."
    return " ".join(sentence.split())
