"""Row 13: the same input again, and with other numbers of threads."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import numpy.typing as npt

WHAT = "the same input twice, and with 1, 2 and 4 threads (PyTorch's and OpenMP's), by every method"
GOAL = "twice equal bit for bit; in float32 with any number of threads, or said below where not"
SAID = {"single": 1e-6, "half": 2e-3}
"""What docs/reliability.md says of other numbers of threads, of the range of a plane."""

METHODS = ("linear", "lmmse", "richardson-lucy", "points", "recurrent-mz", "deep-z", "unet-3d")
THREADS = (1, 2, 4)

Planes = dict[str, npt.NDArray[np.float32]]

# Makes two planes of a field with a number of threads, and saves them.
PROGRAM = """
import sys
import numpy as np
import torch
from napari_recurrent_mz import Scan, load_model
from napari_recurrent_mz.core.device import choose_device
from napari_recurrent_mz.core.methods import method_of
from napari_recurrent_mz.core.scans import ZGrid
from napari_recurrent_mz.engine.inference import plane_maker
from napari_recurrent_mz.engine.recipe import Recipe
from napari_recurrent_mz.engine.tiles import NetworkPlanes
from napari_recurrent_mz.simulation.simulate import demo_sample

threads, half, side, *methods = sys.argv[1:]
torch.set_num_threads(int(threads))
sample = demo_sample()
times = -(-int(side) // sample.widefield.shape[-1])
near = [int(np.abs(sample.z_um - z).argmin()) for z in (2.0, 5.0, 8.0)]
images = [np.tile(sample.widefield[p], (times, times))[: int(side), : int(side)] for p in near]
scans = [Scan(image, z) for image, z in zip(images, (2.0, 5.0, 8.0))]
made = {}
for method in methods:
    weights = method_of(method).weights
    if weights is None:
        recipe = Recipe(scans, ZGrid(3.0, 6.5, 3.5), sample.optics, method, None, "cpu")
        maker = plane_maker(recipe)
    else:
        maker = NetworkPlanes(
            scans, sample.optics, load_model(weights), choose_device("cpu"),
            reach_um=(3.0, 6.5), on_message=print, half=half == "half",
        )
    for z_um in (3.0, 6.5):
        made[f"{method} {z_um}"] = maker.plane(z_um)
np.savez(sys.stdout.buffer, **made)
"""


def planes(threads: int, half: bool, side: int, methods: tuple[str, ...]) -> Planes:
    """Planes by name, from a process of its own with this number of threads."""
    words = [str(threads), "half" if half else "single", str(side), *methods]
    made = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROGRAM, *words],
        stdout=subprocess.PIPE, check=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )  # fmt: skip
    with np.load(io.BytesIO(made.stdout)) as arrays:
        return {name: arrays[name] for name in arrays.files}


def measure(quick: bool) -> tuple[str, bool]:
    """Compare every plane with that of one thread, made twice."""
    side = 128 if quick else 384
    first, *others = (planes(threads, False, side, METHODS) for threads in (1, *THREADS))
    half, *halves = (planes(n, True, side, ("recurrent-mz",)) for n in (1, *THREADS))
    twice = max(deviation(first, others[0]), deviation(half, halves[0]))
    apart = {name: max(deviation(first, one, name) for one in others[1:]) for name in METHODS}
    half_apart = max(deviation(half, one) for one in halves[1:])
    equal = [name for name, worst in apart.items() if not worst]
    figure = f"twice: {f'apart by {twice:.0e}' if twice else 'equal'}; other numbers of threads: "
    figure += f"{', '.join(equal)} equal"
    figure += "".join(
        f", {name} apart by {far:.0e} of the range" for name, far in apart.items() if far
    )
    figure += f", in half precision {half_apart:.0e}"
    holds = not twice and max(apart.values()) <= SAID["single"] and half_apart <= SAID["half"]
    return figure, holds


def deviation(first: Planes, other: Planes, method: str = "") -> float:
    """Largest deviation of a method's planes from the first run's, of their range."""
    of_method = (name for name in first if name.startswith(f"{method} ") or not method)
    return max(
        float(np.abs(first[name] - other[name]).max() / np.ptp(first[name])) for name in of_method
    )
