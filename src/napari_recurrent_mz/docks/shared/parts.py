"""What the docks' forms are made of."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from html import escape
from typing import Any, TypeVar

from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QLocale, QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QKeyEvent, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLayout,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel
from superqt.utils import signals_blocked

from ...measure.plots import SERIES, SERIES_ON_DARK, Ink
from .guard import on

DRAWN = "#ff9f1c"  # the colour of what a person draws over scans
_BAR_EDGES = 12  # pixels
_MESSAGE_EDGES = 24
_CLOSED, _OPENED = 4, 18  # lines of a message, at most
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|[nµm]m|m?s|min|h|[kMG]B)(?!\w))")


class Words(QLabel):
    """Words in lines, none of which ends between a number and its unit."""

    def __init__(self, text: str = "", *, wraps: bool = True) -> None:
        super().__init__()
        self.setWordWrap(wraps)
        self.setText(text)

    def setText(self, text: str | None) -> None:  # noqa: N802 (Qt's name)
        self._said = text or ""
        super().setText(_BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", self._said))

    def text(self) -> str:
        """The words as they were given, with ordinary spaces."""
        return self._said

    def say(self, words: str) -> None:
        """Show words; none hide the label."""
        self.setText(words)
        self.setVisible(bool(words))


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
    described(button, text, tooltip)


_W = TypeVar("_W", bound=QWidget)


def described(widget: _W, name: str, tooltip: str = "") -> _W:
    """A widget that says what it is to people who do not see it, and to the mouse."""
    widget.setAccessibleName(name)
    widget.setToolTip(tooltip)
    return widget


Part = QWidget | QLayout | str
"""What stands in a column; a text is a heading."""


def column_of(
    parent: QWidget, *parts: Part, margins: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> QVBoxLayout:
    """Let parts fill ``parent`` under one another."""
    column = QVBoxLayout(parent)
    column.setContentsMargins(*margins)
    column.setSpacing(4)
    add_parts(column, *parts)
    return column


def add_parts(column: QVBoxLayout, *parts: Part) -> None:
    """Put parts at the end of a column."""
    for part in parts:
        if isinstance(part, QLayout):
            column.addLayout(part)
        else:
            column.addWidget(heading(part) if isinstance(part, str) else part)


def line_of(*parts: QWidget, stretch: int = 0) -> QHBoxLayout:
    """Parts beside one another."""
    line = QHBoxLayout()
    for part in parts:
        line.addWidget(part, stretch)
    return line


class _Scrolling(QScrollArea):
    """Keeps its end in sight when it becomes lower."""

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
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


class DecimalBox(QDoubleSpinBox):
    """Takes a comma and a point alike: Qt takes one for the mark of thousands, and 1.5 for 15."""

    def __init__(self, low: float, high: float, step: float = 1.0) -> None:
        super().__init__()
        self.setLocale(QLocale.c())
        self.setDecimals(1)
        self.setRange(low, high)
        self.setSingleStep(step)

    def validate(self, text: str | None, position: int) -> tuple[Any, str, int]:
        """Accept what is typed with a point for the comma."""
        return super().validate((text or "").replace(",", "."), position)

    def valueFromText(self, text: str | None) -> float:  # noqa: N802
        return super().valueFromText((text or "").replace(",", "."))


class ProgressBar(QProgressBar):
    """Leaves out the middle of words that are too long for it."""

    def text(self) -> str:
        words, ends = super().text(), Qt.TextElideMode.ElideMiddle
        return self.fontMetrics().elidedText(words, ends, self.width() - _BAR_EDGES)


def show_progress(bar: QProgressBar, done: int, total: int, words: str) -> None:
    """Advance a bar without painting at once, which would paint the canvas too."""
    bar.setUpdatesEnabled(False)
    bar.setRange(0, max(total, 1))  # without a range, Qt shows no words
    bar.setValue(done)
    bar.setFormat(words)
    bar.setUpdatesEnabled(True)


class NumberTable(QTableWidget):
    """Columns of equal width, of texts that are aligned to the right."""

    removed = Signal(list)  # with the rows that are selected when Delete is pressed

    def __init__(self, name: str, tooltip: str, columns: Sequence[str], row_height: int) -> None:
        super().__init__(0, len(columns))
        described(self, name, tooltip)
        self.setHorizontalHeaderLabels(columns)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setTabKeyNavigation(False)
        rows, header = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert header is not None
        self.rows, self.header, self.row_height = rows, header, row_height
        rows.setDefaultSectionSize(row_height)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)

    def only_show(self) -> None:
        """Let nothing be typed, and show no numbers of rows."""
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.rows.hide()
        self.header.setHighlightSections(False)

    def show_rows(self, texts: Sequence[Sequence[str]]) -> None:
        with signals_blocked(self):
            self.setRowCount(len(texts))
            for row, cells in enumerate(texts):
                for column, text in enumerate(cells):
                    item = QTableWidgetItem(text)
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                    self.setItem(row, column, item)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        chosen = sorted({index.row() for index in self.selectedIndexes()})
        keys = Qt.Key.Key_Delete, Qt.Key.Key_Backspace
        if chosen and event is not None and event.key() in keys:
            self.removed.emit(chosen)
        else:
            super().keyPressEvent(event)

    def fit_rows(self, count: int) -> None:
        """Be as high as the header and so many rows."""
        self.setFixedHeight(self.header.sizeHint().height() + self.row_height * count + 4)


class Palette:
    """The theme's colours as Qt colours; follows the viewer when the theme changes."""

    def __init__(self, theme: str) -> None:
        self.use(theme)

    def use(self, theme: str) -> None:
        """Take the colours of another theme; an unknown one leaves things as they are."""
        with contextlib.suppress(ValueError):
            self._colours = {k: str(v) for k, v in get_theme(theme).to_rgb_dict().items()}

    def colour(self, name: str, alpha: int = 255) -> QColor:
        """A colour of the theme, for instance ``text`` or ``warning``."""
        numbers = self._colours[name].removeprefix("rgb(").removesuffix(")").split(",")
        red, green, blue = (int(number) for number in numbers)
        return QColor(red, green, blue, alpha)

    @property
    def faint(self) -> QColor:
        """Text that stays in the background."""
        return self.colour("text", 170)

    def mark(self, *, error: bool) -> QColor:
        """Background of a cell that needs attention, readable under the theme's text."""
        return self.colour("error" if error else "warning", 110)


