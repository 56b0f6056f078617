"""How the Reconstruct dock looks: its parts from top to bottom, footer always in sight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtWidgets import QWidget

from ..files.save_volume import SaveButton
from ..shared.dock import Form, InstrumentFooter, order_tabs
from ..shared.grid_panel import GridPanel
from ..shared.layer_size import SizeButton
from ..shared.method_panel import MethodPanel
from ..shared.parts import heading
from ..shared.scan_source import ScanParts
from ..shared.theme import Palette
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
        self.add_button, self.planes_button = parts.add_button, parts.planes_button
        self.remove_button = parts.remove_button
        self.grid = GridPanel()
        self.method = MethodPanel()
        self.result = ResultPanel()
        self.save = SaveButton("volume")
        self.give_size = SizeButton(viewer)
        self._lay_out()

    @property
    def inputs(self) -> Sequence[QWidget]:
        """What a job is made from."""
        return *self.scan_parts.inputs, self.grid, self.method, self.result, self.give_size

    def restyle(self, theme: str) -> None:
        """Follow the viewer's theme."""
        super().restyle(theme)
        port = self.table.viewport()
        if port is not None:
            port.update()

    def _lay_out(self) -> None:
        rows = self.rows
        rows.addWidget(heading("Scans"))
        rows.addLayout(self.scan_parts.laid_out())
        rows.addWidget(self.give_size)
        for title, part in (
            ("Optics", self.optics),
            ("Target planes (µm)", self.grid),
            ("Reconstruction", self.method),
        ):
            rows.addWidget(heading(title))
            rows.addWidget(part)
        rows.addWidget(self.result)
        rows.addWidget(self.save)
        rows.addStretch(1)
        self.fit()
        order_tabs(
            *self.scan_parts.tab_order,
            *(self.grid.start, self.grid.stop, self.grid.step),
            *(self.grid.auto, *self.method.tab_order),
            *(self.result.on_disk, self.result.choose, self.save.button),
            *(self.preview, self.footer.action, self.footer.cancel),
        )
