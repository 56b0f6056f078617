"""Number fields that may be empty, and say so, rather than hold a value nobody gave."""

from __future__ import annotations

import math
import re

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QLineEdit, QWidget

from .guard import on

_UM_PER = {"": 1.0, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3}
_LENGTH = re.compile(r"\s*([-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s]*)\s*")


def parse_length_um(text: str) -> float | None:
    """A length in µm from ``3.5``, ``3,5``, ``0.2 µm`` or ``519 nm``; None if it is none."""
    match = _LENGTH.fullmatch(text)
    if match is None or match[2] not in _UM_PER:
        return None
    value = float(match[1].replace(",", ".")) * _UM_PER[match[2]]
    return value if math.isfinite(value) else None


def parse_wavelength_um(text: str) -> float | None:
    """A wavelength in micrometres; a bare number above 10 can only be nanometres."""
    value = parse_length_um(text)
    if value is not None and value > 10:
        return value * 1e-3
    return value


def as_example(text: str) -> str:
    """What an empty line shows, so that nobody takes it for a value."""
    return f"e.g. {text}" if text[:1].isdigit() else text


class NumberEdit(QLineEdit):
    """A line for one number, empty when it is not known; ``edited`` follows a person's changes."""

    edited = Signal()

    def __init__(
        self,
        label: str,
        tooltip: str,
        example: str,
        wavelength: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setAccessibleName(label)
        self.setToolTip(tooltip)
        self.setPlaceholderText(as_example(example))
        self.setAcceptDrops(False)
        self.setMinimumWidth(48)
        self._parse = parse_wavelength_um if wavelength else parse_length_um
        self._shown = ""
        self._value: float | None = None
        on(self, self.editingFinished, self._finish)

    @property
    def is_text_wrong(self) -> bool:
        return bool(self.text().strip()) and self._parse(self.text()) is None

    def value(self) -> float | None:
        """The number, unrounded if it was set here; None when the line holds none."""
        return self._value if self.text() == self._shown else self._parse(self.text())

    def set_value(self, value: float | None, digits: int | None = None) -> None:
        """Show a number, in six digits or fewer, or an empty line."""
        self._value, self._shown = value, "" if value is None else f"{value:.{digits or 6}g}"
        self.setText(self._shown)
        self.setCursorPosition(0)

    def _finish(self) -> None:
        if self.text() == self._shown:
            return
        value = self.value()
        if value is not None:
            self.set_value(value)
        else:
            self._value, self._shown = None, self.text()
        self.edited.emit()
