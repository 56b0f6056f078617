"""Many volumes with the same settings: folders, plates and time-lapses.

:func:`find_jobs` lists what there is to do, :func:`run_batch` does it, on this computer or on
a cluster, and goes on from where an earlier run ended. Lengths are in micrometres; volumes are in
the intensity units of their inputs, so time points and positions stay comparable without a common
scale.
"""

from __future__ import annotations

from ._jobs import find_jobs as find_jobs
from ._plan import Plan as Plan
from ._plan import plan_of as plan_of
from ._record import is_done as is_done
from ._run import Report as Report
from ._run import digest_of as digest_of
from ._run import in_words as in_words
from ._run import run_batch as run_batch
from ._settings import BatchSettings as BatchSettings
from ._settings import Job as Job
from ._work import Outcome as Outcome
from ._work import sentence_of as sentence_of
