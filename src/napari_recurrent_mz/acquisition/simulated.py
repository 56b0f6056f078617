"""A microscope without hardware: a simulated sample, and a camera and a z stage to scan it with.

Camera and stage are Python devices of pymmcore-plus's UniMMCore, so that everything between the
run and the hardware is what a real microscope uses.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..core.arrays import AnyArray, Array
from ..core.errors import check_choice
from ..core.optics import Optics
from .microscope import CoreMicroscope, Limits, load_core

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import CameraDevice, StageDevice

    from ..simulation.simulate import Camera

Stack = npt.NDArray[np.float32]

CAMERA, STAGE = "Simulated camera", "Simulated stage"
EXPOSURE_MS = 100.0
"""The exposure at which a signal of 1 gives the camera's photons, in milliseconds."""

_SPEED_UM_S = 100.0
_MARGIN = 16  # pixels beside the field whose light still comes into it
_AXIAL_SAMPLES = 0.9  # of the widest spacing that holds the objective's axial band
_ORDER = 5  # of the splines along z


@dataclass(frozen=True, eq=False)
class SimulatedSample:
    """Image of a phantom by a simulated objective, at any height."""

    stack: Stack  #: (Z, Y, X), light without noise, the 99.9th percentile 1
    z_um: Array  #: (Z,), heights in micrometres, evenly spaced from 0
    optics: Optics
    kind: str  #: one of :data:`~.KINDS`

    def plane(self, z_um: float) -> Stack:
        """Light without noise at a height, shape (Y, X); at its ends for heights beyond them."""
        inside = float(np.clip(z_um, self.z_um[0], self.z_um[-1]))
        plane = np.tensordot(self._weights(inside).astype(np.float32), self.stack, 1)
        return np.maximum(plane, 0)

    @cached_property
    def _weights(self) -> Callable[[float], AnyArray]:
        """Weight of each plane of the stack at a height: a spline is linear in its values."""
        from scipy.interpolate import make_interp_spline

        spline: Callable[[float], AnyArray] = make_interp_spline(
            self.z_um, np.eye(len(self.z_um)), k=min(_ORDER, len(self.z_um) - 1), axis=0
        )
        return spline


def simulated_sample(
    kind: str = "worm",
    *,
    depth_um: float = 10.0,
    size: int = 192,
    optics: Optics | None = None,
    seed: int = 7,
) -> SimulatedSample:
    """Make a sample to scan.

    Parameters
    ----------
    kind : str, optional
        One of :data:`~.KINDS`.
    depth_um : float, optional
        How far it reaches from z = 0, in micrometres.
    size : int, optional
        Pixels on a side.
    optics : Optics, optional
        By default those of the demo, 63×/1.4.
    seed : int, optional
        The same seed gives the same sample.

    Raises
    ------
    InputError
        If the kind is unknown.
    """
    from ..simulation import simulate
    from ..simulation.phantoms import KINDS, phantom

    check_choice("sample", kind, KINDS)
    optics = optics or simulate.DEMO_OPTICS
    planes = max(math.ceil(depth_um / _axial_step_um(optics)) + 1, 2)
    step = depth_um / (planes - 1)
    imaging = simulate.imaging(
        optics, planes=planes, size=size, z_step_um=step, lateral_margin=_MARGIN
    )
    light = imaging.image(phantom(kind, imaging.space, np.random.default_rng(seed))).numpy()
    stack = np.asarray(light / np.percentile(light.ravel()[::7], 99.9), np.float32)
    return SimulatedSample(stack, step * np.arange(planes, dtype=np.float64), optics, kind)


def _axial_step_um(optics: Optics) -> float:
    """Half of λ/(n − √(n² − NA²)) or less: such planes hold all that the objective passes."""
    n = optics.immersion_index
    band = (n - math.sqrt(n**2 - optics.na**2)) / optics.wavelength_um
    return _AXIAL_SAMPLES / (2 * band)


class SimulatedStage:
    """A z drive that moves at an even speed; ``visited_um`` is where it has been sent."""

    def __init__(self, z_um: float, *, speed_um_s: float = _SPEED_UM_S) -> None:
        self._start = self._goal = float(z_um)
        self._speed, self._began = speed_um_s, time.monotonic()
        self._lock = threading.Lock()
        self.visited_um: list[float] = []

    @property
    def z_um(self) -> float:
        """Where it is now, in micrometres."""
        way = self._goal - self._start
        done = self._speed * (time.monotonic() - self._began)
        return self._goal if done >= abs(way) else self._start + math.copysign(done, way)

    @property
    def is_busy(self) -> bool:
        """Whether it is on its way."""
        return self.z_um != self._goal

    def move(self, z_um: float) -> None:
        """Set off to a height, in micrometres."""
        self.visited_um.append(float(z_um))
        self._head_for(float(z_um))

    def stop(self) -> None:
        """Stay where it is now."""
        self._head_for(self.z_um)

    def _head_for(self, z_um: float) -> None:
        with self._lock:
            self._start, self._began, self._goal = self.z_um, time.monotonic(), z_um


