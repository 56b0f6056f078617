"""How the Reconstruct dock looks: its parts from top to bottom, footer always in sight."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from napari.layers import Image, Shapes
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QFileDialog, QSizePolicy

from ...core.methods import image_made
from ...core.region import Region
from ...core.scans import LEAST_SIDE, InputError
from ...engine.recipe import Recipe
from ...io import check_output
from ...io._zarr import NGFF
from ...measure.plots.live import ErrorOverZ, error_figure
from ..files.save_volume import SaveButton
from ..shared import settings
from ..shared.dock import Form
from ..shared.file_names import file_stem
from ..shared.footer import InstrumentFooter
from ..shared.form import FormPanel, as_named, asked, faint
from ..shared.grid_panel import GridPanel
from ..shared.guard import on
from ..shared.layers import MOVES, check_upright, plane_shape
from ..shared.method_panel import MethodPanel
from ..shared.parts import DRAWN, Palette, add_parts, line_of, push_button
from ..shared.places import index_in
from ..shared.plot import QuietCanvas
from ..shared.scan_source import ScanParts
from ..shared.worker import in_background
from .channels import ChannelsPanel

LAYER_NAME = "Region"
_SHARE = 0.5  # of the field's sides that a new rectangle covers
_CORNERS = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)])  # of a square around 0


@dataclass(frozen=True)
class RegionForm:
    """Which part of the field."""

    shapes: Any = asked(
        "Part of the field",
        "All of the field, or the rectangle around what is drawn in a Shapes layer. Light from "
        "around it is taken into account",
        label="Field",
        nothing="all of it",
        layers=lambda layer: isinstance(layer, Shapes),
    )


class RegionPanel(FormPanel):
    """A choice of Shapes layers, and a button that adds a rectangle to change."""

    draw = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__(RegionForm, viewer)
        self.choice = self.form.shapes.native
        self.draw_button = push_button(
            "Draw", "Add a rectangle: drag it, or its corners, to what is to be reconstructed"
        )
        self.form.put_beside("shapes", self.draw_button)
        on(self, self.draw_button.clicked, self.draw.emit)
        on(self, self.form.changed, self.changed.emit)
        on(self, viewer.layers.events, self._layer_event)

    def region(self, image: Image) -> Region | None:
        """The part of a layer of scans, None for all of it; InputError if there is none."""
        layer = self.choice.layer()
        return None if layer is None else _around(layer, image)

    def draw_over(self, viewer: Any, image: Image) -> None:
        """Take the rectangle that is chosen, or a new one in the middle of the field of a layer."""
        check_upright(image)
        viewer.dims.ndisplay = 2
        layer = self.choice.layer()
        if layer is None:
            layer = self._new_rectangle(viewer, image)
            self.form.shapes.value = layer
        viewer.layers.selection.active = layer
        layer.mode = "select" if len(layer.data) else "add_rectangle"
        layer.selected_data = set(range(len(layer.data)))

    def _new_rectangle(self, viewer: Any, image: Image) -> Shapes:
        sides = np.array(plane_shape(image), np.float64)
        corners = sides * (1 + _SHARE * _CORNERS) / 2 - 0.5
        layer: Shapes = viewer.add_shapes(
            corners,
            shape_type="rectangle",
            name=LAYER_NAME,
            scale=image.scale[-2:],
            translate=image.translate[-2:],
            affine=image.affine.set_slice([-2, -1]),
            units=image.units[-2:],
            axis_labels=image.axis_labels[-2:],
            edge_color=DRAWN,
            edge_width=max(plane_shape(image)) / 200,
            face_color="transparent",
        )
        return layer

    def _layer_event(self, event: Any) -> None:
        is_chosen = event.sources[0] is self.choice.layer()
        if is_chosen and event.type in ("data", "set_data", "units", *MOVES):
            self.changed.emit()


def _around(layer: Shapes, image: Image) -> Region:
    """The pixels of an image that the rectangle around all shapes of a layer covers."""
    if not len(layer.data):
        raise InputError(
            f"Nothing is drawn in layer '{layer.name}': draw a rectangle, or choose all of the "
            "field."
        )
    check_upright(image)
    corners = np.concatenate([np.asarray(shape, np.float64) for shape in layer.data])
    # Pixels are centred on whole numbers; corners on a centre are all rounded alike.
    edges = np.floor(index_in(image, layer, corners)[:, -2:] + 1.0 + 1e-6)
    shape = plane_shape(image)
    low = np.clip(edges.min(axis=0), 0, shape).astype(int)
    high = np.clip(edges.max(axis=0), 0, shape).astype(int)
    if (high - low).min() < LEAST_SIDE:
        y, x = (int(side) for side in np.maximum(high - low, 0))
        raise InputError(
            f"What is drawn in layer '{layer.name}' covers {y} × {x} pixels of '{image.name}': "
            f"make it {LEAST_SIDE} × {LEAST_SIDE} or larger, or choose all of the field."
        )
    (top, left), (bottom, right) = low.tolist(), high.tolist()
    return Region((top, bottom), (left, right))


_HEIGHT = 80
_TIP = (
    "How far the linear estimate (MMSE) is expected to be off in every plane, in parts of its "
    "standard deviation: 0 % is known, 100 % unknown. Dashed lines are scans. A network can do "
    "better on samples such as it was trained on."
)
_GROUP = "result"
_NOT_IN_NAMES = r'[<>:"/\\|?*\x00-\x1f]'


class ErrorPlot(QuietCanvas):
    """A small curve that follows scans, optics and target grid."""

    def __init__(self, palette: Palette) -> None:
        super().__init__(palette, "Expected error of the planes", _HEIGHT)
        self.setToolTip(_TIP)
        self.shown: ErrorOverZ | None = None
        self._recipe: Recipe | None = None
        self.hide()

    def follow(self, recipe: Recipe | None, owner: Any) -> None:
        """Show the errors of this recipe, which a thread of the dock ``owner`` finds."""
        before, self._recipe = self._recipe, recipe
        if recipe is None or recipe.optics is None:
            self.shown = None
            self.hide()
            return
        if before is None or _facts(before) != _facts(recipe):
            show = partial(self._show_errors, recipe)
            in_background(owner, _errors, recipe, then=show, failed=lambda _: self.hide())

    def _show_errors(self, recipe: Recipe, errors: ErrorOverZ) -> None:
        if self._recipe is not None and _facts(self._recipe) == _facts(recipe):
            self.shown = errors
            self.show_figure(error_figure(errors))
            self.show()


def _facts(recipe: Recipe) -> tuple[Any, ...]:
    """What the errors depend on; the recipe holds the pixels, so that their ids stay theirs."""
    scans = tuple((id(scan.pixels), scan.z_um) for scan in recipe.scans)
    return scans, recipe.optics, recipe.target, image_made(recipe.method, recipe.model)


def _errors(recipe: Recipe) -> ErrorOverZ:
    from ...estimates.planning import expected_errors  # with torch

    assert recipe.optics is not None
    z_um = recipe.target.z_um  # type: ignore[union-attr]
    target = image_made(recipe.method, recipe.model)
    error = expected_errors(recipe.scans, recipe.optics, z_um, target)
    return ErrorOverZ(z_um, error, [scan.z_um for scan in recipe.scans])


@dataclass(frozen=True)
class ResultFields:
    """Whether volumes are written as they are made."""

    stored: ClassVar = as_named("ngff")
    on_disk: bool = asked(
        "Write to disk",
        "Write the volume as OME-Zarr plane after plane, so that it need not fit in memory; its "
        "layer shows what is there",
        False,
    )
    ngff: str = asked(
        "OME-Zarr version",
        f"{NGFF[1]} is for programs that do not read {NGFF[0]}",
        NGFF[0],
        choices={version: version for version in NGFF},
    )


class ResultPanel(FormPanel):
    """A box to tick, and the folder in which volumes are written; it is remembered."""

    def __init__(self) -> None:
        super().__init__(ResultFields, group=_GROUP)
        self.on_disk: QCheckBox = self.form.on_disk.native
        self.choose = push_button("Folder…", "Choose the folder that volumes are written to")
        self.where = faint(wraps=False, is_copied=True)
        self.where.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._folder = settings.remembered(_GROUP, "folder") or ""
        self.form.put_beside("on_disk", self.choose)
        self.form.put_under("on_disk", self.where)
        self._show()
        on(self, self.on_disk.toggled, self._toggled)
        on(self, self.on_disk.clicked, self._clicked)
        on(self, self.choose.clicked, self._ask)

    @property
    def is_on_disk(self) -> bool:
        return self.on_disk.isChecked()

    @property
    def ngff(self) -> str:
        return str(self.form.ngff.value)

    def is_incomplete(self) -> bool:
        """Whether only the folder is missing, which is no mistake."""
        return self.is_on_disk and not self._folder

    def write_to(self, folder: Path, ngff: str | None = None) -> None:
        """Write volumes to this folder, as this version of OME-Zarr or the one chosen before."""
        self._folder = str(folder)
        self.form.ngff.value = ngff or self.ngff
        self._show()
        if self.is_on_disk:
            self.changed.emit()
        else:
            self.on_disk.setChecked(True)

    def output(self, name: str, taken: Collection[Path] = ()) -> Path:
        """The OME-Zarr folder for a volume of this name; what is there, or taken, stays."""
        if not self._folder:
            raise InputError("Choose the folder for the volume.")
        stem = file_stem(re.sub(_NOT_IN_NAMES, "_", name)) or "Volume"
        folder, number = Path(self._folder), 1
        path = folder / f"{stem}.ome.zarr"
        while path.exists() or path in taken:
            number += 1
            path = folder / f"{stem} ({number}).ome.zarr"
        return check_output(path, ngff=self.ngff)

    def remember(self) -> None:
        """Keep the folder for the next run."""
        settings.remember(_GROUP, {"folder": self._folder})
        self.form.remember()

    def _toggled(self) -> None:
        self._show()
        self.changed.emit()

    def _clicked(self, is_on: bool) -> None:
        if is_on and not self._folder:
            self._ask()

    def _ask(self) -> None:
        start = self._folder or str(Path.home())
        chosen = QFileDialog.getExistingDirectory(self, "Write volumes to", start)
        if chosen:
            self.write_to(Path(chosen))

    def _show(self) -> None:
        for part in (self.choose, self.where):
            part.setVisible(self.is_on_disk)
        self.form.show_fields("ngff", self.is_on_disk)
        self.where.setText(self._folder or "no folder chosen")
        self.where.setToolTip(self._folder)


class ReconstructLayout(Form):
    """The dock's parts, with short names that the dock's logic uses."""

    def __init__(self, footer: InstrumentFooter, palette: Palette, viewer: Any) -> None:
        super().__init__(footer, palette)
        self.footer = footer
        footer.bar.setToolTip("Planes that are done, and the time left")
        footer.cancel.setToolTip("Stop; the planes that are finished stay (Esc)")
        self.preview = footer.add_button(
            "Preview", "Linear MMSE estimate, in about two seconds (Ctrl+P)"
        )
        self.scan_parts = parts = ScanParts(palette, viewer)
        self.table, self.stack, self.optics = parts.table, parts.stack, parts.optics
        self.add_button, self.planes_button, self.remove_button = parts.buttons
        self.channels = ChannelsPanel()
        self.grid, self.method, self.result = GridPanel(), MethodPanel(), ResultPanel()
        self.region = RegionPanel(viewer)
        self.error = ErrorPlot(palette)
        self.save = SaveButton("volume")
        self.methods_text = push_button(
            "Copy methods text", "Copy how the volume was made, as a paragraph for a paper"
        )
        self.interpolation = push_button(
            "Add interpolation",
            "Linear interpolation of the same scans as another layer, to compare the volume with",
        )
        self.errors = push_button(
            "Add errors",
            "How far every voxel may be off (one standard deviation) as another layer; planes that "
            "are scans are off by their noise alone",
        )
        self.inputs = (
            *parts.inputs,
            self.channels,
            self.grid,
            self.region,
            self.method,
            self.result,
            self.errors,
        )
        rows = self.rows
        line = line_of(self.methods_text, self.interpolation, self.errors, stretch=1)
        add_parts(rows, "Scans", parts.laid_out(self.channels), "Optics", self.optics)
        add_parts(rows, "Target planes (µm)", self.grid, self.region)
        add_parts(rows, "Reconstruction", self.method, self.result, line)
        footer.add_on_top(self.error)
        footer.add_over_buttons(self.save)
        rows.addStretch(1)
        self.fit()
