"""The Reconstruct dock after both colours of a simulated stack have become volumes at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from napari_recurrent_mz import Optics
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.io import Channel, Place, write_channels
from napari_recurrent_mz.simulation.simulate import simulate_sample

from ._window import grab, settle, window

_OPTICS = Optics(na=1.4, wavelength_um=0.461, immersion_index=1.515, pixel_um=0.103)
_COLOURS = (("DAPI", "nuclei", 0.461), ("GFP", "membranes", 0.509))
_STEP_UM, _PLANES = 0.2, 41
_Z_UM = 4.6  # in view: between two scans


def run(theme: str, size: tuple[int, int], path: Path, data: Path | None) -> None:  # noqa: ARG001
    """Save a picture of the window to a path; ``data`` is a folder of real stacks, if any."""
    with TemporaryDirectory() as folder, window(theme, size) as viewer:
        make_volumes(viewer, ready_dock(viewer, Path(folder)))
        viewer.reset_view()
        settle(viewer)
        grab(viewer, path)


def ready_dock(viewer: Any, folder: Path) -> ReconstructDock:
    """A dock in a window, with scans of both colours."""
    dock = ReconstructDock(viewer)
    dock.remembers = False
    viewer.window.add_dock_widget(dock, name="Reconstruct", area="right")
    dock.drop([_two_colours(folder)])
    settle(viewer, until=lambda: len(viewer.layers) == len(_COLOURS))
    dock.set_optics(_OPTICS, "63×/1.4 oil")
    dock.ui.method.set_method("recurrent-mz")
    settle(viewer, until=lambda: dock.ui.method.model is not None)
    settle(viewer, until=dock.footer.action.isEnabled)
    return dock


def make_volumes(viewer: Any, dock: ReconstructDock) -> None:
    """Press the button, and show both volumes."""
    dock.act()
    settle(viewer, until=lambda: dock.run is None)
    for layer in viewer.layers[-2:]:
        layer.contrast_limits = [float(v) for v in np.percentile(layer.data, (50, 99.9))]
    viewer.dims.set_point(0, _Z_UM)


def _two_colours(folder: Path) -> Path:
    """A stack of two colours, as an OME-TIFF that says what they are."""
    channels, records = [], []
    for seed, (name, kind, wavelength_um) in enumerate(_COLOURS):
        optics = replace(_OPTICS, wavelength_um=wavelength_um)
        shape = (_PLANES, 256, 256)
        sample = simulate_sample(kind, shape=shape, z_step_um=_STEP_UM, optics=optics, seed=seed)
        channels.append(Channel(sample.widefield, name))
        records.append({"optics": optics.as_dict()})
    place = Place(_OPTICS.pixel_um, _STEP_UM * np.arange(_PLANES))
    return write_channels(folder / "two-colours.ome.tif", channels, place, {"channels": records})
