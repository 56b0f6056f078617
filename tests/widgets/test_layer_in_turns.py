"""A layer that comes in turns, in a real window and without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QTimer
from qtpy.QtGui import QOpenGLContext

from napari_recurrent_mz.docks.shared.dock import Dock
from napari_recurrent_mz.docks.shared.insides import Later
from napari_recurrent_mz.docks.shared.pace import LayerInTurns, Turns


class Comes(LayerInTurns[Image]):
    """A layer that comes when it is wanted."""

    is_wanted = True

    def _make(self) -> Image | None:
        return Image(np.ones((4, 6, 6), np.float32), name="comes") if self.is_wanted else None


@pytest.fixture
def bring(make_napari_viewer: Any) -> Callable[..., Any]:
    """Bring a layer into a window, with something done right after it was added."""

    def brought(meanwhile: Callable[[Any, Image], object] = lambda *_: None) -> Any:
        viewer = make_napari_viewer(show=True)
        turns = Turns(viewer)
        comes = Comes(viewer, turns)

        def added(event: Any) -> None:
            if event.value.name == "comes":
                QTimer.singleShot(0, lambda: meanwhile(viewer, event.value))

        viewer.layers.events.inserted.connect(added)
        comes.bring()
        return viewer, turns, comes

    return brought


def controls(viewer: Any) -> Any:
    return viewer.window._qt_viewer.controls


def test_controls_come_a_turn_after_their_layer(bring: Any, qtbot: Any) -> None:
    seen: list[Any] = []
    viewer, turns, comes = bring(
        lambda viewer, image: seen.append(type(controls(viewer).widgets[image]))
    )
    assert len(viewer.layers) == 0  # not at once
    qtbot.waitUntil(lambda: not turns.is_on)
    assert seen == [Later]
    layer = viewer.layers["comes"]
    assert comes.layer is layer
    assert viewer.layers.selection == set()
    viewer.layers.selection.active = layer
    shown = controls(viewer).currentWidget()
    assert shown is controls(viewer).widgets[layer]
    assert type(shown).__name__ == "QtImageControls"
    qtbot.waitUntil(lambda: not controls(viewer).findChildren(Later))
    comes.remove()
    assert len(viewer.layers) == len(controls(viewer).widgets) == 0
    other = viewer.add_image(np.ones((6, 6)))  # napari's own way is as it was
    assert type(controls(viewer).widgets[other]).__name__ == "QtImageControls"


def test_a_layer_may_be_selected_before_it_has_controls(bring: Any, qtbot: Any) -> None:
    def select(viewer: Any, image: Image) -> None:
        viewer.layers.selection.active = image

    viewer, turns, comes = bring(select)
    qtbot.waitUntil(lambda: not turns.is_on)
    assert viewer.layers.selection.active is comes.layer
    assert type(controls(viewer).currentWidget()).__name__ == "QtImageControls"


def test_a_layer_may_go_before_it_has_controls(bring: Any, qtbot: Any) -> None:
    viewer, turns, comes = bring(lambda viewer, image: viewer.layers.remove(image))
    qtbot.waitUntil(lambda: not turns.is_on)
    assert comes.layer is None
    assert comes.was_removed
    assert len(viewer.layers) == len(controls(viewer).widgets) == 0


def test_a_canvas_survives_a_layer_that_goes(make_napari_viewer: Any, qtbot: Any) -> None:
    """Without it napari sends what vectors need to nobody, and to paint them ends the program."""
    viewer = make_napari_viewer(show=True)
    dock = Dock(viewer, "Count", "Counts")
    viewer.window.add_dock_widget(dock, name="Dock", area="right")
    canvas = viewer.window._qt_viewer.canvas.native
    image = viewer.add_image(np.ones((4, 6, 6)))
    viewer.add_vectors(np.ones((4, 2, 3)))
    qtbot.wait(50)
    canvas.doneCurrent()
    seen: list[bool] = []
    viewer.layers.events.removed.connect(
        lambda _: seen.append(QOpenGLContext.currentContext() is canvas.context()), position="first"
    )
    viewer.layers.remove(image)
    assert seen == [True]
    qtbot.wait(50)  # what stays is painted


def test_where_there_is_no_window_it_comes_too(qtbot: Any) -> None:
    viewer = ViewerModel()
    turns = Turns(viewer)
    comes = Comes(viewer, turns)
    comes.bring()
    comes.bring()  # is coming already
    turns.finish()
    assert list(viewer.layers) == [comes.layer]
    comes.remove()
    assert len(viewer.layers) == 0
    comes.is_wanted = False
    comes.bring()
    turns.finish()
    assert comes.layer is None
    assert not comes.was_removed
