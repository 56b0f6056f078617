"""Reconstructions against a reference stack, plane by plane, as in the paper's Figure 4b.

The measures are those of ``recurrent-mz evaluate`` (:mod:`~.metrics`): the
reference is scaled by its own background and 99.9th percentile, nothing is rescaled to fit
unless that is asked for, and the planes that were scans are left out of the means. Volumes on
other grids are brought to the reference's planes by linear interpolation along z and cropped
to the field that all share; :attr:`Comparison.sentence` says what was done.
"""

from ...core.progress import Step as Step
from ._compare import MEASURES as MEASURES
from ._compare import Comparison as Comparison
from ._compare import Difference as Difference
from ._compare import compare as compare
from ._compare import comparing as comparing
from ._compare import difference as difference
from ._compare import differing as differing
from ._sources import BASELINE_NAMES as BASELINE_NAMES
from ._sources import BASELINES as BASELINES
from ._volume import Volume as Volume
from ._volume import made_from as made_from
from ._volume import read_volume as read_volume
