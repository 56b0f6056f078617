"""What there is to do: files, positions and time points become jobs, one for each volume."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...acquisition.pattern import NamePattern
from ...core.scans import InputError, counted
from ...io._image_file import IMAGE_FILES, stem_of
from ...io._parts import (
    Content,
    Part,
    channel_number,
    channels_in,
    channels_of,
    contents_of,
)
from ...io._zarr import fields_of, is_zarr
from ._settings import BatchSettings, Job


@dataclass(frozen=True)
class _Found:
    """A file, and what its result is called, with the folders below the one that was given."""

    path: Path
    base: Path


def find_jobs(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    settings: BatchSettings,
    *,
    pattern: str | None = None,
    recursive: bool = False,
) -> list[Job]:
    """Find what there is to reconstruct; no pixel is read, nothing is written.

    Parameters
    ----------
    sources : path or iterable of path
        Folders of image files and OME-Zarrs; files with one or more positions and time points;
        OME-Zarr images, with a time axis or without; OME-Zarr plates.
    output : path
        Folder for the results: each is called as its input, a plate keeps its layout.
    settings : BatchSettings
    pattern : str, optional
        Which files of a folder are meant, as ``*_GFP.tif``. With the height in it, as
        ``*_z{z}um*.tif``, files are single images, and those whose names differ in the height
        alone are the scans of one position.
    recursive : bool, optional
        Whether folders in a folder are searched too.

    Returns
    -------
    list of Job
        In the order of names and time points. What cannot be read is a job with a trouble.

    Raises
    ------
    InputError
        If a source is missing or no file fits the pattern, a plate has no wells, two results
        would have one name, or the output lies in a source or cannot be written.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    if not given:
        raise InputError("No source is given: name a folder, a TIFF or an OME-Zarr.")
    names = NamePattern(pattern) if pattern is not None else None
    out = check_folder(Path(output), [Path(source) for source in given])
    found = (file for source in given for file in _files(Path(source), names, recursive))
    files = list(dict.fromkeys(found))  # a file that is named twice is still one
    if names is not None and names.has_height:
        _check_singles(names, settings)
        jobs = list(_grouped(files, names, out, settings))
    else:
        jobs = [job for file in files for job in _jobs_of(file, out, settings)]
    if len(jobs) == 1 and jobs[0].trouble:
        raise InputError(jobs[0].trouble)  # there is nothing else to do
    _check_names(jobs, files)
    return jobs


