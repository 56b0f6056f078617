"""How the FWHM dock looks: what to measure on one page, what was found on the other."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from napari.layers import Image, Points
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QLabel,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ..beads import BeadSettings
from ..optics import Optics
from ..scans import InputError
from . import _settings
from ._fields import NumberEdit
from ._guard import on
from ._layer_choice import LayerChoice
from ._optics_panel import OpticsPanel
from ._parts import heading, push_button
from ._plot import PlotPanel
from ._theme import Palette

GROUP = "fwhm"
MODEL_NAMES = {"gaussian3d": "3-D Gaussian", "profiles": "1-D Gaussian profiles"}

_FIELDS = {
    "separation": (
        "Separation µm",
        "Beads nearer to each other than this are left out; empty: ten pixels",
        "auto",
    ),
    "snr": ("SNR at least", "How far a bead must rise above the noise, in the noise's spread", "5"),
    "region_xy": (
        "Region xy µm",
        "Lateral size of the region that is fitted; empty: three bead widths",
        "auto",
    ),
    "region_z": (
        "Region z µm",
        "Axial size of the region that is fitted; empty: three bead widths",
        "auto",
    ),
    "z_low": ("z from µm", "Beads below this height are not measured; empty: all", "lowest"),
    "z_high": ("z to µm", "Beads above this height are not measured; empty: all", "highest"),
    "bead": ("Bead ⌀ µm", "Diameter of the beads, for the width in theory; empty: a point", "0"),
    "step": ("z-step µm", "Distance between the planes: the layer does not say", "0.2"),
}
_REMEMBERED = ("separation", "snr", "region_xy", "region_z", "bead")  # the rest is one volume's


class SetupPage(QWidget):
    """Layers, how to find and fit beads, and the optics; ``changed`` follows every change."""

    changed = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.volume = LayerChoice(
            viewer, "Volume", "The volume whose beads are measured", "Choose a layer", _is_image
        )
        self.reference = LayerChoice(
            viewer,
            "Reference",
            "A second volume to compare with, for instance the mechanical scan",
            accepts=_is_image,
        )
        self.points = LayerChoice(
            viewer,
            "Beads",
            "Points that mark the beads, instead of a search; each moves to the nearest maximum",
            "Search for them",
            _is_points,
        )
        self.same = QCheckBox("The reference's beads in both")
        self.same.setAccessibleName("The reference's beads in both")
        self.same.setToolTip(
            "Beads are found in the reference, and the same ones are measured in the volume; "
            "without, each volume is searched by itself"
        )
        self.same.setChecked(True)
        self.model = QComboBox()
        self.model.setAccessibleName("Model")
        self.model.setToolTip(
            "One Gaussian in all axes: precise. One along each line through the bead: few voxels, "
            "for bright beads"
        )
        for key, name in MODEL_NAMES.items():
            self.model.addItem(name, key)
        self.fields = {
            key: NumberEdit(words.removesuffix(" µm"), tooltip, example)
            for key, (words, tooltip, example) in _FIELDS.items()
        }
        self.plane = push_button(
            "Plane in view", "Measure only beads whose brightest voxel is in the plane in view"
        )
        self.optics = OpticsPanel()
        self._lay_out()
        self._restore()
        self._connect()

    def settings(self) -> BeadSettings:
        """What the fields say.

        Raises
        ------
        InputError
            If one holds no number.
        """
        for edit in self.fields.values():
            if edit.is_text_wrong and not edit.isHidden():
                raise InputError(
                    f"The {edit.accessibleName()} '{edit.text()}' is not a number: type one in "
                    "µm, or leave it empty."
                )
        value = {key: edit.value() for key, edit in self.fields.items()}
        xy, z, low, high = (value[key] for key in ("region_xy", "region_z", "z_low", "z_high"))
        region = tuple(math.nan if size is None else size for size in (z, xy, xy))
        z_range = (-math.inf if low is None else low, math.inf if high is None else high)
        return BeadSettings(
            model=self.model.currentData(),
            separation_um=value["separation"],
            threshold_snr=5.0 if value["snr"] is None else value["snr"],
            region_um=(region[0], region[1], region[2]),
            z_range_um=z_range,
            same_beads=self.same.isChecked(),
        )

    def bead_um(self) -> float:
        """Diameter of the beads, 0 for a point."""
        return self.fields["bead"].value() or 0.0

    def known_optics(self) -> Optics | None:
        """The optics, or None as long as they are incomplete: only the theory needs them."""
        if self.optics.is_incomplete():
            return None
        return self.optics.optics()

    def set_range(self, low_um: float, high_um: float) -> None:
        """Measure between these heights only."""
        for key, value in (("z_low", low_um), ("z_high", high_um)):
            self.fields[key].set_value(value)
        self.changed.emit()

    def show_step(self, is_needed: bool) -> None:
        """Ask for the z-step where a layer does not say it."""
        for widget in (self.fields["step"], self._step_label):
            widget.setVisible(is_needed)

    def remember(self) -> None:
        """Keep the settings for the next run."""
        self.optics.remember()
        values = {key: self.fields[key].text() for key in _REMEMBERED}
        same = str(int(self.same.isChecked()))
        _settings.remember(GROUP, values | {"model": self.model.currentData(), "same": same})

    # inside -----------------------------------------------------------------------
    def _restore(self) -> None:
        found = _settings.remembered(GROUP, (*_REMEMBERED, "model", "same"))
        for key in _REMEMBERED:
            edit = self.fields[key]
            edit.setText(found.get(key, ""))
            if not edit.is_text_wrong:
                edit.set_value(edit.value())
        self.model.setCurrentIndex(max(self.model.findData(found.get("model")), 0))
        self.same.setChecked(found.get("same", "1") != "0")

    def _connect(self) -> None:
        for choice in (self.volume, self.reference, self.points):
            choice.changed.connect(self.changed)
        on(self, self.reference.changed, self._offer_same)
        on(self, self.points.changed, self._offer_same)
        for edit in self.fields.values():
            edit.edited.connect(self.changed)
        self.model.currentIndexChanged.connect(self.changed)
        self.same.toggled.connect(self.changed)
        self.optics.changed.connect(self.changed)
        self.show_step(False)
        self._offer_same()

    def _offer_same(self) -> None:
        self.same.setVisible(self.reference.layer() is not None and self.points.layer() is None)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 6, 4, 4)
        column.setSpacing(4)
        for title, part in (
            ("Layers", self._layers()),
            ("Beads", self._beads()),
            ("Optics, for the width in theory", self.optics),
        ):
            column.addWidget(heading(title))
            column.addWidget(part)
        column.addStretch(1)
        fields, optics = self.fields, self.optics.fields
        order = [
            *(self.volume, self.reference, self.points, self.same, fields["step"], self.model),
            *(fields[key] for key in ("separation", "snr", "region_xy", "region_z")),
            *(fields["z_low"], fields["z_high"], fields["bead"], self.plane),
            *(self.optics.preset, optics["na"], optics["immersion_index"]),
            *(optics["wavelength_um"], optics["pixel_um"]),
        ]
        for before, after in pairwise(order):
            QWidget.setTabOrder(before, after)

    def _layers(self) -> QWidget:
        part, grid = _grid()
        for row, choice in enumerate((self.volume, self.reference, self.points)):
            grid.addWidget(_named(choice.accessibleName(), choice), row, 0)
            grid.addWidget(choice, row, 1, 1, 3)
        grid.addWidget(self.same, 3, 1, 1, 3)
        self._step_label = _named(_FIELDS["step"][0], self.fields["step"])
        grid.addWidget(self._step_label, 4, 0)
        grid.addWidget(self.fields["step"], 4, 1)
        return part

    def _beads(self) -> QWidget:
        part, grid = _grid()
        grid.addWidget(_named("Model", self.model), 0, 0)
        grid.addWidget(self.model, 0, 1, 1, 3)
        pairs = (("separation", "snr"), ("region_xy", "region_z"), ("z_low", "z_high"))
        for row, keys in enumerate((*pairs, ("bead",)), 1):
            for place, key in enumerate(keys):
                grid.addWidget(_named(_FIELDS[key][0], self.fields[key]), row, 2 * place)
                grid.addWidget(self.fields[key], row, 2 * place + 1)
        grid.addWidget(self.plane, 4, 2, 1, 2)
        return part


class ResultsPage(QWidget):
    """The histograms, and one bead from nearby."""

    def __init__(self, palette: Palette, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.widths = WidthsPanel(palette, "Bead widths", 300)
        self.widths.canvas.setToolTip(
            "Click a bar to select its beads; with the keyboard, the arrows go from bar to bar"
        )
        self.widths.canvas.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.bead = PlotPanel(palette, "Bead profile", 135, (180.0, 60.0))
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.words.setProperty("faint", True)
        self.words.setTextInteractionFlags(
            self.words.textInteractionFlags() | Qt.TextInteractionFlag.TextSelectableByMouse
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.widths, 3)
        column.addWidget(self.bead, 1)
        column.addWidget(self.words)


class WidthsPanel(PlotPanel):
    """Histograms that lie side by side or one above the other, as there is room."""

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Lay the figure out again for its new shape."""
        super().resizeEvent(event)
        self.canvas.restyle()


class FwhmPages(QTabWidget):
    """Both pages."""

    def __init__(self, viewer: Any, palette: Palette) -> None:
        super().__init__()
        self.setup = SetupPage(viewer)
        self.results = ResultsPage(palette)
        self.addTab(self.setup, "Measure")
        self.addTab(self.results, "Results")
        self.setTabToolTip(0, "What to measure, and how")
        self.setTabToolTip(1, "Histograms of the widths, and the profiles of a bead")
        self.setAccessibleName("Pages")


def _is_image(layer: Any) -> bool:
    """Any image: of one that cannot be measured, a sentence says why."""
    return isinstance(layer, Image)


def _is_points(layer: Any) -> bool:
    return isinstance(layer, Points)


def _named(text: str, widget: QWidget) -> QLabel:
    label = QLabel(text)
    label.setBuddy(widget)
    return label


def _grid() -> tuple[QWidget, QGridLayout]:
    part = QWidget()
    grid = QGridLayout(part)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setVerticalSpacing(4)
    grid.setHorizontalSpacing(6)
    grid.setColumnStretch(1, 1)
    grid.setColumnStretch(3, 1)
    return part, grid
