"""What a training draws from: sets of scans in memory, of a folder, or made as they are needed."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..core.device import Device
from ..core.scans import InputError
from ..estimates.deconvolution import ITERATIONS
from ..networks.recurrent_mz import NetworkConfig
from ..simulation.phantoms import SPARSE
from .examples import Batch, ExampleConfig, View, draw_count, join
from .fields import Field, Pool
from .folder import ExampleFolder
from .learner import TrainConfig
from .sets import Sets, make_sets, making_device, read_sets, write_sets

_EVERY = 20  # steps after which one more group is taken from a folder that is larger than the ring
_LOOK = 50  # steps after which new groups or fields are looked for
_TRIES = 50
_KEPT_TARGETS = 6  # of a set of scans that serves a whole run


class Ring:
    """The newest sets of every number of scans, as many of each as ``capacity`` says."""

    def __init__(self, capacity: dict[int, int], device: torch.device) -> None:
        self.capacity, self.device = capacity, device
        self.generator = torch.Generator(device)
        self.sets: dict[int, Sets] = {}
        self.added = dict.fromkeys(capacity, 0)

    @classmethod
    def of(cls, folder: ExampleFolder, gigabytes: float, device: torch.device) -> Ring:
        """A ring of so many gigabytes, for sets as they are drawn."""
        sets = folder.contents.sets
        total = gigabytes * 1e9 / sets.set_bytes
        return cls({m: max(int(total * s), 8) for m, s in sets.shares.items()}, device)

    def add(self, sets: Sets) -> None:
        """Take in sets; those of a number of scans that is not wanted are dropped."""
        count, some = sets.images.shape[1], len(sets.images)
        if count not in self.capacity:
            return
        room = self.capacity[count]
        if count not in self.sets:
            self.sets[count] = Sets(
                **{
                    name: value.new_empty((room, *value.shape[1:]), device=self.device)
                    for name, value in sets.tensors().items()
                }
            )
        begin = self.added[count]
        at = (torch.arange(some, device=self.device) + begin) % room
        for name, value in sets.tensors().items():
            getattr(self.sets[count], name)[at] = value.to(self.device)
        self.added[count] += some

    def filled(self, count: int) -> int:
        """How many sets of a number of scans there are."""
        return min(self.added.get(count, 0), self.capacity.get(count, 0))

    def draw(
        self, config: TrainConfig, size: int, rng: np.random.Generator, shares: dict[int, float]
    ) -> Batch:
        """``size`` random examples of a random number of scans, of those that there are."""
        there = {m: share for m, share in shares.items() if self.filled(m)}
        odds = np.array(list(there.values())) / sum(there.values())
        count = int(rng.choice(list(there), p=odds))
        sets, device = self.sets[count], self.device
        generator = self.generator.manual_seed(int(rng.integers(2**62)))
        targets = sets.planes.shape[1]
        # Drawn on the device: what is copied there would have to wait for it.
        index = torch.randint(self.filled(count), (size,), generator=generator, device=device)
        target = torch.randint(targets, (size,), generator=generator, device=device)
        order = torch.randperm(count, generator=generator, device=device)
        if rng.random() < config.examples.repeated_share:
            again = (int(rng.integers(1, 4)),)
            repeated = torch.randint(count, again, generator=generator, device=device)
            order = torch.cat([order, repeated])
        view = View.random(rng, sets.images.shape[-2:], config.examples, order)
        whole = config.loss.sees_images
        return sets.examples(config.network, index, target, view, whole=whole)


class FolderExamples:
    """Examples from a folder by way of a ring, in which new groups replace the oldest."""

    def __init__(
        self, folder: ExampleFolder, config: TrainConfig, device: torch.device, gigabytes: float
    ) -> None:
        folder.require(config.network)
        if not folder.groups():
            raise InputError(
                f"There is no group of examples in '{folder.path}' yet: make some with "
                "recurrent-mz simulate examples."
            )
        self.folder, self.config = folder, config
        self.ring = Ring.of(folder, gigabytes, device)
        self.shares = folder.contents.sets.shares
        self._room = max(int(gigabytes / folder.group_gigabytes), 1)  # groups
        self._known: list[int] = []
        self._turn: int | None = None  # of the next group in known
        self._lock = threading.Lock()

    def __call__(self, seed: int, step: int, size: int) -> Batch:
        """The batch of one step."""
        with self._lock:  # batches are made ahead, in another thread
            if self._turn is None or step % _LOOK == 0:
                self._look(step)
            elif len(self._known) > self._room and step % _EVERY == 0:
                self._take(self._turn % len(self._known))
                self._turn += 1
            rng = np.random.default_rng([seed, step])
            return self.ring.draw(self.config, size, rng, self.shares)

    def _look(self, step: int) -> None:
        """Take in new groups, as many as there is room for; at first also those of this step."""
        there = self.folder.groups()  # some may have given place to others
        new = [number for number in there if number not in set(self._known)]
        self._known = [number for number in self._known if number in set(there)]
        before = len(self._known)
        self._known += new
        if self._turn is None and len(new) > self._room:
            begin = step // _EVERY
            wanted = [(begin + n) % len(new) for n in range(self._room)]
            self._turn = begin + self._room
        else:
            wanted = list(range(before, len(self._known)))[-self._room :]
            self._turn = self._turn or 0
        for at in wanted:
            self._take(at)

    def _take(self, at: int) -> None:
        path, _ = self.folder.group(self._known[at])
        for sets in read_sets(path) if path.exists() else ():
            self.ring.add(sets)


class FieldExamples:
    """Sets made for every step from fields; ``variants`` on disk serve a whole run."""

    def __init__(self, pool: Pool, config: TrainConfig, device: Device) -> None:
        pool.require()
        self.pool, self.config, self.device = pool, config, making_device(device)

    def __call__(self, seed: int, step: int, size: int) -> Batch:
        """The batch of one step: it depends on the pool, the seed and the step alone."""
        if step % _LOOK == 0:
            self.pool.refresh()
        rng, config = np.random.default_rng([seed, step]), self.config.examples
        count, sparse, batches = draw_count(rng, config.shares), self.pool.of_kinds(SPARSE), []
        for _ in range(-(-size // config.targets)):
            number = int(
                rng.choice(sparse)
                if len(sparse) and rng.random() < config.sparse_share
                else rng.integers(0, len(self.pool))
            )
            sets = self._sets(seed, number, count, rng)
            some = rng.choice(sets.planes.shape[1], config.targets, replace=False)
            target = torch.from_numpy(some).to(self.device)
            view, index = View.random(rng, sets.images.shape[-2:], config), 0 * target
            whole = self.config.loss.sees_images
            batches.append(sets.examples(self.config.network, index, target, view, whole=whole))
        return join(batches, size)

    def _sets(self, seed: int, number: int, count: int, rng: np.random.Generator) -> Sets:
        """One set of scans of a field: a new one, or one of its variants."""
        config, network = self.config.examples, self.config.network
        if not config.variants:
            return one_set(self.pool[number], config, network, count, rng, self.device)
        variant = int(rng.integers(config.variants))
        path = self._folder(seed) / f"{number:05d}_{variant}_{count}.safetensors"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            own = np.random.default_rng([seed, number, variant, count])
            config = replace(config, targets=max(config.targets, _KEPT_TARGETS))
            sets = one_set(self.pool[number], config, network, count, own, self.device)
            write_sets(path, [sets])
        return read_sets(path)[0].to(self.device)

    def _folder(self, seed: int) -> Path:
        """The folder of the sets that are drawn in this way."""
        network = self.config.network
        plain = replace(self.config.examples, crop=0, targets=0, sparse_share=0.0, order="random")
        seen = network.target, network.dpm_unit_dof, network.nonnegative, network.points
        words = f"{plain}{seen}{seed}{ITERATIONS}"
        return self.pool.folder / f"sets_{hashlib.sha256(words.encode()).hexdigest()[:10]}"


def one_set(
    field: Field,
    config: ExampleConfig,
    network: NetworkConfig,
    count: int,
    rng: np.random.Generator,
    device: torch.device,
) -> Sets:
    """A random set of scans of a field."""
    for _ in range(_TRIES):
        stack = field.drawn(network.target, config, rng)
        take = stack.draw(config, count, rng)
        # A camera's planes may show nothing.
        if not stack.counted or float(np.ptp(stack.images[take.scans], axis=(1, 2)).min()) > 0:
            generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
            return make_sets([stack], [take], network, device, generator)
    raise InputError(f"'{field.kind}' shows nothing: most of its planes hold one value everywhere.")
