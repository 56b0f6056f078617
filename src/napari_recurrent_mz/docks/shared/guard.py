"""What Qt and napari call in a dock: whatever it raises becomes a sentence in that dock.

napari shows what leaves a slot as a traceback. So signals of Qt and events of napari are connected
by :func:`on`, and whatever else calls back is given :func:`guarded` functions.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from napari.utils.notifications import show_error
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

from ...core.errors import known_sentence, sentence_of

_LOG = logging.getLogger(__name__)


class Tells:
    """What guarded functions look for among the parents of their owner: a dock."""

    say: Callable[[str, str], None]  # a sentence and its kind
    failed: Callable[[str], None]  # why something could not be done


def on(owner: QObject, signal: Any, slot: Callable[..., object]) -> Callable[..., None]:
    """Connect a Qt signal or napari event to ``slot`` while ``owner`` lives; return that slot."""
    guard = guarded(owner, slot)
    signal.connect(guard)
    return guard


def guarded(owner: QObject, slot: Callable[..., object]) -> Callable[..., None]:
    """A function that calls ``slot``, raises nothing, and does nothing without its ``owner``."""
    return _Guard(owner, slot).call


def one_shot(owner: QObject, milliseconds: int, slot: Callable[..., object]) -> QTimer:
    """A timer of ``owner``'s that calls ``slot`` a while after it was started last."""
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    on(owner, timer.timeout, slot)
    return timer


def say(owner: QObject, sentence: str, kind: str = "hint") -> None:
    """Say something in the dock of ``owner``."""
    dock = _dock_of(owner)
    if dock is not None:
        dock.say(sentence, kind)


@contextlib.contextmanager
def telling(owner: QObject) -> Iterator[None]:
    """What is raised within is told in the dock of ``owner``."""
    try:
        yield
    except Exception as error:
        _tell(owner, error)


def emit_alive(owner: QObject, signal: str, *values: object) -> None:
    """Emit a signal of ``owner``'s from any thread, unless that is gone with its window."""
    try:
        if isalive(owner):  # type: ignore[no-untyped-call]
            getattr(owner, signal).emit(*values)
    except RuntimeError:
        return  # deleted between the question and the signal


class _Guard(QObject):
    """A slot of its owner's; as a child of that, it goes with it."""

    def __init__(self, owner: QObject, slot: Callable[..., object]) -> None:
        super().__init__(owner)
        is_method = inspect.ismethod(slot)
        self._slot = weakref.WeakMethod(slot) if is_method else lambda: slot
        self._takes = _takes(slot)

    def call(self, *values: object) -> None:
        """Call the slot with as many values as it takes."""
        slot = self._slot() if isalive(self) else None  # type: ignore[no-untyped-call]
        if slot is not None:
            owner = self.parent()
            assert owner is not None
            with telling(owner):
                slot(*values[: self._takes])


def _takes(slot: Callable[..., object]) -> int | None:
    """How many values a function takes by position; None for any number, 0 for a slot of Qt's."""
    if inspect.isbuiltin(slot):
        return 0
    kinds = [p.kind for p in inspect.signature(slot).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return None
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(kind in by_position for kind in kinds)


def reported(error: Exception) -> str:
    """The sentence for an error that is caught here; what nobody foresaw is logged as well."""
    sentence = sentence_of(error)
    if not known_sentence(error):
        _LOG.error(sentence, exc_info=error)
    return sentence


def _tell(owner: QObject, error: Exception) -> None:
    if not isalive(owner):  # type: ignore[no-untyped-call]
        return  # nobody is there to be told, and that is why it failed
    sentence, dock = reported(error), _dock_of(owner)
    if dock is None:
        show_error(sentence)
    else:
        dock.failed(sentence)


def _dock_of(owner: QObject) -> Tells | None:
    part: QObject | None = owner
    while part is not None and not isinstance(part, Tells):
        part = part.parent()
    return part


def on_click(dock: Any, slot: Callable[[Any], object]) -> None:
    """Call ``slot`` with the event of every click that did not drag the view."""
    call = guarded(dock, slot)

    def clicked(_viewer: Any, event: Any) -> Iterator[None]:
        yield
        if event.type != "mouse_move":
            call(event)

    _add(dock, dock._viewer.mouse_drag_callbacks, clicked)


def on_move(dock: Any, slot: Callable[[Any], object]) -> None:
    """Call ``slot`` with the event of every move of the mouse."""
    call = guarded(dock, slot)
    _add(dock, dock._viewer.mouse_move_callbacks, lambda _viewer, event: call(event))


def _add(dock: Any, callbacks: list[Any], callback: Callable[..., Any]) -> None:
    def remove() -> None:
        if callback in callbacks:
            callbacks.remove(callback)

    callbacks.append(callback)
    dock.destroyed.connect(remove)
