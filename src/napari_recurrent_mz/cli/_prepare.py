"""Align, extend the depth of field, normalise, register.

Prepare raw stacks as the paper does (Huang et al. 2021, Methods).

examples:
  recurrent-mz prepare align STACK.tif -o aligned.ome.tif --csv shifts.csv
  recurrent-mz prepare align A.tif B.tif C.tif --z 3 6 9 -o FOLDER
  recurrent-mz prepare normalise STACK.tif -o normalised.ome.tif --figure histogram.svg
  recurrent-mz prepare register WIDEFIELD.tif CONFOCAL.tif -o confocal-registered.ome.tif
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ..core.progress import Steps, T, finished
from ..core.scans import InputError
from ..io import (
    Channel,
    ImageFile,
    Place,
    check_output,
    read_image,
    scans_from_files,
    stack_heights,
    write_channels,
    write_json,
    write_table,
)
from ..io._image_file import stem_of
from ..io._optics import overridden
from ..io._write import as_written
from ..measure.plots import ENDINGS, save_figure
from ._common import (
    OF_CHANNELS,
    OUTPUT,
    Files,
    OneChannel,
    OpticsOptions,
    check_json,
    of_channel,
)
from ._options import Argument, Option, Written
from ._terminal import Progress, note

if TYPE_CHECKING:
    from ..measure.preparation import Alignment
    from ..measure.preparation import Place as StackPlace

Transform = Annotated[
    str,
    Option(
        "what is corrected: shift; shift and rotation; also scale and shear",
        choices=("translation", "rigid", "affine"),
    ),
]
Crop = Annotated[bool, Option("keep only the field that all show, so that no edge is filled")]
Json = Annotated[str | None, Written("write the numbers found to this file")]
Figure = Annotated[
    str | None,
    Written("draw what was found (shifts, histogram or correlation): .png, .svg or .pdf"),
]


@dataclass(frozen=True, kw_only=True)
class Result(Files):
    """Files."""

    output: Annotated[
        str,
        Written("result: .ome.tif or .ome.zarr (a folder for several single images)", names=OUTPUT),
    ]
    optics: OpticsOptions


ResultOfChannels = Annotated[Result, OF_CHANNELS]


def align(
    *,
    files: Annotated[tuple[str, ...], Argument("one stack, or single images")],
    z: Annotated[tuple[float, ...] | None, Option("height of each single image, µm")] = None,
    transform: Transform = "rigid",
    reference: Annotated[
        str,
        Option("what each plane is aligned to", choices=("previous", "first", "mean")),
    ] = "previous",
    no_band_pass: Annotated[
        bool, Option("compare the planes unfiltered, with haze and noise, as StackReg does")
    ] = False,
    crop: Crop = False,
    by: Annotated[
        str | None,
        Option("with --channel all: the channel to align all of them by, its number or name", "N"),
    ] = None,
    csv: Annotated[str | None, Written("write the shift and rotation of every plane")] = None,
    figure: Figure = None,
    result: ResultOfChannels,
) -> None:
    """Correct lateral shift and rotation between planes or scans.

    Align the planes of a stack, or single images, with pyStackReg.
    """
    from ..measure.plots.preparation import drift_figure
    from ..measure.preparation import aligning, applying

    _check_extra(csv, figure)
    about = _About(result, files)
    leading = about.leading(by)
    images = about.images[leading]
    outputs = _outputs(result.output, files, images)
    planes, names, sources, heights = _planes_in_order(result, images, z)
    alignment = _finish(
        aligning(
            planes,
            transform=transform,
            reference=reference,
            band_pass=not no_band_pass,
            names=names,
        )
    )
    region = alignment.common_region
    record = {
        "task": "align",
        **alignment.as_dict(),
        "common_region": _region_text(region),
        "cropped": crop,
    }
    about.crop(region if crop else None)
    moved = []
    for one in about.images:
        pixels = planes if one is images else _planes_in_order(result, one, z)[0]
        moved.append(_finish(applying(pixels, alignment, region if crop else None)))
    if len(images) == 1:
        about.write(outputs[0], moved, heights, record)
    else:
        for i, file in enumerate(sources):
            single = [volume[i : i + 1] for volume in moved]
            about.write(outputs[file], single, heights[i : i + 1], record, file)
    table = alignment.table(heights, about.pixel_um)
    if csv:
        table.insert(0, "file", [images[file].name for file in sources])
        write_table(csv, table)
    if figure:
        save_figure(drift_figure(alignment, heights, about.pixel_um), figure)
    print(_align_lines(result.output, alignment, table, region))


def edf(
    *,
    stack: Annotated[str, Argument("the stack")],
    heights: Annotated[
        str | None, Written("write an image of the heights, µm, that the pixels were taken from")
    ] = None,
    result: ResultOfChannels,
) -> None:
    """The extended-depth-of-field image of a stack.

    Make one image in which everything is in focus (Forster et al. 2004).
    """
    from ..measure.preparation import extending_focus

    for path in (result.output, heights):
        if path:
            check_output(path, [stack])
    about = _About(result, [stack])
    done = []
    for (image,) in about.images:
        pixels, z_um = result.rising(image)
        done.append(_finish(extending_focus(pixels, name=image.name)))
    first = about.images[0][0]
    record = {"task": "edf", "source": first.name, "planes": first.n_planes}
    middle = z_um[[0, -1]].mean(keepdims=True)
    about.write(result.output, [extended.image[None] for extended in done], middle, record)
    if heights:
        height_record = record | {"holds": "height of each pixel in micrometres"}
        about.write(
            heights, [extended.height_um(z_um)[None] for extended in done], middle, height_record
        )
    y, x = done[0].image.shape
    print(f"{result.output}: {y} × {x} pixels in focus, from {first.n_planes} planes")


def normalise(
    *,
    stack: Annotated[str, Argument("the stack")],
    edf: Annotated[str | None, Option("use this image instead of making one")] = None,
    json: Json = None,
    figure: Figure = None,
    result: ResultOfChannels,
) -> None:
    """Background to 0, 99th percentile of the foreground to 1.

    Normalise a stack by the triangle threshold of its extended-depth-of-field image.
    """
    from ..estimates.normalisation import edf_normalisation
    from ..measure.plots.preparation import edf_histogram_figure
    from ..measure.preparation import extending_focus

    check_output(result.output, [path for path in (stack, edf) if path])
    _check_extra(json, figure)
    about = _About(result, [stack])
    if edf and len(about.images) > 1:
        raise InputError("--edf is the image of one channel: choose it with --channel.")
    volumes, records = [], []
    for (image,), channel in zip(about.images, about.channels, strict=True):
        pixels, heights = result.rising(image)
        if edf:
            source = read_image(edf)
            focused, name = source.data, source.name
        else:
            focused = _finish(extending_focus(pixels, name=image.name)).image
            name = f"the EDF of {image.name}"
        fit = edf_normalisation(focused, name)
        volumes.append(fit.normalisation.apply(pixels))
        records.append({"task": "normalise", "edf": name, **fit.as_dict()})
        if figure:
            save_figure(edf_histogram_figure(focused, fit), of_channel(figure, channel))
        words = f"{channel.name}: " if channel.name else ""
        print(
            f"{words}{result.output}: background mean {fit.background:.6g} is 0, foreground P99 "
            f"{fit.p99:.6g} is 1 (triangle threshold {fit.threshold:.6g}, "
            f"{fit.foreground_share:.1%} foreground)"
        )
    about.write(result.output, volumes, heights, *records)
    if json:
        named = {
            channel.name: record for channel, record in zip(about.channels, records, strict=True)
        }
        write_json(json, named.get("", {"channels": named}))


def register(
    *,
    widefield: Annotated[str, Argument("the wide-field stack", "WIDEFIELD")],
    confocal: Annotated[str, Argument("the confocal stack", "CONFOCAL")],
    confocal_pixel_um: Annotated[
        float | None, Option("pixel size of the confocal stack, µm")
    ] = None,
    confocal_z_step_um: Annotated[float | None, Option("z-step of the confocal stack, µm")] = None,
    transform: Transform = "affine",
    crop: Crop = False,
    json: Json = None,
    figure: Figure = None,
    result: Result,
) -> None:
    """A confocal stack onto the grid of a wide-field stack.

    Register a confocal stack to a wide-field stack of the same field, laterally by the maximum
    projections, axially by the correlation of the volumes, and resample it to the wide-field
    grid.
    """
    from ..measure.plots.preparation import registration_figure
    from ..measure.preparation import Place as StackPlace
    from ..measure.preparation import registering, resampling

    files = [widefield, confocal]
    check_output(result.output, files)
    _check_extra(json, figure)
    about = _About(result, files, 1)
    wide, other = about.images[0]
    stack, heights = result.rising(wide)
    stated = replace(result, z_step_um=confocal_z_step_um)
    moving, place = _confocal(other, confocal_pixel_um, stated)
    registration = _finish(
        registering(
            stack,
            moving,
            StackPlace(heights, about.pixel_um),
            place,
            transform=transform,
            names=(wide.name, other.name),
        )
    )
    record = {
        "task": "register",
        "to": wide.name,
        **registration.as_dict(),
        "covered_region": _region_text(registration.region),
        "cropped": crop,
    }
    volume = _finish(resampling(moving, registration, crop=crop))
    planes_um = np.asarray(heights[registration.planes] if crop else heights)
    about.crop(registration.region if crop else None)
    about.write(result.output, [volume], planes_um, record, source=1)
    if json:
        write_json(json, record)
    if figure:
        save_figure(registration_figure(registration), figure)
    print(_register_lines(result.output, record))


TASKS = (align, edf, normalise, register)


class _About:
    """What is read, channel by channel, and what the results keep of it."""

    def __init__(self, result: Result, files: Sequence[str], most: int | None = None) -> None:
        self.channels: list[OneChannel] = result.channels(files[0])
        if most is not None and len(self.channels) > most:
            self.channels = [result.one_channel(files[0])]  # which says what is wrong
        self.images = [
            [result.read(path, channel=channel) for path in files] for channel in self.channels
        ]
        self._inputs, self._optics = files, list[dict[str, float]]()
        self._origin_um = self.images[0][0].place_um
        for channel, images in zip(self.channels, self.images, strict=True):
            own = images[:1] if most == 1 else images
            options = result.optics.of_channel(channel)
            self.pixel_um = options.of(own)[1]
            values = options.values(own).items()
            self._optics.append({name: value for name, value in values if value is not None})

    def crop(self, region: tuple[slice, slice] | None) -> None:
        """Let the results be of a part of the field."""
        if region is not None:
            y, x = (
                first + part.start * self.pixel_um
                for first, part in zip(self._origin_um, region, strict=True)
            )
            self._origin_um = y, x

    def leading(self, by: str | None) -> int:
        """Which of the channels is meant by its number or name; the only one needs none."""
        if len(self.channels) == 1:
            return 0
        fitting = [n for n, one in enumerate(self.channels) if by in (str(one.number), one.name)]
        if not fitting:
            names = ", ".join(one.name for one in self.channels)
            raise InputError(
                f"All channels ({names}) are moved alike: say by which of them, as --by "
                f"{self.channels[0].number}."
            )
        return fitting[0]

    def write(
        self, path: str | Path, volumes: Sequence[Any], z_um: Any, *records: Any, source: int = 0
    ) -> None:
        """Write a volume of each channel; ``records`` are one entry for all, or one for each."""
        provenance = []
        for number, images in enumerate(self.images):
            before = dict(images[source].provenance)
            entry = records[number] if len(records) > 1 else records[0]
            steps = [*before.get("prepared", ()), entry]
            provenance.append(before | {"optics": self._optics[number], "prepared": steps})
        channels = [
            Channel(volume, one.name, (float(volume.min()), float(volume.max())))
            for volume, one in zip(map(as_written, volumes), self.channels, strict=True)
        ]
        place = Place(self.pixel_um, np.asarray(z_um, np.float64), origin_um=self._origin_um)
        record = provenance[0] if len(provenance) == 1 else {"channels": provenance}
        write_channels(path, channels, place, record, inputs=self._inputs)


def _finish(steps: Steps[T]) -> T:
    """Run the steps with a counter on the terminal."""
    with Progress("prepare") as bar:
        return finished(steps, lambda step: bar.stage(step.words, step.done, step.total))


def _check_extra(numbers: str | None, figure: str | None) -> None:
    """Refuse what cannot be written before any work is done."""
    check_json(numbers)
    check_json(figure)
    if figure and Path(figure).suffix.lower() not in ENDINGS:
        raise InputError(
            f"'{Path(figure).name}' cannot be drawn: end its name in .png, .svg or .pdf."
        )


def _outputs(output: str, files: Sequence[str], images: Sequence[ImageFile]) -> list[Path]:
    """Where each result goes, once it can."""
    if len(images) == 1:
        return [check_output(output, files)]
    folder = Path(output)
    if not folder.is_dir():
        raise InputError(
            f"'{folder}' is no folder: the {len(images)} aligned images go into one, make it first."
        )
    stems = [stem_of(image.name) for image in images]
    return [check_output(folder / f"{stem}-aligned.ome.tif", files) for stem in stems]


def _planes_in_order(
    result: Result, images: Sequence[ImageFile], z_um: Sequence[float] | None
) -> tuple[Any, list[str], list[int], Any]:
    """The planes from the lowest up, what to call them, their files, and their heights in µm."""
    first = images[0]
    if len(images) == 1:
        if first.n_planes < 2:
            raise InputError(f"'{first.name}' is one plane only: give a stack, or several images.")
        stack, heights = result.rising(first)
        numbers = stack_heights(first, result.z_step_um).argsort(kind="stable")
        names = [f"Plane {i} of '{first.name}'" for i in numbers]
        return stack, names, [0] * first.n_planes, heights
    heights = np.array([scan.z_um for scan in scans_from_files(images, z_um)])
    order = [int(i) for i in heights.argsort(kind="stable")]
    planes = [images[i].stack[0] for i in order]
    return planes, [f"'{images[i].name}'" for i in order], order, heights[order]


def _confocal(image: ImageFile, pixel_um: float | None, stated: Result) -> tuple[Any, StackPlace]:
    """The confocal stack from the lowest plane up, and its place."""
    from ..measure.preparation import Place as StackPlace

    stack, heights = stated.rising(image, "--confocal-z-step-um")
    note(*overridden({"pixel_um": pixel_um}, [image]))
    pixel = pixel_um or image.pixel_um
    if not pixel or pixel < 0:
        why = image.doubts.get("pixel_um")
        raise InputError(
            f"The pixel size of '{image.name}' is not in its metadata{f' ({why})' if why else ''}: "
            "give it in µm with --confocal-pixel-um."
        )
    return stack, StackPlace(heights, pixel)


def _region_text(region: tuple[slice, slice]) -> str:
    """Rows and columns as ``--region`` takes them."""
    return ",".join(f"{part.start}:{part.stop}" for part in region)


def _align_lines(output: str, alignment: Alignment, table: Any, region: tuple[slice, slice]) -> str:
    y, x = (float(abs(table[f"shift_{axis}_um"]).max()) for axis in "yx")
    return (
        f"{output}: {len(table)} planes aligned, shifts up to {y:.2f} µm in y and {x:.2f} µm in x, "
        f"rotations up to {abs(alignment.rotation_deg).max():.2f}°\n"
        f"{alignment.verdict[0]}\nfield that all planes show: --region {_region_text(region)}"
    )


def _register_lines(output: str, record: dict[str, Any]) -> str:
    first, stop = record["covered_planes"]
    before = record["correlation_before"]
    earlier = "none (no overlap)" if before is None else f"{before:.4f}"
    lines = [
        f"{output}: shift z {record['shift_z_um']:+.3f}, y {record['shift_y_um']:+.3f}, "
        f"x {record['shift_x_um']:+.3f} µm, rotation {record['rotation_deg']:+.3f}°, magnification "
        f"{record['magnification']:.4f}",
        f"correlation {earlier} before, {record['correlation_after']:.4f} after; the confocal "
        f"stack covers planes {first} to {stop - 1}, --region {record['covered_region']}",
    ]
    if before is not None and record["correlation_after"] <= before:
        lines.append("the correlation did not rise: the stacks were registered, or do not match")
    return "\n".join(lines)
