"""Who makes the positions: processes that share a computer out, or workers of dask.distributed."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from ...core.device import available_cores, choose_device
from ...core.methods import method_of
from ...core.scans import InputError
from ...estimates.object_windows import IN_MEMORY_BYTES, WINDOW
from ..tiles import LARGEST_TILE
from ._settings import Orders

THREADS_EACH = 4
"""Threads of one position on a CPU of many cores: more of them than this help little."""

# Measured as peaks of resident memory (ru_maxrss of a process that makes three planes of 256 to
# 2048 pixels squared from 2 to 12 scans), rounded up.
_PROCESS_BYTES = 400_000_000  # Python, torch, the weights and the tables of the optics
_SPREAD_BYTES = 400_000_000  # more while the point spread functions for an object are made
_SCAN_BYTES = 24  # of a pixel of a scan: as read, as float32, its spectrum and what is made of it
_LINEAR_BYTES = 20  # of a pixel of a plane
_OBJECT_BYTES = (120, 5)  # of a pixel of a window of the object: by scans, and by their square
_POINTS_BYTES = 400  # of a pixel of a window, beside the sheets that wait in memory
_NETWORK_BYTES = 350  # of a pixel of a tile of the bundled network in its fast form
_PART_OF_MEMORY = 0.7  # of what is free: the rest is for others, and for what is not foreseen


@dataclass(frozen=True)
class Shares:
    """How a computer is shared out."""

    workers: int  # positions at a time, each in a process of its own when there are several
    threads: int  # of each; ``workers × threads`` never passes the number of cores
    gpus: tuple[str, ...] = ()  # of each worker, as in CUDA_VISIBLE_DEVICES; empty on a CPU


def share_out(
    jobs: int,
    bytes_each: int,
    *,
    cores: int,
    memory: int,
    wanted: int | None = None,
    gpus: Sequence[str] = (),
) -> Shares:
    """Share a computer out; ``wanted`` positions at a time hold whatever the memory is."""
    most = len(gpus) or (cores if wanted else max(cores // THREADS_EACH, 1))
    fits = max(int(_PART_OF_MEMORY * memory / max(bytes_each, 1)), 1)
    workers = max(min(jobs, most, wanted or fits, cores), 1)
    return Shares(workers, max(cores // workers, 1), tuple(gpus[:workers]))


def bytes_of(shape: tuple[int, int], scans: int, method: str) -> int:
    """A generous guess of the main memory that one position takes in its process, in bytes."""
    # The volume has no part in it: its planes are written as they are made.
    pixels = math.prod(shape)
    needs = method_of(method)
    network = _NETWORK_BYTES * min(pixels, LARGEST_TILE["cpu"] ** 2) if needs.needs_model else 0
    fit = 0
    if needs.needs_model or needs.kind == "nonnegative":
        by_scan, by_square = _OBJECT_BYTES
        values = (by_scan * scans + by_square * scans**2) * min(pixels, WINDOW**2)
        fit = max(_SPREAD_BYTES, values)
    elif needs.kind == "points":
        fit = IN_MEMORY_BYTES + _POINTS_BYTES * min(pixels, WINDOW**2)
    return _PROCESS_BYTES + pixels * (scans * _SCAN_BYTES + _LINEAR_BYTES) + fit + network


def free_cores() -> int:
    """Cores to use: those of this process, or fewer where OMP_NUM_THREADS says so."""
    stated = os.environ.get("OMP_NUM_THREADS", "")
    cores = available_cores()
    return max(min(cores, int(stated)), 1) if stated.isdigit() else cores


def gpus_for(device: str, method: str) -> tuple[str, ...]:
    """The GPUs that a method uses of a device, as CUDA_VISIBLE_DEVICES names them."""
    kind = choose_device(device).kind
    if kind == "cpu" or not method_of(method).needs_optics:
        return ()
    if kind == "mps":
        return ("0",)
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated:
        return tuple(name.strip() for name in stated.split(","))[: torch.cuda.device_count()]
    return tuple(str(i) for i in range(torch.cuda.device_count()))


_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def environment(changed: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment as they are for processes that begin meanwhile."""
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def processes(shares: Shares) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes have their threads and GPU from the start; waited for at the end."""
    # A fresh interpreter: a fork would take over locks of torch's threads.
    context = multiprocessing.get_context("spawn")
    gpus = context.Queue()
    for gpu in shares.gpus:
        gpus.put(gpu)
    given = (gpus if shares.gpus else None,)
    with environment(dict.fromkeys(_THREAD_VARIABLES, str(shares.threads))):
        pool = ProcessPoolExecutor(shares.workers, context, _begin, given)
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(gpus: Any) -> None:
    """What a process does before its first job."""
    # Ctrl-C goes to every process of the terminal: only the first answers, by the stop file.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus.get(timeout=60)


def _end_with_parent() -> None:
    """End when the first process is killed: nobody would take what this one makes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


