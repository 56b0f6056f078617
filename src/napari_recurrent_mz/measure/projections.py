"""A volume seen from three sides: x–y, x–z and y–z projections in one pass, in micrometres.

Volumes of any size: arrays that are lazy (dask, zarr, HDF5) are read block by block along their
own chunks, each chunk once, and only those that a slab needs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..core.progress import finished
from ..core.scans import InputError

Array = npt.NDArray[Any]
How = Literal["max", "mean", "sum"]
ViewName = Literal["xy", "xz", "yz"]
Limits = tuple[float, float]

HOWS: tuple[How, ...] = ("max", "mean", "sum")
VIEWS: tuple[ViewName, ...] = ("xy", "xz", "yz")
"""In the order of the axis that a view looks along: z, y, x."""

_BLOCK_BYTES = 32 * 2**20
_AXES = "zyx"
_SAME = 1e-6
"""Positions that are nearer than this share of a voxel are one."""


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
    """Three projections of one volume, on its voxels.

    Attributes
    ----------
    xy : ndarray, shape (Y, X)
        Along z. The volume's own type for ``max``, float64 for ``mean`` and ``sum``.
    xz : ndarray, shape (Z, X)
        Along y.
    yz : ndarray, shape (Z, Y)
        Along x.
    z_um, y_um, x_um : tuple of float
        Where the arrays begin and end, at the outer edges of the voxels, in micrometres, rising.
    through_um : tuple of tuple of float
        Which z went into ``xy``, which y into ``xz``, which x into ``yz``: edges, in micrometres.
    depth : tuple of int
        How many voxels went into a pixel of ``xy``, ``xz``, ``yz``.
    how : str
        ``max``, ``mean`` or ``sum``.
    """

    xy: Array
    xz: Array
    yz: Array
    z_um: Limits
    y_um: Limits
    x_um: Limits
    through_um: tuple[Limits, Limits, Limits]
    depth: tuple[int, int, int]
    how: How

    @property
    def is_constant(self) -> bool:
        """Whether there is nothing to see: no view has two different pixels."""
        return all(bool((self[view] == self[view].flat[0]).all()) for view in VIEWS)

    def __getitem__(self, view: ViewName) -> Array:
        """The view of that name: ``xy``, ``xz`` or ``yz``."""
        return {"xy": self.xy, "xz": self.xz, "yz": self.yz}[view]


def side_views(
    volume: Any,
    voxel_um: Sequence[float],
    *,
    origin_um: Sequence[float] = (0.0, 0.0, 0.0),
    slab: Slab | None = None,
    how: How = "max",
    name: str = "The volume",
) -> SideViews:
    """Project a volume along z, y and x, as the side views of the paper (Fig. 3a, Fig. 8b).

    Parameters
    ----------
    volume : array_like, shape (Z, Y, X)
        Real intensities: a NumPy array, or anything that is sliced like one (dask, zarr, HDF5),
        which is then read in blocks of at most 32 MiB (or of one chunk, where that is larger).
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

    Returns
    -------
    SideViews

    Raises
    ------
    InputError
        If the volume is not three-dimensional, real, finite, or the slab does not meet it.

    Examples
    --------
    >>> views = side_views(volume, (0.2, 0.1, 0.1), slab=Slab(5, 12, 12, thickness_um=2))
    >>> views.xz.shape, views.through_um[1]  # looks along y, from 11 to 13 µm
    """
    steps = iter_side_views(volume, voxel_um, origin_um=origin_um, slab=slab, how=how, name=name)
    return finished(steps)


def iter_side_views(
    volume: Any,
    voxel_um: Sequence[float],
    *,
    origin_um: Sequence[float] = (0.0, 0.0, 0.0),
    slab: Slab | None = None,
    how: How = "max",
    name: str = "The volume",
    block_bytes: int = _BLOCK_BYTES,
) -> Generator[tuple[int, int], None, SideViews]:
    """Like :func:`side_views`, block by block: for progress, and to stop midway.

    Parameters
    ----------
    volume, voxel_um, origin_um, slab, how, name
        As for :func:`side_views`.
    block_bytes : int
        Largest block that is read at once; a larger chunk is a block of its own.

    Yields
    ------
    tuple of int
        How many blocks are done, and of how many.

    Returns
    -------
    SideViews
        As the value of the generator (``views = yield from iter_side_views(...)``).
    """
    frame = _Frame.of(volume, voxel_um, origin_um, slab, how, name)
    totals = [
        np.full(shape, _lowest(volume.dtype) if how == "max" else 0, _dtype_of(volume.dtype, how))
        for shape in _view_shapes(volume.shape)
    ]
    blocks = [block for block in _blocks(volume, block_bytes) if frame.axes_at(block)]
    for done, block in enumerate(blocks, start=1):
        _take(volume, block, frame, totals, name)
        yield done, len(blocks)
    return frame.finished(totals)


@dataclass(frozen=True)
class _Frame:
    """Where the voxels are, and which of them each view goes through."""

    voxel_um: tuple[float, ...]
    origin_um: tuple[float, ...]
    shape: tuple[int, ...]
    inside: tuple[slice, ...]
    how: How

    @classmethod
    def of(
        cls,
        volume: Any,
        voxel_um: Sequence[float],
        origin_um: Sequence[float],
        slab: Slab | None,
        how: How,
        name: str,
    ) -> _Frame:
        _check(volume, voxel_um, origin_um, how, name)
        shape = tuple(int(size) for size in volume.shape)
        voxel, origin = tuple(map(float, voxel_um)), tuple(map(float, origin_um))
        inside = tuple(
            slice(0, shape[axis])
            if slab is None
            else _voxels_in_slab(axis, shape[axis], voxel[axis], origin[axis], slab, name)
            for axis in range(3)
        )
        return cls(voxel, origin, shape, inside, how)

    def axes_at(self, block: tuple[slice, ...]) -> list[int]:
        """The views, by the axis they look along, into which voxels of the block go."""
        return [axis for axis in range(3) if _overlap(block[axis], self.inside[axis])]

    def edges_um(self, axis: int, part: slice) -> Limits:
        """Outer edges of the voxels ``part`` of an axis, the lower first."""
        origin, voxel = self.origin_um[axis], self.voxel_um[axis]
        ends = (origin + voxel * (part.start - 0.5), origin + voxel * (part.stop - 0.5))
        return min(ends), max(ends)

    def finished(self, totals: list[Array]) -> SideViews:
        """The views, each axis rising."""
        depth = tuple(part.stop - part.start for part in self.inside)
        views = []
        for axis, total in enumerate(totals):
            others = [other for other in range(3) if other != axis]
            image = total / depth[axis] if self.how == "mean" else total
            views.append(image[tuple(slice(None, None, self._sign(o)) for o in others)])
        z_um, y_um, x_um = (self.edges_um(a, slice(0, self.shape[a])) for a in range(3))
        through = tuple(self.edges_um(axis, self.inside[axis]) for axis in range(3))
        return SideViews(
            xy=views[0],
            xz=views[1],
            yz=views[2],
            z_um=z_um,
            y_um=y_um,
            x_um=x_um,
            through_um=(through[0], through[1], through[2]),
            depth=(depth[0], depth[1], depth[2]),
            how=self.how,
        )

    def _sign(self, axis: int) -> int:
        return 1 if self.voxel_um[axis] > 0 else -1


def _check(
    volume: Any, voxel_um: Sequence[float], origin_um: Sequence[float], how: str, name: str
) -> None:
    shape = tuple(getattr(volume, "shape", ()))
    if len(shape) != 3 or 0 in shape:
        raise InputError(
            f"{name} has shape {shape}: side views need a volume (z, y, x) with voxels in it."
        )
    if np.dtype(volume.dtype).kind not in "uifb":
        raise InputError(f"{name} holds values of type {volume.dtype}: give real intensities.")
    if len(voxel_um) != 3 or not np.isfinite(voxel_um).all() or not np.all(voxel_um):
        raise InputError(
            f"The voxel size of {_within_sentence(name)} is {tuple(voxel_um)}: give the size "
            "along z, y and x in µm, none of them 0."
        )
    if len(origin_um) != 3 or not np.isfinite(origin_um).all():
        raise InputError(
            f"The origin of {_within_sentence(name)} is {tuple(origin_um)}: give z, y and x in µm."
        )
    if how not in HOWS:
        raise InputError(f"There is no projection '{how}': choose one of {', '.join(HOWS)}.")


def _within_sentence(name: str) -> str:
    return name[0].lower() + name[1:] if name else "the volume"


def _voxels_in_slab(
    axis: int, count: int, voxel: float, origin: float, slab: Slab, name: str
) -> slice:
    """The voxels of an axis whose centres lie in the slab, or the one around its middle."""
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
        f"The slab at {_AXES[axis]} = {centre:g} µm, {slab.thickness_um:g} µm thick, does not "
        f"meet {_within_sentence(name)}, whose {_AXES[axis]} runs from {ends[0]:g} to "
        f"{ends[1]:g} µm: move the position, or look through everything."
    )


def _view_shapes(shape: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(s for other, s in enumerate(shape) if other != axis) for axis in range(3)]


def _dtype_of(dtype: Any, how: How) -> npt.DTypeLike:
    return np.dtype(dtype) if how == "max" else np.float64


def _lowest(dtype: Any) -> Any:
    """The lowest value of the type."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return False
    return -np.inf if kind == "f" else np.iinfo(dtype).min


