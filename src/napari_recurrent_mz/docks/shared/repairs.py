"""Faults of scans are looked for while they are chosen; a button repairs those of one kind."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ...core.optics import Optics
from ...core.scans import Scan, listed
from .guard import on
from .layers import about_layer, hide_under
from .parts import push_button
from .scan_table import TYPED, Row, layers_of, planes_of_one_stack, scans_of
from .worker import in_background

if TYPE_CHECKING:
    from ...engine.repairs import RepairedScan

_BUTTONS = {  # in the order of the notes on faults, the last of which are for a person to repair
    "Replace hot pixels": "Scans with the median of their neighbours in place of hot pixels",
    "Even out light": "Scans of less or more light with as much as the others",
    "Shift back": "Scans that lie to the side of the others in line with them",
}


class Repairs(QWidget):
    """A button for each kind of fault that the scans have."""

    noticed = Signal()  # there are other notes

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[list[str]] = []
        self._scans: Sequence[Scan] = ()  # held, so that the ids of their pixels stay theirs
        self._facts: tuple[Any, ...] = ()
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        self.buttons = [
            push_button(words, f"{tip}, as new layers; yours stay as they are")
            for words, tip in _BUTTONS.items()
        ]
        for button in self.buttons:
            rows.addWidget(button)
        self.offer(is_possible=False)

    def serve(self, dock: Any) -> None:
        """Repair the scans of a dock (ScanSource), which checks anew when faults are noticed."""
        on(dock, self.noticed, dock.check)
        for kind, button in enumerate(self.buttons):
            on(dock, button.clicked, partial(_repair, dock, kind))

    def follow(self, scans: Sequence[Scan], optics: Optics | None, owner: Any) -> None:
        """Look for faults of scans in a thread of the dock ``owner``; without optics for none."""
        planes = planes_of_one_stack(owner.used())
        facts = (optics, planes, *((id(scan.pixels), scan.z_um) for scan in scans))
        before, self._facts, self._scans = self._facts, facts, scans
        if optics is None:
            self.notes = []
        elif facts != before:
            in_background(owner, _faults, scans, optics, planes, then=partial(self._notice, facts))

    def offer(self, *, is_possible: bool) -> None:
        """Show the buttons of the faults that there are."""
        for number, button in enumerate(self.buttons):
            button.setVisible(is_possible and any(self.notes[number : number + 1]))
        self.setVisible(not all(button.isHidden() for button in self.buttons))

    def _notice(self, facts: tuple[Any, ...], notes: list[list[str]]) -> None:
        if facts == self._facts and notes != self.notes:
            self.notes = notes
            self.noticed.emit()


def _faults(scans: Sequence[Scan], optics: Optics, planes: Sequence[int] | None) -> list[list[str]]:
    from ...engine.check import fault_notes  # with torch

    return fault_notes(scans, optics, planes)


def _repair(dock: Any, kind: int) -> None:
    """Let scans without a fault, as new layers, take the place of those that have it."""
    rows, viewer, parts = dock.used(), dock._viewer, dock.scan_parts
    for row in rows:
        row.forget()  # pixels may have been changed in place
    scans = scans_of(rows)

    def swap(repairs: dict[int, RepairedScan]) -> None:
        used, pairs = dock.used(), []
        # What was taken out, replaced or changed meanwhile stays as it is.
        same = [n for n in repairs if rows[n] in used and rows[n].scan() is scans[n]]
        for row, repaired in ((rows[n], repairs[n]) for n in same):
            layer = viewer.add_layer(_layer_of(row, repaired))
            if row.planes == 1:
                hide_under(layer, layers_of([row]))
            pairs.append((row, Row(weakref.ref(layer), 0, row.z_um, TYPED)))
        if not pairs:
            dock.say("No scan was replaced: they are not those of before.", "hint")
            return
        parts.table.scans.swap(pairs)
        names = listed([f"“{pair[1].name}”" for pair in pairs])
        dock.say(f"{names} in place of your own, which stays as it is.", "done")

    optics = parts.optics.optics()
    dock.say("Making scans without this fault…", "hint")
    in_background(dock, _repaired, kind, scans, optics, then=swap)


def _repaired(kind: int, scans: Sequence[Scan], optics: Optics) -> dict[int, RepairedScan]:
    from ...engine.repairs import REPAIRS  # with torch

    return REPAIRS[kind](scans, optics)


def _layer_of(row: Row, repaired: RepairedScan) -> Image:
    """A layer for a row, of repaired pixels."""
    assert row.layer is not None
    is_flat = row.layer.ndim == 2
    about = about_layer(
        row.layer,
        f"{row.name} ({repaired.words})",
        repaired.step,
        is_flat=is_flat,
        planes=None if is_flat else slice(row.plane, row.plane + 1),
    )
    low, high = about["contrast_limits"]
    if high > (brightest := float(repaired.pixels.max())) > low:  # the limit was a hot pixel's
        about["contrast_limits"] = low, brightest
    return Image(repaired.pixels if is_flat else repaired.pixels[np.newaxis], **about)
