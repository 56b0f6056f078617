"""Several processes that make the same volumes in one folder at the same time: nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_recurrent_mz.core.scans import InputError, Scan, ZGrid
from napari_recurrent_mz.engine.batch import BatchSettings, Job, Report, find_jobs, run_batch
from napari_recurrent_mz.engine.batch import _run as batch_run
from napari_recurrent_mz.engine.batch._record import record_path
from napari_recurrent_mz.engine.batch._settings import Orders
from napari_recurrent_mz.engine.batch._work import do
from napari_recurrent_mz.engine.inference import reconstruct
from napari_recurrent_mz.io import VolumeWriter, read_image, write_json, write_volume
from napari_recurrent_mz.io._whole import WORKPLACE, remove_left_behind, try_lock

SHAPE = (7, 24, 32)
PLANES = (1, 3, 5)
GRID = ZGrid(0.5, 2.5, 0.25)

# Makes a batch; after the second plane of a volume it waits until somebody lets it go on.
PROGRAM = """
import sys, time
from pathlib import Path
from napari_recurrent_mz.engine.batch import BatchSettings, find_jobs, run_batch
from napari_recurrent_mz.core.scans import ZGrid

source, out, method, format_, place, pause = sys.argv[1:]
settings = BatchSettings(
    grid=ZGrid(0.5, 2.5, 0.25), planes=(1, 3, 5), method=method, format=format_ or None
)

def wait(name, done, total):
    if pause and done == 2:
        Path(place, "at work").touch()
        while not Path(place, "go on").exists():
            time.sleep(0.01)

jobs = find_jobs(source, out, settings)
Path(place, "begun").touch()
report = run_batch(jobs, out, settings, on_plane=wait)
print([(outcome.state, outcome.message) for outcome in report.outcomes])
sys.exit(not report.is_complete)
"""

# Has a dask worker wait after the second plane of a volume, and note the volumes that it makes.
PRELOAD = """
import os, time
from pathlib import Path

def dask_setup(worker):
    from napari_recurrent_mz.io import VolumeWriter
    place, put, finish = Path.cwd(), VolumeWriter.__setitem__, VolumeWriter.finish

    def waits(self, index, plane):
        put(self, index, plane)
        if len(self.finished_planes) == 2:
            (place / f"{worker.name} at work").touch()
            while not (place / "go on").exists():
                time.sleep(0.01)

    def notes(self, provenance):
        path = finish(self, provenance)
        with (place / "made").open("a") as made:
            made.write(f"{path.name} ")
        return path

    VolumeWriter.__setitem__, VolumeWriter.finish = waits, notes
