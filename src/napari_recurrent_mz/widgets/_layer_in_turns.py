"""A layer that a dock puts in the viewer in turns, and that a person may take out again.

To add a layer takes napari a while: it makes what is painted, and the layer's controls. Both at
once, with the controls shown and all of it painted, is felt. So here they come one by one.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from napari.layers import Layer
from qtpy.compat import isalive
from qtpy.QtWidgets import QFrame

from ._calm import CALM
from ._pace import Turns, paint_after

Steps = tuple[Callable[[], object], ...]
L = TypeVar("L", bound=Layer)


class LayerInTurns(Generic[L]):
    """At most one layer in a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
    turns : Turns
        In which it comes.
    make : callable
        Makes the layer; None if it is no longer wanted.
    """

    def __init__(self, viewer: Any, turns: Turns, make: Callable[[], L | None]) -> None:
        self._viewer, self._turns, self._make = viewer, turns, make
        self._added: weakref.ref[L] | None = None
        self._new: L | None = None  # until it is in the viewer
        self._is_coming = False

    @property
    def layer(self) -> L | None:
        """The layer, if it is in the viewer."""
        layer = self._added() if self._added is not None else None
        return layer if layer is not None and layer in self._viewer.layers else None

    @property
    def was_removed(self) -> bool:
        """Whether it was in the viewer, and somebody has taken it out."""
        return self._added is not None and self.layer is None

    def bring(self, before: Steps = (), then: Steps = ()) -> None:
        """Add it, unselected, between steps that come ``before`` and ``then``."""
        if self._is_coming:
            return
        self._is_coming = True
        self._turns.add(*before, self._take, self._add, self._give_controls, *then)

    def forget(self) -> None:
        """Whatever happens to it is no longer of interest."""
        self._added = self._new = None
        self._is_coming = False  # steps that still wait find nothing to do

    def remove(self) -> None:
        """Take it out."""
        layer = self.layer
        if layer is not None:
            paint_after(self._viewer)
            self._viewer.layers.remove(layer)
        self.forget()

    def _take(self) -> None:
        self._new = self._make() if self.layer is None else None

    def _add(self) -> None:
        layer, self._new = self._new, None
        if layer is None or self.layer is not None:
            return
        with unselected(self._viewer), without_controls(self._viewer, layer):
            self._viewer.layers.append(layer)
        self._added = weakref.ref(layer)
        CALM.expect_to_go(layer)

    def _give_controls(self) -> None:
        self._is_coming = False
        layer = self.layer
        if layer is not None:
            give_controls(self._viewer, layer)


@contextlib.contextmanager
def unselected(viewer: Any) -> Iterator[None]:
    """What is added meanwhile is not selected, so that its controls are not shown at once."""
    layers = viewer.layers
    before = getattr(layers, "_activate_on_insert", True)
    layers._activate_on_insert = False  # of napari; where it has no such switch, it selects
    try:
        yield
    finally:
        layers._activate_on_insert = before


class Later(QFrame):
    """In the place of a layer's controls, which are still to come."""


@contextlib.contextmanager
def without_controls(viewer: Any, layer: Layer) -> Iterator[None]:
    """Let napari add a layer without its controls, until :func:`give_controls`.

    Where its window is another than the one this knows, it makes them at once.
    """
    container = _controls_of(viewer)
    if container is None:
        yield
        return
    container.widgets[layer] = place = Later()
    container.addWidget(place)
    with viewer.layers.events.inserted.blocker(container._add):
        yield


def give_controls(viewer: Any, layer: Layer) -> None:
    """Make the controls of a layer that was added without; nothing if it has some."""
    container = _controls_of(viewer)
    if container is None or not isinstance(container.widgets.get(layer), Later):
        return
    place = container.widgets.pop(layer)
    container._add(_Inserted(layer))
    container.removeWidget(place)
    place.deleteLater()
    if layer in viewer.layers.selection:  # a person was faster
        container._populate()


class _Inserted:
    """As much of napari's event as the controls ask for."""

    def __init__(self, layer: Layer) -> None:
        self.value = layer


def _controls_of(viewer: Any) -> Any:
    """The part of napari's window that has the layers' controls, if there is one that is known."""
    window = getattr(getattr(viewer, "window", None), "_qt_viewer", None)
    container = getattr(window, "controls", None)
    is_known = isinstance(getattr(container, "widgets", None), dict) and all(
        callable(getattr(container, name, None)) for name in ("_add", "_populate")
    )
    return container if is_known and isalive(container) else None  # type: ignore[no-untyped-call]
