"""Files that are dropped on a dock: which they are, and what is to be said of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QMimeData

from ...core.errors import sentence_of
from ...core.scans import InputError
from ...io import check_readable, read_what_can_be
from ...io._axes import AXIS_WORDS
from ...io._image_file import IMAGE_FILES
from ...io._parts import contents_of
from ...io._zarr import is_zarr

_DOUBTED = {"z_um": ("heights of the planes", "are"), "pixel_um": ("pixel size", "is")}


def dropped_paths(mime: QMimeData | None) -> list[Path]:
    """The local files of a drop, in the order of their names."""
    if mime is None or not mime.hasUrls():
        return []
    return sorted(Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile())


@contextlib.contextmanager
def noting(sentences: list[str]) -> Iterator[None]:
    """Add a sentence about a file that cannot be used; the next one may be."""
    try:
        yield
    except (InputError, OSError) as error:
        sentences.append(sentence_of(error))


def files_in(paths: Iterable[Path], sentences: list[str]) -> list[Path]:
    """Files and OME-Zarr folders as they are, other folders as the image files in them."""
    files: list[Path] = []
    for path in paths:
        with noting(sentences):
            files += _files_in(path)
    return files


def _files_in(path: Path) -> list[Path]:
    if not path.is_dir() or path.suffix == ".zarr" or is_zarr(path):
        return [path]
    try:
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_FILES)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"The folder '{path.name}' cannot be read: {reason}.") from error
    if not inside:
        raise InputError(f"The folder '{path.name}' holds no image file: drop the files.")
    return inside


def nothing_in(files: Sequence[Path]) -> list[str]:
    """What to say where files hold no image of their own."""
    if not files:
        return []
    return [f"No image begins in '{files[0].name}': give the first file of its set."]


def read_all(paths: Iterable[Path]) -> tuple[list[Any], list[str]]:
    """Read everything that can be read; sentences about what cannot."""
    images: list[Any] = []
    sentences: list[str] = []
    files = files_in(paths, sentences)
    for file in files:
        with noting(sentences):
            _check_single(file)
            in_file, troubles = read_what_can_be(file)
            images += in_file
            sentences += troubles
    return images, sentences if images or sentences else nothing_in(files)


def _check_single(file: Path) -> None:
    """Refuse a file of several channels or time points, where one image is wanted."""
    for content in contents_of(check_readable(file)):
        for letter, words in AXIS_WORDS.items():
            count = content.length(letter)
            if count > 1:
                raise InputError(
                    f"'{file.name}' has {count} {words}s: open it in napari (File → Open) with the "
                    "reader Recurrent-MZ, and choose one of its layers."
                )


def doubts_about(images: Iterable[Any]) -> list[str]:
    """Sentences on what files contradict themselves about, and what is not known so."""
    sentences: list[str] = []
    for image in images:
        sentences += image.remarks
        sentences += [
            f"The {words} of '{image.name}' {verb} uncertain, because {image.doubts[name]}."
            for name, (words, verb) in _DOUBTED.items()
            if name in image.doubts
        ]
    return sentences


def said_of(images: Iterable[Any], sentences: Sequence[str]) -> tuple[str, str]:
    """Doubts about files that were read, and why others could not be, with the kind of message."""
    doubts = doubts_about(images)
    if not sentences:
        return " ".join(doubts), "warning"
    more = f" ({len(sentences) - 1} more could not be used either.)" if len(sentences) > 1 else ""
    return " ".join([sentences[0] + more, *doubts]), "error"
