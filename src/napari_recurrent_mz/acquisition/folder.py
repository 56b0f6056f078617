"""A folder that acquisition software writes to: its new images become scans once complete.

These are TIFFs and OME-Zarr images, of one plane or of a stack. Of a stack that grows, the planes
come as they are written.

The folder is looked at again and again, in place of waiting for the system's change notices: those
do not cross a network drive, where most microscopes write, and none of them says that a file is
finished. A file is taken once its size and time of change have stood still for a while *and* it can
be read to its end.

An OME-Zarr is a folder of many files. A look asks for the times of its folders, which change with
every file that is made or renamed in them, as Zarr writers do, and for the files of those that have
changed. All files are asked for now and then, and before and after they are read, for writers that
change them in place.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ..core.scans import InputError, Scan, scan_facts
from ..io import ImageFile, read_image, z_from_name
from ..io._axes import SEVERAL
from ..io._scans import check_measured
from .pattern import NamePattern

_ENDINGS = (".tif", ".tiff", ".zarr")

SETTLE_S = 1.0
"""How long a file must stand still before it is read, in seconds."""

GIVE_UP_S = 10.0
"""How long a file that cannot be read may stand still before this is said, in seconds."""

WALK_S = 5.0
"""How often all files of an OME-Zarr are asked for their times, in seconds."""


@dataclass(frozen=True, eq=False)
class NewScan:
    """A file that is complete, or a plane of a stack, as a scan."""

    scan: Scan  #: its name is that of the file, of a stack with the number of the plane
    path: Path
    image: ImageFile  #: what the file says beside it, the pixel size for instance
    again: bool = False  #: whether it came before and has been written anew


@dataclass(frozen=True)
class LeftAlone:
    """An image that is no scan, said once: it stays where it is, and is not asked about again."""

    path: Path
    sentence: str


@dataclass(frozen=True)
class FolderGone:
    """The folder cannot be read now; watching goes on."""

    sentence: str


@dataclass(frozen=True)
class FolderBack:
    """The folder can be read again; nothing that was known is forgotten."""

    sentence: str


FolderEvent = NewScan | LeftAlone | FolderGone | FolderBack

_Signature = tuple[int, int]  # size and time of change


@dataclass
class _File:
    """State of one file."""

    signature: _Signature
    since: float  # it has had this signature, by the clock of the watch
    next_try: float  # when it should be read; never, once it is done with
    taken: dict[int, bytes] = field(default_factory=dict)  # digest of the scan of each plane
    complaint: str = ""  # the last sentence about it


class _Folder(NamedTuple):
    """A folder of an OME-Zarr, as it was listed."""

    time: int  # of its change, before it was listed
    folders: list[Path]  # in it
    size: int  # of the files in it
    newest: int  # time of change of the newest of them

    @classmethod
    def of(cls, path: Path, time: int) -> _Folder:
        """List a folder."""
        states = {inside: inside.stat() for inside in path.iterdir()}
        folders = [p for p, s in states.items() if stat.S_ISDIR(s.st_mode) and not p.is_symlink()]
        files = [s for s in states.values() if not stat.S_ISDIR(s.st_mode)]
        newest = max((s.st_mtime_ns for s in files), default=0)
        return cls(time, folders, sum(s.st_size for s in files), newest)


@dataclass
class _Zarr:
    """The folders of an OME-Zarr."""

    known: dict[Path, _Folder] = field(default_factory=dict)
    next_walk: float = 0.0  # when all files should be asked for, by the clock of the watch

    def signature(self, path: Path, now: float, every_file: bool) -> _Signature:
        """Ask for the times of all folders, and for the files of those that have changed."""
        if every_file or now >= self.next_walk:
            self.known, self.next_walk = {}, now + WALK_S
        before, self.known = self.known, {}
        ahead = [path]
        while ahead:
            folder = ahead.pop()
            listing, time = before.get(folder), folder.stat().st_mtime_ns
            if listing is None or listing.time != time:
                listing = _Folder.of(folder, time)
            self.known[folder] = listing
            ahead += listing.folders
        folders = self.known.values()
        return sum(f.size for f in folders), max(max(f.time, f.newest) for f in folders)


class FolderWatch:
    """A folder's images and what became of each.

    :func:`watch_folder` runs it; whoever has a timer of their own calls :meth:`poll`.

    Parameters
    ----------
    folder : path
        Its own files only, not those of folders inside. Hidden files are passed over.
    pattern : NamePattern or str, optional
        Which files are scans, and where the height stands in their names. Without it every
        image is one, and the height comes from metadata or from names such as
        ``scan_z3.5um.tif``. The heights in a stack always come from its metadata.
    existing : bool, optional
        Whether the files that are there already are scans too; if not, they become so when
        they are written anew.
    settle_s, give_up_s : float, optional
        See :data:`SETTLE_S` and :data:`GIVE_UP_S`.
    clock : callable, optional
        Seconds that only run forward. The folder's own times are compared with themselves
        alone: the clock of a file server may be wrong.

    Raises
    ------
    InputError
        If the folder does not exist or cannot be read, or the pattern makes no sense.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        pattern: NamePattern | str | None = None,
        existing: bool = True,
        settle_s: float = SETTLE_S,
        give_up_s: float = GIVE_UP_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = Path(folder)
        self.pattern = NamePattern(pattern) if isinstance(pattern, str) else pattern
        self._settle_s, self._give_up_s, self._clock = settle_s, give_up_s, clock
        self._files: dict[str, _File] = {}
        self._zarrs: defaultdict[str, _Zarr] = defaultdict(_Zarr)
        self._gone = self._said_unfit = False
        if not self.folder.is_dir():
            raise InputError(
                f"The folder '{folder}' to watch does not exist: make it, or choose another one."
            )
        try:
            present = self._listing()
        except OSError as error:
            raise InputError(
                f"The folder '{folder}' cannot be read ({error.strerror or error}): choose another "
                "one, or ask for the permission."
            ) from error
        if not existing:
            self._files = {
                name: _File(signature, clock(), math.inf) for name, signature in present.items()
            }

    def poll(self) -> Iterator[FolderEvent]:
        """Look once, and yield what is new, the files in the order they were written."""
        try:
            listing = self._listing()
        except OSError as error:
            if not self._gone:
                self._gone = True
                yield FolderGone(
                    f"The folder '{self.folder}' cannot be read ({error.strerror or error}): "
                    "watching goes on, and new scans appear once it is back."
                )
            return
        if self._gone:
            self._gone = False
            yield FolderBack(f"The folder '{self.folder}' is back.")
        for name in self._zarrs.keys() - listing.keys():
            del self._zarrs[name]
        for name, signature in sorted(listing.items(), key=lambda item: (item[1][1], item[0])):
            if self._is_due(name, signature):
                yield from self._read(name)

    def _listing(self) -> dict[str, _Signature]:
        """Signature of every image."""
        with os.scandir(self.folder) as entries:
            names = [e.name for e in entries if e.name.lower().endswith(_ENDINGS)]
        # The entry's own stat is from the folder, and stale for an open file on Windows.
        signatures = {n: self._signature(n) for n in names if not n.startswith(".")}
        return {name: signature for name, signature in signatures.items() if signature is not None}

    def _signature(self, name: str, *, every_file: bool = False) -> _Signature | None:
        path = self.folder / name
        try:
            state = path.stat()
            if stat.S_ISDIR(state.st_mode):
                return self._zarrs[name].signature(path, self._clock(), every_file)
        except OSError:  # gone between two looks, or not ours to see
            return None
        return state.st_size, state.st_mtime_ns

    def _is_due(self, name: str, signature: _Signature) -> bool:
        """Keep the record of a file; whether it should be read now."""
        now = self._clock()
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = _File(signature, now, now + self._settle_s)
        elif file.signature != signature:
            file.signature, file.since, file.next_try = signature, now, now + self._settle_s
        return now >= file.next_try

    def _read(self, name: str) -> Iterator[FolderEvent]:
        file, path = self._files[name], self.folder / name
        began = self._clock()
        if self.pattern is not None and not self.pattern.matches(name):
            file.next_try = math.inf
            if not self._said_unfit:  # once is enough: the others may be other channels
                self._said_unfit = True
                yield LeftAlone(
                    path,
                    f"'{name}' does not fit the pattern '{self.pattern.text}': it is left alone, "
                    "as are all others that do not.",
                )
            return
        if self._signature(name, every_file=True) != file.signature:
            return  # written in place
        image: ImageFile | None = None
        scans: dict[int, Scan] = {}
        failure: Exception | None = None
        try:
            image = read_image(path)
            scans, failure = _scans_of(image, self._heights(image))
        except Exception as error:  # a file that is half there can fail in any way
            failure = error
        if self._signature(name, every_file=True) != file.signature:
            return  # gone, or written to while it was read: the next look begins again
        still_s = began - file.since
        is_whole = image is not None and not (failure and image.n_planes > 1)
        if not is_whole and still_s < self._give_up_s:  # not finished yet, or never will be
            # It is tried again, ever more seldom.
            file.next_try = began + min(still_s, max(self._give_up_s - still_s, self._settle_s))
        else:
            file.next_try = math.inf
            sentence = _sentence(name, failure)
            if sentence and file.complaint != sentence:
                yield LeftAlone(path, sentence)
            file.complaint = sentence
        if image is not None and failure is not None:
            image = replace(image, remarks=())  # the chunks that a stack lacks while it grows
        for plane, scan in scans.items():
            assert image is not None
            digest, before = _digest(scan), file.taken.get(plane)
            file.taken[plane] = digest
            if digest != before:
                yield NewScan(scan, path, image, again=before is not None)

    def _heights(self, image: ImageFile) -> Sequence[float]:
        """The height of every plane, in micrometres."""
        check_measured(image)
        if image.n_planes > 1:
            if image.z_um is None:
                raise InputError(
                    f"'{image.name}' is a stack of {image.n_planes} planes whose heights are not "
                    "in its metadata: save it with its z step, or each height in its own file."
                )
            return [float(z_um) for z_um in image.z_um]
        if self.pattern is not None and self.pattern.has_height:
            z_um = self.pattern.height_um(image.name)
        else:
            z_um = z_from_name(image.name) if image.z_um is None else float(image.z_um[0])
        if z_um is None:
            raise InputError(
                f"The height of '{image.name}' is neither in its metadata nor in its name: write "
                "a pattern that finds it, for instance *_z{z}um*.tif."
            )
        return [z_um]


