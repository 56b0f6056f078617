"""Reconstructions against a reference stack, plane by plane, as in the paper's Figure 4b.

The measures are those of ``recurrent-mz evaluate`` (:mod:`~.metrics`): the
reference is scaled by its own background and 99.9th percentile, nothing is rescaled to fit
unless that is asked for, and the planes that were scans are left out of the means. Volumes on
other grids are brought to the reference's planes by linear interpolation along z and cropped
to the field that all share; :attr:`Comparison.sentence` says what was done.
"""

from ...core.progress import Step
from ._compare import MEASURES, Comparison, compare, comparing
from ._difference import Difference, difference, differing
from ._sources import BASELINE_NAMES, BASELINES
from ._volume import Volume, made_from, read_volume

__all__ = [
    "BASELINES",
    "BASELINE_NAMES",
    "MEASURES",
    "Comparison",
    "Difference",
    "Step",
    "Volume",
    "compare",
    "comparing",
    "difference",
    "differing",
    "made_from",
    "read_volume",
]
