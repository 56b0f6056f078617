"""Every name that the documentation gives can be imported from where it says."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
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


def test_pages_link_to_pages_and_pictures_of_the_documentation() -> None:
    broken = [
        f"{page.name}: {target}"
        for page in DOCS.rglob("*.md")
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text("utf-8"))
        if "://" not in target and not target.startswith("mailto:")
        if not (path := (page.parent / target).resolve()).exists() or DOCS not in path.parents
    ]
    assert not broken


def menu_paths() -> list[tuple[str, str]]:
    """Every *Menu → Submenu → Entry* in the documentation, and the page that names it."""
    ours = re.compile(r"\*((?:Plugins|Layers|File → (?:Acquire|Open Sample)) → [^*]+)\*")
    return [
        (page.name, " ".join(path.split()))
        for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]
        for path in ours.findall(page.read_text("utf-8"))
    ]


def test_menus_are_named_as_napari_shows_them() -> None:
    """Entries are the manifest's; napari puts all widgets of a plugin below its display name."""
    import yaml

    manifest = yaml.safe_load((DOCS.parent / "napari.yaml").read_text("utf-8"))
    name, tasks = manifest["display_name"], manifest["contributions"]
    title_of = {w["command"]: w["display_name"] for w in tasks["widgets"]}
    samples = f"File → Open Sample → {name}"
    there = {samples, f"Plugins → {name}"} | {
        f"{samples} → {s['display_name']}" for s in tasks["sample_data"]
    }
    there |= {f"Plugins → {name} → {title}" for title in title_of.values()}
    for place, items in tasks["menus"].items():
        menu = " → ".join(part.capitalize() for part in place.split("/")[1:])
        there |= {f"{menu} → {title_of[item['command']]}" for item in items}
    wrong = {(page, path) for page, path in menu_paths() if path not in there}
    assert len(menu_paths()) > 8
    assert not wrong


def named_for_a_hand() -> set[tuple[str, str]]:
    """Every **name** that the documentation says to press, tick or choose, with its page."""
    asked = re.compile(
        r"\b(?:[Pp]ress|[Cc]lick|[Uu]n?tick|[Tt]ick|[Cc]hoose) \*{1,2}([^*→]+)\*{1,2}"
    )
    return {
        (page.name, name)
        for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]
        for name in asked.findall(" ".join(page.read_text("utf-8").split()))
    }


def words_in_window() -> list[str]:
    """Patterns of all texts of the package, with anything where one is put together."""
    found = []
    for path in (DOCS.parent / "src" / PACKAGE).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            words = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            found.append("".join(re.escape(w) if isinstance(w, str) else ".+" for w in words))
    return [pattern for pattern in set(found) if re.search(r"\w{2}", pattern)]


def test_buttons_and_choices_are_named_as_the_window_shows_them() -> None:
    shown = words_in_window()
    napari_shows = {"Recurrent-MZ", "Recurrent-MZ OME-TIFF"}
    wrong = {
        (page, name)
        for page, name in named_for_a_hand()
        if name not in napari_shows and not any(re.fullmatch(words, name) for words in shown)
    }
    assert len(named_for_a_hand()) > 25
    assert not wrong


def imported_in_scripts() -> list[str]:
    """What the scripts beside the documentation import of the package."""
    names = set()
    for path in DOCS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return sorted(names)


@pytest.mark.parametrize("name", imported_in_scripts())
def test_what_a_script_imports_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute) or importlib.import_module(name)


def test_there_are_documented_names() -> None:
    assert len(documented()) > 90
    assert len(imported_in_docs()) > 10


EARLIER = """
architectures.ARCHITECTURES baselines.deep_z.DeepZ baselines.interpolation.Interpolator
baselines.unet3d.UNet3D batch.run_batch beads.measure_beads comparison.compare cost.estimate_cost
device.choose_device evaluation.evaluate expectation.Expectation inference.reconstruct
lmmse.LinearEstimate methods.METHODS metrics.psnr network.RecurrentMZ operations.network_work
optics.Optics planning.plan plots.comparison.comparison_figure plots.side_views.side_views_figure
preparation.align prepare.edf_normalisation progress.Stopped projections.side_views
provenance.provenance recipe.Recipe scans.Scan session.Session simulate.simulate_sample
sources.acquisition.acquire sources.folder.watch_folder sources.microscope.Microscope
sources.pattern.NamePattern surfaces.reconstruct_surface to_disk.reconstruct_to
training.adapt.adapting uncertainty.plane_spread weights.load_model
"""


CODE = """
import importlib, sys, warnings
for name in sys.argv[1:]:
    module, _, attribute = name.rpartition(".")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DeprecationWarning)
        found = getattr(importlib.import_module("napari_recurrent_mz." + module), attribute)
    moved = [str(w.message) for w in told if "napari_recurrent_mz." in str(w.message)]
    if not name.startswith("training."):
        assert any("import it from there" in sentence for sentence in moved), name
    now = sys.modules["napari_recurrent_mz." + module].__name__
    assert getattr(sys.modules[now], attribute) is found
"""


def test_names_of_earlier_versions_are_still_there() -> None:
    """In an interpreter of its own, as a module warns once; the module is the one of now."""
    told = subprocess.run(
        [sys.executable, "-c", CODE, *EARLIER.split()], capture_output=True, text=True, timeout=120
    )
    assert told.returncode == 0, told.stderr