class MessageLabel(Words):
    """Sentences with a coloured edge: a hint, a success, a warning or an error.

    A few lines are shown, and the others when “more” is pressed, so that the form stays in sight.
    """

    _is_open = False  # whether “more” was pressed
    _EDGES = {"hint": "secondary", "done": "current", "warning": "warning", "error": "error"}  # noqa: RUF012

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self._palette = palette
        self.kind = "hint"
        on(self, self.linkActivated, self._toggle)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.hide()
        self.restyle()

    def say(self, sentence: str, kind: str = "hint") -> None:
        """Show sentences, one to a line; none hide the label."""
        is_other, self.kind = kind != self.kind, kind
        self._is_open &= sentence == self.text()
        super().say(sentence)
        self.setAccessibleName(sentence)
        self.setToolTip("")
        if is_other:
            self.restyle()

    def restyle(self) -> None:
        roles = (self._EDGES[self.kind], "foreground", "text")
        edge, ground, text = (self._palette.colour(role).name() for role in roles)
        self.setStyleSheet(
            f"MessageLabel {{ border-left: 4px solid {edge}; background: {ground};"
            f" color: {text}; padding: 4px 6px; }}"
        )
        self._fit()

    def setText(self, text: str | None) -> None:  # noqa: N802
        super().setText(text)
        self._whole = QLabel.text(self)  # with its other spaces
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit()

    def _toggle(self) -> None:
        self._is_open = not self._is_open
        self._fit()

    def _fit(self) -> None:
        """Show as many lines as there is room for, the last with a link to the others."""
        width = self.width() - _MESSAGE_EDGES
        wrapped = [QElidingLabel.wrapText(x, width, self.font()) for x in self._whole.splitlines()]
        count, most = sum(map(len, wrapped)), _OPENED if self._is_open else _CLOSED
        has_more, flags, text = count > _CLOSED, Qt.TextInteractionFlag, self._whole
        if has_more:
            word, colour = ("more", "less")[self._is_open], self._palette.colour("text").name()
            link = f'<a href="{word}" style="color: {colour}">{word}</a>'
            lines, spare = list[str](), max(most - len(wrapped), 0)
            for some in wrapped[:most]:
                more = min(len(some) - 1, spare)
                lines += self._cut(some, 1 + more, width)
                spare -= more
            text = f"{'<br>'.join(map(escape, lines))} {link}"
        self.setTextInteractionFlags(
            flags.TextBrowserInteraction if has_more else flags.TextSelectableByMouse
        )
        self.setTextFormat((Qt.TextFormat.PlainText, Qt.TextFormat.RichText)[has_more])
        QLabel.setText(self, text)

    def _cut(self, lines: Sequence[str], most: int, width: int) -> list[str]:
        """So many of the lines of a sentence, the last of which says that there are others."""
        if len(lines) <= most:
            return list(lines)
        font, ends = self.fontMetrics(), Qt.TextElideMode.ElideRight
        room = width - font.horizontalAdvance(" more")
        return [*lines[: most - 1], font.elidedText("".join(lines[most - 1 :]), ends, room)]


def ink_of(palette: Palette) -> Ink:
    """The colours of a theme, for a figure."""
    roles = ("background", "text", "current")
    background, text, accent = (palette.colour(role) for role in roles)
    pairs = zip(background.getRgb()[:3], text.getRgb()[:3], strict=True)
    faint = QColor(*(round((a or 0) + 0.45 * ((b or 0) - (a or 0))) for a, b in pairs))
    return Ink(
        background=background.name(),
        text=text.name(),
        faint=faint.name(),
        accent=accent.name(),
        lines=SERIES_ON_DARK if background.lightnessF() < 0.5 else SERIES,
    )
