"""A session: scans one at a time, the state that is kept, the history, and every wrong scan."""

from __future__ import annotations

import functools
import itertools
import json
import math
import pickle
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_recurrent_mz import InputError, Optics, Scan, Session, ZGrid, load_model, reconstruct
from napari_recurrent_mz.core.device import choose_device
from napari_recurrent_mz.core.metrics import relative_change
from napari_recurrent_mz.engine.session import SessionSettings
from napari_recurrent_mz.engine.tiles import NetworkPlanes
from napari_recurrent_mz.estimates.lmmse import LinearEstimate
from napari_recurrent_mz.networks import runner
from napari_recurrent_mz.networks.inputs import Scale
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.runner import Form
from napari_recurrent_mz.networks.weights import Model

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
GRID = ZGrid(0, 4, 1)
HEIGHTS = (0.0, 4.0, 2.0, 2.6)


def camera(seed: int, shape: tuple[int, int] = (64, 80), gain: float = 1.0) -> np.ndarray:
    """Counts of smooth bright spots over an offset of 100, with noise."""
    rng = np.random.default_rng(seed)
    spots = gaussian_filter(rng.normal(size=shape), 2)
    return 100 + gain * 400 * np.clip(spots / spots.std(), 0, None) + rng.normal(0, 3, shape)


def scan(z_um: float, seed: int | None = None, **options: Any) -> Scan:
    seed = round(100 * z_um) if seed is None else seed
    return Scan(camera(seed, **options), z_um, f"z{z_um:g}")


SCANS = [scan(z) for z in HEIGHTS]


def linear(**options: Any) -> Session:
    return Session(GRID, optics=OPTICS, method="lmmse", **options)


@functools.cache
def small() -> Model:
    """A quick network that does change the linear estimate."""
    torch.manual_seed(0)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=3, norm="none"))
    torch.nn.init.normal_(network.last.weight, std=0.05)
    return Model("small", "0", {}, network.eval())


def networked(**options: Any) -> Session:
    return Session(GRID, optics=OPTICS, **{"model": small(), "half": False, **options})


def common_scale() -> Scale:
    return Scale.of(np.stack([s.pixels for s in SCANS]))


