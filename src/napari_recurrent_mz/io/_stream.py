"""A volume written plane after plane, so that it never needs to fit in memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..core.scans import InputError
from ._whole import Workplace, refusals_of
from ._zarr import ZarrPlanes

_PYRAMID = 4 / 3  # of the finest level, all levels together
_SPARE_BYTES = 50_000_000


class Planes(Protocol):
    """A file of one format whose planes are put in one by one."""

    def put(self, index: int, plane: npt.NDArray[Any]) -> None:
        """Write one plane (Y, X)."""

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write what is told about the volume, and close it."""

    def close(self) -> None:
        """Let go of the file."""


class VolumeWriter:
    """Writes a volume plane after plane, in any order, as OME-TIFF or OME-Zarr 0.5.

    Until :meth:`finish` it lies under a temporary name in the same folder, so a volume under
    the final name is always whole. Left without :meth:`finish`, by an error or on purpose,
    nothing stays.

    Parameters
    ----------
    path : path
        Ends in ``.zarr`` (OME-Zarr: chunks of one plane and at most 1024 × 1024 pixels, with
        halved levels down to 1024 pixels a side) or ``.tif``/``.tiff`` (OME-TIFF).
    shape : tuple of int
        (Z, Y, X).
    z_um : array_like, shape (Z,)
        Heights of the planes, in micrometres, evenly spaced.
    pixel_um : float
        Pixel size, in micrometres.
    inputs : iterable of path
        Files that must not be overwritten.
    dtype : dtype, optional
        Of what is written.
    in_plate : bool, optional
        Whether ``path`` is a field of an OME-Zarr plate, whatever its ending.

    Attributes
    ----------
    path : Path
        Where the volume will be.
    part : Path
        Where it is until it is finished.
    shape : tuple of int

    Raises
    ------
    InputError
        As :func:`check_output`, when the disk has too little room, or when it refuses.

    Examples
    --------
    >>> with VolumeWriter("v.ome.zarr", (101, 4096, 4096), grid.z_um, 0.103) as volume:
    ...     for plane in iter_planes(scans, grid, optics=optics):
    ...         volume[plane.index] = plane.pixels
    ...     volume.finish({"method": "recurrent-mz"})    # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: tuple[int, int, int],
        z_um: npt.ArrayLike,
        pixel_um: float,
        *,
        inputs: Iterable[str | os.PathLike[str]] = (),
        dtype: npt.DTypeLike = np.float32,
        in_plate: bool = False,
    ) -> None:
        from . import check_output

        self.path = Path(path) if in_plate else check_output(path, inputs)
        self.dtype = np.dtype(dtype)
        self._is_zarr = in_plate or self.path.suffix.lower() == ".zarr"
        self.shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        self._heights = np.asarray(z_um, np.float64)
        if self._heights.shape != self.shape[:1]:
            raise ValueError(f"a volume {shape} cannot have heights of {self._heights.shape}")
        check_disk(self.path, self.shape, self.dtype.itemsize)
        self._workplace = Workplace(self.path)
        self.part = self._workplace.part
        self._written: set[int] = set()
        self._is_open = True
        try:
            with refusals_of(self.path):
                self._planes = self._opened(float(pixel_um))
        except BaseException:
            self._workplace.remove()
            raise

    def _opened(self, pixel_um: float) -> Planes:
        name = self.path.name.split(".")[0]
        if self._is_zarr:
            return ZarrPlanes(self.part, self.shape, self.dtype, self._heights, pixel_um, name)
        from ._tiff import TiffPlanes

        return TiffPlanes(self.part, self.shape, self.dtype, self._heights, pixel_um, name)

    @property
    def finished_planes(self) -> list[int]:
        """Numbers of the planes that were written, rising."""
        return sorted(self._written)

    def __setitem__(self, index: int, plane: npt.ArrayLike) -> None:
        """Write the plane with this number, (Y, X), over one that was there."""
        pixels = np.asarray(plane, self.dtype)
        if pixels.shape != self.shape[1:] or not 0 <= index < self.shape[0]:
            raise ValueError(f"a plane {pixels.shape} is not plane {index} of {self.shape}")
        with refusals_of(self.path):
            self._planes.put(int(index), pixels)
        self._written.add(int(index))

    @property
    def levels(self) -> list[Any]:
        """Arrays (Z, Y, X) of an OME-Zarr as they fill, the finest first."""
        assert isinstance(self._planes, ZarrPlanes)
        return self._planes.levels

    def keep_finished(self) -> None:
        """Cut an OME-Zarr to the planes that were written, which must be one block.

        Raises
        ------
        ValueError
            If planes between those that were written are missing, or there are none.
        InputError
            When the disk refuses.
        """
        assert isinstance(self._planes, ZarrPlanes)
        finished = self.finished_planes
        if not finished or finished[-1] - finished[0] + 1 != len(finished):
            raise ValueError(f"the planes {finished} are not one block")
        with refusals_of(self.path):
            self._planes.crop(finished[0], len(finished))
        self.shape = (len(finished), *self.shape[1:])

    def finish(self, provenance: Mapping[str, Any] | None = None, *, durable: bool = False) -> Path:
        """Complete the file and give it its name; what was there is replaced.

        Parameters
        ----------
        provenance : mapping, optional
            How the volume was made; anything JSON can hold.
        durable : bool, optional
            Return once the disk has it.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            If planes are missing.
        InputError
            When the disk refuses.
        """
        missing = self.shape[0] - len(self._written)
        if missing:
            raise ValueError(f"{missing} of {self.shape[0]} planes were not written")
        try:
            with refusals_of(self.path):
                self._planes.finish(provenance or {})
                self._workplace.put_in_place(durable=durable)
        finally:
            self.discard()
        return self.path

    def discard(self) -> None:
        """Leave nothing behind, unless it is finished."""
        if self._is_open:
            try:
                self._planes.close()
            finally:
                self._workplace.remove()
            self._is_open = False

    def __enter__(self) -> VolumeWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()


def disk_bytes(shape: tuple[int, int, int], itemsize: int = 4, *, pyramid: bool = True) -> int:
    """Room that a volume may take on a disk, in bytes; OME-Zarr compresses, so often less."""
    z, y, x = shape
    return int(z * y * x * itemsize * (_PYRAMID if pyramid else 1)) + _SPARE_BYTES


def check_disk(path: Path, shape: tuple[int, int, int], itemsize: int = 4) -> None:
    """Refuse a volume (Z, Y, X) at ``path`` that the disk cannot hold, before any work is done."""
    needed = disk_bytes(shape, itemsize, pyramid=path.suffix.lower() not in (".tif", ".tiff"))
    free = shutil.disk_usage(path.resolve().parent).free
    if needed > free:
        raise InputError(
            f"'{path.name}' may need {needed / 1e9:,.1f} GB but its disk has "
            f"{free / 1e9:,.1f} GB free: free some space, or write to another disk."
        )
