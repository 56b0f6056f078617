"""How the Live dock looks: what a session is started with on one page, its scans on the other."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QIcon, QImage, QKeyEvent, QPixmap, QShowEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ...core.methods import method_of
from ...core.metrics import EPSILON
from ...core.scans import InputError, default_grid
from ..files.save_volume import SaveButton
from ..shared import settings as _settings
from ..shared.grid_panel import GridPanel
from ..shared.guard import on
from ..shared.method_panel import NETWORK, MethodPanel
from ..shared.optics_panel import OpticsPanel
from ..shared.parts import heading, push_button
from ..shared.plot import PlotPanel
from ..shared.quiet_plot import QuietCanvas
from ..shared.theme import MessageLabel, Palette
from .messages import Bytes, MakePlan, ScanLine
from .sources import GROUP, SourcePanel
from .work import THUMBNAIL

_RULES = (
    ("expected-error", "where the expected error falls most"),
    ("largest-gap", "in the widest gap"),
    ("spread", "where the scans disagree most"),
)
_LIST_HEIGHT = 116
_PLOT_HEIGHT = 200
_NEXT_WIDTH = 60
_PLANNED = 30.0
_EPSILON_WIDTH = 84
_TURN_MS = 20
_KEPT = ("start", "stop", "step", "method", "rule", "epsilon", "frame")


class SetupPage(QWidget):
    """Optics, grid, method, how the next height is chosen, and where scans come from."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.optics, self.grid, self.method = OpticsPanel(), GridPanel(), MethodPanel()
        self.sources = SourcePanel()
        for number in reversed(range(self.method.method.count())):
            if not is_live(str(self.method.method.itemData(number))):
                self.method.method.removeItem(number)
        self.rule = QComboBox()
        self.rule.setAccessibleName("Next scan")
        self.rule.setToolTip("How the height of the next scan is suggested")
        self.rule.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        for key, words in _RULES:
            self.rule.addItem(words, key)
        label = QLabel("Next scan")
        label.setBuddy(self.rule)
        line = QHBoxLayout()
        line.addWidget(label)
        line.addWidget(self.rule, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(2, 4, 2, 2)
        column.setSpacing(4)
        for title, part in (
            ("Optics", self.optics),
            ("Target planes (µm)", self.grid),
            ("Reconstruction", self.method),
        ):
            column.addWidget(heading(title))
            column.addWidget(part)
        column.addLayout(line)
        column.addWidget(heading("Scans"))
        column.addWidget(self.sources)
        column.addStretch(1)

    def session_maker(self, epsilon: float) -> Callable[[], Any]:
        """What makes the session; for a thread, because it loads torch and the network.

        Parameters
        ----------
        epsilon : float
            Change at or below which scanning may stop.

        Raises
        ------
        InputError
            If optics or grid are missing or make no sense.
        """
        method, grid = self.method, self.grid.grid()
        options: dict[str, Any] = {
            "optics": self.optics.optics(),
            "method": method.method_key(),
            "model": method.model_name() if method.models.isEnabled() else None,
            "device": method.device_choice(),
            "epsilon": epsilon,
            "rule": str(self.rule.currentData()),
        }

        def make() -> Any:
            from ...engine.session import Session

            return Session(grid, **options)

        return make

    def lock(self, is_locked: bool) -> None:
        """What a session is made of stays the same in it; where its scans come from may change."""
        for part in (self.optics, self.grid, self.method, self.rule):
            part.setEnabled(not is_locked)

    def is_incomplete(self) -> bool:
        """Whether a field is only empty, which is no mistake."""
        fields = (self.grid.start, self.grid.stop, self.grid.step)
        return self.optics.is_incomplete() or any(not edit.text().strip() for edit in fields)

    def propose_grid(self, limits_um: tuple[float, float]) -> None:
        """A grid of all that a stage reaches, in steps of half a depth of field.

        What a person has typed stays.

        Raises
        ------
        InputError
            If the optics are not known, or the stage reaches too far.
        """
        if not any(edit.text() for edit in (self.grid.start, self.grid.stop)):
            self.grid.set_grid(default_grid(limits_um, self.optics.optics().depth_of_field_um))


def is_live(method: str) -> bool:
    """Whether a session can use a method: it must go on from the scans before."""
    return method_of(method).kind in ("network", "lmmse")


class ScanList(QTableWidget):
    """The scans in the order in which they came: a picture, z, and the change each brought."""

    removed = Signal(int)
    """A person wants this scan gone."""
    looked_at = Signal(float)
    """A person wants to see the plane at this height, in micrometres."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 3, parent)
        self.setAccessibleName("Scans")
        self.setToolTip(
            "Delete lets the selected scan go; a double click shows the plane at its height"
        )
        self.setHorizontalHeaderLabels(["z (µm)", "change", "scan"])
        self.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setAcceptDrops(False)
        self.setMinimumHeight(_LIST_HEIGHT)
        self.setTabKeyNavigation(False)
        upright, across = self.verticalHeader(), self.horizontalHeader()
        if upright is not None and across is not None:
            upright.hide()
            upright.setDefaultSectionSize(THUMBNAIL + 4)
            across.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            across.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        on(self, self.cellDoubleClicked, self._double_clicked)
        self._lines: Sequence[ScanLine] = ()

    def show_lines(self, lines: Sequence[ScanLine]) -> None:
        """Show these scans, the last one in sight."""
        is_more = len(lines) > len(self._lines)
        self._lines = lines
        self.setRowCount(len(lines))
        for row, line in enumerate(lines):
            told, tip = change_in_words(line)
            for column, text in enumerate((f"{line.z_um:.2f}", told, line.name)):
                item = QTableWidgetItem(text)
                item.setToolTip(tip if column == 1 else line.name)
                if column == 0:
                    item.setIcon(QIcon(pixmap(line.thumbnail)))
                self.setItem(row, column, item)
        if is_more:
            self.scrollToBottom()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Delete lets the selected scan go."""
        keys = (Qt.Key.Key_Delete, Qt.Key.Key_Backspace)
        if event is not None and event.key() in keys and self.currentRow() >= 0:
            self.removed.emit(self.currentRow())
            return
        super().keyPressEvent(event)

    def _double_clicked(self, row: int, _column: int) -> None:
        self.looked_at.emit(self._lines[row].z_um)


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


class ScansPage(QWidget):
    """Scans, what is done for the next one, the verdict, and the plots."""

    plan_wanted = Signal(object)
    """With what the session is asked for a plan."""

    def __init__(self, palette: Palette, rows: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = rows
        self.list = ScanList()
        self.undo = push_button(
            "Undo last", "Take the last scan back; the volume before returns (Ctrl+Z)"
        )
        self.pause = push_button("Pause", "Refine no further, until it is released (Ctrl+Space)")
        self.pause.setCheckable(True)
        self.again = push_button("Start again", "End this session, and begin another one")
        self.verdict = MessageLabel(palette)
        self.epsilon = QDoubleSpinBox()
        self.epsilon.setAccessibleName("ε")
        self.epsilon.setToolTip(
            "Scanning may stop once a scan changes the volume by no more than this part of it, "
            "and the next one is expected to change no more"
        )
        self.epsilon.setRange(0.1, 90.0)
        self.epsilon.setDecimals(1)
        self.epsilon.setSuffix(" %")
        self.epsilon.setMinimumWidth(_EPSILON_WIDTH)
        self.next = QLabel("–")
        self.next.setToolTip("The height where another scan should help most")
        self.go = push_button("Go there", "Show the plane at the suggested height (Ctrl+G)")
        self.frame = QCheckBox("Frame")
        self.frame.setAccessibleName("Frame at the suggested height")
        self.frame.setToolTip("Draw a frame at the suggested height in the viewer")
        self.frame.setChecked(True)
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
        self.place = QLabel()
        self.place.setProperty("faint", True)
        self.place.setWordWrap(True)
        self._lay_out()

    def ask_for_plan(self) -> None:
        """Ask which error is wanted, and ask the session for a plan."""
        percents, is_wanted = QInputDialog.getDouble(
            self, "Plan", "Expected error wanted, in % of the contrast:", _PLANNED, 1, 99, 0
        )
        if is_wanted:
            self.plan_wanted.emit(MakePlan(percents / 100))

    def say_place(self, sentence: str) -> None:
        """Say where what the network remembers is."""
        self.place.setText(sentence)
        self.place.setVisible(bool(sentence))

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        for button in (self.undo, self.pause, self.again):
            buttons.addWidget(button)
        buttons.addStretch(1)
        buttons.addWidget(self.frame)
        label = QLabel("Stop at ε")
        label.setBuddy(self.epsilon)
        ahead = QHBoxLayout()
        self.next.setMinimumWidth(_NEXT_WIDTH)  # so that a number makes the dock no wider
        for part in (label, self.epsilon, QLabel("Next z:"), self.next):
            ahead.addWidget(part)
        ahead.addStretch(1)
        ahead.addWidget(self.go)
        column = QVBoxLayout(self)
        column.setContentsMargins(2, 4, 2, 2)
        column.setSpacing(4)
        column.addWidget(self.list, 1)
        column.addLayout(buttons)
        column.addWidget(self.rows)
        column.addWidget(self.verdict)
        column.addLayout(ahead)
        column.addWidget(self.plot, 2)
        column.addWidget(self.save)
        column.addWidget(self.place)


class Room(QWidget):
    """The place of a page that is still to come; it is as large as the page will be."""

    def __init__(self, page: QWidget) -> None:
        super().__init__()
        self.page = page
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    @property
    def is_empty(self) -> bool:
        """Whether the page is still to come."""
        return self._column.count() == 0

    def fill(self) -> None:
        """Let the page come."""
        if self.is_empty:
            self._column.addWidget(self.page)
            self.updateGeometry()

    def sizeHint(self) -> QSize:  # noqa: N802
        """The page's."""
        return self.page.sizeHint()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """The page's."""
        return self.page.minimumSizeHint()


class LivePages(QTabWidget):
    """Both pages, and what is remembered of them.

    They come into the window one by one, after it has shown the rest of the dock: to take in all
    of their parts at once, napari's window stands still for a tenth of a second.
    """

    filled = Signal()
    """A page has come into the window."""

    def __init__(self, palette: Palette, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setup = SetupPage()
        self.scans = ScansPage(palette, self.setup.sources.rows)
        self._rooms = tuple(Room(page) for page in (self.setup, self.scans))
        for room, name in zip(self._rooms, ("Set up", "Scans"), strict=True):
            self.addTab(room, name)
        self.setDocumentMode(True)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_TURN_MS)
        on(self, self._soon.timeout, self._fill_next)

    def show_page(self, page: QWidget) -> None:
        """Bring one of the two pages to the front."""
        for room in self._rooms:
            if room.page is page:
                room.fill()
                self.setCurrentWidget(room)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Let the pages come soon."""
        super().showEvent(event)
        self._soon.start()

    def _fill_next(self) -> None:
        empty = [room for room in self._rooms if room.is_empty]
        for room in empty[:1]:
            room.fill()
            self.filled.emit()
            self._soon.start()

    def show_session(self, session: Any) -> None:
        """Show what a session is made of, if it is not what is shown."""
        setup, settings = self.setup, session.settings
        self.scans.epsilon.setValue(100 * settings.epsilon)
        with contextlib.suppress(InputError):
            if (setup.optics.optics(), setup.grid.grid()) == (settings.optics, settings.grid):
                return
        setup.optics.set_values(settings.optics.as_dict(), "of the session")
        setup.grid.set_grid(settings.grid)
        setup.method.set_method(settings.method)

    def remember(self) -> None:
        """Keep optics, grid, method, rule, ε and source for the next session."""
        setup, grid = self.setup, self.setup.grid
        setup.optics.remember()
        values = (
            grid.start.text(), grid.stop.text(), grid.step.text(), setup.method.method_key(),
            str(setup.rule.currentData()), f"{self.scans.epsilon.value():g}",
            str(int(self.scans.frame.isChecked())),
        )  # fmt: skip
        _settings.remember(GROUP, dict(zip(_KEPT, values, strict=True)))
        setup.sources.remember()

    def restore(self) -> None:
        """Take what was remembered, and the defaults where nothing is."""
        found = _settings.remembered(GROUP, _KEPT)
        grid = self.setup.grid
        for name, edit in (("start", grid.start), ("stop", grid.stop), ("step", grid.step)):
            edit.setText(found.get(name, ""))
            edit.set_value(edit.value())
        self.setup.method.set_method(found.get("method", NETWORK))
        rule = self.setup.rule
        rule.setCurrentIndex(max(rule.findData(found.get("rule", "")), 0))
        self.scans.epsilon.setValue(100 * EPSILON)
        with contextlib.suppress(ValueError):
            self.scans.epsilon.setValue(float(found.get("epsilon", "")))
        self.scans.frame.setChecked(found.get("frame", "1") == "1")
