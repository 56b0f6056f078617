"""What can be told of the volume before it is made: its expected error over z, and bad scans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QWidget

from ...core.methods import image_made
from ...engine.recipe import Recipe
from ...measure.plots.live import ErrorOverZ, error_figure
from ..shared.parts import column_of
from ..shared.quiet_plot import QuietCanvas
from ..shared.theme import Palette
from ..shared.worker import in_background

_Seen = tuple[ErrorOverZ, list[str], list[str]]
_HEIGHT = 80
_TIP = (
    "How far the linear estimate (MMSE) is expected to be off in every plane, in parts of its "
    "standard deviation: 0 % is known, 100 % unknown. Dashed lines are scans. A network can do "
    "better on samples such as it was trained on."
)


class ErrorPlot(QWidget):
    """A small curve that follows scans, optics and target grid."""

    noticed = Signal()  # there are other notes

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self.canvas = QuietCanvas(palette, "Expected error of the planes", _HEIGHT)
        self.setToolTip(_TIP)
        self.shown: ErrorOverZ | None = None
        # on hot pixels of the scans, and on a scan with less or more light than the others
        self.notes: list[list[str]] = [[], []]
        self._recipe: Recipe | None = None
        column_of(self, self.canvas)
        self.hide()

    def follow(self, recipe: Recipe | None, owner: Any) -> None:
        """Show the errors of this recipe, which a thread of the dock ``owner`` finds."""
        before, self._recipe = self._recipe, recipe
        if recipe is None or recipe.optics is None:
            self.shown, self.notes = None, [[], []]
            self.hide()
        elif before is None or _facts(before) != _facts(recipe):
            in_background(
                owner, _looked_at, recipe, then=self._shows(recipe), failed=lambda _: self.hide()
            )

    def _shows(self, recipe: Recipe) -> Callable[[_Seen], None]:
        def show(seen: _Seen) -> None:
            if self._recipe is not None and _facts(self._recipe) == _facts(recipe):
                self.shown, *notes = seen
                self.canvas.show_figure(error_figure(self.shown))
                self.show()
                if notes != self.notes:
                    self.notes = notes
                    self.noticed.emit()

        return show


def _facts(recipe: Recipe) -> tuple[Any, ...]:
    """What the errors depend on; the recipe holds the pixels, so that their ids stay theirs."""
    scans = tuple((id(scan.pixels), scan.z_um) for scan in recipe.scans)
    return scans, recipe.target, recipe.optics, image_made(recipe.method, recipe.model)


def _looked_at(recipe: Recipe) -> _Seen:
    from ...engine.check import hot_pixel_notes, light_notes
    from ...estimates.planning import expected_errors  # with torch

    assert recipe.optics is not None
    z_um = recipe.target.z_um  # type: ignore[union-attr]
    target = image_made(recipe.method, recipe.model)
    error = expected_errors(recipe.scans, recipe.optics, z_um, target)
    over_z = ErrorOverZ(z_um, error, [scan.z_um for scan in recipe.scans])
    return over_z, hot_pixel_notes(recipe.scans, recipe.optics), light_notes(recipe.scans)
