"""The Reconstruct dock: from scans at known heights to a volume in micrometres."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from ...core.optics import Optics
from ...core.scans import InputError, ZGrid
from ..shared.grid_panel import in_words
from ..shared.guard import on, sentence_of, telling
from ..shared.pace import Turns
from ..shared.result import ResultLayer
from ..shared.scan_source import ScanSource
from ..shared.scan_table import planes_of_one_stack
from ..shared.targets import FinishedPlane, VolumeJob, reconstruct_steps
from ..shared.worker import Outcome, Rest
from .jobs import (
    build_job,
    cost_in_words,
    is_incomplete,
    layers_name,
    title_of,
    warnings_about,
)
from .layout import ReconstructLayout

if TYPE_CHECKING:
    from ...engine.check import OwnSampleCheck

_BEFORE = {  # what comes before the first plane, by the kind of method
    "network": "fitting an object to the scans…",
    "nonnegative": "fitting an object to the scans…",
    "auto": "checking on your scans…",
}


class ReconstructDock(ScanSource):
    """Scans, optics, target grid, method; Preview, Reconstruct, Cancel."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(
            napari_viewer,
            "Reconstruct",
            "Make the volume as a new layer, the plane in view first",
            ReconstructLayout,
        )
        self.scan_parts, self.inputs = self.ui.scan_parts, self.ui.inputs
        self.setAcceptDrops(True)
        self.remembers = True
        self.rest = Rest()
        self.result: ResultLayer | None = None
        self._job: VolumeJob | None = None
        self._preview: Image | None = None
        self._check_timer = self.one_shot(150, self.check)
        self._turns = Turns(self._viewer, self)
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

    def act(self) -> None:
        """What the main button does: :meth:`reconstruct`."""
        self.reconstruct()

    def reconstruct(self) -> None:
        """Start the reconstruction that the dock describes."""
        self._begin(preview=False)

    def preview(self) -> None:
        """Start the linear MMSE preview: a coarser grid when the full one would take long."""
        self._begin(preview=True)

    def cancel(self) -> None:
        """Stop after the current plane; what is finished stays."""
        super().cancel()
        if self.run is not None:
            self.footer.cancelling("Stopping after this plane…")

    # checking -----------------------------------------------------------------------
    def _scans_changed(self) -> None:
        self.footer.say("", "hint")  # the last answer was about how things stood before
        self._check_timer.start()
        rows = [row for row in self.ui.table.scans.used() if row.z_um is not None]
        heights = [row.z_um for row in rows if row.z_um is not None]
        optics = self.ui.optics.known()
        depth = None if optics is None else optics.depth_of_field_um
        self.ui.grid.follow(heights, depth, planes_of_one_stack(rows))

    def _check(self) -> None:
        self._check_timer.stop()
        footer, rows = self.footer, self.ui.table.scans.rows
        self.ui.give_size.look(rows, self.ui.optics.pixel_um)
        if self.run is not None:
            return
        try:
            job = build_job(self.ui, self._viewer, preview=False)
            warnings = warnings_about(self.ui, job)
        except InputError as error:
            missing = is_incomplete(self.ui.table.scans.used()) or self.ui.optics.is_incomplete()
            missing |= self.ui.result.is_incomplete
            footer.ready(str(error), "hint" if not rows or missing else "error")
            if not rows:
                footer.state.say("Add scans to begin.")
            footer.warn([])
            self.ui.error.follow(None, self)
            self.ui.grid.cost.setText("")
            return
        footer.ready()
        footer.warn(warnings)
        self.ui.grid.cost.setText(cost_in_words(self.ui, job))
        if self.ui.method.is_ready:  # what it computes, a preview needs, too
            optics, model = self.ui.optics.known(), self.ui.method.model
            self.ui.error.follow(replace(job.recipe, optics=optics, model=model), self)

    # running ------------------------------------------------------------------------
    def _begin(self, *, preview: bool) -> None:
        if self.run is not None:
            return
        for row in self.ui.table.scans.used():
            row.forget()  # pixels may have been changed in place
        try:
            job = build_job(self.ui, self._viewer, preview=preview)
            self.result = self._result_for(job, preview=preview)
        except (InputError, MemoryError) as error:
            self._fail(sentence_of(error))
            return
        if self.remembers:
            for part in (self.ui.optics, self.ui.method, self.ui.result):
                part.remember()
        self.ui.save.offer(None)
        self._job, self.rest = job, (rest := Rest())
        rest.want(True)  # after the first plane, until its layer is there
        self.start(
            *(reconstruct_steps, job, rest),
            title=title_of(self.ui.method, job.recipe.method),
            first=_BEFORE.get(job.recipe.chosen.kind, "starting…"),
            total=len(job.grid),
            wake=lambda: rest.want(False),
        )

    def _result_for(self, job: VolumeJob, *, preview: bool) -> ResultLayer:
        name = layers_name(self.ui, job.recipe.method)
        if preview:
            name = f"Preview ({title_of(self.ui.method, job.recipe.method)})"
        first = self.ui.table.scans.used()[0].layer
        return ResultLayer(self._viewer, job, self._turns, name, first, self._preview)

    def _arrived(self, item: Any) -> None:
        if isinstance(item, FinishedPlane):
            self._plane_done(item)
        elif isinstance(item, str):
            self.say(item, "warning")
        else:
            self._checked(item)

    def _plane_done(self, plane: FinishedPlane) -> None:
        run, result, job = self.run, self.result, self._job
        if run is None or result is None or job is None:
            return
        if run.is_cancelled and job.output is None:
            return  # what is on the disk stays
        if result.is_removed:
            run.cancel()
            return
        result.take(plane)
        self.rest.want(self._turns.is_on)
        self.footer.progress(result.done, len(job.order), piece="plane")

    def _checked(self, check: OwnSampleCheck) -> None:
        """The check has chosen a method: say so, and call bar and layer by its name."""
        self.say(check.sentence)
        self.footer.retitle(title_of(self.ui.method, check.chosen))
        if self.result is not None:
            self.result.rename(layers_name(self.ui, check.chosen))

    def _run_ended(self, outcome: Outcome) -> None:
        ended = super()._run_ended
        self._turns.after(lambda: ended(outcome))  # once the layer is there

    def _keeps(self, outcome: Outcome) -> bool:
        return outcome.state != "done" or outcome.path is not None

    def _conclude(self, outcome: Outcome) -> None:
        result = self.result
        if result is None:
            return
        result.finish(outcome)
        self.ui.save.offer(result.layer)
        if result.layer is not None:  # a preview that the user renamed is kept by its new name
            is_preview = result.layer.name.startswith("Preview (")
            self._preview = result.layer if is_preview else None
        self.check()
        self._say_end(result, outcome)

    def _say_end(self, result: ResultLayer, outcome: Outcome) -> None:
        where = "" if outcome.path is None else f" in '{outcome.path.name}'"
        kept = f" The {result.done} finished planes are kept{where}." if result.done else ""
        if result.is_removed:
            stays = kept if outcome.path is not None else ""
            self.say(f"Stopped, because its layer was removed.{stays}")
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
            self.say(sentence, "done")
        elif outcome.state == "cancelled":
            self.say(f"Cancelled.{kept}")
        else:
            self._fail(outcome.sentence + kept)

    # wiring -------------------------------------------------------------------------
    def _connect(self) -> None:
        ui = self.ui
        self.connect_scans()
        on(self, self._turns.changed, lambda is_on: self.rest.want(is_on))
        on(self, ui.table.scans.changed, self._scans_changed)
        on(self, ui.optics.changed, self._scans_changed)
        on(self, ui.grid.changed, self._scans_changed)
        ui.method.changed.connect(self._check_timer.start)
        on(self, ui.method.failed, self._fail)
        ui.result.changed.connect(self._check_timer.start)
        on(self, ui.save.said, self.say)
        on(self, ui.give_size.said, self.say)
        on(self, ui.preview.clicked, self.preview)
        self.shortcut("Ctrl+P", ui.preview.click)

    def _layer_removed(self, event: Any) -> None:
        super()._layer_removed(event)
        result = self.result
        if self.run is not None and result is not None and result.is_removed:
            self.cancel()
