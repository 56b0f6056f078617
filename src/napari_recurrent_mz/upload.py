"""Small arrays on their way to the device, as weights of planes are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch


def uploaded(values: npt.ArrayLike, device: torch.device | None) -> torch.Tensor:
    """Copy numbers to a device, float32.

    A GPU is not waited for: other copies to it first let it finish all that it was given.
    """
    there = torch.from_numpy(np.array(values, dtype=np.float32))
    return there.to(device, non_blocking=device is not None and device.type == "cuda")
