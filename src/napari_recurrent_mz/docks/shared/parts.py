"""What the docks' forms are made of."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QLabel, QProgressBar, QPushButton, QScrollArea, QWidget


def heading(text: str) -> QLabel:
    """The heading of a part of a form."""
    label = QLabel(text)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label


def push_button(text: str, tooltip: str) -> QPushButton:
    """A button that says what it does."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setAccessibleName(text)
    return made


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
    bar.setRange(0, total)
    bar.setValue(done)
    bar.setFormat(words)
    bar.setUpdatesEnabled(True)
