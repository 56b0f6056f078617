"""What the docks' forms are made of."""

from __future__ import annotations

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
