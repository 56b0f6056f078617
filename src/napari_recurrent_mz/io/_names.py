"""Heights written in file names."""

from __future__ import annotations

import re

_ENDINGS = (".ome.tif", ".ome.tiff", ".ome.zarr", ".tif", ".tiff", ".zarr")
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
    text = name.replace("μ", "µ")
    for ending in _ENDINGS:
        if text.lower().endswith(ending):
            text = text[: -len(ending)]
            break
    heights = {height for match in _HEIGHT.finditer(text) if (height := _height(match)) is not None}
    return heights.pop() if len(heights) == 1 else None


def _height(match: re.Match[str]) -> float | None:
    number, unit = match["number"], match["unit"]
    decimal = any(mark in number for mark in ".,")
    if unit is None and (("p" in number) or not (match["equals"] or decimal)):
        return None
    value = float(re.sub("[,p]", ".", number)) * _UNIT_UM.get(unit or "um", 1.0)
    value = round(value, 9)
    return -value if match["sign"] in ("-", "−") else value
