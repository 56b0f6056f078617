"""The Compare dock: linear MMSE and linear interpolation against every plane of a stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scenes._window import grab, settle, window

from napari_recurrent_mz import Optics, Scan, ZGrid, reconstruct
from napari_recurrent_mz.docks.compare.dock import CompareDock
from napari_recurrent_mz.docks.files import samples
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY, um_scale_and_place
from napari_recurrent_mz.engine.provenance import provenance
from napari_recurrent_mz.io import read_image

_NUCLEUS = "nucleus-hoechst-widefield.ome.tif"
_NUCLEUS_OPTICS = Optics(na=1.2, wavelength_um=0.455, immersion_index=1.33, pixel_um=0.5119)
_NUCLEUS_PLANES = (12, 22, 32)
_METHODS = {"lmmse": "Linear MMSE", "linear": "Linear interpolation"}


def run(theme: str, size: tuple[int, int], path: Path, data: Path | None) -> None:
    """Save a picture of the window: the simulated worm, or the real nucleus where there is one."""
    stack, z_um, planes, optics, name = _stack(data)
    with window(theme, size) as viewer:
        step = float(np.diff(z_um).mean())
        place = um_scale_and_place(step, optics.pixel_um, float(z_um[0]))
        viewer.add_image(stack, name=name, metadata={METADATA_KEY: optics.as_dict()}, **place)
        for method, title in _METHODS.items():
            _add_reconstruction(viewer, method, title, stack, z_um, planes, optics)
        dock = CompareDock(viewer)
        viewer.window.add_dock_widget(dock, name="Compare", area="right")
        dock.choose_baselines(["nearest"])
        dock.act()
        settle(viewer, until=lambda: dock.comparison is not None)
        dock.difference_of.setCurrentText(_METHODS["linear"])
        dock.add_difference()
        settle(viewer, until=lambda: len(viewer.layers) == 4)
        dock.in_view.go(float(z_um[(planes[0] + planes[1]) // 2]))
        viewer.reset_view()
        settle(viewer)
        grab(viewer, path)


def _stack(data: Path | None) -> tuple[Any, Any, tuple[int, ...], Optics, str]:
    """Every plane of a stack, its heights, the planes that are scans, the optics, a name."""
    if data is not None and (data / _NUCLEUS).exists():
        image = read_image(data / _NUCLEUS)
        return image.stack, image.z_um, _NUCLEUS_PLANES, _NUCLEUS_OPTICS, "nucleus, all planes"
    sample = samples.demo()
    planes = tuple(samples.scan_planes(sample))
    return sample.widefield, sample.z_um, planes, sample.optics, "worm, all planes"


def _add_reconstruction(
    viewer: Any,
    method: str,
    title: str,
    stack: Any,
    z_um: Any,
    planes: tuple[int, ...],
    optics: Optics,
) -> None:
    """A layer as the Reconstruct dock leaves it."""
    scans = [Scan(stack[p], float(z_um[p]), f"plane {p}") for p in planes]
    step = float(np.diff(z_um).mean())
    grid = ZGrid(float(z_um[0]), float(z_um[-1]) + step / 10, step)
    volume = reconstruct(scans, grid, optics=optics, method=method, device="cpu")
    made = provenance(
        scans, grid, optics=optics, method=method, model=None, device="cpu", seconds=0.0
    )
    place = um_scale_and_place(step, optics.pixel_um, grid.start_um)
    viewer.add_image(volume, name=title, metadata={METADATA_KEY: made}, **place)
