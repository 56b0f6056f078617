"""The house: imports run downward only, and napari and Qt stay in widgets/."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "napari_recurrent_mz"
SOURCE = Path(__file__).resolve().parents[1] / "src" / PACKAGE

# The floor of each room. An import goes to the same floor or to one below.
FLOORS = {
    "scans": 1,
    "optics": 1,
    "vectorial": 1,
    "pupil": 1,
    "side_by_side": 1,
    "device": 1,
    "methods": 1,
    "transfer": 1,
    "progress": 1,
    "stopping": 1,
    "network": 2,
    "baselines": 2,
    "architectures": 2,
    "operations": 2,
    "weights": 2,
    "covariance": 2,
    "expansion": 2,
    "radial_filter": 2,
    "lmmse": 2,
    "deconvolution": 2,
    "object_sheets": 2,
    "object_windows": 2,
    "prepare": 2,
    "saturation": 2,
    "uncertainty": 2,
    "expectation": 2,
    "planning": 2,
    "preparation": 2,
    "inputs": 2,
    "fast": 2,
    "runner": 2,
    "overlap": 2,
    "memory": 2,
    "io": 2,
    "metrics": 2,
    "projections": 2,
    "beads": 2,
    "tiles": 3,
    "check": 3,
    "recipe": 3,
    "inference": 3,
    "provenance": 3,
    "cost": 3,
    "to_disk": 3,
    "surfaces": 3,
    "phantoms": 3,
    "composites": 3,
    "simulate": 3,
    "plots": 3,
    "session": 4,
    "sources": 4,
    "batch": 4,
    "training": 4,
    "evaluation": 4,
    "comparison": 4,
    "cli": 5,
    "widgets": 5,
    "lab": 6,
}
WINDOW = ("napari", "qtpy", "magicgui", "superqt", "vispy", "PyQt5", "PyQt6", "PySide2", "PySide6")
HEAVY = ("torch", "napari", "scipy", "skimage", "matplotlib", "pandas", "qtpy")


class Import(NamedTuple):
    """One import statement: who imports what, and whether only inside a function."""

    source: str
    target: str
    lazy: bool


@cache
def modules() -> dict[str, Path]:
    """Every module below the package, by dotted name relative to it ('' is the package)."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports_of(name: str, path: Path) -> list[Import]:
    """Every import in a module; those of our own rooms as dotted names that start with a dot."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.walk(node)
    }
    home = [PACKAGE, *name.split(".")] if name else [PACKAGE]
    if path.name != "__init__.py":
        home = home[:-1]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            targets = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [Import(name, ours(target), id(node) in inside) for target in targets]
    return found


def ours(target: str) -> str:
    """'.room.module' for a name in our package, the longest that is a module; others as is."""
    parts = target.split(".")
    if parts[0] != PACKAGE:
        return target
    known = modules()
    for end in range(len(parts), 1, -1):
        if ".".join(parts[1:end]) in known:
            return "." + ".".join(parts[1:end])
    return "."  # a name of the package itself


ALL_IMPORTS = [line for name, path in sorted(modules().items()) for line in imports_of(name, path)]


def room(name: str) -> str:
    return name.lstrip(".").split(".")[0]


def test_every_module_has_a_floor() -> None:
    homeless = {room(name) for name in modules()} - set(FLOORS) - {""}
    assert not homeless, f"give these rooms a floor in the table: {sorted(homeless)}"


def test_imports_run_downward() -> None:
    """The command line names the laboratory, and does not load it: its floor stands without."""
    upward = [
        line
        for line in ALL_IMPORTS
        if room(line.source) and room(line.target) in FLOORS and line.target.startswith(".")
        if FLOORS[room(line.target)] > FLOORS.get(room(line.source), 9)
        if (room(line.source), room(line.target)) != ("cli", "lab")
    ]
    assert not upward


def test_rooms_import_each_other_in_one_direction() -> None:
    graph: dict[str, set[str]] = {}
    for line in ALL_IMPORTS:
        if line.target.startswith(".") and room(line.target) not in ("", room(line.source)):
            graph.setdefault(room(line.source), set()).add(room(line.target))
    graph.pop("", None)  # the package's own names are lazy
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_only_widgets_import_the_window() -> None:
    """The command line may, inside the function that opens it."""
    found = [
        line
        for line in ALL_IMPORTS
        if line.target.split(".")[0] in WINDOW and room(line.source) != "widgets"
        if not (room(line.source) == "cli" and line.lazy)
    ]
    assert not found


def test_cli_opens_the_widgets_lazily() -> None:
    found = [
        line
        for line in ALL_IMPORTS
        if room(line.source) == "cli" and room(line.target) == "widgets" and not line.lazy
    ]
    assert not found


def test_widgets_leave_training_alone() -> None:
    """The Train dock may, inside the function that trains."""
    found = [
        line
        for line in ALL_IMPORTS
        if room(line.source) == "widgets" and line.target.startswith(".training")
        if not (line.source == "widgets.train" and line.lazy)
    ]
    assert not found


def sentences_read(tree: ast.AST) -> list[int]:
    """Lines that compare, search or rewrite what a caught InputError says."""
    found = []
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler) or handler.type is None:
            continue
        if "InputError" not in ast.unparse(handler.type):
            continue
        text = f"str({handler.name})"
        for node in ast.walk(handler):
            is_compared = isinstance(node, ast.Compare) and text in map(
                ast.unparse, [node.left, *node.comparators]
            )
            is_searched = isinstance(node, ast.Attribute) and (
                ast.unparse(node.value) == text
                and node.attr in ("startswith", "endswith", "replace", "find", "split")
            )
            if is_compared or is_searched:
                found.append(node.lineno)
    return found


def test_nothing_reads_the_sentence_of_an_error() -> None:
    """An error has a kind for that."""
    wrong = """
