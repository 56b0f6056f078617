"""``recurrent-mz surface``: scans in files to the image of a tilted or curved surface."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..scans import Heights, InputError, check_heights
from . import _common

_EXAMPLES = """examples:
  recurrent-mz surface A.tif B.tif C.tif --z 3 6 9 --through 3,0,0 9,0,60 5,60,30 \\
      --pixel-um 0.103 --na 1.4 --wavelength-um 0.615 --immersion-index 1.515 -o tilted.ome.tif
  recurrent-mz surface STACK.tif --planes 30 60 90 --heights HEIGHTS.tif -o face.ome.tif

A point of --through is Z,Y,X in micrometres; y and x count from the centre of the upper left
pixel. HEIGHTS.tif holds the height of every pixel in micrometres.
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "surface",
        help="build the image of a tilted or curved surface from scans",
        description="Build one image whose every pixel lies at a height of its own: on a plane "
        "through three points or more, or on a map of heights.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common.add_scan_options(parser)
    surface = parser.add_mutually_exclusive_group(required=True)
    surface.add_argument(
        "--heights", metavar="FILE", help="2-D image of heights in µm, as large as the scans"
    )
    surface.add_argument(
        "--through",
        nargs="+",
        metavar="Z,Y,X",
        help="three points of a plane or more (then by least squares), µm",
    )
    _common.add_making_options(parser, "result: .ome.tif, the heights in µm as its second image")
    parser.set_defaults(run=run)


def points(words: Sequence[str]) -> list[tuple[float, ...]]:
    """Points (z, y, x) in µm from words such as ``3,0,12.5``.

    Raises
    ------
    InputError
        If a word is no point.
    """
    found: list[tuple[float, ...]] = []
    for word in words:
        try:
            point: tuple[float, ...] = tuple(float(part) for part in word.split(","))
        except ValueError:
            point = ()
        if len(point) != 3:
            raise InputError(f"The point '{word}' is not Z,Y,X in µm, for instance 3,0,12.5.")
        found.append(point)
    return found


def run(arguments: argparse.Namespace) -> None:
    """Read, check everything, reconstruct, write."""
    from ..io import check_surface_output

    files = [*arguments.files, *([arguments.heights] if arguments.heights else [])]
    output = check_surface_output(arguments.output, files)
    given = _common.Given.by(arguments)
    heights = _heights(arguments, given.scans[0].pixels.shape, given.pixel_um)
    print(_reconstruct(arguments, given, heights, output))


def _heights(arguments: argparse.Namespace, shape: tuple[int, ...], pixel_um: float) -> Heights:
    if arguments.through is not None:
        from ..surfaces import plane_through

        return plane_through(points(arguments.through), (shape[0], shape[1]), pixel_um)
    from ..io import read_heights

    return check_heights(read_heights(arguments.heights), shape, Path(arguments.heights).name)


def _reconstruct(
    arguments: argparse.Namespace, given: _common.Given, heights: Heights, output: Path
) -> str:
    """Reconstruct and write; returns one line that says what was made."""
    from ..device import choose_device
    from ..inference import SurfaceImage, loaded, run, tell
    from ..io import write_surface
    from ..progress import listening
    from ..recipe import HeightMap, Recipe, SurfaceFacts

    scans, pixel_um, method = given.scans, given.pixel_um, arguments.method
    origin = "plane through points" if arguments.through else Path(arguments.heights).name
    through = points(arguments.through) if arguments.through else None
    recipe = loaded(
        Recipe(
            scans, HeightMap(heights, origin, through), given.optics, method, arguments.model,
            arguments.device, pixel_um,
        )
    )  # fmt: skip
    device, checked = choose_device(arguments.device), _common.Checked()
    begun = time.perf_counter()
    with _common.Progress(method) as progress, listening(progress.stage):
        for event in run(recipe):
            if isinstance(event, SurfaceImage):
                image = event.pixels
            tell(event, _common.note, checked)
    seconds = time.perf_counter() - begun
    made = recipe.provenance(device, seconds, checked.check)
    write_surface(output, image, heights, pixel_um, made, inputs=arguments.files)
    y, x = image.shape
    facts = str(SurfaceFacts.of(heights, pixel_um)).rstrip(".")
    return (
        f"{output}: {y} × {x} pixels, {facts[0].lower()}{facts[1:]}, "
        f"by {checked.by(method)} from {len(scans)} scans in {seconds:.1f} s"
    )
