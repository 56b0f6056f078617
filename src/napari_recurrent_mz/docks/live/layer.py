"""The volume of a live session as a layer that fills in place, and the frame of the next scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Vectors
from qtpy.QtCore import Signal  # type: ignore[attr-defined]

from ...core.arrays import Array
from ...core.methods import METHOD_NAMES
from ...core.scans import Scan, ZGrid
from ..shared.insides import SHORT_PAUSES
from ..shared.layers import METADATA_KEY, um_scale_and_place
from ..shared.pace import LayerInTurns, Pace, Turns
from ..shared.places import show_height
from .work import Listed

Limits = tuple[float, float]

_FRAME_NAME = "Next scan"
_FRAME_SHARE = 1 / 100  # of the field, as wide as the line is


class LiveLayer(LayerInTurns[Image]):
    """A session's volume as a layer; once the user removes it, the next plane brings a new one."""

    added = Signal()
    gone = Signal()  # as there is no volume any more

    def __init__(self, viewer: Any, session: Any, turns: Turns) -> None:
        super().__init__(viewer, turns)
        self._session = session
        self._name = f"Live · {METHOD_NAMES[session.settings.method]}"
        self._shown: Any = None
        self.contrast: Limits = (0.0, 1.0)  # both may be set until the layer is there
        self._pace = Pace(self, self._refresh)

    def show(self, *, now: bool = False) -> None:
        """Show the volume as it is: soon, so that the window keeps its share, or now."""
        volume, layer = self._session.volume, self.layer
        if volume is None:
            self._turns.add(self._leave)
        elif layer is None:
            self.bring((self._add_axis, self._set_axis), (self._centre, self._select))
        elif volume is not self._shown:
            self._shown = layer.data = volume
        elif now:
            self._pace.show()
        else:
            self._pace.show_soon()

    def finish(self, listed: Listed) -> None:
        """Say of which scans the finished volume is made, and adapt the contrast."""
        self.show(now=True)
        self._turns.after(lambda: self._finish(listed))

    def _finish(self, listed: Listed) -> None:
        layer = self.layer
        if layer is None:
            return
        record = self._record(listed.scans) | {"next_z_um": listed.over_z.suggested_um}
        layer.metadata = {**layer.metadata, METADATA_KEY: record}
        layer.data = self._shown  # the same, so that who looks on takes note of the metadata too
        is_own = tuple(layer.contrast_limits) == self.contrast
        limits = listed.contrast if is_own else layer.contrast_limits
        wide = (min(listed.values[0], limits[0]), max(listed.values[1], limits[1]))
        if wide != tuple(layer.contrast_limits_range):
            layer.contrast_limits_range = wide
        if is_own:
            layer.contrast_limits = self.contrast = listed.contrast

    def _leave(self) -> None:
        """Take the layer away, if there is still no volume."""
        if self._session.volume is None:
            self.remove()
            self._shown = None
            self.gone.emit()

    def _record(self, scans: Sequence[Scan]) -> dict[str, Any]:
        session, made_of = self._session, [scan.as_dict() for scan in scans]
        optics = session.optics.as_dict()
        method = session.history[-1].method if session.history else session.settings.method
        return {"state": "live", "method": method, "optics": optics, "scans": made_of}

    def _add_axis(self) -> None:
        """Let napari make the slider of the planes, if this is its first layer."""
        SHORT_PAUSES.put_aside()  # the layer can then go again without a look at all before it
        if len(self._viewer.layers) == 0:
            self._viewer.dims.ndim = 3

    def _set_axis(self) -> None:
        if len(self._viewer.layers) == 0:
            grid = self._session.grid
            self._viewer.dims.set_range(0, (grid.start_um, grid.stop_um, grid.step_um))

    def _make(self) -> Image | None:
        volume = self._session.volume
        if volume is None:
            return None  # in the meantime a person has taken all scans back
        grid, pixel = self._session.grid, self._session.optics.pixel_um
        scans = self._session.scans  # all may be taken back in the meantime
        place_um = scans[0].place_um if scans else (0.0, 0.0)
        self._shown = volume
        return Image(
            volume,
            name=self._name,
            contrast_limits=self.contrast,
            blending="translucent_no_depth",  # as napari adds an image: its box is seen in front
            metadata={METADATA_KEY: self._record(scans)},
            **um_scale_and_place(grid.step_um, pixel, grid.start_um, place_um),
        )

    def _centre(self) -> None:
        """Bring it into view, at the height of the first scan, if it is alone."""
        viewer = self._viewer
        if self.layer is not None and len(viewer.layers) == 1 and self._session.scans:
            viewer.reset_view()
            show_height(viewer, self._session.scans[0].z_um)

    def _select(self) -> None:
        super()._select()
        if self.layer is not None:
            self.added.emit()

    def _refresh(self) -> None:
        if self.layer is not None:
            self.layer.refresh()


