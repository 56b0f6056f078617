"""Where a volume differs from a reference stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...core.optics import Optics
from ...core.progress import Step, Steps, finished
from ...core.scans import FloatArray
from ._compare import fitting
from ._sources import Baseline, Resampled, Source, common_field, scans_in
from ._volume import Volume


@dataclass(frozen=True, eq=False)
class Difference:
    """A volume minus the reference, on the planes of the reference."""

    name: str  #: of the volume
    reference: str
    pixels: FloatArray  #: (Z, Y, X), volume minus reference, in the units of the reference
    z_um: npt.NDArray[np.float64]  #: (Z,), heights, in micrometres, rising
    pixel_um: float
    #: position (y, x) of the centre of the first pixel, in micrometres
    origin_um: tuple[float, float]


def difference(
    volume: Volume | str,
    reference: Volume,
    *,
    scans_um: Sequence[float] = (),
    optics: Optics | None = None,
    fit: bool = False,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> Difference:
    """A volume minus a reference stack, wherever they overlap.

    Parameters
    ----------
    volume : Volume or str
        A reconstruction, or one of :data:`BASELINES`.
    reference, scans_um, optics, fit, device, on_progress
        As in :func:`compare`; ``scans_um`` and ``optics`` serve a baseline only.

    Raises
    ------
    InputError
        As :func:`compare` does.
    """
    steps = differing(volume, reference, scans_um=scans_um, optics=optics, fit=fit, device=device)
    return finished(steps, on_progress and (lambda step: on_progress(step.done, step.total)))


def differing(
    volume: Volume | str,
    reference: Volume,
    *,
    scans_um: Sequence[float] = (),
    optics: Optics | None = None,
    fit: bool = False,
    device: str = "auto",
    stopped: Callable[[], bool] | None = None,
) -> Steps[Difference]:
    """:func:`difference` as a generator, to be stopped between two planes by closing it."""
    source: Source
    if isinstance(volume, str):
        shared, fit = common_field([], reference), False  # it has the units of the reference
        scans = scans_in(reference, scans_um)
        source = Baseline(volume, scans, shared, optics=optics, device=device, stopped=stopped)
    else:
        shared = common_field([volume], reference)
        source = Resampled(volume, shared)
    heights = reference.heights_um
    numbers = [n for n, z in enumerate(heights.tolist()) if source.covers(z)]
    fitted = fit * len(heights)
    total = len(numbers) + fitted
    line = None
    if fit:
        line = (yield from fitting([source], shared, 0, total))[source.name]
    pixels = np.empty((len(numbers), *shared.shape), np.float32)
    for place, number in enumerate(numbers):
        test = source.at(float(heights[number]))
        truth = shared.truth(number).astype(np.float64)
        pixels[place] = (test if line is None else line.apply(test)) - truth
        yield Step(place + 1 + fitted, total, "Subtracting")
    y, x = reference.origin_um
    size = reference.pixel_um
    origin_um = (y + shared.rows.start * size, x + shared.columns.start * size)
    return Difference(source.name, reference.name, pixels, heights[numbers], size, origin_um)
