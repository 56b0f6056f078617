"""The Live dock's session on disk: autosaved while it runs, saved, opened, and found again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QObject, QStandardPaths, Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QWidget

from ...core.scans import counted
from ..files.save_volume import SavingRow
from ..shared.file_names import ask_for_file, last_folder
from ..shared.guard import emit_alive, guarded, on
from ..shared.parts import push_button
from ..shared.worker import Outcome, in_background
from .pages import Choice, LivePages, QuestionBox

Make = Callable[[], Any]

OPEN = Choice("open", "Open", "Go on with these scans")
DISCARD = Choice("discard", "Discard", "Delete these scans from the disk")
LATER = Choice("", "Later", "It stays on the disk, and is offered again")

_SAVE = ("Save session…", "Keep scans, settings, history and volume in a file or a folder")
_OPEN = ("Open session…", "Go on with a session that was saved")
_TO_SAVE = "Session in one file (*.rmz.zip);;Session as a folder (*.rmz)"
_TO_OPEN = "Sessions (*.rmz.zip session.json)"
_ONE_AT_A_TIME = "A session runs: save it or start again, then open the other one."


def sessions_folder() -> Path:
    """Where autosaved sessions are: in the user's data folder."""
    where = QStandardPaths.StandardLocation.GenericDataLocation
    data = QStandardPaths.writableLocation(where) or str(Path.home())
    return Path(data) / "napari-recurrent-mz" / "sessions"


