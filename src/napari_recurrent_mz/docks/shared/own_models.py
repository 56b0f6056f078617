"""Models of the user's own that the docks offer beside the bundled ones, kept between runs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from . import settings

_GROUP, _NAME = "models", "own"
_MOST = 8


class OwnModels(QObject):
    """Paths of weights files, the newest first; ``added`` carries the path of a new one."""

    added = Signal(str)

    def paths(self) -> list[str]:
        """Those that are still there."""
        text = settings.remembered(_GROUP, (_NAME,)).get(_NAME, "")
        return [path for path in text.splitlines() if Path(path).is_file()]

    def add(self, path: str) -> None:
        """Remember a weights file and tell every open dock."""
        others = [other for other in self.paths() if other != path]
        settings.remember(_GROUP, {_NAME: "\n".join([path, *others][:_MOST])})
        self.added.emit(path)


@lru_cache(maxsize=1)
def own_models() -> OwnModels:
    """The one list of this process."""
    return OwnModels()
