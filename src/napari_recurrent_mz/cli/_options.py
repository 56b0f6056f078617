"""Options made from the parameters of functions and dataclasses, and their values from options.

The annotation of a parameter gives its type, and an :class:`Option` in it the words; without one,
the words are those of the docstring. A dataclass stands for its own fields, and the first line of
its docstring is their title.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import inspect
import os
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from ..core.errors import InputError

T = TypeVar("T")

_WRITTEN = "written"  # among the values: parameters that name what is written, and their options


@dataclasses.dataclass(frozen=True)
class Option:
    """What an option is called and says, beyond its parameter's name, type and default."""

    words: str = ""
    metavar: str | tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    choices: Sequence[str] | None = None
    repeats: bool = False
    one_of: bool = False  # exactly one of those so marked is given
    within: Mapping[str, Any] | None = None  # of a dataclass: annotations in place of its own


class Argument(Option):
    """The same without a dash: known by its place."""


class Written(Option):
    """The same for a file that is written: see :func:`check_written`."""


class _Parameter(NamedTuple):
    name: str
    kind: Any
    option: Option
    default: Any  # inspect.Parameter.empty where there is none


class _Words(argparse.HelpFormatter):
    """Fills paragraphs, and leaves those with indented lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        paragraphs = text.split("\n\n")
        return "\n\n".join(p if "\n  " in p else fill(p, width, indent) for p in paragraphs)


def add_command(commands: Any, run: Callable[..., None]) -> None:
    """Add the command that a function carries out; its name and docstring are those of the help."""
    parser = _added(commands, run.__name__, inspect.getdoc(run) or "")
    add_options(parser, run)
    parser.add_argument(
        "--traceback", action="store_true", help="show the full error, to report it"
    )
    parser.set_defaults(run=run)


def add_group(
    commands: Any, name: str, words: str, metavar: str, *runs: Callable[..., None]
) -> None:
    """Add a command that has commands of its own."""
    below = _added(commands, name, inspect.cleandoc(words)).add_subparsers(
        dest=metavar.lower(), required=True, metavar=metavar
    )
    for run in runs:
        add_command(below, run)


def _added(commands: Any, name: str, words: str) -> argparse.ArgumentParser:
    """A parser whose help is a docstring: one line for the list, then what is said of it."""
    words, heading, examples = words.partition("examples:\n")
    title, text = _title_and_text(words)
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=title,
        description=text,
        epilog=heading + examples or None,
        formatter_class=_Words,
    )
    return parser


def _title_and_text(docstring: str) -> tuple[str, str | None]:
    """The first line as a title, and what follows it, without the sections on parameters."""
    summary = re.split(r"(?:Parameters|Attributes)\n-+\n", docstring)[0]
    title, _, text = summary.strip().partition("\n\n")
    return title[0].lower() + title[1:].rstrip("."), text or None


def add_options(
    parser: argparse.ArgumentParser,
    source: Callable[..., Any],
    into: argparse._ArgumentGroup | None = None,
    *,
    unset: bool = False,
    within: Mapping[str, Any] | None = None,
) -> None:
    """Add an option for every parameter that has none yet; ``unset`` ones are None by default."""
    there = {action.dest for action in parser._actions}
    group: argparse._ActionsContainer = into or parser
    one_of: argparse._ActionsContainer | None = None
    parameters = _parameters(source, within)
    for parameter in sorted(parameters, key=lambda p: not isinstance(p.option, Argument)):
        if dataclasses.is_dataclass(parameter.kind):
            if not unset:
                inner: Any = parameter.kind
                section = parser.add_argument_group(*_title_and_text(inspect.getdoc(inner) or ""))
                add_options(parser, inner, section, within=parameter.option.within)
        elif parameter.name not in there and parameter.kind is not argparse.Namespace:
            if parameter.option.one_of and one_of is None:
                one_of = group.add_mutually_exclusive_group(required=True)
            where = one_of if parameter.option.one_of and one_of is not None else group
            names, shape = _shape(parameter, unset)
            where.add_argument(*names, **shape)
            if isinstance(parameter.option, Written):
                written = parser.get_default(_WRITTEN) or {}
                parser.set_defaults(**{_WRITTEN: {**written, parameter.name: names[-1]}})


def check_written(values: argparse.Namespace) -> None:
    """Refuse to write a file that is read, is another option's as well, or is not from here."""
    written: dict[str, str] = getattr(values, _WRITTEN, {})
    for name, option in written.items():
        _check_is_own(getattr(values, name))
        for other, given in vars(values).items():
            for path in given if isinstance(given, list) else [given]:
                if other != name and _is_same_file(path, getattr(values, name)):
                    called = f"'{Path(path).name}' is"
                    if other in written:
                        both = f"{written[other]} and {option}"
                        raise InputError(f"{called} what both {both} write: choose another name.")
                    raise InputError(
                        f"{called} one of the input files: choose another name for {option}."
                    )


# What the numbers and figures that this program writes hold; images are looked at as they are read.
_OWN: dict[str, Callable[[bytes], bool]] = {
    ".json": lambda held: held.startswith(b"{\n "),
    ".csv": lambda held: held.startswith((b"\xef\xbb\xbfvolume,bead", b"file,")),
    **dict.fromkeys((".png", ".svg", ".pdf"), lambda held: b"Matplotlib" in held),
}


