"""What is remembered between runs, in an INI file of the user (``QSettings``)."""

from __future__ import annotations

from qtpy.QtCore import QSettings

_NAME = "napari-recurrent-mz"


def _store() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, _NAME, _NAME)


def remembered(group: str, name: str) -> str | None:
    """A remembered text of ``group``; None if there never was one."""
    text = _store().value(f"{group}/{name}")
    return None if text is None else str(text)


def remember(group: str, values: dict[str, str]) -> None:
    """Store texts under ``group`` for the next run."""
    store = _store()
    for name, value in values.items():
        store.setValue(f"{group}/{name}", value)
    store.sync()
