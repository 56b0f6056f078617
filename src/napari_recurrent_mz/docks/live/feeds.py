"""What gives a live session its scans by itself: a watched folder, a microscope."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from ...acquisition import (
    CoreMicroscope,
    FolderBack,
    NewScan,
    load_core,
    simulated_microscope,
    simulated_sample,
    watch_folder,
)
from ...core.scans import InputError
from ..shared.drop import doubts_about
from ..shared.guard import on, sentence_of
from ..shared.worker import Outcome, Run, in_background
from .messages import Add
from .sources import SIMULATED, FolderPage, MicroscopePage


class FolderFeed(QObject):
    """Watches the folder of a page; ``scan`` gives what a session is asked."""

    scan = Signal(object)
    said = Signal(str, str)
    changed = Signal()
    """Watching has begun or ended."""

    def __init__(self, page: FolderPage) -> None:
        super().__init__()
        self._page = page
        self._run: Run | None = None

    @property
    def is_watching(self) -> bool:
        """Whether new files become scans now."""
        return self._run is not None

    def start(self) -> None:
        """Watch the folder that the page says.

        Raises
        ------
        InputError
            If it says none.
        """
        self.stop()
        folder, page = self._page.path(), self._page
        pattern, existing = page.pattern.text().strip() or None, page.existing.isChecked()

        def work(*, stop: threading.Event) -> Iterator[object]:
            yield from watch_folder(folder, stop=stop, pattern=pattern, existing=existing)

        self._run = Run(work, waits=True)
        on(self, self._run.arrived, self._arrived)
        on(self, self._run.ended, self._ended)
        self._run.start()
        self._page.lock(True)
        self.said.emit(f"Watching '{folder.name}': new TIFFs become scans.", "hint")
        self.changed.emit()

    def stop(self) -> None:
        """Watch no longer."""
        if self._run is not None:
            self.let_go()
            self._page.lock(False)
            self.changed.emit()

    def let_go(self) -> None:
        """End the thread, and touch nothing else: the page may be gone."""
        if self._run is not None:
            self._run.let_go()
        self._run = None

    def _arrived(self, event: object) -> None:
        if isinstance(event, NewScan):
            self.scan.emit(Add(event.scan, event.image.pixel_um))
            doubts = doubts_about([event.image])
            if doubts:
                self.said.emit(" ".join(doubts), "warning")
        else:
            kind = "done" if isinstance(event, FolderBack) else "warning"
            self.said.emit(event.sentence, kind)  # type: ignore[attr-defined]

    def _ended(self, outcome: Outcome) -> None:
        if outcome.state == "failed":
            self.stop()
            self.said.emit(outcome.sentence, "error")


class MicroscopeFeed(QObject):
    """Connects to what a page says, and gives the microscope with the page's limits."""

    said = Signal(str, str)
    connected = Signal(object)
    """With the :class:`~.CoreMicroscope`."""

    def __init__(self, page: MicroscopePage) -> None:
        super().__init__()
        self._page = page
        self._microscope: CoreMicroscope | None = None
        self.optics: Any = None

    @property
    def is_connected(self) -> bool:
        """Whether there is a microscope."""
        return self._microscope is not None

    def connect_to(self, which: str) -> None:
        """Connect, without blocking the window; ``connected`` or a sentence follows."""
        page = self._page
        page.connect_button.setEnabled(False)
        page.state.setText("Connecting…")
        in_background(self, _prepared, which, then=self._ready, failed=self._failed)

    def microscope(self) -> CoreMicroscope:
        """The microscope, within the limits that the page says now.

        Raises
        ------
        InputError
            If there is none, or the limits are missing or make no sense.
        """
        if self._microscope is None:
            raise InputError("No microscope is connected: choose one and press Connect.")
        self._microscope.limits_um = self._page.limits_um()
        return self._microscope

    def use(self, microscope: CoreMicroscope, optics: Any = None) -> None:
        """Take this microscope, whose optics are known if it is simulated."""
        self._microscope, self.optics = microscope, optics
        for edit, value in zip(
            (self._page.low, self._page.high), microscope.limits_um, strict=True
        ):
            edit.set_value(value)
        self._page.connect_button.setEnabled(True)
        self._page.state.setText(f"{microscope.name}.")
        self.connected.emit(microscope)

    def _ready(self, sample: Any) -> None:
        """Make the microscope here: its core tells Qt of what it does, in this thread."""
        try:
            if sample is not None:
                self.use(simulated_microscope(sample), sample.optics)
            else:
                self.use(CoreMicroscope(limits_um=self._page.limits_um()))
        except Exception as error:
            self._failed(sentence_of(error))

    def _failed(self, sentence: str) -> None:
        self._page.connect_button.setEnabled(True)
        self._page.state.setText("Not connected.")
        self.said.emit(sentence, "error")


def _prepared(which: str) -> Any:
    """What takes a while: pymmcore-plus itself, and the sample of a simulated microscope."""
    load_core()
    return simulated_sample() if which == SIMULATED else None
