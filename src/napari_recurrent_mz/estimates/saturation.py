"""Pixels that a camera could not count: they are at the limit, whatever the light was."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ..core.arrays import AnyArray

SATURATED = 1e-3
"""Part of the pixels from which an image counts as saturated."""

AT_LIMIT = "at the camera's limit"
LOST = "What is brighter is lost there, and widths come out too large: expose shorter."

_SPIKE = 4.0  # times as many pixels as at the next value
_FULL = frozenset(float(2**bits - 1) for bits in (8, 10, 12, 14, 16))


def limit_of(pixels: AnyArray) -> float | None:
    """The value that a camera could not pass, which shows as a spike at the top; else None."""
    top = pixels.max()
    count = int(np.count_nonzero(pixels == top))
    below = pixels[pixels < top]
    following = int(np.count_nonzero(below == below.max())) if below.size else 0
    spike = 1.0 if float(top) in _FULL else _SPIKE
    return float(top) if count > spike * following else None


def saturated_part(pixels: AnyArray) -> float:
    """Part of the pixels that a camera could not count, 0 to 1."""
    limit = limit_of(pixels)
    return 0.0 if limit is None else int(np.count_nonzero(pixels == limit)) / pixels.size


def stack_saturation_notes(name: str, stack: Iterable[npt.ArrayLike]) -> list[str]:
    """A sentence when planes of a stack are saturated; nothing otherwise."""
    shares = [saturated_part(np.asarray(plane)) for plane in stack]
    saturated = [part for part in shares if part > SATURATED]
    if not saturated:
        return []
    return [
        f"Pixels of {len(saturated)} of the {len(shares)} planes of '{name}' are {AT_LIMIT}, up to "
        f"{100 * max(saturated):.2g} % of a plane. {LOST}"
    ]
