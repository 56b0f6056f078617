"""How the Live dock looks: what a session is started with on one page, its scans on the other."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from qtpy.QtCore import QSize, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLabel,
    QPushButton,
    QTableWidgetItem,
    QTabWidget,
    QWidget,
)

from ...core.errors import if_possible, together
from ...core.methods import method_of
from ...core.metrics import EPSILON
from ...core.scans import listed
from ..files.save_volume import SaveButton
from ..shared import settings as _settings
from ..shared.form import DataForm, NumberEdit, as_named, asked, faint
from ..shared.grid_panel import GridPanel
from ..shared.guard import on
from ..shared.method_panel import NETWORK, MethodPanel
from ..shared.optics_panel import OpticsPanel
from ..shared.parts import (
    MessageLabel,
    NumberTable,
    Palette,
    add_parts,
    column_of,
    described,
    line_of,
    push_button,
)
from ..shared.plot import PlotPanel, QuietCanvas
from .sources import GROUP, NextScan, SourcePanel
from .work import THUMBNAIL, Bytes, ScanLine

Answered = Callable[[str, float | None], None]
"""Gets the key of the choice, and the height in µm that was typed."""
_LIST_HEIGHT = 116
_PLOT_HEIGHT = 200
_NEXT_WIDTH = 60
_PLANNED = 30.0
_EPSILON_WIDTH = 84


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
        tip = "Height of the scan, in µm"
        self.height_um = described(NumberEdit("z (µm)"), "height of the scan", tip)
        on(self, self.height_um.returnPressed, self._answer_first)
        self.buttons: dict[str, QPushButton] = {}
        self._waiting: deque[_Question] = deque()
        self._unit = QLabel("µm")
        self._line = line_of(self.height_um, self._unit)
        column_of(self, self.label, self._line)
        self.hide()

    def ask(
        self,
        sentence: str,
        choices: Sequence[Choice],
        answered: Answered,
        *,
        wants_height: bool = False,
        about: str = "",
    ) -> None:
        """Ask, once the questions before are answered; a height may be asked for as well."""
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


class SetupPage(QWidget):
    """Optics, grid, method, how the next height is chosen, and where scans come from."""

    def __init__(self) -> None:
        super().__init__()
        self.optics, self.grid, self.method = OpticsPanel(), GridPanel(GROUP), MethodPanel()
        self.next_scan: Any = DataForm(NextScan, group=GROUP)
        self.sources = SourcePanel()
        methods = self.method.method
        for number in reversed(range(methods.count())):
            # A session must go on from the scans before.
            if method_of(str(methods.itemData(number))).kind not in ("network", "lmmse"):
                methods.removeItem(number)
        self.method.set_method(_settings.remembered(GROUP, "method") or NETWORK)
        self.column = column = column_of(self, "Optics", self.optics, margins=(2, 4, 2, 2))
        add_parts(column, "Target planes (µm)", self.grid, "Reconstruction", self.method)
        add_parts(column, self.next_scan.native, "Scans", self.sources)
        column.addStretch(1)

    def session_maker(self, epsilon: float) -> Callable[[], Any]:
        """What makes the session, in a thread as it loads torch; InputError if a field is wrong."""
        method = self.method.method_key()
        optics, grid = together(self.optics.optics, self.grid.grid)
        model, device = self.method.needed(method_of(method))
        options: dict[str, Any] = {
            "optics": optics,
            "method": method,
            "model": model,
            "device": device,
            "epsilon": epsilon,
            "rule": self.next_scan.rule.value,
        }

        def make() -> Any:
            from ...engine.session import Session

            return Session(grid, **options)

        return make

    def lock(self, is_locked: bool) -> None:
        """What a session is made of stays the same in it; where its scans come from may change."""
        for part in (self.optics, self.grid, self.method, self.next_scan.native):
            part.setEnabled(not is_locked)


class ScanList(NumberTable):
    """The scans in the order in which they came: a picture, z, and the change each brought."""

    looked_at = Signal(float)  # the plane at this height in µm is to be seen

    def __init__(self) -> None:
        super().__init__(
            "Scans",
            "Delete removes the selected scan; a double click shows the plane at its height",
            ["z (µm)", "Change", "Scan"],
            THUMBNAIL + 4,
        )
        self.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.only_show()
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setAcceptDrops(False)
        self.setMinimumHeight(_LIST_HEIGHT)
        self.header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        on(self, self.cellDoubleClicked, lambda row: self.looked_at.emit(self._lines[row].z_um))
        self._lines: Sequence[ScanLine] = ()

    def show_lines(self, lines: Sequence[ScanLine]) -> None:
        """Show these scans, the last one in sight."""
        is_more = len(lines) > len(self._lines)
        self._lines = lines
        self.setRowCount(len(lines))
        for row, line in enumerate(lines):
            change, tip = change_in_words(line)
            for column, text in enumerate((f"{line.z_um:.2f}", change, line.name)):
                item = QTableWidgetItem(text)
                item.setToolTip(tip if column == 1 else line.name)
                if column == 0:
                    item.setIcon(QIcon(pixmap(line.thumbnail)))
                self.setItem(row, column, item)
        if is_more:
            self.scrollToBottom()


def change_in_words(line: ScanLine) -> tuple[str, str]:
    """What the list says of the change that a scan brought, and its tooltip."""
    if line.is_first:
        return "first", "The first volume: there is none before it to compare with"
    if line.is_pending:
        return "…", "The volume does not contain this scan yet"
    if not math.isfinite(line.change):
        return "–", "The change is not known: the scan is of an earlier volume"
    percents = f"{100 * line.change:.3g} %"
    if line.together > 1:
        tip = f"{line.together} scans together changed the volume by {percents} of its norm"
        return f"({percents})", tip
    return percents, f"The scan changed the volume by {percents} of its norm"


def pixmap(grey: Bytes) -> QPixmap:
    """A small picture from grey levels, shape (Y, X)."""
    rows, columns = grey.shape
    data = np.ascontiguousarray(grey).tobytes()
    image = QImage(data, columns, rows, columns, QImage.Format.Format_Grayscale8)
    return QPixmap.fromImage(image.copy())


@dataclass(frozen=True)
class Watched:
    """When scanning may stop, and whether the next height is drawn."""

    stored: ClassVar = as_named("epsilon frame")
    epsilon: float = asked(
        "ε",
        "Scanning may stop once a scan changes the volume by no more than this part of it, "
        "and the next one is expected to change no more",
        100 * EPSILON,
        unit="%",
        limits=(0.1, 90.0, 1.0),
    )
    frame: bool = asked(
        "Frame at the suggested height",
        "Draw a frame at the suggested height in the viewer",
        True,
        text="Show frame",
    )


class ScansPage(QWidget):
    """Scans, what is done for the next one, the verdict, and the plots."""

    plan_wanted = Signal(float)  # with the expected error, above 0 and below 1

    def __init__(self, palette: Palette, rows: QWidget) -> None:
        super().__init__()
        self.list = ScanList()
        self.undo = push_button(
            "Undo last", "Take the last scan back; the previous volume returns (Ctrl+Z)"
        )
        self.pause = push_button("Pause", "Take scans without refining them (Ctrl+Space)")
        self.pause.setCheckable(True)
        self.again = push_button("Start again", "End this session, and begin another one")
        self.verdict = MessageLabel(palette)
        self.form: Any = DataForm(Watched, group=GROUP)
        self.epsilon, self.frame = self.form.epsilon.native, self.form.frame.native
        self.epsilon.setMinimumWidth(_EPSILON_WIDTH)
        self.next = QLabel("–")
        self.next.setToolTip("The height where another scan should help most")
        self.go = push_button("Go there", "Show the plane at the suggested height (Ctrl+G)")
        self.canvas = QuietCanvas(palette, "Live session", _PLOT_HEIGHT)
        self.plot = PlotPanel(palette, "Live session", canvas=self.canvas)
        self.renormalise = self.plot.add_tool(
            "Renormalise",
            "Measure the intensity scale again, on all scans; the volume is made anew",
            lambda: None,
        )
        self.plan = self.plot.add_tool(
            "Plan…", "How many scans a wanted error takes, and at which heights", self.ask_for_plan
        )
        self.save = SaveButton("volume")
        self.place = faint()  # of what the network remembers
        self._lay_out(rows)

    def ask_for_plan(self) -> None:
        """Ask which error is wanted, and ask the session for a plan."""
        percents, is_wanted = QInputDialog.getDouble(
            self, "Plan", "Expected error wanted, in % of the contrast:", _PLANNED, 1, 99, 0
        )
        if is_wanted:
            self.plan_wanted.emit(percents / 100)

    def _lay_out(self, rows: QWidget) -> None:
        label = QLabel("Stop at ε")
        label.setBuddy(self.epsilon)
        self.next.setMinimumWidth(_NEXT_WIDTH)  # so that a number makes the dock no wider
        buttons = _line((self.undo, self.pause, self.again), self.frame)
        ahead = _line((label, self.epsilon, QLabel("Next z:"), self.next), self.go)
        column = column_of(self, self.list, buttons, rows, self.verdict, margins=(2, 4, 2, 2))
        add_parts(column, ahead, self.plot, self.save, self.place)
        column.setStretchFactor(self.list, 1)
        column.setStretchFactor(self.plot, 2)


def _line(left: Sequence[QWidget], right: QWidget) -> QHBoxLayout:
    line = line_of(*left)
    line.addStretch(1)
    line.addWidget(right)
    return line


class LivePages(QTabWidget):
    """Both pages, and what is remembered of them."""

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self.setup = SetupPage()
        self.scans = ScansPage(palette, self.setup.sources.rows)
        self.addTab(self.setup, "Set up")
        self.addTab(self.scans, "Scans")
        self.setDocumentMode(True)
        self.tabBar().setDrawBase(False)  # type: ignore[union-attr]  # a line in no theme's colour

    def show_session(self, session: Any) -> None:
        """Show what a session is made of, if it is not what is shown."""
        setup, settings = self.setup, session.settings
        self.scans.epsilon.setValue(100 * settings.epsilon)
        shown = setup.optics.known(), if_possible(setup.grid.grid)
        if shown == (settings.optics, settings.grid):
            return
        setup.optics.set_values(settings.optics.as_dict(), "of the session")
        setup.grid.set_grid(settings.grid)
        setup.method.set_method(settings.method)

    def remember(self) -> None:
        """Keep optics, grid, method, rule, ε and the source for the next session."""
        setup = self.setup
        forms = setup.next_scan, setup.sources.form, self.scans.form
        for part in (setup.optics, setup.grid, *forms):
            part.remember()
        _settings.remember(GROUP, {"method": setup.method.method_key()})
