"""Who is at work: locks of the system on files, which end with their process however it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

_LOOK_EVERY_S = 0.2


def try_lock(path: Path) -> BaseFileLock | None:
    """Lock a file, which is made, until the lock is released; None while another has it locked.

    Raises :class:`OSError` when the drive knows no locks, or refuses.
    """
    from filelock import FileLock, Timeout  # only here: it takes a while to import

    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    except NotImplementedError as error:
        raise OSError(str(error)) from error
    return lock


@contextmanager
def in_turn(path: Path, while_waiting: Callable[[], None]) -> Iterator[None]:
    """Do something while no other process, on whatever computer, does it under the same lock.

    ``path`` is the file to lock, in a folder that is there; on a drive that knows no locks nobody
    is waited for. ``while_waiting`` is called a few times a second; it ends the waiting by raising.
    """
    lock = _waited_for(path, while_waiting)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _waited_for(path: Path, while_waiting: Callable[[], None]) -> BaseFileLock | None:
    while True:
        try:
            lock = try_lock(path)
        except OSError:
            return None
        if lock is not None:
            return lock
        while_waiting()
        time.sleep(_LOOK_EVERY_S)
