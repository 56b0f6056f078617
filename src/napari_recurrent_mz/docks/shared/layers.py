"""Layer ⇄ scan: the one place where scale, translate and units are read and written, in µm.

What a layer says wins over what its file says, because a person may have set it. A layer in pixels
whose scale is all ones says nothing; any other scale counts as µm, as plugins wrote it before
layers had units. An axis in pixels beside one in a unit of length is not known.
"""

from __future__ import annotations

import contextlib
import math
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from napari.layers import Image, Layer

from ...core.arrays import AnyArray, Array, check_no_mask, reading
from ...core.optics import ALIKE
from ...core.scans import InputError, counted
from ...io import even_step, read_image, z_from_name
from ...io._channels import BY_TIME, first_point_of
from ...io._facts import PLAUSIBLE
from ...io._parts import Part, contents_of
from ...io._parts import heights_by_time as heights_by_time_of
from ...io._scans import check_no_result, is_reconstructed

METADATA_KEY = "napari-recurrent-mz"  # where a layer's metadata keeps what this package knows of it
SHOWN_STEP = "shown_z_step_um"  # the z scale that a stack of unknown step is shown with
FILE = "from_file"  # where a layer's pixels are: path, inside (as in io), channel and how many
LAID_KEY = f"{METADATA_KEY}-axes"  # where a layer's metadata keeps how its axes are laid out
MOVES = ("scale", "translate", "rotate", "shear", "affine")  # events of a layer that is moved
PLACES = ("pixel_um", "z_step_um", "z_um", "heights_um", SHOWN_STEP)  # what a sized layer says too

HIDDEN = "Layers that would shine through are hidden: click their eyes to see them."

_TURNED = 1e-6  # of the voxel: what is off the axes by less is rounding
_DIGITS = 12
_OFF_POINT = 1e-3  # of a step in time: what is off a time point by less is rounding
_TIME = {"t", "time"}
_NOT_Z = {"c", "ch", "channel", "channels", "t", "time", "s", "rgb"}
_FACTS = ("pixel_um", "z_step_um", "na", "wavelength_um", "immersion_index")


L = TypeVar("L", bound=Layer)


class Frame(NamedTuple):
    """Where the voxels of a stack are: their size and the centre of the first (z, y, x), in µm."""

    voxel_um: tuple[float, float, float]
    origin_um: tuple[float, float, float]


def there(viewer: Any, layer_ref: Callable[[], L | None] | None) -> L | None:
    """A layer that somebody may have removed, while the viewer has it."""
    layer = None if layer_ref is None else layer_ref()
    return layer if layer is not None and layer in viewer.layers else None


# pixels -------------------------------------------------------------------------------------
def check_layer(layer: Layer, *, times: bool = False) -> Image:
    """Return ``layer`` if it is an image of one channel and one time point; else InputError."""
    name = f"Layer '{layer.name}'"
    if not isinstance(layer, Image):
        kind = type(layer).__name__
        raise InputError(f"{name} is a {kind} layer: choose an Image layer of the fluorescence.")
    if layer.rgb:
        raise InputError(
            f"{name} is an RGB image: split it (right-click, Split RGB) and choose one channel."
        )
    shape = full_resolution(layer).shape
    points = frame_count(layer)
    if points > 1 and not times:
        raise InputError(
            f"{name} has {points} time points: split it (right-click, Split Stack) and choose one."
        )
    if len(shape) < 2 or (points < 2 and any(size != 1 for size in shape[:-3])):
        raise InputError(
            f"{name} has {len(shape)} dimensions {tuple(shape)}, and not one channel and one time "
            "point: split or slice it to (z, y, x) or (y, x), or open its file with the reader "
            "Recurrent-MZ, which knows which axis is which."
        )
    label = layer.axis_labels[-3].lower() if len(shape) >= 3 else ""
    if label in _NOT_Z and plane_count(layer) > 1:
        raise InputError(
            f"The {plane_count(layer)} planes of layer '{layer.name}' are along axis '{label}', "
            "not z: split it and choose one channel or time point, or say that they are heights."
        )
    return layer


