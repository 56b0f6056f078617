"""Options that are made from functions and dataclasses give back what was typed."""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from napari_recurrent_mz import InputError
from napari_recurrent_mz.cli._options import (
    Argument,
    Option,
    add_command,
    add_options,
    called,
    changed,
    check_written,
)


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where it is.

    Parameters
    ----------
    z_um, width_um : float
        In micrometres.
    """

    z_um: float = 1.5
    width_um: float | None = None
    planes: Annotated[tuple[int, ...] | None, Option("some planes")] = None
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Whole:
    """Something in something."""

    where: Where = Where()
    quick: bool = False


def look(
    *,
    path: Annotated[str, Argument("what to look at")],
    where: Where,
    kept: Annotated[tuple[str, ...], Option("may come again", repeats=True)] = (),
    quick: bool = False,
    colour: Annotated[str, Option("of 100 % of it", choices=("red", "green"))] = "red",
) -> Any:
    """Look at something.

    All of it is looked at, line by line.

    examples:
      look  here
    """
    return path, where, kept, quick, colour


def parser() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    whole = argparse.ArgumentParser(prog="tool")
    commands = whole.add_subparsers()
    add_command(commands, look)
    return whole, commands.choices["look"]


@pytest.mark.parametrize("seed", range(50))
def test_what_was_typed_comes_back(seed: int) -> None:
    rng = random.Random(seed)
    z_um, width_um = rng.uniform(0, 9), rng.choice([None, rng.uniform(0, 1e6)])
    planes = tuple(rng.choices(range(99), k=rng.randrange(4))) or None
    ends = rng.choice([None, (rng.random(), 1.0)])
    kept, quick = tuple(rng.choices("ab", k=rng.randrange(4))), rng.random() < 0.5
    words = ["look", "here", "--z-um", repr(z_um)]
    words += ["--width-um", repr(width_um)] if width_um is not None else []
    words += ["--planes", *map(str, planes)] if planes else []
    words += ["--ends", *map(repr, ends)] if ends else []
    words += [word for name in kept for word in ("--kept", name)] + ["--quick"] * quick
    values = parser()[0].parse_args(words)
    where = Where(z_um=z_um, width_um=width_um, planes=planes, ends=ends)
    assert called(values.run, values) == ("here", where, kept, quick, "red")


def test_the_help_is_what_the_docstrings_say() -> None:
    text = " ".join(parser()[1].format_help().split())
    for words in (
        "All of it is looked at, line by line.",
        "where it is: --z-um X In micrometres. (default: 1.5)",
        "--ends X X",
        "--colour {red,green} of 100 % of it (default: red)",
        "examples: look here",
        "what to look at",
    ):
        assert words in text
    assert "  look  here" in parser()[1].format_help()  # an example stays as it is


def test_what_is_not_given_leaves_a_configuration_as_it_is() -> None:
    whole = argparse.ArgumentParser()
    for source in (Where, Whole):
        add_options(whole, source, unset=True)
    base = Whole(Where(z_um=3, ends=(1, 2)), quick=True)
    assert changed(base, whole.parse_args([])) == base
    words = ["--no-quick", "--ends", "4", "5"]
    assert changed(base, whole.parse_args(words)) == Whole(Where(z_um=3, ends=(4, 5)))


@pytest.mark.parametrize("words", [["look"], ["look", "here", "--colour", "blue"]])
def test_what_cannot_be_is_wrong_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parser()[0].parse_args(words)
    assert stop.value.code == 2
    assert "usage: tool look" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "own", "other"),
    [
        ("a.json", b'{\n "x": 1\n}\n', b'{"mine": 1}'),
        ("a.csv", b"\xef\xbb\xbfvolume,bead,x\n", b"volume;bead;remark\r\n"),
        ("a.png", b"\x89PNG Software Matplotlib version", b"\x89PNG of a camera"),
        ("a.pdf", b"", b"%PDF of a paper"),
    ],
)
def test_what_another_program_wrote_is_not_replaced(
    tmp_path: Path, name: str, own: bytes, other: bytes
) -> None:
    path = tmp_path / name
    values = argparse.Namespace(written={"out": "--out"}, out=str(path))
    check_written(values)
    path.write_bytes(own)
    check_written(values)
    path.write_bytes(other)
    with pytest.raises(InputError, match=f"'{name}' is there already"):
        check_written(values)
