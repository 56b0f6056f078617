"""Colours for marks and messages, taken from napari's current theme."""

from __future__ import annotations

import contextlib

from napari.utils.theme import get_theme
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QSizePolicy

from ...measure.plots import SERIES, SERIES_ON_DARK, Ink
from .parts import Words


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


class MessageLabel(Words):
    """A sentence with a coloured edge: a hint, a success, a warning or an error."""

    _EDGES = {"hint": "secondary", "done": "current", "warning": "warning", "error": "error"}  # noqa: RUF012

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self._palette = palette
        self.kind = "hint"
        self.setTextInteractionFlags(self.textInteractionFlags().TextSelectableByMouse)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.hide()
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
        roles = (self._EDGES[self.kind], "foreground", "text")
        edge, ground, text = (self._palette.colour(role).name() for role in roles)
        self.setStyleSheet(
            f"MessageLabel {{ border-left: 4px solid {edge}; background: {ground};"
            f" color: {text}; padding: 4px 6px; }}"
        )


def ink_of(palette: Palette) -> Ink:
    """The colours of a theme, for a figure."""
    roles = ("background", "text", "current", "warning")
    background, text, accent, warning = (palette.colour(role) for role in roles)
    pairs = zip(background.getRgb()[:3], text.getRgb()[:3], strict=True)
    faint = QColor(*(round((a or 0) + 0.45 * ((b or 0) - (a or 0))) for a, b in pairs))
    return Ink(
        background=background.name(),
        text=text.name(),
        faint=faint.name(),
        accent=accent.name(),
        warning=warning.name(),
        lines=SERIES_ON_DARK if background.lightnessF() < 0.5 else SERIES,
    )
