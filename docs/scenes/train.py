"""The Train dock while the network is adapted to a simulated, fully sampled stack."""

from __future__ import annotations

import tempfile
from pathlib import Path

from scenes._window import grab, settle, window

from napari_recurrent_mz.docks.files.samples import full_stack
from napari_recurrent_mz.docks.train.dock import TrainDock

_JUDGED = 3  # how often, until the picture is taken


def run(theme: str, size: tuple[int, int], path: Path, data: Path | None) -> None:  # noqa: ARG001
    """Take the picture."""
    with tempfile.TemporaryDirectory() as folder, window(theme, size) as viewer:
        pixels, about, _ = full_stack()[0]
        viewer.add_image(pixels, **about)
        dock = TrainDock(viewer)
        viewer.window.add_dock_widget(dock, name="Train", area="right")
        viewer.reset_view()
        settle(viewer)
        dock.result.path.value = str(Path(folder) / "my-microscope.safetensors")
        dock.act()
        settle(viewer, until=lambda: dock.run is None or len(dock.curve) >= _JUDGED)
        grab(viewer, path)
        dock.cancel()
        settle(viewer, until=lambda: dock.run is None)
