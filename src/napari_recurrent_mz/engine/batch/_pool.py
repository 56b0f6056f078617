"""Processes of this computer that share the work out between them, one position each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from ._shares import Shares

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