def _scans_of(
    image: ImageFile, heights_um: Sequence[float]
) -> tuple[dict[int, Scan], InputError | None]:
    """Scans of the planes of a file that can be scans, and why another one cannot."""
    scans, failure = {}, None
    for plane, z_um in enumerate(heights_um):
        name = image.name if image.n_planes == 1 else f"{image.name} plane {plane}"
        try:
            scans[plane] = Scan(image.stack[plane], z_um, name, scan_facts(vars(image)))
        except InputError as error:  # of a stack that grows, a plane that is still empty
            failure = failure or error
    return scans, failure


def _sentence(name: str, failure: Exception | None) -> str:
    """What is wrong with a file; empty when nothing is."""
    if getattr(failure, "kind", "") == SEVERAL:
        return (
            f"'{name}' holds several channels, time points or positions: let each be written to a "
            "file of its own."
        )
    if failure is None or isinstance(failure, InputError):
        return str(failure or "")
    return f"'{name}' cannot be read ({type(failure).__name__}): save it again as TIFF."


def _digest(scan: Scan) -> bytes:
    """Digest of the pixels and the height, whatever else changed in the file."""
    digest = hashlib.blake2b(scan.pixels.tobytes(), digest_size=16)
    digest.update(repr((scan.pixels.shape, scan.z_um)).encode())
    return digest.digest()


