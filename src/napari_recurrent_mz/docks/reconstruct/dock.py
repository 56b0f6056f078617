"""The Reconstruct dock: from scans at known heights to a volume in micrometres."""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtWidgets import QApplication

from ...core.progress import Step, time_in_words
from ...core.scans import InputError, ZGrid, listed
from ..shared.guard import on, telling
from ..shared.layer_choice import selected
from ..shared.layers import HIDDEN, METADATA_KEY, is_reconstruction, known_metadata, there
from ..shared.pace import Turns
from ..shared.scan_source import ScanSource
from ..shared.scan_table import is_incomplete, layers_of, planes_of_one_stack
from ..shared.worker import Outcome, Rest
from . import jobs as _jobs
from .layout import ReconstructLayout
from .result import Planned, ResultLayer
from .steps import FinishedPlane, VolumeJob, reconstruct_steps

if TYPE_CHECKING:
    from ...core.optics import Optics
    from ...engine.check import OwnSampleCheck

_BEFORE = {  # what comes before the first plane, by the kind of method
    "network": "fitting an object to the scans…",
    "nonnegative": "fitting an object to the scans…",
    "points": "looking for points…",
    "auto": "checking on your scans…",
}


class ReconstructDock(ScanSource):
    """Scans, optics, target grid, method; Preview, Reconstruct, Cancel."""

    takes_times = True
    _foretold: Sequence[str] = ()  # what was to be minded before the run

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(
            napari_viewer,
            "Reconstruct",
            "Make the volume as a new layer, the plane in view first",
            ReconstructLayout,
        )
        self.scan_parts, self.inputs = self.ui.scan_parts, self.ui.inputs
        self.kept = self.ui.optics, self.ui.method, self.ui.result
        self.rest = Rest()
        self.result: ResultLayer | None = None
        self.results: list[weakref.ref[Image]] = []  # of the channels that are finished
        self._made = weakref.WeakKeyDictionary[Image, VolumeJob]()  # volumes that are whole
        self._queue: list[Planned] = []  # what comes after it
        self._channel = self._at_work = ""  # what it is called beside others, and the bar's words
        self._is_checking = False  # whether the method is still being chosen
        self._began = 0.0
        self._preview: Image | None = None
        self._turns = Turns(self._viewer, self)
        self._connect()

    # what a script or the demo calls ------------------------------------------------
    def set_grid(self, grid: ZGrid) -> None:
        self.ui.grid.set_grid(grid)

    def write_to(self, folder: Path, ngff: str | None = None) -> None:
        """Let volumes be written to this folder as they are made, as this version of OME-Zarr."""
        self.ui.result.write_to(folder, ngff)

    def _act(self) -> None:
        self._begin(preview=False)

    reconstruct = ScanSource.act

    def preview(self) -> None:
        """Start the linear MMSE preview: a coarser grid when the full one would take long."""
        with telling(self):
            self._begin(preview=True)

    # checking -----------------------------------------------------------------------
    def _scans_changed(self) -> None:
        self.footer.say("", "hint")  # the last answer was about how things stood before
        self._check_timer.start()
        self._look_at_channels()
        rows = [row for row in self.used() if row.z_um is not None]
        heights = [row.z_um for row in rows if row.z_um is not None]
        optics = self.known_optics()
        depth_um = None if optics is None else optics.depth_of_field_um
        self.ui.grid.follow(heights, depth_um, planes_of_one_stack(rows))

    def known_optics(self) -> Optics | None:
        """The optics, if they are known; of several channels, those of the finest detail."""
        return _jobs.finest_optics(self.ui) or super().known_optics()

    def _look_at_channels(self) -> None:
        wavelength_um = self.ui.optics.fields["wavelength_um"].value()
        self.ui.channels.look(self.used(), self._viewer.layers, wavelength_um)

    def _layers_changed(self) -> None:
        super()._layers_changed()
        self._look_at_channels()
        self._check_timer.start()

    def _in_view_changed(self) -> None:
        """Another time point is in view, which may be what is reconstructed."""
        if self.ui.channels.frames > 1 and self.run is None:
            self._check_timer.start()

    def check(self) -> None:
        super().check()
        if self.run is None and not self.ui.table.scans.rows:
            self.footer.state.say("Add scans to begin.")

    def _check(self) -> None:
        footer, rows = self.footer, self.ui.table.scans.rows
        self.scan_parts.give_size.look(rows, self.ui.optics.pixel_um)
        if self.run is not None:
            return
        try:
            planned = _jobs.build_jobs(self.ui, self._viewer, preview=False)
            recipe = self.ui.method.with_weights(planned[0].job.recipe)
            warnings = _jobs.warnings_about(self.ui, recipe)
        except InputError:
            self.ui.error.follow(None, self)
            self.scan_parts.repairs.follow((), None, self)
            self.scan_parts.repairs.offer(is_possible=False)
            self.ui.grid.cost.setText("")
            raise
        footer.ready()
        footer.warn([*warnings, *chain(*self.scan_parts.repairs.notes)])
        self._foretold = warnings
        one_by_one = self.ui.channels.frames == 1 and len(self.ui.channels.used()) < 2
        self.scan_parts.repairs.offer(is_possible=one_by_one)
        self.ui.grid.cost.setText(_jobs.cost_in_words(self.ui, self._viewer, planned))
        if self.ui.method.is_ready:  # what it computes, a preview needs, too
            self.ui.error.follow(recipe, self)
            self.scan_parts.repairs.follow(recipe.scans, recipe.optics, self)

    def _is_unfinished(self) -> bool:
        panels = self.ui.optics, self.ui.result, self.ui.channels
        return is_incomplete(self.used()) or any(one.is_incomplete() for one in panels)

    # running ------------------------------------------------------------------------
    def _begin(self, *, preview: bool) -> None:
        if self.run is not None:
            return
        used = self.used()
        for channel in self.ui.channels.used():
            for row in channel.rows(used):
                row.forget()  # pixels may have been changed in place
        planned = _jobs.build_jobs(self.ui, self._viewer, preview=preview)
        self.ui.save.offer([])
        self._made.clear()
        self._begin_first(planned)

    def _begin_first(self, planned: list[Planned]) -> None:
        self.results, self._began = [], time.monotonic()
        self._begin_next(planned)

    def _begin_next(self, planned: list[Planned]) -> None:
        """Begin the first of these jobs; the others wait."""
        first, *self._queue = planned
        job, self._channel = first.job, first.channel
        self.result = ResultLayer(self._viewer, self._turns, first, self._preview)
        self.rest = rest = Rest()
        rest.want(True)  # after the first plane, until its layer is there
        kind = "" if first.is_beside else job.recipe.chosen.kind
        self._at_work, self._is_checking = f"{first.channel}{first.title}", kind == "auto"
        self.start(
            *(reconstruct_steps, job, rest),
            title=self._at_work,
            first=_BEFORE.get(kind, "starting…"),
            total=job.planes,
            wake=lambda: rest.want(False),
        )

    def _arrived(self, item: Any) -> None:
        if isinstance(item, FinishedPlane):
            self._plane_done(item)
        elif isinstance(item, str):
            self.say(item, "warning")
        elif isinstance(item, Step):
            super()._arrived(item)
        else:
            self._checked(item)

    def _plane_done(self, plane: FinishedPlane) -> None:
        run, result = self.run, self.result
        if run is None or result is None:
            return
        job = result.job
        if run.is_cancelled and job.output is None:
            return  # what is on the disk stays
        if result.was_removed:
            run.cancel()
            return
        result.take(plane)
        self.rest.want(self._turns.is_on)
        if plane.is_draft:
            if not self.footer.message.text():  # a warning has come first
                self.say("For now, the plane in view is the linear estimate.")
            return
        if self._is_checking:
            return  # the bar says so until the check is over
        words = self._at_work
        if job.lapse:
            words += f", time point {plane.frame + 1} of {job.frames}"
        self.footer.progress(result.done, job.planes, words, piece="plane")

    def _checked(self, check: OwnSampleCheck) -> None:
        """The check has chosen a method: say so, and call bar and layer by its name."""
        self.say(check.sentence)
        self._is_checking = False
        self._at_work = f"{self._channel}{self.ui.method.title(check.chosen)}"
        self.footer.retitle(self._at_work)
        if self.result is not None:
            stem = self.result.name.rpartition(" · ")[0]
            self.result.rename(f"{stem} · {self.ui.method.title(check.chosen)}")

    def _run_ended(self, outcome: Outcome) -> None:
        self._turns.after(lambda: self._next_channel(outcome))  # once the layer is there

    def _next_channel(self, outcome: Outcome) -> None:
        """Begin with the next channel, or end."""
        run, result = self.run, self.result
        is_on = outcome.state == "done" and run is not None and not run.is_cancelled
        if not (is_on and self._queue) or result is None:
            super()._run_ended(outcome)
            return
        with telling(self):
            self._finish(result, outcome)
            self._begin_next(self._queue)

    def _keeps(self, outcome: Outcome) -> bool:
        is_lapse = self.result is not None and bool(self.result.job.lapse)
        return outcome.state != "done" or outcome.path is not None or is_lapse

    def _conclude(self, outcome: Outcome) -> None:
        result = self.result
        if result is None:
            super()._conclude(outcome)
            return
        self._finish(result, outcome)
        layers = self._result_layers()
        if len(layers) > 1:
            self._viewer.layers.selection = set(layers)
        if not result.is_beside:
            self._offer(layers)
        self.check()  # what was to be minded is not said again
        self._say_end(result, outcome)

    def _offer(self, volumes: list[Image]) -> None:
        """Let volumes be saved, and the next run replace a preview that was not renamed."""
        self.ui.save.offer(volumes)
        if volumes:
            is_preview = volumes[-1].name.startswith("Preview (")
            self._preview = volumes[-1] if is_preview else None

    def _result_layers(self) -> list[Image]:
        """The volumes of this run that are there."""
        return [one for ref in self.results if (one := there(self._viewer, ref)) is not None]

    def _finish(self, result: ResultLayer, outcome: Outcome) -> None:
        """Let a volume be what it has become."""
        result.finish(outcome)
        if result.layer is not None:
            self.results.append(weakref.ref(result.layer))
            if outcome.state == "done" and not result.is_beside:
                self._made[result.layer] = result.job

    def _say_end(self, result: ResultLayer, outcome: Outcome) -> None:
        where = "" if outcome.path is None else f" in '{outcome.path.name}'"
        planes = "finished plane is" if result.done == 1 else f"{result.done} finished planes are"
        remainder = f" The {planes} kept{where}." if result.done else ""
        is_on_disk = result.job.output is not None and not result.job.lapse
        if remainder and is_on_disk and outcome.path is None:
            remainder = f" The {planes} in the layer until napari is closed: save it elsewhere."
        before = [f"“{one.name}”" for one in self._result_layers() if one is not result.layer]
        remainder += (
            f" {listed(before)} {'is' if len(before) == 1 else 'are'} ready." if before else ""
        )
        if result.was_removed and outcome.state != "done":
            stays = remainder if outcome.path is not None or before else ""
            self.say(f"Stopped, because its layer was removed.{stays}")
        elif outcome.state == "done" and result.layer is not None:
            self._say_done(result, outcome, before)
        elif outcome.state == "cancelled":
            self.say(f"Cancelled.{remainder}")
        else:
            self.say(outcome.sentence + remainder, "error")

    def _say_done(self, result: ResultLayer, outcome: Outcome, before: list[str]) -> None:
        """Say that all is ready, and what to mind."""
        assert result.layer is not None
        seconds = time.monotonic() - self._began if before else outcome.seconds
        names = f"“{result.layer.name}”"
        if before:
            many = len(before) > 1
            names = f"{len(before) + 1} volumes" if many else listed([*before, names])
        sentence = f"{names} {'are' if before else 'is'} ready after {time_in_words(seconds)}."
        if outcome.path is not None:
            folder = f"'{outcome.path.parent}'" if before else f"'{outcome.path}'"
            sentence += f" {'They are' if before else 'It is'} in {folder}."
        if result.is_scan_unsized:
            sentence += (
                " Its scans are drawn in pixels, not µm: hide them, or give them their size."
            )
        if result.job.errors_of is not None:
            sentence += " A plane that is a scan is even and low in it: its error is noise alone."
        if any(one in self._viewer.layers for one in result.hidden):
            sentence += f" {HIDDEN}"
        channels = len(self.ui.channels.used())
        if result.layer is self._preview and channels > 1:
            sentence += f" It is of one channel: Reconstruct makes all {channels}."
        from ...engine.provenance import what_to_believe

        lines = list[str]()
        for layer in () if result.is_beside else self._result_layers():
            record = layer.metadata.get(METADATA_KEY, {})
            found = (note for note in record.get("notes", ()) if note not in self._foretold)
            check = (record.get("check") or {}).get("sentence", "")
            more = *found, check, what_to_believe(record)
            lines += [f"“{layer.name}”: {one}" if before else one for one in more if one]
        if before and lines:
            self.say(f"{sentence} Point here for how well each is known.", "done")
            self.footer.message.setToolTip("\n".join(lines))
        else:
            self.say("\n".join([sentence, *lines]), "done")

    def draw_region(self) -> None:
        """Add a rectangle over the scans, whose inside is reconstructed."""
        with telling(self):
            layers = layers_of(self.used())
            if not layers:
                raise InputError("Add the scans first: the rectangle is drawn over them.")
            self.ui.region.draw_over(self._viewer, layers[0])
            self.say("Drag the rectangle, or its corners, to what is to be reconstructed.", "hint")

    def add_interpolation(self) -> None:
        """Make the linear interpolation of the same scans beside every volume of the last run."""
        self._put_beside(_jobs.interpolation_beside)

    def add_errors(self) -> None:
        """Make the expected error of every voxel beside every volume of the last run."""
        self._put_beside(_jobs.errors_beside)

    def _put_beside(self, what: _jobs.Beside) -> None:
        if self.run is not None:
            return
        with telling(self):
            made = {one: self._made[one] for one in self.ui.save.layers if one in self._made}
            if not made:
                raise InputError("There is no finished volume yet: reconstruct first.")
            self._begin_first(_jobs.put_beside(self.ui, self._viewer, made, what))

    def copy_methods(self) -> None:
        """Put on the clipboard how the volumes were made, a paragraph for each."""
        from ...engine.provenance import methods_paragraph

        layers = self.ui.save.layers or list(filter(is_reconstruction, selected(self._viewer)))
        if not layers:
            self.say(
                "There is no finished volume yet: reconstruct, or select one from a file.", "hint"
            )
            return
        clipboard = QApplication.clipboard()
        assert clipboard is not None  # an application always has one
        with telling(self):
            paragraphs = {layer.name: methods_paragraph(known_metadata(layer)) for layer in layers}
            if len(paragraphs) > 1:
                paragraphs = {name: f"{name}: {text}" for name, text in paragraphs.items()}
            clipboard.setText("\n\n".join(paragraphs.values()))
            names = listed([f"“{name}”" for name in paragraphs])
            self.say(f"How {names} came to be is on the clipboard, as text for a paper.", "done")

    # wiring -------------------------------------------------------------------------
    def _connect(self) -> None:
        ui = self.ui
        self.connect_scans()
        on(self, self._turns.changed, lambda is_on: self.rest.want(is_on))
        on(self, ui.table.scans.changed, self._scans_changed)
        on(self, ui.optics.changed, self._scans_changed)
        for signal in (ui.optics.changed, ui.channels.changed):
            on(self, signal, self.suggest_anew)  # it says more
        on(self, ui.grid.changed, self._scans_changed)
        on(self, ui.channels.changed, self._scans_changed)
        on(self, self._viewer.dims.events.point, self._in_view_changed)
        ui.method.changed.connect(self._check_timer.start)
        ui.result.changed.connect(self._check_timer.start)
        on(self, ui.region.changed, self._check_timer.start)
        on(self, ui.region.draw, self.draw_region)
        on(self, ui.methods_text.clicked, self.copy_methods)
        on(self, ui.interpolation.clicked, self.add_interpolation)
        on(self, ui.errors.clicked, self.add_errors)
        on(self, ui.preview.clicked, self.preview)
        self.shortcut("Ctrl+P", ui.preview.click)

    def _layer_removed(self, event: Any) -> None:
        super()._layer_removed(event)
        self.ui.save.forget(event.value)
        result = self.result
        if self.run is not None and result is not None and result.was_removed:
            self.cancel()
