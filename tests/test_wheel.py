"""The wheel, in a fresh environment: it holds all that it needs, and it works."""

from __future__ import annotations

import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import jinja2
import numpy as np
import pytest
import tifffile
import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
BUILD_NEEDS = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
REPOSITORY = "https://github.com/owner/name"
SAMPLES = ("nucleus.ome.tif", "worm.ome.tif", "README.md")
OPTICS = "--na 1.2 --wavelength-um 0.52 --immersion-index 1.33 --pixel-um 0.15".split()


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without the source tree in sight; its output, or a failed test."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "COV_CORE_SOURCE")
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, "PYTHONNOUSERSITE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive, built from a copy of the tree."""
    home = tmp_path_factory.mktemp("build")
    tree = home / "tree"
    tree.mkdir()
    for name in BUILD_NEEDS:
        shutil.copy(ROOT / name, tree / name)
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, ROOT / "docs/published_links.py", REPOSITORY, "v1.2.3", cwd=tree)
    run(sys.executable, "-m", "build", "--no-isolation", "-o", home / "dist", tree, cwd=home)
    (found,) = (home / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are, in an environment that holds the wheel.

    The dependencies are those of the environment that runs the tests, by a path file: the
    package itself can come from the wheel alone.
    """
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    paths = {"base": str(home), "platbase": str(home), "installed_base": str(home)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    there = Path(sysconfig.get_path("scripts", "venv", vars=paths))
    python = there / ("python.exe" if os.name == "nt" else "python")
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", "--no-compile", "-q", wheel, cwd=home)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    code = "import napari_recurrent_mz; print(napari_recurrent_mz.__file__)"
    assert Path(run(python, "-c", code, cwd=home).strip()).is_relative_to(home)
    return there


def test_wheel_holds_what_it_needs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name.removeprefix("napari_recurrent_mz/") for name in names}
    assert {
        "napari.yaml",
        "py.typed",
        "docks/icon.svg",
        "simulation/phantom_data/nuclei.npz",
    } <= inside
    assert {f"docks/files/sample_data/{name}" for name in SAMPLES} <= inside
    weights = [name for name in inside if name.endswith(".safetensors")]
    assert weights
    for name in weights:
        assert name.replace(".safetensors", ".json") in inside, f"{name} has no model card"
    sources = {str(p.relative_to(ROOT / "src").as_posix()) for p in (ROOT / "src").rglob("*.py")}
    assert sources <= set(names)
    assert wheel.stat().st_size < 60e6
    assert not any(name.startswith("tests") or ".pkl" in name or ".pt" in name for name in names)


def test_manifest_is_valid(scripts: Path, tmp_path: Path) -> None:
    out = run(scripts / "python", "-m", "npe2", "validate", "napari_recurrent_mz", cwd=tmp_path)
    assert "valid" in out


def test_version_is_that_of_the_metadata(scripts: Path, wheel: Path, tmp_path: Path) -> None:
    code = "import napari_recurrent_mz as package; print(package.__version__)"
    assert run(scripts / "python", "-c", code, cwd=tmp_path).strip() == wheel.name.split("-")[1]


def test_links_of_the_readme_work_without_its_folder(wheel: Path) -> None:
    """On PyPI, which shows the README alone: read by another reader of Markdown."""
    metadata = next(name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("METADATA"))
    page = email.message_from_bytes(zipfile.ZipFile(wheel).read(metadata))
    assert f"Source, {REPOSITORY}" in page.get_all("Project-URL", [])
    shown = MarkdownIt().enable("table").render(page.get_payload())
    links = re.findall(r'(?:href|src)="([^"#]*)', shown)
    outside = [link for link in links if not link.startswith(REPOSITORY)]
    assert all(link.startswith("https://") for link in outside if link)
    files = {link.removeprefix(REPOSITORY) for link in links} - set(outside)
    assert len(files) > 30
    for kind, path in (file.lstrip("/").split("/v1.2.3/") for file in files):
        assert (ROOT / path).is_file(), path
        assert kind == ("raw" if path.startswith("docs/images/") else "blob")


def test_the_conda_recipe_asks_for_the_same_packages() -> None:
    """Those of an installation with all that the window needs, by their names at conda-forge.

    But the readers of makers' files, which pip has alone.
    """
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    asked = setup["options"]["install_requires"] + setup["options.extras_require"]["all"]
    ours = {re.sub(r"\[.*?\]|;.*", "", line).strip().lower() for line in asked.split("\n")} - {""}
    template = jinja2.Template((ROOT / "recipe" / "meta.yaml").read_text("utf-8"))
    tag = {"GIT_DESCRIBE_TAG": "v1.2.3"}  # conda-build gives it
    recipe = yaml.safe_load(template.render(environ=tag, PYTHON="python"))
    assert recipe["package"]["version"] == "1.2.3"
    called = {"pytorch": "torch", "matplotlib-base": "matplotlib", "dask-core": "dask"}
    run = [line.split(" ") for line in recipe["requirements"]["run"]]
    theirs = {f"{called.get(name, name)} {bound}" for name, bound in run if name != "python"}
    assert theirs == {one for one in ours if not one.startswith("bioio")}


def test_the_shell_completes_a_command() -> None:
    """As bash asks, by environment and file descriptor 8; the settings of train among them."""
    pytest.importorskip("argcomplete")
    code = "import sys; from napari_recurrent_mz.cli import main; main()"
    for line, expected in (
        ("recurrent-mz reco", "reconstruct"),
        ("recurrent-mz train --care", "--care"),
    ):
        asked = {
            "_ARGCOMPLETE": "1",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "_ARGCOMPLETE_STDOUT_FILENAME": "/dev/stdout",
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **asked},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert expected in done.stdout.replace("\013", " ").split()


@pytest.mark.parametrize("method", ["recurrent-mz", "linear"])
def test_installed_command_reconstructs(scripts: Path, tmp_path: Path, method: str) -> None:
    rng = np.random.default_rng(0)
    scans = [rng.integers(100, 4000, (48, 40), dtype=np.uint16) for _ in range(2)]
    for name, image in zip(("a.tif", "b.tif"), scans, strict=True):
        tifffile.imwrite(tmp_path / name, image)
    command = [scripts / "recurrent-mz", "reconstruct", "a.tif", "b.tif", "--z", "1", "3"]
    grid = ["--grid", "0:4:0.5", "--method", method, "-o", "volume.ome.tif"]
    run(*command, *OPTICS, *grid, cwd=tmp_path)
    volume = tifffile.imread(tmp_path / "volume.ome.tif")
    assert volume.shape == (9, 48, 40)
    assert np.isfinite(volume).all()
    np.testing.assert_array_equal(volume[2], scans[0])  # z = 1 µm was measured
    np.testing.assert_array_equal(volume[6], scans[1])
