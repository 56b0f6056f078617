"""``recurrent-mz bench``: how fast this machine is, in numbers to compare."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from . import _common

if TYPE_CHECKING:
    from ..device import Device
    from ..optics import Optics
    from ..scans import Scan

_SIZES = {"full": (1024, 50), "quick": (256, 10)}  # pixels on a side, planes of the preview
_SCANS = 3
_VOXEL_UM = (0.1, 0.1, 0.1)
_BEADS = {"full": 592, "quick": 192}  # pixels on a side: 2,048 beads, and 200


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="time this machine",
        description="Time the import, the loading of the model, one plane by the network (M = 3, "
        "1024 × 1024 pixels) in float32 and in mixed precision where the device has it, the "
        "linear MMSE preview of a volume, and the measuring of 2,048 beads.",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: 256 × 256 pixels")
    _common.add_model_options(parser)
    parser.add_argument("--json", metavar="FILE", help="write the numbers there")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    import platform
    from datetime import UTC, datetime

    from .. import __version__
    from ..device import choose_device

    _common.check_json(arguments.json)
    device = choose_device(arguments.device)
    extent = "quick" if arguments.quick else "full"
    size, planes = _SIZES[extent]
    seconds = _measure(device, arguments.model, size, planes)
    seconds["beads"], beads = _bead_seconds(_BEADS[extent])
    found = {
        "version": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "device": {"kind": device.kind, "name": device.name},
        "pixels": [size, size],
        "scans": _SCANS,
        "preview_planes": planes,
        "beads": beads,
        "seconds": seconds,
    }
    if arguments.json:
        _common.write_json(arguments.json, found)
    print(f"{device.kind}: {device.name}; {size} × {size} pixels, M = {_SCANS}")
    words = {
        "import": "import napari_recurrent_mz",
        "import_inference": "import of what reconstructs (torch)",
        "load_model": "load the model",
        "network_plane_float32": "network, one plane, float32",
        "network_plane_mixed": "network, one plane, mixed precision",
        "lmmse_volume": f"linear MMSE, {planes} planes",
        "beads": f"find and measure {beads:,} beads",
    }
    for key, value in seconds.items():
        print(f"  {words[key]:<37} {value:8.3f} s")


def _measure(device: Device, model_name: str | None, size: int, planes: int) -> dict[str, float]:
    from ..weights import load_model

    seconds = {
        "import": _import_seconds("napari_recurrent_mz"),
        "import_inference": _import_seconds("napari_recurrent_mz.inference"),
    }
    begun = time.perf_counter()
    model = load_model(model_name)
    seconds["load_model"] = time.perf_counter() - begun
    scans, optics = _noise_scans(size)
    for half in (False, True) if device.half else (False,):
        key = "network_plane_mixed" if half else "network_plane_float32"
        seconds[key] = _network_seconds(scans, optics, model, device, half)
    seconds["lmmse_volume"] = _linear_seconds(scans, optics, device, planes)
    return seconds


def _import_seconds(module: str) -> float:
    """Time of an import in a fresh interpreter, its own start left out."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    done = subprocess.run(  # noqa: S603  (our own interpreter, a fixed text)
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def _noise_scans(size: int) -> tuple[list[Scan], Optics]:
    import numpy as np

    from ..optics import Optics
    from ..scans import Scan

    images = np.random.default_rng(0).gamma(1.0, 100.0, (_SCANS, size, size))
    optics = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.1)
    return [Scan(image, 3.0 * (i + 1)) for i, image in enumerate(images)], optics


def _network_seconds(
    scans: list[Scan], optics: Optics, model: Any, device: Device, half: bool
) -> float:
    """Seconds for one plane once warm."""
    from ..tiles import NetworkPlanes

    maker = NetworkPlanes(
        scans, optics, model, device, reach_um=(3.0, 9.0), on_message=_common.note, half=half
    )
    maker.plane(4.0)
    begun = time.perf_counter()
    maker.plane(5.0)
    return time.perf_counter() - begun


def _linear_seconds(scans: list[Scan], optics: Optics, device: Device, planes: int) -> float:
    """Seconds for a preview from nothing: the tables, the transforms, every plane."""
    import numpy as np

    from ..lmmse import LinearEstimate

    begun = time.perf_counter()
    estimate = LinearEstimate(scans, optics, reach_um=(3.0, 9.0), device=device.torch)
    for z in np.linspace(3.0, 9.0, planes):
        estimate.plane(float(z))
    return time.perf_counter() - begun


def _bead_seconds(size: int) -> tuple[float, int]:
    """Seconds to find and fit the beads of a simulated volume, and how many there are."""
    from ..beads import measure_beads, plant_beads

    fwhm, pitch = (0.7, 0.3, 0.3), (3.6, 1.8, 1.8)
    planted = plant_beads((81, size, size), _VOXEL_UM, fwhm, 10, pitch_um=pitch)
    measure_beads(planted.volume[:, :64, :64], _VOXEL_UM)  # the imports are not counted
    begun = time.perf_counter()
    table = measure_beads(planted.volume, _VOXEL_UM)
    return time.perf_counter() - begun, int(table.accepted.sum())
