"""A layer that a dock adds in steps: making it, adding it, and its controls.

All at once would be felt as a window that stands still.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from napari.layers import Layer

from .insides import SHORT_PAUSES, give_controls, unselected, without_controls
from .pace import Turns, paint_after

Steps = tuple[Callable[[], object], ...]
L = TypeVar("L", bound=Layer)


class LayerInTurns(Generic[L]):
    """At most one layer in a viewer, made by ``make``; None if it is no longer wanted."""

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
        SHORT_PAUSES.expect_to_go(layer)

    def _give_controls(self) -> None:
        self._is_coming = False
        layer = self.layer
        if layer is not None:
            give_controls(self._viewer, layer)
