"""``recurrent-mz demo``: every step on a simulated sample, with a window or without."""

from __future__ import annotations

import math
import signal
from typing import Annotated, Any

import numpy as np

from ..acquisition import Ended, Refined, acquire, simulated_microscope, simulated_sample
from ..core.device import choose_device
from ..core.scans import InputError, Scan, ZGrid
from ..engine.recipe import Recipe
from ..io import check_output, write_volume
from ._common import OUTPUT, NetworkOptions, folder_of
from ._options import Option
from ._terminal import Progress, result_line

METHODS = ("recurrent-mz", "lmmse", "linear")
GRID = ZGrid(0.0, 10.0, 0.2)
"""The planes of the live demo's volume: the sample's depth, half a depth of field apart."""

MOST = 10
"""Most scans of the live demo."""


def demo(
    *,
    no_show: Annotated[
        bool, Option("open no window: write the volume, and print how the methods compare")
    ] = False,
    live: Annotated[
        bool, Option("let a simulated microscope scan by itself until another scan is not worth it")
    ] = False,
    screenshot: Annotated[str | None, Option("save a picture of the whole window", "PNG")] = None,
    output: Annotated[str, Option("with --no-show: its volume", names=OUTPUT)] = "volume.ome.tif",
    network: NetworkOptions,
) -> None:
    """Show every step on a simulated sample.

    Open napari with sample scans in place and reconstruct them; nothing is downloaded.
    """
    if no_show:
        _live_without_window(network) if live else _without_window(output, network)
        return
    try:
        from ..docks.demo.windows import run_demo, run_live_demo
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("napari", "qtpy", "magicgui", "superqt"):
            raise
        raise InputError(
            "The demo's window needs napari with Qt: pip install 'napari-recurrent-mz[all]', "
            "or use --no-show."
        ) from error
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which the loop of a window would not hear
    picture = folder_of(screenshot) if screenshot else None
    model, device = network.model, network.device
    if live:
        ended = run_live_demo(GRID, max_scans=MOST, screenshot=picture, model=model, device=device)
        _print_end(ended)
        return
    outcome = run_demo(screenshot=picture, model=model, device=device)
    if outcome.state == "failed":
        raise InputError(outcome.sentence)


def _without_window(output: str, network: NetworkOptions) -> None:
    from ..engine.inference import Plane
    from ..measure.evaluation import evaluate
    from ..networks.weights import load_model
    from ..simulation import DEMO_SCANS_UM
    from ..simulation.simulate import demo_sample

    path, method = check_output(output), METHODS[0]
    model, sample = load_model(network.model), demo_sample()
    z_um, optics = sample.z_um, sample.optics
    planes = [int(np.abs(z_um - z).argmin()) for z in DEMO_SCANS_UM]
    volume = np.empty_like(sample.widefield)
    volume[planes] = sample.widefield[planes]

    def keep(by: str, plane: Plane) -> None:
        if by == method:
            volume[plane.index] = plane.pixels

    with Progress("plane") as progress:
        comparison = evaluate(
            sample.widefield,
            z_um,
            planes,
            optics=optics,
            methods=METHODS,
            model=model,
            device=network.device,
            on_progress=progress,
            on_plane=keep,
        )
    grid = ZGrid(float(z_um[0]), float(z_um[-1]), float(z_um[1] - z_um[0]))
    scans = [Scan(volume[p], float(z_um[p]), f"{sample.kind} plane {p}") for p in planes]
    seconds = comparison.methods[method].seconds
    recipe = Recipe(scans, grid, optics, method, model, network.device)
    provenance = recipe.provenance(choose_device(network.device), seconds)
    write_volume(path, volume, z_um, optics.pixel_um, provenance)
    heights = ", ".join(f"{scan.z_um:g}" for scan in scans)
    print(result_line(path, volume.shape, grid, method, len(scans), seconds))
    print(
        f"\nAgainst the simulated stack, from its planes at z = {heights} µm:\n{comparison.table()}"
    )


def _live_without_window(network: NetworkOptions) -> None:
    """Let the simulated microscope scan, and print what every scan changed."""
    from ..engine.session import Session

    sample = simulated_sample()
    microscope = simulated_microscope(sample)
    session = Session(GRID, optics=sample.optics, model=network.model, device=network.device)
    ended: Any = None
    with Progress("scan") as progress:
        for event in acquire(session, microscope, max_scans=MOST):
            if isinstance(event, Refined):
                progress(event.number, MOST)
            ended = event
    print("scan     z (µm)  change (%)  seconds")
    for number, entry in enumerate(session.history, start=1):
        change = entry.relative_change
        percent = f"{100 * change:10.2f}" if math.isfinite(change) else f"{'first':>10}"
        print(f"{number:4} {entry.z_um[-1]:10.2f}  {percent}  {entry.seconds:7.1f}")
    _print_end(ended)


def _print_end(ended: Ended) -> None:
    """How a run of the microscope ended; one sentence if it failed."""
    if ended.reason == "failed":
        raise InputError(ended.sentence)
    print(f"{ended.sentence} {ended.stage}".strip())
