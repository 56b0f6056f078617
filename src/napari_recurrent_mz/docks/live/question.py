"""Questions that a session asks: one at a time, in the dock, while everything goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ...core.scans import listed
from ..shared.fields import NumberEdit
from ..shared.guard import on
from ..shared.parts import push_button
from ..shared.theme import MessageLabel, Palette

Answered = Callable[[str, float | None], None]
"""Gets the key of the choice, and the height in µm that was typed."""


@dataclass(frozen=True)
class Choice:
    """A button; an empty key leaves things as they are."""

    key: str
    text: str
    tooltip: str


LEAVE_OUT = Choice("", "Leave out", "The scan is not taken")
USE_HEIGHT = Choice("height", "Add", "Take the scan at this height")
START_AGAIN = Choice("again", "Start again", "Let the scans go; the volume stays as a layer")
CONTINUE = Choice("", "Go on", "Everything stays as it is")
ABOUT_SCANS = {
    "replace": Choice("replace", "Replace", "The new scan takes the place of the old one"),
    "average": Choice("average", "Average", "The mean of both is one scan, with less noise"),
    "keep": Choice("keep", "Keep both", "Both are scans"),
    "accept": Choice("accept", "Accept", "Take the scan as it is"),
}
"""What may be done with a scan that the session has not taken."""


@dataclass(frozen=True, eq=False)
class _Question:
    sentence: str
    choices: Sequence[Choice]
    answered: Answered
    wants_height: bool
    about: str


class QuestionBox(QWidget):
    """The question that is asked now; the others wait."""

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self.label = MessageLabel(palette)
        self.height_um = NumberEdit("height of the scan", "Height of the scan, in µm", "z (µm)")
        on(self, self.height_um.returnPressed, self._answer_first)
        self.buttons: dict[str, QPushButton] = {}
        self._waiting: deque[_Question] = deque()
        self._unit = QLabel("µm")
        self._line = QHBoxLayout()
        self._line.addWidget(self.height_um)
        self._line.addWidget(self._unit)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.label)
        column.addLayout(self._line)
        self.hide()

    @property
    def is_asking(self) -> bool:
        """Whether an answer is waited for."""
        return bool(self._waiting)

    def ask(
        self,
        sentence: str,
        choices: Sequence[Choice],
        answered: Answered,
        *,
        wants_height: bool = False,
        about: str = "",
    ) -> None:
        """Ask, once the questions before are answered; a height may be asked for as well.

        What it is ``about`` is named while it waits.
        """
        self._waiting.append(_Question(sentence, choices, answered, wants_height, about))
        if len(self._waiting) == 1:
            self._show()
        else:
            self._say()

    def answer(self, key: str) -> None:
        """Choose, as a click on the button does."""
        if not self._waiting:
            return
        question, height = self._waiting[0], self.height_um.value()
        if key and question.wants_height and height is None:
            self.height_um.setFocus()
            return
        self._waiting.popleft()
        self._show()
        question.answered(key, height)

    def forget(self) -> None:
        """Ask nothing any more."""
        self._waiting.clear()
        self._show()

    def _answer_first(self) -> None:
        if self._waiting:
            self.answer(self._waiting[0].choices[0].key)

    def _say(self) -> None:
        question, *others = self._waiting
        names = [f"'{one.about}'" for one in others if one.about]
        verb = "waits" if len(names) == 1 else "wait"
        rest = f" {listed(names)} {verb} for a height, too." if names else ""
        self.label.say(question.sentence + rest, "warning")

    def _show(self) -> None:
        for button in self.buttons.values():
            button.hide()
            self._line.removeWidget(button)
            button.deleteLater()
        self.buttons = {}
        self.setVisible(bool(self._waiting))
        if not self._waiting:
            return
        self._say()
        question = self._waiting[0]
        self.height_um.set_value(None)
        for part in (self.height_um, self._unit):
            part.setVisible(question.wants_height)
        for choice in question.choices:
            button = push_button(choice.text, choice.tooltip)
            on(self, button.clicked, lambda _=False, key=choice.key: self.answer(key))
            self._line.addWidget(button)
            self.buttons[choice.key] = button
