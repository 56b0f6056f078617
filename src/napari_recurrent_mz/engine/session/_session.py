"""Live refinement: scans come one at a time, and the volume follows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from ...core.arrays import Array
from ...core.device import check_memory
from ...core.methods import image_made
from ...core.metrics import EPSILON
from ...core.optics import Optics
from ...core.scans import FloatArray, InputError, Scan, ZGrid
from ...estimates.expectation import Expectation
from ...estimates.lmmse import LinearEstimate
from ...estimates.planning import RULES, Plan, Suggestion, plan, suggest
from ...estimates.uncertainty import signal_power, voxel_spread
from ...networks.inputs import Scale
from ...networks.weights import Model
from ._engine import Engine
from ._history import Change, HistoryEntry, Verdict, judged
from ._scans import ScanList, advice, check_exposed, check_fits, check_new, duplicate
from ._settings import (
    SessionSettings,
    check_epsilon,
    scale_as_dict,
    scale_from_dict,
    session_model,
)
from ._volume import LiveVolume, PlaneUpdate


class Session:
    """A volume that grows with its scans.

    After every scan the volume is the linear estimate at once, then the network's. The network
    keeps what it remembers of the scans for every plane, so that one more costs an encoder
    pass, a recurrent step and a decoder pass for each plane, however many there are. The result
    is that of :func:`~.reconstruct` with the scans in the same order and on
    the same intensity scale, which the first scans fix.

    All methods may be called from any thread. :meth:`refine` belongs in one that may be busy; a
    scan that is added meanwhile ends it, and the next call goes on with that scan.

    Parameters
    ----------
    grid : ZGrid
        The heights wanted, in micrometres.
    optics : Optics
    model : Model, str or Path, optional
        Weights, a name or a file; by default those bundled for the method.
    method : str, optional
        ``recurrent-mz`` (default), ``recurrent-mz-plus``, ``lmmse`` or ``lmmse-plus``.
    device : str, optional
        auto, cuda, mps or cpu.
    epsilon : float, optional
        Relative change at or below which scanning may stop.
    rule : str, optional
        How :meth:`suggest_z` chooses; one of :data:`~.RULES`.
    state_bytes : int, optional
        Most memory for what the network remembers; by default half of what is free.
    half : bool, optional
        Mixed precision; by default where it pays.
    scale : Scale, optional
        The intensity scale of another session, to compare with its volumes.

    Raises
    ------
    InputError
        If the settings make no sense.

    Examples
    --------
    >>> session = Session(ZGrid(0, 12, 0.2), optics=optics)             # doctest: +SKIP
    >>> session.add_scan(Scan(a, z_um=3.0)).relative_change             # doctest: +SKIP
    >>> session.suggest_z(), session.should_stop(epsilon=0.05)          # doctest: +SKIP
    """

    scan_added = Signal(object)  #: with the :class:`~.Scan`
    scan_removed = Signal(object)  #: with the :class:`~.Scan`
    plane_updated = Signal(object)  #: with a :class:`PlaneUpdate`, in the thread that refines
    #: with the :class:`HistoryEntry` of a volume that is finished, or was brought back
    volume_changed = Signal(object)
    message = Signal(str, str)  #: with a sentence and its kind: hint or warning

    def __init__(
        self,
        grid: ZGrid,
        *,
        optics: Optics,
        model: Model | str | Path | None = None,
        method: str = "recurrent-mz",
        device: str = "auto",
        epsilon: float = EPSILON,
        rule: str = RULES[0],
        state_bytes: int | None = None,
        half: bool | None = None,
        scale: Scale | None = None,
    ) -> None:
        self._model = session_model(method, model)
        name = str(model) if isinstance(model, str | Path) else None
        name = name or (self._model.name if self._model else None)
        self.settings = SessionSettings(
            grid, optics, method, name, device, epsilon, rule, state_bytes, half
        )
        target = image_made(method, self._model)
        self._live = LiveVolume(Engine(self.settings, self._model, target, self._tell))
        self.history: list[HistoryEntry] = []  #: every finished volume, the last one last
        self._lock = threading.RLock()
        self._list = ScanList()
        self._events: list[tuple[str, float, str]] = []  # what happened, at what height, its name
        self._scale = self._given_scale = scale
        self._sent: set[str] = set()
        self._generation = 0

    @property
    def grid(self) -> ZGrid:
        """The heights wanted."""
        return self.settings.grid

    @property
    def optics(self) -> Optics:
        """The microscope's."""
        return self.settings.optics

    @property
    def scans(self) -> tuple[Scan, ...]:
        """The scans, in the order in which they came."""
        return tuple(self._list.scans)  # without the lock: a window never waits for it

    @property
    def volume(self) -> FloatArray | None:
        """The volume, float32 (Z, Y, X), in the scans' units; None before the first plane.

        It is updated in place: while scans are :attr:`pending`, some planes are older ones.
        """
        return self._live.pixels

    @property
    def pending(self) -> bool:
        """Whether there are scans that the volume does not contain yet."""
        return self._live.contains != self.scans

    @property
    def change(self) -> Change | None:
        """Change that led to the last finished volume; None before the second."""
        return self.history[-1].change if self.history else None

    @property
    def scale(self) -> Scale | None:
        """How intensities are seen; None until the first two scans have fixed it."""
        return self._scale

    @property
    def state_place(self) -> str:
        """Where what the network remembers is: device, host, recomputed, or empty for nowhere."""
        return self._live.engine.place

    def add_scan(
        self,
        scan: Scan,
        *,
        pixel_um: float | None = None,
        on_duplicate: str | None = None,
        accept_doubtful: bool = False,
        refine: bool = True,
    ) -> HistoryEntry | None:
        """Take one more scan.

        Parameters
        ----------
        scan : Scan
        pixel_um : float, optional
            The pixel size that came with it, to compare with the session's.
        on_duplicate : {"replace", "average", "keep"}, optional
            What to do when there is a scan at its height; by default that is an error.
        accept_doubtful : bool, optional
            Take it though it is saturated, holds nothing but noise, is of another channel, or has
            the pixels of a scan at another height.
        refine : bool, optional
            Make the volume at once; else :meth:`refine` does, when it is called.

        Returns
        -------
        HistoryEntry or None
            Of the new volume; None when it is not made yet.

        Raises
        ------
        InputError
            If the scan does not belong to the session, is at a height where there is one, or is
            saturated or empty; the session is as it was.
        """
        with self._lock:
            check_fits(scan, self._list.scans, self.grid, self.optics, pixel_um)
            if not accept_doubtful:
                check_exposed(scan)
                check_new(scan, self._list.scans)
            place = duplicate(scan, self._list.scans, on_duplicate)
            if not self._list.scans:
                check_memory(self.grid, scan.pixels.shape)
            event, old, scan = self._list.take(scan, place, on_duplicate)
            self._events.append((event, scan.z_um, scan.name))
            self._generation += 1
        if old is not None:
            self.scan_removed.emit(old)
        self.scan_added.emit(scan)
        scans = self.scans
        stack = self._live.stack(scans)
        for sentence, kind in advice(scan, scans, stack, self._scale, self.optics, self._model):
            self._tell(sentence, kind)
        if not refine:
            return None
        for _ in self.refine():
            pass
        return self.history[-1] if self.history else None

    def remove(self, which: int | Scan = -1) -> None:
        """Take a scan away, by default the last.

        When it is the one that made the last volume, the volume before comes back at once, and
        the history with it; else :meth:`refine` makes the volume without it.

        Raises
        ------
        InputError
            If there is no such scan.
        """
        with self._lock:
            scan = self._list.remove(which)
            self._generation += 1
            self._events.append(("removed", scan.z_um, scan.name))
            back = self._undo(self.scans)
        self.scan_removed.emit(scan)
        if back and self.history:
            self.volume_changed.emit(self.history[-1])

    def _undo(self, left: tuple[Scan, ...]) -> bool:
        """Bring back the volume that was made from exactly these scans, if it is at hand."""
        live = self._live
        if not left:
            self.history.clear()
            live.forget()
            live.engine.forget()
            self._scale = self._given_scale
        elif live.contains != left:  # else the scan had not reached the volume
            finished = live.contains is not None
            if not live.back_to(left):
                return False
            if finished:
                self.history.pop()
        self._events.clear()
        return True

    def renormalise(self) -> None:
        """Measure the intensity scale on all scans there are; :meth:`refine` makes the volume.

        Raises
        ------
        InputError
            If there is no scan.
        """
        with self._lock:
            if not self._list.scans:
                raise InputError("There is no scan to take the intensity scale from: add one.")
            self._scale = self._given_scale = None
            self._live.engine.forget()
            self._live.rescale()
            self._generation += 1
            last = self._list.scans[-1]
            self._events.append(("renormalised", last.z_um, last.name))

    def _tell(self, sentence: str, kind: str) -> None:
        """Say a sentence, once."""
        if sentence not in self._sent:
            self._sent.add(sentence)
            self.message.emit(sentence, kind)

    def refine(
        self,
        *,
        order: Sequence[int] | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> Iterator[PlaneUpdate]:
        """Bring the volume up to the scans, a plane at a time.

        First every plane from the linear estimate, then every plane from the network. Close it,
        or let ``stopped`` say so, to pause: the next call goes on where it was left.

        Parameters
        ----------
        order : sequence of int, optional
            Planes wanted first, such as those in view; the others follow from the bottom up.
        stopped : callable, optional
            Asked before every plane and every tile.

        Raises
        ------
        InputError
            If ``order`` names a plane that there is not.
        MemoryError
            If a plane does not fit into memory even without states; the session is intact.
        """
        targets, live = self._live.in_order(order), self._live
        with self._lock:
            scans, generation, measured = self.scans, self._generation, self._scale
        if measured is None and len(scans) > 1:  # outside of the lock: this takes a moment
            measured = Scale.of(live.stack(scans).images)
        with self._lock:
            if not self.pending or self._generation != generation:
                return
            self._scale = measured
            live.start(scans, generation, measured)
        scale = measured if self._model is not None and len(scans) > 1 else None

        def ended() -> bool:
            return self._generation != generation or (stopped is not None and stopped())

        began = time.monotonic()
        updates = live.linear_planes(scans, targets, ended, last=scale is None)
        if scale is not None:
            updates = chain(updates, live.network_planes(scans, scale, targets, ended))
        for update in updates:
            with self._lock:
                if self._generation != generation:
                    return
                live.write(update)
                live.seconds += time.monotonic() - began
            self.plane_updated.emit(update)
            yield update
            began = time.monotonic()
        if live.finished and self._generation == generation:
            self._finish(scans, generation, network=scale is not None)

    def _finish(self, scans: tuple[Scan, ...], generation: int, *, network: bool) -> None:
        """Enter the finished volume into the history."""
        live, began = self._live, time.monotonic()
        expected = Expectation.of(self.grid, live.linear(scans))
        heights = [scan.z_um for scan in scans]
        next_gain = float(np.sqrt(expected.lowered(heights).max()))
        linear = "lmmse" if live.engine.target == "widefield" else "lmmse-plus"
        with self._lock:
            if self._generation != generation:
                return
            names = {name for name, _, _ in self._events}
            entry = HistoryEntry(
                event=names.pop() if len(names) == 1 else "several",
                scans=len(scans),
                z_um=tuple(z_um for _, z_um, _ in self._events),
                names=tuple(name for _, _, name in self._events),
                method=self.settings.method if network else linear,
                change=live.meter.change() if live.before is not None else None,
                expected_error=expected.overall(heights),
                expected_change=next_gain * live.meter.contrast,
                seconds=round(live.seconds + time.monotonic() - began, 3),
                state_place=self.state_place if network else "",
            )
            live.contains = scans
            if self._events or not self.history:
                self.history.append(entry)
            else:  # the volume that a session had, made again after it was opened
                entry = self.history[-1]
            self._events.clear()
        self.volume_changed.emit(entry)

    def should_stop(self, epsilon: float | None = None) -> bool:
        """Whether the last scan changed the volume so little that another hardly pays.

        Parameters
        ----------
        epsilon : float, optional
            Relative Frobenius change, above 0 and below 1; by default the session's.

        Returns
        -------
        bool
            Never with fewer than three scans.
        """
        return self.verdict(epsilon).stop

    def verdict(
        self, epsilon: float | None = None, history: Sequence[HistoryEntry] | None = None
    ) -> Verdict:
        """The same in a sentence for a person: what another scan would change, and what to do.

        After the whole history, unless only the beginning of it is given.
        """
        used = self.settings.epsilon if epsilon is None else check_epsilon(epsilon)
        so_far = self.history if history is None else history
        return judged(so_far, used, by_network=self._model is not None)

    def suggestion(self, rule: str | None = None) -> Suggestion:
        """Where another scan should help most, and by how much.

        Parameters
        ----------
        rule : str, optional
            One of :data:`~.RULES`; by default the session's.
        """
        estimate, heights = self._estimate(), [scan.z_um for scan in self.scans]
        if estimate is None:
            expected = Expectation(self.grid, self.optics, target=self._live.engine.target)
        else:
            expected = Expectation.of(self.grid, estimate)
        return suggest(expected, heights, rule=rule or self.settings.rule, estimate=estimate)

    def suggest_z(self, rule: str | None = None) -> float:
        """The height of :meth:`suggestion`, in micrometres."""
        return self.suggestion(rule).z_um

    def plan(self, *, count: int | None = None, target_error: float | None = None) -> Plan:
        """How many scans the grid needs, and where; see :func:`~.plan`.

        With scans there are, their spectrum is used.
        """
        estimate = self._estimate()
        return plan(
            self.grid, self.optics, count=count, target_error=target_error,
            power=None if estimate is None else signal_power(estimate),
            target=self._live.engine.target,
        )  # fmt: skip

    def expected_error(self) -> Array:
        """Expected error of every plane, shape (Z,), relative to its standard deviation.

        Of the linear estimate, in closed form; 0 is known, 1 is nothing known but the mean.
        """
        estimate = self._estimate()
        if estimate is None:
            return np.ones(len(self.grid))
        return estimate.expected_error(self.grid.z_um)

    def spread(self, index: int) -> FloatArray:
        """Uncertainty of every pixel of a plane, float32 (Y, X), in the scans' units.

        How far the linear estimate moves when one scan or another is left out; see
        :func:`~.voxel_spread`.

        Raises
        ------
        InputError
            If there are fewer than three scans.
        """
        estimate = self._estimate()
        if estimate is None:
            raise InputError("The spread over the scans needs at least three of them.")
        return voxel_spread(estimate, float(self.grid.z_um[index]))

    def _estimate(self) -> LinearEstimate | None:
        scans = self.scans
        return self._live.linear(scans) if scans else None

    def as_dict(self) -> dict[str, Any]:
        """Settings, scale, scans and history as plain values, without any pixels."""
        with self._lock:
            return {
                "settings": self.settings.as_dict(),
                "model_sha256": self._model.sha256 if self._model else None,
                "scale": scale_as_dict(self._scale),
                "scans": self._list.as_dicts(),
                "history": [entry.as_dict() for entry in self.history],
                "complete": not self.pending,
                "news": [list(event) for event in self._events],
            }

    @classmethod
    def from_dict(
        cls,
        values: Mapping[str, Any],
        images: Sequence[npt.ArrayLike],
        volume: FloatArray | None = None,
        *,
        model: Model | None = None,
    ) -> Session:
        """The session that :meth:`as_dict` wrote, with its pixels.

        Parameters
        ----------
        values : mapping
        images : sequence of array_like, shape (Y, X)
            Of the scans, in their order.
        volume : numpy.ndarray, float32, shape (Z, Y, X), optional
            The finished volume; without it :meth:`refine` makes it again, as no new entry in
            the history.
        model : Model, optional
            Instead of the one that is named.
        """
        settings = SessionSettings.from_dict(values["settings"])
        options: dict[str, Any] = {
            name: getattr(settings, name)
            for name in ("optics", "method", "device", "epsilon", "rule", "state_bytes", "half")
        }
        session = cls(settings.grid, model=model or settings.model, **options)
        for image, scan in zip(images, values["scans"], strict=True):
            taken = Scan(image, scan["z_um"], scan["name"], scan.get("acquired", {}))
            session._list.append(taken, int(scan["images"]))
        session._scale = scale_from_dict(values["scale"])
        session.history = [HistoryEntry.from_dict(entry) for entry in values["history"]]
        session._events = [(str(event), float(z), str(name)) for event, z, name in values["news"]]
        if volume is not None and values["complete"] and session.scans:
            session._live.pixels = np.array(volume, np.float32)
            session._live.contains = session.scans
        return session
