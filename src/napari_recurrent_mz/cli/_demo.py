"""``recurrent-mz demo``: the whole path on a simulated sample, with a window or without."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..scans import InputError, Scan, ZGrid
from . import _common, _demo_live

METHODS = ("recurrent-mz", "lmmse", "linear")


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="show the whole path on a simulated sample",
        description="Open napari with sample scans in place and reconstruct them; nothing is "
        "downloaded.",
    )
    parser.add_argument(
        "--no-show",
        action="store_true",
        help="open no window: write the volume and print the comparison of methods",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="let a simulated microscope scan by itself until another scan no longer pays",
    )
    parser.add_argument("--screenshot", metavar="PNG", help="save a picture of the whole window")
    parser.add_argument(
        "-o",
        "--output",
        default="volume.ome.tif",
        metavar="FILE",
        help="with --no-show: the volume (default: volume.ome.tif)",
    )
    _common.add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Open the demo's window, or do the same without one."""
    if arguments.no_show:
        (_demo_live.without_window if arguments.live else _without_window)(arguments)
        return
    try:
        from ..widgets._live_demo import run_live_demo
        from ..widgets.demo import run_demo
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("napari", "qtpy", "magicgui", "superqt"):
            raise
        raise InputError(
            "The demo's window needs napari with Qt: pip install 'napari-recurrent-mz[all]', "
            "or use --no-show."
        ) from error
    picture = Path(arguments.screenshot) if arguments.screenshot else None
    if picture is not None and not picture.resolve().parent.is_dir():
        raise InputError(f"The folder of '{picture}' does not exist: make it first.")
    options = {"screenshot": picture, "model": arguments.model, "device": arguments.device}
    if arguments.live:
        _demo_live.told(run_live_demo(_demo_live.GRID, max_scans=_demo_live.MOST, **options))
        return
    outcome = run_demo(**options)
    if outcome.state == "failed":
        raise InputError(outcome.sentence)


def _without_window(arguments: argparse.Namespace) -> None:
    import numpy as np

    from ..device import choose_device
    from ..evaluation import evaluate
    from ..inference import Plane
    from ..io import check_output, write_volume
    from ..provenance import provenance
    from ..simulate import DEMO_SCANS_UM, demo_sample
    from ..weights import load_model

    output = check_output(arguments.output)
    model = load_model(arguments.model)
    sample = demo_sample()
    planes = [int(np.abs(sample.z_um - z).argmin()) for z in DEMO_SCANS_UM]
    volume = np.empty_like(sample.widefield)
    volume[planes] = sample.widefield[planes]

    def keep(method: str, plane: Plane) -> None:
        if method == "recurrent-mz":
            volume[plane.index] = plane.pixels

    with _common.Progress("plane") as progress:
        found = evaluate(
            sample.widefield,
            sample.z_um,
            planes,
            optics=sample.optics,
            methods=METHODS,
            model=model,
            device=arguments.device,
            on_progress=progress,
            on_plane=keep,
        )
    z_um = sample.z_um
    grid = ZGrid(float(z_um[0]), float(z_um[-1]), float(z_um[1] - z_um[0]))
    scans = [Scan(volume[p], float(z_um[p]), f"{sample.kind} plane {p}") for p in planes]
    seconds = found.methods["recurrent-mz"].seconds
    made = provenance(
        scans,
        grid,
        optics=sample.optics,
        method="recurrent-mz",
        model=model,
        device=choose_device(arguments.device),
        seconds=seconds,
    )
    write_volume(output, volume, z_um, sample.optics.pixel_um, made)
    line = _common.result_line(str(output), volume.shape, grid, "recurrent-mz", len(scans), seconds)
    heights = ", ".join(f"{scan.z_um:g}" for scan in scans)
    print(f"{line}\n\nAgainst the simulated stack, from its planes at z = {heights} µm:")
    print(found.table())
