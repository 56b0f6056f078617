"""An automatic run: scan, refine, and go where the next scan helps most, until it no longer pays.

The stage never leaves the limits that the user set. However a run ends, also when it is aborted
or its generator is closed, the stage is brought to rest: back at the height where it stood, or
where it is. A stage that does not answer is told to stop, and not moved again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..core.scans import InputError, Scan, counted, same_height
from .microscope import Microscope, MicroscopeError, StageError, check_height, check_start, standing

MAX_SCANS = 10
"""How many scans a run takes at most."""

AFTERWARDS = ("return", "stay")
"""Where the stage is left: at the height where it stood, or where it is."""


class LiveSession(Protocol):
    """What a run needs of a :class:`~.Session`."""

    @property
    def scans(self) -> Sequence[Scan]:
        """The scans there are."""

    def add_scan(
        self, scan: Scan, *, pixel_um: float | None, accept_doubtful: bool, refine: bool
    ) -> Any:
        """Take one more scan, without refining."""

    def refine(
        self, *, order: Sequence[int] | None, stopped: Callable[[], bool] | None
    ) -> Iterator[Any]:
        """Bring the volume up to the scans, a plane at a time."""

    def verdict(self, epsilon: float | None) -> Any:
        """Whether another scan pays: ``stop`` and a ``sentence``."""

    def suggest_z(self) -> float:
        """The height where another scan should help most, in micrometres."""


@dataclass(frozen=True)
class Moved:
    """The stage is at the height of the next scan."""

    z_um: float  #: as it is read, in micrometres
    number: int  #: of the scan in this run, from 1


@dataclass(frozen=True, eq=False)
class Scanned:
    """A scan was taken, and the session has it."""

    scan: Scan
    number: int


@dataclass(frozen=True, eq=False)
class PlaneRefined:
    """A plane of the volume is as the session's ``update`` says."""

    update: Any
    number: int


@dataclass(frozen=True)
class Refined:
    """The volume contains the scan; what the session says of another one."""

    number: int
    sentence: str


@dataclass(frozen=True)
class Ended:
    """The last event of every run."""

    #: ``converged`` (another scan no longer pays), ``maximum`` (as many scans as were allowed),
    #: ``exhausted`` (the best height has been scanned), ``limits`` (the best height is outside the
    #: limits), ``aborted`` or ``failed``
    reason: str
    sentence: str  #: the reason for a person
    stage: str  #: a sentence that says where the stage is
    scans: int  #: how many the run took


Event = Moved | Scanned | PlaneRefined | Refined | Ended


def acquire(
    session: LiveSession,
    microscope: Microscope,
    *,
    first_um: Sequence[float] = (),
    epsilon: float | None = None,
    max_scans: int = MAX_SCANS,
    afterwards: str = "return",
    accept_doubtful: bool = False,
    order: Callable[[], Sequence[int]] | None = None,
    abort: threading.Event | None = None,
    output: Any = None,
) -> Iterator[Event]:
    """Scan and refine until the volume no longer changes.

    It is one acquisition of the microscope: of pymmcore-plus, each of whose events is made when
    the session has taken the frame before.

    Parameters
    ----------
    session : LiveSession
        May have scans already.
    microscope : Microscope
    first_um : sequence of float, optional
        Heights to begin with, in micrometres, before the session is asked for one.
    epsilon : float, optional
        Relative change at or below which to stop; by default the session's.
    max_scans : int, optional
        Most scans that this run takes, at least 1.
    afterwards : {"return", "stay"}, optional
        Where the stage is left, also after an abort: at the height where it stood when the run
        began, or where it is then.
    accept_doubtful : bool, optional
        Go on with frames that are saturated or hold nothing but noise. By default they end the
        run: the lamp may be off, and every further exposure would be lost.
    order : callable, optional
        Gives the planes wanted first, such as those in view, whenever a scan has come.
    abort : threading.Event, optional
        Ends the run: at once on the way and between planes, after an exposure that has begun.
        The scans taken so far stay in the session. So does whoever cancels the acquisition,
        with ``core.mda.cancel()``.
    output : optional
        What pymmcore-plus writes the frames to as they come, as in its ``run_mda``: a path that
        ends in ``.ome.zarr`` or ``.ome.tiff``, its settings, handlers, or a list of these.

    Yields
    ------
    Event
        For every scan a :class:`Moved`, a :class:`Scanned`, :class:`PlaneRefined` as often as the
        session says, and a :class:`Refined`; at last an :class:`Ended`, whose reason is also
        that of any :class:`InputError` on the way.

    Raises
    ------
    InputError
        At once, if a height is outside the limits or an argument makes no sense.
    """
    if max_scans < 1:
        raise InputError(f"A run of {max_scans} scans takes none: allow at least 1.")
    if afterwards not in AFTERWARDS:
        raise InputError(f"The stage cannot '{afterwards}' afterwards: choose return or stay.")
    for z_um in first_um:
        check_height(z_um, microscope.limits_um)
    run = _Run(
        session,
        microscope,
        tuple(first_um),
        epsilon,
        max_scans,
        afterwards,
        accept_doubtful,
        order,
        abort or threading.Event(),
        output,
    )
    return run.events()


