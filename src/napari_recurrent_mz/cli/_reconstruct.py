"""``recurrent-mz reconstruct``: scans in files to a volume in a file."""

from __future__ import annotations

import time
from typing import Annotated

from ..core.scans import ZGrid, default_grid
from ._common import OUTPUT, Grid, Source
from ._options import Option
from ._terminal import Checked, Progress, note, result_line


def reconstruct(
    *,
    source: Source,
    grid: Grid = None,
    output: Annotated[
        str, Option("result: .ome.tif (OME-TIFF) or .ome.zarr (OME-Zarr)", names=OUTPUT)
    ],
) -> None:
    """Build a volume from scans.

    Build a volume from single images at known heights, or from planes of a stack. What the
    options leave out comes from the files' metadata.

    examples:
      recurrent-mz reconstruct A.tif B.tif C.tif --z 3 6 9 --grid 0:10:0.1 --pixel-um 0.103 \\
          --na 1.4 --wavelength-um 0.615 --immersion-index 1.515 -o volume.ome.tif
      recurrent-mz reconstruct STACK.tif --planes 30 60 90 --z-step-um 0.1 -o volume.ome.tif
    """
    from ..io import VolumeWriter, check_disk, check_output

    files = source.scans.files
    path = check_output(output, files)
    given = source.given()
    if grid is None:
        dof_um = given.optics.depth_of_field_um if given.optics else None
        planes = default_grid([scan.z_um for scan in given.scans], dof_um, source.scans.planes)
    else:
        planes = ZGrid.parse(grid)
    shape = (len(planes), *given.shape)
    check_disk(path, shape)
    from ..engine.to_disk import reconstruct_into

    checked, begun = Checked(), time.perf_counter()
    with Progress(f"{source.by.method}: plane") as progress:
        reconstruct_into(
            lambda shape: VolumeWriter(path, shape, planes.z_um, given.pixel_um, inputs=files),
            given.recipe(planes),
            on_progress=progress,
            on_message=note,
            on_check=checked,
        )
    seconds, method = time.perf_counter() - begun, checked.by(source.by.method)
    print(result_line(path, shape, planes, method, len(given.scans), seconds))