def watch_folder(
    folder: str | os.PathLike[str],
    *,
    stop: threading.Event | None = None,
    pattern: NamePattern | str | None = None,
    existing: bool = True,
    interval_s: float = 0.5,
    settle_s: float = SETTLE_S,
    give_up_s: float = GIVE_UP_S,
) -> Iterator[FolderEvent]:
    """Yield a folder's scans as they are finished, until told to stop.

    What is wrong with the arguments is raised at once; what is there is noted at once too,
    however late the first event is asked for.

    Parameters
    ----------
    folder, pattern, existing, settle_s, give_up_s
        As in :class:`FolderWatch`.
    stop : threading.Event, optional
        Ends the watch, within an interval. Without it the watch never ends.
    interval_s : float, optional
        Time between two looks, in seconds.

    Yields
    ------
    FolderEvent
        A :class:`NewScan` for every scan; a :class:`LeftAlone` for an image that is none; a
        :class:`FolderGone` and a :class:`FolderBack` when the folder disappears and returns.

    Raises
    ------
    InputError
        As :class:`FolderWatch`.
    """
    watch = FolderWatch(
        folder, pattern=pattern, existing=existing, settle_s=settle_s, give_up_s=give_up_s
    )
    stop = stop or threading.Event()

    def events() -> Iterator[FolderEvent]:
        while not stop.is_set():
            for event in watch.poll():
                yield event
                if stop.is_set():
                    return
            stop.wait(interval_s)

    return events()
