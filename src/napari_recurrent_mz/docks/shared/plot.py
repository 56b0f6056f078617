"""A plot in the colours of napari's current theme, with its tools: what all docks share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from ...measure.plots import Draw, save_figure
from . import settings
from .guard import on, say, telling
from .layers import file_stem
from .parts import column_of, push_button
from .theme import Palette

if TYPE_CHECKING:
    from .plot_canvas import PlotCanvas
    from .quiet_plot import QuietCanvas

_FILES = "PNG image (*.png);;SVG drawing (*.svg);;PDF document (*.pdf)"


class PlotPanel(QWidget):
    """A plot with its tools under it: save the figure, and what a dock adds."""

    def __init__(
        self,
        palette: Palette,
        name: str,
        height: int = 180,
        size_mm: tuple[float, float] = (180.0, 90.0),
        canvas: PlotCanvas | QuietCanvas | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.size_mm = size_mm
        if canvas is None:
            from .plot_canvas import PlotCanvas  # matplotlib takes 0.4 s

            canvas = PlotCanvas(palette, name, height)
        self.canvas = canvas
        self._tools = QHBoxLayout()
        self._tools.setContentsMargins(0, 0, 0, 0)
        self._tools.addStretch(1)
        column = column_of(self)
        column.setSpacing(2)
        column.addWidget(self.canvas, 1)
        column.addLayout(self._tools)
        self.save_button = self.add_tool(
            "Save figure…", "Save the figure for a paper: PNG (300 dpi), SVG or PDF", self.ask
        )
        self.save_button.setEnabled(False)

    @property
    def answering(self) -> PlotCanvas:
        """The canvas, where it is one that the mouse and the keys can be connected to."""
        from .plot_canvas import PlotCanvas

        assert isinstance(self.canvas, PlotCanvas)  # a quiet one only shows
        return self.canvas

    def add_tool(self, text: str, tooltip: str, slot: Callable[[], object]) -> QPushButton:
        """Add a button to the row under the plot."""
        button = push_button(text, tooltip)
        on(self, button.clicked, lambda _checked=False: slot())
        self._tools.insertWidget(self._tools.count() - 1, button)
        return button

    def show_figure(self, draw: Draw) -> None:
        """Draw this from now on."""
        self.canvas.show_figure(draw)
        self.save_button.setEnabled(True)

    def show_reason(self, sentence: str) -> None:
        """Show no figure, and why there is none."""
        self.canvas.show_reason(sentence)
        self.save_button.setEnabled(False)

    def restyle(self) -> None:
        """Take the palette's current colours."""
        self.canvas.restyle()

    def ask(self) -> None:
        """Ask for a file, and save the figure there."""
        ask_for_file(self, f"Save {self.name}", self.name, _FILES, self.save)

    def save(self, path: str | Path) -> None:
        """Save the figure on white paper; the dock is told how it went."""
        if self.canvas.drawn is None:
            return
        width, height = self.size_mm
        with telling(self):
            written = save_figure(self.canvas.drawn, path, width_mm=width, height_mm=height)
            say(self, f"Saved “{written.name}”.", "done")


def ask_for_file(
    parent: QWidget,
    title: str,
    name: str,
    kinds: str,
    use: Callable[[Path], object],
) -> None:
    """Ask where to save, in the folder used last; ``use`` gets the path, unless cancelled."""
    if chosen := chosen_file(parent, title, name, kinds):
        use(chosen[0])


def chosen_file(
    parent: QWidget, title: str, name: str, kinds: str, *, confirm: bool = True
) -> tuple[Path, str] | None:
    """A path for a file in the folder used last, and which of ``kinds`` it is; None if cancelled.

    The ending of the kind is taken where none was typed. Without ``confirm``, whoever writes must
    not replace a file.
    """
    folder = settings.remembered("files", ("folder",)).get("folder", str(Path.home()))
    stem = file_stem("".join(c if c.isalnum() or c in "+-_ " else "-" for c in name)) or "figure"
    asks = QFileDialog.Option(0) if confirm else QFileDialog.Option.DontConfirmOverwrite
    start = str(Path(folder) / stem)
    chosen, kind = QFileDialog.getSaveFileName(parent, title, start, kinds, "", asks)
    if not chosen:
        return None
    path = Path(chosen)
    if not re.fullmatch(r"\.[A-Za-z]\w*", path.suffix):  # what follows a decimal point is no ending
        ending = re.search(r"\*([^ )]*)", kind)
        path = path.with_name(path.name + (ending[1] if ending else ""))
    settings.remember("files", {"folder": str(path.parent)})
    return path, kind
