"""OME-Zarr (NGFF 0.4 and 0.5): the full-resolution level with its scale and units."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..scans import InputError
from ._image_file import ImageFile, square_pixel, squeeze_to_zyx, to_um

PROVENANCE_KEY = "napari-recurrent-mz"


def is_zarr(path: Path) -> bool:
    """Whether ``path`` is a folder that holds a Zarr group."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))


def read_zarr(path: Path) -> ImageFile:
    """Read the largest level of an OME-Zarr image.

    Raises
    ------
    InputError
        If it is not an OME-Zarr image, or is incomplete.
    """
    import zarr

    wrong = InputError(
        f"'{path.name}' is not a complete OME-Zarr image: "
        "give a folder with the multiscales metadata of NGFF 0.4 or 0.5."
    )
    try:
        group = zarr.open_group(path, mode="r")
        attributes: dict[str, Any] = dict(group.attrs)
        ome = attributes.get("ome", attributes)
        multiscale = ome["multiscales"][0]
        level = multiscale["datasets"][0]
        array = group[level["path"]]
        if not isinstance(array, zarr.Array):
            raise wrong
        axes = [a if isinstance(a, dict) else {"name": a} for a in multiscale["axes"]]
        letters = "".join(str(a["name"])[0].upper() for a in axes)
        shape = array.shape
        squeeze_to_zyx(np.broadcast_to(np.uint8(0), shape), letters, path.name)
        data = np.asarray(array[...])
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OSError, RuntimeError):
        raise wrong from None
    scale, shift = _scale_and_shift(level, multiscale, len(axes))
    in_um = {
        letter: (to_um(s, a.get("unit")), to_um(t, a.get("unit")))
        for letter, a, s, t in zip(letters, axes, scale, shift, strict=True)
    }
    return _image(
        squeeze_to_zyx(data, letters, path.name), path, in_um, attributes.get(PROVENANCE_KEY) or {}
    )


def _image(
    data: npt.NDArray[Any],
    path: Path,
    in_um: Mapping[str, tuple[float | None, float | None]],
    provenance: Mapping[str, Any],
) -> ImageFile:
    step, first = in_um.get("Z", (None, None))
    z_um = None
    if step is not None and step > 0:
        n = 1 if data.ndim == 2 else data.shape[0]
        z_um = (first or 0.0) + step * np.arange(n, dtype=np.float64)
    optics = provenance.get("optics") or {}
    return ImageFile(
        data,
        path.name,
        str(path),
        z_um=z_um,
        pixel_um=square_pixel(in_um["Y"][0], in_um["X"][0], path.name),
        z_step_um=step,
        na=optics.get("na"),
        wavelength_um=optics.get("wavelength_um"),
        immersion_index=optics.get("immersion_index"),
        provenance=provenance,
    )


def _scale_and_shift(
    level: Mapping[str, Any], multiscale: Mapping[str, Any], n: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scale and translation of a level: its own transformations, then those of all levels."""
    scale, shift = np.ones(n), np.zeros(n)
    for holder in (level, multiscale):
        for step in holder.get("coordinateTransformations") or ():
            if step.get("type") == "scale" and len(step.get("scale", ())) == n:
                factor = np.asarray(step["scale"], dtype=np.float64)
                scale, shift = scale * factor, shift * factor
            elif step.get("type") == "translation" and len(step.get("translation", ())) == n:
                shift = shift + np.asarray(step["translation"], dtype=np.float64)
    return scale, shift


def write_zarr(
    path: Path,
    volume: npt.NDArray[Any],
    z_um: npt.NDArray[np.float64],
    pixel_um: float,
    provenance: Mapping[str, Any],
    name: str,
) -> None:
    """Write ``volume`` (Z, Y, X) as OME-Zarr 0.5, one level, micrometres."""
    import zarr

    step = float(np.mean(np.diff(z_um))) if volume.shape[0] > 1 else 1.0
    group = zarr.open_group(path, mode="w", zarr_format=3)
    chunks = (1, min(volume.shape[1], 1024), min(volume.shape[2], 1024))
    array = group.create_array(
        "0",
        shape=volume.shape,
        dtype=volume.dtype.name,
        chunks=chunks,
        dimension_names=("z", "y", "x"),
    )
    array[...] = volume
    multiscale: dict[str, Any] = {
        "name": name,
        "axes": [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"],
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [round(step, 9), pixel_um, pixel_um]},
                    {"type": "translation", "translation": [round(float(z_um[0]), 9), 0.0, 0.0]},
                ],
            }
        ],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    group.attrs[PROVENANCE_KEY] = json.loads(json.dumps(dict(provenance)))