try: ...
except InputError as error:
    if "taken" in str(error): ...
    text = str(error).replace("The stack", "It")
    print(str(error).removesuffix("."))
"""
    assert sentences_read(ast.parse(wrong)) == [4, 5]
    found = {
        name: lines
        for name, path in modules().items()
        if (lines := sentences_read(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert not found


GUARD = """
import importlib, sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if any(name == b or name.startswith(b + ".") for b in blocked):
            raise ImportError("must not be imported here: " + name)
sys.meta_path.insert(0, Guard())
for name in wanted:
    importlib.import_module(name)
"""


def import_guarded(wanted: list[str], blocked: list[str], then: str = "") -> None:
    """Import modules in a fresh interpreter in which others cannot be imported, and use them."""
    code = f"wanted = {wanted!r}\nblocked = {blocked!r}\n{GUARD}{then}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("floor", sorted(set(FLOORS.values())))
def test_floor_stands_without_what_is_above(floor: int) -> None:
    """A fresh interpreter imports every module of a floor while those above are barred."""
    wanted = [
        f"{PACKAGE}.{name}"
        for name in sorted(modules())
        if FLOORS.get(room(name)) == floor and room(name) != "widgets"
    ]
    above = [f"{PACKAGE}.{name}" for name, level in FLOORS.items() if level > floor]
    import_guarded(wanted, [*above, f"{PACKAGE}.widgets", *WINDOW])


def test_package_import_is_light() -> None:
    import_guarded([PACKAGE], list(HEAVY))


def test_reading_and_writing_need_no_torch() -> None:
    """A machine that only reads, or a Python that torch is not there for yet."""
    wanted = [f"{PACKAGE}.{name}" for name in sorted(modules()) if room(name) in ("io", "sources")]
    import_guarded(wanted, ["torch", *WINDOW], WRITE_AND_READ)


WRITE_AND_READ = f"""
import tempfile
from pathlib import Path
import numpy as np
from {PACKAGE}.io import read_image, write_volume
from {PACKAGE}.io._parts import contents_of, read_planes
volume, optics = np.ones((3, 16, 16)), dict(na=1.2, wavelength_um=0.5, immersion_index=1.33)
with tempfile.TemporaryDirectory() as folder:
    for name in ("a.ome.tif", "a.ome.zarr"):
        path = Path(folder) / name
        write_volume(path, volume, [0.0, 0.5, 1.0], 0.1, {{"optics": optics}})
        assert read_image(path).na == 1.2
        assert contents_of(path)[0].shape == (3, 16, 16) and read_planes(path, [1]).n_planes == 3
"""


def test_lazy_names_resolve_and_unknown_ones_do_not() -> None:
    import napari_recurrent_mz as package

    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = package.nonsense
