"""Tables that are made once: from memory, from the disk, and from a disk that fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_recurrent_mz import kept_rows

K = np.arange(5.0)


class Maker:
    """Squares, and which were asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def __call__(self, start: int, stop: int) -> np.ndarray:
        self.asked.append((start, stop))
        return np.arange(start, stop)[:, None] ** 2 + K


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept_rows, "folder", lambda: tmp_path / "not" / "there yet")
    monkeypatch.setattr(kept_rows, "_known", {})
    return tmp_path / "not" / "there yet"


def started_again(monkeypatch: pytest.MonkeyPatch) -> Maker:
    """Another day: memory is empty."""
    monkeypatch.setattr(kept_rows, "_known", {})
    return Maker()


def expected(count: int) -> np.ndarray:
    return np.arange(count)[:, None] ** 2 + K


def test_only_what_is_missing_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Maker()
    for count in (4, 3, 9, 9):
        np.testing.assert_array_equal(kept_rows.rows("a", count, make), expected(count))
    assert make.asked == [(0, 4), (4, 9)]
    again = started_again(monkeypatch)
    np.testing.assert_array_equal(kept_rows.rows("a", 8, again), expected(8))
    assert not again.asked
    assert [path.suffix for path in folder.iterdir()] == [".npy"]


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"\x93NUMPY\x01\x00 cut off",
        np.full((9, 5), np.nan),
        np.zeros(9),
        np.zeros((9, 5), np.float32),
    ],
)
def test_a_damaged_file_is_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: bytes | np.ndarray
) -> None:
    kept_rows.rows("a", 9, Maker())
    (path,) = folder.iterdir()
    if isinstance(written, bytes):
        path.write_bytes(written)
    else:
        np.save(path, written)
    for times in (1, 0):
        again = started_again(monkeypatch)
        np.testing.assert_array_equal(kept_rows.rows("a", 9, again), expected(9))
        assert len(again.asked) == times


def test_a_folder_that_takes_nothing_does_no_harm(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where the folder should be")
    for _ in range(2):
        again = started_again(monkeypatch)
        np.testing.assert_array_equal(kept_rows.rows("a", 3, again), expected(3))
        assert again.asked == [(0, 3)]
    assert folder.read_text() == "a file where the folder should be"
