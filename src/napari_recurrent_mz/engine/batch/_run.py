"""The batch, on this computer or on a cluster, and what became of it."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import psutil

from ...core.device import gpu_memory_limit
from ...core.errors import InputError, counted
from ...io import write_json, write_table
from ...io._time_lapse import make_plate
from ...io._whole import refusals_of
from ...io._write import check_own
from ..inference import model_for
from . import _pool
from ._plan import plan_of
from ._record import FOLDER
from ._settings import BatchSettings, Job, Orders
from ._work import DONE, FAILED, KEPT, STOPPED, Outcome, do, lost, outcome_of_finished

if TYPE_CHECKING:
    import pandas as pd

REPORT = "batch-report"


@dataclass(frozen=True, eq=False)
class Report:
    """What became of a batch."""

    outcomes: tuple[Outcome, ...]  #: in the order of the jobs
    seconds: float  #: from beginning to end
    output: Path  #: the folder of the results

    def of(self, state: str) -> list[Outcome]:
        """The outcomes of a state: done, kept, failed or stopped."""
        return [outcome for outcome in self.outcomes if outcome.state == state]

    @property
    def failed(self) -> list[Outcome]:
        """Those that failed; ``message`` says why."""
        return self.of(FAILED)

    @property
    def is_complete(self) -> bool:
        """Whether all volumes are there."""
        return len(self.of(DONE)) + len(self.of(KEPT)) == len(self.outcomes)

    def table(self) -> pd.DataFrame:
        """One row for each volume: position, time, state, seconds, method, message, output."""
        import pandas as pd

        rows = [_record(outcome, self.output) for outcome in self.outcomes]
        columns = ["position", "time", "state", "seconds", "method", "message", "output"]
        return pd.DataFrame(rows, columns=columns).astype({"time": "Int64"})

    def write(self, settings: BatchSettings) -> Path:
        """Write the table as CSV and, with the settings and whole errors, as JSON.

        Returns
        -------
        Path
            Of the CSV.

        Raises
        ------
        InputError
            When the disk refuses.
        """
        counts = {state: len(self.of(state)) for state in (DONE, KEPT, FAILED, STOPPED)}
        write_json(
            self.output / f"{REPORT}.json",
            {
                "settings": settings.as_dict(),
                "seconds": round(self.seconds, 3),
                "counts": counts,
                "volumes": [_record(outcome, self.output) for outcome in self.outcomes],
            },
        )
        return write_table(self.output / f"{REPORT}.csv", self.table(), encoding="utf-8-sig")


def _record(outcome: Outcome, output: Path) -> dict[str, Any]:
    job = outcome.job
    return {
        "position": job.position,
        "time": job.time,
        "inputs": [part.path for part in job.parts],
        "output": str(job.target.relative_to(output)),
        "state": outcome.state,
        "seconds": round(outcome.seconds, 3),
        "method": outcome.method,
        "message": outcome.message,
        **({"trace": outcome.trace} if outcome.trace else {}),
    }


def in_words(outcomes: Sequence[Outcome]) -> str:
    """How many volumes were done, kept, failed and stopped, as a sentence has it."""
    counts = Counter(outcome.state for outcome in outcomes)
    words = {DONE: "done", KEPT: "kept from before", FAILED: "failed", STOPPED: "not begun"}
    states = [f"{counts[state]} {what}" for state, what in words.items() if counts[state]]
    return f"{counted(len(outcomes), 'volume')}: {', '.join(states)}" if states else "nothing to do"


OnOutcome = Callable[[Outcome, int, int], None]
"""Told an outcome, how many jobs are through, and of how many."""

OnPlane = Callable[[str, int, int], None]
"""Told the name of a volume, how many of its planes are done, and of how many."""

_ENDING_S = 30.0  # for the tiles at work, after Ctrl-C
_ENDED = (
    "The process that made it was ended by the system, most likely for want of memory: use fewer "
    "--jobs, or a crop."
)


def run_batch(
    jobs: Sequence[Job],
    output: str | Path,
    settings: BatchSettings,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    again: bool = False,
    on_outcome: OnOutcome | None = None,
    on_plane: OnPlane | None = None,
) -> Report:
    """Make all volumes of a batch that are not made yet.

    A volume that an earlier run has finished with the same settings, from the same inputs, is
    kept. What fails is reported, and the others are done all the same. A keyboard interrupt ends
    the work within seconds, keeps what is done, and returns.

    Parameters
    ----------
    jobs : sequence of Job
        Of :func:`find_jobs`.
    output : path
        The folder for the results, as given there; it is made.
    settings : BatchSettings
    workers : int, optional
        Positions at a time on this computer; by default as many as its memory and cores hold,
        and one for each GPU. Several run in processes of their own: a script that asks for that
        must begin with ``if __name__ == "__main__"``.
    scheduler : str, optional
        Address of a dask.distributed scheduler, as ``tcp://host:8786``, whose workers see the
        same files under the same names. Each worker process does one position at a time.
    again : bool, optional
        Make all, whatever is finished.
    on_outcome : callable, optional
        Called in this thread with each outcome, the number of jobs that are through, and of all.
    on_plane : callable, optional
        Called with the name of the volume, the number of its planes done and of all, when one
        position at a time is done in this process.

    Returns
    -------
    Report
        Also written into the folder, as CSV and JSON.

    Raises
    ------
    InputError
        If the weights are missing, the output cannot be written, distributed (for a scheduler)
        is not installed or the scheduler does not answer; or once the report is written, if the
        scheduler was lost.
    """
    began = time.perf_counter()
    orders = replace(_orders(Path(output).absolute(), settings), again=again)
    ledger = _Ledger(jobs, on_outcome)
    no_scheduler: _pool.SchedulerLostError | None = None
    if not again:
        _take_found(ledger, orders)
    try:
        with _heard(orders.stop):
            _do(ledger, orders, workers, scheduler, on_plane)
    except KeyboardInterrupt:
        _take_found(ledger, orders)
    except _pool.SchedulerLostError as error:
        no_scheduler = error
        _take_found(ledger, orders)
    finally:
        orders.stop.unlink(missing_ok=True)
    report = Report(ledger.outcomes(), time.perf_counter() - began, orders.output)
    report.write(settings)
    if no_scheduler is not None:
        raise no_scheduler
    return report


@contextmanager
def _heard(stop: Path) -> Iterator[None]:
    """Have Ctrl-C leave the stop file: an exception alone may be lost in somebody's finaliser."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.touch()
        signal.default_int_handler(number, frame)

    in_main = threading.current_thread() is threading.main_thread()
    heard = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if in_main and signal.getsignal(number) is signal.default_int_handler
    ]
    for number in heard:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, signal.default_int_handler)


