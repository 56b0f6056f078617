"""Every scan on disk before anything else is done with it, so that a crash loses none."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ...core.scans import counted
from ...io._whole import read_json, reason_of, write_text
from ._store import ENDING, INDEX, SCANS, SessionFolder, Snapshot

if TYPE_CHECKING:
    from ._session import Session

_OWNER = "open.json"
_NUMBERS = itertools.count(1)


class Autosave:
    """Keeps a session on disk while it runs.

    Every scan is there, whole, before :meth:`Session.add_scan` returns, and before the volume is
    made; so is its removal, and the history with every finished volume. The volume itself is not
    kept: it is made again from the scans. When the disk refuses, a sentence says so, the session
    goes on, and the next change writes everything that is missing.

    Parameters
    ----------
    session : Session
        Scans that it has already are written at once.
    folder : path
        Where autosaved sessions are; made when it is needed.
    on_message : callable, optional
        Given a sentence and its kind, in the thread that adds scans.

    Examples
    --------
    >>> kept = Autosave(session, folder, on_message=print)              # doctest: +SKIP
    >>> session.add_scan(scan)          # on disk, whatever happens     # doctest: +SKIP
    >>> kept.close()                    # let go: the session was saved # doctest: +SKIP
    """

    def __init__(
        self,
        session: Session,
        folder: str | os.PathLike[str],
        *,
        on_message: Callable[[str, str], object] | None = None,
    ) -> None:
        #: the session's own folder, which :func:`load` opens; made with the first scan
        name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.getpid()}-{next(_NUMBERS)}{ENDING}"
        self.path = Path(folder) / name
        self._session: Session | None = session
        self._tell = (lambda _sentence, _kind: None) if on_message is None else on_message
        self._folder = SessionFolder(self.path)
        self._lock = threading.RLock()
        self._failure = ""
        self._slot = lambda _what: self.flush()  # a function: the session keeps it alive
        self._signals = (session.scan_added, session.scan_removed, session.volume_changed)
        for signal in self._signals:
            signal.connect(self._slot)
        if session.scans:
            self.flush()

    @property
    def is_safe(self) -> bool:
        """Whether all scans there are are on disk."""
        return not self._failure

    def flush(self) -> bool:
        """Write what is not on disk yet; whether everything is there now."""
        with self._lock:
            if self._session is None:
                return False
            snapshot = Snapshot.of(self._session, volume=False)
            if not snapshot.scans and not self.path.exists():
                return True
            try:
                self._claim()
                self._folder.write(snapshot)
            except Exception as error:  # whatever it is, the session goes on
                self._failed(error)
                return False
            if self._failure:
                self._failure = ""
                self._tell("The session is autosaved again, with all its scans.", "done")
            return True

    def close(self, *, keep: bool = False) -> None:
        """End; without ``keep`` the autosaved session is deleted.

        Parameters
        ----------
        keep : bool, optional
            Leave it where it is, for :func:`unsaved_sessions` to find.
        """
        # Before the lock: a signal has one of its own, held while its slots, of which one is here
        # and takes ours, are called in another thread.
        for signal in self._signals:
            signal.disconnect(self._slot, missing_ok=True)
        with self._lock:
            if self._session is None:
                return
            if keep:
                self.flush()
            self._session = None
            if keep:
                with contextlib.suppress(OSError):
                    (self.path / _OWNER).unlink()
            else:
                shutil.rmtree(self.path, ignore_errors=True)

    def _claim(self) -> None:
        """Say that this process has it, before there is anything to open."""
        owner = self.path / _OWNER
        if not owner.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            started = psutil.Process().create_time()
            process = {"pid": os.getpid(), "started": started, "host": platform.node()}
            write_text(owner, json.dumps(process), durable=True)

    def _failed(self, error: Exception) -> None:
        sentence = (
            f"The session is not autosaved ({_reason(error)}: '{self.path.parent}'): it goes on; "
            "save it elsewhere to keep it."
        )
        if sentence != self._failure:
            self._failure = sentence
            self._tell(sentence, "warning")


@dataclass(frozen=True)
class Unsaved:
    """An autosaved session that nobody has open."""

    path: Path  #: for :func:`load`
    began: datetime  #: with its time zone
    scans: int

    @property
    def sentence(self) -> str:
        """For a person who has just come: when it was, and what is in it."""
        now, began = datetime.now().astimezone(), self.began.astimezone()
        day = "" if began.date() == now.date() else f"{began.day} {began:%B}, "
        scans = counted(self.scans, "scan")
        return f"A session of {day}{began:%H:%M} with {scans} was not saved: open it?"

    def discard(self) -> None:
        """Delete it."""
        shutil.rmtree(self.path, ignore_errors=True)


def unsaved_sessions(folder: str | os.PathLike[str]) -> list[Unsaved]:
    """The autosaved sessions that were neither saved nor let go, the newest first.

    Those that a running process has open, on this computer or on another, are left out, and so
    are those without any scan.

    Parameters
    ----------
    folder : path
        As given to :class:`Autosave`.
    """
    unsaved = []
    for path in Path(folder).glob(f"*{ENDING}"):
        with contextlib.suppress(OSError):
            files = len(list((path / SCANS).glob("*.ome.tif")))
            if files and not _is_open(path):
                unsaved.append(_unsaved(path, files))
    return sorted(unsaved, key=lambda session: (session.began, session.path.name), reverse=True)


def _unsaved(path: Path, files: int) -> Unsaved:
    """What the index says of a session, or else its files."""
    scans, began = files, datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        index = read_json(path / INDEX)
        scans = len(index["session"]["scans"]) or files
        began = datetime.fromisoformat(index["began"])
    return Unsaved(path, began, scans)


def _is_open(path: Path) -> bool:
    """Whether the process that wrote it still runs; of another computer, nobody can tell."""
    try:
        owner = read_json(path / _OWNER)
        if owner["host"] != platform.node():
            return True
        process = psutil.Process(int(owner["pid"]))
        return bool(abs(process.create_time() - float(owner["started"])) < 1)
    except psutil.AccessDenied:
        return True
    except (OSError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
        return False


def _reason(error: Exception) -> str:
    """Why a disk refused, in a few words."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError):
        return reason_of(cause)
    return str(error).rstrip(".")