class LiveFiles(QObject):
    """Keeps a dock's session: every scan is on disk before its volume is made."""

    said = Signal(str, str)  # a sentence and its kind; safe from any thread
    opened = Signal(object)  # what makes a session that is to be opened, for its thread

    def __init__(
        self,
        dock: QWidget,
        question: QuestionBox,
        *,
        is_wanted: Callable[[], bool] = lambda: True,
        folder: Path | None = None,
    ) -> None:
        super().__init__(dock)
        self._dock, self._question, self._is_wanted = dock, question, is_wanted
        self.folder = folder or sessions_folder()
        self._lock = threading.Lock()
        self._turn = 0
        self._session: Any = None
        self._autosave: Any = None
        self._saved: tuple[Any, ...] | None = None
        self.saving = SavingRow()
        dock.installEventFilter(self)

    def place(self, pages: LivePages) -> None:
        """Put the buttons on the dock's pages."""
        pages.scans.plot.add_tool(*_SAVE, self.ask_where_to_save)
        button = push_button(*_OPEN)
        on(self, button.clicked, self.ask_what_to_open)
        pages.setup.column.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)

    def eventFilter(self, _dock: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Offer what was not saved, once the dock is seen."""
        if event is not None and event.type() == QEvent.Type.Show:
            self._dock.removeEventFilter(self)
            QTimer.singleShot(0, guarded(self, self.offer))
        return False

    @property
    def is_saved(self) -> bool:
        """Whether all scans there are are in a file that a person has named."""
        session = self._session
        return session is None or not session.scans or self._saved == session.scans

    # a session begins and ends ------------------------------------------------------------
    def autosaving(self, make: Make) -> Make:
        """The same maker of a session, in any thread; it is autosaved from its first scan on."""
        turn = self._next_turn()
        return lambda: self._autosave_from(make(), turn)

    def opening(self, path: Path, *, recovered: Any = None) -> Make:
        """What opens a saved session, or an autosaved one, and autosaves it from then on."""
        turn = self._next_turn()

        def make() -> Any:
            from ...engine.session import load

            messages: list[tuple[str, str]] = []
            session = load(path, on_message=lambda *message: messages.append(message))
            self._autosave_from(session, turn, is_saved=recovered is None and not messages)
            if recovered is not None and self._is_safe(turn):
                recovered.discard()
            if not messages:
                messages = [(_opened(path, len(session.scans), recovered is not None), "done")]
            is_warning = "warning" in {kind for _, kind in messages}
            kind = "warning" if is_warning else messages[0][1]
            self._say(" ".join(sentence for sentence, _ in messages), kind)
            return session

        return make

    def let_go(self) -> None:
        """The session was ended by a person: its autosave is deleted."""
        self._end(keep=False)

    def close(self) -> None:
        """The window goes: what was not saved is kept, and offered at the next start."""
        self._end(keep=not self.is_saved)

    def offer(self) -> None:
        """Offer the newest session that was neither saved nor let go, if there is one."""
        if not self._is_wanted():
            return
        in_background(
            self, _unsaved, self.folder, then=self._offer_first, failed=lambda _sentence: None
        )

    # saving and opening -------------------------------------------------------------------
    def ask_where_to_save(self) -> None:
        """Save the session where a person says."""
        if self._session is None or not self._session.scans:
            self.said.emit("There is nothing to save yet: add a scan first.", "hint")
            return
        ask_for_file(self._dock, "Save session", "session", _TO_SAVE, self.save_to)

    def save_to(self, path: Path) -> None:
        """Save the session, in a thread; scans that come meanwhile are in the next."""
        if self.saving.is_on:
            self.said.emit("A session is being saved: wait for it, or cancel it.", "hint")
            return
        session = self._session
        scans = session.scans

        def write() -> Path:
            from ...engine.session import save

            return save(session, path)

        def ended(outcome: Outcome) -> None:
            if outcome.state == "cancelled":
                self.said.emit(f"Not saved: '{path.name}' is as it was.", "hint")
                return
            if outcome.state == "failed":
                self.said.emit(outcome.sentence, "error")
                return
            if session is self._session:
                self._saved = scans
            verb = "is" if len(scans) == 1 else "are"
            self.said.emit(f"Saved: {counted(len(scans), 'scan')} {verb} in '{path.name}'.", "done")

        self.saving.save(path.name, write, ended)

    def ask_what_to_open(self) -> None:
        """Open the session that a person chooses."""
        if self._is_taken():
            return
        about = "Open session", last_folder(), _TO_OPEN
        chosen, _ = QFileDialog.getOpenFileName(self._dock, *about)
        if chosen:
            self.open_from(Path(chosen))

    def open_from(self, path: Path) -> None:
        """Open a session, unless one runs."""
        if not self._is_taken():
            self.opened.emit(self.opening(path))

    def _is_taken(self) -> bool:
        """Whether a session runs, which is said."""
        if self._session is not None:
            self.said.emit(_ONE_AT_A_TIME, "hint")
        return self._session is not None

    # in the session's thread --------------------------------------------------------------
    def _autosave_from(self, session: Any, turn: int, *, is_saved: bool = False) -> Any:
        """Autosave a session, unless the dock has gone on to another one."""
        from ...engine.session import Autosave

        autosave = None
        if self._is_wanted():
            autosave = Autosave(session, self.folder, on_message=self._say)
        with self._lock:
            if turn == self._turn:
                self._session, self._autosave = session, autosave
                self._saved = session.scans if is_saved else None
                return session
        if autosave is not None:
            autosave.close()  # what it came from is still there
        return session

    def _is_safe(self, turn: int) -> bool:
        with self._lock:
            return turn == self._turn and self._autosave is not None and self._autosave.is_safe

    def _say(self, sentence: str, kind: str) -> None:
        """Say something from any thread, unless the window is gone."""
        emit_alive(self, "said", sentence, kind)

    # in the GUI thread --------------------------------------------------------------------
    def _next_turn(self) -> int:
        self.close()
        return self._turn

    def _end(self, *, keep: bool) -> None:
        with self._lock:
            self._turn += 1
            ended, self._autosave = self._autosave, None
            self._session = self._saved = None
        if ended is not None:
            ended.close(keep=keep)

    def _offer_first(self, unsaved: list[Any]) -> None:
        if not unsaved or self._session is not None:
            return
        first, *others = unsaved

        def answered(key: str, _height: float | None) -> None:
            if key == OPEN.key and not self._is_taken():
                self.opened.emit(self.opening(first.path, recovered=first))
            elif key == DISCARD.key:
                first.discard()
                self._offer_first(others)

        self._question.ask(first.sentence, (OPEN, DISCARD, LATER), answered)


def _opened(path: Path, scans: int, is_recovered: bool) -> str:
    count = counted(scans, "scan")
    if is_recovered:
        return f"The session is back, with {count}: save it to keep it in a file of your own."
    return f"Opened '{path.name}' with {count}."


def _unsaved(folder: Path) -> list[Any]:
    from ...engine.session import unsaved_sessions

    return unsaved_sessions(folder)
