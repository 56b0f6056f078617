"""Rows of numbers that take seconds to make and never change: made once for every user.

A microscopist has the same few objectives for years. What follows from one is made when it is
first needed and kept, in memory and in the user's cache folder, from where it comes at once the
next time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

Rows = npt.NDArray[np.float64]

_known: dict[str, Rows] = {}
_locks: dict[str, threading.Lock] = {}


def folder() -> Path:
    """Where rows are kept: safe to delete."""
    return Path(platformdirs.user_cache_dir("napari-recurrent-mz", appauthor=False)) / "tables"


def rows(name: str, count: int, make: Callable[[int, int], Rows]) -> Rows:
    """The first ``count`` rows of a table that grows downwards.

    Parameters
    ----------
    name : str
        What the rows follow from; one word of letters, digits, points and hyphens.
    count : int
    make : callable
        Makes the rows from one number to another, shape (stop − start, K).

    Returns
    -------
    numpy.ndarray, shape (count, K)
        Do not write into it.
    """
    with _locks.setdefault(name, threading.Lock()):
        found = _known.get(name)
        if found is None:
            found = _read(name)
        if found is None or len(found) < count:
            begun = 0 if found is None else len(found)
            made = make(begun, count)
            found = made if found is None else np.concatenate([found, made])
            _write(name, found)
        _known[name] = found
        return found[:count]


def _path(name: str) -> Path:
    return folder() / f"{name}-psfmodels-{version('psfmodels')}.npy"


def _read(name: str) -> Rows | None:
    """What was kept, if it is whole."""
    try:
        found = np.load(_path(name), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    usable = found.ndim == 2 and found.dtype == np.float64 and bool(np.isfinite(found).all())
    return found if usable else None


def _write(name: str, table: Rows) -> None:
    """Whole or not at all; a folder that takes nothing costs the time of making it again."""
    path = _path(name)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(partial, table, allow_pickle=False)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
