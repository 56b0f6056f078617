"""A plot in the colours of napari's current theme, with its tools: what all docks share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QImage, QPainter, QPaintEvent, QResizeEvent, QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QWidget

from ...measure.plots import Draw, fill_figure, save_figure
from .file_names import ask_for_file
from .guard import emit_alive, on, one_shot, say, telling
from .insides import SHORT_PAUSES
from .parts import Palette, column_of, ink_of, push_button

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_SOON_MS = 30
_DPI = 100.0  # as matplotlib's own canvas
_TABLES = "Comma-separated values (*.csv)"
_FILES = "PNG image (*.png);;SVG drawing (*.svg);;PDF document (*.pdf)"


class Canvas(QWidget):
    """Shows a figure, or why there is none; another base may say how it is drawn."""

    def __init__(self, palette: Palette, name: str, height: int, *figure: Figure) -> None:
        super().__init__(*figure)  # type: ignore[arg-type]  # what the other base takes
        self._palette = palette
        self.drawn: Draw | None = None
        self.reason = ""
        self.setAccessibleName(name)
        self.setMinimumSize(120, height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_figure(self, draw: Draw) -> None:
        """Draw this from now on, perhaps in a thread, so what it draws must not change."""
        self.drawn, self.reason = draw, ""
        self.restyle()

    def show_reason(self, sentence: str) -> None:
        """Show no figure, and why there is none."""
        if self.drawn is not None or self.reason != sentence:
            self.drawn, self.reason = None, sentence
            self.restyle()

    def restyle(self) -> None:
        raise NotImplementedError

    def sizeHint(self) -> QSize:  # noqa: N802
        """The least size: matplotlib's own is the size it has, so that a dock never shrinks."""
        return self.minimumSize()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        """Draw in the new size."""
        super().resizeEvent(event)
        self.restyle()


class QuietCanvas(Canvas):
    """A figure that is drawn in a thread and shown as a picture; it takes no clicks."""

    # While one is drawn the last one stays, stretched, and of those wanted meanwhile only the
    # newest is drawn.

    _arrived = Signal(object)

    def __init__(self, palette: Palette, name: str, height: int = 150) -> None:
        super().__init__(palette, name, height)
        self.picture: QImage | None = None
        self._is_old, self._is_drawing = True, False
        on(self, self._arrived, self._take)
        self._soon = one_shot(self, _SOON_MS, self._start)

    @property
    def is_drawing(self) -> bool:
        """Whether the thread is at it, or about to be."""
        return self._is_drawing or self._soon.isActive()

    def restyle(self) -> None:
        self._is_old = True
        self._soon.start()

    def _start(self) -> None:
        """Let the thread draw, once what else has changed in the window is painted."""
        if self._is_drawing or not self.isVisible() or self.size().isEmpty():
            return
        self._is_old, self._is_drawing = False, True
        ink, ratio = ink_of(self._palette), self.devicePixelRatioF()
        drawn, reason = self.drawn, self.reason
        width, height = self.width(), self.height()

        def make() -> QImage:
            from matplotlib.figure import Figure  # in the thread: it takes 0.4 s

            size = width / _DPI, height / _DPI
            figure = Figure(figsize=size, dpi=_DPI * ratio)
            if drawn is not None:  # without axes it warns
                figure.set_layout_engine("constrained")
            fill_figure(figure, ink, drawn, reason)
            return picture_of(figure, ratio)

        _plotters().submit(self._make, make)

    def _make(self, make: Callable[[], QImage]) -> None:
        """Draw, in the thread; the window may be gone when it is done."""
        try:
            emit_alive(self, "_arrived", make())
        except Exception as error:
            emit_alive(self, "_arrived", error)

    def _take(self, picture: QImage | Exception) -> None:
        self._is_drawing = False
        if isinstance(picture, Exception):
            raise picture
        self.picture = picture
        SHORT_PAUSES.tidy()  # the figure's parts hold each other
        self.update()
        if self._is_old:
            self.restyle()

    # Qt's -----------------------------------------------------------------------------
    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Draw what was not drawn out of sight."""
        super().showEvent(event)
        if self._is_old:
            self.restyle()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._palette.colour("background"))
        if self.picture is not None:
            painter.drawImage(self.rect(), self.picture)
        painter.end()


def picture_of(figure: Figure, ratio: float) -> QImage:
    """A figure as a picture, for a screen with so many pixels to a logical one; in any thread."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    pixels = canvas.buffer_rgba()
    picture = QImage(pixels, width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()
    picture.setDevicePixelRatio(ratio)
    return picture


@lru_cache(maxsize=1)
def _plotters() -> ThreadPoolExecutor:
    """One thread for all plots: fonts are read once, and no two figures are drawn at a time."""
    return ThreadPoolExecutor(1, "plots")


class PlotPanel(QWidget):
    """A plot with its tools under it: save the figure, and what a dock adds."""

    def __init__(
        self,
        palette: Palette,
        name: str,
        height: int = 180,
        size_mm: tuple[float, float] = (180.0, 90.0),
        canvas: QuietCanvas | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.size_mm = size_mm
        if canvas is None:
            from .plot_canvas import PlotCanvas  # matplotlib takes 0.4 s

            self.canvas: Any = PlotCanvas(palette, name, height)
        else:
            self.canvas = canvas
        self._tools = QHBoxLayout()
        self._tools.addStretch(1)
        column = column_of(self)
        column.setSpacing(2)
        column.addWidget(self.canvas, 1)
        column.addLayout(self._tools)
        self.save_button = self.add_tool(
            "Save figure…", "Save the figure for a paper: PNG (300 dpi), SVG or PDF", self.ask
        )
        self.save_button.setEnabled(False)

    def add_tool(self, text: str, tooltip: str, slot: Callable[[], object]) -> QPushButton:
        """Add a button to the row under the plot."""
        button = push_button(text, tooltip)
        on(self, button.clicked, lambda _checked=False: slot())
        self._tools.insertWidget(self._tools.count() - 1, button)
        return button

    def add_table_tool(
        self, tooltip: str, save: Callable[[Path], object], name: str = ""
    ) -> QPushButton:
        """Add a button that asks for a CSV file, by default called as the plot."""
        words = "Save the table", name or self.name, _TABLES
        return self.add_tool("Save table…", tooltip, lambda: ask_for_file(self, *words, save))

    def show_figure(self, draw: Draw) -> None:
        self.canvas.show_figure(draw)
        self.save_button.setEnabled(True)

    def show_reason(self, sentence: str) -> None:
        """Show no figure, and why there is none."""
        self.canvas.show_reason(sentence)
        self.save_button.setEnabled(False)

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
