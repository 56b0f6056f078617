"""The Train dock: a model adapted to one microscope, from full stacks taken with it."""

from __future__ import annotations

import contextlib
import math
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QSizePolicy, QVBoxLayout

from ..scans import InputError
from . import _drop, _layers, _settings
from ._guard import on, sentence_of, telling
from ._layer_choice import LayerChoice
from ._own_models import own_models
from ._parts import Dock, WhenGone, stop_run
from ._train_job import ENDING, AdaptJob, build_job, gains_figure, told
from ._train_layout import TrainLayout
from ._worker import Outcome, ThreadRun, in_background

_GROUP = "train"


class AdaptRun(ThreadRun):
    """A running adaptation."""

    progress = Signal(object)
    message = Signal(str)

    def __init__(self, job: AdaptJob) -> None:
        super().__init__()
        self.job = job

    def start(self) -> None:
        """Begin."""
        self._launch(_work, self.job)

    def _arrived(self, item: object) -> None:
        if isinstance(item, str):
            self.message.emit(item)
        else:
            self.progress.emit(item)


def _work(job: AdaptJob, stop: threading.Event) -> Iterator[object]:
    """Yield what to mind, the progress of every step, at last the outcome; raises nothing."""
    began = time.monotonic()
    try:
        from ..saturation import stack_saturation_notes
        from ..training.adapt import Adapter, adapting, gain_at_start, write_adapted
        from ..training.measured import measured_field
        from ..weights import load_model

        fields = []
        for name, lazy, heights in job.stacks:
            pixels = np.asarray(lazy)
            yield from stack_saturation_notes(name, pixels)
            fields.append(measured_field(pixels, heights, job.optics, name))
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
            with contextlib.closing(adapter.run()) as steps:
                for now in steps:
                    yield now
                    if stop.is_set():
                        break
            if not adapter.has_best:
                yield Outcome("cancelled")
                return
            write_adapted(adapter, job.path)
            found = {"start": gain_at_start(Path(folder)), "best": adapter.best_db,
                     "step": adapter.step, "from": start.name}  # fmt: skip
        yield Outcome("done", provenance=found, seconds=time.monotonic() - began)
    except Exception as error:
        yield Outcome("failed", sentence_of(error))


