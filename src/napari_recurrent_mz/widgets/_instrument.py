"""What the instruments' docks share: a scrolling form, a footer, and one job in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QKeySequence, QShortcut, QShowEvent  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLayout,
    QProgressBar,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ..progress import Progress as Progress
from ..scans import InputError
from . import _settings
from ._grid_panel import in_words
from ._guard import on, sentence_of, telling
from ._parts import Dock, WhenGone, heading, push_button, scrolling, show_progress, stop_run
from ._theme import MessageLabel, Palette, tinted
from ._worker import Outcome, ThreadRun, time_left

_WIDTH = 340
_SCROLL_BAR = 14


@dataclass(frozen=True, eq=False)
class Result:
    """What a job found: the last that it yields."""

    value: Any


def relayed(steps: Generator[tuple[int, int, str], None, Any]) -> Generator[Progress, None, Any]:
    """Yield the steps of work that knows nothing of docks; return what it returns."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        yield Progress(*step)


class Task(ThreadRun):
    """A generator in a thread: it yields :class:`Progress`, and at last a :class:`Result`."""

    progress = Signal(object)

    def __init__(self, function: Callable[..., Iterator[object]], *args: Any) -> None:
        super().__init__()
        self._function, self._args = function, args
        self.found: Result | None = None

    def start(self) -> None:
        """Begin."""
        self._launch(_work, self._function, self._args)

    def _arrived(self, item: object) -> None:
        if isinstance(item, Result):
            self.found = item
        elif not self.is_cancelled:
            self.progress.emit(item)


def _work(
    function: Callable[..., Iterator[object]], args: tuple[Any, ...], stop: threading.Event
) -> Iterator[object]:
    """Yield what ``function`` yields, and the outcome; raises nothing."""
    began = time.monotonic()
    try:
        for item in function(*args, stop=stop):
            yield item
            if stop.is_set() and not isinstance(item, Result):
                yield Outcome("cancelled")
                return
        yield Outcome("done", seconds=time.monotonic() - began)
    except Exception as error:
        yield Outcome("failed", sentence_of(error))


