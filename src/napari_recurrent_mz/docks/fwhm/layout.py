"""How the FWHM dock looks: what to measure on one page, what was found on the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from ...measure.beads import BeadSettings
from ..shared.form import FormPanel, as_named, asked, faint
from ..shared.guard import on
from ..shared.layer_choice import is_any_image, is_points
from ..shared.optics_panel import OpticsPanel
from ..shared.parts import Palette, add_parts, column_of, push_button
from ..shared.plot import PlotPanel

GROUP = "fwhm"
MODEL_NAMES = {"gaussian3d": "3-D Gaussian", "profiles": "1-D Gaussian profiles"}


@dataclass(frozen=True)
class BeadForm:
    """What is measured, and how; lengths in micrometres."""

    stored: ClassVar = as_named("same model separation snr region_xy region_z bead")
    volume: Any = asked(
        "Volume",
        "The volume whose beads are measured",
        nothing="Choose a layer",
        layers=is_any_image,
        heading="Layers",
    )
    reference: Any = asked(
        "Reference",
        "A second volume to compare with, for instance the mechanical scan",
        layers=is_any_image,
    )
    points: Any = asked(
        "Beads",
        "Points that mark the beads, instead of a search; each moves to the nearest maximum",
        nothing="Search for them",
        layers=is_points,
    )
    same: bool = asked(
        "The reference's beads in both",
        "Beads are found in the reference, and the same ones are measured in the volume; "
        "without, each volume is searched by itself",
        True,
    )
    step: float | None = asked(
        "z-step µm",
        "Distance between the planes: the layer does not say",
        example="0.2",
        of_image=True,
    )
    model: str = asked(
        "Model",
        "One Gaussian in all axes: precise. One along each line through the bead: few voxels, "
        "for bright beads",
        "gaussian3d",
        choices=MODEL_NAMES,
        heading="Beads",
    )
    separation: float | None = asked(
        "Separation µm",
        "Beads nearer to each other than this are left out; empty: ten pixels",
        example="auto",
    )
    snr: float | None = asked(
        "SNR at least",
        "How far a bead must rise above the noise, in the noise's spread",
        example="auto: 5",
        beside=True,
    )
    region_xy: float | None = asked(
        "Region xy µm",
        "Lateral size of the region that is fitted; empty: three bead widths",
        example="auto",
    )
    region_z: float | None = asked(
        "Region z µm",
        "Axial size of the region that is fitted; empty: three bead widths",
        example="auto",
        beside=True,
    )
    z_low: float | None = asked(
        "z from µm",
        "Beads below this height are not measured; empty: all",
        example="lowest",
        of_image=True,
    )
    z_high: float | None = asked(
        "z to µm",
        "Beads above this height are not measured; empty: all",
        example="highest",
        beside=True,
        of_image=True,
    )
    bead: float | None = asked(
        "Bead ⌀ µm",
        "Diameter of the beads, for the theoretical width; empty: a point",
        example="point",
    )

    def settings(self) -> BeadSettings:
        """How beads are found and fitted."""
        low, high = self.z_low, self.z_high
        z, xy = (math.nan if size is None else size for size in (self.region_z, self.region_xy))
        return BeadSettings(
            model=self.model,
            separation_um=self.separation,
            threshold_snr=5.0 if self.snr is None else self.snr,
            region_um=(z, xy, xy),
            z_range_um=(-math.inf if low is None else low, math.inf if high is None else high),
            same_beads=self.same,
        )


class SetupPage(FormPanel):
    """Layers, how to find and fit beads, and the optics; ``changed`` follows every change."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(BeadForm, viewer, GROUP)
        self.plane = push_button(
            "Plane in view", "Measure only beads whose brightest voxel is in the plane in view"
        )
        self.form.put_beside("bead", self.plane)
        self.optics = OpticsPanel()
        self._column.setContentsMargins(4, 6, 4, 4)
        add_parts(self._column, "Optics, for the theoretical width", self.optics)
        self._column.addStretch(1)
        self._form_changed()
        on(self, self.form.changed, self._form_changed)
        self.optics.changed.connect(self.changed)

    @property
    def layers(self) -> list[Any]:
        chosen = (self.form.volume.value, self.form.reference.value)
        return [layer for layer in chosen if layer is not None]

    def _form_changed(self) -> None:
        has_reference = self.form.reference.value is not None
        self.form.show_fields("same", has_reference and self.form.points.value is None)
        self.changed.emit()


class ResultsPage(QWidget):
    """The histograms, and one bead from nearby."""

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self.widths = PlotPanel(palette, "Bead widths", 340)
        self.widths.canvas.setToolTip(
            "Click a bar to select its beads; with the keyboard, the arrows go from bar to bar"
        )
        self.widths.canvas.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.bead = PlotPanel(palette, "Bead profile", 135, (180.0, 60.0))
        self.words = faint(is_copied=True)
        column = column_of(self, self.widths, self.bead, self.words, margins=(0, 4, 0, 0))
        column.setSpacing(2)
        column.setStretchFactor(self.widths, 3)
        column.setStretchFactor(self.bead, 1)