def _orders(out: Path, settings: BatchSettings) -> Orders:
    """What every job is told; the folder for the results is made."""
    digest = digest_of(settings)
    with refusals_of(out):
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
    stop = out / FOLDER / f"stop-{uuid.uuid4().hex}"
    return Orders(settings, out, digest, stop, gpu_memory_gb=gpu_memory_limit())


def _do(
    ledger: _Ledger,
    orders: Orders,
    workers: int | None,
    scheduler: str | None,
    on_plane: OnPlane | None,
) -> None:
    """Make the volumes that are left, on a cluster or here."""
    left = ledger.left()
    if not left:
        return
    for plate, source in {job.output: job.parts[0].path for job in left if job.inside}.items():
        try:
            check_own(plate)
        except InputError:  # which each of its jobs says
            continue
        make_plate(Path(source), plate, orders.settings.ngff)
    if scheduler:
        with _pool.cluster(scheduler, orders) as (workers_there, orders_there):
            _do_all(ledger, orders_there, workers_there)
    else:
        _run_here(ledger, orders, _shares(left, orders.settings, workers), on_plane)


def digest_of(settings: BatchSettings) -> str:
    """The digest of settings with their weights, which are loaded for it.

    Raises
    ------
    InputError
        If there are no such weights.
    """
    model = model_for(settings.method, settings.model)
    return settings.digest(model.sha256 if model else None)