"""


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def stack(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 100.0, SHAPE).astype(np.float32)


def expected(seed: int, method: str = "cubic") -> np.ndarray:
    """What reconstruct() makes of the planes of a stack."""
    scans = [Scan(stack(seed)[p], 0.5 * p) for p in PLANES]
    return reconstruct(scans, GRID, method=method)


def settings(format_: str | None, method: str = "cubic") -> BatchSettings:
    return BatchSettings(grid=GRID, planes=PLANES, method=method, format=format_)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    for k in range(3):
        write_volume(made / f"s{k}.ome.tif", stack(k), 0.5 * np.arange(7), 0.2)
    return made


@pytest.fixture
def lapse(tmp_path: Path) -> Path:
    path = tmp_path / "t.tif"
    about = {"axes": "TZYX", "spacing": 0.5, "unit": "um"}
    pixels = np.stack([stack(k) for k in range(3)])
    tifffile.imwrite(path, pixels, imagej=True, metadata=about, resolution=(5, 5))
    return path


class Batch:
    """A batch in a process of its own, perhaps one that waits in its first volume."""

    def __init__(
        self,
        source: Path,
        out: Path,
        *,
        method: str = "cubic",
        format_: str = "",
        pauses: bool = False,
    ) -> None:
        self.place = Path(tempfile.mkdtemp(dir=out.parent))
        words = [str(source), str(out), method, format_, str(self.place), "yes" if pauses else ""]
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if pauses:
            self.wait_for("at work")

    def wait_for(self, name: str) -> None:
        end = time.monotonic() + 120
        while not (self.place / name).exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)

    def meet(self) -> None:
        """Wait until it has met what another makes; that it has not yet does no harm."""
        self.wait_for("begun")
        time.sleep(1.0)

    def go_on(self) -> None:
        (self.place / "go on").touch()

    def ended(self) -> tuple[int, str]:
        printed, told = self.process.communicate(timeout=120)
        return self.process.returncode, printed + told


def states(report: Report) -> list[str]:
    return [outcome.state for outcome in report.outcomes]


def test_two_batches_in_one_folder_lose_nothing(folder: Path, tmp_path: Path) -> None:
    out, format_ = tmp_path / "out", "ome.zarr"
    first = Batch(folder, out, format_=format_, pauses=True)
    second = Batch(folder, out, format_=format_)
    second.meet()
    assert list(out.glob(f"{WORKPLACE}*/s0.{format_}"))  # what the first one has made so far
    first.go_on()
    for batch in (first, second):
        assert batch.ended()[0] == 0, batch.ended()
    for k in range(3):
        np.testing.assert_array_equal(read_image(out / f"s{k}.{format_}").data, expected(k))
    assert not list(out.glob(f"{WORKPLACE}*"))
    jobs = find_jobs(folder, out, settings(format_))
    assert states(run_batch(jobs, out, settings(format_))) == ["kept"] * 3


def test_two_batches_fill_one_time_lapse(lapse: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = Batch(lapse, out, pauses=True)
    second = Batch(lapse, out)
    second.meet()
    first.go_on()
    for batch in (first, second):
        assert batch.ended()[0] == 0, batch.ended()
    made: Any = zarr.open_group(out / "t.ome.zarr", mode="r")["0"]
    for k in range(3):
        np.testing.assert_array_equal(made[k], expected(k))
    jobs = find_jobs(lapse, out, settings(None))
    assert states(run_batch(jobs, out, settings(None))) == ["kept"] * 3


def test_a_time_lapse_that_another_batch_begins_anew_is_that_of_the_other(
    lapse: Path, tmp_path: Path
) -> None:
    """With other settings: the one says so, and nothing of it is in what the other made."""
    out = tmp_path / "out"
    first = Batch(lapse, out, method="nearest", pauses=True)
    place = out / "t.ome.zarr" / "zarr.json"
    of_first = place.read_bytes()
    second = Batch(lapse, out)
    wait_until(lambda: place.is_file() and place.read_bytes() != of_first)
    first.go_on()
    status, told = first.ended()
    assert status == 1
    assert told.count("Another batch, with other settings, has begun 't.ome.zarr' anew") == 3
    assert second.ended()[0] == 0, second.ended()
    made: Any = zarr.open_group(out / "t.ome.zarr", mode="r")["0"]
    for k in range(3):
        np.testing.assert_array_equal(made[k], expected(k))
    jobs = find_jobs(lapse, out, settings(None))
    assert states(run_batch(jobs, out, settings(None))) == ["kept"] * 3


def test_what_a_killed_process_left_is_removed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = Batch(folder, out, format_="ome.zarr", pauses=True)
    (left,) = out.glob(f"{WORKPLACE}*/s0.ome.zarr")
    first.process.kill()
    first.ended()
    assert left.exists()
    jobs = find_jobs(folder, out, settings("ome.zarr"))
    assert states(run_batch(jobs, out, settings("ome.zarr"))) == ["done"] * 3
    assert not list(out.glob(f"{WORKPLACE}*"))


# --- workplaces ---


def test_a_workplace_stays_as_long_as_somebody_works_in_it(tmp_path: Path) -> None:
    path = tmp_path / "v.ome.zarr"
    writer = VolumeWriter(path, (2, 16, 16), [0.0, 1.0], 0.1)
    writer[0] = np.ones((16, 16))
    remove_left_behind(path)
    writer[1] = np.ones((16, 16))
    writer.finish()
    np.testing.assert_array_equal(read_image(path).data, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["v.ome.zarr"]


@pytest.mark.parametrize(
    ("locks", "days", "left_behind"),
    [
        ((), 0.0, False),  # nobody knows whose it is
        ((), 1.5, True),
        (("lock-elsewhere",), 0.0, False),  # locks of another computer are not seen everywhere
        (("lock-elsewhere",), 1.5, True),
        ((f"lock-{socket.gethostname()}",), 0.0, True),
    ],
)
def test_who_is_gone(
    tmp_path: Path, locks: tuple[str, ...], days: float, left_behind: bool
) -> None:
    place = tmp_path / f"{WORKPLACE}x"
    place.mkdir()
    when = time.time() - 86_400 * days
    for path in [place / "v.ome.tif", *(place / name for name in locks), place]:
        if path != place:
            path.write_bytes(b"begun")
        os.utime(path, (when, when))
    remove_left_behind(tmp_path / "v.ome.tif")
    assert place.exists() != left_behind


def test_an_empty_workplace_is_removed_once_nobody_can_have_just_begun_it(tmp_path: Path) -> None:
    """As a process that is killed at once leaves it; none is made without a lock for long."""
    for name, seconds in (("young", 0), ("old", 120)):
        place = tmp_path / f"{WORKPLACE}{name}"
        place.mkdir()
        os.utime(place, (time.time() - seconds,) * 2)
    remove_left_behind(tmp_path / "v.ome.tif")
    assert [p.name for p in tmp_path.iterdir()] == [f"{WORKPLACE}young"]


def test_whoever_writes_next_removes_what_was_left_behind(tmp_path: Path) -> None:
    """Whatever it was to be: a table finds what a killed volume left."""
    for name in ("v.ome.tif", "live.rmz"):
        place = tmp_path / f"{WORKPLACE}{name}"
        place.mkdir()
        (place / name).write_bytes(b"begun")
        (place / f"lock-{socket.gethostname()}").touch()
    write_json(tmp_path / "numbers.json", [1])
    assert [p.name for p in tmp_path.iterdir()] == ["numbers.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges names")
def test_a_replaced_volume_always_has_one_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_volume(tmp_path / "v.ome.zarr", stack(0), 0.5 * np.arange(7), 0.2)
    moved: list[Path] = []
    monkeypatch.setattr(Path, "rename", lambda self, _: moved.append(self))
    write_volume(path, stack(1), 0.5 * np.arange(7), 0.2)
    assert not moved
    np.testing.assert_array_equal(read_image(path).data, stack(1))
    assert [p.name for p in tmp_path.iterdir()] == ["v.ome.zarr"]


def test_a_volume_that_was_killed_while_it_was_replaced_is_there_after_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where names cannot be exchanged, the old one is moved away first."""
    path = write_volume(tmp_path / "v.ome.zarr", stack(0), 0.5 * np.arange(7), 0.2)
    with monkeypatch.context() as patched:
        patched.setattr("napari_recurrent_mz.io._whole._exchanged", lambda *_: False)
        rename = Path.rename

        def killed(self: Path, target: Path) -> None:
            rename(self, target)
            os._exit(9)

        patched.setattr(Path, "rename", killed)
        child = os.fork()
        if child == 0:
            write_volume(path, stack(1), 0.5 * np.arange(7), 0.2)
        assert os.waitpid(child, 0)[1] >> 8 == 9
    assert not path.exists()
    write_json(tmp_path / "numbers.json", [1])
    np.testing.assert_array_equal(read_image(path).data, stack(1))
    assert not list(tmp_path.glob(f"{WORKPLACE}*"))


