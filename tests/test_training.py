"""Training: the paper's losses, examples that depend on the seed alone, a run that resumes."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_recurrent_mz.core.device import choose_device
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.networks.architectures import architecture_of
from napari_recurrent_mz.networks.deep_z import DeepZConfig
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.unet3d import UNet3DConfig
from napari_recurrent_mz.networks.weights import load_model
from napari_recurrent_mz.training.examples import Batch, ExampleConfig, View, choose_planes
from napari_recurrent_mz.training.fields import Pool, PoolConfig, make_fields
from napari_recurrent_mz.training.finish import draw_curves, facts_of_fields, write_model
from napari_recurrent_mz.training.learner import TrainConfig
from napari_recurrent_mz.training.loop import Trainer, held_out_check
from napari_recurrent_mz.training.losses import (
    Discriminator,
    LossConfig,
    berhu,
    discriminator_loss,
    generator_loss,
    log_ratio,
    ms_ssim_loss,
)
from napari_recurrent_mz.training.store import FieldExamples

SMALL = NetworkConfig(base_channels=4, levels=3, norm="none")
EXAMPLES = ExampleConfig(crop=32, targets=1, scans=(0, 1, 1), spacing_dof=(2.0, 6.0))


def on_fields(
    config: TrainConfig, pool: Pool, held_out: Pool, folder: Path, *, device: str, **more: Any
) -> Trainer:
    """A trainer on simulated fields, judged by those that are held out."""
    chosen = choose_device(device)
    source, check = FieldExamples(pool, config, chosen), held_out_check(config, held_out, chosen)
    return Trainer(config, source, check, folder, device=chosen, **more)


def make_batch(
    pool: Pool,
    step: int,
    size: int,
    network: NetworkConfig = SMALL,
    examples: ExampleConfig = EXAMPLES,
    **more: Any,
) -> Batch:
    """The batch of a step."""
    config = TrainConfig(network=network, examples=examples, **more)
    return FieldExamples(pool, config, choose_device("cpu"))(0, step, size)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("fields")
    assert len(list(make_fields(PoolConfig(seed=3, planes=16, size=48), folder, 4))) == 4
    return Pool(folder)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("held_out")
    list(make_fields(PoolConfig(seed=4, planes=52, size=32, held_out=True), folder, 2))
    return Pool(folder)


def test_a_field_keeps_its_confocal_counterpart(tmp_path: Path) -> None:
    """Beside the same wide-field stack, and with more contrast than it."""
    for confocal in (False, True):
        config = PoolConfig(seed=5, planes=10, size=40, held_out=True, confocal=confocal)
        list(make_fields(config, tmp_path / str(confocal), 1))
    plain, both = Pool(tmp_path / "False")[0], Pool(tmp_path / "True")[0]
    assert plain.confocal is None
    np.testing.assert_array_equal(plain.stack, both.stack)
    assert both.confocal is not None
    assert both.confocal.shape == both.stack.shape
    narrow, wide = (s.astype(np.float64) for s in (both.confocal, both.stack))
    assert narrow.std() / narrow.mean() > 1.5 * wide.std() / wide.mean()


def test_a_confocal_network_learns_the_confocal_plane(pool: Pool, tmp_path: Path) -> None:
    """A truth with the same dark as the scans, sharper than the wide-field truth; or a sentence."""
    list(make_fields(PoolConfig(seed=3, planes=16, size=48, confocal=True), tmp_path, 2))
    confocal = replace(SMALL, target="confocal")
    wide, narrow = (
        np.concatenate(
            [
                make_batch(Pool(tmp_path), n, 4, network, loss=LossConfig(ms_ssim=1)).truth
                for n in range(4)
            ]
        )
        for network in (SMALL, confocal)
    )
    assert narrow.shape == wide.shape
    steps = [np.abs(np.diff(t, axis=-1)).mean((1, 2, 3)) / t.std((1, 2, 3)) for t in (wide, narrow)]
    assert (steps[1] > steps[0]).all()
    assert abs(np.median(narrow)) < 0.2
    with pytest.raises(InputError, match="no confocal counterpart"):
        make_batch(pool, 0, 2, confocal)


@pytest.mark.parametrize(
    ("target", "planes"), [("widefield", "wide-field"), ("confocal", "confocal-like")]
)
def test_a_card_says_what_its_network_makes(target: str, planes: str, tmp_path: Path) -> None:
    network = RecurrentMZ(replace(SMALL, target=target))
    save_file(network.state_dict(), tmp_path / "best.safetensors")
    best = {"step": 1, "seconds": 1.0, "config": {"network": asdict(network.config)}}
    (tmp_path / "best.json").write_text(json.dumps({**best, "validation": {}}))
    facts: dict[str, dict[str, Any]] = {"trained_for": {}, "data": {}}
    path = tmp_path / "mine.safetensors"
    write_model(tmp_path, path, facts=facts, check="a check", device=choose_device("cpu"))
    assert load_model(path).card["description"] == f"Wide-field scans to {planes} planes."


def test_two_processes_do_not_train_in_one_folder(
    pool: Pool, held_out: Pool, tmp_path: Path
) -> None:
    first, second = (
        on_fields(_config(2), pool, held_out, tmp_path, device="cpu") for _ in range(2)
    )
    steps = first.run()
    next(steps)
    with pytest.raises(InputError, match="Another process trains in"):
        next(second.run())
    steps.close()
    assert next(second.run()).step == 1
    assert not list(tmp_path.glob(".*"))


def test_for_another_image_the_correction_begins_at_nil(
    pool: Pool, held_out: Pool, tmp_path: Path
) -> None:
    start = RecurrentMZ(SMALL)
    torch.nn.init.normal_(start.last.weight)
    for target in ("widefield", "confocal"):
        config = replace(_config(1), network=replace(SMALL, target=target))
        run = on_fields(config, pool, held_out, tmp_path / target, device="cpu", start_from=start)
        own = run.learner.network.state_dict()
        torch.testing.assert_close(own["mix.0.weight"], start.state_dict()["mix.0.weight"])
        assert bool((own["last.weight"] == 0).all()) == (target == "confocal")


def test_berhu_follows_the_papers_two_branches() -> None:
    truth = torch.zeros(1, 1, 1, 4)
    output = torch.tensor([0.05, -0.1, 0.3, -0.5]).reshape(1, 1, 1, 4)
    c = 0.1
    expected = (0.05 + 0.1 + (0.3**2 + c**2) / (2 * c) + (0.5**2 + c**2) / (2 * c)) / 4
    assert float(berhu(output, truth)) == pytest.approx(expected, rel=1e-6)


def test_ms_ssim_loss_is_nil_for_the_truth_and_falls_towards_it() -> None:
    truth = torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(2, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    losses = [float(ms_ssim_loss(truth + a * noise, truth)) for a in (0.0, 0.05, 0.3)]
    assert losses[0] == pytest.approx(0, abs=1e-5)
    assert losses[0] < losses[1] < losses[2]


def test_log_ratio_counts_decibels_of_every_example_alike() -> None:
    truth = torch.zeros(2, 1, 8, 8)
    linear = torch.stack([torch.full((1, 8, 8), 0.1), torch.full((1, 8, 8), 10.0)])
    halved = float(log_ratio(linear / 2, truth, linear))
    assert halved == pytest.approx(-np.log(2), rel=1e-3)  # 6 dB in amplitude on both


def test_adversarial_losses_are_the_papers() -> None:
    judged_output, judged_truth = torch.tensor([[0.2], [0.6]]), torch.tensor([[0.9], [0.5]])
    expected = np.mean([0.5 * 0.04 + 0.5 * 0.01, 0.5 * 0.36 + 0.5 * 0.25])
    assert float(discriminator_loss(judged_output, judged_truth)) == pytest.approx(expected)
    image = torch.zeros(2, 1, 96, 96)
    only = LossConfig(adversarial=0.5, log_ratio=0)
    found = float(generator_loss(only, image, image, image, judged_output))
    assert found == pytest.approx(0.5 * np.mean([0.8**2, 0.4**2]))


def test_the_papers_weights_add_up() -> None:
    generator = torch.Generator().manual_seed(0)
    output, truth = torch.rand(2, 1, 1, 96, 96, generator=generator)
    whole = generator_loss(LossConfig.paper(), output, truth, truth, torch.tensor([[0.3]]))
    parts = 3 * berhu(output, truth) + 1 * ms_ssim_loss(output, truth) + 0.5 * 0.7**2
    assert float(whole) == pytest.approx(float(parts), rel=1e-6)


def test_discriminator_has_five_blocks_and_two_dense_layers() -> None:
    judge = Discriminator()
    convolutions = [m for m in judge.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [
        channels for k in range(5) for channels in (20 * 2**k, 20 * 2**k)
    ]
    dense = [m.out_features for m in judge.modules() if isinstance(m, torch.nn.Linear)]
    assert dense == [20, 1]
    judged = judge(torch.randn(3, 1, 64, 48))
    assert judged.shape == (3, 1)
    assert bool(((judged >= 0) & (judged <= 1)).all())


def test_fields_depend_on_the_seed_alone(pool: Pool, tmp_path: Path) -> None:
    others = [tmp_path / f"field_{number:05d}.json" for number in range(2)]
    for other in others:  # which then are not made
        other.touch()
    assert len(list(make_fields(PoolConfig(seed=3, planes=16, size=48), tmp_path, 3))) == 1
    for other in others:
        other.unlink()
    again = Pool(tmp_path)[0]
    np.testing.assert_array_equal(again.stack, pool[2].stack)
    assert again.optics == pool[2].optics
    assert np.isfinite(np.asarray(again.stack, np.float32)).all()


def test_batches_depend_on_seed_and_step_alone(pool: Pool) -> None:
    first, second, other = (make_batch(pool, n, 2) for n in (5, 5, 6))
    for one, two in zip(first.inputs, second.inputs, strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first.truth, other.truth)
    assert first.inputs.scans.shape[-3:] == (3, 32, 32)
    assert bool(torch.isfinite(first.inputs.scans).all())
    assert bool((first.inputs.unit > 0).all())


@pytest.mark.parametrize(("order", "dpms"), [("depth", [3, -2, -5]), ("distance", [-5, 3, -2])])
def test_scans_enter_in_the_papers_orders(order: str, dpms: list[float]) -> None:
    distances = 5.0 - torch.tensor([[7.0, 2.0, 10.0]])
    entered = View(by=order).entering(distances)
    assert entered is not None
    assert distances.take_along_dim(entered, 1).tolist() == [dpms]
    assert View().entering(distances) is None  # they were drawn in random order
    with pytest.raises(InputError, match="choose one of random, depth, distance"):
        ExampleConfig(order="by name")


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_scan_planes_lie_in_the_stack(count: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        chosen, spacing = choose_planes(rng, 40, 0.6, count, ExampleConfig())
        assert chosen.min() >= 0
        assert chosen.max() <= 39
        assert len(chosen) <= count
        assert spacing >= 2


def _losses(trainer: Trainer, stop: int | None = None) -> list[float]:
    found = []
    for progress in trainer.run():
        found.append(progress.loss)
        if progress.step == stop:
            break
    return found


def _config(steps: int) -> TrainConfig:
    return TrainConfig(
        steps=steps, batch=2, warm_up=2, validate_every=4, checkpoint_every=2, questions=4,
        network=SMALL, examples=EXAMPLES,
    )  # fmt: skip


def test_a_run_can_begin_with_dead_channels_brought_back(
    pool: Pool, held_out: Pool, tmp_path: Path
) -> None:
    config = replace(_config(1), network=replace(_config(1).network, norm="none", slope=0.01))
    old = RecurrentMZ(replace(config.network, slope=0.0)).eval()
    with torch.no_grad():
        old.encoder[0][0].bias[0] = -1e4  # type: ignore[index,union-attr]
    options: dict[str, Any] = {"device": "cpu", "start_from": old, "revive": True}
    run = on_fields(config, pool, held_out, tmp_path / "new", **options)
    assert run.revived is not None
    assert run.revived.channels >= 1
    assert run.learner.network.encoder[0][0].bias[0].item() == 0  # type: ignore[index,union-attr]
    batched = replace(config, network=replace(config.network, norm="batch"))
    with pytest.raises(InputError, match="leave --revive out"):
        on_fields(
            batched, pool, held_out, tmp_path / "batch",
            **{**options, "start_from": RecurrentMZ(batched.network)},
        )  # fmt: skip


def test_a_run_resumes_on_the_same_curve(pool: Pool, held_out: Pool, tmp_path: Path) -> None:
    whole = _losses(on_fields(_config(6), pool, held_out, tmp_path / "whole", device="cpu"))
    first = _losses(on_fields(_config(6), pool, held_out, tmp_path / "cut", device="cpu"), stop=4)
    resumed = on_fields(_config(6), pool, held_out, tmp_path / "cut", device="cpu")
    assert resumed.step == 4
    assert first + _losses(resumed) == pytest.approx(whole, abs=1e-5)


def test_the_log_keeps_its_columns_when_a_run_goes_on_with_other_options(
    pool: Pool, held_out: Pool, tmp_path: Path
) -> None:
    short = replace(_config(4), validate_every=2)
    _losses(on_fields(short, pool, held_out, tmp_path, device="cpu"), stop=2)
    _losses(on_fields(replace(short, validate_raw=True), pool, held_out, tmp_path, device="cpu"))
    with (tmp_path / "log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert all(None not in row and -50 < float(row["gain_db"]) < 50 for row in rows)
    assert draw_curves(tmp_path).is_file()


def test_a_run_of_given_minutes_ends_when_they_are_over(
    pool: Pool, held_out: Pool, tmp_path: Path
) -> None:
    """Whatever ``steps`` says; the rate has then fallen to nil, and more is not to be had."""
    options: dict[str, Any] = {"device": "cpu", "minutes": 0.05}
    run = on_fields(_config(10**6), pool, held_out, tmp_path, **options)
    progress = list(run.run())
    assert run.seconds >= 3
    assert 0 < run.step == progress[-1].step < 10**4
    assert progress[-1].gain_db is not None
    assert progress[-1].seconds_left == 0
    assert run.learning_rate(run.step, run.part) == 0
    assert list(on_fields(_config(10**6), pool, held_out, tmp_path, **options).run()) == []


def test_a_run_ends_in_weights_with_a_card(pool: Pool, held_out: Pool, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trainer = on_fields(_config(4), pool, held_out, folder, device="cpu")
    for _ in trainer.run():
        pass
    digest = write_model(
        folder,
        tmp_path / "mine.safetensors",
        facts=facts_of_fields(pool, EXAMPLES),
        check="a check",
        device=choose_device("cpu"),
    )
    model = load_model(tmp_path / "mine.safetensors")
    assert model.sha256 == digest
    assert model.card["training"]["steps"] == 4
    assert model.card["held_out"]["by_kind_db"]
    assert json.loads((tmp_path / "mine.json").read_text())["sha256"] == digest
    averaged = trainer.averaged().state_dict()
    for key, value in model.network.state_dict().items():
        torch.testing.assert_close(value, averaged[key], atol=1e-3, rtol=1e-3)
    with (folder / "log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["4"]
    assert draw_curves(folder).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "network",
    [
        DeepZConfig(base_channels=4, levels=3),
        UNet3DConfig(base_channels=4, levels=3),
        replace(NetworkConfig.paper(), base_channels=4, levels=3),
    ],
)
def test_every_architecture_goes_from_a_run_to_its_card(
    network: NetworkConfig, pool: Pool, held_out: Pool, tmp_path: Path
) -> None:
    config = replace(_config(2), network=network)
    trainer = on_fields(config, pool, held_out, tmp_path, device="cpu")
    before = {k: v.clone() for k, v in trainer.learner.network.named_parameters()}
    assert np.isfinite(_losses(trainer)).all()
    assert not [
        k for k, v in trainer.learner.network.named_parameters() if torch.equal(v, before[k])
    ]
    path = tmp_path / "mine.safetensors"
    facts = facts_of_fields(pool, EXAMPLES)
    write_model(tmp_path, path, facts=facts, check="a check", device=choose_device("cpu"))
    model = load_model(path)
    assert model.network.config == network
    assert model.card["architecture"] == model.architecture == architecture_of(network)
    assert "correction" not in model.card["method"]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_step_of_the_papers_loss_moves_every_part(
    pool: Pool, held_out: Pool, tmp_path: Path, norm: str
) -> None:
    network = NetworkConfig(base_channels=4, levels=3, norm=norm, correction=False)
    examples = ExampleConfig(crop=48, targets=1, scans=(0, 1))
    config = TrainConfig(steps=1, batch=2, network=network, loss=LossConfig.paper(),
                         examples=examples)  # fmt: skip
    trainer = on_fields(config, pool, held_out, tmp_path, device="cpu")
    before = {k: v.clone() for k, v in trainer.learner.network.state_dict().items()}
    judge = {k: v.clone() for k, v in trainer.learner.judge.state_dict().items()}
    for _ in trainer.run():
        pass
    still = [k for k, v in trainer.learner.network.named_parameters() if torch.equal(v, before[k])]
    assert not still
    assert any(not torch.equal(v, judge[k]) for k, v in trainer.learner.judge.named_parameters())


def test_a_correction_starts_at_the_linear_estimate(pool: Pool) -> None:
    batch = make_batch(pool, 0, 2)
    output = RecurrentMZ(SMALL)(*batch.inputs)
    assert torch.equal(output, batch.inputs.linear)


def test_a_run_goes_on_from_weights_without_the_nonnegative_part(
    pool: Pool, held_out: Pool, tmp_path: Path
) -> None:
    """The new inputs begin at zero: what the old weights said is still said."""
    old = RecurrentMZ(SMALL)
    torch.nn.init.normal_(old.last.weight, std=0.1)
    wider = replace(SMALL, nonnegative=True)
    config, options = TrainConfig(network=wider), {"device": "cpu", "start_from": old}
    trainer = on_fields(config, pool, held_out, tmp_path, **options)
    batch = make_batch(pool, 0, 1, wider)
    scans, linear, unit, skip, extra = batch.inputs
    with torch.no_grad():
        before = old(scans, linear, unit, skip[:, :1])
        after = trainer.learner.network(scans, linear, unit, skip, 0 * extra)
    torch.testing.assert_close(after, before)
    other = replace(SMALL, base_channels=2)
    with pytest.raises(InputError, match="another network"):
        on_fields(
            TrainConfig(network=other), pool, held_out, tmp_path, device="cpu", start_from=old
        )


def test_kept_sets_give_the_same_examples(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made once, a set of scans is read from disk."""
    again = Pool(tmp_path)
    for path in pool.folder.glob("field_*"):
        (tmp_path / path.name).symlink_to(path)
    again.refresh()
    few, wider = replace(EXAMPLES, variants=1), replace(SMALL, nonnegative=True)
    fresh = make_batch(again, 0, 2, wider, few)
    assert len(list(tmp_path.glob("sets_*/*.safetensors"))) in (1, 2)
    monkeypatch.setattr("napari_recurrent_mz.training.store.make_sets", None)
    kept = make_batch(again, 0, 2, wider, few)
    for one, other in zip(fresh.tensors(), kept.tensors(), strict=True):
        assert torch.equal(one, other)


def test_an_empty_pool_is_told_in_one_sentence(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no simulated field"):
        on_fields(_config(2), pool, Pool(tmp_path), tmp_path / "run", device="cpu")
