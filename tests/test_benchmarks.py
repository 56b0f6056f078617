"""The benchmark: what is counted, what is timed, and what the verdicts say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from napari_recurrent_mz.core.device import Device, choose_device
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.lab.benchmarks import memory, stages
from napari_recurrent_mz.lab.benchmarks import plane as plane_subject
from napari_recurrent_mz.lab.benchmarks.base import (
    Bench,
    ChildError,
    Row,
    Sizes,
    Times,
    chosen,
    in_child,
    in_words,
    interleaved,
    run,
    script_result,
)
from napari_recurrent_mz.lab.benchmarks.plane import deviation, psnr
from napari_recurrent_mz.lab.benchmarks.scene import heights, modes, noise_scans, prepared
from napari_recurrent_mz.lab.benchmarks.stages import (
    Peak,
    Stage,
    StageTable,
    input_work,
    measure,
    peak,
)
from napari_recurrent_mz.lab.benchmarks.table import Record, as_markdown, as_text, made_by
from napari_recurrent_mz.lab.shared import Goal
from napari_recurrent_mz.networks.operations import Work
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.runner import end_if_stopped
from napari_recurrent_mz.networks.weights import save_model

TINY = Sizes(pixels=64, large=96, planes=5, few=2, many_scans=4, compared=48, beads=96, repeats=1)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A small network on the CPU, tiny sizes."""
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    torch.manual_seed(0)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=2))
    torch.nn.init.normal_(network.last.weight, std=0.1)
    save_model(network, {"data": "none", "steps": 0}, path)
    return Bench(choose_device("cpu"), str(path), TINY)


# --- verdicts ---

LESS = Goal(0.35, "s", at_least=False)
MORE = Goal(4.0, "×")


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("a", "b", 0.3, goal=LESS), "met"),
        (Row("a", "b", 0.35, goal=LESS), "met"),
        (Row("a", "b", 0.45, goal=LESS), "missed by 0.1 s"),
        (Row("a", "b", 0.3, ratio=4.5, goal=LESS, ratio_goal=MORE), "met"),
        (Row("a", "b", 0.3, ratio=3.5, goal=LESS, ratio_goal=MORE), "missed by 0.5 ×"),
        (
            Row("a", "b", 0.45, ratio=3.5, goal=LESS, ratio_goal=MORE),
            "missed by 0.1 s; missed by 0.5 ×",
        ),
        (Row("a", "b", 0.3), ""),
        (Row("a", "b", goal=LESS), "not measured"),
        (Row("a", "b", goal=LESS, absent="needs a GPU"), "not on this machine: needs a GPU"),
    ],
)
def test_verdict(row: Row, verdict: str) -> None:
    assert row.verdict == verdict
    again = Row.from_dict(json.loads(json.dumps(row.as_dict(), allow_nan=False)))
    assert again.verdict == verdict
    assert (again.what, again.goal, again.ratio_goal) == (row.what, row.goal, row.ratio_goal)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.3123, "s"), "0.312 s"),
        ((0.3123, "s", 0.3, 0.33), "0.312 s (0.3–0.33)"),
        ((0.05, "s", 0.04, 0.06), "50 ms (40–60)"),
        ((7.26e-6, "s"), "7.26 µs"),
        ((61.5, "dB"), "61.5 dB"),
        ((3.0, ""), "3"),
        ((math.nan, "s"), ""),
    ],
)
def test_in_words(values: Any, words: str) -> None:
    assert in_words(*values) == words


