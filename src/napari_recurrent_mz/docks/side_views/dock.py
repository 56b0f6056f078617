"""The Side views dock: volumes from three sides, beside each other, in micrometres."""

from __future__ import annotations

import contextlib
import itertools
import weakref
from typing import Any

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QDockWidget, QSplitter

from ...core.errors import sentence_of
from ...core.progress import finished
from ...core.scans import InputError
from ...measure.plots.side_views import Look, Panel, side_views_figure, side_views_size_mm
from ...measure.projections import Slab
from ..shared import layers as _layers
from ..shared import settings
from ..shared.dock import Dock, shell_of
from ..shared.guard import guarded, on, on_click, on_move, one_shot
from ..shared.layer_choice import frame_of, is_stack, says_its_size, selected
from ..shared.places import scans_um
from ..shared.plot import PlotPanel
from . import source as _source
from .form import GROUP, VOLUMES, SideViewsForm

_WIDE, _NARROW = 760, 560
_WIDER = 1.2
_HINT = QSize(400, 770)
_PLOT_HEIGHT = 250
_LEAST_PLOT_HEIGHT = 90  # or a window 800 pixels high would grow
_LEAST = 50  # pixels of napari's docks on each side, beside what they hold
_UNDER_CANVAS = 0.36  # of the window's height
_FORM_WIDTH = 400
_TOOLS_HEIGHT = 34
_MOST_OF_DOCK = 0.62
_MOST_KEPT = 12
_SOON_MS = 40
_FILLING_MS = 300
_NOTHING = "Choose a volume: it is shown here from three sides."
_EVENTS = (
    *("scale", "translate", "rotate", "shear", "affine", "units", "metadata"),
    *("colormap", "contrast_limits", "gamma", "name"),
)