def count_encoder_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often the network, in its plain form, encodes a scan."""
    passes = [0]
    monkeypatch.setattr(runner, "_best", lambda _model, _device, forms: Form(False, forms[0].half))
    encode = RecurrentMZ.encode

    def counted(self: RecurrentMZ, image: Any) -> Any:
        passes[0] += 1
        return encode(self, image)

    monkeypatch.setattr(RecurrentMZ, "encode", counted)
    return passes


# --- the volume ---------------------------------------------------------------------------


def full(model: Model, index: int, *, half: bool) -> np.ndarray:
    """The plane from all scans in one go."""
    device = replace(choose_device("cpu"), half=half)
    options: dict[str, Any] = {"reach_um": (0.0, 4.0), "on_message": print, "half": half}
    return NetworkPlanes(SCANS, OPTICS, model, device, **options).plane(float(index))


@pytest.mark.parametrize(
    ("bundled", "half", "budget", "allowed"),
    [(True, False, None, 1e-5), (True, True, None, 4e-3), (False, False, None, 1e-5),
     (False, False, 0, 1e-5), (False, True, None, 2e-3)],
)  # fmt: skip
def test_one_scan_at_a_time_equals_a_full_reconstruction(
    bundled: bool, half: bool, budget: int | None, allowed: float
) -> None:
    model = load_model() if bundled else small()
    session = networked(model=model, half=half, scale=common_scale(), state_bytes=budget)
    for one in SCANS[:2]:
        session.add_scan(one, refine=one is SCANS[1])
    for one in SCANS[2:]:
        session.add_scan(one)
    assert session.state_place == ("recomputed" if budget == 0 else "host")
    expected = full(model, 3, half=half)
    assert session.volume is not None
    assert np.abs(session.volume[3] - expected).max() <= allowed * np.ptp(expected)
    np.testing.assert_array_equal(session.volume[2], SCANS[2].pixels)


def test_it_is_what_reconstruct_gives() -> None:
    """The public function, in whatever precision this computer works."""
    session = networked(half=None, scale=common_scale())
    for one in SCANS[:3]:
        session.add_scan(one, refine=False)
    session.renormalise()
    list(session.refine())
    expected = reconstruct(
        SCANS[:3], GRID, optics=OPTICS, model=small(), method="recurrent-mz", device="cpu"
    )
    assert session.volume is not None
    assert np.abs(session.volume - expected).max() <= 2e-3 * np.ptp(expected)
    assert session.scale == Scale.of(np.stack([s.pixels for s in SCANS[:3]]))


def off_after_a_history(seed: int) -> list[float]:
    """Scans come, go, are averaged, undone; the scale is measured anew; work is left half done.

    How far each finished volume is off that of the same scans and scale, of its range.
    """
    rng, session, off = np.random.default_rng(seed), networked(), []
    heights = iter(rng.permutation([0.0, 0.5, 1.0, 1.7, 2.3, 3.0, 3.6, 4.0]).tolist())
    actions = [
        "add",
        "add",
        "average",
        "replace",
        "remove",
        "undo",
        "renormalise",
        "begin",
        "finish",
    ]
    for doing in rng.choice(actions, 18):
        here = session.scans
        if doing in ("average", "replace") and here:
            z_um, gain = rng.choice([one.z_um for one in here]), float(rng.uniform(0.5, 3))
            again = scan(z_um, gain=gain, shape=(32, 40))
            session.add_scan(again, on_duplicate=doing, refine=False)
        elif doing == "add" or not here:
            if (z_um := next(heights, None)) is not None:
                gain = float(rng.uniform(0.5, 3))
                session.add_scan(scan(z_um, gain=gain, shape=(32, 40)), refine=False)
        elif doing == "remove":
            session.remove(int(rng.integers(len(here))))
        elif doing == "undo":
            session.remove()
        elif doing == "renormalise":
            session.renormalise()
        else:
            count = int(rng.integers(1, 10)) if doing == "begin" else 100
            list(itertools.islice(session.refine(), count))
        if session.pending or len(session.scans) < 2:
            continue
        anew = networked(scale=session.scale)
        for one in session.scans:
            anew.add_scan(one, refine=False)
        list(anew.refine())
        assert session.volume is not None
        assert anew.volume is not None
        off.append(float(np.abs(session.volume - anew.volume).max() / np.ptp(anew.volume)))
    return off


@pytest.mark.parametrize("seed", range(40))
def test_whatever_was_done_the_volume_is_that_of_the_scans_and_the_scale(seed: int) -> None:
    assert max(off_after_a_history(seed), default=0) <= 1e-5


@pytest.mark.parametrize(("budget", "each"), [(None, [0, 2, 1, 1]), (0, [0, 2, 3, 4])])
def test_a_scan_costs_one_encoder_pass_a_plane(
    monkeypatch: pytest.MonkeyPatch, budget: int | None, each: list[int]
) -> None:
    """Unless the state could not be kept; the two planes at no scan's height count."""
    passes = count_encoder_passes(monkeypatch)
    session = networked(state_bytes=budget)
    found = []
    for one in SCANS:
        before = passes[0]
        session.add_scan(one)
        inferred = sum(all(abs(z - s.z_um) > 1e-3 for s in session.scans) for z in GRID.z_um)
        found.append((passes[0] - before) / inferred)
    assert found == each


def test_the_linear_estimate_comes_first() -> None:
    session = networked()
    session.add_scan(SCANS[0], refine=False)
    assert [u.stage for u in session.refine()] == ["scan", *["linear"] * 4]
    session.add_scan(SCANS[1], refine=False)
    updates = list(session.refine(order=[3, 1]))
    assert [(u.index, u.stage, u.final) for u in updates] == [
        (3, "linear", False),
        (1, "linear", False),
        (0, "scan", True),
        (2, "linear", False),
        (4, "scan", True),
        (3, "network", True),
        (1, "network", True),
        (2, "network", True),
    ]
    assert [u.done for u in updates] == [0, 0, 1, 1, 2, 3, 4, 5]
    expected = LinearEstimate(SCANS[:2], OPTICS, reach_um=(0.0, 4.0)).plane(3.0)
    np.testing.assert_allclose(updates[0].pixels, expected, rtol=1e-5)
    assert session.history[-1].method == "recurrent-mz"
    assert session.history[0].method == "lmmse"


def test_a_pause_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = count_encoder_passes(monkeypatch)
    session = networked()
    session.add_scan(SCANS[0], refine=False)
    session.add_scan(SCANS[1], refine=False)
    updates = session.refine()
    while next(updates).stage != "network":
        pass
    updates.close()
    assert session.pending
    assert not session.history
    asked = 0

    def soon() -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    list(session.refine(stopped=soon))  # in the middle of a plane: that plane is lost
    assert session.pending
    list(session.refine())
    assert not session.pending
    assert passes[0] == 3 * 2
    straight = networked()
    straight.add_scan(SCANS[0], refine=False)
    straight.add_scan(SCANS[1])
    np.testing.assert_array_equal(session.volume, straight.volume)


