"""A microscope that scans can be asked of: a camera, and a z stage that stays within limits.

:class:`Microscope` is all that the rest of the package needs. :class:`CoreMicroscope` is one
that Micro-Manager drives, through pymmcore-plus (the extra ``microscope``); nothing of it is
imported before it is used. Every image is a frame of an acquisition of pymmcore-plus, during which
it lets no other begin. Heights are the stage's own, in micrometres.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..core.scans import InputError, Scan
from .mda import Acquisition, left_as_it_ends
from .mda import MicroscopeError as MicroscopeError

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus

Limits = tuple[float, float]
_T = TypeVar("_T")

_NEAR_UM = 0.5  # outside of the limits by less than this is a stage that rests on one of them
_LOOK_S = 0.02  # between two looks at a stage that moves
_STOP_S = 2.0  # for a stage that does not answer to be told to stop


class StageError(MicroscopeError):
    """The stage does not answer, or is not where it was sent: it is not moved again unseen."""


class Microscope(Protocol):
    """A microscope that takes scans: one camera and one z stage."""

    @property
    def name(self) -> str:
        """How a person knows it."""

    @property
    def limits_um(self) -> Limits:
        """Lowest and highest height that it may be sent to, in micrometres."""

    @property
    def pixel_um(self) -> float | None:
        """Pixel size in the sample, in micrometres; None when it is not known."""

    @property
    def z_um(self) -> float:
        """Height of the stage as it is read now, in micrometres."""

    def acquisition(self, output: Any = None) -> AbstractContextManager[Callable[[], bool]]:
        """Have the microscope to oneself; gives what says whether somebody has cancelled it.

        Parameters
        ----------
        output : optional
            Where the frames are written, beside the scans that are made of them.

        Raises
        ------
        MicroscopeError
            If something else uses camera or stage.
        """

    def move_to(self, z_um: float, aborted: Callable[[], bool] | None = None) -> float:
        """Move and wait until there; return the height that is read then.

        Parameters
        ----------
        z_um : float
            Height, in micrometres, within :attr:`limits_um`.
        aborted : callable, optional
            Asked on the way; once it says so the stage is stopped where it is.

        Raises
        ------
        MicroscopeError
            If the height or the stage is outside the limits or something else uses the microscope:
            the stage has not been told to move then. If something else begins to use it on the
            way.
        StageError
            If the stage does not answer, or does not get there in time; it has been told to stop.
        """

    def scan(self) -> Scan:
        """Take one image where the stage stands, under the height that is read there.

        Raises
        ------
        MicroscopeError
            If the camera gives none, something else uses the microscope, or the stage has moved
            meanwhile.
        """


def standing(microscope: Microscope) -> str:
    """A sentence that says where the stage is, as it is read now."""
    try:
        return f"The stage stands at {microscope.z_um:g} µm."
    except MicroscopeError:
        return "Where the stage stands cannot be read."


def checked_limits(limits_um: Limits) -> Limits:
    """Return the limits as floats, lowest first, or raise :class:`InputError`."""
    low, high = (float(value) for value in limits_um)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(
            f"The z limits {low:g} to {high:g} µm leave the stage no way: give two heights, the "
            "lower one first."
        )
    return low, high


def check_height(z_um: float, limits_um: Limits) -> None:
    """Raise :class:`MicroscopeError` unless a height is within limits, in micrometres."""
    low, high = limits_um
    if not low <= z_um <= high:  # neither is NaN
        raise MicroscopeError(
            f"The height {z_um:g} µm is outside the limits {low:g} to {high:g} µm that you set: "
            "the stage has not been moved."
        )


def check_start(z_um: float, limits_um: Limits) -> None:
    """Raise :class:`MicroscopeError` unless a stage that stands at a height may move from there."""
    low, high = limits_um
    if not low - _NEAR_UM <= z_um <= high + _NEAR_UM:
        raise MicroscopeError(
            f"The stage stands at {z_um:g} µm, outside the limits {low:g} to {high:g} µm that you "
            "set: bring it inside by hand, or correct the limits."
        )


def load_core() -> type[CMMCorePlus]:
    """Import pymmcore-plus, which takes a moment, and return the class of its core."""
    try:
        from pymmcore_plus import CMMCorePlus
    except ImportError as error:
        raise InputError(
            "A microscope needs the package pymmcore-plus: install it with "
            "pip install 'napari-recurrent-mz[microscope]'."
        ) from error
    return CMMCorePlus


def running_core() -> CMMCorePlus:
    """The core that drives the microscope in this process.

    That of napari-micromanager if its window is open in the current viewer, which is not the
    process's own; else the process's own, which pymmcore-widgets and scripts use.

    Raises
    ------
    InputError
        If pymmcore-plus is not installed.
    """
    core_class = load_core()
    get_core = getattr(sys.modules.get("napari_micromanager"), "get_core", None)
    if get_core is not None:
        with suppress(RuntimeError):  # its window is not open
            core: CMMCorePlus = get_core()
            return core
    return core_class.instance()


class CoreMicroscope(Microscope):
    """The camera and the focus drive of a Micro-Manager core.

    Every call to the core is made in a thread that may be given up, so that a driver that hangs
    is an error after ``timeout_s`` and not the end of the program.

    Parameters
    ----------
    core : pymmcore_plus.CMMCorePlus, optional
        By default that of :func:`running_core`, with its devices as they are.
    limits_um : tuple of float
        Lowest and highest height that the stage may be sent to, in micrometres. Micro-Manager
        does not know the stage's travel, let alone where the sample and the objective meet: only
        you do.
    timeout_s : float, optional
        How long the stage may take to arrive, and the camera beyond its exposure, in seconds.
    tolerance_um : float, optional
        How near to the wanted height the stage must be and stand still, in micrometres. The
        height that is read is the scan's.
    settle_s : float, optional
        Wait after a move for vibrations to end, in seconds.

    Raises
    ------
    InputError
        If the limits make no sense, or the core has no camera or no focus drive of its own.
    """

    def __init__(
        self,
        core: CMMCorePlus | None = None,
        *,
        limits_um: Limits,
        timeout_s: float = 10.0,
        tolerance_um: float = 0.2,
        settle_s: float = 0.05,
    ) -> None:
        self._limits = checked_limits(limits_um)
        self.core = running_core() if core is None else core
        self._timeout_s, self._tolerance_um, self._settle_s = timeout_s, tolerance_um, settle_s
        self._stage = str(self.core.getFocusDevice())
        self._run: Acquisition | None = None
        self._sent_um: float | None = None  # where the stage was sent in this acquisition
        if not self.core.getCameraDevice() or not self._stage:
            missing = "focus drive" if self.core.getCameraDevice() else "camera"
            raise InputError(
                f"Micro-Manager has no {missing}: load your system configuration, for instance in "
                "napari-micromanager, and connect again."
            )
        if self.core.isContinuousFocusDrive(self._stage):
            raise InputError(
                f"The focus drive '{self._stage}' is the offset of continuous focus, whose heights "
                "are not the sample's: choose the z drive in Micro-Manager, and connect again."
            )

    @property
    def name(self) -> str:
        return f"{self.core.getCameraDevice()} and {self._stage}"

    @property
    def limits_um(self) -> Limits:
        return self._limits

    @limits_um.setter
    def limits_um(self, limits_um: Limits) -> None:
        self._limits = checked_limits(limits_um)

    @property
    def pixel_um(self) -> float | None:
        return float(self.core.getPixelSizeUm()) or None

    @contextmanager
    def acquisition(self, output: Any = None) -> Iterator[Callable[[], bool]]:
        self._check_free()
        with left_as_it_ends(self.core):
            run = self._run = Acquisition(self.core, output)
            try:
                yield lambda: run.is_cancelled
            except BaseException:
                run.end(cancels=True)
                raise
            finally:
                self._run = self._sent_um = None
                run.end()

    @property
    def z_um(self) -> float:
        """Height of the stage, in micrometres.

        Raises
        ------
        StageError
            If it does not answer, or with no number.
        """
        z_um = float(self._ask_stage(self.core.getPosition))
        if not math.isfinite(z_um):
            raise StageError(
                f"The stage '{self._stage}' reads {z_um:g} where its height should be: "
                "check its power and cable."
            )
        return z_um

    def _check_free(self) -> None:
        """Refuse while live view, continuous focus or another focus drive uses the devices."""
        if use := self._use():
            raise MicroscopeError(use)
        label = f"The autofocus device '{self.core.getAutoFocusDevice()}'"
        for asks in (self.core.isContinuousFocusEnabled, self.core.isContinuousFocusLocked):
            if self._ask(label, asks):
                raise MicroscopeError(
                    f"{label} keeps the focus and would move the stage back: switch continuous "
                    "focus off in Micro-Manager, then scan again."
                )
        drive = self.core.getFocusDevice()
        if drive != self._stage:
            raise MicroscopeError(
                f"Micro-Manager's focus drive is '{drive}' now, and was '{self._stage}' when the "
                "microscope was connected: connect again."
            )

    def _use(self) -> str:
        """What else uses a camera, and what to do; empty when nothing does."""
        from pymmcore_plus import DeviceType

        for camera in self.core.getLoadedDevicesOfType(DeviceType.Camera):
            if self._ask(f"The camera '{camera}'", self.core.isSequenceRunning, camera):
                return (
                    f"The microscope is in use: the camera '{camera}' takes images; stop Live or "
                    "its sequence, then go on."
                )
        return ""

    def move_to(self, z_um: float, aborted: Callable[[], bool] | None = None) -> float:
        check_height(z_um, self._limits)
        if self._run is None:
            with self.acquisition():
                return self.move_to(z_um, aborted)
        self._check_free()
        check_start(self.z_um, self._limits)
        self._check_free()  # again: to read the height may have taken a while
        while self._run.is_paused and not (aborted and aborted()):
            time.sleep(_LOOK_S)
        self._sent_um = float(z_um)
        try:
            self._ask_stage(self.core.setPosition, float(z_um))
            return self._arrived(z_um, aborted)
        except StageError as error:
            self.stop()
            raise StageError(
                f"{str(error).rstrip('.')}; sent to {z_um:g} µm, it was told to stop and is left "
                "where it is."
            ) from error

    def _arrived(self, z_um: float, aborted: Callable[[], bool] | None) -> float:
        """Wait until the stage stands still at the height, and has stood out its vibrations."""
        deadline = time.monotonic() + self._timeout_s
        before, is_settled = math.inf, False
        while True:
            if use := self._use():
                raise MicroscopeError(
                    f"While the stage was sent to {z_um:g} µm, something else began. {use}"
                )
            if aborted is not None and aborted():
                self.stop()
                return self.z_um
            # Some drivers are never busy, others are idle before they have begun: look at both.
            busy, now = self._ask_stage(self.core.deviceBusy), self.z_um
            still = abs(now - before) <= self._tolerance_um / 10
            is_there = not busy and still and abs(now - z_um) <= self._tolerance_um
            if is_there and is_settled:
                return now
            if not is_there and time.monotonic() > deadline:
                raise StageError(
                    f"The stage '{self._stage}' has not reached {z_um:g} µm within "
                    f"{self._timeout_s:g} s and reads {now:g} µm."
                )
            before, is_settled = now, is_there
            time.sleep(self._settle_s if is_there else _LOOK_S)

    def stop(self) -> None:
        """Tell the stage to stop; nothing is raised when it does not listen."""
        with suppress(MicroscopeError):  # some cannot be stopped, and a lost one does not hear
            self._ask("", self.core.stop, self._stage, within_s=_STOP_S)

    def scan(self) -> Scan:
        if self._run is None:
            with self.acquisition():
                return self.scan()
        self._check_free()
        before_um, sent_um = self.z_um, self._sent_um
        if sent_um is not None and abs(sent_um - before_um) > self._tolerance_um:
            sent_um = None  # somebody has moved it since, and it stays there
        within_s = self._timeout_s + float(self.core.getExposure()) / 1000
        frame, facts = self._run.expose(sent_um, within_s)
        after_um = self.z_um
        self._check_free()  # else it may be what somebody else exposed
        if abs(after_um - before_um) > self._tolerance_um:
            raise MicroscopeError(
                f"The stage '{self._stage}' went from {before_um:g} to {after_um:g} µm while the "
                "camera exposed: the image is not taken."
            )
        if frame.ndim != 2:
            raise MicroscopeError(
                f"The camera '{self.core.getCameraDevice()}' gives images of shape {frame.shape}: "
                "choose a grey-scale pixel type."
            )
        return Scan(frame, before_um, f"scan at {before_um:.2f} µm", facts)

    def _ask_stage(self, call: Callable[..., _T], *args: Any) -> _T:
        return self._ask(f"The stage '{self._stage}'", call, self._stage, *args, error=StageError)

    def _ask(
        self,
        label: str,
        call: Callable[..., _T],
        *args: Any,
        error: type[MicroscopeError] = MicroscopeError,
        within_s: float | None = None,
    ) -> _T:
        """Result of a call; ``error`` when it raises, or does not return in time."""
        seconds = self._timeout_s if within_s is None else within_s
        answer: Future[_T] = Future()

        def ask() -> None:
            try:
                answer.set_result(call(*args))
            except Exception as failure:
                answer.set_exception(failure)

        # No executor: Python waits for the threads of one when it ends, and this may hang.
        threading.Thread(target=ask, daemon=True).start()
        check = "check its power and cable"
        if not wait([answer], seconds).done:
            raise error(f"{label} has not answered for {seconds:g} s: {check}.")
        failure = answer.exception()
        if failure is None:
            return answer.result()
        lines = str(failure).strip().splitlines() or [type(failure).__name__]
        raise error(f"{label} reports '{lines[0].rstrip('.')}': {check}.") from failure
