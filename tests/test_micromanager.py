"""The microscope on Micro-Manager's own core, with its demonstration devices, and with others."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demo_devices import PIXEL_UM, SomebodyElse, demo_core, wait_until
from napari_recurrent_mz.acquisition import (
    CoreMicroscope,
    Ended,
    Event,
    MicroscopeError,
    Moved,
    OthersFrames,
    Refined,
    Scanned,
    StageError,
    acquire,
    running_core,
    standing,
)
from napari_recurrent_mz.acquisition.simulated import simulated_core
from napari_recurrent_mz.core.optics import Optics
from napari_recurrent_mz.core.scans import InputError, Scan, ZGrid
from napari_recurrent_mz.engine.session import Session, load, save
from napari_recurrent_mz.io import read_image

OPTICS = Optics(na=1.2, wavelength_um=0.5, immersion_index=1.333, pixel_um=PIXEL_UM)
LIMITS_UM = (0.0, 8.0)
START_UM = 3.0


@pytest.fixture
def core() -> Iterator[Any]:
    core = demo_core()
    core.setPosition(START_UM)
    yield core
    core.unloadAllDevices()


@pytest.fixture
def microscope(core: Any) -> CoreMicroscope:
    return CoreMicroscope(core, limits_um=LIMITS_UM, timeout_s=5.0, settle_s=0.0)


@pytest.fixture
def session() -> Session:
    return Session(ZGrid(0.0, 8.0, 1.0), optics=OPTICS, method="lmmse")


def light(image: Any) -> float:
    """The mean of an image, which tells the height: waves follow the stage, and only wander."""
    return float(np.mean(image, dtype=np.float64))


def light_at(core: Any, z_um: float) -> float:
    """What the camera sees at a height; the stage is left there."""
    core.setPosition(z_um)
    return light(core.snap())


def at_end(events: list[Event]) -> Ended:
    assert isinstance(events[-1], Ended)
    return events[-1]


# --- scans ---


def test_a_scan_here_is_what_the_camera_shows_under_the_height_that_is_read(
    core: Any, microscope: CoreMicroscope
) -> None:
    scan = microscope.scan()
    assert scan.z_um == core.getPosition() == START_UM
    assert microscope.pixel_um == PIXEL_UM
    assert light(scan.image) == light_at(core, START_UM) != light_at(core, START_UM + 0.1)


def test_an_automatic_run_scans_where_the_session_suggests_and_comes_back(
    core: Any, microscope: CoreMicroscope, session: Session
) -> None:
    suggested, events = [session.suggest_z()], []
    for event in acquire(session, microscope, max_scans=4):
        events.append(event)
        if isinstance(event, Refined):
            suggested.append(session.suggest_z())
    end = at_end(events)
    assert end.reason in ("converged", "maximum")
    assert end.scans == len(session.scans) >= 3
    assert [scan.z_um for scan in session.scans] == pytest.approx(suggested[: end.scans])
    assert end.stage == "The stage is back at 3 µm."
    assert core.getPosition() == START_UM
    assert session.volume is not None
    assert np.isfinite(session.volume).all()
    for scan in session.scans:
        assert light(scan.image) == light_at(core, scan.z_um)


def test_a_run_goes_nowhere_outside_the_limits(
    core: Any, microscope: CoreMicroscope, session: Session
) -> None:
    microscope.limits_um = (2.5, 3.5)
    events = list(acquire(session, microscope, first_um=[3.0]))
    assert (at_end(events).reason, at_end(events).scans) == ("limits", 1)
    with pytest.raises(MicroscopeError, match=r"^The height 4 µm is outside the limits 2\.5 to"):
        microscope.move_to(4.0)
    assert core.getPosition() == START_UM
    core.setPosition(20.0)
    end = at_end(list(acquire(session, microscope)))
    assert "stands at 20 µm, outside the limits 2.5 to 3.5 µm" in end.sentence
    assert end.stage == "The stage stands at 20 µm."
    assert core.getPosition() == 20.0


@pytest.mark.parametrize(("afterwards", "left_um"), [("return", START_UM), ("stay", 6.0)])
def test_an_aborted_run_keeps_its_scans_and_says_where_the_stage_is(
    afterwards: str, left_um: float, core: Any, microscope: CoreMicroscope, session: Session
) -> None:
    abort, events = threading.Event(), []
    run = acquire(session, microscope, first_um=[6.0], abort=abort, afterwards=afterwards)
    for event in run:
        events.append(event)
        if isinstance(event, Scanned):
            abort.set()
    assert (at_end(events).reason, len(session.scans)) == ("aborted", 1)
    assert f"{left_um:g} µm." in at_end(events).stage
    assert core.getPosition() == left_um


# --- a stage that errs ---


def test_a_stage_that_refuses_a_height_ends_the_run_where_it_is(
    core: Any, microscope: CoreMicroscope, session: Session
) -> None:
    """Limits were typed that are wider than the stage's own travel, which is 300 µm."""
    microscope.limits_um = (0.0, 500.0)
    end = at_end(list(acquire(session, microscope, first_um=[5.0, 400.0])))
    assert (end.reason, end.scans) == ("failed", 1)
    assert "The stage 'Z' reports" in end.sentence
    assert "Position out of range" in end.sentence
    assert "sent to 400 µm, it was told to stop" in end.sentence
    assert end.stage == "The stage stands at 5 µm. It has not been moved again."
    assert core.getPosition() == 5.0


