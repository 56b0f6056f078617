"""How far from the scans a network's correction should be held back.

Planes of the sets of scans in a folder of examples, then of random sets of planes of real stacks::

    recurrent-mz simulate examples sets --seed 11 --questions 16 --groups 3 --size 144
    python docs/measure_fade.py sets/group-*.safetensors --data ../shared/data
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from napari_recurrent_mz.engine.check import LINEAR, NETWORK
from napari_recurrent_mz.lab.experiments.lab import Lab, Settings, score
from napari_recurrent_mz.lab.experiments.real import random_questions
from napari_recurrent_mz.networks.inputs import correction_share
from napari_recurrent_mz.networks.recurrent_mz import RecurrentMZ
from napari_recurrent_mz.networks.weights import load_model
from napari_recurrent_mz.training.check import LOST_DB
from napari_recurrent_mz.training.examples import View
from napari_recurrent_mz.training.sets import Sets, read_sets

_FADES_DOF = (float("inf"), 12.0, 8.0, 6.0, 5.0, 4.0, 3.0)

Gains = npt.NDArray[np.float64]
"""Over linear MMSE in dB, for every fade: (sets, planes, fades)."""


@torch.no_grad()
def simulated_gains(network: RecurrentMZ, sets: Sets) -> Gains:
    """Gains for the sets of an examples file, from the mean squared error of each plane."""
    count, targets = sets.planes.shape[:2]
    gains = []
    for some in torch.split(torch.arange(count * targets), 8):
        index, target = some // targets, some % targets
        batch = sets.examples(network.config, index, target, View())
        correction = network(*batch.inputs) - batch.linear
        far = sets.distance[index, target][..., None, None] * network.config.dpm_unit_dof
        missing = [
            ((batch.truth - batch.linear - share * correction) ** 2).mean((1, 2, 3)) + batch.floor
            for share in (0.0, *(correction_share(far / fade) for fade in _FADES_DOF))
        ]
        gains.append(10 * torch.log10(missing[0][:, None] / torch.stack(missing[1:], dim=1)))
    return torch.cat(gains).view(count, targets, -1).double().numpy()


def real_gains(lab: Lab) -> Iterator[Gains]:
    """The same for random sets of planes of each real stack, from PSNR."""
    for _, _, held, planes, targets in random_questions(lab):
        scans, dof_um = held.scans(held.z_um[planes]), held.optics.depth_of_field_um
        linear, ours = (
            dict(lab.rebuild(held, method, scans, targets)) for method in (LINEAR, NETWORK)
        )
        gains = []
        for i in targets:
            far = torch.tensor((held.z_um[i] - held.z_um[planes]) / dof_um)[None]
            shares = [0.0, *(float(correction_share(far / fade)) for fade in _FADES_DOF)]
            step = ours[i] - linear[i]
            psnr = np.array([score(held, i, linear[i] + a * step)["psnr"] for a in shares])
            gains.append(psnr[1:] - psnr[0])
        yield np.array(gains)[None]


def report(what: str, parts: list[Gains]) -> None:
    """A line for every fade: mean gain, what is lost, and the worst, of planes and of sets."""
    planes = np.concatenate([part.reshape(-1, len(_FADES_DOF)) for part in parts])
    sets = np.concatenate([part.mean(axis=1) for part in parts])
    print(f"| {what}: fade, depths of field | mean of planes, dB | lost, % | worst, dB "
          f"| sets lost, % | worst, dB |\n|---|---|---|---|---|---|")  # fmt: skip
    for fade, plane, mean in zip(_FADES_DOF, planes.T, sets.T, strict=True):
        lost, sets_lost = (100 * (gain < LOST_DB).mean() for gain in (plane, mean))
        print(f"| {fade:g} | {mean.mean():+.2f} | {lost:.1f} | {plane.min():+.2f} "
              f"| {sets_lost:.1f} | {mean.min():+.2f} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("examples", type=Path, nargs="*")
    parser.add_argument("--model")
    parser.add_argument("--data", type=Path, help="folder of real stacks")
    given = parser.parse_args()
    network = load_model(given.model).network
    assert isinstance(network, RecurrentMZ)
    network.config = replace(network.config, fade_dof=0.0)
    files = [read_sets(file) for file in given.examples]
    if files:
        report("simulated", [simulated_gains(network.eval(), s) for sets in files for s in sets])
    if given.data:
        lab = Lab(replace(Settings(), data=given.data, device="cpu"))
        lab.network_model().network.config = network.config
        report("real", list(real_gains(lab)))


if __name__ == "__main__":
    main()
