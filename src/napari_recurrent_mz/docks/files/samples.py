"""Sample data for napari's File menu: they come with this package, and open at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import Array
from ...core.optics import Optics
from ...io import read_image
from ...simulation import DEMO_SCANS_UM
from ..shared.file_layers import LayerData
from ..shared.layers import METADATA_KEY, thickness_um, um_scale_and_place

_FOLDER = Path(__file__).with_name("sample_data")  # its README says where they are from
_NUCLEUS_SCANS = (12, 22, 32)


@dataclass(frozen=True, eq=False)
class SampleStack:
    """A fully sampled wide-field stack (Z, Y, X), from which a few planes can be scans."""

    widefield: npt.NDArray[np.uint16]
    z_um: Array
    optics: Optics


def scan_planes(sample: SampleStack) -> list[int]:
    """The planes of the demo's stack that serve as scans."""
    return [int(np.abs(sample.z_um - z).argmin()) for z in DEMO_SCANS_UM]


@cache
def demo() -> SampleStack:
    """The demo's worm, simulated by ``simulation.simulate.demo_sample``, in whole counts."""
    return _read("worm", na=1.4, wavelength_um=0.519, immersion_index=1.515)


@cache
def nucleus() -> SampleStack:
    """A real nucleus, stained with Hoechst."""
    return _read("nucleus", na=1.2, wavelength_um=0.455, immersion_index=1.333)


def three_scans() -> list[LayerData]:
    """Three planes of the simulated stack, each at its height."""
    return _scans(demo(), scan_planes(demo()), "worm")


def full_stack() -> list[LayerData]:
    """The whole simulated wide-field stack, to choose planes from and to compare with."""
    return _stack(demo(), "worm stack")


def nucleus_scans() -> list[LayerData]:
    """Three planes of the real stack, each at its height."""
    return _scans(nucleus(), _NUCLEUS_SCANS, "nucleus")


def nucleus_stack() -> list[LayerData]:
    """The whole real wide-field stack."""
    return _stack(nucleus(), "nucleus stack")


def _read(name: str, **optics: float) -> SampleStack:
    image = read_image(_FOLDER / f"{name}.ome.tif")
    assert image.z_um is not None  # the files say both
    assert image.pixel_um is not None
    return SampleStack(
        image.data, np.asarray(image.z_um), Optics(pixel_um=image.pixel_um, **optics)
    )


def _stack(sample: SampleStack, name: str) -> list[LayerData]:
    step = float(sample.z_um[1] - sample.z_um[0])
    place = um_scale_and_place(step, sample.optics.pixel_um, float(sample.z_um[0]))
    return [(sample.widefield, {"name": name, **_look(sample), **place}, "image")]


def _scans(sample: SampleStack, planes: Sequence[int], name: str) -> list[LayerData]:
    layers: list[LayerData] = []
    for plane in planes:
        z_um, pixel_um = float(sample.z_um[plane]), sample.optics.pixel_um
        place = um_scale_and_place(thickness_um(pixel_um), pixel_um, z_um)
        about = {"name": f"{name} z={z_um:.1f}µm", **_look(sample), **place}
        layers.append((sample.widefield[plane][np.newaxis], about, "image"))
    return layers


def _look(sample: SampleStack) -> dict[str, Any]:
    low, high = (float(v) for v in np.percentile(sample.widefield, (0.5, 99.9)))
    return {
        "contrast_limits": (low, high),
        "metadata": {METADATA_KEY: sample.optics.as_dict()},
    }
