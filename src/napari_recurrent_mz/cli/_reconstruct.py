"""``recurrent-mz reconstruct``: scans in files to a volume in a file."""

from __future__ import annotations

import argparse
import time
from typing import Any

from ..scans import ZGrid, default_grid
from . import _common

_EXAMPLES = """examples:
  recurrent-mz reconstruct A.tif B.tif C.tif --z 3 6 9 --grid 0:10:0.1 --pixel-um 0.103 \\
      --na 1.4 --wavelength-um 0.615 --immersion-index 1.515 -o volume.ome.tif
  recurrent-mz reconstruct STACK.tif --planes 30 60 90 --z-step-um 0.1 -o volume.ome.tif
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "reconstruct",
        help="build a volume from scans",
        description="Build a volume from single images at known heights, or from planes of a "
        "stack. What the options leave out comes from the files' metadata.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common.add_scan_options(parser)
    _common.add_grid_option(parser)
    _common.add_making_options(parser, "result: .ome.tif (OME-TIFF) or .ome.zarr (OME-Zarr)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Read, check everything, reconstruct straight to the file."""
    from ..io import check_disk, check_output

    output = check_output(arguments.output, arguments.files)
    given = _common.Given.by(arguments)
    if arguments.grid is None:
        dof_um = given.optics.depth_of_field_um if given.optics else None
        grid = default_grid([scan.z_um for scan in given.scans], dof_um, arguments.planes)
    else:
        grid = ZGrid.parse(arguments.grid)
    y, x = given.scans[0].pixels.shape
    check_disk(output, (len(grid), y, x))
    print(_reconstruct(arguments, given, grid, str(output)))


def _reconstruct(
    arguments: argparse.Namespace, given: _common.Given, grid: ZGrid, output: str
) -> str:
    """Reconstruct and write; returns one line that says what was made."""
    from ..to_disk import reconstruct_to

    scans, method = given.scans, arguments.method
    checked = _common.Checked()
    begun = time.perf_counter()
    with _common.Progress(f"{method}: plane") as progress:
        reconstruct_to(
            output,
            scans,
            grid,
            optics=given.optics,
            pixel_um=given.pixel_um,
            model=arguments.model,
            method=method,
            device=arguments.device,
            inputs=arguments.files,
            on_progress=progress,
            on_message=_common.note,
            on_check=checked,
        )
    seconds = time.perf_counter() - begun
    shape = (len(grid), *scans[0].pixels.shape)
    return _common.result_line(output, shape, grid, checked.by(method), len(scans), seconds)
