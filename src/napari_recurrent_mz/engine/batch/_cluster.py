"""A batch on the workers of a dask.distributed scheduler."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.device import available_cores
from ...core.scans import InputError
from ._settings import Orders

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
