"""What is not napari's public interface, and the garbage collector: here, and nowhere else.

A window stands still although nothing runs in its thread while it waits for the interpreter, a
switch interval each time, and while the garbage collector's full pass looks at every object: 0.2 s
with napari and torch loaded. While somebody holds :data:`SHORT_PAUSES`, the interval is short and a
full pass, which napari asks for with every layer that goes, looks only at what is new. Small passes
are few, so that a plot's thousands of parts go in one of them (:meth:`ShortPauses.tidy`) and do not
grow old. Whoever suspects these means of a fault sets :data:`SWITCH`, and does without them.
A lower priority of the working threads does not help: one that has the interpreter is then kept
waiting by others, and the window with it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from napari.layers import Layer
from qtpy.compat import isalive
from qtpy.QtWidgets import QFrame

SWITCH = "RECURRENT_MZ_PLAIN_NAPARI"
"""Of the environment; any value leaves the garbage collector and napari's controls alone."""

_SWITCH_S = 0.001  # a fifth of Python's own
_FULL = 2  # the collector's oldest generation
_YOUNG = 30_000  # objects, more than a plot has, before the collector looks at them; usually 700
_LONG_S = 0.02  # of a full pass: then there is much that is new
_MARGIN = 0.95  # of the canvas that a layer fills


class ShortPauses:
    """Counts who works; all methods are for the GUI thread."""

    def __init__(self) -> None:
        self._holders = 0
        self._usual: tuple[float, tuple[int, int, int]] | None = None  # while it is another
        self._puts_aside = False
        self._young: weakref.WeakSet[Any] = weakref.WeakSet()
        self._began = 0.0

    @property
    def is_held(self) -> bool:
        return self._holders > 0

    def hold(self) -> None:
        """Somebody begins to work."""
        self._holders += 1
        if self._holders > 1 or SWITCH in os.environ:
            return
        interval_s, (young, *older) = self._usual = sys.getswitchinterval(), gc.get_threshold()
        sys.setswitchinterval(min(interval_s, _SWITCH_S))
        gc.set_threshold(max(young, _YOUNG), *older)
        if gc.get_freeze_count() == 0:  # else somebody else has put objects aside
            self._puts_aside = True
            gc.callbacks.append(self._collected)
            self.put_aside()

    def release(self) -> None:
        """Somebody has ended; with the last one all is as it was."""
        self._holders -= 1
        if self._holders > 0 or self._usual is None:
            return
        (interval_s, thresholds), self._usual = self._usual, None
        sys.setswitchinterval(interval_s)
        gc.set_threshold(*thresholds)
        if self._puts_aside:
            self._puts_aside = False
            gc.callbacks.remove(self._collected)
            gc.unfreeze()

    def put_aside(self) -> None:
        """Let full passes look at nothing that is there now, while somebody works."""
        if self._puts_aside:
            self._young.clear()
            gc.freeze()

    def tidy(self) -> None:
        """Free what was made and is no longer wanted since the last small pass."""
        if self.is_held:
            gc.collect(0)

    def expect_to_go(self, layer: Any) -> None:
        """Note that a layer is new: it can go without a look at everything else."""
        self._young.add(layer)

    def give_back(self, layer: Any) -> None:
        """Free a layer that is about to go, at the price of a pass over everything if it is old."""
        if self._puts_aside and layer not in self._young:
            gc.unfreeze()

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        """What has survived a long full pass stays aside in the next; new layers never do."""
        if info["generation"] != _FULL:
            return
        if phase == "start":
            self._began = time.thread_time()
        elif time.thread_time() - self._began > _LONG_S and not self._young:
            self.put_aside()


SHORT_PAUSES = ShortPauses()  # the one there is


def unwrapped(viewer: Any) -> Any:
    """The viewer itself: napari hands plugins a proxy, whose layers are proxies too."""
    return getattr(viewer, "__wrapped__", viewer)


def is_moved(viewer: Any) -> bool:
    """Whether this napari, 0.9 or later, has a scene and a canvas within the viewer."""
    return hasattr(viewer, "scene")