class SimulatedCamera:
    """A camera that sees a sample at the height of a stage, with photon and read noise."""

    def __init__(
        self,
        sample: SimulatedSample,
        stage: SimulatedStage,
        *,
        noise: Camera | None = None,
        seed: int = 0,
    ) -> None:
        import torch

        from ..simulation.simulate import Camera

        self.sample, self.stage = sample, stage
        self.noise = noise or Camera(photons=2000)
        self.exposure_ms = EXPOSURE_MS
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) pixels."""
        return self.sample.stack.shape[1], self.sample.stack.shape[2]

    def expose(self) -> npt.NDArray[np.uint16]:
        """Counts at the height where the stage is now, shape (Y, X)."""
        import torch

        light = self.sample.plane(self.stage.z_um) * np.float32(self.exposure_ms / EXPOSURE_MS)
        counts = self.noise.expose(torch.from_numpy(light), self._generator).numpy()
        return np.asarray(np.clip(np.rint(counts), 0, np.iinfo(np.uint16).max), np.uint16)


def simulated_microscope(
    sample: SimulatedSample | None = None,
    *,
    limits_um: Limits | None = None,
    start_um: float | None = None,
    noise: Camera | None = None,
    seed: int = 0,
    speed_um_s: float = _SPEED_UM_S,
    **options: Any,
) -> CoreMicroscope:
    """Make a microscope without hardware, driven through pymmcore-plus.

    Parameters
    ----------
    sample : SimulatedSample, optional
        By default :func:`simulated_sample`'s, which takes a few seconds to make.
    limits_um : tuple of float, optional
        Of the stage, in micrometres; by default the sample's ends.
    start_um : float, optional
        Where the stage stands at first; by default in the middle of the limits.
    noise : Camera, optional
    seed : int, optional
        Of the camera's noise.
    speed_um_s : float, optional
        Of the stage, in micrometres a second.
    **options
        Those of :class:`~.CoreMicroscope`.

    Raises
    ------
    InputError
        If pymmcore-plus is not installed.
    """
    sample = sample or simulated_sample()
    limits = limits_um or (float(sample.z_um[0]), float(sample.z_um[-1]))
    stage = SimulatedStage(sum(limits) / 2 if start_um is None else start_um, speed_um_s=speed_um_s)
    camera = SimulatedCamera(sample, stage, noise=noise, seed=seed)
    core = simulated_core(camera, stage)
    return CoreMicroscope(core, limits_um=limits, **{"settle_s": 0.0, **options})


def simulated_core(camera: SimulatedCamera, stage: SimulatedStage) -> Any:
    """A UniMMCore with this camera and this stage, and the pixel size of the sample's optics."""
    core_class = load_core()
    from pymmcore_plus.experimental.unicore import UniMMCore

    # A folder without device adapters: no installed Micro-Manager is looked for or touched.
    folder = os.fspath(Path(__file__).parent)
    # A process's first core is taken for its own for as long as it lives: never this one.
    first = core_class(mm_path=folder)
    core = UniMMCore(mm_path=folder)
    del first
    core.loadPyDevice(CAMERA, _camera_device(camera))
    core.loadPyDevice(STAGE, _stage_device(stage))
    for label in (CAMERA, STAGE):
        core.initializeDevice(label)
    core.setCameraDevice(CAMERA)
    core.setFocusDevice(STAGE)
    core.setAutoShutter(False)  # there is none, and UniMMCore would look for it
    core.definePixelSizeConfig("objective")
    core.setPixelSizeUm("objective", camera.sample.optics.pixel_um)
    core.setPixelSizeConfig("objective")
    return core


def _camera_device(camera: SimulatedCamera) -> CameraDevice:
    """A Micro-Manager camera that exposes ``camera``: grey, 16 bit, exposure in milliseconds."""
    from pymmcore_plus.experimental.unicore import SimpleCameraDevice

    class SimulatedCameraDevice(SimpleCameraDevice):
        def get_exposure(self) -> float:
            return camera.exposure_ms

        def set_exposure(self, exposure: float) -> None:
            camera.exposure_ms = float(exposure)

        def sensor_shape(self) -> tuple[int, int]:
            return camera.shape

        def dtype(self) -> npt.DTypeLike:
            return np.uint16

        def snap(self, buffer: AnyArray) -> Mapping[str, Any]:
            buffer[...] = camera.expose()
            return {}

    return SimulatedCameraDevice()


def _stage_device(stage: SimulatedStage) -> StageDevice:
    """A Micro-Manager focus drive that moves ``stage``, in micrometres."""
    from pymmcore_plus.experimental.unicore import StageDevice

    class SimulatedStageDevice(StageDevice):
        def busy(self) -> bool:
            return stage.is_busy

        def get_position_um(self) -> float:
            return stage.z_um

        def set_position_um(self, val: float) -> None:
            stage.move(val)
            self.core.events.stagePositionChanged.emit(self.get_label(), val)

        def stop(self) -> None:
            stage.stop()

        def home(self) -> None:
            stage.move(0.0)

        def set_origin(self) -> None:
            raise NotImplementedError("the heights of a simulated sample are fixed")

    return SimulatedStageDevice()
