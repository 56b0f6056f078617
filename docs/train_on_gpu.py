"""Train every bundled network on one GPU within a given time, by one command, into a folder.

    python docs/train_on_gpu.py trained --minutes 22

Phantoms are drawn on all CPU cores; everything after them (optics, camera, the estimates that the
networks see, the networks) runs on the GPU. The general network is trained first, then the
methods that it is compared with, on the same sets of scans, then the networks for one kind of
sample, which begin with the general one's weights. Each writes its averaged weights as
NAME.safetensors whenever it is validated, a line of `log.csv`, and its check in NAME.check.json.
`--quick --device cpu` shows in a few minutes that all of it works where there is no GPU.
With `--examples FOLDER` the sets of scans that are in the folder are read, and those that are made
are kept there, in a folder for each kind of sets, as `recurrent-mz simulate examples` makes it.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import os
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_recurrent_mz.networks.architectures import Network
from napari_recurrent_mz.networks.deep_z import DeepZConfig
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig
from napari_recurrent_mz.networks.unet3d import UNet3DConfig
from napari_recurrent_mz.networks.weights import load_model, save_model
from napari_recurrent_mz.simulation import pupil
from napari_recurrent_mz.training.examples import ExampleConfig
from napari_recurrent_mz.training.folder import Contents, ExampleFolder, Job, read_sets, write_sets
from napari_recurrent_mz.training.learner import Learner, TrainConfig, begun
from napari_recurrent_mz.training.losses import LossConfig
from napari_recurrent_mz.training.questions import Question, ask, check_groups
from napari_recurrent_mz.training.revive import Dead, watched
from napari_recurrent_mz.training.sets import SETS, Group, SetConfig, Sets, draw_sample
from napari_recurrent_mz.training.store import Ring

OURS = NetworkConfig.general()


@dataclass(frozen=True)
class Stage:
    """Networks that learn from one kind of sets, one after the other.

    Attributes
    ----------
    name : str
    sets : SetConfig
    learners : dict of str to TrainConfig
    share : float
        Of the whole time, for all of them.
    start : str or None
        The network that they begin with.
    scans : tuple of int
        Numbers of scans that they see; of none, all.
    """

    name: str
    sets: SetConfig
    learners: dict[str, TrainConfig]
    share: float
    start: str | None = None
    scans: tuple[int, ...] = ()


FULL = TrainConfig(network=OURS, batch=32, average=0.999, examples=ExampleConfig(crop=128))
PLAIN = replace(FULL, loss=LossConfig(care=0.0))
GENTLE = replace(FULL, learning_rate=7e-4)
PAPER = replace(NetworkConfig.paper(), base_channels=16)
STAGES = (
    Stage("general", SETS["general"], {"recurrent-mz": FULL}, 0.60, "recurrent-mz"),
    Stage(
        "comparison",
        SETS["general"],
        {
            "deep-z": replace(PLAIN, network=DeepZConfig(base_channels=16)),
            "unet-3d": replace(PLAIN, network=UNet3DConfig(base_channels=16)),
            "recurrent-mz-paper": replace(PLAIN, network=PAPER),
        },
        0.12,
        scans=(3,),
    ),
    Stage("beads", SETS["beads"], {"recurrent-mz-beads": GENTLE}, 0.11, "recurrent-mz"),
    Stage("worm", SETS["worm"], {"recurrent-mz-worm": GENTLE}, 0.07, "recurrent-mz"),
    Stage(
        "plus",
        SETS["plus"],
        {"recurrent-mz-plus": replace(GENTLE, network=replace(OURS, target="confocal"))},
        0.10,
        "recurrent-mz",
    ),
)

QUICK: dict[str, Any] = {"planes": 20, "size": 64, "samples": 2, "targets": 2}


class Samples:
    """Phantoms from all CPU cores, in order, some of them ahead.

    Parameters
    ----------
    cores : int
    ahead : int
        Groups that are drawn before they are asked for.
    """

    def __init__(self, cores: int, ahead: int) -> None:
        self.ahead = ahead
        self.pool = multiprocessing.get_context("spawn").Pool(cores, _one_core_each)

    def ask(self, *arguments: Any) -> Any:
        """A sample that will be there: what :func:`draw_sample` makes of these arguments."""
        return self.pool.apply_async(draw_sample, arguments)


def _one_core_each() -> None:
    """Keep a process to one core, behind the one that tells the GPU what to do."""
    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(10)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        number = multiprocessing.current_process()._identity[-1]
        os.sched_setaffinity(0, {cores[-1 - number % len(cores)]})


class Maker:
    """Sets of one stage: on a GPU made on a stream of its own, beside what learns from them.

    Parameters
    ----------
    samples : Samples
    contents : Contents
    device : torch.device
    folder : ExampleFolder or None
        Where sets are read from, and kept.
    gigabytes : float
        What may be kept there.

    Attributes
    ----------
    fields, counted : int
        Samples and sets made or read so far.
    """

    def __init__(
        self,
        samples: Samples,
        contents: Contents,
        device: torch.device,
        folder: ExampleFolder | None,
        gigabytes: float,
    ) -> None:
        self.samples, self.contents, self.device = samples, contents, device
        self.config, self.folder, self.gigabytes = contents.sets, folder, gigabytes
        # Its many small operations come before the large ones of the steps.
        self.stream = torch.cuda.Stream(priority=-1) if device.type == "cuda" else None
        self.fields = self.counted = self.asked = 0
        groups = [group for _, group in check_groups(self.config, contents.questions)]
        jobs = [None] * len(groups) if folder is None else folder.jobs([])
        self._check = [self._ask(group, job) for group, job in zip(groups, jobs, strict=True)]
        self._waiting: deque[tuple[Group, Job | None, list[Any]]] = deque()
        self._look_ahead()

    def _ask(self, group: Group, job: Job | None) -> tuple[Group, Job | None, list[Any]]:
        """Samples that will be there; none where the file is there."""
        if job is not None and job[0].exists():
            return group, job, []
        return group, job, [self.samples.ask(*one) for one in group.samples()]

    def _look_ahead(self) -> None:
        while len(self._waiting) < self.samples.ahead:
            group = Group(self.config, self.contents.seed, self.asked)
            job = None if self.folder is None else self.folder.group(self.asked)
            self._waiting.append(self._ask(group, job))
            self.asked += 1

    def questions(self) -> list[Question]:
        """The check."""
        thirds = check_groups(self.config, self.contents.questions)
        return [
            Question(sets, group.kinds, third)
            for (third, group), asked in zip(thirds, self._check, strict=True)
            for sets in self._sets(*asked)
        ]

    def group(self) -> list[Sets]:
        """The sets of the next group."""
        self._look_ahead()
        every = self._sets(*self._waiting.popleft())
        self.fields += self.config.samples
        self.counted += sum(len(sets.images) for sets in every)
        return every

    def _sets(self, group: Group, job: Job | None, asked: list[Any]) -> list[Sets]:
        if job is not None and not asked:
            return [sets.to(self.device) for sets in read_sets(job[0])]
        samples = [one.get() for one in asked]
        with torch.cuda.stream(self.stream):
            every = group.sets(self.contents.network, self.device, samples)
            if self.stream is not None:
                self.stream.synchronize()
        if job is not None and self.folder is not None and self.folder.gigabytes < self.gigabytes:
            write_sets(job[0], every)
        return every


class Run:
    """Everything that goes on until the time is up."""

    def __init__(self, wanted: argparse.Namespace) -> None:
        self.folder: Path = wanted.folder
        self.quick, self.seed, self.gigabytes = wanted.quick, wanted.seed, wanted.gigabytes
        self.device = torch.device(wanted.device)
        self.on_gpu = self.device.type == "cuda"
        self.half = self.on_gpu or wanted.half
        self.minutes = wanted.minutes
        self.begun = time.monotonic()
        cores = max((os.cpu_count() or 2) - 1, 1)
        self.samples = Samples(wanted.cores or cores, 2 if self.quick else 8)
        self.weights: dict[str, Network] = {}
        self.examples: Path | None = wanted.examples
        self.examples_gb: float = wanted.examples_gb
        self.makers: dict[str, Maker] = {}
        self.ring = Ring({}, self.device)
        self.questions: list[Question] = []
        self.steps = 40.0  # for every group of sets
        for path in wanted.start:  # weights of stages that are left out
            self.weights[path.stem] = load_model(path).network

    def said(self, words: str) -> None:
        """Tell the log."""
        print(f"{time.monotonic() - self.begun:7.1f} s  {words}", flush=True)

    def maker(self, stage: Stage) -> Maker:
        """Of a stage's sets; stages with the same sets share one."""
        key = repr(stage.sets)
        if key not in self.makers:
            config = replace(stage.sets, **QUICK) if self.quick else stage.sets
            questions = 3 if self.quick else 240 if stage.name == "general" else 72
            contents = Contents(config, self.seed, questions)
            folder = self.examples and ExampleFolder.begin(self.examples / stage.name, contents)
            most = self.examples_gb
            self.makers[key] = Maker(self.samples, contents, self.device, folder, most)
        return self.makers[key]

    def stage(self, stage: Stage, following: Stage | None) -> None:
        """Train the networks of a stage."""
        until = time.monotonic() + stage.share * self.minutes * 60
        maker = self.maker(stage)
        if not maker.fields:
            self._begin(stage, maker)
        each = (until - time.monotonic()) / len(stage.learners)
        for name, config in stage.learners.items():
            try:
                self._train(stage, name, config, time.monotonic() + each, following)
            except Exception as error:  # the others go on
                self.said(f"{name} failed: {error!r}")
                if self.quick:
                    raise

    def _begin(self, stage: Stage, maker: Maker) -> None:
        """A check and a ring for another kind of sets."""
        config = maker.config
        self.ring, self.questions = Ring({}, self.device), []
        self.questions = maker.questions()
        asked = sum(len(question.kinds) for question in self.questions)
        self.said(f"{stage.name}: {asked} questions")
        self.ring = Ring.of(config, self.gigabytes, self.device)
        while maker.counted < (6 if self.quick else 400):
            self._take(maker)

    def _take(self, maker: Maker) -> None:
        for sets in maker.group():
            self.ring.add(sets)
            if self.on_gpu:
                for value in sets.tensors().values():
                    value.record_stream(torch.cuda.current_stream())

    def _train(
        self, stage: Stage, name: str, config: TrainConfig, until: float, following: Stage | None
    ) -> None:
        if self.quick:
            config = replace(config, batch=4, examples=ExampleConfig(crop=48))
        learner = Learner(config, self._start(stage, name, config), self.device, half=self.half)
        maker = self.maker(stage)
        rng = np.random.default_rng([self.seed, sum(map(ord, name))])
        shares = {m: s for m, s in maker.config.shares().items() if self.ring.filled(m)}
        shares = {m: s for m, s in shares.items() if not stage.scans or m in stage.scans} or shares
        begun = told = time.monotonic()
        every_s = 20 if self.quick else max(30.0, (until - begun) / 12)
        total_s, losses = max(until - begun, 1), []
        while learner.steps == 0 or time.monotonic() < until:
            for _ in range(1 if self.quick else round(self.steps)):
                part = (time.monotonic() - begun) / total_s
                drawn = self.ring.draw(config, config.batch, rng, shares)
                loss = learner.step(drawn, config.learning_rate * _schedule(part))
                losses.append(loss.clone())
            self._meanwhile(stage, maker)
            if following is not None and part > 0.5:
                self.maker(following)  # whose samples are drawn already
            if time.monotonic() - told > every_s:
                self._validate(stage, name, learner, losses, begun)
                told, losses = time.monotonic(), losses[-1:]
        self._validate(stage, name, learner, losses, begun)
        self.weights[name] = learner.average

    def _meanwhile(self, stage: Stage, maker: Maker) -> None:
        """More sets, while the GPU takes the steps that it was told; as many as it has time for."""
        told = torch.cuda.Event() if self.on_gpu else None
        if told is not None:
            told.record()
        if len(stage.learners) == 1:  # several learn from the same sets
            self._take(maker)
        if told is not None:
            idle = told.query()
            self.steps = min(max(self.steps * (1.15 if idle else 0.97), 24), 150)
            told.synchronize()

    def _start(self, stage: Stage, name: str, config: TrainConfig) -> Network:
        """What a network begins with: its own weights if they are there, else the stage's start."""
        start = self.weights.get(name, self.weights.get(stage.start or ""))
        words = "goes on" if name in self.weights else f"begins with {stage.start or 'nothing'}"
        self.said(f"{name} {words if start is not None else 'begins with nothing'}")
        return begun(config.network, start)

    def _validate(
        self, stage: Stage, name: str, learner: Learner, losses: list[torch.Tensor], begun: float
    ) -> None:
        scans = stage.scans
        questions = [q for q in self.questions if not scans or q.sets.images.shape[1] in scans]
        with watched(learner.average) as ranges:
            answers = ask(learner.average, questions or self.questions, half=self.half)
        maker = self.maker(stage)
        row = {
            "network": name, "seconds": round(time.monotonic() - begun, 1),
            "steps": learner.steps, "sets": maker.counted, "fields": maker.fields,
            "loss": float(torch.stack(losses).mean()) if losses else math.nan,
            "gain_db": answers.gain_db, "worst_db": answers.worst_db, "lost": answers.lost,
        }  # fmt: skip
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        words = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
        dead = Dead.among(ranges).words
        self.said(" ".join(words) + f" ({self.steps:.0f} a group)" + (dead and f"; {dead}"))
        described = {
            "sets": asdict(stage.sets), "learner": asdict(learner.config),
            "answers": asdict(answers), "row": row,
        }  # fmt: skip
        (self.folder / f"{name}.check.json").write_text(json.dumps(described, indent=1))
        save_model(learner.average, {"training": described}, self.folder / f"{name}.safetensors")