def check_is_there(layer: Image) -> None:
    """Refuse pixels on a disk that has them no longer: they would be read as zeros."""
    data = full_resolution(layer)
    if isinstance(data, np.ndarray):
        return
    root = getattr(getattr(data, "store", None), "root", None)  # of a Zarr array
    path = str(root or own_metadata(layer).get(FILE, {}).get("path") or layer.source.path or "")
    if "://" not in path and not Path(path).exists():
        raise InputError(
            f"The pixels of layer '{layer.name}' were in '{path}', which is no longer there: put "
            "it back, or remove the layer."
        )


def full_resolution(layer: Image) -> Any:
    """The data as they are stored, perhaps lazy; of several levels the finest."""
    return layer.data[0] if layer.multiscale else layer.data


def layer_data(levels: list[Any]) -> Any:
    """An array, or the levels of one, as napari shows them."""
    return levels[0] if len(levels) == 1 else levels


def _has_z(layer: Image) -> bool:
    return len(full_resolution(layer).shape) >= 3


def plane_count(layer: Image) -> int:
    """Number of planes: 1 for a 2-D image."""
    return int(full_resolution(layer).shape[-3]) if _has_z(layer) else 1


def frame_count(layer: Layer) -> int:
    """Number of time points of a time-lapse (T, Z, Y, X); 1 for what is none."""
    if not isinstance(layer, Image):
        return 1
    shape = full_resolution(layer).shape
    if len(shape) != 4:
        return 1
    is_time = layer.axis_labels[0].lower() in _TIME or _axes_by_file(layer)[:1] == "T"
    return int(shape[0]) if is_time else 1


def _axes_by_file(layer: Image) -> str:
    """Letters of the axes of a layer that another reader made of a file; empty if not known."""
    if own_metadata(layer) or not layer.source.path:
        return ""
    axes, shape = _axes_in(str(layer.source.path), _file_of(layer))
    return axes if shape == tuple(full_resolution(layer).shape) else ""


def plane_name(layer: Image, plane: int) -> str:
    """What messages call a plane of the layer."""
    return f"{layer.name}, plane {plane}" if plane_count(layer) > 1 else layer.name


def plane_shape(layer: Image) -> tuple[int, int]:
    """Shape (Y, X) of one plane."""
    y, x = full_resolution(layer).shape[-2:]
    return int(y), int(x)


def plane_pixels(layer: Image, plane: int, frame: int = 0) -> AnyArray:
    """One plane of the layer at full resolution, shape (Y, X), as it is stored."""
    check_is_there(layer)
    return plane_of(full_resolution(layer), plane, frame, plane_name(layer, plane))


def plane_of(data: Any, plane: int, frame: int, name: str) -> AnyArray:
    """One plane (Y, X) of pixels ([[T,] Z,] Y, X), which may be lazy."""
    with reading(f"'{name}'"):
        if data.ndim >= 3:
            lead = (0,) * (data.ndim - 3)
            data = data[(*lead[:-1], *([frame] if lead else []), plane)]
        return np.asanyarray(data)  # a mask stays


def stack_pixels(layer: Image) -> Any:
    """All planes of the layer at full resolution, (Z, Y, X), as they are stored, perhaps lazy."""
    check_is_there(layer)
    data = full_resolution(layer)
    return data if data.ndim <= 3 else sliceable(data)[(0,) * (data.ndim - 3)]


def sliceable(data: Any) -> Any:
    """An array of which a slice is lazy where it is: that of a zarr array would read all of it."""
    if isinstance(data, np.ndarray):
        return data
    import dask.array

    return dask.array.asarray(data)  # type: ignore[no-untyped-call]


# sizes and places ---------------------------------------------------------------------------
def is_turned(layer: Layer) -> bool:
    """Whether a layer is rotated or sheared in x and y where it is drawn."""
    matrix = np.abs(_world_map(layer)[0][-2:, -2:])
    return bool((matrix - np.diag(np.diag(matrix))).max() > _TURNED * matrix.max())


def is_upright(layer: Layer) -> bool:
    """Whether y and x of a layer run as they are drawn, neither turned, sheared nor mirrored."""
    return not is_turned(layer) and bool(world_scale(layer)[-2:].min() > 0)


def check_upright(layer: Layer) -> None:
    """Refuse a layer whose content is not where its first pixel and the size of its pixels say."""
    if not is_upright(layer):
        raise InputError(
            f"Layer '{layer.name}' is turned, sheared or mirrored in y or x, so places in it are "
            "not those that are drawn: resample it along the axes, with a scale above 0, first."
        )


