"""Files whole or not at all: written under a temporary name, renamed at the end; and locks."""

from __future__ import annotations

import atexit
import ctypes
import errno
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.scans import InputError

if TYPE_CHECKING:
    from filelock import BaseFileLock

WORKPLACE = ".recurrent-mz-"
"""How the name of a folder begins in which something is being written."""

_LOCK = "lock-"  # and the name of the computer
_REPLACED = "replaced"  # what was there
_EXCHANGE = 2  # of Linux: RENAME_EXCHANGE
_LOOK_EVERY_S = 0.2  # at a lock that another process has
_DEAD_AFTER_S = 86_400.0  # what another computer has not touched for so long
_EMPTY_AFTER_S = 60.0


def try_lock(path: Path) -> BaseFileLock | None:
    """Lock a file until the lock is released or the process ends; None while another has it."""
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
    """Do something while no other process does it under the same lock, if the drive knows locks."""
    lock = None
    while lock is None:
        try:
            lock = try_lock(path)
        except OSError:
            break
        if lock is None:
            while_waiting()
            time.sleep(_LOOK_EVERY_S)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether a file is this process's to write; on a drive without locks it always is."""
    beside = path.with_name(f".{path.name}.lock")
    try:
        lock = try_lock(beside)
    except OSError:
        yield True
        return
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()
            with suppress(OSError):
                beside.unlink()


