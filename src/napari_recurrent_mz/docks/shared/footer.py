"""What stands under a form: messages, progress, and the buttons that start and end a job."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QApplication, QHBoxLayout, QPushButton, QWidget

from ...core.progress import time_in_words
from ...core.scans import listed
from .form import NumberEdit
from .guard import on
from .pace import Activity
from .parts import (
    MessageLabel,
    Palette,
    ProgressBar,
    column_of,
    described,
    line_of,
    name_button,
    push_button,
    show_progress,
)
from .worker import time_left


def keep_keyboard(holder: QWidget, parts: Sequence[QWidget]) -> None:
    """Take the keyboard from parts that will be disabled: Qt would give it to the canvas, say."""
    focused = QApplication.focusWidget()
    if focused is not None and any(one is focused or one.isAncestorOf(focused) for one in parts):
        holder.setFocus()


class Earlier(QWidget):
    """What fields hold of earlier images, and what was replaced: to be kept, or put back."""

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self._edits: list[NumberEdit] = []
        self.label = MessageLabel(palette)
        self.keep = push_button("Keep", "What stands in these fields holds for the images in use")
        self.put_back = push_button("Put back", "Take the values that were set before again")
        for button, press in ((self.keep, NumberEdit.keep), (self.put_back, NumberEdit.put_back)):
            on(self, button.clicked, partial(self._press, press))
        column_of(self, self.label, line_of(self.keep, self.put_back))
        self.hide()

    def look(self, edits: Iterable[NumberEdit]) -> None:
        """Say what is to be checked in these fields."""
        self._edits = [edit for edit in edits if edit.is_old or edit.replaced is not None]
        old = [*dict.fromkeys(_subject(edit) for edit in self._edits if edit.is_old)]
        was = [
            f"{_subject(edit)} {edit.replaced:.4g}"
            for edit in self._edits
            if edit.replaced is not None
        ]
        told = [f"⚠ Set for other images: {listed(old)}. Check what is marked."] * bool(old)
        told += [f"Set for other images, and no longer in force: {listed(was)}."] * bool(was)
        self.label.say("\n".join(told), "warning" if old else "hint")
        self.put_back.setVisible(bool(was))
        self.setVisible(bool(told))

    def _press(self, press: Callable[[NumberEdit], None]) -> None:
        for edit in self._edits:
            press(edit)
        self.look(self._edits)


def _subject(edit: NumberEdit) -> str:
    """What a field is of, in words: the three of a grid are of one."""
    return edit.accessibleName().rpartition(" of the ")[2]


class InstrumentFooter(QWidget):
    """Status, warnings, message, progress, and the buttons that start and end a job."""

    def __init__(self, palette: Palette, action: str, tooltip: str) -> None:
        super().__init__()
        self.state, self.warnings, self.message = (MessageLabel(palette) for _ in range(3))
        self.earlier = Earlier(palette)
        self.bar = described(ProgressBar(), "Progress", "How much is done, and the time left")
        self.bar.hide()
        self.activity = Activity(self)
        self.action = push_button(action, "")
        self.cancel = push_button("Cancel", "Stop; nothing is changed (Esc)")
        self.cancel.setEnabled(False)
        self._tips: dict[QPushButton, str] = {}
        self.name_action(action, tooltip)
        self._title = ""
        self._began = self._first = 0.0
        self._line = QHBoxLayout()
        self._line.addWidget(self.action, 2)
        self._line.addWidget(self.cancel, 1)
        labels = self.earlier, self.state, self.warnings, self.message
        self._column = column_of(self, *labels, self.bar, self._line, margins=(6, 4, 6, 6))
        self._column.insertStretch(0, 1)
        self._is_held = False

    def add_on_top(self, widget: QWidget) -> None:
        """Put something over the status, in sight whatever the form shows."""
        self._column.insertWidget(0, widget)

    def add_over_buttons(self, widget: QWidget) -> None:
        """Put something where it is always in sight, and never moves."""
        self._column.insertWidget(self._column.count() - 1, widget)

    def add_offer(self, widget: QWidget) -> None:
        """Put what answers a warning under all messages, which so do not move it as they change."""
        self._column.insertWidget(self._column.indexOf(self.bar), widget)

    def add_button(self, text: str, tooltip: str) -> QPushButton:
        """Another button that starts a job, before the main one."""
        button = push_button(text, tooltip)
        self._tips[button] = tooltip
        self._line.insertWidget(0, button, 1)
        return button

    def hold_height(self, *, is_held: bool) -> None:
        """Shrink no more while the mouse is there, so that nothing moves away under it."""
        self._is_held = is_held
        self.setMinimumHeight(self.height() if is_held else 0)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        super().resizeEvent(event)
        if self._is_held:
            self.setMinimumHeight(self.height())

    def say(self, sentence: str, kind: str = "hint") -> None:
        """The answer to what the user did last; what is warned of already is not said again."""
        if kind != "warning" or sentence not in self.warnings.text():
            self.message.say(sentence, kind)

    def warn(self, sentences: Sequence[str]) -> None:
        """What to mind, one line each."""
        self.warnings.say("\n".join(f"⚠ {sentence}" for sentence in sentences), "warning")

    def name_action(self, action: str, tooltip: str) -> None:
        """The main button says and does something else from now on."""
        self._tips[self.action] = f"{tooltip} (Ctrl+Return)"
        name_button(self.action, action, self._tips[self.action])

    def ready(self, why_not: str = "", kind: str = "error") -> None:
        """Enable the buttons that start a job, or let them say why they cannot be pressed."""
        for button, tip in self._tips.items():
            button.setEnabled(not why_not)
            button.setToolTip(why_not or tip)
        self.state.say(why_not, kind)

    def begin(self, title: str, *, first: str = "", total: int = 0, aside: bool = False) -> None:
        """Show an empty bar; ``first`` says what comes before the first of ``total`` pieces."""
        # ``aside`` leaves messages and buttons as they are: other things go on meanwhile.
        self._title, self._began, self._first = title, time.monotonic(), 0.0
        show_progress(self.bar, 0, total, f"{title}: {first}" if first else f"{title}…")
        self.bar.show()
        self.activity.move(0, total, title)
        if not aside:
            self.state.say("")
            self.message.say("")
            self._enable(is_running=True)

    def retitle(self, title: str) -> None:
        """What is at work has another name from now on, and its pace counts from here."""
        self._title, self._first = title, time.monotonic() - self._began

    def progress(
        self,
        done: int,
        total: int,
        words: str = "",
        seconds_left: float | None = None,
        *,
        piece: str = "",
    ) -> None:
        """Advance the bar; a total of 0 only says that something happens."""
        # The time left follows from the pace unless it is given, NaN where it is not known;
        # ``piece`` names one of the total.
        words = words or self._title
        if total == 0:
            show_progress(self.bar, 0, 0, f"{words}…")
            self._move_activity(0, 0, words)
            return
        elapsed = time.monotonic() - self._began
        if done == 1:
            self._first = elapsed
        if seconds_left is None:
            seconds_left = time_left(elapsed, self._first, done, total)
        left = ""
        if seconds_left is not None and math.isfinite(seconds_left):
            left = f" · {time_in_words(max(seconds_left, 1))} left"
        self._move_activity(done, total, words)
        words += f": {piece} " if piece else ": "
        show_progress(self.bar, done, total, f"{words}{done} of {total}{left}")

    def cancelling(self) -> None:
        """The wish to stop was heard."""
        self.cancel.setEnabled(False)
        self.bar.setFormat("Stopping…")

    def ended(self) -> None:
        """Take the bar away."""
        self.show_bar(False)
        self._enable(is_running=False)

    def show_bar(self, is_shown: bool) -> None:
        """Show the bar as it is, or hide it."""
        self.bar.setVisible(is_shown)
        if not is_shown:
            self.activity.end()

    def _move_activity(self, done: int, total: int, words: str) -> None:
        if not self.bar.isHidden():
            self.activity.move(done, total, words)

    def _enable(self, *, is_running: bool) -> None:
        keep_keyboard(self, [*self._tips] if is_running else [self.cancel])
        for button in self._tips:
            button.setEnabled(not is_running)
        self.cancel.setEnabled(is_running)
