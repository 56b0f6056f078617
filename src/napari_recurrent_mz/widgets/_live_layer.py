"""The volume of a live session as a layer that fills in place, and the frame of the next scan."""

from __future__ import annotations

import time
import weakref
from typing import Any

import numpy as np
from napari.layers import Image, Layer, Shapes
from qtpy.QtCore import QObject, QTimer

from ..methods import METHOD_NAMES
from ..scans import ZGrid
from ._layers import METADATA_KEY
from ._live_work import Listed
from ._result import refresh_pause_s, show_height
from ._worker import percentile_limits

Limits = tuple[float, float]

_FRAME_NAME = "Next scan"
_FRAME_SHARE = 1 / 200  # of the field, as wide as the line is


class LiveLayer(QObject):
    """Shows a session's volume; when the user removes the layer, the next plane brings a new one.

    Parameters
    ----------
    viewer : napari.Viewer
    session : Session

    Attributes
    ----------
    origin_um : tuple of float
        Place (y, x) of the first pixel, in micrometres; may be set until the layer is there.
    """

    def __init__(self, viewer: Any, session: Any) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self.origin_um = (0.0, 0.0)
        self._name = f"Live · {METHOD_NAMES[session.settings.method]}"
        self._shown: Any = None
        self._contrast: Limits = (0.0, 1.0)
        self._layer: weakref.ref[Image] | None = None
        self._refreshed = 0.0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._refresh)

    @property
    def layer(self) -> Image | None:
        """The layer, if it is in the viewer."""
        layer = self._layer() if self._layer is not None else None
        return layer if layer is not None and layer in self._viewer.layers else None

    def is_mine(self, layer: Layer) -> bool:
        """Whether a layer shows this volume."""
        return layer is self.layer

    def show(self, *, now: bool = False) -> None:
        """Show the volume as it is: soon, so that the window keeps its share, or now."""
        volume, layer = self._session.volume, self.layer
        if volume is None:
            self.remove()
        elif layer is None:
            self._add(volume)
        elif volume is not self._shown:
            self._shown = layer.data = volume
        elif now or time.monotonic() - self._refreshed > self._pause_s():
            self._refresh()
        elif not self._timer.isActive():
            self._timer.start(int(1000 * self._pause_s()))

    def finish(self, listed: Listed) -> None:
        """Say of which scans the finished volume is made, and adapt the contrast.

        Limits of the contrast that the user has set stay.
        """
        self.show(now=True)
        layer = self.layer
        if layer is None:
            return
        record = self._record() | {"next_z_um": listed.over_z.suggested_um}
        layer.metadata = {**layer.metadata, METADATA_KEY: record}
        layer.data = self._shown  # the same, so that who looks on takes note of the metadata too
        is_own = tuple(layer.contrast_limits) == self._contrast
        limits = listed.contrast if is_own else layer.contrast_limits
        wide = (min(listed.values[0], limits[0]), max(listed.values[1], limits[1]))
        if wide != tuple(layer.contrast_limits_range):
            layer.contrast_limits_range = wide
        if is_own:
            layer.contrast_limits = self._contrast = listed.contrast

    def remove(self) -> None:
        """Take the layer away: there is no volume any more."""
        layer = self.layer
        if layer is not None:
            self._viewer.layers.remove(layer)
        self._shown = None

    def _record(self) -> dict[str, Any]:
        session = self._session
        scans = [{"name": scan.name, "z_um": scan.z_um} for scan in session.scans]
        optics = session.optics.as_dict()
        method = session.history[-1].method if session.history else session.settings.method
        return {"state": "live", "method": method, "optics": optics, "scans": scans}

    def _add(self, volume: Any) -> None:
        grid, pixel = self._session.grid, self._session.optics.pixel_um
        self._shown, self._contrast = volume, percentile_limits(self._session.scans)
        layer = self._viewer.add_image(
            volume,
            name=self._name,
            scale=(grid.step_um, pixel, pixel),
            translate=(grid.start_um, *self.origin_um),
            units=("um", "um", "um"),
            axis_labels=("z", "y", "x"),
            contrast_limits=self._contrast,
            metadata={METADATA_KEY: self._record()},
        )
        self._layer = weakref.ref(layer)
        self._refreshed = time.monotonic()
        if len(self._viewer.layers) == 1:
            self._viewer.reset_view()
            show_height(self._viewer, self._session.scans[0].z_um)

    def _pause_s(self) -> float:
        return refresh_pause_s(self._viewer, self._shown.nbytes) if self._shown is not None else 0.0

    def _refresh(self) -> None:
        layer = self.layer
        if layer is not None:
            layer.refresh()
        self._refreshed = time.monotonic()


class NextScanFrame:
    """A frame around the field at the height where the next scan should help most.

    Parameters
    ----------
    viewer : napari.Viewer
    colour : str
        As napari takes it.
    """

    def __init__(self, viewer: Any, colour: str) -> None:
        self._viewer, self._colour = viewer, colour
        self._layer: weakref.ref[Shapes] | None = None
        self._is_unwanted = False

    @property
    def layer(self) -> Shapes | None:
        """The frame's layer, if it is in the viewer."""
        layer = self._layer() if self._layer is not None else None
        return layer if layer is not None and layer in self._viewer.layers else None

    def forget(self) -> None:
        """A new session: whoever removed the frame from the last one may want it again."""
        self._layer, self._is_unwanted = None, False

    def show(self, z_um: float, grid: ZGrid, image: Image) -> None:
        """Put the frame around ``image`` at a height, in micrometres.

        A frame that the user has removed stays away until the next session.
        """
        layer = self.layer
        self._is_unwanted |= self._layer is not None and layer is None
        if self._is_unwanted:
            return
        rows, columns = image.data.shape[-2:]
        plane = (z_um - grid.start_um) / grid.step_um
        corners = ((0, 0), (0, columns), (rows, columns), (rows, 0))
        frame = np.array([(plane, y - 0.5, x - 0.5) for y, x in corners])
        if layer is None:
            self._add(frame, image)
        else:
            layer.data = [frame]

    def hide(self) -> None:
        """Take the frame away."""
        layer = self.layer
        if layer is not None:
            self._viewer.layers.remove(layer)
        self.forget()

    def _add(self, frame: Any, image: Image) -> None:
        selected = self._viewer.layers.selection.active
        width = _FRAME_SHARE * max(image.data.shape[-2:])
        layer = self._viewer.add_shapes(
            [frame],
            shape_type="polygon",
            name=_FRAME_NAME,
            face_color="transparent",
            edge_color=self._colour,
            edge_width=width,
            scale=image.scale,
            translate=image.translate,
            units=image.units,
            axis_labels=image.axis_labels,
        )
        layer.editable = False
        self._layer = weakref.ref(layer)
        self._viewer.layers.selection.active = selected