def test_where_a_drive_knows_no_locks_nothing_is_removed_and_all_is_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("filelock.FileLock._acquire", refuse)
    out = tmp_path / "out"
    (out / f"{WORKPLACE}x" / "s0.ome.tif").mkdir(parents=True)
    jobs = find_jobs(folder, out, settings(None))
    assert states(run_batch(jobs, out, settings(None))) == ["done"] * 3
    assert [p.name for p in out.glob(f"{WORKPLACE}*")] == [f"{WORKPLACE}x"]


# --- a worker that the cluster has lost, and that goes on all the same ---


class Cluster:
    """A scheduler and two workers, each a process, whose volumes wait for ``go_on()``."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "preload.py").write_text(PRELOAD)
        self.scheduler = self._started("scheduler", "--port", "0")
        self.first, self.second = (
            self._started(
                *f"worker --nthreads 1 --no-nanny --preload preload.py --name {name}".split()
            )
            for name in ("first", "second")
        )

    def _started(self, *words: str) -> subprocess.Popen[bytes]:
        both = ["--scheduler-file", "scheduler.json", "--no-dashboard", "--host", "127.0.0.1"]
        with (self.place / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *words, *both],
                cwd=self.place,
                stdout=log,
                stderr=log,
            )

    def address(self) -> str:
        """Of the scheduler, once it has both workers."""
        from distributed import Client

        file = self.place / "scheduler.json"
        wait_until(lambda: file.exists() and file.stat().st_size > 0)
        address = str(json.loads(file.read_text())["address"])
        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
        return address

    def wait_until_both_work(self) -> None:
        wait_until(lambda: len(list(self.place.glob("* at work"))) == 2)

    def go_on(self) -> None:
        (self.place / "go on").touch()

    def made(self) -> list[str]:
        """The volumes that were made, each as often as it was."""
        noted = self.place / "made"
        return sorted(noted.read_text().split()) if noted.exists() else []

    def end(self) -> None:
        for process in (self.first, self.second, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    place = tmp_path / "cluster"
    place.mkdir()
    made = Cluster(place)
    try:
        yield made
    finally:
        made.end()


def begun(folder: Path, out: Path, scheduler: str) -> Future[Report]:
    """A batch on a cluster, in a thread of its own."""
    jobs, given = find_jobs(folder, out, settings(None)), settings(None)
    with_one = ThreadPoolExecutor(1)
    report = with_one.submit(run_batch, jobs, out, given, scheduler=scheduler)
    with_one.shutdown(wait=False)
    return report


def check_whole(out: Path) -> None:
    """Every volume is there, and right; nothing else is."""
    names = [f"s{k}.ome.tif" for k in range(3)]
    for k, name in enumerate(names):
        np.testing.assert_array_equal(read_image(out / name).data, expected(k))
    assert {p.name for p in out.iterdir()} == {
        *names, ".recurrent-mz", "batch-report.csv", "batch-report.json"
    }  # fmt: skip
    records = out / ".recurrent-mz"
    assert {p.name for p in records.iterdir()} == set(names)
    assert all((records / name / "volume.json").exists() for name in names)


def test_what_a_killed_worker_had_begun_is_made_by_the_other(
    folder: Path, tmp_path: Path, cluster: Cluster
) -> None:
    out = tmp_path / "out"
    coming = begun(folder, out, cluster.address())
    cluster.wait_until_both_work()
    cluster.first.kill()
    cluster.first.wait()
    cluster.go_on()
    assert states(coming.result(120)) == ["done"] * 3
    assert cluster.made() == ["s0.ome.tif", "s1.ome.tif", "s2.ome.tif"]
    check_whole(out)


def test_a_job_that_is_given_up_with_its_workers_has_failed_and_leaves_nothing(
    folder: Path, tmp_path: Path, cluster: Cluster
) -> None:
    from distributed import Client

    async def try_once(dask_scheduler: Any) -> None:
        dask_scheduler.allowed_failures = 0

    out, address = tmp_path / "out", cluster.address()
    with Client(address, set_as_default=False) as client:
        client.run_on_scheduler(try_once)
    coming = begun(folder, out, address)
    cluster.wait_until_both_work()
    cluster.first.kill()
    cluster.first.wait()
    cluster.go_on()
    report = coming.result(120)
    # One was at work; dask may have handed the worker the next one already.
    assert sorted(states(report)) in (["done", "done", "failed"], ["done", "failed", "failed"])
    for outcome in report.failed:
        assert "The dask worker that made it was lost (KilledWorker)" in outcome.message
    assert not list(out.glob(f"{WORKPLACE}*"))
    again = run_batch(find_jobs(folder, out, settings(None)), out, settings(None))
    assert states(again).count("done") == len(report.failed)
    assert states(again).count("kept") == 3 - len(report.failed)
    check_whole(out)


@pytest.mark.skipif(sys.platform == "win32", reason="processes do not stand still there")
def test_a_worker_that_stood_still_and_was_given_up_makes_nothing_twice(
    folder: Path, tmp_path: Path, cluster: Cluster
) -> None:
    """It goes on when its volume has been given to the other."""
    from distributed import Client

    async def give_up(dask_scheduler: Any) -> None:  # as the scheduler does in the end
        first = dask_scheduler.aliases["first"]
        dask_scheduler.workers[first].last_seen = 0.0
        await dask_scheduler.check_worker_ttl()

    out, address = tmp_path / "out", cluster.address()
    coming = begun(folder, out, address)
    cluster.wait_until_both_work()
    cluster.first.send_signal(signal.SIGSTOP)
    with Client(address, set_as_default=False) as client:
        client.run_on_scheduler(give_up)
        cluster.go_on()
        wait_until(lambda: len(cluster.made()) >= 1)  # the other one is free for more
        assert len(client.scheduler_info()["workers"]) == 1
    cluster.first.send_signal(signal.SIGCONT)
    assert states(coming.result(120)) == ["done"] * 3
    cluster.first.wait(120)  # dask has no use for it any more
    assert cluster.made() == ["s0.ome.tif", "s1.ome.tif", "s2.ome.tif"]
    check_whole(out)


def test_an_outcome_that_cannot_be_told_is_no_lost_scheduler(
    folder: Path, tmp_path: Path, cluster: Cluster
) -> None:
    def told(*_: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    cluster.go_on()
    with pytest.raises(OSError, match="No space left"):
        run_batch(
            find_jobs(folder, out, settings(None)), out, settings(None),
            scheduler=cluster.address(), on_outcome=told,
        )  # fmt: skip


def test_a_scheduler_that_is_lost_is_told_of_in_one_sentence(
    folder: Path, tmp_path: Path, cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    coming = begun(folder, out, cluster.address())
    cluster.wait_until_both_work()
    cluster.scheduler.kill()
    with pytest.raises(InputError, match=r"scheduler at 'tcp://127\.0\.0\.1:\d+' was lost"):
        coming.result(120)
    assert capfd.readouterr() == ("", "")
    counts = json.loads((out / "batch-report.json").read_text())["counts"]
    assert counts == {"done": 0, "kept": 0, "failed": 0, "stopped": 3}
    cluster.go_on()
    for worker in (cluster.first, cluster.second):
        worker.wait(120)
    made = cluster.made()
    report = run_batch(find_jobs(folder, out, settings(None)), out, settings(None))
    assert [outcome.job.target.name for outcome in report.of("kept")] == made
    assert report.is_complete
    check_whole(out)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing there")
def test_ctrl_c_ends_a_batch_whose_workers_are_all_gone(
    folder: Path, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_recurrent_mz.engine.batch._run._ENDING_S", 0.5)

    def lose_all_and_interrupt() -> None:
        cluster.wait_until_both_work()
        for worker in (cluster.first, cluster.second):
            worker.kill()
            worker.wait()
        os.kill(os.getpid(), signal.SIGINT)

    out, address = tmp_path / "out", cluster.address()
    jobs, given = find_jobs(folder, out, settings(None)), settings(None)
    losing = threading.Thread(target=lose_all_and_interrupt, daemon=True)
    losing.start()
    report = run_batch(jobs, out, given, scheduler=address)
    losing.join(60)
    assert states(report) == ["stopped"] * 3
    assert states(run_batch(jobs, out, given)) == ["done"] * 3
    check_whole(out)


def test_no_volume_is_made_twice_in_one_run_that_makes_all_again(
    folder: Path, tmp_path: Path
) -> None:
    """A job that dask gives to a second worker is there already, and is not kept from before."""
    out, given = tmp_path / "out", settings(None)
    job = find_jobs(folder, out, given)[0]
    assert do(job, job, orders_for(out, given)).state == "done"
    orders = replace(orders_for(out, given), again=True)
    before = job.target.stat()
    assert do(job, job, orders).state == "done"
    once = job.target.stat()
    assert (once.st_ino, once.st_mtime_ns) != (before.st_ino, before.st_mtime_ns)
    outcome = do(job, job, orders)
    assert (outcome.state, outcome.method) == ("done", "cubic")
    assert job.target.stat().st_mtime_ns == once.st_mtime_ns


@pytest.mark.parametrize("format_", ["ome.tif", "ome.zarr"])
def test_on_a_drive_without_locks_the_later_one_leaves_what_the_earlier_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    def refuse(_self: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("filelock.FileLock._acquire", refuse)
    out, given = tmp_path / "out", settings(format_)
    job = find_jobs(folder, out, given)[0]
    first: list[os.stat_result] = []

    def overtaken(done: int, total: int) -> None:
        if done == total:
            assert Batch(folder, out, format_=format_).ended()[0] == 0
            first.append(job.target.stat())

    assert do(job, job, orders_for(out, given), on_progress=overtaken).state == "kept"
    assert job.target.stat() == first[0]
    np.testing.assert_array_equal(read_image(job.target).data, expected(0))
    assert not list(out.glob(f"{WORKPLACE}*"))


def orders_for(out: Path, given: BatchSettings) -> Orders:
    return batch_run._orders(out, given)


def test_a_job_that_another_worker_still_makes_is_waited_for(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = settings("ome.zarr")
    job = find_jobs(folder, out, given)[0]
    lost = Batch(folder, out, format_="ome.zarr", pauses=True)
    outcomes: list[Any] = []
    again = threading.Thread(
        target=lambda: outcomes.append(do(job, job, orders_for(out, given))), daemon=True
    )
    again.start()
    again.join(1.0)
    assert not outcomes
    lost.go_on()
    again.join(60)
    assert [outcome.state for outcome in outcomes] == ["kept"]
    assert lost.ended()[0] == 0
    np.testing.assert_array_equal(read_image(out / "s0.ome.zarr").data, expected(0))


def test_whoever_waits_is_stopped(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = settings(None)
    job = find_jobs(folder, out, given)[0]
    orders = orders_for(out, given)
    path = record_path(out, job).with_suffix(".lock")
    path.parent.mkdir(parents=True)
    lock = try_lock(path)
    assert lock is not None
    outcomes: list[Any] = []
    waiting = threading.Thread(target=lambda: outcomes.append(do(job, job, orders)), daemon=True)
    waiting.start()
    waiting.join(0.5)
    orders.stop.touch()
    waiting.join(60)
    lock.release()
    assert [outcome.state for outcome in outcomes] == ["stopped"]


# --- what counts as done ---


def _lose(name: str) -> Any:
    def lose(volume: Path) -> None:
        (volume / name).unlink()

    return lose


def _cut_a_chunk(volume: Path) -> None:
    chunk = volume / "1" / "c" / "2" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-8])


@pytest.mark.parametrize(
    "damage",
    [
        _lose("0/zarr.json"),
        _lose("1/zarr.json"),
        _lose("0/c/4/1/0"),
        _lose("1/c/4/0/0"),
        _cut_a_chunk,
    ],
    ids="level-0 level-1 chunk coarse-chunk cut-chunk".split(),
)
def test_a_volume_is_kept_only_while_all_of_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any
) -> None:
    monkeypatch.setattr("napari_recurrent_mz.io._zarr._CHUNK", 16)  # so that there are levels
    source, out = tmp_path / "s.ome.tif", tmp_path / "out"
    write_volume(source, stack(0), 0.5 * np.arange(7), 0.2)
    given = settings("ome.zarr")
    jobs = find_jobs(source, out, given)
    assert states(run_batch(jobs, out, given)) == ["done"]
    assert states(run_batch(jobs, out, given)) == ["kept"]
    damage(out / "s.ome.zarr")
    assert states(run_batch(jobs, out, given)) == ["done"]
    np.testing.assert_array_equal(read_image(out / "s.ome.zarr").data, expected(0))


def test_a_plane_of_a_time_point_that_is_lost_is_made_again(lapse: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    jobs = find_jobs(lapse, out, settings(None))
    run_batch(jobs, out, settings(None))
    (out / "t.ome.zarr" / "0" / "c" / "1" / "3" / "0" / "0").unlink()
    assert states(run_batch(jobs, out, settings(None))) == ["kept", "done", "kept"]


def _lost_level(path: Path) -> None:
    (path / "0" / "zarr.json").unlink()


def _lost_plane(path: Path) -> None:
    (path / "0" / "c" / "3" / "0" / "0").unlink()


@pytest.mark.parametrize("damage", [_lost_level, _lost_plane])
def test_a_volume_that_is_not_whole_is_never_recorded_as_done(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any
) -> None:
    """Whatever took part of it away while it was made."""
    finish = VolumeWriter.finish

    def damaged(self: VolumeWriter, *told: Any, **options: Any) -> Path:
        path = finish(self, *told, **options)
        damage(path)
        return path

    monkeypatch.setattr(VolumeWriter, "finish", damaged)
    out = tmp_path / "out"
    jobs: list[Job] = find_jobs(folder / "s0.ome.tif", out, settings("ome.zarr"))
    report = run_batch(jobs, out, settings("ome.zarr"))
    assert states(report) == ["failed"]
    assert "not a complete OME-Zarr" in report.failed[0].message
    assert not record_path(out, jobs[0]).exists()


def test_a_part_of_zeros_is_there_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_recurrent_mz.io._zarr._CHUNK", 16)
    pixels = stack(0)
    pixels[:, :16, 16:] = 0
    write_volume(tmp_path / "s.ome.tif", pixels, 0.5 * np.arange(7), 0.2)
    given, out = settings("ome.zarr", "nearest"), tmp_path / "out"
    jobs = find_jobs(tmp_path / "s.ome.tif", out, given)
    assert states(run_batch(jobs, out, given)) == ["done"]
    assert states(run_batch(jobs, out, given)) == ["kept"]
