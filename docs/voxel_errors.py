"""The error of every voxel: fit its model to simulated samples, and see whether it is right.

    recurrent-mz simulate examples sets --questions 16 --groups 15 --size 144
    python docs/voxel_errors.py sets/group-*.safetensors \\
        --fit src/napari_recurrent_mz/networks/weights_data/voxel-error.json
    recurrent-mz simulate examples others --seed 11 --questions 16 --groups 3 --size 144
    python docs/voxel_errors.py others/group-*.safetensors --data ../shared/data

The planes of three methods, and their squared errors. "Constant" is one value for each plane: the
root mean square of the same errors over its voxels.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr

from napari_recurrent_mz.estimates.normalisation import noise_of
from napari_recurrent_mz.lab.experiments.lab import HeldOutStack, Lab, Settings
from napari_recurrent_mz.lab.experiments.real import random_questions
from napari_recurrent_mz.networks.inputs import correction_share
from napari_recurrent_mz.networks.recurrent_mz import RecurrentMZ
from napari_recurrent_mz.networks.voxel_error import (
    TRAINED_FOR,
    ErrorModel,
    VoxelErrors,
    error_model,
    features,
)
from napari_recurrent_mz.networks.weights import load_model
from napari_recurrent_mz.training.examples import View
from napari_recurrent_mz.training.sets import Sets, read_sets

Array = npt.NDArray[np.float32]

_VOXELS = 400  # of a plane, at random
_STEPS, _BATCH, _RATE, _DECAY, _HIDDEN, _DROPPED = 2000, 64, 3e-3, 1e-2, 24, 0.1


@dataclass(frozen=True, eq=False)
class Case:
    """Voxels of one plane by one method."""

    method: str
    given: Array  # (F, voxels)
    error: Array  # (voxels,), over the unit of corrections


@torch.no_grad()
def cases(network: RecurrentMZ, sets: Sets, rng: np.random.Generator) -> Iterator[Case]:
    """Every plane of the sets of an examples file, by each method."""
    count, targets = sets.planes.shape[:2]
    config = replace(network.config, fade_dof=0.0)
    for number in range(count * targets):
        index, target = (torch.tensor([n]) for n in divmod(number, targets))
        batch = sets.examples(config, index, target, View())
        away = sets.distance[index, target] * config.dpm_unit_dof
        learned = network(*batch.inputs) - batch.linear
        learned *= correction_share(away[..., None, None] / network.config.fade_dof)
        base, _, contrast = sets.scale[index][0].tolist()
        missing, unit = (batch.truth - batch.linear)[0, 0], batch.inputs.unit[0, 0]
        steps = learned[0, 0], torch.zeros_like(unit), batch.inputs.extra[0, 0]
        for method, step in zip(TRAINED_FOR, steps, strict=True):
            seen = features(
                batch.inputs, (step / unit).numpy(), away[0].double().numpy(), contrast / base
            )
            at = rng.choice(unit.numel(), _VOXELS, replace=False)
            off = ((missing - step) / unit).numpy().ravel()[at]
            yield Case(method, seen.reshape(len(seen), -1)[:, at], off)


def fitted(some: list[Case]) -> ErrorModel:
    """The model of greatest likelihood, every plane counting the same."""
    torch.manual_seed(0)
    given = torch.from_numpy(np.stack([case.given.T for case in some]))  # (N, voxels, F)
    squared = torch.from_numpy(np.stack([case.error for case in some])) ** 2
    mean, spread = given.mean((0, 1)), given.std((0, 1)) + 1e-3
    sizes = (given.shape[-1], _HIDDEN, _HIDDEN, 1)
    layers = [torch.nn.Linear(*pair) for pair in pairwise(sizes)]
    first, second, last = layers
    net = torch.nn.Sequential(
        first, torch.nn.SiLU(), torch.nn.Dropout(_DROPPED), second, torch.nn.SiLU(), last
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_DECAY)
    falls = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
    for step in range(_STEPS):
        at = torch.randint(len(given), (_BATCH,))
        logarithm = net(((given[at] - mean) / spread).clamp(-4, 4))[..., 0].clamp(-6, 6)
        each = logarithm + 0.5 * squared[at] * torch.exp(-2 * logarithm)
        loss = each.mean(1).clamp_max(20).mean()  # no plane outweighs all others
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falls.step()
        if step % 200 == 0:
            print(f"step {step}: {loss.item():.3f} nats", flush=True)
    kept = tuple((one.weight.detach().numpy(), one.bias.detach().numpy()) for one in layers)
    return ErrorModel(mean.numpy(), spread.numpy(), kept)


def write(model: ErrorModel, path: Path, planes: int) -> None:
    """Write a model, to five digits."""

    def rounded(values: Array) -> object:
        return json.loads(
            json.dumps(values.tolist()), parse_float=lambda s: float(f"{float(s):.5g}")
        )

    layers = [[rounded(weight), rounded(bias)] for weight, bias in model.layers]
    about = {"trained_on": f"{planes} simulated planes of {', '.join(TRAINED_FOR)}"}
    kept = {"mean": rounded(model.mean), "spread": rounded(model.spread), "layers": layers}
    path.write_text(json.dumps(about | kept) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Score:
    """How right the errors of one plane are."""

    within: float  # share of the voxels
    within_two: float
    rank: float  # correlation of expected and true error
    gain: float  # over the constant, in nats for a voxel
    ratio: float  # true over expected error, root mean square

    @classmethod
    def of(cls, variance: Array, error: Array) -> Score:
        """From what was expected and what is true."""
        squared, constant = error.astype(float) ** 2, variance.mean(dtype=float)
        nats = [np.mean(np.log(v) + squared / v) / 2 for v in (variance.astype(float), constant)]
        rank = spearmanr(variance.ravel(), squared.ravel()).statistic
        return cls(
            float((squared < variance).mean()),
            float((squared < 4 * variance).mean()),
            float(rank),
            float(nats[1] - nats[0]),
            float(np.sqrt(squared.mean() / constant)),
        )


def real_scores(lab: Lab, held: HeldOutStack, planes: list[int], targets: list[int],
                method: str) -> Iterator[Score]:  # fmt: skip
    """Scores of some planes of a real stack, whose own noise is taken into account."""
    scans = held.scans(held.z_um[planes])
    ends = float(held.z_um[0]), float(held.z_um[-1])
    errors = VoxelErrors(scans, held.optics, reach_um=ends)
    for i, plane in lab.rebuild(held, method, scans, targets):
        truth = held.truth[i]
        expected = errors.of(plane, float(held.z_um[i]))
        yield Score.of((expected**2 + noise_of(truth) ** 2), plane - truth)


def line(what: str, scores: Iterable[Score]) -> str:
    """A row of the table: means over planes, lowest and highest of twenty in brackets."""
    rows = list(scores)
    columns = {name: np.array([getattr(s, name) for s in rows]) for name in Score.__annotations__}

    def spread(name: str, factor: float, form: str) -> str:
        middle, *ends = factor * np.quantile(columns[name], (0.5, 0.05, 0.95))
        return f"{middle:{form}} ({ends[0]:{form}} to {ends[1]:{form}})"

    gain = columns["gain"]
    return (
        f"| {what} | {len(rows)} | {spread('within', 100, '.0f')} "
        f"| {spread('within_two', 100, '.0f')} | {spread('ratio', 1, '.2f')} "
        f"| {spread('rank', 1, '.2f')} | {np.median(gain):+.2f} | {100 * (gain < 0).mean():.0f} % |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("examples", type=Path, nargs="*")
    parser.add_argument("--fit", type=Path, help="write a new model to this file")
    parser.add_argument("--data", type=Path, help="folder of real stacks")
    asked = parser.parse_args()
    network = load_model().network
    assert isinstance(network, RecurrentMZ)
    rng = np.random.default_rng(0)
    some = [case for file in asked.examples for sets in read_sets(file)
            for case in cases(network, sets, rng)]  # fmt: skip
    if asked.fit:
        write(fitted(some), asked.fit, len(some))
        return
    print("| sample, method | planes | < 1 σ, % | < 2 σ, % | true over expected error "
          "| rank correlation | gain in nats | worse than the constant |\n"
          "|---|---|---|---|---|---|---|---|")  # fmt: skip
    for method in TRAINED_FOR:
        model, of = error_model(), [case for case in some if case.method == method]
        if of:
            print(line(f"simulated, {method}", (Score.of(
                model(case.given[..., None])[:, 0] ** 2, case.error) for case in of)))  # fmt: skip
    if asked.data:
        lab = Lab(replace(Settings(), data=asked.data, device="cpu"))
        found: dict[str, list[Score]] = {}
        for stack, _, held, planes, targets in random_questions(lab):
            found.setdefault(stack.title, []).extend(
                real_scores(lab, held, planes, targets, "recurrent-mz")
            )
        for title, scores in found.items():
            print(line(title, scores))


if __name__ == "__main__":
    main()
