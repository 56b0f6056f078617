"""Sets of scans on disk, and the questions of their check: some processes make them, one trains."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..core.device import Device
from ..core.scans import InputError
from ..io import write_json
from ..io._whole import claimed, read_json, refusals_of, remove_left_behind
from ..io._write import check_room
from ..networks.architectures import Network
from ..networks.recurrent_mz import NetworkConfig
from .check import Question, Validation, ask, check_groups
from .microscopes import Group, SampleConfig
from .sets import read_sets, write_sets

_ABOUT = "examples.json"


@dataclass(frozen=True)
class Contents:
    """What the files of a folder are made from."""

    sets: SampleConfig = field(default_factory=SampleConfig)
    seed: int = 1
    questions: int = 240  # of the check, at least
    dpm_unit_dof: float = NetworkConfig.dpm_unit_dof
    layout: int = 1  # of the files

    @property
    def network(self) -> NetworkConfig:
        """A network that sees everything there is."""
        return NetworkConfig(
            norm="none",
            nonnegative=True,
            points=self.sets.points,
            target=self.sets.target,
            dpm_unit_dof=self.dpm_unit_dof,
        )


Job = tuple[Path, Group]
"""A file, and what it holds."""


@dataclass(frozen=True)
class ExampleFolder:
    """A folder of examples; make one with :meth:`begin`, read one with :meth:`open`."""

    path: Path
    contents: Contents

    @classmethod
    def begin(cls, path: Path, contents: Contents) -> ExampleFolder:
        """A new folder, or one that was begun with the same contents."""
        if path.exists() and not path.is_dir():
            raise InputError(f"'{path}' is a file: name a folder for the examples.")
        with refusals_of(path):
            path.mkdir(parents=True, exist_ok=True)
        if any(path.glob("*.safetensors")):
            known = cls.open(path).contents
            differing = [
                field.name
                for ours, theirs in ((contents, known), (contents.sets, known.sets))
                for field in fields(ours)
                if field.name != "sets" and getattr(ours, field.name) != getattr(theirs, field.name)
            ]
            if differing:
                raise InputError(
                    f"The folder '{path}' holds examples made with other settings "
                    f"({', '.join(differing)}): give those settings, or another folder."
                )
        else:
            write_json(path / _ABOUT, asdict(contents))
        return cls(path, contents)

    @staticmethod
    def is_at(path: Path) -> bool:
        """Whether somebody has begun one."""
        return (path / _ABOUT).is_file()

    @classmethod
    def open(cls, path: Path) -> ExampleFolder:
        """A folder that somebody has begun."""
        try:
            about = read_json(path / _ABOUT)
            sets = {name: _tuples(value) for name, value in about["sets"].items()}
            return cls(path, Contents(**(about | {"sets": SampleConfig(**sets)})))
        except FileNotFoundError:
            raise InputError(
                f"There are no examples in '{path}': make some with recurrent-mz simulate examples."
            ) from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"'{path / _ABOUT}' is damaged or of another version: make the examples again, in "
                "another folder."
            ) from error

    @cached_property
    def asked(self) -> list[tuple[str, Job]]:
        """The files of the check, with the third that each belongs to."""
        groups = check_groups(self.contents.sets, self.contents.questions)
        return [
            (third, (self.path / f"check-{n:03d}.safetensors", group))
            for n, (third, group) in enumerate(groups)
        ]

    def group(self, number: int) -> Job:
        """The file of a group to train on."""
        path = self.path / f"group-{number:06d}.safetensors"
        return path, Group(self.contents.sets, self.contents.seed, number)

    def jobs(self, groups: Iterable[int]) -> list[Job]:
        """What is to be made: the check, and groups to train on."""
        return [*(job for _, job in self.asked), *map(self.group, groups)]

    def groups(self) -> list[int]:
        """The numbers of the groups to train on that are there."""
        return sorted(int(path.stem[6:]) for path in self.path.glob("group-*.safetensors"))

    @property
    def gigabytes(self) -> float:
        """What the folder takes now."""
        return sum(path.stat().st_size for path in self.path.glob("*.safetensors")) / 1e9

    @property
    def group_gigabytes(self) -> float:
        """What a group to train on takes, on average."""
        sets = self.contents.sets
        return sets.set_bytes * sets.samples * len(sets.scans) / 1e9

    def expected_gigabytes(self, jobs: Iterable[Job]) -> float:
        """What files take on average, of the check or to train on."""
        sets = sum(len(group.config.scans) for _, group in jobs)
        return self.group_gigabytes * sets / len(self.contents.sets.scans)

    @property
    def working_gigabytes(self) -> float:
        """The memory that making a group takes at most, about."""
        sets = self.contents.sets
        most = max(len(shares) for shares in sets.scans)
        pixels = (sets.size + 64) ** 2
        # The transforms of a sample and its optics; the stacks; the sheets' responses to the scans.
        return 9e-9 * pixels * (16 * sets.planes + sets.samples * (sets.planes + 40 * most)) + 0.6

    def making(
        self, jobs: Sequence[Job], device: torch.device, most_gigabytes: float
    ) -> Iterator[tuple[int, float | None]]:
        """Make files until so much is on disk; yields how many are done, and seconds left."""
        began, finished = time.monotonic(), list[Job]()
        for done, job in enumerate(jobs, start=1):
            if not self._fits(job, most_gigabytes):
                break
            if self.make(job, device):
                finished.append(job)
            spent, left = time.monotonic() - began, self.expected_gigabytes(jobs[done:])
            yield done, spent * left / self.expected_gigabytes(finished) if finished else None

    def renewing(self, device: torch.device, most_gigabytes: float) -> Iterator[int]:
        """Make groups without end, each in the place of the oldest; yields their numbers."""
        for number in itertools.count(max(self.groups(), default=-1) + 1):
            job = self.group(number)
            while not self._fits(job, most_gigabytes) and self.groups():
                self.group(self.groups()[0])[0].unlink(missing_ok=True)
            self.make(job, device)
            yield number

    def _fits(self, job: Job, most_gigabytes: float) -> bool:
        return self.gigabytes + self.expected_gigabytes([job]) <= most_gigabytes

    def make(self, job: Job, device: torch.device) -> bool:
        """Make a file, unless it is there or another process makes it; whether it was made."""
        path, group = job
        if path.exists():
            return False
        with claimed(path) as ours:
            is_wanted = ours and not path.exists()
            if is_wanted:
                remove_left_behind(path)
                write_sets(path, group.sets(self.contents.network, device))
        return is_wanted

    def questions(self) -> Iterator[Question]:
        """The check, read anew every time: it may be larger than the memory."""
        missing = sum(not path.exists() for _, (path, _) in self.asked)
        if missing:
            raise InputError(
                f"The check in '{self.path}' is not complete: run recurrent-mz simulate examples "
                f"again to make its {missing} missing files."
            )
        for third, (path, group) in self.asked:
            for sets in read_sets(path):
                yield Question(sets, group.kinds, third)

    def check(self, device: Device) -> Callable[[Network], Validation]:
        """What :meth:`questions` say of a network."""
        next(self.questions())  # refuses a check that is not complete
        return lambda network: ask(network, self.questions(), half=device.half)

    def require(self, network: NetworkConfig) -> None:
        """Refuse a network that cannot learn from these sets."""
        contents = self.contents
        for name in ("target", "dpm_unit_dof", *(["points"] if network.points else [])):
            theirs, ours = getattr(contents.network, name), getattr(network, name)
            if theirs != ours:
                raise InputError(
                    f"The examples in '{self.path}' are for networks with "
                    f"--{name.replace('_', '-')} {theirs}, and this one has {ours}: change one "
                    "of the two."
                )


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def room_for(folder: ExampleFolder, gigabytes: float, wanted: int | None) -> range:
    """The groups that fit into so many gigabytes together with the check, or as many as wanted."""
    check = folder.expected_gigabytes(folder.jobs([]))
    fit = math.floor((gigabytes - check) / folder.group_gigabytes)
    if fit < 1:
        least = math.ceil(100 * (check + folder.group_gigabytes)) / 100
        raise InputError(
            f"{gigabytes:g} GB do not hold the check and a group of examples: give at least "
            f"--examples-gb {least:g}, or a smaller --size, --targets or --questions."
        )
    groups = range(fit if wanted is None else min(wanted, fit))
    missing = check + len(groups) * folder.group_gigabytes - folder.gigabytes
    remedy = "choose another place, or a smaller --examples-gb"
    check_room(folder.path, 1e9 * missing, f"'{folder.path}'", remedy)
    return groups
