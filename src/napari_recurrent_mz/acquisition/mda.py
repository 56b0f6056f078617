"""Acquisitions of pymmcore-plus: one of our own, event by event, and the frames of others'.

Only who drives a microscope imports pymmcore-plus, and only then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..core.scans import InputError, Scan

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus
    from useq import MDAEvent

Frame = npt.NDArray[Any]
Facts = dict[str, Any]

_LOOK_S = 0.02  # between two looks at whether somebody has cancelled
_END_S = 2.0  # for a run to end whose driver does not answer
_OURS = "napari-recurrent-mz"  # in the metadata of events


class MicroscopeError(InputError):
    """The microscope did not do what it was asked, told in one clear sentence."""


class Acquisition:
    """One run of pymmcore-plus that exposes when it is asked to; it may be paused and cancelled."""

    def __init__(self, core: CMMCorePlus, output: Any = None) -> None:
        self._core = core
        self._wanted: SimpleQueue[tuple[MDAEvent, Future[tuple[Frame, Facts]]] | None]
        self._wanted = SimpleQueue()
        self._answer: Future[tuple[Frame, Facts]] = Future()
        self._has_begun = threading.Event()
        phase = str(core.mda.status.phase)
        try:
            if phase != "idle":  # run_mda would begin while another one still ends
                raise ValueError(phase)
            self._thread = core.run_mda(self._events(), output=output)
        except ValueError as error:
            does = "is paused" if phase == "paused" else "runs"
            raise MicroscopeError(
                f"The microscope is in use: an acquisition of Micro-Manager {does}; let it end or "
                "cancel it, then go on."
            ) from error
        while not self._has_begun.wait(_LOOK_S):
            if not self.is_alive:
                raise MicroscopeError(
                    "Micro-Manager's acquisition has not begun, its log says why: check the "
                    "devices, and that what it should write to is not there yet."
                )

    @property
    def is_alive(self) -> bool:
        """Whether the run in pymmcore-plus is this one."""
        return self._thread.is_alive()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled it."""
        status = self._core.mda.status
        return str(status.phase) == "finishing" or str(status.finish_reason) == "canceled"

    @property
    def is_paused(self) -> bool:
        """Whether somebody has paused it."""
        return self.is_alive and self._core.mda.is_paused()

    def expose(self, z_um: float | None, within_s: float) -> tuple[Frame, Facts]:
        """One frame, and how it was taken, within a time that a pause does not shorten."""
        from useq import MDAEvent

        answer: Future[tuple[Frame, Facts]] = Future()
        self._wanted.put((MDAEvent(z_pos=z_um, metadata={_OURS: True}), answer))
        left_s = within_s
        while not wait([answer], _LOOK_S).done:
            if not self.is_alive:
                raise MicroscopeError(
                    "Micro-Manager's acquisition has failed, its log says why: check the devices."
                )
            left_s -= 0.0 if self.is_paused else _LOOK_S
            if left_s < 0:
                raise MicroscopeError(
                    f"{self._camera} has not answered for {within_s:g} s: check its power and "
                    "cable."
                )
        return answer.result()

    def end(self, *, cancels: bool = False) -> None:
        """End it, as complete or as cancelled."""
        if cancels and self.is_alive:
            self._core.mda.cancel()
        self._wanted.put(None)
        self._thread.join(_END_S)

    @property
    def _camera(self) -> str:
        return f"The camera '{self._core.getCameraDevice()}'"

    def _events(self) -> Iterator[MDAEvent]:
        """The next event whenever it is wanted; in the runner's thread, as are its frames."""
        from useq import CustomAction, MDAEvent

        frame_ready = self._core.mda.events.frameReady
        frame_ready.connect(self._take)
        self._has_begun.set()
        try:
            while self._core.mda.is_running():  # it waits for us: it would not see a cancellation
                try:
                    wanted = self._wanted.get(timeout=_LOOK_S)
                except Empty:
                    if threading.main_thread().is_alive():
                        continue
                    return  # the program ends, and waits for this thread
                if wanted is None:
                    break
                event, self._answer = wanted
                yield event
                if not self._answer.done():
                    gave_none = f"{self._camera} has given no image: Micro-Manager's log says why."
                    self._answer.set_exception(MicroscopeError(gave_none))
            if not self._core.mda.is_running():  # only with an event does the runner see that
                yield MDAEvent(action=CustomAction(name="cancelled"))
        finally:
            frame_ready.disconnect(self._take)

    def _take(self, image: Frame, event: MDAEvent, meta: Facts) -> None:
        if not self._answer.done():  # a second camera's is left out
            self._answer.set_result((np.array(image), facts_of(self._core, event, meta)))