def test_a_scan_that_comes_meanwhile_ends_the_work_and_is_in_the_next() -> None:
    session = linear()
    session.add_scan(SCANS[0])
    session.add_scan(SCANS[1], refine=False)
    updates = session.refine()
    next(updates)
    session.add_scan(SCANS[2], refine=False)
    assert list(updates) == []
    list(session.refine())
    assert [(e.event, e.scans, e.z_um) for e in session.history] == [
        ("added", 1, (0.0,)),
        ("added", 3, (4.0, 2.0)),
    ]


def test_threads_share_a_session() -> None:
    """One refines, another adds: the volume ends as that of all scans."""
    session = linear()
    session.add_scan(SCANS[0])
    done = threading.Event()

    def work() -> None:
        while not done.is_set() or session.pending:
            for _ in session.refine():
                pass

    worker = threading.Thread(target=work)
    worker.start()
    for one in SCANS[1:]:
        session.add_scan(one, refine=False)
    done.set()
    worker.join(timeout=60)
    assert not session.pending
    expected = reconstruct(SCANS, GRID, optics=OPTICS, method="lmmse")
    np.testing.assert_allclose(session.volume, expected, atol=1e-3)


def test_an_order_must_name_planes_of_the_grid() -> None:
    session = linear()
    session.add_scan(SCANS[0], refine=False)
    with pytest.raises(InputError, match="outside of the grid's 5"):
        list(session.refine(order=[7]))


def test_confocal_like_planes_are_never_scans() -> None:
    session = Session(GRID, optics=OPTICS, method="lmmse-plus")
    for one in SCANS[:2]:
        session.add_scan(one)
    expected = reconstruct(SCANS[:2], GRID, optics=OPTICS, method="lmmse-plus")
    np.testing.assert_allclose(session.volume, expected, atol=1e-2)
    assert 0 <= session.suggest_z() <= 4


# --- the change and the end ---------------------------------------------------------------


