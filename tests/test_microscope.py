"""The microscope and the automatic run: order of events, limits, time-outs, abort, simulation."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, cast

import numpy as np
import pytest

from napari_recurrent_mz.acquisition import (
    CoreMicroscope,
    Ended,
    Event,
    Microscope,
    MicroscopeError,
    Moved,
    PlaneRefined,
    Refined,
    SimulatedSample,
    StageError,
    acquire,
    running_core,
    simulated_microscope,
    simulated_sample,
)
from napari_recurrent_mz.acquisition.microscope import check_height
from napari_recurrent_mz.acquisition.simulated import (
    SimulatedCamera,
    SimulatedStage,
    simulated_core,
)
from napari_recurrent_mz.core.optics import Optics
from napari_recurrent_mz.core.scans import InputError, Scan, ZGrid

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)


# --- the run, with a microscope and a session that only keep a diary ---


@dataclass
class FakeMicroscope:
    """Keeps where it was sent; fails on request."""

    limits_um: tuple[float, float] = (0.0, 10.0)
    z: float = 5.0
    fail: dict[str, Exception] = field(default_factory=dict)
    sent: list[float] = field(default_factory=list)
    name: str = "fake"
    pixel_um: float | None = 0.13

    @property
    def z_um(self) -> float:
        return self.z

    def move_to(self, z_um: float, aborted: Callable[[], bool] | None = None) -> float:
        self.check_free()
        if "move" in self.fail:
            raise self.fail["move"]
        if aborted is not None and aborted():
            return self.z
        assert self.limits_um[0] <= z_um <= self.limits_um[1], "sent outside the limits"
        self.sent.append(z_um)
        self.z = z_um + 0.01  # no stage arrives exactly
        return self.z

    def check_free(self) -> None:
        if "in use" in self.fail:
            raise self.fail["in use"]

    @contextmanager
    def acquisition(self, output: Any = None) -> Iterator[Callable[[], bool]]:  # noqa: ARG002
        self.check_free()
        yield lambda: False

    def scan(self) -> Scan:
        if "scan" in self.fail:
            raise self.fail["scan"]
        return Scan(np.random.default_rng(len(self.sent)).integers(0, 99, (20, 20)), self.z)


@dataclass
class FakeVerdict:
    stop: bool
    sentence: str = "Another scan would change little: you can stop."


@dataclass
class FakeSession:
    """Suggests the heights it is given; is content after so many scans."""

    suggestions: Sequence[float] = (2.0, 8.0, 4.0, 6.0, 1.0)
    content_after: int = 99
    planes: int = 2
    scans: list[Scan] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def add_scan(
        self, scan: Scan, *, pixel_um: float | None, accept_doubtful: bool, refine: bool
    ) -> None:
        assert (pixel_um, refine) == (0.13, False)
        self.scans.append(scan)
        self.calls.append(f"add {scan.z_um:.2f} {accept_doubtful}")

    def refine(
        self, *, order: Sequence[int] | None, stopped: Callable[[], bool] | None
    ) -> Iterator[int]:
        for index in order or range(self.planes):
            if stopped is not None and stopped():
                return
            yield index

    def verdict(self, epsilon: float | None) -> FakeVerdict:
        self.calls.append(f"verdict {epsilon}")
        return FakeVerdict(len(self.scans) >= self.content_after)

    def suggest_z(self) -> float:
        return self.suggestions[len(self.scans)]


def words(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__.lower() for event in events]


def last(events: Sequence[Event]) -> Ended:
    assert isinstance(events[-1], Ended)
    assert not any(isinstance(event, Ended) for event in events[:-1])
    assert events[-1].sentence.endswith(".")
    assert events[-1].stage.endswith(".")
    return events[-1]


ONE_SCAN = ["moved", "scanned", "planerefined", "planerefined", "refined"]


def test_a_run_scans_refines_and_stops_once_the_session_is_content() -> None:
    session, microscope = FakeSession(content_after=3), FakeMicroscope()
    events = list(acquire(session, microscope, epsilon=0.04))
    assert words(events) == [*ONE_SCAN * 3, "ended"]
    end = last(events)
    assert (end.reason, end.scans) == ("converged", 3)
    assert end.sentence == "Another scan would change little: you can stop."
    assert session.calls == [
        "add 2.01 False", "verdict 0.04", "add 8.01 False", "verdict 0.04", "add 4.01 False",
        "verdict 0.04",
    ]  # fmt: skip
    assert microscope.sent == [2.0, 8.0, 4.0, 5.0]  # and back to where it stood
    assert [e.z_um for e in events if isinstance(e, Moved)] == [2.01, 8.01, 4.01]


@pytest.mark.parametrize(
    ("session", "options", "reason", "sent"),
    [
        (FakeSession(), {"max_scans": 2}, "maximum", [2, 8, 5]),
        (FakeSession(), {"max_scans": 1, "afterwards": "stay"}, "maximum", [2]),
        (FakeSession(content_after=1), {"first_um": [3, 7]}, "converged", [3, 7, 5]),
        (FakeSession((2, 12)), {}, "limits", [2, 5]),
        (FakeSession((2, -0.5)), {}, "limits", [2, 5]),
        (FakeSession((2, 2.01)), {}, "exhausted", [2, 5]),
        (FakeSession((2, float("nan"))), {}, "limits", [2, 5]),
    ],
)
def test_why_a_run_ends(
    session: FakeSession, options: dict[str, Any], reason: str, sent: list[float]
) -> None:
    microscope = FakeMicroscope()
    end = last(list(acquire(session, microscope, **options)))
    assert (end.reason, microscope.sent) == (reason, sent)
    assert end.scans == len(session.scans)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"first_um": [3, 11]}, "outside the limits"),
        ({"max_scans": 0}, "at least 1"),
        ({"afterwards": "home"}, "return or stay"),
    ],
)
def test_wrong_arguments_are_said_at_once_and_nothing_moves(
    options: dict[str, Any], said: str
) -> None:
    microscope = FakeMicroscope()
    with pytest.raises(InputError, match=said):
        acquire(FakeSession(), microscope, **options)
    assert microscope.sent == []


@pytest.mark.parametrize("afterwards", ["return", "stay"])
@pytest.mark.parametrize("at", [*range(7)])
def test_an_abort_ends_the_run_and_leaves_the_stage_where_it_was_asked(
    at: int, afterwards: str
) -> None:
    """Set before the run, and after each of the events of the first scan and of the second."""
    session, microscope, abort = FakeSession(), FakeMicroscope(), threading.Event()
    events: list[Event] = []
    if at == 0:
        abort.set()
    for event in acquire(session, microscope, abort=abort, afterwards=afterwards):
        events.append(event)
        if len(events) == at:
            abort.set()
    end = last(events)
    assert end.reason == "aborted"
    assert len(events) == at + 1, "nothing but the end comes after an abort"
    assert end.scans == len(session.scans) == sum(w == "scanned" for w in words(events))
    visits = [2.0, 8.0][: 0 if at == 0 else 1 if at < 6 else 2]
    home = [5.0] if afterwards == "return" else []
    assert microscope.sent == [*visits, *home]


def test_a_closed_generator_leaves_the_stage_where_it_stood() -> None:
    microscope = FakeMicroscope()
    events = cast(Any, acquire(FakeSession(), microscope))
    next(events)
    events.close()
    assert microscope.sent == [2.0, 5.0]


def test_an_error_of_the_program_still_brings_the_stage_back() -> None:
    class Broken(FakeSession):
        def suggest_z(self) -> float:
            raise MemoryError("no room")

    microscope = FakeMicroscope()
    with pytest.raises(MemoryError):
        list(acquire(Broken(), microscope))
    assert microscope.sent == [5.0]


@pytest.mark.parametrize(
    ("fail", "sent"),
    [
        ({"scan": MicroscopeError("The camera has not answered.")}, [2.0, 5.0]),
        ({"in use": MicroscopeError("The microscope is in use.")}, []),
        ({"move": StageError("The stage has not answered.")}, []),
    ],
)
def test_a_failure_ends_the_run_and_a_lost_stage_is_not_moved_again(
    fail: dict[str, Exception], sent: list[float]
) -> None:
    session, microscope = FakeSession(), FakeMicroscope(fail=fail)
    end = last(list(acquire(session, microscope)))
    assert (end.reason, end.sentence) == ("failed", str(next(iter(fail.values()))))
    assert (microscope.sent, session.scans) == (sent, [])
    assert f"{microscope.z_um:g} µm." in end.stage


def test_a_session_that_refuses_a_scan_ends_the_run_with_its_sentence() -> None:
    class Refuses(FakeSession):
        def add_scan(self, *_: Any, **__: Any) -> None:
            raise InputError("The scan holds nothing but noise: check lamp and shutter.")

    microscope = FakeMicroscope()
    end = last(list(acquire(Refuses(), microscope)))
    assert end.reason == "failed"
    assert end.sentence.startswith("The scan holds nothing but noise")
    assert microscope.sent == [2.0, 5.0]


@pytest.mark.parametrize(("start", "home"), [(-0.3, 0.0), (10.2, 10.0)])
def test_a_stage_that_rests_on_a_limit_comes_back_to_the_limit(start: float, home: float) -> None:
    microscope = FakeMicroscope(z=start)
    assert last(list(acquire(FakeSession(), microscope, max_scans=1))).reason == "maximum"
    assert microscope.sent == [2.0, home]


def test_a_stage_outside_the_limits_is_not_moved() -> None:
    microscope = FakeMicroscope(z=200.0)
    end = last(list(acquire(FakeSession(), microscope)))
    assert end.reason == "failed"
    assert "stands at 200 µm, outside the limits 0 to 10 µm" in end.sentence
    assert microscope.sent == []


def test_limits_that_are_narrowed_meanwhile_hold_for_the_way_back_too() -> None:
    class Real(FakeMicroscope):
        def move_to(self, z_um: float, aborted: Callable[[], bool] | None = None) -> float:
            check_height(z_um, self.limits_um)
            return super().move_to(z_um, aborted)

    microscope = Real()
    events = []
    for event in acquire(FakeSession(), microscope, max_scans=1):
        events.append(event)
        microscope.limits_um = (0.0, 3.0)
    end = last(events)
    assert end.reason == "maximum"
    assert end.stage.startswith("The height 5 µm is outside the limits 0 to 3 µm")
    assert end.stage.endswith("The stage stands at 2.01 µm.")
    assert microscope.sent == [2.0]


def test_planes_in_view_are_asked_for_after_every_scan() -> None:
    views = iter([[1, 0], [0]])
    events = acquire(FakeSession(), FakeMicroscope(), max_scans=2, order=lambda: next(views))
    assert [e.update for e in events if isinstance(e, PlaneRefined)] == [1, 0, 0]


# --- a microscope that Micro-Manager drives ---


@pytest.fixture
def unicore() -> Any:
    return pytest.importorskip("pymmcore_plus.experimental.unicore")


@pytest.fixture(scope="module")
def sample() -> SimulatedSample:
    """Beads, 4 µm deep."""
    return simulated_sample("beads", depth_um=4.0, size=48, optics=OPTICS, seed=3)


@pytest.fixture
def stage() -> SimulatedStage:
    return SimulatedStage(2.0, speed_um_s=1000.0)


@pytest.fixture
def microscope(unicore: Any, sample: SimulatedSample, stage: SimulatedStage) -> CoreMicroscope:
    core = simulated_core(SimulatedCamera(sample, stage, seed=1), stage)
    return CoreMicroscope(core, limits_um=(0, 4), timeout_s=0.5, settle_s=0.0)


def test_it_is_what_a_run_needs(microscope: CoreMicroscope) -> None:
    needed: Microscope = microscope
    assert needed.name == "Simulated camera and Simulated stage"
    assert needed.limits_um == (0.0, 4.0)
    assert needed.pixel_um == 0.13
    assert needed.z_um == 2.0


def test_it_moves_and_waits(microscope: CoreMicroscope, stage: SimulatedStage) -> None:
    assert microscope.move_to(3.25) == stage.z_um == 3.25
    assert not stage.is_busy


@pytest.mark.parametrize("z_um", [-0.001, 4.001, 1e9, float("nan"), float("-inf")])
def test_it_is_never_sent_outside_the_limits(
    z_um: float, microscope: CoreMicroscope, stage: SimulatedStage
) -> None:
    with pytest.raises(MicroscopeError, match=r"outside the limits 0 to 4 µm.*not been moved\.$"):
        microscope.move_to(z_um)
    assert stage.visited_um == []
    microscope.limits_um = (1, 2)
    with pytest.raises(MicroscopeError, match="outside the limits 1 to 2"):
        microscope.move_to(3)
    assert stage.visited_um == []


@pytest.mark.parametrize("limits", [(4, 0), (1, 1), (0, float("nan")), (float("-inf"), 3)])
def test_limits_that_make_no_sense_are_refused(
    limits: tuple[float, float], microscope: CoreMicroscope
) -> None:
    with pytest.raises(InputError, match="leave the stage no way"):
        microscope.limits_um = limits
    assert microscope.limits_um == (0.0, 4.0)


def test_an_abort_on_the_way_stops_the_stage(
    microscope: CoreMicroscope, stage: SimulatedStage
) -> None:
    stage._speed = 1.0  # two seconds to go
    began = time.monotonic()
    stopped_at = microscope.move_to(4.0, lambda: time.monotonic() > began + 0.1)
    assert 2.0 < stopped_at < 3.9
    time.sleep(0.05)
    assert stage.z_um == pytest.approx(stopped_at)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("slow", r"has not reached 4 µm within 0.5 s and reads 2\.\d+ µm; sent"),
        ("stuck", r"has not reached 4 µm within 0.5 s and reads 2 µm; sent"),
        ("raises", r"reports 'serial port closed': check its power and cable; sent"),
        ("hangs", r"has not answered for 0.5 s: check its power and cable; sent"),
        ("nan", r"reads nan where its height should be: check its power and cable; sent"),
    ],
)
def test_a_stage_that_does_not_answer_is_one_sentence(
    fault: str,
    said: str,
    microscope: CoreMicroscope,
    stage: SimulatedStage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wake = threading.Event()
    stops: list[str] = []
    stop = microscope.core.stop
    monkeypatch.setattr(microscope.core, "stop", lambda label: (stops.append(label), stop(label)))

    def fails(*_: Any) -> bool:
        raise RuntimeError("serial port closed.\nsecond line")

    if fault == "slow":
        stage._speed = 1.0
    elif fault == "stuck":  # says it is idle, and stays where it is
        monkeypatch.setattr(microscope.core, "setPosition", lambda *_: None)
    elif fault == "raises":
        monkeypatch.setattr(microscope.core, "deviceBusy", fails)
    elif fault == "nan":
        reads = chain([2.0], repeat(float("nan")))
        monkeypatch.setattr(microscope.core, "getPosition", lambda _label: next(reads))
    else:
        monkeypatch.setattr(microscope.core, "setPosition", lambda *_: wake.wait(20))
    stopped = "to 4 µm, it was told to stop and is left where it is"
    with pytest.raises(StageError, match=rf"^The stage 'Simulated stage' {said} {stopped}\.$"):
        microscope.move_to(4.0)
    wake.set()
    assert stops == ["Simulated stage"]
    rest = stage.z_um
    time.sleep(0.05)
    assert stage.z_um == rest


def test_a_stage_that_is_idle_too_soon_is_waited_for(
    microscope: CoreMicroscope, stage: SimulatedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some drivers say that they are done while the stage still moves."""
    monkeypatch.setattr(microscope.core, "deviceBusy", lambda _label: False)
    stage._speed = 10.0
    assert microscope.move_to(4.0) == 4.0


