"""Train every bundled network on one GPU within a given time, by one command, into a folder.

    python docs/train_on_gpu.py trained --minutes 22

Phantoms are drawn on all CPU cores; everything after them (optics, camera, the estimates that the
networks see, the networks) runs on the GPU. The general network is trained first, then the
methods that it is compared with, on the same sets of scans, then the networks for one kind of
sample, which begin with the general one's weights. Each writes its averaged weights as
NAME.safetensors whenever it is validated, a line of `log.csv`, and its check in NAME.check.json.
`--quick --device cpu` shows in a few minutes that all of it works where there is no GPU.
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

from napari_recurrent_mz.networks.deep_z import DeepZConfig
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig
from napari_recurrent_mz.networks.unet3d import UNet3DConfig
from napari_recurrent_mz.networks.weights import load_model, save_model
from napari_recurrent_mz.simulation import pupil
from napari_recurrent_mz.training.learner import Learner, LearnerConfig
from napari_recurrent_mz.training.questions import Question, ask, check_samples, make_questions
from napari_recurrent_mz.training.sets import (
    SetConfig,
    Sets,
    draw_microscope,
    draw_sample,
    image_samples,
    make_sets,
)
from napari_recurrent_mz.training.store import Ring

OURS = NetworkConfig(base_channels=16, norm="none", nonnegative=True, slope=0.01)
SIX = ((1.4, 1.515), (1.4, 1.518))  # the paper's objective, 63×/1.4
GENERAL = SetConfig()
BEADS = replace(
    GENERAL, kinds=(("beads", 1.0),), objectives=SIX, wavelength_um=(0.5, 0.65), coarse_share=0.0,
    pixel_per_nyquist=(0.8, 1.5), spacing_dof=(4.0, 11.0), step_dof=(0.3, 0.6), far_share=0.1,
    scans=((0, 0.4, 0.6), (0, 0, 1.0), (0, 0.3, 0.4, 0.3)), photons=(200.0, 50000.0),
)  # fmt: skip
WORM = replace(
    GENERAL, kinds=(("worm", 1.0),), objectives=SIX, wavelength_um=(0.5, 0.54), coarse_share=0.0,
    pixel_per_nyquist=(0.8, 1.5), spacing_dof=(10.0, 19.0), step_dof=(0.7, 0.9), far_share=0.05,
    scans=((0, 1.0), (0, 0, 1.0), (0, 0.3, 0.7)), photons=(300.0, 30000.0),
)  # fmt: skip
PLUS = replace(
    GENERAL, target="confocal", scans=((0.0, 0.8, 0.0, 0.2), (0, 0, 1.0), (0, 0.2, 0.5, 0.3)),
    spacing_dof=(2.0, 16.0), far_share=0.1,
    objectives=tuple(pair for pair in GENERAL.objectives if pair in (
        (1.4, 1.515), (1.2, 1.333), (1.4, 1.518), (1.1, 1.333), (0.95, 1.0), (0.85, 1.0),
        (1.0, 1.333), (1.3, 1.515), (1.45, 1.518))),
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """Networks that learn from one kind of sets, one after the other.

    Attributes
    ----------
    name : str
    sets : SetConfig
    learners : dict of str to LearnerConfig
    share : float
        Of the whole time, for all of them.
    start : str or None
        The network that they begin with.
    scans : tuple of int
        Numbers of scans that they see; of none, all.
    """

    name: str
    sets: SetConfig
    learners: dict[str, LearnerConfig]
    share: float
    start: str | None = None
    scans: tuple[int, ...] = ()


PLAIN = LearnerConfig(care=0.0, learning_rate=1e-3)
GENTLE = LearnerConfig(network=OURS, learning_rate=7e-4)
PAPER = replace(NetworkConfig.paper(), base_channels=16)
STAGES = (
    Stage("general", GENERAL, {"recurrent-mz": LearnerConfig(network=OURS)}, 0.60, "recurrent-mz"),
    Stage(
        "comparison",
        GENERAL,
        {
            "deep-z": replace(PLAIN, network=DeepZConfig(base_channels=16)),
            "unet-3d": replace(PLAIN, network=UNet3DConfig(base_channels=16)),
            "recurrent-mz-paper": replace(PLAIN, network=PAPER),
        },
        0.12,
        scans=(3,),
    ),
    Stage("beads", BEADS, {"recurrent-mz-beads": GENTLE}, 0.11, "recurrent-mz"),
    Stage("worm", WORM, {"recurrent-mz-worm": GENTLE}, 0.07, "recurrent-mz"),
    Stage(
        "plus",
        PLUS,
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
    config : SetConfig
    network : NetworkConfig
    seed : int
    device : torch.device
    groups : int
        Groups of each third of the check.

    Attributes
    ----------
    fields, counted : int
        Samples and sets made so far.
    """

    def __init__(
        self,
        samples: Samples,
        config: SetConfig,
        network: NetworkConfig,
        seed: int,
        device: torch.device,
        groups: int,
    ) -> None:
        self.samples, self.config, self.network = samples, config, network
        self.seed, self.device, self.groups = seed, device, groups
        # Its many small operations come before the large ones of the steps.
        self.stream = torch.cuda.Stream(priority=-1) if device.type == "cuda" else None
        self.fields = self.counted = self.asked = 0
        self._check = [samples.ask(*one) for one in check_samples(config, groups)]
        self._waiting: deque[tuple[int, list[Any]]] = deque()
        self._look_ahead()

    def _look_ahead(self) -> None:
        while len(self._waiting) < self.samples.ahead:
            group, numbers = self.asked, range(self.config.samples)
            asked = [self.samples.ask(self.config, self.seed, group, n) for n in numbers]
            self._waiting.append((group, asked))
            self.asked += 1

    def questions(self) -> list[Question]:
        """The check."""
        samples = (one.get() for one in self._check)
        made = make_questions(self.config, self.network, self.groups, self.device, samples)
        return list(made)

    def group(self) -> list[Sets]:
        """The sets of the next group."""
        self._look_ahead()
        group, asked = self._waiting.popleft()
        volumes = [one.get() for one in asked]
        with torch.cuda.stream(self.stream):
            microscope = draw_microscope(self.config, self.seed, group)
            stacks, truths = image_samples(self.config, microscope, volumes, self.device)
            rng = np.random.default_rng([self.seed, group, 99])
            made = make_sets(self.config, self.network, microscope, stacks, truths, rng)
            every = list(made)
            if self.stream is not None:
                self.stream.synchronize()
        self.fields += len(volumes)
        self.counted += sum(len(sets.images) for sets in every)
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
        self.weights: dict[str, dict[str, torch.Tensor]] = {}
        self.makers: dict[str, Maker] = {}
        self.ring = Ring({}, self.device)
        self.questions: list[Question] = []
        self.steps = 40.0  # for every group of sets
        for path in wanted.start:  # weights of stages that are left out
            self.weights[path.stem] = load_model(path).network.state_dict()

    def said(self, words: str) -> None:
        """Tell the log."""
        print(f"{time.monotonic() - self.begun:7.1f} s  {words}", flush=True)

    def maker(self, stage: Stage) -> Maker:
        """Of a stage's sets; stages with the same sets share one."""
        key = repr(stage.sets)
        if key not in self.makers:
            config = replace(stage.sets, **QUICK) if self.quick else stage.sets
            network = replace(OURS, target=config.target)
            groups = 1 if self.quick else (11 if stage.name == "general" else 3)
            seed = self.seed + sum(map(ord, stage.name))
            self.makers[key] = Maker(self.samples, config, network, seed, self.device, groups)
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
        shares = _count_shares(config)
        size = sum(share * _set_bytes(config, m) for m, share in shares.items())
        total = self.gigabytes * 1e9 / size
        self.ring = Ring({m: max(int(total * s), 8) for m, s in shares.items()}, self.device)
        while maker.counted < (6 if self.quick else 400):
            self._take(maker)

    def _take(self, maker: Maker) -> None:
        for sets in maker.group():
            self.ring.add(sets)
            if self.on_gpu:
                for value in sets.tensors().values():
                    value.record_stream(torch.cuda.current_stream())

    def _train(
        self, stage: Stage, name: str, config: LearnerConfig, until: float, following: Stage | None
    ) -> None:
        if self.quick:
            config = replace(config, batch=4, crop=48)
        config = replace(config, half=self.half)
        learner = Learner(config, self.device, self._start(stage, name, config))
        maker = self.maker(stage)
        rng = np.random.default_rng([self.seed, sum(map(ord, name))])
        shares = {m: s for m, s in _count_shares(maker.config).items() if self.ring.filled(m)}
        shares = {m: s for m, s in shares.items() if not stage.scans or m in stage.scans} or shares
        counts, odds = list(shares), np.array(list(shares.values())) / sum(shares.values())
        begun = told = time.monotonic()
        every_s = 20 if self.quick else max(30.0, (until - begun) / 12)
        total_s, losses = max(until - begun, 1), []
        while learner.steps == 0 or time.monotonic() < until:
            for _ in range(1 if self.quick else round(self.steps)):
                part = (time.monotonic() - begun) / total_s
                count = int(rng.choice(counts, p=odds))
                drawn = self.ring.draw(config.network, count, config.batch, config.crop, rng)
                loss = learner.step(drawn, config.learning_rate * _schedule(part))
                losses.append(loss.clone())
            self._meanwhile(stage, maker)
            if following is not None and part > 0.5:
                self.maker(following)  # whose samples are drawn already
            if time.monotonic() - told > every_s:
                self._validate(stage, name, learner, losses, begun)
                told, losses = time.monotonic(), []
        self._validate(stage, name, learner, losses, begun)
        self.weights[name] = learner.average.state_dict()

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

    def _start(
        self, stage: Stage, name: str, config: LearnerConfig
    ) -> dict[str, torch.Tensor] | None:
        """What a network begins with: its own weights if they are there, else the stage's start."""
        if name in self.weights:
            self.said(f"{name} goes on")
            return self.weights[name]
        start = self.weights.get(stage.start or "")
        self.said(f"{name} begins with {'nothing' if start is None else stage.start}")
        if start is None:
            return None
        same = config.network.target == "widefield"
        return {
            key: value if same or not key.startswith("last.") else torch.zeros_like(value)
            for key, value in start.items()
        }

    def _validate(
        self, stage: Stage, name: str, learner: Learner, losses: list[torch.Tensor], begun: float
    ) -> None:
        scans = stage.scans
        questions = [q for q in self.questions if not scans or q.sets.images.shape[1] in scans]
        answers = ask(learner.average, questions or self.questions, half=self.half)
        maker = self.maker(stage)
        row = {
            "network": name, "seconds": round(time.monotonic() - begun, 1),
            "steps": learner.steps, "sets": maker.counted, "fields": maker.fields,
            "loss": float(torch.stack(losses).mean()) if losses else math.nan,
            "gain_db": answers.mean_db, "worst_db": answers.worst_db, "lost": answers.lost,
        }  # fmt: skip
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        words = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
        self.said(" ".join(words) + f" ({self.steps:.0f} a group)")
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


def _count_shares(config: SetConfig) -> dict[int, float]:
    """How often each number of scans is made."""
    found: dict[int, float] = {}
    for shares in config.scans:
        for m, share in enumerate(shares, 1):
            if share:
                found[m] = found.get(m, 0) + share / sum(shares) / len(config.scans)
    return found


def _set_bytes(config: SetConfig, scans: int) -> int:
    return 2 * config.size**2 * (scans + config.targets * (scans + 4) + 1)


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
