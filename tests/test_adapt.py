"""Adapting a model to a microscope: a user's stack in, weights out, never worse than the start."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_recurrent_mz import Optics
from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.device import choose_device
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io import write_volume
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import Model, load_model, save_model
from napari_recurrent_mz.training.adapt import Adapter, adapting, gain_at_start, write_adapted
from napari_recurrent_mz.training.examples import ExampleConfig
from napari_recurrent_mz.training.learner import TrainConfig
from napari_recurrent_mz.training.losses import LossConfig
from napari_recurrent_mz.training.measured import (
    MeasuredField,
    StackPool,
    held_out_notes,
    measured_field,
    split,
)
from napari_recurrent_mz.training.sets import make_sets
from napari_recurrent_mz.training.store import FieldExamples

OPTICS = Optics(na=0.8, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.3)
SMALL = NetworkConfig(base_channels=4, levels=2, norm="none", contrast="linear")
Z_UM = 0.5 * np.arange(14)


def sample(shape: tuple[int, int, int] = (14, 64, 96)) -> np.ndarray:
    """Counts of points that blur with their distance from the plane, and photon noise."""
    rng = np.random.default_rng(5)
    stack = np.zeros(shape, np.float32)
    for z, y, x in rng.uniform(0, 1, (20, 3)) * shape:
        points = np.zeros(shape[1:], np.float32)
        points[int(y), int(x)] = 4000
        for plane in range(shape[0]):
            stack[plane] += ndimage.gaussian_filter(points, 1 + 0.7 * abs(plane - z))
    return rng.poisson(stack + 100).astype(np.uint16)


STACK = sample()


@pytest.fixture(scope="module")
def field() -> MeasuredField:
    return measured_field(STACK, Z_UM, OPTICS, "mine")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A network that is not its linear estimate any more."""
    torch.manual_seed(0)
    network = RecurrentMZ(SMALL)
    torch.nn.init.normal_(network.last.weight, std=0.5)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_model(network, {"trained_for": {"na": [1.2, 1.4], "scans": [1, 5]}}, path)
    return load_model(path)


@pytest.fixture
def make(field: MeasuredField, start: Model, tmp_path: Path) -> Callable[..., Adapter]:
    def make(folder: str = "run", fields: Any = None, **changes: Any) -> Adapter:
        fields = fields or [field]
        base = adapting(start, fields)
        examples = replace(base.examples, crop=32, targets=1)
        settings = {"steps": 3, "batch": 2, "warm_up": 1, "validate_every": 3, "examples": examples}
        more = {key: changes.pop(key) for key in ("minutes", "stopped") if key in changes}
        config = replace(base, **(settings | changes))
        return Adapter(config, fields, tmp_path / folder, start=start, device="cpu", **more)

    return make


