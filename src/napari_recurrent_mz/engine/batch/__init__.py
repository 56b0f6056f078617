"""Many volumes with the same settings: folders, plates and time-lapses.

:func:`find_jobs` lists what there is to do, :func:`run_batch` does it, on this computer or on
a cluster, and goes on from where an earlier run ended. Lengths are in micrometres; volumes are in
the intensity units of their inputs, so time points and positions stay comparable without a common
scale.
"""

from __future__ import annotations

from ._jobs import find_jobs
from ._plan import Plan, plan_of
from ._record import is_done
from ._report import Report, in_words
from ._run import digest_of, run_batch
from ._settings import FORMATS, BatchSettings, Job
from ._work import Outcome, sentence_of

__all__ = [
    "FORMATS",
    "BatchSettings",
    "Job",
    "Outcome",
    "Plan",
    "Report",
    "digest_of",
    "find_jobs",
    "in_words",
    "is_done",
    "plan_of",
    "run_batch",
    "sentence_of",
]
