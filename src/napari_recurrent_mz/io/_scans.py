"""Scans out of files: planes and their heights, by metadata, by names or as they are given."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import AnyArray, Array
from ..core.scans import InputError, Scan, counted, scan_facts
from ._facts import spaced_heights
from ._image_file import ImageFile
from ._parts import read_image
from ._tiff import heights_in

_ENDING = re.compile(r"(\.ome)?\.(tiff?|zarr)$", re.IGNORECASE)
_UNIT_UM = {"nm": 1e-3, "um": 1.0, "µm": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1e3}

_HEIGHT = re.compile(
    r"""
    (?: (?<![A-Za-z]) [zZ] | (?<=[a-z]) Z )     # a z of its own, or the capital one of stageZ
    (?: [_ ]?pos(?:ition)? )?
    (?P<equals> [_ ]* [=:] )?
    [_ ]*
    (?P<sign> [-−+] )?
    [_ ]*
    (?P<number> \d+ (?: [.,p]\d+ )? )
    [_ ]?
    (?P<unit> nm | um | µm | microns? | mm )?
    (?! [A-Za-z0-9] | [.,]\d )                   # nothing glued behind
    """,
    re.VERBOSE,
)


def z_from_name(name: str) -> float | None:
    """Read the height that a file name states, in micrometres.

    Understood: ``z`` with a number and a unit (``scan_z3.5um.tif``, ``z-2um``,
    ``z3500nm``, ``z3p5um``), with an equals sign (``z=3,5``) or with a decimal
    (``z3.5``). A whole number alone (``img_z003.tif``) is more often the number of a
    plane than a height, so it is not taken; nor are names that state two heights.

    Parameters
    ----------
    name : str
        File or layer name, with or without its ending.

    Returns
    -------
    float or None
        Height in micrometres; None when the name does not state one.
    """
    text = _ENDING.sub("", name.replace("μ", "µ"))
    heights = {_height(match) for match in _HEIGHT.finditer(text)} - {None}
    return heights.pop() if len(heights) == 1 else None


def _height(match: re.Match[str]) -> float | None:
    number, unit = match["number"], match["unit"]
    is_decimal = any(mark in number for mark in ".,")
    if unit is None and ("p" in number or not (match["equals"] or is_decimal)):
        return None
    value = round(float(re.sub("[,p]", ".", number)) * _UNIT_UM[unit or "um"], 9)
    return -value if match["sign"] in ("-", "−") else value


def check_measured(image: ImageFile) -> None:
    """Raise :class:`InputError` for what was computed: planes of it are no scans."""
    check_no_result(image.provenance, f"'{image.name}'")


def check_no_result(record: Mapping[str, Any], label: str) -> None:
    """Raise :class:`InputError` when, by the record of how it was made, an image is no scan."""
    steps = [step for step in record.get("prepared", ()) if isinstance(step, Mapping)]
    if is_reconstructed(record):
        what, remedy = "was made from scans", "give those scans"
    elif any("holds" in step for step in steps):
        what, remedy = "is a map of heights", "give the stack that it was made from"
    elif any(step.get("task") == "edf" for step in steps):
        what, remedy = "shows all planes of a stack in focus", "give planes of that stack"
    else:
        return
    raise InputError(f"{label} {what}, and is no scan itself: {remedy}.")


def is_reconstructed(record: Mapping[str, Any]) -> bool:
    """Whether an image was made from scans, by the record of how it was made."""
    is_made = not {"scans", "method", "difference"}.isdisjoint(record)
    return is_made or record.get("state") == "running"


def unlike_notes(images: Sequence[ImageFile]) -> list[str]:
    """What files of one image each state that scans of one channel and one field would not."""
    first, notes = images[0], dict[str, str]()
    for other in images[1:]:
        names = f"'{first.name}' and '{other.name}'"
        if first.channel and other.channel and first.channel != other.channel:
            sentence = f"{names} are of the channels {first.channel} and {other.channel}"
            notes.setdefault("channel", f"{sentence}: give scans of one channel.")
        places = [one.origin_um for one in (first, other) if one.origin_um is not None]
        if len(places) == 2 and np.ptp(places, axis=0).max() > (first.pixel_um or 0.0) / 2:
            notes.setdefault(
                "place",
                f"{names} begin at different places in y and x: they are taken as aligned, pixel "
                "on pixel.",
            )
    return list(notes.values())


def other_heights(
    images: Sequence[ImageFile], planes: Sequence[int] | None, z_um: Sequence[float] | None
) -> list[str]:
    """A sentence where the files state other distances between scans than heights as given."""
    stated = [image.z_um for image in images if image.z_um is not None]
    if z_um is None or len(stated) < len(images):
        return []
    heights = np.concatenate(stated) if planes is None else stated[0][list(planes)]
    gaps, given = np.diff(heights), np.diff(z_um)
    if np.allclose(gaps, given, rtol=0, atol=0.01 * np.abs(gaps).max()):
        return []  # where z is 0 is a person's choice
    lists = [", ".join(f"{z:.6g}" for z in values) for values in (heights, z_um)]
    which = f"'{images[0].name}' says" if planes is not None else "The files say"
    return [f"{which} that the heights are {lists[0]} µm: {lists[1]} µm were taken, as given."]


def scans_from_files(
    paths: Iterable[str | os.PathLike[str] | ImageFile], z_um: Sequence[float] | None = None
) -> list[Scan]:
    """Make one scan of each single-image file.

    Parameters
    ----------
    paths : iterable of path or ImageFile
        One image each.
    z_um : sequence of float, optional
        Their heights in micrometres; without it they come from OME plane positions or
        from names such as ``scan_z3.5um.tif``.

    Raises
    ------
    InputError
        If a file holds a stack or was reconstructed, or a height is stated nowhere.
    """
    images = [p if isinstance(p, ImageFile) else read_image(p) for p in paths]
    if z_um is not None:
        _check_count(z_um, images, "file", "each file")
    for image in images:
        check_measured(image)
        if image.n_planes > 1:
            raise InputError(
                f"'{image.name}' is a stack of {image.n_planes} planes: "
                "give it alone and choose its planes with --planes."
            )
    heights = [_stated_height(i) for i in images] if z_um is None else list(z_um)
    pairs = zip(images, heights, strict=True)
    return [Scan(i.stack[0], z, i.name, scan_facts(vars(i))) for i, z in pairs]


def _check_count(z_um: Sequence[float], items: Sequence[Any], kind: str, each: str) -> None:
    if len(z_um) != len(items):
        raise InputError(
            f"--z gives {counted(len(z_um), 'height')} for {counted(len(items), kind)}: "
            f"give one height in µm for {each}, in the same order."
        )


def _stated_height(image: ImageFile) -> float:
    height = z_from_name(image.name) if image.z_um is None else float(image.z_um[0])
    if height is None:
        why = image.doubts.get("z_um")
        raise InputError(
            f"The z position of '{image.name}' is neither in its metadata"
            f"{f' ({why})' if why else ''} nor in its name: "
            "give the heights of all files in µm with --z."
        )
    return height


def scans_from_stack(
    image: ImageFile,
    planes: Sequence[int],
    z_step_um: float | None = None,
    *,
    z_um: Sequence[float] | None = None,
) -> list[Scan]:
    """Make scans of chosen planes of a stack.

    Parameters
    ----------
    image : ImageFile
        A stack (Z, Y, X).
    planes : sequence of int
        Numbers of the planes, the first one 0.
    z_step_um : float, optional
        Distance between planes in micrometres, above 0; it overrides the file, and plane
        0 is then at height 0.
    z_um : sequence of float, optional
        Heights of the chosen planes in micrometres, in their order; they override both.

    Raises
    ------
    InputError
        If it was reconstructed, a plane is not there or named twice, or the heights are unknown.
    """
    check_measured(image)
    heights = scan_heights(image, planes, z_step_um, z_um=z_um)
    stack, facts = image.stack, scan_facts(vars(image))
    return [
        Scan(stack[p], float(z), f"{image.name} plane {p}", facts)
        for p, z in zip(planes, heights, strict=True)
    ]


def scan_heights(
    image: ImageFile,
    planes: Sequence[int],
    z_step_um: float | None = None,
    *,
    z_um: Sequence[float] | None = None,
) -> Array:
    """Heights of chosen planes of a stack, in micrometres, in their order; as scans_from_stack."""
    missing = [p for p in planes if not 0 <= p < image.n_planes]
    if missing:
        raise InputError(
            f"'{image.name}' has no plane {missing[0]}: "
            + (
                f"its {image.n_planes} planes are numbered 0 to {image.n_planes - 1}."
                if image.n_planes > 1
                else "it is a single image."
            )
        )
    twice = [p for i, p in enumerate(planes) if p in planes[:i]]
    if twice:
        raise InputError(f"Plane {twice[0]} of '{image.name}' is named twice: name it once.")
    if z_um is None:
        return stack_heights(image, z_step_um)[list(planes)]
    _check_count(z_um, planes, "plane", "each of --planes")
    return np.asarray(z_um, np.float64)


def stack_heights(
    image: ImageFile, z_step_um: float | None = None, option: str = "--z-step-um"
) -> Array:
    """Heights (Z,) of all planes of a stack, in µm, from ``z_step_um`` (``option``) or the file."""
    if z_step_um is not None:
        if not np.isfinite(z_step_um) or z_step_um <= 0:
            raise InputError(f"The z step {z_step_um:g} µm is not above 0: correct {option}.")
        return spaced_heights(z_step_um, image.n_planes, image.z_um)
    if image.z_um is None and image.n_planes == 1:
        raise InputError(
            f"'{image.name}' is one image, not a stack: give at least two images and their heights."
        )
    if image.z_um is None:
        why = image.doubts.get("z_um")
        reason = f"are uncertain, because {why}" if why else "are not in its metadata"
        raise InputError(
            f"The heights of the planes of '{image.name}' {reason}: give the z step in µm with "
            f"{option}."
        )
    return image.z_um


def read_heights(path: str | os.PathLike[str]) -> AnyArray:
    """Read a height map in µm, shape (Y, X): a 2-D image, or what :func:`write_surface` wrote."""
    image = read_image(path)
    heights = None if Path(path).is_dir() else heights_in(Path(path))
    if heights is not None:
        return heights
    if image.n_planes > 1:
        raise InputError(
            f"'{image.name}' is a stack of {image.n_planes} planes: a height map is one 2-D image "
            "of heights in µm."
        )
    plane: AnyArray = image.stack[0]
    return plane