def is_tilted(layer: Layer) -> bool:
    """Whether the planes of a layer are not level where they are drawn."""
    matrix = _world_map(layer)[0][-3:, -3:]
    if len(matrix) < 3:
        return False
    beside = np.abs([*matrix[0, 1:], *matrix[1:, 0]])
    return bool(beside.max() > _TURNED * np.abs(matrix).max())


def world_scale(layer: Layer) -> Array:
    """How far apart voxels are along each axis, in the world of the layer."""
    if _is_placed_plainly(layer):
        return np.asarray(layer.scale, np.float64)
    matrix = _world_map(layer)[0]
    size = np.linalg.norm(matrix, axis=0)
    return np.asarray(np.where(np.diag(matrix) < 0, -size, size).round(_DIGITS))


def world_place(layer: Layer) -> Array:
    """Where the first voxel is in the world of the layer: its translation, or by its transform."""
    if _is_placed_plainly(layer):
        return np.asarray(layer.translate, np.float64)
    return np.asarray(_world_map(layer)[1].round(_DIGITS))


def _is_placed_plainly(layer: Layer) -> bool:
    """Whether only scale and translation say where a layer is."""
    matrices = layer.affine.affine_matrix, layer.rotate
    is_plain = all(np.array_equal(matrix, np.eye(len(matrix))) for matrix in matrices)
    return is_plain and not np.any(layer.shear)


def _world_map(layer: Layer) -> tuple[Array, Array]:
    """The matrix from voxels to the world, and where the first voxel is."""
    zero = np.asarray(layer.data_to_world((0,) * layer.ndim), float)
    columns = [np.asarray(layer.data_to_world(unit), float) - zero for unit in np.eye(layer.ndim)]
    return np.stack(columns, axis=1), zero


def has_size(layer: Layer) -> bool:
    """Whether the layer's lateral scale means a length."""
    if any(_is_length(unit) for unit in layer.units[-3:]):
        return all(_is_length(unit) for unit in layer.units[-2:])
    return bool(np.any(world_scale(layer)[-2:] != 1))


def check_plausible(layer: Image, what: str, value: float, things: str, how: str) -> None:
    """Refuse a size that no light microscope has."""
    low, high = PLAUSIBLE[what]
    if not low <= value <= high:
        raise InputError(
            f"Layer '{layer.name}' has {things} {value:g} µm {how}, which cannot be true for a "
            "light microscope: correct its scale and units."
        )


def um_per_unit(layer: Layer, axis: int) -> float:
    """Micrometres per unit of the layer's world along an axis; a pixel counts as one."""
    return um_in(layer.units[axis])


def um_in(unit: Any) -> float:
    """Micrometres in a unit of length; 1 in a pixel, and in what else is none."""
    return float((1 * unit).to("um").magnitude) if _is_length(unit) else 1.0


def time_step_s(layer: Image) -> float | None:
    """Seconds from one time point of a layer to the next; None where its unit is none of time."""
    unit = layer.units[0]
    if frame_count(layer) < 2 or not unit.is_compatible_with("s"):
        return None
    return float((1 * unit).to("s").magnitude) * float(layer.scale[0])


def check_units(layer: Layer, image: Image, axes: int) -> None:
    """Refuse a layer of whose last axes one is in pixels over an image in µm, or the reverse."""
    if set(axes_in_um(layer, axes)) != set(axes_in_um(image, axes)):
        raise InputError(
            f"Layer '{layer.name}' and layer '{image.name}' are not both in µm, nor both in "
            f"pixels, so how they lie together is not known: make '{layer.name}' anew while "
            f"'{image.name}' is selected, or set its scale and units."
        )


def axes_in_um(layer: Layer, axes: int = 3) -> list[bool]:
    """Which of the last axes are in a unit of length; pixels that are scaled count as µm."""
    in_length = [_is_length(unit) for unit in layer.units[-axes:]]
    return in_length if any(in_length) else [has_size(layer)] * len(in_length)


