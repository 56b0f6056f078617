"""The one themed plot: a matplotlib canvas in the colours of napari's current theme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QSizePolicy

from ._theme import Palette

Draw = Callable[[Any, Palette], None]
"""Draws on empty axes, with the palette's colours."""


class PlotCanvas(FigureCanvasQTAgg):
    """One pair of axes that is drawn again when the theme changes.

    Parameters
    ----------
    palette : Palette
        The dock's; :meth:`restyle` takes its current colours.
    name : str
        What the plot is called, for people who do not see it.
    height : int, optional
        In pixels of the screen.
    """

    def __init__(self, palette: Palette, name: str, height: int = 150) -> None:
        super().__init__(Figure(layout="constrained"))  # type: ignore[no-untyped-call]
        self._palette = palette
        self._draw: Draw | None = None
        self.axes = self.figure.subplots()
        self.setAccessibleName(name)
        self.setFixedHeight(height)
        self.setMinimumWidth(120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.restyle()

    def show_curve(self, draw: Draw) -> None:
        """Draw this from now on: at once, and again with every change of the theme."""
        self._draw = draw
        self.restyle()

    def restyle(self) -> None:
        """Draw again in the palette's current colours."""
        self.axes.clear()
        if self._draw is not None:
            self._draw(self.axes, self._palette)
        ground, text = (shade(self._palette.colour(name)) for name in ("background", "text"))
        self.figure.set_facecolor(ground)
        self.axes.set_facecolor(ground)
        self.axes.tick_params(colors=text, labelsize=8)
        self.axes.spines[["top", "right"]].set_visible(False)
        for spine in self.axes.spines.values():
            spine.set_color(text)
        for label in (self.axes.xaxis.label, self.axes.yaxis.label, self.axes.title):
            label.set_color(text)
            label.set_fontsize(8)
        legend = self.axes.get_legend()
        for word in legend.get_texts() if legend is not None else ():
            word.set_color(text)
        self.draw_idle()  # type: ignore[no-untyped-call]


def shade(colour: QColor) -> tuple[float, float, float, float]:
    """A Qt colour as matplotlib takes it."""
    red, green, blue, alpha = colour.getRgbF()
    return float(red or 0), float(green or 0), float(blue or 0), float(alpha or 0)
