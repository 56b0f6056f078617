"""The fast path beside the plain network in single precision, on a simulated sample."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...core.scans import FloatArray
from ..shared import Goal
from .base import Bench, Row
from .scene import Way, heights, prepared, sample_scans

_PSNR = Goal(60.0, "dB")
_DEVIATION = Goal(1e-5, "of the range", at_least=False)


def measure(bench: Bench) -> Iterator[Row]:
    """The worst of some planes: PSNR in half precision, largest deviation in single."""
    reference = _planes(bench, Way(fast=False, half=False))
    half = _planes(bench, Way(fast=True, half=True))
    yield Row(
        "equality",
        "fast path in half precision: PSNR to the plain network in float32",
        min(psnr(a, b) for a, b in zip(reference, half, strict=True)),
        "dB",
        goal=_PSNR,
        words=_what(bench),
    )
    single = _planes(bench, Way(fast=True, half=False))
    yield Row(
        "equality",
        "fast path in float32: largest deviation from the plain network",
        max(deviation(a, b) for a, b in zip(reference, single, strict=True)),
        "of the range",
        goal=_DEVIATION,
        words=_what(bench),
    )


def psnr(truth: FloatArray, test: FloatArray) -> float:
    """Peak signal to noise over the range of ``truth``, in dB; 240 where nothing differs."""
    relative = float(np.mean((truth.astype(np.float64) - test) ** 2)) / float(np.ptp(truth)) ** 2
    return -10 * math.log10(max(relative, 1e-24))


def deviation(truth: FloatArray, test: FloatArray) -> float:
    """Largest difference, relative to the range of ``truth``."""
    return float(np.abs(truth.astype(np.float64) - test).max()) / float(np.ptp(truth))


def _planes(bench: Bench, way: Way) -> list[FloatArray]:
    sizes = bench.sizes
    maker = prepared(bench, sample_scans(sizes.scans, sizes.compared), way)
    return [maker.plane(z) for z in heights(5)]


def _what(bench: Bench) -> str:
    side = bench.sizes.compared
    return f"the worst of 5 planes of {side} × {side} of a simulated sample"
