"""A volume that was written here is opened again before anybody relies on it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..core.scans import InputError
from ._parts import Part, read_part
from ._zarr import chunks_of, level_shapes, reading_zarr


def verify_volume(path: Path, shape: tuple[int, int, int], time: int | None = None) -> str:
    """Open a volume (Z, Y, X) that was written here, with all its levels and planes.

    An OME-TIFF, an OME-Zarr image, or one ``time`` of it. Returns a digest that no other volume
    has, and not this one after it was changed; refuses one that is not whole or has another shape.
    """
    contents = _zarr_contents(path, shape, time) if path.is_dir() else _tiff_contents(path, shape)
    return hashlib.blake2b(
        json.dumps(contents, sort_keys=True).encode(), digest_size=12
    ).hexdigest()


def _tiff_contents(path: Path, shape: tuple[int, int, int]) -> list[Any]:
    image = read_part(Part(str(path)), (shape[0] - 1,))  # no plane is cut short if it is read
    _check_shape(path, image.stack.shape, shape)
    z_um = None if image.z_um is None else image.z_um.tolist()
    return [path.stat().st_size, z_um, dict(image.provenance)]


def _zarr_contents(path: Path, shape: tuple[int, int, int], time: int | None) -> list[Any]:
    import zarr

    at = () if time is None else (time,)
    with reading_zarr(path.name):
        group = zarr.open_group(path, mode="r")
        ome: Any = group.attrs["ome"]
        levels: list[Any] = [group[level["path"]] for level in ome["multiscales"][0]["datasets"]]
        _check_shape(path, levels[0].shape[len(at) :], shape)
        if [level.shape for level in levels] != level_shapes(levels[0].shape):
            raise InputError(f"'{path.name}' lacks a level: make it again.")
        contents: list[Any] = [dict(group.attrs)]
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