def window_of(viewer: Any) -> Any:
    """The window of a viewer, for Qt; None for one that has none, or whose window is gone."""
    return getattr(getattr(viewer, "window", None), "_qt_window", None)


def is_open(viewer: Any) -> bool:
    """Whether layers may still be added: a viewer whose window is closed fails at the first."""
    if getattr(viewer, "window", None) is None:
        return True  # a model without a window
    window = window_of(viewer)
    return window is not None and isalive(window)  # type: ignore[no-untyped-call]


def camera(viewer: Any) -> Any:
    """Where the volume is seen from: center, zoom, angles."""
    return viewer.scene.camera if is_moved(viewer) else viewer.camera


def grid(viewer: Any) -> Any:
    """How layers are put beside each other: shape, spacing, enabled."""
    return viewer.canvas.grid if is_moved(viewer) else viewer.grid


def scale_bar(viewer: Any) -> Any:
    return viewer.canvas.overlays.scale_bar if is_moved(viewer) else viewer.scale_bar


def canvas_size(viewer: Any) -> tuple[int, int]:
    """Height and width of the canvas, in pixels."""
    height, width = viewer.canvas.size if is_moved(viewer) else viewer._canvas_size
    return height, width


def blacken(viewer: Any) -> None:
    """Make the background of the canvas black in every theme."""
    canvas = viewer.canvas if is_moved(viewer) else viewer.window._qt_viewer.canvas
    canvas.background_color_override = "black"


def fit(viewer: Any, layer: Layer) -> None:
    """Bring one layer into view, whatever the size of the others."""
    dims = viewer.dims
    if is_moved(viewer) and layer.ndim == dims.ndim:  # else napari takes axes of others for its own
        viewer.fit_to_view(layers=[layer])
        return
    shown, others = list(dims.displayed[-2:]), (dims.ndim - layer.ndim, 0)
    low, high = (np.pad(place, others)[shown] for place in layer.extent.world)
    camera(viewer).center = (0.0, *(low + high) / 2)
    camera(viewer).zoom = _MARGIN / float(np.max((high - low) / canvas_size(viewer)))


def hide_layer_controls(viewer: Any) -> None:
    """Give the room of the layers' controls to others."""
    viewer.window._qt_viewer.dockLayerControls.hide()


def talk_to_canvas(viewer: Any) -> None:
    """Let OpenGL commands go to the viewer's canvas, if it has a window."""
    # When a layer goes, napari 0.9 sends what waits for the graphics card, whomever OpenGL talks to
    # then: what points and vectors that stay have just been given is lost, and to paint them ends
    # the program.
    with contextlib.suppress(AttributeError, RuntimeError):  # no window, or it is gone
        viewer.window._qt_viewer.canvas.native.makeCurrent()


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
    """Let napari add a layer without its controls, if it can, until :func:`give_controls`."""
    container = _controls_of(viewer)
    if container is None:
        yield
        return
    container.widgets[layer] = place = Later()
    container.addWidget(place)
    with viewer.layers.events.inserted.blocker(container._add):
        yield


def give_controls(viewer: Any, layer: Layer) -> None:
    container = _controls_of(viewer)
    if container is None or not isinstance(container.widgets.get(layer), Later):
        return
    place = container.widgets.pop(layer)
    container._add(SimpleNamespace(value=layer))  # as much of an event as it asks for
    container.removeWidget(place)
    place.deleteLater()
    if layer in viewer.layers.selection:  # a person was faster
        container._populate()


def _controls_of(viewer: Any) -> Any:
    """The part of napari's window that has the layers' controls, if there is one that is known."""
    if SWITCH in os.environ:
        return None
    window = getattr(getattr(viewer, "window", None), "_qt_viewer", None)
    container = getattr(window, "controls", None)
    methods = (getattr(container, name, None) for name in ("_add", "_populate"))
    is_known = isinstance(getattr(container, "widgets", None), dict) and all(map(callable, methods))
    return container if is_known and isalive(container) else None  # type: ignore[no-untyped-call]
