"""How far one histogram of widths is from another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import metrics
from ..scans import InputError


def kl_divergence(truth: npt.ArrayLike, test: npt.ArrayLike, *, bins: npt.ArrayLike = 20) -> float:
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
        the greatest width of both. Values beyond given edges are not counted.

    Returns
    -------
    float
        0 or above.

    Raises
    ------
    InputError
        If one of them holds no width.
    """
    kept = []
    for name, sample in (("first", truth), ("second", test)):
        widths = np.ravel(np.asarray(sample, np.float64))
        widths = widths[np.isfinite(widths)]
        if not len(widths):
            raise InputError(
                f"The {name} histogram holds no measured bead: there is nothing to compare."
            )
        kept.append(widths)
    edges = np.histogram_bin_edges(np.concatenate(kept), np.asarray(bins))
    return metrics.kl_divergence(kept[0], kept[1], edges)
