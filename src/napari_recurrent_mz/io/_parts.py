"""One image out of a file of many: what a file holds, and single planes of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.scans import SAME_HEIGHT_UM, InputError
from ._axes import SEVERAL
from ._axes import Content as Content
from ._axes import Part as Part
from ._bioio import is_of_maker, reading_bioio
from ._image_file import ImageFile
from ._tiff import reading_tiff
from ._zarr import ZarrImage, chunks_of, groups_in, is_zarr, level_shapes, reading_zarr

Z_AXES = {None: "", "channel": "C", "time": "T"}
"""What a person calls the axis whose planes are heights, and its letter."""


def contents_of(path: str | os.PathLike[str]) -> list[Content]:
    """Images that a file or OME-Zarr holds: of one file of a set, those that begin in it."""
    path = Path(path)
    contents = list(_contents_of(path))
    if contents and all(content.trouble for content in contents):
        raise InputError(contents[0].trouble)
    return contents


def _contents_of(path: Path) -> Iterable[Content]:
    if path.is_dir():
        return _groups_of(path)
    if is_of_maker(path):
        with reading_bioio(path) as file:
            return file.contents
    return _positions_of(path)


def _groups_of(path: Path) -> Iterator[Content]:
    """The images of an OME-Zarr."""
    if not is_zarr(path):
        raise InputError(f"'{path}' is a folder that is no OME-Zarr.")
    for inside in groups_in(path):
        try:
            image = ZarrImage(path / inside, Part(path.name, inside).name)
        except InputError as error:
            yield Content(str(path), inside, trouble=str(error))
        else:
            yield Content(str(path), inside, image.letters, tuple(image.array.shape))


def _positions_of(path: Path, numbers: Sequence[int] | None = None) -> Iterator[Content]:
    """The images of a TIFF: those that begin in it, or those of these numbers."""
    with reading_tiff(path) as tiff:
        numbers = tiff.own if numbers is None else numbers
        for number in numbers:
            image, trouble = tiff.images[number], ""
            try:
                tiff.check(number)
            except InputError as error:
                trouble = str(error)
            inside = str(number) if len(numbers) > 1 else ""
            yield Content(str(path), inside, image.axes, image.shape, trouble)


def read_part(part: Part, planes: Sequence[int] | None = None) -> ImageFile:
    """Read planes of one image in a file, by default all; those that are not there are left out."""
    path = Path(part.path)
    if not path.exists():
        raise InputError(f"'{part.path}' does not exist any more.")
    if path.is_dir():
        with reading_zarr(part.name):
            image = ZarrImage(path / part.inside, part.name).read(part, planes)
    elif is_of_maker(path):
        with reading_bioio(path) as file:
            image = file.read(part, planes)
    else:
        with reading_tiff(path) as tiff:
            image = tiff.read(part, planes)
    return replace(image, name=part.name)


def heights_by_time(part: Part, points: int) -> npt.NDArray[np.float64] | None:
    """Heights (T, Z), in µm, where a file gives so many time points heights of their own."""
    if points < 2 or Path(part.path).is_dir():  # an OME-Zarr has one place for all
        return None
    stated = [read_part(replace(part, time=t), ()).z_um for t in range(points)]
    known = [z_um for z_um in stated if z_um is not None]
    is_each = len(known) == points and np.ptp(known, axis=0).max() > SAME_HEIGHT_UM
    return np.array(known) if is_each else None


def check_readable(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` once there is something there that may hold an image."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"'{path}' does not exist: check the name and the folder.")
    if path.is_dir():
        if not is_zarr(path):
            raise InputError(
                f"'{path}' is a folder: give its image files, or an OME-Zarr folder. All images of "
                "a folder are for recurrent-mz batch."
            )
    elif path.is_file() and not path.stat().st_size:
        raise InputError(f"'{path.name}' is empty, 0 bytes: copy it again, or choose another file.")
    elif not os.access(path, os.R_OK):
        raise InputError(f"'{path}' cannot be read: you lack the permission.")
    return path


def read_image(
    path: str | os.PathLike[str],
    planes: Sequence[int] | None = None,
    *,
    position: int | None = None,
    channel: int | str | None = None,
    time: int | None = None,
    z_axis: str | None = None,
) -> ImageFile:
    """Read one image or z-stack with what its metadata says.

    Parameters
    ----------
    path : path
        A TIFF (plain, ImageJ, OME, Micro-Manager, NDTiff, MetaMorph, LSM), an OME-Zarr folder
        (NGFF 0.4 or 0.5), or a file of a microscope's maker (CZI, ND2, LIF, OIR and others,
        with BioIO, which is in the extra ``all``).
    planes : sequence of int, optional
        Read these planes only, so that a stack need not fit in memory: no other can be had
        from the data. Those that are not there are left out.
    position : int, optional
        Which of several positions (images, fields), the first one 0.
    channel : int or str, optional
        Which of several channels: its number, the first one 0, or its name.
    time : int, optional
        Which of several time points, the first one 0.
    z_axis : {"channel", "time"}, optional
        These planes are heights, although the file calls them channels or time points.

    Returns
    -------
    ImageFile
        Pixels (Z, Y, X) or (Y, X) in the type of the file; lengths in micrometres, None
        where the file does not state them.

    Raises
    ------
    InputError
        If the file is missing, of another type, cut short, RGB, or has several channels, time
        points or positions of which none is chosen.
    """
    path = check_readable(path)
    if isinstance(channel, str):
        names = channels_of(path, position=position, z_axis=z_axis)
        channel = channel_number(path, names, channel)
    chosen = Part(str(path), "", time, channel, Z_AXES[z_axis])
    if path.is_dir() or is_of_maker(path):
        inside = _at_position(path, [content.inside for content in contents_of(path)], position)
        return _named(read_part(replace(chosen, inside=inside), planes), channel)
    # Other threads may read the same file: only single planes are worth shared pages.
    with reading_tiff(path, shared=planes is not None) as tiff:
        every = range(len(tiff.images))
        numbers = every if position is not None or not tiff.own else tiff.own
        inside = _at_position(path, [str(number) for number in numbers], position)
        is_one_of_many = len(every) > 1 and position is not None
        image = tiff.read(replace(chosen, inside=inside if is_one_of_many else ""), planes)
    name = path.name if position is None else f"{path.name}, position {position}"
    name = name if time is None else f"{name}, time point {time}"
    return _named(replace(image, name=name), channel)


def _named(image: ImageFile, channel: int | None) -> ImageFile:
    """The image of a channel that was chosen, which its name says."""
    if channel is None:
        return image
    return replace(image, name=f"{image.name}, {image.channel or f'channel {channel}'}")


def channels_of(
    path: str | os.PathLike[str], *, position: int | None = None, z_axis: str | None = None
) -> list[str]:
    """Names of the channels of an image, without reading a pixel.

    Parameters
    ----------
    path, position, z_axis
        As in :func:`read_image`.

    Returns
    -------
    list of str
        One for each channel, empty where the file does not state it.
    """
    path = check_readable(path)
    if path.is_dir() or is_of_maker(path) or position is None:
        contents = contents_of(path)
    else:
        with reading_tiff(path) as tiff:
            contents = list(_positions_of(path, range(len(tiff.images))))
    inside = _at_position(path, [content.inside for content in contents], position)
    content = next(content for content in contents if content.inside == inside)
    return [image.channel for image in channels_in(content, Z_AXES[z_axis])]


def channel_number(path: str | os.PathLike[str], names: Sequence[str], channel: str) -> int:
    """Which of the channels of a file is meant by a number or a name, in whatever case."""
    if channel.isdigit():
        return int(channel)
    matching = [n for n, name in enumerate(names) if name.lower() == channel.lower()]
    if len(matching) != 1:
        titles = ", ".join(name for name in names if name) or "none has a name"
        numbers = f"0 to {len(names) - 1}" if len(names) > 1 else "0"
        raise InputError(
            f"'{Path(path).name}' has {len(matching) or 'no'} channel called '{channel}' "
            f"({titles}): give its number, {numbers}."
        )
    return matching[0]


def channels_in(content: Content, z_axis: str = "") -> list[ImageFile]:
    """What a file says of each channel of an image, at the first time point; no pixel is read."""
    axes = content.with_z(z_axis)
    time, count = 0 if axes.length("T") > 1 else None, axes.length("C")
    part = Part(content.path, content.inside, time, None, z_axis)
    return [
        read_part(replace(part, channel=number if count > 1 else None), ())
        for number in range(count)
    ]


def _at_position(path: Path, insides: Sequence[str], position: int | None) -> str:
    """Which image is meant: that of a position, else the only one."""
    many = f"'{path.name}' holds {len(insides)} positions"
    if position is None and len(insides) > 1:
        numbers = "0 or 1" if len(insides) == 2 else f"0 to {len(insides) - 1}"
        raise InputError(
            f"{many}: choose one with --position, {numbers}, or make a volume of each with "
            "recurrent-mz batch.",
            SEVERAL,
        )
    number = position or 0
    if not 0 <= number < len(insides):
        one = f"'{path.name}' holds one position, which is 0"
        count = one if len(insides) == 1 else f"{many}, numbered 0 to {len(insides) - 1}"
        raise InputError(f"There is no position {number}: {count}.")
    return insides[number]


def read_positions(path: str | os.PathLike[str]) -> list[ImageFile]:
    """Read all positions (images, fields) that a file holds, as :func:`read_image` reads one.

    Of one file of a larger set, those that begin in it.

    Raises
    ------
    InputError
        As :func:`read_image`.
    """
    images, troubles = read_what_can_be(path)
    if troubles:
        raise InputError(troubles[0])
    return images


def read_what_can_be(path: str | os.PathLike[str]) -> tuple[list[ImageFile], list[str]]:
    """Read the positions of a file that can be read; a sentence about each that cannot."""
    images, troubles = [], []
    try:
        for content in contents_of(check_readable(path)):
            try:
                if content.trouble:
                    raise InputError(content.trouble)
                images.append(read_part(Part(content.path, content.inside)))
            except InputError as error:
                troubles.append(str(error))
    except InputError as error:
        troubles.append(str(error))
    return images, troubles


def verify_volume(path: Path, shape: tuple[int, int, int], time: int | None = None) -> str:
    """Open a volume that was written here; a digest that changes with it, if it is whole."""
    contents = _zarr_contents(path, shape, time) if path.is_dir() else _tiff_contents(path, shape)
    text = json.dumps(contents, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _tiff_contents(path: Path, shape: tuple[int, int, int]) -> list[Any]:
    image = read_part(Part(str(path)), (shape[0] - 1,))  # no plane is cut short if it is read
    _check_shape(path, image.stack.shape, shape)
    z_um = None if image.z_um is None else image.z_um.tolist()
    return [path.stat().st_size, z_um, dict(image.provenance)]


def _zarr_contents(path: Path, shape: tuple[int, int, int], time: int | None) -> list[Any]:
    at = () if time is None else (time,)
    with reading_zarr(path.name):
        image = ZarrImage(path, path.name)
        _check_shape(path, image.array.shape[len(at) :], shape)
        levels: list[Any] = image.levels
        if [level.shape for level in levels] != level_shapes(image.array.shape):
            raise InputError(f"'{path.name}' lacks a level: make it again.")
        contents: list[Any] = [image.attributes]
        for level in levels:
            files = list(chunks_of(level, dict(enumerate([[index] for index in at]))))
            contents.append([(file, (path / file).stat().st_size) for file in files])
            np.asarray(level[(*at, -1)])
    return contents


def _check_shape(path: Path, actual: tuple[int, ...], shape: tuple[int, int, int]) -> None:
    if tuple(actual) != shape:
        raise InputError(
            f"'{path.name}' has the shape {tuple(actual)}, not {shape}: make it again."
        )
