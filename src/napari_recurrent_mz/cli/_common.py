"""What several commands share: their options, scans and optics from files, progress."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from ..device import CHOICES, GPU_MEMORY
from ..io._optics import OPTICS
from ..io._optics import optics_for as optics_for
from ..io._optics import optics_values as stated_optics
from ..methods import DEFAULT_METHOD, METHODS, needs_optics
from ..scans import InputError, Scan, ZGrid, check_scans, require_several

if TYPE_CHECKING:
    from ..check import OwnSampleCheck
    from ..io import ImageFile
    from ..optics import Optics


def add_optics_options(parser: argparse.ArgumentParser) -> None:
    """Options for the optics; each missing one comes from the metadata of the files."""
    group = parser.add_argument_group("optics (by default from the file's metadata)")
    for option, name, words, example in OPTICS:
        unit = ", µm" if name.endswith("_um") else ""
        group.add_argument(
            option, type=float, metavar="X", help=f"{words}{unit}, for instance {example:g}"
        )


def add_scan_options(parser: argparse.ArgumentParser) -> None:
    """The files of the scans, and their heights or their planes in a stack."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="images, or one stack")
    parser.add_argument(
        "--z",
        type=float,
        nargs="+",
        metavar="X",
        help="height of each image, or of each of --planes, µm (by default from metadata, or from "
        "names as scan_z3.5um.tif)",
    )
    add_stack_options(parser)
    add_position_option(parser)


def add_position_option(parser: argparse.ArgumentParser) -> None:
    """Option for files that hold several positions."""
    parser.add_argument(
        "--position", type=int, metavar="N", help="position of files that hold several, from 0"
    )


def add_stack_options(parser: argparse.ArgumentParser) -> None:
    """Options that choose scans in a stack."""
    parser.add_argument(
        "--planes",
        type=int,
        nargs="+",
        metavar="N",
        help="planes of the stack that are the scans, the first one 0",
    )
    parser.add_argument(
        "--z-step-um",
        type=float,
        metavar="X",
        help="distance between planes, µm (by default from the file's metadata)",
    )


def add_region_option(parser: argparse.ArgumentParser) -> None:
    """Option for a part of the field."""
    parser.add_argument(
        "--region",
        metavar="ROWS,COLUMNS",
        help="part of the field, START:STOP in pixels from the upper left corner, for instance "
        "0:512,256:512 or :,256: (default: all of it)",
    )


def cropped(image: ImageFile, region: str | None) -> ImageFile:
    """The part of an image that ``--region`` names.

    Raises
    ------
    InputError
        If it is no region, or lies outside of the image.
    """
    if region is None:
        return image
    spans = []
    for text, length in zip(_two_spans(region), image.stack.shape[1:], strict=True):
        start, stop, _ = slice(*text).indices(length)
        if start >= stop or (text[1] or 0) > length:
            rows, columns = image.stack.shape[1:]
            raise InputError(
                f"The region '{region}' is not inside '{image.name}' of {rows} × {columns} "
                "pixels: give START:STOP,START:STOP (rows, columns) within it."
            )
        spans.append(slice(start, stop))
    return replace(image, data=image.data[..., spans[0], spans[1]])


def _two_spans(region: str) -> list[tuple[int | None, int | None]]:
    found = re.fullmatch(r"\s*(\d*):(\d*)\s*,\s*(\d*):(\d*)\s*", region)
    if found is None:
        raise InputError(
            f"The region '{region}' is not START:STOP,START:STOP (rows, columns) in pixels, for "
            "instance 0:512,256:512."
        )
    numbers = [int(text) if text else None for text in found.groups()]
    return [(numbers[0], numbers[1]), (numbers[2], numbers[3])]


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options for the network's weights and where it runs."""
    parser.add_argument(
        "--model", metavar="NAME", help="bundled model or safetensors file (default: the bundled)"
    )
    parser.add_argument(
        "--device", choices=CHOICES, default="auto", help="where the network runs (default: auto)"
    )
    parser.add_argument(
        "--gpu-memory-gb",
        type=float,
        metavar="GB",
        help=f"use no more of a CUDA GPU's memory than this (default: all, or ${GPU_MEMORY})",
    )


def add_grid_option(parser: argparse.ArgumentParser) -> None:
    """Option for the heights to reconstruct."""
    parser.add_argument(
        "--grid",
        metavar="START:STOP:STEP",
        help="heights to reconstruct, µm, STOP included where a step falls on it "
        "(by default from the lowest to the highest scan: the planes of the stack, or steps of "
        "about half a depth of field that meet the scans)",
    )


def add_making_options(parser: argparse.ArgumentParser, output: str, metavar: str = "FILE") -> None:
    """Optics, method, model and output of a command that makes planes; ``output`` says which."""
    add_optics_options(parser)
    parser.add_argument(
        "--method", choices=METHODS, default=DEFAULT_METHOD, help=f"default: {DEFAULT_METHOD}"
    )
    add_model_options(parser)
    parser.add_argument("-o", "--output", required=True, metavar=metavar, help=output)


def optics_values(
    arguments: argparse.Namespace, images: Sequence[ImageFile]
) -> dict[str, float | None]:
    """The optics by name: from the options, else from the files, else None.

    Raises
    ------
    InputError
        If the files contradict each other.
    """
    return stated_optics({row[1]: getattr(arguments, row[1]) for row in OPTICS}, images)


