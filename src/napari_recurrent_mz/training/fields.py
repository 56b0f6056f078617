"""Simulated fields on disk, by seed and number: the pool that training draws its examples from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..core.optics import Optics
from ..core.scans import InputError
from ..io._whole import refusals_of, write_text, write_whole
from ..io._write import check_room
from ..simulation.phantoms import KINDS, phantom
from ..simulation.simulate import Aberration, imaging, quantile
from .examples import ExampleConfig
from .sets import Stack

_CONFOCAL = ".confocal.npy"

FIELDS_PER_MICROSCOPE = 6
"""A point spread function costs more than a field, so several fields share one."""

OBJECTIVES: tuple[tuple[float, float], ...] = (
    (1.45, 1.518), (1.4, 1.515), (1.4, 1.515), (1.4, 1.518), (1.3, 1.515), (1.2, 1.333),
    (1.1, 1.333), (1.0, 1.333), (0.95, 1.0), (0.85, 1.0), (0.8, 1.0), (0.75, 1.0),
)  # fmt: skip
"""(NA, immersion index) that the training set is drawn from."""

WAVELENGTH_UM = (0.45, 0.68)
PIXEL_PER_NYQUIST = (0.6, 5.0)
"""Ranges of the emission wavelength and of the pixel over λ / (4 NA) in the training set."""


@dataclass(frozen=True, eq=False)
class Field:
    """One simulated field: a noise-free stack, and what is known of the microscope."""

    stack: npt.NDArray[np.float16]  # (Z, Y, X), brightest structures about 1
    optics: Optics  # the true ones, aberrations apart
    z_step_um: float
    kind: str  # of phantom
    # The same sample by a confocal; an even, thin sheet in focus is as bright as in ``stack``.
    confocal: npt.NDArray[np.float16] | None = None

    def truth(self, target: str) -> npt.NDArray[np.float16]:
        """The stack of the image that a network is to make, "widefield" or "confocal"."""
        if target == "widefield":
            return self.stack
        if self.confocal is None:
            raise InputError(
                "The fields have no confocal counterpart: make them with "
                "recurrent-mz simulate fields --confocal."
            )
        return self.confocal

    def stated(self, target: str, wavelength: float = 1.0, stretch: float = 1.0) -> Stack:
        """The stack of sets of scans; the true wavelength and heights are multiplied by these."""
        optics = replace(self.optics, wavelength_um=self.optics.wavelength_um * wavelength)
        z_um = np.arange(len(self.stack), dtype=np.float64) * (self.z_step_um * stretch)
        step_dof = self.z_step_um / self.optics.depth_of_field_um
        return Stack(self.stack, self.truth(target), z_um, optics, step_dof)

    def drawn(self, target: str, config: ExampleConfig, rng: np.random.Generator) -> Stack:
        """The same, in half of the cases with something else stated than what is true."""
        if rng.random() < 0.5:
            return self.stated(target)
        wrong = rng.normal(0, [config.wrong_optics, config.wrong_step])
        return self.stated(target, *np.exp(np.clip(wrong, (-0.1, -0.12), (0.1, 0.12))).tolist())


@dataclass(frozen=True)
class PoolConfig:
    """How the fields of a pool are made."""

    seed: int = 1
    planes: int = 56
    size: int = 192  # lateral pixels
    # The fixed evaluation pool: the paper's objective (63×/1.4, 0.519 µm, 0.1 µm pixel,
    # 0.25 µm steps), every kind in turn, no aberration.
    held_out: bool = False
    confocal: bool = False  # whether each stack has its confocal counterpart beside it


def make_fields(
    config: PoolConfig,
    folder: Path,
    count: int,
    device: torch.device | None = None,
) -> Iterator[Path]:
    """Simulate those of so many fields that are not in ``folder`` yet."""
    with refusals_of(folder):
        folder.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(count) if not (folder / f"field_{n:05d}.json").exists()]
    voxels = config.planes * config.size**2 * (2 if config.confocal else 1)
    needed = len(missing) * voxels * np.dtype(np.float16).itemsize
    check_room(folder, needed, f"'{folder}'", "choose another place, or a smaller --count")
    for group, numbers in groupby(missing, lambda number: number // FIELDS_PER_MICROSCOPE):
        yield from _make_group(config, folder, group, list(numbers), device)


def _make_group(
    config: PoolConfig, folder: Path, group: int, numbers: list[int], device: torch.device | None
) -> Iterator[Path]:
    rng = np.random.default_rng([config.seed, group])
    optics, step, aberration = _HELD_OUT if config.held_out else _microscope(rng)
    microscope = imaging(
        optics,
        planes=config.planes,
        size=config.size,
        z_step_um=step,
        aberration=aberration,
        confocal=config.confocal,
        device=device,
    )
    kinds = list(KINDS)
    for number in numbers:
        own = np.random.default_rng([config.seed, group, number])
        kind = kinds[number % len(kinds)] if config.held_out else str(own.choice(kinds, p=_SHARES))
        volume = phantom(kind, microscope.space, own)
        stack = microscope.image(volume)
        bright = quantile(stack, 11, 0.999).clamp_min(1e-9)
        if float(stack.max() / bright) > 1e3:  # a field of a few faint points: their peak is 1
            bright = stack.max()
        stacks = [stack, microscope.image(volume, confocal=True)] if config.confocal else [stack]
        normal = [(image / bright).cpu().numpy().astype(np.float16) for image in stacks]
        meta = {
            "optics": optics.as_dict(),
            "z_step_um": step,
            "kind": kind,
            "aberration": asdict(aberration) if aberration else None,
        }
        path = folder / f"field_{number:05d}.npy"
        for ending, values in zip((".npy", _CONFOCAL), normal, strict=False):
            write_whole(path.with_suffix(ending), partial(np.save, arr=values))
        # The description is written last: a field counts once it is there.
        write_text(path.with_suffix(".json"), json.dumps(meta))
        yield path


# Sparse kinds have more to gain and dense ones more to lose; both get their share.
_SHARES = np.array(
    [0.16 if kind in ("beads", "neurites") else 0.11 if kind == "nuclei" else 0.0 for kind in KINDS]
)
_SHARES[_SHARES == 0] = (1 - _SHARES.sum()) / np.count_nonzero(_SHARES == 0)


_HELD_OUT = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.1), 0.25, None


def _microscope(rng: np.random.Generator) -> tuple[Optics, float, Aberration | None]:
    """Draw a microscope: objective, wavelength, pixel, z-step and index mismatch."""
    na, index = OBJECTIVES[int(rng.integers(len(OBJECTIVES)))]
    wavelength = float(rng.uniform(*WAVELENGTH_UM))
    coarse = rng.random() < 0.12  # now and then a camera that undersamples by far
    ratio = (
        rng.uniform(1.5, PIXEL_PER_NYQUIST[1]) if coarse else rng.uniform(PIXEL_PER_NYQUIST[0], 1.4)
    )
    optics = Optics(na, wavelength, index, float(ratio * wavelength / (4 * na)))
    step = float(rng.uniform(0.45, 0.8) * optics.depth_of_field_um)
    if rng.random() < 0.5:
        return optics, step, None
    low = max(1.33, na + 0.01) if index > 1.1 else 1.33
    mismatch = Aberration(float(rng.uniform(low, max(low, 1.45))), float(rng.uniform(0, 12)))
    return optics, step, mismatch


class Pool:
    """The fields of a folder, read on demand (memory-mapped)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._meta: list[tuple[Path, dict[str, Any]]] = []
        self.refresh()

    def refresh(self) -> None:
        """Take in fields that have come since."""
        paths = sorted(self.folder.glob("field_*.json"))
        if len(paths) != len(self._meta):
            self._meta = [(path, json.loads(path.read_text())) for path in paths]

    def require(self) -> None:
        """Refuse a folder without a field."""
        if not len(self):
            raise InputError(
                f"There is no simulated field in '{self.folder}': "
                "make some with recurrent-mz simulate."
            )

    def kinds(self) -> set[str]:
        """The kinds of sample among the fields."""
        return {meta["kind"] for _, meta in self._meta}

    def of_kinds(self, kinds: Sequence[str]) -> npt.NDArray[np.int64]:
        """Numbers of the fields of these kinds of sample."""
        return np.array([n for n, (_, meta) in enumerate(self._meta) if meta["kind"] in kinds], int)

    def __len__(self) -> int:
        return len(self._meta)

    def __getitem__(self, number: int) -> Field:
        path, meta = self._meta[number]
        beside = path.with_suffix(_CONFOCAL)
        return Field(
            np.load(path.with_suffix(".npy"), mmap_mode="r"),
            Optics(**meta["optics"]),
            meta["z_step_um"],
            meta["kind"],
            np.load(beside, mmap_mode="r") if beside.exists() else None,
        )