def _check_is_own(given: object) -> None:
    """Refuse to replace numbers or a figure that another program wrote."""
    if not isinstance(given, str):
        return
    path, is_own = Path(given), _OWN.get(Path(given).suffix.lower())
    with contextlib.suppress(OSError):  # told where it is used
        held = path.read_bytes() if is_own and path.is_file() else b""
        if is_own and held and not is_own(held):
            raise InputError(
                f"'{path.name}' is there already and was not written by this program, so it stays: "
                "choose another name or folder, or move it away."
            )


def _is_same_file(one: object, other: object) -> bool:
    if not (isinstance(one, str) and isinstance(other, str) and one and other):
        return False
    with contextlib.suppress(OSError):  # a name that cannot be is told where it is used
        return os.path.realpath(one) == os.path.realpath(other) or Path(one).samefile(other)
    return False


def called(
    source: Callable[..., T], values: argparse.Namespace, within: Mapping[str, Any] | None = None
) -> T:
    """Call a function, or make a dataclass, with what the options say."""
    return source(**{p.name: _value(p, values) for p in _parameters(source, within)})


def changed(base: T, values: argparse.Namespace) -> T:
    """A dataclass, and those in it, with what was given in place of its own values."""
    given: dict[str, Any] = {}
    for field in dataclasses.fields(base):  # type: ignore[arg-type]
        own, value = getattr(base, field.name), getattr(values, field.name, None)
        if dataclasses.is_dataclass(own):
            given[field.name] = changed(own, values)
        elif value is not None:
            given[field.name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(base, **given)  # type: ignore[type-var]


def _value(parameter: _Parameter, values: argparse.Namespace) -> Any:
    if parameter.kind is argparse.Namespace:
        return values
    if dataclasses.is_dataclass(parameter.kind):
        inner: Any = parameter.kind
        return called(inner, values, parameter.option.within)
    value = getattr(values, parameter.name)
    return tuple(value) if isinstance(value, list) else value


def _parameters(
    source: Callable[..., Any], within: Mapping[str, Any] | None = None
) -> Iterator[_Parameter]:
    hints = typing.get_type_hints(source, include_extras=True) | dict(within or {})
    words = _described(source)
    for name, parameter in inspect.signature(source).parameters.items():
        kind, option = hints[name], Option(words.get(name, ""))
        if typing.get_origin(kind) is Annotated:
            kind, option = typing.get_args(kind)[:2]
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            kind = next(k for k in typing.get_args(kind) if k is not types.NoneType)
        yield _Parameter(name, kind, option, parameter.default)


def _shape(parameter: _Parameter, unset: bool) -> tuple[list[str], dict[str, Any]]:
    """What ``add_argument`` takes."""
    name, kind, option, default = parameter
    needed = default is inspect.Parameter.empty
    help_ = option.words
    if unset or not (needed or default is None or default is False or default == ()):
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        help_ = f"{help_} (default: {shown})".strip()
    shape: dict[str, Any] = {"help": help_.replace("%", "%%")}
    if isinstance(option, Argument):
        names = [name]
    else:
        names = list(option.names) or [option_name(name)]
        shape |= {"dest": name} | ({"required": True} if needed else {})
    if kind is bool:
        plain: Any = argparse.BooleanOptionalAction if unset else "store_true"
        return names, shape | {"action": plain} | ({"default": None} if unset else {})
    shape |= _type_and_count(kind, option, unset, needed)
    if option.repeats and default == ():
        shape["default"] = []
    elif not (needed or unset or default == ()):
        shape["default"] = default
    return names, shape


def option_name(name: str) -> str:
    """How an option is typed for a parameter of this name."""
    return "--" + name.replace("_", "-")


def _type_and_count(kind: Any, option: Option, unset: bool, needed: bool) -> dict[str, Any]:
    shape: dict[str, Any] = {}
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        kind = items[0]
        if option.repeats:
            shape["action"] = "append"
        elif items[-1] is not Ellipsis:
            shape["nargs"] = len(items)
        else:
            shape["nargs"] = "+" if needed or not isinstance(option, Argument) else "*"
    if option.choices is not None:
        shape["choices"] = option.choices
    else:
        usual = "X" if unset else {int: "N", float: "X"}.get(kind, "FILE")
        shape["metavar"] = option.metavar or usual
    return shape | {"type": _number(kind) if kind in (int, float) else kind}


def _number(kind: type[float]) -> Callable[[str], float]:
    """``int`` or ``float``, with a sentence on what is neither."""

    @functools.wraps(kind)
    def number(text: str) -> float:
        try:
            return kind(text)
        except ValueError:
            decimals = "" if kind is int else "decimals with a point, and "
            words = "whole number, such as 5" if kind is int else "number, such as 0.5"
            raise argparse.ArgumentTypeError(
                f"'{text}' is not a {words}: write {decimals}several numbers with spaces between "
                "them"
            ) from None

    return number


_MARKUP = re.compile(r"``?([^`]+)``?")  # of the documentation, which nobody reads in a terminal


def _described(source: Callable[..., Any]) -> dict[str, str]:
    """What a docstring says of each parameter (numpydoc; ``a, b : type`` names two)."""
    descriptions: dict[str, str] = {}
    names: list[str] = []
    for line in (inspect.getdoc(source) or "").splitlines():
        head = re.match(r"(\w+(?:, \w+)*) : ", line)
        if head:
            names = head[1].split(", ")
        elif names and line.startswith("    "):
            words = _MARKUP.sub(r"\1", line.strip())
            for name in names:
                descriptions[name] = f"{descriptions.get(name, '')} {words}".strip()
        elif line.strip():
            names = []
    return descriptions
