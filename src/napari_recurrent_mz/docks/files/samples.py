"""Sample data for napari's File menu, simulated on the spot: nothing is downloaded."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..shared.layers import METADATA_KEY, um_scale_and_place

LayerData = tuple[npt.NDArray[np.float32], dict[str, Any], str]


def scan_planes(sample: Any) -> list[int]:
    """The planes of the demo's stack that serve as scans."""
    from ...simulation.simulate import DEMO_SCANS_UM

    return [int(np.abs(sample.z_um - z).argmin()) for z in DEMO_SCANS_UM]


@cache
def demo() -> Any:
    """The demo's simulated sample, computed once."""
    from ...simulation.simulate import demo_sample

    return demo_sample()


def three_scans() -> list[LayerData]:
    """Three planes of the simulated stack, each at its height."""
    sample = demo()
    return [_one_scan(sample, plane) for plane in scan_planes(sample)]


def full_stack() -> list[LayerData]:
    """The whole simulated wide-field stack, to choose planes from and to compare with."""
    sample = demo()
    step = float(sample.z_um[1] - sample.z_um[0])
    place = um_scale_and_place(step, sample.optics.pixel_um, float(sample.z_um[0]))
    return [(sample.widefield, {"name": "worm stack", **_look(sample), **place}, "image")]


def _one_scan(sample: Any, plane: int) -> LayerData:
    z_um = float(sample.z_um[plane])
    place = um_scale_and_place(sample.optics.pixel_um, sample.optics.pixel_um, z_um)
    name = f"worm z={z_um:.1f}µm"
    return sample.widefield[plane][np.newaxis], {"name": name, **_look(sample), **place}, "image"


def _look(sample: Any) -> dict[str, Any]:
    low, high = (float(v) for v in np.percentile(sample.widefield, (0.5, 99.9)))
    return {
        "contrast_limits": (low, high),
        "metadata": {METADATA_KEY: sample.optics.as_dict()},
    }
