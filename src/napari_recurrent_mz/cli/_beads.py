"""``recurrent-mz beads``: how wide beads are in a volume, and in its reference."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from . import _common

if TYPE_CHECKING:
    from ..beads import BeadSettings, BeadVolume
    from ..io import ImageFile


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "beads",
        help="measure the widths of beads",
        description="Find isolated beads in a volume, fit a Gaussian to each, and print the mean, "
        "the median and the number of their full widths at half maximum beside the width that "
        "the optics give; with a reference also its own, and the KL divergence between the "
        "histograms.",
    )
    parser.add_argument("volume", metavar="VOLUME", help="the volume, or an image of one plane")
    parser.add_argument(
        "--reference",
        metavar="FILE",
        help="a second volume, for instance the mechanical scan, whose beads are measured in both",
    )
    parser.add_argument(
        "--apart", action="store_true", help="search each volume for beads of its own"
    )
    parser.add_argument(
        "--fit",
        choices=("gaussian3d", "profiles"),
        default="gaussian3d",
        help="one Gaussian in all axes (default), or one along each line through the bead",
    )
    parser.add_argument(
        "--separation-um", type=float, metavar="X", help="least distance of beads (default: 10 px)"
    )
    parser.add_argument(
        "--snr", type=float, default=5.0, metavar="X", help="signal threshold (default: 5)"
    )
    parser.add_argument(
        "--z-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="heights between which beads are measured, µm; twice the same is one plane",
    )
    parser.add_argument(
        "--bead-um", type=float, default=0.0, metavar="X", help="diameter of the beads (default: 0)"
    )
    parser.add_argument(
        "--z-step-um", type=float, metavar="X", help="distance between planes, µm (or metadata)"
    )
    _common.add_position_option(parser)
    _common.add_optics_options(parser)
    parser.add_argument("--csv", metavar="FILE", help="write every bead there")
    parser.add_argument("--figure", metavar="FILE", help="draw the histograms: PNG, SVG or PDF")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Read, measure, print, write."""
    from ..beads import in_words, measure_volumes, theoretical_fwhm, write_beads

    paths = [arguments.volume, *([arguments.reference] if arguments.reference else [])]
    images = [_common.read(arguments, path) for path in paths]
    values = _common.optics_values(arguments, images)
    optics = _common.optics_for(False, values, images)
    pixel_um = values["pixel_um"]
    volumes = [_volume(image, pixel_um or 0.0, arguments.z_step_um) for image in images]
    theory: dict[str, float] = {}
    if optics is not None:
        lateral, axial = theoretical_fwhm(optics, bead_um=arguments.bead_um)
        theory = {"x": lateral, "y": lateral, "z": axial}
    with _common.Progress("beads") as progress:
        tables, notes = measure_volumes(volumes, _settings(arguments), on_progress=progress.stage)
    for note in notes:
        _common.note(note)
    for volume, table in zip(volumes, tables, strict=True):
        print(f"{volume.name}: {in_words(table)}")
    names = [volume.name for volume in volumes]
    if arguments.csv:
        write_beads(arguments.csv, dict(zip(_unlike(names), tables, strict=True)))
    _print_and_draw(names, tables, theory, arguments.figure)


def _settings(arguments: argparse.Namespace) -> BeadSettings:
    from ..beads import BeadSettings

    low, high = arguments.z_range or (-float("inf"), float("inf"))
    return BeadSettings(
        model=arguments.fit,
        separation_um=arguments.separation_um,
        threshold_snr=arguments.snr,
        z_range_um=(low, high),
        same_beads=not arguments.apart,
    )


def _volume(image: ImageFile, pixel_um: float, z_step_um: float | None) -> BeadVolume:
    import numpy as np

    from ..beads import BeadVolume, even_planes
    from ..io import scatter_note

    pixels, bottom, step = image.stack, 0.0, pixel_um
    if image.n_planes > 1:
        pixels, heights = _common.rising(image, z_step_um)
        bottom, step = even_planes(heights, f"'{image.name}'")
        for sentence in scatter_note(heights, f"'{image.name}'"):
            _common.note(sentence)
    voxel = np.array([step, pixel_um, pixel_um])
    return BeadVolume(image.name, pixels, voxel, np.array([bottom, 0.0, 0.0]))


def _print_and_draw(names: list[str], tables: Any, theory: Any, figure: str | None) -> None:
    """A row for each axis and volume; nothing where no bead is accepted."""
    from ..plots import save_figure
    from ..plots.widths import width_histograms, widths_figure

    histograms = width_histograms(tables)
    width = max(6, *(len(name) for name in names))
    print(
        f"{'FWHM':4} {'volume':{width}} {'mean':>8} {'median':>8} {'n':>6} {'theory':>8} {'KL':>7}"
    )
    for histogram in histograms:
        expected = f"{theory[histogram.axis]:8.4f}" if theory else f"{'':8}"
        for number, (name, found) in enumerate(zip(names, histogram.widths, strict=True)):
            kl = f"{histogram.kl:7.3f}" if histogram.kl is not None and number == 0 else ""
            print(
                f"{histogram.axis:4} {name:{width}} {found.mean_um:8.4f} {found.median_um:8.4f} "
                f"{found.n:6d} {expected} {kl}".rstrip()
            )
    if figure:
        save_figure(widths_figure(histograms, names, theory), figure)


def _unlike(names: list[str]) -> list[str]:
    """Names of which none is another's."""
    return [name if name not in names[:n] else f"{name} ({n + 1})" for n, name in enumerate(names)]
