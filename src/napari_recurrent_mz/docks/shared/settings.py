"""What is remembered between runs, in an INI file of the user (``QSettings``)."""

from __future__ import annotations

from qtpy.QtCore import QSettings

_NAME = "napari-recurrent-mz"


def _store() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, _NAME, _NAME)


def remembered(group: str, names: tuple[str, ...]) -> dict[str, str]:
    """The remembered texts of ``group``; names never stored are left out."""
    store = _store()
    texts = {name: store.value(f"{group}/{name}") for name in names}
    return {name: str(text) for name, text in texts.items() if text is not None}


def remember(group: str, values: dict[str, str]) -> None:
    """Store texts under ``group`` for the next run."""
    store = _store()
    for name, value in values.items():
        store.setValue(f"{group}/{name}", value)
    store.sync()
