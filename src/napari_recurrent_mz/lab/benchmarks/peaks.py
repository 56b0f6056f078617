"""What this machine can do at best: arithmetic on large matrices or images, and copying."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ...core.device import Device
from ..shared import timed

_MATRIX = {"cpu": 2048, "mps": 4096, "cuda": 8192}
_COPIED_BYTES = {"cpu": 2**27, "mps": 2**28, "cuda": 2**30}
_CHANNELS = 256
_TRIES = 5


@dataclass(frozen=True)
class Peak:
    """The best of some tries."""

    # multiplications and additions in a second: of a product of large square matrices, or of a
    # convolution of many channels. The library for the one may not know all instructions of a CPU
    # that the other's uses
    operations: float
    moved_bytes: float  # bytes read and written in a second, of a copy far larger than the caches


def peak(device: Device, dtype: torch.dtype, *, matrix: int = 0) -> Peak:
    """Measure it, in well under a minute."""
    side = matrix or _MATRIX[device.kind]
    operations = max(_product(device, dtype, side), _convolution(device, dtype, side))
    source = torch.zeros(_COPIED_BYTES[device.kind] // 4, device=device.torch)
    target = torch.ones_like(source)
    copied = _best(device, lambda: target.copy_(source))
    return Peak(operations, 2.0 * source.nbytes / copied)


def _product(device: Device, dtype: torch.dtype, side: int) -> float:
    """Operations in a second of a product of two square matrices."""
    a = torch.randn(side, side, device=device.torch).to(dtype)
    b = torch.randn(side, side, device=device.torch).to(dtype)
    as_convolutions = torch.backends.cudnn.allow_tf32
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = as_convolutions
    try:
        return 2.0 * side**3 / _best(device, lambda: torch.mm(a, b))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _convolution(device: Device, dtype: torch.dtype, side: int) -> float:
    """The same of a 3 × 3 convolution that has about as many."""
    pixels = math.ceil(math.sqrt(side**3 / 9) / _CHANNELS)
    image = torch.randn(1, _CHANNELS, pixels, pixels, device=device.torch).to(dtype)
    layer = nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1, bias=False).to(device.torch, dtype)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = image.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        return 18.0 * (pixels * _CHANNELS) ** 2 / _best(device, lambda: layer(image))


def synchronize(device: Device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.kind == "cuda":
        torch.cuda.synchronize()
    elif device.kind == "mps":
        torch.mps.synchronize()


def _best(device: Device, call: Callable[[], object]) -> float:
    def whole() -> None:
        call()
        synchronize(device)

    whole()
    return min(timed(whole) for _ in range(_TRIES))
