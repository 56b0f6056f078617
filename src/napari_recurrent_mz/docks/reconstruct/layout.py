"""How the Reconstruct dock looks: its parts from top to bottom, footer always in sight."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QWidget

from ..files.save_volume import SaveButton
from ..shared.dock import Form, InstrumentFooter
from ..shared.grid_panel import GridPanel
from ..shared.layer_size import SizeButton
from ..shared.method_panel import MethodPanel
from ..shared.parts import heading, push_button
from ..shared.scan_source import ScanParts
from ..shared.theme import Palette
from .channels import ChannelsPanel
from .error_plot import ErrorPlot
from .result_panel import ResultPanel


class ReconstructLayout(Form):
    """The dock's parts, with short names that the dock's logic uses."""

    def __init__(self, footer: InstrumentFooter, palette: Palette, viewer: Any) -> None:
        super().__init__(footer, palette)
        self.footer = footer
        footer.bar.setToolTip("Planes that are done, and the time left")
        footer.name_cancel("Cancel", "Stop; the planes that are finished stay (Esc)")
        self.preview = footer.add_button(
            "Preview", "Linear MMSE estimate, in about two seconds (Ctrl+P)"
        )
        self.scan_parts = parts = ScanParts(palette)
        self.table, self.stack, self.optics = parts.table, parts.stack, parts.optics
        self.add_button, self.planes_button, self.remove_button = parts.buttons
        self.channels = ChannelsPanel()
        self.grid, self.method, self.result = GridPanel(), MethodPanel(), ResultPanel()
        self.error = ErrorPlot(palette)
        self.save = SaveButton("volume")
        self.methods_text = push_button(
            "Copy methods text", "Copy how the volume was made, as a paragraph for a paper"
        )
        self.interpolation = push_button(
            "Add interpolation",
            "Linear interpolation of the same scans as another layer, to compare the volume with",
        )
        self.hot_pixels = push_button(
            "Replace hot pixels",
            "Scans with the median of their neighbours in place of hot pixels, as new layers; "
            "yours stay as they are",
        )
        self.even_light = push_button(
            "Even out light",
            "The scan with as much light as those beside it, as a new layer; yours stays as it is",
        )
        self.repairs = self.hot_pixels, self.even_light  # in the order of the notes on them
        for button in self.repairs:
            button.hide()
        self.give_size = SizeButton(viewer)
        self.inputs = (
            *parts.inputs,
            self.channels,
            self.grid,
            self.method,
            self.result,
            self.give_size,
            *self.repairs,
        )
        rows = self.rows
        rows.addWidget(heading("Scans"))
        rows.addLayout(parts.laid_out())
        below: tuple[QWidget, ...] = (
            *(self.channels, self.give_size, *self.repairs),
            *(heading("Optics"), self.optics),
            *(heading("Target planes (µm)"), self.grid, self.error),
            *(heading("Reconstruction"), self.method, self.result),
        )
        for part in below:
            rows.addWidget(part)
        footer.add_over_buttons(self.save)
        line = QHBoxLayout()
        line.addWidget(self.methods_text, 1)
        line.addWidget(self.interpolation, 1)
        rows.addLayout(line)
        rows.addStretch(1)
        self.fit()

    def restyle(self, theme: str) -> None:
        """Follow the viewer's theme."""
        super().restyle(theme)
        self.error.canvas.restyle()
        port = self.table.viewport()
        if port is not None:
            port.update()
