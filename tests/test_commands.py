"""Every command and option that a user's script may hold goes on being there.

``commands.json`` beside this file is the list. Who adds an option adds it there:
``python tests/test_commands.py`` writes the list anew, and the difference is then looked at.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from napari_recurrent_mz import cli

LIST = Path(__file__).with_name("commands.json")
FACTS = ("metavar", "nargs", "choices", "default", "type", "required")
STORED: dict[str, dict[str, dict[str, Any]]] = json.loads(LIST.read_text(encoding="utf-8"))


def commands_now() -> dict[str, dict[str, dict[str, Any]]]:
    """Every command's options by their spellings, with what argparse knows of each."""
    found = {"": _options(cli._parser([])), "train": _options(cli._parser(["train"]), "train")}
    for name, parser in _leaves(cli._parser([])):
        found.setdefault(name, _options(parser))
    return {name: found[name] for name in sorted(found)}


def _leaves(parser: argparse.ArgumentParser, name: str = "") -> list[tuple[str, Any]]:
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        return [(name, parser)]
    inner = below[0].choices.items()
    return [leaf for word, child in inner for leaf in _leaves(child, f"{name} {word}".strip())]


def _options(parser: argparse.ArgumentParser, command: str = "") -> dict[str, dict[str, Any]]:
    if command:
        parser = dict(_leaves(parser))[command]
    options: dict[str, dict[str, Any]] = {
        " ".join(action.option_strings) or str(action.metavar or action.dest): _facts(action)
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
    }
    for group in parser._mutually_exclusive_groups:
        options["one of"] = {"options": sorted(action.dest for action in group._group_actions)}
    return options


def _facts(action: argparse.Action) -> dict[str, Any]:
    facts = {name: getattr(action, name) for name in FACTS}
    facts["choices"] = list(action.choices) if action.choices is not None else None
    facts["type"] = getattr(action.type, "__name__", "str")
    facts["action"] = type(action).__name__.strip("_")
    if facts["type"] == "str" and action.nargs == 0:
        del facts["type"]
    facts["help"] = action.help
    kept = {name: value for name, value in facts.items() if value not in (None, False)}
    return json.loads(json.dumps(kept))  # type: ignore[no-any-return]  # tuples as JSON has them


@pytest.mark.parametrize("command", sorted(STORED))
def test_every_option_is_there(command: str) -> None:
    """The same spellings, values, choices and defaults; the words may be better ones."""
    stored, found = STORED[command], commands_now().get(command, {})
    assert _wordless(found) == _wordless(stored)
    silent = [name for name in stored if stored[name].get("help") and not found[name].get("help")]
    assert not silent


def _wordless(options: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {fact: value for fact, value in facts.items() if fact != "help"}
        for name, facts in options.items()
    }


def test_the_list_holds_every_command() -> None:
    assert sorted(commands_now()) == sorted(STORED)


if __name__ == "__main__":
    text = json.dumps(commands_now(), indent=1, ensure_ascii=False)
    LIST.write_text(text + "\n", encoding="utf-8")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m napari_recurrent_mz info | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("napari-recurrent-mz ")
    assert done.stderr == ""