def check_no_device(path: Path) -> None:
    """Refuse what a file would take the place of for every program: a device, or a pipe."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"'{path}' is a pipe or a device, not a file: choose another place.")


class Workplace:
    """A hidden folder beside a file, or OME-Zarr folder, whose ``part`` is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        check_no_device(path)
        remove_left_behind(path)
        self._folder = path.parent / f"{WORKPLACE}{secrets.token_hex(4)}"
        self.part = self._folder / path.name
        self._lock: BaseFileLock | None = None
        # Python may end while a thread still writes, or by Ctrl-C before anybody can remove it.
        atexit.register(self.remove)
        with refusals_of(path):
            self._folder.mkdir(0o700)
        with suppress(OSError):  # a drive without locks: then nobody takes it for left behind
            self._lock = try_lock(self._folder / f"{_LOCK}{socket.gethostname()}")

    def put_in_place(self, *, durable: bool = False) -> None:
        """Give the part its name, if ``durable`` once the disk has it; else :class:`OSError`."""
        if durable:
            flush_to_disk(self.part)
        if not (self.path.is_dir() and _exchanged(self.part, self.path)):
            self._rename()
        if durable:
            flush_to_disk(self.path.parent, only_entry=True)

    def _rename(self) -> None:
        """Give the part its name; a folder is moved out of its way first."""
        replaced = self._folder / _REPLACED
        if self.path.is_dir():
            self.path.rename(replaced)
        try:
            self.part.replace(self.path)
        except OSError:
            if replaced.exists() and not self.path.exists():
                replaced.rename(self.path)
            raise

    def remove(self) -> None:
        """Leave nothing but what was put in place."""
        try:
            if self._lock is not None:
                self._lock.release()
            shutil.rmtree(self._folder, ignore_errors=True)
        finally:  # once more, should Ctrl-C have come in between
            shutil.rmtree(self._folder, ignore_errors=True)
            atexit.unregister(self.remove)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step; whether the system and the drive can."""
    exchange = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if exchange is None:
        return False
    here = -100  # paths are relative to where the process is
    done: int = exchange(here, os.fsencode(one), here, os.fsencode(other), _EXCHANGE)
    return done == 0


def remove_left_behind(path: Path) -> None:
    """Remove the workplaces beside ``path`` where nobody works, once what is whole has its name."""
    for workplace in filter(is_left_behind, list(path.parent.glob(f"{WORKPLACE}*"))):
        if (workplace / _REPLACED).exists():
            for part in workplace.glob("*"):
                if (
                    part.is_dir()
                    and part.name != _REPLACED
                    and not (path.parent / part.name).exists()
                ):
                    part.rename(path.parent / part.name)
        for _ in range(2):  # who looks at it meanwhile may make a lock in it anew
            shutil.rmtree(workplace, ignore_errors=True)


def is_left_behind(workplace: Path) -> bool:
    """Whether nobody writes in a workplace: no lock, and elsewhere no change for a day."""
    own = workplace / f"{_LOCK}{socket.gethostname()}"
    try:
        locks, before = list(workplace.glob(f"{_LOCK}*")), workplace.stat().st_ino
        for path in locks:
            lock = try_lock(path)
            if lock is None:
                return False
            lock.release()
        if workplace.stat().st_ino != before:  # another removed it, and to lock has made it anew
            shutil.rmtree(workplace, ignore_errors=True)
            return False
        is_empty = not any(p not in locks for p in workplace.iterdir())  # perhaps just begun
        if locks == [own] and not is_empty:
            return True
        return _still_s(workplace) > (_EMPTY_AFTER_S if is_empty else _DEAD_AFTER_S)
    except OSError:
        return False


def _still_s(workplace: Path) -> float:
    """For how long nothing has been written in a folder, by the clock of its drive."""
    with tempfile.TemporaryFile(dir=workplace.parent) as now:
        clock = os.fstat(now.fileno()).st_mtime
    # To look at a lock may touch it.
    inside = [path for path in workplace.rglob("*") if not path.name.startswith(_LOCK)]
    return clock - max(path.stat().st_mtime for path in [workplace, *inside])


def write_whole(path: Path, write: Callable[[Path], object], *, durable: bool = False) -> Path:
    """Write under a temporary name beside ``path``, and rename it at the end, when it is whole."""
    workplace = Workplace(path)
    try:
        with refusals_of(path):
            write(workplace.part)
            workplace.put_in_place(durable=durable)
    finally:
        workplace.remove()
    return path


_REASONS = {
    "ENOSPC": "the disk is full",
    "EDQUOT": "the disk quota is used up",
    "ENOENT": "the folder is missing",
    "ENOTDIR": "the folder is missing",
    "EACCES": "you may not write to its folder",
    "EPERM": "you may not write to its folder",
    "EROFS": "you may not write to its folder",
}


NOT_WRITTEN = "not written"


def reason_of(error: OSError) -> str:
    """Why a disk refused to write, in a few words."""
    if error.errno is None and " requested and " in str(error):
        return _REASONS["ENOSPC"]  # NumPy, of an array that was written in part
    name = errno.errorcode.get(error.errno or 0, "")
    return _REASONS.get(name, error.strerror or str(error))


@contextmanager
def refusals_of(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one sentence about ``path``, also of a file within it."""
    try:
        yield
    except (OSError, InputError) as error:
        refusal = error.__cause__ if getattr(error, "kind", "") == NOT_WRITTEN else error
        if not isinstance(refusal, OSError):
            raise
        raise InputError(
            f"'{path.name}' could not be written: {reason_of(refusal)}; choose another place.",
            NOT_WRITTEN,
        ) from refusal


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


def write_table(path: str | os.PathLike[str], table: Any, *, encoding: str = "utf-8") -> Path:
    """Write a table as CSV, six digits, whole or not at all; spreadsheets need utf-8-sig for µ."""
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return write_text(Path(path), text, encoding=encoding)


_MOST_JSON_BYTES = 2**26


def read_json(path: Path) -> Any:
    """The JSON in a file; OSError or ValueError where there is none, or it is beyond reason."""
    if not path.is_file():
        raise FileNotFoundError(f"'{path.name}' is no file")
    with path.open("rb") as file:
        text = file.read(_MOST_JSON_BYTES + 1)
    if len(text) > _MOST_JSON_BYTES:
        raise ValueError(f"'{path.name}' is longer than {_MOST_JSON_BYTES} bytes")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"'{path.name}' is nested too deeply") from error


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write ``value`` as JSON, whole or not at all."""
    return write_text(Path(path), json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str, *, encoding: str = "utf-8", durable: bool = False) -> Path:
    """Write a text file, whole or not at all; see :func:`write_whole`."""

    def write(part: Path) -> None:  # names of files on Linux may hold what no encoding knows
        part.write_text(text, encoding=encoding, errors="backslashreplace")

    return write_whole(path, write, durable=durable)
