"""What the docks' forms are made of."""

from __future__ import annotations

import re

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QFrame,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|[nµm]m|m?s|min|h|[kMG]B)(?!\w))")


class Words(QLabel):
    """Words in lines, none of which ends between a number and its unit."""

    def __init__(self, text: str = "", *, wraps: bool = True) -> None:
        super().__init__()
        self.setWordWrap(wraps)
        self.setText(text)

    def setText(self, text: str | None) -> None:  # noqa: N802 (Qt's name)
        """Show these words."""
        self._said = text or ""
        super().setText(_BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", self._said))

    def text(self) -> str:
        """The words as they were given, with ordinary spaces."""
        return self._said


def heading(text: str) -> QLabel:
    """The heading of a part of a form."""
    label = QLabel(text)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label


def push_button(text: str, tooltip: str) -> QPushButton:
    """A button that says what it does."""
    button = QPushButton()
    name_button(button, text, tooltip)
    return button


def name_button(button: QAbstractButton, text: str, tooltip: str) -> None:
    """Let a button say this, also to people who do not see it."""
    button.setText(text)
    button.setAccessibleName(text)
    button.setToolTip(tooltip)


def column_of(parent: QWidget, *widgets: QWidget) -> QVBoxLayout:
    """Let widgets fill ``parent`` under one another, without margins."""
    column = QVBoxLayout(parent)
    column.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        column.addWidget(widget)
    return column


def scrolling(form: QWidget) -> QScrollArea:
    """A form that scrolls up and down where the screen is lower than it."""
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(form)
    return scroll


def show_progress(bar: QProgressBar, done: int, total: int, words: str) -> None:
    """Advance a bar without painting at once, which would paint the canvas too."""
    bar.setUpdatesEnabled(False)
    bar.setRange(0, max(total, 1))  # without a range, Qt shows no words
    bar.setValue(done)
    bar.setFormat(words)
    bar.setUpdatesEnabled(True)