def test_the_change_is_the_papers_criterion() -> None:
    session = linear()
    session.add_scan(SCANS[0])
    assert session.change is None
    assert math.isnan(session.history[0].relative_change)
    session.add_scan(SCANS[1])
    assert session.volume is not None
    before = session.volume.copy()
    entry = session.add_scan(SCANS[2])
    assert entry is session.history[-1]
    assert session.scale is not None
    dark = session.scale.normalisation.shift
    apart = (session.volume - before).astype(np.float64)
    assert entry.absolute_change == pytest.approx(np.linalg.norm(apart), rel=1e-6)
    assert entry.relative_change == pytest.approx(
        relative_change(before - dark, session.volume - dark), rel=1e-5
    )
    change = session.change
    assert change is not None
    np.testing.assert_allclose(
        change.absolute_per_plane, [np.linalg.norm(plane) for plane in apart], rtol=1e-6
    )
    np.testing.assert_allclose(
        change.relative_per_plane,
        [relative_change(before[i : i + 1] - dark, session.volume[i : i + 1] - dark)
         for i in range(5)],
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip


def test_a_session_on_a_thin_sample_stops_by_itself() -> None:
    """When the scans are closer than a depth of field, the next can bring nothing new."""
    grid, rng = ZGrid(0, 1, 0.1), np.random.default_rng(4)
    sheet = gaussian_filter(rng.normal(size=(64, 64)), 6)
    light = 100 + 1000 * (sheet - sheet.min())
    session = Session(grid, optics=OPTICS, method="lmmse")
    while len(session.scans) < 8:
        z_um = session.suggest_z()
        session.add_scan(Scan(light + rng.normal(0, 0.3, light.shape), z_um))
        if session.should_stop(epsilon=0.05):
            break
    assert 3 <= len(session.scans) < 8
    assert session.verdict(0.05).next_change <= 0.05
    assert not session.should_stop(epsilon=1e-6)
    with pytest.raises(InputError, match=r"0\.05 for a change of 5 %"):
        session.should_stop(epsilon=5)


# --- taking back --------------------------------------------------------------------------


def test_undo_brings_the_volume_before_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    session = networked()
    session.add_scan(SCANS[0])
    session.add_scan(SCANS[1])
    assert session.volume is not None
    before = session.volume.copy()
    session.add_scan(SCANS[2])
    passes = count_encoder_passes(monkeypatch)
    session.remove()
    assert passes == [0]
    assert not session.pending
    assert [e.scans for e in session.history] == [1, 2]
    np.testing.assert_array_equal(session.volume, before)
    session.add_scan(SCANS[3])  # what the network remembered of the scan that went is not used
    straight = networked()
    for one in (SCANS[0], SCANS[1], SCANS[3]):
        straight.add_scan(one, refine=one is not SCANS[0])
    np.testing.assert_allclose(session.volume, straight.volume, atol=2e-3)


def test_undo_in_the_middle_of_the_work() -> None:
    session = linear()
    session.add_scan(SCANS[0])
    session.add_scan(SCANS[1])
    assert session.volume is not None
    before = session.volume.copy()
    session.add_scan(SCANS[2], refine=False)
    session.remove(SCANS[2])  # it had not begun
    assert not session.pending
    session.add_scan(SCANS[2], refine=False)
    next(session.refine())
    session.remove()
    assert not session.pending
    assert len(session.history) == 2
    np.testing.assert_array_equal(session.volume, before)


def test_any_scan_can_be_removed() -> None:
    session = linear()
    for one in SCANS:
        session.add_scan(one)
    session.remove(1)
    assert session.pending
    list(session.refine())
    assert session.history[-1].event == "removed"
    assert session.history[-1].names == ("z4",)
    left = [SCANS[0], *SCANS[2:]]
    expected = reconstruct(left, GRID, optics=OPTICS, method="lmmse", on_message=print)
    np.testing.assert_allclose(session.volume, expected, atol=1e-3)
    for _ in range(3):
        session.remove()
    assert session.volume is None
    assert session.history == []
    assert session.scale is None
    for wrong in (0, SCANS[0]):
        with pytest.raises(InputError, match="no such scan to remove: the session has 0"):
            session.remove(wrong)
    session.add_scan(scan(1.0, shape=(48, 48)))  # another field, now that there is none
    assert session.volume is not None
    assert session.volume.shape == (5, 48, 48)


@pytest.mark.parametrize(
    ("choice", "heights", "event"),
    [("replace", (0.0, 4.0), "replaced"), ("average", (0.0, 4.0), "averaged"),
     ("keep", (0.0, 4.0, 4.0), "added")],
)  # fmt: skip
def test_a_second_scan_at_one_height(choice: str, heights: tuple[float, ...], event: str) -> None:
    session = linear()
    session.add_scan(SCANS[0])
    session.add_scan(SCANS[1])
    new = scan(4.0, seed=9)
    session.add_scan(new, on_duplicate=choice)
    assert [s.z_um for s in session.scans] == pytest.approx(heights, abs=3e-3)
    assert session.history[-1].event == event
    wanted = {
        "replace": new.pixels,
        "average": (new.pixels + SCANS[1].pixels) / 2,
        "keep": SCANS[1].pixels,
    }[choice]
    assert session.volume is not None
    np.testing.assert_allclose(session.volume[4], wanted, rtol=1e-5)
    if choice == "average":  # every image counts the same
        third = scan(4.0, seed=10)
        session.add_scan(third, on_duplicate="average")
        mean = (new.pixels + SCANS[1].pixels + third.pixels) / 3
        np.testing.assert_allclose(session.volume[4], mean, rtol=1e-5)


# --- wrong scans --------------------------------------------------------------------------


def saturated() -> Scan:
    image = camera(3)
    return Scan(np.minimum(image, np.percentile(image, 97)), 2.0, "bright")


def dark() -> Scan:
    return Scan(np.random.default_rng(0).normal(100, 3, (64, 80)), 2.0, "shutter")


@pytest.mark.parametrize(
    ("make", "options", "sentence"),
    [
        (lambda: scan(2.0, shape=(64, 64)), {}, "'z2' is 64 × 64 pixels but the session's scans"),
        (lambda: scan(2.0), {"pixel_um": 0.2}, "'z2' has pixels of 0.2 µm but the session 0.13"),
        (lambda: scan(9.0), {}, "'z9' is at z = 9 µm, outside the grid of 0 to 4 µm"),
        (lambda: scan(4.0), {}, "a scan at z = 4 µm already ('z4'): choose to replace it, average"),
        (lambda: scan(4.0), {"on_duplicate": "drop"}, "choose replace, average or keep"),
        (saturated, {}, "'bright' is saturated: 3 % of its pixels are at the camera's limit"),
        (dark, {}, "'shutter' holds nothing but noise: check lamp, shutter and height"),
        (lambda: Scan(np.full((64, 80), np.nan), 2.0, "bad"), {}, "bad' has 5120 pixels that are"),
        (lambda: Scan(np.zeros((64, 80)), 2.0, "black"), {}, "'black' is constant"),
    ],
)
def test_a_wrong_scan_leaves_the_session_as_it_was(
    make: Callable[[], Scan], options: dict[str, Any], sentence: str
) -> None:
    session = linear()
    session.add_scan(SCANS[0])
    session.add_scan(SCANS[1])
    state, volume = session.as_dict(), session.volume
    assert volume is not None
    before = volume.copy()
    with pytest.raises(InputError) as caught:
        session.add_scan(make(), **options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert session.as_dict() == state
    np.testing.assert_array_equal(session.volume, before)
    assert list(session.refine()) == []


@pytest.mark.parametrize(
    ("make", "options", "kind"),
    [
        (lambda: scan(4.0), {}, "height taken"),
        (saturated, {}, "doubtful scan"),
        (dark, {}, "doubtful scan"),
        (lambda: scan(9.0), {}, ""),
        (lambda: scan(4.0), {"on_duplicate": "drop"}, ""),
    ],
)
def test_a_refusal_that_can_be_answered_is_known_by_its_kind(
    make: Callable[[], Scan], options: dict[str, Any], kind: str
) -> None:
    """Nobody has to read the sentence, not even in another process."""
    session = linear()
    session.add_scan(SCANS[1])
    with pytest.raises(InputError) as caught:
        session.add_scan(make(), **options)
    assert caught.value.kind == kind
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.kind) == (str(caught.value), kind)


def test_a_doubtful_scan_can_be_accepted() -> None:
    session = linear()
    session.add_scan(saturated(), accept_doubtful=True)
    session.add_scan(Scan(dark().pixels, 3.0), accept_doubtful=True, pixel_um=0.1305)
    assert len(session.scans) == 2


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "words"),
    [
        ("channel", "GFP", "DAPI", "channel is DAPI in 'b' but GFP in 'a'"),
        ("wavelength_um", 0.519, 0.461, "emission wavelength (µm) is 0.461 in 'b' but 0.519"),
        ("na", 1.4, 0.8, "NA is 0.8 in 'b' but 1.4 in 'a'"),
    ],
)
def test_a_scan_of_another_channel_is_asked_about(
    name: str, ours: float | str, theirs: float | str, words: str
) -> None:
    session = linear()
    first, second = (scan(z).pixels for z in (1.0, 3.0))
    session.add_scan(Scan(first, 1.0, "a", {name: ours}), refine=False)
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        session.add_scan(Scan(second, 3.0, "b", {name: theirs}), refine=False)
    assert caught.value.kind == "doubtful scan"
    session.add_scan(Scan(second, 3.0, "b", {name: ours}), refine=False)
    session.add_scan(Scan(scan(2.0).pixels, 2.0, "unknown"), refine=False)
    assert [one.name for one in session.scans] == ["a", "b", "unknown"]


