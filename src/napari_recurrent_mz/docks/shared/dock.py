"""What all docks stand on: a scrolling form, a footer, and one job at a time in a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QEvent, QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import (  # type: ignore[attr-defined]
    QColor,
    QCursor,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QEnterEvent,
    QKeySequence,
    QShortcut,
    QShowEvent,
)
from qtpy.QtWidgets import (
    QDockWidget,
    QSizePolicy,
    QTabBar,
    QWidget,
)

from ...core.progress import Step
from ...core.scans import InputError
from .drop import doubts_about, dropped_paths, said_of
from .file_layers import Mislabelled, Opened, open_files
from .file_names import remember_folder
from .footer import InstrumentFooter, keep_keyboard
from .form import NumberEdit, tab_in_order
from .guard import Tells, on, one_shot, reported, telling
from .insides import is_open, talk_to_canvas, unwrapped, window_of
from .layer_choice import LayerChoice
from .layers import first_channels
from .optics_panel import OpticsPanel
from .parts import (
    Palette,
    Part,
    add_parts,
    column_of,
    scrolling,
)
from .splits import Splits
from .worker import Outcome, Run, Work, in_background

_WIDTH = 340
_SCROLL_BAR = 14
_CHECK_MS = 100
_LOOK_AGAIN_MS = 200


class Form(QWidget):
    """A scrolling form over a footer that stays in sight."""

    def __init__(self, footer: InstrumentFooter, palette: Palette, _viewer: Any = None) -> None:
        super().__init__()
        self._palette, self._footer = palette, footer
        self._inner = QWidget()
        self.rows = column_of(self._inner, margins=(6, 4, 6, 4))
        column = column_of(self)
        column.setSpacing(0)
        column.addWidget(scrolling(self._inner), 1)
        column.addWidget(footer)
        self._left_timer = one_shot(self, _LOOK_AGAIN_MS, self._left)
        self.restyle()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Natural size: the whole form, and the footer under it."""
        high = self._inner.sizeHint().height() + self._footer.sizeHint().height()
        return QSize(self.minimumWidth(), high + 6)

    def restyle(self) -> None:
        faint = self._palette.faint.name(QColor.NameFormat.HexArgb)
        marked = self._palette.mark(error=False).name(QColor.NameFormat.HexArgb)
        self._inner.setStyleSheet(
            f'QLabel[faint="true"] {{ color: {faint}; }}'
            f'NumberEdit[old="true"] {{ background: {marked}; }}'
        )

    def fit(self) -> None:
        """Take the width that the theme's fonts need, known once the style is applied."""
        needed = self._inner.minimumSizeHint().width() + _SCROLL_BAR
        self.setMinimumWidth(max(_WIDTH, needed))
        tab_in_order(self)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        super().showEvent(event)
        self.fit()

    def enterEvent(self, event: QEnterEvent | None) -> None:  # noqa: N802
        super().enterEvent(event)
        self._left_timer.stop()
        self._footer.hold_height(is_held=True)

    def leaveEvent(self, event: QEvent | None) -> None:  # noqa: N802
        super().leaveEvent(event)
        self._left()

    def _left(self) -> None:
        """Let the footer shrink once the mouse is elsewhere, and not on a menu or dialog on top."""
        if self.isVisible() and self.rect().contains(self.mapFromGlobal(QCursor.pos())):
            self._left_timer.start()
        else:
            self._footer.hold_height(is_held=False)


class _Kept(type(QWidget)):  # type: ignore[misc]
    """Gives a dock that was closed back to the menu that opens it, with all that was typed."""

    # A metaclass: ``__init__`` would run again on what ``__new__`` returns.

    def __call__(cls, *args: Any, **options: Any) -> Any:
        window = window_of(unwrapped(options.get("napari_viewer")))  # named by napari's menus alone
        closed = [d for d in window.findChildren(cls) if d.parent() is window] if window else []
        dock = closed[0] if closed else super().__call__(*args, **options)
        dock._is_from_menu = window is not None
        if not closed:
            with telling(dock):
                dock._begin_with_what_is_there()
            dock.check()
        return dock


