"""``recurrent-mz reconstruct`` and ``surface``: scans in files to a volume, or to one image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from ..core.methods import ERROR_IMAGE
from ..core.progress import listening
from ..core.scans import InputError, ZGrid, check_heights, contrast_limits, default_grid
from ..engine.recipe import HeightMap, Recipe, SurfaceFacts
from ..io import (
    Channel,
    VolumeWriter,
    check_output,
    check_surface_output,
    read_heights,
    write_surface,
)
from ..io._zarr import NGFF
from ._common import OUTPUT, Given, Grid, Ngff, PartOfField, Source, SourceOfChannels
from ._options import Option, Written
from ._terminal import Progress, note, result_line


def reconstruct(
    *,
    source: SourceOfChannels,
    grid: Grid = None,
    region: PartOfField = None,
    output: Annotated[
        str, Written("result: .ome.tif (OME-TIFF) or .ome.zarr (OME-Zarr)", names=OUTPUT)
    ],
    errors: Annotated[
        str | None,
        Written(
            "also write how far every voxel may be off (one standard deviation) to this file",
            "FILE",
        ),
    ] = None,
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
    from ..engine.voxel_errors import check_known

    files = source.scans.files
    path = check_output(output, files, ngff)
    error_path = None if errors is None else check_output(errors, files, ngff)
    given = source.every_channel()
    planes = _grid(given, source.scans.planes) if grid is None else ZGrid.parse(grid)
    recipes = [one.recipe(planes, one.part(region)) for one in given]
    first, shape = given[0], (len(planes), *recipes[0].shape)
    if error_path:
        check_known(recipes[0])
    with ExitStack() as opened:

        def writer(where: Path, limits: Sequence[tuple[float, float]]) -> VolumeWriter:
            seen = zip(given, limits, strict=True)
            volume = VolumeWriter(
                where,
                shape,
                planes.z_um,
                first.pixel_um,
                inputs=files,
                origin_um=first.place_um(recipes[0].region),
                channels=[Channel(None, one.channel, contrast) for one, contrast in seen],
                ngff=ngff,
            )
            return opened.enter_context(volume)

        limits = [contrast_limits(one.scans) for one in given]
        volume, error_volume = writer(path, limits), None
        if error_path:
            error_volume = writer(error_path, [(0.0, (high - low) / 8) for low, high in limits])
        pairs = enumerate(zip(given, recipes, strict=True))
        done = [_made(one, recipe, volume, error_volume, n) for n, (one, recipe) in pairs]
        records = [record for record, _ in done]
        volume.finish(_of_channels(records))
        if error_volume:
            error_volume.finish(
                _of_channels([{**record, "image": ERROR_IMAGE} for record in records])
            )
    for one, (_, words) in zip(given, done, strict=True):
        print(f"{one.channel}: {words}" if one.channel else words)
    if error_path:
        print(f"{error_path}: the expected error of every voxel, one standard deviation")


def _of_channels(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {"channels": records} if len(records) > 1 else records[0]


def _grid(given: Sequence[Given], numbers: Sequence[int] | None) -> ZGrid:
    """The heights to reconstruct by default: of several channels, those of the finest detail."""
    depths_um = [one.optics.depth_of_field_um for one in given if one.optics]
    dof_um = min(depths_um, default=None)
    return default_grid([scan.z_um for scan in given[0].scans], dof_um, numbers)


def _made(
    given: Given,
    recipe: Recipe,
    volume: VolumeWriter,
    errors: VolumeWriter | None,
    number: int,
) -> tuple[dict[str, Any], str]:
    """Reconstruct one channel of the volume; its record, and a line that says what was done."""
    from ..engine.to_disk import reconstruct_into
    from ..engine.voxel_errors import WithErrors

    assert isinstance(recipe.target, ZGrid)
    writer = volume.channel(number)
    into = WithErrors(writer, errors.channel(number), recipe) if errors else writer
    records: list[dict[str, Any]] = []
    method, begun = given.source.by.method, time.perf_counter()
    words = f"{given.channel}, {method}" if given.channel else method
    with Progress(f"{words}: plane") as progress:
        reconstruct_into(
            lambda _: into,
            recipe,
            on_progress=progress,
            on_message=partial(note, channel=given.channel),
            on_check=lambda check: note(check.sentence, channel=given.channel),
            before_finish=records.append,
        )
    (record,), seconds = records, time.perf_counter() - begun
    by, scans = record.get("used", method), len(given.scans)
    return record, result_line(volume.path, volume.shape, recipe.target, by, scans, seconds)


def surface(
    *,
    source: Source,
    heights: Annotated[
        str | None, Option("2-D image of heights in µm, of the size of the scans", one_of=True)
    ] = None,
    through: Annotated[
        tuple[str, ...] | None,
        Option("three points of a plane, µm; more are fitted", "Z,Y,X", one_of=True),
    ] = None,
    output: Annotated[
        str, Written("result: .ome.tif, the heights in µm as its second image", names=OUTPUT)
    ],
) -> None:
    """Build the image of a tilted or curved surface from scans.

    Build one image whose every pixel lies at a height of its own: on a plane through three points
    or more, or on a map of heights.

    examples:
      recurrent-mz surface A.tif B.tif C.tif --z 3 6 9 --through 3,0,0 9,0,60 5,60,30 \\
          --pixel-um 0.103 --na 1.4 --wavelength-um 0.615 --immersion-index 1.515 -o tilted.ome.tif
      recurrent-mz surface STACK.tif --planes 30 60 90 --heights HEIGHTS.tif -o face.ome.tif

    A point of --through is Z,Y,X in micrometres; y and x count from the centre of the upper left
    pixel. HEIGHTS.tif holds the height of every pixel in micrometres.
    """
    files = source.scans.files
    path = check_surface_output(output, [*files, *([heights] if heights else [])])
    given = source.given()
    print(_surface_made(given, _target(given, heights, through), path))


def points(words: Sequence[str]) -> list[tuple[float, ...]]:
    """Points (z, y, x) in µm from words such as ``3,0,12.5``."""
    parsed: list[tuple[float, ...]] = []
    for word in words:
        try:
            point: tuple[float, ...] = tuple(float(part) for part in word.split(","))
        except ValueError:
            point = ()
        if len(point) != 3:
            raise InputError(f"The point '{word}' is not Z,Y,X in µm, for instance 3,0,12.5.")
        parsed.append(point)
    return parsed


def _target(given: Given, heights: str | None, through: Sequence[str] | None) -> HeightMap:
    if through is not None:
        from ..engine.surfaces import plane_through

        at = points(through)
        plane = plane_through(at, given.shape, given.pixel_um)
        return HeightMap(plane, "plane through points", at)
    assert heights is not None  # one of the two is given
    name = Path(heights).name
    return HeightMap(check_heights(read_heights(heights), given.shape, name), name)


def _surface_made(given: Given, target: HeightMap, output: Path) -> str:
    """Reconstruct and write; returns one line that says what was made."""
    from ..engine.surfaces import surface_of

    pixel_um, method = given.pixel_um, given.source.by.method
    with Progress(method) as progress, listening(progress.stage):
        made = surface_of(given.recipe(target), note, lambda check: note(check.sentence))
    heights_um = target.heights_um
    write_surface(
        output,
        made.pixels,
        heights_um,
        pixel_um,
        made.provenance,
        inputs=given.source.scans.files,
        origin_um=given.place_um(),
    )
    y, x = made.pixels.shape
    facts = str(SurfaceFacts.of(heights_um, pixel_um)).rstrip(".")
    return (
        f"{output}: {y} × {x} pixels, {facts[0].lower()}{facts[1:]}, "
        f"by {made.provenance.get('used', method)} from {len(given.scans)} scans "
        f"in {made.seconds:.1f} s"
    )
