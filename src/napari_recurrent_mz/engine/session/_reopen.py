"""A session from disk: everything that is whole, and one sentence on each thing that is not."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.device import choose_device
from ...core.scans import SAME_HEIGHT_UM, FloatArray, InputError, Scan
from ...io import read_image
from ...io._image_file import check_is_file
from ...io._whole import read_json
from ...io._zarr import is_zarr
from ...networks.weights import Model
from ._history import HistoryEntry
from ._session import Session
from ._settings import SessionSettings, scale_from_dict, session_model
from ._store import FORMAT, INDEX, SCANS, digest_of, scan_digest

Tell = Callable[[str, str], object]

_LINEAR = {"recurrent-mz": "lmmse", "recurrent-mz-plus": "lmmse-plus"}
_REOPENED = "reopened"


def load(
    path: str | os.PathLike[str],
    *,
    model: Model | str | Path | None = None,
    on_message: Tell | None = None,
) -> Session:
    """Open a session that :func:`save` or an :class:`Autosave` has written.

    Whatever is whole is opened. Scans that were written when the process ended are opened too.
    Without the volume, :meth:`Session.refine` makes it again. Nothing in the folder changes, and
    nothing in it is run.

    Parameters
    ----------
    path : path
        A folder ``.rmz``, a file ``.rmz.zip``, or the ``session.json`` of a folder.
    model : Model, str or Path, optional
        The network's weights, where those that the session names have moved.
    on_message : callable, optional
        Given a sentence and its kind (hint or warning) on what is not as it was: files that are
        damaged, weights that are not there. By default these are Python warnings.

    Returns
    -------
    Session
        Scans and settings bit for bit as they were, the same history, the same volume.

    Raises
    ------
    InputError
        If there is no session, nothing of it is whole, or a newer version wrote it.
    """
    tell = _warn if on_message is None else on_message
    saved = read_session(path, on_message=tell)
    scans, volume, news = saved.scans, saved.volume, saved.values["news"]
    values = {**saved.values, "scans": list(saved.lines)}
    values, chosen, is_same_model = _with_model(values, model, tell)
    values = _with_device(values, tell)
    if scans and not (saved.is_same and is_same_model):
        last = scans[-1]
        news = news or [[_REOPENED, last.z_um, last.name]]
        values, volume = {**values, "complete": False, "news": news}, None
    return Session.from_dict(values, [scan.pixels for scan in scans], volume, model=chosen)


@dataclass(frozen=True, eq=False)
class SavedSession:
    """The readable part of a session on the disk."""

    values: dict[str, Any]  #: what :meth:`Session.as_dict` gives
    lines: tuple[dict[str, Any], ...]  #: what the index says of each scan
    scans: tuple[Scan, ...]
    volume: FloatArray | None  #: (Z, Y, X), if it contains all the scans
    is_same: bool  #: whether all scans are there that were written

    @property
    def settings(self) -> SessionSettings:
        """Grid, optics and method."""
        return SessionSettings.from_dict(self.values["settings"])


def read_session(path: str | os.PathLike[str], *, on_message: Tell | None = None) -> SavedSession:
    """Read what is whole of a session, without what it needs to go on.

    Parameters
    ----------
    path, on_message
        As in :func:`load`.

    Raises
    ------
    InputError
        As :func:`load`.
    """
    tell = _warn if on_message is None else on_message
    path = Path(path)
    if path.name == INDEX:
        path = path.parent
    with _folder_of(path, tell) as folder:
        index = _read_index(folder, path.name, tell)
        read = _read_scans(folder, index, tell)
        is_same = len(read) == len(index["session"]["scans"])
        is_whole = is_same and index["session"]["complete"]
        volume = _read_volume(folder, index, tell) if is_whole else None
    lines, scans = (tuple(line for line, _ in read), tuple(scan for _, scan in read))
    return SavedSession(index["session"], lines, scans, volume, is_same)


def _warn(sentence: str, _kind: str) -> None:
    warnings.warn(sentence, stacklevel=3)


@contextlib.contextmanager
def _folder_of(path: Path, tell: Tell) -> Iterator[Path]:
    """The folder of a session; that of a file is temporary."""
    if not path.exists():
        raise InputError(f"'{path}' does not exist: check the name and the folder.")
    if path.is_dir():
        yield path
        return
    folder = Path(tempfile.mkdtemp(prefix="recurrent-mz-"))
    try:
        _unpack(path, folder, tell)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
"""What ``zipfile`` raises: of other versions and encrypted ones, too, and of names not in UTF-8."""

_MOST_PACKED = 100
"""Bytes for a byte in a ZIP file: ours packs nothing, and no scan packs so well."""


def _unpack(path: Path, folder: Path, tell: Tell) -> None:
    """Take everything that is whole out of a ZIP file."""
    check_is_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename
                try:
                    if member.file_size > _MOST_PACKED * (member.compress_size + 1000):
                        raise zipfile.BadZipFile(name)
                    archive.extract(member, folder)
                except _DAMAGED:
                    with contextlib.suppress(OSError):
                        (folder / name).unlink()
                    tell(f"'{name}' in '{path.name}' is damaged and is left out.", "warning")
    except _DAMAGED as error:
        raise InputError(
            f"'{path.name}' is no session, or is cut short ({path.stat().st_size:,} bytes): "
            "give a folder .rmz or a file .rmz.zip, or copy it again."
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"'{path.name}' could not be read: {reason}.") from error


def _read_index(folder: Path, name: str, tell: Tell) -> dict[str, Any]:
    """Content of ``session.json``, and scans that it does not list."""
    try:
        index: dict[str, Any] = read_json(folder / INDEX)
        _check_format(index, name)
        _check_values(index["session"])
        number, lines = int(index["number"]), index["session"]["scans"]
        listed = {str(line["file"]) for line in lines}
        if index["volume"] is not None:
            str(index["volume"]["file"]), str(index["volume"]["sha256"])
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _index_of_scans(_unlisted(folder, set()), name, tell)
    for orphan in _unlisted(folder, listed):
        if orphan.number > number:  # else it was removed
            _take_in(orphan.line, index["session"])
    return index


def _check_format(index: Mapping[str, Any], name: str) -> None:
    kind, _, version = str(index["format"]).rpartition("/")
    if kind != FORMAT.rpartition("/")[0]:
        raise ValueError(kind)
    if version != FORMAT.rpartition("/")[2]:
        raise InputError(
            f"'{name}' was written by a newer version of napari-recurrent-mz "
            f"({index['versions']['napari-recurrent-mz']}): update, then open it."
        )


def _check_values(values: Mapping[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError unless a session can be made from these."""
    settings = SessionSettings.from_dict(values["settings"])
    scale_from_dict(values["scale"])
    for entry in values["history"]:
        HistoryEntry.from_dict(entry)
    for line in values["scans"]:
        float(line["z_um"]), int(line["images"]), str(line["file"]), str(line["sha256"])
        dict(line.get("acquired", {}))
    for event, z_um, name in values["news"]:
        str(event), float(z_um), str(name)
    if settings.method not in (*_LINEAR, *_LINEAR.values()):
        raise ValueError(settings.method)
    bool(values["complete"])
    if not isinstance(values["model_sha256"], str | None):
        raise TypeError(values["model_sha256"])


