"""A session on disk: the same after opening, whatever is damaged, whenever the process ends."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
import torch
from scipy.ndimage import gaussian_filter

from files import write_ome
from napari_recurrent_mz import InputError, Optics, Scan, Session, ZGrid
from napari_recurrent_mz.core.progress import listening
from napari_recurrent_mz.engine.session import Autosave, Unsaved, load, save, unsaved_sessions
from napari_recurrent_mz.io import read_image
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import save_model

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
GRID = ZGrid(0, 4, 1)
KILL_TEST = Path(__file__).resolve().parents[1] / "docs" / "kill_test.py"


def scan(z_um: float, seed: int | None = None) -> Scan:
    """Smooth bright spots over an offset of 100, with noise."""
    rng = np.random.default_rng(round(100 * z_um) if seed is None else seed)
    spots = gaussian_filter(rng.normal(size=(48, 56)), 2)
    pixels = 100 + 400 * np.clip(spots / spots.std(), 0, None) + rng.normal(0, 3, spots.shape)
    return Scan(pixels, z_um, f"spots at {z_um:g}")


SCANS = [scan(z) for z in (0.0, 4.0, 2.0 / 3.0, 2.6)]


def linear(scans: int = 3, **options: Any) -> Session:
    session = Session(GRID, optics=OPTICS, method="lmmse", epsilon=0.031, **options)
    for one in SCANS[:scans]:
        session.add_scan(one)
    return session


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick network that does change the linear estimate."""
    torch.manual_seed(0)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=3, norm="none"))
    torch.nn.init.normal_(network.last.weight, std=0.05)
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    save_model(network, {}, path)
    return path


def networked(weights: Path, scans: int = 2) -> Session:
    session = Session(GRID, optics=OPTICS, model=weights, half=False, device="cpu")
    for one in SCANS[:scans]:
        session.add_scan(one, refine=False)
    list(session.refine())
    return session


class Told(list[tuple[str, str]]):
    """What was said."""

    def __call__(self, sentence: str, kind: str) -> None:
        assert "\n" not in sentence
        self.append((sentence, kind))

    @property
    def sentences(self) -> list[str]:
        return [sentence for sentence, _ in self]


