"""How far saving is, and a way to end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QWidget

from ...core.progress import listening
from ..shared.guard import on
from ..shared.parts import push_button, show_progress
from .layer_files import LayersFile

_OF_A_RUNNING_SESSION = ("state", "next_z_um")
_REPORT_EVERY_S = 0.1


class StoppedError(Exception):
    """A person does not want it saved any more."""


class Saving:
    """Reports pieces done and in all from the saving thread; raises once ``stop`` is set."""

    def __init__(self, report: Callable[[int, int], object], stop: threading.Event) -> None:
        self._report, self._stop, self._reported = report, stop, 0.0

    def __call__(self, _words: str, done: int, total: int) -> None:
        """A piece begins."""
        if self._stop.is_set():
            raise StoppedError
        if time.monotonic() - self._reported >= _REPORT_EVERY_S:
            self._reported = time.monotonic()
            self._report(done, total)


class SavingRow(QWidget):
    """How far saving is, and a button that sets ``stop``: in the footer while saving lasts."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop, self._name = stop, ""
        self.bar = QProgressBar()
        self.bar.setAccessibleName("Progress of saving")
        self.cancel = push_button(
            "Cancel saving", "What is in the file or folder now stays as it is"
        )
        on(self, self.cancel.clicked, self._cancel)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.bar, 1)
        line.addWidget(self.cancel)
        self.hide()

    @property
    def is_on(self) -> bool:
        """Whether something is being saved."""
        return bool(self._name)

    def begin(self, name: str) -> None:
        """A file or folder of this name is being written."""
        self._name = name
        self._stop.clear()
        self.cancel.setEnabled(True)
        self.step(0, 1)
        self.show()

    def step(self, done: int, total: int) -> None:
        """So many pieces are done."""
        if self.is_on and not self._stop.is_set():
            show_progress(self.bar, done, total, f"Saving '{self._name}': %p%")

    def end(self) -> None:
        """It is over."""
        self._name = ""
        self.hide()

    def _cancel(self) -> None:
        self._stop.set()
        self.cancel.setEnabled(False)
        self.bar.setFormat("Stopping…")


def finished_volume(session: Any) -> Callable[[LayersFile], LayersFile]:
    """What puts the session's volume in a file, in a thread, as scans may come meanwhile."""

    def take(file: LayersFile) -> LayersFile:
        from ...engine.session import finished_volume as volume_of

        channel = replace(file.channels[0], pixels=volume_of(session))
        record = {key: file.record[key] for key in file.record if key not in _OF_A_RUNNING_SESSION}
        return replace(file, channels=(channel,), record=record)

    return take


def save_listened(session: Any, path: Path, listener: Saving) -> Path | None:
    """Save; None if somebody has ended it."""
    from ...engine.session import save

    try:
        with listening(listener):
            return save(session, path)
    except StoppedError:
        return None
