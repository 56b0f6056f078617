"""Colours for marks and messages, taken from napari's current theme."""

from __future__ import annotations

import contextlib

from napari.utils.theme import get_theme
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from ...measure.plots import SERIES, SERIES_ON_DARK, Ink


class Palette:
    """The theme's colours as Qt colours; follows the viewer when the theme changes."""

    def __init__(self, theme: str) -> None:
        self.use(theme)

    def use(self, theme: str) -> None:
        """Take the colours of another theme; an unknown one leaves things as they are."""
        with contextlib.suppress(ValueError):
            self._colours = {k: str(v) for k, v in get_theme(theme).to_rgb_dict().items()}

    def colour(self, name: str, alpha: int = 255) -> QColor:
        """A colour of the theme, for instance ``text`` or ``warning``."""
        numbers = self._colours[name].removeprefix("rgb(").removesuffix(")").split(",")
        red, green, blue = (int(number) for number in numbers)
        return QColor(red, green, blue, alpha)

    @property
    def faint(self) -> QColor:
        """Text that stays in the background."""
        return self.colour("text", 170)

    def mark(self, *, error: bool) -> QColor:
        """Background of a cell that needs attention, readable under the theme's text."""
        return self.colour("error" if error else "warning", 110)


class MessageLabel(QLabel):
    """A sentence with a coloured edge: a hint, a success, a warning or an error."""

    _EDGES = {"hint": "secondary", "done": "current", "warning": "warning", "error": "error"}  # noqa: RUF012

    def __init__(self, palette: Palette, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._palette = palette
        self.kind = "hint"
        self.setWordWrap(True)
        self.setTextInteractionFlags(self.textInteractionFlags().TextSelectableByMouse)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.say("")
        self.restyle()

    def say(self, sentence: str, kind: str = "hint") -> None:
        """Show one sentence; an empty one hides the label."""
        is_other, self.kind = kind != self.kind, kind
        self.setText(sentence)
        self.setVisible(bool(sentence))
        if is_other:
            self.restyle()

    def restyle(self) -> None:
        """Take the palette's current colours."""
        edge = self._palette.colour(self._EDGES[self.kind]).name()
        ground = self._palette.colour("foreground").name()
        text = self._palette.colour("text").name()
        self.setStyleSheet(
            f"MessageLabel {{ border-left: 4px solid {edge}; background: {ground};"
            f" color: {text}; padding: 4px 6px; }}"
        )


def tinted(colour: QColor) -> str:
    """A colour as a style sheet takes it, with its transparency."""
    return f"rgba({colour.red()}, {colour.green()}, {colour.blue()}, {colour.alpha()})"


def ink_of(palette: Palette) -> Ink:
    """The colours of a theme, for a figure."""

    def name(role: str) -> str:
        return palette.colour(role).name()

    is_dark = palette.colour("background").lightnessF() < 0.5
    return Ink(
        background=name("background"),
        text=name("text"),
        faint=_between(palette.colour("background"), palette.colour("text"), 0.45).name(),
        accent=name("current"),
        warning=name("warning"),
        lines=SERIES_ON_DARK if is_dark else SERIES,
    )


def _between(first: QColor, second: QColor, share: float) -> QColor:
    """A colour that lies ``share`` of the way from the first to the second."""
    pairs = zip(first.getRgb()[:3], second.getRgb()[:3], strict=True)
    return QColor(*(round((a or 0) + share * ((b or 0) - (a or 0))) for a, b in pairs))
