"""The beads of one volume, or of a volume and its reference, measured alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import Array, real_array
from ...core.progress import Step, Steps, finished
from ...core.scans import InputError, counted
from ...io import even_step
from ._measure import BeadSettings, bead_steps

if TYPE_CHECKING:
    import pandas as pd

Tables = tuple[tuple["pd.DataFrame", ...], tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class BeadVolume:
    """A volume at its place in the world."""

    name: str
    pixels: Any  #: (Z, Y, X), perhaps lazy; (Y, X) for an image
    voxel_um: Array  #: (3,), size of a voxel in z, y and x, in micrometres
    origin_um: Array  #: (3,), middle of the first voxel in z, y and x, in micrometres

    def __post_init__(self) -> None:
        if not hasattr(self.pixels, "shape"):
            object.__setattr__(self, "pixels", real_array(self.pixels, f"'{self.name}'"))
        shape = tuple(self.pixels.shape)
        if len(shape) not in (2, 3):
            raise InputError(
                f"'{self.name}' has the shape {shape}: give a volume (Z, Y, X) or an image (Y, X)."
            )

    @property
    def is_flat(self) -> bool:
        """Whether it has one plane only."""
        return len(self.pixels.shape) == 2 or self.pixels.shape[0] == 1

    def inside(self, points_um: Array) -> npt.NDArray[np.bool_]:
        """Which points, (N, 3) in micrometres, lie in it; a single plane has no height."""
        sizes = tuple(self.pixels.shape)
        shape = np.array(((1,) if len(sizes) == 2 else ()) + sizes)
        nearest = np.round((points_um - self.origin_um) / self.voxel_um)
        is_inside = (nearest >= 0) & (nearest < shape)
        return np.asarray(is_inside[:, 1:].all(axis=1) if self.is_flat else is_inside.all(axis=1))


def even_planes(heights_um: npt.ArrayLike, words: str) -> tuple[float, float]:
    """First height and mean step of planes, in µm, below 0 from the top down."""
    # ``words`` name a stack that is refused.
    heights = np.asarray(heights_um, np.float64)
    step = even_step(heights)
    if step is None:
        gaps = np.diff(heights)
        raise InputError(
            f"The planes of {words} are not evenly spaced ({gaps.min():.3g} to {gaps.max():.3g} µm "
            "apart): resample it along z first, or give one z step for all (--z-step-um)."
        )
    return float(heights[0]), step


def volumes_in_steps(
    volumes: Sequence[BeadVolume],
    settings: BeadSettings,
    points_um: Sequence[Array] | None,
) -> Steps[Tables]:
    """Measure a volume, and perhaps its reference: tables, and sentences on what to mind."""
    tables: dict[int, pd.DataFrame] = {}
    notes: list[str] = []
    last = len(volumes) - 1
    for number in reversed(range(len(volumes))):  # the reference first: it may lend its beads
        volume, places, chosen = volumes[number], None, settings
        if points_um is not None:
            places = points_um[number]
        elif settings.same_beads and number < last:
            places = _beads_of(volumes[last], tables[last], volume, notes)
        if volume.is_flat or (points_um is None and places is not None):
            chosen = replace(settings, z_range_um=None)  # the beads of the reference all count
        tables[number] = yield from _one_volume(volume, chosen, places)
    return tuple(tables[number] for number in sorted(tables)), tuple(notes)


def measure_volumes(
    volumes: Sequence[BeadVolume],
    settings: BeadSettings | None = None,
    *,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Tables:
    """Measure the beads of one volume, or of a volume and its reference.

    Parameters
    ----------
    volumes : sequence of BeadVolume
        One, or two of which the second is the reference.
    settings : BeadSettings, optional
    on_progress : callable, optional
        Called with what is at work, the number of beads fitted, and their total.

    Returns
    -------
    tables : tuple of pandas.DataFrame
        As :func:`measure_beads` makes them, one for each volume.
    notes : tuple of str
        Sentences about what to mind, for instance beads that lie outside.

    Raises
    ------
    InputError
        If a volume cannot be measured, or the two do not overlap.
    """
    steps = volumes_in_steps(volumes, settings or BeadSettings(), None)
    return finished(steps, on_progress and (lambda s: on_progress(s.words, s.done, s.total)))


def _one_volume(
    volume: BeadVolume, settings: BeadSettings, places: Array | None
) -> Steps[pd.DataFrame]:
    words = f"Beads of “{volume.name}”"
    yield Step(0, 0, words)
    try:
        return (
            yield from bead_steps(
                volume.pixels, volume.voxel_um, settings, words, places, volume.origin_um
            )
        )
    except InputError as error:
        raise InputError(f"'{volume.name}' cannot be measured. {error}") from error


def _beads_of(
    reference: BeadVolume, table: pd.DataFrame, volume: BeadVolume, notes: list[str]
) -> Array | None:
    """Where the reference's accepted beads lie in another volume; None to search there."""
    if reference.is_flat != volume.is_flat:
        flat = reference if reference.is_flat else volume
        notes.append(f"“{flat.name}” is one plane, so each volume was searched by itself.")
        return None
    places = table.loc[table["accepted"], ["z_um", "y_um", "x_um"]].to_numpy(np.float64)
    if not len(places):
        notes.append(f"“{reference.name}” lends no bead, so each volume was searched by itself.")
        return None
    inside = volume.inside(places)
    if not inside.any():
        raise InputError(
            f"'{volume.name}' and '{reference.name}' do not overlap: none of the {len(places)} "
            "beads of the second lies in the first; check the place and scale of both."
        )
    if outside := int(np.count_nonzero(~inside)):
        lie = f"of “{reference.name}” {'lies' if outside == 1 else 'lie'}"
        notes.append(f"{counted(outside, 'bead')} {lie} outside “{volume.name}”.")
    matches = places[inside]
    if volume.is_flat:
        matches[:, 0] = volume.origin_um[0]
    return np.asarray(matches)
