"""The simulated camera and stage as Python devices of pymmcore-plus (extra ``microscope``).

The classes are made when they are asked for: without the extra, this module can be imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import CameraDevice, StageDevice

    from .simulated import SimulatedCamera, SimulatedStage


def camera_device(camera: SimulatedCamera) -> CameraDevice:
    """A Micro-Manager camera that exposes ``camera``: grey, 16 bit, exposure in milliseconds."""
    from pymmcore_plus.experimental.unicore import SimpleCameraDevice

    class SimulatedCameraDevice(SimpleCameraDevice):
        """A wide-field camera that sees a simulated sample at the height of the stage."""

        def get_exposure(self) -> float:
            return camera.exposure_ms

        def set_exposure(self, exposure: float) -> None:
            camera.exposure_ms = float(exposure)

        def sensor_shape(self) -> tuple[int, int]:
            return camera.shape

        def dtype(self) -> npt.DTypeLike:
            return np.uint16

        def snap(self, buffer: npt.NDArray[Any]) -> Mapping[str, Any]:
            buffer[...] = camera.expose()
            return {}

    return SimulatedCameraDevice()


def stage_device(stage: SimulatedStage) -> StageDevice:
    """A Micro-Manager focus drive that moves ``stage``, in micrometres."""
    from pymmcore_plus.experimental.unicore import StageDevice

    class SimulatedStageDevice(StageDevice):
        """A z stage without friction, load or end."""

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
