"""A fluorescence volume from a few wide-field scans at known heights (Recurrent-MZ).

The names below load on first use (PEP 562): importing the package is instant, and brings
in neither torch nor napari.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference import reconstruct
    from .optics import Optics
    from .scans import InputError, Scan, ZGrid
    from .session import Session
    from .surfaces import reconstruct_surface
    from .to_disk import reconstruct_to
    from .weights import load_model

__all__ = [
    "InputError",
    "Optics",
    "Scan",
    "Session",
    "ZGrid",
    "__version__",
    "load_model",
    "reconstruct",
    "reconstruct_surface",
    "reconstruct_to",
]

_ROOM_OF = {
    "InputError": "scans",
    "Optics": "optics",
    "Scan": "scans",
    "Session": "session",
    "ZGrid": "scans",
    "load_model": "weights",
    "reconstruct": "inference",
    "reconstruct_surface": "surfaces",
    "reconstruct_to": "to_disk",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("napari-recurrent-mz")
    elif name in _ROOM_OF:
        value = getattr(import_module(f".{_ROOM_OF[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
