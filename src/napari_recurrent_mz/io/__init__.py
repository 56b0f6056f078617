"""Files in and out: TIFF, ImageJ TIFF, OME-TIFF and OME-Zarr, all lengths in micrometres."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.scans import Heights, InputError, Scan
from ._channels import Channel, NewImage, OnPlane, Place
from ._facts import even_step, scatter_note
from ._image_file import ImageFile, to_um
from ._names import z_from_name
from ._stream import VolumeWriter, check_disk, disk_bytes
from ._whole import WORKPLACE, flush_to_disk, write_whole

__all__ = [
    "WORKPLACE",
    "Channel",
    "ImageFile",
    "Place",
    "VolumeWriter",
    "check_disk",
    "check_output",
    "check_readable",
    "disk_bytes",
    "even_step",
    "flush_to_disk",
    "read_heights",
    "read_image",
    "read_positions",
    "read_what_can_be",
    "scans_from_files",
    "scans_from_stack",
    "scatter_note",
    "stack_heights",
    "to_um",
    "write_channels",
    "write_json",
    "write_surface",
    "write_table",
    "write_volume",
    "write_whole",
    "z_from_name",
]

_TIFF_ENDINGS = (".tif", ".tiff")
_ZARR_ENDING = ".zarr"


def read_image(
    path: str | os.PathLike[str],
    planes: Sequence[int] | None = None,
    *,
    position: int | None = None,
) -> ImageFile:
    """Read one image or z-stack with what its metadata says.

    Parameters
    ----------
    path : path
        A TIFF (plain, ImageJ, OME, Micro-Manager, MetaMorph, LSM) or an OME-Zarr folder
        (NGFF 0.4 or 0.5).
    planes : sequence of int, optional
        Read these planes only, so that a stack need not fit in memory: no other can be had
        from the data. Those that are not there are left out.
    position : int, optional
        Which of several positions (images, fields), the first one 0.

    Returns
    -------
    ImageFile
        Pixels (Z, Y, X) or (Y, X) in the type of the file; lengths in micrometres, None
        where the file does not state them.

    Raises
    ------
    InputError
        If the file is missing, of another type, cut short, RGB, has several channels or
        time points, or several positions of which none is chosen.
    """
    from ._parts import read_planes

    return read_planes(check_readable(path), planes, position)


def check_readable(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` once there is something there that may hold an image."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"'{path}' does not exist: check the name and the folder.")
    if path.is_dir():
        from ._zarr import is_zarr

        if not is_zarr(path):
            raise InputError(f"'{path}' is a folder: give TIFF files or an OME-Zarr folder.")
    elif not os.access(path, os.R_OK):
        raise InputError(f"'{path}' cannot be read: you lack the permission.")
    return path


def read_positions(path: str | os.PathLike[str]) -> list[ImageFile]:
    """Read all positions (images, fields) that a file holds, as :func:`read_image` reads one.

    Of one file of a larger set, those that begin in it.

    Raises
    ------
    InputError
        As :func:`read_image`.
    """
    images, troubles = read_what_can_be(path)
    if troubles:
        raise InputError(troubles[0])
    return images


def read_what_can_be(path: str | os.PathLike[str]) -> tuple[list[ImageFile], list[str]]:
    """Read the positions of a file that can be read; a sentence about each that cannot."""
    from ._parts import Part, contents_of, read_part

    images, troubles = [], []
    try:
        for content in contents_of(check_readable(path)):
            try:
                if content.trouble:
                    raise InputError(content.trouble)
                images.append(read_part(Part(content.path, content.inside)))
            except InputError as error:
                troubles.append(str(error))
    except InputError as error:
        troubles.append(str(error))
    return images, troubles


def scans_from_files(
    paths: Iterable[str | os.PathLike[str] | ImageFile], z_um: Sequence[float] | None = None
) -> list[Scan]:
    """Make one scan of each single-image file.

    Parameters
    ----------
    paths : iterable of path or ImageFile
        One image each.
    z_um : sequence of float, optional
        Their heights in micrometres; without it they come from OME plane positions or
        from names such as ``scan_z3.5um.tif``.

    Raises
    ------
    InputError
        If a file holds a stack, or a height is stated nowhere.
    """
    images = [p if isinstance(p, ImageFile) else read_image(p) for p in paths]
    if z_um is not None and len(z_um) != len(images):
        raise InputError(
            f"--z gives {_count(len(z_um), 'height')} for {_count(len(images), 'file')}: "
            "give one height in µm for each file, in the same order."
        )
    for image in images:
        if image.n_planes > 1:
            raise InputError(
                f"'{image.name}' is a stack of {image.n_planes} planes: "
                "give it alone and choose its planes with --planes."
            )
    heights = [_stated_height(i) for i in images] if z_um is None else list(z_um)
    return [Scan(i.stack[0], z, i.name) for i, z in zip(images, heights, strict=True)]


def _stated_height(image: ImageFile) -> float:
    height = z_from_name(image.name) if image.z_um is None else float(image.z_um[0])
    if height is None:
        why = image.doubts.get("z_um")
        raise InputError(
            f"The z position of '{image.name}' is neither in its metadata"
            f"{f' ({why})' if why else ''} nor in its name: "
            "give the heights of all files in µm with --z."
        )
    return height


def scans_from_stack(
    image: ImageFile,
    planes: Sequence[int],
    z_step_um: float | None = None,
    *,
    z_um: Sequence[float] | None = None,
) -> list[Scan]:
    """Make scans of chosen planes of a stack.

    Parameters
    ----------
    image : ImageFile
        A stack (Z, Y, X).
    planes : sequence of int
        Numbers of the planes, the first one 0.
    z_step_um : float, optional
        Distance between planes in micrometres, above 0; it overrides the file, and plane
        0 is then at height 0.
    z_um : sequence of float, optional
        Heights of the chosen planes in micrometres, in their order; they override both.

    Raises
    ------
    InputError
        If a plane is not there or named twice, or the heights are unknown.
    """
    heights = scan_heights(image, planes, z_step_um, z_um=z_um)
    stack = image.stack
    return [
        Scan(stack[p], float(z), f"{image.name} plane {p}")
        for p, z in zip(planes, heights, strict=True)
    ]


def scan_heights(
    image: ImageFile,
    planes: Sequence[int],
    z_step_um: float | None = None,
    *,
    z_um: Sequence[float] | None = None,
) -> npt.NDArray[np.float64]:
    """Heights of chosen planes of a stack, in micrometres, in their order; as scans_from_stack."""
    missing = [p for p in planes if not 0 <= p < image.n_planes]
    if missing:
        raise InputError(
            f"'{image.name}' has no plane {missing[0]}: "
            f"its {image.n_planes} planes are numbered 0 to {image.n_planes - 1}."
        )
    twice = [p for i, p in enumerate(planes) if p in planes[:i]]
    if twice:
        raise InputError(f"Plane {twice[0]} of '{image.name}' is named twice: name it once.")
    if z_um is None:
        return stack_heights(image, z_step_um)[list(planes)]
    if len(z_um) != len(planes):
        raise InputError(
            f"--z gives {_count(len(z_um), 'height')} for {_count(len(planes), 'plane')}: "
            "give one height in µm for each of --planes, in the same order."
        )
    return np.asarray(z_um, np.float64)


def stack_heights(
    image: ImageFile, z_step_um: float | None = None, option: str = "--z-step-um"
) -> npt.NDArray[np.float64]:
    """Heights (Z,) of all planes of a stack, in micrometres, from the file or ``z_step_um``.

    ``option`` is what gives that step, for the sentence where neither says it.
    """
    if z_step_um is not None:
        if not np.isfinite(z_step_um) or z_step_um <= 0:
            raise InputError(f"The z step {z_step_um:g} µm is not above 0: correct {option}.")
        return z_step_um * np.arange(image.n_planes, dtype=np.float64)
    if image.z_um is None:
        why = image.doubts.get("z_um")
        known = f"are not sure, for {why}" if why else "are not in its metadata"
        raise InputError(
            f"The heights of the planes of '{image.name}' {known}: give the z step in µm with "
            f"{option}."
        )
    return image.z_um


def check_output(
    path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = ()
) -> Path:
    """Return ``path`` once a volume can be written there, before any work is done.

    Refuses an unknown ending, a folder that is missing or closed to writing, and the ``inputs``.
    """
    path = Path(path)
    if path.suffix.lower() not in (*_TIFF_ENDINGS, _ZARR_ENDING):
        raise InputError(
            f"'{path.name}' does not say which format to write: "
            "end it in .ome.tif (OME-TIFF) or .ome.zarr (OME-Zarr)."
        )
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"The folder '{folder}' for the result does not exist: make it first.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"The folder '{folder}' for the result is closed to writing.")
    for given in inputs:
        if path.exists() and Path(given).exists() and path.samefile(given):
            raise InputError(
                f"'{path.name}' is one of the input files: choose another name for the result."
            )
    if path.is_dir() and not _may_replace_folder(path):
        raise InputError(f"'{path.name}' is a folder that is no OME-Zarr: choose another name.")
    if path.is_file() and path.suffix.lower() == _ZARR_ENDING:
        raise InputError(f"'{path.name}' is a file, not an OME-Zarr folder: choose another name.")
    return path


def _may_replace_folder(path: Path) -> bool:
    from ._zarr import is_zarr

    return path.suffix.lower() == _ZARR_ENDING and is_zarr(path)


def write_volume(
    path: str | os.PathLike[str],
    volume: npt.ArrayLike,
    z_um: npt.ArrayLike,
    pixel_um: float,
    provenance: Mapping[str, Any] | None = None,
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    keep_type: bool = False,
    durable: bool = False,
) -> Path:
    """Write a volume as OME-TIFF or OME-Zarr 0.5, by the ending of ``path``.

    Its planes are written from the lowest up.

    It is written under a temporary name in the same folder and renamed at the end, so a
    file under the final name is always whole.

    Parameters
    ----------
    path : path
        Ends in ``.tif``/``.tiff`` (OME-TIFF) or ``.zarr`` (OME-Zarr).
    volume : array_like, shape (Z, Y, X)
        Intensities, written as float32 unless ``keep_type``.
    z_um : array_like, shape (Z,)
        Heights of the planes, in micrometres; in an OME-Zarr they must be evenly spaced.
    pixel_um : float
        Pixel size, in micrometres.
    provenance : mapping, optional
        How it was made; anything JSON can hold. :attr:`ImageFile.provenance` returns it.
    inputs : iterable of path
        Files that must not be overwritten.
    keep_type : bool, optional
        Write integers of 8 and 16 bits as they are.
    durable : bool, optional
        Return once the disk has it, so that not even a power cut loses it.

    Raises
    ------
    InputError
        As :func:`check_output`, or when the disk refuses.
    """
    array = np.ascontiguousarray(volume, dtype=_type_written(volume, keep_type))
    heights = np.asarray(z_um, dtype=np.float64)
    if array.ndim != 3 or heights.shape != array.shape[:1]:
        raise ValueError(f"a volume {array.shape} cannot have heights of shape {heights.shape}")
    order = np.argsort(heights, kind="stable")
    if np.any(np.diff(order) != 1):
        array, heights = array[order], heights[order]
    place = Place(float(pixel_um), heights)
    return write_channels(path, [Channel(array)], place, provenance, inputs=inputs, durable=durable)


def write_channels(
    path: str | os.PathLike[str],
    channels: Sequence[Channel],
    place: Place,
    provenance: Mapping[str, Any] | None = None,
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    durable: bool = False,
    on_plane: OnPlane | None = None,
) -> Path:
    """Write one or more channels as OME-TIFF or OME-Zarr 0.5, by the ending of ``path``.

    Nothing is converted: what is read again is the same, bit for bit. It is written under a
    temporary name, as :func:`write_volume` does.

    Parameters
    ----------
    path : path
        Ends in ``.tif``/``.tiff`` (OME-TIFF) or ``.zarr`` (OME-Zarr).
    channels : sequence of Channel
        All of one shape and type.
    place : Place
        Voxel size and position.
    provenance : mapping, optional
        How they were made; of several channels, a list of one record each under ``channels``.
    inputs, durable
        As in :func:`write_volume`.
    on_plane : callable, optional
        Called before every plane with how many are written, and of how many; what it raises ends
        the work, and leaves what was there.

    Raises
    ------
    InputError
        As :func:`check_output`, when the format has no such pixels or heights, or when the disk
        refuses.
    """
    path = check_output(path, inputs)
    if path.suffix.lower() == _ZARR_ENDING:
        from ._zarr import write_zarr as write
    else:
        from ._tiff import write_ome_tiff as write
    image = NewImage(path.name.split(".")[0], channels, place, provenance or {}, on_plane)
    return write_whole(path, lambda part: write(part, image), durable=durable)


def write_surface(
    path: str | os.PathLike[str],
    image: npt.ArrayLike,
    heights_um: Heights,
    pixel_um: float,
    provenance: Mapping[str, Any] | None = None,
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    origin_um: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """Write the image of a surface (Y, X) as OME-TIFF, its heights as a second image beside it.

    :func:`read_image` reads the first, :func:`read_heights` the second, both float32. ``origin_um``
    is the position (y, x) of the first pixel; the rest is as in :func:`write_volume`.
    """
    path = check_surface_output(path, inputs)
    pixels = np.ascontiguousarray(image, dtype=np.float32)
    from ._surface_file import write_ome_surface

    name, record = path.name.split(".")[0], provenance or {}
    return write_whole(
        path,
        lambda part: write_ome_surface(
            part, pixels, heights_um, float(pixel_um), record, name, origin_um
        ),
    )


def check_surface_output(
    path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = ()
) -> Path:
    """:func:`check_output` for the image of a surface, which is an OME-TIFF."""
    path = check_output(path, inputs)
    if path.suffix.lower() == _ZARR_ENDING:
        raise InputError(
            f"'{path.name}': the image of a surface is written as OME-TIFF, end it in .ome.tif."
        )
    return path


def read_heights(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read a height map in µm, shape (Y, X): a 2-D image, or what :func:`write_surface` wrote."""
    image = read_image(path)
    if not Path(path).is_dir():
        from ._surface_file import heights_in

        beside = heights_in(Path(path))
        if beside is not None:
            return beside
    if image.n_planes > 1:
        raise InputError(
            f"'{image.name}' is a stack of {image.n_planes} planes: a height map is one 2-D image "
            "of heights in µm."
        )
    plane: npt.NDArray[Any] = image.stack[0]
    return plane


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _type_written(volume: npt.ArrayLike, keep_type: bool) -> np.dtype[Any]:
    dtype = np.asarray(volume).dtype
    small = dtype.kind in "iu" and dtype.itemsize <= 2
    return dtype if keep_type and small else np.dtype(np.float32)


def write_table(path: str | os.PathLike[str], table: Any, *, encoding: str = "utf-8") -> Path:
    """Write a table without its index as CSV, a header and six digits; whole or not at all.

    Spreadsheets need the ``encoding`` utf-8-sig: else they do not show the µ.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    try:
        part.write_text(text, encoding=encoding)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(
            f"'{path}' cannot be written ({error.strerror}): choose another place."
        ) from error
    return target


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write ``value`` as JSON, whole or not at all."""
    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"'{path}' could not be written: {error.strerror}.") from error
    return target
