"""The Side views dock: a reconstruction beside the stacks that it is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scenes._window import grab, settle, window

from napari_recurrent_mz import Optics, Scan, ZGrid, reconstruct
from napari_recurrent_mz.docks.files import samples
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY, um_scale_and_place
from napari_recurrent_mz.docks.side_views.dock import SideViewsDock
from napari_recurrent_mz.io import read_image
from napari_recurrent_mz.simulation.simulate import demo_sample

_PLANES = (12, 22, 32)
_NUCLEUS = Optics(na=1.2, wavelength_um=0.455, immersion_index=1.33, pixel_um=0.5119)
_DOCK_SHARE = 0.62


def run(theme: str, size: tuple[int, int], path: Path, data: Path | None) -> None:
    """Save a picture: of the real nucleus pair where there are data, else of a simulated worm."""
    with window(theme, size) as viewer:
        _nucleus(viewer, data) if data is not None else _worm(viewer)
        viewer.dims.set_point(0, float(np.mean(viewer.dims.range[0][:2])))
        dock = SideViewsDock(viewer)
        shell = viewer.window.add_dock_widget(dock, name="Side views", area="right")
        viewer.window._qt_window.resizeDocks([shell], [int(_DOCK_SHARE * size[0])], _horizontal())
        viewer.reset_view()
        settle(viewer, until=lambda: bool(dock.shown) and not dock.is_busy)
        viewer.reset_view()
        settle(viewer)
        grab(viewer, path)


def _horizontal() -> Any:
    from qtpy.QtCore import Qt

    return Qt.Orientation.Horizontal


def _nucleus(viewer: Any, data: Path) -> None:
    """Three planes of the wide-field stack, and the volume that the network makes of them."""
    wide = read_image(data / "nucleus-hoechst-widefield.ome.tif")
    confocal = read_image(data / "nucleus-hoechst-confocal.ome.tif")
    z_um = wide.z_um
    grid = ZGrid(float(z_um[0]), float(z_um[-1]), float(z_um[1] - z_um[0]))
    scans = {float(z_um[n]): wide.data[n] for n in _PLANES}
    _add(viewer, scans, grid, _NUCLEUS, [("Wide-field", wide.data), ("Confocal", confocal.data)])


def _worm(viewer: Any) -> None:
    """The demo's worm, of which the two microscopes' stacks are simulated."""
    sample = demo_sample()
    planes = samples.scan_planes(sample)
    z_um = sample.z_um
    grid = ZGrid(float(z_um[0]), float(z_um[-1]), float(z_um[1] - z_um[0]))
    scans = {float(z_um[n]): sample.widefield[n] for n in planes}
    stacks = [("Wide-field", sample.widefield), ("Confocal", sample.confocal)]
    _add(viewer, scans, grid, sample.optics, stacks)


def _add(viewer: Any, scans: dict[float, Any], grid: ZGrid, optics: Optics, stacks: Any) -> None:
    volume = reconstruct(
        [Scan(image, z_um=z) for z, image in scans.items()],
        grid,
        optics=optics,
        method="recurrent-mz",
    )
    place = um_scale_and_place(grid.step_um, optics.pixel_um, grid.start_um)
    known = {METADATA_KEY: {"scans": [{"name": "", "z_um": z} for z in scans]}}
    for name, pixels in stacks:
        viewer.add_image(pixels, name=name, **place)
    viewer.add_image(volume, name="Recurrent-MZ, 3 scans", metadata=known, **place)
