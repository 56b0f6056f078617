"""A volume that may not fit in memory: from scans to a file, plane after plane."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..core.device import choose_device
from ..core.methods import DEFAULT_METHOD
from ..core.optics import Optics
from ..core.scans import Scan, ZGrid
from ..io import PlaneWriter, VolumeWriter
from ..networks.weights import Model
from .check import OwnSampleCheck
from .inference import Note, Plane, loaded, run, tell
from .recipe import Recipe


def reconstruct_to(
    path: str | os.PathLike[str],
    scans: Sequence[Scan],
    grid: ZGrid,
    *,
    optics: Optics | None = None,
    pixel_um: float | None = None,
    model: Model | str | Path | None = None,
    method: str = DEFAULT_METHOD,
    device: str = "auto",
    inputs: Iterable[str | os.PathLike[str]] = (),
    on_progress: Callable[[int, int], None] | None = None,
    on_message: Callable[[str], None] | None = None,
    on_check: Callable[[OwnSampleCheck], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> Path:
    """Fill a grid of heights from a few scans, straight to a file.

    What :func:`~.reconstruct` returns is written plane after plane instead:
    the volume is never in memory. It lies where the first scan does, if that knows it: scans
    that are read from files do. The file appears under its name when it is whole; when this
    ends in any other way, nothing stays.

    Parameters
    ----------
    path : path
        Ends in ``.ome.zarr`` (OME-Zarr, for whatever is large) or ``.ome.tif`` (OME-TIFF).
    scans, grid, optics, model, method, device, on_message, on_check
        As in :func:`~.iter_planes`.
    pixel_um : float, optional
        Pixel size in micrometres, for methods that need no ``optics``.
    inputs : iterable of path
        Files that must not be overwritten.
    on_progress : callable, optional
        Called with the number of planes done and of all planes.
    stopped : callable, optional
        Asked before every plane and every tile; True ends in
        :class:`~.Stopped`.

    Raises
    ------
    InputError
        If the input does not make sense, or the disk is closed, too small or refuses.

    Examples
    --------
    >>> reconstruct_to("volume.ome.zarr", scans, ZGrid(0, 10, 0.1), optics=optics)
    PosixPath('volume.ome.zarr')    # doctest: +SKIP
    """
    recipe = Recipe(scans, grid, optics, method, model, device, pixel_um)
    place_um, pixel_um = recipe.scans[0].place_um, recipe.pixel_size_um
    return reconstruct_into(
        lambda shape: VolumeWriter(
            path, shape, grid.z_um, pixel_um, inputs=inputs, origin_um=place_um
        ),
        recipe,
        on_progress=on_progress,
        on_message=on_message,
        on_check=on_check,
        stopped=stopped,
    )


def reconstruct_into(
    opened: Callable[[tuple[int, int, int]], PlaneWriter],
    recipe: Recipe,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_message: Callable[[str], None] | None = None,
    on_check: Callable[[OwnSampleCheck], None] | None = None,
    before_finish: Callable[[dict[str, Any]], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> Path:
    """Fill a grid of heights from a few scans, straight to where ``opened`` says.

    Parameters
    ----------
    opened : callable
        Gets the shape (Z, Y, X) once all else is checked; what it returns takes the planes, and
        at the end how they were made.
    recipe : Recipe
        Its target is a grid.
    on_progress, on_message, on_check, stopped
        As in :func:`reconstruct_to`.
    before_finish : callable, optional
        Given the provenance once all planes are there; what it raises leaves nothing behind.

    Raises
    ------
    InputError
        As :func:`reconstruct_to`.
    """
    grid = recipe.target
    assert isinstance(grid, ZGrid)
    recipe, check, done = loaded(recipe), None, 0
    device, planes = choose_device(recipe.device), len(grid)
    began = time.perf_counter()
    notes = list[str]()
    events = run(recipe, stopped=stopped)
    with opened((planes, *recipe.shape)) as volume:
        for event in events:
            tell(event, on_message, on_check)
            if isinstance(event, OwnSampleCheck):
                check = event
            elif isinstance(event, Note):
                notes.append(event.sentence)
            elif isinstance(event, Plane):
                volume[event.index] = event.pixels
                done += 1
                if on_progress is not None:
                    on_progress(done, planes)
        seconds = time.perf_counter() - began
        record = recipe.provenance(device, seconds, check)
        if notes:
            record["notes"] = notes
        if before_finish is not None:
            before_finish(record)
        return volume.finish(record)
