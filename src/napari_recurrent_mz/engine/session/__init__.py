"""Live refinement: add a scan, see what changed, know when to stop and where to scan next.

No window is needed: :class:`Session` is what the Live dock, a script at the microscope and the
tests share.
"""

from ...core.metrics import EPSILON
from ._autosave import Autosave, Unsaved, unsaved_sessions
from ._engine import PLACES, state_bytes, state_place
from ._history import Change, HistoryEntry, Verdict
from ._reopen import SavedSession, load, read_session
from ._scans import ON_DUPLICATE
from ._session import Session
from ._settings import SessionSettings
from ._store import finished_volume, save
from ._volume import PlaneUpdate

__all__ = [
    "EPSILON",
    "ON_DUPLICATE",
    "PLACES",
    "Autosave",
    "Change",
    "HistoryEntry",
    "PlaneUpdate",
    "SavedSession",
    "Session",
    "SessionSettings",
    "Unsaved",
    "Verdict",
    "finished_volume",
    "load",
    "read_session",
    "save",
    "state_bytes",
    "state_place",
    "unsaved_sessions",
]
