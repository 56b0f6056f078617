"""Where scans come from: what the docks that work on scans share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from napari.layers import Image, Layer
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout

from ...core.optics import Optics
from ...core.scans import InputError
from .drop import DropTarget, doubts_about, said_of
from .file_layers import Opened, open_files
from .guard import on
from .heights_button import HeightsButton, Mislabelled
from .layers import (
    MOVES,
    check_layer,
    check_scan_layer,
    first_channels,
    is_reconstruction,
    optics_by_image,
    plane_count,
)
from .optics_panel import OpticsPanel
from .parts import push_button
from .scan_table import Row, ScanTable, rows_of
from .stack_panel import StackPanel
from .stacks import scans_like
from .theme import Palette
from .worker import in_background

_ALL_PLANES_UP_TO = 6
_WORDS = {3: "Three", 4: "Four", 5: "Five"}
_UNTICKED = "The scans before are unticked."


class ScanParts:
    """The table of scans, its buttons, the planes of a stack, and the optics they bring."""

    def __init__(self, palette: Palette) -> None:
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
        self.heights = HeightsButton()
        self.inputs = self.table, self.stack, self.optics, self.heights, *self.buttons
        self.stack.hide()

    def laid_out(self) -> QVBoxLayout:
        """Table, buttons and stack under one another."""
        column, line = QVBoxLayout(), QHBoxLayout()
        column.setSpacing(4)
        for button in self.buttons:
            line.addWidget(button)
        column.addWidget(self.table)
        column.addLayout(line)
        column.addWidget(self.heights)
        column.addWidget(self.stack)
        return column


class ScanSource(DropTarget):
    """A dock that fills its ``scan_parts`` from layers and files, after :meth:`connect_scans`."""

    scan_parts: ScanParts
    takes_times = False  # whether time-lapses can be scans

    def connect_scans(self) -> None:
        """Wire the parts to the viewer."""
        parts, layers = self.scan_parts, self._viewer.layers.events
        on(self, parts.table.scans.changed, self._images_changed)
        on(self, parts.stack.chosen, self._planes_chosen)
        on(self, parts.add_button.clicked, self._add_selected)
        on(self, parts.remove_button.clicked, self._remove_selected)
        on(self, parts.planes_button.toggled, self._planes_toggled)
        on(self, parts.heights.pressed_for, self._open_as_heights)
        on(self, self._viewer.layers.selection.events.changed, self._selection_changed)
        on(self, layers.inserted, self._layers_changed)
        on(self, layers.removed, self._layer_removed)
        on(self, layers, self._layer_event)

    def set_optics(self, optics: Optics, objective: str = "") -> None:
        """Fill in the optics; ``objective`` is the preset to show, for instance 63×/1.4 oil."""
        self.scan_parts.optics.set_values(optics.as_dict(), "from the sample", objective)

    def used(self) -> list[Row]:
        """The rows that are ticked, from the lowest up."""
        return self.scan_parts.table.scans.used()

    def add_layers(self, layers: Iterable[Layer]) -> None:
        """Put layers in the table; a longer stack offers its planes instead."""
        sentences = self._add_all(layers)
        if sentences:
            self.say(*said_of([], sentences))

    def _add_all(self, layers: Iterable[Layer]) -> list[str]:
        """Put layers in the table; sentences on those that cannot be."""
        sentences = []
        for layer in first_channels(list(layers)):
            try:
                self._add_layer(check_scan_layer(layer, times=self.takes_times))
            except InputError as error:
                sentences.append(str(error))
        return sentences

    def drop(self, paths: Sequence[Any]) -> None:
        """Read files and use them as scans, as a drop on the dock does."""
        self.say("Reading…", "hint")
        self._open(list(paths))

    def _open(self, paths: list[Path], as_heights: Mislabelled | None = None) -> None:
        in_background(self, open_files, paths, as_heights, then=self._opened)

    def _open_as_heights(self, one: Mislabelled) -> None:
        """Its channels or time points are the planes of a z-stack."""
        self.say("Reading…", "hint")
        self.scan_parts.heights.offer(None)
        self._open([Path(one.path)], one)

    def _selection_changed(self) -> None:
        self.scan_parts.heights.look(self._selected())

    def _add_layer(self, layer: Image) -> None:
        table = self.scan_parts.table.scans
        count = plane_count(layer)
        if count <= _ALL_PLANES_UP_TO:
            table.add(rows_of(layer, range(count)))
            return
        self._layers_changed()
        parts, stack = self.scan_parts, self.scan_parts.stack
        present = [row for row in table.rows if row.layer is layer]
        if not present:
            parts.optics.follow(optics_by_image([layer]))
        stack.optics = parts.optics.known()
        stack.choose(layer)
        parts.planes_button.setChecked(True)
        rows = present or rows_of(layer, stack.suggested(layer))
        others = table.take_stack(layer, rows)
        if present and others:
            self.say(f"The scans are those of '{layer.name}' again. {_UNTICKED}", "hint")
        elif not present:
            self.say(_about_suggested(layer.name, rows, others), "hint")

    def _images_changed(self) -> None:
        """The optics are those of the images whose rows are ticked."""
        rows = self.used()
        layers = {id(row.layer): row.layer for row in rows if row.layer is not None}
        self.scan_parts.optics.follow(optics_by_image(layers.values()))

    def _stacks(self) -> list[Image]:
        stacks = []
        for layer in self._viewer.layers:
            with contextlib.suppress(InputError):
                image = check_layer(layer, times=self.takes_times)
                if plane_count(image) > 1 and not is_reconstruction(image):
                    stacks.append(image)
        return stacks

    def _selected(self) -> list[Layer]:
        layers = self._viewer.layers
        return [layer for layer in layers if layer in layers.selection]

    def _use_what_is_selected(self) -> None:
        """Whoever opens the dock with images selected means them; others are told nothing.

        Of several scans that were added at once, napari selects the last.
        """
        chosen = self._selected()
        self._add_all(scans_like(chosen[0], self._viewer.layers) if len(chosen) == 1 else chosen)

    def _add_selected(self) -> None:
        chosen = self._selected()
        if not chosen:
            raise InputError(
                "No layer is selected: click one or more image layers in the layer list."
            )
        self.add_layers(chosen)

    def _remove_selected(self) -> None:
        table = self.scan_parts.table
        rows = table.selected_rows()
        if not rows:
            raise InputError(
                "No row is selected: click those to remove; Ctrl+A in the table takes all."
            )
        table.scans.remove(rows)

    def _planes_chosen(self, layer: Image, rows: list[Row]) -> None:
        image = check_scan_layer(layer, times=self.takes_times)
        others = self.scan_parts.table.scans.take_stack(image, rows)
        self.say(_UNTICKED if others else "", "hint")

    def _opened(self, opened: Opened) -> None:
        added = [self._viewer.add_layer(Layer.create(*one)) for one in opened.layers]
        self.say("", "hint")
        sentences = opened.sentences + self._add_all(added)
        if sentences or doubts_about(opened.images):
            self.say(*said_of(opened.images, sentences))
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
        self._layers_changed()

    def _layer_event(self, event: Any) -> None:
        """A layer was renamed, moved or got other data: the table shows and reads it again."""
        if event.type not in ("name", "data", "units", *MOVES):
            return
        used = {id(row.layer) for row in self.scan_parts.table.scans.rows}
        if any(id(source) in used for source in event.sources):
            self.scan_parts.stack.look_again()
            self.scan_parts.table.scans.refresh()


def _about_suggested(name: str, rows: Sequence[Row], others: int) -> str:
    """What was done with a stack of this name, and what may be left to do."""
    text = f"{_WORDS[len(rows)]} planes of '{name}' are the scans: "
    if any(row.z_um is None for row in rows):
        text += "type the z-step below the table, then “Use planes”."
    else:
        text += "choose others below the table."
    return f"{text} {_UNTICKED}" if others else text