def check_folder(output: Path, sources: Sequence[Path]) -> Path:
    """The folder for the results once it can be written, or made."""
    output = output.absolute()
    for source in sources:
        if source.is_dir() and _real(output / "x").is_relative_to(_real(source)):
            raise InputError(
                f"The folder '{output.name}' for the results lies in the source '{source}': "
                "choose one outside of it."
            )
    folder = output if output.exists() else output.parent
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist: make it first"
        raise InputError(f"The folder '{folder}' for the results {what}.")
    if is_zarr(output):
        raise InputError(f"'{output.name}' is an OME-Zarr: name a folder for the results.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"You may not write to the folder '{folder}': choose another one.")
    return output


def _files(source: Path, names: NamePattern | None, recursive: bool) -> list[_Found]:
    """The images that a source stands for, in the order of their names."""
    if not source.exists():
        raise InputError(f"'{source}' does not exist: check the name and the folder.")
    source = source.absolute()
    if not source.is_dir() or is_zarr(source):
        return [_Found(source, Path(stem_of(source.name)))]
    every = sorted(_images_in(source, recursive))
    paths = [path for path in every if names is None or names.matches(path.name)]
    if not every:
        raise InputError(
            f"The folder '{source.name}' holds no image: neither a TIFF, nor a microscope maker's "
            "file, nor an OME-Zarr."
        )
    if not paths:
        assert names is not None
        raise InputError(
            f"No file in '{source.name}' fits the pattern '{names.text}': its files are called "
            f"as '{every[0].name}'."
        )
    return [_Found(p, p.relative_to(source).with_name(stem_of(p.name))) for p in paths]


def _images_in(folder: Path, recursive: bool) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if is_zarr(path):
                yield path
            elif recursive:
                yield from _images_in(path, recursive)
        elif path.suffix.lower() in IMAGE_FILES:
            yield path


def _grouped(
    files: Sequence[_Found], names: NamePattern, out: Path, settings: BatchSettings
) -> Iterator[Job]:
    """One job for all single images whose names differ in the height alone."""
    groups: dict[Path, list[tuple[float, Path]]] = {}
    for file in files:
        rest, height = names.rest(file.path.name), names.height_um(file.path.name)
        if rest is not None and height is not None:  # else named on its own, beside the pattern
            groups.setdefault(file.base.with_name(rest), []).append((height, file.path))
    if not groups:
        raise InputError(f"No file name fits the pattern '{names.text}'.")
    for base, members in groups.items():
        members.sort()
        parts = tuple(
            Part(str(path), channel=_channel(path, settings.channel)) for _, path in members
        )
        heights = tuple(height for height, _ in members)
        ending = settings.format or "ome.tif"
        output = out / base.with_name(f"{base.name}.{ending}")
        yield Job(str(base), parts, output, heights)


def _jobs_of(file: _Found, out: Path, settings: BatchSettings) -> Iterator[Job]:
    """One job for each volume in a file, or one that says why there is none."""
    ending = settings.format or ("ome.zarr" if file.path.is_dir() else "ome.tif")
    try:
        contents = contents_of(file.path)
        in_plate = file.path.is_dir() and bool(fields_of(file.path))
    except InputError as error:
        output = out / file.base.with_name(f"{file.base.name}.{ending}")
        yield Job(str(file.base), (Part(str(file.path)),), output, trouble=str(error))
        return
    if in_plate and settings.format == "ome.tif":
        raise InputError(
            f"'{file.path.name}' is a plate, which is written as an OME-Zarr plate: leave out the "
            "format ome.tif."
        )
    for content in contents:
        yield from _jobs_in(content, file, out, settings, in_plate)


def _jobs_in(
    content: Content, file: _Found, out: Path, settings: BatchSettings, in_plate: bool
) -> Iterator[Job]:
    """The jobs of one image: one for each time point."""
    points = content.length("T")
    is_zarr_by_default = points > 1 or Path(content.path).is_dir()
    own_format = "ome.zarr" if is_zarr_by_default else "ome.tif"
    zarr = in_plate or (settings.format or own_format) == "ome.zarr"
    mark = "" if in_plate or not content.inside else f"_{content.inside.replace('/', '_')}"
    position = str(file.base) + (f"/{content.inside}" if in_plate else mark)
    channel, trouble = None, content.trouble
    if not trouble:
        try:
            channel = _channel(content.path, settings.channel, content)
            trouble = _trouble(content, channel)
        except InputError as error:
            trouble = str(error)
    for time in range(points) if points > 1 else (None,):
        file_mark = "" if time is None or zarr else f"_t{time:0{max(3, len(str(points - 1)))}d}"
        ending = "ome.zarr" if zarr else "ome.tif"
        yield Job(
            position,
            (Part(content.path, content.inside, time, channel),),
            out / file.base.with_name(f"{file.base.name}{mark}{file_mark}.{ending}"),
            inside=content.inside if in_plate else "",
            time=time,
            points=points if zarr else 1,
            trouble=trouble,
        )


def _channel(
    path: str | Path, channel: int | str | None, content: Content | None = None
) -> int | None:
    """The number of the channel that was chosen, looked up in the file when it is named."""
    if not isinstance(channel, str):
        return channel
    names = channels_of(path) if content is None else [i.channel for i in channels_in(content)]
    return channel_number(path, names, channel)


def _trouble(content: Content, channel: int | None) -> str:
    """What speaks against an image before any of its pixels is read."""
    name, channels = Part(content.path, content.inside).name, content.length("C")
    if channel is None and channels > 1:
        names = [image.channel for image in channels_in(content)]
        called = f" ({', '.join(filter(None, names))})" if any(names) else ""
        return f"'{name}' has {channels} channels{called}: choose one, as --channel 0."
    if channel is not None and channel >= channels:
        return (
            f"'{name}' has no channel {channel}: it has {counted(channels, 'channel')}, numbered "
            "from 0."
        )
    lengths = zip(content.axes, content.shape, strict=True)
    heights = math.prod(length for axis, length in lengths if axis not in "TCYXS")
    if heights == 1 and content.length("S") == 1:
        return (
            f"'{name}' is one image, not a stack: to take single images of several heights "
            "together, say where the height stands in their names, as --pattern '*_z{z}um*.tif'."
        )
    return ""


def _check_singles(names: NamePattern, settings: BatchSettings) -> None:
    """Raise when settings are given that only stacks have."""
    given = {"--planes": settings.planes, "--z-step-um": settings.z_step_um}
    for option, value in given.items():
        if value is not None:
            raise InputError(
                f"{option} is for stacks, but the pattern '{names.text}' takes single images with "
                "their heights from their names: leave out one of the two."
            )


def _real(path: Path) -> Path:
    """Where a path leads; unlike ``Path.resolve``, also of a link that leads to itself."""
    return Path(os.path.realpath(path))


def _check_names(jobs: Sequence[Job], files: Sequence[_Found]) -> None:
    """Raise when two volumes would be one file, or a result an input."""
    taken: dict[tuple[Path, str, int | None], Job] = {}
    inputs = {_real(file.path) for file in files}
    for job in jobs:
        before = taken.setdefault((job.output, job.inside, job.time), job)
        if before is not job:
            names = f"'{before.parts[0].path}' and '{job.parts[0].path}'"
            raise InputError(
                f"{names} would both be written to '{job.output.name}': rename one of them."
            )
        if _real(job.output) in inputs:
            raise InputError(
                f"The result of '{job.parts[0].name}' would replace an input: choose another "
                "folder for the results."
            )
