"""A session on disk: a folder NAME.rmz, or the same folder in a ZIP file.

``session.json`` lists ``scans/*.ome.tif`` and ``volume-*.ome.zarr``. It is written last, and each
file under another name first, so whatever it lists is whole whenever the process ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import weakref
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ...core.progress import tell
from ...core.scans import FloatArray, InputError, Scan
from ...io import WORKPLACE, VolumeWriter, write_volume, write_whole
from ...io._whole import is_left_behind, read_json, refusals_of, write_text
from ...io._write import is_own

if TYPE_CHECKING:
    from ._session import Session

FORMAT = "napari-recurrent-mz/session/1"
ENDING = ".rmz"
ZIP_ENDING = ".rmz.zip"
INDEX = "session.json"
SCANS = "scans"
T = TypeVar("T")
_SHORT = 12  # digits of a digest in a name


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A session at one moment."""

    values: dict[str, Any]  # of Session.as_dict
    scans: tuple[Scan, ...]
    volume: FloatArray | None = None  # (Z, Y, X), if it contains all the scans

    @classmethod
    def of(cls, session: Session, *, volume: bool) -> Snapshot:
        """Take it, with a copy of the volume or without."""
        while True:
            with session._lock:
                values, scans, generation = session.as_dict(), session.scans, session._generation
                pixels = session.volume if volume and values["complete"] else None
            if pixels is None:
                return cls(values, scans)
            copied = pixels.copy()  # outside of the lock: this takes a while
            with session._lock:
                if session._generation == generation:
                    return cls(values, scans, copied)


def finished_volume(session: Session) -> FloatArray:
    """A copy of a session's volume, from any thread.

    Raises
    ------
    InputError
        If it does not contain all the scans.
    """
    volume = Snapshot.of(session, volume=True).volume
    if volume is None:
        raise InputError("The volume does not contain all scans yet: save it once it is refined.")
    return volume


class WriteProgress:
    """Counts the scans and planes that are written, for whoever listens."""

    def __init__(self, total: int) -> None:
        self._done, self._total = 0, total

    def next(self) -> None:
        """Another piece begins; raises what the listener raises."""
        tell("saving", self._done, self._total)
        self._done += 1

    def each(self, things: Iterable[T]) -> Iterator[T]:
        """Give these, each of which is a piece."""
        for thing in things:
            self.next()
            yield thing


class SessionFolder:
    """One session in one folder, made when it is needed and written as often as it changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began = _now()
        self._number = 0
        self._digests: weakref.WeakKeyDictionary[Scan, str] = weakref.WeakKeyDictionary()

    def write(self, snapshot: Snapshot, pieces: WriteProgress | None = None) -> None:
        """Write what is not there yet, then the index, and remove what it does not list."""
        pieces = pieces or WriteProgress(write_steps(snapshot))
        self._number += 1
        (self.path / SCANS).mkdir(parents=True, exist_ok=True)
        scans = [self._scan(n, snapshot) for n in pieces.each(range(len(snapshot.scans)))]
        index = {
            "format": FORMAT,
            "versions": _versions(),
            "began": self._began,
            "saved": _now(),
            "number": self._number,
            "session": {**snapshot.values, "scans": scans},
            "volume": self._volume(snapshot, pieces),
        }
        text = json.dumps(index, indent=1, ensure_ascii=False) + "\n"
        write_text(self.path / INDEX, text, durable=True)
        self._tidy(index)

    def _scan(self, place: int, snapshot: Snapshot) -> dict[str, Any]:
        """Write one scan, if need be, and say what the index says of it."""
        scan, line = snapshot.scans[place], snapshot.values["scans"][place]
        if scan not in self._digests:
            self._digests[scan] = scan_digest(scan)
        digest = self._digests[scan]
        name = f"z{scan.z_um:.6g}um-{digest[:_SHORT]}.ome.tif"
        entry = {**line, "file": name, "sha256": digest}
        path = self.path / SCANS / name
        if not path.exists():
            optics = snapshot.values["settings"]["optics"]
            session = {**snapshot.values, "scans": [], "history": [], "news": []}
            record = {
                "optics": optics,
                "format": FORMAT,
                "scan": {**entry, "place": place},
                "number": self._number,
                "session": session,
            }
            about = [scan.z_um], optics["pixel_um"], record
            place_um = scan.place_um
            write_volume(path, scan.pixels[None], *about, durable=True, origin_um=place_um)
        return entry

    def _volume(self, snapshot: Snapshot, pieces: WriteProgress) -> dict[str, str] | None:
        """Write the volume, if there is one and it is not there yet."""
        if snapshot.volume is None:
            return None
        digest = digest_of(pieces.each(snapshot.volume))
        name = f"volume-{digest[:_SHORT]}.ome.zarr"
        if not (self.path / name).exists():
            self._write_volume(name, snapshot.volume, snapshot, pieces)
        return {"file": name, "sha256": digest}

    def _write_volume(
        self, name: str, volume: FloatArray, snapshot: Snapshot, pieces: WriteProgress
    ) -> None:
        """Write it plane by plane, so that whoever listens can end it."""
        settings = snapshot.values["settings"]
        grid, optics = settings["grid"], settings["optics"]
        z_um = grid["start_um"] + grid["step_um"] * np.arange(len(volume))
        record = {
            "optics": optics,
            "method": settings["method"],
            "model": settings["model"],
            "model_sha256": snapshot.values["model_sha256"],
            "scans": snapshot.values["scans"],
        }
        z, y, x = volume.shape
        about, place_um = (z_um, optics["pixel_um"]), snapshot.scans[0].place_um
        with VolumeWriter(self.path / name, (z, y, x), *about, origin_um=place_um) as writer:
            for index, plane in enumerate(pieces.each(volume)):
                writer[index] = plane
            writer.finish(record, durable=True)

    def remove_unlisted(self, was_empty: bool) -> None:
        """Remove what a write that was ended has left; all of it if the folder ``was_empty``."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            self._tidy(read_json(self.path / INDEX))
            return
        if was_empty:
            _remove_quietly(self.path)

    def _tidy(self, index: Mapping[str, Any]) -> None:
        """Let go what the index does not list, as far as the disk lets us."""
        listed = {scan["file"] for scan in index["session"]["scans"]}
        listed |= {index["volume"]["file"]} if index["volume"] else set()
        for pattern in (f"{SCANS}/*.ome.tif", "volume-*.ome.zarr"):
            for path in list(self.path.glob(pattern)):
                if path.name not in listed:
                    _remove_quietly(path)
        for workplace in list(self.path.glob(f"**/{WORKPLACE}*")):
            if is_left_behind(workplace):
                _remove_quietly(workplace)


