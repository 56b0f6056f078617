"""The Compare dock: reconstructions against a reference stack, plane by plane."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QScrollArea,
)

from ...core.scans import InputError
from ...measure.comparison import BASELINE_NAMES, BASELINES, Comparison, Difference, Volume
from ...measure.plots.comparison import PLANE_IN_VIEW, colour_of, comparison_figure
from ..shared import layers as _layers
from ..shared import settings as _settings
from ..shared.dock import Dock
from ..shared.form import DataForm, faint
from ..shared.guard import guarded, on, telling
from ..shared.layer_choice import LayerChoice
from ..shared.optics_panel import OpticsPanel
from ..shared.parts import push_button, without_wheel
from ..shared.plot import PlotPanel, ask_for_file
from ..shared.stacks import is_measured_stack, says_its_size, selected_or_only
from ..shared.theme import ink_of
from .job import (
    ComparisonJob,
    PlaneInView,
    agreed_scans,
    compare_job,
    difference_job,
    difference_layer,
    is_comparable,
    scans_of,
    volume_of,
)
from .parts import LayerList, MeansTable, Options, Reference, parse_heights

_GROUP = "compare"
_TABLES = "Comma-separated values (*.csv)"
_PLOT_HEIGHT = 340
_FIGURE_MM = (180.0, 150.0)
_EMPTY = (
    "PSNR, NRMSE and SSIM of every plane appear here: choose a reference and tick what to compare."
)


class CompareDock(Dock):
    """PSNR, NRMSE and SSIM over z of any number of layers, with baselines and difference maps."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(
            napari_viewer, "Compare", "Measure every plane against the reference; layers stay"
        )
        self.chosen = DataForm(Reference, self._viewer)
        self.reference: LayerChoice = self.chosen.reference.native
        self.layers = LayerList(self._viewer, is_comparable, _layers.is_reconstruction)
        self.options = DataForm(Options)
        self.optics = OpticsPanel()
        self.options.put_under("scans", self.optics)
        self.plot = PlotPanel(self.palette_, "Comparison", _PLOT_HEIGHT, _FIGURE_MM)
        self.table_button = self.plot.add_tool(
            "Save table…", "Save every plane's values as a CSV file, units in its header",
            self._ask_for_table,
        )  # fmt: skip
        self.means = MeansTable()
        self.note = faint(is_copied=True)
        self.difference_of = _difference_box()
        self.difference_button = push_button(
            "Add difference map", "Add the chosen volume minus the reference as a layer"
        )
        self.comparison: Comparison | None = None
        self.job: ComparisonJob | None = None
        self.in_view: PlaneInView | None = None
        self._compared: dict[weakref.ref[Image], str] = {}
        self._sight_timer = self.one_shot(100, self._bring_plot_in_sight)  # once laid out
        self._lay_out()
        self._restore()
        with telling(self):
            self._choose_what_is_there()
        self.plot.show_reason(_EMPTY)
        self.table_button.setEnabled(False)
        self.means.hide()
        self.note.hide()
        self._connect()
        self.check()

    # what a script calls --------------------------------------------------------------
    def act(self) -> None:
        """Compare what the dock describes."""
        if self.run is not None:
            return
        with telling(self):
            job, compared = self._described()
            self._remember()
            self.start(
                compare_job,
                job,
                then=lambda comparison: self._show(comparison, job, compared),
                title="Comparing",
            )

    def add_difference(self) -> None:
        """Add the map of the chosen volume minus the reference."""
        job, name = self.job, self.difference_of.currentText()
        if job is None or self.run is not None or not name:
            return
        keys = {title: key for key, title in BASELINE_NAMES.items()}
        volumes: dict[str, Volume | str] = {v.name: v for v in job.volumes}
        chosen = volumes.get(name, keys.get(name, ""))
        self.start(difference_job, job, chosen, then=self._add_map, title="Subtracting")

    def _check(self) -> None:
        lacks_size = not all(map(says_its_size, self._layers()))
        for name in ("step", "pixel"):
            self.options.show_field(name, lacks_size)
        self.optics.setVisible(self.options.lmmse.value)
        scans = agreed_scans(self.layers.ticked())
        self.options.scans.native.setPlaceholderText(f"{scans} (layers)" if scans else "2 5 8")
        self._offer_difference()
        if self.run is None:
            self.footer.ready(self._missing(), "hint")

    def restyle_plots(self) -> None:
        """Draw the curves and the table again in the theme's colours."""
        super().restyle_plots()
        self._mark_view()
        self._show_means()

    # from what is chosen to a job -----------------------------------------------------
    def _layers(self) -> list[Image]:
        """The reference and what is compared with it."""
        return [layer for layer in (self.reference.layer(), *self.layers.ticked()) if layer]

    def _missing(self) -> str:
        if self.reference.layer() is None:
            return "Choose the reference: a stack with every plane, taken for the truth."
        if not self.layers.ticked() and not self.baselines:
            return "Tick a reconstruction to compare, or a baseline."
        return ""

    def _described(self) -> tuple[ComparisonJob, dict[str, Image]]:
        """The job, and its layers by name."""
        missing = self._missing()
        if missing:
            raise InputError(missing)
        options = self.options.values()
        layers = self._layers()
        reference, *volumes = (volume_of(x, options.step, options.pixel) for x in layers)
        job = ComparisonJob(
            tuple(volumes),
            reference,
            self.baselines,
            parse_heights(options.scans) or scans_of(layers[0]),
            self.optics.optics() if options.lmmse else None,
            options.fit,
        )
        return job, {
            volume.name: x for volume, x in zip((reference, *volumes), layers, strict=True)
        }

    # results --------------------------------------------------------------------------
    def _show(self, comparison: Comparison, job: ComparisonJob, compared: dict[str, Image]) -> None:
        self.comparison, self.job = comparison, job
        self._compared = {weakref.ref(layer): name for name, layer in compared.items()}
        self.in_view = PlaneInView(self._viewer, compared[job.reference.name], job.reference)
        self.plot.show_figure(comparison_figure(comparison))
        self.table_button.setEnabled(True)
        self._mark_view()
        self._show_means()
        planes = comparison.means["planes"].max()
        self.note.setText(
            f"{comparison.sentence} Means over the {planes} planes that all have and that were no "
            "scan."
            if planes
            else f"{comparison.sentence} No plane is left for a mean."
        )
        self.note.show()
        self.difference_of.clear()
        self.difference_of.addItems(comparison.names)
        self._offer_difference()
        self.footer.say("" if comparison.is_same_grid else comparison.sentence, "warning")
        self._sight_timer.start()

    def _bring_plot_in_sight(self) -> None:
        scroll = self.ui.findChild(QScrollArea)
        if scroll is not None:
            for part in (self.difference_button, self.plot):
                scroll.ensureWidgetVisible(part, 0, 0)

    def _show_means(self) -> None:
        if self.comparison is not None:
            ink, means = ink_of(self.palette_), self.comparison.means
            self.means.show_means(means, [colour_of(ink, n) for n in range(len(means))])
            self.means.show()

    def _offer_difference(self) -> None:
        self.difference_of.setEnabled(self.job is not None)
        self.difference_button.setEnabled(self.job is not None and self.run is None)

    def _layer_removed(self, event: Any) -> None:
        """Let go of the pixels of a layer that is gone; its curve stays."""
        name = self._compared.pop(weakref.ref(event.value), None)
        if name is None or self.job is None:
            return
        if name == self.job.reference.name:
            self.job = None
            self.difference_of.clear()
        else:
            volumes = tuple(volume for volume in self.job.volumes if volume.name != name)
            self.job = replace(self.job, volumes=volumes)
            self.difference_of.removeItem(self.difference_of.findText(name))
        self._offer_difference()

    def _add_map(self, difference: Difference) -> None:
        pixels, look = difference_layer(difference)
        z_um = None if self.in_view is None else self.in_view.z_um()
        self._viewer.add_image(pixels, **look)
        if z_um is not None and self.in_view is not None:
            self.in_view.go(z_um)  # a layer that comes moves the viewer to its middle
        self.footer.say(
            "Added the difference map: red where brighter than the reference, blue where darker.",
            "done",
        )

    def _ask_for_table(self) -> None:
        ask_for_file(self, "Save the table", "Comparison", _TABLES, self.save_table)

    def save_table(self, path: Any) -> None:
        """Save every plane's values as CSV."""
        comparison = self.comparison
        if comparison is not None:
            self.save_file(lambda: comparison.to_csv(path))

    # the plane in view ----------------------------------------------------------------
    def _mark_view(self, _event: Any = None) -> None:
        z_um = None if self.in_view is None else self.in_view.z_um()
        canvas = self.plot.answering
        for axes in canvas.figure.get_axes():
            for line in axes.lines:
                if line.get_gid() == PLANE_IN_VIEW:
                    line.set_visible(z_um is not None)
                    line.set_xdata([z_um or 0.0] * 2)
        canvas.draw_idle()  # type: ignore[no-untyped-call]

    def _clicked(self, event: Any) -> None:
        """Go to the plane under a click, or under the pointer that is dragged."""
        if self.in_view is not None and event.inaxes is not None and event.button == 1:
            self.in_view.go(float(event.xdata))

    def _key(self, event: Any) -> None:
        by = {"left": -1, "right": 1}.get(event.key)
        if self.in_view is not None and by is not None:
            self.in_view.step(by)

    # choosing, remembering, wiring ----------------------------------------------------
    def _choose_what_is_there(self) -> None:
        """The only stack that was not made from scans is the reference."""
        stacks = selected_or_only(self._viewer, is_measured_stack)
        if len(stacks) == 1 and self.reference.layer() is None and self.run is None:
            self.reference.choose(stacks[0])
            self._reference_chosen()
        self._layers_changed()

    def _reference_chosen(self) -> None:
        self.layers.leave_out(self.reference.layer())
        self._layers_changed()

    def _layers_changed(self) -> None:
        """The optics are those of the layers; what a person types stays."""
        self.optics.follow(_layers.optics_by_image(self._layers()))
        self._check_timer.start()

    @property
    def baselines(self) -> tuple[str, ...]:
        """Keys of the baselines that are ticked."""
        return tuple(key for key in BASELINES if self.options[key].value)

    def choose_baselines(self, keys: Iterable[str]) -> None:
        """Tick these and no others."""
        ticked = set(keys)
        self.options.update({key: key in ticked for key in BASELINES})

    def _restore(self) -> None:
        self.options.restore(_GROUP)
        stored = _settings.remembered(_GROUP, ("baselines",))
        self.choose_baselines(stored.get("baselines", "").split())

    def _remember(self) -> None:
        self.options.remember(_GROUP)
        _settings.remember(_GROUP, {"baselines": " ".join(self.baselines)})
        if self.options.lmmse.value:
            self.optics.remember()

    def _lay_out(self) -> None:
        self.add_section("Reference", self.chosen.native)
        self.add_section("Compare", self.layers)
        for part in (self.options.native, self.plot, self.means, self.note):
            self.form.addWidget(part)
        line = QHBoxLayout()
        line.addWidget(self.difference_of, 1)
        line.addWidget(self.difference_button)
        self.form.addLayout(line)
        self.form.addStretch(1)

    def _connect(self) -> None:
        on(self, self.reference.changed, self._reference_chosen)
        on(self, self.layers.changed, self._layers_changed)
        on(self, self.options.changed, self.check)
        self.optics.changed.connect(self._check_timer.start)
        on(self, self.difference_button.clicked, self.add_difference)
        on(self, self.ended, self.check)
        canvas = self.plot.answering
        canvas.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        canvas.setToolTip("Click or drag to move the viewer to a plane; ← and → step through them")
        canvas.mpl_connect("button_press_event", guarded(self, self._clicked))
        canvas.mpl_connect("motion_notify_event", guarded(self, self._clicked))
        canvas.mpl_connect("key_press_event", guarded(self, self._key))
        on(self, self._viewer.dims.events.point, self._mark_view)
        on(self, self._viewer.layers.events.removed, self._layer_removed)


def _difference_box() -> QComboBox:
    box = QComboBox()
    box.setAccessibleName("Difference of")
    box.setToolTip("The volume from which the reference is subtracted")
    box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)
    without_wheel(box)
    return box
