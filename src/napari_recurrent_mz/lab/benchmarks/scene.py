"""What the benchmark reconstructs: noise where only time matters, else a simulated sample."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ...core.optics import Optics
from ...core.scans import FloatArray, Scan, ZGrid
from ...engine.tiles import NetworkPlanes
from ...simulation.simulate import simulate_sample
from .base import Bench

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.1)
REACH_UM = (0.05, 10.05)
"""Where the targets are: in 101 planes they are 0.1 µm apart, and none is at a scan's height."""


def heights(planes: int) -> list[float]:
    """So many target heights over the whole reach, in micrometres."""
    return [float(z) for z in np.linspace(*REACH_UM, planes)]


def grid(planes: int) -> ZGrid:
    """The same as a grid of two planes or more."""
    low, high = REACH_UM
    return ZGrid(low, high, (high - low) / (planes - 1))


def noise_scans(count: int, pixels: int) -> list[Scan]:
    """Scans of noise, evenly spread over 10 µm."""
    rng = np.random.default_rng(0)
    scans = []
    for number in range(count):
        image = rng.standard_exponential((pixels, pixels), np.float32)
        image *= 100
        scans.append(Scan(image, 10 * (number + 0.5) / count))
    return scans


@lru_cache(maxsize=1)
def sample_scans(count: int, pixels: int) -> tuple[Scan, ...]:
    """Scans of a simulated sample of many kinds of structure, through the same optics."""
    sample = simulate_sample(
        "mixture", shape=(11, pixels, pixels), z_step_um=1.0, optics=OPTICS, seed=0
    )
    planes = np.linspace(1, 9, count).round().astype(int)
    return tuple(Scan(sample.widefield[i], float(sample.z_um[i])) for i in planes)


def modes(bench: Bench) -> dict[str, dict[str, bool]]:
    """The two that are timed together: the plain network, and as chosen for the machine."""
    # Plain is plane by plane, in single precision, on a GPU in mixed precision.
    return {"plain": {"fast": False, "half": bench.on_gpu}, "chosen": {}}


def unprepared(bench: Bench, scans: Sequence[Scan], **how: Any) -> NetworkPlanes:
    """A maker of planes, whose first plane prepares the scans; it is told ``how`` as well."""
    return NetworkPlanes(
        scans, OPTICS, bench.model, bench.device, reach_um=REACH_UM, on_message=bench.note, **how
    )


def prepared(bench: Bench, scans: Sequence[Scan], **how: Any) -> NetworkPlanes:
    """The same with what is done once for all planes behind it."""
    maker = unprepared(bench, scans, **how)
    _ = maker.inputs
    return maker


def volume_of(maker: NetworkPlanes, heights_um: Sequence[float]) -> FloatArray:
    """The planes at these heights, as one array; the plain network makes them one by one."""
    volume = np.empty((len(heights_um), *maker.shape), np.float32)
    one_by_one = (maker.plane(z_um) for z_um in heights_um)
    planes = one_by_one if maker.fast is False else maker.planes(heights_um)
    for index, plane in enumerate(planes):
        volume[index] = plane
    return volume
