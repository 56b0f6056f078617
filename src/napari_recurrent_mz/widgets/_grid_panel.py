"""The target grid: start, stop, step, and what it will cost."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QWidget

from ..scans import InputError, ZGrid, default_grid
from ._fields import NumberEdit
from ._guard import on


class GridPanel(QWidget):
    """Start, stop, step; follows the scans until a person types a value."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.follows_scans = True
        self._why_none = ""  # there is no grid that follows the scans
        self.start = NumberEdit("start of the target grid", "Lowest plane to reconstruct", "from")
        self.stop = NumberEdit("stop of the target grid", "Highest plane to reconstruct", "to")
        self.step = NumberEdit(
            "step of the target grid",
            "Distance between planes; about half a depth of field keeps all detail",
            "step",
        )
        self.auto = QPushButton()
        self.auto.setText("Auto")
        self.auto.setToolTip(
            "Follow the scans: lowest to highest, in steps of about half a depth of field that "
            "meet the scans; of a stack, all its planes between them"
        )
        self.auto.setCheckable(True)
        self.auto.setChecked(True)
        self.cost = QLabel()
        self.cost.setProperty("faint", True)
        self.cost.setWordWrap(True)
        self._lay_out()
        for edit in (self.start, self.stop, self.step):
            on(self, edit.edited, self._edited)
        on(self, self.auto.toggled, self._toggled)

    def grid(self) -> ZGrid:
        """The grid as it stands.

        Raises
        ------
        InputError
            If a value is missing or no number, or the grid is empty, backwards or absurdly large.
        """
        if self.follows_scans and self._why_none:
            raise InputError(self._why_none)
        for name, edit in (("start", self.start), ("stop", self.stop), ("step", self.step)):
            if edit.is_text_wrong:
                raise InputError(
                    f"The {name} of the target grid '{edit.text()}' is not a number: "
                    "type it in µm, or press Auto."
                )
            if edit.value() is None:
                raise InputError(
                    f"The {name} of the target grid is missing: type it in µm, or press Auto."
                )
        return ZGrid(*(float(edit.value() or 0.0) for edit in (self.start, self.stop, self.step)))

    def set_grid(self, grid: ZGrid) -> None:
        """Show a grid that a person or a script chose; it stays until Auto is pressed."""
        self._release()
        self._show(grid)
        self.changed.emit()

    def follow(
        self,
        z_um: Sequence[float],
        depth_of_field_um: float | None,
        planes: Sequence[int] | None = None,
    ) -> None:
        """Take the default grid of these scans, unless a person typed one.

        Where there is none, the fields are empty, and :meth:`grid` says why.
        """
        if not self.follows_scans or len(z_um) < 2:
            return
        self._why_none = ""
        try:
            self._show(default_grid(z_um, depth_of_field_um, planes))
        except InputError as error:
            self._why_none = str(error)
            for edit in (self.start, self.stop, self.step):
                edit.set_value(None)

    def _show(self, grid: ZGrid) -> None:
        self.start.set_value(grid.start_um)
        self.stop.set_value(grid.stop_um)
        self.step.set_value(grid.step_um)

    def _release(self) -> None:
        self.follows_scans = False
        self.auto.blockSignals(True)
        self.auto.setChecked(False)
        self.auto.blockSignals(False)

    def _edited(self) -> None:
        self._release()
        self.changed.emit()

    def _toggled(self, on: bool) -> None:
        self.follows_scans = on
        self.changed.emit()

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(4)
        grid.setHorizontalSpacing(6)
        titles = ("From", "to", "step")
        for column, (title, edit) in enumerate(
            zip(titles, (self.start, self.stop, self.step), strict=True)
        ):
            label = QLabel(title)
            label.setBuddy(edit)
            grid.addWidget(label, 0, 2 * column)
            grid.addWidget(edit, 0, 2 * column + 1)
            grid.setColumnStretch(2 * column + 1, 1)
        grid.addWidget(self.auto, 0, 6)
        grid.addWidget(self.cost, 1, 0, 1, 7)


def in_words(seconds: float) -> str:
    """A duration as a person says it: ``8 s``, ``3 min``, ``1.5 h``."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size_in_words(megabytes: float) -> str:
    """An amount of memory: ``12 MB``, ``3.4 GB``."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{max(megabytes, 1):.0f} MB"