def pixel_um(layer: Image) -> float | None:
    """Lateral pixel size in µm, None if not known; InputError if it is not square within 1 %."""
    if not all(_in_length(layer)[-2:]):
        return None
    if not has_size(layer):
        value = known_metadata(layer).get("pixel_um")
        return None if value is None else float(value)
    scale = world_scale(layer)
    size_y, size_x = (abs(float(scale[i])) * um_per_unit(layer, i) for i in (-2, -1))
    if abs(size_y - size_x) > 0.01 * size_x:
        raise InputError(
            f"Layer '{layer.name}' has pixels of {size_y:g} × {size_x:g} µm: "
            "square pixels are needed, so resample it first."
        )
    return size_x


def lateral_origin_um(layer: Image) -> tuple[float, float]:
    """Position (y, x) of the first pixel, in micrometres."""
    if not has_size(layer):
        return 0.0, 0.0
    place = world_place(layer)
    y, x = (float(place[i]) * um_per_unit(layer, i) for i in (-2, -1))
    return y, x


def stack_frame(layer: Image) -> Frame | None:
    """Voxel size and place of a stack in the world; None when the layer does not say."""
    if _z_is_made_up(layer) or not all(_in_length(layer)):
        return None
    if has_size(layer):
        return _world_frame(layer)
    metadata = known_metadata(layer)
    if metadata.get("z_um") is None or metadata.get("pixel_um") is None:
        return None
    heights, pixel = np.atleast_1d(np.asarray(metadata["z_um"], float)), float(metadata["pixel_um"])
    if heights.size < 2 or heights.size != plane_count(layer):
        return None
    return Frame((even_step_of(layer, heights), pixel, pixel), (float(heights[0]), 0.0, 0.0))


def check_even(layer: Image) -> None:
    """Refuse a stack that is drawn evenly but whose file says that its planes lie otherwise."""
    heights = file_heights_um(layer)
    if heights is not None and heights.size > 1:
        even_step_of(layer, heights)


def even_step_of(layer: Image, heights_um: Array) -> float:
    """The step of planes at these heights, below 0 from the top down; refuses uneven ones."""
    step = even_step(heights_um)
    if step is None:
        raise InputError(
            f"Layer '{layer.name}' has planes at uneven heights: reconstruct or resample it on "
            "an even grid first."
        )
    return step


def _world_frame(layer: Image) -> Frame:
    matrix, zero = _world_map(layer)
    matrix = matrix[-3:, -3:]
    size = np.diag(matrix)
    if np.abs(matrix - np.diag(size)).max() > _TURNED * np.abs(size).max():
        raise InputError(
            f"Layer '{layer.name}' is rotated or sheared: resample it along the axes first."
        )
    factors = [um_per_unit(layer, axis) for axis in (-3, -2, -1)]
    z, y, x = (float(v) for v in size * factors)
    first_z, first_y, first_x = (float(v) for v in zero[-3:] * factors)
    return Frame((z, y, x), (first_z, first_y, first_x))


def thickness_um(pixel: float | None) -> float:
    """What a single plane is drawn with: at most a pixel, and a step that meets even heights."""
    power = 10.0 ** math.floor(math.log10(pixel or 1))
    return 5 * power if pixel and pixel >= 5 * power else power


def um_scale_and_place(
    z_step_um: float, pixel: float | None, z_um: float, origin_um: tuple[float, float] = (0.0, 0.0)
) -> dict[str, Any]:
    """Keyword arguments for a (Z, Y, X) layer in micrometres; unknown sizes stay pixels."""
    labels: dict[str, Any] = {"axis_labels": ("z", "y", "x")}
    if pixel is None:
        return labels
    return labels | {
        "scale": (z_step_um, pixel, pixel),
        "translate": (z_um, *origin_um),
        "units": ("um", "um", "um"),
    }


def _is_length(unit: Any) -> bool:
    return bool(unit.is_compatible_with("um"))


def _in_length(layer: Layer) -> list[bool]:
    """Whether the last axes are in a unit of length, or no axis is and all may be meant so."""
    in_length = [_is_length(unit) for unit in layer.units[-3:]]
    return in_length if any(in_length) else [True] * len(in_length)