class _RunEnd(Exception):  # noqa: N818
    """A run is over: the reason and the sentence of :class:`Ended`."""


class _Aborted(Exception):  # noqa: N818
    """A person has ended the run."""


@dataclass
class _Run:
    """The arguments of :func:`acquire`, and how many scans the run has taken."""

    session: LiveSession
    microscope: Microscope
    first_um: tuple[float, ...]
    epsilon: float | None
    max_scans: int
    afterwards: str
    accept_doubtful: bool
    order: Callable[[], Sequence[int]] | None
    abort: threading.Event
    output: Any
    taken: int = 0
    _is_cancelled: Callable[[], bool] = field(default=lambda: False, init=False)

    def events(self) -> Iterator[Event]:
        """The events of the run; whatever happens, the stage is at rest when it is over."""
        home: float | None = None
        stage = ""
        try:
            with self.microscope.acquisition(self.output) as is_cancelled:
                self._is_cancelled = is_cancelled
                home = self._home()
                try:
                    yield from self._scans()
                except _RunEnd as end:
                    reason, sentence = end.args
                stage = self._at_rest(home)  # nobody else begins meanwhile
        except _Aborted:
            reason = "aborted"
            sentence = f"The run was aborted after {counted(self.taken, 'scan')}."
        except InputError as error:
            reason, sentence = "failed", str(error)
            if isinstance(error, StageError):
                stage = f"{standing(self.microscope)} It has not been moved again."
        except BaseException:  # also the generator being closed
            self._at_rest(home)
            raise
        yield Ended(reason, sentence, stage or self._at_rest(home), self.taken)

    def _scans(self) -> Iterator[Event]:
        """Move, expose, refine, again and again; :class:`_RunEnd` says why that ended."""
        while self.taken < self.max_scans:
            self._check_abort()
            z_um = self.microscope.move_to(self._next_height(), self._is_aborted)
            self._check_abort()
            yield Moved(z_um, self.taken + 1)
            self._check_abort()
            scan = self._scan()
            self.session.add_scan(
                scan,
                pixel_um=self.microscope.pixel_um,
                accept_doubtful=self.accept_doubtful,
                refine=False,
            )
            self.taken += 1
            yield Scanned(scan, self.taken)
            order = self.order() if self.order is not None else None
            for update in self.session.refine(order=order, stopped=self._is_aborted):
                yield PlaneRefined(update, self.taken)
            self._check_abort()
            verdict = self.session.verdict(self.epsilon)
            yield Refined(self.taken, verdict.sentence)
            if verdict.stop and self.taken >= len(self.first_um):
                raise _RunEnd("converged", verdict.sentence)
        scans = counted(self.max_scans, "scan")
        raise _RunEnd("maximum", f"The run has taken the {scans} that it may take.")

    def _scan(self) -> Scan:
        try:
            return self.microscope.scan()
        except MicroscopeError:
            self._check_abort()  # that is why there is none
            raise

    def _is_aborted(self) -> bool:
        return self.abort.is_set() or self._is_cancelled()

    def _check_abort(self) -> None:
        if self._is_aborted():
            raise _Aborted

    def _next_height(self) -> float:
        """Where to scan next, in micrometres."""
        if self.taken < len(self.first_um):
            return self.first_um[self.taken]
        z_um = float(self.session.suggest_z())
        if any(same_height(scan.z_um, z_um) for scan in self.session.scans):
            best = f"The best next height, {z_um:g} µm, has been scanned already."
            raise _RunEnd("exhausted", best)
        low, high = self.microscope.limits_um
        if not low <= z_um <= high:
            raise _RunEnd(
                "limits",
                f"The best next height, {z_um:g} µm, is outside the limits {low:g} to {high:g} µm "
                "that you set: widen them, or choose a grid within them.",
            )
        return z_um

    def _home(self) -> float:
        """The height to return to: where the stage stands, within the limits and free."""
        z_um, (low, high) = self.microscope.z_um, self.microscope.limits_um
        check_start(z_um, (low, high))
        return min(max(z_um, low), high)

    def _at_rest(self, home: float | None) -> str:
        """Leave the stage where it was asked to be left; a sentence that says where."""
        try:
            if home is not None and self.afterwards == "return":
                return f"The stage is back at {self.microscope.move_to(home):g} µm."
        except MicroscopeError as error:  # lost, in use, or the limits were narrowed meanwhile
            return f"{error} {standing(self.microscope)}"
        return standing(self.microscope)
