"""The FWHM dock: widths of beads in a volume from three scans and in the mechanical scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scenes._window import grab, settle, window

from napari_recurrent_mz import Optics, Scan, ZGrid, reconstruct
from napari_recurrent_mz.simulate import simulate_sample
from napari_recurrent_mz.widgets._layers import METADATA_KEY, um_scale_and_place
from napari_recurrent_mz.widgets.fwhm import FwhmDock

_OPTICS = Optics(na=1.4, wavelength_um=0.615, immersion_index=1.515, pixel_um=0.1)
_GRID = ZGrid(0.0, 5.0, 0.2)
_SCANS_UM = (1.0, 2.6, 4.2)
_SIZE = 192
_SEED = 12
_THICK_UM = 0.5  # to either side of the plane in view


def run(theme: str, size: tuple[int, int], path: Path, data: Path | None) -> None:
    """Save a picture, always of simulated beads: the real stacks hold one bead each."""
    del data
    with window(theme, size) as viewer:
        scan, made = _volumes(viewer)
        dock = FwhmDock(viewer)
        viewer.window.add_dock_widget(dock, name="FWHM", area="right")
        dock.setup.volume.choose(made)
        dock.setup.reference.choose(scan)
        settle(viewer)
        dock.check()
        dock.act()
        settle(viewer, until=lambda: dock.run is None)
        _look_at_a_bar(viewer, dock)
        viewer.reset_view()
        settle(viewer)
        grab(viewer, path)


def _volumes(viewer: Any) -> tuple[Any, Any]:
    """The simulated stack, and what linear MMSE makes of three of its planes."""
    shape = (len(_GRID), _SIZE, _SIZE)
    sample = simulate_sample(
        "beads", shape=shape, z_step_um=_GRID.step_um, optics=_OPTICS, seed=_SEED
    )
    planes = [int(np.abs(sample.z_um - z).argmin()) for z in _SCANS_UM]
    scans = [Scan(sample.widefield[n], float(sample.z_um[n])) for n in planes]
    volume = reconstruct(scans, _GRID, optics=_OPTICS, method="lmmse")
    about = um_scale_and_place(_GRID.step_um, _OPTICS.pixel_um, _GRID.start_um)
    about["metadata"] = {METADATA_KEY: {"optics": _OPTICS.as_dict()}}
    about["contrast_limits"] = np.percentile(sample.widefield, (1, 99.9)).tolist()
    scan = viewer.add_image(sample.widefield, name="Mechanical scan", **about)
    return scan, viewer.add_image(volume, name="Linear MMSE, M = 3", **about)


def _look_at_a_bar(viewer: Any, dock: FwhmDock) -> None:
    """Choose the fullest bar of the volume's lateral widths, in a view of some thickness."""
    viewer.dims.margin_left = viewer.dims.margin_right = (_THICK_UM, 0.0, 0.0)
    if dock.histograms:
        counts = dock.histograms[0].counts[0]
        dock.choose_bar("x", int(np.argmax(counts)))