def test_one_image_has_one_height() -> None:
    session = linear()
    session.add_scan(Scan(scan(1.0).pixels, 1.0, "z1"), refine=False)
    again = Scan(scan(1.0).pixels, 3.0, "renamed")
    with pytest.raises(InputError, match="has the very pixels of 'z1', but z = ") as caught:
        session.add_scan(again, refine=False)
    assert caught.value.kind == "doubtful scan"
    session.remove()
    session.add_scan(again, refine=False)
    assert [one.z_um for one in session.scans] == [3.0]


def test_just_outside_the_grid_a_scan_still_helps() -> None:
    session = linear()
    session.add_scan(scan(4.0 + 1.9 * OPTICS.depth_of_field_um))
    assert session.volume is not None


def test_nothing_to_renormalise() -> None:
    with pytest.raises(InputError, match="no scan to take the intensity scale from"):
        linear().renormalise()


# --- what it says -------------------------------------------------------------------------


def test_signals_tell_what_happens() -> None:
    session, told = linear(), []
    session.scan_added.connect(lambda s: told.append(f"+{s.name}"))
    session.scan_removed.connect(lambda s: told.append(f"-{s.name}"))
    session.plane_updated.connect(lambda u: told.append(u.index))
    session.volume_changed.connect(lambda e: told.append(f"volume of {e.scans}"))
    session.add_scan(SCANS[0])
    session.add_scan(SCANS[1])
    session.remove()
    planes = [0, 1, 2, 3, 4]
    assert told == ["+z0", *planes, "volume of 1", "+z4", *planes, "volume of 2", "-z4",
                    "volume of 1"]  # fmt: skip