def read(
    arguments: argparse.Namespace, path: str, planes: Sequence[int] | None = None
) -> ImageFile:
    """Read a file, or the position of it that was chosen, and say what it contradicts."""
    from ..io import read_image

    image = read_image(path, planes, position=arguments.position)
    for remark in image.remarks:
        note(remark)
    return image


def rising(
    image: ImageFile, z_step_um: float | None, option: str = "--z-step-um"
) -> tuple[Any, Any]:
    """All planes of a stack from the lowest up, and their heights in µm."""
    from ..io import stack_heights

    heights = stack_heights(image, z_step_um, option)
    order = heights.argsort(kind="stable")
    if all(order[1:] > order[:-1]):
        return image.stack, heights
    return image.stack[order], heights[order]


def load_scans(
    images: Sequence[ImageFile],
    *,
    z_um: Sequence[float] | None,
    planes: Sequence[int] | None,
    z_step_um: float | None,
) -> list[Scan]:
    """Scans from single-image files, or from planes of one stack; checked to fit together."""
    from ..io import scans_from_files, scans_from_stack

    first = images[0]
    if planes is not None and len(images) > 1:
        raise InputError(
            f"--planes chooses planes of one stack, but {len(images)} files are given: "
            "give one stack, or single images with --z."
        )
    if planes is not None:
        if z_um is not None and z_step_um is not None:
            raise InputError("--z and --z-step-um both say where the planes are: give one of them.")
        scans = scans_from_stack(first, planes, z_step_um, z_um=z_um)
    elif len(images) == 1 and first.n_planes > 1:
        n = first.n_planes
        raise InputError(
            f"'{first.name}' is a stack of {n} planes: choose its scans with --planes, "
            f"for instance --planes {n // 6} {n // 2} {n - 1 - n // 6}."
        )
    else:
        scans = scans_from_files(images, z_um)
    require_several(scans)
    return list(check_scans(scans))


@dataclass(frozen=True, eq=False)
class Given:
    """The scans that the options name, and the optics that their method needs."""

    scans: list[Scan]
    optics: Optics | None
    pixel_um: float

    @classmethod
    def by(cls, arguments: argparse.Namespace) -> Given:
        """Read the files; :class:`InputError` if something is missing or does not fit."""
        # Of single images the first plane, and it is told when there are more.
        wanted = [0] if arguments.planes is None else arguments.planes
        images = [read(arguments, path, wanted) for path in arguments.files]
        scans = load_scans(
            images, z_um=arguments.z, planes=arguments.planes, z_step_um=arguments.z_step_um
        )
        values = optics_values(arguments, images)
        optics = optics_for(needs_optics([arguments.method]), values, images)
        pixel_um = values["pixel_um"]
        assert pixel_um is not None  # optics_for has made sure of it
        return cls(scans, optics, pixel_um)


class Checked:
    """Notes what a check on the own sample said, and keeps it: the listener of such checks."""

    def __init__(self) -> None:
        self.check: OwnSampleCheck | None = None

    def __call__(self, check: OwnSampleCheck) -> None:
        """Take what the check said."""
        self.check = check
        note(check.sentence)

    def by(self, method: str) -> str:
        """The method that made the planes, when ``method`` was asked for."""
        return self.check.chosen if self.check else method


class Progress:
    """A counter with the time left, on standard error when that is a terminal."""

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty()
        self._begun = time.monotonic()
        self._width = 0

    def __call__(self, done: int, total: int, seconds_left: float | None = None) -> None:
        """Show that ``done`` of ``total`` are done; the time left is estimated if not given."""
        if not self._shown:
            return
        if seconds_left is None:
            seconds_left = (time.monotonic() - self._begun) / done * (total - done)
        self._write(f"{self._what} {done}/{total}, {clock(seconds_left)} left")

    def stage(self, words: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` pieces of ``words`` are done."""
        if self._shown:
            self._write(f"{self._what}: {words} {done}/{total}")

    def line(self, text: str) -> None:
        """Show a line of one's own in place of the last one."""
        if self._shown:
            self._write(text)

    def _write(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Leave a clean line for what follows."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0


def clock(seconds: float) -> str:
    """``seconds`` as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def result_line(
    output: str, shape: Sequence[int], grid: ZGrid, method: str, scans: int, seconds: float
) -> str:
    """One line that says what was written where."""
    z, y, x = shape
    return (
        f"{output}: {z} planes of {y} × {x} pixels, z {grid.z_um[0]:g} to {grid.z_um[-1]:g} µm, "
        f"by {method} from {scans} scans in {seconds:.1f} s"
    )


def note(text: str) -> None:
    """Say something worth knowing on standard error."""
    print(f"note: {text}", file=sys.stderr)


def check_json(path: str | None) -> None:
    """Raise :class:`InputError` when no file can be made at ``path``, before any work."""
    from pathlib import Path

    if path is None:
        return
    target = Path(path)
    if not target.resolve().parent.is_dir():
        raise InputError(f"The folder of '{path}' does not exist: make it first.")
    if target.is_dir():
        raise InputError(f"'{path}' is a folder: name a file for the numbers.")


def write_json(path: str, value: Any) -> None:
    """Write ``value`` as JSON, whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from ..io import write_json as write

    write(path, value)
