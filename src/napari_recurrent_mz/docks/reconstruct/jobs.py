"""From what the dock shows to a job that can run, or to the sentence that says why not."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from ...core.device import check_memory, choose_device
from ...core.errors import if_possible, size_in_words, together
from ...core.methods import ERROR_IMAGE, method_of
from ...core.optics import Optics
from ...core.scans import InputError, ZGrid, counted
from ...engine.recipe import Recipe
from ...io import check_disk, disk_bytes
from ..shared import layers as _layers
from ..shared.file_names import common_name
from ..shared.places import planes_from_view
from ..shared.scan_table import Row, layers_of, scan_warnings, scans_of
from .channels import Channel, ChannelsPanel
from .layout import ReconstructLayout
from .result import Planned, look_of
from .steps import MadeVolume, ScanPixels, VolumeJob

if TYPE_CHECKING:
    from ...engine.cost import Cost

_PREVIEW_S = 2.0


Beside = Callable[[ReconstructLayout, Image, VolumeJob], Planned]
"""Of a dock, a finished volume and its job, what comes beside it."""


def build_jobs(ui: ReconstructLayout, viewer: Any, *, preview: bool) -> list[Planned]:
    """The jobs that the dock describes, one for each channel that is ticked."""
    rows = ui.table.scans.used()
    used = ui.channels.used() or [Channel({}, is_main=True)]
    channels = used[:1] if preview else used
    several = len(channels) > 1
    planned: list[Planned] = []
    for number, channel in enumerate(channels, 1):
        job = _job(ui, viewer, rows, channel, _outputs(planned), preview=preview)
        meant = used if preview else [channel]  # a preview stands in for all of them
        layers = [layer for one in meant for layer in layers_of(one.rows(rows))]
        title = ui.method.title(job.recipe.method)
        name = (
            f"Preview ({title})"
            if preview
            else _name(ui, layers, job.recipe.method, job.time_point)
        )
        prefix = f"{channel.name} ({number}/{len(channels)}), " if several else ""
        about = name, layers[0], look_of(layers[0]), title
        planned.append(Planned(job, *about, layers, prefix))
    _check_memory(planned, is_preview=preview)
    return planned


def errors_beside(ui: ReconstructLayout, volume: Image, made: VolumeJob) -> Planned:  # noqa: ARG001
    """The expected error of every voxel of a finished volume."""
    from ...engine.voxel_errors import check_known

    check_known(made.recipe)
    _layers.check_is_there(volume)
    pixels = _layers.sliceable(_layers.full_resolution(volume))
    errors_of = MadeVolume(pixels, {**_layers.known_metadata(volume), "image": ERROR_IMAGE})
    # Its lowest colour is no black, which would look as if nothing were known there.
    look = {"colormap": "viridis", "blending": "translucent_no_depth"}
    job = replace(made, errors_of=errors_of)
    return Planned(job, f"{volume.name} · error", volume, look, "Voxel errors")


def interpolation_beside(ui: ReconstructLayout, volume: Image, made: VolumeJob) -> Planned:
    """Linear interpolation of the scans of a finished volume."""
    recipe = replace(made.recipe, method="linear", model=None, device="cpu")
    title = ui.method.title("linear")
    name = f"{volume.name.partition(' · ')[0]} · {title}"
    look = {**look_of(volume), "contrast_limits": volume.contrast_limits}
    return Planned(replace(made, recipe=recipe), name, volume, look, title)


def put_beside(
    ui: ReconstructLayout, viewer: Any, made: Mapping[Image, VolumeJob], what: Beside
) -> list[Planned]:
    """Jobs of what comes beside finished volumes, to where those are."""
    planned: list[Planned] = []
    for volume, job in made.items():
        one, grid = what(ui, volume, job), job.grid
        output = None
        if job.output is not None:
            output = ui.result.output(one.name, _outputs(planned))
            check_disk(output, (job.planes, *job.recipe.shape))
        order = planes_from_view(viewer, grid)
        job = replace(one.job, output=output, order=order)
        planned.append(replace(one, job=job, is_beside=True))
    _check_memory(planned)
    return planned


def _outputs(planned: Sequence[Planned]) -> list[Path]:
    return [one.job.output for one in planned if one.job.output is not None]


def _job(
    ui: ReconstructLayout,
    viewer: Any,
    rows: Sequence[Row],
    channel: Channel,
    taken: Collection[Path],
    *,
    preview: bool,
) -> VolumeJob:
    """The job of one channel."""
    frame = frame_in_view(viewer, ui.channels)
    lapse = not preview and ui.channels.takes_all_times
    time_point = None if lapse or ui.channels.frames < 2 else frame
    rows = channel.rows(rows)
    _check_frames(layers_of(rows))
    scans = scans_of(rows, 0 if lapse else frame)
    method = method_of("lmmse" if preview else ui.method.method_key())
    own = partial(channel_optics, ui, channel) if method.needs_optics else ui.optics.pixel_um
    found, grid = together(own, ui.grid.grid)
    if method.needs_optics:
        optics, pixel_um = found, found.pixel_um
    else:  # what is known of them goes into the record
        optics, pixel_um = if_possible(channel_optics, ui, channel), found
    needed, region = ui.method.needed(method), ui.region.region(layers_of(rows)[0])
    recipe = Recipe(scans, grid, optics, method.key, *needed, pixel_um, region)
    if preview:
        grid = _coarser(ui, recipe, grid)
        recipe = replace(recipe, target=grid)
    order = planes_from_view(viewer, grid)
    frames = ui.channels.frames if lapse else 1
    output = None
    if not preview and ui.result.is_on_disk:
        name = _name(ui, layers_of(rows), method.key, time_point)
        output = ui.result.output(name, taken)
        y, x = recipe.shape
        check_disk(output, (frames * len(grid), y, x))
    lapse_rows = tuple(map(_pixels, rows)) if lapse else ()
    lowest = layers_of(rows)[0]
    origin_um = _layers.lateral_origin_um(lowest)
    if region is not None:
        origin_um = region.place_um(recipe.pixel_size_um, origin_um)
    about = ui.result.ngff, origin_um, _layers.time_step_s(lowest), _layers.first_point(lowest)
    return VolumeJob(recipe, order, output, lapse_rows, frames, *about, time_point)


def _check_frames(layers: Sequence[Image]) -> None:
    """Refuse time-lapses of which one is shorter than another."""
    for other in layers[1:]:
        first = layers[0]
        count, others = _layers.frame_count(first), _layers.frame_count(other)
        if others != count:
            raise InputError(
                f"'{first.name}' has {counted(count, 'time point')} but '{other.name}' has "
                f"{others}: all scans must have the same number."
            )


def _pixels(row: Row) -> ScanPixels:
    """The pixels of a row at every time point."""
    assert row.layer is not None  # scans_of has made sure of it
    heights = tuple(map(row.height_um, range(_layers.frame_count(row.layer))))
    return ScanPixels(_layers.full_resolution(row.layer), row.plane, heights, row.name)


def channel_optics(ui: ReconstructLayout, channel: Channel) -> Optics:
    """The optics of the dock with the emission wavelength of a channel."""
    optics = ui.optics.optics()
    if channel.is_main:
        return optics
    wavelength_um = channel.wavelength_um
    if wavelength_um is None:
        raise InputError(
            f"The emission wavelength of '{channel.name}' is missing: type it in the list of "
            "channels, or untick it."
        )
    return replace(optics, wavelength_um=wavelength_um)


def finest_optics(ui: ReconstructLayout) -> Optics | None:
    """The optics of the channel of the finest detail, among those that are known."""
    optics = [if_possible(channel_optics, ui, channel) for channel in ui.channels.used()]
    known = [one for one in optics if one is not None]
    return min(known, key=lambda one: one.depth_of_field_um, default=None)


def frame_in_view(viewer: Any, channels: ChannelsPanel) -> int:
    """The time point of the scans that the viewer shows."""
    first, dims = channels.channels[0].first if channels.channels else None, viewer.dims
    if first is None or channels.frames < 2 or dims.ndim < 4:
        return 0
    axis, own = dims.ndim - 4, first.units[0]
    unit = own if dims.units is None else dims.units[axis]
    time = dims.point[axis] * unit if unit.is_compatible_with(own) else dims.point[axis] * own
    start, step = float(first.translate[0]), float(first.scale[0])
    steps = (float(time.to(own).magnitude) - start) / step
    return int(np.clip(round(steps), 0, channels.frames - 1))


def _check_memory(planned: Sequence[Planned], *, is_preview: bool = False) -> None:
    """Refuse volumes that have no room in memory, unless they go to the disk."""
    first, count = planned[0].job, sum(one.job.frames for one in planned)
    if first.output is not None:
        return
    try:
        check_memory(first.grid, (count, *first.recipe.shape))
    except InputError as error:
        if is_preview:
            raise
        raise InputError(f"{str(error).removesuffix('.')}, or tick “Write to disk”.") from error


def _name(
    ui: ReconstructLayout, layers: Sequence[Image], method: str, time_point: int | None
) -> str:
    """What the volume is called: what the scans' names have in common, its time, and the method."""
    common = common_name([layer.name for layer in layers]) or "Volume"
    time = "" if time_point is None else f" (time point {time_point})"
    return f"{common}{time} · {ui.method.title(method)}"


