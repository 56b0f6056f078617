"""The Live dock: scans come one at a time, the volume follows, and it says when to stop."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]

from ...acquisition import Ended, Moved, PlaneRefined
from ...core.device import check_memory
from ...core.scans import InputError, counted, default_grid
from ...measure.plots.live import Stopping, live_figure
from ..files.save_volume import finished_volume
from ..shared.guard import guarded, on, telling
from ..shared.insides import SHORT_PAUSES
from ..shared.pace import Turns
from ..shared.parts import name_button
from ..shared.places import planes_from_view, show_height
from .files import LiveFiles
from .intake import Candidate, ScanIntake
from .layer import LiveLayer, NextScanFrame, get_ready
from .pages import CONTINUE, START_AGAIN, LivePages, QuestionBox
from .sources import FOLDER, HAND, MICROSCOPE, FolderFeed, MicroscopeFeed
from .work import (
    Add,
    Listed,
    LiveRun,
    Message,
    MicroscopeFree,
    NotStarted,
    ScanQuestion,
    Started,
)

START = ("Start session", "Begin: the first scan brings the volume as a new layer")
ACTIONS = {
    HAND: (
        "Add selected layer",
        "Take the selected image as a scan; of a stack, the plane in view",
    ),
    FOLDER: ("Watch the folder", "Every TIFF that appears in the folder becomes a scan"),
    MICROSCOPE: (
        "Run automatically",
        "Scan, refine, go where the next scan helps most; stop by ε or at the most scans",
    ),
}
"""The main button while a session runs, for each source."""

STOP_WATCHING = ("Stop watching", "New files are no longer taken; the session stays")
ABORT = "End what the microscope does; the stage comes to rest, the scans stay (Esc)"
NO_VERDICT = "The volume is yet to contain all scans: whether to stop is told once it does."
NOTHING = "Start a session and add scans: what each of them changes is drawn here."
STAGES = {"scan": "Scan", "linear": "Linear estimate", "network": "Network"}
PLACES = {
    "device": "The network remembers the scans on the GPU.",
    "host": "The network remembers the scans in main memory.",
    "recomputed": "Memory does not hold what the network remembers: every scan enters again.",
}
"""Where the states of the network are."""
_PROGRESS_S = 0.2


def run_over(ended: Ended) -> str:
    """How an automatic run ended; the verdict itself stands over the plots."""
    by_itself = f"The run has stopped by itself after {counted(ended.scans, 'scan')}."
    why = by_itself if ended.reason == "converged" else ended.sentence
    return f"{why} {ended.stage.removeprefix(f'{why} ')}".strip()  # it may say why, too


def start_again(count: int) -> str:
    """The question before a session with so many scans is let go."""
    scans = "The scan" if count == 1 else f"The {count} scans"
    return f"Start again? {scans} of this session will be discarded; the volume stays as a layer."


class LiveDock(ScanIntake):
    """A session at the microscope: scans in, a volume that follows, and when to stop."""

    started = Signal()  # the session is there
    refined = Signal()  # the volume contains all scans
    outlives_closing = False  # its session ends; it is saved, and offered again
    run_ended = Signal(object)  # with how an automatic run ended, or None after a single scan

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, *START)
        self.pages = LivePages(self.palette_)
        self.setup, self.scans = self.pages.setup, self.pages.scans
        self.form.addWidget(self.pages, 1)
        self.question = QuestionBox(self.palette_)
        self.footer.add_on_top(self.question)
        name_button(self.footer.cancel, "Abort", ABORT)
        self.folder = FolderFeed(self.setup.sources)
        self.scope = MicroscopeFeed(self.setup.sources)
        self.turns = Turns(self._viewer, self, self._is_quiet)
        self.live = LiveRun(self.turns)
        self.files = LiveFiles(self, self.question, is_wanted=lambda: self.remembers)
        self.footer.add_on_top(self.files.saving)
        self.listed: Listed | None = None
        self.volume: LiveLayer | None = None
        colour = self.palette_.colour("warning").name()
        self.frame = NextScanFrame(self._viewer, colour, self.turns)
        self.waiting: list[Candidate] = []
        self._is_pending = self._is_at_microscope = False
        self._bar_moved = 0.0
        self._connect()
        self._show_state()

    # what a script calls --------------------------------------------------------------
    @property
    def session(self) -> Any:
        """The :class:`~.Session` that runs, or None."""
        return self.live.session

    @property
    def epsilon(self) -> float:
        """The threshold ε, above 0 and below 1."""
        return float(self.scans.epsilon.value()) / 100

    @property
    def is_busy(self) -> bool:
        """Whether something is still to come."""
        return self.live.is_starting or self._is_pending or self._is_at_microscope

    def act(self) -> None:
        """What the main button does: start, add, watch, or run."""
        source = self.setup.sources.source
        if not self.live.is_on:
            self.start_session()
        elif source == HAND:
            self.add_selected()
        elif source == FOLDER:
            self.watch(not self.folder.is_watching)
        else:
            self.run_automatically()

    def start_session(self) -> None:
        """Begin a session with the optics, the grid and the method that are set."""
        if self.live.is_on:
            return
        with telling(self):
            make = self.setup.session_maker(self.epsilon)
            if self.waiting:
                check_memory(self.setup.grid.grid(), self.waiting[0].pixels.shape)
            if self.remembers:
                self.pages.remember()
            self._begin("Starting", self.files.autosaving(make))

    def watch(self, is_on: bool) -> None:
        """Watch the folder, or no longer."""
        with telling(self):
            if is_on:
                self.folder.start()
            else:
                self.folder.stop()
                self.say("The folder is no longer watched.")

    def undo(self) -> None:
        """Take the last scan back."""
        if self.scans.undo.isEnabled():
            self.remove(-1)

    def remove(self, number: int) -> None:
        """Let a scan go, by its place in the list."""
        if not self._is_at_microscope:
            self.live.work.remove(number)

    def start_again(self) -> None:
        """End the session, after a question if there are scans in it."""
        count = len(self.session.scans) if self.session is not None else 0
        if not count:
            self._end_session()
            return
        self.question.ask(
            start_again(count),
            (START_AGAIN, CONTINUE),
            lambda key, _height: self._end_session() if key else None,
        )

    def go_there(self) -> None:
        """Move the viewer's slider to the suggested height."""
        if self._next_z_um is not None:
            show_height(self._viewer, self._next_z_um)

    def connect_microscope(self, which: str) -> None:
        """Connect to Micro-Manager ("micro-manager") or to a simulated microscope ("simulated")."""
        self.setup.sources.form.microscope.value = which
        self.say("")
        self.scope.connect_to(which)

    def take_scan(self, *, suggested: bool = False) -> None:
        """Take one scan where the stage stands, or at the suggested height."""
        z_um = self._next_z_um if suggested else None
        with telling(self):
            microscope = self.scope.microscope()
            if self._take_microscope("Scanning"):
                self.live.work.take_scan(microscope, z_um)

    def run_automatically(self) -> None:
        """Scan and refine until another scan no longer pays, or the most scans are taken."""
        settings = self.setup.sources.form.read()
        with telling(self):
            microscope = self.scope.microscope()
            if self._take_microscope("Running"):
                self.live.work.acquire(
                    microscope,
                    epsilon=self.epsilon,
                    max_scans=settings.most,
                    afterwards=settings.afterwards,
                )

    def cancel(self) -> None:
        """End what the microscope does; the scans stay."""
        if self._is_at_microscope:
            self.live.work.abort.set()
            self.footer.cancelling()

    # the base's hooks -----------------------------------------------------------------
    def _check(self) -> None:
        if not self.live.is_on:
            self.setup.session_maker(self.epsilon)
        self.footer.ready()
        if self._is_at_microscope or self.live.is_starting:
            self.footer.action.setEnabled(False)

    def _is_unfinished(self) -> bool:
        return any(one.is_incomplete() for one in (self.setup.optics, self.setup.grid))

    def _layer_goes(self, event: Any = None) -> None:
        """See that its memory is freed, too."""
        super()._layer_goes()
        with contextlib.suppress(IndexError):
            SHORT_PAUSES.give_back(self._viewer.layers[event.index])

    # the session ----------------------------------------------------------------------
    def _begin(self, title: str, make: Callable[[], Any]) -> None:
        self.footer.begin(title)

        def ready() -> Any:
            get_ready()
            return make()

        self.live.start(ready)
        self._show_state()

    def _arrived(self, item: object) -> None:
        at = self.setup.sources.rows.stage
        handlers: dict[type, Callable[[Any], None]] = {
            Started: self._session_started,
            NotStarted: self._session_failed,
            Listed: self._show_scans,
            PlaneRefined: self._plane_refined,
            ScanQuestion: self.ask_about,
            Message: lambda message: self.say(message.sentence, message.kind),
            Moved: lambda moved: at.setText(f"The stage was at {moved.z_um:.4g} µm."),
            MicroscopeFree: self._microscope_free,
        }
        handlers[type(item)](item)

    def _session_started(self, started: Started) -> None:
        self.volume = LiveLayer(self._viewer, started.session, self.turns)
        on(self, self.volume.added, self._show_frame)
        on(self, self.volume.gone, lambda: self.turns.add(self._show_frame))
        self.pages.show_session(started.session)
        self.frame.forget()
        self.footer.ended()
        self.pages.setCurrentWidget(self.scans)
        self._view_moved()
        self._show_state()
        self.offer_waiting()
        self.started.emit()

    def _session_failed(self, failure: NotStarted) -> None:
        self._end_session()
        self.failed(failure.sentence)

    def _end_session(self) -> None:
        """Let the session go; the volume stays as a layer."""
        self.turns.finish()
        self.frame.remove()
        self.folder.stop()
        self.live.let_go()
        self.files.let_go()
        self.volume = self.listed = None
        self.scans.save.offer([])
        self._is_pending = self._is_at_microscope = False
        self.question.forget()
        self.footer.ended()
        self.footer.say("")
        self.scans.list.show_lines(())
        self.scans.pause.setChecked(False)
        self.pages.setCurrentWidget(self.setup)
        self._show_state()

    # the microscope -------------------------------------------------------------------
    def _take_microscope(self, title: str) -> bool:
        """Whether the session may now use the microscope, which it does for one thing at a time."""
        if self.session is None:
            raise InputError("There is no session yet: start one, then scan.")
        if self._is_at_microscope:
            return False
        self.scans.pause.setChecked(False)
        self._is_at_microscope = True
        self.footer.begin(title)
        self._show_state()
        return True

    def _frame_came(self, add: Add) -> None:
        """A frame of an acquisition that somebody else runs."""
        if self.session is None:
            self.say(f"The {add.scan.name} was not taken: start the session first.")
        else:
            self.live.work.add(add)

    def _microscope_free(self, free: MicroscopeFree) -> None:
        self._is_at_microscope = False
        self.footer.ended()
        if self._is_pending:
            self.footer.begin("Refining", aside=True)
        if free.ended is not None:
            kind = {"converged": "done", "failed": "error"}.get(free.ended.reason, "hint")
            self.say(run_over(free.ended), kind)
            self.setup.sources.rows.stage.setText(free.ended.stage)
        self._show_state()
        self.run_ended.emit(free.ended)

    def _microscope_connected(self, microscope: Any) -> None:
        """Fill in what the microscope knows, unless a session runs."""
        if not self.live.is_on:
            optics, panel = self.scope.optics, self.setup.optics
            if optics is not None:
                panel.set_values(optics.as_dict(), "of the simulated microscope")
            else:
                panel.set_values({"pixel_um": microscope.pixel_um}, "from the microscope")
            with contextlib.suppress(InputError):  # all that the stage reaches
                depth_um = panel.optics().depth_of_field_um
                self.setup.grid.propose(default_grid(microscope.limits_um, depth_um))
        self._show_state()

    # what the session reports -----------------------------------------------------------------
    def _show_scans(self, listed: Listed) -> None:
        assert self.volume is not None  # made with the session
        self.listed, self._is_pending = listed, listed.is_pending
        if self.volume.layer is None:
            self.volume.contrast = listed.contrast
        self.scans.list.show_lines(listed.lines)
        if listed.is_pending and not self.scans.pause.isChecked():
            self.footer.begin("Refining", aside=True)
        elif not listed.is_pending:
            self.footer.show_bar(self._is_at_microscope)
            self.volume.finish(listed)
        self._draw()
        self._show_next()
        self._show_state()
        if listed.is_pending or not listed.lines:
            self.scans.save.offer([])
        else:
            self.turns.after(self._refined)

    def _refined(self) -> None:
        """The layer is there, and shows the finished volume."""
        volume, session = self.volume, self.session
        if volume is not None and session is not None:
            shown = [] if volume.layer is None else [volume.layer]
            self.scans.save.offer(shown, finished_volume(session))
        self.refined.emit()

    def _plane_refined(self, refined: PlaneRefined) -> None:
        assert self.volume is not None  # made with the session
        self.volume.show()
        now = time.monotonic()
        if now - self._bar_moved > _PROGRESS_S:  # the bar paints at once, with all that waits
            self._bar_moved = now
            update = refined.update
            total = update.total if update.done else 0
            self.footer.progress(update.done, total, STAGES[update.stage])

    def _draw(self) -> None:
        """Verdict and plots, as they are with ε now."""
        listed = self.listed
        if self.session is None or listed is None:
            self.scans.plot.show_reason(NOTHING)
            self.scans.verdict.say("")
            return
        verdict = self.session.verdict(self.epsilon, listed.history)
        if listed.is_pending:
            verdict = replace(verdict, stop=False, sentence=NO_VERDICT, next_change=math.nan)
        self.scans.verdict.say(verdict.sentence, "done" if verdict.stop else "hint")
        counts = [entry.scans for entry in listed.history]
        changes = [entry.relative_change for entry in listed.history]
        stopping = Stopping(counts, changes, self.epsilon, verdict.next_change)
        self.scans.plot.show_figure(live_figure(stopping, listed.over_z))

    @property
    def _next_z_um(self) -> float | None:
        """The height where another scan should help most."""
        return None if self.listed is None else self.listed.over_z.suggested_um

    def _show_next(self) -> None:
        """The suggested height: in words, and soon as a frame in the viewer."""
        z_um = self._next_z_um
        self.scans.next.setText("–" if z_um is None else f"{z_um:.4g} µm")
        self.turns.add(self._show_frame)  # beside a thread that works it would take long

    def _is_quiet(self) -> bool:
        return self.live.is_at_rest and not self.scans.canvas.is_drawing

    def _frame_wanted(self, is_wanted: bool) -> None:
        if not is_wanted:  # at once: wanted again before its turn, it would stay as it was
            self.frame.hide()
        self._show_next()

    def _show_frame(self) -> None:
        if self.session is None or self.volume is None:
            return  # it has ended, and the frame is gone with it
        z_um, layer = self._next_z_um, self.volume.layer
        if layer is None:
            self.frame.remove()
        elif z_um is not None and self.scans.frame.isChecked():
            self.frame.show(z_um, self.session.grid, layer)
        else:
            self.frame.hide()

    def _show_state(self) -> None:
        """Enable what can be done now, and name the main button."""
        scans, sources = self.scans, self.setup.sources
        is_live = self.session is not None
        is_free = is_live and not self._is_at_microscope
        count = len(self.session.scans) if is_live else 0
        scans.undo.setEnabled(is_free and count > 0)
        scans.renormalise.setEnabled(is_free and count > 1)
        for tool in (scans.pause, scans.again, scans.plan):
            tool.setEnabled(is_free)
        for button in (sources.rows.here, sources.rows.there):
            button.setEnabled(is_free and self.scope.is_connected)
        watched = sources.form.folder.value if self.folder.is_watching else ""
        sources.rows.folder.setText(f"Watching {watched}" if watched else "No folder is watched.")
        scans.go.setEnabled(is_live and self.listed is not None)
        scans.place.say(PLACES.get(self.session.state_place, "") if is_live else "")
        self.setup.lock(self.live.is_on)
        if not is_live:
            self.footer.name_action(*START)
            self._draw()
        elif self.folder.is_watching and sources.source == FOLDER:
            self.footer.name_action(*STOP_WATCHING)
        else:
            self.footer.name_action(*ACTIONS[sources.source])
        self.check()

    # wiring ---------------------------------------------------------------------------
    def _view_moved(self) -> None:
        """Planes in view come first."""
        if self.session is not None:
            self.live.work.order = planes_from_view(self._viewer, self.session.grid)

    def _paused(self, is_paused: bool) -> None:
        self.live.work.pause(is_paused)
        self.footer.show_bar(self._is_pending and not is_paused)
        self.say("Paused: scans are taken, the volume waits." if is_paused else "")

    def _connect(self) -> None:
        setup, scans, sources = self.setup, self.scans, self.setup.sources
        rows, which = sources.rows, sources.form.microscope
        for part in (setup.optics, setup.grid, setup.method):
            part.changed.connect(self._check_timer.start)
        slots: tuple[tuple[Any, Callable[..., object]], ...] = (
            (self.live.arrived, self._arrived),
            (sources.changed, self._show_state),
            (sources.connect_button.clicked, lambda: self.connect_microscope(which.value)),
            (rows.here.clicked, lambda: self.take_scan()),
            (rows.there.clicked, lambda: self.take_scan(suggested=True)),
            (scans.epsilon.valueChanged, lambda _: self._draw()),
            (scans.frame.toggled, self._frame_wanted),
            (scans.list.removed, lambda rows: self.remove(rows[0])),
            (scans.list.looked_at, lambda z_um: show_height(self._viewer, z_um)),
            (scans.undo.clicked, self.undo),
            (scans.pause.toggled, self._paused),
            (scans.again.clicked, self.start_again),
            (scans.go.clicked, self.go_there),
            (scans.plan_wanted, lambda error: self.live.work.plan(error)),
            (scans.renormalise.clicked, lambda: self.live.work.renormalise()),
            (self.folder.scan, lambda add: self.live.work.add(add)),
            (self.folder.changed, self._show_state),
            (self.folder.said, self.say),
            (self.scope.said, self.say),
            (self.scope.scan, self._frame_came),
            (self.scope.connected, self._microscope_connected),
            (self.files.said, self.say),
            (self.files.opened, lambda make: self._begin("Opening", make)),
            (self._viewer.dims.events.point, self._view_moved),
        )
        for signal, slot in slots:
            on(self, signal, slot)
        self.files.place(self.pages)
        fit = guarded(self, self.ui.fit)
        on(self, self.pages.currentChanged, lambda _: QTimer.singleShot(0, fit))
        self.shortcut("Ctrl+Z", self.undo)
        self.shortcut("Ctrl+Space", scans.pause.click)
        self.shortcut("Ctrl+G", self.go_there)
        self.at_end = [self.live.let_go, self.folder.let_go, self.scope.let_go, self.files.close]
