"""Histograms of widths: their bins, and how far one is from another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...core import metrics
from ...core.scans import InputError

BINS = 20

_ROOM = 0.01  # of the width, to either side: the range of a histogram of equal values


def histogram_edges(*samples: npt.ArrayLike, bins: int = BINS) -> npt.NDArray[np.float64]:
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
    every = np.concatenate([np.ravel(np.asarray(sample, np.float64)) for sample in samples])
    every = every[np.isfinite(every)]
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
    shares = []
    for name, sample in (("first", truth), ("second", test)):
        widths = np.ravel(np.asarray(sample, np.float64))
        widths = widths[np.isfinite(widths)]
        if not len(widths):
            raise InputError(
                f"The {name} histogram holds no measured bead: there is nothing to compare."
            )
        shares.append(widths)
    given = np.asarray(bins)
    edges = histogram_edges(*shares, bins=int(given)) if given.ndim == 0 else given
    return metrics.kl_divergence(shares[0], shares[1], edges)
