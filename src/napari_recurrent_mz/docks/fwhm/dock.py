"""The FWHM dock: beads found or chosen, measured, their widths in histograms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Layer
from qtpy.QtWidgets import QTabWidget

from ...core.errors import sentence_of
from ...core.scans import InputError, counted, listed
from ...measure.beads import bead_profiles, in_words, write_beads
from ...measure.plots.widths import AxisHistogram, profiles_figure, width_histograms, widths_figure
from ..shared import layers as _layers
from ..shared.dock import Dock
from ..shared.guard import guarded, on, on_click
from ..shared.layer_choice import LayerChoice, is_image, lacks_step, selected_or_only
from ..shared.places import plane_at
from .job import BeadPoints, FwhmJob, Measured, measure, points_um, volume_of
from .layout import ResultsPage, SetupPage

_NOTHING = "Nothing is measured yet: choose a volume and press Measure"
_NO_BEAD = "Click a bar or a bead: its profile and the fit appear here"


class FwhmDock(Dock):
    """Bead widths of one volume, or of two beside each other."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, "Measure", "Find, fit and count the beads")
        self.setup, self.results = SetupPage(self._viewer), ResultsPage(self.palette_)
        self.pages = QTabWidget()
        self.pages.setAccessibleName("Pages")
        self.pages.addTab(self.setup, "Measure")
        self.pages.addTab(self.results, "Results")
        self.pages.setTabToolTip(0, "What to measure, and how")
        self.pages.setTabToolTip(1, "Histograms of the widths, and the profiles of a bead")
        self.inputs, self.kept = (self.setup,), (self.setup.optics, self.setup.form)
        self.form.addWidget(self.pages, 1)
        self.measured: Measured | None = None
        self.histograms: list[AxisHistogram] = []
        self.points: list[BeadPoints] = []
        self._chosen_bar: tuple[str, int] | None = None
        self._browsed: list[tuple[BeadPoints, int]] = []
        self._shown = -1
        self._connect()
        self.results.widths.show_reason(_NOTHING)
        self.results.bead.show_reason(_NO_BEAD)
        self._enable_tools()

    # what a script calls --------------------------------------------------------------
    def _act(self) -> None:
        self.start(measure, self.job(), then=self._show, title="Measuring")

    def job(self) -> FwhmJob:
        """What would be measured."""
        setup, form = self.setup, self.setup.form.values()
        layers = setup.layers
        if form.volume is None:
            raise InputError("Choose the volume whose beads are to be measured.")
        if len(layers) == 2 and layers[0] is layers[1]:
            raise InputError(
                f"The reference is the volume '{layers[0].name}' itself: choose another, or None."
            )
        pixel = setup.optics.fields["pixel_um"].value()
        volumes = tuple(volume_of(layer, pixel, form.step) for layer in layers)
        places = None
        if form.points is not None:
            pairs = zip(layers, volumes, strict=True)
            places = tuple(points_um(form.points, layer, volume) for layer, volume in pairs)
        optics = None if setup.optics.is_incomplete() else setup.optics.optics()  # for the theory
        return FwhmJob(volumes, places, form.settings(), optics, form.bead or 0.0)

    def _check(self) -> None:
        if self.run is not None:
            return
        self.setup.form.show_fields("step", any(map(lacks_step, self.setup.layers)))
        self.job()
        self.footer.ready()

    def _is_unfinished(self) -> bool:
        return self.setup.form.volume.value is None

    def choose_bar(self, axis: str, number: int) -> None:
        """Select the beads of a bar, and show the first of them."""
        histogram = next((h for h in self.histograms if h.axis == axis), None)
        if histogram is None:
            return
        self._chosen_bar = (axis, number)
        self._draw_widths()
        browsed = []
        for points in self.points:
            beads = histogram.beads_in(points.table, number)
            points.choose(beads)
            browsed += [(points, bead) for bead in beads]
        self._browse(browsed, 0)
        if browsed:
            points, bead = browsed[0]
            if points.layer is not None:  # what is done to the selection next is done to these
                self._viewer.layers.selection.active = points.layer
            points.show_plane(bead)
        low, high = histogram.edges_um[number : number + 2]
        count = counted(len(browsed), "bead")
        self.footer.say(f"{count} with FWHM {axis} from {low:.4g} to {high:.4g} µm.", "hint")

    def show_bead(self, points: BeadPoints, bead: int) -> None:
        """Show the profiles of one bead; the buttons go on through all of its volume."""
        if self._chosen_bar is not None:
            self._chosen_bar = None
            self._draw_widths()
        order = [int(label) for label in points.table.index]
        self._browse([(points, label) for label in order], order.index(bead))

    def next_bead(self, step: int = 1) -> None:
        """Show the next bead of the bar or the volume, and go to its plane."""
        if self._browsed:
            self._shown = (self._shown + step) % len(self._browsed)
            points, bead = self._browsed[self._shown]
            points.choose([bead])
            points.show_plane(bead)
            self._draw_bead()

    def save_table(self, path: str | Path) -> None:
        """Write all beads to a CSV file; the dock says how it went."""
        if self.measured is None:
            return
        pairs = zip(self.measured.volumes, self.measured.tables, strict=True)
        self.save_file(lambda: write_beads(path, {volume.name: table for volume, table in pairs}))

    # results --------------------------------------------------------------------------
    def _show(self, measured: Measured) -> None:
        self.measured = measured
        self._chosen_bar = None
        self._replace_points(measured)
        self._browse([], -1)
        kind = "done"
        try:
            self.histograms = width_histograms(measured.tables)
            self._draw_widths()
        except InputError as error:
            self.histograms, kind = [], "warning"
            self.results.widths.show_reason(f"{error}\n\n{_counts(measured)}")
        self._enable_tools()
        there = partial(_layers.there, self._viewer)
        gone = [f"'{v.name}'" for v in measured.volumes if there(v.layer) is None]
        unmarked = [f"The beads of {listed(gone)}, which is gone, are not marked."] if gone else []
        self.footer.say(" ".join([f"{_counts(measured)}.", *unmarked, *measured.notes]), kind)
        self.pages.setCurrentWidget(self.results)
        if self.histograms:
            table = self.points[0].table
            for bead in table.index[table["accepted"]][:1]:
                self.show_bead(self.points[0], int(bead))
                self.points[0].show_plane(int(bead))

    def _replace_points(self, measured: Measured) -> None:
        """New points; the ones from before go, unless somebody works with them."""
        in_use = self.setup.form.points.value
        for points in self.points:
            layer = points.layer
            if layer is not None and layer is not in_use and points.is_as_made():
                self._viewer.layers.remove(layer)
        picked = guarded(self, self.show_bead)
        pairs = zip(measured.volumes, measured.tables, strict=True)
        self.points = [
            BeadPoints(self._viewer, volume, table, number, picked)
            for number, (volume, table) in enumerate(pairs)
            if len(table)
        ]

    def _draw_widths(self) -> None:
        if self.measured is not None and self.histograms:
            names = [volume.name for volume in self.measured.volumes]
            theory = self.measured.theory_um
            draw = widths_figure(self.histograms, names, theory, self._chosen_bar)
            self.results.widths.show_figure(draw)

    def _browse(self, beads: Sequence[tuple[BeadPoints, int]], shown: int) -> None:
        self._browsed, self._shown = list(beads), shown if beads else -1
        self._draw_bead()

    def _draw_bead(self) -> None:
        self._enable_tools()
        if self._shown < 0:
            self.results.bead.show_reason(_NO_BEAD)
            self.results.words.setText("")
            return
        points, bead = self._browsed[self._shown]
        try:
            profiles = bead_profiles(points.volume.pixels, points.table, bead)
        except Exception as error:  # the layer's data may have been replaced by others
            self.results.bead.show_reason(sentence_of(error))
            return
        self.results.bead.show_figure(profiles_figure(profiles))
        where = f"{self._shown + 1} of {len(self._browsed)}"
        self.results.words.setText(f"{_about(points, bead)} ({where})")

    def _enable_tools(self) -> None:
        has_table = self.measured is not None and any(len(t) for t in self.measured.tables)
        self._table_button.setEnabled(has_table)
        for button in (self._back_button, self._next_button):
            button.setEnabled(len(self._browsed) > 1)

    # the viewer -----------------------------------------------------------------------
    def _clicked_bar(self, event: Any) -> None:
        axis = event.inaxes.get_label() if event.inaxes is not None else ""
        for histogram in self.histograms:
            number = histogram.bin_at(event.xdata) if histogram.axis == axis else None
            if number is not None:
                self.choose_bar(axis, number)

    def _key_pressed(self, event: Any) -> None:
        """Arrows go from bar to bar, and from axis to axis."""
        moves = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
        if event.key not in moves or not self.histograms:
            return
        axes = [histogram.axis for histogram in self.histograms]
        axis, number = self._chosen_bar or (axes[0], -1 if event.key == "right" else 0)
        down, right = moves[event.key]
        place = min(max(axes.index(axis) + down, 0), len(axes) - 1)
        last = len(self.histograms[place].edges_um) - 2
        self.choose_bar(axes[place], min(max(number + right, 0), last))

    def _plane_in_view(self) -> None:
        """Measure at the height that the viewer shows."""
        dims, layer = self._viewer.dims, self.setup.form.volume.value
        try:
            volume = self.job().volumes[0]
        except InputError as error:
            self.footer.say(str(error), "error")
            return
        if volume.is_flat or dims.ndisplay == 3 or dims.ndim < 3 or layer is None:
            self.footer.say("No single plane is in view: show one plane of a stack in 2-D.", "hint")
            return
        plane = round(plane_at(self._viewer, layer))
        plane = min(max(plane, 0), _layers.plane_count(layer) - 1)
        height = float(volume.origin_um[0] + plane * volume.voxel_um[0])
        self.setup.form.update(z_low=height, z_high=height)

    # wiring ---------------------------------------------------------------------------
    def _take(self, layers: Sequence[Layer], at: LayerChoice | None) -> list[str]:
        self.pages.setCurrentWidget(self.setup)
        return super()._take(layers, at)

    def _choose_what_is_there(self) -> None:
        """A selected image, or the only one that is no reference, is meant."""
        form = self.setup.form
        if form.volume.value is None and self.run is None:
            images = selected_or_only(
                self._viewer, lambda one: is_image(one) and one is not form.reference.value
            )
            for layer in images[:1]:
                form.volume.value = layer

    def _layer_chosen(self) -> None:
        layer = self.setup.form.volume.value
        self.follow_images(_layers.optics_by_image([] if layer is None else [layer]))

    def _connect(self) -> None:
        setup, results = self.setup, self.results
        on(self, setup.form.volume.changed, self._layer_chosen)
        on(self, setup.changed, self._chosen_anew)
        on(self, setup.plane.clicked, self._plane_in_view)
        self._table_button = results.widths.add_table_tool(
            "Save all beads as a CSV file, units in its header", self.save_table, "beads"
        )
        self._back_button = results.bead.add_tool(
            "◀", "The bead before, of the bar or the volume (P)", lambda: self.next_bead(-1)
        )
        self._next_button = results.bead.add_tool(
            "▶", "The next bead of the bar or the volume (N)", self.next_bead
        )
        self.shortcut("N", self.next_bead)
        self.shortcut("P", lambda: self.next_bead(-1))
        results.widths.canvas.mpl_connect("button_press_event", guarded(self, self._clicked_bar))
        results.widths.canvas.mpl_connect("key_press_event", guarded(self, self._key_pressed))
        on_click(self, self._pick)

    def _pick(self, event: Any) -> None:
        """A click on a bead in the viewer shows it, whatever layer is active."""
        for points in self.points:
            bead = points.bead_at(event)
            if bead is not None:
                points.choose([bead])
                self.show_bead(points, bead)
                return


def _counts(measured: Measured) -> str:
    """What was found in each volume, in words."""
    pairs = zip(measured.volumes, measured.tables, strict=True)
    return "; ".join(f"{volume.name}: {in_words(table)}" for volume, table in pairs)


def _about(points: BeadPoints, bead: int) -> str:
    """A bead's place and measures, in words."""
    row = points.table.loc[bead]
    place = ", ".join(f"{row[name]:.4g}" for name in ("z_um", "y_um", "x_um"))
    numbers = " · ".join(
        f"{'SNR' if name == 'snr' else name} {row[name]:.4g}"
        for name in ("amplitude", "background", "residual", "snr")
    )
    verdict = "accepted" if row["accepted"] else f"left out: {row['reason']}"
    return f"Bead {bead + 1} of {points.volume.name}, {verdict} · z, y, x {place} µm · {numbers}"
