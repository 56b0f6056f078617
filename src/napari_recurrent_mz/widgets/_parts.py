"""What the docks' forms are made of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QSize, Qt, QTimer
from qtpy.QtWidgets import QFrame, QLabel, QProgressBar, QPushButton, QScrollArea, QWidget

from ._guard import Tells, on, reported
from ._viewer_parts import window_of


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
    """Advance a bar, which is painted when the window next is.

    Left to itself a bar paints at once, and all that waits with it: the canvas too, where napari
    draws in software.
    """
    bar.setUpdatesEnabled(False)
    bar.setRange(0, total)
    bar.setValue(done)
    bar.setFormat(words)
    bar.setUpdatesEnabled(True)


def talk_to_canvas(viewer: Any) -> None:
    """Let OpenGL commands go to the viewer's canvas, if it has a window.

    When a layer goes, napari 0.9 sends what waits for the graphics card, whomever OpenGL talks to
    then: what points and vectors that stay have just been given is lost, and to paint them ends
    the program.
    """
    with contextlib.suppress(AttributeError, RuntimeError):  # no window, or it is gone
        viewer.window._qt_viewer.canvas.native.makeCurrent()


class Dock(QWidget, Tells):
    """What the docks share: the size of their form, the viewer's theme, and their one job."""

    ui: Any
    _viewer: Any

    def viewer_gone(self) -> None:
        """Stop what works in threads for a viewer whose window is gone."""
        stop_run(self.__dict__)

    def one_shot(self, milliseconds: int, slot: Callable[[], object]) -> QTimer:
        """A timer that, once started, calls ``slot`` after a while; starting again puts it off."""
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        on(self, timer.timeout, slot)
        return timer

    def say(self, sentence: str, kind: str = "hint") -> None:
        """Answer to what the user did last."""
        self.ui.footer.say(sentence, kind)

    def check(self) -> None:
        """Say what is missing or what to mind, and enable the buttons; never raises."""
        try:
            self._check()
        except Exception as error:
            self.not_ready(reported(error))

    def _check(self) -> None:
        """What :meth:`check` does; what it raises is why the buttons cannot be pressed."""

    def not_ready(self, why_not: str) -> None:
        """Disable the buttons, and say why."""
        self.ui.footer.ready(why_not)

    def failed(self, sentence: str) -> None:
        """Say that something could not be done, and what holds true now."""
        self.say(sentence, "error")
        self.check()

    def _layer_goes(self, _event: Any = None) -> None:
        """See that the canvas survives it; to be connected to ``layers.events.removing``."""
        talk_to_canvas(self._viewer)

    def _theme_changed(self, _event: Any = None) -> None:
        self.ui.restyle(self._viewer.theme)

    def sizeHint(self) -> QSize:  # noqa: N802
        """The natural size of the form with its footer."""
        size: QSize = self.ui.sizeHint()
        return size

    def event(self, event: QEvent | None) -> bool:
        """Stop a running job when the dock is closed for good."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            stop_run(self.__dict__)
        return bool(super().event(event))


class WhenGone:
    """Calls ``stop`` with a dock's attributes when Qt deletes it.

    A dock outside of its viewer's window outlives that: it is told by :meth:`Dock.viewer_gone`.

    Not a function: the garbage collector may empty what goes together with a dock before, and a
    function without its defaults raises.
    """

    def __init__(self, dock: Dock, stop: Callable[[dict[str, Any]], None]) -> None:
        self._box, self._stop = dock.__dict__, stop
        dock.destroyed.connect(self)
        window = window_of(dock._viewer)
        if window is not None:
            window.destroyed.connect(dock.viewer_gone)

    def __call__(self, *_: object) -> None:
        """Stop, unless all is gone."""
        stop = self.__dict__.get("_stop")
        if stop is not None:
            stop(self._box)


def stop_run(box: dict[str, Any]) -> None:
    """Cancel the job in a dock's attributes, if there is one; the dock itself may be gone."""
    run = box.get("run")
    if run is not None:
        run.cancel()
