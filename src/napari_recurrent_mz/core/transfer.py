"""Between main memory and the device, without waiting for what that is doing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from .scans import FloatArray


def uploaded(values: npt.ArrayLike, device: torch.device | None) -> torch.Tensor:
    """Copy numbers to a device, float32.

    A GPU is not waited for: other copies to it first let it finish all that it was given.
    """
    there = torch.from_numpy(np.array(values, dtype=np.float32))
    return there.to(device, non_blocking=device is not None and device.type == "cuda")


def start_download(planes: torch.Tensor) -> Callable[[], FloatArray]:
    """Start to copy planes from the device; the function returned waits for them.

    A GPU goes on with the planes after them meanwhile: to copy them when they are wanted would
    wait for those, too.
    """
    if planes.device.type != "cuda":
        return lambda: planes.cpu().numpy()
    try:
        there = torch.empty(planes.shape, dtype=planes.dtype, pin_memory=True)
    except RuntimeError:  # page-locked memory is not there on every system
        return lambda: planes.cpu().numpy()
    there.copy_(planes, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()

    def wait() -> FloatArray:
        done.synchronize()
        fetched: FloatArray = there.numpy()
        return fetched

    return wait
