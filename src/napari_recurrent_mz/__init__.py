"""A fluorescence volume from a few wide-field scans at known heights (Recurrent-MZ).

The names below load on first use (PEP 562): importing the package is instant, and brings
in neither torch nor napari.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .core.earlier_paths import EarlierPaths

if TYPE_CHECKING:
    from .core.optics import Optics
    from .core.scans import InputError, Scan, ZGrid
    from .engine.inference import reconstruct
    from .engine.session import Session
    from .engine.surfaces import reconstruct_surface
    from .engine.to_disk import reconstruct_to
    from .networks.weights import load_model

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

_MODULE_OF = {
    "InputError": "core.scans",
    "Optics": "core.optics",
    "Scan": "core.scans",
    "Session": "engine.session",
    "ZGrid": "core.scans",
    "load_model": "networks.weights",
    "reconstruct": "engine.inference",
    "reconstruct_surface": "engine.surfaces",
    "reconstruct_to": "engine.to_disk",
}

if not any(isinstance(finder, EarlierPaths) for finder in sys.meta_path):
    sys.meta_path.insert(0, EarlierPaths())  # before what finds files: a module is loaded once


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("napari-recurrent-mz")
    elif name in _MODULE_OF:
        value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
