"""How the Reconstruct dock looks: its parts from top to bottom, footer always in sight."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QKeySequence, QShortcut, QShowEvent  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from ._grid_panel import GridPanel, in_words
from ._layer_size import SizeButton
from ._method_panel import MethodPanel
from ._parts import heading, push_button, scrolling, show_progress
from ._result_panel import ResultPanel
from ._save_volume import SaveButton
from ._scan_source import ScanParts
from ._theme import MessageLabel, Palette, tinted

_WIDTH = 340
_SCROLL_BAR = 14


class Footer(QWidget):
    """Status, warnings, messages, progress and the three buttons."""

    def __init__(self, palette: Palette, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = MessageLabel(palette)
        self.warnings = MessageLabel(palette)
        self.message = MessageLabel(palette)
        self.bar = QProgressBar()
        self.bar.setAccessibleName("Progress")
        self.bar.setToolTip("Planes that are done, and the time left")
        self.bar.hide()
        self.preview = push_button("Preview", "Linear MMSE estimate, in about two seconds (Ctrl+P)")
        self.reconstruct = push_button(
            "Reconstruct", "Make the volume as a new layer, the plane in view first (Ctrl+Return)"
        )
        self.cancel = push_button("Cancel", "Stop; the planes that are finished stay (Esc)")
        self.cancel.setEnabled(False)
        self._tips = {b: b.toolTip() for b in (self.preview, self.reconstruct)}
        self._title = ""
        self._lay_out()

    def status(self, sentence: str, kind: str) -> None:
        """What the dock needs now; empty when nothing."""
        self.state.say(sentence, kind)

    def say(self, sentence: str, kind: str) -> None:
        """The answer to what the user did last."""
        self.message.say(sentence, kind)

    def warn(self, sentences: list[str]) -> None:
        """What to mind, one line each."""
        self.warnings.say("\n".join(f"⚠ {sentence}" for sentence in sentences), "warning")

    def ready(self, possible: bool, why_not: str) -> None:
        """Enable the buttons, or let them say why they cannot be pressed."""
        for button, tip in self._tips.items():
            button.setEnabled(possible)
            button.setToolTip(tip if possible else why_not)

    def begin(self, planes: int, title: str, first: str = "starting…") -> None:
        """Show an empty bar; ``first`` says what comes before the first plane."""
        self._title = title
        self.status("", "hint")
        self.say("", "hint")
        show_progress(self.bar, 0, planes, f"{title}: {first}")
        self.bar.show()

    def retitle(self, title: str) -> None:
        """The method at work has another name from now on."""
        self._title = title

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        """Advance the bar."""
        left = "" if seconds_left is None else f" · {in_words(seconds_left)} left"
        show_progress(self.bar, done, total, f"{self._title}: plane {done} of {total}{left}")

    def cancelling(self) -> None:
        """The wish to stop was heard."""
        self.cancel.setEnabled(False)
        self.bar.setFormat("Stopping after this plane…")

    def running(self, is_running: bool) -> None:
        """Swap the buttons."""
        self.cancel.setEnabled(is_running)
        for button in self._tips:
            button.setEnabled(not is_running)
        self.bar.setVisible(is_running)

    def restyle(self) -> None:
        """Take the theme's colours again."""
        for label in (self.state, self.warnings, self.message):
            label.restyle()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.setSpacing(4)
        for widget in (self.state, self.warnings, self.message, self.bar):
            column.addWidget(widget)
        line = QHBoxLayout()
        for button in (self.preview, self.reconstruct, self.cancel):
            line.addWidget(button)
        line.setStretch(1, 2)
        line.setStretch(0, 1)
        line.setStretch(2, 1)
        column.addLayout(line)


class DockLayout(QWidget):
    """The dock's parts, with short names that the dock's logic uses."""

    def __init__(self, dock: QWidget, viewer: Any) -> None:
        super().__init__(dock)
        self.palette_ = Palette(viewer.theme)
        self.scan_parts = parts = ScanParts(self.palette_)
        self.table, self.stack, self.optics = parts.table, parts.stack, parts.optics
        self.add_button, self.planes_button = parts.add_button, parts.planes_button
        self.remove_button = parts.remove_button
        self.grid = GridPanel()
        self.method = MethodPanel()
        self.result = ResultPanel()
        self.save = SaveButton("volume")
        self.give_size = SizeButton(viewer)
        self.footer = Footer(self.palette_)
        self._lay_out()
        self._shortcuts(dock)
        self._tab_order()
        self.restyle(viewer.theme)

    def set_running(self, is_running: bool) -> None:
        """Lock what a running job was made from."""
        self.footer.running(is_running)
        parts: list[QWidget] = [self.table, self.stack, self.optics, self.grid, self.method]
        parts += [self.result, self.give_size]
        for part in parts:
            part.setEnabled(not is_running)
        for button in self.scan_parts.buttons:
            button.setEnabled(not is_running)

    def restyle(self, theme: str) -> None:
        """Follow the viewer's theme."""
        self.palette_.use(theme)
        self.footer.restyle()
        self._form.setStyleSheet(
            f'QLabel[faint="true"] {{ color: {tinted(self.palette_.faint)}; }}'
        )
        port = self.table.viewport()
        if port is not None:
            port.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Natural size: the whole form, and the footer under it."""
        inner = self._form.sizeHint().height() + self.footer.sizeHint().height()
        return QSize(self.minimumWidth(), inner + 12)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Ask for the width that the theme's fonts need, known once the style is applied."""
        super().showEvent(event)
        self._fit()

    def _fit(self) -> None:
        needed = self._form.minimumSizeHint().width() + _SCROLL_BAR
        self.setMinimumWidth(max(_WIDTH, needed))

    def _lay_out(self) -> None:
        self._form = QWidget()
        form = QVBoxLayout(self._form)
        form.setContentsMargins(6, 4, 6, 4)
        form.setSpacing(4)
        form.addWidget(heading("Scans"))
        form.addLayout(self.scan_parts.laid_out())
        form.addWidget(self.give_size)
        for title, part in (
            ("Optics", self.optics),
            ("Target planes (µm)", self.grid),
            ("Reconstruction", self.method),
        ):
            form.addWidget(heading(title))
            form.addWidget(part)
        form.addWidget(self.result)
        form.addWidget(self.save)
        form.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(scrolling(self._form), 1)
        foot = QVBoxLayout()
        foot.setContentsMargins(6, 0, 6, 6)
        foot.addWidget(self.footer)
        column.addLayout(foot)
        self._fit()

    def _shortcuts(self, dock: QWidget) -> None:
        scope = Qt.ShortcutContext.WidgetWithChildrenShortcut
        for keys, button in (
            ("Ctrl+Return", self.footer.reconstruct),
            ("Ctrl+Enter", self.footer.reconstruct),
            ("Ctrl+P", self.footer.preview),
            ("Esc", self.footer.cancel),
        ):
            shortcut = QShortcut(QKeySequence(keys), dock)
            shortcut.setContext(scope)
            shortcut.activated.connect(button.click)

    def _tab_order(self) -> None:
        order = [
            *self.scan_parts.tab_order,
            *(self.grid.start, self.grid.stop, self.grid.step),
            *(self.grid.auto, *self.method.tab_order),
            *(self.result.on_disk, self.result.choose, self.save.button),
            *(self.footer.preview, self.footer.reconstruct, self.footer.cancel),
        ]
        for before, after in pairwise(order):
            QWidget.setTabOrder(before, after)