def test_a_camera_that_fails_or_is_in_use_is_one_sentence(
    microscope: CoreMicroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = microscope.core

    def fails() -> None:
        raise RuntimeError("no frame")

    def hangs() -> None:
        wake.wait(20)
        fails()

    wake = threading.Event()
    for name, replaced, said in (
        ("snapImage", fails, "The camera 'Simulated camera' has given no image: .* log says why"),
        ("getImage", lambda _: np.zeros((4, 4, 3)), r"gives images of shape \(4, 4, 3\)"),
        (
            "isSequenceRunning",
            lambda _label: True,
            "is in use: the camera 'Simulated camera' takes",
        ),
        ("snapImage", hangs, "The camera 'Simulated camera' has not answered for 0.6 s: check its"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(core, name, replaced)
            with pytest.raises(MicroscopeError, match=said) as caught:
                microscope.scan()
            assert not isinstance(caught.value, StageError)
    wake.set()


def test_a_core_without_devices_is_one_sentence(unicore: Any) -> None:
    core = unicore.UniMMCore(mm_path=".")
    with pytest.raises(InputError, match="has no camera: load your system configuration"):
        CoreMicroscope(core, limits_um=(0, 1))


def test_the_running_core_is_that_of_the_process(microscope: CoreMicroscope) -> None:
    from pymmcore_plus import CMMCorePlus

    assert running_core() is CMMCorePlus.instance()


def test_without_pymmcore_plus_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, sample: SimulatedSample
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "pymmcore_plus"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pymmcore_plus", None)
    for make in (running_core, lambda: simulated_microscope(sample)):
        with pytest.raises(InputError, match=r"pip install 'napari-recurrent-mz\[microscope\]'\."):
            make()


# --- the simulated one ---


def test_a_frame_is_the_plane_at_the_height_of_the_stage(
    microscope: CoreMicroscope, sample: SimulatedSample
) -> None:
    """Photon and read noise explain all of the difference, at and between the stack's planes."""
    for z_um in (0.0, float(sample.z_um[3]), 1.77, 4.0):
        microscope.move_to(z_um)
        frame = np.asarray(microscope.scan().image, float)
        light = 2000.0 * np.maximum(sample.plane(z_um), 0)
        expected, variance = light + 100.0, light + 1.5**2 + 1 / 12
        score = (frame - expected) / np.sqrt(variance)
        assert abs(score.mean()) < 4 / np.sqrt(score.size)
        assert score.std() == pytest.approx(1.0, abs=0.05)


def test_between_its_planes_the_sample_is_as_optics_has_it(sample: SimulatedSample) -> None:
    """Against the same object imaged at four times as many heights."""
    from napari_recurrent_mz.simulation.phantoms import phantom
    from napari_recurrent_mz.simulation.simulate import imaging

    step = float(sample.z_um[1])
    coarse, fine = (
        imaging(OPTICS, planes=n, size=48, z_step_um=d, lateral_margin=16)
        for n, d in ((len(sample.z_um), step), (2 * len(sample.z_um) - 1, step / 2))
    )
    volume = phantom("beads", coarse.space, np.random.default_rng(3))
    # The same point sources on the finer grid: they stay on the coarse one's planes.
    above = fine.margin[0] - 2 * coarse.margin[0]
    between = np.zeros(fine.object_shape, np.float32)
    for number, plane in enumerate(volume):
        if 0 <= 2 * number + above < len(between):
            between[2 * number + above] = plane
    truth = fine.image(between).numpy()
    scale = float((sample.stack * truth[::2]).sum() / (truth[::2] ** 2).sum())
    inner = range(4, len(sample.z_um) - 5)
    error = [sample.plane((i + 0.5) * step) - scale * truth[2 * i + 1] for i in inner]
    assert np.abs(sample.stack - scale * truth[::2]).max() < 0.02
    assert float(np.sqrt(np.mean(np.square(error)))) < 0.01


def test_the_same_seed_gives_the_same_frames_and_no_two_are_alike(
    unicore: Any, sample: SimulatedSample
) -> None:
    first, again, other = (
        simulated_microscope(sample, seed=seed).scan().image for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    one = simulated_microscope(sample, seed=1)
    assert np.any(one.scan().image != one.scan().image)


def test_a_longer_exposure_gathers_more_light(microscope: CoreMicroscope) -> None:
    short = np.mean(microscope.scan().image) - 100
    microscope.core.setExposure(300.0)
    assert np.mean(microscope.scan().image) - 100 == pytest.approx(3 * short, rel=0.02)


def test_a_run_of_a_real_session_on_the_simulated_microscope(
    unicore: Any, sample: SimulatedSample
) -> None:
    """It goes where the session suggests, stops by itself, and the volume is near the truth."""
    from napari_recurrent_mz.engine.session import Session

    grid = ZGrid(0.0, 4.0, 0.5)
    session = Session(grid, optics=OPTICS, method="lmmse")
    microscope = simulated_microscope(sample, start_um=1.0)
    events = list(acquire(session, microscope, epsilon=0.2, max_scans=8))
    end = last(events)
    assert end.reason == "converged"
    assert 3 <= end.scans < 8
    assert end.stage == "The stage is back at 1 µm."
    assert microscope.z_um == 1.0
    assert sum(isinstance(event, Refined) for event in events) == end.scans
    assert sum(isinstance(event, PlaneRefined) for event in events) >= end.scans * len(grid)
    truth = np.stack([2000.0 * sample.plane(float(z)) + 100 for z in grid.z_um])
    assert session.volume is not None
    error = float(np.sqrt(np.mean((session.volume - truth) ** 2)))
    assert error < 0.03 * 2000  # of bright structure; the photons' noise included
