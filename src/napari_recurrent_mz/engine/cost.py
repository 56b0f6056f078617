"""What a reconstruction is expected to take, before it is begun."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.device import Device
from ..core.methods import method_of
from ..core.optics import Optics
from ..estimates.deconvolution import object_seconds
from ..estimates.point_fit import pixels_of_sheets
from ..estimates.points import points_seconds
from ..networks.weights import Model
from .inference import model_for
from .tiles import NetworkPlanes

_COMPUTING_MB = {  # by the kind of method: once, for each scan, and for each megapixel of a plane
    "auto": (0, 70, 655),
    "network": (0, 70, 655),
    "lmmse": (80, 0, 8),
}
_POINTS_MB = 45, 5e-6  # once, and for each pixel of a sheet in which points are looked for
_TYPICAL_SHEETS = 30, 20  # in which they are: once, and for each scan
_MOST_MEGAPIXELS = 1.2  # beyond what was measured, images are cut into tiles


@dataclass(frozen=True)
class Cost:
    """What a reconstruction is expected to take."""

    megabytes: float  #: of the finished volume
    #: an estimate: from the last run of this kind on this device, else from operation counts
    seconds: float
    #: of main memory, beside the volume, while planes are made; None where it was not measured
    computing_megabytes: float | None = None


def estimate_cost(
    shape: tuple[int, int],
    n_scans: int,
    n_planes: int,
    method: str,
    device: Device,
    model: Model | None = None,
    *,
    optics: Optics | None = None,
    scan_z_um: npt.ArrayLike = (),
) -> Cost:
    """Memory and expected time.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the scans.
    n_scans, n_planes : int
    method : str
    device : Device
    model : Model, optional
    optics : Optics, optional
    scan_z_um : array_like, optional
        Heights of the scans in micrometres: with the optics, they tell how long points take.
    """
    pixels = shape[0] * shape[1] * n_planes
    megabytes = pixels * 4 / 1e6
    model = model_for(method, model)
    if model is not None:
        seconds = pixels * NetworkPlanes.seconds_per_pixel(model, device, n_scans)
    else:
        # Measured on two cores: about 8 ms for a filtered 1024 × 1024 plane, 2 ms interpolated.
        per_plane = 0.008 if method_of(method).needs_optics else 0.002
        seconds = per_plane * pixels / 2**20
    kind, network = method_of(method).kind, model.network.config if model else None
    once, each = _TYPICAL_SHEETS
    sheets = (once + each * n_scans) * (shape[0] + 128) * (shape[1] + 128)
    if optics is not None and np.size(scan_z_um) > 1:
        sheets = pixels_of_sheets(shape, np.asarray(scan_z_um, float), optics)
    if kind == "points" or (network and network.points):
        seconds += points_seconds(shape, sheets, n_scans, device)
    if kind == "nonnegative" or (network and network.nonnegative):
        seconds += object_seconds(shape, n_scans, device)
    return Cost(megabytes, seconds, _computing_megabytes(shape, n_scans, method, device, sheets))


def _computing_megabytes(
    shape: tuple[int, int], n_scans: int, method: str, device: Device, sheets: int
) -> float | None:
    """What making planes takes: measured as VmHWM, with 3 and 6 scans of 512² and 1024² pixels."""
    kind, megapixels = method_of(method).kind, shape[0] * shape[1] / 1e6
    if device.kind != "cpu" or megapixels > _MOST_MEGAPIXELS:
        return None
    if kind == "points":
        return _POINTS_MB[0] + _POINTS_MB[1] * sheets
    if kind not in _COMPUTING_MB:
        return None
    fixed, per_scan, per_megapixel = _COMPUTING_MB[kind]
    return fixed + per_scan * n_scans + per_megapixel * megapixels
