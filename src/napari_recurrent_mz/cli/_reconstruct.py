"""``recurrent-mz reconstruct``: scans in files to a volume in a file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from ..core.scans import ZGrid, contrast_limits, default_grid
from ..io._zarr import NGFF
from ._common import OUTPUT, Given, Grid, Ngff, Source
from ._options import Option
from ._terminal import Checked, Progress, note, result_line

if TYPE_CHECKING:
    from ..io import VolumeWriter


def reconstruct(
    *,
    source: Source,
    grid: Grid = None,
    output: Annotated[
        str, Option("result: .ome.tif (OME-TIFF) or .ome.zarr (OME-Zarr)", names=OUTPUT)
    ],
    ngff: Ngff = NGFF[0],
) -> None:
    """Build a volume from scans.

    Build a volume from single images at known heights, or from planes of a stack. What the
    options leave out comes from the files' metadata.

    examples:
      recurrent-mz reconstruct A.tif B.tif C.tif --z 3 6 9 --grid 0:10:0.1 --pixel-um 0.103 \\
          --na 1.4 --wavelength-um 0.615 --immersion-index 1.515 -o volume.ome.tif
      recurrent-mz reconstruct STACK.tif --planes 30 60 90 --z-step-um 0.1 -o volume.ome.tif
      recurrent-mz reconstruct TWO-COLOURS.tif --channel all --wavelength-um 0.461,0.57 \\
          --planes 30 60 90 -o both.ome.tif
    """
    from ..io import Channel, VolumeWriter, check_output

    files = source.scans.files
    path = check_output(output, files, ngff)
    given = source.every_channel()
    planes = _grid(given, source.scans.planes) if grid is None else ZGrid.parse(grid)
    first, shape = given[0], (len(planes), *given[0].shape)
    channels = [Channel(None, one.channel, contrast_limits(one.scans)) for one in given]
    with VolumeWriter(
        path, shape, planes.z_um, first.pixel_um, inputs=files, channels=channels, ngff=ngff
    ) as volume:
        done = [_made(one, planes, volume, number) for number, one in enumerate(given)]
        records = [record for record, _ in done]
        volume.finish({"channels": records} if len(records) > 1 else records[0])
    for one, (_, words) in zip(given, done, strict=True):
        print(f"{one.channel}: {words}" if one.channel else words)


def _grid(given: Sequence[Given], numbers: Sequence[int] | None) -> ZGrid:
    """The heights to reconstruct by default: of several channels, those of the finest detail."""
    depths_um = [one.optics.depth_of_field_um for one in given if one.optics]
    dof_um = min(depths_um, default=None)
    return default_grid([scan.z_um for scan in given[0].scans], dof_um, numbers)


def _made(
    given: Given, planes: ZGrid, volume: VolumeWriter, number: int
) -> tuple[dict[str, Any], str]:
    """Reconstruct one channel of the volume; its record, and a line that says what was done."""
    from ..engine.check import hot_pixel_notes, light_notes
    from ..engine.to_disk import reconstruct_into

    hot = hot_pixel_notes(given.scans, given.optics) if given.optics else []
    for sentence in hot + light_notes(given.scans):
        note(sentence)
    records: list[dict[str, Any]] = []
    asked, checked, begun = given.source.by.method, Checked(), time.perf_counter()
    words = f"{given.channel}, {asked}" if given.channel else asked
    with Progress(f"{words}: plane") as progress:
        reconstruct_into(
            lambda _: volume.channel(number),
            given.recipe(planes),
            on_progress=progress,
            on_message=note,
            on_check=checked,
            before_finish=records.append,
        )
    seconds, method, shape = time.perf_counter() - begun, checked.by(asked), volume.shape
    line = result_line(volume.path, shape, planes, method, len(given.scans), seconds)
    return records[0], line
