"""What the instruments share: the layer choice, the plot, and one job at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QThreadPool

from napari_recurrent_mz.core.progress import Step, Stopped
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.docks.shared import footer as footer_module
from napari_recurrent_mz.docks.shared import plot as plot_module
from napari_recurrent_mz.docks.shared.dock import Dock
from napari_recurrent_mz.docks.shared.layer_choice import LayerChoice
from napari_recurrent_mz.docks.shared.parts import Palette
from napari_recurrent_mz.docks.shared.plot import PlotPanel
from napari_recurrent_mz.docks.shared.worker import Outcome, Run
from napari_recurrent_mz.measure.plots import Ink


@pytest.fixture
def choice(qtbot: Any) -> LayerChoice:
    """A choice on a viewer with two images."""
    viewer = ViewerModel()
    for name in ("first", "second"):
        viewer.add_image(np.ones((3, 4, 4)), name=name)
    made = LayerChoice(viewer)
    qtbot.addWidget(made)
    return made


def offered(choice: LayerChoice) -> list[str]:
    """The entries of a combo box."""
    return [choice.itemText(n) for n in range(choice.count())]


def test_the_choice_follows_the_layers(choice: LayerChoice, qtbot: Any) -> None:
    layers = choice._viewer.layers
    choice.choose(layers["second"])
    choice._viewer.add_points(np.zeros((1, 3)), name="points")
    layers["first"].name = "renamed"
    layers.move(0, 2)
    assert set(offered(choice)) == {"None", "second", "renamed"}
    assert choice.currentText() == "second"
    with qtbot.waitSignal(choice.changed):
        del layers["second"]
    assert choice.layer() is None
    assert offered(choice) == ["None", "renamed"]
    assert choice.currentText() == "None"


def test_a_person_chooses(choice: LayerChoice, qtbot: Any) -> None:
    with qtbot.waitSignal(choice.changed):
        choice.activated.emit(offered(choice).index("first"))
    assert choice.layer() is choice._viewer.layers["first"]


def test_who_asks_for_a_file_keeps_what_is_chosen(choice: LayerChoice, qtbot: Any) -> None:
    choice = LayerChoice(choice._viewer, opens_files=True)
    qtbot.addWidget(choice)
    choice.choose(choice._viewer.layers["first"])
    assert offered(choice)[-1] == "Open a file…"
    with qtbot.assertNotEmitted(choice.changed), qtbot.waitSignal(choice.wants_file):
        choice.setCurrentIndex(choice.count() - 1)
        choice.activated.emit(choice.count() - 1)
    assert choice.currentText() == "first"


def count(total: int, *, stop: threading.Event) -> Iterator[object]:
    """Counts; never ends where ``total`` is 0."""
    done = 0
    while not total or done < total:
        done += 1
        yield Step(done, total or 100, "Counting")
        stop.wait(0.002)
    return done


def fail(sentence: str, *, stop: threading.Event) -> Iterator[object]:
    """Fails."""
    yield Step(1, 2)
    raise InputError(sentence)


@pytest.fixture
def make(qtbot: Any) -> Iterator[Callable[[], Dock]]:
    """A dock on a viewer without a window."""

    def make() -> Dock:
        dock = Dock(ViewerModel(), "Measure", "Measure the beads")
        qtbot.addWidget(dock)
        return dock

    yield make
    assert QThreadPool.globalInstance().waitForDone(5000)
    qtbot.wait(10)


def test_a_job_gives_its_result(make: Callable[[], Dock], qtbot: Any) -> None:
    dock, found = make(), []
    with qtbot.waitSignal(dock.ended, timeout=5000) as ended:
        dock.start(count, 5, then=found.append, title="Counting")
        assert not dock.footer.action.isEnabled()
        assert dock.footer.cancel.isEnabled()
    assert found == [5]
    assert ended.args[0].state == "done"
    assert dock.footer.action.isEnabled()
    assert dock.run is None


def test_cancel_stops_and_gives_nothing(make: Callable[[], Dock], qtbot: Any) -> None:
    dock, found = make(), []
    dock.start(count, 0, then=found.append)
    qtbot.waitUntil(lambda: dock.footer.bar.value() > 2, timeout=5000)
    with qtbot.waitSignal(dock.ended, timeout=5000):
        dock.footer.cancel.click()
    assert found == []
    assert "Stopped" in dock.footer.message.text()


def test_a_mistake_is_a_sentence(make: Callable[[], Dock], qtbot: Any) -> None:
    dock = make()
    with qtbot.waitSignal(dock.ended, timeout=5000):
        dock.start(fail, "Layer 'a' has no beads: choose another.", then=print)
    assert dock.footer.message.text() == "Layer 'a' has no beads: choose another."


def test_the_next_job_takes_the_place_of_the_last(make: Callable[[], Dock], qtbot: Any) -> None:
    dock, found = make(), []
    dock.start(count, 0, then=found.append)
    with qtbot.waitSignal(dock.ended, timeout=5000):
        dock.start(count, 3, then=found.append)
    assert found == [3]


def test_a_closed_dock_stops_its_job(make: Callable[[], Dock], qtbot: Any) -> None:
    dock = make()
    dock.start(count, 0, then=print)
    run = dock.run
    assert run is not None
    dock.deleteLater()
    qtbot.waitUntil(lambda: run.is_cancelled, timeout=5000)


def keep(kept: list[int], *, stop: threading.Event) -> Iterator[object]:
    """Counts without looking up; when it is stopped, what it has counted is its result."""
    try:
        for number in range(10_000):
            kept.append(number)
            yield number
            time.sleep(0.001)
    except Stopped:
        yield "stopping"
        return len(kept)


@pytest.mark.parametrize("waits", [False, True])
def test_work_that_is_stopped_may_keep_what_is_finished(qtbot: Any, waits: bool) -> None:
    kept: list[int] = []
    told: list[object] = []
    run = Run(keep, kept, waits=waits)
    run.arrived.connect(told.append)
    with qtbot.waitSignal(run.ended, timeout=5000) as ended:
        run.start()
        qtbot.waitUntil(lambda: len(told) > 2, timeout=5000)
        run.cancel()
    assert 2 < len(kept) < 10_000
    assert told == [*kept, "stopping"]
    assert (ended.args[0].state, ended.args[0].value) == ("done", len(kept))


@pytest.mark.parametrize("last", ["all", Outcome("done", value="all")])
def test_work_that_looks_up_by_itself_concludes_as_it_wants(qtbot: Any, last: object) -> None:
    def work(*, stop: threading.Event) -> Iterator[object]:
        assert stop.wait(20)
        yield from ()
        return last

    run = Run(work)
    with qtbot.waitSignal(run.ended, timeout=5000) as ended:
        run.start()
        run.cancel()
    assert (ended.args[0].state, ended.args[0].value) == ("done", "all")


@pytest.mark.parametrize("waits", [False, True])
def test_who_is_let_go_tells_nobody_and_ends(qtbot: Any, waits: bool) -> None:
    told: list[object] = []
    run = Run(count, 0, waits=waits)
    for signal in (run.arrived, run.ended):
        signal.connect(told.append)
    run.start()
    qtbot.waitUntil(lambda: len(told) > 2, timeout=5000)
    run.let_go()
    told.clear()
    qtbot.waitUntil(lambda: run not in Run._alive, timeout=5000)
    assert told == []


def test_those_who_wait_leave_the_pool_to_others(qtbot: Any) -> None:
    """As many sessions as the machine has cores, and more, hold up nobody's job."""
    most = QThreadPool.globalInstance().maxThreadCount()
    waiting = [Run(count, 0, waits=True) for _ in range(most + 1)]
    for run in waiting:
        run.start()
    quick = Run(count, 3)
    with qtbot.waitSignal(quick.ended, timeout=5000) as ended:
        quick.start()
    assert ended.args[0].value == 3
    for run in waiting:
        run.let_go()
    qtbot.waitUntil(lambda: not Run._alive, timeout=5000)


