"""Layers with arrays of some kinds in a real window, and the main button of every dock."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from napari.layers import Image
from reliability import _docks
from reliability._docks import Tracebacks, is_idle, let_pass, let_work, open_viewer, own_folder
from reliability._tests import module

KINDS = (
    *("uint8", ">u2", "float16", "bool", "dask", "zarr", "labelled", "negative", "offset 1e8"),
    *("times 1e30", "times 1e300", "zero", "saturated", "hot pixel 3e38", "1 × 1", "2 × 2", "RGB"),
    *("one NaN", "dask with a NaN", "masked array"),
)
DOCKS: dict[str, Callable[[Any], Any]] = {
    **_docks.DOCKS,
    "Reconstruct": lambda viewer: _docks.reconstruct(viewer, "lmmse", 64),
    "Surface": lambda viewer: _docks.surface(viewer, "lmmse", 64),
}
del DOCKS["Live"]  # its scans come from files and microscopes, not from layers
LONGEST_S = 4.0
PATIENCE_S = 60.0
Came = tuple[str, str, str, str]


def outcomes(quick: bool) -> Iterator[Came]:
    """Dock, kind, what came of it and what the dock said."""
    arrays = module("arrays")
    kinds = [kind for kind in arrays.KINDS if kind.name in KINDS]
    assert len(kinds) == len(KINDS)
    before, _docks.PATIENCE_S = _docks.PATIENCE_S, LONGEST_S  # what is refused is never ready
    with own_folder(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        viewer = open_viewer()
        for number, name in enumerate(DOCKS):
            for kind in kinds[number % 8 :: 8] if quick else kinds:
                yield f"dock {name}", kind.name, *outcome(viewer, DOCKS[name], kind)
        viewer.close()
        let_pass(0.2)
    _docks.PATIENCE_S, _docks.given = before, np.copy


def outcome(viewer: Any, build: Callable[[Any], Any], kind: Any) -> tuple[str, str]:
    """Open a dock beside such layers and press its button."""

    def given(pixels: np.ndarray) -> Any:
        cut = pixels[21:30, 96:160, 92:164] if len(pixels) > 1 else pixels
        return kind.make(np.rint(cut * (118 / cut.max()) + 2).astype(np.float32))

    _docks.given = given
    with Tracebacks() as tracebacks:
        try:
            dock = build(viewer)
        except _docks.NoLayerError as error:
            return "none such", repr(error)
        before = set(viewer.layers)
        dock.act()
        let_work(is_idle, LONGEST_S)
        dock.cancel()
        if not let_work(is_idle, PATIENCE_S):
            return "hang", ""
        let_pass(0.3)
        said = [dock.footer.state, dock.footer.warnings, dock.footer.message]
        told = " / ".join(label.text() for label in said if label.text())
        made = [one for one in viewer.layers if one not in before and isinstance(one, Image)]
        is_error = any(label.kind == "error" and label.text() for label in said)
        what = judged(told, tracebacks.seen, made, is_error, kind)
        viewer.window.remove_dock_widget(dock)
        viewer.layers.clear()
        let_pass(0.05)
    return what, told or str(tracebacks.seen)


def judged(told: str, tracebacks: list[str], made: list[Any], is_error: bool, kind: Any) -> str:
    """What came of it, as ``tests/arrays.py`` says."""
    if tracebacks or "unexpected" in told:
        return "raw"
    if any(not np.isfinite(np.asarray(layer.data)).all() for layer in made):
        return "silent"
    if made and kind.is_none:
        return "silent"
    return "refused" if is_error and not made else "right"
