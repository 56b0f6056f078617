"""Threads that compute beside each other with PyTorch, each on one core.

Threads that share every single operation wait for each other at the end of it, and for whatever
else the machine does: beside other work that is several times slower than one thread alone.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch


def one_core_each(count: int | None = None) -> ThreadPoolExecutor:
    """A pool of threads, by default as many as the caller may take cores, each of which takes one.

    Shut it down after use. The caller's threads, and those of others, stay as they are.
    """
    before = torch.get_num_threads()
    count = count or before
    ready = Barrier(count + 1)

    def begin() -> None:
        torch.get_num_threads()  # the first call in a thread takes the number that is set for all
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="one core", initializer=begin)
    for _ in range(count):
        pool.submit(_nothing)
    ready.wait()
    torch.set_num_threads(before)  # the number for new threads outside of the pool
    return pool


def _nothing() -> None:
    pass
