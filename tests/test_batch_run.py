"""Batches as they run: killed, stopped, in several processes, on a cluster, by the command."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.scans import InputError, Scan, ZGrid
from napari_recurrent_mz.engine.batch import BatchSettings, Report, find_jobs, run_batch
from napari_recurrent_mz.engine.batch import _run as batch_run
from napari_recurrent_mz.engine.batch._pool import _threads
from napari_recurrent_mz.engine.inference import reconstruct
from napari_recurrent_mz.io import read_image, write_volume

SHAPE = (7, 24, 32)
PLANES = (1, 3, 5)
OPTIONS = ["--planes", "1", "3", "5", "--grid", "0.5:2.5:0.002", "--method", "cubic"]
SETTINGS = BatchSettings(grid=ZGrid(0.5, 2.5, 0.002), planes=PLANES, method="cubic")
FILES = 25  # so many that a busy machine does not finish before it is stopped
FEW = 6  # where nothing is stopped


def stack(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 100.0, SHAPE).astype(np.float32)


def expected(seed: int) -> np.ndarray:
    """What reconstruct() makes of the planes of a stack."""
    scans = [Scan(stack(seed)[p], 0.5 * p) for p in PLANES]
    assert SETTINGS.grid is not None
    return reconstruct(scans, SETTINGS.grid, method="cubic")


def filled(made: Path, count: int) -> Path:
    made.mkdir()
    for k in range(count):
        write_volume(made / f"s{k}.ome.tif", stack(k), 0.5 * np.arange(7), 0.2)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filled(tmp_path / "in", FILES)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return filled(tmp_path / "in", FEW)


def started(folder: Path, out: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, once it has finished some volumes."""
    words = ["batch", str(folder), "-o", str(out), *OPTIONS]
    code = (
        "import os, sys; hasattr(os, 'nice') and os.nice(19); "  # it must not outrun who watches it
        f"sys.argv[1:] = {words!r}; "
        "from napari_recurrent_mz.__main__ import main; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    while len(list(out.glob(".recurrent-mz/*/volume.json"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)
    return process


def times(out: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in out.glob("*.ome.tif")}


def check_goes_on(folder: Path, out: Path) -> None:
    """The rest is made, what was finished is not touched, and all is right."""
    records = {p.parent.name for p in out.glob(".recurrent-mz/*/volume.json")}
    assert 2 <= len(records) < FILES  # it was in the middle
    before = times(out)
    report = run_batch(find_jobs(folder, out, SETTINGS), out, SETTINGS)
    assert report.is_complete
    assert {o.job.output.name for o in report.of("kept")} == records
    assert {name: when for name, when in times(out).items() if name in records} == {
        name: when for name, when in before.items() if name in records
    }
    for k in range(FILES):
        np.testing.assert_array_equal(read_image(out / f"s{k}.ome.tif").data, expected(k))
    # A folder in which nothing was written yet, when the process was killed, is left for a minute.
    begun = {
        p.name
        for p in out.glob(".recurrent-mz-*")
        if not any(f.stat().st_size for f in p.iterdir())
    }
    assert {p.name for p in out.iterdir()} - begun == {
        *(f"s{k}.ome.tif" for k in range(FILES)),
        *(".recurrent-mz", "batch-report.csv", "batch-report.json"),
    }


def test_a_killed_batch_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    process = started(folder, tmp_path / "out")
    process.kill()
    process.communicate()
    check_goes_on(folder, tmp_path / "out")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing there")
def test_ctrl_c_stops_even_where_its_exception_is_lost(folder: Path, tmp_path: Path) -> None:
    """As in a finaliser, whose exceptions Python ignores."""

    def swallowed(*_outcome: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    jobs = find_jobs(folder, tmp_path / "out", SETTINGS)
    report = run_batch(jobs, tmp_path / "out", SETTINGS, workers=1, on_outcome=swallowed)
    assert 1 <= len(report.of("done")) < FILES
    assert not report.is_complete


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing there")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_ctrl_c_keeps_what_is_done(folder: Path, tmp_path: Path, ending: int) -> None:
    """So does the end that a cluster gives to what runs too long."""
    process = started(folder, tmp_path / "out")
    process.send_signal(ending)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{FILES} volumes: " in printed
    assert "not begun" in printed
    assert told == (
        "recurrent-mz: Stopped: what is done is kept, and the same command goes on from there.\n"
    )
    assert not list((tmp_path / "out").glob(".recurrent-mz-*"))  # nothing half written
    check_goes_on(folder, tmp_path / "out")


def test_several_positions_at_a_time(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_run._pool, "free_cores", lambda: 2)
    out = tmp_path / "out"
    jobs = find_jobs(few, out, SETTINGS)
    seen: list[tuple[int, int]] = []
    report = run_batch(
        jobs, out, SETTINGS, workers=2, on_outcome=lambda _, done, total: seen.append((done, total))
    )
    assert report.is_complete, report.table()
    assert seen == [(k, FEW) for k in range(1, FEW + 1)]
    np.testing.assert_array_equal(read_image(out / "s4.ome.tif").data, expected(4))


def test_a_process_that_is_killed_takes_one_position_with_it(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool of four breaks down at every second volume: all others are made."""
    do_all, pools = batch_run._do_all, []

    @contextlib.contextmanager
    def no_processes(shares: Any) -> Iterator[None]:
        pools.append(shares.workers)
        yield

    def breaks(ledger: Any, orders: Any, _pool: Any) -> None:
        if ledger.left()[0].position == "s3":
            raise BrokenProcessPool
        jobs, ledger.jobs = ledger.jobs, [j for j in ledger.jobs if j.position != "s3"]
        do_all(ledger, orders)
        ledger.jobs = jobs
        raise BrokenProcessPool

    monkeypatch.setattr(batch_run._pool, "free_cores", lambda: 4)
    monkeypatch.setattr(batch_run._pool, "processes", no_processes)
    monkeypatch.setattr(batch_run, "_do_all", breaks)
    jobs = find_jobs(few, tmp_path / "out", SETTINGS)
    report = run_batch(jobs, tmp_path / "out", SETTINGS, workers=4)
    assert pools == [4, 2, 1]
    assert [o.job.position for o in report.failed] == ["s3"]
    assert "ended by the system" in report.failed[0].message
    assert len(report.of("done")) == FEW - 1


# --- on a cluster ---


@pytest.fixture
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as made:
        yield made


def test_a_cluster_makes_the_same(few: Path, tmp_path: Path, cluster: Any) -> None:
    out = tmp_path / "out"
    (few / "cut.tif").write_bytes((few / "s0.ome.tif").read_bytes()[:5000])
    pixels = np.stack([stack(k) for k in range(3)])
    tifffile.imwrite(
        tmp_path / "t.tif",
        pixels,
        imagej=True,
        metadata={"axes": "TZYX", "spacing": 0.5, "unit": "um"},
        resolution=(5, 5),
    )
    jobs = find_jobs([few, tmp_path / "t.tif"], out, SETTINGS)
    report = run_batch(jobs, out, SETTINGS, scheduler=cluster.scheduler_address)
    assert [o.job.position for o in report.failed] == ["cut"]
    assert len(report.of("done")) == FEW + 3
    np.testing.assert_array_equal(read_image(out / "s4.ome.tif").data, expected(4))
    import zarr

    made: Any = zarr.open_group(out / "t.ome.zarr", mode="r")["0"]
    np.testing.assert_array_equal(made[2], expected(2))
    again: Report = run_batch(jobs, out, SETTINGS, scheduler=cluster.scheduler_address)
    assert len(again.of("kept")) == FEW + 3


def test_ctrl_c_stops_a_cluster(folder: Path, tmp_path: Path, cluster: Any) -> None:
    def interrupt(_outcome: Any, done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    jobs = find_jobs(folder, out, SETTINGS)
    address = cluster.scheduler_address
    report = run_batch(jobs, out, SETTINGS, scheduler=address, on_outcome=interrupt)
    assert len(report.of("done")) >= 2
    assert len(report.of("done")) + len(report.of("stopped")) == FILES
    assert not list(out.glob(".recurrent-mz-*"))
    assert not list(out.glob(".recurrent-mz/stop-*"))
    assert run_batch(jobs, out, SETTINGS).is_complete


def test_a_scheduler_that_does_not_answer(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("napari_recurrent_mz.engine.batch._pool._PATIENCE_S", 1.0)
    jobs = find_jobs(few, tmp_path / "out", SETTINGS)
    began = time.monotonic()
    with pytest.raises(InputError, match=r"scheduler at 'tcp://127\.0\.0\.1:9' does not answer"):
        run_batch(jobs, tmp_path / "out", SETTINGS, scheduler="tcp://127.0.0.1:9")
    assert time.monotonic() - began < 8


def test_a_scheduler_without_workers(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("napari_recurrent_mz.engine.batch._pool._PATIENCE_S", 1.0)
    jobs = find_jobs(few, tmp_path / "out", SETTINGS)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        pytest.raises(InputError, match="has no workers: start some"),
    ):
        run_batch(jobs, tmp_path / "out", SETTINGS, scheduler=cluster.scheduler_address)


def test_workers_of_one_computer_share_its_cores() -> None:
    machines = {
        "tcp://a:1": ("a", 16, "1"),
        "tcp://a:2": ("a", 16, "1"),
        "tcp://b:1": ("b", 4, "1"),
    }
    assert _threads(machines) == {"tcp://a:1": 8, "tcp://a:2": 8, "tcp://b:1": 4}


# --- the command ---


def test_the_command_lists_does_and_reports(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["batch", str(few), "-o", str(tmp_path / "out"), *OPTIONS]
    assert main([*words, "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0].split() == ["position", "scans", "at", "z", "(µm)", "result", "time", "state"]
    assert listed[1].split()[:5] == ["s0", "0.5", "1.5", "2.5", "s0.ome.tif"]
    assert "less than a second  to do" in listed[1]
    assert listed[-1] == f"{FEW} of {FEW} volumes to do, less than a second"
    assert not (tmp_path / "out").exists()

    (few / "cut.tif").write_bytes((few / "s0.ome.tif").read_bytes()[:5000])
    assert main(words) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{FEW + 1} volumes: {FEW} done, 1 failed in ")
    assert "  failed: cut: 'cut.tif' is damaged or cut short" in printed.out
    assert printed.err.startswith(f"recurrent-mz: 1 of {FEW + 1} volumes failed")

    (few / "cut.tif").unlink()
    assert main([*words, "--list"]) == 0
    assert capsys.readouterr().out.endswith(f"0 of {FEW} volumes to do\n")
    assert main(words) == 0
    assert f"{FEW} kept from before" in capsys.readouterr().out
    told = json.loads((tmp_path / "out" / "batch-report.json").read_text())
    assert told["counts"] == {"done": 0, "kept": FEW, "failed": 0, "stopped": 0}
    assert told["settings"]["planes"] == list(PLANES)
    assert main([words[0], str(few / "s0.ome.tif"), *words[2:]]) == 0
    assert capsys.readouterr().out.startswith("1 volume: 1 kept from before in ")


def test_a_fault_of_scans_is_told_in_the_report(tmp_path: Path) -> None:
    """Of a bright spot in a dark field, whose light falls by a fifth from plane to plane."""
    y, x = np.mgrid[:48, :64]
    spot = 1000 * np.exp(-((y - 24) ** 2 + (x - 32) ** 2) / 50)
    falling = 100 + 0.8 ** np.arange(7.0)[:, None, None] * spot
    noise = np.random.default_rng(0).normal(0, 2, falling.shape)
    made = tmp_path / "in"
    made.mkdir()
    write_volume(made / "s.ome.tif", (falling + noise).astype(np.float32), 0.5 * np.arange(7), 0.2)
    report = run_batch(find_jobs(made, tmp_path / "out", SETTINGS), tmp_path / "out", SETTINGS)
    (outcome,) = report.outcomes
    assert outcome.state == "done"
    assert "% less light in 's.ome.tif plane 5' than in 's.ome.tif plane 1'" in outcome.message


class Terminal(io.StringIO):
    """Takes what a terminal would show."""

    def isatty(self) -> bool:
        return True


def test_a_bar_shows_volumes_planes_and_the_time_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["batch", str(folder), "-o", str(tmp_path / "out"), *OPTIONS[:4]]
    words += ["--grid", "1:2:0.5", "--method", "linear"]
    for k in range(2, FILES):
        (folder / f"s{k}.ome.tif").unlink()
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    assert main(words) == 0
    lines = [line.rstrip() for line in shown.getvalue().split("\r") if line.strip()]
    assert [re.sub(r", \S+ left", "", line) for line in lines] == [
        f"[{'#' * 4:-<24}] 0/2 volumes; s0: plane 1/3",
        f"[{'#' * 8:-<24}] 0/2 volumes; s0: plane 2/3",
        f"[{'#' * 12:-<24}] 0/2 volumes; s0: plane 3/3",
        f"[{'#' * 12:-<24}] 1/2 volumes",
        f"[{'#' * 16:-<24}] 1/2 volumes; s1: plane 1/3",
        f"[{'#' * 20:-<24}] 1/2 volumes; s1: plane 2/3",
        f"[{'#' * 24}] 1/2 volumes; s1: plane 3/3",
        f"[{'#' * 24}] 2/2 volumes",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--pattern", "*.png"], "No file in 'in' fits the pattern '*.png'"),
        (["--jobs", "0"], "--jobs is 0: give 1 or more."),
        (["--grid", "1:0:1"], "runs backwards"),
        (["--planes", "1"], "at least two scans"),
        (["--model", "none", "--method", "recurrent-mz"], "There is no model 'none'"),
    ],
)
def test_wrong_words_are_told_in_one_sentence(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    assert main(["batch", str(folder), "-o", str(tmp_path / "out"), *words]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert sentence in told