def assert_same_scans(found: Session, expected: Session | list[Scan]) -> None:
    wanted = expected.scans if isinstance(expected, Session) else expected
    assert [(s.name, s.z_um) for s in found.scans] == [(s.name, s.z_um) for s in wanted]
    for one, other in zip(found.scans, wanted, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.pixels.dtype == np.float32


def finished(session: Session) -> Session:
    list(session.refine())
    assert not session.pending
    return session


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


# --- there and back -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["beads.rmz", "beads.rmz.zip"])
@pytest.mark.parametrize("method", ["lmmse", "recurrent-mz"])
def test_a_session_opens_as_it_was(tmp_path: Path, weights: Path, name: str, method: str) -> None:
    session = linear() if method == "lmmse" else networked(weights)
    path = save(session, tmp_path / name)
    assert path == tmp_path / name
    again = load(path, on_message=lambda sentence, _: pytest.fail(sentence))
    assert_same_scans(again, session)
    assert again.as_dict() == session.as_dict()
    assert again.settings == session.settings
    assert again.verdict() == session.verdict()
    assert not again.pending
    np.testing.assert_array_equal(again.volume, session.volume)
    for one in (session, again):
        one.add_scan(SCANS[3])
    np.testing.assert_allclose(again.volume, session.volume, rtol=1e-5, atol=1e-3)
    assert again.history[-1].relative_change == pytest.approx(session.history[-1].relative_change)
    assert [p.name for p in tmp_path.iterdir()] == [name]  # nothing is left beside it


def test_others_read_what_is_in_it(tmp_path: Path) -> None:
    session = linear()
    folder = save(session, tmp_path / "beads.rmz")
    index = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    assert index["versions"]["numpy"] == np.__version__
    assert index["session"]["settings"]["optics"]["na"] == OPTICS.na
    for one, line in zip(session.scans, index["session"]["scans"], strict=True):
        path = folder / "scans" / line["file"]
        np.testing.assert_array_equal(tifffile.imread(path), one.pixels)
        image = read_image(path)
        assert image.z_um == pytest.approx([one.z_um], abs=1e-6)
        assert image.pixel_um == OPTICS.pixel_um
    volume = read_image(only(folder, "volume-*.ome.zarr"))
    np.testing.assert_array_equal(volume.stack, session.volume)
    np.testing.assert_allclose(volume.z_um, GRID.z_um)


def test_what_is_not_finished_is_made_again(tmp_path: Path) -> None:
    session = linear(2)
    session.add_scan(SCANS[2], refine=False)
    again = load(save(session, tmp_path / "beads.rmz"))
    assert again.pending
    assert again.volume is None
    assert_same_scans(again, session)
    finished(again)
    finished(session)
    np.testing.assert_allclose(again.volume, session.volume, rtol=1e-6)
    found, expected = again.history, session.history
    assert [(e.event, e.names) for e in found] == [(e.event, e.names) for e in expected]


@pytest.mark.parametrize("name", ["beads.rmz", "beads.rmz.zip"])
@pytest.mark.parametrize("is_there", [False, True])
def test_saving_that_is_ended_leaves_what_was_there(
    tmp_path: Path, name: str, is_there: bool
) -> None:
    def files() -> dict[str, bytes]:
        inside = (path for path in tmp_path.rglob("*") if path.is_file())
        return {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in inside}

    if is_there:
        save(linear(2), tmp_path / name)
    before, session, told = files(), linear(3), []
    for last in range(100):

        def listen(_words: str, done: int, total: int, last: int = last) -> None:
            told.append((done, total))
            if done == last:
                raise KeyboardInterrupt

        told.clear()
        try:
            with listening(listen):
                save(session, tmp_path / name)
        except KeyboardInterrupt:
            assert files() == before
            assert list(tmp_path.iterdir()) == ([tmp_path / name] if is_there else [])
            continue
        break
    assert told == [(done, last) for done in range(last)]  # all that was announced, one by one
    assert last == 3 + (3 if name.endswith("zip") else 2) * len(GRID)
    np.testing.assert_array_equal(load(tmp_path / name).volume, session.volume)


def test_a_session_without_scans_keeps_its_settings(tmp_path: Path) -> None:
    session = linear(0)
    again = load(save(session, tmp_path / "empty.rmz.zip"))
    assert again.settings == session.settings
    assert again.scans == ()
    assert not again.pending


def test_saving_again_replaces_and_tidies(tmp_path: Path) -> None:
    session = linear()
    folder = save(session, tmp_path / "beads.rmz")
    before = {p.name: p.stat().st_mtime_ns for p in (folder / "scans").iterdir()}
    session.remove(0)
    finished(session)
    session.add_scan(scan(1.0))
    assert_same_scans(load(save(session, folder)), session)
    after = {p.name: p.stat().st_mtime_ns for p in (folder / "scans").iterdir()}
    assert len(after) == 3
    assert len(before.items() & after.items()) == 2  # what was there was not written again
    assert len([*folder.glob("volume-*")]) == 1
    save(linear(1), folder)
    assert len(load(folder / "session.json").scans) == 1


# --- where it cannot be -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("beads.tif", r"'beads.tif' does not say how to keep the session: end it in \.rmz"),
        ("there/beads.rmz", "for the session does not exist"),
        ("other.rmz", "'other.rmz' is there and is no session: choose another name"),
        ("folder.rmz.zip", "'folder.rmz.zip' is there and is no session"),
        ("archive.rmz.zip", "'archive.rmz.zip' is there and is no session"),
        ("raw.rmz", "'raw.rmz' is there and is no session"),
    ],
)
def test_a_wrong_place_is_refused(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "archive.rmz.zip").write_bytes(b"mine")
    (tmp_path / "raw.rmz" / "scans").mkdir(parents=True)
    raw = write_ome(tmp_path / "raw.rmz" / "scans" / "raw.ome.tif")
    (tmp_path / "other.rmz").mkdir()
    (tmp_path / "other.rmz" / "thesis.txt").write_text("mine")
    (tmp_path / "folder.rmz.zip").mkdir()
    with pytest.raises(InputError, match=sentence):
        save(linear(1), tmp_path / name)
    assert (tmp_path / "other.rmz" / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "archive.rmz.zip").read_bytes() == b"mine"
    assert raw.is_file()


def newer(folder: Path) -> None:
    index = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    index["format"] = "napari-recurrent-mz/session/2"
    index["versions"]["napari-recurrent-mz"] = "9.1"
    (folder / "session.json").write_text(json.dumps(index), encoding="utf-8")


