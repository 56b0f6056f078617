"""What gives a live session its scans: a person, a watched folder, the microscope."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QStackedWidget, QToolButton, QWidget

from ...acquisition import (
    CoreMicroscope,
    FolderBack,
    NewScan,
    OthersFrames,
    load_core,
    running_core,
    simulated_microscope,
    simulated_sample,
    watch_folder,
)
from ...acquisition.acquisition import MAX_SCANS
from ...core.errors import sentence_of
from ...core.scans import InputError, Scan
from ..shared.drop import doubts_about
from ..shared.form import FormPanel, NumberEdit, as_named, asked, faint, typed_path
from ..shared.guard import emit_alive, on
from ..shared.parts import column_of, described, line_of, push_button
from ..shared.worker import Outcome, Run, in_background
from .work import Add

HAND, FOLDER, MICROSCOPE = "0", "1", "2"
MICRO_MANAGER, SIMULATED = "micro-manager", "simulated"
GROUP = "live"

_FIELDS = {
    HAND: "",
    FOLDER: "folder pattern existing",
    MICROSCOPE: "microscope low high most afterwards others channel",
}


@dataclass(frozen=True)
class ScanSource:
    """Where scans come from."""

    stored: ClassVar = as_named(
        "source folder pattern existing low high most afterwards others channel"
    ) | {"microscope": "scope"}
    source: str = asked(
        "Scans come",
        "Where scans come from; files can always be dropped on the dock",
        HAND,
        choices={
            HAND: "by hand",
            FOLDER: "from a watched folder",
            MICROSCOPE: "from the microscope",
        },
    )
    folder: str = asked(
        "Folder",
        "The folder that your acquisition software writes TIFFs or OME-Zarr to",
        "",
        example="a folder",
    )
    pattern: str = asked(
        "Pattern",
        "Which files are scans, and where the height stands in their names: * is anything, "
        "{z} the height; empty: every image, its height from its metadata or name",
        "",
        example="*_z{z}um*.tif, or empty",
    )
    existing: bool = asked(
        "Also the files that are already there",
        "Take the files that are in the folder already, then new ones",
        True,
    )
    microscope: str = asked(
        "Microscope",
        "Micro-Manager as it runs in this napari, or a simulated microscope",
        MICRO_MANAGER,
        choices={MICRO_MANAGER: "Micro-Manager", SIMULATED: "Simulated"},
    )
    low: float | None = asked(
        "lower limit of z",
        "The stage is never sent below this height, in µm",
        label="z limits (µm)",
        example="lowest",
    )
    high: float | None = asked(
        "upper limit of z",
        "The stage is never sent above this height, in µm",
        label="to",
        example="highest",
        beside=True,
    )
    most: int = asked(
        "Most scans",
        "An automatic run takes at most so many scans",
        MAX_SCANS,
        label="At most",
        unit="scans,",
        limits=(1, 100, 1),
    )
    afterwards: str = asked(
        "Afterwards",
        "Where an automatic run leaves the stage, also when aborted",
        "return",
        label="",
        choices={"return": "then return", "stay": "then stay"},
        beside=True,
    )
    others: bool = asked(
        "Frames of other acquisitions too",
        "Take the frames of acquisitions that others run in this napari, for instance in the MDA "
        "window of napari-micromanager: one channel at one place and time",
        False,
    )
    channel: str = asked(
        "Channel",
        "Which channel of other acquisitions is taken; empty: the first of each",
        "",
        label="Their channel",
        example="the first",
    )


@dataclass(frozen=True)
class NextScan:
    """Where the next scan is suggested."""

    stored: ClassVar = as_named("rule")
    rule: str = asked(
        "Next scan",
        "How the height of the next scan is suggested",
        "expected-error",
        choices={
            "expected-error": "where the expected error falls most",
            "largest-gap": "in the widest gap",
            "spread": "where the scans disagree most",
        },
    )


class SourceRows(QStackedWidget):
    """What is done again and again while scans come, a row for each source."""

    def __init__(self) -> None:
        super().__init__()
        self.height_um = described(
            NumberEdit("height of the next scan: from the image"),
            "height of the next scan",
            "Height of the scan in µm, where the image does not say it; else leave it empty",
        )
        self.here = push_button("Scan here", "Take a scan where the stage stands now")
        self.there = push_button(
            "Scan at next z", "Move to where another scan should help most, and scan there"
        )
        self.folder, self.stage = faint(), faint()
        for parts, words in (
            ((self.height_um,), faint("Select an image and add it, or drop image files here.")),
            ((), self.folder),
            ((self.here, self.there), self.stage),
        ):
            page = QWidget()
            column_of(page, line_of(*parts, stretch=1), words)
            self.addWidget(page)


class SourcePanel(FormPanel):
    """Which source, and what it needs; :attr:`rows` is what is done with it."""

    def __init__(self) -> None:
        super().__init__(ScanSource, group=GROUP)
        self.rows = SourceRows()
        self.choose = described(QToolButton(), "Choose the folder", "Choose the folder")
        self.choose.setText("…")
        self.connect_button = push_button(
            "Connect", "Use the camera and the focus drive that are loaded"
        )
        self.state = faint("Not connected.")
        self.hint = faint("Select an image in the layer list and add it, or drop image files here.")
        self.form.put_under("source", self.hint)
        self.form.put_beside("folder", self.choose)
        self.form.put_beside("microscope", self.connect_button)
        self.form.put_under("most", self.state)
        on(self, self.choose.clicked, self._ask_for_folder)
        on(self, self.form.source.changed, self._source_changed)
        self._source_changed()

    @property
    def source(self) -> str:
        """``HAND``, ``FOLDER`` or ``MICROSCOPE``."""
        return str(self.form.source.value)

    def folder(self) -> Path:
        """The folder to watch; InputError if none is given."""
        text = self.form.folder.value.strip()
        if not text:
            raise InputError("No folder is given: choose the one that scans are written to.")
        return typed_path(text)

    def limits_um(self) -> tuple[float, float]:
        """Lowest and highest height that the stage may be sent to; InputError if one is missing."""
        low, high = self.form.low.value, self.form.high.value
        if low is None or high is None:
            raise InputError(
                "The limits of z are missing: type the lowest and the highest height that the "
                "stage may be sent to, in µm."
            )
        return low, high

    def lock_folder(self, is_watching: bool) -> None:
        """While the folder is watched, it cannot be another one."""
        self.form.enable_fields(_FIELDS[FOLDER], not is_watching)

    def _source_changed(self) -> None:
        for source, names in _FIELDS.items():
            self.form.show_fields(names, source == self.source)
        self.hint.setVisible(self.source == HAND)
        self.rows.setCurrentIndex(int(self.source))
        self.changed.emit()

    def _ask_for_folder(self) -> None:
        start = self.form.folder.value or str(Path.home())
        chosen = QFileDialog.getExistingDirectory(self, "Watch a folder", start)
        if chosen:
            self.form.folder.value = chosen


class FolderFeed(QObject):
    """Watches the folder of a panel; ``scan`` gives what a session is asked."""

    scan = Signal(object)
    said = Signal(str, str)
    changed = Signal()  # watching has begun or ended

    def __init__(self, panel: SourcePanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._run: Run | None = None

    @property
    def is_watching(self) -> bool:
        return self._run is not None

    def start(self) -> None:
        """Watch the folder that the panel names; InputError if it names none."""
        self.stop()
        folder, settings = self._panel.folder(), self._panel.form.read()
        pattern = settings.pattern.strip() or None

        def work(*, stop: threading.Event) -> Iterator[object]:
            yield from watch_folder(folder, stop=stop, pattern=pattern, existing=settings.existing)

        self._run = Run(work, waits=True)
        on(self, self._run.arrived, self._arrived)
        on(self, self._run.ended, self._ended)
        self._run.start()
        self._panel.lock_folder(True)
        self.said.emit(f"Watching '{folder.name}': new images become scans.", "hint")
        self.changed.emit()

    def stop(self) -> None:
        if self._run is not None:
            self.let_go()
            self._panel.lock_folder(False)
            self.changed.emit()

    def let_go(self) -> None:
        """End the thread, and touch nothing else: the panel may be gone."""
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
    """Connects to what a panel says, and gives the microscope with the panel's limits."""

    scan = Signal(object)
    said = Signal(str, str)  # both are safe from any thread
    connected = Signal(object)  # with the CoreMicroscope

    def __init__(self, panel: SourcePanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._microscope: CoreMicroscope | None = None
        self._others: OthersFrames | None = None
        self.optics: Any = None
        for field in (panel.form.source, panel.form.others, panel.form.channel):
            on(self, field.changed, self.listen)
        self.listen()

    @property
    def is_connected(self) -> bool:
        return self._microscope is not None

    def connect_to(self, which: str) -> None:
        """Connect, without blocking the window; ``connected`` or a sentence follows."""
        self._panel.connect_button.setEnabled(False)
        self._panel.state.setText("Connecting…")
        in_background(self, _prepared, which, then=self._ready, failed=self._failed)

    def microscope(self) -> CoreMicroscope:
        """The microscope within the panel's limits; InputError if one of them is missing."""
        if self._microscope is None:
            raise InputError("No microscope is connected: choose one and press Connect.")
        self._microscope.limits_um = self._panel.limits_um()
        return self._microscope

    def use(self, microscope: CoreMicroscope, optics: Any = None) -> None:
        """Take this microscope, whose optics are known if it is simulated."""
        self._microscope, self.optics = microscope, optics
        form = self._panel.form
        form.low.value, form.high.value = microscope.limits_um
        self._panel.connect_button.setEnabled(True)
        self._panel.state.setText(f"{microscope.name}.")
        self.connected.emit(microscope)
        self.listen()

    def listen(self) -> None:
        """Take the frames of acquisitions that others run, or no longer, as the panel says."""
        self.let_go()
        if self._listens:
            in_background(
                self, load_core, then=self._listen, failed=lambda why: self.said.emit(why, "error")
            )

    def let_go(self) -> None:
        """Take no frames of others."""
        if self._others is not None:
            self._others.close()
        self._others = None

    @property
    def _listens(self) -> bool:
        return bool(self._panel.form.others.value) and self._panel.source == MICROSCOPE

    def _listen(self, _core_class: Any) -> None:
        self.let_go()
        if not self._listens:
            return
        core = running_core() if self._microscope is None else self._microscope.core

        def took(scan: Scan) -> None:
            emit_alive(self, "scan", Add(scan, scan.acquired.get("pixel_um")))

        self._others = OthersFrames(
            core,
            took,
            lambda sentence: emit_alive(self, "said", sentence, "hint"),
            self._panel.form.channel.value,
        )

    def _ready(self, sample: Any) -> None:
        """Make the microscope here: its core tells Qt of what it does, in this thread."""
        try:
            if sample is not None:
                self.use(simulated_microscope(sample), sample.optics)
            else:
                self.use(CoreMicroscope(limits_um=self._panel.limits_um()))
        except Exception as error:
            self._failed(sentence_of(error))

    def _failed(self, sentence: str) -> None:
        self._panel.connect_button.setEnabled(True)
        self._panel.state.setText("Not connected.")
        self.said.emit(sentence, "error")


def _prepared(which: str) -> Any:
    """What takes a while: pymmcore-plus itself, and the sample of a simulated microscope."""
    load_core()
    return simulated_sample() if which == SIMULATED else None