# heights ------------------------------------------------------------------------------------
def heights_um(layer: Image) -> tuple[Array | None, str]:
    """Heights of the planes in µm (None when nothing says), and a note on where they come from."""
    stated = file_heights_um(layer)
    if stated is not None:
        return stated, "from the file's metadata"
    count, has_z = plane_count(layer), _has_z(layer)
    if has_z and (_z_is_made_up(layer) or not _in_length(layer)[0]):
        return None, "not known: type it"
    if has_z and not _z_is_silent(layer):
        start, step = float(world_place(layer)[-3]), float(world_scale(layer)[-3])
        if count > 1 or start != 0:
            heights = (start + step * np.arange(count, dtype=np.float64)) * um_per_unit(layer, -3)
            return heights, "from the layer's position and scale"
    if count == 1:
        files = (layer.source.path, own_metadata(layer).get(FILE, {}).get("path"))
        names = (layer.name, *(Path(str(path or "")).name for path in files))
        named = [z for z in map(z_from_name, names) if z is not None]
        if named:
            return np.array([float(named[0])]), "from the name"
        if has_z and has_size(layer):
            return np.array([0.0]), "from the layer's position and scale"
    return None, "not known: type it"


def file_heights_um(layer: Image) -> Array | None:
    """Heights that the file states, as long as the layer lies in z as it was made from them."""
    stated = known_metadata(layer).get("z_um")
    if stated is None:
        return None
    heights = np.atleast_1d(np.asarray(stated, dtype=float))
    if heights.size != plane_count(layer) or not np.isfinite(heights).all():
        return None
    if not _has_z(layer):
        return heights
    if not _in_length(layer)[0]:
        return None
    if _z_is_silent(layer):
        return heights
    factor = um_per_unit(layer, -3)
    first = float(world_place(layer)[-3]) * factor
    step = float(world_scale(layer)[-3]) * factor
    steps = np.median(np.diff(heights)) if heights.size > 1 else step
    is_there = np.isclose(first, heights[0], atol=1e-6) and np.isclose(step, steps, rtol=1e-4)
    if not is_there:
        return None
    whole, part = _by_time_in_file(layer), heights_by_time(layer)
    return heights if whole is None or part is None else heights + (part[0] - whole[0])


def heights_by_time(layer: Image) -> Array | None:
    """Heights in µm (T, Z) where the file gives time points heights of their own."""
    whole, count = _by_time_in_file(layer), frame_count(layer)
    if whole is None or len(whole) == count:
        return whole
    # It was cropped along t by hand: where it lies says which part it is.
    first = first_point(layer) - first_point_of(own_metadata(layer))
    begin = round(first)
    if not (abs(first - begin) < _OFF_POINT and 0 <= begin <= len(whole) - count):
        raise InputError(
            f"Layer '{layer.name}' has {counted(count, 'time point')} of {len(whole)} that its "
            "file gives heights of their own, and its position along t does not say which: set "
            "its translate along t."
        )
    return whole[begin : begin + count]


def _by_time_in_file(layer: Image) -> Array | None:
    """Heights in µm (T, Z) of all time points of the file that a time-lapse is of."""
    entry, path = own_metadata(layer), layer.source.path
    if layer.ndim != 4:
        return None
    stated = entry.get(BY_TIME)
    if not entry and path and frame_count(layer) > 1:
        stated = _heights_by_time_in(str(path), _file_of(layer))
    heights = np.asarray(() if stated is None else stated, dtype=float)
    return heights if heights.ndim == 2 and heights.shape[1] == plane_count(layer) else None


def first_point(layer: Image) -> float:
    """Where a time-lapse begins along t, in its steps; 0 for what is none."""
    return float(world_place(layer)[0] / world_scale(layer)[0]) if layer.ndim == 4 else 0.0


def _z_is_silent(layer: Image) -> bool:
    """Whether a layer in pixels says nothing of z: a z scale alone may be there for the eye."""
    is_said = _is_length(layer.units[-3]) or has_size(layer) or world_place(layer)[-3] != 0
    return not bool(is_said)


def _z_is_made_up(layer: Image) -> bool:
    """Whether the z scale is still the one that a stack of unknown step is shown with."""
    shown = own_metadata(layer).get(SHOWN_STEP)
    return shown is not None and bool(np.isclose(float(layer.scale[-3]), shown))


# metadata -----------------------------------------------------------------------------------
def own_metadata(layer: Layer) -> Mapping[str, Any]:
    """What this package has written into a layer's metadata."""
    entry = layer.metadata.get(METADATA_KEY)
    return entry if isinstance(entry, Mapping) else {}