def _overlap(one: slice, other: slice) -> slice | None:
    start, stop = max(one.start, other.start), min(one.stop, other.stop)
    return slice(start, stop) if start < stop else None


def _take(
    volume: Any, block: tuple[slice, ...], frame: _Frame, totals: list[Array], name: str
) -> None:
    """Read a block once and put it in the views that it belongs to."""
    axes = frame.axes_at(block)
    planes = list(block)
    if len(axes) == 1:  # otherwise their union spans the block anyway
        planes[axes[0]] = _overlap(block[axes[0]], frame.inside[axes[0]]) or block[axes[0]]
    values = np.asarray(volume[tuple(planes)])
    _check_finite(values, planes[0].start, name)
    for axis in axes:
        part = _overlap(planes[axis], frame.inside[axis])
        assert part is not None
        start = planes[axis].start
        seen = values[
            tuple(
                slice(part.start - start, part.stop - start) if a == axis else slice(None)
                for a in range(3)
            )
        ]
        place = totals[axis][tuple(planes[other] for other in range(3) if other != axis)]
        if frame.how == "max":
            np.maximum(place, seen.max(axis=axis), out=place)
        else:
            place += seen.sum(axis=axis, dtype=np.float64)


def _check_finite(values: Array, first_plane: int, name: str) -> None:
    if values.dtype.kind != "f":
        return
    good = np.isfinite(values)
    if not good.all():
        plane = first_plane + int(np.argmin(good.all(axis=(1, 2))))
        raise InputError(
            f"{name} has voxels that are NaN or infinite, the first in plane {plane}: replace "
            "them before projecting."
        )


