"""A file in a microscope maker's format, as Zeiss' own library wrote it."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

SHAPE = (2, 2, 2, 5, 24, 32)  # scenes, time points, channels, planes, rows, columns
PIXELS = np.tensordot((5000, 1000, 500, 100, 3, 1), np.indices(SHAPE), 1).astype(np.uint16)
STEP_UM, PIXEL_UM, WAVELENGTHS_UM = 0.4, 0.1, (0.461, 0.519)

needs_readers = pytest.mark.skipif(
    find_spec("bioio_openreadout") is None, reason="needs BioIO and a reader of CZI"
)


def write_czi(folder: Path, name: str = "two scenes.czi") -> Path:
    """``data/make_czi.py`` says how it was made."""
    packed = Path(__file__).parent / "data" / "two-scenes.czi.gz"
    path = folder / name
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path