def warnings_about(ui: ReconstructLayout, recipe: Recipe) -> list[str]:
    """What to mind: outside the trained range, far beyond the scans, scans that lie apart."""
    from ...engine.inference import notes_before

    notes = notes_before(replace(recipe, optics=finest_optics(ui) or recipe.optics))
    rows, pixel_um = ui.table.scans.used(), ui.optics.pixel_um()
    channels = [scan_warnings(one.rows(rows), pixel_um) for one in ui.channels.used()]
    return list(dict.fromkeys(chain(notes, *channels)))


def cost_in_words(ui: ReconstructLayout, viewer: Any, planned: Sequence[Planned]) -> str:
    """Planes, memory and expected time, of all channels and time points."""
    job, count = planned[0].job, len(planned[0].job.grid)
    (y, x), region = job.recipe.shape, job.recipe.region
    volumes = sum(one.job.frames for one in planned)
    words = counted(count, "plane")
    if len(planned) > 1:
        words = f"{len(planned)} channels × {words}"
    if job.lapse:
        words = f"{job.frames} time points × {words}"
    elif ui.channels.frames > 1:
        words = f"time point {frame_in_view(viewer, ui.channels)}: {words}"
    if region is not None:
        words = f"{y} × {x} pixels, {words}"
    cost = _cost(ui, job.recipe, count)
    if job.output is None:
        size = size_in_words(4 * volumes * count * y * x)
        computing = None if cost is None else cost.computing_megabytes
        more = "" if computing is None else f"about {size_in_words(1e6 * computing)} "
        words += f" · {size} of memory for the volume, {more}more while computing"
    else:
        words += f" · up to {size_in_words(disk_bytes((volumes * count, y, x)))} of disk"
    return words if cost is None else f"{words} · {cost.time_in_words(volumes)}"


def _coarser(ui: ReconstructLayout, recipe: Recipe, grid: ZGrid) -> ZGrid:
    """Leave planes out so that the preview takes about two seconds."""
    cost = _cost(ui, recipe, len(grid))
    every = math.ceil((cost.seconds if cost else 0.0) / _PREVIEW_S)
    if every <= 1 or len(grid) == 1:
        return grid
    steps = math.ceil((len(grid) - 1) / every)
    last_um = float(grid.z_um[-1])
    return ZGrid(grid.start_um, last_um, (last_um - grid.start_um) / steps)


def _cost(ui: ReconstructLayout, recipe: Recipe, planes: int) -> Cost | None:
    """What it is expected to take; None while torch or the model still loads in its thread."""
    model = ui.method.model
    if not ui.method.is_ready or (recipe.chosen.needs_model and model is None):
        return None
    from ...engine.cost import estimate_cost

    shape, z_um = recipe.field_read.shape, [scan.z_um for scan in recipe.scans]
    about = recipe.method, choose_device(recipe.device), model
    optics = ui.optics.known()
    return estimate_cost(shape, len(z_um), planes, *about, optics=optics, scan_z_um=z_um)
