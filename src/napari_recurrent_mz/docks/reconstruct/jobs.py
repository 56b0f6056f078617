"""From what the dock shows to a job that can run, or to the sentence that says why not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.device import check_memory
from ...core.methods import METHOD_NAMES, image_made, method_of
from ...core.scans import InputError, Scan, ZGrid, check_scans, require_several
from ...engine.recipe import Recipe
from ...io import check_disk, disk_bytes
from ..shared.grid_panel import in_words, size_in_words
from ..shared.layers import common_name, known_metadata, lateral_origin_um
from ..shared.layers import pixel_um as layer_pixel_um
from ..shared.method_panel import MethodPanel
from ..shared.result import order_from, plane_in_view
from ..shared.scan_table import Row
from ..shared.targets import VolumeJob
from .layout import ReconstructLayout

_PREVIEW_S = 2.0
_ONE_CHANNEL = {"na": "NA", "wavelength_um": "emission wavelength (µm)"}


def build_job(ui: ReconstructLayout, viewer: Any, *, preview: bool) -> VolumeJob:
    """The job that the dock describes; a preview is linear MMSE, in about two seconds."""
    scans = scans_of(ui.table.scans.used())
    method = method_of("lmmse" if preview else ui.method.method_key())
    optics = ui.optics.optics() if method.needs_optics else None
    pixel_um = ui.optics.pixel_um()  # the one value that every method needs
    grid = ui.grid.grid()
    if preview:
        grid = _coarser(ui, grid, scans)
    shape = scans[0].pixels.shape
    output = None
    if preview or not ui.result.is_on_disk:
        _check_memory(grid, shape, is_preview=preview)
    else:
        output = ui.result.output(layers_name(ui, method.key))
        check_disk(output, (len(grid), shape[0], shape[1]))
    order = order_from(plane_in_view(viewer, grid), len(grid))
    model = ui.method.model_name() if method.needs_model else None
    device = ui.method.device_choice() if method.needs_optics else "cpu"
    recipe = Recipe(scans, grid, optics, method.key, model, device, pixel_um)
    return VolumeJob(recipe, order, output)


def _check_memory(grid: ZGrid, shape: tuple[int, ...], *, is_preview: bool) -> None:
    try:
        check_memory(grid, shape)
    except InputError as error:
        if is_preview:
            raise
        raise InputError(f"{str(error).removesuffix('.')}, or tick “Write to disk”.") from error


def layers_name(ui: ReconstructLayout, method: str) -> str:
    """What the volume is called: what the scans' names have in common, and the method."""
    rows = ui.table.scans.used()
    names = [row.layer.name for row in rows if row.layer is not None]
    return f"{common_name(names) or 'Volume'} · {title_of(ui.method, method)}"


def title_of(panel: MethodPanel, method: str) -> str:
    """What a result is called: its method, and whether its planes are confocal-like."""
    confocal = image_made(method, panel.model) == "confocal"
    return METHOD_NAMES[method] + (" (confocal-like)" if confocal else "")


def scans_of(rows: Sequence[Row]) -> tuple[Scan, ...]:
    """The scans of these rows; InputError if a height is missing or they do not go together."""
    for row in rows:
        if row.z_um is None:
            raise InputError(
                f"The z position of '{row.name}' is missing: type its height in µm in the table."
            )
    scans = check_scans(row.scan() for row in rows)
    require_several(scans)
    known = ((row.name, layer_pixel_um(row.layer)) for row in rows if row.layer is not None)
    sizes = {f"{size:.3g}": name for name, size in known if size is not None}
    if len(sizes) > 1:
        pairs = " and ".join(f"'{name}' has {size} µm" for size, name in sizes.items())
        raise InputError(f"The scans differ in pixel size ({pairs}): all must have the same one.")
    return scans


def warnings_about(ui: ReconstructLayout, job: VolumeJob) -> list[str]:
    """What to mind: outside the trained range, far beyond the scans, scans that lie apart."""
    from ...engine.check import notes_before

    recipe = job.recipe
    model = ui.method.model if recipe.chosen.needs_model else None
    ends = (job.grid.start_um, job.grid.stop_um)
    notes = notes_before(recipe.scans, ends, ui.optics.known(), model)
    return notes + scan_warnings(ui.table.scans.used(), ui.optics.pixel_um())


def scan_warnings(rows: Sequence[Row], pixel_um: float) -> list[str]:
    """What to mind about the layers of the scans: their pixels and their places."""
    layers = list({id(row.layer): row.layer for row in rows if row.layer is not None}.values())
    sentences = [
        f"The pixel size is {pixel_um:g} µm here but {size:g} µm in the layers: the volume takes "
        "the one here."
        for size in map(layer_pixel_um, layers)
        if size is not None and abs(size - pixel_um) > 0.01 * size
    ][:1]
    for name, words in _ONE_CHANNEL.items():
        stated = {one.name: known_metadata(one).get(name) for one in layers}
        values = {f"{value:.4g}": layer for layer, value in stated.items() if value is not None}
        if len(values) > 1:
            pairs = [f"{value} in '{layer}'" for value, layer in values.items()]
            sentences.append(
                f"The {words} differs between the scans ({' and '.join(pairs[:2])}): are they of "
                "one channel?"
            )
    places = [lateral_origin_um(layer) for layer in layers]
    if np.ptp(places, axis=0).max() > pixel_um / 2:
        sentences.append(
            "The scans lie at different places in x and y: they are taken as aligned, pixel on "
            "pixel."
        )
    return sentences


def cost_in_words(ui: ReconstructLayout, job: VolumeJob) -> str:
    """Planes, memory and expected time."""
    recipe, count = job.recipe, len(job.grid)
    y, x = recipe.shape
    words = f"{count} plane" + ("s" if count > 1 else "")
    if job.output is None:
        words += f" · {size_in_words(4e-6 * count * y * x)} of memory"
    else:
        words += f" · up to {size_in_words(1e-6 * disk_bytes((count, y, x)))} of disk"
    seconds = _seconds(ui, recipe.scans, count, recipe.method, recipe.device)
    if seconds is None:
        return words
    about = "about " if seconds >= 1 else ""
    return f"{words} · {about}{in_words(seconds)}"


def is_incomplete(rows: Sequence[Row]) -> bool:
    """Whether the table is only unfinished, which is no mistake."""
    return len(rows) < 2 or any(row.z_um is None for row in rows)


def _coarser(ui: ReconstructLayout, grid: ZGrid, scans: Sequence[Scan]) -> ZGrid:
    """Leave planes out so that the preview takes about two seconds."""
    seconds = _seconds(ui, scans, len(grid), "lmmse", ui.method.device_choice())
    every = math.ceil((seconds or 0.0) / _PREVIEW_S)
    if every <= 1 or len(grid) == 1:
        return grid
    steps = math.ceil((len(grid) - 1) / every)
    last_um = float(grid.z_um[-1])
    return ZGrid(grid.start_um, last_um, (last_um - grid.start_um) / steps)


def _seconds(
    ui: ReconstructLayout, scans: Sequence[Scan], planes: int, method: str, device: str
) -> float | None:
    """The expected time; None while torch or the model is still loading in its thread."""
    model = ui.method.model
    if not ui.method.is_ready or (method_of(method).needs_model and model is None):
        return None
    from ...core.device import choose_device
    from ...engine.cost import estimate_cost

    shape, where = scans[0].pixels.shape, choose_device(device)
    return estimate_cost(shape, len(scans), planes, method, where, model).seconds