def save(session: Session, path: str | os.PathLike[str]) -> Path:
    """Write a session: its scans, settings and history, and the volume once it is finished.

    :func:`load` gives it back. A session that is there already is replaced; whenever the
    process ends, either the old one or the new one is whole. Who
    :func:`~.listening` is told of every scan and plane, and may end it
    by raising something: then all is as it was before.

    Parameters
    ----------
    session : Session
        It may be refined meanwhile: what is written is how it was when this was called.
    path : path
        Ends in ``.rmz`` (a folder) or ``.rmz.zip`` (one file, nothing in it compressed again).

    Raises
    ------
    InputError
        If the ending is another, something else is there, or the disk refuses.
    """
    path = check_session_path(path)
    snapshot = Snapshot.of(session, volume=True)
    with refusals_of(path):
        if path.name.endswith(ZIP_ENDING):
            write_whole(path, lambda part: _write_zip(part, snapshot), durable=True)
        else:
            _write_folder(path, snapshot)
    return path


def check_session_path(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` if a session can be written there without replacing anything else."""
    path = Path(path)
    if not path.name.endswith((ENDING, ZIP_ENDING)):
        raise InputError(
            f"'{path.name}' does not say how to keep the session: end it in {ENDING} (a folder) "
            f"or {ZIP_ENDING} (one file)."
        )
    if not path.parent.is_dir():
        raise InputError(f"The folder '{path.parent}' for the session does not exist: make it.")
    is_zip = path.name.endswith(ZIP_ENDING)
    is_ours = _is_zipped_session(path) if is_zip else is_session(path)
    if path.exists() and not is_ours:
        raise InputError(f"'{path.name}' is there and is no session: choose another name.")
    return path


def is_session(folder: Path) -> bool:
    """Whether a folder holds a session, or nothing yet."""
    if not folder.is_dir():
        return False
    if (folder / INDEX).is_file() or not any(folder.iterdir()):
        return True
    scans = folder / SCANS  # of one that was never finished
    return scans.is_dir() and all(is_own(path) for path in scans.glob("*.tif*"))


def _is_zipped_session(path: Path) -> bool:
    """Whether a file holds a session, or nothing."""
    with contextlib.suppress(OSError, zipfile.BadZipFile):
        if path.is_file() and path.stat().st_size:
            with zipfile.ZipFile(path) as archive:
                return INDEX in archive.namelist()
        return path.is_file()
    return False


def scan_digest(scan: Scan) -> str:
    """SHA-256 of a scan's pixels, height and name."""
    return digest_of([scan.pixels], f"{scan.z_um!r} {scan.name}")


def digest_of(planes: Iterable[FloatArray], more: str = "") -> str:
    """SHA-256 of little-endian float32 planes and of a text."""
    digest = hashlib.sha256()
    for plane in planes:
        digest.update(np.ascontiguousarray(plane, "<f4").data)
    digest.update(more.encode())
    return digest.hexdigest()


def write_steps(snapshot: Snapshot, *, copies: int = 0) -> int:
    """How many pieces it takes to write a session, and so many copies of its planes."""
    planes = 0 if snapshot.volume is None else len(snapshot.volume)
    return len(snapshot.scans) + (2 + copies) * planes


def _write_folder(path: Path, snapshot: Snapshot) -> None:
    was_empty = not path.exists() or not any(path.iterdir())
    folder = SessionFolder(path)
    try:
        folder.write(snapshot)
    except BaseException:
        folder.remove_unlisted(was_empty)
        raise


def _write_zip(path: Path, snapshot: Snapshot) -> None:
    """The folder first, beside the file, then all of it into the file."""
    folder, pieces = path.with_suffix(""), WriteProgress(write_steps(snapshot, copies=1))
    SessionFolder(folder).write(snapshot, pieces)
    files = sorted(inside for inside in folder.rglob("*") if inside.is_file())
    planes = 0 if snapshot.volume is None else len(snapshot.volume)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number, inside in enumerate(files):
            if number * planes // len(files) > (number - 1) * planes // len(files):
                pieces.next()  # as often as there are planes
            archive.write(inside, inside.relative_to(folder).as_posix())


def _remove_quietly(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    """Versions of the software that made the session."""
    from ... import __version__

    versions = {"napari-recurrent-mz": __version__, "python": platform.python_version()}
    return versions | {name: version(name) for name in ("numpy", "torch", "tifffile", "zarr")}