def known_metadata(layer: Image) -> dict[str, Any]:
    """What the file said (``pixel_um``, ``z_um``, ``na`` ...), whichever reader opened it."""
    entry, path = own_metadata(layer), layer.source.path
    if entry or not path:
        return dict(entry)
    return _metadata_in_file(str(path), plane_count(layer), _file_of(layer))


_FileStamp = tuple[tuple[int, int], ...]

_files: weakref.WeakKeyDictionary[Layer, _FileStamp] = weakref.WeakKeyDictionary()
"""The files of layers as they were when the layers were first looked at."""


def _file_of(layer: Layer) -> _FileStamp:
    """The file that a layer was made of; another may have been saved under its name since."""
    if layer not in _files:
        _files[layer] = _stamp(str(layer.source.path))
    return _files[layer]


def _stamp(path: str) -> _FileStamp:
    """What changes when a file, or the metadata of an OME-Zarr, is written anew."""
    about = [Path(path), *(Path(path) / name for name in ("zarr.json", ".zattrs"))]
    stats = []
    for one in about:
        with contextlib.suppress(OSError):
            status = one.stat()
            stats.append((status.st_mtime_ns, status.st_size))
    return tuple(stats)


@lru_cache(maxsize=1024)
def _metadata_in_file(path: str, planes: int, stamp: _FileStamp) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            is_lapse = _axes_in(path, stamp)[0][:1] == "T"
            image = read_image(path, (), time=0 if is_lapse else None)
    except Exception:  # whatever it is, another reader could make something of it
        return {}
    metadata = file_metadata(image)
    if len(metadata.get("z_um") or ()) != planes:
        metadata.pop("z_um", None)
    return metadata


@lru_cache(maxsize=64)
def _heights_by_time_in(path: str, _file: _FileStamp) -> Any:
    """Of an image whose channels, if it has some, are layers of their own."""
    try:
        (content,) = contents_of(path)
        channel = 0 if content.length("C") > 1 else None
        return heights_by_time_of(Part(path, content.inside, None, channel), content.length("T"))
    except Exception:  # as above
        return None


def axes_in_file(path: str) -> tuple[str, tuple[int, ...]]:
    """Letters and lengths of the axes of the one image in a file, without those of length 1."""
    return _axes_in(path, _stamp(path))


@lru_cache(maxsize=1024)
def _axes_in(path: str, _file: _FileStamp) -> tuple[str, tuple[int, ...]]:
    try:
        (content,) = contents_of(path)
    except Exception:  # as above
        return "", ()
    pairs = zip(content.axes, content.shape, strict=True)
    long = [(axis, length) for axis, length in pairs if length > 1]
    return "".join(axis for axis, _ in long), tuple(length for _, length in long)


def file_metadata(image: Any) -> dict[str, Any]:
    """The known values of an ``io.ImageFile`` as a dictionary for a layer's metadata."""
    metadata = dict(image.provenance)  # of a volume that was made here
    metadata |= {name: getattr(image, name) for name in _FACTS if getattr(image, name) is not None}
    if image.z_um is not None:
        metadata["z_um"] = [float(z) for z in np.atleast_1d(image.z_um)]
    return metadata


def image_optics(layer: Image) -> dict[str, Any]:
    """What is known of the optics of a layer, also of a reconstruction, and its pixel size."""
    metadata = known_metadata(layer)
    optics = metadata.get("optics")
    optics = optics if isinstance(optics, Mapping) else {}
    return {**metadata, **optics, "pixel_um": pixel_um(layer)}


def optics_by_image(layers: Iterable[Layer]) -> dict[Any, dict[str, Any]]:
    """What is known of the optics of these layers, for a form that follows them."""
    by_image = {}
    for layer in layers:
        with contextlib.suppress(InputError):  # said where the layer is used
            by_image[weakref.ref(layer)] = image_optics(check_layer(layer, times=True))
    return by_image


