"""What this machine can do at best: arithmetic of large matrices, and copying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..device import Device
from .base import timed

_MATRIX = {"cpu": 2048, "mps": 4096, "cuda": 8192}
_COPIED_BYTES = {"cpu": 2**27, "mps": 2**28, "cuda": 2**30}
_TRIES = 5


@dataclass(frozen=True)
class Peak:
    """The best of some tries.

    Attributes
    ----------
    operations : float
        Multiplications and additions in a second, of a product of large square matrices.
    moved_bytes : float
        Bytes read and written in a second, of a copy far larger than the caches.
    """

    operations: float
    moved_bytes: float


def peak(device: Device, dtype: torch.dtype, *, matrix: int = 0) -> Peak:
    """Measure it, in well under a minute.

    Parameters
    ----------
    device : Device
    dtype : torch.dtype
        Of the matrices; on a CUDA GPU single precision is what its convolutions use.
    matrix : int, optional
        Rows of the matrices, by default what suits the device.
    """
    side = matrix or _MATRIX[device.kind]
    a = torch.randn(side, side, device=device.torch).to(dtype)
    b = torch.randn(side, side, device=device.torch).to(dtype)
    as_convolutions = torch.backends.cudnn.allow_tf32
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = as_convolutions
    try:
        product = _best(device, lambda: torch.mm(a, b))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    source = torch.zeros(_COPIED_BYTES[device.kind] // 4, device=device.torch)
    target = torch.ones_like(source)
    copied = _best(device, lambda: target.copy_(source))
    return Peak(2.0 * side**3 / product, 2.0 * source.nbytes / copied)


def settle(device: Device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.kind == "cuda":
        torch.cuda.synchronize()
    elif device.kind == "mps":
        torch.mps.synchronize()


def _best(device: Device, call: Callable[[], object]) -> float:
    def whole() -> None:
        call()
        settle(device)

    whole()
    return min(timed(whole) for _ in range(_TRIES))
