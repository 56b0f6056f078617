"""From layers to measured beads, which the FWHM dock finds in a thread and shows as points."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Points

from ...core.arrays import Array
from ...core.optics import Optics
from ...core.progress import Steps
from ...core.scans import InputError
from ...measure.beads import (
    BeadSettings,
    BeadVolume,
    theoretical_fwhm,
    volumes_in_steps,
)
from ...measure.plots import SERIES_ON_DARK
from ..shared import layers as _layers
from ..shared.places import index_in, show_plane_of

if TYPE_CHECKING:
    import pandas as pd

_PLACE = ("ndim", "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_RING = 2.5  # diameter of a ring, in widths of a bead
_LEAST_PIXELS = 6.0
_WIDER = 0.4  # the rings of a second volume
_FILL = 0.6
_LEFT_OUT = "#ff5f5f"


@dataclass(frozen=True, eq=False)
class LayerVolume(BeadVolume):
    """What is measured of a layer, which is not held and may go meanwhile."""

    layer: weakref.ref[Image]
    place: dict[str, Any]  # how a layer of points lies on it: scale, translate, units and so on
    runs_down: bool = False  # the planes of the layer; those of the volume run up

    def turned(self, voxels: Array) -> Array:
        """Voxels (N, 3) of the layer as those of the volume, or the reverse."""
        if not self.runs_down:
            return voxels
        return np.asarray(voxels * [-1, 1, 1] + [len(self.pixels) - 1, 0, 0])


@dataclass(frozen=True, eq=False)
class FwhmJob:
    """Everything the measurement needs."""

    volumes: tuple[LayerVolume, ...]  # the volume, and the reference if there is one
    points_um: tuple[Array, ...] | None  # chosen beads (N, 3) of each volume; None: search them
    settings: BeadSettings
    optics: Optics | None
    bead_um: float = 0.0


@dataclass(frozen=True, eq=False)
class Measured:
    """A table for each volume, the theory by axis, and what to mind."""

    volumes: tuple[LayerVolume, ...]
    tables: tuple[pd.DataFrame, ...]
    theory_um: Mapping[str, float]
    notes: tuple[str, ...]


def volume_of(layer: Any, pixel_um: float | None, z_step_um: float | None) -> LayerVolume:
    """The volume of a layer; the sizes are those that were typed for one that does not say."""
    image = _layers.check_layer(layer)
    _layers.check_upright(image)
    pixel = _layers.pixel_um(image) or pixel_um
    if pixel is None:
        raise InputError(
            f"Layer '{image.name}' does not say how large its pixels are: "
            "type the pixel size in µm under Optics."
        )
    if not pixel > 0:
        raise InputError(f"The pixel size {pixel:g} µm is not above 0: correct it.")
    bottom, step = _planes(image, z_step_um, pixel)
    _layers.check_plausible(image, "pixel_um", pixel, "pixels", "wide")
    _layers.check_plausible(image, "z_step_um", abs(step), "planes", "apart")
    pixels = _layers.stack_pixels(image)
    if step < 0:
        bottom += step * (len(pixels) - 1)
        pixels = _layers.sliceable(pixels)[::-1]
    return LayerVolume(
        image.name,
        pixels,
        np.array([abs(step), pixel, pixel]),
        np.array([bottom, *_layers.lateral_origin_um(image)]),
        weakref.ref(image),
        {name: getattr(image, name) for name in _PLACE},
        runs_down=step < 0,
    )


def _planes(image: Image, z_step_um: float | None, pixel: float) -> tuple[float, float]:
    """Height of the first plane, and the distance between planes, in micrometres."""
    count = _layers.plane_count(image)
    heights, _ = _layers.heights_um(image)
    if count == 1:
        return (0.0 if heights is None else float(heights[0])), pixel
    if heights is None:
        if z_step_um is None or not z_step_um > 0:
            raise InputError(
                f"Layer '{image.name}' does not say how far apart its planes are: "
                "type the z-step in µm."
            )
        return 0.0, z_step_um
    return float(heights[0]), _layers.even_step_of(image, heights)


def points_um(points: Points, image: Image, volume: LayerVolume) -> Array:
    """Points of a layer, where they lie in the world of a volume, (N, 3) in micrometres."""
    words = f"Points layer '{points.name}'"
    if not len(points.data):
        raise InputError(f"{words} is empty: add points, or choose none to search for beads.")
    axes = 2 if volume.is_flat else 3
    if points.ndim < axes:
        raise InputError(f"{words} is two-dimensional but '{image.name}' has planes: add z to it.")
    index = index_in(image, points, points.data)
    places = np.tile(volume.origin_um, (len(index), 1))
    if not volume.is_flat:
        index = volume.turned(index[:, -3:])
    places[:, -axes:] += index[:, -axes:] * volume.voxel_um[-axes:]
    inside = volume.inside(places)
    if not inside.any():
        raise InputError(
            f"None of the {len(places)} points of '{points.name}' lies in '{image.name}': "
            "choose points of this volume, or none to search for beads."
        )
    return np.asarray(places[inside])


def measure(job: FwhmJob) -> Steps[Measured]:
    """Measure the beads of one volume or two."""
    theory: dict[str, float] = {}
    if job.optics is not None:
        lateral, axial = theoretical_fwhm(job.optics, bead_um=job.bead_um)
        theory = {"x": lateral, "y": lateral, "z": axial}
    tables, notes = yield from volumes_in_steps(job.volumes, job.settings, job.points_um)
    return Measured(job.volumes, tables, theory, notes)


class BeadPoints:
    """The points of one volume's beads; the user may change or remove the layer at any time."""

    # There is none where the volume's own layer is gone. Those of a second volume (``number`` 1)
    # are rings of another colour around those of the first; ``picked`` gets this object and the
    # label of a bead that a person selected.

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
        self._layer: Callable[[], Points | None] = lambda: None
        if _layers.there(viewer, volume.layer) is not None:
            self._layer = weakref.ref(self._add(number))

    def _add(self, number: int) -> Points:
        volume, table = self.volume, self.table
        features = table.reset_index(drop=True)
        features.insert(0, "bead", np.arange(1.0, len(table) + 1))
        features.attrs.clear()
        layer: Points = self._viewer.add_points(
            self._data.copy(),
            name=f"beads of {volume.name}",
            features=features.astype({"reason": str}),
            **_look(volume, table, number),
            **volume.place,
        )
        layer.selected_data.events.items_changed.connect(self._selected)
        return layer

    @property
    def layer(self) -> Points | None:
        """The layer; None once it is removed."""
        return _layers.there(self._viewer, self._layer)

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
        show_plane_of(self._viewer, layer, self._data[self.table.index.get_loc(bead)])

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
    voxels = volume.turned((world - volume.origin_um) / volume.voxel_um)
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
