"""From the rows of the scan table to scans, and what to mind about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.layers import Image

from ...core.scans import InputError, Scan, check_scans, require_several
from .layers import is_turned, known_metadata, lateral_origin_um, world_scale
from .layers import pixel_um as layer_pixel_um
from .scan_table import Row

_ONE_CHANNEL = {"na": "NA", "wavelength_um": "emission wavelength (µm)"}


def scans_of(rows: Sequence[Row], frame: int = 0) -> tuple[Scan, ...]:
    """The scans of these rows, at one time point.

    InputError if a height is missing or they do not go together.
    """
    for row in rows:
        if row.z_um is None:
            raise InputError(
                f"The z position of '{row.name}' is missing: type its height in µm in the table."
            )
    scans = check_scans(row.scan(frame) for row in rows)
    require_several(scans)
    known = ((row.name, layer_pixel_um(row.layer)) for row in rows if row.layer is not None)
    sizes = {f"{size:.3g}": name for name, size in known if size is not None}
    if len(sizes) > 1:
        pairs = " and ".join(f"'{name}' has {size} µm" for size, name in sizes.items())
        raise InputError(f"The scans differ in pixel size ({pairs}): all must have the same one.")
    return scans


def is_incomplete(rows: Sequence[Row]) -> bool:
    """Whether the table is only unfinished, which is no mistake."""
    return len(rows) < 2 or any(row.z_um is None for row in rows)


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
    turned = [one.name for one in layers if is_turned(one) or world_scale(one)[-2:].min() < 0]
    if turned:
        sentences.append(
            f"Layer '{turned[0]}' is turned, sheared or mirrored in the viewer: the volume is not, "
            "so it will not lie over it."
        )
    return sentences


def layers_of(rows: Sequence[Row]) -> list[Image]:
    """The layers of rows."""
    return [row.layer for row in rows if row.layer is not None]