@dataclass(frozen=True, eq=False)
class _Orphan:
    """Record in the file of a scan: its place, and when it was written."""

    line: dict[str, Any]
    place: int
    number: int
    session: dict[str, Any]


def _unlisted(folder: Path, listed: set[str]) -> list[_Orphan]:
    """The other files of scans that say what they are, in the order in which they came."""
    unlisted = []
    for path in (folder / SCANS).glob("*.ome.tif"):
        if path.name in listed:
            continue
        with contextlib.suppress(InputError, KeyError, TypeError, ValueError, OSError):
            record = read_image(path).provenance
            line = {**record["scan"], "file": path.name}
            place = int(line.pop("place"))
            session = dict(record["session"])
            _check_values({**session, "scans": [line]})
            unlisted.append(_Orphan(line, place, int(record["number"]), session))
    return sorted(unlisted, key=lambda orphan: (orphan.number, orphan.place))


def _take_in(line: dict[str, Any], session: dict[str, Any]) -> None:
    """List a scan that was written just before the process ended."""
    lines = session["scans"]
    apart = [abs(float(line["z_um"]) - float(other["z_um"])) for other in lines]
    if apart and min(apart) < SAME_HEIGHT_UM:
        lines[apart.index(min(apart))] = line
        event = "averaged" if int(line["images"]) > 1 else "replaced"
    else:
        lines.append(line)
        event = "added"
    session["complete"] = False
    session["news"].append([event, line["z_um"], line["name"]])