@contextmanager
def left_as_it_ends(core: CMMCorePlus) -> Iterator[None]:
    """Meanwhile no acquisition moves the stage back by itself, unseen, when it ends."""
    engine: Any = core.mda.engine
    before = getattr(engine, "restore_initial_state", False)
    if before is not False:
        engine.restore_initial_state = False
    try:
        yield
    finally:
        if before is not False:
            engine.restore_initial_state = before


def facts_of(core: CMMCorePlus, event: MDAEvent, meta: Facts) -> Facts:
    """How a frame was taken, in plain values, as far as it is known."""
    position = meta.get("position") or {}
    facts = {
        "date": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "exposure_ms": meta.get("exposure_ms"),
        "channel": channel_of(core, event),
        "camera": meta.get("camera_device"),
        "pixel_um": meta.get("pixel_size_um") or None,
        "x_um": position.get("x", event.x_pos),
        "y_um": position.get("y", event.y_pos),
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def channel_of(core: CMMCorePlus, event: MDAEvent) -> str:
    """The channel of an event, else the one that is set."""
    if event.channel is not None:
        return str(event.channel.config)
    group = core.getChannelGroup()
    return str(core.getCurrentConfig(group)) if group else ""


class OthersFrames:
    """Scans out of the frames of acquisitions that others run: a window, a script.

    Of each run, one channel of one field and time is taken, every frame at the stage's height;
    what is left out is said once.

    Parameters
    ----------
    core : pymmcore_plus.CMMCorePlus
    took : callable
        Given every scan.
    said : callable
        Given a sentence on what is left out.
    channel : str, optional
        Which channel is taken; by default that of the first frame of a run.
    """

    def __init__(
        self,
        core: CMMCorePlus,
        took: Callable[[Scan], object],
        said: Callable[[str], object],
        channel: str = "",
    ) -> None:
        self._core, self._took, self._said, self._channel = core, took, said, channel.strip()
        self._first: tuple[str, dict[str, int]] | None = None  # channel, and place but for z
        self._is_said = False
        events = core.mda.events
        self._slots: tuple[tuple[Any, Callable[..., None]], ...] = (
            (events.sequenceStarted, self._begin),
            (events.frameReady, self._frame),
        )
        for signal, slot in self._slots:
            signal.connect(slot)

    def close(self) -> None:
        """Take no more."""
        for signal, slot in self._slots:
            signal.disconnect(slot)

    def _begin(self, *_: Any) -> None:
        self._first, self._is_said = None, False

    def _frame(self, image: Frame, event: MDAEvent, meta: Facts) -> None:
        if _OURS in event.metadata:
            return
        facts = facts_of(self._core, event, meta)
        channel = facts.get("channel", "")
        place = {axis: number for axis, number in event.index.items() if axis not in "cz"}
        if self._channel and channel.casefold() != self._channel.casefold():
            self._leave_out(f"those of the channel '{channel}'")
            return
        self._first = self._first or (channel, place)
        if self._first != (channel, place):
            first = f"'{self._first[0]}' " if self._first[0] else ""
            self._leave_out(
                f"all but those of the first channel {first}at the first place and time"
            )
            return
        z_um = (meta.get("position") or {}).get("z", event.z_pos)
        if z_um is None:
            self._leave_out("those without a height")
            return
        try:
            self._took(Scan(np.array(image), z_um, _named(channel, z_um), facts))
        except InputError as error:
            self._said(str(error))

    def _leave_out(self, which: str) -> None:
        if not self._is_said:
            self._is_said = True
            self._said(f"Of the frames of this acquisition, {which} are left out.")


def _named(channel: str, z_um: float) -> str:
    return f"{channel} scan at {z_um:.2f} µm".strip()