def test_a_stage_that_reads_no_number_gives_no_scan_and_is_not_moved(
    core: Any, microscope: CoreMicroscope, session: Session
) -> None:
    core.setPosition(float("nan"))
    for act in (microscope.scan, lambda: microscope.move_to(4.0)):
        with pytest.raises(StageError, match=r"^The stage 'Z' reads nan where its height should"):
            act()
        assert np.isnan(core.getPosition())
    end = at_end(list(acquire(session, microscope)))
    assert (end.reason, session.scans) == ("failed", ())
    assert end.stage == "Where the stage stands cannot be read. It has not been moved again."
    assert np.isnan(core.getPosition())


@pytest.mark.parametrize("stands_um", [3.7, 299.0])
def test_a_stage_that_does_not_arrive_gives_no_scan(
    stands_um: float,
    core: Any,
    microscope: CoreMicroscope,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    microscope = CoreMicroscope(core, limits_um=LIMITS_UM, timeout_s=0.2)
    go = core.setPosition
    monkeypatch.setattr(core, "setPosition", lambda label, _z_um: go(label, stands_um))
    end = at_end(list(acquire(session, microscope, first_um=[3.0, 6.0])))
    assert f"has not reached 3 µm within 0.2 s and reads {stands_um:g} µm; sent" in end.sentence
    assert end.stage == f"The stage stands at {stands_um:g} µm. It has not been moved again."
    assert session.scans == ()


def test_an_image_during_which_the_stage_moved_is_not_taken(
    core: Any, microscope: CoreMicroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    snap = core.snapImage

    def moved() -> None:
        core.setPosition(5.0)
        snap()

    monkeypatch.setattr(core, "snapImage", moved)
    with pytest.raises(MicroscopeError, match=r"'Z' went from 3 to 5 µm while the camera exposed"):
        microscope.scan()


# --- somebody else at the microscope ---


def test_no_frame_of_a_time_lapse_is_taken_elsewhere(core: Any, microscope: CoreMicroscope) -> None:
    """All the while, the stage is asked to go elsewhere."""
    from useq import MDASequence

    frames: list[float] = []
    core.mda.events.frameReady.connect(lambda image, *_: frames.append(light(image)))
    here = light_at(core, START_UM)
    sequence = MDASequence(time_plan={"interval": 0, "loops": 100})  # type: ignore[arg-type]
    thread = core.run_mda(sequence)
    wait_until(lambda: bool(frames))
    while thread.is_alive():
        with suppress(MicroscopeError):
            microscope.move_to(7.0)
    thread.join()
    assert frames == [here] * 100


def acquisition(core: Any) -> Callable[[], None]:
    """Somebody's time-lapse that waits for its next frame; what is returned ends it."""
    return SomebodyElse(core).end


def paused(core: Any) -> Callable[[], None]:
    other = SomebodyElse(core)
    core.mda.set_paused(True)
    return other.end


def live(core: Any) -> Callable[[], None]:
    core.startContinuousSequenceAcquisition()
    return core.stopSequenceAcquisition  # type: ignore[no-any-return]


def continuous_focus(core: Any) -> Callable[[], None]:
    core.enableContinuousFocus(True)
    return lambda: core.enableContinuousFocus(False)


def other_drive(core: Any) -> Callable[[], None]:
    core.loadDevice("Piezo", "DemoCamera", "DStage")
    core.initializeDevice("Piezo")
    core.setFocusDevice("Piezo")

    def end() -> None:
        core.setFocusDevice("Z")
        core.unloadDevice("Piezo")

    return end


OTHERS = {
    acquisition: "The microscope is in use: an acquisition of Micro-Manager runs; let it end",
    paused: "The microscope is in use: an acquisition of Micro-Manager is paused; let it end",
    live: "The microscope is in use: the camera 'Camera' takes images; stop Live",
    continuous_focus: "The autofocus device 'Autofocus' keeps the focus .* switch continuous focus",
    other_drive: "focus drive is 'Piezo' now, and was 'Z' when .* connected: connect again",
}


@pytest.mark.parametrize("begin", OTHERS)
def test_while_somebody_uses_the_microscope_nothing_moves_and_no_run_begins(
    begin: Callable[[Any], Callable[[], None]],
    core: Any,
    microscope: CoreMicroscope,
    session: Session,
) -> None:
    end_it = begin(core)
    for act in (microscope.scan, lambda: microscope.move_to(6.0)):
        with pytest.raises(MicroscopeError, match=OTHERS[begin]) as caught:
            act()
        assert not isinstance(caught.value, StageError)
    with pytest.raises(MicroscopeError, match=OTHERS[begin]) as caught, microscope.acquisition():
        pass
    end = at_end(list(acquire(session, microscope, first_um=[6.0])))
    assert (end.reason, end.sentence, end.scans) == ("failed", str(caught.value), 0)
    assert end.stage == "The stage stands at 3 µm."
    assert core.getPosition("Z") == START_UM
    end_it()
    assert microscope.move_to(6.0) == 6.0
    assert microscope.scan().z_um == 6.0


@pytest.mark.parametrize("begin", [live, continuous_focus, other_drive])
@pytest.mark.parametrize("kind", [Moved, Scanned, Refined])
def test_a_run_ends_where_it_is_once_somebody_uses_the_microscope(
    kind: type[Event],
    begin: Callable[[Any], Callable[[], None]],
    core: Any,
    microscope: CoreMicroscope,
    session: Session,
) -> None:
    """Not even home: the end says why, and where the stage is."""
    end_it: Callable[[], None] | None = None
    events: list[Event] = []
    for event in acquire(session, microscope, first_um=[6.0, 1.0]):
        events.append(event)
        if end_it is None and isinstance(event, kind):
            end_it = begin(core)
    assert end_it is not None
    end = at_end(events)
    assert (end.reason, end.scans) == ("failed", 0 if kind is Moved else 1)
    assert core.getPosition("Z") == 6.0
    assert end.stage == f"{end.sentence} The stage stands at 6 µm."
    end_it()


def test_during_a_run_no_other_acquisition_begins(
    core: Any, microscope: CoreMicroscope, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not between two scans, when the stage moves, when the camera exposes, on the way home."""
    refused: list[float] = []

    def try_to_begin(*_: Any) -> None:
        with pytest.raises(ValueError, match="previous MDA is still running"):
            core.run_mda([])
        refused.append(core.getPosition())

    for name in ("setPosition", "snapImage"):
        call = getattr(core, name)
        monkeypatch.setattr(core, name, lambda *a, call=call: (call(*a), try_to_begin()))
    events = []
    for event in acquire(session, microscope, first_um=[6.0], max_scans=1):
        if not isinstance(event, Ended):
            try_to_begin()
        events.append(event)
    assert at_end(events).reason == "maximum"
    assert refused[-1] == START_UM
    assert refused.count(6.0) >= len(events)
    core.run_mda([], block=True)


def test_live_that_begins_while_the_stage_is_on_its_way_ends_the_wait(
    core: Any, microscope: CoreMicroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "deviceBusy", lambda _label: True)

    def begin() -> bool:
        live(core)
        return False

    with pytest.raises(
        MicroscopeError, match=r"sent to 6 µm, something else began. .* 'Camera' ta"
    ):
        microscope.move_to(6.0, begin)
    core.stopSequenceAcquisition()


@pytest.mark.parametrize("kind", [Moved, Scanned, Refined])
def test_whoever_cancels_the_acquisition_aborts_the_run(
    kind: type[Event], core: Any, microscope: CoreMicroscope, session: Session
) -> None:
    told: list[str] = []
    core.mda.events.sequenceCanceled.connect(lambda _: told.append("cancelled"))
    events = []
    for event in acquire(session, microscope, first_um=[6.0, 1.0]):
        events.append(event)
        if isinstance(event, kind):
            core.mda.cancel()
    end = at_end(events)
    assert (end.reason, end.scans) == ("aborted", 0 if kind is Moved else 1)
    assert end.stage == "The stage is back at 3 µm."
    assert told == ["cancelled"]
    assert core.mda.status.phase == "idle"


def test_a_run_that_is_paused_goes_on_afterwards(
    core: Any, microscope: CoreMicroscope, session: Session
) -> None:
    """Nothing moves and nothing is exposed meanwhile."""
    frames: list[float] = []
    core.mda.events.frameReady.connect(lambda image, *_: frames.append(light(image)))
    events: list[Event] = []

    def go() -> None:
        events.extend(acquire(session, microscope, first_um=[6.0, 1.0], max_scans=2))

    core.mda.events.frameReady.connect(lambda *_: core.mda.set_paused(len(frames) == 1))
    thread = threading.Thread(target=go)
    thread.start()
    wait_until(lambda: core.mda.status.phase == "paused" and bool(session.history))
    thread.join(0.2)
    assert (core.getPosition(), len(frames), thread.is_alive()) == (6.0, 1, True)
    core.mda.set_paused(False)
    thread.join()
    assert (at_end(events).reason, len(frames)) == ("maximum", 2)


def test_a_run_moves_the_stage_back_only_where_it_was_asked_to(
    core: Any, microscope: CoreMicroscope, session: Session
) -> None:
    """pymmcore-plus does so by itself at the end, where it knows the direction of the focus."""
    core.setFocusDirection("Z", 1)
    for afterwards, left_um in (("stay", 6.0), ("return", 6.0)):
        list(acquire(session, microscope, first_um=[6.0], max_scans=1, afterwards=afterwards))
        assert core.getPosition() == left_um
    assert core.mda.engine.restore_initial_state is None  # as it was


def test_every_scan_knows_how_it_was_taken(
    core: Any, microscope: CoreMicroscope, session: Session, tmp_path: Path
) -> None:
    """And a session on the disk does, too."""
    core.setXYPosition(120.0, -40.0)
    core.waitForSystem()
    core.setConfig("Channel", "FITC")
    core.setChannelGroup("Channel")
    core.setExposure(7.0)
    began = datetime.now().astimezone()
    list(acquire(session, microscope, first_um=[6.0], max_scans=1))
    saved = load(save(session, tmp_path / "run.rmz")).scans[0].acquired
    for taken in (session.scans[0].acquired, saved):
        date = datetime.fromisoformat(taken["date"])
        assert began - timedelta(milliseconds=1) <= date <= datetime.now().astimezone()
        assert taken == {
            "date": taken["date"], "exposure_ms": 7.0, "channel": "FITC", "camera": "Camera",
            "pixel_um": PIXEL_UM, "x_um": pytest.approx(120, abs=0.1),
            "y_um": pytest.approx(-40, abs=0.1),
        }  # fmt: skip


@pytest.mark.parametrize("ending", ["ome.zarr", "ome.tiff"])
def test_pymmcore_plus_writes_the_frames_as_they_come(
    ending: str, core: Any, microscope: CoreMicroscope, session: Session, tmp_path: Path
) -> None:
    path = tmp_path / f"frames.{ending}"
    list(acquire(session, microscope, first_um=[6.0, 1.0], max_scans=2, output=path))
    written = read_image(path, z_axis="time").stack
    for scan, frame in zip(session.scans, written, strict=True):
        np.testing.assert_array_equal(frame, scan.pixels)


def test_a_program_that_fails_during_a_run_ends() -> None:
    """Although the thread of an acquisition holds a program up."""
    program = """
from demo_devices import demo_core
from napari_recurrent_mz.acquisition import CoreMicroscope
microscope = CoreMicroscope(demo_core(), limits_um=(0, 8))
held = microscope.acquisition()
held.__enter__()
raise SystemExit(3)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=Path(__file__).parent, timeout=60, check=False)
    assert done.returncode == 3


@pytest.mark.parametrize("seed", range(3))
def test_whoever_comes_and_goes_nothing_moves_meanwhile_and_scans_are_where_they_say(
    seed: int, core: Any, microscope: CoreMicroscope
) -> None:
    rng = np.random.default_rng(seed)
    scans: list[Scan] = []
    end_it: Callable[[], None] | None = None
    for _ in range(40):
        stands_um, z_um = core.getPosition("Z"), rng.uniform(*LIMITS_UM)
        if rng.random() < 0.4:
            begin = list(OTHERS)[rng.integers(len(OTHERS))]
            end_it = begin(core) if end_it is None else end_it()
        elif end_it is None:
            assert microscope.move_to(z_um) == pytest.approx(z_um)
            scans.append(microscope.scan())
        else:
            with pytest.raises(MicroscopeError):
                microscope.move_to(z_um)
            assert core.getPosition("Z") == stands_um
            with pytest.raises(MicroscopeError):
                microscope.scan()
    if end_it is not None:
        end_it()
    assert len(scans) > 5
    for scan in scans:
        assert light(scan.image) == light_at(core, scan.z_um)


def test_continuous_focus_that_cannot_be_asked_is_one_sentence(
    core: Any, microscope: CoreMicroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> bool:
        raise RuntimeError("no answer")

    monkeypatch.setattr(core, "isContinuousFocusLocked", fails)
    with pytest.raises(MicroscopeError, match=r"^The autofocus device 'Autofocus' reports 'no ans"):
        microscope.move_to(6.0)
    assert core.getPosition() == START_UM
    assert standing(microscope) == "The stage stands at 3 µm."


# --- frames of acquisitions that others run ---


@pytest.mark.parametrize("triggered", [False, True])
@pytest.mark.parametrize("channel", ["", "fitc"])
def test_the_frames_of_a_z_stack_of_others_are_scans_where_the_stage_was(
    channel: str, triggered: bool, core: Any
) -> None:
    """Of one channel at the first place and time; the rest is said once."""
    from useq import MDASequence

    core.setProperty("Z", "UseSequences", "Yes" if triggered else "No")
    scans: list[Scan] = []
    said: list[str] = []
    others = OthersFrames(core, scans.append, said.append, channel)
    sequence = MDASequence(
        axis_order="tpcz",
        channels=["DAPI", "FITC"],  # type: ignore[arg-type]
        stage_positions=[(10, 20, 100.0), (30, 40, 200.0)],  # type: ignore[arg-type]
        z_plan={"range": 4, "step": 2},  # type: ignore[arg-type]
        time_plan={"interval": 0, "loops": 2},  # type: ignore[arg-type]
    )
    core.run_mda(sequence, block=True)
    assert [scan.z_um for scan in scans] == pytest.approx([98, 100, 102], abs=1e-3)
    assert [scan.acquired["channel"] for scan in scans] == [channel.upper() or "DAPI"] * 3
    for scan in scans:
        assert scan.acquired["x_um"] == pytest.approx(10, abs=0.1)
        if not triggered:  # the stage of the demonstration is told the heights, and stays
            core.setConfig("Channel", scan.acquired["channel"])
            assert light(scan.image) == light_at(core, scan.z_um)
    assert len(said) == 1
    assert "are left out" in said[0]
    others.close()
    core.run_mda(sequence, block=True)
    assert len(scans) == 3


def test_the_height_of_a_frame_contains_what_autofocus_has_corrected(
    core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage is 1.5 µm from where the plan has it."""
    from useq import MDASequence

    scans: list[Scan] = []
    others = OthersFrames(core, scans.append, print)
    monkeypatch.setattr(core, "fullFocus", lambda: core.setZPosition(core.getZPosition() + 1.5))
    sequence = MDASequence(
        stage_positions=[(0, 0, 50.0)],  # type: ignore[arg-type]
        z_plan={"range": 2, "step": 2},  # type: ignore[arg-type]
        autofocus_plan={"autofocus_motor_offset": 0.0, "axes": ("p",)},  # type: ignore[arg-type]
    )
    core.run_mda(sequence, block=True)
    others.close()
    assert [scan.z_um for scan in scans] == pytest.approx([50.5, 52.5])


def test_the_frames_of_our_own_runs_are_not_taken_twice(
    core: Any, microscope: CoreMicroscope, session: Session
) -> None:
    scans: list[Scan] = []
    others = OthersFrames(core, scans.append, print)
    list(acquire(session, microscope, max_scans=2))
    others.close()
    assert (len(session.scans), scans) == (2, [])


# --- which core ---


def test_the_offset_of_continuous_focus_is_no_stage(
    core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "isContinuousFocusDrive", lambda label: label == "Z")
    with pytest.raises(InputError, match=r"'Z' is the offset of continuous focus.*the z drive"):
        CoreMicroscope(core, limits_um=LIMITS_UM)


def test_napari_micromanager_is_asked_for_its_core_first(
    core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its core is one of its own, and not the process's."""
    from pymmcore_plus import CMMCorePlus

    own = CMMCorePlus.instance()
    plugin = SimpleNamespace(get_core=lambda: core)
    monkeypatch.setitem(sys.modules, "napari_micromanager", plugin)
    assert running_core() is core
    assert CoreMicroscope(limits_um=LIMITS_UM).core is core

    def closed() -> Any:
        raise RuntimeError("No napari-micromanager MainWindow in this viewer.")

    plugin.get_core = closed
    assert running_core() is own
    monkeypatch.delattr(plugin, "get_core")  # a version that uses the process's
    assert running_core() is own


def test_the_simulator_is_never_taken_for_the_microscope(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is the first core of the process, which is elsewhere taken for its own."""
    from pymmcore_plus import CMMCorePlus
    from pymmcore_plus.core import _mmcore_plus

    from napari_recurrent_mz.acquisition.simulated import SimulatedStage

    monkeypatch.setattr(_mmcore_plus, "_instance", None)
    camera: Any = SimpleNamespace(shape=(40, 48), sample=SimpleNamespace(optics=OPTICS))
    simulated = simulated_core(camera, SimulatedStage(START_UM))
    own = CMMCorePlus.instance()
    assert type(own) is CMMCorePlus
    assert running_core() is own
    assert own is not simulated
    assert simulated.getFocusDevice()
    with pytest.raises(InputError, match="Micro-Manager has no camera: load your system"):
        CoreMicroscope(limits_um=LIMITS_UM)