def get_ready() -> None:
    """Load what napari loads with the first layer of a kind; for a thread, before it is needed."""
    about: dict[str, Any] = {"units": ("um",) * 3, "axis_labels": ("z", "y", "x")}
    Image(np.zeros((2, 2, 2), np.float32), contrast_limits=(0, 1), **about)
    Vectors(frame_of(0, (2, 2)), edge_color="red", vector_style="line", **about)


class NextScanFrame(LayerInTurns[Vectors]):
    """A frame around the field at the height where the next scan should help most."""

    # It is made of four vectors: a layer of shapes takes the window three times as long.

    def __init__(self, viewer: Any, colour: str, turns: Turns) -> None:
        super().__init__(viewer, turns)
        self._colour = colour
        self._request: tuple[Any, Image] | None = None  # a frame to come, around an image
        self._is_unwanted = self._is_hidden = False

    def forget(self) -> None:
        """A new session: whoever removed the frame from the last one may want it again."""
        super().forget()
        self._request, self._is_unwanted, self._is_hidden = None, False, False

    def show(self, z_um: float, grid: ZGrid, image: Image) -> None:
        """Put the frame around ``image`` at a height, in micrometres."""
        layer = self.layer
        self._is_unwanted |= self.was_removed
        if self._is_unwanted:
            return
        frame = frame_of((z_um - grid.start_um) / grid.step_um, image.data.shape[-2:])
        if layer is None:
            self._request = frame, image
            self.bring()
            return
        if not np.array_equal(layer.data, frame):
            layer.data = frame
        if self._is_hidden:
            layer.visible, self._is_hidden = True, False

    def hide(self) -> None:
        """Show no frame for now; a layer that goes takes napari longer than one that hides."""
        layer = self.layer
        if layer is None:
            self.forget()
        elif layer.visible:
            layer.visible, self._is_hidden = False, True

    def _make(self) -> Vectors | None:
        if self._request is None:
            return None
        (frame, image), self._request = self._request, None
        return Vectors(
            frame,
            name=_FRAME_NAME,
            edge_color=self._colour,
            edge_width=_FRAME_SHARE * max(image.data.shape[-2:]),
            vector_style="line",
            blending="translucent_no_depth",  # in 3-D a line within the volume is seen too
            scale=image.scale,
            translate=image.translate,
            units=image.units,
            axis_labels=image.axis_labels,
        )


def frame_of(plane: float, shape: tuple[int, ...]) -> Array:
    """Beginnings and directions around a field (Y, X) at a height in planes; shape (4, 2, 3)."""
    rows, columns = shape
    corners = np.array([(0, 0), (0, columns), (rows, columns), (rows, 0)]) - 0.5
    frame = np.zeros((4, 2, 3))
    frame[:, 0, 0] = plane
    frame[:, 0, 1:] = corners
    frame[:, 1, 1:] = np.roll(corners, -1, axis=0) - corners
    return frame
