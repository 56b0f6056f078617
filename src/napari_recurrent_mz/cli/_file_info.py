"""What is understood of a file, and from where, as ``recurrent-mz info FILE`` prints it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..io._optics import OPTICS
from ..scans import InputError

if TYPE_CHECKING:
    from ..io import ImageFile
    from ..io._parts import Content

_WIDTH = 36


def print_info(paths: Sequence[str]) -> None:
    """Print what is understood of files; what cannot be read does not hold up the others."""
    troubles = []
    for path in paths:
        try:
            for line in lines_of(path):
                print(line)
        except InputError as error:
            troubles.append(str(error))
            if len(paths) > 1:
                print(f"{path}\n  {error}")
    if troubles:
        several = f"{len(troubles)} of {len(paths)} files cannot be read, see above."
        raise InputError(troubles[0] if len(paths) == 1 else several)


def lines_of(path: str) -> Iterator[str]:
    """Everything that is understood of a file; no pixel is read."""
    from ..io import check_readable
    from ..io._parts import contents_of

    check_readable(path)
    found = contents_of(path)
    yield f"{path}: {len(found)} positions" if len(found) > 1 else path
    for number, content in enumerate(found):
        if len(found) > 1:
            yield f"position {number}"
        lines = [content.trouble] if content.trouble else _content_lines(content)
        yield from (f"  {line}" for line in lines)


def _content_lines(content: Content) -> Iterator[str]:
    from ..io._parts import Part, read_part

    shape = zip(content.axes, content.shape, strict=True)
    yield _row("axes", " × ".join(f"{axis} {length}" for axis, length in shape))
    time = 0 if content.length("T") > 1 else None
    channels = range(content.length("C"))
    several = len(channels) > 1
    for channel in channels:
        if several:
            yield f"channel {channel}"
        part = Part(content.path, content.inside, time, channel if several else None)
        yield from _image_lines(read_part(part, ()))


def _image_lines(image: ImageFile) -> Iterator[str]:
    """Heights and optics, each with where it is from, or why it is not known."""
    many = image.n_planes > 1
    yield _row("heights" if many else "height", _heights(image))
    for option, name, words, _ in OPTICS:
        value = getattr(image, name)
        unit = " µm" if name.endswith("_um") else ""
        told = f"{value:g}{unit} ({image.sources[name]})" if value is not None else ""
        yield _row(words, told or _unknown(image, name, option))
    for remark in image.remarks:
        yield f"note: {remark}"


def _heights(image: ImageFile) -> str:
    from ..io import z_from_name

    many = image.n_planes > 1
    if image.z_um is None:
        named = None if many else z_from_name(image.name)
        if named is not None:
            return f"{named:g} µm (its name)"
        return _unknown(image, "z_um", "--z-step-um" if many else "--z")
    first, last, where = image.z_um[0], image.z_um[-1], image.sources["z_um"]
    if not many:
        return f"{first:g} µm ({where})"
    step = "unevenly spaced" if image.z_step_um is None else f"{image.z_step_um:.6g} µm apart"
    return f"{first:g} to {last:g} µm, {step} ({where})"


def _unknown(image: ImageFile, name: str, option: str) -> str:
    why = image.doubts.get(name)
    return f"not sure, for {why}: give {option}" if why else f"not stated: give {option}"


def _row(words: str, value: str) -> str:
    return f"{words:{_WIDTH}}{value}"
