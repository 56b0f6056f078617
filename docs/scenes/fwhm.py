"""The FWHM dock: widths of beads in a volume from three scans and in the mechanical scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes._window import grab, settle, window

from napari_recurrent_mz import Optics, Scan, ZGrid, reconstruct
from napari_recurrent_mz.docks.fwhm.dock import FwhmDock
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY, um_scale_and_place
from napari_recurrent_mz.simulation.phantoms import add_points
from napari_recurrent_mz.simulation.simulate import Camera, imaging

_OPTICS = Optics(na=1.4, wavelength_um=0.615, immersion_index=1.515, pixel_um=0.1)
_STEP_UM = 0.1
_GRID = ZGrid(0.8, 4.2, _STEP_UM)
_SCANS_UM = (1.7, 2.5, 3.3)
_BEADS_UM = (1.6, 3.4)
_PLANES, _SIZE, _ROWS = 51, 224, 9
_SEED = 12
_THICK_UM = 0.4  # to either side of the plane in view


def run(theme: str, size: tuple[int, int], path: Path, data: Path | None) -> None:
    """Save a picture, always of simulated beads: the real stacks hold one bead each."""
    del data
    with window(theme, size) as viewer:
        scan, made = _volumes(viewer)
        dock = FwhmDock(viewer)
        viewer.window.add_dock_widget(dock, name="FWHM", area="right")
        dock.setup.form.volume.value = made
        dock.setup.form.reference.value = scan
        settle(viewer)
        dock.check()
        dock.act()
        settle(viewer, until=lambda: dock.run is None)
        _look_at_a_bar(viewer, dock)
        viewer.reset_view()
        settle(viewer)
        grab(viewer, path)


def _volumes(viewer: Any) -> tuple[Any, Any]:
    """The simulated stack, and what linear MMSE makes of three of its planes: in seconds."""
    stack = _stack()
    scans = [Scan(stack[round(z / _STEP_UM)], z) for z in _SCANS_UM]
    made = reconstruct(scans, _GRID, optics=_OPTICS, method="lmmse")
    look = {
        "metadata": {METADATA_KEY: {"optics": _OPTICS.as_dict()}},
        "contrast_limits": np.percentile(stack, (1, 99.9)).tolist(),
        "projection_mode": "max",
    }
    layers = []
    for name, volume, bottom in (
        ("Mechanical scan", stack, 0.0),
        ("Linear MMSE, M = 3", made, _GRID.start_um),
    ):
        place = um_scale_and_place(_STEP_UM, _OPTICS.pixel_um, bottom)
        layers.append(viewer.add_image(volume, name=name, **place, **look))
    return layers[0], layers[1]


def _stack() -> Any:
    """Sub-resolution beads at random places around a grid, each at its own height."""
    rng = np.random.default_rng(_SEED)
    microscope = imaging(_OPTICS, planes=_PLANES, size=_SIZE, z_step_um=_STEP_UM)
    nodes = np.stack(np.meshgrid(*2 * [np.arange(_ROWS) + 0.5], indexing="ij"), -1).reshape(-1, 2)
    lateral = (nodes + rng.uniform(-0.22, 0.22, nodes.shape)) * _SIZE / _ROWS
    height = rng.uniform(*_BEADS_UM, len(nodes)) / _STEP_UM
    deep, wide = microscope.margin
    sample = microscope.space.empty()
    places = np.column_stack([height + deep, lateral + wide])
    add_points(sample, places, rng.lognormal(0, 0.2, len(nodes)))
    light = microscope.image(sample)
    noise = torch.Generator().manual_seed(_SEED)
    return Camera(photons=4000).expose(light / light.max(), noise).numpy()


def _look_at_a_bar(viewer: Any, dock: FwhmDock) -> None:
    """Choose the fullest bar of the volume's lateral widths, in a view of some thickness."""
    viewer.dims.margin_left = viewer.dims.margin_right = (_THICK_UM, 0.0, 0.0)
    if dock.histograms:
        counts = dock.histograms[0].counts[0]
        dock.choose_bar("x", int(np.argmax(counts)))
