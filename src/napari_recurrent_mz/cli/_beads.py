"""``recurrent-mz beads``: how wide beads are in a volume, and in its reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ..io import ImageFile, scatter_note
from ..measure.plots import save_figure
from ._common import OF_CHANNELS, ChannelOptics, Files, OneChannel, of_channel
from ._options import Argument, Option, Written
from ._terminal import Progress, note

if TYPE_CHECKING:
    from ..measure.beads import BeadSettings, BeadVolume


def beads(
    *,
    volume: Annotated[str, Argument("the volume, or an image of one plane", "VOLUME")],
    reference: Annotated[
        str | None,
        Option("a second volume, such as the full stack; its beads are measured in both"),
    ] = None,
    apart: Annotated[bool, Option("search each volume for its own beads instead")] = False,
    fit: Annotated[
        str,
        Option(
            "one Gaussian in all axes, or one along each line through the bead",
            choices=("gaussian3d", "profiles"),
        ),
    ] = "gaussian3d",
    separation_um: Annotated[
        float | None, Option("smallest distance between beads, µm (default: 10 pixels)")
    ] = None,
    snr: Annotated[float, Option("smallest signal-to-noise ratio of a bead")] = 5.0,
    z_range: Annotated[
        tuple[float, float] | None,
        Option(
            "measure the beads between these heights, µm; give a height twice for one plane",
            ("LOW", "HIGH"),
        ),
    ] = None,
    bead_um: Annotated[float, Option("diameter of the beads, µm, for the theoretical width")] = 0.0,
    files: Annotated[Files, OF_CHANNELS],
    optics: ChannelOptics,
    csv: Annotated[str | None, Written("write a table with one row for each bead")] = None,
    figure: Annotated[str | None, Written("draw the histograms: PNG, SVG or PDF")] = None,
) -> None:
    """Measure the widths of beads.

    Find isolated beads in a volume, fit a Gaussian to each, and print the mean and median of
    their full widths at half maximum, how many there are, and the width that the optics give.
    With a reference, print its widths too, and the KL divergence of the two histograms.
    """
    from ..measure.beads import BeadSettings, write_beads

    settings = BeadSettings(
        model=fit,
        separation_um=separation_um,
        threshold_snr=snr,
        z_range_um=z_range or (-float("inf"), float("inf")),
        same_beads=not apart,
    )
    paths, every = [path for path in (volume, reference) if path], dict[str, Any]()
    for channel, volumes, theory in [  # all of them are read before one is measured
        (channel, *_read(paths, channel, files, optics, bead_um))
        for channel in files.channels(volume)
    ]:
        names, tables = _measured(volumes, settings)
        every |= dict(zip(names, tables, strict=True))
        if csv:  # again with every channel, so that what was measured is kept
            write_beads(csv, every)
        _print_and_draw(names, tables, theory, figure and of_channel(figure, channel))


def _read(
    paths: Sequence[str],
    channel: OneChannel,
    files: Files,
    optics: ChannelOptics,
    bead_um: float,
) -> tuple[list[BeadVolume], dict[str, float]]:
    """One channel of the volumes, and how wide its beads are in theory."""
    from ..measure.beads import theoretical_fwhm

    images = [files.read(path, channel=channel) for path in paths]
    resolved, pixel_um = optics.of_channel(channel).of(images)
    theory: dict[str, float] = {}
    if resolved is not None:
        lateral, axial = theoretical_fwhm(resolved, bead_um=bead_um)
        theory = {"x": lateral, "y": lateral, "z": axial}
    return [_volume(image, pixel_um, files) for image in images], theory


def _measured(
    volumes: Sequence[BeadVolume], settings: BeadSettings
) -> tuple[list[str], Sequence[Any]]:
    """What each volume is called, and the table of its beads."""
    from ..measure.beads import in_words, measure_volumes

    with Progress("beads") as progress:
        tables, notes = measure_volumes(volumes, settings, on_progress=progress.stage)
    note(*notes)
    for one, table in zip(volumes, tables, strict=True):
        print(f"{one.name}: {in_words(table)}")
    names = [one.name for one in volumes]
    unlike = [f"{name} ({n + 1})" if name in names[:n] else name for n, name in enumerate(names)]
    return unlike, tables


def _volume(image: ImageFile, pixel_um: float, files: Files) -> BeadVolume:
    from ..measure.beads import BeadVolume, even_planes

    pixels, bottom, step = image.stack, 0.0, pixel_um
    if image.n_planes > 1:
        pixels, heights = files.rising(image)
        bottom, step = even_planes(heights, f"'{image.name}'")
        note(*scatter_note(heights, f"'{image.name}'"))
    voxel = np.array([step, pixel_um, pixel_um])
    return BeadVolume(image.name, pixels, voxel, np.array([bottom, *image.place_um]))


def _print_and_draw(names: list[str], tables: Any, theory: Any, figure: str | None) -> None:
    """A row for each axis and volume; nothing where no bead is accepted."""
    from ..measure.plots.widths import width_histograms, widths_figure

    histograms = width_histograms(tables)
    width = max(6, *(len(name) for name in names))
    print(
        f"{'FWHM':4} {'volume':{width}} {'mean':>8} {'median':>8} {'n':>6} {'theory':>8} {'KL':>7}"
    )
    for histogram in histograms:
        expected = f"{theory[histogram.axis]:8.4f}" if theory else f"{'':8}"
        for number, (name, fwhm) in enumerate(zip(names, histogram.widths, strict=True)):
            kl = f"{histogram.kl:7.3f}" if histogram.kl is not None and number == 0 else ""
            print(
                f"{histogram.axis:4} {name:{width}} {fwhm.mean_um:8.4f} {fwhm.median_um:8.4f} "
                f"{fwhm.n:6d} {expected} {kl}".rstrip()
            )
    if figure:
        save_figure(widths_figure(histograms, names, theory), figure)
