"""Arrays of every kind in a TIFF, given to every command that reads an image."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from reliability._outputs import Contents, contents, is_near
from reliability._tests import module

from napari_recurrent_mz.cli import main

COMMANDS = (
    *("reconstruct lmmse", "reconstruct linear", "reconstruct richardson-lucy", "reconstruct"),
    *("surface", "compare", "batch", "beads", "info", "train on a stack"),
    *("prepare edf", "prepare align", "prepare normalise", "prepare register"),
)
PATIENCE_S = 120
Came = tuple[str, str, str, str]
"""Command, kind, what came of it and what was said."""


def outcomes(quick: bool) -> Iterator[Came]:
    """Give each command each kind."""
    watched, arrays = module("watched"), module("arrays")
    files = files_of(arrays)
    for number, name in enumerate(COMMANDS):
        plain: dict[bytes, Contents] = {}
        for kind, pixels in files[number % 8 :: 8] if quick else files:
            status, told, made = run(watched, name, pixels)
            what = judged(status, told, made, kind)
            if what == "right" and kind.same and made is not None:
                alike = np.asarray(pixels, np.float32)
                key = alike.tobytes()
                if key not in plain:
                    plain[key] = run(watched, name, alike)[2] or {}
                part = 1e-2 if name.startswith("prepare") else 1e-4  # it rounds whole numbers
                if plain[key] and not is_near(made, plain[key], part):
                    what = "silent"
            yield f"command {name}", kind.name, what, told


def files_of(arrays: Any) -> list[tuple[Any, Any]]:
    """The kinds that can be in a TIFF, each content once."""
    found: dict[tuple[str, tuple[int, ...], bytes], tuple[Any, Any]] = {}
    for kind in arrays.KINDS:
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = np.asarray(kind.make(arrays.STACK))
            tifffile.imwrite(io.BytesIO(), pixels)
            found.setdefault((pixels.dtype.str, pixels.shape, pixels.tobytes()), (kind, pixels))
    return list(found.values())


def run(watched: Any, name: str, pixels: Any) -> tuple[int, str, Contents | None]:
    """Exit status of a command in this process, what it said, and its files; None if torn."""
    before, told = os.getcwd(), io.StringIO()  # noqa: PTH109
    with tempfile.TemporaryDirectory() as folder:
        watched.make_input(Path(folder), name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tifffile.imwrite(Path(folder) / "s.tif", pixels)
        os.chdir(folder)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.alarm(PATIENCE_S)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
                status = main(watched.COMMANDS[name].split())
            Path("s.tif").unlink()
            return status, told.getvalue(), contents(Path(folder))
        except Exception as error:
            return status, f"{type(error).__name__}: {error}", None
        finally:
            signal.alarm(0)
            os.chdir(before)


def judged(status: int, told: str, made: Contents | None, kind: Any) -> str:
    """What came of it, as ``tests/arrays.py`` says."""
    if made is None:
        return "torn"
    if status:
        lines = [one for one in told.splitlines() if one.startswith("recurrent-mz: ")]
        if "Cancelled" in told:
            return "hang"
        is_one = len(lines) == 1 and lines[0].endswith(".") and "unexpected" not in told
        return "refused" if is_one and "Traceback" not in told else "raw"
    values = [one for one in made.values() if isinstance(one, np.ndarray)]
    # a fit to a bead may have no width, which docs/beads.md tells
    finite = all(np.isfinite(one).all() for one in values if one.ndim > 2)
    return "right" if finite or (kind.has_nan and not values) else "silent"
