"""Save volume…: a button that writes a layer to a file while the window goes on."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Image, Layer
from qtpy.QtWidgets import QHBoxLayout, QWidget

from ...core.progress import Step, Steps, Stopped, stepping, tell
from ...core.scans import InputError
from ...io import check_output
from ...io._zarr import NGFF
from ..shared.file_names import chosen_file, joint_name
from ..shared.guard import on, one_shot, say, telling
from ..shared.parts import ProgressBar, column_of, described, push_button, show_progress
from ..shared.worker import Outcome, Run
from .layer_files import LayersFile, check_free

_OF_A_RUNNING_SESSION = ("state", "next_z_um")
_OLD_ZARR = f"OME-Zarr {NGFF[1]}, for programs that do not read {NGFF[0]} (*.ome.zarr)"
VOLUMES = f"OME-TIFF (*.ome.tif);;OME-Zarr, for large volumes (*.ome.zarr);;{_OLD_ZARR}"
IMAGES = "OME-TIFF (*.ome.tif)"
_PATIENCE_MS = 1000  # what is saved sooner needs no bar


class SavingRow(QWidget):
    """Saves in a thread, and shows how far it is and a button to end it: in the footer."""

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None
        self._name = ""
        self.bar = described(ProgressBar(), "Progress of saving")
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
        self._step(Step(0, 1))
        self.show()
        self._run.start()

    def _step(self, step: Step) -> None:
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


Prepare = Callable[[LayersFile], LayersFile]


class SaveButton(QWidget):
    """Saves a layer where a person says and shows progress; no file is ever replaced."""

    def __init__(self, what: str, kinds: str = VOLUMES) -> None:
        super().__init__()
        self._what, self._kinds = what, kinds
        self._tip = f"Save the {what} with its size, heights and how it was made"
        self._layers: list[weakref.ref[Image]] = []
        self._prepare: Prepare | None = None
        self.button = push_button(f"Save {what}…", self._tip)
        self.saving = SavingRow()
        self._patience = one_shot(self, _PATIENCE_MS, self.saving.show)
        on(self, self.button.clicked, self.ask)
        column_of(self, self.button, self.saving).setSpacing(2)
        self.offer([])

    @property
    def layers(self) -> list[Image]:
        """What is offered, as far as it is still there: several are the channels of one file."""
        return [layer for ref in self._layers if (layer := ref()) is not None]

    def offer(self, layers: Sequence[Image], prepare: Prepare | None = None) -> None:
        """Save these layers from now on, after ``prepare`` in the thread; none: nothing to save."""
        self._layers = [weakref.ref(layer) for layer in layers]
        self._prepare = prepare
        self.button.setEnabled(bool(layers) and not self.saving.is_on)
        why_not = f"There is no finished {self._what} yet"
        self.button.setToolTip(self._tip if layers else why_not)

    def forget(self, layer: Layer) -> None:
        """Offer a layer no more that has left the viewer."""
        if layer in self.layers:
            self.offer([one for one in self.layers if one is not layer], self._prepare)

    def ask(self) -> None:
        """Ask where to save, and save."""
        layers = self.layers
        if not layers:
            say(self, f"There is no {self._what} to save: make it first.")
            return
        title, name = f"Save {self._what}", joint_name([layer.name for layer in layers])
        chosen = chosen_file(self, title, name, self._kinds, confirm=False)
        if chosen is not None:
            path, kind = chosen
            is_old = kind == _OLD_ZARR and path.suffix == ".zarr"
            self.save_to(path, NGFF[1] if is_old else NGFF[0])

    def save_to(self, path: Path, ngff: str = NGFF[0]) -> None:
        """Save the layer, in a thread; ``ngff`` is the version of an OME-Zarr."""
        with telling(self):
            if not self.layers:
                raise InputError(f"The {self._what} is no longer there: make it again.")
            check_free(check_output(path))
            self._begin(LayersFile.of(self.layers), path, ngff)

    def _begin(self, file: LayersFile, path: Path, ngff: str) -> None:
        prepare = self._prepare

        def write() -> Path:
            prepared = file if prepare is None else prepare(file)
            check_free(path)  # it may have come in the meantime
            return prepared.write(path, partial(tell, ""), ngff)

        def ended(outcome: Outcome) -> None:
            self._patience.stop()
            self.offer(self.layers, self._prepare)
            if outcome.state == "done":
                say(self, f"Saved in '{outcome.value}'.", "done")
            elif outcome.state == "cancelled":
                say(self, f"Stopped: '{path.name}' was not saved.")
            else:
                say(self, outcome.sentence, "error")

        self.saving.save(path.name, write, ended)
        self.saving.hide()
        self._patience.start()
        self.button.setEnabled(False)
