"""The settings that commands share, each declared once, and what is read with them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from ..core.device import CHOICES, GPU_MEMORY
from ..core.methods import DEFAULT_METHOD, METHODS, needs_optics
from ..core.optics import Optics
from ..core.region import Region
from ..core.scans import InputError, Scan, ZGrid, check_scans, counted, listed, require_several
from ..engine.recipe import HeightMap, Recipe
from ..io import (
    ImageFile,
    channels_of,
    read_image,
    scans_from_files,
    scans_from_stack,
    stack_heights,
)
from ..io._axes import SEVERAL
from ..io._optics import OPTICS, optics_for, optics_values, overridden
from ..io._parts import channel_number
from ..io._scans import other_heights, unlike_notes
from ..io._whole import check_no_device
from ..io._zarr import NGFF
from ._options import Argument, Option
from ._terminal import note

OUTPUT = ("-o", "--output")
_ALL = "With --channel all, each is taken in turn."
Planes = Annotated[
    tuple[int, ...] | None, Option("planes of the stack to use as scans, counted from 0")
]
Repair = Annotated[
    bool,
    Option(
        "replace hot pixels, and give scans the light and the place of the others where they "
        "differ; without it, such faults are only named"
    ),
]
ZStep = Annotated[
    float | None, Option("distance between planes, µm (by default from the file's metadata)")
]
Grid = Annotated[
    str | None,
    Option(
        "heights to reconstruct, µm, STOP included if a step falls on it (by default from the "
        "lowest to the highest scan: the planes of the stack, or steps of about half a depth of "
        "field that meet the scans)",
        "START:STOP:STEP",
    ),
]
Ngff = Annotated[
    str, Option("version of OME-Zarr; 0.4 for programs that do not read 0.5", choices=NGFF)
]
DeviceChoice = Annotated[str, Option("what the network runs on", choices=CHOICES)]
_STATED = {
    name: Option(f"{words}{', µm' * name.endswith('_um')}, for example {example:g}")
    for _, name, words, example in OPTICS
}


@dataclass(frozen=True)
class OpticsOptions:
    """Optics (by default from the file's metadata)."""

    pixel_um: Annotated[float | None, _STATED["pixel_um"]] = None
    na: Annotated[float | None, _STATED["na"]] = None
    wavelength_um: Annotated[float | None, _STATED["wavelength_um"]] = None
    immersion_index: Annotated[float | None, _STATED["immersion_index"]] = None

    def values(self, images: Sequence[ImageFile]) -> dict[str, float | None]:
        """By name: as given, else as the files state them, else None."""
        return optics_values(asdict(self), images)

    def of(
        self, images: Sequence[ImageFile], methods: Sequence[str] = ()
    ) -> tuple[Optics | None, float]:
        """The optics, complete where a method needs them, and the pixel size; or one sentence."""
        note(*overridden(asdict(self), images))
        return optics_for(needs_optics(methods), asdict(self), images)

    def of_channel(self, channel: OneChannel) -> OpticsOptions:  # noqa: ARG002
        """Those of one channel: the same for all."""
        return self


class PerChannel(tuple[float, ...]):
    """One number, or one for each channel, separated by commas."""

    __slots__ = ()

    def __new__(cls, text: str) -> PerChannel:
        """Read it."""
        return super().__new__(cls, map(float, text.split(",")))


@dataclass(frozen=True)
class ChannelOptics(OpticsOptions):
    """Optics (by default from the file's metadata)."""

    wavelength_um: Annotated[
        PerChannel | None,
        Option(
            f"{_STATED['wavelength_um'].words}; for several channels, one each: 0.461,0.57",
            "X[,X...]",
        ),
    ] = None  # type: ignore[assignment]

    def of_channel(self, channel: OneChannel) -> OpticsOptions:
        """Those of one channel: its own emission wavelength."""
        given, value = self.wavelength_um, None
        if given is not None and len(given) != channel.count:
            of = f"{channel.count} channels" if channel.count > 1 else "one channel"
            raise InputError(
                f"--wavelength-um has {counted(len(given), 'value')} for {of}: give one for each, "
                "in their order, separated by commas."
            )
        if given is not None:
            value = given[channel.place]
        return OpticsOptions(self.pixel_um, self.na, value, self.immersion_index)


@dataclass(frozen=True)
class OneChannel:
    """One of the channels that a command goes through."""

    number: int | None = None  # in the file, None where there is only one
    name: str = ""  # what to call it, empty where there is only one
    place: int = 0  # among those that were asked for
    count: int = 1  # of those
    may_be_all: bool = False  # whether the command would take all of them


@dataclass(frozen=True)
class NetworkOptions:
    """Network."""

    model: Annotated[
        str | None, Option("bundled model or safetensors file (default: the method's own)", "NAME")
    ] = None
    device: DeviceChoice = "auto"
    gpu_memory_gb: Annotated[
        float | None,
        Option(
            f"use no more of a CUDA GPU's memory than this (default: all, or ${GPU_MEMORY})", "GB"
        ),
    ] = None


@dataclass(frozen=True)
class MethodOptions(NetworkOptions):
    """Method."""

    method: Annotated[str, Option("how planes are made", choices=METHODS)] = DEFAULT_METHOD


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files."""

    z_step_um: ZStep = None
    position: Annotated[int | None, Option("position, from 0, of files that have several")] = None
    channel: Annotated[
        str | None,
        Option("channel of files that have several: its number, from 0, or its name", "N"),
    ] = None
    time: Annotated[
        int | None, Option("time point of a time-lapse, from 0 (for all: recurrent-mz batch)")
    ] = None
    z_axis: Annotated[
        str | None,
        Option("the file labels the heights as channels or times", choices=("channel", "time")),
    ] = None

    def read(
        self, path: str, planes: Sequence[int] | None = None, channel: OneChannel | None = None
    ) -> ImageFile:
        """Read a file, or the part of it that was chosen, and say what it contradicts."""
        chosen = self.one_channel(path) if channel is None else channel
        try:
            image = read_image(
                path,
                planes,
                position=self.position,
                channel=chosen.number,
                time=self.time,
                z_axis=self.z_axis,
            )
        except InputError as error:
            if error.kind != SEVERAL or chosen.number is not None:
                raise
            names = channels_of(path, position=self.position, z_axis=self.z_axis)
            if len(names) < 2:  # time points are asked for
                raise
            called = listed([f"{n} ({name})" for n, name in enumerate(names) if name])
            words = [f"They are {called}." if called else "", _ALL if chosen.may_be_all else ""]
            raise InputError(" ".join([str(error), *filter(None, words)]), SEVERAL) from None
        note(*image.remarks)
        return image

    def one_channel(self, path: str) -> OneChannel:
        """The channel that was chosen, where a command takes one."""
        channels = self.channels(path)
        if len(channels) > 1:
            name = Path(path).name
            raise InputError(f"One channel of '{name}' is wanted here, not all: choose one.")
        return replace(channels[0], may_be_all=False)

    def channels(self, path: str) -> list[OneChannel]:
        """The channels that were chosen; none, where the file has but one, or it is not said."""
        if self.channel is None:
            return [OneChannel(may_be_all=True)]
        names = channels_of(path, position=self.position, z_axis=self.z_axis)
        if self.channel == "all":
            called = [name or f"channel {number}" for number, name in enumerate(names)]
            if len(called) == 1:
                return [OneChannel()]
            return [OneChannel(n, name, n, len(called)) for n, name in enumerate(called)]
        return [OneChannel(channel_number(path, names, self.channel))]

    def rising(self, image: ImageFile, option: str = "--z-step-um") -> tuple[Any, Any]:
        """All planes of a stack from the lowest up, and their heights in µm."""
        heights = stack_heights(image, self.z_step_um, option)
        note(*overridden({"z_step_um": self.z_step_um}, [image]))
        order = heights.argsort(kind="stable")
        if all(order[1:] > order[:-1]):
            return image.stack, heights
        return image.stack[order], heights[order]


PartOfField = Annotated[
    str | None,
    Option(
        "part of the field, START:STOP in pixels from the upper left corner, for example "
        "0:512,256:512 or :,256: (default: all of it)",
        "ROWS,COLUMNS",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Fields(Files):
    """Files."""

    region: PartOfField = None

    def read(
        self, path: str, planes: Sequence[int] | None = None, channel: OneChannel | None = None
    ) -> ImageFile:
        """The same, of the region that was chosen."""
        return cropped(super().read(path, planes, channel), self.region)


@dataclass(frozen=True, kw_only=True)
class ScanOptions(Files):
    """Scans."""

    files: Annotated[tuple[str, ...], Argument("images, or one stack")]
    z: Annotated[
        tuple[float, ...] | None,
        Option(
            "height of each image, or of each of --planes, µm (by default from the metadata, or "
            "from file names such as scan_z3.5um.tif)"
        ),
    ] = None
    planes: Planes = None
    repair: Repair = False


@dataclass(frozen=True)
class Source:
    """What planes are made from, and how."""

    scans: ScanOptions
    optics: OpticsOptions
    by: MethodOptions

    def given(self) -> Given:
        """Read the scans of one channel, and the optics that the method needs."""
        return self._given(self.scans.one_channel(self.scans.files[0]))

    def every_channel(self) -> list[Given]:
        """The same of every channel that was chosen."""
        return [self._given(channel) for channel in self.scans.channels(self.scans.files[0])]

    def _given(self, channel: OneChannel) -> Given:
        options, optics = self.scans, self.optics.of_channel(channel)
        # Of single images the first plane, and it is told when there are more.
        wanted = [0] if options.planes is None else options.planes
        images = [options.read(path, wanted, channel) for path in options.files]
        scans = load_scans(images, options.z, options.planes, options.z_step_um)
        note(*unlike_notes(images))
        known, pixel_um = optics.of(images, [self.by.method])
        return Given(self, channel.name, self._without_faults(scans, known), known, pixel_um)

    def _without_faults(self, scans: list[Scan], optics: Optics | None) -> list[Scan]:
        """The scans, repaired if that is wanted; faults are named."""
        from ..engine.check import fault_notes
        from ..engine.repairs import repaired, unasked

        done = list[str]()
        if self.scans.repair:
            scans, done = repaired(scans, optics)
        faults = fault_notes(scans, optics, self.scans.planes)
        note(*done, *chain(*faults))
        if any(faults[kind] for kind in unasked(optics)) and not self.scans.repair:
            note("--repair corrects these.")
        return scans


_EVERY_CHANNEL = Annotated[
    str | None,
    Option("channel of files that have several: its number, from 0, its name, or all", "N"),
]
OF_CHANNELS = Option(within={"channel": _EVERY_CHANNEL, "optics": ChannelOptics})
"""For the settings of a command that takes several channels."""

SourceOfChannels = Annotated[
    Source,
    Option(within={"scans": Annotated[ScanOptions, OF_CHANNELS], "optics": ChannelOptics}),
]


@dataclass(frozen=True, eq=False)
class Given:
    """Scans and optics as they were read."""

    source: Source
    channel: str  # what it is called, empty where there is only one
    scans: list[Scan]
    optics: Optics | None
    pixel_um: float

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) of the scans."""
        y, x = self.scans[0].pixels.shape
        return y, x

    def part(self, region: str | None) -> Region | None:
        """The part of the field that ``--region`` names."""
        return None if region is None else Region.parsed(region, self.shape, self.scans[0].name)

    def place_um(self, region: Region | None = None) -> tuple[float, float]:
        """Where the first pixel (y, x) of a region, or of the whole field, is."""
        whole_um = self.scans[0].place_um
        return region.place_um(self.pixel_um, whole_um) if region else whole_um

    def recipe(self, target: ZGrid | HeightMap, region: Region | None = None) -> Recipe:
        """What is to be made of them."""
        by, made_from = self.source.by, (self.scans, target, self.optics)
        return Recipe(*made_from, by.method, by.model, by.device, self.pixel_um, region)


def load_scans(
    images: Sequence[ImageFile],
    z_um: Sequence[float] | None,
    planes: Sequence[int] | None,
    z_step_um: float | None,
) -> list[Scan]:
    """Scans from single-image files, or from planes of one stack; checked to fit together."""
    first = images[0]
    if planes is not None and len(images) > 1:
        raise InputError(
            f"--planes chooses planes of one stack, but {len(images)} files are given: "
            "give one stack, or single images with --z."
        )
    if planes is not None:
        if z_um is not None and z_step_um is not None:
            raise InputError("--z and --z-step-um both say where the planes are: give one of them.")
        scans = scans_from_stack(first, planes, z_step_um, z_um=z_um)
        note(*overridden({"z_step_um": z_step_um}, images))
    elif len(images) == 1 and first.n_planes > 1:
        n = first.n_planes
        raise InputError(
            f"'{first.name}' is a stack of {n} planes: choose its scans with --planes, "
            f"for instance --planes {n // 6} {n // 2} {n - 1 - n // 6}."
        )
    else:
        scans = scans_from_files(images, z_um)
    require_several(scans)
    note(*other_heights(images, planes, z_um))
    return list(check_scans(scans))


def cropped(image: ImageFile, region: str | None) -> ImageFile:
    """The part of an image that ``--region`` names, or one sentence."""
    if region is None:
        return image
    y, x = image.stack.shape[1:]
    return replace(image, data=Region.parsed(region, (y, x), image.name).of(image.data))


def of_channel(path: str, channel: OneChannel) -> str:
    """The name of a file beside the result: of several channels, with that of the channel."""
    if not channel.name:
        return path
    file, name = Path(path), re.sub(r"[^\w.+-]+", "-", channel.name)
    return str(file.with_name(f"{file.stem}-{name}{file.suffix}"))


def folder_of(path: str | Path) -> Path:
    """The path of a file to be written, whose folder is there; or one sentence."""
    target = Path(path)
    if not Path(os.path.realpath(target)).parent.is_dir():  # where a link leads
        raise InputError(f"The folder of '{path}' does not exist: make it first.")
    check_no_device(target)
    return target


def check_json(path: str | None) -> None:
    """Raise :class:`InputError` when no file can be made at ``path``, before any work."""
    if path is not None and folder_of(path).is_dir():
        raise InputError(f"'{path}' is a folder: name a file for the numbers.")
