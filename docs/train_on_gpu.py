"""Train every bundled network on one GPU within a given time, by one command, into a folder.

    python docs/train_on_gpu.py trained --minutes 22

The general network is trained first, then those that it is compared with, then the networks for one
kind of sample, which begin with its weights. Sets of scans are made all the while: phantoms on the
CPU's cores, all else on the GPU. The best weights of each become NAME.safetensors with their card
(a file of 16 MiB or more also in pieces: cat NAME.safetensors.* > NAME.safetensors), and runs/NAME
keeps checkpoints and log: the same command continues them. `--quick --device cpu` shows in a minute
or two of two free cores that all of it works where there is no GPU.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import torch
from _live_examples import LiveExamples

from napari_recurrent_mz.core.device import choose_device
from napari_recurrent_mz.networks.deep_z import DeepZConfig
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig
from napari_recurrent_mz.networks.unet3d import UNet3DConfig
from napari_recurrent_mz.networks.weights import load_model
from napari_recurrent_mz.simulation import pupil
from napari_recurrent_mz.training.examples import ExampleConfig
from napari_recurrent_mz.training.finish import HELD_OUT_SETS, facts_of_sets, write_model
from napari_recurrent_mz.training.folder import Contents, ExampleFolder
from napari_recurrent_mz.training.learner import TrainConfig
from napari_recurrent_mz.training.loop import Trainer
from napari_recurrent_mz.training.losses import LossConfig
from napari_recurrent_mz.training.microscopes import SETS

PIECE_BYTES = 15 * 2**20
OURS, START = NetworkConfig.general(), "recurrent-mz"
FULL = TrainConfig(network=OURS, batch=32, average=0.999, decay_from=0.35)
PLAIN = replace(FULL, loss=LossConfig(care=0.0))
GENTLE = replace(FULL, learning_rate=7e-4)
COMPARED = {
    "deep-z": replace(PLAIN, network=DeepZConfig(base_channels=16)),
    "unet-3d": replace(PLAIN, network=UNet3DConfig(base_channels=16)),
    "recurrent-mz-paper": replace(PLAIN, network=replace(NetworkConfig.paper(), base_channels=16)),
}
PLUS = replace(GENTLE, network=replace(OURS, target="confocal"))


@dataclass(frozen=True)
class Stage:
    """Networks that learn from one kind of sets, one after the other."""

    name: str
    sets: str
    share: float  # of the whole time, for all of them
    learners: dict[str, TrainConfig]
    start: str = START  # the network that they begin with, where there is one
    scans: tuple[int, ...] = ()  # numbers of scans that they see; of none, all


STAGES = (
    Stage("general", "general", 0.60, {START: FULL}),
    Stage("comparison", "general", 0.12, COMPARED, "", (3,)),
    Stage("beads", "beads", 0.11, {"recurrent-mz-beads": GENTLE}),
    Stage("worm", "worm", 0.07, {"recurrent-mz-worm": GENTLE}),
    Stage("plus", "plus", 0.10, {"recurrent-mz-plus": PLUS}),
)


def examples_of(sets: str, given: argparse.Namespace) -> LiveExamples:
    """Sets of one kind, in the memory of the device and, where asked for, on disk."""
    small = {"planes": 16, "size": 32, "samples": 2, "targets": 1} if given.quick else {}
    contents = Contents(replace(SETS[sets], **small), given.seed, 3 if given.quick else 240)
    folder, keep_gb = ExampleFolder(Path(os.devnull), contents), 0.0
    if given.examples:
        folder, keep_gb = ExampleFolder.begin(given.examples / sets, contents), given.examples_gb
    begin, cores = 6 if given.quick else 400, given.cores or max((os.cpu_count() or 2) - 1, 1)
    where = choose_device(given.device).torch
    return LiveExamples(folder, where, given.gigabytes, keep_gb=keep_gb, cores=cores, begin=begin)


def train(stage: Stage, name: str, live: LiveExamples, given: argparse.Namespace) -> None:
    """Train one network and write its best weights."""
    config, device = stage.learners[name], choose_device(given.device)
    if given.quick:
        config = replace(config, batch=2, examples=ExampleConfig(crop=32))
    here = {path.stem: path for path in [*given.folder.glob("*.safetensors"), *given.start]}
    start = here.get(name, here.get(stage.start))
    trainer = Trainer(
        config, live.source(config, stage.scans), live.check(device, stage.scans),
        given.folder / "runs" / name, device=device, start_from=start and load_model(start).network,
        minutes=given.minutes * stage.share / len(stage.learners),
    )  # fmt: skip
    for now in trainer.run():
        if now.gain_db is not None:
            print(f"{name}, step {now.step}, {live.groups} groups: {now.words}", flush=True)
    path = given.folder / f"{name}.safetensors"
    facts = facts_of_sets(live.folder.contents.sets, live.groups)
    write_model(trainer.folder, path, facts=facts, check=HELD_OUT_SETS, device=device)
    data = path.read_bytes()
    for n, begin in enumerate(range(0, len(data), PIECE_BYTES) if len(data) > PIECE_BYTES else ()):
        piece = path.with_name(f"{path.name}.{n:02d}")
        piece.write_bytes(data[begin : begin + PIECE_BYTES])


def main() -> None:
    """Train all that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="gets the results; made if it is not there")
    parser.add_argument("--minutes", type=float, default=22, help="for everything")
    parser.add_argument("--stages", nargs="+", default=[stage.name for stage in STAGES])
    parser.add_argument("--start", type=Path, nargs="*", default=[], help="weights, by name")
    parser.add_argument("--gigabytes", type=float, default=30, help="memory for sets of scans")
    parser.add_argument("--examples", type=Path, help="folder of sets of scans to read and keep")
    parser.add_argument("--examples-gb", type=float, default=100, help="kept there, each kind")
    parser.add_argument("--cores", type=int, default=0, help="that draw phantoms")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="small sizes: no real weights")
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args()
    stages = [stage for stage in STAGES if stage.name in given.stages]
    taken = {name for stage in stages for name in (stage.start, *stage.learners)}
    for path in given.start:
        if path.stem not in taken:
            parser.error(f"--start {path}: no stage begins with '{path.stem}'")
    if given.quick:
        pupil._LARGEST_GRID, given.minutes = 128, min(given.minutes, 0.3)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    for sets, group in groupby(stages, lambda one: one.sets):
        with examples_of(sets, given) as live:
            for stage, name in ((one, name) for one in group for name in one.learners):
                try:
                    train(stage, name, live, given)
                except Exception as error:  # the others are trained
                    print(f"{name} failed: {error!r}", flush=True)
                    if given.quick:
                        raise


if __name__ == "__main__":
    main()