@pytest.mark.parametrize(
    ("stack", "z_um", "words"),
    [
        (STACK[0], [0.0], "one image, not a stack"),
        (STACK[:1], Z_UM[:1], "one image, not a stack"),
        (np.zeros((64, 96, 3), np.uint8), np.arange(64), "an RGB image"),
        (STACK[:8], Z_UM[:8], "only 8 planes"),
        (STACK, Z_UM / 5, "only 1.3 µm deep"),
        (STACK[:, :40], Z_UM, "only 40 × 96 pixels"),
        (STACK, Z_UM**2, "not evenly spaced"),
        (STACK, Z_UM[:-1], "not evenly spaced"),
        (STACK.astype(complex), Z_UM, "real intensities"),
        (STACK * np.where(np.arange(14) == 3, np.nan, 1)[:, None, None], Z_UM, "NaN"),
    ],
)
def test_what_cannot_be_learned_from_is_told(stack: Any, z_um: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as told:
        measured_field(stack, z_um, OPTICS, "mine")
    assert "'mine'" in str(told.value)


def test_the_lowest_plane_comes_first_and_nothing_is_copied() -> None:
    falling = measured_field(STACK, -Z_UM, OPTICS, "mine")
    np.testing.assert_array_equal(falling.stack, STACK[::-1])
    assert falling.z_step_um == pytest.approx(0.5)
    assert np.shares_memory(falling.stack, STACK)


@pytest.mark.parametrize("sign", [1, -1])
def test_scans_and_targets_are_at_the_heights_that_a_stage_read_back(sign: int) -> None:
    """They scatter around even ones."""
    z_um = sign * (Z_UM + np.random.default_rng(2).uniform(-0.04, 0.04, len(Z_UM)))
    assert np.abs(np.diff(z_um) / (0.5 * sign) - 1).max() > 0.05
    field = measured_field(STACK, z_um, OPTICS, "mine")
    above_um = np.sort(z_um) - z_um.min()
    rng, examples = np.random.default_rng(0), ExampleConfig(targets=4, spacing_dof=(1.0, 2.5))
    stack = field.drawn("widefield", examples, rng)
    take = stack.draw(examples, 2, rng)
    assert len(take.targets) == 4
    np.testing.assert_allclose(take.z_um, above_um[take.scans])
    sets = make_sets([stack], [take], SMALL, torch.device("cpu"), torch.Generator())
    unit_um = SMALL.dpm_unit_dof * OPTICS.depth_of_field_um
    away_um = above_um[take.targets][:, None] - above_um[take.scans]
    np.testing.assert_allclose(sets.distance[0] * unit_um, away_um, rtol=1e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_the_last_quarter_along_the_longer_side_is_held_out(turned: bool) -> None:
    stack = STACK.transpose(0, 2, 1) if turned else STACK
    train, held_out = split(measured_field(stack, Z_UM, OPTICS, "mine"))
    back = (0, 2, 1) if turned else (0, 1, 2)
    np.testing.assert_array_equal(train.stack.transpose(back), STACK[:, :, :72])
    np.testing.assert_array_equal(held_out.stack.transpose(back), STACK[:, :, 72:])


@pytest.mark.parametrize(("shape", "width"), [((64, 96), 24), ((252, 96), 63), ((256, 64), None)])
def test_a_held_out_quarter_too_narrow_to_judge_by_is_told(
    shape: tuple[int, int], width: int | None
) -> None:
    notes = held_out_notes(measured_field(np.zeros((14, *shape)), Z_UM, OPTICS, "mine"))
    assert bool(notes) == (width is not None)
    assert all(f"'mine' that is held out is {width} pixels wide" in note for note in notes)


def test_scans_and_truth_are_planes_as_the_camera_gave_them() -> None:
    square = measured_field(STACK[:, :, :64], Z_UM, OPTICS, "mine")
    examples, whole = ExampleConfig(crop=64, targets=3, scans=(0, 0, 1)), LossConfig(ms_ssim=1)
    config = TrainConfig(network=SMALL, examples=examples, loss=whole)
    made = FieldExamples(StackPool([square]), config, choose_device("cpu"))(1, 0, 3)
    planes = [np.sort(plane.ravel()) for plane in square.stack.astype(np.float32)]

    def plane_of(image: torch.Tensor) -> int:
        """The plane of which an image is the normalised, perhaps turned, copy."""
        values = np.sort(image.numpy().ravel())
        fits = [float(np.corrcoef(values, plane)[0, 1]) for plane in planes]
        return int(np.argmax(fits))

    heights = {}
    for example in range(3):
        target = plane_of(made.truth[example, 0])
        for image, distance in made.inputs.scans[example, :, :2]:
            away = float(distance[0, 0]) * SMALL.dpm_unit_dof * OPTICS.depth_of_field_um
            scan = plane_of(image)
            assert away == pytest.approx((target - scan) * 0.5, abs=1e-4)
            # One shift and scale takes counts to what the network sees, and no noise is added.
            slope = np.polyfit(planes[scan], np.sort(image.numpy().ravel()), 1, full=True)
            assert slope[1][0] < 1e-3
            heights[scan] = away
        assert target not in heights
    assert len(heights) == 3


def test_a_short_run_ends_in_weights_that_load(make, start: Model, tmp_path: Path) -> None:
    adapter = make()
    progress = list(adapter.run())
    assert [now.step for now in progress] == [0, 1, 2, 3]
    assert [now.gain_db is None for now in progress] == [False, True, True, False]
    digest = write_adapted(adapter, tmp_path / "mine.safetensors")
    model = load_model(tmp_path / "mine.safetensors")
    assert model.sha256 == digest
    card = json.loads((tmp_path / "mine.json").read_text())
    assert card["adapted_from"] == {"name": start.name, "sha256": start.sha256}
    assert card["trained_for"] == {"na": [0.8, 1.4], "scans": [1, 5]}
    assert card["data"]["stacks"][0]["name"] == "mine"
    assert card["held_out"]["gain_db_at_start"] == pytest.approx(progress[0].gain_db, abs=1e-3)
    assert card["held_out"]["gain_db"] == max(progress[0].gain_db, progress[-1].gain_db)
    np.testing.assert_array_equal(STACK, sample())


def test_learning_something_is_an_improvement(make) -> None:
    adapter = make(steps=8, learning_rate=1e-2, validate_every=8, average=0.5)
    before = next(iter(adapter.run())).gain_db
    for _ in adapter.run():
        pass
    assert adapter.best_db > before + 0.05


def test_the_start_counts_as_the_first_candidate(make, start: Model, tmp_path: Path) -> None:
    """A run that destroys the network leaves the weights that it began with."""
    adapter = make(learning_rate=1.0, average=0.0)
    gains = [now.gain_db for now in adapter.run() if now.gain_db is not None]
    assert gains[-1] < gains[0] - 1
    assert adapter.best_db == gains[0] == pytest.approx(gain_at_start(adapter.folder), abs=1e-3)
    write_adapted(adapter, tmp_path / "mine.safetensors")
    found = load_model(tmp_path / "mine.safetensors")
    for key, value in found.network.state_dict().items():
        assert torch.equal(value, start.network.state_dict()[key])
    assert found.card["training"]["steps"] == 0


def test_a_run_can_be_stopped_and_goes_on(make, field: MeasuredField) -> None:
    adapter = make(checkpoint_every=1)
    for now in adapter.run():
        if now.step == 2:
            break
    assert adapter.has_best
    again = make(checkpoint_every=1)
    assert again.step == 2
    assert [now.step for now in again.run()] == [3]
    other = measured_field(STACK[:-1], Z_UM[:-1], OPTICS, "other")
    with pytest.raises(InputError, match="a run of other stacks or weights"):
        make(fields=[other])


def test_a_wish_to_stop_is_heard_while_the_start_is_judged(make, tmp_path: Path) -> None:
    adapter = make(stopped=lambda: True)
    assert list(adapter.run()) == []
    assert not adapter.has_best
    with pytest.raises(InputError, match="no validated weights yet"):
        write_adapted(adapter, tmp_path / "mine.safetensors")


def test_the_minutes_hold_for_the_judgement_of_the_start_as_well(make) -> None:
    adapter = make(minutes=0.05)
    progress = list(adapter.run())
    assert [now.gain_db is None for now in (progress[0], progress[-1])] == [False, False]
    # On a busy machine the first judgement alone may outlast them.
    assert len(progress) == 1 or progress[-1].seconds_left == 0
    assert adapter.seconds >= 3


def test_two_stacks_are_learned_from_alike(make, field: MeasuredField) -> None:
    other = measured_field(STACK[:, :, :64] * 3, Z_UM, OPTICS, "other")
    adapter = make(fields=[field, other], steps=1)
    for _ in adapter.run():
        pass
    best = json.loads((adapter.folder / "best.json").read_text())
    assert set(best["validation"]["by_kind_db"]) == {"mine", "other"}
    assert StackPool([field, other]).kinds() == {"mine", "other"}


# --- the command line ---


@pytest.fixture
def files(start: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    provenance = {"optics": OPTICS.as_dict()}
    write_volume(tmp_path / "stack.ome.tif", STACK, Z_UM, OPTICS.pixel_um, provenance)
    write_volume(tmp_path / "bare.ome.tif", STACK, Z_UM, OPTICS.pixel_um)
    save_model(start.network, start.card, tmp_path / "start.safetensors")
    return tmp_path


QUICK = [
    *("--steps", "2", "--batch", "2", "--crop", "32", "--device", "cpu", "--validate-every", "2"),
    *("--from", "start.safetensors"),
]


def test_a_saturated_stack_is_told_before_it_is_learned_from(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bright = np.minimum(STACK, np.quantile(STACK, 0.98))
    write_volume(
        files / "bright.ome.tif", bright, Z_UM, OPTICS.pixel_um, {"optics": OPTICS.as_dict()}
    )
    for name in ("stack", "bright"):
        argv = ["train", name, "--stack", f"{name}.ome.tif", "--region", ":,:80", *QUICK]
        assert main([*argv, "-o", "mine.safetensors"]) == 0
        told = capsys.readouterr().err
        assert ("planes of 'bright.ome.tif' are at the camera's limit" in told) == (
            name == "bright"
        )


def test_adapting_on_the_command_line(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "run", "--stack", "stack.ome.tif", "--region", ":,:80", *QUICK]
    assert main([*argv, "-o", "mine.safetensors"]) == 0
    printed, notes = capsys.readouterr()
    assert "The quarter of 'stack.ome.tif' that is held out is 20 pixels wide" in notes
    assert "step 0: held-out gain over linear MMSE" in printed
    assert "dB before" in printed
    card = load_model(files / "mine.safetensors").card
    assert card["data"]["stacks"][0]["shape"] == [14, 64, 80]
    assert (files / "run" / "curves.png").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--stack", "bare.ome.tif"], "are not in the metadata of 'bare.ome.tif'"),
        (["--stack", "stack.ome.tif", "--base-channels", "6"], "cannot be changed while adapting"),
        (["--stack", "stack.ome.tif", "--region", "0:20,0:96"], "only 20 × 96 pixels"),
        ([], "There is nothing to learn from"),
    ],
)
def test_wrong_ways_to_adapt(
    files: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert main(["train", "run", *more, *QUICK]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert sum(not line.startswith("note: ") for line in error.splitlines()) == 1
    assert not (files / "run" / "checkpoint.safetensors").exists()
