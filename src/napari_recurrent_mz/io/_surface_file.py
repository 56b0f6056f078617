"""The image of a surface in a file, its heights beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ..core.scans import FloatArray, Heights, InputError
from ._channels import Channel, NewImage, Place
from ._tiff import HEIGHTS_NAME, ome_metadata


def write_ome_surface(
    path: Path,
    image: FloatArray,
    heights_um: Heights,
    pixel_um: float,
    provenance: Mapping[str, Any],
    name: str,
    origin_um: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Write an image (Y, X) and, as a second image, its heights in µm as OME-TIFF."""
    middle = np.array([float(heights_um.mean())])
    place = Place(pixel_um, middle, origin_um=origin_um)
    metadata = ome_metadata(NewImage(name, [Channel(image[np.newaxis])], place, provenance))
    beside = {key: metadata[key] for key in metadata if key.startswith("PhysicalSize")}
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(image[np.newaxis], photometric="minisblack", metadata=metadata)
        tif.write(
            heights_um.astype(np.float32),
            photometric="minisblack",
            metadata={**beside, "axes": "YX", "Name": HEIGHTS_NAME},
        )


def heights_in(path: Path) -> npt.NDArray[Any] | None:
    """The heights (Y, X) in µm that a file of a surface holds; None in any other file."""
    try:
        with tifffile.TiffFile(path) as tif:
            for series in tif.series:
                if series.name == HEIGHTS_NAME:
                    return np.asarray(series.asarray())
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise InputError(f"'{path.name}' cannot be read as a height map: {error}.") from error
    return None
