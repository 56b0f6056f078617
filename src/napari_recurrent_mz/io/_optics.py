"""The optics of files: as a person gives them, else as the files state them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose
from pathlib import Path

import numpy as np

from ..core.optics import ALIKE, Optics
from ..core.scans import InputError, listed
from ._image_file import ImageFile

OPTICS = (
    ("--pixel-um", "pixel_um", "pixel size in the sample", 0.103),
    ("--na", "na", "numerical aperture", 1.4),
    ("--wavelength-um", "wavelength_um", "emission wavelength", 0.52),
    ("--immersion-index", "immersion_index", "refractive index of the immersion", 1.515),
)
"""Option, name in :class:`ImageFile` and Optics, words for a person, example."""


def overridden(given: Mapping[str, float | None], images: Sequence[ImageFile]) -> list[str]:
    """Sentences on optics and z steps that were given where files state others."""
    words = {name: words for _, name, words, _ in OPTICS} | {"z_step_um": "z step"}
    notes = []
    for name, value in given.items():
        if value is None:
            continue
        stated = [
            (i.name, _step_um(i) if name == "z_step_um" else getattr(i, name)) for i in images
        ]
        others = [
            (file, one) for file, one in stated if one and not isclose(one, value, rel_tol=ALIKE)
        ]
        unit = " µm" if name.endswith("_um") else ""
        notes += [
            f"'{file}' says that the {words[name]} is {one:.6g}{unit}: "
            f"{value:.6g}{unit} was taken, as given."
            for file, one in others[:1]
        ]
    return notes


def _step_um(image: ImageFile) -> float | None:
    """The z step that a file states, on average where its heights are uneven."""
    if image.z_step_um is not None or image.z_um is None or image.n_planes < 2:
        return image.z_step_um
    return float(np.ptp(image.z_um)) / (image.n_planes - 1)


def optics_values(
    given: Mapping[str, float | None], images: Sequence[ImageFile]
) -> dict[str, float | None]:
    """The optics by name: as given, else as the files, which must agree, state them, else None."""
    return {
        name: _stated(given.get(name), name, words, option, images)
        for option, name, words, _ in OPTICS
    }


def _stated(
    given: float | None, name: str, words: str, option: str, images: Sequence[ImageFile]
) -> float | None:
    if given is not None:
        return float(given)
    values = [(image, getattr(image, name)) for image in images]
    stated = [(image, float(value)) for image, value in values if value is not None]
    if not stated:
        return None
    first, value = stated[0]
    for image, other in stated[1:]:
        if abs(other - value) > ALIKE * value:
            raise InputError(
                f"The {words} is {value:g} in '{first.name}' but {other:g} in '{image.name}': "
                f"give the right one with {option}."
            )
    return value


def optics_for(
    method_needs_optics: bool, given: Mapping[str, float | None], images: Sequence[ImageFile]
) -> tuple[Optics | None, float]:
    """The optics, None where they are incomplete and the pixel size is enough, and that size."""
    values = optics_values(given, images)
    missing = [row for row in OPTICS if values[row[1]] is None]
    needed = [row for row in missing if method_needs_optics or row[1] == "pixel_um"]
    if needed:
        words = listed([row[2] for row in needed])
        verb, them = ("is", "it") if len(needed) == 1 else ("are", "them")
        options = " ".join(f"{row[0]} {row[3]:g}" for row in needed)
        first = images[0]
        why = dict.fromkeys(first.doubts[row[1]] for row in needed if row[1] in first.doubts)
        raise InputError(
            f"The {words} {verb} not in the metadata of '{Path(first.path).name or first.name}'"
            f"{f' ({listed(list(why))})' if why else ''}: "
            f"give {them}, for instance as {options}."
        )
    known = {name: value for name, value in values.items() if value is not None}
    return None if missing else Optics(**known), known["pixel_um"]
