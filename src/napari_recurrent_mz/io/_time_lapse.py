"""OME-Zarr of time-lapses (T, Z, Y, X), time point after time point, and of plates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.scans import InputError
from ._channels import Place
from ._parts import ome_attributes
from ._stream import check_disk
from ._whole import refusals_of, write_whole
from ._zarr import PROVENANCE_KEY, every_chunk, is_zarr, make_levels, multiscale, put_plane


def make_time_lapse(
    path: Path,
    shape: tuple[int, int, int, int],
    z_um: npt.NDArray[np.float64],
    pixel_um: float,
    record: Mapping[str, Any],
) -> None:
    """Make an empty time-lapse, into which :class:`TimePoint` writes; what is there is replaced.

    ``path`` is an OME-Zarr folder, or a field of a plate; ``shape`` is (T, Z, Y, X), ``z_um`` (Z,)
    evenly spaced, ``record`` what :func:`time_lapse_told` returns.
    """
    import zarr

    if path.exists() and not is_zarr(path):
        raise InputError(f"'{path.name}' is in the way, which is no OME-Zarr: move it away.")
    t, z, y, x = shape
    with refusals_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    check_disk(path, (t * z, y, x))

    def write(part: Path) -> None:
        group = zarr.open_group(part, mode="w", zarr_format=3)
        levels = make_levels(group, shape, np.dtype(np.float32), "TZYX")
        name = path.name.split(".")[0]
        image = multiscale(name, len(levels), "TZYX", Place(pixel_um, z_um))
        group.attrs[PROVENANCE_KEY] = json.loads(json.dumps(dict(record)))
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}

    write_whole(path, write)


def time_lapse_told(path: Path) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Record and shape of a time-lapse; empty when there is none."""
    # Its files are read as the JSON that they are: this is asked for every time point.
    try:
        record = json.loads((path / "zarr.json").read_bytes())["attributes"][PROVENANCE_KEY]
        shape = json.loads((path / "0" / "zarr.json").read_bytes())["shape"]
        return dict(record), tuple(int(length) for length in shape)
    except (OSError, KeyError, ValueError, TypeError):
        return {}, ()


def lengthen_time_lapse(path: Path, points: int) -> None:
    """Give a time-lapse room for more time points; those it has stay."""
    import zarr

    group = zarr.open_group(path, mode="r+")
    for number in range(len(ome_attributes(path)["multiscales"][0]["datasets"])):
        array = group[str(number)]
        assert isinstance(array, zarr.Array)
        array.resize((points, *array.shape[1:]))


class TimePoint:
    """Writes the planes (Z, Y, X) of one time point in their places in a time-lapse.

    The place has no name of its own, so planes are there as soon as they are written: whoever
    writes them keeps a record of the time points that are whole. :meth:`finish` is given the
    provenance.
    """

    def __init__(self, path: Path, time: int, shape: tuple[int, int, int]) -> None:
        import zarr

        self.path, self.time = path, time
        self.provenance: dict[str, Any] = {}
        self._written: set[int] = set()
        actual = time_lapse_told(path)[1]
        if actual[1:] != shape or time >= actual[0]:
            raise InputError(
                f"Time point {time} of {shape[1]} × {shape[2]} pixels and {shape[0]} planes does "
                f"not fit into '{path.name}': all time points must have one size."
            )
        group = zarr.open_group(path, mode="r+")
        ome: Any = group.attrs["ome"]
        levels = ome["multiscales"][0]["datasets"]
        with every_chunk():
            self._levels: list[Any] = [group[level["path"]] for level in levels]

    @property
    def finished_planes(self) -> list[int]:
        """Numbers of the planes that were written, rising."""
        return sorted(self._written)

    def __setitem__(self, index: int, plane: npt.NDArray[np.float32]) -> None:
        with refusals_of(self.path):
            put_plane(self._levels, (self.time, index), plane)
        self._written.add(index)

    def finish(self, provenance: Mapping[str, Any]) -> Path:
        """Keep how it was made."""
        self.provenance = dict(provenance)
        return self.path

    def __enter__(self) -> TimePoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


def make_plate(source: Path, target: Path) -> None:
    """Make a plate with the rows, columns, wells and fields of another, without their images.

    The source is NGFF 0.4 or 0.5, the target 0.5. Images that the target holds already stay.
    """
    import zarr

    if target.exists() and not is_zarr(target):
        raise InputError(f"'{target.name}' is in the way, which is no OME-Zarr: move it away.")
    plate = {**ome_attributes(source)["plate"], "version": "0.5"}
    rows, columns = (_names(plate, key) for key in ("rows", "columns"))
    for well in plate["wells"]:
        row, column = str(well["path"]).split("/")[:2]
        well.setdefault("rowIndex", rows.index(row) if row in rows else 0)
        well.setdefault("columnIndex", columns.index(column) if column in columns else 0)
    with refusals_of(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        group = zarr.open_group(target, mode="a", zarr_format=3)
        group.attrs["ome"] = {"version": "0.5", "plate": plate}
        for row in {str(well["path"]).split("/")[0] for well in plate["wells"]}:
            group.require_group(row)
        for well in plate["wells"]:
            metadata = ome_attributes(source / well["path"]).get("well") or {}
            converted = {**metadata, "version": "0.5"}
            well_group = group.require_group(well["path"])
            well_group.attrs["ome"] = {"version": "0.5", "well": converted}


def _names(plate: Mapping[str, Any], key: str) -> list[str]:
    return [str(entry["name"]) for entry in plate.get(key) or ()]
