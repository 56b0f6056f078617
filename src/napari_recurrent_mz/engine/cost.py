"""What a reconstruction is expected to take, before it is begun."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..core.arrays import Array
from ..core.device import Device
from ..core.methods import method_of
from ..core.optics import Optics
from ..core.progress import expected_in_words
from ..estimates.deconvolution import object_seconds
from ..estimates.point_fit import pixels_of_sheets
from ..estimates.points import points_seconds
from ..networks.weights import Model
from .check import MOST_LEFT_OUT, range_warnings
from .inference import model_for
from .tiles import has_run, seconds_of_plane

_COMPUTING_MB = {  # by the kind of method: once, for each scan, and for each megapixel of a plane
    "auto": (0, 70, 655),
    "network": (0, 70, 655),
    "lmmse": (80, 0, 8),
}
_POINTS_MB = 45, 5e-6  # once, and for each pixel of a sheet in which points are looked for
_TYPICAL_SHEETS = 30, 20  # in which they are: once, and for each scan
_START_S = 2.0  # of a network: its fastest form is looked for, and tables are made
_MOST_MEGAPIXELS = 1.2  # beyond what was measured, images are cut into tiles


@dataclass(frozen=True)
class Cost:
    """What a reconstruction is expected to take."""

    megabytes: float  #: of the finished volume
    #: an estimate: from the last runs on this device, else from operation counts; where the method
    #: auto may use the network or linear MMSE, by the network
    seconds: float
    #: of main memory, beside the volume, while planes are made; None where it was not measured
    computing_megabytes: float | None = None
    least_seconds: float | None = None  #: where auto may use either: by linear MMSE
    start_seconds: float = 0.0  #: before the first volume of a session

    def time_in_words(self, volumes: int = 1) -> str:
        """How long so many volumes take, for a person."""
        return time_of_all([(self, volumes)])


def time_of_all(costs: Sequence[tuple[Cost, int]]) -> str:
    """How long volumes take in all, so many of each kind, for a person."""
    seconds = least = max((cost.start_seconds for cost, _ in costs), default=0.0)
    for cost, volumes in costs:
        seconds += volumes * cost.seconds
        least += volumes * (cost.seconds if cost.least_seconds is None else cost.least_seconds)
    return expected_in_words(seconds, least)


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
        Heights of the scans in micrometres: with the optics, they tell how long points take, and
        what auto makes of two scans.
    """
    z_um, model = np.asarray(scan_z_um, float), model_for(method, model)
    work, kind = _Work(shape, n_scans, device, optics, z_um), method_of(method).kind
    seconds, least = work.seconds(kind, model, n_planes), None
    if kind == "auto" and model and model.network.config.target == "widefield":
        linear = work.seconds("lmmse", None, n_planes)
        if n_scans > 2:
            check = work.check_seconds(model)
            seconds, least = check + seconds, check + linear
        elif optics and z_um.size and range_warnings(z_um.tolist(), optics, model):
            seconds = linear
    start = 0.0 if model is None or has_run(model, device) else _START_S
    megabytes = math.prod(shape) * n_planes * 4 / 1e6
    return Cost(megabytes, seconds, work.computing_megabytes(kind), least, start)


@dataclass(frozen=True, eq=False)
class _Work:
    """Scans that planes are made from, and the device that makes them."""

    shape: tuple[int, int]
    n_scans: int
    device: Device
    optics: Optics | None
    z_um: Array  # of the scans; empty where they are not known

    @property
    def sheets(self) -> int:
        """Pixels of all sheets in which points are looked for."""
        if self.optics is not None and self.z_um.size > 1:
            return pixels_of_sheets(self.shape, self.z_um, self.optics)
        once, each = _TYPICAL_SHEETS
        return (once + each * self.n_scans) * (self.shape[0] + 128) * (self.shape[1] + 128)

    def seconds(self, kind: str, model: Model | None, n_planes: int) -> float:
        """Expected time of planes, and of what is fitted to the scans before them."""
        network = model.network.config if model else None
        megapixels = math.prod(self.shape) / 2**20
        if model is not None:
            each = seconds_of_plane(model, self.device, self.shape, self.n_scans)
        elif kind == "interpolation":
            each = 0.002 * megapixels  # these and those of linear MMSE: measured on two cores
        else:
            each = 0.001 + 0.008 * self.n_scans * megapixels
        seconds = n_planes * each
        if kind == "points" or (network and network.points):
            seconds += points_seconds(self.shape, self.sheets, self.n_scans, self.device)
        if kind == "nonnegative" or (network and network.nonnegative):
            seconds += object_seconds(self.shape, self.n_scans, self.device)
        return seconds

    def check_seconds(self, model: Model) -> float:
        """Expected time of the check on the scans: some left out in turn, at half the size."""
        y, x = self.shape
        others = replace(
            self, shape=(y // 2, x // 2), n_scans=self.n_scans - 1, z_um=self.z_um[1:] / 2
        )
        # A first plane takes as long as two: memory is asked for.
        return min(self.n_scans - 2, MOST_LEFT_OUT) * others.seconds("network", model, 2)

    def computing_megabytes(self, kind: str) -> float | None:
        """What making planes takes: as VmHWM, with 3 and 6 scans of 512² and 1024² pixels."""
        megapixels = math.prod(self.shape) / 1e6
        if self.device.kind != "cpu" or megapixels > _MOST_MEGAPIXELS:
            return None
        if kind == "points":
            return _POINTS_MB[0] + _POINTS_MB[1] * self.sheets
        if kind not in _COMPUTING_MB:
            return None
        fixed, per_scan, per_megapixel = _COMPUTING_MB[kind]
        return fixed + per_scan * self.n_scans + per_megapixel * megapixels
