"""How far saving is, and a way to end it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QWidget

from ...core.progress import Progress, Steps, Stopped, stepping
from ..shared.guard import on
from ..shared.parts import push_button, show_progress
from ..shared.worker import Outcome, Run
from .layer_files import LayersFile

_OF_A_RUNNING_SESSION = ("state", "next_z_um")


class SavingRow(QWidget):
    """Saves in a thread, and shows how far it is and a button to end it: in the footer."""

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None
        self._name = ""
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
        return self._run is not None

    def save(self, name: str, write: Callable[[], Any], then: Callable[[Outcome], object]) -> None:
        """Write a file or folder of this name in a thread; ``then`` gets how it ended."""

        def written(stop: threading.Event) -> Steps[Any]:
            results: list[Any] = []
            for step in stepping(lambda: results.append(write()), stop.is_set):
                with contextlib.suppress(Stopped):  # who writes looks up, unless all is written
                    yield step
            return results[0]

        def ended(outcome: Outcome) -> None:
            self._run = None
            self.hide()
            then(outcome)

        self._name, self._run = name, Run(written)
        on(self, self._run.arrived, self._step)
        on(self, self._run.ended, ended)
        self.cancel.setEnabled(True)
        self._step(Progress(0, 1))
        self.show()
        self._run.start()

    def _step(self, step: Progress) -> None:
        if self._run is not None and not self._run.is_cancelled:
            show_progress(self.bar, step.done, step.total, f"Saving '{self._name}': %p%")

    def _cancel(self) -> None:
        if self._run is not None:
            self._run.cancel()
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