_PATIENCE_S = 8.0
_LOGS = ("distributed", "distributed.client")  # each has a level of its own

Machine = tuple[str, int, str]
"""Name of a computer, its cores, and the version of this package there."""


class SchedulerLostError(InputError):
    """The scheduler was lost while it had work."""


@contextmanager
def cluster(scheduler: str, orders: Orders) -> Iterator[tuple[Executor, Orders]]:
    """The workers of a scheduler as an executor, and orders with the threads of each."""
    with _unsaid(), _connected(scheduler) as client:
        threads = _threads(_machines(client, scheduler, orders.output))
        try:
            yield client.get_executor(pure=False), replace(orders, threads=threads)
        except CancelledError as error:  # of whom work was asked; other errors are not dask's
            raise SchedulerLostError(
                f"The dask scheduler at '{scheduler}' was lost: start it again, with its workers; "
                "what is done is kept, and the same command goes on from there."
            ) from error


@contextmanager
def _unsaid() -> Iterator[None]:
    """Keep what dask logs off the screen: what matters of it is said in one sentence here."""
    try:
        import distributed  # noqa: F401  (sets the levels)
    except ImportError as error:
        raise InputError(
            "Batches on a cluster need the package distributed: pip install "
            "'napari-recurrent-mz[batch]'."
        ) from error

    before = {name: logging.getLogger(name).level for name in _LOGS}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _connected(scheduler: str) -> Any:
    """A client; one sentence when nobody answers."""
    from distributed import Client

    try:
        return Client(  # type: ignore[no-untyped-call]
            scheduler, timeout=_PATIENCE_S, set_as_default=False
        )
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"The dask scheduler at '{scheduler}' does not answer: start one with 'dask "
            "scheduler', and give its address as tcp://host:8786."
        ) from error


def _machines(client: Any, scheduler: str, output: Path) -> dict[str, Machine]:
    """Who the workers are, once they can do the work."""
    try:
        client.wait_for_workers(1, timeout=_PATIENCE_S)
    except TimeoutError as error:
        raise InputError(
            f"The dask scheduler at '{scheduler}' has no workers: start some with 'dask worker "
            f"{scheduler} --nthreads 1'."
        ) from error
    from ... import __version__

    try:
        introduced: dict[str, tuple[Machine, bool]] = client.run(_introduce, str(output))
    except Exception as error:
        raise InputError(
            "A dask worker cannot run this package: install napari-recurrent-mz "
            f"{__version__} with its extra 'batch' in the environment of every worker."
        ) from error
    for address, ((_, _, version), sees) in introduced.items():
        if version != __version__:
            raise InputError(
                f"The dask worker {address} has version {version} of napari-recurrent-mz, not "
                f"{__version__}: install the same everywhere."
            )
        if not sees:
            raise InputError(
                f"The dask worker {address} does not see the folder '{output}': keep inputs and "
                "results on a disk that all workers share, under one name."
            )
    return {address: machine for address, (machine, _) in introduced.items()}


def _introduce(output: str) -> tuple[Machine, bool]:
    """What a worker says of itself."""
    from ... import __version__

    return (socket.gethostname(), available_cores(), __version__), Path(output).is_dir()


def _threads(machines: Mapping[str, Machine]) -> dict[str, int]:
    """Threads of each worker process: those of one computer share its cores."""
    processes = Counter(name for name, _, _ in machines.values())
    return {
        address: max(cores // processes[name], 1) for address, (name, cores, _) in machines.items()
    }
