"""Sample data for napari's File menu, simulated on the spot: nothing is downloaded."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ._layers import METADATA_KEY, um_scale_and_place

LayerData = tuple[npt.NDArray[np.float32], dict[str, Any], str]

SCAN_COUNT = 3


def scan_planes(count: int) -> list[int]:
    """The planes of the demo's stack that serve as scans, evenly over its depth."""
    return [round(p) for p in np.linspace(0.1 * (count - 1), 0.9 * (count - 1), SCAN_COUNT)]


@cache
def demo() -> Any:
    """The demo's simulated sample, computed once."""
    from ..simulate import demo_sample

    return demo_sample()


def three_scans() -> list[LayerData]:
    """Three planes of the simulated stack, each at its height."""
    sample = demo()
    return [_one_scan(sample, plane) for plane in scan_planes(len(sample.z_um))]


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
