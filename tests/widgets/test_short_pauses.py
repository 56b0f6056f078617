"""What keeps the window alive: plots in a thread, short switches, turns, pauses."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer
from qtpy.QtGui import QColor

from napari_recurrent_mz.docks.shared import insides as _insides
from napari_recurrent_mz.docks.shared import pace as _pace
from napari_recurrent_mz.docks.shared.insides import ShortPauses
from napari_recurrent_mz.docks.shared.pace import Pace, Turns
from napari_recurrent_mz.docks.shared.parts import Palette
from napari_recurrent_mz.docks.shared.plot import QuietCanvas
from napari_recurrent_mz.measure.plots import Ink


class Thing:
    """Only a full pass of the collector frees it."""

    def __init__(self) -> None:
        self.me = self


def test_the_last_who_ends_leaves_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_insides, "_LONG_S", 0.0)  # any full pass is long
    pauses, before, young = ShortPauses(), sys.getswitchinterval(), gc.get_threshold()
    for _ in range(2):
        pauses.hold()
        assert sys.getswitchinterval() == pytest.approx(0.001)
        assert gc.get_threshold()[0] > young[0]
        assert gc.get_freeze_count() > 0
    pauses.give_back(Thing())
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert gc.get_freeze_count() > 0  # what has survived stays aside
    pauses.release()
    assert pauses.is_held
    monkeypatch.setenv("RECURRENT_MZ_PLAIN_NAPARI", "1")  # later than what it would switch off
    pauses.release()
    assert sys.getswitchinterval() == before
    assert gc.get_threshold() == young
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert gc.get_freeze_count() == 0


def test_python_and_napari_are_left_alone_on_request(
    monkeypatch: pytest.MonkeyPatch, make_napari_viewer: Any
) -> None:
    monkeypatch.setenv("RECURRENT_MZ_PLAIN_NAPARI", "1")
    pauses, before, young = ShortPauses(), sys.getswitchinterval(), gc.get_threshold()
    pauses.hold()
    assert (sys.getswitchinterval(), gc.get_threshold()) == (before, young)
    assert gc.get_freeze_count() == 0
    pauses.release()
    viewer = make_napari_viewer()
    layer = Image(np.zeros((8, 8)))
    with _insides.without_controls(viewer, layer):
        viewer.add_layer(layer)
    controls = viewer.window._qt_viewer.controls.widgets
    assert not isinstance(controls[layer], _insides.Later)


def test_a_layer_that_goes_is_freed_and_a_new_one_without_a_look_at_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_insides, "_LONG_S", 0.0)
    pauses, old = ShortPauses(), Thing()
    pauses.hold()
    gone = [weakref.ref(old)]
    new = Thing()
    gone.append(weakref.ref(new))
    pauses.expect_to_go(new)
    gc.collect()  # it survives, and must not be put aside
    aside = gc.get_freeze_count()
    pauses.give_back(new)
    assert gc.get_freeze_count() == aside
    del new
    gc.collect()
    assert gone[1]() is None
    pauses.give_back(old)
    del old
    gc.collect()
    assert gone[0]() is None
    pauses.release()


def test_what_is_made_and_no_longer_wanted_does_not_grow_old() -> None:
    pauses = ShortPauses()
    pauses.hold()
    pauses.tidy()
    thing = Thing()
    gone = weakref.ref(thing)
    others: list[list[int]] = [[] for _ in range(20_000)]  # usually it has grown old by then
    del thing
    pauses.tidy()
    assert gone() is None
    assert len(others) == 20_000
    pauses.release()


def test_a_plot_is_drawn_in_a_thread_and_only_the_newest(qtbot: Any) -> None:
    canvas, gate = QuietCanvas(Palette("dark"), "Plot"), threading.Event()
    qtbot.addWidget(canvas)
    threads: list[threading.Thread] = []

    def draw(colour: str) -> Any:
        def drawn(figure: Figure, _ink: Ink) -> None:
            threads.append(threading.current_thread())
            assert gate.wait(20)
            figure.set_layout_engine("none")
            figure.add_axes((0, 0, 1, 1)).axis("off")
            figure.axes[0].axhspan(0, 1, color=colour)
            figure.axes[0].set_ylim(0, 1)

        return drawn

    canvas.show_figure(draw("red"))
    assert canvas.picture is None
    assert threads == []  # out of sight
    canvas.resize(200, 150)
    canvas.show()
    qtbot.waitUntil(lambda: len(threads) == 1)
    canvas.show_figure(draw("lime"))
    canvas.show_figure(draw("blue"))
    gate.set()
    qtbot.waitUntil(lambda: shown(canvas) == QColor("blue"))
    assert len(threads) == 2
    assert threading.main_thread() not in threads
    canvas.show_reason("Nothing yet.")
    qtbot.waitUntil(lambda: shown(canvas) != QColor("blue"))
    assert canvas.drawn is None


def shown(canvas: QuietCanvas) -> QColor | None:
    """The colour on the left of the middle, where no letter is."""
    picture = canvas.picture
    return None if picture is None else picture.pixelColor(10, picture.height() // 2)


def test_steps_come_one_by_one_until_their_owner_is_gone(qtbot: Any) -> None:
    owner = QObject()
    turns, done, said = Turns(ViewerModel(), owner), [], []
    turns.changed.connect(said.append)
    turns.after(lambda: done.append("at once"))
    assert done.pop() == "at once"
    turns.add(*(lambda n=n: done.append((n, turns.is_on)) for n in range(3)))
    turns.after(lambda: done.append("last"))
    assert (done, said) == ([], [True])
    between: list[int] = []
    timer = QTimer()
    timer.timeout.connect(lambda: between.append(len(done)))
    timer.start(1)
    qtbot.waitUntil(lambda: not turns.is_on)
    assert done == [(0, True), (1, True), (2, True), "last"]
    assert said == [True, False]
    assert set(between) >= {0, 1, 2, 3}  # the window lives after each
    turns.add(lambda: done.append(3), lambda: done.append(4))
    turns.finish()
    assert done[4:] == [3, 4]
    assert not turns.is_on
    turns.add(lambda: done.append(5))
    owner.deleteLater()
    qtbot.wait(50)
    assert done[6:] in ([], [5])


def test_a_step_that_fails_keeps_no_other_waiting(qtbot: Any, unforeseen: list[str]) -> None:
    turns, done = Turns(ViewerModel()), []
    turns.add(lambda: 1 / 0, lambda: done.append(1))
    qtbot.waitUntil(lambda: not turns.is_on)
    assert done == [1]
    assert ["unexpected ZeroDivisionError" in sentence for sentence in unforeseen] == [True]
    unforeseen.clear()


def test_a_pause_follows_what_showing_costs(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pace, "_LEAST_S", 0.01)
    owner = QObject()
    pace = Pace(owner, lambda: time.sleep(0.1))
    assert pace.left_s() == 0
    pace.show()
    qtbot.wait(20)
    assert 0.25 < pace.left_s() < 1.0  # four times a tenth of a second, and what the wait took
    cheap = Pace(owner, lambda: None)
    cheap.show()
    qtbot.wait(60)
    assert cheap.left_s() == 0
