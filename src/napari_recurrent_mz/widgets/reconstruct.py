"""The Reconstruct dock: from scans at known heights to a volume in micrometres."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from napari.layers import Image
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout

from ..methods import method_of
from ..optics import Optics
from ..scans import InputError, ZGrid
from ._dock_layout import DockLayout
from ._grid_panel import in_words
from ._guard import on, sentence_of, telling
from ._jobs import (
    build_job,
    cost_in_words,
    is_incomplete,
    layers_name,
    title_of,
    warm_up,
    warnings_about,
)
from ._pace import Turns
from ._parts import Dock, WhenGone, stop_run
from ._result import ResultLayer
from ._scan_source import ScanSource
from ._scan_table import planes_of_one_stack
from ._worker import Checked, Job, Outcome, Run, in_background


class ReconstructDock(ScanSource, Dock):
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
        self.ui = DockLayout(self, viewer)
        self.scan_parts = self.ui.scan_parts
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
        self._check_timer = self.one_shot(150, self.check)
        self._turns = Turns(viewer, self)
        on(self, viewer.layers.events.removing, self._layer_goes)
        self._connect()
        self.ui.method.look_around()
        with telling(self):
            self._layers_changed()
            self._use_what_is_selected()
        self.check()

    # what a script or the demo calls ------------------------------------------------
    def set_optics(self, optics: Optics, objective: str = "") -> None:
        """Fill in the optics; ``objective`` is the preset to show, for instance 63×/1.4 oil."""
        self.ui.optics.set_values(optics.as_dict(), "from the sample", objective)

    def set_grid(self, grid: ZGrid) -> None:
        """Fill in the target grid."""
        self.ui.grid.set_grid(grid)

    def write_to(self, folder: Path) -> None:
        """Let volumes be written to this folder as they are made."""
        self.ui.result.write_to(folder)

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

    # checking -----------------------------------------------------------------------
    def _scans_changed(self) -> None:
        self.ui.footer.say("", "hint")  # the last answer was about how things stood before
        self._check_timer.start()
        rows = [row for row in self.ui.table.scans.used() if row.z_um is not None]
        heights = [row.z_um for row in rows if row.z_um is not None]
        depth = None
        with contextlib.suppress(InputError):
            depth = self.ui.optics.optics().depth_of_field_um
        self.ui.grid.follow(heights, depth, planes_of_one_stack(rows))

    def _check(self) -> None:
        self._check_timer.stop()
        footer, rows = self.ui.footer, self.ui.table.scans.rows
        self.ui.give_size.look(rows, self.ui.optics.pixel_um)
        if self.run is not None:
            return
        try:
            job = build_job(self.ui, self._viewer, preview=False)
            warnings = warnings_about(self.ui, job)
        except InputError as error:
            missing = is_incomplete(self.ui.table.scans.used()) or self.ui.optics.is_incomplete()
            missing |= self.ui.result.is_incomplete
            footer.ready(False, str(error))
            footer.warn([])
            self.ui.grid.cost.setText("")
            kind = "hint" if not rows or missing else "error"
            footer.status("Add scans to begin." if not rows else str(error), kind)
            return
        footer.ready(True, "")
        footer.status("", "hint")
        footer.warn(warnings)
        self.ui.grid.cost.setText(cost_in_words(self.ui, job))
        self._warm_up(job)

    def not_ready(self, why_not: str) -> None:
        """Disable the buttons, and say why."""
        self.ui.footer.ready(False, why_not)
        self.ui.footer.status(why_not, "error")

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
            self.ui.result.remember()
        self.run = Run(job)
        on(self, self.run.plane, self._plane_done)
        on(self, self.run.message, self._told)
        on(self, self.run.checked, self._checked)
        on(self, self.run.ended, self._run_ended)
        self.ui.set_running(True)
        self.ui.save.offer(None)
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
        preview_name = f"Preview ({title_of(self.ui, job.method)})"
        name = preview_name if preview else layers_name(self.ui, job.method)
        return ResultLayer(
            self._viewer,
            job,
            self._turns,
            name=name,
            pixel_um=self.ui.optics.pixel_um(),
            first=first,
            replaces=self._preview,
        )

    def _plane_done(self, plane: Any) -> None:
        run, result = self.run, self.result
        if run is None or result is None:
            return
        if result.is_removed:
            run.cancel()
            return
        result.take(plane)
        self._hold(self._turns.is_on)
        self.ui.footer.progress(run.done, len(run.job.order), run.seconds_left())

    def _told(self, sentence: str) -> None:
        self.ui.footer.say(sentence, "warning")

    def _checked(self, found: Checked) -> None:
        """The check has chosen a method: say so, and call bar and layer by its name."""
        title = title_of(self.ui, found.used)
        self.ui.footer.say(found.sentence, "hint")
        self.ui.footer.retitle(title)
        if self.result is not None:
            self.result.rename(layers_name(self.ui, found.used))

    def _hold(self, is_held: bool) -> None:
        if self.run is not None:
            self.run.rest.want(is_held)

    def _run_ended(self, outcome: Outcome) -> None:
        self._turns.after(lambda: self._ended(outcome))  # once the layer is there

    def _ended(self, outcome: Outcome) -> None:
        run, result = self.run, self.result
        self.run = None
        self.ui.set_running(False)
        if run is None or result is None:
            return
        result.finish(outcome)
        self.ui.save.offer(result.layer)
        if result.layer is not None:  # a preview that the user renamed is kept by its new name
            is_preview = result.layer.name.startswith("Preview (")
            self._preview = result.layer if is_preview else None
        self.check()
        self._say_end(run, result, outcome)
        self.run_ended.emit(outcome)

    def _say_end(self, run: Run, result: ResultLayer, outcome: Outcome) -> None:
        where = "" if outcome.path is None else f" in '{outcome.path.name}'"
        kept = f" The {run.done} finished planes are kept{where}." if run.done else ""
        if result.is_removed:
            stays = kept if outcome.path is not None else ""
            self.ui.footer.say(f"Stopped, because its layer was removed.{stays}", "hint")
        elif outcome.state == "done" and result.layer is not None:
            sentence = f"“{result.layer.name}” is ready after {in_words(outcome.seconds)}."
            if outcome.path is not None:
                sentence += f" It is in '{outcome.path}'."
            if result.is_scan_unsized:
                sentence += (
                    " Its scans are drawn in pixels, not µm: hide them, or give them their size."
                )
            check = (outcome.provenance or {}).get("check")
            if check is not None:
                sentence += f"\n{check['sentence']}"
            self.ui.footer.say(sentence, "done")
        elif outcome.state == "cancelled":
            self.ui.footer.say(f"Cancelled.{kept}", "hint")
        else:
            self._fail(outcome.sentence + kept)

    # wiring -------------------------------------------------------------------------
    def _connect(self) -> None:
        ui = self.ui
        self.connect_scans()
        on(self, self._turns.changed, self._hold)
        on(self, ui.table.scans.changed, self._scans_changed)
        on(self, ui.optics.changed, self._scans_changed)
        on(self, ui.grid.changed, self._scans_changed)
        ui.method.changed.connect(self._check_timer.start)
        on(self, ui.method.failed, self._fail)
        ui.result.changed.connect(self._check_timer.start)
        on(self, ui.save.said, self.say)
        on(self, ui.give_size.said, self.say)
        on(self, ui.footer.preview.clicked, self.preview)
        on(self, ui.footer.reconstruct.clicked, self.reconstruct)
        on(self, ui.footer.cancel.clicked, self.cancel)
        on(self, self._viewer.events.theme, self._theme_changed)
        WhenGone(self, stop_run)

    def _layer_removed(self, event: Any) -> None:
        super()._layer_removed(event)
        result = self.result
        if self.run is not None and result is not None and result.is_removed:
            self.cancel()
