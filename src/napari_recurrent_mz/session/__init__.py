"""Live refinement: add a scan, see what changed, know when to stop and where to scan next.

No window is needed: :class:`Session` is what the Live dock, a script at the microscope and the
tests share.
"""

from ._checks import ON_DUPLICATE
from ._engine import PLACES, state_bytes, state_place
from ._history import EPSILON, Change, HistoryEntry, Verdict
from ._session import Session
from ._settings import SessionSettings
from ._volume import PlaneUpdate

__all__ = [
    "EPSILON",
    "ON_DUPLICATE",
    "PLACES",
    "Change",
    "HistoryEntry",
    "PlaneUpdate",
    "Session",
    "SessionSettings",
    "Verdict",
    "state_bytes",
    "state_place",
]
