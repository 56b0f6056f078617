"""napari's reader: image files and saved sessions as layers in µm."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ...core.errors import is_out_of_memory
from ...core.scans import InputError
from ...io import ImageFile
from ...io._bioio import is_of_maker
from ...io._parts import Content, contents_of
from ...io._zarr import is_zarr
from ..shared.drop import doubts_about
from ..shared.file_layers import FileStack, LayerData, check_channels, layer_arguments, stacks_of

Reader = Callable[[str], list[LayerData]]

_KNOWN = ("pixel_um", "na", "wavelength_um", "immersion_index")
_MOST_IMAGES = 24


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """What reads a file as layers in µm; None for several files, or where napari knows as much."""
    # Also where BioIO is not installed: another plugin may read what it would.
    if not isinstance(path, str):
        return None
    file = Path(path)
    if is_of_maker(file) and find_spec("bioio") is None:
        return None
    if not file.exists() or (file.is_dir() and not (is_zarr(file) or is_session_path(file))):
        return None
    if is_session_path(file):
        return read_session
    try:
        stacks = _stacks_in(file)
    except InputError as error:
        return partial(_refuse, error)
    return read_images if any(stack.says_more for stack in stacks) else None


def read_images(path: str) -> list[LayerData]:
    """A layer for each position and channel of an image file."""
    file = Path(path)
    stacks = _stacks_in(file)
    with _naming_damage(file):
        layers = [stack.layer() for stack in stacks]
    sized = (stack.image for stack in stacks if stack.image.pixel_um is not None)
    for sentence in dict.fromkeys(doubts_about(sized)):
        warnings.warn(sentence, stacklevel=2)  # which napari shows
    return layers


def read_session(path: str) -> list[LayerData]:
    """The scans of a saved session, each at its height, and its volume, if there is one."""
    from ...engine.session import read_session as read

    session = read(path)
    settings = session.settings
    optics, grid = settings.optics, settings.grid
    facts = {name: getattr(optics, name) for name in _KNOWN}
    images = [
        ImageFile(
            *(s.pixels, s.name or f"z={s.z_um:g}µm"),
            z_um=np.array([s.z_um]),
            origin_um=s.place_um,
            **facts,
        )
        for s in session.scans
    ]
    if session.volume is not None:
        facts["origin_um"] = session.scans[0].place_um
        facts |= {"z_um": grid.z_um, "z_step_um": grid.step_um}
        facts["provenance"] = {
            "method": settings.method,
            "model": settings.model,
            "optics": optics.as_dict(),
            "scans": session.lines,
        }
        images.append(ImageFile(session.volume, Path(path).name.partition(".rmz")[0], **facts))
    return [(image.stack, layer_arguments(image), "image") for image in images]


def _stacks_in(path: Path) -> list[FileStack]:
    """Every channel of every image in a file; none when one is RGB or has axes of its own."""
    with _naming_damage(path):
        contents = contents_of(path)
        if not all(_is_stack(content) for content in contents):
            return []
        if len(contents) > _MOST_IMAGES:
            one = path / contents[0].inside if path.is_dir() else path
            raise InputError(
                f"'{path.name}' holds {len(contents)} images, too many to open as layers: open "
                f"one of them, for instance '{one}', or give all of them to recurrent-mz batch."
            )
        for content in contents:
            check_channels(content)
        return [stack for content in contents for stack in stacks_of(content)]


@contextlib.contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """Whatever a damaged file raises, as one sentence that names it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise InputError(
                f"There is not enough memory for '{path.name}': save it as OME-Zarr, whose pixels "
                "are read when they are shown."
            ) from error
        raise InputError(
            f"'{path.name}' cannot be read ({type(error).__name__}: {error}): it may be damaged, "
            "so copy or save it again."
        ) from error


def _is_stack(content: Content) -> bool:
    """Whether there is at most one axis beside time, channel, y and x."""
    long = [a for a, n in zip(content.axes, content.shape, strict=True) if n > 1]
    others = [a for a in long if a not in "TCYX"]
    return "S" not in others and len(others) < 2 and {"Y", "X"} <= set(content.axes)


def is_session_path(path: Path) -> bool:
    """Whether this is a saved session, by its name."""
    name = path.name.lower()
    return name.endswith((".rmz", ".rmz.zip")) or name == "session.json"


def _refuse(error: InputError, _path: str) -> list[LayerData]:
    raise error