def _blocks(volume: Any, block_bytes: int) -> Iterator[tuple[slice, ...]]:
    """The volume in blocks of whole chunks, in the order in which they are stored."""
    edges = _chunk_edges(volume)
    largest = [max(b - a for a, b in itertools.pairwise(along)) for along in edges]
    room = block_bytes / (np.dtype(volume.dtype).itemsize * math.prod(largest))
    parts: list[list[slice]] = [[], [], []]
    for axis in (2, 1, 0):
        count = len(edges[axis]) - 1
        group = max(1, min(count, int(room)))
        room /= group
        bounds = [*edges[axis][:-1:group], edges[axis][-1]]
        parts[axis] = [slice(a, b) for a, b in itertools.pairwise(bounds)]
    return itertools.product(*parts)


def _chunk_edges(volume: Any) -> list[list[int]]:
    """Where the chunks of each axis begin and end; rows, when there are no chunks."""
    shape = [int(size) for size in volume.shape]
    chunks = getattr(volume, "chunks", None) or (1, 1, shape[2])
    edges = []
    for size, chunk in zip(shape, chunks, strict=True):
        if isinstance(chunk, int | np.integer):  # zarr, HDF5: one size for all
            edges.append([*range(0, size, int(chunk)), size])
        else:  # dask: the size of each
            edges.append([0, *(int(end) for end in np.cumsum(chunk))])
    return edges
