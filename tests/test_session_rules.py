"""A session's rules: when to stop, where the states go, what it cannot be started with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_recurrent_mz import InputError, Optics, Session, ZGrid
from napari_recurrent_mz.core.device import Device
from napari_recurrent_mz.engine.session import Change, HistoryEntry, state_bytes, state_place
from napari_recurrent_mz.engine.session._history import judged
from napari_recurrent_mz.engine.tiles import tiles
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
GRID = ZGrid(0, 4, 1)


def test_an_empty_plane_has_not_changed() -> None:
    change = Change(np.array([0.0, 4.0, 9.0]), np.array([0.0, 0.0, 36.0]))
    np.testing.assert_array_equal(change.relative_per_plane, [0.0, np.inf, 0.5])


def entry(scans: int, changed: float | None, ahead: float, event: str = "added") -> HistoryEntry:
    change = None if changed is None else Change(np.array([changed**2]), np.array([1.0]))
    return HistoryEntry(event, scans, (1.0,), ("a",), "lmmse", change, 0.1, ahead, 1.0)


@pytest.mark.parametrize(
    ("history", "stop", "sentence"),
    [
        ([], False, "There is no scan yet: add one."),
        (
            [entry(1, None, 0.3)],
            False,
            "Another scan would change the volume by about 30 %: go on, "
            "1 of at least 3 scans taken.",
        ),
        (
            [entry(2, 0.01, 0.01)],
            False,
            "Another scan would change the volume by about 1 %: go on, "
            "2 of at least 3 scans taken.",
        ),
        (
            [entry(4, 0.03, 0.02)],
            True,
            "Another scan would change the volume by about 2 %: you can stop.",
        ),
        (
            [entry(4, 0.06, 0.074)],
            False,
            "Another scan would change the volume by about 7.4 %, more than 5 %: go on.",
        ),
        (
            [entry(4, 0.03, 0.074)],
            False,
            "Another scan would change the volume by about 7.4 %, more than 5 %, though the last "
            "one changed 3 %: go on.",
        ),
        (
            [entry(4, 0.12, 0.02)],
            False,
            "Another scan would change the volume by about 2 %, but the last one still changed "
            "12 %: go on.",
        ),
        (
            [entry(5, 0.03, 0.02), entry(4, 0.01, 0.02, "removed")],
            False,
            "Another scan would change the volume by about 2 %: one more will show whether it "
            "holds.",
        ),
    ],
)
def test_the_verdict(history: list[HistoryEntry], stop: bool, sentence: str) -> None:
    found = judged(history, 0.05)
    assert (found.stop, found.sentence) == (stop, sentence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"method": "deep-z"}, "cannot use Deep-Z: choose recurrent-mz"),
        ({"method": "linear"}, "cannot use Linear interpolation"),
        ({"method": "auto"}, "cannot use Auto"),
        ({"epsilon": 0.0}, "ε = 0 is not between 0 and 1"),
        ({"rule": "hope"}, "The rule 'hope' is unknown"),
        ({"state_bytes": -1}, "cannot be below 0 bytes"),
        ({"model": "deep-z"}, "'deep-z' is a network of the method deep-z"),
        ({"method": "recurrent-mz-plus", "model": "recurrent-mz"}, "makes wide-field images"),
    ],
)
def test_a_session_is_refused_in_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Session(GRID, optics=OPTICS, **options)


@pytest.mark.parametrize(
    ("shape", "half", "megabytes"), [((1024, 1024), True, 81.3), ((1024, 1024), False, 162.5),
                                     ((500, 500), True, 20.3)],
)  # fmt: skip
def test_the_state_of_a_plane(shape: tuple[int, int], half: bool, megabytes: float) -> None:
    """20 + 10 + 5 + 2.5 + 1.25 numbers for each pixel, padded to a multiple of 16."""
    one = tiles(shape, 1024, 64)
    assert state_bytes(one, NetworkConfig(), half=half) / 1e6 == pytest.approx(megabytes, rel=0.01)


def test_tiles_keep_their_overlaps_too() -> None:
    whole, many = (
        state_bytes(tiles((1024, 1024), size, 64), NetworkConfig(), half=True)
        for size in (1024, 512)
    )
    assert many > 1.2 * whole


@pytest.mark.parametrize(
    ("needed", "kind", "budget", "place"),
    [
        (1_000, "cpu", None, "host"),
        (1_000, "cuda", None, "device"),
        (6_000, "cuda", None, "host"),
        (60_000, "cuda", None, "recomputed"),
        (1_000, "cuda", 999, "recomputed"),
        (60_000, "cpu", None, "recomputed"),
        (60_000, "mps", None, "recomputed"),
        (40_000, "mps", None, "host"),
    ],
)
def test_where_the_states_go(
    monkeypatch: pytest.MonkeyPatch, needed: int, kind: str, budget: int | None, place: str
) -> None:
    """Half of what is free: here 10,000 bytes on the device and 100,000 in main memory."""
    free = type("Free", (), {"available": 100_000})
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (10_000, 20_000))
    assert state_place(needed, Device(kind, kind, half=False), budget) == place