def test_a_stop_wakes_who_waits_for_something_else(qtbot: Any) -> None:
    gate = threading.Event()

    def wait(*, stop: threading.Event) -> Iterator[object]:
        assert gate.wait(20)
        yield from () if stop.is_set() else (1,)

    run = Run(wait, wake=gate.set, waits=True)
    with qtbot.waitSignal(run.ended, timeout=5000) as ended:
        run.start()
        run.cancel()
    assert isinstance(ended.args[0], Outcome)
    assert ended.args[0].state == "cancelled"


def test_a_plot_takes_the_colours_of_the_theme_and_prints_on_white(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inks, told = [], []
    monkeypatch.setattr(plot_module, "say", lambda _owner, *words: told.append(words))

    def draw(figure: Any, ink: Ink) -> None:
        inks.append(ink)
        figure.subplots().plot([0, 1], color=ink.lines[0])

    palette = Palette("dark")
    panel = PlotPanel(palette, "Widths")
    qtbot.addWidget(panel)
    assert not panel.save_button.isEnabled()
    panel.show_figure(draw)
    palette.use("light")
    panel.canvas.restyle()
    panel.save(tmp_path / "widths.png")
    dark, light, paper = (ink.background for ink in inks)
    assert int(dark[1:3], 16) < 80 < 200 < int(light[1:3], 16)
    assert paper == "#ffffff"
    assert (tmp_path / "widths.png").exists()
    assert told == [("Saved “widths.png”.", "done")]
    panel.show_reason("No bead was found.")
    assert [text.get_text() for text in panel.canvas.figure.texts] == ["No bead was found."]


def test_a_plot_is_arranged_for_the_size_it_has(qtbot: Any) -> None:
    """Side by side where it is wide, below each other where it is high, as for widths of beads."""
    shapes = []

    def draw(figure: Any, _ink: Ink) -> None:
        shapes.append("wide" if figure.get_figwidth() > figure.get_figheight() else "high")

    panel = PlotPanel(Palette("dark"), "Widths")
    qtbot.addWidget(panel)
    panel.show_figure(draw)
    panel.resize(300, 900)
    panel.show()
    qtbot.waitUntil(lambda: shapes[-1] == "high")
    panel.resize(900, 300)
    qtbot.waitUntil(lambda: shapes[-1] == "wide")


def test_what_is_warned_of_is_not_said_twice(qtbot) -> None:
    footer = footer_module.InstrumentFooter(Palette("dark"), "Go", "Begin")
    qtbot.addWidget(footer)
    footer.warn(["The gap is wide."])
    footer.say("The gap is wide.", "warning")
    assert not footer.message.text()
    footer.say("A lamp is out.", "warning")
    assert footer.message.text() == "A lamp is out."


def test_words_that_are_too_long_for_the_bar_keep_their_ends(qtbot) -> None:
    footer = footer_module.InstrumentFooter(Palette("dark"), "Go", "Begin")
    qtbot.addWidget(footer)
    footer.resize(300, 200)
    footer.show()
    footer.begin(f"Hoechst {'33342 ' * 20}(1/2), Recurrent-MZ", total=12)
    footer.progress(2, 12, seconds_left=20)
    shown = footer.bar.text()
    assert shown.startswith("Hoechst")
    assert shown.endswith("2 of 12 · 20 s left")
    assert footer.bar.fontMetrics().horizontalAdvance(shown) < footer.bar.width()


def test_the_time_left_counts_from_when_the_method_is_chosen(qtbot, monkeypatch) -> None:
    footer, now = footer_module.InstrumentFooter(Palette("dark"), "Go", "Begin"), [0.0]
    qtbot.addWidget(footer)
    monkeypatch.setattr(footer_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    footer.begin("Auto", first="checking on your scans…", total=12)
    assert footer.bar.text() == "Auto: checking on your scans…"
    now[0] = 100.0
    footer.retitle("Recurrent-MZ")
    now[0] = 102.0
    footer.progress(2, 12)
    assert footer.bar.text() == "Recurrent-MZ: 2 of 12 · 20 s left"
    footer.progress(0, 0, "Fitting")
    assert footer.bar.text() == "Fitting…"  # Qt hides the words of a bar without a range