@dataclass(eq=False)
class _Ledger:
    """Which jobs are through."""

    jobs: Sequence[Job]
    on_outcome: OnOutcome | None
    _taken: dict[str, Outcome] = field(default_factory=dict)

    def take(self, outcome: Outcome) -> None:
        """Note what became of a job, and tell."""
        self._taken[outcome.job.name] = outcome
        if self.on_outcome is not None:
            self.on_outcome(outcome, len(self._taken), len(self.jobs))

    def left(self) -> list[Job]:
        """The jobs that are not through."""
        return [job for job in self.jobs if job.name not in self._taken]

    def outcomes(self) -> tuple[Outcome, ...]:
        """In the order of the jobs; those not through as stopped."""
        return tuple(self._taken.get(job.name, Outcome(job, STOPPED)) for job in self.jobs)


def _take_found(ledger: _Ledger, orders: Orders) -> None:
    """Take the jobs not through whose volumes are there."""
    for job in ledger.left():
        finished = outcome_of_finished(job, orders)
        if finished is not None:
            ledger.take(finished)


def _shares(jobs: Sequence[Job], settings: BatchSettings, workers: int | None) -> _pool.Shares:
    """How this computer is shared out between the jobs, by the largest of a few of them."""
    bytes_each = 0
    for job in jobs[:: max(len(jobs) // 8, 1)]:
        with suppress(Exception):  # told by the job itself
            plan = plan_of(job, settings)
            bytes_each = max(
                bytes_each, _pool.bytes_of(plan.shape, len(plan.z_um), settings.method)
            )
    return _pool.share_out(
        len(jobs),
        bytes_each,
        cores=_pool.free_cores(),
        memory=int(psutil.virtual_memory().available),
        wanted=workers,
        gpus=_pool.gpus_for(settings.device, settings.method),
    )


def _run_here(
    ledger: _Ledger,
    orders: Orders,
    shares: _pool.Shares,
    on_plane: OnPlane | None,
) -> None:
    """In this process, or in several; a process that dies takes no other position with it."""
    if shares.workers == 1:
        _do_all(ledger, orders, on_plane=on_plane)
        return
    while ledger.left():
        with _pool.processes(shares) as pool:
            try:
                _do_all(ledger, replace(orders, threads=shares.threads), pool)
                return
            except BrokenProcessPool:
                if shares.workers == 1:  # there is no doubt which one it was
                    ledger.take(lost(ledger.left()[0], _ENDED))
        shares = replace(shares, workers=max(shares.workers // 2, 1))


def _do_all(
    ledger: _Ledger,
    orders: Orders,
    executor: Executor | None = None,
    on_plane: OnPlane | None = None,
) -> None:
    """Do the jobs that are left, here or elsewhere, and take their outcomes as they come."""
    firsts: dict[Path, Job] = {}  # by which the place of all time points of a position is made
    tasks = [
        (job, job if job.trouble else firsts.setdefault(job.target, job)) for job in ledger.left()
    ]
    if executor is None:
        for job, first in tasks:
            ledger.take(do(job, first, orders, on_plane and partial(on_plane, job.name)))
        return
    coming = {executor.submit(do, job, first, orders): job for job, first in tasks}
    try:
        _collect(ledger, coming)
    except KeyboardInterrupt:
        orders.stop.touch()  # each ends at its next tile, those not begun at once
        with suppress(TimeoutError):  # of workers that stand still or are gone
            _collect(ledger, coming, _ENDING_S)
        raise


def _collect(
    ledger: _Ledger, coming: dict[Future[Outcome], Job], timeout_s: float | None = None
) -> None:
    """Take the outcomes as they come, and out of ``coming``; a job whose workers died failed."""
    for future in as_completed(list(coming), timeout_s):
        job = coming.pop(future)
        try:
            outcome = future.result()
        except (BrokenProcessPool, CancelledError):
            raise
        except Exception as error:
            why = type(error).__name__
            message = f"The dask worker that made it was lost ({why}): run the same command again."
            outcome = lost(job, message)
        ledger.take(outcome)
