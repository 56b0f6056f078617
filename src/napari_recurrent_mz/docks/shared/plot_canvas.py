"""matplotlib's own canvas as a plot that answers the mouse and the keys."""

from __future__ import annotations

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import QSize
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QSizePolicy

from ...measure.plots import Draw, fill_figure
from .parts import Palette, ink_of


class PlotCanvas(FigureCanvasQTAgg):
    """A figure that is drawn again when its size or the theme changes."""

    def __init__(self, palette: Palette, name: str, height: int = 150) -> None:
        super().__init__(Figure(layout="constrained"))  # type: ignore[no-untyped-call]
        self._palette = palette
        self.drawn: Draw | None = None
        self.reason = ""
        self.setAccessibleName(name)
        self.setMinimumHeight(height)
        self.setMinimumWidth(120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.restyle()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Arrange the parts of the figure for the new size before it is drawn."""
        super().resizeEvent(event)  # type: ignore[no-untyped-call]
        self.restyle()

    def sizeHint(self) -> QSize:  # noqa: N802
        """The least size: matplotlib's own is the size it has, so that a dock never shrinks."""
        return QSize(self.minimumWidth(), self.minimumHeight())

    def show_figure(self, draw: Draw) -> None:
        """Draw this from now on: at once, and again with every change of the theme."""
        self.drawn, self.reason = draw, ""
        self.restyle()

    def show_reason(self, sentence: str) -> None:
        """Show no figure, and why there is none."""
        self.drawn, self.reason = None, sentence
        self.restyle()

    def restyle(self) -> None:
        self.figure.clear()
        fill_figure(self.figure, ink_of(self._palette), self.drawn, self.reason)
        self.draw_idle()  # type: ignore[no-untyped-call]