def test_a_scan_that_would_revise_the_scale_says_so() -> None:
    session, told = networked(), []
    session.message.connect(lambda sentence, kind: told.append((sentence, kind)))
    session.add_scan(SCANS[0])
    assert session.verdict().sentence.endswith(" The network is used from two scans on.")
    session.add_scan(SCANS[1])
    assert "network" not in session.verdict().sentence
    fixed = session.scale
    session.add_scan(scan(2.0, gain=3.0), refine=False)
    sentence, kind = told[-1]
    assert sentence.startswith("'z2' would revise the intensity scale of the first scans by")
    assert kind == "warning"
    assert session.scale == fixed
    session.renormalise()
    list(session.refine())
    assert session.scale != fixed
    assert session.history[-1].event == "several"
    assert not session.should_stop(0.9)


def test_many_scans_near_each_other_are_nothing_to_warn_of() -> None:
    session, told = Session(ZGrid(0, 9, 3), optics=OPTICS), []
    session.message.connect(lambda sentence, kind: told.append(kind))
    for z_um in np.arange(0, 10.5, 1.5):  # seven, where the network was trained with up to five
        session.add_scan(scan(float(z_um)), refine=False)
    assert "warning" not in told


def test_distances_that_the_network_does_not_know_are_told_once() -> None:
    session, told = Session(ZGrid(0, 12, 6), optics=OPTICS), []
    session.message.connect(lambda sentence, kind: told.append(sentence))
    for z_um in (0.0, 12.0, 11.0):
        session.add_scan(scan(z_um), refine=False)
    assert sum("was not trained for a gap" in sentence for sentence in told) == 2
    assert len(told) == len(set(told))


# --- memory -------------------------------------------------------------------------------


def test_no_room_for_the_states_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    session, told = networked(), []
    session.message.connect(lambda sentence, kind: told.append(kind))
    plane = NetworkPlanes.plane

    def full(self: NetworkPlanes, z_um: float, memory: Any = None) -> Any:
        if memory is not None and memory.entered:
            raise MemoryError
        return plane(self, z_um, memory)

    monkeypatch.setattr(NetworkPlanes, "plane", full)
    for one in SCANS[:3]:
        session.add_scan(one)
    assert session.state_place == session.history[-1].state_place == "recomputed"
    assert told[-1] == "warning"
    assert not session.pending


# --- keeping it ---------------------------------------------------------------------------


def test_a_session_goes_on_from_plain_values() -> None:
    session = networked(epsilon=0.1, state_bytes=10**9)
    for one in SCANS[:3]:
        session.add_scan(one)
    values = json.loads(json.dumps(session.as_dict()))
    assert SessionSettings.from_dict(values["settings"]) == session.settings
    images = [one.pixels for one in session.scans]
    again = Session.from_dict(values, images, session.volume, model=small())
    assert not again.pending
    assert again.as_dict() == session.as_dict()
    assert again.history[-1].relative_change == session.history[-1].relative_change
    for one in (session, again):
        one.add_scan(SCANS[3])
    np.testing.assert_allclose(again.volume, session.volume, atol=2e-3)
    without = Session.from_dict(values, images, model=small())
    assert without.pending
    assert without.scale == session.scale


# --- ahead --------------------------------------------------------------------------------


def test_the_session_looks_ahead() -> None:
    session = linear()
    assert session.suggest_z() == 2.0  # nothing is known: the middle
    np.testing.assert_array_equal(session.expected_error(), 1.0)
    assert "2 scans at" in session.plan(count=2).sentence
    with pytest.raises(InputError, match="at least three"):
        session.spread(1)
    for one in SCANS[:3]:
        session.add_scan(one)
    assert session.suggest_z() in (1.0, 3.0)
    assert session.suggest_z("largest-gap") in (1.0, 3.0)
    estimate = LinearEstimate(SCANS[:3], OPTICS, reach_um=(0.0, 4.0))
    np.testing.assert_allclose(session.expected_error(), estimate.expected_error(GRID.z_um))
    assert session.spread(1).shape == (64, 80)
    assert session.plan(target_error=0.9).expected_error <= 0.9
