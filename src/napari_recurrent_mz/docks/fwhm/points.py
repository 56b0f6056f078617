"""Measured beads as points in the viewer: rings with their features, chosen and picked."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points

from ...measure.plots import SERIES_ON_DARK
from .job import LayerVolume

if TYPE_CHECKING:
    import pandas as pd

_RING = 2.5  # diameter of a ring, in widths of a bead
_LEAST_PIXELS = 6.0
_WIDER = 0.4  # the rings of a second volume
_FILL = 0.6
_LEFT_OUT = "#ff5f5f"


class BeadPoints:
    """The points of one volume's beads; the user may change or remove the layer at any time.

    Those of a second volume (``number`` 1) are rings of another colour around those of the first;
    ``picked`` gets this object and the label of a bead that a person selected.
    """

    def __init__(
        self,
        viewer: Any,
        volume: LayerVolume,
        table: pd.DataFrame,
        number: int,
        picked: Callable[[BeadPoints, int], None],
    ) -> None:
        self.volume, self.table = volume, table
        self._viewer, self._picked = viewer, picked
        self._is_choosing = False
        self._data = _places(volume, table)
        features = table.reset_index(drop=True)
        features.insert(0, "bead", np.arange(1.0, len(table) + 1))
        features.attrs.clear()
        layer = viewer.add_points(
            self._data.copy(),
            name=f"beads of {volume.name}",
            features=features.astype({"reason": str}),
            **_look(volume, table, number),
            **volume.place,
        )
        self._layer = weakref.ref(layer)
        layer.selected_data.events.items_changed.connect(self._selected)

    @property
    def layer(self) -> Points | None:
        """The layer; None once it is removed."""
        layer = self._layer()
        return layer if layer is not None and layer in self._viewer.layers else None

    def is_as_made(self) -> bool:
        """Whether nobody moved, added or removed a point."""
        return self.layer is not None and np.array_equal(self.layer.data, self._data)

    def choose(self, beads: Iterable[int]) -> None:
        """Select these beads, by their labels in the table, as if by hand."""
        layer = self.layer
        if layer is None:
            return
        is_chosen = np.isin(layer.features["bead"], [bead + 1 for bead in beads])
        self._is_choosing = True
        try:
            layer.selected_data = set(np.flatnonzero(is_chosen).tolist())
        finally:
            self._is_choosing = False
        # napari highlights the selection of one layer only, and that with a thin line.
        faces = np.array(layer.face_color)
        is_disc = layer.features["accepted"].to_numpy(bool)
        faces[is_disc, 3] = 0.0
        faces[is_disc & is_chosen] = layer.border_color[is_disc & is_chosen]
        faces[is_disc & is_chosen, 3] = _FILL
        layer.face_color = faces

    def show_plane(self, bead: int) -> None:
        """Move the viewer's slider to the plane of a bead."""
        layer, dims = self.layer, self._viewer.dims
        if layer is None or self.volume.is_flat or dims.ndim < 3 or dims.ndisplay == 3:
            return
        world = layer.data_to_world(self._data[self.table.index.get_loc(bead)])
        dims.set_point(dims.ndim - 3, world[-3])

    def bead_at(self, event: Any) -> int | None:
        """The bead under a click, by its label in the table."""
        layer = self.layer
        if layer is None or not layer.visible:
            return None
        point = layer.get_value(
            event.position,
            view_direction=event.view_direction,
            dims_displayed=list(event.dims_displayed),
            world=True,
        )
        return None if point is None else self._bead(layer, int(point))

    def _bead(self, layer: Points, point: int) -> int | None:
        number = layer.features["bead"].iloc[point]
        is_ours = not np.isnan(number) and int(number) - 1 in self.table.index
        return int(number) - 1 if is_ours else None

    def _selected(self, _event: Any = None) -> None:
        layer = self.layer
        if layer is None or self._is_choosing or len(layer.selected_data) != 1:
            return
        with contextlib.suppress(RuntimeError, IndexError):
            bead = self._bead(layer, int(next(iter(layer.selected_data))))
            if bead is not None:
                self._picked(self, bead)


def _places(volume: LayerVolume, table: pd.DataFrame) -> Any:
    """Beads in the data coordinates of their volume's layer, (N, ndim)."""
    world = table[["z_um", "y_um", "x_um"]].to_numpy(np.float64)
    voxels = (world - volume.origin_um) / volume.voxel_um
    ndim = int(volume.place["ndim"])
    lead = np.zeros((len(voxels), max(ndim - 3, 0)))
    return np.concatenate([lead, voxels[:, -min(ndim, 3) :]], axis=1)


def _look(volume: LayerVolume, table: pd.DataFrame, number: int) -> dict[str, Any]:
    is_accepted = table["accepted"].to_numpy(bool)
    width = table.loc[is_accepted, ["fwhm_y_um", "fwhm_x_um"]].to_numpy(np.float64)
    typical = float(np.median(width)) if len(width) else 0.0
    size = max(_RING * typical / volume.voxel_um[2], _LEAST_PIXELS)
    size *= 1 + _WIDER * number
    colour = SERIES_ON_DARK[number]  # the ground is the image, whatever the theme
    return {
        "size": np.where(is_accepted, size, 0.6 * size),
        "symbol": np.where(is_accepted, "disc", "cross"),
        "face_color": ["transparent" if accepted else _LEFT_OUT for accepted in is_accepted],
        "border_color": [colour if accepted else _LEFT_OUT for accepted in is_accepted],
        "border_width": 0.12,
        "blending": "translucent_no_depth",
    }