def _index_of_scans(orphans: list[_Orphan], name: str, tell: Tell) -> dict[str, Any]:
    """An index from what the scans say of themselves."""
    if not orphans:
        raise InputError(
            f"'{name}' holds no session that can be opened: its {INDEX} is missing or damaged, "
            "and there is no scan beside it."
        )
    nothing: dict[str, Any] = {"scans": [], "history": [], "news": [], "complete": False}
    session = orphans[-1].session | nothing
    for orphan in orphans:
        _take_in(orphan.line, session)
    tell(
        f"'{INDEX}' of '{name}' is missing or damaged: the history and the order of the scans are "
        f"lost; {_count(len(session['scans']))} opened with the settings in their files.",
        "warning",
    )
    return {"session": session, "volume": None}


def _read_scans(
    folder: Path, index: Mapping[str, Any], tell: Tell
) -> list[tuple[dict[str, Any], Scan]]:
    """Every scan that is whole, with its line in the index."""
    lines, scans, lost = index["session"]["scans"], [], []
    for line in lines:
        path = folder / SCANS / Path(str(line["file"])).name
        scan = _read_scan(path, line)
        if scan is None:
            lost.append((path, line))
        else:
            scans.append((scan.as_dict() | {"images": line["images"]}, scan))
    for path, line in lost:
        what = "is damaged" if path.exists() else "is missing"
        called = f"the scan '{line['name']}'" if line["name"] else "the scan"
        tell(
            f"'{path.name}' {what}: {called} at z = {float(line['z_um']):.4g} µm is lost; "
            f"{_count(len(scans))} opened.",
            "warning",
        )
    if lines and not scans:
        raise InputError(f"None of the {len(lines)} scans of the session can be read.")
    return scans


def _read_scan(path: Path, line: Mapping[str, Any]) -> Scan | None:
    """A scan, unless its file is not what was written."""
    try:
        pixels, taken = read_image(path).stack[0], line.get("acquired", {})
        scan = Scan(pixels, float(line["z_um"]), str(line["name"]), taken)
    except (InputError, OSError, ValueError):
        return None
    return scan if scan_digest(scan) == line["sha256"] else None


def _read_volume(folder: Path, index: Mapping[str, Any], tell: Tell) -> FloatArray | None:
    """The volume, unless it is not what was written."""
    entry = index["volume"]
    if entry is None:
        return None
    path = folder / Path(str(entry["file"])).name
    try:
        pixels: FloatArray | None = read_image(path).stack if is_zarr(path) else None
        if pixels is not None and digest_of(pixels) == entry["sha256"]:
            return pixels
    except (InputError, OSError, ValueError):
        pass
    what = "is damaged" if path.exists() else "is missing"
    tell(f"'{path.name}' {what}: the volume is made again from the scans.", "warning")
    return None


def _with_model(
    values: dict[str, Any], given: Model | str | Path | None, tell: Tell
) -> tuple[dict[str, Any], Model | None, bool]:
    """The session's values, its model if one was given, and whether it is the same one."""
    settings, sha256 = values["settings"], values["model_sha256"]
    if sha256 is None:
        return values, None, True
    if given is not None:
        model = session_model(settings["method"], given)
        assert model is not None  # the method has a network
        return values, model, model.sha256 == sha256
    name, model = settings["model"], None
    with contextlib.suppress(InputError, OSError):
        model = session_model(settings["method"], name)
    if model is not None and model.sha256 == sha256:
        return values, None, True
    why = "are not on this computer" if model is None else "are no longer what they were"
    tell(
        f"The weights '{name}' of this session {why} (SHA-256 {sha256[:12]}): its "
        f"{_count(len(values['scans']))} opened with the linear estimate instead of the network.",
        "warning",
    )
    linear = {**settings, "method": _LINEAR[settings["method"]], "model": None}
    return {**values, "settings": linear, "model_sha256": None}, None, False


def _with_device(values: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """The session's values, with a device that this computer has."""
    settings = values["settings"]
    try:
        choose_device(settings["device"])
    except InputError as error:
        tell(f"{error} The session goes on with auto.", "hint")
        return {**values, "settings": {**settings, "device": "auto"}}
    return values


def _count(scans: int) -> str:
    return "1 scan is" if scans == 1 else f"{scans} scans are"