def contradict(some: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether what two images say cannot be true of one sample under one microscope."""
    pairs = [(some.get(name), others.get(name)) for name in _FACTS]
    return not all(
        math.isclose(float(one), float(other), rel_tol=ALIKE)
        for one, other in pairs
        if one is not None and other is not None
    )


def is_reconstruction(layer: Layer) -> bool:
    """Whether a layer was made from scans, by what its metadata says."""
    return isinstance(layer, Image) and is_reconstructed(known_metadata(layer))


def check_scan_layer(layer: Layer, *, times: bool = False) -> Image:
    """Return ``layer`` if its planes can be scans; else InputError."""
    image = check_layer(layer, times=times)
    check_no_mask(full_resolution(image), f"Layer '{image.name}'")
    check_no_result(known_metadata(image), f"Layer '{image.name}'")
    if is_tilted(image):
        raise InputError(
            f"The planes of layer '{image.name}' are not level, for it is rotated or sheared: a "
            "scan has one height, so resample the layer along z first."
        )
    pixel_um(image)
    return image


def channel_of(layer: Layer) -> tuple[Any, int] | None:
    """Which image of a file a layer is a channel of, and which; None for what is not so."""
    file = own_metadata(layer).get(FILE)
    if not isinstance(file, Mapping) or file.get("channel") is None:
        return None
    return tuple(file.get(key) for key in ("path", "inside", "t", "z")), int(file["channel"])


def first_channels(layers: Sequence[Layer]) -> list[Layer]:
    """These layers, but of several channels of one image only the first."""
    lowest: dict[Any, int] = {}
    places = [channel_of(layer) for layer in layers]
    for place in places:
        if place is not None:
            lowest[place[0]] = min(place[1], lowest.get(place[0], place[1]))
    return [
        layer
        for layer, place in zip(layers, places, strict=True)
        if place is None or lowest[place[0]] == place[1]
    ]


def hide_under(new: Layer, sources: Iterable[Layer]) -> list[Layer]:
    """Hide those of the sources of a layer whose light would be added to its own."""
    hidden = [one for one in sources if one.visible and new.blending == "additive"]
    for one in hidden:
        one.visible = False
    return hidden


def made_of_same(layer: Layer, scans: Iterable[Any], layers: Iterable[Layer]) -> list[Layer]:
    """The other layers that were made of some of these scans, and lie where a layer does."""
    names = {scan.name for scan in scans}
    low, high = layer.extent.world[:, -2:]
    return [
        other
        for other in layers
        if other is not layer
        and names & {scan["name"] for scan in own_metadata(other).get("scans", ())}
        and bool((other.extent.world[0, -2:] < high).all())
        and bool((other.extent.world[1, -2:] > low).all())
    ]


def about_layer(
    layer: Image,
    name: str,
    step: dict[str, Any],
    *,
    is_flat: bool = False,
    region: tuple[slice, slice] | None = None,
    planes: slice | None = None,
    same_units: bool = True,
) -> dict[str, Any]:
    """Keyword arguments for a layer that lies where another one does, or where its crop does."""
    # ``step`` of preparation is added to the metadata; ``is_flat`` is for one image of a stack.
    n = 2 if is_flat else min(layer.ndim, 3)
    scale, translate = world_scale(layer)[-n:].copy(), world_place(layer)[-n:].copy()
    if region is not None:
        translate[-2:] += [part.start for part in region] * scale[-2:]
    heights = None if is_flat else file_heights_um(layer)
    if planes is not None:
        translate[0] += planes.start * scale[0]
        if heights is not None:
            heights = heights[planes]
            if len(heights) > 1 and has_size(layer):  # they may be uneven
                to_units = 1 / um_per_unit(layer, -3)
                scale[0] = np.median(np.diff(heights)) * to_units
                translate[0] = heights[0] * to_units
    record = dict(known_metadata(layer))
    record.pop("z_um", None)
    if FILE in record:  # other pixels than those of a channel in it
        record[FILE] = {"path": record[FILE]["path"]}
    if heights is not None:
        record["z_um"] = heights.tolist()
    record["prepared"] = [*record.get("prepared", ()), step]
    about: dict[str, Any] = {
        "name": name,
        "scale": tuple(scale),
        "translate": tuple(translate),
        "units": tuple(layer.units[-n:]),
        "axis_labels": tuple(layer.axis_labels[-n:]),
        "metadata": {**layer.metadata, METADATA_KEY: record},
        "colormap": layer.colormap,
        "blending": layer.blending,
    }
    if same_units:
        about["contrast_limits"] = tuple(float(value) for value in layer.contrast_limits)
    return about