class InstrumentFooter(QWidget):
    """Status, message, progress and the two buttons.

    Parameters
    ----------
    palette : Palette
    action, tooltip : str
        What the main button says and does; an empty action leaves the buttons out.
    """

    def __init__(
        self, palette: Palette, action: str, tooltip: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.state = MessageLabel(palette)
        self.message = MessageLabel(palette)
        self.bar = QProgressBar()
        self.bar.setAccessibleName("Progress")
        self.bar.setToolTip("How much is done, and the time left")
        self.bar.hide()
        self._tip = f"{tooltip} (Ctrl+Return)"
        self.action = push_button(action, self._tip)
        self.cancel = push_button("Cancel", "Stop; nothing is changed (Esc)")
        self.cancel.setEnabled(False)
        self._title = ""
        self._began = self._first = 0.0
        self._column = column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.setSpacing(4)
        for widget in (self.state, self.message, self.bar):
            column.addWidget(widget)
        line = QHBoxLayout()
        line.addWidget(self.action, 2)
        line.addWidget(self.cancel, 1)
        column.addLayout(line)
        if not action:
            self.action.hide()
            self.cancel.hide()

    def add_on_top(self, widget: QWidget) -> None:
        """Put something over the status, in sight whatever the form shows."""
        self._column.insertWidget(0, widget)

    def say(self, sentence: str, kind: str = "hint") -> None:
        """The answer to what the user did last."""
        self.message.say(sentence, kind)

    def name_action(self, action: str, tooltip: str) -> None:
        """The main button says and does something else from now on."""
        self._tip = f"{tooltip} (Ctrl+Return)"
        self.action.setText(action)
        self.action.setAccessibleName(action)
        self.action.setToolTip(self._tip)

    def name_cancel(self, text: str, tooltip: str) -> None:
        """The other button ends a job in another way than to leave all as it was."""
        self.cancel.setText(text)
        self.cancel.setAccessibleName(text)
        self.cancel.setToolTip(tooltip)

    def ready(self, why_not: str, kind: str = "error") -> None:
        """Enable the main button, or let it say why it cannot be pressed."""
        self.action.setEnabled(not why_not)
        self.action.setToolTip(why_not or self._tip)
        self.state.say(why_not, kind)

    def begin(self, title: str, *, aside: bool = False) -> None:
        """Show a bar that only says that something happens.

        ``aside`` leaves messages and buttons as they are: other things go on meanwhile.
        """
        self._title, self._began, self._first = title, time.monotonic(), 0.0
        show_progress(self.bar, 0, 0, f"{title}…")
        self.bar.show()
        if aside:
            return
        self.state.say("")
        self.message.say("")
        self.action.setEnabled(False)
        self.cancel.setEnabled(True)

    def progress(
        self, done: int, total: int, words: str = "", seconds_left: float | None = None
    ) -> None:
        """Advance the bar; a total of 0 only says that something happens.

        The time left is estimated from the pace, unless whoever works knows better.
        """
        words = words or self._title
        if total == 0:
            show_progress(self.bar, 0, 0, f"{words}…")
            return
        elapsed = time.monotonic() - self._began
        if done == 1:
            self._first = elapsed
        if seconds_left is None:
            seconds_left = time_left(elapsed, self._first, done, total)
        left = "" if seconds_left is None else f" · {in_words(seconds_left)} left"
        show_progress(self.bar, done, total, f"{words}: {done} of {total}{left}")

    def cancelling(self) -> None:
        """The wish to stop was heard."""
        self.cancel.setEnabled(False)
        self.bar.setFormat("Stopping…")

    def ended(self) -> None:
        """Take the bar away."""
        self.bar.hide()
        self.action.setEnabled(True)
        self.cancel.setEnabled(False)

    def restyle(self) -> None:
        """Take the theme's colours again."""
        for label in (self.state, self.message):
            label.restyle()


class Form(QWidget):
    """A scrolling form over a footer that stays in sight."""

    def __init__(self, footer: InstrumentFooter, palette: Palette) -> None:
        super().__init__()
        self._palette, self._footer = palette, footer
        self._inner = QWidget()
        self.rows = QVBoxLayout(self._inner)
        self.rows.setContentsMargins(6, 4, 6, 4)
        self.rows.setSpacing(4)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(scrolling(self._inner), 1)
        foot = QVBoxLayout()
        foot.setContentsMargins(6, 0, 6, 6)
        foot.addWidget(footer)
        column.addLayout(foot)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Natural size: the whole form, and the footer under it."""
        high = self._inner.sizeHint().height() + self._footer.sizeHint().height()
        return QSize(self.minimumWidth(), high + 12)

    def restyle(self, theme: str) -> None:
        """Follow the viewer's theme."""
        self._palette.use(theme)
        self._footer.restyle()
        self._inner.setStyleSheet(
            f'QLabel[faint="true"] {{ color: {tinted(self._palette.faint)}; }}'
        )

    def fit(self) -> None:
        """Take the width that the theme's fonts need, known once the style is applied."""
        needed = self._inner.minimumSizeHint().width() + _SCROLL_BAR
        self.setMinimumWidth(max(_WIDTH, needed))

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Ask for the width that the form needs."""
        super().showEvent(event)
        self.fit()


class InstrumentDock(Dock):
    """A dock with a form, a footer, and one job at a time in a thread.

    A subclass adds its parts to :attr:`form`, restyles its plots in :meth:`restyle_plots`,
    says in :meth:`act` what the main button does, and calls :meth:`start` with a generator.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    action, tooltip : str, optional
        The main button; none without.
    """

    ended = Signal(object)
    """Emitted with the outcome when a job has ended."""

    def __init__(self, napari_viewer: Any, action: str = "", tooltip: str = "") -> None:
        super().__init__()
        # napari hands plugins a proxy, whose layers are proxies too and equal to nothing.
        viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._viewer = viewer
        self.palette_ = Palette(viewer.theme)
        self.footer = InstrumentFooter(self.palette_, action, tooltip)
        self.ui = Form(self.footer, self.palette_)
        self.form = self.ui.rows
        self.run: Task | None = None
        self._count = 0
        self._then: Callable[[Any], None] | None = None
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.ui)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        on(self, viewer.layers.events.removing, self._layer_goes)
        on(self, self.footer.action.clicked, self.act)
        on(self, self.footer.cancel.clicked, self.cancel)
        self.shortcut("Ctrl+Return", self.footer.action.click)
        self.shortcut("Ctrl+Enter", self.footer.action.click)
        self.shortcut("Esc", self.footer.cancel.click)
        on(self, viewer.events.theme, self._theme_changed)
        WhenGone(self, stop_run)
        self.ui.restyle(viewer.theme)

    # for subclasses -------------------------------------------------------------------
    def act(self) -> None:
        """What the main button does."""

    def say(self, sentence: str, kind: str = "hint") -> None:
        """Answer to what the user did last."""
        self.footer.say(sentence, kind)

    def not_ready(self, why_not: str) -> None:
        """Disable the main button, and say why."""
        self.footer.ready(why_not)

    def restyle_plots(self) -> None:
        """Draw plots again in the theme's colours."""

    def add_section(self, title: str, part: QWidget | QLayout, stretch: int = 0) -> None:
        """Add a heading and what belongs under it to the form; an empty title adds no heading."""
        if title:
            self.form.addWidget(heading(title))
        if isinstance(part, QLayout):
            self.form.addLayout(part, stretch)
        else:
            self.form.addWidget(part, stretch)

    def shortcut(self, keys: str, slot: Callable[[], object]) -> None:
        """A key that works while the dock has the keyboard."""
        made = QShortcut(QKeySequence(keys), self)
        made.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        on(self, made.activated, slot)

    def start(
        self,
        function: Callable[..., Iterator[object]],
        *args: Any,
        then: Callable[[Any], None],
        title: str = "Working",
    ) -> None:
        """Run a generator in a thread; a job that still runs is stopped first.

        Parameters
        ----------
        function : callable
            ``function(*args, stop=threading.Event)`` yields :class:`Progress` and at last a
            :class:`Result`.
        *args
            Given to ``function``: nothing that belongs to napari.
        then : callable
            Gets the result's value, in the GUI thread; not called when cancelled.
        title : str, optional
            What the bar says.
        """
        stop_run(self.__dict__)
        self.run, self._then = Task(function, *args), then
        self._count = number = self._count + 1
        on(self, self.run.progress, lambda item: self._progressed(number, item))
        on(self, self.run.ended, lambda outcome: self._task_ended(number, outcome))
        self.footer.begin(title)
        self.run.start()

    def cancel(self) -> None:
        """Stop the job as soon as it looks up."""
        if self.run is not None:
            self.run.cancel()
            self.footer.cancelling()

    def remember(self, group: str, values: dict[str, str]) -> None:
        """Keep settings for the next run (:func:`_settings.remembered` gives them back)."""
        _settings.remember(group, values)

    def save_file(self, write: Callable[[], Path]) -> None:
        """Write a file; the footer says how it went."""
        try:
            written = write()
        except InputError as error:
            self.footer.say(str(error), "error")
            return
        self.footer.say(f"Saved “{written.name}”.", "done")

    # wiring ---------------------------------------------------------------------------
    def _progressed(self, number: int, item: object) -> None:
        if number == self._count and self.run is not None and isinstance(item, Progress):
            self.footer.progress(item.done, item.total, item.words)

    def _task_ended(self, number: int, outcome: Outcome) -> None:
        task = self.run
        if number != self._count or task is None:
            return  # it was dropped, or another one was started in the meantime
        self.run = None
        then, self._then = self._then, None  # it may hold the pixels of layers
        self.footer.ended()
        if task.is_cancelled or outcome.state == "cancelled":
            self.footer.say("Stopped: nothing was changed.", "hint")
        elif outcome.state == "failed" or task.found is None:
            self.footer.say(outcome.sentence, "error")
        elif then is not None:
            with telling(self):
                then(task.found.value)
        self.ended.emit(outcome)

    def _theme_changed(self, event: Any = None) -> None:
        super()._theme_changed(event)
        self.restyle_plots()
