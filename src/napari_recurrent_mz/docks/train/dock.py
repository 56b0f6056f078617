"""The Train dock: a model adapted to one microscope, from full stacks taken with it."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import threading
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure
from napari.layers import Image
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog

from ...core.arrays import Array, reading
from ...core.optics import Optics
from ...core.progress import Listener, Stopped, listening
from ...core.scans import InputError
from ...io._image_file import IMAGE_FILES
from ...measure.plots import Draw, Ink, open_axes
from ..shared import layers as _layers
from ..shared import settings as _settings
from ..shared.dock import Dock
from ..shared.file_names import common_name, file_stem
from ..shared.form import DataForm, as_named, asked, typed_path
from ..shared.guard import emit_alive, on
from ..shared.layer_choice import (
    LayerChoice,
    check_stack,
    is_any_image,
    is_measured_stack,
    lacks_step,
    selected_or_only,
)
from ..shared.method_panel import OWN_MODELS, MethodPanel
from ..shared.optics_panel import OpticsPanel
from ..shared.parts import name_button, push_button
from ..shared.plot_canvas import PlotCanvas
from ..shared.worker import Outcome

ENDING = ".safetensors"
_FULL = "A full z-stack, finely sampled: the network learns to rebuild its planes"
_TESTING = "Testing the network as it is", "Testing the network"  # at first, and later
_GAIN = "Gain over linear MMSE, on the test quarter"
_GROUP = "train"


@dataclass(frozen=True, eq=False)
class AdaptJob:
    """Everything an adaptation needs; none of it belongs to napari."""

    stacks: tuple[tuple[str, Any, Any], ...]  # name, pixels (Z, Y, X), perhaps lazy, heights in µm
    optics: Optics
    model: str | None
    device: str
    minutes: float
    path: Path


def _stack(layer: Image, step: float | None) -> tuple[str, Any, Array]:
    check_stack(layer, "the network learns from a full z-stack (Z, Y, X), so choose one.")
    layer = _layers.check_scan_layer(layer)
    heights = _layers.heights_um(layer)[0]
    if heights is None and step is None:
        raise InputError(f"The z-step of '{layer.name}' is not known: type it in µm.")
    if heights is None and step is not None:
        if step <= 0:
            raise InputError(f"The z-step {step:g} µm is not above 0: correct it.")
        heights = step * np.arange(_layers.plane_count(layer), dtype=np.float64)
    assert heights is not None
    return layer.name, _layers.stack_pixels(layer), heights


def _path(text: str, agreed: str) -> Path:
    if not text:
        raise InputError(f"The file to save as is missing: name one, for instance mine{ENDING}.")
    path = typed_path(text)
    if path.suffix != ENDING:
        raise InputError(f"'{path.name}' must end in {ENDING}: networks are kept in nothing else.")
    if not path.parent.is_dir():
        raise InputError(f"The folder '{path.parent}' does not exist: choose another one.")
    if path.exists() and text != agreed:
        raise InputError(f"'{path.name}' exists already: choose another name, or “…”.")
    return path


def gains_figure(points: list[tuple[int, float]]) -> Draw:
    """The gain over linear MMSE against steps, and that of the model it began with."""

    def draw(figure: Figure, ink: Ink) -> None:
        axes = figure.subplots()
        axes.set(xlabel="step", ylabel="gain (dB)")
        axes.axhline(0, color=ink.faint, lw=1)
        steps, gains = zip(*points, strict=True)
        axes.axhline(gains[0], color=ink.text, lw=1, ls="--", label="as it was")
        axes.plot(steps, gains, "o-", color=ink.accent, ms=3, lw=2, label="adapted")
        axes.set_xlim(left=0, right=max(steps[-1], 1) * 1.05)
        axes.legend(frameon=False, loc="best")
        open_axes(axes)

    return draw


def outcome_words(outcome: dict[str, Any], path: Path) -> tuple[str, str]:
    """What came of it, and whether it is good news."""
    before, best = outcome["start"], outcome["best"]
    if best <= before:
        return (
            f"Nothing was gained in {outcome['step']} steps: “{path.name}” holds the network "
            f"“{outcome['from']}” as it was ({before:+.2f} dB better than linear MMSE).",
            "warning",
        )
    digits = 2 if best - before >= 0.01 else 4
    return (
        f"“{path.name}” is saved and among the models of the Reconstruct dock. On the quarter of "
        f"the field kept for testing it is {best:+.{digits}f} dB better than linear MMSE; before, "
        f"{before:+.{digits}f} dB.",
        "done",
    )


@dataclass(frozen=True)
class Stacks:
    """What is learned from."""

    first: Any = asked(
        "Stack", _FULL, nothing="Choose a stack", layers=is_any_image, opens_files=True
    )
    second: Any = asked("Second stack", _FULL, label="And", layers=is_any_image, opens_files=True)
    step: float | None = asked(
        "z-step",
        "Distance between planes in µm, for a stack that does not say",
        example="0.2",
        unit="µm, as the file does not say",
        of_image=True,
    )


@dataclass(frozen=True)
class Result:
    """What comes of it."""

    stored: ClassVar = as_named("minutes")
    minutes: int = asked(
        "Time",
        "About how long: an hour on a CPU, ten minutes on a GPU; Stop ends it sooner",
        60,
        unit="min",
        limits=(1, 24 * 60, 1),
    )
    path: str = asked("Save as", "The file for the adapted network, .safetensors", "")


def adapt_steps(
    job: AdaptJob, judging: Listener, stop: threading.Event
) -> Generator[object, None, dict[str, Any] | None]:
    """Yield what to mind and the progress of every step; give what came of it."""
    from ...estimates.saturation import stack_saturation_notes
    from ...networks.weights import load_model
    from ...training.adapt import Adapter, adapting, gain_at_start, write_adapted
    from ...training.measured import held_out_notes, measured_field

    fields = []
    for name, lazy, heights in job.stacks:
        with reading(f"'{name}'"):
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
        OWN_MODELS.add(str(job.path))  # here, for the window may be gone
        return {"start": gain_at_start(Path(folder)), "best": adapter.best_db,
                "step": adapter.step, "from": start.name}  # fmt: skip


class TrainDock(Dock):
    """Stacks, optics, the model to start from, the time; Adapt and Stop; a live curve."""

    judged = Signal(str, int, int)  # what is done, how many questions are answered, and of how many

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(
            napari_viewer, "Adapt", "Let the network learn from the stacks, which stay as they are"
        )
        name_button(
            self.footer.cancel, "Stop", "Stop and keep the network that was best so far (Esc)"
        )
        self.footer.bar.setToolTip("Training steps that are done, and the time left")
        self.stacks, self.result = DataForm(Stacks, self._viewer), DataForm(Result, group=_GROUP)
        self.optics, self.method = OpticsPanel(), MethodPanel()
        self.method.only_model("Start from")
        self.browse = push_button("…", "Choose the file for the adapted network")
        self.browse.setAccessibleName("Choose the file to save as")
        self.browse.setMaximumWidth(32)
        self.result.put_beside("path", self.browse)
        self.plot = PlotCanvas(self.palette_, _GAIN)
        self.plot.setFixedHeight(150)
        self.inputs = self.stacks.native, self.optics, self.method, self.result.native
        self.kept = self.optics, self.result
        self.add_parts("Full stacks to learn from", self.stacks.native, "Optics", self.optics)
        self.add_parts("Network", self.method, "Result", self.result.native)
        self.add_parts(_GAIN, self.plot)
        self.form.addStretch(1)
        self._job: AdaptJob | None = None
        self.curve: list[tuple[int, float]] = []
        self._notes: list[str] = []
        self._suggested = ""
        self._agreed = ""
        self._restore()
        self._connect()
        self._draw_curve()

    # what a script calls --------------------------------------------------------------
    @property
    def chosen(self) -> list[Image]:
        """The stacks to learn from."""
        layers = (self.stacks.first.value, self.stacks.second.value)
        return [layer for layer in layers if layer is not None]

    def job(self) -> AdaptJob:
        """The job that the dock describes; InputError if something is missing."""
        stacks, result = self.stacks.values(), self.result.values()
        chosen = self.chosen
        if not chosen:
            raise InputError("Choose a full z-stack of your own to learn from, or open its file.")
        if len(chosen) == 2 and chosen[0] is chosen[1]:
            raise InputError(f"'{chosen[0].name}' is chosen twice: choose another one or none.")
        learned = tuple(_stack(layer, stacks.step) for layer in chosen)
        optics = self.optics.optics()
        for layer in chosen:
            size = _layers.pixel_um(layer)
            if size is not None and abs(size - optics.pixel_um) > 0.01 * size:
                raise InputError(
                    f"The pixel size is {optics.pixel_um:g} µm here but {size:g} µm in "
                    f"'{layer.name}': correct it, since all stacks are of one microscope."
                )
        return AdaptJob(
            learned,
            optics,
            self.method.model_name(),
            self.method.device_choice(),
            float(result.minutes),
            _path(result.path.strip(), self._agreed),
        )

    def _act(self) -> None:
        job = self.job()
        self._remember()
        self._job, self.curve, self._notes = job, [], []
        self._draw_curve()
        judging = partial(emit_alive, self, "judged")
        self.start(adapt_steps, job, judging, title=_TESTING[0])

    def cancel(self) -> None:
        """Stop after this step; the network that was best so far is kept."""
        super().cancel()
        if self.run is not None:
            self.say("Stopping after this step…")

    def _check(self) -> None:
        if self.run is None:
            self.job()
            self.footer.ready()

    def _is_unfinished(self) -> bool:
        return not self.chosen or self.optics.is_incomplete()

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
        """The network is tested, which takes as long as many steps."""
        if self.run is not None and not self.run.is_cancelled:
            self.footer.progress(done, total, _TESTING[bool(self.curve)], math.nan)

    def _draw_curve(self) -> None:
        if self.curve:
            self.plot.show_figure(gains_figure(list(self.curve)))
        else:
            self.plot.show_reason("The curve appears here")

    def _keeps(self, _outcome: Outcome) -> bool:
        return True

    def _conclude(self, outcome: Outcome) -> None:
        if outcome.state == "done" and self._job is not None:
            path = self._job.path
            self._agreed = str(path)
            self._suggested = ""
            sentence, kind = outcome_words(outcome.value, path)
            self.say("\n".join([sentence, *self._notes]), "warning" if self._notes else kind)
        elif outcome.state == "cancelled":
            self.say("Stopped before anything was learned: no file was written.")
        else:
            self.say(outcome.sentence, "error")

    # layers and files -----------------------------------------------------------------
    def _choose_what_is_there(self) -> None:
        """A selected stack, or the only one that was not made from scans."""
        if self.chosen or self.run is not None:
            return
        for layer in selected_or_only(self._viewer, is_measured_stack)[:1]:
            self.stacks.first.value = layer

    def _stack_chosen(self) -> None:
        if self.run is None:
            self.footer.say("")
        self.follow_images(_layers.optics_by_image(self.chosen))
        self._suggest_name()
        self.stacks.show_fields("step", any(map(lacks_step, self.chosen)))
        self.check()

    def _suggest_name(self) -> None:
        """A name of the first stack's that is not taken, unless a person typed one."""
        chosen = self.chosen
        if not chosen or self.result.path.value != self._suggested:
            return
        folder = Path(self._folder)
        name = file_stem(common_name([chosen[0].name]))
        stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "my"
        tries = [f"{stem}-adapted{n}{ENDING}" for n in ("", *(f"-{k}" for k in range(2, 100)))]
        free = next((name for name in tries if not (folder / name).exists()), tries[-1])
        self._suggested = str(folder / free)
        self.result.path.value = self._suggested

    def _open_file(self, choice: LayerChoice) -> None:
        kinds = " ".join(f"*{ending}" for ending in IMAGE_FILES)
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a z-stack", self._folder, f"Stacks ({kinds});;All files (*)"
        )
        if path:
            self.drop([path], choice)

    def _browse(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the adapted network", self.result.path.value, f"Networks (*{ENDING})"
        )
        if path:
            path = path if path.endswith(ENDING) else path + ENDING
            self._agreed = path  # the dialog asked whether to replace the file
            self.result.path.value = path

    # remembering, wiring --------------------------------------------------------------
    def _restore(self) -> None:
        folder = _settings.remembered(_GROUP, "folder") or ""
        is_there = os.path.isdir(folder)  # noqa: PTH112  # also in a folder that is closed to us
        self._folder = folder if is_there else str(Path.home())
        self._minutes_known = _settings.remembered(_GROUP, "minutes") is not None
        if device := _settings.remembered(_GROUP, "device"):
            self.method.set_device(device)

    def _remember(self) -> None:
        self._folder = str(typed_path(self.result.path.value).parent)
        device = self.method.device_choice()
        _settings.remember(_GROUP, {"folder": self._folder, "device": device})

    def _method_changed(self) -> None:
        """Ten minutes are enough on a GPU; until a person says otherwise."""
        if not self._minutes_known and self.method.is_ready:
            on_gpu = "GPU:" in self.method.devices.currentText()
            self.result.minutes.value = 10 if on_gpu else 60
            self._minutes_known = True
        self._check_timer.start()

    def _minutes_changed(self) -> None:
        self._minutes_known = True

    def _connect(self) -> None:
        for stack in (self.stacks.first, self.stacks.second):
            on(self, stack.changed, self._stack_chosen)
            choice = stack.native
            on(self, choice.wants_file, lambda choice=choice: self._open_file(choice))
        on(self, self.judged, self._judging)
        self.stacks.show_fields("step", False)
        on(self, self.stacks.step.changed, self.check)
        self.optics.changed.connect(self._check_timer.start)
        on(self, self.method.changed, self._method_changed)
        on(self, self.result.path.changed, self._check_timer.start)
        on(self, self.result.minutes.changed, self._minutes_changed)
        on(self, self.browse.clicked, self._browse)
