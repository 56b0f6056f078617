"""The Reconstruct dock with a volume of a real nucleus, and the error of its voxels beside it."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from napari_recurrent_mz import Optics
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock

from ._window import grab, settle, window

_OPTICS = Optics(na=1.2, wavelength_um=0.455, immersion_index=1.333, pixel_um=0.512)
_SAMPLE = files("napari_recurrent_mz") / "docks" / "files" / "sample_data" / "nucleus.ome.tif"
_Z_UM = 7.2  # in view: between two scans


def run(theme: str, size: tuple[int, int], path: Path, data: Path | None) -> None:  # noqa: ARG001
    """Save a picture of the window to a path; ``data`` is a folder of real stacks, if any."""
    with as_file(_SAMPLE) as sample, window(theme, size) as viewer:
        dock = ReconstructDock(viewer)
        dock.remembers = False
        viewer.window.add_dock_widget(dock, name="Reconstruct", area="right")
        dock.drop([sample])
        settle(viewer, until=lambda: len(viewer.layers) == 1)
        dock.set_optics(_OPTICS, "40×/1.2 water")
        dock.ui.method.set_method("recurrent-mz")
        settle(viewer, until=lambda: dock.ui.method.model is not None)
        settle(viewer, until=dock.footer.action.isEnabled)
        for press in (dock.act, dock.add_errors):
            press()
            settle(viewer, until=lambda: dock.run is None)
        viewer.layers[0].visible = False
        viewer.layers.selection = {viewer.layers[-1]}
        viewer.grid.enabled = True
        viewer.dims.set_point(0, _Z_UM)
        viewer.reset_view()
        settle(viewer)
        grab(viewer, path)
