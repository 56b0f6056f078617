"""The house: imports run downward only, and napari and Qt stay in docks/.

``python tests/test_house.py`` prints how large its rooms are.
"""

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

# The floor of each room. An import of another room goes to a floor below.
FLOORS = {
    "core": 1,
    "io": 2,
    "estimates": 2,
    "simulation": 2,
    "networks": 3,
    "acquisition": 3,
    "engine": 4,
    "training": 4,
    "measure": 5,
    "docks": 6,
    "cli": 7,
    "lab": 8,
    "__main__": 8,
}
READERS = ("core", "io", "acquisition")
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


def folder(name: str) -> str:
    return name.lstrip(".").split(".")[1]


def test_every_module_has_a_floor() -> None:
    homeless = {room(name) for name in modules()} - set(FLOORS) - {""}
    assert not homeless, f"give these rooms a floor in the table: {sorted(homeless)}"


def test_imports_run_downward() -> None:
    """The command line names the laboratory, and does not load it: its floor stands without."""
    upward = [
        line
        for line in ALL_IMPORTS
        if room(line.source) and room(line.target) in FLOORS and line.target.startswith(".")
        if room(line.source) != room(line.target)
        if FLOORS[room(line.target)] >= FLOORS[room(line.source)]
        if (room(line.source), room(line.target)) != ("cli", "lab")
    ]
    assert not upward


def test_modules_import_each_other_in_one_direction() -> None:
    """Of what is imported on loading; a module may load another in a function."""
    graph: dict[str, set[str]] = {}
    for line in ALL_IMPORTS:
        if line.target.startswith(".") and line.source and not line.lazy:
            graph.setdefault(line.source, set()).add(line.target[1:])
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_house_has_few_rooms_and_nothing_at_the_door() -> None:
    assert len(FLOORS) <= 13  # twelve rooms, and the door
    assert max(FLOORS.values()) <= 8
    at_the_door = {p.name for p in SOURCE.iterdir() if p.is_file()}
    assert at_the_door == {"__init__.py", "__main__.py", "py.typed", "napari.yaml"}
    for folder in (p for p in SOURCE.rglob("*") if any(p.glob("*.py"))):
        said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert said, f"{folder} does not say what it is"


def test_only_docks_import_the_window() -> None:
    """The command line may, inside the function that opens it."""
    found = [
        line
        for line in ALL_IMPORTS
        if line.target.split(".")[0] in WINDOW and room(line.source) != "docks"
        if not (room(line.source) == "cli" and line.lazy)
    ]
    assert not found


def test_cli_opens_the_docks_lazily() -> None:
    found = [
        line
        for line in ALL_IMPORTS
        if room(line.source) == "cli" and room(line.target) == "docks" and not line.lazy
    ]
    assert not found


def test_docks_know_nothing_of_each_other() -> None:
    """What several use stands in ``shared`` or ``files``; the demos drive docks from outside."""
    found = [
        line
        for line in ALL_IMPORTS
        if room(line.source) == room(line.target) == "docks"
        if folder(line.source) not in (folder(line.target), "demo")
        if folder(line.target) not in ("shared", "files")
    ]
    assert not found


@pytest.mark.parametrize(
    "module", ["reconstruct.dock", "surface.dock", "live.dock", "files.samples"]
)
def test_docks_and_samples_open_without_the_libraries_that_compute(module: str) -> None:
    """They load in a thread, or with the button that needs them; the window would stand still."""
    code = (
        "import sys, napari._qt.qt_main_window, magicgui.widgets; known = set(sys.modules)\n"
        f"import {PACKAGE}.docks.{module}\n"
        "slow = {'torch', 'scipy.ndimage', 'skimage.filters', 'pywt', 'matplotlib', 'pandas'}\n"
        "assert not slow & (set(sys.modules) - known), slow & (set(sys.modules) - known)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_docks_leave_training_alone() -> None:
    """The Train dock may, inside the function that trains."""
    found = [
        line
        for line in ALL_IMPORTS
        if room(line.source) == "docks" and line.target.startswith(".training")
        if not (line.source == "docks.train.dock" and line.lazy)
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
        if FLOORS.get(room(name)) == floor and room(name) != "docks"
    ]
    above = [f"{PACKAGE}.{name}" for name, level in FLOORS.items() if level > floor]
    import_guarded(wanted, [*above, f"{PACKAGE}.docks", *WINDOW])


def test_package_import_is_light() -> None:
    import_guarded([PACKAGE], list(HEAVY))


def test_reading_and_writing_need_no_torch() -> None:
    """A machine that only reads, or a Python that torch is not there for yet."""
    wanted = [
        f"{PACKAGE}.{name}" for name in sorted(modules()) if room(name) in ("io", "acquisition")
    ]
    import_guarded(wanted, ["torch", *WINDOW], WRITE_AND_READ)


WRITE_AND_READ = f"""
import tempfile
from pathlib import Path
import numpy as np
from {PACKAGE}.io import read_image, write_volume
from {PACKAGE}.io._parts import contents_of
volume, optics = np.ones((3, 16, 16)), dict(na=1.2, wavelength_um=0.5, immersion_index=1.33)
with tempfile.TemporaryDirectory() as folder:
    for name in ("a.ome.tif", "a.ome.zarr"):
        path = Path(folder) / name
        write_volume(path, volume, [0.0, 0.5, 1.0], 0.1, {{"optics": optics}})
        assert read_image(path).na == 1.2
        assert contents_of(path)[0].shape == (3, 16, 16) and read_image(path, [1]).n_planes == 3
"""


def test_lazy_names_resolve_and_unknown_ones_do_not() -> None:
    import napari_recurrent_mz as package

    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = package.nonsense


def docstring_lines(path: Path) -> int:
    """Lines of all docstrings of a module."""
    holders = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, holders)]
    texts = [n.body[0] for n in nodes if ast.get_docstring(n, clean=False) is not None]
    return sum((text.end_lineno or text.lineno) - text.lineno + 1 for text in texts)


def counts() -> str:
    """Rooms with their floors, modules, lines and lines of docstrings, and the sums."""
    rows = [("", "floor", "modules", "lines", "docstrings")]
    for name, floor in FLOORS.items():
        paths = [path for module, path in modules().items() if room(module) == name]
        lines = sum(len(path.read_text("utf-8").splitlines()) for path in paths)
        said = sum(map(docstring_lines, paths))
        rows.append((name, str(floor), str(len(paths)), str(lines), str(said)))
    sums = (str(sum(int(row[n]) for row in rows[1:])) for n in (2, 3, 4))
    rows.append((f"{len(FLOORS)} rooms", str(max(FLOORS.values())), *sums))
    return "\n".join(f"{row[0]:<12}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows)


if __name__ == "__main__":
    print(counts())
