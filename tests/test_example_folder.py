"""Examples on disk: made by the seed alone, taken up again, refused to others, learned from."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io._whole import try_lock
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import load_model
from napari_recurrent_mz.simulation import pupil
from napari_recurrent_mz.training.check import Validation, check_groups
from napari_recurrent_mz.training.examples import ExampleConfig
from napari_recurrent_mz.training.folder import Contents, ExampleFolder
from napari_recurrent_mz.training.learner import TrainConfig
from napari_recurrent_mz.training.losses import LossConfig
from napari_recurrent_mz.training.microscopes import SampleConfig
from napari_recurrent_mz.training.store import FolderExamples

CPU = torch.device("cpu")
SMALL = ["--size", "64", "--n-planes", "12", "--samples", "1", "--targets", "2"]
SMALL += ["--questions", "3", "--sets", "worm", "--device", "cpu"]
QUICK = ["--base-channels", "4", "--levels", "2", "--crop", "32", "--batch", "2", "--device", "cpu"]


@pytest.fixture(scope="module", autouse=True)
def _small_grids() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pupil, "_LARGEST_GRID", 160)
        yield


def simulate(folder: Path, *more: str) -> int:
    return main(["simulate", "examples", str(folder), *SMALL, *more])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, _small_grids: None) -> Path:
    """A check and two groups."""
    folder = tmp_path_factory.mktemp("made") / "examples"
    assert simulate(folder, "--groups", "2") == 0
    return folder


def test_what_is_there_is_kept_and_what_is_missing_is_made_the_same(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(made, folder)
    missing = folder / "group-000001.safetensors"
    missing.unlink()
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    assert simulate(folder, "--groups", "2") == 0
    assert {name: (folder / name).stat().st_mtime_ns for name in stamps} == stamps
    assert missing.read_bytes() == (made / missing.name).read_bytes()
    told = capsys.readouterr().out
    assert "4 of 5 files are there" in told
    assert re.search(r" [1-9]\d* MB of disk in all, about [\d.]+ [GM]B of memory on ", told)


def test_what_another_process_makes_is_left_to_it_and_not_timed(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(made, folder)
    missing, other = folder / "group-000000.safetensors", folder / "group-000001.safetensors"
    missing.unlink()
    other.unlink()
    lock = try_lock(folder / f".{missing.name}.lock")
    assert lock is not None
    assert simulate(folder, "--groups", "2") == 0
    assert not missing.exists()
    assert other.exists()
    assert "for the others" not in capsys.readouterr().out
    lock.release()


def test_sets_are_kept_in_half_precision_and_the_size_that_is_told_is_right(made: Path) -> None:
    folder = ExampleFolder.open(made)
    for path in made.glob("*.safetensors"):
        for name, value in load_file(path).items():
            assert value.dtype == (
                torch.float32 if name[2:] in ("distance", "scale") else torch.float16
            )
            assert bool(torch.isfinite(value).all())
    jobs = folder.jobs(folder.groups())
    assert folder.expected_gigabytes(jobs) == pytest.approx(folder.gigabytes, rel=0.2)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--seed", "2"], "made with other settings (seed)"),
        (["--size", "80"], "made with other settings (size)"),
        (["--groups", "0"], "--groups is 0: give at least 1"),
        (["--sets", "cats"], "choose one of general, beads, worm, plus"),
        (["--examples-gb", "0.0001"], "give at least --examples-gb 0.0"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(
    made: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert simulate(made, "--groups", "3", *more) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert ExampleFolder.open(made).groups() == [0, 1]


def test_a_disk_without_room_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert simulate(tmp_path / "examples", "--groups", "2") == 1
    words = r"/examples' may need \S+ MB but its disk has 0.1 MB free: .* smaller --examples-gb\.$"
    assert re.search(words, capsys.readouterr().err)
    assert not list((tmp_path / "examples").glob("*.safetensors"))
    usage = usage._replace(free=4 * 56 * 192**2)  # one field, with its confocal counterpart
    fields = ["simulate", "fields", str(tmp_path / "fields"), "--confocal", "--count"]
    assert main([*fields, "2"]) == 1
    words = r"/fields' may need 17 MB but its disk has 8 MB free: .* smaller --count\.$"
    assert re.search(words, capsys.readouterr().err)
    assert not list((tmp_path / "fields").iterdir())


def test_the_disk_holds_no_more_than_it_may(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(made, folder)
    least = ExampleFolder.open(made).gigabytes
    assert simulate(folder, "--examples-gb", f"{least:.6f}") == 0
    assert ExampleFolder.open(folder).groups() == [0, 1]


def test_a_full_folder_is_renewed_and_a_training_follows(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "examples"
    shutil.copytree(made, path)
    folder = ExampleFolder.open(path)
    source = FolderExamples(folder, config(), CPU, 0.1)
    source(0, 0, 3)
    monkeypatch.setattr(
        ExampleFolder,
        "make",
        lambda _, job, __: shutil.copy(made / "group-000001.safetensors", job[0]),
    )
    renewed = folder.renewing(CPU, folder.gigabytes * 1.01)
    assert [next(renewed) for _ in range(3)] == [2, 3, 4]
    assert folder.groups() == [3, 4]
    before = sum(source.ring.added.values())
    source(0, 50, 3)
    assert sum(source.ring.added.values()) == 2 * before


def test_a_full_check_has_240_questions_and_a_third_are_hard() -> None:
    groups = check_groups(SampleConfig(), Contents().questions)
    counted = {third: sum(len(g.kinds) for t, g in groups if t == third) for third, _ in groups}
    assert sum(counted.values()) >= 240
    assert counted["hard"] == sum(counted.values()) / 3
    hard = [group.config for third, group in groups if third == "hard"]
    assert all(config.wrong == config.aberrated == 1.0 for config in hard)
    assert all(config.photons[1] <= 1000 and config.coarse_share > 0.5 for config in hard)


def test_lost_questions_count_against_the_mean() -> None:
    def result(gain_db: float, lost: float) -> Validation:
        return Validation(gain_db, lost, {}, {}, {}, -1.0, 240)

    assert result(1.50, 0.08).score > result(1.58, 0.13).score
    assert result(1.58, 0.10).score > result(1.45, 0.11).score


def config(**changes: Any) -> TrainConfig:
    network = NetworkConfig(base_channels=4, levels=2, norm="none", nonnegative=True)
    return replace(
        TrainConfig(batch=3, network=network, examples=ExampleConfig(crop=32)), **changes
    )


def test_new_groups_are_taken_up_as_they_appear(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(made, folder)
    second = folder / "group-000001.safetensors"
    second.unlink()
    source = FolderExamples(ExampleFolder.open(folder), config(), CPU, 0.1)
    source(0, 0, 3)
    before = sum(source.ring.added.values())
    shutil.copy(made / second.name, second)
    source(0, 1, 3)
    assert sum(source.ring.added.values()) == before
    source(0, 50, 3)
    assert sum(source.ring.added.values()) == 2 * before


def test_batches_depend_on_the_step_alone(made: Path) -> None:
    """Whatever was drawn before: a resumed run goes on as if it had not stopped."""
    one, other = (FolderExamples(ExampleFolder.open(made), config(), CPU, 0.1) for _ in range(2))
    for step in range(7):
        one(0, step, 3)
    for ours, theirs in zip(one(0, 7, 3).tensors(), other(0, 7, 3).tensors(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("order", ["depth", "distance"])
def test_scans_enter_in_the_order_asked_for(made: Path, order: str) -> None:
    asked = config(examples=ExampleConfig(crop=32, order=order))
    source = FolderExamples(ExampleFolder.open(made), asked, CPU, 0.1)
    batches = [source(0, step, 3) for step in range(6)]
    assert max(batch.inputs.scans.shape[1] for batch in batches) > 1
    for batch in batches:
        dpm = batch.inputs.scans[:, :, 1, 0, 0].numpy()
        falling = dpm if order == "depth" else np.abs(dpm)
        assert (np.diff(falling, axis=1) <= 0).all()


def test_losses_of_images_get_whole_images(made: Path) -> None:
    """The same question in other units: what is missing of the truth is the same."""
    folder = ExampleFolder.open(made)
    part, whole = (
        FolderExamples(folder, config(loss=loss), CPU, 0.1)(0, 0, 3)
        for loss in (LossConfig(), LossConfig(ms_ssim=1.0))
    )
    assert float(part.linear.abs().max()) == 0
    assert float(whole.linear.std()) > 0
    missing = whole.truth - whole.linear
    scale = (missing.abs().amax((1, 2, 3)) / part.truth.abs().amax((1, 2, 3)))[:, None, None, None]
    torch.testing.assert_close(missing, part.truth * scale, rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(whole.inputs.unit, part.inputs.unit * scale, rtol=1e-2, atol=1e-4)


def test_training_on_examples_is_stopped_and_goes_on(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    argv = ["train", str(run), "--examples", str(made), *QUICK, "--validate-every", "2"]
    assert main([*argv, "--steps", "2"]) == 0
    assert main([*argv, "--steps", "4"]) == 0
    told = capsys.readouterr().out
    assert "from step 2" in told
    assert "% of 3 questions below -0.05 dB" in told
    with (run / "log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert {"gain_db", "worst_db", "lost", "dead_channels", "dead_levels"} < rows[0].keys()
    model = load_model(run / "weights.safetensors")
    assert model.network.config.slope == 0.01
    assert model.card["data"]["sets"] == 6
    assert model.card["held_out"]["by_case_db"].keys() == {"as told", "as in training", "hard"}

    argv = ["--model", str(run / "weights.safetensors"), "--device", "cpu"]
    assert main(["validate", str(made), *argv, "--json", str(tmp_path / "check.json")]) == 0
    checked = json.loads((tmp_path / "check.json").read_text())
    assert checked["questions"] == 3
    assert checked["gain_db"] == pytest.approx(model.card["held_out"]["gain_db"], abs=0.01)
    assert main(["validate", str(tmp_path), *argv]) == 1
    assert "There is no simulated field in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--target", "confocal"], "for networks with --target widefield"),
        (["--points"], "for networks with --points False, and this one has True"),
        (["--fields", "somewhere"], "or too much"),
    ],
)
def test_examples_that_cannot_be_learned_from_are_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert main(["train", str(tmp_path), "--examples", str(made), *QUICK, *more]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_damage_is_named(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    with pytest.raises(InputError, match="There are no examples in"):
        ExampleFolder.open(folder)
    shutil.copytree(made, folder)
    (folder / "check-000.safetensors").unlink()
    check = ExampleFolder.open(folder).questions()
    with pytest.raises(InputError, match="its 1 missing files"):
        next(check)
    path = folder / "group-000000.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"group-000000\.safetensors' is damaged: delete it"):
        FolderExamples(ExampleFolder.open(folder), config(), CPU, 0.1)(0, 0, 3)
    about = folder / "examples.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "layout": 0, "more": 1}))
    with pytest.raises(InputError, match="of another version"):
        ExampleFolder.open(folder)


def test_a_network_without_the_object_or_the_optics_learns_from_the_same_sets(made: Path) -> None:
    """A correction without the non-negative object, and one that starts from weights."""
    folder = ExampleFolder.open(made)
    for network in (
        NetworkConfig(base_channels=4, levels=2, norm="none"),
        NetworkConfig(base_channels=4, levels=2, norm="none", contrast="linear", correction=False),
    ):
        batch = FolderExamples(folder, config(network=network), CPU, 0.1)(0, 0, 3)
        output = RecurrentMZ(network)(*batch.inputs)
        assert output.shape == batch.truth.shape
        assert bool(torch.isfinite(output).all())
