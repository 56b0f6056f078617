"""The Prepare dock: alignment, extended depth of field, normalisation, registration."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image, Layer

from ...core.arrays import AnyArray
from ...core.scans import InputError
from ...estimates.normalisation import EdfNormalisation
from ...io import write_table
from ...measure.plots import Draw
from ...measure.plots.preparation import drift_figure, edf_histogram_figure, registration_figure
from ...measure.preparation import Alignment, ExtendedFocus, Registration, extending_focus
from ..shared import layers as _layers
from ..shared.dock import Dock
from ..shared.form import DataForm, faint
from ..shared.guard import on, telling
from ..shared.layer_choice import LayerChoice, is_measured_stack, selected
from ..shared.plot import PlotPanel
from . import job as _job
from . import pages as _pages
from .job import PlaneSource, stack_source

_PLOT_HEIGHT = 210
_EMPTY = (
    "The shift and the rotation of every plane appear here.",
    "The extended-depth-of-field image becomes a new layer.",
    "The histogram of the EDF appears here, with what normalises its stack.",
    "The correlation of both stacks over the axial shift appears here.",
)


class PrepareDock(Dock):
    """Prepare raw stacks as the paper does (Huang et al. 2021, Methods, "Sample preparation")."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, *_pages.ACTIONS[_pages.ALIGN])
        self.chosen = DataForm(_pages.Stack, self._viewer)
        self.stack: LayerChoice = self.chosen.stack.native
        self.pages = _pages.PreparePages(self._viewer)
        self.kept = self.pages.align, self.pages.edf, self.pages.register
        self.plot = PlotPanel(self.palette_, "Preparation", _PLOT_HEIGHT)
        self.table_button = self.plot.add_table_tool(
            "Save the motion of every plane as a CSV file, units in its header",
            self.save_table,
            "Shifts",
        )
        self.motion = _pages.MotionTable()
        self.numbers = faint(is_copied=True)
        self.alignment: Alignment | None = None
        self.normalisation: EdfNormalisation | None = None
        self.registration: Registration | None = None
        self.table: Any = None
        self._hides = False  # sources under what was added last
        self._measured: Callable[[], Image | None] = lambda: None
        self._shown: dict[int, tuple[Draw, str]] = {}  # figure and numbers of each task
        self._lay_out()
        self._connect()
        self._show_page()

    # what a script calls --------------------------------------------------------------
    @property
    def task(self) -> int:
        """The task that is shown: ``ALIGN``, ``EDF``, ``NORMALISE`` or ``REGISTER``."""
        return self.pages.currentIndex()

    def _act(self) -> None:
        (self._align, self._make_edf, self._measure, self._register)[self.task]()

    def apply(self) -> None:
        """Add the normalised stack as a layer."""
        layer, measured = self._measured(), self.normalisation
        if self.run is not None or measured is None or layer is None:
            return
        step = {"task": "normalise", **measured.as_dict()}

        def add(volume: AnyArray) -> None:
            added = self._add(volume, about | {"contrast_limits": (0.0, 1.0)}, layer)
            low, high = float(volume.min()), float(volume.max())
            added.contrast_limits_range = (min(low, 0.0), max(high, 1.0))
            words = f"Added “{added.name}”: background 0, bright structure 1."
            self._done(_pages.NORMALISE, words, "done")

        with telling(self):
            source = stack_source(layer)
            about = _layers.about_layer(layer, f"{layer.name} (normalised)", step, same_units=False)
            self.start(
                _job.apply_job, source, measured.normalisation, then=add, title="Normalising"
            )

    def _check(self) -> None:
        measured = self._measured()
        fits = measured is not None and measured is self.stack.layer()
        self.pages.apply.setEnabled(fits and self.normalisation is not None and self.run is None)
        if self.run is None:
            self.footer.ready(self._missing(), "hint")
            self.footer.warn(self._warnings())

    def save_table(self, path: Any) -> None:
        if self.table is not None:
            self.save_file(lambda: write_table(path, self.table))

    # the four tasks -------------------------------------------------------------------
    def _align(self) -> None:
        form = self.pages.align.values()
        if form.what == _pages.SCANS:
            images = _job.scan_layers(selected(self._viewer))
            source = _job.scans_source(images)
        else:
            images = [self._stack()]
            source = stack_source(images[0])
        step = {"task": "align", "cropped": form.crop}
        abouts = [_layers.about_layer(image, f"{image.name} (aligned)", step) for image in images]
        is_apart = _job.lie_apart(images)

        def add(result: tuple[Alignment, AnyArray]) -> None:
            self._add_aligned(*result, source, images, abouts, step)
            self._done(_pages.ALIGN, *_job.alignment_words(result[0], is_apart))

        self.start(_job.align_job, source, form, then=add, title="Aligning")

    def _add_aligned(
        self,
        alignment: Alignment,
        moved: AnyArray,
        source: PlaneSource,
        images: Sequence[Image],
        abouts: list[dict[str, Any]],
        step: dict[str, Any],
    ) -> None:
        self.alignment, region = alignment, alignment.common_region
        self.table = alignment.table(source.z_um, source.pixel_um)
        step |= alignment.as_dict() | {"common_region": [[p.start, p.stop] for p in region]}
        place = np.array(abouts[0]["translate"][-2:])  # all lie where the first does
        if step["cropped"]:
            place += [part.start for part in region] * np.array(abouts[0]["scale"][-2:])
        volumes = moved if len(abouts) > 1 else [moved]
        for about, pixels, image in zip(abouts, volumes, images, strict=True):
            about["translate"] = (*about["translate"][:-2], *place)
            missing = len(about["scale"]) - pixels.ndim
            self._add(pixels[(np.newaxis,) * missing], about, image)
        figure = drift_figure(alignment, source.z_um, source.pixel_um)
        self._shown[_pages.ALIGN] = figure, _job.field_words(alignment, step["cropped"])
        self.motion.show_motion(self.table)

    def _make_edf(self) -> None:
        layer = self._stack()
        source = stack_source(layer)
        wants_heights = self.pages.edf.heights.value
        if wants_heights and source.z_um is None:
            raise InputError(
                f"The heights of '{source.name}' are not known: set the layer's scale and units, "
                "or leave the height map out."
            )
        about, about_heights = _job.about_edf(layer, source)

        def add(focus: ExtendedFocus) -> None:
            self._add(focus.image, about, layer)
            if wants_heights and source.z_um is not None:
                self._add(focus.height_um(source.z_um), about_heights)
            self._done(
                _pages.EDF, f"Added “{about['name']}”, from {len(source.labels)} planes.", "done"
            )

        work = partial(extending_focus, source.planes, name=source.name)
        self.start(work, then=add, title="Extending the depth of field")

    def _measure(self) -> None:
        layer = self._stack()
        source = stack_source(layer)
        given = self.pages.normalise.edf.value
        pixels = None if given is None else _layers.plane_pixels(given, 0)
        name = f"EDF of {source.name}" if given is None else given.name
        about, _ = _job.about_edf(layer, source)
        measured = weakref.ref(layer)

        def show(result: tuple[AnyArray, EdfNormalisation]) -> None:
            image, normalisation = result
            self.normalisation, self._measured = normalisation, measured
            words = "Measured. The stack stays as it is until you apply it."
            if given is None:
                self.pages.normalise.edf.value = added = self._add(image, about, layer)
                words = f"Added “{added.name}”. {words}"
            figure = edf_histogram_figure(image, normalisation)
            self._shown[_pages.NORMALISE] = figure, _job.normalisation_words(normalisation)
            self._done(_pages.NORMALISE, words, "done")

        self.start(_job.measure_job, source, pixels, name, then=show, title="Measuring")

    def _register(self) -> None:
        form = self.pages.register.values()
        wide, confocal = self._stack(), form.confocal
        if confocal is None or confocal is wide:
            raise InputError("Choose the confocal stack: another one than the wide-field stack.")
        sources = stack_source(wide), stack_source(confocal)
        places = _job.place_of(wide), _job.place_of(confocal)
        before = _job.frames_of(wide, confocal)

        def add(result: tuple[Registration, AnyArray]) -> None:
            registration, volume = result
            if _job.frames_of(wide, confocal) != before:
                raise InputError("One of the stacks was moved or scaled meanwhile: register again.")
            self.registration = registration
            about = _job.about_registered(wide, confocal, registration, form.crop)
            self._add(volume, about, confocal)
            figure = registration_figure(registration)
            self._shown[_pages.REGISTER] = figure, _job.registration_words(registration)
            self._done(_pages.REGISTER, *_job.rise_words(registration))

        self.start(_job.register_job, *sources, places, form, then=add, title="Registering")

    # what the tasks share -------------------------------------------------------------
    def _stack(self) -> Image:
        layer = self.stack.layer()
        if layer is None:
            raise InputError("Choose a stack: a layer with at least two planes.")
        return _layers.check_layer(layer)

    def _aligns_scans(self) -> bool:
        return self.task == _pages.ALIGN and self.pages.align.what.value == _pages.SCANS

    def _missing(self) -> str:
        if self._aligns_scans():
            few = len(self._viewer.layers.selection) < 2
            return (
                "Select two or more layers of single images in napari's layer list." if few else ""
            )
        if self.stack.layer() is None:
            return "Choose a stack: a layer with at least two planes."
        if self.task == _pages.REGISTER and self.pages.register.confocal.value is None:
            return "Choose the confocal stack, too."
        return ""

    def _warnings(self) -> list[str]:
        layer = None if self._aligns_scans() else self.stack.layer()
        if layer is None or not (_layers.is_turned(layer) or _layers.is_tilted(layer)):
            return []
        return [
            f"Layer '{layer.name}' is rotated or sheared in the viewer: what is made of it is not, "
            "so it will not lie over it."
        ]

    def _add(self, pixels: AnyArray, about: dict[str, Any], *sources: Image) -> Image:
        """Add a layer and stay where the viewer is; its sources are not to shine through."""
        dims = self._viewer.dims
        before, count = tuple(dims.point), dims.ndim
        chosen = set(self._viewer.layers.selection)
        added: Image = self._viewer.add_image(pixels, **about)
        self._hides |= bool(_layers.hide_under(added, sources))
        if dims.ndim == count:
            dims.set_point(range(count), before)
        if self._aligns_scans():
            self._viewer.layers.selection = {x for x in chosen if x in self._viewer.layers}
        return added

    def _done(self, task: int, words: str, kind: str) -> None:
        words, self._hides = f"{words} {_layers.HIDDEN}" if self._hides else words, False
        if self.task == task:
            self._show_page()
        self.footer.say(words, kind)

    def _show_page(self) -> None:
        """Bring plot, numbers and button in line with the task that is shown."""
        task = self.task
        self.footer.name_action(*_pages.ACTIONS[task])
        figure, numbers = self._shown.get(task, (None, ""))
        if figure is not None:
            self.plot.show_figure(figure)
        else:
            self.plot.show_reason(_EMPTY[task])
        self.plot.setVisible(task != _pages.EDF)
        self.table_button.setVisible(task == _pages.ALIGN)
        self.table_button.setEnabled(self.table is not None)
        self.motion.setVisible(task == _pages.ALIGN and self.table is not None)
        self.numbers.say(numbers)
        self.check()

    def _take(self, layers: Sequence[Layer], at: LayerChoice | None) -> list[str]:
        if not self._aligns_scans():
            return super()._take(layers, at)
        self._viewer.layers.selection = set(layers)
        return []

    def _choose_what_is_there(self) -> None:
        """Take the stack that is selected, or the first; as confocal the one called so."""
        if self.stack.layer() is not None or self.run is not None:
            return
        layers = dict.fromkeys([*selected(self._viewer), *self._viewer.layers])
        stacks = list(filter(is_measured_stack, layers))
        confocal = [x for x in stacks if "confocal" in x.name.lower()]
        others = [x for x in stacks if x not in confocal]
        if others or stacks:
            self.stack.choose((others or stacks)[0])
        if confocal and others:
            self.pages.register.confocal.value = confocal[0]

    def _connect(self) -> None:
        for signal in (self.stack.changed, self.pages.edited, self.pages.currentChanged):
            on(self, signal, self._chosen_anew)
        on(self, self.pages.currentChanged, self._show_page)
        on(self, self.pages.apply.clicked, self.apply)
        on(self, self._viewer.layers.selection.events.changed, self._check_timer.start)

    def _lay_out(self) -> None:
        for part in (self.chosen.native, self.pages, self.plot, self.numbers, self.motion):
            self.form.addWidget(part, int(part is self.plot))
        self.form.addStretch(0)
