"""Point spread functions made in a process of their own, beside a window that must stay alive.

psfmodels holds Python's lock from the beginning of a call to its end: whatever else a program does
in Python waits, its window too. A process of its own takes half a second to start, so this is
only for what takes longer, and only where somebody asks for it with :func:`allow`.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_S = 300.0
_WORTH_IT = 2e6  # samples of all planes together; about half a second
_CODE = """
import io, json, sys
import numpy, psfmodels
asked = json.load(sys.stdin)
made = psfmodels.vectorial_psf(numpy.array(asked.pop("zv")), **asked)
written = io.BytesIO()  # numpy asks a file for its position, which a pipe may not have
numpy.save(written, made, allow_pickle=False)
sys.stdout.buffer.write(written.getvalue())
"""

_allowed = False


def allow(is_allowed: bool = True) -> None:
    """Let threads make what is large in a process of its own from now on, or no longer."""
    global _allowed
    _allowed = is_allowed


def made_apart(
    z_um: npt.NDArray[np.float64], options: dict[str, Any]
) -> npt.NDArray[np.float64] | None:
    """Make a point spread function in a process of its own, if that is wanted and works.

    Parameters
    ----------
    z_um : numpy.ndarray, shape (Z,)
        Defocus, in micrometres.
    options : dict
        The other arguments of ``psfmodels.vectorial_psf``: numbers, and ``params`` of numbers.

    Returns
    -------
    numpy.ndarray, shape (Z, N, N), or None
        What psfmodels gives, bit for bit; None where the caller must make it.
    """
    samples = len(z_um) * (options["nx"] * options["params"].get("sf", 1)) ** 2
    in_window = threading.current_thread() is threading.main_thread()
    is_python = Path(sys.executable or "").stem.lower().startswith("python")  # not a bundled app
    if not _allowed or in_window or not is_python or samples < _WORTH_IT:
        return None
    asked = json.dumps({"zv": z_um.tolist(), **options}).encode()
    hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # of Windows
    try:
        told = subprocess.run(  # noqa: S603  (ourselves)
            [sys.executable, "-P", "-c", _CODE],
            input=asked, capture_output=True, check=True, timeout=_MOST_S, creationflags=hidden,
        )  # fmt: skip
        made: npt.NDArray[np.float64] = np.load(io.BytesIO(told.stdout), allow_pickle=False)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return made
