"""How the Train dock looks: stacks, optics, network, result, the curve; footer always in sight."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from napari.layers import Image
from qtpy.QtWidgets import QGridLayout, QLabel, QLineEdit, QPushButton, QSpinBox, QWidget

from ._fields import NumberEdit
from ._instrument import Form, InstrumentFooter
from ._layer_choice import LayerChoice
from ._method_panel import MethodPanel
from ._optics_panel import OpticsPanel
from ._parts import heading
from ._plot_canvas import PlotCanvas
from ._theme import Palette


class TrainLayout(Form):
    """The dock's parts, with short names that the dock's logic uses."""

    def __init__(self, footer: InstrumentFooter, palette: Palette, viewer: Any) -> None:
        super().__init__(footer, palette)
        self.footer = footer
        self.footer.name_cancel("Stop", "Stop and keep the best weights so far (Esc)")
        self.footer.bar.setToolTip("Training steps that are done, and the time left")
        self.first = _stack_choice(viewer, "Stack", "Choose a stack")
        self.second = _stack_choice(viewer, "Second stack", "None")
        self.step = NumberEdit(
            "z-step", "Distance between planes in µm, for a stack that does not say", "0.2"
        )
        self.optics = OpticsPanel()
        self.method = MethodPanel()
        self.method.only_model("Start from")
        self.minutes = _minutes()
        self.path = QLineEdit()
        self.path.setAccessibleName("Save as")
        self.path.setToolTip("The file for the adapted weights, .safetensors")
        self.path.setAcceptDrops(False)
        self.browse = QPushButton("…")
        self.browse.setAccessibleName("Choose the file to save as")
        self.browse.setToolTip("Choose the file for the adapted weights")
        self.browse.setMaximumWidth(32)
        self.plot = PlotCanvas(palette, "Gain over linear MMSE on the held-out quarter")
        self.plot.setFixedHeight(150)
        self._lay_out()
        self._tab_order()

    def chosen(self) -> list[Image]:
        """The layers to learn from."""
        layers = (self.first.layer(), self.second.layer())
        return [layer for layer in layers if layer is not None]

    @property
    def inputs(self) -> tuple[QWidget, ...]:
        """What a job is made from."""
        stacks = self.first, self.second, self.step
        return *stacks, self.optics, self.method, self.minutes, self.path, self.browse

    def restyle(self, theme: str) -> None:
        """Follow the viewer's theme."""
        super().restyle(theme)
        self.plot.restyle()

    def _lay_out(self) -> None:
        for title, part in (
            ("Full stacks to learn from", self._stacks()),
            ("Optics", self.optics),
            ("Network", self.method),
            ("Result", self._result()),
            ("Gain over linear MMSE, held-out quarter", self.plot),
        ):
            self.rows.addWidget(heading(title))
            self.rows.addWidget(part)
        self.rows.addStretch(1)
        self.fit()

    def _stacks(self) -> QWidget:
        part, grid = _grid()
        for line, (name, combo) in enumerate((("Stack", self.first), ("And", self.second))):
            grid.addWidget(QLabel(name), line, 0)
            grid.addWidget(combo, line, 1, 1, 3)
        self.step_label = QLabel("z-step")
        self.step_unit = QLabel("µm, as the file does not say")
        self.step_unit.setProperty("faint", True)
        grid.addWidget(self.step_label, 2, 0)
        grid.addWidget(self.step, 2, 1)
        grid.addWidget(self.step_unit, 2, 2)
        return part

    def show_step(self, is_needed: bool) -> None:
        """Ask for the z-step where a chosen stack does not say it."""
        for widget in (self.step_label, self.step, self.step_unit):
            widget.setVisible(is_needed)

    def _result(self) -> QWidget:
        part, grid = _grid()
        grid.addWidget(QLabel("Time"), 0, 0)
        grid.addWidget(self.minutes, 0, 1)
        grid.addWidget(QLabel("Save as"), 1, 0)
        grid.addWidget(self.path, 1, 1)
        grid.addWidget(self.browse, 1, 2)
        return part

    def _tab_order(self) -> None:
        fields = self.optics.fields
        order = [
            *(self.first, self.second, self.step, self.optics.preset),
            *(fields["na"], fields["immersion_index"], fields["wavelength_um"]),
            *(fields["pixel_um"], *self.method.tab_order[1:]),
            *(self.minutes, self.path, self.browse, self.footer.action, self.footer.cancel),
        ]
        for before, after in pairwise(order):
            QWidget.setTabOrder(before, after)


def _stack_choice(viewer: Any, name: str, nothing: str) -> LayerChoice:
    """All images are offered: what is wrong with one is said once it is chosen."""
    return LayerChoice(
        viewer,
        name,
        "A full z-stack, finely sampled: the network learns to rebuild its planes",
        nothing,
        accepts=lambda layer: isinstance(layer, Image),
        opens_files=True,
    )


def _grid() -> tuple[QWidget, QGridLayout]:
    part = QWidget()
    grid = QGridLayout(part)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setVerticalSpacing(4)
    grid.setColumnStretch(1, 1)
    return part, grid


def _minutes() -> QSpinBox:
    box = QSpinBox()
    box.setRange(1, 24 * 60)
    box.setValue(60)
    box.setSuffix(" min")
    box.setAccessibleName("Time")
    box.setToolTip("About how long: an hour on a CPU, ten minutes on a GPU; Stop ends it sooner")
    return box
