"""Planes of a stack: choose scans out of a fully sampled z-stack."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from superqt.utils import signals_blocked

from ...core.optics import Optics
from ...core.scans import InputError
from .form import FormPanel, asked
from .guard import on
from .layers import heights_um, plane_count
from .parts import push_button
from .scan_table import Row, rows_of

_LIST = 1  # of the two ways to choose planes


def spread_planes(
    count: int, optics: Optics | None = None, z_step_um: float | None = None
) -> list[int]:
    """Planes in the middles of equal parts of a stack of ``count`` planes: three, or up to five.

    It is as many as leave no wide gap: fewer give no scan to check with, and the bundled networks
    were trained for up to five.
    """
    number = 3
    if optics is not None and z_step_um is not None:
        number = optics.scans_without_gaps(count * z_step_um) - 1  # half a gap stays at either end
    number = min(max(number, 3), 5, count)
    return [int((k + 0.5) * count / number) for k in range(number)]


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
        self.optics: Optics | None = None  # which decide how many planes are suggested
        self._stacks: list[weakref.ref[Image]] = []
        self.stack, self.how, self.spacing, self.planes, self.step = (
            widget.native for widget in self._form
        )
        self.use = push_button("Use planes", "Put these planes of the stack in the table")
        self._form.put_beside("step", self.use)
        on(self, self.stack.activated, self._suggest)
        on(self, self.how.currentIndexChanged, self._show_how)
        on(self, self.use.clicked, self._take)
        for edit in (self.planes, self.spacing, self.step):
            on(self, edit.returnPressed, self._take)
        self._show_how()

    def layer(self) -> Image | None:
        """The chosen stack."""
        number = self.stack.currentIndex()
        return self._stacks[number]() if 0 <= number < len(self._stacks) else None

    def set_stacks(self, layers: Iterable[Image]) -> None:
        """Offer these stacks; the chosen one stays when it is still there."""
        before = self.layer()
        stacks = list(layers)
        with signals_blocked(self.stack):
            self.stack.clear()
            self._stacks = [weakref.ref(layer) for layer in stacks]
            self.stack.addItems([f"{one.name} ({plane_count(one)} planes)" for one in stacks])
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
        count = plane_count(layer)
        heights = heights_um(layer)[0]
        typed = self.step.value()
        if heights is not None and typed == self._known_step:
            typed = None  # nobody has typed it
        if typed is not None:
            if typed <= 0:
                raise InputError(f"The z-step {typed:g} µm is not above 0: correct it.")
            heights = typed * np.arange(count, dtype=np.float64)
        if self.how.currentIndex() == _LIST:
            planes = parse_planes(self.planes.text(), count)
        elif heights is None:
            raise InputError("The z-step of this stack is not known: type it in µm first.")
        elif self.spacing.value() is None:
            raise InputError("The spacing of the scans is missing: type it in µm, for instance 3.")
        else:
            planes = planes_every(heights, self.spacing.value())
        return rows_of(layer, planes, typed)

    def suggested(self, layer: Image) -> list[int]:
        """The planes that are suggested of a stack."""
        heights = heights_um(layer)[0]
        step = None if heights is None else float(np.abs(np.diff(heights)).mean())
        return spread_planes(plane_count(layer), self.optics, step)

    def _suggest(self) -> None:
        layer = self.layer()
        if layer is None:
            self._known_step = None
            self.step.set_value(None)
            self.planes.clear()
            return
        count = plane_count(layer)
        self._show_step(layer)
        planes = self.suggested(layer)
        self.planes.setText(", ".join(map(str, planes)))
        if self._known_step is not None:
            self.spacing.set_value(float(f"{self._known_step * count / len(planes):.2g}"))
        self.how.setCurrentIndex(_LIST)
        self._show_how()

    def _show_step(self, layer: Image) -> None:
        heights = heights_um(layer)[0]
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