class Dock(QWidget, Tells, metaclass=_Kept):
    """A dock with a form, a footer, and one job at a time in a thread."""

    # A subclass adds its parts to ``form``, says in ``_act`` what the main button does and in
    # ``_check`` what is missing, and calls ``start`` with a generator. Parts with a method
    # ``restyle`` are drawn again when the theme changes.

    ended = Signal(object)  # with the outcome of a job
    remembers = True  # whether what is set is kept for the next start
    dropped_files = "Let go to open these files and choose them here."
    outlives_closing = True  # whether one that a menu opened is only hidden when it is closed
    _is_from_menu = False

    def __init__(
        self,
        napari_viewer: Any,
        action: str,
        tooltip: str,
        form: Callable[[InstrumentFooter, Palette, Any], Form] = Form,
    ) -> None:
        super().__init__()
        self._viewer = viewer = unwrapped(napari_viewer)
        self._place_soon = one_shot(self, 0, self._take_place)
        self._is_placed = False
        self.palette_ = Palette(viewer.theme)
        self.footer = InstrumentFooter(self.palette_, action, tooltip)
        self.ui: Any = form(self.footer, self.palette_, viewer)
        self.form = self.ui.rows
        self.run: Run | None = None
        self.inputs: Sequence[QWidget] = ()  # what a job is made from: locked while one runs
        self.kept: Sequence[Any] = ()  # what is remembered when a job begins
        self.at_end: list[Callable[[], object]] = []  # the dock or the window may be gone by then
        self._then: Callable[[Any], None] | None = None
        self.column = column_of(self, self.ui)
        self.setAcceptDrops(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._choose_soon = one_shot(self, 0, self._choose_what_is_there)
        self._check_timer = one_shot(self, _CHECK_MS, self.check)  # once all has been said
        self._splits = Splits()
        for layer in list(viewer.layers):
            self._splits.inserted(layer)
        on(self, viewer.layers.events.inserted, self._may_be_part)
        on(self, viewer.layers.events.removed, lambda event: self._splits.removed(event.value))
        on(self, viewer.layers.events.removing, self._layer_goes)
        on(self, self.footer.action.clicked, self.act)
        on(self, self.footer.cancel.clicked, self.cancel)
        self.shortcut("Ctrl+Return", self.footer.action.click)
        self.shortcut("Ctrl+Enter", self.footer.action.click)
        self.shortcut("Esc", self.footer.cancel.click)
        on(self, viewer.events.theme, self.restyle)
        WhenGone(self)

    # for subclasses -------------------------------------------------------------------
    def act(self) -> None:
        """Do what the main button does, unless a job runs; what is wrong is told."""
        if self.run is None:
            with telling(self):
                self._act()

    def _act(self) -> None:
        """What :meth:`act` does."""

    def _check(self) -> None:
        """What :meth:`check` does; what it raises is why the buttons cannot be pressed."""

    def _is_unfinished(self) -> bool:
        """Whether something is only not chosen or typed yet, which is no mistake."""
        return False

    def restyle(self) -> None:
        """Draw everything in the colours that the theme has now."""
        self.palette_.use(self._viewer.theme)
        for part in self.findChildren(QWidget):
            restyle = getattr(part, "restyle", None)
            if restyle is not None:
                restyle()

    def add_parts(self, *parts: Part) -> None:
        """Add to the form; a text is a heading."""
        add_parts(self.form, *parts)

    def shortcut(self, keys: str, slot: Callable[[], object]) -> None:
        """A key that works while the dock has the keyboard."""
        shortcut = QShortcut(QKeySequence(keys), self)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        on(self, shortcut.activated, slot)

    # what it says ---------------------------------------------------------------------
    def say(self, sentence: str, kind: str = "hint") -> None:
        """Answer to what the user did last."""
        self.footer.say(sentence, kind)

    def check(self) -> None:
        """Say what is missing or what to mind, and enable the buttons; never raises."""
        self._check_timer.stop()
        try:
            self._check()
        except Exception as error:
            is_hint = isinstance(error, InputError) and self._is_unfinished()
            self.footer.warn([])
            self.footer.ready(reported(error), "hint" if is_hint else "error")
        edits = self.findChildren(NumberEdit)
        self.footer.earlier.look(edit for edit in edits if edit.isVisibleTo(self))

    def follow_images(self, images: Mapping[Any, Mapping[str, Any]]) -> None:
        """Fill in what the images in use say; what was set for others is marked."""
        for edit in self.findChildren(NumberEdit):
            if edit.is_of_image:
                edit.follow(images)
        for panel in self.findChildren(OpticsPanel):
            panel.follow(images)

    def failed(self, sentence: str) -> None:
        """Say that something could not be done, and what holds true now."""
        self.say(sentence, "error")
        self.check()

    def save_file(self, write: Callable[[], Path]) -> None:
        with telling(self):
            self.say(f"Saved “{write().name}”.", "done")

    def _chosen_anew(self) -> None:
        """Something else is chosen: what is wrong with another choice is no matter any more."""
        if self.run is None and self.footer.message.kind != "done":
            self.say("")
        self._check_timer.start()

    # the job --------------------------------------------------------------------------
    def start(
        self,
        work: Work,
        *args: Any,
        then: Callable[[Any], None] | None = None,
        title: str = "Working",
        first: str = "",
        total: int = 0,
        wake: Callable[[], object] = lambda: None,
    ) -> None:
        """Run ``work(*args)`` in a thread; let go of a job that still runs."""
        # ``then`` gets its result in the GUI thread, unless it was cancelled; ``wake`` is called
        # when somebody asks to stop. For the other words see ``InstrumentFooter.begin``.
        self._let_job_go()
        for part in self.kept if self.remembers else ():
            part.remember()
        self.run, self._then = Run(work, *args, wake=wake, title=title), then
        on(self, self.run.arrived, self._arrived)
        on(self, self.run.ended, self._run_ended)
        self.footer.begin(title, first=first, total=total)
        self._lock(True)
        self.run.start()

    def cancel(self) -> None:
        """Stop the job as soon as it looks up."""
        if self.run is not None:
            self.run.cancel()
            self.footer.cancelling()

    def _let_job_go(self) -> None:
        """Nobody waits for the job any more."""
        if self.run is not None:
            self.run.let_go()
            self.run = None
            self._lock(False)
            self.footer.ended()

    def _arrived(self, item: Any) -> None:
        """What the job yields on the way."""
        assert isinstance(item, Step)
        if self.run is not None and not self.run.is_cancelled:
            self.footer.progress(item.done, item.total, item.words)

    def _run_ended(self, outcome: Outcome) -> None:
        run, self.run = self.run, None
        self._lock(False)
        self.footer.ended()
        if run is not None and run.is_cancelled and not self._keeps(outcome):
            outcome = replace(outcome, state="cancelled")
        with telling(self):
            self._conclude(outcome)
        self.ended.emit(outcome)
        self.check()

    def _lock(self, is_locked: bool) -> None:
        if is_locked:
            keep_keyboard(self, self.inputs)
        for part in (*self.inputs, self.footer.earlier):
            part.setEnabled(not is_locked)

    def _keeps(self, _outcome: Outcome) -> bool:
        """Whether a job that was cancelled keeps what it has come to."""
        return False

    def _conclude(self, outcome: Outcome) -> None:
        """Say how a job ended, and take what it found."""
        then, self._then = self._then, None  # it may hold the pixels of layers
        if outcome.state == "cancelled":
            self.say("Stopped: nothing was changed.")
        elif outcome.state == "failed":
            self.say(outcome.sentence, "error")
        elif then is not None:
            then(outcome.value)

    # files that are dropped -------------------------------------------------------------
    def drop(self, paths: Sequence[Any], at: LayerChoice | None = None) -> None:
        """Open files as layers and use them, in the choice ``at`` if that is given."""
        self.say("Reading…")
        self._open(list(map(Path, paths)), at)

    def _open(
        self,
        paths: list[Path],
        at: LayerChoice | None = None,
        as_heights: Mislabelled | None = None,
    ) -> None:
        in_background(self, open_files, paths, as_heights, then=partial(self._opened, at))

    def _opened(self, at: LayerChoice | None, opened: Opened) -> None:
        layers = [self._viewer.add_layer(Layer.create(*one)) for one in opened.layers]
        self.say("")
        sentences = opened.sentences + self._take(first_channels(layers), at)
        if sentences or doubts_about(opened.images):
            self.say(*said_of(opened.images, sentences))

    def _take(self, layers: Sequence[Layer], at: LayerChoice | None) -> list[str]:
        """Use layers that were opened here; sentences on those that cannot be."""
        in_sight = [one for one in self.findChildren(LayerChoice) if one.isVisibleTo(self)]
        free = sorted(filter(QWidget.isEnabled, in_sight), key=lambda choice: choice is not at)
        for layer in layers:
            choice = next((one for one in free if one.offers(layer)), None)
            if choice is not None:
                choice.choose(layer)
                free.remove(choice)
        return []

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802
        if event is not None and dropped_paths(event.mimeData()):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            self.say(self.dropped_files)

    def dragLeaveEvent(self, _event: QDragLeaveEvent | None) -> None:  # noqa: N802
        self.say("")

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802
        if event is not None:
            event.accept()
            under = self.childAt(event.position().toPoint())
            with telling(self):
                at = under if isinstance(under, LayerChoice) else None
                paths = dropped_paths(event.mimeData())
                remember_folder(paths[0])
                self.drop(paths, at)

    # wiring ---------------------------------------------------------------------------
    def viewer_gone(self) -> None:
        """Stop what works in threads for a viewer whose window is gone."""
        stop_run(self.__dict__)

    def _may_be_part(self, event: Any) -> None:
        """A layer has come, which may be meant; part of a stack is given what it should know."""
        self._choose_soon.start()
        if self._splits.inserted(event.value):
            self._layers_changed()

    def _choose_what_is_there(self) -> None:
        """Choose the layers that can only be meant, where a person has chosen none."""

    def _begin_with_what_is_there(self) -> None:
        """The same when the dock is new, with all its parts."""
        self._choose_what_is_there()

    def _layers_changed(self) -> None:
        """The layers, or what they know, are no longer the same."""

    def _layer_goes(self, _event: Any = None) -> None:
        """See that the canvas survives it."""
        talk_to_canvas(self._viewer)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Take a place beside the docks that are there, the first time."""
        super().showEvent(event)
        if not self._is_placed:
            self._place_soon.start()

    def _take_place(self) -> None:
        """Be a tab on the other docks of this package in the same area of the window."""
        shell, window = shell_of(self), window_of(self._viewer)
        if self._is_placed or shell is None or window is None:
            return
        self._is_placed = True
        shell.setWindowTitle(shell.windowTitle().partition(" (")[0])  # what a tab has room for
        if self._is_from_menu:
            self._choose_area(shell, window)
        area = window.dockWidgetArea(shell)
        others = [shell_of(dock) for dock in window.findChildren(Dock) if dock is not self]
        beside = [one for one in others if one and window.dockWidgetArea(one) == area]
        if beside and not window.tabifiedDockWidgets(shell):
            window.tabifyDockWidget(beside[-1], shell)
            shell.raise_()
        for tabs in window.findChildren(QTabBar):
            tabs.setDrawBase(False)  # a line in the system's colours

    def _choose_area(self, shell: QDockWidget, window: Any) -> None:
        """Go elsewhere in the window than napari puts a dock that its menus open."""

    def sizeHint(self) -> QSize:  # noqa: N802
        size: QSize = self.ui.sizeHint()
        return size

    def event(self, event: QEvent | None) -> bool:
        """Stop a running job when the dock is closed for good."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            stop_run(self.__dict__)
            self._is_placed = False
            window = window_of(self._viewer) if is_open(self._viewer) else None
            if self._is_from_menu and self.outlives_closing and window is not None:
                self.setParent(window)  # out of sight: nobody else holds a dock that was closed
        return bool(super().event(event))


def shell_of(dock: QWidget) -> QDockWidget | None:
    """What holds a dock in the window: None where it is hidden, or nothing does."""
    parent = dock.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return None if parent is None or parent.isHidden() else parent


class WhenGone:
    """Stops what a dock runs when Qt deletes it, or the window that it was not inside of."""

    # Not a function: the garbage collector may empty what goes together with a dock before, and a
    # function without its defaults raises.

    def __init__(self, dock: Dock) -> None:
        self._box = dock.__dict__
        dock.destroyed.connect(self)
        window = window_of(dock._viewer)
        if window is not None:
            window.destroyed.connect(dock.viewer_gone)

    def __call__(self, *_: object) -> None:
        """Stop, unless all is gone."""
        stop_run(self.__dict__.get("_box", {}))


def stop_run(box: dict[str, Any]) -> None:
    """End what is in a dock's attributes: its job, and more; the dock itself may be gone."""
    run, footer = box.get("run"), box.get("footer")
    if run is not None:
        run.cancel()
    if footer is not None:
        footer.activity.end()
    for end in box.get("at_end", ()):
        end()
