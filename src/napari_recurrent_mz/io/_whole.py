"""Whole or not at all: written under a temporary name beside the target, renamed at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..scans import InputError

WORKPLACE = ".recurrent-mz-"
"""How the name of a folder begins in which something is being written."""


class Workplace:
    """A hidden folder beside a file that is being written.

    Parameters
    ----------
    path : Path
        The file, or OME-Zarr folder, to be.

    Attributes
    ----------
    part : Path
        Where to write until it is whole; its name is that of ``path``.

    Raises
    ------
    InputError
        When the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with refusals_of(path):
            self._folder = Path(tempfile.mkdtemp(prefix=WORKPLACE, dir=path.parent))
        self.part = self._folder / path.name

    def put_in_place(self, *, durable: bool = False) -> None:
        """Give the part its name; what was there is replaced.

        Parameters
        ----------
        durable : bool, optional
            Return once the disk has it.

        Raises
        ------
        OSError
            When the disk refuses.
        """
        if durable:
            flush_to_disk(self.part)
        if self.path.is_dir():
            self.path.rename(self._folder / "replaced")
        self.part.replace(self.path)
        if durable:
            flush_to_disk(self.path.parent, only_entry=True)

    def remove(self) -> None:
        """Leave nothing but what was put in place."""
        shutil.rmtree(self._folder, ignore_errors=True)


def write_whole(path: Path, write: Callable[[Path], None], *, durable: bool = False) -> Path:
    """Write under a temporary name in the same folder, and rename at the end.

    Parameters
    ----------
    path : Path
        A file, or an OME-Zarr folder; what is there is replaced.
    write : callable
        Writes to the path that it is given.
    durable : bool, optional
        Return once the disk has it.

    Raises
    ------
    InputError
        When the disk refuses; its cause is the ``OSError``.
    """
    workplace = Workplace(path)
    try:
        with refusals_of(path):
            write(workplace.part)
            workplace.put_in_place(durable=durable)
    finally:
        workplace.remove()
    return path


@contextmanager
def refusals_of(path: Path) -> Iterator[None]:
    """What the disk refuses, in one sentence about ``path``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"'{path.name}' could not be written: {reason}.") from error


def flush_to_disk(path: Path, *, only_entry: bool = False) -> None:
    """Wait until the disk has a file, or a folder and, unless ``only_entry``, all in it."""
    if path.is_dir():
        if not only_entry:
            for inside in path.iterdir():
                flush_to_disk(inside)
        if os.name == "nt":
            return  # Windows keeps a folder's entries by itself
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
