"""The Live dock after a simulated microscope has scanned by itself, with the side views."""

from __future__ import annotations

from pathlib import Path

from napari_recurrent_mz.cli._demo import GRID, MOST
from napari_recurrent_mz.docks.demo.windows import run_live_demo


def run(theme: str, size: tuple[int, int], path: Path, data: Path | None) -> None:  # noqa: ARG001
    """Save a picture of the window, as ``recurrent-mz demo --live --screenshot`` does."""
    run_live_demo(GRID, max_scans=MOST, screenshot=path, theme=theme, size=size)