def emptied(folder: Path) -> None:
    for path in (folder / "scans").iterdir():
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (newer, r"'beads.rmz' was written by a newer version of napari-recurrent-mz \(9.1\)"),
        (emptied, "None of the 3 scans of the session can be read"),
        (lambda folder: [emptied(folder), (folder / "session.json").unlink()],
         "'beads.rmz' holds no session that can be opened: its session.json is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_opened_says_why(
    tmp_path: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    folder = save(linear(), tmp_path / "beads.rmz")
    spoil(folder)
    with pytest.raises(InputError, match=sentence):
        load(folder, on_message=Told())


def test_no_session_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist: check the name"):
        load(tmp_path / "none.rmz")
    (tmp_path / "torn.rmz.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"'torn.rmz.zip' is no session, or is cut short \(16 by"):
        load(tmp_path / "torn.rmz.zip")
    path = save(linear(), tmp_path / "version.rmz.zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 245  # of zipfile 24.5, to extract it
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"'version.rmz.zip' is no session, or is cut short"):
        load(path)


# --- damage -------------------------------------------------------------------------------


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def flipped(path: Path) -> None:
    """One bit of a pixel, which no reader could notice."""
    with tifffile.TiffFile(path) as file:
        (start,) = file.pages.first.dataoffsets
    data = bytearray(path.read_bytes())
    data[start + 2000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("pattern", "spoil", "sentence", "scans"),
    [
        ("scans/z4um-*", cut_short,
         "is damaged: the scan 'spots at 4' at z = 4 µm is lost; 2 scans are opened.", (0, 2)),
        ("scans/z4um-*", flipped,
         "is damaged: the scan 'spots at 4' at z = 4 µm is lost; 2 scans are opened.", (0, 2)),
        ("scans/z0.666667um-*", Path.unlink,
         "is missing: the scan 'spots at 0.666667' at z = 0.6667 µm is lost; 2 scans", (0, 1)),
        ("session.json", cut_short,
         "'session.json' of 'beads.rmz' is missing or damaged: the history and the order of the "
         "scans are lost; 3 scans are opened with the settings in their files.", (0, 1, 2)),
        ("session.json", Path.unlink, "'session.json' of 'beads.rmz' is missing", (0, 1, 2)),
        ("session.json", lambda path: path.write_text('{"format": 7, "session": []}'),
         "'session.json' of 'beads.rmz' is missing or damaged", (0, 1, 2)),
        ("volume-*/0/c/1/0/0", Path.unlink, "is damaged: the volume is made again", (0, 1, 2)),
        ("volume-*/0/c/1/0/0", lambda path: path.write_bytes(b"no"), "is damaged: the volume",
         (0, 1, 2)),
        ("volume-*/zarr.json", Path.unlink, "is damaged: the volume is made again", (0, 1, 2)),
    ],
)  # fmt: skip
def test_damage_is_named_and_the_rest_opens(
    tmp_path: Path,
    pattern: str,
    spoil: Callable[[Path], object],
    sentence: str,
    scans: tuple[int, ...],
) -> None:
    told = Told()
    folder = save(linear(), tmp_path / "beads.rmz")
    path = only(folder, pattern)
    spoil(path)
    again = load(folder, on_message=told)
    assert_same_scans(again, [SCANS[i] for i in scans])
    ((said, kind),) = told
    assert sentence in said
    assert kind == "warning"
    if not pattern.startswith("volume"):
        assert f"'{path.name}'" in said
    assert again.settings == linear(0).settings
    finished(again)
    expected = Session(GRID, optics=OPTICS, method="lmmse")
    for i in scans:
        expected.add_scan(SCANS[i], refine=False)
    np.testing.assert_allclose(again.volume, finished(expected).volume, rtol=1e-5, atol=1e-3)


def test_a_lost_scan_is_no_reason_to_stop(tmp_path: Path) -> None:
    """The change against a volume from other scans is nobody's measure."""
    folder = save(linear(), tmp_path / "beads.rmz")
    only(folder, "scans/z4um-*").unlink()
    again = finished(load(folder, on_message=Told()))
    assert [e.event for e in again.history] == ["added", "added", "added", "reopened"]
    assert not again.should_stop(0.9)


def test_damage_in_one_file(tmp_path: Path) -> None:
    told = Told()
    path = save(linear(), tmp_path / "beads.rmz.zip")
    with zipfile.ZipFile(path) as kept:
        (member,) = (m for m in kept.infolist() if m.filename.startswith("scans/z4um-"))
        assert member.compress_type == zipfile.ZIP_STORED
    data = bytearray(path.read_bytes())
    data[member.header_offset + member.file_size // 2] ^= 1
    path.write_bytes(data)
    again = load(path, on_message=told)
    assert_same_scans(again, [SCANS[0], SCANS[2]])
    assert (
        told.sentences[0] == f"'{member.filename}' in 'beads.rmz.zip' is damaged and is left out."
    )
    assert "the scan 'spots at 4' at z = 4 µm is lost" in told.sentences[1]


def test_names_in_it_lead_nowhere_else(tmp_path: Path) -> None:
    """What is outside of the folder is not read, whatever the index says."""
    folder = save(linear(), tmp_path / "beads.rmz")
    path = only(folder, "scans/z4um-*")
    path.rename(tmp_path / path.name)
    text = (folder / "session.json").read_text(encoding="utf-8")
    (folder / "session.json").write_text(text.replace(path.name, f"../../{path.name}"))
    told = Told()
    assert_same_scans(load(folder, on_message=told), [SCANS[0], SCANS[2]])
    assert "is missing" in told.sentences[0]


def test_without_a_listener_damage_is_a_warning(tmp_path: Path) -> None:
    folder = save(linear(), tmp_path / "beads.rmz")
    only(folder, "scans/z4um-*").unlink()
    with pytest.warns(UserWarning, match="is missing: the scan 'spots at 4'"):
        load(folder)


# --- another computer ---------------------------------------------------------------------


def test_without_its_weights_the_scans_open_with_the_linear_estimate(
    tmp_path: Path, weights: Path
) -> None:
    own, told = tmp_path / "own.safetensors", Told()
    own.write_bytes(weights.read_bytes())
    session = networked(own)
    folder = save(session, tmp_path / "beads.rmz")
    own.unlink()
    again = load(folder, on_message=told)
    (sentence,) = told.sentences
    assert f"The weights '{own}' of this session are not on this computer (SHA-256" in sentence
    assert "its 2 scans are opened with the linear estimate instead of the network." in sentence
    assert again.settings.method == "lmmse"
    assert_same_scans(again, session)
    finished(again)
    expected = Session(GRID, optics=OPTICS, method="lmmse")
    for one in SCANS[:2]:
        expected.add_scan(one)
    np.testing.assert_allclose(again.volume, expected.volume, rtol=1e-5, atol=1e-3)
    moved = load(folder, model=weights, on_message=lambda sentence, _: pytest.fail(sentence))
    assert moved.settings.method == "recurrent-mz"
    np.testing.assert_array_equal(moved.volume, session.volume)


def test_weights_of_the_same_name_are_not_the_same(tmp_path: Path, weights: Path) -> None:
    own, told = tmp_path / "own.safetensors", Told()
    own.write_bytes(weights.read_bytes())
    folder = save(networked(own), tmp_path / "beads.rmz")
    torch.manual_seed(1)
    save_model(RecurrentMZ(NetworkConfig(base_channels=4, levels=3, norm="none")), {}, own)
    assert load(folder, on_message=told).settings.method == "lmmse"
    assert "are no longer what they were" in told.sentences[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this computer has a GPU")
def test_without_its_gpu_the_session_opens(tmp_path: Path) -> None:
    told = Told()
    folder = save(linear(), tmp_path / "beads.rmz")
    text = (folder / "session.json").read_text(encoding="utf-8")
    text = text.replace('"device": "auto"', '"device": "cuda"')
    (folder / "session.json").write_text(text, encoding="utf-8")
    again = load(folder, on_message=told)
    assert told == [
        ("No CUDA GPU was found: choose auto or cpu. The session goes on with auto.", "hint")
    ]
    assert not again.pending


# --- autosaving ---------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[Session, Autosave, Told]]:
    session, told = linear(0), Told()
    autosave = Autosave(session, tmp_path / "autosaved", on_message=told)
    yield session, autosave, told
    autosave.close()


Kept = tuple[Session, Autosave, Told]


def test_every_change_is_on_disk_at_once(kept: Kept) -> None:
    session, autosave, told = kept
    assert not autosave.path.exists()  # before the first scan there is nothing to lose
    seen = []
    session.plane_updated.connect(
        lambda update: seen.append(len(load(autosave.path).scans)) if update.index == 0 else None
    )
    for count, one in enumerate(SCANS, start=1):
        session.add_scan(one)
        assert seen[-1] == count  # before the volume was made
    again = load(autosave.path)
    assert again.as_dict()["history"] == session.as_dict()["history"]
    assert_same_scans(finished(again), session)
    assert again.as_dict() == session.as_dict()  # the same volume again is no news
    np.testing.assert_allclose(again.volume, session.volume, rtol=1e-6)
    session.remove()
    assert_same_scans(load(autosave.path), SCANS[:3])
    assert len([*(autosave.path / "scans").iterdir()]) == 3
    assert told == []


@pytest.mark.parametrize("choice", ["replace", "average", "keep"])
def test_a_second_scan_at_one_height_is_kept_too(kept: Kept, choice: str) -> None:
    session, autosave, _ = kept
    session.add_scan(SCANS[0], refine=False)
    session.add_scan(scan(0.0, seed=9), on_duplicate=choice, refine=False)
    again = load(autosave.path)
    assert_same_scans(again, session)
    assert again.as_dict() == session.as_dict()


def before_the_last_write(autosave: Autosave, change: Callable[[], object]) -> None:
    """The folder as it is when the process ends between a scan's file and the index."""
    index, files = autosave.path / "session.json", autosave.path / "scans"
    said = index.read_bytes()
    had = {path.name: path.read_bytes() for path in files.iterdir()}
    change()
    index.write_bytes(said)
    for name, data in had.items():
        (files / name).write_bytes(data)


@pytest.mark.parametrize(
    ("z_um", "choice", "event"),
    [(2.6, None, "added"), (4.0, "replace", "replaced"), (4.0, "average", "averaged"),
     (4.0, "keep", "added")],
)  # fmt: skip
def test_a_scan_that_the_index_does_not_list_yet_is_not_lost(
    kept: Kept, z_um: float, choice: str | None, event: str
) -> None:
    session, autosave, _ = kept
    session.add_scan(SCANS[0])
    session.add_scan(SCANS[1])
    new = scan(z_um, seed=7)
    before_the_last_write(
        autosave, lambda: session.add_scan(new, on_duplicate=choice, refine=False)
    )
    again = load(autosave.path)
    assert_same_scans(again, session)
    assert again.pending
    assert finished(again).history[-1].event == event
    assert len(again.history) == 3


def test_a_scan_that_was_removed_does_not_come_back(kept: Kept) -> None:
    session, autosave, _ = kept
    session.add_scan(SCANS[0])
    session.add_scan(SCANS[1])
    files = autosave.path / "scans"
    had = {path.name: path.read_bytes() for path in files.iterdir()}
    session.remove()
    for name, data in had.items():  # as if the process had ended before it was deleted
        (files / name).write_bytes(data)
    assert_same_scans(load(autosave.path), SCANS[:1])


def refuse(number: int) -> Callable[..., None]:
    def write(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return write


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "you may not write to its folder"),
     (errno.ENOENT, "the folder is missing")],
)  # fmt: skip
def test_a_disk_that_refuses_is_told_once_and_the_session_goes_on(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    session, autosave, told = kept
    session.add_scan(SCANS[0])
    with monkeypatch.context() as patch:
        patch.setattr(tifffile, "imwrite", refuse(number))
        session.add_scan(SCANS[1])
        session.add_scan(SCANS[2])
    assert told == [
        (
            f"The session is not autosaved ({reason}: '{autosave.path.parent}'): it goes on; "
            "save it elsewhere to keep it.",
            "warning",
        )
    ]
    assert not autosave.is_safe
    assert_same_scans(load(autosave.path), SCANS[:1])  # what was there is whole
    assert_same_scans(session, SCANS[:3])
    session.add_scan(SCANS[3])
    assert told[-1] == ("The session is autosaved again, with all its scans.", "done")
    assert autosave.is_safe
    assert_same_scans(load(autosave.path), session)


@pytest.mark.parametrize("name", ["mine.rmz", "mine.rmz.zip"])
def test_a_full_disk_is_told_of_the_session_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    session = Session(GRID, optics=OPTICS, method="lmmse")
    for scan in SCANS[:2]:
        session.add_scan(scan)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(InputError, match=f"^'{name}' could not be written: the disk is full"):
        save(session, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_made_again_where_it_can_be(kept: Kept) -> None:
    session, autosave, told = kept
    session.add_scan(SCANS[0])
    home = autosave.path.parent
    away = home.rename(home.with_name("elsewhere"))
    home.write_text("a drive that was taken out")
    session.add_scan(SCANS[1])
    ((sentence, _),) = told
    assert sentence.startswith("The session is not autosaved (the folder is missing: ")
    home.unlink()
    assert autosave.flush()
    assert_same_scans(load(autosave.path), session)
    assert_same_scans(load(away / autosave.path.name), SCANS[:1])


def test_a_session_that_has_scans_is_kept_from_the_start(tmp_path: Path) -> None:
    session = linear()
    autosave = Autosave(session, tmp_path)
    assert_same_scans(load(autosave.path), session)
    autosave.close(keep=True)
    session.add_scan(SCANS[3])  # no longer
    assert len(load(autosave.path).scans) == 3


# --- found again --------------------------------------------------------------------------


def owned_by(path: Path, **changes: Any) -> None:
    owner = path / "open.json"
    values = json.loads(owner.read_text(encoding="utf-8"))
    owner.write_text(json.dumps(values | changes), encoding="utf-8")


def test_sessions_that_were_not_closed_are_found(tmp_path: Path) -> None:
    autosaved = [Autosave(linear(count), tmp_path) for count in (1, 2, 3, 4)]
    assert len({one.path for one in autosaved}) == 4
    assert unsaved_sessions(tmp_path) == []  # they are open
    autosaved[0].close()
    autosaved[1].close(keep=True)
    nobody = max(psutil.pids()) + 1000
    owned_by(autosaved[2].path, pid=nobody)
    owned_by(autosaved[3].path, host="another computer")
    assert [one.scans for one in unsaved_sessions(tmp_path)] == [3, 2]
    owned_by(autosaved[3].path, host="another computer", started=1.0)
    owned_by(autosaved[2].path, pid=os.getpid(), started=1.0)  # the number was given again
    first = unsaved_sessions(tmp_path)[0]
    assert first.path == autosaved[2].path
    assert (
        first.sentence == f"A session of {first.began:%H:%M} with 3 scans was not saved: open it?"
    )
    first.discard()
    assert not autosaved[2].path.exists()
    assert unsaved_sessions(tmp_path / "nowhere") == []
    autosaved[3].close()


def test_closing_while_another_thread_tells_of_a_scan_does_not_hang(tmp_path: Path) -> None:
    session, telling, closing = linear(1), threading.Event(), threading.Event()

    def busy(_: object) -> None:  # told before the autosave is
        telling.set()
        closing.wait(10)

    session.scan_added.connect(busy)
    autosave = Autosave(session, tmp_path)
    adding = threading.Thread(target=session.add_scan, args=(SCANS[1],), daemon=True)
    ending = threading.Thread(target=autosave.close, kwargs={"keep": True}, daemon=True)
    adding.start()
    assert telling.wait(10)
    ending.start()
    ending.join(0.3)  # as far as it comes
    closing.set()
    for thread in (adding, ending):
        thread.join(20)
        assert not thread.is_alive()
    assert len(load(autosave.path).scans) == 2


def test_an_older_session_says_its_day() -> None:
    began = datetime.now().astimezone() - timedelta(days=40)
    sentence = Unsaved(Path("a.rmz"), began, 1).sentence
    assert f"of {began.day} {began:%B}, {began:%H:%M} with 1 scan was" in sentence


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_two_windows_autosave_in_one_folder(tmp_path: Path) -> None:
    """Neither touches what the other has; whichever is killed is offered with all its scans."""
    pipes, children = [os.pipe(), os.pipe()], []
    scans = [[scan(float(z), 10 * seed + z) for z in range(4)] for seed in (1, 2)]
    for own, (_, writing) in zip(scans, pipes, strict=True):
        children.append(os.fork())
        if not children[-1]:
            try:
                session = linear(0)
                autosave = Autosave(session, tmp_path)
                for one in own:
                    session.add_scan(one, refine=False)
                os.write(writing, str(autosave.path).encode())
                signal.pause()
            finally:
                os._exit(1)
    paths = [Path(os.read(reading, 4096).decode()) for reading, _ in pipes]
    assert unsaved_sessions(tmp_path) == []
    for child, path, own in zip(children, paths, scans, strict=True):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert path in [unsaved.path for unsaved in unsaved_sessions(tmp_path)]
        assert_same_scans(load(path), own)
    assert len(unsaved_sessions(tmp_path)) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_killed_process_loses_no_scan() -> None:
    """Three kills; ``docs/kill_test.py --kills 20`` is the whole test."""
    run = subprocess.run(
        [sys.executable, str(KILL_TEST), "--kills", "3", "--seed", "30"],
        capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    rows = [line.split("|")[1:-1] for line in run.stdout.splitlines()[2:5]]
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(rows) == 3
    for _, _, added, opened, _, lost, changed in rows:
        assert int(added) <= int(opened) <= int(added) + 1
        assert int(lost) == int(changed) == 0
    assert sum(int(row[2]) for row in rows) > 0
