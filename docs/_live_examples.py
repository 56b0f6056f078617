"""Sets of scans made in another thread, while the training of train_on_gpu.py draws from them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_recurrent_mz.core.device import Device
from napari_recurrent_mz.networks.architectures import Network
from napari_recurrent_mz.training.check import Question, Validation, ask
from napari_recurrent_mz.training.examples import Batch
from napari_recurrent_mz.training.folder import ExampleFolder, Job
from napari_recurrent_mz.training.learner import TrainConfig
from napari_recurrent_mz.training.microscopes import Group, draw_sample
from napari_recurrent_mz.training.sets import Sets, read_sets, write_sets
from napari_recurrent_mz.training.store import Ring

_AHEAD = 4  # groups whose phantoms are drawn before they are needed


class LiveExamples:
    """Sets of scans made in another thread while a training draws from them; a context manager.

    Phantoms are drawn on other cores of the CPU, and all else on the device, on a GPU on a stream
    of its own. Files of the folder that are there are read in place of that, and up to
    ``keep_gb`` what is made is kept there. The ``questions`` of the check come first, then at least
    ``begin`` sets.
    """

    def __init__(
        self,
        folder: ExampleFolder,
        device: torch.device,
        gigabytes: float,
        *,
        keep_gb: float = 0.0,
        cores: int = 1,
        begin: int = 400,
    ) -> None:
        self.folder, self.device, self.keep_gb, self.begin = folder, device, keep_gb, begin
        self.ring, self.groups = Ring.of(folder, gigabytes, device), 0
        self.questions: list[Question] = []
        self.stream = None
        if device.type == "cuda":  # its many small operations come before the large ones of steps
            self.stream = torch.cuda.Stream(priority=-1)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._ended, self._ready = threading.Event(), threading.Event()
        spawn = multiprocessing.get_context("spawn")
        self._cores = ProcessPoolExecutor(cores, spawn, _one_core)
        self._thread = ThreadPoolExecutor(1)
        self._work = self._thread.submit(self._make)

    def __enter__(self) -> LiveExamples:
        while not (self._ready.wait(1) or self._work.done()):
            pass
        self._check_work()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.shutdown()
        self._cores.shutdown(cancel_futures=True)

    def source(
        self, config: TrainConfig, scans: Sequence[int] = ()
    ) -> Callable[[int, int, int], Batch]:
        """Examples of these numbers of scans, or of all."""
        shares = self.folder.contents.sets.shares
        some = {m: share for m, share in shares.items() if not scans or m in scans}

        def draw(seed: int, step: int, size: int) -> Batch:
            self._check_work()
            with self._lock:
                return self.ring.draw(config, size, np.random.default_rng([seed, step]), some)

        return draw

    def check(self, device: Device, scans: Sequence[int] = ()) -> Callable[[Network], Validation]:
        """What is asked of these numbers of scans, or of all."""
        some = [q for q in self.questions if not scans or q.sets.images.shape[1] in scans]
        return lambda network: ask(network, some or self.questions, half=device.half)

    def _check_work(self) -> None:
        if self._work.done():
            self._work.result()  # which says why it ended

    def _make(self) -> None:
        asked, counted = self.folder.asked, 0
        jobs = itertools.chain((job for _, job in asked), map(self.folder.group, itertools.count()))
        coming = ((job, self._samples(job)) for job in jobs)
        waiting = deque(itertools.islice(coming, _AHEAD))
        for number in itertools.count():
            waiting.append(next(coming))
            (path, group), samples = waiting.popleft()
            if self._ended.is_set():
                return
            with torch.cuda.stream(self.stream):  # on a CPU without a meaning
                every = self._sets(path, group, samples)
                if self.stream is not None:
                    self.stream.synchronize()
                if number < len(asked):
                    self.questions += [Question(s, group.kinds, asked[number][0]) for s in every]
                    continue
                with self._lock:
                    if self.stream is not None:
                        self.stream.wait_stream(torch.cuda.default_stream())
                    for sets in every:
                        self.ring.add(sets)
                    if self.stream is not None:
                        self.stream.synchronize()
            self.groups, counted = self.groups + 1, counted + sum(len(s.images) for s in every)
            if counted >= self.begin:
                self._ready.set()

    def _samples(self, job: Job) -> list[Future[Any]]:
        """Phantoms that will be there; none where the file is there."""
        path, group = job
        if path.exists():
            return []
        return [self._cores.submit(draw_sample, *one) for one in group.samples()]

    def _sets(self, path: Path, group: Group, samples: list[Future[Any]]) -> list[Sets]:
        if not samples:
            return [sets.to(self.device) for sets in read_sets(path)]
        drawn = (sample.result() for sample in samples)
        every = group.sets(self.folder.contents.network, self.device, drawn)
        if self.folder.gigabytes < self.keep_gb:
            write_sets(path, every)
        return every


def _one_core() -> None:
    """Keep a process to one core, behind the one that tells a GPU what to do."""
    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(10)
