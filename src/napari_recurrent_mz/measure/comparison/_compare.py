"""The measures of every plane and their means, the map of a difference, and how grids meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.arrays import AnyArray, Array
from ...core.metrics import Normalisation, StackScale, StraightFit, plane_measures
from ...core.optics import Optics
from ...core.progress import Step, Steps, finished
from ...core.scans import FloatArray, InputError, listed
from ._sources import Baseline, Resampled, SharedField, Source, common_field, pixels_off, scans_in
from ._volume import Volume

if TYPE_CHECKING:
    import pandas as pd

MEASURES = {"psnr_db": "PSNR (dB)", "nrmse_percent": "NRMSE (%)", "ssim": "SSIM"}
"""Columns of the measures, and what a figure or a table calls them."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """How near volumes are to a reference."""

    reference: str  #: name of the reference stack
    #: one row a volume and plane of the reference that it covers: ``name``, ``z_um``, ``psnr_db``
    #: (infinite where both are equal), ``nrmse_percent`` (NaN where the reference's plane is
    #: constant), ``ssim``, ``is_scan`` (this plane is one of the volume's own scans), ``in_mean``
    #: (it counts in :attr:`means`)
    planes: pd.DataFrame
    #: heights of the scans that each volume was made from, in micrometres
    scans_um: Mapping[str, tuple[float, ...]]
    sentence: str  #: what was done to bring the grids together
    #: whether nothing was done to them: every volume has the planes and pixels of the reference
    is_same_grid: bool
    scale: Normalisation  #: of the reference: the units in which the measures are taken
    #: gain and offset that were fitted to each volume; empty without a fit
    fits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    #: on faults of the reference's planes that baselines start from
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The volumes in the order of the table."""
        return list(dict.fromkeys(self.planes["name"]))

    @property
    def means(self) -> pd.DataFrame:
        """One row a volume: the mean of each measure, and ``planes``, how many count.

        All rows are over the same planes: those of the reference that every volume covers,
        without the planes that were scans.
        """
        counted = self.planes[self.planes["in_mean"]]
        groups = counted.groupby("name", sort=False)
        means = groups[list(MEASURES)].mean().reindex(self.names)
        means["planes"] = groups.size().reindex(self.names, fill_value=0)
        return means

    def to_csv(self, path: str | Path) -> Path:
        """Write :attr:`planes` as a table with units in its header.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        from ...io import write_table

        return write_table(path, self.planes)


def compare(
    volumes: Volume | Sequence[Volume],
    reference: Volume,
    *,
    baselines: Sequence[str] = (),
    scans_um: Sequence[float] = (),
    optics: Optics | None = None,
    fit: bool = False,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """PSNR, NRMSE and SSIM of every plane of some volumes against a reference stack.

    The definitions are those of :func:`~.evaluate`. A volume on
    other heights is resampled to those of the reference by linear interpolation between its
    planes; the reference is never resampled. All are cropped to the field that they share.

    Parameters
    ----------
    volumes : Volume or sequence of Volume
        The reconstructions, each with its own name; none when only baselines are wanted.
    reference : Volume
        The stack that is taken for the truth.
    baselines : sequence of str, optional
        Of :data:`BASELINES`: made from the reference's own planes at the heights of the scans.
    scans_um : sequence of float, optional
        Heights of those scans, in micrometres; by default those of the volumes, which must
        then agree. They also serve volumes that know none of their own.
    optics : Optics, optional
        Needed by the baseline lmmse, and to look for hot pixels and shifts in the scans.
    fit : bool, optional
        First bring each volume to the units of the reference by one gain and one offset, as
        for the stack of another microscope; then no plane of the reference counts as a scan
        of a volume, as in :func:`~.evaluate_against`.
    device : str, optional
        auto, cuda, mps or cpu, for lmmse.
    on_progress : callable, optional
        Called with the steps done and the steps in all.

    Raises
    ------
    InputError
        If there is nothing to compare, pixel sizes differ, nothing overlaps, a plane has
        NaN, a volume is constant, or scans or optics of the baselines are missing.
    """
    steps = comparing(
        volumes, reference, baselines=baselines, scans_um=scans_um, optics=optics, fit=fit,
        device=device,
    )  # fmt: skip
    return finished(steps, on_progress and (lambda step: on_progress(step.done, step.total)))


def comparing(
    volumes: Volume | Sequence[Volume],
    reference: Volume,
    *,
    baselines: Sequence[str] = (),
    scans_um: Sequence[float] = (),
    optics: Optics | None = None,
    fit: bool = False,
    device: str = "auto",
    stopped: Callable[[], bool] | None = None,
) -> Steps[Comparison]:
    """:func:`compare` as a generator, to be stopped between two planes by closing it."""
    given = [volumes] if isinstance(volumes, Volume) else list(volumes)
    scans_um = tuple(float(z) for z in scans_um)
    _check_names(given, baselines)
    # a volume that does not know its scans takes those that were given
    given = [replace(v, scans_um=v.scans_um or scans_um) for v in given]
    shared = common_field(given, reference)
    planes = len(reference.heights_um)
    sources: list[Source] = [Resampled(volume, shared) for volume in given]
    total = planes * (1 + len(given) * fit + len(given) + len(baselines))
    yield Step(0, total, "Reading the reference")
    scale = yield from _scale(reference, total)
    fits: dict[str, StraightFit] = {}
    if fit:
        fits = yield from fitting(sources, shared, planes, total)
    notes: list[str] = []
    if baselines:
        from ...engine.check import fault_notes  # with torch

        scans = scans_in(reference, scans_um or _agreed_scans(given))
        sources += [
            Baseline(key, scans, shared, optics=optics, device=device, stopped=stopped)
            for key in baselines
        ]
        notes = list(chain(*fault_notes(scans, optics, range(len(scans)))))
    rows: dict[str, list[dict[str, Any]]] = {source.name: [] for source in sources}

    def measure(source: Source, number: int, truth: AnyArray, test: AnyArray) -> None:
        line = fits.get(source.name)
        values = plane_measures(truth, test if line is None else line.apply(test), scale)
        row = {"name": source.name, "plane": number, "z_um": float(reference.heights_um[number])}
        rows[source.name].append(row | dict(zip(MEASURES, values, strict=True)))

    done = planes * (1 + len(given) * fit)
    yield from _each_pair(sources, shared, measure, Step(done, total, "Comparing"))
    for source in sources:
        if isinstance(source, Resampled):
            source.check_contrast()
    return Comparison(
        reference.name,
        _table(rows, sources, reference, fits),
        {source.name: source.scans_um for source in sources},
        *_resampling_note(given, sources, shared),
        scale,
        {name: (line.gain, line.offset) for name, line in fits.items()},
        tuple(notes),
    )


def _each_pair(
    sources: Sequence[Source],
    shared: SharedField,
    visit: Callable[[Source, int, AnyArray, AnyArray], None],
    first_step: Step,
) -> Steps[None]:
    """Give ``visit`` each source, plane number, plane of the reference and plane of the source."""
    done, total, words = first_step
    for number, z in enumerate(shared.reference.heights_um.tolist()):
        truth = shared.truth(number)
        for source in sources:
            if source.covers(z):
                visit(source, number, truth, source.at(z))
            done += 1
            yield Step(done, total, words)


def fitting(
    sources: Sequence[Source], shared: SharedField, done: int, total: int
) -> Steps[dict[str, StraightFit]]:
    """The straight line that brings each source to the units of the reference."""
    lines = {source.name: StraightFit() for source in sources}

    def add(source: Source, _number: int, truth: AnyArray, test: AnyArray) -> None:
        lines[source.name].add(test, truth)

    yield from _each_pair(sources, shared, add, Step(done, total, "Fitting"))
    return lines


def _scale(reference: Volume, total: int) -> Steps[Normalisation]:
    planes = len(reference.heights_um)
    scale = StackScale(planes, "it")
    for number in range(planes):
        scale.add(reference.plane(number))
        yield Step(number + 1, total, "Reading the reference")
    try:
        return scale.normalisation()
    except InputError as error:
        raise InputError(f"'{reference.name}' cannot be the reference. {error}") from error


def _check_names(volumes: Sequence[Volume], baselines: Sequence[str]) -> None:
    if not volumes and not baselines:
        raise InputError("There is nothing to compare: choose a reconstruction or a baseline.")
    names = [volume.name for volume in volumes]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise InputError(f"Two volumes are called '{twice[0]}': give each a name of its own.")


def _agreed_scans(volumes: Sequence[Volume]) -> tuple[float, ...]:
    """The heights that the volumes were made from, when all say the same."""
    known = {tuple(np.round(v.scans_um, 3).tolist()) for v in volumes if len(v.scans_um)}
    if len(known) > 1:
        raise InputError(
            "The volumes were made from different scans: give the heights from which the "
            "baselines start."
        )
    return next(iter(known), ())


def _table(
    rows: Mapping[str, list[dict[str, Any]]],
    sources: Sequence[Source],
    reference: Volume,
    fits: Mapping[str, object],
) -> pd.DataFrame:
    import pandas as pd

    own = {
        source.name: {reference.nearest(z) for z in source.scans_um}
        if source.holds_scans and source.name not in fits
        else set()
        for source in sources
    }
    table = pd.DataFrame([row for some in rows.values() for row in some])
    covered = [{row["plane"] for row in some} for some in rows.values() if some]
    pairs = zip(table["name"], table["plane"], strict=True)
    table["is_scan"] = [plane in own[name] for name, plane in pairs]
    table["in_mean"] = table["plane"].isin(set.intersection(*covered) - set().union(*own.values()))
    return table.drop(columns="plane")


def _resampling_note(
    volumes: Sequence[Volume], sources: Sequence[Source], shared: SharedField
) -> tuple[str, bool]:
    """A sentence on what brought the grids together, and whether it was nothing."""
    reference, heights = shared.reference, shared.reference.heights_um
    covered = [z for z in heights if any(source.covers(z) for source in sources)]
    resampled = [
        f"'{source.name}'"
        for source in sources
        if isinstance(source, Resampled)
        and not all(source.has_plane(z) for z in heights if source.covers(z))
    ]
    some, every = len(covered), len(heights)
    planes = f"all {every} planes" if some == every else f"{some} of {every} planes"
    clauses = [
        f"Compared on {planes} of '{reference.name}' (z {covered[0]:.4g} to {covered[-1]:.4g} µm)",
        f"{listed(resampled)} resampled to their heights (linear along z)"
        if resampled
        else "nothing was resampled",
    ]
    partial = [f"'{s.name}'" for s in sources if not all(s.covers(z) for z in covered)]
    if partial:
        clauses.append(
            f"{listed(partial)} {'covers' if len(partial) == 1 else 'cover'} fewer of them"
        )
    if shared.shape != reference.shape:
        clauses.append(
            f"cropped to the {shared.shape[0]} × {shared.shape[1]} pixels that all share"
        )
    clauses += [
        f"'{volume.name}' lies {off:.2f} pixels beside it and was not shifted"
        for volume in volumes
        if (off := pixels_off(volume, reference))
    ]
    is_same = len(clauses) == 2 and not resampled and len(covered) == len(heights)
    return "; ".join(clauses) + ".", is_same


@dataclass(frozen=True, eq=False)
class Difference:
    """A volume minus the reference, on the planes of the reference."""

    name: str  #: of the volume
    reference: str
    pixels: FloatArray  #: (Z, Y, X), volume minus reference, in the units of the reference
    z_um: Array  #: (Z,), heights, in micrometres, rising
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
