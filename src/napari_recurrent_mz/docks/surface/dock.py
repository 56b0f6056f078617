"""The Surface dock: from scans at known heights to the image of a tilted or curved surface."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Surface
from qtpy.QtWidgets import QCheckBox

from ...core.arrays import Array
from ...core.errors import if_possible
from ...core.methods import method_of
from ...core.progress import Steps, stepping, time_in_words
from ...core.scans import Heights, InputError, Scan, contrast_limits
from ...engine.recipe import HeightMap, Recipe, SurfaceFacts
from ..files.save_volume import IMAGES, SaveButton
from ..shared import layers as _layers
from ..shared import settings as _settings
from ..shared.file_names import common_name
from ..shared.guard import on
from ..shared.insides import fit
from ..shared.method_panel import MethodPanel
from ..shared.parts import described
from ..shared.scan_source import ScanParts, ScanSource
from ..shared.scan_table import Row, is_incomplete, layers_of, scan_warnings, scans_of
from . import choice as _choice

if TYPE_CHECKING:
    from ...engine.surfaces import MadeSurface

_MESH = 300  # vertices on a side, at most: enough to look at from all sides
_MISS = 0.1  # of the z-step: how far a plane may be drawn from its height
_FIRST_PIXEL_UM = 0.1  # of points that are picked before anything is known


@dataclass(frozen=True)
class Look:
    """How the result is shown: taken from the layer of the lowest scan when the work begins."""

    name: str
    colormap: str
    origin_um: tuple[float, float]
    is_unsized: bool


def heights_of(recipe: Recipe) -> Heights:
    """The heights of a surface that is to be reconstructed, shape (Y, X), in micrometres."""
    assert isinstance(recipe.target, HeightMap)
    return recipe.target.heights_um


def surface_steps(recipe: Recipe, stop: threading.Event) -> Steps[MadeSurface]:
    from ...engine.surfaces import surface_of  # with torch

    return stepping(lambda: surface_of(recipe), stop.is_set)


def add_image(viewer: Any, surface: MadeSurface, look: Look, title: str) -> Image:
    """Add the image of the surface as a 2-D layer in µm, its heights in its metadata."""
    recipe, pixel_um = surface.recipe, surface.recipe.pixel_size_um
    place = _layers.um_scale_and_place(pixel_um, pixel_um, 0.0, look.origin_um)
    return viewer.add_image(
        surface.pixels,
        name=f"{look.name} · surface, {title}",
        **{name: values[1:] for name, values in place.items()},
        contrast_limits=contrast_limits(recipe.scans),
        colormap=look.colormap,
        metadata={_layers.METADATA_KEY: {**surface.provenance, "heights_um": heights_of(recipe)}},
    )


def add_mesh(viewer: Any, recipe: Recipe, image: Image, look: Look) -> Surface:
    """Add the surface where it lies in space, with its image on it."""
    heights = heights_of(recipe)
    every = [max(1, -(-size // _MESH)) for size in heights.shape]
    sparse = slice(None, None, every[0]), slice(None, None, every[1])
    heights, pixels = heights[sparse], np.asarray(image.data)[sparse]
    y, x = np.indices(heights.shape) * (np.array(every) * recipe.pixel_size_um)[:, None, None]
    vertices = np.stack([heights, y + look.origin_um[0], x + look.origin_um[1]], axis=-1)
    vertices = vertices.reshape(-1, 3)
    return viewer.add_surface(
        (vertices, _faces(heights.shape), pixels.ravel()),
        name=f"{image.name} in 3-D",
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
        colormap=look.colormap,
        contrast_limits=tuple(image.contrast_limits),
        shading="none",
    )


def _faces(shape: Sequence[int]) -> npt.NDArray[np.int64]:
    """Two triangles for every square of a grid of vertices."""
    number = np.arange(shape[0] * shape[1]).reshape(shape[0], shape[1])
    a, b, c, d = (number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:])
    upper = np.stack([a, b, c], axis=-1).reshape(-1, 3)
    lower = np.stack([b, d, c], axis=-1).reshape(-1, 3)
    return np.concatenate([upper, lower])


def _check_drawn_there(row: Row) -> None:
    """Refuse a plane of a stack whose height is not where it is drawn: a click would miss it."""
    layer = row.layer
    if layer is None or row.z_um is None or row.planes < 2 or not _layers.axes_in_um(layer)[0]:
        return
    step, bottom = (float(v[-3]) for v in (_layers.world_scale(layer), _layers.world_place(layer)))
    drawn_um = (bottom + step * row.plane) * _layers.um_per_unit(layer, -3)
    if abs(drawn_um - row.z_um) > _MISS * abs(step) * _layers.um_per_unit(layer, -3):
        raise InputError(
            f"'{row.name}' is drawn at {drawn_um:.4g} µm but its height is {row.z_um:.4g} µm, so "
            "points over it would miss it: set the layer's z scale and position to its heights."
        )


class SurfaceDock(ScanSource):
    """Scans, a plane through points or a layer of heights, optics, method; one image."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(
            napari_viewer, "Reconstruct surface", "Make the image of the surface as a new layer"
        )
        self.scan_parts = ScanParts(self.palette_, self._viewer)
        self.surface = _choice.SurfaceChoice(self._viewer)
        self.method = MethodPanel()
        tip = "Also add a Surface layer that lies where the surface is"
        self.in_3d = described(QCheckBox("Show it in 3-D as well"), "Show in 3-D", tip)
        self.in_3d.setChecked(_settings.remembered("surface", "in_3d") == "yes")
        self.save = SaveButton("image", IMAGES)
        self.inputs = *self.scan_parts.inputs, self.surface, self.method, self.in_3d
        self.kept = self.scan_parts.optics, self.method, self.surface.form
        self.result: Image | None = None
        self._lay_out()
        self._connect()

    # what a script calls --------------------------------------------------------------
    def pick_points(self) -> None:
        """Add a layer of points in which clicks fix the plane."""
        layer = _choice.add_points_layer(self._viewer, self._first(), self._pixels().voxel_um[-1])
        self.surface.choose(layer)
        self.say("Click three points of the surface, each at its z: the slider moves through z.")

    def _act(self) -> None:
        for row in self.used():
            row.forget()  # pixels may have been changed in place
        recipe = self.recipe()
        if self.remembers:
            _settings.remember("surface", {"in_3d": "yes" if self.in_3d.isChecked() else "no"})
        show = partial(self._show, self._look())
        self.start(surface_steps, recipe, then=show, title="Reconstructing the surface")

    # the job --------------------------------------------------------------------------
    def recipe(self) -> Recipe:
        """What the dock describes."""
        scans = scans_of(self.used())
        needs = method_of(self.method.method_key())
        panel = self.scan_parts.optics
        optics = panel.optics() if needs.needs_optics else panel.known()
        pixel_um = panel.pixel_um()
        heights, points = self._heights(scans, pixel_um)
        target = HeightMap(heights, self.surface.layer().name, points)
        return Recipe(scans, target, optics, needs.key, *self.method.needed(needs), pixel_um)

    def _heights(self, scans: Sequence[Scan], pixel_um: float) -> tuple[Heights, Array | None]:
        from ...engine.surfaces import plane_through

        layer, first = self.surface.layer(), self._first()
        rows, columns = scans[0].pixels.shape
        sized = first is not None and _layers.has_size(first)
        if first is not None and sized:
            _layers.check_upright(first)
        origin = _layers.lateral_origin_um(first) if first is not None and sized else None
        by_points = self.surface.kind_key() == _choice.POINTS
        if layer is None:
            how = (
                "press “Pick three points”" if by_points else "choose a 2-D layer of heights in µm"
            )
            raise InputError(f"The surface is not chosen yet: {how}.")
        if not by_points:
            return _choice.map_heights(layer, (rows, columns), pixel_um, origin), None
        points = _choice.points_um(layer, self._pixels())
        if first is not None:
            _layers.check_units(layer, first, 3)
        for row in self.used():
            _check_drawn_there(row)
        return plane_through(points, (rows, columns), pixel_um, origin or (0.0, 0.0)), points

    def _first(self) -> Image | None:
        rows = self.used()
        return rows[0].layer if rows else None

    def _pixels(self) -> _layers.Frame:
        """What a layer in pixels is counted in: the typed pixel, and the planes of a stack."""
        pixel = if_possible(self.scan_parts.optics.pixel_um) or _FIRST_PIXEL_UM
        step, z_um = 1.0, 0.0
        for low, high in pairwise(self.used()):
            layer, rise = low.layer, (high.z_um or 0.0) - (low.z_um or 0.0)
            if layer is not None and layer is high.layer and rise and low.plane != high.plane:
                apart = float(_layers.world_scale(layer)[-3])
                step = rise / (high.plane - low.plane) / apart
                first = float(_layers.world_place(layer)[-3]) + low.plane * apart
                z_um = (low.z_um or 0.0) - step * first
        return _layers.Frame((step, pixel, pixel), (z_um, 0.0, 0.0))

    def _look(self) -> Look:
        first = self._first()
        names = [layer.name for layer in layers_of(self.used())]
        name = common_name(names) or "Image"
        if first is None:
            return Look(name, "gray", (0.0, 0.0), False)
        origin = _layers.lateral_origin_um(first)
        return Look(name, first.colormap.name, origin, not _layers.has_size(first))

    # checking -------------------------------------------------------------------------
    def _check(self) -> None:
        if self.run is not None:
            return
        self.surface.facts.say("")
        self.footer.warn([])
        self.scan_parts.repairs.offer(is_possible=False)
        rows = self.scan_parts.table.scans.rows
        self.scan_parts.give_size.look(rows, self.scan_parts.optics.pixel_um)
        if not rows or not self.method.is_ready:
            self.footer.ready("Getting ready…" if rows else "Add scans to begin.", "hint")
            return
        self.surface.show_points(self._pixels())
        from ...engine.inference import notes_before

        recipe = self.recipe()
        sentences = notes_before(self.method.with_weights(recipe))
        self.footer.ready()
        self.surface.facts.say(str(SurfaceFacts.of(heights_of(recipe), recipe.pixel_size_um)))
        sentences += scan_warnings(self.used(), recipe.pixel_size_um)
        self.scan_parts.repairs.follow(recipe.scans, self.scan_parts.optics.known(), self)
        self.scan_parts.repairs.offer(is_possible=True)
        sentences += chain(*self.scan_parts.repairs.notes)
        self.footer.warn(sentences)

    def _is_unfinished(self) -> bool:
        rows, layer = self.used(), self.surface.layer()
        few = layer is None or (self.surface.kind_key() == _choice.POINTS and len(layer.data) < 3)
        return is_incomplete(rows) or self.scan_parts.optics.is_incomplete() or few

    # the result -----------------------------------------------------------------------
    def _show(self, look: Look, surface: MadeSurface) -> None:
        recipe, check = surface.recipe, surface.check
        title = self.method.title(check.chosen if check else recipe.method)
        self.result = add_image(self._viewer, surface, look, title)
        self.save.offer([] if self.result is None else [self.result])
        if look.is_unsized:
            fit(self._viewer, self.result)
        if self.in_3d.isChecked():
            add_mesh(self._viewer, recipe, self.result, look)
            self._viewer.layers.selection.active = self.result
        sentence = f"“{self.result.name}” is ready after {time_in_words(surface.seconds)}."
        self.say(f"{sentence}\n{check.sentence}" if check else sentence, "done")

    # wiring ---------------------------------------------------------------------------
    def _point_moved(self, number: int, point: Array) -> None:
        layer = self.surface.points.layer()
        if layer is not None and number < len(layer.data):
            _choice.move_point(layer, number, point, self._pixels())

    def _points_removed(self, numbers: list[int]) -> None:
        layer = self.surface.points.layer()
        if layer is not None:
            layer.data = np.delete(np.asarray(layer.data), numbers, axis=0)

    def _connect(self) -> None:
        self.connect_scans()
        parts = self.scan_parts
        for signal in (parts.table.scans.changed, parts.optics.changed, self.surface.changed):
            on(self, signal, self._chosen_anew)
        on(self, parts.optics.changed, self.suggest_anew)  # it says more
        self.method.changed.connect(self._check_timer.start)
        on(self, self.surface.pick, self.pick_points)
        on(self, self.surface.table.moved, self._point_moved)
        on(self, self.surface.table.removed, self._points_removed)
        on(self, self._viewer.layers.events.removed, lambda event: self.save.forget(event.value))

    def _lay_out(self) -> None:
        parts = self.scan_parts
        self.add_parts("Scans", parts.laid_out(), "Surface", self.surface)
        self.add_parts("Optics", parts.optics, "Reconstruction", self.method, self.in_3d)
        self.footer.add_over_buttons(self.save)
        self.form.addStretch(1)
