"""The simulated camera and stage as pymmcore-plus sees them; needs the extra ``microscope``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pymmcore_plus.experimental.unicore import SimpleCameraDevice, StageDevice

if TYPE_CHECKING:
    from .simulated import SimulatedCamera, SimulatedStage


class CameraAdapter(SimpleCameraDevice):
    """A wide-field camera that sees a simulated sample at the height of the stage."""

    def __init__(self, camera: SimulatedCamera) -> None:
        super().__init__()
        self._camera = camera

    def get_exposure(self) -> float:
        """Exposure time, in milliseconds."""
        return self._camera.exposure_ms

    def set_exposure(self, exposure: float) -> None:
        """Set the exposure time, in milliseconds."""
        self._camera.exposure_ms = float(exposure)

    def sensor_shape(self) -> tuple[int, int]:
        """(Y, X) pixels."""
        return self._camera.shape

    def dtype(self) -> npt.DTypeLike:
        """16 bit without a sign."""
        return np.uint16

    def snap(self, buffer: npt.NDArray[Any]) -> Mapping[str, Any]:
        """Fill the buffer, shape (Y, X), with the counts of one exposure."""
        buffer[...] = self._camera.expose()
        return {}


class StageAdapter(StageDevice):
    """A z stage without friction, load or end."""

    def __init__(self, stage: SimulatedStage) -> None:
        super().__init__()
        self._stage = stage

    def busy(self) -> bool:
        """Whether it is on its way."""
        return self._stage.is_busy

    def get_position_um(self) -> float:
        """Where it is now, in micrometres."""
        return self._stage.z_um

    def set_position_um(self, val: float) -> None:
        """Set off to a height, in micrometres."""
        self._stage.move(val)
        self.core.events.stagePositionChanged.emit(self.get_label(), val)

    def stop(self) -> None:
        """Stay where it is now."""
        self._stage.stop()

    def home(self) -> None:
        """Set off to z = 0."""
        self._stage.move(0.0)

    def set_origin(self) -> None:
        """Refuse: the sample's heights are fixed."""
        raise NotImplementedError("the heights of a simulated sample are fixed")
