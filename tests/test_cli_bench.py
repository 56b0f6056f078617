"""``recurrent-mz bench``: measured, printed, kept, and read again."""

from __future__ import annotations

import importlib.util
import json
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.device import choose_device
from napari_recurrent_mz.lab.benchmarks import base
from napari_recurrent_mz.lab.benchmarks.table import Record, as_markdown
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import save_model

TINY = replace(base.QUICK, pixels=64, planes=3, compared=48, beads=96, repeats=1)
GPU_SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "gpu_measurements.py"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=2))
    save_model(network, {"data": "none", "steps": 0}, tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run the command with tiny sizes: its status, what it printed, what it said meanwhile."""
    monkeypatch.setattr(base, "QUICK", TINY)

    def call(*argv: object) -> tuple[int, str, str]:
        status = main(["bench", *(str(word) for word in argv)])
        return status, *capsys.readouterr()

    return call


def test_measured_kept_and_read_again(run, model: Path, tmp_path: Path) -> None:
    kept = tmp_path / "bench.json"
    options = ("--quick", "--device", "cpu", "--model", model, "--json", kept)
    status, text, said = run(*options, "--only", "plane", "preview", "volume")
    assert status == 0, said
    assert "one plane of 64 × 64, M = 3, CPU" in text
    assert "linear MMSE, 3 × 64 × 64, M = 3, from nothing (CPU)" in text
    assert "not on this machine: needs a GPU" in text
    assert "note: 1/3 plane: one plane beside the plain network" in said.splitlines()

    found = json.loads(kept.read_text(encoding="utf-8"))
    assert {row["subject"] for row in found["rows"]} == {"plane", "preview", "volume"}
    assert found["command"] == (
        f"recurrent-mz bench --quick --only plane preview volume --model {model} --device cpu"
    )
    assert found["sizes"]["pixels"] == 64
    assert found["machine"]["threads"] == torch.get_num_threads()

    status, page, _ = run("--from", kept, "--markdown")
    assert status == 0
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(found["rows"])
    again = run("--from", kept)[1]
    assert again == text


def test_stages(run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_recurrent_mz.lab.benchmarks import stages

    monkeypatch.setattr(stages, "peak", lambda device, dtype: stages.Peak(1e11, 1e10))
    kept = tmp_path / "stages.json"
    options = ("--quick", "--device", "cpu", "--model", model, "--json", kept)
    status, text, said = run("--stages", *options)
    assert status == 0, said
    assert "decoder 2" in text
    assert "100 GFLOP/s" in text
    assert run("--from", kept)[1] == text


def test_what_there_is(run) -> None:
    status, text, _ = run("--list")
    assert status == 0
    assert "older-cpu" in text


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--only", "nonsense"], "The benchmark has no 'nonsense'"),
        (["--from", "missing.json"], "'missing.json' could not be read"),
        (["--json", "no/such/folder.json"], "The folder of 'no/such/folder.json' does not exist"),
        (["--stages", "--model", "deep-z"], "The model 'deep-z' is not recurrent"),
    ],
)
def test_mistakes_are_told_in_a_sentence(run, argv: list[str], words: str) -> None:
    status, _, said = run("--quick", "--device", "cpu", *argv)
    assert status == 1
    assert words in said
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def gpu_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_measurements", GPU_SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_everything_for_a_gpu_by_one_command(
    gpu_script: ModuleType,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Here on the CPU, with a part of the benchmark that needs a GPU."""
    folder = tmp_path / "measured"
    options = ["--quick", "--device", "cpu", "--only", "volume", "--model", str(model)]
    argv = [str(GPU_SCRIPT), str(folder), *options, "--parts", "bench", "kernels"]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(gpu_script.shutil, "which", lambda _: None)
    gpu_script.main()
    told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert list(told) == ["bench", "kernels"]
    assert told["bench"].startswith("done"), (folder / "bench.txt").read_text(encoding="utf-8")
    assert told["kernels"].startswith("left out, Nsight Compute (ncu) is not installed")
    assert "needs a GPU |" in (folder / "bench.md").read_text(encoding="utf-8")
    assert len((folder / "summary.txt").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("print(1)", "done"),
        ("raise SystemExit(3)", "failed with status 3, see part.txt"),
        ("import time; time.sleep(60)", "ended after 0.5 s, see part.txt"),
    ],
)
def test_a_part_that_fails_or_takes_too_long_ends_alone(
    gpu_script: ModuleType, tmp_path: Path, script: str, words: str
) -> None:
    wanted = Namespace(folder=tmp_path, seconds=0.5 if "sleep" in script else 60)
    assert gpu_script._run(wanted, "part.txt", [sys.executable, "-c", script]) == words


def test_profile_and_memory(
    gpu_script: ModuleType, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = base.Bench(choose_device("cpu"), str(model), TINY)
    for measure in (gpu_script.profile_volume, gpu_script.tile_memory, gpu_script.planes):
        measure(bench, tmp_path)
    assert "aten::" in capsys.readouterr().out
    assert json.loads((tmp_path / "profile.json").read_text())[0]["calls"] > 0
    tiles = json.loads((tmp_path / "memory.json").read_text())
    assert [row["tile"] for row in tiles] == [256, 512, 1024, 2048]
    assert (tmp_path / "trace.json.gz").stat().st_size > 0


@pytest.mark.parametrize("kept", sorted((GPU_SCRIPT.parent / "performance").glob("*.json")))
def test_the_page_s_tables_are_what_was_measured(kept: Path) -> None:
    """Nobody typed them."""
    page = kept.with_suffix(".md").read_text(encoding="utf-8")
    assert page.rstrip() == as_markdown(Record.read(kept))
    including = (GPU_SCRIPT.parent / "performance.md").read_text(encoding="utf-8")
    assert f"{{include}} performance/{kept.stem}.md" in including