def _schedule(part: float) -> float:
    """Learning rate over the highest, at a part of the time: a rise, a plateau, a cosine to nil."""
    rise = min(1.0, part / 0.01 + 0.02)
    fall = min(max((part - 0.35) / 0.65, 0), 1)
    return rise * 0.5 * (1 + math.cos(math.pi * fall))


def main() -> None:
    """Train all that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="gets the results; made if it is not there")
    parser.add_argument("--minutes", type=float, default=22, help="for everything")
    parser.add_argument("--stages", nargs="+", default=[s.name for s in STAGES])
    parser.add_argument(
        "--start",
        type=Path,
        nargs="*",
        default=[],
        help="weights to begin with or go on from, by name",
    )
    parser.add_argument("--gigabytes", type=float, default=30, help="for sets of scans")
    parser.add_argument("--examples", type=Path, help="folder of sets of scans to read and keep")
    parser.add_argument("--examples-gb", type=float, default=100, help="kept there, each kind")
    parser.add_argument("--cores", type=int, default=0, help="that draw phantoms")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="small sizes: no real weights")
    parser.add_argument("--half", action="store_true", help="bfloat16 on a CPU too")
    parser.add_argument("--device", default="cuda")
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    if wanted.quick:
        pupil._LARGEST_GRID = 384
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    stages = [stage for stage in STAGES if stage.name in wanted.stages]
    taken = {name for stage in stages for name in (stage.start, *stage.learners)}
    for path in wanted.start:
        if path.stem not in taken:
            parser.error(f"--start {path}: no stage begins with '{path.stem}'")
    run = Run(wanted)
    for stage, following in zip_longest(stages, stages[1:]):
        run.stage(stage, following)
    run.said("done")
    run.samples.pool.terminate()


if __name__ == "__main__":
    main()
