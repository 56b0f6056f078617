"""OME-Zarr of time-lapses (T, Z, Y, X), time point after time point, and of plates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.scans import InputError
from . import _zarr
from ._channels import NewImage, Place
from ._whole import refusals_of, write_whole
from ._write import PlaneWriter, check_disk, check_own


def make_time_lapse(
    path: Path,
    shape: tuple[int, int, int, int],
    place: Place,
    record: Mapping[str, Any],
    ngff: str = _zarr.NGFF[0],
) -> None:
    """Make an empty time-lapse (T, Z, Y, X), into which :class:`TimePoint` writes."""
    _make_room(path)
    t, z, y, x = shape
    check_disk(path, (t * z, y, x))
    name = path.name.split(".")[0]
    image = NewImage.empty(name, shape, np.float32, place)
    write_whole(path, lambda part: _zarr.OmeZarrWriter(part, image, ngff).finish(record))


def _make_room(path: Path) -> None:
    """Make the folder that a file will lie in; refuse what is in its place and not from here."""
    check_own(path)
    with refusals_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def read_time_lapse(path: Path) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Record and shape of a time-lapse; empty when there is none."""
    # Its files are read as the JSON that they are: this is asked for every time point.
    try:
        record = _zarr.root_attributes(path)[_zarr.PROVENANCE_KEY]
        shape = _zarr.array_metadata(path / "0")["shape"]
        return dict(record), tuple(int(length) for length in shape)
    except (OSError, KeyError, ValueError, TypeError):
        return {}, ()


def resize_time_lapse(path: Path, points: int, record: Mapping[str, Any]) -> None:
    """Let a time-lapse have so many time points, the first ones, and say how they were made."""
    import zarr

    with refusals_of(path):
        lengthen_time_lapse(path, points)
        group = zarr.open_group(path, mode="r+")
        group.attrs[_zarr.PROVENANCE_KEY] = json.loads(json.dumps(dict(record)))


def lengthen_time_lapse(path: Path, points: int) -> None:
    """Give a time-lapse room for more time points; those it has stay."""
    for level in _levels_of(path):
        level.resize((points, *level.shape[1:]))


def _levels_of(path: Path) -> list[Any]:
    with _zarr.every_chunk():
        return _zarr.levels_of(path, "r+")


class TimePoint(PlaneWriter):
    """Writes the planes (Z, Y, X) of one time point in their places in a time-lapse."""

    def __init__(self, path: Path, time: int, shape: tuple[int, int, int]) -> None:
        super().__init__(path)
        self.time = time
        actual = read_time_lapse(path)[1]
        if actual[1:] != shape or time >= actual[0]:
            raise InputError(
                f"Time point {time} of {shape[1]} × {shape[2]} pixels and {shape[0]} planes does "
                f"not fit into '{path.name}': all time points must have one size."
            )
        self.levels = _levels_of(path)

    def __setitem__(self, index: int, plane: npt.NDArray[np.float32]) -> None:
        with refusals_of(self.path):
            _zarr.put_plane(self.levels, (self.time, index), plane)
        self._written.add(index)


def make_plate(source: Path, target: Path, ngff: str = _zarr.NGFF[0]) -> None:
    """Make a plate with the wells and fields of another; images that it holds already stay."""
    _make_room(target)
    if (target / ("zarr.json" if ngff == "0.4" else ".zgroup")).is_file():
        raise InputError(
            f"'{target.name}' is there already in another version of NGFF than {ngff}: choose "
            "another folder for the results."
        )
    plate = {**_zarr.ome_attributes(source)["plate"], "version": ngff}
    names = {key: [str(entry["name"]) for entry in plate.get(f"{key}s") or ()] for key in _SIDES}
    for well in plate["wells"]:
        for key, name in zip(_SIDES, str(well["path"]).split("/")[:2], strict=True):
            values = names[key]
            well.setdefault(f"{key}Index", values.index(name) if name in values else 0)
    with refusals_of(target):
        group = _zarr.open_new(target, "a", ngff)
        group.attrs.setdefault(_zarr.PROVENANCE_KEY, {})
        _zarr.put_ome(group, ngff, {"plate": plate})
        for row in {str(well["path"]).split("/")[0] for well in plate["wells"]}:
            group.require_group(row)
        for well in plate["wells"]:
            metadata = _zarr.ome_attributes(source / well["path"]).get("well") or {}
            well_group = group.require_group(well["path"])
            _zarr.put_ome(well_group, ngff, {"well": {**metadata, "version": ngff}})


_SIDES = ("row", "column")
