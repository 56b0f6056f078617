"""Sets of scans for training: what a network sees there is what it sees in use."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_recurrent_mz.core.optics import Optics, widefield_psf
from napari_recurrent_mz.core.scans import Scan
from napari_recurrent_mz.networks.inputs import NetworkInputs
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import bundled_models, load_model
from napari_recurrent_mz.simulation import pupil
from napari_recurrent_mz.training.check import Question, ask, check_groups
from napari_recurrent_mz.training.examples import ExampleConfig, View
from napari_recurrent_mz.training.folder import Contents, ExampleFolder
from napari_recurrent_mz.training.learner import Learner, TrainConfig
from napari_recurrent_mz.training.microscopes import Group, SampleConfig
from napari_recurrent_mz.training.revive import Dead, watched
from napari_recurrent_mz.training.sets import (
    Sets,
    Stack,
    Take,
    make_sets,
    read_sets,
    write_sets,
)
from napari_recurrent_mz.training.store import Ring

DOCS = Path(__file__).resolve().parents[1] / "docs"
OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.1)
NETWORK = NetworkConfig(base_channels=8, norm="none", nonnegative=True, slope=0.01)
SMALL = SampleConfig(
    planes=12, size=64, samples=2, targets=2, objectives=((1.4, 1.515),), step_dof=(0.8, 0.9),
    scans=((0.0, 1.0), (0.0, 0.0, 1.0)),
)  # fmt: skip
CPU = torch.device("cpu")
HEIGHTS = np.array([0.0, 1.3, 2.2, 4.0, 5.1, 9.0])


@pytest.fixture(autouse=True)
def _small_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pupil, "_LARGEST_GRID", 256)


@pytest.mark.parametrize("kind", ["widefield", "confocal", "points"])
@pytest.mark.parametrize("planes", [(2,), (0, 3), (4, 1, 5)])
def test_a_set_holds_what_a_network_sees_in_use(kind: str, planes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(planes))
    soft = [
        ndimage.gaussian_filter(np.maximum(rng.normal(size=(80, 96)), 1.5), 2 + n) for n in range(6)
    ]
    counts = (100 + 1000 * np.array(soft) + rng.normal(0, 3, (6, 80, 96))).astype(np.float32)
    form: Any = {"points": True} if kind == "points" else {"target": kind}
    config = NetworkConfig(norm="none", nonnegative=True, fade_dof=3.0, **form)
    stacks = [Stack(counts, counts, z, OPTICS, 3.0, counted=True) for z in (HEIGHTS, 0.7 * HEIGHTS)]
    numbers, targets = np.array(planes), np.array([1 + planes[0] // 2, 3 + planes[0] // 2])
    takes = [Take(numbers, stack.z_um[numbers], targets, None) for stack in stacks]
    sets = make_sets(stacks, takes, config, CPU, torch.Generator())
    for n, stack in enumerate(stacks):
        scans = [Scan(counts[m], stack.z_um[m]) for m in planes]
        used = NetworkInputs(scans, OPTICS, config, reach_um=(0.0, 19.2)).at(stack.z_um[targets])
        index = torch.full((2,), n)
        batch = sets.examples(config, index, torch.arange(2), View(), whole=True)
        for name, ours in batch.inputs._asdict().items():
            theirs = getattr(used, name)
            assert float((ours - theirs).norm()) <= 2e-3 * float(theirs.norm()), name


def test_a_network_without_points_learns_from_sets_with_them(tmp_path: Path) -> None:
    """It sees what sets without points would show it; a file of the earlier layout is one."""
    both, alone = make_some_sets(replace(NETWORK, points=True)), make_some_sets()
    for one, other in zip(both, alone, strict=True):
        pick = torch.zeros(1, dtype=torch.long)
        seen, wanted = (each.examples(NETWORK, pick, pick, View()).inputs for each in (one, other))
        assert all(torch.equal(*pair) for pair in zip(seen, wanted, strict=True))
    earlier = [replace(one, misfit=one.misfit[:, 0]) for one in alone]
    write_sets(tmp_path / "sets.safetensors", earlier)
    for read, other in zip(read_sets(tmp_path / "sets.safetensors"), alone, strict=True):
        assert torch.equal(read.misfit, other.misfit)


def test_the_pupil_gives_the_point_spread_function_of_the_integral() -> None:
    optics = replace(OPTICS, pixel_um=0.103)
    heights = np.array([0.0, 0.5, 1.0])
    found = pupil.pupil_psf(optics, heights, 64).numpy()
    wanted = widefield_psf(optics, heights, 63)
    found = np.fft.fftshift(found, axes=(1, 2))[:, 1:, 1:]
    for ours, theirs in zip(found, wanted / wanted[0].sum(), strict=True):
        assert np.linalg.norm(ours - theirs) < 0.05 * np.linalg.norm(theirs)


def test_aberrations_lower_the_peak_as_marechal_says() -> None:
    """The Strehl ratio of a small error of σ waves is exp(−(2πσ)²)."""
    optics = Optics(na=0.5, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.25)
    perfect = float(pupil.pupil_psf(optics, np.zeros(1), 64).max())
    for wavefront in (
        pupil.Wavefront(astigmatism=(0.05, 0.0)),
        pupil.Wavefront(coma=(0.0, 0.05)),
        pupil.Wavefront(trefoil=(0.03, 0.04)),
        pupil.Wavefront(spherical=0.05),
    ):
        peak = float(pupil.pupil_psf(optics, np.zeros(1), 64, wavefront).max())
        assert peak / perfect == pytest.approx(np.exp(-((2 * np.pi * 0.05) ** 2)), abs=0.02)


def make_some_sets(network: NetworkConfig = NETWORK) -> list[Sets]:
    """The sets of one group: of two scans, and of three."""
    return Group(SMALL, 1, 0).sets(network, CPU)


@pytest.fixture(scope="module")
def some_sets() -> list[Sets]:
    """Made once: no test changes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pupil, "_LARGEST_GRID", 256)
        return make_some_sets()