def test_ways_take_turns() -> None:
    """So that a busy moment falls on all of them; the first call of each is not counted."""
    order: list[str] = []
    times = interleaved({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert order == list("abababab")
    assert [len(found.seconds) for found in times.values()] == [3, 3]


def test_times() -> None:
    times, other = Times((3.0, 1.0, 2.0)), Times((4.0, 9.0, 8.0))
    assert times.spread == {"value": 2.0, "low": 1.0, "high": 3.0}
    assert times.ratio(other) == 4.0


# --- what is counted ---


def test_psnr_and_deviation() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(10, 2, (40, 50)).astype(np.float32)
    test = truth + rng.normal(0, 1e-3, truth.shape).astype(np.float32)
    expected = peak_signal_noise_ratio(truth, test, data_range=np.ptp(truth))
    assert psnr(truth, test) == pytest.approx(expected, rel=1e-6)
    assert psnr(truth, truth) == pytest.approx(240)
    assert deviation(np.float32([0, 4]), np.float32([1, 4])) == 0.25


def test_least_time_of_a_stage() -> None:
    """Arithmetic or memory, whichever takes longer at the machine's best."""
    best = Peak(operations=1e9, moved_bytes=1e8)
    assert Stage.of(Work("a", 2e9, 1e8), best, 4.0) == Stage("a", 2e9, 1e8, 2.0, 4.0, "arithmetic")
    assert Stage.of(Work("b", 2e9, 5e8), best, 6.0) == Stage("b", 2e9, 5e8, 5.0, 6.0, "memory")


def test_work_of_the_inputs(bench: Bench) -> None:
    """Two scans: their transforms, alone and together, on the padded field."""
    maker = prepared(bench, noise_scans(2, 64))
    rows, columns = maker.inputs.linear.filter.padded
    work = input_work(maker.inputs, 2)
    pixels = rows * columns
    transforms, spectra = 3, 4  # propagated 2 and linear 1; read by each
    assert work.operations == pytest.approx(
        transforms * 2.5 * pixels * math.log2(pixels) + spectra * 7 * pixels / 2
    )
    assert work.moved_bytes == 4 * pixels * (2 * transforms + spectra)


def test_peak_of_this_machine() -> None:
    found = peak(choose_device("cpu"), torch.float32, matrix=256)
    assert 1e8 < found.operations < 1e15
    assert 1e8 < found.moved_bytes < 1e13


def test_stages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every convolution of the network is in a stage, and all of them together in the whole."""
    monkeypatch.setattr(stages, "peak", lambda device, dtype: Peak(1e11, 1e10))
    tables = list(measure(bench))
    assert len(tables) == 1 + bench.device.half
    for table in tables:
        names = [stage.name for stage in table.stages]
        assert names[:3] == ["inputs", "encoder 1", "encoder 2"]
        assert names[-2:] == ["last", "pooling, enlarging, joining"]
        assert all(stage.measured > 0 for stage in table.stages[:-1])
        assert table.total.measured == pytest.approx(sum(s.measured for s in table.stages))
        again = StageTable.from_dict(json.loads(json.dumps(table.as_dict(), allow_nan=False)))
        assert again.as_text() == table.as_text()
        assert again.as_markdown().count("\n| ") == len(names) + 3
    for module in bench.model.network.modules():
        assert not module._forward_hooks
        assert set(module._forward_pre_hooks.values()) <= {end_if_stopped}


def test_targets_are_never_scans(bench: Bench) -> None:
    """A plane at a scan's height would cost nothing."""
    targets = np.array(heights(101))
    assert np.diff(targets) == pytest.approx(0.1)
    for count in (2, 3, 10):
        scans = np.array([scan.z_um for scan in noise_scans(count, 16)])
        assert np.abs(targets[:, None] - scans).min() > 0.01


# --- subjects ---


def call_here(measure: Any, bench: Bench, *given: Any, environment: Any = None) -> Any:
    """In place of a process of its own."""
    return measure(bench, *given)


@pytest.fixture
def no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (plane_subject, memory):
        monkeypatch.setattr(module, "in_child", call_here)


GOALS = {
    "volume": ["≤ 0.35 s, ≥ 4 ×"],
    "added-scan": ["≤ 0.55 of rebuilding"] * 2 + ["≤ 0.55 of rebuilding at few scans"],
    "first-plane": [""],
    "older-cpu": ["≥ 1.3 × (without AMX)"] * 2,
    "equality": ["≥ 60 dB", "≤ 1e-05 of the range"],
    "preview": ["≤ 4 s, ≥ 40 ×"],
    "streaming": ["≤ 4 GiB", "within 10 % of the small one"],
    "beads": [""],
}


@pytest.mark.parametrize("name", GOALS)
def test_subject(name: str, bench: Bench, no_children: None) -> None:
    """Each is measured, or says why not, and has the goals that it is to be held against."""
    rows = list(run(chosen([name]), bench))
    assert [row.goals for row in rows] == GOALS[name]
    for row in rows:
        assert row.subject == name
        assert row.absent or row.value > 0 or row.unit == "of the range"
        assert row.absent or row.ratio_goal is None or row.ratio > 0


def test_growth_and_gpu_rows(bench: Bench) -> None:
    rows = list(run(chosen(["growth"]), bench))
    assert all(row.value > 0 and not row.goals for row in rows)
    absent = list(run(chosen(["gpu-memory"]), bench))
    assert {row.absent for row in absent} == {"needs a GPU"}


def test_rows_of_a_gpu(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only a GPU measures, on a CPU that says it is one."""
    limits: list[float | None] = []
    monkeypatch.setattr(Bench, "on_gpu", property(lambda _: True))
    monkeypatch.setattr(memory, "choose_device", lambda _: bench.device)
    monkeypatch.setattr(memory, "limit_gpu_memory", limits.append)
    for name, value in {
        "reset_peak_memory_stats": None,
        "max_memory_reserved": 3e9,
        "mem_get_info": (6e9, 8e9),
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    rows = list(run(chosen(["volume", "added-scan", "first-plane", "gpu-memory"]), bench))
    assert [row.goals for row in rows] == [
        "≤ 0.35 s, ≥ 4 ×",
        *["≤ 0.55 of rebuilding"] * 2,
        "≤ 0.55 of rebuilding at few scans",
        "≤ 50 ms on a GPU",
        "≤ 50 MB",
        "≤ 4 GB",
        "≥ 1 of the planes",
    ]
    assert [row.value for row in rows[-3:]] == [0, 3, 1]
    assert [row.verdict for row in rows[-3:]] == ["met"] * 3
    assert limits == [4.0, None, 0.5, None]
    assert all(row.value > 0 for row in rows[:5])
    (preview,) = run(chosen(["preview"]), bench)
    assert not preview.goals, "those of the preview are a CPU's"


def test_older_cpus_are_measured_beside_a_gpu_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[str] = []

    def found(_function: object, asked: Bench, **_options: object) -> dict[str, object]:
        kinds.append(asked.device.kind)
        return {"plain": [2.0], "chosen": [1.0], "form": "plain"}

    monkeypatch.setattr(plane_subject, "in_child", found)
    monkeypatch.setattr(plane_subject, "cpu_flags", lambda: frozenset({"avx2"}))
    beside = replace(bench, device=Device("cuda", "a GPU", half=True))
    rows = list(plane_subject.measure_older(beside))
    assert kinds == ["cpu"]
    assert rows[0].what.endswith("CPU, ONEDNN_MAX_CPU_ISA=AVX2")


def test_the_goal_of_a_plane_goes_with_the_cpu(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flags, limit in ((frozenset(), 1.3), (frozenset({"amx_bf16"}), 4.0)):
        monkeypatch.setattr(plane_subject, "cpu_flags", lambda flags=flags: flags)
        (row,) = plane_subject.measure_plane(bench)
        assert row.ratio_goal is not None
        assert row.ratio_goal.limit == limit
        old = list(plane_subject.measure_older(bench)) if not flags else []
        assert all(r.verdict.startswith("not on this machine: this CPU has no") for r in old)


def test_compared_with_itself_nothing_differs(bench: Bench) -> None:
    """The reference of every ratio is the plain network."""
    scans = noise_scans(2, 64)
    first, second = (prepared(bench, scans, **modes(bench)["plain"]).plane(4.0) for _ in range(2))
    assert np.array_equal(first, second)


def test_notes_say_what_runs(bench: Bench) -> None:
    said: list[str] = []
    few = Bench(bench.device, bench.model_name, bench.sizes, said.append)
    list(run(chosen(["volume", "gpu-memory"]), few))
    assert [text.split(":")[0] for text in said] == ["1/2 volume", "2/2 gpu-memory"]


def test_names() -> None:
    names = [subject.name for subject in chosen([])]
    assert len(set(names)) == len(names) > 9
    assert [subject.name for subject in chosen(["beads", "plane", "beads"])] == ["beads", "plane"]
    with pytest.raises(InputError, match="has no 'nonsense': choose from volume, "):
        chosen(["nonsense"])


# --- processes of their own ---


def test_child(bench: Bench) -> None:
    found = in_child(memory.to_disk, bench, 64, 2, environment={"OMP_NUM_THREADS": "1"})
    assert 2**27 < found["peak_bytes"] < 2**32  # an interpreter with PyTorch, and little more
    assert found["plane"] > 0


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("raise ValueError('too dark')", "ValueError: too dark"),
        ("import sys; sys.exit(3)", "no result"),
        ("print('hello')", "no result"),
    ],
)
def test_child_that_fails(script: str, words: str) -> None:
    import sys

    with pytest.raises(ChildError, match=words):
        script_result([sys.executable, "-c", script])


def test_a_failed_child_is_a_row(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the benchmark goes on."""

    def fail(*_: Any, **__: Any) -> Any:
        raise ChildError("killed (status -9)")

    for module in (plane_subject, memory):
        monkeypatch.setattr(module, "in_child", fail)
    monkeypatch.setattr(plane_subject, "cpu_flags", lambda: frozenset({"avx2", "avx512f"}))
    rows = list(run(chosen(["older-cpu", "streaming"]), bench))
    assert {row.verdict for row in rows} == {"not on this machine: killed (status -9)"}


# --- what is written ---


@pytest.fixture
def record(bench: Bench) -> Record:
    rows = [
        Row("plane", "one plane", 0.3, low=0.2, high=0.4, ratio=4.5, against="a | b",
            ratio_goal=MORE),
        Row("volume", "a volume", goal=LESS, absent="needs a GPU"),
    ]  # fmt: skip
    return Record(made_by(bench, "recurrent-mz bench"), rows)


def test_record_goes_to_a_file_and_back(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(record.as_dict(), allow_nan=False), encoding="utf-8")
    again = Record.read(path)
    assert as_text(again) == as_text(record)
    assert as_markdown(again) == as_markdown(record)
    assert {"command", "date", "torch", "machine", "sizes"} <= set(again.header)


def test_tables(record: Record) -> None:
    text, page = as_text(record), as_markdown(record)
    assert "0.3 s (0.2–0.4)" in text
    assert "goal ≥ 4 ×: met" in text
    assert page.splitlines()[-1] == (
        "| a volume |  |  | ≤ 0.35 s | not on this machine: needs a GPU |"
    )
    assert "| one plane | 0.3 s (0.2–0.4) | 4.5 × (a \\| b) | ≥ 4 × | met |" in page


NOT_OURS = ["not JSON", "[]", '{"rows": [], "stages": []}', '{"rows": [{"goal": 1}], "stages": []}']


@pytest.mark.parametrize("content", NOT_OURS)
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="holds no run of the benchmark"):
        Record.read(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="could not be read"):
        Record.read(tmp_path / "none.json")
