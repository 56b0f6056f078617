"""The Train dock: a model adapted to one microscope, from full stacks taken with it."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import threading
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog

from ...core.progress import Listener, Stopped, listening
from ...core.scans import InputError
from ..shared import drop as _drop
from ..shared import layers as _layers
from ..shared import settings as _settings
from ..shared.dock import Dock
from ..shared.guard import emit_alive, on, telling
from ..shared.layer_choice import LayerChoice
from ..shared.method_panel import own_models
from ..shared.stacks import is_measured_stack, lacks_step, selected_or_only
from ..shared.worker import Outcome, in_background
from .job import ENDING, AdaptJob, build_job, gains_figure, outcome_words
from .layout import TrainLayout

_GROUP = "train"


def adapt_steps(
    job: AdaptJob, judging: Listener, stop: threading.Event
) -> Generator[object, None, dict[str, Any] | None]:
    """Yield what to mind and the progress of every step; give what came of it.

    ``judging`` is told how far a judgement is, in the same thread. When the work is stopped, the
    best weights so far are kept, if there are any.
    """
    from ...estimates.saturation import stack_saturation_notes
    from ...networks.weights import load_model
    from ...training.adapt import Adapter, adapting, gain_at_start, write_adapted
    from ...training.measured import held_out_notes, measured_field

    fields = []
    for name, lazy, heights in job.stacks:
        pixels = np.asanyarray(lazy)
        yield from stack_saturation_notes(name, pixels)
        fields.append(measured_field(pixels, heights, job.optics, name))
        yield from held_out_notes(fields[-1])
    start = load_model(job.model)
    with tempfile.TemporaryDirectory(prefix="recurrent-mz-") as folder:
        adapter = Adapter(
            adapting(start, fields),
            fields,
            Path(folder),
            start=start,
            device=job.device,
            minutes=job.minutes,
            stopped=stop.is_set,
        )
        with contextlib.suppress(Stopped), contextlib.closing(adapter.run()) as steps:
            while True:
                with listening(judging):
                    now = next(steps, None)
                if now is None:
                    break
                yield now
        if not adapter.has_best:
            return None
        write_adapted(adapter, job.path)
        return {"start": gain_at_start(Path(folder)), "best": adapter.best_db,
                "step": adapter.step, "from": start.name}  # fmt: skip


class TrainDock(Dock):
    """Stacks, optics, the model to start from, the time; Adapt and Stop; a live curve."""

    judged = Signal(str, int, int)  # what is done, how many questions are answered, and of how many

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(
            napari_viewer, "Adapt", "Train on the stacks; the stacks stay as they are", TrainLayout
        )
        self.inputs = self.ui.inputs
        self._job: AdaptJob | None = None
        self.curve: list[tuple[int, float]] = []
        self._notes: list[str] = []
        self._suggested = ""
        self._agreed = ""
        self._restore()
        self._connect()
        with telling(self):
            self._choose_what_is_there()
        self.ui.method.look_around()
        self._draw_curve()
        self.check()

    # what a script calls --------------------------------------------------------------
    def act(self) -> None:
        """Start the adaptation that the dock describes."""
        if self.run is not None:
            return
        with telling(self):
            job = build_job(self.ui, self._agreed)
            self._remember()
            self._job, self.curve, self._notes = job, [], []
            self._draw_curve()
            judging = partial(emit_alive, self, "judged")
            self.start(adapt_steps, job, judging, title="Judging the model as it is")

    def cancel(self) -> None:
        """Stop after this step; the best weights so far are kept."""
        super().cancel()
        if self.run is not None:
            self.say("Stopping after this step…")

    def _check(self) -> None:
        if self.run is not None:
            return
        sentence = ""
        try:
            build_job(self.ui, self._agreed)
        except InputError as error:
            sentence = str(error)
        begun = not self.ui.chosen or self.ui.optics.is_incomplete()
        self.footer.ready(sentence, "hint" if begun else "error")

    # running --------------------------------------------------------------------------
    def _arrived(self, item: Any) -> None:
        if isinstance(item, str):  # what to mind stays in sight while the network learns
            self._notes.append(item)
            self.footer.state.say("\n".join(f"⚠ {note}" for note in self._notes), "warning")
        elif self.run is not None and not self.run.is_cancelled:
            if item.gain_db is not None:
                self.curve.append((item.step, item.gain_db))
                self._draw_curve()
            if math.isfinite(item.seconds_left):
                self.footer.progress(item.step, item.steps, "Training steps", item.seconds_left)
                self.say("")

    def _judging(self, _words: str, done: int, total: int) -> None:
        """The weights are judged, which takes as long as many steps."""
        if self.run is not None and not self.run.is_cancelled:
            words = "Judging the weights" if self.curve else "Judging the model as it is"
            self.footer.progress(done, total, words, math.nan)

    def _draw_curve(self) -> None:
        if self.curve:
            self.ui.plot.show_figure(gains_figure(list(self.curve)))
        else:
            self.ui.plot.show_reason("The curve appears here")

    def _keeps(self, _outcome: Outcome) -> bool:
        return True

    def _conclude(self, outcome: Outcome) -> None:
        if outcome.state == "done" and self._job is not None:
            path = self._job.path
            self._agreed = str(path)
            own_models().add(str(path))
            self._suggested = ""
            sentence, kind = outcome_words(outcome.value, path)
            self.say("\n".join([sentence, *self._notes]), "warning" if self._notes else kind)
        elif outcome.state == "cancelled":
            self.say("Stopped before anything was learned: no file was written.")
        else:
            self.say(outcome.sentence, "error")
        self.check()

    # layers and files -----------------------------------------------------------------
    def _choose_what_is_there(self) -> None:
        """A selected stack, or the only one that was not made from scans."""
        if self.ui.chosen or self.run is not None:
            return
        for layer in selected_or_only(self._viewer, is_measured_stack)[:1]:
            self.ui.stacks.first.value = layer

    def _stack_chosen(self) -> None:
        if self.run is None:
            self.footer.say("")
        self.ui.optics.follow(_layers.optics_by_image(self.ui.chosen))
        self._suggest_name()
        self.ui.stacks.show_field("step", any(map(lacks_step, self.ui.chosen)))
        self.check()

    def _suggest_name(self) -> None:
        """A name of the first stack's that is not taken, unless a person typed one."""
        chosen = self.ui.chosen
        if not chosen or self.ui.result.path.value != self._suggested:
            return
        folder = Path(self._folder)
        name = _layers.file_stem(_layers.common_name([chosen[0].name]))
        stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "my"
        tries = [f"{stem}-adapted{n}{ENDING}" for n in ("", *(f"-{k}" for k in range(2, 100)))]
        free = next((name for name in tries if not (folder / name).exists()), tries[-1])
        self._suggested = str(folder / free)
        self.ui.result.path.value = self._suggested

    def _open_file(self, choice: LayerChoice) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a z-stack", self._folder, "Stacks (*.tif *.tiff);;All files (*)"
        )
        if path:
            self.open_stack(path, choice)

    def open_stack(self, path: str, choice: LayerChoice | None = None) -> None:
        """Read a file, add it as a layer, and choose it."""
        target = choice or self.ui.stacks.first.native
        self.footer.say("Reading…", "hint")
        in_background(
            self,
            _drop.read_all,
            [Path(path)],
            then=lambda result: self._read(result, target),
        )

    def _read(self, result: tuple[list[Any], list[str]], choice: LayerChoice) -> None:
        images, sentences = result
        if images:
            choice.choose(_drop.add_image_file(self._viewer, images[0]))
        self.say(*_drop.said_of(images, sentences))

    def _browse(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the adapted weights", self.ui.result.path.value, f"Weights (*{ENDING})"
        )
        if path:
            path = path if path.endswith(ENDING) else path + ENDING
            self._agreed = path  # the dialog asked whether to replace the file
            self.ui.result.path.value = path

    # remembering, wiring --------------------------------------------------------------
    def _restore(self) -> None:
        stored = _settings.remembered(_GROUP, ("minutes", "folder", "device"))
        folder = stored.get("folder", "")
        is_there = os.path.isdir(folder)  # noqa: PTH112  # also in a folder that is closed to us
        self._folder = folder if is_there else str(Path.home())
        self.ui.result.restore(_GROUP)
        self._minutes_known = "minutes" in stored
        if "device" in stored:
            self.ui.method.set_device(stored["device"])

    def _remember(self) -> None:
        self.ui.optics.remember()
        self._folder = str(Path(self.ui.result.path.value).expanduser().parent)
        self.ui.result.remember(_GROUP)
        device = self.ui.method.device_choice()
        _settings.remember(_GROUP, {"folder": self._folder, "device": device})

    def _method_changed(self) -> None:
        """Ten minutes are enough on a GPU; until a person says otherwise."""
        if not self._minutes_known and self.ui.method.is_ready:
            on_gpu = "GPU:" in self.ui.method.devices.currentText()
            self.ui.result.minutes.value = 10 if on_gpu else 60
            self._minutes_known = True
        self._check_timer.start()

    def _minutes_changed(self) -> None:
        self._minutes_known = True

    def _connect(self) -> None:
        ui = self.ui
        for stack in (ui.stacks.first, ui.stacks.second):
            on(self, stack.changed, self._stack_chosen)
            choice = stack.native
            on(self, choice.wants_file, lambda choice=choice: self._open_file(choice))
        on(self, self.judged, self._judging)
        ui.stacks.show_field("step", False)
        on(self, ui.stacks.step.changed, self.check)
        ui.optics.changed.connect(self._check_timer.start)
        on(self, ui.method.changed, self._method_changed)
        on(self, ui.result.path.changed, self._check_timer.start)
        on(self, ui.result.minutes.changed, self._minutes_changed)
        on(self, ui.browse.clicked, self._browse)
