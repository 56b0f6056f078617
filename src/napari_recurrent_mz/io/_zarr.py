"""OME-Zarr (NGFF 0.4 and 0.5): the full-resolution level with its scale and units."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..scans import InputError
from ._facts import Facts, Stated, even_step
from ._image_file import ImageFile, to_um, unreadable

if TYPE_CHECKING:
    import zarr

PROVENANCE_KEY = "napari-recurrent-mz"

_CHUNK = 1024  # pixels on a side; also how large the coarsest level may be


def is_zarr(path: Path) -> bool:
    """Whether ``path`` is a folder that holds a Zarr group."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))


class ZarrImage:
    """The largest level of an OME-Zarr image, none of whose pixels was read.

    Parameters
    ----------
    path : Path
    name : str
        How sentences call it.

    Attributes
    ----------
    array : zarr.Array
    letters : str
        Of its axes, as T, C, Z, Y and X.

    Raises
    ------
    InputError
        If it is not an OME-Zarr image, or is incomplete.
    """

    def __init__(self, path: Path, name: str) -> None:
        import zarr

        self.path, self.name = path, name
        with reading_zarr(name):
            group = zarr.open_group(path, mode="r")
            self._attributes: dict[str, Any] = dict(group.attrs)
            ome = self._attributes.get("ome", self._attributes)
            self._multiscale = ome["multiscales"][0]
            self._level = self._multiscale["datasets"][0]
            array = group[self._level["path"]]
            if not isinstance(array, zarr.Array):
                raise TypeError(self._level["path"])
            self.array = array
            named = self._multiscale["axes"]
            self._axes = [a if isinstance(a, dict) else {"name": a} for a in named]
            self.letters = "".join(str(a["name"])[0].upper() for a in self._axes)

    @property
    def told(self) -> dict[str, Any]:
        """What the metadata say of its pixels; the number of time points left out."""
        shape = zip(self.letters, self.array.shape, strict=True)
        return {
            "shape": {letter: length for letter, length in shape if letter != "T"},
            "dtype": str(self.array.dtype),
            "multiscale": self._multiscale,
        }

    def file(self, data: Any) -> ImageFile:
        """The image with pixels (Z, Y, X) or (Y, X), and what its metadata say."""
        scale, shift = _scale_and_shift(self._level, self._multiscale, len(self._axes))
        size = dict(zip(self.letters, scale, strict=True))
        first = dict(zip(self.letters, shift, strict=True))
        units = {
            letter: axis.get("unit") for letter, axis in zip(self.letters, self._axes, strict=True)
        }
        facts = Facts(provenance=self._attributes.get(PROVENANCE_KEY) or {})
        facts.take_pixel(
            size["Y"], size["X"], (units["Y"], units["X"]), "its OME-Zarr scale of x", self.name
        )
        where = "its OME-Zarr scale of z"
        facts.take_length("z_step_um", size.get("Z"), units.get("Z"), where)
        facts.take_optics(facts.provenance.get("optics") or {}, "the record of how it was made")
        step = facts.values.get("z_step_um")
        n = 1 if data.ndim == 2 else data.shape[0]
        if "Z" not in size or not (step or n == 1):
            return facts.image(data, self.name, str(self.path))
        bottom = to_um(first["Z"], units["Z"])
        if bottom is None:
            return facts.image(data, self.name, str(self.path))
        heights = bottom + (step or 0.0) * np.arange(n, dtype=np.float64)
        return facts.image(data, self.name, str(self.path), [Stated(heights, where)])


@contextlib.contextmanager
def reading_zarr(name: str) -> Iterator[None]:
    """What goes wrong inside with an OME-Zarr, in one sentence."""
    try:
        yield
    except InputError:
        raise
    except (
        KeyError, IndexError, TypeError, ValueError, AttributeError, OSError, RuntimeError
    ) as error:  # fmt: skip
        raise InputError(
            f"'{name}' is not a complete OME-Zarr image: "
            "give a folder with the multiscales metadata of NGFF 0.4 or 0.5."
        ) from error
    except Exception as error:  # whatever it is, it is this image's
        raise unreadable(name, error) from error


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


class ZarrPlanes:
    """An OME-Zarr 0.5 image (Z, Y, X) whose planes are put in one by one, micrometres.

    Each plane is halved as it comes, until neither side passes 1024 pixels: viewers show these
    levels from afar. The metadata that make it an image are written last.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        (Z, Y, X).
    dtype : numpy.dtype
    z_um : numpy.ndarray, shape (Z,)
    pixel_um : float
    name : str

    Attributes
    ----------
    levels : list of zarr.Array
        The finest first.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        z_um: npt.NDArray[np.float64],
        pixel_um: float,
        name: str,
    ) -> None:
        import zarr

        self._path, self._z_um, self._pixel_um, self._name = path, z_um, pixel_um, name
        _step_of(z_um, name)  # said before there is any work
        self._group = zarr.open_group(path, mode="w", zarr_format=3)
        self.levels = make_levels(self._group, shape, dtype)

    def put(self, index: int, plane: npt.NDArray[Any]) -> None:
        """Write one plane (Y, X) to every level."""
        for number, level in enumerate(self.levels):
            plane = halved(plane) if number else plane
            level[index] = plane

    def crop(self, first: int, count: int) -> None:
        """Keep this block of planes only; no pixel is read or written again.

        A chunk is of one plane, and its file is named by the number of the plane.
        """
        for number, level in enumerate(self.levels):
            chunks = self._path / str(number) / "c"
            for index in range(count if first else 0):
                given = chunks / str(first + index)
                given.rename(chunks / str(index))
            level.resize((count, *level.shape[1:]))
        self._z_um = self._z_um[first : first + count]

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write the metadata."""
        told = multiscale(self._name, len(self.levels), self._z_um, self._pixel_um)
        self._group.attrs[PROVENANCE_KEY] = json.loads(json.dumps(dict(provenance)))
        self._group.attrs["ome"] = {"version": "0.5", "multiscales": [told]}

    def close(self) -> None:
        """Nothing is held open."""


