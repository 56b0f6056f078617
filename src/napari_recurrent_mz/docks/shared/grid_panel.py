"""The target grid: start, stop, step, and what it will cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from superqt.utils import signals_blocked

from ...core.scans import InputError, ZGrid, default_grid
from .form import FormPanel, as_named, asked, faint
from .guard import on
from .parts import push_button

_STEP_DIGITS = 3  # of a step that meets the scans, which may have many


@dataclass(frozen=True)
class GridFields:
    """The planes to reconstruct; micrometres."""

    stored: ClassVar = as_named("start stop step")
    start: float | None = asked(
        "start of the target grid",
        "Lowest plane to reconstruct",
        label="From",
        example="0",
        of_image=True,
    )
    stop: float | None = asked(
        "stop of the target grid",
        "Highest plane to reconstruct",
        label="to",
        example="10",
        beside=True,
        of_image=True,
    )
    step: float | None = asked(
        "step of the target grid",
        "Distance between planes; about half a depth of field keeps all detail",
        label="step",
        example="1",
        beside=True,
        of_image=True,
    )


class GridPanel(FormPanel):
    """Start, stop, step; follows the scans until a person types a value."""

    # What a person typed before is shown again, from the settings of a group.

    def __init__(self, group: str = "") -> None:
        super().__init__(GridFields, group=group)
        self.follows_scans = True
        self._why_none = ""  # there is no grid that follows the scans
        self._edits = self.start, self.stop, self.step = [widget.native for widget in self.form]
        self.auto = push_button(
            "Auto",
            "Follow the scans: lowest to highest, in steps of about half a depth of field that "
            "meet the scans; of a stack, all its planes between them",
        )
        self.auto.setCheckable(True)
        self.auto.setChecked(True)
        self.cost = faint()
        self.form.put_beside("step", self.auto)
        self.form.put_under("step", self.cost)
        on(self, self.form.changed, self._edited)
        on(self, self.auto.toggled, self._toggled)
        if any(edit.text() for edit in self._edits):
            self._release()

    def grid(self) -> ZGrid:
        """The grid as it stands; InputError if it is incomplete or makes no sense."""
        if self.follows_scans and self._why_none:
            raise InputError(self._why_none)
        if self.follows_scans and not any(edit.text().strip() for edit in self._edits):
            raise InputError(
                "The target planes follow the scans (Auto): add two or more, or type the planes."
            )
        for edit in self._edits:
            if edit.value() is None:
                wrong = f"'{edit.text()}' is not a number" if edit.is_text_wrong else "is missing"
                raise InputError(
                    f"The {edit.accessibleName()} {wrong}: type it in µm, or press Auto."
                )
        return ZGrid(*(float(edit.value()) for edit in self._edits))

    def set_grid(self, grid: ZGrid) -> None:
        """Show a grid that a person or a script chose; it stays until Auto is pressed."""
        self._release()
        self._show(grid)
        self.changed.emit()

    def propose(self, grid: ZGrid) -> None:
        """Show a grid, unless a person typed one; Auto stays on."""
        if self.follows_scans:
            self._show(grid)
            self.changed.emit()

    def remember(self) -> None:
        """Keep what a person typed: what only follows the scans is found anew."""
        self.form.remember(self.form.asks if self.follows_scans else ())

    def follow(
        self,
        z_um: Sequence[float],
        depth_of_field_um: float | None,
        planes: Sequence[int] | None = None,
    ) -> None:
        """Take the default grid of these scans, unless a person typed one."""
        if not self.follows_scans:
            return
        if len(z_um) < 2:
            for edit in self._edits:
                if edit.is_old:
                    edit.set_value(None)
            return
        self._why_none = ""
        try:
            self._show(default_grid(z_um, depth_of_field_um, planes))
        except InputError as error:
            self._why_none = str(error)
            for edit in self._edits:
                edit.set_value(None)

    def _show(self, grid: ZGrid) -> None:
        values = (grid.start_um, grid.stop_um, grid.step_um)
        for edit, value in zip(self._edits, values, strict=True):
            digits = _STEP_DIGITS if edit is self.step else 5 if value < 1000 else 6  # in sight
            edit.set_value(value, digits)

    def _release(self) -> None:
        self.follows_scans = False
        with signals_blocked(self.auto):
            self.auto.setChecked(False)

    def _edited(self) -> None:
        self._release()
        self.changed.emit()

    def _toggled(self, on: bool) -> None:
        self.follows_scans = on
        self.changed.emit()
