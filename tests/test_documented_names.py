"""Every name that the documentation gives can be imported from where it says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
PACKAGE = "napari_recurrent_mz"


def documented() -> list[str]:
    """Dotted names of the Python interface, one for each directive or member."""
    found = []
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    directive = re.compile(r"^\.\. auto(module|class|function):: (\S+)\n((?:   .*\n)*)", re.M)
    for kind, name, options in directive.findall(text):
        members = re.search(r":members:((?:[^:])*)", options)
        listed = re.findall(r"\w+", members[1]) if kind == "module" and members else []
        found += [f"{name}.{member}" for member in listed] or [name]
    return found


def imported_in_docs() -> list[str]:
    """What the examples of the documentation and of the README import."""
    found = set()
    for path in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for module, names in re.findall(
            rf"^from ({PACKAGE}[\w.]*) import \(?([\w, ]+)", path.read_text(encoding="utf-8"), re.M
        ):
            found |= {f"{module}.{name}" for name in re.findall(r"\w+", names)}
    return sorted(found)


@pytest.mark.parametrize("name", [*documented(), *imported_in_docs()])
def test_a_documented_name_is_where_it_is_said_to_be(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)


def test_there_are_documented_names() -> None:
    assert len(documented()) > 90
    assert len(imported_in_docs()) > 10
