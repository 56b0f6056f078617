"""How much of a GPU's memory may be used: one limit for all docks, kept between runs."""

from __future__ import annotations

import contextlib
import math
from functools import lru_cache

from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QDoubleSpinBox, QWidget

from ...core.device import gpu_memory_limit, limit_gpu_memory
from ...core.scans import InputError
from . import settings
from .guard import on

_GROUP, _NAME = "gpu", "memory_gb"
_MOST_GB = 1024.0
MEMORY_TIP = (
    "The most of the GPU's memory that may be used, for instance while the microscope's own "
    "software needs the same GPU; what would need more is made in smaller parts, a little "
    "slower. 0 is no limit"
)


class GpuMemory(QObject):
    """The limit in GB that a person has set; 0 is none, or the one given at program start."""

    changed = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self._given: float | None = None
        with contextlib.suppress(InputError):  # told by whoever looks for a GPU
            self._given = gpu_memory_limit()
        self.gigabytes = 0.0 if self._given else _remembered_gb()
        with contextlib.suppress(InputError):
            self.apply()

    def unlimited(self) -> str:
        """What 0 means, in words."""
        return f"{self._given:g} GB, as given at start" if self._given else "All that is free"

    def set(self, gigabytes: float) -> None:
        """Take a limit, which :meth:`apply` may refuse, and tell every open dock."""
        if gigabytes == self.gigabytes:
            return
        self.gigabytes = gigabytes
        with contextlib.suppress(InputError):
            self.apply()
            settings.remember(_GROUP, {_NAME: f"{gigabytes:g}"})
        self.changed.emit(gigabytes)

    def apply(self) -> None:
        """Let the limit be in force; InputError if it is too little to work with."""
        try:
            limit_gpu_memory(self.gigabytes or self._given)
        except InputError as error:
            sentence = str(error).removesuffix(".")
            raise InputError(f"{sentence}, or 0 for all that is free.") from error


@lru_cache(maxsize=1)
def gpu_memory() -> GpuMemory:
    """The one limit of this process."""
    return GpuMemory()


class GpuMemoryField(QDoubleSpinBox):
    """Shows the limit, and sets it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._memory = gpu_memory()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setRange(0.0, _MOST_GB)
        self.setDecimals(1)
        self.setSuffix(" GB")
        self.setSpecialValueText(self._memory.unlimited())
        self.setValue(self._memory.gigabytes)
        on(self, self.valueChanged, self._memory.set)
        self._memory.changed.connect(self.setValue)


def _remembered_gb() -> float:
    try:
        gigabytes = float(settings.remembered(_GROUP, (_NAME,)).get(_NAME, "0"))
    except ValueError:
        return 0.0
    return min(gigabytes, _MOST_GB) if math.isfinite(gigabytes) and gigabytes > 0 else 0.0
