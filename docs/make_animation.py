"""Make the animation at the top of the README: a real stack, reconstructed from a few planes.

Every frame is one height: the nearest scan, linear interpolation between the scans, Recurrent-MZ,
and what the microscope measured there. Below each, a section along x and z, with the scans marked::

    python docs/make_animation.py nucleus-hoechst-widefield.ome.tif --planes 12 17 22 27 32 \\
        --na 1.2 --wavelength-um 0.455 --immersion-index 1.33 --region 22:94,20:104
"""

from __future__ import annotations

import argparse
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from napari_recurrent_mz import Optics, Scan, ZGrid, reconstruct
from napari_recurrent_mz.cli._common import cropped
from napari_recurrent_mz.io import read_image

METHODS = {
    "nearest": "Nearest scan",
    "linear": "Linear interpolation",
    "recurrent-mz": "Recurrent-MZ",
}
BEYOND = 3  # planes below and above the scans
GREYS = 64
FRAME_MS = 150


def main() -> None:
    """Reconstruct, and write the animation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stack", type=Path, help="fully sampled, its sizes in the metadata")
    parser.add_argument("--planes", type=int, nargs="+", required=True, help="the scans")
    for name in ("na", "wavelength-um", "immersion-index"):
        parser.add_argument(f"--{name}", type=float, required=True)
    parser.add_argument("--region", help="part of the field, ROWS,COLUMNS")
    output = Path(__file__).parent / "images" / "nucleus.gif"
    parser.add_argument("-o", "--output", type=Path, default=output)
    wanted = parser.parse_args()
    image = cropped(read_image(wanted.stack), wanted.region)
    optics = Optics(
        na=wanted.na,
        wavelength_um=wanted.wavelength_um,
        immersion_index=wanted.immersion_index,
        pixel_um=image.pixel_um,
    )
    z_um = np.asarray(image.z_um)
    scans = [Scan(image.stack[p], float(z_um[p])) for p in wanted.planes]
    grid = ZGrid(float(z_um[0]), float(z_um[-1]), float(np.diff(z_um).mean()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of planes far beyond the scans, which are not shown
        volumes = {
            title: reconstruct(scans, grid, optics=optics, method=method)
            for method, title in METHODS.items()
        }
    volumes["Measured"] = image.stack
    shown = range(wanted.planes[0] - BEYOND, wanted.planes[-1] + BEYOND + 1)
    frames = [frame(volumes, z_um, optics.pixel_um, n, wanted.planes) for n in shown]
    frames[0].save(
        wanted.output, save_all=True, append_images=frames[1:], loop=0, duration=FRAME_MS
    )
    size = wanted.output.stat().st_size
    print(f"{wanted.output}: {len(frames)} planes, {size / 1e6:.1f} MB")


def frame(
    volumes: dict[str, Any], z_um: Any, pixel_um: float, number: int, planes: list[int]
) -> Image.Image:
    """One height of all volumes, in shades of grey."""
    measured = volumes["Measured"]
    depth, rows, columns = measured.shape
    low, high = np.percentile(measured, (1, 99.9))
    row = int(measured.sum((0, 2)).argmax())
    extent = (0, columns * pixel_um, z_um[0], z_um[-1])
    step_um = (z_um[-1] - z_um[0]) / depth
    figure = Figure((8.4, 3.2), facecolor="black", layout="compressed")
    above, below = figure.subplots(
        2, len(volumes), height_ratios=(rows * pixel_um, depth * step_um)
    )
    for top, section, (title, volume) in zip(above, below, volumes.items(), strict=True):
        top.imshow(volume[number], cmap="gray", vmin=low, vmax=high)
        top.set_title(title, color="white", fontsize=11)
        section.imshow(
            volume[:, row], cmap="gray", vmin=low, vmax=high, extent=extent, origin="lower"
        )
        section.axhline(z_um[number], color="white", linewidth=0.8)
        for plane in planes:
            section.axhline(z_um[plane], xmax=0.06, color="white", linewidth=2)
        for axes in (top, section):
            axes.set_axis_off()
    away_um = min(abs(z_um[number] - z_um[plane]) for plane in planes)
    where = f"{away_um:.1f} µm from the nearest scan" if away_um else "a scan"
    words = f"z = {z_um[number]:.1f} µm: {where}"
    figure.suptitle(words, color="white", fontsize=11, x=0.01, ha="left")
    png = io.BytesIO()
    figure.savefig(png, dpi=100)
    return Image.open(png).convert("L").quantize(GREYS, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
