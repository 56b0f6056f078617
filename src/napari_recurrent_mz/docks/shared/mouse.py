"""What the mouse does on the viewer's canvas, for as long as a dock is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .guard import guarded


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
    callbacks.append(callback)
    dock.destroyed.connect(lambda: _remove(callbacks, callback))


def _remove(callbacks: list[Any], callback: Callable[..., Any]) -> None:
    if callback in callbacks:
        callbacks.remove(callback)
