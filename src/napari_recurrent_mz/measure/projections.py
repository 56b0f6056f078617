"""A volume seen from three sides: x–y, x–z and y–z projections in one pass, in micrometres.

Volumes of any size: arrays that are lazy (dask, zarr, HDF5) are read block by block along their
own chunks, each chunk once, and only those that a slab needs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from ..core.arrays import AnyArray, Planes, real_array
from ..core.errors import check_choice
from ..core.progress import at_once
from ..core.scans import InputError

How = Literal["max", "mean", "sum"]
ViewName = Literal["xy", "xz", "yz"]
Limits = tuple[float, float]
T = TypeVar("T")

HOWS: tuple[How, ...] = ("max", "mean", "sum")
VIEWS: tuple[ViewName, ...] = ("xy", "xz", "yz")
"""In the order of the axis that a view looks along: z, y, x."""

_SAME = 1e-6  # of a voxel: positions that are nearer are one


@dataclass(frozen=True)
class Slab:
    """The part of a volume that is looked through, around one point.

    Each view goes through ``thickness_um`` along its own axis: x–y along z, x–z along y, y–z
    along x. Voxels count whose centre lies in it; when there is none, the voxel around the point.

    Parameters
    ----------
    z_um, y_um, x_um : float
        The middle, in micrometres, in the coordinates of ``origin_um``.
    thickness_um : float
        In micrometres, 0 (a single layer of voxels) or more.

    Raises
    ------
    InputError
        If a number is not finite, or the thickness is below 0.
    """

    z_um: float
    y_um: float
    x_um: float
    thickness_um: float

    def __post_init__(self) -> None:
        if not np.isfinite([*self.centre_um, self.thickness_um]).all():
            raise InputError("The slab has a position or thickness that is not a finite number.")
        if self.thickness_um < 0:
            raise InputError(
                f"The slab is {self.thickness_um:g} µm thick: give a thickness of 0 or more."
            )

    @property
    def centre_um(self) -> tuple[float, float, float]:
        """The middle (z, y, x), in micrometres."""
        return self.z_um, self.y_um, self.x_um


@dataclass(frozen=True, eq=False)
class SideViews:
    """Three projections of one volume, on its voxels."""

    #: (Y, X), along z. For ``max`` the volume's own type (for truth values uint8, for half
    #: precision float32), float64 for ``mean`` and ``sum``.
    xy: AnyArray
    xz: AnyArray  #: (Z, X), along y
    yz: AnyArray  #: (Z, Y), along x
    z_um: (
        Limits  #: where the arrays begin and end: outer edges of the voxels, in micrometres, rising
    )
    y_um: Limits  #: the same along y
    x_um: Limits  #: the same along x
    #: which z went into ``xy``, which y into ``xz``, which x into ``yz``: edges, in micrometres
    through_um: tuple[Limits, Limits, Limits]
    depth: tuple[int, int, int]  #: how many voxels went into a pixel of ``xy``, ``xz``, ``yz``
    how: How  #: ``max``, ``mean`` or ``sum``

    @property
    def is_constant(self) -> bool:
        """Whether there is nothing to see: no view has two different pixels."""
        return all(bool((self[view] == self[view].flat[0]).all()) for view in VIEWS)

    def __getitem__(self, view: ViewName) -> AnyArray:
        """The view of that name: ``xy``, ``xz`` or ``yz``."""
        image: AnyArray = getattr(self, view)
        return image


def iter_side_views(
    volume: Any,
    voxel_um: Sequence[float],
    *,
    origin_um: Sequence[float] = (0.0, 0.0, 0.0),
    slab: Slab | None = None,
    how: How = "max",
    name: str = "The volume",
    block_bytes: int = 32 * 2**20,
) -> Generator[tuple[int, int], None, SideViews]:
    """Project a volume along z, y and x, as the side views of the paper (Fig. 3a, Fig. 8b).

    The generator yields after every block how many blocks are done, and of how many.

    Parameters
    ----------
    volume : array_like, shape (Z, Y, X)
        Real intensities: a NumPy array, or anything that is sliced like one (dask, zarr, HDF5).
    voxel_um : sequence of float
        Size of a voxel (z, y, x), in micrometres; below 0 along an axis that runs backwards.
    origin_um : sequence of float
        Centre of the first voxel (z, y, x), in micrometres.
    slab : Slab, optional
        Look through this part only; by default through everything.
    how : str
        ``max``, ``mean`` or ``sum`` of the voxels along the line of sight.
    name : str
        How error messages call the volume.
    block_bytes : int
        Largest block that is read at once; a larger chunk is a block of its own.

    Raises
    ------
    InputError
        If the volume is not three-dimensional, real, finite, or the slab does not meet it.

    Examples
    --------
    >>> views = side_views(volume, (0.2, 0.1, 0.1), slab=Slab(5, 12, 12, thickness_um=2))
    >>> views.xz.shape, views.through_um[1]  # looks along y, from 11 to 13 µm
    """
    planes = Planes(volume, name)
    _check(planes, voxel_um, origin_um, how, name)
    shape = planes.shape
    voxel, origin = tuple(map(float, voxel_um)), tuple(map(float, origin_um))
    inside = [
        _voxels_in_slab(axis, shape[axis], voxel[axis], origin[axis], slab, name)
        for axis in range(3)
    ]
    kind, lowest = (planes.dtype, _lowest(planes.dtype)) if how == "max" else (np.float64, 0)
    totals = [np.full(_without(axis, shape), lowest, kind) for axis in range(3)]
    blocks = [
        block
        for block in _blocks(planes, block_bytes)
        if any(_overlap(part, seen) for part, seen in zip(block, inside, strict=True))
    ]
    for done, block in enumerate(blocks, start=1):
        _add_block(planes, block, inside, how, totals, name)
        yield done, len(blocks)
    z, y, x = (part.stop - part.start for part in inside)
    if how == "mean":
        totals = [total / depth for total, depth in zip(totals, (z, y, x), strict=True)]
    rising = [slice(None, None, 1 if size > 0 else -1) for size in voxel]
    xy, xz, yz = (total[_without(axis, rising)] for axis, total in enumerate(totals))
    whole = [slice(0, size) for size in shape]
    through_um = _edges_um(inside, voxel, origin)
    return SideViews(xy, xz, yz, *_edges_um(whole, voxel, origin), through_um, (z, y, x), how)


side_views = at_once(iter_side_views)


def _edges_um(
    voxels: Sequence[slice], voxel_um: Sequence[float], origin_um: Sequence[float]
) -> tuple[Limits, Limits, Limits]:
    """Outer edges of a range of voxels along z, y and x, the lower first."""
    edges = []
    for part, size, first in zip(voxels, voxel_um, origin_um, strict=True):
        ends = (first + size * (part.start - 0.5), first + size * (part.stop - 0.5))
        edges.append((min(ends), max(ends)))
    z_um, y_um, x_um = edges
    return z_um, y_um, x_um


def _without(axis: int, items: Sequence[T]) -> tuple[T, ...]:
    """The items of the other two axes."""
    return tuple(item for other, item in enumerate(items) if other != axis)


def _check(
    volume: Planes, voxel_um: Sequence[float], origin_um: Sequence[float], how: str, name: str
) -> None:
    shape = volume.shape
    if len(shape) != 3 or 0 in shape:
        raise InputError(
            f"{name} has shape {shape}: side views need a volume (z, y, x) with voxels in it."
        )
    if not _are_three(voxel_um, "The voxel size") or not np.all(voxel_um):
        raise InputError(
            f"The voxel size of {_within_sentence(name)} is {voxel_um}: give the size "
            "along z, y and x in µm, none of them 0."
        )
    if not _are_three(origin_um, "The origin"):
        raise InputError(
            f"The origin of {_within_sentence(name)} is {origin_um}: give z, y and x in µm."
        )
    check_choice("projection", how, HOWS)


def _are_three(lengths: Any, label: str) -> bool:
    return real_array(lengths, label, of="length").shape == (3,)


def _within_sentence(name: str) -> str:
    return name[0].lower() + name[1:] if name else "the volume"


def _voxels_in_slab(
    axis: int, count: int, voxel: float, origin: float, slab: Slab | None, name: str
) -> slice:
    """The voxels of an axis whose centres lie in the slab, or the one around its middle."""
    if slab is None:
        return slice(0, count)
    centre, half = slab.centre_um[axis], slab.thickness_um / 2
    middle, reach = (centre - origin) / voxel, half / abs(voxel)
    first = max(math.ceil(middle - reach - _SAME), 0)
    last = min(math.floor(middle + reach + _SAME), count - 1)
    if first <= last:
        return slice(first, last + 1)
    nearest = round(middle)
    if reach < 0.5 and -0.5 - _SAME <= middle <= count - 0.5 + _SAME:
        nearest = min(max(nearest, 0), count - 1)
        return slice(nearest, nearest + 1)
    ends = sorted((origin - voxel / 2, origin + voxel * (count - 0.5)))
    raise InputError(
        f"The slab at {'zyx'[axis]} = {centre:g} µm, {slab.thickness_um:g} µm thick, does not "
        f"meet {_within_sentence(name)}, whose {'zyx'[axis]} runs from {ends[0]:g} to "
        f"{ends[1]:g} µm: move the position, or look through everything."
    )


def _lowest(dtype: Any) -> Any:
    return -np.inf if np.dtype(dtype).kind == "f" else np.iinfo(dtype).min


def _overlap(one: slice, other: slice) -> slice | None:
    start, stop = max(one.start, other.start), min(one.stop, other.stop)
    return slice(start, stop) if start < stop else None


def _add_block(
    volume: Planes,
    block: tuple[slice, ...],
    inside: Sequence[slice],
    how: How,
    totals: Sequence[AnyArray],
    name: str,
) -> None:
    """Read a block once and put it in the views that it belongs to."""
    overlaps = [_overlap(part, seen) for part, seen in zip(block, inside, strict=True)]
    if sum(part is not None for part in overlaps) == 1:  # else their union spans the block
        block = tuple(over or part for over, part in zip(overlaps, block, strict=True))
    values = volume.read(block)
    _check_finite(values, block[0].start, name)
    for axis, part in enumerate(overlaps):
        if part is None:
            continue
        start = block[axis].start
        seen = values[(slice(None),) * axis + (slice(part.start - start, part.stop - start),)]
        place = totals[axis][_without(axis, block)]
        if how == "max":
            np.maximum(place, seen.max(axis=axis), out=place)
        else:
            place += seen.sum(axis=axis, dtype=np.float64)


def _check_finite(values: AnyArray, first_plane: int, name: str) -> None:
    if values.dtype.kind != "f":
        return
    good = np.isfinite(values)
    if not good.all():
        plane = first_plane + int(np.argmin(good.all(axis=(1, 2))))
        raise InputError(
            f"{name} has voxels that are NaN or infinite, the first in plane {plane}: replace "
            "them before projecting."
        )


def _blocks(volume: Planes, block_bytes: int) -> Iterable[tuple[slice, ...]]:
    """The volume in blocks of whole chunks, in the order in which they are stored."""
    edges = _chunk_edges(volume)
    largest = [max(b - a for a, b in itertools.pairwise(along)) for along in edges]
    room = block_bytes / (np.dtype(volume.dtype).itemsize * math.prod(largest))
    slices: list[list[slice]] = [[], [], []]
    for axis in (2, 1, 0):
        count = len(edges[axis]) - 1
        group = max(1, min(count, int(room)))
        room /= group
        bounds = [*edges[axis][:-1:group], edges[axis][-1]]
        slices[axis] = [slice(a, b) for a, b in itertools.pairwise(bounds)]
    return itertools.product(*slices)


def _chunk_edges(volume: Planes) -> list[list[int]]:
    """Where the chunks of each axis begin and end; rows, when there are no chunks."""
    chunks = volume.chunks or (1, 1, volume.shape[2])
    edges = []
    for size, chunk in zip(volume.shape, chunks, strict=True):
        if isinstance(chunk, int | np.integer):  # zarr, HDF5: one size for all
            edges.append([*range(0, size, int(chunk)), size])
        else:  # dask: the size of each
            edges.append([0, *(int(end) for end in np.cumsum(chunk))])
    return edges