class TrainDock(Dock):
    """Stacks, optics, the model to start from, the time; Adapt and Stop; a live curve.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are the stacks.
    """

    run_ended = Signal(object)
    """Emitted with the outcome when an adaptation has ended."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        # napari hands plugins a proxy, whose layers are proxies too and equal to nothing.
        viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._viewer = viewer
        self.ui = TrainLayout(self, viewer)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.ui)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.run: AdaptRun | None = None
        self.curve: list[tuple[int, float]] = []
        self._notes: list[str] = []
        self._suggested = ""
        self._agreed = ""
        self._check_timer = self.one_shot(150, self.check)
        self._restore()
        self._connect()
        with telling(self):
            self._choose_what_is_there()
        self.ui.method.look_around()
        self._draw_curve()
        self.check()

    # what a script calls --------------------------------------------------------------
    def adapt(self) -> None:
        """Start the adaptation that the dock describes."""
        if self.run is not None:
            return
        try:
            job = build_job(self.ui, self._agreed)
        except InputError as error:
            self.ui.footer.say(str(error), "error")
            return
        self._remember()
        self.curve, self._notes = [], []
        self._draw_curve()
        self.ui.footer.begin("Adapting")
        self.ui.set_running(True)
        self.ui.footer.say("Judging the model as it is, and measuring the pace…", "hint")
        self.run = AdaptRun(job)
        on(self, self.run.progress, self._stepped)
        on(self, self.run.message, self._noted)
        on(self, self.run.ended, self._ended)
        self.run.start()

    def stop(self) -> None:
        """Stop after this step; the best weights so far are kept."""
        if self.run is not None:
            self.run.cancel()
            self.ui.footer.cancelling()
            self.ui.footer.say("Stopping after this step…", "hint")

    def _check(self) -> None:
        self._check_timer.stop()
        if self.run is not None:
            return
        sentence = ""
        try:
            build_job(self.ui, self._agreed)
        except InputError as error:
            sentence = str(error)
        begun = not self.ui.chosen or self.ui.optics.is_incomplete()
        self.ui.footer.ready(sentence, "hint" if begun else "error")

    # running --------------------------------------------------------------------------
    def _stepped(self, now: Any) -> None:
        footer = self.ui.footer
        if self.run is None or self.run.is_cancelled:
            return
        if now.gain_db is not None:
            self.curve.append((now.step, now.gain_db))
            self._draw_curve()
        if math.isfinite(now.seconds_left):
            footer.progress(now.step, now.steps, "Training steps", now.seconds_left)
            footer.say("")

    def _noted(self, sentence: str) -> None:
        """What to mind stays in sight while the network learns."""
        self._notes.append(sentence)
        self.ui.footer.state.say("\n".join(f"⚠ {note}" for note in self._notes), "warning")

    def _draw_curve(self) -> None:
        points = list(self.curve)
        if points:
            self.ui.plot.show_figure(gains_figure(points))
        else:
            self.ui.plot.show_reason("The curve appears here")

    def _ended(self, outcome: Outcome) -> None:
        run, self.run = self.run, None
        self.ui.set_running(False)
        self.ui.footer.ended()
        say = self.ui.footer.say
        if run is None:
            return
        if outcome.state == "done" and outcome.provenance is not None:
            self._agreed = str(run.job.path)
            own_models().add(str(run.job.path))
            self._suggested = ""
            sentence, kind = told(outcome.provenance, run.job.path)
            say("\n".join([sentence, *self._notes]), "warning" if self._notes else kind)
        elif outcome.state == "cancelled":
            say("Stopped before anything was learned: no file was written.", "hint")
        else:
            say(outcome.sentence, "error")
        self.check()
        self.run_ended.emit(outcome)

    # layers and files -----------------------------------------------------------------
    def _images(self) -> list[Image]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Image)]

    def _choose_what_is_there(self) -> None:
        """A selected stack, or the only one, is meant."""
        stacks = []
        for layer in self._images():
            with contextlib.suppress(InputError):
                if _layers.plane_count(_layers.check_layer(layer)) > 1:
                    stacks.append(layer)
        selected = [layer for layer in stacks if layer in self._viewer.layers.selection]
        if selected or len(stacks) == 1:
            self.ui.stacks.first.value = (selected or stacks)[0]

    def _stack_chosen(self) -> None:
        if self.run is None:
            self.ui.footer.say("")
        self.ui.optics.follow(_layers.optics_by_image(self.ui.chosen))
        self._suggest_name()
        self._ask_for_step()
        self.check()

    def _ask_for_step(self) -> None:
        asked = False
        for layer in self.ui.chosen:
            with contextlib.suppress(InputError):
                stack = _layers.check_layer(layer)
                is_silent = _layers.heights_um(stack)[0] is None
                asked |= is_silent and _layers.plane_count(stack) > 1
        self.ui.stacks.show_field("step", asked)

    def _suggest_name(self) -> None:
        """A name of the first stack's that is not taken, unless a person typed one."""
        chosen = self.ui.chosen
        if not chosen or self.ui.result.path.value != self._suggested:
            return
        folder = Path(self._folder)
        stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in
                       _layers.common_name([chosen[0].name])) or "my"  # fmt: skip
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
        self.ui.footer.say("Reading…", "hint")
        in_background(
            self,
            _drop.read_all,
            [Path(path)],
            then=lambda result: self._read(result, target),
            failed=lambda sentence: self.ui.footer.say(sentence, "error"),
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
        found = _settings.remembered(_GROUP, ("minutes", "folder", "device"))
        self._folder = found.get("folder", "")
        if not Path(self._folder).is_dir() or not self._folder:
            self._folder = str(Path.home())
        self.ui.result.restore(_GROUP)
        self._minutes_known = "minutes" in found
        if "device" in found:
            self.ui.method.set_device(found["device"])

    def _remember(self) -> None:
        self.ui.optics.remember()
        self._folder = str(Path(self.ui.result.path.value).expanduser().parent)
        self.ui.result.remember(_GROUP)
        device = self.ui.method.device_choice()
        _settings.remember(_GROUP, {"folder": self._folder, "device": device})

    def _method_changed(self) -> None:
        """Ten minutes are enough on a GPU; until a person says otherwise."""
        if not self._minutes_known and self.ui.method.is_ready:
            self._minutes_known = True
            on_gpu = "GPU:" in self.ui.method.devices.currentText()
            self.ui.result.minutes.value = 10 if on_gpu else 60
        self._check_timer.start()

    def _connect(self) -> None:
        ui = self.ui
        for stack in (ui.stacks.first, ui.stacks.second):
            on(self, stack.changed, self._stack_chosen)
            choice = stack.native
            on(self, choice.wants_file, lambda choice=choice: self._open_file(choice))
        ui.stacks.show_field("step", False)
        on(self, ui.stacks.step.changed, self.check)
        ui.optics.changed.connect(self._check_timer.start)
        on(self, ui.method.changed, self._method_changed)
        on(self, ui.method.failed, lambda sentence: ui.footer.say(sentence, "error"))
        on(self, ui.result.path.changed, self._check_timer.start)
        on(self, ui.browse.clicked, self._browse)
        on(self, ui.footer.action.clicked, self.adapt)
        on(self, ui.footer.cancel.clicked, self.stop)
        on(self, self._viewer.events.theme, self._theme_changed)
        WhenGone(self, stop_run)
