"""matplotlib's own canvas as a plot that answers the mouse and the keys."""

from __future__ import annotations

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure

from ...measure.plots import fill_figure
from .parts import Palette, ink_of
from .plot import Canvas


class PlotCanvas(Canvas, FigureCanvasQTAgg):
    """A figure that is drawn again when its size or the theme changes."""

    def __init__(self, palette: Palette, name: str, height: int = 150) -> None:
        super().__init__(palette, name, height, Figure(layout="constrained"))
        self.restyle()

    def restyle(self) -> None:
        self.figure.clear()
        fill_figure(self.figure, ink_of(self._palette), self.drawn, self.reason)
        self.draw_idle()  # type: ignore[no-untyped-call]
