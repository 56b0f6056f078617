"""Summary of a table of beads in a few numbers, histograms and words, and as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...core import metrics
from ...core.arrays import Array, real_array
from ...core.scans import InputError, listed
from ...io import write_table
from ._measure import HEADERS

if TYPE_CHECKING:
    import pandas as pd

AXES = ("x", "y", "z")
BINS = 20

_ROOM = 0.01  # of the width, to either side: the range of a histogram of equal values

_LEFT_OUT = {
    "border": "at the border",
    "neighbour": "beside another bead",
    "saturated": "saturated",
    "no fit": "without a fit",
    "width": "narrower than a voxel or wider than the region",
    "dim": "dim",
    "poor fit": "with a poor fit",
}
_REMEDIES = {
    "border": "take a smaller region, or a larger field",
    "neighbour": "take a smaller region, or a sparser sample",
    "saturated": "expose less",
    "no fit": "check the voxel size, or take brighter beads",
    "width": "check the voxel size and the region",
    "dim": "ask for a lower SNR, or take brighter beads",
    "poor fit": "try another model, or take brighter beads",
}


@dataclass(frozen=True)
class Widths:
    """The full widths at half maximum of the accepted beads along one axis."""

    values_um: Array  #: (n,), without those that were not measured
    mean_um: float  #: NaN where there is no bead
    median_um: float  #: NaN where there is no bead
    std_um: float  #: NaN where there is no bead

    @property
    def n(self) -> int:
        """How many beads there are."""
        return len(self.values_um)


def widths(table: pd.DataFrame, axis: str) -> Widths:
    """Widths of the accepted beads of a table along ``x``, ``y`` or ``z``.

    Parameters
    ----------
    table : pandas.DataFrame
        From :func:`measure_beads`.
    axis : {"x", "y", "z"}
    """
    values = _finite(table.loc[table["accepted"].astype(bool), f"fwhm_{axis}_um"])
    mean, median, std = (
        (values.mean(), np.median(values), values.std()) if len(values) else 3 * (np.nan,)
    )
    return Widths(values, float(mean), float(median), float(std))


def _finite(sample: npt.ArrayLike) -> Array:
    values = np.ravel(real_array(sample, "The list of widths", finite=False).astype(np.float64))
    return values[np.isfinite(values)]


def histogram_edges(*samples: npt.ArrayLike, bins: int = BINS) -> Array:
    """Edges of equal bins from the least to the greatest width of all samples.

    Parameters
    ----------
    *samples : array_like
        Widths, in micrometres; values that are not finite are left out.
    bins : int, optional
        How many.

    Returns
    -------
    numpy.ndarray, shape (bins + 1,)
        In micrometres. Where all widths are equal, the range is one per cent to either side.

    Raises
    ------
    InputError
        If there is no width at all.
    """
    every = np.concatenate([_finite(sample) for sample in samples])
    if not len(every):
        raise InputError("There is no measured bead: a histogram needs at least one.")
    low, high = float(every.min()), float(every.max())
    room = _ROOM * abs(high) if high - low <= 1e-9 * abs(high) else 0.0
    return np.linspace(low - room, high + room, bins + 1)


def kl_divergence(
    truth: npt.ArrayLike, test: npt.ArrayLike, *, bins: npt.ArrayLike = BINS
) -> float:
    """Kullback-Leibler divergence of two histograms of FWHM, D(truth || test), in nats.

    The sum over the bins of p ln(p / q), with p the truth's share of a bin and q the other's,
    each after half a bead is added to every bin, so that an empty bin gives a large value
    and not an infinite one. It is not symmetric: the truth comes first. The paper compares
    beads so (Fig. 3b, there in bins that it does not state).

    Parameters
    ----------
    truth, test : array_like
        Widths, in micrometres; values that are not finite (beads not measured) are left out.
    bins : int or array_like, optional
        Rising bin edges, in micrometres, or how many equal bins there are from the least to
        the greatest width of both (:func:`histogram_edges`). Values beyond given edges are not
        counted.

    Returns
    -------
    float
        0 or above.

    Raises
    ------
    InputError
        If one of them holds no width.
    """
    samples = _finite(truth), _finite(test)
    for name, sample in zip(("first", "second"), samples, strict=True):
        if not len(sample):
            raise InputError(
                f"The {name} histogram holds no measured bead: there is nothing to compare."
            )
    given = np.asarray(bins)
    edges = histogram_edges(*samples, bins=int(given)) if given.ndim == 0 else given
    return metrics.kl_divergence(*samples, edges)


def excluded(table: pd.DataFrame) -> dict[str, int]:
    """How many beads of a table were excluded for each reason, the commonest first."""
    counts = table.loc[~table["accepted"].astype(bool), "reason"].value_counts()
    return {str(reason): int(count) for reason, count in counts.items()}


def in_words(table: pd.DataFrame) -> str:
    """How many beads were found, how many are accepted, and why the others are not."""
    total, accepted = len(table), int(table["accepted"].sum())
    if not total:
        return "No bead was found"
    beads = f"{accepted} of {total} {'beads' if total > 1 else 'bead'} accepted"
    counts = excluded(table)
    reasons = [f"{count} {_LEFT_OUT[reason]}" for reason, count in counts.items()]
    words = f"{beads}; left out: {', '.join(reasons)}" if reasons else beads
    return words if accepted or not counts else f"{words}: {_REMEDIES[next(iter(counts))]}"


def write_beads(path: str | Path, tables: Mapping[str, pd.DataFrame]) -> Path:
    """Write tables of beads to one CSV file, the units in its header.

    Parameters
    ----------
    path : str or Path
        Ends in ``.csv``; UTF-8 with a byte order mark, so that spreadsheets show the µ.
    tables : mapping of str to pandas.DataFrame
        From :func:`measure_beads`, by the name of their volume, which is the first column; the
        second is the number of the bead in its table, from 1.

    Raises
    ------
    InputError
        If there is no bead, the ending is another one, or the file cannot be written.
    """
    import pandas as pd

    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise InputError(f"'{path.name}' is no name for a table: let it end in .csv.")
    if not any(len(table) for table in tables.values()):
        raise InputError(f"There is no bead in {listed(list(tables))}: no table was written.")
    renamed = []
    for name, table in tables.items():
        rows = table[list(HEADERS)].rename(columns=HEADERS)
        rows.insert(0, "volume", name)
        rows.insert(1, "bead", np.arange(1, len(rows) + 1))
        rows.attrs.clear()  # those of two tables differ, and concat compares them
        renamed.append(rows)
    return write_table(path, pd.concat(renamed), encoding="utf-8-sig")
