"""Where scans come from: layers, files, planes of a stack; what the docks of scans share."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from ...core.errors import InputError, if_possible
from ...core.optics import WIDEST_GAP_DOF, Optics
from ...core.scans import MOST_SCANS
from ...io import spaced_heights
from . import layers as _layers
from .dock import Dock
from .drop import noting, said_of
from .file_layers import HeightsButton, Mislabelled, Opened
from .form import FormPanel, asked
from .guard import on
from .layer_choice import LayerChoice, on_list_changes, scans_like, selected
from .layer_size import SizeButton
from .optics_panel import OpticsPanel
from .parts import Palette, add_parts, line_of, push_button
from .repairs import Repairs
from .scan_table import Row, ScanTable, layers_of, rows_of

_LIST = 1  # of the two ways to choose planes
_ALL_PLANES_UP_TO = 6
_WORDS = dict(enumerate("Three Four Five Six Seven Eight Nine".split(), 3))
_UNTICKED = "The scans before are unticked."


def spread_planes(
    count: int, optics: Optics | None = None, z_step_um: float | None = None
) -> list[int]:
    """Planes in the middles of equal parts of a stack of ``count`` planes: three, or up to nine."""
    # As many as leave no wide gap: fewer than three give no scan to check with.
    for number in range(min(3, count), min(MOST_SCANS, count) + 1):
        planes = [int((k + 0.5) * count / number) for k in range(number)]
        if optics is None or z_step_um is None or number == 1:
            break
        if max(np.diff(planes)) * z_step_um <= WIDEST_GAP_DOF * optics.depth_of_field_um:
            break
    return planes


def parse_planes(text: str, count: int) -> list[int]:
    """Plane numbers, 0 to ``count - 1``, from ``14, 52 90``; InputError if they are none."""
    words = text.replace(",", " ").replace(";", " ").split()
    for word in words:
        if not word.isdigit() or int(word) >= count:
            raise InputError(
                f"'{word}' is not a plane of this stack: give numbers from 0 to {count - 1}, "
                "for instance 10, 20, 30."
            )
    if not words:
        raise InputError(f"No plane is given: type plane numbers from 0 to {count - 1}.")
    return sorted({int(word) for word in words})


def planes_every(z_um: Iterable[float], spacing_um: float) -> list[int]:
    """The planes nearest to every ``spacing_um`` from the lowest height of the stack."""
    if spacing_um <= 0:
        raise InputError(f"A plane every {spacing_um:g} µm is not possible: type more than 0.")
    heights = np.asarray(list(z_um))
    targets = np.arange(heights.min(), heights.max() + 1e-9, spacing_um)
    return sorted({int(np.abs(heights - target).argmin()) for target in targets})


@dataclass(frozen=True)
class StackFields:
    """Which planes of which stack; micrometres."""

    stack: str = asked("Stack", "The z-stack to take planes from", choices={})
    how: str = asked(
        "How to choose planes",
        "A plane every so many µm, or a list of plane numbers from 0",
        label="Take",
        choices={"every": "every (µm)", "list": "planes"},
    )
    spacing: float | None = asked(
        "spacing of the scans",
        "Take one plane every so many µm",
        label="",
        example="3",
        beside=True,
    )
    planes: str = asked(
        "Planes",
        "Plane numbers, counted from 0",
        label="",
        example="10, 20, 30",
        beside=True,
    )
    step: float | None = asked(
        "z-step", "Distance between the planes of the stack, in µm", example="0.2", unit="µm"
    )


class StackPanel(FormPanel):
    """Which stack, its z-step when unknown, and which of its planes are scans."""

    chosen = Signal(object, object)  # layer, rows

    def __init__(self) -> None:
        super().__init__(StackFields)
        self._known_step: float | None = None
        self._suggested: list[int] = []  # of the stack that is chosen
        self.optics: Optics | None = None  # which decide how many planes are suggested
        self._stacks: list[weakref.ref[Image]] = []
        self.stack, self.how, self.spacing, self.planes, self.step = (
            widget.native for widget in self.form
        )
        self.use = push_button("Use planes", "Put these planes of the stack in the table")
        self.form.put_beside("step", self.use)
        on(self, self.stack.activated, self._suggest)
        on(self, self.how.currentIndexChanged, self._show_how)
        on(self, self.use.clicked, self._take)
        for edit in (self.planes, self.spacing, self.step):
            on(self, edit.returnPressed, self._take)
        self._show_how()

    def layer(self) -> Image | None:
        number = self.stack.currentIndex()
        return self._stacks[number]() if 0 <= number < len(self._stacks) else None

    def set_stacks(self, layers: Iterable[Image]) -> None:
        """Offer these stacks; the chosen one stays when it is still there."""
        before = self.layer()
        stacks = list(layers)
        with signals_blocked(self.stack):
            self.stack.clear()
            self._stacks = [weakref.ref(layer) for layer in stacks]
            self.stack.addItems(
                [f"{one.name} ({_layers.plane_count(one)} planes)" for one in stacks]
            )
            index = next((i for i, layer in enumerate(stacks) if layer is before), 0)
            self.stack.setCurrentIndex(index if stacks else -1)
        self.use.setEnabled(bool(stacks))
        if self.layer() is not before:
            self._suggest()

    def choose(self, layer: Image) -> None:
        """Select a stack and suggest planes of it."""
        for number, other in enumerate(self._stacks):
            if other() is layer:
                self.stack.setCurrentIndex(number)
        self._suggest()

    def look_again(self) -> None:
        """Show the z-step that the stack says now, unless a person typed one."""
        layer = self.layer()
        if layer is not None and self.step.value() == self._known_step:
            self._show_step(layer)

    def rows(self) -> list[Row]:
        """The rows for the choice as it stands; InputError if it is incomplete."""
        layer = self.layer()
        if layer is None:
            raise InputError("No stack is open: drop a z-stack on this dock or open one in napari.")
        count = _layers.plane_count(layer)
        heights = _layers.heights_um(layer)[0]
        typed = self.step.value()
        if heights is not None and typed == self._known_step:
            typed = None  # nobody has typed it
        if typed is not None:
            if typed <= 0:
                raise InputError(f"The z-step {typed:g} µm is not above 0: correct it.")
            heights = spaced_heights(typed, count, heights)
        if self.how.currentIndex() == _LIST:
            planes = parse_planes(self.planes.text(), count)
        elif heights is None:
            raise InputError("The z-step of this stack is not known: type it in µm first.")
        elif self.spacing.value() is None:
            raise InputError("The spacing of the scans is missing: type it in µm, for instance 3.")
        else:
            planes = planes_every(heights, self.spacing.value())
        return rows_of(layer, planes, typed)

    def untouched(self) -> list[Row]:
        """The rows that were suggested, none if a person has typed something else."""
        rows = if_possible(self.rows) or []
        return rows if [row.plane for row in rows] == self._suggested else []

    def suggested(self, layer: Image) -> list[int]:
        """The planes that are suggested of a stack."""
        heights = _layers.heights_um(layer)[0]
        step = None if heights is None else float(np.abs(np.diff(heights)).mean())
        return spread_planes(_layers.plane_count(layer), self.optics, step)

    def _suggest(self) -> None:
        layer = self.layer()
        if layer is None:
            self._known_step = None
            self.step.set_value(None)
            self.planes.clear()
            return
        count = _layers.plane_count(layer)
        self._show_step(layer)
        self._suggested = planes = self.suggested(layer)
        self.planes.setText(", ".join(map(str, planes)))
        apart = (self._known_step or 0.0) * count / len(planes)
        self.spacing.set_value(float(f"{apart:.2g}") if apart else None)
        self.how.setCurrentIndex(_LIST)
        self._show_how()

    def _show_step(self, layer: Image) -> None:
        heights = _layers.heights_um(layer)[0]
        self._known_step = None
        if heights is not None and len(heights) > 1:
            self._known_step = float(f"{abs(heights[-1] - heights[0]) / (len(heights) - 1):.6g}")
        self.step.set_value(self._known_step)

    def _take(self) -> None:
        self.chosen.emit(self.layer(), self.rows())

    def _show_how(self) -> None:
        by_list = self.how.currentIndex() == _LIST
        self.planes.setVisible(by_list)
        self.spacing.setVisible(not by_list)


class ScanParts:
    """The table of scans, its buttons, the planes of a stack, and the optics they bring."""

    def __init__(self, palette: Palette, viewer: Any) -> None:
        self.table = ScanTable(palette)
        self.stack = StackPanel()
        self.optics = OpticsPanel()
        self.add_button = push_button(
            "Add selected", "Use the layers that are selected in napari's layer list as scans"
        )
        self.planes_button = push_button(
            "From a stack…", "Choose planes of a fully sampled z-stack as scans"
        )
        self.planes_button.setCheckable(True)
        self.remove_button = push_button(
            "Remove",
            "Take the selected rows out of the table (Delete; Ctrl+Z brings them back)",
        )
        self.buttons = self.add_button, self.planes_button, self.remove_button
        self.heights, self.give_size, self.repairs = HeightsButton(), SizeButton(viewer), Repairs()
        below = self.stack, self.optics, self.heights, self.give_size, self.repairs
        self.inputs = self.table, *below, *self.buttons
        self.stack.hide()

    def laid_out(self, *more: QWidget) -> QVBoxLayout:
        """Table, buttons, stack and ``more`` under one another."""
        column = QVBoxLayout()
        column.setSpacing(4)
        add_parts(column, self.table, line_of(*self.buttons), self.stack, *more)
        return column


class ScanSource(Dock):
    """A dock that fills its ``scan_parts`` from layers and files, after :meth:`connect_scans`."""

    scan_parts: ScanParts
    takes_times = False  # whether time-lapses can be scans
    dropped_files = "Let go to use these files as scans."

    def connect_scans(self) -> None:
        """Wire the parts to the viewer."""
        parts, layers = self.scan_parts, self._viewer.layers.events
        on(self, parts.table.scans.changed, self._images_changed)
        on(self, parts.stack.chosen, self._planes_chosen)
        on(self, parts.add_button.clicked, self._add_selected)
        on(self, parts.remove_button.clicked, self._remove_selected)
        on(self, parts.planes_button.toggled, self._planes_toggled)
        on(self, parts.heights.pressed_for, self._open_as_heights)
        chosen = self._viewer.layers.selection.events.changed
        on(self, chosen, lambda: parts.heights.look(selected(self._viewer)))
        on(self, layers.removed, self._layer_removed)
        on_list_changes(self, self._viewer, self._layers_changed)
        on(self, layers, self._layer_event)
        parts.repairs.serve(self)
        for part in (parts.heights, parts.give_size, parts.repairs):
            self.footer.add_offer(part)

    def set_optics(self, optics: Optics, objective: str = "") -> None:
        self.scan_parts.optics.set_values(optics.as_dict(), "from the sample", objective)

    def known_optics(self) -> Optics | None:
        """The optics, if they are complete and make sense."""
        return self.scan_parts.optics.known()

    def used(self) -> list[Row]:
        return self.scan_parts.table.scans.used()

    def add_layers(self, layers: Iterable[Layer]) -> None:
        """Put layers in the table; a longer stack offers its planes instead."""
        sentences = self._take(_layers.first_channels(list(layers)))
        if sentences:
            self.say(*said_of([], sentences))

    def _take(self, layers: Sequence[Layer], at: LayerChoice | None = None) -> list[str]:
        """Put layers in the table, unless a choice is meant; sentences on those that cannot be."""
        if at is not None:
            return super()._take(layers, at)
        sentences = list[str]()
        for layer in layers:
            with noting(sentences):
                self._add_layer(_layers.check_scan_layer(layer, times=self.takes_times))
        return sentences

    def _open_as_heights(self, one: Mislabelled) -> None:
        """Its channels or time points are the planes of a z-stack."""
        self.say("Reading…", "hint")
        self.scan_parts.heights.offer(None)
        self._open([Path(one.path)], as_heights=one)

    def _add_layer(self, layer: Image) -> None:
        table = self.scan_parts.table.scans
        count = _layers.plane_count(layer)
        if count <= _ALL_PLANES_UP_TO:
            table.add(rows_of(layer, range(count)))
            return
        self._layers_changed()
        parts, stack = self.scan_parts, self.scan_parts.stack
        present = [row for row in table.rows if row.layer is layer]
        if not present:
            self.follow_images(_layers.optics_by_image([layer]))
        stack.optics = self.known_optics()
        stack.choose(layer)
        parts.planes_button.setChecked(True)
        rows = present or rows_of(layer, stack.suggested(layer))
        others = table.take_stack(layer, rows)
        if present and others:
            self.say(f"The scans are those of '{layer.name}' again. {_UNTICKED}", "hint")
        elif not present:
            self.say(_about_suggested(layer.name, rows, others), "hint")
            self.suggest_anew()  # for the colours beside it, too

    def suggest_anew(self) -> None:
        """As many planes of a stack as the optics ask for, if they are still those suggested."""
        stack, table = self.scan_parts.stack, self.scan_parts.table.scans
        optics, layer, before = self.known_optics(), stack.layer(), stack.untouched()
        if optics is None or layer is None or not before:
            return
        used = [row for row in table.rows if row.use or row.layer is layer]
        if [_place(row) for row in used] != [_place(row) for row in before]:
            return
        stack.optics = optics
        planes = stack.suggested(layer)
        if len(planes) != len(before):
            stack.choose(layer)
            table.take_stack(layer, rows_of(layer, planes))
            why = " now, for this depth of field"
            self.say(_about_suggested(layer.name, table.used(), 0, why), "hint")

    def _images_changed(self) -> None:
        """The optics are those of the images whose rows are ticked."""
        self.follow_images(_layers.optics_by_image(layers_of(self.used())))

    def _stacks(self) -> list[Image]:
        return [
            image
            for layer in self._viewer.layers
            if (image := if_possible(_layers.check_layer, layer, times=self.takes_times))
            and _layers.plane_count(image) > 1
            and not _layers.is_reconstruction(image)
        ]

    def _begin_with_what_is_there(self) -> None:
        """Whoever opens the dock with images selected means them; others are told nothing."""
        self._layers_changed()
        self._take(_layers.first_channels(self._meant(selected(self._viewer))))

    def _meant(self, chosen: list[Layer]) -> list[Layer]:
        """What is selected; of scans that were added at once, all, for napari selects the last."""
        one = len(chosen) == 1 and not self.used()
        return scans_like(chosen[0], self._viewer.layers) if one else chosen

    def _add_selected(self) -> None:
        chosen = selected(self._viewer)
        if not chosen:
            raise InputError(
                "No layer is selected: click one or more image layers in the layer list."
            )
        self.add_layers(self._meant(chosen))

    def _remove_selected(self) -> None:
        table = self.scan_parts.table
        rows = table.selected_rows()
        if not rows:
            raise InputError(
                "No row is selected: click those to remove; Ctrl+A in the table takes all."
            )
        table.scans.remove(rows)

    def _planes_chosen(self, layer: Image, rows: list[Row]) -> None:
        image = _layers.check_scan_layer(layer, times=self.takes_times)
        others = self.scan_parts.table.scans.take_stack(image, rows)
        self.say(_UNTICKED if others else "", "hint")

    def _opened(self, at: LayerChoice | None, opened: Opened) -> None:
        super()._opened(at, opened)
        if opened.mislabelled:
            self.scan_parts.heights.offer(opened.mislabelled[0])

    def _planes_toggled(self, is_on: bool) -> None:
        if is_on:
            self._layers_changed()
        self.scan_parts.stack.setVisible(is_on)

    def _layers_changed(self) -> None:
        self.scan_parts.stack.set_stacks(self._stacks())

    def _layer_removed(self, event: Any) -> None:
        self.scan_parts.table.scans.remove_layer(event.value)

    def _layer_event(self, event: Any) -> None:
        """A layer was renamed, moved or got other data: the table shows and reads it again."""
        if event.type not in ("name", "data", "units", *_layers.MOVES):
            return
        used = {id(row.layer) for row in self.scan_parts.table.scans.rows}
        if any(id(source) in used for source in event.sources):
            self.scan_parts.stack.look_again()
            self.scan_parts.table.scans.refresh()


def _place(row: Row) -> tuple[object, ...]:
    return row.layer, row.plane, row.z_um, row.use


def _about_suggested(name: str, rows: Sequence[Row], others: int, why: str = "") -> str:
    """What was done with a stack of this name, and what may be left to do."""
    text = f"{_WORDS[len(rows)]} planes of '{name}' are the scans{why}: "
    if any(row.z_um is None for row in rows):
        text += "type the z-step below the table, then “Use planes”."
    else:
        text += "choose others below the table."
    return f"{text} {_UNTICKED}" if others else text