class SideViewsDock(Dock):
    """One to three volumes from three sides, in true proportions, following the viewer."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(
            napari_viewer, "Project", "Project again; large lazy layers are read only then"
        )
        self.controls = SideViewsForm(self._viewer)
        self.plot = PlotPanel(self.palette_, "Side views", _LEAST_PLOT_HEIGHT)
        self.form.addWidget(self.controls.native)
        self.form.addStretch(1)
        self._split()
        self.shown: list[Panel] = []
        self._outcomes: dict[tuple[Any, ...], _source.ViewsOrReason] = {}
        self._states = weakref.WeakKeyDictionary[Any, tuple[int, int]]()  # version, fingerprint
        self._at_work: list[_source.VolumeSource] = []
        self._numbers = itertools.count()
        self._is_held = self._is_stale = False
        self._soon = one_shot(self, _SOON_MS, self.update_views)
        self._filling = one_shot(self, _FILLING_MS, self._look_for_changes)
        self._connect()

    # what a script calls --------------------------------------------------------------
    def act(self) -> None:
        """Project again, whatever is known, and however large."""
        self._outcomes.clear()
        self._is_held = False
        self._update(is_asked=True)

    def update_views(self) -> None:
        """Show what the controls say, projecting what is not known yet."""
        self._update(is_asked=False)

    def _check(self) -> None:
        self.update_views()

    def cancel(self) -> None:
        """Stop projecting, until something is changed or Project is pressed."""
        self._is_held = self.run is not None
        super().cancel()

    @property
    def is_busy(self) -> bool:
        """Whether something is still to come."""
        return self.run is not None or self._soon.isActive() or self._filling.isActive()

    # projecting -----------------------------------------------------------------------
    def _update(self, *, is_asked: bool) -> None:
        self._soon.stop()
        controls = self.controls.read()
        layers = controls.chosen
        if self.run is None:
            self.footer.ready("" if layers else "Choose a volume.", "hint")
        try:
            slab = controls.slab()
            controls.heights_um()
        except InputError as error:
            self._drop_job()
            self._show_reason(str(error))
            return
        sources = [self._source_of(layer, slab) for layer in layers]
        unknown = [
            s
            for s in sources
            if isinstance(s, _source.VolumeSource) and s.key not in self._outcomes
        ]
        self._outcomes |= finished(_source.project([s for s in unknown if s.is_quick]))
        slow = [source for source in unknown if not source.is_quick]
        if self.run is not None and [s.wish for s in self._at_work] == [s.wish for s in slow]:
            return  # with newer data, it goes on from there
        self._drop_job()
        is_allowed = is_asked or not any(source.wants_asking for source in slow)
        if slow and is_allowed and not self._is_held:
            self._at_work = slow
            self.start(_source.project, slow, then=self._projected, title="Projecting")
        outcomes = [s if isinstance(s, str) else self._known(s) for s in sources]
        unread = [s if isinstance(s, str) else s.why_unread for s in sources]
        if self.run is None or all(outcome is not None for outcome in outcomes):
            self._show(layers, [o or why for o, why in zip(outcomes, unread, strict=True)])
        elif not self.shown:
            self.plot.show_reason("Projecting…")
        shown = {source.key for source in sources if isinstance(source, _source.VolumeSource)}
        for key in [key for key in self._outcomes if key not in shown][:-_MOST_KEPT]:
            del self._outcomes[key]  # switching back to the latest others is at once

    def _source_of(self, layer: Any, slab: Slab | None) -> _source.VolumeSource | str:
        """What is projected of a layer, or why nothing can be."""
        try:
            _layers.check_even(layer)
            return _source.VolumeSource(
                layer_id=id(layer),
                name=f"Layer '{layer.name}'",
                frame=frame_of(layer, self.controls.read().voxel_um),
                pixels=_layers.stack_pixels(layer),
                slab=slab,
                how=self.controls.how.value,
                version=self._states[layer][0],
            )
        except Exception as error:
            return sentence_of(error)

    def _known(self, source: _source.VolumeSource) -> _source.ViewsOrReason | None:
        """The outcome, or while a layer changes, its latest one."""
        alike = [self._outcomes[key] for key in self._outcomes if key[:-1] == source.wish]
        return self._outcomes.get(source.key, alike[-1] if alike else None)

    def _drop_job(self) -> None:
        """Forget the job at work: nobody waits for it any more."""
        self._let_job_go()
        self._at_work = []

    def _projected(self, outcomes: dict[tuple[Any, ...], _source.ViewsOrReason]) -> None:
        self._outcomes |= outcomes
        self._at_work = []

    def _stopped(self, outcome: Any) -> None:
        self._is_held |= outcome.state != "done"

    # showing --------------------------------------------------------------------------
    def _show(self, layers: list[Any], outcomes: list[_source.ViewsOrReason]) -> None:
        if not layers:
            self._show_reason(_NOTHING, "")
            return
        controls = self.controls.read()
        self.shown = _source.panels(layers, outcomes, controls.contrast, controls.saturated)
        reasons = " ".join(panel.reason for panel in self.shown if panel.reason)
        if all(panel.views is None for panel in self.shown):
            self._show_reason(reasons)
            return
        try:
            look = self._look(layers)
        except InputError as error:
            self._show_reason(str(error))
            return
        self.footer.state.say(reasons, "warning")
        self.plot.size_mm = side_views_size_mm(self.shown, look, float(controls.paper))
        self.plot.show_figure(side_views_figure(self.shown, look))
        self._balance()

    def _look(self, layers: list[Any]) -> Look:
        controls = self.controls.read()
        heights_um = tuple(sorted(next(filter(None, map(scans_um, layers)), ())))
        words = ", ".join(f"{z:.4g}" for z in heights_um)
        self.controls.heights.native.setPlaceholderText(words or "none known")
        typed = controls.heights_um()
        if not controls.shown:
            raise InputError("No view is ticked: tick x–y, x–z or y–z.")
        return Look(
            views=controls.shown,
            scans_um=heights_um if typed is None else typed,
            next_um=_source.next_um(layers),
            marks=controls.marks,
            has_axes=controls.axes,
            has_scale_bar=controls.bar,
            point_um=controls.point_um if controls.cross else None,
        )

    def _show_reason(self, sentence: str, kind: str = "error") -> None:
        self.shown = []
        self.plot.show_reason(sentence)
        if kind:
            self.footer.state.say(sentence, kind)

    # the position ---------------------------------------------------------------------
    def _slid(self) -> None:
        """The viewer's sliders are at another place."""
        self._moved_in_viewer(self._viewer.dims.point, _source.sliders_of(self._viewer.dims))

    def _canvas_clicked(self, event: Any) -> None:
        if self._viewer.dims.ndisplay == 2:  # in 3-D the cursor is at no place
            self._moved_in_viewer(event.position, (0, 1, 2))

    def _hovered(self, event: Any) -> None:
        if "Shift" in event.modifiers:
            self._canvas_clicked(event)

    def _moved_in_viewer(self, world: Any, axes: tuple[int, ...]) -> None:
        """The slider or the cursor is at another place, along these of the axes (z, y, x)."""
        placed, before = self._first_placed(), self.controls.read().point_um
        is_meant = axes and len(world) >= 3 and self.controls.follow.value
        if not is_meant or placed is None or before is None:
            return
        moved_um = placed.to_um(world, self._viewer.dims)
        after = tuple(moved_um[axis] if axis in axes else before[axis] for axis in range(3))
        if after != before:
            self.controls.set_point(after)
            self._position_changed()

    def _typed(self) -> None:
        point, placed = self.controls.read().point_um, self._first_placed()
        self._is_held = False
        if point is not None and placed is not None and self.controls.follow.value:
            placed.show(point, self._viewer.dims)
        self._position_changed()

    def _clicked(self, event: Any) -> None:
        """A click on a side view moves there."""
        under = _source.pixel_under(event, self.shown)
        before = self.controls.read().point_um
        if under is not None and before is not None and event.button == 1:
            at = dict(zip("zyx", before, strict=True)) | under.place_um
            self.controls.set_point((at["z"], at["y"], at["x"]))
            self._typed()

    def _pointed(self, event: Any) -> None:
        """Tell the place and the value under the mouse in napari's status line."""
        under = _source.pixel_under(event, self.shown)
        if under is not None:
            self._viewer.status = under.sentence

    def _position_changed(self) -> None:
        if self.controls.through.value == "slab" or self.controls.cross.value:
            self._at_next_chance(self._soon)

    def _first_placed(self) -> _source.Placed | None:
        controls = self.controls.read()
        for layer in controls.chosen[:1]:
            with contextlib.suppress(InputError):
                return _source.Placed(layer, frame_of(layer, controls.voxel_um))
        return None

    def _place_point(self) -> None:
        """Begin in the middle of the first volume, and where the viewer's slider is."""
        placed = self._first_placed()
        if placed is None:
            return
        ends = placed.extent_um()
        point = self.controls.read().point_um
        is_inside = point is not None and all(
            low <= value <= high for value, (low, high) in zip(point, ends, strict=True)
        )
        if not is_inside:
            self.controls.set_point(tuple((low + high) / 2 for low, high in ends))
            self._slid()

    # layers ---------------------------------------------------------------------------
    def _choose_what_is_there(self) -> None:
        """The selected volumes, or all when there are few; reconstructions first."""
        if self.controls.read().chosen:
            return
        volumes = list(filter(is_stack, self._viewer.layers))
        if len(volumes) > len(VOLUMES):
            volumes = list(filter(is_stack, selected(self._viewer)))
        reconstructions_first = sorted(volumes, key=lambda layer: not scans_um(layer))
        for name, layer in zip(VOLUMES, reconstructions_first, strict=False):
            self.controls[name].value = layer

    def _layers_chosen(self) -> None:
        chosen = self.controls.read().chosen
        self.follow_images(_layers.optics_by_image(chosen))
        for layer in [layer for layer in self._states if layer not in chosen]:
            del self._states[layer]
        for layer in chosen:
            if layer not in self._states:
                self._states[layer] = next(self._numbers), _source.fingerprint(layer)
        lacks_size = not all(map(says_its_size, chosen))
        self.controls.show_fields("voxel_z voxel_xy", lacks_size)
        self._place_point()

    def _layer_event(self, event: Any) -> None:
        """A layer has changed; a slice that is drawn again may be of one that fills in place."""
        layer, is_shown = event.sources[0], event.type in _EVENTS
        if not (is_shown or event.type in ("data", "set_data")) or layer not in self._states:
            return
        if event.type == "data":
            self._states[layer] = next(self._numbers), _source.fingerprint(layer)
            self._is_stale = True
        self._at_next_chance(self._soon if is_shown else self._filling)

    def _look_for_changes(self) -> None:
        for layer in self.controls.read().chosen:
            now = _source.fingerprint(layer)
            if now != self._states[layer][1]:
                self._states[layer] = next(self._numbers), now
                self._is_stale = True
        if self._is_stale:
            self._is_stale = False
            self.update_views()

    # wiring ---------------------------------------------------------------------------
    def _changed(self) -> None:
        self._is_held = False
        if not any(self.controls[axis].native.text() for axis in "zyx"):
            self._place_point()
        self.controls.enable()
        self.controls.remember()
        self._at_next_chance(self._soon)

    def _connect(self) -> None:
        for name in self.controls.asks:
            on(self, self.controls[name].changed, self._typed if name in "zyx" else self._changed)
        for name in VOLUMES:
            for slot in (self._layers_chosen, self._chosen_anew):
                on(self, self.controls[name].changed, slot)
        on(self, self.ended, self._stopped)
        canvas = self.plot.canvas
        canvas.mpl_connect("button_press_event", guarded(self, self._clicked))
        canvas.mpl_connect("motion_notify_event", guarded(self, self._pointed))
        on(self, self._viewer.layers.events.inserted, lambda: self._choose_what_is_there())
        on(self, self._viewer.layers.events, self._layer_event)
        on(self, self._viewer.dims.events.point, self._slid)
        on_click(self, self._canvas_clicked)
        on_move(self, self._hovered)

    @staticmethod
    def _at_next_chance(timer: QTimer) -> None:
        if not timer.isActive():
            timer.start()

    # size -----------------------------------------------------------------------------
    def _split(self) -> None:
        """The plot and the form share the dock: above each other, or side by side when wide."""
        self.column.removeWidget(self.ui)
        self._parts = QSplitter(Qt.Orientation.Vertical)
        self._parts.setChildrenCollapsible(False)
        self._parts.addWidget(self.plot)
        self._parts.addWidget(self.ui)
        self._parts.setStretchFactor(0, 1)
        on(self, self._parts.splitterMoved, self._split_by_hand)
        self._is_split_by_hand = False
        self.column.addWidget(self._parts)

    def _choose_area(self, shell: QDockWidget, window: Any) -> None:
        """Lie under the canvas, unless it did once: then napari knows where a person wants it."""
        # The docks on the right keep their whole height.
        window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        if settings.remembered(GROUP, "placed"):
            return
        settings.remember(GROUP, {"placed": "1"})
        size = window.size()
        window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, shell)
        self._turn(Qt.Orientation.Horizontal)
        height = round(_UNDER_CANVAS * size.height())
        window.resizeDocks([shell], [height], Qt.Orientation.Vertical)
        window.resize(size)  # it grows while the form is below the plot

    def _turn(self, orientation: Qt.Orientation) -> None:
        """Put plot and form beside or above each other, which need other room than before."""
        self._parts.setOrientation(orientation)
        shell = shell_of(self)
        if shell is not None:
            self.column.activate()
            shell.setMinimumSize(_LEAST, _LEAST)  # Qt does not lessen it by itself

    def _split_by_hand(self) -> None:
        self._is_split_by_hand = True

    def _balance(self) -> None:
        """Give the plot the height that it fills, as far as the form leaves it."""
        if self._is_split_by_hand:
            return
        if self._parts.orientation() == Qt.Orientation.Horizontal:
            form = max(_FORM_WIDTH, self.ui.minimumWidth())
            self._parts.setSizes([self.width() - form, form])
            return
        wide, high = self.plot.size_mm
        wanted = round(self.width() * high / wide) + _TOOLS_HEIGHT
        least = _PLOT_HEIGHT if self.width() > _NARROW else round(self.height() / 2)
        plot = max(least, min(wanted, round(_MOST_OF_DOCK * self.height())))
        self._parts.setSizes([plot, self.height() - plot])

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Put the form beside the plot where there is room."""
        super().resizeEvent(event)
        is_wide = self.width() >= max(_WIDE, _WIDER * self.height())
        wanted = Qt.Orientation.Horizontal if is_wide else Qt.Orientation.Vertical
        if self._parts.orientation() != wanted:
            self._turn(wanted)
            self._is_split_by_hand = False
        self._balance()

    def sizeHint(self) -> QSize:  # noqa: N802
        """As high as a small screen allows."""
        return _HINT
