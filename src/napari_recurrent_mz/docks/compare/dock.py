"""The Compare dock: reconstructions against a reference stack, plane by plane."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QScrollArea

from ...core.methods import ERROR_IMAGE
from ...core.optics import Optics
from ...core.scans import InputError
from ...measure.comparison import (
    BASELINE_NAMES,
    BASELINES,
    Comparison,
    Difference,
    Volume,
    comparing,
    differing,
    made_from,
)
from ...measure.plots.comparison import PLANE_IN_VIEW, colour_of, comparison_figure
from ..shared import layers as _layers
from ..shared import settings
from ..shared.dock import Dock
from ..shared.form import DataForm, faint, parse_heights
from ..shared.guard import guarded, on, one_shot
from ..shared.layer_choice import (
    LayerChoice,
    check_stack,
    frame_of,
    heights_in,
    is_measured_stack,
    says_its_size,
    selected_or_only,
)
from ..shared.optics_panel import OpticsPanel
from ..shared.parts import described, ink_of, push_button, without_wheel
from ..shared.places import plane_at, scans_um, show_plane_of
from ..shared.plot import PlotPanel
from .parts import LayerList, MeansTable, Options, Reference

_ONE_CHANNEL = 0.03  # by so much may its emission wavelength be given differently
_COLOURS = "RdBu_r"  # blue where darker than the reference, white, red where brighter
_SHOWN_PERCENTILE = 99.8
_GROUP = "compare"
_PLOT_HEIGHT = 340
_FIGURE_MM = (180.0, 150.0)
_EMPTY = (
    "PSNR, NRMSE and SSIM of every plane appear here: choose a reference and tick what to compare."
)


@dataclass(frozen=True, eq=False)
class ComparisonJob:
    """What ``comparing`` takes, by its names; none of it belongs to napari but lazy pixels."""

    volumes: tuple[Volume, ...]
    reference: Volume
    baselines: tuple[str, ...]
    scans_um: tuple[float, ...]
    optics: Optics | None
    fit: bool


def volume_of(layer: Layer, step_um: float | None, pixel_um: float | None) -> Volume:
    """A layer as a volume; the sizes are those that were typed for one that does not say."""
    record = _layers.own_metadata(layer)
    if record.get("state") == "running":
        raise InputError(f"Layer '{layer.name}' is still filling: compare it once it is done.")
    image = check_stack(layer)
    _layers.check_upright(image)
    typed_um = (step_um, pixel_um, pixel_um) if step_um and pixel_um else None
    frame = frame_of(image, typed_um)
    _layers.pixel_um(image)  # pixels must be square
    (_, _, pixel), (_, y, x), heights = *frame, heights_in(image, frame)
    pixels, (scans, holds_scans) = _layers.stack_pixels(image), made_from(record)
    return Volume(image.name, pixels, heights, pixel, (y, x), scans, holds_scans)


def difference_layer(difference: Difference) -> tuple[Any, dict[str, Any]]:
    """Pixels and keyword arguments of the layer of a difference."""
    z_um = [float(z) for z in difference.z_um]
    sample = np.abs(difference.pixels[:, ::2, ::2])
    limit = float(np.percentile(sample, _SHOWN_PERCENTILE)) or float(sample.max()) or 1.0
    step = float(np.diff(z_um).mean()) if len(z_um) > 1 else 1.0
    title = f"{difference.name} − {difference.reference}"
    record = {"software": "napari-recurrent-mz", "difference": title, "z_um": z_um}
    return difference.pixels, {
        "name": f"Difference: {title}",
        "colormap": _COLOURS,
        "contrast_limits": (-limit, limit),
        "metadata": {_layers.METADATA_KEY: record},
        **_layers.um_scale_and_place(step, difference.pixel_um, z_um[0], difference.origin_um),
    }


class PlaneInView:
    """The height that the viewer shows, by the planes of one layer; goes to another."""

    def __init__(self, viewer: Any, layer: Image, volume: Volume) -> None:
        self._viewer, self._layer = viewer, weakref.ref(layer)
        self._heights = np.asarray(volume.z_um)  # plane by plane, up or down

    def z_um(self) -> float | None:
        """The height in view; None when the viewer or the layer has none."""
        layer, count = self._compared(), len(self._heights)
        plane = -1.0 if layer is None else plane_at(self._viewer, layer)
        if not -0.51 <= plane <= count - 0.49:
            return None
        return float(np.interp(plane, np.arange(count), self._heights))

    def go(self, z_um: float) -> None:
        """Show the plane nearest to a height."""
        layer = self._compared()
        if layer is not None:
            index = np.zeros(layer.ndim)
            index[-3] = np.abs(self._heights - z_um).argmin()
            show_plane_of(self._viewer, layer, index)

    def step(self, by: int) -> None:
        """Show the plane so many planes further up."""
        here = self.z_um()
        if here is not None:
            heights = np.sort(self._heights)
            number = int(np.abs(heights - here).argmin()) + by
            self.go(float(heights[min(max(number, 0), len(heights) - 1)]))

    def _compared(self) -> Image | None:
        """The layer, while the viewer has it with as many planes as were compared."""
        layer = _layers.there(self._viewer, self._layer)
        if layer is None or self._viewer.dims.ndim < 3:
            return None
        return layer if _layers.plane_count(layer) == len(self._heights) else None


def agreed_scans(layers: Sequence[Layer]) -> str:
    """The scans that all layers that know theirs agree on, as a person would type them."""
    heights = set(filter(None, map(scans_um, layers)))
    return " ".join(f"{z:.4g}" for z in next(iter(heights))) if len(heights) == 1 else ""


class CompareDock(Dock):
    """PSNR, NRMSE and SSIM over z of any number of layers, with baselines and difference maps."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(
            napari_viewer, "Compare", "Measure every plane against the reference; layers stay"
        )
        self.chosen = DataForm(Reference, self._viewer)
        self.reference: LayerChoice = self.chosen.reference.native
        self.layers = LayerList(self._viewer, self._is_offered, self._is_meant)
        self.options = DataForm(Options, group=_GROUP)
        self.optics = OpticsPanel()
        self.options.put_under("scans", self.optics)
        self.plot = PlotPanel(self.palette_, "Comparison", _PLOT_HEIGHT, _FIGURE_MM)
        self.table_button = self.plot.add_table_tool(
            "Save every plane's values as a CSV file, units in its header", self.save_table
        )
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
        self._sight_timer = one_shot(self, 100, self._bring_plot_in_sight)  # once laid out
        self._lay_out()
        self.choose_baselines((settings.remembered(_GROUP, "baselines") or "").split())
        self.plot.show_reason(_EMPTY)
        self.table_button.setEnabled(False)
        self.means.hide()
        self.note.hide()
        self._connect()

    # what a script calls --------------------------------------------------------------
    def _act(self) -> None:
        job, compared = self._described()
        self.options.remember()
        settings.remember(_GROUP, {"baselines": " ".join(self.baselines)})
        if self.options.lmmse.value:
            self.optics.remember()
        self.start(
            partial(comparing, **vars(job)),
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
        scans = job.scans_um or next((tuple(v.scans_um) for v in job.volumes if v.scans_um), ())
        how: dict[str, Any] = {"scans_um": scans, "optics": job.optics, "fit": job.fit}
        work = partial(differing, chosen, job.reference, **how)
        self.start(work, then=self._add_map, title="Subtracting")

    def _check(self) -> None:
        lacks_size = not all(map(says_its_size, self._layers()))
        self.options.show_fields("step pixel", lacks_size)
        self.optics.setVisible(self.options.lmmse.value)
        scans = agreed_scans(self.layers.ticked())
        self.options.scans.native.setPlaceholderText(f"{scans} (layers)" if scans else "2 5 8")
        self._offer_difference()
        if self.run is None:
            self.footer.warn(self._colour_warnings())
            self._check_chosen()
            self.footer.ready()

    def _is_unfinished(self) -> bool:
        return True

    def restyle(self) -> None:
        super().restyle()
        self._mark_view()
        self._show_means()

    # from what is chosen to a job -----------------------------------------------------
    def _is_offered(self, layer: Layer) -> bool:
        """Whether a layer can be compared: images but the reference, and no maps from here."""
        record = _layers.own_metadata(layer)
        is_map = "difference" in record or record.get("image") == ERROR_IMAGE
        return isinstance(layer, Image) and not is_map and layer is not self.reference.layer()

    def _is_meant(self, layer: Layer) -> bool:
        """Whether a layer is ticked by itself: a reconstruction, of the reference's colour."""
        return _layers.is_reconstruction(layer) and not self._colours_apart(layer)

    def _colours_apart(self, layer: Image) -> tuple[float, float] | None:
        """The emission wavelengths of a layer and the reference, where they are of two channels."""
        reference = self.reference.layer()
        if reference is None:
            return None
        known = _layers.optics_by_image([layer, reference])
        own, its = (known.get(weakref.ref(x), {}).get("wavelength_um") for x in (layer, reference))
        return (own, its) if own and its and abs(own / its - 1) > _ONE_CHANNEL else None

    def _colour_warnings(self) -> list[str]:
        return [
            f"'{layer.name}' is of {apart[0]:.4g} µm light and the reference of {apart[1]:.4g} µm: "
            "untick it, unless both are of one channel."
            for layer in self.layers.ticked()
            if (apart := self._colours_apart(layer))
        ]

    def _layers(self) -> list[Image]:
        """The reference and what is compared with it."""
        return [layer for layer in (self.reference.layer(), *self.layers.ticked()) if layer]

    def _check_chosen(self) -> None:
        if self.reference.layer() is None:
            raise InputError("Choose the reference: a stack with every plane, taken for the truth.")
        if not self.layers.ticked() and not self.baselines:
            raise InputError("Tick a reconstruction to compare, or a baseline.")

    def _described(self) -> tuple[ComparisonJob, dict[str, Image]]:
        """The job, and its layers by name."""
        self._check_chosen()
        options = self.options.values()
        layers = self._layers()
        reference, *volumes = (volume_of(x, options.step, options.pixel) for x in layers)
        job = ComparisonJob(
            tuple(volumes),
            reference,
            self.baselines,
            parse_heights(options.scans) or scans_um(layers[0]),
            self.optics.optics() if options.lmmse else self.optics.known(),
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
        grids = [] if comparison.is_same_grid else [comparison.sentence]
        self.footer.say(" ".join([*grids, *comparison.notes]), "warning")
        self._sight_timer.start()
        for layer in compared.values():
            if layer not in self._viewer.layers:  # it was removed meanwhile
                self._let_go_of(layer)

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

    def _let_go_of(self, layer: Layer) -> None:
        """Let go of the pixels of a layer that is gone; its curve stays."""
        name = self._compared.pop(weakref.ref(layer), None)
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

    def save_table(self, path: Any) -> None:
        comparison = self.comparison
        if comparison is not None:
            self.save_file(lambda: comparison.to_csv(path))

    # the plane in view ----------------------------------------------------------------
    def _mark_view(self) -> None:
        z_um = None if self.in_view is None else self.in_view.z_um()
        canvas = self.plot.canvas
        for axes in canvas.figure.get_axes():
            for line in axes.lines:
                if line.get_gid() == PLANE_IN_VIEW:
                    line.set_visible(z_um is not None)
                    line.set_xdata([z_um or 0.0] * 2)
        canvas.draw_idle()

    def _clicked(self, event: Any) -> None:
        """Go to the plane under a click, or under the pointer that is dragged."""
        if self.in_view is not None and event.inaxes is not None and event.button == 1:
            self.in_view.go(float(event.xdata))

    def _key(self, event: Any) -> None:
        by = {"left": -1, "right": 1}.get(event.key)
        if self.in_view is not None and by is not None:
            self.in_view.step(by)

    # choosing and wiring ---------------------------------------------------------------
    def _choose_what_is_there(self) -> None:
        """The only stack that was not made from scans is the reference."""
        stacks = selected_or_only(self._viewer, is_measured_stack)
        if len(stacks) == 1 and self.reference.layer() is None and self.run is None:
            self.reference.choose(stacks[0])
            self._reference_chosen()
        self._layers_changed()

    def _take(self, layers: Sequence[Layer], at: LayerChoice | None) -> list[str]:
        """The first is the reference if that is missing or was meant; the others are ticked."""
        for layer in layers:
            is_missing = self.reference.layer() is None and is_measured_stack(layer)
            if is_missing or at is self.reference:
                self.reference.choose(layer)
                at = None
            else:
                self.layers.tick(layer)
        return []

    def _reference_chosen(self) -> None:
        self.layers.offer()
        self._layers_changed()

    def _layers_changed(self) -> None:
        """The optics are those of the layers; what a person types stays."""
        self.follow_images(_layers.optics_by_image(self._layers()))
        self._check_timer.start()

    @property
    def baselines(self) -> tuple[str, ...]:
        """Keys of the baselines that are ticked."""
        return tuple(key for key in BASELINES if self.options[key].value)

    def choose_baselines(self, keys: Iterable[str]) -> None:
        ticked = set(keys)
        self.options.update({key: key in ticked for key in BASELINES})

    def _lay_out(self) -> None:
        line = QHBoxLayout()
        line.addWidget(self.difference_of, 1)
        line.addWidget(self.difference_button)
        self.add_parts("Reference", self.chosen.native, "Compare", self.layers)
        self.add_parts(self.options.native, self.plot, self.means, self.note, line)
        self.form.addStretch(1)

    def _connect(self) -> None:
        on(self, self.reference.changed, self._reference_chosen)
        on(self, self.layers.changed, self._layers_changed)
        for part in (self.reference, self.layers, self.options, self.optics):
            on(self, part.changed, self._chosen_anew)
        on(self, self.options.changed, self.check)
        on(self, self.difference_button.clicked, self.add_difference)
        canvas = self.plot.canvas
        canvas.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        canvas.setToolTip("Click or drag to move the viewer to a plane; ← and → step through them")
        canvas.mpl_connect("button_press_event", guarded(self, self._clicked))
        canvas.mpl_connect("motion_notify_event", guarded(self, self._clicked))
        canvas.mpl_connect("key_press_event", guarded(self, self._key))
        on(self, self._viewer.dims.events.point, self._mark_view)
        removed = self._viewer.layers.events.removed
        on(self, removed, lambda event: self._let_go_of(event.value))


def _difference_box() -> QComboBox:
    tip = "The volume from which the reference is subtracted"
    box = described(QComboBox(), "Difference of", tip)
    box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)
    without_wheel(box)
    return box
