"""How large the experiments are, and what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """How large the experiments are, and what they are given."""

    size: int = 160  # lateral pixels of the simulated fields, at or above 32
    samples: int = 3  # simulated samples of each kind
    # plane distance of the simulated stacks, in micrometres (the paper's is 0.2)
    z_step_um: float = 0.2
    every_um: float = 0.6  # distance between the planes that are judged, in micrometres
    draws: int = 50  # random draws where chance is the question (position errors, spacings)
    plane_sets: int = 10  # random sets of planes drawn from each real stack
    crop: int = 256  # largest side, in pixels, of what the random sets see of a real stack
    real_size: int = 4096  # the same for the planes as stated
    bench_size: int = 1024  # lateral pixels of the timed planes
    # of every random number; fields for training have seed 1, those for choosing weights seed 2
    seed: int = 5
    data: Path | None = None  # folder of real, fully sampled stacks
    # weights by what they serve: a method's name, or what an experiment asks for
    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"  # auto, cuda, mps or cpu

    def changed(self) -> dict[str, Any]:
        """The numbers that differ from the defaults, by name."""
        plain = Settings()
        numbers = [f.name for f in fields(self) if isinstance(getattr(plain, f.name), int | float)]
        return {n: getattr(self, n) for n in numbers if getattr(self, n) != getattr(plain, n)}


QUICK: Mapping[str, int | float] = {
    "size": 48, "samples": 1, "z_step_um": 0.6, "every_um": 2.4, "draws": 3, "plane_sets": 2,
    "crop": 64, "real_size": 64, "bench_size": 64,
}  # fmt: skip
"""Settings of a run that shows that everything works, whose numbers mean nothing."""