def make_levels(
    group: zarr.Group, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> list[zarr.Array[Any]]:
    """Arrays of a pyramid in an empty group, the finest of ``shape`` ([T,] Z, Y, X) first."""
    with every_chunk():
        return [
            group.create_array(
                str(number),
                shape=level,
                dtype=dtype.name,
                chunks=(*[1 for _ in level[:-2]], *(min(side, _CHUNK) for side in level[-2:])),
                dimension_names=tuple("tzyx"[-len(shape) :]),
            )
            for number, level in enumerate(level_shapes(shape))
        ]


def level_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes of a pyramid down to 1024 pixels a side, the finest first."""
    *lead, y, x = shape
    coarser = level_shapes((*lead, -(-y // 2), -(-x // 2))) if max(y, x) > _CHUNK else []
    return [shape, *coarser]


@contextlib.contextmanager
def every_chunk() -> Iterator[None]:
    """Arrays that are made or opened here write chunks of zeros too: one that lacks is lost."""
    import zarr

    with zarr.config.set({"array.write_empty_chunks": True}):
        yield


def chunks_of(array: zarr.Array[Any], wanted: Mapping[int, Sequence[int]]) -> Iterator[str]:
    """Files of the chunks of an array, relative to its group.

    Parameters
    ----------
    array : zarr.Array
    wanted : mapping of int to sequence of int
        Which entries of an axis, by its number; all where it says nothing.
    """
    metadata: Any = array.metadata
    pieces, spans = array.shards or array.chunks, []
    for axis, (length, piece) in enumerate(zip(array.shape, pieces, strict=True)):
        entries = wanted.get(axis, range(0, length, piece))
        spans.append(sorted({at // piece for at in entries if 0 <= at < length}))
    for place in product(*spans):
        yield f"{array.path}/{metadata.encode_chunk_key(place)}"


def _step_of(z_um: npt.NDArray[np.float64], name: str) -> float:
    """The z step of an image; one plane has 1.

    Raises
    ------
    InputError
        If its planes are not evenly spaced upwards: OME-Zarr knows one step only.
    """
    step = even_step(z_um) if len(z_um) > 1 else 1.0
    if step is None or step < 0:
        raise InputError(
            f"The planes of '{name}' are not evenly spaced upwards, and an OME-Zarr has one z step "
            "for all: write an OME-TIFF, or resample it along z first."
        )
    return step


def multiscale(
    name: str,
    levels: int,
    z_um: npt.NDArray[np.float64],
    pixel_um: float,
    *,
    with_time: bool = False,
) -> dict[str, Any]:
    """The NGFF metadata of the pyramid of :func:`make_levels`; time is in points of it."""
    step = _step_of(z_um, name)
    first, datasets = round(float(z_um[0]), 9), []
    one, none = ([1.0], [0.0]) if with_time else ([], [])
    for number in range(levels):
        size = pixel_um * 2**number
        # The first pixel of a coarser level is centred between those that it stands for.
        shift = (size - pixel_um) / 2
        steps = [
            {"type": "scale", "scale": [*one, round(step, 9), size, size]},
            {"type": "translation", "translation": [*none, first, shift, shift]},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": steps})
    axes: list[dict[str, str]] = [{"name": "t", "type": "time"}] if with_time else []
    axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    return {"name": name, "axes": axes, "datasets": datasets}


def halved(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Means of 2 × 2 pixels, at an odd edge of those that there are: (Y, X) → (⌈Y/2⌉, ⌈X/2⌉)."""
    y, x = plane.shape
    if y % 2 or x % 2:
        plane = np.pad(plane, ((0, y % 2), (0, x % 2)), mode="edge")
    wide = np.float32 if plane.dtype.kind == "f" else np.float64
    rows = plane[::2].astype(wide) + plane[1::2]
    mean = (rows[:, ::2] + rows[:, 1::2]) / 4
    if plane.dtype.kind in "iu":
        mean = np.rint(mean)
    found: npt.NDArray[Any] = mean.astype(plane.dtype, copy=False)
    return found


def write_zarr(
    path: Path,
    volume: npt.NDArray[Any],
    z_um: npt.NDArray[np.float64],
    pixel_um: float,
    provenance: Mapping[str, Any],
    name: str,
) -> None:
    """Write ``volume`` (Z, Y, X) as OME-Zarr 0.5, micrometres."""
    z, y, x = volume.shape
    planes = ZarrPlanes(path, (z, y, x), volume.dtype, z_um, pixel_um, name)
    for index, plane in enumerate(volume):
        planes.put(index, plane)
    planes.finish(provenance)
