"""The Reconstruct dock: from scans at known heights to a volume in micrometres."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from napari.layers import Image, Layer
from qtpy.QtCore import Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout

from ..methods import method_of
from ..optics import Optics
from ..scans import InputError, ZGrid
from . import _drop, _layers
from ._dock_layout import DockLayout
from ._grid_panel import in_words
from ._jobs import build_job, cost_in_words, is_incomplete, title_of, warm_up, warnings_about
from ._parts import Dock, stop_run
from ._result import ResultLayer
from ._scan_table import Row, rows_of
from ._stack_panel import spread_planes
from ._worker import Checked, Job, Outcome, Run, in_background, sentence_of

_ALL_PLANES_UP_TO = 6


class ReconstructDock(Dock):
    """Scans, optics, target grid, method; Preview, Reconstruct, Cancel.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are scans and which gets the volume.

    Attributes
    ----------
    remembers : bool
        Whether optics and method are kept for the next run.
    """

    run_ended = Signal(object)
    """Emitted with the outcome when a reconstruction or preview has ended."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        # napari hands plugins a proxy, whose layers are proxies too and equal to nothing.
        viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._viewer = viewer
        self.ui = DockLayout(self, viewer.theme)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.ui)
        self.setAcceptDrops(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.remembers = True
        self.run: Run | None = None
        self.result: ResultLayer | None = None
        self._preview: Image | None = None
        self._warmed: tuple[Optics, float, float] | None = None
        self._check_timer = QTimer(self)
        self._check_timer.setSingleShot(True)
        self._check_timer.setInterval(150)
        self._check_timer.timeout.connect(self.check)
        self._connect()
        self._layers_changed()
        self.ui.method.look_around()
        self._use_what_is_selected()
        self.check()

    # what a script or the demo calls ------------------------------------------------
    def add_layers(self, layers: Iterable[Layer]) -> None:
        """Put layers in the table; a longer stack offers its planes instead."""
        sentences = []
        for layer in layers:
            try:
                self._add_layer(_layers.check_layer(layer))
            except InputError as error:
                sentences.append(str(error))
        if sentences:
            self._fail(_joined(sentences))

    def set_optics(self, optics: Optics, objective: str = "") -> None:
        """Fill in the optics; ``objective`` is the preset to show, for instance 63×/1.4 oil."""
        self.ui.optics.set_values(optics.as_dict(), "from the sample", objective)

    def set_grid(self, grid: ZGrid) -> None:
        """Fill in the target grid."""
        self.ui.grid.set_grid(grid)

    def reconstruct(self) -> None:
        """Start the reconstruction that the dock describes."""
        self._start(preview=False)

    def preview(self) -> None:
        """Start the linear MMSE preview: a coarser grid when the full one would take long."""
        self._start(preview=True)

    def cancel(self) -> None:
        """Stop after the current plane; what is finished stays."""
        if self.run is not None:
            self.run.cancel()
            self.ui.footer.cancelling()

    def drop(self, paths: Sequence[Any]) -> None:
        """Read files and use them as scans, as a drop on the dock does."""
        self.ui.footer.say("Reading…", "hint")
        in_background(self, _drop.read_all, list(paths), then=self._read, failed=self._fail)

    # scans --------------------------------------------------------------------------
    def _add_layer(self, layer: Image) -> None:
        table = self.ui.table.scans
        self._fill_optics(layer)
        count = _layers.plane_count(layer)
        if count <= _ALL_PLANES_UP_TO:
            table.add(rows_of(layer, range(count)))
            return
        self._offer_planes(layer)
        if not any(row.layer is layer for row in table.rows):
            others = table.leave_out()
            rows = rows_of(layer, spread_planes(count))
            table.add(rows)
            self.ui.footer.say(_about_suggested(layer.name, rows, others), "hint")

    def _offer_planes(self, layer: Image | None = None) -> None:
        self.ui.stack.set_stacks(self._stacks())
        if layer is not None:
            self.ui.stack.choose(layer)
        self.ui.stack.show()
        self.ui.planes_button.setChecked(True)

    def _fill_optics(self, layer: Image) -> None:
        known = dict(_layers.known_metadata(layer))
        known["pixel_um"] = _layers.pixel_um(layer)
        self.ui.optics.set_values(known, "from the image")

    def _stacks(self) -> list[Image]:
        found = []
        for layer in self._viewer.layers:
            with contextlib.suppress(InputError):
                image = _layers.check_layer(layer)
                is_result = self.result is not None and image is self.result.layer
                if _layers.plane_count(image) > 1 and not is_result:
                    found.append(image)
        return found

    def _use_what_is_selected(self) -> None:
        """Whoever opens the dock with images selected means them; others are told nothing."""
        selected = self._viewer.layers.selection
        for layer in self._viewer.layers:
            if layer in selected:
                with contextlib.suppress(InputError):
                    self._add_layer(_layers.check_layer(layer))

    def _add_selected(self) -> None:
        chosen = [layer for layer in self._viewer.layers if layer in self._viewer.layers.selection]
        if not chosen:
            self._fail("No layer is selected: click one or more image layers in the layer list.")
        self.add_layers(chosen)

    def _remove_selected(self) -> None:
        table = self.ui.table
        table.scans.remove(table.selected_rows() or range(len(table.scans.rows)))

    def _planes_chosen(self, layer: Image, rows: list[Row]) -> None:
        try:
            self._fill_optics(_layers.check_layer(layer))
        except InputError as error:
            self._fail(str(error))
            return
        self.ui.table.scans.set_planes(layer, rows)

    def _read(self, result: tuple[list[Any], list[str]]) -> None:
        images, sentences = result
        try:
            added = [_drop.add_image_file(self._viewer, image) for image in images]
        except Exception as error:
            self._fail(sentence_of(error))
            return
        self.ui.footer.say("", "hint")
        self.add_layers(added)
        if sentences:
            self._fail(_joined(sentences))

    # checking -----------------------------------------------------------------------
    def _scans_changed(self) -> None:
        self.ui.footer.say("", "hint")  # the last answer was about how things stood before
        heights = [row.z_um for row in self.ui.table.scans.used() if row.z_um is not None]
        depth = None
        with contextlib.suppress(InputError):
            depth = self.ui.optics.optics().depth_of_field_um
        self.ui.grid.follow(heights, depth)
        self._check_timer.start()

    def check(self) -> None:
        """Say what is missing or what to mind, what it will cost, and enable the buttons."""
        self._check_timer.stop()
        footer, rows = self.ui.footer, self.ui.table.scans.rows
        if self.run is not None:
            return
        try:
            job = build_job(self.ui, self._viewer, preview=False)
        except InputError as error:
            missing = is_incomplete(self.ui.table.scans.used()) or self.ui.optics.is_incomplete()
            footer.ready(False, str(error))
            footer.warn([])
            self.ui.grid.cost.setText("")
            kind = "hint" if not rows or missing else "error"
            footer.status("Add scans to begin." if not rows else str(error), kind)
            return
        except Exception as error:
            footer.ready(False, sentence_of(error))
            footer.status(sentence_of(error), "error")
            return
        footer.ready(True, "")
        footer.status("", "hint")
        footer.warn(warnings_about(self.ui, job))
        self.ui.grid.cost.setText(cost_in_words(self.ui, job))
        self._warm_up(job)

    def _warm_up(self, job: Job) -> None:
        """Get ready for a preview while the user still looks at the form."""
        with contextlib.suppress(InputError):
            optics = self.ui.optics.optics()
            wanted = (optics, job.grid.start_um, job.grid.stop_um)
            if self.ui.method.is_ready and wanted != self._warmed:
                self._warmed = wanted
                ready = (optics, job)
                in_background(self, warm_up, *ready, then=lambda _: None, failed=lambda _: None)

    # running ------------------------------------------------------------------------
    def _start(self, *, preview: bool) -> None:
        if self.run is not None:
            return
        for row in self.ui.table.scans.used():
            row.forget()  # pixels may have been changed in place
        try:
            job = build_job(self.ui, self._viewer, preview=preview)
            self.result = self._result_for(job, preview=preview)
        except InputError as error:
            self._fail(str(error))
            return
        except MemoryError as error:
            self._fail(sentence_of(error))
            return
        if self.remembers:
            self.ui.optics.remember()
            self.ui.method.remember()
        self.run = Run(job)
        self.run.plane.connect(self._plane_done)
        self.run.message.connect(self._told)
        self.run.checked.connect(self._checked)
        self.run.ended.connect(self._ended)
        self.ui.set_running(True)
        # What comes before the first plane takes longest, and is called by its name.
        before = {
            "auto": "checking on your scans…",
            "network": "fitting an object to the scans…",
            "nonnegative": "fitting an object to the scans…",
        }
        first = before.get(method_of(job.method).kind, "starting…")
        self.ui.footer.begin(len(job.grid), title_of(self.ui, job.method), first)
        self.run.start()

    def _result_for(self, job: Job, *, preview: bool) -> ResultLayer:
        first = self.ui.table.scans.used()[0].layer
        title = title_of(self.ui, job.method)
        name = f"Preview ({title})" if preview else f"{self._sample_name()} · {title}"
        return ResultLayer(
            self._viewer,
            job,
            name=name,
            pixel_um=self.ui.optics.pixel_um(),
            first=first,
            replaces=self._preview,
        )

    def _sample_name(self) -> str:
        """What the scans' names have in common, for the name of the volume."""
        names = [row.layer.name for row in self.ui.table.scans.used() if row.layer is not None]
        return _layers.common_name(names) or "Volume"

    def _plane_done(self, plane: Any) -> None:
        run, result = self.run, self.result
        if run is None or result is None:
            return
        if result.is_removed:
            run.cancel()
            return
        result.take(plane)
        self.ui.footer.progress(run.done, len(run.job.order), run.seconds_left())

    def _told(self, sentence: str) -> None:
        self.ui.footer.say(sentence, "warning")

    def _checked(self, found: Checked) -> None:
        """The check has chosen a method: say so, and call bar and layer by its name."""
        title = title_of(self.ui, found.used)
        self.ui.footer.say(found.sentence, "hint")
        self.ui.footer.retitle(title)
        if self.result is not None:
            self.result.rename(f"{self._sample_name()} · {title}")

    def _ended(self, outcome: Outcome) -> None:
        run, result = self.run, self.result
        self.run = None
        self.ui.set_running(False)
        if run is None or result is None:
            return
        result.finish(outcome)
        if result.layer is not None:  # a preview that the user renamed is kept by its new name
            is_preview = result.layer.name.startswith("Preview (")
            self._preview = result.layer if is_preview else None
        self.check()
        self._say_end(run, result, outcome)
        self.run_ended.emit(outcome)

    def _say_end(self, run: Run, result: ResultLayer, outcome: Outcome) -> None:
        kept = "" if result.layer is None else f" The {run.done} finished planes are kept."
        if result.is_removed:
            self.ui.footer.say("Stopped, because its layer was removed.", "hint")
        elif outcome.state == "done" and result.layer is not None:
            sentence = f"“{result.layer.name}” is ready after {in_words(outcome.seconds)}."
            if result.is_scan_unsized:
                sentence += " Its scans are drawn in pixels, not µm: hide them to see it alone."
            check = (outcome.provenance or {}).get("check")
            if check is not None:
                sentence += f"\n{check['sentence']}"
            self.ui.footer.say(sentence, "done")
        elif outcome.state == "cancelled":
            self.ui.footer.say(f"Cancelled.{kept}", "hint")
        else:
            self._fail(outcome.sentence + kept)

    def _fail(self, sentence: str) -> None:
        self.ui.footer.say(sentence, "error")

    # wiring -------------------------------------------------------------------------
    def _connect(self) -> None:
        ui, layers = self.ui, self._viewer.layers.events
        ui.table.scans.changed.connect(self._scans_changed)
        ui.optics.changed.connect(self._scans_changed)
        ui.grid.changed.connect(self._scans_changed)
        ui.method.changed.connect(self._check_timer.start)
        ui.method.failed.connect(self._fail)
        ui.stack.chosen.connect(self._planes_chosen)
        ui.stack.failed.connect(self._fail)
        ui.add_button.clicked.connect(self._add_selected)
        ui.remove_button.clicked.connect(self._remove_selected)
        ui.planes_button.toggled.connect(self._planes_toggled)
        ui.footer.preview.clicked.connect(self.preview)
        ui.footer.reconstruct.clicked.connect(self.reconstruct)
        ui.footer.cancel.clicked.connect(self.cancel)
        layers.inserted.connect(self._layers_changed)
        layers.removed.connect(self._layer_removed)
        layers.connect(self._layer_event)
        self._viewer.events.theme.connect(self._theme_changed)
        self.destroyed.connect(lambda _=None, box=self.__dict__: stop_run(box))

    def _planes_toggled(self, on: bool) -> None:
        if on:
            self.ui.stack.set_stacks(self._stacks())
        self.ui.stack.setVisible(on)

    def _layers_changed(self, _event: Any = None) -> None:
        with contextlib.suppress(RuntimeError):
            self.ui.stack.set_stacks(self._stacks())

    def _layer_removed(self, event: Any) -> None:
        with contextlib.suppress(RuntimeError):
            self.ui.table.scans.remove_layer(event.value)
            result = self.result
            if self.run is not None and result is not None and result.is_removed:
                self.cancel()
            self._layers_changed()

    def _layer_event(self, event: Any) -> None:
        """A layer was renamed, moved or got other data: the table shows and reads it again."""
        if event.type not in ("name", "data", "scale", "translate", "units"):
            return
        with contextlib.suppress(RuntimeError):
            used = {id(row.layer) for row in self.ui.table.scans.rows}
            if any(id(source) in used for source in event.sources):
                self.ui.table.scans.refresh()

    # Qt's side ----------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802
        """Take files."""
        if event is not None and _drop.dropped_paths(event.mimeData()):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            self.ui.footer.say("Let go to use these files as scans.", "hint")

    def dragLeaveEvent(self, _event: QDragLeaveEvent | None) -> None:  # noqa: N802
        """Forget the files that were only dragged past."""
        self.ui.footer.say("", "hint")

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802
        """Read the files that were dropped."""
        if event is not None:
            event.accept()
            self.drop(_drop.dropped_paths(event.mimeData()))


def _about_suggested(name: str, rows: Sequence[Row], others: int) -> str:
    """What was done with a stack of this name, and what may be left to do."""
    text = f"Three planes of '{name}' are the scans: "
    if any(row.z_um is None for row in rows):
        text += "type the z-step below the table, then “Use planes”."
    else:
        text += "choose others below the table."
    return f"{text} The scans before are unticked." if others else text


def _joined(sentences: Sequence[str]) -> str:
    if len(sentences) == 1:
        return sentences[0]
    return f"{sentences[0]} ({len(sentences) - 1} more could not be used either.)"
