"""What the docks' forms are made of."""

from __future__ import annotations

import re

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QResizeEvent
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


class _Scrolling(QScrollArea):
    """Keeps its end in sight when it becomes lower."""

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Stay at the end."""
        bar = self.verticalScrollBar()
        assert bar is not None
        is_at_end = 0 < bar.value() == bar.maximum()
        super().resizeEvent(event)
        if is_at_end:
            bar.setValue(bar.maximum())


def scrolling(form: QWidget) -> QScrollArea:
    """A form that scrolls up and down where the screen is lower than it."""
    scroll = _Scrolling()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(form)
    return scroll


class _Wheel(QObject):
    """Leaves the wheel of the mouse to what scrolls."""

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Whether the event goes no further; one that is ignored goes to the parent."""
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        event.ignore()
        return True


def without_wheel(field: QWidget) -> None:
    """Let the wheel scroll the form, and never change a field that it passes."""
    field.installEventFilter(_Wheel(field))


def show_progress(bar: QProgressBar, done: int, total: int, words: str) -> None:
    """Advance a bar without painting at once, which would paint the canvas too."""
    bar.setUpdatesEnabled(False)
    bar.setRange(0, max(total, 1))  # without a range, Qt shows no words
    bar.setValue(done)
    bar.setFormat(words)
    bar.setUpdatesEnabled(True)
