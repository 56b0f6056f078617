"""The Prepare dock: alignment, extended depth of field, normalisation, registration."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image

from ...core.scans import InputError
from ...estimates.normalisation import EdfNormalisation
from ...io import write_table
from ...measure.plots import Draw
from ...measure.plots.preparation import drift_figure, edf_histogram_figure, registration_figure
from ...measure.preparation import Alignment, ExtendedFocus, Registration
from ..shared import layers as _layers
from ..shared.dock import Dock
from ..shared.form import DataForm, faint
from ..shared.guard import on, telling
from ..shared.layer_choice import LayerChoice
from ..shared.plot import PlotPanel, ask_for_file
from .job import (
    Region,
    Source,
    about_layer,
    about_registered,
    align_job,
    apply_job,
    edf_job,
    lie_apart,
    measure_job,
    place_of,
    register_job,
    scan_layers,
    scans_source,
    stack_source,
)
from .pages import (
    ACTIONS,
    ALIGN,
    EDF,
    NORMALISE,
    REGISTER,
    SCANS,
    MotionTable,
    PreparePages,
    Stack,
    is_any_image,
)
from .words import (
    correlation_words,
    field_words,
    normalisation_words,
    registration_words,
    rise_words,
)

_TABLES = "Comma-separated values (*.csv)"
_PLOT_HEIGHT = 210
_EMPTY = (
    "The shift and the rotation of every plane come here.",
    "The extended-depth-of-field image comes as a new layer.",
    "The histogram of the EDF comes here, with what normalises its stack.",
    "The correlation of both stacks over the axial shift comes here.",
)


class PrepareDock(Dock):
    """Prepare raw stacks as the paper does (Huang et al. 2021, Methods, "Sample preparation")."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, *ACTIONS[ALIGN])
        self.chosen = DataForm(Stack, self._viewer)
        self.stack: LayerChoice = self.chosen.stack.native
        self.pages = PreparePages(self._viewer)
        self.plot = PlotPanel(self.palette_, "Preparation", _PLOT_HEIGHT)
        self.table_button = self.plot.add_tool(
            "Save table…", "Save the motion of every plane as a CSV file, units in its header",
            self._ask_for_table,
        )  # fmt: skip
        self.motion = MotionTable()
        self.numbers = faint(is_copied=True)
        self.alignment: Alignment | None = None
        self.normalisation: EdfNormalisation | None = None
        self.registration: Registration | None = None
        self.table: Any = None
        self._measured: weakref.ref[Image] | None = None
        self._figures: dict[int, Draw] = {}
        self._said: dict[int, str] = {}
        self._check_timer = self.one_shot(100, self.check)
        self._lay_out()
        with telling(self):
            self._choose_what_is_there()
        self._connect()
        self._show_page()

    # what a script calls --------------------------------------------------------------
    @property
    def task(self) -> int:
        """The task that is shown: ``ALIGN``, ``EDF``, ``NORMALISE`` or ``REGISTER``."""
        return self.pages.currentIndex()

    def act(self) -> None:
        """Do the task that is shown."""
        if self.run is not None:
            return
        try:
            (self._align, self._make_edf, self._measure, self._register)[self.task]()
        except InputError as error:
            self.footer.say(str(error), "error")
            return
        self.pages.remember()

    def apply(self) -> None:
        """Add the normalised stack as a layer."""
        layer = self._measured() if self._measured is not None else None
        found = self.normalisation
        if self.run is not None or found is None or layer is None:
            return
        try:
            source = stack_source(layer)
        except InputError as error:
            self.footer.say(str(error), "error")
            return
        made = {"task": "normalise", **found.as_dict()}
        about = about_layer(layer, f"{layer.name} (normalised)", made, same_units=False)

        def add(volume: npt.NDArray[Any]) -> None:
            added = self._add(volume, about | {"contrast_limits": (0.0, 1.0)})
            low, high = float(volume.min()), float(volume.max())
            added.contrast_limits_range = (min(low, 0.0), max(high, 1.0))
            self.footer.say(f"Added “{added.name}”: background 0, bright structure 1.", "done")

        self.start(apply_job, source, found.normalisation, then=add, title="Normalising")

    def _check(self) -> None:
        self._check_timer.stop()
        measured = self._measured() if self._measured is not None else None
        fits = measured is not None and measured is self.stack.layer()
        self.pages.apply.setEnabled(fits and self.normalisation is not None and self.run is None)
        if self.run is None:
            self.footer.ready(self._missing(), "hint")

    def save_table(self, path: Any) -> None:
        """Save the motion of every plane as CSV."""
        if self.table is not None:
            self.save_file(lambda: write_table(path, self.table))

    def restyle_plots(self) -> None:
        """Draw the plot again in the theme's colours."""
        self.plot.restyle()

    # the four tasks -------------------------------------------------------------------
    def _align(self) -> None:
        form = self.pages.align.values()
        if form.what == SCANS:
            chosen = [x for x in self._viewer.layers if x in self._viewer.layers.selection]
            layers = scan_layers(chosen)
            source = scans_source(layers)
        else:
            layers = [self._stack()]
            source = stack_source(layers[0])
        frames = [(layer, layer.name) for layer in layers]
        self.start(
            align_job, source, form.motion, form.reference, form.band_pass, form.crop,
            then=lambda result: self._aligned(result, source, frames, form.crop),
            title="Aligning",
        )  # fmt: skip

    def _aligned(
        self,
        result: tuple[Alignment, Region, npt.NDArray[Any]],
        source: Source,
        frames: Sequence[tuple[Image, str]],
        crop: bool,
    ) -> None:
        found, region, moved = result
        self.alignment, self.table = found, found.table(source.z_um, source.pixel_um)
        made = {
            "task": "align",
            **found.as_dict(),
            "common_region": [[part.start, part.stop] for part in region],
            "cropped": crop,
        }
        kept = region if crop else None
        layers = [layer for layer, _ in frames]
        place = about_layer(layers[0], "", made, region=kept)["translate"][-2:]
        for i, (layer, name) in enumerate(frames):
            about = about_layer(layer, f"{name} (aligned)", made, region=kept)
            about["translate"] = (*about["translate"][:-2], *place)
            pixels = moved if len(frames) == 1 else moved[i]
            missing = len(about["scale"]) - pixels.ndim
            self._add(pixels[(np.newaxis,) * missing], about)
        self._figures[ALIGN] = drift_figure(found, source.z_um, source.pixel_um)
        self._said[ALIGN] = field_words(found, region, crop)
        self.motion.show_motion(self.table)
        self._done(ALIGN, *correlation_words(found, lie_apart(layers)))

    def _make_edf(self) -> None:
        layer = self._stack()
        source = stack_source(layer)
        wants_heights = self.pages.edf.heights.value
        if wants_heights and source.z_um is None:
            raise InputError(
                f"The heights of '{source.name}' are not known: set the layer's scale and units, "
                "or leave the height map out."
            )
        made = {"task": "edf", "source": source.name, "planes": len(source.labels)}
        about = about_layer(layer, f"EDF of {layer.name}", made, ndim=2)
        told = about_layer(
            layer, f"Heights of {layer.name} (µm)", made | {"holds": "heights, µm"}, ndim=2,
            same_units=False,
        )  # fmt: skip

        def add(found: ExtendedFocus) -> None:
            self._add(found.image, about)
            if wants_heights and source.z_um is not None:
                self._add(found.height_um(source.z_um), told | {"colormap": "viridis"})
            self._done(EDF, f"Added “{about['name']}”, from {len(source.labels)} planes.", "done")

        self.start(edf_job, source, then=add, title="Extending the depth of field")

    def _measure(self) -> None:
        layer = self._stack()
        source = stack_source(layer)
        given = self.pages.normalise.edf.value
        edf = None if given is None else _layers.plane_pixels(given, 0)
        name = f"EDF of {source.name}" if given is None else given.name
        made = {"task": "edf", "source": source.name, "planes": len(source.labels)}
        about = about_layer(layer, f"EDF of {layer.name}", made, ndim=2)
        measured = weakref.ref(layer)

        def show(found: tuple[npt.NDArray[Any], EdfNormalisation]) -> None:
            image, numbers = found
            self.normalisation, self._measured = numbers, measured
            if given is None:
                self.pages.normalise.edf.value = self._add(image, about)
            self._figures[NORMALISE] = edf_histogram_figure(image, numbers)
            self._said[NORMALISE] = normalisation_words(numbers)
            self._done(NORMALISE, "Measured; nothing is changed until you apply it.", "done")

        self.start(measure_job, source, edf, name, then=show, title="Measuring")

    def _register(self) -> None:
        form = self.pages.register.values()
        wide_layer, confocal_layer = self._stack(), form.confocal
        if confocal_layer is None or confocal_layer is wide_layer:
            raise InputError("Choose the confocal stack: another one than the wide-field stack.")
        wide, confocal = stack_source(wide_layer), stack_source(confocal_layer)
        places = (place_of(wide_layer), place_of(confocal_layer))
        self.start(
            register_job, wide, confocal, places, form.motion, form.crop,
            then=lambda result: self._registered(result, wide_layer, confocal_layer, form.crop),
            title="Registering",
        )  # fmt: skip

    def _registered(
        self,
        result: tuple[Registration, npt.NDArray[Any]],
        wide: Image,
        confocal: Image,
        crop: bool,
    ) -> None:
        found, volume = result
        self.registration = found
        made = {"task": "register", "to": wide.name, **found.as_dict(), "cropped": crop}
        name = f"{confocal.name} (registered)"
        kept = (found.planes, found.region) if crop else None
        self._add(volume, about_registered(wide, confocal, name, made, kept))
        self._figures[REGISTER] = registration_figure(found)
        self._said[REGISTER] = registration_words(found)
        self._done(REGISTER, *rise_words(found))

    # what the tasks share -------------------------------------------------------------
    def _stack(self) -> Image:
        layer = self.stack.layer()
        if layer is None:
            raise InputError("Choose a stack: a layer with at least two planes.")
        image: Image = _layers.check_layer(layer)
        return image

    def _missing(self) -> str:
        by_selection = self.task == ALIGN and self.pages.align.what.value == SCANS
        if by_selection:
            if len(self._viewer.layers.selection) < 2:
                return "Select two or more layers of single images in napari's layer list."
            return ""
        if self.stack.layer() is None:
            return "Choose a stack: a layer with at least two planes."
        if self.task == REGISTER and self.pages.register.confocal.value is None:
            return "Choose the confocal stack, too."
        return ""

    def _add(self, pixels: npt.NDArray[Any], about: dict[str, Any]) -> Image:
        """Add a layer and stay where the viewer is."""
        dims = self._viewer.dims
        before, count = tuple(dims.point), dims.ndim
        chosen = set(self._viewer.layers.selection)
        added: Image = self._viewer.add_image(pixels, **about)
        if dims.ndim == count:
            dims.set_point(range(count), before)
        if self.pages.align.what.value == SCANS and self.task == ALIGN:
            self._viewer.layers.selection = {x for x in chosen if x in self._viewer.layers}
        return added

    def _done(self, task: int, words: str, kind: str) -> None:
        if self.task == task:
            self._show_page()
        self.footer.say(words, kind)
        self._check_timer.start()

    def _show_page(self) -> None:
        """Bring plot, numbers and button in line with the task that is shown."""
        task = self.task
        self.footer.name_action(*ACTIONS[task])
        if task in self._figures:
            self.plot.show_figure(self._figures[task])
        else:
            self.plot.show_reason(_EMPTY[task])
        self.plot.setVisible(task != EDF)
        self.table_button.setVisible(task == ALIGN)
        self.table_button.setEnabled(self.table is not None)
        self.motion.setVisible(task == ALIGN and self.table is not None)
        self.numbers.setText(self._said.get(task, ""))
        self.numbers.setVisible(bool(self.numbers.text()))
        self.check()

    def _choose_what_is_there(self) -> None:
        """Take the first stack, and for the confocal one the layer that is called so."""
        stacks = [x for x in self._viewer.layers if is_any_image(x) and x.ndim >= 3 and not x.rgb]
        confocal = [x for x in stacks if "confocal" in x.name.lower()]
        others = [x for x in stacks if x not in confocal]
        if others or stacks:
            self.stack.choose((others or stacks)[0])
        if confocal and others:
            self.pages.register.confocal.value = confocal[0]

    def _ask_for_table(self) -> None:
        ask_for_file(self, "Save the table", "Shifts", _TABLES, self.save_table)

    def _connect(self) -> None:
        later = self._check_timer.start
        self.stack.changed.connect(later)
        self.pages.edited.connect(later)
        on(self, self.pages.currentChanged, self._show_page)
        on(self, self.pages.apply.clicked, self.apply)
        on(self, self.plot.message, self.footer.say)
        self.ended.connect(later)
        on(self, self._viewer.layers.selection.events.changed, self._selection_changed)

    def _selection_changed(self) -> None:
        self._check_timer.start()

    def _lay_out(self) -> None:
        self.add_section("", self.chosen.native)
        self.add_section("", self.pages)
        self.add_section("", self.plot, 1)
        self.add_section("", self.numbers)
        self.add_section("", self.motion)
        self.form.addStretch(0)
