"""Live refinement: add a scan, see what changed, know when to stop and where to scan next.

No window is needed: :class:`Session` is what the Live dock, a script at the microscope and the
tests share.
"""

from ._autosave import Autosave as Autosave
from ._autosave import Unsaved as Unsaved
from ._autosave import unsaved_sessions as unsaved_sessions
from ._engine import state_bytes as state_bytes
from ._engine import state_place as state_place
from ._history import Change as Change
from ._history import HistoryEntry as HistoryEntry
from ._history import Verdict as Verdict
from ._reopen import SavedSession as SavedSession
from ._reopen import load as load
from ._reopen import read_session as read_session
from ._scans import ON_DUPLICATE as ON_DUPLICATE
from ._session import Session as Session
from ._settings import SessionSettings as SessionSettings
from ._store import finished_volume as finished_volume
from ._store import save as save
from ._volume import PlaneUpdate as PlaneUpdate