def test_the_same_seed_gives_the_same_sets(some_sets: list[Sets]) -> None:
    for one, other in zip(some_sets, make_some_sets(), strict=True):
        for name, value in one.tensors().items():
            assert torch.equal(value, other.tensors()[name]), name
            assert bool(torch.isfinite(value).all()), name


def test_sets_made_live_are_those_that_a_folder_would_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A training draws from them while more are made; what goes wrong is told where it draws."""
    folder = ExampleFolder(Path("nowhere"), Contents(SMALL, questions=3))
    monkeypatch.syspath_prepend(str(DOCS))
    module = import_module("_live_examples")
    monkeypatch.setattr(module, "ProcessPoolExecutor", lambda cores, *_: ThreadPoolExecutor(cores))
    config = TrainConfig(network=NETWORK, examples=ExampleConfig(crop=32))
    with module.LiveExamples(folder, CPU, 0.01, begin=4) as live:
        assert len(live.questions) == len(check_groups(SMALL, 3))
        for made in folder.group(0)[1].sets(folder.contents.network, CPU):
            count = made.images.shape[1]
            assert torch.equal(live.ring.sets[count].images[:2], made.images)
            batch = live.source(config, [count])(0, 0, 3)
            assert batch.inputs.scans.shape[:2] == (3, count)
    bad = ExampleFolder(Path("nowhere"), Contents(replace(SMALL, size=-1), questions=3))
    with pytest.raises(RuntimeError, match="negative"), module.LiveExamples(bad, CPU, 0.01):
        pass


def test_an_untrained_network_answers_as_the_linear_estimate_and_learns(
    some_sets: list[Sets],
) -> None:
    questions = [
        Question(sets, group.kinds, third)
        for third, group in check_groups(SMALL, 6)
        for sets in group.sets(NETWORK, CPU)
    ]
    shut = replace(NETWORK, object_share=0.0)
    answers = ask(RecurrentMZ(shut).eval(), questions, half=False)
    assert answers.gain_db == pytest.approx(0.0, abs=1e-6)
    assert answers.questions == 6
    torch.manual_seed(0)
    config = TrainConfig(batch=4, network=shut, examples=ExampleConfig(crop=48))
    learner = Learner(config, RecurrentMZ(shut), CPU, half=False)
    ring = Ring(dict.fromkeys(range(1, 6), 8), CPU)
    for sets in some_sets:
        ring.add(sets)
    rng = np.random.default_rng(2)
    losses = [float(learner.step(ring.draw(config, 4, rng, {3: 1.0}), 1e-3)) for _ in range(40)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_some_scans_enter_again(some_sets: list[Sets]) -> None:
    """Those that do come with their distances, and all the others are there."""
    examples = ExampleConfig(crop=48, repeated_share=1.0)
    config = TrainConfig(network=NETWORK, examples=examples)
    ring = Ring(dict.fromkeys(range(1, 6), 8), CPU)
    for sets in some_sets:
        ring.add(sets)
    batch = ring.draw(config, 4, np.random.default_rng(2), {3: 1.0})
    images, distances = batch.inputs.scans[:, :, 0], batch.inputs.scans[:, :, 1, 0, 0]
    assert 4 <= images.shape[1] <= 6
    for example, heights in zip(images, distances, strict=True):
        unlike = {
            (image.numpy().tobytes(), float(z)) for image, z in zip(example, heights, strict=True)
        }
        assert len(unlike) == len(heights.unique()) == 3


def test_what_a_network_makes_goes_with_its_view(some_sets: list[Sets]) -> None:
    """Turned and flipped inputs come with the truth turned and flipped alike."""
    sets = some_sets[1]
    index, target = torch.tensor([0, 1]), torch.tensor([1, 0])
    straight = sets.examples(NETWORK, index, target, View())
    view = View(8, 16, 32, turned=True, flipped_rows=True)
    turned = sets.examples(NETWORK, index, target, view)
    for ours, whole in ((turned.truth, straight.truth), (turned.inputs.unit, straight.inputs.unit)):
        part = whole[..., 8:40, 16:48].transpose(-1, -2).flip(-2)
        assert torch.equal(ours, part)


@pytest.mark.parametrize("name", bundled_models())
def test_no_level_of_a_bundled_network_is_dead(some_sets: list[Sets], name: str) -> None:
    """What every block makes differs from pixel to pixel."""
    network = load_model(name).network
    points = getattr(network.config, "points", False)
    sets = (make_some_sets(replace(NETWORK, points=True)) if points else some_sets)[1]
    batch = sets.examples(network.config, torch.tensor([0, 1]), torch.tensor([0, 1]), View())
    with torch.no_grad(), watched(network) as ranges:
        network(*batch.inputs)
    assert Dead.among(ranges).blocks == ()


def test_what_is_dead_is_named(some_sets: list[Sets]) -> None:
    torch.manual_seed(0)
    network = RecurrentMZ(NETWORK).eval()
    with torch.no_grad():
        network.decoder[2][2].bias.fill_(-1e4)  # type: ignore[index,union-attr]
        network.encoder[1][0].bias[:2] = -1e4  # type: ignore[index,union-attr]
    batch = some_sets[1].examples(NETWORK, torch.tensor([0]), torch.tensor([0]), View())
    with torch.no_grad(), watched(network) as ranges:
        network(*batch.inputs)
    dead = Dead.among(ranges)
    assert dead.blocks == ("decoder.2",)
    assert dead.channels["encoder.1"] >= 2
    assert dead.channels["decoder.2"] >= NETWORK.channels(3)
    assert "decoder.2 makes the same everywhere" in dead.words
